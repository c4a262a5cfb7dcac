"""`ftpgate user …`."""

from __future__ import annotations

from typing import Any

from ftpgate.commands.shop import Document, Page
from webportal.accounts import services
from webportal.accounts.models import DEFAULT_TIER, User
from webportal.commands import found
from webportal.grants.documents import rfc3339


def add(name: str, tier: str | None, password: str | None) -> Document:
    user = services.add_user(name, tier=DEFAULT_TIER if tier is None else tier, password=password)
    return {"user": user.username, "tier": user.tier.name}


def list_users(page: Page) -> Document:
    return found.listed("users", User.objects.select_related("tier"), page, lambda users: [_summary(user) for user in users])


def check(name: str) -> None:
    found.user(name)


def password(name: str, password: str) -> Document:
    user = found.user(name)
    services.set_password(user, password)
    return {"user": user.username}


def _summary(user: User) -> dict[str, Any]:
    return {
        "user": user.username,
        "tier": user.tier.name,
        "email": user.email,
        "active": user.is_active,
        "staff": user.is_staff,
        "added_at": rfc3339(user.date_joined),
        "signed_in_at": rfc3339(user.last_login),
    }
