"""What commands print for people; the same documents as with `--json`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ftpgate.commands.tables import Column, table

Document = dict[str, Any]


def text(command: str, document: Document) -> str:
    """The lines for a command's document."""
    return "\n".join(_TEXTS[command](document))


def listed(names: Sequence[object], most: int = 5) -> str:
    """Names for a line: the first of them, and how many more there are."""
    return ", ".join(repr(str(name)) for name in names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def counted(count: int, noun: str) -> str:
    """`1 file`, `2 files`: of nouns whose plural ends in s alone."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _reload(document: Document) -> Iterator[str]:
    for gate in document["gates"]:
        workers = ", ".join(map(str, gate["workers"]))
        yield f"gate {gate['pid']}: new workers accept connections (process {workers})"


def _user_add(document: Document) -> Iterator[str]:
    yield f"user {document['user']} in the tier {document['tier']}"


def _user_list(document: Document) -> Iterator[str]:
    columns = [Column("user"), Column("tier"), Column("email", flexible=True), Column("added"), Column("signed in"), Column("")]
    rows = [
        (user["user"], user["tier"], user["email"], _day(user["added_at"]), _day(user["signed_in_at"]), _rights(user))
        for user in document["users"]
    ]
    yield from _page(columns, rows, document, "users")


def _rights(user: Document) -> str:
    return ", ".join(name for name, holds in (("staff", user["staff"]), ("inactive", not user["active"])) if holds)


def _user_password(document: Document) -> Iterator[str]:
    yield f"user {document['user']} has another password; sessions that were open have ended"


def _tier_set(document: Document) -> Iterator[str]:
    yield f"tier {document['tier']}: {_rate(document['rate'])}, {counted(document['connections'], 'connection')}"


def _tier_list(document: Document) -> Iterator[str]:
    columns = [Column("tier"), Column("rate", "right"), Column("connections", "right"), Column("users", "right")]
    rows = [(tier["tier"], _rate(tier["rate"]), f"{tier['connections']:,}", f"{tier['users']:,}") for tier in document["tiers"]]
    yield from _page(columns, rows, document, "tiers")


def _rate(rate: int) -> str:
    return f"{size(rate)}/s" if rate else "no rate limit"


def _page(columns: Sequence[Column], rows: Sequence[Sequence[str]], document: Document, noun: str) -> Iterator[str]:
    """A page of a list, and how to get the next one."""
    if not rows:
        yield f"there are no {noun}"
        return
    yield from table(columns, rows)
    if document["next"]:
        yield f"more {noun}: --cursor {document['next']}"


def _day(time: str | None) -> str:
    """Of an RFC 3339 time."""
    return time[:10] if time else ""


def _minute(time: str | None) -> str:
    return f"{time[:10]} {time[11:16]}Z" if time else ""


def _item_add(document: Document) -> Iterator[str]:
    yield f"item {document['id']}: {document['title']}"
    for file in document["files"]:
        yield f"  {size(file['bytes']):>9}  {file['path']}"
    for left in document["left_out"]:
        path = left["path"] if left["path"].isprintable() else repr(left["path"])
        yield f"   left out  {path}: {left['reason']}"


def _item_list(document: Document) -> Iterator[str]:
    columns = [
        Column("id"), Column("artist", flexible=True), Column("title", flexible=True), Column("year", "right"),
        Column("files", "right"), Column("size", "right"), Column("added"), Column(""),
    ]  # fmt: skip
    rows = [
        (
            item["id"], item["artist"], item["title"], str(item["year"] or ""), f"{item['file_count']:,}", size(item["bytes"]),
            _day(item["added_at"]), _shelf(item),
        )
        for item in document["items"]
    ]  # fmt: skip
    yield from _page(columns, rows, document, "items")


def _shelf(item: Document) -> str:
    return "withdrawn" if item["withdrawn_at"] else "hidden" if item["hidden_at"] else ""


def _item_show(document: Document) -> Iterator[str]:
    yield f"item {document['id']}: {' - '.join(part for part in (document['artist'], document['title']) if part)}"
    facts = {
        "year": document["year"], "folder": document["folder"], "source": document["source"],
        "added": _minute(document["added_at"]), "hidden": _minute(document["hidden_at"]),
        "withdrawn": _minute(document["withdrawn_at"]),
    }  # fmt: skip
    for name, fact in facts.items():
        if fact:
            yield f"  {name:<9}  {fact}"
    yield f"  {counted(document['file_count'], 'file')}, {size(document['bytes'])}"
    for file in document["files"]:
        problem = f"  BAD {file['problem']}" if file["problem"] else ""
        yield f"  {size(file['bytes']):>9}  {file['path']}{problem}"


def _item_hide(document: Document) -> Iterator[str]:
    now = "off the shelf; grants that have it go on" if document["hidden"] else "on the shelf"
    yield f"item {document['id']}: {document['title']}: {now}"


def _item_verify(document: Document) -> Iterator[str]:
    for item in document["items"]:
        yield f"item {item['id']}: {item['title']}: {counted(item['files'], 'file')}, {_problems(len(item['problems']))}"
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


def _grant_list(document: Document) -> Iterator[str]:
    columns = [
        Column("grant"), Column("user", flexible=True), Column("state"), Column("items", "right"), Column("size", "right"),
        Column("done", "right"), Column("issued"), Column("expires"),
    ]  # fmt: skip
    rows = [
        (
            grant["grant"], grant["user"], grant["state"], f"{grant['item_count']:,}", size(grant["bytes"]),
            _percent(grant["delivered"], grant["bytes"]), _minute(grant["issued_at"]), _minute(grant["expires_at"]),
        )
        for grant in document["grants"]
    ]  # fmt: skip
    yield from _page(columns, rows, document, "grants")


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


def _backup(document: Document) -> Iterator[str]:
    journal = "the journal" if document["journal"] else "no journal (there is none)"
    yield f"{document['backup']}: {size(document['bytes'])}"
    yield f"  the database ({document['database']['kind']}), {counted(document['covers'], 'cover')}, the keys, {journal}"
    yield "  keep it as secret as the secret key; save the media and your settings besides"


def _restore(document: Document) -> Iterator[str]:
    yield f"restored what {document['backup']} held at {document['made_at']}; now:"
    for number, step in enumerate(document["next"], 1):
        yield f"  {number}. {step}"


def _status(document: Document) -> Iterator[str]:
    for gate in document["gates"]:
        yield (
            f"gate {gate['id']}{_whereabouts(gate)} since {gate['started_at']}{_heard(gate)}: "
            f"FTP {gate['ftp']}, HTTP {gate['http']}, "
            f"{counted(gate['connections'], 'connection')}, {counted(gate['transfers'], 'transfer')}, "
            f"{size(gate['bytes_per_s'])}/s, {size(gate['rss_bytes'])} of memory, {gate['loop_lag_ms']} ms behind"
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
    then = f"{counted(gate['connections'], 'connection')}, {counted(gate['transfers'], 'transfer')}"
    return f"; then {then}, {size(gate['bytes_per_s'])}/s"


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
        yield f"  journal: {counted(document['rows'], 'row')} that the database has not confirmed since {document['since']}"


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
    "user list": _user_list,
    "user password": _user_password,
    "tier set": _tier_set,
    "tier list": _tier_list,
    "item add": _item_add,
    "item list": _item_list,
    "item show": _item_show,
    "item hide": _item_hide,
    "item unhide": _item_hide,
    "item verify": _item_verify,
    "grant issue": _grant_issue,
    "grant token": _grant_issue,
    "grant list": _grant_list,
    "grant show": _grant_show,
    "grant revoke": _grant_state,
    "grant renew": _grant_state,
    "receipt verify": _receipt_verify,
    "backup": _backup,
    "restore": _restore,
    "status": _status,
    "doctor": _doctor,
}
