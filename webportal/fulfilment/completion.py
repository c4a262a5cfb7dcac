"""Completing items and grants: once, in the transaction of what makes them complete."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime

from django.db.models import Exists, OuterRef

from ftpgate.notices import Kind
from webportal.cart.models import CartItem
from webportal.catalogue.models import File
from webportal.core import clock, push
from webportal.grants.models import Coverage, Grant, GrantItem
from webportal.grants.states import State
from webportal.history.models import Completion, Proof
from webportal.webhooks.models import EventType
from webportal.webhooks.outbox import enqueue_event, enqueue_item_events


def complete_whole_items(grants: Collection[int], now: datetime, *, files: Collection[int] | None = None) -> set[int]:
    """Complete the items of these grants (by primary key) whose every file is covered whole, and what follows from it.

    Returns the grants that are complete by it. The locks are as for `complete`.

    Args:
        files: look only at items with one of these files, for speed.
    """
    pending = GrantItem.objects.filter(grant__in=grants, completion=None)
    if files is not None:
        pending = pending.filter(item__in=File.objects.filter(pk__in=files).values("item_id"))
    here = Coverage.objects.filter(grant=OuterRef(OuterRef("grant_id")), file=OuterRef("pk"), covered__gte=OuterRef("size"))
    lacking = File.objects.filter(~Exists(here), item=OuterRef("item_id"), size__gt=0)  # an empty file is whole by itself
    whole = list(pending.filter(~Exists(lacking)).select_related("grant").order_by("pk"))
    return complete(whole, Proof.DELIVERED, now) if whole else set()


def complete(entries: Sequence[GrantItem], proof: Proof, now: datetime) -> set[int]:
    """Complete items that are not complete yet, whose `grant` is selected, and what follows from it.

    Returns the grants (by primary key) that are complete by it.

    Within a transaction that holds the locks of the grants' rows (`lock_grants`): that, and the uniqueness of a
    completion, make it once. An item leaves its owner's cart; a grant whose items are all complete is complete, unless
    it was revoked or had expired before: then its items are complete, and its state tells why it opens nothing.
    """
    Completion.objects.bulk_create(Completion(grant_item=entry, completed_at=now, proof=proof) for entry in entries)
    received: defaultdict[int, list[int]] = defaultdict(list)
    for entry in entries:
        received[entry.grant.user_id].append(entry.item_id)
    for user, items in received.items():
        CartItem.objects.filter(user=user, item__in=items).delete()
    waiting = GrantItem.objects.filter(grant=OuterRef("pk"), completion=None)
    ended = Grant.objects.in_state(State.OPEN).filter(~Exists(waiting), pk__in={entry.grant_id for entry in entries})
    finished = set(ended.values_list("pk", flat=True))
    Grant.objects.filter(pk__in=finished).update(state=State.COMPLETE, completed_at=now)
    push.tell(Kind.GRANT, {entry.grant.public_id for entry in entries if entry.grant_id in finished})
    enqueue_item_events(entries, proof, now)
    if finished:
        enqueue_event(EventType.GRANT_COMPLETE, finished, now)
    return finished


def write_down_expiry(grants: Collection[int]) -> int:
    """Make the derived state `expired` of these grants a stored one, and queue its event; returns in how many it was not yet.

    Within a transaction, wherever the grants' rows are locked and changed anyway. By the database's clock, and not at all
    while the clocks disagree: this is for good.
    """
    now = clock.now()
    if clock.guard.wrong():
        return 0
    due = Grant.objects.select_for_update(no_key=True).filter(pk__in=grants, state=State.OPEN, expires_at__lte=now)
    expired = list(due.order_by("pk").values_list("pk", flat=True))
    if expired:
        Grant.objects.filter(pk__in=expired).update(state=State.EXPIRED)
        enqueue_event(EventType.GRANT_EXPIRED, expired, now)
    return len(expired)


def lock_grants(public_ids: Collection[str]) -> list[Grant]:
    """These grants, locked until the end of the transaction, in one order for everybody, so that nobody deadlocks."""
    return list(Grant.objects.select_for_update(no_key=True).filter(public_id__in=public_ids).order_by("pk"))
