"""What windows hide: python -m tests.bench.windows [--clients N] [--seconds T] [--segment BYTES]

Clients that pause, that are slow, or that read just as fast as the data come, each at a rate of its own, are sent to in the
way that the gate does it; after every chunk, what the rules of credit hold for surely read is compared with what the
client has really read by then. Both are known here, since the clients count what they read in shared memory.

For each manner and rate it prints how much lay unread behind the window at the most, and by how much too much was credited.
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ftpgate.net.sockets import PlainSink
from ftpgate.proof.credit import PACED_CHUNK, Credit

RATES = (200_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 20_000_000)
LATE = 0.2
"""Seconds of the rate that are made up for after a delay, as the gate's pacer does."""


def pauses(rate: int, seconds: float, rng: random.Random) -> Iterator[tuple[int, float]]:
    """Whenever it has read all: a manner yields how much it reads at the most, and how long it waits before that."""
    while True:
        yield 0, rng.expovariate(1 / seconds)


def in_bursts(rate: int, seconds: float, rng: random.Random) -> Iterator[tuple[int, float]]:
    while True:
        yield rng.randrange(1, 4_000_000), rng.random() * seconds


def once_late(rate: int, seconds: float, rng: random.Random) -> Iterator[tuple[int, float]]:
    yield rate * 2, 0.0
    yield 1 << 60, seconds


def slow(rate: int, seconds: float, rng: random.Random) -> Iterator[tuple[int, float]]:
    slower = rate * rng.uniform(0.75, 1.0)
    while True:
        yield 16_384, 16_384 / slower


def as_it_comes(rate: int, seconds: float, rng: random.Random) -> Iterator[tuple[int, float]]:
    """With what had come meanwhile before it began always behind it."""
    yield 16_384, 0.0
    began, read = time.monotonic() + seconds, 0
    while True:
        yield 16_384, began + read / rate - time.monotonic()
        read += 16_384


def steadily(rate: int, seconds: float, rng: random.Random) -> Iterator[tuple[int, float]]:
    yield 1 << 60, 0.0


Manner = Callable[[int, float, random.Random], Iterator[tuple[int, float]]]
MANNERS: tuple[Manner, ...] = (pauses, in_bursts, once_late, slow, as_it_comes, steadily)


class Reader:
    """One client: reads in its manner until `ends`, and is gone."""

    def __init__(self, sock: socket.socket, steps: Iterator[tuple[int, float]], ends: float) -> None:
        self.socket = sock
        self.ends = ends
        self.total = 0
        self._steps = steps
        self._left = 0
        self._until = 0.0

    def turn(self, now: float) -> bool:
        """Read once, if it is time for that; was there something?"""
        if now < self._until:
            return False
        try:
            came = len(self.socket.recv(65_536 if self._left <= 0 else min(self._left, 65_536)))
        except BlockingIOError:
            if self._left <= 0:
                self._step(now)
            return False
        self.total += came
        self._left -= came
        if self._left == 0:
            self._step(now)
        return True

    def _step(self, now: float) -> None:
        self._left, wait = next(self._steps)
        self._until = now + wait


def read(address: tuple[str, int], manners: list[tuple[Manner, int]], counts: memoryview, options: argparse.Namespace) -> None:
    """The clients' process."""
    rng = random.Random(options.seed)
    end = time.monotonic() + options.seconds
    readers = {}
    for n, (manner, rate) in enumerate(manners):
        sock = socket.socket()
        if options.segment:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, options.segment)
        sock.connect(address)
        sock.sendall(n.to_bytes(4, "big"))
        sock.setblocking(False)
        steps = manner(rate, 10 ** rng.uniform(-2.3, 0.3), rng)
        readers[n] = Reader(sock, steps, end - rng.random() * options.seconds * 0.6)
    while readers:
        busy, now = False, time.monotonic()
        for n, reader in tuple(readers.items()):
            busy |= reader.turn(now)
            counts[n] = reader.total
            if now >= reader.ends:
                readers.pop(n).socket.close()
        if not busy:
            time.sleep(0.001)


@dataclass
class Sent:
    """The server's end of one client, judged by the rules of credit."""

    socket: socket.socket
    number: int
    rate: int
    updated: float
    allowed: float = 0.0
    shown: int = 0
    hidden: int = 0
    allowance: int = 0
    excess: int = 0
    sink: PlainSink = field(init=False)
    credit: Credit = field(init=False)

    def __post_init__(self) -> None:
        self.socket.setblocking(False)
        self.sink = PlainSink(self.socket)
        self.credit = Credit(0, 1 << 60)
        self.credit.judge_pace(self.rate, PACED_CHUNK)

    def send(self, now: float, counts: memoryview) -> bool:
        """As many chunks as are due; False when the client is gone."""
        self.allowed = min(self.allowed + (now - self.updated) * self.rate, PACED_CHUNK + self.rate * LATE)
        self.updated = now
        while self.allowed >= PACED_CHUNK:
            try:
                count = self.sink.send(bytes(PACED_CHUNK))
            except BlockingIOError:
                return True
            except OSError:
                return False
            finally:
                self.look(now, counts)
            self.allowed -= count
            self.sink.wire.written += count
        return True

    def look(self, now: float, counts: memoryview) -> None:
        # What the last look has shown, against what is read by now: a client counts a little after it has read.
        read = counts[self.number]
        self.hidden = max(self.hidden, self.shown - read)
        self.excess = max(self.excess, self.credit.credited - read)
        look = self.sink.wire.look()
        self.credit.progress(now, look)
        self.shown = look.acknowledged - look.unread
        self.allowance = max(self.allowance, look.hidden)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.windows", description="What windows hide, and what is credited.")
    parser.add_argument("--clients", type=int, default=36)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--segment", type=int, default=0, help="bytes of a TCP segment (64 kB over loopback, 1448 on most ways)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    manners = [(MANNERS[n % len(MANNERS)], rng.choice(RATES)) for n in range(options.clients)]
    counts = memoryview(mmap.mmap(-1, 8 * options.clients)).cast("q")
    listener = socket.create_server(("127.0.0.1", 0), backlog=options.clients)
    if options.segment:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, options.segment)
    child = os.fork()
    if not child:
        read(listener.getsockname(), manners, counts, options)
        os._exit(0)
    sent = []
    for _ in manners:
        sock, _peer = listener.accept()
        number = int.from_bytes(sock.recv(4, socket.MSG_WAITALL), "big")
        sent.append(Sent(sock, number, manners[number][1], time.monotonic()))
    running = set(range(len(sent)))
    while running:
        now = time.monotonic()
        running = {n for n in running if sent[n].send(now, counts)}
        time.sleep(0.002)
    os.waitpid(child, 0)
    found = defaultdict(list)
    for one in sent:
        found[manners[one.number][0].__name__].append(one)
    print(f"{'manner':<12} {'clients':>8} {'hidden, kB':>11} {'allowed for, kB':>16} {'credited too much, kB':>22}")
    for name, ones in found.items():
        worst = [max(getattr(one, what) for one in ones) / 1000 for what in ("hidden", "allowance", "excess")]
        print(f"{name:<12} {len(ones):>8} {worst[0]:>11,.0f} {worst[1]:>16,.0f} {worst[2]:>22,.0f}")


if __name__ == "__main__":
    main()
