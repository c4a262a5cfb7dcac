from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation

from webportal.accounts.sign_ins import see


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
