"""A grant's live state as JSON, once or as a stream of events (`text/event-stream`, WHATWG HTML section 9.2).

However many look on, the state of one grant is made once a second; what has not changed is not sent again. Looking on is
no transfer and takes none of the customer's connections, but the number of viewers is bounded, and a slow one is left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from itertools import islice

from ftpgate.access.open_grant import OpenGrant, Running
from ftpgate.delivery.context import DeliveryContext
from ftpgate.errors import GateError, Unavailable
from ftpgate.grants import File, Item
from ftpgate.http.messages import Request, Response, body_response, compact_json, preferred
from ftpgate.http.pages import FROM_PAGES, JSON, NOT_STORED
from ftpgate.http.server_context import Responder
from ftpgate.proof.coverage import Span, SpanSet

EVENTS = "text/event-stream"
EVERY = 0.9
"""Seconds between two events: at least one a second, also when the loop is a little late."""
HEARTBEAT = 15.0
"""Seconds of silence after which a comment shows that the connection lives; proxies and browsers give up later."""
KEPT = 10.0
"""Seconds that a state is kept for those who ask for it again and again instead of watching the events."""
VIEWERS = 256
"""Streams of one grant at the same time."""
RANGES = 256
"""Covered, and unconfirmed, ranges told of one file; of more, the largest. `delivered` and the item's `unconfirmed` count all."""


class ProgressBoard:
    """The live state of every grant that somebody looks at."""

    def __init__(self, gate: DeliveryContext) -> None:
        self.gate = gate
        self._channels: dict[str, _Channel] = {}
        self._ticking = False

    def response(self, connection: Responder, request: Request, grant: OpenGrant, token: bytes | None) -> None:
        """Send the state, or begin to stream it, as the client prefers.

        Args:
            token: the digest of the one that was shown; the stream ends when it is dead. None for a signed link of the portal.

        Raises:
            Unavailable: enough look on already.
        """
        channel = self._channels.get(grant.id)
        if channel is None or channel.grant is not grant:
            channel = self._channels[grant.id] = _Channel(grant)
        channel.asked_at = time.monotonic()
        if not self._ticking:
            self._ticking = True
            self.gate.loop.call_later(EVERY, self._tick)
        if preferred(request.header("accept"), (JSON, EVENTS)) == JSON:
            headers = [NOT_STORED, ("Vary", "Accept"), FROM_PAGES]
            return connection.respond(body_response(200, JSON, channel.state(time.monotonic()) + b"\n", headers))
        response = Response(200, [("Content-Type", EVENTS), NOT_STORED, ("Vary", "Accept"), FROM_PAGES], (), None)
        if request.is_head:
            return connection.respond(response)
        if len(channel.viewers) >= VIEWERS:
            raise Unavailable("Too many viewers of this already. Close another page.")
        viewer = Viewer(connection, channel, token)
        channel.join(viewer)
        connection.stream(response, viewer)
        viewer.show(channel.event(time.monotonic()))

    def _tick(self) -> None:
        now = time.monotonic()
        try:
            for name, channel in tuple(self._channels.items()):
                if not self._show(channel, now):
                    del self._channels[name]
        finally:
            self._ticking = bool(self._channels)
            if self._ticking:
                self.gate.loop.call_later(EVERY, self._tick)

    def _show(self, channel: _Channel, now: float) -> bool:
        """Bring one grant's viewers up to date; False when nobody looks at it any more."""
        if not channel.viewers:
            return now - channel.asked_at < KEPT
        before = channel.shown
        over, live = self._over(channel.grant), channel.grant.status.live_tokens
        if over:
            channel.forget()  # the last thing that is told is why
        event = channel.event(now)
        if event != before:
            channel.shown_at = now
        elif now - channel.shown_at >= HEARTBEAT:
            channel.shown_at = now
            event = b":\n\n"
        else:
            event = b""
        for viewer in tuple(channel.viewers):
            if event or viewer.behind:
                viewer.show(event or channel.shown)
            if over or (viewer.token is not None and viewer.token not in live):
                viewer.end()
        return True

    def _over(self, grant: OpenGrant) -> bool:
        try:
            self.gate.grant_cache.check_open(grant)
        except GateError:
            return True
        return self.gate.draining


class Viewer:
    """One stream of events; a `RequestHandler` that lasts until the client, or the grant, goes away."""

    __slots__ = ("_channel", "_connection", "behind", "token")

    def __init__(self, connection: Responder, channel: _Channel, token: bytes | None) -> None:
        self._connection = connection
        self._channel = channel
        self.token = token
        self.behind = False
        """It has missed an event, because the one before had not gone out yet."""

    def show(self, event: bytes) -> None:
        """Send an event, unless the last one has not gone out yet: the next will hold all that matters."""
        self.behind = not self._connection.push(event)

    def end(self) -> None:
        """Nothing will change any more."""
        self._channel.leave(self)
        self._connection.end_stream()

    def closed(self) -> None:
        self._channel.leave(self)


class _Channel:
    """The state of one grant, shared by its viewers. While there are any, the grant stays in the cache."""

    __slots__ = ("_bytes", "_fragments", "_made_at", "_state", "asked_at", "grant", "shown", "shown_at", "viewers")

    def __init__(self, grant: OpenGrant) -> None:
        self.grant = grant
        self.viewers: set[Viewer] = set()
        self.asked_at = 0.0
        self.shown = b""
        self.shown_at = time.monotonic()
        self._state = b""
        self._made_at = -EVERY
        self._fragments: dict[str, tuple[tuple[int, int], str]] = {}
        self._bytes = sum(item.size for item in grant.grant.items)

    def join(self, viewer: Viewer) -> None:
        self.viewers.add(viewer)
        self.grant.sessions += 1

    def leave(self, viewer: Viewer) -> None:
        if viewer in self.viewers:
            self.viewers.discard(viewer)
            self.grant.sessions -= 1

    def forget(self) -> None:
        """Make the state anew when it is asked for next."""
        self._made_at = -EVERY

    def event(self, now: float) -> bytes:
        """The state as an event."""
        self.shown = b"event: progress\ndata: " + self.state(now) + b"\n\n"
        return self.shown

    def state(self, now: float) -> bytes:
        """The state as JSON in one line; not made again within a second."""
        if now - self._made_at >= EVERY / 2:
            self._made_at = now
            self._state = self._document(now).encode()
        return self._state

    def _document(self, now: float) -> str:
        grant = self.grant
        running = sorted(grant.transfers, key=lambda transfer: transfer.started_at)
        for transfer in running:
            transfer.look(now)
        running = [transfer for transfer in running if transfer.outcome is None]
        delivered, unconfirmed = grant.delivered_by_item(), grant.unconfirmed()
        items = [self._item(item, delivered.get(item.id, 0), unconfirmed) for item in grant.grant.items]
        totals = {
            "bytes": self._bytes,
            "delivered": sum(delivered.values()),
            "bytes_per_s": round(sum(transfer.bytes_per_s for transfer in running)),
        }
        status = grant.status
        beginning = {"grant": grant.id, "state": status.state, "expires_at": stamp(status.expires_at)}
        return (
            f'{compact_json(beginning)[:-1]},"items":[{",".join(items)}],'
            f'"transfers":{compact_json([_running(transfer) for transfer in running])},"totals":{compact_json(totals)}}}'
        )

    def _item(self, item: Item, delivered: int, unconfirmed: Mapping[int, SpanSet]) -> str:
        """The JSON of one item, made again only when more or less of it is delivered (which never shrinks) or unconfirmed."""
        grant = self.grant
        lacking = [unconfirmed[file.id].size for file in item.files if file.id in unconfirmed] if unconfirmed else []
        state = delivered, sum(lacking)
        held = self._fragments.get(item.id)
        if held is not None and held[0] == state:
            return held[1]
        beginning = {
            "id": item.id, "title": item.title, "folder": grant.tree.folder_of(item).name, "bytes": item.size,
            "delivered": delivered, "unconfirmed": sum(lacking), "complete": grant.is_whole(item),
        }  # fmt: skip
        files = ",".join(self._file(file, unconfirmed.get(file.id, ())) for file in item.files)
        made = f'{compact_json(beginning)[:-1]},"files":[{files}]}}'
        self._fragments[item.id] = state, made
        return made

    def _file(self, file: File, unconfirmed: Iterable[Span]) -> str:
        covered = compact(self.grant.coverage.get(file.id) or ())
        return compact_json({"path": file.path, "bytes": file.size, "covered": covered, "unconfirmed": compact(unconfirmed)})


def compact(spans: Iterable[Span]) -> list[Span]:
    """At most `RANGES` ranges, in order: the largest when there are more."""
    first = list(islice(spans, RANGES + 1))
    if len(first) <= RANGES:
        return first
    return sorted(sorted(spans, key=lambda span: span[0] - span[1])[:RANGES])


def stamp(seconds: float) -> str:
    """RFC 3339 in UTC, of Unix seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _running(transfer: Running) -> dict[str, object]:
    return {
        "path": transfer.info.path, "protocol": transfer.info.protocol, "start": transfer.start, "end": transfer.end,
        "position": transfer.position, "bytes_per_s": round(transfer.bytes_per_s),
    }  # fmt: skip
