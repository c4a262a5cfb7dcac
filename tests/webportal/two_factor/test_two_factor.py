"""Two-factor authentication over the pages: set up, asked for at both sign-ins, used once, limited, removed, reset, required."""

from __future__ import annotations

import base64
import dataclasses
import logging
import re
import time
from collections.abc import Callable
from io import StringIO

import pytest
from django.conf import settings as django_settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django_otp.oath import TOTP
from pytest_django.fixtures import Settings

from tests.support.at_once import at_once
from tests.support.responses import Response
from tests.webportal.shop import make_user
from tests.webportal.visiting import text, visitor
from webportal.accounts.models import User
from webportal.accounts.sign_in_limiter import MOST_CODES_OF_NAME, MOST_OF_NAME_AT_ADDRESS
from webportal.two_factor import services
from webportal.two_factor.models import Authenticator, Passkey, RecoveryCodes

pytestmark = pytest.mark.django_db

PASSWORD = "a long pass phrase 7"
SECOND = "/sign-in/second/"
OVERVIEW = "/account/two-factor/"


class Phone:
    """An authenticator app with a clock of its own."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def code(self, steps: int = 0) -> str:
        """The code of now, or of some steps of 30 seconds later."""
        codes = TOTP(self.key)
        codes.time = time.time() + 30 * steps
        return f"{codes.token():06}"


@pytest.fixture
def alice() -> User:
    return person("alice")


def person(name: str, **fields: object) -> User:
    user = make_user(name)
    user.set_password(PASSWORD)
    for field, value in ({"is_staff": True, "is_superuser": True} | fields).items():
        setattr(user, field, value)
    user.save()
    return user


def set_up(user: User) -> Phone:
    """As if the user had set an app up, a while ago."""
    key = services.new_key()
    device = Authenticator.of(user, key)
    device.save()
    return Phone(key)


def enter(browser: Client, name: str = "alice", *, page: str = "/sign-in/", **sent: str) -> Response:
    return browser.post(page, {"username": name, "password": PASSWORD}, **sent)  # type: ignore[arg-type]


def is_signed_in(browser: Client) -> bool:
    return browser.get("/account/").status_code == 200


# ------------------------------------------------------------------------------------------------ setting up
def shown_key(page: Response) -> bytes:
    found = re.search(r'<code id="key">([A-Z2-7 ]+)</code>', text(page))
    assert found
    return base64.b32decode(found[1].replace(" ", ""))


def test_an_app_is_set_up_by_a_code_that_it_computed(alice: User) -> None:
    browser, elsewhere = visitor(alice), visitor(alice)
    assert is_signed_in(browser)
    assert is_signed_in(elsewhere)
    page = browser.get("/account/two-factor/app/")
    assert page["Cache-Control"] == "no-store, private"
    phone = Phone(shown_key(page))
    wrong = browser.post("/account/two-factor/app/", {"code": "000000" if phone.code() != "000000" else "111111"})
    assert (wrong.status_code, services.is_on(alice)) == (422, False)
    assert shown_key(wrong) == phone.key, "the app need not be told another one"
    done = browser.post("/account/two-factor/app/", {"code": f"{phone.code()[:3]} {phone.code()[3:]}"})
    codes = re.findall(r"\b(?:[2-9a-z]{4}-){3}[2-9a-z]{4}\b", text(done))
    assert (len(codes), done["Cache-Control"]) == (services.RECOVERY_CODES, "no-store, private")
    assert services.is_on(alice)
    assert is_signed_in(browser)
    assert not is_signed_in(elsewhere), "browsers that gave a password only are signed out"
    kept = RecoveryCodes.objects.get(user=alice)
    assert not any(code in str(kept.hashes) or code.replace("-", "") in str(kept.hashes) for code in codes)
    assert phone.key.hex() not in Authenticator.objects.get(user=alice).sealed_key


@pytest.mark.parametrize("page", ["app/", "passkey/"])
def test_a_browser_left_alone_sets_nothing_up(alice: User, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, now = visitor(alice), time.time()
    assert browser.get(OVERVIEW + page).status_code == 200
    with monkeypatch.context() as clock:
        clock.setattr("webportal.accounts.sign_ins.time.time", lambda: now + 1_000)
        assert "Confirm that it is you" in text(browser.get(OVERVIEW + page))
        assert "Confirm that it is you" in text(browser.post(OVERVIEW + page, {"code": "123456", "name": "x"}))
        assert browser.post(OVERVIEW + page, {"password": "wrong"}).status_code == 422
        assert browser.post(OVERVIEW + page, {"password": PASSWORD})["Location"] == OVERVIEW + page
        assert "Confirm that it is you" not in text(browser.get(OVERVIEW + page))
    assert not services.is_on(alice)


def test_a_key_is_not_in_the_session_as_it_is(alice: User) -> None:
    browser = visitor(alice)
    key = shown_key(browser.get("/account/two-factor/app/"))
    assert key.hex() not in str(dict(browser.session))


def test_another_app_takes_the_place_of_the_first(alice: User) -> None:
    old, browser = set_up(alice), visitor(alice)
    services.make_recovery_codes(alice)
    new = Phone(shown_key(browser.get("/account/two-factor/app/")))
    assert browser.post("/account/two-factor/app/", {"code": new.code()}).status_code == 302
    assert Authenticator.objects.get(user=alice).matches(new.code(1))
    assert services.check_code(alice, old.code()) is None
    assert RecoveryCodes.objects.filter(user=alice).count() == 1


# ------------------------------------------------------------------------------------------------ signing in
@pytest.mark.parametrize("page", ["/sign-in/", "/admin/login/"])
def test_the_password_alone_opens_nothing(alice: User, page: str) -> None:
    phone, browser = set_up(alice), visitor()
    first = browser.post(page, {"username": "alice", "password": PASSWORD, "next": "/history/"})
    assert (first.status_code, first["Location"]) == (302, SECOND)
    assert "known" not in browser.cookies, "a browser is remembered for those who are in"
    assert not is_signed_in(browser)
    assert browser.get("/admin/").status_code == 302
    assert "alice" in text(browser.get(SECOND))
    second = browser.post(SECOND, {"code": phone.code()})
    assert (second.status_code, second["Location"]) == (302, "/history/")
    assert is_signed_in(browser)
    assert browser.cookies["known"]["httponly"]
    assert browser.get("/admin/").status_code == 200


def test_the_admins_own_page_leads_back_to_the_admin(alice: User) -> None:
    browser = visitor()
    assert enter(browser, page="/admin/login/")["Location"] == "/admin/"
    assert browser.get("/admin/login/")["Location"] == "/admin/"
    customer = person("carl", is_staff=False, is_superuser=False)
    assert "carl" in text(visitor(customer).get("/admin/login/"))
    assert enter(visitor(), "carl", page="/admin/login/").status_code == 200


def test_a_code_is_right_once(alice: User) -> None:
    phone = set_up(alice)
    code = phone.code()
    one, other = visitor(), visitor()
    for browser in (one, other):
        enter(browser)
    assert one.post(SECOND, {"code": code}).status_code == 302
    again = other.post(SECOND, {"code": code})
    assert again.status_code == 422
    assert "used already" in text(again)
    assert services.check_code(alice, phone.code(-1)) is None, "nor are earlier ones"
    assert other.post(SECOND, {"code": phone.code(1)}).status_code == 302


@pytest.mark.parametrize("steps", [-3, 3])
def test_codes_of_other_times_are_wrong(alice: User, steps: int) -> None:
    assert services.check_code(alice, set_up(alice).code(steps)) is None


@pytest.mark.parametrize("code", ["", "12345", "1234567", "١٢٣٤٥٦", "abcdef", "-12345", "1e5", "0x1234", "x" * 5_000, "🔑" * 6])
def test_what_is_no_code_is_wrong(alice: User, code: str) -> None:
    set_up(alice)
    services.make_recovery_codes(alice)
    browser = visitor()
    enter(browser)
    assert browser.post(SECOND, {"code": code}).status_code == 422
    assert browser.post(SECOND, {"recovery_code": code}).status_code == 422
    assert not is_signed_in(browser)


def test_a_recovery_code_is_used_up(alice: User) -> None:
    set_up(alice)
    codes = services.make_recovery_codes(alice)
    one, other = visitor(), visitor()
    for browser in (one, other):
        enter(browser)
    assert one.post(SECOND, {"recovery_code": codes[0].upper().replace("-", " ")}).status_code == 302
    assert "9 recovery codes are left" in text(one.get("/"))
    assert other.post(SECOND, {"recovery_code": codes[0]}).status_code == 422
    assert other.post(SECOND, {"recovery_code": codes[1]}).status_code == 302
    fresh = services.make_recovery_codes(alice)
    assert services.check_recovery_code(alice, codes[2]) is None
    assert services.check_recovery_code(alice, fresh[0]) is not None


def test_a_step_is_for_ten_minutes_and_for_this_password(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    phone, late, changed = set_up(alice), visitor(), visitor()
    for browser in (late, changed):
        enter(browser)
    with monkeypatch.context() as clock:
        now = time.time()
        clock.setattr("webportal.site.second_step.time.time", lambda: now + 601)
        assert late.get(SECOND)["Location"] == "/sign-in/"
    alice.set_password("another pass phrase 8")
    alice.save()
    assert changed.post(SECOND, {"code": phone.code()})["Location"] == "/sign-in/"
    assert visitor().get(SECOND)["Location"] == "/sign-in/"


def test_who_was_shut_out_meanwhile_stays_out(alice: User) -> None:
    phone, browser = set_up(alice), visitor()
    enter(browser)
    User.objects.update(is_active=False)
    assert browser.post(SECOND, {"code": phone.code()})["Location"] == "/sign-in/"


def test_a_target_elsewhere_is_not_kept(alice: User) -> None:
    phone, browser = set_up(alice), visitor()
    browser.post("/sign-in/", {"username": "alice", "password": PASSWORD, "next": "https://thief.example/"})
    assert browser.post(SECOND, {"code": phone.code()})["Location"] == "/"


# ------------------------------------------------------------------------------------------------ wrong ones
@pytest.mark.parametrize("field", ["code", "recovery_code"])
def test_wrong_codes_close_the_name_at_that_address(alice: User, field: str, caplog: pytest.LogCaptureFixture) -> None:
    phone, browser = set_up(alice), visitor()
    enter(browser)
    with caplog.at_level(logging.WARNING, "ftpgate.auth"):
        wrong = [browser.post(SECOND, {field: f"wrong{n}"}).status_code for n in range(MOST_OF_NAME_AT_ADDRESS)]
    assert set(wrong) == {422}
    logged = {record.getMessage() for record in caplog.records if record.name == "ftpgate.auth"}
    assert logged == {"failed sign-in from 127.0.0.1 by code"}
    refused = browser.post(SECOND, {"code": phone.code()})
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 900
    assert enter(visitor()).status_code == 429, "wrong passwords count with them"
    far = visitor()
    assert enter(far, REMOTE_ADDR="192.0.2.7")["Location"] == SECOND
    assert far.post(SECOND, {"code": phone.code()}, REMOTE_ADDR="192.0.2.7").status_code == 302


def test_the_right_password_does_not_forgive_wrong_codes(alice: User) -> None:
    set_up(alice)
    browser = visitor()
    for n in range(MOST_OF_NAME_AT_ADDRESS):
        enter(browser)
        assert browser.post(SECOND, {"code": f"x{n}"}).status_code == 422
    assert enter(browser).status_code == 429


def test_codes_cannot_be_guessed_from_many_addresses(alice: User) -> None:
    phone, own = set_up(alice), visitor()
    enter(own)
    own.post(SECOND, {"code": phone.code()})
    own.post("/sign-out/")
    for n in range(MOST_CODES_OF_NAME):
        far = visitor()
        enter(far, REMOTE_ADDR=f"198.51.100.{n}")
        assert far.post(SECOND, {"code": "x"}, REMOTE_ADDR=f"198.51.100.{n}").status_code == 422
    another = visitor()
    enter(another, REMOTE_ADDR="203.0.113.1")
    assert another.post(SECOND, {"code": phone.code(1)}, REMOTE_ADDR="203.0.113.1").status_code == 429
    assert enter(own)["Location"] == SECOND
    assert own.post(SECOND, {"code": phone.code(1)}).status_code == 302, "in their own browser they get in"


def test_a_key_that_cannot_be_read_is_no_error(alice: User) -> None:
    phone = set_up(alice)
    codes = services.make_recovery_codes(alice)
    Authenticator.objects.update(sealed_key="of another secret key")
    assert services.check_code(alice, phone.code()) is None
    assert services.check_recovery_code(alice, codes[0]) is not None


# ------------------------------------------------------------------------------------------------ removing
def test_an_app_is_removed_with_the_password(alice: User) -> None:
    set_up(alice)
    services.make_recovery_codes(alice)
    browser = visitor(alice)
    page = f"{OVERVIEW}app/remove/"
    assert "password alone" in text(browser.get(page))
    assert browser.post(page, {"password": "wrong"}).status_code == 422
    assert services.is_on(alice)
    assert browser.post(page, {"password": PASSWORD})["Location"] == OVERVIEW
    assert not services.is_on(alice)
    assert not RecoveryCodes.objects.exists()
    assert enter(visitor())["Location"] == "/"
    assert browser.get(page).status_code == 404


@pytest.mark.parametrize("page", ["app/remove/", "codes/"])
def test_passwords_are_not_guessed_there_either(alice: User, page: str) -> None:
    set_up(alice)
    browser = visitor(alice)
    for n in range(MOST_OF_NAME_AT_ADDRESS):
        assert browser.post(OVERVIEW + page, {"password": f"wrong{n}"}).status_code == 422
    assert browser.post(OVERVIEW + page, {"password": PASSWORD}).status_code == 429


def test_new_codes_want_the_password(alice: User) -> None:
    browser = visitor(alice)
    assert browser.get(f"{OVERVIEW}codes/")["Location"] == OVERVIEW
    set_up(alice)
    old = services.make_recovery_codes(alice)
    shown = text(browser.post(f"{OVERVIEW}codes/", {"password": PASSWORD}))
    assert old[0] not in shown
    assert services.check_recovery_code(alice, re.findall(r"(?:[2-9a-z]{4}-){3}[2-9a-z]{4}", shown)[0]) is not None


def test_nobody_removes_anothers(alice: User) -> None:
    other = person("boris")
    set_up(other)
    passkey = Passkey.objects.create(user=other, name="key", host="localhost", credential=b"x", digest="x")
    browser = visitor(alice)
    assert browser.post(f"{OVERVIEW}passkey/{passkey.pk}/remove/", {"password": PASSWORD}).status_code == 404
    assert browser.post(f"{OVERVIEW}app/remove/", {"password": PASSWORD}).status_code == 404
    assert services.standing_of(other).passkeys == [passkey]


# ------------------------------------------------------------------------------------------------ reset
def reset_by(staff: User, user: User, **sent: str) -> Response:
    chosen = {"action": "reset_two_factor", "_selected_action": [user.pk]}
    return visitor(staff).post(reverse("admin:accounts_user_changelist"), chosen | sent, follow=True)


def test_a_superuser_resets_anothers(alice: User) -> None:
    boris = person("boris", is_superuser=False)
    phone = set_up(boris)
    services.make_recovery_codes(boris)
    his = visitor()
    enter(his, "boris")
    his.post(SECOND, {"code": phone.code()})
    assert is_signed_in(his)
    assert "boris" in text(reset_by(alice, boris))
    assert services.is_on(boris), "it is asked first"
    reset_by(alice, boris, confirmed="yes")
    assert not services.is_on(boris)
    assert not RecoveryCodes.objects.exists()
    assert not is_signed_in(his)
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_repr, entry.change_message) == (alice, "boris", "two-factor authentication reset")
    history = visitor(alice).get(reverse("admin:accounts_user_history", args=[boris.pk]))
    assert "two-factor authentication reset" in text(history)


def test_other_staff_reset_nobodys(alice: User) -> None:
    clerk = person("clerk", is_superuser=False)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=("change_user", "view_user")))
    customer = person("carl", is_staff=False, is_superuser=False)
    set_up(customer)
    reset_by(clerk, customer, confirmed="yes")
    assert services.is_on(customer)


def test_the_users_page_tells_what_is_set_up(alice: User) -> None:
    page = reverse("admin:accounts_user_change", args=[alice.pk])
    assert "authenticator app" not in text(visitor(alice).get(page))
    set_up(alice)
    assert "authenticator app" in text(visitor(alice).get(page))


def test_the_command_resets_for_who_has_lost_all(alice: User) -> None:
    def said(*arguments: str) -> str:
        out = StringIO()
        call_command("two_factor", *arguments, stdout=out)
        return out.getvalue()

    assert said("alice") == "alice: no authenticator app, passkeys: 0, recovery codes left: 0\n"
    set_up(alice)
    assert said("alice") == "alice: an authenticator app, passkeys: 0, recovery codes left: 0\n"
    assert said("alice", "--reset") == "alice: removed; the password alone is asked for\n"
    assert said("alice", "--reset") == "alice: there was nothing to reset\n"
    assert enter(visitor())["Location"] == "/"
    with pytest.raises(CommandError, match="no user 'nobody'"):
        said("nobody")


# ------------------------------------------------------------------------------------------------ required
@pytest.fixture
def required(settings: Settings) -> None:
    settings.FTPGATE = dataclasses.replace(django_settings.FTPGATE, staff_two_factor="require")


@pytest.mark.usefixtures("required")
def test_staff_see_nothing_before_it_is_set_up(alice: User) -> None:
    browser = visitor(alice)
    for page in ("/", "/admin/", "/staff/", "/account/", "/history/", "/api/v1/docs"):
        assert browser.get(page).headers.get("Location") == OVERVIEW, page
    assert browser.post("/admin/accounts/user/add/", {}).headers["Location"] == OVERVIEW
    assert "asks staff for it" in text(browser.get(OVERVIEW))
    phone = Phone(shown_key(browser.get(f"{OVERVIEW}app/")))
    assert browser.post(f"{OVERVIEW}app/", {"code": phone.code()}).status_code == 200
    assert browser.get("/admin/").status_code == 200
    assert browser.post(f"{OVERVIEW}app/remove/", {"password": PASSWORD}).status_code == 302
    assert browser.get("/admin/")["Location"] == OVERVIEW


@pytest.mark.usefixtures("required")
def test_it_is_asked_of_staff_only(alice: User) -> None:
    customer = person("carl", is_staff=False, is_superuser=False)
    assert visitor(customer).get("/").status_code == 200
    assert visitor().get("/sign-in/").status_code == 200


@pytest.mark.usefixtures("required")
def test_who_signed_in_without_it_has_to_sign_in_again(alice: User) -> None:
    browser = visitor(alice)
    phone = set_up(alice)
    assert browser.get("/staff/")["Location"] == "/sign-in/?next=/staff/"
    assert enter(browser)["Location"] == SECOND
    assert browser.post(SECOND, {"code": phone.code()}).status_code == 302
    assert browser.get("/staff/").status_code == 200


# ------------------------------------------------------------------------------------------------ at the same time
@pytest.mark.django_db(transaction=True)
def test_a_code_is_right_once_also_at_the_same_moment() -> None:
    alice = person("alice")
    phone = set_up(alice)
    codes = services.make_recovery_codes(alice)
    code = phone.code()
    assert times_right(lambda: services.check_code(alice, code)) == 1
    assert times_right(lambda: services.check_recovery_code(alice, codes[0])) == 1


def times_right(check: Callable[[], object]) -> int:
    """How many of four threads are told that it is right."""
    return sum(found is not None for found in at_once(lambda _: check()))
