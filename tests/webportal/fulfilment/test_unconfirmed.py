"""What was sent without proof: shown, and closed by the customer's word, once, and by nobody else's."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.core import mail
from django.db import IntegrityError, connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from ftpgate.cli import run
from ftpgate.commands.text import text as command_text
from ftpgate.grants import Batch, Delivered
from ftpgate.receipts import ReceiptError, public_text, sign, verify
from tests.webportal.gates import TellingGate, enter
from tests.webportal.shop import leave_unconfirmed, let_expire, make_grant, make_item, make_staff, make_user, whole
from tests.webportal.visiting import text, visitor
from webportal.accounts.models import User
from webportal.bridge import make_bridge
from webportal.cart.models import CartItem
from webportal.catalogue.models import Item
from webportal.config import environment
from webportal.core.errors import GrantError
from webportal.fulfilment import by_word
from webportal.fulfilment.by_word import complete_by_word
from webportal.fulfilment.checkout import add_to_cart
from webportal.fulfilment.services import revoke_grant
from webportal.grants.documents import grant_document
from webportal.grants.models import Grant, Segment
from webportal.grants.selectors import details
from webportal.grants.states import State
from webportal.history.models import Completion, Proof
from webportal.history.receipts import receipt_key, receipt_of
from webportal.mails.models import Notice
from webportal.mails.services import GATHER, enter_notices, send_due

pytestmark = pytest.mark.django_db


@pytest.fixture
def salt() -> Item:
    return make_item(1_000, 2_000, title="Salt")


@pytest.fixture
def grant(alice: User, salt: Item) -> Grant:
    """Of Salt, in the cart as well."""
    add_to_cart(alice, salt)
    return make_grant(alice, salt)[0]


def deliver(grant: Grant, *delivered: Delivered) -> None:
    make_bridge(environment.current()).record("gate", Batch(delivered=delivered))


def shown(browser: Client, grant: Grant) -> str:
    return text(browser.get(f"/downloads/{grant.public_id}/"))


def confirmation(grant: Grant, item: Item) -> str:
    return f"/downloads/{grant.public_id}/{item.public_id}/received"


# ------------------------------------------------------------------------------------------ what is shown


def test_unconfirmed_is_what_segments_left_apart_from_coverage(alice: User, grant: Grant, salt: Item) -> None:
    first, second = salt.files.order_by("position")
    others, _ = make_grant(alice, salt)
    leave_unconfirmed(grant, salt, {1: (100, 400), 2: (0, 50)}, delivered=False)
    leave_unconfirmed(grant, salt, {1: (300, 600)}, delivered=False)
    leave_unconfirmed(others, salt, {1: (0, 1_000)}, delivered=False)
    deliver(
        grant, Delivered(grant.public_id, first.pk, ((0, 150), (200, 250))), Delivered(grant.public_id, second.pk, ((0, 50),))
    )
    (item,) = details(grant)
    assert [file.unconfirmed for file in item.files] == [((150, 200), (250, 600)), ()]
    assert (item.delivered, item.unconfirmed) == (250, 400)
    document = grant_document(grant, "alice")["items"][0]
    assert [file["unconfirmed"] for file in document["files"]] == [[[150, 200], [250, 600]], []]
    assert (document["complete"], document["proof"]) == (False, None)
    assert f" 20%  {first.path} (400 B unconfirmed)" in command_text("grant show", grant_document(grant, "alice"))


@pytest.mark.parametrize(
    ("delivered", "unconfirmed", "expected"),
    [
        ((), (), False),
        (((0, 1_000),), (0, 0), False),
        (((0, 900),), (900, 1_000), True),
        (((0, 900),), (800, 1_000), True),
        (((0, 900),), (901, 1_000), False),
        ((), (0, 1_000), True),
    ],
)
def test_whether_everything_was_sent(alice: User, delivered: tuple, unconfirmed: tuple, expected: bool) -> None:
    item = make_item(1_000, 0)
    grant, _ = make_grant(alice, item)
    if delivered:
        deliver(grant, Delivered(grant.public_id, item.files.get(position=1).pk, delivered))
    if unconfirmed:
        leave_unconfirmed(grant, item, {1: unconfirmed}, delivered=False)
    (detail,) = details(grant)
    assert detail.lacks_only_unconfirmed is expected


# ------------------------------------------------------------------------------------------ the customer's word


def test_the_customers_word_completes_as_delivery_does(alice: User, grant: Grant, salt: Item) -> None:
    leave_unconfirmed(grant, salt, {2: (100, 300)})
    completion = complete_by_word(grant, salt, alice)
    assert (completion, completion.proof) == (Completion.objects.get(), Proof.CUSTOMER)
    assert not CartItem.objects.exists()
    grant.refresh_from_db()
    assert (grant.state, grant.completed_at) == (State.COMPLETE, completion.completed_at)
    entry = LogEntry.objects.get()
    assert (entry.user, entry.get_edited_object()) == (alice, completion)
    document = grant_document(grant, "alice")["items"][0]
    assert (document["complete"], document["proof"], document["delivered"]) == (True, "customer", 2_800)
    assert document["files"][1]["unconfirmed"] == [[100, 300]]
    assert "Salt: complete, confirmed by the customer" in command_text("grant show", grant_document(grant, "alice"))


def test_the_rest_of_a_grant_stays_open(alice: User, salt: Item) -> None:
    kites = make_item(50)
    grant, _ = make_grant(alice, salt, kites)
    leave_unconfirmed(grant, salt, {1: (0, 10)})
    complete_by_word(grant, salt, alice)
    grant.refresh_from_db()
    assert grant.state == State.OPEN
    deliver(grant, *whole(grant, kites))
    grant.refresh_from_db()
    assert grant.state == State.COMPLETE
    assert sorted(Completion.objects.values_list("proof", flat=True)) == ["customer", "delivered"]


def test_a_gate_learns_of_it_as_of_any_completion(alice: User, grant: Grant, salt: Item) -> None:
    leave_unconfirmed(grant, salt, {1: (0, 10)})
    complete_by_word(grant, salt, alice)
    (status,) = make_bridge(environment.current()).refresh([grant.public_id])
    assert (status.state, status.completed_at is not None) == (State.COMPLETE, True)  # type: ignore[comparison-overlap]


def test_what_was_not_sent_is_no_matter_of_the_word(alice: User, grant: Grant, salt: Item) -> None:
    leave_unconfirmed(grant, salt, {1: (0, 10)})
    Segment.objects.update(unconfirmed={str(salt.files.get(position=1).pk): [[0, 9]]})
    with pytest.raises(GrantError, match=f"the item {salt.public_id} lacks 1 bytes that were not sent"):
        complete_by_word(grant, salt, alice)
    assert not Completion.objects.exists()
    assert not LogEntry.objects.exists()
    assert CartItem.objects.count() == 1


def test_nobody_confirms_in_the_customers_name(grant: Grant, salt: Item) -> None:
    leave_unconfirmed(grant, salt, {1: (0, 10)})
    for user in (make_user("mallory"), make_staff()):
        with pytest.raises(GrantError, match=r"is not \w+'s"):
            complete_by_word(grant, salt, user)
        assert visitor(user).get(confirmation(grant, salt)).status_code == 404
        assert visitor(user).post(confirmation(grant, salt)).status_code == 404
    assert not Completion.objects.exists()


def test_a_revoked_grant_and_an_item_of_another_are_refused(alice: User, grant: Grant, salt: Item) -> None:
    leave_unconfirmed(grant, salt, {1: (0, 10)})
    with pytest.raises(GrantError, match="does not hold the item"):
        complete_by_word(grant, make_item(1), alice)
    revoke_grant(grant)
    with pytest.raises(GrantError, match="is revoked"):
        complete_by_word(grant, salt, alice)
    assert not Completion.objects.exists()


def test_an_expired_grant_is_confirmed_and_stays_expired(alice: User, grant: Grant, salt: Item) -> None:
    leave_unconfirmed(grant, salt, {1: (0, 10)})
    let_expire(grant)
    assert complete_by_word(grant, salt, alice).proof == Proof.CUSTOMER
    grant.refresh_from_db()
    assert grant.present_state is State.EXPIRED
    assert not CartItem.objects.exists()


def test_whichever_comes_first_stays(alice: User, salt: Item) -> None:
    for first, second in (("word", "delivery"), ("delivery", "word"), ("word", "word")):
        grant, _ = make_grant(alice, salt)
        leave_unconfirmed(grant, salt, {1: (0, 10)})
        for way in (first, second):
            if way == "word":
                complete_by_word(grant, salt, alice)
            else:
                deliver(grant, *whole(grant, salt))
        proof = Completion.objects.get(grant_item__grant=grant).proof
        assert proof == (Proof.CUSTOMER if first == "word" else Proof.DELIVERED)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("locked", [False, True], ids=["without the lock", "with it"])
def test_the_word_and_delivery_at_once_complete_once(locked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger waits, before it writes, until the word has looked at what is lacking: without the lock both complete it."""
    alice, salt = make_user("alice"), make_item(1_000, title="Salt")
    add_to_cart(alice, salt)
    grant, _ = make_grant(alice, salt)
    leave_unconfirmed(grant, salt, {1: (0, 10)})
    if not locked:
        monkeypatch.setattr(by_word, "lock_grants", lambda public_ids: list(Grant.objects.filter(public_id__in=public_ids)))
    looked, recorded = threading.Event(), threading.Event()
    errors: list[BaseException] = []
    real = by_word.complete  # type: ignore[attr-defined]

    def slowly(*arguments: object) -> object:
        looked.set()
        recorded.wait(1)  # with the lock it is not recorded before this is over
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(by_word, "complete", slowly)

    def say() -> None:
        try:
            # SQLite's lock is the transaction itself.
            word: Callable[..., Completion] = complete_by_word
            if not locked and connection.vendor == "sqlite":
                word = complete_by_word.__wrapped__  # type: ignore[attr-defined]
            word(grant, salt, alice)
        except BaseException as error:
            errors.append(error)
        finally:
            looked.set()
            connection.close()

    thread = threading.Thread(target=say)
    thread.start()
    looked.wait(30)
    bridge = make_bridge(environment.current())
    bridge.record("gate", Batch(delivered=whole(grant, salt)))
    recorded.set()
    thread.join(60)
    assert Completion.objects.count() == 1
    if locked:
        assert not errors
        assert Completion.objects.get().proof == Proof.CUSTOMER
    else:
        assert [type(error) for error in errors] == [IntegrityError], "the race is not there any more: this test proves nothing"


# ------------------------------------------------------------------------------------------ the pages


def test_the_page_asks_and_the_word_moves_the_item_to_the_history(alice: User, grant: Grant, salt: Item) -> None:
    browser = visitor(alice)
    browser.post(f"/downloads/{grant.public_id}/links")
    leave_unconfirmed(grant, salt, {2: (100, 300)})
    page = shown(browser, grant)
    assert 'data-condition="unconfirmed"' in page
    assert "there is no proof that 200\N{NO-BREAK SPACE}B of it arrived" in page
    assert "sent, but not confirmed: 200\N{NO-BREAK SPACE}B" in page
    (lacking,) = re.findall(r'<ul class="lacking">(.*?)</ul>', page, re.DOTALL)
    assert re.findall(r'href="http://[^"]*/d/[^"/]*/Salt/(\d\d\.ogg)"', lacking) == ["02.ogg"]
    assert confirmation(grant, salt) in page
    assert 'data-condition="unconfirmed"' in text(browser.get("/downloads/"))

    page = text(browser.get(confirmation(grant, salt)))
    assert "Do you have all of “Salt”?" in page
    assert "links go on working for 15 minutes" in page
    assert "This cannot be undone." in page
    assert not Completion.objects.exists(), "looking changes nothing"

    page = text(browser.post(confirmation(grant, salt), follow=True))
    assert "“Salt” is in your history now, as confirmed by you." in page
    assert 'data-condition="complete"' in page
    assert 'data-complete="customer"' in page
    assert "Received, confirmed by you" in page
    assert "part of it confirmed by you" in page
    assert "Received, confirmed by you" in text(browser.get("/history/"))
    assert confirmation(grant, salt) not in page
    assert json.loads(browser.get(f"/downloads/{grant.public_id}/state").content)["items"][0]["complete"] is True

    page = text(browser.post(confirmation(grant, salt), follow=True))
    assert "as confirmed by you" in page, "a second click changes nothing"
    assert "in your history already" in text(browser.get(confirmation(grant, salt), follow=True))
    assert Completion.objects.count() == LogEntry.objects.count() == 1


def test_the_pages_ask_in_russian(alice: User, grant: Grant, salt: Item) -> None:
    User.objects.filter(pk=alice.pk).update(language="ru")
    browser = visitor(alice)
    leave_unconfirmed(grant, salt, {2: (100, 300)})
    page = shown(browser, grant)
    assert "У меня есть всё" in page
    assert "Скачать снова" in page
    assert "У вас есть «Salt» целиком?" in text(browser.get(confirmation(grant, salt)))
    assert "«Salt» теперь в вашей истории" in text(browser.post(confirmation(grant, salt), follow=True))


def test_a_browser_without_links_is_asked_too(alice: User, grant: Grant, salt: Item) -> None:
    leave_unconfirmed(grant, salt, {2: (100, 300)})
    page = shown(visitor(alice), grant)
    assert "02.ogg" in re.findall(r'<ul class="lacking">(.*?)</ul>', page, re.DOTALL)[0]
    assert "Make links for this browser below" in page


def test_an_expired_grant_offers_no_download(alice: User, grant: Grant, salt: Item) -> None:
    leave_unconfirmed(grant, salt, {2: (100, 300)})
    let_expire(grant)
    page = shown(visitor(alice), grant)
    assert "Download again" not in page
    assert confirmation(grant, salt) in page


def test_the_word_is_not_taken_by_a_link_from_elsewhere(alice: User, grant: Grant, salt: Item) -> None:
    leave_unconfirmed(grant, salt, {2: (100, 300)})
    assert visitor(alice, csrf=True).post(confirmation(grant, salt)).status_code == 403
    assert not Completion.objects.exists()


def test_nothing_is_asked_while_something_may_still_come(alice: User, grant: Grant, salt: Item, gate: TellingGate) -> None:
    browser = visitor(alice)
    leave_unconfirmed(grant, salt, {2: (100, 300)}, seconds_ago=1)
    assert confirmation(grant, salt) not in shown(browser, grant), "a client that goes on may not have begun yet"
    Segment.objects.update(ended_at=timezone.now() - timedelta(seconds=6))
    enter("good", f"127.0.0.1:{gate.server_address[1]}")
    transfer = {"grant": grant.public_id, "user": "alice", "item": salt.public_id}
    gate.document = {"gate": {"id": "good"}, "transfers": [transfer]}
    assert confirmation(grant, salt) not in shown(browser, grant), "a transfer of it runs"
    assert "cannot be confirmed now" in text(browser.get(confirmation(grant, salt), follow=True))


def test_a_transfer_of_something_else_is_no_hindrance(alice: User, grant: Grant, salt: Item, gate: TellingGate) -> None:
    leave_unconfirmed(grant, salt, {2: (100, 300)})
    enter("good", f"127.0.0.1:{gate.server_address[1]}")
    others = [{"grant": grant.public_id, "item": "x"}, {"grant": "x", "item": salt.public_id}]
    gate.document = {"gate": {"id": "good"}, "transfers": others}
    assert confirmation(grant, salt) in shown(visitor(alice), grant)


def test_what_was_not_all_sent_is_not_asked_about(alice: User, grant: Grant, salt: Item) -> None:
    browser = visitor(alice)
    leave_unconfirmed(grant, salt, {2: (100, 300)}, delivered=False)
    page = shown(browser, grant)
    assert 'data-condition="waiting"' in page
    assert confirmation(grant, salt) not in page
    assert "sent, but not confirmed: 200\N{NO-BREAK SPACE}B" in page, "the map shows it all the same"
    for answer in (browser.get(confirmation(grant, salt), follow=True), browser.post(confirmation(grant, salt), follow=True)):
        assert "cannot be confirmed now" in text(answer)
    assert not Completion.objects.exists()
    assert browser.get(f"/downloads/{grant.public_id}/nothing/received").status_code == 404


# ------------------------------------------------------------------------------------------ receipts, mails, staff


def test_the_receipt_tells_what_it_rests_on(alice: User, grant: Grant, salt: Item, tmp_path, capsys) -> None:
    leave_unconfirmed(grant, salt, {2: (100, 300)})
    complete_by_word(grant, salt, alice)
    address = f"/history/{grant.public_id}/{salt.public_id}/"
    file = visitor(alice).get(address + "receipt.json").content
    receipt = verify(file, receipt_key().public_key())
    assert receipt["proof"] == "customer"
    assert receipt["files"][1]["covered"] == [[0, 100], [300, 2_000]]
    page = text(visitor(alice).get(address))
    assert "confirmed by the customer (delivery was measured for 2.80\N{NO-BREAK SPACE}kB of 3.00\N{NO-BREAK SPACE}kB)" in page
    assert "90 %" in page
    (tmp_path / "receipt.json").write_bytes(file)
    key = public_text(receipt_key().public_key())
    assert run(["receipt", "verify", str(tmp_path / "receipt.json"), "--key", key]) == 0
    assert "proof  confirmed by the customer" in capsys.readouterr().out
    with pytest.raises(ReceiptError, match="was changed"):
        verify(file.replace(b'"proof": "customer"', b'"proof": "delivered"'), receipt_key().public_key())


def test_receipts_of_earlier_versions_still_verify(alice: User, grant: Grant, salt: Item, tmp_path, capsys) -> None:
    deliver(grant, *whole(grant, salt))
    receipt = receipt_of(Completion.objects.get())
    assert receipt.pop("proof") == "delivered"
    file = sign(receipt, receipt_key())
    assert verify(file, receipt_key().public_key()) == receipt
    (tmp_path / "receipt.json").write_bytes(file)
    assert run(["receipt", "verify", str(tmp_path / "receipt.json"), "--key", public_text(receipt_key().public_key())]) == 0
    assert "proof  delivery" in capsys.readouterr().out


def test_the_mail_says_who_confirmed_it(alice: User, salt: Item) -> None:
    kites = make_item(10, title="Kites")
    grant, _ = make_grant(alice, salt, kites)
    leave_unconfirmed(grant, salt, {2: (100, 300)})
    complete_by_word(grant, salt, alice)
    (message,) = mails()
    assert message.subject == "“Salt” is received, as you confirmed"
    assert "You confirmed that you have received this. If it was not you, tell the shop:\n\n  Salt\n" in message.body
    assert "has arrived" not in message.body
    deliver(grant, *whole(grant, kites))
    (message,) = mails()
    assert "You confirmed" not in message.body


def mails() -> list[mail.EmailMessage]:
    enter_notices()
    Notice.objects.update(made_at=timezone.now() - GATHER)
    send_due()
    sent, mail.outbox = mail.outbox, []
    return sent


def test_staff_see_and_find_what_customers_confirmed(browser: Client, alice: User, grant: Grant, salt: Item) -> None:
    delivered, _ = make_grant(alice, salt)
    deliver(delivered, *whole(delivered, salt))
    leave_unconfirmed(grant, salt, {2: (100, 300)})
    complete_by_word(grant, salt, alice)
    for name in ("grants_grant", "history_completion"):
        address = reverse(f"admin:{name}_changelist")
        everything = text(browser.get(address))
        assert grant.public_id in everything
        assert delivered.public_id in everything
        assert re.search("confirmed by the customer", everything, re.IGNORECASE), name
        query = {"proof": "customer"} if name == "grants_grant" else {"proof__exact": "customer"}
        chosen = text(browser.get(address, query))
        assert grant.public_id in chosen, name
        assert delivered.public_id not in chosen, name
    assert "confirmed by the customer" in text(browser.get(reverse("admin:grants_grant_change", args=[grant.pk])))
    audit = text(browser.get(reverse("admin:admin_logentry_changelist")))
    assert "received, confirmed by the customer" in audit
    assert "alice" in audit
