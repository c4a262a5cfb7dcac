"""What a client's window hides, judged from recorded looks at real ones (`python -m tests.bench.windows`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ftpgate.delivery.acknowledgement import LEAST_CONCEALED, Window
from ftpgate.delivery.credit import MARGIN

RECORDINGS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "recordings" / "windows.json").read_text())
"""`looks`: [acknowledged, width of the window, read until the next look], in bytes."""


def surely_read(window: Window, width: int, acknowledged: int) -> int:
    unread, hidden = window.judge(width, acknowledged)
    return acknowledged - unread - hidden - MARGIN


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording["what"].partition(",")[0])
def test_nothing_counts_as_read_that_lies_behind_a_window(recording: dict[str, Any]) -> None:
    window = Window(recording["looks"][0][1], 0)
    for acknowledged, width, read in recording["looks"]:
        assert surely_read(window, width, acknowledged) <= read


def test_most_of_what_a_steady_client_has_read_counts() -> None:
    looks = RECORDINGS[-1]["looks"]
    window = Window(looks[0][1], 0)
    credited = [surely_read(window, width, acknowledged) for acknowledged, width, _ in looks]
    assert credited[-1] >= looks[-1][2] - 700_000
    assert max(width for _, width, _ in looks) > 1_500_000


def test_a_window_that_stands_still_hides_little() -> None:
    window = Window(100_000, 0)
    window.judge(2_000_000, 1_000_000)
    assert window.judge(2_000_000, 1_100_000)[1] > 1_100_000
    assert window.judge(2_000_000, 9_000_000) == (0, LEAST_CONCEALED)


def test_a_window_that_was_narrow_hides_as_much_as_at_first() -> None:
    window = Window(100_000, 0)
    window.judge(2_000_000, 1_000_000)
    window.judge(2_000_000, 9_000_000)
    window.judge(1_000_000, 10_000_000)
    assert window.judge(2_000_000, 10_100_000)[1] > 1_100_000


def test_a_window_counts_buffers_and_not_the_data_in_them() -> None:
    """It shrinks by nine tenths of what comes and is not read (measured)."""
    window = Window(100_000, 0)
    window.judge(30_000_000, 10_000_000)
    window.judge(30_000_000, 100_000_000)
    for came in range(0, 4_200_000, 60_000):
        assert surely_read(window, 30_000_000 - came * 9 // 10, 100_000_000 + came) <= 100_000_000


def test_a_buffer_that_the_client_has_set_is_offered_by_half_at_first() -> None:
    window = Window(60_000, 0)
    assert window.judge(60_000, 500_000)[1] >= 60_000
    assert window.judge(120_000, 600_000)[1] < 120_000
