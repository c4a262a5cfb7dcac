from __future__ import annotations

from csp.decorators import csp_update
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme

from webportal.accounts.models import User


class CustomerRequest(HttpRequest):
    """A request of someone who is signed in; `LoginRequiredMiddleware` lets no other reach a view."""

    user: User


def came_from(request: HttpRequest, default: str) -> str:
    """Where a form wants to return to (its field `next`): an address of this site, else `default` (a view's name)."""
    wanted = request.POST.get("next", "")
    here = url_has_allowed_host_and_scheme(wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure())
    return wanted if here else resolve_url(default)


def allow(response: HttpResponse, directive: str, *sources: str) -> None:
    """Loosen the Content-Security-Policy of this one page: `allow(response, "connect-src", "http://gate:8080")`."""
    csp_update({directive: list(sources)})(lambda _request: response)(HttpRequest())


def not_stored(response: HttpResponse) -> HttpResponse:
    """A page with secrets: no cache keeps it, not even the browser's."""
    response["Cache-Control"] = "no-store, private"
    return response
