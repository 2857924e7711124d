"""What stands for an engine, with engines that count how often they were opened."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import sleep

import numpy as np
import pytest
from numpy.typing import NDArray

from service.engines import Precision
from service.standby import Standby

IMAGE = np.zeros((1, 2, 2, 1), np.uint8)


class Engine:
    """Answers with its number."""

    name = "numbers"
    precision: Precision = "float32"
    outputs = ("probabilities",)

    def __init__(self, number: int) -> None:
        self.number = number

    def run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return [np.full((len(images), 1), self.number, np.float32)]


class Opened:
    """Opens engines, numbered from 1."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> Engine:
        sleep(0.01)  # as long as others need to get here
        self.count += 1
        return Engine(self.count)


class InBfloat16(Engine):
    precision = "bfloat16"


def answer(standby: Standby) -> float:
    return float(standby.run(IMAGE)[0][0, 0])


def test_an_engine_that_was_let_go_is_opened_again_when_it_runs_and_stays_open() -> None:
    opened = Opened()
    standby = Standby(Engine(0), opened)
    assert (answer(standby), standby.is_open) == (0, True)
    standby.let_go()
    assert not standby.is_open
    assert (standby.name, standby.precision, standby.outputs) == ("numbers", "float32", ("probabilities",))
    assert (opened.count, answer(standby), answer(standby), opened.count) == (0, 1, 1, 1)


def test_it_tells_the_precision_of_what_it_stands_for() -> None:
    assert Standby(InBfloat16(0), Opened()).precision == "bfloat16"


def test_threads_that_need_it_at_the_same_time_open_it_once() -> None:
    opened, together = Opened(), Barrier(4)
    standby = Standby(Engine(0), opened)
    standby.let_go()

    def run(_: int) -> float:
        together.wait()
        return answer(standby)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(run, range(4))) == [1] * 4
    assert opened.count == 1


def test_one_that_cannot_be_opened_says_so_and_may_be_tried_again() -> None:
    engines = iter([Engine(5)])

    def reopen() -> Engine:
        if standby.name in refused:
            raise FileNotFoundError("gone")
        return next(engines)

    refused = {"numbers"}
    standby = Standby(Engine(0), reopen)
    standby.let_go()
    with pytest.raises(FileNotFoundError, match="gone"):
        answer(standby)
    refused.clear()
    assert answer(standby) == 5
