"""What a client sends: bytes to heads of requests, in order, bounded."""

from __future__ import annotations

import time

from ftpgate.http.messages import Request
from ftpgate.http.parser import HEAD_LIMIT, take_head
from ftpgate.net.sockets import Sink


class RequestReader:
    """The requests of one connection.

    Attributes:
        begun: when the head began that is arriving; None before its first byte.
        full: the client has sent ahead as much as is kept; more may wait in the kernel.
        sent_ahead: the next request was on its way before the client can have had the answer to the last one.
        deferred: something has arrived that cannot be read while the sink is owing. The loop would report it for ever.
        ended: the client has ended its side.
    """

    __slots__ = ("_buffer", "begun", "deferred", "ended", "full", "sent_ahead")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.begun: float | None = None
        self.full = False
        self.sent_ahead = False
        self.deferred = False
        self.ended = False

    def __len__(self) -> int:
        """Bytes that are kept of what was sent."""
        return len(self._buffer)

    @property
    def has_room(self) -> bool:
        return len(self._buffer) < HEAD_LIMIT

    def receive(self, sink: Sink) -> bool:
        """Read what has arrived, as far as there is room. False when nothing was read.

        Raises:
            EOFError: the client has ended its side.
            OSError: the connection is broken.
        """
        room = HEAD_LIMIT - len(self._buffer)
        if room <= 0 or self.ended:
            self.full = room <= 0
            return False
        self.deferred = sink.owing
        if self.deferred:
            return False
        try:
            data = sink.recv(room)
        except BlockingIOError:
            return False
        if not data:
            self.ended = True
            raise EOFError
        self._buffer += data
        self.full = len(data) == room
        return True

    def take(self) -> Request | None:
        """The next request whose head has arrived whole.

        Raises:
            GateError: what has arrived is not a request; says how to answer it.
        """
        request = take_head(self._buffer)
        if request is not None:
            self.begun = None
        return request

    def next_begins(self) -> None:
        """The answer to the last request is out: of what is here already the time counts from now."""
        self.begun = time.monotonic() if self._buffer else None
        self.sent_ahead = bool(self._buffer)

    def clear(self) -> None:
        """No request is taken any more."""
        self._buffer.clear()
