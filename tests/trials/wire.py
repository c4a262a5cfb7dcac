"""One transfer of a client of ours, over any protocol: read without waiting, counted exactly, left in any way."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.gate import raw
from tests.trials.judging import Story
from tests.trials.lab import Address, Target

_SINK = bytearray(1 << 20)
SECONDS = 20.0
"""Seconds that an answer of the gate may take."""


class Stream:
    """One connection with a body on it.

    Attributes:
        run: `[start, position]`; everything between was read from the socket.
        end: where the body ends.
        control: over FTP the session; None otherwise.
    """

    def __init__(self, download: raw.Download, story: Story, end: int) -> None:
        self._story = story
        self.socket = download.socket
        self.control = download._control
        self.run = story.run(download.start)
        self.end = end
        self._flags = 0 if isinstance(self.socket, ssl.SSLSocket) else socket.MSG_TRUNC  # read, and dropped in the kernel

    @property
    def position(self) -> int:
        return self.run[1]

    @property
    def whole(self) -> bool:
        return self.position >= self.end

    def read(self, count: int) -> int | None:
        """Read up to `count` bytes; 0 at the end of the connection, whatever kind; None where there is nothing just now."""
        count = min(count, len(_SINK))
        if not self.control:
            count = min(count, self.end - self.position)  # what follows a body is not of it
            if count == 0:
                return 0
        try:
            got = self.socket.recv_into(_SINK, count, self._flags)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return 0
        self.run[1] += got
        return got

    def read_to(self, position: int, step: int = 65_536) -> bool:
        """Read, waiting, up to a position; False where the connection ends before."""
        self.socket.settimeout(SECONDS)
        while self.position < position:
            if not self.read(min(step, position - self.position)):
                return False
        return True

    def pending(self) -> bool:
        """Is there something that a poll does not see?"""
        return isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0

    def end_sending(self) -> None:
        """A FIN, and nothing else."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def leave(self, *, reset: bool = False, control_first: bool = False) -> None:
        """Close everything; the kernel resets what has unread bytes, and everything if `reset`."""
        if self.control is not None and control_first:
            close(self.control, reset=reset)
        self.leave_data(reset=reset)
        if self.control is not None:
            close(self.control, reset=reset)

    def leave_data(self, *, reset: bool = False) -> None:
        """Close the connection with the body on it, and keep the session."""
        with contextlib.suppress(OSError, ValueError):
            if isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
                self._story.ahead.append((self.position, self.position + self.socket.pending()))
        close(self.socket, reset=reset)

    def say_goodbye(self) -> None:
        """End in order: TLS's farewell, whose answer nobody waits for, the close, and over FTP the last reply and QUIT."""
        if isinstance(self.socket, ssl.SSLSocket):
            self.socket.setblocking(False)
            with contextlib.suppress(OSError, ValueError):
                self.socket.unwrap()
        close(self.socket)
        if self.control is not None and self.last_reply():
            with contextlib.suppress(OSError, AssertionError):
                raw.ftp_command(self.control, "QUIT")
            close(self.control)

    def last_reply(self) -> bool:
        """Read the reply that ends a RETR; closes the session and answers False where it does not come."""
        assert self.control is not None
        try:
            self.control.settimeout(5)
            raw.ftp_reply(self.control)
        except (OSError, AssertionError):
            close(self.control)
            return False
        return True


def close(sock: socket.socket, *, reset: bool = False) -> None:
    with contextlib.suppress(OSError):
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


@dataclass(frozen=True, slots=True)
class Connector:
    """How one client reaches its file."""

    target: Target
    story: Story
    protocol: str
    tcp: Mapping[str, Any]
    """See `raw.connect`: `receive_buffer`, `segment`."""

    @property
    def is_ftp(self) -> bool:
        return self.protocol.startswith("ftp")

    @property
    def _secure(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=str(self.target.ca)) if self.protocol.endswith("s") else None

    @property
    def _address(self) -> Address:
        return self.target.addresses[self.protocol]

    def get(self, start: int, end: int | None = None, *, on: socket.socket | None = None, owes: bool = False) -> Stream:
        """Begin at `start`; `end` where the protocol can say so. The head of the answer is read, and nothing of the body.

        Args:
            on: a connection to go on with: of HTTP, or the session of FTP.
            owes: a reply of FTP, to what was before, is still to be read from it.

        Raises:
            OSError: the connection broke; AssertionError: the gate refused.
        """
        if on is not None:
            on.settimeout(SECONDS)
        if self.is_ftp:
            control = on or raw.ftp_login(self._address, self.target.token, secure=self._secure)
            if owes:
                raw.ftp_reply(control)
            download = raw.ftp_retrieve(control, self.target.path, start, **self.tcp)
            end = self.target.size
        else:
            sock = on or raw.connect(self._address, secure=self._secure, **self.tcp)
            raw.http_request(sock, urlsplit(self.target.url(self.protocol)).path, start=start, end=end)
            status, fields = raw.read_head(sock)
            assert status in (200, 206), f"HTTP status {status}"
            download = raw.Download(start, sock)
            end = start + int(fields["content-length"])
        return Stream(download, self.story, end)


def draw_connector(
    rng: random.Random, target: Target, story: Story, protocols: str = "http ftp https ftps", **tcp: int
) -> Connector:
    """A connector of one of these protocols."""
    protocol = rng.choice(protocols.split())
    story.manner = protocol
    return Connector(target, story, protocol, tcp)
