"""Django's tests run on both kinds of database, each on a copy of a migrated one instead of one that Django makes."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker
from pytest_django.fixtures import Settings

from ftpgate import settings
from tests.support.databases import Databases
from webportal.accounts import sign_in_limiter
from webportal.config import database, environment

_state = tempfile.mkdtemp(prefix="ftpgate-tests-")
atexit.register(shutil.rmtree, _state, ignore_errors=True)
(Path(_state) / "static").mkdir()
environment.use(settings.load({"FTPGATE_STATE_DIR": _state}, directory=Path(_state)))
os.environ["FTPGATE_STATE_DIR"] = _state  # pytest-xdist's workers have Django set up before they come here
os.environ["DJANGO_SETTINGS_MODULE"] = "webportal.config.settings"
django.setup()

from tests.webportal.gates import gate  # noqa: E402, F401  # they need Django
from tests.webportal.people import alice  # noqa: E402, F401
from tests.webportal.staff import browser, staff  # noqa: E402, F401


@pytest.fixture(scope="session", autouse=True)
def portal_database(request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The kind of database that Django works on: `sqlite`, then `postgres`. All tests of a kind that roll back share one."""
    with django_db_blocker.block():
        yield str(request.param)


@pytest.fixture
def django_db_setup(
    request: pytest.FixtureRequest, django_test_environment: None, portal_database: str, databases: Databases
) -> Iterator[None]:
    """Instead of pytest-django's. Gives a test that commits a database of its own, so that what it leaves behind, and what
    Django's flush takes away, concerns nobody else."""
    marker = request.node.get_closest_marker("django_db")
    commits = (marker is not None and bool(marker.kwargs.get("transaction"))) or bool(
        {"transactional_db", "live_server"} & set(request.fixturenames)
    )
    if portal_database not in _shared:
        _shared[portal_database] = databases.migrated(portal_database)
    _use(databases.migrated(portal_database) if commits else _shared[portal_database])
    yield
    _use(_shared[portal_database])


_shared: dict[str, str] = {}
_used = ""


def _use(url: str) -> None:
    """Point Django at another database, in every thread that has not connected yet."""
    global _used
    if url == _used:
        return
    _used = url
    connections.close_all()
    connections.settings = connections.configure_settings({"default": database.configuration(url)})
    if hasattr(connections._connections, "default"):  # type: ignore[attr-defined]
        del connections["default"]


@pytest.fixture(autouse=True)
def _passwords_that_are_quickly_checked(settings: Settings) -> None:
    """What makes a password slow to guess makes it slow to set and check, and is Django's."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _nobody_has_tried_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong passwords and keys are counted in this process; tests come from one address."""
    monkeypatch.setattr(sign_in_limiter, "limiter", sign_in_limiter.SignInLimiter())


@pytest.fixture(autouse=True)
def _static_files_as_they_are(settings: Settings) -> None:
    """Pages name static files without the hashes that `collectstatic` gives them."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = settings.STORAGES | {"staticfiles": plain}
