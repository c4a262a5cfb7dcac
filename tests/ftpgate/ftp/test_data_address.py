"""The addresses of PORT and EPRT: read as pyftpdlib's own handler reads them."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyftpdlib.handlers import FTPHandler

from ftpgate.errors import GateError
from ftpgate.ftp.data_address import IPV4, IPV6, parse_eprt, parse_port


class Handler:
    """What pyftpdlib's commands need of a handler; notes what they come to."""

    _epsvall = False

    def __init__(self, family: int) -> None:
        self.socket = socket.socket(family)
        self.found: Any = None

    def respond(self, reply: str) -> None:
        self.found = reply

    def _make_eport(self, host: str, port: int) -> None:
        self.found = (host, port)


def theirs(command: str, argument: str, family: int = socket.AF_INET) -> Any:
    handler = Handler(family)
    with handler.socket:
        getattr(FTPHandler, f"ftp_{command}")(handler, argument)
    return handler.found


def port(argument: str) -> Any:
    try:
        return parse_port(argument)
    except GateError as error:
        return f"{error.ftp} {error.text}"


def eprt(argument: str, spoken: tuple[str, ...]) -> Any:
    try:
        return parse_eprt(argument, spoken)
    except GateError as error:
        return f"{error.ftp} {error.text}"


NUMBERS = st.integers(-1, 70_000).map(str) | st.sampled_from(["", " 1", "01", "٣", "x", "1_0", "+4"])
HOSTS = st.lists(st.integers(-1, 257).map(str) | NUMBERS, min_size=3, max_size=5).map(".".join)


@given(st.lists(st.integers(-1, 257).map(str) | NUMBERS, min_size=4, max_size=7).map(",".join) | st.text(min_size=1))
@example("127,0,0,1,200,1")
@example("1,2,3,4,255,255")
@example("1,2,3,4,256,0")
def test_port(argument: str) -> None:
    assert port(argument) == theirs("PORT", argument)


@pytest.mark.parametrize(("family", "spoken"), [(socket.AF_INET, (IPV4,)), (socket.AF_INET6, (IPV6, IPV4))])
@given(
    st.tuples(st.sampled_from("|!1"), st.sampled_from(["1", "2", "3", ""]), HOSTS | st.just("::1"), NUMBERS).map(
        lambda parts: f"{parts[0]}{parts[0].join(parts[1:])}{parts[0]}"
    )
    | st.text(min_size=1)
)
@example("|1|127.0.0.1|51201|")
@example("|2|::1|51201|")
def test_eprt(family: int, spoken: tuple[str, ...], argument: str) -> None:
    if family == socket.AF_INET6 and not socket.has_dualstack_ipv6():
        spoken = (IPV6,)
    assert eprt(argument, spoken) == theirs("EPRT", argument, family)
