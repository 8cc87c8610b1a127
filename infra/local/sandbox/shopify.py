"""A stand-in for Shopify: the OAuth grant, the Admin GraphQL API 2026-10, bulk results and webhooks.

Each shop is ``https://NAME.myshopify.com``, with its own state in memory; results of bulk operations are at
``storage.googleapis.com``, as Shopify's are. It follows Shopify's documentation, and where that is silent what
others have measured on the real platform.

The app that all shops know is ``CLIENT_ID`` with ``CLIENT_SECRET``. A caller without a browser adds
``_sandbox=approve`` (or ``deny``) to the grant's address and is answered as its page's button is.
"""

import asyncio
import base64
import hmac
import html
import json
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import httpx
from graphql import FieldNode
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from infra.local.sandbox import faults, shopify_bulk, shopify_control, shopify_graphql
from infra.local.sandbox.shopify_bulk import STORAGE_HOST, Bulk
from infra.local.sandbox.shopify_graphql import Bucket
from infra.local.sandbox.shopify_resolvers import Context, Lists
from infra.local.sandbox.shopify_schema import API_VERSION, Documents, Refused, operation_of
from infra.local.sandbox.shopify_shop import Json, Shop
from infra.local.sandbox.shopify_tokens import GrantError, Pair, Rules, Tokens
from infra.local.sandbox.shopify_webhooks import Registration, Webhooks
from infra.local.sandbox.woocommerce import Traffic

CLIENT_ID = "storelink-local-shopify"
CLIENT_SECRET = "shpss_local_0123456789abcdef0123456789abcdef"  # noqa: S105 -- known to the local stack only

_SHOPS = ".myshopify.com"
HOSTS = (_SHOPS, STORAGE_HOST)
_GRAPHQL = re.compile(r"/admin/api/([\w-]+)/graphql\.json")
_VERSION = re.compile(r"20\d\d-(01|04|07|10)")
_SCOPE = re.compile(r"(unauthenticated_)?(read|write)_[a-z_]+|customer_(read|write)_[a-z_]+")
_TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 -- a grant type
_OFFLINE_TOKEN = "urn:shopify:params:oauth:token-type:offline-access-token"  # noqa: S105 -- a token type
_LOOPBACK = {"localhost", "127.0.0.1"}
_PLANS = {"Basic": 1, "Grow": 1, "Advanced": 2, "Plus": 10, "Enterprise": 20}
"""How many times 100 points are restored in a second; the bucket holds twenty times that."""
_UNAUTHORIZED = "[API] Invalid API key or access token (unrecognized login or wrong password)"
_NON_EXPIRING = (
    "[API] Non-expiring access tokens are no longer accepted for the Admin API. Start using expiring offline tokens."
)
_NO_SHOP = "<h1>Sorry, this shop is currently unavailable.</h1>"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class AuthorizeError(Exception):
    """A grant that cannot be asked for like this: the merchant sees a page, the app is not told."""


class Site:
    """One shop on the web: its grant pages, its token endpoint and its API."""

    def __init__(
        self, shop: Shop, app: Registration, http: Callable[[], httpx.AsyncClient], documents: Documents
    ) -> None:
        self.shop = shop
        self.app = app
        self.rules = Rules()
        self.tokens = Tokens(shop.precisely, shop.random, self.rules)
        self.webhooks = Webhooks(shop, http, app)
        self.bulk = Bulk(shop, self.context, documents)
        self.bucket = _bucket(shop)
        self.faults = faults.Faults()
        self.traffic = Traffic()
        self.operations: Counter[str] = Counter()
        """GraphQL root fields asked for."""
        self.auto_approve = False
        self.hide_closed = True
        """Closed and cancelled orders are listed only where the query asks for a status."""
        self._documents = documents
        self._lists = Lists(shop)
        self._asked: dict[str, dict[str, str]] = {}
        """Grants whose page was shown, by the page's own token."""

    async def answer(self, request: Request) -> Response:
        """One request to the shop."""
        path = request.url.path
        match request.method, path:
            case "GET", "/admin/oauth/authorize":
                return self._authorize(request)
            case "POST", "/admin/oauth/grant":
                return self._grant(dict(parse_qsl((await request.body()).decode())))
            case "POST", "/admin/oauth/access_token":
                return await self._token(request)
        found = _GRAPHQL.fullmatch(path)
        if found and request.method == "POST":
            return await self._graphql(request, found[1])
        if path.startswith("/admin/"):
            return JSONResponse({"errors": "Not Found"}, 404)
        return _html(_NO_SHOP, 404)

    def context(self) -> Context:
        """What a GraphQL document is executed on."""
        return Context(
            shop=self.shop,
            tokens=self.tokens,
            webhooks=self.webhooks,
            jobs=self.bulk,
            lists=self._lists,
            uninstall=self.uninstall,
            client_id=self.app.client_id,
            scopes=self.tokens.scopes,
            hide_closed=self.hide_closed,
        )

    def uninstall(self) -> None:
        """The merchant, or the app itself, ends it: tokens are dead before anybody is told."""
        self.tokens.revoke()
        self.tokens.installed, self.tokens.scopes = False, ()
        self.bulk.stop()
        self.webhooks.uninstalled()

    def change_scopes(self, scopes: tuple[str, ...]) -> None:
        """The merchant grants more, or takes optional scopes away."""
        previous = self.tokens.scopes
        self.tokens.change_scopes(scopes)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(self.shop.now()))
        told = {"id": 1, "shop_id": f"gid://shopify/Shop/{self.shop.id}"}
        told |= {"previous": list(previous), "current": list(scopes), "updated_at": moment}
        self.webhooks.happened("app/scopes_update", told)

    # Consent

    def _authorize(self, request: Request) -> Response:
        query = dict(request.query_params)
        try:
            scopes = self._check(query, request)
        except AuthorizeError as wrong:
            return _html(f"<h1>Oauth error {html.escape(str(wrong))}</h1>", 400)
        if query.get("_sandbox") == "deny":
            return self._decide(query, install=False)
        known = self.tokens.installed and set(scopes) <= set(_implied(self.tokens.scopes))
        if known or self.auto_approve or query.get("_sandbox") == "approve":
            return self._decide(query, install=True)
        page = self.shop.random.randbytes(16).hex()
        self._asked[page] = query
        return _html(_consent(self.shop, scopes, page))

    def _check(self, query: dict[str, str], request: Request) -> tuple[str, ...]:
        if query.get("client_id") != self.app.client_id:
            message = "application_cannot_be_found: The application associated with the provided API key is unknown."
            raise AuthorizeError(message)
        if not _may_return(query.get("redirect_uri", ""), self.app.redirects):
            raise AuthorizeError("invalid_request: The redirect_uri is missing or not whitelisted")
        if not query.get("state"):
            raise AuthorizeError("invalid_request: The state is missing")
        if any(request.query_params.getlist("grant_options[]")):
            raise AuthorizeError("invalid_request: The sandbox has no online access tokens")
        scopes = _scopes(query.get("scope", ""))
        wrong = next((scope for scope in scopes if not _SCOPE.fullmatch(scope)), None)
        if wrong or not scopes:
            raise AuthorizeError(f"invalid_scope: {wrong} is not a valid access scope")
        return scopes

    def _grant(self, form: dict[str, str]) -> Response:
        query = self._asked.pop(form.get("authenticity_token", ""), None)
        if query is None:
            return _html("<h1>This page has expired.</h1>", 422)
        return self._decide(query, install=form.get("decision") == "install")

    def _decide(self, query: dict[str, str], *, install: bool) -> Response:
        told = {"code": self.tokens.code(_scopes(query["scope"]))} if install else {"error": "access_denied"}
        host = base64.b64encode(f"admin.shopify.com/store/{self.shop.name}".encode()).decode().rstrip("=")
        told |= {"host": host, "shop": self.shop.domain, "state": query["state"]}
        told["timestamp"] = str(self.shop.now())
        told["hmac"] = signature(told, self.app.secret)
        back = query["redirect_uri"]
        return RedirectResponse(f"{back}{'&' if '?' in back else '?'}{urlencode(told)}", 302)

    # Tokens

    async def _token(self, request: Request) -> Response:
        given = await _fields(request)
        try:
            self._know(given)
            answer = self._granted(given)
        except GrantError as refused:
            return JSONResponse(refused.body, refused.status, _NO_STORE)
        return JSONResponse(answer, headers=_NO_STORE)

    def _know(self, given: Mapping[str, str]) -> None:
        if not {"client_id", "client_secret"} <= set(given):
            raise GrantError(400, "invalid_request", "client_id and client_secret are required")
        if given["client_id"] != self.app.client_id:
            raise GrantError(400, "application_cannot_be_found", "The application could not be found.")
        if given["client_secret"] not in self.app.known():
            raise GrantError(401, "invalid_client", "Client authentication failed")

    def _granted(self, given: Mapping[str, str]) -> Json:
        expiring = given.get("expiring", "").lower() in ("1", "true")
        kind = given.get("grant_type", "authorization_code")
        if kind == "authorization_code" and "code" in given:
            answer = self.tokens.redeem(given["code"], expiring=expiring)
            self.webhooks.reinstalled()
            return answer
        if kind == "refresh_token" and given.get("refresh_token"):
            return self.tokens.refresh(given["refresh_token"])
        if kind == _TOKEN_EXCHANGE:
            return self._exchanged(given, expiring=expiring)
        if kind == "client_credentials":
            raise GrantError(400, "shop_not_permitted", "Client credentials cannot be performed on this shop.")
        raise GrantError(400, "invalid_request", "The request lacks a parameter or has an unsupported one")

    def _exchanged(self, given: Mapping[str, str], *, expiring: bool) -> Json:
        kinds = {given.get("subject_token_type"), given.get("requested_token_type")}
        if kinds != {_OFFLINE_TOKEN} or not expiring:
            raise GrantError(400, "invalid_request", "The sandbox exchanges permanent tokens for expiring ones only")
        return self.tokens.migrate(given.get("subject_token", ""))

    # API

    async def _graphql(self, request: Request, version: str) -> Response:
        if not _VERSION.fullmatch(version) or version > API_VERSION:
            return JSONResponse({"errors": "Not Found"}, 404)
        # A version that is no longer served falls forward; only one is served here.
        headers = {"X-Shopify-API-Version": API_VERSION, "X-Request-Id": str(uuid.uuid4())}
        pair = self.tokens.check(request.headers.get("x-shopify-access-token", ""))
        if pair is None:
            return JSONResponse({"errors": _UNAUTHORIZED}, 401, headers)
        if not pair.refresh and self.rules.refuse_permanent:
            return JSONResponse({"errors": _NON_EXPIRING}, 403, headers)
        asked = await _json(request)
        if not isinstance(asked.get("query"), str) or not isinstance(asked.get("variables") or {}, dict):
            return JSONResponse({"errors": {"query": "Required parameter missing or invalid"}}, 400, headers)
        return _written(self._run(asked, pair), headers)

    def _run(self, asked: Json, pair: Pair) -> Json:
        self._count(asked)
        context = self.context()
        context.scopes = pair.scopes
        return shopify_graphql.run(context, self._documents, asked, self.bucket)

    def _count(self, asked: Json) -> None:
        try:
            operation = operation_of(self._documents.read(asked["query"]), asked.get("operationName"))
        except Refused:
            return
        for node in operation.selection_set.selections if operation else ():
            if isinstance(node, FieldNode):
                self.operations[node.name.value] += 1


class Shopify:
    """All Shopify shops of the sandbox."""

    hosts: Sequence[str] = HOSTS

    def __init__(self, clock: Callable[[], float], http: Callable[[], httpx.AsyncClient]) -> None:
        self.sites: dict[str, Site] = {}
        self.app = Registration(CLIENT_ID, CLIENT_SECRET)
        self.now = clock
        self._http = http
        self._documents = Documents()

    def open(self, name: str, **wishes: Any) -> Site:
        """A new shop, seeded; one of the same name is replaced."""
        site = Site(Shop(name, self.now, **wishes), self.app, self._http, self._documents)
        self.sites[name] = site
        return site

    def routes(self) -> list[Route]:
        """The control API."""
        return shopify_control.routes(self)

    async def answer(self, request: Request, stop: asyncio.Event) -> Response:
        """One request to a shop or to the storage, through the faults ordered for that shop."""
        host = (request.url.hostname or "").lower()
        if host == STORAGE_HOST:
            return await self._stored(request, stop)
        site = self.sites.get(host.removesuffix(_SHOPS))
        if site is None:
            return _html(_NO_SHOP, 404)
        fault = site.faults.next(request.method, request.url.path)
        answer = faults.answer(fault, request, site.answer, stop) if fault else site.answer(request)
        return await site.traffic.count(f"{request.method} {request.url.path}", answer)

    async def deliver(self) -> None:
        """Work on bulk operations and send the webhooks that are due."""
        for site in list(self.sites.values()):
            site.bulk.advance(0.25)
            if not site.webhooks.paused:
                await site.webhooks.deliver()

    async def _stored(self, request: Request, stop: asyncio.Event) -> Response:
        for site in self.sites.values():
            found = shopify_bulk.named(site.bulk.operations, request.url.path)
            if found is None:
                continue
            one, now = found, site.shop.now()

            async def genuine(request: Request) -> Response:
                return _file(one, request, now)  # noqa: B023 -- called before the loop goes on

            path = f"/{STORAGE_HOST}{request.url.path}"
            fault = site.faults.next(request.method, path)
            answer = faults.answer(fault, request, genuine, stop) if fault else genuine(request)
            return await site.traffic.count(f"{request.method} /{STORAGE_HOST}", answer)
        return Response("<Error><Code>NoSuchKey</Code></Error>", 404, media_type="application/xml")


_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def signature(params: Mapping[str, str], secret: str) -> str:
    """The ``hmac`` of a callback: sorted, percent-encoded, joined, HMAC-SHA256 in hex."""
    text = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(params.items()))
    return hmac.digest(secret.encode(), text.encode(), "sha256").hex()


def _bucket(shop: Shop) -> Bucket:
    rate = 100.0 * _PLANS.get(shop.plan, 1)
    return Bucket(rate * 20, rate, rate * 20, shop.precisely())


def _scopes(text: str) -> tuple[str, ...]:
    """Scopes as Shopify keeps them: each once, and none that another implies."""
    named = dict.fromkeys(filter(None, re.split(r"[,\s]+", text)))
    return tuple(
        scope
        for scope in named
        if scope.replace("read_", "write_", 1) == scope or not {scope.replace("read_", "write_", 1)} & set(named)
    )


def _implied(scopes: tuple[str, ...]) -> list[str]:
    return [*scopes, *(scope.replace("write_", "read_", 1) for scope in scopes)]


def _may_return(uri: str, allowed: tuple[str, ...]) -> bool:
    if allowed:
        return uri in allowed
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return bool(parts.hostname) and (parts.scheme == "https" or parts.hostname in _LOOPBACK)


def _consent(shop: Shop, scopes: tuple[str, ...], page: str) -> str:
    wanted = "".join(f"<li><code>{html.escape(scope)}</code></li>" for scope in scopes)
    return (
        f"<h1>Install storelink on {html.escape(shop.domain)}?</h1><p>The app will be able to use:</p><ul>{wanted}</ul>"
        '<form method="post" action="grant">'
        f'<input type="hidden" name="authenticity_token" value="{page}">'
        '<button name="decision" value="install">Install</button> '
        '<button name="decision" value="cancel">Cancel</button></form>'
    )


def _html(body: str, status: int = 200) -> Response:
    page = f"<!DOCTYPE html><html><head><title>Shopify (sandbox)</title></head><body>{body}</body></html>"
    return Response(page, status, media_type="text/html; charset=utf-8")


def _written(answer: Json, headers: dict[str, str]) -> Response:
    body = json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(body, 200, headers, media_type="application/json; charset=utf-8")


async def _json(request: Request) -> Json:
    try:
        read = json.loads(await request.body())
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


async def _fields(request: Request) -> dict[str, str]:
    """The fields of a token request, JSON or form, as text."""
    if "json" in request.headers.get("content-type", ""):
        read = await _json(request)
        return {name: str(value) for name, value in read.items() if value is not None}
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace")))


def _file(one: shopify_bulk.Operation, request: Request, now: int) -> Response:
    """The result of a bulk operation, or a part of it."""
    query = request.query_params
    if (query.get("Signature"), query.get("Expires")) != (one.signature, str(one.expires)):
        return Response("<Error><Code>SignatureDoesNotMatch</Code></Error>", 403, media_type="application/xml")
    if now >= one.expires:
        return Response(shopify_bulk.expired(one, now), 400, media_type="application/xml")
    headers = {"Accept-Ranges": "bytes", "ETag": f'"{one.signature[:32]}"'}
    part = _part(request.headers.get("range", ""), len(one.result))
    if part is None:
        return Response(one.result, 200, headers, media_type="application/jsonl")
    start, end = part
    if start >= end:
        return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{len(one.result)}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(one.result)}"
    return Response(one.result[start:end], 206, headers, media_type="application/jsonl")


def _part(text: str, size: int) -> tuple[int, int] | None:
    """The part that a Range header asks for; None where it asks for all, or for nothing that is understood."""
    found = _RANGE.fullmatch(text)
    if found is None or found[1] == found[2] == "":
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size
    return int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
