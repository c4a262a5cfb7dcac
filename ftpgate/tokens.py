"""Tokens: a public grant id and a secret, joined by `-`, that a person can type.

Letters and digits that are easily taken for each other (0 o 1 l i) are left out, which leaves 31; 26 of them hold
128.8 bits. The grant id, 10 characters, is public: it stands in logs and on staff's pages.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
GRANT_ID_LENGTH = 10
"""Characters of `ALPHABET`, 49 bits: short enough to read out, and no secret."""
SECRET_LENGTH = 26
"""Characters of `ALPHABET`, 128.8 bits: nobody can guess one."""


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def new_grant_id() -> str:
    return _random(GRANT_ID_LENGTH)


@dataclass(frozen=True, slots=True)
class Token:
    """One secret that opens one grant. Its `repr` and `str` show the grant id only; ask `reveal()` for the rest."""

    grant: str
    secret: str = field(repr=False)
    _digest: bytes = field(default=b"", init=False, repr=False, compare=False)
    """Taken once: a request asks for it where it is admitted and where its transfer begins."""

    @classmethod
    def new(cls, grant: str) -> Token:
        return cls(grant, _random(SECRET_LENGTH))

    @classmethod
    def parse(cls, text: str) -> Token | None:
        """A token as a client sent it, or None when it cannot be one. Case and space around it are forgiven."""
        if len(text) > 2 * (GRANT_ID_LENGTH + SECRET_LENGTH):
            return None
        grant, dash, secret = text.strip().lower().partition("-")
        if not dash or len(grant) != GRANT_ID_LENGTH or len(secret) != SECRET_LENGTH:
            return None
        if not set(grant + secret) <= _LETTERS:
            return None
        return cls(grant, secret)

    def reveal(self) -> str:
        return f"{self.grant}-{self.secret}"

    def digest(self) -> bytes:
        """SHA-256 of the whole token, 32 bytes: what is stored. No salt or stretching: the secret is 128 random bits."""
        if not self._digest:
            object.__setattr__(self, "_digest", hashlib.sha256(self.reveal().encode()).digest())
        return self._digest

    def __str__(self) -> str:
        return self.grant


_LETTERS = frozenset(ALPHABET)
