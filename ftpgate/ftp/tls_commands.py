"""TLS on a session (RFC 4217, RFC 2228): AUTH, PBSZ, PROT and CCC, and the handshake on the control connection."""

from __future__ import annotations

import logging
import time

from ftpgate.errors import BadRequest, GateError
from ftpgate.ftp.control_connection import ControlConnection, SessionState
from ftpgate.net.handshake import Handshake
from ftpgate.net.tls import HandshakeError, TlsSink

_log = logging.getLogger(__name__)

MECHANISMS = {"TLS": False, "TLS-C": False, "TLS-P": True, "SSL": True}
"""What AUTH may name (RFC 4217 section 17 and its appendix A): is PROT P taken for granted after it?"""


class OutOfOrder(GateError):
    http, ftp = 400, 503


class NoSuchSecurity(GateError):
    http, ftp = 400, 504


class LevelNotSupported(GateError):
    http, ftp = 400, 536


class AgainstPolicy(GateError):
    http, ftp = 403, 534


class DataInTheClear(GateError):
    http, ftp = 403, 521
    text = "Files and listings are sent over TLS only: send PROT P first."


class TlsCommands(ControlConnection):
    """A session whose control connection may go over TLS, and which knows whether its data connections have to."""

    _handshake: Handshake | None = None
    _negotiated = False
    """Has PBSZ been given, so that PROT may be?"""
    _protected = False
    """Do data connections go over TLS: PROT P?"""

    def forget_login(self) -> None:
        """Log out, and drop what waits for data."""
        raise NotImplementedError

    def close_data(self) -> None:
        """Drop what waits for data."""
        raise NotImplementedError

    @property
    def tls_offered(self) -> bool:
        return self.server.gate.tls is not None

    @property
    def secure(self) -> bool:
        """Does the control connection go over TLS?"""
        return self._sink is not None

    def take_for_secure(self, sink: TlsSink) -> None:
        """TLS came before the first reply (implicit TLS): data are protected unless the client says otherwise."""
        self._sink = sink
        self._negotiated = self._protected = True

    def ftp_AUTH(self, mechanism: str) -> None:
        if not self.tls_offered:
            return self.respond("502 TLS is not spoken here.")
        if self.secure:
            raise OutOfOrder("TLS is spoken already.")
        protected = MECHANISMS.get(mechanism.upper())
        if protected is None:
            raise NoSuchSecurity("There is AUTH TLS.")
        self.forget_login()  # RFC 2228 section 3 wants it
        self._negotiated = self._protected = protected
        # What came with it in the clear anybody may have put there (CVE-2011-0411): it is no command any more.
        self._input = b""
        self._state = SessionState.STARTING_TLS
        self.respond("234 TLS may begin.")

    def begin_tls(self) -> None:
        """The reply to AUTH is with the kernel: what comes next is the handshake's."""
        assert self.server.gate.tls is not None
        self.ioloop.unregister(self._fileno)
        self._handshake = self.server.gate.tls.begin(self.socket, str(self.addr[0]), self._begun, self._not_begun)

    def _begun(self, sink: TlsSink) -> None:
        self._handshake = None
        self._sink = sink
        self._state = SessionState.READY
        self._heard = time.monotonic()
        self._wanted_io_events = self.ioloop.READ
        self.ioloop.register(self._fileno, self, self.ioloop.READ)

    def _not_begun(self, error: HandshakeError) -> None:
        _log.debug("%s: %s", self, error)
        self._handshake = None
        self.close()

    def ftp_PBSZ(self, size: str) -> None:
        if not self.secure:
            raise OutOfOrder("Send AUTH TLS first.")
        if not (size.isascii() and size.isdigit()):
            raise BadRequest("PBSZ takes a number; it is 0 with TLS.")
        self._negotiated = True
        self.respond("200 PBSZ=0")

    def ftp_PROT(self, level: str) -> None:
        level = level.upper()
        if not self.secure:
            raise OutOfOrder("Send AUTH TLS first.")
        if not self._negotiated:
            raise OutOfOrder("Send PBSZ 0 first.")
        if level in ("S", "E"):
            raise LevelNotSupported("TLS knows only PROT C and PROT P.")
        if level not in ("C", "P"):
            raise NoSuchSecurity("There are PROT C and PROT P.")
        if level == "C" and self.server.gate.tls_required:
            raise AgainstPolicy("Files and listings are sent over TLS only.")
        self.close_data()
        self._protected = level == "P"
        self.respond(f"200 Data connections go {'over TLS' if self._protected else 'in the clear'}.")

    def ftp_CCC(self, _argument: str) -> None:
        raise AgainstPolicy("The control connection stays as it is.")

    def check_protection(self) -> None:
        """Raises DataInTheClear when data connections have to go over TLS and would not."""
        if self.server.gate.tls_required and not self._protected:
            raise DataInTheClear

    def drop_handshake(self) -> None:
        """The session ends: so does a handshake that is under way."""
        if self._handshake is not None:
            self._handshake.close()
            self._handshake = None
