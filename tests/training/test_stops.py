import gc
import signal
from collections.abc import Callable

import pytest

from tests.training.conftest import drop
from training.stops import TerminatedError, heed, listen

RAISES = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, TerminatedError)]

pytestmark = pytest.mark.usefixtures("listening")


def in_collection(number: signal.Signals) -> None:
    """As JAX is called."""

    def called(phase: str, _: object) -> None:
        if phase == "start":
            signal.raise_signal(number)

    gc.callbacks.append(called)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(called)


@pytest.mark.parametrize("dropping", [drop, in_collection])
@pytest.mark.parametrize(("number", "stop"), RAISES)
def test_a_stop_that_python_drops_is_raised_at_the_next_step_and_the_one_after(
    number: signal.Signals,
    stop: type[BaseException],
    dropping: Callable[[signal.Signals], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    dropping(number)
    assert capsys.readouterr().err == ""
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt) as raised:
            heed()
        assert raised.type is stop


@pytest.mark.parametrize(("number", "stop"), RAISES)
def test_a_signal_raises_at_once_every_time(number: signal.Signals, stop: type[BaseException]) -> None:
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt) as raised:
            signal.raise_signal(number)
        assert raised.type is stop


def test_of_several_stops_the_last_is_raised_again() -> None:
    drop(signal.SIGINT)
    drop(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt) as raised:
        heed()
    assert raised.type is TerminatedError


def test_without_a_signal_no_step_is_the_last() -> None:
    heed()


def test_ctrl_c_stays_ignored_where_it_was() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listen()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_errors_that_python_drops_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    class Faulty:
        def __del__(self) -> None:
            raise ValueError("a fault of ours")

    Faulty()
    assert "ValueError: a fault of ours" in capsys.readouterr().err
