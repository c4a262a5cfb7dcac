"""The token bucket and the run queue of one customer, run against a clock of its own."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpgate.shaping.token_bucket import GRID, LATE, LONGEST_SILENCE, SAVED, SEGMENT, SOONEST, Pacer


class Client:
    """A connection that takes what it is given, or only so much a turn."""

    def __init__(self, takes: int = 1 << 40) -> None:
        self.takes = takes
        self.got = 0
        self.turns: list[tuple[float, int]] = []
        self.ready = True
        self.now = 0.0

    def send(self, budget: int) -> int:
        count = min(budget, self.takes)
        self.got += count
        self.turns.append((self.now, count))
        return count


def run(pacer: Pacer, clients: list[Client], seconds: float, *, start: float = 0.0) -> None:
    """Wake the pacer whenever it asks for it."""
    now = start
    while now < start + seconds:
        for client in clients:
            client.now = now
        delay = pacer.run(now)
        now += delay if delay is not None else seconds


@given(st.sampled_from([20_000, 512_000, 2_000_000, 20_000_000, 200_000_000]), st.sampled_from([1, 3, 8, 40]))
def test_keeps_the_rate_and_shares_it(rate: int, count: int) -> None:
    pacer, clients = Pacer(rate, 0.0), [Client() for _ in range(count)]
    for client in clients:
        pacer.join(client)
    run(pacer, clients, 10.0)
    total = sum(client.got for client in clients)
    assert abs(total - 10 * rate) <= 0.02 * 10 * rate + 65_536
    turn = max(size for client in clients for _, size in client.turns)
    assert max(client.got for client in clients) - min(client.got for client in clients) <= turn


@given(st.sampled_from([20_000, 2_000_000, 20_000_000]), st.sampled_from([1, 8, 40]))
def test_no_second_brings_more_than_its_share(rate: int, count: int) -> None:
    pacer, clients = Pacer(rate, 0.0), [Client() for _ in range(count)]
    for client in clients:
        pacer.join(client)
    run(pacer, clients, 5.0)
    turns = sorted(turn for client in clients for turn in client.turns)
    for at, _ in turns:
        assert sum(size for time, size in turns if at <= time < at + 1.0) <= rate * 1.1 + 65_536


@pytest.mark.parametrize("share", [2_000, 8_000])
def test_a_slow_connection_keeps_its_rate_over_any_minute(share: int) -> None:
    """In few large turns, with a loop that is late now and then."""
    late = random.Random(share)
    pacer, clients = Pacer(100 * share, 0.0), [Client() for _ in range(100)]
    for client in clients:
        pacer.join(client)
    now = 0.0
    while now < 140.0:
        for client in clients:
            client.now = now
        now += (pacer.run(now) or 0.0) + late.choice([0.0, 0.0, 0.04])
    for client in clients:
        for begin in range(10, 80, 7):
            got = sum(size for at, size in client.turns if begin <= at < begin + 60)
            assert abs(got / 60 - share) <= 0.02 * share


rates = st.sampled_from([1, 100, 2_000, 100_000, 19_999_999, 20_000_001, 1_000_000_000]) | st.integers(1, 1_000_000_000)


@given(rates, st.lists(st.integers(0, 1 << 20), min_size=1, max_size=20), st.lists(st.floats(0, 0.5), min_size=1, max_size=60))
def test_never_more_than_the_rate_and_a_burst(rate: int, takes: list[int], late: list[float]) -> None:
    """Whatever the clients take and however late the loop comes, in any time whatsoever."""
    pacer, clients = Pacer(rate, 0.0), [Client(count) for count in takes]
    for client in clients:
        pacer.join(client)
    burst = LATE * rate + max(SEGMENT, 0.1 * rate)
    now, sent = 0.0, []
    for delay in late:
        before = sum(client.got for client in clients)
        asked = pacer.run(now)
        sent.append((now, sum(client.got for client in clients) - before))
        now += max(asked or 0.0, SOONEST) + delay
    for at, (since, _) in enumerate(sent):
        total = 0
        for upto, count in sent[at:]:
            total += count
            assert total <= (upto - since) * rate + burst + 1


@given(rates, st.integers(1, 64))
def test_nobody_starves_however_slow_the_customer(rate: int, count: int) -> None:
    """Each of 64 segments gets something often enough that no client gives it up, and all the rate is used."""
    pacer, clients = Pacer(rate, 0.0), [Client() for _ in range(count)]
    for client in clients:
        pacer.join(client)
    seconds = 3 * LONGEST_SILENCE if rate < 1_000_000 else 0.5
    run(pacer, clients, seconds)
    round_of_single_bytes = count / rate
    for client in clients:
        times = [0.0, *(at for at, _ in client.turns), seconds]
        assert max(after - before for before, after in pairwise(times)) <= max(LONGEST_SILENCE, round_of_single_bytes) * 1.1 + 0.1
    owed = max(min(pacer.quantum(), rate * seconds / 2), rate * ((pacer.delay() or 0.0) + GRID))
    assert sum(client.got for client in clients) >= 0.97 * seconds * rate - owed


@given(rates, rates, st.integers(0, 1 << 30))
def test_another_rate_owes_nothing_to_the_one_before(first: int, second: int, unlimited: int) -> None:
    """One that had no limit (but that of the whole gate) has no debt when it gets one, nor anything saved."""
    pacer, client = Pacer(0, 0.0), Client()
    pacer.join(client)
    pacer.give(1.0, unlimited)
    now = 1.0
    for rate in (first, second):
        pacer.change(rate, now)
        before, seconds = client.got, max(2.0 if rate < 1_000_000 else 0.1, 2 * pacer.quantum() / rate)
        run(pacer, [client], seconds, start=now)
        now += seconds
    burst = max(SEGMENT, 0.1 * second)
    assert 0 < client.got - before <= second * seconds + burst


def test_the_first_second_is_not_free() -> None:
    pacer, client = Pacer(1_000_000, 0.0), Client()
    pacer.join(client)
    assert pacer.run(0.0) is not None
    assert client.got == 0


def test_a_quiet_time_saves_up_no_more_than_the_burst() -> None:
    pacer, client = Pacer(1_000_000, 0.0), Client()
    pacer.join(client)
    pacer.run(3_600.0)
    assert client.got <= SAVED


def test_a_late_wake_up_is_made_up_for() -> None:
    """A loop that comes 150 ms late every time keeps the rate all the same."""
    pacer, client = Pacer(2_000_000, 0.0), Client()
    pacer.join(client)
    for turn in range(67):
        pacer.run(turn * 0.15)
    assert abs(client.got - 66 * 0.15 * 2_000_000) <= 0.02 * 20_000_000


def test_what_a_slow_one_leaves_the_others_get() -> None:
    pacer, slow, quick = Pacer(1_000_000, 0.0), Client(takes=100), Client()
    pacer.join(slow)
    pacer.join(quick)
    run(pacer, [slow, quick], 10.0)
    assert slow.got + quick.got > 9_700_000
    assert quick.got > 9_000_000


def test_one_that_is_not_ready_leaves_the_ring() -> None:
    pacer, client = Pacer(1_000_000, 0.0), Client()
    client.ready = False
    pacer.join(client)
    run(pacer, [client], 1.0)
    assert len(client.turns) == 1
    assert len(pacer) == 0


def test_another_rate_holds_at_once() -> None:
    pacer, client = Pacer(10_000_000, 0.0), Client()
    pacer.join(client)
    run(pacer, [client], 1.0)
    before = client.got
    pacer.change(100_000, 1.0)
    run(pacer, [client], 1.0, start=1.0)
    assert client.got - before <= 120_000


def test_one_that_left_gets_nothing() -> None:
    pacer, client = Pacer(1_000_000, 0.0), Client()
    pacer.join(client)
    pacer.leave(client)
    pacer.leave(client)
    assert pacer.run(1.0) is None
    assert client.got == 0


class Crowd:
    """A customer with connections of its own, in the run queue of the gate."""

    ready = True

    def __init__(self, count: int, rate: int = 0) -> None:
        self.pacer = Pacer(rate, 0.0)
        self.clients = [Client() for _ in range(count)]
        for client in self.clients:
            self.pacer.join(client)
        self.now = 0.0

    def send(self, budget: int) -> int:
        return self.pacer.give(self.now, budget)

    @property
    def got(self) -> int:
        return sum(client.got for client in self.clients)


def test_a_limit_of_all_is_shared_between_customers_first() -> None:
    total, many, one = Pacer(10_000_000, 0.0), Crowd(40), Crowd(1)
    total.join(many)
    total.join(one)
    run(total, [many, one], 10.0)  # type: ignore[list-item]
    assert abs(many.got - one.got) <= 65_536
    assert abs(many.got + one.got - 100_000_000) < 2_000_000
    assert max(c.got for c in many.clients) - min(c.got for c in many.clients) <= 65_536


def test_what_one_customer_may_not_use_others_get() -> None:
    total, slow, quick = Pacer(10_000_000, 0.0), Crowd(4, rate=1_000_000), Crowd(4)
    total.join(slow)
    total.join(quick)
    run(total, [slow, quick], 10.0)  # type: ignore[list-item]
    assert 9_500_000 < slow.got < 10_200_000
    assert quick.got > 87_000_000


def test_a_ring_of_which_none_sends_ends_its_round() -> None:
    pacer, client = Pacer(0, 0.0), Client(takes=0)
    pacer.join(client)
    assert pacer.give(0.0, 1_000) == 0
