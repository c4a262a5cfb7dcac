"""Request heads: what is taken, what is refused, and that it does not matter how the bytes come."""

from __future__ import annotations

import pytest

from ftpgate.errors import GateError
from ftpgate.http.messages import Request
from ftpgate.http.parser import HEAD_LIMIT, take_head


def parse(data: bytes) -> Request:
    found = take_head(bytearray(data))
    assert found is not None
    return found


def status(data: bytes) -> int:
    with pytest.raises(GateError) as raised:
        take_head(bytearray(data))
    return raised.value.http


def get(target: str, *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/{version}", "Host: h", *headers, "", ""]).encode()


def test_a_plain_request() -> None:
    found = parse(get("/d/x/a%20b?query", "Range: bytes=0-1", "X: 1", "x: 2"))
    assert (found.method, found.parts, found.minor, found.keep_alive) == ("GET", ("d", "x", "a b"), 1, True)
    assert found.header("range") == "bytes=0-1"
    assert found.header("x") == "1, 2"


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
def test_bytes_may_come_in_any_pieces(step: int) -> None:
    data = b"\r\n" + get("/one") + get("/two", "Connection: close") + b"GET /th"
    buffer, found = bytearray(), []
    for at in range(0, len(data), step):
        buffer += data[at : at + step]
        while (request := take_head(buffer)) is not None:
            found.append((request.parts, request.keep_alive))
    assert found == [(("one",), True), (("two",), False)]
    assert buffer == b"GET /th"


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        ("1.1", "", True),
        ("1.1", "close", False),
        ("1.1", "TE, Close", False),
        ("1.0", "", False),
        ("1.0", "Keep-Alive", True),
        ("1.0", "keep-alive, close", False),
        ("1.9", "", True),
    ],
)
def test_keep_alive(version: str, connection: str, keeps: bool) -> None:
    headers = [f"Connection: {connection}"] if connection else []
    assert parse(get("/", *headers, version=version)).keep_alive is keeps


def test_version_1_0_needs_no_host() -> None:
    assert parse(b"GET / HTTP/1.0\r\n\r\n").minor == 0


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("/", ("",)),
        ("/a/", ("a", "")),
        ("//a", ("a",)),
        ("/%D0%96/%23%25", ("Ж", "#%")),
        ("/a%2Fb/..", ("a/b", "..")),
        ("/a+b", ("a+b",)),
        ("http://h:1/x/y?z", ("x", "y")),
        ("HTTP://h", ("",)),
        ("http://h?q", ("",)),
        ("/a?b=%zz", ("a",)),
    ],
)
def test_targets(target: str, parts: tuple[str, ...]) -> None:
    assert parse(get(target)).parts == parts


def test_the_host_of_the_target_counts() -> None:
    assert parse(get("/")).host == "h"
    assert parse(get("http://other:81/x")).host == "other:81"
    assert parse(b"GET http://[::1]:81/ HTTP/1.0\r\n\r\n").host == "[::1]:81"


def test_a_refusal_does_not_repeat_the_line() -> None:
    with pytest.raises(GateError) as raised:
        take_head(bytearray(b"GET /d/secret\x01 HTTP/1.1\r\nHost: h\r\n\r\n"))
    assert raised.value.text == "The request is malformed: illegal request line."


def test_names_may_come_as_raw_utf8() -> None:
    assert parse("GET /Ёлка HTTP/1.1\r\nHost: h\r\n\r\n".encode()).parts == ("Ёлка",)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        *(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() for host in ("a b", "a/b", "u@a", "a:x", "[::1", "a, b", "я")),
        b"GET /\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\nHost: h\n\n",
        b"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",  # a TLS greeting
        b" GET / HTTP/1.1\r\n",
        get("/%zz"),
        get("/%4"),
        get("/%ff"),
        get("/%00"),
        get("/a#b"),
        get("a"),
        get("*"),
        get("ftp://h/x"),
        get("http://u:p@h/x"),
        get("http:///x"),
        get("/", "Content-Length: 5"),
        get("/", "Content-Length: 5", "Content-Length: 6"),
        get("/", "Content-Length: -1"),
        get("/", "Transfer-Encoding: chunked"),
        get("/", "Content-Length: 0", "Transfer-Encoding: chunked"),
        get("/", "Transfer-Encoding: gzip"),
    ],
)
def test_what_is_malformed_is_refused(data: bytes) -> None:
    assert status(data) == 400


def test_bare_line_feeds_are_refused_before_the_head_has_ended() -> None:
    assert status(b"GET / HTTP/1.1\nHost: h\n") == 400


@pytest.mark.parametrize("host", ["", "h", "h:", "h:80", "[::1]:8080", "a_b.example", "xn--e1afmkfd"])
def test_hosts(host: str) -> None:
    assert parse(f"GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).parts == ("x",)


@pytest.mark.parametrize("header", ["Expect: 100-continue", "Content-Length: 0", "Upgrade: h2c"])
def test_what_is_harmless_is_ignored(header: str) -> None:
    assert parse(get("/x", header)).parts == ("x",)


def test_a_head_has_a_limit() -> None:
    fits = get("/", "X: " + "a" * (HEAD_LIMIT - len(get("/", "X: "))))
    assert len(fits) == HEAD_LIMIT
    assert parse(fits).parts == ("",)
    assert status(fits.replace(b"X: a", b"X: aa")) == 431
    assert take_head(bytearray(fits[:-1])) is None


@pytest.mark.parametrize("version", ["2.0", "3.1", "0.9"])
def test_other_versions(version: str) -> None:
    assert status(get("/", version=version)) == 505


def test_other_methods_keep_the_connection_only_without_a_body() -> None:
    assert parse(b"DELETE /x HTTP/1.1\r\nHost: h\r\n\r\n").keep_alive
    assert not parse(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc").keep_alive
    assert parse(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").method == "OPTIONS"
