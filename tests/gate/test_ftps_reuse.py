"""Who gets a data connection over TLS: the client that resumes its control connection's session, whoever came first."""

from __future__ import annotations

import ftplib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from ftpgate.ftp import data_handshakes
from tests.gate import tlsgate
from tests.gate.tlsgate import SIZE, versions
from tests.support import clients
from tests.support.inprocess import InProcessGate
from tests.support.media import sha256
from tests.support.rawftp import RawFtp, read_all


@pytest.fixture(scope="module", params=["allow", "require"])
def gate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGate]:
    """The two that look at what is resumed."""
    with tlsgate.gate(tmp_path_factory.mktemp("reuse"), FTPS_REUSE=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGate]:
    with tlsgate.gate(tmp_path_factory.mktemp("require"), FTPS_REUSE="require") as running:
        yield running


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGate]:
    """As it is by default."""
    with tlsgate.gate(tmp_path_factory.mktemp("allow")) as running:
        yield running


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _stranger(gate: InProcessGate, address: tuple[str, int], stack: ExitStack, session: RawFtp | None = None) -> ssl.SSLSocket:
    """A TLS connection from the client's own address that resumes nothing, or the session of another client."""
    sock = socket.create_connection(address, 20)
    other = session.socket if session is not None else None
    assert other is None or isinstance(other, ssl.SSLSocket)
    context = gate.certificate.trusted() if other is None else other.context
    resumed = None if other is None else other.session
    return stack.enter_context(context.wrap_socket(sock, server_hostname="localhost", session=resumed))


def _own(session: RawFtp, address: tuple[str, int], stack: ExitStack) -> ssl.SSLSocket:
    control = session.socket
    assert isinstance(control, ssl.SSLSocket)
    sock = socket.create_connection(address, 20)
    return stack.enter_context(control.context.wrap_socket(sock, server_hostname="localhost", session=control.session))


def _gets_nothing(sock: socket.socket) -> None:
    with suppress(ConnectionError, ssl.SSLError):
        assert sock.recv(1) == b""


@versions
@pytest.mark.parametrize("connects", ["before RETR", "after RETR"])
def test_a_stranger_who_comes_first_gets_nothing(
    gate: InProcessGate, stack: ExitStack, version: ssl.TLSVersion, connects: str
) -> None:
    session = stack.enter_context(tlsgate.session(gate, version))
    another = stack.enter_context(tlsgate.session(gate, version))
    address = session.passive()
    silent = stack.enter_context(socket.create_connection(address))
    strangers = [silent, _stranger(gate, address, stack), _stranger(gate, address, stack, another)]
    if connects == "before RETR":
        own = _own(session, address, stack)
        session.do("RETR Album/track.ogg", "150")
    else:
        tcp = stack.enter_context(socket.create_connection(address, 20))
        session.do("RETR Album/track.ogg", "150")
        assert isinstance(session.socket, ssl.SSLSocket)
        own = session.socket.context.wrap_socket(tcp, server_hostname="localhost", session=session.socket.session)
        stack.enter_context(own)
    assert own.session_reused
    assert len(read_all(own)) == SIZE
    session.expect("226")
    for stranger in strangers:
        _gets_nothing(stranger)


def test_the_session_of_another_client_is_not_resumed(gate: InProcessGate, stack: ExitStack) -> None:
    session, another = (stack.enter_context(tlsgate.session(gate)) for _ in range(2))
    assert not _stranger(gate, session.passive(), stack, another).session_reused


def test_many_strangers_do_not_crowd_the_client_out(gate: InProcessGate, stack: ExitStack) -> None:
    session = stack.enter_context(tlsgate.session(gate))
    address = session.passive()
    for _ in range(3 * data_handshakes.MOST):
        stack.enter_context(socket.create_connection(address))
    own = _own(session, address, stack)
    session.do("NLST Album", "150")
    assert read_all(own) == b"Album/track.ogg\r\n"
    session.expect("226")


def test_a_client_that_resumes_nothing_is_taken_when_it_is_alone(lenient: InProcessGate) -> None:
    with tlsgate.session(lenient) as session, tlsgate.data(session, resume=False) as data:
        session.do("NLST Album", "150")
        assert read_all(data) == b"Album/track.ogg\r\n"
        session.expect("226")


def test_a_silent_stranger_does_not_block_a_client_that_resumes_nothing(lenient: InProcessGate, stack: ExitStack) -> None:
    session = stack.enter_context(tlsgate.session(lenient))
    address = session.passive()
    stack.enter_context(socket.create_connection(address))
    own = _stranger(lenient, address, stack)
    session.do("NLST Album", "150")
    assert read_all(own) == b"Album/track.ogg\r\n"
    session.expect("226")


def test_nobody_gets_the_data_when_two_come_and_none_proves_who_it_is(lenient: InProcessGate, stack: ExitStack) -> None:
    session = stack.enter_context(tlsgate.session(lenient))
    address = session.passive()
    both = [_stranger(lenient, address, stack) for _ in range(2)]
    session.do("RETR Album/track.ogg", "150")
    session.expect("425 More than one")
    for each in both:
        _gets_nothing(each)
    session.do("NOOP", "200")


def test_who_has_resumed_once_is_waited_for(lenient: InProcessGate, stack: ExitStack) -> None:
    """A stranger alone at the port does not get the data of a client that is known to resume."""
    session = stack.enter_context(tlsgate.session(lenient))
    with tlsgate.data(session) as data:
        session.do("NLST", "150")
        assert read_all(data)
    session.expect("226")
    address = session.passive()
    stranger = _stranger(lenient, address, stack)
    session.do("RETR Album/track.ogg", "150")
    assert len(read_all(_own(session, address, stack))) == SIZE
    session.expect("226")
    _gets_nothing(stranger)


def test_required(strict: InProcessGate, stack: ExitStack) -> None:
    session = stack.enter_context(tlsgate.session(strict))
    with tlsgate.data(session, resume=False) as data:
        session.do("RETR Album/track.ogg", "150")
        _gets_nothing(data)
        session.expect("522 The data connection has to resume")
    with tlsgate.data(session) as data:
        session.do("RETR Album/track.ogg", "150")
        assert len(read_all(data)) == SIZE
    session.expect("226")


@pytest.mark.parametrize(("resume", "code"), [(True, "226"), (False, "522")])
def test_required_in_active_mode(strict: InProcessGate, stack: ExitStack, resume: bool, code: str) -> None:
    session = stack.enter_context(tlsgate.session(strict))
    listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    session.do(f"EPRT |1|127.0.0.1|{listening.getsockname()[1]}|", "200")
    session.do("NLST Album", "150")
    sock, _ = listening.accept()
    control = session.socket
    assert isinstance(control, ssl.SSLSocket)
    data = stack.enter_context(
        control.context.wrap_socket(sock, server_hostname="localhost", session=control.session if resume else None)
    )
    if resume:
        assert read_all(data) == b"Album/track.ogg\r\n"
    else:
        _gets_nothing(data)
    session.expect(code)


def test_off_takes_the_first(tmp_path: Path, stack: ExitStack) -> None:
    with tlsgate.gate(tmp_path, FTPS_REUSE="off") as gate:
        session, another = (stack.enter_context(tlsgate.session(gate)) for _ in range(2))
        first = _stranger(gate, session.passive(), stack, another)
        assert first.session_reused
        session.do("NLST Album", "150")
        assert read_all(first) == b"Album/track.ogg\r\n"
        session.expect("226")


# -- real clients, where resuming is required

OBSCURED = "dYLgDwOhem4Yn7vtCS-8nSM"
"""`x`, as rclone wants a password."""

REQUIRED: dict[str, Callable[[str, Path, Path], object]] = {
    "curl": lambda url, to, ca: clients.curl(url, to, "--cacert", str(ca), "--ssl-reqd"),
    "curl-1.2": lambda url, to, ca: clients.curl(url, to, "--cacert", str(ca), "--ssl-reqd", "--tls-max", "1.2"),
    "lftp": lambda url, to, ca: clients.lftp_pget(url, to, ca=ca),
}


@pytest.mark.parametrize("protocol", ["ftp", "ftps"])
@pytest.mark.parametrize("client", REQUIRED)
def test_clients_that_resume(strict: InProcessGate, tmp_path: Path, client: str, protocol: str) -> None:
    token = tlsgate.token(strict)
    port = strict.address(protocol)[1]
    REQUIRED[client](
        f"{protocol}://{token.reveal()}:x@localhost:{port}/Album/track.ogg", tmp_path / "track.ogg", strict.certificate.ca
    )
    assert sha256(tmp_path / "track.ogg") == sha256(strict.media / "Album" / "track.ogg")


def test_wget_resumes_too(strict: InProcessGate, tmp_path: Path) -> None:
    url = f"ftps://{tlsgate.token(strict).reveal()}:x@localhost:{strict.address('ftps')[1]}/Album/track.ogg"
    clients.wget(url, tmp_path / "track.ogg", f"--ca-certificate={strict.certificate.ca}", "--ftps-implicit")
    assert sha256(tmp_path / "track.ogg") == sha256(strict.media / "Album" / "track.ogg")


@pytest.mark.parametrize(("protocol", "option"), [("ftp", "--ftp-explicit-tls"), ("ftps", "--ftp-tls")])
def test_rclone_resumes_too(strict: InProcessGate, tmp_path: Path, protocol: str, option: str) -> None:
    port, user = str(strict.address(protocol)[1]), tlsgate.token(strict).reveal()
    login = ["--ftp-host", "localhost", "--ftp-port", port, "--ftp-user", user, "--ftp-pass", OBSCURED]
    clients.run("rclone", ["copy", *login, option, "--ftp-no-check-certificate", "--retries=1", ":ftp:", str(tmp_path / "all")])
    assert sha256(tmp_path / "all" / "Album" / "track.ogg") == sha256(strict.media / "Album" / "track.ogg")


def test_curl_fetches_several_files_over_one_control_connection(strict: InProcessGate) -> None:
    url = f"ftp://{tlsgate.token(strict).reveal()}:x@localhost:{strict.address('ftp')[1]}/Album/track.ogg"
    options = ["-q", "-sS", "--cacert", str(strict.certificate.ca), "--ssl-reqd"]
    clients.run("curl", [*options, *["-o", "/dev/null", url] * 3])


def _ftplib(gate: InProcessGate, stack: ExitStack) -> ftplib.FTP_TLS:
    ftp = stack.enter_context(ftplib.FTP_TLS(context=gate.certificate.trusted(), timeout=20))
    ftp.connect("localhost", gate.address("ftp")[1])
    ftp.login(tlsgate.token(gate).reveal(), "x")
    ftp.prot_p()
    return ftp


def test_ftplib_resumes_nothing_and_works_by_default(lenient: InProcessGate, stack: ExitStack) -> None:
    received: list[bytes] = []
    ftp = _ftplib(lenient, stack)
    ftp.retrbinary("RETR Album/track.ogg", received.append)
    assert sum(map(len, received)) == SIZE
    assert ftp.nlst("Album") == ["Album/track.ogg"]


def test_ftplib_is_refused_where_resuming_is_required(strict: InProcessGate, stack: ExitStack) -> None:
    ftp = _ftplib(strict, stack)
    with suppress(OSError, EOFError):
        assert ftp.nlst("Album") == []
    with pytest.raises(ftplib.error_perm, match="522"):
        ftp.getresp()
