"""The `Range` request header and the `Content-Range` answer (RFC 9110 section 14). Pure."""

from __future__ import annotations

import re

from ftpgate.errors import RangeNotSatisfiable
from ftpgate.proof.coverage import Span

HEADER_LIMIT = 4096
"""Characters of a `Range` header that are looked at; sixteen ranges of the largest files need less than 700."""

# [0-9], not \d, which takes the digits of every script; OWS is space and tab, nothing else (RFC 9110 section 5.6.3).
_SPEC = re.compile(r"([0-9]*)-([0-9]*)")
_OWS = " \t"


def parse_range(header: str, size: int, *, limit: int = 16) -> list[Span] | None:
    """The half-open spans that a `Range` header asks for of a representation of `size` bytes.

    Spans that overlap or touch are one; otherwise they come in the order of the request (RFC 9110 section 15.3.7.2).
    What lies behind the end is cut off or left out. At most `limit` spans are returned, each within `[0, size)`.

    Returns:
        None when the whole is to be sent as if there were no header: another unit than bytes, a malformed header (one
        bad range spoils them all), one longer than `HEADER_LIMIT`, more than `limit` spans, or a suffix of an empty
        representation, which section 14.1.2 calls satisfiable but no `Content-Range` can express.

    Raises:
        RangeNotSatisfiable: the header is well-formed, but no range in it has a byte to give.
    """
    if len(header) > HEADER_LIMIT:
        return None
    unit, equals, specs = header.strip(_OWS).partition("=")
    if not equals or unit.lower() != "bytes":
        return None
    spans: list[Span] = []
    seen = empty_suffix = False
    for spec in specs.split(","):
        spec = spec.strip(_OWS)
        if not spec:
            continue  # empty list elements are to be ignored (section 5.6.1.2)
        match = _SPEC.fullmatch(spec)
        if not match or spec == "-":
            return None
        seen = True
        first, last = match.groups()
        if not first:
            start, end = max(0, size - int(last)), size
            empty_suffix = empty_suffix or (size == 0 and int(last) > 0)
        else:
            start, end = int(first), min(int(last) + 1, size) if last else size
            if last and int(last) < int(first):
                return None
        if start < end:
            spans.append((start, end))
    if not seen or empty_suffix:
        return None
    if not spans:
        raise RangeNotSatisfiable(size)
    spans = _coalesced(spans)
    return spans if len(spans) <= limit else None


def content_range(span: Span, size: int) -> str:
    """The value of `Content-Range` for one span: `bytes 0-9/10`."""
    return f"bytes {span[0]}-{span[1] - 1}/{size}"


def _coalesced(spans: list[Span]) -> list[Span]:
    """Overlapping and touching spans made one, each where its earliest part stood. One sort, so never quadratic."""
    if len(spans) == 1:
        return spans
    merged: list[tuple[int, int, int]] = []  # (place in the request, start, end)
    for start, end, place in sorted((start, end, place) for place, (start, end) in enumerate(spans)):
        if merged and start <= merged[-1][2]:
            before = merged[-1]
            merged[-1] = min(before[0], place), before[1], max(before[2], end)
        else:
            merged.append((place, start, end))
    return [(start, end) for _, start, end in sorted(merged)]
