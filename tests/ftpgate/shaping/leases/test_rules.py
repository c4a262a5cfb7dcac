"""How a customer's rate and connections are shared between gates: the rules by themselves, and over a minute of a model."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpgate.leases import LeaseAnswer, LeaseLeave, LeaseReport
from ftpgate.shaping.leases.rules import OWED, SAVED, TTL
from ftpgate.shaping.leases.table import LeaseTable
from tests.ftpgate.shaping.leases.model import Model

RATE, PLACES = 1_000_000, 8


def report(**figures: int) -> LeaseReport:
    values = {"rate": RATE, "places": PLACES, "sent": 0, "use": 0, "hungry": 1, "used": 0, "wanted": 0, "bound": 0, **figures}
    return LeaseReport("anna", **values)


def ask(table: LeaseTable, now: float, gate: str, **figures: int) -> LeaseAnswer:
    (answer,) = table.exchange(now, gate, [report(**figures)]).answers
    return answer


def test_a_gate_alone_has_everything_and_need_not_report() -> None:
    table = LeaseTable()
    assert ask(table, 0.0, "one", wanted=1) == LeaseAnswer("anna", RATE, PLACES, 1, alone=True, awaited=False)
    assert table.exchange(0.5, "one") == ([], [], True)


def test_a_gate_that_joins_calls_the_one_that_was_alone_and_gets_no_connection_that_is_held() -> None:
    table = LeaseTable()
    ask(table, 0.0, "one", wanted=1)
    answer = ask(table, 0.6, "two", wanted=1)
    assert (answer.connections, answer.gates, answer.alone, answer.awaited) == (0, 2, False, True)
    assert table.exchange(0.7, "one").called == ["anna"]
    assert ask(table, 0.7, "one", used=2, bound=PLACES).connections == 4  # the two, and half of the five that nobody needs
    assert ask(table, 0.8, "one", used=2, bound=4).connections == 4
    assert ask(table, 0.8, "two", wanted=1).connections == 3
    assert table.exchange(0.9, "one").called == []


def test_what_a_gate_was_given_is_held_until_it_says_that_it_knows_of_less() -> None:
    table = LeaseTable()
    ask(table, 0.0, "one")
    ask(table, 0.1, "two")
    ask(table, 0.2, "one", bound=PLACES)  # is answered 4, which it may not have heard
    assert ask(table, 0.3, "two", wanted=8).connections == 0
    ask(table, 0.4, "one", bound=4)
    assert ask(table, 0.5, "two", wanted=8).connections == 4
    assert ask(table, 0.6, "one", bound=0).connections == 0
    assert ask(table, 0.7, "two", wanted=8, bound=4).connections == 8


def test_shares_go_by_hungry_connections() -> None:
    table = LeaseTable()
    for gate in ("one", "two", "one"):
        ask(table, 0.0, gate, hungry=1 if gate == "one" else 3)
    assert ask(table, 0.0, "one", hungry=1).rate == RATE // 4
    assert ask(table, 0.0, "two", hungry=3).rate == RATE * 3 // 4
    assert ask(table, 0.0, "one", hungry=0, use=100_000).rate == 130_000
    assert ask(table, 0.0, "two", hungry=3).rate == RATE - 100_000


def test_what_was_sent_too_much_is_taken_back_and_what_was_not_sent_is_made_up_for() -> None:
    for sent, compared in (
        (800_000, -1),
        (200_000, 1),
    ):  # of 500,000 that each should have sent in half a second at half the rate
        table = LeaseTable()
        for gate in ("one", "two", "one", "two"):
            ask(table, 0.0, gate)
        ask(table, 1.0, "one", sent=sent)
        ask(table, 1.0, "two", sent=sent)
        rate = ask(table, 1.0, "one", sent=sent).rate
        assert (rate > RATE / 2) - (rate < RATE / 2) == compared


def test_a_report_that_comes_twice_counts_once() -> None:
    table = LeaseTable()
    for gate in ("one", "two", "one"):
        ask(table, 0.0, gate)
    first = ask(table, 0.0, "one", sent=300_000)
    assert ask(table, 0.0, "one", sent=300_000) == first
    before = table.accounts["anna"].debt
    for _ in range(2):
        table.exchange(0.0, "two", leaving=[LeaseLeave("anna", 50_000)])
    assert table.accounts["anna"].debt == before + 50_000


def test_what_a_gate_sent_while_it_was_alone_is_no_debt() -> None:
    table = LeaseTable()
    ask(table, 0.0, "one")
    ask(table, 60.0, "two")
    ask(table, 60.25, "one", sent=60 * RATE, use=RATE, hungry=4)
    assert -0.1 * RATE <= table.accounts["anna"].debt <= 0.1 * RATE


def test_a_gate_that_says_nothing_has_ended() -> None:
    table = LeaseTable()
    ask(table, 0.0, "one")
    ask(table, TTL - 0.1, "two")
    assert ask(table, TTL + 0.1, "two").alone
    assert not table.exchange(TTL + 0.2, "one").known


def test_a_gate_that_is_known_to_have_ended_is_not_waited_for() -> None:
    table = LeaseTable()
    ask(table, 0.0, "one")
    (answer,) = table.exchange(0.1, "two", [report()], ended=["one"]).answers
    assert answer.alone
    table.exchange(0.2, "two", ended=["two"])
    assert not table.gates
    assert not table.accounts


def test_a_store_that_was_away_has_not_ended_the_gates() -> None:
    """Whoever calls first after a time in which nobody was heard must not take what others hold."""
    table = LeaseTable()
    for gate in ("one", "two", "one", "two"):
        ask(table, 0.0, gate, bound=4, used=4)
    assert ask(table, 20.0, "one", bound=4, used=4, wanted=2).connections == 4
    assert ask(table, 20.1, "two", bound=4, used=4).gates == 2


def test_without_a_limit_only_connections_are_shared() -> None:
    table = LeaseTable()
    ask(table, 0.0, "one", rate=0)
    answer = ask(table, 0.1, "two", rate=0, sent=10**12, use=10**9)
    assert (answer.rate, answer.connections, answer.gates) == (0, 0, 2)


def test_another_tier_counts_from_its_first_report() -> None:
    table = LeaseTable()
    for gate in ("one", "two", "one", "two"):
        ask(table, 0.0, gate, bound=4)
    answer = ask(table, 0.1, "one", bound=4, used=4, rate=10 * RATE, places=16)
    assert answer.rate > 4 * RATE
    assert ask(table, 0.1, "one", bound=4, used=4, wanted=4, places=16).connections == 12
    assert ask(table, 0.2, "one", bound=4, used=4, places=2).connections == 4  # what is in use goes on


@dataclass
class Holder:
    """A gate that keeps to its bound, and may not hear an answer."""

    used: int = 0
    bound: int = 0
    alone: bool = False
    joined: bool = False


@given(st.integers(0, 2**32), st.sampled_from([1, 2, 4, 64]), st.integers(2, 5))
def test_gates_never_hold_more_connections_than_the_tier_has(seed: int, places: int, count: int) -> None:
    rng, table, gates = random.Random(seed), LeaseTable(), {f"gate{n}": Holder() for n in range(count)}
    now = 0.0
    for _ in range(120):
        now += rng.choice([0.0, 0.05, 0.25])
        name = rng.choice(list(gates))
        gate = gates[name]
        gate.used = rng.randrange(gate.bound + 1)
        for each in gates:  # their signs of life
            table.exchange(now, each)
        if gate.joined and not gate.used and rng.random() < 0.1:
            table.exchange(now, name, leaving=[LeaseLeave("anna", 0)])
            gates[name] = Holder()
            continue
        gate.bound = rng.randrange(gate.used, gate.bound + 1)
        wanted = rng.randrange(3)
        if rng.random() < 0.1:
            continue  # the report is lost
        answer = ask(table, now, name, places=places, used=gate.used, wanted=wanted, bound=gate.bound, hungry=gate.used)
        gate.joined = True
        if rng.random() < 0.9:
            gate.bound = answer.connections
        assert sum(each.bound for each in gates.values()) <= places


def test_all_connections_can_be_had_at_one_gate() -> None:
    table = LeaseTable()
    ask(table, 0.0, "one")
    ask(table, 0.1, "two", wanted=1)
    bounds, now = {"one": PLACES, "two": 0}, 0.2
    for _ in range(10):
        for gate, used in (("one", 0), ("two", bounds["two"])):
            bounds[gate] = ask(table, now, gate, used=used, bound=bounds[gate], wanted=gate == "two", hungry=used).connections
            now += 0.05
    assert bounds == {"one": 0, "two": PLACES}


@given(st.integers(0, 2**32), st.sampled_from([0, 1, RATE]))
def test_the_account_is_bounded(seed: int, rate: int) -> None:
    rng = random.Random(seed)
    table, now, sent = LeaseTable(), 0.0, dict.fromkeys(("one", "two", "three"), 0)
    for _ in range(60):
        now += rng.choice([0.0, 0.25, 1.0])
        gate = rng.choice(list(sent))
        sent[gate] += rng.choice([0, rate // 4, 20 * rate])
        ask(table, now, gate, rate=rate, sent=sent[gate], hungry=rng.randrange(3), use=rng.choice([0, rate, 9 * rate]))
        account = table.accounts["anna"]
        known = account.debt + sum(member.unheard(now) for name, member in account.members.items() if name != gate)
        assert -SAVED * rate - 1 <= known <= OWED * rate + 1


@pytest.mark.parametrize("gates", [2, 3, 8])
def test_ten_seconds_bring_the_rate_within_five_percent_while_demand_moves_and_calls_are_lost(gates: int) -> None:
    for seed in range(3):
        model = Model(gates, seed)
        model.gates[0].greedy = 4
        model.run(40.0)
        low, high = model.errors()
        assert -0.05 <= low <= high <= 0.05, seed
        assert model.worst_second() <= 1.25, seed


def test_a_store_that_was_away_costs_ten_seconds_at_the_most() -> None:
    for seed in range(3):
        model = Model(2, seed)
        model.gates[0].greedy = 4
        model.run(10.0)
        model.run(15.0, away=True)
        assert model.worst_second() <= 2.15, seed
        back = len(model.output)
        model.run(25.0)
        model.output, model.saturated = model.output[back:], model.saturated[back:]
        low, high = model.errors(skip=10.0)
        assert -0.05 <= low <= high <= 0.05, seed
