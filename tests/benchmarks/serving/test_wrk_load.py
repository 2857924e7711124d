"""How a server is loaded with wrk, and what its answers must be for the load to count."""

import json
import subprocess
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks.serving import wrk
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.messages import Answer, Request
from tests.benchmarks.serving.servers import is_seven
from tests.benchmarks.serving.test_wrk import FIGURES
from tests.benchmarks.serving.wrk import RESULT, Load, load

REQUEST = Request("/x", b"body", "text/plain")
SEVEN = Answer(200, b'{"label":"7"}', 121)
ONE = Answer(200, b'{"label":"1"}', 121)
REFUSAL = Answer(503, b"{}", 200)
REDIRECT = Answer(307, b"", 136)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is run."""
    return running(monkeypatch)


def running(monkeypatch: pytest.MonkeyPatch, **changes: float) -> list[list[str]]:
    """A wrk that prints these figures, and the commands it gets."""
    told: list[list[str]] = []

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        told.append(command)
        return SimpleNamespace(stdout=f"{RESULT}{json.dumps(FIGURES | changes)}\n", stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    answering(monkeypatch, SEVEN, SEVEN)
    return told


def answering(monkeypatch: pytest.MonkeyPatch, *answers: Answer) -> None:
    """What is asked for before and after the load."""
    left = iter(answers)
    monkeypatch.setattr(wrk, "ask", lambda port, request: next(left))


def loaded(*, cores: tuple[int, ...] = (5,), **options: Any) -> Load:
    used = iter([3.0, 4.6])
    child: Any = SimpleNamespace(name="a server", port=17, processor_seconds=lambda: next(used))
    return load(child, REQUEST, is_seven, connections=7, seconds=2, cores=list(cores), **options)


def test_the_load_is_on_its_cores_with_its_connections_for_its_seconds(commands: list[list[str]]) -> None:
    loaded()
    loaded_by_many = [
        "taskset",
        "-c",
        "5",
        "nice",
        "-n",
        "0",
        "wrk",
        "-t1",
        "-c7",
        "-d2",
        "--timeout",
        "10",
        "-s",
    ]
    assert commands[0][:-2] == loaded_by_many
    assert commands[0][-1] == "http://127.0.0.1:17/x"


def test_a_load_may_have_several_cores_and_yield_to_the_server(commands: list[list[str]]) -> None:
    loaded(cores=(3, 5), nice=19)
    assert commands[0][:6] == ["taskset", "-c", "3,5", "nice", "-n", "19"]


def test_a_request_takes_what_the_server_used_meanwhile(commands: list[list[str]]) -> None:
    assert loaded().processor_us == pytest.approx(1e6 * (4.6 - 3.0) / 8000)


def test_a_refusal_voids_a_load_that_nobody_may_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    running(monkeypatch, refused=1)
    with pytest.raises(BenchmarkError, match="a server, /x: 1 requests were refused"):
        loaded()
    running(monkeypatch, refused=1)
    assert loaded(may_refuse=True).refused == 1


def test_a_load_that_is_refused_as_a_whole_says_whose_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    running(monkeypatch, refused=8000)
    with pytest.raises(BenchmarkError, match="a server, /x: all of 8,000 requests were refused"):
        loaded(may_refuse=True)


@pytest.mark.parametrize(("wrong", "status"), [(ONE, 200), (REFUSAL, 503), (REDIRECT, 307)])
@pytest.mark.parametrize("order", [lambda wrong: (wrong, SEVEN), lambda wrong: (SEVEN, wrong)])
def test_a_load_between_answers_of_which_one_is_wrong_is_void(
    monkeypatch: pytest.MonkeyPatch,
    commands: list[list[str]],
    order: Callable[[Answer], tuple[Answer, Answer]],
    wrong: Answer,
    status: int,
) -> None:
    answering(monkeypatch, *order(wrong))
    with pytest.raises(BenchmarkError, match=f"a server, /x: a wrong answer, {status}"):
        loaded(may_refuse=True)


def test_who_was_refused_under_load_may_be_so_just_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    running(monkeypatch, refused=1)
    answering(monkeypatch, SEVEN, REFUSAL)
    assert loaded(may_refuse=True).refused == 1


@pytest.mark.parametrize("size", [REDIRECT.size, 100])
def test_answers_of_another_length_than_the_right_one_void_a_load(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """A redirect is no refusal to wrk: all of them would be throughput."""
    running(monkeypatch, bytes=8000 * size)
    with pytest.raises(BenchmarkError, match=f"{size} bytes in the mean, the right one before has 121"):
        loaded()


@pytest.mark.parametrize(
    "changes",
    [
        {"bytes": 8000 * 123},  # last digits
        {"requests": 10, "bytes": 10 * 121 + 120},  # a part of the next when it stopped
        {"bytes": 4000 * 121 + 4000 * 900, "refused": 4000},
    ],
)
def test_answers_that_are_almost_as_long_are_alike(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, int]
) -> None:
    running(monkeypatch, **changes)
    assert loaded(may_refuse=True).answers == changes.get("requests", 8000)


def test_of_an_answer_in_chunks_no_length_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    running(monkeypatch, bytes=8000 * 300)
    answering(monkeypatch, SEVEN._replace(size=0), SEVEN)
    assert loaded().size == 300
