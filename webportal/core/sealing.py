"""Secrets that have to be read again, encrypted for the database with a key that is not in it."""

from __future__ import annotations

import base64
from hashlib import sha256

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings


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


def _cipher(purpose: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(sha256(f"{purpose}\0{settings.SECRET_KEY}".encode()).digest()))
