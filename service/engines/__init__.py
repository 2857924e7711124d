"""Engines: what runs a graph. One interface, one small class each, imported only when it is chosen."""

from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

EngineName = Literal["auto", "onnxruntime"]


class Engine(Protocol):
    """One loaded graph. `run` may be called from several threads and releases the GIL while it computes."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph's outputs, in order."""

    def run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """uint8 [N,H,W,C] → each output, float32 [N,…], in the order of `outputs`."""


def open_graph(graph: Path, name: EngineName, *, threads: int) -> Engine:
    """Loads an ONNX file with the engine of this name. Raises what the engine does for a graph it cannot read."""
    match name:
        case "auto" | "onnxruntime":
            from service.engines.onnxruntime import OnnxRuntime  # noqa: PLC0415 — only the one in use

            return OnnxRuntime(graph, threads=threads)
