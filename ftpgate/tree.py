"""What a grant shows, the same over FTP and HTTP: a folder for each item and, by name, its zip. Pure; made as it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ftpgate.errors import NotFound
from ftpgate.grants import Item
from ftpgate.naming import ZIP_SUFFIX, normal, shown_paths, unique_folders
from ftpgate.sources import Resource
from ftpgate.sources.file import PlainFile
from ftpgate.sources.zip import ZipArchive


class Leaf(NamedTuple):
    """Something that can be fetched. `path` begins with a slash; `item` is what it belongs to."""

    name: str
    path: str
    item: Item
    resource: Resource


class Folder:
    """A folder of the grant: `/` (without an item), an item's, or one within it.

    `path` begins with a slash and, but for `/`, ends without one. `modified` is that of the newest file below, Unix
    seconds; 0.0 when there is none.
    """

    __slots__ = ("_below", "item", "modified", "name", "path")

    def __init__(self, name: str, path: str, item: Item | None, modified: float) -> None:
        self.name = name
        self.path = path
        self.item = item
        self.modified = modified
        self._below: dict[str, Folder | Leaf] | None = None

    @property
    def entries(self) -> tuple[Folder | Leaf, ...]:
        """In the item's order. Of `/` only the folders: a recursive client must not fetch everything twice."""
        return tuple(self._entries().values())

    def get(self, name: str) -> Folder | Leaf | None:
        """The entry of exactly this name."""
        return self._entries().get(name)

    def _entries(self) -> dict[str, Folder | Leaf]:
        if self._below is None:
            self._below = {} if self.item is None else _contents(self, self.item)
        return self._below

    def __repr__(self) -> str:
        return f"Folder({self.path!r})"


class GrantTree:
    """The items of one grant under their unique names; the same items in the same order always have the same names.

    Making one and listing `/` touches each item once; what is in an item, and the layout of its zip, is made when it
    is first asked for and kept. For one thread at a time.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        names = unique_folders(item.folder for item in items)
        self._folders = {item.id: Folder(name, f"/{name}", item, _newest(item)) for item, name in zip(items, names, strict=True)}
        self._hidden = {folder.name + ZIP_SUFFIX: folder for folder in self._folders.values()}
        self._zips: dict[str, Leaf] = {}
        self.root = Folder("", "/", None, max((folder.modified for folder in self._folders.values()), default=0.0))
        self.root._below = {folder.name: folder for folder in self._folders.values()}

    def find(self, path: str) -> Folder | Leaf:
        """What is at `path`, with or without a slash in front; NFC and NFD are the same. Zips are found by name.

        `.` and `..` are names like any other, which nothing has: resolve them before.

        Raises:
            NotFound: nothing is there, or something follows the name of a file (if only a slash).
        """
        path = normal(path)
        parts = [part for part in path.split("/") if part]
        found: Folder | Leaf | None = self.root
        for part in parts:
            found = (found.get(part) or self._zip_named(found, part)) if isinstance(found, Folder) else None
        if found is None or (isinstance(found, Leaf) and path.endswith("/")):
            raise NotFound
        return found

    def folders(self) -> Iterator[tuple[Folder, Item]]:
        """The items' folders with their items, in the grant's order."""
        return ((folder, folder.item) for folder in self._folders.values() if folder.item is not None)

    def folder_of(self, item: Item) -> Folder:
        """The folder of an item of this grant. Raises KeyError for another."""
        return self._folders[item.id]

    def zip_of(self, item: Item) -> Leaf:
        """The zip of an item of this grant, laid out now if it was not before. Raises KeyError for another."""
        leaf = self._zips.get(item.id)
        if leaf is None:
            folder = self._folders[item.id]
            archive = ZipArchive(item, folder.name)
            leaf = self._zips[item.id] = Leaf(archive.name, f"/{archive.name}", item, archive)
        return leaf

    def resource(self, key: str) -> Resource | None:
        """The resource with this `Resource.key`; None when no item of this grant has it."""
        for item in (folder.item for folder in self._folders.values() if folder.item is not None):
            if key == f"z{item.id}":
                return self.zip_of(item).resource
            for file in item.files:
                if key == f"f{file.id}":
                    return PlainFile(file, file.path.rpartition("/")[2])
        return None

    def _zip_named(self, folder: Folder, name: str) -> Leaf | None:
        hidden = self._hidden.get(name) if folder is self.root else None
        return None if hidden is None or hidden.item is None else self.zip_of(hidden.item)


def _newest(item: Item) -> float:
    return max((file.mtime_ns for file in item.files), default=0) / 1e9


def _contents(top: Folder, item: Item) -> dict[str, Folder | Leaf]:
    """The entries of an item's folder, with all that is below."""
    folders: dict[str, Folder] = {}
    below: dict[str, dict[str, Folder | Leaf]] = {"": {}}
    for file, shown in zip(item.files, shown_paths(file.path for file in item.files), strict=True):
        *above, name = shown.split("/")
        place = ""
        modified = file.mtime_ns / 1e9
        for part in above:
            inner = f"{place}{part}/"
            folder = folders.get(inner)
            if folder is None:
                folder = folders[inner] = Folder(part, f"{top.path}/{place}{part}", item, modified)
                below[place][part] = folder
                folder._below = below[inner] = {}
            folder.modified = max(folder.modified, modified)
            place = inner
        below[place][name] = Leaf(name, f"{top.path}/{shown}", item, PlainFile(file, name))
    return below[""]
