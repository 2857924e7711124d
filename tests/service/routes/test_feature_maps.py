"""/models/{model}/feature-maps of shipped models."""

import base64
import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter

from service.schemas_inside import FeatureMapList, FeatureMapValues
from tests.conftest import serving
from tests.service.shipped import latest, linked, manifest, run, test_set
from tests.service.stripes import encoded

PATH = "/models/mnist-baseline/feature-maps"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Serves mnist-baseline and cifar10-strided."""
    async with serving(linked(tmp_path, "mnist-baseline", "cifar10-strided")) as client:
        yield client


@pytest.fixture(scope="module")
def maps() -> dict[str, NDArray[np.float32]]:
    """What every layer of mnist-baseline makes of the first test image, by ONNX Runtime alone."""
    images, _ = test_set("mnist")
    outputs = run(latest("mnist-baseline") / "feature_maps.onnx", images[:1])
    return {name: values[0] for name, values in outputs.items()}


async def values(client: httpx.AsyncClient, query: str, path: str = PATH) -> NDArray[np.float32]:
    answer = await client.get(f"{path}?{query}&format=npy")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/x-npy")
    array: NDArray[np.float32] = np.load(BytesIO(answer.content), allow_pickle=False)
    return array


async def test_without_a_layer_every_layer_is_described(
    client: httpx.AsyncClient, maps: dict[str, NDArray[np.float32]]
) -> None:
    body = (await client.get(PATH)).json()
    TypeAdapter(FeatureMapList).validate_python(body, strict=True, extra="forbid")
    assert body["sample"] == {"dataset": "mnist", "index": 0, "label": "7"}
    assert [layer["name"] for layer in body["layers"]] == list(maps)
    for layer in body["layers"]:
        found = maps[layer["name"]]
        assert layer["shape"] == list(found.shape)
        assert layer["minimum"] == pytest.approx(found.min(), abs=1e-5)
        assert layer["mean"] == pytest.approx(found.mean(), abs=1e-5)
        assert layer["maximum"] == pytest.approx(found.max(), abs=1e-5)
        dead = [not found[..., channel].any() for channel in range(found.shape[-1])]
        assert layer["dead_channels"] == pytest.approx(np.mean(dead))
    assert any(layer["dead_channels"] > 0 for layer in body["layers"])


async def test_links_lead_to_each_layer_in_each_format(client: httpx.AsyncClient) -> None:
    types = {"png": "image/png", "npy": "application/x-npy", "json": "application/json"}
    for layer in (await client.get(f"{PATH}?sample=3")).json()["layers"]:
        for kind, link in layer["links"].items():
            answer = await client.get(link)
            assert (answer.status_code, answer.headers["Content-Type"]) == (200, types[kind])
            if kind == "json":
                assert answer.json()["sample"]["index"] == 3
                assert answer.json()["layer"] == layer


async def test_all_formats_give_the_same_numbers(
    client: httpx.AsyncClient, maps: dict[str, NDArray[np.float32]]
) -> None:
    array = await values(client, "layer=conv2d")
    assert np.allclose(array, maps["conv2d"], atol=1e-6)
    body = (await client.get(f"{PATH}?layer=conv2d")).json()
    TypeAdapter(FeatureMapValues).validate_python(body, strict=True, extra="forbid")
    decoded = np.frombuffer(base64.b64decode(body["data"]), "<f4").reshape(body["shape"])
    assert np.array_equal(decoded, array)
    one = await client.get(f"{PATH}?layer=conv2d&format=npz")
    assert np.array_equal(np.load(BytesIO(one.content))["conv2d"], array)
    every = np.load(BytesIO((await client.get(f"{PATH}?format=npz")).content))
    assert every.files == list(maps)
    assert np.array_equal(every["conv2d"], array)


async def test_one_channel_is_nested_lists(client: httpx.AsyncClient) -> None:
    body = (await client.get(f"{PATH}?layer=conv2d&channels=5")).json()
    whole = await values(client, "layer=conv2d")
    assert (body["channels"], body["shape"]) == ([5], [13, 13])
    assert np.allclose(np.array(body["values"]), whole[..., 5])


async def test_a_vector_is_a_list(client: httpx.AsyncClient, maps: dict[str, NDArray[np.float32]]) -> None:
    body = (await client.get(f"{PATH}?layer=softmax&channels=7,0")).json()
    assert body["values"] == pytest.approx(maps["softmax"][[7, 0]].tolist(), abs=1e-6)


async def test_channels_come_as_asked_and_once(client: httpx.AsyncClient) -> None:
    whole = await values(client, "layer=conv2d")
    assert np.array_equal(await values(client, "layer=conv2d&channels=7,0-2, 1"), whole[..., [7, 0, 1, 2]])


@pytest.mark.parametrize("kind", ["json", "npy", "npz"])
async def test_all_channels_come_as_asked_too(client: httpx.AsyncClient, kind: str) -> None:
    """Also the labels of the png's columns are in this order."""
    query = f"layer=softmax&format={kind}&channels="
    whole, turned = [(await client.get(f"{PATH}?{query}{asked}")).content for asked in ("0-9", "9,0-8")]

    def read(content: bytes) -> NDArray[np.float32]:
        if kind == "json":
            return np.array(json.loads(content)["values"])
        loaded = np.load(BytesIO(content))
        return np.asarray(loaded["softmax"] if kind == "npz" else loaded)

    assert np.array_equal(read(turned), read(whole)[[9, *range(9)]])


async def test_a_file_tells_no_time_and_so_is_the_same_whenever_it_is_asked_for(
    client: httpx.AsyncClient,
) -> None:
    archive = ZipFile(BytesIO((await client.get(f"{PATH}?format=npz")).content))
    assert {one.date_time for one in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


async def test_an_image_sent_is_looked_at_like_the_sample_it_is(client: httpx.AsyncClient) -> None:
    images, _ = test_set("cifar10")
    path = "/models/cifar10-strided/feature-maps"
    sent = await client.post(
        f"{path}?layer=conv2d_2&format=npy", content=encoded(images[4]), headers={"Content-Type": "image/png"}
    )
    assert np.array_equal(
        np.load(BytesIO(sent.content)), await values(client, "sample=4&layer=conv2d_2", path)
    )
    form = await client.post(path, files={"file": ("a.png", encoded(images[4]), "image/png")})
    TypeAdapter(FeatureMapList).validate_python(form.json(), strict=True, extra="forbid")
    assert form.json()["preprocessing"]["steps"]
    assert "sample" not in form.json()


async def test_a_picture_has_its_tiles_and_colours(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{PATH}?layer=conv2d&format=png")
    picture = np.asarray(Image.open(BytesIO(answer.content)))
    brightest, darkest = [253, 231, 37], [68, 1, 84]  # viridis at its ends
    assert (picture == brightest).all(-1).any()
    # A pixel of the map is 5 × 5: no other number gives tiles of about 60 from 13.
    column = (picture == darkest).all(-1)
    assert column.any()
    assert answer.headers["Vary"] == "Accept"


async def test_a_browsers_image_element_gets_a_picture(client: httpx.AsyncClient) -> None:
    accept = {"Accept": "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"}
    answer = await client.get(f"{PATH}?layer=conv2d", headers=accept)
    assert answer.headers["Content-Type"] == "image/png"


@pytest.mark.parametrize("scale", ["layer", "channel", "global"])
@pytest.mark.parametrize("layer", ["conv2d", "dense", "dense_3"])
async def test_every_scale_draws_and_differs_by_theme(
    client: httpx.AsyncClient, layer: str, scale: str
) -> None:
    path = f"/models/cifar10-strided/feature-maps?layer={layer}&scale={scale}&format=png"
    light, dark = [(await client.get(f"{path}&theme={theme}")).content for theme in ("light", "dark")]
    assert Image.open(BytesIO(light)).size == Image.open(BytesIO(dark)).size
    assert light != dark


@pytest.mark.parametrize(
    ("query", "status", "slug", "says"),
    [
        ("layer=nope", 404, "unknown-layer", "it has conv2d, conv2d_1, max_pooling2d"),
        ("layer=conv2d&channels=0,32", 422, "invalid-parameter", "conv2d has 32 channels, 0 to 31"),
        ("layer=conv2d&channels=0-99999999999", 422, "invalid-parameter", "neither a channel"),
        ("layer=conv2d&channels=5-3", 422, "invalid-parameter", "backwards"),
        ("layer=conv2d&channels=", 422, "invalid-parameter", "neither a channel"),
        ("layer=conv2d&channels=-1", 422, "invalid-parameter", "neither a channel"),
        ("layer=conv2d&channels=²", 422, "invalid-parameter", "neither a channel"),
        ("channels=1", 422, "invalid-parameter", "needs a layer"),
        ("sample=10000", 404, "unknown-sample", "from 0 to 9999"),
        ("sample=-1", 404, "unknown-sample", "from 0 to 9999"),
        ("sample=seven", 422, "invalid-parameter", "sample"),
        ("layer=conv2d&format=gif", 406, "not-acceptable", "json, png, npy, npz"),
        ("format=png", 406, "not-acceptable", "json, npz can; png and npy need a layer, as layer=conv2d"),
        ("format=npy", 406, "not-acceptable", "json, npz can; png and npy need a layer, as layer=conv2d"),
        ("layer=conv2d&scale=huge", 422, "invalid-parameter", "scale"),
        ("version=9", 404, "unknown-version", "it has "),
    ],
)
async def test_what_cannot_be_shown_says_what_can(
    client: httpx.AsyncClient, query: str, status: int, slug: str, says: str
) -> None:
    answer = await client.get(f"{PATH}?{query}")
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{slug}")
    assert says in answer.json()["detail"]


async def test_an_image_that_is_none_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, content=b"words", headers={"Content-Type": "image/png"})
    assert (answer.status_code, answer.json()["type"]) == (415, "/problems/not-an-image")


async def test_a_model_without_the_graph_says_so(artifacts: Path) -> None:
    async with serving(artifacts) as client:
        answer = await client.get("/models/mnist/feature-maps")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-in-artifact")
    assert "feature_maps.onnx" in answer.json()["detail"]


def test_shipped_layers_are_the_graphs_outputs(maps: dict[str, NDArray[np.float32]]) -> None:
    assert [layer["name"] for layer in manifest("mnist-baseline")["layers"]] == list(maps)
