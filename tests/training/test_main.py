import subprocess
import sys
from pathlib import Path

import pytest

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
    code = "import sys; from training.__main__ import main; main(['list']); assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)  # noqa: S603


def test_missing_data_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preprocess", "mnist", "--data", str(tmp_path)]) == 1
    assert "run `python -m training fetch`" in capsys.readouterr().err


def test_export_before_training_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", "mnist-baseline", "--checkpoints", str(tmp_path), "--artifacts", str(tmp_path)]
    assert main(arguments) == 1
    assert "0 of 12 epochs: train it with --resume first" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["train"], ["train", "no-such-model"], ["fetch", "imagenet"]])
def test_wrong_words_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
