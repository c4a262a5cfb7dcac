"""The settings that `deploy/` gives make a portal that Django's own checks find nothing in, and that browsers keep to HTTPS."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from ftpgate import settings
from tests.commands.test_portal import free_port
from tests.support.site import Site
from tests.support.tools import ROOT
from tests.support.waiting import wait_until

EXAMPLE = settings.read_env_file(ROOT / "deploy" / "ftpgate.env.example")


@pytest.fixture
def deployed(site: Site) -> Site:
    """With the example's settings, but for what this machine has not: PostgreSQL's address, a key, the media."""
    own = ("FTPGATE_DATABASE_URL", "FTPGATE_MEDIA_ROOT", "FTPGATE_SECRET_KEY", "FTPGATE_ADMIN")
    kept = {name: value for name, value in EXAMPLE.items() if name not in own}
    site.environ |= kept | {
        "FTPGATE_PORTAL": f"127.0.0.1:{free_port()}",
        "FTPGATE_SECRET_KEY": "W7rq2kX0aLz9TfUe4mJc8dYbNsHgPi6v",
    }
    return site


@contextmanager
def portal(site: Site) -> Iterator[str]:
    log = site.root / "portal.log"
    site.take_static_files()
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, "-m", "ftpgate", "portal"], env=site.environ, cwd=site.root, stderr=output)
    try:
        address = site.environ["FTPGATE_PORTAL"]
        wait_until(lambda: process.poll() is not None or answers(address), 60, "the portal")
        assert process.poll() is None, log.read_text()
        yield address
    finally:
        process.terminate()
        process.wait(30)


def answers(address: str) -> bool:
    try:
        return bool(head(address))
    except OSError:
        return False


def head(address: str, **sent: str) -> http.client.HTTPMessage:
    with closing(http.client.HTTPConnection(address, timeout=10)) as connection:
        connection.request("GET", "/sign-in/", headers={"Host": "shop.example.org"} | sent)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        return answer.headers


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("module", ["settings", "serving"])
def test_djangos_checks_find_nothing(deployed: Site, module: str) -> None:
    deployed.environ["DJANGO_SETTINGS_MODULE"] = f"webportal.config.{module}"
    done = deployed.run("manage", "check", "--deploy", "--fail-level", "DEBUG", check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


@pytest.mark.databases("sqlite")
def test_browsers_are_kept_to_https(deployed: Site) -> None:
    with portal(deployed) as address:
        page = head(address, **{"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"})
        assert page["Strict-Transport-Security"] == "max-age=31536000"
        assert "default-src 'none'" in page["Content-Security-Policy"]
        assert "script-src 'self';" in f"{page['Content-Security-Policy']};"
        cookies = page.get_all("Set-Cookie")
        assert cookies
        assert all("; Secure" in cookie and "SameSite=Lax" in cookie for cookie in cookies)


@pytest.mark.databases("sqlite")
def test_only_a_trusted_proxy_says_that_it_is_https(deployed: Site) -> None:
    deployed.environ["FTPGATE_TRUSTED_PROXIES"] = "192.0.2.1"
    with portal(deployed) as address:
        page = head(address, **{"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"})
        assert "Strict-Transport-Security" not in page


@pytest.mark.databases("sqlite")
def test_without_the_gates_https_other_ports_of_the_name_stay_open(deployed: Site) -> None:
    for name in ("FTPGATE_HTTPS", "FTPGATE_TLS_CERT", "FTPGATE_TLS_KEY"):
        del deployed.environ[name]
    with portal(deployed) as address:
        page = head(address, **{"X-Forwarded-Proto": "https"})
        assert "Strict-Transport-Security" not in page
        assert all("; Secure" in cookie for cookie in page.get_all("Set-Cookie") or [])
