from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, gettext_noop, ngettext
from django.utils.translation import gettext_lazy as _

from webportal.core.errors import EndpointError
from webportal.staff.admin.base import Changed, StaffForm, UsesStaffForm, Watched, WatchedInline
from webportal.staff.hints import for_staff
from webportal.staff.secrets_shown import shown_once
from webportal.webhooks import selectors, services
from webportal.webhooks.guard import target
from webportal.webhooks.models import Delivery, Endpoint, Event, EventType


class EndpointForm(StaffForm):
    """Only superusers let an endpoint reach internal addresses. With another address given by others, that ends."""

    event_types = forms.MultipleChoiceField(label=_("hears of"), choices=EventType.choices, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = Endpoint
        fields = ("shop", "url", "event_types", "active", "allow_internal")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self._by_superuser and "allow_internal" in self.fields:
            self.fields["allow_internal"].disabled = True
            self.fields["allow_internal"].help_text = _("Only superusers allow this. It ends with another address.")

    @property
    def _by_superuser(self) -> bool:
        return self.staff is not None and self.staff.is_superuser

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self._by_superuser and "url" in self.changed_data:
            cleaned["allow_internal"] = False
        if cleaned.get("url"):
            try:
                target(cleaned["url"], allow_internal=bool(cleaned.get("allow_internal")))
            except EndpointError as error:
                self.add_error("url", for_staff(error.text))
        return cleaned


@admin.register(Endpoint)
class EndpointAdmin(UsesStaffForm, Changed):
    """Where shops hear of their grants. Only here, by superusers, and on the command line may an endpoint be internal."""

    form = EndpointForm
    list_display = ("url", "shop", "active", "allow_internal", "shown_waiting", "shown_failed", "failures", "attempted_at")
    list_select_related = ("shop",)
    list_filter = ("active", "allow_internal", "shop")
    search_fields = ("url", "public_id", "shop__name")
    actions = ("replace_secret",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Endpoint]:
        return selectors.endpoints()

    def get_readonly_fields(self, request: HttpRequest, obj: Endpoint | None = None) -> tuple[str, ...]:
        return () if obj is None else ("shop",)

    def save_model(self, request: HttpRequest, obj: Endpoint, form: forms.ModelForm, change: bool) -> None:
        if change:
            services.store_change(obj)
        else:
            request.new_secret = services.store_endpoint(obj)  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: Endpoint, post_url_continue: str | None = None) -> HttpResponse:
        return self._shown(request, obj, request.new_secret)  # type: ignore[attr-defined]

    def get_deleted_objects(
        self, objs: Sequence[Endpoint] | QuerySet[Endpoint], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Deliveries go with their endpoint, though nobody may delete one alone."""
        rows, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return rows, counts, lacking - {str(Delivery._meta.verbose_name)}, protected

    @admin.display(description=_("waiting"), ordering="waiting")
    def shown_waiting(self, endpoint: Endpoint) -> int:
        return int(getattr(endpoint, "waiting", 0))

    @admin.display(description=_("failed"), ordering="failed")
    def shown_failed(self, endpoint: Endpoint) -> int:
        return int(getattr(endpoint, "failed", 0))

    @admin.action(description=_("New secret, shown once; the old one signs along for a day"), permissions=("change",))
    def replace_secret(self, request: HttpRequest, endpoints: QuerySet[Endpoint]) -> HttpResponse | None:
        chosen = list(endpoints[:2])
        if len(chosen) != 1:
            self.message_user(request, gettext("Choose one endpoint: its secret is shown once."), messages.WARNING)
            return None
        with transaction.atomic():
            secret = services.replace_secret(chosen[0])
            self.log_change(request, chosen[0], gettext_noop("new secret"))
        return self._shown(request, chosen[0], secret)

    def _shown(self, request: HttpRequest, endpoint: Endpoint, secret: str) -> HttpResponse:
        title = gettext("Secret of an endpoint of the shop %(shop)s") % {"shop": endpoint.shop}
        return shown_once(request, endpoint, title, gettext("Secret"), secret)


class ShowsAnswer:
    """What was answered, in the language of whoever looks."""

    @admin.display(description=_("answer"))
    def shown_answer(self, delivery: Delivery) -> str:
        return delivery.shown_answer


class DeliveryInline(ShowsAnswer, WatchedInline):
    model = Delivery
    fields = readonly_fields = ("endpoint", "state", "attempts", "attempted_at", "next_at", "status", "shown_answer")


class SendsAgain(Watched):
    """With the action that sends again what its subclass says belongs to the chosen rows."""

    actions = ("send_again",)

    def deliveries(self, chosen: QuerySet[Any]) -> QuerySet[Delivery]:
        raise NotImplementedError

    def has_send_permission(self, request: HttpRequest) -> bool:
        """May this member of staff send again? (The rows themselves are never edited.)"""
        return request.user.has_perm("webhooks.change_delivery")

    @admin.action(description=_("Send again, under the same event id"), permissions=("send",))
    def send_again(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        rows = list(chosen)
        with transaction.atomic():
            count = services.send_again(self.deliveries(chosen))
            for row in rows:
                self.log_change(request, row, gettext_noop("sent again"))
        sent = ngettext("%(count)d delivery is on its way again.", "%(count)d deliveries are on their way again.", count)
        self.message_user(request, sent % {"count": count}, messages.SUCCESS)


@admin.register(Event)
class EventAdmin(SendsAgain):
    list_display = ("public_id", "type", "shop", "grant", "made_at")
    list_filter = ("type", "shop", "made_at")
    list_select_related = ("shop",)
    search_fields = ("public_id", "grant")
    inlines = (DeliveryInline,)
    date_hierarchy = "made_at"

    def deliveries(self, chosen: QuerySet[Event]) -> QuerySet[Delivery]:
        return Delivery.objects.filter(event__in=chosen.values("pk"))


@admin.register(Delivery)
class DeliveryAdmin(ShowsAnswer, SendsAgain):
    list_display = ("event", "event_type", "endpoint", "state", "attempts", "attempted_at", "next_at", "status")
    list_filter = ("state", "event__type", "endpoint__shop")
    list_select_related = ("event", "endpoint")
    search_fields = ("event__public_id", "event__grant", "endpoint__url")
    fields = (
        "event", "endpoint", "state", "attempts", "next_at", "attempted_at", "give_up_at", "status", "shown_answer",
    )  # fmt: skip

    def deliveries(self, chosen: QuerySet[Delivery]) -> QuerySet[Delivery]:
        return chosen

    @admin.display(description=_("type"), ordering="event__type")
    def event_type(self, delivery: Delivery) -> str:
        return str(EventType(delivery.event.type).label)
