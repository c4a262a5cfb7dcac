from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from webportal.accounts.models import User
from webportal.two_factor.models import DIGITS


class PreferencesForm(forms.ModelForm):
    """What a user may change about themselves, but for the password."""

    language = forms.ChoiceField(label=_("Language"), required=False)
    time_zone = forms.ChoiceField(label=_("Time zone"), required=False)

    class Meta:
        model = User
        fields = ("email", "wants_mail", "language", "time_zone")
        labels = {"email": _("E-mail"), "wants_mail": _("Write to me when something has arrived or is about to expire")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = _("the browser's own")
        zones = sorted(
            zone for zone in available_timezones() if "/" in zone and not zone.startswith(("Etc/", "posix/", "right/"))
        )
        self.fields["language"].choices = [("", own), *settings.LANGUAGES]  # type: ignore[attr-defined]
        self.fields["time_zone"].choices = [("", own), ("UTC", "UTC"), *((zone, zone) for zone in zones)]  # type: ignore[attr-defined]


class CodeForm(forms.Form):
    """The code that an authenticator app shows."""

    code = forms.CharField(
        label=_("Code from your app"),
        max_length=20,
        widget=forms.TextInput(
            {"autocomplete": "one-time-code", "inputmode": "numeric", "size": DIGITS, "autofocus": True, "spellcheck": "false"}
        ),
    )


class RecoveryCodeForm(forms.Form):
    recovery_code = forms.CharField(
        label=_("Recovery code"),
        max_length=60,
        widget=forms.TextInput({"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )


class PasskeyNameForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=64, help_text=_("To recognise it by."))


class OwnPasswordForm(forms.Form):
    """Asks for the password again."""

    password = forms.CharField(
        label=_("Your password"), strip=False, widget=forms.PasswordInput({"autocomplete": "current-password", "autofocus": True})
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user = user

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if not self._user.check_password(password):
            raise forms.ValidationError(_("That is not your password."))
        return password
