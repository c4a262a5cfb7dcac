from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from webportal.core.formats import size
from webportal.history.models import Completion, Transfer
from webportal.staff.admin.base import Watched, said_of


@admin.register(Completion)
class CompletionAdmin(Watched):
    list_display = ("item", "user", "grant", "completed_at", "proof")
    list_filter = ("proof", "completed_at")
    list_select_related = ("grant_item__item", "grant_item__grant__user")
    search_fields = (
        "grant_item__grant__public_id",
        "grant_item__grant__user__username",
        "grant_item__grant__user__shop_user__reference",
        "grant_item__item__search",
    )
    date_hierarchy = "completed_at"

    @admin.display(description=_("item"))
    def item(self, completion: Completion) -> str:
        return str(completion.grant_item.item)

    @admin.display(description=_("user"))
    def user(self, completion: Completion) -> str:
        return completion.grant_item.grant.user.get_username()

    @admin.display(description=_("grant"))
    def grant(self, completion: Completion) -> str:
        return completion.grant_item.grant.public_id


@admin.register(Transfer)
class TransferAdmin(Watched):
    list_display = ("path", "grant", "protocol", "peer", "client", "number", "delivered_size", "outcome", "ended_at")
    list_filter = ("outcome", "protocol", "ended_at")
    list_select_related = ("grant",)
    search_fields = (
        "grant__public_id", "grant__user__username", "grant__user__shop_user__reference", "path", "peer", "client",
    )  # fmt: skip

    @admin.display(description=_("delivered"), ordering="delivered")
    def delivered_size(self, transfer: Transfer) -> str:
        return size(transfer.delivered)


@admin.register(LogEntry)
class AuditAdmin(Watched):
    """What staff have done: by forms, as Django writes it down, and by actions, as ours do, each in its own transaction; and
    what customers have completed by their word."""

    list_display = ("action_time", "user", "changed", "said", "content_type")
    list_display_links = ("action_time",)
    list_filter = (
        "action_time",
        "action_flag",
        ("user", admin.RelatedOnlyFieldListFilter),
        ("content_type", admin.RelatedOnlyFieldListFilter),
    )
    list_select_related = ("user", "content_type")
    search_fields = ("user__username", "object_repr", "change_message")
    fields = ("action_time", "user", "action_flag", "content_type", "changed", "said")
    date_hierarchy = "action_time"

    @admin.display(description=_("object"), ordering="object_repr")
    def changed(self, entry: LogEntry) -> str:
        """With the way to it, as far as it has a page and was not deleted."""
        address = None if entry.is_deletion() else entry.get_admin_url()
        return format_html('<a href="{}">{}</a>', address, entry.object_repr) if address else entry.object_repr

    @admin.display(description=_("what"))
    def said(self, entry: LogEntry) -> str:
        return said_of(entry)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> LogEntry | None:
        """For the page of one entry, whose title says what was done."""
        entry = super().get_object(request, object_id, from_field)
        if entry is not None:
            entry.change_message = said_of(entry)
        return entry
