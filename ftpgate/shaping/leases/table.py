"""A store of leases in memory: what every other store is compared with. Pure: time is passed in."""

from __future__ import annotations

from collections.abc import Sequence

from ftpgate.leases import LeaseExchange, LeaseLeave, LeaseReport
from ftpgate.shaping.leases.rules import Account, State, ended_gates, excused, leave, settle


class LeaseTable:
    """All gates and the customers that they serve."""

    def __init__(self) -> None:
        self.gates: dict[str, float] = {}
        """When each gate last called."""
        self.accounts: dict[str, Account] = {}

    def exchange(
        self,
        now: float,
        gate: str,
        reports: Sequence[LeaseReport] = (),
        leaving: Sequence[LeaseLeave] = (),
        ended: Sequence[str] = (),
    ) -> LeaseExchange:
        """See `LeaseStore.exchange`."""
        self._drop(ended)
        if gate in ended:
            return LeaseExchange((), (), known=True)
        self._drop(ended_gates(self.gates, gate, now))
        seen = self.gates.get(gate)
        if excused(seen, now):
            self.gates = dict.fromkeys(self.gates, now)
        self.gates[gate] = now
        for each in leaving:
            if (account := self.accounts.get(each.customer)) is not None:
                leave(account, gate, each, now)
        answers = [settle(self.accounts.setdefault(report.customer, Account()), gate, report, now) for report in reports]
        self._forget_empty([each.customer for each in leaving])
        called = [name for name, account in self.accounts.items() if _state(account, gate) is State.CALLED]
        return LeaseExchange(answers, called, seen is not None)

    def _drop(self, gates: Sequence[str]) -> None:
        for gate in gates:
            self.gates.pop(gate, None)
            for account in self.accounts.values():
                account.members.pop(gate, None)
        if gates:
            self._forget_empty(list(self.accounts))

    def _forget_empty(self, customers: Sequence[str]) -> None:
        for customer in customers:
            if customer in self.accounts and not self.accounts[customer].members:
                del self.accounts[customer]


def _state(account: Account, gate: str) -> State | None:
    member = account.members.get(gate)
    return None if member is None else member.state
