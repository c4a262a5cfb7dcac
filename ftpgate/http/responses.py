"""What a file or a zip is answered with: headers and the parts of the body, decided before anything is sent. Pure.

A whole file, one range, several ranges, a 304 and a 416 are one case here: a status, headers and parts; who sends them
does not know the difference.
"""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from functools import lru_cache
from urllib.parse import quote

from ftpgate.delivery.sections import BodyPart, Part
from ftpgate.errors import RangeNotSatisfiable
from ftpgate.http.conditions import Verdict, range_applies, verdict
from ftpgate.http.dates import http_date
from ftpgate.http.links import METALINK_SUFFIX, described_by
from ftpgate.http.messages import TEXT, Request, Response, body_response
from ftpgate.http.ranges import content_range, parse_range
from ftpgate.proof.coverage import Span
from ftpgate.sources import Resource

CACHING = ("Cache-Control", "private, no-transform")
"""What a token opens is its holder's alone, and a changed byte would spoil every range and digest."""

_ATTR_CHARS = "!#$&+.^_`|~"
# Of `attr-char` in RFC 8187 section 3.2.1; `quote` lets letters, digits and "_.-~" through by itself.


def resource_response(request: Request, resource: Resource, now: float) -> Response:
    """The answer to a GET or HEAD of `resource`.

    Args:
        now: Unix seconds.
    """
    # No Last-Modified may lie after the answer's own Date (RFC 9110 section 8.8.2.1).
    modified = int(min(resource.modified, now))
    etag = resource.etag
    found = verdict(request, etag, modified, now)
    if found is Verdict.FAILED:
        return body_response(412, TEXT, b"The file is not the one that the request names.\n", [("ETag", etag), CACHING])
    headers = [("ETag", etag), ("Last-Modified", http_date(modified)), CACHING]
    if found is Verdict.NOT_MODIFIED:
        return Response(304, headers)
    headers += _described(resource.name, resource.sha256)
    size = resource.size
    try:
        spans = _spans(request, resource, modified, now)
    except RangeNotSatisfiable as error:
        told = [("ETag", etag), CACHING, ("Accept-Ranges", "bytes"), ("Content-Range", f"bytes */{size}")]
        return body_response(416, TEXT, f"{error.text}\n".encode(), told)
    if spans is None:
        headers.append(("Content-Type", resource.content_type))
        return Response(200, headers, (Part(resource, 0, size),) if size else (), size)
    if len(spans) == 1:
        start, end = spans[0]
        headers += (("Content-Type", resource.content_type), ("Content-Range", content_range(spans[0], size)))
        return Response(206, headers, (Part(resource, start, end),), end - start)
    return _several(resource, spans, headers)


def _spans(request: Request, resource: Resource, modified: int, now: float) -> list[Span] | None:
    """The ranges to send, or None for the whole. `Range` has a meaning for GET only (RFC 9110 section 14.2)."""
    value = request.header("range")
    if value is None or request.is_head or not range_applies(request, resource.etag, modified, now):
        return None
    return parse_range(value, resource.size)


def _several(resource: Resource, spans: list[Span], headers: list[tuple[str, str]]) -> Response:
    """`multipart/byteranges` (RFC 9110 section 14.6). The boundary comes from the tag, which no content can contain by chance."""
    boundary = hashlib.sha256(f"{resource.etag}{spans}".encode()).hexdigest()[:32]
    parts: list[BodyPart] = []
    length = 0
    for span in spans:
        opening = (
            f"{'' if not parts else chr(13) + chr(10)}--{boundary}\r\nContent-Type: {resource.content_type}\r\n"
            f"Content-Range: {content_range(span, resource.size)}\r\n\r\n"
        ).encode()
        parts += (opening, Part(resource, *span))
        length += len(opening) + span[1] - span[0]
    closing = f"\r\n--{boundary}--\r\n".encode()
    parts.append(closing)
    headers.append(("Content-Type", f"multipart/byteranges; boundary={boundary}"))
    return Response(206, headers, tuple(parts), length + len(closing))


@lru_cache(maxsize=4096)
def _described(name: str, sha256: bytes | None) -> tuple[tuple[str, str], ...]:
    """The headers that only depend on what it is: the segments of one file ask for them again and again."""
    metalink = quote(name, safe="") + METALINK_SUFFIX  # beside it
    headers = [("Accept-Ranges", "bytes"), ("Content-Disposition", content_disposition(name)), described_by(metalink)]
    if sha256 is not None:
        headers.append(("Repr-Digest", f"sha-256=:{base64.b64encode(sha256).decode()}:"))
    return tuple(headers)


def content_disposition(name: str) -> str:
    """`attachment` with the name in UTF-8, and one in ASCII for clients that know no other (RFC 6266 appendix D).

    A `%` is taken out of the latter, since some clients would decode it.
    """
    plain = unicodedata.normalize("NFKD", name)
    ascii_name = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in plain if not unicodedata.combining(c))
    return f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe=_ATTR_CHARS)}"
