"""What a TLS connection is made with, and when its client has had the time to end first, before it is sent a close_notify."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from OpenSSL import SSL
from OpenSSL._util import lib as openssl

from ftpgate.net.tls import STILL_READING, Certificates, HandshakeError, Step, still_reads
from ftpgate.proof.window import FULLY_OPEN, TcpSnapshot
from tests.support.certificates import Certificate


@pytest.mark.parametrize(
    ("unread", "silence", "reads"),
    [
        (0, 0.0, False),
        (FULLY_OPEN, 0.0, False),
        (FULLY_OPEN + 1, STILL_READING - 0.001, True),
        (FULLY_OPEN + 1, STILL_READING, False),  # it is stuck: our end may wake it
    ],
)
def test_a_client_that_has_data_in_sight_still_reads(unread: int, silence: float, reads: bool) -> None:
    look = TcpSnapshot(3_000_000, unread, 0, 0, 3_000_000, silence, False)
    assert still_reads(look) is reads


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    made = Certificate(tmp_path_factory.mktemp("certificate"))
    return Certificates(made.chain, made.key)


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    for sock in (ours, theirs):
        sock.setblocking(False)
    with closing(ours), closing(theirs):
        yield ours, theirs


@pytest.mark.parametrize(
    ("group", "taken"),
    [("X25519", True), ("P-256", True), ("P-384", True), ("X448", False), ("P-521", False), ("ffdhe2048", False)],
)
def test_the_groups_of_the_key_exchange_are_those_of_mozillas_intermediate_profile(
    certificates: Certificates, sockets: tuple[socket.socket, socket.socket], group: str, taken: bool
) -> None:
    ours, theirs = sockets
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)  # in 1.2 the group of the certificate would have to be among them too
    assert openssl.SSL_CTX_set1_curves_list(context._context, group.encode()) == 1
    client = SSL.Connection(context, theirs)
    client.set_connect_state()
    assert _agree(certificates, ours, client) is taken


def _agree(certificates: Certificates, ours: socket.socket, client: SSL.Connection) -> bool:
    """Do the gate's side and this client come through the handshake?"""
    server = certificates.accept(ours)
    for _ in range(100):
        try:
            client.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error:
            return False
        try:
            if server.handshake() is Step.THROUGH:
                return True
        except HandshakeError:
            return False
    raise AssertionError("the handshake does not end")
