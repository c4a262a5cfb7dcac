"""The tokens that a browser session may show again.

The database holds hashes of tokens only, and sessions lie in the database: so what a session remembers is encrypted
with a key that is not in it.
"""

from __future__ import annotations

import base64
from hashlib import sha256

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase

from ftpgate.tokens import Token
from webportal.grants.models import Grant, GrantToken

_KEY = "grant_tokens"
_MOST = 100
"""Grants whose token a session keeps: sessions are rows of the database."""


def remember_token(session: SessionBase, token: Token) -> None:
    """Keep a token in this session, in place of the one it had for the same grant."""
    kept: dict[str, str] = session.get(_KEY, {})
    kept.pop(token.grant, None)
    kept[token.grant] = _cipher().encrypt(token.secret.encode()).decode()
    session[_KEY] = dict(list(kept.items())[-_MOST:])


def remembered_token(session: SessionBase, grant: Grant) -> Token | None:
    """The token that this session was given for a grant, while it is alive; None when another has to be made."""
    try:
        secret = _cipher().decrypt(session.get(_KEY, {}).get(grant.public_id, ""))
    except InvalidToken:
        return None
    token = Token(grant.public_id, secret.decode())
    alive = GrantToken.objects.filter(grant=grant, digest=token.digest(), dead_at=None).exists()
    return token if alive else None


def _cipher() -> MultiFernet:
    secrets = (settings.FTPGATE_SECRET, *settings.FTPGATE_SECRET_FALLBACKS)
    keys = (sha256(b"remembered tokens\0" + secret.encode()).digest() for secret in secrets)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])
