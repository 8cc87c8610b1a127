"""What a platform adapter is: small Protocols that a stateless class fits, and the values they exchange.

An adapter inherits from nothing. It says what it can do by which Protocols it fits; mypy holds it to
them at its line in the registry. A rule of one platform is in that platform's file only.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from re import Pattern
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

Json = dict[str, Any]


class PlatformName(StrEnum):
    """The platforms of the data model."""

    TIKTOK_SHOP = "TIKTOK_SHOP"
    SHOPIFY = "SHOPIFY"
    WOO_COMMERCE = "WOO_COMMERCE"
    ETSY = "ETSY"
    AMAZON = "AMAZON"
    EBAY = "EBAY"
    CUSTOM = "CUSTOM"


class Resource(StrEnum):
    """What is kept in sync."""

    PRODUCTS = "products"
    ORDERS = "orders"


class ProductStatus(StrEnum):
    """A product's normal status; the platform's own word stays beside it."""

    ACTIVE = "active"
    DRAFT = "draft"
    INACTIVE = "inactive"
    OTHER = "other"


class OrderStatus(StrEnum):
    """An order's normal status; the platform's own word stays beside it."""

    PENDING = "pending"
    PAID = "paid"
    """To be shipped."""
    PARTLY_SHIPPED = "partly_shipped"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"
    OTHER = "other"


class Refusal(StrEnum):
    """Why a call to a platform failed, in the terms that decide what happens next."""

    CREDENTIALS = "credentials"
    """Refused for good: a human must reconnect."""
    PERMISSION = "permission"
    """The credential is known but may not do this: a human must grant more."""
    NOT_FOUND = "not_found"
    """The platform says that this id does not exist."""
    RATE_LIMITED = "rate_limited"
    """Asked to wait; ``retry_at`` says until when, where the platform does."""
    UNREACHABLE = "unreachable"
    """No answer, or none in time: DNS, TCP, TLS, a stall."""
    TRANSIENT = "transient"
    """An answer that says try again: a 5xx, a reset."""
    NOT_UNDERSTOOD = "not_understood"
    """One record that cannot be read; the rest of the store is fine."""
    NOT_THE_PLATFORM = "not_the_platform"
    """An answer that this platform does not give: HTML, broken JSON, the wrong shape."""
    ADDRESS = "address"
    """The address may not be called: not https, not public, a redirect elsewhere."""
    REQUEST = "request"
    """The platform says that we asked wrongly: our fault."""


class PlatformError(Exception):
    """A call to a platform that did not give what was asked for. Its text never holds a secret."""

    def __init__(
        self, refusal: Refusal, detail: str, *, status: int | None = None, retry_at: datetime | None = None
    ) -> None:
        super().__init__(detail)
        self.refusal = refusal
        self.detail = detail
        self.status = status
        self.retry_at = retry_at


class Answer(NamedTuple):
    """A platform's HTTP answer, read whole within its limits."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; a repeated header's values joined with ``, ``."""
    body: bytes


class Http(Protocol):
    """The port through which adapters reach their platform (``shared.egress`` in production)."""

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | None = None,
        basic: tuple[str, str] | None = None,
        repeatable: bool = True,
    ) -> Answer:
        """One request, with a body of ``json`` or of ``content`` as it is.

        Any status is an answer, save a redirect, which is an ADDRESS error.

        :class:`PlatformError` with UNREACHABLE, TRANSIENT, ADDRESS or NOT_THE_PLATFORM, and no status but a
        redirect's, where there is no whole answer. A GET whose connection died before the answer began is sent
        once more where it is ``repeatable``; nothing else ever is.
        """
        ...


class App(NamedTuple):
    """Our own registration at a platform: what an operator got there and put into the secret of the platform."""

    client_id: str
    client_secret: str
    previous_client_secret: str = ""
    """What still signs webhooks for a while after ``client_secret`` was rotated."""
    more: Mapping[str, str] = MappingProxyType({})
    """What else the platform wants to be told, by the names that its page in docs/platforms gives."""

    def __repr__(self) -> str:
        return f"App({self.client_id!r}, ***)"


class Connection(NamedTuple):
    """Where a store is and what opens it; lives as long as one call."""

    domain: str
    credentials: Mapping[str, str]
    """Plain secrets by the data model's names: ``api_key``, ``api_secret``, ``access_token``, …"""
    store_id: str = ""
    """The platform's own id of the store, once known."""
    currency: str = "USD"
    timezone: str = "UTC"
    app: App | None = None
    """Our registration at the platform, on platforms that have one."""

    def __repr__(self) -> str:
        return f"Connection({self.domain!r}, credentials=***)"


class Identity(NamedTuple):
    """What a probe learned: the store's own identity, in the platform's words."""

    store_id: str
    domain: str
    store_name: str | None = None
    currency: str | None = None
    timezone: str | None = None
    scopes: frozenset[str] = frozenset()
    credentials: Mapping[str, str] = MappingProxyType({})
    """What else opens this store, to be sealed with its credentials: a shop cipher, for one."""

    def __repr__(self) -> str:
        return f"Identity({self.store_id!r}, {self.domain!r})"


class Callback(NamedTuple):
    """What the seller's browser brought back from the platform's consent screen."""

    state: str
    code: str = ""
    """Empty where the seller declined."""
    domain: str = ""
    """The store it is about, in canonical spelling, where the platform says so."""
    account: str = ""
    """The account that approved, where no later call to the platform tells it; ``stores_of`` makes sure of it."""

    def __repr__(self) -> str:
        return f"Callback({self.domain!r}, ***)"


class Tokens(NamedTuple):
    """What a token endpoint answered. Times are absolute; ``None`` where the answer does not tell."""

    access_token: str
    refresh_token: str | None = None
    """``None``: the one that was spent stays good."""
    expires_at: datetime | None = None
    refresh_expires_at: datetime | None = None
    never_expires: bool = False
    """The platform said for good that this token has no end, as it does for keys of merchant-made apps."""

    def __repr__(self) -> str:
        return f"Tokens(***, expires_at={self.expires_at!r})"


class Delivery(NamedTuple):
    """One HTTP attempt of a webhook, exactly as it came."""

    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    path_topic: str = ""
    """The topic that its address names, where subscriptions have an address each."""


class Verdict(StrEnum):
    """What ``verify`` decided."""

    GENUINE = "genuine"
    FORGED = "forged"
    """No signature, a wrong one, or none that can be checked."""
    PING = "ping"
    """Not an event: answer 200 and process nothing."""


GENUINE, FORGED = Verdict.GENUINE, Verdict.FORGED
"""To be returned by this name: until Python 3.12 an Enum finds its members slowly, in 70 ns."""


class PrivacyKind(StrEnum):
    """What the law lets a platform ask of us in the name of a person."""

    REPORT = "report"
    """Tell the seller what is held about a customer."""
    ERASE_CUSTOMER = "erase_customer"
    ERASE_STORE = "erase_store"


class PrivacyRequest(NamedTuple):
    """A request about personal data, to be carried out once, within the term, with evidence."""

    kind: PrivacyKind
    orders: Sequence[str] = ()
    """The platform's ids of the orders it is about, where it names them."""
    buyer: str = ""
    """The platform's id of the buyer, where our records carry it (:attr:`Record.buyer`): erased in every store."""
    term: timedelta = timedelta(days=30)


class Event(NamedTuple):
    """What a delivery announces: a hint to be applied, or looked up."""

    resource: Resource | None
    """``None`` where it concerns no record of ours."""
    id: str = ""
    deleted: bool = False
    record: "Record | None" = None
    """The record itself where the payload is whole; otherwise it is fetched by id.

    Its ``currency`` is ``None`` where the payload does not tell: the store's own is meant.
    """
    access_lost: bool = False
    """The platform told us that our rights are gone, or fewer: the store must be probed."""
    disconnected: bool = False
    """With ``access_lost``: the seller took us out at the platform. If the probe agrees, we stop for good."""
    reauthorize_by: datetime | None = None
    """The platform says that the seller must approve anew before then."""
    privacy: PrivacyRequest | None = None


class Record(NamedTuple):
    """A product or an order, normalised. ``body`` is JSON with decimal texts for money, never a float.

    Products: id, title, status, platformStatus, price, currency, sku, imageUrl, url, variants
    (id, title, sku, price, inventoryQuantity, attributes), createdAt, updatedAt.
    Orders: id, number, status, platformStatus, total, currency, lines (id, productId, variantId, title,
    sku, quantity, unitPrice, total, properties), customer, shippingAddress, note, fees, createdAt, updatedAt.
    """

    id: str
    updated_at: datetime
    """The platform's own time of the last change."""
    body: Json
    created_at: datetime | None = None
    buyer: str = ""
    """The platform's id of an order's buyer, where the platform may ask by it to erase what we hold."""
    personal_until: datetime | None = None
    """From when on the platform wants us to hold nothing any more that tells who bought."""
    sorts_by_id: bool = False
    """An order whose id tells its place: the platform's ids are numbers that grow with time, alike but for them."""


class Page(NamedTuple):
    """One page of records changed since a cursor."""

    records: Sequence[Record]
    cursor: Json
    """Where to go on: JSON, small, the adapter's own. With ``done`` it is where the next cycle starts."""
    done: bool
    partial: str | None = None
    """Why some records of this page are missing, where they are."""
    ready_at: datetime | None = None
    """When the platform's budget allows the next page, or when it is worth asking again; ``None``: at once."""
    total: int | None = None
    """How many records the cycle will see in all, where the platform tells: for the progress of a first import."""


class IdPage(NamedTuple):
    """One page of the ids that exist at the platform, for the full compare."""

    ids: Sequence[str]
    cursor: Json
    done: bool
    since: datetime | None = None
    """The platform lists only what was created since; what is older is not missing for not being listed."""
    ready_at: datetime | None = None
    """As a :class:`Page` has it."""


class Subscribed(NamedTuple):
    """What a reconciliation of webhook subscriptions did."""

    created: int = 0
    repaired: int = 0
    removed: int = 0
    kept: int = 0


class Platform(Protocol):
    """What every adapter can do. I/O goes through ``http``; time is passed in."""

    name: PlatformName

    @property
    def credential_sets(self) -> Sequence[frozenset[str]]:
        """Which of accessToken, refreshToken, apiKey, apiSecret (snake case) together connect a store by key.

        Empty where a store is connected through the platform's own screens only.
        """
        ...

    def normal_domain(self, text: str) -> str:
        """The store's address in one canonical spelling; :class:`ValueError` says what is wrong."""
        ...

    def probe(self, connection: Connection, http: Http) -> Identity:
        """The cheapest calls that prove the credential and name the store."""
        ...

    def fetch(self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime) -> Page:
        """The page after ``cursor`` (``None``: from the beginning), in the order of change."""
        ...

    def fetch_one(self, connection: Connection, resource: Resource, id: str, http: Http) -> Record:
        """One record by the platform's id; NOT_FOUND where the platform says it does not exist."""
        ...

    def list_ids(
        self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime
    ) -> IdPage:
        """The ids that exist now, for the full compare."""
        ...


@runtime_checkable
class ShowsNewest(Protocol):
    """Can show its newest orders at once: a first import begins with those that sellers wait for."""

    def newest_orders(self, connection: Connection, http: Http, now: datetime) -> Sequence[Record]:
        """One page of them; one that cannot be read is left out, the import will say so."""
        ...


@runtime_checkable
class ShortensIds(Protocol):
    """Its ids do not fit into the path of an address, so records can be asked for by a short form."""

    def whole_id(self, resource: Resource, text: str) -> str:
        """The id that is meant by a short form; any other text as it is."""
        ...


@runtime_checkable
class ReceivesWebhooks(Protocol):
    """Verifies and reads deliveries: pure functions of headers, raw bytes, secrets and time."""

    @property
    def parsed_headers(self) -> frozenset[str]:
        """The headers that ``parse`` and ``store_of`` read: no other is kept with a delivery."""
        ...

    @property
    def phrases(self) -> Sequence[bytes]:
        """What its bodies have in common, as dictionaries of zlib: those that occur most at the end.

        Deliveries are kept for 30 days: one that was ever in use stays as it is, and a newer one goes before it.
        """
        ...

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: datetime) -> Verdict:
        """Whether the delivery is genuine under any of ``secrets``. Never raises."""
        ...

    def topic(self, delivery: Delivery) -> str:
        """The platform's topic, for the record of the delivery."""
        ...

    def event_id(self, delivery: Delivery) -> str:
        """What repeats of the same event share; the body's hash is added to it."""
        ...

    def parse(self, delivery: Delivery) -> Sequence[Event]:
        """What the delivery announces. :class:`ValueError` where it cannot be read."""
        ...


@runtime_checkable
class ChecksWebhookSecret(Protocol):
    """Its webhook secrets have a form, so that a wrong one can be refused when it is given."""

    def check_webhook_secret(self, secret: str) -> None:
        """:class:`ValueError` says what is needed where no delivery could be verified with this secret."""
        ...


@runtime_checkable
class SignsWithApp(Protocol):
    """Its deliveries are signed with our app's secret, in place of one of the store's own."""

    def app_secrets(self, app: App) -> Sequence[str]:
        """What ``verify`` accepts, current first: one text each, in a form of the adapter's own."""
        ...


@runtime_checkable
class NotifiesApp(Protocol):
    """Sends some deliveries to one address of the app, whichever store they are about."""

    def store_of(self, delivery: Delivery) -> str:
        """The platform's own id of the store, ``""`` where it names none. Never raises."""
        ...


@runtime_checkable
class FetchesKeys(Protocol):
    """Its deliveries are signed with keys of the platform's own, which it gives by their ids."""

    def key_id(self, delivery: Delivery) -> str:
        """The id of the key that a delivery names, ``""`` where it names none that could be one. Never raises."""
        ...

    def fetch_key(self, app: App, key_id: str, http: Http, now: datetime) -> str:
        """That key, as ``verify`` takes it among its secrets; NOT_FOUND where the platform has none of this id."""
        ...


@runtime_checkable
class AnswersChallenge(Protocol):
    """Proves to the platform that an address is ours, when it is registered there."""

    def answer_challenge(self, app: App, query: Mapping[str, str], endpoint: str) -> Json:
        """What to answer as JSON to a GET of ``endpoint``; :class:`ValueError` where nothing is asked, or no answer."""
        ...


@runtime_checkable
class ReceivesFromQueue(Protocol):
    """Its notifications come through a queue of our own, not by HTTP."""

    def read_queue_message(self, body: str, md5_of_body: str) -> Delivery:
        """A message of SQS, with the MD5 that SQS told, as the delivery that it brought."""
        ...

    def read_bus_event(self, body: str) -> Delivery:
        """An event of a partner's event bus as the delivery that it brought."""
        ...

    def stores_named(self, delivery: Delivery) -> Sequence[str]:
        """The platform's own ids of all stores that it may be about. Never raises."""
        ...


@runtime_checkable
class ManagesSubscriptions(Protocol):
    """Makes the platform's webhook subscriptions those that should exist."""

    def reconcile(self, connection: Connection, delivery_url: str, secret: str, http: Http) -> Subscribed:
        """Creates what is missing, repairs what is off, removes what is too much; others' stay untouched."""
        ...

    def unsubscribe(self, connection: Connection, delivery_url: str, http: Http) -> None:
        """Removes our subscriptions; what is gone already is fine."""
        ...


@runtime_checkable
class ManagesAppSubscriptions(Protocol):
    """Keeps up what the platform sends about the app as a whole."""

    def reconcile_app(self, app: App, app_url: str, http: Http, now: datetime) -> Subscribed:
        """Makes the app's own address and subscriptions there those that should exist."""
        ...


@runtime_checkable
class GuidedGrant(Protocol):
    """The seller grants access at their own store, which posts us the keys, unsigned."""

    def grant_url(self, domain: str, *, app_name: str, state: str, return_url: str, callback_url: str) -> str:
        """Where the seller's browser goes; ``state`` comes back with the keys."""
        ...

    def read_return(self, query: Mapping[str, str]) -> tuple[str, bool]:
        """State, and whether access was granted, of the address that the seller's browser comes back to."""
        ...

    def read_grant(self, body: bytes) -> tuple[str, Mapping[str, str]]:
        """State and credentials of the store's callback; :class:`ValueError` where it is not one."""
        ...


@runtime_checkable
class GrantsByOAuth(Protocol):
    """The seller approves at the platform, which gives tokens that we keep fresh."""

    name: PlatformName
    token_life: timedelta
    """How long an access token lives where no answer ever told."""

    def authorization_url(self, app: App, domain: str, *, state: str, return_url: str, challenge: str) -> str:
        """Where the seller's browser goes. ``challenge`` is PKCE's (S256), for platforms that have it."""
        ...

    def read_callback(self, app: App, query: Sequence[tuple[str, str]], now: datetime) -> Callback:
        """What came back, after the platform's own proof that it did; :class:`ValueError` says what is wrong.

        ``query`` has every parameter as it came, decoded, repeated ones repeated.
        """
        ...

    def known_store_id(self, domain: str) -> str | None:
        """The platform's own id of the store, where its address alone tells it."""
        ...

    def exchange(
        self, app: App, domain: str, code: str, *, return_url: str, verifier: str, http: Http, now: datetime
    ) -> Tokens:
        """The tokens for a code. CREDENTIALS where the platform refuses the code, PERMISSION names missing scopes."""
        ...

    def stores_of(self, connection: Connection, http: Http) -> Sequence[Identity]:
        """The stores that a grant covers, each proved as ``probe`` does; the seller chooses one of several."""
        ...

    def refresh(self, connection: Connection, http: Http, now: datetime) -> Tokens:
        """New tokens for those of ``connection``. One call to the token endpoint, never repeated.

        CREDENTIALS only where the platform says that the grant is dead (``invalid_grant``): a refusal of our
        app (``invalid_client``) is REQUEST, and everything else may pass.
        A token without an end and without a refresh token is exchanged for a pair that has both, where the
        platform can do that; where it refuses, ``never_expires`` is said of the old one.
        """
        ...


@runtime_checkable
class RevokesGrants(Protocol):
    """Can end our access at the platform when a store is removed."""

    def revoke(self, connection: Connection, http: Http) -> None:
        """Ends it; what has ended already is fine."""
        ...


class CallLimit(NamedTuple):
    """How many calls to some of its addresses a platform takes from our app, all stores together."""

    name: str
    """Tells it from the platform's other limits."""
    addresses: Pattern[str]
    """Those whose calls count, matched from the beginning of the URL, which has no query."""
    per_day: int
    """In any 24 hours; of an app that was given no other, where no answer tells."""
    per_second: int = 0
    """``0``: there is no such limit."""
    told_in: tuple[str, str, str] | None = None
    """The headers of an answer, in lower case, with the calls per second, per day, and those left of the day."""


@runtime_checkable
class CountsCallsPerApp(Protocol):
    """Limits the calls of our app as a whole, beside or in place of those of a store."""

    name: PlatformName

    @property
    def app_limits(self) -> Sequence[CallLimit]:
        """The first whose addresses fit is the one that a call counts against; a call that fits none is free."""
        ...


class Capabilities(NamedTuple):
    """What an adapter can do, read off the Protocols it fits; the docs' matrix is made from it."""

    platform: PlatformName
    abilities: frozenset[str] = frozenset()
