"""Where what happens to a grant is written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ftpgate.grants import GrantStatus, TransferRecord
from ftpgate.proof.coverage import Span
from ftpgate.proof.segments import Evidence


class GrantListener(Protocol):
    """Who holds open grants, and hears on the loop what the database or ended gates know of them."""

    def changed(self, statuses: Sequence[GrantStatus]) -> None:
        """The state of these grants changed by what was written."""
        ...

    def recover(self, name: str) -> None:
        """Transfers of this grant ran when their gate ended: open it, with what `Ledger.recovered` tells.

        Called again and again until `Ledger.segment` or `settled` was called for each of them, or `forget` for the grant.
        """
        ...


class Ledger(Protocol):
    """Takes what is to reach the database; never waits. `ftpgate.delivery.ledger.LedgerWriter` is it."""

    def credit(self, grant: str, file: int, start: int, end: int) -> None:
        """Bytes `[start, end)` of a file were delivered under a grant."""
        ...

    def used(self, token: bytes) -> None:
        """A token, by its digest, has let a client in: not worth a transaction of its own."""
        ...

    def flush_soon(self) -> None:
        """An item seems complete: do not wait for the next round."""
        ...

    def segment(self, evidence: Evidence) -> None:
        """A segment has ended without proof of all that it sent, or less of it is unconfirmed than before."""
        ...

    def settled(self, segment: str) -> None:
        """Nothing is unconfirmed any more of the segment with this id."""
        ...

    def recovered(self, grant: str) -> tuple[Mapping[int, Sequence[Span]], Sequence[Evidence]]:
        """What ended gates left of a grant: coverage by `File.id`, and segments without proof."""
        ...

    def forget(self, grant: str) -> None:
        """There is no such grant any more."""
        ...

    def report_to(self, listener: GrantListener) -> None:
        """Tell `listener`, from now on."""
        ...

    def transfer(self, record: TransferRecord) -> None:
        """A transfer has ended."""
        ...
