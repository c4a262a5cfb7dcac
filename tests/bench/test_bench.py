"""The load generator of the benchmarks counts right: bytes, ends, refusals, arrivals."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.bench.accounting import Bill
from tests.bench.charts import bars
from tests.bench.generator import Generator, Group
from tests.bench.goals import rows
from tests.bench.rounds import Results
from tests.bench.scenarios import lags

BODY, PIECE = 300_000, 3_000


@contextmanager
def served(answer: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """A server of threads: `answer` has each accepted connection, which is closed when it returns."""
    listener = socket.create_server(("127.0.0.1", 0))

    def one(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):  # the load has ended
            answer(sock)

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(sock,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def request(sock: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        data = sock.recv(4096)
        if not data:
            return b""
        received += data
    return received


def whole(sock: socket.socket) -> None:
    while request(sock):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BODY + bytes(BODY))


def once(sock: socket.socket) -> None:
    """Sends a piece of a body, which comes with its head, then waits until the load goes away."""
    request(sock)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (10 * BODY) + bytes(PIECE))
    sock.recv(1)


def refusing(sock: socket.socket) -> None:
    request(sock)
    sock.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")


def half(sock: socket.socket) -> None:
    request(sock)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BODY + bytes(BODY // 2))


def group(address: tuple[str, int], **options: object) -> Group:
    return Group("some", "http", address, [("", "", "/file")], **options)  # type: ignore[arg-type]


def test_every_byte_of_a_body_is_counted_and_nothing_else() -> None:
    with served(once) as address:
        generator = Generator([group(address, connections=3)], [os.getpid()])
        load = generator.run(0.3, 5)
    tasks = generator._groups[0].tasks
    assert [task.received for task in tasks] == [PIECE] * 3
    assert load.late == load.groups[0].errors == load.groups[0].finished == 0


@pytest.mark.parametrize("keep", [True, False])
def test_downloads_that_end_are_counted_and_begun_again(keep: bool) -> None:
    with served(whole) as address:
        generator = Generator([group(address, connections=2, keep=keep)], [os.getpid()])
        load = generator.run(0.5, 5)
    (result,) = load.groups
    assert result.finished > 2
    assert result.errors == 0
    begun = sum(task.counted for task in generator._groups[0].tasks)
    received = sum(task.received for task in generator._groups[0].tasks)
    assert begun * BODY <= received <= (begun + 2) * BODY
    assert result.samples[-1] <= sum(result.received)
    assert result.samples == sorted(result.samples)


@pytest.mark.parametrize("answer", [refusing, half])
def test_refusals_and_bodies_that_are_cut_are_errors(answer: Callable[[socket.socket], None]) -> None:
    with served(answer) as address:
        load = Generator([group(address)], [os.getpid()]).run(0.3, 0.2)
    (result,) = load.groups
    assert result.errors > 0
    assert result.finished == 0
    assert result.texts


def test_arrivals_come_at_their_rate_and_end_after_one_download() -> None:
    with served(whole) as address:
        load = Generator([group(address, per_second=50.0)], [os.getpid()]).run(1.0, 5)
    (result,) = load.groups
    assert 0 < result.finished <= 100  # without a rate it would be thousands; a busy machine ends the second late
    assert len(result.latencies) == result.finished
    assert result.errors == 0


def test_a_bill_counts_a_process_and_its_memory() -> None:
    bill = Bill([os.getpid()])
    before = bill.seconds()
    sum(number * number for number in range(2_000_000))
    assert bill.seconds() > before
    assert bill.pss() > 1_000_000
    assert Bill([]).seconds() == Bill([]).pss() == 0


def test_ratios_are_taken_within_a_round() -> None:
    results = Results()
    for mine, its in ((100.0, 50.0), (10.0, 5.0), (30.0, 30.0)):
        results.add("http", "1", "ftpgate", {"MB/s": mine})
        results.add("http", "1", "nginx", {"MB/s": its})
    assert results.ratio("http", "1", "ftpgate", "nginx", "MB/s") == 2.0
    row = rows(results)[0]
    assert (row.figure, row.beside, row.ratio, row.reached) == ("30", "30", "2.00", True)
    assert all(row.reached is None for row in rows(results)[1:])


def test_lags_are_read_from_a_histogram_where_there_is_one() -> None:
    assert lags("ftpgate_loop_lag_worst_seconds 0.004\n") == {"largest lag ms": 4.0}
    histogram = [("0.001", 900), ("0.005", 999), ("0.01", 1000), ("+Inf", 1000)]
    text = "\n".join(f'ftpgate_loop_lag_seconds_bucket{{le="{edge}"}} {count}.0' for edge, count in histogram)
    assert lags(text)["lag p99.9 ms"] == 5.0


def test_a_chart_names_every_case_and_contestant() -> None:
    chart = bars("Speed", {"1": {"a & b": 10.0, "c": 5.0}}, unit="MB/s", better="more")
    assert chart.startswith("<svg")
    assert "a &amp; b" in chart
    assert chart.count("<rect") == 2
