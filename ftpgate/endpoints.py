"""Addresses as settings, tables and links have them: `H:P`, and what a gate says of how clients reach it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

PROTOCOLS = ("ftp", "http", "ftps", "https", "admin")
"""What a gate listens for; `admin` is not for clients."""
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104
_LOOPBACK = dict(zip(_EVERYWHERE, ("127.0.0.1", "::1"), strict=True))


class Address(NamedTuple):
    """Where to listen. Port 0 is any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def everywhere(self) -> bool:
        """Does it mean every interface? Nobody can dial such a host."""
        return self.host in _EVERYWHERE

    @property
    def at_home(self) -> Address:
        """How this machine itself reaches it: on loopback, if it means every interface."""
        return self._replace(host=_LOOPBACK.get(self.host, self.host))


def bracketed(host: str) -> str:
    """A host as addresses and `Host` headers have it: an IPv6 one in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def parse_address(text: str) -> Address:
    """`127.0.0.1:2121` or `[::1]:2121`. Raises ValueError."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:\[\]/]+)):([0-9]{1,5})", text.strip())
    if not match or int(match[3]) > 65_535:
        raise ValueError("not an address such as 127.0.0.1:2121 or [::1]:2121")
    return Address(match[1] or match[2], int(match[3]))


def parse_advertised(text: str) -> Mapping[str, str]:
    """`ftp=H:P,http=H:P`, in any order, to protocol -> `H:P`. Raises ValueError."""
    found: dict[str, str] = {}
    for part in text.split(","):
        protocol, equals, given = (piece.strip() for piece in part.partition("="))
        if not equals or protocol not in PROTOCOLS:
            raise ValueError(f"not a list such as ftp=H:P,http=H:P (of {', '.join(PROTOCOLS)}): {part.strip()[:60]!r}")
        if protocol in found:
            raise ValueError(f"not clear: {protocol} is given twice")
        try:
            address = parse_address(given)
        except ValueError as error:
            raise ValueError(f"not a list such as ftp=H:P,http=H:P: {given[:60]!r} is {error}") from None
        if not re.fullmatch(r"[\w.-]{1,253}|[0-9A-Fa-f:.]+", address.host):
            raise ValueError(f"not a list such as ftp=H:P,http=H:P: {given[:60]!r} names no host")
        if not address.port or address.everywhere:
            raise ValueError(f"not a list of addresses that clients can dial: {given!r}")
        found[protocol] = str(address)
    return found


def client_addresses(listening: Mapping[str, str], advertised: Mapping[str, str], public_host: str | None) -> dict[str, str]:
    """Where clients find a gate, by protocol: what it says, else where it listens, under the public host if there is one.

    What means every interface is left out: it tells nobody where to go.
    """
    found: dict[str, str] = {}
    for protocol, where in listening.items():
        if protocol == "admin" or not where:
            continue
        address = parse_address(where)
        if protocol in advertised:
            found[protocol] = advertised[protocol]
        elif public_host is not None:
            found[protocol] = str(Address(public_host, address.port))
        elif not address.everywhere:
            found[protocol] = where
    return found


def dialled_from(address: str, host: str, here: str) -> str:
    """`address` of a program on the machine `host`, as one on the machine `here` reaches it: an address that means every
    interface is loopback at home, and the machine's name elsewhere."""
    found = parse_address(address)
    if not found.everywhere:
        return address
    return str(found.at_home if host == here else Address(host, found.port))


def only_at_home(address: str) -> bool:
    """Is it an address that other machines have of their own?"""
    host = parse_address(address).host
    return host in ("::1", "localhost") or host.startswith("127.")
