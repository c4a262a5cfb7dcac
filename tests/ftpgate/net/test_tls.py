"""When a client has had the time to end first, before it is sent a close_notify."""

from __future__ import annotations

import pytest

from ftpgate.net.tls import STILL_READING, still_reads
from ftpgate.proof.window import FULLY_OPEN, TcpSnapshot


@pytest.mark.parametrize(
    ("unread", "silence", "reads"),
    [
        (0, 0.0, False),
        (FULLY_OPEN, 0.0, False),
        (FULLY_OPEN + 1, STILL_READING - 0.001, True),
        (FULLY_OPEN + 1, STILL_READING, False),  # it is stuck: our end may wake it
    ],
)
def test_a_client_that_has_data_in_sight_still_reads(unread: int, silence: float, reads: bool) -> None:
    look = TcpSnapshot(3_000_000, unread, 0, 0, 3_000_000, silence, False)
    assert still_reads(look) is reads
