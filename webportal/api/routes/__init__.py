"""The operations, by what they are about."""

from __future__ import annotations

from typing import Any

from webportal.api.problems import ProblemDocument

_ALWAYS = frozenset({400, 401, 403, 411, 413, 415, 429, 500, 503})


def answers(status: int, schema: Any, *others: int) -> dict[Any, Any]:
    """An operation's answers: the good one, and the problems that it may tell besides those that every one may."""
    return {status: schema, _ALWAYS | {422, *others}: ProblemDocument}
