"""One transfer: an FTP `RETR` or the body of one HTTP response, from its first byte to the last word on its delivery.

    SENDING -> SETTLING -> HOLDING -> CREDITED          (see `credit.Phase`)
       \\----------\\----------\\-------> CUT

Every end goes through `_end`, once: it takes the last look, settles credit and doubt, gives back the descriptor, the
turn and the places in the lists, and tells the carrier.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ftpgate.delivery.accounts import OpenGrant
from ftpgate.delivery.acknowledgement import Look, Wire
from ftpgate.delivery.credit import PACED_CHUNK, Credit, Phase
from ftpgate.delivery.doubt import Run
from ftpgate.delivery.files import AHEAD, OpenFile
from ftpgate.delivery.sent_files import SentFiles
from ftpgate.errors import GateError
from ftpgate.grants import File, TransferRecord
from ftpgate.sources import Piece, Resource, Slice

if TYPE_CHECKING:
    from ftpgate.delivery.engine import Engine

FAST_STEP = 4 * 1024 * 1024
"""Bytes between two looks at a fast connection; the margin there is 8 MiB."""


class Span(NamedTuple):
    """Bytes `[start, end)` of a resource: one part of what a transfer sends."""

    resource: Resource
    start: int
    end: int


Part = bytes | Span


class Sink(Protocol):
    """Where bytes go and come from: plain (`sending.PlainSink`) or through TLS (`tls.TlsSink`).

    Raises `BlockingIOError` when it has to wait, and `OSError` when the connection is broken. What is written has to be
    offered again after a `BlockingIOError`, from the same byte on.
    """

    wire: Wire
    parting: bool
    """The client has said that it sends nothing more, and waits to hear the same; the end of its stream is still to come."""

    @property
    def owing(self) -> bool:
        """What is to be written next is half encrypted: nothing can be read before it is written."""
        ...

    def recv(self, count: int) -> bytes:
        """What the client sent; b"" at its orderly end. Less than `count` when nothing is left that no poll would report."""
        ...

    def finish(self) -> None:
        """Say that nothing follows: the orderly end of our side."""
        ...

    def send(self, data: bytes | memoryview, more: bool = False) -> int:
        """Returns how many bytes were taken."""
        ...

    def sendfile(self, fd: int, offset: int, count: int) -> int:
        """Returns how many bytes were taken; 0 only when the file is shorter than `offset`."""
        ...


class Carrier(Protocol):
    """The connection that a transfer runs on. It passes events in (`writable`, `fin`, `next_request`, `cut`) and hears these."""

    sink: Sink

    @property
    def arrived(self) -> float:
        """When the client connected, by the monotonic clock; over FTP, when its control connection came."""
        ...

    def watch_writable(self, on: bool) -> None:
        """Call `transfer.writable()` whenever the socket takes more, or stop that."""
        ...

    def transfer_written(self, transfer: Transfer) -> None:
        """The last byte is with the kernel."""
        ...

    def transfer_acknowledged(self, transfer: Transfer) -> None:
        """The client's TCP has acknowledged the last byte (an FTP 226 may go out)."""
        ...

    def transfer_ended(self, transfer: Transfer, outcome: str) -> None:
        """No more events. Unless `outcome` is `done`, the connection has to be reset: `sending.reset`."""
        ...


class _Section:
    """One span of the transfer and where it lies in the transfer's own stream."""

    __slots__ = ("credited", "end", "resource", "run", "start", "stream")

    def __init__(self, stream: int, span: Span, run: Run) -> None:
        self.credited = span.start
        self.stream = stream
        self.resource = span.resource
        self.start = span.start
        self.end = span.end
        self.run = run

    @property
    def stream_end(self) -> int:
        return self.stream + self.end - self.start

    def reached(self, position: int) -> int:
        """The resource's byte that the stream's `position` has come to in this section."""
        return self.start + max(min(position, self.stream_end) - self.stream, 0)


class Transfer:
    """Sends `parts` over `carrier` under `grant`. Make it with `Engine.start`."""

    __slots__ = (
        "_at", "_blocked", "_carrier", "_chunk_end", "_credited", "_engine", "_file", "_literal", "_looked", "_mark", "_marked",
        "_pieces", "_queued", "_sections", "_sent_files", "_waiting", "_warmed", "_written", "bytes_per_s", "client", "credit",
        "grant", "item", "length", "moved_at", "outcome", "path", "peer", "protocol", "ready", "started_at",
    )  # fmt: skip

    def __init__(
        self, engine: Engine, carrier: Carrier, grant: OpenGrant, parts: Sequence[Part], *,
        item: str, path: str, protocol: str, peer: str, client: str = "",
    ) -> None:  # fmt: skip
        now = time.monotonic()
        self._engine = engine
        self._carrier = carrier
        self.grant = grant
        self.item, self.path, self.protocol, self.peer, self.client = item, path, protocol, peer, client
        self.started_at = time.time()
        self.moved_at = now
        self.outcome: str | None = None
        self.ready = True
        """Does it want a turn? False while its socket is full, a file is being opened, or all is written."""
        self.bytes_per_s = 0.0
        self._mark, self._marked = 0, now
        sections: list[_Section] = []
        self.length = 0
        for part in parts:
            if isinstance(part, bytes):
                self.length += len(part)
            elif part.end > part.start:
                run = grant.book(part.resource).begin(part.start, now, carrier.arrived)
                sections.append(_Section(self.length, part, run))
                self.length += part.end - part.start
        self._sections = tuple(sections)
        self._pieces = iter(_pieces(parts[0])) if len(parts) == 1 else chain.from_iterable(map(_pieces, parts))
        self.credit = Credit(carrier.sink.wire.written, self.length)
        self._written = 0
        self._looked = 0
        self._literal: memoryview | None = None
        self._file: OpenFile | None = None
        self._sent_files = SentFiles(engine.files)
        self._credited = 0
        """Bytes of the stream that were passed on as delivered."""
        self._at = self._chunk_end = self._warmed = 0
        self._blocked = False
        self._waiting = False
        self._queued = False
        """Does it stand in the customer's ring?"""

    @property
    def start(self) -> int:
        """First byte of the resource that this transfer asked for."""
        return self._sections[0].start if self._sections else 0

    @property
    def end(self) -> int:
        return self._sections[-1].end if self._sections else 0

    @property
    def delivered(self) -> int:
        """Bytes of the stream that are credited by this transfer's own acknowledgements."""
        return self.credit.credited

    def begin(self) -> None:
        """Called once by the engine."""
        if not self.length:
            self._finished_writing()
        else:
            self._want_turn()

    # -- sending

    def send(self, budget: int) -> int:
        """Send up to `budget` bytes now; return how many went."""
        if self.outcome is not None or self._waiting:
            self.ready = self._queued = False
            return 0
        sink, sent = self._carrier.sink, 0
        wire = sink.wire
        try:
            while sent < budget:
                if self._literal is not None:
                    count = sink.send(self._literal[: budget - sent], self._written + len(self._literal) < self.length)
                    self._literal = self._literal[count:] if count < len(self._literal) else None
                elif self._file is not None and self._file.may_block:
                    self._read()
                    break
                elif self._file is not None:
                    count = sink.sendfile(self._file.fd, self._at, min(budget - sent, self._chunk_end - self._at))
                    if not count:
                        self._shrunk()
                        return sent
                    self._advance(count)
                    if self._file is not None and self._at >= self._warmed:
                        self._warm()
                elif self._next_piece():
                    continue
                else:
                    break
                sent += count
                self._written += count
                wire.written += count
        except BlockingIOError:
            self._block()
        except OSError:
            self.cut()
            return sent
        self._sent(sent)
        self._queued = self.ready and self.grant.customer.paced
        return sent

    def writable(self) -> None:
        """The socket takes more."""
        if self.outcome is not None or self._waiting:
            return
        if self.grant.customer.paced:
            self._carrier.watch_writable(False)
            self._blocked = False
            self._want_turn()
        else:
            self._blocked = False
            self.ready = True
            self.send(self._engine.chunk)

    def pace_changed(self) -> None:
        """The customer got a rate, or lost it."""
        self._queued = False
        if self.outcome is None and self.credit.phase is Phase.SENDING and not self._blocked and not self._waiting:
            self._want_turn()

    def _want_turn(self) -> None:
        self.ready = True
        if self.grant.customer.paced:
            self._carrier.watch_writable(False)
            if not self._queued:
                self._queued = True
                self.grant.customer.queue(self)
        else:
            self._carrier.watch_writable(True)

    def _block(self) -> None:
        self._blocked = True
        self.ready = False
        self._carrier.watch_writable(True)

    def _next_piece(self) -> bool:
        """Make the next piece current. False when there is none, or it has to be opened first."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        if isinstance(piece, bytes):
            self._literal = memoryview(piece)
            return True
        return self._open(piece)

    def _open(self, piece: Slice) -> bool:
        self._at, self._chunk_end = piece.start, piece.end
        if self._acquired(piece.file):
            return self._at_hand()
        self._wait()

        def opened(error: GateError | None) -> None:
            self._waiting = False
            if self.outcome is not None:
                return
            if error is not None or not self._acquired(piece.file):
                self.abort("error")
            elif self._at_hand():
                self._want_turn()

        try:
            self._engine.files.fetch(piece.file, opened)
        except GateError as error:
            opened(error)
        return False

    def _acquired(self, file: File) -> bool:
        self._file = self._engine.files.acquire(file)
        if self._file is None:
            return False
        self._sent_files.sending(self._file, self._written, self._written + self._chunk_end - self._at)
        return True

    def _read(self) -> None:
        """Have the next bytes of a file read off the loop that would stop it; they are sent from memory."""
        assert self._file is not None
        self._wait()

        def come(data: bytes | None) -> None:
            self._waiting = False
            if self.outcome is not None:
                return
            if data is None:
                return self._spoil(time.monotonic())
            self._literal = memoryview(data)
            self._advance(len(data))
            self._want_turn()

        self._engine.files.read(self._file, self._at, self._chunk_end, come)

    def _advance(self, count: int) -> None:
        """Bytes of the current file were sent, or read."""
        assert self._file is not None
        self._at += count
        if self._at == self._chunk_end:
            self._engine.files.release(self._file)
            self._file = None

    def _at_hand(self) -> bool:
        """Are the first bytes of the slice in memory? If not, a turn is taken when they are: `sendfile` would stop the loop."""
        assert self._file is not None

        def come() -> None:
            self._waiting = False
            if self.outcome is None:
                self._want_turn()

        if self._engine.files.warm(self._file, self._at, come):
            self._warmed = self._at + AHEAD // 2
            self._wait()
            return False
        self._warm()
        return True

    def _wait(self) -> None:
        """For the disk; nothing is sent meanwhile."""
        self._waiting = True
        self.ready = False
        self._carrier.watch_writable(False)

    def _warm(self) -> None:
        assert self._file is not None
        self._warmed = self._at + AHEAD // 2
        self._engine.files.warm(self._file, self._warmed)

    def _shrunk(self) -> None:
        """The file ends before its imported size: what is missing is never padded."""
        self._sent_files.unchanged(self._written)  # reports it
        self._spoil(time.monotonic())

    def _sent(self, count: int) -> None:
        if self.outcome is not None:
            return
        step = PACED_CHUNK if self.credit.paced(self.grant.customer.tier.rate, count) else FAST_STEP
        if self._written == self.length:
            self._finished_writing()
        elif self._written - self._looked >= step:
            self._looked = self._written
            self.look(time.monotonic())

    def _finished_writing(self) -> None:
        self.ready = False
        self._carrier.watch_writable(False)
        self.credit.written()
        self._engine.settle(self)
        self._carrier.transfer_written(self)

    # -- what the client says

    def look(self, now: float) -> None:
        """Ask the kernel how far the client is, and credit what that shows."""
        if self.outcome is not None:
            return
        phase = self.credit.phase
        grown = self.credit.progress(now, self._carrier.sink.wire.look())
        if not self._moved(now, grown):
            return
        if phase is Phase.SETTLING and self.credit.phase in (Phase.HOLDING, Phase.CREDITED):
            self._acknowledged()
        if self.credit.phase is Phase.CREDITED:
            self._end("done", now)

    def fin(self) -> None:
        """The client has ended its side of the connection in order."""
        self._heard(self.credit.fin)

    def next_request(self) -> None:
        """The client has sent another request on this connection, when this one's last byte had been acknowledged."""
        self._heard(self.credit.next_request)

    def cut(self, outcome: str = "cut") -> None:
        """The connection is broken, or about to be closed by us. Call it before the socket is closed."""
        if self.outcome is not None:
            return
        try:
            look: Look | None = self._carrier.sink.wire.look()
        except OSError:
            look = None
        now = time.monotonic()
        if not self._sent_files.unchanged(self._written):
            return self._spoil(now, outcome)
        before = self.credit.credited
        zone = self.credit.cut(look)
        self._moved(now, self.credit.credited > before, alive=False)
        for section in self._sections:
            if section.run.sound:
                continue
            doubtful = None if zone is None else _within(section, *zone)
            book, upto = self.grant.book(section.resource), section.reached(self.credit.acknowledged)
            read = None if look is None else section.reached(look.acknowledged - look.unread - self.credit.base)
            self._confirm(section, book.cut(section.run, now, doubtful, upto, read))
        self._end(outcome, now)

    def abort(self, outcome: str) -> None:
        """End it from our side, by reset: `revoked`, `stalled` or `error`."""
        self.cut(outcome)

    def _heard(self, event: Callable[[float, Look], bool]) -> None:
        if self.outcome is not None:
            return
        now = time.monotonic()
        phase = self.credit.phase
        grown = event(now, self._carrier.sink.wire.look())
        if not self._moved(now, grown):
            return
        if phase is Phase.SETTLING and self.credit.phase in (Phase.HOLDING, Phase.CREDITED):
            self._acknowledged()
        if self.credit.phase is Phase.CREDITED:
            self._end("done", now)

    def _acknowledged(self) -> None:
        """Everything has reached the client's machine; what it has read of the end, only it can tell."""
        if self.credit.phase is Phase.HOLDING:
            self._carrier.sink.wire.probe()
            self._engine.hold(self)
        self._carrier.transfer_acknowledged(self)

    def _moved(self, now: float, grown: bool, *, alive: bool = True) -> bool:
        """Pass on what this look has shown: to the coverage and, unless it is the last at a cut, to the books of doubt.

        False when a file had changed by then, and that was the end.
        """
        credit = self.credit
        if alive and not self._sent_files.unchanged(credit.credited):
            self._spoil(now)
            return False
        self._credited = credit.credited
        if now - self._marked >= 1.0:
            self.bytes_per_s = (credit.acknowledged - self._mark) / (now - self._marked)
            self._mark, self._marked = credit.acknowledged, now
        if credit.acknowledged <= 0 and not grown:
            return True
        for section in self._sections:
            run = section.run
            if run.sound or credit.acknowledged < section.stream:
                continue
            upto = section.reached(credit.acknowledged)
            if upto > run.acknowledged:
                self.moved_at = now
            book = self.grant.book(section.resource)
            confirmed = book.acknowledged(run, now, upto) if alive else []
            if grown:
                last = section.reached(credit.credited)
                if last > section.credited:
                    self.grant.credit(section.resource, section.credited, last)
                    section.credited = last
                if last == section.end:
                    confirmed += book.fin(run, now)
            self._confirm(section, confirmed)
        return True

    def _spoil(self, now: float, outcome: str = "error") -> None:
        """A file is not what was being sent any more. What was not credited before that was found out never is."""
        self.credit.credited = self._credited
        self.credit.phase = Phase.CUT
        for section in self._sections:
            if not section.run.sound:
                self._confirm(section, self.grant.book(section.resource).cut(section.run, now, None))
        self._end(outcome, now)

    def _confirm(self, section: _Section, confirmed: list[tuple[int, int]]) -> None:
        for start, end in confirmed:
            self.grant.credit(section.resource, start, end)

    def _end(self, outcome: str, now: float) -> None:
        self.outcome = outcome
        self.ready = False
        if self._file is not None:
            self._engine.files.release(self._file)
            self._file = None
        self._literal = None
        self._pieces = iter(())
        self.grant.customer.leave(self)
        self._engine.ended(self)
        self._carrier.transfer_ended(self, outcome)

    def horizon(self, seconds: float) -> Iterator[tuple[Resource, int, int]]:
        """Per section, from what is credited to as far as this may have gone in so many seconds."""
        rate = self.grant.customer.tier.rate
        ahead = self._written + int(rate * seconds if rate else max(self.bytes_per_s * 2 * seconds, FAST_STEP))
        for section in self._sections:
            last = section.start + min(ahead, section.stream_end) - section.stream
            if last > section.credited:
                yield section.resource, section.credited, last

    def record(self) -> TransferRecord:
        """What the history keeps of it."""
        return TransferRecord(
            grant=self.grant.id, item=self.item, path=self.path, protocol=self.protocol, peer=self.peer, client=self.client,
            start=self.start, end=self.end, delivered=self.delivered, started_at=self.started_at, ended_at=time.time(),
            outcome=self.outcome or "running",
        )  # fmt: skip


def _pieces(part: Part) -> Iterable[Piece]:
    if isinstance(part, bytes):
        return (part,) if part else ()
    return part.resource.pieces(part.start, part.end)


def _within(section: _Section, first: int, last: int) -> tuple[int, int] | None:
    """The part of the stream's `[first, last]` that lies in `section`, in the resource's bytes."""
    low, high = max(first, section.stream), min(last, section.stream_end)
    if high <= low:
        return None
    return section.start + low - section.stream, section.start + high - section.stream
