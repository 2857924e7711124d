"""OpenVINO: the fastest engine on Intel's processors, more so where they have tiles for bfloat16."""

from collections import deque
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from service.engines import Precision

_EXACT_ROWS = 8  # up to here every batch size is compiled as it is
_HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16"}
_settling = Lock()


class OpenVino:
    """One ONNX graph with one uint8 input [N,H,W,C] named `image`."""

    name = "openvino"

    def __init__(self, graph: Path, *, threads: int = 1, precision: Precision = "float32") -> None:
        _settle()
        self._compiled = ov.Core().compile_model(
            graph,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "NUM_STREAMS": 1,
                "INFERENCE_NUM_THREADS": threads,
                # Every worker would pin its thread to the same core.
                "ENABLE_CPU_PINNING": False,
                "INFERENCE_PRECISION_HINT": _HINTS[precision],
            },
        )
        # float32 also where bfloat16 is asked for, on a processor that has no AVX-512.
        hint = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.precision: Precision = "bfloat16" if hint == _HINTS["bfloat16"] else "float32"
        self._outputs = tuple(output.any_name for output in self._compiled.outputs)
        # A request may be in one thread at a time. deque's append and pop are atomic, so no lock.
        self._requests: deque[Any] = deque()
        self._single_runs: deque[_SingleRun] = deque()

    @staticmethod
    def find_processor() -> None:
        """Raises RuntimeError where the part of OpenVINO that runs graphs on processors is not there, or the one that
        reads ONNX."""
        ov.Core().get_property("CPU", "FULL_DEVICE_NAME")
        if "onnx" not in ov.frontend.FrontEndManager().get_available_front_ends():
            raise RuntimeError("it has nothing that reads ONNX")

    @property
    def outputs(self) -> tuple[str, ...]:
        return self._outputs

    def run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return self._run_one(images) if len(images) == 1 else self._run_many(images)

    def _run_one(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        try:
            single = self._single_runs.pop()
        except IndexError:
            single = _SingleRun(self._compiled, image)
        answers = single.run(image)
        self._single_runs.append(single)
        return answers

    def _run_many(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        try:
            request = self._requests.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        rows = len(images)
        # A tensor instead of an array, which takes 15 µs to become one on the way.
        request.infer(ov.Tensor(_writable(_padded(images)), shared_memory=True), share_outputs=True)
        # One by one: `output_tensors` takes 40 µs for the same.
        tensors = (request.get_output_tensor(at) for at in range(len(self._outputs)))
        # Copies: the request's own memory is overwritten by its next run.
        answers = [np.array(tensor.data[:rows]) for tensor in tensors]
        self._requests.append(request)
        return answers


class _SingleRun:
    """Of one image, whose input and outputs stay where they are: to make tensors of them in every run takes a quarter
    of what a small net does for one image."""

    def __init__(self, compiled: ov.CompiledModel, image: NDArray[np.uint8]) -> None:
        """`image` is any of them: what a graph makes of one has the same sizes for all."""
        self._request = compiled.create_infer_request()
        self._image = np.array(image)
        self._request.set_input_tensor(ov.Tensor(self._image, shared_memory=True))
        self._request.infer(share_outputs=True)
        outputs = range(len(compiled.outputs))
        self._answers = [np.array(self._request.get_output_tensor(at).data) for at in outputs]
        for at in outputs:
            self._request.set_output_tensor(at, ov.Tensor(self._answers[at], shared_memory=True))

    def run(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        if image.shape != self._image.shape:
            raise ValueError(f"an image of shape {image.shape[1:]}, not {self._image.shape[1:]}")
        np.copyto(self._image, image, casting="no")  # no number is made another, as where there are many
        self._request.infer(share_outputs=True)
        return [answer.copy() for answer in self._answers]


def _settle() -> None:
    """Makes OpenVINO build its tables of element types, one thread at a time.

    It builds them when they are first used, holding a C++ lock while NumPy may let go of Python's. Two threads that
    meet there wait for each other, and with them the whole process: about one start in eighty when two models
    were warmed side by side.
    """
    with _settling:
        _ = ov.Tensor(np.zeros(1, np.uint8), shared_memory=True).data
        ov.Type.u8.to_dtype()


def _writable(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """OpenVINO shares no memory that it could not write to."""
    return images if images.flags.writeable else images.copy()


def _padded(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """With black images up to the next of eight sizes an octave.

    OpenVINO compiles for every batch size that it meets, 10 to 40 ms each: a load that is never the same
    would stumble through all of them.
    """
    rows = len(images)
    step = max(1, (1 << (rows - 1).bit_length()) // _EXACT_ROWS)
    missing = -rows % step
    if not missing:
        return np.ascontiguousarray(images)
    return np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)])
