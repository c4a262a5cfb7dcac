"""Placement: who is moved when gates come and go, and what load does."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ftpgate.placement import BUSY, CALM, FEW, MOST, Busy, Place, places, ranked

CUSTOMERS = [f"customer{number}" for number in range(500)]


def place(name: str, *, busy: bool = False) -> Place:
    return Place({"ftp": f"{name}.example.org:21", "http": f"{name}.example.org:80"}, busy)


SIX = [place(name) for name in "abcdef"]


def first(among: list[Place]) -> dict[str, str]:
    return {customer: ranked(customer, among)[0].name for customer in CUSTOMERS}


def test_when_a_place_goes_only_its_own_customers_move_and_they_come_back_with_it() -> None:
    before, after = first(SIX), first(SIX[1:])
    moved = {customer for customer in CUSTOMERS if before[customer] != after[customer]}
    assert moved == {customer for customer in CUSTOMERS if before[customer] == SIX[0].name}
    assert first(SIX) == before


def test_customers_move_to_the_next_of_their_own_order() -> None:
    for customer in CUSTOMERS:
        best, second, *_ = ranked(customer, SIX)
        assert ranked(customer, [one for one in SIX if one != best])[0] == second


def test_customers_are_spread_over_all_places() -> None:
    counted = Counter(first(SIX).values())
    assert set(counted) == {one.name for one in SIX}
    assert min(counted.values()) > len(CUSTOMERS) / len(SIX) / 2  # by the hashes of these names, which do not change


def test_a_customer_is_given_so_many_places_at_the_most() -> None:
    assert len(ranked("anna", SIX)) == MOST
    assert len({one.name for one in ranked("anna", SIX)}) == MOST
    assert len(ranked("anna", SIX[:2])) == 2


def test_a_busy_place_comes_last_and_only_its_customers_move() -> None:
    busy = [place("a", busy=True), *SIX[1:]]
    before, after = first(SIX), first(busy)
    assert SIX[0].name not in after.values()
    assert all(after[customer] == before[customer] for customer in CUSTOMERS if before[customer] != SIX[0].name)


def test_when_all_are_busy_the_order_is_as_when_none_is() -> None:
    assert first([one._replace(busy=True) for one in SIX]) == first(SIX)


def test_gates_that_share_their_addresses_are_one_place_which_is_busy_when_all_of_them_are() -> None:
    assert places([place("a"), place("b"), place("a", busy=True)]) == [place("a"), place("b")]
    assert places([place("a", busy=True), place("a", busy=True)]) == [place("a", busy=True)]


@given(st.lists(st.sampled_from(SIX), unique_by=lambda one: one.name), st.randoms())
def test_the_order_in_which_gates_are_listed_does_not_matter(among: list[Place], random: object) -> None:
    shuffled = among[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert ranked("anna", shuffled) == ranked("anna", among)


def judge(state: Busy, transfers: int, *others: int, connections: int = 0) -> bool:
    return state.judge(transfers, others, connections, 1_000)


def test_a_gate_is_busy_beside_others_with_much_less() -> None:
    assert not judge(Busy(), int(FEW + BUSY * 50), 40, 60)
    assert judge(Busy(), int(FEW + BUSY * 50) + 1, 40, 60)


def test_a_gate_alone_is_never_busy() -> None:
    assert not judge(Busy(), 10_000, connections=1_000)


def test_few_transfers_make_no_gate_busy() -> None:
    assert not judge(Busy(), FEW, 0)


def test_a_busy_gate_stays_so_until_it_is_clearly_calmer() -> None:
    state = Busy()
    assert judge(state, 200, 50)
    assert judge(state, int(FEW + CALM * 50) + 1, 50)
    assert not judge(state, int(FEW + CALM * 50), 50)
    assert not judge(state, int(FEW + CALM * 50) + 1, 50)


def test_a_gate_whose_places_are_taken_is_busy_whatever_the_others_have() -> None:
    state = Busy()
    assert judge(state, 0, 1_000, connections=900)
    assert judge(state, 0, 1_000, connections=751)
    assert not judge(state, 0, 1_000, connections=749)
