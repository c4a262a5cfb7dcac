"""What the admin of every app shares."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext

from webportal.accounts.models import User


def said_of(entry: LogEntry) -> str:
    """What an entry of the audit log says was done."""
    said = entry.get_change_message()
    return gettext(said) if said else ""  # Django's own is translated already, and in no catalogue; ours is


class Changed(admin.ModelAdmin):
    """Rows that our actions change: what their history says of those is translated too."""

    def history_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        answer = super().history_view(request, object_id, extra_context)
        if isinstance(answer, TemplateResponse) and answer.context_data:
            for entry in answer.context_data["action_list"]:
                entry.change_message = said_of(entry)
        return answer


class StaffForm(forms.ModelForm):
    """A form that offers more to some of the staff than to others."""

    staff: User | None = None
    """Who fills it in; None may do least."""


class UsesStaffForm(admin.ModelAdmin):
    form: type[StaffForm]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)  # a class of this request's own
        form.staff = request.user
        return form


class Watched(Changed):
    """Staff look at these; the machinery writes them."""

    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class WatchedInline(admin.TabularInline):
    """Rows to look at within another page."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
