"""What is told to gates, and when: after the commit, once, and nothing of what was rolled back alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from ftpgate.grants import Batch, Bridge, GateAddress, GateLoad, GateState
from ftpgate.notices import Changes, Kind, Notice
from tests.webportal.shop import make_grant, make_item, make_user, whole
from webportal.accounts.models import Tier, User
from webportal.accounts.services import move_to_tier, set_tier
from webportal.bridge import make_bridge
from webportal.catalogue.models import Item
from webportal.config import environment
from webportal.core import push
from webportal.fulfilment import services
from webportal.grants.models import Grant

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.databases("postgres")]
ME = GateAddress("me", 1, 0.0, "h:1", "h:2", "h:3")


class Listening:
    """What one gate hears. Its bridge uses the test's own connection: PostgreSQL tells a session of its own notices too."""

    def __init__(self) -> None:
        self.bridge: Bridge = make_bridge(environment.current())
        self.bridge.gate_started(ME)

    def hear(self) -> Changes:
        changes = self.bridge.wait_for_changes(0.0)
        assert changes is not None
        return changes


@pytest.fixture
def gate() -> Iterator[Listening]:
    listening = Listening()
    assert listening.hear().everything
    yield listening
    connection.close()  # or it would listen on


@pytest.fixture
def grant(gate: Listening) -> Grant:
    made, _ = make_grant(make_user("anna"), make_item(100))
    gate.hear()
    return made


def of_grant(grant: Grant) -> Changes:
    return Changes(frozenset({Notice(Kind.GRANT, grant.public_id)}))


@pytest.mark.parametrize(
    "change",
    [
        services.revoke_grant,
        services.add_token,
        services.replace_tokens,
        lambda grant: services.renew_grant(grant, expires_at=timezone.now() + timedelta(days=9)),
    ],
    ids=["revoked", "another token", "tokens replaced", "another expiry"],
)
def test_what_changes_of_a_grant_is_told_by_its_name(gate: Listening, grant: Grant, change: Callable[[Grant], object]) -> None:
    change(grant)
    assert gate.hear() == of_grant(grant)


def test_a_grant_that_is_complete_is_told_after_its_gate_has_recorded_it(gate: Listening, grant: Grant) -> None:
    gate.bridge.record("another", Batch(delivered=whole(grant, Item.objects.get())))
    assert gate.hear() == of_grant(grant)


def test_a_batch_that_completes_nothing_tells_nothing(gate: Listening, grant: Grant) -> None:
    gate.bridge.record("another", Batch(delivered=()))
    assert gate.hear() == Changes()


def test_tiers_and_users_who_move_are_told_by_name(gate: Listening, grant: Grant) -> None:
    tier = set_tier("gold", rate=1_000)
    assert gate.hear() == Changes(frozenset({Notice(Kind.TIER, "gold")}))
    tier.name = "silver"
    tier.save()
    assert gate.hear() == Changes(frozenset({Notice(Kind.TIER, "gold"), Notice(Kind.TIER, "silver")}))
    move_to_tier(User.objects.filter(username="anna"), Tier.objects.get(name="silver"))
    assert gate.hear() == Changes(frozenset({Notice(Kind.USER, "anna")}))
    anna = User.objects.get(username="anna")
    anna.save(update_fields=["last_login"])
    assert gate.hear() == Changes()
    anna.save()
    assert gate.hear() == Changes(frozenset({Notice(Kind.USER, "anna")}))


def test_one_message_tells_of_all_that_a_transaction_changed_and_none_is_sent_before_its_end(
    gate: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, bool]] = []
    monkeypatch.setattr(push, "_notify", lambda channel, message: sent.append((message, connection.in_atomic_block)))
    with transaction.atomic():
        push.tell(Kind.GRANT, ["a"])
        push.tell(Kind.TIER, ["b"])
        push.tell(Kind.GRANT, ["a", "c"])
        assert not sent
    assert sent == [('[["grant","a"],["grant","c"],["tier","b"]]', False)]


def test_what_is_told_after_a_rolled_back_savepoint_is_not_lost_with_it(gate: Listening) -> None:
    with transaction.atomic():
        savepoint = transaction.savepoint()
        push.tell(Kind.GRANT, ["a"])
        transaction.savepoint_rollback(savepoint)
        push.tell(Kind.GRANT, ["b"])
    assert Notice(Kind.GRANT, "b") in gate.hear().notices


def test_so_much_that_it_fits_in_no_message_is_everything(gate: Listening) -> None:
    push.tell(Kind.GRANT, (f"{number:010}" for number in range(push.MOST * 2)))
    assert gate.hear().everything


def test_a_notice_to_one_gate_reaches_that_one_only(gate: Listening) -> None:
    push.tell_all([Notice(Kind.LEASE, "anna", "me"), Notice(Kind.LEASE, "berta", "another"), Notice(Kind.EVIDENCE, "g")])
    assert gate.hear() == Changes(frozenset({Notice(Kind.LEASE, "anna"), Notice(Kind.EVIDENCE, "g")}))


def test_each_heartbeat_is_answered_with_a_notice_to_the_gate_itself(gate: Listening) -> None:
    gate.bridge.heartbeat(ME, GateState.RUNNING, GateLoad())
    assert gate.hear() == Changes(frozenset({Notice(Kind.PING, "me")}))


def test_another_connection_listens_again_and_says_that_everything_may_have_changed(gate: Listening) -> None:
    connection.close()
    push.tell(Kind.GRANT, ["a"])  # nobody hears of it
    connection.close()
    assert gate.hear() == Changes(everything=True)
    push.tell(Kind.GRANT, ["b"])
    assert gate.hear() == Changes(frozenset({Notice(Kind.GRANT, "b")}))


def test_a_message_that_cannot_be_sent_does_not_undo_what_it_tells_of(
    gate: Listening, grant: Grant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(push, "CHANNEL", "x" * 100)  # a name that PostgreSQL refuses
    services.revoke_grant(grant)
    assert Grant.objects.get().state == "revoked"
    assert "could not be told" in caplog.text
