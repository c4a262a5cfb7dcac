from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from webportal.catalogue.models import Item
from webportal.grants.models import Grant, GrantItem


class Proof(models.TextChoices):
    """What a completion rests on: every byte was delivered, or its customer said "I have everything"."""

    DELIVERED = "delivered", _("delivered")
    CUSTOMER = "customer", _("confirmed by the customer")


class Completion(models.Model):
    """An item was received whole under a grant. One row, ever: the database holds no second one. History is made of these."""

    grant_item = models.OneToOneField(GrantItem, models.PROTECT, related_name="completion", verbose_name=_("granted item"))
    completed_at = models.DateTimeField(_("completed"))
    proof = models.CharField(_("proof"), max_length=9, choices=Proof, default=Proof.DELIVERED)

    class Meta:
        verbose_name = _("completion")
        verbose_name_plural = _("completions")
        ordering = ("-completed_at", "-pk")
        constraints = (models.CheckConstraint(condition=Q(proof__in=Proof.values), name="completion_proof_known"),)
        indexes = (models.Index(fields=("-completed_at",), name="completion_newest"),)

    def __str__(self) -> str:
        return str(self.grant_item)


class Transfer(models.Model):
    """One ended transfer. `start` and `end` are bytes of `path`; `delivered` its credited bytes.

    Of a grant with very many that end within a minute (`gateway.recording`), several in one row: `number` says how many, `start`
    is that of the first, `end` the largest, `delivered` the sum, and `outcome` another than `done` if that of any is.
    """

    class Outcome(models.TextChoices):
        DONE = "done", _("done")
        CUT = "cut", _("cut")
        STALLED = "stalled", _("stalled")
        REVOKED = "revoked", _("revoked")
        ERROR = "error", _("error")

    grant = models.ForeignKey(Grant, models.CASCADE, related_name="transfers", verbose_name=_("grant"))
    item = models.ForeignKey(Item, models.PROTECT, related_name="transfers", verbose_name=_("item"))
    gate = models.CharField(_("gate"), max_length=64)
    path = models.CharField(_("path"), max_length=1300)
    protocol = models.CharField(_("protocol"), max_length=8)
    peer = models.CharField(_("peer"), max_length=80)
    client = models.CharField(_("client"), max_length=200, blank=True)
    start = models.BigIntegerField(_("from byte"))
    end = models.BigIntegerField(_("to byte"))
    delivered = models.BigIntegerField(_("delivered, bytes"))
    started_at = models.DateTimeField(_("started"))
    ended_at = models.DateTimeField(_("ended"))
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome)
    number = models.PositiveIntegerField(_("number of transfers"), default=1, db_default=1)

    class Meta:
        verbose_name = _("transfer")
        verbose_name_plural = _("transfers")
        ordering = ("-ended_at", "-pk")
        constraints = (
            # A gate that lost the answer to its commit writes the same batch again.
            models.UniqueConstraint(fields=("grant", "started_at", "gate", "peer", "protocol", "start"), name="transfer_once"),
            models.CheckConstraint(condition=Q(start__gte=0) & Q(end__gte=F("start")), name="transfer_range_in_order"),
            models.CheckConstraint(condition=Q(delivered__gte=0), name="transfer_delivered_not_negative"),
        )
        indexes = (
            models.Index(fields=("grant", "-ended_at"), name="transfer_by_grant"),
            models.Index(fields=("-ended_at",), name="transfer_newest"),
        )

    def __str__(self) -> str:
        return self.path
