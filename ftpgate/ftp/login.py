"""Who has logged in to a session."""

from __future__ import annotations

from typing import NamedTuple

from ftpgate.access.open_grant import OpenGrant
from ftpgate.ftp.filesystem import GrantFS


class Login(NamedTuple):
    """A grant, `Token.digest()` of the token that opened it, and the session's place in its tree."""

    grant: OpenGrant
    digest: bytes
    fs: GrantFS
