"""The API's documentation for staff, in a browser under the portal's own strict policy."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.conftest import STAFF, Shop
from tests.browser.person import Person


def test_staff_read_the_documentation_of_the_api(shop: Shop, person: Callable[..., Person]) -> None:
    reader = person()
    reader.enter(STAFF)
    reader.page.goto(f"{shop.url}/api/v1/docs")
    reader.page.get_by_text("Issue a grant").wait_for()
    reader.page.get_by_text("Issue a grant").click()
    reader.page.get_by_text("Idempotency-Key").first.wait_for()
