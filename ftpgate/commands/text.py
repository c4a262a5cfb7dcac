"""What commands print for people; the same documents as with `--json`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

Document = dict[str, Any]


def text(command: str, document: Document) -> str:
    """The lines for a command's document."""
    return "\n".join(_TEXTS[command](document))


def listed(names: Sequence[object], most: int = 5) -> str:
    """Names for a line: the first of them, and how many more there are."""
    return ", ".join(repr(str(name)) for name in names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _reload(document: Document) -> Iterator[str]:
    for gate in document["gates"]:
        workers = ", ".join(map(str, gate["workers"]))
        yield f"gate {gate['pid']}: new workers accept connections (process {workers})"


def _user_add(document: Document) -> Iterator[str]:
    yield f"user {document['user']} in the tier {document['tier']}"


def _tier_set(document: Document) -> Iterator[str]:
    rate = f"{size(document['rate'])}/s" if document["rate"] else "no rate limit"
    yield f"tier {document['tier']}: {rate}, {document['connections']} connections"


def _item_add(document: Document) -> Iterator[str]:
    yield f"item {document['id']}: {document['title']}"
    for file in document["files"]:
        yield f"  {size(file['bytes']):>9}  {file['path']}"
    for left in document["left_out"]:
        path = left["path"] if left["path"].isprintable() else repr(left["path"])
        yield f"   left out  {path}: {left['reason']}"


def _item_verify(document: Document) -> Iterator[str]:
    for item in document["items"]:
        yield f"item {item['id']}: {item['title']}: {item['files']} files, {_problems(len(item['problems']))}"
        for problem in item["problems"]:
            yield f"  {problem['path']} {problem['problem']}"
    if not document["items"]:
        yield "there are no items"


def _problems(count: int) -> str:
    return f"{count} not as imported" if count else "all as imported"


def _grant_issue(document: Document) -> Iterator[str]:
    yield f"grant    {document['grant']} until {document['expires_at']}"
    yield f"token    {document['token']}"
    for name, link in document["links"].items():
        yield f"{name:<8} {link}"


def _grant_show(document: Document) -> Iterator[str]:
    yield f"grant {document['grant']} of {document['user']}: {document['state']}"
    yield f"  issued {document['issued_at']}, expires {document['expires_at']}, complete {document['completed_at'] or 'not yet'}"
    for item in document["items"]:
        done = _complete(item) if item["complete"] else f"{size(item['delivered'])} of {size(item['bytes'])}"
        yield f"  {item['id']} {item['folder']}: {done}"
        for file in item["files"]:
            unconfirmed = _total(file["unconfirmed"])
            note = f" ({size(unconfirmed)} unconfirmed)" if unconfirmed else ""
            yield f"    {_percent(_total(file['covered']), file['bytes']):>4}  {file['path']}{note}"


def _complete(item: Document) -> str:
    return "complete, confirmed by the customer" if item["proof"] == "customer" else "complete"


def _total(ranges: Iterable[Sequence[int]]) -> int:
    return sum(end - start for start, end in ranges)


def _grant_state(document: Document) -> Iterator[str]:
    until = f" until {document['expires_at']}" if "expires_at" in document else ""
    yield f"grant {document['grant']} is {document['state']}{until}"


def _receipt_verify(document: Document) -> Iterator[str]:
    receipt = document["receipt"]
    item = receipt["item"]
    yield "the receipt is good: signed by this key, and no byte of it was changed"
    yield f"  key    {document['key']}"
    yield f"  item   {' - '.join(part for part in (item['artist'], item['title']) if part)}, {size(receipt['bytes'])}"
    yield f"  to     {receipt['user']['name']}, under the grant {receipt['grant']}"
    yield f"  whole  {receipt['completed_at']}"
    # Receipts of earlier versions name no proof: all that they tell of was delivered.
    yield f"  proof  {'confirmed by the customer' if receipt.get('proof') == 'customer' else 'delivery'}"


def _status(document: Document) -> Iterator[str]:
    for gate in document["gates"]:
        yield (
            f"gate {gate['id']}{_whereabouts(gate)} since {gate['started_at']}{_heard(gate)}: "
            f"FTP {gate['ftp']}, HTTP {gate['http']}, "
            f"{gate['connections']} connections, {gate['transfers']} transfers, {size(gate['bytes_per_s'])}/s, "
            f"{size(gate['rss_bytes'])} of memory, {gate['loop_lag_ms']} ms behind"
        )
        if wrong := gate.get("clock"):  # gates of earlier versions say nothing of it
            yield f"  its clock cannot be trusted and nothing expires: {wrong}"
        if gate.get("push") == "broken":
            yield "  BAD the database's push is broken: it asks for changes every second"
        yield from _confinement(gate.get("confinement") or {})
        yield from _journal(gate.get("journal") or {})
        yield from _leases(gate.get("leases") or {"up": True})
    for gate in document.get("silent", ()):
        yield f"gate {gate['id']}{_whereabouts(gate)} since {gate['started_at']}{_heard(gate)}: does not answer{_reported(gate)}"
    if not document["gates"]:
        yield "no gate answers"
    for transfer in document["transfers"]:
        yield (
            f"  {transfer['grant']} {transfer['user']} {transfer['protocol']} {transfer['peer']} {transfer['path']} "
            f"{transfer['start']}-{transfer['end']}: {size(transfer['delivered'])}, {size(transfer['bytes_per_s'])}/s"
        )


def _whereabouts(gate: Document) -> str:
    """The machine of a gate, and what it does when it does not just run."""
    state = gate.get("state", "running")
    return (f" on {gate['host']}" if "host" in gate else "") + (f" ({state})" if state != "running" else "")


def _heard(gate: Document) -> str:
    return f", heard of {gate['heartbeat_age_s']} s ago" if "heartbeat_age_s" in gate else ""


def _reported(gate: Document) -> str:
    if "transfers" not in gate:
        return ""
    return f"; then {gate['connections']} connections, {gate['transfers']} transfers, {size(gate['bytes_per_s'])}/s"


def _confinement(document: Document) -> Iterator[str]:
    """Whether a gate is confined to its files: an older one tells nothing of it."""
    problem = document.get("problem")
    if document.get("landlock"):
        yield f"  BAD confined to its files, but {problem}" if problem else "  confined to its files"
    elif problem:
        yield f"  {'' if document['absent'] else 'BAD '}not confined to its files: {problem}"


def _leases(document: Document) -> Iterator[str]:
    """Whether a gate shares its customers with others as it should."""
    if not document["up"]:
        yield f"  it does not share rates and connections with other gates: the store ({document['store']}) is away"


def _journal(document: Document) -> Iterator[str]:
    """What of a gate's journal somebody should know: an older gate tells nothing of it."""
    if document.get("problem"):
        yield f"  BAD {document['problem']}"
    if document.get("rows") and document.get("since"):
        yield f"  journal: {document['rows']} rows that the database has not confirmed since {document['since']}"


def _doctor(document: Document) -> Iterator[str]:
    for check in document["checks"]:
        yield f"{'ok  ' if check['ok'] else 'BAD '} {check['name']}: {check['found']}"
        if not check["ok"]:
            yield f"       → {check['hint']}"


def size(count: float) -> str:
    """Of so many bytes, in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _percent(part: int, whole: int) -> str:
    """Never 100 % before it is."""
    return f"{100 * part // whole if whole else 100}%"


_TEXTS: dict[str, Callable[[Document], Iterator[str]]] = {
    "reload": _reload,
    "user add": _user_add,
    "tier set": _tier_set,
    "item add": _item_add,
    "item verify": _item_verify,
    "grant issue": _grant_issue,
    "grant token": _grant_issue,
    "grant show": _grant_show,
    "grant revoke": _grant_state,
    "grant renew": _grant_state,
    "receipt verify": _receipt_verify,
    "status": _status,
    "doctor": _doctor,
}
