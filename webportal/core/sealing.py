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


def resealed(purpose: str, sealed: str) -> str:
    """The same, sealed with the key of now. Raises `Unreadable`."""
    try:
        return _cipher(purpose).rotate(sealed).decode()
    except InvalidToken:
        raise Unreadable from None


def _cipher(purpose: str) -> MultiFernet:
    """Seals with the first key, and opens with those of earlier secret keys too."""
    secrets = (settings.FTPGATE_SECRET, *settings.FTPGATE_SECRET_FALLBACKS)
    keys = [derived_key(secret, f"sealed {purpose}") for secret in secrets]
    before_2026_12 = [sha256(f"{purpose}\0{secret}".encode()).digest() for secret in secrets]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in (*keys, *before_2026_12)])
