"""`ftpgate receipt verify`: check a receipt without the shop's database."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ftpgate import receipts
from ftpgate.errors import UserError
from ftpgate.settings import Settings, secret_key
from ftpgate.translatable import os_reason

if TYPE_CHECKING:
    from ftpgate.commands.shop import Document


def verify(file: Path, key: str | None, settings: Settings) -> Document:
    """Check a receipt's file (`-`: standard input).

    Args:
        key: the shop's public key; None for the key of this installation.

    Raises:
        UserError: it is not a receipt of that key, or was changed.
    """
    if key is not None:
        public = receipts.parse_public(key)
    elif settings.secret_key or (settings.state_dir / "secret_key").exists():
        public = receipts.signing_key(secret_key(settings)).public_key()
    else:
        raise UserError("this is not the shop's own installation, so its key is not known here", "give it with --key")
    return {"valid": True, "key": receipts.public_text(public), "receipt": receipts.verify(_content(file), public)}


def _content(file: Path) -> bytes:
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as opened:
            content = opened.read(receipts.LARGEST + 1)
    except OSError as error:
        raise UserError(f"{str(file)!r} cannot be read ({os_reason(error)})", "name the receipt's file") from None
    if len(content) > receipts.LARGEST:
        raise UserError(f"{str(file)!r} is too large for a receipt", "name the receipt's file")
    return content
