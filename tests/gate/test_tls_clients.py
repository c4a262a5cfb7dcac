"""Real download managers over TLS: HTTPS, FTPS, and FTP with AUTH TLS; and a certificate that is renewed meanwhile."""

from __future__ import annotations

import ftplib
import signal
import socket
import ssl
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.gate import raw
from tests.gate.conftest import RATES, Shop, opened
from tests.support import clients
from tests.support.databases import Databases
from tests.support.media import hashes, sha256
from tests.support.site import Grant
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

Fetch = Callable[[str, Path, Path], object]
"""Address, where to, file of the CA."""


@pytest.fixture(scope="module")
def shop(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """On one kind of database, and with three files: neither more of their names nor databases differ by TLS."""
    with opened(tmp_path_factory.mktemp("shop") / "sqlite", databases.migrated("sqlite"), (9_000_000, 70_000, 1)) as running:
        yield running


class _ResumingFtp(ftplib.FTP_TLS):
    """FileZilla's way: data channels resume the session of the control connection."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        sock, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        assert isinstance(self.sock, ssl.SSLSocket)
        secure = self.context.wrap_socket(sock, server_hostname=self.host, session=self.sock.session)
        assert secure.session_reused
        return secure, size


def _ftplib(url: str, to: Path, ca: Path, ftp_class: type[ftplib.FTP_TLS] = ftplib.FTP_TLS) -> None:
    parts = urlsplit(url)
    with to.open("wb") as file, ftp_class(context=ssl.create_default_context(cafile=str(ca)), timeout=60) as ftp:
        ftp.connect(parts.hostname or "", parts.port or 0)
        ftp.login(parts.username or "", parts.password or "")
        ftp.prot_p()
        ftp.retrbinary(f"RETR {unquote(parts.path)}", file.write)


FETCHERS: dict[str, tuple[str, Fetch]] = {
    "curl-https": ("https", lambda url, to, ca: clients.curl(url, to, "--cacert", str(ca))),
    "curl-https-1.2": ("https", lambda url, to, ca: clients.curl(url, to, "--cacert", str(ca), "--tls-max", "1.2")),
    "curl-ftps": ("ftps", lambda url, to, ca: clients.curl(url, to, "--cacert", str(ca))),
    "curl-auth-tls": ("ftp", lambda url, to, ca: clients.curl(url, to, "--cacert", str(ca), "--ssl-reqd")),
    "curl-auth-tls-1.2": (
        "ftp",
        lambda url, to, ca: clients.curl(url, to, "--cacert", str(ca), "--ssl-reqd", "--tls-max", "1.2"),
    ),
    "wget-https": ("https", lambda url, to, ca: clients.wget(url, to, f"--ca-certificate={ca}")),
    "wget-https-closing": ("https", lambda url, to, ca: clients.wget(url, to, f"--ca-certificate={ca}", "--no-http-keep-alive")),
    "wget-ftps": ("ftps", lambda url, to, ca: clients.wget(url, to, f"--ca-certificate={ca}", "--ftps-implicit")),
    "aria2-https-16": ("https", lambda url, to, ca: clients.aria2(url, to, f"--ca-certificate={ca}", connections=16)),
    "axel-https-8": ("https", lambda url, to, ca: clients.axel(url, to, "--insecure", connections=8)),
    "ftplib-auth-tls": ("ftp", _ftplib),
    "ftplib-auth-tls-resuming": ("ftp", lambda url, to, ca: _ftplib(url, to, ca, _ResumingFtp)),
    "lftp-https-8": ("https", lambda url, to, ca: clients.lftp_pget(url, to, ca=ca)),
    "lftp-ftps-8": ("ftps", lambda url, to, ca: clients.lftp_pget(url, to, ca=ca)),
    "lftp-auth-tls-8": ("ftp", lambda url, to, ca: clients.lftp_pget(url, to, ca=ca)),
}


TRIES = 3
"""A program that counts its bytes resets the connection when our close_notify comes between its last read and its end, as on a
busy machine: then the end of that body is unconfirmed, and is fetched again. How often, trials measure."""


def _received(shop: Shop, grant: Grant, client: str, fetch_again: Callable[[list[str]], object]) -> None:
    """`client` has everything, and what is unconfirmed of it is fetched again, as a customer does."""
    for _ in range(TRIES - 1):
        if lacking := shop.lacking(grant):
            fetch_again(lacking)
    shop.received(grant, client)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("client", FETCHERS)
def test_files(shop: Shop, tmp_path: Path, client: str, rate: str) -> None:
    protocol, fetch = FETCHERS[client]
    grant = shop.issue(rate)
    to = tmp_path / "file"

    def fetch_files(names: Iterable[str]) -> None:
        for name in names:
            fetch(shop.url(grant, protocol, f"{shop.folder}/{name}"), to, shop.certificate.ca)
            assert sha256(to) == shop.files[name]
            to.unlink()

    fetch_files(shop.files)
    _received(shop, grant, client, fetch_files)


@pytest.mark.parametrize("client", [name for name in FETCHERS if "http" not in name or name in ("curl-https", "aria2-https-16")])
def test_zip(shop: Shop, tmp_path: Path, client: str) -> None:
    protocol, fetch = FETCHERS[client]
    grant = shop.issue("limited")
    to = tmp_path / "album.zip"

    def fetch_zip(_lacking: object = None) -> None:
        fetch(shop.url(grant, protocol, f"{shop.folder}.zip"), to, shop.certificate.ca)
        with zipfile.ZipFile(to) as archive:
            archive.extractall(tmp_path / "unpacked")
        to.unlink()

    fetch_zip()
    assert hashes(tmp_path / "unpacked" / shop.folder) == shop.files
    _received(shop, grant, client, fetch_zip)


@pytest.mark.parametrize("protocol", ["ftp", "ftps"])
def test_lftp_mirror(shop: Shop, tmp_path: Path, protocol: str) -> None:
    grant = shop.issue("limited")
    clients.lftp_mirror(shop.url(grant, protocol), tmp_path / "all", "--use-pget-n=4", parallel=3, ca=shop.certificate.ca)
    assert hashes(tmp_path / "all" / shop.folder) == shop.files
    shop.site.wait_for_all(grant)


def test_the_certificate_is_renewed_meanwhile(shop: Shop) -> None:
    """On SIGHUP: running downloads go on, new connections get the new one, and a broken one changes nothing."""
    gate = shop.site.gate
    assert gate is not None
    host, _, port = gate.ready["https"].rpartition(":")
    address, context = (host, int(port)), shop.certificate.trusted()
    grant = shop.issue("limited")
    name, size = next(iter(shop.sizes.items()))

    def shown() -> bytes | None:
        with raw.connect(address, secure=context) as sock:
            assert isinstance(sock, ssl.SSLSocket)
            return sock.getpeercert(binary_form=True)

    first = shown()
    path = shop.url(grant, "https", f"{shop.folder}/{name}").removeprefix(f"https://{gate.ready['https']}")
    with raw.http_get(address, path, secure=context) as download:
        download.read(100_000)
        shop.certificate.renew()
        gate.process.send_signal(signal.SIGHUP)
        wait_until(lambda: shown() != first, 10, "the new certificate")
        second = shown()
        shop.certificate.key.write_text("no key")
        gate.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the certificate in use stays" in shop.site.gate_log(), 10, "the complaint")
        assert shown() == second
        assert download.read(size) == size - 100_000
    shop.certificate.renew()
    gate.process.send_signal(signal.SIGHUP)
    wait_until(lambda: shown() not in (first, second), 10, "the third certificate")
    for other in list(shop.sizes)[1:]:
        clients.curl(grant.http_url(f"{shop.folder}/{other}"), Path("/dev/null"))
    shop.complete(grant)
