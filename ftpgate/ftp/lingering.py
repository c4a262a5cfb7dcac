"""Data connections whose file is acknowledged, and that wait for what their clients do last. All of one listener."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

MOST = 4_096
"""Lingering connections of one listener, and of one session, at the most; the oldest of them gives way."""
SHARE = 8
"""What part of the gate's places those of one listener may take."""
MOST_OF_ONE = 32
"""Of one session, and of a listener at the least: segmented clients end up to 16 connections together."""


class LingeringFile(Protocol):
    """A file that was sent, with its connection still open."""

    def still_taken(self, now: float) -> None:
        """Close the connection when its client does nothing with it any more."""
        ...

    def give_up(self) -> None:
        """Close the connection."""
        ...


class HasLingering(Protocol):
    """A session, as far as this goes."""

    lingering: int
    """Its connections that are acknowledged and not closed yet."""


class Lingering:
    """The acknowledged connections of one listener."""

    __slots__ = ("_most", "_owners")

    def __init__(self, places: int) -> None:
        """`places`: client sockets that the gate has room for."""
        self._most = min(max(places // SHARE, MOST_OF_ONE), MOST)
        self._owners: OrderedDict[LingeringFile, HasLingering] = OrderedDict()
        """The oldest first."""

    def __len__(self) -> int:
        return len(self._owners)

    def add(self, file: LingeringFile, owner: HasLingering) -> None:
        if owner.lingering >= MOST_OF_ONE:
            next(other for other, its in self._owners.items() if its is owner).give_up()
        elif len(self._owners) >= self._most:
            next(iter(self._owners)).give_up()
        self._owners[file] = owner
        owner.lingering += 1

    def discard(self, file: LingeringFile) -> None:
        """Its connection is closed. Not being known is fine."""
        owner = self._owners.pop(file, None)
        if owner is not None:
            owner.lingering -= 1

    def sweep(self, now: float) -> None:
        """Close those whose clients do nothing with them any more."""
        for file in tuple(self._owners):
            file.still_taken(now)
