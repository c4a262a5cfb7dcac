"""Django's logging: one line an event on stderr, in the gate's form."""

from __future__ import annotations

import logging
from typing import Any, Literal


def without_traceback(record: logging.LogRecord) -> bool:
    """Leave the traceback out of what Django logs of a request that was refused (403, 400): nothing of ours has failed."""
    if record.levelno < logging.ERROR:
        record.exc_info = None
    return True


def configuration(form: Literal["text", "json"]) -> dict[str, Any]:
    """Django's `LOGGING` in this form."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"()": "ftpgate.process.logs.TextFormatter"},
            "json": {"()": "ftpgate.process.logs.JsonFormatter"},
        },
        "filters": {"without_traceback": {"()": lambda: without_traceback}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": form}},
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            "django.request": {"filters": ["without_traceback"]},
            "fido2": {"level": "WARNING"},  # or it tells of every key that was right
            "waitress.queue": {"level": "ERROR"},  # who waits for a thread is no news, however many they are
            "django.security.DisallowedHost": {"level": "CRITICAL"},  # anyone can send a wrong Host; it is answered 400
        },
    }
