"""What is described for programs: Metalinks, the `Link` to them, and pages for those that follow every link."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

import pytest

from ftpgate import http as front
from tests.gate import httpgate
from tests.gate.httpgate import SMALL, Shop
from tests.support.clients import curl
from tests.support.inprocess import InProcessGate
from tests.support.media import NASTY_NAMES, hashes, sha256, write_album
from tests.support.tools import clean_environment, require_tool
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def module_gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGate]:
    with httpgate.gate(tmp_path_factory.mktemp("gate")) as gate:
        yield gate


@pytest.fixture
def shop(module_gate: InProcessGate) -> Shop:
    return Shop(module_gate)


def test_metalink(shop: Shop) -> None:
    with shop.connect() as client:
        reply = client.ask(f"{shop.root}downloads.meta4").reply()
    assert reply.headers["content-type"] == "application/metalink4+xml"
    space = {"m": "urn:ietf:params:xml:ns:metalink"}
    found = ET.fromstring(reply.body)
    names = {file.attrib["name"]: file for file in found.findall("m:file", space)}
    assert set(names) == {f"Album/{name}" for name in ("big.ogg", "CD1/inner.ogg", "empty.ogg", "small.ogg")}
    small = names["Album/small.ogg"]
    assert small.findtext("m:size", namespaces=space) == str(len(SMALL))
    assert small.findtext("m:hash", namespaces=space) == sha256(shop.gate.media / "Album" / "small.ogg")
    assert small.findtext("m:url", namespaces=space) == f"http://test{shop.small}"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("", {"Album/big.ogg", "Album/CD1/inner.ogg", "Album/empty.ogg", "Album/small.ogg"}),
        ("Album/", {"Album/big.ogg", "Album/CD1/inner.ogg", "Album/empty.ogg", "Album/small.ogg"}),
        ("Album/CD1/", {"Album/CD1/inner.ogg"}),
        ("Album/small.ogg", {"small.ogg"}),
        ("Album/CD1/inner.ogg", {"inner.ogg"}),
        ("Album.zip", {"Album.zip"}),
    ],
)
def test_answers_name_the_metalink_that_describes_them(shop: Shop, path: str, names: set[str], method: str) -> None:
    """RFC 6249, section 4; the address is relative to the one that was asked for."""
    with shop.connect() as client:
        link = client.ask(shop.root + quote(path), method=method).reply(head=method == "HEAD").headers["link"]
        found = re.fullmatch(r'<([^>]+)>; rel=describedby; type="application/metalink4\+xml"', link)
        assert found
    with shop.connect() as client:
        reply = client.ask(urljoin(shop.root + quote(path), found[1])).reply()
    assert (reply.status, reply.headers["content-type"]) == (200, "application/metalink4+xml")
    space = {"m": "urn:ietf:params:xml:ns:metalink"}
    files = ET.fromstring(reply.body).findall("m:file", space)
    assert {file.attrib["name"] for file in files} == names
    for file in files:
        address = urlsplit(file.findtext("m:url", namespaces=space) or "")
        with shop.connect() as client:
            assert client.ask(address.path, method="HEAD").reply(head=True).headers["content-length"] == file.findtext(
                "m:size", namespaces=space
            )


def test_answers_to_ranges_and_conditions_name_it_too(shop: Shop) -> None:
    with shop.connect() as client:
        assert "link" in client.ask(shop.small, "Range: bytes=0-1").reply().headers
    with shop.connect() as client:
        assert "link" in client.ask(shop.small, "Range: bytes=0-1,5-6").reply().headers


@pytest.mark.parametrize(
    "path", [".meta4", "Album/.meta4", "Album/no.ogg.meta4", "Album/small.ogg.meta4.meta4", "Album/small.ogg/.meta4"]
)
def test_there_is_no_metalink_of_what_is_not_there(shop: Shop, path: str) -> None:
    with shop.connect() as client:
        assert client.ask(shop.root + path).reply().status == 404


def test_a_file_that_is_a_metalink_is_sent_as_it_is(tmp_path: Path) -> None:
    write_album(tmp_path / "media" / "Album", {"a.ogg": 5_000, "a.ogg.meta4": 70})
    with InProcessGate(tmp_path / "media", {"http": front.listen}) as gate:
        shop = Shop(gate)
        with shop.connect() as client:
            assert client.ask(f"{shop.root}Album/a.ogg.meta4").reply().body == (tmp_path / "media/Album/a.ogg.meta4").read_bytes()


@pytest.mark.parametrize("number", range(len(NASTY_NAMES)))
def test_aria2_takes_the_metalink_that_an_answer_names(shop: Shop, tmp_path: Path, number: int) -> None:
    shop = Shop(shop.gate, "Nasty")
    name = NASTY_NAMES[number]
    curl(shop.url(f"Nasty/{name}"), tmp_path / "body", "-D", str(tmp_path / "head"))
    found = re.search(r"^link: <([^>]+)>", (tmp_path / "head").read_text(), re.I | re.M)
    assert found
    options = ["--no-conf=true", "--quiet", "--disable-ipv6=true", "--check-integrity=true", f"--dir={tmp_path / 'got'}"]
    address = urljoin(shop.url(f"Nasty/{name}"), found[1])
    subprocess.run(["aria2c", *options, "--follow-metalink=mem", address], check=True, timeout=60)
    assert list(hashes(tmp_path / "got").values()) == [sha256(shop.gate.media / "Nasty" / name)]


def test_aria2_takes_the_metalink(shop: Shop, tmp_path: Path) -> None:
    curl(shop.url("downloads.meta4"), tmp_path / "downloads.meta4")
    document = (tmp_path / "downloads.meta4").read_text()
    assert shop.root in document
    options = ["--no-conf=true", "--quiet", "--disable-ipv6=true", "--check-integrity=true", f"--dir={tmp_path / 'got'}"]
    subprocess.run(["aria2c", *options, str(tmp_path / "downloads.meta4")], check=True, timeout=60)
    assert hashes(tmp_path / "got" / "Album") == hashes(shop.gate.media / "Album")
    wait_until(lambda: shop.token.grant in shop.gate.shop.completed, 10, "the completion")


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", True), ("curl/8.5.0", True), ("", True),
        ("rclone/v1.60.1", False), ("lftp/4.9.2", False), ("Wget/1.21.3", False), ("wget2/2.1.0", False),
        ("Mozilla/4.5 (compatible; HTTrack 3.0x; Windows 98)", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["", "Album/"])
def test_zips_are_shown_to_those_who_do_not_follow_every_link(shop: Shop, path: str, agent: str, shown: bool) -> None:
    with shop.connect() as client:
        reply = client.ask(shop.root + path, "Accept: text/html", f"User-Agent: {agent}").reply()
    assert (b"Album.zip" in reply.body) is shown
    assert "User-Agent" in reply.headers["vary"]


def test_recursive_clients_fetch_everything_once(shop: Shop, tmp_path: Path) -> None:
    """By the pages, without being told to leave anything out."""
    environment = clean_environment(tmp_path) | {"RCLONE_CONFIG": "/dev/null"}
    commands = {
        "rclone": ["copy", "--http-url", shop.url(""), ":http:", "."],
        "lftp": ["--norc", "-c", f"mirror {shop.url('')} ."],
    }
    for tool, arguments in commands.items():
        (tmp_path / tool).mkdir()
        subprocess.run([require_tool(tool), *arguments], cwd=tmp_path / tool, env=environment, check=True, timeout=60)
        assert hashes(tmp_path / tool) == {f"Album/{name}": value for name, value in hashes(shop.gate.media / "Album").items()}
