"""`ftpgate serve`: the parent of the workers. It opens the sockets, has gates accept on them, and replaces those that end.

It serves no client itself, and is small: it imports no gate and no shop. Its workers are started anew, by `exec`, and none is a
copy of a process that has threads. A gate that is confined can start no program, so that reloading needs a parent in any case.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ftpgate import settings as settings_module
from ftpgate.errors import UserError
from ftpgate.process import logs
from ftpgate.process.generation import START_SECONDS, Generation, Worker, WorkerState, how
from ftpgate.process.pid_file import PidFile
from ftpgate.process.sockets import ListeningSockets, inherited, steered
from ftpgate.settings import Address, Settings

_log = logging.getLogger("ftpgate.gate")

HOPELESS = 5
"""Workers in a row that have ended before they accepted, while none accepts, after which the parent gives up."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)
_RELOAD_HINT = "the gate goes on as it was; correct the cause and reload again"


def serve(*, ftp: Address | None = None, http: Address | None = None) -> int:
    """Run workers until SIGTERM or SIGINT. Returns the exit code.

    Args:
        ftp, http: where given, they take the place of the settings.

    Raises:
        UserError: a setting is bad, an address cannot be listened on, or the workers cannot start.
    """
    parent = _Parent({name: address for name, address in (("ftp", ftp), ("http", http)) if address is not None})
    try:
        return parent.run()
    finally:
        parent.close()


class _Parent:
    """The one process that stays, whatever becomes of the workers."""

    def __init__(self, instead: Mapping[str, Address]) -> None:
        self._instead = instead
        self._environ: Mapping[str, str] = dict(os.environ)
        self._candidate: Mapping[str, str] = self._environ
        """That of the generation which starts."""
        given, settings = self._read(self._environ)
        logs.configure(settings.log)
        self._sockets = ListeningSockets(inherited(settings, os.environ))
        self._password = secrets.token_hex(16)
        self._file = PidFile(settings.state_dir)
        self._selector = selectors.DefaultSelector()
        self._signals: list[int] = []
        self._watch_signals()
        self._current: Generation | None = None
        """It accepts connections."""
        self._next: Generation | None = None
        """It starts."""
        self._old: list[Generation] = []
        """They let their clients finish."""
        self._reloads = 0
        self._reload_error = ""
        self._again = False
        """Was there another call to reload while one was under way?"""
        self._stopping = False
        self._failed = False
        self._next = self._generation(given, settings)

    def run(self) -> int:
        assert self._next is not None
        self._start(self._next)
        while any(True for _ in self._generations()):
            self._wait()
            while self._signals:
                self._signalled(self._signals.pop(0))
            self._look()
        return 1 if self._failed else 0

    def close(self) -> None:
        """Whatever still runs is ended at once: after an error, for otherwise nothing does."""
        for worker in self._workers():
            worker.kill()
        self._file.remove()
        self._sockets.close()

    # -- what happens

    def _wait(self) -> None:
        """Until a signal comes, a worker says something or ends, or somebody is due."""
        times = [worker.began + START_SECONDS for worker in self._workers() if worker.is_awaited]
        if self._current is not None and not self._stopping:
            times += self._current.due
        due = min(times, default=None)
        for key, _ in self._selector.select(None if due is None else max(due - time.monotonic(), 0.0)):
            key.data()

    def _look(self) -> None:
        """See what has become of the workers."""
        for generation in self._generations():
            for worker in tuple(generation.running):
                if worker.late():
                    worker.problem = f"worker {worker.number} does not accept after {START_SECONDS:.0f} s", "see the log"
                    worker.drop()
                if worker.ended():
                    generation.running.remove(worker)
                    self._hear_no_more(worker)
                    self._ended(generation, worker)
        self._old = [generation for generation in self._old if self._lives(generation)]
        if self._next is not None and self._next.ready:
            self._change_over(self._next)
        if self._current is not None and not self._stopping:
            for worker in self._current.replace():
                self._listen_to(worker)
                self._tell_file()
        if self._stopping and self._current is not None and not self._current.running:
            self._current.close()
            self._current = None

    def _ended(self, generation: Generation, worker: Worker) -> None:
        if self._stopping or generation in self._old:
            generation.close_own(worker.number)
            if worker.status and not worker.dropped:
                _log.error("worker %d (process %d) %s", worker.number, worker.pid, how(worker))
                self._failed |= self._stopping
        elif generation is self._next:
            self._abandon(worker)
        elif generation is self._current:
            generation.ended(worker)
            if generation.hopeless(HOPELESS):
                self._give_up(worker)

    def _signalled(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif number == signal.SIGHUP:
            for worker in self._workers():
                if worker.state is WorkerState.SERVING:
                    worker.signal(signal.SIGHUP)
        elif number == signal.SIGUSR2 and not self._stopping:
            self._reload()

    # -- what is done

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            _log.info("stopping %d workers", sum(1 for _ in self._workers()))
            self._sockets.close()
        if self._next is not None:
            self._drop(self._next)
            self._next = None
        for worker in self._workers():
            worker.stop()

    def _reload(self) -> None:
        """Start workers of the code and the settings that are there now."""
        if self._next is not None:
            self._again = True
            return
        _log.info("reloading")
        self._candidate = self._environ
        if (handed := self._file.handed_over()) is not None:
            kept = {name: text for name, text in self._environ.items() if not name.startswith("FTPGATE_")}
            self._candidate = {**kept, **handed}
        try:
            given, settings = self._read(self._candidate)
            if settings.state_dir != self._file.state_dir:
                raise UserError("FTPGATE_STATE_DIR is another one", "restart the gate")
            self._next = self._generation(given, settings)
            self._start(self._next)
        except (UserError, OSError) as error:
            if self._next is not None:
                self._drop(self._next)
                self._next = None
            self._reloaded(str(error))

    def _start(self, generation: Generation) -> None:
        try:
            generation.start()
        finally:
            for worker in generation.running:
                self._listen_to(worker)

    def _change_over(self, generation: Generation) -> None:
        """All of its workers accept: let those of before go."""
        before, self._current, self._next = self._current, generation, None
        self._environ = self._candidate
        steered(generation.places, generation.settings.workers)
        if before is None:
            self._tell_file()
            ready = {"ready": True, "pid": os.getpid(), **generation.addresses, "workers": generation.pids}
            with contextlib.suppress(BrokenPipeError):
                sys.stdout.write(json.dumps(ready) + "\n")
                sys.stdout.flush()
            return self._reload_again()
        logs.configure(generation.settings.log)
        self._old.append(before)
        for worker in before.running:
            worker.leave()
        self._sockets.keep([generation.places])
        self._reloaded("")

    def _abandon(self, worker: Worker) -> None:
        """A generation that cannot start.

        Raises:
            UserError: it is the first one.
        """
        generation, self._next = self._next, None
        assert generation is not None
        cause, hint = worker.problem or (f"worker {worker.number} {how(worker)} before it accepted", "see the log above")
        self._drop(generation)
        if self._current is None:
            raise UserError(cause, hint)
        self._sockets.keep([self._current.places])
        self._reloaded(f"{cause}: {hint}")

    def _drop(self, generation: Generation) -> None:
        """End what has only just started; it has no clients."""
        for worker in generation.running:
            worker.drop()
        self._old.append(generation)

    def _reloaded(self, error: str) -> None:
        self._reloads += 1
        self._reload_error = error
        if error:
            _log.error("the reload has failed (%s); %s", error, _RELOAD_HINT)
        elif self._current is not None:
            _log.info("reloaded: %d workers accept connections", self._current.settings.workers)
        self._tell_file()
        self._reload_again()

    def _reload_again(self) -> None:
        if self._again:
            self._again = False
            self._signals.append(signal.SIGUSR2)

    def _give_up(self, worker: Worker) -> None:
        """No worker can be started any more.

        Raises:
            UserError: always.
        """
        cause, hint = worker.problem or (f"the last one {how(worker)}", "see the log above")
        raise UserError(f"no worker runs, and {HOPELESS} in a row could not start ({cause})", hint)

    def _read(self, environ: Mapping[str, str]) -> tuple[dict[str, str], Settings]:
        given = settings_module.given(environ)
        given |= {f"FTPGATE_{name.upper()}": str(address) for name, address in self._instead.items()}
        return given, settings_module.parse(given, Path.cwd())

    def _generation(self, given: Mapping[str, str], settings: Settings) -> Generation:
        leaving = [where for generation in self._generations() for where in generation.own]
        return Generation(given, settings, self._sockets.places(settings, settings.workers), leaving, self._password)

    def _tell_file(self) -> None:
        before = self._file.problem
        pids = [] if self._current is None else self._current.pids
        self._file.write({"workers": pids, "reloads": self._reloads, "error": self._reload_error})
        if self._file.problem and not before:
            _log.warning("`ftpgate reload` will not find this gate (%s)", self._file.problem)

    # -- who there is

    def _generations(self) -> Iterator[Generation]:
        yield from (generation for generation in (self._next, self._current) if generation is not None)
        yield from self._old

    def _workers(self) -> Iterator[Worker]:
        for generation in tuple(self._generations()):
            yield from tuple(generation.running)

    def _lives(self, generation: Generation) -> bool:
        if generation.running:
            return True
        generation.close()
        return False

    # -- how it hears

    def _listen_to(self, worker: Worker) -> None:
        def heard() -> None:
            if not worker.heard():
                self._hear_no_more(worker)

        self._selector.register(worker.channel, selectors.EVENT_READ, heard)

    def _hear_no_more(self, worker: Worker) -> None:
        if worker.channel.fileno() >= 0:
            self._selector.unregister(worker.channel)
            worker.channel.close()

    def _watch_signals(self) -> None:
        """A signal's number goes through a socket pair: the one that arrives just before the wait ends it, too."""
        reader, self._writer = socket.socketpair()
        reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda number, _frame: self._signals.append(number))
        self._selector.register(reader, selectors.EVENT_READ, lambda: _empty(reader))


def _empty(reader: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while reader.recv(4096):
            pass
