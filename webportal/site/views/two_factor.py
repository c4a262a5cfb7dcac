"""Two-factor authentication: its pages of the account, and the step of a sign-in behind the password."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import django_otp
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods
from django_otp.models import Device

from webportal.accounts.sign_ins import begin_attempt, end_attempt, end_others, gave_password_lately, note_password
from webportal.core import sealing
from webportal.core.browsers import browser_name
from webportal.site.forms import CodeForm, OwnPasswordForm, PasskeyNameForm, RecoveryCodeForm
from webportal.site.requests import CustomerRequest, not_stored, verified
from webportal.site.second_step import complete, pending_sign_in
from webportal.two_factor import passkeys, services
from webportal.two_factor.models import Authenticator, Passkey, RecoveryCodes

_QUESTION, _NEW_KEY = "passkey_question", "authenticator_key"
"""In the session: what a passkey has to answer; the key of an app that is being set up, sealed."""


# ------------------------------------------------------------------------------------------------ signing in
@login_not_required
@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "POST"])
def second_step(request: HttpRequest) -> HttpResponse:
    """Asks for what the user has set up, and signs them in."""
    pending = pending_sign_in(request)
    if pending is None:
        if request.method == "POST":
            messages.info(request, _("That took too long. Please sign in again."))
        return redirect("login")
    standing = services.standing_of(pending.user)
    codes, recovery = CodeForm(), RecoveryCodeForm()
    wrong = ""
    if request.method == "POST":
        if not begin_attempt(request, pending.user.get_username(), code="credential" not in request.POST):
            return HttpResponse(status=429)
        if "credential" in request.POST:
            device, wrong = _passkey_of(request, pending.user), _("The passkey was not accepted.")
        elif "recovery_code" in request.POST:
            recovery = RecoveryCodeForm(request.POST)
            wrong = _("That is not one of your unused recovery codes.")
            device = _right(recovery, "recovery_code", lambda code: services.check_recovery_code(pending.user, code), wrong)
        else:
            codes = CodeForm(request.POST)
            wrong = _("That code is not right, or was used already. Wait for the next one.")
            device = _right(codes, "code", lambda code: services.check_code(pending.user, code), wrong)
        if device is not None:
            _tell_what_is_left(request, device)
            return complete(request, pending, device)
        end_attempt(request, right=False, by="code")
    question = passkeys.ask_for_known(pending.user, _host(request)) if standing.passkeys else None
    _remember(request, question)
    context = {
        "name": pending.user.get_username(),
        "standing": standing,
        "codes": codes,
        "recovery": recovery,
        "question": question and question.options,
        "refused": wrong if "credential" in request.POST else "",
        "elsewhere": standing.passkeys and question is None,
    }
    return not_stored(render(request, "site/two_factor/second_step.html", context, status=422 if wrong else 200))


# ------------------------------------------------------------------------------------------------ the account's pages
@require_http_methods(["GET"])
def overview(request: CustomerRequest) -> HttpResponse:
    """What is set up, and what can be."""
    standing = services.standing_of(request.user)
    context = {
        "standing": standing,
        "required": request.user.is_staff and not standing.is_on and settings.FTPGATE.staff_two_factor == "require",
        "passkeys_possible": passkeys.possible(_host(request)),
        "more_passkeys": len(standing.passkeys) < passkeys.MOST_PASSKEYS,
    }
    return render(request, "site/two_factor/overview.html", context)


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def set_up_app(request: CustomerRequest) -> HttpResponse:
    """Shows a new key, and keeps it when the app has computed a code with it."""
    if not gave_password_lately(request):
        return _ask_password_first(request)
    key = _key_in_progress(request) if request.method == "POST" else None
    form = CodeForm(request.POST if key else None)
    if key and form.is_valid():
        was_on = services.is_on(request.user)
        device = services.set_up_authenticator(request.user, key, form.cleaned_data["code"])
        if device is not None:
            del request.session[_NEW_KEY]
            messages.success(request, _("Your authenticator app is set up."))
            return _turned_on(request, device, was_on=was_on)
        form.add_error("code", _("That code is not right. Check the clock of your device."))
    if key is None:
        key = services.new_key()
        request.session[_NEW_KEY] = sealing.seal(_NEW_KEY, key.hex())
    context = {
        "form": form,
        "key": services.key_text(key),
        "address": services.key_address(key, request.user, _host(request)),
    }
    return not_stored(render(request, "site/two_factor/app.html", context, status=422 if form.errors else 200))


@require_http_methods(["GET", "POST"])
def add_passkey(request: CustomerRequest) -> HttpResponse:
    """Has the browser make a passkey, and keeps its public key."""
    if not gave_password_lately(request):
        return _ask_password_first(request)
    host = _host(request)
    form = PasskeyNameForm(
        request.POST if request.method == "POST" else None,
        initial={"name": browser_name(request.headers.get("User-Agent", ""))},
    )
    if form.is_valid():
        was_on = services.is_on(request.user)
        try:
            device = passkeys.register(
                request.user, host, _answered(request), request.POST.get("credential", ""), form.cleaned_data["name"]
            )
        except passkeys.Refused:
            form.add_error(None, _("The passkey was not accepted."))
        else:
            messages.success(request, _("Your passkey is set up."))
            return _turned_on(request, device, was_on=was_on)
    question = passkeys.ask_for_new(request.user, host) if passkeys.possible(host) else None
    _remember(request, question)
    context = {"form": form, "question": question and question.options}
    return not_stored(render(request, "site/two_factor/passkey.html", context, status=422 if form.errors else 200))


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def new_codes(request: CustomerRequest) -> HttpResponse:
    """Recovery codes in the place of the earlier ones."""
    if not services.is_on(request.user):
        return redirect("two-factor")
    return _with_password(
        request,
        lambda: _codes_page(request, services.make_recovery_codes(request.user)),
        title=_("New recovery codes"),
        text=_("The earlier ones will stop working."),
        button=_("Make new codes"),
    )


def remove_app(request: CustomerRequest) -> HttpResponse:
    return _remove(request, get_object_or_404(Authenticator, user=request.user), _("Remove the authenticator app"))


def remove_passkey(request: CustomerRequest, key: int) -> HttpResponse:
    device = get_object_or_404(Passkey, user=request.user, pk=key)
    return _remove(request, device, _("Remove the passkey “%(name)s”") % {"name": device.name})


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def _remove(request: CustomerRequest, device: Authenticator | Passkey, title: str) -> HttpResponse:
    def removed() -> HttpResponse:
        services.remove(request.user, device)
        left = services.standing_of(request.user)
        if left.is_on and not verified(request):  # by the removed one, until now
            django_otp.login(request, left.authenticator or left.passkeys[0])
        messages.success(request, _("It is removed."))
        return redirect("two-factor")

    standing = services.standing_of(request.user)
    last = len(standing.passkeys) + (standing.authenticator is not None) == 1
    text = _("It is the last one: from then on your password alone is asked for.") if last else ""
    return _with_password(request, removed, title=title, text=text, button=_("Remove"))


# ------------------------------------------------------------------------------------------------ parts
def _ask_password_first(request: CustomerRequest) -> HttpResponse:
    """Or whoever finds a browser signed in could lock its user out by a factor of their own."""
    text = _("Your sign-in was a while ago.")
    return _with_password(
        request, lambda: redirect(request.path), title=_("Confirm that it is you"), text=text, button=_("Go on")
    )


def _with_password(request: CustomerRequest, do: Callable[[], HttpResponse], **shown: str) -> HttpResponse:
    """Do something once the password was given again. It is tried no more often than at a sign-in."""
    posted = "password" in request.POST
    if posted and not begin_attempt(request, request.user.get_username()):
        return HttpResponse(status=429)
    form = OwnPasswordForm(request.user, request.POST if posted else None)
    if posted:
        right = form.is_valid()
        end_attempt(request, right=right)
        if right:
            note_password(request)
            return do()
    return render(request, "site/two_factor/confirm.html", {"form": form, **shown}, status=422 if form.errors else 200)


def _turned_on(request: CustomerRequest, device: Device, *, was_on: bool) -> HttpResponse:
    """This session is verified by the new device. The first one signs other browsers out, and comes with recovery codes."""
    if not was_on:
        end_others(request.user, request.session.session_key)
    request.session.cycle_key()
    django_otp.login(request, device)
    if was_on and RecoveryCodes.objects.filter(user=request.user).exists():
        return redirect("two-factor")
    return _codes_page(request, services.make_recovery_codes(request.user))


def _codes_page(request: CustomerRequest, codes: list[str]) -> HttpResponse:
    return not_stored(render(request, "site/two_factor/codes.html", {"codes": codes}))


def _right(form: forms.Form, field: str, check: Callable[[str], Device | None], wrong: str) -> Device | None:
    """The device that a form's code is of; an error in the form when there is none."""
    device = check(form.cleaned_data[field]) if form.is_valid() else None
    if device is None and not form.errors:
        form.add_error(field, wrong)
    return device


def _passkey_of(request: HttpRequest, user: Any) -> Passkey | None:
    try:
        return passkeys.check(user, _host(request), _answered(request), request.POST["credential"])
    except passkeys.Refused:
        return None


def _tell_what_is_left(request: HttpRequest, device: Device) -> None:
    if isinstance(device, RecoveryCodes):
        left = len(device.hashes)
        said = ngettext("%(left)d recovery code is left.", "%(left)d recovery codes are left.", left) % {"left": left}
        messages.warning(request, said)


def _remember(request: HttpRequest, question: passkeys.Question | None) -> None:
    if question is not None:
        request.session[_QUESTION] = question.state


def _answered(request: HttpRequest) -> passkeys.State:
    """The state of the question that was put last. It is answered once."""
    state: passkeys.State = request.session.pop(_QUESTION, {})
    return state


def _key_in_progress(request: HttpRequest) -> bytes | None:
    try:
        return bytes.fromhex(sealing.unseal(_NEW_KEY, request.session.get(_NEW_KEY, "")))
    except sealing.Unreadable:
        return None


def _host(request: HttpRequest) -> str:
    """The portal's name as the browser has it, without the port."""
    host = request.get_host()
    return host if host.endswith("]") else host.rpartition(":")[0] or host
