"""What takes old transfers out of the history."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from webportal.core import clock
from webportal.history.models import Transfer

_AT_ONCE = 5_000
"""Rows deleted in one transaction: gates that record have to wait for as long."""


def prune_transfers(age: timedelta) -> int:
    """Delete all transfers that ended longer ago than `age`; returns how many rows."""
    deleted = 0
    while found := prune_some(age):
        deleted += found
    return deleted


def prune_some(age: timedelta) -> int:
    """Delete some of the transfers that ended longer ago than `age`; returns how many rows, 0 when there are no more.

    Any number of processes may do so at once: none takes rows that another one is deleting. Nothing is deleted by a clock that
    cannot be trusted.
    """
    with transaction.atomic():
        old = Transfer.objects.filter(ended_at__lt=clock.expiry_time() - age).order_by()
        keys = list(old.select_for_update(skip_locked=True).values_list("pk", flat=True)[:_AT_ONCE])
        return Transfer.objects.filter(pk__in=keys).delete()[0]
