"""Asking every running gate (`ftpgate status`), and ending connections there."""

from __future__ import annotations

import http.client
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from ftpgate.settings import parse_address

_log = logging.getLogger(__name__)

_SECONDS = 3.0
"""That a gate has to answer in: one that is stopped or far away must not hold up the others."""
_LARGEST = 64 << 20
"""Bytes of an answer that are read at the most."""
_AT_ONCE = 16
"""Gates that are asked at the same time."""


def status(gates: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`{"gates": […], "transfers": […], "silent": […]}` of gates as `Shop.running_gates` tells of them.

    Those that answer are told of as they do, with `host`, `state` and `heartbeat_age_s` as the shop has them; those that do
    not, or have no `admin` address for this machine, are `silent`: what the shop knows of them. Without such it is left out.
    """
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        asked = zip(gates, threads.map(lambda gate: _ask(gate, "GET", "/status"), gates), strict=True)
        # At the address of a gate that is gone another may answer by now, and tell of itself a second time.
        own = [(gate, answer if answer and answer.get("gate", {}).get("id") == gate["id"] else None) for gate, answer in asked]
    document: dict[str, Any] = {
        "gates": [{**_listed(gate), **answer["gate"]} for gate, answer in own if answer is not None],
        "transfers": [transfer for _, answer in own if answer is not None for transfer in answer["transfers"]],
    }
    if silent := [gate for gate, answer in own if answer is None]:
        hidden = ("admin", "ftps", "https", "advertised")
        document["silent"] = [{key: value for key, value in gate.items() if key not in hidden} for gate in silent]
    return document


def _listed(gate: dict[str, Any]) -> dict[str, Any]:
    return {key: gate[key] for key in ("host", "state", "heartbeat_age_s") if key in gate}


def end(gates: Sequence[dict[str, Any]], permit: str) -> int:
    """End the connections that a signed link for it names, at all gates; returns how many transfers that were."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        answers = threads.map(lambda gate: _ask(gate, "POST", f"/end/{quote(permit, safe='')}"), gates)
        return sum(answer["ended"] for answer in answers if answer is not None)


def _ask(gate: dict[str, Any], method: str, path: str) -> dict[str, Any] | None:
    """A gate's answer; None when there is none, or it refuses."""
    if not gate["admin"]:
        return None
    host, port = parse_address(gate["admin"])
    connection = http.client.HTTPConnection(host, port, timeout=_SECONDS)
    try:
        connection.request(method, path, headers={"Accept": "application/json", "Connection": "close"})
        answer = connection.getresponse()
        if answer.status != 200:
            return None
        document: dict[str, Any] = json.loads(answer.read(_LARGEST))
    except (OSError, http.client.HTTPException, ValueError) as error:
        _log.debug("gate %s does not answer: %s", gate["id"], error)
        return None
    finally:
        connection.close()
    return document
