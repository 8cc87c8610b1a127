"""Amazon's control API: open sellers, act as the seller and as buyers, order faults, read the truth.

All of it is JSON under ``/_sandbox/amazon``, called ``{base}`` below; ``{seller}`` stands for ``{base}/sellers/NAME``.
What is wrong with an order is said as 400 ``{"error": …}``, what does not exist as 404.

====== ================================== ==============================================================
GET    {base}                             sellers, settings, clock
PUT    {base}/settings                    any of ``return_address``, ``approve`` (a seller's name, or null for a page to
                                          click), ``draft``, ``roles``, ``code_life``, ``access_life``,
                                          ``authorization_life``, ``report_takes``, and ``bus_queue``: the ARN of the
                                          queue that our rule on the event bus leads to
PUT    {base}/clock                       ``offset`` in seconds from the true time, or ``advance`` by so many
GET    {base}/calls                       calls: total, by route and status, most at once, the last of them
DELETE {base}/calls                       count from nothing again
GET    {base}/faults                      the faults still to come, for calls of any seller and for tokens
POST   {base}/faults                      order one: the fields of ``faults.Fault``
DELETE {base}/faults                      clear them
POST   {base}/deliver                     send the notifications that wait → the results; ``shuffle``, ``copies``,
                                          ``lose`` (a share) spoil the network
PUT    {base}/delivery                    ``paused``: the background worker sends nothing
GET    {base}/deliveries                  what went into queues, and how many wait
POST   {base}/sellers                     open: ``name``, ``seed``, ``marketplaces`` (ids of one region), ``products``,
                                          ``orders``, ``days`` (201)
GET    {seller}                           id, marketplaces, counts, subscriptions, grants
PUT    {seller}                           ``marketplaces``: where they take part
DELETE {seller}                           close
POST   {seller}/revoke                    the seller removes the app: tokens die, and nobody is told
GET    {seller}/truth                     every listing and order: id, status, times in GMT, …; ``?only=orders``
GET    {seller}/faults                    as above, for calls with this seller's tokens
POST   {seller}/faults
DELETE {seller}/faults
POST   {seller}/orders                    a buyer orders: ``lines`` of ``sku`` and ``quantity``, ``marketplace``,
                                          ``status``
PUT    {seller}/orders/{id}               ``status``: the order moves on
POST   {seller}/orders/{id}/cancel        the same to ``CANCELLED``
POST   {seller}/products                  a listing: ``sku``, ``title``, ``price`` (smallest unit), ``quantity``,
                                          ``status`` (a list)
PUT    {seller}/products/{sku}            the same of one that there is
DELETE {seller}/products/{sku}            it is gone
====== ================================== ==============================================================
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.local.sandbox.amazon_seller import Json, Listing, Sizes, stamp
from infra.local.sandbox.faults import Fault, Faults
from infra.local.sandbox.tiktok_webhooks import Weather

if TYPE_CHECKING:
    from infra.local.sandbox.amazon import Account, Amazon

_BASE = "/_sandbox/amazon"


class _NoSuch(Exception):
    """What the order names does not exist."""


def routes(platform: "Amazon") -> list[Route]:
    """The control API's routes."""
    control = _Control(platform)
    seller = f"{_BASE}/sellers/{{seller}}"
    table: list[tuple[str, str, Callable[[Request, Json], Any], int]] = [
        ("GET", _BASE, control.overview, 200),
        ("PUT", f"{_BASE}/settings", control.set, 200),
        ("PUT", f"{_BASE}/clock", control.set_clock, 200),
        ("GET", f"{_BASE}/calls", control.calls, 200),
        ("DELETE", f"{_BASE}/calls", control.forget_calls, 200),
        ("POST", f"{_BASE}/deliver", control.deliver, 200),
        ("PUT", f"{_BASE}/delivery", control.pause, 200),
        ("GET", f"{_BASE}/deliveries", control.deliveries, 200),
        ("POST", f"{_BASE}/sellers", control.open, 201),
        ("GET", seller, control.describe, 200),
        ("PUT", seller, control.change, 200),
        ("DELETE", seller, control.close, 200),
        ("POST", f"{seller}/revoke", control.revoke, 200),
        ("GET", f"{seller}/truth", control.truth, 200),
        ("POST", f"{seller}/orders", control.buy, 201),
        ("PUT", f"{seller}/orders/{{id}}", control.move_order, 200),
        ("POST", f"{seller}/orders/{{id}}/cancel", control.cancel_order, 200),
        ("POST", f"{seller}/products", control.create_listing, 201),
        ("PUT", f"{seller}/products/{{id:path}}", control.change_listing, 200),
        ("DELETE", f"{seller}/products/{{id:path}}", control.delete_listing, 200),
        *(
            (method, f"{place}/faults", act, status)
            for place in (_BASE, seller)
            for method, act, status in (
                ("GET", control.list_faults, 200),
                ("POST", control.order_fault, 201),
                ("DELETE", control.clear_faults, 200),
            )
        ),
    ]
    return [Route(path, _answered(order, status), methods=[method]) for method, path, order, status in table]


def _answered(order: Callable[[Request, Json], Any], status: int) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            wish = json.loads(await request.body() or b"{}")
            found = order(request, dict(wish))
            return JSONResponse(await found if isinstance(found, Awaitable) else found, status)
        except _NoSuch as missing:
            return JSONResponse({"error": str(missing)}, 404)
        except (ValueError, TypeError, KeyError, AttributeError) as wrong:
            return JSONResponse({"error": f"{type(wrong).__name__}: {wrong}"}, 400)

    return endpoint


class _Control:
    """What the control API does."""

    def __init__(self, platform: "Amazon") -> None:
        self._platform = platform

    # The platform

    def overview(self, request: Request, wish: Json) -> Json:  # noqa: ARG002 - every order is given both
        platform = self._platform
        sellers = [self._json(account) for account in platform.accounts.values()]
        return {"sellers": sellers, "settings": self._settings(), "now_gmt": stamp(platform.now())}

    def set(self, request: Request, wish: Json) -> Json:  # noqa: ARG002
        platform = self._platform
        unknown = set(wish) - {field.name for field in fields(platform.settings)} - {"bus_queue"}
        if unknown:
            raise ValueError(f"There is no setting {', '.join(sorted(unknown))}.")
        if wish.get("approve") not in (None, *platform.accounts):
            raise ValueError("There is no such seller to approve.")
        platform.notifications.bus_queue = wish.pop("bus_queue", platform.notifications.bus_queue)
        for name, value in wish.items():
            setattr(platform.settings, name, tuple(value) if name == "roles" else value)
        return self._settings()

    def set_clock(self, request: Request, wish: Json) -> Json:  # noqa: ARG002
        platform = self._platform
        platform.clock_offset = int(wish.get("offset", platform.clock_offset)) + int(wish.get("advance", 0))
        return {"now": platform.now(), "now_gmt": stamp(platform.now())}

    def calls(self, request: Request, wish: Json) -> Json:  # noqa: ARG002
        calls = self._platform.calls
        counts = {"total": calls.total, "most_at_once": calls.most_at_once}
        return {**counts, "routes": dict(calls.routes), "codes": dict(calls.codes), "last": list(calls.last)}

    def forget_calls(self, request: Request, wish: Json) -> Json:  # noqa: ARG002
        self._platform.forget_calls()
        return {}

    def list_faults(self, request: Request, wish: Json) -> Json:  # noqa: ARG002
        return {"faults": [asdict(one) for one in self._faults(request).ordered if one.times != 0]}

    def order_fault(self, request: Request, wish: Json) -> Json:
        fault = Fault.parse(wish)
        self._faults(request).ordered.append(fault)
        return asdict(fault)

    def clear_faults(self, request: Request, wish: Json) -> Json:  # noqa: ARG002
        self._faults(request).ordered.clear()
        return {"faults": []}

    # Notifications

    async def deliver(self, request: Request, wish: Json) -> Json:  # noqa: ARG002
        sent = await self._platform.notifications.deliver(Weather(**wish))
        return {"sent": sent, "waiting": len(self._platform.notifications.waiting)}

    def pause(self, request: Request, wish: Json) -> Json:  # noqa: ARG002
        self._platform.notifications.paused = bool(wish["paused"])
        return {"paused": self._platform.notifications.paused}

    def deliveries(self, request: Request, wish: Json) -> Json:  # noqa: ARG002
        notifications = self._platform.notifications
        return {"sent": list(notifications.sent), "waiting": len(notifications.waiting)}

    # Sellers

    def open(self, request: Request, wish: Json) -> Json:  # noqa: ARG002
        sizes = {field.name: int(wish.pop(field.name)) for field in fields(Sizes) if field.name in wish}
        marketplaces = wish.pop("marketplaces", ["ATVPDKIKX0DER"])
        seller = self._platform.open(wish.pop("name"), marketplaces=marketplaces, sizes=Sizes(**sizes), **wish)
        return self._json(self._platform.accounts[seller.name])

    def describe(self, request: Request, wish: Json) -> Json:  # noqa: ARG002
        return self._json(self._account(request))

    def change(self, request: Request, wish: Json) -> Json:
        account = self._account(request)
        account.seller.marketplaces = tuple(wish["marketplaces"])
        return self._json(account)

    def close(self, request: Request, wish: Json) -> Json:  # noqa: ARG002
        name = self._account(request).seller.name
        self._platform.end_grants(name, "closed")
        del self._platform.accounts[name]
        return {}

    def revoke(self, request: Request, wish: Json) -> Json:  # noqa: ARG002
        return {"ended": self._platform.end_grants(self._account(request).seller.name, "revoked")}

    def truth(self, request: Request, wish: Json) -> Json:  # noqa: ARG002
        return self._account(request).seller.truth(request.query_params.get("only"))

    def buy(self, request: Request, wish: Json) -> Json:
        seller = self._account(request).seller
        return seller.order_truth(seller.buy(wish))

    def move_order(self, request: Request, wish: Json) -> Json:
        seller, id = self._account(request).seller, request.path_params["id"]
        if id not in seller.orders:
            raise _NoSuch("No such order.")
        seller.set_order_status(seller.orders[id], wish["status"])
        return seller.order_truth(seller.orders[id])

    def cancel_order(self, request: Request, wish: Json) -> Json:
        return self.move_order(request, {**wish, "status": "CANCELLED"})

    def create_listing(self, request: Request, wish: Json) -> Json:
        seller = self._account(request).seller
        return seller.listing_truth(seller.add_listing(wish))

    def change_listing(self, request: Request, wish: Json) -> Json:
        account, listing = self._listing(request)
        account.seller.change_listing(listing, wish)
        return account.seller.listing_truth(listing)

    def delete_listing(self, request: Request, wish: Json) -> Json:  # noqa: ARG002
        account, listing = self._listing(request)
        account.seller.delete_listing(listing)
        return {}

    # In words

    def _account(self, request: Request) -> "Account":
        name = request.path_params["seller"]
        if name not in self._platform.accounts:
            raise _NoSuch(f"No seller is called {name}.")
        return self._platform.accounts[name]

    def _listing(self, request: Request) -> tuple["Account", Listing]:
        account, sku = self._account(request), request.path_params["id"]
        if sku not in account.seller.listings:
            raise _NoSuch("No such listing.")
        return account, account.seller.listings[sku]

    def _faults(self, request: Request) -> Faults:
        return self._account(request).faults if "seller" in request.path_params else self._platform.faults

    def _settings(self) -> Json:
        return {**asdict(self._platform.settings), "bus_queue": self._platform.notifications.bus_queue}

    def _json(self, account: "Account") -> Json:
        seller, platform = account.seller, self._platform
        grants = [
            {"roles": list(grant.roles), "ends": stamp(grant.ends), "ended": grant.ended}
            for grant in platform.grants
            if grant.seller is seller
        ]
        return {
            "name": seller.name,
            "id": seller.id,
            "region": seller.region,
            "marketplaces": list(seller.marketplaces),
            "products": len(seller.listings),
            "orders": len(seller.orders),
            "subscriptions": platform.notifications.of(seller),
            "grants": grants,
        }
