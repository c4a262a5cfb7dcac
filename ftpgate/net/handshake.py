"""TLS handshakes under way: bounded in number, in time, and in what they take of one turn of the loop.

A connection belongs to its handshake until that is through or has failed; only then does a front get to see it. So no
front has to know of half-open connections.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ftpgate.net.tls import Certificates, HandshakeError, Step, TlsSink

if TYPE_CHECKING:
    from pyftpdlib.ioloop import IOLoop

_log = logging.getLogger(__name__)

WITHIN = 10.0
"""Seconds that a handshake may take."""
MOST = 2_048
"""Handshakes under way; beyond it the oldest gives way, which a client that means it has long done with."""
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
        self._spent = 0.0

    def __len__(self) -> int:
        return len(self._running)

    def begin(self, sock: socket.socket, done: Done, failed: Failed, *, like: TlsSink | None = None) -> Handshake:
        """Begin the handshake of an accepted, non-blocking socket that is not registered with the loop.

        Args:
            done: gets the connection; the socket is not registered then.
            failed: is told why there is none; it has to close the socket, over which nothing but plain text can go.
            like: another connection of the same client, whose certificate and session this one is to have.
        """
        if len(self._running) >= MOST:
            next(iter(self._running)).fail("others need the place")
        handshake = Handshake(self, sock, self.certificates.accept(sock, like), done, failed)
        self._running[handshake] = time.monotonic() + WITHIN
        return handshake

    def ended(self, handshake: Handshake) -> None:
        """It is through, has failed or was given up."""
        self._running.pop(handshake, None)

    def sweep(self, now: float) -> None:
        """End those that take too long; for the fronts' clocks."""
        while self._running:
            handshake, until = next(iter(self._running.items()))
            if until > now:
                return
            handshake.fail("it took too long")

    def may_go_on(self) -> bool:
        """Is there time left for it in this turn of the loop? If not, the poll reports it again in the next one."""
        return self._spent < BUDGET

    def spent(self, seconds: float) -> None:
        """Note what one step has taken."""
        if not self._spent:
            self.loop.call_later(0, self._next_turn)
        self._spent += seconds

    def _next_turn(self) -> None:
        self._spent = 0.0


class Handshake:
    """One handshake, registered with the loop until its end."""

    __slots__ = ("_all", "_done", "_events", "_failed", "_fileno", "_sink", "_socket")

    def __init__(self, all_: Handshakes, sock: socket.socket, sink: TlsSink, done: Done, failed: Failed) -> None:
        self._all = all_
        self._socket = sock
        self._sink = sink
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
        self._go_on()

    def handle_write_event(self) -> None:
        self._go_on()

    def handle_close(self) -> None:
        """The client has gone. The poll catches nothing that is raised here."""
        try:
            self.fail("the client has ended the connection")
        except Exception:
            self.handle_error()

    def handle_error(self) -> None:
        _log.exception("a TLS handshake met an error")
        self.fail("an error of the server's")

    def _go_on(self) -> None:
        if not self._all.may_go_on():
            return
        began = time.monotonic()
        try:
            step = self._sink.handshake()
        except HandshakeError as error:
            return self._fail(error)
        finally:
            self._all.spent(time.monotonic() - began)
        if step is Step.THROUGH:
            self._leave()
            return self._done(self._sink)
        events = self._all.loop.READ if step is Step.READ else self._all.loop.WRITE
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
        self._all.ended(self)
        self._fileno = -1
        return True
