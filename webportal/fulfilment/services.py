from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Coalesce

from ftpgate.notices import Kind
from ftpgate.tokens import Token
from ftpgate.translatable import TranslatableText
from webportal.accounts.models import User
from webportal.catalogue.models import File, Item
from webportal.core import clock, push
from webportal.core.errors import GrantError
from webportal.core.texts import Text
from webportal.fulfilment.completion import complete_whole_items, lock_grants, write_down_expiry
from webportal.grants.models import Grant, GrantItem, GrantToken, MadeFor
from webportal.grants.states import NEXT_STATES, State
from webportal.webhooks.models import EventType
from webportal.webhooks.outbox import enqueue_event

MOST_LIVE_TOKENS = 5
"""Of one grant: the longest unused one gives way to another."""
MOST_ITEMS = 1_000
"""Of one grant: the gate holds the names of all files of a grant in use."""
_EXPIRED_AT_ONCE = 500
"""Grants in one transaction: their rows stay locked until its end."""
_USE_EVERY = timedelta(minutes=1)
"""How often a token's last use is written."""
_STATE_TEXTS = {
    State.OPEN: Text.STATE_OPEN,
    State.COMPLETE: Text.STATE_COMPLETE,
    State.EXPIRED: Text.STATE_EXPIRED,
    State.REVOKED: Text.STATE_REVOKED,
}


@transaction.atomic
def issue_grant(user: User, items: Sequence[Item], *, expires_at: datetime, made_for: str | MadeFor = "") -> tuple[Grant, Token]:
    """Issue a new grant for items, in this order, whether they are in a cart, were granted before or not.

    Raises:
        GrantError: there are no items or too many, an item has no files, or the expiry has passed.
    """
    items = list({item.pk: item for item in items}.values())
    if not 0 < len(items) <= MOST_ITEMS:
        raise GrantError(Text.ITEMS_RANGE(count=len(items), most=MOST_ITEMS))
    now = clock.now()
    _check_expiry(expires_at, now)
    filled = set(File.objects.filter(item__in=items).values_list("item_id", flat=True).distinct())
    for item in items:
        if item.pk not in filled:
            raise GrantError(Text.ITEM_WITHOUT_FILES(item=item.public_id))
    grant = Grant.objects.create(user=user, issued_at=now, expires_at=expires_at)
    GrantItem.objects.bulk_create(GrantItem(grant=grant, item=item, position=at) for at, item in enumerate(items, 1))
    # Asked now that the rows refer to it: whoever withdraws an item waits for that, or was before us.
    _check_not_withdrawn(Item.objects.filter(pk__in=[item.pk for item in items]))
    token = _new_token(grant, made_for, now)
    enqueue_event(EventType.GRANT_ISSUED, [grant.pk], now)
    complete_whole_items([grant.pk], now)  # an item that has only empty files
    grant.refresh_from_db()
    return grant, token


@transaction.atomic
def add_token(grant: Grant, *, made_for: str | MadeFor = "") -> Token:
    """Give a grant another token. Above `MOST_LIVE_TOKENS` the longest unused one dies.

    Raises:
        GrantError: the grant opens nothing any more.
    """
    grant, now = _locked(grant), clock.now()
    _check_serving(grant)
    live = GrantToken.objects.filter(grant=grant, dead_at=None).order_by(Coalesce("last_used_at", "made_at").desc(), "-pk")
    giving_way = list(live.values_list("pk", flat=True)[MOST_LIVE_TOKENS - 1 :])
    GrantToken.objects.filter(pk__in=giving_way).update(dead_at=now)
    push.tell(Kind.GRANT, [grant.public_id])
    return _new_token(grant, made_for, now)


@transaction.atomic
def replace_tokens(grant: Grant, *, made_for: str | MadeFor = "") -> Token:
    """Kill every token of a grant and give it a new one ("Replace all links").

    Raises:
        GrantError: the grant opens nothing any more.
    """
    grant, now = _locked(grant), clock.now()
    _check_serving(grant)
    GrantToken.objects.filter(grant=grant, dead_at=None).update(dead_at=now)
    push.tell(Kind.GRANT, [grant.public_id])
    return _new_token(grant, made_for, now)


@transaction.atomic
def revoke_grant(grant: Grant) -> Grant:
    """End an open grant for good; its transfers are reset at once where gates are told (`core/push.py`), else within 2 s.
    Revoking again changes nothing.

    Raises:
        GrantError: the grant is complete or has expired: it ends by itself.
    """
    grant = _locked(grant)
    if grant.state != State.REVOKED:
        _move(grant, State.REVOKED, Text.GRANT_NOT_REVOCABLE)
    return grant


@transaction.atomic
def renew_grant(grant: Grant, *, expires_at: datetime) -> Grant:
    """Open an expired grant again, or move the expiry of an open one. Its coverage and its tokens are kept.

    Raises:
        GrantError: the grant is complete or revoked, all of it was delivered, what was not is off the disk, or the expiry has
            passed.
    """
    grant = _locked(grant)
    _check_expiry(expires_at, clock.now())
    if grant.state != State.OPEN:
        if not GrantItem.objects.filter(grant=grant, completion=None).exists():
            raise GrantError(Text.GRANT_DELIVERED(grant=grant.public_id))
        # Locked, so that nobody withdraws one while the grant that opens again cannot be seen by him.
        lacking = Item.objects.filter(grant_items__in=GrantItem.objects.filter(grant=grant, completion=None))
        _check_not_withdrawn(lacking.select_for_update(no_key=True, of=("self",)))
        _move(grant, State.OPEN, Text.GRANT_NOT_RENEWABLE)
    grant.expires_at = expires_at
    grant.save(update_fields=["expires_at"])
    push.tell(Kind.GRANT, [grant.public_id])
    return grant


def write_down_expired() -> int:
    """Store the state `expired` wherever it holds; returns in how many grants it was not stored yet."""
    written, now = 0, clock.now()
    due = Grant.objects.filter(state=State.OPEN, expires_at__lte=now).order_by("pk").values_list("pk", flat=True)
    while some := list(due[:_EXPIRED_AT_ONCE]):  # asked without a lock: nearly always there are none
        with transaction.atomic():
            count = write_down_expiry(some)
        if not count:  # the clocks disagree, or another process was quicker
            break
        written += count
    return written


def use_tokens(last_used: Mapping[bytes, datetime]) -> None:
    """Remember when tokens, by digest, were last used; to the minute, or every range request would change a row."""
    if not last_used:
        return
    tokens = [
        token
        for token in GrantToken.objects.filter(digest__in=list(last_used))
        if token.last_used_at is None or token.last_used_at < last_used[bytes(token.digest)] - _USE_EVERY
    ]
    for token in tokens:
        token.last_used_at = last_used[bytes(token.digest)]
    GrantToken.objects.bulk_update(tokens, ["last_used_at"], batch_size=500)


def _new_token(grant: Grant, made_for: str | MadeFor, now: datetime) -> Token:
    token = Token.new(grant.public_id)
    whom = {"made_for_code": made_for} if isinstance(made_for, MadeFor) else {"made_for": made_for}
    GrantToken.objects.create(grant=grant, digest=token.digest(), made_at=now, **whom)
    return token


def _locked(grant: Grant) -> Grant:
    """The grant as it is now, locked, its expiry written down."""
    write_down_expiry([grant.pk])
    locked = lock_grants([grant.public_id])
    if not locked:
        raise GrantError(Text.GRANT_GONE(grant=grant.public_id))
    return locked[0]


def _move(grant: Grant, state: State, refusal: Text) -> None:
    if state not in NEXT_STATES[State(grant.state)]:
        raise GrantError(refusal(grant=grant.public_id, state=_state_text(grant)))
    grant.state = state
    grant.save(update_fields=["state"])
    push.tell(Kind.GRANT, [grant.public_id])


def _check_serving(grant: Grant) -> None:
    if grant.open_until is None:
        if grant.state == State.EXPIRED:
            raise GrantError(Text.GRANT_EXPIRED(grant=grant.public_id))
        raise GrantError(Text.GRANT_ENDED(grant=grant.public_id, state=_state_text(grant)))


def _state_text(grant: Grant) -> TranslatableText:
    return _STATE_TEXTS[State(grant.state)]()


def _check_not_withdrawn(items: QuerySet[Item]) -> None:
    looked_at = items.only("public_id", "withdrawn_at").order_by("pk")
    withdrawn = next((item for item in looked_at if item.withdrawn_at is not None), None)
    if withdrawn is not None:
        raise GrantError(Text.ITEM_WITHDRAWN(item=withdrawn.public_id))


def _check_expiry(expires_at: datetime, now: datetime) -> None:
    if expires_at <= now:
        raise GrantError(Text.EXPIRY_PASSED())
