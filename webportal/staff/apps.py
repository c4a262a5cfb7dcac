from django.apps import AppConfig


class StaffConfig(AppConfig):
    name = "webportal.staff"
    label = "staff"
