"""Descriptors shared by downloads, and files that are not what they were."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftpgate.delivery import files as module
from ftpgate.delivery.files import FRESH, KEPT_FOR, FileStore, OpenFile
from ftpgate.delivery.sent_files import SentFiles
from ftpgate.errors import ChangedFile, GateError, Unavailable
from ftpgate.grants import File
from ftpgate.ondisk import Identity
from tests.support.disk import forget, forgetful_folder, in_memory
from tests.support.fuse import SlowDisk, mounted
from tests.support.waiting import wait_until


class Threads:
    """Work waits until the test lets it be done."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[[], Any], Callable[[Any, GateError | None], None]]] = []
        self.full = False

    def submit(self, work: Callable[[], Any], done: Callable[[Any, GateError | None], None]) -> None:
        if self.full:
            raise Unavailable()
        self.jobs.append((work, done))

    def run(self) -> int:
        jobs, self.jobs = self.jobs, []
        for work, done in jobs:
            try:
                result = work()
            except GateError as error:
                done(None, error)
            else:
                done(result, None)
        return len(jobs)


class Store:
    disk: SlowDisk

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 1_000.0
        self.threads = Threads()
        self.reports: dict[int, str] = {}
        self.answers: list[GateError | None] = []
        self.store = FileStore(root, self.threads, self._report)  # type: ignore[arg-type]

    def _report(self, files: Mapping[int, str]) -> None:
        self.reports.update(files)

    def file(self, name: str, content: bytes = b"music") -> File:
        path = self.root / name
        path.write_bytes(content)
        return self.recorded(len(list(self.root.iterdir())), name)

    def recorded(self, key: int, name: str) -> File:
        """A file as it is on the disk, as if imported or verified now."""
        found = Identity.of((self.root / name).stat())
        return File(key, name, name, found.size, found.mtime_ns, bytes(32), 0, found.ctime_ns, found.inode)

    def opened(self, file: File) -> OpenFile:
        assert self.prepare(file) is None
        opened = self.store.acquire(file)
        assert opened is not None
        return opened

    def prepare(self, *files: File) -> GateError | None:
        self.store.prepare(files, self.answers.append)
        self.threads.run()
        return self.answers.pop()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    made = Store(tmp_path)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_one_descriptor_for_all(store: Store) -> None:
    file = store.file("a")
    assert store.store.acquire(file) is None
    assert store.prepare(file) is None
    first, second = store.store.acquire(file), store.store.acquire(file)
    assert first is second
    assert first is not None
    assert os.pread(first.fd, 9, 0) == b"music"


def test_asked_by_many_opened_once(store: Store) -> None:
    file = store.file("a")
    for _ in range(16):
        store.store.fetch(file, store.answers.append)
    assert store.threads.run() == 1
    assert store.answers == [None] * 16


@pytest.mark.parametrize("others", [0, 3])
def test_one_that_changed_right_after_a_download_is_not_served_once_more(store: Store, others: int) -> None:
    more = [store.file(f"b{n}") for n in range(others)]
    file = store.file("a")
    assert store.prepare(*more, file) is None
    (store.root / "a").write_bytes(b"noise")
    os.utime(store.root / "a", ns=(0, file.mtime_ns + 1))
    assert isinstance(store.prepare(*more, file), ChangedFile)
    assert store.store.acquire(file) is None


def test_within_a_transfer_a_fresh_check_is_not_repeated(store: Store) -> None:
    file = store.file("a")
    store.prepare(file)
    assert store.store.acquire(file) is not None
    store.now += FRESH / 2
    assert store.store.acquire(file) is not None
    assert not store.threads.jobs


@pytest.mark.parametrize("change", ["size", "time", "gone", "folder"])
@pytest.mark.parametrize("others", [0, 3])
def test_a_changed_file_is_refused_and_reported(store: Store, change: str, others: int) -> None:
    more = [store.file(f"b{n}") for n in range(others)]
    file = store.file("a")
    path = store.root / "a"
    if change == "size":
        path.write_bytes(b"musick")
    elif change == "time":
        os.utime(path, ns=(0, file.mtime_ns + 1))
    else:
        path.unlink()
        if change == "folder":
            path.mkdir()
    assert isinstance(store.prepare(*more, file), ChangedFile)
    assert list(store.reports) == [file.id]


def test_one_that_stayed_open_is_checked_again_before_it_is_served(store: Store) -> None:
    """A zip comes to its thirtieth file an hour after somebody else had it: the descriptor is there, the bytes are not."""
    file = store.file("a")
    store.prepare(file)
    held = store.store.acquire(file)
    assert held is not None
    store.now += 2 * FRESH
    (store.root / "a").write_bytes(b"noise")
    os.utime(store.root / "a", ns=(0, file.mtime_ns + 10**9))
    assert store.store.acquire(file) is None
    store.store.fetch(file, store.answers.append)
    store.threads.run()
    assert isinstance(store.answers.pop(), ChangedFile)
    assert store.store.acquire(file) is None
    assert is_open(held.fd), "who is sending from it has to find out"
    store.store.release(held)
    os.utime(store.root / "a", ns=(0, file.mtime_ns))
    assert isinstance(store.prepare(file), ChangedFile), "the time stamp alone is soon put back"


def test_a_file_found_changed_is_closed_at_once(store: Store) -> None:
    file = store.file("a")
    store.prepare(file)
    held = store.store.acquire(file)
    assert held is not None
    store.store.release(held)
    store.now += 2 * FRESH
    (store.root / "a").unlink()
    assert isinstance(store.prepare(file), ChangedFile)
    assert not is_open(held.fd)


def test_a_burst_of_segments_of_a_zip_costs_one_check(store: Store) -> None:
    files = [store.file(f"{n}") for n in range(5)]
    for _ in range(16):
        store.store.prepare(files, store.answers.append)
    assert store.threads.run() == 1
    assert store.answers == [None] * 16
    store.store.prepare(files[:3], store.answers.append)
    assert store.threads.run() == 1


def test_checks_are_not_remembered_for_longer_than_they_are_good(store: Store) -> None:
    for n in range(5):
        store.prepare(store.file(f"{n}"), store.file(f"{n} too"))
        store.now += 2 * FRESH
    store.prepare(store.file("last"))
    assert len(store.store._checked) == 1


def test_one_that_fails_to_hear_leaves_no_other_waiting(store: Store) -> None:
    file = store.file("a")

    def fail(_error: GateError | None) -> None:
        raise RuntimeError

    for done in (store.answers.append, fail, store.answers.append):
        store.store.fetch(file, done)
    store.threads.run()
    assert store.answers == [None, None]


def test_too_much_work_is_said_at_once_and_forgotten(store: Store) -> None:
    file, other = store.file("a"), store.file("b")
    store.threads.full = True
    for files in ([file], [file, other]):
        with pytest.raises(Unavailable):
            store.store.prepare(files, store.answers.append)
    store.threads.full = False
    assert store.prepare(file, other) is None
    assert store.prepare(file) is None


def test_running_out_of_descriptors_is_not_the_files_fault(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    file = store.file("a")
    taken = os.open(os.devnull, os.O_RDONLY)  # the lowest that was free
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 1, hard))
        error = store.prepare(file)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(taken)
    assert isinstance(error, Unavailable)
    assert store.reports == {}
    assert store.prepare(file) is None


def test_what_nobody_uses_is_closed_after_a_while(store: Store) -> None:
    """A purged album frees its room on the disk although the gate goes on."""
    file, other = store.file("a"), store.file("b")
    for each in (file, other):
        store.prepare(each)
    used, spare = store.store.acquire(file), store.store.acquire(other)
    assert used is not None
    assert spare is not None
    store.store.release(spare)
    store.now += KEPT_FOR - 1
    store.store.tidy()
    assert is_open(spare.fd)
    store.now += 2
    store.store.tidy()
    assert not is_open(spare.fd)
    assert is_open(used.fd)
    store.store.release(used)
    store.store.close()
    assert not is_open(used.fd)


@pytest.fixture
def cold(store: Store, tmp_path: Path) -> Iterator[File]:
    """A file of 12 MB, none of which is in memory."""
    with forgetful_folder(tmp_path) as folder:
        store.root = folder
        store.store = FileStore(folder, store.threads, store._report)  # type: ignore[arg-type]
        file = store.file("cold", os.urandom(12_000_000))
        assert forget(folder / "cold")
        yield file
        store.store.close()


def ask(store: Store, opened: module.OpenFile, done: Callable[[], None] | None = None) -> int:
    """Have cold pages read; where: now and then a fast disk has brought a page before the question itself is over."""
    for offset in range(1_000_000, 9_000_000, 1_000_000):
        if store.store.warm(opened, offset, done):
            return offset
        assert in_memory(opened.fd, offset), "neither in memory nor to be read"
    pytest.fail("no page was found on the disk, of eight places that are not in memory")


def test_cold_pages_are_fetched_ahead_off_the_loop(store: Store, cold: File) -> None:
    store.prepare(cold)
    opened = store.store.acquire(cold)
    assert opened is not None
    offset = ask(store, opened)
    ahead = offset + 3_000_000
    assert not in_memory(opened.fd, ahead), "read on the loop"  # asking sets the disk to work on the next 128 kB
    assert store.threads.run() == 1
    wait_until(lambda: in_memory(opened.fd, offset) and in_memory(opened.fd, ahead))
    assert not store.store.warm(opened, offset)
    assert not store.store.warm(opened, cold.size)
    assert not store.threads.jobs
    assert opened.users == 1


def test_who_waits_for_cold_pages_is_told_when_they_have_come(store: Store, cold: File) -> None:
    store.prepare(cold)
    opened = store.store.acquire(cold)
    assert opened is not None
    come: list[bool] = []
    offset = ask(store, opened, lambda: come.append(in_memory(opened.fd, offset)))
    assert come == []
    store.threads.run()
    assert come == [True]
    assert not store.store.warm(opened, offset, lambda: come.append(False))
    assert come == [True]


@pytest.mark.parametrize("full", [False, True])
def test_a_descriptor_outlives_the_reading_ahead_and_no_longer(store: Store, cold: File, full: bool) -> None:
    store.prepare(cold)
    opened = store.store.acquire(cold)
    assert opened is not None
    store.threads.full = full
    if full:
        assert not store.store.warm(opened, 6_000_000)
    else:
        ask(store, opened)
    store.store.release(opened)
    store.now += 2 * KEPT_FOR
    store.store.tidy()
    assert is_open(opened.fd) is not full
    store.threads.run()
    store.now += 2 * KEPT_FOR
    store.store.tidy()
    assert not is_open(opened.fd)


@pytest.mark.parametrize("others", [0, 3])
def test_a_file_that_was_restored_and_verified_is_opened_anew(store: Store, others: int) -> None:
    """The same bytes copied back over a lost file: who was sending from the old one is cut, and nobody is told of a change."""
    more = [store.file(f"b{n}") for n in range(others)]
    file = store.file("a")
    old = store.opened(file)
    restore(store.root / "a")
    again = store.recorded(file.id, "a")
    assert store.prepare(*more, again) is None
    if others:
        assert store.store.acquire(again) is None, "a zip's files are looked at, and not opened yet"
    new = store.opened(again)
    assert new is not old
    assert not store.store.unchanged(old)
    assert store.store.unchanged(new, path=True)
    assert store.reports == {}
    fd = old.fd
    store.store.release(old)
    assert not is_open(fd)
    assert os.pread(new.fd, 9, 0) == b"music"


def restore(path: Path) -> None:
    """Another file with the same bytes and time."""
    before, new = path.stat(), path.with_name("new")
    new.write_bytes(path.read_bytes())
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.rename(path)


def overwrite(path: Path) -> None:
    """Another byte, and the time put back."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"X")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def move_out(path: Path) -> None:
    """Its folder to outside of the media root, with a link to there in its place: the same file."""
    outside = path.parents[2] / "outside"
    path.parent.rename(outside)
    path.parent.symlink_to(outside)


def link_out(path: Path) -> None:
    """A link to another one outside of the media root in its place."""
    outside = path.parents[2] / "outside"
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)


def link_inside(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("other")


IN_PLACE: dict[str, Callable[[Path], object]] = {
    "overwritten": overwrite, "truncated": lambda path: os.truncate(path, 3), "touched": os.utime,
    "removed": Path.unlink, "replaced": restore, "renamed": link_inside, "link out": link_out,
}  # fmt: skip
"""What the descriptor shows as well."""
BY_PATH: dict[str, Callable[[Path], object]] = {
    "moved out": move_out,
    "other folder": lambda path: (path.parent.rename(path.parents[1] / "away"), path.parent.mkdir(), restored(path)),
}
"""What only the path shows."""


def restored(path: Path) -> None:
    path.write_bytes(b"music")


@pytest.fixture(params=["disk", "fuse", "fuse that keeps nothing"])
def anywhere(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> Iterator[Store]:
    """A store of a folder `media`, on a disk or on a file system that knows no RWF_NOWAIT; files are written to `store.root`."""
    store.root = tmp_path / "media"
    (store.root / "album").mkdir(parents=True)
    with ExitStack() as stack:
        shown = store.root
        if request.param != "disk":
            shown = tmp_path / "fuse"
            stack.enter_context(mounted(store.root, shown, direct=request.param != "fuse"))
        store.store = FileStore(shown, store.threads, store._report)  # type: ignore[arg-type]
        yield store
        store.store.close()
        store.threads.run()


@pytest.mark.parametrize("change", [*IN_PLACE, *BY_PATH])
def test_what_changes_while_it_is_sent_is_not_credited_and_is_reported(anywhere: Store, change: str) -> None:
    store = anywhere
    file = store.file("album/a")
    opened = store.opened(file)
    assert sent(store, opened) == b"music"
    (IN_PLACE | BY_PATH)[change](store.root / "album" / "a")
    assert sent(store, opened) is None
    assert list(store.reports) == [file.id]
    assert store.reports[file.id]
    assert sent(store, opened) is None
    assert store.store.acquire(file) is None
    assert isinstance(store.prepare(file), ChangedFile)
    fd = opened.fd
    store.store.release(opened)
    store.threads.run()
    assert not is_open(fd)


def sent(store: Store, opened: OpenFile, *, path: bool = True) -> bytes | None:
    """What would be credited of a file that is sent whole."""
    if not opened.may_block:
        data = os.pread(opened.fd, 100, 0)
        return data if store.store.unchanged(opened, path=path) else None
    read: list[bytes | None] = []
    store.store.read(opened, 0, opened.size if path else opened.size + 1, read.append)
    assert read == []
    store.threads.run()
    assert store.store.unchanged(opened) is (read != [None])
    return read[0]


def test_a_folder_that_only_moved_within_the_media_root_is_served(anywhere: Store) -> None:
    store = anywhere
    opened = store.opened(store.file("album/a"))
    (store.root / "album").rename(store.root / "disk2")
    (store.root / "album").symlink_to("disk2")
    assert sent(store, opened) == b"music"


def test_the_path_is_looked_at_once_a_second(store: Store, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    opened = store.opened(store.file("album/a"))
    BY_PATH["other folder"](tmp_path / "album" / "a")
    assert sent(store, opened, path=False)
    store.now += 2 * FRESH
    assert sent(store, opened, path=False) is None


def test_one_that_is_closed_already_is_known_by_its_path(store: Store) -> None:
    file = store.file("a")
    opened = store.opened(file)
    store.store.release(opened)
    store.now += 2 * KEPT_FOR
    store.store.tidy()
    assert opened.fd == -1
    assert store.store.unchanged(opened)
    overwrite(store.root / "a")
    assert not store.store.unchanged(opened)


def test_without_descriptors_nothing_is_said_of_a_file(store: Store) -> None:
    opened = store.opened(store.file("a"))
    taken = os.open(os.devnull, os.O_RDONLY)  # the lowest that was free
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 1, hard))
        assert store.store.unchanged(opened, path=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(taken)


def test_the_files_of_a_zip_are_credited_one_after_the_other(store: Store) -> None:
    files = [store.opened(store.file(name)) for name in "abc"]
    sent = SentFiles(store.store)
    for number, opened in enumerate(files[:2]):
        sent.sending(opened, 10 * number + 5, 10 * number + 10)
        store.store.release(opened)
    overwrite(store.root / "b")
    assert sent.unchanged(0) is False, "what is being sent is asked, too"
    store.reports.clear()

    sent = SentFiles(store.store)
    sent.sending(files[0], 5, 10)
    sent.sending(files[1], 15, 20)
    sent.sending(files[2], 25, 30)
    assert sent.unchanged(15), "nothing of the second is to be credited"
    overwrite(store.root / "a")
    assert sent.unchanged(15), "the first was credited"
    assert not sent.unchanged(16)


# ------------------------------------------------------------------------------ a disk that may not answer


@pytest.fixture
def slow(store: Store, tmp_path: Path) -> Iterator[Store]:
    store.root = tmp_path / "media"
    store.root.mkdir()
    with mounted(store.root, tmp_path / "fuse") as disk:
        store.store = FileStore(tmp_path / "fuse", store.threads, store._report)  # type: ignore[arg-type]
        store.disk = disk
        yield store
        disk.go_on()
        store.threads.run()


def test_nothing_waits_for_a_disk_that_does_not_answer(slow: Store) -> None:
    """All that the loop calls returns, although every request to the file system would wait."""
    file = slow.file("a")
    other = slow.opened(slow.file("b"))
    opened = slow.opened(file)
    slow.disk.stop()
    come: list[bytes | None] = []
    assert not slow.store.warm(opened, 0, lambda: come.append(b""))
    slow.store.read(opened, 1, 3, come.append)
    assert slow.store.unchanged(opened, path=True)
    slow.store.release(opened)
    slow.store.release(other)
    slow.now += 2 * KEPT_FOR
    slow.store.tidy()
    assert other.fd == -1, "to be closed"
    slow.store.prepare([file], slow.answers.append)
    assert come == slow.answers == []  # type: ignore[comparison-overlap]
    slow.disk.go_on()
    slow.threads.run()
    assert come == [b"us"]
    assert slow.answers == [None]


def test_reads_are_in_parts_that_get_smaller_with_their_number(slow: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", 100)
    monkeypatch.setattr(module, "PARTS", 400)
    monkeypatch.setattr(module, "LEAST_PART", 50)
    content = os.urandom(1_000)
    opened = slow.opened(slow.file("a", content))
    parts: list[bytes] = []
    slow.store.read(opened, 10, 1_000, parts.append)  # type: ignore[arg-type]
    slow.threads.run()
    for _ in range(30):
        slow.store._use(opened)
    slow.store.read(opened, 110, 1_000, parts.append)  # type: ignore[arg-type]
    slow.store.read(opened, 990, 1_000, parts.append)  # type: ignore[arg-type]
    slow.threads.run()
    assert parts == [content[10:110], content[110:160], content[990:]]


def test_the_threads_get_a_bounded_number_of_reads_at_a_time(slow: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow.store._slow, "_most", 3)
    opened = slow.opened(slow.file("a"))
    parts: list[bytes | None] = []
    for _ in range(7):
        slow.store.read(opened, 0, 5, parts.append)
    done = [slow.threads.run() for _ in range(4)]
    assert done == [3, 3, 1, 0]
    assert parts == [b"music"] * 7
    slow.threads.full = True
    slow.store.read(opened, 0, 5, parts.append)
    slow.threads.full = False
    slow.store.read(opened, 0, 5, parts.append)
    slow.threads.run()
    assert parts[7:] == [None, b"music"]
    assert slow.reports == {}, "that is not the file's fault"
    assert opened.users == 1


def test_unused_descriptors_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    files = [store.file(f"{n}") for n in range(5)]
    for file in files:
        store.prepare(file)
    assert [store.store.acquire(file) is not None for file in files] == [False, False, False, True, True]


def test_one_in_use_is_not_closed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 0)
    file = store.file("a")
    monkeypatch.setattr(module, "KEPT", 1)
    store.prepare(file)
    held = store.store.acquire(file)
    assert held is not None
    for n in range(3):
        store.prepare(store.file(f"b{n}"))
    assert os.pread(held.fd, 9, 0) == b"music"
