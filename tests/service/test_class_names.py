"""What the classes of a data set are called is told by the data set: a model may call them what it likes."""

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.manifest import DATASET, FEATURE_MAPS, MANIFEST, PROBABILITIES, TEST_PROBABILITIES, file_entry
from tests.conftest import serving
from tests.service.stripes import encoded, stripe, stripes_graph, write_model

ANSWERS = np.full((5, 10), 0.1, np.float32)


def publish(folder: Path, *files: str, metrics: dict[str, Any] | None = None, **changes: Any) -> None:
    """Lists further files of a version in its manifest, and changes entries of it."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"] |= {name: file_entry(folder / name).model_dump() for name in files}
    manifest["metrics"] |= metrics or {}
    (folder / MANIFEST).write_text(json.dumps(manifest | changes))


def write_maps(folder: Path, classes: int = 10) -> None:
    """Publishes the graph of a version's one layer, `dense`: the probabilities by another name."""
    graph = stripes_graph("mnist", classes=classes)
    graph.graph.node[-1].output[0] = graph.graph.output[0].name = "dense"
    assert PROBABILITIES not in str(graph)
    (folder / FEATURE_MAPS).write_bytes(graph.SerializeToString())
    publish(folder, FEATURE_MAPS)


def write_two_classes(artifacts: Path, **changes: Any) -> Path:
    """A version that sorts before all others and tells apart two classes, of which MNIST has ten."""
    graph = stripes_graph("mnist", classes=2).SerializeToString()
    folder = write_model(artifacts, "aaa-two", graph=graph)
    layer = json.loads((folder / MANIFEST).read_text())["layers"][0] | {"shape": [2]}
    metrics = {"confusion": [[1, 0], [0, 1]]}
    publish(folder, classes=["low", "high"], layers=[layer], metrics=metrics, **changes)
    return folder


def write_reversed(artifacts: Path) -> Path:
    """The same with the ten in another order, and what it said of the test set."""
    folder = write_model(artifacts, "aaa-reversed")
    np.save(folder / TEST_PROBABILITIES, ANSWERS)
    publish(folder, TEST_PROBABILITIES, classes=list("9876543210"))
    return folder


async def sample_label(client: httpx.AsyncClient, index: int, dataset: str = "mnist") -> str:
    answer = await client.get(f"/samples/{dataset}/{index}?format=json")
    assert answer.status_code == 200, answer.text
    assert answer.json()["class_index"] == index
    return str(answer.json()["label"])


@pytest.mark.parametrize("write", [write_two_classes, write_reversed])
async def test_a_models_own_names_are_not_those_of_the_samples(artifacts: Path, write: Any) -> None:
    write(artifacts)
    async with serving(artifacts) as client:
        assert [await sample_label(client, index) for index in range(5)] == list("01234")


async def test_nor_does_it_take_a_model_to_name_them(artifacts: Path) -> None:
    (artifacts / "models" / "stripes-colour" / "1" / MANIFEST).unlink()
    async with serving(artifacts) as client:
        assert await sample_label(client, 3, "cifar10") == "class-3"


async def test_a_sample_that_a_models_layers_are_shown_of_has_its_own_label(artifacts: Path) -> None:
    write_maps(write_two_classes(artifacts), classes=2)
    async with serving(artifacts) as client:
        for query in ("sample=3", "sample=3&layer=dense"):
            answer = await client.get(f"/models/aaa-two/feature-maps?{query}")
            assert answer.json()["sample"] == {"dataset": "mnist", "index": 3, "label": "3"}


@pytest.mark.parametrize("path", ["hard-examples", "hard-examples/3", "calibration"])
async def test_what_a_model_says_of_other_classes_is_not_held_against_the_labels(
    artifacts: Path, path: str
) -> None:
    """Index 0 is a 9 to this model, and a 0 to the test set."""
    write_reversed(artifacts)
    folder = write_model(artifacts, "ten")
    np.save(folder / TEST_PROBABILITIES, ANSWERS)
    publish(folder, TEST_PROBABILITIES)
    async with serving(artifacts) as client:
        assert (await client.get(f"/models/ten/{path}")).status_code == 200
        answer = await client.get(f"/models/aaa-reversed/{path}")
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-in-artifact")
        assert "has the classes '9', '8'" in answer.json()["detail"]
        predicted = await client.post("/predict/aaa-reversed?preprocess=none", content=encoded(stripe(3)))
        assert (predicted.json()["index"], predicted.json()["label"]) == (3, "6")


async def test_a_model_whose_data_set_is_not_there_is_served(artifacts: Path) -> None:
    write_two_classes(artifacts, dataset="halves")
    async with serving(artifacts) as client:
        answer = await client.post("/predict/aaa-two?preprocess=none", content=encoded(stripe(7)))
        assert answer.json()["label"] == "high"
        assert len(answer.json()["top"]) == 2  # three come unasked where there are three


async def test_labels_that_a_data_set_has_no_name_for_are_a_problem(artifacts: Path) -> None:
    path = artifacts / "datasets" / "mnist" / DATASET
    path.write_text(json.dumps(json.loads(path.read_text()) | {"classes": ["0", "1"]}))
    async with serving(artifacts) as client:
        answer = await client.get("/samples/mnist/3?format=json")
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/not-ready")
        assert "more classes than dataset.json names" in answer.json()["detail"]
