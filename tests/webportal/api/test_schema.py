"""The API keeps to its own OpenAPI document, whatever is thrown at it: every answer is of a declared status, type and shape."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, settings
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.generation.hypothesis.builder import InvalidHeadersExampleMark, MissingPathParameters
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.webportal.api.calling import Caller
from tests.webportal.shop import make_item
from webportal.accounts import sign_in_limiter
from webportal.api import auth
from webportal.api.limits import RateLimit
from webportal.api.site import api
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


OPERATIONS = sorted(
    (method, path)
    for _, router in api._routers
    for path, view in router.path_operations.items()
    for operation in view.operations
    for method in operation.methods
)
"""Not read from the document: to draw up what is asked takes seconds, which a test spends, and not every worker."""


@cache
def _document() -> BaseSchema:
    document = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", _within_the_tests_transaction)
    document.config.generation.update(allow_extra_parameters=False)  # unknown query parameters are ignored, as is usual
    return document


Asks = Callable[[Callable[[schemathesis.Case], None]], None]


@pytest.fixture(params=OPERATIONS, ids=" ".join)
def ask(request: pytest.FixtureRequest) -> Asks:
    """Have a function ask what schemathesis draws up for one operation, as with its `schema.parametrize()`."""
    load_all_checks()
    method, path = request.param
    operation = _document()[f"/api/v1{path}"][method]

    def asked(function: Callable[[schemathesis.Case], None]) -> None:
        test = build_operation_test(
            config=_document().config, operation=operation, test_func=_settings(function), given_kwargs={}, feedback=_feedback()
        )
        assert InvalidHeadersExampleMark.get(test) is None
        assert MissingPathParameters.get(test) is None
        test()

    return asked


@cache
def _feedback() -> FeedbackSources:
    return FeedbackSources(constants_value_source=make_constants_value_source(_document()))


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


_settings = settings(
    max_examples=15, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip


@pytest.mark.databases("sqlite")  # none is asked
def test_every_operation_is_asked() -> None:
    found = [operation for operations in _document().values() for operation in operations.values()]
    assert sorted((operation.method.upper(), operation.path.removeprefix("/api/v1")) for operation in found) == OPERATIONS


@pytest.mark.databases("postgres")  # which refuses more than SQLite; both kinds are asked of what is there
def test_anything_may_be_asked(ask: Asks, caller: Caller) -> None:
    def anything(case: schemathesis.Case) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {caller.secret}"}, excluded_checks=_UNWISHED)  # type: ignore[arg-type]

    ask(anything)


def test_anything_may_be_asked_of_what_is_there(ask: Asks, caller: Caller, known: dict[str, str]) -> None:
    def of_what_is_there(case: schemathesis.Case) -> None:
        for name in case.path_parameters or {}:
            case.path_parameters[name] = known[name]
        case.call_and_validate(headers={"Authorization": f"Bearer {caller.secret}"}, excluded_checks=_UNWISHED)  # type: ignore[arg-type]

    ask(of_what_is_there)


@pytest.mark.databases("sqlite")  # none is asked
def test_nothing_is_said_without_a_key(ask: Asks) -> None:
    def without_a_key(case: schemathesis.Case) -> None:
        answer = case.call()
        case.validate_response(answer, checks=[not_a_server_error])
        assert answer.status_code in (401, 405, 413)

    ask(without_a_key)
