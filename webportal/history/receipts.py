"""Receipts: what was delivered, when, to whom, signed. See `ftpgate.receipts` for the form of the file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db.models import Sum

from ftpgate import receipts
from webportal.accounts.models import User
from webportal.catalogue.models import File
from webportal.grants.models import Coverage
from webportal.history.models import Completion, Transfer

MOST_TRANSFERS = 1_000
"""Rows of transfers that are told one by one; of more, the first."""


def receipt_key() -> Ed25519PrivateKey:
    """What this installation signs with."""
    return receipts.signing_key(settings.FTPGATE_SECRET)


def public_keys() -> list[str]:
    """The keys that receipts of this installation are checked with: first that of now, then earlier ones."""
    secrets = (settings.FTPGATE_SECRET, *settings.FTPGATE_SECRET_FALLBACKS)
    return [receipts.public_text(receipts.signing_key(secret).public_key()) for secret in secrets]


def completion_of(grant: str, item: str, *, user: User | None = None) -> Completion:
    """The completion of an item under a grant (public ids); only if it is this user's, when one is given.

    Raises:
        Completion.DoesNotExist: there is none.
    """
    found = Completion.objects.select_related("grant_item__grant__user", "grant_item__item")
    if user is not None:
        found = found.filter(grant_item__grant__user=user)
    return found.get(grant_item__grant__public_id=grant, grant_item__item__public_id=item)


def receipt_of(completion: Completion) -> receipts.Receipt:
    """What the receipt of a completion says. Times are RFC 3339 UTC, sizes bytes, `covered` half-open ranges.

    `proof` is a `Proof`; receipts of earlier versions are without, and rest on delivery. By the customer's word, `covered` may
    lack what was unconfirmed.
    Of transfers it holds those of the item that began before it was complete and have been recorded.
    """
    grant, item = completion.grant_item.grant, completion.grant_item.item
    covered = dict(Coverage.objects.filter(grant=grant, file__item=item).values_list("file_id", "spans"))
    files = list(File.objects.filter(item=item).order_by("position"))
    transfers = Transfer.objects.filter(grant=grant, item=item, started_at__lte=completion.completed_at)
    return {
        "version": 1,
        "grant": grant.public_id,
        "user": {"name": grant.user.get_username(), "full_name": grant.user.get_full_name()},
        "item": {"id": item.public_id, "title": item.title, "artist": item.artist, "year": item.year},
        "issued_at": _stamp(grant.issued_at),
        "completed_at": _stamp(completion.completed_at),
        "proof": completion.proof,
        "bytes": sum(file.size for file in files),
        "files": [
            {"path": file.path, "bytes": file.size, "sha256": bytes(file.sha256).hex(), "covered": covered.get(file.pk, [])}
            for file in files
        ],
        "protocols": _different(transfers, "protocol"),
        "addresses": _different(transfers, "peer"),
        "clients": _different(transfers, "client"),
        "transfers": [_transfer(row) for row in transfers.order_by("started_at", "pk")[:MOST_TRANSFERS]],
        "transfers_in_all": transfers.aggregate(number=Sum("number"))["number"] or 0,
    }


def receipt_file(completion: Completion) -> bytes:
    """The signed receipt of a completion."""
    return receipts.sign(receipt_of(completion), receipt_key())


def _transfer(row: Transfer) -> dict[str, Any]:
    return {
        "path": row.path,
        "protocol": row.protocol,
        "address": row.peer,
        "client": row.client,
        "start": row.start,
        "end": row.end,
        "delivered": row.delivered,
        "started_at": _stamp(row.started_at),
        "ended_at": _stamp(row.ended_at),
        "outcome": row.outcome,
    }


def _different(transfers: Any, name: str) -> list[str]:
    return [value for value in transfers.order_by(name).values_list(name, flat=True).distinct() if value]


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
