"""Request heads out of a stream of bytes. Sans-IO: h11 reads the grammar, and what it is lax about is refused before.

A parser lives only while a head is arriving; nothing of it is kept while a body streams.
"""

from __future__ import annotations

import re
from contextlib import suppress
from urllib.parse import unquote_to_bytes

import h11

from ftpgate.errors import BadRequest, HeaderTooLarge
from ftpgate.http.messages import Request, VersionNotSupported

HEAD_LIMIT = 16 * 1024
"""Bytes of one request head, request line and all."""
FIELDS = 100
"""Header fields of one request: a head full of short ones would take ten milliseconds to read. Apache has the same limit."""

_LAX = re.compile(rb"(?<!\r)\n|\r(?!\n)|\n[ \t]|\0")
# A bare LF or CR, a folded line, a NUL: h11 takes them, other servers read them otherwise, and between the two lives
# request smuggling (RFC 9112 sections 2.2, 5.2).
_EMPTY_LINES = re.compile(rb"(?:\r\n)+")
"""To be ignored before a request (RFC 9112 section 2.2)."""
_TOKEN_START = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_ABSOLUTE = re.compile(r"https?://([^/?#]+)", re.IGNORECASE)
_HOST = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*(?::[0-9]*)?|\[[0-9A-Za-z.:_~!$&'()*+,;=-]+\](?::[0-9]*)?")
# `uri-host [ ":" port ]` of RFC 9110 section 7.2; it may be empty.
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def take_head(buffer: bytearray) -> Request | None:
    """Take one request off the front of `buffer`; None while its head is not complete.

    Raises:
        GateError: the head is malformed or too large, or a body follows it. What `buffer` holds is then of no use: the
            connection has to end with the answer.
    """
    if buffer.startswith(b"\r\n"):
        del buffer[: _EMPTY_LINES.match(buffer).end()]  # type: ignore[union-attr]
    end = buffer.find(b"\r\n\r\n", 0, HEAD_LIMIT)
    if end < 0:
        _check_start(buffer)
        return None
    raw = bytes(buffer[: end + 4])
    del buffer[: end + 4]
    if _LAX.search(raw):
        raise BadRequest("The request has line ends other than CRLF, or a header folded over several lines.")
    if raw.count(b"\n") > FIELDS + 2:
        raise HeaderTooLarge(f"The request has more than {FIELDS} header fields.")
    return _parsed(raw)


def _check_start(buffer: bytearray) -> None:
    """What can never become a good head is refused at once; else a client that ends lines with LF would wait in vain."""
    if not buffer or buffer == b"\r":
        return
    if not _TOKEN_START.match(buffer):
        raise BadRequest("This is no HTTP request. Was https meant?" if buffer[0] == 0x16 else None)
    if buffer.count(b"\n") != buffer.count(b"\r\n"):
        raise BadRequest("The request has line ends other than CRLF, or a header folded over several lines.")
    if len(buffer) >= HEAD_LIMIT:
        raise HeaderTooLarge()


def _parsed(raw: bytes) -> Request:
    line, _, rest = raw.partition(b"\r\n")
    if not line.isascii():
        # Names typed into curl arrive as raw UTF-8; h11 would refuse them.
        raw = _NOT_ASCII.sub(lambda match: b"%%%02X" % match[0][0], line) + b"\r\n" + rest
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
    connection.receive_data(raw)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        # What h11 says behind a colon is the line itself, which may hold a token.
        raise BadRequest(f"The request is malformed: {str(error).partition(':')[0][:120]}.") from None
    if not isinstance(event, h11.Request):
        raise BadRequest()
    if event.http_version[:2] != b"1.":
        raise VersionNotSupported()
    headers: dict[str, str] = {}
    for raw_name, raw_value in event.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if not _HOST.fullmatch(headers.get("host", "")):
        raise BadRequest("The Host header is no host.")  # demanded by RFC 9112 section 3.2
    minor = 0 if event.http_version == b"1.0" else 1
    options = {option.strip() for option in headers.get("connection", "").lower().split(",")}
    keep_alive = "close" not in options and (minor > 0 or "keep-alive" in options)
    method = event.method.decode("ascii")
    body = "transfer-encoding" in headers or headers.get("content-length", "0").strip("0") != ""
    if method not in ("GET", "HEAD"):
        # Where a body ends need not be known, since the connection ends as well; what it was for need not make sense.
        parts: tuple[str, ...] = ()
        with suppress(BadRequest):
            parts = _components(event.target.decode("ascii"))
        return Request(method, parts, headers, minor, keep_alive and not body)
    if body:
        raise BadRequest("A request body is not possible here.")
    target = event.target.decode("ascii")
    if absolute := _ABSOLUTE.match(target):
        headers["host"] = absolute[1]  # it counts, and not the header (RFC 9112 section 3.2.2)
        if not _HOST.fullmatch(absolute[1]):
            raise BadRequest("The request's target names no host.")
        target = target[absolute.end() :]
        if not target.startswith("/"):
            target = "/" + target
    return Request(method, _components(target), headers, minor, keep_alive)


def _components(target: str) -> tuple[str, ...]:
    """The components of a request target's path, decoded; the query is dropped, and a doubled slash is one."""
    path = target.partition("?")[0]
    if not path.startswith("/"):
        raise BadRequest("The request's target is no path.")
    if "#" in target:
        raise BadRequest("A # in a name has to be written as %23.")
    *above, last = path[1:].split("/")
    return tuple([_decoded(part) if "%" in part else part for part in (*filter(None, above), last)])


def _decoded(part: str) -> str:
    if _BAD_ESCAPE.search(part):
        raise BadRequest("A % in a name has to be written as %25.")
    try:
        text = unquote_to_bytes(part).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("The address is not UTF-8.") from None
    if "\0" in text:
        raise BadRequest("The address holds a NUL character.")
    return text
