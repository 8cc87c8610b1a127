"""eBay: sellers approve our app by OAuth; orders and inventory are read with the seller's token.

Documented at https://developer.ebay.com/develop/api/; the tests hold this file to the OpenAPI documents that
eBay publishes there. Fees come with the orders. Where an order does not tell them the Finances API does, if the
app's registration has a key to sign those calls with, as EU and UK sellers need it.
"""

import hashlib
import json
import re
from binascii import Error as NoBase64
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, NamedTuple, TypeGuard
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from shared import clock
from shared.addresses import normal_origin, target_of
from shared.clock import epoch, from_text, short
from shared.platforms.base import (
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
    PrivacyKind,
    PrivacyRequest,
    ProductStatus,
    Record,
    Refusal,
    Resource,
    Subscribed,
    Tokens,
    Verdict,
)
from shared.platforms.reading import app_of, as_dict, as_dicts, as_text, callback_of, decoded, object_in, strange

_API = "https://api.ebay.com"
_TOKEN = "https://api.ebay.com/identity/v1/oauth2/token"  # noqa: S105 - an address
_CONSENT = "https://auth.ebay.com/oauth2/authorize"
_USER = "https://apiz.ebay.com/commerce/identity/v1/user/"
_PRIVILEGE = f"{_API}/sell/account/v1/privilege"
_ORDERS = f"{_API}/sell/fulfillment/v1/order"
_ITEMS = f"{_API}/sell/inventory/v1/inventory_item"
_OFFERS = f"{_API}/sell/inventory/v1/offer"
_NOTIFICATIONS = f"{_API}/commerce/notification/v1"
_TRANSACTIONS = "https://apiz.ebay.com/sell/finances/v1/transaction"
_FORM = "application/x-www-form-urlencoded"

_SCOPE = "https://api.ebay.com/oauth/api_scope"
SCOPES = (
    _SCOPE,
    f"{_SCOPE}/sell.inventory.readonly",
    f"{_SCOPE}/sell.fulfillment.readonly",
    f"{_SCOPE}/sell.account.readonly",
    f"{_SCOPE}/commerce.identity.readonly",
    f"{_SCOPE}/commerce.notification.subscription",
)
"""What the app asks for; the contracts name them at each call."""
SIGNED_SCOPE = f"{_SCOPE}/sell.finances"
"""What an app asks for besides that can sign its calls."""

TOPICS = ("ORDER_CONFIRMATION",)
"""What is subscribed to for each seller: no other topic of sellers names an order."""
APP_TOPICS = ("MARKETPLACE_ACCOUNT_DELETION", "AUTHORIZATION_REVOCATION")
"""What is subscribed to for the app as a whole."""
_DELETION, _REVOCATION = APP_TOPICS
_BY_SELLER = "REVOKED_BY_USER"
_DESTINATION_NAME = "storelink"
_USUAL_SCHEMA = "1.0"

# https://developer.ebay.com/api-docs/sell/fulfillment/types/sel:OrderPaymentStatusEnum
_UNPAID = {"PENDING", "FAILED"}
_PAID = {"PAID", "PARTIALLY_REFUNDED"}
_REFUNDED = "FULLY_REFUNDED"
_CANCELLED = "CANCELED"
# https://developer.ebay.com/api-docs/sell/fulfillment/types/sel:OrderFulfillmentStatus
_FULFILLMENT = {
    "NOT_STARTED": OrderStatus.PAID,
    "IN_PROGRESS": OrderStatus.PARTLY_SHIPPED,
    "FULFILLED": OrderStatus.COMPLETED,
}
# https://developer.ebay.com/api-docs/sell/inventory/types/slr:ListingStatusEnum
_LISTING = {
    "ACTIVE": ProductStatus.ACTIVE,
    "OUT_OF_STOCK": ProductStatus.INACTIVE,
    "INACTIVE": ProductStatus.INACTIVE,
    "ENDED": ProductStatus.INACTIVE,
    "EBAY_ENDED": ProductStatus.INACTIVE,
    "NOT_LISTED": ProductStatus.DRAFT,
}
_PUBLISHED, _UNPUBLISHED = "PUBLISHED", "UNPUBLISHED"

# https://developer.ebay.com/api-docs/commerce/identity/types/bas:MarketplaceIdEnum
_MARKETPLACES = {
    "EBAY_US": ("USD", "ebay.com"), "EBAY_MOTORS_US": ("USD", "ebay.com"), "EBAY_GB": ("GBP", "ebay.co.uk"),
    "EBAY_DE": ("EUR", "ebay.de"), "EBAY_FR": ("EUR", "ebay.fr"), "EBAY_IT": ("EUR", "ebay.it"),
    "EBAY_ES": ("EUR", "ebay.es"), "EBAY_AT": ("EUR", "ebay.at"), "EBAY_IE": ("EUR", "ebay.ie"),
    "EBAY_NL": ("EUR", "ebay.nl"), "EBAY_BE": ("EUR", "ebay.be"), "EBAY_CH": ("CHF", "ebay.ch"),
    "EBAY_PL": ("PLN", "ebay.pl"), "EBAY_CA": ("CAD", "ebay.ca"), "EBAY_AU": ("AUD", "ebay.com.au"),
    "EBAY_HK": ("HKD", "ebay.com.hk"), "EBAY_SG": ("SGD", "ebay.com.sg"), "EBAY_MY": ("MYR", "ebay.com.my"),
    "EBAY_PH": ("PHP", "ebay.ph"),
}  # fmt: skip
_HOSTS = frozenset(host for _, host in _MARKETPLACES.values())
_ELSEWHERE = "ebay.com"

_NOT_FOUND = {25702, 25705, 25710, 25713, 32100, 195001}
"""Errors that come with 400 or 404 and say that something does not exist."""
_SUBSCRIBED_ALREADY = 195012
_NEEDS_SETTING_UP = 195003
_CHALLENGE_FAILED = 195020
_HINTS = {
    "invalid_client": ", clientId and clientSecret are not those of a keyset that is enabled",
    "unauthorized_client": ", the keyset may not do this",
    "invalid_request": ", ru_name may not be one of the app's",
    "invalid_scope": ", the keyset has not been granted a scope that we ask for",
}
"""What an operator can do about a refusal at the token endpoint."""
_NEEDED = {
    _USER: "commerce.identity.readonly",
    _PRIVILEGE: "sell.account.readonly",
    _ORDERS: "sell.fulfillment.readonly",
    _ITEMS: "sell.inventory.readonly",
    _OFFERS: "sell.inventory.readonly",
    _NOTIFICATIONS: "commerce.notification.subscription",
    _TRANSACTIONS: "sell.finances",
}
"""The scope without which calls to an address, and below it, are refused with 403."""
_BY_STATUS: Mapping[int, tuple[Refusal, str]] = {
    401: (Refusal.CREDENTIALS, "eBay does not accept the access token."),
    404: (Refusal.NOT_FOUND, "eBay says that this does not exist."),
    408: (Refusal.TRANSIENT, "eBay took too long."),
}

_ORDERS_A_PAGE = 200
_ITEMS_A_PAGE = 50
"""A page whose items changed costs a further call for each of them: for its offers."""
_IDS_A_PAGE = 100
_SUBSCRIPTIONS_A_PAGE = 100
_MOST_PAGES = 20_000
_MOST_SUBSCRIPTION_PAGES = 50
_PRICED_EVERY = 3_600
_PRICED_AT_ONCE = 10
"""Pages whose prices are read again within an hour; of a longer catalogue in proportion later."""
_MOST_REPEATS = 5
_MARK = 4
_NO_MARK = "-" * _MARK
_UNDATED = datetime(1970, 1, 1, tzinfo=UTC)
"""Inventory has no time of change. One time for all lets the later look win, and equal contents be no news."""

_REACH = 720 * 86_400
"""Seconds: orders are shown for two years, and a request that reaches further back is refused."""
_SETTLING = 10
"""A time in the future, by eBay's clock, is refused as well."""
_OVERLAP = 600
"""Seconds that a cycle reaches back behind the start of the one before: for rows that are indexed late."""
_ORDERS_LISTED = 30 * 86_400
_NEWEST = 7 * 86_400
_LARGEST_GROWTH = 8
_MOST_AGAIN = 20
_LONGEST_WAIT = 86_400
_LONGEST_LIFE = 10 * 365 * 86_400
_LARGEST_QUANTITY = 10**15
_MOST_PARTS = 100
_EPOCH = 1970

_KEY_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\s*([A-Za-z0-9+/\s]{1,2000}={0,2})\s*-----END PUBLIC KEY-----\s*")
_LONGEST_SIGNATURE = 2_048
_VERIFICATION_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,80}")
_CHALLENGE = re.compile(r"[!-~]{1,256}")
_RU_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")
_SECRET = re.compile(r"[!-~]{1,8192}")
_TOPIC = re.compile(r"[A-Z0-9_]{1,60}")
_NAME = re.compile(r"[!-~]{1,200}")
_ORDER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9!_-]{0,63}")
_LISTING_ID = re.compile(r"[0-9]{1,20}")
_USER_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._*-]{0,63}")
_OPAQUE_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_LONGEST_SKU = 100
_AMOUNT = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,6})?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_SECONDS = re.compile(r"[0-9]{1,12}")
_ERROR = re.compile(r"[a-z_]{1,40}")
_HTTPS = 443
_MARGIN = timedelta(minutes=5)
"""A token of the app's that ends sooner is not used for another call."""

_APP_LIMITS = tuple(
    CallLimit(name, re.compile(re.escape(prefix)), per_day)
    for name, prefix, per_day in (
        ("fulfillment", f"{_API}/sell/fulfillment/", 100_000),
        ("inventory", f"{_API}/sell/inventory/", 2_000_000),
        ("account", f"{_API}/sell/account/", 25_000),
        ("notification", f"{_NOTIFICATIONS}/", 10_000),
        ("tokens", _TOKEN, 50_000),
    )
)
"""Of an app that was granted no more: https://developer.ebay.com/develop/get-started/api-call-limits, and of tokens
https://developer.ebay.com/api-docs/static/oauth-rate-limits.html. No answer tells them; those of fulfillment and
inventory are unverified."""


class Ebay:
    """Fits Platform, ShowsNewest, GrantsByOAuth, and the Protocols of webhooks save SignsWithApp."""

    name = PlatformName.EBAY
    credential_sets = (frozenset({"access_token", "refresh_token"}),)
    parsed_headers = frozenset[str]()
    phrases = ()
    token_life = timedelta(hours=2)
    app_limits = _APP_LIMITS

    def normal_domain(self, text: str) -> str:
        """The seller's page at eBay, if it is given: nothing is ever called there."""
        if not text.strip():
            return ""
        address = normal_origin(text)
        host, port = target_of(address)
        if port == _HTTPS and any(f".{host}".endswith(f".{known}") for known in _HOSTS):
            return address
        raise ValueError("The address must be one of eBay's, such as https://www.ebay.com/usr/name, or be left out.")

    def probe(self, connection: Connection, http: Http) -> Identity:
        """Who approved, and that they may sell."""
        identity = _seller(_Api.of_store(connection, http, clock.now()), connection.domain)
        if connection.store_id and identity.store_id != connection.store_id:
            raise PlatformError(
                Refusal.PERMISSION,
                f"The token is good, but of another seller: {identity.store_name or identity.store_id} approved.",
            )
        return identity

    def fetch(self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime) -> Page:
        """The next page of a cycle; :class:`_Place` says how orders are paged, :class:`_Shelf` how inventory is."""
        api = _Api.of_store(connection, http, now)
        if resource is Resource.PRODUCTS:
            return _item_page(api, _Shelf.read(cursor, now))
        return _order_page(api, _Place.read(cursor, now, _REACH))

    def fetch_one(self, connection: Connection, resource: Resource, id: str, http: Http) -> Record:
        """The record by its id: an order's, or a SKU."""
        api = _Api.of_store(connection, http, clock.now())
        try:
            if resource is Resource.ORDERS:
                return _order(api, _checked(api.get(f"{_ORDERS}/{_path_of(id, _order_id)}"), "orderId", id))
            item = api.get(f"{_ITEMS}/{_path_of(id, _sku)}")
            return _product({**item, "sku": id}, _offers(api, id))
        except ValueError:
            raise PlatformError(Refusal.NOT_UNDERSTOOD, f"{resource} {id} was not understood.") from None

    def list_ids(
        self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime
    ) -> IdPage:
        """All SKUs; orders of the last 30 days, as orders are never deleted."""
        api = _Api.of_store(connection, http, now)
        if resource is Resource.PRODUCTS:
            return _item_ids(api, cursor)
        return _order_ids(api, _Place.read(cursor, now, _ORDERS_LISTED))

    def newest_orders(self, connection: Connection, http: Http, now: datetime) -> Sequence[Record]:
        """What was ordered in the last days."""
        api = _Api.of_store(connection, http, now)
        end = epoch(now) - _SETTLING
        rows = _search(api, "creationdate", end - _NEWEST, end, 0).rows
        records, _ = _orders(api, rows)
        return sorted(records, key=lambda record: record.created_at or record.updated_at, reverse=True)

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: datetime) -> Verdict:  # noqa: ARG002
        """The ECDSA signature over the raw body, by any of ``secrets``: public keys as PEM. Nothing is dated."""
        claimed = _signature(delivery)
        if claimed is None or not delivery.body:
            return Verdict.FORGED
        genuine = any(_is_signed(delivery.body, claimed.signature, secret) for secret in secrets)
        return Verdict.GENUINE if genuine else Verdict.FORGED

    def key_id(self, delivery: Delivery) -> str:
        """The ``kid`` of the signature; it becomes part of an address, so that nothing else than an id is taken."""
        claimed = _signature(delivery)
        return claimed.key_id if claimed else ""

    def fetch_key(self, app: App, key_id: str, http: Http, now: datetime) -> str:
        """https://developer.ebay.com/api-docs/commerce/notification/resources/public_key/methods/getPublicKey.

        Whoever calls this keeps what it gives for an hour, and which ids there are not.
        """
        if not _KEY_ID.fullmatch(key_id):
            raise PlatformError(Refusal.NOT_FOUND, "This is no id of a key.")
        found = _Api.of_app(app, http, now).get(f"{_NOTIFICATIONS}/public_key/{key_id}")
        key = found.get("key")
        if not isinstance(key, str) or not _PEM.fullmatch(key):
            raise strange("eBay gave something else than a public key.")
        return key

    def answer_challenge(self, app: App, query: Mapping[str, str], endpoint: str) -> Json:
        """https://developer.ebay.com/marketplace-account-deletion: asked when the address is registered."""
        code = query.get("challenge_code", "")
        if not _CHALLENGE.fullmatch(code):
            raise ValueError("There is no challenge_code.")
        return {"challengeResponse": challenge_response(code, _verification_token(app), endpoint)}

    def topic(self, delivery: Delivery) -> str:
        """As the body names it."""
        name = as_text(as_dict(object_in(delivery.body).get("metadata")).get("topic"))
        return name if _TOPIC.fullmatch(name) else ""

    def event_id(self, delivery: Delivery) -> str:
        """The notification's id: repeats share it, though their bodies count the attempts."""
        name = as_text(as_dict(object_in(delivery.body).get("notification")).get("notificationId"))
        return name if _NAME.fullmatch(name) else ""

    def store_of(self, delivery: Delivery) -> str:
        """The seller's user id, wherever the topic has it; that of a deleted account may be any user's."""
        data = as_dict(as_dict(object_in(delivery.body).get("notification")).get("data"))
        name = as_text(data.get("userId")) or as_text(as_dict(data.get("user")).get("userId"))
        return name if _NAME.fullmatch(name) else ""

    def parse(self, delivery: Delivery) -> Sequence[Event]:
        """What is to be looked up, erased or probed. A topic that names no order announces nothing."""
        body = decoded(delivery.body)
        topic = as_text(as_dict(as_dict(body).get("metadata")).get("topic"))
        data = as_dict(as_dict(body).get("notification")).get("data")
        if not _TOPIC.fullmatch(topic) or not isinstance(data, dict):
            raise ValueError("The body is no notification of eBay.")
        if topic == _DELETION:
            return _erasures(data)
        if topic == _REVOCATION:
            return [Event(None, access_lost=True, disconnected=data.get("revokeReason") == _BY_SELLER)]
        order_id = as_dict(data.get("order")).get("orderId")
        if order_id is None and topic not in TOPICS:
            return []
        return [Event(Resource.ORDERS, _order_id(order_id))]

    def reconcile(self, connection: Connection, delivery_url: str, secret: str, http: Http) -> Subscribed:  # noqa: ARG002
        """The seller's own subscriptions, to the app's address: the deliveries name the seller.

        Where that address is registered already, ``destination_id`` of the app's registration saves the calls,
        and the scarce application token, by which it is found.
        """
        now = clock.now()
        app = app_of(connection, "eBay")
        api = _Api.of_store(connection, http, now)
        known = app.more.get("destination_id", "")
        there = _subscriptions(api)
        if not _OPAQUE_ID.fullmatch(known):
            known = _destination(_Api.of_app(app, http, now), app, _address_of_app(delivery_url)).id
        return _subscribed(api, TOPICS, there, known)

    def unsubscribe(self, connection: Connection, delivery_url: str, http: Http) -> None:  # noqa: ARG002
        """Deletes the seller's subscriptions; there is one for each topic, app and user, so they are ours."""
        api = _Api.of_store(connection, http, clock.now())
        for hook in _subscriptions(api):
            if hook.get("topicId") in TOPICS:
                api.delete(f"{_NOTIFICATIONS}/subscription/{_opaque_id(hook, 'subscriptionId')}")

    def reconcile_app(self, app: App, app_url: str, http: Http, now: datetime) -> Subscribed:
        """The app's address, which eBay marks down where it does not answer, and the topics about the app."""
        api = _Api.of_app(app, http, now)
        destination = _destination(api, app, app_url)
        done = _subscribed(api, APP_TOPICS, _subscriptions(api), destination.id)
        return done._replace(
            created=done.created + destination.was_created, repaired=done.repaired + destination.was_repaired
        )

    def authorization_url(
        self,
        app: App,
        domain: str,  # noqa: ARG002 - the seller is who approves
        *,
        state: str,
        return_url: str,  # noqa: ARG002 - it is set at eBay, under the RuName
        challenge: str,  # noqa: ARG002 - there is no PKCE
    ) -> str:
        """https://developer.ebay.com/api-docs/static/oauth-consent-request.html."""
        query = {
            "client_id": app.client_id,
            "redirect_uri": _ru_name(app),
            "response_type": "code",
            "scope": " ".join((*SCOPES, SIGNED_SCOPE) if _signs(app) else SCOPES),
            "state": state,
        }
        return f"{_CONSENT}?{urlencode(query, quote_via=quote)}"

    def read_callback(self, app: App, query: Sequence[tuple[str, str]], now: datetime) -> Callback:  # noqa: ARG002
        """Nothing here is signed: the state is the only proof. A seller who declines brings no code."""
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
        return_url: str,  # noqa: ARG002
        verifier: str,  # noqa: ARG002
        http: Http,
        now: datetime,
    ) -> Tokens:
        """The tokens for a code, which is good for five minutes. What was granted shows at the first calls only."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": _ru_name(app)}
        tokens = _tokens(_token_call(app, form, http, now), now)
        if tokens.refresh_token is None:
            raise strange("eBay's answer has no refresh token.")
        return tokens

    def stores_of(self, connection: Connection, http: Http) -> Sequence[Identity]:
        """The seller who approved."""
        return [_seller(_Api.of_store(connection, http, clock.now()), connection.domain)]

    def refresh(self, connection: Connection, http: Http, now: datetime) -> Tokens:
        """A new access token; the refresh token stays for its 18 months.

        No scopes are asked for: that gives those that were granted, and a grant from before our list grew would
        be refused with the list of today.
        """
        refresh_token = connection.credentials.get("refresh_token", "")
        if not _SECRET.fullmatch(refresh_token):
            raise PlatformError(Refusal.CREDENTIALS, "The store has no refresh token.")
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return _tokens(_token_call(app_of(connection, "eBay"), form, http, now), now)


def challenge_response(code: str, verification_token: str, endpoint: str) -> str:
    """The hash that proves to know the token; ``endpoint`` to the letter as it is registered."""
    return hashlib.sha256(f"{code}{verification_token}{endpoint}".encode("utf-8", "surrogatepass")).hexdigest()


# Webhooks


class _Signature(NamedTuple):
    """What the signature's header says."""

    key_id: str
    signature: bytes


def _signature(delivery: Delivery) -> _Signature | None:
    """The header, read strictly: one spelling, the one algorithm that there is, and an id that is one."""
    text = delivery.headers.get("x-ebay-signature", "")
    try:
        claimed = as_dict(decoded(_base64(text))) if len(text) <= _LONGEST_SIGNATURE else {}
        signature = _base64(as_text(claimed.get("signature")))
    except ValueError:
        return None
    key_id = as_text(claimed.get("kid"))
    algorithm = (as_text(claimed.get("alg")).lower(), as_text(claimed.get("digest")).upper())
    if algorithm != ("ecdsa", "SHA1") or not _KEY_ID.fullmatch(key_id) or not signature:
        return None
    return _Signature(key_id, signature)


def _base64(text: str) -> bytes:
    """The bytes of base64 in its canonical spelling; :class:`ValueError` otherwise."""
    try:
        found = a2b_base64(text)
    except (NoBase64, UnicodeEncodeError):
        raise ValueError("no base64") from None
    if b2a_base64(found, newline=False).decode() != text:
        raise ValueError("no canonical base64")
    return found


def _is_signed(body: bytes, signature: bytes, pem: str) -> bool:
    """Whether the owner of the key ``pem`` signed ``body``."""
    match = _PEM.fullmatch(pem)
    return match is not None and _check(match[1])(signature, body)


@lru_cache(maxsize=16)
def _check(public_key: str) -> Callable[[bytes, bytes], bool]:
    """What tells a signature of this key for a body: ECDSA on P-256 with SHA-1, which eBay has chosen.

    Kept, since one key signs all deliveries of many days: to read it anew, which OpenSSL then prepares anew, takes a
    fifth of the time of the check. Whoever calls this makes sure that what is kept is public.
    """
    # imported where a delivery of eBay is met: it costs 50 ms
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.hashes import SHA1
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(a2b_base64(public_key))
    except (UnsupportedAlgorithm, ValueError):
        return _refuse
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        return _refuse
    scheme = ECDSA(SHA1())  # noqa: S303 - what eBay signs with

    def is_signed(signature: bytes, body: bytes) -> bool:
        try:
            key.verify(signature, body, scheme)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError):
            return False
        return True

    return is_signed


def _refuse(signature: bytes, body: bytes) -> bool:  # noqa: ARG001
    """The check of what is no key."""
    return False


def _erasures(data: Json) -> list[Event]:
    """By each name that orders may call the buyer by, and the store, if the user has one.

    https://developer.ebay.com/marketplace-account-deletion; orders have the user name or, for some developers,
    the user id in its place.
    """
    names = [name for name in (as_text(data.get("userId")), as_text(data.get("username"))) if name]
    if not names:
        raise ValueError("no user is named")
    customers = [Event(None, privacy=PrivacyRequest(PrivacyKind.ERASE_CUSTOMER, buyer=name)) for name in names]
    return [*dict.fromkeys(customers), Event(None, privacy=PrivacyRequest(PrivacyKind.ERASE_STORE))]


def _verification_token(app: App) -> str:
    token = app.more.get("verification_token", "")
    if not _VERIFICATION_TOKEN.fullmatch(token):
        raise ValueError("The app's registration has no verification_token of 32 to 80 letters, digits, _ or -.")
    return token


# Subscriptions


class _Destination(NamedTuple):
    """Where eBay delivers to, and what had to be done about it."""

    id: str
    was_created: bool = False
    was_repaired: bool = False


def _address_of_app(delivery_url: str) -> str:
    """The app's own address is above those of its connections."""
    return delivery_url.rpartition("/")[0]


def _destination(api: "_Api", app: App, endpoint: str) -> _Destination:
    """The destination for ``endpoint``, made or set right."""
    there = [each for each in _listed(api, "destination") if _endpoint(each) == endpoint]
    if not there:
        return _Destination(_new_destination(api, app, endpoint), was_created=True)
    found = _opaque_id(there[0], "destinationId")
    if there[0].get("status") == "ENABLED":
        return _Destination(found)
    api.send("PUT", f"{_NOTIFICATIONS}/destination/{found}", _wanted_destination(app, endpoint))
    return _Destination(found, was_repaired=True)


def _new_destination(api: "_Api", app: App, endpoint: str) -> str:
    """The challenge is asked for during this call, and an address to send alerts to before it."""
    _set_alerts(api, app)
    answer = api.send("POST", f"{_NOTIFICATIONS}/destination", _wanted_destination(app, endpoint))
    return _created_id(answer, "destination")


def _wanted_destination(app: App, endpoint: str) -> Json:
    try:
        token = _verification_token(app)
    except ValueError as error:
        raise PlatformError(Refusal.REQUEST, str(error)) from None
    config = {"endpoint": endpoint, "verificationToken": token}
    return {"name": _DESTINATION_NAME, "status": "ENABLED", "deliveryConfig": config}


def _set_alerts(api: "_Api", app: App) -> None:
    """https://developer.ebay.com/api-docs/commerce/notification/resources/config/methods/updateConfig."""
    wanted = app.more.get("alert_email", "")
    try:
        has = as_text(api.get(f"{_NOTIFICATIONS}/config").get("alertEmail"))
    except PlatformError as error:
        if error.refusal is not Refusal.NOT_FOUND:
            raise
        has = ""
    if wanted and wanted != has:
        api.send("PUT", f"{_NOTIFICATIONS}/config", {"alertEmail": wanted})
    elif not has:
        raise PlatformError(Refusal.REQUEST, "The app's registration lacks alert_email, which eBay wants.")


def _subscribed(api: "_Api", topics: Sequence[str], there: Sequence[Json], destination: str) -> Subscribed:
    """Makes the subscriptions to ``topics`` those that should exist; others stay as they are."""
    done = Subscribed()
    missing = dict.fromkeys(topics)
    for hook in there:
        topic = as_text(hook.get("topicId"))
        if topic not in topics:
            continue
        place = f"{_NOTIFICATIONS}/subscription/{_opaque_id(hook, 'subscriptionId')}"
        if topic not in missing:
            api.delete(place)
            done = done._replace(removed=done.removed + 1)
            continue
        del missing[topic]
        if hook.get("status") == "ENABLED" and hook.get("destinationId") == destination:
            done = done._replace(kept=done.kept + 1)
            continue
        api.send("PUT", place, _wanted_subscription(api, topic, destination))
        done = done._replace(repaired=done.repaired + 1)
    for topic in missing:
        wanted = {"topicId": topic, **_wanted_subscription(api, topic, destination)}
        api.send("POST", f"{_NOTIFICATIONS}/subscription", wanted)
        done = done._replace(created=done.created + 1)
    return done


def _wanted_subscription(api: "_Api", topic: str, destination: str) -> Json:
    payload = {"format": "JSON", "schemaVersion": _schema_of(api, topic), "deliveryProtocol": "HTTPS"}
    return {"status": "ENABLED", "payload": payload, "destinationId": destination}


def _schema_of(api: "_Api", topic: str) -> str:
    """The newest version of the topic's payload that is not on its way out."""
    supported = as_dicts(api.get(f"{_NOTIFICATIONS}/topic/{topic}").get("supportedPayloads"))
    versions = [as_text(each.get("schemaVersion")) for each in supported if each.get("deprecated") is not True]
    return max((each for each in versions if _AMOUNT.fullmatch(each)), key=Decimal, default=_USUAL_SCHEMA)


def _subscriptions(api: "_Api") -> list[Json]:
    return _listed(api, "subscription")


def _listed(api: "_Api", what: str) -> list[Json]:
    """All pages of them. The address of a next page is read for its token only."""
    found: list[Json] = []
    query = {"limit": str(_SUBSCRIPTIONS_A_PAGE)}
    for _ in range(_MOST_SUBSCRIPTION_PAGES):
        answer = api.get(f"{_NOTIFICATIONS}/{what}", query)
        found += _rows(answer, f"{what}s")
        token = _continuation(answer.get("next"))
        if not token or token == query.get("continuation_token"):
            return found
        query["continuation_token"] = token
    raise strange(f"eBay's list of each {what} has no end.")


def _continuation(address: Any) -> str:
    """The token in the address of a next page; of others' addresses nothing is called."""
    try:
        tokens = parse_qs(urlsplit(as_text(address)).query).get("continuation_token", [""])
    except ValueError:
        return ""
    return tokens[0] if _SECRET.fullmatch(tokens[0]) else ""


def _endpoint(destination: Json) -> str:
    return as_text(as_dict(destination.get("deliveryConfig")).get("endpoint"))


def _opaque_id(row: Json, name: str) -> str:
    found = as_text(row.get(name))
    if not _OPAQUE_ID.fullmatch(found):
        raise strange(f"eBay listed something without a {name}.")
    return found


def _created_id(answer: Answer, what: str) -> str:
    """Of what was made: the last part of its address."""
    found = answer.headers.get("location", "").rstrip("/").rpartition("/")[2]
    if not _OPAQUE_ID.fullmatch(found):
        raise strange(f"eBay does not say which {what} it made.", answer.status)
    return found


# Calls


class _Api:
    """The APIs with one token, for as long as one call to the adapter lasts."""

    def __init__(self, token: str, http: Http, now: datetime, app: App | None = None) -> None:
        self._token = token
        self._http = http
        self._now = now
        self._app = app

    @property
    def signs(self) -> bool:
        """Whether there is a key to sign calls with."""
        return self._app is not None and _signs(self._app)

    @classmethod
    def of_store(cls, connection: Connection, http: Http, now: datetime) -> "_Api":
        """With the seller's token."""
        token = connection.credentials.get("access_token", "")
        if not _SECRET.fullmatch(token):
            raise PlatformError(Refusal.CREDENTIALS, "The store has no access token.")
        return cls(token, http, now, connection.app)

    @classmethod
    def of_app(cls, app: App, http: Http, now: datetime) -> "_Api":
        """With a token of the app's own, which is kept; it cannot refuse the seller, who has no part in it.

        A thousand of them are to be had in a day: https://developer.ebay.com/api-docs/static/oauth-rate-limits.html.
        """
        kept = _app_tokens.get(app.client_secret)
        if kept is None or kept.expires_at is None or kept.expires_at - now < _MARGIN:
            _app_tokens[app.client_secret] = kept = _app_token(app, http, now)
        return cls(kept.access_token, http, now)

    def get(self, url: str, query: Mapping[str, str] | None = None, *, is_signed: bool = False) -> Json:
        """What is there; an empty answer is an empty object."""
        proof = request_signature(self._app, "GET", url, b"", self._now) if is_signed and self._app else {}
        answer = self._ask("GET", url, query, None, proof)
        if answer.status == HTTPStatus.NO_CONTENT:
            return {}
        content = _json_or_none(answer.body)
        if not isinstance(content, dict):
            raise strange("eBay answered with something else than an object.", answer.status)
        return content

    def send(self, method: str, url: str, body: Json) -> Answer:
        """Writes something. That somebody was quicker to subscribe is fine."""
        return self._ask(method, url, None, body)

    def delete(self, url: str) -> None:
        """Deletes it; what is gone already is fine."""
        try:
            self._ask("DELETE", url, None, None)
        except PlatformError as error:
            if error.refusal is not Refusal.NOT_FOUND:
                raise

    def _ask(
        self,
        method: str,
        url: str,
        query: Mapping[str, str] | None,
        body: Json | None,
        proof: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        headers = {"authorization": f"Bearer {self._token}", "accept": "application/json", **proof}
        answer = self._http.request(method, url, params=query, headers=headers, json=body)
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return answer
        if answer.status == HTTPStatus.CONFLICT and _SUBSCRIBED_ALREADY in (_error_ids(answer) or ()):
            return answer
        if answer.status == HTTPStatus.UNAUTHORIZED:
            for secret in [secret for secret, kept in _app_tokens.items() if kept.access_token == self._token]:
                _app_tokens.pop(secret, None)
        raise _refusal(answer, url, self._now)


_app_tokens: dict[str, Tokens] = {}
"""Of this process, by the secret that they were had for."""


def forget_app_tokens() -> None:
    """For a test whose eBay is another one than the last test's."""
    _app_tokens.clear()


def _app_token(app: App, http: Http, now: datetime) -> Tokens:
    form = {"grant_type": "client_credentials", "scope": _SCOPE}
    try:
        return _tokens(_token_call(app, form, http, now), now)
    except PlatformError as error:
        if error.refusal is not Refusal.CREDENTIALS:
            raise
        raise PlatformError(Refusal.REQUEST, "eBay refuses our app.", status=error.status) from None


def _signs(app: App) -> bool:
    """Whether its registration has a key for that, https://developer.ebay.com/api-docs/developer/key-management."""
    return all(_SECRET.fullmatch(app.more.get(name, "")) for name in ("signing_key", "signing_jwe"))


def request_signature(app: App, method: str, url: str, body: bytes, now: datetime) -> dict[str, str]:
    """The headers that sign a call, by RFC 9421.

    https://developer.ebay.com/develop/guides/digital-signatures-for-apis; the key is PKCS 8 in base64, as eBay gives
    it, and ``signing_jwe`` is what eBay knows it by. The query is not covered.
    """
    # imported where a call is signed, which hardly any process does
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    parts, known_by = urlsplit(url), {"x-ebay-signature-key": app.more.get("signing_jwe", "")}
    digest = {"content-digest": f"sha-256=:{_in_base64(hashlib.sha256(body).digest())}:"} if body else {}
    covered = {**digest, **known_by, "@method": method, "@path": parts.path, "@authority": parts.netloc}
    names = " ".join(f'"{name}"' for name in covered)
    params = f"({names});created={epoch(now)}"
    lines = [*(f'"{name}": {value}' for name, value in covered.items()), f'"@signature-params": {params}']
    try:
        key = load_der_private_key(_base64(app.more.get("signing_key", "")), None)
    except (UnsupportedAlgorithm, ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise PlatformError(Refusal.REQUEST, "The app's registration has a signing_key that is no Ed25519 key.")
    signature = _in_base64(key.sign("\n".join(lines).encode()))
    return {**digest, **known_by, "signature-input": f"sig1={params}", "signature": f"sig1=:{signature}:"}


def _in_base64(text: bytes) -> str:
    return b2a_base64(text, newline=False).decode()


def _ru_name(app: App) -> str:
    """The name that eBay knows our return address by; an address in its place is refused there."""
    name = app.more.get("ru_name", "")
    if not _RU_NAME.fullmatch(name):
        raise PlatformError(Refusal.REQUEST, "The app's registration lacks ru_name: eBay's name of our return address.")
    return name


def _token_call(app: App, form: Mapping[str, str], http: Http, now: datetime) -> Json:
    """One call to the token endpoint, never repeated."""
    answer = http.request(
        "POST",
        _TOKEN,
        headers={"content-type": _FORM, "accept": "application/json"},
        content=urlencode(form, errors="replace").encode(),
        basic=(app.client_id, app.client_secret),
        repeatable=False,
    )
    content = _json_or_none(answer.body)
    if answer.status == HTTPStatus.OK and isinstance(content, dict):
        return content
    raise _token_refusal(answer, as_text(as_dict(content).get("error")), now)


def _token_refusal(answer: Answer, error: str, now: datetime) -> PlatformError:
    """Only a grant that is dead is CREDENTIALS: a person would be called for it."""
    status = answer.status
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _throttled(answer, now)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or error in {"server_error", "temporarily_unavailable"}:
        return PlatformError(Refusal.TRANSIENT, f"eBay gave no tokens: status {status}.", status=status)
    if not _ERROR.fullmatch(error):
        return strange("eBay answered a request for tokens with something else.", status)
    if error == "invalid_grant":
        return PlatformError(Refusal.CREDENTIALS, "eBay says that this grant has ended.", status=status)
    hint = _HINTS.get(error, "")
    return PlatformError(Refusal.REQUEST, f"eBay refuses our app's request for tokens: {error}{hint}.", status=status)


def _tokens(granted: Json, now: datetime) -> Tokens:
    access, renewed = granted.get("access_token"), granted.get("refresh_token")
    for token in (access, renewed):
        if token is not None and not (isinstance(token, str) and _SECRET.fullmatch(token)):
            raise strange("eBay's answer has no tokens.")
    if access is None:
        raise strange("eBay's answer has no tokens.")
    ends, renewed_ends = (_end(granted.get(name), now) for name in ("expires_in", "refresh_token_expires_in"))
    return Tokens(access, renewed, ends, renewed_ends)


def _end(seconds: Any, now: datetime) -> datetime | None:
    """When a token ends; what is no duration says nothing, and is no reason to refuse tokens that are spent."""
    if not _is_int(seconds) or not 0 < seconds <= _LONGEST_LIFE:
        return None
    return now + timedelta(seconds=seconds)


def _refusal(answer: Answer, url: str, now: datetime) -> PlatformError:
    """What a refusal means. Its own text stays out of ours, as it may repeat what was sent."""
    status = answer.status
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _throttled(answer, now)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return PlatformError(Refusal.TRANSIENT, f"eBay failed with {status}.", status=status)
    errors = _error_ids(answer)
    if errors is None:
        return strange("eBay answered with something else than it does.", status)
    if status in {400, 404} and _NOT_FOUND & set(errors):
        return PlatformError(Refusal.NOT_FOUND, _BY_STATUS[404][1], status=status)
    if status == HTTPStatus.FORBIDDEN:
        return PlatformError(Refusal.PERMISSION, _what_is_missing(url), status=status)
    refusal, detail = _BY_STATUS.get(status) or _meaning(status, errors)
    return PlatformError(refusal, detail, status=status)


def _what_is_missing(url: str) -> str:
    scope = next((scope for address, scope in _NEEDED.items() if url.startswith(address)), "")
    return f"eBay does not allow this call: the app's keyset, or what the seller approved, lacks the scope {scope}."


def _meaning(status: int, errors: Sequence[int]) -> tuple[Refusal, str]:
    if _NEEDS_SETTING_UP in errors:
        return Refusal.REQUEST, "eBay wants an alert address (alert_email) first."
    if _CHALLENGE_FAILED in errors:
        return Refusal.REQUEST, "eBay asked our address for the challenge and got no right answer."
    known = f", error {errors[0]}" if errors else ""
    return Refusal.REQUEST, f"eBay refused our request: status {status}{known}."


def _error_ids(answer: Answer) -> list[int] | None:
    """The numbers of the errors; ``None`` where the answer is none of eBay's."""
    content = _json_or_none(answer.body)
    errors = content.get("errors") if isinstance(content, dict) else None
    if not isinstance(errors, list):
        return None
    ids = [error.get("errorId") for error in as_dicts(errors)]
    return [id for id in ids if _is_int(id) and 0 <= id < _LARGEST_QUANTITY]


def _throttled(answer: Answer, now: datetime) -> PlatformError:
    """Too many in a second, or in the day of the whole app: eBay tells which in its text only."""
    wait = answer.headers.get("retry-after", "")
    at = now + timedelta(seconds=min(int(wait), _LONGEST_WAIT)) if _SECONDS.fullmatch(wait) else None
    return PlatformError(Refusal.RATE_LIMITED, "eBay asks us to wait.", status=answer.status, retry_at=at)


# The seller


def _seller(api: _Api, domain: str) -> Identity:
    """https://developer.ebay.com/api-docs/commerce/identity/resources/user/methods/getUser."""
    user = api.get(_USER)
    store_id, name = as_text(user.get("userId")), as_text(user.get("username"))
    if not _NAME.fullmatch(store_id):
        raise strange("eBay does not say who approved.")
    privilege = api.get(_PRIVILEGE)
    if privilege.get("sellerRegistrationCompleted") is not True:
        raise PlatformError(
            Refusal.PERMISSION,
            f"The eBay account {name or store_id} is not registered as a seller: "
            "its registration must be completed in eBay's Seller Hub first.",
        )
    marketplace = as_text(user.get("registrationMarketplaceId"))
    currency, host = _MARKETPLACES.get(marketplace) or (_limit_currency(privilege), _ELSEWHERE)
    page = f"https://www.{host}/usr/{name}" if _USER_NAME.fullmatch(name) else ""
    return Identity(store_id, domain or page, store_name=name or None, currency=currency)


def _limit_currency(privilege: Json) -> str | None:
    """The currency that the seller's limit is told in: of those on a marketplace that is not in our table."""
    try:
        return _currency(as_dict(as_dict(privilege.get("sellingLimit")).get("amount")))
    except ValueError:
        return None


# Orders


class _Found(NamedTuple):
    """One page of a search."""

    rows: Sequence[Json]
    total: int | None
    has_next: bool

    def goes_on(self, seen: int) -> bool:
        """Whether rows follow, where ``seen`` came before these."""
        after = seen + len(self.rows)
        return bool(self.rows) and (self.has_next if self.total is None else self.total > after)


def _search(api: _Api, by: str, begin: int, end: int, offset: int) -> _Found:
    """Orders with the time called ``by`` from ``begin`` on and before ``end``."""
    span = f"[{_moment(begin)}.000Z..{_moment(end - 1)}.999Z]"
    query = {"filter": f"{by}:{span}", "limit": str(_ORDERS_A_PAGE), "offset": str(offset)}
    answer = api.get(_ORDERS, query)
    rows = _rows(answer, "orders")
    total = answer.get("total")
    known = total if _is_int(total) and len(rows) <= total < _LARGEST_QUANTITY else None
    return _Found(rows, known, bool(answer.get("next")))


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class _Step(NamedTuple):
    """What follows a page."""

    takes: bool
    """Whether the rows of the page count; otherwise they are asked for again in narrower windows."""
    cursor: Json
    done: bool = False
    partial: str | None = None


class _Place(NamedTuple):
    """Where a cycle stands, in unix seconds. It covers the time until its own start, in windows one by one.

    eBay promises no order within a search, and an offset slips when a row leaves. So a window is taken whole, from
    one answer, or not at all: with more rows than a page it is made narrower. A row that changes meanwhile leaves
    its window for one that is still to come, of this cycle or the next, and hides no other.

    A single second with more rows than a page is read with offsets, once more if rows left it meanwhile.
    """

    begin: int
    end: int
    width: int
    offset: int = 0
    total: int | None = None
    again: int = 0

    @classmethod
    def read(cls, cursor: Json | None, now: datetime, reach: int) -> "_Place":
        """Where ``cursor`` says, within what eBay shows; a new cycle goes until now."""
        until = epoch(now) - _SETTLING
        if cursor and "end" in cursor:
            place = cls(**cursor)
            begin = min(max(place.begin, until - _REACH), place.end - 1)
            return place if begin == place.begin else place._replace(begin=begin, offset=0, total=None)
        begin = max(int((cursor or {}).get("begin", until - reach)), until - _REACH)
        end = max(until, begin + 1)
        return cls(begin, end, end - begin)

    def written(self) -> Json:
        return {name: value for name, value in self._asdict().items() if value or name == "begin"}

    def search(self, api: _Api, by: str) -> _Found:
        if self.offset > _MOST_PAGES * _ORDERS_A_PAGE:
            raise strange("eBay's pages have no end.")
        return _search(api, by, self.begin, self.begin + self._span, self.offset)

    def is_first(self) -> bool:
        """Whether the window has all that the cycle will see."""
        return self._span == self.end - self.begin and not self.offset

    def after(self, found: _Found) -> _Step:
        if not found.goes_on(self.offset):
            return self._after_last(found)
        if self._span > 1:
            return _Step(takes=False, cursor=self._narrower(found).written())
        total = self.total if self.offset else found.total
        following = self._replace(offset=self.offset + len(found.rows), total=total)
        return _Step(takes=True, cursor=following.written())

    def _after_last(self, found: _Found) -> _Step:
        moved = bool(self.offset) and found.total != self.total
        if moved and self.again < _MOST_AGAIN:
            restarted = self._replace(offset=0, total=None, again=self.again + 1)
            return _Step(takes=True, cursor=restarted.written())
        partial = "Too many orders of one second changed while they were read." if moved else None
        begin = self.begin + self._span
        if begin >= self.end:
            return _Step(takes=True, cursor={"begin": self.end - _OVERLAP}, done=True, partial=partial)
        growth = min(_LARGEST_GROWTH * self._span, _filled(self._span, len(found.rows)))
        return _Step(takes=True, cursor=_Place(begin, self.end, max(growth, 1)).written(), partial=partial)

    @property
    def _span(self) -> int:
        return max(min(self.width, self.end - self.begin), 1)

    def _narrower(self, found: _Found) -> "_Place":
        fitting = min(self._span // 2, _filled(self._span, found.total or 2 * _ORDERS_A_PAGE))
        return _Place(self.begin, self.end, max(fitting, 1))


def _filled(span: int, rows: int) -> int:
    """How long a window fills three quarters of a page, where one of ``span`` seconds has so many rows."""
    return 3 * span * _ORDERS_A_PAGE // (4 * rows) if rows else _LARGEST_GROWTH * span


def _order_page(api: _Api, place: _Place) -> Page:
    found = place.search(api, "lastmodifieddate")
    step = place.after(found)
    records, bad = _orders(api, found.rows if step.takes else [])
    partial = f"Not understood: orders {', '.join(bad)}." if bad else step.partial
    total = found.total if place.is_first() else None
    return Page(records, step.cursor, step.done, partial, total=total)


def _order_ids(api: _Api, place: _Place) -> IdPage:
    """By the time of creation, which never changes."""
    step = place.after(found := place.search(api, "creationdate"))
    ids = [_listed_id(row, "orderId", _order_id) for row in (found.rows if step.takes else [])]
    return IdPage(ids, step.cursor, step.done, datetime.fromtimestamp(place.end - _ORDERS_LISTED, UTC))


def _orders(api: _Api, rows: Sequence[Json]) -> tuple[list[Record], list[str]]:
    """The records of a page in the order of change, and the ids of those that could not be read."""
    records, bad = [], []
    for row in rows:
        try:
            records.append(_order(api, row))
        except ValueError:
            bad.append(as_text(row.get("orderId"))[:20] or "without an id")
    return sorted(records, key=lambda record: record.updated_at), bad


def _order(api: _Api, row: Json) -> Record:
    order_id = _order_id(row.get("orderId"))
    status, words = _order_status(row)
    total = as_dict(as_dict(row.get("pricingSummary")).get("total"))
    created, updated = _time(row.get("creationDate")), _time(row.get("lastModifiedDate"))
    body: Json = {
        "id": order_id,
        "number": as_text(row.get("salesRecordReference")) or order_id,
        "status": status.value,
        "platformStatus": words,
        "total": _required_money(total),
        "refundedTotal": _refunded(row),
        "currency": _currency(total),
        "lines": [_line(line) for line in as_dicts(row.get("lineItems"))],
        "customer": _customer(row),
        "shippingAddress": _address(_ship_to(row)),
        "note": as_text(row.get("buyerCheckoutNotes")) or None,
        "fees": _fees(row) or _fees_of_finances(api, row),
        "createdAt": short(created),
        "updatedAt": short(updated),
    }
    buyer = _buyer(row)
    return Record(order_id, updated, body, created, f"{PlatformName.EBAY}#{buyer}" if buyer else "")


def _order_status(row: Json) -> tuple[OrderStatus, str]:
    """Cancelled, refunded, then how far it is paid, then how far it is shipped."""
    cancelled = as_text(as_dict(row.get("cancelStatus")).get("cancelState")) == _CANCELLED
    paid, shipped = as_text(row.get("orderPaymentStatus")), as_text(row.get("orderFulfillmentStatus"))
    words = " ".join(word for word in (_CANCELLED if cancelled else "", paid, shipped) if word)
    if cancelled:
        return OrderStatus.CANCELLED, words
    if paid == _REFUNDED:
        return OrderStatus.REFUNDED, words
    if paid in _UNPAID:
        return OrderStatus.PENDING, words
    return (_FULFILLMENT.get(shipped, OrderStatus.OTHER) if paid in _PAID else OrderStatus.OTHER), words


def _line(line: Json) -> Json:
    """A line; its product is called by SKU, as inventory is, and what the listing is called is a property."""
    quantity = line.get("quantity")
    if not _is_int(quantity) or not 0 <= quantity < _LARGEST_QUANTITY:
        raise ValueError("no quantity")
    cost = _required_money(line.get("lineItemCost"))
    sku = as_text(line.get("sku")) or None
    return {
        "id": _required_text(line.get("lineItemId")),
        "productId": sku,
        "variantId": sku,
        "title": as_text(line.get("title")),
        "sku": sku,
        "quantity": quantity,
        "unitPrice": _unit_price(cost, quantity),
        "total": _money(line.get("discountedLineItemCost")) or cost,
        "properties": _properties(line),
    }


def _unit_price(cost: str, quantity: int) -> str | None:
    """The cost is of all units; what does not come out even in the cost's own digits is not known."""
    if not quantity:
        return None
    whole = Decimal(cost)
    price = (whole / quantity).quantize(whole)
    return format(price, "f") if price * quantity == whole else None


def _properties(line: Json) -> list[Json]:
    aspects = [
        {"name": as_text(each.get("name")), "value": as_text(each.get("value"))}
        for each in as_dicts(line.get("variationAspects"))[:_MOST_PARTS]
    ]
    named = {name: as_text(line.get(name)) for name in ("legacyItemId", "legacyVariationId")}
    gift = as_text(as_dict(line.get("giftDetails")).get("message"))
    fitted = [
        {
            "name": as_text(each.get("propertyDisplayName")) or as_text(each.get("propertyName")),
            "value": as_text(each.get("propertyValue")),
        }
        for each in as_dicts(line.get("compatibilityProperties"))[:_MOST_PARTS]
    ]
    named["giftMessage"] = gift
    return [*aspects, *fitted, *({"name": name, "value": value} for name, value in named.items() if value)]


def _buyer(row: Json) -> str:
    """The name by which the deletion of an account calls the buyer: the user name, or the user id in its place."""
    return as_text(as_dict(row.get("buyer")).get("username"))


def _customer(row: Json) -> Json | None:
    """Who bought: the e-mail address is left out after 14 days, the name after 90."""
    registered = as_dict(as_dict(row.get("buyer")).get("buyerRegistrationAddress"))
    ship_to = _ship_to(row)
    parts = {
        "id": _buyer(row),
        "name": as_text(registered.get("fullName")) or as_text(ship_to.get("fullName")),
        "email": as_text(registered.get("email")) or as_text(ship_to.get("email")),
    }
    return {name: value or None for name, value in parts.items()} if any(parts.values()) else None


def _ship_to(row: Json) -> Json:
    """Where the first of its packages goes: to eBay's own hub, in its programmes for shipping abroad."""
    steps = [as_dict(each.get("shippingStep")) for each in as_dicts(row.get("fulfillmentStartInstructions"))]
    return next((as_dict(step.get("shipTo")) for step in steps if step.get("shipTo")), {})


def _address(contact: Json) -> Json | None:
    given = as_dict(contact.get("contactAddress"))
    parts = {
        "name": as_text(contact.get("fullName")),
        "company": as_text(contact.get("companyName")),
        "line1": as_text(given.get("addressLine1")),
        "line2": as_text(given.get("addressLine2")),
        "city": as_text(given.get("city")),
        "region": as_text(given.get("stateOrProvince")) or as_text(given.get("county")),
        "postalCode": as_text(given.get("postalCode")),
        "country": as_text(given.get("countryCode")),
    }
    if not any(parts.values()):
        return None
    phone = as_text(as_dict(contact.get("primaryPhone")).get("phoneNumber"))
    return {name: value or None for name, value in {**parts, "phone": phone}.items()}


def _refunded(row: Json) -> str | None:
    refunds = [_money(each.get("amount")) for each in as_dicts(as_dict(row.get("paymentSummary")).get("refunds"))]
    known = [Decimal(amount) for amount in refunds if amount is not None]
    return format(sum(known, Decimal(0)), "f") if known and any(known) else None


def _fees(row: Json) -> list[Json]:
    """What eBay keeps of the order; it is there once the payment is settled."""
    fee = as_dict(row.get("totalMarketplaceFee"))
    return [_fee("totalMarketplaceFee", fee)] if _money(fee) is not None else []


def _fees_of_finances(api: _Api, row: Json) -> list[Json]:
    """https://developer.ebay.com/api-docs/sell/finances/resources/transaction/methods/getTransactions.

    A grant without the scope costs the fees, not the order.
    """
    if not api.signs or row.get("orderPaymentStatus") not in _PAID:
        return []
    query = {"filter": f"orderId:{{{_order_id(row.get('orderId'))}}}"}
    try:
        answer = api.get(_TRANSACTIONS, query, is_signed=True)
    except PlatformError as error:
        if error.refusal not in {Refusal.PERMISSION, Refusal.NOT_FOUND}:
            raise
        return []
    lines = [line for sale in _rows(answer, "transactions") for line in as_dicts(sale.get("orderLineItems"))]
    fees = [fee for line in lines for fee in as_dicts(line.get("marketplaceFees"))]
    return [_fee(as_text(fee.get("feeType")), as_dict(fee.get("amount"))) for fee in fees]


def _fee(name: str, amount: Json) -> Json:
    return {"type": "marketplace", "name": name, "amount": _required_money(amount), "currency": _currency(amount)}


# Inventory


class _Shelf(NamedTuple):
    """Where a cycle through the inventory stands: at a page, by number, as nothing else can be asked for.

    ``marks`` has a few letters of each page's hash. A page that is as it was when it was last read costs one call.
    One that changed costs a call for each of its items besides: for its offers, which have price and state. Offers
    change alone, too, so that each page's are read again every hour, of long inventories less often.

    An item that is deleted while this pages moves another to a page that was read: the next cycle has it.
    """

    start: int
    before: int = 0
    page: int = 0
    marks: str = ""

    @classmethod
    def read(cls, cursor: Json | None, now: datetime) -> "_Shelf":
        """Where ``cursor`` says; a new cycle from the first page."""
        if cursor and "start" in cursor:
            return cls(**cursor)
        return cls(epoch(now), **(cursor or {}))

    def written(self) -> Json:
        return self._asdict()

    def is_as_known(self, mark: str) -> bool:
        """Whether a page with this mark has no news."""
        return self._mark_of(self.page) == mark and not self._is_due()

    def repeats(self, mark: str) -> bool:
        """Whether this page came again and again. Once it may: many new items move a page behind itself."""
        return self.page >= _MOST_REPEATS and all(
            self._mark_of(self.page - before) == mark for before in range(1, _MOST_REPEATS + 1)
        )

    def after(self, mark: str, *, is_last: bool) -> tuple[Json, bool]:
        """The cursor behind this page, and whether the cycle is over."""
        place = self.page * _MARK
        kept = self.marks[:place] + mark
        if is_last:
            return {"before": self.start, "marks": kept}, True
        marks = kept + self.marks[place + _MARK :]
        return self._replace(page=self.page + 1, marks=marks).written(), False

    def _mark_of(self, page: int) -> str:
        return self.marks[page * _MARK : (page + 1) * _MARK]

    def _is_due(self) -> bool:
        """Whether it is this page's turn since the cycle before: turns are spread over the time they take."""
        pages = max(len(self.marks) // _MARK, 1)
        period = _PRICED_EVERY * max(pages // _PRICED_AT_ONCE, 1)
        shift = self.page * period // pages
        return (self.start + shift) // period != (self.before + shift) // period


def _item_page(api: _Api, shelf: _Shelf) -> Page:
    items, is_last = _items(api, shelf.page, _ITEMS_A_PAGE)
    mark = _mark(items)
    if items and shelf.repeats(mark):
        raise strange("eBay gives the same page of inventory again.")
    if shelf.is_as_known(mark):
        return Page([], *shelf.after(mark, is_last=is_last))
    records, bad = _products(api, items)
    cursor, done = shelf.after(_NO_MARK if bad else mark, is_last=is_last)
    partial = f"Not understood: products {', '.join(bad)}." if bad else None
    return Page(records, cursor, done, partial)


def _mark(items: Sequence[Json]) -> str:
    """Four letters: one change in 16 million is not seen before the page's next turn."""
    text = json.dumps(items, sort_keys=True, separators=(",", ":"))
    return b2a_base64(hashlib.sha256(text.encode()).digest()[:3], newline=False).decode()


def _items(api: _Api, page: int, size: int) -> tuple[list[Json], bool]:
    """A page of inventory, and whether it is the last. ``offset`` is a number of pages here."""
    if page > _MOST_PAGES:
        raise strange("eBay's inventory has no end.")
    try:
        answer = api.get(_ITEMS, {"limit": str(size), "offset": str(page)})
    except PlatformError as error:
        if error.refusal is not Refusal.NOT_FOUND:
            raise
        return [], True  # there is no such page: items were deleted, or there never was one
    items, total = _rows(answer, "inventoryItems"), answer.get("total")
    more = total > (page + 1) * size if _is_int(total) else bool(answer.get("next"))
    return items, not (items and more)


def _item_ids(api: _Api, cursor: Json | None) -> IdPage:
    """An item that goes while this pages may hide another: an absent id is a suspicion, no proof."""
    page, last = int((cursor or {}).get("page", 0)), (cursor or {}).get("last", "")
    items, is_last = _items(api, page, _IDS_A_PAGE)
    ids = [_listed_id(item, "sku", _sku) for item in items]
    if ids and ids[0] == last:
        raise strange("eBay gives the same page of inventory again.")
    return IdPage(ids, {"page": page + 1, "last": ids[0] if ids else ""}, is_last)


def _products(api: _Api, items: Sequence[Json]) -> tuple[list[Record], list[str]]:
    """The records of a page, and the SKUs of those that could not be read."""
    records, bad = [], []
    for item in items:
        try:
            sku = _sku(item.get("sku"))
            records.append(_product(item, _readable_offers(api, sku)))
        except ValueError:
            bad.append(as_text(item.get("sku"))[:20] or "without a SKU")
    return records, bad


def _readable_offers(api: _Api, sku: str) -> list[Json]:
    """One product whose offers cannot be shown must not stop all others for ever."""
    try:
        return _offers(api, sku)
    except PlatformError as error:
        if error.refusal is Refusal.NOT_THE_PLATFORM and error.status == HTTPStatus.OK:
            raise ValueError("no readable offers") from None
        raise


def _offers(api: _Api, sku: str) -> list[Json]:
    """The offers of an item: two at most, an auction and one at a fixed price; eBay says 404 where there is none."""
    try:
        return _rows(api.get(_OFFERS, {"sku": sku}), "offers")
    except PlatformError as error:
        if error.refusal is not Refusal.NOT_FOUND:
            raise
        return []


def _product(item: Json, offers: Sequence[Json]) -> Record:
    """An item, with one variant: itself. Items of one listing stay apart, as orders name them by SKU."""
    sku = _sku(item.get("sku"))
    given = as_dict(item.get("product"))
    offer = _shown_offer(offers)
    status, words = _product_status(offer)
    price = _price(offer)
    title = as_text(given.get("title"))
    images = given.get("imageUrls")
    amount = _money(price)
    body: Json = {
        "id": sku,
        "title": title,
        "status": status.value,
        "platformStatus": words,
        "price": amount,
        "currency": _currency(price) if amount else None,
        "sku": sku,
        "imageUrl": (as_text(images[0]) or None) if isinstance(images, list) and images else None,
        "url": _listing_url(offer),
        "variants": [
            {
                "id": sku,
                "title": title,
                "sku": sku,
                "price": amount,
                "inventoryQuantity": _stock(item),
                "attributes": _aspects(given),
            }
        ],
        "createdAt": None,
        "updatedAt": None,
    }
    return Record(sku, _UNDATED, body)


def _shown_offer(offers: Sequence[Json]) -> Json:
    """What buyers see, and of several what is bought at once."""
    rank = sorted(offers, key=lambda each: (each.get("status") != _PUBLISHED, each.get("format") != "FIXED_PRICE"))
    return rank[0] if rank else {}


def _product_status(offer: Json) -> tuple[ProductStatus, str]:
    status = as_text(offer.get("status")) or _UNPUBLISHED
    listing = as_text(as_dict(offer.get("listing")).get("listingStatus"))
    words = f"{status} {listing}".strip()
    if status == _UNPUBLISHED:
        return ProductStatus.DRAFT, words
    if status != _PUBLISHED:
        return ProductStatus.OTHER, words
    return _LISTING.get(listing or "ACTIVE", ProductStatus.OTHER), words


def _price(offer: Json) -> Json:
    """The price, or what an auction begins at."""
    summary = as_dict(offer.get("pricingSummary"))
    return as_dict(summary.get("price")) or as_dict(summary.get("auctionStartPrice"))


def _listing_url(offer: Json) -> str | None:
    listing = as_text(as_dict(offer.get("listing")).get("listingId"))
    _, host = _MARKETPLACES.get(as_text(offer.get("marketplaceId")), ("", _ELSEWHERE))
    return f"https://www.{host}/itm/{listing}" if _LISTING_ID.fullmatch(listing) else None


def _stock(item: Json) -> int | None:
    """What can be sent home; what waits in shops to be fetched is not in it."""
    sent = as_dict(as_dict(item.get("availability")).get("shipToLocationAvailability"))
    quantity = sent.get("quantity")
    return quantity if _is_int(quantity) and abs(quantity) < _LARGEST_QUANTITY else None


def _aspects(product: Json) -> dict[str, str]:
    given = list(as_dict(product.get("aspects")).items())[:_MOST_PARTS]
    return {
        as_text(name): ", ".join(as_text(value) for value in values[:_MOST_PARTS])
        for name, values in given
        if isinstance(values, list)
    }


# Small readings


def _path_of(id: str, read: Any) -> str:
    """An id as a part of an address; what is no id is not asked for."""
    try:
        return quote(read(id), safe="")
    except ValueError:
        raise PlatformError(Refusal.NOT_FOUND, "This is no id of eBay.") from None


def _listed_id(row: Json, name: str, read: Any) -> str:
    try:
        return str(read(row.get(name)))
    except ValueError:
        raise strange("eBay lists something without an id.") from None


def _checked(row: Json, name: str, id: str) -> Json:
    if row.get(name) != id:
        raise strange("eBay answered about something else.")
    return row


def _order_id(value: Any) -> str:
    if not isinstance(value, str) or not _ORDER_ID.fullmatch(value):
        raise ValueError("no id of an order")
    return value


def _sku(value: Any) -> str:
    """A seller's own name of an item: any text, save what cannot be a part of an address."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_SKU or not value.isprintable():
        raise ValueError("no SKU")
    if value in {".", ".."} or as_text(value) != value:
        raise ValueError("no SKU")
    return value


def _json_or_none(body: bytes) -> Any:
    try:
        return decoded(body)
    except ValueError:
        return None


def _rows(answer: Json, name: str) -> list[Json]:
    """The rows of that name; where there are none the name may be missing too."""
    rows = answer.get(name)
    if rows is None and not answer.get("total"):
        return []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise strange("eBay answered with something else than a list.")
    return rows


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _required_text(value: Any) -> str:
    text = as_text(value)
    if not text:
        raise ValueError("a field is missing")
    return text


def _money(amount: Any) -> str | None:
    """The value of an amount: decimal text."""
    text = as_dict(amount).get("value")
    return text if isinstance(text, str) and _AMOUNT.fullmatch(text) else None


def _required_money(amount: Any) -> str:
    value = _money(amount)
    if value is None:
        raise ValueError("an amount is missing")
    return value


def _currency(amount: Json) -> str:
    code = as_text(amount.get("currency"))
    if not _CURRENCY.fullmatch(code):
        raise ValueError("no currency")
    return code


def _time(value: Any) -> datetime:
    try:
        time = from_text(_required_text(value))
    except OverflowError:
        raise ValueError("no time") from None
    if time.year < _EPOCH:
        raise ValueError("no time")
    return time
