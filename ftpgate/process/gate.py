"""The parts of one gate: what it consists of, how they are made and ended."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import secrets
import time
from collections.abc import Mapping
from typing import NamedTuple

from pyftpdlib.ioloop import IOLoop

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
from ftpgate.delivery.journal_rows import Recovered
from ftpgate.delivery.journal_writer import JournalWriter
from ftpgate.delivery.ledger import LedgerWriter
from ftpgate.delivery.live_table import LiveTable
from ftpgate.errors import GateError
from ftpgate.grants import Bridge, GateAddress, Heartbeat
from ftpgate.net.executor import ThreadExecutor
from ftpgate.net.handshake import Handshakes
from ftpgate.net.tls import Certificates
from ftpgate.net.work_queue import WorkQueue
from ftpgate.process import confinement
from ftpgate.settings import Settings
from ftpgate.shaping.leases.keeper import LeaseKeeper
from ftpgate.shaping.leases.opening import open_store

_log = logging.getLogger("ftpgate.gate")

SHOP_THREADS = 2
"""Threads that look tokens up; with those of the ledger, the push and the leases, the gate holds at most five database
connections."""
FILE_THREADS = 2
"""Threads that open and check files of local disks."""
JOURNAL_THREADS = 2
"""One writes while the other one waits for the disk."""
SLOW_THREADS = 8
"""Threads that read files of network and FUSE file systems, which the loop must not do: each waits for one answer at a time."""
WAITING = 2_000
"""Jobs that may wait for a thread; further clients are asked to come again."""
RESERVED = 64
"""Descriptors for the process itself: database, log, listeners, spare files."""


def load_bridge(settings: Settings) -> Bridge:
    """The bridge named by `FTPGATE_BRIDGE`: a module with `make_bridge(settings)`.

    Raises:
        UserError: there is no such module, or it is no bridge.
    """
    bridge: Bridge = factory(settings, "make_bridge", "has no make_bridge(settings)", "name a module that offers one")(settings)
    return bridge


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files as far as the hard one; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):
        hard = soft  # some systems name a hard limit that they do not grant
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


class Threads(NamedTuple):
    """Where blocking work runs, in the order in which they end."""

    ledger: ThreadExecutor
    journal: ThreadExecutor
    shop: ThreadExecutor
    disk: ThreadExecutor
    slow: ThreadExecutor
    leases: ThreadExecutor
    push: ThreadExecutor


class Gate:
    """One gate: its parts, from start to end.

    Attributes:
        limit: descriptors that the process may have open.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.limit = limit = raise_descriptor_limit()
        self.bridge = load_bridge(settings)
        store = open_store(settings, self.bridge)
        confined = confinement.confine(settings)  # before any thread starts, and after the bridge has read what it needs once
        self.loop = loop = IOLoop.factory()
        self.id = secrets.token_hex(4)
        work = WorkQueue(loop.call_later)
        self.threads = threads = Threads(
            ledger=ThreadExecutor(loop, work, "ledger", threads=1, most=16, finish=self.bridge.release),
            journal=ThreadExecutor(loop, work, "journal", threads=JOURNAL_THREADS, most=16),
            shop=ThreadExecutor(loop, work, "shop", threads=SHOP_THREADS, most=WAITING, finish=self.bridge.release),
            disk=ThreadExecutor(loop, work, "disk", threads=FILE_THREADS, most=WAITING),
            slow=ThreadExecutor(loop, work, "slow-disk", threads=SLOW_THREADS, most=READING),
            leases=ThreadExecutor(loop, work, "leases", threads=1, most=4, finish=store.close),
            push=ThreadExecutor(loop, work, "push", threads=1, most=1, finish=self.bridge.release),
        )
        self.backlog = Backlog(self.id, journaled=True)
        self.ledger = LedgerWriter(self.bridge, self.id, threads.ledger, loop.call_later, self.backlog)
        self.table = LiveTable(settings.state_dir / LIVE / f"{self.id}.bin")
        self.journal = JournalWriter(
            self.backlog, Journal(settings.state_dir, self.id), threads.journal, loop.call_later,
            table=self.table, recover=self._recover,
        )  # fmt: skip
        files = FileStore(
            settings.media_root, threads.disk, self._report_changed, threads.slow, confined=confined.landlock is not None
        )
        self.engine = Engine(files, self.ledger, loop.call_later, name=self.id, evidence=self.table)
        leases = LeaseKeeper(store, threads.leases, loop.call_later, gate=self.id, gates=self._running_gates)
        grant_cache = GrantCache(
            self.bridge, threads.shop, self.ledger, loop.call_later, grace=settings.grace, total_rate=settings.total_rate,
            leases=leases,
        )  # fmt: skip
        self.exchange = EvidenceExchange(self.bridge, self.id, threads.ledger, loop.call_later, grant_cache)
        self.context = DeliveryContext(
            id=self.id, settings=settings, loop=loop, engine=self.engine, grant_cache=grant_cache, started_at=time.time(),
            most_connections=max(limit - RESERVED, 16), ledger=self.ledger, journal=self.journal, work=work,
            confinement=confined, leases=leases,
        )  # fmt: skip
        self._join()
        self._secure()

    def _join(self) -> None:
        """Become one of the shop's gates, once the addresses are known, and hear what the shop tells them."""
        context, cache = self.context, self.context.grant_cache
        context.membership = membership = Membership(self.bridge, self.threads.shop, self.loop.call_later, context.load)
        context.push = push = Push(self.bridge, self.threads.push, self.loop.call_later, self.id)
        cache.refresher.follow(push, cache.clock)
        push.on_everything(membership.tell_soon)  # its notice to itself, now that it is listened for

        def heard(heartbeat: Heartbeat, took: float) -> None:
            if heartbeat.as_of is not None:
                cache.clock.heard(heartbeat.as_of, took)
            if heartbeat.away:
                cache.returned()
            push.start()

        membership.on_heartbeat(heard)

    def register(self) -> None:
        """Enter this gate in the shop's list."""
        where = self.context.addresses
        assert self.context.membership is not None
        self.context.membership.start(
            GateAddress(
                id=self.id, pid=os.getpid(), started_at=self.context.started_at, ftp=where["ftp"], http=where["http"],
                admin=where["admin"], ftps=where.get("ftps"), https=where.get("https"), advertised=self.settings.advertise,
            )
        )  # fmt: skip

    def drain(self) -> None:
        """Let the shop send no new customers."""
        self.context.draining = True
        assert self.context.membership is not None
        self.context.membership.drain()

    def _secure(self) -> None:
        """Take the certificate, if there is one to be used."""
        settings = self.settings
        if settings.tls == "off" or settings.tls_cert is None or settings.tls_key is None:
            return
        certificates = Certificates(settings.tls_cert, settings.tls_key)
        self.context.tls = Handshakes(certificates, self.loop)

    def _running_gates(self) -> int:
        """How many gates run, this one included. Until the shop has told, there may be another one."""
        membership = self.context.membership
        return membership.gates if membership is not None and membership.counted else 2

    def _recover(self, recovered: Recovered) -> None:
        """Take on what gates have left that have ended: their deliveries, and their part of customers."""
        if self.context.leases is not None:
            self.context.leases.ended(tuple(recovered.gates))
        self.ledger.recover(recovered)

    def _report_changed(self, files: Mapping[int, str]) -> None:
        _log.error("files are not as they were imported and are refused: %s", files)
        with contextlib.suppress(GateError):  # the next client that asks for the file reports it again
            self.threads.shop.submit(lambda: self.bridge.report_changed(files), lambda _result, _error: None)

    def close(self) -> None:
        """Say good-bye to the shop, and end the threads, the journal, the files and the loop."""
        assert self.context.membership is not None
        assert self.context.push is not None
        self.context.membership.stop()
        self.context.push.stop()
        if self.context.leases is not None:
            self.context.leases.stop()
        for threads in self.threads:
            threads.stop(0.0 if threads is self.threads.push else 2.0)  # that one may wait for notices for seconds
        self.journal.close()
        self.engine.files.close()
        self.loop.close()
