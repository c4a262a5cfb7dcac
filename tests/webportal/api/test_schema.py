"""The API keeps to its own OpenAPI document, whatever is thrown at it: every answer is of a declared status, type and shape."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.webportal.api.calling import Caller
from tests.webportal.shop import make_item
from webportal.accounts import sign_in_limiter
from webportal.api import auth
from webportal.api.limits import RateLimit
from webportal.config.wsgi import application

pytestmark = pytest.mark.django_db

# Its first wish is more than a schema can say: that an item named is one there is, and a host's name one that may be used.
_UNWISHED = [positive_data_acceptance]


def _within_the_tests_transaction(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The portal, but that a request's end does not close the connection. (Django's own test client does the same.)"""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    try:
        answer = application(environ, start_response)
        body = b"".join(answer)
        answer.close()
        return [body]
    finally:
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)


schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", _within_the_tests_transaction)


@pytest.fixture(autouse=True)
def _any_number_of_wrong_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in_limiter, "MOST_AT_ADDRESS", 1_000_000)


@pytest.fixture
def caller(monkeypatch: pytest.MonkeyPatch) -> Caller:
    monkeypatch.setattr(auth, "limit", RateLimit(1e6, 1_000_000))
    return Caller()


@pytest.fixture
def known(caller: Caller) -> dict[str, str]:
    """Values of path parameters that lead to something."""
    item = make_item(10, 0)
    grant = caller.post("grants", {"user": "customer", "items": [item.public_id]}).json()["grant"]
    endpoint = caller.post("webhooks", {"url": "https://shop.example/", "kinds": ["grant.issued"]}).json()["id"]
    return {"item_id": item.public_id, "grant_id": grant, "endpoint_id": endpoint}


schema.config.generation.update(allow_extra_parameters=False)  # unknown query parameters are ignored, as is usual
_settings = settings(
    max_examples=15, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip


@pytest.mark.databases("postgres")  # which refuses more than SQLite; both kinds are asked of what is there
@schema.parametrize()
@_settings
def test_anything_may_be_asked(case: schemathesis.Case, caller: Caller) -> None:
    case.call_and_validate(headers={"Authorization": f"Bearer {caller.secret}"}, excluded_checks=_UNWISHED)  # type: ignore[arg-type]


@schema.parametrize()
@_settings
def test_anything_may_be_asked_of_what_is_there(case: schemathesis.Case, caller: Caller, known: dict[str, str]) -> None:
    for name in case.path_parameters or {}:
        case.path_parameters[name] = known[name]
    case.call_and_validate(headers={"Authorization": f"Bearer {caller.secret}"}, excluded_checks=_UNWISHED)  # type: ignore[arg-type]


@pytest.mark.databases("sqlite")  # none is asked
@schema.parametrize()
@_settings
def test_nothing_is_said_without_a_key(case: schemathesis.Case) -> None:
    answer = case.call()
    case.validate_response(answer, checks=[not_a_server_error])
    assert answer.status_code in (401, 405, 413)
