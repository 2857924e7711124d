"""/models/{model}/training, confusion-matrix, calibration and weights of shipped models."""

import shutil
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from service.figures.request import FigureRequest
from service.figures.runner import Figures
from service.manifest import MANIFEST, Manifest
from service.schemas_inside import Calibration, ConfusionMatrix, Training, Weights
from tests.conftest import PATIENT, serving
from tests.service.shipped import ARTIFACTS, latest, linked, manifest, test_set

MODEL = "/models/mnist-l2"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Serves mnist-l2 and mnist-baseline, which is `mnist`."""
    artifacts = linked(tmp_path, "mnist-l2", "mnist-baseline", aliases={"mnist": "mnist-baseline"})
    async with serving(artifacts, **PATIENT) as client:
        yield client


async def body_of(client: httpx.AsyncClient, path: str, schema: Any) -> dict[str, Any]:
    body: dict[str, Any] = (await client.get(path)).json()
    TypeAdapter(schema).validate_python(body, extra="forbid")
    return body


async def test_training_has_every_epoch_and_the_gap(client: httpx.AsyncClient) -> None:
    body = await body_of(client, f"{MODEL}/training", Training)
    assert [row["epoch"] for row in body["epochs"]] == list(
        range(1, manifest("mnist-l2")["experiment"]["epochs"] + 1)
    )
    last = body["epochs"][-1]
    assert body["gap"] == pytest.approx(last["accuracy"] - last["val_accuracy"])


async def test_a_confusion_matrix_adds_up_to_the_test_set(client: httpx.AsyncClient) -> None:
    body = await body_of(client, f"{MODEL}/confusion-matrix", ConfusionMatrix)
    matrix = np.array(body["matrix"])
    assert matrix.sum() == 10_000
    assert matrix.trace() == 10_000 - manifest("mnist-l2")["metrics"]["errors"]
    counts = [pair["count"] for pair in body["most_confused"]]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == (matrix - np.diag(matrix.diagonal())).max()
    first = body["most_confused"][0]
    assert matrix[int(first["true"]), int(first["predicted"])] == counts[0]


async def test_calibration_bins_are_those_of_the_manifests_error(client: httpx.AsyncClient) -> None:
    body = await body_of(client, f"{MODEL}/calibration", Calibration)
    bins = [one for one in body["bins"] if one["count"]]
    assert (len(body["bins"]), sum(one["count"] for one in bins)) == (15, 10_000)
    error = sum(one["count"] * abs(one["confidence"] - one["accuracy"]) for one in bins) / 10_000
    assert error == pytest.approx(manifest("mnist-l2")["metrics"]["ece"], abs=1e-6)
    probabilities, (_, labels) = np.load(latest("mnist-l2") / "test_probabilities.npy"), test_set("mnist")
    best = probabilities.max(axis=1)
    sure = (best >= bins[-1]["low"]) & (best <= 1)
    assert bins[-1]["count"] == sure.sum()
    assert bins[-1]["accuracy"] == pytest.approx((probabilities.argmax(axis=1) == labels)[sure].mean())


async def test_weights_of_a_layer_stand_beside_another_models(client: httpx.AsyncClient) -> None:
    body = await body_of(client, f"{MODEL}/layers/dense/weights?against=mnist", Weights)
    (own,), (other,) = body["layers"], body["against"]["layers"]
    assert (body["model"], body["against"]["model"]) == ("mnist-l2", "mnist-baseline")
    kernel, beside = own["weights"][0], other["weights"][0]
    assert kernel["shape"] == beside["shape"] == [288, 392]
    assert kernel["standard_deviation"] < beside["standard_deviation"]
    assert sum(kernel["histogram"]["counts"]) == kernel["count"] == 288 * 392
    assert len(kernel["histogram"]["edges"]) == len(kernel["histogram"]["counts"]) + 1


async def test_weights_of_all_layers_leave_out_those_without(client: httpx.AsyncClient) -> None:
    body = await body_of(client, f"{MODEL}/weights", Weights)
    assert [layer["name"] for layer in body["layers"]] == ["conv2d", "conv2d_1", "dense", "dense_1"]
    assert "against" not in body


async def test_a_figure_is_drawn_once_and_answers_from_then_on(client: httpx.AsyncClient) -> None:
    path = f"{MODEL}/layers/conv2d/weights?against=mnist"
    first = await client.get(path, headers={"Accept": "image/png"})
    assert (first.status_code, first.headers["Content-Type"]) == (200, "image/png")
    assert Image.open(BytesIO(first.content)).format == "PNG"
    assert (await client.get(f"{path}&format=png")).content == first.content


async def test_a_figure_is_of_the_model_that_is_served_whatever_its_folder_says_by_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = list[Manifest]()

    async def run(_: Figures, request: FigureRequest) -> bytes:
        drawn.extend(map(Manifest.model_validate_json, request.manifests))
        return b"picture"

    monkeypatch.setattr(Figures, "_run", run)
    (tmp_path / "datasets").symlink_to(ARTIFACTS / "datasets")
    folder = shutil.copytree(latest("mnist-l2"), tmp_path / "models" / "mnist-l2" / "1")
    served = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    async with serving(tmp_path) as client:
        (folder / MANIFEST).write_text(served.model_copy(update={"classes": ["a", "b"]}).model_dump_json())
        for path in (f"{MODEL}/confusion-matrix", f"{MODEL}/training"):
            answer = await client.get(path, headers={"Accept": "image/png"})
            assert (answer.content, answer.headers["Vary"]) == (b"picture", "Accept")
    assert drawn == [served, served]


@pytest.mark.parametrize(
    ("path", "status", "slug", "says"),
    [
        (f"{MODEL}/layers/nope/weights", 404, "unknown-layer", "it has conv2d"),
        (f"{MODEL}/layers/flatten/weights", 404, "unknown-layer", "those with weights are conv2d"),
        (f"{MODEL}/layers/flatten/weights?format=png", 404, "unknown-layer", "those with weights are conv2d"),
        (f"{MODEL}/weights?against=nobody", 404, "unknown-model", "mnist-baseline"),
        (f"{MODEL}/training?against=nobody", 404, "unknown-model", "mnist-baseline"),
        (f"{MODEL}/training?against=nobody&format=png", 404, "unknown-model", "mnist-baseline"),
        (f"{MODEL}/training?format=svg", 406, "not-acceptable", "json, png"),
        (f"{MODEL}/calibration?theme=blue&format=png", 422, "invalid-parameter", "theme"),
        (f"{MODEL}/confusion-matrix?version=7", 404, "unknown-version", "it has "),
    ],
)
async def test_what_cannot_be_reported_says_what_can(
    client: httpx.AsyncClient, path: str, status: int, slug: str, says: str
) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{slug}")
    assert says in answer.json()["detail"]


@pytest.mark.parametrize(
    "path", ["training", "training?format=png", "calibration?format=png", "weights?format=png"]
)
async def test_a_model_published_without_reports_says_so(artifacts: Path, path: str) -> None:
    async with serving(artifacts) as client:
        answer = await client.get(f"/models/mnist/{path}")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-in-artifact")
