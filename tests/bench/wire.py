"""Clients that take a download and throw it away inside the kernel: HTTP and FTP, plain and over TLS.

Each is a generator that yields whenever it has to wait, as `stream, events`, and is resumed by `generator.Loop`. Bodies
are received with MSG_TRUNC: the bytes are acknowledged and dropped without being copied. Over TLS only the handshake and
the head of an answer are decrypted; from there on it is ciphertext that is dropped and counted.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import re
import select
import socket
import ssl
from base64 import b64encode
from collections.abc import Generator
from typing import Protocol

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
_DROPPED = mmap.mmap(-1, 4 << 20)
"""Where dropped bytes would have gone: its pages are never touched, so that it costs nothing to be large."""
_UNKNOWN = 1 << 62
_RECORD, _OVERHEAD = 16_384, 22
"""Bytes of plaintext in a full record of TLS 1.3, and what it is longer by on the wire."""
_GREETING = re.compile(rb"(?:^|\r\n)(\d{3}) [^\r\n]*\r\n\Z")

Wait = Generator[tuple["Stream", int], None, None]
WaitBytes = Generator[tuple["Stream", int], None, bytes]


class Refused(Exception):
    """The server has answered otherwise than a download begins; the text is its answer."""


class Counter(Protocol):
    """Hears what arrives."""

    def body(self, count: int) -> None:
        """Bytes of a body (ciphertext, over TLS)."""

    def finished(self) -> None:
        """One download, or one log-in, has come to its end in order."""


class Stream:
    """A non-blocking client socket."""

    __slots__ = ("_incoming", "_outgoing", "_secure", "fd", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = self.socket.fileno()
        self._secure: ssl.SSLObject | None = None
        error = self.socket.connect_ex(address)
        if error not in (0, errno.EINPROGRESS):
            self.socket.close()
            raise OSError(error, "connect")

    def connected(self) -> Wait:
        yield self, WRITE
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, "connect")

    def secure(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Wait:
        """The handshake of a TLS client."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost", session=session)
        while True:
            try:
                secure.do_handshake()
                break
            except ssl.SSLWantReadError:
                yield from self._flush()
                yield from self._feed()
        yield from self._flush()
        self._secure = secure

    @property
    def session(self) -> ssl.SSLSession | None:
        return None if self._secure is None else self._secure.session

    @property
    def undecrypted(self) -> int:
        """Bytes of a record that has not arrived whole."""
        return self._incoming.pending

    def send(self, data: bytes) -> Wait:
        if self._secure is not None:
            self._secure.write(data)
            yield from self._flush()
        else:
            yield from self._send(data)

    def receive(self) -> WaitBytes:
        """What has arrived, at least one byte; little at a time, so that what follows a head can still be dropped."""
        while True:
            if self._secure is None:
                yield self, READ
                data = self.socket.recv(1024)
                if not data:
                    raise ConnectionResetError("the server ended the connection")
                return data
            try:
                return self._secure.read(65_536)
            except ssl.SSLWantReadError:
                yield from self._feed()

    def drop(self, most: int) -> int:
        """Throw away what waits; bytes, 0 at the end. Raises `BlockingIOError` when nothing waits."""
        return self.socket.recv_into(_DROPPED, min(most, len(_DROPPED)), socket.MSG_TRUNC)

    def close(self) -> None:
        self.socket.close()

    def _send(self, data: bytes) -> Wait:
        while data:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                yield self, WRITE

    def _flush(self) -> Wait:
        yield from self._send(self._outgoing.read())

    def _feed(self) -> Wait:
        yield self, READ
        data = self.socket.recv(4096)
        if not data:
            raise ConnectionResetError("the server ended the connection")
        self._incoming.write(data)


def dropped(stream: Stream, counter: Counter, count: int) -> Wait:
    """Drop `count` bytes of a body, or all until the server's end."""
    while count > 0:
        yield stream, READ
        try:
            got = stream.drop(count)
        except BlockingIOError:
            continue
        if not got:
            if count < _UNKNOWN // 2:
                raise ConnectionResetError(f"the server ended the connection {count} bytes before the end")
            return
        counter.body(got)
        count -= got


def http(
    address: tuple[str, int], path: str, user: str, password: str, counter: Counter, *,
    keep: bool, context: ssl.SSLContext | None,
) -> Wait:  # fmt: skip
    """Fetch `path`; again and again over the same connection when `keep`."""
    head = [f"GET {path} HTTP/1.1", f"Host: {address[0]}"]
    if user:
        head.append("Authorization: Basic " + b64encode(f"{user}:{password}".encode()).decode())
    if not keep:
        head.append("Connection: close")
    request = "\r\n".join([*head, "", ""]).encode()
    stream = Stream(address)
    try:
        yield from stream.connected()
        if context is not None:
            yield from stream.secure(context)
        while True:
            yield from stream.send(request)
            received = b""
            while (end := received.find(b"\r\n\r\n")) < 0:
                received += yield from stream.receive()
            if received[9:10] != b"2":
                raise Refused(received[: received.find(b"\r\n")].decode("latin-1"))
            found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", received[:end])
            first = len(received) - end - 4
            counter.body(first)
            rest = int(found[1]) - first if found is not None else _UNKNOWN
            if context is not None and rest < _UNKNOWN:
                rest += rest // _RECORD * _OVERHEAD - stream.undecrypted
            yield from dropped(stream, counter, rest)
            if context is not None:  # the head, and what is no full record, have taken a little more
                with contextlib.suppress(BlockingIOError):
                    counter.body(stream.drop(_RECORD))
            counter.finished()
            if not keep:
                return
    finally:
        stream.close()


class _Control:
    """An FTP control connection."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.stream = Stream(address)

    def reply(self) -> WaitBytes:
        """One whole reply; raises `Refused` when it says no."""
        received = b""
        while not _GREETING.search(received):
            received += yield from self.stream.receive()
        found = _GREETING.search(received)
        assert found is not None
        if found[1][:1] in b"45":
            raise Refused(received.decode("latin-1").strip())
        return received

    def ask(self, command: str) -> WaitBytes:
        yield from self.stream.send(command.encode() + b"\r\n")
        return (yield from self.reply())

    def log_in(self, user: str, password: str, context: ssl.SSLContext | None) -> Wait:
        yield from self.stream.connected()
        yield from self.reply()
        if context is not None:
            yield from self.ask("AUTH TLS")
            yield from self.stream.secure(context)
        yield from self.ask(f"USER {user}")
        yield from self.ask(f"PASS {password}")


def ftp(
    address: tuple[str, int], path: str, user: str, password: str, counter: Counter, *,
    keep: bool, context: ssl.SSLContext | None,
) -> Wait:  # fmt: skip
    """Log in and fetch `path`; again and again in the same session when `keep`."""
    control = _Control(address)
    data: Stream | None = None
    try:
        yield from control.log_in(user, password, context)
        yield from control.ask("TYPE I")
        if context is not None:
            yield from control.ask("PBSZ 0")
            yield from control.ask("PROT P")
        while True:
            found = re.search(rb"\|\|\|(\d+)\|", (yield from control.ask("EPSV")))
            if found is None:
                raise Refused("no port in the answer to EPSV")
            data = Stream((address[0], int(found[1])))
            yield from data.connected()
            yield from control.stream.send(f"RETR {path}\r\n".encode())
            if context is not None:  # before the answer is read: a server may give it only when it is through
                yield from data.secure(context, control.stream.session)
            first = yield from control.reply()
            yield from dropped(data, counter, _UNKNOWN)
            data.close()
            if not re.search(rb"(?:^|\r\n)2\d\d ", first):
                yield from control.reply()
            counter.finished()
            if not keep:
                return
    finally:
        control.stream.close()
        if data is not None:
            data.close()


def ftp_log_in(
    address: tuple[str, int], path: str, user: str, password: str, counter: Counter, *,
    keep: bool, context: ssl.SSLContext | None,
) -> Wait:  # fmt: skip
    """Log in and leave."""
    control = _Control(address)
    try:
        yield from control.log_in(user, password, context)
        counter.finished()
    finally:
        control.stream.close()


CLIENTS = {"http": http, "https": http, "ftp": ftp, "ftps": ftp, "login": ftp_log_in}
