"""Shipped nets as teachers, and a net that learns from one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from service.manifest import MANIFEST, Manifest, TeacherVersion, sha256_of
from tests.service.shipped import latest, linked, test_set
from training import export, fit, teacher
from training.augmentation import Photographs
from training.checkpoints import CheckpointError
from training.datasets import Arrays, Images
from training.experiments import EXPERIMENTS
from training.published import NotPublishedError
from training.runs import Run, load_checkpoint
from training.teacher import Lessons, Teacher

STUDENT = replace(
    EXPERIMENTS["cifar10-fast"],
    name="student",
    options={"filters": (8, 8, 8), "depth": 2, "momentum": 0.6},
    epochs=3,
    batch_size=64,
    held_out=100,
    teacher="someone",
    views=2,
    softness=2.0,
)
IMAGES = 60
SOMEONE = TeacherVersion(name="someone", version="1", files={"model.keras": "a" * 64})
RETRAINED = SOMEONE.model_copy(update={"files": {"model.keras": "b" * 64}})


class Counting:
    """Says of every image that it is of one class, most surely of the brightest; counts how often it was asked."""

    def __init__(self, index: int = 3) -> None:
        self.index, self.asked = index, 0

    def __call__(self, images: Images) -> np.ndarray:
        self.asked += 1
        logits = np.zeros((len(images), 10), np.float32)
        logits[:, self.index] = 4 + images.mean((1, 2, 3)) / 255
        return logits


def lessons(ask: teacher.Ask, kept: Path, version: TeacherVersion = SOMEONE) -> Lessons:
    draw = Photographs(test_set("cifar10")[0][:IMAGES], shift=2, cutout=4)
    return Lessons(STUDENT, Teacher(version, ask), draw, IMAGES, kept)


@pytest.mark.parametrize("name", ["cifar10-strided", "cifar10-pair"])
def test_a_published_net_says_as_a_teacher_what_it_answers_when_served(name: str) -> None:
    images = test_set("cifar10")[0][:IMAGES]
    said = teacher.ask(latest(name))(images)
    served = np.load(latest(name) / "test_probabilities.npy")[:IMAGES]
    assert said.shape == (IMAGES, 10)
    assert (said.argmax(1) == served.argmax(1)).mean() > 0.95  # it answers in bfloat16
    if name == "cifar10-strided":
        assert np.abs(softmax(said, axis=1) - served).mean() < 0.01


def test_views_come_again_in_turn_and_the_teacher_is_asked_once_about_each(tmp_path: Path) -> None:
    ask = Counting()
    first, second, again = (lessons(ask, tmp_path).of(epoch) for epoch in (1, 2, 3))
    assert ask.asked == 2
    rows, random = np.arange(IMAGES), np.random.default_rng(0)
    seen = [drawn(rows, 1, random) for drawn, _ in (first, second, again)]
    assert np.array_equal(seen[0], seen[2])
    assert not np.array_equal(seen[0], seen[1])
    assert np.array_equal(first[1], again[1])
    expected = softmax(Counting()(seen[1]) / STUDENT.softness, axis=1)
    assert second[1] == pytest.approx(expected, abs=1e-3)  # kept in half precision


@pytest.mark.parametrize("left", [0, 5, 200])
def test_what_is_kept_of_a_teacher_and_damaged_is_asked_anew(tmp_path: Path, left: int) -> None:
    ask = Counting()
    _, first = lessons(ask, tmp_path).of(1)
    [kept] = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:left])
    _, again = lessons(ask, tmp_path).of(1)
    assert ask.asked == 2
    assert np.array_equal(first, again)


@pytest.mark.parametrize("version", [SOMEONE.model_copy(update={"version": "2"}), RETRAINED])
def test_what_another_teacher_said_is_not_taken_for_this_ones(
    tmp_path: Path, version: TeacherVersion
) -> None:
    lessons(Counting(), tmp_path).of(1)
    other = Counting(5)
    _, targets = lessons(other, tmp_path, version).of(1)
    assert other.asked == 1
    assert (targets.argmax(1) == 5).all()


@pytest.fixture(scope="module")
def taught(few_arrays: dict[str, Arrays], tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A student's finished run, and its checkpoint."""
    checkpoint = tmp_path_factory.mktemp("taught") / "run.npz"
    return fit.fit(
        STUDENT, few_arrays["cifar10"], checkpoint, teacher=Teacher(SOMEONE, Counting())
    ), checkpoint


def test_a_student_learns_what_its_teacher_says_and_not_the_labels(
    few_arrays: dict[str, Arrays], taught: tuple[Run, Path]
) -> None:
    arrays, run = few_arrays["cifar10"], taught[0]
    answers = run.model.predict_on_batch(arrays.train_images[:50])
    assert (answers.argmax(1) == 3).all()
    assert run.history[-1]["val_accuracy"] < 0.3  # of the true labels


def test_another_teacher_does_not_go_on_with_a_run(
    few_arrays: dict[str, Arrays], taught: tuple[Run, Path]
) -> None:
    other = Teacher(RETRAINED, Counting(5))
    expected = (
        r"taught by someone 1 \(model.keras aaaaaaaa\), not by someone 1 \(model.keras bbbbbbbb\).*--restart"
    )
    with pytest.raises(CheckpointError, match=expected):
        fit.fit(STUDENT, few_arrays["cifar10"], taught[1], teacher=other, resume=True)


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:tf2onnx")
def test_what_is_published_names_its_teacher(
    few_arrays: dict[str, Arrays], taught: tuple[Run, Path], tmp_path: Path
) -> None:
    run = Run(STUDENT, fit.build(STUDENT))
    load_checkpoint(run, taught[1])
    folder = export.publish(run, few_arrays["cifar10"], tmp_path, command="python -m training export student")
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_text())
    assert manifest.provenance.teacher == SOMEONE


def test_a_stopped_student_goes_on_as_if_it_had_not_been(
    few_arrays: dict[str, Arrays], taught: tuple[Run, Path], tmp_path: Path
) -> None:
    arrays, ask, path = few_arrays["cifar10"], Counting(), tmp_path / "run.npz"

    def stop(run: Run) -> None:
        if len(run.history) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit.fit(STUDENT, arrays, path, teacher=Teacher(SOMEONE, ask), after_epoch=stop)
    resumed = fit.fit(STUDENT, arrays, path, teacher=Teacher(SOMEONE, ask), resume=True)
    assert ask.asked == 2  # not again for the third epoch
    for row, other in zip(resumed.history, taught[0].history, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-3)


def test_a_teacher_that_is_not_published_is_named_with_the_way_to_it(tmp_path: Path) -> None:
    with pytest.raises(NotPublishedError, match="training train cifar10-pair"):
        teacher.find(EXPERIMENTS["cifar10-fast"], tmp_path)


@pytest.mark.parametrize(
    ("name", "files"),
    [("cifar10-strided", {"model.keras"}), ("cifar10-pair", {"tower-1.keras", "tower-2.keras"})],
)
def test_the_latest_version_teaches(tmp_path: Path, name: str, files: set[str]) -> None:
    found = teacher.find(replace(STUDENT, teacher=name), linked(tmp_path, name))
    assert found is not None
    assert (found.version.name, found.version.version) == (name, latest(name).name)
    assert found.version.files == {file: sha256_of(latest(name) / file) for file in files}


def test_whoever_has_no_teacher_finds_none(tmp_path: Path) -> None:
    assert teacher.find(EXPERIMENTS["cifar10-strided"], tmp_path) is None


def test_whoever_is_taught_needs_a_teacher(few_arrays: dict[str, Arrays], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="taught by someone"):
        fit.fit(STUDENT, few_arrays["cifar10"], tmp_path / "run.npz")
