"""Items and files for tests of the pure parts, with contents that any byte of can be told without a disk."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable

from ftpgate.grants import File, Item

MTIME = 1_117_633_332  # 2005-06-01 13:42:12 UTC


def content(file_id: int, size: int) -> bytes:
    """The bytes of a file: different for every file, and a shift by one shows."""
    return hashlib.shake_128(f"file {file_id}".encode()).digest(size)


def make_file(file_id: int, path: str, size: int = 0, *, mtime: float = MTIME, data: bytes | None = None) -> File:
    """A file as if imported with `content` (or `data`, which may be shorter than `size`: the rest is a hole)."""
    data = content(file_id, size) if data is None else data
    return File(
        file_id, path, f"album/{file_id}", size, int(mtime * 1_000_000_000), hashlib.sha256(data).digest(), zlib.crc32(data)
    )


def make_item(item_id: str, folder: str, files: Iterable[File] = ()) -> Item:
    return Item(item_id, folder, "", None, folder, tuple(files))
