"""Each customer's and each address's share of the passive ports."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpgate.net import passive_ports
from ftpgate.net.passive_ports import OpenPort, PassivePorts
from tests.support.ports import free_range

HERE = ("127.0.0.1", 0)


class Sessions:
    """Open ports as sessions do, each of which gives its own up when it is asked to.

    Attributes:
        given_up: whose, in order.
    """

    def __init__(self, ports: range) -> None:
        self.ports = PassivePorts(ports)
        self.given_up: list[str] = []
        self.open_ports: list[OpenPort] = []

    def open(self, customer: str, peer: str = "192.0.2.1") -> OpenPort | None:
        holder: list[OpenPort] = []

        def give_way() -> None:
            self.given_up.append(customer)
            self.open_ports.remove(holder[0])
            holder[0].close()

        port = self.ports.open(HERE, socket.AF_INET, customer=customer, peer=peer, give_way=give_way)
        if port is not None:
            holder.append(port)
            self.open_ports.append(port)
        return port

    def fill(self, customer: str, count: int, peer: str = "192.0.2.1") -> int:
        """How many of `count` were opened."""
        return sum(self.open(customer, peer) is not None for _ in range(count))

    def close(self) -> None:
        for port in self.open_ports:
            port.close()


@pytest.fixture
def free_ports() -> range:
    return free_range(8)


@pytest.fixture
def sessions(free_ports: range) -> Iterator[Sessions]:
    sessions = Sessions(free_ports)
    yield sessions
    sessions.close()


def test_a_customer_has_half(sessions: Sessions) -> None:
    assert sessions.fill("greedy", 10) == 4
    assert sessions.fill("greedy", 10, "192.0.2.2") == 0, "from another address neither"
    assert not sessions.given_up
    sessions.open_ports.pop().close()
    assert sessions.fill("greedy", 10) == 1


def test_an_address_has_three_quarters_and_shares_them_evenly(sessions: Sessions) -> None:
    assert sessions.fill("one", 4) + sessions.fill("two", 2) == 6
    assert sessions.fill("two", 2) == 1, "who has the most there gives one up"
    assert sessions.given_up == ["one"]
    assert sessions.fill("three", 1) == 1
    assert sessions.fill("four", 1, "192.0.2.2") == 1
    assert len(sessions.ports) == 7


def test_everybody_gets_one_when_all_are_taken(sessions: Sessions, free_ports: range) -> None:
    assert sessions.fill("greedy", 4) + sessions.fill("other", 4, "192.0.2.2") == 8
    port = sessions.open("new", "192.0.2.3")
    assert port is not None
    assert port.number in free_ports
    assert sessions.given_up == ["greedy"]


def test_many_accounts_of_one_address_give_way_to_another_address(sessions: Sessions) -> None:
    assert [sessions.fill(f"account {number}", 1) for number in range(6)] == [1] * 6
    assert [sessions.fill(f"customer {number}", 1, f"192.0.2.{number}") for number in (2, 3)] == [1, 1]
    assert sessions.fill("new", 1, "192.0.2.4") == 1
    assert sessions.given_up == ["account 0"]


def test_what_nobody_comes_to_gives_way(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        assert sessions.fill(f"customer {number}", 1, f"192.0.2.{number}") == 1
    assert sessions.fill("new", 1, "192.0.2.9") == 0, "all have as much as they may"
    monkeypatch.setattr(passive_ports, "STALE", 0.0)
    assert sessions.fill("new", 1, "192.0.2.9") == 1
    assert sessions.given_up == ["customer 0"]


def test_a_customers_own_stale_port_gives_way(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sessions.fill("greedy", 5) == 4
    monkeypatch.setattr(passive_ports, "STALE", 0.0)
    assert sessions.fill("greedy", 3) == 3
    assert sessions.given_up == ["greedy"] * 3
    assert len(sessions.ports) == 4


def test_ports_that_other_programs_hold_are_left_alone(sessions: Sessions, free_ports: range) -> None:
    held = [socket.create_server(("127.0.0.1", port)) for port in free_ports]
    try:
        assert sessions.open("one") is None
        held.pop().close()
        port = sessions.open("one")
        assert port is not None
        assert port.number == free_ports[-1]
    finally:
        for sock in held:
            sock.close()


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("123"), st.booleans()), max_size=60))
@settings(max_examples=30, deadline=None)
def test_shares_hold_whatever_happens(steps: list[tuple[str, str, bool]]) -> None:
    sessions = Sessions(range(31_000, 31_012))
    try:
        for customer, address, close in steps:
            if close and sessions.open_ports:
                sessions.open_ports.pop(0).close()
            else:
                sessions.open(customer, f"192.0.2.{address}")
            owners = [port.customer for port in sessions.open_ports]
            addresses = [port.address for port in sessions.open_ports]
            assert len(sessions.ports) == len(owners) <= 12
            assert all(owners.count(each) <= 6 for each in owners)
            assert all(addresses.count(each) <= 9 for each in addresses)
    finally:
        sessions.close()
