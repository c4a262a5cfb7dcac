"""Gates that tell of themselves and deliver nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import gethostname

import pytest
from django.core.cache import cache
from django.utils import timezone

from webportal.grants.models import Gate


class TellingGate(ThreadingHTTPServer):
    """Something that answers `/status` as a gate does, with `document`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.document: dict = {}


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(self.server.document).encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def gate() -> Iterator[TellingGate]:
    """A gate at work; what gates have told before is forgotten."""
    cache.clear()
    server = TellingGate()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
    cache.clear()


def enter(name: str, admin: str) -> None:
    """A row of a running gate whose `/status` is at `admin`."""
    now = timezone.now()
    Gate.objects.create(
        public_id=name, host=gethostname(), pid=1, started_at=now, heartbeat_at=now, ftp="h:1", http="h:2", admin=admin
    )
