"""What happens to a shop's grants is in the outbox with it: once, for those who want to hear of it, or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from ftpgate.grants import Batch
from tests.support.tools import clean_environment
from tests.webportal.shop import leave_unconfirmed, let_expire, make_grant, make_item, make_user, whole
from tests.webportal.webhooks.shops import make_customer, make_endpoint, make_shop
from webportal.bridge import make_bridge
from webportal.config import environment
from webportal.fulfilment import services
from webportal.fulfilment.by_word import complete_by_word
from webportal.grants.models import Grant
from webportal.grants.states import State
from webportal.webhooks import outbox
from webportal.webhooks.models import Delivery, Event, EventType
from webportal.webhooks.services import forget_events

pytestmark = pytest.mark.django_db


def told(*event_types: str) -> list[dict[str, Any]]:
    """The events of these event_types (of all event_types) in the order in which they happened."""
    documents = [json.loads(event.body) for event in Event.objects.order_by("pk")]
    return [document for document in documents if not event_types or document["type"] in event_types]


def record(grant: Grant, *items: Any) -> None:
    delivered = tuple(entry for item in items for entry in whole(grant, item))
    make_bridge(environment.current()).record("gate", Batch(delivered=delivered))


def test_a_grants_life_is_told_in_order_and_once() -> None:
    shop = make_shop()
    make_endpoint(shop)
    one, two = make_item(10, 20, title="Ёлка"), make_item(5)
    grant, _ = make_grant(make_customer(shop, "customer-17"), one, two)
    record(grant, one)
    record(grant, one, two)
    record(grant, one, two)
    assert [event["type"] for event in told()] == ["grant.issued", "item.complete", "item.complete", "grant.complete"]
    issued, first, _, complete = told()
    stored = Grant.objects.get()
    assert issued["data"] == {
        "grant": grant.public_id, "user": "customer-17", "state": "open", "issued_at": stamp(stored.issued_at),
        "expires_at": stamp(stored.expires_at), "completed_at": None, "proof": None,
    }  # fmt: skip
    assert first["data"]["item"] == {"id": one.public_id, "title": "Ёлка"}
    assert (first["data"]["grant"], first["data"]["user"], first["data"]["proof"]) == (
        grant.public_id,
        "customer-17",
        "delivered",
    )
    assert complete["data"] == issued["data"] | {
        "state": "complete", "completed_at": stamp(stored.completed_at), "proof": "delivered",
    }  # fmt: skip
    assert len({event.public_id for event in Event.objects.all()}) == 4
    assert set(Delivery.objects.values_list("state", flat=True)) == {"waiting"}


def test_what_the_customer_confirmed_is_told_as_that() -> None:
    shop = make_shop()
    make_endpoint(shop)
    one, two = make_item(10), make_item(100)
    customer = make_customer(shop)
    grant, _ = make_grant(customer, one, two)
    leave_unconfirmed(grant, two, {1: (50, 60)})
    complete_by_word(grant, two, customer)
    record(grant, one)
    complete_by_word(grant, two, customer)
    proofs = [(event["type"], event["data"]["proof"]) for event in told("item.complete", "grant.complete")]
    assert proofs == [("item.complete", "customer"), ("item.complete", "delivered"), ("grant.complete", "customer")]


def test_what_was_rolled_back_did_not_happen() -> None:
    shop = make_shop()
    make_endpoint(shop)
    customer, item = make_customer(shop), make_item(1)
    with transaction.atomic():
        make_grant(customer, item)
        assert told("grant.issued")
        transaction.set_rollback(True)
    assert told() == []


def test_an_item_of_empty_files_is_told_too() -> None:
    shop = make_shop()
    make_endpoint(shop)
    make_grant(make_customer(shop), make_item(0))
    assert [event["type"] for event in told()] == ["grant.issued", "item.complete", "grant.complete"]


@pytest.mark.parametrize("way", ["sweep", "recording", "service"])
def test_expiry_is_told_by_whoever_notices_it_first(way: str) -> None:
    shop = make_shop()
    make_endpoint(shop, EventType.GRANT_EXPIRED)
    item = make_item(10, 20)
    grant, _ = make_grant(make_customer(shop), item)
    for times in (1, 2):
        let_expire(grant)
        if way == "sweep":
            assert services.write_down_expired() == 1
        elif way == "recording":
            make_bridge(environment.current()).record(
                "gate", Batch(delivered=whole(grant, make_item(1)) + whole(grant, item)[:0])
            )
            record(grant, make_item(3))
        else:
            with pytest.raises(Exception, match="is expired"):
                services.revoke_grant(grant)
            services.write_down_expired()  # a refusal writes nothing
        assert services.write_down_expired() == 0
        assert [event["data"]["state"] for event in told("grant.expired")] == ["expired"] * times
        services.renew_grant(grant, expires_at=timezone.now() + timedelta(days=1))
    assert Grant.objects.get().state == State.OPEN


def test_many_expire_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_EXPIRED_AT_ONCE", 2)
    shop = make_shop()
    make_endpoint(shop)
    customer, item = make_customer(shop), make_item(1)
    for _ in range(5):
        let_expire(make_grant(customer, item)[0])
    assert services.write_down_expired() == 5
    assert len(told("grant.expired")) == 5


def test_only_who_wants_to_hear_hears() -> None:
    shop, other, deaf = make_shop(), make_shop(), make_shop()
    wanting, _ = make_endpoint(shop, EventType.GRANT_COMPLETE)
    everything, _ = make_endpoint(shop)
    inactive, _ = make_endpoint(shop)
    inactive.active = False
    inactive.save()
    make_endpoint(other)
    item = make_item(1)
    for customer in (make_customer(shop), make_customer(deaf), make_user()):
        record(make_grant(customer, item)[0], item)
    assert {event.shop for event in Event.objects.all()} == {shop}
    assert Delivery.objects.filter(endpoint=wanting).count() == 1
    assert Delivery.objects.filter(endpoint=everything).count() == 3
    assert Delivery.objects.count() == 4


def test_a_queue_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MOST_WAITING", 2)
    shop = make_shop()
    full, _ = make_endpoint(shop, EventType.GRANT_ISSUED)
    for _ in range(3):
        make_grant(make_customer(shop), make_item(1))
    assert list(Delivery.objects.order_by("pk").values_list("state", flat=True)) == ["waiting", "waiting", "failed"]
    assert "2 others wait" in Delivery.objects.latest("pk").answer
    Delivery.objects.filter(endpoint=full).update(state="delivered")
    make_grant(make_customer(shop), make_item(1))
    assert Delivery.objects.latest("pk").state == "waiting"


def test_old_events_are_forgotten() -> None:
    shop = make_shop()
    make_endpoint(shop)
    make_grant(make_customer(shop), make_item(1))
    make_grant(make_customer(shop), make_item(1))
    old = Event.objects.earliest("pk")
    Event.objects.filter(pk=old.pk).update(made_at=timezone.now() - timedelta(days=31))
    assert forget_events() == 2
    assert Event.objects.exclude(pk=old.pk).count() == Event.objects.count() == Delivery.objects.count() == 1


@pytest.mark.databases("sqlite")
def test_a_gate_carries_nothing_of_the_api_or_of_sending(tmp_path: Any) -> None:
    heavy = (
        "ninja",
        "pydantic",
        "standardwebhooks",
        "cryptography.fernet",
        "webportal.webhooks.services",
        "webportal.shops.services",
    )
    code = (
        "import sys, django; django.setup(); import webportal.gateway.orm, webportal.webhooks.outbox; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    environ = clean_environment(tmp_path) | {"DJANGO_SETTINGS_MODULE": "webportal.config.lean"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def stamp(when: Any) -> str:
    return str(when.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
