"""What is not in memory is read off the loop before it is sent: one cold file must not hold up all other customers."""

from __future__ import annotations

import ftplib
import io
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftpgate import ftp, http
from ftpgate.grants import Tier
from ftpgate.net.sockets import PlainSink
from tests.support.disk import forget, forgetful_folder, in_memory
from tests.support.inprocess import InProcessGate
from tests.support.media import write_album
from tests.support.rawhttp import RawClient

FILES = {"1.ogg": 9_000_000, "2.ogg": 700_000, "3.ogg": 5_000}


@pytest.fixture
def media(tmp_path: Path) -> Iterator[Path]:
    with forgetful_folder(tmp_path) as folder:
        write_album(folder / "Album", FILES)
        yield folder


@pytest.fixture
def gate(media: Path) -> Iterator[InProcessGate]:
    with InProcessGate(media, {"ftp": ftp.listen, "http": http.listen}) as running:
        yield running


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> dict[int, bool]:
    """By descriptor: was what is sent of it first in memory?"""
    found: dict[int, bool] = {}
    sendfile = PlainSink.sendfile

    def watch(self: PlainSink, fd: int, offset: int, count: int) -> int:
        found.setdefault(fd, in_memory(fd, offset))
        return sendfile(self, fd, offset, count)

    monkeypatch.setattr(PlainSink, "sendfile", watch)
    return found


@pytest.mark.parametrize("rate", [0, 50_000_000])
@pytest.mark.parametrize("path", ["Album/1.ogg", "Album.zip"])
@pytest.mark.parametrize("start", [0, 3_000_001])
@pytest.mark.parametrize("protocol", ["ftp", "http"])
def test_cold_files_are_read_before_they_are_sent(
    gate: InProcessGate, media: Path, begun: dict[int, bool], rate: int, path: str, start: int, protocol: str
) -> None:
    item = gate.item("Album")
    token = gate.shop.issue([item], tier=Tier("t", rate, 64)).reveal()
    for name in FILES:
        assert forget(media / "Album" / name)
    if protocol == "http":
        with RawClient(gate.address("http")) as client:
            reply = client.ask(f"/d/{token}/{urllib.parse.quote(path)}", f"Range: bytes={start}-").reply()
            assert reply.status == 206
            body = reply.body
    else:
        taken = io.BytesIO()
        with ftplib.FTP() as client:
            client.connect(*gate.address("ftp"))
            client.login("x", token)
            client.retrbinary(f"RETR {path}", taken.write, rest=start)
        body = taken.getvalue()
    contents = [(media / "Album" / name).read_bytes() for name in FILES]
    if path.endswith(".zip"):
        assert all(content[-4_000:] in body for content in contents)
    else:
        assert body == contents[0][start:]
    assert len(begun) == (len(FILES) if path.endswith(".zip") else 1)
    assert all(begun.values())
