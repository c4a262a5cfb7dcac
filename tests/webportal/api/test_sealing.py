"""Secrets that are kept encrypted."""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest
from cryptography.fernet import Fernet
from django.conf import settings

from webportal.core.sealing import Unreadable, seal, unseal


def test_what_is_sealed_is_opened_for_its_purpose_only() -> None:
    sealed = seal("webhook", "ключ")
    assert unseal("webhook", sealed) == "ключ"
    for purpose in ("answer", "webhook ", ""):
        with pytest.raises(Unreadable):
            unseal(purpose, sealed)


def test_what_earlier_versions_sealed_is_still_opened() -> None:
    key = base64.urlsafe_b64encode(sha256(f"webhook\0{settings.FTPGATE_SECRET}".encode()).digest())
    assert unseal("webhook", Fernet(key).encrypt(b"old").decode()) == "old"
    assert settings.FTPGATE_SECRET not in settings.SECRET_KEY
