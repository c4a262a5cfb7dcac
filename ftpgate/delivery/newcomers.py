"""Clients that have connected and not asked for a file yet. Pure: time is passed in.

A download manager opens its connections one after the other; as long as some are on their way, a transfer that has just
begun waits a little before it runs into places that they are going to fetch.
"""

from __future__ import annotations

RECENT = 2.0
"""Seconds after which a connection that asks for nothing is taken for one that only looks around."""


class Newcomers:
    """Connections by their client's address."""

    __slots__ = ("_arrived",)

    def __init__(self) -> None:
        self._arrived: dict[str, dict[object, float]] = {}

    def add(self, peer: str, connection: object, now: float) -> None:
        """`connection` of a client at `peer` was accepted."""
        self._arrived.setdefault(peer, {})[connection] = now

    def discard(self, peer: str, connection: object) -> None:
        """It has asked for a file, or has ended. Not being known is fine."""
        there = self._arrived.get(peer)
        if there is not None:
            there.pop(connection, None)
            if not there:
                del self._arrived[peer]

    def expected(self, peer: str, now: float) -> bool:
        """Has a client at `peer` connected a moment ago that may ask for a file?"""
        return any(now - since < RECENT for since in self._arrived.get(peer, {}).values())
