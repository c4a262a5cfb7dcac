from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from csp.decorators import csp_update
from django.conf import settings
from django.db import DataError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render, resolve_url
from django.urls import Resolver404, resolve
from django.utils.http import url_has_allowed_host_and_scheme

from webportal.accounts.models import User


class CustomerRequest(HttpRequest):
    """A request of someone who is signed in; `LoginRequiredMiddleware` lets no other reach a view."""

    user: User


View = TypeVar("View", bound=Callable[..., HttpResponseBase])
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MOST_HOPS = 20
"""Addresses of `X-Forwarded-For` that are looked at; a request passes two or three proxies."""
_LONGEST_ADDRESS = 2_000
"""Characters of an address that a form may want to return to."""
_log = logging.getLogger(__name__)
_NO_PAGES = frozenset({"login", "second-step", "staff-sign-in", "unlock", "unlock-link", "logout", "set_language", "grant-state"})
"""Views that lead on to somewhere else, back to themselves, or answer scripts."""


def came_from(request: HttpRequest, default: str) -> str:
    """Where a form wants to return to (its field `next`): a page of this site, else `default` (a view's name)."""
    wanted = request.POST.get("next", "")
    return wanted if is_page(request, wanted) else resolve_url(default)


def is_page(request: HttpRequest, address: str) -> bool:
    """Is this the address of a page of this site, to which a browser may be sent?

    One that takes POST only is, since it leads a GET to where it belongs (`post_only`). The API answers programs, with keys.
    """
    if (
        not address.startswith("/")
        or len(address) > _LONGEST_ADDRESS
        or not url_has_allowed_host_and_scheme(address, allowed_hosts={request.get_host()}, require_https=request.is_secure())
    ):
        return False
    try:
        found = resolve(unquote(urlsplit(request.build_absolute_uri(address)).path))
    except (Resolver404, ValueError):
        return False
    if found.namespace == "shops":
        return found.url_name == "docs"
    return found.url_name is not None and found.url_name not in _NO_PAGES


def client_addresses(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: behind trusted proxies `REMOTE_ADDR` is the client's own address. Only they tell that it came by HTTPS."""
    trusted = settings.FTPGATE.trusted_proxies

    def answer(request: HttpRequest) -> HttpResponse:
        if not _is_within(request.META.get("REMOTE_ADDR", ""), trusted):
            request.META.pop("HTTP_X_FORWARDED_PROTO", None)
        if trusted:
            forwarded = request.headers.get("X-Forwarded-For", "")
            request.META["REMOTE_ADDR"] = client_address(request.META.get("REMOTE_ADDR", ""), forwarded, trusted)
        return get_response(request)

    return answer


def client_address(peer: str, forwarded: str, trusted: Sequence[Network]) -> str:
    """Whose request it is that came from `peer`: the last address that no trusted proxy has.

    Args:
        forwarded: `X-Forwarded-For`. It is read from its end, where the nearest proxy has written; what stands before the
            first address that is not trusted may be made up.
    """
    hops = forwarded.split(",")[-_MOST_HOPS:]
    while hops and _is_within(peer, trusted):
        named = _bare_address(hops.pop())
        if named is None:
            break
        peer = named
    return peer


def _is_within(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed: Any = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in network for network in networks)


def _bare_address(text: str) -> str | None:
    """`192.0.2.1`, `192.0.2.1:5000`, `2001:db8::1` or `[2001:db8::1]:5000` without the port; None for anything else."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None


class OddInput:
    """Middleware: what no text can hold, and what the admin takes for a number and is not one, are answered 400."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(self, request: HttpRequest, _view: object, _arguments: object, named: dict[str, Any]) -> HttpResponse | None:
        """PostgreSQL has no NUL in text, files have none in their names. The API looks at its input itself."""
        if request.path.startswith("/api/"):
            return None
        values = [*map(str, named.values())]
        for fields in (request.GET, request.POST):
            values += [*fields, *(value for _, several in fields.lists() for value in several)]
        return render(request, "400.html", status=400) if any("\0" in str(value) for value in values) else None

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Django's admin compares what actions and addresses name with keys as it is."""
        if not isinstance(error, (ValueError, OverflowError, DataError)) or not request.path.startswith("/admin/"):
            return None
        _log.warning("%s cannot be answered", request.path, exc_info=error)
        return render(request, "400.html", status=400)


def post_only(place: str, *arguments: str) -> Callable[[View], View]:
    """A view of a form's button. Opened as a page, since a sign-in came between, it leads to the view named `place`.

    Args:
        arguments: those of the view that `place` needs too, in its order.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.method == "POST":
                return view(request, *args, **kwargs)
            if request.method in ("GET", "HEAD"):
                return redirect(place, *(kwargs[name] for name in arguments))
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])

        return answer  # type: ignore[return-value]

    return decorate


def refused_methods(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: a 405 without words becomes a page; a GET of what takes POST only leads to where one can go on."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if response.status_code != 405 or response.streaming or response.content:
            return response
        allowed = response.get("Allow", "")
        if request.method in ("GET", "HEAD") and "POST" in allowed:
            return HttpResponseRedirect(
                resolve_url("admin:index" if request.path.startswith(resolve_url("admin:index")) else "/")
            )
        page = render(request, "405.html", {"allowed": allowed}, status=405)
        page["Allow"] = allowed
        return page

    return answer


def verified(request: HttpRequest) -> bool:
    """Has a second factor been checked in this session?"""
    return getattr(request.user, "otp_device", None) is not None  # OTPMiddleware's


def allow(response: HttpResponse, directive: str, *sources: str) -> None:
    """Loosen the Content-Security-Policy of this one page: `allow(response, "connect-src", "http://gate:8080")`."""
    csp_update({directive: list(sources)})(lambda _request: response)(HttpRequest())


def not_stored(response: HttpResponse) -> HttpResponse:
    """A page with secrets: no cache keeps it, not even the browser's."""
    response["Cache-Control"] = "no-store, private"
    return response
