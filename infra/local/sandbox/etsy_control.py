"""Etsy's control API: open shops, act as seller, buyer and Etsy, order faults, read the truth.

All of it is JSON under ``/_sandbox/etsy``, called ``{base}`` below; ``{shop}`` stands for ``{base}/shops/NAME``.
What is wrong with an order is said as 400 ``{"error": …}``, what does not exist as 404.

====== ================================== ==============================================================
GET    {base}                             shops, settings, clock
PUT    {base}/settings                    any of the fields of ``etsy.Settings``
PUT    {base}/clock                       ``offset`` in seconds from the true time, or ``advance`` by so many
GET    {base}/calls                       calls: total, by route and status, most at once
DELETE {base}/calls                       count from nothing again
GET    {base}/faults                      the faults still to come
POST   {base}/faults                      order one: the fields of ``faults.Fault``
DELETE {base}/faults                      clear them
PUT    {base}/webhooks                    what is entered in the portal: ``endpoints`` of ``url``, ``secret``,
                                          ``events``; ``style`` of the signatures: v1, bare, several
GET    {base}/deliveries                  what was sent to receivers and what they answered, and what waits
DELETE {base}/deliveries                  forget it
POST   {base}/deliver                     send all that is due now → the results; ``shuffle``, ``copies``, ``lose`` (a
                                          share) spoil the network
PUT    {base}/delivery                    ``paused``: the background worker leaves them alone
POST   {base}/shops                       open: ``name``, ``seed``, ``products``, ``orders``, ``days``, ``currency``,
                                          ``has_shop`` (201)
GET    {shop}                             ids, counts, grants
PUT    {shop}                             ``vacation``, ``closed``
DELETE {shop}                             the seller is gone
GET    {shop}/truth                       every product and order: id, status, times in GMT
POST   {shop}/password                    the seller changes the password: all tokens end, nobody is told
POST   {shop}/remove_app                  the seller removes the app: the same
PUT    {shop}/scopes                      ``scopes`` of the grants that there are
POST   {shop}/orders                      a buyer pays: ``lines`` of ``listing_id``, ``product_id``, ``quantity``
PUT    {shop}/orders/{id}                 change fields of the contract
POST   {shop}/orders/{id}/ACTION          ship (``partly``), deliver, cancel, refund (``amount``: no webhook)
POST   {shop}/products                    a new one: ``title``, ``state``, ``price``, ``quantity``
PUT    {shop}/products/{id}               change those
POST   {shop}/products/{id}/ACTION        renew, delete
====== ================================== ==============================================================
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.routing import Route

from infra.local.sandbox.control_answers import NoSuch, answered, fault_routes, json_body, sent_json
from infra.local.sandbox.custom import Calls, Weather
from infra.local.sandbox.etsy_shop import Shop
from infra.local.sandbox.etsy_webhooks import Endpoint
from infra.local.sandbox.tiktok_seller import Json, gmt

if TYPE_CHECKING:
    from infra.local.sandbox.etsy import Etsy

_BASE = "/_sandbox/etsy"


def routes(platform: "Etsy") -> list[Route]:
    """The control API's routes."""
    control = _Control(platform)
    shop = f"{_BASE}/shops/{{shop}}"
    table: list[tuple[str, str, Callable[[Request], Awaitable[Json]], int]] = [
        ("GET", _BASE, control.overview, 200),
        ("PUT", f"{_BASE}/settings", control.set, 200),
        ("PUT", f"{_BASE}/clock", control.set_clock, 200),
        ("GET", f"{_BASE}/calls", control.calls, 200),
        ("DELETE", f"{_BASE}/calls", control.forget_calls, 200),
        ("PUT", f"{_BASE}/webhooks", control.set_webhooks, 200),
        ("GET", f"{_BASE}/deliveries", control.deliveries, 200),
        ("DELETE", f"{_BASE}/deliveries", control.forget_deliveries, 200),
        ("POST", f"{_BASE}/deliver", control.deliver, 200),
        ("PUT", f"{_BASE}/delivery", control.pause, 200),
        ("POST", f"{_BASE}/shops", control.open, 201),
        ("GET", shop, control.describe, 200),
        ("PUT", shop, control.change_shop, 200),
        ("DELETE", shop, control.close, 200),
        ("GET", f"{shop}/truth", control.truth, 200),
        ("POST", f"{shop}/password", control.end, 200),
        ("POST", f"{shop}/remove_app", control.end, 200),
        ("PUT", f"{shop}/scopes", control.set_scopes, 200),
        ("POST", f"{shop}/orders", control.buy, 201),
        ("PUT", f"{shop}/orders/{{id:int}}", control.change_order, 200),
        ("POST", f"{shop}/orders/{{id:int}}/{{action}}", control.act_on_order, 200),
        ("POST", f"{shop}/products", control.create_product, 201),
        ("PUT", f"{shop}/products/{{id:int}}", control.change_product, 200),
        ("POST", f"{shop}/products/{{id:int}}/{{action}}", control.act_on_product, 200),
    ]
    orders = [Route(path, answered(order, status), methods=[method]) for method, path, order, status in table]
    return [*fault_routes(_BASE, lambda _: platform.faults), *orders]


class _Control:
    """What the control API does."""

    def __init__(self, platform: "Etsy") -> None:
        self._platform = platform

    async def overview(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        platform = self._platform
        settings = {"settings": asdict(platform.settings), "now": platform.now(), "now_gmt": gmt(platform.now())}
        return {"shops": [self._shop_json(shop) for shop in platform.shops.values()], **settings}

    async def set(self, request: Request) -> Json:
        settings, wish = self._platform.settings, await json_body(request)
        unknown = set(wish) - set(asdict(settings))
        if unknown or wish.get("approve") not in (None, *self._platform.shops):
            raise ValueError(f"There is no setting {unknown}, or no such shop to approve.")
        for name, value in wish.items():
            setattr(settings, name, value)
        return asdict(settings)

    async def set_clock(self, request: Request) -> Json:
        platform, wish = self._platform, await json_body(request)
        platform.clock_offset = int(wish.get("offset", platform.clock_offset)) + int(wish.get("advance", 0))
        return {"now": platform.now(), "now_gmt": gmt(platform.now())}

    async def calls(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        calls = self._platform.calls
        return {"total": calls.total, "most_at_once": calls.most_at_once, "routes": dict(calls.routes)}

    async def forget_calls(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        self._platform.calls = Calls(active=self._platform.calls.active)
        return {}

    # Webhooks

    async def set_webhooks(self, request: Request) -> Json:
        webhooks, wish = self._platform.webhooks, await json_body(request)
        webhooks.endpoints = [Endpoint(**one) for one in wish.get("endpoints", map(asdict, webhooks.endpoints))]
        webhooks.style = wish.get("style", webhooks.style)
        return {"endpoints": [{"url": one.url, "events": one.events} for one in webhooks.endpoints]}

    async def deliveries(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        webhooks = self._platform.webhooks
        return {"sent": [sent_json(one) for one in webhooks.sent], "waiting": webhooks.waiting}

    async def forget_deliveries(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        self._platform.webhooks.sent.clear()
        return {}

    async def deliver(self, request: Request) -> Json:
        webhooks = self._platform.webhooks
        sent = await webhooks.deliver(Weather(**await json_body(request)))
        return {"sent": [sent_json(one) for one in sent], "waiting": webhooks.waiting}

    async def pause(self, request: Request) -> Json:
        self._platform.webhooks.paused = bool((await json_body(request))["paused"])
        return {"paused": self._platform.webhooks.paused}

    # Shops

    async def open(self, request: Request) -> Json:
        return self._shop_json(self._platform.open(**await json_body(request)))

    async def describe(self, request: Request) -> Json:
        return self._shop_json(self._shop(request))

    async def change_shop(self, request: Request) -> Json:
        shop, wish = self._shop(request), await json_body(request)
        shop.vacation, shop.closed = wish.get("vacation", shop.vacation), wish.get("closed", shop.closed)
        return self._shop_json(shop)

    async def close(self, request: Request) -> Json:
        self._platform.close(self._shop(request).name)
        return {}

    async def truth(self, request: Request) -> Json:
        return self._shop(request).truth()

    async def end(self, request: Request) -> Json:
        return {"ended": self._platform.grants.end(self._shop(request), request.url.path.rpartition("/")[2])}

    async def set_scopes(self, request: Request) -> Json:
        shop, wish = self._shop(request), await json_body(request)
        for grant in self._platform.grants.of(shop):
            grant.scopes = tuple(wish["scopes"])
        return self._shop_json(shop)

    async def buy(self, request: Request) -> Json:
        return self._shop(request).buy(await json_body(request))

    async def change_order(self, request: Request) -> Json:
        shop, id = self._record(request, "receipts")
        return shop.change_receipt(id, await json_body(request))

    async def act_on_order(self, request: Request) -> Json:
        (shop, id), wish = self._record(request, "receipts"), await json_body(request)
        acts = {"ship": shop.ship, "deliver": shop.deliver, "cancel": shop.cancel, "refund": shop.refund}
        return _act(acts, request)(id, **wish)

    async def create_product(self, request: Request) -> Json:
        return self._shop(request).create_listing(await json_body(request))

    async def change_product(self, request: Request) -> Json:
        shop, id = self._record(request, "listings")
        return shop.change_listing(id, await json_body(request))

    async def act_on_product(self, request: Request) -> Json:
        shop, id = self._record(request, "listings")
        return _act({"renew": shop.renew_listing, "delete": shop.listings.pop}, request)(id)

    def _shop(self, request: Request) -> Shop:
        name = request.path_params["shop"]
        if name not in self._platform.shops:
            raise NoSuch(f"No shop is called {name}.")
        return self._platform.shops[name]

    def _record(self, request: Request, kind: str) -> tuple[Shop, int]:
        shop, id = self._shop(request), request.path_params["id"]
        if id not in getattr(shop, kind):
            raise NoSuch(f"There is no {id} among the {kind}.")
        return shop, id

    def _shop_json(self, shop: Shop) -> Json:
        grants = [
            {"scopes": grant.scopes, "ends": grant.ends, "ended": grant.ended}
            for grant in self._platform.grants.all
            if grant.shop is shop
        ]
        counts = {"products": len(shop.listings), "orders": len(shop.receipts)}
        flags = {"vacation": shop.vacation, "closed": shop.closed}
        return {"name": shop.name, "id": shop.id, "user_id": shop.user_id, **counts, **flags, "grants": grants}


def _act(acts: dict[str, Callable[..., Json]], request: Request) -> Callable[..., Json]:
    action = request.path_params["action"]
    if action not in acts:
        raise NoSuch(f"One can {', '.join(acts)}; not {action}.")
    return acts[action]
