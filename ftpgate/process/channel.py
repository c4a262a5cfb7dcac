"""What the parent and a worker tell each other: lines of JSON over a socket pair.

A parent may be older than the workers that a reload starts, so both sides pass over what they do not know.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyftpdlib.ioloop import IOLoop

_log = logging.getLogger("ftpgate.gate")

_LONGEST = 1 << 20
"""Bytes of a line."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is to be.

    Attributes:
        number: from 0 on; what it is called in `/status` and `/metrics`.
        workers: how many there are.
        settings: `FTPGATE_…` as the parent has read them, so that a worker which replaces another one is like it.
        sockets: protocol -> descriptors on which it accepts.
        own: the descriptor where the other workers ask it.
        siblings: where each worker is asked, `H:P`, by number; its own place too.
        leaving: the same of workers of an earlier generation, which let their clients finish.
        password: what they show each other.
    """

    number: int
    workers: int
    settings: Mapping[str, str]
    sockets: Mapping[str, list[int]]
    own: int
    siblings: list[str] = field(default_factory=list)
    leaving: list[str] = field(default_factory=list)
    password: str = ""

    def line(self) -> bytes:
        return line(asdict(self))


def line(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"


class Lines:
    """What has arrived on a socket, by lines."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._data = b""

    def receive(self) -> list[dict[str, Any]]:
        """The lines that are whole by now.

        Raises:
            EOFError: the other side is gone.
        """
        try:
            data = self._socket.recv(65_536)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data or len(self._data) > _LONGEST:
            raise EOFError
        *whole, self._data = (self._data + data).split(b"\n")
        found = []
        for text in whole:
            with contextlib.suppress(ValueError):
                found.append(dict(json.loads(text)))
        return found


class ParentChannel:
    """A worker's end.

    Args:
        fd: its descriptor.

    Attributes:
        order: what this worker is to be.
    """

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.set_inheritable(False)
        self._fileno = fd
        self._lines = Lines(self._socket)
        self._told: Callable[[str], None] | None = None
        found: list[dict[str, Any]] = []
        while not found:
            found = self._lines.receive()
        known = Order.__dataclass_fields__
        self.order = Order(**{name: value for name, value in found[0].items() if name in known})
        self._loop: IOLoop | None = None

    def ready(self, gate: str) -> None:
        """This worker accepts connections."""
        self._send({"ready": gate})

    def failed(self, cause: str, hint: str) -> None:
        """It cannot start."""
        self._send({"cause": cause, "hint": hint})

    def watch(self, loop: IOLoop, told: Callable[[str], None]) -> None:
        """Have `told` hear, on the loop, what the parent says: `leave`, or `gone` when there is none any more."""
        self._socket.setblocking(False)
        self._told, self._loop = told, loop
        loop.register(self._fileno, self, loop.READ)

    def _send(self, document: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):  # without a parent nobody wants to know
            self._socket.sendall(line(document))

    # -- what the loop says

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        assert self._told is not None
        try:
            for document in self._lines.receive():
                self._told(str(document.get("told")))
        except EOFError:
            self.close()
            self._told("gone")

    def handle_close(self) -> None:
        self.handle_read_event()

    def handle_error(self) -> None:
        _log.exception("what the parent has said met an error")

    def close(self) -> None:
        if self._loop is not None and self._fileno in self._loop.socket_map:
            self._loop.unregister(self._fileno)
        self._socket.close()
