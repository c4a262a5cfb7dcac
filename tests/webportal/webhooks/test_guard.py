"""Where events may be sent, and what may be said there."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.webportal.webhooks.receiver import Handler, Receiver
from webportal.core.errors import EndpointError
from webportal.webhooks.guard import is_internal, target
from webportal.webhooks.sending import MOST_ANSWER, Unsent, post

INTERNAL = (
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "100.100.100.200", "192.0.0.192", "198.18.0.1", "192.0.2.1", "203.0.113.9", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "168.63.129.16",
    "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:7f00:1::", "100::1", "::7f00:1", "fec0::1",
)  # fmt: skip
PUBLIC = ("1.1.1.1", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1")


pytestmark = pytest.mark.databases("sqlite")  # as little as is used of them here


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.mark.parametrize("address", INTERNAL)
def test_inside_is_inside(address: str) -> None:
    assert is_internal(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_outside_is_outside(address: str) -> None:
    assert not is_internal(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        *(f"https://[{address}]/" if ":" in address else f"https://{address}/" for address in INTERNAL),
        "https://localhost/", "https://LOCALHOST./", "https://127.0.0.1./", "https://shop.example../", "https://./",
        "https://2130706433/", "https://0x7f.1/", "https://017700000001/", "https://127.1/", "https://0x7f000001/", "https://127.0.0.0x1/",
        "https://10.0.1/", "https://127.0.0.01/", "https://0xA.0.0.1:8443/x",
        "https://a.localhost/", "https://printer.local/", "https://db.internal:5432/",
        "http://shop.example/", "ftp://shop.example/", "file:///etc/passwd", "gopher://shop.example/", "shop.example", "", "https://",
        "https:///path", "https://user:secret@shop.example/", "https://shop.example@127.0.0.1/", "https://shop.example/#x",
        "https://shop.example#@127.0.0.1/", "https://shop.example\\@127.0.0.1/", "https://sh op.example/",
        "https://shop.example/\r\nX: y",
        "https://shop.example:0/", "https://shop.example:99999/", "https://shop.example:x/", "https://[::1", "https://[fe80::1%25eth0]/",
        "https://shop..example/", "https://-shop.example/", "https://магазин.example/", "https://shop.example/" + "x" * 1_000,
    ],
)  # fmt: skip
def test_addresses_that_a_shop_cannot_give(url: str) -> None:
    with pytest.raises(EndpointError):
        target(url, allow_internal=False)


def test_the_parts_of_an_address() -> None:
    assert target("https://shop.example:8443/a/b?c=d", allow_internal=False) == (True, "shop.example", 8443, "/a/b?c=d")
    assert target("https://shop.example", allow_internal=False) == (True, "shop.example", 443, "/")
    dotted = target("https://shop.example.:8443/a", allow_internal=False)  # a certificate has no dot at its end
    assert (dotted.host, dotted.authority) == ("shop.example", "shop.example:8443")
    inside = target("http://[::1]:80/x", allow_internal=True)
    assert (inside, inside.authority) == ((False, "::1", 80, "/x"), "[::1]")


def names(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let every name lead to these addresses; returns the names that are asked for."""
    asked: list[str] = []

    def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [(family, socket.SOCK_STREAM, 6, "", (address, port)) for family, address in zip(families, addresses, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "169.254.169.254", "fe80::1%eth0", "10.0.0.1"])
def test_a_name_that_leads_inside_is_not_connected_to(receiver: Receiver, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    asked = names(monkeypatch, "1.1.1.1", address)
    with pytest.raises(Unsent, match="leads to the internal address"):
        post(f"https://shop.example:{receiver.port}/", {}, b"{}", seconds=1)
    assert asked == ["shop.example"]
    assert receiver.calls == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0"])
def test_numbers_in_disguise_lead_inside(receiver: Receiver, host: str) -> None:
    with pytest.raises(Unsent, match=r"internal address|not known|not the name"):
        post(f"https://{host}:{receiver.port}/", {}, b"{}", seconds=1)
    assert receiver.calls == []


def test_the_name_is_looked_up_once_and_that_address_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = names(monkeypatch, "127.0.0.1")
    answer = post(f"http://shop.example:{receiver.port}/hooks?a=b", {"webhook-id": "x"}, b"{}", allow_internal=True)
    assert (answer.status, asked) == (200, ["shop.example"])
    (call,) = receiver.calls
    assert (call.path, call.headers["host"], call.body) == ("/hooks?a=b", f"shop.example:{receiver.port}", b"{}")


def test_the_next_address_is_tried_when_nobody_listens_at_the_first(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, "127.0.0.2", "127.0.0.1")
    assert post(f"http://shop.example:{receiver.port}/", {}, b"", allow_internal=True).status == 200


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    receiver.behave = lambda handler: handler.answer(302, Location="/elsewhere")
    assert post(receiver.url, {}, b"{}", allow_internal=True).status == 302
    assert len(receiver.calls) == 1


def test_no_proxy_of_the_environment_is_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert post(receiver.url, {}, b"{}", allow_internal=True).status == 200


def test_little_is_read_of_an_endless_answer(receiver: Receiver) -> None:
    sent = []

    def behave(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65_536)
                sent.append(65_536)
        except OSError:
            handler.close_connection = True

    receiver.behave = behave
    answer = post(receiver.url, {}, b"{}", allow_internal=True)
    assert answer == (200, "x" * MOST_ANSWER)


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_endless_head_is_given_up(part: bytes) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                try:
                    connection.sendall(part)
                    while True:
                        connection.sendall(b"x" * 1_000 if part.endswith(b" ") else part)
                except OSError:
                    pass

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(Unsent, match=r"not HTTP|no end"):
            post(f"http://127.0.0.1:{server.getsockname()[1]}/", {}, b"{}", allow_internal=True)


@pytest.mark.parametrize("drip", [b"", b"H"])
def test_who_says_nothing_or_says_it_byte_by_byte_is_given_up_in_time(drip: bytes) -> None:
    over = threading.Event()
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                while not over.wait(0.1):
                    connection.sendall(drip)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(Unsent, match=r"no answer within 0.5 s"):
            post(f"http://127.0.0.1:{server.getsockname()[1]}/", {}, b"{}", allow_internal=True, seconds=0.5)
        over.set()


def test_what_is_not_there_or_speaks_no_http(receiver: Receiver) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    with pytest.raises(Unsent, match="the connection failed"):
        post(f"http://127.0.0.1:{port}/", {}, b"", allow_internal=True)
    with pytest.raises(Unsent, match=r"TLS failed|the connection failed"):
        post(f"https://127.0.0.1:{receiver.port}/", {}, b"", allow_internal=True)
    with pytest.raises(Unsent, match="not known"):
        post("https://no-such-name.invalid/", {}, b"")
