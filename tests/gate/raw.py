"""A client down to its sockets: it knows what it has really read, and may leave in any way that a client can."""

from __future__ import annotations

import re
import socket
import ssl
import struct
from pathlib import Path
from types import TracebackType
from typing import Literal

Protocol = Literal["http", "ftp", "https", "ftps"]
Address = tuple[str, int]


class Download:
    """One transfer from byte `start` on, up to `end` where the protocol can say so; a context manager that closes.

    Attributes:
        position: everything from `start` to here was read by this client.
        length: what the server announced for this transfer; 0 over FTP.
    """

    def __init__(self, start: int, sock: socket.socket, control: socket.socket | None = None) -> None:
        self.start = self.position = start
        self.length = 0
        self.socket = sock
        self._control = control

    def read(self, count: int, *, step: int = 65_536) -> int:
        """Read `count` bytes, or up to the end; returns how many came."""
        if self.length:
            count = min(count, self.start + self.length - self.position)
        got = 0
        while got < count:
            data = self.socket.recv(min(step, count - got))
            if not data:
                break
            got += len(data)
        self.position += got
        return got

    def close(self) -> None:
        """Leave: in order when everything that came was read, by a reset otherwise; the kernel decides."""
        self.socket.close()
        if self._control is not None:
            self._control.close()

    def end_sending(self) -> None:
        """A FIN, and nothing else: an SSLSocket's own `shutdown` would forget its keys."""
        socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def reset(self) -> None:
        """Leave by a reset in any case."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def __enter__(self) -> Download:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def connect(
    address: Address, *, receive_buffer: int = 0, segment: int = 0,
    secure: ssl.SSLContext | None = None, session: ssl.SSLSession | None = None,
) -> socket.socket:  # fmt: skip
    """`segment`: bytes of a TCP segment, where not 64 kB; `secure`: over TLS from the first byte, resuming `session`."""
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if segment:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
    sock.settimeout(30)
    sock.connect(address)
    return sock if secure is None else secure.wrap_socket(sock, server_hostname="localhost", session=session)


def read_head(sock: socket.socket) -> tuple[int, dict[str, str]]:
    """The status and the header fields (names in lower case) of one HTTP response, and not a byte of its body."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, f"the connection ended within a head: {head!r}"
        head += byte
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def http_request(
    sock: socket.socket, target: str, *, start: int = 0, end: int | None = None, method: str = "GET", more: str = ""
) -> None:
    """Send one request; `[start, end)` as a Range when it is not the whole."""
    wanted = "" if not start and end is None else f"Range: bytes={start}-{'' if end is None else end - 1}\r\n"
    sock.sendall(f"{method} {target} HTTP/1.1\r\nHost: gate\r\n{wanted}{more}\r\n".encode())


def http_get(
    address: Address, target: str, start: int = 0, end: int | None = None, *, secure: ssl.SSLContext | None = None, **tcp: int
) -> Download:
    """Begin an HTTP download; its head is read. `tcp`: see `connect`."""
    sock = connect(address, secure=secure, **tcp)  # type: ignore[arg-type]
    http_request(sock, target, start=start, end=end)
    status, fields = read_head(sock)
    assert status in (200, 206), status
    download = Download(start, sock)
    download.length = int(fields["content-length"])
    return download


def ftp_login(address: Address, token: str, *, secure: ssl.SSLContext | None = None) -> socket.socket:
    """A control connection, logged in."""
    control = connect(address, secure=secure)
    ftp_reply(control)
    for command in (f"USER {token}", "PASS x", "TYPE I"):
        reply = ftp_command(control, command)
        assert reply[0] in "23", reply
    return control


def ftp_reply(control: socket.socket) -> str:
    """One reply, its last line."""
    line = b""
    while True:
        byte = control.recv(1)
        assert byte, f"the control connection ended: {line!r}"
        line += byte
        if line.endswith(b"\r\n"):
            if re.match(rb"\d{3} ", line):
                return line.decode().rstrip()
            line = b""


def ftp_command(control: socket.socket, command: str) -> str:
    control.sendall(command.encode() + b"\r\n")
    return ftp_reply(control)


def ftp_retrieve(control: socket.socket, path: str, start: int = 0, **tcp: int) -> Download:
    """Begin a RETR on a session; closing the download closes the session too unless its `_control` is taken away.

    Over TLS the data connection resumes the session of the control connection.
    """
    reply = ftp_command(control, "EPSV")
    match = re.search(r"\|\|\|(\d+)\|", reply)
    assert match, reply
    where = control.getpeername()[0], int(match[1])
    if isinstance(control, ssl.SSLSocket):
        data = connect(where, secure=control.context, session=control.session, **tcp)
    else:
        data = connect(where, **tcp)  # type: ignore[arg-type]
    if start:
        assert ftp_command(control, f"REST {start}").startswith("350")
    reply = ftp_command(control, f"RETR {path}")
    assert reply[0] == "1", reply
    return Download(start, data, control)


def ftp_get(
    address: Address, token: str, path: str, start: int = 0, *, secure: ssl.SSLContext | None = None, **tcp: int
) -> Download:
    """Log in and begin a RETR; `tcp`: see `connect`."""
    return ftp_retrieve(ftp_login(address, token, secure=secure), path, start, **tcp)


def write(path: Path, size: int) -> Path:
    """A file whose every byte depends on its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    block = bytes(range(251)) * 1_000
    with path.open("wb") as file:
        for at in range(0, size, len(block)):
            file.write(block[: size - at])
    return path
