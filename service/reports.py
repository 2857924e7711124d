"""What a version folder says of its model's training, weights and answers: for JSON and for the figures alike."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from service.artifact_files import require, unchanged
from service.errors import UnknownLayer
from service.manifest import HISTORY, WEIGHT_STATISTICS, Manifest
from service.schemas_inside import LayerWeights

CALIBRATION_BINS = 15  # as the manifest's expected calibration error has them
MOST_CONFUSED = 10  # pairs of classes that are named


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
    layers: list[LayerWeights]


class Report:
    """Reads one version folder. Raises NotInArtifact for what it was published without, and NotReady for what has
    changed since."""

    def __init__(self, artifacts: Path, manifest: Manifest) -> None:
        self._artifacts = artifacts
        self.manifest = manifest

    def history(self) -> list[dict[str, int | float]]:
        """A row for each epoch, as history.json has them."""
        return _HistoryFile.model_validate_json(self._read(HISTORY)).epochs

    def weights(self, layer: str | None = None) -> list[LayerWeights]:
        """The layers that have weights with each tensor's statistics, or one of them. Raises UnknownLayer."""
        layers = _WeightsFile.model_validate_json(self._read(WEIGHT_STATISTICS)).layers
        if layer is None:
            return layers
        refuse_without_weights(self.manifest, layer)
        return [one for one in layers if one["name"] == layer]

    def _read(self, file: str) -> bytes:
        require(self.manifest, file)
        return (unchanged(self._artifacts, self.manifest, [file]) / file).read_bytes()


def refuse_without_weights(manifest: Manifest, layer: str) -> None:
    """Raises UnknownLayer, which lists the layers that have weights, where this is none of them."""
    there = [one.name for one in manifest.layers if one.parameters]
    if layer not in there:
        raise UnknownLayer(
            f"{manifest.name} has no layer {layer!r} with weights; those with weights are {', '.join(there)}"
        )


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


def most_confused(confusion: list[list[int]]) -> list[Pair]:
    """The pairs [true][predicted] off the diagonal with the most images, the most first."""
    pairs = [
        Pair(true, predicted, images)
        for true, row in enumerate(confusion)
        for predicted, images in enumerate(row)
        if true != predicted and images
    ]
    return sorted(pairs, key=lambda pair: -pair.count)[:MOST_CONFUSED]


def reliability(probabilities: NDArray[np.float32], labels: NDArray[np.uint8]) -> list[Bin]:
    """Confidence and accuracy in equal-width bins of the best probability, of [N,C] (Guo et al., 2017)."""
    bins = CALIBRATION_BINS
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
