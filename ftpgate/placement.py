"""Which gates serve which customer: rendezvous hashing over the places where gates are reached. Pure.

A *place* is a set of addresses. Workers of one machine share theirs, and so do a gate that drains and the one that has
taken its sockets: they are one place, and a restart moves nobody.

Each customer ranks all places by a hash of his name and the place's (Thaler and Ravishankar, 1998), so that portal and
gates agree without talking: when a place goes, its own customers move to the next in their order and all others stay; when
it comes back, they return.

Load enters by one bit. A gate that is much busier than the others says so (`Busy`), and a place whose gates are all busy
comes behind those that are not. Its customers' next links lead to their second place, everybody else's stay as they are.
The bit changes at two different thresholds, so that links do not swing with each heartbeat.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

MOST = 4
"""Places that a customer is given. More would spread one download over gates that each have to share his rate."""


class Place(NamedTuple):
    """Where one or more gates are reached: protocol -> `H:P`, and whether all of them are busy."""

    addresses: Mapping[str, str]
    busy: bool = False

    @property
    def name(self) -> str:
        """What it is ranked by: lasts as long as its addresses do."""
        return ",".join(f"{protocol}={where}" for protocol, where in sorted(self.addresses.items()))


def places(gates: Iterable[Place]) -> list[Place]:
    """The places of these gates, each once."""
    found: dict[str, Place] = {}
    for gate in gates:
        before = found.get(gate.name)
        found[gate.name] = gate if before is None else before._replace(busy=before.busy and gate.busy)
    return list(found.values())


def ranked(customer: str, among: Iterable[Place], most: int = MOST) -> list[Place]:
    """The first places of a customer, the best one first."""
    return sorted(among, key=lambda place: (place.busy, -_weight(customer, place.name)))[:most]


def _weight(customer: str, place: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{customer}\0{place}".encode()).digest()[:8])


FEW = 20
"""Transfers that make no gate busy, whatever the others have."""
BUSY, CALM = 2.0, 1.25
"""A gate is busy from so many times the others' mean of transfers on, and until it is below so many times that."""
FULL, ROOM = 0.9, 0.75
"""The same for the share of its places for connections that are taken: then however many the others have."""


class Busy:
    """Whether a gate is to get fewer new customers, decided with each heartbeat."""

    def __init__(self) -> None:
        self.busy = False

    def judge(self, transfers: int, others: Sequence[int], connections: int, most_connections: int) -> bool:
        """Args:
        transfers: of this gate; `others` are those of each other one that runs.
        connections: of this gate, of `most_connections` that it has places for.
        """
        share = connections / max(most_connections, 1)
        mean = sum(others) / len(others) if others else 0.0
        times, part = (CALM, ROOM) if self.busy else (BUSY, FULL)
        self.busy = bool(others) and (share >= part or transfers > FEW + times * mean)
        return self.busy
