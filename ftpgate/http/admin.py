"""The admin listener: what this gate does just now, whether it is well, and figures for Prometheus. Never for customers.

Whoever can reach it may look. What changes something, `POST /end/PASS`, takes a signed link of the portal's as well.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator

from ftpgate.delivery.context import DeliveryContext
from ftpgate.delivery.transfer import Transfer
from ftpgate.errors import MethodNotAllowed, NotFound
from ftpgate.http.messages import TEXT, Request, Response, body_response, compact_json, text_response
from ftpgate.http.metrics import CONTENT_TYPE, GateMetrics
from ftpgate.http.pages import JSON, NOT_STORED
from ftpgate.http.progress import stamp
from ftpgate.http.server_context import Responder
from ftpgate.signed_links import Purpose, connection_key


class AdminRoutes:
    """The routes of the admin listener."""

    counted = False

    def __init__(self, gate: DeliveryContext) -> None:
        self._gate = gate
        self._metrics = GateMetrics(gate)

    def handle(self, connection: Responder, request: Request) -> None:
        if request.method == "POST" and len(request.parts) == 2 and request.parts[0] == "end":
            return connection.respond(self._end(self._gate.signed_links.read(Purpose.END, request.parts[1])))
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed()
        connection.respond(self._response(request.parts))

    def _response(self, path: tuple[str, ...]) -> Response:
        if path == ("status",):
            return text_response(JSON, _status(self._gate), [NOT_STORED])
        if path == ("health",):
            wrong = self._gate.health()
            return body_response(503 if wrong else 200, TEXT, f"{wrong or 'ok'}\n".encode(), [NOT_STORED])
        if path == ("metrics",):
            return body_response(200, CONTENT_TYPE, self._metrics.text(), [NOT_STORED])
        raise NotFound("There is /status, /health and /metrics here.")

    def _end(self, key: str) -> Response:
        """Cut what one client fetches of one grant; it may come back, as any other whose connection was cut."""
        found = [transfer for transfer in self._gate.engine.transfers if connection_key(_described(transfer)) == key]
        for transfer in found:
            transfer.cut()
        return body_response(200, JSON, f"{compact_json({'ended': len(found)})}\n".encode(), [NOT_STORED])


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
        "confinement": None if gate.confinement is None else gate.confinement._asdict(),
    }
    yield f'],"gate":{compact_json(figures)}}}\n'


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
