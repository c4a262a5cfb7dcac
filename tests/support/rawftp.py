"""An FTP client without manners: it sends what it is told, byte for byte, and reads replies one by one."""

from __future__ import annotations

import re
import socket
import struct
from types import TracebackType

_TIMEOUT = 20


class RawFtp:
    """A control connection, the greeting read; a context manager.

    Attributes:
        socket: the control connection.
    """

    def __init__(self, address: tuple[str, int], *, source: str | None = None, greeting: str = "220") -> None:
        self.socket = socket.create_connection(address, _TIMEOUT, source_address=(source, 0) if source else None)
        self.socket.settimeout(_TIMEOUT)
        self._buffer = b""
        self.expect(greeting)

    def send(self, text: str) -> None:
        """One or several lines, each with its line end added when the text has none."""
        self.socket.sendall((text if text.endswith("\r\n") else text + "\r\n").encode())

    def reply(self) -> str:
        """The next reply, of one line or several; '' when the connection has ended."""
        lines: list[str] = []
        while True:
            while b"\r\n" not in self._buffer:
                received = self.socket.recv(65_536)
                if not received:
                    return ""
                self._buffer += received
            line, _, self._buffer = self._buffer.partition(b"\r\n")
            lines.append(line.decode())
            if re.match(r"\d{3} ", lines[-1]) and lines[-1][:3] == lines[0][:3]:
                return "\r\n".join(lines)

    def expect(self, code: str) -> str:
        """The next reply, which has to begin so."""
        reply = self.reply()
        assert reply.startswith(code), f"expected {code}, got {reply!r}"
        return reply

    def do(self, command: str, code: str) -> str:
        """Send a command and expect its reply."""
        self.send(command)
        reply = self.reply()
        assert reply.startswith(code), f"{command!r}: expected {code}, got {reply!r}"
        return reply

    def login(self, token: str) -> RawFtp:
        self.send(f"USER me\r\nPASS {token}")
        self.expect("331")
        self.expect("230")
        return self

    def passive(self) -> tuple[str, int]:
        """Where the server waits for a data connection, by EPSV."""
        found = re.search(r"\|\|\|(\d+)\|", self.do("EPSV", "229"))
        assert found
        return self.socket.getpeername()[0], int(found[1])

    def data(self, *, buffer: int = 0) -> socket.socket:
        """A data connection, from the same address.

        Args:
            buffer: bytes of its receive buffer, so that little fits between server and client.
        """
        host, port = self.passive()
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.settimeout(_TIMEOUT)
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.bind((self.socket.getsockname()[0], 0))
        sock.connect((host, port))
        return sock

    def retrieve(self, path: str, offset: int = 0) -> bytes:
        """A file from `offset` on, to the end, with 150 and 226."""
        if offset:
            self.do(f"REST {offset}", "350")
        with self.data() as data:
            self.do(f"RETR {path}", "150")
            received = read_all(data)
        self.expect("226")
        return received

    def closed(self) -> bool:
        """Has the server ended the connection? Waits for it."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> RawFtp:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def read_exactly(sock: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        more = sock.recv(min(count - len(received), 65_536))
        assert more, f"the connection ended after {len(received)} of {count} bytes"
        received += more
    return received


def read_all(sock: socket.socket) -> bytes:
    received = []
    while more := sock.recv(262_144):
        received.append(more)
    return b"".join(received)


def reset(sock: socket.socket) -> None:
    """Close by a reset, whatever was read."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
