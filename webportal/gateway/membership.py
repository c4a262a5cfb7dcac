"""Which gates run: each tells every three seconds, and hears of the others.

**Gone** is who was not heard of for `GONE_AFTER` seconds, by the database's clock, so that no two machines have to agree on the
time. A gate on this very machine is gone as soon as its process has ended. Nothing else tells that a gate has ended: another
one at its address has not taken its place, because a gate that restarts drains there while the next one serves.

**Evidence of a gate that is gone** is handed to the others (`webportal.gateway.segments`). A gate that was only away (its
machine was suspended, its way to the database broken) comes back and still holds that evidence. What it proves by its own
connections was true all along, and recording it twice changes nothing, because coverage is a set. What it could prove by other
transfers is another matter: its clients may have gone on at other gates meanwhile, and where they began there it has not
seen. So `Heartbeat.away` tells it that it was counted as gone; then it asks anew for all grants that it holds and gives up those
that nobody uses (`GrantCache.returned`), and whoever judges evidence over several gates has to read the others' starts before
it proves anything by a transfer that began after the silence.
"""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from ftpgate.grants import GONE_AFTER, GateAddress, GateLoad, GateState, Heartbeat, OtherGate
from webportal.core import clock
from webportal.core.processes import identity
from webportal.grants.models import Gate


def enter(gate: GateAddress) -> None:
    """Enter a gate that has started, or that the list has lost; and write down which ones on this machine have ended."""
    with transaction.atomic():
        now = clock.now()
        _write_down_ended(now)
        Gate.objects.update_or_create(
            public_id=gate.id,
            defaults={
                "host": socket.gethostname(),
                "pid": gate.pid,
                "process": identity(gate.pid),
                "started_at": max(now, datetime.fromtimestamp(gate.started_at, UTC)),
                "stopped_at": None,
                "state": GateState.RUNNING.value,
                "heartbeat_at": Now(),
                "ftp": gate.ftp,
                "http": gate.http,
                "ftps": gate.ftps or "",
                "https": gate.https or "",
                "admin": gate.admin,
                "advertised": dict(gate.advertised),
            },
        )


def beat(gate: GateAddress, state: GateState, load: GateLoad) -> Heartbeat:
    """As `Bridge.heartbeat`."""
    known = Gate.objects.with_silence().filter(stopped_at=None)
    rows = list(known.filter(Q(public_id=gate.id) | Q(heartbeat_at__gt=Now() - timedelta(seconds=GONE_AFTER))))
    before = next((row for row in rows if row.public_id == gate.id), None)
    if before is None:
        enter(gate)
    Gate.objects.filter(public_id=gate.id, stopped_at=None).update(heartbeat_at=Now(), state=state.value, **load._asdict())
    away = 0.0 if before is None or before.silent_for <= GONE_AFTER else before.silent_for
    clock.now()
    others = tuple(_other(row) for row in rows if row.public_id != gate.id and not row.has_ended)
    return Heartbeat(others, away, clock.database_time())


def leave(gate: str) -> None:
    """A gate has stopped in order."""
    Gate.objects.filter(public_id=gate, stopped_at=None).update(stopped_at=clock.now(), state=GateState.STOPPED.value)


def _write_down_ended(now: datetime) -> None:
    """Rows of gates whose processes have ended on this machine, for the pages of staff: they count as gone anyway."""
    here = Gate.objects.filter(stopped_at=None, host=socket.gethostname()).exclude(process="")
    ended = [row.pk for row in here.only("pk", "pid", "process") if row.has_ended]
    if ended:
        Gate.objects.filter(pk__in=ended).update(stopped_at=now, state=GateState.STOPPED.value)


def _other(row: Gate) -> OtherGate:
    address = GateAddress(
        id=row.public_id,
        pid=row.pid,
        started_at=row.started_at.timestamp(),
        ftp=row.ftp,
        http=row.http,
        admin=row.admin,
        ftps=row.ftps or None,
        https=row.https or None,
        advertised=row.advertised,
    )
    load = GateLoad(row.connections, row.transfers, row.bytes_per_s, row.busy)
    return OtherGate(address, row.host, GateState(row.state), load)
