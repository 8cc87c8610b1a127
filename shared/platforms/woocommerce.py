"""WooCommerce: self-hosted stores, reached by consumer key and secret.

Documented at https://woocommerce.github.io/woocommerce-rest-api-docs/; where that is silent or wrong, the
plugin's source and what a real store did decide.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from hmac import digest
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from shared.addresses import normal_origin
from shared.clock import short
from shared.platforms.base import (
    FORGED,
    GENUINE,
    Answer,
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
    Verdict,
)
from shared.platforms.reading import as_dict, as_dicts, as_text
from shared.platforms.signatures import is_base64_hmac

_TOPICS = tuple(
    f"{resource}.{event}"
    for resource in ("order", "product")
    for event in ("created", "updated", "deleted", "restored")
)
_RESOURCES = {"order": Resource.ORDERS, "product": Resource.PRODUCTS}

_ORDER_STATUS = {
    "pending": OrderStatus.PENDING,
    "on-hold": OrderStatus.PENDING,
    "checkout-draft": OrderStatus.PENDING,
    "processing": OrderStatus.PAID,
    "completed": OrderStatus.COMPLETED,
    "cancelled": OrderStatus.CANCELLED,
    "failed": OrderStatus.CANCELLED,
    "trash": OrderStatus.CANCELLED,
    "refunded": OrderStatus.REFUNDED,
}
_PRODUCT_STATUS = {
    "publish": ProductStatus.ACTIVE,
    "draft": ProductStatus.DRAFT,
    "pending": ProductStatus.DRAFT,
    "future": ProductStatus.DRAFT,
    "private": ProductStatus.INACTIVE,
}
_FEES = ("_stripe_fee", "_paypal_transaction_fee", "_wcpay_transaction_fee")
"""What payment plugins note on an order; ``fee_lines`` are charges to the buyer, not costs."""

_MOST_ROWS = 100
_PAGE_SIZES = {Resource.ORDERS: _MOST_ROWS, Resource.PRODUCTS: 50}
"""A page of products costs a further call for each variable product on it."""
_SMALLEST_PAGE = 10
_MOST_VARIATION_PAGES = 100

_OVERLAP = timedelta(minutes=5)
"""How far a cycle reaches back behind the start of the one before: for rows committed late."""
_UNSETTLED = timedelta(seconds=60)
"""A row changed this shortly before the cycle's start may show a newer time than it was sorted by."""
_BEYOND = timedelta(days=1)
_SECOND = timedelta(seconds=1)

_PING = re.compile(rb"webhook_id=[0-9]{1,20}")
_ID = re.compile(r"[1-9][0-9]{0,19}")
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?")
_ERROR_CODE = re.compile(r"(?:woocommerce_)?rest_[a-z_]{1,60}")
_URL_SAFE = re.compile(r"[A-Za-z0-9_-]{16,128}")
_CONSUMER_KEY = re.compile(r"ck_[0-9a-f]{40}")
_CONSUMER_SECRET = re.compile(r"cs_[0-9a-f]{40}")
_ADMIN_PATH = re.compile(r"/(?:wp-admin|wp-json|wp-login\.php)(?:/.*)?\Z")
_AUTHENTICATION_ERROR = "woocommerce_rest_authentication_error"
_LONGEST_WAIT = 86_400
_LONGEST_NUMBER = 30
_FURTHEST_BEHIND, _FURTHEST_AHEAD = -12, 14
_EPOCH = 1970
_DATE_HEADER = "%a, %d %b %Y %H:%M:%S GMT"

_PHRASES = (
    rb'"slug":"","permalink":"https:\/\/","type":"variable","featured":false,"catalog_visibility":"visible","de'
    rb'scription":"","short_description":"","sku":"","global_unique_id":"","price":"","regular_price":"","sale_'
    rb'price":"","date_on_sale_from":null,"date_on_sale_from_gmt":null,"date_on_sale_to":null,"date_on_sale_to_'
    rb'gmt":null,"on_sale":false,"purchasable":true,"total_sales":0,"virtual":false,"downloadable":false,"downl'
    rb'oads":[],"download_limit":-1,"download_expiry":-1,"external_url":"","button_text":"","tax_status":"taxab'
    rb'le","tax_class":"","manage_stock":true,"stock_quantity":null,"backorders":"no","backorders_allowed":fals'
    rb'e,"backordered":false,"low_stock_amount":null,"sold_individually":false,"weight":"","dimensions":{"lengt'
    rb'h":"","width":"","height":""},"shipping_required":true,"shipping_taxable":true,"shipping_class":"","ship'
    rb'ping_class_id":0,"reviews_allowed":true,"average_rating":"0.00","rating_count":0,"upsell_ids":[],"cross_'
    rb'sell_ids":[],"parent_id":0,"purchase_note":"","categories":[{"id":,"name":"","slug":""}],"brands":[],"ta'
    rb'gs":[],"images":[{"src":"https:\/\/","name":"","alt":""}],"attributes":[{"id":0,"name":"","slug":"","pos'
    rb'ition":0,"visible":true,"variation":true,"options":["",""]}],"default_attributes":[],"variations":[],"gr'
    rb'ouped_products":[],"menu_order":0,"price_html":"","related_ids":[],"stock_status":"instock","has_options'
    rb'":false,"post_password":"",{"id":,"parent_id":0,"status":"completed","status":"processing","currency":"E'
    rb'UR","version":"10.5.2","prices_include_tax":true,"date_created":"2026-11-","date_modified":"2026-11-","d'
    rb'iscount_total":"0.00","discount_tax":"0.00","shipping_total":"","shipping_tax":"","cart_tax":"","total":'
    rb'"","total_tax":"","customer_id":0,"order_key":"wc_order_","billing":{"first_name":"","last_name":"","com'
    rb'pany":"","address_1":"","address_2":"","city":"","state":"","postcode":"","country":"","email":"@example'
    rb'.com","phone":"+49"},"shipping":{"first_name":"","last_name":"","company":"","address_1":"","address_2":'
    rb'"","city":"","state":"","postcode":"","country":"","phone":""},"payment_method":"","payment_method_title'
    rb'":"","transaction_id":"","customer_ip_address":"","customer_user_agent":"","created_via":"checkout","cus'
    rb'tomer_note":"","date_completed":null,"date_paid":"2026-11-","cart_hash":"","number":"","meta_data":[{"id'
    rb'":,"key":"_wc_order_attribution_","value":"","display_key":"","display_value":""}],"line_items":[{"id":,'
    rb'"name":"","product_id":,"variation_id":0,"quantity":1,"tax_class":"","subtotal":"","subtotal_tax":"","to'
    rb'tal":"","total_tax":"","taxes":[{"id":,"total":"","subtotal":""}],"meta_data":[],"sku":"","global_unique'
    rb'_id":"","price":,"image":{"id":"","src":""},"parent_name":null}],"tax_lines":[{"id":,"rate_code":"","rat'
    rb'e_id":,"label":"","compound":false,"tax_total":"","shipping_tax_total":"","rate_percent":,"meta_data":[]'
    rb'}],"shipping_lines":[{"id":,"method_title":"","method_id":"flat_rate","instance_id":"","total":"","total'
    rb'_tax":"","taxes":[{"id":,"total":"","subtotal":""}],"tax_status":"taxable","meta_data":[]}],"fee_lines":'
    rb'[],"coupon_lines":[],"refunds":[],"payment_url":"https:\/\/\/checkout\/order-pay\/\/?pay_for_order=true&'
    rb'key=wc_order_","is_editable":false,"needs_payment":false,"needs_processing":true,"date_created_gmt":"202'
    rb'6-11-","date_modified_gmt":"2026-11-","date_completed_gmt":null,"date_paid_gmt":"2026-11-","currency_sym'
    rb'bol":"\u20ac","_links":{"self":[{"href":"https:\/\/\/wp-json\/wc\/v3\/products\/","targetHints":{"allow"'
    rb':["GET","POST","PUT","PATCH","DELETE"]}}],"collection":[{"href":"https:\/\/\/wp-json\/wc\/v3\/orders"}],'
    rb'"email_templates":[{"embeddable":true,"href":"https:\/\/\/wp-json\/wc\/v3\/orders\/\/actions\/email_temp'
    rb'lates"}]}}'
)
"""The names in a product and in an order, and what mostly follows them."""


class WooCommerce:
    """Fits Platform, ShowsNewest, ReceivesWebhooks, ManagesSubscriptions and GuidedGrant."""

    name = PlatformName.WOO_COMMERCE
    credential_sets = (frozenset({"api_key", "api_secret"}),)
    parsed_headers = frozenset({"x-wc-webhook-topic"})
    phrases = (_PHRASES,)

    def normal_domain(self, text: str) -> str:
        """As :func:`shared.addresses.normal_origin`; what was copied from the dashboard's address is cut."""
        return _ADMIN_PATH.sub("", normal_origin(text))

    def probe(self, connection: Connection, http: Http) -> Identity:
        """The index says which store it is, the currency proves the key, an empty webhook its scope."""
        api = _Api(connection, http)
        index = api.index()
        currency = api.one("data/currencies/current").get("code")
        api.prove_writing()
        return Identity(
            store_id=_own_address(index, connection.domain),
            domain=connection.domain,
            store_name=as_text(index.get("name")) or None,
            currency=as_text(currency) or None,
            timezone=_timezone(index),
            scopes=frozenset({"read_write"}),
        )

    def fetch(self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime) -> Page:
        """The next page of a cycle; see :class:`_Place` for how it pages."""
        place = _Place.read(cursor, _PAGE_SIZES[resource], connection.timezone)
        api = _Api(connection, http, now=now, in_query=place.in_query)
        try:
            rows, headers = api.rows(resource.value, place.parameters())
        except PlatformError as error:
            if place.size == _SMALLEST_PAGE or not _is_size_to_blame(error):
                raise
            return Page([], place.smaller().written(), done=False)
        start = place.start or _naive(_date_of(headers) or now)
        place = replace(place, in_query=api.in_query)
        following, done = place.after_page(rows, headers, start, connection.timezone)
        records, bad = _records(api, resource, rows)
        partial = f"Not understood: {resource} {', '.join(bad)}." if bad else None
        total = _number(headers.get("x-wp-total")) if cursor is None else None
        return Page(records, following.written(), done, partial, total=total)

    def newest_orders(self, connection: Connection, http: Http, now: datetime) -> Sequence[Record]:
        """By their dates of creation."""
        api = _Api(connection, http, now=now)
        newest = {"status": "any", "orderby": "date", "order": "desc", "per_page": str(_MOST_ROWS)}
        rows, _ = api.rows(Resource.ORDERS.value, newest)
        return _records(api, Resource.ORDERS, rows)[0]

    def fetch_one(self, connection: Connection, resource: Resource, id: str, http: Http) -> Record:
        """The record; a variation's id gives its product. What is in the trash does not exist."""
        api = _Api(connection, http)
        row = api.one(f"{resource}/{_checked_id(id)}")
        if row.get("type") == "variation":
            row = api.one(f"{resource}/{_checked_id(row.get('parent_id'))}")
        if row.get("status") == "trash":
            raise PlatformError(Refusal.NOT_FOUND, f"{resource} {id} is in the trash.")
        try:
            return _record(api, resource, row)
        except ValueError:
            raise PlatformError(Refusal.NOT_UNDERSTOOD, f"{resource} {id} was not understood.") from None

    def list_ids(
        self,
        connection: Connection,
        resource: Resource,
        cursor: Json | None,
        http: Http,
        now: datetime,  # noqa: ARG002 - all rows are listed, however old
    ) -> IdPage:
        """A row that goes while this pages may hide another: an absent id is a suspicion, no proof."""
        page = int((cursor or {}).get("page", 1))
        api = _Api(connection, http)
        parameters = {"_fields": "id", "status": "any", "orderby": "id", "order": "asc"}
        rows, headers = api.rows(resource.value, {**parameters, "per_page": str(_MOST_ROWS), "page": str(page)})
        ids = [str(row.get("id")) for row in rows if _ID.fullmatch(str(row.get("id")))]
        last = (cursor or {}).get("last", 0)
        if len(ids) < len(rows) or (ids and int(ids[-1]) <= last):
            raise PlatformError(Refusal.NOT_THE_PLATFORM, "The store repeats a page for ever.", status=200)
        done = not rows or not _has_more(headers, page, len(rows), _MOST_ROWS)
        return IdPage(ids, {"page": page + 1, "last": int(ids[-1]) if ids else last}, done)

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: datetime) -> Verdict:  # noqa: ARG002
        """The base64 HMAC of the body; nothing is dated, so repeats are for the caller to tell."""
        signature, body = delivery.headers.get("x-wc-webhook-signature"), delivery.body
        if signature is None:
            return Verdict.PING if _is_ping(delivery) else FORGED
        genuine = False
        for secret in secrets:
            key = _entities_decoded(secret) if "&" in secret else secret
            genuine |= is_base64_hmac(signature, body, (key,))
        return GENUINE if genuine and body else FORGED

    def topic(self, delivery: Delivery) -> str:
        """As the header names it; a ping has none."""
        return delivery.headers.get("x-wc-webhook-topic", "")

    def event_id(self, delivery: Delivery) -> str:
        """Weak: the delivery id is a hash of webhook and second, so two events can share it."""
        names = ("x-wc-webhook-id", "x-wc-webhook-delivery-id", "x-wc-webhook-topic")
        return ":".join(delivery.headers.get(name, "") for name in names)

    def parse(self, delivery: Delivery) -> Sequence[Event]:
        """One event, or none of ours. A product's record has no currency: its store's is meant."""
        if _is_ping(delivery):
            return []
        row = _decode(delivery.body)
        if not isinstance(row, dict):
            raise ValueError("The body is not a JSON object.")  # noqa: TRY004 - what the Protocol promises
        if "id" not in row and _error_code(row):
            # The user behind the webhook lost their rights: WooCommerce signs and sends the refusal.
            return [Event(None, access_lost=True)]
        topic = self.topic(delivery)
        if topic not in _TOPICS:
            return []
        resource = _RESOURCES[topic.partition(".")[0]]
        if topic.endswith(".deleted"):
            return [Event(resource, _id(row.get("id")), deleted=True)]
        if row.get("type") == "variation":
            return [Event(resource, _id(row.get("parent_id")))]
        return [Event(resource, _id(row.get("id")), record=_whole_record(resource, row))]

    def reconcile(self, connection: Connection, delivery_url: str, secret: str, http: Http) -> Subscribed:
        """Webhooks are ours by their delivery URL; their name marks the secret, which no call returns."""
        api = _Api(connection, http)
        mark = digest(secret.encode(), b"storelink", "sha256").hex()[:8]
        missing = dict.fromkeys(_TOPICS)
        repaired = removed = kept = 0
        for hook in _our_webhooks(api, delivery_url):
            topic = as_text(hook.get("topic"))
            place = f"webhooks/{_checked_id(hook.get('id'))}"
            if topic not in missing:
                api.delete(place)
                removed += 1
                continue
            del missing[topic]
            if hook.get("status") == "active" and hook.get("name") == f"storelink {topic} {mark}":
                kept += 1
            else:
                _subscribe(api, "PUT", place, _webhook(topic, delivery_url, secret, mark))
                repaired += 1
        for topic in missing:
            _subscribe(api, "POST", "webhooks", _webhook(topic, delivery_url, secret, mark))
        return Subscribed(len(missing), repaired, removed, kept)

    def unsubscribe(self, connection: Connection, delivery_url: str, http: Http) -> None:
        """Deletes the webhooks that deliver to ``delivery_url``."""
        api = _Api(connection, http)
        for hook in _our_webhooks(api, delivery_url):
            api.delete(f"webhooks/{_checked_id(hook.get('id'))}")

    def grant_url(self, domain: str, *, app_name: str, state: str, return_url: str, callback_url: str) -> str:
        """Where the seller approves; ``state`` comes back as ``user_id``."""
        if not _URL_SAFE.fullmatch(state):
            raise ValueError("WooCommerce mangles a state that is not made of url-safe letters.")
        query = {
            "app_name": app_name,
            "scope": "read_write",
            "user_id": state,
            "return_url": return_url,
            "callback_url": callback_url,
        }
        return f"{domain}/wc-auth/v1/authorize?{urlencode(query)}"

    def read_return(self, query: Mapping[str, str]) -> tuple[str, bool]:
        """``success=1``, or ``success=0`` for a seller who declined."""
        return query.get("user_id", ""), query.get("success") == "1"

    def read_grant(self, body: bytes) -> tuple[str, Mapping[str, str]]:
        """Nothing here is signed: the keys must still prove themselves at the address the seller gave."""
        grant = _decode(body)
        if not isinstance(grant, dict):
            raise ValueError("The grant is not a JSON object.")  # noqa: TRY004 - what the Protocol promises
        state, key, secret = (str(grant.get(k)) for k in ("user_id", "consumer_key", "consumer_secret"))
        if not (_URL_SAFE.fullmatch(state) and _CONSUMER_KEY.fullmatch(key) and _CONSUMER_SECRET.fullmatch(secret)):
            raise ValueError("The grant lacks a state, a key or a secret.")
        return state, {"api_key": key, "api_secret": secret}


class _Api:
    """One store's REST API, for as long as one call to the adapter lasts."""

    def __init__(
        self, connection: Connection, http: Http, *, now: datetime | None = None, in_query: bool = False
    ) -> None:
        self.currency = connection.currency
        self.in_query = in_query
        self._domain = connection.domain
        self._http = http
        self._now = now
        self._key = connection.credentials.get("api_key", "")
        self._secret = connection.credentials.get("api_secret", "")
        if not (self._key and self._secret):
            raise PlatformError(Refusal.CREDENTIALS, "The store has no consumer key and secret.")

    def index(self) -> Json:
        """The public description of the site."""
        fields = "name,home,gmt_offset,timezone_string,namespaces"
        answer = self._http.request("GET", f"{self._domain}/wp-json/", params={"_fields": fields})
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) and _error_code(_json_or_none(answer.body)):
            raise PlatformError(
                Refusal.PERMISSION,
                "The site hides its REST API from visitors: a security plugin may be set so.",
                status=answer.status,
            )
        index = self._read(answer, "GET")
        namespaces = index.get("namespaces") if isinstance(index, dict) else None
        if not isinstance(namespaces, list):
            raise self._strange("The address does not answer as WordPress does.", answer)
        if "wc/v3" not in namespaces:
            raise self._strange("The site runs WordPress, but not WooCommerce.", answer)
        return index  # type: ignore[no-any-return]  # a dict, since it has namespaces

    def prove_writing(self) -> None:
        """Posts a webhook that lacks everything: the key's scope is looked at before its content."""
        answer = self._send("POST", "webhooks", None, {})
        if answer.status != HTTPStatus.BAD_REQUEST:
            self._read(answer, "POST")

    def one(self, path: str) -> Json:
        answer = self._send("GET", path, None, None)
        found = self._read(answer, "GET")
        if not isinstance(found, dict):
            raise self._strange("The store answered with something else than was asked for.", answer)
        return found

    def rows(self, path: str, parameters: Mapping[str, str]) -> tuple[Sequence[Json], Mapping[str, str]]:
        """Rows and the answer's headers."""
        is_first = parameters.get("page", "1") == "1"
        for _ in range(2):  # the one row there was may have gone since it was counted
            answer = self._send("GET", path, parameters, None)
            rows = self._read(answer, "GET")
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise self._strange("The store answered with something else than a list.", answer)
            if rows or not (is_first and _number(answer.headers.get("x-wp-total"))):
                return rows, answer.headers
        raise PlatformError(Refusal.PERMISSION, "The key may not see what the store has.", status=200)

    def write(self, method: str, path: str, content: Json) -> Json:
        answer = self._send(method, path, None, content)
        written = self._read(answer, method)
        if not isinstance(written, dict):
            raise self._strange("The store answered with something else than was written.", answer)
        return written

    def delete(self, path: str) -> None:
        """Deletes for good; what is gone already is fine."""
        try:
            self._read(self._send("DELETE", path, {"force": "true"}, None), "DELETE")
        except PlatformError as error:
            if error.refusal is not Refusal.NOT_FOUND:
                raise

    def _send(self, method: str, path: str, parameters: Mapping[str, str] | None, content: Any) -> Answer:
        answer = self._send_once(method, path, parameters, content)
        if answer.status == HTTPStatus.UNAUTHORIZED and not self.in_query and _was_key_missing(answer):
            # Some hosts drop the Authorization header, which looks the same as an unknown key.
            self.in_query = True
            second = self._send_once(method, path, parameters, content)
            self.in_query = second.status != HTTPStatus.UNAUTHORIZED
            return second
        return answer

    def _send_once(self, method: str, path: str, parameters: Mapping[str, str] | None, content: Any) -> Answer:
        url = f"{self._domain}/wp-json/wc/v3/{path}"
        if self.in_query:
            keys = {"consumer_key": self._key, "consumer_secret": self._secret}
            return self._http.request(method, url, params={**(parameters or {}), **keys}, json=content)
        return self._http.request(method, url, params=parameters, json=content, basic=(self._key, self._secret))

    def _read(self, answer: Answer, method: str) -> Any:
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise self._refusal(answer, method)
        try:
            return _decode(answer.body)
        except ValueError:
            raise self._strange("The store answered with something else than JSON.", answer) from None

    def _refusal(self, answer: Answer, method: str) -> PlatformError:
        """What an answer that is no success means."""
        status = answer.status
        wait = answer.headers.get("retry-after")
        error = _json_or_none(answer.body)
        retry_at = None
        if status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.SERVICE_UNAVAILABLE and wait):
            refusal, detail = Refusal.RATE_LIMITED, "The store asks us to wait."
            retry_at = _retry_at(wait, self._now or _date_of(answer.headers))
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            refusal, detail = Refusal.TRANSIENT, f"The store failed with status {status}."
        elif not _error_code(error):
            # Not a word from WooCommerce: no reason to believe that the key is refused.
            refusal, detail = (
                Refusal.NOT_THE_PLATFORM,
                f"The store answered {status} with a page: a firewall may stop us.",
            )
        else:
            refusal, detail = _meaning(status, _error_code(error), as_text(error.get("message")), method)
        if self._key in detail or self._secret in detail:
            detail = "The store refused our request."
        return PlatformError(refusal, detail, status=status, retry_at=retry_at)

    def _strange(self, detail: str, answer: Answer) -> PlatformError:
        return PlatformError(Refusal.NOT_THE_PLATFORM, detail, status=answer.status)


def _meaning(status: int, code: str, message: str, method: str) -> tuple[Refusal, str]:
    """What one of WordPress's errors means."""
    refusal, detail = Refusal.REQUEST, f"The store refused our request: {code}."
    if status == HTTPStatus.UNAUTHORIZED and code == _AUTHENTICATION_ERROR:
        # The same code for a wrong secret and a missing scope, with a text in the site's language; but
        # every write of ours follows a read, so a secret refused only now is not wrong.
        if method == "GET" and "permission" not in message:
            refusal, detail = Refusal.CREDENTIALS, "The consumer secret is wrong."
        else:
            refusal, detail = Refusal.PERMISSION, "The key needs the permission Read/Write."
    elif status == HTTPStatus.UNAUTHORIZED:
        refusal, detail = Refusal.CREDENTIALS, "The store does not know the consumer key."
    elif status == HTTPStatus.FORBIDDEN:
        refusal, detail = Refusal.PERMISSION, "The user behind the key may not do this."
    elif status == HTTPStatus.NOT_FOUND and code.endswith("_invalid_id"):
        refusal, detail = Refusal.NOT_FOUND, "The store says that this does not exist."
    elif status == HTTPStatus.NOT_FOUND:
        # Not NOT_FOUND: with the plugin switched off, everything would seem to be gone.
        refusal, detail = Refusal.NOT_THE_PLATFORM, "The site no longer runs WooCommerce."
    return refusal, detail


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a cycle stands. Times are naive and GMT, as ``modified_after`` wants them.

    A *sweep* asks for what changed after ``after``, in the order of change, always the first page: the
    time of the last row, less a second, is the next ``after``. So rows that move while this pages are
    met again or later, never skipped.

    Where that cannot advance (a second with more rows than a page, the hour that clocks skip, rows that
    change right now), a *listing* reads what lies between ``after`` and ``until`` by id, the last page
    first: rows can only leave a time that is past, which moves others to pages that are still to come.
    """

    size: int
    after: datetime | None = None
    start: datetime | None = None
    """When this cycle began, by the store's clock."""
    until: datetime | None = None
    page: int | None = None
    """The page to list by id; unknown until the store has told how many there are."""
    in_query: bool = False
    shrunk: bool = False
    """The page has given way since the cycle began, which must not make it larger again."""

    @classmethod
    def read(cls, cursor: Json | None, largest: int, timezone: str) -> "_Place":
        fields: dict[str, Any] = {
            name: datetime.fromisoformat(value) if isinstance(value, str) else value
            for name, value in (cursor or {"size": largest}).items()
        }
        place = cls(**fields)
        if place.start or place.shrunk or not place.after:
            return place
        # A new cycle: try larger pages again, and step out of the hour that clocks skip.
        after = place.after - _skipped(place.after, timezone)
        return replace(place, size=min(largest, place.size * 2), after=after)

    def written(self) -> Json:
        """The cursor: only what is not as by default."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
            if value
        }

    def smaller(self) -> "_Place":
        """The same place with smaller pages; a listing by id begins anew, as its pages are other ones."""
        return replace(self, size=max(_SMALLEST_PAGE, self.size // 2), page=None, shrunk=True)

    def parameters(self) -> dict[str, str]:
        """The query. No ``Z`` and no offset: with ``dates_are_gmt`` they shift by the site's own offset."""
        return {
            "per_page": str(self.size),
            "status": "any",
            "orderby": "id" if self.until else "modified",
            "order": "asc",
            "dates_are_gmt": "true",
            **({"modified_after": self.after.isoformat()} if self.after else {}),
            **({"modified_before": self.until.isoformat()} if self.until else {}),
            **({"page": str(self.page)} if self.page else {}),
        }

    def after_page(
        self, rows: Sequence[Json], headers: Mapping[str, str], start: datetime, timezone: str
    ) -> tuple["_Place", bool]:
        """The place after a page, and whether the cycle, begun at ``start``, is done."""
        if not self.until and not _has_more(headers, 1, len(rows), self.size):
            return _Place(self.size, start - _OVERLAP, in_query=self.in_query), True
        following = (
            self._after_listing(self.until, headers, timezone)
            if self.until
            else self._after_sweep(rows, start - _UNSETTLED, timezone)
        )
        return replace(following, start=start), False

    def _after_listing(self, until: datetime, headers: Mapping[str, str], timezone: str) -> "_Place":
        pages = _number(headers.get("x-wp-totalpages"))
        if self.page is None and pages is None:
            raise PlatformError(Refusal.NOT_THE_PLATFORM, "The store does not count its pages.", status=200)
        # With one page only, it was that one; otherwise the first is read once more, as the last.
        following = self.page - 1 if self.page else (pages or 0) if pages != 1 else 0
        return replace(self, page=following) if following else self._sweep_from(until - _SECOND, timezone)

    def _after_sweep(self, rows: Sequence[Json], edge: datetime, timezone: str) -> "_Place":
        times = [time for row in rows if (time := _modified(row))]
        if self.after and max(times, default=self.after) <= self.after:
            raise PlatformError(Refusal.NOT_THE_PLATFORM, "The store ignores modified_after.", status=200)
        last = max((time for time in times if time < edge), default=None)
        if last is None:
            # All of them changed just now: what has not comes first, then whatever has.
            rest = edge if not self.after or self.after < edge - _SECOND else edge + _BEYOND
            return replace(self, until=rest)
        if self.after and last - _SECOND <= self.after:
            return replace(self, until=last + _SECOND)
        return self._sweep_from(last - _SECOND, timezone)

    def _sweep_from(self, after: datetime, timezone: str) -> "_Place":
        skipped = _skipped(after, timezone)
        until = after + skipped + _SECOND if skipped else None
        return replace(self, after=after - skipped, until=until, page=None)


def _is_size_to_blame(error: PlatformError) -> bool:
    """Whether a smaller page may succeed: memory, time and our own cap run out on large ones."""
    if error.refusal is Refusal.NOT_THE_PLATFORM:
        return error.status in (None, 200)
    return error.refusal in (Refusal.TRANSIENT, Refusal.UNREACHABLE) and error.status != HTTPStatus.SERVICE_UNAVAILABLE


def _skipped(time: datetime, timezone: str) -> timedelta:
    """How much the site's clocks skip where they never show this time; nothing where they do.

    WordPress reads even a GMT time with the site's clock: one that does not exist there jumps ahead.
    """
    from zoneinfo import ZoneInfo

    try:
        local = time.replace(tzinfo=ZoneInfo(timezone))
    except (KeyError, ValueError, OSError):
        return timedelta()
    return max(local.astimezone(UTC).astimezone(local.tzinfo).replace(tzinfo=None) - time, timedelta())


def _has_more(headers: Mapping[str, str], page: int, rows: int, size: int) -> bool:
    # A page may be short although more follow: rows that the key may not see are left out of it.
    pages = _number(headers.get("x-wp-totalpages"))
    return rows >= size if pages is None else pages > page


def _records(api: _Api, resource: Resource, rows: Sequence[Json]) -> tuple[list[Record], list[str]]:
    """The records of a page, and the ids of those that could not be read."""
    records, bad = [], []
    for row in rows:
        try:
            records.append(_record(api, resource, row))
        except ValueError:
            bad.append(as_text(str(row.get("id")))[:20])
        except PlatformError as error:
            # One product that the store cannot show must not stop all others for ever.
            if error.status is None or not _is_size_to_blame(error):
                raise
            bad.append(_id(row.get("id")))
    return records, bad


def _record(api: _Api, resource: Resource, row: Json) -> Record:
    if resource is Resource.ORDERS:
        return _order(row)
    variations = list(_variations(api, _id(row.get("id")))) if row.get("variations") else None
    return _product(row, variations, api.currency)


def _variations(api: _Api, product: str) -> Iterator[Json]:
    parameters = {"per_page": str(_MOST_ROWS), "orderby": "id", "order": "asc"}
    for page in range(1, _MOST_VARIATION_PAGES + 1):
        rows, headers = api.rows(f"products/{product}/variations", {**parameters, "page": str(page)})
        yield from rows
        if not rows or not _has_more(headers, page, len(rows), _MOST_ROWS):
            return
    raise ValueError("The product has too many variations.")


def _whole_record(resource: Resource, row: Json) -> Record | None:
    """The record of a webhook's body, where the body is all of it."""
    try:
        if resource is Resource.ORDERS:
            return None if row.get("status") == "trash" else _order(row)
        return None if row.get("variations") or row.get("status") == "trash" else _product(row, None, None)
    except ValueError:
        return None


def _order(row: Json) -> Record:
    order_id = _id(row.get("id"))
    status = _required_text(row.get("status"))
    currency = _required_text(row.get("currency"))
    created, updated = _times(row)
    body: Json = {
        "id": order_id,
        "number": as_text(row.get("number")) or order_id,
        "status": _ORDER_STATUS.get(status, OrderStatus.OTHER).value,
        "platformStatus": status,
        "total": _required_money(row.get("total")),
        "refundedTotal": _refunded(row.get("refunds")),
        "currency": currency,
        "lines": [_line(line) for line in as_dicts(row.get("line_items"))],
        "customer": _customer(row),
        "shippingAddress": _address(row),
        "note": as_text(row.get("customer_note")) or None,
        "fees": [
            {"type": "payment", "name": name.strip("_"), "amount": amount, "currency": currency}
            for name, amount in _payment_fees(row)
        ],
        "createdAt": short(created) if created else None,
        "updatedAt": short(updated),
    }
    return Record(order_id, updated, body, created, sorts_by_id=True)


def _line(line: Json) -> Json:
    return {
        "id": _id(line.get("id")),
        "productId": _id_or_none(line.get("product_id")),
        "variantId": _id_or_none(line.get("variation_id")),
        "title": as_text(line.get("name")),
        "sku": as_text(line.get("sku")) or None,
        "quantity": _quantity(line.get("quantity")),
        "unitPrice": _money(line.get("price")),
        "total": _required_money(line.get("total")),
        "properties": [
            {"name": _shown(meta, "key"), "value": _shown(meta, "value")}
            for meta in as_dicts(line.get("meta_data"))
            if not as_text(meta.get("key")).startswith("_")
        ],
    }


def _shown(meta: Json, what: str) -> str:
    value = meta.get(f"display_{what}", meta.get(what))
    return as_text(value) if isinstance(value, str) else as_text(json.dumps(value, ensure_ascii=False))


def _customer(row: Json) -> Json | None:
    billing = as_dict(row.get("billing"))
    name = _full_name(billing)
    email = as_text(billing.get("email"))
    customer_id = _id_or_none(row.get("customer_id"))
    if not (customer_id or name or email):
        return None
    return {"id": customer_id, "name": name or None, "email": email or None}


def _full_name(address: Json) -> str:
    return f"{as_text(address.get('first_name'))} {as_text(address.get('last_name'))}".strip()


def _address(row: Json) -> Json | None:
    given = as_dict(row.get("shipping"))
    parts = {
        "name": _full_name(given),
        "company": as_text(given.get("company")),
        "line1": as_text(given.get("address_1")),
        "line2": as_text(given.get("address_2")),
        "city": as_text(given.get("city")),
        "region": as_text(given.get("state")),
        "postalCode": as_text(given.get("postcode")),
        "country": as_text(given.get("country")),
    }
    if not any(parts.values()):
        return None
    phone = as_text(given.get("phone")) or as_text(as_dict(row.get("billing")).get("phone"))
    return {name: value or None for name, value in {**parts, "phone": phone}.items()}


def _payment_fees(row: Json) -> Iterator[tuple[str, str]]:
    for meta in as_dicts(row.get("meta_data")):
        amount = _money(meta.get("value")) if meta.get("key") in _FEES else None
        if amount is not None:
            yield meta["key"], amount


def _refunded(refunds: Any) -> str | None:
    totals = [_required_money(refund.get("total")) for refund in as_dicts(refunds)]
    return format(-sum(map(Decimal, totals), Decimal(0)), "f") if totals else None


def _product(row: Json, variations: Sequence[Json] | None, currency: str | None) -> Record:
    """A product without variations has one variant, itself, so that stock is always found there."""
    product_id = _id(row.get("id"))
    status = _required_text(row.get("status"))
    created, updated = _times(row)
    images = as_dicts(row.get("images"))
    variants = [_variant(variation) for variation in (variations if variations is not None else [row])]
    body: Json = {
        "id": product_id,
        "title": as_text(row.get("name")),
        "status": _PRODUCT_STATUS.get(status, ProductStatus.OTHER).value,
        "platformStatus": status,
        "price": _money(row.get("price")),
        "currency": currency,
        "sku": as_text(row.get("sku")) or None,
        "imageUrl": (as_text(images[0].get("src")) or None) if images else None,
        "url": as_text(row.get("permalink")) or None,
        "variants": variants,
        "createdAt": short(created) if created else None,
        "updatedAt": short(updated),
    }
    return Record(product_id, updated, body, created)


def _variant(row: Json) -> Json:
    # A product's own attributes list the options there are; a variation's say which one it is.
    attributes = {
        as_text(attribute.get("name")): as_text(attribute.get("option"))
        for attribute in as_dicts(row.get("attributes"))
        if "option" in attribute
    }
    return {
        "id": _id(row.get("id")),
        "title": ", ".join(attributes.values()) or as_text(row.get("name")),
        "sku": as_text(row.get("sku")) or None,
        "price": _money(row.get("price")),
        "inventoryQuantity": _quantity(row.get("stock_quantity")),
        "attributes": attributes,
    }


def _times(row: Json) -> tuple[datetime | None, datetime]:
    created = _gmt(row.get("date_created_gmt"))
    updated = _gmt(row.get("date_modified_gmt")) or created
    if updated is None:
        raise ValueError("no time of change")
    return created, updated


def _gmt(value: Any) -> datetime | None:
    """WooCommerce names no zone beside its GMT times."""
    if not isinstance(value, str):
        return None
    time = datetime.fromisoformat(value)
    if time.tzinfo is not None or time.year < _EPOCH:
        raise ValueError("no GMT time")
    return time.replace(tzinfo=UTC)


def _modified(row: Json) -> datetime | None:
    try:
        time = _gmt(row.get("date_modified_gmt"))
    except ValueError:
        return None
    return _naive(time) if time else None


def _naive(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(tzinfo=None, microsecond=0)


def _decode(body: bytes) -> Any:
    """JSON without floats; :class:`ValueError` for whatever else it is."""
    try:
        return json.loads(body.decode("utf-8-sig"), parse_float=str, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _json_or_none(body: bytes) -> Any:
    try:
        return _decode(body)
    except ValueError:
        return None


def _error_code(error: Any) -> str:
    """WordPress's error code; empty where the answer is none of its errors."""
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""


def _was_key_missing(answer: Answer) -> bool:
    return _error_code(_json_or_none(answer.body)) not in ("", _AUTHENTICATION_ERROR)


def _is_ping(delivery: Delivery) -> bool:
    """What WooCommerce posts when a webhook is made: a form, unsigned, without any of its headers."""
    return bool(_PING.fullmatch(delivery.body)) and "x-wc-webhook-topic" not in delivery.headers


_ENTITY = re.compile(r"&(?:#0*39|#[xX]0*27|quot|#0*34|#[xX]0*22|lt|#0*60|gt|#0*62|amp|#0*38|#[xX]0*26);")
_DECIMAL_BASE, _HEXADECIMAL_BASE = 10, 16
_NAMED = {"&quot;": '"', "&lt;": "<", "&gt;": ">", "&amp;": "&"}


def _entities_decoded(secret: str) -> str:
    """WooCommerce signs with the stored secret after ``wp_specialchars_decode(…, ENT_QUOTES)``.

    That function knows these few entities only, unlike :func:`html.unescape`.
    """
    return _ENTITY.sub(_character, secret)


def _character(entity: re.Match[str]) -> str:
    text = entity[0]
    if text in _NAMED:
        return _NAMED[text]
    is_hexadecimal = text[2] in "xX"
    return chr(int(text[3:-1], _HEXADECIMAL_BASE) if is_hexadecimal else int(text[2:-1], _DECIMAL_BASE))


def _our_webhooks(api: _Api, delivery_url: str) -> list[Json]:
    """Ours, the oldest first."""
    found: list[Json] = []
    for page in range(1, _MOST_VARIATION_PAGES + 1):
        parameters = {"per_page": str(_MOST_ROWS), "orderby": "id", "order": "asc", "page": str(page)}
        rows, headers = api.rows("webhooks", parameters)
        found += [row for row in rows if row.get("delivery_url") == delivery_url]
        if not rows or not _has_more(headers, page, len(rows), _MOST_ROWS):
            break
    return found


def _webhook(topic: str, delivery_url: str, secret: str, mark: str) -> Json:
    return {
        "name": f"storelink {topic} {mark}",
        "topic": topic,
        "delivery_url": delivery_url,
        "secret": secret,
        "status": "active",
    }


def _subscribe(api: _Api, method: str, path: str, webhook: Json) -> None:
    written = api.write(method, path, webhook)
    # A topic that it does not know may be answered with 201 and stored as one that never fires.
    if any(written.get(name) != webhook[name] for name in ("topic", "status", "delivery_url")):
        raise PlatformError(Refusal.NOT_THE_PLATFORM, f"The store did not take the webhook for {webhook['topic']}.")


def _own_address(index: Json, domain: str) -> str:
    """The store's id: the address that it gives itself, which must be the one that was called.

    Otherwise any site could pass for another by naming its address. The scheme and ``www.`` may differ.
    """
    home = as_text(index.get("home"))
    try:
        own = normal_origin(re.sub(r"\Ahttp://", "https://", home)).removeprefix("https://")
    except ValueError:
        raise PlatformError(Refusal.NOT_THE_PLATFORM, "The site does not name its address.") from None
    if own.removeprefix("www.") != domain.removeprefix("https://").removeprefix("www."):
        raise PlatformError(Refusal.ADDRESS, f"The store's own address is {own}: connect it by that one.")
    return own


def _timezone(index: Json) -> str:
    """An IANA name; a site may have a bare offset instead, of which whole hours have names."""
    from zoneinfo import ZoneInfo  # the webhook receiver, which loads this, needs none

    named = as_text(index.get("timezone_string"))
    try:
        return ZoneInfo(named).key
    except (KeyError, ValueError, OSError):
        pass  # empty, or not a name that we know
    try:
        hours = int(str(index.get("gmt_offset")))
    except ValueError:
        return "UTC"
    if not hours or not _FURTHEST_BEHIND <= hours <= _FURTHEST_AHEAD:
        return "UTC"
    # POSIX signs: Etc/GMT-2 is two hours ahead of GMT.
    return f"Etc/GMT{'-' if hours > 0 else '+'}{abs(hours)}"


def _date_of(headers: Mapping[str, str]) -> datetime | None:
    """The store's clock, from its answer."""
    try:
        return datetime.strptime(headers.get("date", ""), _DATE_HEADER).replace(tzinfo=UTC)
    except ValueError:
        return None


def _retry_at(wait: str | None, now: datetime | None) -> datetime | None:
    seconds = _number(wait)
    if seconds is None:
        return _date_of({"date": wait or ""})
    return now + timedelta(seconds=min(seconds, _LONGEST_WAIT)) if now else None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER else None


def _checked_id(value: Any) -> str:
    try:
        return _id(value)
    except ValueError:
        raise PlatformError(Refusal.NOT_FOUND, "This is no id of WooCommerce.") from None


def _id(value: Any) -> str:
    text = str(value) if isinstance(value, int | str) else ""
    if not _ID.fullmatch(text):
        raise ValueError("no id")
    return text


def _id_or_none(value: Any) -> str | None:
    return _id(value) if value else None


def _required_text(value: Any) -> str:
    text = as_text(value)
    if not text:
        raise ValueError("a field is missing")
    return text


def _money(value: Any) -> str | None:
    """Decimal text, in the platform's own spelling where that is plain."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value)
    if _PLAIN_NUMBER.fullmatch(text):
        return text
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    # Bounded: 1E+999999999 would be a gigabyte of zeros.
    return format(number, "f") if number.is_finite() and abs(number.adjusted()) <= _LONGEST_NUMBER else None


def _required_money(value: Any) -> str:
    amount = _money(value)
    if amount is None:
        raise ValueError("an amount is missing")
    return amount


def _quantity(value: Any) -> int | str | None:
    """A whole number, or decimal text where a plugin sells by weight."""
    amount = _money(value)
    if amount is None:
        return None
    number = Decimal(amount)
    return int(number) if number == number.to_integral_value() else amount
