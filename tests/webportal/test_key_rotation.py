"""Another secret key: what was made with the earlier one goes on working while that one is listed, and ends with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from ftpgate.cli import run
from ftpgate.grants import Batch
from ftpgate.receipts import WrongKey, parse_public, verify
from tests.webportal.shop import make_grant, make_item, make_user, whole
from tests.webportal.two_factor.test_two_factor import SECOND, enter, is_signed_in, person, set_up
from tests.webportal.visiting import text, tokens_in, visitor
from tests.webportal.webhooks.shops import make_endpoint, make_shop
from webportal.accounts.sign_in_limiter import MOST_AT_ADDRESS
from webportal.bridge import make_bridge
from webportal.config import environment
from webportal.core.sealing import Unreadable, unseal
from webportal.two_factor.models import Authenticator
from webportal.webhooks.models import Endpoint
from webportal.webhooks.services import PURPOSE

pytestmark = pytest.mark.django_db

OLD, NEW = "W7rq2kX0aLz9TfUe4mJc8dYbNsHgPi6v", "kD3vZ8oQyRj1BwGt5xMhCu7nEpAsLf0i"
NAMES = ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "FTPGATE_SECRET", "FTPGATE_SECRET_FALLBACKS")
Rotate = Callable[..., None]


def made_settings(module: str, tmp_path: Path, key: str, *earlier: str) -> dict[str, object]:
    """What a module of settings makes of these keys, in a process of its own."""
    code = f"import json, {module} as made; print(json.dumps({{name: getattr(made, name) for name in {NAMES}}}))"
    keys = {"FTPGATE_SECRET_KEY": key, "FTPGATE_SECRET_KEY_FALLBACKS": ",".join(earlier), "FTPGATE_STATE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | keys, capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.fixture
def use(settings: Settings, tmp_path: Path) -> Rotate:
    """Restart the portal with these keys."""

    def restart(key: str, *earlier: str) -> None:
        for name, value in made_settings("webportal.config.settings", tmp_path, key, *earlier).items():
            setattr(settings, name, value)

    restart(OLD)
    return restart


def test_gates_and_commands_have_the_portals_keys(tmp_path: Path) -> None:
    modules = ("webportal.config.settings", "webportal.config.lean")
    one, other = (made_settings(module, tmp_path, NEW, OLD) for module in modules)
    assert one == other


def test_who_is_signed_in_stays_so(use: Rotate) -> None:
    user = person("alice")
    set_up(user)
    browser = visitor(user)
    assert is_signed_in(browser)
    use(NEW, OLD)
    assert is_signed_in(browser)
    use(NEW)
    assert is_signed_in(browser), "it is renewed on the way"
    late = visitor(user)
    use(OLD)
    assert not is_signed_in(late)


def test_a_browser_that_is_remembered_stays_so(use: Rotate) -> None:
    person("alice")
    own = visitor()
    assert enter(own).status_code == 302
    own.post("/sign-out/")
    for n in range(MOST_AT_ADDRESS):
        visitor().post("/sign-in/", {"username": f"n{n}", "password": "wrong"})
    assert enter(visitor()).status_code == 429
    use(NEW)
    assert enter(own).status_code == 429
    use(NEW, OLD)
    assert enter(own).status_code == 302


def test_an_authenticator_app_stays_accepted(use: Rotate) -> None:
    phone = set_up(person("alice"))
    for keys, status in (((NEW,), 422), ((NEW, OLD), 302)):
        use(*keys)
        browser = visitor()
        enter(browser)
        assert browser.post(SECOND, {"code": phone.code()}).status_code == status


def test_links_that_a_browser_was_shown_are_shown_again(use: Rotate) -> None:
    alice = make_user("alice")
    item = make_item(10)
    browser = visitor(alice)
    browser.post(f"/cart/add/{item.public_id}")
    page = browser.post("/cart/check-out")["Location"]
    shown = tokens_in(browser.get(page))
    assert len(shown) == 1
    use(NEW, OLD)
    assert tokens_in(browser.get(page)) == shown


def test_old_receipts_verify_and_new_ones_are_by_the_new_key(
    use: Rotate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alice, item = make_user("alice"), make_item(10)
    grant, _ = make_grant(alice, item)
    make_bridge(environment.current()).record("gate", Batch(delivered=whole(grant, item)))
    address = f"/history/{grant.public_id}/{item.public_id}/"
    browser = visitor(alice)
    old = browser.get(address + "receipt.json").content
    use(NEW, OLD)
    new = browser.get(address + "receipt.json").content
    keys = [json.loads(file)["signature"]["key"] for file in (new, old)]
    assert keys[0] != keys[1]
    page = text(browser.get(address))
    assert page.index(keys[0]) < page.index(keys[1]), "both are published, that of now first"
    with pytest.raises(WrongKey):
        verify(old, parse_public(keys[0]))
    for file, key in ((new, keys[0]), (old, keys[1])):
        (tmp_path / "receipt.json").write_bytes(file)
        monkeypatch.setenv("FTPGATE_SECRET_KEY", NEW)
        monkeypatch.setenv("FTPGATE_SECRET_KEY_FALLBACKS", OLD)
        assert run(["receipt", "verify", str(tmp_path / "receipt.json"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["key"] == key
    monkeypatch.setenv("FTPGATE_SECRET_KEY_FALLBACKS", "")
    assert run(["receipt", "verify", str(tmp_path / "receipt.json")]) == 1


def test_secrets_are_sealed_anew(use: Rotate) -> None:
    phone = set_up(person("alice"))
    endpoint, secret = make_endpoint(make_shop())
    use(NEW)
    with pytest.raises(CommandError, match="2 secrets open with none of the keys"):
        call_command("reseal", stdout=StringIO())
    use(NEW, OLD)
    out = StringIO()
    call_command("reseal", stdout=out)
    assert out.getvalue() == "2 secrets are encrypted with FTPGATE_SECRET_KEY\n"
    use(NEW)
    assert unseal(PURPOSE, Endpoint.objects.get(pk=endpoint.pk).secret) == secret
    assert Authenticator.objects.get().matches(phone.code())
    use(OLD)
    with pytest.raises(Unreadable):
        unseal(PURPOSE, Endpoint.objects.get(pk=endpoint.pk).secret)
