"""Plays a store's life on the running stack, through its public API, and compares with the sandbox's truth."""

import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

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


class Platform(Protocol):
    """How one platform's shop is opened, connected and worked in."""

    name: str
    control: str
    """The shop's place in the sandbox's control API."""

    def connect(self, api: httpx.Client, sandbox: httpx.Client) -> str:
        """Opens a shop and connects it; our path of the store."""
        ...

    def act(self, sandbox: httpx.Client) -> None:
        """What buyers and the merchant do meanwhile; each sends webhooks."""
        ...

    def there(self, rows: list[Json]) -> Mapping[str, str | None]:
        """What should be with us of the sandbox's rows: ids and times of the last change."""
        ...


def run(endpoints: Mapping[str, Any]) -> int:
    """Connects a shop of each platform, waits for its sync, sends it webhooks, prints the table; the exit code."""
    context = ssl.create_default_context(cafile=endpoints["ca"])
    headers = {"authorization": f"Bearer {endpoints['token']}"}
    with (
        httpx.Client(base_url=endpoints["api"], headers=headers, timeout=60, trust_env=False) as api,
        httpx.Client(base_url=endpoints["sandbox"], verify=context, timeout=60, trust_env=False) as sandbox,
    ):
        try:
            shops = (
                WooCommerce(),
                Shopify(),
                TikTokShop(endpoints["https"]),
                Etsy(endpoints["https"]),
                Amazon(endpoints["https"]),
                Ebay(endpoints["https"]),
                Custom(),
            )
            rows = [_play(platform, api, sandbox) for platform in shops]
        except (Differs, httpx.HTTPError) as error:
            print(f"\n  The demo failed: {error}")
            return 1
    _print(rows)
    return 0


def _play(platform: Platform, api: httpx.Client, sandbox: httpx.Client) -> Row:
    path = _say(f"connect a store of {platform.name}", lambda: platform.connect(api, sandbox))
    _say("first sync", lambda: _until(lambda: _synced(api, path), "the first sync did not end"))
    _say("webhooks", lambda: platform.act(sandbox))
    _say("all as the sandbox has it", lambda: _until(lambda: _agrees(api, sandbox, path, platform), "counts differ"))
    return _summary(api, path)


class WooCommerce:
    """By key."""

    name = "WooCommerce"
    control = f"/_sandbox/woocommerce/shops/{SHOP}"

    def connect(self, api: httpx.Client, sandbox: httpx.Client) -> str:
        """With the key that the merchant made."""
        shop = _ok(sandbox.post("/_sandbox/woocommerce/shops", json={"name": SHOP, "seed": 1, **SIZES}))
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
        return f"/stores/{_ok(api.post('/stores', json=new))['id']}"

    def act(self, sandbox: httpx.Client) -> None:
        """A new order, a changed one, a new price, an order and a product into the bin."""
        truth = _ok(sandbox.get(f"{self.control}/truth"))
        orders = sorted((order["id"] for order in truth["orders"]), reverse=True)
        simple = [product["id"] for product in truth["products"] if product["type"] == "simple"]
        _ok(sandbox.post(f"{self.control}/orders", json={"line_items": [{"product_id": simple[0], "quantity": 2}]}))
        _ok(sandbox.put(f"{self.control}/orders/{orders[0]}", json={"status": "completed"}))
        _ok(sandbox.put(f"{self.control}/products/{simple[1]}", json={"price": "12.34"}))
        _ok(sandbox.post(f"{self.control}/orders/{orders[1]}/trash"))
        _ok(sandbox.post(f"{self.control}/products/{simple[2]}/trash"))

    def there(self, rows: list[Json]) -> dict[str, str]:
        """All that is not in the bin; variations belong to their product."""
        return _times(row for row in rows if row["status"] != "trash" and row.get("type") != "variation")


class Shopify:
    """Through the consent screen, which the sandbox approves by itself here."""

    name = "Shopify"
    control = f"/_sandbox/shopify/shops/{SHOP}"

    def connect(self, api: httpx.Client, sandbox: httpx.Client) -> str:
        """As a merchant does who is sent to the shop's own screen."""
        wish = {"name": SHOP, "seed": 2, "products": SIZES["products"], "orders": SIZES["orders"], "auto_approve": True}
        shop = _ok(sandbox.post("/_sandbox/shopify/shops", json=wish))
        settings = {"syncInterval": 60}
        wanted = {"platform": "SHOPIFY", "domain": shop["domain"], "name": "Demo on Shopify", "settings": settings}
        return _authorize(api, sandbox, wanted)

    def act(self, sandbox: httpx.Client) -> None:
        """A new order, a cancelled one, a new title, a product that goes."""
        truth = _ok(sandbox.get(f"{self.control}/truth"))
        orders, products = ([row["id"].rpartition("/")[2] for row in truth[what]] for what in ("orders", "products"))
        _ok(sandbox.post(f"{self.control}/orders", json={}))
        _ok(sandbox.post(f"{self.control}/orders/{orders[0]}/cancel"))
        _ok(sandbox.put(f"{self.control}/products/{products[0]}", json={"title": "A new title"}))
        _ok(sandbox.post(f"{self.control}/products/{products[1]}/delete"))

    def there(self, rows: list[Json]) -> dict[str, str]:
        """All that there is."""
        return _times(rows)


class TikTokShop:
    """The same; the app's return address is set at the platform, not in the address of the screen."""

    name = "TikTok Shop"
    control = f"/_sandbox/tiktok_shop/shops/{SHOP}"

    def __init__(self, public_url: str) -> None:
        self._return_address = f"{public_url}/authorizations/TIKTOK_SHOP/callback"

    def connect(self, api: httpx.Client, sandbox: httpx.Client) -> str:
        """As a seller does who has one shop."""
        wish = {"name": SHOP, "seed": 3, "products": SIZES["products"], "orders": SIZES["orders"]}
        _ok(sandbox.post("/_sandbox/tiktok_shop/sellers", json=wish))
        settings = {"approve": SHOP, "return_address": self._return_address}
        _ok(sandbox.put("/_sandbox/tiktok_shop/settings", json=settings))
        wanted = {"platform": "TIKTOK_SHOP", "name": "Demo on TikTok Shop", "settings": {"syncInterval": 60}}
        return _authorize(api, sandbox, wanted)

    def act(self, sandbox: httpx.Client) -> None:
        """A new order, a cancelled one, a new title."""
        truth = _ok(sandbox.get(f"{self.control}/truth"))
        sku = next(row for row in truth["products"] if row["status"] == "ACTIVATE")["skus"][0]["id"]
        open_order = next(row["id"] for row in truth["orders"] if row["status"] == "AWAITING_SHIPMENT")
        product = truth["products"][0]["id"]
        _ok(sandbox.post(f"{self.control}/orders", json={"lines": [{"sku_id": sku, "quantity": 2}]}))
        _ok(sandbox.post(f"{self.control}/orders/{open_order}/cancel"))
        _ok(sandbox.put(f"{self.control}/products/{product}", json={"title": "A new title"}))

    def there(self, rows: list[Json]) -> dict[str, str]:
        """All but the products that the seller has deleted."""
        return _times(row for row in rows if row["status"] != "DELETED")


class Etsy:
    """The same; redirect address and webhook endpoint are set at the platform, by hand."""

    name = "Etsy"
    control = f"/_sandbox/etsy/shops/{SHOP}"

    def __init__(self, public_url: str) -> None:
        self._public_url = public_url

    def connect(self, api: httpx.Client, sandbox: httpx.Client) -> str:
        """As a seller does, of whom Etsy knows one shop."""
        wish = {"name": SHOP, "seed": 5, "products": SIZES["products"], "orders": SIZES["orders"]}
        _ok(sandbox.post("/_sandbox/etsy/shops", json=wish))
        redirects = [f"{self._public_url}/authorizations/ETSY/callback"]
        _ok(sandbox.put("/_sandbox/etsy/settings", json={"approve": SHOP, "redirect_uris": redirects}))
        endpoints = [{"url": f"{self._public_url}/webhooks/ETSY"}]
        _ok(sandbox.put("/_sandbox/etsy/webhooks", json={"endpoints": endpoints}))
        return _authorize(api, sandbox, {"platform": "ETSY", "name": "Demo on Etsy", "settings": {"syncInterval": 60}})

    def act(self, sandbox: httpx.Client) -> None:
        """A new order, one that is shipped, a cancelled one; only orders have webhooks."""
        truth = _ok(sandbox.get(f"{self.control}/truth"))
        paid = [row["id"] for row in truth["orders"] if row["status"] == "Paid"]
        _ok(sandbox.post(f"{self.control}/orders", json={}))
        _ok(sandbox.post(f"{self.control}/orders/{paid[0]}/ship", json={}))
        _ok(sandbox.post(f"{self.control}/orders/{paid[1]}/cancel", json={}))

    def there(self, rows: list[Json]) -> dict[str, str]:
        """All that there is."""
        return _times(rows)


class Amazon:
    """The same, in one marketplace; what happens comes through a queue, as searches for orders are few."""

    name = "Amazon"
    control = f"/_sandbox/amazon/sellers/{SHOP}"

    def __init__(self, public_url: str) -> None:
        self._return_address = f"{public_url}/authorizations/AMAZON/callback"

    def connect(self, api: httpx.Client, sandbox: httpx.Client) -> str:
        """As a seller does whom Seller Central knows already."""
        wish = {"name": SHOP, "seed": 6, "products": SIZES["products"], "orders": SIZES["orders"]}
        _ok(sandbox.post("/_sandbox/amazon/sellers", json=wish))
        settings = {"approve": SHOP, "return_address": self._return_address}
        _ok(sandbox.put("/_sandbox/amazon/settings", json=settings))
        wanted = {"platform": "AMAZON", "domain": "https://www.amazon.com", "name": "Demo on Amazon"}
        return _authorize(api, sandbox, wanted)

    def act(self, sandbox: httpx.Client) -> None:
        """A new order, one that is shipped, a quantity, a listing that is no longer shown, one that goes."""
        truth = _ok(sandbox.get(f"{self.control}/truth"))
        unshipped = next(row["id"] for row in truth["orders"] if row["status"] == "UNSHIPPED")
        single = [row["id"] for row in truth["products"] if not row["children"] and row["status"]]
        _ok(sandbox.post(f"{self.control}/orders", json={}))
        _ok(sandbox.put(f"{self.control}/orders/{unshipped}", json={"status": "SHIPPED"}))
        for sku, wish in ((single[0], {"quantity": 777}), (single[1], {"status": []})):
            _ok(sandbox.put(f"{self.control}/products/{quote(sku)}", json=wish))
        _ok(sandbox.delete(f"{self.control}/products/{quote(single[2])}"))

    def there(self, rows: list[Json]) -> dict[str, str]:
        """All that there is."""
        return _times(rows)


class Ebay:
    """The same; what the RuName stands for is set at eBay."""

    name = "eBay"
    control = f"/_sandbox/ebay/sellers/{SHOP}"

    def __init__(self, public_url: str) -> None:
        self._return_address = f"{public_url}/authorizations/EBAY/callback"

    def connect(self, api: httpx.Client, sandbox: httpx.Client) -> str:
        """As a seller does whose registration is completed."""
        wish = {"name": SHOP, "seed": 7, "products": SIZES["products"], "orders": SIZES["orders"]}
        _ok(sandbox.post("/_sandbox/ebay/sellers", json=wish))
        settings = {"approve": SHOP, "return_address": self._return_address}
        _ok(sandbox.put("/_sandbox/ebay/settings", json=settings))
        return _authorize(api, sandbox, {"platform": "EBAY", "name": "Demo on eBay", "settings": {"syncInterval": 60}})

    def act(self, sandbox: httpx.Client) -> None:
        """Two new orders, one of them with several lines, each of which is told: eBay tells of nothing else."""
        truth = _ok(sandbox.get(f"{self.control}/truth"))
        lines = [{"sku": row["id"], "quantity": 2} for row in truth["products"][:3]]
        _ok(sandbox.post(f"{self.control}/orders", json={"lines": lines}))
        _ok(sandbox.post(f"{self.control}/orders", json={"lines": lines[:1], "note": "Ring twice"}))

    def there(self, rows: list[Json]) -> dict[str, str | None]:
        """All that there is; eBay tells no time for what is in stock."""
        return {row["id"]: row.get("updatedAt") for row in rows}


class Custom:
    """By key, a server that somebody wrote by our contract."""

    name = "a custom server"
    control = f"/_sandbox/custom/shops/{SHOP}"

    def connect(self, api: httpx.Client, sandbox: httpx.Client) -> str:
        """With the key that its owner chose."""
        wish = {"name": SHOP, "seed": 4, "products": SIZES["products"], "orders": SIZES["orders"]}
        shop = _ok(sandbox.post("/_sandbox/custom/shops", json=wish))
        new = {
            "name": "Demo of a custom store",
            "platform": "CUSTOM",
            "domain": shop["url"],
            "apiKey": shop["key"],
            "settings": {"syncInterval": 60},
        }
        return f"/stores/{_ok(api.post('/stores', json=new))['id']}"

    def act(self, sandbox: httpx.Client) -> None:
        """A new order, a cancelled one, a new title."""
        truth = _ok(sandbox.get(f"{self.control}/truth"))
        _ok(sandbox.post(f"{self.control}/orders", json={}))
        _ok(sandbox.put(f"{self.control}/orders/{truth['orders'][0]['id']}", json={"status": "cancelled"}))
        _ok(sandbox.put(f"{self.control}/products/{truth['products'][0]['id']}", json={"title": "A new title"}))

    def there(self, rows: list[Json]) -> dict[str, str]:
        """All that there is."""
        return {str(row["id"]): row["updatedAt"] for row in rows}


def _synced(api: httpx.Client, path: str) -> Json | None:
    runs = _ok(api.get(f"{path}/syncs"))
    failed = [run for run in runs["items"] if run["outcome"] not in {"COMPLETE", "PARTIAL"}]
    if failed:
        raise Differs(f"a sync ended {failed[0]['outcome']}: {failed[0]['reason']} {failed[0]['detail'] or ''}")
    return runs if runs["lastSyncAt"] else None


def _agrees(api: httpx.Client, sandbox: httpx.Client, path: str, platform: Platform) -> bool:
    truth = _ok(sandbox.get(f"{platform.control}/truth"))
    return all(
        {item["id"]: item.get("updatedAt") for item in _all(api, f"{path}/{resource}")}
        == platform.there(truth[resource])
        for resource in ("products", "orders")
    ) and bool(_all(api, f"{path}/deliveries"))


def _times(rows: Iterable[Json]) -> dict[str, str]:
    return {str(row["id"]): f"{row['modified_gmt'].removesuffix('Z')}Z" for row in rows}


def _authorize(api: httpx.Client, sandbox: httpx.Client, wish: Json) -> str:
    """The seller's way: to the platform's consent screen, and back with what it gives; our path of the store."""
    started = _ok(api.post("/authorizations", json=wish))
    url = started["authorizationUrl"].removeprefix("https://")
    approved = sandbox.get(f"/at/{url}")
    if approved.status_code != httpx.codes.FOUND:
        raise Differs(f"the consent screen answered {approved.status_code}: {approved.text[:300]}")
    page = sandbox.get(approved.headers["location"])
    if not page.is_success:
        raise Differs(f"the callback answered {page.status_code}: {page.text[:300]}")
    mine = _all(api, "/stores")
    return next(f"/stores/{store['id']}" for store in mine if store["platform"] == wish["platform"])


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
