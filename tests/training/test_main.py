import subprocess
import sys
from pathlib import Path

import pytest

from training import data_commands
from training.__main__ import main
from training.experiments import EXPERIMENTS


def test_list_names_every_experiment_with_the_figures_of_its_manifest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["list"]) == 0
    table = capsys.readouterr().out
    for name in EXPERIMENTS:
        assert name in table
    assert "126,786" in table
    assert "98.83%" in table


def test_list_and_fetch_start_without_tensorflow() -> None:
    code = (
        "import sys; from training.__main__ import main; main(['list']); import training.data_commands; "
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)  # noqa: S603


def test_missing_data_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preprocess", "mnist", "--data", str(tmp_path)]) == 1
    assert "run `python -m training fetch`" in capsys.readouterr().err


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
