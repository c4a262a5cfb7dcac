"""How often passwords, codes and API keys may be tried. Counted in this process alone, before a password is hashed.

A wrong password counts for its address (IPv6: /64), for its name, and for both together. A name that is under attack from
many addresses is left few tries at each of them instead of being closed: nobody can lock its owner out everywhere. A browser in
which somebody has signed in before is remembered by a cookie, and counted by itself only (OWASP: device cookies).

A wrong code, asked for after the password, counts as a wrong password does. Codes have few digits, so all addresses together have
a bound for each name as well: it takes the right password to reach it, and browsers that are remembered are free of it.
"""

from __future__ import annotations

import logging
import math
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from ftpgate.net.addresses import network

WINDOW = 900.0
"""Seconds that a wrong try counts."""
MOST_AT_ADDRESS = 20
"""Wrong tries of one network within `WINDOW`, for whatever names: an office behind one router makes some."""
MOST_OF_NAME_AT_ADDRESS = 10
"""Wrong tries at one name from one network within `WINDOW`."""
NAME_UNDER_ATTACK = 50
"""Wrong passwords for one name, after which each address has `FEW` tries at it."""
FEW = 2
"""Tries at a name under attack for each network: its owner mistypes once."""
MOST_CODES_OF_NAME = 20
"""With three codes of a million right at a time, this lets 0.6 % of a day's guesses in."""
MOST_AT_ONCE, MOST_AT_ONCE_AT_ADDRESS, MORE_FOR_KNOWN = 4, 2, 2
"""Passwords that are hashed at the same time: the other threads are for pages."""
_SOON = 1.0
"""Seconds after which to come again when too many passwords are being hashed."""
_MOST_KEYS = 20_000
"""Names, networks and pairs that are remembered; some megabytes."""
_LONGEST_NAME = 150
"""Characters of a name that are counted; Django's names have no more."""

log = logging.getLogger("ftpgate.auth")
"""Wrong tries, for programs that shut addresses out: `failed sign-in from ADDRESS by password`, `by code` or `by API key`."""


class Tally:
    """Tries by key, within the last `window` seconds. The longest untried key is forgotten above `_MOST_KEYS`."""

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._tries: OrderedDict[object, list[float]] = OrderedDict()

    def count(self, key: object, now: float) -> int:
        return len(self._fresh(key, now))

    def wait(self, key: object, most: int, now: float) -> float:
        """Seconds until there will have been fewer than `most`; 0 when there are."""
        tries = self._fresh(key, now)
        return 0.0 if len(tries) < most else tries[-most] + self._window - now

    def add(self, key: object, now: float) -> None:
        self._tries[key] = [*self._fresh(key, now), now][-NAME_UNDER_ATTACK:]
        self._tries.move_to_end(key)
        if len(self._tries) > _MOST_KEYS:
            self._tries.popitem(last=False)

    def take_back(self, key: object, at: float) -> None:
        """As if what was added at this time had not been."""
        tries = self._tries.get(key, [])
        if at in tries:
            tries.remove(at)

    def forget(self, key: object) -> None:
        self._tries.pop(key, None)

    def _fresh(self, key: object, now: float) -> list[float]:
        return [tried for tried in self._tries.get(key, ()) if now - tried < self._window]


def folded(name: str) -> str:
    """A name as it is counted, in whatever spelling it was tried."""
    return unicodedata.normalize("NFKC", name[:_LONGEST_NAME]).casefold()


class Attempt:
    """A password that is being looked at. It counts as wrong from its begin, so that tries at the same time count too."""

    def __init__(self, limiter: SignInLimiter, keys: list[tuple[object, ...]], address: str, at: float) -> None:
        self._limiter = limiter
        self.keys = keys
        self.address = address
        self.at = at
        self.over = False

    def failed(self) -> None:
        self._limiter.end(self)

    def succeeded(self) -> None:
        """Wrong ones of this name from here are forgotten; those of other names from here are not."""
        self._limiter.end(self, right=True, known=True)

    def abandoned(self) -> None:
        """Nobody knows what it was: the database did not answer, or staff's page turned a customer away."""
        self._limiter.end(self, right=True)


class SignInLimiter:
    """Which passwords may be tried now. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._tally = Tally()
        self._running: dict[str, int] = {}

    def begin(self, name: str, address: str, device: str | None, *, code: bool = False) -> Attempt | int:
        """An attempt, to be ended, or the seconds after which there may be one.

        Args:
            device: what identifies a browser that has signed in under this name before.
            code: it is one of a few digits, and not a password.
        """
        name, address, now = folded(name), network(address), self._clock()
        with self._lock:
            wait = self._wait(name, address, device, now, code) or self._busy(address, device)
            if wait:
                return math.ceil(wait)
            keys: list[tuple[object, ...]] = (
                [("device", device)] if device else [("pair", name, address), ("address", address), ("name", name)]
            )
            if code and not device:
                keys.append(("code", name))
            for key in keys:
                self._tally.add(key, now)
            self._running[address] = self._running.get(address, 0) + 1
            return Attempt(self, keys, address, now)

    def end(self, attempt: Attempt, *, right: bool = False, known: bool = False) -> None:
        """Count an attempt once, however often it is ended."""
        with self._lock:
            if attempt.over:
                return
            attempt.over = True
            left = self._running[attempt.address] - 1
            if left:
                self._running[attempt.address] = left
            else:
                del self._running[attempt.address]
            for key in attempt.keys if right else ():
                self._tally.take_back(key, attempt.at)
            if known:
                self._tally.forget(attempt.keys[0])

    def is_closed(self, name: str, address: str, device: str | None) -> bool:
        """Are passwords for this name not even looked at, when they come from there?"""
        with self._lock:
            return self._wait(folded(name), network(address), device, self._clock(), code=False) > 0

    def wrong_key(self, address: str) -> int:
        """An API key was wrong: the seconds for which further ones from this address are not even looked at, or 0."""
        with self._lock:
            key, now = ("key", network(address)), self._clock()
            wait = self._tally.wait(key, MOST_AT_ADDRESS, now)
            if not wait:
                self._tally.add(key, now)
            return math.ceil(wait)

    def _wait(self, name: str, address: str, device: str | None, now: float, code: bool) -> float:
        if device:
            return self._tally.wait(("device", device), MOST_OF_NAME_AT_ADDRESS, now)
        attacked = self._tally.count(("name", name), now) >= NAME_UNDER_ATTACK
        return max(
            self._tally.wait(("address", address), MOST_AT_ADDRESS, now),
            self._tally.wait(("pair", name, address), FEW if attacked else MOST_OF_NAME_AT_ADDRESS, now),
            self._tally.wait(("code", name), MOST_CODES_OF_NAME, now) if code else 0.0,
        )

    def _busy(self, address: str, device: str | None) -> float:
        most = MOST_AT_ONCE + (MORE_FOR_KNOWN if device else 0)
        at_address = 0 if device else self._running.get(address, 0)
        return _SOON if sum(self._running.values()) >= most or at_address >= MOST_AT_ONCE_AT_ADDRESS else 0.0


limiter = SignInLimiter()
