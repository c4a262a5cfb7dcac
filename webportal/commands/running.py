"""How a command runs in the shop: Django is set up before it, and what goes wrong is told in plain words."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import django
from django.apps import apps
from django.db import Error as DatabaseError

from ftpgate.errors import UserError
from webportal.core.errors import ServiceError

P = ParamSpec("P")
T = TypeVar("T")

LEAN, WHOLE = "webportal.config.lean", "webportal.config.settings"
"""Django's settings for commands: without a web site, which is started in half the time; and with all of it."""


def with_django(settings_module: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Sets Django up before a command; says in plain words when the database is not there, and what to do about a refusal."""

    def decorate(method: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(method)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            if not apps.ready:
                os.environ["DJANGO_SETTINGS_MODULE"] = settings_module
                django.setup()
            try:
                return method(*args, **kwargs)
            except DatabaseError as error:
                raise explained(error) from error
            except ServiceError as error:
                from webportal.staff.hints import terminal_hint

                raise UserError(error.text, terminal_hint(error.text)) from error

        return run

    return decorate


def explained(error: Exception) -> UserError:
    """An error of the database, for whoever typed the command."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    if "no such table" in first or "does not exist" in first or "no such column" in first:
        return UserError(f"the database has not (all of) its tables ({first})", "run: ftpgate manage migrate")
    return UserError(f"the database does not do as asked ({first})", "see that it runs, or correct FTPGATE_DATABASE_URL")
