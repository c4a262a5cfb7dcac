"""This gate among the others: it says that it runs, and hears which others do."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from ftpgate.errors import GateError
from ftpgate.grants import GONE_AFTER, Bridge, GateAddress, GateLoad, GateState, Heartbeat, OtherGate
from ftpgate.net.executor import Executor
from ftpgate.net.timer import Alarm, CallLater

T = TypeVar("T")
_log = logging.getLogger("ftpgate.gate")

EVERY = 3.0
"""Seconds between two heartbeats: four may be lost before a gate counts as gone."""
AGAIN = 2.0
"""Seconds until one that failed is tried again."""


class Membership:
    """Registers the gate, then tells every three seconds what it does, off the loop. Lives on the loop's thread.

    Args:
        bridge: the shop; called off the loop only.
        executor: where its calls run. They wait there for what looks tokens up, which is bounded, and never for the ledger, whose
            transactions may take seconds.
        call_later: the loop's.
        load: tells how much this gate does, given the others.
    """

    def __init__(
        self, bridge: Bridge, executor: Executor, call_later: CallLater, load: Callable[[tuple[OtherGate, ...]], GateLoad]
    ) -> None:
        self._bridge = bridge
        self._executor = executor
        self._load = load
        self._alarm = Alarm(call_later, self._tell)
        self._me: GateAddress | None = None
        self._telling = False
        self._registered = False
        self._listeners: list[Callable[[Heartbeat, float], None]] = []
        self.state = GateState.RUNNING
        self.others: tuple[OtherGate, ...] = ()
        """All others that run or drain, as of the last heartbeat."""
        self.heard_at: float | None = None
        """Monotonic time at which the last heartbeat that the shop has answered was begun; None before the first."""

    @property
    def gates(self) -> int:
        """How many gates run or drain, this one included."""
        return 1 + len(self.others)

    @property
    def counted(self) -> bool:
        """Does this gate surely count as running? Not when so much time has passed that others may have taken it for gone."""
        return self.heard_at is not None and time.monotonic() - self.heard_at < GONE_AFTER

    def on_heartbeat(self, listener: Callable[[Heartbeat, float], None]) -> None:
        """Call with each answer of the shop, and the seconds that it took; on the loop."""
        self._listeners.append(listener)

    def start(self, me: GateAddress) -> None:
        """Enter this gate in the shop's list, as often as it takes."""
        self._me = me
        self._tell()

    def drain(self) -> None:
        """Tell that this gate takes no new clients any more."""
        self.state = GateState.DRAINING
        self.tell_soon()

    def tell_soon(self) -> None:
        """Do not wait for the next heartbeat's time."""
        self._alarm.within(0.0)

    def stop(self) -> None:
        """Tell that this gate has ended. The last thing that it says."""
        self._alarm.stop()
        me, self._me = self._me, None
        if me is not None and self._registered:
            self._submit(lambda: self._bridge.gate_stopped(me.id), lambda _none, _error: None)

    def _tell(self) -> None:
        me = self._me
        if me is None or self._telling:
            return
        self._telling = True
        if not self._registered:
            return self._submit(lambda: self._bridge.gate_started(me), self._entered)
        state, load, began = self.state, self._load(self.others), time.monotonic()
        self._submit(lambda: self._bridge.heartbeat(me, state, load), lambda heard, error: self._told(state, began, heard, error))

    def _submit(self, work: Callable[[], T], done: Callable[[T | None, GateError | None], None]) -> None:
        try:
            self._executor.submit(work, done)
        except GateError as error:
            done(None, error)

    def _entered(self, _none: None, error: GateError | None) -> None:
        self._telling = False
        self._registered = error is None
        if self._me is None:
            return
        if error is not None:
            _log.warning("the shop's database does not answer yet (%s); tried again in %.0f s", error, AGAIN)
        self._alarm.within(AGAIN if error is not None else 0.0)

    def _told(self, state: GateState, began: float, heard: Heartbeat | None, error: GateError | None) -> None:
        self._telling = False
        if self._me is None:
            return
        if heard is None:
            return self._alarm.within(AGAIN)
        self._alarm.within(EVERY if state is self.state else 0.0)
        self.heard_at, self.others = began, heard.others
        if heard.away:
            _log.warning(
                "this gate was not heard of for %.0f s and had counted as gone: others may have taken on what its clients left",
                heard.away,
            )
        for listener in self._listeners:
            listener(heard, time.monotonic() - began)
