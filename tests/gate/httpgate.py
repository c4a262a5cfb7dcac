"""A gate over HTTP with albums of many kinds, and a grant of one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from ftpgate import http
from tests.support.inprocess import InProcessGate
from tests.support.media import NASTY_NAMES, write_album
from tests.support.rawhttp import RawClient

SMALL = b"0123456789" * 100


class Shop:
    """One gate, and a grant of one of its folders."""

    def __init__(self, gate: InProcessGate, folder: str = "Album") -> None:
        self.gate = gate
        self.item = gate.item(folder)
        self.token = gate.shop.issue([self.item])
        self.root = f"/d/{self.token.reveal()}/"
        self.small = f"{self.root}Album/small.ogg"
        self.big = f"{self.root}Album/big.ogg"

    def connect(self, **options: int) -> RawClient:
        return RawClient(self.gate.address("http"), **options)

    def url(self, path: str) -> str:
        host, port = self.gate.address("http")
        return f"http://{host}:{port}{self.root}{quote(path)}"


@contextmanager
def gate(folder: Path) -> Iterator[InProcessGate]:
    media = folder / "media"
    write_album(media / "Album", {"big.ogg": 3_000_000, "CD1/inner.ogg": 70_000, "empty.ogg": 0})
    (media / "Album" / "small.ogg").write_bytes(SMALL)
    write_album(media / "Nasty", dict.fromkeys(NASTY_NAMES, 50_000))
    write_album(media / "Pages", dict.fromkeys(("index.html", "index.html.bak", "CD1/index.html", "01.ogg"), 5_000))
    with InProcessGate(media, {"http": http.listen}) as running:
        yield running
