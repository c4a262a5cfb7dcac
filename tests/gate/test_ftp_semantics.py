"""FTP as its RFCs and the contract have it: commands and their replies, paths, listings, the ways for data."""

from __future__ import annotations

import ftplib
import io
import re
import socket
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from ftpgate import ftp
from ftpgate.delivery.context import DeliveryContext
from ftpgate.ftp import replies
from ftpgate.grants import Item
from ftpgate.settings import Address
from ftpgate.tokens import Token
from tests.support.inprocess import InProcessGate
from tests.support.media import NASTY_NAMES, write_album
from tests.support.rawftp import RawFtp, read_all
from tests.support.waiting import wait_until

TEXT = b"one\ntwo\r\nthree\r\rfour\n\n" * 4_000
FILES = {"01 one.ogg": 300_000, "CD 2/01 two.ogg": 70_000, **dict.fromkeys(NASTY_NAMES, 1000)}


@pytest.fixture
def media(tmp_path: Path) -> Path:
    media = tmp_path / "media"
    write_album(media / "Ёлка [live]", FILES)
    (media / "Ёлка [live]" / "notes.txt").write_bytes(TEXT)
    (media / "Ёлка [live]" / "empty.txt").write_bytes(b"")
    return media


@pytest.fixture
def gate(media: Path) -> Iterator[InProcessGate]:
    with InProcessGate(media, {"ftp": ftp.listen}) as gate:
        yield gate


@pytest.fixture
def item(gate: InProcessGate) -> Item:
    return gate.item("Ёлка [live]")


@pytest.fixture
def session(gate: InProcessGate, token: Token) -> Iterator[RawFtp]:
    with RawFtp(gate.address("ftp")) as session:
        yield session.login(token.reveal())


# -- commands


@pytest.mark.parametrize(
    "command",
    [
        "STOR x",
        "STOU",
        "APPE x",
        "DELE notes.txt",
        "MKD x",
        "XMKD x",
        "RMD x",
        "XRMD x",
        "RMDA x",
        "COMB whole part",
        "RNFR notes.txt",
        "RNTO x",
        "SITE CHMOD 777 notes.txt",
        "SITE UTIME x",
        "MFMT 20200101000000 notes.txt",
    ],
)
def test_what_writes_answers_550(session: RawFtp, command: str) -> None:
    session.do(command, "550")
    session.do("NOOP", "200")


def test_nothing_but_logging_in_is_possible_before(gate: InProcessGate) -> None:
    with RawFtp(gate.address("ftp")) as client:
        for command in ("PWD", "LIST", "RETR x", "STOR x", "EPSV", "SIZE x", "STAT /", "MLST", "HASH x", "ABOR"):
            client.do(command, "530")
        for command, code in (("FEAT", "211"), ("SYST", "215"), ("NOOP", "200"), ("STAT", "211"), ("HELP", "214")):
            client.do(command, code)
        client.do("OPTS UTF8 ON", "200")
        client.do("PASS x", "503")


def test_features(session: RawFtp) -> None:
    lines = session.do("FEAT", "211").split("\r\n")
    for feature in (
        "MLST type*;size*;modify*;perm*;unique*;",
        "REST STREAM",
        "SIZE",
        "MDTM",
        "EPSV",
        "EPRT",
        "UTF8",
        "HASH SHA-256*",
        "RANG STREAM",
        "XCRC",
        "XSHA256",
    ):
        assert f" {feature}" in lines
    session.do("OPTS MLST size;unix.mode;type;", "200 MLST OPTS type;size;")
    assert " MLST type*;size*;modify;perm;unique;" in session.do("FEAT", "211").split("\r\n")
    session.do("OPTS HASH SHA-256", "200 SHA-256")
    session.do("OPTS HASH MD5", "504")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("TYPE A", "200"), ("TYPE A N", "200"), ("TYPE I", "200"), ("TYPE L 8", "200"), ("TYPE E", "504"), ("STRU F", "200"),
        ("STRU R", "504"), ("MODE S", "200"), ("MODE Z", "504"), ("ALLO 5", "202"), ("CLNT curl", "200"), ("SITE HELP", "214"),
        ("SITE EXEC x", "504"), ("REST -1", "501"), ("REST x", "501"), ("REST 99999999999999999999999", "501"), ("SIZE", "501"),
        ("PWD x", "501"), ("FOO", "500"), ("", "500"), ("RETR notes.txt", "425"), ("LIST", "425"), ("ABOR", "226"),
        ("PASS x", "503"), ("RANG", "501"), ("RANG 5", "501"),
        ("SIZE a\0b", "501"), ("CWD a\rb", "501"), ("CWD /notes.txt", "550"), ("MLSD notes.txt", "501"),
        ("RETR .", "550"), ("RETR ../../etc/passwd", "550"), ("SIZE notes.txt/", "550"), ("HELP SIZE", "214"),
        ("HELP FOO", "501"),
        ("CDUP", "250"), ("XCUP", "250"), ("XPWD", "257"), ("CWD", "250"), ("MLST", "250"), ("MDTM notes.txt", "213"),
    ],
)  # fmt: skip
def test_replies(session: RawFtp, command: str, code: str) -> None:
    session.do("CWD Ёлка [live]", "250")
    session.do(command, code)
    session.do("NOOP", "200")


def test_an_endless_command_is_refused_once_and_forgotten(session: RawFtp) -> None:
    session.socket.sendall(b"SIZE " + b"x" * 300_000 + b"\r\nNOOP\r\n")
    session.expect("500")
    session.expect("200")


def test_telnet_signals_before_abor_are_understood(session: RawFtp) -> None:
    session.socket.sendall(b"\xff\xf4\xff")
    session.socket.send(b"\xf2", socket.MSG_OOB)
    session.socket.sendall(b"ABOR\r\n")
    session.expect("226")
    session.socket.sendall(b"\xff\xf4\xff\xf2abor\r\n\xff\xfb\x06NOOP\r\n")
    session.expect("226")
    session.expect("200")


# -- names and listings


def test_listings_of_every_kind(gate: InProcessGate, token: Token) -> None:
    with ftplib.FTP(timeout=20) as client:
        client.connect(*gate.address("ftp"))
        client.login("x", token.reveal())
        assert client.nlst() == ["Ёлка [live]"], "the zip is found by name only"
        assert [name for name, facts in client.mlsd() if facts["type"] == "dir"] == ["Ёлка [live]"]
        assert client.size("Ёлка [live].zip")
        client.cwd("Ёлка [live]")
        facts = dict(client.mlsd())
        assert {name: value["size"] for name, value in facts.items() if value["type"] == "file"} == {
            name: str(size) for name, size in {**FILES, "notes.txt": len(TEXT), "empty.txt": 0}.items() if "/" not in name
        }
        assert facts["CD 2"]["type"] == "dir"
        assert len({value["unique"] for value in facts.values()}) == len(facts)
        assert facts["notes.txt"]["modify"] == client.sendcmd("MDTM notes.txt").split()[1]
        assert client.nlst("CD 2") == ["CD 2/01 two.ogg"]
        for arguments in ("", "-la", "-al .", "/Ёлка [live]"):
            lines: list[str] = []
            client.retrlines(f"LIST {arguments}".rstrip(), lines.append)
            assert len(lines) == len(facts)
            assert any(
                re.match(rf"-r--r--r-- +1 \S+ +\S+ +{len(TEXT)} \w{{3}} [ \d]\d \d\d:\d\d notes\.txt$", line) for line in lines
            )
        lines = []
        client.retrlines("LIST -l notes.txt", lines.append)
        assert len(lines) == 1
        assert f" {len(TEXT)} " in client.sendcmd("STAT notes.txt")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.txt", ["empty.txt", "notes.txt"]),
        ("-1 ?otes.*", ["notes.txt"]),
        ("/Ёлка*/[en]*.txt", []),
        ("CD 2/*", ["CD 2/01 two.ogg"]),
        ("../Ёлка [live]/*.txt", ["../Ёлка [live]/empty.txt", "../Ёлка [live]/notes.txt"]),
        (unicodedata.normalize("NFD", "/*ё*"), []),
        (unicodedata.normalize("NFD", "/Ё*"), ["/Ёлка [live]"]),
        ("/*.zip", []),
        ("*.TXT", []),
        ("*" * 300, []),
        ("[", []),
    ],
)
def test_patterns(session: RawFtp, pattern: str, names: list[str]) -> None:
    """`mget` of command-line clients has the server look for them."""
    session.do("CWD Ёлка [live]", "250")
    with session.data() as data:
        session.do(f"NLST {pattern}", "150" if names else "550")
        if names:
            assert sorted(read_all(data).decode().splitlines()) == names
            session.expect("226")
    for name in names:
        session.do(f"MLST {name}", "250")


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("CD 2", ["CD 2/01 two.ogg"]),
        ("CD 2/", ["CD 2/01 two.ogg"]),
        ("-la ./CD 2//", ["./CD 2/01 two.ogg"]),
        ("CD%202", ["CD 2/01 two.ogg"]),
        ("../Ёлка [live]/CD 2", ["../Ёлка [live]/CD 2/01 two.ogg"]),
        ("/Ёлка [live]/CD 2", ["/Ёлка [live]/CD 2/01 two.ogg"]),
        ("~/Ёлка [live]/CD 2", ["/Ёлка [live]/CD 2/01 two.ogg"]),
        ("CD 2/01 two.ogg", ["CD 2/01 two.ogg"]),
        ("CD%202/01%20*", ["CD 2/01 two.ogg"]),
        ("..", ["../Ёлка [live]"]),
        ("/", ["/Ёлка [live]"]),
        ("~", ["/Ёлка [live]"]),
        ("/Ёлка [live].zip", ["/Ёлка [live].zip"]),
    ],
)
def test_names_listed_are_arguments_of_retr(session: RawFtp, path: str, names: list[str]) -> None:
    """RFC 1123 section 4.1.2.7."""
    session.do("CWD Ёлка [live]", "250")
    with session.data() as data:
        session.do(f"NLST {path}", "150")
        assert read_all(data).decode().splitlines() == names
    session.expect("226")
    for name in names:
        session.do(f"MLST {name}", "250")


@pytest.mark.parametrize("here", [".", "./", ""])
def test_names_of_the_working_folder_stand_alone(session: RawFtp, here: str) -> None:
    session.do("CWD Ёлка [live]/CD 2", "250")
    with session.data() as data:
        session.do(f"NLST {here}".rstrip(), "150")
        assert read_all(data).decode() == "01 two.ogg\r\n"
    session.expect("226")


@pytest.mark.parametrize("path", ["CD 2", "CD 2/01 two.ogg", "CD%202/*.ogg"])
def test_lines_of_list_end_in_the_bare_name(session: RawFtp, path: str) -> None:
    session.do("CWD Ёлка [live]", "250")
    with session.data() as data:
        session.do(f"LIST {path}", "150")
        (line,) = read_all(data).decode().splitlines()
    session.expect("226")
    assert re.fullmatch(r"-r--r--r-- .* (\d\d:\d\d| \d{4}) 01 two\.ogg", line)


def test_every_command_understands_an_encoded_path(session: RawFtp) -> None:
    """axel, BusyBox wget, PHP and ffmpeg send the path of an address as it is written there."""
    folder = quote("Ёлка [live]")
    path = f"/{folder}/CD%202/01%20two.ogg"
    for command, code in (("SIZE", "213"), ("MDTM", "213"), ("MLST", "250"), ("HASH", "213"), ("STAT", "213"), ("CWD", "550")):
        session.do(f"{command} {path}", code)
    assert len(session.retrieve(path)) == FILES["CD 2/01 two.ogg"]
    session.do(f"CWD {folder}", "250")
    for command in ("LIST", "NLST", "MLSD"):
        with session.data() as data:
            session.do(f"{command} CD%202", "150")
            assert b"01 two.ogg" in read_all(data)
        session.expect("226")
    session.do("CWD %2F", "250")
    session.do("CWD none%20", "550")
    session.do("CWD ~", "250 Now in /")
    session.do("CWD ~/Ёлка [live]/CD 2", "250")
    session.do("CWD ~root", "550")


def test_a_line_may_end_in_a_bare_lf(session: RawFtp) -> None:
    session.socket.sendall(b"NOOP\nCWD ~\r\nPWD\nNO")
    for code in ("200", "250", "257"):
        session.expect(code)
    session.socket.sendall(b"OP\n\xff\xf4\xff\xf2ABOR\n")
    session.expect("200")
    session.expect("226")
    session.socket.sendall(b"SIZE " + b"x" * 20_000 + b"\nNOOP\n")
    session.expect("500")
    session.expect("200")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("name", NASTY_NAMES)
def test_names_are_found_in_both_forms(session: RawFtp, media: Path, name: str, form: str) -> None:
    path = unicodedata.normalize(form, f"/Ёлка [live]/{name}")  # type: ignore[arg-type]
    assert session.retrieve(path) == (media / "Ёлка [live]" / name).read_bytes()


def test_stat_of_a_long_folder_points_to_listings(gate: InProcessGate, item: Item) -> None:
    """Its reply is made at once: hundreds of sessions that ask for it would hold up all others."""
    items = [replace(item, id=str(number)) for number in range(replies.STAT_ENTRIES + 1)]
    tokens = gate.shop.issue(items[:-1]), gate.shop.issue(items)
    for token, code in zip(tokens, ("213", "504 There is too much in this folder for STAT"), strict=True):
        with RawFtp(gate.address("ftp")) as session:
            session.login(token.reveal()).do("STAT /", code)
            session.do("STAT /Ёлка [live]", "213")


def test_a_thousand_items(gate: InProcessGate, item: Item) -> None:
    token = gate.shop.issue([replace(item, id=str(number)) for number in range(1_000)])
    with ftplib.FTP(timeout=20) as client:
        client.connect(*gate.address("ftp"))
        client.login("x", token.reveal())
        names = client.nlst()
        assert len(names) == len(set(names)) == 1_000
        assert [name for name, _ in client.mlsd()] == names
        assert client.size(f"{names[-1]}/notes.txt") == len(TEXT)


# -- bytes


@pytest.mark.parametrize("kind", ["A", "I"])
def test_text_is_sent_as_stored_from_any_offset(session: RawFtp, kind: str) -> None:
    session.do(f"TYPE {kind}", "200")
    session.do("CWD Ёлка [live]", "250")
    assert session.do("SIZE notes.txt", "213").split()[1] == str(len(TEXT))
    for offset in (0, 1, 4, len(TEXT) - 1, len(TEXT)):
        assert session.retrieve("notes.txt", offset) == TEXT[offset:]
    assert session.retrieve("notes.txt") == TEXT, "REST is for one RETR only"
    session.do(f"REST {len(TEXT) + 1}", "350")
    with session.data():
        session.do("RETR notes.txt", "554")
        session.do("RETR empty.txt", "150")
        session.expect("226")


def test_a_zip_in_pieces_is_the_zip(session: RawFtp, gate: InProcessGate) -> None:
    whole = session.retrieve("Ёлка [live].zip")
    assert whole[:2] == b"PK"
    assert session.do("SIZE Ёлка [live].zip", "213").split()[1] == str(len(whole))
    assert session.retrieve("Ёлка [live].zip", 123_456) == whole[123_456:]


def test_a_changed_file_is_refused_with_its_zip_and_reported(
    session: RawFtp, gate: InProcessGate, media: Path, item: Item
) -> None:
    (media / "Ёлка [live]" / "notes.txt").write_bytes(TEXT + b"more")
    with session.data():
        session.do("RETR Ёлка [live]/notes.txt", "550")
        session.do("RETR Ёлка [live].zip", "550")
    assert session.retrieve("Ёлка [live]/empty.txt") == b""
    changed = next(file.id for file in item.files if file.path == "notes.txt")
    wait_until(lambda: changed in gate.shop.changed_files, 10, "the report")


# -- the ways for data


def test_pasv_names_the_address_that_was_connected_to(session: RawFtp) -> None:
    found = re.search(r"\((\d+),(\d+),(\d+),(\d+),(\d+),(\d+)\)", session.do("PASV", "227"))
    assert found
    assert found[0].startswith("(127,0,0,1,")
    port = int(found[5]) * 256 + int(found[6])
    assert 50_000 <= port < 51_000
    with socket.create_connection(("127.0.0.1", port)) as data:
        session.do("NLST", "150")
        assert read_all(data).decode() == "Ёлка [live]\r\n"
    session.expect("226")


@pytest.mark.parametrize(("host", "shown"), [("192.0.2.7", "192,0,2,7"), ("localhost", "127,0,0,1")])
def test_pasv_names_the_public_host(media: Path, host: str, shown: str) -> None:
    with InProcessGate(media, {"ftp": ftp.listen}, settings={"FTPGATE_PUBLIC_HOST": host}) as gate:
        token = gate.shop.issue([gate.item("Ёлка [live]")])
        wait_until(lambda: gate.listeners["ftp"].context.public_address, 10, "the address")  # type: ignore[attr-defined]
        with RawFtp(gate.address("ftp")) as client:
            assert f"({shown}," in client.login(token.reveal()).do("PASV", "227")


def test_no_passive_port_outside_the_range(media: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with InProcessGate(media, {"ftp": ftp.listen}, settings={"FTPGATE_PASSIVE_PORTS": f"{port}-{port}"}) as gate:
            token = gate.shop.issue([gate.item("Ёлка [live]")]).reveal()
            with RawFtp(gate.address("ftp")) as one, RawFtp(gate.address("ftp")) as two:
                one.login(token)
                two.login(token)
                one.do("EPSV", "425")
                taken.close()
                assert one.passive()[1] == port
                two.do("PASV", "425")
                one.do("QUIT", "221")
                assert two.passive()[1] == port


def test_a_foreign_data_connection_is_closed_and_the_wait_goes_on(session: RawFtp) -> None:
    address = session.passive()
    with socket.create_connection(address, source_address=("127.0.0.2", 0)) as foreign:
        foreign.settimeout(20)
        assert foreign.recv(1) == b""
    with socket.create_connection(address) as own:
        session.do("NLST", "150")
        assert read_all(own)
    session.expect("226")


def test_many_foreign_connections_do_not_keep_the_client_out(session: RawFtp, caplog: pytest.LogCaptureFixture) -> None:
    """The log tells of them once."""
    address = session.passive()
    foreign = [socket.create_connection(address, 20, source_address=(f"127.0.0.{2 + number % 50}", 0)) for number in range(100)]
    with socket.create_connection(address, 20) as own:
        session.do("NLST", "150")
        assert read_all(own)
    session.expect("226")
    for sock in foreign:
        with sock:
            assert sock.recv(1) == b""
    assert sum("closed a data connection" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("command", ["PORT 127,0,0,1,{high},{low}", "EPRT |1|127.0.0.1|{port}|"])
def test_active_mode(session: RawFtp, media: Path, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        session.do(command.format(high=port >> 8, low=port & 255, port=port), "200")
        session.do("RETR Ёлка [live]/notes.txt", "150")
        data, _ = listening.accept()
        with data:
            assert read_all(data) == TEXT
        session.expect("226")
    session.do(command.format(high=port >> 8, low=port & 255, port=port), "200")
    session.do("NLST", "150")
    session.expect("425")


@pytest.mark.parametrize(
    "command",
    [
        "PORT 127,0,0,2,200,1",
        "EPRT |1|192.0.2.1|51201|",
        "EPRT |1|localhost|51201|",
        "PORT 127,0,0,1,0,21",
        "PORT 1,2,3",
        "EPRT |1|",
    ],
)
def test_active_mode_goes_nowhere_else(session: RawFtp, command: str) -> None:
    session.do(command, "501")
    session.do("NLST", "425")


def test_epsv_all_leaves_epsv_alone(session: RawFtp, token: Token) -> None:
    session.do("EPSV 3", "522")
    session.do("EPSV x", "501")
    session.do("EPSV ALL", "200")
    for command in ("PASV", "PORT 127,0,0,1,200,1", "EPRT |1|127.0.0.1|51201|"):
        session.do(command, "501")
    assert session.retrieve("Ёлка [live]/notes.txt") == TEXT
    session.do("REIN", "220")
    session.login(token.reveal()).do("PASV", "227")


def _listen_everywhere(gate: DeliveryContext, _address: object) -> ftp.server.Listener:
    return ftp.listen(gate, Address("::", 0))


def test_ipv6(media: Path) -> None:
    with InProcessGate(media, {"ftp": _listen_everywhere}) as gate:
        token = gate.shop.issue([gate.item("Ёлка [live]")]).reveal()
        port = gate.listeners["ftp"].address.port
        with RawFtp(("::1", port)) as client:
            client.login(token)
            assert client.retrieve("Ёлка [live]/notes.txt") == TEXT
            client.do("PASV", "425")
            with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
                client.do(f"EPRT |2|::1|{listening.getsockname()[1]}|", "200")
                client.do("NLST", "150")
                with listening.accept()[0] as data:
                    assert read_all(data)
                client.expect("226")
        with ftplib.FTP(timeout=20) as old:
            old.connect("127.0.0.1", port)
            old.login("x", token)
            assert "127,0,0,1" in old.sendcmd("PASV")
            received = io.BytesIO()
            old.retrbinary("RETR Ёлка [live]/notes.txt", received.write)
            assert received.getvalue() == TEXT
        gate.settled()
        assert {record.peer for record in gate.shop.records} == {"::1", "127.0.0.1"}


def test_pasv_names_no_ipv4_address_to_who_came_over_ipv6(media: Path) -> None:
    settings = {"FTPGATE_PUBLIC_HOST": "192.0.2.7"}
    with InProcessGate(media, {"ftp": _listen_everywhere}, settings=settings) as gate:
        token = gate.shop.issue([gate.item("Ёлка [live]")]).reveal()
        port = gate.listeners["ftp"].address.port
        with RawFtp(("::1", port)) as client:
            client.login(token).do("PASV", "425")
            assert client.retrieve("Ёлка [live]/notes.txt") == TEXT
        with RawFtp(("127.0.0.1", port)) as client:
            assert "(192,0,2,7," in client.login(token).do("PASV", "227")
            client.do("EPRT |1|127.0.0.1|50001|", "200")
            client.do("EPSV 1", "229")
            client.do("EPSV 2", "522 Network protocol not supported, use (1)")
