"""Telling gates at once of what has changed, where the database can: PostgreSQL's NOTIFY.

A NOTIFY takes a lock of the whole cluster from its transaction's commit on (`NotifyQueueLock` and the heavyweight lock on
database 0), which would make all transactions that notify wait for each other's disk. So none is sent within a transaction that
writes anything: `tell` sends after the commit, in a statement of its own, one for all that the transaction had to tell. What
gets lost between the two is found by the gates' next poll.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

from django.db import DatabaseError, InterfaceError, connection, transaction

from ftpgate.notices import Kind, Notice, encode

_log = logging.getLogger(__name__)

CHANNEL = "ftpgate"
"""Of notices to all gates."""
MOST = 1_000
"""Notices that wait for one commit: more are told as "everything"."""
_waiting = threading.local()


def channel_of(gate: str) -> str:
    """The channel of notices to one gate, by its id."""
    return f"{CHANNEL}_{gate}"


def tell(kind: Kind, names: Iterable[str]) -> None:
    """Tell all gates that something about these names has changed, once it is committed. Does nothing on SQLite."""
    tell_all(Notice(kind, name) for name in names)


def tell_all(notices: Iterable[Notice]) -> None:
    """As `tell`; a notice may be for one gate."""
    if connection.vendor != "postgresql":
        return
    waiting: set[Notice] = _waiting.__dict__.setdefault("notices", set())
    for notice in notices:
        waiting.add(notice)
        if len(waiting) > MOST:
            break  # what is left out is in "everything", which so many become
    # Each call registers `_send`, and the first one that runs sends everything: one that was registered within a savepoint is
    # dropped if that is rolled back. What a rolled-back transaction leaves here goes with the next one, and does no harm.
    if waiting:
        transaction.on_commit(_send)


def send_now(notice: Notice) -> None:
    """Send one notice in a statement of its own, outside of a transaction. Raises `DatabaseError`."""
    _notify(channel_of(notice.gate) if notice.gate else CHANNEL, encode([notice]))


def _send() -> None:
    waiting: set[Notice] = _waiting.__dict__.pop("notices", set())
    channels: dict[str, list[Notice]] = {}
    for notice in waiting:
        channels.setdefault(channel_of(notice.gate) if notice.gate else CHANNEL, []).append(notice)
    try:
        for channel, notices in channels.items():
            _notify(channel, encode(notices))
    except (DatabaseError, InterfaceError) as error:  # what it tells of is committed
        _log.warning("gates could not be told of a change at once (%s): they find it within half a minute", error)


def _notify(channel: str, message: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [channel, message])
