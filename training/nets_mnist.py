"""The MNIST flagship: few layers where the image is large, many filters where it is small.

After the pattern of ansh941/MnistSimpleCNN (An et al., An Ensemble of Simple Convolutional Neural Network Models
for MNIST Digit Recognition, 2020): convolutions with batch normalisation and no dense tower.
"""

from typing import Any

import keras
from keras import layers

from training.naming import SCALING, Names, Shape


def compact(
    shape: Shape,
    classes: int,
    *,
    filters: tuple[tuple[int, ...], ...],
    stem: int = 32,
) -> keras.Model:
    """A 5×5 convolution, then groups of 3×3 ones with max-pooling before each; global average, dense.

    The 5×5 one is 'valid': MNIST keeps the four outer pixels of every image empty.
    """
    name = Names()
    image = keras.Input(shape, dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255, name=SCALING)(image)
    x = _convolution(x, stem, 5, "valid", name)
    for group in filters:
        x = layers.MaxPooling2D(2, name=name("max_pooling2d"))(x)
        for width in group:
            x = _convolution(x, width, 3, "same", name)
    x = layers.GlobalAveragePooling2D(name=name("global_average_pooling2d"))(x)
    return keras.Model(image, layers.Dense(classes, dtype="float32", name=name("dense"))(x))


def _convolution(x: Any, filters: int, size: int, padding: str, name: Names) -> Any:
    x = layers.Conv2D(filters, size, padding=padding, use_bias=False, name=name("conv2d"))(x)
    # ReLU and the next convolution make a trained scale redundant.
    x = layers.BatchNormalization(scale=False, momentum=0.95, name=name("batch_normalization"))(x)
    return layers.ReLU(name=name("re_lu"))(x)
