"""The address that PORT and EPRT name, as pyftpdlib's `FTPHandler` reads them. Pure."""

from __future__ import annotations

from ftpgate.errors import BadRequest, GateError

_HIGHEST_PORT = 65_535
IPV4, IPV6 = "1", "2"
"""Network protocols by their numbers (RFC 2428 section 2)."""


class NoSuchProtocol(GateError):
    """The address is one of a network protocol that the connection does not speak."""

    http, ftp = 400, 522


def parse_port(argument: str) -> tuple[str, int]:
    """Host and port of `h1,h2,h3,h4,p1,p2` (RFC 959 section 4.1.2). Raises BadRequest."""
    try:
        *parts, high, low = map(int, argument.split(","))
        host, port = ".".join(map(str, parts)), high * 256 + low
        _check_port(port)
        _check_ipv4(host)
    except ValueError:
        raise BadRequest("Invalid PORT format.") from None
    return host, port


def parse_eprt(argument: str, spoken: tuple[str, ...]) -> tuple[str, int]:
    """Host and port of `|protocol|host|port|`, with any delimiter (RFC 2428 section 2). An IPv6 host is not looked at.

    Args:
        spoken: the network protocols that a data connection may have, the better first.

    Raises:
        BadRequest: that is no address.
        NoSuchProtocol: it is one of a protocol that is not spoken.
    """
    try:
        protocol, host, number = argument.split(argument[:1])[1:-1]
        port = int(number)
        _check_port(port)
        if protocol == IPV4 and IPV4 in spoken:
            _check_ipv4(host)
    except ValueError:
        raise BadRequest("Invalid EPRT format.") from None
    if protocol not in spoken:
        if protocol not in (IPV4, IPV6):
            raise BadRequest(f"Unknown network protocol (use {spoken[0]}).")
        raise NoSuchProtocol(f"Network protocol not supported (use {spoken[0]}).")
    return host, port


def _check_port(port: int) -> None:
    if not 0 <= port <= _HIGHEST_PORT:
        raise ValueError


def _check_ipv4(host: str) -> None:
    parts = [int(part) for part in host.split(".")]
    if len(parts) != 4 or not all(0 <= part <= 255 for part in parts):
        raise ValueError
