from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import Count, ManyToManyField, QuerySet
from django.http import HttpRequest
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ftpgate.settings import parse_rate
from webportal.accounts.models import Tier, User, default_tier
from webportal.accounts.services import move_to_tier
from webportal.pages.formats import size

admin.site.site_header = admin.site.site_title = "ftpgate"
admin.site.index_title = _("Staff")


SHOWN_BY_NAME = 20


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


class RightsField(forms.ModelMultipleChoiceField):
    """Permissions by what they allow: their names in the database are English."""

    _ALLOWED = {"add": _("can add"), "change": _("can change"), "delete": _("can delete"), "view": _("can view")}

    def label_from_instance(self, right: Permission) -> str:
        allowed = self._ALLOWED.get(right.codename.partition("_")[0], right.name)
        return f"{right.content_type} | {allowed}"


class GivesRights(admin.ModelAdmin):
    """Offers permissions by that field, and none of tables that have no page here."""

    def formfield_for_manytomany(
        self, db_field: ManyToManyField, request: HttpRequest | None = None, **kwargs: Any
    ) -> forms.ModelMultipleChoiceField | None:
        if db_field.name in ("permissions", "user_permissions"):
            rights = Permission.objects.exclude(content_type__app_label__in=("axes", "contenttypes", "sessions"))
            kwargs |= {"form_class": RightsField, "queryset": rights}
        return super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[arg-type]  # Django passes None itself


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
class GroupAdmin(GivesRights, DjangoGroupAdmin):
    pass


@admin.register(User)
class UserAdmin(GivesRights, DjangoUserAdmin):
    add_form = UserCreationForm
    add_fieldsets = ((None, {"fields": ("username", "tier", "usable_password", "password1", "password2")}),)
    fieldsets = (
        (None, {"fields": ("username", "password", "tier")}),
        (_("Person"), {"fields": ("first_name", "last_name", "email", "wants_mail", "language", "time_zone")}),
        (
            _("Rights"),
            {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions"), "classes": ("collapse",)},
        ),
        (_("Dates"), {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")
    list_display = ("username", "email", "tier", "is_active", "is_staff", "last_login")
    list_editable = ()
    list_filter = ("tier", "is_active", "is_staff")
    list_select_related = ("tier",)
    list_per_page = 50
    show_full_result_count = False
    actions = ("change_tier",)

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
            return render(request, "admin/accounts/change_tier.html", context)  # type: ignore[return-value]
        tier: Tier = form.cleaned_data["tier"]
        assert isinstance(request.user, User)
        with transaction.atomic():
            LogEntry.objects.log_actions(request.user.pk, users, CHANGE, [{"changed": {"fields": ["tier"]}}])
            count = move_to_tier(users, tier)
        moved = ngettext("%(count)d user is in the tier %(tier)s now.", "%(count)d users are in the tier %(tier)s now.", count)
        self.message_user(request, moved % {"count": count, "tier": tier}, messages.SUCCESS)
        return None
