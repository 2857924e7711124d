"""An engine that is let go while nobody uses it, and opened again when somebody does: most models are hardly asked."""

from collections.abc import Callable
from threading import Lock
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.engines import Engine, Precision

KeepOpen = Literal["all", "aliases", "none"]
"""Whose engines are not let go when they are idle. Unless it is "all", every engine is let go at the start."""


class Standby:
    """An engine itself: `service.engines.Engine`. What it stands for was open once, so that it is known to work."""

    def __init__(self, engine: Engine, reopen: Callable[[], Engine]) -> None:
        """`reopen` gives the like of `engine`, ready for use, or raises."""
        self.name: str = engine.name
        self.precision: Precision = engine.precision
        self.outputs: tuple[str, ...] = engine.outputs
        self._engine: Engine | None = engine
        self._reopen = reopen
        self._opening = Lock()

    @property
    def is_open(self) -> bool:
        return self._engine is not None

    def open(self) -> Engine:
        """What it stands for; about a tenth of a second if it has to be opened. Raises what `reopen` does."""
        engine = self._engine
        if engine is None:
            with self._opening:
                engine = self._engine or self._reopen()
                self._engine = engine
        return engine

    def let_go(self) -> None:
        """Runs that are under way go on."""
        self._engine = None

    def run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        engine = self._engine
        return (self.open() if engine is None else engine).run(images)
