"""What expires in the shop, when this process' clock is set or differs from the database's."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from django.utils import timezone

from ftpgate.errors import UserError
from ftpgate.grants import Batch, GrantState
from tests.support.clocks import WEEK, Clocks
from tests.webportal.shop import let_expire, make_grant, make_item, make_transfer, make_user, whole
from webportal import doctor
from webportal.bridge import make_bridge
from webportal.config import environment
from webportal.core import clock
from webportal.fulfilment import services
from webportal.fulfilment.prune import prune_some
from webportal.fulfilment.purging import purgeable
from webportal.grants.models import Grant
from webportal.grants.states import State
from webportal.history.models import Completion
from webportal.jobs.webhooks import Worker
from webportal.mails.services import enter_notices

pytestmark = pytest.mark.django_db


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """Clocks of this process, right at first."""
    clocks = Clocks()
    monkeypatch.setattr(clock, "guard", clocks.guard)
    return clocks


def is_open(grant: Grant) -> bool:
    """What pages, queries, gates and staff are told; they have to agree."""
    bridge = make_bridge(environment.current())
    (refreshed,) = bridge.refresh([grant.public_id])
    looked_up = bridge.look_up_grant(grant.public_id)
    assert looked_up is not None
    found = {
        grant.open_until is not None,
        grant in Grant.objects.in_state(State.OPEN),
        grant not in Grant.objects.in_state(State.EXPIRED),
        refreshed.state is GrantState.OPEN,
        looked_up.status.state is GrantState.OPEN,
    }
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize("ahead", [WEEK, -WEEK])
def test_a_clock_that_jumps_expires_nothing(clocks: Clocks, ahead: float) -> None:
    user, item = make_user(), make_item(10)
    open_, over = make_grant(user, item)[0], make_grant(user, item)[0]
    let_expire(over)
    over.refresh_from_db()
    assert (is_open(open_), is_open(over)) == (True, False)
    clocks.wall_ahead = ahead
    assert (is_open(open_), is_open(over)) == (True, False)
    assert services.write_down_expired() == 0
    services.renew_grant(open_, expires_at=timezone.now() + timedelta(days=30))
    assert Grant.objects.filter(state=State.OPEN).count() == 2
    assert "has jumped 604,800 s" in clock.guard.wrong()
    clocks.wall_ahead = 0.0
    assert services.write_down_expired() == 1
    assert (is_open(open_), is_open(over)) == (True, False)


def test_what_arrives_while_the_clock_is_wrong_is_complete_and_goes_on_being_served(clocks: Clocks, portal_database: str) -> None:
    item = make_item(10)
    grant, _ = make_grant(make_user(), item)
    clocks.wall_ahead = WEEK
    (status,) = make_bridge(environment.current()).record("g", Batch(whole(grant, item)))
    assert status.state is GrantState.COMPLETE
    completed = Completion.objects.get().completed_at
    assert (completed < timezone.now() + timedelta(hours=1)) is (portal_database == "postgres")  # SQLite has no other clock
    assert status.opens(clock.guard.expiry_time(), 900)


def test_what_somebody_waits_for_is_not_purged_by_a_clock_that_jumped(clocks: Clocks) -> None:
    item = make_item(10)
    received, waiting = make_grant(make_user(), item)[0], make_grant(make_user(), item)[0]
    make_bridge(environment.current()).record("g", Batch(whole(received, item)))
    Grant.objects.filter(pk=received.pk).update(completed_at=timezone.now() - timedelta(days=1))
    clocks.wall_ahead = WEEK
    assert not purgeable().exists()
    clocks.wall_ahead = 0.0
    let_expire(waiting)
    assert purgeable().exists()


def test_the_grace_of_a_complete_grant_does_not_end_by_a_jump(clocks: Clocks) -> None:
    user, item = make_user(), make_item(10)
    grants = [make_grant(user, item)[0] for _ in range(2)]
    make_bridge(environment.current()).record("g", Batch(sum((whole(grant, item) for grant in grants), ())))
    served, past = grants
    Grant.objects.filter(pk=past.pk).update(completed_at=timezone.now() - timedelta(days=1))
    for ahead in (0.0, WEEK, -WEEK):
        clocks.wall_ahead = ahead
        for grant in grants:
            grant.refresh_from_db()
        assert (served.open_until is not None, past.open_until is not None) == (True, False)


def test_no_mail_warns_of_an_expiry_by_a_clock_that_jumped(clocks: Clocks) -> None:
    user = make_user()
    user.email, user.wants_mail = "a@example.org", True
    user.save()
    make_grant(user, make_item(10), days=7)
    assert enter_notices() == 0
    clocks.wall_ahead = WEEK - 3600
    assert enter_notices() == 0


@pytest.mark.databases("postgres")
@pytest.mark.parametrize("ahead", [WEEK, -WEEK])
def test_nothing_expires_in_a_process_that_starts_by_another_clock_than_the_databases(
    ahead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, item = make_user(), make_item(10)
    open_, over = make_grant(user, item)[0], make_grant(user, item)[0]
    let_expire(over)
    clocks = Clocks(wall_ahead=ahead)
    monkeypatch.setattr(clock, "guard", clocks.guard)
    assert services.write_down_expired() == 0
    assert is_open(open_)
    with pytest.raises(UserError, match=r"differ by 604,\d{3}\.\d s and nothing expires"):
        doctor.check_clock(environment.current())
    assert "the database's" in clock.guard.wrong()
    clocks.wall_ahead = 0.0
    assert services.write_down_expired() == 1


def test_expiry_goes_by_the_databases_clock(monkeypatch: pytest.MonkeyPatch, portal_database: str) -> None:
    """This process' clock is 50 seconds slow: by it the grant has 40 seconds left."""
    monkeypatch.setattr(clock, "guard", Clocks(wall_ahead=-50).guard)
    grant, _ = make_grant(make_user(), make_item(10))
    Grant.objects.update(expires_at=timezone.now() - timedelta(seconds=10), issued_at=timezone.now() - timedelta(days=1))
    grant.refresh_from_db()
    by_database = portal_database == "postgres"
    assert is_open(grant) is not by_database
    assert services.write_down_expired() == by_database
    (status,) = make_bridge(environment.current()).refresh([grant.public_id])
    assert (status.as_of is not None) is by_database  # what the gate compares its own clock with


def test_a_worker_says_so_once(clocks: Clocks, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    worker = Worker()
    for ahead in (0.0, WEEK, WEEK, 0.0, 0.0):
        clocks.wall_ahead = ahead
        worker._expire()
    begun, ended = caplog.messages
    assert "604,800 s forward" in begun
    assert "can be trusted again" in ended


def test_no_transfers_are_deleted(clocks: Clocks) -> None:
    transfer = make_transfer(timezone.now())
    assert prune_some(timedelta(days=400)) == 0
    clocks.wall_ahead = 60 * WEEK
    assert prune_some(timedelta(days=400)) == 0
    transfer.refresh_from_db()
