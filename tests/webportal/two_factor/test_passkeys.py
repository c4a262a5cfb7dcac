"""What a browser answers for a passkey, right, wrong, of others and made up; by a key of software, `browser/` has Chromium's."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client
from fido2.cose import ES256
from fido2.webauthn import (
    Aaguid,
    AttestationObject,
    AttestedCredentialData,
    AuthenticatorData,
    CollectedClientData,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.responses import Response
from tests.webportal.shop import make_user
from tests.webportal.visiting import text, visitor
from webportal.accounts.models import User
from webportal.site.views.two_factor import _host
from webportal.two_factor import passkeys, services
from webportal.two_factor.models import Passkey

pytestmark = pytest.mark.django_db

HOST, ORIGIN = "shop.example.org", "https://shop.example.org"
PASSWORD = "a long pass phrase 7"
ADD, SECOND = "/account/two-factor/passkey/", "/sign-in/second/"


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class SoftKey:
    """A security key of software, and the browser before it."""

    def __init__(self, credential_id: bytes = b"k" * 16, *, origin: str = ORIGIN, host: str = HOST, counts: bool = True) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._id = credential_id
        self.origin, self.host = origin, host
        self.count = 0
        self._counts = counts

    def create(self, options: dict[str, Any]) -> str:
        cose = ES256.from_cryptography_key(self._key.public_key())
        known = AttestedCredentialData.create(Aaguid.NONE, self._id, cose)
        made = AttestationObject.create("none", self._authenticated(known), {})
        return self._answer({"attestationObject": encoded(made)}, self._client("webauthn.create", options))

    def get(self, options: dict[str, Any]) -> str:
        self.count += self._counts
        data, client = self._authenticated(), self._client("webauthn.get", options)
        signature = self._key.sign(bytes(data) + client.hash, ec.ECDSA(hashes.SHA256()))
        return self._answer({"authenticatorData": encoded(data), "signature": encoded(signature)}, client)

    def _client(self, kind: str, options: dict[str, Any]) -> CollectedClientData:
        return CollectedClientData.create(type=kind, challenge=options["challenge"], origin=self.origin)

    def _authenticated(self, known: AttestedCredentialData | None = None) -> AuthenticatorData:
        flags = AuthenticatorData.FLAG.UP | (AuthenticatorData.FLAG.AT if known else 0)
        hashed = hashes.Hash(hashes.SHA256())
        hashed.update(self.host.encode())
        return AuthenticatorData.create(hashed.finalize(), flags, self.count, known or b"")

    def _answer(self, response: dict[str, str], client: CollectedClientData) -> str:
        whole = response | {"clientDataJSON": encoded(client)}
        return json.dumps({"id": encoded(self._id), "rawId": encoded(self._id), "type": "public-key", "response": whole})


@pytest.fixture(autouse=True)
def _named(settings: Any) -> None:
    settings.ALLOWED_HOSTS = [HOST, "www.example.org", "testserver", "127.0.0.1", "[::1]"]


@pytest.fixture
def alice() -> User:
    return person("alice")


def person(name: str) -> User:
    user = make_user(name)
    user.set_password(PASSWORD)
    user.save()
    return user


def shop_visitor(user: User | None = None) -> Client:
    browser = visitor(user)
    browser.defaults["SERVER_NAME"] = HOST
    return browser


def asked(page: Response) -> dict[str, Any]:
    found = re.search(r'<script id="passkey-question" type="application/json">(.*?)</script>', text(page))
    assert found, text(page)
    question: dict[str, Any] = json.loads(found[1])
    return question


def add(user: User, key: SoftKey) -> Client:
    browser = shop_visitor(user)
    answer = key.create(asked(browser.get(ADD)))
    assert browser.post(ADD, {"name": "my key", "credential": answer}).status_code == 200
    return browser


def sign_in(user: User) -> tuple[Client, dict[str, Any]]:
    browser = shop_visitor()
    assert browser.post("/sign-in/", {"username": user.username, "password": PASSWORD})["Location"] == SECOND
    return browser, asked(browser.get(SECOND))


def test_a_passkey_signs_in(alice: User) -> None:
    key = SoftKey()
    add(alice, key)
    browser, question = sign_in(alice)
    assert [known["id"] for known in question["allowCredentials"]] == [encoded(b"k" * 16)]
    assert browser.post(SECOND, {"credential": key.get(question)})["Location"] == "/"
    assert browser.get("/account/").status_code == 200
    kept = Passkey.objects.get()
    assert (kept.name, kept.host, kept.signatures) == ("my key", HOST, 1)
    assert kept.used_at is not None


def test_one_that_does_not_count_signs_in_again_and_again(alice: User) -> None:
    key = SoftKey(counts=False)
    add(alice, key)
    for _ in range(2):
        browser, question = sign_in(alice)
        assert browser.post(SECOND, {"credential": key.get(question)}).status_code == 302


def test_an_answer_is_good_once(alice: User) -> None:
    key = SoftKey(counts=False)
    add(alice, key)
    browser, question = sign_in(alice)
    other, _ = sign_in(alice)
    answer = key.get(question)
    assert other.post(SECOND, {"credential": answer}).status_code == 422, "it answers another question"
    assert browser.post(SECOND, {"credential": answer}).status_code == 302
    again, _ = sign_in(alice)
    assert again.post(SECOND, {"credential": answer}).status_code == 422


def test_a_question_is_answered_once(alice: User) -> None:
    key = SoftKey(counts=False)
    add(alice, key)
    browser, question = sign_in(alice)
    assert browser.post(SECOND, {"credential": "{}"}).status_code == 422
    assert browser.post(SECOND, {"credential": key.get(question)}).status_code == 422


def test_a_copy_that_counts_backwards_is_refused(alice: User) -> None:
    key = SoftKey()
    add(alice, key)
    for count, status in ((5, 302), (5, 422), (3, 422), (6, 302)):
        browser, question = sign_in(alice)
        key.count = count - 1
        assert browser.post(SECOND, {"credential": key.get(question)}).status_code == status, count


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://thief.example", HOST),
        ("https://sub.shop.example.org", HOST),
        ("https://example.org", HOST),
        ("http://shop.example.org", HOST),
        ("https://shop.example.org.thief.example", HOST),
        ("null", HOST),
        (ORIGIN, "example.org"),
        (ORIGIN, "thief.example"),
    ],
)
def test_answers_from_other_pages_are_refused(alice: User, origin: str, host: str) -> None:
    key = SoftKey()
    add(alice, key)
    key.origin, key.host = origin, host
    browser, question = sign_in(alice)
    assert browser.post(SECOND, {"credential": key.get(question)}).status_code == 422
    adding = shop_visitor(alice)
    other = SoftKey(b"o" * 16, origin=origin, host=host)
    assert adding.post(ADD, {"name": "x", "credential": other.create(asked(adding.get(ADD)))}).status_code == 422
    assert Passkey.objects.count() == 1


def test_anothers_passkey_does_not_sign_in(alice: User) -> None:
    boris, hers, his = person("boris"), SoftKey(b"a" * 16), SoftKey(b"b" * 16)
    add(alice, hers)
    add(boris, his)
    browser, question = sign_in(alice)
    assert browser.post(SECOND, {"credential": his.get(question)}).status_code == 422
    browser, question = sign_in(alice)
    his._id = hers._id
    assert browser.post(SECOND, {"credential": his.get(question)}).status_code == 422, "nor under the id of hers"


def test_one_passkey_is_of_one_user(alice: User) -> None:
    key = SoftKey()
    add(alice, key)
    for user in (alice, person("boris")):
        browser = shop_visitor(user)
        answer = browser.post(ADD, {"name": "again", "credential": key.create(asked(browser.get(ADD)))})
        assert answer.status_code == 422
    assert Passkey.objects.count() == 1


def test_a_user_has_a_bounded_number(alice: User) -> None:
    for n in range(passkeys.MOST_PASSKEYS):
        Passkey.objects.create(user=alice, name=f"{n}", host="elsewhere", credential=b"", digest=f"{n}")
    browser = shop_visitor(alice)
    answer = browser.post(ADD, {"name": "x", "credential": SoftKey().create(asked(browser.get(ADD)))})
    assert answer.status_code == 422
    assert "Add a passkey" not in text(browser.get("/account/two-factor/"))


def test_the_first_one_comes_with_recovery_codes_and_later_ones_do_not(alice: User) -> None:
    browser = add(alice, SoftKey())
    assert services.standing_of(alice).recovery_codes == services.RECOVERY_CODES
    question = asked(browser.get(ADD))
    assert [known["id"] for known in question["excludeCredentials"]] == [encoded(b"k" * 16)]
    second = browser.post(ADD, {"name": "second", "credential": SoftKey(b"2" * 16).create(question)})
    assert second["Location"] == "/account/two-factor/"


def test_under_another_name_of_the_portal_the_rest_still_works(alice: User) -> None:
    add(alice, SoftKey())
    codes = services.make_recovery_codes(alice)
    browser = visitor()
    browser.defaults["SERVER_NAME"] = "www.example.org"
    browser.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    page = text(browser.get(SECOND))
    assert "another address" in page
    assert "passkey-question" not in page
    assert browser.post(SECOND, {"recovery_code": codes[0]}).status_code == 302


@pytest.mark.parametrize("server", ["127.0.0.1", "[::1]"])
def test_by_its_number_a_portal_offers_none(alice: User, server: str) -> None:
    browser = visitor(alice)
    browser.defaults["SERVER_NAME"] = server
    assert "by its name" in text(browser.get("/account/two-factor/"))
    assert "passkey-question" not in text(browser.get(ADD))


@pytest.mark.parametrize(
    ("given", "host"), [("shop.example.org", HOST), ("shop.example.org:8443", HOST), ("[::1]:8000", "[::1]"), ("[::1]", "[::1]")]
)
def test_the_host_is_without_its_port(given: str, host: str, rf: Any) -> None:
    assert _host(rf.get("/", headers={"Host": given})) == host


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.binary(max_size=80).map(encoded),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELD = JSON | st.binary(max_size=200).map(encoded)
ODD = st.fixed_dictionaries(
    {"id": FIELD, "rawId": FIELD, "type": FIELD},
    optional={
        "response": FIELD
        | st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(
                ("clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"), FIELD
            ),
        ),
        "clientExtensionResults": FIELD,
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(odd=JSON.map(json.dumps) | ODD.map(json.dumps) | st.text(max_size=100))
def test_what_is_no_answer_is_refused_in_words(alice: User, odd: str) -> None:
    Passkey.objects.get_or_create(user=alice, digest="x", host=HOST, credential=_credential())
    question = passkeys.ask_for_known(alice, HOST)
    assert question is not None
    with pytest.raises(passkeys.Refused):
        passkeys.check(alice, HOST, question.state, odd)
    with pytest.raises(passkeys.Refused):
        passkeys.register(alice, HOST, question.state, odd, "x")
    with pytest.raises(passkeys.Refused):
        passkeys.check(alice, HOST, {}, odd)


@pytest.mark.parametrize("odd", ["[" * 5_000, "{" * 5_000, "x" * 20_000, "", "null", '{"id": "a"}', "\x00"])
def test_odd_answers_are_no_error_of_the_portal(alice: User, odd: str) -> None:
    add(alice, SoftKey())
    browser, _ = sign_in(alice)
    assert browser.post(SECOND, {"credential": odd}).status_code in (400, 422)
    browser = shop_visitor(alice)
    browser.get(ADD)
    assert browser.post(ADD, {"name": "x", "credential": odd}).status_code in (400, 422)


def _credential() -> bytes:
    key = ec.derive_private_key(7, ec.SECP256R1())
    return bytes(AttestedCredentialData.create(Aaguid.NONE, b"k", ES256.from_cryptography_key(key.public_key())))
