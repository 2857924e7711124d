"""service.hard_examples: figures and order of four images a person can check."""

import math

import numpy as np
import pytest

from service.errors import InvalidParameter
from service.hard_examples import Selection, answers, class_of, nearest_confusions, select

PROBABILITIES = np.array(
    [
        [0.7, 0.2, 0.1],  # right
        [0.5, 0.3, 0.2],  # wrong
        [0.0, 0.0, 1.0],  # wrong, and sure
        [0.4, 0.35, 0.25],  # wrong, and clueless
        [0.1, 0.5, 0.4],  # right, by a hair
    ],
    np.float32,
)
LABELS = np.array([0, 1, 0, 2, 1], np.uint8)
FOUND = answers(PROBABILITIES, LABELS)


def test_figures_are_their_definitions() -> None:
    assert FOUND.predicted.tolist() == [0, 0, 2, 0, 1]
    assert FOUND.margin == pytest.approx([0.5, 0.2, 1.0, 0.05, 0.1], abs=1e-6)
    assert FOUND.loss[:2] == pytest.approx([-math.log(0.7), -math.log(0.3)], abs=1e-6)
    entropy = -sum(p * math.log(p) for p in (0.5, 0.3, 0.2))
    assert FOUND.entropy[[1, 2]] == pytest.approx([entropy, 0.0], abs=1e-6)


def test_a_probability_of_0_has_a_large_loss_and_no_endless_one() -> None:
    assert 80 < FOUND.loss[2] < 100


@pytest.mark.parametrize(
    ("selection", "indices"),
    [
        (Selection(), [2, 3, 1]),
        (Selection(sort="margin"), [3, 1, 2]),
        (Selection(sort="entropy"), [3, 1, 2]),
        (Selection(kind="correct", sort="margin"), [4, 0]),
        (Selection(true=0), [2]),
        (Selection(predicted=0), [3, 1]),
        (Selection(true=1, predicted=0), [1]),
        (Selection(true=0, predicted=1), []),
        (Selection(kind="correct", true=1), [4]),
    ],
)
def test_a_selection_filters_and_sorts(selection: Selection, indices: list[int]) -> None:
    assert select(FOUND, selection).tolist() == indices


def test_confusions_leave_out_the_true_class_and_count_its_kin() -> None:
    near = nearest_confusions(FOUND, 1)
    assert [(one.index, one.count) for one in near] == [(0, 1), (2, 0)]
    assert near[0].probability == pytest.approx(0.5)


@pytest.mark.parametrize(("text", "index"), [("cat", 1), ("1", 1), ("0", 0)])
def test_a_class_is_named_by_label_or_index(text: str, index: int) -> None:
    assert class_of(text, ["bird", "cat"], "true") == index


@pytest.mark.parametrize("text", ["", "dog", "2", "-1", "٠", "9" * 5000])
def test_an_unknown_class_lists_the_classes(text: str) -> None:
    with pytest.raises(InvalidParameter, match="there are bird, cat, or 0 to 1"):
        class_of(text, ["bird", "cat"], "true")
