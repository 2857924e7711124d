"""Where a model fails: a view over test set × test probabilities. Nothing of it is stored."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.artifact_files import require, unchanged
from service.errors import InvalidParameter, NotInArtifact, brief, listed
from service.latest import Latest
from service.manifest import TEST_PROBABILITIES, Manifest, Votes
from service.samples import SampleSet

Sort = Literal["loss", "margin", "entropy"]
Kind = Literal["misclassified", "correct"]

REMEMBERED = 4  # models whose answers are kept: a megabyte each, and two milliseconds to make again
NEAREST = 3  # other classes that one image is told to be near to
# A probability that underflowed to 0 has a large loss, not an endless one.
SMALLEST = float(np.finfo(np.float32).tiny)


class Answers(NamedTuple):
    """What one model says of every test image, as columns of N."""

    labels: NDArray[np.uint8]
    predicted: NDArray[np.intp]
    probabilities: NDArray[np.float32]
    """[N,C], of the served graph"""
    margin: NDArray[np.float64]
    """p1 − p2"""
    entropy: NDArray[np.float64]
    """nats"""
    loss: NDArray[np.float64]
    """−log p of the true label"""


class Selection(NamedTuple):
    """Which test images, and in what order."""

    kind: Kind = "misclassified"
    sort: Sort = "loss"
    true: int | None = None
    predicted: int | None = None


@dataclass(frozen=True)
class HardExample:
    """One test image and what the model said of it."""

    index: int
    true: int
    predicted: int
    probability_true: float
    probability_predicted: float
    margin: float
    entropy: float
    loss: float
    votes: Votes | None

    @property
    def kind(self) -> Kind:
        return "correct" if self.true == self.predicted else "misclassified"

    @property
    def disputed(self) -> bool:
        """Most of the people who were asked disagree with the label."""
        return self.votes is not None and self.votes.disputed


@dataclass(frozen=True)
class Confusion:
    """Another class that an image might be taken for."""

    index: int
    probability: float
    count: int
    """test images of the same true class that the model gives this class"""


def answers(probabilities: NDArray[np.float32], labels: NDArray[np.uint8]) -> Answers:
    """float32 [N,C] with C ≥ 2 and class indices [N] → every figure of every image."""
    # In float64, as of a prediction: float32 has no number close enough below 1 for what a sure net is short of it.
    exact = probabilities.astype(np.float64)
    top = np.partition(exact, -2, axis=1)
    logs = np.log(np.maximum(exact, SMALLEST))
    return Answers(
        labels=labels,
        predicted=probabilities.argmax(axis=1),
        probabilities=probabilities,
        margin=top[:, -1] - top[:, -2],
        # 0 · log(smallest) is 0, as the limit is. −x of a log that is 0 would read "−0", and of a softmax that ends a
        # rounding above 1 be less.
        entropy=np.maximum(0 - np.einsum("nc,nc->n", exact, logs), 0),
        loss=np.maximum(0 - logs[np.arange(len(labels)), labels], 0),
    )


def select(found: Answers, selection: Selection) -> NDArray[np.intp]:
    """Indices of the test images that fit, in order.

    By loss and by entropy the greatest first; by margin the smallest first, for there the model hesitates most.
    Equals stay in the test set's order.
    """
    fits = (found.predicted == found.labels) == (selection.kind == "correct")
    if selection.true is not None:
        fits &= found.labels == selection.true
    if selection.predicted is not None:
        fits &= found.predicted == selection.predicted
    indices = np.flatnonzero(fits)
    keys = {"loss": -found.loss, "margin": found.margin, "entropy": -found.entropy}[selection.sort]
    return indices[np.argsort(keys[indices], kind="stable")]


def example_at(found: Answers, samples: SampleSet, index: int) -> HardExample:
    """Any test image, hard or not. Raises UnknownSample."""
    samples.at(index)
    true, predicted = int(found.labels[index]), int(found.predicted[index])
    row = found.probabilities[index]
    return HardExample(
        index=index,
        true=true,
        predicted=predicted,
        probability_true=float(row[true]),
        probability_predicted=float(row[predicted]),
        margin=float(found.margin[index]),
        entropy=float(found.entropy[index]),
        loss=float(found.loss[index]),
        votes=samples.votes.get(index),
    )


def nearest_confusions(found: Answers, index: int) -> list[Confusion]:
    """The likeliest classes but the true one, and how often the model gives them to that class."""
    true = found.labels[index]
    given = np.bincount(found.predicted[found.labels == true], minlength=found.probabilities.shape[1])
    row = found.probabilities[index]
    order = [int(other) for other in np.argsort(-row, kind="stable") if other != true]
    return [Confusion(other, float(row[other]), int(given[other])) for other in order[:NEAREST]]


def class_of(text: str, classes: list[str], parameter: str) -> int:
    """The class a client names by label or index. Raises InvalidParameter, which lists them."""
    if text in classes:
        return classes.index(text)
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text) < len(classes):
        return int(text)
    raise InvalidParameter(
        f"{parameter}={brief(text)} is no class; there are {', '.join(classes)}, or 0 to {len(classes) - 1}"
    )


class TestAnswers:
    """Reads what models said of their test sets. Not for several threads at once."""

    __test__ = False  # it is no test, whatever pytest makes of the name

    def __init__(self, artifacts: Path) -> None:
        self._artifacts = artifacts
        self._kept: Latest[tuple[str, str, str], Answers] = Latest(REMEMBERED)

    def of(self, manifest: Manifest, samples: SampleSet) -> Answers:
        """Raises NotInArtifact, and NotReady where the file has changed."""
        require(manifest, TEST_PROBABILITIES)
        # The checksum, since a version may be published anew.
        key = (manifest.name, manifest.version, manifest.files[TEST_PROBABILITIES].sha256)
        return self._kept.get(key, lambda: answers(self._probabilities(manifest, samples), samples.labels))

    def _probabilities(self, manifest: Manifest, samples: SampleSet) -> NDArray[np.float32]:
        if manifest.classes != [*samples.classes]:  # the labels' indices would be those of other classes
            raise NotInArtifact(
                f"{manifest.name} {manifest.version} has the classes {listed(manifest.classes)}; "
                f"the test set of {samples.dataset} has {listed(samples.classes)}"
            )
        path = unchanged(self._artifacts, manifest, [TEST_PROBABILITIES]) / TEST_PROBABILITIES
        probabilities: NDArray[np.float32] = np.load(path, allow_pickle=False)
        expected = (len(samples.labels), len(manifest.classes))
        if probabilities.shape != expected:
            raise NotInArtifact(
                f"{manifest.name} {manifest.version} has test probabilities {list(probabilities.shape)}; "
                f"the test set of {samples.dataset} needs {list(expected)}"
            )
        return probabilities
