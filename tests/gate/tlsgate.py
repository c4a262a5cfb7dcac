"""A gate with a certificate on every front, and FTP sessions over TLS without manners."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from ftpgate import ftp, http
from ftpgate.delivery.context import DeliveryContext
from ftpgate.settings import Address
from ftpgate.tokens import Token
from tests.gate import raw
from tests.support.inprocess import InProcessGate, Listener
from tests.support.rawftp import RawFtp

SIZE = 3_000_000
LISTEN: dict[str, Callable[[DeliveryContext, Address], Listener]] = {
    "http": http.listen,
    "ftp": ftp.listen,
    "https": http.listen_tls,
    "ftps": ftp.listen_tls,
}
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]

versions = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)


def gate(folder: Path, **settings: str) -> InProcessGate:
    """With one album of one file of SIZE bytes; `settings` without their `FTPGATE_`."""
    raw.write(folder / "media" / "Album" / "track.ogg", SIZE)
    named = {f"FTPGATE_{name}": value for name, value in settings.items()}
    return InProcessGate(folder / "media", LISTEN, settings=named, certificate=True)


def token(gate: InProcessGate) -> Token:
    """Of a new grant of the album."""
    return gate.shop.issue([gate.item("Album")])


def secured(session: RawFtp, gate: InProcessGate, version: ssl.TLSVersion | None = None) -> RawFtp:
    """AUTH TLS and the handshake."""
    session.do("AUTH TLS", "234")
    session.socket = wrapped(session, gate, version)
    return session


def wrapped(session: RawFtp, gate: InProcessGate, version: ssl.TLSVersion | None = None) -> ssl.SSLSocket:
    """The handshake on the control connection."""
    return gate.certificate.trusted(version).wrap_socket(session.socket, server_hostname="localhost")


def session(gate: InProcessGate, version: ssl.TLSVersion | None = None) -> RawFtp:
    """A session over TLS, logged in, with protected data."""
    session = secured(RawFtp(gate.address("ftp")), gate, version).login(token(gate).reveal())
    session.do("PBSZ 0", "200 PBSZ=0")
    session.do("PROT P", "200")
    return session


def data(session: RawFtp, *, resume: bool = True) -> ssl.SSLSocket:
    """A data connection that resumes the session of the control connection, unless it is not to."""
    control = session.socket
    assert isinstance(control, ssl.SSLSocket)
    return control.context.wrap_socket(session.data(), server_hostname="localhost", session=control.session if resume else None)
