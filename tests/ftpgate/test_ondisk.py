"""Files below the media root: no link leads out, and whatever was done to a file shows."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftpgate import ondisk
from ftpgate.grants import File
from ftpgate.ondisk import LOOK, Identity, difference, may_block, open_below, stat_below, why_not
from tests.support.fuse import mounted


@pytest.fixture(params=["openat2", "walk"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A media root, reached over a link, in which and beside which lies the same; with the call of Linux 5.6, and without."""
    for folder in (tmp_path / "real" / "album", tmp_path / "outside" / "album"):
        folder.mkdir(parents=True)
        (folder / "song").write_text(folder.parent.name)
    (tmp_path / "media").symlink_to("real")
    if request.param == "walk":

        def missing(_top: int, path: str, _flags: int) -> int:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), path)

        monkeypatch.setattr(ondisk, "_openat2", missing)
    return tmp_path / "media"


@pytest.fixture(autouse=True)
def no_leak() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert len(set(os.listdir("/proc/self/fd")) - before) == 0


def text(root: Path, path: str) -> str:
    with os.fdopen(open_below(str(root), path)) as file:
        found = file.read()
        assert Identity.of(stat_below(str(root), path)) == Identity.of(os.fstat(file.fileno()))
    return found


LINKS: dict[str, Callable[[Path], object]] = {
    "none": lambda _: None,
    "file": lambda top: (shutil.move(top / "album" / "song", top / "b"), (top / "album" / "song").symlink_to("../b")),
    "folder": lambda top: (shutil.move(top / "album", top / "disk"), (top / "album").symlink_to("disk")),
    "up and down": lambda top: (shutil.move(top / "album", top / "disk"), (top / "album").symlink_to("./x/../disk/../disk")),
    "chain": lambda top: (
        shutil.move(top / "album", top / "disk"), (top / "b").symlink_to("disk"), (top / "album").symlink_to("b"),
    ),
    "absolute": lambda top: (shutil.move(top / "album", top / "disk"), (top / "album").symlink_to(top.resolve() / "disk")),
    "absolute, over the link to the root": lambda top: (
        shutil.move(top / "album", top / "disk"), (top / "album").symlink_to(top / "disk"),
    ),
    "absolute file": lambda top: (
        shutil.move(top / "album" / "song", top / "other"), (top / "album" / "song").symlink_to(top / "other"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("link", LINKS)
def test_links_that_stay_below_the_root_are_followed(root: Path, link: str) -> None:
    (root / "x").mkdir()
    LINKS[link](root)
    assert text(root, "album/song") == "real"


OUT: dict[str, Callable[[Path], object]] = {
    "file": lambda top: ((top / "album" / "song").unlink(), (top / "album" / "song").symlink_to("../../outside/album/song")),
    "absolute file": lambda top: (
        (top / "album" / "song").unlink(), (top / "album" / "song").symlink_to(top.parent / "outside" / "album" / "song"),
    ),
    "folder": lambda top: (shutil.rmtree(top / "album"), (top / "album").symlink_to("../outside/album")),
    "absolute folder": lambda top: (shutil.rmtree(top / "album"), (top / "album").symlink_to(top.parent / "outside" / "album")),
    "out and in again": lambda top: (shutil.move(top / "album", top / "b"), (top / "album").symlink_to("../real/b")),
    "a name that begins alike": lambda top: (
        shutil.copytree(top / "album", f"{top.resolve()}2"), shutil.rmtree(top / "album"),
        (top / "album").symlink_to(f"{top.resolve()}2"),
    ),
    "absolute and up": lambda top: (
        shutil.rmtree(top / "album"), (top / "album").symlink_to(f"{top.resolve()}/../outside/album"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("link", OUT)
def test_links_that_lead_out_are_refused(root: Path, link: str) -> None:
    OUT[link](root)
    assert (root / "album" / "song").exists()
    with pytest.raises(OSError, match="song") as refused:
        open_below(str(root), "album/song")
    assert refused.value.errno == errno.EXDEV
    assert why_not(refused.value) == "is reached by a link that leads out of the media folder"


def test_no_path_leads_out(root: Path) -> None:
    for path in ("../outside/album/song", "album/../../outside/album/song"):
        with pytest.raises(OSError, match="outside") as refused:
            open_below(str(root), path)
        assert refused.value.errno == errno.EXDEV
    for path, number in (("album/no", errno.ENOENT), ("no/song", errno.ENOENT), ("album/song/x", errno.ENOTDIR)):
        with pytest.raises(OSError, match=r".") as failed:
            open_below(str(root), path)
        assert failed.value.errno == number
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(OSError, match=r".") as endless:
        open_below(str(root), "a/song")
    assert endless.value.errno == errno.ELOOP


def test_a_folder_that_is_exchanged_again_and_again_never_leads_out(root: Path) -> None:
    (root / "link").symlink_to("../outside/album")
    ended = threading.Event()

    def exchange() -> None:
        while not ended.is_set():
            for first, second in (("album", "kept"), ("link", "album"), ("album", "link"), ("kept", "album")):
                (root / first).rename(root / second)

    thread = threading.Thread(target=exchange)
    thread.start()
    found: set[str | int | None] = set()
    try:
        for _ in range(3_000):
            try:
                with os.fdopen(open_below(str(root), "album/song")) as file:
                    found.add(file.read())
            except OSError as error:
                found.add(error.errno)
    finally:
        ended.set()
        thread.join()
    assert found <= {"real", errno.ENOENT, errno.EXDEV, errno.ELOOP, errno.ENOTDIR}


@pytest.mark.parametrize("kind", ["fifo", "folder", "socket"])
def test_what_is_no_file_does_not_hang(root: Path, kind: str) -> None:
    song = root / "album" / "song"
    record = recorded(song)
    song.unlink()
    if kind == "fifo":
        os.mkfifo(song)
    elif kind == "folder":
        song.mkdir()
    else:
        os.mknod(song, stat.S_IFSOCK | 0o600)
    for flags in (LOOK, ondisk.READ) if kind != "socket" else (LOOK,):
        fd = open_below(str(root), "album/song", flags)
        assert difference(record, os.fstat(fd), fd) == "is no regular file any more"
        os.close(fd)


def recorded(path: Path) -> File:
    found = Identity.of(path.stat())
    return File(1, path.name, path.name, found.size, found.mtime_ns, bytes(32), 0, found.ctime_ns, found.inode)


def put_back(path: Path, before: os.stat_result) -> None:
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def overwrite(path: Path) -> None:
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"X")
    put_back(path, before)


def replace(path: Path) -> None:
    before = path.stat()
    new = path.with_name("new")
    new.write_bytes(b"x" * before.st_size)
    put_back(new, before)
    new.rename(path)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "size": (lambda path: os.truncate(path, 2), "has 2 bytes, 5 were imported"),
    "time": (lambda path: os.utime(path), "was written to since it was imported"),
    "bytes": (overwrite, "was written to since it was imported, or its name, owner, permissions or links were changed"),
    "file": (replace, "was replaced by another file since it was imported"),
    "permissions": (lambda path: path.chmod(0o640), "was written to since it was imported, or its name, owner, permissions"),
    "links": (lambda path: path.with_name("2").hardlink_to(path), "was written to since it was imported, or its name"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_shows(tmp_path: Path, change: str) -> None:
    path = tmp_path / "song"
    path.write_bytes(b"music")
    record = recorded(path)
    change_it, expected = CHANGES[change]
    with path.open("rb") as file:
        assert difference(record, os.fstat(file.fileno()), file.fileno()) is None
    change_it(path)
    with path.open("rb") as file:
        found = difference(record, os.fstat(file.fileno()), file.fileno())
    assert found is not None
    assert found.startswith(expected)


def test_what_was_not_recorded_is_not_compared(tmp_path: Path) -> None:
    path = tmp_path / "song"
    path.write_bytes(b"music")
    before = path.stat()
    record = File(1, "", "", 5, before.st_mtime_ns, bytes(32), 0)
    replace(path)
    with path.open("rb") as file:
        assert difference(record, os.fstat(file.fileno()), file.fileno()) is None


def test_numbers_of_inodes_count_only_where_they_last(tmp_path: Path) -> None:
    (tmp_path / "song").write_bytes(b"music")
    with mounted(tmp_path, tmp_path / "fuse"), (tmp_path / "fuse" / "song").open("rb") as file:
        found = os.fstat(file.fileno())
        record = File(1, "", "", 5, found.st_mtime_ns, bytes(32), 0, found.st_ctime_ns, found.st_ino + 1)
        assert difference(record, found, file.fileno()) is None
        with (tmp_path / "song").open("rb") as same:
            assert difference(record, os.fstat(same.fileno()), same.fileno())


def test_where_a_read_may_block(tmp_path: Path) -> None:
    (tmp_path / "song").write_bytes(b"music")
    with mounted(tmp_path, tmp_path / "fuse"), (tmp_path / "fuse" / "song").open("rb") as file:
        assert may_block(file.fileno())
    fd = os.memfd_create("in memory")
    try:
        assert not may_block(fd)
    finally:
        os.close(fd)
