"""Amazon: sellers approve our app in Seller Central; the Selling Partner API is read with Login with Amazon tokens.

A store is one seller in one marketplace: its currency, address, titles, prices and states are of that
marketplace. The address names the marketplace, which names the region whose servers know the seller.

Notifications come through a queue of our own, never over HTTP. They carry no signature: who may write into
the queue is said by its policy. No call here needs a restricted data token, as orders 2026-01-01 take none.

Documented at https://developer-docs.amazon.com/sp-api/docs; usage plans are in the models at
https://github.com/amzn/selling-partner-api-models/tree/main/models.
"""

import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import md5
from hmac import compare_digest
from http import HTTPStatus
from typing import Any, NamedTuple, TypeGuard
from urllib.parse import quote, urlencode

from shared import clock
from shared.addresses import normal_origin, target_of
from shared.clock import epoch, short
from shared.platforms.base import (
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


class Marketplace(NamedTuple):
    """Where a seller sells: which servers know of it, where its sellers sign in, what they are paid in."""

    region: str
    host: str
    central: str
    currency: str


_EUROPE = "sellercentral-europe.amazon.com"
# https://developer-docs.amazon.com/sp-api/docs/marketplace-ids and /seller-central-urls
MARKETPLACES = {
    "ATVPDKIKX0DER": Marketplace("na", "www.amazon.com", "sellercentral.amazon.com", "USD"),
    "A2EUQ1WTGCTBG2": Marketplace("na", "www.amazon.ca", "sellercentral.amazon.ca", "CAD"),
    "A1AM78C64UM0Y8": Marketplace("na", "www.amazon.com.mx", "sellercentral.amazon.com.mx", "MXN"),
    "A2Q3Y263D00KWC": Marketplace("na", "www.amazon.com.br", "sellercentral.amazon.com.br", "BRL"),
    "A1F83G8C2ARO7P": Marketplace("eu", "www.amazon.co.uk", _EUROPE, "GBP"),
    "A1PA6795UKMFR9": Marketplace("eu", "www.amazon.de", _EUROPE, "EUR"),
    "A13V1IB3VIYZZH": Marketplace("eu", "www.amazon.fr", _EUROPE, "EUR"),
    "APJ6JRA9NG5V4": Marketplace("eu", "www.amazon.it", _EUROPE, "EUR"),
    "A1RKKUPIHCS9HS": Marketplace("eu", "www.amazon.es", _EUROPE, "EUR"),
    "A1805IZSGTT6HS": Marketplace("eu", "www.amazon.nl", "sellercentral.amazon.nl", "EUR"),
    "A2NODRKZP88ZB9": Marketplace("eu", "www.amazon.se", "sellercentral.amazon.se", "SEK"),
    "A1C3SOZRARQ6R3": Marketplace("eu", "www.amazon.pl", "sellercentral.amazon.pl", "PLN"),
    "AMEN7PMS3EDWL": Marketplace("eu", "www.amazon.com.be", "sellercentral.amazon.com.be", "EUR"),
    "A28R8C7NBKEWEA": Marketplace("eu", "www.amazon.ie", "sellercentral.amazon.ie", "EUR"),
    "A33AVAJ2PDY3EV": Marketplace("eu", "www.amazon.com.tr", "sellercentral.amazon.com.tr", "TRY"),
    "A2VIGQ35RCS4UG": Marketplace("eu", "www.amazon.ae", "sellercentral.amazon.ae", "AED"),
    "A17E79C6D8DWNP": Marketplace("eu", "www.amazon.sa", "sellercentral.amazon.sa", "SAR"),
    "ARBP9OOSHTCHU": Marketplace("eu", "www.amazon.eg", "sellercentral.amazon.eg", "EGP"),
    "A21TJRUUN4KGV": Marketplace("eu", "www.amazon.in", "sellercentral.amazon.in", "INR"),
    "AE08WJ6YKNBMC": Marketplace("eu", "www.amazon.co.za", "sellercentral.amazon.co.za", "ZAR"),
    "A1VC38T7YXB528": Marketplace("fe", "www.amazon.co.jp", "sellercentral.amazon.co.jp", "JPY"),
    "A39IBJ37TRP1C6": Marketplace("fe", "www.amazon.com.au", "sellercentral.amazon.com.au", "AUD"),
    "A19VAU5U5O7RUS": Marketplace("fe", "www.amazon.sg", "sellercentral.amazon.sg", "SGD"),
}
_BY_ADDRESS = {f"https://{marketplace.host}": id for id, marketplace in MARKETPLACES.items()}
_REGIONS = {"na": "North America", "eu": "Europe", "fe": "the Far East"}

_LOGIN = "https://api.amazon.com/auth/o2/token"
_FORM = "application/x-www-form-urlencoded"
_AGENT = "storelink/1.0 (Language=Python)"
"""https://developer-docs.amazon.com/sp-api/docs/include-a-user-agent-header-in-all-requests."""
_CONSENT_LIFE = timedelta(days=365)
"""https://developer-docs.amazon.com/sp-api/docs/renew-authorizations."""

_ORDERS = "/orders/2026-01-01/orders"
_LISTINGS = "/listings/2021-08-01/items"
_REPORTS = "/reports/2021-06-30/reports"
_DOCUMENTS = "/reports/2021-06-30/documents"
_PARTICIPATIONS = "/sellers/v1/marketplaceParticipations"
_DESTINATIONS = "/notifications/v1/destinations"
_SUBSCRIPTIONS = "/notifications/v1/subscriptions"
_GRANTLESS = "sellingpartnerapi::notifications"


class _Operation(NamedTuple):
    """What Amazon counts separately: calls a second by its usage plan, and the role that it needs."""

    rate: float
    role: str


_ORDER_ROLE = "Inventory and Order Tracking"
_LISTING_ROLE = "Product Listing"
_SEARCH_ORDERS = _Operation(0.0056, _ORDER_ROLE)
_GET_ORDER = _Operation(0.5, _ORDER_ROLE)
_READ_LISTINGS = _Operation(5, _LISTING_ROLE)
_CREATE_REPORT = _Operation(0.0167, _LISTING_ROLE)
_GET_REPORT = _Operation(2, _LISTING_ROLE)
_GET_DOCUMENT = _Operation(0.0167, _LISTING_ROLE)
_TAKES_PART = _Operation(0.016, "Selling Partner Insights")
_NOTIFY = _Operation(1, "one for what it is to be notified of")
_SEARCHES_AT_ONCE = 20
"""The burst of the search for orders."""

_ORDER_DATA = ("PROCEEDS", "FULFILLMENT", "PACKAGES")
_BUYER_DATA = ("BUYER", "RECIPIENT")
_ORDERS_A_PAGE = 100
_LISTING_DATA = "summaries,attributes,offers,fulfillmentAvailability,relationships"
_LISTINGS_A_PAGE = 20
_DEEPEST = 1_000
"""No search goes further: note at numberOfResults in the model of listings items."""
_MOST_PAGES = 100_000
_MOST_AGAIN = 3

_EARLIEST = 946_684_800
"""2000: before sellers could list at Amazon."""
_ORDERS_KEPT = 730 * 86_400
"""How old orders can be had at all."""
_BEFORE_NOW = 180
"""An upper bound must be two minutes old; one more for clocks that differ."""
_OVERLAP = 600
"""Seconds that a cycle reaches back into the one before: for rows that are indexed late."""
_ORDERS_LISTED = 3 * 86_400
"""Orders are never deleted, and a hundred ids cost three minutes: a compare a day needs no more than this."""
_NEWEST = 3 * 86_400

# https://developer-docs.amazon.com/sp-api/docs/report-type-values-inventory
_ALL_LISTINGS = "GET_MERCHANT_LISTINGS_ALL_DATA"
_SKU_COLUMNS = ("seller-sku", "sku", "出品者SKU")
_INCOMPLETE = "incomplete"
_POLL = timedelta(seconds=15)
_MOST_POLLS = 480
_SKUS_A_PAGE = 500
_LARGEST_REPORT = 256 * 1024 * 1024
_CHUNK = 256 * 1024
_GZIP = 16 + zlib.MAX_WBITS
# The hosts that were seen, https://github.com/amzn/selling-partner-api-models/issues/1593 and 1293, and the model's.
_DOCUMENT_URL = re.compile(r"https://(?:[a-z0-9-]{1,63}\.){1,5}(?:amazonaws\.com|cloudfront\.net)/[!-~]{1,4000}")

# https://developer-docs.amazon.com/sp-api/docs/notification-type-values, and which field names what changed
_NOTICES = {
    "ORDER_CHANGE": (Resource.ORDERS, "AmazonOrderId"),
    "LISTINGS_ITEM_STATUS_CHANGE": (Resource.PRODUCTS, "Sku"),
    "LISTINGS_ITEM_STATUS_CHANGED": (Resource.PRODUCTS, "Sku"),  # as its schema spells it, but not its example
    "LISTINGS_ITEM_ISSUES_CHANGE": (Resource.PRODUCTS, "Sku"),
    "LISTINGS_ITEM_MFN_QUANTITY_CHANGE": (Resource.PRODUCTS, "Sku"),
}
TOPICS = ("ORDER_CHANGE", "LISTINGS_ITEM_STATUS_CHANGE", "LISTINGS_ITEM_MFN_QUANTITY_CHANGE")
"""What is subscribed to. Issues alone change nothing that is kept."""
_PAYLOAD_VERSION = "1.0"
LARGEST_NOTICE = 256 * 1024
"""What a message of SQS used to hold; notifications have a few kilobytes."""
QUEUE, BUS = "aws:sqs", "aws:events"
"""The one header of what came through a queue (its value is the MD5 that SQS told) or from EventBridge.

No HTTP request can have it, as a header's name holds no colon: nothing that comes by HTTP is ever genuine.
"""

_ORDER_STATUS = {
    "PENDING_AVAILABILITY": OrderStatus.PENDING,
    "PENDING": OrderStatus.PENDING,
    "UNSHIPPED": OrderStatus.PAID,
    "PARTIALLY_SHIPPED": OrderStatus.PARTLY_SHIPPED,
    "SHIPPED": OrderStatus.COMPLETED,
    "CANCELLED": OrderStatus.CANCELLED,
    "UNFULFILLABLE": OrderStatus.CANCELLED,
}
_OPEN = frozenset({"PENDING_AVAILABILITY", "PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED"})
PERSONAL_KEPT = timedelta(days=30)
"""https://developer-docs.amazon.com/sp-api/docs/data-protection-policy: after delivery, and no longer."""
_LISTING_STATES = frozenset({"BUYABLE", "DISCOVERABLE"})

_BAD_TOKEN = re.compile(r"access token.{0,40}(?:expired|revoked|malformed|invalid)", re.IGNORECASE)
_AWS_HICCUP = re.compile(r"security token", re.IGNORECASE)
"""For half an hour all calls of all sellers met it: https://github.com/amzn/selling-partner-api-docs/issues/3153."""
_DEAD_GRANT = "invalid_grant"

_LONGEST_WAIT = 86_400
_LONGEST_LIFE = 10 * 365 * 86_400
_LARGEST_QUANTITY = 10**12
_MOST_LINES = 10_000
_MOST_PARTS = 100
_LONGEST_MESSAGE = 500
_LONGEST_SKU = 255
_EPOCH_YEAR = 1970
_HTTPS = 443

_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_SELLER = re.compile(r"[A-Z0-9]{5,32}")
_NAME = re.compile(r"[!-~]{1,256}")
_TOPIC = re.compile(r"[A-Z0-9_]{1,60}")
_SECRET = re.compile(r"[!-~]{1,8192}")
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_ASIN = re.compile(r"[A-Z0-9]{10}")
_ARN = re.compile(r"arn:aws[a-z-]*:sqs:[!-~]{1,900}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_AMOUNT = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,6})?")
_RATE = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,8})?")
_SECONDS = re.compile(r"[0-9]{1,12}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CHARSET = re.compile(r"charset=\"?([A-Za-z0-9_-]{1,20})", re.IGNORECASE)
_CHARSETS = {"utf-8": "utf-8", "cp1252": "cp1252", "iso-8859-1": "cp1252", "shift_jis": "cp932", "windows-31j": "cp932"}


class Amazon:
    """Fits Platform, ShowsNewest, the Protocols of webhooks by the app and of queues, and GrantsByOAuth."""

    name = PlatformName.AMAZON
    credential_sets = (frozenset({"refresh_token"}),)
    parsed_headers = frozenset[str]()
    phrases = ()
    """What Seller Central shows to a seller who authorises an app of their own."""
    token_life = timedelta(hours=1)

    def normal_domain(self, text: str) -> str:
        """The marketplace, from any of its pages or from its id: region and currency follow from it."""
        marketplace = MARKETPLACES.get(text.strip())
        if marketplace is not None:
            return f"https://{marketplace.host}"
        host, port = target_of(normal_origin(text)) if text.strip() else ("", 0)
        address = f"https://www.{host.removeprefix('www.')}"
        if address not in _BY_ADDRESS or port != _HTTPS:
            raise ValueError("The address must be an Amazon marketplace's, such as https://www.amazon.de.")
        return address

    def probe(self, connection: Connection, http: Http) -> Identity:
        """The seller in the marketplace: that they take part in it, and that the token is this seller's."""
        now, seller = clock.now(), _seller(connection)
        given: Mapping[str, str] = {}
        if "access_token" not in connection.credentials:
            given = {"access_token": self.refresh(connection, http, now).access_token}
            connection = connection._replace(credentials={**connection.credentials, **given})
        api = _Api(connection, http, now)
        here = _participation(api)
        _prove_seller(api, seller)
        place = as_dict(here.get("marketplace"))
        return Identity(
            store_id=f"{seller}.{api.marketplace_id}",
            domain=connection.domain,
            store_name=as_text(here.get("storeName")) or None,
            currency=_currency(place.get("defaultCurrencyCode")) or api.marketplace.currency,
            credentials=given,
        )

    def fetch(self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime) -> Page:
        """The next page of a cycle; see :class:`_Search`, :class:`_Listed` and :class:`_Report` for how it pages."""
        api = _Api(connection, http, now)
        try:
            return _page(api, resource, cursor or {})
        except PlatformError as error:
            raise _explained(api, error) from None

    def fetch_one(self, connection: Connection, resource: Resource, id: str, http: Http) -> Record:
        """One order, whole, or one listing by its SKU."""
        api = _Api(connection, http, clock.now())
        record = _one_order(api, id) if resource is Resource.ORDERS else _one_listing(api, id)
        if record is None:
            raise PlatformError(Refusal.NOT_FOUND, f"It is not in the marketplace {api.marketplace.host}.")
        return record

    def newest_orders(self, connection: Connection, http: Http, now: datetime) -> Sequence[Record]:
        """What was bought in the last days: the search has no order that could be asked for."""
        api = _Api(connection, http, now)
        found = _search_orders(api, {"createdAfter": _stamp(epoch(now) - _NEWEST)})
        records, _ = _mapped(found.rows, lambda row: _order(row, api), "orderId")
        return sorted(records, key=lambda record: record.created_at or record.updated_at, reverse=True)

    def list_ids(
        self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime
    ) -> IdPage:
        """All SKUs that have a listing; orders of the last days. A catalogue too large for the search by a report."""
        api = _Api(connection, http, now)
        if resource is Resource.ORDERS:
            return _order_ids(api, cursor or {})
        if cursor and "polls" in cursor:
            return _reported_ids(api, _Report(**cursor))
        return _listing_ids(api, cursor or {})

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: datetime) -> Verdict:  # noqa: ARG002
        """Whole, a notification, and for one of our application ids, which ``secrets`` are. Not proof of a sender."""
        if QUEUE in delivery.headers:
            told = delivery.headers[QUEUE].encode("utf-8", "surrogatepass")
            whole = compare_digest(md5(delivery.body, usedforsecurity=False).hexdigest().encode(), told)
        else:
            whole = BUS in delivery.headers
        about = _about(delivery)
        ours = as_text(_field(about, "ApplicationId")) in [secret for secret in secrets if secret]
        return Verdict.GENUINE if whole and ours and _notice_id(about) else Verdict.FORGED

    def app_secrets(self, app: App) -> Sequence[str]:
        """The application ids that notifications may carry, which need not be the one that sellers approve."""
        named = f"{app.more.get('notification_application_ids', '')} {app.more.get('application_id', '')}"
        return named.replace(",", " ").split()

    def read_queue_message(self, body: str, md5_of_body: str) -> Delivery:
        """A message of SQS as the delivery that it brought."""
        return Delivery({QUEUE: md5_of_body}, body.encode("utf-8", "surrogatepass"))

    def read_bus_event(self, body: str) -> Delivery:
        """An event of Amazon's partner event source, as EventBridge gives it."""
        return Delivery({BUS: ""}, body.encode("utf-8", "surrogatepass"))

    def topic(self, delivery: Delivery) -> str:
        """The type of the notification."""
        named = as_text(_field(_notification(delivery), "NotificationType"))
        return named if _TOPIC.fullmatch(named) else ""

    def event_id(self, delivery: Delivery) -> str:
        """The notification's own id."""
        return _notice_id(_about(delivery))

    def store_of(self, delivery: Delivery) -> str:
        """Seller and marketplace; empty where the notification names no marketplace, as of quantities."""
        seller, marketplace = _addressee(delivery)
        return f"{seller}.{marketplace}" if seller and marketplace else ""

    def stores_named(self, delivery: Delivery) -> Sequence[str]:
        """All stores that it may be about: where only the seller is named, any marketplace of theirs."""
        seller, marketplace = _addressee(delivery)
        if not seller:
            return ()
        return [f"{seller}.{id}" for id in ([marketplace] if marketplace else MARKETPLACES)]

    def parse(self, delivery: Delivery) -> Sequence[Event]:
        """What to look up: a notification only says what changed. A type that we do not know announces nothing."""
        envelope = _notification(delivery)
        if not envelope:
            raise ValueError("The body is no notification of Amazon.")
        named = _NOTICES.get(self.topic(delivery))
        if named is None:
            return []
        resource, field = named
        payload = _payload(envelope)
        id = as_text(_field(payload, field))
        if not (_is_sku(id) if resource is Resource.PRODUCTS else _ID.fullmatch(id)):
            raise ValueError(f"The notification lacks {field}.")
        states = _field(payload, "Status")
        return [Event(resource, id, deleted=isinstance(states, list) and "DELETED" in states)]

    def reconcile(self, connection: Connection, delivery_url: str, secret: str, http: Http) -> Subscribed:  # noqa: ARG002
        """The seller's subscriptions to our queue, which all stores of the seller in the region share."""
        api = _Api(connection, http, clock.now())
        if not api.queue:
            return Subscribed()
        destination, grantless = _destination(api)
        created = repaired = kept = 0
        for topic in TOPICS:
            there = _subscription(api, topic)
            if there is not None and there.get("destinationId") == destination:
                kept += 1
                continue
            if there is not None:
                _unsubscribe(api, topic, there, grantless)
            _subscribe(api, topic, destination)
            created += there is None
            repaired += there is not None
        return Subscribed(created, repaired, 0, kept)

    def unsubscribe(self, connection: Connection, delivery_url: str, http: Http) -> None:  # noqa: ARG002
        """Ends the seller's subscriptions; another store of the seller has them made anew by its next full sync."""
        api = _Api(connection, http, clock.now())
        there = {topic: found for topic in TOPICS if (found := _subscription(api, topic))} if api.queue else {}
        grantless = _grantless(api) if there else ""
        for topic, found in there.items():
            _unsubscribe(api, topic, found, grantless)

    def authorization_url(
        self,
        app: App,
        domain: str,
        *,
        state: str,
        return_url: str,  # noqa: ARG002 - it is set in Seller Central
        challenge: str,  # noqa: ARG002 - there is no PKCE
    ) -> str:
        """The approval page in the marketplace's own Seller Central; ``draft`` apps need the beta version of it."""
        application = app.more.get("application_id", "")
        if not application:
            raise PlatformError(Refusal.REQUEST, "The app's registration lacks application_id.")
        beta = {"version": "beta"} if app.more.get("draft") == "yes" else {}
        query = urlencode({"application_id": application, "state": state, **beta})
        return f"https://{MARKETPLACES[_marketplace_id(domain)].central}/apps/authorize/consent?{query}"

    def read_callback(self, app: App, query: Sequence[tuple[str, str]], now: datetime) -> Callback:  # noqa: ARG002
        """Nothing here is signed: the state is the only proof. Who the seller is, the probe makes sure."""
        found = callback_of(query)
        code = found.get("spapi_oauth_code", "")
        seller = found.get("selling_partner_id", "")
        if code and not _SELLER.fullmatch(seller):
            raise ValueError("The address from Amazon does not say which seller approved.")
        return Callback(found["state"], code, account=seller if code else "")

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
        """The tokens for a code. The seller must approve anew a year from now, which no answer says."""
        if not _SECRET.fullmatch(code):
            raise PlatformError(Refusal.CREDENTIALS, "Amazon's address carried no code.")
        tokens = _tokens(_login(app, {"grant_type": "authorization_code", "code": code}, http, now), now)
        if tokens.refresh_token is None:
            raise strange("Amazon gave no refresh token for the code.")
        return tokens._replace(refresh_expires_at=now + _CONSENT_LIFE)

    def stores_of(self, connection: Connection, http: Http) -> Sequence[Identity]:
        """The one store in the marketplace that was named; others of the grant are stores of their own."""
        return [self.probe(connection, http)]

    def refresh(self, connection: Connection, http: Http, now: datetime) -> Tokens:
        """A new access token; the refresh token stays good."""
        spent = connection.credentials.get("refresh_token", "")
        if not _SECRET.fullmatch(spent):
            raise PlatformError(Refusal.CREDENTIALS, "The store has no refresh token.")
        asked = {"grant_type": "refresh_token", "refresh_token": spent}
        return _tokens(_login(app_of(connection, "Amazon"), asked, http, now), now)


class _Reply(NamedTuple):
    """An answer's content, and how many such calls a second Amazon grants."""

    content: Json
    rate: float


class _Api:
    """The API of one region for one seller, for as long as one call to the adapter lasts."""

    def __init__(self, connection: Connection, http: Http, now: datetime) -> None:
        self.connection = connection
        self.http = http
        self.now = now
        self.marketplace_id = _marketplace_id(connection.domain)
        self.marketplace = MARKETPLACES[self.marketplace_id]
        self._origin = f"https://sellingpartnerapi-{self.marketplace.region}.amazon.com"
        self._token = connection.credentials.get("access_token", "")
        if not _SECRET.fullmatch(self._token):
            raise PlatformError(Refusal.CREDENTIALS, "The store has no access token.")

    @property
    def seller(self) -> str:
        return _seller(self.connection)

    @property
    def queue(self) -> str:
        """The queue of our own that notifications go to; none without one, and then only syncs tell of changes."""
        queue = self.connection.app.more.get("queue_arn", "") if self.connection.app else ""
        return queue if _ARN.fullmatch(queue) else ""

    @property
    def order_data(self) -> str:
        """An app without the roles for buyers' data has ``buyer_data`` set to ``no``: asking would be refused."""
        more = self.connection.app.more if self.connection.app else {}
        wanted = _ORDER_DATA if more.get("buyer_data") == "no" else (*_BUYER_DATA, *_ORDER_DATA)
        return ",".join(wanted)

    def get(self, operation: _Operation, path: str, query: Mapping[str, str] | None = None) -> _Reply:
        return self.call(operation, "GET", path, query)

    def call(
        self,
        operation: _Operation,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        *,
        token: str = "",
    ) -> _Reply:
        """The content of an answer that is none of refusal; ``token`` in place of the seller's for grantless calls."""
        headers = {
            "x-amz-access-token": token or self._token,
            "x-amz-date": self.now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ"),
            "user-agent": _AGENT,
        }
        answer = self.http.request(method, f"{self._origin}{path}", params=query, headers=headers, json=body)
        rate = _rate(answer, operation)
        content = _dict_or_none(answer.body)
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise _refusal(answer, content, operation, rate, self.now)
        if content is None:
            raise strange("Amazon answered with something else than it does.", answer.status)
        return _Reply(content, rate)


def _marketplace_id(domain: str) -> str:
    id = _BY_ADDRESS.get(domain)
    if id is None:
        raise PlatformError(Refusal.ADDRESS, "This is no address of an Amazon marketplace.")
    return id


def _seller(connection: Connection) -> str:
    """The seller's id; the store's own has the marketplace behind it."""
    seller, _, marketplace = connection.store_id.partition(".")
    if not _SELLER.fullmatch(seller):
        raise PlatformError(Refusal.REQUEST, "Name the seller and the marketplace as storeId: SELLERID.MARKETPLACEID.")
    if marketplace not in ("", _marketplace_id(connection.domain)):
        raise PlatformError(Refusal.REQUEST, "The storeId names another marketplace than the address.")
    return seller


# Who the seller is


def _participation(api: _Api) -> Json:
    """The seller's part in the marketplace of the store."""
    region = _REGIONS[api.marketplace.region]
    try:
        rows = api.get(_TAKES_PART, _PARTICIPATIONS).content.get("payload")
    except PlatformError as error:
        if error.refusal is not Refusal.PERMISSION:
            raise
        detail = (
            f"Amazon's servers for {region} refuse the approval: it was given in another region, or the app lacks "
            f"the role {_TAKES_PART.role}, or it got roles since the seller approved."
        )
        raise PlatformError(Refusal.PERMISSION, detail, status=error.status) from None
    if not isinstance(rows, list):
        raise strange("Amazon does not say where the seller sells.")
    parts = [row for row in as_dicts(rows) if as_dict(row.get("participation")).get("isParticipating") is True]
    by_id = {as_text(as_dict(row.get("marketplace")).get("id")): row for row in parts}
    if api.marketplace_id in by_id:
        return by_id[api.marketplace_id]
    elsewhere = ", ".join(sorted(MARKETPLACES[id].host for id in by_id if id in MARKETPLACES))
    known = f"sells on {elsewhere}" if elsewhere else f"is not registered to sell anywhere in {region}"
    raise PlatformError(Refusal.PERMISSION, f"The seller does not sell on {api.marketplace.host}, but {known}.")


def _explained(api: _Api, error: PlatformError) -> PlatformError:
    """What Amazon refuses as wrongly asked may be a marketplace that the seller has left: who takes part tells."""
    if error.refusal is Refusal.REQUEST:
        try:
            _participation(api)
        except PlatformError as reason:
            return reason if reason.refusal is Refusal.PERMISSION else error
    return error


def _prove_seller(api: _Api, seller: str) -> None:
    """Has Amazon open this very seller's listings: the browser said who approved, and browsers can be made to lie."""
    query = {"marketplaceIds": api.marketplace_id, "includedData": "summaries", "pageSize": "1"}
    try:
        api.get(_READ_LISTINGS, f"{_LISTINGS}/{seller}", query)
    except PlatformError as error:
        if error.refusal not in {Refusal.PERMISSION, Refusal.REQUEST, Refusal.NOT_FOUND}:
            raise
        detail = (
            f"The approval does not open the listings of seller {seller} on {api.marketplace.host}: it is another "
            f"seller's, or the app lacks the role {_LISTING_ROLE}, or it got roles since the seller approved."
        )
        raise PlatformError(Refusal.PERMISSION, detail, status=error.status) from None


def _page(api: _Api, resource: Resource, cursor: Json) -> Page:
    if resource is Resource.ORDERS:
        return _orders_page(api, cursor)
    if "polls" in cursor:
        return _report_page(api, _Report(**cursor))
    return _listings_page(api, _Listed.read(cursor, api.now))


# Orders


class _Budget(NamedTuple):
    """What is left of the searches for orders, in thousandths of one, as far as this store spent them.

    Other stores of the seller spend from the same; where they did, Amazon's 429 says how long to wait.
    """

    level: int
    at: int

    @classmethod
    def read(cls, cursor: Json, now: datetime) -> "_Budget":
        return cls(*cursor.get("budget", (_SEARCHES_AT_ONCE * 1_000, epoch(now))))

    def spent(self, rate: float, now: datetime) -> "_Budget":
        grown = int(max(epoch(now) - self.at, 0) * rate * 1_000)
        return _Budget(max(min(self.level + grown, _SEARCHES_AT_ONCE * 1_000) - 1_000, 0), epoch(now))

    def ready_at(self, rate: float, now: datetime) -> datetime | None:
        lacking = 1_000 - self.level
        return now + _per_call(rate) * lacking / 1_000 if lacking > 0 else None


class _Search(NamedTuple):
    """Where a search for orders stands, in unix seconds.

    All pages of a search ask for the same closed time, so that what changes meanwhile belongs to the next cycle.
    """

    begin: int
    end: int
    token: str = ""
    again: int = 0
    pages: int = 0

    @classmethod
    def read(cls, cursor: Json, earliest: int, now: datetime) -> "_Search":
        """Where ``cursor`` says; else a new search from where the last one ended, or ``earliest``."""
        if "end" in cursor:
            return cls(**{name: value for name, value in cursor.items() if name != "budget"})
        end = epoch(now) - _BEFORE_NOW
        return cls(min(int(cursor.get("begin", earliest)), end - 1), end)

    def written(self, budget: _Budget) -> Json:
        return {name: value for name, value in self._asdict().items() if value} | {"budget": list(budget)}


class _Found(NamedTuple):
    """One page of a search."""

    rows: Sequence[Json]
    token: str
    rate: float = 0
    total: int | None = None


class _Turn(NamedTuple):
    """A page of a search for orders, and where to go on."""

    rows: Sequence[Json]
    cursor: Json
    done: bool
    ready_at: datetime | None


def _orders_page(api: _Api, cursor: Json) -> Page:
    turn = _search_turn(api, cursor, epoch(api.now) - _ORDERS_KEPT, "lastUpdated")
    records, bad = _mapped(turn.rows, lambda row: _order(row, api), "orderId")
    return Page(records, turn.cursor, turn.done, _partial(Resource.ORDERS, bad), turn.ready_at)


def _order_ids(api: _Api, cursor: Json) -> IdPage:
    """What was created in the last days; ``since`` stays that of the first page."""
    turn = _search_turn(api, cursor, epoch(api.now) - _BEFORE_NOW - _ORDERS_LISTED, "created")
    began = _Search.read(cursor, epoch(api.now) - _BEFORE_NOW - _ORDERS_LISTED, api.now).begin
    ids = [_listed_id(row) for row in turn.rows if _is_here(row, api)]
    return IdPage(ids, turn.cursor, turn.done, datetime.fromtimestamp(began, UTC), turn.ready_at)


def _search_turn(api: _Api, cursor: Json, earliest: int, by: str) -> _Turn:
    place, budget = _Search.read(cursor, earliest, api.now), _Budget.read(cursor, api.now)
    if place.pages > _MOST_PAGES:
        raise strange("Amazon's pages have no end.")
    query = {f"{by}After": _stamp(place.begin), f"{by}Before": _stamp(place.end)}
    try:
        found = _search_orders(api, {**query, **({"paginationToken": place.token} if place.token else {})})
    except PlatformError as error:
        # a token lives for a day: an older search begins anew
        if error.refusal is not Refusal.REQUEST or not place.token or place.again >= _MOST_AGAIN:
            raise
        anew = place._replace(token="", again=place.again + 1, pages=0)
        return _Turn([], anew.written(budget), done=False, ready_at=None)
    if found.token and found.token == place.token:
        raise strange("Amazon gives the same page again.")
    budget = budget.spent(found.rate, api.now)
    ready_at = budget.ready_at(found.rate, api.now)
    if not found.token:
        following = {"begin": max(place.end - _OVERLAP, 0), "budget": list(budget)}
        return _Turn(found.rows, following, done=True, ready_at=ready_at)
    further = place._replace(token=found.token, pages=place.pages + 1)
    return _Turn(found.rows, further.written(budget), done=False, ready_at=ready_at)


def _search_orders(api: _Api, query: Mapping[str, str]) -> _Found:
    common = {
        "marketplaceIds": api.marketplace_id,
        "includedData": api.order_data,
        "maxResultsPerPage": str(_ORDERS_A_PAGE),
    }
    reply = api.get(_SEARCH_ORDERS, _ORDERS, {**query, **common})
    token = as_text(as_dict(reply.content.get("pagination")).get("nextToken"))
    return _Found(_rows(reply.content, "orders"), token, reply.rate)


def _one_order(api: _Api, id: str) -> Record | None:
    if not _ID.fullmatch(id):
        raise PlatformError(Refusal.NOT_FOUND, "This is no id of an order at Amazon.")
    row = api.get(_GET_ORDER, f"{_ORDERS}/{id}", {"includedData": api.order_data}).content.get("order")
    if not isinstance(row, dict) or row.get("orderId") != id:
        raise strange("Amazon answered about another order.")
    try:
        return _order(row, api)
    except ValueError:
        raise PlatformError(Refusal.NOT_UNDERSTOOD, f"Order {id} was not understood.") from None


def _is_here(row: Json, api: _Api) -> bool:
    """Whether the order was placed in the store's marketplace, as far as it says where."""
    return as_text(as_dict(row.get("salesChannel")).get("marketplaceId")) in ("", api.marketplace_id)


def _order(row: Json, api: _Api) -> Record | None:
    """An order, whole in a search's answer as well; ``None`` where it is another store's.

    Fees are none: finances has them one call an order, days after it, and a look-up that had them would
    disagree with every search after it.
    """
    if not _is_here(row, api):
        return None
    id = _required_match(_ID, row.get("orderId"))
    created, updated = _required_time(row.get("createdTime")), _required_time(row.get("lastUpdatedTime"))
    status = _order_status(row)
    until = personal_until(row)
    personal = row if until > api.now else {}
    total = as_dict(as_dict(row.get("proceeds")).get("grandTotal"))
    body: Json = {
        "id": id,
        "number": id,
        "status": _ORDER_STATUS.get(status, OrderStatus.OTHER).value,
        "platformStatus": status,
        "total": _money(total.get("amount")),
        "currency": _currency(total.get("currencyCode")) or api.marketplace.currency,
        "lines": [_line(item, is_personal_kept=bool(personal)) for item in _order_items(row)],
        "customer": _customer(as_dict(personal.get("buyer"))),
        "shippingAddress": _address(as_dict(as_dict(personal.get("recipient")).get("deliveryAddress"))),
        "note": _note(personal),
        "fees": [],
        "createdAt": short(created),
        "updatedAt": short(updated),
    }
    return Record(id, updated, body, created, personal_until=until if personal else None)


def personal_until(row: Json) -> datetime:
    """When the buyer's data must be gone: 30 days after delivery at the latest.

    Amazon does not say when it was delivered, so what is known to come before counts for what has left the
    house: when the first package left, else when it was bought. For what has not left, the promised delivery.
    """
    created = _required_time(row.get("createdTime"))
    shipped = [time for package in as_dicts(row.get("packages")) if (time := _time(package.get("shipTime")))]
    fulfillment = as_dict(row.get("fulfillment"))
    if _order_status(row) in _OPEN:
        windows = [as_dict(fulfillment.get(name)) for name in ("deliverByWindow", "shipByWindow")]
        promised = [time for window in windows if (time := _time(window.get("latestDateTime")))]
        return _plus(promised[0] if promised else created, PERSONAL_KEPT)
    return _plus(min(shipped, default=created), PERSONAL_KEPT)


def _plus(time: datetime, span: timedelta) -> datetime:
    return time + min(span, datetime.max.replace(tzinfo=UTC) - time)


def _order_status(row: Json) -> str:
    return as_text(as_dict(row.get("fulfillment")).get("fulfillmentStatus")) or "UNKNOWN"


def _order_items(row: Json) -> list[Json]:
    items = row.get("orderItems")
    if not isinstance(items, list) or len(items) > _MOST_LINES:
        raise ValueError("no lines")
    return as_dicts(items)


def _line(item: Json, *, is_personal_kept: bool) -> Json:
    product = as_dict(item.get("product"))
    price = _money(as_dict(as_dict(product.get("price")).get("unitPrice")).get("amount"))
    quantity = _quantity(item.get("quantityOrdered"))
    sku = as_text(product.get("sellerSku"))
    return {
        "id": _required_match(_NAME, item.get("orderItemId")),
        "productId": sku or None,
        "variantId": sku or None,
        "title": as_text(product.get("title")),
        "sku": sku or None,
        "quantity": quantity,
        "unitPrice": price,
        "total": _line_total(item, price, quantity),
        "properties": list(_properties(item, product, is_personal_kept=is_personal_kept)),
    }


def _line_total(item: Json, price: str | None, quantity: int) -> str | None:
    """What the items alone cost, without shipping and taxes."""
    parts = as_dicts(as_dict(item.get("proceeds")).get("breakdowns"))[:_MOST_PARTS]
    amounts = [_money(as_dict(part.get("subtotal")).get("amount")) for part in parts if part.get("type") == "ITEM"]
    if amounts and all(amounts):
        return format(sum((Decimal(amount or 0) for amount in amounts), Decimal(0)), "f")
    return format(Decimal(price) * quantity, "f") if price else None


def _properties(item: Json, product: Json, *, is_personal_kept: bool) -> Iterator[Json]:
    """What print on demand needs. What a buyer had written onto it is in a file behind a link, and personal."""
    values = {"asin": product.get("asin"), "giftWrapLevel": _gift(item).get("giftWrapLevel")}
    if is_personal_kept:
        values["customizedUrl"] = as_dict(product.get("customization")).get("customizedUrl")
    for name, value in values.items():
        if text := as_text(value):
            yield {"name": name, "value": text}


def _gift(item: Json) -> Json:
    return as_dict(as_dict(as_dict(item.get("fulfillment")).get("packing")).get("giftOption"))


def _note(row: Json) -> str | None:
    """What the buyer has written to go with the gifts, each message once."""
    messages = [as_text(_gift(item).get("giftMessage")) for item in as_dicts(row.get("orderItems"))]
    return "\n".join(dict.fromkeys(message for message in messages if message)) or None


def _customer(buyer: Json) -> Json | None:
    name, email = as_text(buyer.get("buyerName")), as_text(buyer.get("buyerEmail"))
    return {"id": None, "name": name or None, "email": email or None} if name or email else None


def _address(given: Json) -> Json | None:
    lines = [text for number in range(1, 4) if (text := as_text(given.get(f"addressLine{number}")))]
    parts = {
        "name": as_text(given.get("name")),
        "company": as_text(given.get("companyName")),
        "line1": lines[0] if lines else "",
        "line2": ", ".join(lines[1:]),
        "city": as_text(given.get("city")) or as_text(given.get("municipality")),
        "region": as_text(given.get("stateOrRegion")) or as_text(given.get("districtOrCounty")),
        "postalCode": as_text(given.get("postalCode")),
        "country": as_text(given.get("countryCode")),
    }
    if not any(parts.values()):
        return None
    return {name: value or None for name, value in {**parts, "phone": as_text(given.get("phone"))}.items()}


# Listings


class _Listed(NamedTuple):
    """Where a cycle over the listings stands, in unix seconds.

    Each page goes on from the latest time on the page before, so that a listing that changes meanwhile can hide
    none, and no search gets as deep as Amazon's limit. Where a page stays within one second, or its times are
    not in order, Amazon's own page tokens lead on; if those end at the limit, a report tells all SKUs.
    """

    begin: int
    end: int
    token: str = ""
    seen: int = 0
    pages: int = 0
    loose: bool = False
    """The times that are shown are not those that Amazon sorts by: only its tokens are to be trusted."""

    @classmethod
    def read(cls, cursor: Json, now: datetime) -> "_Listed":
        if "end" in cursor:
            return cls(**cursor)
        end = epoch(now)
        return cls(min(int(cursor.get("begin", _EARLIEST)), end - 1), end)

    def written(self) -> Json:
        return {name: value for name, value in self._asdict().items() if value}

    def after(self, found: _Found, times: Sequence[datetime | None]) -> Json | None:
        """Where to go on; ``None`` where this was the last page."""
        if not found.token:
            capped = self.seen + len(found.rows) >= _DEEPEST
            return _Report(end=self.end).written() if capped else None
        if found.token == self.token:
            raise strange("Amazon gives the same page again.")
        known = [epoch(time) for time in times if time is not None]
        loose = self.loose or known != sorted(known) or any(time < self.begin for time in known[:1])
        if known and known[-1] > self.begin and not loose:
            return _Listed(known[-1], self.end, pages=self.pages + 1).written()
        seen = self.seen + len(found.rows)
        return self._replace(token=found.token, seen=seen, pages=self.pages + 1, loose=loose).written()


def _listings_page(api: _Api, place: _Listed) -> Page:
    if place.pages > _MOST_PAGES:
        raise strange("Amazon's pages have no end.")
    query = {
        "lastUpdatedAfter": _stamp(place.begin),
        "lastUpdatedBefore": _stamp(place.end),
        "sortBy": "lastUpdatedDate",
        "sortOrder": "ASC",
        "includedData": _LISTING_DATA,
    }
    try:
        found = _search_listings(api, query, place.token)
    except PlatformError as error:
        # a token that is too old: from the same second on, and without end if it is refused for ever
        if error.refusal is not Refusal.REQUEST or not place.token:
            raise
        anew = place._replace(token="", seen=0, pages=place.pages + _MOST_PAGES // 10)
        return Page([], anew.written(), done=False)
    records, bad = _mapped(found.rows, lambda row: _listing(row, api), "sku")
    times = [_time(_summary(row, api).get("lastUpdatedDate")) for row in found.rows]
    following = place.after(found, times)
    total = found.total if place.pages == 0 and found.total is not None and found.total < _DEEPEST else None
    cursor = following or {"begin": max(place.end - _OVERLAP, _EARLIEST)}
    ready_at = api.now + _per_call(found.rate) if following else None
    return Page(records, cursor, following is None, _partial(Resource.PRODUCTS, bad), ready_at, total)


def _listing_ids(api: _Api, cursor: Json) -> IdPage:
    query = {"sortBy": "createdDate", "sortOrder": "ASC", "includedData": "summaries"}
    token, seen = as_text(cursor.get("token")), int(cursor.get("seen", 0))
    found = _search_listings(api, query, token)
    seen += len(found.rows)
    if max(found.total or 0, seen) >= _DEEPEST:
        return IdPage([], _Report().written(), done=False)
    if found.token and found.token == token:
        raise strange("Amazon gives the same page again.")
    ids = [_listed_sku(row) for row in found.rows if _summary(row, api)]
    following = {"token": found.token, "seen": seen} if found.token else {}
    return IdPage(ids, following, not found.token, ready_at=api.now + _per_call(found.rate) if found.token else None)


def _search_listings(api: _Api, query: Mapping[str, str], token: str = "") -> _Found:
    paging = {"pageSize": str(_LISTINGS_A_PAGE), **({"pageToken": token} if token else {})}
    asked = {"marketplaceIds": api.marketplace_id, **query, **paging}
    reply = api.get(_READ_LISTINGS, f"{_LISTINGS}/{api.seller}", asked)
    following = as_text(as_dict(reply.content.get("pagination")).get("nextToken"))
    total = reply.content.get("numberOfResults")
    known = total if _is_int(total) and 0 <= total < _LARGEST_QUANTITY else None
    return _Found(_rows(reply.content, "items"), following, reply.rate, known)


def _one_listing(api: _Api, sku: str) -> Record | None:
    row = _listing_row(api, sku)
    try:
        return _listing(row, api)
    except ValueError:
        raise PlatformError(Refusal.NOT_UNDERSTOOD, f"The listing {sku!r} was not understood.") from None


def _listing_row(api: _Api, sku: str) -> Json:
    # a dot or two would be taken out of the path, and with them the sense of it
    if not _is_sku(sku) or sku in {".", ".."}:
        raise PlatformError(Refusal.NOT_FOUND, "This is no SKU.")
    query = {"marketplaceIds": api.marketplace_id, "includedData": _LISTING_DATA}
    row = api.get(_READ_LISTINGS, f"{_LISTINGS}/{api.seller}/{quote(sku, safe='')}", query).content
    if row.get("sku") != sku:
        raise strange("Amazon answered about another listing.")
    return row


def _listing(row: Json, api: _Api) -> Record | None:
    """A listing as a product; ``None`` where it is none yet in this marketplace, or no more."""
    summary = _summary(row, api)
    if not summary:
        return None
    sku = _required_text(row.get("sku"))
    if not _is_sku(sku):
        raise ValueError("no SKU")
    created, updated = _time(summary.get("createdDate")), _required_time(summary.get("lastUpdatedDate"))
    asin = as_text(summary.get("asin"))
    title = as_text(summary.get("itemName")) or sku
    price = _price(row, api)
    states = _states(summary)
    body: Json = {
        "id": sku,
        "title": title,
        "status": _product_status(states, is_parent=bool(_related(row, api, "childSkus"))).value,
        "platformStatus": ",".join(states) or "INACTIVE",
        "price": _money(price.get("amount")),
        "currency": _currency(price.get("currencyCode")) or api.marketplace.currency,
        "sku": sku,
        "imageUrl": as_text(as_dict(summary.get("mainImage")).get("link")) or None,
        "url": f"https://{api.marketplace.host}/dp/{asin}" if _ASIN.fullmatch(asin) else None,
        "variants": _variants(row, api, sku, title),
        "createdAt": short(created) if created else None,
        "updatedAt": short(updated),
    }
    return Record(sku, updated, body, created)


def _summary(row: Json, api: _Api) -> Json:
    return next(_of_marketplace(row.get("summaries"), api), {})


def _of_marketplace(rows: Any, api: _Api) -> Iterator[Json]:
    return (row for row in as_dicts(rows) if row.get("marketplaceId") == api.marketplace_id)


def _states(summary: Json) -> list[str]:
    given = summary.get("status")
    return sorted({as_text(state) for state in given[:_MOST_PARTS]} - {""}) if isinstance(given, list) else []


def _product_status(states: Sequence[str], *, is_parent: bool) -> ProductStatus:
    """A parent of variations is never bought itself: to be seen is all it can be."""
    if "BUYABLE" in states or (is_parent and "DISCOVERABLE" in states):
        return ProductStatus.ACTIVE
    return ProductStatus.INACTIVE if _LISTING_STATES.issuperset(states) else ProductStatus.OTHER


def _price(row: Json, api: _Api) -> Json:
    """The price for everybody; businesses may have another."""
    offers = [offer for offer in _of_marketplace(row.get("offers"), api) if offer.get("offerType") != "B2B"]
    return as_dict(offers[0].get("price")) if offers else {}


def _variants(row: Json, api: _Api, sku: str, title: str) -> list[Json]:
    """The SKU itself; of a parent its children, which are products of their own and have all the rest."""
    children = _related(row, api, "childSkus")
    if children:
        return [_variant(child, child, None, None, {}) for child in children]
    attributes = _attributes(row, api)
    named = ", ".join(attributes.values()) or title
    return [_variant(sku, named, _money(_price(row, api).get("amount")), _stock(row), attributes)]


def _variant(sku: str, title: str, price: str | None, stock: int | None, attributes: Mapping[str, str]) -> Json:
    return {
        "id": sku,
        "title": title,
        "sku": sku,
        "price": price,
        "inventoryQuantity": stock,
        "attributes": dict(attributes),
    }


def _relations(row: Json, api: _Api) -> Iterator[Json]:
    for place in _of_marketplace(row.get("relationships"), api):
        yield from (each for each in as_dicts(place.get("relationships")) if each.get("type") == "VARIATION")


def _related(row: Json, api: _Api, name: str) -> list[str]:
    found = [relation.get(name) for relation in _relations(row, api)]
    skus = [as_text(sku) for skus in found if isinstance(skus, list) for sku in skus]
    return [sku for sku in dict.fromkeys(skus) if sku][:_MOST_LINES]


def _attributes(row: Json, api: _Api) -> dict[str, str]:
    """What tells this SKU from the others of its parent, by the names of the variation's theme."""
    known = as_dict(row.get("attributes"))
    names = [as_dict(relation.get("variationTheme")).get("attributes") for relation in _relations(row, api)]
    wanted = [as_text(name) for found in names if isinstance(found, list) for name in found[:_MOST_PARTS]]
    values = {name: next((_plain(each.get("value")) for each in as_dicts(known.get(name))), "") for name in wanted}
    return {name: value for name, value in values.items() if name and value}


def _stock(row: Json) -> int | None:
    """What the seller can ship; Amazon's own warehouses tell no quantity here."""
    quantities = [each.get("quantity") for each in as_dicts(row.get("fulfillmentAvailability"))]
    known = [each for each in quantities if _is_int(each) and abs(each) < _LARGEST_QUANTITY]
    return sum(known) if known else None


# Reports: for catalogues that the search cannot show


class _Report(NamedTuple):
    """Where the work on a report stands; its id is in the cursor, so that a crash goes on with the same report."""

    report: str = ""
    polls: int = 0
    again: int = 0
    row: int = 0
    end: int = 0

    def written(self) -> Json:
        return {name: value for name, value in self._asdict().items() if value or name == "polls"}

    def anew(self) -> "_Report":
        """From the start, as this one will never be ready."""
        if self.again >= _MOST_AGAIN:
            raise strange("Amazon does not finish the report on all listings.")
        return _Report(again=self.again + 1, end=self.end)


def _report_page(api: _Api, place: _Report) -> Page:
    """The listings of a report, read as the search shows them, many to a page: each page costs a download."""
    ready = _worked_on(api, place)
    if isinstance(ready, _Report):
        return Page([], ready.written(), done=False, ready_at=api.now + _POLL)
    skus = list(_reported(api, ready))
    wanted = skus[place.row : place.row + _SKUS_A_PAGE]
    rows = _looked_up(api, wanted)
    records, bad = _mapped(rows.found, lambda row: _listing(row, api), "sku")
    row = place.row + rows.asked
    done = row >= len(skus)
    cursor = {"begin": max(place.end - _OVERLAP, _EARLIEST)} if done else place._replace(row=row).written()
    return Page(records, cursor, done, _partial(Resource.PRODUCTS, bad), rows.ready_at, len(skus))


def _reported_ids(api: _Api, place: _Report) -> IdPage:
    ready = _worked_on(api, place)
    if isinstance(ready, _Report):
        return IdPage([], ready.written(), done=False, ready_at=api.now + _POLL)
    return IdPage(list(_reported(api, ready)), {}, done=True)


def _worked_on(api: _Api, place: _Report) -> "_Report | str":
    """One step: the id of the finished document, or where the work stands now."""
    if not place.report:
        body = {"reportType": _ALL_LISTINGS, "marketplaceIds": [api.marketplace_id]}
        made = as_text(api.call(_CREATE_REPORT, "POST", _REPORTS, body=body).content.get("reportId"))
        return place._replace(report=_checked_name(made, "a report"), polls=place.polls + 1)
    try:
        report = api.get(_GET_REPORT, f"{_REPORTS}/{quote(place.report, safe='')}").content
    except PlatformError as error:
        if error.refusal not in {Refusal.NOT_FOUND, Refusal.REQUEST}:
            raise
        return place.anew()
    status = report.get("processingStatus")
    if status == "DONE":
        return _checked_name(report.get("reportDocumentId"), "a document")
    if status in {"IN_QUEUE", "IN_PROGRESS"} and place.polls < _MOST_POLLS:
        return place._replace(polls=place.polls + 1)
    return place.anew()


def _reported(api: _Api, document: str) -> Iterator[str]:
    """The SKUs of a report that have a listing, in its order."""
    described = api.get(_GET_DOCUMENT, f"{_DOCUMENTS}/{quote(document, safe='')}").content
    url = described.get("url")
    if not isinstance(url, str) or not _DOCUMENT_URL.fullmatch(url) or "#" in url or "\\" in url:
        raise PlatformError(Refusal.ADDRESS, "Amazon names a place for the report that is none of its own.")
    # without our token: the address itself is what opens it
    answer = api.http.request("GET", url)
    if answer.status != HTTPStatus.OK:
        raise PlatformError(Refusal.TRANSIENT, f"The report's place answered {answer.status}.", status=answer.status)
    match = _CHARSET.search(answer.headers.get("content-type", ""))
    charset = _CHARSETS.get(match[1].lower() if match else "", "")
    parts = _inflated(answer.body) if described.get("compressionAlgorithm") == "GZIP" else iter([answer.body])
    return _skus(_lines(parts), charset)


def _inflated(packed: bytes) -> Iterator[bytes]:
    inflater, size = zlib.decompressobj(_GZIP), 0
    try:
        while packed and not inflater.eof:
            part = inflater.decompress(packed, _CHUNK)
            packed = inflater.unconsumed_tail
            size += len(part)
            if size > _LARGEST_REPORT:
                raise strange("The report is larger than any.")
            yield part
        if not inflater.eof:
            raise PlatformError(Refusal.TRANSIENT, "The report was cut short.")
    except zlib.error:
        raise strange("The report is no gzip.") from None


def _lines(parts: Iterator[bytes]) -> Iterator[list[bytes]]:
    """The fields of each line. No character of the encodings that Amazon uses has a tab or line feed inside."""
    rest = b""
    for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        if len(rest) > _CHUNK:
            raise strange("The report has a line without end.")
        yield from (line.rstrip(b"\r").split(b"\t") for line in whole)
    if rest:
        yield rest.rstrip(b"\r").split(b"\t")


def _skus(lines: Iterator[list[bytes]], charset: str) -> Iterator[str]:
    """Columns come and go (https://github.com/amzn/selling-partner-api-models/issues/5216): two are looked for."""
    header = [_decoded(name, charset).lower() for name in next(lines, [])]
    at = next((header.index(name.lower()) for name in _SKU_COLUMNS if name.lower() in header), None)
    if at is None:
        raise strange("The report on all listings has no column of SKUs.")
    status = header.index("status") if "status" in header else len(header)
    for fields in lines:
        state = _decoded(fields[status], charset).lower() if status < len(fields) else ""
        sku = _decoded(fields[at], charset) if at < len(fields) else ""
        if _is_sku(sku) and state != _INCOMPLETE:
            yield sku


def _decoded(raw: bytes, charset: str) -> str:
    """As the answer says, else as Amazon is wont to."""
    try:
        return raw.decode(charset or "utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


class _Looked(NamedTuple):
    """The rows of the SKUs that were asked about, how many those were, and when more may be."""

    found: Sequence[Json]
    asked: int
    ready_at: datetime | None = None


def _looked_up(api: _Api, skus: Sequence[str]) -> _Looked:
    """The rows of these SKUs, as far as Amazon's patience goes."""
    found: list[Json] = []
    for start in range(0, len(skus), _LISTINGS_A_PAGE):
        try:
            found += _looked_up_at_once(api, skus[start : start + _LISTINGS_A_PAGE])
        except PlatformError as error:
            if error.refusal is not Refusal.RATE_LIMITED or not start:
                raise
            return _Looked(found, start, error.retry_at)
    return _Looked(found, len(skus))


def _looked_up_at_once(api: _Api, skus: Sequence[str]) -> list[Json]:
    """A SKU with a comma does not fit into a list of SKUs."""
    listed = [sku for sku in skus if "," not in sku]
    query = {"identifiers": ",".join(listed), "identifiersType": "SKU", "includedData": _LISTING_DATA}
    found = list(_search_listings(api, query).rows) if listed else []
    for sku in set(skus) - set(listed):
        try:
            found.append(_listing_row(api, sku))
        except PlatformError as error:
            if error.refusal is not Refusal.NOT_FOUND:
                raise
    return found


# Notifications


def _notification(delivery: Delivery) -> Json:
    """The notification of a delivery, taken out of EventBridge's envelope; empty where it is none."""
    content = object_in(delivery.body) if len(delivery.body) <= LARGEST_NOTICE else {}
    if "detail" in content and "detail-type" in content:
        detail = content["detail"]
        content = object_in(detail.encode("utf-8", "replace")) if isinstance(detail, str) else as_dict(detail)
    return content if isinstance(_field(content, "NotificationType"), str) else {}


def _field(content: Json, name: str) -> Any:
    """By its name as most types spell it, or beginning small, as some do."""
    return content[name] if name in content else content.get(name[0].lower() + name[1:])


def _about(delivery: Delivery) -> Json:
    return as_dict(_field(_notification(delivery), "NotificationMetadata"))


def _notice_id(about: Json) -> str:
    named = as_text(_field(about, "NotificationId"))
    return named if _NAME.fullmatch(named) else ""


def _payload(envelope: Json) -> Json:
    """What is told; some types have it in one more box, called like themselves."""
    payload = as_dict(_field(envelope, "Payload"))
    boxes = [value for name, value in payload.items() if name.endswith("Notification") and isinstance(value, dict)]
    return boxes[0] if boxes else payload


def _addressee(delivery: Delivery) -> tuple[str, str]:
    """Seller and marketplace, each empty where it is not named."""
    payload = _payload(_notification(delivery))
    seller = as_text(_field(payload, "SellerId"))
    summary = as_dict(_field(payload, "Summary"))
    marketplace = as_text(_field(payload, "MarketplaceId")) or as_text(_field(summary, "MarketplaceId"))
    if not _SELLER.fullmatch(seller):
        return "", ""
    return seller, marketplace if _SELLER.fullmatch(marketplace) else ""


def _grantless(api: _Api) -> str:
    """A token of the app itself: https://developer-docs.amazon.com/sp-api/docs/grantless-operations."""
    asked = {"grant_type": "client_credentials", "scope": _GRANTLESS}
    return _tokens(_login(app_of(api.connection, "Amazon"), asked, api.http, api.now), api.now).access_token


def _destination(api: _Api) -> tuple[str, str]:
    """Amazon's id of our queue in this region, made where there is none, and the app's token."""
    token = _grantless(api)
    there = api.call(_NOTIFY, "GET", _DESTINATIONS, token=token).content
    for row in _rows(there, "payload"):
        if as_dict(as_dict(row.get("resource")).get("sqs")).get("arn") == api.queue:
            return _checked_name(row.get("destinationId"), "a destination"), token
    body = {"name": "storelink", "resourceSpecification": {"sqs": {"arn": api.queue}}}
    made = as_dict(api.call(_NOTIFY, "POST", _DESTINATIONS, body=body, token=token).content.get("payload"))
    return _checked_name(made.get("destinationId"), "a destination"), token


def _subscription(api: _Api, topic: str) -> Json | None:
    try:
        reply = api.get(_NOTIFY, f"{_SUBSCRIPTIONS}/{topic}", {"payloadVersion": _PAYLOAD_VERSION})
    except PlatformError as error:
        if error.refusal is Refusal.NOT_FOUND:
            return None
        raise
    return as_dict(reply.content.get("payload")) or None


def _subscribe(api: _Api, topic: str, destination: str) -> None:
    """Makes the subscription; that somebody was quicker is fine."""
    body = {"payloadVersion": _PAYLOAD_VERSION, "destinationId": destination}
    try:
        api.call(_NOTIFY, "POST", f"{_SUBSCRIPTIONS}/{topic}", body=body)
    except PlatformError as error:
        if error.status != HTTPStatus.CONFLICT:
            raise


def _unsubscribe(api: _Api, topic: str, there: Json, token: str) -> None:
    """Ends the subscription; what is gone already is fine."""
    id = _checked_name(there.get("subscriptionId"), "a subscription")
    try:
        api.call(_NOTIFY, "DELETE", f"{_SUBSCRIPTIONS}/{topic}/{quote(id, safe='')}", token=token)
    except PlatformError as error:
        if error.refusal is not Refusal.NOT_FOUND:
            raise


# Login with Amazon


def _login(app: App, asked: Mapping[str, str], http: Http, now: datetime) -> Json:
    """The content of a token answer; https://developer-docs.amazon.com/sp-api/docs/connecting-to-the-selling-partner-api."""
    form = {**asked, "client_id": app.client_id, "client_secret": app.client_secret}
    content = urlencode(form).encode()
    answer = http.request("POST", _LOGIN, headers={"content-type": _FORM, "user-agent": _AGENT}, content=content)
    found = _dict_or_none(answer.body)
    if answer.status == HTTPStatus.OK and found is not None:
        return found
    raise _login_refusal(answer, as_text(as_dict(found).get("error")), now)


def _login_refusal(answer: Answer, error: str, now: datetime) -> PlatformError:
    """Only a grant that is dead is CREDENTIALS: a person would be called for it."""
    status = answer.status
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _throttled(answer, 1, now)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return PlatformError(Refusal.TRANSIENT, f"Login with Amazon failed with {status}.", status=status)
    if error == _DEAD_GRANT:
        return PlatformError(Refusal.CREDENTIALS, "Amazon says that this approval has ended.", status=status)
    if _CODE.fullmatch(error):
        return PlatformError(Refusal.REQUEST, f"Login with Amazon refuses our app: {error}.", status=status)
    return strange("Login with Amazon answered with something else than it does.", status)


def _tokens(content: Json, now: datetime) -> Tokens:
    access, renewed = content.get("access_token"), content.get("refresh_token")
    for token in (access, renewed):
        if token is not None and not (isinstance(token, str) and _SECRET.fullmatch(token)):
            raise strange("Amazon's answer has no tokens.")
    if access is None:
        raise strange("Amazon's answer has no tokens.")
    life = content.get("expires_in")
    ends = now + timedelta(seconds=life) if _is_int(life) and 0 < life <= _LONGEST_LIFE else None
    return Tokens(access, renewed, ends)


# What refusals mean


def _refusal(answer: Answer, content: Json | None, operation: _Operation, rate: float, now: datetime) -> PlatformError:
    """https://developer-docs.amazon.com/sp-api/docs/usage-plans-and-rate-limits, /sp-api-errors-faq.

    Amazon's own text stays out of ours, as it may repeat what was sent.
    """
    errors = as_dicts(as_dict(content).get("errors"))
    first = errors[0] if errors else {}
    code = as_text(first.get("code"))
    said = f"{as_text(first.get('message'))[:_LONGEST_MESSAGE]} {as_text(first.get('details'))[:_LONGEST_MESSAGE]}"
    status = answer.status
    if status == HTTPStatus.TOO_MANY_REQUESTS or code == "QuotaExceeded":
        return _throttled(answer, rate, now)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return PlatformError(Refusal.TRANSIENT, f"Amazon failed with {status}.", status=status)
    if not errors:
        return strange("Amazon answered with something else than it does.", status)
    refusal, detail = _meaning(status, said, code if _CODE.fullmatch(code) else "no code", operation)
    return PlatformError(refusal, detail, status=status)


def _meaning(status: int, said: str, code: str, operation: _Operation) -> tuple[Refusal, str]:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        if _AWS_HICCUP.search(said):
            return Refusal.TRANSIENT, "Amazon failed inside over a token of its own."
        if status == HTTPStatus.UNAUTHORIZED or _BAD_TOKEN.search(said):
            return Refusal.CREDENTIALS, "Amazon does not take the access token any more."
        detail = (
            f"Amazon denies this: the app lacks the role {operation.role}, or got it since the seller approved, "
            "or the approval is not of this region."
        )
        return Refusal.PERMISSION, detail
    if status == HTTPStatus.NOT_FOUND:
        return Refusal.NOT_FOUND, "Amazon says that this does not exist."
    return Refusal.REQUEST, f"Amazon refused our request: status {status}, {code}."


def _throttled(answer: Answer, rate: float, now: datetime) -> PlatformError:
    asked = answer.headers.get("retry-after", "")
    wait = timedelta(seconds=min(int(asked), _LONGEST_WAIT)) if _SECONDS.fullmatch(asked) else _per_call(rate)
    return PlatformError(Refusal.RATE_LIMITED, "Amazon asks us to wait.", status=answer.status, retry_at=now + wait)


def _rate(answer: Answer, operation: _Operation) -> float:
    """Calls a second, as the answer says them for this seller; else the usage plan's."""
    told = answer.headers.get("x-amzn-ratelimit-limit", "")
    return (float(told) if _RATE.fullmatch(told) else 0) or operation.rate


def _per_call(rate: float) -> timedelta:
    return timedelta(seconds=min(1 / rate, _LONGEST_WAIT))


# Small readings


def _mapped(rows: Sequence[Json], read: Callable[[Json], Record | None], named: str) -> tuple[list[Record], list[str]]:
    """The records of a page, and what those are called that could not be read."""
    records, bad = [], []
    for row in rows:
        try:
            record = read(row)
        except ValueError:
            bad.append(as_text(row.get(named))[:40] or "without an id")
        else:
            records += [record] if record else []
    return records, bad


def _partial(resource: Resource, bad: Sequence[str]) -> str | None:
    return f"Not understood: {resource} {', '.join(bad)}." if bad else None


def _stamp(seconds: int) -> str:
    return short(datetime.fromtimestamp(seconds, UTC))


def _dict_or_none(body: bytes) -> Json | None:
    try:
        found = decoded(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _rows(content: Json, name: str) -> list[Json]:
    rows = content.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise strange("Amazon answered with something else than a list.")
    return rows


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _plain(value: Any) -> str:
    return str(value) if _is_int(value) and abs(value) < _LARGEST_QUANTITY else as_text(value)


def _required_text(value: Any) -> str:
    text = as_text(value)
    if not text:
        raise ValueError("a field is missing")
    return text


def _required_match(pattern: re.Pattern[str], value: Any) -> str:
    text = as_text(value)
    if not pattern.fullmatch(text):
        raise ValueError("a name is missing")
    return text


def _is_sku(text: str) -> bool:
    """Whatever sellers make up; only what could not be sent or stored is none."""
    return 0 < len(text) <= _LONGEST_SKU and not _CONTROL.search(text) and text == as_text(text)


def _checked_name(value: Any, what: str) -> str:
    name = as_text(value)
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise strange(f"Amazon names {what} without an id.")
    return name


def _listed_id(row: Json) -> str:
    return _checked_name(row.get("orderId"), "an order")


def _listed_sku(row: Json) -> str:
    sku = as_text(row.get("sku"))
    if not _is_sku(sku):
        raise strange("Amazon lists something without a SKU.")
    return sku


def _quantity(value: Any) -> int:
    if not _is_int(value) or abs(value) >= _LARGEST_QUANTITY:
        raise ValueError("no quantity")
    return value


def _money(value: Any) -> str | None:
    text = str(value) if isinstance(value, str) or (_is_int(value) and abs(value) < 10**15) else ""
    return text if _AMOUNT.fullmatch(text) else None


def _currency(value: Any) -> str | None:
    text = as_text(value)
    return text if _CURRENCY.fullmatch(text) else None


def _time(value: Any) -> datetime | None:
    try:
        time = clock.from_text(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
    return time if time and time.year >= _EPOCH_YEAR else None


def _required_time(value: Any) -> datetime:
    time = _time(value)
    if time is None:
        raise ValueError("no time")
    return time
