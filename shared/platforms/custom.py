"""CUSTOM: stores that speak our own contract, docs/custom-openapi.yaml, at an address that the seller gives.

Whoever wrote the server follows that document and nothing else, so what breaks a rule of it is said by the
rule's name and the field's. Webhooks are Standard Webhooks:
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import json
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hmac import compare_digest, digest
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

from shared.addresses import normal_origin
from shared.clock import from_text, short
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
from shared.platforms.signatures import is_recent, listed_in

EVENTS = (
    "order.created",
    "order.updated",
    "product.created",
    "product.updated",
    "product.deleted",
    "connection.revoked",
)
_RESOURCES = {"order": Resource.ORDERS, "product": Resource.PRODUCTS}
_REVOKED = Event(None, access_lost=True, disconnected=True)

MOST_ROWS = 100
_SMALLEST_PAGE = 10
_PROBED_ROWS = 5
MOST_PAGES = 100_000
"""Of one cycle: ten million records. A server that goes on beyond does not end."""
LARGEST_RECORD = 256 * 1024
_MOST_VARIANTS, _MOST_LINES, _MOST_PAIRS, _MOST_FEES = 500, 1_000, 100, 100
_LONGEST_TEXT, _LONGEST_NOTE = 2_000, 10_000
_LARGEST_COUNT = 10**9
_NAMED_IN_DETAIL = 3
_OVERLAP = timedelta(minutes=5)
_LONGEST_WAIT = 86_400

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:~-]{0,127}")
_MONEY = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,8})?")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|\+00:00)")
_ADDRESS = re.compile(r"https?://[!-~]{1,2000}")
_CURSOR = re.compile(r"[!-~]{1,512}")
_KEY = re.compile(r"[!-~]{16,4096}")
_ERROR_CODE = re.compile(r"[a-z][a-z_]{0,39}")
_NUMBER = re.compile(r"0|[1-9][0-9]*")
_SECONDS = re.compile(r"[0-9]{1,12}")
_DATE_HEADER = "%a, %d %b %Y %H:%M:%S GMT"
_EPOCH = 1970
_NOT_THERE = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
"""What a server says of webhooks that it does not have, in whatever words."""

# https://www.six-group.com/en/products-services/financial-information/data-standards.html, lists one and three; here
# because the table that pydantic uses is slow to load.
_CODES = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE "
    "CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF "
    "GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR "
    "LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN "
    "PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS "
    "TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR "
    "ZMW ZWG ANG BGN BYR CUC EEK HRK LTL LVL MRO SLL STD VEF ZMK ZWL"
)
CURRENCIES = frozenset(_CODES.split())
"""Today's, and those that old orders may still be in; none for metals, funds of banks, tests."""

# Standard Webhooks
_OPENING = re.compile(r"[!-\-/-~]{1,128}\.[0-9]{1,12}\.")
"""What is signed before the body: id and time. The id has no full stop, which would move the border between them."""
_FEWEST_KEY_BYTES, _MOST_KEY_BYTES = 24, 64
_PUBLIC_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
_MOST_SIGNATURES = 16
_MOST_ED25519 = 4
"""Signatures of the slow kind that are looked at: two while a key is rotated, and then some."""
_SYMMETRIC, _PUBLIC = "whsec_", "whpk_"
KEY_WANTED = (
    "The webhook secret must be whsec_ and the base64 of 24 to 64 random bytes, "
    "or whpk_ and the base64 of the server's ed25519 public key (32 bytes)."
)


class Rule(StrEnum):
    """What a record may break, in words for the one who writes the server."""

    SHAPE = "every required field is there, in its type"
    ID = "ids are text"
    MONEY = "money is decimal text"
    TIME = "times are RFC 3339 in UTC"
    CURRENCY = "currencies are codes of ISO 4217"


class Breach(ValueError):
    """A record breaks the contract; its text names the field and never repeats what was in it."""

    def __init__(self, rule: Rule, field: str, wanted: str) -> None:
        super().__init__(f"{field or 'it'} must be {wanted}")
        self.rule = rule


class Custom:
    """Fits Platform, ReceivesWebhooks and ManagesSubscriptions."""

    name = PlatformName.CUSTOM
    credential_sets = (frozenset({"api_key"}), frozenset({"api_key", "api_secret"}))
    parsed_headers = frozenset[str]()
    phrases = ()

    def normal_domain(self, text: str) -> str:
        """As :func:`shared.addresses.normal_origin`: what the contract's paths are put behind."""
        return normal_origin(text)

    def probe(self, connection: Connection, http: Http) -> Identity:
        """Who the store is, and a few records of each kind: a server that breaks the contract is not connected.

        What it calls itself is its own word, so its address is part of the id: nobody can pass for another.
        """
        identity = self.identify(connection, http)
        api = _Api(connection, http)
        for resource in Resource:
            _records(api, resource, api.page(resource, _Place(size=_PROBED_ROWS)).rows)
        return identity

    def identify(self, connection: Connection, http: Http) -> Identity:
        """Who the store says it is."""
        api = _Api(connection, http)
        found, _ = api.get("/")
        try:
            return _identity(found, connection.domain)
        except Breach as breach:
            raise api.strange(f"GET /: {breach}.") from None

    def fetch(self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime) -> Page:
        """The next page of a cycle; see :class:`_Place` for how it pages."""
        api = _Api(connection, http, now)
        place = _Place.read(cursor)
        turned = _turn(api, resource, place)
        if turned.answered is None:
            return Page([], turned.following.written(), done=False)
        records, partial = _records(api, resource, turned.answered.rows)
        following, done = turned.following, turned.answered.next_cursor is None
        return Page(records, following.written(), done, partial, total=turned.answered.total)

    def fetch_one(self, connection: Connection, resource: Resource, id: str, http: Http) -> Record:
        """The record by its id. Only the contract's own word for it is believed that it does not exist."""
        if not _ID.fullmatch(id):
            raise PlatformError(Refusal.NOT_FOUND, "This is no id of the contract.")
        api = _Api(connection, http)
        row, status = api.get(f"/{resource}/{quote(id, safe='')}")
        data = row.get("data") if isinstance(row, dict) else None
        try:
            record = read_record(resource, data, connection.currency)
        except Breach as breach:
            raise PlatformError(Refusal.NOT_UNDERSTOOD, f"{resource} {id}: {breach}.", status=status) from None
        if record.id != id:
            raise api.strange(f"GET /{resource}/{{id}}: data.id must be the id that was asked for.")
        return record

    def list_ids(
        self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime
    ) -> IdPage:
        """All ids, in the order of change, so that none is skipped while this pages."""
        api = _Api(connection, http, now)
        turned = _turn(api, resource, _Place.read(cursor), only_ids=True)
        if turned.answered is None:
            return IdPage([], turned.following.written(), done=False)
        try:
            ids = [_Fields(row).id("id") for row in turned.answered.rows]
        except Breach as breach:
            raise api.strange(f"GET /{resource}: {breach}.") from None
        return IdPage(ids, turned.following.written(), done=turned.answered.next_cursor is None)

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: datetime) -> Verdict:
        """Standard Webhooks with ``v1`` and ``v1a``, five minutes of tolerance both ways."""
        headers, body = delivery.headers, delivery.body
        try:
            id, stamp = headers["webhook-id"], headers["webhook-timestamp"]
            given = headers["webhook-signature"].encode()
        except (KeyError, UnicodeEncodeError):
            return FORGED
        opening = f"{id}.{stamp}."
        if not (body and _OPENING.fullmatch(opening) and is_recent(int(stamp), now)):
            return FORGED
        entries = given.split(b" ")
        if len(entries) > 1:
            entries = listed_in(entries, _MOST_SIGNATURES)
        return GENUINE if _is_signed(entries, opening.encode() + body, secrets) else FORGED

    def topic(self, delivery: Delivery) -> str:
        """As the body names it, if it is one of the contract's."""
        try:
            body = _decode(delivery.body)
        except ValueError:
            return ""
        named = body.get("type") if isinstance(body, dict) else None
        return named if isinstance(named, str) and named in EVENTS else ""

    def event_id(self, delivery: Delivery) -> str:
        """Stays the same when a delivery is tried again; its time does not."""
        return delivery.headers.get("webhook-id", "")

    def parse(self, delivery: Delivery) -> Sequence[Event]:
        """One event, or none of ours. ``data`` is the record, or as much of it as its id."""
        body = _decode(delivery.body)
        if not isinstance(body, dict):
            raise ValueError("The body is not a JSON object.")  # noqa: TRY004 - what the Protocol promises
        named = body.get("type")
        if not isinstance(named, str) or named not in EVENTS:
            return []
        if named == "connection.revoked":
            return [_REVOKED]
        subject, _, change = named.partition(".")
        resource, data = _RESOURCES[subject], body.get("data")
        id = _Fields(data, "data").id("id")
        if change == "deleted":
            return [Event(resource, id, deleted=True)]
        return [Event(resource, id, record=_whole(resource, data))]

    def check_webhook_secret(self, secret: str) -> None:
        """:class:`ValueError` says what is needed where no delivery could be verified with this secret."""
        if not (_symmetric_key(secret) or _public_key(secret)):
            raise ValueError(KEY_WANTED)

    def reconcile(self, connection: Connection, delivery_url: str, secret: str, http: Http) -> Subscribed:
        """One subscription, ours by its address; its mark says of which secret it is. A server may have none."""
        if not (_symmetric_key(secret) or _public_key(secret)):
            raise PlatformError(Refusal.REQUEST, KEY_WANTED)
        api = _Api(connection, http)
        subscribed = api.subscriptions()
        if subscribed is None:
            return Subscribed()
        wanted = _subscription(delivery_url, secret)
        ours = [each for each in subscribed if each.get("url") == delivery_url]
        if ours and all(_is_as_wanted(each, wanted) for each in ours):
            return Subscribed(kept=1)
        api.subscribe(wanted, secret)
        return Subscribed(repaired=1) if ours else Subscribed(created=1)

    def unsubscribe(self, connection: Connection, delivery_url: str, http: Http) -> None:
        """Deletes the subscription that delivers to ``delivery_url``; none may be there."""
        _Api(connection, http).unsubscribe(delivery_url)


# Paging


class _Place(NamedTuple):
    """Where a cycle stands. Its pages go through all rows from ``since`` on in the order of (updatedAt, id).

    The store's cursor leads from page to page. Where it has expired, or a cycle is new, ``since`` alone does:
    the time of the last row, so that nothing is skipped and little is met again.
    """

    since: str = ""
    cursor: str = ""
    """The store's own."""
    start: str = ""
    """When this cycle began, by the store's clock."""
    last_time: str = ""
    last_id: str = ""
    size: int = MOST_ROWS
    pages: int = 0

    @classmethod
    def read(cls, cursor: Json | None) -> "_Place":
        return cls(**(cursor or {}))

    def written(self) -> Json:
        """The cursor: only what is not as by default."""
        return {name: value for name, value in self._asdict().items() if value != self._field_defaults[name]}

    def parameters(self) -> dict[str, str]:
        named = {"updated_since": self.since, "cursor": self.cursor, "limit": str(self.size)}
        return {name: value for name, value in named.items() if value}

    def smaller(self) -> "_Place":
        return self._replace(size=max(_SMALLEST_PAGE, self.size // 2))

    def without_cursor(self) -> "_Place":
        return self._replace(
            since=self.last_time or self.since, cursor="", last_time="", last_id="", pages=self.pages + 1
        )


class _Answered(NamedTuple):
    """A page as the store gave it."""

    rows: Sequence[Any]
    next_cursor: str | None
    total: int | None
    date: datetime | None


class _Turned(NamedTuple):
    """A page and the place after it; without one where it must be asked for in another way."""

    answered: _Answered | None
    following: _Place


def _turn(api: "_Api", resource: Resource, place: _Place, *, only_ids: bool = False) -> _Turned:
    try:
        answered = api.page(resource, place, only_ids=only_ids)
    except PlatformError as error:
        if error.status == HTTPStatus.GONE and place.cursor and place.pages < MOST_PAGES:
            return _Turned(None, place.without_cursor())
        if place.size > _SMALLEST_PAGE and _is_size_to_blame(error):
            return _Turned(None, place.smaller())
        raise
    _refuse_endless(api, resource, place, answered)
    last = _checked_order(api, resource, place, answered.rows)
    # a clock ahead of ours must not make us skip what is stamped by another, slower one
    start = place.start or short(min(answered.date or api.now, api.now))
    if answered.next_cursor is None:
        # the next cycle tries larger pages again
        size = min(MOST_ROWS, place.size * 2)
        return _Turned(answered, _Place(since=short(from_text(start) - _OVERLAP), size=size))
    return _Turned(
        answered,
        place._replace(
            cursor=answered.next_cursor,
            start=start,
            last_time=short(last.time) if last else "",
            last_id=last.id if last else "",
            pages=place.pages + 1,
        ),
    )


def _refuse_endless(api: "_Api", resource: Resource, place: _Place, answered: _Answered) -> None:
    if answered.next_cursor is None:
        return
    if answered.next_cursor == place.cursor:
        raise api.strange(f"GET /{resource}: next_cursor is the cursor that was asked with, so paging gets no further.")
    if not answered.rows:
        raise api.strange(f"GET /{resource}: a page with a next_cursor must have rows, or paging does not end.")
    if place.pages >= MOST_PAGES:
        raise api.strange(f"GET /{resource}: after {MOST_PAGES} pages there is still a next_cursor: it does not end.")


class _Position(NamedTuple):
    """A row's place in the order."""

    time: datetime
    id: str

    def is_before(self, other: "_Position") -> bool:
        if self.time != other.time:
            return self.time < other.time
        if _NUMBER.fullmatch(self.id) and _NUMBER.fullmatch(other.id):
            # databases sort ids that are numbers as such
            return int(self.id) < int(other.id) or self.id < other.id
        return self.id < other.id


def _checked_order(api: "_Api", resource: Resource, place: _Place, rows: Sequence[Any]) -> _Position | None:
    """The last row's position, where those of all rows that have one go up from the last page's, and from ``since``."""
    last = _Position(from_text(place.last_time), place.last_id) if place.last_time else None
    since = from_text(place.since) if place.since else None
    for position in _positions(rows):
        if since and position.time < since:
            raise api.strange(f"GET /{resource}: with updated_since, no row may have an earlier updatedAt.")
        if last and not last.is_before(position):
            raise api.strange(
                f"GET /{resource}: rows must be sorted by updatedAt and then id, on all pages, without repeats: "
                f"{position.id} came after {last.id}."
            )
        last = position
    return last


def _positions(rows: Sequence[Any]) -> Iterator[_Position]:
    for row in rows:
        try:
            fields = _Fields(row)
            yield _Position(fields.time("updatedAt"), fields.id("id"))
        except Breach:
            continue  # it is named when the record is read


def _records(api: "_Api", resource: Resource, rows: Sequence[Any]) -> tuple[list[Record], str | None]:
    """The records of a page, and what keeps the others from being read.

    One that breaks the contract must not stop the rest; where all of several do, the server is to be mended.
    """
    records, bad = [], []
    for row in rows:
        try:
            records.append(read_record(resource, row, api.currency))
        except Breach as breach:
            bad.append(f"{_name_of(row)} ({breach})")
    if not bad:
        return records, None
    more = f" and {len(bad) - _NAMED_IN_DETAIL} more" if len(bad) > _NAMED_IN_DETAIL else ""
    named = api.without_secrets(f"{resource} {', '.join(bad[:_NAMED_IN_DETAIL])}{more}.")
    if len(bad) == len(rows) > 1:
        raise api.strange(f"No record of this page keeps to the contract: {named}")
    return records, f"Not understood: {named}"


def _name_of(row: Any) -> str:
    try:
        return _Fields(row).id("id")
    except Breach:
        return "without an id"


def _is_size_to_blame(error: PlatformError) -> bool:
    """Whether a smaller page may succeed: memory, time and our own cap run out on large ones."""
    if error.refusal is Refusal.NOT_THE_PLATFORM:
        return error.status is None
    return error.refusal in (Refusal.TRANSIENT, Refusal.UNREACHABLE)


# Calls


class _Api:
    """One store's server, for as long as one call to the adapter lasts."""

    def __init__(self, connection: Connection, http: Http, now: datetime | None = None) -> None:
        self.currency = connection.currency
        self._now = now
        self._base = connection.domain
        self._http = http
        self._key = connection.credentials.get("api_key", "")
        self._secret = connection.credentials.get("api_secret", "")
        if not _KEY.fullmatch(self._key) or (
            self._secret and not (_KEY.fullmatch(self._secret) and ":" not in self._key)
        ):
            raise PlatformError(
                Refusal.CREDENTIALS, "The key must be 16 to 4096 letters, digits and signs of ASCII, without spaces."
            )

    @property
    def now(self) -> datetime:
        """The time of the call, where it was given one."""
        assert self._now is not None
        return self._now

    def get(self, path: str, parameters: Mapping[str, str] | None = None) -> tuple[Any, int]:
        """What the store gives for a path, and the status."""
        answer = self._send("GET", path, parameters)
        return self._read(answer, f"GET {path}"), answer.status

    def page(self, resource: Resource, place: _Place, *, only_ids: bool = False) -> _Answered:
        """A page of rows, its frame checked, but not the rows."""
        parameters = {**place.parameters(), **({"fields": "id,updatedAt"} if only_ids else {})}
        answer = self._send("GET", f"/{resource}", parameters)
        where = f"GET /{resource}"
        found = self._read(answer, where)
        rows = found.get("data") if isinstance(found, dict) else None
        if not isinstance(rows, list):
            raise self.strange(f"{where}: the answer must be an object with a list named data.")
        if len(rows) > place.size:
            raise self.strange(f"{where}: there may be at most as many rows as limit says.")
        return _Answered(rows, self._next_cursor(found, where), _total(found), _date_of(answer.headers))

    def subscriptions(self) -> Sequence[Json] | None:
        """The webhook subscriptions that there are; ``None`` from a server that has no webhooks."""
        try:
            found, _ = self.get("/webhooks")
        except PlatformError as error:
            if error.status in _NOT_THERE:
                return None
            raise
        rows = found.get("data") if isinstance(found, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self.strange("GET /webhooks: the answer must be an object with a list of objects named data.")
        return rows

    def subscribe(self, wanted: Json, secret: str) -> None:
        """Makes or replaces the subscription. A server with an ed25519 key of its own is given no secret."""
        given = {} if _public_key(secret) else {"secret": f"{_SYMMETRIC}{secret.removeprefix(_SYMMETRIC)}"}
        written = self._read(self._send("PUT", "/webhooks", None, {**wanted, **given}), "PUT /webhooks")
        made = written.get("data") if isinstance(written, dict) else None
        if not (isinstance(made, dict) and _is_as_wanted(made, wanted)):
            raise self.strange("PUT /webhooks: the answer's data must have the url, events and mark that were put.")

    def unsubscribe(self, delivery_url: str) -> None:
        """Ends the subscription; what is gone already is fine."""
        answer = self._send("DELETE", "/webhooks", {"url": delivery_url})
        if not _is_success(answer) and answer.status not in _NOT_THERE:
            raise self._refusal(answer, "DELETE /webhooks")

    def strange(self, detail: str, status: int = HTTPStatus.OK) -> PlatformError:
        """The answer is none of the contract's."""
        return PlatformError(Refusal.NOT_THE_PLATFORM, self.without_secrets(detail), status=status)

    def without_secrets(self, detail: str) -> str:
        """A hostile server may give our key as an id."""
        leaks = any(secret and secret in detail for secret in (self._key, self._secret))
        return "The store's answer breaks the contract." if leaks else detail

    def _next_cursor(self, found: Json, where: str) -> str | None:
        cursor = found.get("next_cursor", "")
        if cursor is None:
            return None
        if not (isinstance(cursor, str) and _CURSOR.fullmatch(cursor)):
            raise self.strange(
                f"{where}: next_cursor must be null, or text of 1 to 512 letters, digits and signs of ASCII."
            )
        return cursor

    def _send(
        self, method: str, path: str, parameters: Mapping[str, str] | None, content: Json | None = None
    ) -> Answer:
        url = f"{self._base}{path}"
        if self._secret:
            return self._http.request(method, url, params=parameters, json=content, basic=(self._key, self._secret))
        headers = {"Authorization": f"Bearer {self._key}"}
        return self._http.request(method, url, params=parameters, headers=headers, json=content)

    def _read(self, answer: Answer, where: str) -> Any:
        if not _is_success(answer):
            raise self._refusal(answer, where)
        try:
            return _decode(answer.body)
        except ValueError:
            kind = "an HTML page" if answer.body.lstrip()[:1] == b"<" else "something else"
            raise self.strange(f"{where}: the answer must be JSON, not {kind}.", answer.status) from None

    def _refusal(self, answer: Answer, where: str) -> PlatformError:
        """What an answer that is no success means. A page of somebody in between is not the store's word."""
        status, wait = answer.status, answer.headers.get("retry-after", "")
        retry_at = None
        if status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.SERVICE_UNAVAILABLE and wait):
            refusal, detail = Refusal.RATE_LIMITED, "The store asks us to wait."
            retry_at = _retry_at(wait, self._now or _date_of(answer.headers))
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            refusal, detail = Refusal.TRANSIENT, f"{where}: the store failed with status {status}."
        else:
            refusal, detail = _meaning(status, _error_code(answer.body), where)
        return PlatformError(refusal, self.without_secrets(detail), status=status, retry_at=retry_at)


def _meaning(status: int, code: str, where: str) -> tuple[Refusal, str]:
    if not code:
        said = f"{where}: the store answered {status} without the contract's error: a firewall may stop us."
        return Refusal.NOT_THE_PLATFORM, said
    if status == HTTPStatus.UNAUTHORIZED:
        return Refusal.CREDENTIALS, "The store refuses the key."
    if status == HTTPStatus.FORBIDDEN:
        return Refusal.PERMISSION, f"{where}: the key may not do this."
    if status == HTTPStatus.NOT_FOUND and code == "not_found":
        return Refusal.NOT_FOUND, f"{where}: the store says that this does not exist."
    return Refusal.REQUEST, f"{where}: the store refused our request with {status} {code}."


def _is_success(answer: Answer) -> bool:
    return HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES


def _error_code(body: bytes) -> str:
    """The code of the contract's error; empty where the answer is none."""
    try:
        found = _decode(body)
    except ValueError:
        return ""
    error = found.get("error") if isinstance(found, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""


def _total(found: Json) -> int | None:
    total = found.get("total")
    return total if isinstance(total, int) and not isinstance(total, bool) and 0 <= total <= _LARGEST_COUNT else None


def _date_of(headers: Mapping[str, str]) -> datetime | None:
    """The store's clock, from its answer."""
    try:
        return datetime.strptime(headers.get("date", ""), _DATE_HEADER).replace(tzinfo=UTC)
    except ValueError:
        return None


def _retry_at(wait: str, now: datetime | None) -> datetime | None:
    if not _SECONDS.fullmatch(wait):
        return _date_of({"date": wait})
    return now + timedelta(seconds=min(int(wait), _LONGEST_WAIT)) if now else None


def _decode(body: bytes) -> Any:
    """JSON, its fractions as floats, which are nowhere taken; :class:`ValueError` for whatever else it is."""
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# Records


def _identity(found: Any, domain: str) -> Identity:
    """Who the store says it is; :class:`Breach` where it does not say so as the contract has it."""
    fields = _Fields(found)
    return Identity(
        store_id=f"{domain.removeprefix('https://')}/{fields.id('id')}",
        domain=domain,
        store_name=fields.text_or_none("name"),
        currency=fields.currency_or_none("currency"),
        timezone=_timezone(fields.text_or_none("timezone")),
    )


def _timezone(named: str | None) -> str | None:
    from zoneinfo import ZoneInfo  # the webhook receiver, which loads this, needs none

    try:
        return ZoneInfo(named).key if named is not None else None
    except (KeyError, ValueError, OSError):
        raise Breach(Rule.SHAPE, "timezone", "an IANA name, such as Europe/Berlin, or null") from None


def read_record(resource: Resource, row: Any, currency: str | None) -> Record:
    """The record that a row is; :class:`Breach` where it breaks the contract.

    ``currency`` is for a product that names none.
    """
    record = _READERS[resource](_Fields(row), currency)
    if len(json.dumps(record.body, ensure_ascii=False).encode()) > LARGEST_RECORD:
        raise Breach(Rule.SHAPE, "", f"at most {LARGEST_RECORD // 1024} KiB of JSON")
    return record


def _whole(resource: Resource, data: Any) -> Record | None:
    """The record of a delivery; ``None`` where it is not all there, and is to be fetched."""
    try:
        return read_record(resource, data, None)
    except Breach:
        return None


def _order(fields: "_Fields", _: str | None) -> Record:
    id, updated, created = fields.id("id"), fields.time("updatedAt"), fields.time("createdAt")
    currency = fields.currency("currency")
    body: Json = {
        "id": id,
        "number": fields.text_or_none("number") or id,
        **_status(fields, OrderStatus),
        "total": fields.money("total"),
        "refundedTotal": fields.money_or_none("refundedTotal"),
        "currency": currency,
        "lines": [_line(each) for each in fields.objects("lines", _MOST_LINES)],
        "customer": fields.texts_or_none("customer", _CUSTOMER),
        "shippingAddress": fields.texts_or_none("shippingAddress", _ADDRESS_PARTS),
        "note": fields.text_or_none("note", _LONGEST_NOTE),
        "fees": [_fee(each) for each in fields.objects_or_none("fees", _MOST_FEES)],
        "createdAt": short(created),
        "updatedAt": short(updated),
    }
    return Record(id, updated, body, created)


_CUSTOMER = ("id", "name", "email")
_ADDRESS_PARTS = ("name", "company", "line1", "line2", "city", "region", "postalCode", "country", "phone")


def _line(fields: "_Fields") -> Json:
    return {
        "id": fields.id("id"),
        "productId": fields.id_or_none("productId"),
        "variantId": fields.id_or_none("variantId"),
        "title": fields.text("title"),
        "sku": fields.text_or_none("sku"),
        "quantity": fields.count("quantity"),
        "unitPrice": fields.money_or_none("unitPrice"),
        "total": fields.money("total"),
        "properties": [
            {"name": each.text("name"), "value": each.text("value")}
            for each in fields.objects_or_none("properties", _MOST_PAIRS)
        ],
    }


def _fee(fields: "_Fields") -> Json:
    return {
        "type": fields.text("type"),
        "name": fields.text_or_none("name"),
        "amount": fields.money("amount"),
        "currency": fields.currency("currency"),
    }


def _product(fields: "_Fields", currency: str | None) -> Record:
    id, updated, created = fields.id("id"), fields.time("updatedAt"), fields.time_or_none("createdAt")
    variants = [_variant(each) for each in fields.objects("variants", _MOST_VARIANTS)]
    if not variants:
        raise Breach(Rule.SHAPE, "variants", "a list of at least one")
    body: Json = {
        "id": id,
        "title": fields.text("title"),
        **_status(fields, ProductStatus),
        "price": fields.money_or_none("price"),
        "currency": fields.currency_or_none("currency") or currency,
        "sku": fields.text_or_none("sku"),
        "imageUrl": fields.address_or_none("imageUrl"),
        "url": fields.address_or_none("url"),
        "variants": variants,
        "createdAt": short(created) if created else None,
        "updatedAt": short(updated),
    }
    return Record(id, updated, body, created)


def _variant(fields: "_Fields") -> Json:
    return {
        "id": fields.id("id"),
        "title": fields.text("title"),
        "sku": fields.text_or_none("sku"),
        "price": fields.money_or_none("price"),
        "inventoryQuantity": fields.count_or_none("inventoryQuantity"),
        "attributes": fields.pairs("attributes"),
    }


_READERS: Mapping[Resource, Callable[["_Fields", str | None], Record]] = {
    Resource.ORDERS: _order,
    Resource.PRODUCTS: _product,
}


def _status(fields: "_Fields", kinds: type[OrderStatus] | type[ProductStatus]) -> Json:
    word, own = fields.text("status"), fields.text_or_none("platformStatus")
    known = {kind.value for kind in kinds}
    return {"status": word if word in known else kinds.OTHER.value, "platformStatus": own or word}


class _Fields:
    """One object of an answer, read field by field; null is as good as absent where a field may be."""

    def __init__(self, value: Any, path: str = "") -> None:
        if not isinstance(value, dict):
            raise Breach(Rule.SHAPE, path, f"an object, not {_kind(value)}")
        self._value = value
        self._path = path

    def id(self, name: str) -> str:
        return self._matching(name, _ID, Rule.ID, _ID_WANTED)

    def id_or_none(self, name: str) -> str | None:
        return None if self._is_absent(name) else self.id(name)

    def money(self, name: str) -> str:
        return self._matching(name, _MONEY, Rule.MONEY, 'decimal text, such as "12.50"')

    def money_or_none(self, name: str) -> str | None:
        return None if self._is_absent(name) else self.money(name)

    def time(self, name: str) -> datetime:
        wanted = 'a time of RFC 3339 in UTC, such as "2026-11-22T12:30:00Z"'
        text = self._matching(name, _TIME, Rule.TIME, wanted)
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            time = None
        if time is None or time.year < _EPOCH:
            raise self._breach(Rule.TIME, name, wanted)
        return time.astimezone(UTC)

    def time_or_none(self, name: str) -> datetime | None:
        return None if self._is_absent(name) else self.time(name)

    def currency(self, name: str) -> str:
        given = self._value.get(name)
        if not (isinstance(given, str) and given in CURRENCIES):
            raise self._breach(Rule.CURRENCY, name, 'a currency code of ISO 4217, such as "EUR"')
        return given

    def currency_or_none(self, name: str) -> str | None:
        return None if self._is_absent(name) else self.currency(name)

    def text(self, name: str, longest: int = _LONGEST_TEXT) -> str:
        given = self._value.get(name)
        if not isinstance(given, str):
            raise self._breach(Rule.SHAPE, name, "text")
        if len(given) > longest:
            raise Breach(Rule.SHAPE, self._at(name), f"text of at most {longest} characters")
        return _whole_text(given, self._at(name))

    def text_or_none(self, name: str, longest: int = _LONGEST_TEXT) -> str | None:
        return None if self._is_absent(name) else self.text(name, longest) or None

    def address_or_none(self, name: str) -> str | None:
        if self._is_absent(name):
            return None
        return self._matching(name, _ADDRESS, Rule.SHAPE, "an address that begins with https:// or http://")

    def count(self, name: str) -> int:
        given = self._value.get(name)
        if not isinstance(given, int) or isinstance(given, bool) or abs(given) > _LARGEST_COUNT:
            raise self._breach(Rule.SHAPE, name, "a whole number of at most a milliard")
        return given

    def count_or_none(self, name: str) -> int | None:
        return None if self._is_absent(name) else self.count(name)

    def objects(self, name: str, most: int) -> list["_Fields"]:
        given = self._value.get(name)
        if not isinstance(given, list):
            raise self._breach(Rule.SHAPE, name, "a list")
        if len(given) > most:
            raise Breach(Rule.SHAPE, self._at(name), f"a list of at most {most} objects")
        return [_Fields(each, f"{self._at(name)}[{place}]") for place, each in enumerate(given)]

    def objects_or_none(self, name: str, most: int) -> list["_Fields"]:
        return [] if self._is_absent(name) else self.objects(name, most)

    def texts_or_none(self, name: str, parts: Sequence[str]) -> Json | None:
        """An object of texts, of which each may be missing; nothing where all are."""
        if self._is_absent(name):
            return None
        inner = _Fields(self._value[name], self._at(name))
        found = {part: inner.text_or_none(part) for part in parts}
        return found if any(found.values()) else None

    def pairs(self, name: str) -> dict[str, str]:
        """An object of texts by names of the server's own."""
        if self._is_absent(name):
            return {}
        given = self._value[name]
        inner = _Fields(given, self._at(name))
        if len(given) > _MOST_PAIRS:
            raise Breach(Rule.SHAPE, self._at(name), f"an object of at most {_MOST_PAIRS} texts")
        return {_whole_text(each, self._at(name)): inner.text(each) for each in given}

    def _is_absent(self, name: str) -> bool:
        return self._value.get(name) is None

    def _matching(self, name: str, pattern: re.Pattern[str], rule: Rule, wanted: str) -> str:
        given = self._value.get(name)
        if not (isinstance(given, str) and pattern.fullmatch(given)):
            raise self._breach(rule, name, wanted)
        return given

    def _breach(self, rule: Rule, name: str, wanted: str) -> Breach:
        if name not in self._value:
            return Breach(Rule.SHAPE, self._at(name), f"{wanted}; it is missing")
        given = self._value[name]
        return Breach(rule, self._at(name), f"{wanted}, not {_kind(given)}")

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name


_ID_WANTED = "text of 1 to 128 letters, digits and . _ : ~ -, a letter or digit first"


def _kind(value: Any) -> str:
    """What a value is, without what is in it."""
    kinds = {str: "other text", bool: "true or false", dict: "an object", list: "a list", type(None): "null"}
    return kinds.get(type(value), "a number")


def _whole_text(text: str, path: str) -> str:
    """Text that UTF-8 can carry: JSON may bring half a surrogate pair."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Breach(Rule.SHAPE, path, "text without half of a surrogate pair") from None
    return text


# Webhooks


def _subscription(delivery_url: str, secret: str) -> Json:
    mark = digest(secret.encode(), b"storelink", "sha256").hex()[:16]
    return {"url": delivery_url, "events": list(EVENTS), "mark": mark}


def _is_as_wanted(subscription: Json, wanted: Json) -> bool:
    events = subscription.get("events")
    same = all(subscription.get(name) == wanted[name] for name in ("url", "mark"))
    return same and isinstance(events, list) and all(event in events for event in wanted["events"])


def _is_signed(given: Sequence[bytes], message: bytes, secrets: Sequence[str]) -> bool:
    genuine = False
    for secret in secrets:
        try:  # first as a secret is usually spelled
            key = a2b_base64(secret.removeprefix(_SYMMETRIC), strict_mode=True)
        except ValueError:
            key = _symmetric_key(secret)
        if _FEWEST_KEY_BYTES <= len(key) <= _MOST_KEY_BYTES:
            expected = b"v1," + b2a_base64(digest(key, message, "sha256"), newline=False)
            for entry in given:
                genuine |= compare_digest(expected, entry)
        elif public := _public_key(secret):
            genuine = genuine or _is_signed_by(public, given, message)
    return genuine


def _is_signed_by(public: bytes, given: Sequence[bytes], message: bytes) -> bool:
    """Whether one of the entries is an ed25519 signature of that key; nothing here is secret."""
    from cryptography.exceptions import InvalidSignature  # few stores sign so
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = Ed25519PublicKey.from_public_bytes(public)
    for entry in [entry for entry in given if entry.startswith(b"v1a,")][:_MOST_ED25519]:
        signature = _from_base64(entry.removeprefix(b"v1a,"))
        if len(signature) == _SIGNATURE_BYTES and b2a_base64(signature, newline=False) == entry[4:]:
            try:
                key.verify(signature, message)
            except InvalidSignature:
                continue
            return True
    return False


def _symmetric_key(secret: str) -> bytes:
    """The bytes that a ``whsec_`` text stands for, with or without prefix and padding; none for others.

    None for a ``whpk_`` text either: no base64 has an underscore.
    """
    key = _from_base64(_padded(secret.removeprefix(_SYMMETRIC)))
    return key if _FEWEST_KEY_BYTES <= len(key) <= _MOST_KEY_BYTES else b""


def _public_key(secret: str) -> bytes:
    if not secret.startswith(_PUBLIC):
        return b""
    key = _from_base64(_padded(secret.removeprefix(_PUBLIC)))
    return key if len(key) == _PUBLIC_KEY_BYTES else b""


def _padded(text: str) -> str:
    if len(text) % 4 == 0:
        return text
    bare = text.rstrip("=")
    return bare + "=" * (-len(bare) % 4)


def _from_base64(text: str | bytes) -> bytes:
    """What padded base64 stands for; nothing where it is none."""
    try:
        return a2b_base64(text, strict_mode=True)
    except ValueError:
        return b""
