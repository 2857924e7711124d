"""The nets. Each takes uint8 [N,H,W,C] and gives logits [N,classes]; scaling to 0…1 is its first layer.

Layers carry Keras's own names, set by hand so that they are the same in every process, artifact and answer.
Softmax is not here: training uses logits, and `export` adds temperature and softmax to the served graph.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from training.naming import SCALING, Names, Shape
from training.nets_cifar import airbench
from training.nets_mnist import compact


def _input(shape: Shape) -> tuple[Any, Any]:
    image = keras.Input(shape, dtype="uint8", name="image")
    return image, layers.Rescaling(1 / 255, name=SCALING)(image)


def _regulariser(strength: float) -> Any:
    return keras.regularizers.L2(strength) if strength else None


def two_strided_convolutions(
    shape: Shape,
    classes: int,
    *,
    filters: int = 32,
    stride: int = 2,
    l2: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    dropout: float = 0.25,
) -> keras.Model:
    """The first study's MNIST net: two strided 3×3 convolutions, max-pool, dense 392; 'valid' padding.

    `l2` is the strength on each kernel, in order.
    """
    name = Names()
    image, x = _input(shape)
    for strength in l2[:2]:
        x = layers.Conv2D(
            filters,
            3,
            stride,
            activation="relu",
            kernel_regularizer=_regulariser(strength),
            name=name("conv2d"),
        )(x)
    x = layers.MaxPooling2D(2, name=name("max_pooling2d"))(x)
    x = layers.Dropout(dropout, name=name("dropout"))(x)
    x = layers.Flatten(name=name("flatten"))(x)
    x = layers.Dense(392, activation="relu", kernel_regularizer=_regulariser(l2[2]), name=name("dense"))(x)
    x = layers.Dropout(2 * dropout, name=name("dropout"))(x)
    x = layers.Dense(classes, kernel_regularizer=_regulariser(l2[3]), name=name("dense"))(x)
    return keras.Model(image, x)


def batch_norm_pairs(
    shape: Shape,
    classes: int,
    *,
    dropouts: tuple[float, ...] = (0.2, 0.3, 0.4),
    momentum: float = 0.99,
) -> keras.Model:
    """Pairs of [conv 3×3 same, relu, batch norm] with 32, 64, 128 filters; max-pool and dropout after each.

    `momentum` is the batch norm's, in Keras's sense: the share of the old statistics that a step keeps.
    """
    name = Names()
    image, x = _input(shape)
    for filters, dropout in zip((32, 64, 128), dropouts, strict=True):
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=name("conv2d"))(x)
            x = layers.BatchNormalization(momentum=momentum, name=name("batch_normalization"))(x)
        x = layers.MaxPooling2D(2, name=name("max_pooling2d"))(x)
        x = layers.Dropout(dropout, name=name("dropout"))(x)
    x = layers.Flatten(name=name("flatten"))(x)
    x = layers.Dense(classes, name=name("dense"))(x)
    return keras.Model(image, x)


def strided_then_dense(
    shape: Shape,
    classes: int,
    *,
    l2_convolutions: tuple[float, float, float] = (0.0, 0.0, 0.0),
    l2_dense: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    dropout: float = 0.1,
) -> keras.Model:
    """Two strided convolutions, max-pool, a third convolution, then dense 128, 256, 512 with dropout after each."""
    name = Names()
    image, x = _input(shape)
    for filters, stride, l2 in zip((32, 32, 16), (2, 2, 1), l2_convolutions, strict=True):
        if stride == 1:
            x = layers.MaxPooling2D(2, name=name("max_pooling2d"))(x)
            x = layers.Dropout(dropout, name=name("dropout"))(x)
        x = layers.Conv2D(
            filters, 3, stride, activation="relu", kernel_regularizer=_regulariser(l2), name=name("conv2d")
        )(x)
    x = layers.Flatten(name=name("flatten"))(x)
    for units, l2 in zip((128, 256, 512), l2_dense[:3], strict=True):
        x = layers.Dense(units, activation="relu", kernel_regularizer=_regulariser(l2), name=name("dense"))(x)
        x = layers.Dropout(dropout, name=name("dropout"))(x)
    x = layers.Dense(classes, kernel_regularizer=_regulariser(l2_dense[3]), name=name("dense"))(x)
    return keras.Model(image, x)


ARCHITECTURES: dict[str, Callable[..., keras.Model]] = {
    function.__name__: function
    for function in (two_strided_convolutions, batch_norm_pairs, strided_then_dense, compact, airbench)
}
