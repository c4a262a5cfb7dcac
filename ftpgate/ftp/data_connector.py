"""How a data connection comes about: the client comes to a passive port, or we go to the client."""

from __future__ import annotations

import errno
import logging
import random
import socket
from typing import TYPE_CHECKING, Any, Protocol

from ftpgate.net.silence import end_when_silent

if TYPE_CHECKING:
    from pyftpdlib.ioloop import IOLoop

_log = logging.getLogger(__name__)

_TRIES = 2_000
"""Ports tried for one command, which costs two milliseconds when all of them are in use."""
_WAITING = 8
"""Connections that may wait on a passive port; only the client's own is of use."""

SocketAddress = tuple[Any, ...]


class Caller(Protocol):
    """The session that wants a data connection."""

    @property
    def peer_host(self) -> str:
        """The client's address, as its control socket has it."""
        ...

    def data_connected(self, sock: socket.socket) -> None: ...

    def data_unreachable(self) -> None: ...


def listen_within(ports: range, local: SocketAddress, family: int) -> socket.socket | None:
    """A socket that listens at the address `local` on a free port of `ports`, begun at random; None when none is free.

    Raises:
        OSError: there are no more sockets.
    """
    first = random.randrange(len(ports))  # noqa: S311 - it spreads; who may connect is decided by address
    for step in range(min(len(ports), _TRIES)):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((local[0], ports[(first + step) % len(ports)], *local[2:]))
            end_when_silent(sock)  # and what it accepts
            sock.listen(_WAITING)
            return sock
        except OSError as error:
            sock.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    return None


class PassivePort:
    """Listens for the client's data connection. A foreigner's is closed, and the wait goes on."""

    __slots__ = ("_caller", "_fileno", "_loop", "_socket")

    def __init__(self, sock: socket.socket, caller: Caller, loop: IOLoop) -> None:
        self._socket = sock
        self._caller = caller
        self._loop = loop
        self._fileno = sock.fileno()
        loop.register(self._fileno, self, loop.READ)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        try:
            sock, peer = self._socket.accept()
        except (BlockingIOError, ConnectionError):
            return  # it went away again
        except OSError:
            self.close()  # no descriptor is left: trying again at once would spin
            return self._caller.data_unreachable()
        if peer[0] != self._caller.peer_host:
            _log.warning("closed a data connection from %s that belongs to %s", peer[0], self._caller.peer_host)
            sock.close()
            return
        sock.setblocking(False)
        self.close()
        self._caller.data_connected(sock)

    def handle_close(self) -> None:
        self.close()

    def handle_error(self) -> None:
        _log.exception("a passive port met an error")
        self.close()

    def close(self) -> None:
        if self._fileno >= 0:
            self._loop.unregister(self._fileno)
            self._fileno = -1
            self._socket.close()


class ActiveConnection:
    """Connects to the client, from the address that it has connected to."""

    __slots__ = ("_caller", "_fileno", "_loop", "_socket")

    def __init__(self, to: SocketAddress, local: SocketAddress, family: int, caller: Caller, loop: IOLoop) -> None:
        """Raises OSError when that cannot even be begun."""
        self._caller = caller
        self._loop = loop
        self._socket = sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            end_when_silent(sock)
            sock.bind((local[0], 0, *local[2:]))
            failed = sock.connect_ex(to)
            if failed not in (0, errno.EINPROGRESS):
                raise OSError(failed, "connect")
        except OSError:
            sock.close()
            raise
        self._fileno = sock.fileno()
        loop.register(self._fileno, self, loop.WRITE)

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def handle_read_event(self) -> None: ...

    def handle_write_event(self) -> None:
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return self.handle_close()
        self._loop.unregister(self._fileno)
        self._fileno = -1
        self._caller.data_connected(self._socket)

    def handle_close(self) -> None:
        if self._fileno >= 0:
            self.close()
            self._caller.data_unreachable()

    def handle_error(self) -> None:
        _log.exception("an active data connection met an error")
        self.handle_close()

    def close(self) -> None:
        if self._fileno >= 0:
            self._loop.unregister(self._fileno)
            self._fileno = -1
            self._socket.close()
