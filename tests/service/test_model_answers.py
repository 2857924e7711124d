"""What counts as an answer of a model, before it is served and while it is."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from service.admission import Limits
from service.batcher import RunError
from service.engines import EngineName, Precision
from service.manifest import MODEL, PROBABILITIES, Manifest, file_entry
from service.model import Model
from tests.conftest import serving
from tests.service.engines.graphs import with_logits
from tests.service.stripes import encoded, manifest_of, stripe, stripes_graph, write_aliases, write_model

EVEN = np.full(10, 0.1, np.float32)
Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class Engine:
    """Answers each image alone, as `answer` does."""

    name = "answers"
    precision: Precision = "float32"
    outputs = (PROBABILITIES,)

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return [np.stack([self.answer(image) for image in images])]


def model_of(answer: Answer, inline_run: float = 0.0) -> Model:
    files = {MODEL: file_entry(Path(__file__)).model_dump()}
    manifest = Manifest.model_validate(manifest_of("answers", "1", "mnist", files))
    return Model(manifest, Engine(answer), Limits(256, 0.0, 4096, 0.5, 0.005), inline_run)


def row(*first: float) -> NDArray[np.float32]:
    return np.array([*first, *[0.0] * (10 - len(first))], np.float32)


@pytest.mark.parametrize("wrong", [row(1.5, -0.5), row(math.nan, 1), row(0.5), row(), row(math.inf)])
@pytest.mark.parametrize(
    "kind",
    [
        lambda image: not image.any(),
        lambda image: (image == 255).all(),
        lambda image: len(np.unique(image)) > 200 and 100 < image.mean() < 155,
    ],
    ids=["black", "white", "noise"],
)
def test_a_model_is_warm_where_its_answers_to_all_kinds_of_images_are_probabilities(
    kind: Callable[[NDArray[np.uint8]], bool], wrong: NDArray[np.float32]
) -> None:
    model_of(lambda _: EVEN).warm_up()
    with pytest.raises(ValueError, match="no probabilities"):
        model_of(lambda image: wrong if kind(image) else EVEN).warm_up()


@pytest.mark.parametrize("rows", [1, 256])
@pytest.mark.parametrize("inline_run", [0.0, 10.0])
@pytest.mark.parametrize("wrong", [row(math.nan, 1), row(), row(math.inf)])
async def test_a_run_whose_answer_is_no_probabilities_fails(
    wrong: NDArray[np.float32], inline_run: float, rows: int
) -> None:
    model = model_of(lambda image: wrong if image.any() else EVEN + np.float32(9e-5), inline_run)
    model.time_runs()
    images = np.zeros((rows, 28, 28, 1), np.uint8)
    assert len(await model.predict(images)) == rows  # as far from 1 as rounding may bring each
    images[-1] = 7
    with pytest.raises(RunError, match="no probabilities"):
        await model.predict(images)
    await model.drain(0)


def overflowing() -> onnx.ModelProto:
    """Its logits are inf, and its answers NaN, for all but very dark images."""
    graph = stripes_graph("mnist")
    graph.graph.node[-1].input[0] = "vast"
    graph.graph.node.insert(4, helper.make_node("Pow", ["logits", "white"], ["vast"]))
    return graph


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
async def test_a_net_that_overflows_for_images_that_are_not_black_is_not_served(
    tmp_path: Path, engine: EngineName
) -> None:
    write_model(tmp_path, "overflowing", graph=overflowing().SerializeToString())
    async with serving(tmp_path, engine=engine) as client:
        [refused] = (await client.get("/models")).json()["refused"]
    assert "the graph's answer is no probabilities" in refused["reason"]


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
async def test_of_several_outputs_the_probabilities_are_answered(
    tmp_path: Path, engine: EngineName, rows: int
) -> None:
    write_model(tmp_path, "stripes", graph=with_logits().SerializeToString())
    write_aliases(tmp_path, {})
    async with serving(tmp_path, engine=engine) as client:
        files = [("files", (str(at), encoded(stripe(at)), "image/png")) for at in range(rows)]
        answers = (await client.post("/predict/stripes/batch", files=files)).json()["results"]
    assert len(answers) == rows
    assert all(0.5 < answer["probability"] <= 1 for answer in answers)
