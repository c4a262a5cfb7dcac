"""What holds for all tests of the API."""

import pytest

from webportal.api import auth
from webportal.api.limits import RateLimit


@pytest.fixture(autouse=True)
def _full_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of keys come again in every test, since its transaction is rolled back; what others asked does not count."""
    monkeypatch.setattr(auth, "limit", RateLimit(auth.RATE, auth.BURST))
