"""What people see: the pages of folders, and errors that help. Small, complete HTML without scripts; JSON for programs."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from html import escape
from importlib.resources import files
from typing import NamedTuple
from urllib.parse import quote

from ftpgate.access.open_grant import OpenGrant
from ftpgate.errors import GateError
from ftpgate.http.messages import (
    REASONS,
    TEXT,
    Headers,
    Request,
    Response,
    body_response,
    compact_json,
    preferred,
    text_response,
)
from ftpgate.tree import Folder, Leaf

_STYLE = files("ftpgate.http").joinpath("page.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY = (
    "Content-Security-Policy",
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)
HTML = "text/html; charset=utf-8"
JSON = "application/json"
CACHING = ("Cache-Control", "private, no-transform, no-cache")
NOT_STORED = ("Cache-Control", "no-store")
PROGRESS = "progress"
"""The last part of the address of a grant's live state."""
FROM_PAGES = ("Access-Control-Allow-Origin", "*")
"""Of the live state, and of why there is none: a shop's pages come from another address and may read this (Fetch section 3.3),
since whoever asks holds the token."""

_FOLLOWS_LINKS = re.compile("rclone|lftp|wget|httrack|pavuk|webcopy", re.IGNORECASE)
"""Programs that fetch whatever a page links to, and know no rel=nofollow: with the zips they would fetch everything twice."""

_HINTS = {
    400: "Copy the whole address from the shop's page, or from the e-mail.",
    401: "Give the token, as it stands in the shop's page, as user name or as password.",
    405: "Open the address in a browser or a download manager; nothing can be sent to it.",
    404: "Check the address: names have to be written exactly as the folder page shows them.",
    410: "Links end when everything has arrived, when they expire, or when they were replaced. The shop gives new ones.",
    429: "Ask the shop for the link again instead of trying others.",
    503: "Try again later; a download goes on where it stopped.",
}


def error_response(error: GateError, request: Request | None = None) -> Response:
    """How this front answers an error: the one place that translates. `request`: what was asked, if anything was understood."""
    headers: list[tuple[str, str]] = [NOT_STORED]
    accept = None if request is None else request.header("accept")
    if request is not None and request.parts[-1:] == (PROGRESS,):
        headers.append(FROM_PAGES)
    if error.retry_after is not None:
        headers.append(("Retry-After", str(error.retry_after)))
    if error.http == 405:
        headers.append(("Allow", "GET, HEAD"))
    if error.http == 401:
        headers.append(("WWW-Authenticate", 'Basic realm="downloads", charset="UTF-8"'))
    reason = REASONS[error.http]
    chosen = preferred(accept, ("text/plain", "text/html", "application/json"))
    if chosen == "application/json":
        document = {"status": error.http, "error": reason, "detail": error.text}
        return body_response(error.http, JSON, f"{compact_json(document)}\n".encode(), headers)
    hint = _HINTS.get(error.http, "")
    if chosen == "text/plain":
        return body_response(
            error.http, TEXT, f"{error.http} {reason}\n{error.text}\n{hint and hint + chr(10)}".encode(), headers
        )
    body = f"<h1>{escape(reason)}</h1><p>{escape(error.text)}</p><p>{escape(hint)}</p><p class=dim>{error.http}</p>"
    return body_response(error.http, HTML, "".join(_page(reason, (body,))).encode(), [*headers, CONTENT_SECURITY])


class Shown(NamedTuple):
    """How a page shows a folder.

    Attributes:
        base: the address of the grant's root.
        zips: are there links to the zips?
    """

    base: str
    zips: bool


def folder_response(grant: OpenGrant, folder: Folder, base: str, request: Request, hints: Headers = ()) -> Response:
    """The page of a folder, or its JSON.

    Args:
        base: the address of the grant's root, `/d/TOKEN/` or `/files/`.
        hints: pairs of what to do and the command or address that does it, shown on the root's page.
    """
    if preferred(request.header("accept"), ("text/html", "application/json")) == "application/json":
        return text_response(JSON, _folder_json(grant, folder, base), [CACHING, ("Vary", "Accept")])
    shown = Shown(base, zips=_FOLLOWS_LINKS.search(request.header("user-agent") or "") is None)
    page = _page(folder.name or "Your downloads", _folder_page(grant, folder, shown, hints))
    return text_response(HTML, page, [CACHING, ("Vary", "Accept, User-Agent"), CONTENT_SECURITY])


def href(base: str, path: str, *, folder: bool = False) -> str:
    """The address of `path`, which begins with a slash, percent-encoded; that of a folder ends with one."""
    encoded = quote(path[1:], safe="/")
    return f"{base}{encoded}/" if folder and encoded else base + encoded


def readable_size(size: int) -> str:
    """`12.3 MB`: decimal units, as shops and download managers count."""
    if size < 1000:
        return f"{size} bytes"
    amount, units = size / 1000, iter(("kB", "MB", "GB", "TB"))
    unit = next(units)
    while amount >= 999.5 and unit != "TB":
        amount, unit = amount / 1000, next(units)
    return f"{amount:.{0 if amount >= 99.95 else 1}f} {unit}"


def _folder_json(grant: OpenGrant, folder: Folder, base: str) -> Iterator[str]:
    yield f'{{"path":{compact_json(folder.path)},"entries":['
    for place, entry in enumerate(folder.entries):
        yield f"{',' if place else ''}{compact_json(_described(grant, folder, entry, base))}"
    yield "]}\n"


def _described(grant: OpenGrant, folder: Folder, entry: Folder | Leaf, base: str) -> dict[str, object]:
    """One entry of `folder`."""
    if isinstance(entry, Leaf):
        return _leaf(entry, base)
    found: dict[str, object] = {"name": entry.name, "type": "folder", "href": href(base, entry.path, folder=True)}
    if folder.item is None and entry.item is not None:
        item = entry.item
        found |= {"bytes": item.size, "delivered": grant.delivered(item), "complete": grant.is_whole(item)}
        found["zip"] = href(base, f"{entry.path}.zip")
    return found


def _leaf(leaf: Leaf, base: str) -> dict[str, object]:
    resource = leaf.resource
    return {
        "name": leaf.name,
        "type": "file",
        "href": href(base, leaf.path),
        "bytes": resource.size,
        "sha256": resource.sha256.hex() if resource.sha256 is not None else None,
    }


def _folder_page(grant: OpenGrant, folder: Folder, shown: Shown, hints: Headers) -> Iterator[str]:
    yield f"{_breadcrumb(folder, shown.base)}<h1>{escape(folder.name or 'Your downloads')}</h1>"
    if folder.entries:
        yield "<table><thead><tr><th>Name</th><th class=n>Size</th><th></th></tr></thead><tbody>"
        yield from _rows(grant, folder, shown)
        yield "</tbody></table>"
    else:
        yield "<p>Nothing is here.</p>"
    if folder.item is None and hints:
        listed = "".join(f"<dt>{escape(what)}</dt><dd><code>{escape(how)}</code></dd>" for what, how in hints)
        yield f"<h2>Download everything</h2><dl>{listed}</dl>"


def _rows(grant: OpenGrant, folder: Folder, shown: Shown) -> Iterator[str]:
    base = shown.base
    if shown.zips and folder.item is not None and folder.path.count("/") == 1:
        zipped = grant.tree.zip_of(folder.item)
        yield _row(href(base, zipped.path), zipped.name, zipped.resource.size, "everything here as one file", rel="nofollow")
    for entry in folder.entries:
        if isinstance(entry, Leaf):
            yield _row(href(base, entry.path), entry.name, entry.resource.size)
        elif folder.item is None and entry.item is not None:
            state = "arrived" if grant.is_whole(entry.item) else ""
            zipped_href = escape(href(base, f"{entry.path}.zip"))
            note = f'<a rel=nofollow href="{zipped_href}">as zip</a> {state}' if shown.zips else state
            yield _row(href(base, entry.path, folder=True), entry.name + "/", entry.item.size, note, raw=True)
        else:
            yield _row(href(base, entry.path, folder=True), entry.name + "/", None)


def _row(address: str, name: str, size: int | None, note: str = "", *, rel: str = "", raw: bool = False) -> str:
    attributes = f' rel="{rel}"' if rel else ""
    shown = "" if size is None else f'<span title="{size} bytes">{readable_size(size)}</span>'
    return (
        f'<tr><td><a{attributes} href="{escape(address)}">{escape(name)}</a></td>'
        f"<td class=n>{shown}</td><td class=dim>{note if raw else escape(note)}</td></tr>"
    )


def _breadcrumb(folder: Folder, base: str) -> str:
    if not folder.name:
        return ""
    *above, _ = folder.path[1:].split("/")
    crumbs = [f'<a href="{escape(base)}">Your downloads</a>']
    for depth, name in enumerate(above, 1):
        address = href(base, "/" + "/".join(above[:depth]), folder=True)
        crumbs.append(f'<a href="{escape(address)}">{escape(name)}</a>')
    return f"<nav>{' / '.join(crumbs)}</nav>"


def _page(title: str, body: Iterable[str]) -> Iterator[str]:
    yield (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1"><meta name=robots content=noindex>'
        f'<link rel=icon href="data:,"><title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>'
    )
    yield from body
    yield "</main></body></html>\n"
