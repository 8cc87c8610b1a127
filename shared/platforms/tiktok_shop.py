"""TikTok Shop: sellers approve our app in Seller Center; every call is signed with the app's secret.

Its pages (https://partner.tiktokshop.com/docv2) are drawn by scripts; the facts here are from them as the
unofficial client ``tiktok-shop-api`` was built from them, and the tests hold this file to that client.
"""

import json
import re
from binascii import hexlify
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hmac import compare_digest, digest
from http import HTTPStatus
from typing import Any, NamedTuple, TypeGuard
from urllib.parse import urlencode

from shared import clock
from shared.addresses import normal_origin, target_of
from shared.clock import epoch, short
from shared.platforms.base import (
    FORGED,
    GENUINE,
    Answer,
    App,
    Callback,
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
    Subscribed,
    Tokens,
    Verdict,
)
from shared.platforms.reading import app_of, as_dict, as_dicts, as_text, callback_of, decoded, object_in, strange

_API = "https://open-api.tiktokglobalshop.com"
_AUTH = "https://auth.tiktok-shops.com"
_SERVICES = {"US": "https://services.us.tiktokshop.com"}
_SERVICES_ELSEWHERE = "https://services.tiktokshop.com"

_SHOPS = "/authorization/202309/shops"
_WEBHOOKS = "/event/202309/webhooks"
_ORDERS_BY_ID = "/order/202507/orders"
_SEARCHES = {Resource.ORDERS: "/order/202309/orders/search", Resource.PRODUCTS: "/product/202502/products/search"}
_PAGE_SIZES = {Resource.ORDERS: 100, Resource.PRODUCTS: 25}
"""An order that is found is whole; a product costs a further call for its images and variants."""
_IDS_A_PAGE = 100

_SCOPES = frozenset({"seller.authorization.info", "seller.order.info", "seller.product.basic"})
"""What our calls need. Other names can be set as ``scopes`` of the app: these were read in code, not in a page."""
_SELLER = 0
"""``user_type`` of a token; others are of creators and partners."""

# https://partner.tiktokshop.com/docv2/page/tts-webhooks-overview
_TYPES = {
    1: "ORDER_STATUS_CHANGE",
    3: "RECIPIENT_ADDRESS_UPDATE",
    4: "PACKAGE_UPDATE",
    5: "PRODUCT_STATUS_CHANGE",
    6: "SELLER_DEAUTHORIZATION",
    7: "UPCOMING_AUTHORIZATION_EXPIRATION",
    11: "CANCELLATION_STATUS_CHANGE",
    12: "RETURN_STATUS_CHANGE",
    15: "PRODUCT_INFORMATION_CHANGE",
    16: "PRODUCT_CREATION",
    18: "PRODUCT_CATEGORY_CHANGE",
    37: "PRODUCT_AUDIT_STATUS_CHANGE",
}
_TOPICS = tuple(_TYPES.values())
_LARGEST_TYPE = 9_999

_ORDER_STATUS = {
    "UNPAID": OrderStatus.PENDING,
    "ON_HOLD": OrderStatus.PENDING,
    "AWAITING_SHIPMENT": OrderStatus.PAID,
    "AWAITING_COLLECTION": OrderStatus.PAID,
    "PARTIALLY_SHIPPING": OrderStatus.PARTLY_SHIPPED,
    "IN_TRANSIT": OrderStatus.COMPLETED,
    "DELIVERED": OrderStatus.COMPLETED,
    "COMPLETED": OrderStatus.COMPLETED,
    "CANCELLED": OrderStatus.CANCELLED,
    "CANCEL": OrderStatus.CANCELLED,  # as webhooks spell it
}
_PRODUCT_STATUS = {
    "ACTIVATE": ProductStatus.ACTIVE,
    "DRAFT": ProductStatus.DRAFT,
    "PENDING": ProductStatus.DRAFT,
    "FAILED": ProductStatus.DRAFT,
    "SCHEDULED": ProductStatus.DRAFT,
    "SELLER_DEACTIVATED": ProductStatus.INACTIVE,
    "PLATFORM_DEACTIVATED": ProductStatus.INACTIVE,
    "FREEZE": ProductStatus.INACTIVE,
}
_DELETED = "DELETED"
_UNIT_PROPERTIES = ("sku_name", "pod_info_id", "unboxing_sku_code")
_SAME_UNITS = (
    "product_id",
    "sku_id",
    "seller_sku",
    "product_name",
    "sale_price",
    "original_price",
    "is_gift",
    "is_pod_customized",
    *_UNIT_PROPERTIES,
)
"""What units must share to be one line: what was bought, at which price, and how it was customised."""
_REGION_LEVELS = ("state", "province", "region", "l1")
_CITY_LEVELS = ("city", "town", "municipality", "l3", "l2")

# The shops that a grant covers name a region and no currency.
_CURRENCIES = {
    "US": "USD", "GB": "GBP", "ID": "IDR", "MY": "MYR", "PH": "PHP", "SG": "SGD", "TH": "THB", "VN": "VND",
    "JP": "JPY", "MX": "MXN", "BR": "BRL", "SA": "SAR", "PL": "PLN", "CZ": "CZK", "HU": "HUF",
    "DE": "EUR", "FR": "EUR", "IT": "EUR", "ES": "EUR", "IE": "EUR", "NL": "EUR", "BE": "EUR", "AT": "EUR",
    "GR": "EUR", "PT": "EUR",
}  # fmt: skip

# https://partner.tiktokshop.com/docv2/page/common-errors
_INVALID = 36009004
"""One code for many faults: the message tells which."""
_THROTTLED = frozenset({36009002, 36009037, 45101004})
_MEANINGS = {
    101000: (Refusal.CREDENTIALS, "TikTok Shop says that the token and the shop do not belong together."),
    105001: (Refusal.CREDENTIALS, "TikTok Shop does not know the access token."),
    105002: (Refusal.CREDENTIALS, "The access token has expired."),
    105005: (Refusal.PERMISSION, "The app or the seller's grant lacks the scope for this."),
    106001: (Refusal.REQUEST, "TikTok Shop says that our signature is wrong: is the app's secret the current one?"),
    106013: (Refusal.REQUEST, "TikTok Shop misses the shop's cipher."),
    36009003: (Refusal.TRANSIENT, "TikTok Shop failed inside."),
    36009007: (Refusal.TRANSIENT, "TikTok Shop took too long."),
    36009033: (Refusal.REQUEST, "Our IP address is not on the app's allow list in Partner Center."),
    33001002: (Refusal.TRANSIENT, "TikTok Shop failed inside."),
    12019150: (Refusal.NOT_FOUND, "TikTok Shop says that this does not exist."),
    12052032: (Refusal.NOT_FOUND, "TikTok Shop says that this does not exist."),
    12052034: (Refusal.NOT_FOUND, "TikTok Shop says that this is not in the shop."),
    12052048: (Refusal.NOT_FOUND, "TikTok Shop says that this is not in the shop."),
    12052260: (Refusal.NOT_FOUND, "TikTok Shop says that this does not exist."),
    21008111: (Refusal.NOT_FOUND, "TikTok Shop says that this is not in the shop."),
}
_BY_STATUS: Mapping[int, Refusal] = {401: Refusal.CREDENTIALS, 403: Refusal.PERMISSION}
_GRANT_REFUSED = frozenset({36004001, 36004004, 36004005})
"""Of the token endpoints: "rt has expired", "invalid auth code", "can not find related auth record"."""
_DEAD_GRANT = re.compile(
    r"(?:auth(?:orization)?[ _]?code|refresh[ _]?token|\brt)\b.{0,40}\b(?:expired|invalid|used|revoked)"
    r"|invalid (?:auth(?:orization)?[ _]?code|refresh[ _]?token)",
    re.IGNORECASE,
)
_OUR_APP = re.compile(r"app[ _]?(?:key|secret|id)\b", re.IGNORECASE)
_BAD_TOKEN = re.compile(r"access[_-]token", re.IGNORECASE)
_ABSENT = re.compile(
    r"\b(?:product|order)\b.{0,40}\b(?:not exist|not found|no longer exists?|cannot be found|can not find)",
    re.IGNORECASE,
)
_BUSINESS_CODES = 10_000_000
"""From here on a code is of one endpoint, not of the gateway."""

_EARLIEST = 1_420_070_400
"""2015: before there was a TikTok Shop."""
_OVERLAP = 600
"""Seconds that a cycle reaches back behind the start of the one before: for rows that are indexed late.

Clocks play no part in it: a call signed more than 30 seconds ahead or 5 minutes behind is refused.
"""
_LARGEST_GROWTH = 8
_MOST_AGAIN = 20
"""Each time needs a row that left its second, so more than a few are not met."""
_MOST_PAGES = 10_000
_ORDERS_LISTED = 30 * 86_400
_ERA = range(10**9, 10**11)
"""Unix seconds from 2001 on; durations are below, milliseconds beyond."""
_LONGEST_WAIT = 86_400
_LARGEST_QUANTITY = 10**15
_MOST_PARTS = 100
_LONGEST_MESSAGE = 500

_ID = re.compile(r"[1-9][0-9]{0,19}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SECRET = re.compile(r"[!-~]{1,4096}")
_AMOUNT = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,6})?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_SECONDS = re.compile(r"[0-9]{1,12}")
_HTTPS = 443
_DATE_HEADER = "%a, %d %b %Y %H:%M:%S GMT"


class TikTokShop:
    """Fits Platform, ShowsNewest, the four Protocols of webhooks and GrantsByOAuth."""

    name = PlatformName.TIKTOK_SHOP
    credential_sets = (frozenset({"access_token", "refresh_token"}),)
    parsed_headers = frozenset[str]()
    phrases = ()
    token_life = timedelta(days=1)
    """Seven days are reported and nowhere confirmed; a refresh too early costs nothing."""

    def normal_domain(self, text: str) -> str:
        """The shop's page on TikTok, if it is given: nothing is ever called there."""
        if not text.strip():
            return ""
        address = normal_origin(text)
        host, port = target_of(address)
        if port == _HTTPS and f".{host}".endswith(".tiktok.com"):
            return address
        raise ValueError("The address must be one of TikTok's, such as https://www.tiktok.com/@shop, or be left out.")

    def probe(self, connection: Connection, http: Http) -> Identity:
        """The shop of ``connection``, or the only one that the grant covers."""
        shops = self.stores_of(connection, http)
        if connection.store_id:
            shops = [shop for shop in shops if shop.store_id == connection.store_id]
            if not shops:
                raise PlatformError(
                    Refusal.PERMISSION,
                    f"The token is good, but not for shop {connection.store_id}: the seller must approve that shop.",
                )
        if not shops:
            raise PlatformError(Refusal.PERMISSION, "The seller's grant covers no shop.")
        if len(shops) > 1:
            known = ", ".join(f"{shop.store_id} ({(shop.store_name or '')[:60]})" for shop in shops[:_MOST_PARTS])
            raise PlatformError(Refusal.REQUEST, f"The grant covers several shops: name one as storeId. {known}")
        return shops[0]

    def fetch(self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime) -> Page:
        """The next page of a cycle; see :class:`_Place` for how it pages. What is deleted is left out."""
        api = _Api(connection, http, now)
        place = _Place.read(cursor, _EARLIEST, epoch(now))
        found = place.search(api, resource, "update_time", _PAGE_SIZES[resource])
        if found is None:
            return Page([], place.restarted().written(), done=False)
        step = place.after(found, _PAGE_SIZES[resource])
        records, bad = _records(api, resource, found.rows if step.takes else [])
        if bad:
            return Page(records, step.cursor, step.done, f"Not understood: {resource} {', '.join(bad)}.")
        return Page(records, step.cursor, step.done, step.partial)

    def fetch_one(self, connection: Connection, resource: Resource, id: str, http: Http) -> Record:
        """The record by its id. TikTok Shop goes on showing products that were deleted: they do not exist."""
        api = _Api(connection, http, clock.now())
        row = _detail(api, _checked_id(id)) if resource is Resource.PRODUCTS else _order_row(api, _checked_id(id))
        if row.get("status") == _DELETED:
            raise PlatformError(Refusal.NOT_FOUND, f"{resource} {id} was deleted.")
        try:
            return _product(row) if resource is Resource.PRODUCTS else _order(row)
        except ValueError:
            raise PlatformError(Refusal.NOT_UNDERSTOOD, f"{resource} {id} was not understood.") from None

    def list_ids(
        self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime
    ) -> IdPage:
        """All products that are not deleted; orders of the last 30 days, as orders are never deleted.

        By windows of the time of creation, which never changes: a search ends after 10,000 products.
        """
        api = _Api(connection, http, now)
        earliest = epoch(now) - _ORDERS_LISTED if resource is Resource.ORDERS else _EARLIEST
        place = _Place.read(cursor, earliest, epoch(now))
        since = datetime.fromtimestamp(place.end - _ORDERS_LISTED, UTC) if resource is Resource.ORDERS else None
        found = place.search(api, resource, "create_time", _IDS_A_PAGE)
        if found is None:
            return IdPage([], place.restarted().written(), done=False, since=since)
        step = place.after(found, _IDS_A_PAGE)
        rows = found.rows if step.takes else []
        ids = [_listed_id(row) for row in rows if row.get("status") != _DELETED]
        return IdPage(ids, step.cursor, step.done, since)

    def newest_orders(self, connection: Connection, http: Http, now: datetime) -> Sequence[Record]:
        """By their times of creation."""
        api = _Api(connection, http, now)
        newest = {"sort_field": "create_time", "sort_order": "DESC"}
        rows = _search(api, Resource.ORDERS, _PAGE_SIZES[Resource.ORDERS], "", newest, {}).rows
        return _records(api, Resource.ORDERS, rows)[0]

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: datetime) -> Verdict:  # noqa: ARG002
        """The HMAC of app key and body. The time in the body says nothing: retries come 15 hours later."""
        try:
            given, body = delivery.headers["authorization"].encode(), delivery.body
        except (KeyError, UnicodeEncodeError):
            return FORGED
        genuine = False
        for secret in secrets:
            app_key, _, app_secret = secret.encode("utf-8", "surrogatepass").partition(b":")
            if app_key and app_secret:
                genuine |= compare_digest(hexlify(digest(app_secret, app_key + body, "sha256")), given)
        return GENUINE if genuine and body else FORGED

    def app_secrets(self, app: App) -> Sequence[str]:
        """``app_key:app_secret``, since the key is signed too."""
        return [f"{app.client_id}:{secret}" for secret in (app.client_secret, app.previous_client_secret) if secret]

    def topic(self, delivery: Delivery) -> str:
        """As the delivery's address names it; else the number of its type."""
        if delivery.path_topic:
            return delivery.path_topic
        number = object_in(delivery.body).get("type")
        return str(number) if _is_int(number) and 0 <= number <= _LARGEST_TYPE else ""

    def event_id(self, delivery: Delivery) -> str:
        """What TikTok Shop calls the notification; empty where it has no name, as some have not."""
        name = _plain(object_in(delivery.body).get("tts_notification_id"))
        return name if _NAME.fullmatch(name) else ""

    def store_of(self, delivery: Delivery) -> str:
        """The shop's id, which every notification names."""
        name = _plain(object_in(delivery.body).get("shop_id"))
        return name if _NAME.fullmatch(name) else ""

    def parse(self, delivery: Delivery) -> Sequence[Event]:
        """What is to be looked up: no payload is whole. A type that we do not know announces nothing.

        The address names the topic, as TikTok Shop advises not to rely on the number alone.
        """
        body = decoded(delivery.body)
        if not isinstance(body, dict) or not _is_int(body.get("type")):
            raise ValueError("The body is no notification of TikTok Shop.")
        named = delivery.path_topic if delivery.path_topic in _TOPICS else None
        numbered = _TYPES.get(body["type"])
        if named and numbered and named != numbered:
            raise ValueError(f"{numbered} was delivered to the address of {named}.")
        return _events(named or numbered or "", as_dict(body.get("data")))

    def reconcile(self, connection: Connection, delivery_url: str, secret: str, http: Http) -> Subscribed:  # noqa: ARG002
        """One address for each type, ending in its name.

        A shop has room for one address a type and app: whatever else is there for a type of ours is replaced.
        Types that are none of ours stay as they are, unless they deliver to us.
        """
        api = _Api(connection, http, clock.now())
        there = _subscriptions(api)
        created = repaired = removed = kept = 0
        for topic in _TOPICS:
            address = f"{delivery_url}/{topic}"
            if there.get(topic) == address:
                kept += 1
                continue
            api.call("PUT", _WEBHOOKS, body={"event_type": topic, "address": address})
            created += topic not in there
            repaired += topic in there
        for topic in _ours(there, delivery_url):
            if topic not in _TOPICS:
                api.call("DELETE", _WEBHOOKS, body={"event_type": topic})
                removed += 1
        return Subscribed(created, repaired, removed, kept)

    def unsubscribe(self, connection: Connection, delivery_url: str, http: Http) -> None:
        """Removes the addresses below ``delivery_url``."""
        api = _Api(connection, http, clock.now())
        for topic in _ours(_subscriptions(api), delivery_url):
            api.call("DELETE", _WEBHOOKS, body={"event_type": topic})

    def authorization_url(
        self,
        app: App,
        domain: str,  # noqa: ARG002 - the seller says at TikTok which shops
        *,
        state: str,
        return_url: str,  # noqa: ARG002 - it is set in Partner Center
        challenge: str,  # noqa: ARG002 - there is no PKCE
    ) -> str:
        """The approval page of the app's service, in the market that the app is registered for."""
        service = app.more.get("service_id", "")
        if not service:
            raise PlatformError(Refusal.REQUEST, "The app's registration lacks service_id.")
        host = _SERVICES.get(app.more.get("market", ""), _SERVICES_ELSEWHERE)
        return f"{host}/open/authorize?{urlencode({'service_id': service, 'state': state})}"

    def read_callback(self, app: App, query: Sequence[tuple[str, str]], now: datetime) -> Callback:  # noqa: ARG002
        """Nothing here is signed: the state is the only proof. A seller who declines brings ``code=null``."""
        found = callback_of(query)
        code = found.get("code", "")
        declined = code == "null" or "error" in found
        return Callback(found["state"], "" if declined else code)

    def known_store_id(self, domain: str) -> str | None:  # noqa: ARG002
        """Only the platform tells."""
        return None

    def exchange(
        self,
        app: App,
        domain: str,  # noqa: ARG002
        code: str,
        *,
        return_url: str,  # noqa: ARG002
        verifier: str,  # noqa: ARG002
        http: Http,
        now: datetime,
    ) -> Tokens:
        """The tokens for a code, which is good for one exchange within 30 minutes."""
        granted = _token_call(app, "get", {"auth_code": code, "grant_type": "authorized_code"}, http, now)
        tokens = _tokens(granted, now)
        if _is_int(granted.get("user_type")) and granted["user_type"] != _SELLER:
            raise PlatformError(Refusal.PERMISSION, "Who approved is no seller: it must be the owner of the shop.")
        missing = _missing_scopes(app, granted.get("granted_scopes"))
        if missing:
            raise PlatformError(Refusal.PERMISSION, f"The grant lacks the scopes {', '.join(missing)}.")
        return tokens

    def stores_of(self, connection: Connection, http: Http) -> Sequence[Identity]:
        """The shops that the seller approved, each with the cipher that calls about it carry."""
        data = _Api(connection, http, clock.now()).call("GET", _SHOPS, of_shop=False)
        return [_identity(shop, connection.domain) for shop in _rows(data, "shops")]

    def refresh(self, connection: Connection, http: Http, now: datetime) -> Tokens:
        """New tokens. Whether the refresh token changes is nowhere said: what comes back is what counts."""
        refresh_token = connection.credentials.get("refresh_token", "")
        if not _SECRET.fullmatch(refresh_token):
            raise PlatformError(Refusal.CREDENTIALS, "The store has no refresh token.")
        parameters = {"refresh_token": refresh_token, "grant_type": "refresh_token"}
        return _tokens(_token_call(app_of(connection, "TikTok Shop"), "refresh", parameters, http, now), now)


def signature_of(
    path: str, query: Mapping[str, str], body: bytes, secret: str, *, content_type: str = "application/json"
) -> str:
    """The ``sign`` parameter: https://partner.tiktokshop.com/docv2/page/sign-your-api-request.

    Values are taken decoded, keys in the order of their bytes; a multipart body is left out.
    """
    pairs = sorted((name, value) for name, value in query.items() if name not in {"sign", "access_token"})
    text = path + "".join(name + value for name, value in pairs)
    signed = b"" if content_type.lower().startswith("multipart/form-data") else body
    key = secret.encode()
    return digest(key, key + text.encode() + signed + key, "sha256").hex()


class _Api:
    """The API for one grant, for as long as one call to the adapter lasts.

    Every call is signed with its time. Where the Protocol passes none, the adapter asks the clock itself.
    """

    def __init__(self, connection: Connection, http: Http, now: datetime) -> None:
        self._app = app_of(connection, "TikTok Shop")
        self._http = http
        self._now = now
        self._token = connection.credentials.get("access_token", "")
        self._cipher = connection.credentials.get("shop_cipher", "")
        if not _SECRET.fullmatch(self._token):
            raise PlatformError(Refusal.CREDENTIALS, "The store has no access token.")

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        *,
        of_shop: bool = True,
    ) -> Json:
        """The ``data`` of the answer."""
        # The very bytes that are signed are sent.
        content = json.dumps(body, separators=(",", ":")).encode() if body is not None else None
        signed = {**(query or {}), "app_key": self._app.client_id, "timestamp": str(epoch(self._now))}
        if of_shop:
            signed["shop_cipher"] = self._shop_cipher()
        signed["sign"] = signature_of(path, signed, content or b"", self._app.client_secret)
        headers = {"x-tts-access-token": self._token, "content-type": "application/json"}
        answer = self._http.request(method, f"{_API}{path}", params=signed, headers=headers, content=content)
        return _data(answer, self._now, is_read=method in {"GET", "POST"})

    def _shop_cipher(self) -> str:
        if not _SECRET.fullmatch(self._cipher):
            raise PlatformError(Refusal.CREDENTIALS, "The store has no shop cipher: it must be connected again.")
        return self._cipher


class _Found(NamedTuple):
    """One page of a search."""

    rows: Sequence[Json]
    token: str
    total: int | None

    def goes_on(self, seen: int) -> bool:
        """Whether rows follow, where ``seen`` came before these. The token does not tell: a last page may have one."""
        return bool(self.token and self.rows) and (self.total is None or self.total > seen + len(self.rows))


def _search(api: _Api, resource: Resource, size: int, token: str, query: Mapping[str, str], body: Json) -> _Found:
    paging = {"page_size": str(size), **({"page_token": token} if token else {})}
    data = api.call("POST", _SEARCHES[resource], {**query, **paging}, body)
    rows = _rows(data, resource.value, counted=True)
    total = data.get("total_count")
    following = as_text(data.get("next_page_token"))
    if following and following == token:
        raise strange("TikTok Shop gives the same page again.")
    return _Found(rows, following, total if _is_int(total) and total >= len(rows) else None)


class _Step(NamedTuple):
    """What follows a page."""

    takes: bool
    """Whether the rows of the page count; otherwise they are asked for again in narrower windows."""
    cursor: Json
    done: bool = False
    partial: str | None = None


class _Place(NamedTuple):
    """Where a cycle stands, in unix seconds. It covers the time until its own start, in windows one by one.

    A window is taken whole, from one answer, or not at all: with more rows than a page it is made narrower.
    So no page token is needed, and a row that changes meanwhile can hide no other: it only leaves its window
    for one that is still to come, of this cycle or the next. Products come in no order that could be asked for,
    and rows of either kind may show newer times than they were found by; neither matters here.

    A single second with more rows than a page is read with page tokens, once more if rows left it meanwhile.
    """

    begin: int
    end: int
    width: int
    token: str = ""
    total: int | None = None
    seen: int = 0
    pages: int = 0
    again: int = 0

    @classmethod
    def read(cls, cursor: Json | None, begin: int, now: int) -> "_Place":
        """Where ``cursor`` says; a new cycle from where it says, or ``begin``, until now."""
        if cursor and "end" in cursor:
            return cls(**cursor)
        begin = int((cursor or {}).get("begin", begin))
        end = max(now, begin + 1)
        return cls(begin, end, end - begin)

    def written(self) -> Json:
        return {name: value for name, value in self._asdict().items() if value or name == "begin"}

    def search(self, api: _Api, resource: Resource, by: str, size: int) -> _Found | None:
        """What has the time called ``by`` in the window; ``None`` where its page token is refused, as an old one is."""
        if self.pages > _MOST_PAGES:
            raise strange("TikTok Shop's pages have no end.")
        query, body = _window(resource, by, self.begin, self.begin + self._span)
        try:
            return _search(api, resource, size, self.token, query, body)
        except PlatformError as error:
            if error.refusal is not Refusal.REQUEST or not self.token or self.again >= _MOST_AGAIN:
                raise
            return None

    def restarted(self) -> "_Place":
        """The same second from its first page."""
        return self._replace(token="", total=None, seen=0, pages=0, again=self.again + 1)

    def after(self, found: _Found, size: int) -> _Step:
        if not found.goes_on(self.seen):
            return self._after_last(found, size)
        if self._span > 1:
            return _Step(takes=False, cursor=self._narrower(found, size).written())
        total = self.total if self.token else found.total
        following = self._replace(
            token=found.token, total=total, seen=self.seen + len(found.rows), pages=self.pages + 1
        )
        return _Step(takes=True, cursor=following.written())

    def _after_last(self, found: _Found, size: int) -> _Step:
        moved = bool(self.token) and found.total != self.total
        if moved and self.again < _MOST_AGAIN:
            return _Step(takes=True, cursor=self.restarted().written())
        partial = "Too many rows of one second changed while they were read." if moved else None
        begin = self.begin + self._span
        if begin >= self.end:
            return _Step(takes=True, cursor={"begin": max(self.end - _OVERLAP, _EARLIEST)}, done=True, partial=partial)
        growth = min(_LARGEST_GROWTH * self._span, _filled(self._span, size, len(found.rows)))
        return _Step(takes=True, cursor=_Place(begin, self.end, max(growth, 1)).written(), partial=partial)

    @property
    def _span(self) -> int:
        return max(min(self.width, self.end - self.begin), 1)

    def _narrower(self, found: _Found, size: int) -> "_Place":
        fitting = min(self._span // 2, _filled(self._span, size, found.total or 2 * size))
        return _Place(self.begin, self.end, max(fitting, 1))


def _filled(span: int, size: int, rows: int) -> int:
    """How long a window fills three quarters of a page, where one of ``span`` seconds has so many rows."""
    return 3 * span * size // (4 * max(rows, 1))


def _window(resource: Resource, by: str, begin: int, end: int) -> tuple[Mapping[str, str], Json]:
    """Query and body for what has a time from ``begin`` on and before ``end``."""
    if resource is Resource.PRODUCTS:
        return {}, {"status": "ALL", f"{by}_ge": begin, f"{by}_le": end - 1}
    return {"sort_field": by, "sort_order": "ASC"}, {f"{by}_ge": begin, f"{by}_lt": end}


def _listed_id(row: Json) -> str:
    try:
        return _id(row.get("id"))
    except ValueError:
        raise strange("TikTok Shop lists something without an id.") from None


def _records(api: _Api, resource: Resource, rows: Sequence[Json]) -> tuple[list[Record], list[str]]:
    """The records of a page, and the ids of those that could not be read."""
    records, bad = [], []
    for row in rows:
        try:
            record = _order(row) if resource is Resource.ORDERS else _whole_product(api, row)
        except ValueError:
            bad.append(_plain(row.get("id"))[:20] or "without an id")
        else:
            records += [record] if record else []
    return records, bad


def _whole_product(api: _Api, row: Json) -> Record | None:
    """The product with all its detail; none where it is gone, which only a look-up tells for good."""
    if row.get("status") == _DELETED:
        return None
    try:
        detail = _detail(api, _id(row.get("id")))
    except PlatformError as error:
        if error.refusal is Refusal.NOT_FOUND:
            return None
        if error.refusal is Refusal.NOT_THE_PLATFORM and error.status == HTTPStatus.OK:
            # One product that cannot be shown must not stop all others for ever.
            raise ValueError("no readable detail") from None
        raise
    return _product(detail) if detail.get("status") != _DELETED else None


def _detail(api: _Api, id: str) -> Json:
    row = api.call("GET", f"/product/202309/products/{id}")
    if _plain(row.get("id")) != id:
        raise strange("TikTok Shop answered about another product.")
    return row


def _order_row(api: _Api, id: str) -> Json:
    rows = _rows(api.call("GET", _ORDERS_BY_ID, {"ids": id}), "orders")
    if not rows:
        raise PlatformError(Refusal.NOT_FOUND, f"TikTok Shop knows no order {id}.")
    row = next((row for row in rows if _plain(row.get("id")) == id), None)
    if row is None:
        raise strange("TikTok Shop answered about another order.")
    return row


def _order(row: Json) -> Record:
    """An order, whole in a search's answer as well.

    Fees are none: they come one call an order, once it is settled, and a look-up that had them would
    disagree with every search after it.
    """
    order_id = _id(row.get("id"))
    status = _required_text(row.get("status"))
    payment = as_dict(row.get("payment"))
    created, updated = _times(row)
    body: Json = {
        "id": order_id,
        "number": order_id,
        "status": _ORDER_STATUS.get(status, OrderStatus.OTHER).value,
        "platformStatus": status,
        "total": _required_money(payment.get("total_amount")),
        "currency": _currency(payment.get("currency")),
        "lines": _lines(as_dicts(row.get("line_items")), is_cancelled=_is_cancelled(status)),
        "customer": _customer(row),
        "shippingAddress": _address(as_dict(row.get("recipient_address"))),
        "note": as_text(row.get("buyer_message")) or None,
        "fees": [],
        "createdAt": short(created) if created else None,
        "updatedAt": short(updated),
    }
    return Record(order_id, updated, body, created)


def _is_cancelled(status: Any) -> bool:
    return isinstance(status, str) and _ORDER_STATUS.get(status) is OrderStatus.CANCELLED


def _lines(items: Sequence[Json], *, is_cancelled: bool) -> list[Json]:
    """Lines with quantities, from one item for each unit.

    A unit that was cancelled is not counted, and a line without any other is none. Of an order that is
    cancelled as a whole the lines stay as they were bought: its status tells. A line is called by its first unit,
    cancelled or not, so that it keeps its id.
    """
    units = {_id(item.get("id")): item for item in items}
    groups: dict[tuple[str, ...], list[str]] = {}
    for id in sorted(units, key=lambda each: (len(each), each)):
        groups.setdefault(_kind(units[id]), []).append(id)
    lines = []
    for ids in groups.values():
        live = [id for id in ids if is_cancelled or not _is_cancelled(units[id].get("display_status"))]
        if live:
            lines.append(_line(ids[0], live, units[ids[0]]))
    return lines


def _kind(item: Json) -> tuple[str, ...]:
    return (*(_plain(item.get(name)) for name in _SAME_UNITS), *_bundle(item))


def _bundle(item: Json) -> list[str]:
    """What a unit consists of where it is a bundle."""
    parts = as_dicts(item.get("combined_listing_skus"))[:_MOST_PARTS]
    return [f"{_plain(part.get('sku_id'))} x {_plain(part.get('sku_count'))}" for part in parts]


def _line(id: str, units: Sequence[str], item: Json) -> Json:
    price = _required_money(item.get("sale_price"))
    return {
        "id": id,
        "productId": _id_or_none(item.get("product_id")),
        "variantId": _id_or_none(item.get("sku_id")),
        "title": as_text(item.get("product_name")),
        "sku": as_text(item.get("seller_sku")) or None,
        "quantity": len(units),
        "unitPrice": price,
        "total": format(Decimal(price) * len(units), "f"),
        "properties": list(_properties(units, item)),
    }


def _properties(units: Sequence[str], item: Json) -> Iterator[Json]:
    yield {"name": "line_item_ids", "value": ",".join(units)}
    for name in _UNIT_PROPERTIES:
        if value := _plain(item.get(name)):
            yield {"name": name, "value": value}
    if item.get("is_gift") is True:
        yield {"name": "is_gift", "value": "true"}
    if bundle := _bundle(item):
        yield {"name": "combined_listing_skus", "value": ", ".join(bundle)}


def _customer(row: Json) -> Json | None:
    """The buyer; name and e-mail are masked where TikTok ships."""
    customer_id = _plain(row.get("user_id"))
    name = as_text(as_dict(row.get("recipient_address")).get("name")) or as_text(row.get("buyer_nickname"))
    email = as_text(row.get("buyer_email"))
    if not (customer_id or name or email):
        return None
    return {"id": customer_id or None, "name": name or None, "email": email or None}


def _address(given: Json) -> Json | None:
    lines = [text for number in range(1, 5) if (text := as_text(given.get(f"address_line{number}")))]
    lines = lines or [as_text(given.get("address_detail")) or as_text(given.get("full_address"))]
    districts = _districts(given)
    parts = {
        "name": as_text(given.get("name")),
        "company": "",
        "line1": lines[0],
        "line2": ", ".join(lines[1:]),
        "city": as_text(given.get("post_town")) or _first(districts, _CITY_LEVELS),
        "region": _first(districts, _REGION_LEVELS),
        "postalCode": as_text(given.get("postal_code")),
        "country": as_text(given.get("region_code")),
    }
    if not any(parts.values()):
        return None
    return {name: value or None for name, value in {**parts, "phone": as_text(given.get("phone_number"))}.items()}


def _districts(given: Json) -> dict[str, str]:
    """The names of the administrative divisions, by the words for their levels and by the levels' codes."""
    found: dict[str, str] = {}
    for district in as_dicts(given.get("district_info")):
        for level in ("address_level_name", "address_level"):
            found.setdefault(as_text(district.get(level)).lower(), as_text(district.get("address_name")))
    return found


def _first(found: Mapping[str, str], names: Sequence[str]) -> str:
    return next((found[name] for name in names if found.get(name)), "")


def _product(row: Json) -> Record:
    product_id = _id(row.get("id"))
    status = _product_status(row)
    created, updated = _times(row)
    skus = as_dicts(row.get("skus"))
    first = skus[0] if skus else {}
    title = as_text(row.get("title"))
    body: Json = {
        "id": product_id,
        "title": title,
        "status": _PRODUCT_STATUS.get(status, ProductStatus.OTHER).value,
        "platformStatus": status,
        "price": _price(first),
        "currency": as_text(as_dict(first.get("price")).get("currency")) or None,
        "sku": as_text(first.get("seller_sku")) or None,
        "imageUrl": _image(row),
        "url": None,
        "variants": [_variant(sku, title) for sku in skus],
        "createdAt": short(created) if created else None,
        "updatedAt": short(updated),
    }
    return Record(product_id, updated, body, created)


def _product_status(row: Json) -> str:
    """An Indonesian product that is listed on Tokopedia alone has no other status than its there."""
    elsewhere = as_dicts(row.get("integrated_platform_statuses"))
    return as_text(row.get("status")) or (as_text(elsewhere[0].get("status")) if elsewhere else "") or "UNKNOWN"


def _image(row: Json) -> str | None:
    images = as_dicts(row.get("main_images"))
    urls = images[0].get("urls") if images else None
    return (as_text(urls[0]) or None) if isinstance(urls, list) and urls else None


def _price(sku: Json) -> str | None:
    """The price that buyers see; sellers of other markets than their own have the other one only."""
    price = as_dict(sku.get("price"))
    return _money(price.get("sale_price")) or _money(price.get("tax_exclusive_price"))


def _variant(sku: Json, title: str) -> Json:
    attributes = {
        as_text(each.get("name")): as_text(each.get("value_name")) for each in as_dicts(sku.get("sales_attributes"))
    }
    return {
        "id": _id(sku.get("id")),
        "title": ", ".join(value for value in attributes.values() if value) or title,
        "sku": as_text(sku.get("seller_sku")) or None,
        "price": _price(sku),
        "inventoryQuantity": _stock(sku),
        "attributes": attributes,
    }


def _stock(sku: Json) -> int | None:
    """What all warehouses have to ship at once."""
    quantities = [each.get("quantity") for each in as_dicts(sku.get("inventory"))]
    known = [each for each in quantities if _is_int(each) and abs(each) < _LARGEST_QUANTITY]
    return sum(known) if known else None


def _identity(shop: Json, domain: str) -> Identity:
    store_id, cipher = _plain(shop.get("id")), as_text(shop.get("cipher"))
    if not (_NAME.fullmatch(store_id) and _SECRET.fullmatch(cipher)):
        raise strange("TikTok Shop names a shop without id or cipher.")
    return Identity(
        store_id=store_id,
        domain=domain,
        store_name=as_text(shop.get("name")) or None,
        currency=_CURRENCIES.get(as_text(shop.get("region"))),
        credentials={"shop_cipher": cipher},
    )


def _token_call(app: App, action: str, parameters: Mapping[str, str], http: Http, now: datetime) -> Json:
    """One call to a token endpoint: a GET with secrets in its query, which therefore is in no text of ours."""
    answer = http.request(
        "GET",
        f"{_AUTH}/api/v2/token/{action}",
        params={"app_key": app.client_id, "app_secret": app.client_secret, **parameters},
        repeatable=False,
    )
    envelope = _envelope(answer, now)
    code = envelope["code"]
    if not code and answer.status == HTTPStatus.OK:
        return as_dict(envelope.get("data"))
    raise _token_refusal(answer, code, as_text(envelope.get("message"))[:_LONGEST_MESSAGE], now)


def _token_refusal(answer: Answer, code: int, message: str, now: datetime) -> PlatformError:
    """Only a grant that is dead is CREDENTIALS: a person would be called for it."""
    known, _ = _MEANINGS.get(code, (None, ""))
    if _is_throttled(answer, code):
        return _throttled(answer, now)
    if code in _GRANT_REFUSED or (not _OUR_APP.search(message) and _DEAD_GRANT.search(message)):
        refusal, detail = Refusal.CREDENTIALS, f"TikTok Shop refuses the grant (code {code})."
    elif code == _INVALID or known is Refusal.REQUEST or _OUR_APP.search(message):
        refusal, detail = Refusal.REQUEST, f"TikTok Shop refuses our app (code {code})."
    else:
        refusal, detail = Refusal.TRANSIENT, f"TikTok Shop gave no tokens (code {code})."
    return PlatformError(refusal, detail, status=answer.status)


def _tokens(granted: Json, now: datetime) -> Tokens:
    access, renewed = (granted.get(name) for name in ("access_token", "refresh_token"))
    if not all(isinstance(each, str) and _SECRET.fullmatch(each) for each in (access, renewed)):
        raise strange("TikTok Shop's answer has no tokens.")
    return Tokens(
        access_token=str(access),
        refresh_token=str(renewed),
        expires_at=_end(granted.get("access_token_expire_in"), now),
        refresh_expires_at=_end(granted.get("refresh_token_expire_in"), now),
    )


def _end(value: Any, now: datetime) -> datetime | None:
    """When a token ends: despite its name the field is a point in time.

    Anything else (a duration, milliseconds, a time that is past, no number) says nothing we can trust. It is
    no reason to refuse the answer: the tokens in it have replaced those that were spent.
    """
    if not _is_int(value) or value not in _ERA:
        return None
    end = datetime.fromtimestamp(value, UTC)
    return end if end > now else None


def _missing_scopes(app: App, granted: Any) -> list[str]:
    """The scopes that we need and were not given; none where the answer does not tell."""
    if not isinstance(granted, list) or not all(isinstance(each, str) for each in granted):
        return []
    needed = set(app.more.get("scopes", "").replace(",", " ").split()) or _SCOPES
    return sorted(needed - set(granted))


def _subscriptions(api: _Api) -> dict[str, str]:
    """The addresses that there are, by type."""
    hooks = _rows(api.call("GET", _WEBHOOKS), "webhooks", counted=True)
    return {as_text(hook.get("event_type")): as_text(hook.get("address")) for hook in hooks}


def _ours(there: Mapping[str, str], delivery_url: str) -> list[str]:
    return [topic for topic, address in there.items() if topic and address.startswith(f"{delivery_url}/")]


def _events(topic: str, data: Json) -> list[Event]:
    if topic == "SELLER_DEAUTHORIZATION":
        return [Event(None, access_lost=True, disconnected=True)]
    if topic == "UPCOMING_AUTHORIZATION_EXPIRATION":
        return [Event(None, reauthorize_by=_required_time(data.get("expiration_time")))]
    if topic == "PACKAGE_UPDATE":
        return [Event(Resource.ORDERS, id) for id in _packed_orders(data)]
    if topic.startswith("PRODUCT_"):
        return [Event(Resource.PRODUCTS, _id(data.get("product_id")))]
    return [Event(Resource.ORDERS, _id(data.get("order_id")))] if topic else []


def _packed_orders(data: Json) -> list[str]:
    """The orders of the packages that changed, each once; a package may hold several orders."""
    ids = [data["order_id"]] if "order_id" in data else []
    for package in as_dicts(data.get("package_list")):
        orders = package.get("order_id_list")
        ids += orders[:_MOST_PARTS] if isinstance(orders, list) else []
    if not ids:
        raise ValueError("no order is named")
    return list(dict.fromkeys(_id(id) for id in ids))


def _data(answer: Answer, now: datetime, *, is_read: bool) -> Json:
    envelope = _envelope(answer, now)
    code = envelope["code"]
    if code or not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        raise _refusal(answer, code, as_text(envelope.get("message"))[:_LONGEST_MESSAGE], now)
    data = envelope.get("data")
    if is_read and not isinstance(data, dict):
        raise strange("TikTok Shop's answer has no data.", answer.status)
    return as_dict(data)


def _envelope(answer: Answer, now: datetime) -> Json:
    """What all answers have around their data: ``code`` tells of success, not the HTTP status."""
    try:
        envelope = decoded(answer.body)
    except ValueError:
        envelope = None
    if isinstance(envelope, dict) and _is_int(envelope.get("code")):
        return envelope
    if _is_throttled(answer, 0):
        raise _throttled(answer, now)
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise PlatformError(Refusal.TRANSIENT, f"TikTok Shop failed with {answer.status}.", status=answer.status)
    raise strange("TikTok Shop answered with something else than it does.", answer.status)


def _refusal(answer: Answer, code: int, message: str, now: datetime) -> PlatformError:
    """What a refusal means. Its own text stays out of ours, as it may repeat what was sent."""
    if _is_throttled(answer, code):
        return _throttled(answer, now)
    refusal, detail = _MEANINGS.get(code) or _meaning(answer.status, code, message)
    return PlatformError(refusal, detail, status=answer.status)


def _meaning(status: int, code: int, message: str) -> tuple[Refusal, str]:
    """What a code means that only its message or the HTTP status explains."""
    unknown = f"TikTok Shop refused our request: status {status}, code {code}."
    if code == _INVALID:
        return (Refusal.CREDENTIALS if _BAD_TOKEN.search(message) else Refusal.REQUEST), unknown
    if code >= _BUSINESS_CODES and _ABSENT.search(message):
        return Refusal.NOT_FOUND, "TikTok Shop says that this does not exist."
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return Refusal.TRANSIENT, f"TikTok Shop failed with {status}, code {code}."
    return _BY_STATUS.get(status, Refusal.REQUEST), unknown


def _is_throttled(answer: Answer, code: int) -> bool:
    return answer.status == HTTPStatus.TOO_MANY_REQUESTS or code in _THROTTLED


def _throttled(answer: Answer, now: datetime) -> PlatformError:
    return PlatformError(
        Refusal.RATE_LIMITED,
        "TikTok Shop asks us to wait.",
        status=answer.status,
        retry_at=_retry_at(answer.headers.get("retry-after", ""), now),
    )


def _retry_at(wait: str, now: datetime) -> datetime | None:
    if _SECONDS.fullmatch(wait):
        return now + timedelta(seconds=min(int(wait), _LONGEST_WAIT))
    try:
        return datetime.strptime(wait, _DATE_HEADER).replace(tzinfo=UTC)
    except ValueError:
        return None


def _rows(data: Json, name: str, *, counted: bool = False) -> list[Json]:
    """The rows of that name; where they are ``counted``, none need be there when the count is nothing."""
    rows = data.get(name)
    if rows is None and counted and not data.get("total_count"):
        return []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise strange("TikTok Shop answered with something else than a list.")
    return rows


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _plain(value: Any) -> str:
    """Text of a text, a number or a truth."""
    return str(value) if isinstance(value, int) else as_text(value)


def _required_text(value: Any) -> str:
    text = as_text(value)
    if not text:
        raise ValueError("a field is missing")
    return text


def _id(value: Any) -> str:
    """Ids are texts, save in some webhooks."""
    text = str(value) if isinstance(value, str) or _is_int(value) else ""
    if not _ID.fullmatch(text):
        raise ValueError("no id")
    return text


def _id_or_none(value: Any) -> str | None:
    text = _plain(value)
    return text if _ID.fullmatch(text) else None


def _checked_id(value: str) -> str:
    if not _ID.fullmatch(value):
        raise PlatformError(Refusal.NOT_FOUND, "This is no id of TikTok Shop.")
    return value


def _money(value: Any) -> str | None:
    text = str(value) if isinstance(value, str) or _is_int(value) else ""
    return text if _AMOUNT.fullmatch(text) else None


def _required_money(value: Any) -> str:
    amount = _money(value)
    if amount is None:
        raise ValueError("an amount is missing")
    return amount


def _currency(value: Any) -> str:
    text = _required_text(value)
    if not _CURRENCY.fullmatch(text):
        raise ValueError("no currency")
    return text


def _times(row: Json) -> tuple[datetime | None, datetime]:
    created = _time(row.get("create_time"))
    updated = _time(row.get("update_time")) or created
    if updated is None:
        raise ValueError("no time of change")
    return created, updated


def _time(value: Any) -> datetime | None:
    if isinstance(value, str) and _SECONDS.fullmatch(value):
        value = int(value)
    return datetime.fromtimestamp(value, UTC) if _is_int(value) and value in _ERA else None


def _required_time(value: Any) -> datetime:
    time = _time(value)
    if time is None:
        raise ValueError("no time")
    return time
