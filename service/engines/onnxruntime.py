"""ONNX Runtime on the CPU: runs wherever the service does, so it is the engine that is always there."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.engines import Precision
from service.manifest import IMAGE_INPUT

ERRORS_ONLY = 3  # severity, of ONNX Runtime's own log


class OnnxRuntime:
    """One ONNX graph with one uint8 input [N,H,W,C] named `image`."""

    name = "onnxruntime"
    precision: Precision = "float32"

    def __init__(self, graph: Path, *, threads: int = 1) -> None:
        ort.disable_telemetry_events()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        # A waiting thread that spins takes the core from the event loop.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._outputs = tuple(str(output.name) for output in self._session.get_outputs())

    @property
    def outputs(self) -> tuple[str, ...]:
        return self._outputs

    def run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        answers: list[NDArray[np.float32]] = self._session.run(None, {IMAGE_INPUT: images})
        return answers
