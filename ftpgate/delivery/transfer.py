"""One transfer: an FTP `RETR` or the body of one HTTP response, from its first byte to the last word on its delivery.

What its client has shown moves as `proof.credit.MOVES` says, what it waits for itself as `waiting.MOVES` does. Every end goes
through `_end`, once: it gives back the descriptor, the turn and the places in the lists, and tells the carrier.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from ftpgate.access.open_grant import OpenGrant
from ftpgate.delivery.body import BodyReader
from ftpgate.delivery.files import FileStore
from ftpgate.delivery.sections import BodyPart, EvidenceTable, Stream
from ftpgate.delivery.speed import Speed
from ftpgate.delivery.stop_lines import LINE_TIMEOUT, NUDGE, StopLines
from ftpgate.delivery.waiting import MOVES, SENDS, Wait
from ftpgate.errors import ChangedFile
from ftpgate.grants import TransferInfo, TransferRecord
from ftpgate.moves import check_move
from ftpgate.net.sockets import Sink
from ftpgate.net.tcp_info import TRUTHFUL
from ftpgate.net.tls import LAST_RECORD
from ftpgate.proof.credit import PACED_CHUNK, PACED_RATE, Credit, Phase
from ftpgate.proof.window import TcpSnapshot
from ftpgate.shaping.customer import Customer

FAST_STEP = 4 * 1024 * 1024
"""Bytes between two looks at a fast connection; the margin there is 8 MiB."""
PRECISE_TLS_RATE = 10_000_000
"""Bytes a second up to which the window of a TLS client tells precisely what is unread. Measured: off by 58 kB at 2 and 5 MB/s,
by 227 kB at 20 MB/s."""

_RECORDED = {"stopped": "done", "unproven": "cut"}
"""Outcomes that the history records under another name."""


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
        """No more events. The connection has to be reset (`net.sockets.reset`) unless `outcome` is `done`, `stopped` (the client
        has ended it in order where another segment begins) or `unproven`.
        """
        ...


class Transfers(Protocol):
    """All transfers of a gate, as each of them knows them: `engine.Engine`."""

    files: FileStore
    evidence: EvidenceTable
    chunk: int
    """Bytes per turn of an unlimited transfer."""

    def new_segment(self) -> str:
        """An id for a segment that begins."""
        ...

    def settle(self, transfer: Transfer) -> None:
        """`transfer` stands at a line, or is written: watch for its acknowledgement."""
        ...

    def wait_for_others(self, peer: str, grant: OpenGrant, come: Callable[[], None]) -> None:
        """Call `come` after a short while, and not before connections of a client at `peer` that are on their way have come, or
        before it is known what other gates had begun under `grant` by now."""
        ...

    def ended(self, transfer: Transfer) -> None:
        """`transfer` has its outcome."""
        ...


class Transfer:
    """Sends `parts` over `carrier` under `grant`. Make it with `Engine.start`."""

    __slots__ = (
        "_body", "_carrier", "_credited", "_engine", "_lines", "_looked", "_speed", "_wait", "credit", "grant", "info",
        "length", "moved_at", "outcome", "started_at", "stream",
    )  # fmt: skip

    def __init__(
        self, engine: Transfers, carrier: Carrier, grant: OpenGrant, parts: Sequence[BodyPart], info: TransferInfo
    ) -> None:
        now = time.monotonic()
        self._engine = engine
        self._carrier = carrier
        self.grant = grant
        self.info = info
        self.started_at = time.time()
        self.moved_at = now
        self.outcome: str | None = None
        self._wait = Wait.ROOM
        self._speed = Speed(now)
        precise = _precise(carrier.sink, grant.customer, paced=0 < grant.customer.tier.rate <= PACED_RATE)
        self.stream = Stream(grant, engine.evidence, engine.new_segment, parts, now, precise=precise)
        self.length = self.stream.length
        """Bytes of the whole stream."""
        self._lines = StopLines(self.stream.only, self.length)
        self._body = BodyReader(engine.files, parts, self.length, ready=self._loaded, failed=lambda: self.cut("error"))
        self.credit = Credit(carrier.sink.wire.written, self.length, truthful=TRUTHFUL)
        self._looked = 0
        """Bytes of the stream that were written at the last look."""
        self._credited = 0
        """Bytes of the stream that were passed on as delivered."""

    @property
    def start(self) -> int:
        """First byte of the resource that this transfer asked for."""
        return self.stream.start

    @property
    def end(self) -> int:
        """The byte behind the last one, or where its client ended it in order."""
        return self.stream.end

    @property
    def position(self) -> int:
        """The byte of the resource that the client's TCP has acknowledged up to; of several ranges, as if they were one."""
        return min(self.start + self.credit.acknowledged, self.end)

    @property
    def bytes_per_s(self) -> float:
        return self._speed.bytes_per_s

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

    @property
    def ready(self) -> bool:
        """Does it want another turn of its customer?"""
        return self._wait is Wait.TURN

    def send(self, budget: int) -> int:
        """Send up to `budget` bytes now; return how many went."""
        if self._wait not in SENDS:
            return 0
        body, wire = self._body, self._carrier.sink.wire
        line = None if self._carrier.sink.owing else self._lines.ahead(paced=self.grant.customer.paced)
        if line is not None:
            if line <= body.written:
                self._stop()
                return 0
            budget = min(budget, line - body.written)
        self.stream.offer(body.written + max(budget, wire.ahead))
        sent = 0
        body.begin_turn()
        try:
            while sent < budget and (count := body.send(self._carrier.sink, self._at_once(budget - sent, line))):
                sent += count
                wire.written += count
        except BlockingIOError:
            self._wait_for(Wait.ROOM)
        except ChangedFile:
            self.cut("error")
            return sent
        except OSError:
            self.cut()
            return sent
        if body.loading:
            self._wait_for(Wait.DISK)
        self._sent(sent, line)
        return sent

    def _at_once(self, budget: int, line: int | None) -> int:
        """Of what may be sent, the bytes to be handed over in one call; see `tls.LAST_RECORD`."""
        left = (self.length if line is None else line) - self._body.written
        return min(budget, left - LAST_RECORD) if left > LAST_RECORD and self._carrier.sink.wire.encrypted else budget

    def writable(self) -> None:
        """The socket takes more."""
        if self._wait is not Wait.ROOM:
            return
        if self.grant.customer.paced:
            self._want_turn()
        else:
            self.send(self._engine.chunk)

    def pace_changed(self) -> None:
        """The customer got a rate, or lost it; nobody is left in his run queue."""
        if self._wait is Wait.TURN:
            self._wait_for(Wait.ROOM)

    def _wait_for(self, what: Wait) -> None:
        """The one place where it is decided what has to happen before it goes on."""
        self._wait = check_move(MOVES, self._wait, what)
        self._carrier.watch_writable(what is Wait.ROOM)

    def _want_turn(self) -> None:
        if not self.grant.customer.paced:
            self._wait_for(Wait.ROOM)
        elif self._wait is not Wait.TURN:
            self._wait_for(Wait.TURN)
            self.grant.customer.queue(self)

    def _loaded(self) -> None:
        if self._wait is Wait.DISK:  # else the client has given up what was fetched
            self._want_turn()

    def _sent(self, count: int, line: int | None) -> None:
        if self.outcome is not None:
            return
        written = self._body.written
        self.stream.wrote(written, self._carrier.sink.wire.ahead)
        step = PACED_CHUNK if self.credit.judge_pace(self.grant.customer.tier.rate, count) else FAST_STEP
        if written == self.length:
            self._finished_writing()
        elif line is not None and written >= line:
            self._stop()
        elif written - self._looked >= step:
            self._looked = written
            self.look(time.monotonic())

    def _finished_writing(self) -> None:
        self._wait_for(Wait.CLIENT)
        self.credit.written()
        self._engine.settle(self)
        self._carrier.transfer_written(self)

    # -- lines

    def _stop(self) -> None:
        """Nothing more is sent for now: the client may have all that it wanted, or others may come for the rest."""
        self._carrier.hold_partial_segments(False)
        if self._lines.waits_for_others(self._body.written, paced=self.grant.customer.paced):
            self._wait_for(Wait.OTHERS)
            return self._engine.wait_for_others(self.info.peer, self.grant, self._others_are_here)
        self._wait_for(Wait.CLIENT)
        self._hear(lambda _now, _look: self.credit.stop_at(self._body.written), time.monotonic())
        if self.outcome is None:
            self._engine.settle(self)

    def _others_are_here(self) -> None:
        if self._wait is Wait.OTHERS:
            self._run_on()

    def _go_on(self) -> None:
        """The client has had its chance to end at the line."""
        if self._lines.detached:
            return self.cut()
        if self._lines.nudged:
            self.credit.read_before_line(self._carrier.sink.wire.look(), self._body.written - NUDGE)
        self.credit.go_on()
        self._lines.go_on(self.grant)
        self._run_on()

    def _run_on(self) -> None:
        self._carrier.hold_partial_segments(True)
        self._want_turn()

    def detach(self) -> None:
        """The client has given up what it has asked for; what it has read of it, it may still show."""
        self._lines.detached = True
        if self.outcome is None and self.credit.phase is Phase.SENDING and not self._carrier.sink.owing:
            self._stop()

    # -- what the client says

    def look(self, now: float) -> None:
        """Ask the kernel how far the client is, and credit what that shows."""
        self._hear(self.credit.progress, now)
        if self.credit.phase is Phase.AT_LINE and self.outcome is None and self.credit.stood(now) >= LINE_TIMEOUT:
            self._go_on()

    def fin(self) -> None:
        """The client has ended its side of the connection in order."""
        self._hear(self.credit.fin, time.monotonic())

    def next_request(self) -> None:
        """The client has sent another request on this connection, when this one's last byte had been acknowledged."""
        self._hear(self.credit.next_request, time.monotonic())

    def cut(self, outcome: str = "cut") -> None:
        """The connection is broken, or about to be closed by us. Call it before the socket is closed.

        Args:
            outcome: `revoked`, `stalled` or `error` when we end it by reset; `unproven` when everything is acknowledged and no
                proof is waited for any longer.
        """
        if self.outcome is not None:
            return
        if not self._body.unchanged(self._body.written):
            return self._spoil(outcome)
        look: TcpSnapshot | None = None
        try:
            look = self._carrier.sink.wire.look()
        except OSError:
            self.credit.sent = self._body.written
        self.credit.cut(look)
        now = time.monotonic()
        if not self._moved(now):
            return
        self.stream.ended(self.credit, now)
        self._end(outcome)

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
        if not self._body.unchanged(credit.credited):
            self._spoil()
            return False
        self._credited = credit.credited
        if self._speed.measure(credit.acknowledged, now) and credit.phase is Phase.SENDING:
            self._carrier.sink.queue.expect_rate(self.bytes_per_s)
        precise = _precise(self._carrier.sink, self.grant.customer, paced=credit.paced)
        if self.stream.moved(credit, now, precise=precise):
            self.moved_at = now
        return True

    def _spoil(self, outcome: str = "error") -> None:
        """A file is not what was being sent any more. What was not credited before that was found out never is."""
        self.credit.retract(self._credited)
        self.stream.ended(self.credit, time.monotonic())
        self._end(outcome)

    def _end(self, outcome: str) -> None:
        self.outcome = outcome
        self._wait = Wait.NOTHING
        self._body.close()
        self.grant.customer.leave(self)
        self._engine.ended(self)
        self._carrier.transfer_ended(self, outcome)

    def record(self) -> TransferRecord:
        """What the history keeps of it."""
        outcome = self.outcome or "running"
        return TransferRecord(
            self.grant.id, *self.info, start=self.start, end=self.end, delivered=self.credit.credited,
            started_at=self.started_at, ended_at=time.time(), outcome=_RECORDED.get(outcome, outcome),
        )  # fmt: skip


def _precise(sink: Sink, customer: Customer, *, paced: bool) -> bool:
    """Does the client's window tell precisely what is unread?"""
    return paced and (not sink.wire.encrypted or customer.tier.rate <= PRECISE_TLS_RATE)
