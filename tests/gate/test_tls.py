"""TLS on the gate: handshakes of every kind, HTTPS, what is required, and ends that nobody waits for."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from ftpgate.http import limits
from ftpgate.net import handshake
from ftpgate.net.tls_records import RECORD
from tests.gate import raw, tlsgate
from tests.gate.tlsgate import SIZE, versions
from tests.support.inprocess import InProcessGate
from tests.support.rawftp import read_all
from tests.support.rawhttp import RawClient
from tests.support.tools import require_tool
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGate]:
    with tlsgate.gate(tmp_path_factory.mktemp("allow")) as running:
        yield running


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGate]:
    """A gate that requires TLS."""
    with tlsgate.gate(tmp_path_factory.mktemp("require"), TLS="require", HTTPS="127.0.0.1:0") as running:
        yield running


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("protocol", ["https", "ftps"])
def test_old_versions_are_refused(gate: InProcessGate, protocol: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        raw.connect(gate.address(protocol), secure=context)


# -- HTTPS


def test_requests_in_many_records_and_many_requests_in_one(gate: InProcessGate) -> None:
    token = tlsgate.token(gate).reveal()
    one = f"HEAD /d/{token}/Album/track.ogg HTTP/1.1\r\nHost: gate\r\n\r\n".encode()
    with raw.connect(gate.address("https"), secure=gate.certificate.trusted()) as sock:
        for at in range(len(one)):
            sock.sendall(one[at : at + 1])
        assert raw.read_head(sock)[0] == 200
        sock.sendall(one * 300)
        for _ in range(300):
            assert raw.read_head(sock)[0] == 200


def test_a_last_answer_is_read_by_count(gate: InProcessGate) -> None:
    """`Connection: close`: the client closes when it has counted its bytes, before it could read a close_notify."""
    token = tlsgate.token(gate)
    sock = raw.connect(gate.address("https"), secure=gate.certificate.trusted())
    raw.http_request(sock, f"/d/{token.reveal()}/Album/track.ogg", more="Connection: close\r\n")
    raw.read_head(sock)
    with raw.Download(0, sock) as download:
        assert download.read(SIZE) == SIZE
    wait_until(lambda: token.grant in gate.shop.completed, 10, "completion")


def test_a_last_answer_is_read_to_its_end(gate: InProcessGate) -> None:
    """And who waits for the end instead gets it with a close_notify."""
    token = tlsgate.token(gate)
    context = gate.certificate.trusted()
    sock = socket.create_connection(gate.address("https"))
    secure = context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False)
    raw.http_request(secure, f"/d/{token.reveal()}/Album/track.ogg", more="Connection: close\r\n")
    raw.read_head(secure)
    assert len(read_all(secure)) == SIZE
    secure.close()
    wait_until(lambda: token.grant in gate.shop.completed, 10, "completion")


@versions
def test_a_client_that_reads_less_than_a_record_at_a_time(
    gate: InProcessGate, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """axel reads 5 kB whenever its socket is readable, and forgets what its TLS library holds besides."""
    monkeypatch.setattr(limits, "COUNTING_CLOSE_NOTIFY_DELAY", 3_600.0)
    full_records = 20 * RECORD
    token = tlsgate.token(gate)
    with raw.connect(gate.address("https"), secure=gate.certificate.trusted(version)) as sock:
        more = f"Range: bytes=-{full_records}\r\nConnection: close\r\n"
        raw.http_request(sock, f"/d/{token.reveal()}/Album/track.ogg", more=more)
        raw.read_head(sock)
        got = 0
        while got < full_records and select.select([sock], [], [], 10)[0]:
            got += len(sock.recv(5_120))
        assert got == full_records


@versions
def test_https_sessions_are_resumed(gate: InProcessGate, version: ssl.TLSVersion) -> None:
    context = gate.certificate.trusted(version)
    target = f"/d/{tlsgate.token(gate).reveal()}/Album/track.ogg"
    session = None
    for known in (False, True):
        with raw.connect(gate.address("https"), secure=context, session=session) as sock:
            assert isinstance(sock, ssl.SSLSocket)
            assert sock.session_reused is known
            raw.http_request(sock, target, method="HEAD")
            assert raw.read_head(sock)[0] == 200
            session = sock.session


def test_keys_are_updated_in_the_middle_of_a_download(gate: InProcessGate) -> None:
    """TLS 1.3 lets a client change keys at any time, and ask the server to do so too."""
    token = tlsgate.token(gate)
    host, port = gate.address("https")
    command = [require_tool("openssl"), "s_client", "-tls1_3", "-connect", f"{host}:{port}", "-CAfile", str(gate.certificate.ca)]
    received = bytearray()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as client:
        stdin, stdout, stderr = client.stdin, client.stdout, client.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None

        def read() -> None:
            while data := stdout.read(65_536):
                received.extend(data)

        def update() -> None:
            stdin.write(b"K\n")
            while b"KEYUPDATE" not in stderr.readline():
                pass

        reader = threading.Thread(target=read)
        reader.start()
        update()
        stdin.write(f"GET /d/{token.reveal()}/Album/track.ogg HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n".encode())
        wait_until(lambda: len(received) > 100_000, 10, "the beginning of the file")
        update()
        update()
        reader.join(30)
        stdin.close()
    assert len(received) > SIZE
    wait_until(lambda: token.grant in gate.shop.completed, 10, "completion")


# -- who speaks the wrong language, or nothing


def test_plain_http_where_tls_is_spoken(gate: InProcessGate) -> None:
    with RawClient(gate.address("https")) as client:
        reply = client.ask("/robots.txt").reply()
        assert reply.status == 400
        assert b"https" in reply.body
        assert client.ended()


@pytest.mark.parametrize("protocol", ["https", "ftps"])
def test_garbage_where_tls_is_spoken(gate: InProcessGate, protocol: str) -> None:
    with raw.connect(gate.address(protocol)) as sock:
        sock.sendall(b"\0" * 64)
        with contextlib.suppress(ConnectionResetError):
            read_all(sock)


@pytest.mark.parametrize("protocol", ["http", "ftp"])
def test_tls_where_plain_text_is_spoken(gate: InProcessGate, protocol: str) -> None:
    with pytest.raises(ssl.SSLError):
        raw.connect(gate.address(protocol), secure=gate.certificate.trusted())


@pytest.fixture
def running(gate: InProcessGate) -> Callable[[], int]:
    """How many handshakes are under way."""
    tls = gate.gate.tls
    assert tls is not None
    return lambda: gate.call(lambda: len(tls))


@pytest.mark.parametrize("protocol", ["https", "ftps"])
def test_a_handshake_that_does_not_come(
    gate: InProcessGate, protocol: str, running: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "WITHIN", 0.5)
    with raw.connect(gate.address(protocol)) as silent, raw.connect(gate.address(protocol)) as slow:
        wait_until(lambda: running() == 2, 10, "two handshakes")
        slow.sendall(b"\x16\x03\x01")
        assert silent.recv(1) == b""
        with contextlib.suppress(ConnectionResetError):
            assert slow.recv(1) == b""
        assert running() == 0


def test_a_client_that_leaves_within_the_handshake(gate: InProcessGate, running: Callable[[], int]) -> None:
    for protocol in ("https", "ftps"):
        with raw.connect(gate.address(protocol)) as sock:
            sock.sendall(b"\x16\x03\x01")
            wait_until(lambda: running() == 1, 10, "a handshake")
        wait_until(lambda: running() == 0, 10, "its end")


def test_handshakes_are_bounded(gate: InProcessGate, running: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest gives way: a client that means it is through long before."""
    monkeypatch.setattr(handshake, "MOST", 8)
    target = f"/d/{tlsgate.token(gate).reveal()}/Album/track.ogg"
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(raw.connect(gate.address("https"))) for _ in range(20)]
        assert silent[0].recv(1) == b""
        with raw.http_get(gate.address("https"), target, secure=gate.certificate.trusted()) as download:
            assert download.read(SIZE) == SIZE
        assert running() <= 8
    wait_until(lambda: running() == 0, 10, "their end")


def test_a_burst_of_clients(gate: InProcessGate, running: Callable[[], int]) -> None:
    """All hellos at once; what one turn of the loop has no time for waits for the next."""
    context = gate.certificate.trusted()
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(100):
            sock = stack.enter_context(raw.connect(gate.address("https")))
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            secure = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
            with contextlib.suppress(ssl.SSLWantReadError):
                secure.do_handshake()
            clients.append((sock, secure, incoming, outgoing))
        for sock, _, _, outgoing in clients:
            sock.sendall(outgoing.read())
        for sock, secure, incoming, outgoing in clients:
            while True:
                try:
                    secure.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    incoming.write(sock.recv(65_536))
            sock.sendall(outgoing.read())
        wait_until(lambda: running() == 0, 10, "all handshakes")


# -- TLS required


def test_plain_http_is_sent_to_https(strict: InProcessGate) -> None:
    before = strict.shop.look_ups
    port = strict.address("https")[1]
    with RawClient(strict.address("http")) as client:
        for path in ("/d/x-y/Album%20%231/a%2Fb/%D1%91.ogg", "/", "/d/x/"):
            for method in ("GET", "HEAD"):
                reply = client.ask(path, method=method).reply(head=method == "HEAD")
                assert reply.status == 308
                assert reply.headers["location"] == f"https://test:{port}{path}"
        assert client.ask("/", method="POST").reply().status == 405
    assert strict.shop.look_ups == before


def test_links_lead_over_tls(strict: InProcessGate) -> None:
    token = tlsgate.token(strict).reveal()
    with raw.connect(strict.address("https"), secure=strict.certificate.trusted()) as sock:
        raw.http_request(sock, f"/d/{token}/downloads.meta4", more="Connection: close\r\n")
        raw.read_head(sock)
        links = read_all(sock).decode()
    assert f'<url priority="1">https://gate/d/{token}/' in links
    assert f'<url priority="2">ftps://{token}:x@127.0.0.1:{strict.address("ftps")[1]}/' in links
    assert "http://" not in links
    assert "ftp://" not in links
