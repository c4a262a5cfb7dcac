"""Passive ports between customers: who opens many leaves the others theirs, and who has lost one is told."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ftpgate import ftp
from ftpgate.grants import Item
from tests.gate import raw
from tests.support.inprocess import InProcessGate
from tests.support.ports import free_range
from tests.support.rawftp import RawFtp, read_all


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[InProcessGate]:
    """With eight passive ports."""
    raw.write(tmp_path / "media" / "Album" / "track.ogg", 5_000)
    ports = free_range(8)
    with InProcessGate(
        tmp_path / "media", {"ftp": ftp.listen}, settings={"FTPGATE_PASSIVE_PORTS": f"{ports[0]}-{ports[-1]}"}
    ) as gate:
        yield gate


@pytest.fixture
def item(gate: InProcessGate) -> Item:
    return gate.item("Album")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _session(gate: InProcessGate, item: Item, user: str, stack: ExitStack, source: str | None = None) -> RawFtp:
    token = gate.shop.issue([item], user=user)
    return stack.enter_context(RawFtp(gate.address("ftp"), source=source)).login(token.reveal())


def _ports(gate: InProcessGate) -> int:
    return gate.call(lambda: len(gate.gate.passive_ports))


def test_a_session_has_one_port_however_often_it_asks(gate: InProcessGate, item: Item, stack: ExitStack) -> None:
    session = _session(gate, item, "user", stack)
    for command, code in (("PASV", "227"), ("EPSV", "229")) * 20:
        session.do(command, code)
    assert _ports(gate) == 1
    assert len(session.retrieve("Album/track.ogg")) == 5_000
    assert _ports(gate) == 0


def test_another_customer_always_gets_one(gate: InProcessGate, item: Item, stack: ExitStack) -> None:
    """The one who loses his hears so when he asks for data, and his session goes on."""
    one, two = ([_session(gate, item, user, stack, source) for _ in range(6)] for user, source in
                (("one", "127.0.0.2"), ("two", "127.0.0.3")))  # fmt: skip
    one[0].do("EPSV", "229")
    one[0].do("RETR Album/track.ogg", "150")
    for sessions in one[1:], two:
        for session in sessions:
            session.send("EPSV")
        assert {session.reply()[:3] for session in sessions} == {"229", "425"}
    assert _ports(gate) == 8
    new = _session(gate, item, "new", stack)
    assert len(new.retrieve("Album/track.ogg")) == 5_000
    one[0].expect("425")
    one[0].do("NOOP", "200")


def test_a_port_that_is_given_to_another_customer_takes_its_connection(gate: InProcessGate, item: Item, stack: ExitStack) -> None:
    greedy = [_session(gate, item, user, stack, source) for user, source in (("one", "127.0.0.2"), ("two", "127.0.0.3")) * 4]
    for session in greedy:
        session.do("EPSV", "229")
    new = _session(gate, item, "new", stack)
    found = re.search(r"\|\|\|(\d+)\|", new.do("EPSV", "229"))
    assert found
    with socket.create_connection(("127.0.0.1", int(found[1]))) as data:
        new.do("NLST", "150")
        assert read_all(data) == b"Album\r\n"
    new.expect("226")
    greedy[0].do("NLST", "425")
    greedy[0].do("EPSV", "229")
