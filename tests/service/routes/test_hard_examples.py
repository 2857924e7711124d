"""/models/{model}/hard-examples: of every shipped model the same as by hand from its graph and the test set."""

import csv
from collections.abc import AsyncIterator, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter

from service.pictures import contact_sheet
from service.pictures.colours import Theme
from service.schemas_inside import HardExampleDetail, HardExampleList
from tests.conftest import serving
from tests.service.shipped import MODELS, latest, linked, manifest, run, test_set

PATH = "/models/mnist-baseline/hard-examples"
CHEAP = 200_000  # parameters: nets up to this answer the whole test set in a second
TOLERANCE = 1e-4


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Serves mnist-baseline and cifar10-strided."""
    async with serving(linked(tmp_path, "mnist-baseline", "cifar10-strided")) as client:
        yield client


async def listed(client: httpx.AsyncClient, query: str = "", path: str = PATH) -> dict[str, Any]:
    answer = await client.get(f"{path}?{query}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def by_hand(row: NDArray[np.float32], label: int) -> dict[str, float]:
    """The figures of one image from its probabilities, as their definitions have it."""
    ordered = sorted((float(p) for p in row), reverse=True)
    return {
        "probability_true": float(row[label]),
        "probability_predicted": ordered[0],
        "margin": ordered[0] - ordered[1],
        "entropy": -sum(p * float(np.log(p)) for p in ordered if p > 0),
    }


def checked_images(name: str, items: list[dict[str, Any]]) -> list[int]:
    """All test images for the cheap nets; for the others each 50th, the hardest and the narrowest."""
    if manifest(name)["parameters"] <= CHEAP:
        return list(range(10_000))
    narrow = sorted(items, key=lambda item: float(item["margin"]))[:20]
    return sorted({*range(0, 10_000, 50), *(item["index"] for item in [*items[:20], *narrow])})


@pytest.mark.parametrize("name", MODELS)
async def test_the_list_is_what_graph_and_test_set_give(tmp_path: Path, name: str) -> None:
    about = manifest(name)
    images, labels = test_set(about["dataset"])
    async with serving(linked(tmp_path, name)) as client:
        body = await listed(client, "limit=10000", f"/models/{name}/hard-examples")
    TypeAdapter(HardExampleList).validate_python(body, strict=True, extra="forbid")
    items = body["items"]
    assert len(items) == body["total"] == about["metrics"]["errors"]
    losses = [item["loss"] for item in items]
    assert losses == sorted(losses, reverse=True)

    found = {item["index"]: item for item in items}
    indices = checked_images(name, items)
    probabilities = run(latest(name) / "model.onnx", images[indices])["probabilities"]
    for index, row in zip(indices, probabilities, strict=True):
        label, predicted = int(labels[index]), int(row.argmax())
        figures = by_hand(row, label)
        if figures["margin"] > TOLERANCE:
            assert (index in found) == (predicted != label)
        if index not in found:
            continue
        item = found[index]
        assert item["true"] == {"index": label, "label": about["classes"][label]}
        assert item["image"] == f"/samples/{about['dataset']}/{index}"
        for figure, value in figures.items():
            assert item[figure] == pytest.approx(value, abs=TOLERANCE)
        if figures["probability_true"] > 1e-6:
            assert item["loss"] == pytest.approx(-np.log(figures["probability_true"]), rel=1e-3)


async def test_known_label_errors_are_among_the_errors_and_disputed(client: httpx.AsyncClient) -> None:
    """Images that over 30 independent strong nets all or nearly all got wrong, and what five people said."""
    items = {item["index"]: item for item in (await listed(client, "limit=10000"))["items"]}
    assert {1901, 9729, 2130} <= items.keys()
    assert {index for index in (1901, 9729, 2130, 3520) if items[index]["disputed"]} == {
        1901,
        9729,
        2130,
        3520,
    }
    assert items[2654]["votes"] == {"given": 0, "guessed": 2, "neither": 3, "both": 0, "guessed_label": "1"}
    assert not items[1014]["disputed"]


async def test_a_guess_of_the_label_itself_is_no_other_label(client: httpx.AsyncClient) -> None:
    path = f"{PATH}/938"
    body = (await client.get(path)).json()
    TypeAdapter(HardExampleDetail).validate_python(body, strict=True, extra="forbid")
    assert (body["votes"]["guessed"], body["votes"]["guessed_label"]) == (0, None)


async def test_pages_join_to_the_whole(client: httpx.AsyncClient) -> None:
    whole = await listed(client, "limit=10000&sort=entropy")
    pages = [
        await listed(client, f"limit=50&offset={at}&sort=entropy") for at in range(0, whole["total"], 50)
    ]
    assert [item for page in pages for item in page["items"]] == whole["items"]
    assert {page["total"] for page in pages} == {whole["total"]}
    beyond = await listed(client, f"offset={10**40}")
    assert (beyond["items"], beyond["total"]) == ([], whole["total"])


@pytest.mark.parametrize(("sort", "falls"), [("loss", True), ("entropy", True), ("margin", False)])
@pytest.mark.parametrize("kind", ["misclassified", "correct"])
async def test_every_kind_comes_in_every_order(
    client: httpx.AsyncClient, kind: str, sort: str, *, falls: bool
) -> None:
    body = await listed(client, f"kind={kind}&sort={sort}&limit=300")
    figures = [item[sort] for item in body["items"]]
    assert figures == sorted(figures, reverse=falls)
    wrong = [item["true"] != item["predicted"] for item in body["items"]]
    assert set(wrong) == {kind == "misclassified"}


async def test_filters_take_labels_and_indices(client: httpx.AsyncClient) -> None:
    path = "/models/cifar10-strided/hard-examples"
    by_label = await listed(client, "true=cat&predicted=dog&limit=1000", path)
    by_index = await listed(client, "true=3&predicted=5&limit=1000", path)
    assert by_label == by_index
    confusion = manifest("cifar10-strided")["metrics"]["confusion"]
    assert by_label["total"] == len(by_label["items"]) == confusion[3][5] > 0
    assert {item["predicted"]["label"] for item in by_label["items"]} == {"dog"}
    assert (await listed(client, "true=3&predicted=3", path))["total"] == 0


async def test_a_table_has_the_lists_fields(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{PATH}?limit=5&format=csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(StringIO(answer.text)))
    items = (await listed(client, "limit=5"))["items"]
    for row, item in zip(rows, items, strict=True):
        assert int(row["index"]) == item["index"]
        assert float(row["loss"]) == pytest.approx(item["loss"])
        assert (row["true_label"], row["predicted_label"]) == (
            item["true"]["label"], item["predicted"]["label"],
        )  # fmt: skip
        assert row["disputed"] == str(item["disputed"]).lower()
        assert row["votes_given"] == ("" if item["votes"] is None else str(item["votes"]["given"]))


@pytest.mark.parametrize(
    "query", ["limit=7", "theme=dark&limit=200&kind=correct&sort=margin", "true=0&predicted=1"]
)
async def test_a_contact_sheet_is_a_picture(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"{PATH}?{query}", headers={"Accept": "image/png"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
    assert Image.open(BytesIO(answer.content)).format == "PNG"


@pytest.fixture
def titles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Those of the contact sheets, which are not drawn."""
    titles = list[str]()

    def draw(entries: Sequence[contact_sheet.Entry], title: str, theme: Theme) -> Image.Image:
        titles.append(title)
        return Image.new("L", (1, 1))

    monkeypatch.setattr(contact_sheet, "draw", draw)
    return titles


async def test_a_contact_sheet_says_what_was_chosen(client: httpx.AsyncClient, titles: list[str]) -> None:
    for query in ("", "&true=5", "&true=5&predicted=3"):
        assert (await client.get(f"{PATH}?format=png{query}")).status_code == 200
    assert [title.split(" · ")[1:-2] for title in titles] == [
        ["misclassified"],
        ["misclassified", "true 5"],
        ["misclassified", "true 5", "predicted 3"],
    ]


async def test_a_contact_sheet_says_which_part_of_how_many_it_is(
    client: httpx.AsyncClient, titles: list[str]
) -> None:
    wrong, right = [(await listed(client, f"kind={kind}"))["total"] for kind in ("misclassified", "correct")]
    assert (wrong, right) == (117, 9883)
    for query in (
        "limit=24",
        "kind=correct&limit=3&offset=9860",
        "limit=24&offset=116",
        "offset=117",
        f"offset={10**40}",
        "true=3&predicted=3",
    ):
        assert (await client.get(f"{PATH}?format=png&{query}")).status_code == 200
    assert [title.split(" · ")[-2] for title in titles] == [
        "1–24 of 117",
        "9,861–9,863 of 9,883",
        "number 117 of 117",
        "past the last of 117",
        "past the last of 117",
        "no test image fits",
    ]


async def test_a_contact_sheet_shows_the_images_themselves(client: httpx.AsyncClient) -> None:
    index = (await listed(client, "limit=1"))["items"][0]["index"]
    picture = np.asarray(Image.open(BytesIO((await client.get(f"{PATH}?limit=1&format=png")).content)))
    image = test_set("mnist")[0][index, ..., 0].repeat(4, axis=0).repeat(4, axis=1)
    grey = picture[..., 0]
    windows = np.lib.stride_tricks.sliding_window_view(grey, image.shape)
    middle = len(image) // 2
    places = np.argwhere((windows[:, :, middle] == image[middle]).all(axis=2))
    assert any((windows[top, left] == image).all() for top, left in places)


async def test_one_example_has_everything(client: httpx.AsyncClient) -> None:
    body = (await client.get(f"{PATH}/1901")).json()
    TypeAdapter(HardExampleDetail).validate_python(body, strict=True, extra="forbid")
    item = next(one for one in (await listed(client, "limit=10000"))["items"] if one["index"] == 1901)
    assert {name: body[name] for name in item} == item
    shares = [one["probability"] for one in body["probabilities"]]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert [one["label"] for one in body["probabilities"]] == [str(digit) for digit in range(10)]
    best, second = sorted(shares, reverse=True)[:2]
    assert body["margin"] == best - second
    nearest = max((share, digit) for digit, share in enumerate(shares) if digit != 9)
    confusion = manifest("mnist-baseline")["metrics"]["confusion"]
    assert body["confusions"][0] == {
        "label": str(nearest[1]), "index": nearest[1], "probability": nearest[0], "count": confusion[9][nearest[1]],
    }  # fmt: skip


async def test_any_test_image_is_answered_and_says_what_kind_it_is(client: httpx.AsyncClient) -> None:
    kinds = [(await client.get(f"{PATH}/{index}")).json()["kind"] for index in (0, 2654)]
    assert kinds == ["correct", "misclassified"]


@pytest.mark.parametrize(
    ("path", "status", "slug", "says"),
    [
        (f"{PATH}?true=cat", 422, "invalid-parameter", "there are 0, 1, 2"),
        (f"{PATH}?predicted=10", 422, "invalid-parameter", "0 to 9"),
        (f"{PATH}?kind=both", 422, "invalid-parameter", "kind"),
        (f"{PATH}?sort=name", 422, "invalid-parameter", "sort"),
        (f"{PATH}?limit=0", 422, "invalid-parameter", "limit"),
        (f"{PATH}?limit=201&format=png", 422, "invalid-parameter", "at most 200"),
        (f"{PATH}?offset=-1", 422, "invalid-parameter", "offset"),
        (f"{PATH}?format=xlsx", 406, "not-acceptable", "json, png, csv"),
        (f"{PATH}/10000", 404, "unknown-sample", "from 0 to 9999"),
        (f"{PATH}/-1", 404, "unknown-sample", "from 0 to 9999"),
        (f"{PATH}/nine", 422, "invalid-parameter", "index"),
        (f"{PATH}/9?format=png", 406, "not-acceptable", "json"),
        ("/models/nobody/hard-examples", 404, "unknown-model", "mnist-baseline"),
    ],
)
async def test_what_cannot_be_answered_says_what_can(
    client: httpx.AsyncClient, path: str, status: int, slug: str, says: str
) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{slug}")
    assert says in answer.json()["detail"]


async def test_a_model_without_test_probabilities_says_so(artifacts: Path) -> None:
    async with serving(artifacts) as client:
        answer = await client.get("/models/mnist/hard-examples")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-in-artifact")
