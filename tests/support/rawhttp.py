"""HTTP by hand over a socket: requests byte by byte, answers one after the other, ends of every kind."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
import time
from typing import NamedTuple, Self


class Reply(NamedTuple):
    """One answer. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class RawClient:
    """One connection; a context manager that closes it.

    Args:
        address: where to.
        receive_buffer: bytes of SO_RCVBUF, to have a client that takes little; the system's choice when 0.
    """

    def __init__(self, address: tuple[str, int], *, receive_buffer: int = 0, timeout: float = 20) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(address)
        self._held = b""

    def send(self, data: bytes) -> Self:
        self.socket.sendall(data)
        return self

    def ask(self, path: str, *headers: str, method: str = "GET", version: str = "1.1") -> Self:
        """Send one request; its answer is read by `reply`."""
        return self.send(request(path, *headers, method=method, version=version))

    def reply(self, *, head: bool = False) -> Reply:
        """The next answer, whole. `head`: it answers a HEAD, and has no body."""
        status, headers = self.head()
        if head or status in (204, 304):
            return Reply(status, headers, b"")
        if "content-length" not in headers:
            return Reply(status, headers, self.rest())
        return Reply(status, headers, self.read(int(headers["content-length"])))

    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer; its body stays to be read."""
        while b"\r\n\r\n" not in self._held:
            self._more()
        raw, _, self._held = self._held.partition(b"\r\n\r\n")
        line, *fields = raw.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        return int(line.split(" ")[1]), headers

    def read(self, count: int) -> bytes:
        while len(self._held) < count:
            self._more()
        data, self._held = self._held[:count], self._held[count:]
        return data

    def rest(self) -> bytes:
        """Everything up to the server's end of the connection."""
        data = [self._held]
        self._held = b""
        while chunk := self.socket.recv(65_536):
            data.append(chunk)
        return b"".join(data)

    def ended(self) -> bool:
        """Has the server ended the connection, in order, with nothing more to read?"""
        return not self._held and self.socket.recv(1, socket.MSG_PEEK) == b""

    @property
    def unread(self) -> int:
        """Bytes that have come and were not read."""
        return len(self._held) + self.in_kernel

    @property
    def in_kernel(self) -> int:
        """Those of them that were not even taken from the socket."""
        (count,) = struct.unpack("i", fcntl.ioctl(self.socket, termios.FIONREAD, bytes(4)))
        return int(count)

    def end_sending(self) -> Self:
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def reset(self) -> None:
        """End with a reset, whatever has been read."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _more(self) -> None:
        chunk = self.socket.recv(65_536)
        if not chunk:
            raise AssertionError(f"the server ended the connection; unread: {self._held!r}")
        self._held += chunk


def request(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    """The bytes of one request."""
    lines = [f"{method} {path} HTTP/{version}", "Host: test", *headers, "", ""]
    return "\r\n".join(lines).encode()


def fed(client: RawClient, data: bytes, how: str) -> None:
    """Send `data` whole, in one byte after the other, or cut in the middle of everything."""
    if how == "whole":
        client.send(data)
        return
    step = 1 if how == "bytes" else 7
    for at in range(0, len(data), step):
        client.send(data[at : at + step])
        if at % 64 == 0:
            time.sleep(0)  # let the other side have a look at a part of it
