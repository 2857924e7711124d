"""What importing the service must not pull in. Each in a fresh interpreter."""

import json
import subprocess
import sys

import pytest

from service.engines import onnxruntime
from service.settings import ROOT


def imported_by(statement: str) -> set[str]:
    """Top-level packages that are loaded after a statement."""
    code = f"{statement}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize("statement", ["import service.main", "import service.engines.onnxruntime"])
def test_the_service_pulls_in_neither_training_nor_tensorflow(statement: str) -> None:
    assert not imported_by(statement) & {
        "tensorflow",
        "keras",
        "training",
        "scipy",
        "matplotlib",
        "tf2onnx",
        "onnx",
    }


def test_the_engine_is_the_real_package() -> None:
    assert vars(onnxruntime)["ort"].InferenceSession.__module__.startswith("onnxruntime.")


def test_an_engine_is_imported_only_when_it_is_used() -> None:
    assert "onnxruntime" not in imported_by("import service.main")


def test_the_contract_is_light_enough_for_training() -> None:
    assert not imported_by("import service.manifest") & {"fastapi", "uvicorn", "onnxruntime"}


@pytest.mark.parametrize("module", ["errors", "batcher", "figures.__main__", "figures.draw"])
def test_who_answers_no_request_starts_without_the_web_framework(module: str) -> None:
    """A process is started for every figure, and would wait for it."""
    assert not imported_by(f"import service.{module}") & {"fastapi", "starlette", "uvicorn"}
