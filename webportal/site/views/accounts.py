from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash, views
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import PasswordChangeForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.utils.translation import check_for_language
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods
from django.views.i18n import set_language

from webportal.accounts.models import User
from webportal.accounts.sign_ins import ask_to_unlock, end, end_others, remember_browser, sign_ins_of
from webportal.accounts.unlocking import read_link
from webportal.gateway.live import connections_of, end_connection
from webportal.site.forms import PreferencesForm
from webportal.site.requests import CustomerRequest, is_page, post_only
from webportal.site.second_step import ask_for_second_step
from webportal.two_factor.services import is_on, standing_of

MOST_SHOWN = 20
"""Sign-ins, and connections, of one customer on the page."""


@login_not_required
@post_only("catalogue")
def change_language(request: HttpRequest) -> HttpResponse:
    """The language of this browser and, when somebody is signed in, theirs: mails will be in it too."""
    response = set_language(request)
    language = request.POST.get("language", "")
    if request.user.is_authenticated and check_for_language(language) and language in dict(settings.LANGUAGES):
        User.objects.filter(pk=request.user.pk).update(language=language)
    return response


@method_decorator(login_not_required, name="dispatch")
class SignIn(views.LoginView):
    template_name = "site/accounts/sign_in.html"
    redirect_authenticated_user = True

    def form_valid(self, form: Any) -> HttpResponse:
        """Signs in, unless more than the password is asked of this user."""
        user = form.get_user()
        if is_on(user):
            return ask_for_second_step(self.request, user, self.get_success_url())
        return super().form_valid(form)

    def get_redirect_url(self, *args: Any, **kwargs: Any) -> str:
        """Where one wanted to go, if that is a page."""
        wanted = super().get_redirect_url(*args, **kwargs)
        return wanted if is_page(self.request, wanted) else ""


@login_not_required
@post_only("login")
def unlock(request: HttpRequest) -> HttpResponse:
    """Somebody who is locked out asks for a mail. What is answered does not tell whether there is such a name."""
    ask_to_unlock(request, request.POST.get("name", ""))
    return render(request, "site/accounts/unlock_asked.html")


@login_not_required
@require_http_methods(["GET"])
def unlock_link(request: HttpRequest, link: str) -> HttpResponse:
    """The link in that mail: this browser may try passwords for its reader's name, whatever others have tried."""
    user = read_link(link)
    response = redirect("login")
    if user is None:
        messages.error(request, _("This link is not valid any more."))
    else:
        messages.success(request, _("You can sign in again, in this browser."))
        remember_browser(request, response, user.get_username())
    return response


@require_http_methods(["GET", "POST"])
def account(request: CustomerRequest) -> HttpResponse:
    """Who one is, the limits of one's tier, and what one likes."""
    form = PreferencesForm(request.POST if request.method == "POST" else None, instance=request.user)
    if form.is_valid():
        form.save()
        messages.success(request, _("Saved."))
        return redirect("account")
    if form.errors:
        request.user.refresh_from_db()
    context = {
        "form": form,
        "tier": request.user.tier,
        "sign_ins": sign_ins_of(request.user)[:MOST_SHOWN],
        "own": request.session.session_key,
        "connections": connections_of(request.user)[:MOST_SHOWN],
        "two_factor": standing_of(request.user),
    }
    return render(request, "site/accounts/account.html", context, status=422 if form.errors else 200)


@post_only("account")
def end_sign_in(request: CustomerRequest, key: int) -> HttpResponse:
    """Sign a browser of one's own out from here."""
    end(request.user, key)
    return redirect("account")


@post_only("account")
def end_download(request: CustomerRequest) -> HttpResponse:
    """Cut a download of one's own, wherever it runs."""
    if end_connection(request.user, request.POST.get("connection", "")):
        messages.success(
            request, _("It is ended. A download manager may come back by itself: stop it there, or replace its links.")
        )
    else:
        messages.info(request, _("It had ended already."))
    return redirect("account")


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def change_password(request: CustomerRequest) -> HttpResponse:
    form = PasswordChangeForm(request.user, request.POST if request.method == "POST" else None)
    if form.is_valid():
        form.save()
        end_others(request.user, request.session.session_key)
        update_session_auth_hash(request, request.user)
        messages.success(request, _("Your password is changed. Other browsers have been signed out."))
        return redirect("account")
    return render(request, "site/accounts/password.html", {"form": form}, status=422 if form.errors else 200)
