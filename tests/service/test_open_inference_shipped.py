"""The models of artifacts/ through the Open Inference Protocol, on the real test images."""

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from service.manifest import FEATURE_MAPS, TEST_PROBABILITIES
from service.routes import open_inference_examples as examples
from tests.conftest import serving
from tests.service.shipped import MODELS, latest, linked, manifest, run, test_set

LENGTH = "Inference-Header-Content-Length"
EXACT: dict[str, Any] = {"engine": "onnxruntime", "deadline": 300}  # however busy the machine is


async def binary_outputs(
    client: httpx.AsyncClient, model: str, images: NDArray[np.uint8], *names: str
) -> dict[str, NDArray[np.float32]]:
    """Sends pixels and takes FP32 outputs, all as bytes."""
    tensor = {
        "name": "image",
        "datatype": "UINT8",
        "shape": images.shape,
        "parameters": {"binary_data_size": images.size},
    }
    outputs = [{"name": name, "parameters": {"binary_data": True}} for name in names]
    head = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    url = f"/v2/models/{model}/infer"
    answer = await client.post(url, content=head + images.tobytes(), headers={LENGTH: str(len(head))})
    assert answer.status_code == 200, answer.text
    at = int(answer.headers[LENGTH])
    found = {}
    for one in json.loads(answer.content[:at])["outputs"]:
        size = one["parameters"]["binary_data_size"]
        found[one["name"]] = np.frombuffer(answer.content[at : at + size], "<f4").reshape(one["shape"])
        at += size
    return found


async def test_answers_are_the_exported_graphs_own(tmp_path: Path) -> None:
    """A hundred test images of every model in one request, which is two runs."""
    async with serving(linked(tmp_path, *MODELS), **EXACT) as client:
        for name in MODELS:
            images, _ = test_set(manifest(name)["dataset"])
            expected = np.load(latest(name) / TEST_PROBABILITIES)[:100]
            found = (await binary_outputs(client, name, images[:100], "probabilities"))["probabilities"]
            assert np.abs(found - expected).max() < 1e-4, name
            assert np.array_equal(found.argmax(axis=1), expected.argmax(axis=1)), name


@pytest.mark.parametrize("model", ["mnist-baseline", "cifar10-batchnorm"])
async def test_every_layer_comes_by_its_name(tmp_path: Path, model: str) -> None:
    images = test_set(manifest(model)["dataset"])[0][:3]
    names = [layer["name"] for layer in manifest(model)["layers"]]
    expected = run(latest(model) / FEATURE_MAPS, images)
    async with serving(linked(tmp_path, model), **EXACT) as client:
        found = await binary_outputs(client, model, images, *names, "probabilities")
    assert list(found) == [*names, "probabilities"]
    for name in names:
        assert found[name].shape == expected[name].shape
        assert np.allclose(found[name], expected[name], atol=1e-4), name


async def test_more_feature_maps_than_an_answer_may_have_are_refused(tmp_path: Path) -> None:
    images = test_set("mnist")[0][:100]
    tensor = {"name": "image", "datatype": "UINT8", "shape": images.shape, "data": images.tolist()}
    body = {"inputs": [tensor], "outputs": [{"name": "conv2d"}]}
    async with serving(linked(tmp_path, "mnist-baseline"), max_batch_bytes=1_000_000) as client:
        answer = await client.post("/v2/models/mnist-baseline/infer", json=body)
    assert answer.status_code == 400
    assert "about 10,816,000 bytes; the limit is 1,000,000" in answer.json()["error"]


async def test_documented_answers_are_real(tmp_path: Path) -> None:
    home = "/v2/models/mnist-baseline"
    async with serving(linked(tmp_path, "mnist-baseline"), **EXACT) as client:
        assert (await client.get("/v2")).json() == examples.SERVER
        assert (await client.get(home)).json() == examples.MODEL
        assert (await client.get(f"{home}/ready")).json() == examples.MODEL_READY
        answer = (await client.post(f"{home}/infer", json=examples.REQUEST)).json()
    shown = json.loads(json.dumps(examples.ANSWER))
    # The least digits depend on the processor's own arithmetic.
    assert answer["outputs"][0].pop("data") == pytest.approx(shown["outputs"][0].pop("data"), abs=1e-5)
    assert answer == shown
