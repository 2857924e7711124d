"""How far a graph is from its Keras model, and that nobody is told of it."""

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from service.manifest import MODEL
from tests.at_home import left_at_home
from tests.service.shipped import latest
from training import parity
from training.parity import ParityError


def test_graph_that_answers_otherwise_than_keras_is_refused() -> None:
    keras_says = np.array([[0.6, 0.4], [0.50001, 0.49999]], np.float32)
    with pytest.raises(ParityError, match="first: test image 0"):
        parity.compare(keras_says, keras_says[:, ::-1])
    answer = parity.compare(keras_says, np.array([[0.6, 0.4], [0.49999, 0.50001]], np.float32))
    assert (answer.labels_changed, answer.labels_changed_clear) == (1, 0)


def test_shorter_floats_are_faithful_up_to_a_label_in_a_thousand_and_half_a_right_answer() -> None:
    labels = np.zeros(2000, np.uint8)
    full = np.tile(np.array([0.6, 0.4], np.float32), (2000, 1))
    full[1:3] = [0.4, 0.6]  # two wrong answers
    one_lost = full.copy()
    one_lost[0] = [0.4, 0.6]
    answer = parity.change_of_labels(full, one_lost, labels)
    assert (answer.labels_changed, answer.correct_changed, answer.faithful) == (1, -1, True)
    one_more_for_one = one_lost.copy()
    one_more_for_one[1] = [0.6, 0.4]
    answer = parity.change_of_labels(full, one_more_for_one, labels)
    assert (answer.labels_changed, answer.correct_changed, answer.faithful) == (2, 0, True)
    two_lost = one_lost.copy()
    two_lost[3] = [0.4, 0.6]
    assert not parity.change_of_labels(full, two_lost, labels).faithful
    three_changed = one_more_for_one.copy()
    three_changed[3] = [0.4, 0.6]
    assert not parity.change_of_labels(full, three_changed, labels).faithful


def test_shorter_floats_are_asked_for_and_every_image_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[object, ...]] = []

    class Core:
        def compile_model(self, *how: object) -> Callable[[dict[str, np.ndarray]], list[np.ndarray]]:
            asked.append(how)
            return lambda inputs: [inputs["image"][:, 0, 0].astype(np.float32)]

    engine = ModuleType("openvino")
    engine.__spec__ = ModuleSpec("openvino", None)
    monkeypatch.setattr(engine, "Core", Core, raising=False)
    monkeypatch.setitem(sys.modules, "openvino", engine)
    images = np.random.default_rng(1).integers(0, 256, (1100, 28, 28, 1), dtype=np.uint8)
    answers = parity.bfloat16_answers(Path("model.onnx"), images)
    assert asked == [(Path("model.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})]
    assert answers is not None
    assert np.array_equal(answers, images[:, 0, 0])


def test_a_graph_that_is_run_is_not_reported_to_anybody(tmp_path: Path) -> None:
    statement = (
        "import sys; from pathlib import Path; import numpy as np; from training.parity import run_graph; "
        "run_graph(Path(sys.argv[1]), np.zeros((1, 28, 28, 1), np.uint8))"
    )
    assert left_at_home(tmp_path, statement, latest("mnist-8-filters") / MODEL) == []
