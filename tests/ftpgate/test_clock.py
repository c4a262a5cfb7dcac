"""The clock that grants expire by: when it can be trusted, and what it says."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpgate.clock import LEEWAY, ClockGuard

DAY = 86_400.0
WEEK = 7 * DAY
START = 1_800_000_000.0


class Machine:
    """A machine that started `passed` seconds ago. Its clock and the database's are ahead by some seconds."""

    def __init__(self, *, wall: float = 0.0) -> None:
        self.passed = 0.0
        self.wall, self.database = wall, 0.0
        self.guard = ClockGuard(lambda: self.now + self.wall, lambda: 50.0 + self.passed)

    @property
    def now(self) -> float:
        return START + self.passed

    def hear(self, age: float = 0.001) -> None:
        self.guard.heard(self.now + self.database, age)

    @property
    def behind(self) -> float:
        """Seconds by which the expiry time is behind the real one."""
        return self.now - self.guard.expiry_time()


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_time_goes_by(machine: Machine) -> None:
    for passed in (0.0, 1.0, WEEK):
        machine.passed = passed
        assert (machine.behind, machine.guard.wrong(), machine.guard.database_time()) == (0, "", None)


@pytest.mark.parametrize("jump", [WEEK, -WEEK, LEEWAY + 1, -LEEWAY - 1])
@pytest.mark.parametrize("database", [False, True])
def test_nothing_expires_after_a_jump_until_it_is_undone(machine: Machine, jump: float, database: bool) -> None:
    if database:
        machine.hear()
    machine.guard.expiry_time()
    machine.passed, machine.wall = 100, jump
    assert machine.behind == pytest.approx(100, abs=0.01)
    assert f"has jumped {abs(jump):,.0f} s {'forward' if jump > 0 else 'back'} since" in machine.guard.wrong()
    assert ("the database's" in machine.guard.wrong()) is database
    machine.passed, machine.wall = 200, 0
    assert machine.behind == pytest.approx(0, abs=0.01)
    assert machine.guard.wrong() == ""


@pytest.mark.parametrize("wall", [LEEWAY - 1, 1 - LEEWAY])
def test_less_than_a_minute_is_no_disagreement_and_the_database_counts(machine: Machine, wall: float) -> None:
    machine.wall = wall
    machine.hear()
    machine.passed = 10
    assert machine.guard.wrong() == ""
    assert machine.behind == pytest.approx(0, abs=0.01)
    assert machine.guard.database_time() == pytest.approx(machine.now, abs=0.01)


@pytest.mark.parametrize("ahead", [WEEK, -WEEK])
def test_nothing_expires_while_the_databases_clock_is_another(machine: Machine, ahead: float) -> None:
    machine.hear()
    machine.guard.expiry_time()
    machine.passed, machine.database = 100, ahead
    machine.hear()
    machine.passed = 150
    assert machine.behind == pytest.approx(50, abs=0.01)
    assert f"is 604,800 s {'behind' if ahead > 0 else 'ahead of'} the database's" in machine.guard.wrong()
    machine.passed, machine.database = 200, 0
    machine.hear()
    assert machine.guard.wrong() == ""
    assert machine.behind == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("wall", [WEEK, -WEEK])
def test_a_process_that_starts_by_a_wrong_clock_takes_the_earlier_one(wall: float) -> None:
    machine = Machine(wall=wall)
    machine.passed = 5
    assert machine.guard.wrong() == ""  # nobody has told it anything else
    machine.hear()
    assert machine.behind == pytest.approx(max(-wall, 0), abs=0.01)
    machine.passed = 100
    assert machine.behind == pytest.approx(max(-wall, 0) + 95, abs=0.01)


def test_a_clock_that_is_set_right_is_trusted_where_the_database_has_told_the_same_before() -> None:
    machine = Machine(wall=-3 * WEEK)  # as a machine without a battery starts
    machine.hear()
    assert machine.guard.wrong()
    machine.passed, machine.wall = 60, 0.0
    assert machine.guard.wrong() == ""
    machine.hear()
    assert machine.guard.wrong() == ""
    machine.wall = WEEK
    assert machine.guard.wrong()


@pytest.mark.parametrize("heard_before", [False, True])
def test_a_database_that_jumps_along_proves_nothing(machine: Machine, heard_before: bool) -> None:
    """It is on the same machine, as a rule."""
    if heard_before:
        machine.hear()
    machine.guard.expiry_time()
    machine.passed, machine.wall, machine.database = 100, WEEK, WEEK
    for _ in range(3):
        machine.hear()
        assert machine.behind == pytest.approx(100, abs=0.01)
        assert "has jumped 604,800 s forward" in machine.guard.wrong()
    machine.wall = machine.database = 0.0
    machine.hear()
    assert machine.guard.wrong() == ""


def test_a_difference_of_just_a_minute_does_not_come_and_go(machine: Machine) -> None:
    found = []
    for wall in (61, 59, 61, 31, 29, 59, 61):
        machine.wall = wall
        machine.hear()
        found.append(bool(machine.guard.wrong()))
    assert found == [True, True, True, True, False, False, True]


def test_small_corrections_never_add_up(machine: Machine) -> None:
    for day in range(3 * 365):
        machine.passed, machine.wall = day * DAY, day * -10.0
        assert machine.guard.wrong() == ""


def test_a_jump_is_forgiven_by_a_minute_a_day(machine: Machine) -> None:
    machine.wall = 5 * 60.0
    days = []
    for hour in range(24 * 10):
        machine.passed = hour * 3600.0
        if machine.guard.wrong():
            days.append(hour // 24)
    assert days[-1] == 4
    assert machine.guard.wrong() == ""


def test_a_database_that_answers_late_does_not_seem_to_be_behind(machine: Machine) -> None:
    machine.database = -100.0  # it read its clock so long ago
    machine.hear(age=100.0)
    assert machine.guard.wrong() == ""


def test_the_silence_of_the_database(machine: Machine) -> None:
    assert machine.guard.silence() is None
    machine.hear()
    machine.passed = 7
    assert machine.guard.silence() == 7


def test_one_line_when_it_begins_and_one_when_it_ends(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for wall in (0, WEEK, WEEK, 2 * WEEK, 0, 0):
        machine.passed += 1
        machine.wall = wall
        machine.guard.tell(logging.getLogger("test"))
    begun, ended = caplog.messages
    assert "604,800 s forward" in begun
    assert "restart this process" in begun
    assert "can be trusted again" in ended


aheads = st.sampled_from([0.0, 5.0, -5.0, 100.0, -100.0, WEEK, -WEEK])


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 300.0]), st.booleans(), aheads), min_size=1, max_size=12))
def test_one_right_clock_of_two_is_enough(steps: list[tuple[float, bool, float]]) -> None:
    """Nothing expires before its time, and when both are right everything expires in time. They are never set both at once."""
    _, at_database, ahead = steps[0]
    machine = Machine(wall=0.0 if at_database else ahead)
    for passed, at_database, ahead in steps:
        machine.wall, machine.database = (0.0, ahead) if at_database else (ahead, 0.0)
        for _ in range(2):
            machine.hear()
            assert machine.behind >= -LEEWAY
            machine.passed += passed
        machine.wall = machine.database = 0.0
        machine.hear()
        assert machine.guard.wrong() == ""
        assert machine.behind == pytest.approx(0, abs=0.01)
