"""A peer that is gone does not answer: the kernel ends its connection within a minute.

While data are on their way the kernel repeats them, and gives up after `SILENCE` without an acknowledgement (TCP_USER_TIMEOUT,
RFC 5482). While nothing is, keep-alive probes ask (RFC 9293 section 3.8.4). A peer whose window is shut, such as a player that
pauses, answers the window probes; Linux ends its connection all the same unless it is told again and again to wait: `extended`.
"""

from __future__ import annotations

import contextlib
import socket

SILENCE = 50.0
"""Seconds without an answer after which a peer counts as gone. The kernel's own limit is some 16 minutes. Ten less than the
minute in which a dead link is to be noticed, for timers and round trips."""
PROBE_AFTER = 20
"""Seconds without data after which the kernel asks whether the peer is there; NAT routers forget connections after minutes."""
PROBE_EVERY = 10
"""Seconds between two such questions while none is answered."""
BACKED_OFF = 4
"""Window probes or repeats after which a connection stands still: 3 s after the first on a fast network."""


def end_when_silent(sock: socket.socket) -> None:
    """Have the kernel end a connection whose peer is gone. Set on a listening socket it holds for all that it accepts."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # elsewhere it may take the system's two hours
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_EVERY)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, int(SILENCE - PROBE_AFTER) // PROBE_EVERY)
    set_silence(sock, SILENCE)


def set_silence(sock: socket.socket, seconds: float) -> None:
    """How long the peer may leave data, or probes, without an answer; for probes of a window see `extended`."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        with contextlib.suppress(OSError):  # it may be broken already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


def is_shut(backoff: int, in_flight: int, window: int) -> bool:
    """Does the kernel wait for the peer's window, and not for an acknowledgement of what it has sent?

    Args:
        backoff: how often the timer was doubled (`tcpi_backoff`).
        in_flight: segments that are not acknowledged (`tcpi_unacked`).
        window: the peer's, in bytes.
    """
    return backoff >= BACKED_OFF and (not in_flight or not window)


def extended(shut: float, silence: float) -> float:
    """What to set (`set_silence`) so that a peer with a shut window counts as gone `SILENCE` seconds after its last answer.

    Linux measures that time from the first window probe on, whether probes are answered or not, and probes again when it is
    over at the latest (tcp_probe_timer, since 5.11). So it has to be set anew more often than every `SILENCE` seconds.

    Args:
        shut: seconds since data were sent last, which was shortly before the first probe.
        silence: seconds since the last answer.
    """
    return max(shut - silence, 0.0) + SILENCE
