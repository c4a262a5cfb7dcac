"""Rights of staff: only superusers give and take them, and nobody manages users or groups that have more than he has.

The one place for this rule. A way to change users, groups or permissions, or to hand out anything that acts with rights of its
own (an API key), asks here; `tests/webportal/staff/test_staff_rights.py` posts to every page of the admin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.contrib.auth.models import Group, Permission
from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from webportal.accounts.models import User

ModelT = TypeVar("ModelT", bound=Model)

FIELDS = frozenset({"is_staff", "is_superuser", "groups", "user_permissions", "permissions"})
"""Fields of users and groups that give rights."""


def manageable(staff: User, rows: QuerySet[ModelT]) -> QuerySet[ModelT]:
    """Those of `rows` (users or groups) that this member of staff may change or delete."""
    if staff.is_superuser:
        return rows
    return rows.filter(_RULES[rows.model](staff)) if staff.is_staff else rows.none()


def may_manage(staff: User, row: Model) -> bool:
    """May this member of staff change or delete a user or group, as it is stored?"""
    return manageable(staff, type(row)._default_manager.filter(pk=row.pk)).exists()


def _users(staff: User) -> Q:
    """Users without a right that `staff` lacks. By the tables: an inactive user's rights, which count for nothing now, too."""
    own = Permission.objects.filter(Q(user=staff) | Q(group__user=staff)).values("pk")
    lacking = Permission.objects.exclude(pk__in=own)
    own_rights, by_group = lacking.filter(user=OuterRef("pk")), lacking.filter(group__user=OuterRef("pk"))
    return Q(is_superuser=False) & ~Exists(own_rights) & ~Exists(by_group)


def _groups(_staff: User) -> Q:
    """Groups without permissions: to delete another would take its members' rights."""
    return Q(permissions=None)


_RULES: dict[type[Model], Callable[[User], Q]] = {User: _users, Group: _groups}
