"""Which files of a folder make an item."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ftpgate.errors import UserError
from ftpgate.translatable import TranslatableText, os_reason
from webportal.catalogue.importing.litter import why_left_out

MOST_FILES = 20_000
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
        UserError: nothing or too much is in it, something cannot be read, a name is no text, or a link leads out.
    """
    walk = _Walk(folder)
    found = sorted(walk.files(folder), key=lambda file: natural(file.path))
    if not found:
        raise UserError(
            TranslatableText("there is no file to import in %(folder)r", folder=str(folder)),
            TranslatableText("name the folder that holds the album"),
        )
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
                    cause = TranslatableText("the link %(path)r leads back to a folder it lies in", path=path)
                    raise UserError(cause, TranslatableText("remove it"))
                yield from self.files(real, path + "/", hidden=hidden or name.startswith("."))
            elif stat.S_ISREG(mode):
                yield Found(path, real)
            else:
                self._leave_out(path, TranslatableText("no regular file"))

    def _count_one(self) -> None:
        self._count += 1
        if self._count > MOST_FILES:
            cause = TranslatableText("%(folder)r holds more than %(most)d files", folder=str(self._top), most=MOST_FILES)
            raise UserError(cause, TranslatableText("import its folders one by one"))

    def _leave_out(self, path: str, reason: TranslatableText) -> None:
        self.left_out.append(LeftOut(os.fsencode(path).decode(errors="replace"), reason))


def _entries(folder: Path) -> dict[str, os.DirEntry[str]]:
    try:
        return {entry.name: entry for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)}
    except OSError as error:
        cause = TranslatableText("%(folder)r cannot be read (%(reason)s)", folder=str(folder), reason=os_reason(error))
        raise UserError(cause, TranslatableText("mend its permissions")) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, which is refused by name
        return False


def _resolved(entry: os.DirEntry[str], path: str, top: Path) -> Path:
    try:
        real = Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):
        raise UserError(
            TranslatableText("the link %(path)r leads nowhere", path=path), TranslatableText("mend or remove it")
        ) from None
    if not real.is_relative_to(top):
        cause = TranslatableText("the link %(path)r leads out of the folder", path=path)
        raise UserError(cause, TranslatableText("put the file itself there, or remove the link"))
    return real


def too_long(path: str) -> UserError:
    cause = TranslatableText("the path %(path)r… has more than %(most)d bytes", path=path[:80], most=LONGEST_PATH)
    return UserError(cause, TranslatableText("shorten it"))


def _check_name(path: str) -> None:
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        hint = TranslatableText("rename it (convmv renames whole folders)")
        raise UserError(TranslatableText("the name %(path)r is not UTF-8", path=path), hint) from None
    if size > LONGEST_PATH:
        raise too_long(path)
