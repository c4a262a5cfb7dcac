"""A gate in the test's own process: real loop, engine, ledger and files, and a shop that is held in memory.

For the fronts' own tests, which want to look inside and to start in milliseconds; whole installations are `site.py`'s.
"""

from __future__ import annotations

import hashlib
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar

from pyftpdlib.ioloop import IOLoop

from ftpgate.access.grant_cache import GrantCache
from ftpgate.clock import ClockGuard
from ftpgate.delivery.context import DeliveryContext
from ftpgate.delivery.engine import Engine
from ftpgate.delivery.files import FileStore
from ftpgate.delivery.ledger import LedgerWriter
from ftpgate.errors import Unavailable
from ftpgate.gates import Told
from ftpgate.grants import (
    Batch,
    File,
    GateAddress,
    GateLoad,
    GateState,
    Grant,
    GrantState,
    GrantStatus,
    Heartbeat,
    Item,
    Tier,
    TransferRecord,
)
from ftpgate.net.executor import ThreadExecutor, Waker
from ftpgate.net.handshake import Handshakes
from ftpgate.net.tls import Certificates
from ftpgate.net.work_queue import WorkQueue
from ftpgate.ondisk import Identity
from ftpgate.proof.coverage import SpanSet
from ftpgate.proof.segments import Evidence
from ftpgate.settings import Address, load
from ftpgate.tokens import Token, new_grant_id
from tests.support.certificates import Certificate
from tests.support.waiting import wait_until

T = TypeVar("T")
DEFAULT_TIER = Tier("default", 0, 64)


class Listener(Protocol):
    address: Address

    def close(self) -> None: ...


class MemoryShop:
    """A `Bridge` to a shop in memory; thread-safe. Set `away` to have its database not answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._grants: dict[str, Grant] = {}
        self._tokens: dict[bytes, str] = {}
        self.covered: dict[tuple[str, int], SpanSet] = {}
        """What was recorded, by grant and file id."""
        self.records: list[TransferRecord] = []
        self.completed: list[str] = []
        """Ids of grants in the order of their completion."""
        self.changed_files: dict[int, str] = {}
        self.look_ups = 0
        self.away = False
        self.clock: Callable[[], float] | None = None
        """Its database's, of a machine of its own; None for one without."""

    def issue(self, items: Sequence[Item], *, tier: Tier = DEFAULT_TIER, user: str = "user", expires_in: float = 3600) -> Token:
        """A new open grant; returns a token of it."""
        token = Token.new(new_grant_id())
        now = time.time()
        status = GrantStatus(token.grant, GrantState.OPEN, now + expires_in, None, user, tier, frozenset({token.digest()}))
        with self._lock:
            self._tokens[token.digest()] = token.grant
            self._grants[token.grant] = Grant(status, now, tuple(items))
        return token

    def another(self, grant: str) -> Token:
        """One more live token of a grant."""
        token = Token.new(grant)
        with self._lock:
            self._tokens[token.digest()] = grant
            held = self._grants[grant]
            status = replace(held.status, live_tokens=held.status.live_tokens | {token.digest()})
            self._grants[grant] = replace(held, status=status)
        return token

    def change(self, grant: str, **changes: object) -> None:
        """Set fields of a grant's status; the gate hears of it within two seconds."""
        with self._lock:
            held = self._grants[grant]
            self._grants[grant] = replace(held, status=replace(held.status, **changes))  # type: ignore[arg-type]

    def remove(self, grant: str) -> None:
        """Forget a grant and its tokens, as if it had never been."""
        with self._lock:
            del self._grants[grant]
            self._tokens = {digest: of for digest, of in self._tokens.items() if of != grant}

    def leave(self, segment: Evidence) -> None:
        """A segment that an earlier gate left without proof."""
        with self._lock:
            held = self._grants[segment.grant]
            self._grants[segment.grant] = replace(held, segments=(*held.segments, segment))

    def status(self, grant: str) -> GrantStatus:
        with self._lock:
            return self._grants[grant].status

    def spans(self, grant: str, file: File) -> list[tuple[int, int]]:
        """Recorded coverage of one file."""
        with self._lock:
            return list(self.covered.get((grant, file.id), ()))

    # -- the Bridge

    def look_up(self, token: Token) -> Grant | None:
        self._check()
        with self._lock:
            self.look_ups += 1
            return self._held(self._tokens.get(token.digest(), ""))

    def look_up_grant(self, grant: str) -> Grant | None:
        self._check()
        with self._lock:
            self.look_ups += 1
            return self._held(grant)

    def _held(self, grant: str) -> Grant | None:
        if grant not in self._grants:
            return None
        covered = {file: tuple(spans) for (of, file), spans in self.covered.items() if of == grant}
        return replace(self._grants[grant], status=self._now(self._grants[grant].status), covered=covered)

    def _now(self, status: GrantStatus) -> GrantStatus:
        return replace(status, as_of=None if self.clock is None else self.clock())

    def refresh(self, grants: Sequence[str]) -> Sequence[GrantStatus]:
        self._check()
        with self._lock:
            return [self._now(self._grants[grant].status) for grant in grants if grant in self._grants]

    def record(self, gate: str, batch: Batch) -> Sequence[GrantStatus]:
        self._check()
        with self._lock:
            for delivered in batch.delivered:
                self.covered.setdefault((delivered.grant, delivered.file), SpanSet()).update(delivered.spans)
            self.records += batch.transfers
            return list(self._complete({delivered.grant for delivered in batch.delivered}))

    def _complete(self, touched: set[str]) -> Iterator[GrantStatus]:
        for name in touched:
            held = self._grants[name]
            files = [file for item in held.items for file in item.files if file.size]
            whole = all((spans := self.covered.get((name, file.id))) and spans.size == file.size for file in files)
            if whole and held.status.state is GrantState.OPEN:
                status = replace(held.status, state=GrantState.COMPLETE, completed_at=(self.clock or time.time)())
                self._grants[name] = replace(held, status=status)
                self.completed.append(name)
                yield status

    def exchange(self, told: Told) -> None:
        """No other gate has this memory."""

    def report_changed(self, files: Mapping[int, str]) -> None:
        with self._lock:
            self.changed_files.update(files)

    def gate_started(self, gate: GateAddress) -> None: ...

    def heartbeat(self, gate: GateAddress, state: GateState, load: GateLoad) -> Heartbeat:
        return Heartbeat()

    def gate_stopped(self, gate: str) -> None: ...

    def wait_for_changes(self, timeout: float) -> None:
        """It cannot push."""

    def release(self) -> None: ...

    def _check(self) -> None:
        if self.away:
            raise Unavailable()


class InProcessGate:
    """A gate whose loop runs in a thread, with the fronts it is given; a context manager.

    Args:
        media: the media root; `item` imports a folder below it.
        listen: protocol to a front's `listen`: `{"http": ftpgate.http.listen}`. Ports are free ones of 127.0.0.1.
        settings: `FTPGATE_…` settings.
        clock: by which grants expire.
        certificate: make one, so that fronts may speak TLS; it is this attribute then.
    """

    def __init__(
        self, media: Path, listen: Mapping[str, Callable[[DeliveryContext, Address], Listener]], *,
        settings: Mapping[str, str] | None = None, most_connections: int = 1_000, certificate: bool = False,
        clock: ClockGuard | None = None,
    ) -> None:  # fmt: skip
        self.media = media
        self.shop = MemoryShop()
        self.loop = loop = IOLoop.factory()
        self._calls: list[Callable[[], None]] = []
        self._waker = Waker(loop, self._run_calls)
        work = WorkQueue(loop.call_later)
        names = ("shop", "disk", "ledger", "slow-disk")
        self._executor = [ThreadExecutor(loop, work, name, threads=1, most=2_000) for name in names]
        shop, disk, ledger_executor, slow = self._executor
        self.ledger = LedgerWriter(self.shop, "test", ledger_executor, loop.call_later)
        files = FileStore(media, disk, self.shop.report_changed, slow)
        self.engine = Engine(files, self.ledger, loop.call_later)
        given = {"FTPGATE_MEDIA_ROOT": str(media), "FTPGATE_STATE_DIR": str(media.parent / "state"), **(settings or {})}
        if certificate:
            self.certificate = Certificate(media.parent)
            given |= {"FTPGATE_TLS_CERT": str(self.certificate.chain), "FTPGATE_TLS_KEY": str(self.certificate.key)}
        parsed = load(given, directory=media)
        self.grant_cache = GrantCache(
            self.shop, shop, self.ledger, loop.call_later, grace=parsed.grace, total_rate=parsed.total_rate, clock=clock
        )
        self.gate = DeliveryContext(
            id="test", settings=parsed, loop=loop, engine=self.engine, grant_cache=self.grant_cache, started_at=time.time(),
            most_connections=most_connections, ledger=self.ledger, work=work,
        )  # fmt: skip
        if certificate:
            self.gate.tls = Handshakes(Certificates(self.certificate.chain, self.certificate.key), loop)
        self.listeners = {name: front(self.gate, Address("127.0.0.1", 0)) for name, front in listen.items()}
        self.gate.addresses.update({name: str(listener.address) for name, listener in self.listeners.items()})
        self._items = self._files = 0
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)
        self._thread.start()

    def address(self, protocol: str) -> tuple[str, int]:
        """Where a front listens, as `socket.create_connection` takes it."""
        bound = self.listeners[protocol].address
        return bound.host, bound.port

    def item(self, folder: str, *, title: str = "", shown: str = "") -> Item:
        """Import a folder below the media root: every file in it, by path."""
        files = []
        for path in sorted((self.media / folder).rglob("*")):
            if not path.is_file():
                continue
            data = path.read_bytes()
            found = Identity.of(path.stat())
            self._files += 1
            files.append(
                File(
                    self._files, path.relative_to(self.media / folder).as_posix(), path.relative_to(self.media).as_posix(),
                    len(data), found.mtime_ns, hashlib.sha256(data).digest(), zlib.crc32(data), found.ctime_ns, found.inode,
                )
            )  # fmt: skip
        self._items += 1
        return Item(str(self._items), title or folder, "", None, shown or folder, tuple(files))

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the loop's thread; returns or raises what it does."""
        done = threading.Event()
        found: list[T] = []
        failed: list[BaseException] = []

        def run() -> None:
            try:
                found.append(function())
            except BaseException as error:
                failed.append(error)
            done.set()

        self._calls.append(run)
        self._waker.wake()
        if not done.wait(20):
            raise AssertionError("the loop does not answer")
        if failed:
            raise failed[0]
        return found[0]

    def accounts_for(self, token: Token, file: File) -> None:
        """Wait until every byte of a file is delivered or unconfirmed: what a client that holds all may expect at the least."""

        def there() -> bool:
            grants = [grant for grant in self.grant_cache.grants() if grant.id == token.grant]
            unconfirmed = [span for grant in grants for span in self.call(grant.unconfirmed).get(file.id, ())]
            return SpanSet([*self.shop.spans(token.grant, file), *unconfirmed]).covers(0, file.size)

        wait_until(there, 15, f"that all is accounted for; recorded {self.shop.spans(token.grant, file)}")

    def covers(self, token: Token, file: File, timeout: float = 5) -> None:
        """Wait until a file is recorded as delivered whole."""
        wait_until(lambda: self.shop.spans(token.grant, file) == [(0, file.size)], timeout, f"the delivery of {file.path}")

    def settled(self, timeout: float = 10) -> None:
        """Wait until no transfer runs and everything credited is recorded."""
        wait_until(lambda: self.call(lambda: not self.engine.transfers and not self.ledger.backlog), timeout, "quiet")

    def close(self) -> None:
        def stop() -> None:
            for listener in self.listeners.values():
                listener.close()
            self.engine.abort_all()
            self._stopped = True

        self.call(stop)
        self._thread.join(10)
        for threads in self._executor:
            threads.stop(2)
        self.engine.files.close()
        self.loop.close()

    def __enter__(self) -> InProcessGate:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        timeout: float | None = 0.0
        while not self._stopped:
            timeout = self.loop.loop(timeout, blocking=False)

    def _run_calls(self) -> None:
        while self._calls:
            self._calls.pop(0)()
