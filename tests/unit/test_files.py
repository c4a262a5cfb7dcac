"""Descriptors shared by downloads, and files that are not what they were."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftpgate.delivery import files as module
from ftpgate.delivery.files import FRESH, KEPT_FOR, FileStore
from ftpgate.errors import ChangedFile, GateError, Unavailable
from ftpgate.grants import File
from tests.support.disk import forget, forgetful_folder, in_memory
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
        return File(len(list(self.root.iterdir())), name, name, len(content), path.stat().st_mtime_ns, bytes(32), 0)

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
    assert is_open(held.fd), "a running download goes on"
    store.store.release(held)
    os.utime(store.root / "a", ns=(0, file.mtime_ns))
    assert store.prepare(file) is None
    again = store.store.acquire(file)
    assert again is not None
    assert again.fd == held.fd


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


def test_a_file_that_was_replaced_is_opened_anew(store: Store) -> None:
    """The same bytes copied back over a lost file: running downloads keep the old one, new ones get the new one."""
    file = store.file("a")
    store.prepare(file)
    old = store.store.acquire(file)
    (store.root / "new").write_bytes(b"music")
    os.utime(store.root / "new", ns=(file.mtime_ns, file.mtime_ns))
    (store.root / "new").rename(store.root / "a")
    store.now += 2 * FRESH
    assert store.prepare(file) is None
    new = store.store.acquire(file)
    assert old is not None
    assert new is not None
    assert new is not old
    store.store.release(old)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(old.fd)
    assert os.pread(new.fd, 9, 0) == b"music"


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
