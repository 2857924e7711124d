"""Test-time augmentation: what a net says of a photograph that it sees six times. Never what is served."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from training.datasets import Images

_SHIFTED = 0.25  # of each shift's pair of views; the unshifted pair has the other half


def mean_logits(predict: Callable[[Images], NDArray[np.float32]], images: Images) -> NDArray[np.float32]:
    """Weighted mean of `predict`'s logits [N,classes] over six views of images [N,H,W,C].

    The views and weights are those of KellerJordan/cifar10-airbench.
    """
    answers = np.stack([weight * predict(view) for weight, view in six_views(images)])
    total: NDArray[np.float32] = answers.sum(axis=0, dtype=np.float32)
    return total


def six_views(images: Images) -> Iterator[tuple[float, Images]]:
    """As it is, a pixel up and left, a pixel down and right (edges reflected); each mirrored too."""
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    for start, pair in ((1, 1 - 2 * _SHIFTED), (0, _SHIFTED), (2, _SHIFTED)):
        view = padded[:, start : start + height, start : start + width]
        yield pair / 2, view
        yield pair / 2, view[:, :, ::-1]
