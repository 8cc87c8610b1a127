"""Plays a store's life on the running stack, through its public API, and compares with the sandbox's truth."""

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

SHOP = "demo-shop"
SIZES = {"products": 60, "variable": 12, "orders": 250}
PATIENCE = 120.0
"""Seconds that any one thing may take: a first sync, or a webhook's way."""

Json = dict[str, Any]
Found = TypeVar("Found")


class Differs(Exception):
    """A number is not what the sandbox holds, or something did not happen in time."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    store: str
    platform: str
    status: str
    products: int
    orders: int
    deliveries: int


def run(endpoints: Mapping[str, Any]) -> int:
    """Connects a shop, waits for its sync, sends it webhooks, prints the table; the exit code."""
    context = ssl.create_default_context(cafile=endpoints["ca"])
    headers = {"authorization": f"Bearer {endpoints['token']}"}
    with (
        httpx.Client(base_url=endpoints["api"], headers=headers, timeout=60, trust_env=False) as api,
        httpx.Client(base_url=endpoints["sandbox"], verify=context, timeout=60, trust_env=False) as sandbox,
    ):
        try:
            row = _woocommerce(api, sandbox)
        except (Differs, httpx.HTTPError) as error:
            print(f"\n  The demo failed: {error}")
            return 1
    _print([row])
    return 0


def _woocommerce(api: httpx.Client, sandbox: httpx.Client) -> Row:
    shop = _ok(sandbox.post("/_sandbox/woocommerce/shops", json={"name": SHOP, "seed": 1, **SIZES}))
    control = f"/_sandbox/woocommerce/shops/{SHOP}"
    store = _say("connect a WooCommerce store", lambda: _connect(api, shop))
    path = f"/stores/{store['id']}"
    _say("first sync", lambda: _until(lambda: _synced(api, path), "the first sync did not end"))
    _say("webhooks", lambda: _act_as_merchant(sandbox, control))
    _say("all as the sandbox has it", lambda: _until(lambda: _agrees(api, sandbox, path, control), "counts differ"))
    return _summary(api, path)


def _connect(api: httpx.Client, shop: Json) -> Json:
    key = shop["keys"]["read_write"]
    new = {
        "name": "Demo shop",
        "platform": "WOO_COMMERCE",
        "domain": shop["url"],
        "apiKey": key["consumer_key"],
        "apiSecret": key["consumer_secret"],
        "isPrimary": True,
        "settings": {"syncInterval": 60},
    }
    return _ok(api.post("/stores", json=new))


def _synced(api: httpx.Client, path: str) -> Json | None:
    runs = _ok(api.get(f"{path}/syncs"))
    failed = [run for run in runs["items"] if run["outcome"] not in {"COMPLETE", "PARTIAL"}]
    if failed:
        raise Differs(f"a sync ended {failed[0]['outcome']}: {failed[0]['reason']} {failed[0]['detail'] or ''}")
    return runs if runs["lastSyncAt"] else None


def _act_as_merchant(sandbox: httpx.Client, control: str) -> None:
    truth = _ok(sandbox.get(f"{control}/truth"))
    orders = sorted((order["id"] for order in truth["orders"]), reverse=True)
    simple = [product["id"] for product in truth["products"] if product["type"] == "simple"]
    _ok(sandbox.post(f"{control}/orders", json={"line_items": [{"product_id": simple[0], "quantity": 2}]}))
    _ok(sandbox.put(f"{control}/orders/{orders[0]}", json={"status": "completed"}))
    _ok(sandbox.put(f"{control}/products/{simple[1]}", json={"price": "12.34"}))
    _ok(sandbox.post(f"{control}/orders/{orders[1]}/trash"))
    _ok(sandbox.post(f"{control}/products/{simple[2]}/trash"))


def _agrees(api: httpx.Client, sandbox: httpx.Client, path: str, control: str) -> bool:
    truth = _ok(sandbox.get(f"{control}/truth"))
    return all(
        {item["id"]: item.get("updatedAt") for item in _all(api, f"{path}/{resource}")} == _there(truth[resource])
        for resource in ("products", "orders")
    ) and bool(_all(api, f"{path}/deliveries"))


def _there(rows: list[Json]) -> dict[str, str]:
    """What should be with us: the ids and times of all that the merchant has not put into the bin."""
    return {
        str(row["id"]): f"{row['modified_gmt']}Z"
        for row in rows
        if row["status"] != "trash" and row.get("type") != "variation"
    }


def _summary(api: httpx.Client, path: str) -> Row:
    store = _ok(api.get(path))
    counts = [len(_all(api, f"{path}/{name}")) for name in ("products", "orders", "deliveries")]
    return Row(store["name"], store["platform"], store["status"], *counts)


def _all(api: httpx.Client, path: str) -> list[Json]:
    items: list[Json] = []
    cursor: str | None = None
    while True:
        answer = _ok(api.get(path, params={"limit": 100, **({"cursor": cursor} if cursor else {})}))
        items += answer["items"]
        cursor = answer["nextCursor"]
        if cursor is None:
            return items


def _ok(answer: httpx.Response) -> Json:
    if not answer.is_success:
        raise Differs(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:300]}")
    body: Json = answer.json()
    return body


def _until(look: Callable[[], Found | None], complaint: str) -> Found:
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        if time.monotonic() > deadline:
            raise Differs(complaint)
        time.sleep(0.5)
    return found


def _say(what: str, do: Callable[[], Found]) -> Found:
    print(f"  {what:<34}", end="", flush=True)
    started = time.monotonic()
    found = do()
    print(f"{time.monotonic() - started:6.1f} s", flush=True)
    return found


def _print(rows: list[Row]) -> None:
    names = ("store", "platform", "status", "products", "orders", "deliveries")
    table = [names, *((row.store, row.platform, row.status, row.products, row.orders, row.deliveries) for row in rows)]
    widths = [max(len(str(cell)) for cell in column) for column in zip(*table, strict=True)]
    print()
    for line in table:
        print("  " + "  ".join(str(cell).ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print()
