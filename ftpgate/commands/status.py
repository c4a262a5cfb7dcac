"""Asking every running gate (`ftpgate status`), and ending connections there."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from ftpgate.net.asking import ask
from ftpgate.settings import parse_address

_log = logging.getLogger(__name__)

_SECONDS = 3.0
"""That a gate has to answer in: one that is stopped or far away must not hold up the others."""
_AT_ONCE = 16
"""Gates that are asked at the same time."""


def status(gates: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`{"gates": […], "transfers": […], "silent": […]}` of gates as `Shop.running_gates` tells of them.

    Those that answer are told of as they do, with `host`, `state` and `heartbeat_age_s` as the shop has them; those that do
    not, or have no `admin` address for this machine, are `silent`: what the shop knows of them. Without such it is left out.
    """
    # Workers share an address, and each answers for all. At that of a gate that is gone another one may answer by now, and tell
    # of itself a second time.
    known = {gate["id"] for gate in gates}
    answers = _ask(gates, "GET", "/status")
    answering = [answer for answer in answers if any(gate["id"] in known for gate in _gates_of(answer))]
    found = {gate["id"]: gate for answer in answering for gate in _gates_of(answer)}
    document: dict[str, Any] = {
        "gates": [{**_listed(gate), **found[gate["id"]]} for gate in gates if gate["id"] in found],
        "transfers": [transfer for answer in answering for transfer in answer["transfers"]],
    }
    if silent := [gate for gate in gates if gate["id"] not in found]:
        hidden = ("admin", "ftps", "https", "advertised")
        document["silent"] = [{key: value for key, value in gate.items() if key not in hidden} for gate in silent]
    return document


def _listed(gate: dict[str, Any]) -> dict[str, Any]:
    return {key: gate[key] for key in ("host", "state", "heartbeat_age_s") if key in gate}


def end(gates: Sequence[dict[str, Any]], permit: str) -> int:
    """End the connections that a signed link for it names, at all gates; returns how many transfers that were."""
    return sum(answer["ended"] for answer in _ask(gates, "POST", f"/end/{quote(permit, safe='')}"))


def _gates_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """A gate of an earlier version tells of itself alone."""
    return document["gates"] if "gates" in document else [document["gate"]]


def _ask(gates: Sequence[dict[str, Any]], method: str, path: str) -> list[dict[str, Any]]:
    """What is answered at their addresses, each asked once."""
    addresses = list(dict.fromkeys(gate["admin"] for gate in gates if gate["admin"]))
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return [answer for answer in threads.map(lambda address: _ask_one(address, method, path), addresses) if answer]


def _ask_one(address: str, method: str, path: str) -> dict[str, Any] | None:
    """A gate's answer; None when there is none, or it refuses."""
    answer = ask(parse_address(address), method, path, seconds=_SECONDS)
    if answer is None or answer.status != 200:
        return None
    try:
        document: dict[str, Any] = json.loads(answer.body)
    except ValueError as error:
        _log.debug("the gate at %s answers no JSON: %s", address, error)
        return None
    return document
