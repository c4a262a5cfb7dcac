"""What `ftpgate doctor` looks at in the shop. Each check says what is well, or raises `UserError`."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import TYPE_CHECKING

from ftpgate.errors import UserError
from ftpgate.settings import Address, Settings
from webportal.config.database import check_migrated

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_CLOCK_SECONDS = 2.0
"""Between this clock and the database's: NTP keeps milliseconds, and grants may be late by two seconds."""
_PORTAL_SECONDS = 3.0
"""That the portal has to answer in."""


def check_database(settings: Settings) -> str:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    version = ".".join(map(str, _version(connection)))
    return f"{connection.display_name} {version} answers"


def check_migrations(settings: Settings) -> str:
    check_migrated()
    return "the tables are up to date"


def check_clock(settings: Settings) -> str:
    """Grants expire by the database's clock, and not at all where this machine's is too far from it."""
    from django.db import connection

    from webportal.core import clock

    database = clock.now()
    if connection.vendor != "postgresql":
        return f"it is {database:%Y-%m-%dT%H:%M:%SZ}"
    difference = abs(clock.guard.wall() - database.timestamp())
    if difference > _CLOCK_SECONDS:
        follows = " and nothing expires" if clock.guard.wrong() else ""
        raise UserError(
            f"this clock and the database's differ by {difference:,.1f} s{follows}", "run a time service (chrony) on both"
        )
    return f"it agrees with the database's to {difference:.1f} s"


def check_files(settings: Settings) -> str:
    from webportal.catalogue.models import File
    from webportal.catalogue.selectors import changed_files

    changed = changed_files().count()
    if changed:
        raise UserError(f"files that are not as they were imported: {changed}", "run: ftpgate item verify")
    unknown = File.objects.filter(ctime_ns=None).count()
    older = f"; until ftpgate item verify has read them, compared by size and time only: {unknown}" if unknown else ""
    return f"files: {File.objects.count()}, none reported as changed{older}"


def portal_answers(address: Address) -> bool:
    """Is there a portal at `address`? It sends strangers to its page for signing in."""
    connection = http.client.HTTPConnection(*address.at_home, timeout=_PORTAL_SECONDS)
    try:
        connection.request("HEAD", "/", headers={"Connection": "close"})
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return answer.status == 302 and (answer.getheader("Location") or "").startswith("/sign-in/")


def _version(connection: BaseDatabaseWrapper) -> tuple[int, ...]:
    return connection.get_database_version()


CHECKS: dict[str, Callable[[Settings], str]] = {
    "database": check_database,
    "tables": check_migrations,
    "files": check_files,
    "clock": check_clock,
}
