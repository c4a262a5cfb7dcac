from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ftpgate.notices import Kind
from webportal.core import push

DEFAULT_TIER = "default"
DEFAULT_CONNECTIONS = 64
"""Of a tier that names none: four downloads in 16 segments each."""
LARGEST_CONNECTIONS = 10_000
"""Of a tier at the most; a gate has places for fewer."""
LONGEST_TIER_NAME = 64
"""Characters; the width of the column."""


class Tier(models.Model):
    """A category of users. `rate` is bytes a second over all of a customer's connections, 0 for no limit."""

    name = models.CharField(_("name"), max_length=LONGEST_TIER_NAME, unique=True)
    rate = models.BigIntegerField(_("rate, bytes a second (0: no limit)"), default=0, validators=[MinValueValidator(0)])
    connections = models.IntegerField(
        _("connections at once"),
        default=DEFAULT_CONNECTIONS,
        validators=[MinValueValidator(1), MaxValueValidator(LARGEST_CONNECTIONS)],
    )

    class Meta:
        verbose_name = _("tier")
        verbose_name_plural = _("tiers")
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(condition=Q(rate__gte=0), name="tier_rate_not_negative"),
            models.CheckConstraint(condition=Q(connections__range=(1, LARGEST_CONNECTIONS)), name="tier_connections_in_range"),
            models.CheckConstraint(condition=~Q(name=""), name="tier_has_a_name"),
        )

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        before = Tier.objects.filter(pk=self.pk).values_list("name", flat=True).first()  # gates may know it by that
        super().save(*args, **kwargs)
        push.tell(Kind.TIER, {self.name, before or self.name})


def default_tier() -> Tier:
    """The tier of users that were put in no other."""
    return Tier.objects.get_or_create(name=DEFAULT_TIER)[0]


class User(AbstractUser):
    """A customer or one of the staff. Without a tier given, a new one gets the default one."""

    tier = models.ForeignKey(Tier, models.PROTECT, related_name="users", verbose_name=_("tier"))
    language = models.CharField(_("language"), max_length=10, blank=True, help_text=_("Empty: what the browser asks for"))
    time_zone = models.CharField(_("time zone"), max_length=64, blank=True, help_text=_("Empty: the browser's own"))
    wants_mail = models.BooleanField(_("mails about deliveries"), default=True)

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self.tier_id:
            self.tier = default_tier()
        super().save(*args, **kwargs)
        if "tier" in (kwargs.get("update_fields") or ("tier",)):
            push.tell(Kind.USER, [self.get_username()])


class SignIn(models.Model):
    """A browser in which a user is signed in, as long as its session lasts."""

    user = models.ForeignKey(User, models.CASCADE, related_name="sign_ins", verbose_name=_("user"))
    session_key = models.CharField(max_length=40, unique=True, editable=False)
    browser = models.CharField(_("browser"), max_length=100, blank=True)
    address = models.GenericIPAddressField(_("address"), null=True)
    made_at = models.DateTimeField(_("signed in"))
    seen_at = models.DateTimeField(_("last seen"))

    class Meta:
        verbose_name = _("sign-in")
        verbose_name_plural = _("sign-ins")
        ordering = ("-seen_at", "-pk")

    def __str__(self) -> str:
        return f"{self.user}: {self.browser}"
