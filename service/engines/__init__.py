"""Engines: what runs a graph. One interface, one small class each, imported only when it is chosen."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """One loaded graph. `run` may be called from several threads and releases the GIL while it computes."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph's outputs, in order."""

    def run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """uint8 [N,H,W,C] → each output, float32 [N,…], in the order of `outputs`."""
