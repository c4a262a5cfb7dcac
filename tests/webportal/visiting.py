"""Visitors of the pages: browsers without a browser."""

from __future__ import annotations

import re

from django.test import Client

from ftpgate.tokens import ALPHABET
from tests.support.responses import Response
from webportal.accounts.models import User

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
_TOKEN = re.compile(rf"\b[{ALPHABET}]{{10}}-[{ALPHABET}]{{26}}\b")


def visitor(user: User | None = None, *, csrf: bool = False) -> Client:
    """A browser, signed in when a user is given; with `csrf` it is held to the protection of forms."""
    client = Client(enforce_csrf_checks=csrf, headers={"User-Agent": FIREFOX})
    if user is not None:
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def text(response: Response) -> str:
    return response.content.decode()


def tokens_in(response: Response) -> set[str]:
    """Every token that a page shows."""
    return set(_TOKEN.findall(text(response)))
