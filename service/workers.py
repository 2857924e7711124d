"""Several processes on one port, each with a queue of connections of its own. Linux only."""

import ctypes
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Any

from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

_PARENT_DEATH_SIGNAL = 1


class OwnQueue(socket.socket):
    """A bound socket of which every process it is sent to gets another one, bound to the same address.

    The kernel spreads connections over those that listen (SO_REUSEPORT). From one socket that all
    workers share, the first to wake up may take every connection that comes at once, and keeps them: the other
    workers were seen idle in one load of four.
    """

    @classmethod
    def bound(cls, family: int, address: Any, *, reuse_address: bool = True) -> "OwnQueue":
        """`address` as `getsockname` gives it. Raises OSError.

        Those that listen reuse addresses: connections of a service that has just stopped are no obstacle then. One
        that is only held does not, so that a service started later, which asks for the port by itself, is refused.
        """
        one = cls(family)
        try:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse_address)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind(address)
        except OSError:
            one.close()
            raise
        return one

    @classmethod
    def held(cls, family: int, address: Any) -> "OwnQueue":
        """For an address on which nobody listens. Raises OSError."""
        try:
            return cls.bound(family, address, reuse_address=False)
        except OSError:  # connections of one process that has just stopped, which shared its port with none
            return cls.bound(family, address)

    def __reduce__(self) -> tuple[Any, ...]:
        return _bound_by_worker, (int(self.family), self.getsockname())


def _bound_by_worker(family: int, address: Any) -> OwnQueue:
    _end_with_parent()
    try:
        return OwnQueue.bound(family, address)
    except OSError as error:
        sys.stderr.write(f"a worker cannot listen on {address[0]}:{address[1]}: {error.strerror}\n")
        sys.exit(STARTUP_FAILURE)


def run(config: Config) -> None:
    """Serves until it is told to stop. Exits as uvicorn does when the port is taken, or when a worker cannot start."""
    # Without SO_REUSEPORT: with it, two services would share a port and nobody would be told.
    with config.bind_socket() as probe:
        family, address = probe.family, probe.getsockname()
    _let_clients_send()
    supervisor = Multiprocess(config, sockets=[OwnQueue.held(family, address)])
    supervisor.run()
    if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        sys.exit(STARTUP_FAILURE)  # what one process would end with; the supervisor only stops


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
