"""The time between the right password and the second factor. Nobody is signed in yet; the session knows who is about to be."""

from __future__ import annotations

import time
from dataclasses import dataclass

import django_otp
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.crypto import constant_time_compare
from django_otp.models import Device

from webportal.accounts.models import User

_KEY = "second_step"
_SECONDS = 600


@dataclass(frozen=True)
class Pending:
    """A sign-in that lacks its second factor."""

    user: User
    backend: str
    target: str
    """The page to go to afterwards."""


def ask_for_second_step(request: HttpRequest, user: User, target: str) -> HttpResponse:
    """The password of this user was right: remember it for ten minutes, and lead to the page that asks for more."""
    request.session.cycle_key()
    request.session[_KEY] = {
        "user": user.pk,
        "password": user.get_session_auth_hash(),
        "backend": user.backend,  # which authenticate() has set
        "target": target,
        "until": time.time() + _SECONDS,
    }
    return redirect("second-step")


def pending_sign_in(request: HttpRequest) -> Pending | None:
    """What this browser has begun, if it is not too late and the password is still the same."""
    kept = request.session.get(_KEY)
    if kept is None or not 0 < kept["until"] - time.time() <= _SECONDS:
        return None
    user = User.objects.filter(pk=kept["user"], is_active=True).first()
    if user is None or not constant_time_compare(kept["password"], user.get_session_auth_hash()):
        return None
    return Pending(user, kept["backend"], kept["target"])


def complete(request: HttpRequest, pending: Pending, device: Device) -> HttpResponse:
    """Sign in, and remember by which device."""
    del request.session[_KEY]
    login(request, pending.user, backend=pending.backend)
    django_otp.login(request, device)
    return redirect(pending.target)
