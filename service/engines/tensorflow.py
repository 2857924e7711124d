"""TensorFlow: runs the Keras model itself, for comparison with what was exported. The only import of it here."""

import errno
import os
from collections.abc import Iterable
from fnmatch import filter as matching
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from service.engines import Precision
from service.manifest import (
    KERAS_MODEL,
    MANIFEST,
    PROBABILITIES,
    TOWER_KERAS,
    TOWERS_HEAD,
    Manifest,
    tower_keras,
)


class TensorFlow:
    """The Keras model beside an ONNX graph: uint8 [N,H,W,C] → probabilities. Raises FileNotFoundError where it, or a
    part of it, is not among the files that the manifest lists."""

    name = "tensorflow"
    precision: Precision = "float32"
    outputs = (PROBABILITIES,)

    def __init__(self, graph: Path, *, threads: int = 1) -> None:
        head, *towers = _listed(graph.parent)
        _limit_threads(threads)
        model = _together(head, towers) if towers else keras.saving.load_model(head, compile=False)
        # One trace for every batch size; Model.predict would build a data pipeline for each call.
        self._call = tf.function(
            lambda images: model(images, training=False),
            input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)],
        )
        # Traced now: when a call does it, TensorFlow takes all models for one that is traced time and again, and warns.
        self._call.get_concrete_function()

    def run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        answer: NDArray[np.float32] = self._call(images).numpy()
        return [answer]


def _listed(folder: Path) -> list[Path]:
    """The Keras file, or the head's and every tower's, in order. What else lies there was looked at by nobody."""
    files = Manifest.model_validate_json((folder / MANIFEST).read_bytes()).files
    count = len(matching(files, TOWER_KERAS.format("*")))
    needed = [TOWERS_HEAD, *(tower_keras(at + 1) for at in range(count))] if count else [KERAS_MODEL]
    for name in needed:
        if name not in files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return [folder / name for name in needed]


def _together(head: Path, towers: Iterable[Path]) -> keras.Model:
    """One model of several, and what their logits go through."""
    members = [keras.saving.load_model(file, compile=False) for file in towers]
    image = keras.Input(members[0].input_shape[1:], dtype="uint8")
    # A member's last layer is its softmax.
    logits = [keras.Model(member.input, member.layers[-1].input)(image) for member in members]
    return keras.Model(image, keras.saving.load_model(head, compile=False)(logits))


def _limit_threads(threads: int) -> None:
    """For the whole process, so the first model's number holds: TensorFlow fixes it when it begins."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # it has begun
        return
