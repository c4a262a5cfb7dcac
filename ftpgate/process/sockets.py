"""The listening sockets of all workers: opened once by the parent, or by the service manager before it.

The parent keeps them as long as it runs. Connections wait in a socket's queue while its worker is replaced, and pass from one
generation of workers to the next.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ftpgate.errors import UserError
from ftpgate.net.listening import BACKLOG, bind
from ftpgate.net.steering import steer
from ftpgate.settings import Address, Settings
from ftpgate.translatable import os_reason

_log = logging.getLogger("ftpgate.gate")

NAMES = ("ftp", "http", "ftps", "https", "admin")
_FIRST_INHERITED = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""


@dataclass(slots=True)
class Place:
    """One address, and the sockets that listen there.

    Attributes:
        address: with the real port.
        sockets: in the order in which they began to listen, by which the kernel numbers them.
        inherited: opened by the service manager, so that no more can be added: all workers share them.
    """

    address: Address
    sockets: list[socket.socket] = field(default_factory=list)
    inherited: bool = False

    def of_worker(self, number: int, workers: int) -> list[int]:
        """The descriptors that a worker accepts on. Of sockets that were opened for more workers than there are, it has several:
        there may be somebody in their queues."""
        chosen = self.sockets if self.inherited or len(self.sockets) < workers else self.sockets[number::workers]
        return [sock.fileno() for sock in chosen]

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


Places = Mapping[str, Place]
"""Protocol -> where it is served."""


class ListeningSockets:
    """All that the parent holds, by protocol and the address that the settings name."""

    def __init__(self, inherited: Places) -> None:
        self._inherited = inherited
        self._open: dict[tuple[str, Address], Place] = {}

    def places(self, settings: Settings, workers: int) -> dict[str, Place]:
        """Where these settings have the workers listen; opens what is not open yet.

        Raises:
            UserError: an address cannot be listened on.
        """
        found: dict[str, Place] = {}
        opened: list[socket.socket] = []
        try:
            for name in NAMES:
                wanted: Address | None = getattr(settings, name)
                if name in self._inherited:
                    found[name] = self._inherited[name]
                elif wanted is not None:
                    found[name] = self._place(name, wanted, 1 if name == "admin" else workers, opened)
        except UserError:
            for sock in opened:
                sock.close()
            for place in self._open.values():
                place.sockets[:] = [sock for sock in place.sockets if sock not in opened]
            self._open = {key: place for key, place in self._open.items() if place.sockets}
            raise
        return found

    def keep(self, places: Iterable[Places]) -> None:
        """Close all but these."""
        kept = {id(place) for each in places for place in each.values()}
        for key, place in tuple(self._open.items()):
            if id(place) not in kept:
                place.close()
                del self._open[key]

    def close(self) -> None:
        for place in (*self._open.values(), *self._inherited.values()):
            place.close()

    def _place(self, name: str, wanted: Address, count: int, opened: list[socket.socket]) -> Place:
        place = self._open.get((name, wanted)) or self._at(name, wanted)
        try:
            if place is None:
                _check_free(wanted)
            while place is None or len(place.sockets) < count:
                sock = bind(wanted if place is None else place.address, shared=name != "admin")
                opened.append(sock)
                sock.setblocking(False)
                sock.listen(BACKLOG)
                if place is None:
                    place = self._open[name, wanted] = Place(Address(*sock.getsockname()[:2]))
                    if name != "admin":
                        steer(sock, 1)  # further ones get nothing before their workers are there
                place.sockets.append(sock)
        except OSError as error:
            cause = f"FTPGATE_{name.upper()}={wanted} cannot be listened on ({os_reason(error)})"
            raise UserError(cause, "free the port or choose another") from error
        return place

    def _at(self, name: str, wanted: Address) -> Place | None:
        """What was opened for port 0, now that the settings name the port."""
        return next((place for (of, _), place in self._open.items() if of == name and place.address == wanted), None)


def _check_free(address: Address) -> None:
    """Raises OSError when somebody listens there: sockets that are shared could join those of another gate of this user."""
    if address.port:
        with contextlib.closing(bind(address)) as sock:
            sock.listen(1)


def steered(places: Places, workers: int) -> None:
    """Have each client's connections, over all protocols, go to one of the workers."""
    for name, place in places.items():
        if name == "admin" or place.inherited or len(place.sockets) == 1:
            continue
        if not steer(place.sockets[0], workers):
            _log.warning("this system spreads the connections of one client to %s over all workers", place.address)
            return


def inherited(settings: Settings, environ: Mapping[str, str]) -> dict[str, Place]:
    """The sockets that the service manager has opened (sd_listen_fds(3)), by protocol.

    One is known by its name (`FileDescriptorName=ftp`), or by the port that the settings have for a protocol.

    Raises:
        UserError: one of them is for none of the protocols.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, Place] = {}
    for number in range(int(environ.get("LISTEN_FDS") or 0)):
        sock = socket.socket(fileno=_FIRST_INHERITED + number)
        sock.setblocking(False)
        sock.set_inheritable(False)
        given = names[number] if number < len(names) else ""
        address = Address(*sock.getsockname()[:2]) if sock.family in (socket.AF_INET, socket.AF_INET6) else Address("", 0)
        name = given if given in NAMES else _by_port(settings, address.port)
        if not name or sock.type != socket.SOCK_STREAM:
            cause = f"the service manager hands over a socket {given!r} at {address}, which no setting names"
            raise UserError(cause, f"set FileDescriptorName= to one of {', '.join(NAMES)} in its unit")
        found.setdefault(name, Place(address, inherited=True)).sockets.append(sock)
    return found


def _by_port(settings: Settings, port: int) -> str:
    for name in NAMES:
        address: Address | None = getattr(settings, name)
        if address is not None and port and address.port == port:
            return name
    return ""
