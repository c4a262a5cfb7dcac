"""What the trials count by: sets of bytes, bounds, and the judging of one client."""

from __future__ import annotations

import itertools
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.trials import report
from tests.trials.counting import RECORD, Row, Verdict, bounds
from tests.trials.goals import GOALS
from tests.trials.judging import Judge, Story
from tests.trials.spans import common, length, less, merged

SIZE = 1_000


def document(*covered: tuple[int, int], complete: bool = False, unconfirmed: tuple[tuple[int, int], ...] = ()) -> dict[str, Any]:
    file = {"path": "f", "bytes": SIZE, "covered": [list(span) for span in covered], "unconfirmed": list(unconfirmed)}
    return {"items": [{"complete": complete, "files": [file]}]}


def judged(story: Story, *documents: dict[str, Any]) -> Verdict:
    judge = Judge(SIZE)
    for number, shown in enumerate(documents):
        judge.look(shown, story.read(), story.taken(), float(number))
    return judge.verdict(story)


def test_spans_are_sets_of_bytes() -> None:
    rng = random.Random(1)
    for _ in range(300):
        one, other = ([(at, at + rng.randrange(9)) for at in rng.choices(range(60), k=rng.randrange(6))] for _ in range(2))
        bytes_of_one, bytes_of_other = ({byte for span in spans for byte in range(*span)} for spans in (one, other))
        for found, expected in (
            (merged(one), bytes_of_one),
            (less(one, other), bytes_of_one - bytes_of_other),
            (common(one, other), bytes_of_one & bytes_of_other),
        ):
            assert {byte for span in found for byte in range(*span)} == expected
            assert length(found) == len(expected)
            assert all(before[1] < after[0] for before, after in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (3, 40, 0.0157, 0.2039), (50, 100, 0.3983, 0.6017), (0, 5_000, 0.0, 0.000738)],
)
def test_bounds_are_those_of_clopper_and_pearson(count: int, of: int, low: float, high: float) -> None:
    assert bounds(count, of) == pytest.approx((low, high), abs=5e-5)


def test_nothing_is_known_of_nobody() -> None:
    assert bounds(0, 0) == (0.0, 1.0)


def test_a_client_that_holds_all_and_is_complete() -> None:
    verdict = judged(Story([[0, 600], [600, SIZE]], held_at=0.5), document((0, 600)), document((0, SIZE), complete=True))
    assert verdict.held
    assert verdict.complete
    assert verdict.prompt
    assert not verdict.wrong


def test_a_late_completion_is_not_prompt() -> None:
    story = Story([[0, SIZE]], held_at=-3.0)
    assert not judged(story, document((0, SIZE), complete=True)).prompt


def test_a_client_that_holds_all_and_is_missed() -> None:
    verdict = judged(Story([[0, SIZE]], held_at=0.0), document((0, 400), (500, SIZE), unconfirmed=((300, 500),)))
    assert verdict.missed
    assert verdict.confirmable
    assert not judged(Story([[0, SIZE]]), document((0, 400), unconfirmed=((500, SIZE),))).confirmable


def test_bytes_that_were_not_read_are_over_credited_even_if_only_once() -> None:
    judge = Judge(SIZE)
    judge.look(document((0, 300)), [(0, 200)], [(0, 200)], 0.0)
    judge.look(document((0, 300)), [(0, SIZE)], [(0, SIZE)], 1.0)
    assert judge.verdict(Story([[0, SIZE]])).over == 100


def test_a_completion_is_false_where_bytes_were_not_read() -> None:
    assert judged(Story([[0, 900]]), document((0, SIZE), complete=True)).false


def test_what_a_tls_library_has_read_is_counted_apart() -> None:
    verdict = judged(Story([[0, 900]], ahead=[(900, SIZE)]), document((0, SIZE), complete=True))
    assert not verdict.false
    assert verdict.nearly
    assert verdict.over == 100


def test_rows_add_up() -> None:
    row = Row("some")
    for verdict in (
        Verdict(held=True, complete=True, prompt=True),
        Verdict(held=True),
        Verdict(false=True, over=RECORD + 1),
        Verdict(over=2 * RECORD, cuts=2),
        Verdict(held=True, failed="it hung"),
    ):
        row.add(verdict)
    assert (row.clients, row.held, row.complete, row.prompt, row.missed, row.false, row.failed) == (5, 3, 1, 1, 1, 1, 1)
    assert (row.over, row.over_more, row.over_most, row.over_sum) == (2, 1, 2 * RECORD, 3 * RECORD + 1)


def test_a_goal_is_not_reached_by_too_few_clients() -> None:
    false = GOALS[0]
    assert false.judge({}).reached is None
    assert false.judge({"tails": [Row("t", clients=100)]}).reached is False
    assert false.judge({"tails": [Row("t", clients=6_000)]}).reached is True
    assert false.judge({"tails": [Row("t", clients=6_000, false=1)]}).reached is False


def test_the_page_has_the_first_state_and_the_newest_side_by_side(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    about = {"commit": "c", "machine": "m", "seed": "1", "long": False, "seconds": 9, "others": 0.5, "notes": ["Left out: why."]}
    for day, (state, false) in enumerate({"0.1.0": 7, "older": 5, "newer": 3}.items(), 1):
        row = Row("unread tails", clients=50, false=false, more={"bytes lost": 1_000})
        report.keep("tails", {**about, "at": f"2026-01-0{day}", "rows": [asdict(row)]}, state, page)
    shown = report.write(page)
    assert "7 of 50 = 14 %" in shown
    assert "3 of 50 = 6 %" in shown
    text = page.read_text()
    assert "5 of 50" not in text
    assert "bytes lost: 1,000" in text
    assert "Left out: why." in text
    assert "--only tails --seed 1`" in text
