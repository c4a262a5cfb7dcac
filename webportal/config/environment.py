"""The `ftpgate.settings.Settings` that this process's Django is built from.

Commands that have read (and perhaps changed) the settings hand them over with `use` before `django.setup()`; a process
that Django starts by itself, such as one of another server, reads the environment.
"""

from __future__ import annotations

from ftpgate import settings as ftpgate_settings

_given: ftpgate_settings.Settings | None = None


def use(settings: ftpgate_settings.Settings) -> None:
    """Build Django from these. Without effect on a Django that is set up already."""
    global _given
    _given = settings


def current() -> ftpgate_settings.Settings:
    """The settings in use.

    Raises:
        ftpgate.errors.UserError: nothing was handed over and the environment is bad.
    """
    global _given
    if _given is None:
        _given = ftpgate_settings.load()
    return _given
