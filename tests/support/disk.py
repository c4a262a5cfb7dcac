"""Files that are on the disk and not in memory, or that other users can read."""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_LIBC = ctypes.CDLL(None, use_errno=True)


def open_to_others(folder: Path) -> list[Path]:
    """A folder and what is in it, as far as their modes let other users do anything with them."""
    return [path for path in (folder, *folder.rglob("*")) if path.lstat().st_mode & 0o077 and not path.is_symlink()]


def in_memory(fd: int, offset: int, count: int = 1) -> bool:
    """Is any of `count` bytes at `offset` in memory? Asks by mincore(2): even a read that does not wait sets the disk to work."""
    page = offset // mmap.PAGESIZE * mmap.PAGESIZE
    length = offset + count - page
    found = (ctypes.c_ubyte * -(-length // mmap.PAGESIZE))()
    with mmap.mmap(fd, length, access=mmap.ACCESS_COPY, offset=page) as mapped:
        place = ctypes.c_char.from_buffer(mapped)
        failed = _LIBC.mincore(ctypes.c_void_p(ctypes.addressof(place)), ctypes.c_size_t(length), found)
        del place  # the map cannot be closed while it is looked into
    assert not failed, os.strerror(ctypes.get_errno())
    return any(state & 1 for state in found)


def forget(path: Path) -> bool:
    """Drop all of a file from memory; False where that cannot be done (a file system that is in memory itself)."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        size = os.fstat(fd).st_size
        for _ in range(20):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            if not in_memory(fd, 0, size):
                return True
            time.sleep(0.02)  # pages that are just being read are not dropped
        return False
    finally:
        os.close(fd)


@contextmanager
def forgetful_folder(first: Path) -> Iterator[Path]:
    """An empty folder whose files can be forgotten: in `first`, or beside the tests where /tmp is in memory itself."""
    for place in (first, Path(__file__).parent):
        with tempfile.TemporaryDirectory(dir=place) as folder:
            probe = Path(folder) / "probe"
            probe.write_bytes(bytes(100_000))
            if forget(probe):
                probe.unlink()
                yield Path(folder)
                return
    pytest.skip("no disk of this machine forgets its pages when told to")
