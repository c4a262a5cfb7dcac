"""The browsers in which a user is signed in. Sessions themselves do not tell whose they are."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from webportal.accounts.models import SignIn, User
from webportal.core.browsers import browser_name

_SEEN_EVERY = timedelta(minutes=5)
_KEY = "seen"


def see(request: HttpRequest) -> None:
    """Remember that the user of this request was here, now and then."""
    now = timezone.now()
    key = request.session.session_key
    seen = request.session.get(_KEY)
    if key is None or (seen and seen[0] == key and now.timestamp() - seen[1] < _SEEN_EVERY.total_seconds()):
        return
    assert isinstance(request.user, User)
    address = request.META.get("REMOTE_ADDR", "").partition("%")[0] or None
    noted = {"browser": browser_name(request.headers.get("User-Agent", "")), "address": address, "seen_at": now}
    if seen and seen[0] != key:  # the same browser: its session got another key when the password was changed
        SignIn.objects.filter(session_key=seen[0], user=request.user).update(session_key=key)
    if not SignIn.objects.filter(session_key=key, user=request.user).update(**noted):
        with suppress(IntegrityError), transaction.atomic():  # another request of the same page may be quicker
            SignIn.objects.create(session_key=key, user=request.user, made_at=now, **noted)
    request.session[_KEY] = (key, now.timestamp())


def sign_ins_of(user: User) -> QuerySet[SignIn]:
    """A user's browsers whose sessions last, those seen last first."""
    lasting = Session.objects.filter(session_key=OuterRef("session_key"), expire_date__gt=timezone.now())
    return SignIn.objects.filter(Exists(lasting), user=user)


def end(user: User, key: int) -> None:
    """Sign one of a user's browsers out; nothing happens for another's."""
    found = SignIn.objects.filter(pk=key, user=user).first()
    if found is not None:
        _store().SessionStore(found.session_key).delete()
        found.delete()


def end_others(user: User, session_key: str | None) -> None:
    """Sign all of a user's browsers out but the one with this session."""
    for other in SignIn.objects.filter(user=user).exclude(session_key=session_key):
        end(user, other.pk)


def forget_sessions() -> None:
    """Delete sessions that are over, and what was known of them."""
    _store().SessionStore.clear_expired()
    SignIn.objects.filter(~Exists(Session.objects.filter(session_key=OuterRef("session_key")))).delete()


def _store() -> Any:
    return import_module(settings.SESSION_ENGINE)
