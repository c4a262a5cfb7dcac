"""Which rows differ from what the journal holds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ftpgate.delivery.journal_rows import CREDIT, LEFT, SEGMENT, TRANSFER, USE, Changes

Mark = tuple[str, Any]
"""A kind of row, and its key as the backlog has it."""

NOTHING: Any = object()
"""The value of a row that the journal is to hold no longer."""

_NAMES: Mapping[str, Callable[[Any], str]] = {
    CREDIT: lambda key: f"{key[0]}/{key[1]}",
    TRANSFER: str,
    USE: bytes.hex,
    SEGMENT: str,
    LEFT: str,
}


class JournalMarks:
    """Of one gate.

    Args:
        journaled: is there a journal? Otherwise nothing is marked.
    """

    __slots__ = ("_changed", "_held", "_journaled", "_told")

    def __init__(self, *, journaled: bool) -> None:
        self._journaled = journaled
        self._held: set[Mark] = set()
        """Rows that the journal holds, or is just being told of."""
        self._changed: set[Mark] = set()
        self._told: Callable[[], None] = lambda: None

    def watch(self, told: Callable[[], None]) -> None:
        """Have `told` called when the journal has to be told of something."""
        self._told = told

    def tell(self) -> None:
        """Call who watches."""
        self._told()

    def __len__(self) -> int:
        """Rows that the journal holds, or is just being told of."""
        return len(self._held)

    @property
    def changed(self) -> bool:
        """Has the journal to be told of anything? Uses of tokens alone are not worth it."""
        return any(kind != USE for kind, _ in self._changed)

    def touch(self, kind: str, key: Any) -> None:
        """The row differs from what the journal holds."""
        if self._journaled:
            self._changed.add((kind, key))

    def hold(self, marks: Iterable[Mark]) -> None:
        """The journal has these rows already."""
        self._held.update(marks)

    def lost(self, marks: Iterable[Mark]) -> None:
        """What the journal holds is not known, or nothing any more: it has to be told of these anew."""
        self._held.clear()
        self._changed = set(marks)

    def changes(self, value: Callable[[str, Any], Any]) -> Changes:
        """What the journal has to be told, taken as told.

        Args:
            value: of a row, by its kind and key; `NOTHING` when there is none any more.
        """
        put: list[tuple[str, str, Any]] = []
        drop: list[tuple[str, str]] = []
        for mark in self._changed:
            kind, key = mark
            now = value(kind, key)
            if now is not NOTHING:
                put.append((kind, _NAMES[kind](key), now))
                self._held.add(mark)
            elif mark in self._held:
                drop.append((kind, _NAMES[kind](key)))
                self._held.discard(mark)
        self._changed.clear()
        return Changes(put, drop)
