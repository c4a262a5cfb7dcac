"""The whole way of another shop: it sells through the API, its customer downloads, and it books the delivery once, though
the portal is killed and answers get lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.clients import curl
from tests.support.site import Site
from tests.support.waiting import wait_until
from tests.webportal.webhooks.receiver import Handler, Receiver

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[1] / "webportal" / "api" / "example_shop.py"


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


class Portal:
    """The portal as a process of its own, to be killed."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.url = f"http://127.0.0.1:{free_port()}/api/v1"
        site.environ["FTPGATE_PORTAL"] = self.url.split("/")[2]

    @contextmanager
    def running(self) -> Iterator[Callable[[], None]]:
        """Until the end of the block, where it is killed as by SIGKILL, all its processes at once."""
        self._site.take_static_files()
        with (self._site.root / "portal.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "ftpgate", "portal"],
                env=self._site.environ, cwd=self._site.root, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

        def kill() -> None:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)

        try:
            wait_until(self._answers, 60, "the portal")
            yield kill
        finally:
            kill()

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.url, timeout=10).close()
        except urllib.error.HTTPError:
            return True  # there is nothing at this address
        except OSError:
            return False
        return True


class ExampleShop:
    """The program that the manual shows."""

    def __init__(self, root: Path, **environ: str) -> None:
        self.port = free_port()
        self._books = root / "books.sqlite3"
        given = {"SHOP_BOOKS": str(self._books), "SHOP_PORT": str(self.port), **environ}
        self._environ = {
            "PATH": os.environ["PATH"],
            **{f"SHOP_{name.removeprefix('SHOP_')}": text for name, text in given.items()},
        }

    def sell(self, order: str, customer: str, item: str) -> str:
        done = subprocess.run(
            [sys.executable, EXAMPLE, "sell", order, customer, item],
            env=self._environ, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout.strip()

    @contextmanager
    def listening(self) -> Iterator[None]:
        process = subprocess.Popen([sys.executable, EXAMPLE, "listen"], env=self._environ, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", self.port)) == 0, 30, "the shop")
            yield
        finally:
            process.kill()
            process.wait(10)

    def rows(self, table: str) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(self._books)) as books:
            return list(books.execute(f"SELECT * FROM {table}"))


def test_it_books_the_delivery_once(site: Site, tmp_path: Path) -> None:
    site.start()
    album = site.album({"01 one.ogg": 3_000_000, "02 two.ogg": 100_000})
    portal = Portal(site)
    key = site.run("manage", "api_key", "acme", "--scope", "grants:write", "--scope", "grants:read", "--scope", "webhooks:write")
    with Receiver() as wire:
        added = site.run("manage", "webhook_endpoint", "acme", wire.url, "--allow-internal")
        endpoint, secret = added.stdout.split()
        shop = ExampleShop(tmp_path, API=portal.url, KEY=key.stdout.strip(), SECRET=secret)

        # Sold, and asked again as if the answer had been lost. The portal is killed while it tells of it.
        wire.behave = wire.hang
        with portal.running() as kill:
            link = shop.sell("order-1", "customer-17", album["id"])
            assert shop.sell("order-1", "customer-17", album["id"]) == link
            wait_until(lambda: wire.calls, 30, "the first attempt")
            kill()
        hung = wire.calls[0]
        assert hung.document["type"] == "grant.issued"
        grant = hung.document["data"]["grant"]

        # The customer downloads while there is no portal: the gate alone writes down what happened.
        for name in ("01%20one.ogg", "02%20two.ogg"):
            curl(f"{link}Album/{name}", tmp_path / name)
        site.wait_for_grant(grant)

        # The portal is back; the shop hears of everything, but its first answer to each gets lost on the way.
        with shop.listening():
            wire.behave = lambda handler: pass_on(wire, handler, shop.port)
            with portal.running():
                wait_until(lambda: len(shop.rows("heard")) == 3, 60, "the events")
                wait_until(lambda: waiting(portal, endpoint, key.stdout.strip()) == 0, 90, "the end of the repeats")
        told = [(call.event, call.document["type"]) for call in wire.calls]
        assert {kind for _, kind in told} == {"grant.issued", "item.complete", "grant.complete"}
        assert len({event for event, _ in told}) == 3, "a repeat has the id of the first attempt"
        assert all(told.count(one) >= 2 for one in told)
        assert told.count((hung.event, "grant.issued")) >= 3
        assert {event for event, _ in told} == {event for (event,) in shop.rows("heard")}
        ((customer, booked, _),) = shop.rows("delivered")
        assert (customer, booked) == ("customer-17", grant)


def pass_on(wire: Receiver, handler: Handler, port: int) -> None:
    """Hand a call to the shop; its answer comes through from the second time on."""
    call = wire.calls[-1]
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", call.body, call.headers, method="POST")
    with urllib.request.urlopen(request, timeout=20) as answer:
        status = answer.status
    seen = sum(1 for other in wire.calls if other.event == call.event and other is not wire.calls[0])
    if seen < 2:
        handler.close_connection = True
    else:
        handler.answer(status)


def waiting(portal: Portal, endpoint: str, key: str) -> int:
    request = urllib.request.Request(f"{portal.url}/webhooks/{endpoint}", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return int(json.load(answer)["waiting"])
