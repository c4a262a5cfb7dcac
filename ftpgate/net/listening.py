"""A listening socket: its connections are accepted in bounded bursts, and let be while the process has no descriptor left."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ftpgate.net.silence import end_when_silent
from ftpgate.settings import Address
from ftpgate.translatable import os_reason

if TYPE_CHECKING:
    from pyftpdlib.ioloop import IOLoop

_log = logging.getLogger(__name__)

BACKLOG = 4_096
"""Connections that the kernel queues; it takes `net.core.somaxconn` (4,096 since Linux 5.4) at the most."""
ACCEPT_FOR = 0.01
"""Seconds of one wake-up for taking connections: a burst of them keeps nobody waiting for longer, and none queues in the kernel,
where a customer's waits behind thousands of a stranger's. Measured with 1,500 new TLS connections a second on a busy machine:
with 4 ms thousands queued, with 10 ms hundreds."""
PAUSE = 0.5
"""Seconds without accepting after the process had no descriptor left: a poll that reports those who wait would only spin."""
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


Endpoint = Address | socket.socket
"""An address to listen at, or a socket that listens already: the parent's, or the service manager's."""


class Acceptor:
    """Accepts connections at one address until `close`; those that are open then live on.

    Args:
        at: a socket is its own from then on; connections that wait in its queue stay there when others have it too.
        accepted: told of every connection, a non-blocking socket that is its own from then on, and of its client's address.
        receive_buffer: bytes that the kernel keeps of what a client has sent and nobody has read, doubled for its needs; 0 leaves
            that to it.
        send_buffer: the same of what the client has not taken.

    Attributes:
        address: where it listens, with the real port. `::` takes IPv4 as well.

    Raises:
        OSError: nothing can listen there.
    """

    def __init__(
        self, loop: IOLoop, at: Endpoint, accepted: Callable[[socket.socket, str], None], *,
        receive_buffer: int = 0, send_buffer: int = 0,
    ) -> None:  # fmt: skip
        self._loop = loop
        self._accepted = accepted
        self._socket = at if isinstance(at, socket.socket) else bind(at)
        try:
            _prepare(self._socket, receive_buffer, send_buffer)
            self._socket.listen(BACKLOG)
        except OSError:
            self._socket.close()
            raise
        self._fileno = self._socket.fileno()
        self._watched = False
        host, port = self._socket.getsockname()[:2]
        self.address = Address(host, port)
        self._watch()

    @property
    def open(self) -> bool:
        return self._fileno >= 0

    def close(self) -> None:
        """Accept no more."""
        if not self.open:
            return
        if self._watched:
            self._loop.unregister(self._fileno)
        self._fileno = -1
        self._socket.close()

    # -- what the loop says

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        until = time.monotonic() + ACCEPT_FOR
        while self.open and time.monotonic() < until:
            try:
                sock, name = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    return self._pause(error)
                continue  # the client has gone already; accept(2) tells of its network's errors, too
            try:
                sock.setblocking(False)
                self._accepted(sock, str(name[0]))
            except OSError:
                sock.close()

    def handle_close(self) -> None:
        _log.error("the listening socket at %s is broken", self.address)
        self.close()

    def handle_error(self) -> None:
        _log.exception("a connection to %s met an error as it was accepted", self.address)

    def _pause(self, error: OSError) -> None:
        _log.error("no connection can be accepted (%s); raise the limit of open files", os_reason(error))
        self._watched = False
        self._loop.unregister(self._fileno)
        self._loop.call_later(PAUSE, self._watch)

    def _watch(self) -> None:
        if self.open:
            self._watched = True
            self._loop.register(self._fileno, self, self._loop.READ)


def refuse(sock: socket.socket, words: bytes = b"") -> None:
    """Close a connection that there is no place for; its client is told why if that can be done at once."""
    with contextlib.suppress(OSError):
        sock.recv(65_536)  # what is unread would have the kernel send a reset
    with contextlib.suppress(OSError):
        sock.send(words)
    sock.close()


def bind(address: Address, *, shared: bool = False) -> socket.socket:
    """A socket at `address`, which does not listen yet. `::` takes IPv4 as well.

    Args:
        shared: others of this user may be bound there too, for the kernel to spread connections over all that listen.

    Raises:
        OSError: it cannot be bound.
    """
    family, kind, protocol, _, where = socket.getaddrinfo(
        address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(where)
    except OSError:
        sock.close()
        raise
    return sock


def _prepare(sock: socket.socket, receive_buffer: int, send_buffer: int) -> None:
    """Accepted sockets inherit what is set here."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # an answer's last, partial segment goes at once
    end_when_silent(sock)
    for name, count in ((socket.SO_RCVBUF, receive_buffer), (socket.SO_SNDBUF, send_buffer)):
        if count:
            sock.setsockopt(socket.SOL_SOCKET, name, count)
