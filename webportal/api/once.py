"""`Idempotency-Key`: the same POST asked twice is done once, and answered twice with the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated

from django.db import transaction
from django.http import HttpResponse
from ninja import Header, Schema

from webportal.api.auth import ShopRequest
from webportal.api.problems import Problem
from webportal.core import clock
from webportal.core.sealing import Unreadable, seal, unseal
from webportal.shops.models import IdempotentResponse
from webportal.shops.services import ANSWERS_KEPT

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="Any string of your own, such as the number of your order. Within 24 hours the same key with the same "
        "request is done once and gets the same answer; with another request it is refused (422).",
    ),
]
_PURPOSE = "answers"


@transaction.atomic
def once(request: ShopRequest, key: str | None, status: int, act: Callable[[], Schema]) -> HttpResponse:
    """Do something in one transaction, or answer what was answered when it was done. What failed is not remembered.

    Two requests with one key at the same time: the second waits for the first one's transaction.

    Raises:
        Problem: the key was used for another request, or its answer cannot be read any more.
    """
    if key is None:
        return _response(status, act().model_dump_json())
    now = clock.now()
    asked = hashlib.sha256(b"\0".join((str(request.method).encode(), request.path.encode(), request.body))).digest()
    IdempotentResponse.objects.filter(shop=request.auth.shop, key=key, made_at__lte=clock.expiry_time() - ANSWERS_KEPT).delete()
    answer, new = IdempotentResponse.objects.get_or_create(
        shop=request.auth.shop, key=key, defaults={"request": asked, "made_at": now}
    )
    if not new:
        return _again(answer, asked)
    body = act().model_dump_json()
    answer.status, answer.body = status, seal(_PURPOSE, body)
    answer.save(update_fields=["status", "body"])
    return _response(status, body)


def _again(answer: IdempotentResponse, asked: bytes) -> HttpResponse:
    if bytes(answer.request) != asked:
        raise Problem(422, "This Idempotency-Key was used for another request.", name="idempotency-key-reused")
    try:
        response = _response(answer.status, unseal(_PURPOSE, answer.body))
    except Unreadable:
        raise Problem(409, "This was done, but its answer cannot be read any more.", name="answer-lost") from None
    response["Idempotency-Replayed"] = "true"
    return response


def _response(status: int, body: str) -> HttpResponse:
    return HttpResponse(body, status=status, content_type="application/json; charset=utf-8")
