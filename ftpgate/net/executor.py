"""Blocking work off the loop: a few threads, a bounded queue, and answers that come back on the loop, some in each turn."""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from pyftpdlib.ioloop import IOLoop

from ftpgate.errors import GateError, Unavailable
from ftpgate.net.work_queue import WorkQueue

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Executor(Protocol):
    """Runs blocking work in a thread, then `done(result, error)` on the loop. Raises `Unavailable` when its queue is full."""

    def submit(self, work: Callable[[], T], done: Callable[[T | None, GateError | None], None]) -> None: ...


class BoundedExecutor:
    """Hands at most `most` jobs at a time on to `executor`; the others wait here, so that its queue is never full of them."""

    def __init__(self, executor: Executor, most: int) -> None:
        self._executor = executor
        self._most = most
        self._jobs: deque[Callable[[], None]] = deque()
        self._running = 0

    def submit(self, work: Callable[[], T], done: Callable[[T | None, GateError | None], None]) -> None:
        """Run `work` in a thread when its turn comes, then `done(result, error)` on the loop."""

        def finished(result: T | None, error: GateError | None) -> None:
            self._running -= 1
            self._go_on()
            done(result, error)

        def begin() -> None:
            try:
                self._executor.submit(work, finished)
                self._running += 1
            except GateError as error:
                done(None, error)

        self._jobs.append(begin)
        self._go_on()

    def _go_on(self) -> None:
        while self._jobs and self._running < self._most:
            self._jobs.popleft()()


class Waker:
    """Wakes the loop from another thread or from a signal: one byte through a socket pair, then `call` on the loop."""

    def __init__(self, loop: IOLoop, call: Callable[[], None]) -> None:
        self._loop = loop
        self._call = call
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._fileno = self._reader.fileno()
        self.writer_fd = self._writer.fileno()
        loop.register(self._fileno, self, loop.READ)

    def wake(self) -> None:
        """Safe from any thread. A full pipe is fine: the loop will wake anyway."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._writer.send(b"\0")

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        try:
            while len(self._reader.recv(4096)) == 4096:
                pass
        except BlockingIOError:
            pass
        self._call()

    def handle_error(self) -> None:
        _log.exception("an answer from a thread met an error")

    def handle_close(self) -> None:
        self.close()

    def close(self) -> None:
        if self._fileno in self._loop.socket_map:
            self._loop.unregister(self._fileno)
        self._reader.close()
        self._writer.close()


class ThreadExecutor:
    """`threads` daemon threads that run what they are given, in order of arrival.

    Args:
        loop: where answers are delivered, as steps of `work`.
        name: for the threads' names and the log.
        threads: how many; each may hold one database connection.
        most: jobs that may wait; one more raises `Unavailable`.
        finish: called in each thread at its end, to give its connection back.
    """

    def __init__(
        self, loop: IOLoop, work: WorkQueue, name: str, *, threads: int, most: int, finish: Callable[[], None] | None = None
    ) -> None:
        self.name = name
        self._work_queue = work
        self._jobs: queue.Queue[tuple[Callable[[], Any], Callable[[Any, GateError | None], None]] | None] = queue.Queue(most)
        self._answers: deque[tuple[Callable[[Any, GateError | None], None], Any, GateError | None]] = deque()
        self._delivering = False
        self._waker = Waker(loop, self._answered)
        self._finish = finish
        self._threads = [threading.Thread(target=self._work, name=f"{name}-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return self._jobs.qsize()

    def submit(self, work: Callable[[], T], done: Callable[[T | None, GateError | None], None]) -> None:
        """Run `work()` in a thread, then `done(result, error)` on the loop.

        Raises:
            Unavailable: too many jobs wait already.
        """
        try:
            self._jobs.put_nowait((work, done))
        except queue.Full:
            raise Unavailable(retry_after=5) from None

    def stop(self, timeout: float) -> None:
        """Let the threads finish what is queued; wait `timeout` seconds at the most."""
        deadline = time.monotonic() + timeout
        for _ in self._threads:
            try:
                self._jobs.put(None, timeout=max(deadline - time.monotonic(), 0))
            except queue.Full:
                break
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        self._waker.close()

    def _work(self) -> None:
        while self._do_one():
            pass
        if self._finish is not None:
            self._finish()

    def _do_one(self) -> bool:
        """A job, once there is one; False at the end. A call of its own: a thread that waits holds nothing of the last job."""
        job = self._jobs.get()
        if job is None:
            return False
        work, done = job
        try:
            self._answers.append((done, work(), None))
        except GateError as error:
            self._answers.append((done, None, error))
        except Exception:
            _log.exception("%s: a job met an error", self.name)
            self._answers.append((done, None, Unavailable()))
        self._waker.wake()
        return True

    def _answered(self) -> None:
        if self._answers and not self._delivering:
            self._delivering = True
            self._work_queue.add_answers(self._deliver)

    def _deliver(self) -> bool:
        """Pass on one answer. True when more wait: an answer often lets the next job in, so that they might never end."""
        done, result, error = self._answers.popleft()
        try:
            done(result, error)
        except Exception:
            _log.exception("%s: an answer met an error", self.name)
        self._delivering = bool(self._answers)
        return self._delivering
