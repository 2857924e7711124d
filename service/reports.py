"""What a version folder says of its model's training, weights and answers: for JSON and for the figures alike."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from service.artifact_files import not_as_published, unchanged, unreadable, version_folder
from service.errors import NotInArtifact, UnknownLayer
from service.manifest import HISTORY, MANIFEST, WEIGHT_STATISTICS, Manifest

CALIBRATION_BINS = 15  # as the manifest's expected calibration error has them


@dataclass(frozen=True)
class Bin:
    """Test images whose best probability lies in [low, high)."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Pair:
    """Test images of one class that were taken for another."""

    true: int
    predicted: int
    count: int


class _HistoryFile(BaseModel):
    epochs: list[dict[str, int | float]]


class _WeightsFile(BaseModel):
    layers: list[dict[str, Any]]


class Report:
    """Reads one version folder. Raises NotInArtifact for what it was published without, and NotReady for what has
    changed since."""

    def __init__(self, artifacts: Path, manifest: Manifest) -> None:
        self._artifacts = artifacts
        self.manifest = manifest

    @classmethod
    def of(cls, artifacts: Path, name: str, version: str) -> "Report":
        """With the manifest as it stands there. Raises NotReady where it says nothing any more."""
        try:
            text = (version_folder(artifacts, name, version) / MANIFEST).read_bytes()
            return cls(artifacts, Manifest.model_validate_json(text))
        except OSError as error:
            raise not_as_published(name, version, unreadable(MANIFEST, error)) from error
        except ValidationError:
            raise not_as_published(name, version, f"{MANIFEST} does not follow its schema") from None

    def history(self) -> list[dict[str, int | float]]:
        """A row for each epoch, as history.json has them."""
        return _HistoryFile.model_validate_json(self._read(HISTORY)).epochs

    def weights(self, layer: str | None = None) -> list[dict[str, Any]]:
        """The layers that have weights with each tensor's statistics, or one of them. Raises UnknownLayer."""
        layers = _WeightsFile.model_validate_json(self._read(WEIGHT_STATISTICS)).layers
        if layer is None:
            return layers
        chosen = [one for one in layers if one["name"] == layer]
        if not chosen:
            there = ", ".join(one["name"] for one in layers)
            raise UnknownLayer(
                f"{self.manifest.name} has no layer {layer!r} with weights; those with weights are {there}"
            )
        return chosen

    def _read(self, file: str) -> bytes:
        if file not in self.manifest.files:
            raise NotInArtifact(f"{self.manifest.name} {self.manifest.version} was published without {file}")
        return (unchanged(self._artifacts, self.manifest, [file]) / file).read_bytes()


def trainings(history: list[dict[str, int | float]]) -> list[list[dict[str, int | float]]]:
    """A history's rows, apart for each net that was trained by itself; more than one where they were put together.
    Epochs go on counting in a history, and begin with 1 in each of these."""
    parts = [list(rows) for _, rows in groupby(history, key=lambda row: row.get("tower"))]
    return [[{**row, "epoch": epoch} for epoch, row in enumerate(rows, 1)] for rows in parts]


def gap(history: list[dict[str, int | float]]) -> float | None:
    """Training less validation accuracy after the last epoch. Dropout acts in the first only: it may be negative.

    None where that is not known, and for a net put together of several: the last of them is not the whole.
    """
    if not history or "val_accuracy" not in history[-1] or len(trainings(history)) > 1:
        return None
    return history[-1]["accuracy"] - history[-1]["val_accuracy"]


def most_confused(confusion: list[list[int]], count: int = 10) -> list[Pair]:
    """The pairs [true][predicted] off the diagonal with the most images, the most first."""
    pairs = [
        Pair(true, predicted, images)
        for true, row in enumerate(confusion)
        for predicted, images in enumerate(row)
        if true != predicted and images
    ]
    return sorted(pairs, key=lambda pair: -pair.count)[:count]


def reliability(
    probabilities: NDArray[np.float32], labels: NDArray[np.uint8], bins: int = CALIBRATION_BINS
) -> list[Bin]:
    """Confidence and accuracy in equal-width bins of the best probability, of [N,C] (Guo et al., 2017)."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    sums = (np.bincount(bin_of, weights=values, minlength=bins) for values in (confidence, right))
    means = [np.divide(total, counts, where=counts > 0, out=np.zeros(bins)) for total in sums]
    return [
        Bin(
            low=index / bins,
            high=(index + 1) / bins,
            count=int(counts[index]),
            confidence=float(means[0][index]) if counts[index] else None,
            accuracy=float(means[1][index]) if counts[index] else None,
        )
        for index in range(bins)
    ]
