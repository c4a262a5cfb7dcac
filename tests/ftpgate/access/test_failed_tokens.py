"""Wrong tokens by address."""

from __future__ import annotations

from ftpgate.access.failed_tokens import ADDRESSES, LINES, MINUTE, TRIES, WINDOW, FailedTokenLimiter, Told
from ftpgate.net.addresses import network


def test_ten_within_the_window_lock_out() -> None:
    strangers = FailedTokenLimiter()
    for n in range(TRIES):
        assert strangers.locked("192.0.2.1", float(n)) == 0
        strangers.wrong("192.0.2.1", float(n))
    assert 0 < strangers.locked("192.0.2.1", 10.0) <= WINDOW + 1
    assert strangers.locked("192.0.2.2", 10.0) == 0
    assert strangers.locked("192.0.2.1", TRIES - 1 + WINDOW) == 0


def test_tries_while_locked_out_do_not_prolong() -> None:
    strangers = FailedTokenLimiter()
    for _ in range(TRIES):
        strangers.wrong("192.0.2.1", 0.0)
    strangers.wrong("192.0.2.1", WINDOW - 1)
    assert strangers.locked("192.0.2.1", WINDOW) == 0


def test_slow_tries_do_not_lock_out() -> None:
    strangers = FailedTokenLimiter()
    for n in range(100):
        strangers.wrong("192.0.2.1", n * (WINDOW / (TRIES - 1) + 1))
        assert strangers.locked("192.0.2.1", n * (WINDOW / (TRIES - 1) + 1)) == 0


def test_a_network_is_one_stranger() -> None:
    assert network("2001:db8:1:2::3") == network("2001:db8:1:2:ffff::4") != network("2001:db8:1:3::3")
    assert network("::ffff:192.0.2.1") == network("192.0.2.1") != network("192.0.2.2")
    assert network("fe80::1%eth0") == network("fe80::2")


def test_bounded() -> None:
    strangers = FailedTokenLimiter()
    for n in range(ADDRESSES + 100):
        strangers.wrong(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 0.0)
    assert len(strangers._unknown._tries) == len(strangers._useless._tries) == ADDRESSES


def test_dead_tokens_make_doubtful_and_lock_nothing_out() -> None:
    strangers = FailedTokenLimiter()
    for n in range(TRIES):
        assert not strangers.doubtful("192.0.2.1", float(n))
        strangers.dead("192.0.2.1", float(n))
    assert strangers.doubtful("192.0.2.1", TRIES + 0.0)
    assert not strangers.doubtful("192.0.2.2", TRIES + 0.0)
    assert strangers.locked("192.0.2.1", TRIES + 0.0) == 0
    strangers.wrong("192.0.2.1", TRIES + 0.0)
    assert strangers.locked("192.0.2.1", TRIES + 0.0) == 0
    assert not strangers.doubtful("192.0.2.1", TRIES + WINDOW)


def test_who_is_locked_out_is_doubtful() -> None:
    strangers = FailedTokenLimiter()
    for _ in range(TRIES):
        strangers.wrong("192.0.2.1", 0.0)
    assert strangers.doubtful("192.0.2.1", 1.0)


def test_the_log_names_a_few_tries_of_a_minute_and_the_number_of_the_others() -> None:
    told = Told()
    assert [told.tells("2001:db8::1", n / 10) for n in range(LINES)] == [True] * LINES
    assert [told.tells(f"2001:db8::{n:x}", 1.0) for n in range(2, 30)] == [False] * 28, "of the same network"
    assert told.tells("192.0.2.1", 2.0)
    assert list(told.over(MINUTE - 0.1)) == []
    assert list(told.over(MINUTE)) == [("2001:db8::1d", 28)]
    assert told.tells("2001:db8::1", MINUTE)
    assert list(told.over(3 * MINUTE)) == [], "who was named each time has no number"
    assert not told._minutes


def test_the_log_s_memory_is_bounded() -> None:
    told = Told()
    for n in range(ADDRESSES + 100):
        told.tells(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 0.0)
    assert len(told._minutes) == ADDRESSES
