from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone, translation

from webportal.accounts.sign_ins import see
from webportal.site.requests import verified
from webportal.two_factor import services as two_factor


class PreferencesMiddleware:
    """Shows pages in the language and the time zone that the user has chosen, if they have; notes that they were here."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        timezone.deactivate()
        if request.user.is_authenticated:
            see(request)
            if request.user.language:
                translation.activate(request.user.language)
                request.LANGUAGE_CODE = translation.get_language()
            if request.user.time_zone:
                with suppress(ZoneInfoNotFoundError, ValueError):  # it was known when it was chosen, on another machine
                    timezone.activate(ZoneInfo(request.user.time_zone))
        return self._get_response(request)


class StaffTwoFactor:
    """With `FTPGATE_STAFF_TWO_FACTOR=require`, staff see no page before they have set it up but those where they do."""

    _OPEN = frozenset({"two-factor", "two-factor-app", "two-factor-passkey", "logout", "set_language"})

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(self, request: HttpRequest, _view: object, _arguments: object, _named: object) -> HttpResponse | None:
        if settings.FTPGATE.staff_two_factor != "require" or not request.user.is_authenticated or not request.user.is_staff:
            return None
        if verified(request):
            return None
        if two_factor.is_on(request.user):  # signed in before it was: with the password alone
            logout(request)
            return redirect_to_login(request.get_full_path() if request.method == "GET" else "/")
        assert request.resolver_match is not None
        return None if request.resolver_match.url_name in self._OPEN else redirect("two-factor")
