"""Items as the gate holds them, shared by all grants that have them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import NamedTuple

from ftpgate.grants import File, Item
from webportal.catalogue import models


class Row(NamedTuple):
    """An item as the database has it, without its files."""

    key: int
    public_id: str
    title: str
    artist: str
    year: int | None
    folder: str
    revision: int


class Items:
    """A bounded store: thousands of grants of one album hold one copy of it. For any thread.

    What staff can edit is compared with every look-up. An item's files never change after its import, but for their time
    stamps and inodes, with a new revision.
    """

    def __init__(self, most_files: int = 10_000) -> None:
        """Args:
        most_files: keep at most the items that have so many files in all, about 500 bytes each, those used last.
        """
        self._most = most_files
        self._kept: OrderedDict[int, tuple[int, Item]] = OrderedDict()
        self._files = 0
        self._lock = Lock()

    def get(self, rows: Iterable[Row]) -> tuple[Item, ...]:
        """The items of these rows, in their order; asks the database for the files of those that are not kept."""
        rows = list(rows)
        with self._lock:
            found = {}
            for row in rows:
                revision, item = self._kept.get(row.key, (None, None))
                if item is not None and revision == row.revision:
                    found[row.key] = item
                    self._kept.move_to_end(row.key)
        missing = [row.key for row in rows if row.key not in found]
        loaded = _load_files(missing) if missing else {}
        for row in rows:
            before = found.get(row.key)
            files = loaded[row.key] if before is None else before.files
            item = Item(row.public_id, row.title, row.artist, row.year, row.folder, files)
            if item != before:
                found[row.key] = item
                self._keep(row, item)
        return tuple(found[row.key] for row in rows)

    def _keep(self, row: Row, item: Item) -> None:
        with self._lock:
            if row.key in self._kept:
                self._files -= len(self._kept.pop(row.key)[1].files)
            self._kept[row.key] = row.revision, item
            self._files += len(item.files)
            while self._files > self._most and len(self._kept) > 1:
                _, (_, oldest) = self._kept.popitem(last=False)
                self._files -= len(oldest.files)


def _load_files(items: list[int]) -> Mapping[int, tuple[File, ...]]:
    found: dict[int, list[File]] = {key: [] for key in items}
    fields = ("item_id", "id", "path", "media", "size", "mtime_ns", "sha256", "crc32", "ctime_ns", "inode")
    rows = models.File.objects.filter(item__in=items).order_by("item_id", "position").values_list(*fields)
    for item, key, path, media, size, mtime_ns, sha256, crc32, ctime_ns, inode in rows:
        found[item].append(File(key, path, media, size, mtime_ns, bytes(sha256), crc32, ctime_ns, inode))
    return {key: tuple(files) for key, files in found.items()}
