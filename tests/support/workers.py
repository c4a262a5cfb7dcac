"""Which worker of a gate has a client, and which processes there are."""

from __future__ import annotations

import itertools
import json
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psutil

from tests.support.site import Address, Site


def workers(site: Site) -> list[int]:
    """The processes that accept now, as the gate's file tells."""
    return list(_file(site)["workers"])


def reloads(site: Site) -> int:
    return int(_file(site)["reloads"])


def _file(site: Site) -> dict[str, Any]:
    [path] = (site.state_dir / "run").glob("*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def worker_of(sock: socket.socket, among: list[int]) -> int | None:
    """The process that has accepted this client's connection."""
    ours, theirs = sock.getsockname()[:2], sock.getpeername()[:2]
    for pid in among:
        for connection in psutil.Process(pid).net_connections("tcp"):
            if connection.laddr == theirs and connection.raddr == ours:
                return pid
    return None


def addresses_of(site: Site, pid: int) -> Iterator[str]:
    """Loopback addresses whose connections that worker takes."""
    assert site.gate is not None
    for number in itertools.count(2):
        with closing(connect(site.gate.ftp, f"127.0.0.{number}")) as sock:
            assert sock.recv(100).startswith(b"220")
            if worker_of(sock, workers(site)) == pid:
                yield f"127.0.0.{number}"


def connect(to: Address, source: str) -> socket.socket:
    return socket.create_connection(to, 20, (source, 0))


def admin(site: Site, path: str) -> str:
    """What the admin address answers."""
    assert site.gate is not None
    host, port = site.gate.admin
    with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=30) as answer:
        text: str = answer.read().decode()
    return text
