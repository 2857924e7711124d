"""Engines: what runs a graph. One interface, one small class each, imported only when it is chosen."""

import logging
import os
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Chosen = Literal["onnxruntime", "openvino", "tensorflow"]
EngineName = Literal["auto", "onnxruntime", "openvino", "tensorflow"]
Precision = Literal["float32", "bfloat16"]

_EXTRAS = {"openvino": "openvino", "tensorflow": "training"}  # of pyproject.toml

log = logging.getLogger("convscope.models")


class EngineMissingError(ValueError):
    """The engine that was asked for is not installed, or does not work; the text says how to install it."""


class Engine(Protocol):
    """One loaded graph. `run` may be called from several threads and releases the GIL while it computes."""

    @property
    def name(self) -> str:
        """Such as "onnxruntime"."""

    @property
    def precision(self) -> Precision:
        """What it multiplies in."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph's outputs, in order."""

    def run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """uint8 [N,H,W,C] → each output, float32 [N,…], in the order of `outputs`."""


def choose(name: EngineName) -> Chosen:
    """The engine that is meant; auto is OpenVINO where it is installed. Imports none.

    Raises EngineMissingError for one that is asked for by name and is not installed.
    """
    if name == "auto":
        return "openvino" if _is_installed("openvino") else "onnxruntime"
    if not _is_installed(name):
        raise EngineMissingError(
            f"the engine {name} is not installed: `uv sync --extra {_EXTRAS.get(name, name)}` installs it, "
            "and CONVSCOPE_ENGINE=onnxruntime does without"
        )
    return name


def load(name: EngineName) -> Chosen:
    """The engine that serves where this one is asked for, imported and found to work: auto is ONNX Runtime also where
    OpenVINO is installed and does not.

    Raises EngineMissingError for one that is asked for by name, and for the last there is.
    """
    chosen = choose(name)
    try:
        engine = _imported(chosen)
        if chosen == "openvino":
            engine.find_processor()
    except Exception as error:  # an import may end with anything
        reason = _reason(error)
        if (name, chosen) == ("auto", "openvino"):
            log.warning("OpenVINO is installed and cannot be used, so ONNX Runtime serves: %s", reason)
            return load("onnxruntime")
        raise EngineMissingError(_unusable(chosen, reason)) from error
    return chosen


def _reason(error: BaseException) -> str:
    """Why an import failed: of those that were raised one after another the first that says so; what libraries make of
    it on the way is advice. Raises KeyboardInterrupt and the like, of which one may have made an ImportError."""
    chain = [error]
    while chain[-1].__context__ is not None:
        chain.append(chain[-1].__context__)
    for one in chain:
        if not isinstance(one, Exception):
            raise one from None
    cause = next((one for one in reversed(chain) if isinstance(one, ImportError | OSError)), error)
    return (str(cause).strip() or type(cause).__name__).splitlines()[-1]


def _is_installed(name: str) -> bool:
    spec = find_spec(name)
    return spec is not None and spec.origin is not None  # an empty folder of that name has none


def _unusable(name: Chosen, reason: str) -> str:
    extra = f"--extra {_EXTRAS[name]} " if name in _EXTRAS else ""
    others = "" if name == "onnxruntime" else ", and CONVSCOPE_ENGINE=onnxruntime does without"
    return (
        f"the engine {name} cannot be used: {reason}; `uv sync {extra}--reinstall-package {name}` "
        f"installs it anew{others}"
    )


def choose_precision(asked: Literal["auto"] | Precision, *, faithful: bool) -> Precision:
    """auto is bfloat16 on processors with tiles for it (AMX), for a model whose answers it leaves as they are.

    AVX-512's own bfloat16 instructions are no reason: with them OpenVINO was measured slower than in float32.
    """
    if asked != "auto":
        return asked
    return "bfloat16" if faithful and has_tiles() else "float32"


@cache
def has_tiles() -> bool:
    """Whether this processor multiplies bfloat16 in tiles (AMX). Only Linux tells."""
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return False


def open_graph(graph: Path, name: EngineName, *, threads: int, precision: Precision = "float32") -> Engine:
    """Loads a version folder's graph with the engine of this name; TensorFlow takes the Keras files that the manifest
    beside it lists.

    Only OpenVINO multiplies in bfloat16, the others stay with float32. Raises EngineMissingError,
    FileNotFoundError, and what the engine does for a graph it cannot read.
    """
    chosen = choose(name)
    open_engine = _imported(chosen)
    opened: Engine = (
        open_engine(graph, threads=threads, precision=precision)
        if chosen == "openvino"
        else open_engine(graph, threads=threads)
    )
    return opened


def _imported(name: Chosen) -> Any:
    """The engine's class: only the one in use is imported."""
    match name:
        case "openvino":
            # Its package reports every import over the network, from a forked process that the interpreter waits
            # for at its end: without a network the service's exit hung. Its converter of other frameworks' models
            # is half of the import's time and a third of its memory. OpenVINO does without either.
            for module in ("openvino_telemetry", "openvino.tools.ovc"):
                sys.modules.setdefault(module, None)  # type: ignore[arg-type]
            from service.engines.openvino import OpenVino  # noqa: PLC0415

            return OpenVino
        case "tensorflow":
            os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever this shell trains with
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # nothing of what it finds in this processor
            from service.engines.tensorflow import TensorFlow  # noqa: PLC0415

            return TensorFlow
        case "onnxruntime":
            # Its builds report to their maker over the network, and leave an identifier in the user's home, from the
            # moment of their import on: what can be called after it comes too late.
            os.environ["ORT_DISABLE_TELEMETRY"] = os.environ.get("ORT_DISABLE_TELEMETRY") or "1"
            from service.engines.onnxruntime import OnnxRuntime  # noqa: PLC0415

            return OnnxRuntime
