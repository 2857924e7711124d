"""What every layer makes of an image: a second graph beside the served one, opened when somebody looks.

It runs aside, and its weights are the served graph's file, which the page cache holds once: looking costs
predictions neither their queue nor their core.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.artifact_files import require, unchanged
from service.aside import Aside
from service.callers import Wanted, always
from service.engines import Engine
from service.errors import InvalidParameter, NotInArtifact, UnknownLayer, brief, counted
from service.latest import Latest
from service.manifest import FEATURE_MAPS, MODEL, Layer, Manifest, served_files
from service.memory import give_back

REMEMBERED = 4  # images whose maps are kept: a page asks for the layers of one image one by one

Activations = dict[str, NDArray[np.float32]]
Key = tuple[str, str, str]  # name, version and checksum: a version that was published anew is another


class Statistics(NamedTuple):
    """Of one layer's answer to one image."""

    minimum: float
    mean: float
    maximum: float
    dead_channels: float
    """share of the channels that are 0 everywhere"""


def statistics(values: NDArray[np.float32]) -> Statistics:
    """float32 [H,W,C] or [units]."""
    alive = values.reshape(-1, values.shape[-1]).any(axis=0)
    return Statistics(
        float(values.min()),
        float(values.mean(dtype=np.float64)),
        float(values.max()),
        float(1 - alive.mean()),
    )


def refuse_without_graph(manifest: Manifest) -> None:
    """Raises NotInArtifact where there is nothing to look with."""
    require(manifest, FEATURE_MAPS)


def find_layer(manifest: Manifest, name: str) -> Layer:
    """Raises UnknownLayer, which lists the layers."""
    for layer in manifest.layers:
        if layer.name == name:
            return layer
    there = ", ".join(layer.name for layer in manifest.layers) or "none"
    raise UnknownLayer(f"{manifest.name} has no layer {brief(name)!r}; it has {there}")


def parse_channels(text: str | None, layer: Layer) -> list[int]:
    """`0,3-7` → [0, 3, 4, 5, 6, 7], each once; all of them for None. Raises InvalidParameter."""
    count = layer.shape[-1]
    if text is None:
        return list(range(count))
    parts = text.split(",")
    if len(parts) > count:
        raise InvalidParameter(
            f"channels has {counted(len(parts), 'part')}; {layer.name} has {counted(count, 'channel')}"
        )
    asked = f"channels={brief(text)}"
    chosen: list[int] = []
    new = np.ones(count, bool)
    for part in parts:
        first, last = _range(part, layer, asked)
        # By NumPy: thousands of ranges that overlap would else stop the event loop for seconds.
        chosen += (first + np.flatnonzero(new[first : last + 1])).tolist()
        new[first : last + 1] = False
    return chosen


def _range(part: str, layer: Layer, asked: str) -> tuple[int, int]:
    """Its first and last channel. Raises InvalidParameter, which repeats what was `asked`."""
    first, dash, last = (piece.strip() for piece in part.partition("-"))
    if not (_is_index(first) and (not dash or _is_index(last))):
        raise InvalidParameter(f"{asked}: {brief(part)!r} is neither a channel, as 3, nor a range, as 3-7")
    start, stop = int(first), int(last or first)
    if start > stop:
        raise InvalidParameter(f"{asked}: the range {brief(part.strip())} runs backwards")
    count = layer.shape[-1]
    if stop >= count:
        raise InvalidParameter(f"{asked}: {layer.name} has {counted(count, 'channel')}, 0 to {count - 1}")
    return start, stop


def _is_index(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


class _Opened:
    """One opened graph, and the images it answered last."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._answers: Latest[bytes, Activations] = Latest(REMEMBERED)

    def run(self, image: NDArray[np.uint8]) -> Activations:
        return self._answers.get(image.tobytes(), lambda: self._run(image))

    def _run(self, image: NDArray[np.uint8]) -> Activations:
        rows = (output[0] for output in self._engine.run(image[None]))
        return dict(zip(self._engine.outputs, rows, strict=True))


def _refuse_other_layers(manifest: Manifest, found: Activations) -> None:
    """Raises NotInArtifact where the graph has not the layers that the manifest promises."""
    for layer in manifest.layers:
        if layer.name not in found or [*found[layer.name].shape] != layer.shape:
            raise NotInArtifact(
                f"{FEATURE_MAPS} of {manifest.name} {manifest.version} has no {layer.name} "
                f"of the shape {layer.shape}, which its manifest tells of"
            )


class FeatureMaps:
    """Opens graphs on first use and lets go of one that nobody used for `idle` seconds."""

    def __init__(
        self, artifacts: Path, open_engine: Callable[[Path], Engine], aside: Aside, *, idle: float
    ) -> None:
        self._artifacts = artifacts
        self._open_engine = open_engine
        self._aside = aside
        self._idle = idle
        self._opened: dict[Key, _Opened] = {}  # touched only in the thread
        self._alarms: dict[Key, asyncio.TimerHandle] = {}

    @property
    def opened(self) -> set[tuple[str, str]]:
        """Name and version of the models whose graphs are open now."""
        return {(name, version) for name, version, _ in self._opened}

    async def of(
        self, manifest: Manifest, image: NDArray[np.uint8], deadline: float, wanted: Wanted = always
    ) -> Activations:
        """uint8 [H,W,C] → layer → float32 [H,W,C] or [units]. They are shared: not to be written to.

        Raises NotInArtifact, also where the graph has other layers than the manifest, NotReady where a file has
        changed, and what `Aside.do` does.
        """
        refuse_without_graph(manifest)
        key = (manifest.name, manifest.version, manifest.files[FEATURE_MAPS].sha256)
        self._keep(key)
        return await self._aside.do(lambda: self._run(key, manifest, image), deadline, wanted)

    def close(self) -> None:
        for alarm in self._alarms.values():
            alarm.cancel()

    def _run(self, key: Key, manifest: Manifest, image: NDArray[np.uint8]) -> Activations:
        if key not in self._opened:
            weights = [name for name in served_files(manifest) if name != MODEL]
            folder = unchanged(self._artifacts, manifest, [FEATURE_MAPS, *weights])
            self._opened[key] = _Opened(self._open_engine(folder / FEATURE_MAPS))
        activations = self._opened[key].run(image)
        _refuse_other_layers(manifest, activations)
        return activations

    def _keep(self, key: Key) -> None:
        """Sets the time of release anew."""
        if key in self._alarms:
            self._alarms[key].cancel()
        self._alarms[key] = asyncio.get_running_loop().call_later(self._idle, self._release, key)

    def _release(self, key: Key) -> None:
        del self._alarms[key]
        self._aside.later(lambda: self._close(key))

    def _close(self, key: Key) -> None:
        self._opened.pop(key, None)
        give_back()
