"""`ftpgate doctor`: what is wrong with this installation, and how to correct it."""

from __future__ import annotations

import os
import resource
import shlex
import socket
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from ftpgate import private
from ftpgate import settings as settings_module
from ftpgate.clock import HINT
from ftpgate.commands.shop import Shop, load_shop
from ftpgate.commands.status import status
from ftpgate.commands.text import counted, listed, size
from ftpgate.delivery import journal
from ftpgate.delivery.journal_file import NAME, JournalError, broken
from ftpgate.errors import UserError
from ftpgate.net.tls import Certificates
from ftpgate.process import landlock
from ftpgate.settings import Address, Settings
from ftpgate.translatable import os_reason

_FEW_DESCRIPTORS = 4_096
"""Open files: two a download, and with fewer a busy shop turns customers away."""
_RENEW_WITHIN = 7
"""Days before its end at which a certificate should have been renewed: those who renew by a clock do it weeks before."""
_RENEW = "renew it, then send the gate a SIGHUP"
_UNCONFIRMED = 60.0
"""Seconds after which what waits in the journal is not just on its way."""
_BUILT = 1_767_225_600  # 2026-01-01: a clock that is before this was never set

Check = Callable[[], str]


def examine() -> dict[str, Any]:
    """`{"ok", "checks": [{"name", "ok", "found", "hint"}]}`; `hint` is null where all is well."""
    checks = [_done(name, check) for name, check in _checks()]
    return {"ok": all(check["ok"] for check in checks), "checks": checks}


def _done(name: str, check: Check) -> dict[str, Any]:
    try:
        return {"name": name, "ok": True, "found": check(), "hint": None}
    except UserError as error:
        return {"name": name, "ok": False, "found": error.cause, "hint": error.hint}


def _checks() -> Iterator[tuple[str, Check]]:
    """One after the other, since what comes first may make the rest pointless."""
    try:
        settings = settings_module.load()
    except UserError as problem:
        yield "settings", _failed(problem)
        return
    yield "settings", lambda: f"understood; state in {settings.state_dir}"
    yield "state folder", lambda: _state(settings)
    try:
        settings_module.secret_key(settings)
    except UserError as problem:
        yield "secret key", _failed(problem)
        return
    if settings.tls != "off":
        yield "certificate", lambda: _certificate(settings)
    yield "media folder", lambda: _media(settings)
    yield "journal", lambda: _journal(settings)
    yield "file descriptors", _descriptors
    yield "confinement", _landlock
    yield "system clock", _clock
    shop: Shop | None = None

    def load() -> str:
        nonlocal shop
        shop = load_shop(settings)
        return f"{settings.bridge} is there"

    yield "bridge", load
    holders: dict[str, str] = {}
    gates: list[dict[str, Any]] = []
    silent: list[dict[str, Any]] = []
    if shop is not None:
        yield from shop.checks()
        with suppress(UserError):  # the checks of the shop have said why
            started = shop.running_gates()
            found = status(started)
            gates, silent = found["gates"], found.get("silent", [])
            holders = _holders(shop, settings, started, {gate["id"] for gate in gates})
    for gate in silent:
        yield f"gate {gate['id']}", partial(_silent_gate, gate)
    for gate in gates:
        if gate.get("push", "none") not in (None, "none"):
            yield f"push to the gate {gate['id']}", partial(_gate_push, gate["push"])
        yield f"clock of the gate {gate['id']}", partial(_gate_clock, gate)
        if "confinement" in gate:  # gates of earlier versions say nothing of it
            yield f"confinement of the gate {gate['id']}", partial(_gate_confinement, gate["confinement"])
    for name, address in _addresses(settings).items():
        yield f"port of {name}", _port_check(name, address, holders.get(str(address)))


def _failed(problem: UserError) -> Check:
    def check() -> str:
        raise problem

    return check


def _state(settings: Settings) -> str:
    folder = settings.state_dir
    found = private.readable(folder, settings_module.database_file(settings.database_url))
    if folder in found:
        hint = f"chmod 700 {shlex.quote(str(folder))}, or set FTPGATE_STATE_DIR to a folder that holds nothing else"
    else:
        hint = "chmod 600 " + " ".join(shlex.quote(str(path)) for path in found)
    if found:
        raise UserError(f"other users of this machine can read {listed(found)}", hint)
    return f"{folder} is closed to other users" + (" but those of its group" if private.is_shared(folder) else "")


def _media(settings: Settings) -> str:
    root = settings.media_root
    if not root.is_dir():
        raise UserError(f"there is no folder {str(root)!r}", f"make it (mkdir -p {root}) or set FTPGATE_MEDIA_ROOT")
    if not os.access(root, os.R_OK | os.X_OK):
        raise UserError(f"the folder {str(root)!r} cannot be read by this user", "correct its permissions")
    return f"{root} can be read"


def _journal(settings: Settings) -> str:
    try:
        found = journal.waiting(settings.state_dir)
    except JournalError as error:
        raise UserError(str(error), "restart the gate: it sets a broken journal aside and makes another one") from None
    if asides := broken(settings.state_dir):
        names = ", ".join(str(path) for path in asides)
        raise UserError(
            f"set aside because it was broken: {names}",
            "deliveries may be lost with it: look into it (sqlite3 FILE .recover), then delete it",
        )
    ended = [each for each in found if not each.running]
    if any(each.gate == journal.UNREADABLE for each in ended):
        raise UserError(
            f"rows that no gate can read stand in {settings.state_dir / NAME}",
            f"look at the entries of the gate '{journal.UNREADABLE}' (sqlite3), then delete them",
        )
    if ended:
        raise UserError(f"{_rows(ended)} of gates that have ended wait to be recorded", "start a gate: ftpgate serve")
    if found and time.time() - min(each.since for each in found) > _UNCONFIRMED:
        raise UserError(f"{_rows(found)} wait for the database", "see that it runs; the gate's log tells more")
    return f"{_rows(found)} are on their way to the database" if found else "nothing waits"


def _rows(waiting: Sequence[journal.Waiting]) -> str:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(min(each.since for each in waiting)))
    return f"{counted(sum(each.rows for each in waiting), 'row')} ({size(sum(each.bytes for each in waiting))}, since {since})"


def _certificate(settings: Settings) -> str:
    assert settings.tls_cert is not None
    assert settings.tls_key is not None
    left = Certificates(settings.tls_cert, settings.tls_key).expires - datetime.now(UTC)
    if left < timedelta():
        raise UserError(f"{settings.tls_cert} has expired {counted(-left.days, 'day')} ago", _RENEW)
    if left < timedelta(days=_RENEW_WITHIN):
        raise UserError(f"{settings.tls_cert} expires in {counted(left.days, 'day')}", _RENEW)
    return f"{settings.tls_cert} and its key belong together, for {left.days} more days"


def _descriptors() -> str:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        return "no limit"
    if hard < _FEW_DESCRIPTORS:
        raise UserError(
            f"only {hard} files may be open at once: about {hard // 2} downloads", "raise it (ulimit -Hn, LimitNOFILE=)"
        )
    return f"{hard} may be open at once"


def _clock() -> str:
    if time.time() < _BUILT:
        raise UserError(f"the clock says {time.strftime('%Y-%m-%d', time.gmtime())}", "set it, and run a time service (chrony)")
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _landlock() -> str:
    """A machine without it is well all the same: gates then rely on the permissions of their user alone."""
    try:
        return f"gates can confine themselves to their files: Landlock, version {landlock.version()}"
    except landlock.NotRestricted as error:
        return f"gates cannot confine themselves to their files: {error}"


def _gate_confinement(found: dict[str, Any]) -> str:
    if found["problem"] and not found["absent"]:
        hint = "see that its service unit allows these calls" if found["landlock"] is None else "let make_bridge start no threads"
        raise UserError(f"it can use files that it does not need: {found['problem']}", hint)
    if found["landlock"] is None:
        return f"it is not confined to its files: {found['problem']}"
    return f"it is confined to its files: Landlock, version {found['landlock']}"


def _silent_gate(gate: dict[str, Any]) -> str:
    where = f" on {gate['host']}" if "host" in gate else ""
    raise UserError(
        f"it runs{where} and does not answer this machine",
        "let its FTPGATE_ADMIN listen where this machine can reach it, and strangers cannot; FTPGATE_ADVERTISE may name that",
    )


def _gate_push(state: str) -> str:
    if state == "broken":
        hint = "see that nothing between gate and database takes NOTIFY away, as PgBouncer in transaction mode does"
        raise UserError("changes do not reach it at once: it asks for them every second", hint)
    return "the database tells it of changes at once" if state == "works" else "it has just started"


def _gate_clock(gate: dict[str, Any]) -> str:
    if wrong := gate.get("clock"):  # gates of earlier versions say nothing of it
        raise UserError(f"it cannot be trusted and nothing expires: {wrong}", HINT)
    return "it can be trusted"


def _addresses(settings: Settings) -> dict[str, Address]:
    named = {
        "FTP": settings.ftp, "HTTP": settings.http, "FTPS": settings.ftps, "HTTPS": settings.https,
        "ADMIN": settings.admin, "PORTAL": settings.portal,
    }  # fmt: skip
    return {name: address for name, address in named.items() if address is not None}


def _holders(shop: Shop, settings: Settings, started: Sequence[dict[str, Any]], answering: Collection[str]) -> dict[str, str]:
    """Who of us listens where just now, by address."""
    found = {
        gate[name]: f"the gate {gate['id']}"
        for gate in started
        if gate["id"] in answering
        for name in ("ftp", "http", "ftps", "https", "admin")
    }
    return found | ({str(settings.portal): "the portal"} if shop.portal_answers() else {})


def _port_check(name: str, address: Address, holder: str | None) -> Check:
    def check() -> str:
        if holder is not None:
            return f"{address} is held by {holder}"
        try:
            kind, *_, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            with closing(socket.socket(kind, socket.SOCK_STREAM)) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(where)
        except OSError as error:
            raise UserError(f"{address} cannot be listened on ({os_reason(error)})", f"free it, or set FTPGATE_{name}") from None
        return f"{address} is free"

    return check
