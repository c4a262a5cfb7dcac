"""Signed links: what the portal allows for a few minutes, signed, so that a gate need not ask anybody whether it holds.

A signed link holds `SUBJECT.EXPIRES.SIGNATURE`: what it is about, Unix seconds, and 144 bits of an HMAC-SHA-256 (RFC 2104) in
base64url.
Its key comes from the secret key that portal and gates share; links by earlier secret keys are read as well. It opens no file;
whoever finds one in a log an hour later has nothing.
"""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any

from ftpgate.errors import DeadToken, UnknownToken
from ftpgate.settings import Settings, secret_keys

TTL = 600
"""Seconds. A page that stays open longer asks the portal for the next one when its stream breaks."""
_SIGNATURE = 18  # bytes: enough for ever, and 24 letters without padding


class Purpose(StrEnum):
    """What a signed link is for. It is valid for this one purpose only."""

    WATCH = "watch"
    """The progress of a grant; the subject is the grant's id."""
    END = "end"
    """Ending what one client fetches; the subject is its `connection_key`."""


def connection_key(transfer: Mapping[str, Any]) -> str:
    """What the transfers of one client have in common, out of what a gate tells of one in its `/status`."""
    return "{grant} {protocol} {peer}".format_map(transfer)


class SignedLinks:
    """Makes and reads the signed links of an installation."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def make(self, purpose: Purpose, subject: str) -> str:
        """A text that is valid for `TTL` seconds; to be percent-encoded in addresses unless `subject` is safe there."""
        signed = f"{subject}.{int(time.time()) + TTL}"
        return f"{signed}.{_signature(self._keys[0], purpose, signed)}"

    def read(self, purpose: Purpose, text: str) -> str:
        """The subject of a signed link.

        Raises:
            UnknownToken: it is not signed, or for another purpose.
            DeadToken: its time is over.
        """
        signed, _, signature = text.rpartition(".")
        subject, _, expires = signed.rpartition(".")
        right = [_signature(key, purpose, signed).encode() for key in self._keys]
        if not any(hmac.compare_digest(signature.encode(), each) for each in right):
            raise UnknownToken()
        if int(expires) <= time.time():
            raise DeadToken()
        return subject

    @cached_property
    def _keys(self) -> list[bytes]:
        return [hmac.digest(key.encode(), b"ftpgate passes", "sha256") for key in secret_keys(self._settings)]


def _signature(key: bytes, purpose: Purpose, signed: str) -> str:
    made = hmac.digest(key, f"{purpose}\0{signed}".encode(), "sha256")
    return base64.urlsafe_b64encode(made[:_SIGNATURE]).decode()
