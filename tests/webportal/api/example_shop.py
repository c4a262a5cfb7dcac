"""A small shop: `sell ORDER CUSTOMER ITEM` prints the customer's link, `listen` books what has arrived."""

import json
import os
import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.request import Request, urlopen

from standardwebhooks import Webhook, WebhookVerificationError

books = sqlite3.connect(os.environ["SHOP_BOOKS"])
books.execute("CREATE TABLE IF NOT EXISTS heard (event TEXT PRIMARY KEY)")
books.execute("CREATE TABLE IF NOT EXISTS delivered (customer, grant_id, at)")


def sell(order: str, customer: str, item: str) -> str:
    """Grant the item. The order's number makes it safe to ask again when the answer got lost."""
    headers = {"Authorization": f"Bearer {os.environ['SHOP_KEY']}", "Idempotency-Key": order, "Content-Type": "application/json"}
    wanted = json.dumps({"user": customer, "items": [item], "expires": "7d"}).encode()
    with urlopen(Request(f"{os.environ['SHOP_API']}/grants", wanted, headers), timeout=30) as answer:
        return json.load(answer)["links"]["http"]


def book(event: str, happened: dict) -> None:
    """The event's id is written down with what follows from it, in one transaction: a repeat changes nothing."""
    with books:
        new = books.execute("INSERT OR IGNORE INTO heard VALUES (?)", (event,)).rowcount
        if new and happened["type"] == "grant.complete":
            data = happened["data"]
            books.execute("INSERT INTO delivered VALUES (?, ?, ?)", (data["user"], data["grant"], data["completed_at"]))


class Hooks(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            book(self.headers["webhook-id"], Webhook(os.environ["SHOP_SECRET"]).verify(body, dict(self.headers)))
            self.send_response(204)
        except WebhookVerificationError:
            self.send_response(401)
        self.end_headers()


if sys.argv[1] == "sell":
    print(sell(*sys.argv[2:]))
else:
    HTTPServer(("127.0.0.1", int(os.environ["SHOP_PORT"])), Hooks).serve_forever()
