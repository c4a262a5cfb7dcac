"""Which plaintext has arrived, of the ciphertext that has: by counting, and beside what a real client decrypts."""

from __future__ import annotations

import fcntl
import socket
import ssl
import struct
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ftpgate.net.tcp_info import TRUTHFUL
from ftpgate.net.tls import BATCH, Certificates, Step, TlsSink
from ftpgate.net.tls_records import KEPT, RECORD, TlsRecords
from tests.support.certificates import Certificate
from tests.support.waiting import wait_until

ADDED = 22
SEALED = RECORD + ADDED
"""Bytes of ciphertext of a full record."""


def learned(cipher: int = 1_000) -> TlsRecords:
    """A connection whose handshake took so many bytes, and its first record of 100 bytes as many as it says."""
    records = TlsRecords(cipher)
    records.sealed(100)
    records.measured(cipher + 100 + ADDED, 0)
    return records


FIRST = 1_100 + ADDED


def test_what_a_record_adds_is_learned_from_the_first() -> None:
    records = TlsRecords(1_000)
    assert records.opened(1_000) is None
    records.sealed(100)
    records.sealed(RECORD + 1)
    records.measured(1_000 + 100 + RECORD + 1 + 3 * ADDED, 0)
    assert records.opened(1_000 + 100 + RECORD + 1 + 3 * ADDED) == 100 + RECORD + 1
    assert records.learned


@pytest.mark.parametrize("added", [0, 16, 65, 22.5])
def test_what_no_cipher_adds_is_not_learned(added: float) -> None:
    records = TlsRecords(1_000)
    records.sealed(2 * RECORD)
    records.measured(1_000 + 2 * RECORD + int(2 * added), 0)
    assert not records.learned


def test_only_whole_records_have_arrived() -> None:
    records = learned()
    records.sealed(2 * RECORD + 10)
    for cipher, plain in (
        (FIRST, 100),
        (FIRST + SEALED - 1, 100),
        (FIRST + SEALED, 100 + RECORD),
        (FIRST + 2 * SEALED + 9, 100 + 2 * RECORD),
        (FIRST + 2 * SEALED + 10 + ADDED, 100 + 2 * RECORD + 10),
    ):
        assert records.opened(cipher) == plain
    records.arrived(FIRST + SEALED)
    assert records.opened(FIRST + SEALED) == 100 + RECORD


def test_records_of_a_batch_arrive_before_all_of_it_is_sealed() -> None:
    records = learned()
    records.measured(FIRST + 3 * SEALED + 5, BATCH)
    assert records.opened(FIRST + 2 * SEALED - 1, BATCH) == 100 + RECORD
    assert records.opened(FIRST + 8 * SEALED, BATCH) == 100 + BATCH
    records.sealed(BATCH)
    assert records.opened(FIRST + 2 * SEALED - 1) == 100 + RECORD


def test_after_a_record_of_another_kind_only_what_follows_is_known() -> None:
    """The answer to a KeyUpdate, between two batches."""
    records = learned()
    records.sealed(RECORD)
    records.measured(FIRST + SEALED + 27, 0)
    assert records.opened(FIRST + SEALED) is None
    assert records.opened(FIRST + SEALED + 27) == 100 + RECORD
    records.sealed(RECORD)
    assert records.opened(FIRST + 2 * SEALED + 27) == 100 + 2 * RECORD


def test_records_that_are_shorter_than_expected_are_noticed_within_a_batch() -> None:
    """A client may ask for records of 512 bytes at the most."""
    records = learned()
    records.sealed(BATCH)
    records.measured(FIRST + BATCH + BATCH // 512 * ADDED + 20_000, BATCH)
    assert records.opened(FIRST + BATCH) == 100 + 7 * RECORD, "what fits is believed"
    records.measured(FIRST + 2 * BATCH + 2 * BATCH // 512 * ADDED, BATCH)
    assert records.opened(FIRST + BATCH, BATCH) is None
    records.sealed(BATCH)
    records.measured(FIRST + 9_999_999, 0)
    assert records.opened(FIRST + 9_999_999) == 100 + 2 * BATCH, "all of it has arrived"
    assert records.opened(FIRST + 9_999_998) is None


def test_batches_are_bounded() -> None:
    records = learned()
    for _ in range(KEPT + 1):
        records.sealed(1)
    assert records.opened(FIRST) is None
    assert records.opened(FIRST + 1 + ADDED) == 101


# ---- beside a real client


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    made = Certificate(tmp_path)
    return Certificates(made.chain, made.key)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection; the client's buffer holds little, and its kernel takes what is sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            server.setblocking(False)
            client.settimeout(10)
            yield server, client


class Decrypting:
    """A client that decrypts what its kernel holds and leaves it there."""

    def __init__(self, client: socket.socket, version: ssl.TLSVersion) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        self._socket = client
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out)

    def handshake(self, sink: TlsSink) -> None:
        step, done = Step.READ, False
        while step is not Step.THROUGH or not done:
            try:
                self._tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            if self._out.pending:
                self._socket.sendall(self._out.read())
            step = sink.handshake() if step is not Step.THROUGH else step
            if self._held():
                self._in.write(self._socket.recv(self._held()))

    def plaintext(self) -> int:
        """Bytes in the whole records that its kernel holds."""
        held = self._held()
        self._in.write(self._socket.recv(held, socket.MSG_PEEK) if held else b"")
        count = 0
        while True:
            try:
                count += len(self._tls.read(1 << 20))
            except ssl.SSLWantReadError:
                return count

    def _held(self) -> int:
        count: int = struct.unpack("i", fcntl.ioctl(self._socket, termios.FIONREAD, b"\0" * 4))[0]
        return count


@pytest.mark.skipif(not TRUTHFUL, reason="this system does not tell what is acknowledged")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_has_arrived_is_what_a_client_can_decrypt(
    version: ssl.TLSVersion, pair: tuple[socket.socket, socket.socket], certificates: Certificates
) -> None:
    server, client = pair
    sink = certificates.accept(server)
    reader = Decrypting(client, version)
    reader.handshake(sink)
    data = memoryview(bytes(BATCH))
    sink.wire.written += sink.send(data[:1_000])
    with suppress(BlockingIOError):
        while sink.wire.written < 100 * BATCH:
            sink.wire.written += sink.send(data)
    assert sink.wire.ahead == BATCH, "it waits in the midst of a batch"
    arrived = 0

    def settled() -> bool:
        nonlocal arrived
        before, arrived = arrived, sink.wire.look().acknowledged
        return 0 < arrived == before

    wait_until(settled, 10, "the client's buffer is full")
    got = reader.plaintext()
    wait_until(lambda: sink.wire.look().acknowledged == got, 10, f"{got} bytes acknowledged")
    assert (got - 1_000) % RECORD == 0
    assert sink.wire.look().sent >= got
    assert sink.wire.written - sink.wire.queued() < got, "the least that it may be"
