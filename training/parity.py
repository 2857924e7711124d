"""How far an exported graph is from its Keras model, and what a shorter float makes of it."""

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.manifest import IMAGE_INPUT, Parity, ReducedPrecision
from training.datasets import Images, Labels

CLEAR_MARGIN = 1e-4  # below it two classes are as good as equal, and rounding decides between them
_BATCH = 500


class ParityError(Exception):
    """The exported graph does not answer as the Keras model does: it is not published."""


def run_graph(path: Path, images: Images) -> NDArray[np.float32]:
    """Probabilities [N,classes] of an exported graph, by ONNX Runtime."""
    # Otherwise it reports its import to its maker, over the network.
    os.environ["ORT_DISABLE_TELEMETRY"] = os.environ.get("ORT_DISABLE_TELEMETRY") or "1"
    import onnxruntime  # noqa: PLC0415 — after what it looks for

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    batches = [
        session.run(None, {IMAGE_INPUT: images[k : k + _BATCH]})[0] for k in range(0, len(images), _BATCH)
    ]
    return np.concatenate(batches)


def compare(keras_probabilities: NDArray[np.float32], served: NDArray[np.float32]) -> Parity:
    """How far two [N,classes] are apart. Raises ParityError if a label differs where Keras had no doubt."""
    top = np.sort(keras_probabilities, axis=1)[:, ::-1]
    changed = keras_probabilities.argmax(axis=1) != served.argmax(axis=1)
    clear = changed & (top[:, 0] - top[:, 1] >= CLEAR_MARGIN)
    difference = float(np.abs(keras_probabilities - served).max())
    if clear.any():
        raise ParityError(
            f"the exported graph names {clear.sum()} images otherwise than Keras "
            f"(first: test image {int(clear.argmax())}; largest difference {difference:.2g})"
        )
    return Parity(largest_difference=difference, labels_changed=int(changed.sum()), labels_changed_clear=0)


def bfloat16_answers(path: Path, images: Images) -> NDArray[np.float32] | None:
    """Probabilities [N,classes] of an exported graph that multiplies in bfloat16; None without OpenVINO.

    Processors without instructions for it are slower at it; the numbers are the same kind.
    """
    if find_spec("openvino") is None:
        return None
    import openvino  # noqa: PLC0415 — an extra that training does without

    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    batches = (images[k : k + _BATCH] for k in range(0, len(images), _BATCH))
    return np.concatenate([compiled({IMAGE_INPUT: batch})[0] for batch in batches])


def change_of_labels(
    full: NDArray[np.float32], other: NDArray[np.float32], labels: Labels
) -> ReducedPrecision:
    """What changes between two answers [N,classes] to the same images, whose true labels are [N]."""
    before, after = full.argmax(axis=1), other.argmax(axis=1)
    return ReducedPrecision(
        images=len(labels),
        labels_changed=int((before != after).sum()),
        correct_changed=int((after == labels).sum()) - int((before == labels).sum()),
    )
