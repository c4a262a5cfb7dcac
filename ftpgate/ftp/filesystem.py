"""A grant's tree as an FTP session walks it, and how its entries are written in listings. No disk is touched."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fnmatch import translate
from typing import NamedTuple, Protocol
from urllib.parse import unquote
from zlib import crc32

from ftpgate.errors import NotFound
from ftpgate.naming import normal
from ftpgate.tree import Folder, GrantTree, Leaf

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HALF_A_YEAR = 180 * 86_400
"""Seconds; `ls -l` shows the year instead of the time of what is older (POSIX, ls)."""
_WILD = frozenset("*?[")
_PATTERN = 255
"""Characters of a pattern at the most: no name is longer, and making a long one ready would take its time."""
_DEPTH = 64
"""Folders in a path that is tried part by part, which takes time by the square of their number."""
_ENCODED = 4_096
"""Characters of a path that is decoded, at the most."""
_CANDIDATES = 4
"""Ways to read the folders of such a path that are followed."""

Entry = Folder | Leaf


class Listing(NamedTuple):
    """What a listing shows, and the path in front of its names that makes them arguments of RETR (RFC 1123 section 4.1.2.7)."""

    entries: tuple[Entry, ...]
    above: str = ""


class HasTree(Protocol):
    """A grant: its tree is another one as soon as the time stamps of its files are."""

    tree: GrantTree


class GrantFS:
    """One session's place in the tree of its grant. Read-only.

    Attributes:
        cwd: the working folder, absolute; `/` or without a slash at its end.
    """

    __slots__ = ("_grant", "cwd")

    def __init__(self, grant: HasTree) -> None:
        self._grant = grant
        self.cwd = "/"

    def absolute(self, path: str) -> str:
        """`path` as the client gave it, from the root, without `.`, `..` and doubled slashes; `..` of the root is the root."""
        parts: list[str] = []
        for part in (path if path.startswith("/") else f"{self.cwd}/{path}").split("/"):
            if part == "..":
                del parts[-1:]
            elif part not in ("", "."):
                parts.append(part)
        return "/" + "/".join(parts)

    def find(self, path: str) -> Entry:
        """What is at `path`: exactly as it is written, or else by its other spellings. Raises NotFound."""
        return self._found(path)[1]

    def _found(self, path: str) -> tuple[str, Entry]:
        """How `path` has to be written exactly, and what is there."""
        for spelling in _spellings(path):
            with suppress(NotFound):
                return spelling, self._exactly(spelling)
        return self._part_by_part(path)

    def _exactly(self, path: str) -> Entry:
        found = self._grant.tree.find(self.absolute(path))
        if isinstance(found, Leaf) and path.endswith("/"):
            raise NotFound
        return found

    def _part_by_part(self, path: str) -> tuple[str, Entry]:
        """A name taken from a listing may have been put behind a folder's encoded one."""
        if "%" not in path or not 0 < path.count("/") <= _DEPTH:
            raise NotFound
        *above, last = path.split("/")
        candidates = [""]
        for part in above:
            candidates = self._below(candidates, f"{part}/")
        for exact in self._below(candidates, last):
            return exact, self._exactly(exact)
        raise NotFound

    def _below(self, above: Iterable[str], part: str) -> list[str]:
        """Which of the folders `above` have an entry of this name, exactly or decoded."""
        there = []
        for folder in above:
            for spelling in dict.fromkeys((part, unquote(part))):
                with suppress(NotFound):
                    self._exactly(folder + spelling)
                    there.append(folder + spelling)
        return there[:_CANDIDATES]

    def file(self, path: str) -> Leaf:
        """The file or zip at `path`. Raises NotFound, for a folder too."""
        found = self.find(path)
        if isinstance(found, Folder):
            raise NotFound("This is a folder.")
        return found

    def folder(self, path: str) -> Folder:
        """The folder at `path`. Raises NotFound, for a file too."""
        found = self.find(path)
        if isinstance(found, Leaf):
            raise NotFound("This is not a folder.")
        return found

    def change(self, path: str) -> None:
        """Go to a folder. Raises NotFound."""
        self.cwd = self.folder(path).path

    def listed(self, arguments: str) -> Listing:
        """What the argument of LIST or NLST asks for, `-la` and the like left out as clients expect.

        A folder's entries, a file, or what matches a pattern in the last part of the path: `mget *.ogg` of command-line
        clients asks for that. A pattern finds what listings show, so no zips. Raises NotFound.
        """
        while True:
            try:
                return _listing(*self._found(arguments))
            except NotFound:
                if not arguments.startswith("-"):
                    return self._matching(arguments)
            arguments = arguments.partition(" ")[2].lstrip(" ")

    def _matching(self, path: str) -> Listing:
        above, slash, pattern = path.rpartition("/")
        above, folder = self._found(above + slash)
        if isinstance(folder, Folder):
            for spelling in dict.fromkeys((pattern, unquote(pattern))):
                if found := _matches(folder, spelling):
                    return Listing(found, above)
        raise NotFound


def _spellings(path: str) -> Iterator[str]:
    """What may be meant by `path`, the likelier first: itself, from the root, or percent-encoded.

    Some clients send the path of an address as it is there (axel, BusyBox wget, PHP).
    """
    for text in dict.fromkeys((path, unquote(path) if len(path) <= _ENCODED else path)):
        yield text
        if text == "~" or text.startswith("~/"):
            yield text[1:] or "/"


def _listing(path: str, found: Entry) -> Listing:
    """What is shown of what is at `path`."""
    if isinstance(found, Leaf):
        above, slash, _ = path.rpartition("/")
        return Listing((found,), above + slash)
    above = path.rstrip("/")
    return Listing(found.entries, "" if path in ("", ".", "./") else f"{above}/")


def _matches(folder: Folder, pattern: str) -> tuple[Entry, ...]:
    if len(pattern) > _PATTERN or not _WILD.intersection(pattern):
        return ()
    matches = re.compile(translate(normal(pattern))).match
    return tuple(entry for entry in folder.entries if matches(entry.name))


def list_lines(shown: Iterable[Entry]) -> Iterator[bytes]:
    """As `ls -l` writes them, in UTC."""
    now = time.time()
    for entry in shown:
        if isinstance(entry, Folder):
            mode, size, modified = "dr-xr-xr-x   2", 0, entry.modified
        else:
            mode, size, modified = "-r--r--r--   1", entry.resource.size, entry.resource.modified
        at = time.gmtime(modified)
        clock = f"{at.tm_hour:02}:{at.tm_min:02}" if 0 <= now - modified < _HALF_A_YEAR else f"{at.tm_year:5}"
        yield f"{mode} ftp      ftp      {size:>12} {_MONTHS[at.tm_mon - 1]} {at.tm_mday:2} {clock} {entry.name}\r\n".encode()


def name_lines(listing: Listing) -> Iterator[bytes]:
    """Names alone, as they can be asked for."""
    for entry in listing.entries:
        yield f"{listing.above}{entry.name}\r\n".encode()


def fact_lines(shown: Iterable[Entry], facts: tuple[str, ...]) -> Iterator[bytes]:
    """Entries of MLSD (RFC 3659 section 7)."""
    for entry in shown:
        yield f"{fact_list(entry, facts)} {entry.name}\r\n".encode()


def fact_list(entry: Entry, facts: tuple[str, ...]) -> str:
    """`type=file;size=…;` with those of `facts` that `entry` has."""
    if isinstance(entry, Folder):
        top = entry.item.id if entry.item is not None else "root"
        known = {
            "type": "dir", "modify": stamp(entry.modified), "perm": "el",
            "unique": f"d{top}-{crc32(entry.path.encode()):08x}",
        }  # fmt: skip
    else:
        resource = entry.resource
        known = {
            "type": "file", "size": str(resource.size), "modify": stamp(resource.modified), "perm": "r", "unique": resource.key,
        }  # fmt: skip
    return "".join(f"{fact}={known[fact]};" for fact in facts if fact in known)


def stamp(modified: float) -> str:
    """Unix seconds as `YYYYMMDDHHMMSS` in UTC (RFC 3659 section 2.3)."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(modified))
