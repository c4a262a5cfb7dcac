"""Conditional requests (RFC 9110 section 13): is what the client holds still what there is? Pure."""

from __future__ import annotations

import re
from enum import Enum, auto

from ftpgate.http.dates import parse_date
from ftpgate.http.messages import Request

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_OWS = " \t"


class Verdict(Enum):
    PROCEED = auto()
    NOT_MODIFIED = auto()
    FAILED = auto()
    """412."""


def verdict(request: Request, etag: str, modified: int, now: float) -> Verdict:
    """Weigh the preconditions of a GET or HEAD in the order of section 13.2.2.

    Args:
        etag: the representation's strong entity tag, with quotes.
        modified: what `Last-Modified` says, Unix seconds.
        now: Unix seconds.
    """
    if_match = request.header("if-match")
    if if_match is not None:
        if not _lists(if_match, etag, weak=False):
            return Verdict.FAILED
    else:
        since = _date(request.header("if-unmodified-since"), now)
        if since is not None and modified > since:
            return Verdict.FAILED
    if_none_match = request.header("if-none-match")
    if if_none_match is not None:
        return Verdict.NOT_MODIFIED if _lists(if_none_match, etag, weak=True) else Verdict.PROCEED
    since = _date(request.header("if-modified-since"), now)
    return Verdict.NOT_MODIFIED if since is not None and modified <= since else Verdict.PROCEED


def range_applies(request: Request, etag: str, modified: int, now: float) -> bool:
    """Does `If-Range` (section 13.1.5) let the `Range` count? A weak tag never does, and a date only when it is exact and
    strong: not of the second in which the file might still have been written.
    """
    value = request.header("if-range")
    if value is None:
        return True
    value = value.strip(_OWS)
    if value.startswith(('"', "W/")):
        return value == etag
    date = parse_date(value, now)
    return date is not None and date == modified and modified + 1 <= now


def _lists(value: str, etag: str, *, weak: bool) -> bool:
    """Is `etag`, a strong one, in a list of entity tags? By weak comparison, or by the strong one (section 8.8.3.2).

    A list that is malformed is read up to where it goes wrong.
    """
    if value.strip(_OWS) == "*":
        return True
    at = 0
    while at < len(value):
        if value[at] in _OWS + ",":
            at += 1
            continue
        match = _TAG.match(value, at)
        if not match:
            return False
        if match[2] == etag and (weak or not match[1]):
            return True
        at = match.end()
    return False


def _date(value: str | None, now: float) -> int | None:
    return None if value is None else parse_date(value.strip(_OWS), now)
