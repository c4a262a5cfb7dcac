"""Two gates that write at the same moment: neither loses the other's ranges, and what both make whole is complete once.

Each race is shown first: without the lock it is lost, every time.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from ftpgate.grants import Batch, Delivered
from tests.webportal.shop import make_grant, make_item, make_user
from webportal.bridge import make_bridge
from webportal.cart.models import CartItem
from webportal.catalogue.models import Item
from webportal.config import environment
from webportal.fulfilment.checkout import add_to_cart
from webportal.gateway import recording
from webportal.grants.models import Coverage, Grant
from webportal.grants.states import State
from webportal.history.models import Completion

pytestmark = pytest.mark.django_db(transaction=True)

Write = Callable[[str, Batch], None]


def with_lock(gate: str, batch: Batch) -> None:
    """As a gate's ledger does it."""
    bridge = make_bridge(environment.current())
    try:
        bridge.record(gate, batch)
    finally:
        bridge.release()


def without_lock(gate: str, batch: Batch) -> None:
    """The same, but nobody waits for anybody: SQLite's lock is the transaction, PostgreSQL's are the rows of the grants."""
    try:
        with nullcontext() if connection.vendor == "sqlite" else transaction.atomic():
            recording.record(gate, batch, timezone.now())
    finally:
        connection.close()


@pytest.fixture(params=[without_lock, with_lock], ids=["without the lock", "with it"])
def write(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Write:
    """How both gates write."""
    if request.param is without_lock:
        unlocked = Grant.objects.order_by("pk")
        monkeypatch.setattr(recording, "lock_grants", lambda public_ids: list(unlocked.filter(public_id__in=public_ids)))
    chosen: Write = request.param
    return chosen


def race(write: Write, first: Batch, second: Batch, *, after: str) -> list[BaseException]:
    """Two gates write at once; whoever has run a query with `after` in it waits a moment for the other to come as far.

    Returns what was raised in them. A gate that is locked out never comes as far; the other one goes on without it.
    """
    met = threading.Barrier(2)
    errors: list[BaseException] = []

    def work(gate: str, batch: Batch) -> None:
        waited = False

        def meet(execute: Callable[..., object], sql: str, *rest: object) -> object:
            nonlocal waited
            found = execute(sql, *rest)
            if after in sql and not waited:
                waited = True
                with suppress(threading.BrokenBarrierError):
                    met.wait(1)
            return found

        try:
            with connection.execute_wrapper(meet):
                write(gate, batch)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(gate, batch)) for gate, batch in (("a", first), ("b", second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


def one_grant(*sizes: int) -> tuple[Grant, Item, list[int]]:
    """A grant of an item that is in its owner's cart, and the primary keys of the item's files."""
    user, item = make_user(), make_item(*sizes)
    add_to_cart(user, item)
    return make_grant(user, item)[0], item, list(item.files.order_by("position").values_list("pk", flat=True))


READS_COVERAGE = 'FROM "grants_coverage" WHERE'
READS_WHAT_IS_LACKING = 'FROM "grants_grantitem"'


def test_ranges_of_the_same_file(write: Write) -> None:
    grant, _, (file,) = one_grant(100)
    first, second = (Batch((Delivered(grant.public_id, file, (span,)),)) for span in ((0, 10), (50, 60)))
    errors = race(write, first, second, after=READS_COVERAGE)
    assert not errors
    spans = Coverage.objects.get(grant=grant, file=file).spans
    if write is without_lock:
        assert spans in ([[0, 10]], [[50, 60]]), "the race is not there any more: this test proves nothing"
    else:
        assert spans == [[0, 10], [50, 60]]


def test_the_two_halves_of_an_item(write: Write) -> None:
    """Each gate brings the file that the other one lacks: unlocked, neither sees the item whole, and nobody ever completes it."""
    grant, _, files = one_grant(10, 20)
    batches = [Batch((Delivered(grant.public_id, file, ((0, size),)),)) for file, size in zip(files, (10, 20), strict=True)]
    errors = race(write, *batches, after=READS_WHAT_IS_LACKING)
    assert set(Coverage.objects.values_list("covered", flat=True)) == {10, 20}
    if write is without_lock and connection.vendor == "postgresql":
        assert not Completion.objects.exists(), "the race is not there any more: this test proves nothing"
    elif write is with_lock:
        assert not errors
        assert_complete_once(grant)


def test_the_same_last_byte_twice(write: Write) -> None:
    """Both make the same item whole. Unlocked, only the database's own constraint stands before a second completion; in
    PostgreSQL the row of the coverage, which both change, is a lock as well."""
    grant, _, (file,) = one_grant(10)
    batch = Batch((Delivered(grant.public_id, file, ((0, 10),)),))
    errors = race(write, batch, batch, after=READS_WHAT_IS_LACKING)
    if write is without_lock and connection.vendor == "sqlite":
        assert [type(error) for error in errors] == [IntegrityError], "the race is not there any more: this test proves nothing"
        assert Completion.objects.count() == 1
    else:
        assert not errors
        assert_complete_once(grant)


def assert_complete_once(grant: Grant) -> None:
    assert Completion.objects.get().grant_item.grant == grant
    assert not CartItem.objects.exists()
    grant.refresh_from_db()
    assert grant.state == State.COMPLETE


def test_two_gates_lose_none_of_each_others_ranges_and_complete_once() -> None:
    """Both merge into the same rows, in opposite orders, from threads with connections of their own."""
    size, step = 4_000, 20
    items = [make_item(size, size) for _ in range(3)]
    grants = [make_grant(make_user(), *items)[0] for _ in range(2)]
    pieces = [
        Delivered(grant.public_id, file, ((start, start + step),))
        for grant in grants
        for item in items
        for file in item.files.values_list("pk", flat=True)
        for start in range(0, size, step)
    ]
    random.Random(1).shuffle(pieces)
    errors: list[BaseException] = []
    completed: list[str] = []
    start = threading.Barrier(2)

    def work(name: str, mine: list[Delivered]) -> None:
        bridge = make_bridge(environment.current())
        try:
            start.wait(10)
            for at in range(0, len(mine), 40):
                completed.extend(status.id for status in bridge.record(name, Batch(tuple(mine[at : at + 40]))))
        except BaseException as error:
            errors.append(error)
        finally:
            bridge.release()

    threads = [
        threading.Thread(target=work, args=(name, mine))
        for name, mine in (("a", pieces[::2]), ("b", list(reversed(pieces[1::2]))))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not errors
    assert set(Coverage.objects.values_list("covered", flat=True)) == {size}
    assert Coverage.objects.count() == 12
    assert all(spans == [[0, size]] for spans in Coverage.objects.values_list("spans", flat=True))
    assert Completion.objects.count() == 6
    assert sorted(completed) == sorted(grant.public_id for grant in grants)
    assert set(Grant.objects.values_list("state", flat=True)) == {State.COMPLETE}
