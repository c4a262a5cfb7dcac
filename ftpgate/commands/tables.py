"""Tables for people: columns as wide as what stands in them, and lines no longer than the terminal."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

_GAP = "  "
_NARROWEST = 12
"""Columns that every cell keeps when a table is fitted to a terminal."""
_ELLIPSIS = "…"


class Column(NamedTuple):
    head: str
    side: Literal["left", "right"] = "left"
    flexible: bool = False
    """May its cells be shortened, so that a line fits the terminal?"""


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, its head first. Only lines for a terminal are shortened: a program gets all of it."""
    cells = [[column.head.upper() for column in columns], *([_printable(cell) for cell in row] for row in rows)]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    if sys.stdout.isatty():
        _fit(widths, columns, shutil.get_terminal_size().columns)
    for row in cells:
        yield _GAP.join(map(_padded, row, widths, columns)).rstrip()


def width(text: str) -> int:
    """Columns of a terminal that a text takes: two for each wide letter (UAX 11), none for what is set above another."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _fit(widths: list[int], columns: Sequence[Column], most: int) -> None:
    """Narrow the flexible columns, the widest first, until a line fits or they are as narrow as they may be."""
    flexible = [at for at, column in enumerate(columns) if column.flexible]
    while flexible and sum(widths) + len(_GAP) * (len(widths) - 1) > most:
        widest = max(flexible, key=widths.__getitem__)
        if widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1


def _padded(cell: str, room: int, column: Column) -> str:
    if width(cell) > room:
        cell = _shortened(cell, room)
    space = " " * (room - width(cell))
    return space + cell if column.side == "right" else cell + space


def _shortened(cell: str, room: int) -> str:
    while width(cell) + len(_ELLIPSIS) > room:
        cell = cell[:-1]
    return cell + _ELLIPSIS


def _printable(cell: str) -> str:
    """Without what moves a terminal's cursor: a title comes from a file's tags."""
    return "".join(c if c.isprintable() else "�" for c in cell)
