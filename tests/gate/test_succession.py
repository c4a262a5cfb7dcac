"""A gate that drains while another process takes new clients: whoever is connected may ask for more, and is let go then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftpgate import ftp, http
from tests.support.inprocess import InProcessGate
from tests.support.media import write_album
from tests.support.rawftp import RawFtp
from tests.support.rawhttp import RawClient

FILES = {"one.ogg": 1_000, "two.ogg": 2_000}


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[InProcessGate]:
    media = write_album(tmp_path / "media" / "Album", FILES).parent
    with InProcessGate(media, {"ftp": ftp.listen, "http": http.listen}) as gate:
        yield gate


def drain(gate: InProcessGate, *, succeeded: bool) -> None:
    def told() -> None:
        gate.gate.draining, gate.gate.succeeded = True, succeeded
        for listener in gate.listeners.values():
            listener.close()

    gate.call(told)


@pytest.fixture
def ask(gate: InProcessGate) -> Callable[[bool], tuple[str, int, str]]:
    """What clients get that were connected before the gate drained: replies of FTP, a status, and what becomes of HTTP's."""
    token = gate.shop.issue([gate.item("Album")]).reveal()

    def asked(succeeded: bool) -> tuple[str, int, str]:
        with RawFtp(gate.address("ftp")) as session, RawClient(gate.address("http")) as client:
            session.login(token)
            client.ask(f"/d/{token}/Album/one.ogg", method="HEAD").reply(head=True)
            drain(gate, succeeded=succeeded)
            answer = client.ask(f"/d/{token}/Album/two.ogg").reply()
            if not succeeded:
                return session.reply(), answer.status, answer.headers["connection"]
            assert len(session.retrieve("Album/two.ogg")) == len(answer.body) == FILES["two.ogg"]
            return session.reply(), answer.status, answer.headers["connection"]

    return asked


def test_they_are_served_and_then_let_go(ask: Callable[[bool], tuple[str, int, str]]) -> None:
    assert ask(True) == ("421 The service is stopping. Try again shortly.", 200, "close")


def test_without_a_successor_they_are_sent_away(ask: Callable[[bool], tuple[str, int, str]]) -> None:
    assert ask(False) == ("421 The service is stopping. Try again shortly.", 503, "close")
