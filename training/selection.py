"""Which images an epoch needs: most of what is known already can sit out every other time.

InfoBatch (Qin et al., ICLR 2024) leaves out a random half of the images whose last loss is low and doubles the
others' weight, so that the expected gradient is that of all images. Here "low" is a fixed share of the images
instead of "below the mean": every epoch of a kind then has as many steps, and the schedule knows how many.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.random import Generator
from numpy.typing import NDArray

Rows = NDArray[np.integer]
Floats = NDArray[np.float32]

_SITTING_OUT = 0.5  # share of the easy images that an epoch leaves out
_UNSEEN = -1.0  # no loss is below 0


def images_in_an_epoch(images: int, easy: float) -> int:
    """How many of the images an epoch trains on where a share of `easy` counts as easy."""
    return images - int(images * easy * _SITTING_OUT)


def select(losses: Floats, easy: float, random: Generator) -> tuple[Rows, Floats]:
    """Rows to train on, in random order, and the weight [N] of every image.

    `losses` [N] are the images' last ones; where they are all the same, as before the first epoch, chance decides.
    """
    order = random.permutation(len(losses))
    order = order[np.argsort(losses[order], kind="stable")]  # ties in random order
    out = images_in_an_epoch(len(losses), easy) - len(losses)
    known = order[: int(len(losses) * easy)]
    known = random.permutation(known)
    weights = np.ones(len(losses), np.float32)
    weights[known] = 1 / (1 - _SITTING_OUT)
    rows = np.concatenate([known[: len(known) + out], order[len(known) :]])
    return random.permutation(rows), weights


def with_rows(targets: Floats) -> Floats:
    """Targets [N,classes] and a last column that says which image each is: what `LastLosses` reads."""
    return np.concatenate([targets, np.arange(len(targets), dtype=np.float32)[:, None]], axis=1)


def of_targets(function: Callable[..., Any], **options: Any) -> Callable[[Any, Any], Any]:
    """The loss or metric, blind to the column of `with_rows`."""

    def blind(targets: Any, answers: Any) -> Any:
        return function(targets[:, :-1], answers, **options)

    return blind


class LastLosses(keras.metrics.Metric):  # type: ignore[misc]
    """Keeps the cross-entropy of every image that an epoch has seen, without label smoothing."""

    def __init__(self, images: int, name: str = "last_losses") -> None:
        super().__init__(name=name)
        # One place more than there are images: validation writes its losses there.
        # Keras builds metrics in the first step, after it has reset them: they begin as reset.
        unseen = keras.initializers.Constant(_UNSEEN)
        self._losses = self.add_variable((images + 1,), unseen, name="losses")

    def update_state(self, targets: Any, answers: Any, sample_weight: Any = None) -> None:
        """`targets` [N,classes+1] from `with_rows`; `answers` are logits [N,classes]."""
        rows = ops.cast(targets[:, -1:], "int32")
        losses = ops.categorical_crossentropy(targets[:, :-1], answers, from_logits=True)
        self._losses.assign(ops.scatter_update(self._losses, rows, ops.cast(losses, "float32")))

    def result(self) -> Any:
        """The highest; Keras wants a number."""
        return ops.max(self._losses)

    def reset_state(self) -> None:
        """An epoch begins, and has seen nothing."""
        self._losses.assign(ops.full(self._losses.shape, _UNSEEN))

    def added_to(self, losses: Floats | None) -> Floats:
        """`losses` [N] of the epochs before, with this epoch's instead where it saw the image."""
        seen = np.array(self._losses)[:-1]
        return seen if losses is None else np.where(seen < 0, losses, seen)
