from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils.crypto import get_random_string
from django.utils.translation import gettext_lazy as _

from ftpgate.tokens import ALPHABET
from ftpgate.translatable import TranslatableText
from webportal.core.translatable import LONGEST_CODE, restored, stored_parameters, translated
from webportal.shops.models import Shop

LONGEST_URL = 1_000
"""Characters; the width of the column."""


class EventType(models.TextChoices):
    """What an event tells."""

    GRANT_ISSUED = "grant.issued", _("grant issued")
    ITEM_COMPLETE = "item.complete", _("item complete")
    GRANT_COMPLETE = "grant.complete", _("grant complete")
    GRANT_EXPIRED = "grant.expired", _("grant expired")


def validate_event_types(event_types: object) -> None:
    """A list of `EventType`s, none of them twice, at least one."""
    known = isinstance(event_types, list) and bool(event_types) and set(map(str, event_types)) <= set(EventType.values)
    if not known or len(set(event_types)) != len(event_types):  # type: ignore[arg-type,call-overload]
        raise ValidationError(_("Choose at least one."))


def new_endpoint_id() -> str:
    return get_random_string(10, ALPHABET)


def new_event_id() -> str:
    """126 random bits: receivers take an id that they have seen for a repeat."""
    return "evt_" + get_random_string(26, ALPHABET)


class Endpoint(models.Model):
    """An address of a shop that wants to hear of events. Secrets are encrypted (`webportal.core.sealing`)."""

    public_id = models.CharField(_("id"), max_length=10, unique=True, default=new_endpoint_id, editable=False)
    shop = models.ForeignKey(Shop, models.CASCADE, related_name="endpoints", verbose_name=_("shop"))
    url = models.CharField(_("address"), max_length=LONGEST_URL)
    event_types = models.JSONField(_("hears of"), validators=[validate_event_types])
    active = models.BooleanField(_("active"), default=True, help_text=_("Events that occur while inactive are not sent."))
    allow_internal = models.BooleanField(
        _("may be internal"),
        default=False,
        help_text=_("Allows http:// and addresses of this machine and of private networks. Only for receivers of your own."),
    )
    secret = models.TextField(editable=False)
    previous_secret = models.TextField(editable=False, default="")
    previous_until = models.DateTimeField(editable=False, null=True)
    made_at = models.DateTimeField(_("made"), auto_now_add=True)
    failures = models.IntegerField(_("failures in a row"), default=0, editable=False)
    backoff_until = models.DateTimeField(_("left alone until"), null=True, editable=False)
    attempted_at = models.DateTimeField(_("last attempt"), null=True, editable=False)
    leased_by = models.CharField(max_length=300, default="", editable=False)
    leased_until = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = _("endpoint")
        verbose_name_plural = _("endpoints")
        ordering = ("shop", "pk")

    def __str__(self) -> str:
        return self.url


class Event(models.Model):
    """Something that happened to a grant of a shop; written in the transaction in which it happened."""

    public_id = models.CharField(_("id"), max_length=30, unique=True, default=new_event_id, editable=False)
    shop = models.ForeignKey(Shop, models.CASCADE, related_name="events", verbose_name=_("shop"))
    type = models.CharField(_("type"), max_length=20, choices=EventType)
    grant = models.CharField(_("grant"), max_length=10)
    made_at = models.DateTimeField(_("happened"))
    body = models.TextField(_("body"), help_text=_("What is sent, byte for byte the same in every attempt"))

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = (F("made_at").desc(), "-pk")
        constraints = (models.CheckConstraint(condition=Q(type__in=EventType.values), name="event_type_known"),)
        indexes = (models.Index(fields=("-made_at",), name="event_newest"),)

    def __str__(self) -> str:
        return self.public_id


class Delivery(models.Model):
    """One event on its way to one endpoint. `failed` is the end of trying by itself; staff may send it again.

    `answer` is the beginning of what the endpoint answered; `failure_code` and `failure_parameters` say why there is none, or
    why it did not count.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        DELIVERED = "delivered", _("delivered")
        FAILED = "failed", _("failed")

    event = models.ForeignKey(Event, models.CASCADE, related_name="deliveries", verbose_name=_("event"))
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="deliveries", verbose_name=_("endpoint"))
    state = models.CharField(_("state"), max_length=9, choices=State, default=State.WAITING)
    attempts = models.IntegerField(_("attempts"), default=0)
    next_at = models.DateTimeField(_("next attempt"))
    attempted_at = models.DateTimeField(_("last attempt"), null=True)
    give_up_at = models.DateTimeField(_("tried until"))
    status = models.SmallIntegerField(_("status"), null=True)
    answer = models.TextField(_("answer"), default="", blank=True)
    failure_code = models.CharField(_("failure"), max_length=LONGEST_CODE, default="", blank=True)
    failure_parameters = models.JSONField(_("parameters of the failure"), default=dict, blank=True)

    class Meta:
        verbose_name = _("delivery of an event")
        verbose_name_plural = _("deliveries of events")
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(fields=("event", "endpoint"), name="delivery_once_an_endpoint"),
            models.CheckConstraint(condition=Q(state__in=("waiting", "delivered", "failed")), name="delivery_state_known"),
        )
        indexes = (
            models.Index(fields=("endpoint", "next_at"), condition=Q(state="waiting"), name="delivery_waiting"),
            models.Index(fields=("endpoint", "state", "-id"), name="delivery_by_endpoint"),
        )

    def __str__(self) -> str:
        return f"{self.event} → {self.endpoint}"

    @property
    def shown_answer(self) -> str:
        """The answer, or why there is none in the language of whoever looks."""
        return translated(restored(self.failure_code, self.failure_parameters)) if self.failure_code else self.answer

    def set_failure(self, failure: TranslatableText | None) -> None:
        self.failure_code = "" if failure is None else failure.message.code
        self.failure_parameters = {} if failure is None else stored_parameters(failure)
