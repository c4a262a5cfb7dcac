"""Pages by cursor: `k<key>` goes on behind a row, `o<n>` behind the n-th one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from django.db.models import QuerySet

T = TypeVar("T")


def after_key(rows: QuerySet[Any], cursor: str | None, limit: int, *, newest: bool = False) -> tuple[list[Any], str | None]:
    """The page of rows behind the cursor, by primary key, and the next cursor. Rows that come or go shift nothing."""
    key = _number(cursor, "k")
    if key is not None:
        rows = rows.filter(pk__lt=key) if newest else rows.filter(pk__gt=key)
    found = list(rows.order_by("-pk" if newest else "pk")[: limit + 1])
    return found[:limit], f"k{found[limit - 1].pk}" if len(found) > limit else None


def after_count(rows: Sequence[T] | Any, cursor: str | None, limit: int) -> tuple[list[T], str | None]:
    """The same for rows that can only be counted off, such as what a search found, best first."""
    start = _number(cursor, "o") or 0
    found = list(rows[start : start + limit + 1])
    return found[:limit], f"o{start + limit}" if len(found) > limit else None


def _number(cursor: str | None, kind: str) -> int | None:
    return int(cursor[1:]) if cursor and cursor[0] == kind else None
