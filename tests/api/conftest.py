"""Django's tests, set up as those of the portal are."""

import pytest

from tests.portal.conftest import (  # noqa: F401
    _nobody_has_tried_before,
    _passwords_that_are_quickly_checked,
    _static_files_as_they_are,
    django_db_setup,
    portal_database,
)
from tests.portal.staff import browser, staff  # noqa: F401
from webportal.api import auth
from webportal.api.limits import RateLimit


@pytest.fixture(autouse=True)
def _full_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of keys come again in every test, since its transaction is rolled back; what others asked does not count."""
    monkeypatch.setattr(auth, "limit", RateLimit(auth.RATE, auth.BURST))
