"""The API as a whole: its operations, its documentation, and what holds for every request."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import DisallowedHost
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, UnreadablePostError
from django.urls import URLPattern, URLResolver, path, re_path
from django.views import defaults
from ninja import NinjaAPI, Swagger
from ninja.openapi.schema import OpenAPISchema
from ninja.parser import Parser

from webportal.api import cors
from webportal.api.problems import MEDIA_TYPE, Problem, missing, teach
from webportal.api.routes import grants, items, receipts, status, webhooks

ROOT = "/api/v1/"
MOST_BODY = 64 << 10
"""Bytes: 1,000 items of a grant are 12 kB."""
_MOST_DROPPED = 1 << 20
"""Of a body that is too large: what is read all the same, so that the answer reaches its sender and the connection lasts."""
_NAMESPACE = "shops"

_ABOUT = """Sell through ftpgate: issue grants for your own customers, show them what has arrived, and be told by webhooks.

Send your key as `Authorization: Bearer …`. Give every POST an `Idempotency-Key`, so that it can be repeated when its answer got
lost. Errors are `application/problem+json` (RFC 9457). Times are RFC 3339 UTC, sizes bytes."""


class _Json(Parser):
    """Reads a body, after the key was looked at; ninja itself takes whatever can be read as JSON, whatever it says that it is."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        if request.content_type not in ("application/json", ""):  # without one it is ours to look (RFC 9110, 8.3)
            raise Problem(415, "Send the body as JSON, with Content-Type: application/json.")
        return super().parse_body(request)


class _Api(NinjaAPI):
    def get_openapi_schema(self, **kwargs: Any) -> OpenAPISchema:
        """As ninja makes it; problems by their media type, operations by short names."""
        schema = super().get_openapi_schema(**kwargs)
        for operations in schema["paths"].values():
            for operation in operations.values():
                for code, response in operation["responses"].items():
                    if int(code) >= 400:
                        response["content"] = {MEDIA_TYPE: response["content"].pop("application/json")}
        return schema

    def get_openapi_operation_id(self, operation: Any) -> str:
        return str(operation.view_func.__name__)


api = _Api(
    title="ftpgate for other shops",
    version="1",
    description=_ABOUT,
    docs_url=None,
    urls_namespace=_NAMESPACE,
    parser=_Json(),
)
teach(api)
for part in (items, grants, status, receipts, webhooks):
    api.add_router("", part.router)


def _for_programs(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A view without sessions and forms: problems for errors, bodies bounded, nothing cached, HEAD wherever GET is."""

    @login_not_required
    @functools.wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        head = request.method == "HEAD"
        if head:
            request.method = "GET"
        try:
            response = cors.preflight(request) or _unreadable(request) or view(request, *args, **kwargs)
        except Http404:  # of ninja's own views; operations answer theirs
            response = missing("resource").response()
        if response.status_code == 405:
            allowed = ", ".join(sorted({*response["Allow"].split(", "), *(["HEAD"] if "GET" in response["Allow"] else [])}))
            response = Problem(405, f"Only {allowed} can be done here.").response()
            response["Allow"] = allowed
        if "Cache-Control" not in response:
            response["Cache-Control"] = "no-store"
        cors.mark(request, response)
        if head:
            request.method = "HEAD"
            if isinstance(response, HttpResponse):  # not every server takes the body away
                response["Content-Length"] = str(len(response.content))
                response.content = b""
        return response

    answer.csrf_exempt = True  # type: ignore[attr-defined]  # a key in a header is sent by no browser unasked
    return answer


def _unreadable(request: HttpRequest) -> HttpResponse | None:
    """None when the body, if any, is of a size that is known and read; it is at hand then."""
    if "Transfer-Encoding" in request.headers:  # WSGI's body is as long as announced: Django would see none (RFC 9110, 15.5.12)
        return Problem(411, "Send the body with a Content-Length, not in chunks.").response()
    try:
        announced = int(request.headers.get("Content-Length") or 0)
    except ValueError:
        return Problem(400, "The Content-Length is not a number.").response()
    if announced > MOST_BODY:
        _drop(request, announced)
        return Problem(413, f"The body is larger than {MOST_BODY >> 10} KiB.").response()
    return None


def _drop(request: HttpRequest, announced: int) -> None:
    left = announced if announced <= _MOST_DROPPED else 0
    with suppress(UnreadablePostError):
        while left > 0 and (data := request.read(min(left, MOST_BODY))):
            left -= len(data)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's `handler400`, for what reaches no view, as an unknown `Host`: a problem where programs ask."""
    if not request.path_info.startswith(ROOT):
        return defaults.bad_request(request, exception)
    what = "Host is not one of this site's" if isinstance(exception, DisallowedHost) else "request is malformed"
    answer = Problem(400, f"The {what}.").response()
    answer["Cache-Control"] = "no-store"
    return answer


def _not_here(_request: HttpRequest) -> HttpResponse:
    return missing("resource").response()


def _documentation(request: HttpRequest) -> HttpResponse:
    return Swagger({"persistAuthorization": False}).render_page(request, api)


def _wrapped(pattern: URLPattern | URLResolver) -> URLPattern:
    assert isinstance(pattern, URLPattern)
    pattern.callback = _for_programs(pattern.callback)
    return pattern


urlpatterns = [
    path("docs", staff_member_required(_documentation), name="docs"),
    *(_wrapped(pattern) for pattern in api.urls[0]),
    re_path(r"", _for_programs(_not_here)),
]
urls = (urlpatterns, _NAMESPACE, _NAMESPACE)
