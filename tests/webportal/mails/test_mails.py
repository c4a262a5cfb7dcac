"""Mails: what is told, once, in whose language, and that nothing is lost when the mail server is away."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.utils import timezone

from ftpgate.grants import Batch
from tests.webportal.shop import make_grant, make_item, whole
from webportal.accounts.models import User
from webportal.bridge import make_bridge
from webportal.catalogue.models import Item
from webportal.config import environment
from webportal.fulfilment.services import renew_grant, revoke_grant
from webportal.grants.models import Grant
from webportal.mails.models import Notice
from webportal.mails.services import GATHER, RETRY, enter_notices, forget_notices, send_due

pytestmark = pytest.mark.django_db


def deliver(grant: Grant, *items: Item) -> None:
    for item in items:
        make_bridge(environment.current()).record("gate", Batch(delivered=whole(grant, item)))


def let_pass(time: timedelta) -> None:
    """As if everything noticed and tried so far were that much older."""
    for notice in Notice.objects.all():
        notice.made_at -= time
        notice.claimed_at = notice.claimed_at and notice.claimed_at - time
        notice.save()


def mails() -> list[EmailMessage]:
    enter_notices()
    let_pass(GATHER)
    send_due()
    sent, mail.outbox = mail.outbox, []
    return sent


def test_what_arrived_together_is_told_together_and_once(alice: User) -> None:
    salt, kites = make_item(10, title="Salt"), make_item(10, title="Kites")
    grant, _ = make_grant(alice, salt, kites)
    deliver(grant, salt, kites)
    (message,) = mails()
    assert message.to == ["alice@example.com"]
    assert message.subject == "2 items have arrived"
    assert f"http://127.0.0.1:8000/history/{grant.public_id}/{salt.public_id}/" in message.body
    assert "Kites" in message.body
    assert message.extra_headers["Auto-Submitted"] == "auto-generated"
    assert mails() == []
    again, _ = make_grant(alice, salt)
    deliver(again, salt)
    (message,) = mails()
    assert message.subject == "“Salt” has arrived"


def test_what_has_just_arrived_waits_for_more(alice: User) -> None:
    item = make_item(10)
    deliver(make_grant(alice, item)[0], item)
    assert enter_notices() == 1
    assert send_due() == 0
    let_pass(GATHER)
    assert send_due() == 1


def test_a_mail_is_in_the_users_language_and_time(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(language="ru", time_zone="Asia/Yekaterinburg")
    make_grant(alice, make_item(10, title="Salt"), days=2.5)
    Grant.objects.update(issued_at=timezone.now() - timedelta(days=3), expires_at=timezone.now() + timedelta(hours=5))
    (message,) = mails()
    assert message.subject == "Срок ваших ссылок скоро истечёт"
    assert "+05" in message.body
    assert "Salt" in message.body


def test_an_expiry_is_told_once_and_again_after_a_renewal(alice: User) -> None:
    grant, _ = make_grant(alice, make_item(10), days=7)
    assert mails() == []
    soon = timezone.now() + timedelta(hours=20)
    Grant.objects.update(issued_at=timezone.now() - timedelta(days=3), expires_at=soon)
    assert len(mails()) == 1
    assert mails() == []
    renew_grant(grant, expires_at=timezone.now() + timedelta(hours=23))
    assert len(mails()) == 1


def test_short_lived_and_ended_grants_are_not_warned_of(alice: User) -> None:
    make_grant(alice, make_item(10), days=1)
    ended, _ = make_grant(alice, make_item(10), days=1)
    Grant.objects.filter(pk=ended.pk).update(issued_at=timezone.now() - timedelta(days=9))
    enter_notices()
    revoke_grant(ended)
    assert mails() == []


@pytest.mark.parametrize("change", [{"email": ""}, {"wants_mail": False}, {"is_active": False}])
def test_nobody_is_written_to_who_does_not_want_it(alice: User, change: dict[str, object]) -> None:
    User.objects.filter(pk=alice.pk).update(**change)
    item = make_item(10)
    deliver(make_grant(alice, item)[0], item)
    assert mails() == []


def test_a_mail_server_that_is_away_loses_nothing(alice: User, settings: object) -> None:
    item = make_item(10)
    deliver(make_grant(alice, item)[0], item)
    backend = settings.EMAIL_BACKEND  # type: ignore[attr-defined]
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"  # type: ignore[attr-defined]
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1  # type: ignore[attr-defined]
    assert mails() == []
    settings.EMAIL_BACKEND = backend  # type: ignore[attr-defined]
    assert mails() == [], "not tried again at once"
    let_pass(RETRY)
    assert len(mails()) == 1
    assert Notice.objects.get().attempts == 2


def test_two_postmen_send_one_mail(alice: User) -> None:
    item = make_item(10)
    deliver(make_grant(alice, item)[0], item)
    enter_notices()
    assert enter_notices() == 0
    let_pass(GATHER)
    assert [send_due(), send_due()] == [1, 0]


def test_a_title_cannot_forge_headers(alice: User) -> None:
    item = make_item(10, title="Salt\nBcc: everybody@example.com")
    deliver(make_grant(alice, item)[0], item)
    (message,) = mails()
    assert message.subject == "“Salt Bcc: everybody@example.com” has arrived"
    assert message.message()["Bcc"] is None


def test_old_notices_are_forgotten_but_news_stay_told(alice: User) -> None:
    item = make_item(10)
    deliver(make_grant(alice, item)[0], item)
    mails()
    let_pass(timedelta(days=91))
    forget_notices()
    assert not Notice.objects.exists()
    from webportal.history.models import Completion

    Completion.objects.update(completed_at=timezone.now() - timedelta(days=91))
    assert mails() == []
