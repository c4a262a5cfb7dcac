"""Requests of HTTP clients that do not run here, in the order and with the headers that their manuals and sources show.

A request is its method, its headers, and what is expected: the status, and which bytes. `{etag}` and `{modified}` are what the
answer before has said. Where an answer ends the connection, the client makes another one, as they all do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import pytest

from ftpgate import http as front
from ftpgate.grants import Item
from ftpgate.tokens import Token
from tests.support.inprocess import InProcessGate
from tests.support.media import write_album
from tests.support.rawhttp import RawClient, Reply
from tests.support.waiting import wait_until

SIZE = 1_000_000
NAME = "01 Café & Ёлка.ogg"
OTHER = '"another"'
LONG_AGO = "Sat, 01 Jan 2000 00:00:00 GMT"


class Ask(NamedTuple):
    """One request.

    Attributes:
        headers: lines, `{etag}` and `{modified}` filled in.
        status: of the answer.
        span: which bytes it has to hold; None when it holds none of the file.
    """

    headers: tuple[str, ...]
    status: int = 200
    span: tuple[int, int] | None = (0, SIZE)
    method: str = "GET"

    @property
    def partial(self) -> bool:
        return self.status == 206


BITS = ("Accept: */*", "Accept-Encoding: identity", "User-Agent: Microsoft BITS/7.8", "Connection: Keep-Alive")
SAFARI = ("Accept: */*", "Accept-Encoding: identity", "User-Agent: AppleCoreMedia/1.0.0.21F79 (iPhone; U; CPU OS 17_5)",
          "X-Playback-Session-Id: 5F6E3A52-4C93-4F4B-8C08-0B1D1C2F1B0A", "Connection: keep-alive")  # fmt: skip
SAFARI_DOWNLOAD = ("Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Encoding: gzip, deflate")
ANDROID = (
    "User-Agent: AndroidDownloadManager/14 (Linux; U; Android 14; Pixel 8)",
    "Accept-Encoding: identity",
    "Connection: close",
)
CHROME = ("Accept: text/html,*/*;q=0.8", "Accept-Encoding: gzip, deflate, br, zstd", "Sec-Fetch-Mode: navigate")


def _ranges(*bounds: int) -> Iterator[tuple[str, tuple[int, int]]]:
    for start, end in pairwise(bounds):
        yield f"Range: bytes={start}-{end - 1}", (start, end)


DIALOGUES: dict[str, tuple[Ask, ...]] = {
    # The size by HEAD, then closed ranges, each on condition that the file has not changed; as the network allows, of any size.
    "BITS": (
        Ask(BITS, 200, None, "HEAD"),
        *(Ask((*BITS, line, "If-Unmodified-Since: {modified}"), 206, span)
          for line, span in _ranges(0, 3_000, 10_000, 70_000, 332_144, 856_432, SIZE)),
    ),
    "BITS, by the tag": (
        Ask(BITS, 200, None, "HEAD"),
        *(Ask((*BITS, line, "If-Match: {etag}"), 206, span) for line, span in _ranges(0, 524_288, SIZE)),
    ),
    "BITS, If-Range": (
        Ask(BITS, 200, None, "HEAD"),
        Ask((*BITS, "Range: bytes=0-399999", "If-Range: {modified}"), 206, (0, 400_000)),
        Ask((*BITS, f"Range: bytes=400000-{SIZE - 1}", "If-Range: {etag}"), 206, (400_000, SIZE)),
    ),
    "BITS, the file has changed": (
        Ask(BITS, 200, None, "HEAD"),
        Ask((*BITS, "Range: bytes=0-2999", f"If-Unmodified-Since: {LONG_AGO}"), 412, None),
        Ask((*BITS, "Range: bytes=0-2999", f"If-Match: {OTHER}"), 412, None),
        Ask((*BITS, "Range: bytes=0-2999", f"If-Range: {OTHER}"), 200),
    ),
    # A player asks for two bytes, to see whether ranges work and how long the whole is; then for all, and for what it seeks to.
    "Safari, playing": (
        Ask((*SAFARI, "Range: bytes=0-1"), 206, (0, 2)),
        Ask((*SAFARI, f"Range: bytes=0-{SIZE - 1}"), 206),
        Ask((*SAFARI, f"Range: bytes=917504-{SIZE - 1}"), 206, (917_504, SIZE)),
        Ask((*SAFARI, "Range: bytes=65536-131071"), 206, (65_536, 131_072)),
        Ask((*SAFARI, f"Range: bytes={SIZE}-"), 416, None),
    ),
    "Safari, download resumed": (
        Ask((*SAFARI_DOWNLOAD, "Range: bytes=0-299999"), 206, (0, 300_000)),
        Ask((*SAFARI_DOWNLOAD, "Range: bytes=300000-", "If-Range: {etag}"), 206, (300_000, SIZE)),
    ),
    "Android's DownloadManager": (
        Ask((*ANDROID, "Range: bytes=0-249999"), 206, (0, 250_000)),
        Ask((*ANDROID, "If-Match: {etag}", "Range: bytes=250000-"), 206, (250_000, SIZE)),
    ),
    "Android's DownloadManager, the file has changed": (
        Ask(ANDROID),
        Ask((*ANDROID, f"If-Match: {OTHER}", "Range: bytes=250000-"), 412, None),
    ),
    "Chrome, in three pieces": (
        Ask((*CHROME, "Range: bytes=0-333333"), 206, (0, 333_334)),
        Ask((*CHROME, "Range: bytes=333334-666666", "If-Range: {etag}"), 206, (333_334, 666_667)),
        Ask((*CHROME, "Range: bytes=666667-", "If-Range: {etag}"), 206, (666_667, SIZE)),
    ),
    "Chrome, resumed by the time": (
        Ask((*CHROME, "Range: bytes=0-0"), 206, (0, 1)),
        Ask((*CHROME, "Range: bytes=1-", "If-Range: {modified}"), 206, (1, SIZE)),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGate]:
    media = tmp_path_factory.mktemp("dialogues") / "media"
    write_album(media / "Album", {NAME: SIZE})
    long_since = time.time() - 86_400  # a time of a moment ago proves nothing (RFC 9110 section 8.8.2.2)
    os.utime(media / "Album" / NAME, (long_since, long_since))
    with InProcessGate(media, {"http": front.listen}) as gate:
        yield gate


@pytest.fixture
def item(gate: InProcessGate) -> Item:
    return gate.item("Album")


class _Client:
    """Keeps its connection until an answer ends it."""

    def __init__(self, gate: InProcessGate, path: str) -> None:
        self.gate, self.path = gate, path
        self.connection: RawClient | None = None
        self.values = {"etag": "", "modified": ""}

    def ask(self, ask: Ask) -> Reply:
        if self.connection is None:
            self.connection = RawClient(self.gate.address("http"))
        lines = tuple(line.format(**self.values) for line in ask.headers)
        reply = self.connection.ask(self.path, *lines, method=ask.method).reply(head=ask.method == "HEAD")
        if reply.status < 300:
            self.values = {"etag": reply.headers["etag"], "modified": reply.headers["last-modified"]}
        closes = any(line.lower() == "connection: close" for line in lines)
        if closes or reply.headers.get("connection", "").lower() == "close":
            self.close()
        return reply

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def _encoded(name: str) -> str:
    return "".join(f"%{byte:02x}" if byte > 127 or chr(byte) in " &" else chr(byte) for byte in name.encode())


@pytest.mark.parametrize("client", DIALOGUES)
def test_dialogue(gate: InProcessGate, token: Token, item: Item, client: str) -> None:
    """What each answer holds; and all that was fetched counts as delivered, all of it completes the grant."""
    whole = (gate.media / "Album" / NAME).read_bytes()
    speaker = _Client(gate, f"/d/{token.reveal()}/Album/{_encoded(NAME)}")
    fetched: set[int] = set()
    for number, ask in enumerate(DIALOGUES[client]):
        reply = speaker.ask(ask)
        where = f"request {number} of {client}"
        assert reply.status == ask.status, where
        if ask.status == 412:
            continue
        assert reply.headers["accept-ranges"] == "bytes", where
        if ask.method == "HEAD":
            assert reply.headers["content-length"] == str(SIZE), where
        if ask.status == 416:
            assert reply.headers["content-range"] == f"bytes */{SIZE}", where
        if ask.span is None:
            continue
        start, end = ask.span
        assert reply.body == whole[start:end], where
        assert reply.headers["content-length"] == str(end - start), where
        assert reply.headers["content-type"].startswith("audio/"), where
        assert "content-encoding" not in reply.headers, where
        if ask.partial:
            assert reply.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}", where
        fetched.update(range(start // 1000, end // 1000))
    speaker.close()
    if len(fetched) == SIZE // 1000:
        wait_until(lambda: token.grant in gate.shop.completed, 10, "completion")


def test_several_ranges_have_headers_that_bits_understands(gate: InProcessGate, token: Token) -> None:
    """Content-Range, Content-Type and few others before the bytes of a part; one empty line at most before the first boundary."""
    speaker = _Client(gate, f"/d/{token.reveal()}/Album/{_encoded(NAME)}")
    reply = speaker.ask(Ask((*BITS, "Range: bytes=0-99,500000-500099"), 206))
    boundary = reply.headers["content-type"].partition("boundary=")[2]
    before, first, second, after = reply.body.split(f"--{boundary}".encode())
    assert before in (b"", b"\r\n")
    assert after == b"--\r\n"
    for part, span in ((first, (0, 100)), (second, (500_000, 500_100))):
        head, _, body = part.partition(b"\r\n\r\n")
        names = {line.partition(b":")[0] for line in head.strip().split(b"\r\n")}
        assert names == {b"Content-Type", b"Content-Range"}
        assert body.removesuffix(b"\r\n") == (gate.media / "Album" / NAME).read_bytes()[slice(*span)]
    speaker.close()


@pytest.mark.parametrize("wanted", ["Album", "Album/"])
def test_explorers_and_offices_probe_with_methods_of_webdav(gate: InProcessGate, token: Token, wanted: str) -> None:
    """Windows and Office ask so of any address that is opened from them, and must hear that there is no WebDAV."""
    for method in ("OPTIONS", "PROPFIND"):
        with RawClient(gate.address("http")) as client:
            reply = client.ask(
                f"/d/{token.reveal()}/{wanted}", "User-Agent: Microsoft-WebDAV-MiniRedir/10.0", method=method
            ).reply()
        assert reply.status == 405
        assert reply.headers["allow"] == "GET, HEAD"
        assert "dav" not in reply.headers
