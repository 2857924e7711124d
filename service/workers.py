"""The service's processes, one or several, and the sockets that they listen on."""

import ctypes
import errno
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import resource_tracker
from time import monotonic
from typing import Any, NoReturn, TypeVar

from uvicorn import Config, Server
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess, multiprocess

STOPPING = 5.0
"""Seconds more than requests get to finish, after which a worker that was told to stop is killed: it hangs."""
STARTING = 60.0
"""Seconds that a worker gets until it can take the place of another. Those with TensorFlow take some 15."""

LONGEST_WAIT = 2_000_000.0
"""Seconds, 23 days: more than that is too large for poll(2), which counts milliseconds in 31 bits."""

_PARENT_DEATH_SIGNAL = 1
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

log = logging.getLogger("uvicorn.error")

Socket = TypeVar("Socket", bound=socket.socket)


class OwnQueue(socket.socket):
    """A bound socket of which every process it is sent to gets another one, bound to the same address. Linux only.

    The kernel spreads connections over those that listen (SO_REUSEPORT). From one socket that all
    workers share, the first to wake up may take every connection that comes at once, and keeps them: the other
    workers were seen idle in one load of four.
    """

    @classmethod
    def bound(cls, family: int, address: Any) -> "OwnQueue":
        """One to listen on. `address` as `getsockname` gives it. Raises OSError."""
        return _bind(cls(family), address, socket.SO_REUSEADDR, socket.SO_REUSEPORT)

    @classmethod
    def held(cls, family: int, address: Any) -> "OwnQueue":
        """One that keeps the address for the workers. Raises OSError where somebody else is."""
        one = _alone(cls, family, address)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return one

    def __reduce__(self) -> tuple[Any, ...]:
        return _bound_by_worker, (int(self.family), self.getsockname(), os.getpid())


def _bound_by_worker(family: int, address: Any, parent: int) -> OwnQueue:
    _end_with_parent()
    if os.getppid() != parent:  # it was killed before this process asked to be told
        sys.exit(STARTUP_FAILURE)
    try:
        return OwnQueue.bound(family, address)
    except OSError as error:
        sys.stderr.write(f"a worker cannot listen on {address[0]}:{address[1]}: {error.strerror}\n")
        sys.exit(STARTUP_FAILURE)


class Worker(multiprocess.Process):
    """One of several processes, for which nobody waits for ever: uvicorn would, and hear no signal meanwhile."""

    _stop_by: float | None = None

    def start(self) -> None:
        """Ctrl-C is for all processes of a terminal. One that has not come to its own code yet would die of it with a
        traceback, so it hears of it only then."""
        resource_tracker.ensure_running()  # which multiprocessing starts with the first, and then lets signals in
        # The new process has this from here.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.child_conn.close()  # the worker has its own, so that one that has died is known to be gone at once

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        super().target(sockets)

    def terminate(self) -> None:
        super().terminate()
        self._stop_by = monotonic() + (self.config.timeout_graceful_shutdown or 0) + STOPPING

    def join(self) -> None:
        if self._stop_by is not None:
            self.process.join(min(max(0.0, self._stop_by - monotonic()), LONGEST_WAIT))
            if self.process.exitcode is None:
                log.error("Child process [%s] does not stop, and is killed", self.pid)
                self.process.kill()
        super().join()

    def wait_until_ready(self, timeout: float, should_exit: threading.Event | None = None) -> bool:
        """`timeout` is also that after which a worker that does not answer hangs, so it is short."""
        return super().wait_until_ready(max(timeout, STARTING), should_exit)


class Supervisor(Multiprocess):
    """Told to stop, it does not first wait for a worker to be ready that takes the place of another: uvicorn looks at
    signals only between its other work."""

    def __init__(self, config: Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self._told = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def _stop(self, number: int, _: object) -> None:
        self.signal_queue.append(number)
        self.should_exit.set()

    def keep_subprocess_alive(self) -> None:
        """Looks after the workers, and says that the service runs as soon as one of them answers."""
        super().keep_subprocess_alive()
        if self._told or self.should_exit.is_set():
            return
        if any(worker.is_ready() for worker in self.processes):
            self._told = True
            _tell(self.config, self.sockets)

    def terminate_all(self) -> None:
        self.handle_signals()  # which says what it was told
        super().terminate_all()


class LoneServer(Server):
    """Of the one process. It is given its sockets and says where it listens, as if they were uvicorn's own."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        sockets = sockets or []
        try:
            await super().startup(sockets)
        except OSError as error:  # somebody else listens there already
            await self.lifespan.shutdown()
            _refuse(self.config, error)
        if self.started:  # an older uvicorn comes here where it could not start, too
            _tell(self.config, sockets)


def run_one(config: Config) -> None:
    """Serves with this process until it is told to stop. Exits as uvicorn does when it cannot start."""
    sockets = _bound(config, alone)
    server = LoneServer(config)
    try:
        with suppress(KeyboardInterrupt):
            config.load()
            server.run(sockets)
    finally:
        for one in sockets:
            one.close()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def run_several(config: Config) -> None:
    """The same with `config.workers` processes, each with a queue of connections of its own. Linux only."""
    held = _bound(config, OwnQueue.held)
    _let_clients_send()
    # Nothing else says of which class the processes are to be. If one day uvicorn looks elsewhere, theirs are used.
    multiprocess.Process = Worker  # type: ignore[misc]
    supervisor = Supervisor(config, sockets=held)
    supervisor.run()
    if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        sys.exit(STARTUP_FAILURE)  # what one process would end with; the supervisor only stops


def _bound(config: Config, bind: Callable[[int, Any], socket.socket]) -> list[socket.socket]:
    """A socket for each address of the host. Exits as uvicorn does where there is none to be had, and before any model
    is opened."""
    try:
        return bind_each(config.host, config.port, bind)
    except OSError as error:
        _refuse(config, error)


def bind_each(host: str, port: int, bind: Callable[[int, Any], socket.socket]) -> list[socket.socket]:
    """All on one port, also where any will do. Raises OSError."""
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    for family, address in _addresses(host, port):
        try:
            one = bind(family, (address[0], port, *address[2:]))
        except OSError as error:
            if error.errno not in _NO_SUCH_ADDRESS:
                raise
            missing = error  # of a family, it may be, that the name has and this machine has not
        else:
            sockets.append(one)
            port = one.getsockname()[1]
    if missing is not None and not sockets:
        raise missing
    return sockets


def _addresses(host: str, port: int) -> list[tuple[int, Any]]:
    """Family and address of each that a name stands for. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError:  # a part of it is longer than any may be, or empty
        raise OSError(errno.EINVAL, "this is no name of a host") from None
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))


def _bind(one: Socket, address: Any, *options: int) -> Socket:
    """Sets these options of the socket, and binds it. Raises OSError."""
    try:
        for option in options:
            one.setsockopt(socket.SOL_SOCKET, option, 1)
        if one.family == socket.AF_INET6:
            # Every interface is every one, also for those who come by IPv4: asyncio leaves them out, uvicorn does not.
            both = address[0] == "::" and socket.has_dualstack_ipv6()
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one


class Alone(socket.socket):
    """One to listen on that nobody shares."""

    def listen(self, *backlog: int) -> None:
        """From here on its connections, of which the system remembers some for a minute after they have ended, have it
        from this socket that they are no obstacle to the next service. Raises OSError where somebody else listens."""
        if os.name == "posix":
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        super().listen(*backlog)


def alone(family: int, address: Any) -> Alone:
    """Raises OSError."""
    return _alone(Alone, family, address)


def _alone(kind: Callable[[int], Socket], family: int, address: Any) -> Socket:
    """Bound before it may share its address in any way: of two services that start at the same moment one is refused,
    though neither listens yet."""
    try:
        return _bind(kind(family), address)
    except OSError:
        if os.name != "posix":  # where it would be taken from who listens
            raise
        # Connections of a service that has just stopped are no obstacle; a second service that starts now would be.
        one = _bind(kind(family), address, socket.SO_REUSEADDR)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        return one


def _tell(config: Config, sockets: Sequence[socket.socket]) -> None:
    where = _place(config.host, sockets[0].getsockname()[1])
    log.info("Uvicorn running on http://%s (Press CTRL+C to quit)", where)


def _refuse(config: Config, error: OSError) -> NoReturn:
    log.error("cannot listen on %s: %s", _place(config.host, config.port), error.strerror)
    sys.exit(STARTUP_FAILURE)


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _end_with_parent() -> None:
    """Or workers of a supervisor that was killed would go on, and nobody could listen on their port. prctl(2),
    PR_SET_PDEATHSIG."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _let_clients_send() -> None:
    """Makes this process, and those it starts, wait until whoever runs on their core pauses.

    Clients on the same machine share the workers' cores. A worker that interrupts one as soon as it has sent its
    first request finds a single image to run: an image took twice the time so. See sched(7), SCHED_BATCH. Beside
    a process that never pauses a request may wait for the end of its slice, some 4 ms.
    """
    with suppress(OSError):  # a sandbox may forbid it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
