"""The sockets that the service listens on, each process on its own."""

import ctypes
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from uvicorn.config import STARTUP_FAILURE

_PARENT_DEATH_SIGNAL = 1
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

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


def _end_with_parent() -> None:
    """Or workers of a supervisor that was killed would go on, and nobody could listen on their port. prctl(2),
    PR_SET_PDEATHSIG."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)


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
