"""A stand-in for TikTok Shop: consent page, token endpoints, the Open API that it has for shops, webhooks.

No official page is readable without a browser, so what is here follows what others read there or saw:
the reference that ``tiktok_shop_api`` was made from; its tables of errors
(https://partner.tiktokshop.com/docv2/page/common-errors) for codes and messages; and answers of the live hosts
that others noted down. What is none of these is marked as taken. HTTP statuses of errors are the least certain:
clients are told to go by ``code``, and ``Settings.errors_as_200`` sends every error with 200.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import html
import json
import re
import secrets
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from infra.local.sandbox import faults, tiktok_control
from infra.local.sandbox.faults import Faults
from infra.local.sandbox.tiktok_grants import Grant, Grants, TokenRefused
from infra.local.sandbox.tiktok_seller import ORDER_STATUSES, PRODUCT_STATUSES, Json, Order, Seller, Shop, Sizes
from infra.local.sandbox.tiktok_webhooks import EVENT_TYPES, Webhooks

APP_KEY = "storelinklocal"
APP_SECRET = "tts_local_0123456789abcdef0123456789abcdef"  # noqa: S105 -- the local stack's, good for nothing else
SERVICE_ID = "7000000000000000001"
RETURN_ADDRESS = "https://localhost:8701/authorizations/TIKTOK_SHOP/callback"

API_HOST = "open-api.tiktokglobalshop.com"
AUTH_HOST = "auth.tiktok-shops.com"
SERVICE_HOSTS = ("services.tiktokshop.com", "services.us.tiktokshop.com")
HOSTS = (API_HOST, AUTH_HOST, *SERVICE_HOSTS)

_DAY = 86_400
_WARNED_BEFORE = 30 * _DAY
_TOO_OLD, _TOO_NEW = 300, 30
_MOST_IDS = 50
_MOST_FOUND = 10_000
_SEARCHES_KEPT = 64
_CALLS_KEPT = 2_000
_SHOWN = ("grant_type", "ids", "page_size", "service_id", "sort_field", "sort_order", "timestamp", "version")
"""Query parameters that the log of calls repeats; all others may be secrets."""


class _Refusal(NamedTuple):
    status: int
    message: str


_REFUSALS = {
    # https://partner.tiktokshop.com/docv2/page/common-errors; 400 and 404 were seen, the other statuses are taken.
    36009002: _Refusal(429, "Too many requests. You've made too many requests in a short period of time."),
    36009004: _Refusal(400, "Invalid parameter."),
    36009009: _Refusal(404, "Invalid path. The specified path does not match any available endpoint."),
    36009010: _Refusal(405, "Invalid method. The HTTP method used is not supported by this endpoint."),
    36009022: _Refusal(400, "Invalid request format. The request body format must be `application/json`."),
    106001: _Refusal(401, "Invalid credentials. The `sign` query parameter is invalid."),
    106013: _Refusal(400, "Missing identifier. The `shop_cipher` query parameter is required."),
    101000: _Refusal(400, "Invalid query or header. `shop_cipher` or the `x-tts-access-token` header is invalid."),
    105001: _Refusal(401, "access token is invalid; detail:your token has been deauthorized"),
    105002: _Refusal(401, "Expired credentials. The `access_token` or `x-tts-access-token` header has expired."),
    105005: _Refusal(403, "Access denied. The app has not been granted the access scope for the endpoint."),
    # From the endpoints' own tables: the call was understood, so 200.
    12019150: _Refusal(200, "The product ID does not exist."),
    12052180: _Refusal(200, "The search goes past 10000 products."),
    21008111: _Refusal(200, "The order or package does not belong to the current seller."),
}


class ApiRefused(Exception):
    """The Open API's answer has this code."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message or _REFUSALS[code].message)
        self.code = code


@dataclass
class Settings:
    """What can be ordered of the platform as a whole."""

    return_address: str
    """Where Partner Center says that consents return to."""
    approve: str | None = None
    """The seller who consents at once, without a click."""
    deny: bool = False
    """Every seller refuses at once."""
    requests_per_second: float = 0
    """Of one grant on one shop; 0 is no limit, as no number is published."""
    throttle_as: str = "429"
    """``429`` with the code, ``code`` with 200, or ``bare``: 429 without JSON."""
    retry_after: str = ""
    errors_as_200: bool = False
    webhooks: dict[str, str] = field(default_factory=dict)
    """The app's own addresses by event type, for shops without one."""


@dataclass
class Call:
    """One Open API call that is allowed."""

    grant: Grant
    query: list[tuple[str, str]]
    body: Json
    parts: Mapping[str, str]
    account: "Account | None"

    @property
    def shop(self) -> Shop:
        """The shop that its cipher names; only endpoints that need one ask."""
        assert self.account is not None
        return self.account.shop

    def text(self, name: str) -> str | None:
        """A query parameter, the last of several."""
        return next((value for key, value in reversed(self.query) if key == name), None)


class _Endpoint(NamedTuple):
    method: str
    path: re.Pattern[str]
    scope: str
    """Taken for products and orders as others report them; webhooks seem to need none."""
    per_shop: bool
    answer: Callable[["OpenApi", Call], Json]


@dataclass
class Account:
    """One shop, its webhooks, and what is ordered for its calls."""

    shop: Shop
    seller: Seller
    webhooks: Webhooks
    faults: Faults = field(default_factory=Faults)
    searches: "OrderedDict[str, Sequence[Order]]" = field(default_factory=OrderedDict)


@dataclass
class Calls:
    """The calls that were seen, without anything secret."""

    total: int = 0
    active: int = 0
    most_at_once: int = 0
    routes: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    """By HTTP status and code: ``200/0``; status 0 where the connection was reset."""
    last: deque[Json] = field(default_factory=lambda: deque(maxlen=_CALLS_KEPT))


class Reply(Response):
    """An answer in the platform's envelope."""

    def __init__(self, code: int, status: int, body: bytes) -> None:
        super().__init__(body, status, media_type="application/json")
        self.code = code


def sign(secret: str, path: str, query: Sequence[tuple[str, str]], body: bytes) -> str:
    """A request's signature, https://partner.tiktokshop.com/docv2/page/sign-your-api-request."""
    pairs = sorted((pair for pair in query if pair[0] not in ("sign", "access_token")), key=lambda pair: pair[0])
    text = path + "".join(name + value for name, value in pairs)
    message = secret.encode() + text.encode(errors="surrogateescape") + body + secret.encode()
    return hmac.digest(secret.encode(), message, "sha256").hex()


def sign_webhook(app_key: str, secret: str, body: bytes) -> str:
    """A notification's signature, https://partner.tiktokshop.com/docv2/page/tts-webhooks-overview."""
    return hmac.new(secret.encode(), app_key.encode() + body, hashlib.sha256).hexdigest()


def encode(value: Json) -> bytes:
    """JSON as the platform sends it, UTF-8; a lone surrogate, which UTF-8 cannot carry, stays an escape."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


class TikTokShop:
    """All of TikTok Shop in the sandbox."""

    hosts: Sequence[str] = HOSTS

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        http: Callable[[], httpx.AsyncClient] = httpx.AsyncClient,
        return_address: str = RETURN_ADDRESS,
    ) -> None:
        self.settings = Settings(return_address)
        self.clock_offset = 0
        self.sellers: dict[str, Seller] = {}
        self.accounts: dict[str, Account] = {}
        """By the shop's name."""
        self.grants = Grants(self.now)
        self.faults = Faults()
        """Met by calls of any shop, and by those for tokens and pages."""
        self.calls = Calls()
        self._clock = clock
        self._http = http
        self._api = OpenApi(self)
        self._warned: dict[str, int] = {}

    def now(self) -> int:
        """The platform's clock, in whole seconds."""
        return int(self.exact_now())

    def exact_now(self) -> float:
        """The same, with its fraction."""
        return self._clock() + self.clock_offset

    def routes(self) -> list[Route]:
        """The control API."""
        return tiktok_control.routes(self)

    # Sellers

    def open(self, name: str, *, seed: int = 1, regions: Sequence[str] = ("US",), sizes: Sizes | None = None) -> Seller:
        """A new seller with a shop for each region; one of the same name is replaced."""
        seller = Seller(name, self.now, seed=seed, regions=regions, sizes=sizes or Sizes())
        self.close(name)
        self.sellers[name] = seller
        for shop in seller.shops:
            self.accounts[shop.name] = self._account(seller, shop)
        return seller

    def close(self, name: str) -> None:
        """The seller is gone, and all that the app had of them."""
        seller = self.sellers.pop(name, None)
        if seller:
            self.grants.end(seller, "closed")
            for shop in seller.shops:
                self.accounts.pop(shop.name, None)

    def deauthorize(self, seller: Seller) -> int:
        """The seller removes the app in Seller Center: the tokens die, and webhook 6 tells."""
        ended = self.grants.end(seller, "deauthorized")
        for shop in seller.shops:
            message = f"Shop_id {shop.id} is deauthorized from your APP by merchant."
            self.accounts[shop.name].webhooks.happened("SELLER_DEAUTHORIZATION", {"message": message})
        return ended

    def announce_expiry(self, seller: Seller) -> bool:
        """Webhook 7 for each shop of a seller whose consent ends; False without one."""
        ends = max((grant.ends for grant in self.grants.of(seller)), default=None)
        if ends is None:
            return False
        days = max(0, (ends - self.now()) // _DAY)
        for shop in seller.shops:
            message = f"Authorization of shop_id {shop.id} is expiring in {days} days."
            data = {"message": message, "expiration_time": str(ends)}
            self.accounts[shop.name].webhooks.happened("UPCOMING_AUTHORIZATION_EXPIRATION", data)
        return True

    async def deliver(self) -> None:
        """Warn of consents that end within 30 days, once a day from midnight on, and send what is due."""
        self._warn()
        for account in list(self.accounts.values()):
            if not account.webhooks.paused:
                await account.webhooks.deliver()

    def _warn(self) -> None:
        today = self.now() // _DAY
        for seller in self.sellers.values():
            ends = max((grant.ends for grant in self.grants.of(seller)), default=0)
            if 0 < ends - self.now() <= _WARNED_BEFORE and self._warned.get(seller.name) != today:
                self._warned[seller.name] = today
                self.announce_expiry(seller)

    def _account(self, seller: Seller, shop: Shop) -> Account:
        def signed(body: bytes) -> str:
            return sign_webhook(APP_KEY, APP_SECRET, body)

        webhooks = Webhooks(shop.id, self.now, self._http, signed, encode)
        webhooks.everywhere = self.settings.webhooks
        shop.announce = webhooks.happened
        return Account(shop, seller, webhooks)

    def forget_calls(self) -> None:
        """Count calls from nothing again."""
        self.calls = Calls(active=self.calls.active)

    # Requests

    async def answer(self, request: Request, stop: asyncio.Event) -> Response:
        """One request to any of the hosts, through the faults ordered for it."""
        account = self._account_of(request.query_params.get("shop_cipher"))
        path = request.url.path
        fault = account.faults.next(request.method, path) if account else None
        fault = fault or self.faults.next(request.method, path)
        self.calls.active += 1
        self.calls.most_at_once = max(self.calls.most_at_once, self.calls.active)
        response: Response | None = None
        try:
            genuine = self._genuine
            response = await (faults.answer(fault, request, genuine, stop) if fault else genuine(request))
        finally:
            self.calls.active -= 1
            self._log(request, account, response)
        response.headers["Date"] = formatdate(self.now(), usegmt=True)
        return response

    async def _genuine(self, request: Request) -> Response:
        host = request.url.hostname
        if host == API_HOST:
            return await self._api.answer(request)
        if host == AUTH_HOST:
            return self._tokens(request)
        return await self._consent(request)

    def _account_of(self, cipher: str | None) -> Account | None:
        return next((account for account in self.accounts.values() if account.shop.cipher == cipher), None)

    def _log(self, request: Request, account: Account | None, response: Response | None) -> None:
        status = response.status_code if response else 0
        code = response.code if isinstance(response, Reply) else None
        route = re.sub(r"/[0-9]{7,}", "/{id}", request.url.path)
        self.calls.total += 1
        self.calls.routes[f"{request.method} {route}"] += 1
        self.calls.codes[f"{status}/{'' if code is None else code}"] += 1
        shown = {name: value for name, value in request.query_params.multi_items() if name in _SHOWN}
        call = {"host": request.url.hostname, "method": request.method, "path": request.url.path, "query": shown}
        outcome = {"shop": account.shop.name if account else None, "status": status, "code": code}
        self.calls.last.append(call | outcome)

    # Tokens

    def _tokens(self, request: Request) -> Response:
        kind = {"/api/v2/token/get": "authorized_code", "/api/v2/token/refresh": "refresh_token"}.get(request.url.path)
        if kind is None or request.method != "GET":
            return PlainTextResponse("404 page not found", 404)  # seen for POST
        try:
            data = self._token_data(request.query_params, kind)
        except TokenRefused as refused:
            return self.reply(200, refused.code, str(refused), None)
        return self.reply(200, 0, "success", data)

    def _token_data(self, query: Mapping[str, str], kind: str) -> Json:
        # What a wrong key, secret or grant_type gives is taken: the code of wrong parameters elsewhere.
        for name, right in (("app_key", APP_KEY), ("app_secret", APP_SECRET)):
            if not hmac.compare_digest(query.get(name, "").encode(), right.encode()):
                raise TokenRefused(36009004, f"Invalid credentials. Invalid `{name}` query parameter.")
        if query.get("grant_type") != kind:
            raise TokenRefused(36009004, "Invalid `grant_type` query parameter.")
        if kind == "authorized_code":
            return self.grants.exchange(query.get("auth_code", ""))
        return self.grants.refresh(query.get("refresh_token", ""))

    # Consent

    async def _consent(self, request: Request) -> Response:
        if request.url.path != "/open/authorize" or request.method not in ("GET", "POST"):
            return HTMLResponse("<h1>404</h1>", 404)
        asked = dict(request.query_params)
        if request.method == "POST":
            asked = dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))
        if asked.get("service_id") != SERVICE_ID:
            return _page("<h1>This service does not exist.</h1>", 400)
        return self._decided(asked, request.method)

    def _decided(self, asked: Mapping[str, str], method: str) -> Response:
        clicked = asked.get("decision") if method == "POST" else None
        if self.settings.deny or clicked == "deny":
            return self._return({"code": "null", "error": "auth_denied"}, asked)
        seller = self.sellers.get((asked.get("seller") if clicked else self.settings.approve) or "")
        if seller is None:
            return _page(_consent_form(asked, list(self.sellers.values())))
        code = {"app_key": APP_KEY, "code": self.grants.authorize(seller), "locale": "en", "shop_region": seller.region}
        return self._return(code, asked)

    def _return(self, values: dict[str, str], asked: Mapping[str, str]) -> Response:
        values = values | {name: asked[name] for name in ("state",) if name in asked}
        address = self.settings.return_address
        return RedirectResponse(f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(values)}", 302)

    # Answers

    def reply(self, status: int, code: int, message: str, data: Json | None) -> Response:
        """The envelope that every answer has."""
        moment = time.strftime("%Y%m%d%H%M%S", time.gmtime(self.now()))
        body = {"code": code, "data": data, "message": message, "request_id": moment + secrets.token_hex(10).upper()}
        return Reply(code, status, encode(body))


class OpenApi:
    """The signed API."""

    def __init__(self, platform: TikTokShop) -> None:
        self._platform = platform
        self._recent: dict[tuple[str, str], deque[float]] = {}

    async def answer(self, request: Request) -> Response:
        """Check and answer one call; refusals in the gateway's order, path first."""
        settings = self._platform.settings
        try:
            data = await self._data(request)
        except ApiRefused as refused:
            status = 200 if settings.errors_as_200 else _REFUSALS[refused.code].status
            if refused.code == 36009002:
                return self._throttled(str(refused))
            return self._platform.reply(status, refused.code, str(refused), None)
        return self._platform.reply(200, 0, "Success", data)

    async def _data(self, request: Request) -> Json:
        raw_path = request.scope["raw_path"].decode("ascii", "replace").partition("?")[0]
        endpoint, found = _endpoint(request.method, raw_path)
        query = parse_qsl(request.url.query, keep_blank_values=True, errors="surrogateescape")
        body = await request.body()
        self._check_signature(raw_path, query, body)
        grant = self._grant(request.headers.get("x-tts-access-token", ""), endpoint)
        account = self._account(query, grant, endpoint)
        self._check_pace(grant, account)
        call = Call(grant, query, _json_body(request, body), found.groupdict(), account)
        return endpoint.answer(self, call)

    def _check_signature(self, path: str, query: Sequence[tuple[str, str]], body: bytes) -> None:
        """Without the app's key nothing else is looked at, as seen of the live gateway."""
        values = dict(query)
        if values.get("app_key") != APP_KEY:
            raise ApiRefused(36009004, "Invalid credentials. Invalid `app_key` query parameter.")
        self._check_timestamp(values.get("timestamp", ""))
        if "sign" not in values:
            missing = "Missing credentials. The request does not include a required signature in the query."
            raise ApiRefused(36009004, missing)
        given = values["sign"].encode(errors="replace")
        if not hmac.compare_digest(given, sign(APP_SECRET, path, query, body).encode()):
            raise ApiRefused(106001)

    def _check_timestamp(self, text: str) -> None:
        if not re.fullmatch(r"[0-9]{1,12}", text):
            raise ApiRefused(36009004, "Invalid timestamp. The `timestamp` query parameter must not be lesser than 0.")
        age = self._platform.now() - int(text)
        if age > _TOO_OLD:
            raise ApiRefused(
                36009004, "Invalid timestamp. It must not be earlier than 5 minutes before the current time."
            )
        if age < -_TOO_NEW:
            raise ApiRefused(
                36009004, "Invalid timestamp. It must not exceed the current time by more than 30 seconds."
            )

    def _grant(self, token: str, endpoint: _Endpoint) -> Grant:
        found = self._platform.grants.find(token)
        if found is None:
            raise ApiRefused(36009004, "Invalid credentials. The `x-tts-access-token` header is invalid.")
        grant, ends = found
        if not grant.alive:
            raise ApiRefused(105001)
        if ends <= self._platform.now():
            raise ApiRefused(105002)
        if endpoint.scope and endpoint.scope not in grant.scopes:
            raise ApiRefused(105005)
        return grant

    def _account(self, query: Sequence[tuple[str, str]], grant: Grant, endpoint: _Endpoint) -> Account | None:
        cipher = dict(query).get("shop_cipher")
        if not endpoint.per_shop:
            if cipher is not None:
                unexpected = (
                    "Unexpected identifier. The `shop_cipher` query parameter is not required for this request."
                )
                raise ApiRefused(36009004, unexpected)
            return None
        if not cipher:
            raise ApiRefused(106013)
        for shop in grant.seller.shops:
            if shop.cipher == cipher:
                return self._platform.accounts[shop.name]
        raise ApiRefused(101000)

    def _check_pace(self, grant: Grant, account: Account | None) -> None:
        limit = self._platform.settings.requests_per_second
        if not limit:
            return
        now = self._platform.exact_now()
        recent = self._recent.setdefault((grant.seller.name, account.shop.name if account else ""), deque())
        span = max(1.0, 1 / limit)
        while recent and recent[0] <= now - span:
            recent.popleft()
        if len(recent) >= max(1, limit * span):
            raise ApiRefused(36009002)
        recent.append(now)

    def _throttled(self, message: str) -> Response:
        settings = self._platform.settings
        if settings.throttle_as == "bare":
            response: Response = PlainTextResponse("Too Many Requests", 429)
        else:
            response = self._platform.reply(200 if settings.throttle_as == "code" else 429, 36009002, message, None)
        if settings.retry_after:
            response.headers["Retry-After"] = settings.retry_after
        return response

    # Endpoints

    def authorized_shops(self, call: Call) -> Json:
        """The shops of the seller who consented."""
        return {"shops": [shop.shop_json() for shop in call.grant.seller.shops]}

    def search_products(self, call: Call) -> Json:
        """A page by offset, as the reference's example of a token shows: what moves meanwhile moves the pages."""
        _check_body(call.body, _PRODUCT_FILTERS)
        size = _page_size(call)
        start = _offset(call.text("page_token"))
        if start + size > _MOST_FOUND:
            raise ApiRefused(12052180)
        found = call.shop.find_products(call.body)
        token = base64.b64encode(f"offset={start + size}\n".encode()).decode() if start + size < len(found) else ""
        products = [call.shop.product_json(product) for product in found[start : start + size]]
        return {"products": products, "total_count": len(found), "next_page_token": token}

    def product(self, call: Call) -> Json:
        """One product, frozen and deleted ones too, as the reference says."""
        product = call.shop.products.get(call.parts["id"])
        if product is None:
            raise ApiRefused(12019150)
        return call.shop.product_detail(product)

    def search_orders(self, call: Call) -> Json:
        """A page of what the first page found: an order that changes meanwhile is shown as it is by then.

        So its update time "may exceed the selected search range", as the reference warns.
        """
        _check_body(call.body, _ORDER_FILTERS)
        size, token = _page_size(call), call.text("page_token")
        assert call.account is not None
        searches = call.account.searches
        wish = hashlib.sha256(encode({"body": call.body, "sort": [*self._sorting(call)]})).hexdigest()[:8]
        if token:
            search, start = _order_token(token, wish)
            if search not in searches:
                raise ApiRefused(36009004, "Invalid `page_token` query parameter.")
            searches.move_to_end(search)
        else:
            search, start = secrets.token_hex(8), 0
            sort_field, descending = self._sorting(call)
            searches[search] = call.shop.find_orders(call.body, sort_field, descending=descending)
            if len(searches) > _SEARCHES_KEPT:
                searches.popitem(last=False)
        found = searches[search]
        end = start + size
        return {
            "orders": [call.shop.order_json(order) for order in found[start:end]],
            "total_count": len(found),
            "next_page_token": _make_order_token(search, end, wish) if end < len(found) else "",
        }

    def orders(self, call: Call) -> Json:
        """Orders by id, ``ids=a,b`` or repeated; those that the shop has not are left out."""
        ids = [id for name, value in call.query if name == "ids" for id in value.split(",") if id]
        if not ids:
            raise ApiRefused(36009004, "Ids is a required field")
        if len(ids) > _MOST_IDS:
            raise ApiRefused(36009004, f"Ids must contain at most {_MOST_IDS} items")
        found = [call.shop.orders[id] for id in dict.fromkeys(ids) if id in call.shop.orders]
        return {"orders": [call.shop.order_json(order) for order in found]}

    def statement(self, call: Call) -> Json:
        """What an order brought, once it is settled."""
        order = call.shop.orders.get(call.parts["id"])
        if order is None:
            raise ApiRefused(21008111)
        return call.shop.statement_json(order)

    def list_webhooks(self, call: Call) -> Json:
        """The shop's addresses."""
        assert call.account is not None
        webhooks = call.account.webhooks.subscriptions
        return {"webhooks": webhooks, "total_count": len(webhooks)}

    def put_webhook(self, call: Call) -> Json:
        """Set the address of one event type."""
        event_type, address = call.body.get("event_type"), call.body.get("address")
        _check_event_type(event_type)
        if not isinstance(address, str) or urlsplit(address).scheme != "https" or not urlsplit(address).hostname:
            raise ApiRefused(36009004, "Address must be a https URL")
        assert call.account is not None
        call.account.webhooks.subscribe(str(event_type), address)
        return {}

    def delete_webhook(self, call: Call) -> Json:
        """Forget the address of one event type, which need not have one."""
        _check_event_type(call.body.get("event_type"))
        assert call.account is not None
        call.account.webhooks.unsubscribe(str(call.body["event_type"]))
        return {}

    def _sorting(self, call: Call) -> tuple[str, bool]:
        # The defaults are taken: the reference names none.
        sort_field = call.text("sort_field") or "create_time"
        sort_order = call.text("sort_order") or "DESC"
        if sort_field not in ("create_time", "update_time"):
            raise ApiRefused(36009004, "SortField is invalid, allowed: create_time, update_time")
        if sort_order not in ("ASC", "DESC"):
            raise ApiRefused(36009004, "SortOrder is invalid, allowed: ASC, DESC")
        return sort_field, sort_order == "DESC"


def _path(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace("{id}", "(?P<id>[^/]+)"))


_ENDPOINTS = (
    _Endpoint(
        "GET", _path("/authorization/202309/shops"), "seller.authorization.info", False, OpenApi.authorized_shops
    ),
    _Endpoint("POST", _path("/product/202502/products/search"), "seller.product.basic", True, OpenApi.search_products),
    _Endpoint("GET", _path("/product/202309/products/{id}"), "seller.product.basic", True, OpenApi.product),
    _Endpoint("POST", _path("/order/202309/orders/search"), "seller.order.info", True, OpenApi.search_orders),
    _Endpoint("GET", _path("/order/202507/orders"), "seller.order.info", True, OpenApi.orders),
    _Endpoint(
        "GET",
        _path("/finance/202501/orders/{id}/statement_transactions"),
        "seller.finance.info",
        True,
        OpenApi.statement,
    ),
    _Endpoint("GET", _path("/event/202309/webhooks"), "", True, OpenApi.list_webhooks),
    _Endpoint("PUT", _path("/event/202309/webhooks"), "", True, OpenApi.put_webhook),
    _Endpoint("DELETE", _path("/event/202309/webhooks"), "", True, OpenApi.delete_webhook),
)
_ORDER_FILTERS: Mapping[str, type] = {
    **{f"{name}_time_{bound}": int for name in ("create", "update") for bound in ("ge", "lt")},
    "order_status": str,
    "shipping_type": str,
    "buyer_user_id": str,
    "is_buyer_request_cancel": bool,
    "warehouse_ids": list,
}
_PRODUCT_FILTERS: Mapping[str, type] = {
    **{f"{name}_time_{bound}": int for name in ("create", "update") for bound in ("ge", "le")},
    "status": str,
    "seller_skus": list,
    "sku_ids": list,
    "category_version": str,
    "locale": str,
    "listing_quality_tiers": list,
    "listing_platforms": list,
    "audit_status": list,
    "sns_filter": str,
    "return_draft_version": bool,
    "include_live_quick_products": bool,
}
_STATUS_WORDS = {"order_status": ORDER_STATUSES, "status": ("ALL", *PRODUCT_STATUSES)}
_TYPE_WORDS = {int: "int64", str: "string", bool: "bool", list: "[]string"}
_TOKEN_MARK = b"\xfb\xff\xbf"
"""Makes every page token begin with ``+/+/``: who does not encode or sign it rightly is found out."""


def _endpoint(method: str, path: str) -> tuple[_Endpoint, re.Match[str]]:
    there = [(endpoint, found) for endpoint in _ENDPOINTS if (found := endpoint.path.fullmatch(path))]
    if not there:
        raise ApiRefused(36009009)
    for endpoint, found in there:
        if endpoint.method == method:
            return endpoint, found
    raise ApiRefused(36009010)


def _json_body(request: Request, body: bytes) -> Json:
    if not body:
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ApiRefused(36009022)
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ApiRefused(36009004, "invalid param error")
    return value


def _check_body(body: Json, known: Mapping[str, type]) -> None:
    """Filters of the wrong type or with unknown words are refused; unknown filters are passed over."""
    for name, expected in known.items():
        value = body.get(name)
        if value is not None and type(value) is not expected:
            wrong = f"param {name} type invalid. actual type:{type(value).__name__}, expected type:"
            raise ApiRefused(36009004, wrong + _TYPE_WORDS[expected])
    for name, words in _STATUS_WORDS.items():
        if name in known and body.get(name) not in (None, *words):
            raise ApiRefused(36009004, f"{name} is invalid, allowed: {', '.join(words)}")


def _check_event_type(event_type: object) -> None:
    if event_type not in EVENT_TYPES:
        raise ApiRefused(36009004, f"EventType is invalid, allowed: {', '.join(EVENT_TYPES)}")


def _page_size(call: Call) -> int:
    text = call.text("page_size")
    if not text:
        raise ApiRefused(36009004, "PageSize is a required field")
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= 100:
        raise ApiRefused(36009004, "PageSize must be between 1 and 100")
    return int(text)


def _offset(token: str | None) -> int:
    if not token:
        return 0
    try:
        found = re.fullmatch(rb"offset=([0-9]{1,9})\n", base64.b64decode(token, validate=True))
    except binascii.Error:
        found = None
    if found is None:
        raise ApiRefused(36009004, "Invalid `page_token` query parameter.")
    return int(found[1])


def _make_order_token(search: str, start: int, wish: str) -> str:
    return base64.b64encode(_TOKEN_MARK + f"{search}:{start}:{wish}".encode()).decode()


def _order_token(token: str, wish: str) -> tuple[str, int]:
    """The search and the place in it; a token belongs to the filters that it was given for."""
    try:
        text = base64.b64decode(token, validate=True).removeprefix(_TOKEN_MARK).decode()
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    found = re.fullmatch(r"([0-9a-f]{16}):([0-9]{1,9}):([0-9a-f]{8})", text)
    if found is None or found[3] != wish:
        raise ApiRefused(36009004, "Invalid `page_token` query parameter.")
    return found[1], int(found[2])


def _page(body: str, status: int = 200) -> HTMLResponse:
    head = "<title>TikTok Shop (sandbox)</title><meta name='viewport' content='width=device-width'>"
    return HTMLResponse(f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>", status)


def _consent_form(asked: Mapping[str, str], sellers: Sequence[Seller]) -> str:
    """Pick an account, then authorize or deny; the address is relative, so that it works below ``/at/HOST/`` too."""
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(asked[name])}">'
        for name in ("service_id", "state")
        if name in asked
    )
    accounts = "".join(
        f'<p><label><input type="radio" name="seller" value="{html.escape(seller.name)}"{" checked" if not at else ""}>'
        f" {html.escape(seller.name)} ({', '.join(html.escape(shop.region) for shop in seller.shops)})</label></p>"
        for at, seller in enumerate(sellers)
    )
    return (
        "<h1>Authorize this app?</h1><p>It will read the products, orders and statements of your shops.</p>"
        f'<form method="post" action="authorize">{hidden}{accounts or "<p>The sandbox has no sellers yet.</p>"}'
        '<button name="decision" value="authorize">Authorize</button> '
        '<button name="decision" value="deny">Deny</button></form>'
    )
