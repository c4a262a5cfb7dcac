"""Django's mail settings from one address."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from ftpgate.errors import UserError

_HINT = "use console:, smtp://USER:PASSWORD@HOST:25, smtp+tls://… (STARTTLS) or smtps://… (TLS), with ?from=ADDRESS"


def configuration(url: str) -> dict[str, Any]:
    """The `EMAIL_*` settings of `console:`, `smtp://`, `smtp+tls://` or `smtps://`.

    Raises:
        UserError: the address is of no such form.
    """
    if url == "console:":
        return {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    try:
        parts = urlsplit(url)
        port = parts.port
        sender = parse_qs(parts.query).get("from", [""])[0]
    except ValueError:
        raise UserError("FTPGATE_EMAIL_URL cannot be understood", _HINT) from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise UserError("FTPGATE_EMAIL_URL cannot be understood", _HINT)
    found: dict[str, Any] = {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": port or _PORTS[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_TLS": parts.scheme == "smtp+tls",
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_TIMEOUT": 20,
    }
    if sender:
        found["DEFAULT_FROM_EMAIL"] = found["SERVER_EMAIL"] = sender
    return found


_PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465}
