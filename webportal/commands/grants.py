"""`ftpgate grant …`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from ftpgate.commands.shop import Document, Page
from webportal.commands import found
from webportal.core import clock
from webportal.fulfilment import services
from webportal.grants.documents import grant_document, rfc3339, token_document
from webportal.grants.models import Grant
from webportal.grants.selectors import progress
from webportal.grants.states import State


def issue(user: str, items: Sequence[str], expires: int) -> Document:
    """For whatever is on the disk, hidden items too: an order of before, a disk that died."""
    to, chosen = found.user(user), [found.item(item) for item in items]
    grant, token = services.issue_grant(to, chosen, expires_at=_in(expires), made_for="ftpgate grant issue")
    return token_document(grant, token)


def show(public_id: str) -> Document:
    grant = found.grant(public_id)
    return grant_document(grant, grant.user.username)


def list_grants(user: str | None, state: str | None, page: Page) -> Document:
    """Newest first."""
    grants = Grant.objects.all() if state is None else Grant.objects.in_state(State(state))
    if user is not None:
        grants = grants.filter(user=found.user(user))
    return found.listed("grants", grants.select_related("user"), page, _summaries, newest=True)


def revoke(public_id: str) -> Document:
    grant = services.revoke_grant(found.grant(public_id))
    return {"grant": grant.public_id, "state": grant.present_state.value}


def renew(public_id: str, expires: int) -> Document:
    grant = services.renew_grant(found.grant(public_id), expires_at=_in(expires))
    return {"grant": grant.public_id, "state": grant.present_state.value, "expires_at": rfc3339(grant.expires_at)}


def token(public_id: str) -> Document:
    grant = found.grant(public_id)
    return token_document(grant, services.add_token(grant, made_for="ftpgate grant token"))


def _summaries(grants: list[Grant]) -> list[dict[str, Any]]:
    far = progress(grants)
    return [
        {
            "grant": grant.public_id,
            "user": grant.user.username,
            "state": grant.present_state.value,
            "issued_at": rfc3339(grant.issued_at),
            "expires_at": rfc3339(grant.expires_at),
            "completed_at": rfc3339(grant.completed_at),
            "item_count": far[grant.public_id].items,
            "bytes": far[grant.public_id].size,
            "delivered": far[grant.public_id].delivered,
        }
        for grant in grants
    ]


def _in(seconds: int) -> datetime:
    return clock.now() + timedelta(seconds=seconds)
