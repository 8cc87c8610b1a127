"""A stand-in for eBay: consent page, token endpoint, the REST APIs that the adapter reads, notifications.

What is here follows eBay's OpenAPI documents (https://developer.ebay.com/develop/api/), its pages on OAuth
(https://developer.ebay.com/api-docs/static/oauth-tokens.html) and answers that others noted down. What is none of
these is marked as taken.
"""

import asyncio
import html
import re
import secrets
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from hmac import compare_digest
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode

import httpx
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from infra.local.sandbox import ebay_control, faults
from infra.local.sandbox.custom import Calls
from infra.local.sandbox.ebay_notifications import Notifications, Refused, answered
from infra.local.sandbox.ebay_seller import Json, Seller, time_text
from infra.local.sandbox.faults import Faults

CLIENT_ID = "storelink-local-PRD-ebay"
CLIENT_SECRET = "PRD-local-0123456789abcdef0123456789abcdef"  # noqa: S105 -- the local stack's, good for nothing else
RU_NAME = "storelink-local-RuName"
VERIFICATION_TOKEN = "local_verification_token_0123456789abcdef"  # noqa: S105 -- the same
RETURN_ADDRESS = "https://localhost:8701/authorizations/EBAY/callback"

API_HOST, IDENTITY_HOST, AUTH_HOST = "api.ebay.com", "apiz.ebay.com", "auth.ebay.com"
HOSTS = (API_HOST, IDENTITY_HOST, AUTH_HOST)

_SCOPE = "https://api.ebay.com/oauth/api_scope"
SCOPES = (
    _SCOPE,
    *(
        f"{_SCOPE}/{name}"
        for name in (
            "sell.inventory",
            "sell.inventory.readonly",
            "sell.fulfillment",
            "sell.fulfillment.readonly",
            "sell.account",
            "sell.account.readonly",
            "commerce.identity.readonly",
            "commerce.notification.subscription",
            "commerce.notification.subscription.readonly",
        )
    ),
)
"""What sellers can be asked for by an app; in the app's own name there is the first only."""

QUOTAS = {
    "client_credentials": 1_000,
    "authorization_code": 10_000,
    "refresh_token": 50_000,
    "sell.fulfillment": 100_000,
    "sell.inventory": 2_000_000,
    "sell.account": 25_000,
    "commerce.identity": 10_000,
    "commerce.notification": 10_000,
}
"""Calls a day of the app as a whole, https://developer.ebay.com/develop/get-started/api-call-limits; those of
identity and notification are taken."""

_DAY = 86_400
_RESET = 8 * 3_600
"""Quotas begin anew at midnight in California, winter time (taken)."""
_TWO_YEARS = 731 * _DAY
_NINETY_DAYS = 90 * _DAY
_MOST_IDS = 50
_RANGE = re.compile(r"(creationdate|lastmodifieddate):\[([^\[\].]+\.[0-9]{3}Z)\.\.([^\[\]]*)\]")
_STATES = re.compile(r"orderfulfillmentstatus:(?:\{|%7B)([A-Z_|]+)(?:\}|%7D)")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_NUMBER = re.compile(r"[0-9]{1,9}")
_FIELDS = {"creationdate": "creationDate", "lastmodifieddate": "lastModifiedDate"}


@dataclass
class Settings:
    """What can be ordered of the platform as a whole."""

    return_address: str
    """What the RuName stands for."""
    approve: str | None = None
    """The seller who consents at once, without a click."""
    deny: bool = False
    """Every seller refuses at once."""
    scopes: tuple[str, ...] = SCOPES
    """What the app's keys may ask for."""
    enabled: bool = True
    """False: eBay has disabled the keys, as it does where account deletions are not answered."""
    quotas: dict[str, int] = field(default_factory=lambda: dict(QUOTAS))
    retry_after: bool = False
    """Whether 429 tells when; the documents do not say that it does."""
    code_life: int = 299
    access_life: int = 7_200
    refresh_life: int = 47_304_000


@dataclass
class Grant:
    """One consent of one seller."""

    seller: Seller
    scopes: tuple[str, ...]
    ends: int
    refresh_token: str = field(default_factory=lambda: _token("r"), repr=False)
    ended: bool = False


class _Code(NamedTuple):
    seller: Seller
    scopes: tuple[str, ...]
    ends: int


class _Access(NamedTuple):
    grant: Grant | None
    """None for the app's own."""
    scopes: tuple[str, ...]
    ends: int


class TokenRefused(Exception):
    """The token endpoint's answer is this error of OAuth."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.status = status


class _Api(NamedTuple):
    """One of eBay's APIs."""

    host: str
    base: str
    scopes: Sequence[str]
    """Any of them opens it."""


_APIS = {
    "sell.fulfillment": _Api(API_HOST, "/sell/fulfillment/v1/", ("/sell.fulfillment", "/sell.fulfillment.readonly")),
    "sell.inventory": _Api(API_HOST, "/sell/inventory/v1/", ("/sell.inventory", "/sell.inventory.readonly")),
    "sell.account": _Api(API_HOST, "/sell/account/v1/", ("/sell.account", "/sell.account.readonly")),
    "commerce.identity": _Api(IDENTITY_HOST, "/commerce/identity/v1/", ("/commerce.identity.readonly",)),
    "commerce.notification": _Api(API_HOST, "/commerce/notification/v1/", ("", "/commerce.notification.subscription")),
}


class Ebay:
    """All of eBay in the sandbox."""

    hosts: Sequence[str] = HOSTS

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        http: Callable[[], httpx.AsyncClient] = httpx.AsyncClient,
        return_address: str = RETURN_ADDRESS,
    ) -> None:
        self.settings = Settings(return_address)
        self.clock_offset = 0.0
        self.sellers: dict[str, Seller] = {}
        self.grants: list[Grant] = []
        self.notifications = Notifications(self.now, http)
        self.faults = Faults()
        self.calls = Calls()
        self._clock = clock
        self._codes: dict[str, _Code] = {}
        self._access: dict[str, _Access] = {}
        self._used: Counter[tuple[str, int]] = Counter()

    def now(self) -> int:
        """The platform's clock, in whole seconds."""
        return int(self.exact_now())

    def exact_now(self) -> float:
        """The same, with its fraction."""
        return self._clock() + self.clock_offset

    def routes(self) -> list[Route]:
        """The control API."""
        return ebay_control.routes(self)

    async def deliver(self) -> None:
        """Sends the notifications that are due."""
        if not self.notifications.paused:
            await self.notifications.deliver()

    # Sellers

    def open(self, name: str, **wishes: object) -> Seller:
        """A new seller; one of the same name is replaced."""
        self.end_grants(name)
        seller = Seller(name, self.exact_now, **wishes)  # type: ignore[arg-type]  # the control API's wishes
        seller.announce = lambda topic, data: self.notifications.happened(topic, data, seller.user_id)
        self.sellers[name] = seller
        return seller

    def end_grants(self, name: str) -> int:
        """The seller's grants end, and their subscriptions; how many grants there were."""
        ended = [grant for grant in self.grants if grant.seller.name == name and not grant.ended]
        for grant in ended:
            grant.ended = True
            self.notifications.subscriptions.pop(grant.seller.user_id, None)
        return len(ended)

    def forget_calls(self) -> None:
        """Count calls from nothing again, those of the day too."""
        self.calls = Calls(active=self.calls.active)
        self._used.clear()

    # Requests

    async def answer(self, request: Request, stop: asyncio.Event) -> Response:
        """One request to any of the hosts, through the faults ordered for it."""
        fault = self.faults.next(request.method, request.url.path)
        self.calls.active += 1
        self.calls.total += 1
        self.calls.most_at_once = max(self.calls.most_at_once, self.calls.active)
        status = 0
        try:
            response = await (faults.answer(fault, request, self._genuine, stop) if fault else self._genuine(request))
            status = response.status_code
        finally:
            self.calls.active -= 1
            route = re.sub(
                r"/(order|inventory_item|subscription|destination|public_key)/.+", r"/\1/{id}", request.url.path
            )
            self.calls.routes[f"{request.method} {route} {status}"] += 1
        response.headers["Date"] = formatdate(self.now(), usegmt=True)
        return response

    async def _genuine(self, request: Request) -> Response:
        if request.url.hostname == AUTH_HOST:
            return await self._consent(request)
        if request.url.path == "/identity/v1/oauth2/token" and request.url.hostname == API_HOST:
            return await self._tokens(request)
        try:
            status, content, headers = await self._called(request)
        except Refused as refused:
            return _refusal(refused)
        return answered(status, content, headers)

    def _count(self, name: str) -> None:
        """Counts a call against the quota of the day."""
        now = self.now()
        day = (now - _RESET) // _DAY
        if self._used[name, day] >= self.settings.quotas[name]:
            rest = (day + 1) * _DAY + _RESET - now
            told = {"Retry_After": str(rest)} if self.settings.retry_after else {}
            raise Refused(429, 2001, "Too many requests.", "ACCESS", **told)
        self._used[name, day] += 1

    # Consent

    async def _consent(self, request: Request) -> Response:
        """https://developer.ebay.com/api-docs/static/oauth-consent-request.html; what is wrong is shown as JSON."""
        if request.url.path != "/oauth2/authorize" or request.method not in ("GET", "POST"):
            return HTMLResponse("<h1>404</h1>", 404)
        asked = dict(request.query_params)
        if request.method == "POST":
            asked = dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))
        scopes = tuple(asked.get("scope", "").split())
        wrong = self._wrong(asked, scopes)
        if wrong:
            said = {"error_id": wrong, "http_status_code": 400, "error_description": f"The request is wrong: {wrong}."}
            return answered(400, said, {})
        clicked = asked.get("decision") if request.method == "POST" else None
        seller = self.sellers.get((asked.get("seller") if clicked else self.settings.approve) or "")
        if self.settings.deny or clicked == "deny":
            return self._return({"error": "access_denied"}, asked)  # how a refusal is told is taken
        if seller is None:
            return _page(asked, list(self.sellers.values()))
        code = _token("c")
        self._codes[code] = _Code(seller, scopes, self.now() + self.settings.code_life)
        return self._return({"code": code, "expires_in": str(self.settings.code_life)}, asked)

    def _wrong(self, asked: Mapping[str, str], scopes: Sequence[str]) -> str:
        if asked.get("client_id") != CLIENT_ID or not self.settings.enabled or asked.get("redirect_uri") != RU_NAME:
            return "unauthorized_client"
        if asked.get("response_type") != "code":
            return "unsupported_response_type"
        return "" if scopes and set(scopes) <= set(self.settings.scopes) else "invalid_scope"

    def _return(self, values: dict[str, str], asked: Mapping[str, str]) -> Response:
        values |= {name: asked[name] for name in ("state",) if name in asked}
        address = self.settings.return_address
        return RedirectResponse(f"{address}{'&' if '?' in address else '?'}{urlencode(values, quote_via=quote)}", 302)

    # Tokens

    async def _tokens(self, request: Request) -> Response:
        """https://developer.ebay.com/api-docs/static/oauth-authorization-code-grant.html and the pages beside it."""
        form = dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))
        try:
            content = self._granted(request, form)
        except TokenRefused as refused:
            return answered(refused.status, {"error": refused.error, "error_description": str(refused)}, {})
        except Refused as refused:
            return _refusal(refused)
        return answered(200, content, {})

    def _granted(self, request: Request, form: Mapping[str, str]) -> Json:
        if not self.settings.enabled or not _is_app(request.headers.get("authorization", "")):
            raise TokenRefused("invalid_client", "client authentication failed", 401)
        kinds = {
            "authorization_code": self._for_code,
            "refresh_token": self._for_refresh,
            "client_credentials": self._for_app,
        }
        kind = form.get("grant_type", "")
        if request.method != "POST" or kind not in kinds:
            raise TokenRefused("unsupported_grant_type", "grant type in request is not supported by the server")
        self._count(kind)
        return kinds[kind](form)

    def _for_code(self, form: Mapping[str, str]) -> Json:
        if not form.get("redirect_uri") or form["redirect_uri"] != RU_NAME:
            raise TokenRefused("invalid_request", "request is missing a required parameter or malformed.")
        found = self._codes.pop(form.get("code", ""), None)
        if found is None or found.ends <= self.now():
            said = "the provided authorization grant code is invalid or was issued to another client"
            raise TokenRefused("invalid_grant", said)
        grant = Grant(found.seller, found.scopes, self.now() + self.settings.refresh_life)
        self.grants.append(grant)
        renewal = {"refresh_token": grant.refresh_token, "refresh_token_expires_in": self.settings.refresh_life}
        return self._opened(grant, found.scopes, "User Access Token") | renewal

    def _for_refresh(self, form: Mapping[str, str]) -> Json:
        """The refresh token stays; scopes that are named may be fewer, not others."""
        found = [each for each in self.grants if each.refresh_token == form.get("refresh_token")]
        if not found or found[0].ended or found[0].ends <= self.now():
            said = "the provided authorization refresh token is invalid or was issued to another client"
            raise TokenRefused("invalid_grant", said)
        scopes = tuple(form.get("scope", "").split()) or found[0].scopes
        if not set(scopes) <= set(found[0].scopes):
            raise _bad_scope()
        return self._opened(found[0], scopes, "User Access Token")

    def _for_app(self, form: Mapping[str, str]) -> Json:
        if form.get("scope") != _SCOPE or _SCOPE not in self.settings.scopes:
            raise _bad_scope()
        return self._opened(None, (_SCOPE,), "Application Access Token")

    def _opened(self, grant: Grant | None, scopes: tuple[str, ...], kind: str) -> Json:
        token = _token("a")
        self._access[token] = _Access(grant, scopes, self.now() + self.settings.access_life)
        return {"access_token": token, "expires_in": self.settings.access_life, "token_type": kind}

    # The APIs

    async def _called(self, request: Request) -> tuple[int, Json | None, Json]:
        host, path = request.url.hostname, request.scope["raw_path"].decode("ascii", "replace").partition("?")[0]
        api = next((name for name, api in _APIS.items() if api.host == host and path.startswith(api.base)), "")
        if not api:
            raise Refused(404, 2002, "Resource not found", "ACCESS")
        self._count(api)
        access = self._opens(request.headers.get("authorization", ""), api)
        parts = [unquote(part) for part in path.removeprefix(_APIS[api].base).split("/")]
        if api == "commerce.notification":
            if parts[0] in {"config", "destination", "public_key", "topic"} and _SCOPE not in access.scopes:
                raise _denied()
            owner = access.grant.seller.user_id if access.grant else ""
            return await self.notifications.answer(request, parts, owner)
        if access.grant is None:
            raise _denied()
        return 200, self._read(access.grant.seller, api, request, parts), {}

    def _opens(self, header: str, api: str) -> _Access:
        access = self._access.get(header.removeprefix("Bearer "))
        dead = access is None or access.ends <= self.now() or (access.grant is not None and access.grant.ended)
        if access is None or dead or not header.startswith("Bearer "):
            raise Refused(401, 1001, "Invalid access token", "OAuth")
        if not {f"{_SCOPE}{end}" for end in _APIS[api].scopes} & set(access.scopes):
            raise _denied()
        return access

    def _read(self, seller: Seller, api: str, request: Request, parts: list[str]) -> Json:
        here, query = str(request.url.replace(query="")), request.query_params
        match request.method, api, *parts:
            case "GET", "commerce.identity", "user", "":
                return seller.user_json()
            case "GET", "sell.account", "privilege":
                limit = {"amount": {"value": "25000.0", "currency": seller.currency}, "quantity": 1000}
                return {"sellerRegistrationCompleted": seller.registered, "sellingLimit": limit}
            case "GET", "sell.fulfillment", "order":
                return self._orders(seller, query, here)
            case "GET", "sell.fulfillment", "order", id:
                return seller.orders.get(id) or _missing(32100, f"Invalid order ID: {id}", "API_FULFILLMENT")
            case "GET", "sell.inventory", *rest:
                return _inventory(seller, query, here, rest)
        raise Refused(404, 2002, "Resource not found", "ACCESS")

    def _orders(self, seller: Seller, query: Mapping[str, str], here: str) -> Json:
        """https://developer.ebay.com/api-docs/sell/fulfillment/resources/order/methods/getOrders."""
        if "orderIds" in query:
            ids = query["orderIds"].split(",")
            if len(ids) > _MOST_IDS:
                raise _bad_order(30900, f"Exceeded maximum number of order IDs (the current limit is {_MOST_IDS})")
            found = [seller.orders[id] for id in ids if id in seller.orders]
            return {"href": here, "total": len(found), "limit": _MOST_IDS, "offset": 0, "orders": found}
        field, first, last, states = self._filter(query.get("filter", ""))
        found = seller.search(field, first, last, states)
        limit = _whole(query.get("limit", "50"), 1, 200, 31100, "API_FULFILLMENT")
        offset = _whole(query.get("offset", "0"), 0, 10**9, 31000, "API_FULFILLMENT")
        following = urlencode({**query, "limit": limit, "offset": offset + limit})
        more = {"next": f"{here}?{following}"} if offset + limit < len(found) else {}
        shown = {"href": here, "total": len(found), "limit": limit, "offset": offset, **more}
        return {**shown, "orders": found[offset : offset + limit]}

    def _filter(self, text: str) -> tuple[str, str, str, Sequence[str]]:
        """The field and its bounds; where both times are given only that of creation counts."""
        ranges = {found[1]: (found[2], found[3]) for found in _RANGE.finditer(text)}
        states = _STATES.search(text)
        if re.sub(r",", "", _STATES.sub("", _RANGE.sub("", text))):
            raise _bad_order(30700, "Invalid filter name")
        now = time_text(self.exact_now())
        name = min(ranges, default="creationdate")  # creationdate is the first by name
        first, last = ranges.get(name, (time_text(self.exact_now() - _NINETY_DAYS), ""))
        last = last or now
        if not _TIME.fullmatch(first) or not _TIME.fullmatch(last):
            raise _bad_order(30810, "Invalid date format")
        if first > now or last > now:
            raise _bad_order(30850, "Start and end dates can't be in the future")
        if first > last:
            raise _bad_order(30840, "Start date should be before end date")
        if first < time_text(self.exact_now() - _TWO_YEARS):
            raise _bad_order(30830, "Time range between start date and end date must be within '2' years.")
        return _FIELDS[name], first, last, states[1].split("|") if states else ()


def _refusal(refused: Refused) -> Response:
    said = {"errorId": refused.id, "domain": refused.domain, "category": "REQUEST", "message": str(refused)}
    return answered(refused.status, {"errors": [said]}, refused.headers)


def _is_app(header: str) -> bool:
    try:
        given = b64decode(header.removeprefix("Basic "), validate=True)
    except ValueError:
        return False
    return header.startswith("Basic ") and compare_digest(given, f"{CLIENT_ID}:{CLIENT_SECRET}".encode())


def _bad_scope() -> TokenRefused:
    said = "The requested scope is invalid, unknown, malformed, or exceeds the scope granted to the client"
    return TokenRefused("invalid_scope", said)


def _denied() -> Refused:
    return Refused(403, 1100, "Access denied", "ACCESS")


def _bad_order(id: int, message: str) -> Refused:
    return Refused(400, id, message, "API_FULFILLMENT")


def _missing(id: int, message: str, domain: str) -> Json:
    raise Refused(404, id, message, domain)


def _whole(text: str, least: int, most: int, id: int, domain: str) -> int:
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise Refused(400, id, "Invalid limit or offset", domain)
    return int(text)


def _inventory(seller: Seller, query: Mapping[str, str], here: str, parts: Sequence[str]) -> Json:
    """https://developer.ebay.com/api-docs/sell/inventory/resources/methods, of items and offers."""
    match parts:
        case ["inventory_item"]:
            return _paged("inventoryItems", list(seller.items.values()), query, here, 25)
        case ["inventory_item", sku] if sku in seller.items:
            return seller.items[sku]
        case ["offer"] if offers := seller.offers.get(query.get("sku", "")):
            return _paged("offers", offers, query, here, 100)
        case ["offer"]:
            return _missing(25713, "This Offer is not available.", "API_INVENTORY")
    return _missing(25710, "We didn't find the resource/entity you are requesting.", "API_INVENTORY")


def _paged(name: str, rows: Sequence[Json], query: Mapping[str, str], here: str, usual: int) -> Json:
    """A page by its number: ``offset`` counts pages in the Inventory API; behind the last one there is nothing."""
    limit = _whole(query.get("limit", str(usual)), 1, 200, 25706, "API_INVENTORY")
    page = _whole(query.get("offset", "0"), 0, 10**9, 25706, "API_INVENTORY")
    shown = rows[page * limit : (page + 1) * limit]
    if page and not shown:
        _missing(25710, "We didn't find the resource/entity you are requesting.", "API_INVENTORY")
    following = urlencode({**query, "limit": limit, "offset": page + 1})
    more = {"next": f"{here}?{following}"} if (page + 1) * limit < len(rows) else {}
    return {name: list(shown), "href": here, "total": len(rows), "size": len(shown), "limit": limit, **more}


def _token(kind: str) -> str:
    """A token in eBay's spelling, whose marks must be encoded in addresses and forms."""
    return f"v^1.1#i^1#{kind}^1#p^3#{secrets.token_urlsafe(33)}=="


def _page(asked: Mapping[str, str], sellers: Sequence[Seller]) -> HTMLResponse:
    """Pick an account, then agree or not; the address is relative, so that it works below ``/at/HOST/`` too."""
    hidden = "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in asked.items()
        if name not in {"seller", "decision"}
    )
    accounts = "".join(
        f'<p><label><input type="radio" name="seller" value="{html.escape(seller.name)}"{" checked" if not at else ""}>'
        f" {html.escape(seller.name)} ({seller.marketplace})</label></p>"
        for at, seller in enumerate(sellers)
    )
    return HTMLResponse(
        "<!DOCTYPE html><html><head><title>eBay (sandbox)</title></head><body><h1>Grant application access</h1>"
        f'<form method="post" action="authorize">{hidden}{accounts or "<p>The sandbox has no sellers yet.</p>"}'
        '<button name="decision" value="agree">Agree and continue</button> '
        '<button name="decision" value="deny">Not now</button></form></body></html>'
    )
