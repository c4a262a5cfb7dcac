"""The rows that a command names, and the pages of a list."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from ftpgate.commands.shop import Document, Page
from ftpgate.errors import UserError
from webportal.accounts.models import User
from webportal.catalogue.models import Item
from webportal.core.cursors import after_key
from webportal.grants.models import Grant

M = TypeVar("M", bound=Model)


def user(name: str) -> User:
    """
    Raises:
        UserError: there is none of this name.
    """
    found = User.objects.filter(username=User.normalize_username(name)).select_related("tier").first()
    if found is None:
        raise UserError(f"there is no user {name!r}", f"make one with: ftpgate user add {name}")
    return found


def item(public_id: str) -> Item:
    """
    Raises:
        UserError: there is none with this id.
    """
    found = Item.objects.filter(public_id=public_id).first()
    if found is None:
        raise UserError(f"there is no item {public_id!r}", "use an id that ftpgate item list shows")
    return found


def grant(public_id: str) -> Grant:
    """
    Raises:
        UserError: there is none with this id.
    """
    # A whole token is understood, but never repeated: people paste what they have at hand.
    public_id = public_id.partition("-")[0]
    found = Grant.objects.filter(public_id=public_id).select_related("user").first()
    if found is None:
        raise UserError(f"there is no grant {public_id[:40]!r}", "use an id that ftpgate grant list shows")
    return found


def listed(
    name: str, rows: QuerySet[M], page: Page, document: Callable[[list[M]], list[dict[str, Any]]], *, newest: bool = False
) -> Document:
    """`{name: […], "next": cursor}`: the page of `rows` behind `page.cursor`, in the order in which they were made.

    Raises:
        UserError: the cursor is not one that was handed out.

    Args:
        document: the documents of all rows of a page, so that what belongs to them is asked for once.
    """
    if page.cursor is not None and not re.fullmatch(r"k[0-9]{1,18}", page.cursor):
        raise UserError(f"{page.cursor[:80]!r} is not a cursor of this list", 'use what stands at "next" of the page before')
    found, following = after_key(rows, page.cursor, page.limit, newest=newest)
    return {name: document(found), "next": following}
