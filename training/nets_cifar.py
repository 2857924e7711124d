"""The CIFAR-10 flagships: the nets of KellerJordan/cifar10-airbench (Jordan, 94 % on CIFAR-10 in 3.29 Seconds, 2024).

A frozen whitening convolution, three groups of convolutions that begin as the identity, no convolution bias after
the first, batch normalisation without a trained scale. SiLU stands for the original's GELU: it is as cheap to
train and every exporter writes it.
"""

from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from training.naming import SCALING, Names, Shape

MEAN = (0.4914, 0.4822, 0.4465)  # of the training images' channels, and their standard deviation
DEVIATION = (0.2470, 0.2435, 0.2616)
WHITENING = "whitening"
WHITENING_IMAGES = 5_000
_LEAST_VARIANCE = 5e-4
_PATCH = 2


def airbench(
    shape: Shape,
    classes: int,
    *,
    filters: tuple[int, ...],
    depth: int,
    momentum: float,
) -> keras.Model:
    """Groups of `depth` 3×3 convolutions; the third, where there is one, is skipped by a residual connection.

    `momentum` is the batch norm's, in Keras's sense: the share of the old statistics that a step keeps.
    """
    name = Names()
    image = keras.Input(shape, dtype="uint8", name="image")
    scale = [1 / (255 * deviation) for deviation in DEVIATION]
    offset = [-mean / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)]
    x = layers.Rescaling(scale, offset, name=SCALING)(image)
    x = layers.Conv2D(2 * shape[2] * _PATCH**2, _PATCH, name=WHITENING)(x)
    x = layers.Activation("silu", name=name("activation"))(x)
    for width in filters:
        x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=name("conv2d"))(x)
        x = layers.MaxPooling2D(2, name=name("max_pooling2d"))(x)
        x = skipped = _normalised(x, momentum, name)
        for k in range(1, depth):
            x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=name("conv2d"))(x)
            if k == 2:
                x = layers.BatchNormalization(
                    momentum=momentum, epsilon=1e-12, scale=False, name=name("batch_normalization")
                )(x)
                x = layers.Add(name=name("add"))([x, skipped])
                x = layers.Activation("silu", name=name("activation"))(x)
            else:
                x = skipped = _normalised(x, momentum, name)
    x = layers.MaxPooling2D(x.shape[1], name=name("max_pooling2d"))(x)
    x = layers.Flatten(name=name("flatten"))(x)
    x = layers.Dense(classes, use_bias=False, dtype="float32", name=name("dense"))(x)
    model = keras.Model(image, layers.Rescaling(1 / 9, dtype="float32", name="logits")(x))
    _begin_as_identity(model)
    model.get_layer(WHITENING).kernel.trainable = False
    return model


def _normalised(x: Any, momentum: float, name: Names) -> Any:
    x = layers.BatchNormalization(
        momentum=momentum, epsilon=1e-12, scale=False, name=name("batch_normalization")
    )(x)
    return layers.Activation("silu", name=name("activation"))(x)


def _begin_as_identity(model: keras.Model) -> None:
    """As many filters of each 3×3 convolution as it has input channels pass one channel through."""
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D) and layer.name != WHITENING:
            kernel = layer.kernel.numpy().copy()
            channels = np.arange(min(kernel.shape[2:]))
            kernel[..., channels] = 0
            kernel[1, 1, channels, channels] = 1
            layer.kernel.assign(kernel)


def whiten(model: keras.Model, images: NDArray[np.uint8]) -> None:
    """Give the first layer its frozen kernel: eigenvectors of 2×2 patches of training images [N,H,W,C] over
    √(eigenvalue + 5e-4), each with both signs."""
    scale, offset = (np.asarray(v) for v in (1 / np.array(DEVIATION), np.array(MEAN)))
    pixels = (images[:WHITENING_IMAGES] / np.float32(255) - offset) * scale
    window = np.lib.stride_tricks.sliding_window_view(pixels, (_PATCH, _PATCH), axis=(1, 2))
    patches = window.transpose(0, 1, 2, 4, 5, 3).reshape(-1, _PATCH**2 * images.shape[3])
    variances, vectors = np.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / np.sqrt(variances + _LEAST_VARIANCE)).reshape(_PATCH, _PATCH, images.shape[3], -1)
    model.get_layer(WHITENING).kernel.assign(np.concatenate([filters, -filters], -1).astype(np.float32))
