"""eBay's control API: open sellers, act as the seller and as buyers, order faults, read the truth.

All of it is JSON under ``/_sandbox/ebay``, called ``{base}`` below; ``{seller}`` stands for ``{base}/sellers/NAME``.
What is wrong with an order is said as 400 ``{"error": …}``, what does not exist as 404.

====== ================================== ==============================================================
GET    {base}                             sellers, settings, clock
PUT    {base}/settings                    any of ``return_address``, ``approve`` (a seller's name, or null for a page
                                          to click), ``deny``, ``scopes`` (what the keys may ask for), ``enabled``
                                          (whether the keys work), ``quotas`` (calls a day by API or kind of token),
                                          ``retry_after``, ``code_life``, ``access_life``, ``refresh_life``
PUT    {base}/clock                       ``offset`` in seconds from the true time, or ``advance`` by so many
GET    {base}/calls                       calls: total, by route and status, most at once
DELETE {base}/calls                       count from nothing again, the calls of the day too
GET    {base}/faults                      the faults still to come
POST   {base}/faults                      order one: the fields of ``faults.Fault``
DELETE {base}/faults                      clear them
GET    {base}/notifications               config, destinations, subscriptions by user id, ids of keys
POST   {base}/keys                        another key signs from now on
POST   {base}/deletions                   an account is deleted, anybody's: ``username``, ``userId``
GET    {base}/deliveries                  what was sent to receivers and what they answered, and what waits
DELETE {base}/deliveries                  forget it
POST   {base}/deliver                     send all that is due now → the results; ``shuffle``, ``copies``, ``lose`` (a
                                          share) spoil the network
PUT    {base}/delivery                    ``paused``: the background worker sends nothing
POST   {base}/sellers                     open: ``name``, ``seed``, ``products``, ``orders``, ``days``, ``marketplace``,
                                          ``registered`` (as a seller) (201)
GET    {seller}                           counts, grants
GET    {seller}/truth                     every product and order: id, status, time of change; ``?only=orders``
POST   {seller}/revoke                    the grants end: ``reason`` (REVOKED_BY_USER), told the app unless ``quiet``
POST   {seller}/orders                    a buyer orders: ``lines`` of ``sku`` and ``quantity``, ``buyer``, ``note``
POST   {seller}/orders/{id}/ACTION        ship, cancel, refund (``amount``): no notification
POST   {seller}/products                  a new item: ``sku``, ``title``, ``quantity``, ``price``, ``status``
PUT    {seller}/products/{sku}            ``title``, ``quantity``, ``price``, ``status``, ``listing_status``
DELETE {seller}/products/{sku}            it goes, with its offers
====== ================================== ==============================================================
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.routing import Route

from infra.local.sandbox.control_answers import NoSuch, answered, fault_routes, json_body, sent_json
from infra.local.sandbox.custom import Weather
from infra.local.sandbox.ebay_notifications import Key
from infra.local.sandbox.ebay_seller import Json, Seller

if TYPE_CHECKING:
    from infra.local.sandbox.ebay import Ebay

_BASE = "/_sandbox/ebay"


def routes(platform: "Ebay") -> list[Route]:
    """The control API's routes."""
    control, seller = _Control(platform), f"{_BASE}/sellers/{{seller}}"
    table: list[tuple[str, str, Callable[[Request], Awaitable[Json]], int]] = [
        ("GET", _BASE, control.overview, 200),
        ("PUT", f"{_BASE}/settings", control.set, 200),
        ("PUT", f"{_BASE}/clock", control.set_clock, 200),
        ("GET", f"{_BASE}/calls", control.calls, 200),
        ("DELETE", f"{_BASE}/calls", control.forget_calls, 200),
        ("GET", f"{_BASE}/notifications", control.notifications, 200),
        ("POST", f"{_BASE}/keys", control.change_key, 201),
        ("POST", f"{_BASE}/deletions", control.delete_account, 200),
        ("GET", f"{_BASE}/deliveries", control.deliveries, 200),
        ("DELETE", f"{_BASE}/deliveries", control.forget_deliveries, 200),
        ("POST", f"{_BASE}/deliver", control.deliver, 200),
        ("PUT", f"{_BASE}/delivery", control.pause, 200),
        ("POST", f"{_BASE}/sellers", control.open, 201),
        ("GET", seller, control.describe, 200),
        ("GET", f"{seller}/truth", control.truth, 200),
        ("POST", f"{seller}/revoke", control.revoke, 200),
        ("POST", f"{seller}/orders", control.buy, 201),
        ("POST", f"{seller}/orders/{{id}}/{{action}}", control.act_on_order, 200),
        ("POST", f"{seller}/products", control.create_product, 201),
        ("PUT", f"{seller}/products/{{id:path}}", control.change_product, 200),
        ("DELETE", f"{seller}/products/{{id:path}}", control.delete_product, 200),
    ]
    orders = [Route(path, answered(order, status), methods=[method]) for method, path, order, status in table]
    return [*fault_routes(_BASE, lambda _: platform.faults), *orders]


class _Control:
    """What the control API does."""

    def __init__(self, platform: "Ebay") -> None:
        self._platform = platform

    async def overview(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        platform = self._platform
        sellers = [self._seller_json(one) for one in platform.sellers.values()]
        return {"sellers": sellers, "settings": asdict(platform.settings), "now": platform.now()}

    async def set(self, request: Request) -> Json:
        platform, wish = self._platform, await json_body(request)
        if wish.get("approve") not in (None, *platform.sellers):
            raise ValueError("There is no such seller to approve.")
        if "quotas" in wish:
            wish["quotas"] = {**platform.settings.quotas, **wish["quotas"]}
        platform.settings = replace(platform.settings, **wish)
        return asdict(platform.settings)

    async def set_clock(self, request: Request) -> Json:
        platform, wish = self._platform, await json_body(request)
        platform.clock_offset = float(wish.get("offset", platform.clock_offset)) + float(wish.get("advance", 0))
        return {"now": platform.now()}

    async def calls(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        calls = self._platform.calls
        return {"total": calls.total, "most_at_once": calls.most_at_once, "routes": dict(calls.routes)}

    async def forget_calls(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        self._platform.forget_calls()
        return {}

    # Notifications

    async def notifications(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        known = self._platform.notifications
        hooks = {owner: list(rows.values()) for owner, rows in known.subscriptions.items()}
        destinations = [
            {"id": id, "endpoint": one["deliveryConfig"]["endpoint"], "status": one["status"]}
            for id, one in known.destinations.items()
        ]
        keys = [key.id for key in known.keys]
        return {"config": known.config, "destinations": destinations, "subscriptions": hooks, "keys": keys}

    async def change_key(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        keys = self._platform.notifications.keys
        keys.append(Key())
        return {"keys": [key.id for key in keys]}

    async def delete_account(self, request: Request) -> Json:
        data = {"eiasToken": "nY+sHZ2PrBmdj6wVnY+sEZ2PrA2dj6w=", **await json_body(request)}
        self._platform.notifications.happened("MARKETPLACE_ACCOUNT_DELETION", data)
        return {"waiting": self._platform.notifications.waiting}

    async def deliveries(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        known = self._platform.notifications
        return {"sent": [sent_json(one) for one in known.sent], "waiting": known.waiting}

    async def forget_deliveries(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        self._platform.notifications.sent.clear()
        return {}

    async def deliver(self, request: Request) -> Json:
        known = self._platform.notifications
        sent = await known.deliver(Weather(**await json_body(request)))
        return {"sent": [sent_json(one) for one in sent], "waiting": known.waiting}

    async def pause(self, request: Request) -> Json:
        self._platform.notifications.paused = bool((await json_body(request))["paused"])
        return {}

    # Sellers

    async def open(self, request: Request) -> Json:
        wish = await json_body(request)
        return self._seller_json(self._platform.open(wish.pop("name"), **wish))

    async def describe(self, request: Request) -> Json:
        return self._seller_json(self._seller(request))

    async def truth(self, request: Request) -> Json:
        return self._seller(request).truth(request.query_params.get("only"))

    async def revoke(self, request: Request) -> Json:
        seller, wish = self._seller(request), await json_body(request)
        ended = self._platform.end_grants(seller.name)
        if not wish.get("quiet"):
            data = {**seller.named(), "revokeReason": wish.get("reason", "REVOKED_BY_USER")}
            self._platform.notifications.happened("AUTHORIZATION_REVOCATION", data)
        return {"ended": ended}

    async def buy(self, request: Request) -> Json:
        return self._seller(request).sell(await json_body(request))

    async def act_on_order(self, request: Request) -> Json:
        seller, wish = self._seller(request), await json_body(request)
        id, action = request.path_params["id"], request.path_params["action"]
        if id not in seller.orders:
            raise NoSuch("No such order.")
        acts: dict[str, Callable[[], Json]] = {
            "ship": lambda: seller.ship(id),
            "cancel": lambda: seller.cancel(id),
            "refund": lambda: seller.refund(id, str(wish["amount"])),
        }
        if action not in acts:
            raise NoSuch(f"One can {', '.join(acts)}; not {action}.")
        return acts[action]()

    async def create_product(self, request: Request) -> Json:
        return self._seller(request).add_item(await json_body(request))

    async def change_product(self, request: Request) -> Json:
        seller, sku = self._item(request)
        return seller.change_item(sku, await json_body(request))

    async def delete_product(self, request: Request) -> Json:
        seller, sku = self._item(request)
        seller.delete_item(sku)
        return {}

    # Who and what is meant

    def _seller(self, request: Request) -> Seller:
        name = request.path_params["seller"]
        if name not in self._platform.sellers:
            raise NoSuch(f"No seller is called {name}.")
        return self._platform.sellers[name]

    def _item(self, request: Request) -> tuple[Seller, str]:
        seller, sku = self._seller(request), request.path_params["id"]
        if sku not in seller.items:
            raise NoSuch("No such product.")
        return seller, sku

    def _seller_json(self, seller: Seller) -> Json:
        grants = [
            {"scopes": list(grant.scopes), "ends": grant.ends, "ended": grant.ended}
            for grant in self._platform.grants
            if grant.seller is seller
        ]
        counts = {"products": len(seller.items), "orders": len(seller.orders)}
        return {
            "name": seller.name,
            "id": seller.user_id,
            "marketplace": seller.marketplace,
            **counts,
            "grants": grants,
        }
