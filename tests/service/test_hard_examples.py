"""service.hard_examples: figures and order of four images a person can check."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import InvalidParameter, NotInArtifact
from service.hard_examples import (
    REMEMBERED,
    Selection,
    TestAnswers,
    answers,
    class_of,
    nearest_confusions,
    select,
)
from service.manifest import TEST_PROBABILITIES, Manifest, file_entry
from service.samples import SampleSet
from tests.service.stripes import CLASSES, manifest_of, write_model

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


def test_a_sure_answer_has_neither_loss_nor_entropy_and_not_minus_0() -> None:
    sure = np.array([[1, 0, 0], [np.nextafter(np.float32(1), np.float32(2)), 0, 0]], np.float32)
    found = answers(sure, np.zeros(2, np.uint8))
    for figures in (found.loss, found.entropy):
        assert [str(figure) for figure in figures] == ["0.0", "0.0"]


def test_figures_are_exact_where_float32_has_no_number_for_them() -> None:
    """1 less a little: in float32 both margins are 1, and the first would come first."""
    sure = np.array([[1, 1e-9, 0], [1, 2e-9, 0]], np.float32)
    found = answers(sure, np.zeros(2, np.uint8))
    assert found.margin.tolist() == [float(row[0]) - float(row[1]) for row in sure]
    assert select(found, Selection(kind="correct", sort="margin")).tolist() == [1, 0]
    unsure = np.array([[0.1, 0.7, 0.2]], np.float32)
    found = answers(unsure, np.zeros(1, np.uint8))
    assert found.loss.tolist() == [-math.log(unsure[0, 0])]
    assert found.entropy[0] == pytest.approx(-sum(p * math.log(p) for p in unsure[0].tolist()), abs=1e-15)


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


SAMPLES = SampleSet(
    dataset="mnist",
    images=np.zeros((2, 28, 28, 1), np.uint8),
    labels=np.array([0, 1], np.uint8),
    classes=CLASSES["mnist"],
)


def published(artifacts: Path, name: str, probabilities: NDArray[np.float32]) -> Manifest:
    """A model of the ten classes of MNIST with these test probabilities."""
    folder = artifacts / "models" / name / "1"
    if not folder.exists():
        write_model(artifacts, name)
    np.save(folder / TEST_PROBABILITIES, probabilities)
    files = {path.name: file_entry(path).model_dump() for path in folder.iterdir()}
    return Manifest.model_validate(manifest_of(name, "1", "mnist", files))


def test_a_model_without_probabilities_has_no_answers(tmp_path: Path) -> None:
    manifest = published(tmp_path, "other", np.ones((2, 10), np.float32))
    files = {name: entry for name, entry in manifest.files.items() if name != TEST_PROBABILITIES}
    with pytest.raises(NotInArtifact, match=f"other 1 was published without {TEST_PROBABILITIES}"):
        TestAnswers(tmp_path).of(manifest.model_copy(update={"files": files}), SAMPLES)


@pytest.mark.parametrize("shape", [(3, 10), (1, 10), (2, 9), (2,), (0, 10)])
def test_probabilities_of_another_test_set_are_none(tmp_path: Path, shape: tuple[int, ...]) -> None:
    manifest = published(tmp_path, "other", np.ones(shape, np.float32))
    with pytest.raises(NotInArtifact, match=r"other 1 has test probabilities .* mnist needs \[2, 10\]"):
        TestAnswers(tmp_path).of(manifest, SAMPLES)


def test_the_models_asked_for_last_are_remembered_and_no_more(tmp_path: Path) -> None:
    test_answers, row = TestAnswers(tmp_path), np.full((2, 10), 0.1, np.float32)
    first, second, *others, newest = [published(tmp_path, f"model-{at}", row) for at in range(REMEMBERED + 1)]
    kept = {one.name: test_answers.of(one, SAMPLES) for one in (first, second, *others)}
    assert test_answers.of(first, SAMPLES) is kept[first.name]
    test_answers.of(newest, SAMPLES)  # in place of the second, since the first was asked for again
    for one in (first, *others):
        assert test_answers.of(one, SAMPLES) is kept[one.name]
    assert test_answers.of(second, SAMPLES) is not kept[second.name]


def test_what_was_published_anew_is_read_anew(tmp_path: Path) -> None:
    test_answers = TestAnswers(tmp_path)
    for best in (3, 5):
        manifest = published(tmp_path, "again", np.eye(10, dtype=np.float32)[[best, best]])
        assert test_answers.of(manifest, SAMPLES).predicted.tolist() == [best, best]
