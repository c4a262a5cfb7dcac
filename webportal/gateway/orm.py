from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from django.db import connection as database
from django.db import transaction

from ftpgate import grants as gate_grants
from ftpgate.gates import Heard, Told
from ftpgate.grants import Batch, GateAddress, GateLoad, GateState, GrantStatus, Heartbeat
from ftpgate.leases import LeaseStore
from ftpgate.notices import Changes, Kind, Notice
from ftpgate.tokens import Token
from webportal.catalogue.services import report_changed
from webportal.core import clock, push
from webportal.gateway import connection, exchange, membership, recording, segments
from webportal.gateway.items import Items, Row
from webportal.gateway.leases import PostgresLeases
from webportal.gateway.prepared import Prepared
from webportal.gateway.push import Listener
from webportal.gateway.statuses import status_by_token, statuses
from webportal.grants.models import Coverage, Grant, GrantItem

_GRANT = Grant._meta.pk
_ITEM_FIELDS = ("item_id", "item__public_id", "item__title", "item__artist", "item__year", "item__folder", "item__revision")
_ITEMS = Prepared(
    _GRANT, lambda grant: GrantItem.objects.filter(grant_id=grant).order_by("position").values_list(*_ITEM_FIELDS), 0
)
_COVERAGE = Prepared(_GRANT, lambda grant: Coverage.objects.filter(grant_id=grant).values_list("file_id", "spans"), 0)


class OrmBridge:
    """`ftpgate.grants.Bridge` over Django's ORM."""

    def __init__(self) -> None:
        self._items = Items()
        self._gate = ""
        """The id of the gate that this is the bridge of, from its start to its end."""
        self._listener = Listener()

    def look_up(self, token: Token) -> gate_grants.Grant | None:
        with connection.database():
            # By the hash of the whole token, in one index: the grant id alone is never looked for.
            row = status_by_token(token.digest())
            if row is None:
                return None
            key, issued_at, status = row
            return self._grant(key, issued_at, status)

    def look_up_grant(self, grant: str) -> gate_grants.Grant | None:
        with connection.database():
            row = Grant.objects.filter(public_id=grant).values_list("pk", "issued_at").first()
            status = next(iter(statuses([grant])), None)
            return None if row is None or status is None else self._grant(*row, status)

    def _grant(self, key: int, issued_at: datetime, status: GrantStatus) -> gate_grants.Grant:
        rows = [Row(*row) for row in _ITEMS.rows(key)]
        return gate_grants.Grant(
            status=replace(status, revision=sum(row.revision for row in rows)),
            issued_at=issued_at.timestamp(),
            items=self._items.get(rows),
            covered={file: tuple((start, end) for start, end in spans) for file, spans in _COVERAGE.rows(key)},
            segments=segments.handed_on(key, self._gate),
        )

    def refresh(self, grants: Sequence[str]) -> Sequence[GrantStatus]:
        with connection.database():
            clock.now()  # asked with every round, so that gates see a clock that was set within a second
            return statuses(grants)

    def record(self, gate: str, batch: Batch) -> Sequence[GrantStatus]:
        with connection.database(), transaction.atomic():
            changed = recording.record(gate, batch, clock.now())
            return statuses(changed) if changed else []

    def exchange(self, told: Told) -> Heard:
        with connection.database():
            return exchange.exchange(told)

    def report_changed(self, files: Mapping[int, str]) -> None:
        with connection.database():
            report_changed(files)

    def gate_started(self, gate: GateAddress) -> None:
        self._gate = gate.id
        with connection.database():
            membership.enter(gate)

    def heartbeat(self, gate: GateAddress, state: GateState, load: GateLoad) -> Heartbeat:
        if gate.id != self._gate:
            return Heartbeat()  # it has stopped since
        with connection.database():
            heard = membership.beat(gate, state, load)
            if database.vendor == "postgresql":
                push.send_now(Notice(Kind.PING, gate.id, gate.id))
        return heard

    def gate_stopped(self, gate: str) -> None:
        self._gate = ""
        with connection.database():
            membership.leave(gate)

    def wait_for_changes(self, timeout: float) -> Changes | None:
        with connection.database():
            return self._listener.wait(self._gate, timeout)

    def lease_store(self) -> LeaseStore | None:
        """As `OffersLeases` says: gates on SQLite are on one machine."""
        return PostgresLeases() if database.vendor == "postgresql" else None

    def release(self) -> None:
        connection.release()
