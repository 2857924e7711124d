"""The test images of each data set, as artifacts/datasets/<data set>/test.npz keeps them."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.errors import UnknownDataset, UnknownSample
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

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sets: dict[str, SampleSet] = {}
        self._reading = asyncio.Lock()

    def datasets(self) -> list[str]:
        return sorted(path.parent.name for path in self._folder.glob(f"*/{TEST_IMAGES}"))

    async def of(self, dataset: str) -> SampleSet:
        """Raises UnknownDataset."""
        if dataset not in self._sets:
            async with self._reading:
                if dataset not in self._sets:
                    self._sets[dataset] = await asyncio.to_thread(self._read, dataset)
        return self._sets[dataset]

    def _read(self, dataset: str) -> SampleSet:
        # Only names that the folder lists are opened: what a client sends never becomes a path.
        if dataset not in self.datasets():
            there = ", ".join(self.datasets()) or "none"
            raise UnknownDataset(f"there are no test images of {dataset!r}; there are those of {there}")
        with np.load(self._folder / dataset / TEST_IMAGES, allow_pickle=False) as arrays:
            return SampleSet(dataset, arrays["images"], arrays["labels"], self._votes(dataset))

    def _votes(self, dataset: str) -> Mapping[int, Votes]:
        path = self._folder / dataset / VOTES
        return VotesFile.model_validate_json(path.read_bytes()).votes if path.is_file() else {}
