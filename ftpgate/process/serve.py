"""One gate as a process: build it, say when it accepts, and end it in order. A worker of the parent's, or on its own."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from ftpgate import ftp, http
from ftpgate.errors import GateError, UserError
from ftpgate.http.siblings import Siblings
from ftpgate.net.executor import ThreadExecutor, Waker
from ftpgate.net.listening import Endpoint
from ftpgate.net.tcp_info import TRUTHFUL
from ftpgate.net.tls import Loaded
from ftpgate.process import confinement, logs
from ftpgate.process.channel import Order, ParentChannel
from ftpgate.process.gate import RESERVED, Gate
from ftpgate.settings import Address, Settings, parse
from ftpgate.translatable import os_reason

_log = logging.getLogger("ftpgate.gate")

ERROR_PAUSE = 0.05
"""Seconds to wait for events after an error of the loop itself, so that one that repeats does not fill the log."""
FULL_COLLECTIONS = 1_000
"""Collections of the second generation before one of all: it stops the loop for some 10 ms per 100,000 objects, and what ends
here is freed by its count."""
GIL_EVERY = 0.0002
"""Seconds after which a busy thread has to let the loop's go on, which asks for that after every call to the kernel. With
Python's own 5 ms, a turn of ten connections waits for 50 while the ledger or a look-up is at work."""
EXPIRES_SOON = 14 * 86_400.0
"""Seconds before the end of a certificate from which on each start and reload warns of it."""
FLUSH_SECONDS = 5.0
"""Seconds that the database has at the end to take what waits, and then again the journal's disk."""

EVERY = 0.1
"""Seconds between two looks whether all clients have gone, while another process takes new ones."""
SIBLING_THREADS = 2
"""Requests to the admin address that the workers are asked for at the same time."""
SIBLINGS_WAITING = 16


class Listener(Protocol):
    address: Address

    def close(self) -> None: ...


def _tell_expiry(expires: datetime) -> None:
    soon = expires.timestamp() - time.time() < EXPIRES_SOON
    _log.log(logging.WARNING if soon else logging.INFO, "the certificate is valid until %s", expires.isoformat())


def serve_alone(settings: Settings, *, ftp: Address | None = None, http: Address | None = None) -> int:
    """Run a gate without a parent until SIGTERM or SIGINT. Returns the exit code.

    Args:
        settings: all settings; `ftp` and `http`, where given, take the place of theirs.

    Raises:
        UserError: an address cannot be listened on, or the bridge cannot be loaded.
    """
    settings = replace(settings, ftp=ftp or settings.ftp, http=http or settings.http)
    logs.configure(settings.log)
    return _Process(settings).run()


def serve_as_worker(fd: int) -> int:
    """Run a gate on the parent's sockets until the parent has it stop, or is gone. Returns the exit code.

    Args:
        fd: the descriptor of the channel to the parent, which hears why a worker cannot start.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent passes it on
    try:
        channel = ParentChannel(fd)
    except EOFError:
        return 1  # there is no parent any more
    try:
        settings = _share(parse(channel.order.settings, Path.cwd()), channel.order)
        logs.configure(settings.log)
        return _Process(settings, channel).run()
    except UserError as error:
        channel.failed(error.cause, error.hint)
        return 1


def _share(settings: Settings, order: Order) -> Settings:
    """The settings of one of several workers: its part of what they divide."""
    ports, number, of = settings.passive_ports, order.number, order.workers
    mine = ports[len(ports) * number // of : len(ports) * (number + 1) // of]
    return replace(settings, passive_ports=mine, total_rate=-(-settings.total_rate // of))


class _Process:
    """One gate as a process: from its start to its end.

    Args:
        channel: to the parent, of a worker.
    """

    def __init__(self, settings: Settings, channel: ParentChannel | None = None) -> None:
        self.settings = settings
        self.channel = channel
        self.own: Listener | None = None
        """Where the other workers ask this one, to its end."""
        self.asking: ThreadExecutor | None = None
        """Where the other workers are asked."""
        self.gate = Gate(settings)
        self.context = self.gate.context
        self.listeners: list[Listener] = []
        self.stopping = self.ending = self.stopped = False
        self.exit_code = 0

    def run(self) -> int:
        try:
            self._listen()
            self.gate.journal.start()
            self._introduce()
            self.gate.register()
            self._watch_signals()
            self._measure_lag()
            if self.channel is not None:
                self.channel.watch(self.gate.loop, self._told)
            sys.setswitchinterval(GIL_EVERY)
            gc.set_threshold(*gc.get_threshold()[:2], FULL_COLLECTIONS)
            gc.collect()
            gc.freeze()  # what is loaded by now stays: later collections need not look at it
            self._tell_ready()
            timeout: float | None = 0.0
            while not self.stopped:
                try:
                    timeout = self.gate.loop.loop(timeout, blocking=False)
                except Exception:
                    # A connection's own errors end that connection. What gets past that must not end all the others; the
                    # poll is level-triggered, so nothing of this round is lost.
                    _log.exception("the loop met an error and goes on")
                    timeout = ERROR_PAUSE
        finally:
            self._close()
        return self.exit_code

    def _tell_ready(self) -> None:
        if self.channel is not None:
            return self.channel.ready(self.gate.id)
        sys.stdout.write(json.dumps({"ready": True, "pid": os.getpid(), **self.context.addresses}) + "\n")
        sys.stdout.flush()

    def _listen(self) -> None:
        settings = self.settings
        listen_admin = http.listen_admin
        if self.channel is not None:
            siblings = self._meet(self.channel.order)
            listen_admin = partial(http.listen_admin_of_all, siblings=siblings)
            own = socket.socket(fileno=self.channel.order.own)
            self.own = http.listen_to_siblings(self.context, own, siblings)
        for name, address, listen in (
            ("ftp", settings.ftp, ftp.listen),
            ("http", settings.http, http.listen),
            ("ftps", settings.ftps, ftp.listen_tls),
            ("https", settings.https, http.listen_tls),
            ("admin", settings.admin, listen_admin),
        ):
            for endpoint in self._endpoints(name, address):
                try:
                    listener = listen(self.context, endpoint)
                except OSError as error:
                    setting = f"FTPGATE_{name.upper()}"
                    raise UserError(
                        f"{setting}={address} cannot be listened on ({os_reason(error)})", "free the port or choose another"
                    ) from error
                self.listeners.append(listener)
                self.context.addresses[name] = str(listener.address)

    def _endpoints(self, name: str, address: Address | None) -> Sequence[Endpoint]:
        """Where to listen for a protocol: on the parent's sockets, or at the address of the settings."""
        if self.channel is not None:
            return [socket.socket(fileno=fd) for fd in self.channel.order.sockets.get(name, ())]
        return [] if address is None else [address]

    def _meet(self, order: Order) -> Siblings:
        gate, count = self.gate, SIBLING_THREADS
        self.asking = ThreadExecutor(gate.loop, gate.context.work, "siblings", threads=count, most=SIBLINGS_WAITING)
        return Siblings(order.number, order.siblings, order.leaving, order.password, self.asking)

    def _introduce(self) -> None:
        """Say what this gate can do; only now, so that one which cannot start says nothing but why."""
        most = self.gate.limit - RESERVED
        _log.info("carries %d HTTP downloads, or %d over FTP (limit of open files: %d)", most, most // 2, self.gate.limit)
        if not TRUTHFUL:
            _log.warning("this system does not tell what a client has acknowledged: only an orderly end counts as delivery")
        if self.context.confinement is not None:
            confinement.tell(self.context.confinement)
        if self.context.tls is not None:
            _tell_expiry(self.context.tls.certificates.expires)

    def _watch_signals(self) -> None:
        """A Python signal handler does not wake a poll: the signal's number goes through a socket pair."""
        self._signals = Waker(self.gate.loop, self._signalled)
        self._pending: list[int] = []
        signal.set_wakeup_fd(self._signals.writer_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _frame: self._pending.append(number))

    def _told(self, what: str) -> None:
        """By the parent."""
        if what == "leave" and not self.stopping:
            self._leave()
        elif what == "gone" and not (self.stopping and self.context.refusing):
            _log.error("the parent has ended")
            self._stop()

    def _signalled(self) -> None:
        while self._pending:
            if self._pending.pop() == signal.SIGHUP:
                self._reload()
            elif self.stopping and self.context.refusing:
                _log.info("told again to stop: not waiting any longer")
                self.gate.engine.abort_all()
            else:
                self._stop()

    def _reload(self) -> None:
        """Read the certificate again, for new connections; a broken one changes nothing."""
        tls = self.context.tls
        if tls is None:
            return _log.info("told to reload, but there is no certificate")

        def load() -> Loaded:
            try:
                return certificates.load()
            except UserError as error:
                raise GateError(str(error)) from error

        def done(loaded: Loaded | None, error: GateError | None) -> None:
            if loaded is None:
                return _log.error("the certificate in use stays: %s", error)
            certificates.use(loaded)
            _log.info("the certificate was read again; it is for new connections")
            _tell_expiry(loaded.expires)

        certificates = tls.certificates
        try:
            self.gate.threads.disk.submit(load, done)
        except GateError as error:
            done(None, error)

    def _stop(self) -> None:
        """Stop accepting, let transfers finish for a while, write everything down, end."""
        self.stopping = True
        self.context.succeeded = False
        self.gate.drain()
        _log.info("stopping: %d transfers may go on for %d s", len(self.gate.engine.transfers), self.settings.drain)
        for listener in self.listeners:
            listener.close()
        self.gate.loop.call_later(self.settings.drain, self.gate.engine.abort_all)
        self.gate.engine.when_idle(self._end)

    def _leave(self) -> None:
        """Stop accepting, as another process does that on the same sockets, and end once all clients have gone."""
        self.stopping = self.context.succeeded = True
        self.gate.drain()
        transfers, drain = len(self.gate.engine.transfers), self.settings.drain
        _log.info("another process takes new clients: %d transfers and their clients may go on for %d s", transfers, drain)
        for listener in self.listeners:
            listener.close()
        self._wait_for_clients(time.monotonic() + drain)

    def _wait_for_clients(self, deadline: float) -> None:
        if self.context.refusing:
            return  # told to stop meanwhile
        left = self.context.places.taken or self.gate.engine.transfers
        if not left:
            return self._end()
        if time.monotonic() >= deadline:
            self.context.succeeded = False
            self.gate.engine.abort_all()
            return self.gate.engine.when_idle(self._end)
        self.gate.loop.call_later(EVERY, lambda: self._wait_for_clients(deadline))

    def _end(self) -> None:
        if not self.ending:
            self.ending = True
            self._flush(time.monotonic() + FLUSH_SECONDS)

    def _flush(self, deadline: float) -> None:
        """Into the database what it takes, and into the journal what it does not."""
        if self.gate.ledger.flush() and time.monotonic() < deadline:
            self.gate.loop.call_later(0.02, lambda: self._flush(deadline))
            return
        self.gate.loop.call_later(FLUSH_SECONDS, self._flushed)  # should the disk not answer
        self.gate.journal.finish(self._flushed)

    def _flushed(self) -> None:
        if self.stopped:
            return
        self.stopped = True
        self.gate.loop.call_later(0.0, lambda: None)
        journal = self.gate.journal
        kept, lost = journal.outcome()
        if kept:
            _log.warning("the database did not take %s: kept in %s, recorded by the next gate that runs", kept, journal.path)
        if lost:
            _log.error("LOST: %s, which neither the database nor the journal has taken (%s)", lost, journal.health())
            self.exit_code = 1

    def _measure_lag(self) -> None:
        """How late the loop wakes up: scheduled against actual."""
        self.gate.loop.call_later(self.context.lag.woke(time.monotonic()), self._measure_lag)

    def _close(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # Python's end would let it kill a process that has written everything
        for listener in self.listeners:
            listener.close()
        if self.own is not None:
            self.own.close()
        if self.asking is not None:
            self.asking.stop(0.0)
        if self.channel is not None:
            self.channel.close()
        self.gate.close()
