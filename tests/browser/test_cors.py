"""A shop's own page, from an origin of its own, calls the API and follows a grant, in a browser."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.browser.conftest import Shop
from tests.browser.person import Person
from tests.support.waiting import wait_until

CALL = """async ([url, key]) => {
    const answer = await fetch(url, {headers: {Authorization: `Bearer ${key}`}});
    return [answer.status, (await answer.json())];
}"""
FOLLOW = """url => new Promise((done, failed) => {
    const source = new EventSource(url);
    source.addEventListener("progress", event => { source.close(); done(JSON.parse(event.data).grant); });
    source.onerror = () => failed(new Error("no stream"));
})"""
REASON = "async url => { const answer = await fetch(url); return [answer.status, await answer.text()]; }"


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><link rel=icon href='data:,'><title>Another shop</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def _another_shop() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_page_of_another_shop(shop: Shop, person: Callable[..., Person]) -> None:
    with _another_shop() as own, _another_shop() as foreign:
        key = shop.site.run("manage", "api_key", "acme", "--scope", "items:read", "--origin", own).stdout.strip()
        items = f"{shop.url}/api/v1/items"
        visitor = person()
        visitor.page.goto(own)
        status, document = visitor.page.evaluate(CALL, [items, key])
        assert status == 200
        assert {item["title"] for item in document["items"]} >= {"Salt", "Kites"}
        assert visitor.page.evaluate(CALL, [f"{items}/nothing", key])[0] == 404
        grant = shop.site.issue(shop.customer(), shop.albums["Salt"]["id"])
        progress = f"{grant.links['http']}progress"
        assert visitor.page.evaluate(FOLLOW, progress) == grant.id
        other = person()
        other.page.goto(foreign)
        with pytest.raises(Exception, match="Failed to fetch"):
            other.page.evaluate(CALL, [items, key])
        shop.site.run("grant", "revoke", grant.id)
        wait_until(lambda: visitor.page.evaluate(REASON, progress)[0] == 410, 20, "the revocation")
        assert "no longer valid" in visitor.page.evaluate(REASON, progress)[1]
        # What a page may not do, and what it is refused, browsers tell in their console.
        for someone in visitor, other:
            someone.complaints.clear()
