"""What takes old transfers out of the history."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from webportal.history.models import Transfer

_AT_ONCE = 5_000
"""Rows deleted in one transaction: gates that record have to wait for as long."""


def prune_transfers(age: timedelta) -> int:
    """Delete transfers that ended longer ago than `age`; returns how many rows."""
    old = Transfer.objects.filter(ended_at__lt=timezone.now() - age).order_by()
    deleted = 0
    while keys := list(old.values_list("pk", flat=True)[:_AT_ONCE]):
        deleted += Transfer.objects.filter(pk__in=keys).delete()[0]
    return deleted
