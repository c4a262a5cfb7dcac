"""The postman: a thread of the portal that sends what is due. Any number may run; each mail is one's alone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from django.db import DatabaseError, InterfaceError, connection

from webportal.accounts.sign_ins import forget_sessions
from webportal.mails.services import enter_notices, forget_notices, send_due
from webportal.mails.unlock import send_unlocks

_log = logging.getLogger(__name__)

LOOK_EVERY = 5.0
"""Seconds between two looks for what customers are to be told."""
_BACKOFF = 60.0
"""Seconds without a look after an error of the mail server or the database."""
_TIDY_EVERY = 86_400.0
"""Seconds between two deletions of what is old."""


def start_postman() -> Callable[[], None]:
    """Start one in a thread of this process; returns what stops it."""
    stop = threading.Event()
    threading.Thread(target=_work, args=(stop,), name="mails", daemon=True).start()
    return stop.set


def _work(stop: threading.Event) -> None:
    tidied = 0.0
    wait = LOOK_EVERY
    while not stop.wait(wait):
        try:
            send_unlocks()
            enter_notices()
            send_due()
            if time.monotonic() - tidied > _TIDY_EVERY:
                forget_notices()
                forget_sessions()
                tidied = time.monotonic()
            wait = LOOK_EVERY
        except (DatabaseError, InterfaceError) as error:
            _log.warning("mails have to wait for the database: %s", str(error).strip() or type(error).__name__)
            connection.close()
            wait = _BACKOFF
        except Exception:
            _log.exception("a mail met an error")
            wait = _BACKOFF
    connection.close()
