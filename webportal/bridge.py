"""The `Bridge` of this shop, for `FTPGATE_BRIDGE=webportal.bridge`.

A bridge module has one function, `make_bridge(settings) -> ftpgate.grants.Bridge`. The gate imports the module by that
dotted name and calls it once, before it starts its threads. Another shop brings a module of its own with that function.
(Its commands, if it has them, are the functions of a module `commands` beside it: see `webportal.commands`.)
"""

from __future__ import annotations

import os

import django
from django.apps import apps

from ftpgate.grants import Bridge
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
