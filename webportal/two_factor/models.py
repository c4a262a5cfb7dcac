"""A user's second factors, as devices of django-otp: a session remembers by which of them it was verified.

django-otp's own tables keep keys and recovery codes as they are; here whoever reads the database can sign in with neither.
"""

from __future__ import annotations

import re
from hashlib import sha256

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django_otp.models import Device
from django_otp.oath import TOTP

from webportal.accounts.models import User
from webportal.core import sealing

DIGITS, STEP = 6, 30
"""Those of every app, which mostly ignore other ones (RFC 6238, section 5.2)."""
_TOLERANCE = 1
"""Steps by which the clock of a telephone may be off."""
PURPOSE = "authenticator"


class _Factor(Device):
    user = models.ForeignKey(User, models.CASCADE, related_name="+", verbose_name=_("user"))

    class Meta:
        abstract = True


class Authenticator(_Factor):
    """An app that computes a code from a shared key and the time (TOTP, RFC 6238)."""

    sealed_key = models.TextField(editable=False)
    last_step = models.BigIntegerField(default=0, editable=False)
    """The time step of the last code that was taken. It and those before it are not taken again."""
    made_at = models.DateTimeField(_("set up"), default=timezone.now)

    class Meta:
        verbose_name = _("authenticator app")
        verbose_name_plural = _("authenticator apps")
        constraints = (models.UniqueConstraint(fields=["user"], name="authenticator_one_for_each_user"),)

    @classmethod
    def of(cls, user: User, key: bytes) -> Authenticator:
        """One with this key, not saved yet."""
        return cls(user=user, name="", sealed_key=sealing.seal(PURPOSE, key.hex()))

    def verify_token(self, token: str) -> bool:
        """Is it the code of now, and was not used? To be called on a locked row."""
        right = self.matches(token)
        if right:
            self.save(update_fields=["last_step"])
        return right

    def matches(self, token: str) -> bool:
        """As `verify_token`, of a row that is saved by the caller."""
        if not re.fullmatch(r"[0-9]{6}", token):
            return False
        try:
            key = bytes.fromhex(sealing.unseal(PURPOSE, self.sealed_key))
        except sealing.Unreadable:
            return False
        codes = TOTP(key, STEP, digits=DIGITS)
        if not codes.verify(int(token), tolerance=_TOLERANCE, min_t=self.last_step + 1):
            return False
        self.last_step = codes.t()
        return True


class Passkey(_Factor):
    """A key pair in a telephone, a computer or a security key (WebAuthn)."""

    host = models.CharField(max_length=253, editable=False)
    """The portal's name at which it was made (the relying party's ID). Browsers offer it under no other one."""
    credential = models.BinaryField(editable=False)
    """Its id and public key: attested credential data (WebAuthn, section 6.5.1)."""
    digest = models.CharField(max_length=64, unique=True, editable=False)
    """SHA-256 of its id: nobody else may register it too."""
    signatures = models.BigIntegerField(default=0, editable=False)
    """Its own count; 0 for those that do not count."""
    made_at = models.DateTimeField(_("set up"), default=timezone.now)
    used_at = models.DateTimeField(_("last used"), null=True)

    class Meta:
        verbose_name = _("passkey")
        verbose_name_plural = _("passkeys")
        ordering = ("pk",)


class RecoveryCodes(_Factor):
    """Codes on paper, each for one sign-in. Of as many random bits that their hashes tell nothing."""

    hashes = models.JSONField(default=list, editable=False)

    class Meta:
        verbose_name = _("recovery codes")
        verbose_name_plural = _("recovery codes")
        constraints = (models.UniqueConstraint(fields=["user"], name="recoverycodes_once_for_each_user"),)

    @staticmethod
    def hash(code: str) -> str:
        """What is kept of a code, however it is spaced and whatever its case."""
        return sha256(re.sub(r"[\W_]", "", code.lower()).encode()).hexdigest()

    def verify_token(self, token: str) -> bool:
        """Is it one that is left? It is not afterwards. To be called on a locked row."""
        hashed = self.hash(token)
        if hashed not in self.hashes:
            return False
        self.hashes = [left for left in self.hashes if left != hashed]
        self.save(update_fields=["hashes"])
        return True
