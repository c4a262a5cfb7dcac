"""A far network on one machine: two network namespaces joined by a wire with delay, loss and a bottleneck.

The wire is this file, run as a program: it carries packets between two tun devices. No netem is needed; root is, or the
capabilities to make namespaces and devices. All of it is gone when the program ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from types import TracebackType

SERVER, CLIENT = "10.77.0.1", "10.77.0.2"
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_HEADER = 0x1001  # IFF_TUN | IFF_NO_PI
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_READY_SECONDS = 15.0


class NotAllowed(Exception):
    """This machine lets us make no network namespaces; the text says why."""


class FarLink:
    """The link; a context manager that removes it.

    Each side is a network of its own, entered by the calling thread and by what it starts meanwhile. Sockets stay where they
    were made.

    Raises:
        NotAllowed: by the constructor.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            self._server, self._client = self._sides()
        except BaseException:
            self.close()
            raise

    def set(self, *, rtt: float, loss: float = 0.0, rate: float = 0.0, queue: int = 256_000) -> None:
        """Change the link.

        Args:
            rtt: milliseconds there and back.
            loss: share of the packets that get lost, each way.
            rate: bytes a second, each way; 0 for no limit.
            queue: bytes that wait before the bottleneck; what does not fit is lost.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(f"{rtt} {loss} {rate} {queue}\n")
        self._process.stdin.flush()

    @contextlib.contextmanager
    def on_server(self) -> Iterator[None]:
        """Be on the side of SERVER."""
        with self._inside(self._server):
            yield

    @contextlib.contextmanager
    def on_client(self) -> Iterator[None]:
        """Be on the side of CLIENT."""
        with self._inside(self._client):
            yield

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        for name in ("_server", "_client"):
            with contextlib.suppress(AttributeError, OSError):
                os.close(getattr(self, name))

    def __enter__(self) -> FarLink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _sides(self) -> Sequence[int]:
        """Descriptors of both networks."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _READY_SECONDS)
        line = self._process.stdout.readline() if ready else ""
        if not line.startswith("READY"):
            self._process.kill()
            reason = self._process.stderr.read().strip().splitlines() or ["the wire did not start"]
            raise NotAllowed(reason[-1])
        return [os.open(f"/proc/{self._process.pid}/fd/{number}", os.O_RDONLY) for number in line.split()[1:]]

    @contextlib.contextmanager
    def _inside(self, network: int) -> Iterator[None]:
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _set_network(network)
            try:
                yield
            finally:
                _set_network(before)
        finally:
            os.close(before)


def _set_network(descriptor: int) -> None:
    _call("setns", descriptor, _NEW_NETWORK)


def _call(name: str, *arguments: int) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


# ---------------------------------------------------------------------------------------------- the program
def _make_side(here: str, there: str) -> tuple[int, int]:
    """Enter a new network with an address; the descriptors of the network and of its device."""
    _call("unshare", _NEW_NETWORK)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", b"far0", _TUN_WITHOUT_HEADER))
    for command in (
        "link set lo up",
        "link set far0 mtu 1500 txqueuelen 10000 up",
        f"addr add {here} peer {there} dev far0",
    ):
        subprocess.run(["ip", *command.split()], check=True, env={"PATH": _PATH})
    return os.open("/proc/self/ns/net", os.O_RDONLY), device


class _Wire:
    """Packets under way, by time of arrival, for either direction."""

    def __init__(self, devices: Sequence[int]) -> None:
        self._devices = devices
        self._under_way: tuple[deque[tuple[float, bytes]], ...] = (deque(), deque())
        self._free_at = [0.0, 0.0]
        self._random = random.Random(1)
        self._delay, self._loss, self._rate, self._queue = 0.0, 0.0, 0.0, 256_000

    def set(self, rtt: float, loss: float, rate: float, queue: float) -> None:
        self._delay, self._loss, self._rate, self._queue = rtt / 2_000, loss, rate, int(queue)

    def run(self, orders: int) -> None:
        """Until the end of `orders`, a descriptor with lines of settings."""
        held = b""
        while True:
            due = min((packets[0][0] for packets in self._under_way if packets), default=float("inf"))
            wait = min(max(due - time.monotonic(), 0.0), 1.0)
            ready, _, _ = select.select([orders, *self._devices], [], [], wait)
            if orders in ready:
                data = os.read(orders, 4_096)
                if not data:
                    return
                *lines, held = (held + data).split(b"\n")
                for line in lines:
                    self.set(*map(float, line.split()))
            for way in (0, 1):
                if self._devices[way] in ready:
                    self._take(way)
                self._hand_over(way)

    def _take(self, way: int) -> None:
        now = time.monotonic()
        for _ in range(64):
            try:
                packet = os.read(self._devices[way], 65_536)
            except BlockingIOError:
                return
            if self._loss and self._random.random() < self._loss:
                continue
            leaves = now
            if self._rate:
                begins = max(now, self._free_at[way])
                if (begins - now) * self._rate > self._queue:
                    continue
                leaves = self._free_at[way] = begins + len(packet) / self._rate
            self._under_way[way].append((leaves + self._delay, packet))

    def _hand_over(self, way: int) -> None:
        packets, now = self._under_way[way], time.monotonic()
        while packets and packets[0][0] <= now:
            with contextlib.suppress(BlockingIOError):  # the other side's queue is full: the packet is lost
                os.write(self._devices[1 - way], packets[0][1])
            packets.popleft()


def _main() -> int:
    try:
        sides = [_make_side(SERVER, CLIENT), _make_side(CLIENT, SERVER)]
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print("READY", *(network for network, _ in sides), flush=True)
    _Wire([device for _, device in sides]).run(sys.stdin.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(_main())
