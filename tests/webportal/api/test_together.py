"""Requests that come at the same time, each on a connection of its own to the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.at_once import at_once
from tests.support.responses import Response
from tests.webportal.api.calling import Caller, problem
from tests.webportal.shop import make_item
from webportal.grants.models import Grant, GrantToken
from webportal.shops.models import Scope, ShopUser

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE = 8


def together(ask: Callable[[int], Response]) -> list[Response]:
    """What `ask(0)`, `ask(1)`, … are answered, asked by threads that begin as one."""
    return at_once(ask, AT_ONCE)


def callers() -> list[Caller]:
    """As many of one shop as ask at once: a client of Django's is for one thread."""
    first = Caller()
    return [first, *(Caller(*Scope, shop=first.shop) for _ in range(AT_ONCE - 1))]


def order(**more: Any) -> dict[str, Any]:
    return {"user": "customer-17", "items": [make_item(1).public_id], **more}


def test_one_key_asked_by_many_is_done_once() -> None:
    shop, wanted = callers(), order()
    answers = together(lambda number: shop[number].post("grants", wanted, once="order-1"))
    assert {answer.status_code for answer in answers} == {201}, [answer.content for answer in answers]
    assert len({answer.content for answer in answers}) == 1
    assert sorted(answer.get("Idempotency-Replayed", "") for answer in answers) == [""] + ["true"] * (AT_ONCE - 1)
    assert (Grant.objects.count(), GrantToken.objects.count(), ShopUser.objects.count()) == (1, 1, 1)


def test_one_key_with_different_requests_is_done_once_and_refused_to_the_others() -> None:
    shop, wanted = callers(), order()
    answers = together(lambda number: shop[number].post("grants", wanted | {"user": f"customer-{number}"}, once="order-1"))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 422: AT_ONCE - 1}
    for answer in answers:
        if answer.status_code == 422:
            problem(answer, 422, "idempotency-key-reused")
    assert Grant.objects.count() == ShopUser.objects.count() == 1


def test_a_customer_named_first_by_many_is_one() -> None:
    shop, wanted = callers(), order()
    answers = together(lambda number: shop[number].post("grants", wanted))
    assert {answer.status_code for answer in answers} == {201}, [answer.content for answer in answers]
    assert (Grant.objects.count(), ShopUser.objects.count()) == (AT_ONCE, 1)
