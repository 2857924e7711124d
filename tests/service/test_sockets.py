"""Several processes on one port, and who finds it taken."""

import ctypes
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.reduction import ForkingPickler
from types import SimpleNamespace
from typing import Any

import pytest
from uvicorn.config import STARTUP_FAILURE

from service import sockets
from service.sockets import OwnQueue, alone, bind_each

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers share one socket")

Bind = Callable[[int, Any], socket.socket]


CLIENTS = 64


def in_worker(one: OwnQueue) -> OwnQueue:
    """What a worker gets of it. The worker here is this process, and so its own parent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getppid", os.getpid)
        of_worker = pickle.loads(ForkingPickler.dumps(one))  # noqa: S301 — as uvicorn sends it
    assert isinstance(of_worker, OwnQueue)
    assert of_worker.getsockname() == one.getsockname()
    return of_worker


def test_every_worker_gets_its_share_of_the_connections() -> None:
    with ExitStack() as stack:
        first = stack.enter_context(OwnQueue.bound(socket.AF_INET, ("127.0.0.1", 0)))
        second = stack.enter_context(in_worker(first))
        for one in (first, second):
            one.listen(CLIENTS)
            one.setblocking(False)
        for _ in range(CLIENTS):
            stack.enter_context(socket.create_connection(first.getsockname()))
        shares = [_accepted(one, stack) for one in (first, second)]
        assert sum(shares) == CLIENTS
        # An even split in the mean; one below an eighth happens once in a billion times.
        assert min(shares) >= CLIENTS / 8


def _accepted(listener: socket.socket, stack: ExitStack) -> int:
    count = 0
    while True:
        try:
            stack.enter_context(listener.accept()[0])
        except BlockingIOError:
            return count
        count += 1


def test_a_port_that_workers_are_to_share_is_taken_before_they_listen() -> None:
    with ExitStack() as stack:
        held = stack.enter_context(OwnQueue.held(socket.AF_INET, ("127.0.0.1", 0)))
        stack.enter_context(in_worker(held)).listen()
        other = stack.enter_context(socket.socket())
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(held.getsockname())


BINDS = pytest.mark.parametrize("bind", [alone, OwnQueue.held])


@BINDS
@pytest.mark.parametrize("other", [alone, OwnQueue.held])
def test_of_two_services_that_start_at_the_same_moment_one_is_refused(bind: Bind, other: Bind) -> None:
    with bind(socket.AF_INET, ("127.0.0.1", 0)) as first, pytest.raises(OSError, match="in use"):
        other(socket.AF_INET, first.getsockname())


def test_who_comes_while_workers_listen_is_refused() -> None:
    with OwnQueue.held(socket.AF_INET, ("127.0.0.1", 0)) as held, in_worker(held) as of_worker:
        of_worker.listen()
        for bind in (alone, OwnQueue.held):
            with pytest.raises(OSError, match="in use"):
                bind(socket.AF_INET, held.getsockname())


@BINDS
def test_every_interface_is_that_of_both_families(bind: Bind) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with ExitStack() as stack:
        [one] = [stack.enter_context(one) for one in bind_each("::", 0, bind)]
        one.listen()
        for host in ("127.0.0.1", "::1"):
            stack.enter_context(socket.create_connection((host, one.getsockname()[1]), timeout=10))


def test_all_addresses_of_a_name_have_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [(socket.AF_INET, 1, 6, "", (address, 0)) for address in ("127.0.0.1", "192.0.2.1", "127.0.0.2")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [*there, there[0]])
    with ExitStack() as stack:
        bound = [stack.enter_context(one).getsockname() for one in bind_each("name", 0, alone)]
    # The second is of no interface here.
    assert [address for address, _ in bound] == ["127.0.0.1", "127.0.0.2"]
    assert len({port for _, port in bound}) == 1
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: there[1:2])
    with pytest.raises(OSError, match="assign requested address"):
        bind_each("name", 0, alone)


def test_what_is_left_of_one_process_that_has_just_stopped_is_no_obstacle() -> None:
    with ExitStack() as stack:
        before = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = before.getsockname()
        client = stack.enter_context(socket.create_connection(address))
        # Closed by the service first, the connection waits for what may still be under way.
        before.accept()[0].close()
        client.close()
        before.close()
        with pytest.raises(OSError, match="in use"):
            stack.enter_context(socket.socket()).bind(address)
        held = stack.enter_context(OwnQueue.held(socket.AF_INET, address))
        of_worker = stack.enter_context(in_worker(held))
        of_worker.listen()
        stack.enter_context(socket.create_connection(address))


def left_by(before: socket.socket) -> Any:
    """The address of a service that stopped, with a connection that was its first and that it closed itself."""
    with before:
        before.listen()
        address = before.getsockname()
        with socket.create_connection(address):
            before.accept()[0].close()
    return address


@pytest.mark.parametrize("bind", [alone, OwnQueue.held])
def test_who_came_as_soon_as_one_process_listened_is_no_obstacle_to_the_next_and_a_second_one_is(
    bind: Bind,
) -> None:
    with ExitStack() as stack:
        address = left_by(alone(socket.AF_INET, ("127.0.0.1", 0)))
        with pytest.raises(OSError, match="in use"):
            stack.enter_context(socket.socket()).bind(address)
        stack.enter_context(bind(socket.AF_INET, address))
        with pytest.raises(OSError, match="in use"):
            stack.enter_context(bind(socket.AF_INET, address))


def test_a_worker_that_finds_its_port_taken_says_so_and_ends_the_service(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as stranger, OwnQueue.bound(socket.AF_INET, ("127.0.0.1", 0)) as own:
        sent = ForkingPickler.dumps(own)
        address = own.getsockname()
        own.close()
        stranger.bind(address)
        stranger.listen()
        monkeypatch.setattr(os, "getppid", os.getpid)
        with pytest.raises(SystemExit) as ended:
            pickle.loads(sent)  # noqa: S301 — as uvicorn sends it
    assert ended.value.code == STARTUP_FAILURE
    assert f"cannot listen on 127.0.0.1:{address[1]}" in capsys.readouterr().err


def test_a_worker_ends_whose_supervisor_was_killed_before_it_could_ask_to_be_told() -> None:
    with OwnQueue.bound(socket.AF_INET, ("127.0.0.1", 0)) as own:
        sent = ForkingPickler.dumps(own)
    # This process has another parent than the one that sent it.
    with pytest.raises(SystemExit):
        pickle.loads(sent)  # noqa: S301 — as uvicorn sends it


def test_a_worker_whose_supervisor_is_killed_is_told_to_stop_and_may_finish(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, int]] = []
    system = SimpleNamespace(prctl=lambda *arguments: asked.append(arguments))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: system)
    sockets._end_with_parent()
    assert asked == [(1, signal.SIGTERM)]  # PR_SET_PDEATHSIG, as linux/prctl.h has it
