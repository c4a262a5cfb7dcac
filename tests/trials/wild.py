"""One connection on which anything is sent: everything that comes back is read, until the server ends it."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
import struct
import time
from dataclasses import dataclass, field
from random import Random

from tests.trials.lab import Address

QUIET = 0.4
"""Seconds without an answer after which the client ends its sending."""
END = 20.0
"""Seconds that the server has then to end the connection."""
HEARD = 4_000_000
"""Bytes of answers that are kept."""
_PASSIVE = re.compile(rb"\(\|\|\|(\d+)\|\)|227 [^(]*\(\d+,\d+,\d+,\d+,(\d+),(\d+)\)")


@dataclass(slots=True)
class Conversation:
    """What came of it.

    Attributes:
        heard: what the server said.
        sent: bytes that it took.
        problem: why it is a fault of the server's; empty when it is none.
    """

    heard: bytearray = field(default_factory=bytearray)
    sent: int = 0
    problem: str = ""


class Talker:
    """Says `data` to a server.

    Args:
        source: the client's own address.
        secure: where it speaks TLS.
        data_connections: does it open those that a server of FTP offers?
    """

    def __init__(
        self, address: Address, source: str, data: bytes, rng: Random, *,
        secure: ssl.SSLContext | None = None, data_connections: bool = False,
    ) -> None:  # fmt: skip
        self._address = address
        self._source = source
        self._left = data
        self._random = rng
        self._secure = secure
        self._data_connections = data_connections
        self._data: list[socket.socket] = []
        self._step = rng.choices((1 << 20, 700, 7, 1), (20, 3, 1, 1 if len(data) < 2_000 else 0))[0]
        self._leaves = rng.choices(("waits", "closes", "resets"), (18, 1, 1))[0]
        self.conversation = Conversation()

    def talk(self) -> Conversation:
        sock: socket.socket | None = None
        try:
            sock = self._connect()
            self._converse(sock)
        except (ConnectionError, ssl.SSLError):
            pass  # as a server may that was sent rubbish
        except TimeoutError:
            self.conversation.problem = "no connection, or no handshake, within 20 s"
        finally:
            for one in (*self._data, *([sock] if sock else [])):
                one.close()
        return self.conversation

    def _connect(self) -> socket.socket:
        sock = socket.create_connection(self._address, 20, (self._source, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._secure is not None:
            sock = self._secure.wrap_socket(sock, server_hostname="localhost")
        sock.setblocking(False)
        return sock

    def _converse(self, sock: socket.socket) -> None:
        moved = time.monotonic()
        ended = 0.0
        while True:
            writing = [sock] if self._left and not ended else []
            pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
            readable, writable, _ = select.select([sock, *self._data], writing, [], 0 if pending else 0.1)
            for data in [data for data in self._data if data in readable]:
                self._read_data(data)
            if writable and self._send(sock):
                moved = time.monotonic()
            if (sock in readable or pending) and (got := self._receive(sock)) is not None:
                if not got:
                    return
                moved = time.monotonic()
            now = time.monotonic()
            if not self._left and self._leaves != "waits":
                return self._leave(sock)
            if ended and now > ended + END:
                self.conversation.problem = f"the connection lasts {END:.0f} s after the client has ended it"
                return
            if not ended and now > moved + QUIET:
                ended = now
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_WR)  # an SSLSocket's own would forget its keys

    def _send(self, sock: socket.socket) -> bool:
        try:
            count = sock.send(self._left[: self._step])
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return False
        self.conversation.sent += count
        self._left = self._left[count:]
        return True

    def _receive(self, sock: socket.socket) -> bytes | None:
        try:
            got = sock.recv(262_144)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""
        if len(self.conversation.heard) < HEARD:
            self.conversation.heard += got
        if self._data_connections:
            self._connect_data(sock, got)
        return got

    def _connect_data(self, control: socket.socket, said: bytes) -> None:
        for match in _PASSIVE.finditer(said):
            if len(self._data) >= 4 or self._random.random() < 0.3:
                continue
            port = int(match[1]) if match[1] else int(match[2]) * 256 + int(match[3])
            with contextlib.suppress(OSError):
                data = socket.create_connection((self._address[0], port), 5, (self._source, 0))
                data.setblocking(False)
                self._data.append(self._over_tls(control, data))

    def _over_tls(self, control: socket.socket, data: socket.socket) -> socket.socket:
        way = self._random.random()
        if self._secure is None or not isinstance(control, ssl.SSLSocket) or way < 0.2:
            if way < 0.05:
                data.send(self._random.randbytes(100))
            return data
        return self._secure.wrap_socket(data, server_hostname="localhost", session=control.session, do_handshake_on_connect=False)

    def _read_data(self, data: socket.socket) -> None:
        """A part, or all; what it is does not matter here."""
        try:
            got = data.recv(65_536)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            got = b""
        if not got or self._random.random() < 0.05:
            self._data.remove(data)
            data.close()

    def _leave(self, sock: socket.socket) -> None:
        if self._leaves == "resets":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
