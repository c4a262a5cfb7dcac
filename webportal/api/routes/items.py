from __future__ import annotations

from typing import Annotated, Any

from django.db.models import Count, Sum
from django.http import HttpResponseBase
from ninja import Query, Router

from webportal.api import schemas
from webportal.api.auth import Key, ShopRequest
from webportal.api.problems import missing
from webportal.api.routes import answers
from webportal.catalogue.models import File, Item
from webportal.catalogue.search import LONGEST_QUERY, search
from webportal.core.cursors import after_count, after_key
from webportal.shops.models import Scope
from webportal.site.views import catalogue

router = Router(tags=["items"], auth=Key(Scope.ITEMS_READ))


@router.get("/items", response=answers(200, schemas.Items), summary="List or search items")
def list_items(
    request: ShopRequest,
    q: Annotated[str, Query(max_length=LONGEST_QUERY, description="Beginnings of words of title, artist or tracks")] = "",
    cursor: schemas.Cursor = None,
    limit: schemas.Limit = 100,
) -> schemas.Items:
    """Without `q` all of the catalogue, oldest first; with it the first 2,000 that are found."""
    on_offer = Item.objects.on_offer()
    found, following = after_count(search(q), cursor, limit) if q.strip() else after_key(on_offer, cursor, limit)
    counts = File.objects.filter(item__in=[item.pk for item in found]).values_list("item_id").order_by()
    sizes = {key: (files, total) for key, files, total in counts.annotate(Count("pk"), Sum("size"))}
    return schemas.Items(
        items=[schemas.ItemSummary(**_summary(item, *sizes.get(item.pk, (0, 0)))) for item in found], next=following
    )


@router.get("/items/{item_id}", response=answers(200, schemas.Item, 404), summary="Show an item")
def show_item(request: ShopRequest, item_id: str) -> schemas.Item:
    item = _item(item_id)
    rows = list(item.files.order_by("position"))
    files = [
        schemas.File(path=file.path, bytes=file.size, sha256=bytes(file.sha256).hex(), title=file.title, seconds=file.duration)
        for file in rows
    ]
    return schemas.Item(**_summary(item, len(rows), sum(file.size for file in rows)), files=files)


@router.get(
    "/items/{item_id}/cover",
    response=answers(200, None, 404),
    summary="The picture of an item",
    openapi_extra={"responses": {200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}}},
)
def show_cover(request: ShopRequest, item_id: str) -> HttpResponseBase:
    return catalogue.cover(request, _item(item_id).public_id)


def _item(public_id: str) -> Item:
    item = Item.objects.filter(public_id=public_id).first() if public_id.isalnum() else None
    if item is None:
        raise missing("item")
    return item


def _summary(item: Item, files: int, size: int) -> dict[str, Any]:
    return {
        "id": item.public_id, "title": item.title, "artist": item.artist, "year": item.year, "bytes": size, "file_count": files,
    }  # fmt: skip
