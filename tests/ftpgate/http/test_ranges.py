"""Range headers: RFC 9110's own examples, the traps seen in the wild, a slow model, and werkzeug's parser beside ours."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.http import parse_range_header

from ftpgate.errors import RangeNotSatisfiable
from ftpgate.http.ranges import HEADER_LIMIT, content_range, parse_range
from ftpgate.proof.coverage import Span, SpanSet


@pytest.mark.parametrize(
    ("header", "size", "spans"),
    [
        # RFC 9110 section 14.1.2
        ("bytes=0-499", 10_000, [(0, 500)]),
        ("bytes=500-999", 10_000, [(500, 1000)]),
        ("bytes=-500", 10_000, [(9500, 10_000)]),
        ("bytes=9500-", 10_000, [(9500, 10_000)]),
        ("bytes=0-0,-1", 10_000, [(0, 1), (9999, 10_000)]),
        ("bytes= 0-999, 4500-5499, -1000", 10_000, [(0, 1000), (4500, 5500), (9000, 10_000)]),
        ("bytes=500-600,601-999", 10_000, [(500, 1000)]),
        ("bytes=500-700,601-999", 10_000, [(500, 1000)]),
        # Parsers in the wild refuse these
        ("bytes=0-0", 10, [(0, 1)]),
        ("bytes=0-0", 1, [(0, 1)]),
        ("bytes=-11", 10, [(0, 10)]),
        ("bytes=-99999999999999999999999999", 10, [(0, 10)]),
        ("bytes=0-99999999999999999999999999", 10, [(0, 10)]),
        ("bytes=0-", 10, [(0, 10)]),
        ("bytes=9-9", 10, [(9, 10)]),
        ("bytes=00000-0001", 10, [(0, 2)]),
        ("BYTES=1-2", 10, [(1, 3)]),
        (" bytes=1-2\t", 10, [(1, 3)]),
        ("bytes=,1-2, ,\t,4-4,", 10, [(1, 3), (4, 5)]),
        # What has nothing to give is left out
        ("bytes=20-30,1-2,-0", 10, [(1, 3)]),
        # The order of the request is kept, a merged span stands where its earliest part stood
        ("bytes=8-8,0-0,4-4", 10, [(8, 9), (0, 1), (4, 5)]),
        ("bytes=8-8,0-1,4-4,1-2", 10, [(8, 9), (0, 3), (4, 5)]),
        ("bytes=5-,0-4", 10, [(0, 10)]),
        ("bytes=0-8,2-3", 10, [(0, 9)]),
        ("bytes=5000000000-5000000001", 6_000_000_000, [(5_000_000_000, 5_000_000_002)]),
    ],
)
def test_spans(header: str, size: int, spans: list[Span]) -> None:
    assert parse_range(header, size) == spans


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=-1-2",
        "bytes=+1-2",
        "bytes=1 - 2",
        "bytes=1_0-2_0",
        "bytes=١-",  # digits to str.isdigit, not to HTTP
        "bytes=0-٢",
        "bytes=-٢",
        "bytes=5-4",
        "bytes=0-1,5-4",
        "bytes=0-1;2-3",
        "bytes=99-,x",
        "bytes 0-1",
        "bytes =0-1",
        "items=0-1",
        "none",
    ],
)
def test_malformed_and_foreign_headers_are_ignored(header: str) -> None:
    assert parse_range(header, 10) is None


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=10-20,99-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-0", 0)]
)
def test_nothing_to_give_is_refused_with_the_size(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable) as refused:
        parse_range(header, size)
    assert refused.value.size == size
    assert refused.value.http == 416


def test_a_suffix_of_nothing_is_the_whole_of_nothing() -> None:
    assert parse_range("bytes=-5", 0) is None


def test_a_header_of_32_kilobytes_is_ignored() -> None:
    assert parse_range("bytes=" + ",".join(f"{n}-{n + 1}" for n in range(0, 9000, 3)), 10_000) is None
    longest = "bytes=0-" + "9" * (HEADER_LIMIT - 8)
    assert parse_range(longest, 10) == [(0, 10)]
    assert parse_range(longest + "9", 10) is None


def test_many_ranges_are_the_whole_unless_they_join() -> None:
    apart = ",".join(f"{n}-{n}" for n in range(0, 32, 2))
    assert parse_range(f"bytes={apart}", 100) == [(n, n + 1) for n in range(0, 32, 2)]
    assert parse_range(f"bytes={apart},40-40", 100) is None
    assert parse_range(f"bytes={apart},40-40", 100, limit=17) is not None
    assert parse_range("bytes=" + ",".join(f"{n}-{n + 1}" for n in range(500)), 1000) == [(0, 501)]


@given(st.integers(0, 1 << 60), st.integers(1, 1 << 60), st.integers(0, 1 << 60))
def test_content_range_reads_back(start: int, length: int, behind: int) -> None:
    span, size = (start, start + length), start + length + behind
    unit, _, rest = content_range(span, size).partition(" ")
    positions, _, total = rest.partition("/")
    assert (unit, int(total)) == ("bytes", size)
    assert parse_range(f"{unit}={positions}", size) == [span]


def test_content_range() -> None:
    assert content_range((0, 10), 10) == "bytes 0-9/10"


numbers = st.integers(0, 30)
ordered = st.builds(lambda first, length: f"{first}-{first + length}", numbers, numbers)  # mostly: one bad spec spoils a header
backwards = st.builds("{}-{}".format, st.integers(2, 30), st.integers(0, 3))
specs = st.one_of(ordered, ordered, ordered, st.builds("{}-".format, numbers), st.builds("-{}".format, numbers), backwards)


def bytes_asked_for(spec: str, size: int) -> set[int] | None:
    """A slow reading of one range-spec; None when it is malformed."""
    first, last = spec.split("-")
    if not first:
        return set(range(size)[-int(last) :]) if int(last) else set()
    if last and int(last) < int(first):
        return None
    return {at for at in range(size) if int(first) <= at and (not last or at <= int(last))}


@given(st.lists(specs, min_size=1, max_size=8), st.integers(1, 25))
def test_like_the_model(asked: list[str], size: int) -> None:
    wanted = [bytes_asked_for(spec, size) for spec in asked]
    header = "bytes=" + ", ".join(asked)
    if None in wanted:
        assert parse_range(header, size) is None
        return
    union: set[int] = set().union(*(want for want in wanted if want is not None))
    if not union:
        with pytest.raises(RangeNotSatisfiable):
            parse_range(header, size)
        return
    found = parse_range(header, size)
    assert found is not None
    assert {at for span in found for at in range(*span)} == union
    assert sorted(found) == list(SpanSet(found))  # disjoint, and not touching
    places = [min(at for at, want in enumerate(wanted) if want and want & set(range(*span))) for span in found]
    assert places == sorted(places)


@given(specs, st.integers(1, 25))
@example("0-0", 10)
def test_single_ranges_as_werkzeug_reads_them(spec: str, size: int) -> None:
    """Where it is right: it refuses a suffix that is longer than the file, and knows no `-0`."""
    theirs = parse_range_header(f"bytes={spec}")
    if theirs is None:
        try:
            assert parse_range(f"bytes={spec}", size) is None
        except RangeNotSatisfiable:
            assert spec in ("-0", "-00")
        return
    expected = theirs.range_for_length(size)
    if spec.startswith("-") and int(spec[1:]) > size:
        expected = (0, size)
    if expected is None:
        with pytest.raises(RangeNotSatisfiable):
            parse_range(f"bytes={spec}", size)
    else:
        assert parse_range(f"bytes={spec}", size) == [expected]


@given(st.lists(specs, min_size=2, max_size=6), st.integers(1, 25))
@example(["1-2", "5-9", "-3"], 20)
def test_several_ranges_as_werkzeug_reads_them(asked: list[str], size: int) -> None:
    """Where it reads them at all: only those that ascend and do not overlap."""
    header = "bytes=" + ",".join(asked)
    theirs = parse_range_header(header)
    if theirs is None:
        return
    bounds = [(max(0, size + start), size) if start < 0 else (start, min(end or size, size)) for start, end in theirs.ranges]
    expected = {at for start, end in bounds for at in range(start, end)}
    if not expected:
        with pytest.raises(RangeNotSatisfiable):
            parse_range(header, size)
        return
    found = parse_range(header, size)
    assert found is not None
    assert {at for span in found for at in range(*span)} == expected


@given(st.text(max_size=60) | st.text("bytes=0123456789-, \t", max_size=60).map("bytes=".__add__), st.integers(0, 1 << 62))
def test_anything_may_come(header: str, size: int) -> None:
    try:
        found = parse_range(header, size)
    except RangeNotSatisfiable:
        return
    if found is not None:
        assert 1 <= len(found) <= 16
        assert all(0 <= start < end <= size for start, end in found)
