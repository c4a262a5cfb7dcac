"""Files that change under a download: it is cut and never complete, over every protocol, alone and within a zip."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from ftpgate import ftp, http
from ftpgate.grants import Item, Tier
from tests.gate.raw import Download, ftp_get, ftp_reply, http_get
from tests.gate.tlsgate import LISTEN
from tests.support.fuse import SlowDisk, mounted
from tests.support.inprocess import InProcessGate
from tests.support.media import write_album
from tests.support.rawhttp import RawClient
from tests.support.waiting import wait_until

LARGE, SMALL = 30_000_000, 150_000
"""Bytes: more than what lies between gate and client at any time and the steps of 4 MiB; and less."""
SHORT = 4_096
"""Bytes of a receive buffer: what the client does not read stays with the gate."""


class Setting(NamedTuple):
    gate: InProcessGate
    media: Path
    """Where files are changed; the gate may see them over a file system of its own."""


@pytest.fixture(params=["disk", "fuse"])
def setting(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setting]:
    media = shown = tmp_path / "media"
    media.mkdir()
    with ExitStack() as stack:
        if request.param == "fuse":
            shown = tmp_path / "fuse"
            stack.enter_context(mounted(media, shown))
        yield Setting(stack.enter_context(InProcessGate(shown, {"ftp": ftp.listen, "http": http.listen})), media)


def overwrite(song: Path) -> None:
    """Other bytes from end to end, and the time put back."""
    before = song.stat()
    with song.open("r+b") as file:
        file.write(b"X" * before.st_size)
    os.utime(song, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(song: Path) -> None:
    """Another file of the same size and time in its place."""
    new = song.with_name("new")
    shutil.copy2(song, new)
    new.rename(song)


def link_out(song: Path) -> None:
    outside = song.parents[2] / "outside.ogg"
    shutil.copy2(song, outside)
    song.unlink()
    song.symlink_to(outside)


def folder_out(song: Path) -> None:
    """The folder goes elsewhere, and a link is put in its place: the files are the same, and not in the media folder."""
    outside = song.parents[2] / "outside"
    song.parent.rename(outside)
    song.parent.symlink_to(outside)


def other_folder(song: Path) -> None:
    """Another folder in the place of the file's, with a file of the same size and time."""
    kept = song.parents[1] / "kept"
    song.parent.rename(kept)
    shutil.copytree(kept, song.parent)


CHANGES: dict[str, Callable[[Path], object]] = {
    "overwritten": overwrite,
    "truncated": lambda song: os.truncate(song, 1_000),
    "replaced": replace,
    "link out": link_out,
    "folder out": folder_out,
    "other folder": other_folder,
    "removed": Path.unlink,
}


def item(setting: Setting, size: int) -> Item:
    write_album(setting.media / "Album", {"song.ogg": size})
    return setting.gate.item("Album")


def begin(setting: Setting, protocol: str, token: str, name: str) -> Download:
    if protocol == "http":
        return http_get(setting.gate.address("http"), f"/d/{token}/{name}", receive_buffer=SHORT)
    return ftp_get(setting.gate.address("ftp"), token, name, receive_buffer=SHORT)


def read_to_the_end(download: Download) -> bool:
    """Was it an orderly one?"""
    try:
        while download.read(65_536):
            pass
    except ConnectionResetError:
        return False
    return True


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["Album/song.ogg", "Album.zip"])
@pytest.mark.parametrize("protocol", ["http", "ftp"])
def test_a_download_is_cut_when_its_file_changes(setting: Setting, protocol: str, name: str, change: str) -> None:
    album = item(setting, LARGE)
    token = setting.gate.shop.issue([album])
    with begin(setting, protocol, token.reveal(), name) as download:
        assert download.read(1_000_000) == 1_000_000
        CHANGES[change](setting.media / "Album" / "song.ogg")
        assert not read_to_the_end(download)
        if protocol == "ftp":
            assert download._control is not None
            assert ftp_reply(download._control).startswith("426 ")
    setting.gate.settled()
    shop = setting.gate.shop
    wait_until(lambda: list(shop.changed_files) == [album.files[0].id], 10, "the report")
    assert [record.outcome for record in shop.records] == ["error"]
    assert shop.completed == []
    assert all(end < LARGE for _, end in shop.spans(token.grant, album.files[0]))
    assert_refused(setting, token.reveal())


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["Album/song.ogg", "Album.zip"])
@pytest.mark.parametrize("protocol", ["http", "ftp"])
def test_nothing_is_complete_when_the_file_changes_before_the_client_has_read_it(
    setting: Setting, protocol: str, name: str, change: str
) -> None:
    """All of it is with the gate's kernel, so the client gets it whole, perhaps with other bytes than were sold."""
    album = item(setting, SMALL)
    token = setting.gate.shop.issue([album])
    with begin(setting, protocol, token.reveal(), name) as download:
        (transfer,) = setting.gate.call(lambda: list(setting.gate.engine.transfers))
        wait_until(lambda: setting.gate.call(lambda: transfer._body.written) >= SMALL, 10, "all with the kernel")
        CHANGES[change](setting.media / "Album" / "song.ogg")
        read_to_the_end(download)
    setting.gate.settled()
    shop = setting.gate.shop
    if setting.gate.media == setting.media:
        wait_until(lambda: list(shop.changed_files) == [album.files[0].id], 10, "the report")
        assert [record.outcome for record in shop.records] == ["error"]
        assert shop.completed == []
        assert all(end < SMALL for _, end in shop.spans(token.grant, album.files[0]))
        assert shop.records[0].delivered == sum(end - start for start, end in shop.spans(token.grant, album.files[0]))
    # From FUSE all was read into memory before: what the client has is what was sold, and it may be complete.
    assert_refused(setting, token.reveal())


def assert_refused(setting: Setting, token: str) -> None:
    with RawClient(setting.gate.address("http")) as client:
        for name in ("Album/song.ogg", "Album.zip"):
            reply = client.ask(f"/d/{token}/{name}").reply()
            assert reply.status == 503
            assert b"not as it was imported" in reply.body


@pytest.mark.parametrize("protocol", ["http", "ftp"])
def test_what_was_delivered_before_a_change_stays(setting: Setting, protocol: str) -> None:
    write_album(setting.media / "Album", {"1.ogg": SMALL, "2.ogg": LARGE})
    album = setting.gate.item("Album")
    token = setting.gate.shop.issue([album])
    with begin(setting, protocol, token.reveal(), "Album.zip") as download:
        download.read(20_000_000)
        overwrite(setting.media / "Album" / "2.ogg")
        assert not read_to_the_end(download)
    setting.gate.settled()
    assert setting.gate.shop.spans(token.grant, album.files[0]) == [(0, SMALL)]
    assert list(setting.gate.shop.changed_files) == [album.files[1].id]


def test_one_change_ends_all_segments_and_is_told_once(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    album = item(setting, LARGE)
    token = setting.gate.shop.issue([album])
    told: list[object] = []
    monkeypatch.setattr(setting.gate.engine.files, "_report", told.append)
    segments = [http_get(setting.gate.address("http"), f"/d/{token.reveal()}/Album/song.ogg", start) for start in (0, 1, 2)]
    for download in segments:
        download.read(100_000)
    overwrite(setting.media / "Album" / "song.ogg")
    for download in segments:
        read_to_the_end(download)
        download.close()
    setting.gate.settled()
    assert len(told) == 1
    assert [record.outcome for record in setting.gate.shop.records] == ["error"] * 3


# -------------------------------------------------------------- a file system that may not answer


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SlowDisk]:
    """Mounted below the media folder, with an album; nothing of it is kept in memory."""
    write_album(tmp_path / "source" / "Album", {"1.ogg": LARGE, "2.ogg": 1, "3.ogg": 0})
    write_album(tmp_path / "media" / "Fast", {"1.ogg": SMALL})
    with mounted(tmp_path / "source", tmp_path / "media" / "Slow", direct=True) as mount:
        yield mount
        mount.go_on()


@pytest.mark.parametrize("rate", [0, 100_000_000])
@pytest.mark.parametrize("name", ["Album/1.ogg", "Album.zip"])
@pytest.mark.parametrize("protocol", ["http", "ftp", "https", "ftps"])
def test_others_are_served_while_a_disk_does_not_answer(
    tmp_path: Path, disk: SlowDisk, protocol: str, name: str, rate: int
) -> None:
    with InProcessGate(tmp_path / "media", LISTEN, certificate=True) as gate:
        slow, fast = gate.item("Slow/Album", shown="Album"), gate.item("Fast")
        token, other = gate.shop.issue([slow], tier=Tier("t", rate, 64)), gate.shop.issue([fast])
        secure = gate.certificate.trusted() if protocol.endswith("s") else None
        if protocol.startswith("http"):
            download = http_get(gate.address(protocol), f"/d/{token.reveal()}/{name}", secure=secure)
        else:
            download = ftp_get(gate.address(protocol), token.reveal(), name, secure=secure)
        received: list[bytes] = [download.socket.recv(65_536)]
        (transfer,) = gate.call(lambda: list(gate.engine.transfers))
        wait_until(lambda: transfer._body._file is not None, 20, "the file to be open")
        disk.stop()

        def read() -> None:
            while data := download.socket.recv(65_536):
                received.append(data)
                if sum(map(len, received)) == download.length:
                    break

        reader = threading.Thread(target=read)
        reader.start()
        wait_until(lambda: gate.call(lambda: transfer._body.loading), 20, "the transfer to wait for the disk")
        with RawClient(gate.address("http")) as client:
            answer = client.ask(f"/d/{other.reveal()}/Fast/1.ogg").reply()
        assert answer.body == (tmp_path / "media" / "Fast" / "1.ogg").read_bytes()
        assert gate.call(lambda: transfer.outcome) is None
        disk.go_on()
        reader.join(60)
        content = (disk.folder / "Album" / "1.ogg").read_bytes()
        body = b"".join(received)
        assert body == content if name != "Album.zip" else content in body
        download.close()
        gate.accounts_for(token, slow.files[0])


def test_a_disk_that_fails_ends_the_download(tmp_path: Path, disk: SlowDisk) -> None:
    with InProcessGate(tmp_path / "media", {"http": http.listen}) as gate:
        album = gate.item("Slow/Album", shown="Album")
        token = gate.shop.issue([album])
        with http_get(gate.address("http"), f"/d/{token.reveal()}/Album/1.ogg", receive_buffer=SHORT) as download:
            download.read(100_000)
            disk.fail()
            assert not read_to_the_end(download)
        gate.settled()
        assert gate.shop.records[0].outcome == "error"
        assert gate.shop.changed_files[album.files[0].id].startswith("cannot be read (")
