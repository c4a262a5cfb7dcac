"""Strangers who try tokens: ten unknown ones in ten minutes from one address lock unknown tokens from it out.

Valid tokens are served all the same, because many customers share an address: so they still have to be looked up, but those
of an address whose look-ups mostly open nothing wait in a line of their own (`look_ups.py`). Dead tokens do not lock
out, but count for that. Pure: time is passed in. Bounded: the longest unseen address is forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from ftpgate.net.addresses import network

TRIES = 10
"""Wrong tokens of one network within `WINDOW` after which its unknown tokens are locked out."""
WINDOW = 600.0
"""Seconds that a wrong try counts, and that a lock lasts."""
ADDRESSES = 10_000
"""Networks that are remembered; the longest quiet one is forgotten. A megabyte or two."""
LINES = 5
"""Wrong tokens of one network within a minute that the log names one by one; of further ones it has the number, when the minute
is over. Tries that are sent ahead must not fill a disk."""
MINUTE = 60.0
"""Seconds for which `LINES` counts."""


class FailedTokenLimiter:
    """Counts tokens that open nothing, by network."""

    def __init__(self) -> None:
        self._unknown = _Tries()
        self._useless = _Tries()

    def locked(self, address: str, now: float) -> int:
        """Seconds for which unknown tokens from `address` are still locked out; 0 when they are not."""
        left = self._unknown.left(network(address), now)
        return int(left) + 1 if left > 0 else 0

    def doubtful(self, address: str, now: float) -> bool:
        """Were `TRIES` tokens from `address` unknown or dead of late?"""
        return self._useless.left(network(address), now) > 0

    def wrong(self, address: str, now: float) -> None:
        """An unknown token came from `address`. While it is locked out, further ones change nothing."""
        self._unknown.add(network(address), now)
        self._useless.add(network(address), now)

    def dead(self, address: str, now: float) -> None:
        """A token came from `address` that was looked up and opens nothing any more."""
        self._useless.add(network(address), now)


class _Tries:
    """The last tries of each network, `TRIES` at the most."""

    def __init__(self) -> None:
        self._tries: OrderedDict[str, list[float]] = OrderedDict()

    def left(self, key: str, now: float) -> float:
        """Seconds for which there were `TRIES` within `WINDOW`; 0 or less when there were not."""
        tries = self._tries.get(key)
        return tries[-1] + WINDOW - now if tries is not None and len(tries) >= TRIES else 0.0

    def add(self, key: str, now: float) -> None:
        if self.left(key, now) > 0:
            return
        tries = [tried for tried in self._tries.pop(key, []) if now - tried < WINDOW]
        self._tries[key] = [*tries, now][-TRIES:]
        if len(self._tries) > ADDRESSES:
            self._tries.popitem(last=False)


class Told:
    """Which wrong tokens the log names. The longest untold network is forgotten first when there are too many."""

    def __init__(self) -> None:
        self._minutes: OrderedDict[str, _Minute] = OrderedDict()
        """By network, the earliest begun first."""

    def tells(self, address: str, now: float) -> bool:
        """A wrong token came from `address`: is it to be named?"""
        key = network(address)
        minute = self._minutes.get(key)
        if minute is None:
            minute = self._minutes[key] = _Minute(now)
            if len(self._minutes) > ADDRESSES:
                self._minutes.popitem(last=False)
        minute.tries += 1
        minute.address = address
        return minute.tries <= LINES

    def over(self, now: float) -> Iterator[tuple[str, int]]:
        """Addresses whose minute is over, with the number of tries that were not named; those without any are left out."""
        while self._minutes and now - next(iter(self._minutes.values())).since >= MINUTE:
            _, minute = self._minutes.popitem(last=False)
            if minute.tries > LINES:
                yield minute.address, minute.tries - LINES


class _Minute:
    __slots__ = ("address", "since", "tries")

    def __init__(self, since: float) -> None:
        self.since = since
        self.tries = 0
        self.address = ""
