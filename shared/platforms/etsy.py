"""Etsy: sellers approve our app by OAuth; its Open API v3 is read with the app's key and the seller's token.

Documented at https://developers.etsy.com/documentation/; where that is silent or wrong, what Etsy's staff and
others found at https://github.com/etsy/open-api decides.
"""

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hmac import compare_digest, digest
from http import HTTPStatus
from typing import Any, NamedTuple, TypeGuard
from urllib.parse import quote, urlencode

from shared import clock
from shared.addresses import normal_origin, target_of
from shared.clock import epoch, short
from shared.platforms.base import (
    FORGED,
    GENUINE,
    Answer,
    App,
    Callback,
    CallLimit,
    Connection,
    Delivery,
    Event,
    Http,
    Identity,
    IdPage,
    Json,
    OrderStatus,
    Page,
    PlatformError,
    PlatformName,
    ProductStatus,
    Record,
    Refusal,
    Resource,
    Tokens,
    Verdict,
)
from shared.platforms.reading import app_of, as_dict, as_dicts, callback_of, decoded, object_in, strange
from shared.platforms.signatures import is_recent, listed_in

_API = "https://api.etsy.com/v3/application"
_TOKEN = "https://api.etsy.com/v3/public/oauth/token"  # noqa: S105 - an address
_CONSENT = "https://www.etsy.com/oauth/connect"
_FORM = "application/x-www-form-urlencoded"

SCOPES = ("shops_r", "listings_r", "transactions_r")
"""What the app asks for; the contract names them at each call."""

# https://developers.etsy.com/documentation/reference#operation/getShopReceipt; sent with capitals, in fact
_ORDER_STATUS = {
    "open": OrderStatus.PENDING,
    "payment processing": OrderStatus.PENDING,
    "paid": OrderStatus.PAID,
    "completed": OrderStatus.COMPLETED,
    "canceled": OrderStatus.CANCELLED,
    "fully refunded": OrderStatus.REFUNDED,
}
_PARTLY_REFUNDED = "partially refunded"
_PRODUCT_STATUS = {
    "active": ProductStatus.ACTIVE,
    "draft": ProductStatus.DRAFT,
    "inactive": ProductStatus.INACTIVE,
    "sold_out": ProductStatus.INACTIVE,
    "expired": ProductStatus.INACTIVE,
}
STATES = tuple(_PRODUCT_STATUS)
"""Listings are listed state by state: without one, only those that are active."""
_REMOVED = "removed"
_INCLUDES = "Images,Inventory"

_MOST_ROWS = 100
_WHOLE_ROWS = 25
"""How many listings are read at once with images and variants: a hundred may have more than 8 MiB."""
_SEEN_AGAIN = 10
"""How many rows of a page the next one repeats: rows that leave meanwhile move the others up."""
_MOST_BACK = 50
_DEEP = 12_000
"""Other paging of Etsy's ends here; whether this does is nowhere said."""
_DEEPEST = 1_000_000
_MOST_IN_A_SECOND = 100_000
_MOST_AGAIN = 5
_PROOFS = 3

_EARLIEST = 1_104_537_600
"""2005: the year Etsy opened."""
_OVERLAP = 600
"""Seconds that a cycle reaches back behind the start of the one before: for late rows and clocks that differ."""
_DAY = 86_400
_ORDERS_REVIEWED = 30 * _DAY
_ERA = range(10**9, 10**11)
"""Unix seconds from 2001 on; durations are below, milliseconds beyond."""
_LONGEST_WAIT = 86_400
_A_SECOND, _WITHOUT_END = timedelta(seconds=1), timedelta(minutes=15)
_SCARCE = 10
"""Below one in so many of a day's calls, each page waits its fair share of the day."""

_MOST_SIGNATURES = 20
_LONGEST_LIFE = 10 * 365 * _DAY

_ID = re.compile(r"[1-9][0-9]{0,19}")
_SECRET = re.compile(r"[!-~]{1,4096}")
_SECONDS = re.compile(r"[0-9]{1,12}")
_OPENING = re.compile(r"[!-~]{1,256}\.[0-9]{1,12}\.")
"""What is signed before the body: id and time."""
_TOPIC = re.compile(r"[A-Za-z0-9_.]{1,60}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_ENTITY = re.compile(r"&(?:#([0-9]{1,7})|(amp|lt|gt|quot|apos));")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_PLACES = {10**places: places for places in range(7)}
_LARGEST_AMOUNT = 10**15
_DATE_HEADER = "%a, %d %b %Y %H:%M:%S GMT"
_HTTPS = 443

# Host and all are Etsy's to choose and ours to ignore: only ids are read from it, and no address is called.
_RESOURCES = (
    ("order.", Resource.ORDERS, re.compile(r"https://[^/?#]+/v3/application/shops/[0-9]+/receipts/([0-9]+)/?")),
    (
        # https://github.com/etsy/open-api/discussions/1747
        ("listing.", "inventory."),
        Resource.PRODUCTS,
        re.compile(r"https://[^/?#]+/v3/application/(?:shops/[0-9]+/)?listings/([0-9]+)(?:/[a-z0-9/_-]*)?"),
    ),
)

_OUR_APP = re.compile(r"api[ _-]?key|shared secret|keystring|client[ _]?id", re.IGNORECASE)
"""An unknown key is refused with 401 or 403 alike: https://github.com/etsy/open-api/discussions/1531."""
_BY_WORD = {"invalid_token": Refusal.CREDENTIALS, "insufficient_scope": Refusal.PERMISSION}
_BY_STATUS: Mapping[int, Refusal] = {
    401: Refusal.CREDENTIALS,
    403: Refusal.PERMISSION,
    404: Refusal.NOT_FOUND,
}
_MEANINGS = {
    Refusal.CREDENTIALS: "Etsy does not take the access token.",
    Refusal.PERMISSION: "The app or the seller's grant may not do this at Etsy.",
    Refusal.NOT_FOUND: "Etsy says that this does not exist.",
    Refusal.REQUEST: "Etsy refused our request.",
}
_GRANT_ENDED = "Etsy says that the grant is no longer good: was the password changed, or the app removed?"
# https://www.rfc-editor.org/rfc/rfc6749#section-5.2
_OUR_FAULTS = {"invalid_request", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}

_PUBLIC = CallLimit(
    "public",
    # what needs no grant counts against the app's key, even with a token: https://github.com/etsy/open-api/issues/154
    re.compile(re.escape(_API) + r"/(listings/|shops/[0-9]+$|scopes$)"),
    per_day=10_000,
    per_second=10,
    told_in=("x-limit-per-second", "x-limit-per-day", "x-remaining-today"),
)
"""All else counts for each grant by itself: https://developer.etsy.com/documentation/essentials/rate-limits."""


class Etsy:
    """Fits Platform, ShowsNewest, ReceivesWebhooks, SignsWithApp, NotifiesApp and GrantsByOAuth.

    Webhook endpoints are made by hand in Etsy's portal, each with a signing secret of its own: the app's
    ``webhook_secret`` holds them all, separated by spaces. A grant is ended by the seller, at Etsy.
    """

    name = PlatformName.ETSY
    credential_sets = (frozenset({"access_token", "refresh_token"}),)
    parsed_headers = frozenset[str]()
    phrases = ()
    token_life = timedelta(hours=1)
    app_limits = (_PUBLIC,)

    def normal_domain(self, text: str) -> str:
        """The shop's page at Etsy, if it is given: nothing is ever called there."""
        if not text.strip():
            return ""
        address = normal_origin(text)
        if not _is_etsys(address):
            raise ValueError("The address must be one of Etsy's, such as https://www.etsy.com/shop/NAME, or left out.")
        return address

    def probe(self, connection: Connection, http: Http) -> Identity:
        """Scopes, user, shop. A shop on vacation is a shop."""
        shops = self.stores_of(connection, http)
        if not shops:
            raise PlatformError(
                Refusal.PERMISSION, "The Etsy account that approved has no shop: open one, or approve with another."
            )
        return shops[0]

    def fetch(self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime) -> Page:
        """The next page of a cycle; see :class:`_Window` and :class:`_Reading` for how they page."""
        api = _Api(connection, http, now)
        if resource is Resource.ORDERS:
            return _order_page(api, _Cycle.read(cursor, epoch(now)))
        return _product_page(api, _Reading.read(cursor, epoch(now)))

    def fetch_one(self, connection: Connection, resource: Resource, id: str, http: Http) -> Record:
        """The record by its id. A listing of another shop does not exist in this one."""
        api = _Api(connection, http, clock.now())
        checked = _checked_id(id)
        if resource is Resource.ORDERS:
            row = _same(api.get(f"/shops/{api.shop}/receipts/{checked}"), "receipt_id", checked)
        else:
            row = _listing(api, checked)
        try:
            return _order(row) if resource is Resource.ORDERS else _product(row)
        except ValueError:
            raise PlatformError(Refusal.NOT_UNDERSTOOD, f"{resource} {id} was not understood.") from None

    def list_ids(
        self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime
    ) -> IdPage:
        """All listings, whatever their state; receipts of the last 30 days, as they are never deleted."""
        api = _Api(connection, http, now)
        return _order_ids(api, cursor) if resource is Resource.ORDERS else _product_ids(api, cursor)

    def newest_orders(self, connection: Connection, http: Http, now: datetime) -> Sequence[Record]:
        """By their times of creation."""
        newest = {"sort_on": _LIMITS["created"].sort_on, "sort_order": "desc", "limit": str(_MOST_ROWS)}
        return _orders(_Api(connection, http, now).page("receipts", newest).rows)[0]

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: datetime) -> Verdict:
        """As Standard Webhooks, and Etsy's own description of the header besides: the bare base64.

        https://developers.etsy.com/documentation/essentials/webhooks
        """
        headers, body = delivery.headers, delivery.body
        try:
            id, stamp = headers["webhook-id"], headers["webhook-timestamp"]
            given = headers["webhook-signature"].encode()
            opening = f"{id}.{stamp}."
            if not (body and _OPENING.fullmatch(opening) and is_recent(int(stamp), now)):
                return FORGED
        except (KeyError, ValueError):  # int reads no time that has a full stop
            return FORGED
        entries = given.split(b" ")
        if len(entries) > 1:
            entries = listed_in(entries, _MOST_SIGNATURES)
        return GENUINE if _is_signed(entries, opening.encode() + body, secrets) else FORGED

    def app_secrets(self, app: App) -> Sequence[str]:
        """The signing secrets of the endpoints in Etsy's portal; neither key nor shared secret signs anything."""
        return app.more.get("webhook_secret", "").split()

    def topic(self, delivery: Delivery) -> str:
        """As the body names it."""
        named = _plain(object_in(delivery.body).get("event_type"))
        return named if _TOPIC.fullmatch(named) else ""

    def event_id(self, delivery: Delivery) -> str:
        """Stays the same when a delivery is tried again."""
        return delivery.headers.get("webhook-id", "")

    def store_of(self, delivery: Delivery) -> str:
        """The shop's id, which comes as a number or as text."""
        named = _plain(object_in(delivery.body).get("shop_id"))
        return named if _ID.fullmatch(named) else ""

    def parse(self, delivery: Delivery) -> Sequence[Event]:
        """What is to be looked up. The resource's address is never called: only the id is taken out of it."""
        body = decoded(delivery.body)
        topic = body.get("event_type") if isinstance(body, dict) else None
        if not isinstance(topic, str):
            raise ValueError("The body is no event of Etsy.")  # noqa: TRY004 - what the Protocol promises
        for prefix, resource, address in _RESOURCES:
            if topic.startswith(prefix):
                match = address.fullmatch(_plain(body.get("resource_url")))
                return [Event(resource, _id(match[1] if match else None))]
        return []

    def authorization_url(
        self,
        app: App,
        domain: str,  # noqa: ARG002 - the shop is that of the account that approves
        *,
        state: str,
        return_url: str,
        challenge: str,
    ) -> str:
        """https://developers.etsy.com/documentation/essentials/authentication."""
        query = {
            "response_type": "code",
            "client_id": app.client_id,
            "redirect_uri": return_url,
            "scope": " ".join(SCOPES),
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{_CONSENT}?{urlencode(query, quote_via=quote)}"

    def read_callback(self, app: App, query: Sequence[tuple[str, str]], now: datetime) -> Callback:  # noqa: ARG002
        """Nothing here is signed: the state is the only proof. A seller who declines brings an ``error``."""
        found = callback_of(query)
        return Callback(found["state"], "" if "error" in found else found.get("code", ""))

    def known_store_id(self, domain: str) -> str | None:  # noqa: ARG002
        """Only the platform tells."""
        return None

    def exchange(
        self,
        app: App,
        domain: str,  # noqa: ARG002
        code: str,
        *,
        return_url: str,
        verifier: str,
        http: Http,
        now: datetime,
    ) -> Tokens:
        """The tokens for a code. What was granted is asked for by ``stores_of`` where the answer does not tell."""
        form = {
            "grant_type": "authorization_code",
            "client_id": app.client_id,
            "redirect_uri": return_url,
            "code": code,
            "code_verifier": verifier,
        }
        granted = _token_call(app, form, http, now)
        tokens = _tokens(granted, now)
        if isinstance(granted.get("scope"), str):
            _require(granted["scope"].split())
        return tokens

    def stores_of(self, connection: Connection, http: Http) -> Sequence[Identity]:
        """The one shop of the account that approved, if it has one."""
        api = _Api(connection, http, clock.now())
        scopes = api.scopes()
        if scopes is not None:
            _require(scopes)
        shop_id = _shop_id(api)
        return [_identity(_shop(api, shop_id), shop_id, connection.domain, scopes or ())] if shop_id else []

    def refresh(self, connection: Connection, http: Http, now: datetime) -> Tokens:
        """A new pair; the one that was spent is dead. All of them die when the seller changes the password.

        https://github.com/etsy/open-api/issues/519
        """
        refresh_token = connection.credentials.get("refresh_token", "")
        if not _SECRET.fullmatch(refresh_token):
            raise PlatformError(Refusal.CREDENTIALS, "The store has no refresh token.")
        app = app_of(connection, "Etsy")
        form = {"grant_type": "refresh_token", "client_id": app.client_id, "refresh_token": refresh_token}
        return _tokens(_token_call(app, form, http, now), now)


class _Api:
    """The API for one shop, for as long as one call to the adapter lasts."""

    def __init__(self, connection: Connection, http: Http, now: datetime) -> None:
        self.now = now
        self._app = app_of(connection, "Etsy")
        self._shop = connection.store_id
        self._http = http
        self._token = connection.credentials.get("access_token", "")
        self._calls = 0
        self._headers: Mapping[str, str] = {}
        if not _SECRET.fullmatch(self._token):
            raise PlatformError(Refusal.CREDENTIALS, "The store has no access token.")

    @property
    def shop(self) -> str:
        """The shop's id, as part of a path."""
        if not _ID.fullmatch(self._shop):
            raise PlatformError(Refusal.REQUEST, "The store has no shop id of Etsy.")
        return self._shop

    @property
    def ready_at(self) -> datetime | None:
        """When the next page may be asked for, by what Etsy says is left of the second and of the day.

        The day is a sliding one. When little is left of it, calls are spread as evenly as they come back.
        """
        left, allowed, at_once = (
            _seconds(self._headers.get(name, ""))
            for name in ("x-remaining-today", "x-limit-per-day", "x-remaining-this-second")
        )
        if left is not None and allowed and left * _SCARCE < allowed:
            return self.now + timedelta(seconds=min(self._calls * _DAY / allowed, _LONGEST_WAIT))
        return self.now + _A_SECOND if at_once == 0 else None

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        """The answer's object."""
        headers = {"x-api-key": _api_key(self._app), "authorization": f"Bearer {self._token}"}
        answer = self._http.request("GET", f"{_API}{path}", params=query, headers=headers)
        self._calls += 1
        self._headers = answer.headers
        return _read(answer, self.now)

    def page(self, path: str, query: Mapping[str, str]) -> "_Found":
        """A page of one of the shop's lists: where there is no such list, there is no such shop."""
        try:
            return _found(self.get(f"/shops/{self.shop}/{path}", query))
        except PlatformError as error:
            if error.refusal is not Refusal.NOT_FOUND:
                raise
            raise _shop_gone(self._shop) from None

    def scopes(self) -> Sequence[str] | None:
        """What the token was granted; ``None`` where Etsy does not say, and the next call must."""
        headers = {"x-api-key": _api_key(self._app), "content-type": _FORM}
        content = urlencode({"token": self._token}).encode()
        answer = self._http.request("POST", f"{_API}/scopes", headers=headers, content=content)
        try:
            granted = _read(answer, self.now).get("scopes")
        except PlatformError as error:
            if error.refusal in {Refusal.CREDENTIALS, Refusal.PERMISSION, Refusal.NOT_FOUND, Refusal.REQUEST}:
                return None
            raise
        return [_text(each) for each in granted] if isinstance(granted, list) else None


class _Found(NamedTuple):
    """One page of a list, and how many rows there are in all."""

    rows: Sequence[Json]
    total: int


def _found(answer: Json) -> _Found:
    rows, total = answer.get("results"), answer.get("count")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or not _is_int(total):
        raise strange("Etsy answered with something else than a list.")
    return _Found(rows, total)


def _api_key(app: App) -> str:
    """Both halves on every call since February 2026: https://github.com/etsy/open-api/discussions/1529."""
    return f"{app.client_id}:{app.client_secret}"


def _shop_id(api: _Api) -> str | None:
    try:
        me = api.get("/users/me")
    except PlatformError as error:
        if error.refusal is Refusal.NOT_FOUND:
            return None
        raise
    if _id_or_none(me.get("user_id")) is None:
        raise strange("Etsy does not say whose the token is.")
    return _id_or_none(me.get("shop_id"))


def _shop(api: _Api, shop_id: str) -> Json:
    try:
        return _same(api.get(f"/shops/{shop_id}"), "shop_id", shop_id)
    except PlatformError as error:
        if error.refusal is not Refusal.NOT_FOUND:
            raise
        raise _shop_gone(shop_id) from None


def _shop_gone(shop_id: str) -> PlatformError:
    return PlatformError(
        Refusal.PERMISSION, f"Etsy does not show shop {shop_id}: it may be closed or suspended.", status=404
    )


def _identity(shop: Json, shop_id: str, domain: str, scopes: Iterable[str]) -> Identity:
    """Etsy tells no timezone. Its link to the shop carries marks of who followed it, which are dropped."""
    currency = _plain(shop.get("currency_code"))
    return Identity(
        store_id=shop_id,
        domain=_address_of(shop) or domain,
        store_name=_text(shop.get("shop_name")) or None,
        currency=currency if _CURRENCY.fullmatch(currency) else None,
        scopes=frozenset(scopes),
    )


def _address_of(shop: Json) -> str:
    try:
        address = normal_origin(_plain(shop.get("url")))
        return address if _is_etsys(address) else ""
    except ValueError:
        return ""


def _is_etsys(address: str) -> bool:
    host, port = target_of(address)
    return port == _HTTPS and f".{host}".endswith(".etsy.com")


def _require(granted: Iterable[str]) -> None:
    missing = [scope for scope in SCOPES if scope not in granted]
    if missing:
        raise PlatformError(Refusal.PERMISSION, f"The seller's grant lacks the scopes {', '.join(missing)}.")


# Orders


class _Window(NamedTuple):
    """Where a reading of receipts by time stands, in unix seconds; it ends before ``end``.

    A page that comes in the order of time is taken, and the next one begins with its last second: a receipt that
    changes meanwhile moves to a time that is still to come, so none is skipped. Where a page comes in another
    order, or shows a receipt that changed as it was read, the window is made narrower until one page holds it.
    A single second with more receipts than a page is read by offset, in the order of their ids, and once more
    if some left it meanwhile.
    """

    begin: int
    end: int
    until: int
    offset: int = 0
    total: int = 0
    again: int = 0

    @classmethod
    def over(cls, begin: int, end: int) -> "_Window":
        end = max(end, begin + 1)
        return cls(begin, end, end)

    def page(self, api: _Api, by: str) -> _Found:
        """The receipts whose time called ``by`` is in the window."""
        limits = _LIMITS[by]
        query = {
            limits.earliest: str(self.begin),
            limits.latest: str(self.until - 1),
            "sort_on": limits.sort_on if self._span > 1 else "receipt_id",
            "sort_order": "asc",
            "limit": str(_MOST_ROWS),
            "offset": str(self.offset),
        }
        return api.page("receipts", query)

    def after(self, found: _Found, by: str) -> "_Step":
        if self.offset + len(found.rows) >= found.total:
            return self._after_last(found)
        if self._span == 1:
            return self._deeper(found)
        ordered = self._ordered(found.rows, _LIMITS[by].fields)
        if ordered is None:
            narrower = min(self._span // 2, 3 * self._span * _MOST_ROWS // (4 * found.total))
            return _Step(self._replace(until=self.begin + max(narrower, 1)), takes=False)
        first, last = ordered
        if first < last:
            return _Step(self._replace(begin=last))
        # one second fills the page, and may be the last as well as the first: what is before it is asked for
        return _Step(self._replace(until=max(last, self.begin + 1)), takes=False)

    def _after_last(self, found: _Found) -> "_Step":
        moved = bool(self.offset) and found.total != self.total
        if moved and self.again < _MOST_AGAIN:
            return _Step(self._replace(offset=0, total=0, again=self.again + 1))
        partial = "Too many receipts of one second changed while they were read." if moved else None
        following = _Window(self.until, self.end, self.end) if self.until < self.end else None
        return _Step(following, partial=partial)

    def _deeper(self, found: _Found) -> "_Step":
        offset, again = self.offset + len(found.rows), self.again + (len(found.rows) < _MOST_ROWS)
        if not found.rows or offset > _MOST_IN_A_SECOND or again > _MOST_AGAIN:
            raise strange("Etsy's receipts of one second have no end.")
        total = self.total if self.offset else found.total
        return _Step(self._replace(offset=offset, total=total, again=again))

    @property
    def _span(self) -> int:
        return self.until - self.begin

    def _ordered(self, rows: Sequence[Json], fields: Sequence[str]) -> tuple[int, int] | None:
        """The times of the first and the last row, where all are in the order of time and within the window."""
        times = [_stamp(row, fields) for row in rows]
        if not times or times[0] < self.begin or times[-1] >= self.until or sorted(times) != times:
            return None
        return times[0], times[-1]


class _Step(NamedTuple):
    """What follows a page of receipts."""

    following: _Window | None
    takes: bool = True
    """Whether the receipts of the page count; otherwise they are asked for again in narrower windows."""
    partial: str | None = None


class _Limits(NamedTuple):
    """How the query and the receipt call a time."""

    earliest: str
    latest: str
    sort_on: str
    fields: Sequence[str]


_LIMITS = {
    "updated": _Limits("min_last_modified", "max_last_modified", "updated", ("updated_timestamp", "update_timestamp")),
    "created": _Limits("min_created", "max_created", "created", ("created_timestamp", "create_timestamp")),
}


class _Cycle(NamedTuple):
    """A cycle of orders: by the time of change, then once a day those of the last 30 days by creation.

    The second reading is for refunds and cancellations, which need not touch the time of change:
    https://github.com/etsy/open-api/issues/513 and https://github.com/etsy/open-api/issues/604.
    """

    start: int
    window: _Window
    reviewed: int
    by: str = "updated"

    @classmethod
    def read(cls, cursor: Json | None, now: int) -> "_Cycle":
        if cursor and "window" in cursor:
            return cls(**{**cursor, "window": _Window(**cursor["window"])})
        begin, reviewed = (int((cursor or {}).get(*each)) for each in (("begin", _EARLIEST), ("reviewed", now)))
        return cls(now, _Window.over(begin, now + 1), reviewed)

    def after(self, following: _Window | None) -> tuple[Json, bool]:
        """The cursor, and whether the cycle is done."""
        if following is None and self.by == "updated" and self.reviewed <= self.start - _DAY:
            following = _Window.over(self.start - _ORDERS_REVIEWED, self.start + 1)
            return self._replace(window=following, reviewed=self.start, by="created").written(), False
        if following is None:
            return {"begin": self.start - _OVERLAP, "reviewed": self.reviewed}, True
        return self._replace(window=following).written(), False

    def written(self) -> Json:
        return {**self._asdict(), "window": self.window._asdict()}


def _order_page(api: _Api, cycle: _Cycle) -> Page:
    found = cycle.window.page(api, cycle.by)
    step = cycle.window.after(found, cycle.by)
    records, bad = _orders(found.rows if step.takes else ())
    partial = f"Not understood: orders {', '.join(bad)}." if bad else step.partial
    cursor, done = cycle.after(step.following)
    return Page(records, cursor, done, partial, api.ready_at)


def _orders(rows: Sequence[Json]) -> tuple[list[Record], list[str]]:
    """The records of a page, and the ids of those that could not be read."""
    records, bad = [], []
    for row in rows:
        try:
            records.append(_order(row))
        except ValueError:
            bad.append(_shown(row.get("receipt_id")))
    return records, bad


def _order_ids(api: _Api, cursor: Json | None) -> IdPage:
    now = epoch(api.now)
    window = _Window(**cursor) if cursor else _Window.over(now - _ORDERS_REVIEWED, now + 1)
    since = datetime.fromtimestamp(window.end - 1 - _ORDERS_REVIEWED, UTC)
    found = window.page(api, "created")
    step = window.after(found, "created")
    ids = _listed(found.rows, "receipt_id") if step.takes else []
    following = step.following._asdict() if step.following else {}
    return IdPage(ids, following, step.following is None, since, api.ready_at)


def _order(row: Json) -> Record:
    """An order, whole in a list as well.

    Fees are none: they come one call an order, once it is settled, and a look-up that had them would
    disagree with every list after it.
    """
    order_id = _id(row.get("receipt_id"))
    word = _required_text(row.get("status"))
    lines = as_dicts(row.get("transactions"))
    total = _required_money(row.get("grandtotal"))
    refunds = as_dicts(row.get("refunds"))
    created = _time(_stamp(row, _LIMITS["created"].fields))
    updated = _latest(row, refunds) or created
    if updated is None:
        raise ValueError("no time of change")
    body: Json = {
        "id": order_id,
        "number": order_id,
        "status": _order_status(word, row, lines).value,
        "platformStatus": word,
        "total": total.amount,
        "refundedTotal": _refunded(refunds),
        "currency": total.currency,
        "lines": [_line(line) for line in lines],
        "customer": _customer(row),
        "shippingAddress": _address(row),
        "note": _text(row.get("message_from_buyer")) or None,
        "fees": [],
        "createdAt": short(created) if created else None,
        "updatedAt": short(updated),
    }
    return Record(order_id, updated, body, created)


def _latest(row: Json, refunds: Sequence[Json]) -> datetime | None:
    """A refund leaves the receipt's own time of change as it was."""
    stamps = (_stamp(row, _LIMITS["updated"].fields), *(_stamp(each, ("created_timestamp",)) for each in refunds))
    return _time(max(stamps))


def _order_status(word: str, row: Json, lines: Sequence[Json]) -> OrderStatus:
    """What is left of an order that was refunded in part must still be shipped, or has been."""
    known = word.lower()
    if known == _PARTLY_REFUNDED:
        known = "completed" if row.get("is_shipped") is True else "paid"
    status = _ORDER_STATUS.get(known, OrderStatus.OTHER)
    shipped = [bool(line.get("shipped_timestamp")) for line in lines]
    if status is OrderStatus.PAID and any(shipped) and not all(shipped):
        return OrderStatus.PARTLY_SHIPPED
    return status


def _line(line: Json) -> Json:
    price = _required_money(line.get("price")).amount
    quantity = line.get("quantity")
    if not _is_int(quantity) or not 0 <= quantity < _LARGEST_AMOUNT:
        raise ValueError("no quantity")
    return {
        "id": _id(line.get("transaction_id")),
        "productId": _id_or_none(line.get("listing_id")),
        "variantId": _id_or_none(line.get("product_id")),
        "title": _text(line.get("title")),
        "sku": _text(line.get("sku")) or None,
        "quantity": quantity,
        "unitPrice": price,
        "total": format(Decimal(price) * quantity, "f"),
        "properties": _properties(line),
    }


def _properties(line: Json) -> list[Json]:
    """What the buyer chose and wrote: a personalisation is one of the variations."""
    chosen = [
        {"name": _text(each.get("formatted_name")), "value": _text(each.get("formatted_value"))}
        for each in as_dicts(line.get("variations"))
    ]
    return chosen or [{"name": name, "value": value} for name, value in _attributes(line.get("product_data")).items()]


def _customer(row: Json) -> Json | None:
    """The buyer; Etsy leaves the e-mail out for apps that it has not approved for it."""
    customer_id = _id_or_none(row.get("buyer_user_id"))
    name, email = _text(row.get("name")), _text(row.get("buyer_email"))
    if not (customer_id or name or email):
        return None
    return {"id": customer_id, "name": name or None, "email": email or None}


def _address(row: Json) -> Json | None:
    parts = {
        "line1": _text(row.get("first_line")),
        "line2": _text(row.get("second_line")),
        "city": _text(row.get("city")),
        "region": _text(row.get("state")),
        "postalCode": _text(row.get("zip")),
        "country": _text(row.get("country_iso")),
    }
    if not any(parts.values()):
        return None
    named = {"name": _text(row.get("name")), "company": "", **parts, "phone": ""}
    return {name: value or None for name, value in named.items()}


def _refunded(refunds: Sequence[Json]) -> str | None:
    amounts = [Decimal(_required_money(refund.get("amount")).amount) for refund in refunds]
    return format(sum(amounts, Decimal(0)), "f") if amounts else None


# Products


class _Walk(NamedTuple):
    """Where a reading of all listings stands: state by state, by offset, each page beginning with rows that are known.

    Rows that leave a state move those behind them up, towards pages that were read already. A page that begins
    with none of the rows that the last one ended with shows that too many left: the reading steps back.
    """

    state: int = 0
    offset: int = 0
    known: Sequence[str] = ()
    back: int = 0

    @classmethod
    def read(cls, fields: Json | None) -> "_Walk":
        return cls(**fields) if fields else cls()

    @property
    def is_over(self) -> bool:
        return self.state >= len(STATES)

    def page(self, api: _Api, limit: int, *, whole: bool = False) -> _Found:
        """Sorted by the time of change as far as Etsy does: it says that it does for searches only."""
        query = {
            "state": STATES[self.state],
            "limit": str(limit),
            "offset": str(self.offset),
            "sort_on": "updated",
            "sort_order": "desc",
            **({"includes": _INCLUDES} if whole else {}),
        }
        return api.page("listings", query)

    def after(self, ids: Sequence[str], found: _Found) -> "_Walk":
        """The place after a page with these ids; see :meth:`loses` for where it lost the thread."""
        if self.loses(ids) and self.back < _MOST_BACK:
            offset = max(self.offset - _MOST_ROWS, 0)
            return self._replace(offset=offset, known=self.known if offset else [], back=self.back + 1)
        rows = len(found.rows)
        if not rows or self.offset + rows >= found.total:
            return self.after_state()
        repeated = min(_SEEN_AGAIN, rows - 1)
        known = list(ids[-repeated:]) if repeated else []
        offset = self.offset + rows - repeated
        # the same rows again: others came before them just now, or Etsy does not turn the page
        same = bool(known) and known == list(self.known)
        if offset > _DEEPEST or (same and self.back >= _MOST_BACK):
            raise strange("Etsy gives the same listings again and again.")
        return self._replace(offset=offset, known=known, back=self.back + same)

    def loses(self, ids: Sequence[str]) -> bool:
        """Whether rows may lie between this page and the one before."""
        return bool(self.known) and not set(self.known) & set(ids)

    def after_state(self) -> "_Walk":
        return _Walk(self.state + 1, back=self.back)


class _Trust(NamedTuple):
    """Whether Etsy is seen to keep the order that it was asked for, within ``_OVERLAP``.

    What speaks for it: a listing that comes before a younger one and changed later, which the order that Etsy falls
    back to, the newest first, would not give. What speaks against it: a listing that changed after one before it.
    """

    proofs: int = 0
    breaks: int = 0
    changed: int = 0
    born: int = 0

    def after(self, rows: Iterable[Json]) -> "_Trust":
        trust = self
        for row in rows:
            trust = trust._after_row(_stamp(row, _CHANGED), _stamp(row, _BORN))
        return trust

    def _after_row(self, changed: int, born: int) -> "_Trust":
        lower = not self.changed or changed <= self.changed + _OVERLAP
        proves = bool(self.changed) and changed < self.changed - _OVERLAP and born > self.born
        return _Trust(self.proofs + proves, self.breaks + (not lower), changed, born)

    @property
    def is_earned(self) -> bool:
        return self.proofs >= _PROOFS and not self.breaks


class _Reading(NamedTuple):
    """A cycle of products. Etsy has no filter by time of change, so a cycle walks through the listings of all states.

    Once a day it reads all of them whole: variants may sell without a touch of the listing's time. The others list
    them without images and variants, a hundred a call, and read only those whole that changed since. Where Etsy is
    seen to sort by the time of change, they leave a state at the first listing that is older, if the state holds as
    many listings as the last time; so an idle shop costs a call for each state.
    """

    start: int
    since: int
    """What changed from here on is read whole; 0: everything is."""
    read_at: int
    """When everything was last read."""
    walk: _Walk = _Walk()
    trust: _Trust = _Trust()
    is_sorted: bool = False
    """Whether the last reading of everything showed that the order is kept."""
    counts: Sequence[int] = ()
    """How many listings each state held in the last cycle."""
    held: Sequence[int] = ()
    """The same for the states that this cycle has left."""
    is_thin: bool = False
    """Whether pages with images and variants were too much for Etsy, or for us."""

    @classmethod
    def read(cls, cursor: Json | None, now: int) -> "_Reading":
        last = cursor or {}
        if "walk" in last:
            return cls(**{**last, "walk": _Walk(**last["walk"]), "trust": _Trust(**last["trust"])})
        if last.get("read_at", 0) <= now - _DAY:
            return cls(now, 0, now, counts=last.get("counts", []))
        return cls(now, last["since"], last["read_at"], is_sorted=last["is_sorted"], counts=last["counts"])

    def written(self) -> tuple[Json, bool]:
        """The cursor, and whether the cycle is done."""
        if not self.walk.is_over:
            return {**self._asdict(), "walk": self.walk._asdict(), "trust": self.trust._asdict()}, False
        is_sorted = self.trust.is_earned if not self.since else self.is_sorted and not self.trust.breaks
        rest = {"read_at": self.read_at, "is_sorted": is_sorted, "counts": list(self.held)}
        return {"since": self.start - _OVERLAP, **rest}, True

    @property
    def is_whole(self) -> bool:
        """Whether the pages come with all that a listing has."""
        return not self.since and not self.is_thin

    def page(self, api: _Api) -> _Found:
        return self.walk.page(api, _MOST_ROWS if self.since else _WHOLE_ROWS, whole=self.is_whole)

    def wants(self, row: Json) -> bool:
        """Whether the listing is to be read whole. A state may change without a touch of the time of change."""
        times = (_stamp(row, _CHANGED), _stamp(row, _MOVED))
        return not all(times) or max(times) >= self.since

    def after(self, found: _Found) -> "_Reading":
        ids = _shown_ids(found.rows)
        known = set(self.walk.known)
        fresh = [row for row, id in zip(found.rows, ids, strict=True) if id not in known]
        walk = self.walk.after(ids, found)
        # what is met again on the way back says nothing of the order, nor of what lies between
        if walk.back > self.walk.back:
            return self._replace(walk=walk)
        trusting = self._replace(trust=self.trust.after(fresh))
        if walk.state > self.walk.state or trusting.is_past(fresh, found.total):
            return trusting.leaves(found.total)
        return trusting._replace(walk=walk)

    def is_past(self, rows: Sequence[Json], count: int) -> bool:
        """Whether all that follows in this state is known to be older."""
        before = self.counts[self.walk.state] if self.walk.state < len(self.counts) else -1
        trusted = bool(self.since) and self.is_sorted and not self.trust.breaks and before == count
        return trusted and any(0 < _stamp(row, _CHANGED) < self.since - _OVERLAP for row in rows)

    def leaves(self, count: int) -> "_Reading":
        """The beginning of the next state."""
        trust = _Trust(self.trust.proofs, self.trust.breaks)
        return self._replace(walk=self.walk.after_state(), trust=trust, held=[*self.held, count])


_CHANGED = ("updated_timestamp", "last_modified_timestamp")
_MOVED = ("state_timestamp", *_CHANGED)
_BORN = ("created_timestamp", "creation_timestamp")
_MADE = ("original_creation_timestamp", *_BORN)
"""A listing that is renewed is created anew, save for its first time."""


def _product_page(api: _Api, reading: _Reading) -> Page:
    try:
        found = reading.page(api)
    except PlatformError as error:
        following, partial = _around(reading, error)
        return Page([], *following.written(), partial)
    records, bad = _products(api, reading, found.rows)
    following = reading.after(found)
    partial = None
    if reading.walk.loses(_shown_ids(found.rows)) and following.walk.back == reading.walk.back:
        partial = "The listings moved too much to be read in order."
    if bad:
        partial = f"Not understood: products {', '.join(bad)}."
    return Page(records, *following.written(), partial, api.ready_at)


def _around(reading: _Reading, error: PlatformError) -> tuple[_Reading, str | None]:
    """Where the reading goes on without the page that was refused; raises ``error`` where it cannot."""
    if reading.is_whole and _is_size_to_blame(error):
        return reading._replace(is_thin=True), None
    if error.refusal is Refusal.REQUEST and error.status == HTTPStatus.BAD_REQUEST and reading.walk.offset >= _DEEP:
        state = STATES[reading.walk.state]
        return reading.leaves(-1), f"Etsy lists no more than {reading.walk.offset} listings that are {state}."
    raise error


def _is_size_to_blame(error: PlatformError) -> bool:
    """Whether a smaller answer may succeed: memory, time and our own cap run out on large ones."""
    if error.refusal is Refusal.NOT_THE_PLATFORM:
        return error.status in (None, HTTPStatus.OK)
    return error.refusal in {Refusal.TRANSIENT, Refusal.UNREACHABLE}


def _products(api: _Api, reading: _Reading, rows: Sequence[Json]) -> tuple[list[Record], list[str]]:
    """The records of a page, and the ids of those that could not be read."""
    records: list[Record] = []
    bad: list[str] = []
    if not reading.is_whole:
        wanted = [_shown(row.get("listing_id")) for row in rows if reading.wants(row)]
        rows, bad = _whole(api, wanted)
    for row in rows:
        try:
            records.append(_product(row))
        except ValueError:
            bad.append(_shown(row.get("listing_id")))
    return records, bad


def _whole(api: _Api, ids: Sequence[str]) -> tuple[list[Json], list[str]]:
    """The listings with all that they have, and the ids of those that Etsy cannot show; what is gone is left out."""
    bad = [id for id in ids if not _ID.fullmatch(id)]
    rest = [id for id in ids if _ID.fullmatch(id)]
    found: dict[str, Json] = {}
    for first in range(0, len(rest), _WHOLE_ROWS):
        found |= _batch(api, rest[first : first + _WHOLE_ROWS])
    for id in rest:
        if id not in found:
            try:
                found[id] = _listing(api, id)
            except PlatformError as error:
                # One listing that cannot be shown must not stop all others for ever.
                bad += [id] if error.refusal is not Refusal.NOT_FOUND else []
                if error.refusal is not Refusal.NOT_FOUND and not _is_answer_to_blame(error):
                    raise
    return list(found.values()), bad


def _batch(api: _Api, ids: Sequence[str]) -> dict[str, Json]:
    """As many of them as Etsy gives, in halves where the whole is too much or one is not there."""
    try:
        rows = _found(api.get("/listings/batch", {"listing_ids": ",".join(ids), "includes": _INCLUDES})).rows
    except PlatformError as error:
        if not _is_answer_to_blame(error) and error.refusal is not Refusal.NOT_FOUND:
            raise
        half = len(ids) // 2
        return {**_batch(api, ids[:half]), **_batch(api, ids[half:])} if half else {}
    return {id: row for row in rows if (id := _shown(row.get("listing_id"))) in ids}


def _is_answer_to_blame(error: PlatformError) -> bool:
    return error.refusal is Refusal.NOT_THE_PLATFORM and error.status in (None, HTTPStatus.OK)


def _listing(api: _Api, id: str) -> Json:
    row = _same(api.get(f"/listings/{id}", {"includes": _INCLUDES}), "listing_id", id)
    if _plain(row.get("shop_id")) != api.shop:
        raise PlatformError(Refusal.NOT_FOUND, f"Listing {id} is not one of this shop.")
    if row.get("state") == _REMOVED:
        raise PlatformError(Refusal.NOT_FOUND, f"Listing {id} was removed.")
    return row


def _product_ids(api: _Api, cursor: Json | None) -> IdPage:
    walk = _Walk.read(cursor)
    found = walk.page(api, _MOST_ROWS)
    ids = _listed(found.rows, "listing_id")
    following = walk.after(ids, found)
    return IdPage(ids, following._asdict(), following.is_over, ready_at=api.ready_at)


def _product(row: Json) -> Record:
    product_id = _id(row.get("listing_id"))
    state = _required_text(row.get("state"))
    created = _time(_stamp(row, _MADE))
    updated = _time(max(_stamp(row, _CHANGED), _stamp(row, _MOVED))) or created
    if updated is None:
        raise ValueError("no time of change")
    price = _money(row.get("price"))
    variants = _variants(row, product_id)
    body: Json = {
        "id": product_id,
        "title": _text(row.get("title")),
        "status": _PRODUCT_STATUS.get(state, ProductStatus.OTHER).value,
        "platformStatus": state,
        "price": price.amount if price else None,
        "currency": price.currency if price else None,
        "sku": _sku(row) or next((each["sku"] for each in variants if each["sku"]), None),
        "imageUrl": _image(row),
        "url": _plain(row.get("url")) or None,
        "variants": variants,
        "createdAt": short(created) if created else None,
        "updatedAt": short(updated),
    }
    return Record(product_id, updated, body, created)


def _variants(row: Json, product_id: str) -> list[Json]:
    """A listing without an inventory has one variant, itself, so that stock is always found there."""
    title = _text(row.get("title"))
    products = as_dicts(as_dict(row.get("inventory")).get("products"))
    if products:
        return [_variant(product, title) for product in products if product.get("is_deleted") is not True]
    price = _money(row.get("price"))
    itself = {"id": product_id, "title": title, "sku": _sku(row), "price": price.amount if price else None}
    return [{**itself, "inventoryQuantity": _quantity(row.get("quantity")), "attributes": {}}]


def _variant(product: Json, title: str) -> Json:
    offerings = [each for each in as_dicts(product.get("offerings")) if each.get("is_deleted") is not True]
    prices = [price for each in offerings if (price := _money(each.get("price")))]
    stock = [amount for each in offerings if (amount := _quantity(each.get("quantity"))) is not None]
    attributes = _attributes(product.get("property_values"))
    return {
        "id": _id(product.get("product_id")),
        "title": ", ".join(value for value in attributes.values() if value) or title,
        "sku": _text(product.get("sku")) or None,
        "price": prices[0].amount if prices else None,
        "inventoryQuantity": sum(stock) if stock else None,
        "attributes": attributes,
    }


def _attributes(properties: Any) -> dict[str, str]:
    """What makes a variant, by the property's name; a scale such as "US women's" stands behind it."""
    found = {}
    for each in as_dicts(properties):
        values = each.get("values")
        shown = ", ".join(_text(value) for value in values) if isinstance(values, list) else ""
        scale = _text(each.get("scale_name"))
        found[_text(each.get("property_name"))] = f"{shown} {scale}".strip() if shown else ""
    return found


def _sku(row: Json) -> str | None:
    skus = row.get("skus")
    return next((sku for each in skus if (sku := _text(each))), None) if isinstance(skus, list) else None


def _image(row: Json) -> str | None:
    """The one that buyers see first."""
    images = sorted(as_dicts(row.get("images")), key=lambda image: _quantity(image.get("rank")) or _LARGEST_AMOUNT)
    return (_plain(images[0].get("url_fullxfull")) or None) if images else None


# Webhooks


def _is_signed(given: Sequence[bytes], message: bytes, secrets: Iterable[str]) -> bool:
    """Whether one of the entries is a signature: ``v1,`` and base64, or base64 alone."""
    genuine = False
    for secret in secrets:
        try:  # first as a secret is usually spelled
            key = a2b_base64(secret.removeprefix("whsec_"), strict_mode=True)
        except ValueError:
            key = _key(secret)
        if key:
            expected = b2a_base64(digest(key, message, "sha256"), newline=False)
            for entry in given:
                genuine |= compare_digest(expected, entry.removeprefix(b"v1,"))
    return genuine


def _key(secret: str) -> bytes:
    """The bytes that a ``whsec_`` text stands for, however it is padded; none where it stands for none."""
    text = secret.removeprefix("whsec_").rstrip("=")
    try:
        return a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        return b""


# Answers


def _read(answer: Answer, now: datetime) -> Json:
    if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        raise _refusal(answer, now)
    try:
        found = decoded(answer.body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise strange("Etsy answered with something else than it does.", answer.status)
    return found


def _refusal(answer: Answer, now: datetime) -> PlatformError:
    """What an answer that is no success means. Its own text stays out of ours, as it may repeat what was sent."""
    word, text = _words(answer.body)
    status = answer.status
    if status == HTTPStatus.TOO_MANY_REQUESTS or (
        status == HTTPStatus.SERVICE_UNAVAILABLE and "retry-after" in answer.headers
    ):
        retry_at = _retry_at(answer.headers, text, now)
        return PlatformError(Refusal.RATE_LIMITED, "Etsy asks us to wait.", status=status, retry_at=retry_at)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return PlatformError(Refusal.TRANSIENT, f"Etsy failed with {status}.", status=status)
    if not word:
        return strange(f"Etsy answered {status} with something else than it does.", status)
    if _OUR_APP.search(text):
        detail = "Etsy does not take the app's key: are keystring and shared secret the current ones?"
        return PlatformError(Refusal.REQUEST, detail, status=status)
    refusal = _BY_WORD.get(word) or _BY_STATUS.get(status, Refusal.REQUEST)
    return PlatformError(refusal, f"{_MEANINGS[refusal]} (status {status})", status=status)


def _words(body: bytes) -> tuple[str, str]:
    """Etsy's word for an error, and all that it says; empty where the answer is none of its errors.

    Some refusals of what was sent are lists: https://github.com/etsy/open-api/issues/622.
    """
    try:
        found = decoded(body)
    except ValueError:
        return "", ""
    if isinstance(found, list):
        said = [_text(each.get("message")) for each in as_dicts(found)]
        return ("message" if any(said) else ""), " ".join(said)
    word = _text(as_dict(found).get("error"))
    return word, f"{word} {_text(as_dict(found).get('error_description'))}"


def _retry_at(headers: Mapping[str, str], text: str, now: datetime) -> datetime:
    """As Etsy says; a limit without a time is that of the second, or of a day that has no midnight."""
    wait = headers.get("retry-after", "")
    if _SECONDS.fullmatch(wait):
        return now + timedelta(seconds=min(int(wait), _LONGEST_WAIT))
    try:
        said = datetime.strptime(wait, _DATE_HEADER).replace(tzinfo=UTC)
        return min(said, now + timedelta(seconds=_LONGEST_WAIT))
    except ValueError:
        pass
    is_daily = headers.get("x-remaining-today") == "0" or "daily" in text
    return now + (_WITHOUT_END if is_daily else _A_SECOND)


def _token_call(app: App, form: Mapping[str, str], http: Http, now: datetime) -> Json:
    """One call to the token endpoint. The key is enough for Etsy; its secret never harms."""
    headers = {"x-api-key": _api_key(app), "content-type": _FORM}
    answer = http.request("POST", _TOKEN, headers=headers, content=urlencode(form).encode(), repeatable=False)
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return _read(answer, now)
    raise _token_refusal(answer, now)


def _token_refusal(answer: Answer, now: datetime) -> PlatformError:
    """Only a grant that is dead is CREDENTIALS: a person would be called for it."""
    error = _refusal(answer, now)
    word, text = _words(answer.body)
    if error.refusal in {Refusal.RATE_LIMITED, Refusal.TRANSIENT, Refusal.NOT_THE_PLATFORM}:
        return error
    if _OUR_APP.search(text) or word in _OUR_FAULTS:
        refusal, detail = Refusal.REQUEST, "Etsy refuses our app."
    elif word == "invalid_grant":
        refusal, detail = Refusal.CREDENTIALS, _GRANT_ENDED
    else:
        refusal, detail = Refusal.TRANSIENT, f"Etsy gave no tokens (status {answer.status})."
    return PlatformError(refusal, detail, status=answer.status)


def _tokens(granted: Json, now: datetime) -> Tokens:
    """An access token begins with the number of the user, a dot behind it, and is sent as a whole.

    How long the refresh token lives is not in the answer.
    """
    access, renewed = (granted.get(name) for name in ("access_token", "refresh_token"))
    if not all(isinstance(each, str) and _SECRET.fullmatch(each) for each in (access, renewed)):
        raise strange("Etsy's answer has no tokens.")
    life = granted.get("expires_in")
    end = now + timedelta(seconds=life) if _is_int(life) and 0 < life < _LONGEST_LIFE else None
    return Tokens(str(access), str(renewed), end)


def _same(row: Json, name: str, id: str) -> Json:
    """The row, if it is the one that was asked for."""
    if _plain(row.get(name)) != id:
        raise strange("Etsy answered about something else than was asked for.")
    return row


def _listed(rows: Sequence[Json], name: str) -> list[str]:
    try:
        return [_id(row.get(name)) for row in rows]
    except ValueError:
        raise strange("Etsy lists something without an id.") from None


def _shown_ids(rows: Sequence[Json]) -> list[str]:
    return [_shown(row.get("listing_id")) for row in rows]


def _shown(id: Any) -> str:
    return _plain(id)[:20] or "without an id"


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _plain(value: Any) -> str:
    """Text that can be stored, of a text or a number: JSON may carry half a surrogate pair, UTF-8 may not."""
    if _is_int(value):
        return str(value) if abs(value) < 10**20 else ""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _text(value: Any) -> str:
    """What a person wrote. Etsy writes some of it as HTML: https://github.com/etsy/open-api/issues/446."""
    if not isinstance(value, str):
        return ""
    return _ENTITY.sub(_character, _plain(value)) if "&" in value else _plain(value)


def _character(entity: re.Match[str]) -> str:
    if entity[2]:
        return _NAMED[entity[2]]
    number = int(entity[1])
    is_character = 32 <= number < 0xD800 or 0xE000 <= number <= 0x10FFFF or number in (9, 10, 13)
    return chr(number) if is_character else entity[0]


def _required_text(value: Any) -> str:
    text = _text(value)
    if not text:
        raise ValueError("a field is missing")
    return text


def _id(value: Any) -> str:
    text = _plain(value)
    if not _ID.fullmatch(text):
        raise ValueError("no id")
    return text


def _id_or_none(value: Any) -> str | None:
    text = _plain(value)
    return text if _ID.fullmatch(text) else None


def _checked_id(value: str) -> str:
    if not _ID.fullmatch(value):
        raise PlatformError(Refusal.NOT_FOUND, "This is no id of Etsy.")
    return value


class _Money(NamedTuple):
    """An amount as decimal text, and its currency."""

    amount: str
    currency: str


def _money(value: Any) -> _Money | None:
    """``amount`` is a whole number of the ``divisor``-th part of the currency's unit."""
    money = as_dict(value)
    amount, divisor, currency = money.get("amount"), money.get("divisor"), _plain(money.get("currency_code"))
    if not (_is_int(amount) and _is_int(divisor) and abs(amount) < _LARGEST_AMOUNT and divisor in _PLACES):
        return None
    if not _CURRENCY.fullmatch(currency):
        return None
    return _Money(format(Decimal(amount).scaleb(-_PLACES[divisor]), "f"), currency)


def _required_money(value: Any) -> _Money:
    money = _money(value)
    if money is None:
        raise ValueError("an amount is missing")
    return money


def _quantity(value: Any) -> int | None:
    return value if _is_int(value) and abs(value) < _LARGEST_AMOUNT else None


def _seconds(text: str) -> int | None:
    return int(text) if _SECONDS.fullmatch(text) else None


def _stamp(row: Json, fields: Sequence[str]) -> int:
    """Unix seconds, by the first of the names that has them; 0 where none has."""
    return next((stamp for name in fields if _is_int(stamp := row.get(name)) and stamp in _ERA), 0)


def _time(stamp: int) -> datetime | None:
    return datetime.fromtimestamp(stamp, UTC) if stamp else None
