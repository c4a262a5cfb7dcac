"""Old transfers leave the history by themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test import override_settings
from django.utils import timezone

from tests.support.waiting import wait_until
from tests.webportal.shop import make_transfer
from webportal.fulfilment import prune
from webportal.fulfilment.prune import prune_some
from webportal.history.models import Transfer
from webportal.jobs.webhooks import Worker

pytestmark = pytest.mark.django_db(transaction=True)
AGE = timedelta(days=400)


def in_thread(work: Callable[[], int]) -> int:
    """What `work` returns on a connection of its own."""

    def run() -> None:
        found.append(work())
        connection.close()

    found: list[int] = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    return found[0]


def test_a_worker_deletes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "_AT_ONCE", 2)
    now = timezone.now()
    kept = [make_transfer(now - AGE + timedelta(hours=1)), make_transfer(now)]
    for days in range(401, 406):
        make_transfer(now - timedelta(days=days))
    worker = Worker()
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        wait_until(lambda: Transfer.objects.count() == 2, 20, "the end of the old ones")
    finally:
        worker.stop()
        thread.join(20)
    assert set(Transfer.objects.all()) == set(kept)


def test_none_is_deleted_where_all_are_to_be_kept() -> None:
    make_transfer(timezone.now() - 10 * AGE)
    with override_settings(FTPGATE=replace(settings.FTPGATE, keep_transfers=0)):
        Worker()._prune()
    assert Transfer.objects.count() == 1


@pytest.mark.databases("postgres")  # SQLite has one writer at a time
def test_two_workers_take_different_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "_AT_ONCE", 2)
    for days in range(401, 404):
        make_transfer(timezone.now() - timedelta(days=days))
    with transaction.atomic():
        assert prune_some(AGE) == 2
        assert in_thread(lambda: prune_some(AGE)) == 1
        assert in_thread(lambda: prune_some(AGE)) == 0
    assert not Transfer.objects.exists()
