"""Rows for tests of the shop, made by its own services where they exist."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count

from django.utils import timezone

from ftpgate.grants import Batch, Delivered, TransferRecord
from ftpgate.proof.coverage import Span, SpanSet
from ftpgate.proof.segments import Evidence
from ftpgate.tokens import Token
from webportal.accounts.models import User
from webportal.accounts.services import add_user
from webportal.bridge import make_bridge
from webportal.catalogue.models import File, Item
from webportal.config import environment
from webportal.fulfilment.services import issue_grant
from webportal.grants.models import Grant, Segment
from webportal.history.models import Transfer

_numbers = count(1)


def make_user(name: str = "") -> User:
    return add_user(name or f"user{next(_numbers)}")


def make_staff() -> User:
    """Somebody who may do everything."""
    user = make_user("staff")
    user.is_staff = user.is_superuser = True
    user.save()
    return user


def make_item(*sizes: int, title: str = "") -> Item:
    """An item with files of these sizes; no bytes of it are on any disk."""
    number = next(_numbers)
    item = Item.objects.create(title=title or f"Item {number}", folder=title or f"Item {number}", source=f"item{number}")
    File.objects.bulk_create(
        File(
            item=item,
            position=position,
            path=f"{position:02}.ogg",
            media=f"{item.source}/{position:02}.ogg",
            size=size,
            mtime_ns=position,
            sha256=hashlib.sha256(f"{number}/{position}".encode()).digest(),
            crc32=position,
        )
        for position, size in enumerate(sizes, 1)
    )
    return item


def make_grant(user: User, *items: Item, days: float = 1) -> tuple[Grant, Token]:
    return issue_grant(user, items, expires_at=timezone.now() + timedelta(days=days))


def let_expire(grant: Grant) -> None:
    """As if the grant had been issued so long ago that it has expired just now; nothing is written down of that."""
    now = timezone.now()
    Grant.objects.filter(pk=grant.pk).update(issued_at=now - timedelta(days=1), expires_at=now)


def whole(grant: Grant, item: Item, *, but: Sequence[int] = ()) -> tuple[Delivered, ...]:
    """Every file of an item delivered whole, but those at these positions."""
    return tuple(
        Delivered(grant.public_id, file.pk, ((0, file.size),))
        for file in item.files.order_by("position")
        if file.size and file.position not in but
    )


def make_transfer(ended_at: datetime) -> Transfer:
    """One that ended then, of a grant of its own."""
    item = make_item(10)
    grant, _ = make_grant(make_user(), item)
    return Transfer.objects.create(
        grant=grant, item=item, gate="g", path="/a.ogg", protocol="http", peer="127.0.0.1:9", start=0, end=10, delivered=10,
        started_at=ended_at - timedelta(seconds=1), ended_at=ended_at, outcome=Transfer.Outcome.DONE,
    )  # fmt: skip


def leave_unconfirmed(
    grant: Grant,
    item: Item,
    unconfirmed: Mapping[int, Span],
    *,
    seconds_ago: float = 60,
    client: str = "",
    delivered: bool = True,
) -> None:
    """Have a gate record that ranges of an item, by the positions of its files, were sent without proof, one transfer for each.

    Args:
        seconds_ago: when those transfers ended.
        delivered: is the rest of the item?
    """
    files = {file.position: file for file in item.files.all()}
    whole = [(file, SpanSet([(0, file.size)])) for file in files.values()]
    for file, spans in whole:
        spans.remove(*unconfirmed.get(file.position, (0, 0)))
    rest = tuple(Delivered(grant.public_id, file.pk, tuple(spans)) for file, spans in whole if delivered and spans)
    ids = [f"segment{next(_numbers)}" for _ in unconfirmed]
    segments = tuple(
        Evidence(
            id=name, grant=grant.public_id, resource=f"f{files[position].pk}", start=0, end=files[position].size, sent=end,
            acknowledged=end, shown=start, hidden_bytes=0, credited=start, paced=False,
            unconfirmed={files[position].pk: ((start, end),)},
        )
        for name, (position, (start, end)) in zip(ids, unconfirmed.items(), strict=True)
    )  # fmt: skip
    ended_at = time.time() - seconds_ago
    transfers = tuple(
        TransferRecord(
            grant.public_id, item.public_id, files[position].path, "http", "192.0.2.1", client, 0, end, start,
            ended_at - 9, ended_at, "cut",
        )
        for position, (start, end) in unconfirmed.items()
    )  # fmt: skip
    make_bridge(environment.current()).record("gate", Batch(rest, segments, transfers=transfers))
    Segment.objects.filter(segment_id__in=ids).update(ended_at=timezone.now() - timedelta(seconds=seconds_ago))
