from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, gettext_noop, ngettext
from django.utils.translation import gettext_lazy as _

from webportal.accounts.models import default_tier
from webportal.shops import services
from webportal.shops.models import ApiKey, Scope, Shop, ShopUser
from webportal.staff.admin.base import Changed, StaffForm, UsesStaffForm, Watched, WatchedInline
from webportal.staff.secrets_shown import shown_once


class KeyInline(WatchedInline):
    model = ApiKey
    fields = readonly_fields = ("public_id", "label", "scopes", "made_at", "last_used_at", "revoked_at")


@admin.register(Shop)
class ShopAdmin(admin.ModelAdmin):
    """Other shops. One is never deleted: its customers' grants and receipts stay; revoke its keys."""

    list_display = ("name", "tier", "customers", "made_at")
    list_select_related = ("tier",)
    fields = ("name", "tier", "origins")
    search_fields = ("name",)
    inlines = (KeyInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Shop]:
        return Shop.objects.annotate(people=Count("users")).order_by("name")

    def get_readonly_fields(self, request: HttpRequest, obj: Shop | None = None) -> tuple[str, ...]:
        return () if obj is None else ("name",)  # its customers' names here begin with it

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"tier": default_tier().pk}

    def has_delete_permission(self, request: HttpRequest, obj: Shop | None = None) -> bool:
        return False

    @admin.display(description=_("customers"), ordering="people")
    def customers(self, shop: Shop) -> int:
        return int(getattr(shop, "people", 0))


@admin.register(ShopUser)
class ShopUserAdmin(Watched):
    list_display = ("reference", "shop", "user")
    list_select_related = ("shop", "user")
    list_filter = ("shop",)
    search_fields = ("reference", "user__username")


_NEEDED: dict[Scope, tuple[str, ...]] = {
    Scope.ITEMS_READ: (),  # every customer sees the catalogue
    Scope.GRANTS_READ: ("grants.view_grant", "history.view_transfer"),
    Scope.GRANTS_WRITE: ("grants.add_grant", "grants.change_grant"),
    Scope.RECEIPTS_READ: ("history.view_completion",),
    Scope.WEBHOOKS_WRITE: ("webhooks.add_endpoint", "webhooks.change_endpoint", "webhooks.delete_endpoint"),
}
"""What somebody has to be allowed here to give a key the scope: whoever makes a key can use it."""


class KeyForm(StaffForm):
    scopes = forms.MultipleChoiceField(
        label=_("may"), widget=forms.CheckboxSelectMultiple, help_text=_("What you may not do yourself is not offered.")
    )

    class Meta:
        model = ApiKey
        fields = ("shop", "label", "scopes")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered = [scope for scope in Scope if self.staff is not None and self.staff.has_perms(_NEEDED[scope])]
        self.fields["scopes"].choices = [(scope.value, scope.label) for scope in offered]  # type: ignore[attr-defined]


@admin.register(ApiKey)
class ApiKeyAdmin(UsesStaffForm, Changed):
    """Keys are made here or by `ftpgate manage api_key`, shown once, and revoked; nothing else of them can be changed."""

    form = KeyForm
    list_display = ("public_id", "shop", "label", "shown_scopes", "made_at", "last_used_at", "revoked_at")
    list_select_related = ("shop",)
    list_filter = ("shop", "revoked_at")
    search_fields = ("public_id", "label", "shop__name")
    actions = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("shop", "label", "scopes")
        return ("public_id", "shop", "label", "shown_scopes", "made_at", "last_used_at", "revoked_at")

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """May this member of staff revoke keys? (The fields themselves are never edited.)"""
        return request.user.has_perm("api.change_apikey")

    def save_model(self, request: HttpRequest, obj: ApiKey, form: forms.ModelForm, change: bool) -> None:
        secret = services.give_key(obj, form.cleaned_data["scopes"])
        request.new_key = secret  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        title = gettext("Key of the shop %(shop)s") % {"shop": obj.shop}
        return shown_once(request, obj, title, gettext("API key"), request.new_key)  # type: ignore[attr-defined]

    @admin.display(description=_("may"))
    def shown_scopes(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @admin.action(description=_("Revoke: the keys open nothing any more"), permissions=("revoke",))
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        chosen = list(keys)
        with transaction.atomic():
            for key in chosen:
                services.revoke_key(key)
                self.log_change(request, key, gettext_noop("revoked"))
        done = ngettext("%(count)d key is revoked.", "%(count)d keys are revoked.", len(chosen))
        self.message_user(request, done % {"count": len(chosen)}, messages.SUCCESS)
