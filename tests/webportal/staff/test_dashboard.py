"""Staff's dashboard: figures from the database, the gates' own words, plots."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from ftpgate.grants import Batch, TransferRecord
from tests.webportal.gates import TellingGate, enter
from tests.webportal.shop import leave_unconfirmed, let_expire, make_grant, make_item, make_user, whole
from tests.webportal.visiting import text, visitor
from tests.webportal.webhooks.shops import make_customer, make_shop
from webportal.accounts.models import Tier, User
from webportal.bridge import make_bridge
from webportal.catalogue.models import Item
from webportal.config import environment
from webportal.fulfilment.by_word import complete_by_word
from webportal.grants.models import Grant
from webportal.staff.dashboard.plots import HEIGHT, WIDTH, bars, nice_top
from webportal.staff.dashboard.selectors import Software, figures, live, software_name

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    cache.clear()


def test_the_figures_count_what_was_recorded(staff: User) -> None:
    salt, kites, lost = make_item(1_000, title="Salt"), make_item(10, title="Kites"), make_item(10, title="Lost")
    grant, _ = make_grant(staff, salt, kites)
    gone, _ = make_grant(staff, lost)
    let_expire(gone)
    now = time.time()

    def transfer(number: int, client: str, outcome: str, delivered: int, of: Grant = grant, item: Item = salt) -> TransferRecord:
        ended = now - number
        return TransferRecord(
            of.public_id,
            item.public_id,
            "/x",
            "http",
            "192.0.2.1",
            client,
            number,
            1_000,
            delivered,
            ended - 1,
            ended,
            outcome,
        )

    transfers = (
        transfer(1, "aria2/1.36.0", "done", 400),
        transfer(2, "aria2/1.36.0", "cut", 300),
        transfer(3, "Mozilla/5.0 (X11; Linux) Firefox/140.0", "stalled", 300),
        transfer(4, "", "done", 0),
        transfer(5, "aria2/1.37.0", "cut", 0, item=kites),
        transfer(6, "Wget/1.21", "cut", 0, of=gone, item=lost),
    )
    make_bridge(environment.current()).record("gate", Batch(delivered=whole(grant, salt), transfers=transfers))
    found = figures()
    assert len(found.days) == 30
    assert (sum(day.delivered for day in found.days), sum(day.completions for day in found.days)) == (1_000, 1)
    assert (found.complete, found.by_word, found.waiting, found.abandoned) == (1, 0, 1, 1)
    assert found.top_items == ((salt.public_id, "Salt", 1),)
    assert set(found.software) == {
        Software("aria2", complete=1, by_word=0, abandoned=0, waiting=1, transfers=3, cut=2),
        Software("Firefox", complete=1, by_word=0, abandoned=0, waiting=0, transfers=1, cut=0),
        Software("HTTP", complete=1, by_word=0, abandoned=0, waiting=0, transfers=1, cut=0),
        Software("Wget", complete=0, by_word=0, abandoned=1, waiting=0, transfers=1, cut=1),
    }


def test_items_by_word_are_counted_by_themselves(staff: User) -> None:
    item = make_item(1_000)
    grant, _ = make_grant(staff, item)
    leave_unconfirmed(grant, item, {1: (100, 300)}, client="aria2/1.37.0")
    complete_by_word(grant, item, staff)
    found = figures()
    assert (found.complete, found.by_word, found.waiting) == (0, 1, 0)
    assert found.days[-1].completions == 1
    assert found.software == (Software("aria2", complete=0, by_word=1, abandoned=0, waiting=0, transfers=1, cut=1),)
    assert "Confirmed by customers" in text(visitor(staff).get("/staff/"))


def test_gates_tell_of_themselves_and_silent_ones_are_named(staff: User, gate: TellingGate) -> None:
    slow = Tier.objects.create(name="slow", rate=1_000, connections=2)
    make_user("alice")
    User.objects.filter(username="alice").update(tier=slow)
    enter("good", f"127.0.0.1:{gate.server_address[1]}")
    enter("dead", "127.0.0.1:1")
    transfer = {
        "grant": "g",
        "user": "alice",
        "item": "i",
        "path": "/Salt/<1>.ogg",
        "protocol": "ftp",
        "peer": "192.0.2.1",
        "bytes_per_s": 950,
    }
    known = {
        "id": "good",
        "ftp": "h:1",
        "http": "h:2",
        "connections": 1,
        "bytes_per_s": 950,
        "rss_bytes": 60_000_000,
        "loop_lag_ms": 1,
    }
    gate.document = {"gate": known, "transfers": [transfer]}
    found = live()
    assert ([gate["id"] for gate in found.silent], found.bytes_per_s) == (["dead"], 950)
    assert [(customer.user, customer.rate, customer.limit) for customer in found.at_limit] == [("alice", 950, 1_000)]
    page = text(visitor(staff).get("/staff/"))
    assert "These gates do not answer:" in page
    assert "/Salt/&lt;1&gt;.ogg" in page
    assert "60.0\N{NO-BREAK SPACE}MB" in page


def test_a_shops_customers_are_shown_by_its_own_names(staff: User, gate: TellingGate) -> None:
    shop = make_shop()
    customer = make_customer(shop, "customer-17")
    User.objects.filter(pk=customer.pk).update(tier=Tier.objects.create(name="slow", rate=1_000))
    enter("good", f"127.0.0.1:{gate.server_address[1]}")
    transfer = {"grant": "g", "item": "i", "path": "/x", "protocol": "ftp", "peer": "192.0.2.1", "bytes_per_s": 1_000}
    gate.document = {
        "gate": {"id": "good", "ftp": "h:1", "http": "h:2", "connections": 1, "bytes_per_s": 1, "rss_bytes": 1, "loop_lag_ms": 1},
        "transfers": [transfer | {"user": customer.username}],
    }
    found = live()
    assert [running["user"] for running in found.transfers] == [f"{shop}: customer-17"]
    assert [reached.user for reached in found.at_limit] == [f"{shop}: customer-17"]


def test_every_running_transfer_counts_and_the_fastest_are_named(staff: User, gate: TellingGate) -> None:
    enter("good", f"127.0.0.1:{gate.server_address[1]}")
    named = {"grant": "g", "user": "alice", "item": "i", "protocol": "ftp", "peer": "192.0.2.1"}
    gate.document = {
        "gate": {
            "id": "good",
            "ftp": "h:1",
            "http": "h:2",
            "connections": 80,
            "bytes_per_s": 1,
            "rss_bytes": 1,
            "loop_lag_ms": 1,
        },
        "transfers": [named | {"path": f"/{speed}.ogg", "bytes_per_s": speed} for speed in range(80)],
    }
    page = text(visitor(staff).get("/staff/"))
    assert "<dt>Running transfers</dt><dd>80</dd>" in page
    assert "/79.ogg" in page
    assert "/29.ogg" not in page


def test_an_empty_shop_says_what_to_do(staff: User) -> None:
    page = text(visitor(staff).get("/staff/"))
    assert "ftpgate serve" in page
    assert "Nothing has been downloaded yet." in page
    assert page.count("<title>") == 61


def test_customers_are_not_let_in() -> None:
    assert visitor(make_user("alice")).get("/staff/").status_code == 403


def test_days_are_the_viewers(staff: User) -> None:
    User.objects.filter(pk=staff.pk).update(time_zone="Pacific/Kiritimati")
    item = make_item(10)
    grant, _ = make_grant(staff, item)
    make_bridge(environment.current()).record("gate", Batch(delivered=whole(grant, item)))
    visitor(staff).get("/staff/")
    with timezone.override("Pacific/Kiritimati"):
        assert figures().days[-1].day == (timezone.now() + timedelta(hours=14)).date()
        assert figures().days[-1].completions == 1


def test_plots_fill_their_room() -> None:
    plot = bars([0, 50, 100], ["a", "b", "c"], str)
    assert plot.bars[0].height == 0
    assert max(bar.height for bar in plot.bars) == pytest.approx(HEIGHT - 30)
    assert all(0 <= bar.x <= WIDTH and bar.x + bar.width <= WIDTH for bar in plot.bars)
    assert plot.bars[1].title == "b: 50"
    assert bars([], [], str).bars == ()
    assert [nice_top(value) for value in (0, 1, 1.5, 3, 7, 11, 5_000, 5_001)] == [1, 1, 2, 5, 10, 20, 5_000, 10_000]


NAMES = {
    "aria2/1.36.0": "aria2",
    "Wget": "Wget",
    "FileZilla Client": "FileZilla",
    "Mozilla/5.0 (X) Chrome/1 Safari/1": "Chrome",
    "": "",
}


@pytest.mark.parametrize(("client", "name"), NAMES.items())
def test_names_of_software(client: str, name: str) -> None:
    assert software_name(client) == name
