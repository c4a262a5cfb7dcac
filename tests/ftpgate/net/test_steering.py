"""Which socket of several at one address a client's connections go to, over IPv4 and IPv6."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.tools import ROOT

CONNECT = """
import json, socket, sys
from ftpgate.net.listening import bind
from ftpgate.net.steering import steer
from ftpgate.settings import Address

family, listening, to, sources, among = json.loads(sys.argv[1])
sockets = []
for _ in range(4):
    sockets.append(bind(sockets and Address(*sockets[0].getsockname()[:2]) or Address(listening, 0), shared=True))
    sockets[-1].listen(50)
    sockets[-1].setblocking(False)
assert steer(sockets[0], among)
found = []
for source in sources:
    with socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET) as client:
        client.bind((source, 0))
        client.connect((to, sockets[0].getsockname()[1]))
        for number, listener in enumerate(sockets):
            try:
                listener.accept()[0].close()
            except BlockingIOError:
                continue
            found.append(number)
print(json.dumps(found))
"""
NETWORK = (
    """ip link set lo up; ip -6 route add local fd00:1::/32 dev lo; echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind; exec "$@\""""
)


def taken_by(
    family: int, listening: str, to: str, sources: list[str], among: int = 4, *, prefix: tuple[str, ...] = ()
) -> list[int]:
    """The number of the socket that has taken each connection, of four that listen, `among` the first of them."""
    asked = json.dumps([family, listening, to, sources, among])
    command = [*prefix, sys.executable, "-c", CONNECT, asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    found: list[int] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("listening", ["127.0.0.1", "::"])
def test_an_ipv4_address_stays_with_one_socket(listening: str) -> None:
    hosts = [f"127.0.0.{number}" for number in range(2, 40)]
    found = taken_by(4, listening, "127.0.0.1", hosts * 3)
    assert found == found[: len(hosts)] * 3
    assert set(found) == {0, 1, 2, 3}


def test_sockets_beyond_the_workers_get_nothing() -> None:
    found = taken_by(4, "127.0.0.1", "127.0.0.1", [f"127.0.0.{number}" for number in range(2, 40)], among=2)
    assert set(found) == {0, 1}


def test_a_64_of_ipv6_stays_with_one_socket() -> None:
    inside = ("unshare", "--net", "sh", "-ec", NETWORK, "sh")
    if subprocess.run([*inside, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no network namespaces here")
    networks = [f"fd00:1:{number:x}:{number * 7 % 5:x}" for number in range(1, 40)]
    hosts = [f"{network}::{host}" for host in ("1", "2", "ffff:2:3") for network in networks]
    found = taken_by(6, "::", "fd00:1::1", hosts, prefix=inside)
    assert found == found[: len(networks)] * 3
    assert set(found) == {0, 1, 2, 3}
