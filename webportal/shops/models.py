from __future__ import annotations

import re
from collections.abc import Iterable

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils.crypto import get_random_string
from django.utils.translation import gettext_lazy as _

from ftpgate.tokens import ALPHABET
from webportal.accounts.models import Tier

LONGEST_REFERENCE = 150
"""As long as a user's name may be: receipts and staff's pages show it as that."""
KEY_ID_LENGTH = 8
"""Characters; shown in lists and in the log, and no secret."""
MOST_ORIGINS = 10
_ORIGIN = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")


class Scope(models.TextChoices):
    """What a key may do."""

    ITEMS_READ = "items:read", _("read the catalogue")
    GRANTS_READ = "grants:read", _("read the shop's own grants and transfers")
    GRANTS_WRITE = "grants:write", _("issue, renew and revoke grants, make tokens")
    RECEIPTS_READ = "receipts:read", _("read receipts")
    WEBHOOKS_WRITE = "webhooks:write", _("read and change the shop's webhook endpoints")


def validate_scopes(scopes: object) -> None:
    """A list of `Scope`s, none of them twice, at least one."""
    known = isinstance(scopes, list) and bool(scopes) and set(map(str, scopes)) <= set(Scope.values)
    if not known or len(set(scopes)) != len(scopes):  # type: ignore[arg-type,call-overload]
        raise ValidationError(_("Choose at least one."))


def new_key_id() -> str:
    """The public part of a key."""
    return get_random_string(KEY_ID_LENGTH, ALPHABET)


def validate_origins(text: str) -> None:
    """At most `MOST_ORIGINS` origins as browsers write them (RFC 6454 section 6.2), one a line."""
    origins = text.split()
    if len(origins) > MOST_ORIGINS or not all(_ORIGIN.fullmatch(origin) for origin in origins):
        raise ValidationError(_("Give up to ten addresses such as https://shop.example, one a line, without a path."))


class Shop(models.Model):
    """A shop that is not this portal and sells through the API."""

    name = models.CharField(
        _("name"),
        max_length=40,
        unique=True,
        validators=[RegexValidator(r"^[a-z0-9][a-z0-9-]*\Z", _("Use small letters, digits and hyphens."))],
        help_text=_("Small letters, digits and hyphens; the names of its customers here begin with it."),
    )
    tier = models.ForeignKey(
        Tier, models.PROTECT, related_name="shops", verbose_name=_("tier"), help_text=_("Its new customers get this tier.")
    )
    origins = models.TextField(
        _("own pages"),
        blank=True,
        default="",
        max_length=3000,
        validators=[validate_origins],
        help_text=_("Addresses whose pages may call the API from a browser, such as https://shop.example, one a line."),
    )
    made_at = models.DateTimeField(_("made"), auto_now_add=True)

    class Meta:
        verbose_name = _("shop")
        verbose_name_plural = _("shops")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def has_origin(self, origin: str) -> bool:
        """Is it one of the shop's own pages?"""
        return origin in self.origins.split()


class ShopUser(models.Model):
    """A shop's own name for one of its customers, and the user that stands for it here. Nobody signs in as that user."""

    shop = models.ForeignKey(Shop, models.PROTECT, related_name="users", verbose_name=_("shop"))
    reference = models.CharField(_("the shop's name for it"), max_length=LONGEST_REFERENCE)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="shop_user", verbose_name=_("user"), editable=False
    )

    class Meta:
        verbose_name = _("customer of a shop")
        verbose_name_plural = _("customers of shops")
        ordering = ("shop", "reference")
        constraints = (
            models.UniqueConstraint(fields=("shop", "reference"), name="shop_user_reference_once_in_shop"),
            models.CheckConstraint(condition=~Q(reference=""), name="shop_user_has_a_reference"),
        )

    def __str__(self) -> str:
        return self.reference


class ApiKey(models.Model):
    """One key of a shop, as its SHA-256 only: the key itself is shown when it is made and never again."""

    shop = models.ForeignKey(Shop, models.CASCADE, related_name="keys", verbose_name=_("shop"))
    public_id = models.CharField(_("id"), max_length=KEY_ID_LENGTH, unique=True, default=new_key_id, editable=False)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    label = models.CharField(_("label"), max_length=100, blank=True, help_text=_("Where it is used"))
    scopes = models.JSONField(_("may"), validators=[validate_scopes])
    made_at = models.DateTimeField(_("made"), auto_now_add=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering = (F("made_at").desc(), "-pk")

    def __str__(self) -> str:
        return f"{self.shop} {self.public_id}"

    def may(self, scopes: Iterable[str]) -> bool:
        return set(scopes) <= set(self.scopes)


class IdempotentResponse(models.Model):
    """What a POST with an `Idempotency-Key` was answered, for a day. It may hold a token and is therefore encrypted."""

    shop = models.ForeignKey(Shop, models.CASCADE, related_name="idempotent_responses")
    key = models.CharField(max_length=255)
    request = models.BinaryField(max_length=32)  # SHA-256 of what was asked
    status = models.SmallIntegerField(default=0)
    body = models.TextField(default="")
    made_at = models.DateTimeField()

    class Meta:
        verbose_name = _("remembered answer")
        verbose_name_plural = _("remembered answers")
        constraints = (models.UniqueConstraint(fields=("shop", "key"), name="answer_once_a_key"),)
        indexes = (models.Index(fields=("made_at",), name="answer_oldest"),)

    def __str__(self) -> str:
        return self.key
