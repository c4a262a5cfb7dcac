"""What the loop reports of one socket."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pyftpdlib.ioloop import IOLoop


class Watched(Protocol):
    """Who hears of the socket."""

    def reads(self) -> bool:
        """Is there room for what the client sends?"""
        ...

    def on_readable(self) -> None:
        """Something has come, or the client's end."""
        ...

    def on_writable(self) -> None:
        """There is room."""
        ...

    def close(self) -> None:
        """The connection is broken."""
        ...

    def failed(self) -> None:
        """One of these raised what it should not have."""
        ...


class SocketWatch:
    """A socket that is registered with the loop: for reading from the beginning, since a hang-up has to be seen at once.

    Attributes:
        holding: what is to be reported is about to change again; one system call at the end will do.
    """

    __slots__ = ("_events", "_fileno", "_loop", "_owner", "_socket", "_writes", "holding")

    def __init__(self, loop: IOLoop, sock: socket.socket, owner: Watched) -> None:
        self._loop = loop
        self._socket = sock
        self._fileno = sock.fileno()
        self._owner = owner
        self._events: int | None = loop.READ
        """None once it is not registered any more."""
        self._writes = False
        self.holding = False
        loop.register(self._fileno, self, loop.READ)

    def write(self, on: bool) -> None:
        """Report room to write, or do not."""
        self._writes = on
        self.update()

    def update(self) -> None:
        """Have the loop report what is of interest now; a system call only when that has changed."""
        if self.holding or self._events is None:
            return
        loop = self._loop
        events: int = (loop.READ if self._owner.reads() else 0) | (loop.WRITE if self._writes else 0)
        if events != self._events:
            self._events = events
            loop.modify(self._fileno, events)

    def end(self) -> None:
        """Report nothing any more."""
        if self._events is not None:
            self._events = None
            self._loop.unregister(self._fileno)

    def broken(self) -> bool:
        """Has a socket that is not reported any more met an error?"""
        return self._events is None and self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    # -- what pyftpdlib's loop calls

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def handle_read_event(self) -> None:
        self._owner.on_readable()

    def handle_write_event(self) -> None:
        self._owner.on_writable()

    def handle_close(self) -> None:
        self._owner.close()

    def handle_error(self) -> None:
        self._owner.failed()
