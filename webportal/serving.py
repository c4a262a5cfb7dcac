"""The portal's HTTP server: waitress, bounded against clients that are slow or many.

Requests are read whole, and answers sent, on waitress's own loop; a thread is taken only for what lies between. So a client
that sends a byte a second, or none, costs a socket and holds up nobody. Here its time is bounded, and so is the number of
sockets: when there are too many, the address that has most of them loses the one that has waited longest.
"""

from __future__ import annotations

import logging
import resource
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher
from waitress.utilities import RequestEntityTooLarge

from ftpgate.net.addresses import network

_log = logging.getLogger(__name__)

HEAD_SECONDS, BODY_SECONDS, IDLE_SECONDS = 20.0, 300.0, 30.0
"""For a request's head and for all of it, from its first byte; between requests, and for an answer that is not read."""
MOST_CONNECTIONS = 1_000
"""Fewer where the limit of open files leaves no room for so many."""
MOST_UPLOAD, MOST_BODY = 24 << 20, 2 << 20
"""Bytes of a request's body: in the admin, where covers are uploaded, and elsewhere."""
MOST_UNFINISHED = 256 << 20
"""Bytes of all requests that are not whole yet. Those of more than half a megabyte lie in temporary files."""
_MOST_HEAD = 32 << 10
"""Bytes of a request's head: cookies and a long search have a few kilobytes."""
_OTHER_DESCRIPTORS, _FEWEST_CONNECTIONS = 200, 50
_THREADS = 16
"""That answer requests: most of their time they wait for the database."""
_STOP_SECONDS = 10.0
"""That requests under way have after SIGTERM."""


class _Parser(HTTPRequestParser):
    path = ""
    """waitress sets it when it has read a first line; it needs it too when a client has gone that sent none."""

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        if self.chunked:
            self.headers["TRANSFER_ENCODING"] = "chunked"  # the API refuses bodies that do not say their length
        if self.content_length > MOST_BODY and not self.path.startswith("/admin/"):
            self.error = RequestEntityTooLarge(f"a body has at most {MOST_BODY} bytes here")
            self.body_rcv = None


class _Channel(HTTPChannel):
    """One connection."""

    parser_class = _Parser
    unfinished = 0
    """Bytes of the request that is being read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.waits_since: float = time.monotonic()
        super().__init__(*args, **kwargs)
        self.network = network(self.addr[0])

    def received(self, data: bytes) -> bool:
        if self.request is None:
            self.waits_since = time.monotonic()
        done = bool(super().received(data))
        self.unfinished = 0 if self.request is None else self.unfinished + len(data)
        return done

    def service(self) -> None:
        super().service()
        self.waits_since = time.monotonic()

    def _flush_some(self, do_close: bool = True) -> bool:
        """waitress's loop does so without the lock, also while a thread sends `100 Continue` for the next request."""
        with self.outbuf_lock:
            return bool(super()._flush_some(do_close))

    @property
    def waits(self) -> bool:
        """Is it the client's turn?"""
        return not self.requests

    def is_late(self, now: float) -> bool:
        """Has the client taken too long?"""
        request = self.request
        if request is None or self.total_outbufs_len:
            return bool(time.time() - self.last_activity > IDLE_SECONDS)
        return now - self.waits_since > (BODY_SECONDS if request.headers_finished else HEAD_SECONDS)


class _Server(TcpWSGIServer):
    channel_class = _Channel

    def __init__(self, application: Callable[..., Any], listener: socket.socket) -> None:
        adjustments = Adjustments(
            ident="",
            connection_limit=1 << 30,  # waitress would accept nobody any more
            asyncore_use_poll=True,
            cleanup_interval=1,
            max_request_header_size=_MOST_HEAD,
            max_request_body_size=MOST_UPLOAD,
            clear_untrusted_proxy_headers=False,  # FTPGATE_TRUSTED_PROXIES says what is believed
            log_socket_errors=False,
        )
        dispatcher = ThreadedTaskDispatcher()
        dispatcher.set_thread_count(_THREADS)
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OTHER_DESCRIPTORS
        self.most_connections = min(MOST_CONNECTIONS, max(_FEWEST_CONNECTIONS, descriptors))
        known = (listener.family, listener.type, listener.proto, listener.getsockname())
        super().__init__(application, {}, True, listener, dispatcher, adjustments, known, bind_socket=False)

    def handle_accept(self) -> None:
        super().handle_accept()
        if len(self.active_channels) > self.most_connections:
            self._close_one()

    def maintenance(self, _now: float) -> None:
        """Close the connections whose clients take too long, and the largest of too many unfinished requests."""
        now = time.monotonic()
        for channel in self._waiting():
            if channel.is_late(now):
                channel.will_close = True
        left = sum(channel.unfinished for channel in self.active_channels.values())
        for channel in sorted(self._waiting(), key=lambda channel: -channel.unfinished):
            if left <= MOST_UNFINISHED:
                break
            left -= channel.unfinished
            channel.will_close = True

    def serve(self) -> None:
        """Until SIGTERM or SIGINT, and then until the answers under way are sent, for some seconds."""
        stopped = False

        def stop(*_: object) -> None:
            nonlocal stopped
            stopped = True
            self.pull_trigger()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # there is nothing to read again, and a terminal may end before the portal
        _log.info("Listening at: http://%s", _shown(self.socket.getsockname()))
        while not stopped:
            self._turn()
        _log.info("stopping")
        wasyncore.dispatcher.close(self)
        deadline = time.monotonic() + _STOP_SECONDS
        while any(channel.requests or channel.total_outbufs_len for channel in self._all()) and time.monotonic() < deadline:
            self._turn()
        self.task_dispatcher.shutdown(timeout=max(0.0, deadline - time.monotonic()))
        wasyncore.close_all(self._map, ignore_all=True)

    def _turn(self) -> None:
        wasyncore.loop(timeout=1, use_poll=True, map=self._map, count=1)

    def _all(self) -> list[_Channel]:
        return list(self.active_channels.values())

    def _waiting(self) -> list[_Channel]:
        return [channel for channel in self._all() if channel.waits]

    def _close_one(self) -> None:
        waiting = self._waiting()
        by_network = Counter(channel.network for channel in self._all())
        most = max(waiting, key=lambda channel: (by_network[channel.network], -channel.waits_since), default=None)
        if most is not None:
            most.handle_close()


def listener(host: str, port: int) -> socket.socket:
    """A bound socket, which does not listen yet: nobody is answered before the portal can. Raises OSError."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def serve(application: Callable[..., Any], bound: socket.socket) -> None:
    """Serve a WSGI application at a socket of `listener` until SIGTERM or SIGINT."""
    _Server(application, bound).serve()


def _shown(address: Any) -> str:
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
