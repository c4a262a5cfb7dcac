"""Which files of a folder make an item."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ftpgate.errors import UserError
from ftpgate.sentences import Sentence, os_reason

MOST_FILES = 20_000
LONGEST_PATH = 1_000
"""Bytes of a path; both databases index paths, and an index row has its limit (PostgreSQL: 2,704 bytes)."""

_LITTER = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"})


class Found(NamedTuple):
    """A file of a folder: its path in it, with `/` between the parts, and where its bytes lie, links resolved."""

    path: str
    real: Path


def find_files(folder: Path) -> list[Found]:
    """Every regular file of a folder and of those in it, in natural order; hidden ones and the litter of desktops left out.

    Args:
        folder: resolved, so that a link that leads out of it can be told.

    Raises:
        UserError: nothing or too much is in it, something cannot be read, a name is no text, or a link leads out.
    """
    found = sorted(_walk(folder, "", folder), key=lambda file: natural(file.path))
    if not found:
        raise UserError(
            Sentence("there is no file to import in %(folder)r", folder=str(folder)),
            Sentence("name the folder that holds the album"),
        )
    return found


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


def _walk(folder: Path, above: str, top: Path, count: list[int] | None = None) -> Iterator[Found]:
    count = [0] if count is None else count
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        cause = Sentence("%(folder)r cannot be read (%(reason)s)", folder=str(folder), reason=os_reason(error))
        raise UserError(cause, Sentence("mend its permissions")) from None
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower() in _LITTER:
            continue
        path = above + entry.name
        _check_name(path)
        real = _resolved(entry, path, top)
        mode = real.stat().st_mode
        if stat.S_ISDIR(mode):
            if entry.is_symlink() and folder.is_relative_to(real):
                raise UserError(Sentence("the link %(path)r leads back to a folder it lies in", path=path), Sentence("remove it"))
            yield from _walk(real, path + "/", top, count)
        elif stat.S_ISREG(mode):
            count[0] += 1
            if count[0] > MOST_FILES:
                cause = Sentence("%(folder)r holds more than %(most)d files", folder=str(top), most=MOST_FILES)
                raise UserError(cause, Sentence("import its folders one by one"))
            yield Found(path, real)


def _resolved(entry: os.DirEntry[str], path: str, top: Path) -> Path:
    try:
        real = Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):
        raise UserError(Sentence("the link %(path)r leads nowhere", path=path), Sentence("mend or remove it")) from None
    if not real.is_relative_to(top):
        cause = Sentence("the link %(path)r leads out of the folder", path=path)
        raise UserError(cause, Sentence("put the file itself there, or remove the link"))
    return real


def too_long(path: str) -> UserError:
    cause = Sentence("the path %(path)r… has more than %(most)d bytes", path=path[:80], most=LONGEST_PATH)
    return UserError(cause, Sentence("shorten it"))


def _check_name(path: str) -> None:
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        mend = Sentence("rename it (convmv renames whole folders)")
        raise UserError(Sentence("the name %(path)r is not UTF-8", path=path), mend) from None
    if size > LONGEST_PATH:
        raise too_long(path)
