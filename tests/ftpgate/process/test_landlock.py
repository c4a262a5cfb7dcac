"""What a process can still do with files after it was restricted. Each test restricts a forked child, since it is for good."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ftpgate.delivery.journal_file import JournalFile
from ftpgate.process import landlock
from tests.support.forked import in_child
from tests.support.seccomp import refusal, refuse_landlock

try:
    VERSION = landlock.version()
except landlock.NotRestricted as absent:
    pytestmark = pytest.mark.skip(reason=str(absent))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """One to read, one to write, one that is not named; a file in each."""
    made = tmp_path / "read", tmp_path / "write", tmp_path / "other"
    for folder in made:
        folder.mkdir()
        (folder / "file").write_text("content")
    return made


def test_reading_and_writing(folders: tuple[Path, Path, Path]) -> None:
    read, write, other = folders

    def child() -> dict[str, str | None]:
        landlock.restrict([read, read.parent / "not there"], [write])
        return {
            "read": refusal((read / "file").read_text),
            "list": refusal(lambda: os.listdir(read)),
            "write to what is read": refusal(lambda: (read / "file").write_text("x")),
            "remove what is read": refusal((read / "file").unlink),
            "read elsewhere": refusal((other / "file").read_text),
            "list elsewhere": refusal(lambda: os.listdir(other)),
            "make elsewhere": refusal(lambda: (other / "new").touch()),
            "rename to elsewhere": refusal(lambda: (write / "file").rename(other / "moved")),
            "make": refusal(lambda: (write / "new").write_text("x")),
            "shorten": refusal(lambda: os.truncate(write / "new", 0)),
            "make a folder": refusal((write / "folder").mkdir),
            "rename": refusal(lambda: (write / "new").rename(write / "newer")),
            "remove": refusal((write / "newer").unlink),
            "make a link": refusal(lambda: (write / "link").symlink_to("/")),
            "look elsewhere": refusal((other / "file").stat),
            "execute": refusal(lambda: subprocess.run([sys.executable, "-c", ""], check=True)),
        }

    assert in_child(child) == {
        "read": None, "list": None, "write to what is read": "EACCES", "remove what is read": "EACCES",
        "read elsewhere": "EACCES", "list elsewhere": "EACCES", "make elsewhere": "EACCES",
        "rename to elsewhere": "EACCES" if VERSION > 1 else "EXDEV",
        "make": None, "shorten": None, "make a folder": None, "rename": None, "remove": None, "make a link": "EACCES",
        "look elsewhere": None, "execute": "EACCES",
    }  # fmt: skip


def test_a_single_file_can_be_named(folders: tuple[Path, Path, Path]) -> None:
    read, write, _ = folders

    def child() -> list[str | None]:
        landlock.restrict([read / "file"], [write / "file"])
        return [
            refusal((read / "file").read_text),
            refusal(lambda: os.listdir(read)),
            refusal(lambda: (write / "file").write_text("x")),
            refusal(lambda: (write / "new").touch()),
        ]

    assert in_child(child) == [None, "EACCES", None, "EACCES"]


def test_a_link_is_followed_when_it_is_named_and_leads_nowhere_else(folders: tuple[Path, Path, Path]) -> None:
    read, _, other = folders
    named = read.parent / "named"
    named.symlink_to(read)
    (read / "out").symlink_to(other / "file")

    def child() -> list[str | None]:
        landlock.restrict([named], [])
        return [refusal((named / "file").read_text), refusal((named / "out").read_text)]

    assert in_child(child) == [None, "EACCES"]


def test_threads_that_start_later_are_restricted(folders: tuple[Path, Path, Path]) -> None:
    read, _, other = folders

    def child() -> list[str | None]:
        found: list[str | None] = []
        landlock.restrict([read], [])
        thread = threading.Thread(target=lambda: found.append(refusal((other / "file").read_text)))
        thread.start()
        thread.join()
        return found

    assert in_child(child) == ["EACCES"]


def test_sqlite_sorts_without_files_elsewhere(folders: tuple[Path, Path, Path]) -> None:
    """It makes temporary files in /var/tmp otherwise, and fails when it cannot."""
    _, write, _ = folders

    def child() -> int:
        landlock.restrict([], [write])
        with JournalFile(write, "gate").transaction() as database:
            database.execute("CREATE TEMP TABLE t (value)")
            many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
            database.execute(f"INSERT INTO t {many} SELECT hex(randomblob(30)) FROM n")
            (count,) = database.execute("SELECT count(*) FROM (SELECT value FROM t ORDER BY value)").fetchone()
            return int(count)

    assert in_child(child) == 100_000


@pytest.mark.parametrize(
    ("number", "absent", "words"),
    [
        (errno.ENOSYS, True, "the kernel has no Landlock"),
        (errno.EOPNOTSUPP, True, "switched off"),
        (errno.EPERM, False, "a filter of system calls"),
    ],
    ids=errno.errorcode.get,
)
def test_without_landlock_the_process_stays_as_it_is(
    folders: tuple[Path, Path, Path], number: int, absent: bool, words: str
) -> None:
    read, _, other = folders

    def child() -> tuple[bool, str, str]:
        refuse_landlock(number)
        try:
            landlock.restrict([read], [])
        except landlock.NotRestricted as error:
            return error.absent, str(error), (other / "file").read_text()
        raise AssertionError

    found_absent, text, content = in_child(child)
    assert (found_absent, content) == (absent, "content")
    assert words in text
