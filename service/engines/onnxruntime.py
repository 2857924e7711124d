"""ONNX Runtime on the CPU: runs wherever the service does, so it is the engine that is always there."""

from collections import deque
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.engines import Precision
from service.manifest import IMAGE_INPUT

Size = tuple[int, ...]

ERRORS_ONLY = 3  # severity, of ONNX Runtime's own log


class OnnxRuntime:
    """One ONNX graph with one uint8 input [N,H,W,C] named `image`."""

    name = "onnxruntime"
    precision: Precision = "float32"

    def __init__(self, graph: Path, *, threads: int = 1) -> None:
        ort.disable_telemetry_events()  # of builds that do not heed the environment variable, on Windows
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        # A waiting thread that spins takes the core from the event loop.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._outputs = tuple(str(output.name) for output in self._session.get_outputs())
        self._sizes = _sizes_of_one(self._session)
        # One may be in one thread at a time. deque's append and pop are atomic, so no lock.
        self._single_runs: deque[_SingleRun] = deque()

    @property
    def outputs(self) -> tuple[str, ...]:
        return self._outputs

    def run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        if self._sizes is None or images.shape != self._sizes[0]:
            answers: list[NDArray[np.float32]] = self._session.run(None, {IMAGE_INPUT: images})
            return answers
        try:
            single = self._single_runs.pop()
        except IndexError:
            single = _SingleRun(self._session, *self._sizes)
        answer = single.run(images)
        self._single_runs.append(single)
        return [answer]


class _SingleRun:
    """Of one image, whose input and only output stay where they are. What `InferenceSession.run` checks and makes
    around every run is a tenth of what a small net takes for one image."""

    def __init__(self, session: ort.InferenceSession, size: Size, answer_size: Size) -> None:
        self._run = session.run_with_iobinding
        self._image = np.zeros(size, np.uint8)
        self._answer = np.zeros(answer_size, np.float32)
        self._binding = session.io_binding()
        self._binding.bind_input(IMAGE_INPUT, "cpu", 0, np.uint8, size, self._image.ctypes.data)
        name = session.get_outputs()[0].name
        self._binding.bind_output(name, "cpu", 0, np.float32, answer_size, self._answer.ctypes.data)

    def run(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        np.copyto(self._image, image, casting="no")  # no number is made another, as where there are many
        self._run(self._binding)
        return self._answer.copy()


def _sizes_of_one(session: ort.InferenceSession) -> tuple[Size, Size] | None:
    """Of one image and the float32 answer to it; None for a graph of several outputs, or of sizes it does not tell."""
    tensors = (*session.get_inputs(), *session.get_outputs())
    sizes = [(1, *tensor.shape[1:]) for tensor in tensors]
    told = all(isinstance(length, int) for size in sizes for length in size)
    if len(tensors) != 2 or tensors[1].type != "tensor(float)" or not told:
        return None
    return sizes[0], sizes[1]
