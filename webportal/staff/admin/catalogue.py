from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import models, transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop, ngettext

from webportal.accounts.models import User
from webportal.catalogue import services
from webportal.catalogue.models import File, FileReport, Item, searchable
from webportal.catalogue.pictures import MOST_BYTES, Refused, jpeg_of
from webportal.catalogue.selectors import items
from webportal.catalogue.thumbnails import LARGE, cover_name, make_thumbnail
from webportal.core.formats import length, size
from webportal.core.translatable import translated
from webportal.staff.admin.base import Changed, Watched, WatchedInline


class ShelfFilter(admin.SimpleListFilter):
    title = _("shelf")
    parameter_name = "shelf"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, Any]]:
        return [("offered", _("on offer")), ("hidden", _("off the shelf")), ("withdrawn", _("withdrawn"))]

    def queryset(self, request: HttpRequest, found: QuerySet[Item]) -> QuerySet[Item]:
        match self.value():
            case "offered":
                return found.filter(hidden_at=None, withdrawn_at=None)
            case "hidden":
                return found.exclude(hidden_at=None)
            case "withdrawn":
                return found.exclude(withdrawn_at=None)
        return found


class FileInline(WatchedInline):
    model = File
    fields = readonly_fields = ("position", "path", "title", "shown_length", "shown_size", "digest")

    @admin.display(description=_("length"))
    def shown_length(self, file: File) -> str:
        return "" if file.duration is None else length(file.duration)

    @admin.display(description=_("size"))
    def shown_size(self, file: File) -> str:
        return size(file.size)

    @admin.display(description=_("SHA-256"))
    def digest(self, file: File) -> str:
        return format_html("<code>{}</code>", bytes(file.sha256).hex())


class CoverField(forms.ImageField):
    """A picture that is looked at by its head first, and kept as the JPEG that is made of it."""

    def to_python(self, data: Any) -> Any:
        file = forms.FileField.to_python(self, data)
        if file is None:
            return None
        try:
            made = jpeg_of(file.read(MOST_BYTES + 1), LARGE)
        except Refused as error:
            raise forms.ValidationError(_capitalized(translated(error.text))) from None
        return SimpleUploadedFile(cover_name(made), made, "image/jpeg")


def _capitalized(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


@admin.register(Item)
class ItemAdmin(Changed):
    """Items come from importing folders; here their words can be corrected. What customers download keeps its names."""

    list_display = ("title", "artist", "year", "file_count", "total_size", "added_at", "on_offer")
    list_filter = (ShelfFilter, "added_at")
    fields = ("public_id", "title", "artist", "year", "cover", "folder", "source", "added_at", "hidden_at", "withdrawn_at")
    readonly_fields = ("public_id", "folder", "source", "added_at", "hidden_at", "withdrawn_at")
    actions = ("hide", "show")
    inlines = (FileInline,)
    formfield_overrides = {models.ImageField: {"form_class": CoverField}}
    search_fields = ("search",)
    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Item, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if "cover" in form.changed_data and obj.cover:
            make_thumbnail(Path(obj.cover.path))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Item]:
        return items()

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Item], search_term: str) -> tuple[QuerySet[Item], bool]:
        return super().get_search_results(request, queryset, searchable(search_term))

    @admin.action(description=_("Take off the shelf"), permissions=("change",))
    def hide(self, request: HttpRequest, chosen: QuerySet[Item]) -> None:
        count = _logged(request, chosen.filter(hidden_at=None), services.hide, gettext_noop("taken off the shelf"))
        said = ngettext("%(count)d item is off the shelf; grants that have it go on.",
                        "%(count)d items are off the shelf; grants that have them go on.", count)  # fmt: skip
        self.message_user(request, said % {"count": count}, messages.SUCCESS)

    @admin.action(description=_("Put on the shelf again"), permissions=("change",))
    def show(self, request: HttpRequest, chosen: QuerySet[Item]) -> None:
        count = _logged(request, chosen.exclude(hidden_at=None), services.show, gettext_noop("put on the shelf again"))
        said = ngettext("%(count)d item is on the shelf again.", "%(count)d items are on the shelf again.", count)
        self.message_user(request, said % {"count": count}, messages.SUCCESS)

    @admin.display(description=_("on offer"), boolean=True)
    def on_offer(self, item: Item) -> bool:
        return item.on_offer

    @admin.display(description=_("files"), ordering="file_count")
    def file_count(self, item: Item) -> int:
        return int(getattr(item, "file_count", 0))

    @admin.display(description=_("size"), ordering="total_bytes")
    def total_size(self, item: Item) -> str:
        return size(getattr(item, "total_bytes", None) or 0)


def _logged(request: HttpRequest, chosen: QuerySet[Item], change: Callable[[QuerySet[Item]], int], done: str) -> int:
    """Change these items, with an entry in the audit log for each of them; returns how many they were."""
    assert isinstance(request.user, User)  # the admin lets nobody else in
    with transaction.atomic():
        LogEntry.objects.log_actions(request.user.pk, chosen, CHANGE, done)
        return change(Item.objects.filter(pk__in=chosen.order_by().values("pk")))


@admin.register(FileReport)
class FileReportAdmin(Watched):
    """Files that are refused because they are not on disk as they were imported."""

    list_display = fields = ("file", "item", "shown_reason", "reported_at")
    list_select_related = ("file__item",)

    @admin.display(description=_("item"))
    def item(self, report: FileReport) -> str:
        return str(report.file.item)

    @admin.display(description=_("reason"), ordering="reason_code")
    def shown_reason(self, report: FileReport) -> str:
        return translated(report.reason)
