"""The worker, against a receiver that fails, hangs and answers late."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone, translation
from standardwebhooks import WebhookVerificationError

from ftpgate.grants import Batch
from tests.support.waiting import wait_until
from tests.webportal.shop import let_expire, make_grant, make_item, whole
from tests.webportal.webhooks.receiver import Handler, Receiver
from tests.webportal.webhooks.shops import make_customer, make_endpoint, make_shop
from webportal.bridge import make_bridge
from webportal.config import environment
from webportal.jobs import webhooks as worker_module
from webportal.jobs.webhooks import Worker
from webportal.shops.models import Shop
from webportal.webhooks import schedule
from webportal.webhooks.models import Delivery, Endpoint, Event, EventType
from webportal.webhooks.services import change_endpoint, replace_secret, send_again

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again at once, instead of after five seconds and more."""
    monkeypatch.setattr(schedule, "_FIRST", 0.01)


@contextmanager
def working(workers: int = 1) -> Iterator[list[Worker]]:
    """Workers, each in a thread, until the end of the block."""
    running = [Worker() for _ in range(workers)]
    threads = [threading.Thread(target=worker.run) for worker in running]
    with ExitStack() as stack:
        for worker, thread in zip(running, threads, strict=True):
            stack.callback(thread.join, 20)
            stack.callback(worker.stop)
            thread.start()
        yield running


def issue(shop: Shop, times: int = 1) -> None:
    for _ in range(times):
        make_grant(make_customer(shop), make_item(1))


def all_are(state: str) -> Callable[[], bool]:
    return lambda: set(Delivery.objects.values_list("state", flat=True)) == {state}


def answering(*statuses: int) -> Callable[[Handler], None]:
    """Answers these, one after the other, and then the last one for ever."""
    left = list(statuses)
    return lambda handler: handler.answer(left.pop(0) if len(left) > 1 else left[0], b"said")


def test_events_arrive_signed(receiver: Receiver) -> None:
    shop = make_shop()
    _, secret = make_endpoint(shop, url=receiver.url)
    item = make_item(10)
    grant, _ = make_grant(make_customer(shop, "customer-17"), item)
    make_bridge(environment.current()).record("gate", Batch(delivered=whole(grant, item)))
    with working():
        wait_until(all_are("delivered"), 15, "the deliveries")
    assert sorted(call.document["type"] for call in receiver.calls) == ["grant.complete", "grant.issued", "item.complete"]
    for call in receiver.calls:
        call.verify(secret)
        assert call.headers["content-type"] == "application/json"
        assert call.body.decode() == Event.objects.get(public_id=call.event).body
    with pytest.raises(WebhookVerificationError):
        receiver.calls[0]._replace(body=b"{}").verify(secret)
    assert {delivery.status for delivery in Delivery.objects.all()} == {200}
    assert Endpoint.objects.get().leased_until is None


def test_a_failing_receiver_hears_the_same_again(receiver: Receiver, impatient: None) -> None:
    shop = make_shop()
    _, secret = make_endpoint(shop, url=receiver.url)
    receiver.behave = answering(500, 302, 404, 429, 200)
    issue(shop)
    with working():
        wait_until(all_are("delivered"), 20, "the delivery")
    assert len(receiver.calls) == 5
    assert len({(call.event, call.body) for call in receiver.calls}) == 1
    for call in receiver.calls:
        call.verify(secret)
    delivery = Delivery.objects.get()
    assert (delivery.attempts, delivery.status, delivery.answer) == (5, 200, "said")
    assert Endpoint.objects.get().failures == 0


def test_a_dead_endpoint_holds_up_nobody(receiver: Receiver) -> None:
    with Receiver() as dead:
        dead.behave = dead.hang
        shop = make_shop()
        make_endpoint(shop, url=dead.url)
        make_endpoint(shop, url=receiver.url)
        issue(shop, 8)
        with working():
            wait_until(lambda: len(receiver.calls) == 8, 15, "the deliveries to the living one")
            assert len(dead.calls) == 1, "one attempt at a time"
        assert len({call.event for call in receiver.calls}) == 8


def test_after_failures_in_a_row_an_endpoint_rests(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "retry_after", lambda attempts, random: timedelta(0))
    receiver.behave = answering(503)
    shop = make_shop()
    endpoint, _ = make_endpoint(shop, url=receiver.url)
    issue(shop, 5)
    with working():
        wait_until(lambda: Endpoint.objects.get().failures == 3, 15, "the third failure")
        endpoint.refresh_from_db()
        assert endpoint.backoff_until is not None
        assert timedelta(seconds=3) < endpoint.backoff_until - timezone.now() < timedelta(seconds=6)
        assert len(receiver.calls) == 3
        receiver.behave = answering(204)
        change_endpoint(endpoint, active=True)  # whoever repairs it need not wait
        wait_until(all_are("delivered"), 15, "the deliveries")


def test_after_three_days_it_is_given_up_and_staff_may_send_it_again(receiver: Receiver) -> None:
    receiver.behave = answering(500)
    shop = make_shop()
    make_endpoint(shop, url=receiver.url)
    issue(shop)
    Delivery.objects.update(give_up_at=timezone.now() + timedelta(seconds=1))
    with working():
        wait_until(all_are("failed"), 15, "the end of trying")
        receiver.behave = answering(200)
        assert send_again(Delivery.objects.all()) == 1
        wait_until(all_are("delivered"), 15, "the delivery")
        assert send_again(Delivery.objects.all()) == 1
        wait_until(lambda: len(receiver.calls) == 3, 15, "the repeat")
    assert len({call.event for call in receiver.calls}) == 1
    assert Delivery.objects.get().give_up_at > timezone.now() + timedelta(days=2)


def test_the_last_attempt_is_made_at_the_end_of_the_three_days(receiver: Receiver) -> None:
    receiver.behave = answering(500)
    shop = make_shop()
    make_endpoint(shop, url=receiver.url)
    issue(shop)
    end = timezone.now() + timedelta(hours=1)
    Delivery.objects.update(attempts=20, give_up_at=end)  # six hours are its wait by now
    with working():
        wait_until(lambda: receiver.calls, 15, "an attempt")
        wait_until(lambda: Delivery.objects.get().attempts == 21, 15, "its being written down")
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.next_at) == ("waiting", end)


def test_who_answers_gone_wants_no_more(receiver: Receiver) -> None:
    receiver.behave = answering(410)
    shop = make_shop()
    make_endpoint(shop, url=receiver.url)
    issue(shop, 3)
    with working():
        wait_until(lambda: not Endpoint.objects.get().active, 15, "the end of the endpoint")
    assert len(receiver.calls) == 1


def test_many_workers_send_each_event_once(receiver: Receiver) -> None:
    shop = make_shop()
    for number in range(3):
        make_endpoint(shop, url=f"{receiver.url}/{number}")
    issue(shop, 10)
    with working(3):
        wait_until(all_are("delivered"), 30, "the deliveries")
    assert len(receiver.calls) == 30
    assert len({(call.path, call.event) for call in receiver.calls}) == 30


def test_what_another_worker_has_leased_waits_for_the_leases_end(receiver: Receiver) -> None:
    shop = make_shop()
    leased, _ = make_endpoint(shop, url=f"{receiver.url}/leased")
    make_endpoint(shop, url=f"{receiver.url}/free")
    Endpoint.objects.filter(pk=leased.pk).update(leased_by="elsewhere:1:ab", leased_until=timezone.now() + timedelta(hours=1))
    issue(shop)
    with working():
        wait_until(lambda: receiver.calls, 15, "the free one")
        Endpoint.objects.filter(pk=leased.pk).update(leased_until=timezone.now())
        wait_until(lambda: len(receiver.calls) == 2, 15, "the other one")
    assert [call.path for call in receiver.calls] == ["/hooks/free", "/hooks/leased"]


@pytest.mark.parametrize("owner", ["dead", "had our number"])
def test_what_a_dead_worker_of_this_machine_had_leased_does_not_wait(receiver: Receiver, owner: str) -> None:
    number = os.getpid()
    if owner == "dead":
        ended = subprocess.Popen(["true"])
        ended.wait()
        number = ended.pid
    shop = make_shop()
    make_endpoint(shop, url=receiver.url)
    name = f"{socket.gethostname()}:{number}:ab"
    Endpoint.objects.update(leased_by=name, leased_until=timezone.now() + timedelta(hours=1))
    issue(shop)
    with working():
        wait_until(lambda: receiver.calls, 15, "the delivery")


def test_a_worker_that_starts_leaves_the_living_their_leases(receiver: Receiver) -> None:
    receiver.behave = receiver.hang
    shop = make_shop()
    make_endpoint(shop, url=receiver.url)
    issue(shop)
    with working() as (first,):
        wait_until(lambda: receiver.calls, 15, "the first attempt")
        second = Worker()
        second._free_leases_of_the_dead()
        assert Endpoint.objects.get().leased_by == first.name


def test_an_internal_address_is_not_sent_to(receiver: Receiver) -> None:
    shop = make_shop()
    make_endpoint(shop, url=receiver.url)
    Endpoint.objects.update(allow_internal=False)
    issue(shop)
    with working():
        wait_until(lambda: Delivery.objects.get().attempts, 15, "an attempt")
    delivery = Delivery.objects.get()
    assert (delivery.answer, delivery.failure_code) == ("", "address_not_https")
    assert "https" in delivery.shown_answer
    with translation.override("ru"):
        assert delivery.shown_answer == f"адрес {receiver.url!r} не начинается с https://"
    assert receiver.calls == []


def test_a_shop_cannot_move_an_internal_endpoint_elsewhere_inside() -> None:
    endpoint, _ = make_endpoint(make_shop(), url="http://127.0.0.1:8025/")
    assert change_endpoint(endpoint, event_types=["grant.issued"]).allow_internal
    for url in ("http://127.0.0.1:9200/", "https://10.0.0.1/"):
        with pytest.raises(Exception, match=r"https|internal"):
            change_endpoint(endpoint, url=url)
    assert not change_endpoint(endpoint, url="https://shop.example/").allow_internal


def test_a_replaced_secret_signs_along(receiver: Receiver) -> None:
    shop = make_shop()
    endpoint, old = make_endpoint(shop, EventType.GRANT_ISSUED, url=receiver.url)
    new = replace_secret(endpoint)
    issue(shop)
    with working():
        wait_until(all_are("delivered"), 15, "the delivery")
        Endpoint.objects.update(previous_until=timezone.now())
        issue(shop)
        wait_until(lambda: len(receiver.calls) == 2, 15, "the second one")
    first, second = receiver.calls
    for secret in (old, new):
        first.verify(secret)
    second.verify(new)
    with pytest.raises(WebhookVerificationError):
        second.verify(old)


def test_expiry_is_noticed_when_nobody_fetches(receiver: Receiver) -> None:
    shop = make_shop()
    make_endpoint(shop, EventType.GRANT_EXPIRED, url=receiver.url)
    grant, _ = make_grant(make_customer(shop), make_item(1))
    let_expire(grant)
    with working():
        wait_until(partial(receiver.of_kind, "grant.expired"), 15, "the event")


def test_an_unforeseen_error_ends_no_worker(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing_once(real: Callable[..., object]) -> Callable[..., object]:
        left = [RuntimeError("can't start new thread")]

        def act(*arguments: object, **named: object) -> object:
            if left:
                raise left.pop()
            return real(*arguments, **named)

        return act

    monkeypatch.setattr(worker_module, "write_down_expired", failing_once(worker_module.write_down_expired))  # type: ignore[attr-defined]
    monkeypatch.setattr(worker_module, "_start", failing_once(worker_module._start))
    monkeypatch.setattr(worker_module, "_note_answer", failing_once(worker_module._note_answer))
    monkeypatch.setattr(worker_module, "LEASE", timedelta(seconds=1))
    monkeypatch.setattr(schedule, "_FIRST", 0.01)
    shop = make_shop()
    make_endpoint(shop, url=receiver.url)
    issue(shop, 2)
    with working() as (worker,):
        wait_until(all_are("delivered"), 30, "the deliveries")
        wait_until(lambda: not worker._running, 15, "the end of the attempts")


def test_deleted_while_being_sent(receiver: Receiver) -> None:
    shop = make_shop()
    make_endpoint(shop, url=receiver.url)
    receiver.behave = receiver.hang
    issue(shop)
    with working() as (worker,):
        wait_until(lambda: receiver.calls, 15, "the attempt")
        Endpoint.objects.all().delete()
        receiver.ending.set()
        wait_until(lambda: not worker._running, 15, "its end")
    assert not Delivery.objects.exists()


@pytest.mark.parametrize("attempts", [1, 2, 5, 12, 20, 1_000])
def test_waiting_grows_and_is_spread(attempts: int) -> None:
    longest = min(5 * 2 ** (attempts - 1), 6 * 3600)
    assert schedule.retry_after(attempts, 0.0) == timedelta(seconds=longest)
    assert schedule.retry_after(attempts, 1.0) == timedelta(seconds=longest / 2)
    assert [schedule.backoff(failures).total_seconds() for failures in (0, 2, 3, 4, 100)] == [0, 0, 5, 10, 300]
