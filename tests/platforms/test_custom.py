"""CUSTOM: a server that keeps to the contract, while it moves; one that does not; and Standard Webhooks."""

# ruff: noqa: S311, S603 - a model's dice need be no secret; starts our own interpreter

import base64
import copy
import hmac
import json
import random
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pycountry
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator

from shared.clock import short
from shared.platforms import custom
from shared.platforms.base import (
    Answer,
    Connection,
    Delivery,
    Event,
    IdPage,
    Json,
    ManagesSubscriptions,
    Page,
    Platform,
    PlatformError,
    PlatformName,
    ReceivesWebhooks,
    Refusal,
    Resource,
    Subscribed,
    Verdict,
)
from shared.platforms.custom import CURRENCIES, EVENTS, Breach, Custom, read_record
from tests.platforms.conftest import Vector, vectors_of

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
DATE = "Sun, 22 Nov 2026 12:30:00 GMT"
CUSTOM = Custom()
KEY, SECRET = "key-of-sixteen-or-more", "secret-of-sixteen-or-more"
BASE = "https://shop.example.com/storelink"
STORE = Connection(BASE, {"api_key": KEY}, "shop.example.com/storelink/main", "EUR", "Europe/Berlin")
URL = "https://hooks.example.com/webhooks/CUSTOM/con_1"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CONTRACT = yaml.safe_load((Path(__file__).parents[2] / "docs" / "custom-openapi.yaml").read_text())
VECTORS = vectors_of(PlatformName.CUSTOM)


def refusal(call: Callable[[], object]) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        call()
    shown = f"{caught.value.detail} {caught.value!r} {''.join(traceback.format_exception_only(caught.value))}"
    assert KEY not in shown
    assert SECRET not in shown
    return caught.value


def dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gives, or the one kind of error that it may raise."""
    try:
        return call()
    except PlatformError as error:
        return error


def reply(value: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(
        status, {"date": DATE, **{name.replace("_", "-"): each for name, each in headers.items()}}, dumped(value)
    )


def error(status: int, code: str, **headers: str) -> Answer:
    return reply({"error": {"code": code, "message": f"{KEY} {SECRET}"}}, status, **headers)


def order(id: str = "1042", **changes: Any) -> Json:
    return {
        "id": id,
        "number": "C1042",
        "status": "paid",
        "platformStatus": "to be packed",
        "total": "42.50",
        "refundedTotal": "2.50",
        "currency": "EUR",
        "lines": [
            {
                "id": "1",
                "productId": "77",
                "variantId": "77-M",
                "title": "Tee",
                "sku": "TEE-M",
                "quantity": 2,
                "unitPrice": "20.00",
                "total": "40.00",
                "properties": [{"name": "Print", "value": "Front"}],
            }
        ],
        "customer": {"id": "b17", "name": "Buyer 17", "email": "buyer17@example.com"},
        "shippingAddress": {"name": "Buyer 17", "line1": "1 Sandbox Street", "city": "Berlin", "country": "DE"},
        "note": "Thank you",
        "fees": [{"type": "payment", "amount": "0.35", "currency": "EUR"}],
        "createdAt": "2026-11-20T08:00:00Z",
        "updatedAt": "2026-11-21T09:00:00.25Z",
        **changes,
    }


def product(id: str = "77", **changes: Any) -> Json:
    return {
        "id": id,
        "title": "Tee",
        "status": "active",
        "price": "20.00",
        "currency": "EUR",
        "sku": "TEE",
        "imageUrl": "https://images.example.com/77.png",
        "url": "https://shop.example.com/tee",
        "variants": [
            {
                "id": "77-M",
                "title": "M",
                "sku": "TEE-M",
                "price": "20.00",
                "inventoryQuantity": 4,
                "attributes": {"Size": "M"},
            }
        ],
        "createdAt": "2026-11-20T08:00:00+00:00",
        "updatedAt": "2026-11-21T09:00:00Z",
        **changes,
    }


MAKERS = {Resource.ORDERS: order, Resource.PRODUCTS: product}
BOTH = pytest.mark.parametrize("resource", list(Resource))


@dataclass
class Asked:
    """One request, as the server sees it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    content: Any
    basic: tuple[str, str] | None


@dataclass
class Scripted:
    """Gives the same answer, or the next of several, or what a function says; and remembers what it was asked."""

    answers: Answer | list[Answer | PlatformError] | Callable[[Asked], Answer]
    asked: list[Asked] = field(default_factory=list)

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
        assert url.startswith(BASE)
        path = urlsplit(url).path.removeprefix("/storelink")
        self.asked.append(Asked(method, path, dict(params or {}), dict(headers or {}), json, basic))
        if isinstance(self.answers, Answer):
            return self.answers
        answer = self.answers(self.asked[-1]) if callable(self.answers) else self.answers.pop(0)
        if isinstance(answer, PlatformError):
            raise answer
        return answer


class Server:
    """A server of the contract that moves while it is read: between any two calls, rows may change."""

    def __init__(self, rows: list[Json], clock: Callable[[], datetime] = lambda: NOW, *, numeric: bool = False) -> None:
        self.rows = {row["id"]: row for row in rows}
        self.clock = clock
        self.before: Callable[[], object] = lambda: None
        self.numeric = numeric
        self.expired = False
        self.calls = 0

    def request(self, method: str, url: str, *, params: Mapping[str, str] | None = None, **_: Any) -> Answer:
        self.calls += 1
        self.before()
        asked = dict(params or {})
        kind, _, id = urlsplit(url).path.removeprefix("/storelink/").partition("/")
        if id:
            row = self.rows.get(unquote(id))
            return reply({"data": row}) if row else error(404, "not_found")
        assert kind in {"orders", "products"}
        if self.expired and "cursor" in asked:
            self.expired = False
            return error(410, "cursor_expired")
        rows = sorted(self.rows.values(), key=self._position)
        if "updated_since" in asked:
            since = datetime.fromisoformat(asked["updated_since"])
            rows = [row for row in rows if self._position(row)[0] >= since]
        if "cursor" in asked:
            after = json.loads(base64.b64decode(asked["cursor"]))
            rows = [row for row in rows if self._position(row) > self._position(after)]
        page = rows[: int(asked["limit"])]
        last = {name: page[-1][name] for name in ("id", "updatedAt")} if len(rows) > len(page) else None
        following = base64.b64encode(json.dumps(last).encode()).decode() if last else None
        date = self.clock().strftime("%a, %d %b %Y %H:%M:%S GMT")
        return reply({"data": page, "next_cursor": following, "total": len(self.rows)}, date=date)

    def _position(self, row: Json) -> tuple[datetime, Any]:
        return datetime.fromisoformat(row["updatedAt"]), int(row["id"]) if self.numeric else row["id"]


def cycle(server: Any, resource: Resource = Resource.ORDERS, cursor: Json | None = None, most: int = 500) -> list[Page]:
    pages = []
    for _ in range(most):
        page = CUSTOM.fetch(STORE, resource, cursor, server, NOW)
        assert page.done or page.cursor != cursor
        json.dumps(page.cursor)
        pages.append(page)
        cursor = page.cursor
        if page.done:
            return pages
    raise AssertionError("The cycle does not end.")


def ids(pages: list[Page]) -> list[str]:
    return [record.id for page in pages for record in page.records]


def many(count: int, *, same: int = 1) -> list[Json]:
    """Orders of which so many at a time share their second."""
    start = NOW - timedelta(days=30)
    return [order(str(1000 + n), updatedAt=short(start + timedelta(seconds=n // same))) for n in range(count)]


def test_fits_what_the_contract_has():
    assert isinstance(CUSTOM, ReceivesWebhooks)
    assert isinstance(CUSTOM, ManagesSubscriptions)
    platform: Platform = CUSTOM
    assert platform.credential_sets == (frozenset({"api_key"}), frozenset({"api_key", "api_secret"}))


# Connecting


@pytest.mark.parametrize(
    ("typed", "domain"),
    [
        ("shop.example.com", "https://shop.example.com"),
        ("https://Shop.example.com/storelink/", BASE),
        ("shop.example.com:8443/a/b?x=1", "https://shop.example.com:8443/a/b"),
    ],
)
def test_the_address_may_have_a_path(typed, domain):
    assert CUSTOM.normal_domain(typed) == domain


@pytest.mark.parametrize(
    "typed", ["http://shop.example.com", "https://10.0.0.1", "https://u:p@shop.example.com", "", "a b"]
)
def test_an_address_that_may_not_be_called_is_refused(typed):
    with pytest.raises(ValueError, match="address"):
        CUSTOM.normal_domain(typed)


def opened(identity: Any = None, orders: Any = None, products: Any = None) -> Callable[[Asked], Answer]:
    answers = {
        "/": reply({"id": "main", "name": "Tees", "currency": "EUR", "timezone": "Europe/Berlin"}),
        "/orders": reply({"data": [order()], "next_cursor": None}),
        "/products": reply({"data": [product()], "next_cursor": None}),
    }
    given = {"/": identity, "/orders": orders, "/products": products}
    return lambda asked: given[asked.path] or answers[asked.path]


def test_a_probe_says_who_the_store_is_and_reads_a_little_of_each_kind():
    http = Scripted(opened())

    identity = CUSTOM.probe(STORE, http)

    assert identity.store_id == "shop.example.com/storelink/main"
    assert (identity.store_name, identity.currency, identity.timezone) == ("Tees", "EUR", "Europe/Berlin")
    assert [(asked.path, asked.query) for asked in http.asked] == [
        ("/", {}), ("/products", {"limit": "5"}), ("/orders", {"limit": "5"}),
    ]  # fmt: skip
    assert {asked.headers["Authorization"] for asked in http.asked} == {f"Bearer {KEY}"}


def test_a_pair_is_sent_as_basic():
    http = Scripted(opened())

    CUSTOM.probe(STORE._replace(credentials={"api_key": KEY, "api_secret": SECRET}), http)

    assert {asked.basic for asked in http.asked} == {(KEY, SECRET)}
    assert all("Authorization" not in asked.headers for asked in http.asked)


def test_what_the_store_does_not_tell_is_not_known():
    identity = CUSTOM.probe(STORE, Scripted(opened(identity=reply({"id": "1", "name": None}))))

    assert (identity.store_name, identity.currency, identity.timezone) == (None, None, None)


def test_two_addresses_cannot_pass_for_one_another():
    elsewhere = STORE._replace(domain=f"{BASE}/other")

    one = CUSTOM.probe(STORE, Scripted(opened()))
    other = CUSTOM.probe(
        elsewhere, Scripted(lambda asked: opened()(Asked("GET", asked.path.removeprefix("/other"), {}, {}, None, None)))
    )

    assert one.store_id != other.store_id


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        ({}, "16 to 4096"),
        ({"api_key": "short"}, "16 to 4096"),
        ({"api_key": f"{KEY}\r\nx: y"}, "16 to 4096"),
        ({"api_key": f"{KEY}é"}, "16 to 4096"),
        ({"api_key": f"{KEY}\ud800"}, "16 to 4096"),
        ({"api_key": f"{KEY}:x", "api_secret": SECRET}, "16 to 4096"),
        ({"api_key": KEY, "api_secret": "short"}, "16 to 4096"),
    ],
)
def test_a_key_that_no_header_can_carry_is_refused_before_any_call(credentials, said):
    http = Scripted(opened())

    caught = refusal(lambda: CUSTOM.probe(STORE._replace(credentials=credentials), http))

    assert caught.refusal is Refusal.CREDENTIALS
    assert said in caught.detail
    assert http.asked == []


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        ({}, "GET /: id must be text of 1 to 128 letters"),
        ({"id": 1}, "not a number"),
        ({"id": "a/b"}, "id must be text"),
        ([], "must be an object, not a list"),
        (None, "must be an object, not null"),
        ({"id": "1", "currency": "euro"}, 'currency must be a currency code of ISO 4217, such as "EUR"'),
        ({"id": "1", "currency": "XXX"}, "currency must be"),
        ({"id": "1", "timezone": "Mars/Olympus"}, "timezone must be an IANA name"),
        ({"id": "1", "timezone": "../../etc/passwd"}, "timezone must be an IANA name"),
        ({"id": "1", "name": ["x"]}, "name must be text, not a list"),
        ({"id": "1", "name": "\ud800"}, "half of a surrogate pair"),
        ({"id": "1", "name": "x" * 2001}, "at most 2000 characters"),
    ],
)
def test_a_store_that_does_not_say_who_it_is_is_not_connected(identity, said):
    caught = refusal(
        lambda: CUSTOM.probe(STORE, Scripted(opened(identity=Answer(200, {}, json.dumps(identity).encode()))))
    )

    assert caught.refusal is Refusal.NOT_THE_PLATFORM
    assert said in caught.detail


# What breaks the contract

TEN = {
    "wrong type": (lambda row: row.update(status=7), "status must be text, not a number"),
    "missing field": (lambda row: row.pop("id") and row.pop("updatedAt"), "id must be text"),
    "float money": (
        lambda row: row.update(total=42.5, price=42.5),
        'must be decimal text, such as "12.50", not a number',
    ),
    "wrong currency": (lambda row: row.update(currency="euro"), "currency must be a currency code of ISO 4217"),
    "time without zone": (
        lambda row: row.update(updatedAt="2026-11-21T09:00:00"),
        'updatedAt must be a time of RFC 3339 in UTC, such as "2026-11-22T12:30:00Z"',
    ),
    "id not text": (lambda row: row.update(id=int(row["id"])), "id must be text of 1 to 128"),
}  # fmt: skip
ten = pytest.mark.parametrize(("spoil", "said"), TEN.values(), ids=TEN)


def page_of(*rows: Any, next_cursor: Any = None, **more: Any) -> Answer:
    return reply({"data": list(rows), "next_cursor": next_cursor, **more})


@BOTH
@ten
def test_one_record_that_breaks_the_contract_is_named_and_the_rest_is_kept(resource, spoil, said):
    rows = [MAKERS[resource](str(number)) for number in (1, 2, 3)]
    spoil(rows[1])

    page = CUSTOM.fetch(STORE, resource, None, Scripted(page_of(*rows)), NOW)

    assert [record.id for record in page.records] == ["1", "3"]
    assert page.done
    assert said in page.partial
    assert page.partial.startswith(f"Not understood: {resource} ")


@BOTH
@ten
def test_a_server_of_which_no_record_can_be_read_is_told_the_rule(resource, spoil, said):
    rows = [MAKERS[resource](str(number)) for number in (1, 2)]
    for row in rows:
        spoil(row)

    for call in (
        lambda: CUSTOM.fetch(STORE, resource, None, Scripted(page_of(*rows)), NOW),
        lambda: CUSTOM.probe(STORE, Scripted(opened(**{resource: page_of(*rows)}))),
    ):
        caught = refusal(call)
        assert caught.refusal is Refusal.NOT_THE_PLATFORM
        assert said in caught.detail


@BOTH
@pytest.mark.parametrize(
    ("cursor", "answer", "said"),
    [
        ({"cursor": "again"}, {"next_cursor": "again"}, "next_cursor is the cursor that was asked with"),
        ({}, b"<!DOCTYPE html><html>", "the answer must be JSON, not an HTML page"),
        ({}, b"[1,", "the answer must be JSON, not something else"),
        ({}, b"[" * 100_000, "the answer must be JSON"),
        ({}, b'{"data":[NaN]}', "the answer must be JSON"),
        ({}, b"\xff", "the answer must be JSON"),
        ({}, b"", "the answer must be JSON"),
        ({}, [], "must be an object with a list named data"),
        ({}, {"data": {}}, "must be an object with a list named data"),
        (
            {},
            {"rows": ["3", "2"]},
            "rows must be sorted by updatedAt and then id, on all pages, without repeats: 2 came",
        ),
        ({}, {"rows": ["2", "2"]}, "without repeats"),
        ({"last_time": "2027-01-01T00:00:00Z", "last_id": "1"}, {}, "rows must be sorted"),
        ({"since": "2027-01-01T00:00:00Z"}, {}, "with updated_since, no row may have an earlier updatedAt"),
        ({"size": 1}, {"rows": ["1", "2"]}, "at most as many rows as limit says"),
        ({}, {"rows": [], "next_cursor": "more"}, "a page with a next_cursor must have rows"),
        ({"pages": 100_000}, {"next_cursor": "more"}, "after 100000 pages there is still a next_cursor"),
        ({}, {"next_cursor": 7}, "next_cursor must be null, or text"),
        ({}, {"next_cursor": "é"}, "next_cursor must be null, or text"),
        ({}, {"next_cursor": "x" * 513}, "next_cursor must be null, or text"),
        ({}, {"data": [], "no_cursor": 1}, "next_cursor must be null, or text"),
    ],
)
def test_a_page_that_breaks_the_rules_of_paging_is_told_the_rule(resource, cursor, answer, said):
    if isinstance(answer, dict):
        rows = [MAKERS[resource](id) for id in answer.get("rows", ["1"])]
        answer = {"data": rows, **({} if "no_cursor" in answer else {"next_cursor": None}), **answer}
    body = answer if isinstance(answer, bytes) else dumped(answer)
    place = {"start": "2026-11-22T12:00:00Z", **cursor}

    caught = refusal(lambda: CUSTOM.fetch(STORE, resource, place, Scripted(Answer(200, {"date": DATE}, body)), NOW))

    assert caught.refusal is Refusal.NOT_THE_PLATFORM
    assert said in caught.detail
    assert caught.detail.startswith(f"GET /{resource}: ")


def test_paging_that_goes_round_for_ever_ends_at_the_second_round():
    rows = many(30)
    turns = iter(range(10_000))

    def endless(asked: Asked) -> Answer:
        begin = next(turns) % 3 * 10
        return page_of(*rows[begin : begin + 10], next_cursor=f"turn-{begin}-{asked.query.get('cursor', '')[:200]}")

    http = Scripted(endless)

    caught = refusal(lambda: cycle(http))

    assert "without repeats: 1000 came after 1029" in caught.detail
    assert len(http.asked) == 4


def test_a_hostile_server_that_says_our_key_does_not_have_it_repeated():
    for rows in ([order(KEY, total=1.5)], [order(KEY), order(KEY)]):
        http = Scripted(page_of(*rows))
        said = outcome(lambda http=http: CUSTOM.fetch(STORE, Resource.ORDERS, None, http, NOW))
        assert KEY not in (said.detail if isinstance(said, PlatformError) else said.partial)


@pytest.mark.parametrize(
    "row",
    [
        None, 1, "x", [], {}, True, 1e999,
        order(lines={}), order(lines=[1]), order(lines=[{}]), order(lines=[order()["lines"][0]] * 1001),
        order(total="1e9"), order(total="NaN"), order(total="1,5"), order(total=""), order(total="1" * 19),
        order(total="\u0661"),
        order(total=True), order(total=[]), order(currency=None), order(currency="eur"), order(currency="XAU"),
        order(updatedAt=None), order(updatedAt="2026-02-30T00:00:00Z"), order(updatedAt="2026-11-21T09:00:00+02:00"),
        order(updatedAt="1969-12-31T00:00:00Z"), order(updatedAt="2026-11-21"), order(updatedAt="0000-00-00T00:00:00Z"),
        order(updatedAt=1795341600), order(createdAt=None), order(note="x" * 10_001), order(note="\udc00"),
        order(customer=[]), order(customer={"name": 5}), order(shippingAddress="x"), order(fees={}), order(fees=[{}]),
        order(fees=[{"type": "payment", "amount": 0.35, "currency": "EUR"}]),
        order(id=""), order(id=".."), order(id="a/b"), order(id="é"), order(id="x" * 129), order(id="1\n"),
        *[order(lines=[{**order()["lines"][0], "quantity": odd}]) for odd in ("2", True, 10**30, 1.0, None)],
        order(lines=[{**order()["lines"][0], "properties": [{"name": "x" * 2000, "value": "y" * 2000}] * 100}]),
    ],
    ids=str,
)  # fmt: skip
def test_whatever_an_order_is_it_is_read_or_named(row):
    with pytest.raises(Breach, match="must be"):
        read_record(Resource.ORDERS, json.loads(json.dumps(row)), "EUR")

    page = CUSTOM.fetch(STORE, Resource.ORDERS, None, Scripted(Answer(200, {}, json.dumps(
        {"data": [row], "next_cursor": None}).replace("Infinity", "1e999").encode())), NOW)  # fmt: skip

    assert page.records == []
    assert "Not understood: orders" in page.partial


@pytest.mark.parametrize(
    "row",
    [
        product(variants=[]), product(variants=None), product(title=None), product(price=20),
        product(imageUrl="javascript:x"),
        product(url="https://a b"), product(variants=[{**product()["variants"][0], "attributes": {"Size": 5}}]),
        product(variants=[{**product()["variants"][0], "attributes": []}]),
        product(variants=[{**product()["variants"][0], "attributes": {str(n): "x" for n in range(101)}}]),
        product(variants=[{**product()["variants"][0], "attributes": {"\ud800": "x"}}]),
        product(variants=[product()["variants"][0]] * 501), product(variants=[{"id": "1"}]), product(currency="btc"),
        product(variants=[{**product()["variants"][0], "inventoryQuantity": "4"}]),
    ],
    ids=lambda row: str(row)[:60],
)  # fmt: skip
def test_whatever_a_product_is_it_is_read_or_named(row):
    with pytest.raises(Breach, match="must be"):
        read_record(Resource.PRODUCTS, row, "EUR")


def test_a_record_is_at_most_so_large():
    lines = [{**order()["lines"][0], "title": "é" * 1990, "properties": None} for _ in range(62)]

    read_record(Resource.ORDERS, order(lines=lines), None)
    with pytest.raises(Breach, match="it must be at most 256 KiB of JSON"):
        read_record(Resource.ORDERS, order(lines=lines * 2), None)


def test_many_bad_records_are_counted_and_the_first_named():
    rows = [order(str(number), total=1.5) for number in range(10, 20)] + [order("20")]

    page = CUSTOM.fetch(STORE, Resource.ORDERS, None, Scripted(page_of(*rows)), NOW)

    assert page.partial.count("total must be") == 3
    assert page.partial.endswith("and 7 more.")


# The contract's document and the adapter agree


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield (*path, name)
        yield from paths_in(each, (*path, name))


ODD = [
    None, True, 7, -3, 12.5, 10**12, "", "x", "12.50", "-0.1", "1.123456789", "2026-11-22T12:30:00Z",
    "2026-11-22T12:30:00",
    "2026-11-22T12:30:00+01:00", "EUR", "euro", "a b", "é", "x" * 129, "x" * 2001, "https://a.example/x", "ftp://a",
    [], [1],
    {}, {"a": "b"}, {"a": 1},
]  # fmt: skip
ABSENT = object()


def is_valid(schema: str, row: Any) -> bool:
    ref = {"$ref": f"#/components/schemas/{schema}", "components": CONTRACT["components"]}
    return bool(OAS31Validator(ref).is_valid(row))


@BOTH
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_the_schema_and_the_adapter_take_the_same_records(resource, data):
    row = copy.deepcopy(MAKERS[resource]())
    path = data.draw(st.sampled_from(list(paths_in(row))))
    value = data.draw(st.sampled_from([*ODD, ABSENT]))
    # any other word for a status is taken, too; and a list of objects' entry is not just left out
    assume(not (path[-1] == "status" and isinstance(value, str)))
    assume(not (value is ABSENT and isinstance(path[-1], int)))
    inner = row
    for name in path[:-1]:
        inner = inner[name]
    if value is ABSENT:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value

    try:
        read_record(resource, row, "EUR")
        taken = True
    except Breach:
        taken = False

    assert taken is is_valid({Resource.ORDERS: "Order", Resource.PRODUCTS: "Product"}[resource], row)


def test_the_contract_has_the_adapters_words():
    schemas = CONTRACT["components"]["schemas"]

    assert tuple(schemas["EventType"]["enum"]) == EVENTS
    assert schemas["Cursor"]["pattern"] == f"^{custom._CURSOR.pattern}$"
    assert schemas["Id"]["pattern"] == f"^{custom._ID.pattern}$"
    assert CONTRACT["components"]["parameters"]["limit"]["schema"]["maximum"] == custom.MOST_ROWS


def test_currencies_are_those_of_the_standard():
    # https://www.six-group.com: what pycountry has, save metals, funds of banks and tests
    now = {each.alpha_3 for each in pycountry.currencies}
    past = (
        {each.alpha_3 for each in pycountry.historic_currencies} if hasattr(pycountry, "historic_currencies") else set()
    )

    assert now - CURRENCIES == {code for code in now if code.startswith("X")} - {"XAF", "XCD", "XCG", "XOF", "XPF"}
    assert all(code.isalpha() and len(code) == 3 for code in CURRENCIES | past)


# Mapping


def test_an_order_is_mapped_whole():
    record = read_record(Resource.ORDERS, order(), None)

    assert record.id == "1042"
    assert record.updated_at == datetime(2026, 11, 21, 9, 0, 0, 250_000, tzinfo=UTC)
    assert record.created_at == datetime(2026, 11, 20, 8, tzinfo=UTC)
    address = {"company": None, "line2": None, "region": None, "postalCode": None, "phone": None}
    assert record.body == {
        **order(),
        "updatedAt": "2026-11-21T09:00:00.250000Z",
        "shippingAddress": {**address, **order()["shippingAddress"]},
        "fees": [{**order()["fees"][0], "name": None}],
    }


def test_a_product_is_mapped_whole():
    record = read_record(Resource.PRODUCTS, product(), None)

    assert record.body == {**product(), "platformStatus": "active", "createdAt": "2026-11-20T08:00:00Z"}


def test_what_may_be_missing_may_be():
    line = {"id": "1", "title": "", "quantity": 1, "total": "0"}
    bare = {"id": "1", "status": "paid", "total": "0", "currency": "JPY", "lines": [line]}
    times = {"createdAt": "2026-11-20T08:00:00Z", "updatedAt": "2026-11-20T08:00:00Z"}
    variant = {"id": "1", "title": "M"}
    least = {"id": "1", "title": "Tee", "status": "draft", "variants": [variant], "updatedAt": "2026-11-20T08:00:00Z"}

    body = read_record(Resource.ORDERS, {**bare, **times}, None).body
    made = read_record(Resource.PRODUCTS, least, "CHF")

    assert (body["number"], body["customer"], body["fees"], body["lines"][0]["properties"]) == ("1", None, [], [])
    assert (made.body["currency"], made.body["price"], made.created_at) == ("CHF", None, None)
    assert made.body["variants"][0]["inventoryQuantity"] is None


@pytest.mark.parametrize(
    ("status", "own", "normal", "shown"),
    [
        ("partly_shipped", None, "partly_shipped", "partly_shipped"),
        ("paid", "to be packed", "paid", "to be packed"),
        ("lost at sea", None, "other", "lost at sea"),
        ("lost at sea", "gone", "other", "gone"),
    ],
)
def test_an_unknown_status_is_other_with_its_own_word(status, own, normal, shown):
    body = read_record(Resource.ORDERS, order(status=status, platformStatus=own), None).body

    assert (body["status"], body["platformStatus"]) == (normal, shown)


# Paging


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
@pytest.mark.parametrize("same", [1, 7, 1000])
def test_a_cycle_brings_every_row_once(count, same):
    pages = cycle(Server(many(count, same=same)))

    assert ids(pages) == [str(1000 + number) for number in range(count)]
    assert pages[0].total == count


@pytest.mark.parametrize("numeric", [True, False])
def test_ids_may_be_sorted_as_text_or_as_numbers(numeric):
    rows = [order(str(number), updatedAt="2026-11-20T00:00:00Z") for number in range(5, 250)]

    assert len(ids(cycle(Server(rows, numeric=numeric)))) == 245


def test_the_next_cycle_begins_five_minutes_before_this_one_by_the_stores_clock():
    behind = NOW - timedelta(hours=1)
    server = Server(many(5), clock=lambda: behind)

    done = cycle(server)[-1]
    server.rows["1001"] = order("1001", updatedAt=short(behind - timedelta(minutes=4)))

    assert done.cursor == {"since": "2026-11-22T11:25:00Z"}
    assert ids(cycle(server, cursor=done.cursor)) == ["1001"]


@pytest.mark.parametrize("date", ["", "tomorrow", "Mon, 22 Nov 2066 12:30:00 GMT"])
def test_a_clock_that_is_missing_or_ahead_skips_nothing(date):
    page = CUSTOM.fetch(STORE, Resource.ORDERS, None, Scripted(Answer(200, {"date": date}, page_of(order()).body)), NOW)

    assert page.cursor == {"since": "2026-11-22T12:25:00Z"}


def test_a_cycle_that_takes_long_begins_the_next_where_it_began_itself():
    clock = iter(NOW + timedelta(minutes=10 * n) for n in range(100))
    server = Server(many(250), clock=lambda: next(clock))

    assert cycle(server)[-1].cursor == {"since": "2026-11-22T12:25:00Z"}


def test_a_cursor_that_expired_is_gone_on_from_the_last_row():
    server = Server(many(250, same=3))
    first = CUSTOM.fetch(STORE, Resource.ORDERS, None, server, NOW)
    server.expired = True

    rest = cycle(server, cursor=first.cursor)

    assert rest[0].records == []
    assert set(ids([first, *rest])) == set(server.rows)
    assert len(ids([first, *rest])) <= 250 + 3
    assert server.calls == 4


def test_cursors_that_always_expire_end_in_an_error():
    place = {"cursor": "x", "start": "2026-11-22T12:00:00Z", "last_time": "2026-11-20T00:00:00Z", "pages": 100_000}

    caught = refusal(lambda: CUSTOM.fetch(STORE, Resource.ORDERS, place, Scripted(error(410, "cursor_expired")), NOW))

    assert (caught.refusal, caught.status) == (Refusal.REQUEST, 410)


@pytest.mark.parametrize(
    "failure",
    [
        error(500, "broken"),
        PlatformError(Refusal.NOT_THE_PLATFORM, "shop.example.com answered with more than 8 MiB."),
        PlatformError(Refusal.UNREACHABLE, "shop.example.com did not answer in time."),
        PlatformError(Refusal.TRANSIENT, "shop.example.com broke the connection off."),
    ],
    ids=lambda failure: getattr(failure, "detail", "500"),
)
def test_a_page_that_is_too_much_for_the_server_is_halved_down_to_ten(failure):
    http = Scripted([failure] * 5)
    cursor: Json | None = None
    for _ in range(4):
        page = CUSTOM.fetch(STORE, Resource.ORDERS, cursor, http, NOW)
        assert (page.done, page.records) == (False, [])
        cursor = page.cursor

    refusal(lambda: CUSTOM.fetch(STORE, Resource.ORDERS, cursor, http, NOW))

    assert [asked.query["limit"] for asked in http.asked] == ["100", "50", "25", "12", "10"]


def test_the_next_cycle_tries_larger_pages_again():
    done = CUSTOM.fetch(STORE, Resource.ORDERS, {"size": 12}, Server(many(5)), NOW)

    assert done.cursor["size"] == 24


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_changes_while_pages_are_read_nothing_is_missed(data):
    seed = data.draw(st.integers(0, 10**6))
    same, size = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 12))
    dice, moment = random.Random(seed), [NOW - timedelta(minutes=30)]
    server = Server(many(data.draw(st.integers(0, 60)), same=same), clock=lambda: moment[0])
    known: dict[str, Json] = {}

    def change() -> None:
        moment[0] += timedelta(seconds=dice.randrange(30))
        for _ in range(dice.randrange(3)):
            id = dice.choice([*server.rows, str(5000 + dice.randrange(1000))])
            # committed up to four minutes after its stamp
            stamp = moment[0] - timedelta(seconds=dice.randrange(240))
            server.rows[id] = order(id, updatedAt=short(stamp), note=str(dice.random()))

    server.before = change
    cursor: Json | None = {"size": size}
    for turn in range(3):
        if turn == 2:
            server.before = lambda: None
        for page in cycle(server, cursor=cursor):
            known.update({record.id: record.body["note"] for record in page.records})
            cursor = page.cursor

    assert known == {id: row["note"] for id, row in server.rows.items()}


@given(
    answers=st.lists(
        st.one_of(
            st.builds(
                lambda rows, following, more: reply({"data": rows, "next_cursor": following, **more}),
                st.lists(
                    st.one_of(st.builds(order, st.text("0123456789", max_size=3)), st.sampled_from(ODD)), max_size=4
                ),
                st.one_of(st.none(), st.sampled_from(ODD), st.text(max_size=5)),
                st.fixed_dictionaries({}, optional={"total": st.sampled_from(ODD)}),
            ),
            st.builds(Answer, st.integers(100, 599), st.just({"retry-after": "x"}), st.binary(max_size=50)),
            st.builds(reply, st.sampled_from(ODD)),
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=150, deadline=None)
def test_whatever_a_server_answers_it_is_a_record_or_one_of_our_errors(answers):
    for call in (
        lambda http: CUSTOM.fetch(STORE, Resource.ORDERS, {"cursor": "x", "start": short(NOW)}, http, NOW),
        lambda http: CUSTOM.list_ids(STORE, Resource.PRODUCTS, None, http, NOW),
        lambda http: CUSTOM.fetch_one(STORE, Resource.ORDERS, "1", http),
        lambda http: CUSTOM.probe(STORE, http),
        lambda http: CUSTOM.reconcile(STORE, URL, WHSEC, http),
        lambda http: CUSTOM.unsubscribe(STORE, URL, http),
    ):
        http = Scripted([*answers, *[answers[-1]] * 4])
        found = outcome(lambda call=call, http=http: call(http))
        if isinstance(found, Page | IdPage):
            json.dumps(found.cursor).encode()


def test_a_total_that_is_none_is_not_taken():
    for total in (-1, True, 1.5, "5", 10**12, None):
        page = CUSTOM.fetch(STORE, Resource.ORDERS, None, Scripted(page_of(order(), total=total)), NOW)
        assert page.total is None


# By id, and all ids


def test_all_ids_are_listed_without_the_rest():
    server = Server(many(250))
    http = Scripted(lambda asked: server.request("GET", f"{BASE}{asked.path}", params=asked.query))
    found, cursor, done = [], None, False

    while not done:
        page = CUSTOM.list_ids(STORE, Resource.ORDERS, cursor, http, NOW)
        found, cursor, done = [*found, *page.ids], page.cursor, page.done

    assert sorted(found) == sorted(server.rows)
    assert {asked.query["fields"] for asked in http.asked} == {"id,updatedAt"}
    assert "updated_since" not in http.asked[0].query


def test_an_answer_to_the_list_of_ids_may_hold_them_alone():
    rows = [{"id": "1", "updatedAt": "2026-11-20T00:00:00Z"}]

    page = CUSTOM.list_ids(STORE, Resource.ORDERS, None, Scripted(page_of(*rows)), NOW)

    assert (page.ids, page.done) == (["1"], True)


def test_an_id_that_cannot_be_read_ends_the_list_as_it_may_hide_a_record():
    caught = refusal(lambda: CUSTOM.list_ids(STORE, Resource.ORDERS, None, Scripted(page_of({"id": 5})), NOW))

    assert (caught.refusal, "id must be text" in caught.detail) == (Refusal.NOT_THE_PLATFORM, True)


def test_ids_go_on_after_an_expired_cursor():
    server = Server(many(150))
    server.expired = True
    first = CUSTOM.list_ids(STORE, Resource.ORDERS, None, server, NOW)

    second = CUSTOM.list_ids(STORE, Resource.ORDERS, first.cursor, server, NOW)
    third = CUSTOM.list_ids(STORE, Resource.ORDERS, second.cursor, server, NOW)

    assert (len(first.ids), second.ids, third.done) == (100, [], True)
    assert {*first.ids, *third.ids} == set(server.rows)


def test_a_record_is_fetched_by_its_id():
    http = Scripted(reply({"data": product("a~1:2.3")}))

    record = CUSTOM.fetch_one(STORE, Resource.PRODUCTS, "a~1:2.3", http)

    assert record.id == "a~1:2.3"
    assert http.asked[0].path == "/products/a~1%3A2.3"


@pytest.mark.parametrize("id", ["", "..", "a/b", "é", "x" * 129, "1?x=1", "\ud800"])
def test_what_is_no_id_does_not_exist_and_is_not_asked_for(id):
    http = Scripted([])

    assert refusal(lambda: CUSTOM.fetch_one(STORE, Resource.ORDERS, id, http)).refusal is Refusal.NOT_FOUND
    assert http.asked == []


def test_another_record_than_was_asked_for_is_not_taken():
    caught = refusal(lambda: CUSTOM.fetch_one(STORE, Resource.ORDERS, "1", Scripted(reply({"data": order("2")}))))

    assert caught.refusal is Refusal.NOT_THE_PLATFORM


@pytest.mark.parametrize("body", [{"data": order("1", total=1.5)}, {}, [], {"data": None}])
def test_a_single_record_that_cannot_be_read_says_why(body):
    caught = refusal(lambda: CUSTOM.fetch_one(STORE, Resource.ORDERS, "1", Scripted(reply(body))))

    assert caught.refusal is Refusal.NOT_UNDERSTOOD
    assert caught.detail.startswith("orders 1: ")
    assert "must be" in caught.detail


# Errors


@pytest.mark.parametrize(
    ("answer", "refused", "said"),
    [
        (error(401, "unauthorized"), Refusal.CREDENTIALS, "The store refuses the key."),
        (error(403, "forbidden"), Refusal.PERMISSION, "may not do this"),
        (error(404, "not_found"), Refusal.NOT_FOUND, "does not exist"),
        (error(404, "gone_fishing"), Refusal.REQUEST, "404 gone_fishing"),
        (error(400, "invalid_request"), Refusal.REQUEST, "400 invalid_request"),
        (error(500, "broken"), Refusal.TRANSIENT, "status 500"),
        (error(503, "busy"), Refusal.TRANSIENT, "status 503"),
        (error(503, "busy", retry_after="20"), Refusal.RATE_LIMITED, "wait"),
        (error(429, "rate_limited"), Refusal.RATE_LIMITED, "wait"),
        (Answer(429, {}, b"<html>"), Refusal.RATE_LIMITED, "wait"),
        (Answer(502, {}, b"<html>"), Refusal.TRANSIENT, "status 502"),
        *[
            (Answer(status, {}, body), Refusal.NOT_THE_PLATFORM, f"answered {status} without the contract's error")
            for status in (400, 401, 403, 404, 418)
            for body in (
                b"<html>",
                b"",
                b"{}",
                b"[]",
                b'{"error":"x"}',
                b'{"error":{"code":"<b>"}}',
                b'{"error":{"code":5}}',
            )
        ],
    ],
)
def test_an_error_means_what_the_contract_says(answer, refused, said):
    caught = refusal(lambda: CUSTOM.fetch_one(STORE, Resource.ORDERS, "1", Scripted(answer)))

    assert caught.refusal is refused
    assert said in caught.detail
    assert caught.status == answer.status


@pytest.mark.parametrize(
    ("wait", "retry_at"),
    [
        ("20", NOW + timedelta(seconds=20)),
        ("99999999", NOW + timedelta(days=1)),
        ("Sun, 22 Nov 2026 12:31:00 GMT", NOW + timedelta(minutes=1)),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("9" * 5000, None),
    ],
)
def test_says_until_when_to_wait(wait, retry_at):
    answer = error(429, "rate_limited", retry_after=wait)

    for call in (
        lambda: CUSTOM.fetch(STORE, Resource.ORDERS, None, Scripted(answer), NOW),
        lambda: CUSTOM.fetch_one(STORE, Resource.ORDERS, "1", Scripted(answer)),
    ):
        assert refusal(call).retry_at == retry_at


# Webhooks: Standard Webhooks


@pytest.mark.parametrize("vector", VECTORS, ids=[vector.name for vector in VECTORS])
def test_every_vector_has_its_verdict(vector: Vector):
    verdict = CUSTOM.verify(vector.delivery, vector.secrets, vector.now)

    assert verdict is (Verdict.GENUINE if vector.is_genuine else Verdict.FORGED)
    assert CUSTOM.event_id(vector.delivery) == vector.other.get("event_id", CUSTOM.event_id(vector.delivery))


def event(type: str, data: Any, **more: Any) -> bytes:
    return dumped({"type": type, "timestamp": "2026-11-22T12:30:00Z", "data": data, **more})


def key_of(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_") + "==")


def signed(body: bytes, *secrets: str, id: str = "msg_1", at: datetime = NOW, **headers: str) -> Delivery:
    """By the words of the specification."""
    stamp = str(int(at.timestamp()))
    macs = [hmac.new(key_of(secret), f"{id}.{stamp}.".encode() + body, "sha256").digest() for secret in secrets]
    signatures = " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs)
    named = {"webhook-id": id, "webhook-timestamp": stamp, "webhook-signature": signatures}
    return Delivery({**named, **{name.replace("_", "-"): value for name, value in headers.items()}}, body)


BODY = event("order.updated", {"id": "1042"})
OTHER = "whsec_" + base64.b64encode(b"o" * 24).decode()
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"p" * 32)
WHPK = "whpk_" + base64.b64encode(PRIVATE.public_key().public_bytes_raw()).decode()


def publicly(body: bytes = BODY, key: Ed25519PrivateKey = PRIVATE, at: datetime = NOW) -> Delivery:
    stamp = str(int(at.timestamp()))
    signature = base64.b64encode(key.sign(f"msg_1.{stamp}.".encode() + body)).decode()
    return Delivery({"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": f"v1a,{signature}"}, body)


def verdict(delivery: Delivery, *secrets: str, now: datetime = NOW) -> bool:
    found = CUSTOM.verify(delivery, secrets, now)
    assert found in {Verdict.GENUINE, Verdict.FORGED}
    return found is Verdict.GENUINE


@pytest.mark.parametrize(
    ("seconds", "genuine"), [(0, True), (300, True), (-300, True), (301, False), (-301, False), (10**9, False)]
)
@pytest.mark.parametrize("kind", ["v1", "v1a"])
def test_a_delivery_may_be_five_minutes_off_either_way(seconds, genuine, kind):
    now = NOW + timedelta(seconds=seconds)

    assert verdict(signed(BODY, WHSEC) if kind == "v1" else publicly(), WHSEC, WHPK, now=now) is genuine


@pytest.mark.parametrize(
    "stamp", ["", "x", "1e9", "1795350600.0", "+1795350600", "٣", "-1", "9" * 400, " 1795350600", "0x10"]
)
def test_a_time_that_is_no_number_is_refused(stamp):
    body_signed_so = hmac.new(key_of(WHSEC), f"msg_1.{stamp}.".encode() + BODY, "sha256").digest()
    signature = f"v1,{base64.b64encode(body_signed_so).decode()}"
    headers = {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": signature}

    assert not verdict(Delivery(headers, BODY), WHSEC)


def test_an_id_with_a_full_stop_is_refused_as_it_moves_the_border_of_the_time():
    assert not verdict(signed(BODY, WHSEC, id="msg.1"), WHSEC)
    assert not verdict(signed(BODY, WHSEC, id=""), WHSEC)
    assert not verdict(signed(BODY, WHSEC, id="m" * 129), WHSEC)
    assert verdict(signed(BODY, WHSEC, id="evt_-:/1"), WHSEC)


def test_an_empty_body_is_no_event_even_if_it_is_signed():
    assert not verdict(signed(b"", WHSEC), WHSEC)


def test_any_of_the_signatures_under_any_of_the_secrets_will_do():
    assert verdict(signed(BODY, OTHER, WHSEC), WHSEC)
    assert verdict(signed(BODY, WHSEC, OTHER), WHSEC)
    assert verdict(signed(BODY, WHSEC), WHSEC, OTHER)
    assert verdict(signed(BODY, WHSEC), OTHER, WHSEC)
    assert verdict(publicly(), WHSEC, WHPK)
    assert verdict(signed(BODY, WHSEC), WHPK, WHSEC)
    assert not verdict(signed(BODY, OTHER), WHSEC, WHPK)


@pytest.mark.parametrize(
    "spelled",
    [WHSEC, WHSEC.removeprefix("whsec_"), f"{OTHER}=", OTHER.removeprefix("whsec_"), OTHER],
)
def test_the_secret_may_come_with_or_without_prefix_and_padding(spelled):
    assert verdict(signed(BODY, WHSEC if spelled.removeprefix("whsec_") in WHSEC else OTHER), spelled)


@pytest.mark.parametrize(
    ("size", "spelled", "genuine"),
    [
        (24, "whsec_{}", True), (25, "whsec_{}==", True), (25, "whsec_{}", True), (26, "{}", True), (64, "{}", True),
        (23, "whsec_{}=", False), (65, "whsec_{}=", False), (65, "{}", False),
    ],
)  # fmt: skip
def test_a_secret_has_24_to_64_bytes_however_it_is_spelled(size, spelled, genuine):
    key = base64.b64encode(b"k" * size).decode()

    assert verdict(signed(BODY, f"whsec_{key}"), spelled.format(key.rstrip("="))) is genuine


@pytest.mark.parametrize(
    "entry",
    ["v2,{good}", "{good}", "v1", "v1a,{good}", ",", "v1,", "V1,{good}", "v1, {good}", "v1,{good},x", "v1={good}"],
)
def test_an_entry_of_another_kind_is_passed_over(entry):
    genuine = signed(BODY, WHSEC)
    good = genuine.headers["webhook-signature"]
    odd = entry.format(good=good.removeprefix("v1,"))

    alone = Delivery({**genuine.headers, "webhook-signature": odd}, BODY)

    assert not verdict(alone, WHSEC)
    if not odd.endswith(",") and " " not in odd:
        beside = Delivery({**genuine.headers, "webhook-signature": f"{odd} {good}"}, BODY)
        assert verdict(beside, WHSEC)


def test_another_spelling_of_the_right_signature_is_refused():
    genuine = signed(BODY, WHSEC)
    good = genuine.headers["webhook-signature"]

    for odd in (
        good.rstrip("="),
        f"{good}=",
        f"{good}\n",
        f" {good}",
        f"{good} ",
        f"{good},{good}",
        f"{good}, {good}",
        good * 2,
    ):
        assert not verdict(Delivery({**genuine.headers, "webhook-signature": odd}, BODY), WHSEC), odd
    public = publicly().headers["webhook-signature"]
    for odd in (public.rstrip("="), f"{public}=", f"{public}\n", public[:-3] + "==", f"{public}é"):
        assert not verdict(Delivery({**publicly().headers, "webhook-signature": odd}, BODY), WHPK), odd


def test_ed25519_covers_body_id_and_time():
    genuine = publicly()

    assert verdict(genuine, WHPK)
    assert not verdict(genuine._replace(body=BODY + b" "), WHPK)
    assert not verdict(genuine._replace(headers={**genuine.headers, "webhook-id": "msg_2"}), WHPK)
    late = str(int(genuine.headers["webhook-timestamp"]) + 1)
    assert not verdict(genuine._replace(headers={**genuine.headers, "webhook-timestamp": late}), WHPK)
    assert not verdict(publicly(key=Ed25519PrivateKey.from_private_bytes(b"q" * 32)), WHPK)


def test_a_public_key_is_never_taken_for_a_symmetric_one():
    # whoever knows the public key could sign otherwise
    as_secret = "whsec_" + WHPK.removeprefix("whpk_")

    assert not verdict(signed(BODY, as_secret), WHPK)
    assert verdict(signed(BODY, as_secret), as_secret)


NO_SECRETS = [
    "", "whsec_", "short", "whsec_c2hvcnQ=", "whsec_" + base64.b64encode(b"x" * 23).decode(),
    "whsec_" + base64.b64encode(b"x" * 65).decode(), "whsec_not base64 at all, but long enough to be one",
    "whsec_" + "é" * 40, "\ud800" * 40, "whpk_", "whpk_" + base64.b64encode(b"x" * 31).decode(),
    "whpk_" + "x" * 44, "whsk_" + base64.b64encode(b"x" * 32).decode(), "whsec_MfKQ9r8GKYqrTwjUPD8I_PZIo2LaLaSw-",
]  # fmt: skip


@pytest.mark.parametrize("secret", NO_SECRETS, ids=range(len(NO_SECRETS)))
def test_a_secret_that_no_delivery_can_be_verified_with_is_refused_and_says_what_is_needed(secret):
    with pytest.raises(ValueError, match="whsec_ and the base64 of 24 to 64 random bytes") as caught:
        CUSTOM.check_webhook_secret(secret)

    assert len(secret) < 10 or secret not in str(caught.value)
    for delivery in (signed(BODY, WHSEC), publicly()):
        assert not verdict(delivery, secret)
    http = Scripted([])
    assert refusal(lambda: CUSTOM.reconcile(STORE, URL, secret, http)).refusal is Refusal.REQUEST


@pytest.mark.parametrize("secret", [WHSEC, OTHER, WHPK, "a1B2" * 12, "whsec_" + base64.b64encode(b"x" * 64).decode()])
def test_a_good_secret_is_taken_and_so_is_the_one_that_we_make(secret):
    CUSTOM.check_webhook_secret(secret)


@pytest.mark.parametrize(("before", "genuine"), [(3, True), (4, False)])
def test_four_signatures_of_the_slow_kind_are_looked_at(before, genuine):
    right = publicly()
    wrong = publicly(key=Ed25519PrivateKey.from_private_bytes(b"q" * 32)).headers["webhook-signature"]
    entries = " ".join([wrong] * before + [right.headers["webhook-signature"]])

    assert verdict(Delivery({**right.headers, "webhook-signature": entries}, BODY), WHPK) is genuine


@pytest.mark.parametrize(("before", "genuine"), [(15, True), (16, False)])
def test_sixteen_signatures_are_looked_at_in_all(before, genuine):
    assert verdict(signed(BODY, *[OTHER] * before, WHSEC), WHSEC) is genuine


def test_a_megabyte_with_many_signatures_costs_little():
    body = b"x" * (1 << 20)
    entries = " ".join([f"v1a,{base64.b64encode(bytes([n]) * 64).decode()}" for n in range(110)])
    delivery = Delivery({**signed(body, OTHER).headers, "webhook-signature": entries}, body)
    verdict(delivery, WHSEC, WHPK)

    began = time.process_time()
    assert not verdict(delivery, WHSEC, WHPK)
    spent = time.process_time() - began
    began = time.process_time()
    for _ in range(20):
        hmac.digest(b"k" * 24, body, "sha256")

    # as many passes over the body as there are keys and signatures that are looked at, and a few
    assert spent < time.process_time() - began + 0.05


# What deliveries say


@pytest.mark.parametrize("change", ["created", "updated"])
@BOTH
def test_a_whole_record_is_taken_as_it_came(resource, change):
    named = f"{resource.removesuffix('s')}.{change}"
    row = MAKERS[resource](currency=None) if resource is Resource.PRODUCTS else order()
    delivery = signed(event(named, row), WHSEC)

    (found,) = CUSTOM.parse(delivery)

    assert (CUSTOM.topic(delivery), found.resource, found.id) == (named, resource, row["id"])
    assert found.record.body == read_record(resource, row, None).body
    assert found.record.body["currency"] == ("EUR" if resource is Resource.ORDERS else None)


@pytest.mark.parametrize("data", [{"id": "1042"}, order(total=1.5), order(lines=None)])
def test_what_is_not_whole_is_to_be_fetched(data):
    assert CUSTOM.parse(signed(event("order.updated", data), WHSEC)) == [Event(Resource.ORDERS, "1042")]


def test_a_product_may_be_deleted():
    assert CUSTOM.parse(signed(event("product.deleted", {"id": "7"}), WHSEC)) == [
        Event(Resource.PRODUCTS, "7", deleted=True)
    ]


def test_a_key_that_was_taken_back_is_said():
    assert CUSTOM.parse(signed(event("connection.revoked", {}), WHSEC)) == [
        Event(None, access_lost=True, disconnected=True)
    ]


@pytest.mark.parametrize(
    "body", [b"{}", event("order.deleted", {"id": "1"}), event("x", None), b'{"type":7}', b'{"type":[]}']
)
def test_what_the_contract_does_not_know_announces_nothing(body):
    delivery = signed(body, WHSEC)

    assert CUSTOM.parse(delivery) == []
    assert CUSTOM.topic(delivery) == ""


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"[]", b"null", b"[" * 100_000, b'{"a":NaN}', b"\xff", event("order.updated", None),
     event("order.updated", {}),
     event("order.updated", {"id": 5}), event("product.deleted", {"id": "a/b"}), event("order.created", [])],
)  # fmt: skip
def test_what_cannot_be_read_is_a_value_error(body):
    with pytest.raises(ValueError, match=r"."):
        CUSTOM.parse(signed(body, WHSEC))


# Subscriptions


@dataclass
class Hooks:
    """A server's subscriptions."""

    rows: list[Json] = field(default_factory=list)
    secrets: dict[str, str | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def request(self, method: str, url: str, *, json: Any = None, params: Any = None, **_: Any) -> Answer:
        assert url == f"{BASE}/webhooks"
        self.asked.append(method)
        if method == "PUT":
            schema = CONTRACT["paths"]["/webhooks"]["put"]["requestBody"]["content"]["application/json"]["schema"]
            OAS31Validator({**schema, "components": CONTRACT["components"]}).validate(json)
            self.secrets[json["url"]] = json.pop("secret", None)
            self.rows = [row for row in self.rows if row["url"] != json["url"]] + [json]
            return reply({"data": json})
        if method == "DELETE":
            self.rows = [row for row in self.rows if row["url"] != params["url"]]
            return Answer(204, {}, b"")
        return reply({"data": self.rows})


FOREIGN = {"url": "https://others.example.com", "events": ["order.updated"], "mark": "theirs"}


def test_a_subscription_is_made_kept_repaired_and_removed():
    hooks = Hooks([FOREIGN])

    made = CUSTOM.reconcile(STORE, URL, WHSEC, hooks)
    kept = CUSTOM.reconcile(STORE, URL, WHSEC, hooks)
    rotated = CUSTOM.reconcile(STORE, URL, OTHER, hooks)
    hooks.rows[-1] = {**hooks.rows[-1], "events": ["order.updated"]}
    repaired = CUSTOM.reconcile(STORE, URL, OTHER, hooks)

    assert (made, kept) == (Subscribed(created=1), Subscribed(kept=1))
    assert (rotated, repaired) == (Subscribed(repaired=1), Subscribed(repaired=1))
    assert hooks.asked == ["GET", "PUT", "GET", "GET", "PUT", "GET", "PUT"]
    assert hooks.secrets == {URL: OTHER}
    CUSTOM.unsubscribe(STORE, URL, hooks)
    assert hooks.rows == [FOREIGN]


def test_the_secret_that_we_make_is_put_as_standard_webhooks_spell_it():
    hooks = Hooks()

    CUSTOM.reconcile(STORE, URL, "a1B2" * 12, hooks)

    assert hooks.secrets == {URL: "whsec_" + "a1B2" * 12}
    assert verdict(signed(BODY, hooks.secrets[URL]), "a1B2" * 12)
    assert "a1B2a1B2" not in json.dumps(hooks.rows)


def test_a_server_with_a_key_pair_is_given_no_secret():
    hooks = Hooks()

    CUSTOM.reconcile(STORE, URL, WHPK, hooks)

    assert hooks.secrets == {URL: None}


@pytest.mark.parametrize(
    "answer", [error(404, "not_found"), Answer(404, {}, b"<html>"), Answer(405, {}, b""), Answer(501, {}, b"")]
)
def test_a_server_without_webhooks_is_fine(answer):
    assert CUSTOM.reconcile(STORE, URL, WHSEC, Scripted(answer)) == Subscribed()
    CUSTOM.unsubscribe(STORE, URL, Scripted(answer))


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([reply([])], "GET /webhooks: the answer must be an object with a list of objects"),
        ([reply({"data": [1]})], "GET /webhooks: the answer must be"),
        (
            [reply({"data": []}), reply({"data": {}})],
            "PUT /webhooks: the answer's data must have the url, events and mark",
        ),
        ([reply({"data": []}), Answer(200, {}, b"ok")], "PUT /webhooks: the answer must be JSON"),
    ],
)
def test_a_subscription_that_was_not_taken_is_no_subscription(answers, said):
    caught = refusal(lambda: CUSTOM.reconcile(STORE, URL, WHSEC, Scripted(answers)))

    assert caught.refusal is Refusal.NOT_THE_PLATFORM
    assert said in caught.detail


def test_unsubscribing_says_where_it_was_refused():
    assert refusal(lambda: CUSTOM.unsubscribe(STORE, URL, Scripted(error(401, "unauthorized")))).refusal is (
        Refusal.CREDENTIALS
    )


# The webhook receiver loads this module on every cold start


def test_brings_nothing_heavy_along():
    heavy = "httpx httpcore ssl pydantic boto3 botocore idna zoneinfo email html asyncio certifi cryptography pycountry"
    program = f"import sys, shared.platforms.custom; print(*set({heavy.split()!r}) & set(sys.modules))"

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert found.stdout.split() == []
