"""How much one turn of the loop takes on, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from pyftpdlib.ioloop import IOLoop

from ftpgate.errors import GateError
from ftpgate.net import work_queue
from ftpgate.net.executor import ThreadExecutor
from ftpgate.net.work_queue import BUDGET, CHARGE, WorkQueue
from tests.support.waiting import wait_until


class Case:
    """A queue, whose clock each step moves on by so many seconds, and the loop's turns one by one."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.done: list[str] = []
        self.due: list[Callable[[], None]] = []
        self.work = WorkQueue(self._call_later, lambda: self.now)
        self._step = step

    def _call_later(self, seconds: float, call: Callable[[], None]) -> None:
        assert seconds == 0
        self.due.append(call)

    def turn(self) -> list[str]:
        """What the next turn of the loop does."""
        (call,), self.due = self.due, []
        self.done.clear()
        call()
        return self.done[:]

    def step(self, name: str, times: int = 1) -> Callable[[], bool]:
        left = times

        def step() -> bool:
            nonlocal left
            left -= 1
            self.now += self._step
            self.done.append(name)
            return left > 0

        return step


def test_a_turn_ends_with_its_budget_and_the_rest_waits_for_the_next() -> None:
    case = Case(BUDGET / 10)
    case.work.add("192.0.2.1", case.step("a", 25))
    assert [len(case.turn()) for _ in range(3)] == [10, 10, 5]
    assert (case.due, len(case.work)) == ([], 0)


def test_one_step_at_least_is_done_in_a_turn() -> None:
    case = Case(BUDGET * 50)
    case.work.add("192.0.2.1", case.step("a", 3))
    assert [case.turn() for _ in range(3)] == [["a"]] * 3


def test_addresses_take_turns_however_many_connections_one_has() -> None:
    case = Case(2**-12)  # whose sums are exact
    for _ in range(50):
        case.work.add("192.0.2.1", case.step("flood", 100))
    case.turn()
    case.work.add("192.0.2.2", case.step("customer", 3))
    assert case.turn()[:7] == ["customer", "flood", "customer", "flood", "customer", "flood", "flood"]


def test_the_addresses_of_one_network_have_one_share() -> None:
    case = Case(2**-14)  # whose sums are exact
    case.work.add("2001:db8::1", case.step("a", 3))
    case.work.add("2001:db8::2", case.step("b", 3))
    case.work.add("192.0.2.1", case.step("c", 3))
    assert case.turn() == ["a", "c", "b", "c", "a", "c", "b", "a", "b"]  # a and b share the turns that c has alone


def test_a_long_step_does_not_keep_its_client_waiting_for_many_rounds() -> None:
    case = Case(CHARGE / 2)
    case.work.add("192.0.2.1", case.step("flood", 100))

    def long() -> bool:
        case.now += 1.0
        case.done.append("long")
        return case.done.count("long") < 2

    case.work.add("192.0.2.2", long)
    done = case.turn() + case.turn()
    assert done.count("long") == 2
    assert done.index("long", done.index("long") + 1) - done.index("long") <= 3


def test_an_answer_goes_before_each_step_of_a_client() -> None:
    case = Case(BUDGET / 4)
    case.work.add("192.0.2.1", case.step("client", 10))
    case.work.add_answers(case.step("shop", 2))
    case.work.add_answers(case.step("disk", 2))
    assert case.turn() == ["shop", "client", "disk", "client"]
    assert case.turn() == ["shop", "client", "disk", "client"]
    assert case.turn() == ["client"] * 4


def test_answers_without_end_leave_clients_every_other_step() -> None:
    case = Case(BUDGET / 4)
    case.work.add_answers(case.step("answer", 1_000))
    case.work.add("192.0.2.1", case.step("client", 1_000))
    for _ in range(5):
        assert case.turn() == ["answer", "client"] * 2


def test_a_step_that_is_added_by_another_is_done_in_the_same_turn() -> None:
    case = Case(BUDGET / 4)

    def first() -> None:
        case.work.add("192.0.2.1", case.step("second"))

    case.work.add("192.0.2.1", first)
    assert case.turn() == ["second"]


def test_an_error_of_one_leaves_the_others_alone(caplog: pytest.LogCaptureFixture) -> None:
    case = Case(BUDGET / 4)

    def broken() -> None:
        raise RuntimeError("of this step")

    case.work.add_answers(broken)
    case.work.add("192.0.2.1", broken)
    case.work.add("192.0.2.1", case.step("a"))
    assert case.turn() == ["a"]
    assert caplog.text.count("RuntimeError: of this step") == 2


@pytest.fixture
def loop() -> Iterator[IOLoop]:
    with closing(IOLoop.factory()) as loop:
        yield loop


def test_answers_that_let_the_next_job_in_leave_the_loop_to_others(loop: IOLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that is faster than the loop could keep it delivering for ever."""
    monkeypatch.setattr(work_queue, "BUDGET", 0.0)
    threads = ThreadExecutor(loop, WorkQueue(loop.call_later), "test", threads=1, most=500)
    turns: list[int] = []
    told = 0

    def answered(_result: None, _error: GateError | None) -> None:
        nonlocal told
        told += 1
        if told < 500:
            threads.submit(lambda: None, answered)

    for _ in range(50):
        threads.submit(lambda: None, answered)
    wait_until(lambda: len(threads._answers) == 50, 10, "the thread")

    def turn() -> bool:
        before = told
        loop.loop(0.0, blocking=False)
        turns.append(told - before)
        return told >= 500

    wait_until(turn, 30, "all answers", interval=0)
    assert set(turns) <= {0, 1}
    wait_until(lambda: turn() and told == 549, 10, "the last answers", interval=0)
    threads.stop(5)
