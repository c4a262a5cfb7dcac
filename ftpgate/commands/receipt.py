"""`ftpgate receipt verify`: check a receipt without the shop's database."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ftpgate import receipts
from ftpgate.errors import UserError
from ftpgate.settings import Settings, secret_keys
from ftpgate.translatable import os_reason

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from ftpgate.commands.shop import Document

_HINTS: dict[type[receipts.ReceiptError], str] = {
    receipts.ReceiptError: "ask the shop for the receipt again",
    receipts.WrongKey: "give the key of the shop that made it with --key, copied from the shop's own page",
    receipts.NoKey: "copy the 44 characters from a receipt's page",
}


def verify(file: Path, key: str | None, settings: Settings) -> Document:
    """Check a receipt's file (`-`: standard input).

    Args:
        key: the shop's public key; None for the keys of this installation, earlier ones too.

    Raises:
        UserError: it is not a receipt of that key, or was changed.
    """
    try:
        public = _public_keys(key, settings)
        content = _content(file)
        receipt = receipts.verify(content, *public)
        return {"valid": True, "key": receipts.key_of(content), "receipt": receipt}
    except receipts.ReceiptError as error:
        raise UserError(str(error), _HINTS[type(error)]) from None


def _public_keys(key: str | None, settings: Settings) -> list[Ed25519PublicKey]:
    if key is not None:
        return [receipts.parse_public(key)]
    if settings.secret_key or (settings.state_dir / "secret_key").exists():
        return [receipts.signing_key(each).public_key() for each in secret_keys(settings)]
    raise UserError("this is not the shop's own installation, so its key is not known here", "give it with --key")


def _content(file: Path) -> bytes:
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as opened:
            content = opened.read(receipts.LARGEST + 1)
    except OSError as error:
        raise UserError(f"{str(file)!r} cannot be read ({os_reason(error)})", "name the receipt's file") from None
    if len(content) > receipts.LARGEST:
        raise UserError(f"{str(file)!r} is too large for a receipt", "name the receipt's file")
    return content
