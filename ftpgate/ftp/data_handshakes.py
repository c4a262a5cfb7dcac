"""The TLS handshakes of those who have come for one data connection, and which of them is the client.

An address is no proof: others may share it, and whoever guesses the port may come first. Proof is a TLS session that the client
has from its control connection and resumes here (`FTPGATE_FTPS_REUSE`). Not all clients do: Python's ftplib does not. So one that
resumes is taken at once, and another one only when something is to be sent and nobody else has come.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import Literal

from ftpgate.ftp.tls_commands import TlsCommands
from ftpgate.net.handshake import Handshake
from ftpgate.net.timer import Alarm, CallLater
from ftpgate.net.tls import HandshakeError, TlsSink

_log = logging.getLogger(__name__)

HOLD = 2.0
"""Seconds that those who prove nothing wait, once something is to be sent, for one who does: some round trips on a slow line. The
client has connected by then, since it asks for data only afterwards."""
MOST = 16
"""Handshakes for one data connection; the oldest gives way to a further one."""

FAILED = "522 TLS could not be agreed on for the data connection."
NOT_RESUMED = "522 The data connection has to resume the TLS session of the control connection."
AMBIGUOUS = "425 More than one connection has come for these data, and none resumes the TLS session of the control connection."

Reuse = Literal["off", "allow", "require"]


class DataHandshakes:
    """Those of one passive port or active connection, from the first arrival to the choice.

    Args:
        reuse: `off`: the first one is taken. `allow`, `require`: as above; with the latter nobody who does not resume.
        more_may_come: is the port still open?
        resumes: has the client resumed before on this control connection? Then one that does not has to wait.
        chosen: gets the client's connection; all others are closed.
        refused: is told why there will be none.
    """

    __slots__ = (
        "_alarm", "_candidates", "_chosen", "_more_may_come", "_over", "_refused", "_reply", "_resumes", "_reuse", "_tls",
        "_under_way", "_wanted",
    )  # fmt: skip

    def __init__(
        self, tls: TlsCommands, call_later: CallLater, *, reuse: Reuse, resumes: bool, more_may_come: bool,
        chosen: Callable[[socket.socket, TlsSink], None], refused: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._tls = tls
        self._reuse = reuse
        self._resumes = resumes
        self._more_may_come = more_may_come
        self._chosen = chosen
        self._refused = refused
        self._alarm = Alarm(call_later, self._held)
        self._under_way: dict[socket.socket, Handshake] = {}
        """The oldest first."""
        self._candidates: list[tuple[socket.socket, TlsSink]] = []
        """They are through and have resumed nothing."""
        self._reply = ""
        """Why the last one that was not taken was not."""
        self._wanted = self._over = False

    def add(self, sock: socket.socket) -> None:
        """Somebody has come from the client's address. Raises OSError when he has gone again."""
        while len(self._under_way) + len(self._candidates) >= MOST:
            self._drop_oldest()
        done, failed = partial(self._through, sock), partial(self._failed, sock)
        handshake = self._tls.begin_on_data(sock, done, failed)  # another one may have ended for it, and with that the choice
        if self._over:
            handshake.close()
        else:
            self._under_way[sock] = handshake

    def wanted(self) -> None:
        """Something is to be sent."""
        self._wanted = True
        self._decide()

    def close(self) -> None:
        """Close all of them."""
        self._over = True
        self._alarm.stop()
        under_way, self._under_way = self._under_way, {}
        for handshake in under_way.values():
            handshake.close()
        candidates, self._candidates = self._candidates, []
        for sock, _ in candidates:
            sock.close()

    def _drop_oldest(self) -> None:
        if self._under_way:
            self._under_way.pop(next(iter(self._under_way))).close()
        else:
            self._candidates.pop(0)[0].close()

    def _through(self, sock: socket.socket, sink: TlsSink) -> None:
        del self._under_way[sock]
        if self._reuse == "off" or sink.resumed:
            return self._choose(sock, sink)
        if self._reuse == "require":
            self._reply = NOT_RESUMED
            sock.close()
        else:
            self._candidates.append((sock, sink))
        self._decide()

    def _failed(self, sock: socket.socket, error: HandshakeError) -> None:
        _log.debug("%s on a data connection", error)
        self._under_way.pop(sock, None)
        self._reply = self._reply or FAILED
        sock.close()
        self._decide()

    def _choose(self, sock: socket.socket, sink: TlsSink) -> None:
        self.close()
        self._chosen(sock, sink)

    def _decide(self) -> None:
        """Take the only one that has come, or wait for one that proves who it is."""
        if self._over or not self._wanted or self._waits_for_others():
            return
        if self._candidates or self._reply:
            self._end()

    def _waits_for_others(self) -> bool:
        alone = len(self._candidates) == 1 and not self._resumes
        if not self._under_way and (alone or not self._more_may_come):
            return False
        if self._more_may_come:
            self._alarm.within(HOLD)
        return True

    def _held(self) -> None:
        """Nobody has proved who he is in time."""
        if not self._over and (self._candidates or (self._reply and not self._under_way)):
            self._end()

    def _end(self) -> None:
        if len(self._candidates) == 1:
            return self._choose(*self._candidates.pop())
        reply = AMBIGUOUS if self._candidates else self._reply
        self.close()
        self._refused(reply)
