"""Long lists in pieces that one query can take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 500
"""Values in one query: SQLite takes 999 parameters in older versions."""


def batches(values: Iterable[T]) -> Iterator[Sequence[T]]:
    """The values in their order, AT_ONCE of them at the most in each piece."""
    rest = iter(values)
    while batch := list(islice(rest, AT_ONCE)):
        yield batch
