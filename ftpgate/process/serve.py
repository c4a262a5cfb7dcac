"""`ftpgate serve`: build a gate, say when it accepts, and end it in order."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import resource
import secrets
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, Protocol

from pyftpdlib.ioloop import IOLoop

from ftpgate import ftp, http
from ftpgate.access.exchange import EvidenceExchange
from ftpgate.access.grant_cache import GrantCache
from ftpgate.access.membership import Membership
from ftpgate.access.push import Push
from ftpgate.bridge_module import factory
from ftpgate.delivery.backlog import Backlog
from ftpgate.delivery.context import DeliveryContext
from ftpgate.delivery.engine import Engine
from ftpgate.delivery.files import READING, FileStore
from ftpgate.delivery.journal import Journal
from ftpgate.delivery.journal_file import LIVE
from ftpgate.delivery.journal_writer import JournalWriter
from ftpgate.delivery.ledger import LedgerWriter
from ftpgate.delivery.live_table import LiveTable
from ftpgate.errors import GateError, UserError
from ftpgate.grants import Bridge, GateAddress, Heartbeat
from ftpgate.net.executor import ThreadExecutor, Waker
from ftpgate.net.handshake import Handshakes
from ftpgate.net.tcp_info import TRUTHFUL
from ftpgate.net.tls import Certificates, Loaded
from ftpgate.net.work_queue import WorkQueue
from ftpgate.process import confinement, logs
from ftpgate.settings import Address, Settings
from ftpgate.translatable import os_reason

_log = logging.getLogger("ftpgate.gate")

SHOP_THREADS = 2
"""Threads that look tokens up; with the ledger's one and that of the push, the gate holds at most four database connections."""
FILE_THREADS = 2
"""Threads that open and check files of local disks."""
JOURNAL_THREADS = 2
"""One writes while the other one waits for the disk."""
SLOW_THREADS = 8
"""Threads that read files of network and FUSE file systems, which the loop must not do: each waits for one answer at a time."""
WAITING = 2_000
"""Jobs that may wait for a thread; further clients are asked to come again."""
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
RESERVED = 64
"""Descriptors for the process itself: database, log, listeners, spare files."""


class Listener(Protocol):
    address: Address

    def close(self) -> None: ...


def load_bridge(settings: Settings) -> Bridge:
    """The bridge named by `FTPGATE_BRIDGE`: a module with `make_bridge(settings)`.

    Raises:
        UserError: there is no such module, or it is no bridge.
    """
    bridge: Bridge = factory(settings, "make_bridge", "has no make_bridge(settings)", "name a module that offers one")(settings)
    return bridge


def _tell_expiry(expires: datetime) -> None:
    soon = expires.timestamp() - time.time() < EXPIRES_SOON
    _log.log(logging.WARNING if soon else logging.INFO, "the certificate is valid until %s", expires.isoformat())


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files as far as the hard one; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):
        hard = soft  # some systems name a hard limit that they do not grant
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


def serve(settings: Settings, *, ftp: Address | None = None, http: Address | None = None) -> int:
    """Run a gate until SIGTERM or SIGINT. Returns the exit code.

    Args:
        settings: all settings; `ftp` and `http`, where given, take the place of theirs.

    Raises:
        UserError: an address cannot be listened on, or the bridge cannot be loaded.
    """
    settings = replace(settings, ftp=ftp or settings.ftp, http=http or settings.http)
    logs.configure(settings.log)
    return _Process(settings).run()


class _Threads(NamedTuple):
    """Where blocking work runs, in the order in which they end."""

    ledger: ThreadExecutor
    journal: ThreadExecutor
    shop: ThreadExecutor
    disk: ThreadExecutor
    slow: ThreadExecutor
    push: ThreadExecutor


class _Process:
    """One gate: its parts, from start to end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        limit = raise_descriptor_limit()
        self.bridge = load_bridge(settings)
        confined = confinement.confine(settings)  # before any thread starts, and after the bridge has read what it needs once
        self.loop = loop = IOLoop.factory()
        self.id = secrets.token_hex(4)
        work = WorkQueue(loop.call_later)
        self.threads = threads = _Threads(
            ledger=ThreadExecutor(loop, work, "ledger", threads=1, most=16, finish=self.bridge.release),
            journal=ThreadExecutor(loop, work, "journal", threads=JOURNAL_THREADS, most=16),
            shop=ThreadExecutor(loop, work, "shop", threads=SHOP_THREADS, most=WAITING, finish=self.bridge.release),
            disk=ThreadExecutor(loop, work, "disk", threads=FILE_THREADS, most=WAITING),
            slow=ThreadExecutor(loop, work, "slow-disk", threads=SLOW_THREADS, most=READING),
            push=ThreadExecutor(loop, work, "push", threads=1, most=1, finish=self.bridge.release),
        )
        self.backlog = Backlog(self.id, journaled=True)
        self.ledger = LedgerWriter(self.bridge, self.id, threads.ledger, loop.call_later, self.backlog)
        self.table = LiveTable(settings.state_dir / LIVE / f"{self.id}.bin")
        self.journal = JournalWriter(
            self.backlog, Journal(settings.state_dir, self.id), threads.journal, loop.call_later,
            table=self.table, recover=self.ledger.recover,
        )  # fmt: skip
        files = FileStore(
            settings.media_root, threads.disk, self._report_changed, threads.slow, confined=confined.landlock is not None
        )
        self.engine = Engine(files, self.ledger, loop.call_later, name=self.id, evidence=self.table)
        grant_cache = GrantCache(
            self.bridge, threads.shop, self.ledger, loop.call_later, grace=settings.grace, total_rate=settings.total_rate
        )
        self.exchange = EvidenceExchange(self.bridge, self.id, threads.ledger, loop.call_later, grant_cache)
        self.gate = DeliveryContext(
            id=self.id, settings=settings, loop=loop, engine=self.engine, grant_cache=grant_cache, started_at=time.time(),
            most_connections=max(limit - RESERVED, 16), ledger=self.ledger, journal=self.journal, work=work,
            confinement=confined,
        )  # fmt: skip
        self._join()
        self._secure()
        self.listeners: list[Listener] = []
        self.stopping = False
        self.stopped = False
        self.exit_code = 0
        self._limit = limit

    def _join(self) -> None:
        """Become one of the shop's gates, once the addresses are known, and hear what the shop tells them."""
        gate, cache = self.gate, self.gate.grant_cache
        gate.membership = membership = Membership(self.bridge, self.threads.shop, self.loop.call_later, gate.load)
        gate.push = push = Push(self.bridge, self.threads.push, self.loop.call_later, self.id)
        cache.refresher.follow(push, cache.clock)
        push.on_everything(membership.tell_soon)  # its notice to itself, now that it is listened for

        def heard(heartbeat: Heartbeat, took: float) -> None:
            if heartbeat.as_of is not None:
                cache.clock.heard(heartbeat.as_of, took)
            if heartbeat.away:
                cache.returned()
            push.start()

        membership.on_heartbeat(heard)

    def _secure(self) -> None:
        """Take the certificate, if there is one to be used."""
        settings = self.settings
        if settings.tls == "off" or settings.tls_cert is None or settings.tls_key is None:
            return
        certificates = Certificates(settings.tls_cert, settings.tls_key)
        self.gate.tls = Handshakes(certificates, self.loop)

    def run(self) -> int:
        try:
            self._listen()
            self.journal.start()
            self._introduce()
            self._register()
            self._watch_signals()
            self._measure_lag()
            sys.setswitchinterval(GIL_EVERY)
            gc.set_threshold(*gc.get_threshold()[:2], FULL_COLLECTIONS)
            gc.collect()
            gc.freeze()  # what is loaded by now stays: later collections need not look at it
            sys.stdout.write(json.dumps({"ready": True, "pid": os.getpid(), **self.gate.addresses}) + "\n")
            sys.stdout.flush()
            timeout: float | None = 0.0
            while not self.stopped:
                try:
                    timeout = self.loop.loop(timeout, blocking=False)
                except Exception:
                    # A connection's own errors end that connection. What gets past that must not end all the others; the
                    # poll is level-triggered, so nothing of this round is lost.
                    _log.exception("the loop met an error and goes on")
                    timeout = ERROR_PAUSE
        finally:
            self._close()
        return self.exit_code

    def _listen(self) -> None:
        settings = self.settings
        for name, address, listen in (
            ("ftp", settings.ftp, ftp.listen),
            ("http", settings.http, http.listen),
            ("ftps", settings.ftps, ftp.listen_tls),
            ("https", settings.https, http.listen_tls),
            ("admin", settings.admin, http.listen_admin),
        ):
            if address is None:
                continue
            try:
                listener = listen(self.gate, address)
            except OSError as error:
                setting = f"FTPGATE_{name.upper()}"
                raise UserError(
                    f"{setting}={address} cannot be listened on ({os_reason(error)})", "free the port or choose another"
                ) from error
            self.listeners.append(listener)
            self.gate.addresses[name] = str(listener.address)

    def _introduce(self) -> None:
        """Say what this gate can do; only now, so that one which cannot start says nothing but why."""
        most = self._limit - RESERVED
        _log.info("carries %d HTTP downloads, or %d over FTP (limit of open files: %d)", most, most // 2, self._limit)
        if not TRUTHFUL:
            _log.warning("this system does not tell what a client has acknowledged: only an orderly end counts as delivery")
        if self.gate.confinement is not None:
            confinement.tell(self.gate.confinement)
        if self.gate.tls is not None:
            _tell_expiry(self.gate.tls.certificates.expires)

    def _register(self) -> None:
        """Enter this gate in the shop's list."""
        where = self.gate.addresses
        assert self.gate.membership is not None
        self.gate.membership.start(
            GateAddress(
                id=self.id, pid=os.getpid(), started_at=self.gate.started_at, ftp=where["ftp"], http=where["http"],
                admin=where["admin"], ftps=where.get("ftps"), https=where.get("https"), advertised=self.settings.advertise,
            )
        )  # fmt: skip

    def _report_changed(self, files: Mapping[int, str]) -> None:
        _log.error("files are not as they were imported and are refused: %s", files)
        with contextlib.suppress(GateError):  # the next client that asks for the file reports it again
            self.threads.shop.submit(lambda: self.bridge.report_changed(files), lambda _result, _error: None)

    def _watch_signals(self) -> None:
        """A Python signal handler does not wake a poll: the signal's number goes through a socket pair."""
        self._signals = Waker(self.loop, self._signalled)
        self._pending: list[int] = []
        signal.set_wakeup_fd(self._signals.writer_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _frame: self._pending.append(number))

    def _signalled(self) -> None:
        while self._pending:
            if self._pending.pop() == signal.SIGHUP:
                self._reload()
            elif self.stopping:
                _log.info("told again to stop: not waiting any longer")
                self.engine.abort_all()
            else:
                self._stop()

    def _reload(self) -> None:
        """Read the certificate again, for new connections; a broken one changes nothing."""
        tls = self.gate.tls
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
            self.threads.disk.submit(load, done)
        except GateError as error:
            done(None, error)

    def _stop(self) -> None:
        """Stop accepting, let transfers finish for a while, write everything down, end."""
        self.stopping = self.gate.draining = True
        assert self.gate.membership is not None
        self.gate.membership.drain()
        _log.info("stopping: %d transfers may go on for %d s", len(self.engine.transfers), self.settings.drain)
        for listener in self.listeners:
            listener.close()
        self.loop.call_later(self.settings.drain, self.engine.abort_all)
        self.engine.when_idle(lambda: self._flush(time.monotonic() + FLUSH_SECONDS))

    def _flush(self, deadline: float) -> None:
        """Into the database what it takes, and into the journal what it does not."""
        if self.ledger.flush() and time.monotonic() < deadline:
            self.loop.call_later(0.02, lambda: self._flush(deadline))
            return
        self.loop.call_later(FLUSH_SECONDS, self._flushed)  # should the disk not answer
        self.journal.finish(self._flushed)

    def _flushed(self) -> None:
        if self.stopped:
            return
        self.stopped = True
        self.loop.call_later(0.0, lambda: None)
        kept, lost = self.journal.outcome()
        if kept:
            _log.warning("the database did not take %s: kept in %s, recorded by the next gate that runs", kept, self.journal.path)
        if lost:
            _log.error("LOST: %s, which neither the database nor the journal has taken (%s)", lost, self.journal.health())
            self.exit_code = 1

    def _measure_lag(self) -> None:
        """How late the loop wakes up: scheduled against actual."""
        self.loop.call_later(self.gate.lag.woke(time.monotonic()), self._measure_lag)

    def _close(self) -> None:
        for listener in self.listeners:
            listener.close()
        assert self.gate.membership is not None
        assert self.gate.push is not None
        self.gate.membership.stop()
        self.gate.push.stop()
        for threads in self.threads:
            threads.stop(0.0 if threads is self.threads.push else 2.0)  # that one may wait for notices for seconds
        self.journal.close()
        self.engine.files.close()
        self.loop.close()
