import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.training.bare import run_without
from training import __main__ as command_line
from training import data_commands
from training.__main__ import main
from training.datasets import data_folders
from training.experiments import EXPERIMENTS

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
EXTRA = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]["training"]
OF_TRAINING = sorted({re.split(r"[^a-z0-9]", requirement)[0] for requirement in EXTRA} | {"jax"})


def test_list_names_every_experiment_with_the_figures_of_its_manifest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["list"]) == 0
    table = capsys.readouterr().out
    for name in EXPERIMENTS:
        assert name in table
    assert "126,786" in table
    assert "98.83%" in table


def test_what_an_output_has_no_letter_for_is_a_question_mark() -> None:
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "training", "list"]
    done = subprocess.run(command, env=ascii_only, capture_output=True, check=True, cwd=PYPROJECT.parent)  # noqa: S603
    assert b"mnist-baseline" in done.stdout
    assert b"?" in done.stdout
    assert done.stderr == b""


def test_list_and_fetch_start_without_tensorflow() -> None:
    code = (
        "import sys; from training.__main__ import main; main(['list']); import training.data_commands; "
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)  # noqa: S603


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["fetch"], "rich"),
        (["preprocess", "mnist"], "rich"),
        (["list"], "rich"),
        (["report", "mnist"], "rich"),
        (["compare", "mnist", "cifar10"], "rich"),
        (["train", "mnist-baseline"], "keras"),
        (["export", "mnist-baseline"], "keras"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_where_only_serving_was_installed_one_line_says_what_to_do(
    tmp_path: Path, arguments: list[str], missing: str
) -> None:
    done = run_without(OF_TRAINING, "training", arguments, tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"training: {sys.executable} has no {missing}, which this command needs: ")
    assert "`make test`" in done.stderr
    assert "`uv sync --frozen --all-extras`" in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_needs_only_what_serving_does(tmp_path: Path) -> None:
    done = run_without(OF_TRAINING, "training", ["train", "--help"], tmp_path)
    assert done.returncode == 0
    assert "--resume" in done.stdout


@pytest.mark.parametrize(
    ("command", "does"),
    [
        ("fetch", "download those that are missing"),
        ("preprocess", "one checked array file"),
        ("train", "train, evaluate and export"),
        ("export", "whose training is finished"),
        ("list", "what can be trained"),
        ("report", "learning curves"),
        ("compare", "side by side"),
    ],
)
def test_help_of_a_command_says_what_it_does_and_where_it_looks_for_data(
    command: str, does: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    said = capsys.readouterr().out
    assert does in said
    looked_in = f"$CONVSCOPE_DATA, {', '.join(map(str, data_folders()))})"
    assert (looked_in in said) == ("--data" in said)


def test_a_stop_that_was_dropped_while_a_command_was_imported_ends_it() -> None:
    """As JAX drops it, on the way to a training that is never begun."""
    code = """
import runpy, signal, sys
class Dying:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
class Imported:
    def __getattr__(self, name):
        Dying()
        return print
sys.modules["training.train_commands"] = Imported()
sys.argv[1:] = ["train", "mnist-baseline"]
runpy.run_module("training", run_name="__main__")
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=PYPROJECT.parent)  # noqa: S603
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "\ntraining: stopped; `python -m training train mnist-baseline` does the rest\n"


@pytest.mark.parametrize("module", OF_TRAINING)
def test_everything_that_training_needs_can_be_missing(
    module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _break_import(module, monkeypatch)
    assert main(["list"]) == 1
    assert f"has no {module}, which this command needs" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["training.typo", "service.typo", "typo", "keras.typo", "numpy"])
def test_another_module_that_is_missing_stays_a_traceback(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break_import(module, monkeypatch)
    with pytest.raises(ModuleNotFoundError, match=re.escape(module)):
        main(["list"])


def _break_import(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> int:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(command_line, "run", failing)


def test_missing_data_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a b"
    assert main(["preprocess", "mnist", "--data", str(folder)]) == 1
    assert f"run `python -m training fetch --data '{folder}'`" in capsys.readouterr().err


def test_export_before_training_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", "mnist-baseline", "--checkpoints", str(tmp_path), "--artifacts", str(tmp_path)]
    assert main(arguments) == 1
    assert "0 of 12 epochs: train it with --resume first" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train"],
        ["train", "no-such-model"],
        ["train", "mnist-baseline", "--seed", "-1"],
        ["train", "mnist-baseline", "--seed", "4294967296"],
    ],
)
def test_wrong_words_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)


def test_a_data_set_that_there_is_not_is_refused_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["fetch", "imagenet"])
    assert "'imagenet' is none of mnist, cifar10\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "mnist-baseline", "--to"],
        ["train", "mnist-baseline", "--checkpoints"],
        ["train", "mnist-baseline", "--artifacts"],
        ["fetch", "mnist", "--data"],
    ],
)
def test_a_file_where_a_folder_must_be_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # what is made in spite of it must not stay
    file = tmp_path / "file"
    file.touch()
    assert main([*arguments, str(file)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("training: ")
    assert said.count("\n") == 1
    assert str(file) in said


def test_ctrl_c_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(data_commands, "preprocess", interrupted)
    assert main(["preprocess", "mnist", "--data", str(tmp_path)]) == 130
    assert "`python -m training preprocess mnist --data" in capsys.readouterr().err
