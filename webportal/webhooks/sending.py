"""One POST to an address that a stranger chose: bounded in time and size, and never to the inside.

The name is looked up once, every address that it has is checked, and one of those is connected to: a name that leads
elsewhere a moment later (DNS rebinding) gains nothing by it. Redirects are not followed and proxies not asked.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
import ssl
import time
from collections.abc import Mapping
from typing import NamedTuple

import h11

from ftpgate.translatable import TranslatableText, os_reason
from webportal.core.errors import EndpointError
from webportal.core.texts import Text
from webportal.webhooks.guard import Target, is_internal, target

SECONDS = 10.0
"""Of one attempt, from the connection to the answer."""
MOST_ANSWER = 1024
"""Bytes of an answer's body that are kept for staff."""
_MOST_RECEIVED = 64 << 10
"""Bytes of an answer before its head has to be whole."""
_MOST_ADDRESSES = 4
"""Of a name that are tried in one attempt."""
_MOST_SAID = 500
"""Characters of an error that may quote what the other side sent."""


class Response(NamedTuple):
    """What the other side said: its status, and the beginning of its body as text."""

    status: int
    text: str


class Unsent(Exception):
    """There is no answer; `why` tells why not."""

    def __init__(self, why: TranslatableText) -> None:
        self.why = why
        super().__init__(why)


def post(
    url: str, headers: Mapping[str, str], body: bytes, *, allow_internal: bool = False, seconds: float = SECONDS
) -> Response:
    """POST a body, and wait for the answer until `seconds` after the name was looked up.

    Raises:
        Unsent: the address is internal, nobody listens there, or no valid answer came in time.
    """
    try:
        to = target(url, allow_internal=allow_internal)
        addresses = _look_up(to, allow_internal)
        deadline = time.monotonic() + seconds
        with _connect(to, addresses, deadline) as connection:
            return _ask(connection, to, headers, body, deadline)
    except EndpointError as error:
        raise Unsent(error.text) from None
    except TimeoutError:
        raise Unsent(Text.NO_ANSWER(seconds=seconds)) from None
    except ssl.SSLError as error:
        raise Unsent(Text.TLS_FAILED(reason=str(error.reason or error))) from None
    except OSError as error:
        raise Unsent(Text.CONNECTION_FAILED(reason=os_reason(error))) from None
    except h11.RemoteProtocolError as error:
        raise Unsent(Text.ANSWER_NOT_HTTP(reason=str(error)[:_MOST_SAID])) from None


def _look_up(to: Target, allow_internal: bool) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    try:
        found = socket.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        raise Unsent(Text.HOST_UNKNOWN(host=to.host)) from None
    addresses: list[tuple[socket.AddressFamily, tuple[str, int]]] = []
    for family, _, _, _, address in found:
        host = str(address[0])
        # One internal address among others is refused too: nobody would mean that.
        if not allow_internal and ("%" in host or is_internal(ipaddress.ip_address(host))):
            raise Unsent(Text.LEADS_TO_INTERNAL(host=to.host, address=host))
        addresses.append((family, (host, to.port)))
    return addresses[:_MOST_ADDRESSES]


def _connect(to: Target, addresses: list[tuple[socket.AddressFamily, tuple[str, int]]], deadline: float) -> socket.socket:
    failure: OSError = TimeoutError()
    for after, (family, address) in enumerate(addresses, 1 - len(addresses)):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(_left(deadline) / (1 - after))  # an address that swallows packets leaves time for the next
            connection.connect(address)
            if not to.secure:
                return connection
            connection.settimeout(_left(deadline))
            return _tls().wrap_socket(connection, server_hostname=to.host)
        except OSError as error:
            connection.close()
            failure = error
    raise failure


def _ask(connection: socket.socket, to: Target, headers: Mapping[str, str], body: bytes, deadline: float) -> Response:
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=16 << 10)
    sent = {"Host": to.authority, "Content-Length": str(len(body)), "Connection": "close", **headers}
    request = h11.Request(method="POST", target=to.path, headers=list(sent.items()))
    connection.settimeout(_left(deadline))
    connection.sendall(b"".join(http.send(event) or b"" for event in (request, h11.Data(data=body), h11.EndOfMessage())))
    status, text, received = 0, b"", 0
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            if received > _MOST_RECEIVED:
                raise Unsent(Text.ANSWER_HEAD_ENDLESS())
            try:
                connection.settimeout(_left(deadline))
                data = connection.recv(4096)
            except OSError:
                if status:
                    break  # what it had to say is known
                raise
            received += len(data)
            http.receive_data(data)
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            text += bytes(event.data)[: MOST_ANSWER - len(text)]
            if len(text) >= MOST_ANSWER:
                break
        elif isinstance(event, h11.InformationalResponse):
            continue
        else:
            break
    if not status:
        raise Unsent(Text.ANSWER_NOT_TO_POST())
    return Response(status, text.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}"))


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
