from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "webportal.site"
    label = "site"
