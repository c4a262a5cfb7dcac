"""Grants as commands and the API print them: the documents of `grant issue` and `grant show`."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from typing import Any

from ftpgate.endpoints import dialled_from, only_at_home
from ftpgate.tokens import Token
from webportal.grants.models import Gate, Grant
from webportal.grants.places import links
from webportal.grants.selectors import details


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
    to = links(token, grant.user.get_username())
    return {
        "grant": grant.public_id,
        "token": token.reveal(),
        "expires_at": rfc3339(grant.expires_at),
        "links": {"http": to.http, "ftp": to.ftp, "metalink": to.metalink},
    }


def gate_document(gate: Gate) -> dict[str, Any]:
    """A running gate as its row has it: what it said of itself within the last seconds. `silence` has to be there.

    `admin` is empty where the gate cannot be asked from this machine.
    """
    return {
        "id": gate.public_id,
        "host": gate.host,
        "state": gate.state,
        "started_at": rfc3339(gate.started_at),
        "heartbeat_age_s": round(gate.silent_for, 1),
        **{protocol: getattr(gate, protocol) for protocol in ("ftp", "http", "ftps", "https")},
        "admin": _asked_at(gate),
        "advertised": gate.advertised,
        "connections": gate.connections,
        "transfers": gate.transfers,
        "bytes_per_s": gate.bytes_per_s,
    }


def _asked_at(gate: Gate) -> str:
    """`H:P` where this machine asks a gate; '' for one of another machine that listens for its own alone."""
    here = socket.gethostname()
    admin = gate.advertised.get("admin")
    if admin is None and gate.host != here and only_at_home(gate.admin):
        return ""
    return admin or dialled_from(gate.admin, gate.host, here)


def rfc3339(when: datetime | None) -> str | None:
    """RFC 3339, UTC, to the millisecond."""
    return None if when is None else when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
