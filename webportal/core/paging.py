from __future__ import annotations

from typing import Any

from django.core.paginator import Page, Paginator
from django.http import HttpRequest


def page_of(rows: Any, request: HttpRequest, size: int) -> Page[Any]:
    """The page that `?page=` asks for, of whatever has `count()` and slices; the first or last one when there is no such."""
    return Paginator(rows, size).get_page(request.GET.get("page"))
