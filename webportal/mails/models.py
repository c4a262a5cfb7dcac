from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from webportal.grants.models import Grant
from webportal.history.models import Completion


class Notice(models.Model):
    """One thing that a user is told by mail, once: a completion, or that a grant expires at a certain time."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="notices", verbose_name=_("user"))
    completion = models.OneToOneField(Completion, models.CASCADE, null=True, related_name="notice", verbose_name=_("completion"))
    grant = models.ForeignKey(Grant, models.CASCADE, null=True, related_name="notices", verbose_name=_("grant"))
    expires_at = models.DateTimeField(_("expires"), null=True)
    made_at = models.DateTimeField(_("made"))
    claimed_at = models.DateTimeField(_("last attempt"), null=True)
    sent_at = models.DateTimeField(_("sent"), null=True)
    attempts = models.IntegerField(_("attempts"), default=0)

    class Meta:
        verbose_name = _("mail")
        verbose_name_plural = _("mails")
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(fields=("grant", "expires_at"), name="notice_once_an_expiry"),
            models.CheckConstraint(
                condition=Q(completion__isnull=False, grant=None, expires_at=None)
                | Q(completion=None, grant__isnull=False, expires_at__isnull=False),
                name="notice_of_one_thing",
            ),
        )
        indexes = (models.Index(fields=("user", "made_at"), condition=Q(sent_at=None), name="notice_waiting"),)

    def __str__(self) -> str:
        return f"{self.user}: {self.completion or self.grant}"
