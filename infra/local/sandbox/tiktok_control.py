"""TikTok Shop's control API: open sellers, act as the seller and as buyers, order faults, read the truth.

All of it is JSON under ``/_sandbox/tiktok_shop``, called ``{base}`` below; ``{seller}`` stands for
``{base}/sellers/NAME`` and ``{shop}`` for ``{base}/shops/NAME``. A seller's first shop has the seller's name, the
next ones ``NAME-2``, ``NAME-3``. What is wrong with an order is said as 400 ``{"error": …}``, what does not exist as
404.

====== ================================== ==============================================================
GET    {base}                             sellers, settings, app, clock
PUT    {base}/settings                    any of ``return_address``, ``approve`` (a seller's name, or null for a page
                                          to click), ``deny``, ``requests_per_second``, ``throttle_as``
                                          (429, code, bare), ``retry_after``, ``errors_as_200``, ``webhooks`` (the
                                          app's own addresses by event type), ``rotation`` (strict, retryable, none),
                                          ``code_life``, ``access_life``, ``authorization_life``, ``scopes``
PUT    {base}/clock                       ``offset`` in seconds from the true time, or ``advance`` by so many
GET    {base}/calls                       calls: total, by route and code, most at once, the last of them
DELETE {base}/calls                       count from nothing again
GET    {base}/faults                      the faults still to come, for calls of any shop and for tokens
POST   {base}/faults                      order one: the fields of ``faults.Fault``
DELETE {base}/faults                      clear them
POST   {base}/sellers                     open: ``name``, ``seed``, ``regions`` (a shop each) or ``shops`` (so many in
                                          the US), ``products``, ``orders``, ``days`` → its shops (201)
POST   {base}/shops                       the same
GET    {seller}                           shops and grants
DELETE {seller}                           close
POST   {seller}/deauthorize               the seller removes the app: tokens die, webhook 6
POST   {seller}/announce_expiry           webhook 7 now
POST   {seller}/revoke                    tokens die and nobody is told
PUT    {seller}/scopes                    ``scopes`` of the grants that there are
GET    {shop}                             id, cipher, region, counts, clock
GET    {shop}/truth                       every product and order: id, status, times in GMT, …; ``?only=orders``
GET    {shop}/webhooks                    the addresses
GET    {shop}/deliveries                  what was sent to receivers and what they answered, and what waits
DELETE {shop}/deliveries                  forget it
POST   {shop}/deliver                     send all that is due now → the results; ``shuffle``, ``copies``, ``lose`` (a
                                          share) spoil the network
PUT    {shop}/delivery                    ``paused``: the background worker leaves this shop alone
GET    {shop}/faults                      as above, for calls with this shop's cipher
POST   {shop}/faults
DELETE {shop}/faults
POST   {shop}/orders                      a buyer orders: ``lines`` of ``sku_id`` or ``seller_sku`` and ``quantity``,
                                          ``status``, ``message``
PUT    {shop}/orders/{id}                 ``status``: the order moves on
POST   {shop}/orders/{id}/ACTION          cancel, cancel_units (``count``), request_cancellation, change_address
                                          (``street``), split_package, note (``text``: no webhook)
POST   {shop}/products                    a new product: ``title``, ``price`` in the smallest unit, ``status``, …
PUT    {shop}/products/{id}               ``title``, ``description``, ``main_images``; ``price``, ``quantity``,
                                          ``seller_sku``, of one ``sku_id`` or all; ``status``
====== ================================== ==============================================================
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.routing import Route

from infra.local.sandbox.control_answers import NoSuch, answered, fault_routes, json_body, sent_json
from infra.local.sandbox.faults import Faults
from infra.local.sandbox.tiktok_grants import Grant, Rotation
from infra.local.sandbox.tiktok_seller import Json, Order, Product, Seller, Sizes, gmt
from infra.local.sandbox.tiktok_webhooks import Weather

if TYPE_CHECKING:
    from infra.local.sandbox.tiktok_shop import Account, TikTokShop

_BASE = "/_sandbox/tiktok_shop"
_RULES = {"rotation": Rotation, "code_life": int, "access_life": int, "authorization_life": int}
_SETTINGS = (
    "return_address",
    "approve",
    "deny",
    "requests_per_second",
    "throttle_as",
    "retry_after",
    "errors_as_200",
)


def routes(platform: "TikTokShop") -> list[Route]:
    """The control API's routes."""
    control = _Control(platform)
    seller, shop = f"{_BASE}/sellers/{{seller}}", f"{_BASE}/shops/{{shop}}"
    table: list[tuple[str, str, Callable[[Request], Awaitable[Json]], int]] = [
        ("GET", _BASE, control.overview, 200),
        ("PUT", f"{_BASE}/settings", control.set, 200),
        ("PUT", f"{_BASE}/clock", control.set_clock, 200),
        ("GET", f"{_BASE}/calls", control.calls, 200),
        ("DELETE", f"{_BASE}/calls", control.forget_calls, 200),
        ("POST", f"{_BASE}/sellers", control.open, 201),
        ("POST", f"{_BASE}/shops", control.open, 201),
        ("GET", seller, control.describe_seller, 200),
        ("DELETE", seller, control.close, 200),
        ("POST", f"{seller}/deauthorize", control.deauthorize, 200),
        ("POST", f"{seller}/announce_expiry", control.announce_expiry, 200),
        ("POST", f"{seller}/revoke", control.revoke, 200),
        ("PUT", f"{seller}/scopes", control.set_scopes, 200),
        ("GET", shop, control.describe_shop, 200),
        ("GET", f"{shop}/truth", control.truth, 200),
        ("GET", f"{shop}/webhooks", control.webhooks, 200),
        ("GET", f"{shop}/deliveries", control.deliveries, 200),
        ("DELETE", f"{shop}/deliveries", control.forget_deliveries, 200),
        ("POST", f"{shop}/deliver", control.deliver, 200),
        ("PUT", f"{shop}/delivery", control.pause, 200),
        ("POST", f"{shop}/orders", control.buy, 201),
        ("PUT", f"{shop}/orders/{{id}}", control.move_order, 200),
        ("POST", f"{shop}/orders/{{id}}/{{action}}", control.act_on_order, 200),
        ("POST", f"{shop}/products", control.create_product, 201),
        ("PUT", f"{shop}/products/{{id}}", control.change_product, 200),
    ]
    orders = [Route(path, answered(order, status), methods=[method]) for method, path, order, status in table]
    return [*fault_routes(_BASE, control.faults), *fault_routes(shop, control.faults), *orders]


class _Control:
    """What the control API does."""

    def __init__(self, platform: "TikTokShop") -> None:
        self._platform = platform

    # The platform

    async def overview(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        platform = self._platform
        now = {"now": platform.now(), "now_gmt": gmt(platform.now())}
        return {"sellers": [self._seller_json(one) for one in platform.sellers.values()], **self._settings(), **now}

    async def set(self, request: Request) -> Json:
        platform, wish = self._platform, await json_body(request)
        unknown = set(wish) - {*_SETTINGS, *_RULES, "webhooks", "scopes"}
        if unknown:
            raise ValueError(f"There is no setting {', '.join(sorted(unknown))}.")
        if wish.get("approve") not in (None, *platform.sellers):
            raise ValueError("There is no such seller to approve.")
        values = {name: make(wish[name]) for name, make in _RULES.items() if name in wish}
        for name, value in values.items():
            setattr(platform.grants.rules, name, value)
        for name in _SETTINGS:
            if name in wish:
                setattr(platform.settings, name, wish[name])
        if "webhooks" in wish:
            platform.settings.webhooks.clear()
            platform.settings.webhooks.update(wish["webhooks"])
        platform.grants.scopes = tuple(wish.get("scopes", platform.grants.scopes))
        return self._settings()

    async def set_clock(self, request: Request) -> Json:
        platform, wish = self._platform, await json_body(request)
        platform.clock_offset = int(wish.get("offset", platform.clock_offset)) + int(wish.get("advance", 0))
        return {"now": platform.now(), "now_gmt": gmt(platform.now())}

    async def calls(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        calls = self._platform.calls
        counts = {"total": calls.total, "most_at_once": calls.most_at_once}
        return {**counts, "routes": dict(calls.routes), "codes": dict(calls.codes), "last": list(calls.last)}

    async def forget_calls(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        self._platform.forget_calls()
        return {}

    # Sellers

    async def open(self, request: Request) -> Json:
        wish = await json_body(request)
        sizes = {field.name: int(wish.pop(field.name)) for field in fields(Sizes) if field.name in wish}
        regions = wish.pop("regions", ["US"] * int(wish.pop("shops", 1)))
        return self._seller_json(self._platform.open(wish.pop("name"), regions=regions, sizes=Sizes(**sizes), **wish))

    async def describe_seller(self, request: Request) -> Json:
        return self._seller_json(self._seller(request))

    async def close(self, request: Request) -> Json:
        self._platform.close(self._seller(request).name)
        return {}

    async def deauthorize(self, request: Request) -> Json:
        return {"ended": self._platform.deauthorize(self._seller(request))}

    async def announce_expiry(self, request: Request) -> Json:
        return {"announced": self._platform.announce_expiry(self._seller(request))}

    async def revoke(self, request: Request) -> Json:
        return {"ended": self._platform.grants.end(self._seller(request), "revoked")}

    async def set_scopes(self, request: Request) -> Json:
        seller, wish = self._seller(request), await json_body(request)
        for grant in self._platform.grants.of(seller):
            grant.scopes = tuple(wish["scopes"])
        return self._seller_json(seller)

    # Shops

    async def describe_shop(self, request: Request) -> Json:
        return self._shop_json(self._account(request))

    async def truth(self, request: Request) -> Json:
        return self._account(request).shop.truth(request.query_params.get("only"))

    async def webhooks(self, request: Request) -> Json:
        return {"webhooks": self._account(request).webhooks.subscriptions}

    async def deliveries(self, request: Request) -> Json:
        webhooks = self._account(request).webhooks
        return {"sent": [sent_json(one) for one in webhooks.sent], "waiting": webhooks.waiting}

    async def forget_deliveries(self, request: Request) -> Json:
        self._account(request).webhooks.sent.clear()
        return {}

    async def deliver(self, request: Request) -> Json:
        webhooks = self._account(request).webhooks
        sent = await webhooks.deliver(Weather(**await json_body(request)))
        return {"sent": [sent_json(one) for one in sent], "waiting": webhooks.waiting}

    async def pause(self, request: Request) -> Json:
        webhooks = self._account(request).webhooks
        webhooks.paused = bool((await json_body(request))["paused"])
        return {"paused": webhooks.paused}

    async def buy(self, request: Request) -> Json:
        shop = self._account(request).shop
        return shop.order_truth(shop.buy(await json_body(request)))

    async def move_order(self, request: Request) -> Json:
        account, order = self._order(request)
        account.shop.set_order_status(order, (await json_body(request))["status"])
        return account.shop.order_truth(order)

    async def act_on_order(self, request: Request) -> Json:
        account, order = self._order(request)
        shop, wish = account.shop, await json_body(request)
        acts: dict[str, Callable[[], None]] = {
            "cancel": lambda: shop.set_order_status(order, "CANCELLED"),
            "cancel_units": lambda: shop.cancel_units(
                order, int(wish.get("count", 1)), user=wish.get("user", "SELLER")
            ),
            "request_cancellation": lambda: shop.request_cancellation(order),
            "change_address": lambda: shop.change_address(order, str(wish.get("street", "1 Other Street"))),
            "split_package": lambda: shop.split_package(order),
            "note": lambda: shop.note(order, str(wish.get("text", "noted"))),
        }
        action = request.path_params["action"]
        if action not in acts:
            raise NoSuch(f"One can {', '.join(acts)}; not {action}.")
        acts[action]()
        return shop.order_truth(order)

    async def create_product(self, request: Request) -> Json:
        shop = self._account(request).shop
        return shop.product_truth(shop.create_product(await json_body(request)))

    async def change_product(self, request: Request) -> Json:
        account, product = self._product(request)
        wish = await json_body(request)
        status = wish.pop("status", None)
        if wish:
            account.shop.change_product(product, wish)
        if status is not None:
            account.shop.set_product_status(product, status)
        return account.shop.product_truth(product)

    # Who and what is meant

    def faults(self, request: Request) -> Faults:
        return self._account(request).faults if "shop" in request.path_params else self._platform.faults

    def _seller(self, request: Request) -> Seller:
        name = request.path_params["seller"]
        if name not in self._platform.sellers:
            raise NoSuch(f"No seller is called {name}.")
        return self._platform.sellers[name]

    def _account(self, request: Request) -> "Account":
        name = request.path_params["shop"]
        if name not in self._platform.accounts:
            raise NoSuch(f"No shop is called {name}.")
        return self._platform.accounts[name]

    def _order(self, request: Request) -> tuple["Account", Order]:
        account = self._account(request)
        order = account.shop.orders.get(request.path_params["id"])
        if order is None:
            raise NoSuch("No such order.")
        return account, order

    def _product(self, request: Request) -> tuple["Account", Product]:
        account = self._account(request)
        product = account.shop.products.get(request.path_params["id"])
        if product is None:
            raise NoSuch("No such product.")
        return account, product

    # In words

    def _settings(self) -> Json:
        platform = self._platform
        return {
            "settings": {**asdict(platform.settings), **asdict(platform.grants.rules), "scopes": platform.grants.scopes}
        }

    def _seller_json(self, seller: Seller) -> Json:
        shops = [self._shop_json(self._platform.accounts[shop.name]) for shop in seller.shops]
        grants = [_grant_json(grant) for grant in self._platform.grants.all if grant.seller is seller]
        return {"name": seller.name, "open_id": seller.open_id, "shops": shops, "grants": grants}

    def _shop_json(self, account: "Account") -> Json:
        shop = account.shop
        counts = {"products": len(shop.products), "orders": len(shop.orders), "now": shop.now()}
        return {"name": shop.name, "id": shop.id, "region": shop.region, "cipher": shop.cipher, **counts}


def _grant_json(grant: Grant) -> Json:
    return {"scopes": list(grant.scopes), "ends": grant.ends, "ended": grant.ended}
