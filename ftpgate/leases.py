"""What gates tell each other of a customer whom several of them serve: the words, and the protocol of the store between them.

A *lease* is what one gate may use of a customer's rate and connections. `shaping.leases` has the rules, the stores and the
keeper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable


class LeaseReport(NamedTuple):
    """How a gate serves one customer just now. The first report of a customer makes the gate one of his gates.

    Attributes:
        customer: the user's name.
        rate: the tier's, bytes a second; 0 for no limit.
        places: the tier's connections.
        sent: bytes sent since the gate's first report. Cumulative, so that a report that is lost costs nothing.
        use: bytes a second since the last report.
        hungry: connections that would take more than they are given.
        used: connections in use.
        wanted: clients that wait for a connection.
        bound: connections that the gate uses at the most until it is answered.
    """

    customer: str
    rate: int
    places: int
    sent: int
    use: int
    hungry: int
    used: int
    wanted: int
    bound: int


class LeaseLeave(NamedTuple):
    """A gate serves a customer no more; `sent` as in `LeaseReport`."""

    customer: str
    sent: int


class LeaseAnswer(NamedTuple):
    """What a gate may use of one customer's rate and connections from now on.

    Attributes:
        customer: the user's name.
        rate: bytes a second; 0 for no limit.
        connections: that it may use, those in use included.
        gates: that serve the customer, this one included.
        alone: the whole rate and all connections are this gate's: it need not report again before it is called.
        awaited: another gate has not reported since it was called: the next answer will be more exact.
    """

    customer: str
    rate: int
    connections: int
    gates: int
    alone: bool
    awaited: bool


class LeaseExchange(NamedTuple):
    """What a store answers.

    Attributes:
        answers: one for each report.
        called: customers who were this gate's alone and are no more: it has to report them.
        known: had the store heard of this gate lately? If not, it knows none of its other customers either.
    """

    answers: Sequence[LeaseAnswer]
    called: Sequence[str]
    known: bool


class LeaseStore(Protocol):
    """Where gates exchange reports; the time is the store's own. Called off the loop, from one thread.

    Every store answers as `shaping.leases.table.LeaseTable` does.
    """

    name: str
    """For the log and `status`: `postgresql`, `sqlite` or `valkey`."""

    def exchange(
        self, gate: str, reports: Sequence[LeaseReport] = (), leaving: Sequence[LeaseLeave] = (), ended: Sequence[str] = ()
    ) -> LeaseExchange:
        """Take what a gate has to tell, in one call; without reports it is its sign of life.

        Args:
            gate: the id of the gate that calls.
            reports: of different customers.
            leaving: customers that it serves no more; taken before the reports, and repeats are harmless.
            ended: ids of gates that are known to have ended; the calling one's when it is about to.

        Raises:
            errors.Unavailable: the store does not answer.
        """
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...


@runtime_checkable
class OffersLeases(Protocol):
    """A bridge whose database is a store of leases for gates on several machines. Bridges need not be one."""

    def lease_store(self) -> LeaseStore | None:
        """The store; None where the database is none, and gates of one machine share a file."""
        ...
