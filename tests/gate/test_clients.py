"""Real download managers fetch an album whole, over both protocols, as files and as the zip: it is complete, once.

Each program with each protocol and rate runs on SQLite alone: what differs there is the requests, of which the database hears
nothing. Both kinds of database have every way of recording them: one connection or several, whole, stopped and resumed, mixed.
"""

from __future__ import annotations

import ftplib
import http.client
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.gate.conftest import RATES, Shop
from tests.support import clients
from tests.support.media import hashes, sha256
from tests.support.tools import require_tool

pytestmark = pytest.mark.slow

Fetch = Callable[[str, Path], object]

FETCHERS: dict[str, Fetch] = {
    "curl": lambda url, to: clients.curl(url, to),
    "wget": lambda url, to: clients.wget(url, to),
    "aria2-16": lambda url, to: clients.aria2(url, to, connections=16),
    "lftp-pget-8": lambda url, to: clients.lftp_pget(url, to, segments=8),
    "axel-8": lambda url, to: clients.axel(url, to, connections=8),
}


def _check_zip(shop: Shop, path: Path, to: Path) -> None:
    subprocess.run([require_tool("unzip"), "-tq", str(path)], check=True, stdout=subprocess.DEVNULL)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(to)
    assert hashes(to / shop.folder) == shop.files


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("protocol", ["http", "ftp"])
@pytest.mark.parametrize("client", FETCHERS)
def test_files(shop: Shop, tmp_path: Path, client: str, protocol: str, rate: str) -> None:
    if client == "axel-8" and protocol == "ftp":
        pytest.skip("axel does not percent-decode FTP addresses: it cannot name these files")
    grant = shop.issue(rate)
    for number, (name, digest) in enumerate(shop.files.items()):
        to = tmp_path / f"{number}"
        FETCHERS[client](grant.url(protocol, f"{shop.folder}/{name}"), to)
        assert sha256(to) == digest
    shop.received(grant, client)


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("protocol", ["http", "ftp"])
@pytest.mark.parametrize("client", FETCHERS)
def test_zip(shop: Shop, tmp_path: Path, client: str, protocol: str, rate: str) -> None:
    if client == "axel-8" and protocol == "ftp":
        pytest.skip("axel does not percent-decode FTP addresses: it cannot name this zip")
    grant = shop.issue(rate)
    to = tmp_path / "album.zip"
    FETCHERS[client](grant.url(protocol, f"{shop.folder}.zip"), to)
    _check_zip(shop, to, tmp_path / "unpacked")
    shop.received(grant, client)


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("size", [1_000_000, 12_345_678])
def test_axel_over_ftp(shop: Shop, tmp_path: Path, rate: str, size: int) -> None:
    """axel with names that it can say: its segments nearly all end in a cut."""
    item = shop.site.album({"track.ogg": size}, title=f"axel-{rate}-{size}")
    grant = shop.site.issue(rate, item["id"])
    to = tmp_path / "track.ogg"
    clients.axel(grant.links["ftp"] + f"axel-{rate}-{size}/track.ogg", to, connections=4)
    assert sha256(to) == item["files"][0]["sha256"]
    shop.site.wait_for_all(grant)


@pytest.mark.parametrize("rate", RATES)
def test_lftp_mirror(shop: Shop, tmp_path: Path, rate: str) -> None:
    grant = shop.issue(rate)
    clients.lftp_mirror(grant.links["ftp"], tmp_path / "all", parallel=3)
    assert hashes(tmp_path / "all" / shop.folder) == shop.files
    assert [path.name for path in (tmp_path / "all").iterdir()] == [shop.folder], "a mirror must not fetch the zip too"
    shop.complete(grant)


@pytest.mark.databases("sqlite")
def test_lftp_mirror_in_segments(shop: Shop, tmp_path: Path) -> None:
    grant = shop.issue("limited")
    clients.lftp_mirror(grant.links["ftp"], tmp_path / "all", "--use-pget-n=4")
    assert hashes(tmp_path / "all" / shop.folder) == shop.files
    shop.site.wait_for_all(grant)


def test_wget_recursive(shop: Shop, tmp_path: Path) -> None:
    """It follows the folder pages, which must not lead it to everything twice."""
    grant = shop.issue()
    expected = {name.replace("%41", "A"): digest for name, digest in shop.files.items()}
    arguments = [
        "--no-config",
        "--no-verbose",
        "--no-hsts",
        "--recursive",
        "--no-parent",
        "--no-host-directories",
        "--reject=zip",
    ]
    clients.run("wget", [*arguments, "--cut-dirs=2", f"--directory-prefix={tmp_path / 'all'}", grant.links["http"]])
    # wget unquotes a name twice when it makes a file of it, so that a literal %41 becomes an A; and it takes no notice of
    # nofollow, so that it has to be told to leave the zips.
    found = {name.replace("%41", "A"): digest for name, digest in hashes(tmp_path / "all" / shop.folder).items()}
    assert {name: found.get(name) for name in expected} == expected
    assert not list((tmp_path / "all").rglob("*.zip"))
    shop.complete(grant)


@pytest.mark.parametrize("rate", RATES)
def test_aria2_metalink(shop: Shop, tmp_path: Path, rate: str) -> None:
    grant = shop.issue(rate)
    arguments = ["--no-conf=true", "--no-netrc=true", "--console-log-level=warn", "--summary-interval=0", "--follow-metalink=mem"]
    clients.run("aria2c", [*arguments, "-x8", "-s8", "-k1M", f"--dir={tmp_path / 'all'}", grant.links["metalink"]])
    # aria2 leaves an ampersand in a Metalink's name as the entity that it became in XML.
    found = {name.replace("&#38;", "&"): digest for name, digest in hashes(tmp_path / "all" / shop.folder).items()}
    assert found == shop.files
    shop.site.wait_for_all(grant)


def test_aria2_over_both_protocols_at_once(shop: Shop, tmp_path: Path) -> None:
    grant = shop.issue("limited")
    for number, (name, digest) in enumerate(shop.files.items()):
        path = f"{shop.folder}/{name}"
        clients.aria2([grant.http_url(path), grant.ftp_url(path)], tmp_path / f"{number}", connections=4)
        assert sha256(tmp_path / f"{number}") == digest
    shop.site.wait_for_all(grant)


def test_ftplib(shop: Shop) -> None:
    grant = shop.issue()
    host, port = urlsplit(grant.links["ftp"]).hostname, urlsplit(grant.links["ftp"]).port
    assert host
    assert port
    with ftplib.FTP() as ftp:
        ftp.connect(host, port)
        ftp.login("anyone", grant.token)
        assert [name for name, _ in ftp.mlsd(shop.folder)] == list(shop.files)
        for name, size in shop.sizes.items():
            got: list[bytes] = []
            ftp.retrbinary(f"RETR {shop.folder}/{name}", got.append)
            assert sum(map(len, got)) == size == ftp.size(f"{shop.folder}/{name}")
    shop.complete(grant)


def test_http_client_keeps_its_connection(shop: Shop) -> None:
    grant = shop.issue()
    address = urlsplit(grant.links["http"])
    connection = http.client.HTTPConnection(address.netloc)
    for name, size in shop.sizes.items():
        connection.request("GET", address.path + quote(f"{shop.folder}/{name}"))
        assert len(connection.getresponse().read()) == size
    shop.complete(grant)
    connection.close()


@pytest.mark.parametrize("protocol", ["http", "ftp"])
@pytest.mark.parametrize("client", ["curl", "wget"])
def test_resume_after_a_stop(shop: Shop, tmp_path: Path, client: str, protocol: str) -> None:
    """Stopped half-way and started again from what is on the disk: nothing is lost, though parts end and begin within a cut."""
    grant = shop.issue("limited")
    name = f"{shop.folder}/{next(iter(shop.files))}"
    to = tmp_path / "file"
    clients.curl(grant.url(protocol, name), to, "--max-time", "0.7", check=False)
    half = to.stat().st_size
    assert 0 < half < next(iter(shop.sizes.values()))
    if client == "curl":
        clients.curl(grant.url(protocol, name), to, "-C", "-")
    else:
        clients.wget(grant.url(protocol, name), to)
    assert sha256(to) == next(iter(shop.files.values()))
    for other in list(shop.files)[1:]:
        clients.curl(grant.url(protocol, f"{shop.folder}/{other}"), tmp_path / "other")
    shop.site.wait_for_all(grant)


@pytest.mark.parametrize("protocol", ["http", "ftp"])
def test_aria2_stopped_and_resumed(shop: Shop, tmp_path: Path, protocol: str) -> None:
    """Eight segments stopped together half-way complete nothing; resumed, they leave nothing out."""
    grant = shop.issue("limited")
    names = list(shop.files)
    to = tmp_path / "file"
    common = ("--auto-save-interval=1", "--always-resume=true", "--continue=true")
    clients.aria2(grant.url(protocol, f"{shop.folder}/{names[0]}"), to, *common, "--stop=1", connections=8, check=False)
    (item,) = shop.site.grant_show(grant)["items"]
    assert not item["complete"]
    assert item["delivered"] < shop.sizes[names[0]]
    clients.aria2(grant.url(protocol, f"{shop.folder}/{names[0]}"), to, *common, connections=8)
    assert sha256(to) == shop.files[names[0]]
    for other in names[1:]:
        clients.curl(grant.url(protocol, f"{shop.folder}/{other}"), tmp_path / "other")
    shop.site.wait_for_all(grant)


def test_mixed_everything(shop: Shop, tmp_path: Path) -> None:
    """A zip that was broken off, tracks over FTP, and the rest within the zip over HTTP."""
    grant = shop.issue("limited")
    archive = tmp_path / "album.zip"
    clients.curl(grant.http_url(f"{shop.folder}.zip"), archive, "--max-time", "0.6", check=False)
    for name in list(shop.files)[1:3]:
        clients.curl(grant.ftp_url(f"{shop.folder}/{name}"), tmp_path / "track")
    clients.curl(grant.http_url(f"{shop.folder}.zip"), archive, "-C", "-")
    _check_zip(shop, archive, tmp_path / "unpacked")
    shop.site.wait_for_all(grant)
