"""Clients that have connected and not asked for a file yet."""

from __future__ import annotations

from ftpgate.delivery.newcomers import RECENT, Newcomers


def test_who_has_connected_is_expected_until_it_asks() -> None:
    newcomers = Newcomers()
    newcomers.add("::1", "first", 10.0)
    newcomers.add("::1", "second", 10.1)
    assert newcomers.expected("::1", 10.2)
    newcomers.discard("::1", "first")
    assert newcomers.expected("::1", 10.2), "the second has not asked yet"
    newcomers.discard("::1", "second")
    assert not newcomers.expected("::1", 10.2)


def test_clients_at_other_addresses_are_not_waited_for() -> None:
    newcomers = Newcomers()
    newcomers.add("192.0.2.1", "first", 10.0)
    assert not newcomers.expected("192.0.2.2", 10.0)


def test_who_asks_for_nothing_is_not_waited_for_long() -> None:
    """A control connection that stays open beside a download, or a file manager's second one."""
    newcomers = Newcomers()
    newcomers.add("::1", "first", 10.0)
    assert newcomers.expected("::1", 10.0 + RECENT - 0.01)
    assert not newcomers.expected("::1", 10.0 + RECENT)
    newcomers.add("::1", "second", 10.0 + RECENT)
    assert newcomers.expected("::1", 10.0 + RECENT)


def test_one_that_connects_again_counts_anew() -> None:
    newcomers = Newcomers()
    newcomers.add("::1", "first", 10.0)
    newcomers.add("::1", "first", 20.0)
    assert newcomers.expected("::1", 20.0)
    newcomers.discard("::1", "first")
    assert not newcomers.expected("::1", 20.0)


def test_who_is_not_known_may_be_discarded() -> None:
    newcomers = Newcomers()
    newcomers.discard("::1", "first")
    newcomers.add("::1", "first", 10.0)
    newcomers.discard("::1", "second")
    newcomers.discard("192.0.2.1", "first")
    assert newcomers.expected("::1", 10.0)


def test_nothing_is_kept_of_those_that_have_gone() -> None:
    newcomers = Newcomers()
    for number in range(1_000):
        newcomers.add(f"client {number}", number, float(number))
        newcomers.discard(f"client {number}", number)
    assert not newcomers._arrived
