"""What the fronts share: one loop, one engine, one cache of grants."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ftpgate.access.grant_cache import GrantCache
from ftpgate.access.membership import Membership
from ftpgate.access.push import Push
from ftpgate.delivery.engine import Engine
from ftpgate.delivery.journal_writer import JournalWriter
from ftpgate.delivery.ledger import LedgerWriter
from ftpgate.endpoints import client_addresses
from ftpgate.grants import GateLoad, OtherGate
from ftpgate.net.handshake import Handshakes
from ftpgate.net.loop_lag import LoopLag
from ftpgate.net.passive_ports import PassivePorts
from ftpgate.net.places import Places
from ftpgate.net.work_queue import WorkQueue
from ftpgate.placement import Busy, Place
from ftpgate.settings import Settings
from ftpgate.shaping.leases.keeper import LeaseKeeper
from ftpgate.signed_links import SignedLinks

if TYPE_CHECKING:
    from pyftpdlib.ioloop import IOLoop


class Confinement(NamedTuple):
    """Whether the process can still use all files that its user can.

    Attributes:
        landlock: the version of Landlock by which it cannot; None when it can.
        problem: why it can, or what it still can; '' when all is as it should be.
        absent: the kernel offers no Landlock, so that this is as it has to be.
    """

    landlock: int | None
    problem: str = ""
    absent: bool = False


@dataclass(slots=True)
class DeliveryContext:
    """What the fronts of a running gate share. All of it lives on the loop's thread."""

    id: str
    settings: Settings
    loop: IOLoop
    engine: Engine
    grant_cache: GrantCache
    ledger: LedgerWriter
    work: WorkQueue
    """What the fronts do for clients, a bounded part of it in each turn of the loop."""
    started_at: float
    """Unix time."""
    most_connections: int
    """Client sockets that the limit of open files leaves room for."""
    journal: JournalWriter | None = None
    """Where what the database has not confirmed is kept; None when it is not."""
    membership: Membership | None = None
    """The other gates; None when nobody asks for them."""
    push: Push | None = None
    """What the shop tells of by itself; None when nobody listens."""
    tls: Handshakes | None = None
    """Where TLS connections come from; None when none is spoken."""
    confinement: Confinement | None = None
    """What the process can use of the file system; None when nobody has looked."""
    leases: LeaseKeeper | None = None
    """What is shared with other gates; None where nothing is."""
    addresses: dict[str, str] = field(default_factory=dict)
    """Where it listens: `ftp`, `http`, `ftps`, `https`, `admin` to `H:P`; filled once the ports are bound."""
    connections: int = 0
    """Open client connections: FTP sessions and HTTP connections, idle ones too."""
    sessions: int = 0
    """The FTP sessions among them."""
    draining: bool = False
    """No new clients: the process is about to end."""
    succeeded: bool = False
    """Another process takes new clients in its place: while this one drains, those who are connected may ask for more."""
    busy: Busy = field(default_factory=Busy)
    """Should it get fewer new customers than other gates?"""
    lag: LoopLag = field(default_factory=LoopLag)
    """How late the loop wakes up."""
    _acknowledged: tuple[float, int] = field(default_factory=lambda: (time.monotonic(), 0))
    """When it was asked last what clients had acknowledged, and how much that was."""
    places: Places = field(init=False)
    """What of `most_connections` each address has."""
    passive_ports: PassivePorts = field(init=False)
    """Where data connections of FTP are awaited."""
    signed_links: SignedLinks = field(init=False)
    """Reads what the portal has allowed."""

    def __post_init__(self) -> None:
        self.signed_links = SignedLinks(self.settings)
        self.places = Places(self.most_connections)
        self.passive_ports = PassivePorts(self.settings.passive_ports)

    @property
    def tls_required(self) -> bool:
        """Is nothing to be handed out in the clear?"""
        return self.settings.tls == "require"

    @property
    def refusing(self) -> bool:
        """Is whoever asks for a file sent away, because the process is about to end?"""
        return self.draining and not self.succeeded

    @property
    def loop_lag_ms(self) -> float:
        """The largest of the last ten seconds."""
        return round(self.lag.worst * 1000, 3)

    def health(self) -> str:
        """What is wrong with this gate, in one line; '' when nothing is."""
        if self.draining:
            return "stopping"
        if self.ledger.failing_since is not None or self.ledger.stalled:
            return "the database does not answer"
        if wrong := self.grant_cache.clock.wrong():
            return f"the clock cannot be trusted and nothing expires: {wrong}"
        return self.journal.health() if self.journal is not None else ""

    def load(self, others: Sequence[OtherGate]) -> GateLoad:
        """How much this gate does, which has these others beside it."""
        transfers = len(self.engine.transfers)
        busy = self.busy.judge(transfers, [other.load.transfers for other in others], self.connections, self.most_connections)
        return GateLoad(self.connections, transfers, self._rate(), busy)

    def _rate(self) -> int:
        """Bytes a second that clients have acknowledged since this was asked last."""
        now, before = time.monotonic(), self._acknowledged
        running = sum(transfer.credit.acknowledged for transfer in self.engine.transfers)
        self._acknowledged = now, self.engine.delivered + running
        seconds = now - before[0]
        return max(round((self._acknowledged[1] - before[1]) / seconds), 0) if seconds > 0 else 0

    def link(self, protocol: str) -> str | None:
        """`H:P` of a protocol as customers should use it, or None when it does not listen."""
        address = self.addresses.get(protocol)
        if address is None:
            return None
        return self.client_addresses.get(protocol, address)

    @property
    def client_addresses(self) -> dict[str, str]:
        """Where clients find this gate, by protocol, as far as that can be told from here."""
        return client_addresses(self.addresses, self.settings.advertise, self.settings.public_host)

    @property
    def place(self) -> Place:
        """Where this gate stands among those that customers are spread over."""
        return Place(self.client_addresses, self.busy.busy)
