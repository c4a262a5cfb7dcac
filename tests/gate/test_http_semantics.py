"""The HTTP front over real sockets and with real clients: order, framing, errors that arrive, names that trip clients."""

from __future__ import annotations

import html
import http.client
import json
import os
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from ftpgate.http import messages
from tests.gate import httpgate
from tests.gate.httpgate import SMALL, Shop
from tests.support.clients import curl, wget
from tests.support.inprocess import InProcessGate
from tests.support.media import NASTY_NAMES, hashes, sha256
from tests.support.rawhttp import fed, request
from webportal.site import clients


@pytest.fixture(scope="module")
def module_gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGate]:
    with httpgate.gate(tmp_path_factory.mktemp("gate")) as gate:
        yield gate


@pytest.fixture
def shop(module_gate: InProcessGate) -> Shop:
    return Shop(module_gate)


def big(shop: Shop) -> bytes:
    return (shop.gate.media / "Album" / "big.ogg").read_bytes()


# -- requests in any form


@pytest.mark.parametrize("how", ["whole", "bytes", "sevens"])
def test_requests_are_answered_in_order_however_they_come(shop: Shop, how: str) -> None:
    with shop.connect() as client:
        asked = [
            request(shop.small, "Range: bytes=5-9"),
            request(shop.big, method="HEAD"),
            request(shop.small),
            request(f"{shop.root}none"),
            request(shop.big, "Range: bytes=0-199999"),
            request(shop.small, "Connection: close"),
        ]
        fed(client, b"".join(asked), how)
        assert client.reply().body == SMALL[5:10]
        assert client.reply(head=True).headers["content-length"] == "3000000"
        assert client.reply().body == SMALL
        assert client.reply().status == 404
        assert client.reply().body == big(shop)[:200_000]
        last = client.reply()
        assert (last.body, last.headers["connection"]) == (SMALL, "close")
        assert client.ended()


def test_hundreds_of_pipelined_requests_fit_through_a_bounded_buffer(shop: Shop) -> None:
    count = 400
    with shop.connect() as client:
        data = b"".join(request(shop.small, f"Range: bytes={n}-{n}", method="GET") for n in range(count))
        thread = threading.Thread(target=client.send, args=(data,))
        thread.start()
        for n in range(count):
            assert client.reply().body == SMALL[n : n + 1]
        thread.join()


def test_a_hundred_header_fields_are_read(shop: Shop) -> None:
    with shop.connect() as client:
        assert client.ask(shop.small, *(f"X{n}: y" for n in range(99))).reply().body == SMALL  # and Host


def test_version_1_0(shop: Shop) -> None:
    with shop.connect() as client:
        reply = client.ask(shop.small, version="1.0").reply()
        assert (reply.body, reply.headers["connection"]) == (SMALL, "close")
        assert client.ended()
    with shop.connect() as client:
        for _ in range(2):
            reply = client.ask(shop.small, "Connection: keep-alive", version="1.0").reply()
            assert (reply.body, reply.headers["connection"]) == (SMALL, "keep-alive")


def test_absolute_form(shop: Shop) -> None:
    with shop.connect() as client:
        assert client.ask(f"http://elsewhere{shop.small}").reply().body == SMALL


@pytest.mark.parametrize(
    "path",
    [
        "Album/../Album/small.ogg",
        "Album/%2e%2e/Album/small.ogg",
        "Album%2Fsmall.ogg",
        "Album/./small.ogg",
        "..%2f..",
        "Album/small.ogg/",
        "album/small.ogg",
    ],
)
def test_tricks_with_paths_find_nothing(shop: Shop, path: str) -> None:
    with shop.connect() as client:
        assert client.ask(shop.root + path).reply().status == 404


@pytest.mark.parametrize("path", ["/{root}{name}", "//{token}//{name}", "/d///{token}/Album//small.ogg", "///d/{token}/./.."])
def test_a_doubled_slash_is_one(shop: Shop, path: str) -> None:
    token = shop.token.reveal()
    asked = path.format(root=f"/d/{token}/", token=f"d/{token}" if path.startswith("//{") else token, name="Album/small.ogg")
    with shop.connect() as client:
        reply = client.ask(asked).reply()
        assert (reply.status, reply.body == SMALL) == ((404, False) if asked.endswith("..") else (200, True))
        for there in (f"//d/{token}//", f"/d/{token}//downloads.meta4", f"/d//{token}/progress"):
            assert client.ask(there, "Accept: application/json").reply().status == 200


def test_a_path_may_be_encoded_twice_and_in_any_way(shop: Shop) -> None:
    item = shop.gate.item("Nasty", shown="A b 100%")
    root = f"/d/{shop.gate.shop.issue([item]).reveal()}/"
    name = item.files[0].path
    with shop.connect() as client:
        for folder in ("A%20b%20100%25", "A%2520b%2520100%2525", "%41%20%62%20100%25"):
            assert client.ask(root + folder + "/").reply().status == 200
            assert client.ask(f"{root}{folder}/{quote(name)}", method="HEAD").reply(head=True).status == 200
        assert client.ask(f"{root}A%2520b%20none").reply().status == 404
        assert client.ask(root.replace("/d/", "/%64/")).reply().status == 200


def test_a_token_with_line_ends_does_not_split_an_answer(shop: Shop) -> None:
    with shop.connect() as client:
        reply = client.ask(f"/d/{shop.token.reveal()}%0d%0aX-Evil:%201").reply()
        assert reply.status == 404
        reply = client.ask(f"/d/{shop.token.reveal()}%0d%0a").reply()
        assert (reply.status, reply.headers["location"]) == (301, shop.root)
        assert "x-evil" not in reply.headers


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),
        (request("/", "Content-Length: 3") + b"abc", 400),
        (request("/", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
        (request("/", "X: " + "y" * 20_000), 431),
        (request("/" + "y" * 20_000), 431),
        (request("/", *(f"X{n}: y" for n in range(101))), 431),
        (request("/").replace(b"1.1", b"2.0"), 505),
        (request("/", "Content-Length: 3", method="POST") + b"abc", 405),
    ],
)
def test_what_cannot_be_understood_is_answered_and_ends(shop: Shop, data: bytes, status: int) -> None:
    with shop.connect() as client:
        reply = client.send(data).reply()
        assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert reply.body
        assert client.ended()


def test_other_methods(shop: Shop) -> None:
    with shop.connect() as client:
        for method in ("OPTIONS", "DELETE", "PUT", "PROPFIND", "get"):
            reply = client.ask(shop.small, method=method).reply()
            assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
            assert b"Only GET and HEAD" in reply.body
        reply = client.ask(shop.small, "Accept: text/html", method="POST").reply()
        assert reply.body.startswith(b"<!doctype html>")


def test_a_client_that_sends_a_large_body_still_sees_the_refusal(shop: Shop) -> None:
    host, port = shop.gate.address("http")
    connection = http.client.HTTPConnection(host, port, timeout=30)
    connection.request("PUT", shop.small, body=b"x" * 10_000_000)  # all of it is sent before the answer is read
    reply = connection.getresponse()
    assert (reply.status, bool(reply.read())) == (405, True)
    connection.close()


def test_expectations_are_harmless(shop: Shop) -> None:
    with shop.connect() as client:
        assert client.ask(shop.small, "Expect: 100-continue").reply().body == SMALL


# -- pages


def test_the_page_of_a_folder(shop: Shop) -> None:
    with shop.connect() as client:
        assert client.ask(shop.root[:-1]).reply().headers["location"] == shop.root
        assert client.ask(f"{shop.root}Album").reply().headers["location"] == f"{shop.root}Album/"
        root = client.ask(shop.root, "Accept: text/html").reply()
        text = root.body.decode()
        assert root.headers["content-type"] == "text/html; charset=utf-8"
        assert re.search(rf'<a rel=nofollow href="{shop.root}Album.zip"', text)
        assert f'href="{shop.root}Album/"' in text
        assert "default-src 'none'" in root.headers["content-security-policy"]
        inner = client.ask(f"{shop.root}Album/").reply().body.decode()
        for name in ("big.ogg", "small.ogg", "empty.ogg", "CD1/"):
            assert f'href="{shop.root}Album/{name}"' in inner
        assert "/Album/CD1/inner.ogg" in client.ask(f"{shop.root}Album/CD1/").reply().body.decode()


def test_a_folder_as_json(shop: Shop) -> None:
    with shop.connect() as client:
        document = json.loads(client.ask(f"{shop.root}Album/", "Accept: application/json").reply().body)
    by_name = {entry["name"]: entry for entry in document["entries"]}
    assert by_name["small.ogg"]["bytes"] == len(SMALL)
    assert by_name["small.ogg"]["href"] == shop.small
    assert by_name["CD1"]["type"] == "folder"


def test_names_cannot_break_out_of_a_page(shop: Shop) -> None:
    item = shop.gate.item("Album", shown="A & B's [x] #1 100%")
    root = f"/d/{shop.gate.shop.issue([item]).reveal()}/"
    with shop.connect() as client:
        text = client.ask(root).reply().body.decode()
        assert "A &amp; B&#x27;s [x] #1 100%/" in text
        assert f"{root}A%20%26%20B%27s%20%5Bx%5D%20%231%20100%25/" in text
        client.ask(f"{root}%3Cscript%3E", "Accept: text/html")
        assert b"<script" not in client.reply().body


def test_errors_speak_the_clients_language(shop: Shop) -> None:
    with shop.connect() as client:
        for accept, kind in (("text/html", "text/html"), ("*/*", "text/plain"), ("application/json", "application/json")):
            reply = client.ask("/nothing", f"Accept: {accept}").reply()
            assert (reply.status, reply.headers["content-type"].split(";")[0]) == (404, kind)
            assert reply.headers["cache-control"] == "no-store"


def test_small_things(shop: Shop) -> None:
    with shop.connect() as client:
        assert b"Disallow:" in client.ask("/robots.txt").reply().body
        assert client.ask("/favicon.ico").reply().status == 204
        assert client.ask(f"{shop.root}Album/empty.ogg").reply().headers["content-length"] == "0"
        for path in ("/", "/d", "/d/", "/x", "/robots.txt/x"):
            reply = client.ask(path).reply()
            assert (reply.status, reply.headers["x-robots-tag"]) == (404, "noindex")


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize(
    ("path", "accept"), [("downloads.meta4", "*/*"), ("Album/", "text/html"), ("Album/", "application/json")]
)
def test_what_is_long_for_a_large_grant_comes_in_pieces(
    shop: Shop, tmp_path: Path, path: str, accept: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "PIECE", 100)
    curl(shop.url(path), tmp_path / "pieces", f"--http{version}", "-D", str(tmp_path / "head"), "-H", f"Accept: {accept}")
    monkeypatch.undo()
    curl(shop.url(path), tmp_path / "whole", "-H", f"Accept: {accept}")
    assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()
    assert ("Transfer-Encoding: chunked" in (tmp_path / "head").read_text()) is (version == "1.1")


def test_pieces_keep_their_place_among_pipelined_answers(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "PIECE", 100)
    target = f"{shop.root}downloads.meta4"
    with shop.connect() as client:
        client.send(request(target, method="HEAD") + request(target) + request(shop.small, "Connection: close"))
        assert client.reply(head=True).headers["transfer-encoding"] == "chunked"
        data = client.rest()
    head, _, rest = data.partition(b"\r\n\r\n")
    assert b"chunked" in head
    assert b"\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n" in rest
    assert rest.endswith(SMALL)


# -- real clients


def test_curl_resumes(shop: Shop, tmp_path: Path) -> None:
    target = tmp_path / "big.ogg"
    target.write_bytes(big(shop)[:1_234_567])
    curl(shop.url("Album/big.ogg"), target, "-C", "-")
    assert target.read_bytes() == big(shop)


def test_curl_fetches_several_ranges_and_does_not_fetch_what_it_has(shop: Shop, tmp_path: Path) -> None:
    target = tmp_path / "parts"
    curl(shop.url("Album/big.ogg"), target, "-r", "0-9,100-109")
    assert big(shop)[100:110] in target.read_bytes()
    etag = tmp_path / "etag"
    curl(shop.url("Album/small.ogg"), target, "--etag-save", str(etag))
    code = curl(shop.url("Album/small.ogg"), tmp_path / "again", "--etag-compare", str(etag), "-w", "%{http_code}")
    assert code.output == "304"


def test_wget_resumes_and_takes_names_from_the_gate(shop: Shop, tmp_path: Path) -> None:
    target = tmp_path / "big.ogg"
    target.write_bytes(big(shop)[:2_000_000])
    wget(shop.url("Album/big.ogg"), target)
    assert target.read_bytes() == big(shop)


def test_names_that_trip_clients(shop: Shop, tmp_path: Path) -> None:
    item = shop.gate.item("Nasty")
    token = shop.gate.shop.issue([item])
    host, port = shop.gate.address("http")
    for file in item.files:
        url = f"http://{host}:{port}/d/{token.reveal()}/Nasty/{quote(file.path)}"
        curl(url, tmp_path / "one")
        assert sha256(tmp_path / "one") == file.sha256.hex()
        (tmp_path / "named").mkdir(exist_ok=True)
        subprocess.run(["curl", "-qsSgOJ", url], cwd=tmp_path / "named", check=True, timeout=30)
    assert len(os.listdir(tmp_path / "named")) == len(NASTY_NAMES)


def test_the_pages_own_hint_for_wget_takes_everything_once(shop: Shop, tmp_path: Path) -> None:
    curl(shop.url(""), tmp_path / "page", "-H", "Accept: text/html")
    commands = [html.unescape(code) for code in re.findall("<code>(.*?)</code>", (tmp_path / "page").read_text())]
    (command,) = [command for command in commands if command.startswith("wget ")]
    (tmp_path / "got").mkdir()
    subprocess.run([*shlex.split(command), "--no-config", "-q"], cwd=tmp_path / "got", check=True, timeout=60)
    assert hashes(tmp_path / "got") == {f"Album/{name}": value for name, value in hashes(shop.gate.media / "Album").items()}


def test_wget_takes_an_items_own_index_pages_and_leaves_none_of_the_gates(shop: Shop, tmp_path: Path) -> None:
    token = shop.gate.shop.issue([shop.gate.item("Pages")])
    host, port = shop.gate.address("http")
    root = f"http://{host}:{port}/d/{token.reveal()}/"
    curl(root, tmp_path / "page", "-H", "Accept: text/html")
    hint = next(html.unescape(code) for code in re.findall("<code>(wget .*?)</code>", (tmp_path / "page").read_text()))
    portals = clients.wget(clients.Addresses(root, "ftp://x:x@h:21/", f"{root}downloads.meta4"), [])[0].text
    for number, command in enumerate((hint, portals)):
        for _ in range(2):  # the same command again finds nothing left to do
            (tmp_path / f"{number}").mkdir(exist_ok=True)
            subprocess.run([*shlex.split(command), "--no-config", "-q"], cwd=tmp_path / f"{number}", check=True, timeout=60)
            found = hashes(tmp_path / f"{number}")
            assert found == {f"Pages/{name}": value for name, value in hashes(shop.gate.media / "Pages").items()}, command
