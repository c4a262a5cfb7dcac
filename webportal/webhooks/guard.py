"""Where an event may be sent: to the Internet, and to nothing that only this machine or its network can reach."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from webportal.core.errors import EndpointError
from webportal.core.texts import Text
from webportal.webhooks.models import LONGEST_URL

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*")
_NUMBER = re.compile(r"(0[xX][0-9A-Fa-f]*|[0-9]+)")
"""The last part of what resolvers and browsers read as an IPv4 address ("127.1", "0x7f000001"). No public name ends so."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291 section 2.4; nothing else is in use on the Internet
_SPECIAL_4 = tuple(map(ipaddress.IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")))
"""Protocol assignments (a cloud's metadata among them) and 6to4 relays, RFC 6890, of which not every Python knows all; and
Azure's metadata service, which looks public and is reached from inside only."""
_SPECIAL_6 = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
"""Teredo and other protocols, examples, 6to4: IPv4 in disguise, or nobody."""


class Target(NamedTuple):
    """A checked address: what to connect to, and what to ask for there."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """For the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def target(url: str, *, allow_internal: bool) -> Target:
    """The parts of an endpoint's address.

    Raises:
        EndpointError: it is not allowed as a webhook target, as far as that can be told without asking for its name.
    """
    if not (url.isascii() and url.isprintable()) or " " in url or "\\" in url or len(url) > LONGEST_URL:
        raise EndpointError(Text.ADDRESS_CHARACTERS(address=url[:80]))
    try:
        parts = urlsplit(url)
        # "shop.example." is the same name, written out; but neither a certificate nor a `Host` header has that dot (RFC 6066, 3).
        host, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        raise EndpointError(Text.NOT_AN_ADDRESS(address=url[:80])) from None
    if parts.scheme not in (("https", "http") if allow_internal else ("https",)):
        raise EndpointError(Text.ADDRESS_NOT_HTTPS(address=url[:80]))
    if "@" in parts.netloc or parts.fragment or "#" in url:
        raise EndpointError(Text.ADDRESS_USER_OR_FRAGMENT())
    address = _literal(host)
    if address is None and (not _NAME.fullmatch(host) or _NUMBER.fullmatch(host.rpartition(".")[2])):
        raise EndpointError(Text.NOT_A_HOST(host=host[:80]))
    if not allow_internal and (is_internal(address) if address is not None else _is_local_name(host)):
        raise EndpointError(Text.INTERNAL_ADDRESS(host=host[:80]))
    if port == 0:
        raise EndpointError(Text.PORT_ZERO())
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(secure, host, port or (443 if secure else 80), path)


def is_internal(address: IPAddress) -> bool:
    """Is this an address of this machine, of a private or otherwise special network, or of a cloud's metadata service?"""
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or (ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else None)
        if inside is not None:
            return is_internal(inside)
        if address not in _GLOBAL_UNICAST or any(address in network for network in _SPECIAL_6):
            return True
    elif any(address in network for network in _SPECIAL_4):
        return True
    return not address.is_global or address.is_multicast or address.is_reserved


def _literal(host: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_local_name(host: str) -> bool:
    """A name of this machine. Others may still lead inside; that shows when their addresses are known."""
    return host.lower().rpartition(".")[2] in ("localhost", "local", "internal", "localdomain")
