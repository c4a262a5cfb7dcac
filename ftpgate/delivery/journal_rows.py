"""What rows of the journal hold, to and from JSON.

Rows come to SQLite as one JSON text for each statement, because `executemany` takes and gives back the GIL for every row. One
costs 3 to 5 µs under the GIL, with all that `Backlog` does for it, and about as much outside.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, Final

from ftpgate.grants import TransferRecord
from ftpgate.proof.coverage import SpanSet
from ftpgate.proof.segments import Evidence

CREDIT: Final = "credit"
"""Key `GRANT/FILE`; ranges of the file that were delivered."""
TRANSFER: Final = "transfer"
"""Key `GATE/NUMBER` with the gate that it ran on, under which it is recorded; a `TransferRecord`."""
USE: Final = "use"
"""Key: the digest of a token; when it was last used."""
SEGMENT: Final = "segment"
"""Key: `Evidence.id`; the `Evidence`, or null when it is settled."""
LEFT: Final = "left"
"""Key: `Evidence.id`; the `Evidence` of a transfer that ran when its gate ended, as nobody has judged it yet."""

AT_ONCE = 500
"""Rows in a statement: making their JSON text holds the GIL for about a millisecond."""
to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_EVIDENCE = tuple(each.name for each in fields(Evidence))
_evidence_values = attrgetter(*_EVIDENCE)
_record_values = attrgetter(*(each.name for each in fields(TransferRecord)))
"""`dataclasses.astuple` copies every value, which makes a row five times as dear."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows to write (kind, key, and what the kind's comment says) and to delete (kind, key)."""

    put: Sequence[tuple[str, str, Any]] = ()
    drop: Sequence[tuple[str, str]] = ()


@dataclass(slots=True)
class Recovered:
    """What gates that have ended left. It stands in the journal under this gate's own id already."""

    credits: dict[tuple[str, int], SpanSet] = field(default_factory=dict)
    """By grant and `File.id`."""
    transfers: dict[str, TransferRecord] = field(default_factory=dict)
    """By their keys."""
    uses: dict[bytes, float] = field(default_factory=dict)
    segments: dict[str, Evidence | None] = field(default_factory=dict)
    """By id; None: it is settled."""
    left: dict[str, Evidence] = field(default_factory=dict)
    """By id."""
    gates: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.gates)

    def update(self, gate: str, others: Recovered) -> None:
        """Add what one gate left."""
        self.gates.append(gate)
        self.transfers |= others.transfers
        self.uses |= others.uses
        self.segments |= others.segments
        self.left |= others.left
        for key, spans in others.credits.items():
            self.credits.setdefault(key, SpanSet()).update(spans)

    def add(self, kind: str, key: str, value: Any) -> None:
        """Raises ValueError, TypeError, KeyError or AttributeError when `value` is not what a row of that kind holds."""
        if kind == CREDIT:
            grant, _, file = key.rpartition("/")
            spans = SpanSet((int(start), int(end)) for start, end in value)
            self.credits.setdefault((grant, int(file)), SpanSet()).update(spans)
        elif kind == TRANSFER:
            self.transfers[key] = _transfer(value)
        elif kind == USE:
            self.uses[bytes.fromhex(key)] = float(value)
        elif kind == SEGMENT:
            self.segments[key] = None if value is None else _evidence(value)
        elif kind == LEFT:
            self.left[key] = _evidence(value)
        else:
            raise ValueError(f"no kind of row: {kind}")


def _transfer(value: Sequence[Any]) -> TransferRecord:
    """Of a row, type by type: what the database refuses would keep everything else from being recorded, again and again."""
    grant, item, path, protocol, peer, client, start, end, delivered, started_at, ended_at, outcome = value
    return TransferRecord(
        str(grant), str(item), str(path), str(protocol), str(peer), str(client), int(start), int(end), int(delivered),
        float(started_at), float(ended_at), str(outcome),
    )  # fmt: skip


def _evidence(value: Mapping[str, Any]) -> Evidence:
    """Of a row, in the same way. What a later version writes beside what this one knows is left out.

    Gates before 0.2.0 wrote `hidden_bytes` as `concealed`.
    """
    unconfirmed = {
        int(file): tuple((int(start), int(end)) for start, end in spans) for file, spans in value["unconfirmed"].items()
    }
    hidden_bytes = value["hidden_bytes"] if "hidden_bytes" in value else value["concealed"]
    return Evidence(
        id=str(value["id"]), grant=str(value["grant"]), resource=str(value["resource"]), start=int(value["start"]),
        end=int(value["end"]), sent=int(value["sent"]), acknowledged=int(value["acknowledged"]), shown=int(value["shown"]),
        hidden_bytes=int(hidden_bytes), credited=int(value["credited"]), paced=bool(value["paced"]),
        exact=bool(value["exact"]), unconfirmed=unconfirmed,
    )  # fmt: skip


def encode(kind: str, value: Any) -> str:
    if isinstance(value, TransferRecord):
        value = _record_values(value)
    elif isinstance(value, Evidence):
        value = dict(zip(_EVIDENCE, _evidence_values(value), strict=True))
        value["unconfirmed"] = {str(file): tuple(spans) for file, spans in value["unconfirmed"].items()}
    elif kind == CREDIT:
        value = tuple(value)
    return to_json(value)


def parts(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[at : at + AT_ONCE] for at in range(0, len(rows), AT_ONCE))
