"""Strangers who try tokens: ten unknown ones in ten minutes from one address lock unknown tokens from it out.

Valid tokens are served all the same, because many customers share an address. Pure: time is passed in. Bounded: the
longest unseen address is forgotten first.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

TRIES = 10
WINDOW = 600.0
"""Seconds that a wrong try counts, and that a lock lasts."""
ADDRESSES = 10_000


def network(address: str) -> str:
    """What counts as one stranger: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 6:
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


class Strangers:
    """Counts unknown tokens by network."""

    def __init__(self) -> None:
        self._tries: OrderedDict[str, list[float]] = OrderedDict()

    def locked(self, address: str, now: float) -> int:
        """Seconds for which unknown tokens from `address` are still locked out; 0 when they are not."""
        tries = self._tries.get(network(address))
        if tries is None or len(tries) < TRIES:
            return 0
        return max(int(tries[-1] + WINDOW - now) + 1, 0) if now < tries[-1] + WINDOW else 0

    def wrong(self, address: str, now: float) -> None:
        """An unknown token came from `address`. While it is locked out, further ones change nothing."""
        if self.locked(address, now):
            return
        key = network(address)
        tries = [tried for tried in self._tries.pop(key, []) if now - tried < WINDOW]
        self._tries[key] = [*tries, now][-TRIES:]
        if len(self._tries) > ADDRESSES:
            self._tries.popitem(last=False)
