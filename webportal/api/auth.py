"""Who asks: a shop, by one of its keys."""

from __future__ import annotations

import math

from django.http import HttpRequest
from ninja.security import HttpBearer

from webportal.accounts import sign_in_limiter
from webportal.api.limits import RateLimit
from webportal.api.problems import Problem
from webportal.shops.models import ApiKey, Scope
from webportal.shops.selectors import live_key
from webportal.shops.services import use_key

RATE, BURST = 20.0, 200
limit = RateLimit(RATE, BURST)
"""For each key, in each serving process."""


class ShopRequest(HttpRequest):
    """A request with a live key that may do this."""

    auth: ApiKey


class Key(HttpBearer):
    """A live key that has a scope. `Key(scope)` is the `auth` of an operation."""

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self.scope = scope

    def authenticate(self, request: HttpRequest, token: str) -> ApiKey | None:
        """The key, None when it is unknown.

        Raises:
            Problem: the key may not do this, or asks too often.
        """
        key = live_key(token)
        if key is None:
            self._count_unknown(request)
            return None
        wait = limit.take(key.pk)
        if wait:
            raise Problem(429, f"More than {RATE:.0f} requests a second with this key.", name="rate", retry_after=math.ceil(wait))
        if not key.may([self.scope]):
            raise Problem(403, f"This key lacks the scope {self.scope.value}.", name="scope")
        use_key(key)
        return key

    def _count_unknown(self, request: HttpRequest) -> None:
        """Valid keys are looked at all the same, because several shops may share an address."""
        address = request.META.get("REMOTE_ADDR", "")
        wait = sign_in_limiter.limiter.wrong_key(address)
        if wait:
            raise Problem(429, "Too many wrong keys came from this address.", name="rate", retry_after=wait)
        sign_in_limiter.log.warning("failed sign-in from %s by API key", address)
