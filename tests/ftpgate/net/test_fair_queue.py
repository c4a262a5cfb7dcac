"""Whose turn it is, when some have far more waiting than others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpgate.net.fair_queue import NEW_IN_A_ROW, FairQueue


def filled(items: Mapping[str, int]) -> FairQueue[int]:
    """Each client with so many items, numbered from 0."""
    queue: FairQueue[int] = FairQueue()
    for client, count in items.items():
        for item in range(count):
            queue.push(client, item)
    return queue


def served(queue: FairQueue[int], count: int, cost: Mapping[str, float] | None = None) -> list[str]:
    """The clients of the next items; each item costs 1, or what is said for its client."""
    clients = []
    for _ in range(count):
        client, _ = queue.pop()
        queue.charge(client, 1.0 if cost is None else cost[client])
        clients.append(client)
    return clients


def test_one_item_each_in_turn() -> None:
    assert served(filled({"a": 100, "b": 3, "c": 1}), 8) == ["a", "b", "c", "a", "b", "a", "b", "a"]


def test_who_is_cheap_gets_more_items_and_the_same_share() -> None:
    counted = Counter(served(filled({"cheap": 1_000, "dear": 1_000}), 550, {"cheap": 1.0, "dear": 10.0}))
    assert counted == {"cheap": 500, "dear": 50}


def test_who_had_nothing_waiting_comes_before_a_backlog() -> None:
    queue = filled({str(n): 100 for n in range(50)})
    served(queue, 120)
    queue.push("customer", 0)
    assert "customer" in served(queue, 2)


def test_who_comes_back_at_once_has_had_his_turn_of_this_round() -> None:
    queue = filled({str(n): 100 for n in range(50)})
    order = []
    queue.push("quick", 0)
    for _ in range(204):
        (client,) = served(queue, 1)
        order.append(client)
        if client == "quick":
            queue.push("quick", 0)
    assert 3 <= order.count("quick") <= 5


def test_new_clients_without_end_do_not_keep_a_backlog_waiting() -> None:
    queue = filled({"backlog": 100})
    order = []
    for n in range(10 * (NEW_IN_A_ROW + 1)):
        queue.push(f"new {n}", 0)
        queue.push(f"newer {n}", 0)
        order += served(queue, 1)
    assert order.count("backlog") >= 10


def test_nothing_is_kept_of_clients_that_have_gone() -> None:
    queue: FairQueue[int] = FairQueue()
    for n in range(10_000):
        queue.push(str(n), n)
        served(queue, 1)
    assert len(queue._items) < 5
    assert len(queue._old) < 5


def test_room_is_made_at_the_cost_of_who_has_most() -> None:
    queue = filled({"most": 3, "some": 2})
    assert queue.drop("new") == 2
    assert queue.drop("some") is None
    assert queue.drop("new") == 1
    assert queue.drop("most") == 1
    assert (len(queue), served(queue, 2)) == (2, ["most", "some"])


def test_an_empty_one_has_nothing_to_give() -> None:
    queue = filled({"a": 1})
    served(queue, 1)
    with pytest.raises(IndexError):
        queue.pop()


@given(st.lists(st.one_of(st.sampled_from("abcd"), st.floats(0, 5)), max_size=200))
def test_every_item_comes_once_and_those_of_one_client_in_order(moves: list[str | float]) -> None:
    """A letter is a new item of that client; a number takes the next item, which costs so much."""
    queue: FairQueue[int] = FairQueue()
    pushed: dict[str, list[int]] = {}
    taken: dict[str, list[int]] = {}

    def take(cost: float) -> None:
        client, item = queue.pop()
        queue.charge(client, cost)
        taken.setdefault(client, []).append(item)

    for number, move in enumerate(moves):
        if isinstance(move, str):
            queue.push(move, number)
            pushed.setdefault(move, []).append(number)
        elif queue:
            take(move)
    while queue:
        take(1.0)
    assert taken == pushed
