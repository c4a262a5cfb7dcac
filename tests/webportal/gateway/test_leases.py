"""The store of leases in PostgreSQL, held to the reference; and gates that call it at the same time."""

from __future__ import annotations

import random
import threading

import pytest
from django.core.management import call_command
from django.db import connection

from ftpgate.leases import LeaseLeave, LeaseReport
from tests.support.lease_calls import Clock, compare
from webportal.gateway.leases import PostgresLeases

pytestmark = [pytest.mark.databases("postgres"), pytest.mark.django_db(transaction=True)]


def empty() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE lease_gate, lease_account, lease_member")


def test_postgresql_answers_as_the_reference_does() -> None:
    clock = Clock()
    store = PostgresLeases(clock)
    for seed in range(12):
        empty()
        compare(store, clock, seed)


def test_nothing_is_left_of_gates_that_have_ended() -> None:
    store = PostgresLeases()
    store.exchange("one", [LeaseReport(name, 1_000, 4, 0, 0, 1, 0, 1, 0) for name in ("anna", "bert")])
    store.exchange("two", leaving=[LeaseLeave("anna", 5)], ended=["one"])
    store.exchange("two", ended=["two"])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM lease_gate), count(*) FROM lease_account FULL JOIN lease_member USING (customer)"
        )
        assert cursor.fetchone() == (0, 0)


def test_gates_that_call_at_the_same_time_wait_for_each_other_and_never_hold_more_than_the_tier() -> None:
    """Each gate takes what it is answered at once, with the customers in an order of its own."""
    names = [f"customer{n}" for n in range(20)]
    places, held = 7, {(gate, name): 0 for gate in range(4) for name in names}
    problems: list[BaseException] = []

    def serve(gate: int) -> None:
        rng, store = random.Random(gate), PostgresLeases()
        try:
            for _ in range(60):
                some = rng.sample(names, 12)
                reports = []
                for name in some:
                    used = rng.randrange(held[gate, name] + 1)
                    held[gate, name] = min(held[gate, name], used + rng.randrange(2))
                    bound, wanted = held[gate, name], rng.randrange(4)
                    reports.append(LeaseReport(name, 1_000_000, places, 0, 0, 1, used, wanted, bound))
                found = store.exchange(f"gate{gate}", reports, ended=["nobody"])
                for answer in found.answers:
                    held[gate, answer.customer] = answer.connections
        except BaseException as error:
            problems.append(error)
        finally:
            store.close()

    threads = [threading.Thread(target=serve, args=(gate,)) for gate in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    for name in names:
        assert sum(held[gate, name] for gate in range(4)) <= places


def test_the_migration_can_be_undone_and_done_again() -> None:
    call_command("migrate", "grants", "0006", verbosity=0)
    call_command("migrate", "grants", verbosity=0)
    assert PostgresLeases().exchange("one").known is False
