"""Bytes to commands, fed in every way: whole, byte by byte, and with more behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ftpgate.ftp.command_buffer import LINE, CommandBuffer, CommandTooLong

Found = list[tuple[str, str] | str]


def commands(buffer: CommandBuffer) -> Iterator[tuple[str, str] | str]:
    """What can be taken now."""
    while True:
        try:
            line = buffer.peek()
        except CommandTooLong:
            yield "too long"
            continue
        if line is None:
            return
        buffer.take()
        yield line


def whole(sent: bytes) -> Found:
    buffer = CommandBuffer()
    buffer.feed(sent)
    return list(commands(buffer))


def byte_by_byte(sent: bytes) -> Found:
    buffer, found = CommandBuffer(), Found()
    for byte in sent:
        buffer.feed(bytes([byte]))
        found += commands(buffer)
    return found


def with_a_tail(sent: bytes) -> Found:
    assert ("TAIL", "") not in whole(sent + b"TAIL")
    *found, last = whole(sent + b"TAIL\r\n")
    assert last == ("TAIL", "")
    return found


@pytest.mark.parametrize("feed", [whole, byte_by_byte, with_a_tail])
@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (b"NOOP\r\n", [("NOOP", "")]),
        (b"noop\n", [("NOOP", "")]),
        (b"CWD a b \r\nPWD\r\n", [("CWD", "a b "), ("PWD", "")]),
        (b"XPWD\r\n", [("PWD", "")]),
        (b"\r\n", [("", "")]),
        (b"\xff\xf4\xff\xf2ABOR\r\n", [("ABOR", "")]),
        (b"\xf2ABOR\r\n", [("ABOR", "")]),
        (b"RETR caf\xc3\xa9\r\n", [("RETR", "café")]),
        (b"RETR caf\xe9\r\n", [("RETR", "caf\ufffd")]),
        (b"A" * LINE + b"\r\n", [("A" * LINE, "")]),
        (b"A" * (LINE + 2) + b"\r\nPWD\r\n", ["too long", ("PWD", "")]),
        (b"A" * 5 * LINE + b"\r\n" + b"B" * 2 * LINE + b"\n", ["too long", "too long"]),
    ],
)
def test_commands(feed: Callable[[bytes], Found], sent: bytes, found: Found) -> None:
    assert feed(sent) == found


def test_a_command_stays_until_it_is_taken() -> None:
    buffer = CommandBuffer()
    buffer.feed(b"PWD\r\nNOOP\r\n")
    assert buffer.peek() == buffer.peek()
    assert len(buffer.held) == len(b"PWD\r\nNOOP\r\n")


def test_of_a_command_that_is_too_long_nothing_is_held() -> None:
    buffer = CommandBuffer()
    for _ in range(100):
        buffer.feed(b"A" * LINE)
        list(commands(buffer))
        assert len(buffer.held) <= LINE


@pytest.mark.parametrize(
    ("held", "left"),
    [
        (b"RETR a\r\nABOR\r\nNOOP\r\n", b"RETR a\r\nNOOP\r\n"),
        (b"\xff\xf4\xff\xf2abor \nNOOP\r\n", b"NOOP\r\n"),
        (b"RETR ABOR\r\n", None),
        (b"RETR a\r\nABOR", None),
        (b"", None),
    ],
)
def test_abor_is_taken_out_of_what_waits(held: bytes, left: bytes | None) -> None:
    buffer = CommandBuffer()
    buffer.feed(held)
    assert buffer.take_abort() == (left is not None)
    assert len(buffer.held) == len(held if left is None else left)
