"""Signing in under attack, over the pages: what is refused, who still gets in, and what the log says."""

from __future__ import annotations

import logging

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from tests.webportal.shop import make_user
from tests.webportal.visiting import text, visitor
from webportal.accounts.models import User
from webportal.accounts.sign_in_limiter import MOST_AT_ADDRESS, MOST_OF_NAME_AT_ADDRESS
from webportal.site.requests import client_address

pytestmark = pytest.mark.django_db

PASSWORD = "a long pass phrase 7"


@pytest.fixture
def alice() -> User:
    user = make_user("alice")
    user.set_password(PASSWORD)
    user.is_staff = True
    user.save()
    return user


def sign_in(browser: Client, name: str, password: str, *, page: str = "/sign-in/", **sent: str) -> int:
    return browser.post(page, {"username": name, "password": password}, **sent).status_code  # type: ignore[arg-type]


@pytest.mark.parametrize("page", ["/sign-in/", "/admin/login/"])
def test_wrong_passwords_close_a_name_at_that_address_only(alice: User, page: str) -> None:
    guesser = visitor()
    wrong = [sign_in(guesser, "alice", f"wrong{n}", page=page) for n in range(MOST_OF_NAME_AT_ADDRESS)]
    assert set(wrong) == {200}
    locked = guesser.post(page, {"username": "alice", "password": PASSWORD})
    assert locked.status_code == 429
    assert 0 < int(locked["Retry-After"]) <= 900
    assert "15 minutes" in text(locked)
    assert "go on working" in text(locked)
    assert sign_in(visitor(), "alice", PASSWORD, page="/admin/login/") == 429, "the other form counts too"
    assert sign_in(visitor(), "alice", PASSWORD, page=page, REMOTE_ADDR="192.0.2.7") == 302


def test_no_password_is_hashed_for_who_is_refused(alice: User, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(MOST_AT_ADDRESS):
        assert sign_in(visitor(), f"name{n}", "Summer2026!") == 200
    hashed: list[str] = []
    monkeypatch.setattr(User, "check_password", lambda self, raw: hashed.append(raw))
    monkeypatch.setattr(User, "set_password", lambda self, raw: hashed.append(raw))
    for name in ("alice", "nobody", "", "x" * 5_000):
        assert sign_in(visitor(), name, PASSWORD) in (200, 429)
    assert hashed == []


def test_a_browser_that_was_signed_in_before_gets_in_from_anywhere(alice: User) -> None:
    own = visitor()
    assert sign_in(own, "alice", PASSWORD) == 302
    assert own.cookies["known"]["httponly"]
    own.post("/sign-out/")
    for n in range(MOST_AT_ADDRESS):
        sign_in(visitor(), "alice" if n % 2 else f"n{n}", "wrong")
    assert sign_in(visitor(), "alice", PASSWORD) == 429
    forged = visitor()
    forged.cookies["known"] = own.cookies["known"].value.partition("-")[0] + "-forged"
    assert sign_in(forged, "alice", PASSWORD) == 429
    make_user("boris")
    assert sign_in(own, "boris", PASSWORD) == 429, "it is known for one name"
    assert [sign_in(own, "alice", "wrong") for _ in range(MOST_OF_NAME_AT_ADDRESS)] == [200] * MOST_OF_NAME_AT_ADDRESS
    assert sign_in(own, "alice", PASSWORD) == 429
    other = visitor()
    assert sign_in(other, "alice", PASSWORD, REMOTE_ADDR="192.0.2.7") == 302


def test_a_wrong_sign_in_is_logged_with_its_address(alice: User, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "ftpgate.auth"):
        sign_in(visitor(), "alice", "wrong", REMOTE_ADDR="2001:db8::7")
        sign_in(visitor(), "alice", PASSWORD)
        visitor().get("/api/v1/items", headers={"Authorization": "Bearer ftpgate_wrong"}, REMOTE_ADDR="192.0.2.9")
        visitor().get("/api/v1/items")
    assert [record.getMessage() for record in caplog.records if record.name == "ftpgate.auth"] == [
        "failed sign-in from 2001:db8::7 by password",
        "failed sign-in from 192.0.2.9 by API key",
    ]


def test_wrong_keys_are_refused_after_a_while() -> None:
    wrong = [visitor().get("/api/v1/items", headers={"Authorization": f"Bearer ftpgate_{n}"}) for n in range(MOST_AT_ADDRESS + 1)]
    assert {answer.status_code for answer in wrong[:-1]} == {401}
    assert (wrong[-1].status_code, wrong[-1].json()["type"]) == (429, "urn:ftpgate:rate")
    assert 0 < int(wrong[-1]["Retry-After"]) <= 900


TRUSTED = "10.0.0.1, 10.1.0.0/16, fd00::/8"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1,10.1.2.3, 10.0.0.1", "198.51.100.1"),
        ("10.0.0.1", "10.1.2.3", "10.1.2.3"),
        ("::ffff:10.0.0.1", "198.51.100.1:40000", "198.51.100.1"),
        ("fd00::1", "[2001:db8::1]:443", "2001:db8::1"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, 10.1.2.3, <script>", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9," * 10_000 + "198.51.100.1", "198.51.100.1"),
        ("", "198.51.100.1", ""),
    ],
)
def test_the_clients_address_is_the_last_that_no_trusted_proxy_has(peer: str, forwarded: str, client: str) -> None:
    from ftpgate.settings import load

    trusted = load({"FTPGATE_TRUSTED_PROXIES": TRUSTED}).trusted_proxies
    assert client_address(peer, forwarded, trusted) == client
    assert client_address(peer, forwarded, ()) == peer
