from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ShopsConfig(AppConfig):
    name = "webportal.shops"
    label = "api"
    verbose_name = _("Other shops")
