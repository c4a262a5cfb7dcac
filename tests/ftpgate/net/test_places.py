"""Each address's share of the gate's connections."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ftpgate.net import places
from ftpgate.net.places import Crowd, Guest, Places


class Entrance:
    """Lets connections in as a front does."""

    def __init__(self, most: int) -> None:
        self.places = Places(most)
        self.ended: list[str] = []

    def come(self, peer: str, *, weight: int = 1) -> Guest | None:
        return self.places.admit(peer, lambda: self.ended.append(peer), weight=weight)

    def fill(self, peer: str, count: int, *, prove: bool = False, weight: int = 1) -> list[Guest]:
        """Connections that get a place, of `count` that come."""
        came = [self.come(peer, weight=weight) for _ in range(count)]
        let_in = [guest for guest in came if guest is not None and not guest.refused]
        if prove:
            for guest in let_in:
                guest.prove()
        return let_in


def test_strangers_of_one_address_take_a_quarter() -> None:
    entrance = Entrance(400)
    assert len(entrance.fill("192.0.2.1", 500)) == 100
    assert len(entrance.fill("192.0.2.2", 500)) == 100
    assert not entrance.ended


def test_addresses_of_one_network_share() -> None:
    entrance = Entrance(400)
    assert len(entrance.fill("2001:db8::1", 60)) == 60
    assert len(entrance.fill("2001:db8::ffff:2", 60)) == 40
    assert len(entrance.fill("2001:db8:0:1::1", 60)) == 60
    assert len(entrance.fill("::ffff:192.0.2.1", 60)) == 60
    assert len(entrance.fill("192.0.2.1", 60)) == 40


def test_who_has_shown_a_token_counts_differently() -> None:
    entrance = Entrance(400)
    for _ in range(10):
        entrance.fill("192.0.2.1", 30, prove=True)
    assert len(entrance.fill("192.0.2.1", 1)) == 0, "three quarters are the most"
    assert len(entrance.fill("192.0.2.2", 100)) == 100


def test_forty_customers_behind_one_address() -> None:
    entrance = Entrance(19_936)
    assert len(entrance.fill("192.0.2.1", 40 * 64)) == 40 * 64, "before they have sent anything"
    entrance = Entrance(4_032)
    for _ in range(40):
        assert len(entrance.fill("192.0.2.1", 64, prove=True)) == 64


def test_the_address_with_most_strangers_gives_way() -> None:
    entrance = Entrance(400)
    customers = entrance.fill("192.0.2.9", 100, prove=True)
    for number in range(5):
        entrance.fill(f"192.0.2.{number}", 58 + number)
    assert entrance.places.taken == 400
    assert entrance.come("198.51.100.1").refused is False  # type: ignore[union-attr]
    assert entrance.ended == ["192.0.2.4"], "its oldest"
    assert all(guest.here for guest in customers)
    entrance.fill("198.51.100.2", 59)
    assert set(entrance.ended) <= {f"192.0.2.{number}" for number in range(5)}


def test_no_place_is_taken_from_who_has_fewer() -> None:
    entrance = Entrance(64)
    for number in range(64):
        entrance.fill(f"192.0.2.{number}", 1)
    late = entrance.come("198.51.100.1")
    assert late is not None
    assert late.refused
    assert not entrance.ended


def test_a_heavier_one_needs_as_many_places() -> None:
    entrance = Entrance(64)
    assert len(entrance.fill("192.0.2.1", 40, weight=2)) == 16
    for number in range(32):
        entrance.fill(f"198.51.100.{number}", 1)
    assert entrance.places.taken == 64
    assert len(entrance.fill("203.0.113.1", 1, weight=2)) == 1
    assert entrance.ended == ["192.0.2.1"]
    assert entrance.places.taken == 64


def test_only_some_are_told_that_there_is_no_place() -> None:
    entrance = Entrance(64)
    told = [guest for guest in (entrance.come("192.0.2.1") for _ in range(100)) if guest is not None and guest.refused]
    assert len(told) == places.TOLD_OF_ONE
    told[0].prove()
    told[0].leave()
    told[0].leave()
    assert entrance.come("192.0.2.1").refused  # type: ignore[union-attr]
    assert entrance.come("192.0.2.1") is None


def test_who_logs_out_is_a_stranger_again() -> None:
    entrance = Entrance(400)
    proven = entrance.fill("192.0.2.1", 100, prove=True)
    assert len(entrance.fill("192.0.2.1", 1)) == 1
    for guest in proven:
        guest.forget()
    assert len(entrance.fill("192.0.2.1", 1)) == 0
    for guest in proven:
        guest.leave()
    assert len(entrance.fill("192.0.2.1", 1)) == 1


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["come", "prove", "forget", "leave"]), st.integers(0, 9), st.integers(1, 2)), max_size=200
)


@given(ACTIONS)
def test_nothing_is_lost_or_counted_twice(actions: list[tuple[str, int, int]]) -> None:
    held = Places(24)
    guests: list[Guest] = []
    for action, number, weight in actions:
        if action == "come":
            guest = held.admit(f"192.0.2.{number}", lambda: None, weight=weight)
            if guest is not None:
                guests.append(guest)
        elif guests:
            getattr(guests[number % len(guests)], action)()
    here = [guest for guest in guests if guest.here and not guest.refused]
    assert held.taken == sum(guest.weight for guest in here) <= 24
    assert held._taken_by == Counter(
        {address: sum(g.weight for g in here if g.address == address) for address in {g.address for g in here}}
    )
    assert {each for address in held._taken_by for each in held._strangers.members(address)} == {g for g in here if not g.proven}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 20)), max_size=100))
def test_a_crowd_knows_who_has_most(actions: list[tuple[bool, int, int]]) -> None:
    crowd: Crowd[int] = Crowd()
    model: dict[str, set[int]] = {str(address): set() for address in range(4)}
    for add, address, member in actions:
        if add and member not in model[str(address)]:
            crowd.add(str(address), member)
            model[str(address)].add(member)
        elif not add:
            crowd.discard(str(address), member)
            model[str(address)].discard(member)
    largest = crowd.largest()
    assert (largest is None) == (not any(model.values()))
    if largest is not None:
        assert len(model[largest]) == max(map(len, model.values())) == crowd.count(largest)
    assert all(set(crowd.members(address)) == members for address, members in model.items())
