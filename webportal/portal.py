"""The portal as a process: Django's commands, and its server."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import django
from django.core.management import execute_from_command_line
from django.db import Error as DatabaseError

from ftpgate.errors import UserError
from ftpgate.settings import Settings
from ftpgate.translatable import os_reason
from webportal.config import database

_log = logging.getLogger(__name__)


def manage(arguments: Sequence[str]) -> int:
    """One of Django's management commands. Django itself tells of an error and ends the process."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "webportal.config.settings"
    execute_from_command_line(["ftpgate manage", *arguments])
    return 0


def _check_migrated() -> None:
    try:
        database.check_migrated()
    except DatabaseError as error:
        _log.warning("the database is away: %s", str(error).strip() or type(error).__name__)


def serve(settings: Settings) -> int:
    """Serve the portal at `settings.portal` until it is told to stop.

    Raises:
        UserError: the address cannot be listened on, or the database lacks migrations. One that is away is waited for, with
            pages that say so.
    """
    from webportal import serving

    address = settings.portal
    try:
        listener = serving.listener(*address)
    except OSError as error:
        raise UserError(
            f"FTPGATE_PORTAL={address} cannot be listened on ({os_reason(error)})", "free the port or choose another"
        ) from None
    os.environ["DJANGO_SETTINGS_MODULE"] = "webportal.config.serving"
    django.setup()
    _check_migrated()
    from webportal.config import static_files

    static_files.collect()
    from webportal.config.wsgi import application
    from webportal.jobs.mails import start_postman
    from webportal.jobs.webhooks import start_worker

    # Webhooks and mails go out as long as the portal runs, with nothing else to set up.
    stop_sending = (start_worker(), start_postman())
    try:
        serving.serve(application, listener)
    finally:
        for stop in stop_sending:
            stop()
    return 0
