"""A stand-in for Amazon: consent page, Login with Amazon, the Selling Partner API of three regions, notifications.

Operations, their fields, statuses and usage plans are those of the models at
https://github.com/amzn/selling-partner-api-models/tree/main/models; who may call what is said at
https://developer-docs.amazon.com/sp-api/docs/authorization-errors and /grantless-operations; texts of refusals are
those that others met (https://github.com/amzn/selling-partner-api-docs/issues/2147 and 2379). What is none of
these is marked as taken.
"""

import asyncio
import base64
import binascii
import functools
import gzip
import hashlib
import hmac
import html
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from infra.local.sandbox import amazon_control, faults
from infra.local.sandbox.amazon_notifications import Notifications, Refused, SendToQueue, nowhere
from infra.local.sandbox.amazon_seller import MARKETPLACES, Json, Listing, Seller, Sizes, stamp
from infra.local.sandbox.faults import Faults
from infra.local.sandbox.tiktok_shop import Calls

CLIENT_ID = "amzn1.application-oa2-client.storelinklocal"
CLIENT_SECRET = "amzn1.oa2-cs.v1.local0123456789abcdef0123456789abcdef"  # noqa: S105 -- good for nothing else
APPLICATION_ID = "amzn1.sp.solution.storelinklocal"
NOTIFICATION_APPLICATION_ID = "amzn1.sellerapps.app.storelinklocal"
RETURN_ADDRESS = "https://localhost:8701/authorizations/AMAZON/callback"

LOGIN_HOST = "api.amazon.com"
API_HOSTS = {f"sellingpartnerapi-{region}.amazon.com": region for region in ("na", "eu", "fe")}
DOCUMENT_HOST = "tortuga-prod-local.s3.amazonaws.com"
CENTRAL_HOSTS = ("sellercentral-europe.amazon.com", *(f"sellercentral.{each.domain}" for each in MARKETPLACES.values()))
HOSTS = (*API_HOSTS, LOGIN_HOST, DOCUMENT_HOST, *CENTRAL_HOSTS)

_DAY = 86_400
_BEFORE_NOW = 120
_MOST_FOUND = 1_000
_MOST_IDENTIFIERS = 20
_DOCUMENT_LIFE = 300
"""https://developer-docs.amazon.com/sp-api/docs/reports-api-v2021-06-30-reference: the address lives five minutes."""
_RATE_TOLD = (200, 202, 400, 404)
"""Answers that tell the rate; that refusals of access or pace do not is taken from what others report."""
_SHOWN = ("createdAfter", "lastUpdatedAfter", "marketplaceIds", "pageSize", "maxResultsPerPage", "sortBy", "version")
"""Query parameters that the log of calls repeats; others may be secrets or belong to buyers."""

_ORDERS, _LISTINGS, _INSIGHTS = "Inventory and Order Tracking", "Product Listing", "Selling Partner Insights"
_SHIPPING = "Direct-to-Consumer Shipping"
ROLES = (_ORDERS, _LISTINGS, _INSIGHTS, _SHIPPING)
_ORDER_DATA = (
    "BUYER",
    "RECIPIENT",
    "PROCEEDS",
    "EXPENSE",
    "PROMOTION",
    "CANCELLATION",
    "FULFILLMENT",
    "PACKAGES",
    "TAX",
)
_RESTRICTED = {"BUYER", "RECIPIENT"}
_LISTING_DATA = (
    "summaries",
    "attributes",
    "issues",
    "offers",
    "fulfillmentAvailability",
    "relationships",
    "productTypes",
)
_SORTED_BY = {"sku": "sku", "createdDate": "created", "lastUpdatedDate": "updated"}
_ALL_LISTINGS = "GET_MERCHANT_LISTINGS_ALL_DATA"


@dataclass
class Settings:
    """What can be ordered of the platform as a whole; times in seconds."""

    return_address: str
    """The app's OAuth redirect URI."""
    approve: str | None = None
    """The seller who consents at once, without a click."""
    draft: bool = False
    """The app is not published yet: only the beta page lets sellers approve it."""
    roles: tuple[str, ...] = ROLES
    """Of the app; a grant has those that the app had when it was given."""
    code_life: int = 300
    access_life: int = 3_600
    authorization_life: int = 365 * _DAY
    report_takes: int = 60


@dataclass
class Grant:
    """One consent of one seller, and the refresh token that stays good for as long."""

    seller: Seller
    roles: tuple[str, ...]
    ends: int
    refresh_token: str = field(repr=False)
    ended: str = ""


@dataclass
class Account:
    """One seller, and what is ordered for their calls."""

    seller: Seller
    faults: Faults = field(default_factory=Faults)
    reports: dict[str, Json] = field(default_factory=dict)


class Call(NamedTuple):
    """One call of the Selling Partner API that is allowed."""

    query: Mapping[str, str]
    body: Json
    parts: Mapping[str, str]
    region: str
    grant: Grant | None
    account: Account | None

    @property
    def seller(self) -> Seller:
        """Whose token it is; only grantless operations have none."""
        assert self.account is not None
        return self.account.seller

    def listed(self, name: str, words: Sequence[str] = ()) -> list[str]:
        """A parameter with commas between its values; ``words`` are all that there may be."""
        found = [value for value in self.query.get(name, "").split(",") if value]
        if words and set(found) - set(words):
            raise Refused(400, "InvalidInput", f"{name} has a value that there is not.")
        return found

    def moment(self, name: str) -> int | None:
        """A parameter that is a time, in unix seconds."""
        if name not in self.query:
            return None
        try:
            found = datetime.fromisoformat(self.query[name])
        except ValueError:
            raise Refused(400, "InvalidInput", f"{name} is no time.") from None
        return int(found.timestamp())

    def number(self, name: str, default: int, most: int) -> int:
        """A parameter that is a whole number from 1 on."""
        text = self.query.get(name, str(default))
        if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= most:
            raise Refused(400, "InvalidInput", f"{name} must be from 1 to {most}.")
        return int(text)


class _Operation(NamedTuple):
    method: str
    path: re.Pattern[str]
    name: str
    rate: float
    burst: int
    role: str
    answer: Callable[["Api", Call], Json]
    grantless: bool = False
    status: int = 200


class Amazon:
    """All of Amazon in the sandbox."""

    hosts: Sequence[str] = HOSTS

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        send_to_queue: SendToQueue = nowhere,
        return_address: str = RETURN_ADDRESS,
    ) -> None:
        self.settings = Settings(return_address)
        self.clock_offset = 0
        self.accounts: dict[str, Account] = {}
        """By the seller's name."""
        self.grants: list[Grant] = []
        self.faults = Faults()
        """Met by calls of any seller, and by those for tokens, pages and documents."""
        self.calls = Calls()
        self.notifications = Notifications(self.now, send_to_queue, NOTIFICATION_APPLICATION_ID)
        self._clock = clock
        self._codes: dict[str, tuple[Seller, int]] = {}
        self._access: dict[str, tuple[Grant | None, int]] = {}
        self._api = Api(self)

    def now(self) -> int:
        """The platform's clock, in whole seconds."""
        return int(self.exact_now())

    def exact_now(self) -> float:
        """The same, with its fraction."""
        return self._clock() + self.clock_offset

    def routes(self) -> list[Route]:
        """The control API."""
        return amazon_control.routes(self)

    async def deliver(self) -> None:
        """Sends the notifications that wait."""
        if not self.notifications.paused:
            await self.notifications.deliver()

    # Sellers

    def open(self, name: str, *, marketplaces: Sequence[str], seed: int = 1, sizes: Sizes | None = None) -> Seller:
        """A seller; one of the same name is replaced."""
        seller = Seller(name, marketplaces, self.now, seed=seed, sizes=sizes)
        self.end_grants(name, "closed")
        self.accounts[name] = Account(seller)
        seller.announce = functools.partial(self.notifications.happened, seller)
        return seller

    def end_grants(self, name: str, why: str) -> int:
        """The seller's grants end, as when they remove the app in Manage Your Apps; how many there were."""
        mine = [grant for grant in self.grants if grant.seller.name == name and not grant.ended]
        for grant in mine:
            grant.ended = why
        if mine:
            self.notifications.forget(mine[0].seller)
        return len(mine)

    def forget_calls(self) -> None:
        """Count calls from nothing again."""
        self.calls = Calls(active=self.calls.active)

    # Requests

    async def answer(self, request: Request, stop: asyncio.Event) -> Response:
        """One request to any of the hosts, through the faults ordered for it."""
        grant = self.grant_of(request.headers.get("x-amz-access-token", ""))[0]
        account = self.accounts.get(grant.seller.name) if grant else None
        fault = account.faults.next(request.method, request.url.path) if account else None
        fault = fault or self.faults.next(request.method, request.url.path)
        self.calls.active += 1
        self.calls.most_at_once = max(self.calls.most_at_once, self.calls.active)
        response: Response | None = None
        try:
            genuine = self._genuine
            response = await (faults.answer(fault, request, genuine, stop) if fault else genuine(request))
        finally:
            self.calls.active -= 1
            self._log(request, account, response)
        return response

    async def _genuine(self, request: Request) -> Response:
        host = request.url.hostname or ""
        if host in API_HOSTS:
            return await self._api.answer(request, API_HOSTS[host])
        if host == LOGIN_HOST:
            return await self._login(request)
        if host == DOCUMENT_HOST:
            return self._api.document(request)
        return await self._consent(request)

    def _log(self, request: Request, account: Account | None, response: Response | None) -> None:
        status = response.status_code if response else 0
        path = request.url.path if request.url.hostname != DOCUMENT_HOST else "/document"
        self.calls.total += 1
        self.calls.routes[f"{request.method} {path}"] += 1
        self.calls.codes[str(status)] += 1
        shown = {name: value for name, value in request.query_params.multi_items() if name in _SHOWN}
        call = {"host": request.url.hostname, "method": request.method, "path": path, "query": shown}
        self.calls.last.append({**call, "seller": account.seller.name if account else None, "status": status})

    # Consent, https://developer-docs.amazon.com/sp-api/docs/website-authorization-workflow

    async def _consent(self, request: Request) -> Response:
        if request.url.path != "/apps/authorize/consent" or request.method not in ("GET", "POST"):
            return HTMLResponse("<h1>404</h1>", 404)
        asked = dict(request.query_params)
        if request.method == "POST":
            asked = dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))
        if asked.get("application_id") != APPLICATION_ID:
            return _page("<h1>This application does not exist.</h1>", 400)
        if self.settings.draft and asked.get("version") != "beta":
            return _page("<h1>MD1000</h1><p>The application is a draft.</p>", 400)
        if asked.get("redirect_uri", self.settings.return_address) != self.settings.return_address:
            return _page("<h1>MD5101</h1><p>This redirect URI is none of the application's.</p>", 400)
        return self._decided(asked, asked.get("decision") if request.method == "POST" else None)

    def _decided(self, asked: Mapping[str, str], clicked: str | None) -> Response:
        if clicked == "cancel":  # taken: nobody documents that the app is told
            return _page("<h1>You have not authorized this application.</h1>")
        account = self.accounts.get((asked.get("seller") if clicked else self.settings.approve) or "")
        if account is None:
            return _page(_consent_form(asked, [each.seller for each in self.accounts.values()]))
        code = f"RH{secrets.token_urlsafe(12)}"
        self._codes[code] = (account.seller, self.now() + self.settings.code_life)
        state = {"state": asked["state"]} if "state" in asked else {}
        values = {**state, "selling_partner_id": account.seller.id, "spapi_oauth_code": code}
        address = self.settings.return_address
        return RedirectResponse(f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(values)}", 302)

    # Login with Amazon, https://developer.amazon.com/docs/login-with-amazon/authorization-code-grant.html

    async def _login(self, request: Request) -> Response:
        if request.url.path.lower() != "/auth/o2/token" or request.method != "POST":
            return JSONResponse({"error": "invalid_request"}, 400 if request.method == "POST" else 404)
        form = dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))
        for name, right in (("client_id", CLIENT_ID), ("client_secret", CLIENT_SECRET)):
            if not hmac.compare_digest(form.get(name, "").encode(), right.encode()):
                return _no_tokens(401, "invalid_client", "Client authentication failed")
        kinds = {
            "authorization_code": self._exchanged,
            "refresh_token": self._refreshed,
            "client_credentials": self._grantless,
        }
        kind = kinds.get(form.get("grant_type", ""))
        if kind is None:
            return _no_tokens(400, "unsupported_grant_type", "The authorization grant type is not supported")
        return kind(form)

    def _exchanged(self, form: Mapping[str, str]) -> Response:
        seller, ends = self._codes.pop(form.get("code", ""), (None, 0))
        if seller is None or ends <= self.now():
            return _no_tokens(400, "invalid_grant", "The request has an invalid grant parameter : code")
        life, refresh = self.settings.authorization_life, f"Atzr|{secrets.token_urlsafe(48)}"
        grant = Grant(seller, self.settings.roles, self.now() + life, refresh)
        self.grants.append(grant)
        return self._tokens(grant)

    def _refreshed(self, form: Mapping[str, str]) -> Response:
        grant = next((each for each in self.grants if each.refresh_token == form.get("refresh_token")), None)
        # That a grant which nobody renewed within its year ends like a revoked one is taken.
        if grant is None or grant.ended or grant.ends <= self.now():
            said = "The request has an invalid grant parameter : refresh_token. User may have revoked or didn't grant"
            return _no_tokens(400, "invalid_grant", f"{said} the permission.")
        return self._tokens(grant)

    def _grantless(self, form: Mapping[str, str]) -> Response:
        if form.get("scope") not in (
            "sellingpartnerapi::notifications",
            "sellingpartnerapi::client_credential:rotation",
        ):
            return _no_tokens(400, "invalid_scope", "The request has an invalid scope parameter")
        return self._tokens(None)

    def _tokens(self, grant: Grant | None) -> Response:
        life, access = self.settings.access_life, f"Atza|{secrets.token_urlsafe(64)}"
        self._access[access] = (grant, self.now() + life)
        renewed = {"refresh_token": grant.refresh_token} if grant else {}
        return JSONResponse({"access_token": access, **renewed, "token_type": "bearer", "expires_in": life})

    def grant_of(self, token: str) -> tuple[Grant | None, int]:
        """Whose access token it is, and until when; a time of 0 means that there is no such token."""
        return self._access.get(token, (None, 0))


class Api:
    """The Selling Partner API."""

    def __init__(self, platform: Amazon) -> None:
        self._platform = platform
        self._buckets: dict[tuple[str, str, str], tuple[float, float]] = {}
        self._key = secrets.token_bytes(32)

    async def answer(self, request: Request, region: str) -> Response:
        """Check and answer one call."""
        operation, status = None, 404
        try:
            operation, parts = _operation(request)
            content = operation.answer(self, self._allowed(request, await request.body(), operation, parts, region))
            status = operation.status
        except Refused as refused:
            status, error = refused.status, {"code": refused.code, "message": str(refused), "details": refused.details}
            content = {"errors": [error]}
        headers = {"x-amzn-RequestId": str(uuid4())}
        if operation and status in _RATE_TOLD:
            headers["x-amzn-RateLimit-Limit"] = str(float(operation.rate))
        return JSONResponse(content, status, headers)

    def _allowed(
        self, request: Request, body: bytes, operation: _Operation, parts: Mapping[str, str], region: str
    ) -> Call:
        grant = self._grant(request.headers.get("x-amz-access-token", ""), operation, region)
        self._spend(operation, region, grant.seller.name if grant else "")
        query: dict[str, str] = {}
        for name, value in request.query_params.multi_items():
            query[name] = f"{query[name]},{value}" if name in query else value
        account = self._platform.accounts[grant.seller.name] if grant else None
        return Call(query, _json_body(body), parts, region, grant, account)

    def _grant(self, token: str, operation: _Operation, region: str) -> Grant | None:
        grant, ends = self._platform.grant_of(token)
        if not token:
            raise _denied("Access token is missing in the request header.")
        if ends == 0 or (grant and grant.ended):
            raise _denied("The access token you provided is revoked, malformed or invalid.")
        if ends <= self._platform.now():
            raise _denied("The access token you provided has expired.")
        if (grant is None) != operation.grantless:
            raise _denied()
        if grant and (grant.ends <= self._platform.now() or grant.seller.region != region):
            raise _denied()
        if grant and operation.role and operation.role not in grant.roles:
            raise _denied()
        return grant

    def _spend(self, operation: _Operation, region: str, seller: str) -> None:
        """A token bucket for each operation, seller and app: its burst at once, then its rate."""
        now, key = self._platform.exact_now(), (operation.name, region, seller)
        level, at = self._buckets.get(key, (float(operation.burst), now))
        level = min(level + max(now - at, 0) * operation.rate, operation.burst)
        if level < 1:
            self._buckets[key] = (level, now)
            raise Refused(429, "QuotaExceeded", "You exceeded your quota for the requested resource.")
        self._buckets[key] = (level - 1, now)

    # Sellers

    def participations(self, call: Call) -> Json:
        """The marketplaces of the region, and whether the seller takes part."""
        return {"payload": call.seller.participations()}

    # Orders

    def search_orders(self, call: Call) -> Json:
        """A page; its token is bound to the search and lives for a day."""
        by, begin, end = self._order_times(call)
        data = self._order_data(call)
        marketplaces = _marketplaces(call) or call.seller.marketplaces
        found = call.seller.find_orders(marketplaces, "created" if by == "created" else "updated", begin, end)
        statuses = call.listed("fulfillmentStatuses")
        found = [order for order in found if not statuses or order.status in statuses]
        size, wish = call.number("maxResultsPerPage", 100, 100), _mark(call.query, "paginationToken")
        start = self._place(call.query.get("paginationToken"), wish)
        token = self._token(start + size, wish) if start + size < len(found) else None
        rows = [call.seller.order_json(order, data) for order in found[start : start + size]]
        return {"orders": rows, "pagination": {"nextToken": token} if token else {}, f"{by}Before": stamp(end)}

    def order(self, call: Call) -> Json:
        """One order, whole."""
        data, order = self._order_data(call), call.seller.orders.get(call.parts["id"])
        if order is None:
            raise Refused(404, "NotFound", "The requested resource does not exist.")
        return {"order": call.seller.order_json(order, data)}

    def _order_times(self, call: Call) -> tuple[str, int, int]:
        given = [by for by in ("created", "lastUpdated") if f"{by}After" in call.query]
        if len(given) != 1 or any(f"{by}Before" in call.query for by in {"created", "lastUpdated"} - set(given)):
            raise Refused(400, "InvalidInput", "Exactly one of createdAfter and lastUpdatedAfter.")
        (by,) = given
        begin, end = call.moment(f"{by}After") or 0, call.moment(f"{by}Before")
        latest = self._platform.now() - _BEFORE_NOW
        if end is not None and (end > latest or end < begin):
            raise Refused(400, "InvalidInput", f"{by}Before must be after {by}After, and two minutes old.")
        return by, begin, latest if end is None else end

    def _order_data(self, call: Call) -> list[str]:
        data = call.listed("includedData", (*_ORDER_DATA, "PAYMENT", "FULFILLMENT_ORDERS"))
        if _RESTRICTED & set(data) and call.grant and _SHIPPING not in call.grant.roles:  # taken, as is the status
            raise _denied()
        return data

    # Listings

    def search_listings(self, call: Call) -> Json:
        """A page of at most a thousand listings; the token is bound to the search."""
        self._own(call)
        marketplaces, data = _marketplaces(call, required=True), self._listing_data(call)
        every = self._found_listings(call, marketplaces)
        found = every[:_MOST_FOUND]
        size, wish = call.number("pageSize", 10, 20), _mark(call.query, "pageToken")
        start = self._place(call.query.get("pageToken"), wish)
        pagination = {"nextToken": self._token(start + size, wish)} if start + size < len(found) else {}
        items = [call.seller.listing_json(each, marketplaces, data) for each in found[start : start + size]]
        return {"numberOfResults": len(every), "pagination": pagination, "items": items}

    def _found_listings(self, call: Call, marketplaces: Sequence[str]) -> list[Listing]:
        times = {"created": "created", "lastUpdated": "updated"}
        since = {kind: at for name, kind in times.items() if (at := call.moment(f"{name}After")) is not None}
        until = {kind: at for name, kind in times.items() if (at := call.moment(f"{name}Before")) is not None}
        found = call.seller.find_listings(marketplaces, since=since, until=until)
        if skus := call.listed("identifiers"):
            if call.query.get("identifiersType") != "SKU" or len(skus) > _MOST_IDENTIFIERS:
                raise Refused(400, "InvalidInput", "The sandbox looks up at most 20 SKUs, and nothing else.")
            found = [each for each in found if each.sku in skus]
        sort_by = _SORTED_BY.get(call.query.get("sortBy", "lastUpdatedDate"))
        if sort_by is None:
            raise Refused(400, "InvalidInput", "sortBy is invalid.")
        descending = call.query.get("sortOrder") != "ASC"
        return sorted(found, key=lambda each: (getattr(each, sort_by), each.sku), reverse=descending)

    def listing(self, call: Call) -> Json:
        """One listing by its SKU."""
        self._own(call)
        marketplaces, data = _marketplaces(call, required=True), self._listing_data(call)
        listing = call.seller.listings.get(call.parts["sku"])
        if listing is None or not set(listing.marketplaces) & set(marketplaces):
            raise Refused(404, "NOT_FOUND", "SKU not found in the marketplace.")
        return call.seller.listing_json(listing, marketplaces, data)

    def _own(self, call: Call) -> None:
        if call.parts["seller"] != call.seller.id:
            raise _denied()

    def _listing_data(self, call: Call) -> list[str]:
        return call.listed("includedData", (*_LISTING_DATA, "procurement")) or ["summaries"]

    # Reports

    def create_report(self, call: Call) -> Json:
        """A report on all listings of a marketplace, made as things are at its end."""
        marketplaces = call.body.get("marketplaceIds")
        if call.body.get("reportType") != _ALL_LISTINGS or not isinstance(marketplaces, list) or len(marketplaces) != 1:
            raise Refused(400, "InvalidInput", f"The sandbox makes {_ALL_LISTINGS} of one marketplace only.")
        _check_marketplaces(call, marketplaces)
        assert call.account is not None
        id = str(50_000 + len(call.account.reports))
        call.account.reports[id] = {"marketplace": marketplaces[0], "created": self._platform.now()}
        return {"reportId": id}

    def report(self, call: Call) -> Json:
        """How far a report is."""
        assert call.account is not None
        made = call.account.reports.get(call.parts["id"])
        if made is None:
            raise Refused(404, "NotFound", "The report does not exist.")
        takes, age = self._platform.settings.report_takes, self._platform.now() - made["created"]
        status = "DONE" if age >= takes else "IN_PROGRESS" if 2 * age >= takes else "IN_QUEUE"
        document = (
            {"reportDocumentId": f"amzn1.spdoc.1.{call.seller.name}.{call.parts['id']}"} if status == "DONE" else {}
        )
        return {
            "reportType": _ALL_LISTINGS,
            "reportId": call.parts["id"],
            "marketplaceIds": [made["marketplace"]],
            "createdTime": stamp(made["created"]),
            "processingStatus": status,
            **document,
        }

    def report_document(self, call: Call) -> Json:
        """Where the report can be fetched for five minutes, by whoever has the address."""
        id = call.parts["id"].rpartition(".")[2]
        if call.account is None or id not in call.account.reports:
            raise Refused(404, "NotFound", "The document does not exist.")
        path, ends = f"/{call.seller.id}/{id}", str(self._platform.now() + _DOCUMENT_LIFE)
        query = urlencode({"X-Amz-Expires": ends, "X-Amz-Signature": self._signature(path, ends)})
        url = f"https://{DOCUMENT_HOST}{path}?{query}"
        return {"reportDocumentId": call.parts["id"], "url": url, "compressionAlgorithm": "GZIP"}

    def document(self, request: Request) -> Response:
        """The report itself, as S3 gives it."""
        path, ends = request.url.path, request.query_params.get("X-Amz-Expires", "")
        signed = request.query_params.get("X-Amz-Signature") == self._signature(path, ends)
        if not signed or int(ends) <= self._platform.now():
            return Response("<Error><Code>AccessDenied</Code></Error>", 403, media_type="application/xml")
        _, seller_id, id = path.split("/")
        account = next(each for each in self._platform.accounts.values() if each.seller.id == seller_id)
        rows = account.seller.report_rows(account.reports[id]["marketplace"])
        text = "\n".join("\t".join(row) for row in rows)
        return Response(gzip.compress(text.encode()), media_type="text/tab-separated-values; charset=UTF-8")

    def _signature(self, path: str, ends: str) -> str:
        return hmac.digest(self._key, f"{path}:{ends}".encode(), "sha256").hex()

    # Notifications

    def destinations(self, call: Call) -> Json:
        """The app's destinations in this region."""
        return {"payload": self._platform.notifications.destinations(call.region)}

    def create_destination(self, call: Call) -> Json:
        """A queue or an event bus."""
        return {"payload": self._platform.notifications.add_destination(call.region, call.body)}

    def subscription(self, call: Call) -> Json:
        """The seller's subscription to a type."""
        return {"payload": self._platform.notifications.subscription(call.seller, call.parts["type"])}

    def create_subscription(self, call: Call) -> Json:
        """One for each type; a second is a conflict."""
        made = self._platform.notifications.subscribe(call.seller, call.region, call.parts["type"], call.body)
        return {"payload": made}

    def delete_subscription(self, call: Call) -> Json:
        """Any seller's, by its id."""
        self._platform.notifications.unsubscribe(call.parts["type"], call.parts["id"])
        return {}

    # Page tokens

    def _token(self, place: int, wish: str) -> str:
        text = f"{place}:{self._platform.now() + _DAY}:{wish}"
        return base64.b64encode(b"\xfb\xff" + text.encode()).decode()

    def _place(self, token: str | None, wish: str) -> int:
        if token is None:
            return 0
        try:
            text = base64.b64decode(token, validate=True).removeprefix(b"\xfb\xff").decode()
        except (binascii.Error, UnicodeDecodeError):
            text = ""
        found = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,12}):([0-9a-f]{8})", text)
        if found is None or found[3] != wish or int(found[2]) <= self._platform.now():
            raise Refused(400, "InvalidInput", "The token is invalid or has expired.")
        return int(found[1])


def _path(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern))


_R, _N = "/reports/2021-06-30", "/notifications/v1"
OPERATIONS = (
    _Operation("GET", _path("/sellers/v1/marketplaceParticipations"), "getMarketplaceParticipations", 0.016, 15,
               _INSIGHTS, Api.participations),
    _Operation("GET", _path("/orders/2026-01-01/orders"), "searchOrders", 0.0056, 20, _ORDERS, Api.search_orders),
    _Operation("GET", _path("/orders/2026-01-01/orders/{id}"), "getOrder", 0.5, 30, _ORDERS, Api.order),
    _Operation("GET", _path("/listings/2021-08-01/items/{seller}"), "searchListingsItems", 5, 5, _LISTINGS,
               Api.search_listings),
    _Operation("GET", _path("/listings/2021-08-01/items/{seller}/{sku}"), "getListingsItem", 5, 10, _LISTINGS,
               Api.listing),
    _Operation("POST", _path(f"{_R}/reports"), "createReport", 0.0167, 15, _LISTINGS, Api.create_report, status=202),
    _Operation("GET", _path(f"{_R}/reports/{{id}}"), "getReport", 2, 15, _LISTINGS, Api.report),
    _Operation("GET", _path(f"{_R}/documents/{{id}}"), "getReportDocument", 0.0167, 15, _LISTINGS,
               Api.report_document),
    _Operation("GET", _path(f"{_N}/destinations"), "getDestinations", 1, 5, "", Api.destinations, grantless=True),
    _Operation("POST", _path(f"{_N}/destinations"), "createDestination", 1, 5, "", Api.create_destination,
               grantless=True),
    _Operation("GET", _path(f"{_N}/subscriptions/{{type}}"), "getSubscription", 1, 5, "", Api.subscription),
    _Operation("POST", _path(f"{_N}/subscriptions/{{type}}"), "createSubscription", 1, 5, "",
               Api.create_subscription),
    _Operation("DELETE", _path(f"{_N}/subscriptions/{{type}}/{{id}}"), "deleteSubscriptionById", 1, 5, "",
               Api.delete_subscription, grantless=True),
)  # fmt: skip
"""What there is, with the usage plan of the models and the role that it needs (notifications: taken, none)."""


def _operation(request: Request) -> tuple[_Operation, Mapping[str, str]]:
    raw_path = request.scope["raw_path"].decode("ascii", "replace").partition("?")[0]
    for operation in OPERATIONS:
        found = operation.path.fullmatch(raw_path)
        if found and operation.method == request.method:
            return operation, {name: unquote(value) for name, value in found.groupdict().items()}
    raise Refused(404, "NotFound", "The requested resource does not exist.")


def _denied(details: str = "") -> Refused:
    return Refused(403, "Unauthorized", "Access to requested resource is denied.", details)


def _marketplaces(call: Call, *, required: bool = False) -> list[str]:
    found = call.listed("marketplaceIds")
    if required and not found:
        raise Refused(400, "InvalidInput", "marketplaceIds is required.")
    _check_marketplaces(call, found)
    return found


def _check_marketplaces(call: Call, ids: Sequence[Any]) -> None:
    """Taken: what the seller does not take part in is refused like what the region has not."""
    if set(ids) - set(call.seller.marketplaces):
        raise Refused(400, "InvalidInput", "Invalid marketplaceIds.")


def _mark(query: Mapping[str, str], token: str) -> str:
    """What a page token is bound to."""
    asked = sorted((name, value) for name, value in query.items() if name != token)
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:8]


def _json_body(body: bytes) -> Json:
    if not body:
        return {}
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Refused(400, "InvalidInput", "The body is no JSON object.")
    return value


def _no_tokens(status: int, error: str, description: str) -> Response:
    return JSONResponse({"error_description": description, "error": error}, status)


def _page(body: str, status: int = 200) -> HTMLResponse:
    head = "<title>Seller Central (sandbox)</title><meta name='viewport' content='width=device-width'>"
    return HTMLResponse(f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>", status)


def _consent_form(asked: Mapping[str, str], sellers: Sequence[Seller]) -> str:
    """Pick an account, then confirm; the address is relative, so that it works below ``/at/HOST/`` too."""
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(asked[name])}">'
        for name in ("application_id", "state", "version", "redirect_uri")
        if name in asked
    )
    accounts = "".join(
        f'<p><label><input type="radio" name="seller" value="{html.escape(seller.name)}"{" checked" if not at else ""}>'
        f" {html.escape(seller.name)} ({', '.join(MARKETPLACES[id].domain for id in seller.marketplaces)})</label></p>"
        for at, seller in enumerate(sellers)
    )
    return (
        "<h1>Authorize this application?</h1><p>It will read your listings and orders.</p>"
        f'<form method="post" action="consent">{hidden}{accounts or "<p>The sandbox has no sellers yet.</p>"}'
        '<button name="decision" value="confirm">Confirm</button> '
        '<button name="decision" value="cancel">Cancel</button></form>'
    )
