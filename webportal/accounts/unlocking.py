"""Who is locked out by wrong passwords for their name can have a link sent by mail, which lets their browser try again.

Nobody learns by asking whether there is such a name: the answer is the same, and names are looked up by another thread, later.
Nor can the links be used up by others: one is good for as long as its mail counts against the number of mails.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from threading import Lock
from typing import NamedTuple

from django.core import signing

from ftpgate.net.addresses import network
from webportal.accounts.models import User
from webportal.accounts.sign_in_limiter import Tally, folded

TTL = 86_400.0
"""Seconds that a link is good for."""
MOST_MAILS, MOST_ASKED_AT_ADDRESS = 3, 20
"""Within `TTL`: mails for one name, and from one address (IPv6: /64)."""
_MOST_WAITING = 200
_SALT = "ftpgate unlock"


class Asked(NamedTuple):
    name: str
    address: str


class Requests:
    """Who has asked for a mail. In this process alone, as the limits are that it is about. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._tally = Tally(TTL)
        self._waiting: deque[Asked] = deque()

    def ask(self, name: str, address: str) -> None:
        """Remember that somebody asks, unless too many have."""
        keys = ((("name", folded(name)), MOST_MAILS), (("address", network(address)), MOST_ASKED_AT_ADDRESS))
        now = self._clock()
        with self._lock:
            if len(self._waiting) >= _MOST_WAITING or any(self._tally.wait(key, most, now) for key, most in keys):
                return
            for key, _most in keys:
                self._tally.add(key, now)
            self._waiting.append(Asked(name, address))

    def take(self) -> Asked | None:
        """The one that has waited longest; it waits no more."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None


requests = Requests()


def make_link(user: User) -> str:
    """What the address in the mail ends with."""
    return signing.dumps(user.pk, salt=_SALT)


def read_link(text: str) -> User | None:
    """Whose link this is; None when it is none, or too old."""
    try:
        key = signing.loads(text, salt=_SALT, max_age=timedelta(seconds=TTL))
    except signing.BadSignature:
        return None
    return User.objects.filter(pk=key, is_active=True).first()
