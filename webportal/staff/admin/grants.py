from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext, gettext_noop, ngettext
from django.utils.translation import gettext_lazy as _

from ftpgate.tokens import Token
from webportal.core import clock
from webportal.core.errors import GrantError
from webportal.core.formats import percent, size
from webportal.fulfilment import services
from webportal.grants import selectors
from webportal.grants.models import Gate, GateState, Grant, GrantItem, GrantToken, MadeFor
from webportal.grants.states import State
from webportal.history.models import Completion, Proof
from webportal.site.presenters import Ways
from webportal.site.requests import not_stored
from webportal.staff.admin.base import Watched, WatchedInline
from webportal.staff.hints import for_staff


class StateFilter(admin.SimpleListFilter):
    """By the state now, whether an expiry has been written down or not."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [(state.value, str(state.label)) for state in State]

    def queryset(self, request: HttpRequest, grants: QuerySet[Grant]) -> QuerySet[Grant]:
        wanted = self.value() or ""
        known = wanted in State.values
        return (
            Grant.objects.filter(pk__in=grants.values("pk")).filter(pk__in=Grant.objects.in_state(State(wanted)))
            if known
            else grants
        )


class ByWordFilter(admin.SimpleListFilter):
    """Grants with an item that is complete by its customer's word."""

    title = _("proof")
    parameter_name = "proof"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [(Proof.CUSTOMER.value, str(Proof.CUSTOMER.label))]

    def queryset(self, request: HttpRequest, grants: QuerySet[Grant]) -> QuerySet[Grant]:
        return grants.filter(_completed_by_word()) if self.value() == Proof.CUSTOMER else grants


def _completed_by_word() -> Exists:
    return Exists(Completion.objects.filter(grant_item__grant=OuterRef("pk"), proof=Proof.CUSTOMER))


class GrantItemInline(WatchedInline):
    model = GrantItem
    fields = readonly_fields = ("position", "item", "completed", "proof")

    def get_queryset(self, request: HttpRequest) -> QuerySet[GrantItem]:
        return super().get_queryset(request).select_related("item", "completion")

    @admin.display(description=_("completed"))
    def completed(self, entry: GrantItem) -> str:
        return "" if entry.completed_at is None else date_format(timezone.localtime(entry.completed_at), "SHORT_DATETIME_FORMAT")

    @admin.display(description=_("proof"))
    def proof(self, entry: GrantItem) -> str:
        return "" if entry.proof is None else str(Proof(entry.proof).label)


class TokenInline(WatchedInline):
    model = GrantToken
    fields = readonly_fields = ("shown_made_for", "made_at", "last_used_at", "dead_at")

    @admin.display(description=_("made for"))
    def shown_made_for(self, token: GrantToken) -> str:
        return token.shown_made_for


@admin.register(Grant)
class GrantAdmin(Watched):
    """Grants are made by check-out and by the actions here; their secrets are never shown again."""

    list_display = ("public_id", "user", "shown_state", "by_word", "progress", "issued_at", "expires_at")
    list_filter = (StateFilter, ByWordFilter, "issued_at")
    list_select_related = ("user",)
    search_fields = ("public_id", "user__username", "user__shop_user__reference", "items__search")
    fields = ("public_id", "user", "shown_state", "progress", "issued_at", "expires_at", "completed_at")
    inlines = (GrantItemInline, TokenInline)
    actions = ("renew", "new_token", "issue_again", "revoke")
    date_hierarchy = "issued_at"
    change_form_template = "staff/grant.html"

    @admin.display(description=_("state"))
    def shown_state(self, grant: Grant) -> str:
        return str(grant.present_state.label)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Grant]:
        grants: QuerySet[Grant] = super().get_queryset(request)
        return grants.annotate(completed_by_word=_completed_by_word())

    @admin.display(description=Proof.CUSTOMER.label, boolean=True, ordering="completed_by_word")
    def by_word(self, grant: Grant) -> bool:
        """Is something of it complete, confirmed by the customer?"""
        return bool(getattr(grant, "completed_by_word", False))

    @admin.display(description=_("arrived"))
    def progress(self, grant: Grant) -> str:
        found = selectors.progress([grant])[grant.public_id]
        return f"{percent(found.delivered, found.size)}\N{NO-BREAK SPACE}% · {size(found.delivered)} / {size(found.size)}"

    def has_change_grant_permission(self, request: HttpRequest) -> bool:
        """May this member of staff use the actions? (The fields themselves are never edited.)"""
        return request.user.has_perm("grants.change_grant")

    @admin.action(description=_("Revoke: end the links and running downloads for good"), permissions=("change_grant",))
    def revoke(self, request: HttpRequest, grants: QuerySet[Grant]) -> None:
        self._each(request, grants, gettext_noop("revoked"), services.revoke_grant)

    @admin.action(description=_("Renew: open the links again, or for longer"), permissions=("change_grant",))
    def renew(self, request: HttpRequest, grants: QuerySet[Grant]) -> None:
        expires_at = clock.now() + timedelta(seconds=settings.FTPGATE.expires)
        self._each(request, grants, gettext_noop("renewed"), lambda grant: services.renew_grant(grant, expires_at=expires_at))

    @admin.action(description=_("New token: more links of the same grant, shown once"), permissions=("change_grant",))
    def new_token(self, request: HttpRequest, grants: QuerySet[Grant]) -> HttpResponse | None:
        grant = self._one(request, grants)
        if grant is None:
            return None
        try:
            with transaction.atomic():
                token = services.add_token(grant, made_for=MadeFor.STAFF)
                self.log_change(request, grant, gettext_noop("new token"))
        except GrantError as error:
            self._refused(request, error)
            return None
        return self._shown_once(request, grant, token)

    @admin.action(description=_("Issue again: a new grant of the same items"), permissions=("change_grant",))
    def issue_again(self, request: HttpRequest, grants: QuerySet[Grant]) -> HttpResponse | None:
        grant = self._one(request, grants)
        if grant is None:
            return None
        items = [entry.item for entry in GrantItem.objects.filter(grant=grant).select_related("item").order_by("position")]
        expires_at = clock.now() + timedelta(seconds=settings.FTPGATE.expires)
        try:
            with transaction.atomic():
                again, token = services.issue_grant(grant.user, items, expires_at=expires_at, made_for=MadeFor.STAFF)
                self.log_change(request, grant, [{"added": {"name": gettext_noop("grant"), "object": again.public_id}}])
                self.log_addition(request, again, gettext_noop("issued again"))
        except GrantError as error:
            self._refused(request, error)
            return None
        return self._shown_once(request, again, token)

    def _each(self, request: HttpRequest, grants: QuerySet[Grant], what: str, change: Callable[[Grant], object]) -> None:
        done = 0
        for grant in grants:
            try:
                with transaction.atomic():
                    change(grant)
                    self.log_change(request, grant, what)
            except GrantError as error:
                self._refused(request, error)
            else:
                done += 1
        if done:
            changed = ngettext("%(count)d grant was changed.", "%(count)d grants were changed.", done)
            self.message_user(request, changed % {"count": done}, messages.SUCCESS)

    def _one(self, request: HttpRequest, grants: QuerySet[Grant]) -> Grant | None:
        chosen = list(grants[:2])
        if len(chosen) == 1:
            return chosen[0]
        self.message_user(request, gettext("Choose one grant: its links are shown once."), messages.WARNING)
        return None

    def _refused(self, request: HttpRequest, error: GrantError) -> None:
        text = gettext("Nothing was changed: %(reason)s.") % {"reason": for_staff(error.text)}
        self.message_user(request, text, messages.WARNING)

    def _shown_once(self, request: HttpRequest, grant: Grant, token: Token) -> HttpResponse:
        """The links in this very answer: kept in no message, session or log."""
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Links of the grant %(grant)s") % {"grant": grant},
            "opts": self.opts,
            "grant": grant,
            "ways": Ways.of(token, grant.user.get_username(), selectors.details(grant)),
            "token": token.reveal(),
        }
        return not_stored(render(request, "staff/links.html", context))


class GateFilter(admin.SimpleListFilter):
    """By what a gate does now; one that is gone has said nothing."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [*((state.value, str(state.label)) for state in GateState), ("gone", gettext("gone"))]

    def queryset(self, request: HttpRequest, gates: QuerySet[Gate]) -> QuerySet[Gate]:
        heard = Gate.objects.heard().values("pk")
        match self.value():
            case GateState.STOPPED:
                return gates.exclude(stopped_at=None)
            case "gone":
                return gates.filter(stopped_at=None).exclude(pk__in=heard)
            case GateState.RUNNING | GateState.DRAINING as state:
                return gates.filter(pk__in=heard, state=state)
        return gates


@admin.register(Gate)
class GateAdmin(Watched):
    list_display = ("public_id", "host", "shown_state", "heard_of", "connections", "transfers", "rate", "http", "started_at")
    list_filter = (GateFilter, "started_at")
    search_fields = ("public_id", "host")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Gate]:
        return Gate.objects.with_silence()

    @admin.display(description=_("state"))
    def shown_state(self, gate: Gate) -> str:
        state = gate.present_state
        return gettext("gone") if state is None else str(state.label)

    @admin.display(description=_("last heard of"), ordering="heartbeat_at")
    def heard_of(self, gate: Gate) -> str:
        if gate.heartbeat_at is None or gate.stopped_at is not None:
            return ""
        return gettext("{seconds} s ago").format(seconds=round(gate.silent_for))

    @admin.display(description=_("rate"), ordering="bytes_per_s")
    def rate(self, gate: Gate) -> str:
        return gettext("{rate}/s").format(rate=size(gate.bytes_per_s)) if gate.present_state in _AT_WORK else ""


_AT_WORK = (GateState.RUNNING, GateState.DRAINING)
