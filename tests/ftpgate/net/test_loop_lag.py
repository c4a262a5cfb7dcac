"""The loop's lag: every due wake-up counts, also those that a stall has swallowed."""

from __future__ import annotations

import pytest

from ftpgate.net.loop_lag import EDGES, EVERY, WINDOW, LoopLag


def test_a_loop_in_time_is_asked_to_keep_to_its_schedule() -> None:
    lag, now = LoopLag(), 100.0
    now += lag.woke(now)
    for _ in range(10):
        late = 0.0015
        wait = lag.woke(now + late)
        assert wait == pytest.approx(EVERY - late)
        now += EVERY
    assert lag.worst == pytest.approx(0.0015)
    assert lag.total == pytest.approx(0.015)
    assert lag.cumulative()[:2] == (0, 10)
    assert lag.cumulative()[-1] == 10


def test_one_stall_is_many_late_wake_ups() -> None:
    lag = LoopLag()
    now = 5.0 + lag.woke(5.0)
    wait = lag.woke(now + 1.0)
    assert 0 < wait <= EVERY
    counted = lag.cumulative()
    assert counted[-1] == pytest.approx(1.0 / EVERY + 1, abs=1)
    assert counted[EDGES.index(0.5)] == pytest.approx(0.5 / EVERY + 1, abs=1)  # half of them were late by more
    assert lag.worst == pytest.approx(1.0)


def test_the_worst_is_forgotten_after_a_while() -> None:
    lag = LoopLag()
    now = lag.woke(0.0)
    now += 0.3 + lag.woke(now + 0.3)
    until = now + WINDOW
    while now < until:
        assert lag.worst == pytest.approx(0.3) or now > until - 0.4
        now += lag.woke(now)
    assert lag.worst < EVERY
    assert lag.cumulative()[-1] > WINDOW / EVERY


def test_a_stop_of_hours_is_counted_in_no_time() -> None:
    lag = LoopLag()
    lag.woke(0.0)
    lag.woke(100_000.0)
    assert lag.worst == pytest.approx(100_000.0 - EVERY)
    assert lag.cumulative()[-1] == pytest.approx(WINDOW / 2 / EVERY + 1, abs=2)
    assert lag.cumulative()[-1] - lag.cumulative()[-2] == 1


def test_an_edge_belongs_to_its_bucket() -> None:
    lag = LoopLag()
    lag._late(EDGES[3])
    assert lag.cumulative()[2:4] == (0, 1)
