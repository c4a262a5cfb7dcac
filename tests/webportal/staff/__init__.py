"""A member of staff and their browser, for the conftests of whoever tests what staff do."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.webportal.shop import make_staff
from tests.webportal.visiting import visitor
from webportal.accounts.models import User


@pytest.fixture
def staff() -> User:
    return make_staff()


@pytest.fixture
def browser(staff: User) -> Client:
    return visitor(staff)
