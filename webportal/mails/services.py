"""Which mails are due, and sending them: every notice at least once, as a rule exactly once, many of one user in one mail."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext, ngettext

from webportal.accounts.models import User
from webportal.core import clock
from webportal.core.addresses import portal_address
from webportal.grants.models import Grant
from webportal.grants.states import State
from webportal.history.models import Completion, Proof
from webportal.mails.models import Notice

_log = logging.getLogger(__name__)

NEWS = timedelta(days=3)
"""What is older is no news any more: not told when mail was away, or a user gave an address, that late."""
BEFORE_EXPIRY = timedelta(days=1)
"""When a customer is warned that a grant expires."""
SHORTEST_LIFE = timedelta(days=2)
"""Of a grant that is warned of; of a shorter one the customer knows."""
GATHER = timedelta(seconds=10)
"""A mail waits so long for more to tell, from the last thing on, and `GATHER_AT_MOST` from the first."""
GATHER_AT_MOST = timedelta(minutes=1)
"""See `GATHER`."""
RETRY = timedelta(minutes=10)
"""After an attempt that failed, or whose process was killed."""
KEPT = timedelta(days=90)
"""How long it is known that something was told; later nothing asks for it."""
_MOST = 500
"""Things to tell in one look; the next one takes the others."""


def enter_notices() -> int:
    """Write down what users who want mail are to be told; returns how much that was."""
    now = clock.now()
    reached = Q(wants_mail=True, is_active=True) & ~Q(email="")
    wanted = User.objects.filter(reached)
    completions = Completion.objects.filter(
        completed_at__gte=now - NEWS, notice=None, grant_item__grant__user__in=wanted
    ).select_related("grant_item__grant")[:_MOST]
    told = Notice.objects.filter(grant=OuterRef("pk"), expires_at=OuterRef("expires_at"))
    soon = clock.expiry_time() + BEFORE_EXPIRY
    expiring = Grant.objects.in_state(State.OPEN).filter(
        ~Exists(told), user__in=wanted, expires_at__lte=soon, issued_at__lte=F("expires_at") - SHORTEST_LIFE
    )[:_MOST]
    notices = [Notice(user_id=row.grant_item.grant.user_id, completion=row, made_at=now) for row in completions]
    notices += [Notice(user_id=grant.user_id, grant=grant, expires_at=grant.expires_at, made_at=now) for grant in expiring]
    Notice.objects.bulk_create(notices, ignore_conflicts=True)  # another process may have been quicker
    return len(notices)


def send_due() -> int:
    """Send the mails that are due; returns how many went out."""
    sent = 0
    while claimed := _claim():
        if not _send(claimed):
            break  # the mail server is away: the others need not be tried now
        sent += 1
    return sent


def forget_notices() -> None:
    """Delete what was sent, or given up, long ago."""
    Notice.objects.filter(made_at__lt=clock.expiry_time() - KEPT).filter(Q(completion=None) | ~Q(sent_at=None)).delete()


@transaction.atomic
def _claim() -> list[Notice]:
    """All that one user is to be told now, for this process alone for a while."""
    now = clock.now()
    waiting = Notice.objects.filter(Q(claimed_at=None) | Q(claimed_at__lte=now - RETRY), sent_at=None, made_at__gte=now - NEWS)
    latest = waiting.filter(user=OuterRef("user"), made_at__gt=now - GATHER)
    ready = waiting.filter(Q(made_at__lte=now - GATHER_AT_MOST) | ~Exists(latest)).order_by("made_at", "pk").first()
    if ready is None:
        return []
    claimed = list(
        waiting.filter(user=ready.user_id).select_for_update(skip_locked=True, no_key=True, of=("self",)).order_by("pk")
    )
    Notice.objects.filter(pk__in=[notice.pk for notice in claimed]).update(claimed_at=now, attempts=F("attempts") + 1)
    return claimed


def _send(notices: Sequence[Notice]) -> bool:
    user = User.objects.get(pk=notices[0].user_id)
    message = _message(user, notices)
    try:
        if message is not None:
            message.send()
    except OSError as error:  # what smtplib raises is an OSError too
        _log.warning("a mail could not be sent: %s", error)
        return False
    Notice.objects.filter(pk__in=[notice.pk for notice in notices]).update(sent_at=clock.now())
    return True


def _message(user: User, notices: Sequence[Notice]) -> EmailMessage | None:
    """The mail, in the user's language; None when there is nothing to tell any more."""
    keys = [notice.completion_id for notice in notices if notice.completion_id]
    completions = list(
        Completion.objects.filter(pk__in=keys)
        .select_related("grant_item__item", "grant_item__grant")
        .order_by("completed_at", "pk")
    )
    about = {notice.grant_id: notice.expires_at for notice in notices if notice.grant_id}
    expiring = [
        grant
        for grant in Grant.objects.in_state(State.OPEN)
        .filter(pk__in=about)
        .prefetch_related("grant_items__item", "grant_items__completion")
        if grant.expires_at == about[grant.pk]
    ]
    if not user.email or not (completions or expiring):
        return None
    with translation.override(user.language or settings.LANGUAGE_CODE), timezone.override(user.time_zone or None):
        context = {
            "user": user,
            "arrived": [_told(row) for row in completions if row.proof == Proof.DELIVERED],
            "by_word": [_told(row) for row in completions if row.proof == Proof.CUSTOMER],
            "expiring": [
                {
                    "items": [entry.item for entry in grant.grant_items.all() if entry.completed_at is None],
                    "expires_at": timezone.localtime(grant.expires_at),
                    "address": portal_address(reverse("grant", args=(grant.public_id,))),
                }
                for grant in expiring
            ],
            "account": portal_address(reverse("account")),
        }
        body = render_to_string("mails/mail.txt", context)
        subject = _subject(completions, expiring)
    return EmailMessage(subject, body, to=[user.email], headers={"Auto-Submitted": "auto-generated"})


def _subject(completions: Sequence[Completion], expiring: Sequence[Grant]) -> str:
    if len(completions) == 1:
        title = " ".join(completions[0].grant_item.item.title.split())[:150]
        if completions[0].proof == Proof.CUSTOMER:
            return gettext("“%(title)s” is received, as you confirmed") % {"title": title}
        return gettext("“%(title)s” has arrived") % {"title": title}
    if completions:
        return ngettext("%(count)d item has arrived", "%(count)d items have arrived", len(completions)) % {
            "count": len(completions)
        }
    return gettext("Your download links expire soon")


def _told(row: Completion) -> dict[str, Any]:
    entry = row.grant_item
    receipt = reverse("receipt", args=(entry.grant.public_id, entry.item.public_id))
    return {"item": entry.item, "address": portal_address(receipt)}
