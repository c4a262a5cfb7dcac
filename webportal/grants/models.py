from __future__ import annotations

from datetime import datetime, timedelta
from math import inf

from django.conf import settings
from django.db import models
from django.db.models import ExpressionWrapper, F, Q, Value
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from ftpgate.grants import GONE_AFTER
from ftpgate.tokens import GRANT_ID_LENGTH, new_grant_id
from webportal.catalogue.models import File, Item
from webportal.core import clock
from webportal.core.processes import has_ended
from webportal.grants.states import State


class GrantQuerySet(models.QuerySet["Grant"]):
    def in_state(self, state: State) -> GrantQuerySet:
        """Grants whose `present_state` is this, whether their expiry has been written down or not."""
        now = clock.expiry_time()
        if state is State.OPEN:
            return self.filter(state=State.OPEN, expires_at__gt=now)
        if state is State.EXPIRED:
            return self.filter(Q(state=State.EXPIRED) | Q(state=State.OPEN, expires_at__lte=now))
        return self.filter(state=state)


class Grant(models.Model):
    """The right of one user to fetch the items of one cart."""

    public_id = models.CharField(_("id"), max_length=GRANT_ID_LENGTH, unique=True, default=new_grant_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="grants", verbose_name=_("user"))
    state = models.CharField(_("state"), max_length=8, choices=State, default=State.OPEN)
    issued_at = models.DateTimeField(_("issued"))
    expires_at = models.DateTimeField(_("expires"))
    completed_at = models.DateTimeField(_("completed"), null=True, blank=True)
    items = models.ManyToManyField(Item, through="GrantItem", related_name="grants")

    objects = GrantQuerySet.as_manager()

    class Meta:
        verbose_name = _("grant")
        verbose_name_plural = _("grants")
        ordering = ("-issued_at", "-pk")
        constraints = (
            models.CheckConstraint(condition=Q(state__in=State.values), name="grant_state_known"),
            models.CheckConstraint(
                condition=Q(state=State.COMPLETE, completed_at__isnull=False) | (~Q(state=State.COMPLETE) & Q(completed_at=None)),
                name="grant_completed_at_when_complete",
            ),
            models.CheckConstraint(condition=Q(expires_at__gt=F("issued_at")), name="grant_expires_after_issue"),
        )
        indexes = (
            models.Index(fields=("user", "-issued_at"), name="grant_by_user"),
            models.Index(fields=("expires_at",), condition=Q(state=State.OPEN), name="grant_open_by_expiry"),
        )

    def __str__(self) -> str:
        return self.public_id

    @property
    def present_state(self) -> State:
        """The state now. Expiry counts from its second on, though it is written down only when something is changed."""
        if self.state == State.OPEN and self.expires_at <= clock.expiry_time():
            return State.EXPIRED
        return State(self.state)

    @property
    def open_until(self) -> datetime | None:
        """Until when its tokens open it, the grace of a complete one included; None when they open nothing any more."""
        state = self.present_state
        if state is State.OPEN:
            return self.expires_at
        if state is State.COMPLETE and self.completed_at is not None:
            end = self.completed_at + timedelta(seconds=settings.FTPGATE.grace)
            return end if end > clock.expiry_time() else None
        return None


class GrantItem(models.Model):
    """An item of a grant. It is complete when `webportal.history.models.Completion` has it."""

    grant = models.ForeignKey(Grant, models.CASCADE, related_name="grant_items", verbose_name=_("grant"))
    item = models.ForeignKey(Item, models.PROTECT, related_name="grant_items", verbose_name=_("item"))
    position = models.IntegerField(_("position"))

    class Meta:
        verbose_name = _("granted item")
        verbose_name_plural = _("granted items")
        ordering = ("grant", "position")
        constraints = (
            models.UniqueConstraint(fields=("grant", "item"), name="grant_item_once"),
            models.UniqueConstraint(fields=("grant", "position"), name="grant_item_position_once"),
        )

    def __str__(self) -> str:
        return str(self.item)

    @property
    def completed_at(self) -> datetime | None:
        """When it had arrived whole, or None. Select `completion` along with it."""
        completion = getattr(self, "completion", None)
        return completion.completed_at if completion else None

    @property
    def proof(self) -> str | None:
        """What its completion rests on, a `webportal.history.models.Proof`, or None. Select `completion` along with it."""
        completion = getattr(self, "completion", None)
        return completion.proof if completion else None


class MadeFor(models.TextChoices):
    """Whom a token is for where that is no browser or program with a name of its own."""

    STAFF = "staff", _("staff")
    DEVICE = "device", _("another device")


class GrantToken(models.Model):
    """One token, as its SHA-256 only. A dead one is kept, so that it is told from one that never was."""

    grant = models.ForeignKey(Grant, models.CASCADE, related_name="tokens", verbose_name=_("grant"))
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    made_for = models.CharField(_("made for"), max_length=200, blank=True, help_text=_("The browser or command it is for"))
    made_for_code = models.CharField(_("made for"), max_length=10, choices=MadeFor, default="", blank=True)
    made_at = models.DateTimeField(_("made"))
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)
    dead_at = models.DateTimeField(_("dead since"), null=True, blank=True)

    class Meta:
        verbose_name = _("token")
        verbose_name_plural = _("tokens")
        ordering = ("grant", "made_at", "pk")

    def __str__(self) -> str:
        return f"{self.grant_id}/{self.pk}"

    @property
    def shown_made_for(self) -> str:
        """Whom it is for, in the language of whoever looks; empty when that is not known."""
        return str(MadeFor(self.made_for_code).label) if self.made_for_code else self.made_for


class Coverage(models.Model):
    """What of one file has been delivered under one grant: sorted, disjoint, half-open ranges, and their total."""

    grant = models.ForeignKey(Grant, models.CASCADE, related_name="coverage", verbose_name=_("grant"))
    file = models.ForeignKey(File, models.PROTECT, related_name="coverage", verbose_name=_("file"))
    spans = models.JSONField(_("ranges"))
    covered = models.BigIntegerField(_("bytes"))

    class Meta:
        verbose_name = _("coverage")
        verbose_name_plural = _("coverage")
        constraints = (
            models.UniqueConstraint(fields=("grant", "file"), name="coverage_once_a_file"),
            models.CheckConstraint(condition=Q(covered__gte=0), name="coverage_not_negative"),
        )

    def __str__(self) -> str:
        return f"{self.file_id}: {self.covered}"


class Segment(models.Model):
    """A transfer that ended without proof of all that it sent; the fields of `ftpgate.proof.segments.Evidence`.

    Positions are bytes of the resource, `unconfirmed` holds ranges of files: `{"<file id>": [[start, end], …]}`. Bytes that
    another transfer has delivered since are in `Coverage`, which counts: readers subtract it.
    """

    grant = models.ForeignKey(Grant, models.CASCADE, related_name="segments", verbose_name=_("grant"))
    segment_id = models.CharField(_("id"), max_length=64, unique=True)
    gate = models.CharField(_("gate"), max_length=64)
    resource = models.CharField(_("resource"), max_length=40)
    start = models.BigIntegerField(_("from byte"))
    end = models.BigIntegerField(_("to byte"))
    sent = models.BigIntegerField(_("sent"))
    acknowledged = models.BigIntegerField(_("acknowledged"))
    shown = models.BigIntegerField(_("shown as read"))
    hidden_bytes = models.BigIntegerField(_("hidden"))
    credited = models.BigIntegerField(_("credited"))
    paced = models.BooleanField(_("paced"))
    exact = models.BooleanField(_("exact"))
    unconfirmed = models.JSONField(_("unconfirmed"))
    ended_at = models.DateTimeField(_("ended"))

    class Meta:
        verbose_name = _("segment")
        verbose_name_plural = _("segments")
        ordering = ("ended_at", "pk")
        constraints = (
            models.CheckConstraint(
                condition=Q(start__gte=0, credited__gte=F("start"), sent__gte=F("credited"), end__gte=F("sent")),
                name="segment_in_order",
            ),
        )
        indexes = (models.Index(fields=("grant", "resource", "ended_at"), name="segment_by_resource"),)

    def __str__(self) -> str:
        return f"{self.resource}: {self.start}-{self.sent}"


class GateState(models.TextChoices):
    """What a gate said last that it does."""

    RUNNING = "running", pgettext_lazy("gate", "running")
    DRAINING = "draining", _("draining")
    STOPPED = "stopped", _("stopped")


class GateQuerySet(models.QuerySet["Gate"]):
    def with_silence(self) -> GateQuerySet:
        """With `silence`: how long nothing was heard of a gate, by the database's clock; None for gates of earlier versions."""
        silence = ExpressionWrapper(Now() - F("heartbeat_at"), models.DurationField())
        return self.annotate(silence=silence)

    def heard(self) -> GateQuerySet:
        """Gates that run or drain, as far as their heartbeats tell: with `silence`. See also `Gate.has_ended`."""
        return self.with_silence().filter(stopped_at=None, heartbeat_at__gt=Now() - timedelta(seconds=GONE_AFTER))


class Gate(models.Model):
    """A delivery process: it runs, or drains, until `stopped_at`, or until nothing was heard of it for `GONE_AFTER` seconds.

    Addresses are `H:P`. `advertised` is protocol -> `H:P`: where its operator says that it is reached. `process` is its
    `webportal.core.processes.identity`. What has a default of the database's is left out by gates of earlier versions.
    """

    public_id = models.CharField(_("id"), max_length=64, unique=True)
    host = models.CharField(_("host"), max_length=255)
    pid = models.IntegerField(_("process"))
    process = models.CharField(max_length=160, blank=True, default="", db_default="", editable=False)
    started_at = models.DateTimeField(_("started"))
    stopped_at = models.DateTimeField(_("stopped"), null=True, blank=True)
    state = models.CharField(
        _("state"), max_length=8, choices=GateState, default=GateState.RUNNING, db_default=GateState.RUNNING.value
    )
    heartbeat_at = models.DateTimeField(_("last heard of"), null=True, blank=True)
    ftp = models.CharField("FTP", max_length=300)
    http = models.CharField("HTTP", max_length=300)
    ftps = models.CharField("FTPS", max_length=300, blank=True)
    https = models.CharField("HTTPS", max_length=300, blank=True)
    admin = models.CharField(_("control"), max_length=300)
    advertised = models.JSONField(_("advertised"), default=dict, blank=True, db_default=Value({}, models.JSONField()))
    connections = models.IntegerField(_("connections"), default=0, db_default=0)
    transfers = models.IntegerField(_("transfers"), default=0, db_default=0)
    bytes_per_s = models.BigIntegerField(_("bytes a second"), default=0, db_default=0)
    busy = models.BooleanField(_("busy"), default=False, db_default=False)

    objects = GateQuerySet.as_manager()
    silence: timedelta | None
    """As `GateQuerySet.with_silence` has it."""

    class Meta:
        verbose_name = _("gate")
        verbose_name_plural = _("gates")
        ordering = ("-started_at", "-pk")
        indexes = (models.Index(fields=("started_at",), condition=Q(stopped_at=None), name="gate_running"),)

    def __str__(self) -> str:
        return self.public_id

    @property
    def listening(self) -> dict[str, str]:
        """Where it awaits clients, by protocol."""
        found = {"ftp": self.ftp, "http": self.http, "ftps": self.ftps, "https": self.https}
        return {protocol: where for protocol, where in found.items() if where}

    @property
    def present_state(self) -> GateState | None:
        """What it does now; None when it is gone. `silence` has to be there."""
        if self.stopped_at is not None:
            return GateState.STOPPED
        return GateState(self.state) if self.silent_for < GONE_AFTER and not self.has_ended else None

    @property
    def silent_for(self) -> float:
        """Seconds since it was heard of; infinite where it never was. `silence` has to be there."""
        return inf if self.silence is None else self.silence.total_seconds()

    @property
    def has_ended(self) -> bool:
        """Has its process ended on this very machine? Told sooner than by its silence, where it can be told."""
        return has_ended(self.pid, self.process)


class GateExchange(models.Model):
    """When a gate last told the others what it does, by the database's clock, while several run (`ftpgate.gates`)."""

    gate = models.CharField(_("gate"), max_length=64, unique=True)
    number = models.BigIntegerField(_("number"))
    told_at = models.DateTimeField(_("told"))

    class Meta:
        verbose_name = _("exchange of a gate")
        verbose_name_plural = _("exchanges of gates")

    def __str__(self) -> str:
        return f"{self.gate}: {self.number}"


class GrantHold(models.Model):
    """A gate serves a grant, or did a moment ago: it may still settle the grant's segments. `shared`: so may others."""

    gate = models.CharField(_("gate"), max_length=64)
    grant = models.ForeignKey(Grant, models.CASCADE, related_name="holds", verbose_name=_("grant"))
    shared = models.BooleanField(_("shared"), default=False)

    class Meta:
        verbose_name = _("hold of a gate")
        verbose_name_plural = _("holds of gates")
        constraints = (models.UniqueConstraint(fields=("gate", "grant"), name="grant_hold_once"),)
        indexes = (models.Index(fields=("gate",), condition=Q(shared=True), name="grant_hold_shared"),)

    def __str__(self) -> str:
        return f"{self.gate}: {self.grant_id}"


class LiveSegment(models.Model):
    """A segment of a shared grant, as its gate has told of it in exchange `number`: a packed `ftpgate.gates.SegmentNews`."""

    gate = models.CharField(_("gate"), max_length=64)
    grant = models.ForeignKey(Grant, models.CASCADE, related_name="live_segments", verbose_name=_("grant"))
    segment_id = models.CharField(_("id"), max_length=64)
    number = models.BigIntegerField(_("number"))
    told = models.JSONField(_("told"))

    class Meta:
        verbose_name = _("live segment")
        verbose_name_plural = _("live segments")
        constraints = (models.UniqueConstraint(fields=("gate", "segment_id"), name="live_segment_once"),)
        indexes = (models.Index(fields=("grant", "gate", "number"), name="live_segment_news"),)

    def __str__(self) -> str:
        return f"{self.gate}: {self.segment_id}"
