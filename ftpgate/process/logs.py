"""Log lines on stderr: text for people, JSON for machines; never longer than a terminal page, whatever a client sends."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Literal

LONGEST = 2_000
"""Characters of one line."""


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00Z INFO ftpgate.process: message`."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        line = f"{stamp} {record.levelname} {record.name}: {_printable(record.getMessage())}"
        return line if record.exc_info is None else f"{line}\n{self.formatException(record.exc_info)}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname,
            "logger": record.name,
            "message": _printable(record.getMessage()),
        }
        if record.exc_info is not None:
            document["error"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)


def configure(kind: Literal["text", "json"]) -> None:
    """Send everything from INFO on to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if kind == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("pyftpdlib").setLevel(logging.WARNING)


def _printable(text: str) -> str:
    """Control characters escaped, so that a client cannot write lines of its own; bounded."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:LONGEST])
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
