"""Setting up, checking and removing second factors."""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from django.db import transaction
from django_otp import devices_for_user
from django_otp.models import Device

from ftpgate.tokens import ALPHABET
from webportal.accounts.models import User
from webportal.accounts.sign_ins import end_others
from webportal.two_factor.models import DIGITS, STEP, Authenticator, Passkey, RecoveryCodes

RECOVERY_CODES = 10
_CODE_LETTERS = 16
_KEY_BYTES = 20
"""As long as the hash that every app uses, SHA-1 (RFC 4226, section 4: at least 128 bits)."""


@dataclass(frozen=True)
class Standing:
    """What a user has set up."""

    authenticator: Authenticator | None
    passkeys: list[Passkey]
    recovery_codes: int
    """How many are left."""

    @property
    def is_on(self) -> bool:
        return self.authenticator is not None or bool(self.passkeys)


def standing_of(user: User) -> Standing:
    codes = RecoveryCodes.objects.filter(user=user).first()
    return Standing(
        Authenticator.objects.filter(user=user).first(),
        list(Passkey.objects.filter(user=user)),
        len(codes.hashes) if codes else 0,
    )


def is_on(user: User) -> bool:
    """Is more than the password asked of this user?"""
    return any(kind.objects.filter(user=user).exists() for kind in (Authenticator, Passkey))


def new_key() -> bytes:
    return secrets.token_bytes(_KEY_BYTES)


def key_text(key: bytes) -> str:
    """A key as apps take it by hand: base32 in groups of four."""
    return " ".join(re.findall(".{1,4}", base64.b32encode(key).decode()))


def key_address(key: bytes, user: User, shop: str) -> str:
    """What the QR code for apps holds (the format of Google's Key URI)."""
    label = quote(f"{shop}:{user.get_username()}", safe=":")
    known = {"secret": base64.b32encode(key).decode(), "issuer": shop, "digits": DIGITS, "period": STEP}
    return f"otpauth://totp/{label}?{urlencode(known, quote_via=quote)}"


def set_up_authenticator(user: User, key: bytes, code: str) -> Authenticator | None:
    """Keep the key of an app in the place of another one, if the app has computed a right code with it."""
    new = Authenticator.of(user, key)
    if not new.matches(_spaceless(code)):
        return None
    with transaction.atomic():
        Authenticator.objects.filter(user=user).delete()
        new.save()
    return new


def check_code(user: User, code: str) -> Device | None:
    """The app that has computed this code. It is right once."""
    return _check(Authenticator, user, _spaceless(code))


def check_recovery_code(user: User, code: str) -> Device | None:
    """The list that this code is on. It is used up."""
    return _check(RecoveryCodes, user, code)


def make_recovery_codes(user: User) -> list[str]:
    """New ones in the place of all earlier ones. They are kept as hashes only."""
    codes = ["".join(secrets.choice(ALPHABET) for _ in range(_CODE_LETTERS)) for _ in range(RECOVERY_CODES)]
    hashes = [RecoveryCodes.hash(code) for code in codes]
    RecoveryCodes.objects.update_or_create(user=user, defaults={"hashes": hashes})
    return ["-".join(re.findall(".{4}", code)) for code in codes]


def remove(user: User, device: Authenticator | Passkey) -> None:
    """Remove a factor of the user's; recovery codes too if it was the last one."""
    with transaction.atomic():
        device.delete()
        if not standing_of(user).is_on:
            RecoveryCodes.objects.filter(user=user).delete()


def reset(user: User) -> bool:
    """Remove all, for somebody who has lost them, and sign their browsers out. False: there was nothing."""
    with transaction.atomic():
        devices = list(devices_for_user(user))
        for device in devices:
            device.delete()
    if devices:
        end_others(user, None)
    return bool(devices)


def _check(kind: type[Authenticator | RecoveryCodes], user: User, code: str) -> Device | None:
    with transaction.atomic():
        device = kind.objects.select_for_update().filter(user=user).first()
        return device if device is not None and device.verify_token(code) else None


def _spaceless(code: str) -> str:
    return re.sub(r"\s", "", code)
