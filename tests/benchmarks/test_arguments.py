"""What the small scripts say of words that they cannot follow, and of what they miss: one line, before anything is
begun."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from service.manifest import MODEL
from service.settings import ROOT
from tests.benchmarks import calibration, feature_maps, image_cost, training_speed, wild_digits
from tests.benchmarks.needed import needed
from tests.benchmarks.serving.child import free_port
from tests.service.shipped import latest
from tests.training.bare import run_without
from training.missing import OF_TRAINING

PHOTOGRAPHS = latest("cifar10-mnist-like") / MODEL
DIGITS = (
    "there are mnist, mnist-8-filters, mnist-baseline, mnist-compact, mnist-l2, mnist-stride-4, or the path"
)


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        (wild_digits.main, ["--images", "0"], "'0' is not a whole number from 1 to 5000"),
        (wild_digits.main, ["--images", "5001"], "'5001' is not a whole number from 1 to 5000"),
        (wild_digits.main, ["--model", "nosuch"], DIGITS),
        (wild_digits.main, ["--model", "cifar10"], DIGITS),
        (wild_digits.main, ["--model", "nosuch.onnx"], DIGITS),
        (wild_digits.main, ["--model", str(PHOTOGRAPHS)], "no digits of [N,28,28,1]"),
        (training_speed.main, ["nosuch"], "'nosuch' is none of mnist-compact, "),
        (training_speed.main, ["mnist-baseline"], "'mnist-baseline' is none of mnist-compact, "),
        (training_speed.main, ["--images", "0"], "'0' is not a whole number from 1 on"),
        (training_speed.main, ["--images", "45001"], "there are 45,000 to train cifar10-fast on"),
        (
            training_speed.main,
            ["mnist-compact", "--images", "55001"],
            "there are 55,000 to train mnist-compact on",
        ),
        (calibration.main, ["--repeats", "0"], "'0' is not a whole number from 1 on"),
    ],
)
def test_what_is_impossible_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: Callable[[], None],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["script", *words])
    with pytest.raises(SystemExit) as exited:
        script()
    assert said in (capsys.readouterr().err or str(exited.value))


@pytest.mark.parametrize("script", [calibration, feature_maps, image_cost, training_speed, wild_digits])
def test_help_has_the_command_in_a_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], script: ModuleType
) -> None:
    monkeypatch.setattr(sys, "argv", ["script", "--help"])
    with pytest.raises(SystemExit, match="0"):
        script.main()
    assert f"\n\n    python -m {script.__name__} [" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "missing"),
    [("calibration", "keras"), ("training_speed", "keras"), ("serving", "httpx")],
)
def test_where_only_serving_was_installed_one_line_says_what_to_do(
    tmp_path: Path, script: str, missing: str
) -> None:
    done = run_without({*OF_TRAINING, "httpx"}, f"tests.benchmarks.{script}", [], tmp_path)
    assert done.returncode
    assert done.stdout == ""
    assert done.stderr.startswith(f"{sys.executable} has no {missing}, which this command needs: `make test`")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("script", ["feature_maps", "image_cost", "wild_digits", "serving"])
def test_help_of_what_measures_the_service_needs_only_what_serving_does(tmp_path: Path, script: str) -> None:
    done = run_without({*OF_TRAINING, "httpx"}, f"tests.benchmarks.{script}", ["--help"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--json" in done.stdout


@pytest.mark.parametrize("module", ["tests.typo", "numpy"])
def test_another_module_that_is_missing_stays_a_traceback(module: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=module), needed():
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def test_without_data_one_line_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVSCOPE_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["script", "--images", "1"])
    with pytest.raises(SystemExit) as exited:
        wild_digits.main()
    assert "train-images-idx3-ubyte.gz is in none of" in str(exited.value)
    assert "run `python -m training fetch`" in str(exited.value)


@pytest.mark.parametrize("count", [20_000, 45_000])
def test_all_images_that_there_are_to_train_on_can_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(sys, "argv", ["script", "cifar10-fast", "--images", str(count)])
    options = training_speed._arguments()
    assert (options.names, options.images) == (["cifar10-fast"], count)


def test_pictures_of_a_service_that_does_not_run_say_how_to_start_it() -> None:
    command = [sys.executable, "docs/pictures.py", f"http://127.0.0.1:{free_port()}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "run `make serve` in another window" in done.stderr
