"""What the gates say of themselves, shared by all who look on; and telling them to end something."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.conf import settings
from django.core.cache import cache

from ftpgate.commands import status as gates
from ftpgate.signed_links import Purpose, SignedLinks, connection_key
from webportal.accounts.models import User
from webportal.catalogue.models import Item
from webportal.grants.documents import gate_document
from webportal.grants.models import Gate
from webportal.grants.selectors import running_gates

_CACHED = "gates-status"
_SECONDS = 2
"""That an answer of the gates is kept: every page of staff asks."""


def gates_status() -> dict[str, Any]:
    """As `ask` of all running gates, two seconds old at most."""
    return cache.get_or_set(_CACHED, _ask, _SECONDS)  # type: ignore[return-value]


def ask(asked: Iterable[Gate]) -> dict[str, Any]:
    """What these gates, with `silence`, answer now: `{"gates": […], "transfers": […], "silent": […]}`.

    `silent` gates do not answer, or cannot be asked from this machine; what they said with their last heartbeat is there.
    """
    return {"silent": [], **gates.status([gate_document(gate) for gate in asked])}


@dataclass(frozen=True, slots=True)
class Connection:
    """All that one client of a customer fetches of one grant at this moment: a download manager has 16 transfers.

    `key` names it to `end_connection`; `titles` are of the items that are under way.
    """

    key: str
    grant: str
    protocol: str
    peer: str
    titles: tuple[str, ...]
    transfers: int
    bytes_per_s: int


def connections_of(user: User) -> list[Connection]:
    """A customer's running downloads."""
    name = user.get_username()
    transfers = sorted((row for row in gates_status()["transfers"] if row["user"] == name), key=connection_key)
    items = Item.objects.filter(public_id__in={row["item"] for row in transfers})
    titles = dict(items.values_list("public_id", "title"))
    return [_connection(key, list(rows), titles) for key, rows in groupby(transfers, key=connection_key)]


def end_connection(user: User, key: str) -> bool:
    """End one of a customer's own; False when there is none (any more) under this key."""
    if all(found.key != key for found in connections_of(user)):
        return False
    ended = gates.end([gate_document(gate) for gate in running_gates()], SignedLinks(settings.FTPGATE).make(Purpose.END, key))
    cache.delete(_CACHED)
    return ended > 0


def _connection(key: str, rows: list[dict[str, Any]], titles: dict[str, str]) -> Connection:
    of = dict.fromkeys(titles[row["item"]] for row in rows if row["item"] in titles)
    first = rows[0]
    rate = sum(row["bytes_per_s"] for row in rows)
    return Connection(key, first["grant"], first["protocol"], first["peer"], tuple(of), len(rows), rate)


def _ask() -> dict[str, Any]:
    return ask(running_gates())
