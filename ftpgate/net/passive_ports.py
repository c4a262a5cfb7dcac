"""The ports on which data connections of FTP are awaited: one range for all customers, of which each has a share.

Whoever opens many ports leaves the others theirs. When none is free, the customer with the most gives one up, then the address
with the most, then whoever has waited for so long that his client cannot be coming any more.
"""

from __future__ import annotations

import errno
import random
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

from ftpgate.net.addresses import network
from ftpgate.net.places import Crowd
from ftpgate.net.silence import end_when_silent

SocketAddress = tuple[Any, ...]

OF_ONE_CUSTOMER = 2
"""What part of the range one customer may hold: half. All his sessions may ask for ports at once, and a range may be short."""
OF_ONE_ADDRESS = 3, 4
"""The same of one address: three quarters, because many customers may share it."""
STALE = 5.0
"""Seconds after which a port that nobody has connected to may be given to another one."""
WAITING = 16
"""Connections that the kernel keeps for one port until they are accepted."""
_TRIES = 2_000
"""Ports tried for one command, which costs two milliseconds when all of them are in use."""


def listen_within(ports: range, local: SocketAddress, family: int) -> socket.socket | None:
    """A socket that listens at the address `local` on a free port of `ports`, begun at random; None when none is free.

    Raises:
        OSError: there are no more sockets.
    """
    first = random.randrange(len(ports))  # noqa: S311 - it spreads; who may connect is decided otherwise
    for step in range(min(len(ports), _TRIES)):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((local[0], ports[(first + step) % len(ports)], *local[2:]))
            end_when_silent(sock)  # and what it accepts
            sock.listen(WAITING)
            return sock
        except OSError as error:
            sock.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    return None


class OpenPort:
    """A port that one client has been told of.

    Attributes:
        socket: it listens there.
        give_way: ends the wait, and calls `close`; called when another customer needs the port.
    """

    __slots__ = ("_ports", "address", "customer", "give_way", "since", "socket")

    def __init__(
        self, ports: PassivePorts, sock: socket.socket, customer: str, address: str, give_way: Callable[[], None]
    ) -> None:
        self._ports = ports
        self.socket = sock
        self.customer = customer
        self.address = address
        self.give_way = give_way
        self.since = time.monotonic()

    @property
    def number(self) -> int:
        return int(self.socket.getsockname()[1])

    @property
    def stale(self) -> bool:
        return time.monotonic() - self.since >= STALE

    def close(self) -> None:
        """Give it back; the socket must not be registered any more. Repeats are harmless."""
        self._ports.closed(self)
        self.socket.close()


class PassivePorts:
    """All of one gate. Lives on the loop's thread.

    Args:
        ports: the range that they are taken from.
    """

    def __init__(self, ports: range) -> None:
        self._range = ports
        self._most_of_customer = max(len(ports) // OF_ONE_CUSTOMER, 1)
        self._most_of_address = max(len(ports) * OF_ONE_ADDRESS[0] // OF_ONE_ADDRESS[1], 1)
        self._open: dict[OpenPort, None] = {}
        """The oldest first."""
        self._by_customer: Crowd[OpenPort] = Crowd()
        self._by_address: Crowd[OpenPort] = Crowd()

    def __len__(self) -> int:
        return len(self._open)

    def open(
        self, local: SocketAddress, family: int, *, customer: str, peer: str, give_way: Callable[[], None]
    ) -> OpenPort | None:
        """A port at the address `local`; None when the customer or his address has its share, or none is free.

        Args:
            customer: a name that is his alone.
            peer: the client's address.
            give_way: as of `OpenPort`.

        Raises:
            OSError: there are no more sockets.
        """
        address = network(peer)
        if not (self._customer_may(customer) and self._address_may(address, customer)):
            return None
        sock = listen_within(self._range, local, family)
        if sock is None and (number := self._make_room(customer, address)):
            sock = listen_within(range(number, number + 1), local, family)
        if sock is None:
            return None
        port = OpenPort(self, sock, customer, address, give_way)
        self._open[port] = None
        self._by_customer.add(customer, port)
        self._by_address.add(address, port)
        return port

    def closed(self, port: OpenPort) -> None:
        """`port` is given back."""
        self._open.pop(port, None)
        self._by_customer.discard(port.customer, port)
        self._by_address.discard(port.address, port)

    def _customer_may(self, customer: str) -> bool:
        """May one more be opened for him? One that nobody has come to gives way to it."""
        if self._by_customer.count(customer) < self._most_of_customer:
            return True
        return self._end_stale(self._by_customer.members(customer))

    def _address_may(self, address: str, customer: str) -> bool:
        """The same of his address; who has the most there gives one up to others."""
        if self._by_address.count(address) < self._most_of_address:
            return True
        members = self._by_address.members(address)
        chosen = max(members, key=lambda port: self._by_customer.count(port.customer))
        if self._by_customer.count(chosen.customer) <= self._by_customer.count(customer) + 1:
            return self._end_stale(members)
        chosen.give_way()
        return True

    def _make_room(self, customer: str, address: str) -> int:
        """Have another one's port given up. Returns its number, 0 when nobody has more than he may."""
        chosen = self._one_of_many(self._by_customer, customer) or self._one_of_many(self._by_address, address)
        if chosen is None:
            chosen = next(iter(self._open), None)
            if chosen is None or not chosen.stale:
                return 0
        number = chosen.number
        chosen.give_way()
        return number

    @staticmethod
    def _end_stale(ports: Iterable[OpenPort]) -> bool:
        """Have the oldest give way, if it has waited for too long."""
        oldest = next(iter(ports))
        if oldest.stale:
            oldest.give_way()
        return oldest.stale

    @staticmethod
    def _one_of_many(crowd: Crowd[OpenPort], name: str) -> OpenPort | None:
        """The oldest port of who has the most, if that is more than `name` would have with one more."""
        largest = crowd.largest()
        if largest is None or crowd.count(largest) <= crowd.count(name) + 1:
            return None
        return next(iter(crowd.members(largest)))
