"""What customers may ask for: the folders and files of a grant, its Metalink and its progress.

/d/TOKEN/PATH       /files/PATH with HTTP Basic       /d/TOKEN/downloads.meta4       /d/TOKEN/progress

The progress opens for a signed link of the portal too (`ftpgate.signed_links`), in the place of the token.
"""

from __future__ import annotations

import base64
import binascii
import logging
import time
from collections.abc import Iterable, Sequence
from functools import partial
from urllib.parse import quote, unquote

from ftpgate import aria2
from ftpgate.access.open_grant import OpenGrant
from ftpgate.delivery.context import DeliveryContext
from ftpgate.delivery.fetch import Fetch
from ftpgate.errors import GateError, MethodNotAllowed, NotFound, TooManyConnections, Unavailable, UnknownToken
from ftpgate.http.links import (
    METALINK_NAME,
    METALINK_SUFFIX,
    METALINK_TYPE,
    Links,
    all_files,
    all_links,
    aria2_list,
    described_by,
    files_of,
    hints,
    links,
    metalink,
    over_tls,
)
from ftpgate.http.messages import TEXT, Draining, Request, Response, body_response, text_response
from ftpgate.http.pages import CACHING, NOT_STORED, PROGRESS, folder_response, href
from ftpgate.http.progress import ProgressBoard
from ftpgate.http.responses import content_disposition, resource_response
from ftpgate.http.server_context import Responder
from ftpgate.signed_links import Purpose
from ftpgate.tokens import Token
from ftpgate.tree import Folder, Leaf

_log = logging.getLogger(__name__)

BASIC = "files"
TOKEN = "d"  # noqa: S105


class Unauthorized(GateError):
    """HTTP Basic is missing, or holds no known token."""

    http, ftp = 401, 530
    text = "A token is needed."


class CustomerRoutes:
    """The routes of the public listener."""

    counted = True

    def __init__(self, gate: DeliveryContext) -> None:
        self.gate = gate
        self.progress = ProgressBoard(gate)

    def handle(self, connection: Responder, request: Request) -> DownloadHandler | None:
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed()
        if self.gate.refusing:
            raise Draining()
        if self.gate.tls_required and connection.protocol == "http":
            connection.respond(self._over_tls(request))
            return None
        first, *rest = request.parts
        if first == TOKEN and rest:
            return self._with_token(connection, request, *rest)
        if first == BASIC:
            user, password = _basic(request)
            handler = DownloadHandler(self, connection, request, rest, basic=True)
            self.gate.grant_cache.log_in(user, password, connection.peer, handler.admitted, handler.gone)
            return handler
        if rest or first not in _FIXED:
            raise NotFound()
        connection.respond(_FIXED[first])
        return None

    def _with_token(self, connection: Responder, request: Request, presented: str, *path: str) -> DownloadHandler:
        handler = DownloadHandler(self, connection, request, path, basic=False)
        admitted = partial(handler.admitted, presented)
        watched = self._watched(presented, path)
        if watched is not None:
            self.gate.grant_cache.watch(watched, connection.peer, admitted)
        else:
            self.gate.grant_cache.admit(presented, connection.peer, admitted, handler.gone)
        return handler

    def _watched(self, presented: str, path: Sequence[str]) -> str | None:
        """The id of the grant that a signed link shows; None when this is no such link, or a forged one: a wrong token like any.

        Raises:
            DeadToken: it was one.
        """
        if tuple(path) != (PROGRESS,) or "." not in presented:
            return None
        try:
            return self.gate.signed_links.read(Purpose.WATCH, presented)
        except UnknownToken:
            return None

    def _over_tls(self, request: Request) -> Response:
        where = over_tls(self.gate, request.host)
        if where is None:
            raise Unavailable("Nothing is served in the clear here, and there is no address for TLS.")
        path = "/".join(quote(part, safe="") for part in request.parts)
        return Response(308, [("Location", f"https://{where}/{path}"), NOT_STORED])


_FIXED = {
    # Everything may be visited: `wget -r` obeys this file. It is X-Robots-Tag that keeps addresses out of search engines.
    "robots.txt": body_response(200, TEXT, b"User-agent: *\nDisallow:\n", [("Cache-Control", "max-age=86400")]),
    "favicon.ico": Response(204, [("Cache-Control", "max-age=86400")]),
}


def _basic(request: Request) -> tuple[str, str]:
    """User name and password in the `Authorization` header (RFC 7617).

    Raises:
        Unauthorized: there are no credentials of this kind.
    """
    scheme, _, credentials = (request.header("authorization") or "").partition(" ")
    try:
        decoded = base64.b64decode(credentials.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        decoded = ""
    user, colon, password = decoded.partition(":")
    if scheme.lower() != "basic" or not colon:
        raise Unauthorized()
    return user, password


class DownloadHandler:
    """One request from its token to its answer; what it waits for calls it back."""

    __slots__ = ("_basic", "_connection", "_fetch", "_known", "_request", "_response", "_rest", "_routes")

    def __init__(
        self, routes: CustomerRoutes, connection: Responder, request: Request, rest: Sequence[str], *, basic: bool
    ) -> None:
        self._routes = routes
        self._connection = connection
        self._request = request
        self._rest = list(rest)
        self._basic = basic
        self._fetch: Fetch | None = None
        self._response: Response | None = None
        self._known: Token | None = None
        """What the client was admitted with; None for a signed link."""

    def admitted(self, presented: str, grant: OpenGrant | None, error: GateError | None) -> None:
        """The token was looked up; `presented` is what the client gave."""
        self._connection.go_on(self, partial(self._admitted, presented, grant, error))

    def _admitted(self, presented: str, grant: OpenGrant | None, error: GateError | None) -> None:
        if not self._connection.serves(self):
            return
        self._known = Token.parse(presented)
        try:
            if grant is None:
                raise Unauthorized() if self._basic and isinstance(error, UnknownToken) else error or GateError()
        except GateError as refused:
            return self._connection.fail(refused)
        self._connection.prove()
        self._serve_or_fail(grant)

    def _serve_or_fail(self, grant: OpenGrant, since: float | None = None) -> None:
        """Answer a client that was admitted; one that has waited for a connection, since then."""
        if not self._connection.serves(self):
            return
        try:
            self._serve(grant, since)
        except GateError as refused:
            self._connection.fail(refused)
        except Exception:
            self._failed()

    def prepared(self, error: GateError | None) -> None:
        """The file has been compared with what was imported."""
        self._connection.go_on(self, partial(self._prepared, error))

    def _prepared(self, error: GateError | None) -> None:
        if not self._connection.serves(self):
            return
        fetch, response = self._fetch, self._response
        assert fetch is not None
        assert response is not None
        try:
            if error is not None:
                raise error
            fetch.check()
            if "via" in self._request.headers:
                _log.warning(
                    "a proxy (Via: %s) stands before the gate and acknowledges in the client's place: not supported",
                    self._request.headers["via"][:200],
                )
            if response.carries:
                self._connection.deliver(fetch, response)
            else:
                self._connection.respond(response)
        except GateError as refused:
            self._connection.fail(refused)
        except Exception:
            self._failed()

    def closed(self) -> None:
        pass

    def gone(self) -> bool:
        """Does nobody wait for the answer any more?"""
        return not self._connection.serves(self)

    def _wait_is_over(self, grant: OpenGrant, since: float) -> None:
        """Another gate may have given a connection back."""
        self._connection.go_on(self, partial(self._serve_or_fail, grant, since))

    def _serve(self, grant: OpenGrant, since: float | None = None) -> None:
        connection, request = self._connection, self._request
        path = self._rest
        if path == [PROGRESS]:
            token = self._known
            return self._routes.progress.response(connection, request, grant, None if token is None else token.digest())
        try:
            connection.acquire(grant.customer)
        except TooManyConnections:
            if not grant.customer.when_room(partial(self._wait_is_over, grant), since):
                raise
            return
        if not path:
            return connection.respond(_moved(self._base()))
        if path == [METALINK_NAME]:
            return connection.respond(self._metalink(grant, METALINK_NAME, all_files(grant.tree)))
        if path == [aria2.LIST]:
            listed = aria2_list(all_files(grant.tree), self._links())
            return connection.respond(text_response(TEXT, listed, [CACHING]))
        if any("/" in part for part in path):
            raise NotFound()  # a slash that was written as %2F: no name holds one
        found, described = _find_described(grant, "/".join(path))
        if described:
            return connection.respond(self._metalink(grant, found.name + METALINK_SUFFIX, files_of(found)))
        if isinstance(found, Leaf):
            self._prepare(grant, found)
        elif path[-1]:
            connection.respond(_moved(href(self._base(), found.path, folder=True)))
        else:
            shown = hints(self._links()) if found.item is None else ()
            response = folder_response(grant, found, self._base(), request, shown)
            metalink = METALINK_NAME if found.item is None else f"../{quote(found.name, safe='')}{METALINK_SUFFIX}"
            response.headers.append(described_by(metalink))
            connection.respond(response)

    def _prepare(self, grant: OpenGrant, leaf: Leaf) -> None:
        self._response = resource_response(self._request, leaf.resource, time.time())
        self._fetch = Fetch(self._routes.gate, grant, self._token().digest(), leaf)
        self._fetch.prepare(self.prepared)

    def _metalink(self, grant: OpenGrant, name: str, files: Iterable[tuple[str, Leaf]]) -> Response:
        secure = self._connection.protocol == "https"
        found = all_links(self._routes.gate, self._token(), self._request.host, secure, grant.status.user)
        headers = [CACHING, ("Content-Disposition", content_disposition(name))]
        return text_response(METALINK_TYPE, metalink(files, found), headers)

    def _links(self) -> Links:
        return links(self._routes.gate, self._token(), self._request.host, self._connection.protocol == "https")

    def _token(self) -> Token:
        assert self._known is not None, "a signed link opens nothing but the progress"
        return self._known

    def _base(self) -> str:
        """The address of the grant's root."""
        return f"/{BASIC}/" if self._basic else f"/{TOKEN}/{self._token().reveal()}/"

    def _failed(self) -> None:
        _log.exception("a request met an error")
        if self._connection.serves(self):
            self._connection.fail(GateError())


def _find_described(grant: OpenGrant, path: str) -> tuple[Folder | Leaf, bool]:
    """What is at `path`; or what its Metalink describes, which is told by the second value. Raises NotFound."""
    try:
        return _find(grant, path), False
    except NotFound:
        described = path.removesuffix(METALINK_SUFFIX)
        if described == path or not described or described.endswith("/"):
            raise
        return _find(grant, described), True


def _find(grant: OpenGrant, path: str) -> Folder | Leaf:
    """What is at `path`, or else at what it decodes to: some mailers and scripts encode an address twice. Raises NotFound."""
    try:
        return grant.tree.find(path)
    except NotFound:
        if "%" not in path:
            raise
        return grant.tree.find(unquote(path))


def _moved(to: str) -> Response:
    return Response(301, [("Location", to), CACHING])
