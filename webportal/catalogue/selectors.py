from __future__ import annotations

from django.db.models import Count, QuerySet, Sum

from webportal.catalogue.models import FileReport, Item


def items() -> QuerySet[Item]:
    """The catalogue in its order. Each item has `file_count` and `total_bytes`."""
    counted = Item.objects.annotate(file_count=Count("files"), total_bytes=Sum("files__size"))
    return counted.order_by("artist", "year", "title", "pk")


def item_with_files(public_id: str) -> Item:
    """An item with its files in order (`item.files.all()`), `file_count` and `total_bytes`.

    Raises:
        Item.DoesNotExist: there is none.
    """
    return items().prefetch_related("files").get(public_id=public_id)


def changed_files() -> QuerySet[FileReport]:
    """Files that are refused because they are not on disk as imported."""
    return FileReport.objects.select_related("file__item")
