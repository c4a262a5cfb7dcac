"""The far link that trials and tests run over: its delay is there, its loss is made good by TCP, its bottleneck holds."""

from __future__ import annotations

import socket
import threading
import time

from tests.support.far_link import CLIENT, SERVER, FarLink


def listener(link: FarLink) -> socket.socket:
    with link.on_server():
        return socket.create_server((SERVER, 0))


def connected(link: FarLink, server: socket.socket) -> tuple[socket.socket, socket.socket]:
    with link.on_client():
        client = socket.create_connection(server.getsockname(), timeout=30)
    accepted, (host, _) = server.accept()
    assert host == CLIENT
    return client, accepted


def test_an_answer_takes_the_time_of_the_way(far_link: FarLink) -> None:
    far_link.set(rtt=60)
    with listener(far_link) as server:
        for _ in range(3):
            began = time.monotonic()
            client, accepted = connected(far_link, server)
            with client, accepted:
                assert time.monotonic() - began >= 0.06
                began = time.monotonic()
                accepted.sendall(b"x")
                assert client.recv(1) == b"x"
                assert time.monotonic() - began >= 0.03


def test_all_bytes_arrive_in_spite_of_loss_and_no_faster_than_the_bottleneck(far_link: FarLink) -> None:
    far_link.set(rtt=4, loss=0.02, rate=2_000_000, queue=64_000)
    with listener(far_link) as server:
        client, accepted = connected(far_link, server)
        with client, accepted:
            sent = bytes(range(256)) * 4_000
            began = time.monotonic()

            def send() -> None:
                accepted.sendall(sent)
                accepted.shutdown(socket.SHUT_WR)

            threading.Thread(target=send, daemon=True).start()
            received = b"".join(iter(lambda: client.recv(65_536), b""))
            assert received == sent
            assert time.monotonic() - began >= len(sent) / 2_000_000


def test_this_side_stays_where_it_was(far_link: FarLink) -> None:
    """Who has been over there and come back is on the loopback of the machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        with far_link.on_client(), far_link.on_server():
            pass
        socket.create_connection(server.getsockname(), timeout=10).close()
