"""A stand-in for servers that speak our own contract, docs/custom-openapi.yaml: right in all, until told otherwise.

Shops are under https://NAME.custom-shop.example/storelink. The control API is JSON under ``/_sandbox/custom``;
``{shop}`` below stands for ``/_sandbox/custom/shops/NAME``. What is wrong with an order is said as 400
``{"error": …}``, what does not exist as 404.

====== ================================== ==============================================================
GET    /_sandbox/custom                   the shops
POST   /_sandbox/custom/shops             open: ``name``, ``seed``, ``products``, ``orders``, ``days``, ``currency``,
                                          ``timezone``, ``signing`` (``hmac`` or ``ed25519``), ``pair`` (a secret
                                          beside the key) → url, key, secret, public key (201)
GET    {shop}                             the same, counts, clock
DELETE {shop}                             close
GET    {shop}/truth                       every product and order: id, status, updatedAt; ``?only=orders``
GET    {shop}/calls                       calls: total, by route and status, most at once
DELETE {shop}/calls                       count from nothing again
GET    {shop}/faults                      the faults still to come
POST   {shop}/faults                      order one: the fields of ``faults.Fault``
DELETE {shop}/faults                      clear them
PUT    {shop}/rules                       ``broken``: rules to break, by :class:`Break`; ``only``: the id of the
                                          one record that does; ``webhooks``: whether there are any;
                                          ``requests_per_minute`` (0: no limit); ``cursor_life`` in seconds
POST   {shop}/revoke                      the seller takes the key back: ``connection.revoked``, then 401
PUT    {shop}/clock                       ``offset`` in seconds from the true time, or ``advance`` by so many
POST   {shop}/orders, {shop}/products     a new one: fields of the contract, all of them optional
PUT    {shop}/orders/ID, …/products/ID    change fields of the contract
DELETE {shop}/orders/ID, …/products/ID    delete it; only a product's is announced
GET    {shop}/deliveries                  what was sent to receivers and what they answered, and what waits
DELETE {shop}/deliveries                  forget it
POST   {shop}/deliver                     send all that is due now → the results; ``shuffle``, ``copies``, ``lose`` (a
                                          share) spoil the network
PUT    {shop}/delivery                    ``paused``: the background worker leaves this shop alone
====== ================================== ==============================================================
"""

import asyncio
import base64
import copy
import hmac
import json
import random
import re
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from email.utils import formatdate
from enum import StrEnum
from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from infra.local.sandbox import faults
from infra.local.sandbox.control_answers import NoSuch, answered, fault_routes, json_body, sent_json
from infra.local.sandbox.faults import Faults

Json = dict[str, Any]

DOMAIN = ".custom-shop.example"
HOSTS = (DOMAIN,)
PATH = "/storelink"

_KINDS = ("products", "orders")
_DAY, _MINUTE = 86_400, 60
_MOST_ROWS = 100
_PARAMETERS = {"updated_since", "cursor", "limit", "fields"}
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|\+00:00)")
_PATIENCE = 30.0
_REPEATED_AFTER = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds from one attempt to the next, as the contract has it; after the last the delivery is dropped."""
_STATUSES = {
    "products": ("active", "active", "active", "draft", "inactive"),
    "orders": ("paid", "completed", "completed", "pending", "partly_shipped", "cancelled", "refunded"),
}


class Break(StrEnum):
    """The rules of the contract that a shop can be told to break."""

    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    FLOAT_MONEY = "float_money"
    CURSOR_REPEATS = "cursor_repeats"
    HTML = "html"
    WRONG_CURRENCY = "wrong_currency"
    NO_ZONE = "no_zone"
    NUMBER_IDS = "number_ids"
    UNSORTED = "unsorted"
    ENDLESS = "endless"
    EMPTY_PAGES = "empty_pages"
    IGNORES_SINCE = "ignores_since"
    IGNORES_LIMIT = "ignores_limit"
    COUNTS_ROWS = "counts_rows"
    """The cursor is a number of rows, so that changes between two pages hide some."""
    NO_DATE = "no_date"
    BARE_ERRORS = "bare_errors"
    OPEN_DOOR = "open_door"
    """Any key will do."""


def _wrong_type(row: Json) -> None:
    row["status"] = 7


def _missing_field(row: Json) -> None:
    row.pop("lines" if "lines" in row else "variants", None)


def _float_money(row: Json) -> None:
    name = "total" if "total" in row else "price"
    row[name] = 19.9


def _wrong_currency(row: Json) -> None:
    row["currency"] = "euro"


def _no_zone(row: Json) -> None:
    row["updatedAt"] = row["updatedAt"].removesuffix("Z")


def _number_ids(row: Json) -> None:
    row["id"] = int(row["id"])


_SPOILS: dict[Break, Callable[[Json], None]] = {
    Break.WRONG_TYPE: _wrong_type,
    Break.MISSING_FIELD: _missing_field,
    Break.FLOAT_MONEY: _float_money,
    Break.WRONG_CURRENCY: _wrong_currency,
    Break.NO_ZONE: _no_zone,
    Break.NUMBER_IDS: _number_ids,
}
"""What a rule that is broken does to a record."""


class _Refused(Exception):
    """The shop's answer is an error of the contract."""

    def __init__(self, status: int, code: str, **headers: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.headers = headers


@dataclass
class Rules:
    """What can be ordered of a shop's server."""

    broken: frozenset[Break] = frozenset()
    only: str = ""
    webhooks: bool = True
    requests_per_minute: int = 0
    cursor_life: int = _DAY


@dataclass(frozen=True)
class Weather:
    """How the network treats one round of deliveries."""

    shuffle: bool = False
    copies: int = 1
    lose: float = 0.0


@dataclass(frozen=True)
class Notification:
    """What waits to be sent."""

    id: str
    url: str
    type: str
    body: bytes
    due: int
    attempt: int = 1


@dataclass(frozen=True)
class Sent:
    """One request that went to a receiver, and what came back."""

    id: str
    type: str
    url: str
    headers: dict[str, str]
    body: bytes
    attempt: int
    status: int | None
    """None where no answer came in time."""
    error: str = ""
    lost: bool = False
    """The network lost it: the receiver never saw it, though the shop believes that it did."""
    dropped: bool = False
    """It was the last attempt."""


@dataclass
class Calls:
    """The calls that were seen, without anything secret."""

    total: int = 0
    active: int = 0
    most_at_once: int = 0
    routes: Counter[str] = field(default_factory=Counter)


class Shop:
    """One shop: its records as the contract words them, and every way they change."""

    def __init__(
        self,
        name: str,
        now: Callable[[], float],
        *,
        seed: int = 1,
        products: int = 12,
        orders: int = 40,
        days: int = 90,
        currency: str = "EUR",
        timezone: str = "Europe/Berlin",
        signing: str = "hmac",
        pair: bool = False,
    ) -> None:
        self.name = name
        self.currency = currency
        self.timezone = timezone
        self.random = random.Random(f"custom/{name}/{seed}")  # noqa: S311 -- the same shop every time
        self.key = f"key_{self.random.getrandbits(160):040x}"
        self.secret = f"{self.random.getrandbits(160):040x}" if pair else ""
        self.private_key = Ed25519PrivateKey.from_private_bytes(self.random.randbytes(32))
        self.signs_publicly = signing == "ed25519"
        self.rows: dict[str, dict[str, Json]] = {kind: {} for kind in _KINDS}
        self.announce: Callable[[str, Json], object] = lambda *_: None
        self._now = now
        self._ids = 1000
        self._seed(products, orders, days)

    @property
    def url(self) -> str:
        """The base address."""
        return f"https://{self.name}{DOMAIN}{PATH}"

    @property
    def public_key(self) -> str:
        """What the seller enters as the webhook secret of a shop that signs with a key pair; else nothing."""
        raw = self.private_key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return f"whpk_{base64.b64encode(raw).decode()}" if self.signs_publicly else ""

    def time(self, moment: float | None = None) -> str:
        """A time as the contract has it: now, to the microsecond, where no other is given."""
        text = datetime.fromtimestamp(self._now() if moment is None else moment, UTC).isoformat()
        return text.removesuffix("+00:00") + "Z"

    def create(self, kind: str, wish: Json, moment: float | None = None) -> Json:
        """A new record."""
        made = self._product() if kind == "products" else self._order()
        stamp = self.time(moment)
        row = {**made, "createdAt": stamp, **wish, "updatedAt": stamp}
        self.rows[kind][row["id"]] = row
        self.announce(f"{kind[:-1]}.created", row)
        return row

    def change(self, kind: str, id: str, wish: Json) -> Json:
        """Changes fields of a record."""
        row = self.rows[kind][id]
        row.update(wish)
        row["updatedAt"] = self.time()
        self.announce(f"{kind[:-1]}.updated", row)
        return row

    def delete(self, kind: str, id: str) -> None:
        """Deletes a record; the contract has no event for orders."""
        del self.rows[kind][id]
        if kind == "products":
            self.announce("product.deleted", {"id": id})

    def sorted(self, kind: str) -> list[Json]:
        """All rows in the contract's order."""
        return sorted(self.rows[kind].values(), key=_position)

    def _seed(self, products: int, orders: int, days: int) -> None:
        begin = int(self._now()) - days * _DAY
        for kind, count in (("products", products), ("orders", orders)):
            moments = sorted(begin + self.random.randrange(days * _DAY - _DAY) for _ in range(count))
            for number, moment in enumerate(moments):
                # every third shares its second with the one before
                self.create(kind, {}, moments[number - 1] if number % 3 == 2 else moment)

    def _id(self) -> str:
        self._ids += 1
        return str(self._ids)

    def _price(self) -> str:
        return f"{self.random.randrange(500, 9000) / 100:.2f}"

    def _product(self) -> Json:
        id, price = self._id(), self._price()
        variants = [
            {
                "id": f"{id}-{size}",
                "title": size,
                "sku": f"TEE-{id}-{size}",
                "price": price,
                "inventoryQuantity": self.random.randrange(40),
                "attributes": {"Size": size},
            }
            for size in ("S", "M", "L")[: self.random.randrange(1, 4)]
        ]
        return {
            "id": id,
            "title": f"T-shirt №{id}",
            "status": self.random.choice(_STATUSES["products"]),
            "price": price,
            "currency": self.currency,
            "imageUrl": f"https://images.example.com/{id}.png",
            "url": None,
            "variants": variants,
        }

    def _order(self) -> Json:
        id = self._id()
        products = list(self.rows["products"].values())
        lines = [self._line(f"{id}.{number}", products) for number in range(1, self.random.randrange(2, 5))]
        total = sum(round(float(line["total"]) * 100) for line in lines)
        return {
            "id": id,
            "number": f"C{id}",
            "status": self.random.choice(_STATUSES["orders"]),
            "platformStatus": "as the shop says",
            "total": f"{total // 100}.{total % 100:02d}",
            "currency": self.currency,
            "lines": lines,
            "customer": {"id": f"b{id}", "name": f"Buyer {id}", "email": f"buyer{id}@example.com"},
            "shippingAddress": {"name": f"Buyer {id}", "line1": "1 Sandbox Street", "city": "Berlin", "country": "DE"},
            "note": None,
            "fees": [{"type": "payment", "amount": "0.35", "currency": self.currency}],
        }

    def _line(self, id: str, products: Sequence[Json]) -> Json:
        product = self.random.choice(products) if products else None
        price, quantity = (product["price"] if product else "10.00"), self.random.randrange(1, 4)
        cents = round(float(price) * 100) * quantity
        return {
            "id": id,
            "productId": product["id"] if product else None,
            "variantId": product["variants"][0]["id"] if product else None,
            "title": product["title"] if product else "Gone",
            "sku": product["variants"][0]["sku"] if product else None,
            "quantity": quantity,
            "unitPrice": price,
            "total": f"{cents // 100}.{cents % 100:02d}",
            "properties": [{"name": "Print", "value": "Front"}],
        }


def _position(row: Json) -> tuple[datetime, int, str]:
    """By time and then id: numbers by their value, which is longer first and then text."""
    return datetime.fromisoformat(row["updatedAt"]), len(row["id"]), row["id"]


class Webhooks:
    """A shop's subscriptions and what waits to be sent."""

    def __init__(self, shop: Shop, now: Callable[[], int], http: Callable[[], httpx.AsyncClient]) -> None:
        self.paused = False
        self.sent: list[Sent] = []
        self._shop = shop
        self._now = now
        self._http = http
        self._subscriptions: dict[str, Json] = {}
        self._waiting: list[Notification] = []
        shop.announce = self.happened

    @property
    def shown(self) -> list[Json]:
        """The subscriptions as they are listed: without secrets."""
        return [_without_secret(one) for one in self._subscriptions.values()]

    @property
    def waiting(self) -> list[Json]:
        """What is yet to be sent, and when."""
        return [{"id": one.id, "type": one.type, "due": one.due, "attempt": one.attempt} for one in self._waiting]

    def put(self, subscription: Json) -> Json:
        """One per url: another takes its place."""
        self._subscriptions[subscription["url"]] = subscription
        return _without_secret(subscription)

    def remove(self, url: str) -> None:
        """Ends the subscription, and what waits for it."""
        self._subscriptions.pop(url, None)
        self._waiting = [one for one in self._waiting if one.url != url]

    def happened(self, type: str, data: Json) -> None:
        """Queue a delivery for whoever wants it."""
        for subscription in self._subscriptions.values():
            if type in subscription["events"]:
                id = f"msg_{self._shop.random.getrandbits(96):024x}"
                event = {"type": type, "timestamp": self._shop.time(), "data": data}
                self._waiting.append(Notification(id, subscription["url"], type, encode(event), self._now()))

    async def deliver(self, weather: Weather | None = None) -> list[Sent]:
        """Send all that is due now."""
        weather, now = weather or Weather(), self._now()
        due = [one for one in self._waiting if one.due <= now]
        self._waiting = [one for one in self._waiting if one.due > now]
        round_ = [one for one in due for _ in range(weather.copies)]
        if weather.shuffle:
            self._shop.random.shuffle(round_)
        return [await self._deliver(one, lost=self._shop.random.random() < weather.lose) for one in round_]

    async def _deliver(self, one: Notification, *, lost: bool) -> Sent:
        headers = {"Content-Type": "application/json", **self._signed(one)}
        status, error = (200, "") if lost else await self._post(one.url, headers, one.body)
        well = status is not None and 200 <= status < 300
        again = not well and status != 410 and one.attempt <= len(_REPEATED_AFTER)
        if again:
            due = self._now() + _REPEATED_AFTER[one.attempt - 1]
            self._waiting.append(replace(one, due=due, attempt=one.attempt + 1))
        if status == 410:
            self.remove(one.url)
        sent = Sent(
            id=one.id,
            type=one.type,
            url=one.url,
            headers=headers,
            body=one.body,
            attempt=one.attempt,
            status=status,
            error=error,
            lost=lost,
            dropped=not well and not again,
        )
        self.sent.append(sent)
        return sent

    def _signed(self, one: Notification) -> dict[str, str]:
        stamp = str(self._now())
        message = f"{one.id}.{stamp}.".encode() + one.body
        if self._shop.signs_publicly:
            signature = f"v1a,{base64.b64encode(self._shop.private_key.sign(message)).decode()}"
        else:
            secret = self._subscriptions.get(one.url, {}).get("secret", "")
            key = base64.b64decode(secret.removeprefix("whsec_"))
            signature = f"v1,{base64.b64encode(hmac.digest(key, message, 'sha256')).decode()}"
        return {"webhook-id": one.id, "webhook-timestamp": stamp, "webhook-signature": signature}

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> tuple[int | None, str]:
        try:
            async with self._http() as client:
                call = client.post(url, content=body, headers=headers, follow_redirects=False)
                answer = await asyncio.wait_for(call, _PATIENCE)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as failure:
            return None, f"{type(failure).__name__}: {failure}"
        return answer.status_code, ""


def _without_secret(subscription: Json) -> Json:
    return {name: value for name, value in subscription.items() if name != "secret"}


def encode(value: Any) -> bytes:
    """JSON in UTF-8; a lone surrogate, which UTF-8 cannot carry, stays an escape."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


class Server:
    """What one shop's server answers."""

    def __init__(self, shop: Shop, now: Callable[[], int], http: Callable[[], httpx.AsyncClient]) -> None:
        self.shop = shop
        self.rules = Rules()
        self.faults = Faults()
        self.calls = Calls()
        self.webhooks = Webhooks(shop, now, http)
        self.revoked = False
        self._now = now
        self._recent: deque[int] = deque()

    async def answer(self, request: Request, stop: asyncio.Event) -> Response:
        """One request, through the faults ordered for it."""
        fault = self.faults.next(request.method, request.url.path)
        self.calls.active += 1
        self.calls.total += 1
        self.calls.most_at_once = max(self.calls.most_at_once, self.calls.active)
        status = 0
        try:
            genuine = self._genuine
            response = await (faults.answer(fault, request, genuine, stop) if fault else genuine(request))
            status = response.status_code
        finally:
            self.calls.active -= 1
            route = re.sub(r"/(orders|products)/.+", r"/\1/{id}", request.url.path.removeprefix(PATH))
            self.calls.routes[f"{request.method} {route} {status}"] += 1
        if Break.NO_DATE not in self.rules.broken:
            response.headers["Date"] = formatdate(self._now(), usegmt=True)
        return response

    async def _genuine(self, request: Request) -> Response:
        if Break.HTML in self.rules.broken and request.method == "GET":
            return HTMLResponse("<!DOCTYPE html><html><body>Welcome to our shop!</body></html>")
        try:
            self._admit(request)
            return await self._found(request)
        except _Refused as refused:
            said = {"error": {"code": refused.code, "message": f"This server says {refused.code}."}}
            if Break.BARE_ERRORS in self.rules.broken:
                return HTMLResponse("<h1>Error</h1>", refused.status)
            return Response(encode(said), refused.status, refused.headers, media_type="application/json")

    def _admit(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        pair = base64.b64encode(f"{self.shop.key}:{self.shop.secret}".encode()).decode()
        wanted = f"Basic {pair}" if self.shop.secret else f"Bearer {self.shop.key}"
        closed = Break.OPEN_DOOR not in self.rules.broken
        if closed and (self.revoked or not hmac.compare_digest(given.encode(), wanted.encode())):
            raise _Refused(401, "unauthorized")
        now, most = self._now(), self.rules.requests_per_minute
        while self._recent and self._recent[0] <= now - _MINUTE:
            self._recent.popleft()
        if most and len(self._recent) >= most:
            raise _Refused(429, "rate_limited", **{"Retry-After": str(self._recent[0] + _MINUTE - now)})
        self._recent.append(now)

    async def _found(self, request: Request) -> Response:
        method, path = request.method, request.url.path.removeprefix(PATH)
        kind, _, id = path.removeprefix("/").partition("/")
        if path == "/webhooks" and self.rules.webhooks:
            return await self._subscriptions(request)
        if method == "GET" and path == "/":
            named = {"name": self.shop.name.title(), "currency": self.shop.currency, "timezone": self.shop.timezone}
            return _json({"id": "main", **named})
        if method == "GET" and kind in _KINDS and not id:
            return _json(self._page(kind, request))
        if method == "GET" and kind in _KINDS and id in self.shop.rows[kind]:
            return _json({"data": self._spoilt(self.shop.rows[kind][id])})
        raise _Refused(404, "not_found")

    async def _subscriptions(self, request: Request) -> Response:
        if request.method == "GET":
            return _json({"data": self.webhooks.shown})
        if request.method == "DELETE":
            self.webhooks.remove(request.query_params.get("url", ""))
            return Response(status_code=204)
        if request.method == "PUT":
            wish = await json_body(request)
            if not {"url", "events", "mark"} <= set(wish) <= {"url", "events", "mark", "secret"}:
                raise _Refused(400, "invalid_request")
            return _json({"data": self.webhooks.put(wish)})
        raise _Refused(405, "invalid_request")

    def _page(self, kind: str, request: Request) -> Json:
        asked = dict(request.query_params)
        since, limit = asked.get("updated_since", ""), asked.get("limit", str(_MOST_ROWS))
        if set(asked) - _PARAMETERS or (since and not _TIME.fullmatch(since)) or not limit.isdigit():
            raise _Refused(400, "invalid_request")
        if not 1 <= int(limit) <= _MOST_ROWS:
            raise _Refused(400, "invalid_request")
        broken = self.rules.broken
        rows = self.shop.sorted(kind)
        if since and Break.IGNORES_SINCE not in broken:
            rows = [row for row in rows if datetime.fromisoformat(row["updatedAt"]) >= datetime.fromisoformat(since)]
        size = _MOST_ROWS if Break.IGNORES_LIMIT in broken else int(limit)
        return self._broken_page(*self._slice(rows, asked.get("cursor", ""), size), asked)

    def _slice(self, rows: list[Json], cursor: str, size: int) -> tuple[list[Json], str | None]:
        if Break.ENDLESS in self.rules.broken or Break.EMPTY_PAGES in self.rules.broken:
            return self._round_and_round(rows, cursor, size)
        if Break.COUNTS_ROWS in self.rules.broken:
            begin = _count(cursor)
            more = len(rows) > begin + size
            return rows[begin : begin + size], str(begin + size) if more else None
        if cursor and cursor != "again":
            after = self._read_cursor(cursor)
            rows = [row for row in rows if _position(row) > after]
        page = rows[:size]
        return page, self._cursor(page[-1]) if len(rows) > size else None

    def _round_and_round(self, rows: list[Json], cursor: str, size: int) -> tuple[list[Json], str]:
        turn = _count(cursor.removeprefix("turn-"))
        pages = max(1, -(-len(rows) // size))
        if turn >= pages and Break.EMPTY_PAGES in self.rules.broken:
            return [], f"turn-{turn + 1}"
        begin = turn % pages * size
        return rows[begin : begin + size], f"turn-{turn + 1}"

    def _cursor(self, row: Json) -> str:
        text = f"{self._now()} {row['updatedAt']} {row['id']}"
        return base64.urlsafe_b64encode(text.encode()).decode()

    def _read_cursor(self, cursor: str) -> tuple[datetime, int, str]:
        try:
            made, moment, id = base64.urlsafe_b64decode(cursor).decode().split(" ")
            position = _position({"updatedAt": moment, "id": id})
        except ValueError:
            raise _Refused(400, "invalid_request") from None
        if int(made) < self._now() - self.rules.cursor_life:
            raise _Refused(410, "cursor_expired")
        return position

    def _broken_page(self, rows: list[Json], following: str | None, asked: Json) -> Json:
        broken = self.rules.broken
        shown = [self._spoilt(row) for row in rows]
        if Break.UNSORTED in broken:
            shown.reverse()
        if asked.get("fields"):
            shown = [{name: row[name] for name in ("id", "updatedAt") if name in row} for row in shown]
        return {"data": shown, "next_cursor": "again" if Break.CURSOR_REPEATS in broken else following}

    def _spoilt(self, row: Json) -> Json:
        row = copy.deepcopy(row)
        if self.rules.only in ("", row["id"]):
            for broken in self.rules.broken:
                if broken in _SPOILS:
                    _SPOILS[broken](row)
        return row


def _count(cursor: str) -> int:
    if not cursor.isdigit() and cursor:
        raise _Refused(400, "invalid_request")
    return int(cursor or 0)


def _json(value: Any, status: int = 200) -> Response:
    return Response(encode(value), status, media_type="application/json")


class Custom:
    """All custom shops in the sandbox."""

    hosts: Sequence[str] = HOSTS

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        http: Callable[[], httpx.AsyncClient] = httpx.AsyncClient,
    ) -> None:
        self.servers: dict[str, Server] = {}
        self.clock_offset = 0.0
        self._clock = clock
        self._http = http

    def now(self) -> float:
        """The shops' clock."""
        return self._clock() + self.clock_offset

    def seconds(self) -> int:
        """The same, in whole seconds."""
        return int(self.now())

    def routes(self) -> list[Route]:
        """The control API."""
        return _routes(self)

    def open(self, name: str, **wishes: Any) -> Server:
        """A new shop; one of the same name is replaced."""
        self.servers[name] = Server(Shop(name, self.now, **wishes), self.seconds, self._http)
        return self.servers[name]

    async def answer(self, request: Request, stop: asyncio.Event) -> Response:
        """One request to any of the shops."""
        server = self.servers.get((request.url.hostname or "").removesuffix(DOMAIN))
        if server is None or not request.url.path.startswith(f"{PATH}/"):
            return HTMLResponse("<h1>404</h1>", 404)
        return await server.answer(request, stop)

    async def deliver(self) -> None:
        """Sends the webhooks that are due."""
        for server in list(self.servers.values()):
            if not server.webhooks.paused:
                await server.webhooks.deliver()


# The control API

_BASE = "/_sandbox/custom"


def _routes(platform: Custom) -> list[Route]:
    control = _Control(platform)
    shop = f"{_BASE}/shops/{{shop}}"
    table: list[tuple[str, str, Callable[[Request], Awaitable[Json]], int]] = [
        ("GET", _BASE, control.overview, 200),
        ("POST", f"{_BASE}/shops", control.open, 201),
        ("GET", shop, control.describe, 200),
        ("DELETE", shop, control.close, 200),
        ("GET", f"{shop}/truth", control.truth, 200),
        ("GET", f"{shop}/calls", control.calls, 200),
        ("DELETE", f"{shop}/calls", control.forget_calls, 200),
        ("PUT", f"{shop}/rules", control.set_rules, 200),
        ("POST", f"{shop}/revoke", control.revoke, 200),
        ("PUT", f"{shop}/clock", control.set_clock, 200),
        ("GET", f"{shop}/deliveries", control.deliveries, 200),
        ("DELETE", f"{shop}/deliveries", control.forget_deliveries, 200),
        ("POST", f"{shop}/deliver", control.deliver, 200),
        ("PUT", f"{shop}/delivery", control.pause, 200),
        ("POST", f"{shop}/{{kind}}", control.create, 201),
        ("PUT", f"{shop}/{{kind}}/{{id}}", control.change, 200),
        ("DELETE", f"{shop}/{{kind}}/{{id}}", control.delete, 200),
    ]
    orders = [Route(path, answered(order, status), methods=[method]) for method, path, order, status in table]
    return [*fault_routes(shop, lambda request: control.server(request).faults), *orders]


class _Control:
    """What the control API does."""

    def __init__(self, platform: Custom) -> None:
        self._platform = platform

    async def overview(self, request: Request) -> Json:  # noqa: ARG002 - every order is given the request
        return {"shops": [self._shop_json(server) for server in self._platform.servers.values()]}

    async def open(self, request: Request) -> Json:
        wish = await json_body(request)
        return self._shop_json(self._platform.open(wish.pop("name"), **wish))

    async def describe(self, request: Request) -> Json:
        return self._shop_json(self.server(request))

    async def close(self, request: Request) -> Json:
        del self._platform.servers[self.server(request).shop.name]
        return {}

    async def truth(self, request: Request) -> Json:
        shop, only = self.server(request).shop, request.query_params.get("only")
        return {
            kind: [{name: row.get(name) for name in ("id", "status", "updatedAt")} for row in shop.sorted(kind)]
            for kind in _KINDS
            if only in (None, kind)
        }

    async def calls(self, request: Request) -> Json:
        calls = self.server(request).calls
        return {"total": calls.total, "most_at_once": calls.most_at_once, "routes": dict(calls.routes)}

    async def forget_calls(self, request: Request) -> Json:
        server = self.server(request)
        server.calls = Calls(active=server.calls.active)
        return {}

    async def set_rules(self, request: Request) -> Json:
        server, wish = self.server(request), await json_body(request)
        if "broken" in wish:
            wish["broken"] = frozenset(Break(each) for each in wish["broken"])
        server.rules = replace(server.rules, **wish)
        return {**asdict(server.rules), "broken": sorted(server.rules.broken)}

    async def revoke(self, request: Request) -> Json:
        server = self.server(request)
        server.webhooks.happened("connection.revoked", {})
        server.revoked = True
        return {}

    async def set_clock(self, request: Request) -> Json:
        platform, wish = self._platform, await json_body(request)
        platform.clock_offset = float(wish.get("offset", platform.clock_offset)) + float(wish.get("advance", 0))
        return {"now": self.server(request).shop.time()}

    async def deliveries(self, request: Request) -> Json:
        webhooks = self.server(request).webhooks
        return {"sent": [sent_json(one) for one in webhooks.sent], "waiting": webhooks.waiting}

    async def forget_deliveries(self, request: Request) -> Json:
        self.server(request).webhooks.sent.clear()
        return {}

    async def deliver(self, request: Request) -> Json:
        webhooks = self.server(request).webhooks
        sent = await webhooks.deliver(Weather(**await json_body(request)))
        return {"sent": [sent_json(one) for one in sent], "waiting": webhooks.waiting}

    async def pause(self, request: Request) -> Json:
        webhooks = self.server(request).webhooks
        webhooks.paused = bool((await json_body(request))["paused"])
        return {"paused": webhooks.paused}

    async def create(self, request: Request) -> Json:
        return self.server(request).shop.create(_kind(request), await json_body(request))

    async def change(self, request: Request) -> Json:
        shop, kind, id = self._record(request)
        return shop.change(kind, id, await json_body(request))

    async def delete(self, request: Request) -> Json:
        shop, kind, id = self._record(request)
        shop.delete(kind, id)
        return {}

    def server(self, request: Request) -> Server:
        name = request.path_params["shop"]
        if name not in self._platform.servers:
            raise NoSuch(f"No shop is called {name}.")
        return self._platform.servers[name]

    def _record(self, request: Request) -> tuple[Shop, str, str]:
        shop, kind, id = self.server(request).shop, _kind(request), request.path_params["id"]
        if id not in shop.rows[kind]:
            raise NoSuch(f"There is no {id} among the {kind}.")
        return shop, kind, id

    def _shop_json(self, server: Server) -> Json:
        shop = server.shop
        counts = {kind: len(shop.rows[kind]) for kind in _KINDS}
        opened = {"url": shop.url, "key": shop.key, "secret": shop.secret, "public_key": shop.public_key}
        return {"name": shop.name, **opened, **counts, "webhooks": server.webhooks.shown, "now": shop.time()}


def _kind(request: Request) -> str:
    kind: str = request.path_params["kind"]
    if kind not in _KINDS:
        raise NoSuch(f"There are {' and '.join(_KINDS)}; no {kind}.")
    return kind
