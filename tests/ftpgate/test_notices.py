"""Notices as messages of PostgreSQL, which have a length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpgate.notices import LARGEST, Changes, Kind, Notice, decode, encode

notices = st.builds(Notice, st.sampled_from(Kind), st.text(max_size=150), st.just(""))


@given(st.frozensets(notices, max_size=30))
def test_what_is_told_arrives_or_everything_does(told: frozenset[Notice]) -> None:
    message = encode(told)
    assert len(message.encode()) <= LARGEST
    heard = decode([message])
    assert heard.everything or heard.notices == told


def test_too_many_for_one_message_are_everything() -> None:
    fits = [Notice(Kind.GRANT, f"{number:010}") for number in range(300)]
    assert decode([encode(fits)]) == Changes(frozenset(fits))
    assert decode([encode([*fits, *(Notice(Kind.USER, f"{number:0150}") for number in range(50))])]) == Changes(everything=True)


def test_several_messages_are_one_set_of_changes() -> None:
    one, other = Notice(Kind.GRANT, "a"), Notice(Kind.TIER, "b")
    assert decode([encode([one]), encode([other]), encode([one])]) == Changes(frozenset({one, other}))
    assert decode([encode([one]), "*"]) == Changes(everything=True)
    assert decode([]) == Changes()


def test_kinds_of_later_versions_are_left_out() -> None:
    assert decode(['[["weather","rain"],["grant","a"]]']) == Changes(frozenset({Notice(Kind.GRANT, "a")}))


@pytest.mark.parametrize("message", ["", "grant a", "[1]", '[["grant"]]', "null", '{"grant":"a"}'])
def test_what_cannot_be_read_may_have_been_anything(message: str) -> None:
    assert decode([message]) == Changes(everything=True)
