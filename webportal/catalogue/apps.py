from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class CatalogueConfig(AppConfig):
    name = "webportal.catalogue"
    label = "catalogue"
    verbose_name = _("Catalogue")

    def ready(self) -> None:
        post_migrate.connect(_prepare_search, sender=self)


def _prepare_search(using: str, **_unused: Any) -> None:
    from webportal.catalogue import search

    database = connections[using]
    if "catalogue_item" in database.introspection.table_names():
        search.prepare(database)
