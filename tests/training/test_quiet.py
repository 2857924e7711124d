import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import ROOT
from training.quiet import quiet

SAID = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    b"I0000 00:00:1795854107.516987   32382 port.cc:153] oneDNN custom operations are on. You may see slightly\n"
    b"E0000 00:00:1795854107.516987   32382 cuda.cc:1] no card was found\n"
)
HEARD = "E0000 00:00:1795854107.516987   32382 cuda.cc:1] no card was found\n"


def test_what_nobody_asked_for_is_withheld_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        os.write(2, SAID)
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == HEARD
    os.write(2, SAID)
    assert capfd.readouterr().err == SAID.decode()


def test_what_is_said_before_a_failure_is_heard(capfd: pytest.CaptureFixture[str]) -> None:
    def failing() -> None:
        os.write(2, SAID)
        raise ImportError("no such library")

    with pytest.raises(ImportError), quiet():
        failing()
    assert capfd.readouterr().err == HEARD


def test_without_a_standard_error_there_is_nothing_to_keep_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with quiet():
        pass


def test_a_command_that_imports_tensorflow_says_nothing_of_it(tmp_path: Path) -> None:
    options = ["--checkpoints", str(tmp_path), "--artifacts", str(tmp_path)]
    done = _run(["-m", "training", "export", "mnist-baseline", *options], "tensorflow")
    assert done.returncode == 1
    assert "train it with --resume first" in done.stdout
    assert "oneDNN" not in done.stderr
    assert "absl::InitializeLog" not in done.stderr


def test_another_backend_that_imports_it_as_well_says_nothing_of_it() -> None:
    code = (
        "import sys; from training.experiments import EXPERIMENTS; from training.fit import build; "
        "build(EXPERIMENTS['mnist-8-filters']); assert 'tensorflow' in sys.modules"
    )
    done = _run(["-c", code], "jax")
    assert done.returncode == 0
    assert "oneDNN" not in done.stderr
    assert "absl::InitializeLog" not in done.stderr


def _run(words: list[str], backend: str) -> "subprocess.CompletedProcess[str]":
    """Python with these words, where nothing is set for TensorFlow."""
    unset = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    environment = {**unset, "KERAS_BACKEND": backend}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
