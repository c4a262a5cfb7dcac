"""TLS handshakes under way: bounded in number, by address, in time, and in what they take of one turn of the loop.

A connection belongs to its handshake until that is through or has failed; only then does a front get to see it. So no
front has to know of half-open connections.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from ftpgate.net.addresses import network
from ftpgate.net.places import Crowd
from ftpgate.net.tls import SHARED, Certificates, HandshakeError, Step, TlsSink

if TYPE_CHECKING:
    from pyftpdlib.ioloop import IOLoop

_log = logging.getLogger(__name__)

WITHIN = 10.0
"""Seconds that a handshake may take."""
MOST = 4_096
"""Handshakes under way; beyond it one of the address with the most gives way: the oldest that waits for its client, since one
that means it has long done with it."""
MOST_OF_ONE = 2_560
"""The same of one address: forty customers behind one router with 64 connections each."""
BUDGET = 0.004
"""Seconds of one turn of the loop for signing: a burst of clients does not keep running transfers waiting."""

Done = Callable[[TlsSink], None]
Failed = Callable[[HandshakeError], None]


class Handshakes:
    """All of one gate. Lives on the loop's thread."""

    def __init__(self, certificates: Certificates, loop: IOLoop) -> None:
        self.certificates = certificates
        self.loop = loop
        self._running: dict[Handshake, float] = {}
        """Until when; the oldest first."""
        self._crowd: Crowd[Handshake] = Crowd()
        self._ready: list[tuple[int, int, Handshake]] = []
        """A heap of those that can go on and wait for their turn: those of the address with the fewest under way come first, so
        that a customer does not wait for strangers who begin without end."""
        self._order = count()
        self._spent = 0.0
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._running)

    def begin(
        self, sock: socket.socket, peer: str, done: Done, failed: Failed, *, like: TlsSink | None = None, sessions: bytes = SHARED
    ) -> Handshake:
        """Begin the handshake of an accepted, non-blocking socket that is not registered with the loop.

        Args:
            peer: the client's address.
            done: gets the connection; the socket is not registered then.
            failed: is told why there is none; it has to close the socket, over which nothing but plain text can go.
            like: another connection of the same client, whose certificate and sessions this one is to have.
            sessions: the name of the sessions that it may resume, where there is no such connection.
        """
        address = network(peer)
        if self._crowd.count(address) >= MOST_OF_ONE:
            self._make_room(address)
        elif len(self._running) >= MOST:
            self._make_room(self._crowd.largest() or address)
        handshake = Handshake(self, sock, address, done, failed, partial(self.certificates.accept, sock, like, sessions))
        self._running[handshake] = time.monotonic() + WITHIN
        self._crowd.add(address, handshake)
        return handshake

    def _make_room(self, address: str) -> None:
        members = self._crowd.members(address)
        chosen = next((each for each in members if not each.queued), None) or next(iter(members))
        chosen.fail("others need the place")

    def ended(self, handshake: Handshake) -> None:
        """It is through, has failed or was given up."""
        self._running.pop(handshake, None)
        self._crowd.discard(handshake.address, handshake)
        if len(self._ready) > 2 * len(self._running) + 64:
            self._ready = [entry for entry in self._ready if entry[2].queued]
            heapify(self._ready)

    def sweep(self, now: float) -> None:
        """End those that take too long; for the fronts' clocks."""
        while self._running:
            handshake, until = next(iter(self._running.items()))
            if until > now:
                return
            handshake.fail("it took too long")

    def ready(self, handshake: Handshake) -> None:
        """`handshake` can go on: at once while there is time left for it in this turn of the loop, else in its turn."""
        if self._ready or self._spent >= BUDGET:
            handshake.wait()
            heappush(self._ready, (self._crowd.count(handshake.address), next(self._order), handshake))
            self._schedule()
        else:
            self._go_on(handshake)

    def _go_on(self, handshake: Handshake) -> None:
        began = time.monotonic()
        try:
            handshake.go_on()
        except Exception:
            handshake.handle_error()
        self._spent += time.monotonic() - began
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_later(0, self._next_turn)

    def _next_turn(self) -> None:
        self._scheduled = False
        self._spent = 0.0
        while self._ready and self._spent < BUDGET:
            handshake = heappop(self._ready)[2]
            if handshake.queued:
                self._go_on(handshake)
        if self._ready:
            self._schedule()


class Handshake:
    """One handshake, registered with the loop until its end."""

    __slots__ = ("_all", "_done", "_events", "_failed", "_fileno", "_make_sink", "_sink", "_socket", "address", "queued")

    def __init__(
        self, all_: Handshakes, sock: socket.socket, address: str, done: Done, failed: Failed, make_sink: Callable[[], TlsSink]
    ) -> None:
        self.address = address
        self.queued = False
        """Can it go on, and waits for its turn?"""
        self._all = all_
        self._socket = sock
        self._make_sink = make_sink
        self._sink: TlsSink | None = None
        """Made when it has its first turn: OpenSSL needs some 40 KiB for it."""
        self._done = done
        self._failed = failed
        self._fileno = sock.fileno()
        self._events = all_.loop.READ
        all_.loop.register(self._fileno, self, self._events)

    def close(self) -> None:
        """Give it up and close the socket, without a word to who began it."""
        if self._leave():
            self._socket.close()

    def fail(self, reason: str) -> None:
        """End it for a reason of ours."""
        self._fail(HandshakeError(reason))

    # -- what the loop says

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def handle_read_event(self) -> None:
        self._all.ready(self)

    def handle_write_event(self) -> None:
        self._all.ready(self)

    def handle_close(self) -> None:
        """The client has gone. The poll catches nothing that is raised here."""
        try:
            self.fail("the client has ended the connection")
        except Exception:
            self.handle_error()

    def handle_error(self) -> None:
        _log.exception("a TLS handshake met an error")
        self.fail("an error of the server's")

    def wait(self) -> None:
        """It has to wait for its turn: the poll need not report it meanwhile."""
        self.queued = True
        self._watch(0)

    def go_on(self) -> None:
        """Take its turn."""
        self.queued = False
        try:
            if self._sink is None:
                self._sink = self._make_sink()
            step = self._sink.handshake()
        except HandshakeError as error:
            return self._fail(error)
        if step is Step.THROUGH:
            self._leave()
            return self._done(self._sink)
        self._watch(self._all.loop.READ if step is Step.READ else self._all.loop.WRITE)

    def _watch(self, events: int) -> None:
        if events != self._events:
            self._events = events
            self._all.loop.modify(self._fileno, events)

    def _fail(self, error: HandshakeError) -> None:
        if self._leave():
            self._failed(error)

    def _leave(self) -> bool:
        """Give the socket back. False when that was done before."""
        if self._fileno < 0:
            return False
        self._all.loop.unregister(self._fileno)
        self._fileno = -1
        self.queued = False
        self._all.ended(self)
        return True
