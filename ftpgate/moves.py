"""State machines as tables: what a thing may do next."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum
from typing import TypeVar


class StateEnum(Enum):
    """The states of something that changes them often."""

    __hash__ = object.__hash__  # that of Enum is a function of Python, and every move takes two


S = TypeVar("S", bound=StateEnum)


class IllegalMoveError(Exception):
    """Something was to do what it cannot do in its state: a mistake in this program."""


def check_move(moves: Mapping[S, Collection[S]], state: S, to: S) -> S:
    """`to`, if it may follow `state` by the table `moves`.

    Raises:
        IllegalMoveError: it may not.
    """
    if to not in moves[state]:
        raise IllegalMoveError(f"{state.name} to {to.name}")
    return to
