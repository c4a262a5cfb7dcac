from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _

from webportal.site.views.accounts import SignIn


@method_decorator(login_not_required, name="dispatch")
class StaffSignIn(SignIn):
    """The admin's page for signing in, which asks for the second factor as the shop's does."""

    authentication_form = AdminAuthenticationForm
    template_name = "admin/login.html"
    redirect_authenticated_user = False  # a customer may want to sign in as somebody else

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase | HttpResponseRedirect:
        if request.method == "GET" and admin.site.has_permission(request):
            return redirect("admin:index")
        return super().dispatch(request, *args, **kwargs)

    def get_default_redirect_url(self) -> str:
        return reverse("admin:index")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {
            **admin.site.each_context(self.request),
            "title": _("Sign in"),
            "subtitle": None,
            "app_path": self.request.get_full_path(),
            "username": self.request.user.get_username(),
            REDIRECT_FIELD_NAME: self.get_success_url(),
        }
