"""Addresses of clients. Pure."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

_LONGEST = 150
"""Characters kept of what is no address, as a proxy may write it."""


@lru_cache(4_096)
def network(address: str) -> str:
    """What counts as one stranger: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:_LONGEST]
    if parsed.version == 6:
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)
