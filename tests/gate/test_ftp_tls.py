"""FTP over TLS: AUTH, PBSZ and PROT, sessions resumed on the data channel, what is required, and implicit TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftpgate import ftp
from tests.gate import raw, tlsgate
from tests.gate.tlsgate import SIZE, versions
from tests.support.inprocess import InProcessGate
from tests.support.rawftp import RawFtp, read_all
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGate]:
    with tlsgate.gate(tmp_path_factory.mktemp("allow")) as running:
        yield running


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGate]:
    """A gate that requires TLS."""
    with tlsgate.gate(tmp_path_factory.mktemp("require"), TLS="require", HTTPS="127.0.0.1:0") as running:
        yield running


@versions
def test_auth_tls(gate: InProcessGate, version: ssl.TLSVersion) -> None:
    with tlsgate.session(gate, version) as session:
        assert isinstance(session.socket, ssl.SSLSocket)
        cipher = session.socket.cipher()
        assert cipher is not None
        assert "AES128-GCM" in cipher[0] or cipher[0] == "TLS_AES_128_GCM_SHA256"
        with tlsgate.data(session) as data:
            session.do("RETR Album/track.ogg", "150")
            assert len(read_all(data)) == SIZE
        session.expect("226")
        session.do("QUIT", "221")
        assert session.closed()
    wait_until(lambda: gate.shop.records and gate.shop.records[-1].protocol == "ftps", 10, "the record")


@versions
def test_the_data_channel_resumes_the_session_of_the_control_connection(gate: InProcessGate, version: ssl.TLSVersion) -> None:
    with tlsgate.session(gate, version) as session:
        for _ in range(3):
            with tlsgate.data(session) as data:
                assert data.session_reused
                session.do("LIST Album", "150")
                assert b"track.ogg" in read_all(data)
            session.expect("226")
        with tlsgate.data(session, resume=False) as data:
            assert not data.session_reused
            session.do("NLST Album", "150")
            assert read_all(data) == b"Album/track.ogg\r\n"
        session.expect("226")


def test_what_auth_pbsz_prot_and_ccc_answer(gate: InProcessGate) -> None:
    with RawFtp(gate.address("ftp")) as session:
        features = session.do("FEAT", "211")
        assert all(f"\r\n {name}\r\n" in features for name in ("AUTH TLS", "PBSZ", "PROT"))
        session.do("PBSZ 0", "503")
        session.do("PROT P", "503")
        session.do("CCC", "534")
        session.do("AUTH KERBEROS_V4", "504")
        session.do("AUTH", "501")
        tlsgate.secured(session, gate)
        session.do("AUTH TLS", "503")
        session.do("PROT P", "503")
        session.do("PBSZ many", "501")
        session.do("PBSZ 16384", "200 PBSZ=0")
        session.do("PROT S", "536")
        session.do("PROT E", "536")
        session.do("PROT X", "504")
        session.do("PROT C", "200")
        session.do("PROT P", "200")
        session.do("CCC", "534")


def test_data_in_the_clear_behind_a_secured_control_connection(gate: InProcessGate) -> None:
    with tlsgate.session(gate) as session:
        session.do("PROT C", "200")
        assert len(session.retrieve("Album/track.ogg")) == SIZE
    wait_until(lambda: gate.shop.records and gate.shop.records[-1].protocol == "ftp", 10, "the record")


def test_a_session_from_before_a_renewal_goes_on_with_its_certificate(gate: InProcessGate) -> None:
    """The client expects the control connection's on its data channels, and resumes that session there."""
    tls = gate.gate.tls
    assert tls is not None
    with tlsgate.session(gate) as session:
        assert isinstance(session.socket, ssl.SSLSocket)
        old = session.socket.getpeercert(binary_form=True)
        with tlsgate.data(session) as data:
            session.do("RETR Album/track.ogg", "150")
            gate.certificate.renew()
            loaded = tls.certificates.load()
            gate.call(lambda: tls.certificates.use(loaded))
            assert len(read_all(data)) == SIZE
        session.expect("226")
        with tlsgate.data(session) as data:
            assert data.session_reused
            session.do("NLST", "150")
            assert read_all(data)
        session.expect("226")
        with tlsgate.data(session, resume=False) as data:
            assert data.getpeercert(binary_form=True) == old
            session.do("NLST", "150")
            assert read_all(data)
        session.expect("226")
    with tlsgate.session(gate) as session:
        assert isinstance(session.socket, ssl.SSLSocket)
        assert session.socket.getpeercert(binary_form=True) != old


@pytest.mark.parametrize("mechanism", ["SSL", "tls-p"])
def test_auth_that_takes_protection_for_granted(gate: InProcessGate, mechanism: str) -> None:
    with RawFtp(gate.address("ftp")) as session:
        session.do(f"AUTH {mechanism}", "234")
        session.socket = tlsgate.wrapped(session, gate)
        session.login(tlsgate.token(gate).reveal())
        with tlsgate.data(session) as data:
            session.do("LIST", "150")
            assert b"Album" in read_all(data)
        session.expect("226")


def test_auth_ends_a_login(gate: InProcessGate) -> None:
    with RawFtp(gate.address("ftp")).login(tlsgate.token(gate).reveal()) as session:
        tlsgate.secured(session, gate)
        session.do("PWD", "530")


def test_commands_sent_along_with_auth_are_not_run(gate: InProcessGate) -> None:
    """They came in the clear: whoever sits on the line could have put them there (CVE-2011-0411)."""
    with RawFtp(gate.address("ftp")) as session:
        session.send("AUTH TLS\r\nUSER injected\r\nNOOP")
        session.expect("234")
        session.socket = tlsgate.wrapped(session, gate)
        session.do("PASS x", "503 Send USER first")


def test_many_commands_in_one_record(gate: InProcessGate) -> None:
    """What OpenSSL holds no poll reports: nothing of it may be left lying there."""
    with tlsgate.session(gate) as session:
        session.send("NOOP\r\n" * 2_500)
        for _ in range(2_500):
            session.expect("200")


def test_implicit_tls(gate: InProcessGate) -> None:
    token = tlsgate.token(gate)
    secure = gate.certificate.trusted()
    with raw.ftp_get(gate.address("ftps"), token.reveal(), "Album/track.ogg", secure=secure) as download:
        assert download.read(SIZE + 1) == SIZE
    wait_until(lambda: token.grant in gate.shop.completed, 10, "completion")


def test_no_handshake_on_the_data_channel(gate: InProcessGate) -> None:
    with tlsgate.session(gate) as session:
        with session.data() as data:
            session.do("RETR Album/track.ogg", "150")
            data.sendall(b"\0" * 64)
            session.expect("522")
        with tlsgate.data(session) as data:
            session.do("LIST", "150")
            assert read_all(data)
        session.expect("226")


def test_plain_logins_are_refused_before_any_look_up(strict: InProcessGate) -> None:
    token = tlsgate.token(strict).reveal()
    before = strict.shop.look_ups
    with RawFtp(strict.address("ftp")) as session:
        session.do("USER me", "530")
        session.do(f"PASS {token}", "530")
        session.do(f"USER {token}", "530")
        assert strict.shop.look_ups == before
        tlsgate.secured(session, strict).login(token)


def test_data_have_to_be_protected(strict: InProcessGate) -> None:
    with tlsgate.secured(RawFtp(strict.address("ftp")), strict).login(tlsgate.token(strict).reveal()) as session:
        for command in ("EPSV", "PASV", "EPRT |1|127.0.0.1|2000|", "LIST"):
            session.do(command, "521")
        session.do("PBSZ 0", "200")
        session.do("PROT C", "534")
        session.do("PROT P", "200")
        with tlsgate.data(session) as data:
            session.do("LIST", "150")
            assert read_all(data)
        session.expect("226")


def test_without_a_certificate_there_is_no_tls(tmp_path: Path) -> None:
    raw.write(tmp_path / "media" / "Album" / "track.ogg", 10)
    with (
        InProcessGate(tmp_path / "media", {"ftp": ftp.listen}) as plain,
        RawFtp(plain.address("ftp")) as session,
    ):
        assert "AUTH" not in session.do("FEAT", "211")
        session.do("AUTH TLS", "502")
        session.do("PROT P", "503")
