"""The bridge over the ORM: look-ups, statuses, and above all the recording of what was delivered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from itertools import product

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections, transaction
from django.db.models import F, Sum
from django.test import override_settings
from django.utils import timezone

from ftpgate.errors import Unavailable
from ftpgate.grants import Batch, Bridge, Delivered, GrantState, TransferRecord
from ftpgate.tokens import Token
from tests.webportal.gateway.left import evidence, handed_on
from tests.webportal.shop import let_expire, make_grant, make_item, make_user, whole
from webportal.bridge import make_bridge
from webportal.cart.models import CartItem
from webportal.catalogue.models import FileReport, Item
from webportal.config import environment
from webportal.fulfilment import services
from webportal.fulfilment.checkout import add_to_cart
from webportal.gateway.items import Items, Row
from webportal.gateway.recording import MOST_SPANS, ROWS_A_MINUTE
from webportal.gateway.segments import MOST_RANGES, MOST_SEGMENTS
from webportal.grants.models import Coverage, Grant, GrantToken, Segment
from webportal.grants.states import State
from webportal.history.models import Completion, Transfer


@pytest.fixture
def bridge() -> Bridge:
    return make_bridge(environment.current())


def asks_clock() -> bool:
    """Does a round of statuses ask the database for its time?"""
    return connection.vendor == "postgresql"


def spans_of(grant: Grant, file: int) -> list[list[int]]:
    return Coverage.objects.get(grant=grant, file=file).spans


# ------------------------------------------------------------------------------------------ looking up


@pytest.mark.django_db
def test_look_up_gives_the_whole_grant(bridge: Bridge) -> None:
    user, first, second = make_user("anna"), make_item(10, 0, title="B"), make_item(20, title="A")
    grant, token = make_grant(user, first, second)
    files = list(first.files.order_by("position"))
    bridge.record("g", Batch((Delivered(grant.public_id, files[0].pk, ((2, 5), (7, 9))),)))
    found = bridge.look_up(token)
    assert found is not None
    assert found.id == grant.public_id
    assert found.status.user == "anna"
    assert found.status.state is GrantState.OPEN
    assert found.status.live_tokens == {token.digest()}
    assert (found.status.tier.name, found.status.tier.rate, found.status.tier.connections) == ("default", 0, 64)
    assert [item.id for item in found.items] == [first.public_id, second.public_id]
    assert [(file.id, file.path, file.size, file.sha256) for file in found.items[0].files] == [
        (file.pk, file.path, file.size, bytes(file.sha256)) for file in files
    ]
    assert found.covered == {files[0].pk: ((2, 5), (7, 9))}
    assert found.segments == ()
    assert abs(found.issued_at - grant.issued_at.timestamp()) < 1e-3


@pytest.mark.django_db
def test_only_the_very_token_opens(bridge: Bridge) -> None:
    grant, _ = make_grant(make_user(), make_item(1))
    assert bridge.look_up(Token.new(grant.public_id)) is None
    assert bridge.look_up(Token.new("2222222222")) is None


@pytest.mark.django_db
def test_a_wrong_token_costs_the_same_whether_the_grant_exists(bridge: Bridge, django_assert_num_queries: object) -> None:
    grant, _ = make_grant(make_user(), make_item(1))
    for wrong in (Token.new(grant.public_id), Token.new("2222222222")):
        with django_assert_num_queries(1):  # type: ignore[operator]
            bridge.look_up(wrong)


@pytest.mark.django_db
def test_a_dead_token_is_found_and_dead(bridge: Bridge) -> None:
    grant, first = make_grant(make_user(), make_item(1))
    second = services.replace_tokens(grant)
    found = bridge.look_up(first)
    assert found is not None
    assert found.status.live_tokens == {second.digest()}


@pytest.mark.django_db
def test_items_are_shared_between_grants_and_follow_the_staff(bridge: Bridge) -> None:
    user, item = make_user(), make_item(1)
    one, other = (bridge.look_up(make_grant(user, item)[1]) for _ in range(2))
    assert one is not None
    assert other is not None
    assert one.items[0] is other.items[0]
    item.title = "New"
    item.save()
    changed = bridge.look_up(make_grant(user, item)[1])
    assert changed is not None
    assert changed.items[0].title == "New"
    assert (changed.items[0].files[0].ctime_ns, changed.items[0].files[0].inode) == (None, None)
    item.files.update(mtime_ns=77, ctime_ns=78, inode=2**63 - 1)
    Item.objects.filter(pk=item.pk).update(revision=1)
    stamped = bridge.look_up(make_grant(user, item)[1])
    assert stamped is not None
    file = stamped.items[0].files[0]
    assert (file.mtime_ns, file.ctime_ns, file.inode) == (77, 78, 2**63 - 1)


@pytest.mark.django_db
def test_the_store_of_items_is_bounded(django_assert_num_queries: object) -> None:
    items = [make_item(1, 1, 1) for _ in range(4)]
    rows = [Row(item.pk, item.public_id, item.title, item.artist, item.year, item.folder, 0) for item in items]
    store = Items(most_files=6)
    for row in rows:
        store.get([row])
    with django_assert_num_queries(0):  # type: ignore[operator]
        store.get(rows[2:])
    with django_assert_num_queries(1):  # type: ignore[operator]
        store.get(rows[:1])


@pytest.mark.django_db
def test_the_use_of_a_token_is_written_with_the_next_batch(bridge: Bridge) -> None:
    _, token = make_grant(make_user(), make_item(1))
    row = GrantToken.objects.get(digest=token.digest())
    assert row.last_used_at is None
    for used, shown in ((1_800_000_000, 1_800_000_000), (1_800_000_030, 1_800_000_000), (1_800_000_061, 1_800_000_061)):
        bridge.record("g", Batch(uses={token.digest(): used, Token.new("2222222222").digest(): used}))
        row.refresh_from_db()
        assert row.last_used_at is not None
        assert row.last_used_at.timestamp() == shown  # to the minute


@pytest.mark.django_db
def test_refresh_tells_what_has_changed(bridge: Bridge, django_assert_num_queries: object) -> None:
    user, item = make_user(), make_item(5)
    open_, revoked, expired = (make_grant(user, item)[0] for _ in range(3))
    services.revoke_grant(revoked)
    let_expire(expired)
    user.tier.rate, user.tier.connections = 512_000, 3
    user.tier.save()
    with django_assert_num_queries(1 + asks_clock()):  # type: ignore[operator]
        found = {status.id: status for status in bridge.refresh([open_.public_id, revoked.public_id, expired.public_id, "gone"])}
    assert {id: status.state for id, status in found.items()} == {
        open_.public_id: GrantState.OPEN,
        revoked.public_id: GrantState.REVOKED,
        expired.public_id: GrantState.EXPIRED,
    }
    assert found[open_.public_id].tier.rate == 512_000
    assert found[open_.public_id].opens(time.time(), 900)
    assert not found[expired.public_id].opens(time.time(), 900)


@pytest.mark.django_db
def test_refresh_tells_of_time_stamps_that_were_taken_anew(bridge: Bridge) -> None:
    """A backup was restored and verified: what a gate holds of the grant is of old, and it has to ask for it again."""
    items = [make_item(5), make_item(7)]
    grant, token = make_grant(make_user(), *items)
    seen = set()
    for item in (None, *items, items[0]):
        if item is not None:
            item.files.update(mtime_ns=F("mtime_ns") + 1)
            Item.objects.filter(pk=item.pk).update(revision=F("revision") + 1)
        found = bridge.look_up(token)
        assert found is not None
        assert found.items[0].files[0].mtime_ns == items[0].files.get().mtime_ns
        (status,) = bridge.refresh([grant.public_id])
        assert status == found.status == bridge.look_up_grant(grant.public_id).status  # type: ignore[union-attr]
        seen.add(status.revision)
    assert len(seen) == 4


@pytest.mark.django_db
def test_refresh_of_a_thousand(bridge: Bridge, django_assert_num_queries: object) -> None:
    user = make_user()
    grants = [Grant(user=user, issued_at=timezone.now(), expires_at=timezone.now() + timedelta(days=1)) for _ in range(1_000)]
    Grant.objects.bulk_create(grants)
    GrantToken.objects.bulk_create(
        GrantToken(grant=grant, digest=Token.new(grant.public_id).digest(), made_at=timezone.now())
        for grant in grants
        for _ in range(2)
    )
    with django_assert_num_queries(2 + asks_clock()):  # type: ignore[operator]
        found = bridge.refresh([grant.public_id for grant in grants])
    assert len(found) == 1_000
    assert {len(status.live_tokens) for status in found} == {2}


# ------------------------------------------------------------------------------------------ recording


@pytest.mark.django_db
def test_coverage_is_merged(bridge: Bridge) -> None:
    item = make_item(100)
    grant, _ = make_grant(make_user(), item)
    file = item.files.get().pk
    for spans in (((0, 10), (20, 30)), ((10, 15),), ((29, 40), (0, 3)), ()):
        assert bridge.record("g", Batch((Delivered(grant.public_id, file, spans),))) == []
    assert spans_of(grant, file) == [[0, 15], [20, 40]]
    assert Coverage.objects.get().covered == 35


@pytest.mark.django_db
def test_bytes_that_the_file_does_not_have_are_not_counted(bridge: Bridge) -> None:
    item = make_item(100, 100)
    grant, _ = make_grant(make_user(), item)
    first, second = item.files.order_by("position").values_list("pk", flat=True)
    bridge.record(
        "g", Batch((Delivered(grant.public_id, first, ((90, 300),)), Delivered(grant.public_id, second, ((100, 200),))))
    )
    assert spans_of(grant, first) == [[90, 100]]
    assert not Coverage.objects.filter(file=second).exists()
    assert not Completion.objects.exists()


@pytest.mark.django_db
def test_what_is_gone_is_left_out(bridge: Bridge) -> None:
    item = make_item(10)
    grant, _ = make_grant(make_user(), item)
    file = item.files.get().pk
    batch = Batch(
        (
            Delivered("2222222222", file, ((0, 1),)),
            Delivered(grant.public_id, 10**9, ((0, 1),)),
            Delivered(grant.public_id, file, ((0, 1),)),
        ),
        (evidence("s", "2222222222"),),
        ("no such segment",),
        (record(grant, "gone"), record(grant, item.public_id)),
    )
    bridge.record("g", batch)
    assert Coverage.objects.count() == 1
    assert Transfer.objects.count() == 1


@pytest.mark.django_db
def test_fragments_are_bounded(bridge: Bridge) -> None:
    item = make_item(10 * MOST_SPANS)
    grant, _ = make_grant(make_user(), item)
    file = item.files.get().pk
    spans = (*((9 * n, 9 * n + 1) for n in range(MOST_SPANS)), (9 * MOST_SPANS + 100, 9 * MOST_SPANS + 200))
    bridge.record("g", Batch((Delivered(grant.public_id, file, spans),)))
    row = Coverage.objects.get()
    assert len(row.spans) == MOST_SPANS
    assert row.spans[-1] == [9 * MOST_SPANS + 100, 9 * MOST_SPANS + 200]
    assert row.covered == MOST_SPANS - 1 + 100
    assert row.spans == sorted(row.spans)


@pytest.mark.django_db
def test_an_item_is_complete_once_and_leaves_the_cart(bridge: Bridge) -> None:
    user, first, second = make_user(), make_item(10, 0, 20), make_item(5)
    for item in (first, second):
        add_to_cart(user, item)
    grant, _ = make_grant(user, first, second)
    assert bridge.record("g", Batch(whole(grant, first, but=(3,)))) == []
    assert not Completion.objects.exists()
    assert CartItem.objects.count() == 2
    assert bridge.record("g", Batch(whole(grant, first))) == []
    assert Completion.objects.get().grant_item.item == first
    assert CartItem.objects.get().item == second
    bridge.record("g", Batch(whole(grant, first)))
    (status,) = bridge.record("g", Batch(whole(grant, second)))
    assert bridge.record("g", Batch(whole(grant, second))) == []
    assert (status.id, status.state) == (grant.public_id, GrantState.COMPLETE)
    assert status.completed_at is not None
    assert status.opens(time.time(), grace=900)
    assert not status.opens(time.time() + 901, grace=900)
    assert Completion.objects.count() == 2
    assert not CartItem.objects.exists()


@pytest.mark.django_db
def test_a_completion_concerns_one_grant_and_one_owner(bridge: Bridge) -> None:
    anna, boris, item = make_user(), make_user(), make_item(10)
    for user in (anna, boris):
        add_to_cart(user, item)
    annas, boriss, again = make_grant(anna, item)[0], make_grant(boris, item)[0], make_grant(anna, item)[0]
    (status,) = bridge.record("g", Batch(whole(annas, item)))
    assert status.id == annas.public_id
    assert CartItem.objects.get().user == boris
    assert [grant.present_state for grant in Grant.objects.filter(pk__in=[boriss.pk, again.pk])] == [State.OPEN] * 2


@pytest.mark.django_db
def test_coverage_under_one_grant_does_not_count_for_another(bridge: Bridge) -> None:
    user, item = make_user(), make_item(10, 10)
    one, other = make_grant(user, item)[0], make_grant(user, item)[0]
    bridge.record("g", Batch(whole(one, item, but=(1,)) + whole(other, item, but=(2,))))
    assert not Completion.objects.exists()


@pytest.mark.django_db
def test_running_transfers_of_an_expired_or_revoked_grant_still_count(bridge: Bridge) -> None:
    user, item = make_user(), make_item(10)
    expired, revoked = make_grant(user, item)[0], make_grant(user, item)[0]
    let_expire(expired)
    services.revoke_grant(revoked)
    changed = bridge.record("g", Batch(whole(expired, item) + whole(revoked, item)))
    assert Completion.objects.count() == 2
    assert [(status.id, status.state) for status in changed] == [(expired.public_id, GrantState.EXPIRED)]
    assert set(Grant.objects.values_list("state", flat=True)) == {State.EXPIRED, State.REVOKED}  # written down


@pytest.mark.django_db
def test_only_empty_files_are_complete_at_once() -> None:
    user, empty, full = make_user(), make_item(0, 0), make_item(1)
    add_to_cart(user, empty)
    assert make_grant(user, empty)[0].present_state is State.COMPLETE
    assert not CartItem.objects.exists()
    assert make_grant(user, empty, full)[0].present_state is State.OPEN
    assert Completion.objects.count() == 2


def record(grant: Grant, item: str, at: float = 1_800_000_000.25, **values: object) -> TransferRecord:
    given = {
        "path": "/a/b.ogg",
        "protocol": "http",
        "peer": "127.0.0.1:9",
        "client": "c\0url",
        "start": 0,
        "end": 10,
        "delivered": 4,
    }
    given |= {"started_at": at, "ended_at": at + 1, "outcome": "cut"} | values
    return TransferRecord(grant=grant.public_id, item=item, **given)  # type: ignore[arg-type]


@pytest.mark.django_db
def test_transfers_are_logged_once(bridge: Bridge) -> None:
    item = make_item(10)
    grant, _ = make_grant(make_user(), item)
    batch = Batch(transfers=(record(grant, item.public_id), record(grant, item.public_id, start=3)))
    bridge.record("g", batch)
    bridge.record("g", batch)  # the answer to the first commit was lost
    assert Transfer.objects.count() == 2
    row = Transfer.objects.order_by("start")[0]
    assert (row.path, row.protocol, row.peer, row.client, row.delivered) == ("/a/b.ogg", "http", "127.0.0.1:9", "curl", 4)
    assert row.started_at.timestamp() == 1_800_000_000.25


def bytewise(grant: Grant, item: Item, count: int, at: float = 1_800_000_000.0, **values: object) -> tuple[TransferRecord, ...]:
    """Transfers of single bytes, a hundred in a second."""
    return tuple(
        record(grant, item.public_id, at + number / 100, start=number, end=number + 1, delivered=1, outcome="done", **values)
        for number in range(count)
    )


def joined() -> list[tuple[int, int]]:
    return list(Transfer.objects.filter(number__gt=1).order_by("pk").values_list("number", "delivered"))


@pytest.mark.django_db
def test_thousands_of_transfers_in_a_minute_make_few_rows(bridge: Bridge) -> None:
    item = make_item(10_000)
    grant, _ = make_grant(make_user(), item)
    for batch in range(20):
        bridge.record("g", Batch(transfers=bytewise(grant, item, 100, 1_800_000_000.0 + batch)))
    assert Transfer.objects.count() == ROWS_A_MINUTE
    totals = Transfer.objects.aggregate(number=Sum("number"), bytes=Sum("delivered"))
    assert totals == {"number": 2_000, "bytes": 2_000}
    last = Transfer.objects.filter(number__gt=1).get()
    assert (last.number, last.outcome, last.path) == (2_000 - ROWS_A_MINUTE + 1, "done", "/a/b.ogg")
    assert last.ended_at.timestamp() == pytest.approx(1_800_000_020.99)
    bridge.record("g", Batch(transfers=bytewise(grant, item, 10, 1_800_000_060.0)))
    assert Transfer.objects.count() == ROWS_A_MINUTE + 10, "another minute"


@pytest.mark.django_db
@pytest.mark.parametrize("first", [1, 30, 64, 65, 100])
def test_transfers_that_are_joined_are_counted_once(bridge: Bridge, first: int) -> None:
    item = make_item(10_000)
    grant, _ = make_grant(make_user(), item)
    ended = bytewise(grant, item, 300)
    bridge.record("g", Batch(transfers=ended[:first]))
    bridge.record("g", Batch(transfers=ended[:first]))
    bridge.record("g", Batch(transfers=ended))
    bridge.record("g", Batch(transfers=ended))  # the answers to the commits before were lost
    assert Transfer.objects.aggregate(number=Sum("number"), bytes=Sum("delivered")) == {"number": 300, "bytes": 300}
    assert Transfer.objects.count() == ROWS_A_MINUTE


@pytest.mark.django_db
def test_what_differs_by_the_thousand_is_joined_by_item_and_protocol(bridge: Bridge) -> None:
    """Clients, addresses and files may all be different ones each time."""
    items = make_item(10_000), make_item(10_000)
    grant, _ = make_grant(make_user(), *items)
    ended: list[TransferRecord] = []
    for number in range(200):
        for place, (item, protocol) in enumerate(product(items, ("http", "ftp"))):
            at = 1_800_000_000.0 + number / 10 + place / 100
            varied = {"client": f"c{number}", "peer": f"::{number}", "path": f"/{number}"}
            ended += bytewise(grant, item, 1, at, protocol=protocol, **varied)
    bridge.record("g", Batch(transfers=(*ended, record(grant, items[0].public_id, 1_800_000_030.0, outcome="cut", path="/x"))))
    assert Transfer.objects.count() == ROWS_A_MINUTE + 4
    assert sum(number for number, _ in joined()) == sum(size for _, size in joined()) - 3 == 801 - ROWS_A_MINUTE
    assert list(Transfer.objects.filter(number__gt=1, outcome="cut").values_list("protocol", "path", "client")) == [
        ("http", "", "")
    ]


@pytest.mark.django_db
def test_one_grant_s_many_transfers_leave_others_theirs(bridge: Bridge) -> None:
    item = make_item(10_000)
    (many, _), (few, _) = make_grant(make_user(), item), make_grant(make_user("b"), item)
    bridge.record("g", Batch(transfers=(*bytewise(many, item, 200), *bytewise(few, item, 50))))
    bridge.record("h", Batch(transfers=bytewise(many, item, 60)))
    assert Transfer.objects.filter(grant=few, number=1).count() == 50
    assert Transfer.objects.filter(grant=many, gate="h", number=1).count() == 60


@pytest.mark.django_db
def test_old_transfers_are_pruned(bridge: Bridge) -> None:
    item = make_item(10)
    grant, _ = make_grant(make_user(), item)
    now = time.time()
    bridge.record("g", Batch(transfers=tuple(record(grant, item.public_id, now - days * 86_400) for days in (1, 399, 401, 500))))
    output = StringIO()
    call_command("prune", stdout=output)
    assert output.getvalue() == "rows of transfers deleted: 2\n"
    call_command("prune", "--keep", "2d", stdout=output)
    assert Transfer.objects.count() == 1
    with pytest.raises(CommandError, match="'soon' is not a duration"):
        call_command("prune", "--keep", "soon")
    with override_settings(FTPGATE=replace(settings.FTPGATE, keep_transfers=0)), pytest.raises(CommandError, match="keeps all"):
        call_command("prune")


# ------------------------------------------------------------------------------------------ all or nothing


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("failing", ["INSERT history_completion", "DELETE cart_cartitem", "UPDATE grants_grant"])
def test_a_batch_is_written_whole_or_not_at_all(bridge: Bridge, failing: str) -> None:
    """Coverage, history, the cart and the grant's state: one transaction."""
    user, item = make_user(), make_item(10)
    add_to_cart(user, item)
    grant, token = make_grant(user, item)
    verb, table = failing.split()

    def fail(execute: Callable[..., object], sql: str, *rest: object) -> object:
        if sql.startswith(verb) and f'"{table}' in sql:
            raise OperationalError("the disk is full")
        return execute(sql, *rest)

    with connection.execute_wrapper(fail), pytest.raises(Unavailable):
        bridge.record(
            "g",
            Batch(
                whole(grant, item),
                (evidence("s1", grant.public_id),),
                transfers=(record(grant, item.public_id),),
                uses={token.digest(): time.time()},
            ),
        )
    assert not Transfer.objects.exists()
    assert not Segment.objects.exists()
    assert not Coverage.objects.exists()
    assert not Completion.objects.exists()
    assert CartItem.objects.count() == 1
    assert Grant.objects.get().state == State.OPEN
    assert GrantToken.objects.get().last_used_at is None
    bridge.record("g", Batch(whole(grant, item)))
    assert Completion.objects.count() == 1
    assert not CartItem.objects.exists()
    assert Grant.objects.get().state == State.COMPLETE


# ------------------------------------------------------------------------------------------ segments and gates


@pytest.mark.django_db
def test_a_segment_comes_back_as_it_was_recorded(bridge: Bridge) -> None:
    grant, token = make_grant(make_user(), make_item(100, 100))
    segment = evidence("s1", grant.public_id, "z7", exact=True, paced=False, unconfirmed={7: ((0, 50), (60, 70)), 8: ((0, 9),)})
    bridge.record("a", Batch(segments=(segment,)))
    found = bridge.look_up(token)
    assert found is not None
    assert found.segments == (segment,)


@pytest.mark.django_db
def test_a_segment_is_replaced_by_its_id_until_it_is_settled(bridge: Bridge) -> None:
    grant, token = make_grant(make_user(), make_item(100))
    bridge.record("a", Batch(segments=(evidence("s1", grant.public_id), evidence("s2", grant.public_id))))
    ended_at = Segment.objects.get(segment_id="s1").ended_at
    bridge.record("b", Batch(segments=(evidence("s1", grant.public_id, credited=300, unconfirmed={1: ((300, 400),)}),)))
    row = Segment.objects.get(segment_id="s1")
    assert (row.gate, row.credited, row.unconfirmed, row.ended_at) == ("b", 300, {"1": [[300, 400]]}, ended_at)
    bridge.record("b", Batch(settled=("s1",)))
    bridge.record("b", Batch(settled=("s1",)))
    assert handed_on(bridge, token) == ["s2"]


@pytest.mark.django_db
def test_segments_are_bounded_and_the_oldest_go(bridge: Bridge) -> None:
    item = make_item(100)
    grant, token = make_grant(make_user(), item)
    other, _ = make_grant(make_user("other"), item)
    bridge.record("a", Batch(segments=(evidence("other resource", grant.public_id, "z1"), evidence("other", other.public_id))))
    for many in (MOST_SEGMENTS - 1, 2):
        first = Segment.objects.count()
        made = tuple(evidence(str(first + n), grant.public_id) for n in range(many))
        bridge.record("a", Batch(segments=made))
    kept = handed_on(bridge, token)
    assert kept == ["other resource", *(str(n) for n in range(3, MOST_SEGMENTS + 3))]
    assert Segment.objects.filter(grant=other).count() == 1


@pytest.mark.django_db
def test_many_ranges_of_a_segment_are_joined(bridge: Bridge) -> None:
    grant, _ = make_grant(make_user(), make_item(10_000))
    ranges = tuple((10 * n, 10 * n + 1) for n in range(MOST_RANGES + 1))
    bridge.record("a", Batch(segments=(evidence("s1", grant.public_id, unconfirmed={1: ranges, 2: ranges[:-1], 3: ()}),)))
    assert Segment.objects.get().unconfirmed == {"1": [[0, 10 * MOST_RANGES + 1]], "2": [list(span) for span in ranges[:-1]]}


@pytest.mark.django_db
def test_a_segment_out_of_order_does_not_keep_the_rest_from_being_recorded(bridge: Bridge) -> None:
    item = make_item(100)
    grant, _ = make_grant(make_user(), item)
    delivered = Delivered(grant.public_id, item.files.get().pk, ((0, 1),))
    bridge.record("a", Batch((delivered,), (evidence("s1", grant.public_id, credited=500),)))
    assert Coverage.objects.count() == 1
    assert not Segment.objects.exists()


@pytest.mark.django_db
def test_changed_files_are_reported_once(bridge: Bridge) -> None:
    file = make_item(1).files.get().pk
    bridge.report_changed({file: "is shorter", 10**9: "is not there"})
    first = FileReport.objects.get().reported_at
    bridge.report_changed({file: "is gone"})
    report = FileReport.objects.get()
    assert (report.file_id, report.reason, report.reported_at) == (file, "is gone", first)


@pytest.mark.django_db
def test_a_grant_is_found_by_its_id_as_by_its_token(bridge: Bridge) -> None:
    grant, token = make_grant(make_user(), make_item(1, 2))
    bridge.record("a", Batch((Delivered(grant.public_id, grant.items.get().files.first().pk, ((0, 1),)),)))  # type: ignore[union-attr]
    assert bridge.look_up_grant(grant.public_id) == bridge.look_up(token)
    assert bridge.look_up_grant("2222222222") is None


# ------------------------------------------------------------------------------------------ when the database is away


@pytest.mark.databases("postgres")
@pytest.mark.django_db(transaction=True)
def test_a_connection_that_the_server_cut_is_replaced(bridge: Bridge) -> None:
    _, token = make_grant(make_user(), make_item(1))
    assert bridge.look_up(token) is not None
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    cutter = threading.Thread(target=_cut, args=(pid,))
    cutter.start()
    cutter.join()
    for _ in range(2):  # one refusal at most: the broken connection is given back at once
        try:
            assert bridge.look_up(token) is not None
            break
        except Unavailable:
            assert connection.connection is None
    else:
        pytest.fail("the broken connection was kept")


def _cut(pid: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    connections.close_all()
