from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class MailsConfig(AppConfig):
    name = "webportal.mails"
    label = "notices"
    verbose_name = _("Mails")
