"""TLS behind the same `Sink` as a plain socket: pyOpenSSL on a non-blocking socket, 1.2 and 1.3 only.

Files are read in batches of eight records, since bytes have to pass through OpenSSL, which then writes one record after
the other without coming back to Python.
"""

from __future__ import annotations

import os
import secrets
import socket
from datetime import datetime
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from OpenSSL import SSL
from OpenSSL._util import lib as _openssl  # for two functions that pyOpenSSL does not offer

from ftpgate.errors import UserError
from ftpgate.net.sockets import SendQueue
from ftpgate.net.tcp_info import TcpProbe
from ftpgate.net.tls_records import RECORD
from ftpgate.proof.window import TcpSnapshot
from ftpgate.translatable import os_reason

BATCH = 8 * RECORD
"""Bytes that OpenSSL is given at a time: a quarter less processor time per gigabyte than record by record."""
LAST_RECORD = 4096
"""Bytes of a body's last record at the most, and of the last one before a stop line. A client that reads less than a record at a
time and then waits for its socket does not see what its TLS library holds of the last one until something else arrives: axel
waited for our close_notify with up to 16 kB in hand, and then did not read that any more."""
CLOSE_NOTIFY_DELAY = 0.05
"""Seconds after the last acknowledgement before our close_notify, where that is the only end of a file. It is data: a client
that ends by its own count, as lftp does with the last segment, would reset the connection because it has not read it, and
nobody could tell that from a cut."""
STILL_READING = 1.0
"""Seconds without an acknowledgement or a window update after which a client that has not read everything gets our close_notify
all the same."""
SESSIONS_KEPT = 86_400
"""Seconds for which a client may resume its session: on a data channel, or when it comes again. Over TLS 1.2 an FTP client has
one for as long as it stays, and may have to resume it for each file."""
SHARED = b"ftpgate"
"""The name under which sessions are issued that may be resumed on any connection."""

# AES-128 first: ten rounds instead of fourteen. A client that puts ChaCha20 first has no AES in hardware, and gets it.
_CIPHERS_1_2 = b"ECDHE+AESGCM+AES128:ECDHE+AESGCM:ECDHE+CHACHA20"
_CIPHERS_1_3 = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
# Mozilla's intermediate profile: OpenSSL's own order, without X448 and P-521, which few clients have and which cost more. Groups
# between slashes are equal to the server: a client that has sent a share of one of them is not asked for another.
_GROUPS = (b"X25519MLKEM768/X25519:P-256/P-384", b"X25519:P-256:P-384")
"""The first that OpenSSL takes is used: it has ML-KEM, and the slashes, since 3.5."""
_SSL_OP_NO_RENEGOTIATION = 1 << 30
"""These five are openssl/ssl.h's (OpenSSL 3), which pyOpenSSL does not name."""
_SSL_OP_CIPHER_SERVER_PREFERENCE = 1 << 22
_SSL_OP_PRIORITIZE_CHACHA = 1 << 21
_SSL_OP_IGNORE_UNEXPECTED_EOF = 1 << 7
_SSL_MODE_ENABLE_PARTIAL_WRITE = 1 << 0


class Step(Enum):
    """How far a handshake is."""

    THROUGH = auto()
    READ = auto()
    """It goes on when the client has sent more."""
    WRITE = auto()
    """It goes on when the client has taken more."""


class HandshakeError(ConnectionError):
    """The client has gone, or speaks no TLS that is spoken here.

    Attributes:
        plain_http: it has sent an HTTP request in the clear.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"TLS handshake failed: {reason}")
        self.plain_http = reason == "http request"


class Loaded(NamedTuple):
    """A certificate and its key, ready for use, and when it ends to be valid."""

    context: SSL.Context
    expires: datetime


class Certificates:
    """The certificate and key in use. New ones are for new connections; running ones keep theirs.

    Raises:
        UserError: the files cannot be read, are no PEM, or do not belong together.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._loaded = self.load()
        self._scratch = memoryview(bytearray(BATCH))
        """Where files are read into: what leaves is encrypted before anybody else has a turn."""

    @property
    def expires(self) -> datetime:
        """Until when the one in use is valid."""
        return self._loaded.expires

    def load(self) -> Loaded:
        """Read the files, on any thread. Raises UserError; what is in use stays in use, whatever comes of it."""
        return Loaded(_context(self._certificate, self._key), _expiry(self._certificate))

    def use(self, loaded: Loaded) -> None:
        """Take what `load` returned for new connections."""
        self._loaded = loaded

    def accept(self, sock: socket.socket, like: TlsSink | None = None, sessions: bytes = SHARED) -> TlsSink:
        """TLS over an accepted, non-blocking socket, its handshake not begun. On the loop's thread only.

        Args:
            like: a connection whose certificate and sessions are to be used; the current ones when None.
            sessions: the name of the sessions that may be resumed, at most 32 bytes; that of `like` where it is given.
        """
        context, sessions = (self._loaded.context, sessions) if like is None else (like.context, like.sessions)
        # A connection takes the name over when it is made; pyOpenSSL lets it be set before the first one only.
        _openssl.SSL_CTX_set_session_id_context(context._context, sessions, len(sessions))
        connection = SSL.Connection(context, sock)
        connection.set_accept_state()
        return TlsSink(connection, sock, self._scratch, sessions)


def own_sessions() -> bytes:
    """A name of its own for the sessions of one connection: only connections that are made `like` it can resume them.

    A session is in a ticket that the client keeps and cannot read; OpenSSL compares the name in it with the connection's.
    """
    return secrets.token_bytes(16)


class TlsSink:
    """A TLS connection as a `Sink`. Every method raises `BlockingIOError` when it has to wait for the socket."""

    __slots__ = ("_connection", "_kept", "_scratch", "_socket", "queue", "sessions", "wire")

    def __init__(self, connection: SSL.Connection, sock: socket.socket, scratch: memoryview, sessions: bytes = SHARED) -> None:
        self.wire = TcpProbe(sock, encrypted=True)
        self.queue = SendQueue(sock)
        self.sessions = sessions
        self._connection = connection
        self._socket = sock
        self._scratch = scratch
        self._kept: bytes | memoryview | None = None

    @property
    def context(self) -> SSL.Context:
        return self._connection.get_context()

    @property
    def parting(self) -> bool:
        """Has the client said close_notify?"""
        return self.wire.parting

    @property
    def resumed(self) -> bool:
        """Has the client resumed a session, of the name `sessions`? Known once the handshake is through."""
        return bool(_openssl.SSL_session_reused(self._connection._ssl))

    @property
    def owing(self) -> bool:
        """OpenSSL cannot answer in the middle of a batch, and reading may ask for that (KeyUpdate, RFC 8446 section 4.6.3)."""
        return self.wire.ahead > 0

    def handshake(self) -> Step:
        """Go on with the handshake; it has to be through before anything else is called. Raises HandshakeError."""
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return Step.READ
        except SSL.WantWriteError:
            return Step.WRITE
        except SSL.Error as error:
            raise HandshakeError(_reason(error)) from None
        return Step.THROUGH

    def recv(self, count: int) -> bytes:
        """What the client sent; b"" at its orderly end, which is the end of its TCP stream.

        A close_notify does not count: a client that throws away what it has not read sends one as well, just before its
        reset. It only sets `parting`. One record at a time: less than `count` means that OpenSSL holds no more of it.
        """
        try:
            return self._connection.recv(count)
        except (SSL.WantReadError, SSL.WantWriteError):  # the latter for the answer to a KeyUpdate; the next write brings it
            raise BlockingIOError from None
        except SSL.ZeroReturnError:
            self.wire.parting = True
            if not self._socket.recv(RECORD):
                return b""
            raise BlockingIOError from None
        except SSL.SysCallError as error:
            raise ConnectionResetError(*error.args) from None
        except SSL.Error as error:
            raise ConnectionAbortedError(f"TLS failed: {_reason(error)}") from None

    def send(self, data: bytes | memoryview, more: bool = False) -> int:
        """Hand over bytes. After a `BlockingIOError` the same have to be offered again; more may follow them."""
        if self._kept is None:
            self._kept = data[:BATCH]
        count = self._write(self._kept)
        self._kept = None
        return count

    def sendfile(self, fd: int, offset: int, count: int) -> int:
        """Hand over bytes of a file; 0 when it has none at `offset`. After a `BlockingIOError` the same are read again."""
        owed = self.wire.ahead
        got = os.preadv(fd, [self._scratch[: owed or min(count, BATCH)]], offset)
        return self._write(self._scratch[:got]) if got >= max(owed, 1) else 0

    def finish(self) -> None:
        """Say that nothing follows: close_notify, then the sending half of the socket."""
        try:
            self._connection.shutdown()
        except SSL.WantWriteError:
            raise BlockingIOError from None
        except SSL.Error:
            pass  # the client is gone; what the socket knows of that tells the rest
        self._socket.shutdown(socket.SHUT_WR)

    def _write(self, data: bytes | memoryview) -> int:
        # OpenSSL has a record of it encrypted when it has to wait, and wants the whole batch again (SSL_write(3)).
        wire = self.wire
        wire.sealing(len(data))
        try:
            count = self._connection.send(data)
        except SSL.WantWriteError:
            raise BlockingIOError from None
        except SSL.Error as error:
            raise ConnectionResetError(_reason(error)) from None
        wire.sealed()
        return count


def still_reads(look: TcpSnapshot) -> bool:
    """Is the client of this connection, which has everything, about to read it? Then our close_notify has to wait."""
    return not look.fully_open and look.silence < STILL_READING


def _expiry(certificate: Path) -> datetime:
    """Of the first certificate in a PEM file, which is the server's own."""
    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise UserError(f"FTPGATE_TLS_CERT={certificate} cannot be read ({error})", "give a PEM file") from None


def _context(certificate: Path, key: Path) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_CIPHERS_1_2)
    context.set_tls13_ciphersuites(_CIPHERS_1_3)
    _set_groups(context)
    context.set_options(
        SSL.OP_NO_COMPRESSION | _SSL_OP_NO_RENEGOTIATION | _SSL_OP_CIPHER_SERVER_PREFERENCE | _SSL_OP_PRIORITIZE_CHACHA
        # A client that ends without close_notify has ended all the same, and may still read what is on its way.
        | _SSL_OP_IGNORE_UNEXPECTED_EOF
    )  # fmt: skip
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 14 KiB less for a connection that waits
    context.clear_mode(_SSL_MODE_ENABLE_PARTIAL_WRITE)  # else a write ends after one record
    # Sessions live in tickets, which clients keep. Those of TLS 1.2 clients that take none, as curl, are kept here: OpenSSL
    # holds 20,480 of them, some 20 MB, and drops the oldest for a further one.
    context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    context.set_timeout(SESSIONS_KEPT)
    for name, file in (("FTPGATE_TLS_CERT", certificate), ("FTPGATE_TLS_KEY", key)):
        try:
            file.open("rb").close()  # OpenSSL has no words for a file that it cannot open
        except OSError as error:
            raise UserError(f"{name}={file} cannot be read ({os_reason(error)})", "name a PEM file that can be read") from None
    try:
        context.use_certificate_chain_file(str(certificate))
        context.use_privatekey_file(str(key))
        context.check_privatekey()
    except (SSL.Error, OSError) as error:
        reason = _reason(error) if isinstance(error, SSL.Error) else error
        raise UserError(
            f"FTPGATE_TLS_CERT={certificate} and FTPGATE_TLS_KEY={key} cannot be used ({reason})",
            "give PEM files that can be read and belong together",
        ) from error
    return context


def _set_groups(context: SSL.Context) -> None:
    """The groups of the key exchange, of which pyOpenSSL sets a single one only."""
    for groups in _GROUPS:
        if _openssl.SSL_CTX_set1_curves_list(context._context, groups) == 1:
            return
        _openssl.ERR_clear_error()  # else a later call would be taken to have failed


def _reason(error: SSL.Error) -> str:
    """OpenSSL's own words."""
    if error.args and isinstance(error.args[0], list) and error.args[0]:
        return str(error.args[0][0][-1])
    return str(error) or "the client has ended the connection"
