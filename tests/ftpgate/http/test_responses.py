"""Status, headers and parts of the answers to requests for files, by the letter of RFC 9110."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.http import parse_options_header

from ftpgate.delivery.sections import Part
from ftpgate.http.dates import http_date, parse_date
from ftpgate.http.messages import Request, Response, Sent, head, preferred
from ftpgate.http.responses import content_disposition, resource_response
from ftpgate.sources.file import PlainFile
from ftpgate.sources.zip import ZipArchive
from tests.ftpgate.items import MTIME, content, make_file, make_item

SIZE = 1000
FILE = PlainFile(make_file(7, "x.ogg", SIZE), "x.ogg")
TAG = FILE.etag
NOW = MTIME + 1_000_000.0
DATE = http_date(MTIME)
EARLIER, LATER = http_date(MTIME - 1), http_date(MTIME + 1)


def response(method: str = "GET", resource: PlainFile | ZipArchive = FILE, now: float = NOW, **headers: str) -> Response:
    return conditional(method, headers, resource, now)


def conditional(method: str, headers: dict[str, str], resource: PlainFile | ZipArchive = FILE, now: float = NOW) -> Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return resource_response(Request(method, ("x.ogg",), given), resource, now)


def header(found: Response, name: str) -> str | None:
    values = [value for key, value in found.headers if key == name]
    assert len(values) <= 1, f"{name} is there more than once"
    return values[0] if values else None


def body(found: Response) -> bytes:
    """The bytes that would go out, with those of the file put in."""
    data = content(7, SIZE)
    return b"".join(data[part.start : part.end] if isinstance(part, Part) else part for part in found.parts)


def test_a_whole_file() -> None:
    found = response()
    assert (found.status, found.length, body(found)) == (200, SIZE, content(7, SIZE))
    assert header(found, "ETag") == TAG
    assert header(found, "Last-Modified") == DATE == "Wed, 01 Jun 2005 13:42:12 GMT"
    assert header(found, "Accept-Ranges") == "bytes"
    assert header(found, "Content-Type") == "audio/ogg"
    assert header(found, "Cache-Control") == "private, no-transform"
    digest = base64.b64encode(hashlib.sha256(content(7, SIZE)).digest()).decode()
    assert header(found, "Repr-Digest") == f"sha-256=:{digest}:"


def test_head_is_answered_like_get_and_ignores_ranges() -> None:
    assert response("HEAD", range="bytes=0-1").headers == response().headers
    assert response("HEAD", range="bytes=0-1").status == 200


def test_a_zip_has_no_digest_that_is_known() -> None:
    archive = ZipArchive(make_item("1", "A", [make_file(1, "a", 5)]), "A")
    found = response(resource=archive)
    assert header(found, "Repr-Digest") is None
    assert header(found, "ETag") == archive.etag


def test_an_empty_file_has_no_parts() -> None:
    found = response(resource=PlainFile(make_file(1, "a", 0), "a"), range="bytes=0-")
    assert (found.status, found.length, found.parts) == (416, len(body(found)), (body(found),))
    assert response(resource=PlainFile(make_file(1, "a", 0), "a")).parts == ()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_match": TAG}, 200),
        ({"if_match": "*"}, 200),
        ({"if_match": f'"other", {TAG}'}, 200),
        ({"if_match": f"W/{TAG}"}, 412),
        ({"if_match": '"other"'}, 412),
        ({"if_match": "nonsense"}, 412),
        ({"if_match": '"other"', "if_none_match": TAG}, 412),
        ({"if_match": TAG, "if_unmodified_since": EARLIER}, 200),
        ({"if_unmodified_since": EARLIER}, 412),
        ({"if_unmodified_since": DATE}, 200),
        ({"if_unmodified_since": "yesterday"}, 200),
        ({"if_none_match": TAG}, 304),
        ({"if_none_match": f"W/{TAG}"}, 304),
        ({"if_none_match": f'"a,b" ,, "c",{TAG}'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"other"'}, 200),
        ({"if_none_match": TAG[1:-1]}, 200),
        ({"if_none_match": '"other"', "if_modified_since": LATER}, 200),
        ({"if_modified_since": DATE}, 304),
        ({"if_modified_since": LATER}, 304),
        ({"if_modified_since": EARLIER}, 200),
        ({"if_modified_since": "Wednesday, 01-Jun-05 13:42:12 GMT"}, 304),
        ({"if_modified_since": "Wed Jun  1 13:42:12 2005"}, 304),
        ({"if_modified_since": "Wed, 01 Jun 2005 13:42:12 +0000"}, 200),
        ({"if_match": TAG, "if_none_match": TAG}, 304),
        ({"if_none_match": TAG, "range": "bytes=0-1"}, 304),
        ({"if_match": '"other"', "range": "bytes=5000-"}, 412),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_preconditions(method: str, headers: dict[str, str], status: int) -> None:
    found = conditional(method, headers)
    assert found.status == status
    assert header(found, "ETag") == TAG
    if status == 304:
        assert found.parts == ()
        assert header(found, "Content-Type") is None


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (TAG, True),
        (f"W/{TAG}", False),
        ('"other"', False),
        (DATE, True),
        (EARLIER, False),
        (LATER, False),
        ("nonsense", False),
        ("", False),
    ],
)
def test_if_range(value: str, part: bool) -> None:
    assert response(if_range=value, range="bytes=0-1").status == (206 if part else 200)
    assert response(if_range=value, range="bytes=5000-").status == (416 if part else 200)
    assert response(if_range=value).status == 200


def test_a_date_of_this_very_second_is_no_strong_validator() -> None:
    assert response(if_range=DATE, range="bytes=0-1", now=MTIME + 0.5).status == 200


def test_last_modified_never_lies_in_the_future() -> None:
    assert header(response(now=MTIME - 100), "Last-Modified") == http_date(MTIME - 100)


def test_one_range() -> None:
    found = response(range="bytes=10-19")
    assert (found.status, found.length, body(found)) == (206, 10, content(7, SIZE)[10:20])
    assert header(found, "Content-Range") == f"bytes 10-19/{SIZE}"
    assert header(found, "Content-Type") == "audio/ogg"


def test_a_range_that_is_the_whole_is_still_a_part() -> None:
    assert (response(range="bytes=0-").status, response(range="bytes=0-").length) == (206, SIZE)


@pytest.mark.parametrize("value", ["bytes=1000-", "bytes=5000-6000", "bytes=-0"])
def test_no_such_range(value: str) -> None:
    found = response(range=value)
    assert found.status == 416
    assert header(found, "Content-Range") == f"bytes */{SIZE}"
    assert found.length == len(body(found))


@pytest.mark.parametrize("value", ["items=0-1", "bytes=1", "bytes=2-1", "bytes", "bytes=0-1;2-3"])
def test_a_range_that_is_none_is_ignored(value: str) -> None:
    assert response(range=value).status == 200


@given(st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(1, 50)), min_size=1, max_size=12))
def test_several_ranges_as_a_mail_parser_reads_them(asked: list[tuple[int, int]]) -> None:
    value = "bytes=" + ", ".join(f"{start}-{start + count - 1}" for start, count in asked)
    found = response(range=value)
    data = content(7, SIZE)
    sent = body(found)
    assert found.status == 206
    assert found.length == len(sent)
    kind = header(found, "Content-Type")
    assert kind is not None
    if not kind.startswith("multipart/"):
        return
    message = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + sent, policy=email.policy.HTTP)
    covered: set[int] = set()
    for part in message.iter_parts():
        assert part["Content-Type"] == "audio/ogg"
        unit, _, span = part["Content-Range"].partition(" ")
        bounds, _, size = span.partition("/")
        first, last = (int(bound) for bound in bounds.split("-"))
        assert (unit, size) == ("bytes", str(SIZE))
        assert part.get_payload(decode=True) == data[first : last + 1]
        assert covered.isdisjoint(range(first, last + 1))
        covered.update(range(first, last + 1))
    assert covered == {at for start, count in asked for at in range(start, min(start + count, SIZE))}


@pytest.mark.parametrize("name", ["plain.ogg", "Песня № 1.ogg", "100% café.ogg", "a;b=c'd.ogg", 'q"\\.ogg', "日本.zip"])
def test_names_of_attachments(name: str) -> None:
    value = content_disposition(name)
    assert value.isascii()
    kind, options = parse_options_header(value)
    assert kind == "attachment"
    assert options["filename"] == name  # werkzeug prefers filename*
    fallback = value.partition('filename="')[2].partition('"')[0]
    assert "%" not in fallback
    assert "\\" not in fallback
    assert fallback.endswith(name[-4:])


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "text/html"),
        ("*/*", "text/html"),
        ("application/json", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/html;q=0.1, application/json;q=0.2", "application/json"),
        ("text/html;q=0, */*", "application/json"),
        ("application/*", "application/json"),
        ("image/png", "text/html"),
        ("application/json;q=high", "text/html"),
        (";;,=,", "text/html"),
        ("APPLICATION/JSON", "application/json"),
    ],
)
def test_what_a_client_prefers(accept: str | None, chosen: str) -> None:
    assert preferred(accept, ("text/html", "application/json")) == chosen


@given(st.integers(0, 253_402_300_799))
def test_dates_are_read_as_they_are_written(seconds: int) -> None:
    assert parse_date(http_date(seconds), NOW) == seconds


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("Sunday, 06-Nov-94 08:49:37 GMT", 1994),
        ("Sunday, 06-Nov-50 08:49:37 GMT", 2050),
        ("Sunday, 06-Nov-80 08:49:37 GMT", 1980),
    ],
)
def test_two_digit_years_are_not_far_ahead(text: str, year: int) -> None:
    found = parse_date(text, 1_800_000_000)
    assert found is not None
    assert http_date(found)[12:16] == str(year)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "Sun, 31 Feb 2020 00:00:00 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, ٠6 Nov 1994 08:49:37 GMT",
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert parse_date(text, NOW) is None


def test_the_header_block() -> None:
    block = head(Response(206, [("X", "y")], (), 5), Sent("now", "close"))
    assert block.startswith(b"HTTP/1.1 206 Partial Content\r\nDate: now\r\n")
    assert block.endswith(b"X: y\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
    assert b"Referrer-Policy: no-referrer\r\n" in block
    assert b"Content-Length" not in head(Response(304), Sent("now", ""))
