"""What portal and gates tell each other of through the shop's database, apart from what they write there: names only. Pure.

A notice says that something about a name has changed, or is wanted; what it is now, whoever hears of it asks the shop. So a
notice may be lost, doubled or late without harm beyond the delay until the next poll, and nothing secret travels in one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

LARGEST = 7_999
"""Bytes of one message: PostgreSQL takes fewer than 8,000 (`NOTIFY`)."""
_EVERYTHING = "*"


class Kind(StrEnum):
    """What a notice is about, by what its name names."""

    GRANT = "grant"
    """A grant's state, expiry or tokens."""
    TIER = "tier"
    """A tier's rate or connections."""
    USER = "user"
    """The tier that a customer is in."""
    ITEM = "item"
    """The time stamps of an item's files."""
    PING = "ping"
    """A gate to itself: does what it sends arrive?"""
    LEASE = "lease"
    """A customer's share of his rate; for one gate."""
    EVIDENCE = "evidence"
    """Another gate has recorded starts or cuts of transfers of a grant."""


class Notice(NamedTuple):
    """`gate` is the id of the one that it is for; '' for all."""

    kind: Kind
    name: str
    gate: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """What has arrived. `everything`: notices may have been missed, so that nothing is known to be fresh."""

    notices: frozenset[Notice] = frozenset()
    everything: bool = False


def encode(notices: Iterable[Notice]) -> str:
    """The notices as one message, which says "everything" when they are too many for one. Their `gate` is not in it."""
    pairs = sorted({(notice.kind.value, notice.name) for notice in notices})
    made = json.dumps(pairs, ensure_ascii=False, separators=(",", ":"))
    return made if len(made.encode()) <= LARGEST else _EVERYTHING


def decode(messages: Iterable[str]) -> Changes:
    """What these messages say together. Kinds of later versions are left out; what cannot be read may have been anything."""
    found: set[Notice] = set()
    kinds = {kind.value: kind for kind in Kind}
    try:
        for message in messages:
            if message == _EVERYTHING:
                return Changes(everything=True)
            found.update(Notice(kinds[kind], str(name)) for kind, name in json.loads(message) if kind in kinds)
    except (ValueError, TypeError):
        return Changes(everything=True)
    return Changes(frozenset(found))
