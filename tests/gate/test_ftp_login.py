"""Logging in over FTP: which token opens what, who is sent away, and what waits for the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from ftpgate import ftp, http
from ftpgate.access.failed_tokens import TRIES
from ftpgate.ftp import server
from ftpgate.ftp import session as ftp_session
from ftpgate.grants import GrantState, Item, Tier
from ftpgate.tokens import Token, new_grant_id
from tests.gate import raw
from tests.support.inprocess import InProcessGate
from tests.support.media import write_album
from tests.support.rawftp import RawFtp
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SWEEP_EVERY", 0.1)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[InProcessGate]:
    write_album(tmp_path / "media" / "Ёлка [live]", {"01 one.ogg": 300_000})
    with InProcessGate(tmp_path / "media", {"ftp": ftp.listen, "http": http.listen}) as gate:
        yield gate


@pytest.fixture
def item(gate: InProcessGate) -> Item:
    return gate.item("Ёлка [live]")


@pytest.mark.parametrize(
    "credentials",
    [
        lambda token: ("anonymous", token),
        lambda token: ("me", token.upper()),
        lambda token: (token, "x"),
        lambda token: (token, token),
        lambda token: (f" {token} ", "someone@example.org"),
    ],
    ids=["password", "upper case", "user name", "both", "spaces"],
)
def test_a_token_logs_in(gate: InProcessGate, token: Token, credentials: Callable[[str], tuple[str, str]]) -> None:
    user, password = credentials(token.reveal())
    with RawFtp(gate.address("ftp")) as client:
        client.do(f"USER {user}", "331")
        client.do(f"PASS {password}", "230")
        client.do("PWD", '257 "/"')


def test_wrong_tokens_answer_530_and_end_the_session_at_the_third(gate: InProcessGate, token: Token) -> None:
    wrong = f"{token.grant}-{Token.new(token.grant).secret}"
    with RawFtp(gate.address("ftp")) as client:
        for password in (Token.new(new_grant_id()).reveal(), wrong, Token.new(new_grant_id()).reveal()):
            client.do("USER me", "331")
            client.do(f"PASS {password}", "530")
        assert client.closed()


@pytest.mark.parametrize(
    ("user", "password"),
    [("anonymous", "guest@"), ("ftp", "someone@example.org"), ("anonymous", ""), ("me", "hello"), ("me", "2222222222-too-short")],
)
def test_what_cannot_be_a_token_is_refused_and_not_counted(gate: InProcessGate, token: Token, user: str, password: str) -> None:
    with RawFtp(gate.address("ftp")) as client:
        for _ in range(TRIES + 1):
            client.do(f"USER {user}", "331")
            client.do(f"PASS {password}", "530")
        client.do("PWD", "530")
        client.login(token.reveal())
    with RawFtp(gate.address("ftp")) as client:
        client.do("USER me", "331")
        client.do(f"PASS {Token.new(new_grant_id()).reveal()}", "530 No such download")
    assert gate.grant_cache.look_ups == 2


def test_the_token_beside_another_one_logs_in(gate: InProcessGate, token: Token) -> None:
    """Any user name, any password: also those of an older link that a client has remembered."""
    old = gate.shop.issue([])
    gate.shop.change(old.grant, state=GrantState.EXPIRED)
    for other in (Token.new(new_grant_id()), old):
        for user, password in ((other, token), (token, other)):
            with RawFtp(gate.address("ftp")) as client:
                client.do(f"USER {user.reveal()}", "331")
                client.send(f"PASS {password.reveal()}\r\nSTAT")
                client.expect("230")
                assert token.grant in client.expect("211")
    with RawFtp(gate.address("ftp")) as client:
        client.do(f"USER {old.reveal()}", "331")
        client.do(f"PASS {Token.new(token.grant).reveal()}", "530")


def test_an_unknown_token_beside_a_valid_one_is_not_held_against_its_address(gate: InProcessGate, token: Token) -> None:
    unknown = Token.new(new_grant_id()).reveal()
    for _ in range(TRIES + 1):
        with RawFtp(gate.address("ftp")) as client:
            client.do(f"USER {unknown}", "331")
            client.do(f"PASS {token.reveal()}", "230")
    with RawFtp(gate.address("ftp")) as client:
        client.do("USER me", "331")
        client.do(f"PASS {unknown}", "530")
    for _ in range(TRIES // 2 - 1):
        with RawFtp(gate.address("ftp")) as client:
            client.do(f"USER {unknown}", "331")
            client.do(f"PASS {Token.new(new_grant_id()).reveal()}", "530")
    with RawFtp(gate.address("ftp")) as client:
        client.do(f"USER {unknown}", "331")
        client.do(f"PASS {Token.new(new_grant_id()).reveal()}", "530")
        client.do("USER me", "331")
        client.do(f"PASS {unknown}", "421")


@pytest.mark.parametrize("state", [GrantState.REVOKED, GrantState.EXPIRED])
def test_a_dead_token_answers_530(gate: InProcessGate, token: Token, state: GrantState) -> None:
    gate.shop.change(token.grant, state=state)
    with RawFtp(gate.address("ftp")) as client:
        client.do("USER me", "331")
        client.do(f"PASS {token.reveal()}", "530")
        client.do("PWD", "530")


def test_a_database_that_is_away_answers_421(gate: InProcessGate, token: Token) -> None:
    gate.shop.away = True
    with RawFtp(gate.address("ftp")) as client:
        client.do("USER me", "331")
        client.do(f"PASS {token.reveal()}", "421")
        assert client.closed()


def test_too_many_wrong_tokens_answer_421_but_a_good_one_is_served(gate: InProcessGate, token: Token) -> None:
    for _ in range(10):
        with RawFtp(gate.address("ftp")) as client:
            client.do("USER me", "331")
            client.do(f"PASS {Token.new(new_grant_id()).reveal()}", "530")
    with RawFtp(gate.address("ftp")) as client:
        client.do("USER me", "331")
        client.do(f"PASS {Token.new(new_grant_id()).reveal()}", "421")
        assert client.closed()
    with RawFtp(gate.address("ftp")) as client:
        client.login(token.reveal())


def test_a_session_holds_one_of_the_tiers_connections_until_it_ends(gate: InProcessGate, item: Item) -> None:
    token = gate.shop.issue([item], tier=Tier("two", 0, 2)).reveal()
    first, second = (RawFtp(gate.address("ftp")).login(token) for _ in range(2))
    with RawFtp(gate.address("ftp")) as third:
        third.do("USER me", "331")
        third.do(f"PASS {token}", "421")
        assert third.closed()
    first.do("QUIT", "221")
    with RawFtp(gate.address("ftp")) as third:
        third.login(token)
        second.close()
        with RawFtp(gate.address("ftp")) as fourth:
            wait_until(lambda: gate.call(lambda: gate.grant_cache.grants()[0].sessions) == 1, 10, "the end of a session")
            fourth.login(token)
            fourth.do("REIN", "220")
            fourth.do("PWD", "530")
            fourth.login(token)
    first.close()
    wait_until(lambda: gate.call(lambda: gate.gate.connections) == 0, 10, "the end of all sessions")
    assert gate.call(lambda: [(grant.sessions, grant.customer.connections) for grant in gate.grant_cache.grants()]) == [(0, 0)]


def test_both_protocols_share_the_tiers_connections(gate: InProcessGate, item: Item) -> None:
    token = gate.shop.issue([item], tier=Tier("slow two", 50_000, 2)).reveal()
    target = f"/d/{token}/{quote('Ёлка [live]/01 one.ogg')}"
    with RawFtp(gate.address("ftp")) as first, RawFtp(gate.address("ftp")) as second:
        first.login(token)
        second.login(token)
        with raw.connect(gate.address("http")) as web:
            raw.http_request(web, target)
            assert raw.read_head(web)[0] == 503
        second.do("QUIT", "221")
        wait_until(lambda: gate.call(lambda: gate.gate.sessions) == 1, 10, "the end of a session")
        with raw.http_get(gate.address("http"), target) as running, RawFtp(gate.address("ftp")) as third:
            running.read(1_000)
            third.do("USER me", "331")
            third.do(f"PASS {token}", "421")


def test_commands_behind_pass_wait_for_its_answer(gate: InProcessGate, token: Token) -> None:
    with RawFtp(gate.address("ftp")) as client:
        client.send(f"USER me\r\nPASS {token.reveal()}\r\nPWD\r\nCWD /Ёлка [live]\r\nPWD\r\nSIZE 01 one.ogg\r\nNOOP\r\nQUIT")
        answers = [client.reply() for _ in range(8)]
        assert [answer[:3] for answer in answers] == ["331", "230", "257", "250", "257", "213", "200", "221"], answers
        assert client.closed()


def test_a_flood_behind_pass_is_bounded_and_answered_whole(gate: InProcessGate, token: Token) -> None:
    with RawFtp(gate.address("ftp")) as client:
        client.send(f"USER me\r\nPASS {token.reveal()}\r\n" + "NOOP\r\n" * 20_000)
        codes = [client.reply()[:3] for _ in range(20_002)]
    assert codes == ["331", "230"] + ["200"] * 20_000


def test_the_log_holds_no_token(gate: InProcessGate, token: Token, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    strange = Token.new(new_grant_id())
    with RawFtp(gate.address("ftp")) as client:
        client.do(f"USER {strange.reveal()}", "331")
        client.do("PASS secret-password", "530")
        client.login(token.reveal())
        client.do("STAT", "211")
    assert token.grant in caplog.text
    assert strange.grant in caplog.text
    for secret in (token.secret, strange.secret, "secret-password"):
        assert secret not in caplog.text


def test_who_logs_in_again_has_the_time_of_a_newcomer(gate: InProcessGate, token: Token, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ftp_session, "LOGIN_WITHIN", 1.0)
    with RawFtp(gate.address("ftp")) as client:
        client.login(token.reveal())
        client.socket.settimeout(1.5)
        with pytest.raises(TimeoutError):
            client.reply()
        client.socket.settimeout(20)
        client.do("REIN", "220")
        client.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.reply()
        client.socket.settimeout(20)
        client.do("USER me", "331")
        client.expect("421")


def test_a_replaced_token_fetches_nothing_in_its_sessions_either(gate: InProcessGate, token: Token) -> None:
    with RawFtp(gate.address("ftp")) as client:
        client.login(token.reveal())
        another = Token.new(token.grant)
        gate.shop.change(token.grant, live_tokens=frozenset({another.digest()}))
        wait_until(lambda: token.digest() not in gate.grant_cache.grants()[0].status.live_tokens, 10, "the news")
        with client.data():
            client.do("RETR Ёлка [live]/01 one.ogg", "530")
            client.do("NOOP", "200")


def test_a_grant_that_is_gone_fetches_nothing_in_its_sessions_either(gate: InProcessGate, token: Token) -> None:
    with RawFtp(gate.address("ftp")) as client:
        client.login(token.reveal())
        gate.shop.remove(token.grant)
        wait_until(lambda: gate.grant_cache.grants()[0].status.state is not GrantState.OPEN, 10, "the news")
        with client.data():
            client.do("RETR Ёлка [live]/01 one.ogg", "530")
            client.do("NOOP", "200")
