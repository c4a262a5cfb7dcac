"""The admin listener: what this gate does just now, whether it is well, and figures for Prometheus. Never for customers.

With several workers the one that is asked answers for all. Whoever can
reach it may look. What changes something, `POST /end/PASS`, takes a signed link of the portal's as well.
"""

from __future__ import annotations

import hmac
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar
from urllib.parse import quote

from ftpgate.delivery.context import DeliveryContext
from ftpgate.delivery.transfer import Transfer
from ftpgate.errors import GateError, MethodNotAllowed, NotFound, Unavailable
from ftpgate.http.messages import TEXT, Request, Response, body_response, compact_json, text_response
from ftpgate.http.metrics import CONTENT_TYPE, GateMetrics, written
from ftpgate.http.pages import JSON, NOT_STORED
from ftpgate.http.progress import stamp
from ftpgate.http.server_context import Responder
from ftpgate.http.siblings import Siblings, total
from ftpgate.signed_links import Purpose, connection_key

T = TypeVar("T")


class AdminRoutes:
    """The routes of the admin listener.

    Args:
        worker: the number of this one, where there are several.
        password: the first component of all paths; '' for none. What answers the other workers has one.
    """

    counted = False

    def __init__(self, gate: DeliveryContext, *, worker: int | None = None, password: str = "") -> None:
        self._gate = gate
        self._metrics = GateMetrics(gate, worker)
        self._password = password

    def handle(self, connection: Responder, request: Request) -> _Gathering | None:
        path = request.parts
        if self._password:
            if not hmac.compare_digest(path[0].encode(), self._password.encode()):
                raise NotFound()
            path = path[1:]
        if request.method == "POST" and len(path) == 2 and path[0] == "end":
            return self._end(connection, path[1])
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed()
        return self._answer(connection, path)

    def _answer(self, connection: Responder, path: tuple[str, ...]) -> _Gathering | None:
        connection.respond(self._response(path))
        return None

    def _response(self, path: tuple[str, ...]) -> Response:
        if path == ("status",):
            return text_response(JSON, _status(self._gate), [NOT_STORED])
        if path == ("health",):
            return _health(self._gate.health())
        if path == ("metrics",):
            return _metrics(self._metrics.text())
        raise NotFound("There is /status, /health and /metrics here.")

    def _end(self, connection: Responder, permit: str) -> _Gathering | None:
        """Cut what one client fetches of one grant; it may come back, as any other whose connection was cut."""
        key = self._gate.signed_links.read(Purpose.END, permit)
        found = [transfer for transfer in self._gate.engine.transfers if connection_key(_described(transfer)) == key]
        for transfer in found:
            transfer.cut()
        connection.respond(_ended(len(found)))
        return None


class GateRoutes(AdminRoutes):
    """The same for all workers of a gate together."""

    def __init__(self, gate: DeliveryContext, siblings: Siblings) -> None:
        super().__init__(gate)
        self._siblings = siblings

    def _answer(self, connection: Responder, path: tuple[str, ...]) -> _Gathering | None:
        siblings = self._siblings
        if path == ("status",) and not (siblings.alone and not siblings.leaving):
            return self._gather(connection, siblings.status, partial(body_response, 200, JSON, headers=[NOT_STORED]))
        if path == ("health",) and not siblings.alone:
            return self._gather(connection, siblings.health, _health)
        if path == ("metrics",) and not siblings.alone:
            return self._gather(connection, partial(siblings.metrics, written), _metrics)
        return super()._answer(connection, path)

    def _end(self, connection: Responder, permit: str) -> _Gathering | None:
        self._gate.signed_links.read(Purpose.END, permit)
        return self._gather(connection, partial(self._siblings.end, quote(permit, safe="")), _ended)

    def _gather(self, connection: Responder, ask: Callable[[], T], answer: Callable[[T], Response]) -> _Gathering:
        gathering = _Gathering()

        def done(found: T | None, error: GateError | None) -> None:
            if not gathering.gone and connection.serves(gathering):
                connection.go_on(gathering, partial(finish, found, error))

        def finish(found: T | None, error: GateError | None) -> None:
            if found is None:
                connection.fail(error or Unavailable())
            else:
                connection.respond(answer(found))

        self._siblings.executor.submit(ask, done)
        return gathering


class _Gathering:
    """A request while the workers are asked."""

    gone = False

    def closed(self) -> None:
        self.gone = True


def _health(wrong: str) -> Response:
    return body_response(503 if wrong else 200, TEXT, f"{wrong or 'ok'}\n".encode(), [NOT_STORED])


def _metrics(text: bytes) -> Response:
    return body_response(200, CONTENT_TYPE, text, [NOT_STORED])


def _ended(transfers: int) -> Response:
    return body_response(200, JSON, f"{compact_json({'ended': transfers})}\n".encode(), [NOT_STORED])


def _status(gate: DeliveryContext) -> Iterator[str]:
    """The running transfers and the gate as JSON. Thousands of transfers are looked at one by one while it is sent."""
    yield '{"transfers":['
    running, rate = 0, 0.0
    for transfer in sorted(gate.engine.transfers, key=lambda transfer: transfer.started_at):
        transfer.look(time.monotonic())
        if transfer.outcome is not None:
            continue  # it has ended since
        yield f"{',' if running else ''}{compact_json(_described(transfer))}"
        running += 1
        rate += transfer.bytes_per_s
    figures = {
        "id": gate.id,
        "started_at": stamp(gate.started_at),
        "ftp": gate.addresses.get("ftp"),
        "http": gate.addresses.get("http"),
        "connections": gate.connections,
        "transfers": running,
        "bytes_per_s": round(rate),
        "rss_bytes": resident_bytes(),
        "loop_lag_ms": gate.loop_lag_ms,
        "gates": None if gate.membership is None else gate.membership.gates,
        "push": None if gate.push is None else gate.push.state,
        "clock": gate.grant_cache.clock.wrong() or None,
        "journal": _journal(gate),
        "leases": _leases(gate),
        "confinement": None if gate.confinement is None else gate.confinement._asdict(),
    }
    yield f'],"gates":[{compact_json(figures)}],"total":{compact_json(total([figures]))}}}\n'


def _leases(gate: DeliveryContext) -> dict[str, object] | None:
    """Whether rates and connections are shared with other gates, and of how many customers."""
    leases = gate.leases
    return (
        None if leases is None else {"store": leases.store.name, "up": leases.up, "shared": leases.shared, "alone": leases.alone}
    )


def _journal(gate: DeliveryContext) -> dict[str, object] | None:
    """What waits for the database, and stands in the journal meanwhile; `since` is that of the oldest."""
    journal, since = gate.journal, gate.ledger.waiting_since
    if journal is None:
        return None
    return {
        "rows": journal.rows,
        "bytes": journal.bytes,
        "since": None if since is None else stamp(since),
        "problem": journal.health() or None,
    }


def _described(transfer: Transfer) -> dict[str, object]:
    return {
        "grant": transfer.grant.id, "user": transfer.grant.status.user, "item": transfer.info.item, "path": transfer.info.path,
        "protocol": transfer.info.protocol, "peer": transfer.info.peer, "start": transfer.start, "end": transfer.end,
        "delivered": transfer.credit.credited, "bytes_per_s": round(transfer.bytes_per_s),
    }  # fmt: skip


def resident_bytes() -> int:
    """The memory of this process; where the system does not tell, its peak."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
