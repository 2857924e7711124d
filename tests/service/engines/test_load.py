"""Which engine serves, where the one that was meant is not all there."""

import os
import signal
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import service.engines
from service.engines import EngineMissingError, EngineName, choose, has_tiles, load, open_graph
from service.settings import ROOT

LOAD = """
import logging, sys
sys.path.insert(0, sys.argv[1])
logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
from service.engines import EngineMissingError, load
for name in sys.argv[2:]:
    try:
        print(load(name))
    except EngineMissingError as error:
        print(error)
print("openvino" in sys.modules)
print(bool(sys.modules.get("openvino.tools.ovc")))
"""
WITHOUT_A_PART = """
class CompiledModel: ...
class Core:
    def get_property(self, *_):
        raise RuntimeError('Exception from src/core.cpp:7:\\nDevice with "CPU" name is not registered\\n')
"""
WITHOUT_A_READER = """
class CompiledModel: ...
class Core:
    def get_property(self, *_): ...
class frontend:
    class FrontEndManager:
        def get_available_front_ends(self):
            return ["ir"]
"""
WITH_ADVICE = """
try:
    raise ImportError("libx.so: cannot open")
except ImportError as error:
    try:
        {}["y"]
    except KeyError:
        raise ImportError(f"{error}: ask for help")
"""
STOPPED = """
try:
    raise KeyboardInterrupt
except KeyboardInterrupt as error:
    raise ImportError("initialization failed") from error
"""
BROKEN = {
    'raise ImportError("libopenvino.so: cannot open")': "libopenvino.so: cannot open",
    WITHOUT_A_PART: 'Device with "CPU" name is not registered',
    WITHOUT_A_READER: "it has nothing that reads ONNX",
    WITH_ADVICE: "libx.so: cannot open",
}


def loaded(packages: Path, *names: str) -> list[str]:
    """What a process says that finds its packages there first."""
    command = [sys.executable, "-c", LOAD, str(packages), *names]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=60, check=True)  # noqa: S603
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "package", BROKEN, ids=["cannot-be-imported", "without-a-part", "without-a-reader", "with-advice"]
)
def test_where_openvino_does_not_work_onnx_runtime_serves_unless_it_was_asked_for_by_name(
    tmp_path: Path, package: str
) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text(package)
    warning, chosen, refused, *_ = loaded(tmp_path, "auto", "openvino")
    reason = BROKEN[package]
    assert warning == (f"WARNING OpenVINO is installed and cannot be used, so ONNX Runtime serves: {reason}")
    assert chosen == "onnxruntime"
    assert refused == (
        f"the engine openvino cannot be used: {reason}; `uv sync --extra openvino --reinstall-package openvino` "
        "installs it anew, and CONVSCOPE_ENGINE=onnxruntime does without"
    )


@pytest.mark.parametrize("name", ["auto", "openvino"])
def test_ctrl_c_that_a_library_makes_an_import_error_of_is_ctrl_c(tmp_path: Path, name: str) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text(STOPPED)
    with pytest.raises(subprocess.CalledProcessError) as raised:
        loaded(tmp_path, name)
    assert raised.value.returncode == -signal.SIGINT
    assert raised.value.output == ""


def test_openvino_is_imported_only_where_it_serves_and_without_what_converts_models(tmp_path: Path) -> None:
    assert loaded(tmp_path, "onnxruntime") == ["onnxruntime", "False", "False"]
    assert loaded(tmp_path, "auto") == ["openvino", "True", "False"]


def test_an_onnx_runtime_that_does_not_work_is_no_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: str) -> None:
        raise ImportError

    monkeypatch.setattr(service.engines, "_imported", fails)
    for name in ("auto", "onnxruntime"):
        with pytest.raises(EngineMissingError, match=r"onnxruntime` installs it anew$") as raised:
            load(name)
        assert str(raised.value).startswith(
            "the engine onnxruntime cannot be used: ImportError; `uv sync --re"
        )


def test_an_empty_folder_of_its_name_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.engines, "find_spec", lambda name: ModuleSpec(name, None))
    assert choose("auto") == "onnxruntime"
    with pytest.raises(EngineMissingError, match=r"tensorflow is not installed: `uv sync --extra training`"):
        choose("tensorflow")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("onnxruntime", {"threads": 3}),
        ("openvino", {"threads": 3, "precision": "bfloat16"}),
        ("tensorflow", {"threads": 3}),
    ],
)
def test_an_engine_is_told_its_threads_and_its_precision_where_it_has_several(
    monkeypatch: pytest.MonkeyPatch, name: EngineName, told: dict[str, Any]
) -> None:
    classes = dict.fromkeys(("OnnxRuntime", "OpenVino", "TensorFlow"), lambda *it, **options: (*it, options))
    monkeypatch.setitem(sys.modules, f"service.engines.{name}", SimpleNamespace(**classes))
    opened: Any = open_graph(Path("graph"), name, threads=3, precision="bfloat16")
    assert opened == (Path("graph"), told)


def test_what_the_shell_trains_with_is_not_what_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "service.engines.tensorflow", SimpleNamespace(TensorFlow=dict))
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    load("tensorflow")
    assert (os.environ["KERAS_BACKEND"], os.environ["TF_CPP_MIN_LOG_LEVEL"]) == ("tensorflow", "3")
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    load("tensorflow")
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "1"


@pytest.mark.parametrize(
    ("flags", "tiles"),
    [("fpu avx512_bf16", False), ("amx_tile amx_int8", False), ("amx_bf16 amx_tile", True), (None, False)],
)
def test_a_processor_has_tiles_where_linux_says_so(
    monkeypatch: pytest.MonkeyPatch, flags: str | None, *, tiles: bool
) -> None:
    def read_text(path: Path) -> str:
        if flags is None:
            raise FileNotFoundError(path)
        return f"flags\t\t: {flags}\n"

    monkeypatch.setattr(Path, "read_text", read_text)
    assert has_tiles.__wrapped__() is tiles
