"""Files that are on the disk and not in memory."""

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


def in_memory(fd: int, offset: int) -> bool:
    """Is the byte at `offset` in memory? Asks by mincore(2): a read that does not wait sets the disk to work all the same."""
    page = offset // mmap.PAGESIZE * mmap.PAGESIZE
    found = (ctypes.c_ubyte * 1)()
    with mmap.mmap(fd, 1, access=mmap.ACCESS_COPY, offset=page) as mapped:
        place = ctypes.c_char.from_buffer(mapped)
        failed = _LIBC.mincore(ctypes.c_void_p(ctypes.addressof(place)), ctypes.c_size_t(1), found)
        del place  # the map cannot be closed while it is looked into
    assert not failed, os.strerror(ctypes.get_errno())
    return bool(found[0] & 1)


def forget(path: Path) -> bool:
    """Drop all of a file from memory; False where that cannot be done (a file system that is in memory itself)."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        for _ in range(20):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            if not in_memory(fd, 0):
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
