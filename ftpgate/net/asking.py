"""Asking a gate at its admin address, with a bound on time and on what is read. Blocks: never on the loop."""

from __future__ import annotations

import http.client
import logging
from typing import NamedTuple

from ftpgate.settings import Address

_log = logging.getLogger(__name__)

_LARGEST = 64 << 20
"""Bytes of an answer that are read at the most."""


class Answer(NamedTuple):
    status: int
    body: bytes


def ask(address: Address, method: str, path: str, *, seconds: float) -> Answer | None:
    """What is answered there; None when nothing is.

    Args:
        address: one that means every interface stands for loopback.
        seconds: to connect, and again for each piece of the answer.
    """
    connection = http.client.HTTPConnection(*address.at_home, timeout=seconds)
    try:
        connection.request(method, path, headers={"Accept": "application/json", "Connection": "close"})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(_LARGEST))
    except (OSError, http.client.HTTPException) as error:
        _log.debug("nothing is answered at %s: %s", address, error)
        return None
    finally:
        connection.close()
