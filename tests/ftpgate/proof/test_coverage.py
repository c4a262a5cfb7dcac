"""SpanSet against the plainest model there is: a set of the numbers of its bytes."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ftpgate.proof.coverage import Span, SpanSet

bounds = st.integers(0, 40)
spans = st.tuples(bounds, bounds)  # some of them empty or backwards: both are no bytes


def bytes_of(span: Span) -> set[int]:
    return set(range(*span))


class Model(RuleBasedStateMachine):
    """Every operation in every order, each answer compared with the model's."""

    def __init__(self) -> None:
        super().__init__()
        self.real = SpanSet()
        self.model: set[int] = set()

    @rule(span=spans)
    def add(self, span: Span) -> None:
        assert self.real.add(*span) == len(bytes_of(span) - self.model)
        self.model |= bytes_of(span)

    @rule(many=st.lists(spans, max_size=6))
    def update(self, many: list[Span]) -> None:
        new = set().union(*map(bytes_of, many))
        assert self.real.update(many) == len(new - self.model)
        self.model |= new

    @rule(span=spans)
    def remove(self, span: Span) -> None:
        self.real.remove(*span)
        self.model -= bytes_of(span)

    @rule(span=spans)
    def covers(self, span: Span) -> None:
        assert self.real.covers(*span) == (bytes_of(span) <= self.model)

    @rule(span=spans)
    def missing(self, span: Span) -> None:
        answer = list(self.real.missing(*span))
        assert all(start < end for start, end in answer)
        assert all(before[1] < after[0] for before, after in pairwise(answer))
        assert set().union(*map(bytes_of, answer)) == bytes_of(span) - self.model

    @rule(many=st.lists(spans, max_size=6))
    def without(self, many: list[Span]) -> None:
        other = SpanSet(many)
        assert set().union(*map(bytes_of, self.real.without(other))) == self.model - set().union(*map(bytes_of, many))
        assert other == SpanSet(many)

    @invariant()
    def is_the_model(self) -> None:
        found = list(self.real)
        assert set().union(*map(bytes_of, found)) == self.model
        assert self.real.size == len(self.model)
        assert len(self.real) == len(found)
        assert bool(self.real) == bool(self.model)

    @invariant()
    def is_sorted_disjoint_and_does_not_touch(self) -> None:
        found = list(self.real)
        assert all(start < end for start, end in found)
        assert all(before[1] < after[0] for before, after in pairwise(found))


TestModel = Model.TestCase


@given(st.lists(spans), st.randoms(use_true_random=False))
def test_order_does_not_matter(many: list[Span], shuffle: random.Random) -> None:
    shuffled = list(many)
    shuffle.shuffle(shuffled)
    assert SpanSet(many) == SpanSet(shuffled)


def test_only_equal_sets_are_equal() -> None:
    assert SpanSet([(0, 5), (5, 9)]) == SpanSet([(0, 9)])
    assert SpanSet([(0, 5)]) != SpanSet([(0, 6)])
    assert SpanSet([(0, 5)]) != [(0, 5)]


def test_shows_its_spans() -> None:
    assert repr(SpanSet([(7, 9), (0, 5)])) == "SpanSet([(0, 5), (7, 9)])"


def test_holds_sizes_beyond_32_bits() -> None:
    held = SpanSet([(1 << 40, 1 << 41)])
    assert held.add((1 << 40) - 1, (1 << 41) + 1) == 2
    assert list(held.missing(0, 1 << 42)) == [(0, (1 << 40) - 1), ((1 << 41) + 1, 1 << 42)]
