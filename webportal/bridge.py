"""This shop behind the gate, for `FTPGATE_BRIDGE=webportal.bridge`. Another shop brings a module of its own.

A bridge module has up to three functions:

- `make_bridge(settings) -> ftpgate.grants.Bridge`. A gate calls it once, before it starts its threads.
- `further_paths(settings) -> ftpgate.grants.BridgePaths`: what the bridge opens once the gate is confined to its files. It may be
  left out when that is nothing beyond what every gate may open.
- `make_commands(settings) -> ftpgate.commands.shop.Shop`, for the commands that need the shop (`ftpgate user add`). It may be
  left out: these commands then name the bridge and refer to the shop's own tools.
"""

from __future__ import annotations

import os

import django
from django.apps import apps

from ftpgate.commands.shop import Shop
from ftpgate.grants import Bridge, BridgePaths
from ftpgate.settings import Settings


def make_bridge(settings: Settings) -> Bridge:
    """The bridge to the database at `settings.database_url`; sets Django up if the process has not done so yet.

    No connection is opened: each thread opens its own with its first call.

    Raises:
        ftpgate.errors.UserError: the database's address or the secret key is of no use.
    """
    if not apps.ready:
        from webportal.config import environment

        environment.use(settings)
        os.environ["DJANGO_SETTINGS_MODULE"] = "webportal.config.lean"
        django.setup()
    from webportal.gateway.orm import OrmBridge

    return OrmBridge()


def further_paths(settings: Settings) -> BridgePaths:
    """Certificates and passwords of PostgreSQL's client, which reads them with each connection."""
    from webportal.config import database

    return BridgePaths(read=tuple(database.client_files(settings.database_url)))


def make_commands(settings: Settings) -> Shop:
    """The shop's commands over the database at `settings.database_url`; Django is set up when a command first needs it."""
    from webportal import commands  # a gate needs none of them

    return commands.make_commands(settings)
