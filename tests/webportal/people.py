"""Customers, for the conftests."""

from __future__ import annotations

import pytest

from tests.webportal.shop import make_user
from webportal.accounts.models import User


@pytest.fixture
def alice() -> User:
    """A customer with an address for mails."""
    user = make_user("alice")
    user.email = "alice@example.com"
    user.save()
    return user
