"""Which files of a folder make an item."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ftpgate.translatable import TranslatableText, os_reason
from webportal.catalogue.importing.litter import why_left_out
from webportal.core.errors import ImportRefused
from webportal.core.texts import Text

MOST_FILES = 20_000
"""Of a folder, and entries that are looked at: somebody has named the folder of all albums."""
LONGEST_PATH = 1_000
"""Bytes of a path; both databases index paths, and an index row has its limit (PostgreSQL: 2,704 bytes)."""


class Found(NamedTuple):
    """A file of a folder: its path in it, with `/` between the parts, and where its bytes lie, links resolved."""

    path: str
    real: Path


class LeftOut(NamedTuple):
    """A file of a folder, or a folder with all that is in it, that is not imported. `path` can be printed."""

    path: str
    reason: TranslatableText


class Contents(NamedTuple):
    files: list[Found]
    left_out: list[LeftOut]


def find_files(folder: Path) -> Contents:
    """Every regular file of a folder and of those in it, in natural order; apart from them what is no part of an item.

    Args:
        folder: resolved, so that a link that leads out of it can be told.

    Raises:
        ImportRefused: nothing or too much is in it, something cannot be read, a name is no text, or a link leads out.
    """
    walk = _Walk(folder)
    found = sorted(walk.files(folder), key=lambda file: natural(file.path))
    if not found:
        raise ImportRefused(Text.NOTHING_TO_IMPORT(folder=str(folder)))
    return Contents(found, sorted(walk.left_out))


def natural(path: str) -> tuple[tuple[tuple[int, int | str, str], ...], ...]:
    """A sort key by which `2.ogg` comes before `10.ogg`, and `song.ogg` before `song 2.ogg`."""
    above, slash, name = path.casefold().rpartition("/")
    stem, dot, extension = name.rpartition(".")
    parts = [*above.split("/")] if slash else []
    parts += [stem, extension] if dot else [name]
    return tuple(tuple(_natural_part(part)) for part in parts)


def _natural_part(part: str) -> Iterator[tuple[int, int | str, str]]:
    for text in re.split(r"([0-9]{1,18})", part):
        if text:
            yield (0, int(text), text) if text.isdecimal() and text.isascii() else (1, text, text)


class _Walk:
    """One look through a folder, which is resolved."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self._count = 0
        self.left_out: list[LeftOut] = []

    def files(self, folder: Path, above: str = "", *, hidden: bool = False) -> Iterator[Found]:
        """The files below a folder. What is left out is noted meanwhile."""
        names = _entries(folder)
        for name, entry in names.items():
            path = above + name
            self._count_one()
            reason = why_left_out(name, folder=_is_folder(entry), hidden=hidden, beside=names)
            if reason is not None:
                self._leave_out(path, reason)
                continue
            _check_name(path)
            real = _resolved(entry, path, self._top)
            mode = real.stat().st_mode
            if stat.S_ISDIR(mode):
                if entry.is_symlink() and folder.is_relative_to(real):
                    raise ImportRefused(Text.LINK_LEADS_BACK(path=path))
                yield from self.files(real, path + "/", hidden=hidden or name.startswith("."))
            elif stat.S_ISREG(mode):
                yield Found(path, real)
            else:
                self._leave_out(path, Text.NO_REGULAR_FILE())

    def _count_one(self) -> None:
        self._count += 1
        if self._count > MOST_FILES:
            raise ImportRefused(Text.TOO_MANY_FILES(folder=str(self._top), most=MOST_FILES))

    def _leave_out(self, path: str, reason: TranslatableText) -> None:
        self.left_out.append(LeftOut(os.fsencode(path).decode(errors="replace"), reason))


def _entries(folder: Path) -> dict[str, os.DirEntry[str]]:
    try:
        return {entry.name: entry for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)}
    except OSError as error:
        raise ImportRefused(Text.FOLDER_UNREADABLE(folder=str(folder), reason=os_reason(error))) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, which is refused by name
        return False


def _resolved(entry: os.DirEntry[str], path: str, top: Path) -> Path:
    try:
        real = Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):
        raise ImportRefused(Text.LINK_LEADS_NOWHERE(path=path)) from None
    if not real.is_relative_to(top):
        raise ImportRefused(Text.LINK_LEADS_OUT(path=path))
    return real


def too_long(path: str) -> ImportRefused:
    return ImportRefused(Text.PATH_TOO_LONG(path=path[:80], most=LONGEST_PATH))


def _check_name(path: str) -> None:
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise ImportRefused(Text.NAME_NOT_UTF8(path=path)) from None
    if size > LONGEST_PATH:
        raise too_long(path)
