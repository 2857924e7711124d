"""The test images of each data set, as artifacts/datasets/<data set>/test.npz keeps them."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.artifact_files import samples_folder
from service.errors import UnknownDataset, UnknownSample, brief
from service.manifest import TEST_IMAGES, VOTES, Votes, VotesFile


class SampleSet(NamedTuple):
    """A data set's whole test split, in the original order."""

    dataset: str
    images: NDArray[np.uint8]
    """[N,H,W,C]"""
    labels: NDArray[np.uint8]
    """[N], class indices"""
    votes: Mapping[int, Votes] = MappingProxyType({})
    """by index, for the images whose label people were asked about"""

    def at(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """Image [H,W,C] and class index. Raises UnknownSample."""
        if not 0 <= index < len(self.labels):
            raise UnknownSample(
                f"{self.dataset} has no test image {index}; they go from 0 to {len(self.labels) - 1}"
            )
        return self.images[index], int(self.labels[index])


class Samples:
    """Reads a set when it is first asked for and keeps it: most services never need them."""

    def __init__(self, artifacts: Path) -> None:
        self._artifacts = artifacts
        self._seen = set(self.datasets())
        self._sets: dict[str, SampleSet] = {}
        self._reading = asyncio.Lock()

    def datasets(self) -> list[str]:
        """Those that can be looked into now."""
        with suppress(OSError):
            return sorted(path.parent.name for path in self._artifacts.glob(f"datasets/*/{TEST_IMAGES}"))
        return []

    async def of(self, dataset: str) -> SampleSet:
        """Raises UnknownDataset, and NotReady where its files have changed."""
        if dataset not in self._sets:
            async with self._reading:
                if dataset not in self._sets:
                    self._sets[dataset] = await asyncio.to_thread(self._read, dataset)
        return self._sets[dataset]

    def _read(self, dataset: str) -> SampleSet:
        # Only names that the folder lists, or did, are opened: what a client sends never becomes a path.
        self._seen.update(self.datasets())
        if dataset not in self._seen:
            there = ", ".join(sorted(self._seen)) or "none"
            raise UnknownDataset(
                f"there are no test images of {brief(dataset)!r}; there are those of {there}"
            )
        folder = samples_folder(self._artifacts, dataset)
        with np.load(folder / TEST_IMAGES, allow_pickle=False) as arrays:
            return SampleSet(dataset, arrays["images"], arrays["labels"], _votes(folder / VOTES))


def _votes(path: Path) -> Mapping[int, Votes]:
    return VotesFile.model_validate_json(path.read_bytes()).votes if path.is_file() else {}
