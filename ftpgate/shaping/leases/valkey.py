"""Leases in Valkey, or Redis: one call of a script for each exchange."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from ftpgate.errors import Unavailable, UserError
from ftpgate.leases import LeaseAnswer, LeaseExchange, LeaseLeave, LeaseReport

if TYPE_CHECKING:
    from valkey import Valkey

_SECONDS = 1.0
"""That connecting and an answer may take: gates go on without one, and ask again."""
_PREFIX = "ftpgate:lease:"
_FIGURES = len(LeaseAnswer._fields) - 1


class ValkeyLeases:
    """`LeaseStore` over one server, Valkey or Redis 5 and newer; its time is the server's.

    Args:
        url: `valkey://host:port/db`, `valkeys://…` for TLS; `redis://` and `rediss://` are the same.
        clock: another time than the server's, for tests.

    Raises:
        UserError: the client library is not installed.
    """

    name = "valkey"

    def __init__(self, url: str, clock: Callable[[], float] | None = None) -> None:
        try:
            import valkey
        except ImportError:
            hint = "install it: .venv/bin/pip install 'valkey>=6,<7'"
            raise UserError("FTPGATE_LEASES needs the Python package valkey, which is not installed", hint) from None
        self._errors = (valkey.ValkeyError, OSError)
        # No second try of its own: the gate has to know that an answer was lost.
        self._client: Valkey = valkey.Valkey.from_url(
            url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS, decode_responses=True, single_connection_client=False
        )
        self._script = self._client.register_script(files(__package__).joinpath("valkey.lua").read_text(encoding="utf-8"))
        self._clock = clock

    def exchange(
        self, gate: str, reports: Sequence[LeaseReport] = (), leaving: Sequence[LeaseLeave] = (), ended: Sequence[str] = ()
    ) -> LeaseExchange:
        now = "" if self._clock is None else repr(self._clock())
        arguments: list[str | int] = [gate, now, len(reports), len(leaving), len(ended)]
        for rows in (reports, leaving):
            for row in rows:
                arguments += row
        try:
            known, number, *rest = self._script(keys=[_PREFIX], args=[*arguments, *ended])
        except self._errors as error:
            raise Unavailable from error
        return LeaseExchange(list(_answers(reports[:number], rest)), rest[number * _FIGURES :], bool(known))

    def close(self) -> None:
        self._client.close()  # type: ignore[no-untyped-call]


def _answers(reports: Sequence[LeaseReport], figures: Sequence[str | int]) -> Iterator[LeaseAnswer]:
    for at, report in enumerate(reports):
        rate, connections, gates, alone, awaited = map(int, figures[at * _FIGURES : (at + 1) * _FIGURES])
        yield LeaseAnswer(report.customer, rate, connections, gates, bool(alone), bool(awaited))
