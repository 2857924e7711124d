"""The service's processes, one or several."""

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
from typing import Any, NoReturn

from uvicorn import Config, Server
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess, multiprocess

from service.sockets import OwnQueue, alone, bind_each

STOPPING = 5.0
"""Seconds more than requests get to finish, after which a worker that was told to stop is killed: it hangs."""
STARTING = 180.0
"""Seconds that a worker gets until it can take the place of another. Those with TensorFlow take some 15, and 75 on a
busy machine."""
AGAIN = 5.0
"""Seconds between the starts of two of which the second takes the place of the first: what one died of at once, the
next will die of, too."""
DYING = 0.5
"""Seconds that the system may take from closing a process's files to its end."""
SUCCESSOR = "successor"
"""By this name a process knows that it comes to a service that is running."""

LONGEST_WAIT = 2_000_000.0
"""Seconds, 23 days: more than that is too large for poll(2), which counts milliseconds in 31 bits."""

log = logging.getLogger("uvicorn.error")


class Worker(multiprocess.Process):
    """One of several processes, for which nobody waits for ever: uvicorn would, and hear no signal meanwhile."""

    _since = 0.0
    _stop_by: float | None = None

    def start(self) -> None:
        """Ctrl-C, and the end of a terminal, are told to all its processes. One that has not come to its own code yet
        would die of them, so it hears of them only then."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            # Starts a process with the first, which has this for good, and lets SIGINT in.
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            self._since = monotonic()
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.child_conn.close()  # the worker has its own, so that one that has died is known to be gone at once

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """What all are told is the supervisor's matter; the server hears SIGINT while it runs. They are not ignored:
        that would be handed down to the processes that a worker starts."""
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGHUP})
        super().target(sockets)

    def is_alive(self, timeout: float = 5) -> bool:
        """One that is over counts until another may be started in its place."""
        if super().is_alive(timeout):
            return True
        self.process.join(DYING)
        if self.exitcode is None:
            log.error("Child process [%s] does not answer, and is killed", self.pid)
            return False
        return self.exitcode != STARTUP_FAILURE and monotonic() < self._since + AGAIN

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


class Successor(Worker):
    """One that comes to a service that is running, and whose process is to know it."""

    def __init__(self, config: Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.process.name = SUCCESSOR

    @property
    def exitcode(self) -> int | None:
        """Whatever it dies of is no reason to stop the others, which answer."""
        status = super().exitcode
        return 1 if status == STARTUP_FAILURE else status


class Supervisor(Multiprocess):
    """Told to stop, it does not first wait for a worker to be ready that takes the place of another: uvicorn looks at
    signals only between its other work."""

    def __init__(self, config: Config, sockets: list[socket.socket]) -> None:
        stays = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # nohup
        super().__init__(config, sockets)
        self._told = False
        self._terminal = 2 * (not stays and has_terminal(),)
        """whether there was one, the last two times that was asked"""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._renew)

    def _stop(self, number: int, _: object) -> None:
        if self.should_exit.is_set():  # told again: so are those that are waited for
            for worker in self.processes:
                if worker.pid is not None and worker.exitcode is None:
                    os.kill(worker.pid, number)
        self.signal_queue.append(number)
        self.should_exit.set()

    def _renew(self, number: int, frame: object) -> None:
        """Or stops, as one process does, if it is told because its terminal has ended. One that has ended long ago, and
        left the service running, has nothing to do with it."""
        if any(self._terminal) and not has_terminal():
            self._stop(signal.SIGTERM, frame)
        else:
            self.signal_queue.append(number)

    def handle_hup(self) -> None:
        """A terminal whose first process dies tells those of it a moment before it ends."""
        if any(self._terminal) and not has_terminal():
            self.handle_term()
        else:
            super().handle_hup()

    def keep_subprocess_alive(self) -> None:
        """Looks after the workers, and says that the service runs as soon as one of them answers."""
        self._terminal = (self._terminal[1], self._terminal[1] and has_terminal())
        before = list(self.processes)
        if self._told and before and not any(map(_stays, before)):
            # There is nobody whose place could be taken: as at the start.
            self._told = False
            multiprocess.Process = Worker  # type: ignore[misc]
        super().keep_subprocess_alive()
        for old, new in zip(before, self.processes, strict=True):
            if new is not old:
                log.warning("Child process [%s] ended %s; [%s] follows", old.pid, _end(old.exitcode), new.pid)
        if self._told or self.should_exit.is_set():
            return
        if any(worker.is_ready() for worker in self.processes):
            self._told = True
            multiprocess.Process = Successor  # type: ignore[misc]
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


def _tell(config: Config, sockets: Sequence[socket.socket]) -> None:
    where = _place(config.host, sockets[0].getsockname()[1])
    log.info("Uvicorn running on http://%s (Press CTRL+C to quit)", where)


def _refuse(config: Config, error: OSError) -> NoReturn:
    log.error("cannot listen on %s: %s", _place(config.host, config.port), error.strerror)
    sys.exit(STARTUP_FAILURE)


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def has_terminal() -> bool:
    """Whether Ctrl-C can come from somewhere, and the end of it be told."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError as error:
        return error.errno != errno.ENXIO  # anything else does not say so
    return True


def _stays(worker: Any) -> bool:
    """One that comes may still find that there is nothing to serve."""
    return worker.exitcode is None and not (
        isinstance(worker, Successor) and monotonic() < worker._since + AGAIN
    )


def _end(status: int | None) -> str:
    if status is None or status >= 0:
        return f"with status {status}"
    return f"by signal {-status} ({signal.strsignal(-status)})"


def _let_clients_send() -> None:
    """Makes this process, and those it starts, wait until whoever runs on their core pauses.

    Clients on the same machine share the workers' cores. A worker that interrupts one as soon as it has sent its
    first request finds a single image to run: an image took twice the time so. See sched(7), SCHED_BATCH. Beside
    a process that never pauses a request may wait for the end of its slice, some 4 ms.
    """
    with suppress(OSError):  # a sandbox may forbid it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
