"""Gates that share customers, on a clock of the test's own: the real keeper, customers, token buckets and store."""

from __future__ import annotations

import gc
import heapq
import itertools
import random
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ftpgate.errors import GateError, TooManyConnections, Unavailable
from ftpgate.grants import Tier
from ftpgate.leases import LeaseExchange, LeaseLeave, LeaseReport
from ftpgate.shaping.customer import Customer
from ftpgate.shaping.leases.keeper import BATCH, LeaseKeeper
from ftpgate.shaping.leases.lease import PATIENCE, RESTS
from ftpgate.shaping.leases.sqlite import SqliteLeases

TIER = Tier("t", 1_000_000, 4)


class World:
    """Time, what happens at which time, and the store; `loss` of its calls are lost, and all while it is `away`."""

    def __init__(self, folder: Path) -> None:
        self.now = 5_000.0
        self.store = SqliteLeases(folder / "leases.sqlite3", lambda: self.now)
        self.name = "sqlite"
        self.rng = random.Random(7)
        self.loss = 0.0
        self.away = False
        self.calls: list[tuple[str, int, int]] = []
        """Of each call that came: the gate, how many customers it reported, and how many it left."""
        self._coming: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._coming, (self.now + seconds, next(self._order), call))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._coming and self._coming[0][0] <= end:
            at, _, call = heapq.heappop(self._coming)
            self.now = max(self.now, at)
            call()
        self.now = end

    def submit(self, work: Callable[[], object], done: Callable[..., None]) -> None:
        """As a thread: the answer comes 2 ms later."""
        found: object = None
        failed: GateError | None = None
        try:
            found = work()
        except GateError as error:
            failed = error
        self.call_later(0.002, lambda: done(found, failed))

    def exchange(
        self, gate: str, reports: Sequence[LeaseReport] = (), leaving: Sequence[LeaseLeave] = (), ended: Sequence[str] = ()
    ) -> LeaseExchange:
        lost = self.rng.random() < self.loss
        if self.away or (lost and self.rng.random() < 0.5):
            raise Unavailable()
        self.calls.append((gate, len(reports), len(leaving)))
        found = self.store.exchange(gate, reports, leaving, ended)
        if lost:
            raise Unavailable()
        return found

    def close(self) -> None:
        self.store.close()


class Greedy:
    """A connection that takes whatever it is given."""

    def __init__(self, customer: Customer) -> None:
        self.customer = customer
        self.got: list[tuple[float, int]] = []
        self.ready = True
        customer.connect()
        customer.transfers.add(self)
        customer.queue(self)

    def send(self, budget: int) -> int:
        self.got.append((time.monotonic(), budget))
        return budget

    def pace_changed(self) -> None:
        pass

    def stop(self) -> None:
        self.ready = False
        self.customer.transfers.discard(self)
        self.customer.leave(self)
        self.customer.disconnect()


class Gate:
    def __init__(self, world: World, name: str, gates: int = 2) -> None:
        self.world = world
        self.keeper = LeaseKeeper(world, world, world.call_later, gate=name, gates=lambda: gates)

    def customer(self, name: str = "anna", tier: Tier = TIER) -> Customer:
        customer = Customer(name, tier, self.world.call_later)
        self.keeper.join(customer)
        return customer


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(tmp_path)
    monkeypatch.setattr(time, "monotonic", world.monotonic)
    yield world
    world.close()


def rate(greedy: Sequence[Greedy], start: float, end: float) -> float:
    return sum(count for each in greedy for at, count in each.got if start <= at < end) / (end - start)


def test_a_customer_of_one_gate_costs_a_report_and_a_sign_of_life_twice_a_second(world: World) -> None:
    gate = Gate(world, "one", gates=1)
    customer = gate.customer()
    assert customer.places == 4  # nobody waits where no other gate runs
    world.run(10.0)
    assert [call for call in world.calls if call != ("one", 0, 0)] == [("one", 1, 0)]
    assert 18 <= len(world.calls) <= 24
    gate.keeper.leave(customer)
    world.run(1.0)
    assert world.calls[-1] == ("one", 0, 1)
    before = len(world.calls)
    world.run(10.0)
    assert len(world.calls) == before


def test_a_customer_who_has_left_is_free_without_a_collection_of_cycles(world: World) -> None:
    """A gate has all of them collected seldom, because that stops its loop."""
    gate = Gate(world, "one")
    customer = gate.customer()
    world.run(1.0)
    gate.keeper.leave(customer)
    left = weakref.ref(customer)
    gc.disable()
    try:
        del customer
        assert left() is None
    finally:
        gc.enable()


def test_what_comes_and_goes_at_the_same_time_is_told_together(world: World) -> None:
    gate = Gate(world, "one")
    customers = [gate.customer(f"customer{n}") for n in range(100)]
    world.run(0.1)
    assert [reports for _, reports, _ in world.calls] == [100]
    assert all(customer.places == 4 for customer in customers)
    for customer in customers:
        gate.keeper.leave(customer)
    world.run(0.6)
    assert sum(left for _, _, left in world.calls) == 100
    assert len(world.calls) <= 4


def test_a_large_gate_reports_in_pieces(world: World) -> None:
    gate = Gate(world, "one")
    for n in range(2 * BATCH + 1):
        gate.customer(f"customer{n}")
    world.run(0.1)
    assert [reports for _, reports, _ in world.calls] == [BATCH, BATCH, 1]


def test_two_gates_give_a_customer_his_rate_while_demand_moves_and_calls_are_lost(world: World) -> None:
    world.loss = 0.01
    customers = [Gate(world, name).customer(tier=Tier("t", 1_000_000, 16)) for name in ("one", "two")]
    world.run(1.0)
    running = [Greedy(customers[0]) for _ in range(3)]
    everyone = list(running)
    start = world.now
    while world.now < start + 60:
        world.run(world.rng.uniform(0.5, 4.0))
        kind, customer = world.rng.randrange(3), world.rng.choice(customers)
        if kind == 0 and customer.connections < customer.places:
            new = Greedy(customer)
            running.append(new)
            everyone.append(new)
        elif kind == 1 and len(running) > 1:
            running.pop(world.rng.randrange(len(running))).stop()
        elif customer.connections < customer.places:  # they end here, and go on there
            new = Greedy(customer)
            for each in running:
                each.stop()
            running = [new]
            everyone.append(new)
    for at in range(2, 50):
        assert 0.95 <= rate(everyone, start + at, start + at + 10) / 1_000_000 <= 1.05
    for at in range(2, 59):
        assert rate(everyone, start + at, start + at + 1) <= 1_250_000


def test_a_client_waits_for_a_connection_that_another_gate_gives_back(world: World) -> None:
    one, two = (Gate(world, name).customer() for name in ("one", "two"))
    world.run(0.01)
    admitted: list[float] = []
    running = []

    def try_it(customer: Customer, since: float | None = None) -> None:
        try:
            running.append(Greedy(customer))
            admitted.append(world.now)
        except TooManyConnections:
            if not customer.when_room(lambda since: try_it(customer, since), since):
                admitted.append(0.0)

    for _ in range(3):
        try_it(one)
    began = world.now
    world.run(0.3)
    try_it(two)
    world.run(PATIENCE)
    assert len(admitted) == 4
    assert admitted[3] - began <= 0.3 + PATIENCE
    try_it(two)
    try_it(one)
    assert len(admitted) == 4
    world.run(PATIENCE + 0.1)
    assert admitted[4:] == [0.0, 0.0]
    assert one.connections + two.connections == 4
    running[0].stop()
    try_it(two)
    world.run(PATIENCE)
    assert admitted[6] > 0.0


def test_a_customer_who_uses_one_of_two_gates_is_left_to_it_after_a_while(world: World) -> None:
    one, two = (Gate(world, name).customer() for name in ("one", "two"))
    world.run(1.0)
    greedy = Greedy(two)
    world.run(RESTS + 2.0)
    assert one.places == 0
    assert two.places == 4
    before = len(world.calls)
    world.run(10.0)
    assert all(reports == 0 for _, reports, _ in world.calls[before:])
    assert rate([greedy], world.now - 10, world.now) == pytest.approx(1_000_000, rel=0.02)
    woken: list[float] = []
    assert one.when_room(woken.append)  # his next client at the first gate
    world.run(PATIENCE)
    assert woken
    assert one.places >= 1


def test_a_gate_that_is_told_gives_back_at_once(world: World) -> None:
    gates = [Gate(world, name) for name in ("one", "two")]
    one = gates[0].customer()
    world.run(0.3)
    two = gates[1].customer()
    gates[0].keeper.soon("anna")
    gates[0].keeper.soon("nobody")
    world.run(0.12)
    assert two.places >= 1
    assert one.places + two.places <= 4


def test_another_tier_is_shared_anew(world: World) -> None:
    gates = [Gate(world, name) for name in ("one", "two")]
    customers = [gate.customer() for gate in gates]
    world.run(1.0)
    greedy = [Greedy(customer) for customer in customers]
    world.run(1.0)
    for customer in customers:
        customer.change(Tier("fast", 4_000_000, 64))
    world.run(12.0)
    assert rate(greedy, world.now - 10, world.now) == pytest.approx(4_000_000, rel=0.05)
    assert 60 <= sum(customer.places for customer in customers) <= 64
    for customer in customers:
        customer.change(Tier("free", 0, 64))
    world.run(1.0)
    assert [gate.keeper.shared for gate in gates] == [1, 1]


def test_without_the_store_the_last_share_goes_on_and_newcomers_get_a_part(world: World) -> None:
    one = Gate(world, "one", gates=3)
    two = Gate(world, "two", gates=3)
    customers = [gate.customer() for gate in (one, two)]
    world.run(1.0)
    greedy = [Greedy(customer) for customer in customers]
    world.run(1.0)
    world.away = True
    world.run(1.0)
    assert not one.keeper.up
    newcomer = one.customer("bert", Tier("t", 900_000, 64))
    assert newcomer.places == 22  # a third, rounded up
    other = Greedy(newcomer)
    world.run(14.0)
    assert rate(greedy, world.now - 10, world.now) == pytest.approx(1_000_000, rel=0.15)
    assert rate([other], world.now - 10, world.now) == pytest.approx(300_000, rel=0.05)
    world.away = False
    world.run(11.0)
    assert one.keeper.up
    assert rate(greedy, world.now - 10, world.now) == pytest.approx(1_000_000, rel=0.05)
    assert rate([other], world.now - 10, world.now) == pytest.approx(900_000, rel=0.05)
    assert newcomer.places == 64


def test_a_call_that_is_lost_is_made_again_and_is_no_outage(world: World, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate(world, "one")
    world.away = True
    customer = gate.customer()
    world.run(0.05)
    world.away = False
    world.run(0.1)
    assert "away" not in caplog.text
    assert gate.keeper.calls.failures == 1
    assert customer.bound is None


def test_a_store_that_has_lost_everything_is_told_all_of_it(world: World, tmp_path: Path) -> None:
    gates = [Gate(world, name) for name in ("one", "two")]
    customers = [gate.customer() for gate in gates]
    lonely = gates[0].customer("bert")
    world.run(1.0)
    world.store.close()
    for path in tmp_path.glob("leases*"):
        path.unlink()
    world.run(1.0)
    late = gates[1].customer("bert")
    world.run(1.0)
    for pair in (customers, (lonely, late)):
        assert sum(customer.places for customer in pair) <= 4
        assert all(customer.places >= 1 for customer in pair)


def test_the_first_answer_is_waited_for_half_a_second_at_the_most(world: World) -> None:
    world.away = True
    gate = Gate(world, "one")
    gate.keeper.up = True
    customer = gate.customer()
    assert customer.places == 0
    woken: list[float] = []
    assert customer.when_room(woken.append)
    world.run(0.6)
    assert woken
    assert customer.places == 2
