"""One transfer: an FTP `RETR` or the body of one HTTP response, from its first byte to the last word on its delivery.

Its phases and their moves are `proof.credit.MOVES`. Every end goes through `_end`, once: it gives back the descriptor, the
turn and the places in the lists, and tells the carrier.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from ftpgate.delivery.accounts import OpenGrant
from ftpgate.delivery.files import AHEAD, OpenFile
from ftpgate.delivery.sections import BodyPart, Section
from ftpgate.delivery.sending import SendQueue
from ftpgate.delivery.sent_files import SentFiles
from ftpgate.errors import GateError
from ftpgate.grants import File, TransferRecord
from ftpgate.net.tcp_info import TRUTHFUL, TcpProbe
from ftpgate.proof.credit import PACED_CHUNK, PACED_RATE, Credit, Phase
from ftpgate.proof.window import TcpSnapshot
from ftpgate.sources import Piece, Slice

if TYPE_CHECKING:
    from ftpgate.delivery.engine import Engine

FAST_STEP = 4 * 1024 * 1024
"""Bytes between two looks at a fast connection; the margin there is 8 MiB."""
PIECES = 6
"""Pieces of a body that are begun in one turn: of a zip of a thousand small files hundreds would fit into its bytes, and take ten
milliseconds."""
PATIENCE = 0.25
"""Seconds that a client is given to end at a line, once everything before it is acknowledged. Measured: one that wants no more
ends 0.4 to 1 ms after that over loopback, later where a machine is busy."""
PRECISE_TLS_RATE = 10_000_000
"""Bytes a second up to which the window of a TLS client tells precisely what is unread. Measured: off by 58 kB at 2 and 5 MB/s,
by 227 kB at 20 MB/s."""
NUDGE = 1_024
"""Bytes that are sent beyond a line at first: they fit in one segment, and are read together with what is before them."""
GENTLE_FROM = 4 * 1024 * 1024
GENTLE_AFTER = 1024 * 1024
"""Bytes after which a transfer without a limit, of GENTLE_FROM bytes and more to the end of its file, waits once for its client's
other connections. Over a loopback or a LAN it would have passed their places before they exist."""

_RECORDED = {"stopped": "done", "unproven": "cut"}
"""Outcomes that the history records under another name."""


class Sink(Protocol):
    """Where bytes go and come from: plain (`sending.PlainSink`) or through TLS (`tls.TlsSink`).

    Raises `BlockingIOError` when it has to wait, and `OSError` when the connection is broken. What is written has to be
    offered again after a `BlockingIOError`, from the same byte on.
    """

    queue: SendQueue
    wire: TcpProbe
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

    def watch_writable(self, on: bool) -> None:
        """Call `transfer.writable()` whenever the socket takes more, or stop that."""
        ...

    def hold_partial_segments(self, on: bool) -> None:
        """Hold back what fills no segment, since more follows at once; or send it now, since nothing follows for a while."""
        ...

    def transfer_written(self, transfer: Transfer) -> None:
        """The last byte is with the kernel."""
        ...

    def transfer_acknowledged(self, transfer: Transfer) -> None:
        """The client's TCP has acknowledged the last byte (an FTP 226 may go out)."""
        ...

    def transfer_ended(self, transfer: Transfer, outcome: str) -> None:
        """No more events. The connection has to be reset (`sending.reset`) unless `outcome` is `done`, `stopped` (the client has
        ended it in order where another segment begins) or `unproven` (`forgo` was called).
        """
        ...


class Transfer:
    """Sends `parts` over `carrier` under `grant`. Make it with `Engine.start`."""

    __slots__ = (
        "_at", "_blocked", "_carrier", "_chunk_end", "_credited", "_detached", "_engine", "_file", "_gentle", "_literal",
        "_looked", "_mark", "_marked", "_nudged", "_pieces", "_queued", "_sections", "_sent_files", "_waiting", "_warmed",
        "_written", "bytes_per_s", "client", "credit", "grant", "item", "length", "moved_at", "outcome", "path", "peer",
        "protocol", "ready", "started_at",
    )  # fmt: skip

    def __init__(
        self, engine: Engine, carrier: Carrier, grant: OpenGrant, parts: Sequence[BodyPart], *,
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
        """Does it want a turn? False while its socket is full, a file is being opened, at a line, or all is written."""
        self.bytes_per_s = 0.0
        self._mark, self._marked = 0, now
        sections: list[Section] = []
        precise = self._precise(paced=0 < grant.customer.tier.rate <= PACED_RATE)
        self.length = 0
        for part in parts:
            if isinstance(part, bytes):
                self.length += len(part)
            elif part.end > part.start:
                sections.append(Section(grant, engine.evidence, engine.new_segment(), part, self.length, now, precise=precise))
                self.length += part.end - part.start
        self._sections = tuple(sections)
        self._pieces = iter(_pieces(parts[0])) if len(parts) == 1 else chain.from_iterable(map(_pieces, parts))
        self.credit = Credit(carrier.sink.wire.written, self.length, truthful=TRUTHFUL)
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
        self._gentle = len(parts) == 1 and self.length > GENTLE_FROM and self.end == sections[0].resource.size
        """Is it to wait once for segments that may begin further on?"""
        self._nudged = False
        """Has it sent a little beyond the line where it stands?"""
        self._detached = False
        """Nobody wants what lies behind the next line."""

    @property
    def start(self) -> int:
        """First byte of the resource that this transfer asked for."""
        return self._sections[0].segment.start if self._sections else 0

    @property
    def end(self) -> int:
        """The byte behind the last one, or where its client ended it in order."""
        return self._sections[-1].segment.end if self._sections else 0

    @property
    def whole(self) -> bool:
        """Does it send a resource from its first byte to its last?"""
        return len(self._sections) == 1 and not self.start and self.end == self._sections[0].resource.size

    @property
    def delivered(self) -> int:
        """Bytes of the stream that are credited by this transfer's own acknowledgements."""
        return self.credit.credited

    def begin(self) -> None:
        """Called once by the engine."""
        self._carrier.sink.queue.widen(self.length)
        if rate := self.grant.customer.tier.rate:
            self._carrier.sink.queue.expect_rate(rate)
        if not self.length:
            self._finished_writing()
        else:
            self._want_turn()

    # -- sending

    def send(self, budget: int) -> int:
        """Send up to `budget` bytes now; return how many went."""
        if not self._may_send:
            self.ready = self._queued = False
            return 0
        line = self._line()
        if line is not None:
            if line <= self._written:
                self._stop()
                return 0
            budget = min(budget, line - self._written)
        sink, sent, pieces = self._carrier.sink, 0, 0
        wire = sink.wire
        for section in self._sections:
            section.offer(self._written + max(budget, wire.ahead))
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
                elif pieces < PIECES and self._next_piece():
                    pieces += 1
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
        self._sent(sent, line)
        self._queued = self.ready and self.grant.customer.paced
        return sent

    def writable(self) -> None:
        """The socket takes more."""
        if not self._may_send:
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
        if self._may_send and not self._blocked:
            self._want_turn()

    @property
    def _may_send(self) -> bool:
        return self.outcome is None and not self._waiting and self.credit.phase is Phase.SENDING

    def _want_turn(self) -> None:
        if not self._may_send:
            return  # it was detached while it waited; a watched socket would wake the loop for ever
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
                return self._spoil()
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
        self._spoil()

    def _sent(self, count: int, line: int | None) -> None:
        if self.outcome is not None:
            return
        for section in self._sections:
            section.wrote(self._written, self._carrier.sink.wire.ahead)
        step = PACED_CHUNK if self.credit.judge_pace(self.grant.customer.tier.rate, count) else FAST_STEP
        if self._written == self.length:
            self._finished_writing()
        elif line is not None and self._written >= line:
            self._stop()
        elif self._written - self._looked >= step:
            self._looked = self._written
            self.look(time.monotonic())

    def _finished_writing(self) -> None:
        self.ready = False
        self._carrier.watch_writable(False)
        self.credit.written()
        self._engine.settle(self)
        self._carrier.transfer_written(self)

    # -- lines

    def _line(self) -> int | None:
        """The byte of the stream where it has to stop next; None when it runs to its end."""
        if len(self._sections) != 1 or self._carrier.sink.owing:
            return None
        section = self._sections[0]
        line = section.segment.line
        stop = None if line >= section.segment.end else section.stream + line - section.segment.start
        if self._gentle and not self.grant.customer.paced and (stop is None or stop > GENTLE_AFTER):
            return GENTLE_AFTER
        return stop

    def _stop(self) -> None:
        """Nothing more is sent for now: the client may have all that it wanted, or others may come for the rest."""
        self.ready = self._queued = False
        self._carrier.watch_writable(False)
        self._carrier.hold_partial_segments(False)
        if self._gentle and not self._detached and self._written >= GENTLE_AFTER and not self.grant.customer.paced:
            self._gentle = False
            self._waiting = True
            return self._engine.wait_for_newcomers(self.peer, self._come)
        self._hear(lambda _now, _look: self.credit.stop_at(self._written), time.monotonic())
        if self.outcome is None:
            self._engine.settle(self)

    def _go_on(self) -> None:
        """The client has had its chance to end at the line: send a little more, and after another while the rest.

        A client that knows where to end, but only looks when a byte beyond it arrives (lftp's first chunk), ends then.
        """
        if self._detached:
            return self.cut()
        section = self._sections[0]
        if self._nudged:
            self.credit.read_before_line(self._carrier.sink.wire.look(), self._written - NUDGE)
        self.credit.go_on()
        if self._nudged:
            self.grant.reconciler(section.resource).passed(section.segment, section.segment.sent)
        else:
            section.segment.line = section.segment.sent + NUDGE
        self._nudged = not self._nudged
        self._come()

    def _come(self) -> None:
        """What was waited for has come, or nothing has."""
        self._waiting = False
        if self.outcome is None:
            self._carrier.hold_partial_segments(True)
            self._want_turn()

    def detach(self) -> None:
        """The client has given up what it has asked for; what it has read of it, it may still show."""
        self._detached = True
        if self.outcome is None and self.credit.phase is Phase.SENDING and not self._carrier.sink.owing:
            self._stop()

    # -- what the client says

    def look(self, now: float) -> None:
        """Ask the kernel how far the client is, and credit what that shows."""
        self._hear(self.credit.progress, now)
        if self.credit.phase is Phase.AT_LINE and self.outcome is None and self.credit.stood(now) >= PATIENCE:
            self._go_on()

    def fin(self) -> None:
        """The client has ended its side of the connection in order."""
        self._hear(self.credit.fin, time.monotonic())

    def next_request(self) -> None:
        """The client has sent another request on this connection, when this one's last byte had been acknowledged."""
        self._hear(self.credit.next_request, time.monotonic())

    def cut(self, outcome: str = "cut") -> None:
        """The connection is broken, or about to be closed by us. Call it before the socket is closed."""
        if self.outcome is not None:
            return
        if not self._sent_files.unchanged(self._written):
            return self._spoil(outcome)
        look: TcpSnapshot | None = None
        try:
            look = self._carrier.sink.wire.look()
        except OSError:
            self.credit.sent = self._written
        self.credit.cut(look)
        now = time.monotonic()
        if not self._moved(now):
            return
        for section in self._sections:
            section.ended(self.credit, now)
        self._end(outcome)

    def forgo(self) -> None:
        """Everything is acknowledged; wait no longer for proof that it was read."""
        self.cut("unproven")

    def abort(self, outcome: str) -> None:
        """End it from our side, by reset: `revoked`, `stalled` or `error`."""
        self.cut(outcome)

    def _hear(self, event: Callable[[float, TcpSnapshot], object], now: float) -> None:
        """Have the credit judge an event, and pass on what has become of it."""
        if self.outcome is not None:
            return
        before = self.credit.phase
        event(now, self._carrier.sink.wire.look())
        phase = self.credit.phase
        if not self._moved(now):
            return
        if before is Phase.AWAITING_ACK and phase in (Phase.AWAITING_READ, Phase.CREDITED):
            self._carrier.transfer_acknowledged(self)
        if phase is Phase.CREDITED:
            self._end("done" if self.credit.line is None else "stopped")

    def _moved(self, now: float) -> bool:
        """Pass on what the last look has shown. False when a file had changed by then, and that was the end."""
        credit = self.credit
        if not self._sent_files.unchanged(credit.credited):
            self._spoil()
            return False
        self._credited = credit.credited
        if now - self._marked >= 1.0:
            self.bytes_per_s = (credit.acknowledged - self._mark) / (now - self._marked)
            self._mark, self._marked = credit.acknowledged, now
            if credit.phase is Phase.SENDING:
                self._carrier.sink.queue.expect_rate(self.bytes_per_s)
        precise = self._precise(paced=credit.paced)
        for section in self._sections:
            if section.moved(credit, now, precise=precise):
                self.moved_at = now
        return True

    def _precise(self, *, paced: bool) -> bool:
        """Does the client's window tell precisely what is unread?"""
        return paced and (not self._carrier.sink.wire.encrypted or self.grant.customer.tier.rate <= PRECISE_TLS_RATE)

    def _spoil(self, outcome: str = "error") -> None:
        """A file is not what was being sent any more. What was not credited before that was found out never is."""
        self.credit.retract(self._credited)
        for section in self._sections:
            section.ended(self.credit, time.monotonic())
        self._end(outcome)

    def _end(self, outcome: str) -> None:
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

    def record(self) -> TransferRecord:
        """What the history keeps of it."""
        outcome = self.outcome or "running"
        return TransferRecord(
            grant=self.grant.id, item=self.item, path=self.path, protocol=self.protocol, peer=self.peer, client=self.client,
            start=self.start, end=self.end, delivered=self.delivered, started_at=self.started_at, ended_at=time.time(),
            outcome=_RECORDED.get(outcome, outcome),
        )  # fmt: skip


def _pieces(part: BodyPart) -> Iterable[Piece]:
    if isinstance(part, bytes):
        return (part,) if part else ()
    return part.resource.pieces(part.start, part.end)
