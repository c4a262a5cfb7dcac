from __future__ import annotations

import pytest

from webportal.api.limits import RateLimit

pytestmark = pytest.mark.databases("sqlite")


def test_a_burst_then_a_rate_for_each_key() -> None:
    now = [100.0]
    limit = RateLimit(2.0, 3, clock=lambda: now[0])
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, pytest.approx(0.5)]
    assert limit.take("b") == 0
    now[0] += 0.5
    assert limit.take("a") == 0
    assert limit.take("a") > 0
    now[0] += 1_000
    assert [limit.take("a") for _ in range(3)] == [0, 0, 0]
    assert limit.take("a") > 0


def test_full_buckets_are_forgotten() -> None:
    now = [0.0]
    limit = RateLimit(1.0, 10, clock=lambda: now[0])
    for key in range(1_000):
        limit.take(key)
    now[0] = 61
    limit.take("a")
    assert len(limit._full_at) == 1
