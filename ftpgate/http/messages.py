"""Requests as the routes see them, answers before they are sent, and the words of the wire. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from ftpgate.delivery.sections import BodyPart, Part
from ftpgate.errors import GateError

REASONS = {
    200: "OK",
    204: "No Content",
    206: "Partial Content",
    301: "Moved Permanently",
    304: "Not Modified",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    410: "Gone",
    412: "Precondition Failed",
    416: "Range Not Satisfiable",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
"""RFC 9110 section 15 and RFC 6585; every status that this front answers."""

_STATUS_LINES = {status: f"HTTP/1.1 {status} {reason}\r\n" for status, reason in REASONS.items()}

WITHOUT_BODY = frozenset({204, 304})
"""Answers that end with their header (RFC 9110 sections 15.3.5 and 15.4.5)."""

TEXT = "text/plain; charset=utf-8"

PIECE = 16_384
"""Characters of a text that are made at a time: a millisecond's worth. The Metalink of a thousand albums has five million."""

Headers = Sequence[tuple[str, str]]

COMMON: Headers = (
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Robots-Tag", "noindex"),
)
"""On every answer: an address holds a token, which must not travel on in a Referer or into a search engine."""
_COMMON_LINES = "".join(f"{name}: {value}\r\n" for name, value in COMMON)


class RequestTimeout(GateError):
    http = 408
    text = "The request took too long to arrive."


class VersionNotSupported(GateError):
    http = 505
    text = "Only HTTP/1.0 and HTTP/1.1 are spoken here."


class Draining(GateError):
    http, ftp = 503, 421
    text = "The server is being restarted. Try again shortly."
    retry_after = 5


@dataclass(slots=True)
class Request:
    """One request without a body.

    Attributes:
        method: as sent; methods are case-sensitive.
        parts: the path's components, percent-decoded: `/d/x/` is `("d", "x", "")`.
        headers: by lower-case name; repeated ones joined by `, ` (RFC 9110 section 5.3).
        minor: the minor version: 0 or 1.
        keep_alive: the client would send another request on this connection.
    """

    method: str
    parts: tuple[str, ...]
    headers: Mapping[str, str]
    minor: int = 1
    keep_alive: bool = True

    def header(self, name: str) -> str | None:
        return self.headers.get(name)

    @property
    def is_head(self) -> bool:
        return self.method == "HEAD"

    @property
    def host(self) -> str:
        """The `Host` that the client addressed, `H` or `H:P`; '' when there is none that could stand in a link."""
        host = self.headers.get("host", "")
        return host if _HOST.fullmatch(host) else ""


_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


@dataclass(slots=True)
class Response:
    """What to send: decided before anything is sent, the same for GET and HEAD.

    Attributes:
        status: a key of `REASONS`.
        headers: all but `COMMON`, `Date`, `Connection` and `Content-Length`.
        parts: the body in order, for GET.
        length: bytes of the body; None when it is not known before.
        pieces: the body instead of `parts`, made as it is sent, where making it whole would keep others waiting.
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    parts: tuple[BodyPart, ...] = ()
    length: int | None = 0
    pieces: Iterator[bytes] | None = None

    @property
    def carries(self) -> bool:
        """Is there something in it to deliver, rather than only words of ours?"""
        return any(isinstance(part, Part) for part in self.parts)


class Sent(NamedTuple):
    """What a connection adds to an answer's header: the date, what becomes of the connection, and how the body is framed."""

    date: str
    connection: str
    """`close`, `keep-alive`, or '' for what the client's version takes for granted."""
    chunked: bool = False


def head(response: Response, sent: Sent) -> bytes:
    """The header block, ready for the wire. Values come from us, or were cleaned of control characters."""
    lines = [_STATUS_LINES[response.status], "Date: ", sent.date, "\r\n", _COMMON_LINES]
    for name, value in response.headers:
        lines += (name, ": ", value, "\r\n")
    if response.length is not None and response.status not in WITHOUT_BODY:
        lines += ("Content-Length: ", str(response.length), "\r\n")
    if sent.chunked:
        lines.append("Transfer-Encoding: chunked\r\n")
    if sent.connection:
        lines += ("Connection: ", sent.connection, "\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One chunk of the chunked coding (RFC 9112 section 7.1); the last one when it is empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def body_response(status: int, content_type: str, body: bytes, headers: Headers = ()) -> Response:
    """An answer whose whole body is at hand."""
    return Response(status, [("Content-Type", content_type), *headers], (body,), len(body))


compact_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""A document as JSON without spaces, in one line."""


def text_response(content_type: str, text: Iterable[str], headers: Headers = ()) -> Response:
    """A good answer whose text, if it is long, is made while it is sent, so that nobody else has to wait for it."""
    pieces = _gathered(text)
    first, second = next(pieces, b""), next(pieces, None)
    if second is None:
        return body_response(200, content_type, first, headers)
    return Response(200, [("Content-Type", content_type), *headers], (), None, chain((first, second), pieces))


def _gathered(text: Iterable[str]) -> Iterator[bytes]:
    """The same in UTF-8, in pieces of at least PIECE characters, but for the last."""
    held: list[str] = []
    length = 0
    for part in text:
        held.append(part)
        length += len(part)
        if length >= PIECE:
            yield "".join(held).encode()
            held, length = [], 0
    if held:
        yield "".join(held).encode()


def preferred(accept: str | None, offered: Sequence[str]) -> str:
    """Which of the `offered` media types the client wants most; the first when it does not care or wants none of them.

    RFC 9110 section 12.5.1; of equal weight, the one that the client named more exactly, then the one offered first.
    """
    if not accept or accept.strip() == "*/*":
        return offered[0]
    weights: dict[str, float] = {}
    for element in accept.lower().split(",")[:64]:
        name, *parameters = (part.strip() for part in element.split(";"))
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                weight = float(value) if _WEIGHT.fullmatch(value.strip()) else 0.0
        weights[name] = weight
    best, chosen = (0.0, 3), offered[0]  # a weight of 0 means: not this one
    for media_type in offered:
        kind = media_type.partition("/")[0]
        for exactness, pattern in ((3, media_type), (2, f"{kind}/*"), (1, "*/*")):
            if pattern in weights:
                if (weights[pattern], exactness) > best:
                    best, chosen = (weights[pattern], exactness), media_type
                break
    return chosen


_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
