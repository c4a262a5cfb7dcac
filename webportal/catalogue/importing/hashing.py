"""SHA-256 and CRC-32 of many files at once, off the main thread."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock
from typing import NamedTuple

from tqdm import tqdm

from ftpgate.ondisk import LOOK, Identity, NoRegularFile, has_lasting_inodes, open_below, why_not
from ftpgate.translatable import FileProblem, TranslatableText
from webportal.core.errors import ImportRefused
from webportal.core.texts import Text

_CHUNK = 1 << 20
"""Bytes of one read: beyond that nothing gets faster, and progress is told after each."""
_THREADS = 4
"""That read and hash: hashlib lets the interpreter go, and more of them make a spinning disk seek."""


class Stamp(NamedTuple):
    """What tells a file from what it was (`ftpgate.ondisk`). `inode` is None where such numbers do not last."""

    size: int
    mtime_ns: int
    ctime_ns: int | None
    inode: int | None


class Digest(NamedTuple):
    """A file as it was while it was read."""

    stamp: Stamp
    sha256: bytes
    crc32: int


class FileError(ImportRefused):
    """A file cannot be hashed; `problem` completes a sentence about it ("changed while it was read")."""

    def __init__(self, text: TranslatableText, problem: TranslatableText) -> None:
        super().__init__(text)
        self.problem = problem


class _Stopped(Exception):
    """Nobody waits for the rest any more."""


def hash_files(root: Path, files: Sequence[tuple[str, str]], read: Callable[[int], None] | None = None) -> list[Digest]:
    """The digests of files, given with their names for messages; shows a progress bar on a terminal.

    Args:
        root: no link is followed out of it.
        files: their names, and their paths relative to the root.
        read: told of every number of bytes that was read; from several threads, one after the other.

    Raises:
        FileError: a file cannot be read, or changed meanwhile; it is named.
    """
    found = []
    for digest in _hashed(root, files, stop_at_error=True, read=read):
        if isinstance(digest, FileError):
            raise digest
        found.append(digest)
    return found


def hash_each(root: Path, files: Sequence[tuple[str, str]]) -> list[Digest | FileError]:
    """As `hash_files`, but with the error in the place of a file's digest."""
    return list(_hashed(root, files, stop_at_error=False))


def _hashed(
    root: Path, files: Sequence[tuple[str, str]], *, stop_at_error: bool, read: Callable[[int], None] | None = None
) -> Iterator[Digest | FileError]:
    stopped, lock, total = Event(), Lock(), _total(root, files)
    with (
        tqdm(total=total, unit="B", unit_scale=True, desc="hashing", disable=not sys.stderr.isatty(), leave=False) as bar,
        ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as threads,
    ):

        def advance(count: int) -> None:
            if stopped.is_set():
                raise _Stopped
            with lock:
                bar.update(count)
                if read is not None:
                    read(count)

        def work(name: str, path: str) -> Digest | FileError:
            try:
                return _hash(root, name, path, advance)
            except FileError as error:
                return error

        jobs = [threads.submit(work, name, path) for name, path in files]
        try:
            for job in as_completed(jobs) if stop_at_error else ():
                error = job.result()
                if isinstance(error, FileError):
                    yield error
            for job in jobs:
                yield job.result()
        finally:  # an error was raised to whoever reads this, or Ctrl-C to us
            stopped.set()
            threads.shutdown(wait=True, cancel_futures=True)


def stamp(root: Path, path: str) -> Stamp:
    """The stamp of a regular file below `root`. Raises OSError."""
    fd = open_below(str(root), path, LOOK)
    try:
        return _stamp(fd)
    finally:
        os.close(fd)


def _stamp(fd: int) -> Stamp:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise NoRegularFile
    found = Identity.of(status)
    return Stamp(found.size, found.mtime_ns, found.ctime_ns, found.inode if has_lasting_inodes(fd) else None)


def _hash(root: Path, name: str, path: str, advance: Callable[[int], None]) -> Digest:
    sha256, crc32, read = hashlib.sha256(), 0, 0
    try:
        with os.fdopen(open_below(str(root), path), "rb", buffering=0) as file:
            before = _stamp(file.fileno())
            buffer = memoryview(bytearray(_CHUNK))
            while count := file.readinto(buffer):
                sha256.update(buffer[:count])
                crc32 = zlib.crc32(buffer[:count], crc32)
                read += count
                advance(count)
        after = stamp(root, path)
    except OSError as error:
        problem = why_not(error)
        raise FileError(Text.FILE_AND_PROBLEM(file=name, problem=problem), problem) from None
    if after != before or read != before.size:
        raise FileError(Text.FILE_CHANGED_AT_READING(file=name), FileProblem.FILE_CHANGED_MEANWHILE())
    return Digest(before, sha256.digest(), crc32)


def _total(root: Path, files: Sequence[tuple[str, str]]) -> int:
    """Bytes to read, as far as they can be told; for the progress bar only."""
    total = 0
    for _, path in files:
        with suppress(OSError):
            total += (root / path).stat().st_size
    return total
