"""Ports for tests that need a range of them."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack


def free_range(count: int) -> range:
    """`count` ports in a row that nothing listens on at 127.0.0.1, below those that the system gives to clients."""
    starts = list(range(11_000, 30_000, count))
    random.shuffle(starts)  # tests run side by side
    for first in starts:
        with ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
        return range(first, first + count)
    raise AssertionError(f"no {count} ports in a row are free")
