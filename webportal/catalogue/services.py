from __future__ import annotations

from collections.abc import Collection, Mapping

from django.db.models import QuerySet
from django.utils import timezone

from webportal.catalogue.models import File, FileReport, Item
from webportal.core.translatable import coded, stored_parameters


def hide(items: QuerySet[Item]) -> int:
    """Take items off the shelf, the search and the API. Grants that have them go on. Returns how many were on it."""
    return items.filter(hidden_at=None).update(hidden_at=timezone.now())


def show(items: QuerySet[Item]) -> int:
    """Put hidden items on the shelf again; returns how many were hidden."""
    return items.exclude(hidden_at=None).update(hidden_at=None)


def report_changed(files: Mapping[int, str]) -> None:
    """Tell staff that these files (by primary key, with the reason) are refused. The first report's time is kept."""
    known = set(File.objects.filter(pk__in=files).values_list("pk", flat=True))
    reasons = {key: coded(files[key]) for key in sorted(known)}
    FileReport.objects.bulk_create(
        [
            FileReport(
                file_id=key,
                reason_code=reason.message.code,
                reason_parameters=stored_parameters(reason),
                reported_at=timezone.now(),
            )
            for key, reason in reasons.items()
        ],
        update_conflicts=True,
        unique_fields=["file"],
        update_fields=["reason_code", "reason_parameters"],
    )


def withdraw_reports(files: Collection[int]) -> None:
    """These files (by primary key) are as imported again."""
    FileReport.objects.filter(file__in=files).delete()
