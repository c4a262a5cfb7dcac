"""Addresses: what clients are told, and what one machine dials on another."""

from __future__ import annotations

import pytest

from ftpgate.endpoints import client_addresses, dialled_from, only_at_home, parse_advertised


def test_what_is_advertised_comes_before_the_public_host_and_that_before_where_a_gate_listens() -> None:
    listening = {"ftp": "0.0.0.0:21", "http": "10.0.0.1:80", "ftps": "", "admin": "127.0.0.1:9121"}
    assert client_addresses(listening, {}, None) == {"http": "10.0.0.1:80"}
    assert client_addresses(listening, {}, "g.example.org") == {"ftp": "g.example.org:21", "http": "g.example.org:80"}
    assert client_addresses(listening, {"ftp": "f.example.org:2121"}, "g.example.org") == {
        "ftp": "f.example.org:2121",
        "http": "g.example.org:80",
    }


def test_what_is_advertised_for_a_protocol_that_is_not_spoken_is_left_out() -> None:
    assert client_addresses({"http": "10.0.0.1:80"}, {"ftps": "f.example.org:990"}, None) == {"http": "10.0.0.1:80"}


def test_advertised_addresses_are_read() -> None:
    assert parse_advertised(" http=g.example.org:80 ,ftps=[2001:db8::1]:990") == {
        "http": "g.example.org:80",
        "ftps": "[2001:db8::1]:990",
    }


@pytest.mark.parametrize(
    ("address", "host", "dialled"),
    [
        ("0.0.0.0:9121", "here", "127.0.0.1:9121"),
        ("[::]:9121", "here", "[::1]:9121"),
        ("0.0.0.0:9121", "there", "there:9121"),
        ("[::]:9121", "there", "there:9121"),
        ("10.0.0.1:9121", "there", "10.0.0.1:9121"),
    ],
)
def test_every_interface_of_a_machine_is_dialled_by_its_name(address: str, host: str, dialled: str) -> None:
    assert dialled_from(address, host, "here") == dialled


def test_loopback_is_known() -> None:
    assert [only_at_home(address) for address in ("127.0.0.1:1", "127.9.0.1:1", "[::1]:1", "localhost:1", "10.0.0.1:1")] == [
        True, True, True, True, False,
    ]  # fmt: skip
