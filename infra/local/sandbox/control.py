"""The sandbox's control API: open shops, act as the merchant, order faults, read the truth.

All of it is JSON under ``/_sandbox``; ``{shop}`` below stands for ``/_sandbox/woocommerce/shops/NAME``.
What is wrong with an order is said as 400 ``{"error": …}``, what does not exist as 404.

====== ================================== ==============================================================
GET    /_sandbox                          the platforms, their shops, the address of the sandbox
POST   /_sandbox/woocommerce/shops        open: ``name``, ``seed``, ``products``, ``variable``, ``variations``,
                                          ``orders``, ``days``, ``timezone``, ``currency``,
                                          ``variation_touches_parent``, ``render`` (all JSON now, for
                                          benchmarks) → url and keys, a revoked one too (201)
GET    {shop}                             url, keys, counts, clock
DELETE {shop}                             close
GET    {shop}/truth                       every product, order, webhook: id, status, times in GMT, …;
                                          ``?only=orders`` for one kind
GET    {shop}/calls                       API calls: total, by route and status, most at once
DELETE {shop}/calls                       count from nothing again
GET    {shop}/deliveries                  what was sent to receivers and what they answered
DELETE {shop}/deliveries                  forget it
POST   {shop}/deliver                     send all that waits now → the results;
                                          ``shuffle``, ``copies``, ``lose`` (a share) spoil the network
PUT    {shop}/delivery                    ``paused``: the background worker leaves this shop alone
POST   {shop}/orders                      a buyer orders: body as for ``POST /wc/v3/orders``
PUT    {shop}/orders/{id}                 the merchant changes it (any ``status``, plugin-made ones too)
POST   {shop}/orders/{id}/ACTION          trash, restore, delete, refund (``amount``)
POST   {shop}/products                    a new product
PUT    {shop}/products/{id}               ``price``, ``stock_quantity``, ``name``, … of a product or variation
POST   {shop}/products/{id}/ACTION        trash, restore, delete
POST   {shop}/keys                        a new key: ``permissions``, ``may_manage``
POST   {shop}/revoke                      revoke ``consumer_key`` (else all), at once or ``after_calls``
PUT    {shop}/rights                      ``may_manage``: give or take the administrator's rights
PUT    {shop}/clock                       ``offset`` in seconds from the true time
GET    {shop}/faults                      the faults still to come
POST   {shop}/faults                      order one: the fields of ``faults.Fault``
DELETE {shop}/faults                      clear them
====== ================================== ==============================================================
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.local.sandbox.faults import Fault
from infra.local.sandbox.woo_shop import ApiKey, Json, Order, Product, Sizes, User
from infra.local.sandbox.woo_webhooks import Sent, Weather
from infra.local.sandbox.woocommerce import Site, Traffic, WooCommerce

_SHOPS = "/_sandbox/woocommerce/shops"


class _NoSuch(Exception):
    """What the order names does not exist."""


def routes(woocommerce: WooCommerce, base_url: str) -> list[Route]:
    """The control API's routes."""
    control = _Control(woocommerce, base_url)
    shop = _SHOPS + "/{shop}"
    table: list[tuple[str, str, Callable[[Request], Awaitable[Json]], int]] = [
        ("GET", "/_sandbox", control.overview, 200),
        ("POST", _SHOPS, control.open, 201),
        ("GET", shop, control.describe, 200),
        ("DELETE", shop, control.close, 200),
        ("GET", f"{shop}/truth", control.truth, 200),
        ("GET", f"{shop}/calls", control.calls, 200),
        ("DELETE", f"{shop}/calls", control.forget_calls, 200),
        ("GET", f"{shop}/deliveries", control.deliveries, 200),
        ("DELETE", f"{shop}/deliveries", control.forget_deliveries, 200),
        ("POST", f"{shop}/deliver", control.deliver, 200),
        ("PUT", f"{shop}/delivery", control.pause, 200),
        ("POST", f"{shop}/orders", control.create_order, 201),
        ("PUT", f"{shop}/orders/{{id:int}}", control.change_order, 200),
        ("POST", f"{shop}/orders/{{id:int}}/{{action}}", control.act_on_order, 200),
        ("POST", f"{shop}/products", control.create_product, 201),
        ("PUT", f"{shop}/products/{{id:int}}", control.change_product, 200),
        ("POST", f"{shop}/products/{{id:int}}/{{action}}", control.act_on_product, 200),
        ("POST", f"{shop}/keys", control.add_key, 201),
        ("POST", f"{shop}/revoke", control.revoke, 200),
        ("PUT", f"{shop}/rights", control.set_rights, 200),
        ("PUT", f"{shop}/clock", control.set_clock, 200),
        ("GET", f"{shop}/faults", control.list_faults, 200),
        ("POST", f"{shop}/faults", control.order_fault, 201),
        ("DELETE", f"{shop}/faults", control.clear_faults, 200),
    ]
    return [Route(path, _answered(order, status), methods=[method]) for method, path, order, status in table]


def _answered(order: Callable[[Request], Awaitable[Json]], status: int) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return JSONResponse(await order(request), status)
        except _NoSuch as missing:
            return JSONResponse({"error": str(missing)}, 404)
        except (ValueError, TypeError, KeyError) as wrong:
            return JSONResponse({"error": f"{type(wrong).__name__}: {wrong}"}, 400)

    return endpoint


class _Control:
    """What the control API does."""

    def __init__(self, woocommerce: WooCommerce, base_url: str) -> None:
        self._woocommerce = woocommerce
        self._base_url = base_url

    async def overview(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        return {"url": self._base_url, "woocommerce": {"shops": list(self._woocommerce.sites)}}

    async def open(self, request: Request) -> Json:
        wish = await _body(request)
        sizes = {field.name: wish.pop(field.name) for field in fields(Sizes) if field.name in wish}
        render = wish.pop("render", False)
        site = self._woocommerce.open(wish.pop("name"), sizes=Sizes(**sizes), **wish)
        if render:
            site.shop.render()
        for permissions in ("read_write", "read", "write"):
            site.shop.add_key(permissions)
        revoked = site.shop.add_key()
        site.shop.revoke(revoked)
        return _described(site) | {"revoked": _key_json(revoked)}

    async def describe(self, request: Request) -> Json:
        return _described(self._site(request))

    async def close(self, request: Request) -> Json:
        site = self._site(request)
        del self._woocommerce.sites[site.shop.name]
        return {}

    async def truth(self, request: Request) -> Json:
        site = self._site(request)
        parts: dict[str, Callable[[], list[Json]]] = {
            "products": lambda: [_product_json(site, one) for one in site.shop.products.values()],
            "orders": lambda: [_order_json(site, one) for one in site.shop.orders.values()],
            "webhooks": lambda: [
                site.webhooks.json(one) | {"failures": one.failures, "ping_due": one.ping_due} for one in site.webhooks
            ],
        }
        only = request.query_params.get("only")
        return {name: make() for name, make in parts.items() if only in (None, name)}

    async def calls(self, request: Request) -> Json:
        traffic = self._site(request).traffic
        statuses = {str(status): count for status, count in traffic.statuses.items()}
        return {
            "total": traffic.total,
            "most_at_once": traffic.most_at_once,
            "routes": dict(traffic.routes),
            "statuses": statuses,
        }

    async def forget_calls(self, request: Request) -> Json:
        site = self._site(request)
        site.traffic = Traffic(active=site.traffic.active)
        return {}

    async def deliveries(self, request: Request) -> Json:
        site = self._site(request)
        return {"sent": [_sent_json(one) for one in site.webhooks.sent], "waiting": site.webhooks.waiting}

    async def forget_deliveries(self, request: Request) -> Json:
        self._site(request).webhooks.sent.clear()
        return {}

    async def deliver(self, request: Request) -> Json:
        site = self._site(request)
        sent = await site.webhooks.deliver(Weather(**await _body(request)))
        return {"sent": [_sent_json(one) for one in sent], "waiting": site.webhooks.waiting}

    async def pause(self, request: Request) -> Json:
        site = self._site(request)
        site.webhooks.paused = bool((await _body(request))["paused"])
        return {"paused": site.webhooks.paused}

    async def create_order(self, request: Request) -> Json:
        site = self._site(request)
        return _order_json(site, site.shop.create_order(await _body(request)))

    async def change_order(self, request: Request) -> Json:
        site, order = self._order(request)
        site.shop.update_order(order, await _body(request))
        return _order_json(site, order)

    async def act_on_order(self, request: Request) -> Json:
        site, order = self._order(request)
        shop, body = site.shop, await _body(request)
        acts: dict[str, Callable[[], object]] = {
            "trash": lambda: shop.trash_order(order),
            "restore": lambda: shop.restore_order(order),
            "delete": lambda: shop.delete_order(order),
            "refund": lambda: shop.create_refund(order, body),
        }
        _act(acts, request)
        return _order_json(site, order)

    async def create_product(self, request: Request) -> Json:
        site = self._site(request)
        return _product_json(site, site.shop.create_product(await _body(request)))

    async def change_product(self, request: Request) -> Json:
        site, product = self._product(request)
        site.shop.update_product(product, await _body(request))
        return _product_json(site, product)

    async def act_on_product(self, request: Request) -> Json:
        site, product = self._product(request)
        acts: dict[str, Callable[[], object]] = {
            "trash": lambda: site.shop.trash_product(product),
            "restore": lambda: site.shop.restore_product(product),
            "delete": lambda: site.shop.delete_product(product),
        }
        _act(acts, request)
        return _product_json(site, product)

    async def add_key(self, request: Request) -> Json:
        site, wish = self._site(request), await _body(request)
        user = site.shop.admin if wish.get("may_manage", True) else User(2, "customer", may_manage=False)
        return _key_json(site.shop.add_key(wish.get("permissions", "read_write"), user))

    async def revoke(self, request: Request) -> Json:
        site, wish = self._site(request), await _body(request)
        for key in list(site.shop.keys):
            if wish.get("consumer_key", key.consumer_key) != key.consumer_key:
                continue
            if wish.get("after_calls"):
                key.calls_left = int(wish["after_calls"])
            else:
                site.shop.revoke(key)
        return {"keys": [_key_json(key) for key in site.shop.keys]}

    async def set_rights(self, request: Request) -> Json:
        site = self._site(request)
        site.shop.admin.may_manage = bool((await _body(request))["may_manage"])
        return {"may_manage": site.shop.admin.may_manage}

    async def set_clock(self, request: Request) -> Json:
        site = self._site(request)
        site.shop.clock_offset = int((await _body(request))["offset"])
        return {"now": site.shop.now(), "now_gmt": site.shop.gmt(site.shop.now())}

    async def list_faults(self, request: Request) -> Json:
        return {"faults": [asdict(one) for one in self._site(request).faults.ordered if one.times != 0]}

    async def order_fault(self, request: Request) -> Json:
        fault = Fault.parse(await _body(request))
        self._site(request).faults.ordered.append(fault)
        return asdict(fault)

    async def clear_faults(self, request: Request) -> Json:
        self._site(request).faults.ordered.clear()
        return {"faults": []}

    def _site(self, request: Request) -> Site:
        name = request.path_params["shop"]
        site = self._woocommerce.sites.get(name)
        if site is None:
            raise _NoSuch(f"No shop is called {name}.")
        return site

    def _order(self, request: Request) -> tuple[Site, Order]:
        site = self._site(request)
        order = site.shop.orders.get(request.path_params["id"])
        if order is None:
            raise _NoSuch("No such order.")
        return site, order

    def _product(self, request: Request) -> tuple[Site, Product]:
        site = self._site(request)
        product = site.shop.products.get(request.path_params["id"])
        if product is None:
            raise _NoSuch("No such product.")
        return site, product


async def _body(request: Request) -> Json:
    text = await request.body()
    body: Any = json.loads(text) if text else {}
    if not isinstance(body, dict):
        raise TypeError("The body is no JSON object.")
    return body


def _act(acts: dict[str, Callable[[], object]], request: Request) -> None:
    action = request.path_params["action"]
    if action not in acts:
        raise _NoSuch(f"One can {', '.join(acts)}; not {action}.")
    acts[action]()


def _key_json(key: ApiKey) -> Json:
    return {
        "consumer_key": key.consumer_key,
        "consumer_secret": key.consumer_secret,
        "permissions": key.permissions,
        "calls_left": key.calls_left,
    }


def _described(site: Site) -> Json:
    shop = site.shop
    found = {key.permissions: _key_json(key) for key in reversed(shop.keys) if key.user is shop.admin}
    return {
        "name": shop.name,
        "url": shop.url,
        "timezone": shop.timezone,
        "currency": shop.currency,
        "keys": found,
        "products": sum(not product.parent_id for product in shop.products.values()),
        "variations": sum(bool(product.parent_id) for product in shop.products.values()),
        "orders": len(shop.orders),
        "now": shop.now(),
    }


def _product_json(site: Site, product: Product) -> Json:
    return {
        "id": product.id,
        "parent_id": product.parent_id,
        "type": product.type,
        "status": product.status,
        "name": product.name,
        "sku": product.sku,
        "price": site.shop.product_json(product)["price"],
        "stock_quantity": product.stock_quantity,
        "variations": list(product.variations),
        "created_gmt": site.shop.gmt(product.created),
        "modified_gmt": site.shop.gmt(product.modified),
    }


def _order_json(site: Site, order: Order) -> Json:
    return {
        "id": order.id,
        "status": order.status,
        "total": site.shop.total(order),
        "lines": len(order.lines),
        "created_gmt": site.shop.gmt(order.created),
        "modified_gmt": site.shop.gmt(order.modified),
    }


def _sent_json(sent: Sent) -> Json:
    return {**asdict(sent), "body": sent.body.decode()}
