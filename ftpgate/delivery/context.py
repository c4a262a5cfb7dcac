"""What the fronts share: one loop, one engine, one cache of grants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ftpgate.access.grant_cache import GrantCache
from ftpgate.delivery.engine import Engine
from ftpgate.delivery.journal_writer import JournalWriter
from ftpgate.delivery.ledger import LedgerWriter
from ftpgate.net.handshake import Handshakes
from ftpgate.net.loop_lag import LoopLag
from ftpgate.net.passive_ports import PassivePorts
from ftpgate.net.places import Places
from ftpgate.net.work_queue import WorkQueue
from ftpgate.settings import Settings
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
    tls: Handshakes | None = None
    """Where TLS connections come from; None when none is spoken."""
    confinement: Confinement | None = None
    """What the process can use of the file system; None when nobody has looked."""
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
    lag: LoopLag = field(default_factory=LoopLag)
    """How late the loop wakes up."""
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

    def link(self, protocol: str) -> str | None:
        """`H:P` of a protocol as customers should use it, or None when it does not listen."""
        address = self.addresses.get(protocol)
        if address is None or self.settings.public_host is None:
            return address
        host = self.settings.public_host
        return f"{f'[{host}]' if ':' in host else host}:{address.rpartition(':')[2]}"
