"""The commands of TLS (RFC 4217, RFC 2228): AUTH, PBSZ, PROT and CCC, and what has been agreed on by them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from ftpgate.delivery.context import DeliveryContext
from ftpgate.errors import BadRequest, GateError
from ftpgate.ftp.control_connection import ControlConnection
from ftpgate.net.handshake import Done, Failed, Handshake
from ftpgate.net.tls import TlsSink

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


class Secured(Protocol):
    """The session, as these commands see it."""

    def log_out(self) -> None:
        """Forget who has logged in, and close the data connection."""
        ...

    def close_data(self) -> None:
        """Close the data connection, or what it would come from."""
        ...


class TlsCommands:
    """What of one session goes over TLS.

    Attributes:
        protected: do data connections: PROT P?
    """

    __slots__ = ("_control", "_gate", "_negotiated", "_session", "protected")

    def __init__(self, control: ControlConnection, gate: DeliveryContext, session: Secured) -> None:
        self._control = control
        self._gate = gate
        self._session = session
        # TLS before the first reply (implicit TLS) means that data are protected unless the client says otherwise.
        self.protected = self._negotiated = self.secure
        """Negotiated: has PBSZ been given, so that PROT may be?"""

    @property
    def offered(self) -> bool:
        return self._gate.tls is not None

    @property
    def secure(self) -> bool:
        """Does the control connection go over TLS?"""
        return self._control.sink is not None

    @property
    def token_may_be_sent(self) -> bool:
        """Does the control connection go over TLS, if it has to?"""
        return self.secure or not self._gate.tls_required

    def check_protection(self) -> None:
        """Raises DataInTheClear when data connections have to go over TLS and would not."""
        if self._gate.tls_required and not self.protected:
            raise DataInTheClear

    def begin_on_data(self, sock: socket.socket, done: Done, failed: Failed) -> Handshake:
        """Begin the handshake of a data connection.

        The control connection's session may be resumed, and its certificate is the one that the client expects.
        """
        assert self._gate.tls is not None
        like = self._control.sink if isinstance(self._control.sink, TlsSink) else None
        return self._gate.tls.begin(sock, self._control.peer, done, failed, like=like)

    def auth(self, mechanism: str) -> None:
        if not self.offered:
            return self._control.respond("502 TLS is not spoken here.")
        if self.secure:
            raise OutOfOrder("TLS is spoken already.")
        protected = MECHANISMS.get(mechanism.upper())
        if protected is None:
            raise NoSuchSecurity("There is AUTH TLS.")
        self._session.log_out()  # RFC 2228 section 3 wants it
        self._negotiated = self.protected = protected
        self._control.start_tls()
        self._control.respond("234 TLS may begin.")

    def pbsz(self, size: str) -> None:
        if not self.secure:
            raise OutOfOrder("Send AUTH TLS first.")
        if not (size.isascii() and size.isdigit()):
            raise BadRequest("PBSZ takes a number; it is 0 with TLS.")
        self._negotiated = True
        self._control.respond("200 PBSZ=0")

    def prot(self, level: str) -> None:
        level = level.upper()
        if not self.secure:
            raise OutOfOrder("Send AUTH TLS first.")
        if not self._negotiated:
            raise OutOfOrder("Send PBSZ 0 first.")
        if level in ("S", "E"):
            raise LevelNotSupported("TLS knows only PROT C and PROT P.")
        if level not in ("C", "P"):
            raise NoSuchSecurity("There are PROT C and PROT P.")
        if level == "C" and self._gate.tls_required:
            raise AgainstPolicy("Files and listings are sent over TLS only.")
        self._session.close_data()
        self.protected = level == "P"
        self._control.respond(f"200 Data connections go {'over TLS' if self.protected else 'in the clear'}.")

    def ccc(self, _argument: str) -> None:
        raise AgainstPolicy("The control connection stays as it is.")


TLS_COMMANDS: dict[str, Callable[[TlsCommands, str], None]] = {
    "AUTH": TlsCommands.auth, "CCC": TlsCommands.ccc, "PBSZ": TlsCommands.pbsz, "PROT": TlsCommands.prot,
}  # fmt: skip
