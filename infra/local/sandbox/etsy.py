"""A stand-in for Etsy: consent screen, token endpoint, the Open API that it has for sellers, webhooks.

What is here follows Etsy's pages, https://developers.etsy.com/documentation/, its published contract, and the answers
that others noted down at https://github.com/etsy/open-api. What is none of these is marked as taken.
"""

import asyncio
import hmac
import html
import json
import math
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from infra.local.sandbox import etsy_control, faults
from infra.local.sandbox.custom import Calls, encode
from infra.local.sandbox.etsy_shop import ASSOCIATIONS, STATES, Shop
from infra.local.sandbox.etsy_webhooks import Webhooks
from infra.local.sandbox.faults import Faults
from infra.local.sandbox.tiktok_seller import Json

KEYSTRING = "storelinklocaletsy"
SHARED_SECRET = "etsy-local-shared-secret"  # noqa: S105 -- the local stack's, good for nothing else
REDIRECT_URI = "https://localhost:8701/authorizations/ETSY/callback"
SCOPES = ("shops_r", "listings_r", "transactions_r", "email_r", "listings_w", "shops_w", "transactions_w")

SITE = "www.etsy.com"
HOSTS = ("api.etsy.com", "openapi.etsy.com", SITE)
API, TOKEN = "/v3/application", "/v3/public/oauth/token"

_DAY = 86_400
_MOST_ROWS = 100
_ORDERS = {"asc": False, "ascending": False, "up": False, "desc": True, "descending": True, "down": True}
_RECEIPT_SORTS = {"created": "created_timestamp", "updated": "updated_timestamp", "receipt_id": "receipt_id"}
_LISTING_SORTS = {name: f"{name}_timestamp" for name in ("created", "updated")} | {"price": "", "score": ""}
_TIMES = {"created": "created_timestamp", "last_modified": "updated_timestamp"}


class ApiRefused(Exception):
    """The answer is an error: its word, and for those about tokens what is wrong."""

    def __init__(self, status: int, error: str, description: str = "", **headers: str) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error, **({"error_description": description} if description else {})}
        self.headers = headers


@dataclass
class Settings:
    """What can be ordered of the platform as a whole; lives are in seconds."""

    redirect_uris: tuple[str, ...] = (REDIRECT_URI,)
    """Those of the app, which must be met exactly."""
    approve: str | None = None
    """The shop whose seller consents at once, without a click."""
    deny: bool = False
    """Every seller declines at once."""
    per_second: int = 10
    per_day: int = 10_000
    """What a new app may do: https://developers.etsy.com/documentation/essentials/rate-limits."""
    per_grant: bool = True
    """Calls that need a grant count for that grant, as Etsy has it, and not for the app as a whole."""
    retry_after: bool = True
    """Whether a limit says for how long; that of the second was seen without: open-api/issues/198."""
    sorts_listings: bool = False
    """Whether lists of listings are sorted as asked; Etsy says that only searches are."""
    code_life: int = 600
    access_life: int = 3_600
    refresh_life: int = 90 * _DAY


@dataclass
class Grant:
    """One consent of one seller, and all tokens that came of it."""

    shop: Shop
    scopes: tuple[str, ...]
    refresh_token: str = field(default="", repr=False)
    ends: int = 0
    ended: str = ""
    """Why it is over before its time: reuse, password, removed."""


class _Code(NamedTuple):
    shop: Shop
    asked: Mapping[str, str]
    ends: int


class Grants:
    """All grants that sellers gave the app."""

    def __init__(self, settings: Settings, now: Callable[[], int]) -> None:
        self.all: list[Grant] = []
        self._settings = settings
        self._now = now
        self._codes: dict[str, _Code] = {}
        self._spent: set[str] = set()
        self._by_refresh: dict[str, Grant] = {}
        self._by_access: dict[str, tuple[Grant, int]] = {}

    def authorize(self, shop: Shop, asked: Mapping[str, str]) -> str:
        """The seller consents to what was asked: a code."""
        code = secrets.token_urlsafe(32)
        self._codes[code] = _Code(shop, dict(asked), self._now() + self._settings.code_life)
        return code

    def exchange(self, form: Mapping[str, str]) -> Json:
        """A code's tokens, once, for who has the verifier. The words of refusals are taken."""
        code = form.get("code", "")
        if code in self._spent:
            raise ApiRefused(400, "invalid_grant", "code has been used previously")
        found = self._codes.pop(code, None)
        if found is None or found.ends <= self._now():
            raise ApiRefused(400, "invalid_grant", "code is invalid or expired")
        self._spent.add(code)
        if form.get("redirect_uri") != found.asked["redirect_uri"]:
            raise ApiRefused(400, "invalid_grant", "redirect_uri does not match")
        challenge = urlsafe_b64encode(sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
        if not hmac.compare_digest(challenge.encode(), found.asked["code_challenge"].encode()):
            raise ApiRefused(400, "invalid_grant", "code_verifier is invalid")
        grant = Grant(found.shop, tuple(found.asked["scope"].split()))
        self.all.append(grant)
        return self._pair(grant)

    def refresh(self, token: str) -> Json:
        """A new pair. Who shows a token that was spent ends the grant (taken: Etsy is silent)."""
        grant = self._by_refresh.get(token)
        if grant is not None and not grant.ended and token != grant.refresh_token:
            grant.ended = "reuse"
        if grant is None or grant.ended:
            # These words: https://github.com/etsy/open-api/issues/519
            raise ApiRefused(400, "invalid_grant", "refresh_token is revoked")
        if grant.ends <= self._now():
            raise ApiRefused(400, "invalid_grant", "refresh_token is expired")
        return self._pair(grant)

    def find(self, access: str) -> Grant:
        """Whose access token it is."""
        grant, ends = self._by_access.get(access, (None, 0))
        if grant is None or grant.ended:
            raise ApiRefused(401, "invalid_token", "access token is invalid")
        if ends <= self._now():
            raise ApiRefused(401, "invalid_token", "access token is expired")
        return grant

    def of(self, shop: Shop) -> list[Grant]:
        """The seller's grants that nobody ended."""
        return [grant for grant in self.all if grant.shop is shop and not grant.ended]

    def end(self, shop: Shop, why: str) -> int:
        """The seller's grants end; how many there were."""
        ended = self.of(shop)
        for grant in ended:
            grant.ended = why
        return len(ended)

    def _pair(self, grant: Grant) -> Json:
        # Earlier access tokens live on to their own end (taken).
        access, grant.refresh_token = (f"{grant.shop.user_id}.{secrets.token_urlsafe(48)}" for _ in range(2))
        life = self._settings.access_life
        grant.ends = self._now() + self._settings.refresh_life
        self._by_access[access] = (grant, self._now() + life)
        self._by_refresh[grant.refresh_token] = grant
        tokens = {"access_token": access, "refresh_token": grant.refresh_token}
        return {**tokens, "token_type": "Bearer", "expires_in": life}


@dataclass
class Call:
    """One API call that is allowed."""

    platform: "Etsy"
    grant: Grant | None
    query: Mapping[str, str]
    form: Mapping[str, str]
    parts: Mapping[str, str]

    @property
    def shop(self) -> Shop:
        """The shop of the path."""
        return self.platform.shop(int(self.parts["shop"]))

    @property
    def own(self) -> Shop:
        """The same, which must be that of the seller whose token it is."""
        assert self.grant is not None
        if self.grant.shop.id != int(self.parts["shop"]):
            raise ApiRefused(403, f"User does not own Shop {self.parts['shop']}")
        return self.shop

    def number(self, name: str, default: int, least: int = 0, most: int = 10**12) -> int:
        """A number of the query."""
        text = self.query.get(name, str(default))
        if not re.fullmatch(r"[0-9]{1,12}", text) or not least <= int(text) <= most:
            raise ApiRefused(400, f"Invalid value ({text}) for {name}")
        return int(text)

    def word(self, name: str, default: str, words: Sequence[str]) -> str:
        """A word of the query, of those that there are."""
        text = self.query.get(name, default)
        if text not in words:
            # These words: https://github.com/etsy/open-api/issues/212
            raise ApiRefused(400, f"Invalid value ({text}) for enum({', '.join(words)})")
        return text

    @property
    def includes(self) -> list[str]:
        """The associations that are asked for."""
        names = [name for name in self.query.get("includes", "").split(",") if name]
        for name in names:
            if name not in ASSOCIATIONS:
                raise ApiRefused(400, f"Invalid value ({name}) for enum({', '.join(ASSOCIATIONS)})")
        return names

    def page(self, rows: Sequence[Json]) -> Json:
        """The part of a list that is asked for, and how many there are in all."""
        offset, limit = self.number("offset", 0), self.number("limit", 25, 1, _MOST_ROWS)
        return {"count": len(rows), "results": list(rows[offset : offset + limit])}

    def sorted(self, rows: Sequence[Json], by: str) -> list[Json]:
        """By a field, downwards unless it is asked for otherwise."""
        downwards = _ORDERS[self.word("sort_order", "desc", tuple(_ORDERS))]
        return sorted(rows, key=lambda row: row[by], reverse=downwards)


class Etsy:
    """All of Etsy in the sandbox."""

    hosts: Sequence[str] = HOSTS

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        http: Callable[[], httpx.AsyncClient] = httpx.AsyncClient,
    ) -> None:
        self.settings = Settings()
        self.clock_offset = 0
        self.shops: dict[str, Shop] = {}
        self.grants = Grants(self.settings, self.now)
        self.webhooks = Webhooks(self.now, http)
        self.faults = Faults()
        self.calls = Calls()
        self._clock = clock
        self._recent: dict[str, deque[float]] = {}

    def now(self) -> int:
        """The platform's clock, in whole seconds."""
        return int(self._exact_now())

    def _exact_now(self) -> float:
        return self._clock() + self.clock_offset

    def routes(self) -> list[Route]:
        """The control API."""
        return etsy_control.routes(self)

    def open(self, name: str, *, has_shop: bool = True, **wishes: object) -> Shop:
        """A new seller, with a shop; one of the same name is replaced."""
        self.close(name)
        shop = self.shops[name] = Shop(name, self.now, **wishes)  # type: ignore[arg-type]  # it says what it takes
        shop.closed = not has_shop
        shop.announce = self._announce
        return shop

    def close(self, name: str) -> None:
        """The seller is gone, and all that the app had of them."""
        if name in self.shops:
            self.grants.end(self.shops.pop(name), "closed")

    def shop(self, id: int) -> Shop:
        """An open shop by its id."""
        for shop in self.shops.values():
            if shop.id == id and not shop.closed:
                return shop
        raise ApiRefused(404, f"Could not find a shop with shop_id = {id}")  # taken, as for users

    async def deliver(self) -> None:
        """Sends the webhooks that are due."""
        if not self.webhooks.paused:
            await self.webhooks.deliver()

    def _announce(self, shop: Shop, event: str, receipt: int) -> None:
        if self.grants.of(shop):
            self.webhooks.happened(shop, event, receipt)

    # Requests

    async def answer(self, request: Request, stop: asyncio.Event) -> Response:
        """One request to any of the hosts, through the faults ordered for it."""
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
            route = re.sub(r"/[0-9]+", "/{id}", request.url.path.removeprefix(API))
            self.calls.routes[f"{request.method} {route} {status}"] += 1
        response.headers["Date"] = formatdate(self.now(), usegmt=True)
        return response

    async def _genuine(self, request: Request) -> Response:
        try:
            if request.url.hostname == SITE:
                return await self._consent(request)
            if request.url.path == TOKEN:
                return _json(await self._tokens(request))
            headers, found = await self._found(request)
            return _json(found, 200, headers)
        except ApiRefused as refused:
            return _json(refused.body, refused.status, refused.headers)

    async def _found(self, request: Request) -> tuple[dict[str, str], Json]:
        self._check_key(request)
        endpoint, parts = _endpoint(request.method, request.url.path)
        token = request.headers.get("authorization", "")
        # A token that is not needed is looked at all the same (taken): who owns a listing sees more of it.
        grant = self.grants.find(token.removeprefix("Bearer ")) if token else None
        # What needs no grant counts for the app even with one: https://github.com/etsy/open-api/issues/154
        who = grant.shop.name if grant and endpoint.scope and self.settings.per_grant else ""
        headers = self._spend(who) if endpoint.counts else {}
        try:
            if endpoint.scope and grant is None:
                raise ApiRefused(401, "invalid_token", "access token is missing")  # noqa: TRY301 - as all below
            if grant and endpoint.scope and endpoint.scope not in grant.scopes:
                raise ApiRefused(403, "insufficient_scope", f"{endpoint.scope} is required")  # noqa: TRY301
            query = dict(parse_qsl(request.url.query, keep_blank_values=True))
            call = Call(self, grant, query, await _form(request), parts)
            return headers, endpoint.answer(call)
        except ApiRefused as refused:
            refused.headers = headers | refused.headers
            raise

    def _check_key(self, request: Request) -> None:
        """Both halves, https://github.com/etsy/open-api/discussions/1529; the words are those that others were told."""
        keystring, colon, secret = request.headers.get("x-api-key", "").partition(":")
        if not keystring:
            raise ApiRefused(403, "Invalid API key: should be in the format 'keystring:shared_secret'.")
        if not colon:
            raise ApiRefused(403, "Shared secret is required in x-api-key header.")
        if not _is_ours(keystring, secret):
            raise ApiRefused(403, "API key not found or not active")

    def _spend(self, who: str) -> dict[str, str]:
        """Count a call; the headers that tell what is left. Both windows slide, and a refusal costs nothing (taken)."""
        now, settings = self._exact_now(), self.settings
        recent = self._recent.setdefault(who, deque())
        while recent and recent[0] <= now - _DAY:
            recent.popleft()
        second = [moment for moment in list(recent)[-settings.per_second :] if moment > now - 1]
        limits = {"X-Limit-Per-Second": str(settings.per_second), "X-Limit-Per-Day": str(settings.per_day)}
        if len(recent) >= settings.per_day:
            wait = math.ceil(recent[0] + _DAY - now)
            told = {**limits, "X-Remaining-This-Second": str(settings.per_second), "X-Remaining-Today": "0"}
            raise self._limit("Exceeded daily rate limit", wait, told)
        left = settings.per_day - len(recent)
        if len(second) >= settings.per_second:
            told = {**limits, "X-Remaining-This-Second": "0", "X-Remaining-Today": str(left)}
            raise self._limit("Exceeded per second rate limit", 1, told)
        recent.append(now)
        remaining = {"This-Second": settings.per_second - len(second) - 1, "Today": left - 1}
        return {**limits, **{f"X-Remaining-{name}": str(max(each, 0)) for name, each in remaining.items()}}

    def _limit(self, error: str, wait: int, headers: dict[str, str]) -> ApiRefused:
        told = {"Retry-After": str(wait)} if self.settings.retry_after else {}
        return ApiRefused(429, error, **headers, **told)

    async def _tokens(self, request: Request) -> Json:
        """The token endpoint, which the key alone is enough for; form or JSON."""
        if request.method != "POST":
            raise ApiRefused(404, "Resource not found")
        form = await _form(request)
        keystring, colon, secret = request.headers.get("x-api-key", KEYSTRING).partition(":")
        if not _is_ours(keystring, secret if colon else SHARED_SECRET):
            raise ApiRefused(403, "API key not found or not active")
        if form.get("client_id") != KEYSTRING:
            raise ApiRefused(401, "invalid_client", "client_id is unknown")  # taken
        if form.get("grant_type") == "refresh_token":
            return self.grants.refresh(form.get("refresh_token", ""))
        if form.get("grant_type") != "authorization_code":
            raise ApiRefused(400, "unsupported_grant_type")
        return self.grants.exchange(form)

    # Consent

    async def _consent(self, request: Request) -> Response:
        if request.url.path != "/oauth/connect" or request.method not in ("GET", "POST"):
            return _page("<h1>Uh oh!</h1>", 404)
        asked = dict(request.query_params) if request.method == "GET" else await _form(request)
        if asked.get("client_id") != KEYSTRING or asked.get("redirect_uri") not in self.settings.redirect_uris:
            # These words: https://github.com/etsy/open-api/issues/331
            return _page("<h1>An error occurred</h1><p>The requested redirect URL is not permitted.</p>", 400)
        wrong = _wrong(asked)
        return _return(asked, error=wrong) if wrong else self._decided(asked, request.method)

    def _decided(self, asked: Mapping[str, str], method: str) -> Response:
        clicked = asked.get("decision") if method == "POST" else None
        if self.settings.deny or clicked == "deny":
            return _return(asked, error="access_denied", error_description="The user denied the request")
        shop = self.shops.get((asked.get("shop") if clicked else self.settings.approve) or "")
        if shop is None:
            return _page(_consent_form(asked, list(self.shops)))
        return _return(asked, code=self.grants.authorize(shop, asked))


# Endpoints


def _ping(call: Call) -> Json:  # noqa: ARG001 - every endpoint is given the call
    return {"application_id": 1}


def _scopes(call: Call) -> Json:
    return {"scopes": list(call.platform.grants.find(call.form.get("token", "")).scopes)}


def _me(call: Call) -> Json:
    assert call.grant is not None
    shop = call.grant.shop
    return {"user_id": shop.user_id, **({} if shop.closed else {"shop_id": shop.id})}


def _shop_of_user(call: Call) -> Json:
    for shop in call.platform.shops.values():
        if shop.user_id == int(call.parts["user"]) and not shop.closed:
            return shop.about()
    # These words: https://github.com/etsy/open-api/issues/526
    raise ApiRefused(404, f"Could not find a shop for user with user_id = {call.parts['user']}")


def _shop(call: Call) -> Json:
    return call.shop.about()


def _listings(call: Call) -> Json:
    rows = call.own.of_state(call.word("state", "active", STATES))
    by = _LISTING_SORTS[call.word("sort_on", "created", tuple(_LISTING_SORTS))]
    is_sorted = call.platform.settings.sorts_listings and by
    rows = call.sorted(rows, by if is_sorted else "created_timestamp") if is_sorted else rows
    includes = call.includes
    page = call.page(rows)
    return {**page, "results": [call.own.listed(row, includes) for row in page["results"]]}


def _find(call: Call, id: int) -> tuple[Shop, Json] | None:
    """Sellers see all that is theirs, others what is on offer: nothing of a shop on vacation (taken)."""
    for shop in call.platform.shops.values():
        row = shop.listings.get(id)
        is_own = call.grant is not None and call.grant.shop is shop and "listings_r" in call.grant.scopes
        if row and not shop.closed and (is_own or (row["state"] == "active" and not shop.vacation)):
            return shop, row
    return None


def _listing(call: Call) -> Json:
    found = _find(call, int(call.parts["listing"]))
    if found is None:
        raise ApiRefused(404, f"Could not find a listing with listing_id = {call.parts['listing']}")
    shop, row = found
    return shop.listed(row, call.includes)


def _inventory(call: Call) -> Json:
    inventory: Json = _listing(Call(call.platform, call.grant, {"includes": "Inventory"}, {}, call.parts))["inventory"]
    return inventory


def _batch(call: Call) -> Json:
    """Listings by id, whoever's; those that are not there are left out (taken)."""
    ids = call.query.get("listing_ids", "").split(",")
    if not all(re.fullmatch(r"[1-9][0-9]{0,17}", id) for id in ids) or len(ids) > _MOST_ROWS:
        raise ApiRefused(400, "Invalid value for listing_ids")
    includes = call.includes
    found = [shop.listed(row, includes) for each in ids for shop, row in [_find(call, int(each)) or (None, {})] if shop]
    return {"count": len(found), "results": found}


def _receipts(call: Call) -> Json:
    """By times with both bounds in them, and by what became of them."""
    rows = list(call.own.receipts.values())
    for word, name in _TIMES.items():
        first, last = call.number(f"min_{word}", 0), call.number(f"max_{word}", 10**11)
        rows = [row for row in rows if first <= row[name] <= last]
    for word, is_so in _RECEIPT_FILTERS.items():
        if word in call.query:
            wanted = call.word(word, "", ("true", "false")) == "true"
            rows = [row for row in rows if is_so(row) is wanted]
    return call.page(call.sorted(rows, _RECEIPT_SORTS[call.word("sort_on", "created", tuple(_RECEIPT_SORTS))]))


def _receipt(call: Call) -> Json:
    row = call.own.receipts.get(int(call.parts["receipt"]))
    if row is None:
        raise ApiRefused(404, f"Could not find a receipt with receipt_id = {call.parts['receipt']}")
    return row


_RECEIPT_FILTERS: Mapping[str, Callable[[Json], bool]] = {
    "was_paid": lambda row: row["is_paid"],
    "was_shipped": lambda row: row["is_shipped"],
    "was_canceled": lambda row: row["status"] == "Canceled",
}


class _Endpoint(NamedTuple):
    method: str
    path: re.Pattern[str]
    scope: str
    """What the seller must have granted; nothing where the key is enough."""
    answer: Callable[[Call], Json]
    counts: bool = True
    """Those that count for no limit: https://github.com/etsy/open-api/issues/611."""


def _path(pattern: str) -> re.Pattern[str]:
    return re.compile(API + re.sub(r"\{(\w+)\}", r"(?P<\1>[1-9][0-9]{0,17})", pattern))


_ENDPOINTS = (
    _Endpoint("GET", _path("/openapi-ping"), "", _ping, counts=False),
    _Endpoint("POST", _path("/scopes"), "", _scopes, counts=False),
    _Endpoint("GET", _path("/users/me"), "shops_r", _me),
    _Endpoint("GET", _path("/users/{user}/shops"), "", _shop_of_user),
    _Endpoint("GET", _path("/shops/{shop}"), "", _shop),
    _Endpoint("GET", _path("/shops/{shop}/listings"), "listings_r", _listings),
    _Endpoint("GET", _path("/listings/batch"), "", _batch),
    _Endpoint("GET", _path("/listings/{listing}"), "", _listing),
    _Endpoint("GET", _path("/listings/{listing}/inventory"), "listings_r", _inventory),
    _Endpoint("GET", _path("/shops/{shop}/receipts"), "transactions_r", _receipts),
    _Endpoint("GET", _path("/shops/{shop}/receipts/{receipt}"), "transactions_r", _receipt),
)


def _endpoint(method: str, path: str) -> tuple[_Endpoint, Mapping[str, str]]:
    for endpoint in _ENDPOINTS:
        found = endpoint.path.fullmatch(path)
        if found and endpoint.method == method:
            return endpoint, found.groupdict()
    raise ApiRefused(404, "Resource not found")


def _is_ours(keystring: str, secret: str) -> bool:
    return hmac.compare_digest(f"{keystring}:{secret}".encode(), f"{KEYSTRING}:{SHARED_SECRET}".encode())


async def _form(request: Request) -> dict[str, str]:
    body = await request.body()
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ApiRefused(400, "invalid_request", "the body is no JSON object")
    return {name: str(value) for name, value in found.items()}


def _json(value: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encode(value), status, headers, media_type="application/json")


def _wrong(asked: Mapping[str, str]) -> str:
    """The word for what a request for consent lacks, https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1."""
    fixed = {"response_type": "code", "code_challenge_method": "S256"}
    if not (asked.get("state") and asked.get("code_challenge")) or fixed.items() - asked.items():
        return "invalid_request"
    scopes = asked.get("scope", "").split()
    return "" if scopes and not set(scopes) - set(SCOPES) else "invalid_scope"


def _return(asked: Mapping[str, str], **values: str) -> Response:
    address = asked["redirect_uri"]
    told = values | {name: asked[name] for name in ("state",) if name in asked}
    return RedirectResponse(f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(told)}", 302)


def _page(body: str, status: int = 200) -> HTMLResponse:
    head = "<title>Etsy (sandbox)</title><meta name='viewport' content='width=device-width'>"
    return HTMLResponse(f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>", status)


def _consent_form(asked: Mapping[str, str], names: Sequence[str]) -> str:
    """Pick an account, then grant or deny; the address is relative, so that it works below ``/at/HOST/`` too."""
    hidden = "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in asked.items()
        if name not in ("shop", "decision")
    )
    accounts = "".join(
        f'<p><label><input type="radio" name="shop" value="{html.escape(name)}"{" checked" if not at else ""}>'
        f" {html.escape(name)}</label></p>"
        for at, name in enumerate(names)
    )
    return (
        f"<h1>An application would like to connect to your Etsy account</h1><p>{html.escape(asked['scope'])}</p>"
        f'<form method="post" action="connect">{hidden}{accounts or "<p>The sandbox has no sellers yet.</p>"}'
        '<button name="decision" value="grant">Grant access</button> '
        '<button name="decision" value="deny">Deny</button></form>'
    )
