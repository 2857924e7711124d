"""What the small scripts say of words that they cannot follow: one line, before anything is begun."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from service.manifest import MODEL
from service.settings import ROOT
from tests.benchmarks import calibration, training_speed, wild_digits
from tests.benchmarks.serving.child import free_port
from tests.service.shipped import latest

PHOTOGRAPHS = latest("cifar10-mnist-like") / MODEL
DIGITS = (
    "there are mnist, mnist-8-filters, mnist-baseline, mnist-compact, mnist-l2, mnist-stride-4, or the path"
)


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        (wild_digits.main, "--images 0", "'0' is not a whole number from 1 to 5000"),
        (wild_digits.main, "--images 5001", "'5001' is not a whole number from 1 to 5000"),
        (wild_digits.main, "--model nosuch", DIGITS),
        (wild_digits.main, "--model cifar10", DIGITS),
        (wild_digits.main, "--model nosuch.onnx", DIGITS),
        (
            wild_digits.main,
            f"--model {PHOTOGRAPHS}",
            "no digits of [N,28,28,1]",
        ),
        (training_speed.main, "nosuch", "'nosuch' is none of mnist-compact, "),
        (training_speed.main, "mnist-baseline", "'mnist-baseline' is none of mnist-compact, "),
        (training_speed.main, "--images 0", "'0' is not a whole number from 1 on"),
        (training_speed.main, "--images 45001", "there are 45,000 to train cifar10-fast on"),
        (training_speed.main, "mnist-compact --images 55001", "there are 55,000 to train mnist-compact on"),
        (calibration.main, "--repeats 0", "'0' is not a whole number from 1 on"),
    ],
)
def test_what_is_impossible_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: Callable[[], None],
    words: str,
    said: str,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["script", *words.split()])
    with pytest.raises(SystemExit) as exited:
        script()
    assert said in (capsys.readouterr().err or str(exited.value))


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
