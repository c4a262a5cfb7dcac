"""Segments that gates leave without proof, and which ones a bridge hands on."""

from __future__ import annotations

from typing import Any

from ftpgate.grants import Bridge
from ftpgate.proof.segments import Evidence
from ftpgate.tokens import Token


def evidence(name: str, grant: str, resource: str = "f1", **fields: Any) -> Evidence:
    """A segment that sent bytes 100 to 400 of which 100 to 200 were credited; other values by name."""
    known: dict[str, Any] = {
        "start": 100, "end": 1_000, "sent": 400, "acknowledged": 390, "shown": 380, "hidden_bytes": 50, "credited": 200,
        "paced": True, "unconfirmed": {1: ((200, 400),)},
    }  # fmt: skip
    return Evidence(id=name, grant=grant, resource=resource, **(known | fields))


def handed_on(bridge: Bridge, token: Token) -> list[str]:
    found = bridge.look_up(token)
    assert found is not None
    return [segment.id for segment in found.segments]
