"""The platforms' stand-ins behind a memory of their answers, as a process of its own.

    python -m infra.local.lifeline infra.bench.replay --ca-dir DIR --shop 20000:5000 --shop 5000:1250

A first reader pays for making an answer, every other gets the same bytes, so that measuring a reader does not measure
the stand-in. A shop has so many orders and products, and is on every platform. One line of JSON says that it is ready.
``GET /_bench`` says what was served since the last ``DELETE``.
"""

import argparse
import asyncio
import json
import re
import socket
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.local.sandbox.server import HOSTS, Sandbox, certify
from infra.local.sandbox.shopify_graphql import Bucket
from infra.local.sandbox.shopify_shop import Sizes as ShopifySizes
from infra.local.sandbox.shopify_shop import gid
from infra.local.sandbox.woo_shop import Sizes as WooSizes
from shared.platforms.shopify import BULK_ORDERS, BULK_PRODUCTS, SCOPES

_CONTROL = "/_bench"
_STORAGE = "storage.googleapis.com"
_VARIABLE = 20
"""One product in so many has variants."""
_ANY = 1e12
"""Points of a budget that never runs out: pacing is waiting, and waiting is not what is measured."""
_WOO = re.compile(r"/bench[0-9]+/wp-json/wc/v3/(orders|products)\b")
_NOT_KEPT = (b"mutation", b"webhookSubscriptions", b"accessScopes")
_REST_SHOP = re.compile(r"/admin/api/[0-9-]+/shop\.json")
"""The one resource of Shopify's older API that a peer asks for before it turns to GraphQL."""
_SHOPIFY_ORDER = re.compile(rb'"id":"gid://shopify/Order/([0-9]+)"')


class Kept(NamedTuple):
    """An answer as it was given."""

    start: Message
    body: bytes
    orders: tuple[str, ...]
    """The ids of the orders that it holds whole."""


class Replay:
    """Gives the stand-ins' answers to reading requests again, byte for byte."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: dict[tuple[str, ...], Kept] = {}
        self._served: Counter[str] = Counter()
        self._answers = self._made = self._largest = 0
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] == _CONTROL:
            await _send(send, 200, self._told(forget=scope["method"] == "DELETE"))
            return
        if _REST_SHOP.fullmatch(scope["path"]):
            await _send(send, 200, _shop(scope))
            return
        body = await _body(receive)
        key = _key(scope, body)
        if key is None:
            await self._app(scope, _once(body), send)
            return
        async with self._one_at_a_time:
            kept = self._kept.get(key) or await self._ask(key, scope, body)
        self._answers += 1
        self._largest = max(self._largest, len(kept.orders))
        self._served.update(kept.orders)
        await send(kept.start)
        await send({"type": "http.response.body", "body": kept.body})

    async def _ask(self, key: tuple[str, ...], scope: Scope, body: bytes) -> Kept:
        said: list[Message] = []

        async def listen(message: Message) -> None:
            said.append(message)

        await self._app(scope, _once(body), listen)
        content = b"".join(message.get("body", b"") for message in said[1:])
        kept = Kept(said[0], content, tuple(_orders(key, content)))
        self._made += 1
        if said[0]["status"] in (200, 206):
            self._kept[key] = kept
        return kept

    def _told(self, *, forget: bool) -> bytes:
        told = {
            "answers": self._answers,
            "made": self._made,
            "orders": sum(self._served.values()),
            "distinct": len(self._served),
            "largest": self._largest,
        }
        if forget:
            self._served.clear()
            self._answers = self._made = self._largest = 0
        return json.dumps(told).encode()


def _host(scope: Scope) -> str:
    host: bytes = dict(scope["headers"]).get(b"host", b"")
    return host.decode().partition(":")[0]


def _shop(scope: Scope) -> bytes:
    """https://shopify.dev/docs/api/admin-rest/latest/resources/shop: what names it."""
    host = _host(scope)
    shop = {"id": 1, "name": host.partition(".")[0], "myshopify_domain": host}
    return json.dumps({"shop": shop}).encode()


def _key(scope: Scope, body: bytes) -> tuple[str, ...] | None:
    """What makes two reading requests the same; ``None`` for what is not a read of records."""
    headers = dict(scope["headers"])
    host = _host(scope)
    path, query = scope["path"], scope["query_string"].decode()
    is_read = scope["method"] == "GET" and (host == _STORAGE or _WOO.match(path))
    if scope["method"] == "POST" and path.endswith("/graphql.json"):
        is_read = not any(word in body for word in _NOT_KEPT)
    return (host, path, query, headers.get(b"range", b"").decode(), body.decode()) if is_read else None


def _orders(key: tuple[str, ...], body: bytes) -> Sequence[str]:
    host, path, query, _, asked = key
    if host == _STORAGE or "lineItems" in asked:
        return [id.decode() for id in _SHOPIFY_ORDER.findall(body)]
    if path.endswith("/wc/v3/orders") and "_fields" not in query:
        return [str(row["id"]) for row in json.loads(body)]
    return ()


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _once(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    return receive


async def _send(send: Send, status: int, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


def opened(sandbox: Sandbox, name: str, orders: int, products: int) -> dict[str, Any]:
    """A shop on each platform, all that takes time to make made; what opens it."""
    variable = products // _VARIABLE
    woo = sandbox.woocommerce.open(
        name, seed=1, sizes=WooSizes(products=products, variable=variable, orders=orders, days=45)
    )
    woo.shop.render()
    key = woo.shop.add_key("read_write")
    shopify = sandbox.shopify.open(
        name, sizes=ShopifySizes(products=products, variable=variable, wide=0, orders=orders, long=0)
    )
    shopify.bucket = Bucket(_ANY, _ANY, _ANY, shopify.shop.precisely())
    token = shopify.tokens.permanent(SCOPES)
    shopify.bulk.seconds = 0.0
    jobs = []
    for query in (BULK_ORDERS, BULK_PRODUCTS):
        job, errors = shopify.bulk.run(query, group=True)
        if job is None:
            raise SystemExit(f"The stand-in refused a bulk operation: {errors}")
        shopify.bulk.advance(float("inf"))
        jobs.append(job)
    return {
        "woo": {"domain": f"{sandbox.base_url}/{name}", "key": key.consumer_key, "secret": key.consumer_secret},
        "shopify": {
            "domain": f"https://{shopify.shop.domain}",
            "token": token,
            "bulk_orders": jobs[0].url,
            "bulk_job": gid("BulkOperation", jobs[0].id),
        },
        "orders": len(woo.shop.orders),
        "products": sum(not product.parent_id for product in woo.shop.products.values()),
    }


def _sizes(text: str) -> tuple[int, int]:
    orders, _, products = text.partition(":")
    return int(orders), int(products)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(prog="replay", description="Stand-ins behind a memory of their answers.")
    parser.add_argument("--ca-dir", type=Path, required=True)
    parser.add_argument("--shop", type=_sizes, action="append", required=True, help="ORDERS:PRODUCTS, repeatable")
    options = parser.parse_args(arguments)
    ca = certify(options.ca_dir, HOSTS)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    sandbox = Sandbox(f"https://localhost:{port}")
    shops = [opened(sandbox, f"bench{number}", *sizes) for number, sizes in enumerate(options.shop)]
    config = uvicorn.Config(
        Replay(sandbox.app),
        http="h11",
        loop="asyncio",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        ssl_certfile=str(options.ca_dir / "server.pem"),
        timeout_graceful_shutdown=1,
    )
    print(json.dumps({"port": port, "ca": str(ca), "shops": shops}), flush=True)
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
