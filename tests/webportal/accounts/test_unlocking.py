"""Locked out by others' guesses: a mail lets the owner of a name in, and tells nobody else anything."""

from __future__ import annotations

import re
import time

import pytest
from django.core import mail
from django.test import Client

from tests.webportal.shop import make_user
from tests.webportal.visiting import text, visitor
from webportal.accounts import unlocking
from webportal.accounts.models import User
from webportal.accounts.sign_in_limiter import MOST_AT_ADDRESS, MOST_OF_NAME_AT_ADDRESS
from webportal.accounts.unlocking import MOST_ASKED_AT_ADDRESS, MOST_MAILS, TTL, Requests, read_link
from webportal.mails.unlock import send_unlocks

pytestmark = pytest.mark.django_db

PASSWORD = "a long pass phrase 7"


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Nobody has asked before."""
    made = Clock()
    monkeypatch.setattr(unlocking, "requests", Requests(made))
    return made


@pytest.fixture
def alice() -> User:
    user = make_user("alice")
    user.set_password(PASSWORD)
    user.email = "alice@example.com"
    user.save()
    return user


def sign_in(browser: Client, name: str = "alice", password: str = PASSWORD, **sent: str) -> int:
    return browser.post("/sign-in/", {"username": name, "password": password}, **sent).status_code  # type: ignore[arg-type]


def lock(name: str = "alice", **sent: str) -> Client:
    guesser = visitor()
    for n in range(MOST_OF_NAME_AT_ADDRESS):
        sign_in(guesser, name, f"wrong{n}", **sent)
    return guesser


def ask(browser: Client, name: str = "alice", **sent: str) -> str:
    answer = browser.post("/sign-in/unlock/", {"name": name}, **sent)  # type: ignore[arg-type]
    assert answer.status_code == 200
    return re.sub(r'value="[^"]*"', "", text(answer))


def sent_links() -> list[str]:
    send_unlocks()
    links = [found for message in mail.outbox for found in re.findall(r"http://\S+?(/sign-in/unlock/\S+)", str(message.body))]
    mail.outbox.clear()
    return links


def test_the_owner_gets_in_where_others_have_locked_the_name(alice: User) -> None:
    lock()
    own = visitor()
    refused = own.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    assert refused.status_code == 429
    assert 'name="name" value="alice"' in text(refused)
    ask(own)
    send_unlocks()
    [message] = mail.outbox
    assert message.to == ["alice@example.com"]
    assert "127.0.0.1" in message.body
    [link] = sent_links()
    assert "sign in again" in text(own.get(link, follow=True))
    assert sign_in(own) == 302
    assert sign_in(visitor()) == 429, "others stay out"


def test_the_mail_is_in_the_readers_language(alice: User) -> None:
    alice.language = "ru"
    alice.save()
    ask(lock())
    send_unlocks()
    assert "действует сутки" in mail.outbox[0].body


def test_also_where_the_address_is_closed(alice: User) -> None:
    for n in range(MOST_AT_ADDRESS):
        sign_in(visitor(), f"n{n}", "wrong")
    own = visitor()
    assert sign_in(own) == 429
    ask(own)
    own.get(sent_links()[0])
    assert sign_in(own) == 302


def test_the_link_lets_nobody_guess_without_end(alice: User) -> None:
    ask(lock())
    own = visitor()
    own.get(sent_links()[0])
    assert [sign_in(own, password=f"wrong{n}") for n in range(MOST_OF_NAME_AT_ADDRESS + 1)][-2:] == [200, 429]


def test_the_answer_tells_nothing_of_names(alice: User) -> None:
    make_user("boris")  # without an address
    answers = set()
    for name in ("alice", "boris", "nobody", "", "x" * 5_000):
        lock(name or "empty", REMOTE_ADDR="192.0.2.7")
        answers.add(ask(visitor(), name, REMOTE_ADDR="192.0.2.7"))
    assert len(answers) == 1
    assert len(sent_links()) == 1


def test_a_mail_comes_only_to_who_is_locked_out(alice: User) -> None:
    lock()
    ask(visitor(), REMOTE_ADDR="192.0.2.7")
    assert sent_links() == []


def test_mails_for_a_name_are_few_and_their_links_outlast_them(
    alice: User, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    guesser = lock()
    for _ in range(MOST_MAILS + 3):
        ask(guesser)
    links = sent_links()
    assert len(links) == MOST_MAILS
    made = links[-1].split("/")[-2]
    at = time.time()
    monkeypatch.setattr("django.core.signing.time.time", lambda: at + TTL - 60)
    assert read_link(made) == alice, "as long as no further one can be had"
    clock.now += TTL
    ask(guesser)
    assert len(sent_links()) == 1
    monkeypatch.setattr("django.core.signing.time.time", lambda: at + TTL + 60)
    assert read_link(made) is None


def test_one_address_has_few_mails_sent(clock: Clock) -> None:
    asked = unlocking.requests
    for n in range(MOST_ASKED_AT_ADDRESS + 5):
        asked.ask(f"name{n}", f"2001:db8::{n:x}")
    taken = 0
    while asked.take() is not None:
        taken += 1
    assert taken == MOST_ASKED_AT_ADDRESS


def test_what_waits_is_bounded(clock: Clock) -> None:
    for n in range(1_000):
        unlocking.requests.ask(f"name{n}", f"10.{n // 200}.{n % 200}.1")
    assert len(unlocking.requests._waiting) == 200


def test_a_link_that_was_changed_is_none(alice: User) -> None:
    ask(lock())
    link = sent_links()[0]
    for wrong in (link[:-3] + "xx/", "/sign-in/unlock/x/", "/sign-in/unlock/a:b:c/"):
        browser = visitor()
        assert "not valid" in text(browser.get(wrong, follow=True))
        assert "known" not in browser.cookies


def test_a_mail_server_that_is_away_stops_nothing(alice: User, settings: object) -> None:
    ask(lock())
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"  # type: ignore[attr-defined]
    settings.EMAIL_PORT = 1  # type: ignore[attr-defined]
    assert send_unlocks() == 0
