"""How a customer's rate and connections are shared between his gates. Pure: time is passed in.

**Rate.** Shares go by hungry connections: those that would take more than they get. Reports are late, lost, and about a time
that is over, so shares alone are 14 % wrong. Hence the account: what was really sent, less what the rate allowed. A debt makes
the pool that is shared out smaller, a credit makes it larger.

**Connections.** A gate never gets more than what the others do not hold. What it does not use is divided evenly between
the gates; each gives back the rest by its next report. A gate is taken to hold what its report says (`bound`) or what it was
answered, whichever is more: the answer may have been lost.

`lease_exchange` of PostgreSQL (a migration of `webportal.grants`) and `valkey.lua` are the same rules; one suite of tests
compares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from ftpgate.leases import LeaseAnswer, LeaseLeave, LeaseReport

TTL = 3.0
"""Seconds after which a gate that says nothing has ended: six signs of life."""
SAVED = 0.3
"""Seconds of the rate that may be made up for: what nobody took before is gone."""
OWED = 0.5
"""Seconds of the rate that are owed at the most: what was sent too much while the store was away is not paid back for long."""
REPAY = 2.0
"""Seconds in which a debt is repaid."""
LEAST, MOST = 0.25, 1.1
"""Parts of the rate that are shared out: at the least, with a large debt, and at the most."""
FLOOR = 0.1
"""The part of the pool that hungry gates get in any case, however much the others take."""
CALLED_FLOOR = 0.4
"""The same while another gate is called, which may take everything or nothing: what is too much is repaid, what is too little is
lost."""
EASE, EASE_RATE = 1.3, 0.03
"""What a gate without hungry connections may use more than it does: by a factor, or a part of the rate."""
PAID = 0.05
"""Seconds of the rate that a gate may owe and be alone all the same."""


class State(IntEnum):
    """Does a gate report a customer?"""

    REPORTS = 0
    ALONE = 1
    """It need not: nobody else serves him."""
    CALLED = 2
    """It should, and has not done so yet. It may use everything until it does."""


@dataclass(slots=True)
class Member:
    """What is known of one customer at one gate: see `LeaseReport`. `given` is its share, `seen` the time of its report."""

    sent: int
    use: int
    hungry: int
    used: int
    wanted: int
    bound: int
    given: float
    seen: float
    state: State

    def unheard(self, now: float) -> float:
        """Bytes that it is taken to have sent since its report."""
        waits = self.state is State.CALLED or self.hungry
        return (self.given if waits else min(self.use, self.given)) * max(now - self.seen, 0.0)

    def sent_since(self, sent: int, pace: float, now: float) -> float:
        """Bytes of a report that are new. Who was alone kept to the rate: only what came after the call counts, at its pace."""
        new = max(sent - self.sent, 0)
        return new if self.state is State.REPORTS else min(new, pace * max(now - self.seen, 0.0))


@dataclass(slots=True)
class Account:
    """One customer: his gates, and what they have sent over what the rate allowed, at the time `at`."""

    debt: float = 0.0
    at: float = 0.0
    members: dict[str, Member] = field(default_factory=dict)


def ended_gates(gates: Mapping[str, float], gate: str, now: float) -> list[str]:
    """Gates, with the times of their last calls, that are taken to have ended when `gate` calls; those that are not go on.

    Who could not be heard for a while does not judge others, since the store may have been away for all; see `excused`.
    """
    if excused(gates.get(gate), now):
        return []
    return [other for other, seen in gates.items() if other != gate and abs(now - seen) > TTL]


def excused(seen: float | None, now: float) -> bool:
    """Was the calling gate itself not heard of for a while? Then all gates count as heard of now."""
    return seen is not None and abs(now - seen) > TTL / 2


def leave(account: Account, gate: str, leaving: LeaseLeave, now: float) -> None:
    """A gate serves the customer no more. Not being one of his gates is fine."""
    member = account.members.pop(gate, None)
    if member is not None:
        account.debt += member.sent_since(leaving.sent, member.given, now)


def settle(account: Account, gate: str, report: LeaseReport, now: float) -> LeaseAnswer:
    """Take a report and answer it. Of `account.members` all have to be gates that run."""
    me = account.members.get(gate)
    others = [member for name, member in account.members.items() if name != gate]
    called = [member for member in others if member.state is State.ALONE]
    sent = 0.0 if me is None else me.sent_since(report.sent, report.use, now)
    debt = account.debt + sent - report.rate * max(now - account.at, 0.0)
    if called or (me is None and not others):
        debt = 0.0  # one gate has kept to the rate until now, or none has sent
    for member in called:
        member.state, member.seen = State.CALLED, now
    unheard = sum(member.unheard(now) for member in others)
    known = min(max(debt + unheard, -SAVED * report.rate), OWED * report.rate)
    account.debt, account.at = known - unheard, now
    alone = not others and known <= PAID * report.rate
    rate = float(report.rate) if alone else _rate(report, others, known)
    connections = _connections(report, others)
    account.members[gate] = Member(
        sent=report.sent, use=report.use, hungry=report.hungry, used=report.used, wanted=report.wanted,
        bound=max(connections, report.bound), given=rate, seen=now, state=State.ALONE if alone else State.REPORTS,
    )  # fmt: skip
    awaited = any(member.state is State.CALLED for member in others)
    shown = max(int(rate), 1) if report.rate else 0
    return LeaseAnswer(report.customer, shown, connections, len(others) + 1, alone, awaited)


def _rate(report: LeaseReport, others: Sequence[Member], known: float) -> float:
    """This gate's share, with so much debt."""
    rate = report.rate
    pool = min(max(rate - known / REPAY, LEAST * rate), MOST * rate)
    if not others:
        return pool
    if not report.hungry:
        return min(max(EASE * report.use, report.use + EASE_RATE * rate), pool)
    weight, taken, floor = report.hungry, 0.0, FLOOR
    for member in others:
        if member.state is State.CALLED:
            taken, floor = taken + member.given, CALLED_FLOOR
        elif member.hungry:
            weight += member.hungry
        else:
            taken += member.use
    return max(pool - taken, floor * pool) * report.hungry / weight


def _connections(report: LeaseReport, others: Sequence[Member]) -> int:
    """Connections that this gate may use."""
    if not others:
        return report.places
    held = sum(member.bound for member in others)
    taken = sum(member.bound if member.state is State.CALLED else member.used + member.wanted for member in others)
    needed = report.used + report.wanted
    spare = max(report.places - taken - needed, 0)
    return max(report.used, min(needed + spare // (len(others) + 1), report.places - held))
