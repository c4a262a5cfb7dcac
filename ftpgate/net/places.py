"""The gate's client connections as places: every address has a share of them, and strangers a smaller one than customers. Pure.

A stranger is a connection that has shown no valid token yet. When all places are taken, the address with the most strangers
gives one up: whoever opens many connections keeps nobody out but himself. An address is an IPv4 address or an IPv6 /64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from ftpgate.net.addresses import network

T = TypeVar("T")

STRANGERS = 4_096
"""Strangers of one address at the most: forty customers behind one router may open 64 connections each before they have sent a
byte."""
STRANGERS_SHARE = 4
"""What part of all places strangers of one address may take: a quarter."""
LEAST = 16
"""Places of one address, however few there are."""
TOLD = 32
"""Connections without a place that are told why, of all addresses."""
TOLD_OF_ONE = 4
"""The same of one address; further ones are closed at once."""


class Crowd(Generic[T]):
    """Members by address, oldest first, and which address has the most of them."""

    __slots__ = ("_members", "_sizes")

    def __init__(self) -> None:
        self._members: dict[str, dict[T, None]] = {}
        self._sizes: dict[int, dict[str, None]] = {}
        """Addresses by how many members they have."""

    def add(self, address: str, member: T) -> None:
        members = self._members.setdefault(address, {})
        members[member] = None
        self._resized(address, len(members) - 1, len(members))

    def discard(self, address: str, member: T) -> None:
        members = self._members.get(address, {})
        if member in members:
            del members[member]
            self._resized(address, len(members) + 1, len(members))
            if not members:
                del self._members[address]

    def count(self, address: str) -> int:
        return len(self._members.get(address, ()))

    def members(self, address: str) -> Iterable[T]:
        """Those of one address, the oldest first."""
        return self._members.get(address, ())

    def largest(self) -> str | None:
        """The address with the most members; None when there are none."""
        return next(iter(self._sizes[max(self._sizes)])) if self._sizes else None

    def _resized(self, address: str, before: int, now: int) -> None:
        if before:
            same = self._sizes[before]
            del same[address]
            if not same:
                del self._sizes[before]
        if now:
            self._sizes.setdefault(now, {})[address] = None


def _gone() -> None:
    """A connection that has ended gives no place up any more."""


class Guest:
    """One client connection from its acceptance to its end.

    Attributes:
        refused: it has no place: it is told so, and that is all.
        give_way: ends the connection; set by whoever holds its socket, and called when another one needs the place.
    """

    __slots__ = ("_places", "address", "give_way", "here", "proven", "refused", "weight")

    def __init__(self, places: Places, address: str, weight: int, give_way: Callable[[], None], *, refused: bool) -> None:
        self._places = places
        self.address = address
        self.weight = weight
        self.give_way = give_way
        self.refused = refused
        self.proven = False
        self.here = True

    def prove(self) -> None:
        """It has shown a valid token."""
        self._places.proven(self, True)

    def forget(self) -> None:
        """It has logged out."""
        self._places.proven(self, False)

    def leave(self) -> None:
        """It has ended. Repeats are harmless."""
        if self.here:
            self.here = False
            self._places.left(self)
            self.give_way = _gone  # else it and its connection would hold each other


class Places:
    """All of one gate. Lives on the loop's thread.

    Args:
        most: how many there are.
    """

    def __init__(self, most: int) -> None:
        self.taken = 0
        self._most = most
        self._most_of_one = max(most - most // STRANGERS_SHARE, LEAST)
        self._most_strangers = max(min(most // STRANGERS_SHARE, STRANGERS), LEAST)
        self._taken_by: dict[str, int] = {}
        self._strangers: Crowd[Guest] = Crowd()
        self._told: Crowd[Guest] = Crowd()
        self._refused = 0

    def admit(self, peer: str, give_way: Callable[[], None], *, weight: int = 1) -> Guest | None:
        """A place for a connection from the address `peer`; a refused guest when there is none, and None when too many were told.

        Args:
            give_way: ends the connection, and lets its guest leave.
            weight: sockets that it may come to need.
        """
        address = network(peer)
        if self._has_share(address, weight) and self._make_room(address, weight):
            guest = Guest(self, address, weight, give_way, refused=False)
            self.taken += weight
            self._taken_by[address] = self._taken_by.get(address, 0) + weight
            self._strangers.add(address, guest)
            return guest
        if self._refused >= TOLD or self._told.count(address) >= TOLD_OF_ONE:
            return None
        guest = Guest(self, address, weight, give_way, refused=True)
        self._refused += 1
        self._told.add(address, guest)
        return guest

    def proven(self, guest: Guest, proven: bool) -> None:
        """`guest` has shown a valid token, or has logged out."""
        if not guest.here or guest.refused or guest.proven == proven:
            return
        guest.proven = proven
        if proven:
            self._strangers.discard(guest.address, guest)
        else:
            self._strangers.add(guest.address, guest)

    def left(self, guest: Guest) -> None:
        """`guest` has ended."""
        if guest.refused:
            self._refused -= 1
            return self._told.discard(guest.address, guest)
        self._strangers.discard(guest.address, guest)
        self.taken -= guest.weight
        left = self._taken_by[guest.address] - guest.weight
        if left:
            self._taken_by[guest.address] = left
        else:
            del self._taken_by[guest.address]

    def _has_share(self, address: str, weight: int) -> bool:
        if self._strangers.count(address) >= self._most_strangers:
            return False
        return self._taken_by.get(address, 0) + weight <= self._most_of_one

    def _make_room(self, address: str, weight: int) -> bool:
        while self.taken + weight > self._most:
            largest = self._strangers.largest()
            if largest is None or self._strangers.count(largest) <= self._strangers.count(address) + 1:
                return False
            oldest = next(iter(self._strangers.members(largest)))
            oldest.give_way()
            oldest.leave()
        return True
