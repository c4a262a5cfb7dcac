"""FTP: hashes of files (HASH, XCRC, XSHA256) and parts of them (RANG)."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftpgate import ftp
from ftpgate.grants import Item
from ftpgate.tokens import Token
from tests.support.inprocess import InProcessGate
from tests.support.media import write_album
from tests.support.rawftp import RawFtp
from tests.support.waiting import wait_until

TEXT = b"one\ntwo\r\nthree\r\rfour\n\n" * 4_000


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[InProcessGate]:
    album = tmp_path / "media" / "Live [1]"
    write_album(album, {"01 one.ogg": 300_000})
    (album / "notes.txt").write_bytes(TEXT)
    (album / "empty.txt").write_bytes(b"")
    with InProcessGate(tmp_path / "media", {"ftp": ftp.listen}) as gate:
        yield gate


@pytest.fixture
def item(gate: InProcessGate) -> Item:
    return gate.item("Live [1]")


@pytest.fixture
def session(gate: InProcessGate, token: Token) -> Iterator[RawFtp]:
    with RawFtp(gate.address("ftp")) as session:
        yield session.login(token.reveal())


def test_hashes_are_the_stored_ones(session: RawFtp) -> None:
    session.do("CWD Live [1]", "250")
    digest = hashlib.sha256(TEXT).hexdigest()
    assert session.do("HASH notes.txt", "213") == f"213 SHA-256 0-{len(TEXT)} {digest} notes.txt"
    session.do("HASH /Live [1].zip", "504")
    session.do("HASH .", "550")


@pytest.mark.parametrize(
    "argument",
    ["notes.txt", '"notes.txt"', "/Live [1]/notes.txt", '"/Live [1]/notes.txt" 0 {size}', "notes.txt {size}",
     "notes.txt 0 {last}", '"notes.txt", 0, {size}', "notes.txt,  0,  {last}"],
)  # fmt: skip
def test_older_commands_tell_the_same_hashes(session: RawFtp, argument: str) -> None:
    session.do("CWD Live [1]", "250")
    argument = argument.format(size=len(TEXT), last=len(TEXT) - 1)
    assert session.do(f"XCRC {argument}", "250") == f"250 {zlib.crc32(TEXT):08X}"
    assert session.do(f"XSHA256 {argument}", "250") == f"250 {hashlib.sha256(TEXT).hexdigest().upper()}"


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        ("notes.txt 0 100", "504"), ("notes.txt 1 {size}", "504"), ('"notes.txt" 5', "504"), ("notes.txt 0 99999999", "504"),
        ("/Live [1].zip", "504"), ("no.txt", "550"), ("no.txt 0 10", "550"), ('"no.txt"', "550"), (".", "550"), ("", "501"),
        ("notes.txt 0 1 2", "550"), ('"', "550"), ("notes.txt 99999999999999999999", "550"), ("empty.txt 0 0", "250"),
        ("empty.txt", "250"),
    ],
)  # fmt: skip
def test_hashes_of_parts_and_zips_are_not_stored(session: RawFtp, argument: str, code: str) -> None:
    session.do("CWD Live [1]", "250")
    for command in ("XCRC", "XSHA256"):
        session.do(f"{command} {argument.format(size=len(TEXT))}", code)


def test_a_hash_of_a_name_that_ends_in_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "media" / "Live" / "1"
    folder.mkdir(parents=True)
    (folder / "take 0 5").write_bytes(b"five!")
    (folder / "take").write_bytes(b"other")
    with InProcessGate(tmp_path / "media", {"ftp": ftp.listen}) as gate, RawFtp(gate.address("ftp")) as session:
        session.login(gate.shop.issue([gate.item("Live")]).reveal()).do("CWD Live/1", "250")
        session.do("XCRC take 0 5", f"250 {zlib.crc32(b'five!'):08X}")
        session.do('XCRC "take" 0 5', f"250 {zlib.crc32(b'other'):08X}")


def test_a_range_of_a_file(session: RawFtp, gate: InProcessGate, token: Token, item: Item) -> None:
    """draft-bryan-ftp-range: both ends are within."""
    session.do("CWD Live [1]", "250")
    end = len(TEXT)
    for first, last in ((0, 0), (7, 70_000), (70_001, end - 1), (end - 1, end + 99), (end, end + 1), (end + 5, end + 10)):
        session.do(f"RANG {first} {last}", "350")
        assert session.retrieve("notes.txt") == TEXT[first : last + 1]
    session.do("RANG 5 10", "350")
    session.do("RANG 1 0", "350")
    assert session.retrieve("notes.txt") == TEXT
    session.do("RANG 5 10", "350")
    assert session.retrieve("notes.txt", 1000) == TEXT[1000:], "REST comes later"
    for bad in ("RANG 10 5", "RANG 5", "RANG x 5", "RANG -1 5", "RANG 1 2 3", "RANG 0 99999999999999999999"):
        session.do("RANG 5 10", "350")
        session.do(bad, "501")
        assert session.retrieve("notes.txt") == TEXT, "an invalid one resets the range"
    session.do("RANG 0 9", "350")
    session.do("HASH notes.txt", "504")
    session.do(f"RANG 0 {end - 1}", "350")
    session.do("HASH notes.txt", "213")


def test_ranges_of_several_sessions_complete_a_file(gate: InProcessGate, token: Token, item: Item) -> None:
    """The bytes of each range are delivered, and none of the others."""
    file = next(file for file in item.files if file.path == "01 one.ogg")
    for first, last, covered in ((100_000, 199_999, [(100_000, 200_000)]), (200_000, 299_999, [(100_000, 300_000)]),
                                 (0, 99_999, [(0, 300_000)])):  # fmt: skip
        with RawFtp(gate.address("ftp")) as session:
            session.login(token.reveal()).do(f"RANG {first} {last}", "350")
            assert len(session.retrieve("Live [1]/01 one.ogg")) == 100_000
        wait_until(lambda wanted=covered: gate.shop.spans(token.grant, file) == wanted, 10, f"delivery of {covered}")  # type: ignore[misc]


def test_a_range_of_a_zip(session: RawFtp) -> None:
    whole = session.retrieve("Live [1].zip")
    session.do("RANG 100 300099", "350")
    assert session.retrieve("Live [1].zip") == whole[100:300_100]
