from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from webportal.accounts.models import User


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
