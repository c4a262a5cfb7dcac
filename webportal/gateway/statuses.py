"""Grants' statuses, one light query for hundreds: every gate asks for all its grants in use once a second."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from django.db.models import FilteredRelation, OuterRef, Q, QuerySet, Subquery, Sum

from ftpgate.grants import GrantState, GrantStatus, Tier
from webportal.core import clock
from webportal.core.batches import batches
from webportal.gateway.prepared import Prepared
from webportal.grants.models import Grant, GrantItem, GrantToken

_FIELDS = (
    "public_id",
    "state",
    "expires_at",
    "completed_at",
    "user__username",
    "user__tier__name",
    "user__tier__rate",
    "user__tier__connections",
)


class TokenRow(NamedTuple):
    """What one token leads to. `grant` is the primary key."""

    grant: int
    issued_at: datetime
    status: GrantStatus


def statuses(public_ids: Sequence[str]) -> list[GrantStatus]:
    """The status of each of these grants that there is."""
    found: list[GrantStatus] = []
    now = clock.expiry_time()
    for some in batches(dict.fromkeys(public_ids)):
        found.extend(_statuses(Grant.objects.filter(public_id__in=some), now))
    return found


def status_by_token(digest: bytes) -> TokenRow | None:
    """The grant whose token has this hash, dead or alive, in one query; None when there never was such a token.

    The status is without its revision, which whoever reads the items knows.
    """
    found = list(_BY_TOKEN.rows(digest))
    if not found:
        return None
    key, issued_at, *row, _ = found[0]
    live = {bytes(row[-1]) for row in found if row[-1] is not None}
    return TokenRow(key, issued_at, _status(row, live, clock.expiry_time()))


def _by_token(digest: bytes) -> QuerySet[GrantToken, tuple[Any, ...]]:
    live = FilteredRelation("grant__tokens", condition=Q(grant__tokens__dead_at=None))
    of_grant = (f"grant__{name}" for name in _FIELDS)
    rows = GrantToken.objects.filter(digest=digest).annotate(live=live).order_by()
    return rows.values_list("grant_id", "grant__issued_at", *of_grant, "live__digest")


_BY_TOKEN = Prepared(GrantToken._meta.get_field("digest"), _by_token, b"")


def _statuses(grants: QuerySet[Grant], now: datetime) -> Iterator[GrantStatus]:
    live = FilteredRelation("tokens", condition=Q(tokens__dead_at=None))
    revisions = GrantItem.objects.filter(grant=OuterRef("pk")).order_by().values("grant").annotate(sum=Sum("item__revision"))
    annotated = grants.annotate(live=live, revision=Subquery(revisions.values("sum")))
    rows = annotated.order_by("pk").values_list(*_FIELDS, "revision", "live__digest")
    for _, group in groupby(rows, key=itemgetter(0)):
        same = list(group)
        *first, revision, _ = same[0]
        yield _status(first, {bytes(row[-1]) for row in same if row[-1] is not None}, now, revision or 0)


def _status(row: Sequence[Any], tokens: set[bytes], now: datetime, revision: int = 0) -> GrantStatus:
    public_id, state, expires_at, completed_at, user, *tier = row
    state = GrantState(state)
    return GrantStatus(
        id=public_id,
        state=GrantState.EXPIRED if state is GrantState.OPEN and expires_at <= now else state,
        expires_at=expires_at.timestamp(),
        completed_at=None if completed_at is None else completed_at.timestamp(),
        user=user,
        tier=Tier(*tier),
        live_tokens=frozenset(tokens),
        revision=revision,
        as_of=clock.database_time(),
    )
