"""The browsers in which a user is signed in, and how they get there. Sessions themselves do not tell whose they are."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.core.signing import Signer
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.crypto import constant_time_compare, get_random_string

from webportal.accounts import sign_in_limiter, unlocking
from webportal.accounts.models import SignIn, User
from webportal.core.browsers import browser_name

_SEEN_EVERY = timedelta(minutes=5)
"""How often a sign-in's last use is written: not at every page."""
_KEY, _PASSWORD_AT = "seen", "password_at"
_LATELY = 900
"""Seconds."""
_COOKIE = "known"
_COOKIE_AGE = 365 * 86_400
"""Seconds for which a browser is known as one in which somebody has signed in."""
_LONGEST_NAME = 150
"""Characters of a refused name that the page repeats."""
_MOST_KNOWN = 5
"""Users whom one browser is remembered for."""


def see(request: HttpRequest) -> None:
    """Remember that the user of this request was here, now and then."""
    now = timezone.now()
    key = request.session.session_key
    seen = request.session.get(_KEY)
    if key is None or (seen and seen[0] == key and now.timestamp() - seen[1] < _SEEN_EVERY.total_seconds()):
        return
    assert isinstance(request.user, User)
    address = _address(request) or None
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


def begin_attempt(request: HttpRequest, name: str, *, code: bool = False) -> bool:
    """Count a try at what only the owner of a name knows, until `end_attempt`.

    Returns:
        False when it must not even be looked at: whatever is answered then, the middleware makes a 429 of it.
    """
    begun = sign_in_limiter.limiter.begin(name, _address(request), _device(request, name), code=code)
    if isinstance(begun, int):
        request.sign_in_wait = begun  # type: ignore[attr-defined]
        request.sign_in_refused = name[:_LONGEST_NAME]  # type: ignore[attr-defined]
        return False
    request.sign_in_attempt = begun  # type: ignore[attr-defined]
    return True


def end_attempt(request: HttpRequest, *, right: bool, by: str = "password") -> None:
    """What was tried was right or wrong. Without a word, the middleware takes it as if it had not been."""
    attempt: sign_in_limiter.Attempt | None = getattr(request, "sign_in_attempt", None)
    if attempt is None:
        return
    if right:
        attempt.succeeded()
    else:
        attempt.failed()
        sign_in_limiter.log.warning("failed sign-in from %s by %s", _address(request), by)


class LimitedSignIn:
    """The first of the backends, without users: refuses passwords that are tried too often, before another hashes them."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_others: Any
    ) -> None:
        if request is None or username is None or password is None:
            return
        if not begin_attempt(request, username):
            raise PermissionDenied


@receiver(user_login_failed)
def _failed(request: HttpRequest | None = None, **_unused: Any) -> None:
    if request is not None:
        end_attempt(request, right=False)


@receiver(user_logged_in)
def _succeeded(request: HttpRequest, user: User, **_unused: Any) -> None:
    note_password(request)
    if getattr(request, "sign_in_attempt", None) is not None:
        end_attempt(request, right=True)
        request.sign_in_name = user.get_username()  # type: ignore[attr-defined]


def limited_sign_ins(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: says that a sign-in was refused, and has the browser of one that succeeded remembered."""

    def answer(request: HttpRequest) -> HttpResponse:
        try:
            response = get_response(request)
        finally:
            attempt: sign_in_limiter.Attempt | None = getattr(request, "sign_in_attempt", None)
            if attempt is not None:
                attempt.abandoned()
        wait: int = getattr(request, "sign_in_wait", 0)
        if wait:
            context = {"wait": timedelta(seconds=wait), "name": getattr(request, "sign_in_refused", "")}
            response = render(request, "site/accounts/locked_out.html", context, status=429)
            response["Retry-After"] = str(wait)
        name: str = getattr(request, "sign_in_name", "")
        if name:
            remember_browser(request, response, name)
        return response

    return answer


def _device(request: HttpRequest, name: str) -> str | None:
    """The id of this browser, if somebody has signed in under this name here before."""
    for known in request.COOKIES.get(_COOKIE, "").split(".")[:_MOST_KNOWN]:
        device, _, signature = known.partition("-")
        if signature and any(constant_time_compare(signature, right) for right in _signatures(device, name)):
            return device
    return None


def remember_browser(request: HttpRequest, response: HttpResponse, name: str) -> None:
    """Count wrong passwords for this name in this browser by themselves, and no others against it."""
    if _device(request, name):
        return
    device = get_random_string(16)
    known = [f"{device}-{_signatures(device, name)[0]}", *filter(None, request.COOKIES.get(_COOKIE, "").split("."))]
    response.set_cookie(
        _COOKIE,
        ".".join(known[:_MOST_KNOWN]),
        max_age=_COOKIE_AGE,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _signatures(device: str, name: str) -> list[str]:
    """By the secret key of now, and then by earlier ones."""
    signer = Signer(salt="ftpgate known browser")
    return [signer.signature(f"{device} {name}", key) for key in (signer.key, *signer.fallback_keys)]


def note_password(request: HttpRequest) -> None:
    """The user of this session has just given the password."""
    request.session[_PASSWORD_AT] = time.time()


def gave_password_lately(request: HttpRequest) -> bool:
    """So lately that whoever sits there now is the one who gave it."""
    given: float = request.session.get(_PASSWORD_AT, -math.inf)
    return 0 <= time.time() - given < _LATELY


def ask_to_unlock(request: HttpRequest, name: str) -> None:
    """Have a mail sent by which the owner of a name gets past the limits, if they hold for this browser."""
    if sign_in_limiter.limiter.is_closed(name, _address(request), _device(request, name)):
        unlocking.requests.ask(name, _address(request))


def _address(request: HttpRequest) -> str:
    address: str = request.META.get("REMOTE_ADDR", "")
    return address.partition("%")[0]


def _store() -> Any:
    return import_module(settings.SESSION_ENGINE)
