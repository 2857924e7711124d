"""The test images of each data set, as artifacts/datasets/<data set>/test.npz keeps them."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.artifact_files import samples_folder
from service.errands import in_thread, unread
from service.errors import DeadlinePassed, NotReady, UnknownDataset, UnknownSample, brief
from service.manifest import DATASET, TEST_IMAGES, VOTES, DatasetManifest, Votes, VotesFile

LISTING = ""  # in place of a data set's name: no folder has it


class SampleSet(NamedTuple):
    """A data set's whole test split, in the original order."""

    dataset: str
    images: NDArray[np.uint8]
    """[N,H,W,C]"""
    labels: NDArray[np.uint8]
    """[N], class indices"""
    classes: Sequence[str]
    """by index: what the labels mean, whatever a model calls its own"""
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
    """Reads a set when it is first asked for and keeps it: most services never need them. All who ask while it is being
    read share the outcome; what failed is read anew for the next."""

    def __init__(self, artifacts: Path) -> None:
        self._artifacts = artifacts
        self._seen = set(self.datasets())
        self._sets: dict[str, SampleSet] = {}
        self._readings: dict[str, asyncio.Task[None]] = {}

    def datasets(self) -> list[str]:
        """Those that can be looked into now."""
        with suppress(OSError):
            return sorted(path.parent.name for path in self._artifacts.glob(f"datasets/*/{TEST_IMAGES}"))
        return []

    async def of(self, dataset: str, deadline: float) -> SampleSet:
        """By `deadline` on the loop's clock. Raises UnknownDataset, DeadlinePassed, and NotReady where its files have
        changed or no thread can be started."""
        if dataset not in self._sets:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._find(dataset)
            except TimeoutError:
                raise DeadlinePassed(
                    "the test images were not read within the time allowed for one request"
                ) from None
        return self._sets[dataset]

    async def _find(self, dataset: str) -> None:
        # Only names that the folder lists, or did, are opened: what a client sends never becomes a path.
        if dataset not in self._seen:
            await self._shared(LISTING, self._list)
        if dataset not in self._seen:
            there = (
                f"there are those of {', '.join(sorted(self._seen))}"
                if self._seen
                else "nor of any other set"
            )
            raise UnknownDataset(f"there are no test images of {brief(dataset)!r}; {there}")
        await self._shared(dataset, partial(self._read, dataset))

    async def _shared(self, name: str, read: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Waits for it, begun here or by another. Whoever is cancelled leaves it to the others."""
        if name not in self._readings:
            self._readings[name] = asyncio.create_task(read())
            self._readings[name].add_done_callback(lambda task: self._forget(name, task))
        await asyncio.shield(self._readings[name])

    def _forget(self, name: str, task: "asyncio.Task[None]") -> None:
        del self._readings[name]
        unread(task)

    async def _list(self) -> None:
        self._seen.update(await in_thread(self.datasets))

    async def _read(self, dataset: str) -> None:
        self._sets[dataset] = await in_thread(partial(_load, self._artifacts, dataset))


def _load(artifacts: Path, dataset: str) -> SampleSet:
    folder = samples_folder(artifacts, dataset)
    about = DatasetManifest.model_validate_json((folder / DATASET).read_bytes())
    with np.load(folder / TEST_IMAGES, allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    if labels.max(initial=0) >= len(about.classes):
        raise NotReady(
            f"the test images of {dataset} cannot be shown: they have more classes than {DATASET} names"
        )
    return SampleSet(dataset, images, labels, about.classes, _votes(folder / VOTES))


def _votes(path: Path) -> Mapping[int, Votes]:
    return VotesFile.model_validate_json(path.read_bytes()).votes if path.is_file() else {}
