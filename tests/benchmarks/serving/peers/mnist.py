"""What every peer runs: the same graph by ONNX Runtime with one thread, and the same PNG decoded by Pillow."""

import os
from io import BytesIO

import numpy as np
import onnxruntime as ort
from PIL import Image


def session() -> ort.InferenceSession:
    """Of the graph that the benchmark names; uint8 [N,28,28,1] in, float32 [N,10] out."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])


def decoded(data: bytes) -> np.ndarray:
    """An image file → uint8 [28,28,1]."""
    return np.asarray(Image.open(BytesIO(data)).convert("L"))[..., None]


def run(graph: ort.InferenceSession, images: np.ndarray) -> np.ndarray:
    """uint8 [N,28,28,1] → float32 [N,10]."""
    return graph.run(None, {"image": images})[0]


def answer(row: np.ndarray) -> dict:
    """float32 [10] → the label and its probability."""
    best = int(row.argmax())
    return {"label": str(best), "probability": float(row[best])}
