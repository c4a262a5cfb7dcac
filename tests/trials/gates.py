"""Two gates on one PostgreSQL, and one customer of 2 MB/s whose downloads move between them: does he get just his rate?

Of the gates' calls to the store 1 % are lost, half of them after the store has taken them. Then the store is away for a while.
"""

from __future__ import annotations

import random
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.support.media import write_album
from tests.support.site import Gate, Grant, Site
from tests.trials.counting import Row
from tests.trials.trial import Run, Trial

RATE, CONNECTIONS = 2_000_000, 16
SIZE = 400_000_000
LOST = 0.01
TEN = 10.0
AWAY = 15.0
WITHIN, WORST = 0.05, 1.25
"""Of the rate: over ten seconds, and in one."""
EVERY = 1.0, 4.0
"""Seconds between two moves of the demand."""


class Meter:
    """Downloads at both gates, read by one thread as they come; what was read, in tenths of a second."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.tenths: list[int] = []
        self.most = 0
        """Downloads at a time."""

    def now(self) -> int:
        """The tenth of a second that it is."""
        return int((time.monotonic() - self._began) * 10)

    def open(self, gate: Gate, grant: Grant, start: int) -> socket.socket | None:
        """Another download; None when the gate has refused it."""
        sock = socket.create_connection(gate.http, timeout=10)
        sock.sendall(
            f"GET /d/{grant.token}/Album/file.bin HTTP/1.1\r\nHost: x\r\nRange: bytes={start}-{SIZE - 1}\r\n\r\n".encode()
        )
        if b" 206 " not in sock.recv(15):
            sock.close()
            return None
        with self._lock:
            self._selector.register(sock, selectors.EVENT_READ)
            self.most = max(self.most, len(self._selector.get_map()))
        return sock

    def close(self, sock: socket.socket) -> None:
        with self._lock:
            self._selector.unregister(sock)
        sock.close()

    def __enter__(self) -> Meter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        for key in tuple(self._selector.get_map().values()):
            self.close(key.fileobj)  # type: ignore[arg-type]
        self._selector.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            with self._lock:
                ready = self._selector.select(0)
            for key, _ in ready:
                count = 0
                with suppress(OSError):  # it is being closed
                    count = len(key.fileobj.recv(1 << 18, socket.MSG_DONTWAIT))  # type: ignore[union-attr]
                self._count(count)
            time.sleep(0.002)

    def _count(self, count: int) -> None:
        at = self.now()
        self.tenths += [0] * (at + 1 - len(self.tenths))
        self.tenths[at] += count

    def rates(self, start: int, end: int, seconds: float) -> list[float]:
        """What came within each time of so many seconds between two tenths, as a part of the rate."""
        size = round(seconds * 10)
        return [sum(self.tenths[at : at + size]) / seconds / RATE for at in range(start, min(end, len(self.tenths)) - size + 1)]


class Demand:
    """Downloads that move from gate to gate; never none."""

    def __init__(self, meter: Meter, gates: list[Gate], grant: Grant, rng: random.Random) -> None:
        self._meter, self._gates, self._grant, self._random = meter, gates, grant, rng
        self._running: list[tuple[int, socket.socket]] = []
        self.refused = 0

    def begin(self, gate: int) -> bool:
        sock = self._meter.open(self._gates[gate], self._grant, self._random.randrange(SIZE // 2))
        if sock is None:
            self.refused += 1
            return False
        self._running.append((gate, sock))
        return True

    def move(self) -> None:
        """One download more or less, or all those of one gate end and go on at the other."""
        kind = self._random.randrange(3)
        if kind == 0 and len(self._running) < CONNECTIONS - 2:
            self.begin(self._random.randrange(len(self._gates)))
        elif kind == 1 and len(self._running) > 1:
            self._end(self._random.choice(self._running))
        else:
            here = self._random.choice(self._running)[0]
            leaving = [each for each in self._running if each[0] == here]
            for each in leaving:
                if self.begin((here + 1) % len(self._gates)) or len(self._running) > 1:
                    self._end(each)

    def go_on(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(self._random.uniform(*EVERY), left))
            self.move()

    def _end(self, running: tuple[int, socket.socket]) -> None:
        self._running.remove(running)
        self._meter.close(running[1])


class Wire:
    """Between the gates and PostgreSQL: passes everything on, and holds back what is to be lost.

    A call of the store is told by the name of its function. Of one that is lost either the call or the answer does not arrive;
    its connection is cut, as by a network that fails.
    """

    def __init__(self, port: int, rng: random.Random) -> None:
        self._port, self._random = port, rng
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.away = False
        self.calls = self.lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.away:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._port))
                for sock in (client, server):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                cut_after = threading.Event()
                for source, target, check in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass, args=(source, target, cut_after, check), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, answer_is_lost: threading.Event, from_gate: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 20):
                call = from_gate and b"lease_exchange(" in data
                self.calls += call
                if self.away and (call or not from_gate):
                    break
                if call and self._random.random() < LOST:
                    self.lost += 1
                    if self._random.random() < 0.5:
                        break
                    answer_is_lost.set()
                if not from_gate and answer_is_lost.is_set():
                    break
                target.sendall(data)
        for sock in (source, target):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def _gates(trial: Run, rng: random.Random) -> Iterator[tuple[Site, list[Gate], Wire]]:
    """Two gates, whose calls go through a wire; the shop's own commands do not."""
    lab = trial.labs.make("postgres")
    server = trial.labs.postgres()
    wire = Wire(server.port, rng)
    url = lab.site.environ["FTPGATE_DATABASE_URL"].replace(f":{server.port}/", f":{wire.port}/")
    shared = {"FTPGATE_MEDIA_ROOT": str(lab.site.media_root), "FTPGATE_STATE_DIR": str(lab.site.state_dir)}
    sites = [Site(lab.site.root.parent / f"gate{n}", url, {**lab.site.environ, **shared, **_PORTS}) for n in range(2)]
    try:
        for site in sites:
            site.environ["FTPGATE_DATABASE_URL"] = url
        yield lab.site, [site.start() for site in sites], wire
    finally:
        for site in sites:
            site.close()
        wire.close()
        lab.close()


_PORTS = {f"FTPGATE_{name}": "127.0.0.1:0" for name in ("FTP", "HTTP", "FTPS", "HTTPS", "ADMIN")}


def _figures(row: Row, trial: Run, what: str, rates: list[float], low: float, high: float) -> None:
    if not rates:
        return
    row.more |= {f"{what}: least": round(min(rates), 3), f"{what}: most": round(max(rates), 3)}
    verdict = "reached" if low <= min(rates) and max(rates) <= high else "NOT reached"
    goal = f"{low:g} to {high:g}" if low else f"at most {high:g}"
    trial.notes.append(f"{what}: {min(rates):.3f} to {max(rates):.3f} of the rate (goal {goal}: {verdict}).")
    trial.say(trial.notes[-1])


def run(trial: Run) -> None:
    rng = random.Random(trial.seed)
    with _gates(trial, rng) as (shop, gates, wire), Meter() as meter:
        write_album(shop.media_root / "Album", {"file.bin": 1}, seed="a")
        with (shop.media_root / "Album" / "file.bin").open("wb") as file:
            file.truncate(SIZE)
        item = shop.add_item(shop.media_root / "Album", title="Album")
        user = shop.add_user("anna", shop.set_tier("two", str(RATE), connections=CONNECTIONS))
        demand = Demand(meter, gates, shop.issue(user, item["id"]), rng)
        demand.begin(0)
        demand.begin(1)
        time.sleep(2.0)
        steady = _time(meter, lambda: demand.go_on(max(trial.seconds - AWAY - 2 * TEN, 2 * TEN)))
        wire.away = True
        away = _time(meter, lambda: demand.go_on(AWAY))
        wire.away = False
        time.sleep(TEN)
        after = _time(meter, lambda: demand.go_on(2 * TEN))
        row = trial.rows.setdefault("one customer, two gates", Row("one customer, two gates"))
        _figures(row, trial, "ten seconds", meter.rates(*steady, TEN), 1 - WITHIN, 1 + WITHIN)
        _figures(row, trial, "one second", meter.rates(*steady, 1.0), 0.0, WORST)
        _figures(row, trial, "store away: one second", meter.rates(*away, 1.0), 0.0, 2.0)
        _figures(row, trial, "store back: ten seconds", meter.rates(*after, TEN), 1 - WITHIN, 1 + WITHIN)
        row.more |= {"connections at most": meter.most, "refused": demand.refused, "calls": wire.calls, "lost": wire.lost}


def _time(meter: Meter, act: Callable[[], None]) -> tuple[int, int]:
    """Do it; between which tenths of a second that was."""
    began = meter.now()
    act()
    return began, meter.now()


TRIAL = Trial("One customer's downloads move between two gates; calls of the store are lost.", run, 90, 300, apart=True)
