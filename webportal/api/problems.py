"""Errors as RFC 9457 has them: one shape for whatever goes wrong, whoever finds it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError, ValidationError
from pydantic import Field

from webportal.core.errors import ServiceError

MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger(__name__)
_MOST_ERRORS = 20
"""Mistakes of one request that are named: a body of 64 kB can hold thousands."""


class Mistake(Schema):
    """One thing that is wrong with a request."""

    at: str = Field(description="Where: `body/items/0`, `query/limit`, `header/Idempotency-Key`")
    detail: str


class ProblemDocument(Schema):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="`about:blank` where the status says it all, else a name for programs: `urn:ftpgate:…`")
    title: str
    status: int
    detail: str = Field(description="For people; it may change")
    errors: list[Mistake] | None = Field(None, description="With 422 alone")


class Problem(Exception):
    """A refusal.

    Args:
        status: of HTTP.
        detail: one sentence for a person; it holds no secret.
        name: for programs, the last part of `type`; "" where the status says it all.
    """

    def __init__(
        self, status: int, detail: str, *, name: str = "", errors: list[dict[str, str]] | None = None, retry_after: int = 0
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.name = name
        self.errors = errors
        self.retry_after = retry_after

    def response(self) -> HttpResponse:
        document: dict[str, Any] = {
            "type": f"urn:ftpgate:{self.name}" if self.name else "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = self.errors
        answer = HttpResponse(json.dumps(document, ensure_ascii=False), status=self.status, content_type=MEDIA_TYPE)
        if self.status == HTTPStatus.UNAUTHORIZED:
            answer["WWW-Authenticate"] = 'Bearer realm="ftpgate"'
        if self.retry_after:
            answer["Retry-After"] = str(self.retry_after)
        return answer


def wrong(at: str, detail: str) -> Problem:
    """The request is understood, and something in it cannot be."""
    return Problem(422, "The request holds something that cannot be.", name="invalid", errors=[{"at": at, "detail": detail}])


def missing(what: str) -> Problem:
    return Problem(404, f"There is no such {what}.")


def teach(api: NinjaAPI) -> None:
    """Have this API answer whatever is raised in it as a problem."""

    def problem(_request: HttpRequest, error: Problem) -> HttpResponse:
        return error.response()

    def refused(_request: HttpRequest, error: ServiceError) -> HttpResponse:
        return Problem(409, f"{error.text[:1].upper()}{error.text[1:]}.", name="refused").response()

    def no_key(_request: HttpRequest, _error: AuthenticationError) -> HttpResponse:
        return Problem(401, "Send a key of your shop: Authorization: Bearer ftpgate_…", name="key").response()

    def http(_request: HttpRequest, error: HttpError) -> HttpResponse:
        if isinstance(error.__cause__, Problem):  # what reads bodies knows better than ninja around it what is wrong
            return error.__cause__.response()
        return Problem(error.status_code, f"{error.message.rstrip('.')}.").response()

    def invalid(_request: HttpRequest, error: ValidationError) -> HttpResponse:
        errors = [
            {"at": "/".join(map(str, _where(one["loc"]))), "detail": str(one["msg"])} for one in error.errors[:_MOST_ERRORS]
        ]
        return Problem(422, "The request holds something that cannot be.", name="invalid", errors=errors).response()

    def gone(_request: HttpRequest, _error: Http404) -> HttpResponse:
        return missing("resource").response()

    def away(_request: HttpRequest, error: Exception) -> HttpResponse:
        _log.warning("the database does not answer: %s", str(error).strip())
        return Problem(503, "The service is busy or being repaired. Try again shortly.", retry_after=10).response()

    def unforeseen(_request: HttpRequest, error: Exception) -> HttpResponse:
        _log.error("a request to the API failed", exc_info=error)
        return Problem(500, "An error of our own; it has been logged.").response()

    handlers: dict[type[Exception], Callable[[HttpRequest, Any], HttpResponse]] = {
        Problem: problem,
        ServiceError: refused,
        AuthenticationError: no_key,
        HttpError: http,
        ValidationError: invalid,
        Http404: gone,
        OperationalError: away,
        InterfaceError: away,
        Exception: unforeseen,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)


def _where(location: tuple[Any, ...]) -> tuple[Any, ...]:
    """Without the name that the function here has for the body."""
    return (location[0], *location[2:]) if location[:1] == ("body",) and len(location) > 1 else location
