"""Notices of the shop's: what has changed is told at once, where the shop can push."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Set

from ftpgate.errors import GateError
from ftpgate.grants import Bridge
from ftpgate.net.executor import Executor
from ftpgate.net.timer import CallLater
from ftpgate.notices import Changes, Kind

_log = logging.getLogger("ftpgate.gate")

WAIT = 3.0
"""Seconds that one call waits for notices."""
AGAIN = 1.0
"""Seconds until a connection that broke is made anew; at once if it had worked."""
TRUSTED = 10.0
"""Seconds after this gate's last notice to itself, which comes with each heartbeat, until the push counts as broken. What
lies between may take notices and not pass them on: a pool of connections does."""

NoticesCallback = Callable[[Set[str]], None]


class Push:
    """Waits for notices in a thread and hands them on, on the loop. Whoever wants some asks for them by `on`.

    Args:
        bridge: the shop; only `wait_for_changes` is called.
        executor: a thread that does nothing else.
        call_later: the loop's.
        gate: the id of this gate.
    """

    def __init__(self, bridge: Bridge, executor: Executor, call_later: CallLater, gate: str) -> None:
        self._bridge = bridge
        self._executor = executor
        self._call_later = call_later
        self._gate = gate
        self._wanted: dict[Kind, list[NoticesCallback]] = {}
        self._everything: list[Callable[[], None]] = []
        self._started = self._stopped = False
        self._trusted_until = self._due = 0.0
        self._failures = 0
        self._worked = False
        self.possible: bool | None = None
        """Can the shop push? None until it has answered."""
        self.received: Counter[str] = Counter()
        """Notices by kind; for the metrics. `everything` is one too."""
        self.reconnects = 0
        """Connections that were made after the first one."""

    def on(self, kind: Kind, callback: NoticesCallback) -> None:
        """Call with the names in notices of this kind."""
        self._wanted.setdefault(kind, []).append(callback)

    def on_everything(self, callback: Callable[[], None]) -> None:
        """Call when notices may have been missed."""
        self._everything.append(callback)

    @property
    def works(self) -> bool:
        """Does what this gate sends itself arrive?"""
        return time.monotonic() < self._trusted_until

    @property
    def state(self) -> str:
        """`none` where the shop cannot push, else `works`, `broken` or, before the first notice is due, `starting`."""
        if not self.possible:
            return "none"
        return "works" if self.works else "starting" if time.monotonic() < self._due else "broken"

    def start(self) -> None:
        """Begin, if it has not begun. The gate has to be in the shop's list."""
        if not self._started:
            self._started, self._due = True, time.monotonic() + TRUSTED
            self._wait()

    def stop(self) -> None:
        self._stopped = True

    def look(self) -> bool:
        """Called every second: does it work? Tells the log once when it has broken, or works again."""
        works = self.works
        if self._worked and not works and not self._stopped:
            _log.warning("the push from the database is broken: changes are asked for every second until it works again")
        elif works and not self._worked:
            _log.info("changes are pushed by the database")
        self._worked = works
        return works

    def _wait(self) -> None:
        if self._stopped:
            return
        try:
            self._executor.submit(lambda: self._bridge.wait_for_changes(WAIT), self._heard)
        except GateError as error:
            self._heard(None, error)

    def _heard(self, changes: Changes | None, error: GateError | None) -> None:
        if error is not None:
            self.possible, self._trusted_until, self._due = True, 0.0, 0.0
            self._failures += 1
            self._call_later(AGAIN if self._failures > 1 else 0.0, self._wait)
            return
        self.possible = changes is not None
        if changes is None:
            return  # polling does
        try:
            self._hand_on(changes)
        finally:
            self._wait()

    def _hand_on(self, changes: Changes) -> None:
        if changes.everything:
            self.received["everything"] += 1
            self.reconnects += bool(self._failures)
            for told in self._everything:
                told()
        names: dict[Kind, set[str]] = {}
        for notice in changes.notices:
            names.setdefault(notice.kind, set()).add(notice.name)
        for kind, found in names.items():
            self.received[kind.value] += len(found)
            if kind is Kind.PING and self._gate in found:
                self._trusted_until = time.monotonic() + TRUSTED
                self._failures = 0
            for callback in self._wanted.get(kind, ()):
                callback(found)
