from __future__ import annotations

from django.db.models import QuerySet

from webportal.accounts.models import User
from webportal.history.models import Completion


def history_of(user: User) -> QuerySet[Completion]:
    """What a user has received, newest first, with `grant_item.item` and `grant_item.grant` selected."""
    return Completion.objects.filter(grant_item__grant__user=user).select_related("grant_item__item", "grant_item__grant")
