"""One database connection for each thread, given back as soon as it is broken."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, NotSupportedError, ProgrammingError, connection

from ftpgate.errors import Unavailable

_OURS = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
"""What a database says to a mistake of ours; trying again would not help."""

_TRUSTED = 1.0
"""Seconds for which a connection that has answered is not asked whether it is still there."""
_thread = threading.local()


@contextmanager
def database() -> Iterator[None]:
    """Use this thread's connection, which is opened, or opened anew after it broke, by the first query.

    Raises:
        Unavailable: the database does not answer, or took too long.
    """
    try:
        if not connection.in_atomic_block and time.monotonic() - getattr(_thread, "answered", -_TRUSTED) >= _TRUSTED:
            connection.close_if_unusable_or_obsolete()
        yield
        _thread.answered = time.monotonic()
    except (DatabaseError, InterfaceError) as error:
        release()
        if isinstance(error, _OURS):
            raise
        raise Unavailable from error


def release() -> None:
    """Close this thread's connection."""
    _thread.answered = -_TRUSTED
    with suppress(DatabaseError, InterfaceError):
        connection.close()
