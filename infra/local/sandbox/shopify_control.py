"""The control API of the Shopify shops: open them, act as merchant and buyer, order faults, read the truth.

All of it is JSON under ``/_sandbox/shopify``; ``{shop}`` below stands for ``/_sandbox/shopify/shops/NAME``, and an
id is a number or a global id. What is wrong with an order is said as 400 ``{"error": …}``, what does not exist as 404.

====== ================================== ==============================================================
GET    /_sandbox/shopify                  the app, the shops
PUT    /_sandbox/shopify/app              ``client_secret`` (a new one; ``overlap`` seconds of webhooks are
                                          still signed with the old), ``compliance_url``, ``redirects``
POST   /_sandbox/shopify/shops            open: ``name``, ``seed``, the fields of ``Sizes``, ``timezone``,
                                          ``currency``, ``plan``, ``auto_approve`` → domain and url (201)
GET    {shop}                             domain, url, counts, clock, the grant
DELETE {shop}                             close
GET    {shop}/truth                       every product and order: id, status, times in GMT, …, and the
                                          webhook subscriptions; ``?only=orders`` for one kind
GET    {shop}/calls                       API calls: total, by route, status and GraphQL field, most at once
DELETE {shop}/calls                       count from nothing again
GET    {shop}/deliveries                  what was sent to receivers and what they answered
DELETE {shop}/deliveries                  forget it
POST   {shop}/deliver                     send all that is due now → the results; ``shuffle``, ``copies``,
                                          ``lose`` (a share) spoil the network
PUT    {shop}/delivery                    ``paused``: the background worker sends nothing of this shop
POST   {shop}/orders                      a buyer orders: ``line_items``, ``financial_status``, …
PUT    {shop}/orders/{id}                 ``financial_status``, ``fulfillment_status``, ``note``, ``tags``,
                                          ``refund`` (an amount), ``closed``, ``attributes``
POST   {shop}/orders/{id}/ACTION          cancel (``reason``), delete
DELETE {shop}/orders/{id}                 the same as the action
POST   {shop}/products                    a new product: ``title``, ``price``, ``status``, ``variants``, …
PUT    {shop}/products/{id}               the same, or with ``variant_id`` of one variant: ``price``, ``sku``,
                                          ``inventory_quantity``
POST   {shop}/products/{id}/ACTION        delete
DELETE {shop}/products/{id}               the same as the action
POST   {shop}/tokens                      a permanent token, as before tokens expired: ``scopes``
POST   {shop}/revoke                      all tokens die at once, and nobody is told
POST   {shop}/uninstall                   the merchant uninstalls the app
PUT    {shop}/scopes                      ``scopes`` that the grant opens from now on
POST   {shop}/compliance                  send ``topic`` (customers/redact, …) with ``payload``
PUT    {shop}/auto_approve                ``auto_approve``: grants need no click
PUT    {shop}/settings                    the fields of ``Rules``; ``hide_closed``, ``bulk_seconds``,
                                          ``bucket`` and ``rate`` of the GraphQL budget
PUT    {shop}/clock                       ``offset`` in seconds from the true time, or ``advance`` by seconds
GET    {shop}/faults                      the faults still to come
POST   {shop}/faults                      order one: the fields of ``faults.Fault``
DELETE {shop}/faults                      clear them
====== ================================== ==============================================================
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.routing import Route

from infra.local.sandbox.control_answers import NoSuch, answered, fault_routes, json_body, sent_json
from infra.local.sandbox.shopify_shop import Json, Order, Product, Sizes, gid, money, number_of, utc
from infra.local.sandbox.shopify_tokens import Rules
from infra.local.sandbox.woo_webhooks import Weather
from infra.local.sandbox.woocommerce import Traffic

if TYPE_CHECKING:
    from infra.local.sandbox.shopify import Shopify, Site

_ROOT = "/_sandbox/shopify"
_OVERLAP = 3600
"""So long webhooks are signed with the old client secret."""


def routes(shopify: "Shopify") -> list[Route]:
    """The control API's routes."""
    control = _Control(shopify)
    shop = f"{_ROOT}/shops/{{shop}}"
    table: list[tuple[str, str, Callable[[Request], Awaitable[Json]], int]] = [
        ("GET", _ROOT, control.overview, 200),
        ("PUT", f"{_ROOT}/app", control.change_app, 200),
        ("POST", f"{_ROOT}/shops", control.open, 201),
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
        ("PUT", f"{shop}/orders/{{id:path}}", control.change_order, 200),
        ("POST", f"{shop}/orders/{{id:path}}/{{action}}", control.act_on_order, 200),
        ("POST", f"{shop}/products", control.create_product, 201),
        ("PUT", f"{shop}/products/{{id:path}}", control.change_product, 200),
        ("POST", f"{shop}/products/{{id:path}}/{{action}}", control.act_on_product, 200),
        ("DELETE", f"{shop}/orders/{{id:path}}", control.delete_order, 200),
        ("DELETE", f"{shop}/products/{{id:path}}", control.delete_product, 200),
        ("POST", f"{shop}/tokens", control.add_token, 201),
        ("POST", f"{shop}/revoke", control.revoke, 200),
        ("POST", f"{shop}/uninstall", control.uninstall, 200),
        ("PUT", f"{shop}/scopes", control.change_scopes, 200),
        ("POST", f"{shop}/compliance", control.comply, 200),
        ("PUT", f"{shop}/auto_approve", control.approve, 200),
        ("PUT", f"{shop}/settings", control.set, 200),
        ("PUT", f"{shop}/clock", control.set_clock, 200),
    ]
    orders = [Route(path, answered(order, status), methods=[method]) for method, path, order, status in table]
    return [*fault_routes(shop, lambda request: control.site(request).faults), *orders]


class _Control:
    """What the control API does."""

    def __init__(self, shopify: "Shopify") -> None:
        self._shopify = shopify

    async def overview(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        app = self._shopify.app
        told = {"client_id": app.client_id, "compliance_url": app.compliance_url, "redirects": list(app.redirects)}
        return {"app": told, "shops": list(self._shopify.sites)}

    async def change_app(self, request: Request) -> Json:
        wish, app = await json_body(request), self._shopify.app
        app.compliance_url = str(wish.get("compliance_url", app.compliance_url))
        app.redirects = tuple(wish.get("redirects", app.redirects))
        if "client_secret" in wish:
            app.rotate(str(wish["client_secret"]), self._shopify.now() + float(wish.get("overlap", _OVERLAP)))
        return await self.overview(request)

    async def open(self, request: Request) -> Json:
        wish = await json_body(request)
        sizes = {field.name: wish.pop(field.name) for field in fields(Sizes) if field.name in wish}
        approve = bool(wish.pop("auto_approve", False))
        site = self._shopify.open(str(wish.pop("name")), sizes=Sizes(**sizes), **wish)
        site.auto_approve = approve
        return _described(site)

    async def describe(self, request: Request) -> Json:
        return _described(self.site(request))

    async def close(self, request: Request) -> Json:
        del self._shopify.sites[self.site(request).shop.name]
        return {}

    async def truth(self, request: Request) -> Json:
        site = self.site(request)
        parts: dict[str, Callable[[], list[Json]]] = {
            "products": lambda: [_product_json(one) for one in site.shop.products.values()],
            "orders": lambda: [_order_json(site, one) for one in site.shop.orders.values()],
            "webhooks": lambda: [{**asdict(one), "id": one.gid} for one in site.webhooks.subscriptions.values()],
        }
        only = request.query_params.get("only")
        return {name: make() for name, make in parts.items() if only in (None, name)}

    async def calls(self, request: Request) -> Json:
        site = self.site(request)
        traffic = site.traffic
        return {
            "total": traffic.total,
            "most_at_once": traffic.most_at_once,
            "routes": dict(traffic.routes),
            "statuses": {str(status): count for status, count in traffic.statuses.items()},
            "operations": dict(site.operations),
        }

    async def forget_calls(self, request: Request) -> Json:
        site = self.site(request)
        site.traffic = Traffic(active=site.traffic.active)
        site.operations.clear()
        return {}

    async def deliveries(self, request: Request) -> Json:
        webhooks = self.site(request).webhooks
        return {"sent": [sent_json(one) for one in webhooks.sent], "waiting": webhooks.waiting}

    async def forget_deliveries(self, request: Request) -> Json:
        self.site(request).webhooks.sent.clear()
        return {}

    async def deliver(self, request: Request) -> Json:
        site = self.site(request)
        site.bulk.advance(1.0)
        sent = await site.webhooks.deliver(Weather(**await json_body(request)))
        return {"sent": [sent_json(one) for one in sent], "waiting": site.webhooks.waiting}

    async def pause(self, request: Request) -> Json:
        site = self.site(request)
        site.webhooks.paused = bool((await json_body(request))["paused"])
        return {"paused": site.webhooks.paused}

    async def create_order(self, request: Request) -> Json:
        site = self.site(request)
        return _order_json(site, site.shop.create_order(await json_body(request)))

    async def change_order(self, request: Request) -> Json:
        site, order = self._order(request)
        site.shop.update_order(order, await json_body(request))
        return _order_json(site, order)

    async def act_on_order(self, request: Request) -> Json:
        site, order = self._order(request)
        shop, body = site.shop, await json_body(request)
        acts: dict[str, Callable[[], object]] = {
            "cancel": lambda: shop.cancel_order(order, str(body.get("reason", "CUSTOMER"))),
            "delete": lambda: shop.delete_order(order),
        }
        _act(acts, request)
        return _order_json(site, order)

    async def delete_order(self, request: Request) -> Json:
        site, order = self._order(request)
        site.shop.delete_order(order)
        return _order_json(site, order)

    async def create_product(self, request: Request) -> Json:
        return _product_json(self.site(request).shop.create_product(await json_body(request)))

    async def change_product(self, request: Request) -> Json:
        site, product = self._product(request)
        site.shop.update_product(product, await json_body(request))
        return _product_json(product)

    async def act_on_product(self, request: Request) -> Json:
        site, product = self._product(request)
        _act({"delete": lambda: site.shop.delete_product(product)}, request)
        return _product_json(product)

    async def delete_product(self, request: Request) -> Json:
        site, product = self._product(request)
        site.shop.delete_product(product)
        return _product_json(product)

    async def add_token(self, request: Request) -> Json:
        site = self.site(request)
        scopes = (await json_body(request)).get("scopes", ["read_products", "read_orders"])
        return {"access_token": site.tokens.permanent(scopes)}

    async def revoke(self, request: Request) -> Json:
        site = self.site(request)
        site.tokens.revoke()
        return _described(site)

    async def uninstall(self, request: Request) -> Json:
        site = self.site(request)
        site.uninstall()
        return _described(site)

    async def change_scopes(self, request: Request) -> Json:
        site = self.site(request)
        site.change_scopes(tuple((await json_body(request))["scopes"]))
        return _described(site)

    async def comply(self, request: Request) -> Json:
        site, wish = self.site(request), await json_body(request)
        site.webhooks.comply(str(wish["topic"]), dict(wish.get("payload", {})), after=float(wish.get("after", 0)))
        return {"waiting": site.webhooks.waiting}

    async def approve(self, request: Request) -> Json:
        site = self.site(request)
        site.auto_approve = bool((await json_body(request))["auto_approve"])
        return {"auto_approve": site.auto_approve}

    async def set(self, request: Request) -> Json:
        site, wish = self.site(request), await json_body(request)
        for name in [field.name for field in fields(Rules) if field.name in wish]:
            setattr(site.rules, name, bool(wish[name]))
        site.hide_closed = bool(wish.get("hide_closed", site.hide_closed))
        site.bulk.seconds = float(wish.get("bulk_seconds", site.bulk.seconds))
        bucket = site.bucket
        bucket.maximum = float(wish.get("bucket", bucket.maximum))
        bucket.rate = float(wish.get("rate", bucket.rate))
        bucket.available = min(bucket.available, bucket.maximum)
        return asdict(site.rules) | {"hide_closed": site.hide_closed, "bulk_seconds": site.bulk.seconds}

    async def set_clock(self, request: Request) -> Json:
        site, wish = self.site(request), await json_body(request)
        site.shop.clock_offset = int(wish.get("offset", site.shop.clock_offset)) + int(wish.get("advance", 0))
        return {"now": site.shop.now(), "now_gmt": _gmt(site.shop.now())}

    def site(self, request: Request) -> "Site":
        name = request.path_params["shop"]
        site = self._shopify.sites.get(name)
        if site is None:
            raise NoSuch(f"No shop is called {name}.")
        return site

    def _order(self, request: Request) -> tuple["Site", Order]:
        site = self.site(request)
        order = site.shop.orders.get(number_of(request.path_params["id"]))
        if order is None:
            raise NoSuch("No such order.")
        return site, order

    def _product(self, request: Request) -> tuple["Site", Product]:
        site = self.site(request)
        product = site.shop.products.get(number_of(request.path_params["id"]))
        if product is None:
            raise NoSuch("No such product.")
        return site, product


def _act(acts: dict[str, Callable[[], object]], request: Request) -> None:
    action = request.path_params["action"]
    if action not in acts:
        raise NoSuch(f"One can {', '.join(acts)}; not {action}.")
    acts[action]()


def _described(site: "Site") -> Json:
    shop, tokens = site.shop, site.tokens
    return {
        "name": shop.name,
        "domain": shop.domain,
        "url": f"https://{shop.domain}",
        "id": gid("Shop", shop.id),
        "timezone": shop.timezone,
        "currency": shop.currency,
        "plan": shop.plan,
        "products": len(shop.products),
        "orders": len(shop.orders),
        "now": shop.now(),
        "auto_approve": site.auto_approve,
        "installed": tokens.installed,
        "scopes": list(tokens.scopes),
        "live_grants": len(tokens.living()),
    }


def _gmt(moment: int | None) -> str | None:
    text = utc(moment)
    return text.removesuffix("Z") if text else None


def _product_json(product: Product) -> Json:
    return {
        "id": gid("Product", product.id),
        "type": "product",
        "status": product.status,
        "title": product.title,
        "price": money(product.variants[0].price),
        "variants": [
            {
                "id": gid("ProductVariant", one.id),
                "sku": one.sku,
                "price": money(one.price),
                "inventory": one.inventory,
                "modified_gmt": _gmt(one.updated),
            }
            for one in product.variants
        ],
        "created_gmt": _gmt(product.created),
        "modified_gmt": _gmt(product.updated),
    }


def _order_json(site: "Site", order: Order) -> Json:
    return {
        "id": gid("Order", order.id),
        "name": f"#{order.number}",
        "status": "cancelled" if order.cancelled else order.financial.lower(),
        "financial": order.financial,
        "fulfillment": order.fulfillment,
        "total": money(order.current_total),
        "currency": site.shop.currency,
        "lines": len(order.lines),
        "created_gmt": _gmt(order.created),
        "modified_gmt": _gmt(order.updated),
    }
