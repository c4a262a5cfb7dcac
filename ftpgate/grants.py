"""The shop as the gate sees it: grants, items, files, tiers, and the `Bridge` to whatever keeps them.

The gate knows no Django. Everything that needs the shop's database goes through a `Bridge`, which the module named by
`FTPGATE_BRIDGE` makes (`make_bridge`); `webportal.bridge` is ours, another shop may bring its own. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol

from ftpgate.gates import Heard, Told
from ftpgate.notices import Changes
from ftpgate.proof.coverage import Span
from ftpgate.proof.segments import Evidence
from ftpgate.tokens import Token


class GrantState(StrEnum):
    OPEN = "open"
    COMPLETE = "complete"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Tier:
    """A category of users. `rate` is bytes a second over all of a customer's connections, 0 for no limit."""

    name: str
    rate: int
    connections: int


@dataclass(frozen=True, slots=True)
class File:
    """One file of an item, as it was at import.

    `path` is what the customer sees, relative to the item's folder, with `/` between its parts. `media` is where the
    bytes lie, relative to the media root. `sha256` has 32 bytes. `mtime_ns` and `ctime_ns` are the disk's own stamps at
    import, `inode` the lower 63 bits of its number; None is not known, and not compared.
    """

    id: int
    path: str
    media: str
    size: int
    mtime_ns: int
    sha256: bytes
    crc32: int
    ctime_ns: int | None = None
    inode: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """An album: its files in order. `folder` is its name without ` (2)`; `ftpgate.naming` makes it unique in a grant."""

    id: str
    title: str
    artist: str
    year: int | None
    folder: str
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class GrantStatus:
    """What of a grant can change while it is being downloaded; asked anew every second for grants in use."""

    id: str
    state: GrantState
    expires_at: float
    completed_at: float | None
    user: str
    tier: Tier
    live_tokens: frozenset[bytes]
    """`Token.digest()` of the tokens that still open this grant."""
    revision: int = 0
    """Another one as soon as files of the grant have other time stamps than before: a gate that holds it looks it up anew."""
    as_of: float | None = field(default=None, compare=False)
    """When this was read, by the database's clock, which the gate compares with its own; None where that is this machine's."""

    def opens(self, now: float, grace: float) -> bool:
        """May new transfers start? `complete` keeps serving for `grace` seconds; expiry counts at once."""
        if self.state is GrantState.COMPLETE:
            return self.completed_at is not None and now < self.completed_at + grace
        return self.state is GrantState.OPEN and now < self.expires_at

    def expired(self, now: float) -> bool:
        """Is it dead for now, but may be renewed?"""
        return self.state is GrantState.EXPIRED or (self.state is GrantState.OPEN and now >= self.expires_at)


@dataclass(frozen=True, slots=True)
class Grant:
    """The right of one user to fetch the items of one cart, with what has been recorded of it so far."""

    status: GrantStatus
    issued_at: float
    items: tuple[Item, ...]
    covered: Mapping[int, Sequence[Span]] = field(default_factory=dict)
    """Recorded coverage by `File.id`; a file without coverage is left out."""
    segments: Sequence[Evidence] = ()
    """Segments that ended without proof, oldest first: those of gates that have stopped, and of the one that asks."""

    @property
    def id(self) -> str:
        return self.status.id


@dataclass(frozen=True, slots=True)
class Delivered:
    """Ranges of one file that one grant's client has taken. Merged in the database; repeats are harmless."""

    grant: str
    file: int
    spans: tuple[Span, ...]


class TransferInfo(NamedTuple):
    """What a transfer is, for the records.

    Attributes:
        item: the item's id.
        path: the resource's path in the grant.
        protocol: `ftp`, `ftps`, `http` or `https`.
        peer: the client's address.
        client: what the client calls itself.
    """

    item: str
    path: str
    protocol: str
    peer: str
    client: str = ""


@dataclass(frozen=True, slots=True)
class TransferRecord:
    """One ended transfer, for history and receipts. `start` and `end` are bytes of `path`; `delivered` its credited bytes.

    `outcome` is one of `done`, `cut`, `stalled`, `revoked`, `error`. `client` is the User-Agent (HTTP) or the argument of
    CLNT (FTP), at most 200 characters, empty when unknown.
    """

    grant: str
    item: str
    path: str
    protocol: str
    peer: str
    client: str
    start: int
    end: int
    delivered: int
    started_at: float
    ended_at: float
    outcome: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What the ledger writes in one transaction."""

    delivered: tuple[Delivered, ...] = ()
    segments: tuple[Evidence, ...] = ()
    """Segments that ended without proof, new or changed; each replaces what was recorded under its id."""
    settled: tuple[str, ...] = ()
    """Ids of segments of which nothing is unconfirmed any more."""
    transfers: tuple[TransferRecord, ...] = ()
    uses: Mapping[bytes, float] = field(default_factory=dict)
    """When tokens, by `Token.digest()`, last let a client in; Unix time."""


@dataclass(frozen=True, slots=True)
class GateAddress:
    """How a gate is reached: `H:P` each; `admin` answers `/status`, `/metrics` and `/health`."""

    id: str
    pid: int
    started_at: float
    ftp: str
    http: str
    admin: str
    ftps: str | None = None
    https: str | None = None
    advertised: Mapping[str, str] = field(default_factory=dict)
    """Where its operator says that it is reached (`FTPGATE_ADVERTISE`), by protocol, in the place of the above."""

    @property
    def listening(self) -> Mapping[str, str]:
        """Where clients are awaited, by protocol."""
        found = {"ftp": self.ftp, "http": self.http, "ftps": self.ftps, "https": self.https}
        return {protocol: where for protocol, where in found.items() if where}


class GateState(StrEnum):
    """What a gate does. One of which nothing was heard for `GONE_AFTER` is gone, whatever it did."""

    RUNNING = "running"
    DRAINING = "draining"
    """It lets transfers finish and takes no new clients."""
    STOPPED = "stopped"


GONE_AFTER = 15.0
"""Seconds by the database's clock without a heartbeat, after which a gate does not count any more. Five heartbeats."""


class GateLoad(NamedTuple):
    """How much a gate has to do.

    Attributes:
        connections: of clients, idle ones too.
        transfers: that run.
        bytes_per_s: of all of them.
        busy: it should get fewer new customers than others (`ftpgate.placement`).
    """

    connections: int = 0
    transfers: int = 0
    bytes_per_s: int = 0
    busy: bool = False


@dataclass(frozen=True, slots=True)
class OtherGate:
    """A gate that runs or drains, as the others hear of it."""

    address: GateAddress
    host: str
    state: GateState
    load: GateLoad


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a gate hears when it tells that it runs."""

    others: tuple[OtherGate, ...] = ()
    """All others that run or drain."""
    away: float = 0.0
    """Seconds for which nothing had been heard of this gate, if it had counted as gone by then; else 0."""
    as_of: float | None = None
    """As `GrantStatus.as_of`."""


class BridgePaths(NamedTuple):
    """What a bridge opens beyond what every gate may: the state folder, that of a SQLite database, Python and the system.

    Each path stands for what is beneath it too. What is not there when the gate starts is left out.
    """

    read: Sequence[Path] = ()
    write: Sequence[Path] = ()
    """To read as well."""


class Bridge(Protocol):
    """The gate's only way to the shop.

    Every method may block and is called off the loop, from one of at most four threads; each thread may hold one
    database connection of its own. A database that does not answer raises `errors.Unavailable`, after the broken
    connection was given back; the caller tries again.
    """

    def look_up(self, token: Token) -> Grant | None:
        """The grant whose token this is or once was; None when there never was such a token.

        Takes the same time whether the grant id exists or not. Whether the token still opens anything is said by
        `GrantStatus.live_tokens` and `GrantStatus.opens`.
        """
        ...

    def look_up_grant(self, grant: str) -> Grant | None:
        """The grant with this id, for somebody who looks on with a signed link of the portal instead of a token."""
        ...

    def refresh(self, grants: Sequence[str]) -> Sequence[GrantStatus]:
        """The present status of these grants; one that is gone is left out."""
        ...

    def record(self, gate: str, batch: Batch) -> Sequence[GrantStatus]:
        """Merge coverage, complete what is whole exactly once (completion, history, cart: one transaction), log transfers
        and the uses of tokens.

        Returns the statuses of the grants whose state changed. All or nothing: after an error nothing was written.
        """
        ...

    def exchange(self, told: Told) -> Heard | None:
        """Tell the other gates of this shop what this one does, and hear what they have told since; see `ftpgate.gates`.

        None: this shop has one gate only. It is then not called again.
        """
        ...

    def report_changed(self, files: Mapping[int, str]) -> None:
        """Tell staff that files (by id, with the reason) are not as imported and are refused. Repeats are harmless."""
        ...

    def gate_started(self, gate: GateAddress) -> None:
        """Enter the gate in the list of running ones. Others may be at the same address: workers of one parent, and those that
        let their clients finish after a reload."""
        ...

    def heartbeat(self, gate: GateAddress, state: GateState, load: GateLoad) -> Heartbeat:
        """Tell that the gate runs, or drains, and how much it does; called every three seconds once it has started.

        A gate counts as gone when this was not called for `GONE_AFTER` seconds, by the database's clock, and runs again from
        the next call on. A list that has lost the gate enters it again.
        """
        ...

    def gate_stopped(self, gate: str) -> None: ...

    def wait_for_changes(self, timeout: float) -> Changes | None:
        """Wait for notices to this gate or to all, at most so many seconds; what has come since the last call, or nothing.

        Called from a thread of its own, which may hold a fourth database connection. The first call, and one after a
        connection that broke, tells `everything`. None: this shop cannot push, and is polled every second. Whoever pushes
        answers each heartbeat with a notice `PING` to the gate that has sent it: as long as those arrive, polls are rare.
        """
        ...

    def release(self) -> None:
        """Give the calling thread's database connection back."""
        ...
