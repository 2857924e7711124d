"""What a net answers to many images."""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training.datasets import Images
from training.stops import heed

_BATCH = 500


def predict(model: keras.Model, images: Images) -> NDArray[np.float32]:
    """The one output for uint8 [N,H,W,C]: float32 [N,…].

    Not Keras's own `predict`: with TensorFlow it leaves a pipeline behind whose end can take as long as the images
    took (tf.data's autotuning sleeps for up to a minute before it hears of it).
    """
    answers: NDArray[np.float32] = predict_all(model, images)[0]
    return answers


def predict_all(model: keras.Model, images: Images) -> list[NDArray[Any]]:
    """Every output, in the model's order."""
    parts = []
    for k in range(0, len(images), _BATCH):
        heed()
        parts.append(model.predict_on_batch(images[k : k + _BATCH]))
    parts = [part if isinstance(part, list) else [part] for part in parts]
    return [np.concatenate(output) for output in zip(*parts, strict=True)]
