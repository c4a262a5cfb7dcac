"""Grants as commands and the API print them: the documents of `grant issue` and `grant show`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ftpgate.tokens import Token
from webportal.grants.models import Grant
from webportal.grants.selectors import details, links


def grant_document(grant: Grant, user: str) -> dict[str, Any]:
    """A grant with everything in it and what of it was delivered. `user` is the name that the reader knows the user by."""
    return {
        "grant": grant.public_id,
        "user": user,
        "state": grant.present_state.value,
        "issued_at": rfc3339(grant.issued_at),
        "expires_at": rfc3339(grant.expires_at),
        "completed_at": rfc3339(grant.completed_at),
        "items": [
            {
                "id": item.id,
                "title": item.title,
                "folder": item.folder,
                "bytes": item.size,
                "delivered": item.delivered,
                "complete": item.completed_at is not None,
                "completed_at": rfc3339(item.completed_at),
                "proof": item.proof,
                "files": [
                    {
                        "path": file.path,
                        "bytes": file.size,
                        "covered": [list(span) for span in file.spans],
                        "unconfirmed": [list(span) for span in file.unconfirmed],
                    }
                    for file in item.files
                ],
            }
            for item in details(grant)
        ],
    }


def token_document(grant: Grant, token: Token) -> dict[str, Any]:
    """A grant's new token with its links: secret."""
    to = links(token)
    return {
        "grant": grant.public_id,
        "token": token.reveal(),
        "expires_at": rfc3339(grant.expires_at),
        "links": {"http": to.http, "ftp": to.ftp, "metalink": to.metalink},
    }


def rfc3339(when: datetime | None) -> str | None:
    """RFC 3339, UTC, to the millisecond."""
    return None if when is None else when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
