"""Calls from a browser by pages of a shop, which come from another origin than the portal (Fetch section 3.2).

Only pages of origins that staff have entered for a shop may read answers, and with that shop's keys only. No cookie counts.
"""

from __future__ import annotations

from contextlib import suppress

from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import patch_vary_headers

from webportal.shops.models import ApiKey
from webportal.shops.selectors import is_origin_of_a_shop

METHODS = "GET, HEAD, POST, PATCH, DELETE"
HEADERS = "Authorization, Content-Type, Idempotency-Key"
READABLE = "Retry-After, Allow"
KEPT = 600
"""Seconds for which a browser need not ask again."""
_LONGEST = 270
"""Characters of an origin: a scheme, the longest name of a host, and a port."""


def preflight(request: HttpRequest) -> HttpResponse | None:
    """The answer to a browser that asks whether a page may call; None when this is no such question, or it may not."""
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers or not _allowed(request):
        return None
    answer = HttpResponse(status=204)
    answer["Access-Control-Allow-Methods"] = METHODS
    answer["Access-Control-Allow-Headers"] = HEADERS
    answer["Access-Control-Max-Age"] = str(KEPT)
    return answer


def mark(request: HttpRequest, response: HttpResponseBase) -> None:
    """Say in an answer which page may read it."""
    patch_vary_headers(response, ("Origin",))
    if _allowed(request):
        response["Access-Control-Allow-Origin"] = request.headers["Origin"]
        response["Access-Control-Expose-Headers"] = READABLE


def _allowed(request: HttpRequest) -> bool:
    origin = request.headers.get("Origin", "")
    if not 0 < len(origin) <= _LONGEST or not origin.isprintable():
        return False
    key = getattr(request, "auth", None)
    if isinstance(key, ApiKey):
        return key.shop.has_origin(origin)
    with suppress(DatabaseError, InterfaceError):  # the answer says by itself that it is away
        return is_origin_of_a_shop(origin)
    return False
