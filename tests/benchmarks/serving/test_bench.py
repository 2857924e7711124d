"""How long a whole run takes, and on which cores."""

import os

import pytest

from tests.benchmarks.serving.bench import COLOUR, DIGITS, FULL, Cores


@pytest.mark.parametrize(
    ("allowed", "server", "load", "shared"),
    [({4, 2, 7}, 2, 7, False), ({0, 1}, 0, 1, False), ({3}, 3, 3, True)],
)
def test_server_and_load_have_the_first_and_the_last_core(
    monkeypatch: pytest.MonkeyPatch, allowed: set[int], server: int, load: int, shared: bool
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: allowed)
    found = Cores.allowed()
    assert (found, found.shared) == (Cores(server, load), shared)


def test_a_whole_run_is_long_enough() -> None:
    assert (FULL.rounds, FULL.seconds, FULL.warm, FULL.engine_seconds, FULL.starts) == (5, 4, 2, 2.0, 5)
    assert (FULL.overload_rounds, FULL.overload_seconds, FULL.soak_seconds) == (5, 6.0, 300.0)
    assert (FULL.overloaded, FULL.clients) == ((COLOUR, DIGITS), ("in turn", "again", "anew"))
