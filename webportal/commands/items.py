"""`ftpgate item …`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.db.models import Count, Sum

from ftpgate.commands.shop import Document, Page
from ftpgate.errors import UserError
from webportal.catalogue import services
from webportal.catalogue.importing import Overrides, import_item
from webportal.catalogue.importing.verifying import verify_item
from webportal.catalogue.models import File, Item
from webportal.catalogue.search import matching
from webportal.commands import found
from webportal.grants.documents import rfc3339


def add(media_root: Path, folder: Path, overrides: Overrides, *, copy: bool) -> tuple[Document, Sequence[str]]:
    imported = import_item(folder, media_root, overrides=overrides, copy=copy)
    item = imported.item
    files = [
        {"path": path, "bytes": size, "sha256": bytes(sha256).hex()}
        for path, size, sha256 in item.files.order_by("position").values_list("path", "size", "sha256")
    ]
    left_out = [left._asdict() for left in imported.left_out]
    return {"id": item.public_id, "title": item.title, "files": files, "left_out": left_out}, imported.warnings


def verify(media_root: Path, public_id: str | None) -> Document:
    items = [found.item(public_id)] if public_id is not None else list(Item.objects.order_by("pk"))
    verified = [(item, item.files.count(), verify_item(item, media_root)) for item in items]
    return {
        "items": [
            {
                "id": item.public_id,
                "title": item.title,
                "files": count,
                "problems": [{"path": problem.path, "problem": problem.problem} for problem in problems],
            }
            for item, count, problems in verified
        ]
    }


def list_items(query: str, page: Page) -> Document:
    """Everything that there is, oldest first, hidden and withdrawn items too."""

    def documents(items: list[Item]) -> list[dict[str, Any]]:
        counts = File.objects.filter(item__in=[item.pk for item in items]).values_list("item_id").order_by()
        sizes = {key: (files, size) for key, files, size in counts.annotate(Count("pk"), Sum("size"))}
        return [_summary(item, *sizes.get(item.pk, (0, 0))) for item in items]

    return found.listed("items", matching(Item.objects.all(), query), page, documents)


def show(public_id: str) -> Document:
    item = found.item(public_id)
    files = list(item.files.select_related("report").order_by("position"))
    return _summary(item, len(files), sum(file.size for file in files)) | {
        "folder": item.folder,
        "source": item.source,
        "files": [
            {
                "path": file.path,
                "bytes": file.size,
                "sha256": bytes(file.sha256).hex(),
                "title": file.title,
                "seconds": file.duration,
                "problem": str(file.report.reason) if hasattr(file, "report") else None,
            }
            for file in files
        ],
    }


def hide(public_id: str, *, hidden: bool) -> Document:
    item = found.item(public_id)
    if item.withdrawn_at is not None and not hidden:
        raise UserError(
            f"the item {public_id} is withdrawn: its files are gone", "bring its files back and import its folder again"
        )
    (services.hide if hidden else services.show)(Item.objects.filter(pk=item.pk))
    return {"id": item.public_id, "title": item.title, "hidden": hidden}


def _summary(item: Item, files: int, size: int) -> dict[str, Any]:
    return {
        "id": item.public_id,
        "title": item.title,
        "artist": item.artist,
        "year": item.year,
        "bytes": size,
        "file_count": files,
        "added_at": rfc3339(item.added_at),
        "hidden_at": rfc3339(item.hidden_at),
        "withdrawn_at": rfc3339(item.withdrawn_at),
    }
