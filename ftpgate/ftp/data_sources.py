"""Where a data connection comes from: a passive port, or a connection to the client's own port.

pyftpdlib's `PassiveDTP` is not used: where no port of the range is free it takes one outside, and a connection from another host
makes it send the client a reply to no command.
"""

from __future__ import annotations

import errno
import logging
import socket
from typing import TYPE_CHECKING, Protocol

from ftpgate.net.passive_ports import WAITING, OpenPort, SocketAddress
from ftpgate.net.silence import end_when_silent

if TYPE_CHECKING:
    from pyftpdlib.ioloop import IOLoop

_log = logging.getLogger(__name__)


class Caller(Protocol):
    """Who waits at a passive port, or for an active connection: the connector."""

    @property
    def peer_host(self) -> str:
        """The client's address, as its control socket has it."""
        ...

    def arrived(self, sock: socket.socket) -> None:
        """A connection is there. Where it is the one, the caller closes the port."""
        ...

    def unreachable(self) -> None:
        """There will be none."""
        ...


class PassivePort:
    """Waits for the client's data connection. Connections from other hosts are closed."""

    __slots__ = ("_caller", "_fileno", "_foreign", "_loop", "_port")

    def __init__(self, port: OpenPort, caller: Caller, loop: IOLoop) -> None:
        self._port = port
        self._caller = caller
        self._loop = loop
        self._foreign = False
        """Has another host connected? The log tells it once."""
        self._fileno = port.socket.fileno()
        loop.register(self._fileno, self, loop.READ)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        """Take all connections that are there."""
        for _ in range(WAITING):  # a stranger who keeps connecting does not keep the client waiting
            if self._fileno < 0 or not self._accept():
                return

    def _accept(self) -> bool:
        """Take one connection. False when there is none."""
        try:
            sock, peer = self._port.socket.accept()
        except BlockingIOError:
            return False
        except ConnectionError:
            return True  # it went away again
        except OSError:
            self.close()  # no descriptor is left: trying again at once would spin
            self._caller.unreachable()
            return False
        if peer[0] != self._caller.peer_host:
            if not self._foreign:
                self._foreign = True
                _log.warning("closed a data connection from %s that belongs to %s", peer[0], self._caller.peer_host)
            sock.close()
            return True
        sock.setblocking(False)
        self._caller.arrived(sock)
        return True

    def handle_close(self) -> None:
        self.close()

    def handle_error(self) -> None:
        _log.exception("a passive port met an error")
        self.close()

    def close(self) -> None:
        if self._fileno >= 0:
            self._loop.unregister(self._fileno)
            self._fileno = -1
            self._port.close()


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
        self._caller.arrived(self._socket)

    def handle_close(self) -> None:
        if self._fileno >= 0:
            self.close()
            self._caller.unreachable()

    def handle_error(self) -> None:
        _log.exception("an active data connection met an error")
        self.handle_close()

    def close(self) -> None:
        if self._fileno >= 0:
            self._loop.unregister(self._fileno)
            self._fileno = -1
            self._socket.close()
