"""The same by many threads that begin as one, each with a connection of its own to Django's database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from django.db import connections

Result = TypeVar("Result")


def at_once(do: Callable[[int], Result], threads: int = 4) -> list[Result]:
    """What `do(0)`, `do(1)`, … return.

    Raises:
        Exception: the first of theirs.
    """
    start = Barrier(threads)

    def one(number: int) -> Result:
        try:
            start.wait(30)
            return do(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(threads)))
