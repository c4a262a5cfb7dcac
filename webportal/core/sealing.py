"""Secrets that have to be read again, encrypted for the database with a key that is not in it."""

from __future__ import annotations

import base64
from hashlib import sha256

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from ftpgate.settings import derived_key


class Unreadable(Exception):
    """What was sealed cannot be opened: `FTPGATE_SECRET_KEY` has changed since, or the text is damaged."""


def seal(purpose: str, text: str) -> str:
    """Encrypt; only `unseal` with the same purpose opens it."""
    return _cipher(purpose).encrypt(text.encode()).decode()


def unseal(purpose: str, sealed: str) -> str:
    """What was sealed for this purpose.

    Raises:
        Unreadable: it was sealed with another key or for another purpose.
    """
    try:
        return _cipher(purpose).decrypt(sealed).decode()
    except InvalidToken:
        raise Unreadable from None


def _cipher(purpose: str) -> MultiFernet:
    """Seals with the first key. With the second one, versions before 2026-12 have sealed."""
    before = sha256(f"{purpose}\0{settings.FTPGATE_SECRET}".encode()).digest()
    keys = (derived_key(settings.FTPGATE_SECRET, f"sealed {purpose}"), before)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])
