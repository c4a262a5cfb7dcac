"""A gate whose clock is set, or differs from the database's, while customers are served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftpgate import ftp, http
from ftpgate.grants import GrantState
from ftpgate.tokens import Token
from tests.support.clocks import WEEK, Clocks
from tests.support.inprocess import InProcessGate
from tests.support.media import write_album
from tests.support.rawftp import RawFtp
from tests.support.rawhttp import RawClient
from tests.support.waiting import wait_until

LISTEN = {"http": http.listen, "ftp": ftp.listen, "admin": http.listen_admin}


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def gate(clocks: Clocks, tmp_path: Path) -> Iterator[InProcessGate]:
    write_album(tmp_path / "media" / "Album", {"a.ogg": 100_000})
    with InProcessGate(tmp_path / "media", LISTEN, clock=clocks.guard) as running:  # type: ignore[arg-type]
        yield running


def issue(gate: InProcessGate, expires_in: float = 3600) -> Token:
    return gate.shop.issue([gate.item("Album")], expires_in=expires_in)


def opened(gate: InProcessGate, *tokens: Token) -> list[bool]:
    """Does each of these open its grant? Ten bytes are fetched, so that none is complete by it."""
    return [_opened(gate, token) for token in tokens]


def _opened(gate: InProcessGate, token: Token) -> bool:
    with RawClient(gate.address("http")) as client:
        status = client.ask(f"/d/{token.reveal()}/Album/a.ogg", "Range: bytes=0-9").reply().status
    assert status in (206, 410)
    return status == 206


def health(gate: InProcessGate) -> str:
    with RawClient(gate.address("admin")) as admin:
        return admin.ask("/health").reply().body.decode().strip()


def shown(gate: InProcessGate) -> str | None:
    with RawClient(gate.address("admin")) as admin:
        found: str | None = json.loads(admin.ask("/status").reply().body)["gates"][0]["clock"]
        return found


@pytest.mark.parametrize("ahead", [WEEK, -WEEK])
def test_a_clock_that_jumps_ends_no_grant_and_is_told_of(
    gate: InProcessGate, clocks: Clocks, ahead: float, caplog: pytest.LogCaptureFixture
) -> None:
    before, after, over = issue(gate), issue(gate), issue(gate, expires_in=-60)
    served, past = issue(gate), issue(gate)  # complete, in their grace and after it
    for token, seconds in ((served, 60), (past, gate.gate.settings.grace + 60)):
        gate.shop.change(token.grant, state=GrantState.COMPLETE, completed_at=clocks.wall() - seconds)
    assert opened(gate, before, served, over, past) == [True, True, False, False]
    assert (health(gate), shown(gate)) == ("ok", None)
    with RawFtp(gate.address("ftp")) as session:
        session.login(before.reveal())
        clocks.wall_ahead = ahead
        assert "has jumped 604,800 s" in health(gate)
        assert str(shown(gate)) in health(gate)
        assert opened(gate, before, served, after, over, past) == [True, True, True, False, False]
        assert session.retrieve("Album/a.ogg", 99_000)
    wait_until(lambda: "cannot be trusted" in caplog.text, 10, "the line")
    clocks.wall_ahead = 0.0
    wait_until(lambda: "can be trusted again" in caplog.text, 10, "the line of its end")
    assert (health(gate), shown(gate)) == ("ok", None)
    assert len([record for record in caplog.records if "trusted" in record.message]) == 2
    gate.shop.change(after.grant, expires_at=clocks.wall() - 1)
    wait_until(lambda: opened(gate, after) == [False], 10, "its expiry")


@pytest.mark.parametrize("ahead", [WEEK, -WEEK])
def test_a_database_by_another_clock_ends_no_grant(gate: InProcessGate, clocks: Clocks, ahead: float) -> None:
    gate.shop.clock = clocks.database
    token = issue(gate)
    assert opened(gate, token) == [True]
    clocks.database_ahead = ahead
    wait_until(lambda: "the database's" in health(gate), 10, "the news")
    assert opened(gate, token) == [True]
    clocks.database_ahead = 0.0
    wait_until(lambda: health(gate) == "ok", 10, "the agreement")
    gate.shop.change(token.grant, expires_at=clocks.database() - 1)
    wait_until(lambda: opened(gate, token) == [False], 10, "its expiry")


def test_the_databases_clock_counts_where_they_differ_by_less_than_a_minute(gate: InProcessGate, clocks: Clocks) -> None:
    gate.shop.clock = clocks.database
    clocks.database_ahead = 50.0
    assert opened(gate, issue(gate, expires_in=40), issue(gate, expires_in=3600)) == [False, True]
    assert health(gate) == "ok"
