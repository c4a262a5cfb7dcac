"""Whatever stands in a query, a body or a header of the API is answered, and never by an error of ours."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from tests.webportal.api.calling import Caller

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "value", ["%00", "a%00b", "x" * 5_000, "%ED%A0%80", "-1", "9" * 30, "%FF", "..%2F"], ids=lambda value: value[:9]
)
def test_any_query_and_any_field_is_answered(value: str) -> None:
    caller = Caller()
    for path in ("items?q=", "items?cursor=", "items?limit=", "grants?user=", "grants?state=", "grants?cursor=", "webhooks?x="):
        assert caller.get(f"{path}{value}").status_code < 500, path
    said = unquote(value, errors="surrogatepass") if value != "%FF" else "\xff"
    for path, body in (
        ("grants", {"user": said, "items": [said], "expires": said}),
        ("grants", {"user": said, "items": []}),
        ("webhooks", {"url": f"https://{said}/", "kinds": [said]}),
        ("webhooks", {"url": said, "kinds": ["grant.issued"]}),
    ):
        assert caller.post(path, body).status_code < 500, (path, body)
        assert caller.post(path, body, once=value[:200]).status_code < 500, "as an Idempotency-Key"
