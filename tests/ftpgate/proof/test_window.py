"""What a client's window hides, judged from recorded snapshots of real ones (`python -m tests.bench.windows`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftpgate.proof.credit import MARGIN
from ftpgate.proof.window import FULLY_OPEN, LEAST_HIDDEN, LITTLE, OVERHEAD, OVERHEAD_TLS, TcpSnapshot, Window

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
    assert window.judge(2_000_000, 9_000_000) == (0, LEAST_HIDDEN)


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


@pytest.mark.parametrize(
    ("unread", "hidden", "fully_open", "hides_little"),
    [
        (0, 0, True, True),
        (FULLY_OPEN, LITTLE, True, True),
        (FULLY_OPEN, LITTLE + 1, True, False),
        (FULLY_OPEN + 1, 0, False, False),
    ],
)
def test_what_a_snapshot_says_of_its_window(unread: int, hidden: int, fully_open: bool, hides_little: bool) -> None:
    snapshot = TcpSnapshot(10**6, unread, hidden, 0, 10**6, 0.0, False)
    assert (snapshot.fully_open, snapshot.hides_little) == (fully_open, hides_little)


def test_what_is_read_without_a_word_is_less_than_half_the_window() -> None:
    """A receiver announces room when it has doubled: behind a window of 100 kB no more than 100 kB were read without a word."""
    window = Window(1_000_000, 0)
    unread = 1_000_000 - 2 * 100_000
    assert window.definitely_unread(100_000, encrypted=False) == unread - unread // 4
    assert window.definitely_unread(100_000, encrypted=True) == unread - unread // 2
    assert window.definitely_unread(500_000, encrypted=False) == 0


def test_a_small_window_may_have_shrunk_for_other_reasons() -> None:
    window = Window(100_000, 0)
    assert window.definitely_unread(0, encrypted=False) == 100_000 - OVERHEAD
    assert window.definitely_unread(0, encrypted=True) == 0
    assert Window(300_000, 0).definitely_unread(0, encrypted=True) == 300_000 - OVERHEAD_TLS
