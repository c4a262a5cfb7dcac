"""A listing over a data connection, made and sent piece by piece. It is not counted as a delivery."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice

from ftpgate.delivery.engine import STALLED
from ftpgate.ftp.data_connection import DataConnection, Owner

_LINES = 256
"""Lines that are made at a time."""

Step = Callable[[], None]


class ListingSender:
    """Sends lines; the `Sender` of its connection."""

    __slots__ = ("_connection", "_later", "_lines", "_moved_at", "_owner", "_rest")

    def __init__(self, connection: DataConnection, owner: Owner, lines: Iterator[bytes], later: Callable[[Step], None]) -> None:
        """`later`: runs a step in the session's turn."""
        self._connection = connection
        self._owner = owner
        self._later = later
        self._lines: Iterator[bytes] | None = lines
        """None once it has ended."""
        self._rest = b""
        """Lines that are made and not sent."""
        self._moved_at = time.monotonic()

    def start(self) -> None:
        self._connection.carry(self)
        self._connection.watch(writable=True)

    @property
    def busy(self) -> bool:
        return self._lines is not None

    def progress(self) -> str:
        return ""

    def writable(self) -> None:
        self._connection.watch(writable=False)
        self._later(self._send_lines)

    def client_ended(self) -> None:
        """It may read on all the same."""

    def cut(self, outcome: str) -> None:
        self._connection.fail(outcome)

    def abort(self) -> None:
        self._connection.fail("cut")

    def detach(self) -> None:
        self._connection.close()

    def check_timeouts(self, now: float) -> None:
        """End a listing of which nothing is taken."""
        if self._lines is not None and now - self._moved_at > STALLED:
            self._connection.fail("stalled")

    def closed(self) -> None:
        self._lines = None

    def _send_lines(self) -> None:
        """Make and send some lines, in a turn of the session's; listings of many clients are made together otherwise."""
        if self._lines is None:
            return
        if not self._rest:
            self._rest = b"".join(islice(self._lines, _LINES))
        if self._rest:
            try:
                self._rest = self._rest[self._connection.sink.send(self._rest) :]
                self._moved_at = time.monotonic()
            except BlockingIOError:
                pass
            except OSError:
                return self._connection.fail("cut")
            return self._connection.watch(writable=True)
        if self._connection.finish():
            self._connection.close()
            self._owner.data_done(self._connection)
