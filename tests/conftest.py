"""Fixtures for all tests; tests/README.md tells which to use for what."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

import hypothesis
import pytest

from tests.support.databases import KINDS, Databases, Templates
from tests.support.far_link import FarLink, NotAllowed
from tests.support.postgres import PostgresServer
from tests.support.site import Site
from tests.support.tools import CACHE, PATH, missing

os.environ["PATH"] = PATH
hypothesis.settings.register_profile("ftpgate", deadline=None)  # how long an example takes is for `make bench` to say
hypothesis.settings.load_profile("ftpgate")

gc.disable()  # until all tests are collected: what is made until then stays

_LONG_FOLDERS = ("commands", "faults")
_sites = pytest.StashKey[list[Site]]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that use a database on every kind, or on those that `@pytest.mark.databases(…)` names."""
    marker = metafunc.definition.get_closest_marker("databases")
    kinds = marker.args if marker else KINDS
    if "portal_database" in metafunc.fixturenames and not _uses_djangos_database(metafunc):
        kinds = kinds[:1]
    scopes: dict[str, Literal["function", "module", "session"]] = {
        "database_kind": "function",
        "shop_database": "module",
        "portal_database": "session",
    }
    for name, scope in scopes.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, kinds, indirect=True, scope=scope)


def _uses_djangos_database(metafunc: pytest.Metafunc) -> bool:
    """All tests of the portal have Django at hand; pytest-django lets only these use its database."""
    return metafunc.definition.get_closest_marker("django_db") is not None or bool(
        {"db", "transactional_db", "django_db_setup"} & set(metafunc.fixturenames)
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let every worker begin with tests that take long, so that none of them is left alone with one in the end.

    pytest-xdist deals the list out in shares of one piece; who has done his share takes over the end of another's. The tests
    with a browser are in the first two shares, by files: a portal, a gate and a Chromium for them are started twice only.
    """
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers == 1:
        return
    browser: dict[str, list[pytest.Item]] = {}
    long: list[pytest.Item] = []
    short: list[pytest.Item] = []
    for item in items:
        folder = item.path.parent.name
        slow = folder in _LONG_FOLDERS or item.get_closest_marker("slow")
        if folder == "browser":
            browser.setdefault(item.path.name, []).append(item)
        else:
            (long if slow else short).append(item)
    shares: list[list[pytest.Item]] = [[] for _ in range(workers)]
    with_browser = 2 if workers > 2 else 1
    for number, tests in enumerate(browser.values()):
        shares[number % with_browser] += tests
    others = workers - with_browser
    for worker, share in enumerate(shares[with_browser:]):
        share += long[len(long) * worker // others : len(long) * (worker + 1) // others]
    left = iter(short)
    for worker, share in enumerate(shares):
        size = len(items) * (worker + 1) // workers - len(items) * worker // workers
        share += islice(left, max(size - len(share), 0))
    items[:] = [item for share in shares for item in share] + list(left)


def pytest_collection_finish() -> None:
    """Have Python look for rubbish among what tests make, and not each time through all that they import."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_xdist_auto_num_workers() -> int:
    """Three for each processor: most of the tests' time is waiting, for clients, timers and other processes."""
    return 3 * len(os.sched_getaffinity(0))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the gates' logs with a failure."""
    report = yield
    if report.failed:
        for site in item.stash.get(_sites, []):
            report.sections.append((f"gate log of {site.root.name}", site.gate_log()[-20_000:]))
    return report


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """The migrated databases that all processes of this run copy."""
    base = tmp_path_factory.getbasetemp()
    return Templates(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)  # workers have folders in the run's


@pytest.fixture(scope="session")
def postgres(templates: Templates) -> Iterator[PostgresServer]:
    """The PostgreSQL server that the tests of this process share; never stop it (that is what `own_postgres` is for)."""
    with PostgresServer(templates.postgres()) as server:
        yield server


@pytest.fixture
def own_postgres(templates: Templates) -> Iterator[PostgresServer]:
    """A PostgreSQL server for this test alone, to be stopped and started."""
    with PostgresServer(templates.postgres()) as server:
        yield server


@pytest.fixture
def far_link() -> Iterator[FarLink]:
    """Two networks with a far way between them; `far_link.set(rtt=100, loss=0.01)`."""
    try:
        link = FarLink()
    except NotAllowed as reason:
        pytest.skip(f"no network namespaces here: {reason}")
    with link:
        yield link


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, templates: Templates) -> Databases:
    """Fresh databases; `databases.migrated(kind)`, `databases.empty(kind)`."""
    return Databases(tmp_path_factory.mktemp("databases"), lambda: request.getfixturevalue("postgres"), templates)


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    """`sqlite`, then `postgres`."""
    return str(request.param)


@pytest.fixture
def database_url(databases: Databases, database_kind: str) -> str:
    """The address of a fresh, migrated database of each kind."""
    return databases.migrated(database_kind)


@pytest.fixture
def make_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """`make_site(database_url, {"FTPGATE_…": …})`: an installation of ftpgate, its gate not yet started, ended with the test."""
    made: list[Site] = request.node.stash.setdefault(_sites, [])

    def make(database_url: str, environ: dict[str, str] | None = None) -> Site:
        made.append(Site(tmp_path / f"site{len(made) + 1}", database_url, environ))
        return made[-1]

    yield make
    for site in made:
        site.close()


@pytest.fixture
def site(make_site: Callable[..., Site], database_url: str) -> Site:
    """An installation with a migrated, empty shop on each kind of database; `site.start()` starts its gate."""
    return make_site(database_url)


@pytest.fixture(scope="session")
def real_album() -> Path:
    """A folder with an album of 41 real Ogg files, one of them untagged; not to be written to (`item add --copy`)."""
    found = sorted((CACHE / "music").rglob("*.ogg"))
    return found[0].parent if found else missing("the music of wesnoth-1.16-music")
