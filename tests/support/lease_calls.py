"""Generated calls of gates to a store of leases: every store has to answer them as `LeaseTable` does."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from ftpgate.leases import LeaseExchange, LeaseLeave, LeaseReport, LeaseStore
from ftpgate.shaping.leases.rules import TTL
from ftpgate.shaping.leases.table import LeaseTable

TIERS = ((2_000_000, 4), (0, 3), (300_000, 64), (1, 1))


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class _Gate:
    """What a gate believes, as far as its next report needs it."""

    name: str
    sent: dict[str, int] = field(default_factory=dict)
    bound: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """`after`: seconds since the one before."""

    after: float
    gate: str
    reports: tuple[LeaseReport, ...] = ()
    leaving: tuple[LeaseLeave, ...] = ()
    ended: tuple[str, ...] = ()


def calls(seed: int, number: int = 60) -> Iterator[Call]:
    """Calls of three gates for six customers, with gates that fall silent, end, come back and leave twice."""
    rng = random.Random(seed)
    gates = [_Gate(f"gate{n}") for n in range(3)]
    customers = [f"customer{n} «ü»" for n in range(6)]
    for _ in range(number):
        gate = rng.choice(gates)
        reports = tuple(_report(rng, gate, customer) for customer in rng.sample(customers, rng.randrange(4)))
        leaving = [LeaseLeave(name, gate.sent[name] + rng.randrange(90_000)) for name in gate.sent if rng.random() < 0.1]
        if rng.random() < 0.1:
            leaving.append(LeaseLeave(rng.choice(customers), 5))
        for left in leaving:
            if all(left.customer != report.customer for report in reports):
                gate.sent.pop(left.customer, None)
                gate.bound.pop(left.customer, None)
        once = {left.customer: left for left in leaving}
        ended = tuple(name for name in ("gate0", "gate1", "gate2", "nobody") if rng.random() < 0.02)
        after = rng.choice([0.0, 0.01, 0.2, 0.25, 0.5, rng.uniform(0, TTL), TTL + 1 if rng.random() < 0.2 else 0.1])
        yield Call(after, gate.name, reports, tuple(once.values()), ended)


def _report(rng: random.Random, gate: _Gate, customer: str) -> LeaseReport:
    rate, places = TIERS[int(customer[8]) % len(TIERS)] if rng.random() < 0.9 else rng.choice(TIERS)
    gate.sent[customer] = sent = max(gate.sent.get(customer, 0) + rng.choice([0, 1, 40_000, 700_000, -10]), 0)
    bound = gate.bound[customer] = rng.choice([gate.bound.get(customer, 0), rng.randrange(places + 1)])
    used = rng.randrange(bound + 1)
    return LeaseReport(
        customer, rate, places, sent, use=rng.choice([0, 3, 200_000, 2_500_000]), hungry=rng.choice([0, 0, 1, 1, 7]), used=used,
        wanted=rng.choice([0, 0, 1, 5]), bound=bound,
    )  # fmt: skip


def compare(store: LeaseStore, clock: Clock, seed: int) -> None:
    """Make the calls of one seed, and hold the answers of `store`, which goes by `clock`, to those of the reference."""
    table = LeaseTable()
    for at, call in enumerate(calls(seed)):
        clock.now += call.after
        expected = table.exchange(clock.now, call.gate, call.reports, call.leaving, call.ended)
        found = store.exchange(call.gate, call.reports, call.leaving, call.ended)
        assert _shown(found) == _shown(expected), f"call {at} of seed {seed}: {call}"
        rates = ((a.rate, b.rate) for a, b in zip(found.answers, expected.answers, strict=True))
        assert all(abs(a - b) <= 1 for a, b in rates), f"call {at} of seed {seed}: {found} instead of {expected}"  # rounding


def _shown(exchange: LeaseExchange) -> tuple[object, ...]:
    """All but the rates, which stores may round differently."""
    return [answer._replace(rate=0) for answer in exchange.answers], sorted(exchange.called), exchange.known
