"""SHA-256 and CRC-32 of many files at once, off the main thread."""

from __future__ import annotations

import hashlib
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock
from typing import NamedTuple

from tqdm import tqdm

from ftpgate.errors import UserError
from ftpgate.sentences import Sentence, os_reason

_CHUNK = 1 << 20
_THREADS = 4


class Digest(NamedTuple):
    """A file as it was while it was read."""

    size: int
    mtime_ns: int
    sha256: bytes
    crc32: int


class FileError(UserError):
    """A file cannot be hashed; `problem` completes a sentence about it ("changed while it was read")."""

    def __init__(self, name: str, problem: Sentence, mend: Sentence) -> None:
        super().__init__(Sentence("%(file)r %(problem)s", file=name, problem=problem), mend)
        self.problem = problem


class _Stopped(Exception):
    """Nobody waits for the rest any more."""


def hash_files(files: Sequence[tuple[str, Path]], read: Callable[[int], None] | None = None) -> list[Digest]:
    """The digests of files, given with their names for messages; shows a progress bar on a terminal.

    Args:
        read: told of every number of bytes that was read; from several threads, one after the other.

    Raises:
        FileError: a file cannot be read, or changed meanwhile; it is named.
    """
    found = []
    for digest in _hashed(files, stop_at_error=True, read=read):
        if isinstance(digest, FileError):
            raise digest
        found.append(digest)
    return found


def hash_each(files: Sequence[tuple[str, Path]]) -> list[Digest | FileError]:
    """As `hash_files`, but with the error in the place of a file's digest."""
    return list(_hashed(files, stop_at_error=False))


def _hashed(
    files: Sequence[tuple[str, Path]], *, stop_at_error: bool, read: Callable[[int], None] | None = None
) -> Iterator[Digest | FileError]:
    stopped, lock = Event(), Lock()
    with (
        tqdm(total=_total(files), unit="B", unit_scale=True, desc="hashing", disable=not sys.stderr.isatty(), leave=False) as bar,
        ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as threads,
    ):

        def advance(count: int) -> None:
            if stopped.is_set():
                raise _Stopped
            with lock:
                bar.update(count)
                if read is not None:
                    read(count)

        def work(name: str, path: Path) -> Digest | FileError:
            try:
                return _hash(name, path, advance)
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


def stamp(path: Path) -> tuple[int, int]:
    """Size and modification time (ns)."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _hash(name: str, path: Path, advance: Callable[[int], None]) -> Digest:
    sha256, crc32, read = hashlib.sha256(), 0, 0
    try:
        with path.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            buffer = memoryview(bytearray(_CHUNK))
            while count := file.readinto(buffer):
                sha256.update(buffer[:count])
                crc32 = zlib.crc32(buffer[:count], crc32)
                read += count
                advance(count)
        after = stamp(path)
    except OSError as error:
        problem = Sentence("cannot be read (%(reason)s)", reason=os_reason(error))
        raise FileError(name, problem, Sentence("mend its permissions or the disk")) from None
    if after != (before.st_size, before.st_mtime_ns) or read != before.st_size:
        raise FileError(name, Sentence("changed while it was read"), Sentence("import it again when nothing writes to it"))
    return Digest(read, before.st_mtime_ns, sha256.digest(), crc32)


def _total(files: Sequence[tuple[str, Path]]) -> int:
    """Bytes to read, as far as they can be told; for the progress bar only."""
    total = 0
    for _, path in files:
        with suppress(OSError):
            total += path.stat().st_size
    return total
