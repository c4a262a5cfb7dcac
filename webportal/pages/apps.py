from django.apps import AppConfig


class PagesConfig(AppConfig):
    name = "webportal.pages"
    label = "pages"
