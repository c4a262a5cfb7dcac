"""How the head of an answer, and what of it is made in memory, reaches the kernel."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ftpgate.http.messages import chunk
from ftpgate.net.sockets import Sink


class ResponseWriter:
    """What of an answer the kernel has not taken yet.

    Attributes:
        chunked: the pieces go out in chunks (RFC 9112 section 7.1).
        moved_at: when the kernel last took something, or was to; by the monotonic clock.
    """

    __slots__ = ("_out", "_pieces", "_sink", "chunked", "moved_at")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._out: memoryview | None = None
        self._pieces: Iterator[bytes] | None = None
        self.chunked = False
        self.moved_at = time.monotonic()

    @property
    def busy(self) -> bool:
        """Does something wait for room?"""
        return self._out is not None

    @property
    def has_pieces(self) -> bool:
        """Does more follow, made a piece at a time?"""
        return self._pieces is not None

    def put(self, data: bytes, pieces: Iterator[bytes] | None = None) -> None:
        """Send `data` next, and then `pieces`."""
        self._out = memoryview(data)
        self._pieces = pieces
        self.moved_at = time.monotonic()

    def put_next_piece(self) -> None:
        """Send the next piece, or the end of the chunks."""
        assert self._pieces is not None
        piece = next(self._pieces, b"")
        if not piece:
            self._pieces = None
        self._out = memoryview(chunk(piece) if self.chunked else piece)

    def flush(self, *, more: bool) -> None:
        """Hand over what waits.

        Args:
            more: something follows at once, so that it may share a segment.

        Raises:
            BlockingIOError: the kernel takes no more just now.
            OSError: the connection is broken.
        """
        while self._out:
            count = self._sink.send(self._out, more)
            self._sink.wire.written += count
            self._out = self._out[count:]
            self.moved_at = time.monotonic()
        self._out = None

    def clear(self) -> None:
        """Nothing more is sent."""
        self._out = self._pieces = None
