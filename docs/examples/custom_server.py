"""A small server of our contract for custom stores (docs/custom-openapi.yaml), with the standard library alone.

    CUSTOM_KEY=at-least-sixteen-characters python docs/examples/custom_server.py --port 8080 --demo 250

It is meant to be read: each rule of the contract that is easy to miss has its comment. Records live in SQLite, as
JSON beside the two columns that paging goes by. In front of it belongs something that speaks https.
"""

# ruff: noqa: INP001, T201 - an example to be started, in no package

import argparse
import base64
import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import time
import urllib.request
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

Json = dict[str, Any]

KINDS = ("products", "orders")
MOST_ROWS = 100
CURSOR_LIFE = 7 * 86_400

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT, id TEXT, updated TEXT, body TEXT, PRIMARY KEY (kind, id));
CREATE INDEX IF NOT EXISTS in_order ON records (kind, updated, id);
CREATE TABLE IF NOT EXISTS subscriptions (url TEXT PRIMARY KEY, events TEXT, mark TEXT, secret TEXT);
"""
# Text compares byte by byte in SQLite, and all times are written alike, so this is the contract's order. Asking for
# what comes after a position, and never for "the next page after so many rows", skips nothing while rows change.
PAGE = """
SELECT id, updated, body FROM records
WHERE kind = ? AND updated >= ? AND (updated, id) > (?, ?)
ORDER BY updated, id LIMIT ?
"""


class Refused(Exception):
    """An error of the contract."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Shop:
    """The shop's records and who wants to hear of their changes."""

    def __init__(self, database: str = ":memory:") -> None:
        self._lock = Lock()
        self._rows = sqlite3.connect(database, check_same_thread=False)
        self._rows.executescript(SCHEMA)

    def save(self, kind: str, record: Json) -> Json:
        """Stores a record. `updatedAt` moves to now with every change: that is how storelink sees it."""
        record = {**record, "updatedAt": now()}
        with self._lock, self._rows:
            self._rows.execute(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)",
                (kind, record["id"], record["updatedAt"], json.dumps(record)),
            )
        return record

    def remove(self, kind: str, id: str) -> None:
        """Deletes a record: from now on, it is not found."""
        with self._lock, self._rows:
            self._rows.execute("DELETE FROM records WHERE kind = ? AND id = ?", (kind, id))

    def one(self, kind: str, id: str) -> Json:
        """A record by its id."""
        with self._lock:
            row = self._rows.execute("SELECT body FROM records WHERE kind = ? AND id = ?", (kind, id)).fetchone()
        if row is None:
            raise Refused(404, "not_found", "There is no such record.")
        found: Json = json.loads(row[0])
        return found

    def page(self, kind: str, since: str, cursor: str, limit: int) -> Json:
        """A page, and the cursor to the next one where there is one."""
        after = read_cursor(cursor) if cursor else ("", "")
        with self._lock:
            # one row more than asked for tells whether others follow
            rows = self._rows.execute(PAGE, (kind, canonical(since), *after, limit + 1)).fetchall()
        more, rows = len(rows) > limit, rows[:limit]
        following = make_cursor(rows[-1][1], rows[-1][0]) if more else None
        return {"data": [json.loads(body) for _, _, body in rows], "next_cursor": following}

    def subscriptions(self) -> list[Json]:
        """All of them, without their secrets."""
        with self._lock:
            rows = self._rows.execute("SELECT url, events, mark FROM subscriptions").fetchall()
        return [{"url": url, "events": json.loads(events), "mark": mark} for url, events, mark in rows]

    def subscribe(self, wish: Json) -> Json:
        """Makes or replaces the subscription of a url."""
        try:
            row = (wish["url"], json.dumps(wish["events"]), wish["mark"], wish["secret"])
        except KeyError as missing:
            raise Refused(400, "invalid_request", f"{missing} is missing.") from None
        with self._lock, self._rows:
            self._rows.execute("INSERT OR REPLACE INTO subscriptions VALUES (?, ?, ?, ?)", row)
        return {name: wish[name] for name in ("url", "events", "mark")}

    def unsubscribe(self, url: str) -> None:
        """Ends a subscription."""
        with self._lock, self._rows:
            self._rows.execute("DELETE FROM subscriptions WHERE url = ?", (url,))

    def announce(self, type: str, data: Json) -> list[urllib.request.Request]:
        """The signed deliveries of an event. Send them from a queue that tries again, signed anew each time."""
        body = json.dumps({"type": type, "timestamp": now(), "data": data}).encode()
        with self._lock:
            rows = self._rows.execute("SELECT url, events, secret FROM subscriptions").fetchall()
        id = f"msg_{secrets.token_hex(12)}"
        return [
            urllib.request.Request(url, body, signed(secret, id, body), method="POST")  # noqa: S310 - storelink's own
            for url, events, secret in rows
            if type in json.loads(events)
        ]


def signed(secret: str, id: str, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks: the key is what the secret's base64 stands for, not its text."""
    stamp = str(int(time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_") + "==")
    signature = hmac.digest(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256)
    return {
        "Content-Type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }


def now() -> str:
    """The present time, always with six digits and Z, so that it sorts as text."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def canonical(moment: str) -> str:
    """A time of a request, written as ours are; empty for none."""
    try:
        time = datetime.fromisoformat(moment) if moment else None
        return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if time else ""
    except ValueError:
        raise Refused(400, "invalid_request", "updated_since is no time.") from None


def make_cursor(updated: str, id: str) -> str:
    """The position of the last row, and when this was given out."""
    return base64.urlsafe_b64encode(json.dumps([int(time.time()), updated, id]).encode()).decode()


def read_cursor(cursor: str) -> tuple[str, str]:
    """The position that a cursor stands for."""
    try:
        made, updated, id = json.loads(base64.urlsafe_b64decode(cursor))
        old = int(made) < time.time() - CURSOR_LIFE
    except (ValueError, TypeError):
        raise Refused(400, "invalid_request", "This cursor was never given out.") from None
    if old:
        raise Refused(410, "cursor_expired", "This cursor is too old: begin again with updated_since.")
    return str(updated), str(id)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    shop: Shop
    key: str
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Reading."""
        self._answer(self._get)

    def do_PUT(self) -> None:
        """Subscribing."""
        self._answer(self._put)

    def do_DELETE(self) -> None:
        """Unsubscribing."""
        self._answer(self._delete)

    def _get(self, path: str, asked: dict[str, str]) -> Json:
        kind, _, id = path.removeprefix("/").partition("/")
        if path == "/":
            return {"id": "main", "name": "Example shop", "currency": "EUR", "timezone": "Europe/Berlin"}
        if path == "/webhooks":
            return {"data": self.shop.subscriptions()}
        if kind not in KINDS:
            raise Refused(404, "not_found", "There is nothing at this path.")
        if id:
            return {"data": self.shop.one(kind, unquote(id))}
        limit = asked.get("limit", str(MOST_ROWS))
        if not (limit.isdigit() and 1 <= int(limit) <= MOST_ROWS):
            raise Refused(400, "invalid_request", "limit is a number from 1 to 100.")
        return self.shop.page(kind, asked.get("updated_since", ""), asked.get("cursor", ""), int(limit))

    def _put(self, path: str, _: dict[str, str]) -> Json:
        length = self.headers.get("Content-Length", "0")
        text = self.rfile.read(min(int(length), 65_536) if length.isdigit() else 0)
        if path != "/webhooks":
            raise Refused(404, "not_found", "There is nothing at this path.")
        try:
            wish = json.loads(text)
        except ValueError:
            wish = None
        if not isinstance(wish, dict):
            raise Refused(400, "invalid_request", "The body is no JSON object.")
        return {"data": self.shop.subscribe(wish)}

    def _delete(self, path: str, asked: dict[str, str]) -> None:
        if path != "/webhooks" or "url" not in asked:
            raise Refused(404, "not_found", "There is nothing at this path.")
        self.shop.unsubscribe(asked["url"])

    def _answer(self, act: Any) -> None:
        try:
            self._admit()
            address = urlsplit(self.path)
            found = act(address.path, dict(parse_qsl(address.query)))
            self._send(204 if found is None else 200, found)
        except Refused as refused:
            self._send(refused.status, {"error": {"code": refused.code, "message": str(refused)}})

    def _admit(self) -> None:
        given = self.headers.get("Authorization", "").encode("utf-8", "replace")
        # compared in constant time: how long it takes tells nothing about the key
        if not hmac.compare_digest(given, f"Bearer {self.key}".encode()):
            raise Refused(401, "unauthorized", "The key is unknown.")

    def _send(self, status: int, found: Json | None) -> None:
        body = b"" if found is None else json.dumps(found).encode()
        self.send_response_only(status)
        self.send_header("Date", formatdate(usegmt=True))
        if body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def fill(shop: Shop, orders: int) -> None:
    """Something to look at."""
    for number in range(1, orders // 5 + 2):
        shop.save("products", example_product(f"p{number}"))
    for number in range(1, orders + 1):
        shop.save("orders", example_order(f"o{number}", f"p{number % (orders // 5 + 1) + 1}"))


def example_product(id: str) -> Json:
    """A product without choices: its one variant is itself."""
    variant = {"id": id, "title": "One size", "sku": f"MUG-{id}", "price": "12.50", "inventoryQuantity": 7}
    return {
        "id": id,
        "title": f"Mug {id}",
        "status": "active",
        "price": "12.50",
        "currency": "EUR",
        "variants": [variant],
    }


def example_order(id: str, product: str) -> Json:
    """An order of two."""
    line = {
        "id": f"{id}-1",
        "productId": product,
        "variantId": product,
        "title": f"Mug {product}",
        "quantity": 2,
        "unitPrice": "12.50",
        "total": "25.00",
        "properties": [{"name": "Print", "value": "Good morning"}],
    }
    return {
        "id": id,
        "status": "paid",
        "total": "25.00",
        "currency": "EUR",
        "lines": [line],
        "customer": {"name": f"Buyer {id}", "email": f"buyer-{id}@example.com"},
        "createdAt": now(),
    }


def server(shop: Shop, key: str, port: int = 0) -> ThreadingHTTPServer:
    """The server, ready to serve; 0 takes a free port."""
    handler = type("ShopHandler", (Handler,), {"shop": shop, "key": key})
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="An example of a custom store.")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--database", default=":memory:")
    parser.add_argument("--demo", type=int, default=0, metavar="ORDERS", help="make so many orders to look at")
    options = parser.parse_args()
    shop = Shop(options.database)
    fill(shop, options.demo) if options.demo else None
    with server(shop, os.environ["CUSTOM_KEY"], options.port) as serving:
        print(f"example store at http://127.0.0.1:{serving.server_address[1]}", flush=True)
        serving.serve_forever()


if __name__ == "__main__":
    main()
