from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import flatten
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, ManyToManyField, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.utils.translation import gettext, gettext_noop, ngettext, pgettext
from django.utils.translation import gettext_lazy as _

from ftpgate.settings import parse_rate
from webportal.accounts import rights
from webportal.accounts.models import Tier, User, default_tier
from webportal.accounts.services import move_to_tier
from webportal.core.formats import size
from webportal.two_factor import services as two_factor

admin.site.site_header = admin.site.site_title = "ftpgate"
admin.site.index_title = _("Staff")


SHOWN_BY_NAME = 20
"""Users that the page names before it moves them to another tier."""
MOST_RESET = 20
"""Users whose second factors are reset in one go."""


class RateField(forms.CharField):
    """Bytes a second as people write them: `512k`, `2M`, `512Ki`, `0`."""

    def prepare_value(self, value: Any) -> Any:
        """`512000` is shown as `512k`, where nothing is lost by it."""
        if not isinstance(value, int):
            return value
        for unit, bytes_ in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
            if value and not value % bytes_:
                return f"{value // bytes_}{unit}"
        return str(value)

    def to_python(self, value: Any) -> Any:
        try:
            return parse_rate(str(value))
        except ValueError:
            raise forms.ValidationError(gettext("Write a rate such as 512k, 2M or 512Ki, or 0 for no limit.")) from None


class TierForm(forms.ModelForm):
    rate = RateField(
        label=_("rate, bytes a second"), initial=0, help_text=_("Such as 512k or 2M; 0 for no limit. Running downloads follow.")
    )

    class Meta:
        model = Tier
        fields = ("name", "rate", "connections")


@admin.register(Tier)
class TierAdmin(admin.ModelAdmin):
    form = TierForm
    list_display = ("name", "shown_rate", "connections", "users")
    search_fields = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tier]:
        return Tier.objects.annotate(people=Count("users")).order_by("name")

    @admin.display(description=_("rate"), ordering="rate")
    def shown_rate(self, tier: Tier) -> str:
        return gettext("{rate}/s").format(rate=size(tier.rate)) if tier.rate else gettext("no limit")

    @admin.display(description=_("users"), ordering="people")
    def users(self, tier: Tier) -> int:
        return int(getattr(tier, "people", 0))


def right_name(right: Permission) -> str:
    """A permission by what it allows: its name in the database is English."""
    allowed = _ALLOWED.get(right.codename.partition("_")[0], right.name)
    return f"{right.content_type} | {allowed}"


_ALLOWED = {"add": _("can add"), "change": _("can change"), "delete": _("can delete"), "view": _("can view")}


class RightsField(forms.ModelMultipleChoiceField):
    def label_from_instance(self, right: Permission) -> str:
        return right_name(right)


class RightsAdmin(admin.ModelAdmin):
    """Users and groups, by the rule of `webportal.accounts.rights`: only superusers edit the fields that give rights, and who
    may not manage a row can only look at it."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or rights.may_manage(_staff(request), obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or rights.may_manage(_staff(request), obj))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if _staff(request).is_superuser else (*fields, *self._rights_fields(), "shown_rights")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if _staff(request).is_superuser:
            return fieldsets
        shown = {"permissions": "shown_rights", "user_permissions": "shown_rights"}
        return [
            (name, {**options, "fields": list(dict.fromkeys(shown.get(field, field) for field in flatten(options["fields"])))})
            for name, options in fieldsets
        ]

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        """Refuses what a list with editable columns lets through: it asks about no row and knows no read-only fields."""
        if not _staff(request).is_superuser and (
            not rights.FIELDS.isdisjoint(form.changed_data) or (change and not self.has_change_permission(request, form.instance))
        ):
            raise PermissionDenied
        return super().save_form(request, form, change)

    def response_action(self, request: HttpRequest, queryset: QuerySet, *args: Any) -> HttpResponse | None:
        """Actions get the rows that may be managed."""
        everybody = request.POST.get("select_across") == "1"
        chosen = queryset if everybody else queryset.filter(pk__in=request.POST.getlist(helpers.ACTION_CHECKBOX_NAME))
        allowed = rights.manageable(_staff(request), chosen)
        if chosen.count() != allowed.count():
            said = gettext("Some were left as they are: only superusers change them.")
            self.message_user(request, said, messages.WARNING)
            if not allowed.exists():
                return None
        return super().response_action(request, allowed, *args)

    def formfield_for_manytomany(
        self, db_field: ManyToManyField, request: HttpRequest | None = None, **kwargs: Any
    ) -> forms.ModelMultipleChoiceField | None:
        """Permissions by `RightsField`, and none of tables that have no page here."""
        if db_field.name in ("permissions", "user_permissions"):
            # Tables of "axes", which limited sign-ins in versions before 2026-12, may still be there.
            offered = Permission.objects.exclude(content_type__app_label__in=("axes", "contenttypes", "sessions", "two_factor"))
            kwargs |= {"form_class": RightsField, "queryset": offered}
        return super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[arg-type]  # Django passes None itself

    @admin.display(description=_("Rights"))
    def shown_rights(self, row: User | Group) -> str:
        own = row.permissions if isinstance(row, Group) else row.user_permissions
        return ", ".join(right_name(right) for right in own.select_related("content_type"))

    def _rights_fields(self) -> list[str]:
        return [field.name for field in (*self.opts.fields, *self.opts.many_to_many) if field.name in rights.FIELDS]


def _staff(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # the admin lets nobody else in
    return request.user


class UserCreationForm(AdminUserCreationForm):
    class Meta(AdminUserCreationForm.Meta):
        model = User
        fields = ("username", "tier")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tier"].initial = default_tier


class TierChoice(forms.Form):
    tier = forms.ModelChoiceField(Tier.objects.all(), label=_("tier"))


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(RightsAdmin, DjangoGroupAdmin):
    pass


@admin.register(User)
class UserAdmin(RightsAdmin, DjangoUserAdmin):
    add_form = UserCreationForm
    add_fieldsets = ((None, {"fields": ("username", "tier", "usable_password", "password1", "password2")}),)
    fieldsets = (
        (None, {"fields": ("username", "password", "second_factor", "tier")}),
        (_("Person"), {"fields": ("first_name", "last_name", "email", "wants_mail", "language", "time_zone")}),
        (
            _("Rights"),
            {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions"), "classes": ("collapse",)},
        ),
        (_("Dates"), {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined", "second_factor")
    list_display = ("username", "email", "tier", "is_active", "is_staff", "last_login")
    list_editable = ()
    list_filter = ("tier", "is_active", "is_staff")
    list_select_related = ("tier",)
    list_per_page = 50
    show_full_result_count = False
    actions = ("change_tier", "reset_two_factor")

    @admin.action(description=_("Move to another tier"), permissions=("change",))
    def change_tier(self, request: HttpRequest, users: QuerySet[User]) -> TemplateResponse | None:
        """First asks for the tier, then moves everybody that was chosen."""
        form = TierChoice(request.POST if "tier" in request.POST else None)
        if not form.is_valid():
            context = {
                **self.admin_site.each_context(request),
                "title": gettext("Move to another tier"),
                "form": form,
                "count": users.count(),
                "some": users[:SHOWN_BY_NAME],
                # Everybody who was filtered is told by that again, not by name: a form holds a thousand fields.
                "everybody": request.POST.get("select_across") == "1",
                "chosen": request.POST.getlist(helpers.ACTION_CHECKBOX_NAME),
                "opts": self.opts,
            }
            return render(request, "staff/change_tier.html", context)  # type: ignore[return-value]
        tier: Tier = form.cleaned_data["tier"]
        assert isinstance(request.user, User)
        with transaction.atomic():
            LogEntry.objects.log_actions(request.user.pk, users, CHANGE, [{"changed": {"fields": ["tier"]}}])
            count = move_to_tier(users, tier)
        moved = ngettext("%(count)d user is in the tier %(tier)s now.", "%(count)d users are in the tier %(tier)s now.", count)
        self.message_user(request, moved % {"count": count, "tier": tier}, messages.SUCCESS)
        return None

    @admin.action(description=_("Reset two-factor authentication"), permissions=("reset_two_factor",))
    def reset_two_factor(self, request: HttpRequest, users: QuerySet[User]) -> HttpResponse | None:
        """For who has lost everything. First asks, then removes the second factors of everybody that was chosen."""
        if "confirmed" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "title": gettext("Reset two-factor authentication"),
                "some": users[: MOST_RESET + 1],
                "most": MOST_RESET,
                "opts": self.opts,
            }
            return render(request, "staff/reset_two_factor.html", context)
        with transaction.atomic():
            reset = [user for user in users[:MOST_RESET] if two_factor.reset(user)]
            LogEntry.objects.log_actions(_staff(request).pk, reset, CHANGE, gettext_noop("two-factor authentication reset"))
        said = ngettext("Reset for %(count)d user.", "Reset for %(count)d users.", len(reset))
        self.message_user(request, said % {"count": len(reset)}, messages.SUCCESS)
        return None

    def has_reset_two_factor_permission(self, request: HttpRequest) -> bool:
        return _staff(request).is_superuser

    @admin.display(description=_("two-factor authentication"))
    def second_factor(self, user: User) -> str:
        standing = two_factor.standing_of(user)
        if not standing.is_on:
            return pgettext("two-factor", "off")
        found = [gettext("authenticator app")] if standing.authenticator else []
        return ", ".join([*found, *(passkey.name for passkey in standing.passkeys)])
