"""WooCommerce: what only it does, against recordings of a real store and a model of one that moves."""

# ruff: noqa: DTZ001, DTZ901, S311 - cursors hold naive times; a model's dice need be no secret

import base64
import hmac
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.platforms.base import (
    Answer,
    Connection,
    Delivery,
    Event,
    Json,
    PlatformError,
    PlatformName,
    Record,
    Refusal,
    Resource,
    Subscribed,
    Verdict,
)
from shared.platforms.woocommerce import WooCommerce
from tests.platforms.conftest import Vector, answer_of, recording_of, recordings_in, vectors_of

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
WOO = WooCommerce()
STORE = Connection(
    "https://localhost:19443",
    {"api_key": "ck_main", "api_secret": "cs_main"},
    "localhost:19443",
    "EUR",
    "Europe/Berlin",
)
VECTORS = vectors_of(PlatformName.WOO_COMMERCE)
RECORDINGS = recordings_in("woocommerce")
DELIVERIES = [
    (f"{name}-{number}", delivery, secret)
    for name in RECORDINGS
    for number, (delivery, secret) in enumerate(recording_of("woocommerce", name).deliveries)
    if not name.startswith("wc_auth")
]
every_delivery = pytest.mark.parametrize(
    ("delivery", "secret"), [each[1:] for each in DELIVERIES], ids=[each[0] for each in DELIVERIES]
)


def refusal(call: Callable[[], object]) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        call()
    return caught.value


def reply(content: Any, status: int = 200, **headers: str) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def error(status: int, code: str, message: str = "", **headers: str) -> Answer:
    return reply({"code": code, "message": message, "data": {"status": status}}, status, **headers)


@dataclass
class Asked:
    """One request, as the store sees it."""

    method: str
    path: str
    parameters: dict[str, str]
    json: Any
    basic: tuple[str, str] | None


@dataclass
class Scripted:
    """Gives the same answer, or the next of several, and remembers what it was asked."""

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
        basic: tuple[str, str] | None = None,
    ) -> Answer:
        assert headers is None
        self.asked.append(Asked(method, urlsplit(url).path, dict(params or {}), json, basic))
        if isinstance(self.answers, Answer):
            return self.answers
        if callable(self.answers):
            return self.answers(self.asked[-1])
        following = self.answers.pop(0)
        if isinstance(following, PlatformError):
            raise following
        return following


# The address


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("Shop.Example/", "https://shop.example"),
        ("https://shop.example/wp-admin/admin.php?page=wc-settings", "https://shop.example"),
        ("https://shop.example/blog/wp-json/wc/v3", "https://shop.example/blog"),
        ("https://shop.example/wp-login.php", "https://shop.example"),
        ("https://shop.example/wp-shop", "https://shop.example/wp-shop"),
    ],
)
def test_takes_the_address_that_sellers_paste(text, domain):
    assert WOO.normal_domain(text) == domain


@pytest.mark.parametrize("text", ["http://shop.example", "", "127.0.0.1", "a@shop.example"])
def test_takes_no_address_that_may_not_be_called(text):
    with pytest.raises(ValueError, match="address"):
        WOO.normal_domain(text)


# Probing


def healthy(asked: Asked, **index: Any) -> Answer:
    """A store in good order."""
    if asked.path == "/wp-json/":
        site = {"name": "Laden", "home": STORE.domain, "namespaces": ["wc/v3"], "timezone_string": "Europe/Berlin"}
        return reply({**site, **index})
    if asked.method == "POST":
        return error(400, "rest_missing_callback_param")
    return reply({"code": "EUR"})


def test_a_probe_names_the_store_and_proves_the_key(recording):
    written = error(400, "rest_missing_callback_param")
    index, settings_ = recording("rest_index").replay(), recording("settings_general").replay()

    def route(asked: Asked) -> Answer:
        if asked.method == "POST":
            return written
        store = index if asked.path == "/wp-json/" else settings_
        return store.request(asked.method, f"{STORE.domain}{asked.path}")

    http = Scripted(route)
    identity = WOO.probe(STORE, http)

    assert identity.store_id == "localhost:19443"
    assert identity.domain == "https://localhost:19443"
    assert identity.store_name == "Prüfstand Laden"
    assert identity.currency == "EUR"
    assert identity.timezone == "Europe/Berlin"
    assert [(each.method, each.path, each.json) for each in http.asked] == [
        ("GET", "/wp-json/", None),
        ("GET", "/wp-json/wc/v3/data/currencies/current", None),
        ("POST", "/wp-json/wc/v3/webhooks", {}),
    ]
    assert [each.basic for each in http.asked] == [None, ("ck_main", "cs_main"), ("ck_main", "cs_main")]


@pytest.mark.parametrize(
    ("named", "offset", "timezone"),
    [
        ("Europe/Berlin", 1, "Europe/Berlin"),
        ("", 2, "Etc/GMT-2"),
        ("", "-5", "Etc/GMT+5"),
        ("", "14", "Etc/GMT-14"),
        ("", 0, "UTC"),
        ("", "5.5", "UTC"),
        ("", 15, "UTC"),
        ("", None, "UTC"),
        ("", "NaN", "UTC"),
        ("", "1e99", "UTC"),
        (None, [], "UTC"),
        ("Mars/Base", 3, "Etc/GMT-3"),
        ("../../etc/passwd", 3, "Etc/GMT-3"),
    ],
)
def test_a_probe_tells_the_timezone_by_name(named, offset, timezone):
    http = Scripted(lambda asked: healthy(asked, timezone_string=named, gmt_offset=offset))

    found = WOO.probe(STORE, http).timezone

    assert found == timezone
    assert ZoneInfo(timezone)


@pytest.mark.parametrize(
    ("home", "store_id"),
    [
        ("http://shop.example", "shop.example"),
        ("https://www.shop.example/", "www.shop.example"),
        ("https://Shop.Example:443", "shop.example"),
    ],
)
def test_the_stores_id_is_its_own_address(home, store_id):
    http = Scripted(lambda asked: healthy(asked, home=home))

    assert WOO.probe(STORE._replace(domain="https://shop.example"), http).store_id == store_id


@pytest.mark.parametrize(
    "home",
    ["https://victim.example", "https://localhost:19443/blog", "https://localhost", "https://shop.localhost:19443"],
)
def test_no_store_passes_for_another_by_naming_its_address(home):
    found = refusal(lambda: WOO.probe(STORE, Scripted(lambda asked: healthy(asked, home=home))))

    assert found.refusal is Refusal.ADDRESS
    assert home.removeprefix("https://") in found.detail


HTML = b"<!DOCTYPE html><title>Welcome</title>"
SECRET_WRONG = error(401, "woocommerce_rest_authentication_error", "Consumer secret is invalid.")
SCOPE_MISSING = error(
    401, "woocommerce_rest_authentication_error", "The API key provided does not have write permissions."
)


@pytest.mark.parametrize(
    ("index", "currency", "write", "expected"),
    [
        (reply(HTML), None, None, Refusal.NOT_THE_PLATFORM),
        (reply(HTML, 404), None, None, Refusal.NOT_THE_PLATFORM),
        (reply(HTML, 403), None, None, Refusal.NOT_THE_PLATFORM),
        (reply(b'{"name":'), None, None, Refusal.NOT_THE_PLATFORM),
        (reply([]), None, None, Refusal.NOT_THE_PLATFORM),
        (reply({"namespaces": ["wp/v2"]}), None, None, Refusal.NOT_THE_PLATFORM),
        (error(404, "rest_no_route"), None, None, Refusal.NOT_THE_PLATFORM),
        (error(401, "rest_login_required"), None, None, Refusal.PERMISSION),
        (reply(b"", 502), None, None, Refusal.TRANSIENT),
        (reply(b"", 429), None, None, Refusal.RATE_LIMITED),
        (None, error(401, "woocommerce_rest_cannot_view"), None, Refusal.CREDENTIALS),
        (None, SECRET_WRONG, None, Refusal.CREDENTIALS),
        (None, error(403, "woocommerce_rest_cannot_view"), None, Refusal.PERMISSION),
        (None, reply(HTML, 401), None, Refusal.NOT_THE_PLATFORM),
        (None, reply([]), None, Refusal.NOT_THE_PLATFORM),
        (None, None, SCOPE_MISSING, Refusal.PERMISSION),
        (None, None, error(401, "woocommerce_rest_authentication_error", "Schreibrechte fehlen."), Refusal.PERMISSION),
        (None, None, error(403, "woocommerce_rest_cannot_create"), Refusal.PERMISSION),
        (None, None, reply(HTML, 500), Refusal.TRANSIENT),
        (reply({"namespaces": ["wc/v3"]}), None, None, Refusal.NOT_THE_PLATFORM),
    ],
)
def test_a_probe_tells_apart_what_is_wrong(index, currency, write, expected):
    def route(asked: Asked) -> Answer:
        if asked.path == "/wp-json/":
            return index or healthy(asked)
        return (write if asked.method == "POST" else currency) or healthy(asked)

    assert refusal(lambda: WOO.probe(STORE, Scripted(route))).refusal is expected


@pytest.mark.parametrize("credentials", [{}, {"api_key": "ck_main"}, {"api_key": "", "api_secret": ""}])
def test_asks_nothing_without_credentials(credentials):
    http = Scripted([])

    found = refusal(lambda: WOO.fetch(STORE._replace(credentials=credentials), Resource.ORDERS, None, http, NOW))

    assert found.refusal is Refusal.CREDENTIALS
    assert http.asked == []


def test_gives_the_key_in_the_query_where_the_host_drops_the_header():
    def route(asked: Asked) -> Answer:
        if asked.path != "/wp-json/" and "consumer_key" not in asked.parameters:
            return error(401, "woocommerce_rest_cannot_view")
        return healthy(asked)

    http = Scripted(route)
    WOO.probe(STORE, http)

    assert len(http.asked) == 4  # only once does it try the header in vain
    assert http.asked[-1].parameters == {"consumer_key": "ck_main", "consumer_secret": "cs_main"}
    assert http.asked[-1].basic is None


def test_a_cycle_remembers_that_the_key_goes_into_the_query():
    def route(asked: Asked) -> Answer:
        known = "consumer_key" in asked.parameters
        return reply([], x_wp_total="0", x_wp_totalpages="0") if known else error(401, "woocommerce_rest_cannot_view")

    http = Scripted(route)
    page = WOO.fetch(STORE, Resource.ORDERS, None, http, NOW)
    WOO.fetch(STORE, Resource.ORDERS, page.cursor, http, NOW)

    assert len(http.asked) == 3


def test_does_not_repeat_a_wrong_secret_in_the_query():
    http = Scripted(SECRET_WRONG)

    assert refusal(lambda: WOO.fetch_one(STORE, Resource.ORDERS, "1", http)).refusal is Refusal.CREDENTIALS
    assert len(http.asked) == 1


# What an answer means


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("errors_auth", "/wp-json/wc/v3/orders?per_page=1", Refusal.CREDENTIALS),
        ("errors_params_and_ids", "/wp-json/wc/v3/products?per_page=101", Refusal.REQUEST),
        ("errors_params_and_ids", "/wp-json/wc/v3/orders/999999", Refusal.NOT_FOUND),
        ("errors_params_and_ids", "/wp-json/wc/v3/products/999999", Refusal.NOT_FOUND),
        ("errors_params_and_ids", "/wp-json/wc/v3/orders/11", Refusal.NOT_FOUND),
        ("errors_params_and_ids", "/wp-json/wc/v3/nothing", Refusal.NOT_THE_PLATFORM),
        ("errors_params_and_ids", "/wp-json/wc/v9/orders", Refusal.NOT_THE_PLATFORM),
        ("orders_modified_after", "/wp-json/wc/v3/orders?modified_after=yesterday", Refusal.REQUEST),
    ],
)
def test_understands_the_refusals_of_a_real_store(recording, name, path, expected):
    exchanges = [each for each in recording(name).exchanges if each["request"]["path"].startswith(path)]

    assert exchanges
    for exchange in exchanges:
        http = Scripted(answer_of(exchange["response"]))
        if exchange["response"]["status"] >= 400:
            assert refusal(lambda http=http: WOO.fetch_one(STORE, Resource.ORDERS, "7", http)).refusal is expected


def test_a_site_whose_plugin_is_switched_off_has_not_lost_its_orders():
    gone = Scripted(error(404, "rest_no_route"))

    assert refusal(lambda: WOO.fetch_one(STORE, Resource.ORDERS, "7", gone)).refusal is Refusal.NOT_THE_PLATFORM


@pytest.mark.parametrize(
    ("status", "headers", "expected", "retry_at"),
    [
        (429, {"retry_after": "90"}, Refusal.RATE_LIMITED, NOW + timedelta(seconds=90)),
        (429, {"retry_after": "Sun, 22 Nov 2026 12:31:00 GMT"}, Refusal.RATE_LIMITED, NOW + timedelta(minutes=1)),
        (429, {"retry_after": "99999999999999999999"}, Refusal.RATE_LIMITED, NOW + timedelta(days=1)),
        (429, {"retry_after": "soon"}, Refusal.RATE_LIMITED, None),
        (429, {}, Refusal.RATE_LIMITED, None),
        (503, {"retry_after": "5"}, Refusal.RATE_LIMITED, NOW + timedelta(seconds=5)),
        (503, {}, Refusal.TRANSIENT, None),
    ],
)
def test_waits_as_long_as_the_store_asks(status, headers, expected, retry_at):
    http = Scripted(reply(HTML, status, **headers))

    found = refusal(lambda: WOO.fetch(STORE, Resource.ORDERS, None, http, NOW))

    assert (found.refusal, found.status, found.retry_at) == (expected, status, retry_at)


def test_without_a_clock_of_ours_a_wait_counts_from_the_stores():
    http = Scripted(reply(HTML, 429, retry_after="60", date="Sun, 22 Nov 2026 12:30:00 GMT"))

    found = refusal(lambda: WOO.fetch_one(STORE, Resource.ORDERS, "7", http))

    assert found.retry_at == NOW + timedelta(minutes=1)


def test_no_error_repeats_what_the_store_makes_of_our_secret():
    secret = "rest_abcdef"
    http = Scripted(error(418, "rest_abcdef", "rest_abcdef"))
    store = STORE._replace(credentials={"api_key": "ck_main", "api_secret": secret})

    found = refusal(lambda: WOO.fetch_one(store, Resource.ORDERS, "7", http))

    assert secret not in f"{found} {found!r}"


# Records


def recorded_rows() -> Iterator[tuple[str, Json]]:
    for name in RECORDINGS:
        recording = recording_of("woocommerce", name)
        texts = [each["response"]["body"] for each in recording.exchanges]
        texts += [delivery.body.decode() for delivery, _ in recording.deliveries]
        for text in texts:
            try:
                content = json.loads(text or "null")
            except ValueError:
                continue
            for row in content if isinstance(content, list) else [content]:
                if isinstance(row, dict) and ("line_items" in row and "order_key" in row):
                    yield "orders", row
                elif isinstance(row, dict) and "stock_status" in row and "name" in row:
                    yield "products", row


ROWS = list(recorded_rows())


def fetched(resource: Resource, row: Json, *variations: Json) -> Record:
    http = Scripted(lambda asked: reply(list(variations)) if "variations" in asked.path else reply(row))
    return WOO.fetch_one(STORE, resource, str(row["id"]), http)


def no_floats(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(no_floats, value.values()))
    return all(map(no_floats, value)) if isinstance(value, list) else not isinstance(value, float)


@pytest.mark.parametrize("kind", ["orders", "products"])
def test_every_recorded_row_becomes_a_record(kind):
    rows = [row for each, row in ROWS if each == kind and row.get("type") != "variation"]

    records = [fetched(Resource(kind), row) for row in rows]

    assert len(records) >= 9
    for row, record in zip(rows, records, strict=True):
        assert record.id == record.body["id"] == str(row["id"])
        assert record.body["platformStatus"] == row["status"]
        assert record.body["status"] != "other"
        assert record.body["updatedAt"] == f"{row['date_modified_gmt']}Z"
        assert record.body["createdAt"] == f"{row['date_created_gmt']}Z"
        assert record.updated_at.isoformat() == f"{row['date_modified_gmt']}+00:00"
        assert no_floats(record.body)
        assert json.loads(json.dumps(record.body)) == record.body
        for amount in re.findall(r'"(?:total|unitPrice|price)": "([^"]*)"', json.dumps(record.body)):
            assert Decimal(amount).is_finite()


def test_an_order_in_full():
    (row,) = [row for kind, row in ROWS if kind == "orders" and row["id"] == 414][:1]

    assert fetched(Resource.ORDERS, row).body == {
        "id": "414",
        "number": "414",
        "status": "cancelled",
        "platformStatus": "cancelled",
        "total": "58.87",
        "refundedTotal": None,
        "currency": "EUR",
        "lines": [
            {
                "id": str(row["line_items"][0]["id"]),
                "productId": str(row["line_items"][0]["product_id"]),
                "variantId": str(row["line_items"][0]["variation_id"]),
                "title": "T-Shirt Modell 24 - L, blau",
                "sku": row["line_items"][0]["sku"],
                "quantity": 3,
                "unitPrice": "15.117647",
                "total": "45.35",
                "properties": [{"name": "Größe", "value": "L"}, {"name": "Farbe", "value": "blau"}],
            }
        ],
        "customer": {
            "id": None,
            "name": "Jörg O'Neill-Groß",
            "email": row["billing"]["email"],
        },
        "shippingAddress": {
            "name": "Jörg O'Neill-Groß",
            "company": None,
            "line1": "Straße 12/3",
            "line2": None,
            "city": "Köln",
            "region": "DE-NW",
            "postalCode": "50667",
            "country": "DE",
            "phone": row["billing"]["phone"],
        },
        "note": None,
        "fees": [],
        "createdAt": "2026-08-26T02:36:47Z",
        "updatedAt": "2026-10-13T00:00:00Z",
    }


def test_a_refund_is_counted_on_its_order():
    refunded = [row for kind, row in ROWS if kind == "orders" and row["refunds"]]

    assert refunded
    assert {fetched(Resource.ORDERS, row).body["refundedTotal"] for row in refunded} == {"1.00"}


def an_order(**changes: Any) -> Json:
    order = {
        "id": 7,
        "number": "A-7",
        "status": "processing",
        "currency": "EUR",
        "total": "10.00",
        "date_created_gmt": "2026-11-20T10:00:00",
        "date_modified_gmt": "2026-11-21T10:00:00",
        "line_items": [],
    }
    return {**order, **changes}


def a_product(**changes: Any) -> Json:
    product = {
        "id": 8,
        "name": "Mug",
        "type": "simple",
        "status": "publish",
        "price": "5.00",
        "sku": "MUG",
        "stock_quantity": 3,
        "permalink": "https://shop.example/product/mug/",
        "images": [{"src": "https://shop.example/mug.png"}],
        "date_created_gmt": "2026-11-20T10:00:00",
        "date_modified_gmt": "2026-11-21T10:00:00",
        "variations": [],
    }
    return {**product, **changes}


@pytest.mark.parametrize(
    ("status", "normal"),
    [
        ("pending", "pending"),
        ("on-hold", "pending"),
        ("processing", "paid"),
        ("completed", "completed"),
        ("cancelled", "cancelled"),
        ("failed", "cancelled"),
        ("refunded", "refunded"),
        ("wc-in-production", "other"),
    ],
)
def test_an_orders_status_is_made_normal_and_kept(status, normal):
    body = fetched(Resource.ORDERS, an_order(status=status)).body

    assert (body["status"], body["platformStatus"]) == (normal, status)


@pytest.mark.parametrize(
    ("status", "normal"),
    [("publish", "active"), ("draft", "draft"), ("pending", "draft"), ("private", "inactive"), ("wholesale", "other")],
)
def test_a_products_status_is_made_normal_and_kept(status, normal):
    body = fetched(Resource.PRODUCTS, a_product(status=status)).body

    assert (body["status"], body["platformStatus"]) == (normal, status)


def test_an_amount_is_never_a_float():
    line = b'{"id":1,"name":"a","quantity":2,"price":0.1000000000000000055511151231257827,"total":"0.20"}'
    body = json.dumps(an_order()).encode().replace(b'"line_items": []', b'"line_items": [' + line + b"]")

    (found,) = WOO.fetch_one(STORE, Resource.ORDERS, "7", Scripted(reply(body))).body["lines"]

    assert found["unitPrice"] == "0.1000000000000000055511151231257827"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b'"12.50"', "12.50"), (b"12.5", "12.5"), (b"1.0E-5", "0.000010"), (b'"-3"', "-3"), (b"12", "12"),
        (b'""', None), (b"null", None), (b'"twelve"', None), (b"true", None), (b'"NaN"', None), (b'"Infinity"', None),
        (b"1e999999999", None), (b'"1E-999999999"', None), (b"{}", None), (b"[1]", None),
    ],
)  # fmt: skip
def test_a_price_is_decimal_text_or_unknown(written, read):
    body = json.dumps(a_product(price="PRICE")).encode().replace(b'"PRICE"', written)

    assert WOO.fetch_one(STORE, Resource.PRODUCTS, "8", Scripted(reply(body))).body["price"] == read


def test_what_the_buyer_chose_is_told_and_what_is_hidden_is_not():
    meta = [
        {"key": "pa_size", "value": "l", "display_key": "Size", "display_value": "L"},
        {"key": "_reduced_stock", "value": "1", "display_key": "_reduced_stock", "display_value": "1"},
        {"key": "engraving", "value": {"text": "Für J", "lines": 2}},
    ]
    line = {
        "id": 1,
        "name": "Mug",
        "product_id": 8,
        "variation_id": 0,
        "quantity": 1,
        "total": "5.00",
        "meta_data": meta,
    }

    (found,) = fetched(Resource.ORDERS, an_order(line_items=[line])).body["lines"]

    assert found["properties"] == [
        {"name": "Size", "value": "L"},
        {"name": "engraving", "value": '{"text": "Für J", "lines": 2}'},
    ]
    assert (found["productId"], found["variantId"]) == ("8", None)


def test_a_payment_providers_fee_is_told():
    meta = [
        {"key": "_stripe_fee", "value": "0.59"},
        {"key": "_stripe_net", "value": "9.41"},
        {"key": "_wcpay_transaction_fee", "value": None},
    ]

    body = fetched(Resource.ORDERS, an_order(meta_data=meta)).body

    assert body["fees"] == [{"type": "payment", "name": "stripe_fee", "amount": "0.59", "currency": "EUR"}]


def test_half_a_surrogate_pair_becomes_text_that_can_be_stored():
    body = json.dumps(an_order(customer_note="caf\ud800é 🧵")).encode()

    note = WOO.fetch_one(STORE, Resource.ORDERS, "7", Scripted(reply(body))).body["note"]

    assert note.encode()
    assert note == "caf?é 🧵"


def test_a_simple_product_is_its_own_variant():
    body = fetched(Resource.PRODUCTS, a_product()).body

    assert body == {
        "id": "8",
        "title": "Mug",
        "status": "active",
        "platformStatus": "publish",
        "price": "5.00",
        "currency": "EUR",
        "sku": "MUG",
        "imageUrl": "https://shop.example/mug.png",
        "url": "https://shop.example/product/mug/",
        "variants": [
            {"id": "8", "title": "Mug", "sku": "MUG", "price": "5.00", "inventoryQuantity": 3, "attributes": {}}
        ],
        "createdAt": "2026-11-20T10:00:00Z",
        "updatedAt": "2026-11-21T10:00:00Z",
    }


def variation(number: int) -> Json:
    size = {"id": 1, "name": "Größe", "option": f"S{number}"}
    return {"id": number, "sku": f"V{number}", "price": "7.5", "stock_quantity": None, "attributes": [size]}


def test_a_variable_product_has_all_its_variations():
    everything = [variation(number) for number in range(1, 251)]

    def route(asked: Asked) -> Answer:
        if asked.path.endswith("/variations"):
            page, size = int(asked.parameters["page"]), int(asked.parameters["per_page"])
            return reply(everything[(page - 1) * size : page * size], x_wp_totalpages="3")
        return reply(a_product(type="variable", variations=[1, 2]))

    variants = WOO.fetch_one(STORE, Resource.PRODUCTS, "8", Scripted(route)).body["variants"]

    assert [each["id"] for each in variants] == [str(number) for number in range(1, 251)]
    assert variants[0] == {
        "id": "1",
        "title": "S1",
        "sku": "V1",
        "price": "7.5",
        "inventoryQuantity": None,
        "attributes": {"Größe": "S1"},
    }


def test_a_product_whose_variations_never_end_is_not_waited_for():
    def route(asked: Asked) -> Answer:
        if asked.path.endswith("/variations"):
            return reply([variation(number) for number in range(1, 101)])
        return reply(a_product(type="variable", variations=[1]))

    found = refusal(lambda: WOO.fetch_one(STORE, Resource.PRODUCTS, "8", Scripted(route)))

    assert found.refusal is Refusal.NOT_UNDERSTOOD


def test_a_variations_id_gives_its_product():
    def route(asked: Asked) -> Answer:
        is_parent = asked.path.endswith("/products/8")
        return reply(a_product() if is_parent else {**variation(9), "type": "variation", "parent_id": 8})

    assert WOO.fetch_one(STORE, Resource.PRODUCTS, "9", Scripted(route)).id == "8"


@pytest.mark.parametrize(
    ("resource", "row"),
    [
        (Resource.ORDERS, an_order(status="trash")),
        (Resource.PRODUCTS, a_product(status="trash")),
        (Resource.PRODUCTS, {"id": 9, "type": "variation", "parent_id": 0}),
    ],
)
def test_what_is_in_the_trash_does_not_exist(resource, row):
    assert refusal(lambda: WOO.fetch_one(STORE, resource, "7", Scripted(reply(row)))).refusal is Refusal.NOT_FOUND


@pytest.mark.parametrize("id", ["", "0", "abc", "1/../2", "1?x", "-1", "٣", "1" * 30])
def test_asks_for_no_id_that_cannot_exist(id):
    http = Scripted([])

    assert refusal(lambda: WOO.fetch_one(STORE, Resource.ORDERS, id, http)).refusal is Refusal.NOT_FOUND
    assert http.asked == []


# Paging: a model of a store whose rows move while it is read


@dataclass
class Shop:
    """WooCommerce's listing: times in whole seconds, a late serialisation, ties in any order."""

    clock: datetime
    rng: random.Random
    timezone: str = "UTC"
    rows: dict[int, datetime] = field(default_factory=dict)
    on_query: Callable[["Shop"], None] = lambda _shop: None
    asked: list[dict[str, str]] = field(default_factory=list)

    def add(self, modified: datetime | None = None) -> None:
        self.rows[len(self.asked) * 1000 + len(self.rows) + 1_000_000] = modified or self.clock

    def request(self, method: str, url: str, *, params: Mapping[str, str] | None = None, **_options: Any) -> Answer:
        assert (method, urlsplit(url).path) == ("GET", "/wp-json/wc/v3/orders")
        assert params is not None
        assert params["dates_are_gmt"] == "true"
        self.asked.append(dict(params))
        after, before = self._time(params.get("modified_after")), self._time(params.get("modified_before"))
        matching = [
            number
            for number, modified in self.rows.items()
            if (after is None or modified > after) and (before is None or modified < before)
        ]
        self.rng.shuffle(matching)
        if params["orderby"] == "modified":
            matching.sort(key=self.rows.__getitem__)
        else:
            matching.sort()
        size, page = int(params["per_page"]), int(params.get("page", "1"))
        chosen = matching[(page - 1) * size : page * size]
        pages = -(-len(matching) // size)
        self.on_query(self)  # ids are chosen first, rows are read later
        found = [
            an_order(id=number, number=str(number), date_modified_gmt=self.rows[number].isoformat())
            for number in chosen
            if number in self.rows
        ]
        date = self.clock.strftime("%a, %d %b %Y %H:%M:%S GMT")
        return reply(found, date=date, x_wp_total=str(len(matching)), x_wp_totalpages=str(pages))

    def _time(self, text: str | None) -> datetime | None:
        if text is None:
            return None
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", text)
        time = datetime.fromisoformat(text)
        there = time.replace(tzinfo=ZoneInfo(self.timezone))
        return max(time, there.astimezone(UTC).astimezone(there.tzinfo).replace(tzinfo=None))


@dataclass
class Reader:
    """Reads a shop cycle by cycle, in pages so small that every case occurs."""

    shop: Shop
    size: int = 3
    cursor: Json | None = None
    seen: dict[str, datetime] = field(default_factory=dict)

    def cycle(self) -> int:
        """One cycle; the number of pages it took."""
        cursor = {**(self.cursor or {}), "size": self.size}
        for pages in range(1, 1000):
            page = WOO.fetch(STORE._replace(timezone=self.shop.timezone), Resource.ORDERS, cursor, self.shop, NOW)
            for record in page.records:
                modified = record.updated_at.replace(tzinfo=None)
                self.seen[record.id] = max(modified, self.seen.get(record.id, modified))
            cursor = json.loads(json.dumps(page.cursor))
            if page.done:
                self.cursor = cursor
                return pages
        raise AssertionError("the cycle does not end")


def a_shop(times: list[datetime], seed: int = 1, **options: Any) -> Shop:
    shop = Shop(max(times, default=datetime(2026, 11, 22, 12)) + timedelta(minutes=10), random.Random(seed), **options)
    for number, modified in enumerate(times, 1):
        shop.rows[number] = modified
    return shop


def has_all(reader: Reader, expected: Mapping[int, datetime]) -> bool:
    return all(reader.seen.get(str(number), datetime.min) >= modified for number, modified in expected.items())


START = datetime(2026, 11, 22, 8)


def test_the_first_cycle_reads_everything_and_the_next_what_changed():
    reader = Reader(a_shop([START + timedelta(minutes=number) for number in range(20)]))

    reader.cycle()
    assert has_all(reader, reader.shop.rows)

    reader.seen.clear()
    reader.shop.clock += timedelta(hours=1)
    reader.shop.rows[4] = reader.shop.clock
    assert reader.cycle() == 1
    assert set(reader.seen) == {"4"}


def test_a_second_with_more_rows_than_a_page_is_read_whole():
    reader = Reader(a_shop([START] * 50 + [START + timedelta(seconds=1)] * 7 + [START + timedelta(hours=1)]))

    pages = reader.cycle()

    assert has_all(reader, reader.shop.rows)
    assert pages < 35


def test_many_rows_that_changed_a_moment_ago_are_read_in_the_same_cycle():
    shop = a_shop([START - timedelta(days=1)] * 5)
    shop.rows |= {number: shop.clock - timedelta(seconds=number % 20) for number in range(10, 40)}
    reader = Reader(shop)

    reader.cycle()

    assert has_all(reader, shop.rows)


def test_the_next_cycle_begins_by_the_stores_clock_with_an_overlap():
    page = WOO.fetch(STORE, Resource.ORDERS, None, a_shop([START]), NOW)

    assert page.done
    assert page.cursor == {"size": 100, "after": "2026-11-22T08:05:00"}  # its clock says 08:10


def test_without_a_clock_of_the_store_ours_begins_the_next_cycle():
    page = WOO.fetch(STORE, Resource.ORDERS, None, Scripted(reply([])), NOW)

    assert page.cursor["after"] == "2026-11-22T12:25:00"


def test_asks_as_the_store_understands_it():
    http = Scripted(reply([]))

    WOO.fetch(STORE, Resource.PRODUCTS, {"size": 50, "after": "2026-11-22T12:00:00"}, http, NOW)

    assert http.asked[0].path == "/wp-json/wc/v3/products"
    assert http.asked[0].parameters == {
        "per_page": "50",
        "status": "any",
        "orderby": "modified",
        "order": "asc",
        "dates_are_gmt": "true",
        "modified_after": "2026-11-22T12:00:00",
    }


@settings(max_examples=300, deadline=None)
@given(
    seconds=st.lists(st.integers(0, 12), max_size=30),
    size=st.integers(1, 5),
    seed=st.integers(0, 2**32),
    restlessness=st.floats(0, 1),
)
def test_no_row_behind_the_cursor_was_skipped_while_rows_moved(seconds, size, seed, restlessness):
    rng = random.Random(seed)
    shop = a_shop([START + timedelta(seconds=each) for each in seconds], seed)
    quiet = False

    def disturb(shop: Shop) -> None:
        shop.clock += timedelta(seconds=rng.choice([0, 0, 1, 2, 30]))
        if quiet or rng.random() > restlessness:
            return
        for _ in range(rng.randint(1, 4)):
            choice = rng.random()
            if choice < 0.6 and shop.rows:
                shop.rows[rng.choice(list(shop.rows))] = shop.clock
            elif choice < 0.8 and shop.rows:
                del shop.rows[rng.choice(list(shop.rows))]
            elif len(shop.rows) < 60:
                shop.add()

    shop.on_query = disturb
    reader = Reader(shop, size)
    for quiet in (False, False, False, True):
        try:
            reader.cycle()
        except PlatformError as error:
            assert "may not see" in error.detail  # noqa: PT017 - twice, all rows of a page went while it was made
            continue
        assert reader.cursor is not None
        behind = datetime.max if quiet else datetime.fromisoformat(reader.cursor["after"])
        assert has_all(reader, {number: modified for number, modified in shop.rows.items() if modified <= behind})
        shop.clock += timedelta(seconds=rng.choice([1, 60, 600]))


def test_the_hour_that_clocks_skip_is_listed_between_times_that_exist():
    spring = datetime(2026, 3, 29, 2)  # as GMT digits; on clocks in Berlin, 02:00 to 03:00 do not exist
    reader = Reader(Shop(spring + timedelta(hours=3), random.Random(1), "Europe/Berlin"))
    for minutes in range(-30, 90, 5):
        reader.shop.add(spring + timedelta(minutes=minutes))

    reader.cycle()

    assert has_all(reader, reader.shop.rows)
    asked = {each.get("modified_after", "") for each in reader.shop.asked}
    assert not any(time.startswith("2026-03-29T02:") for time in asked)


@settings(max_examples=100, deadline=None)
@given(
    minutes=st.lists(st.integers(0, 240), min_size=1, max_size=40),
    starts=st.lists(st.integers(-30, 150), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
)
def test_no_row_is_skipped_in_the_hour_that_clocks_skip(minutes, starts, seed):
    spring = datetime(2026, 3, 29, 2)  # as GMT digits; on clocks in Berlin, 02:00 to 03:00 do not exist
    times = sorted(spring + timedelta(minutes=each - 60, seconds=each % 3) for each in minutes)
    reader = Reader(Shop(spring, random.Random(seed), "Europe/Berlin"))
    for clock in [*sorted(spring + timedelta(minutes=each) for each in starts), times[-1] + timedelta(hours=6)]:
        reader.shop.clock = clock
        for modified in times:
            if modified <= clock and modified not in reader.shop.rows.values():
                reader.shop.add(modified)
        reader.cycle()
        assert has_all(reader, reader.shop.rows)


def test_a_store_that_ignores_modified_after_is_told():
    rows = [an_order(id=number, date_modified_gmt="2026-11-20T10:00:00") for number in range(1, 101)]
    http = Scripted(reply(rows, x_wp_totalpages="3"))

    found = refusal(lambda: WOO.fetch(STORE, Resource.ORDERS, {"size": 100, "after": "2026-11-21T00:00:00"}, http, NOW))

    assert found.refusal is Refusal.NOT_THE_PLATFORM


def test_a_page_that_repeats_itself_for_ever_ends_in_an_error():
    rows = [an_order(id=number, date_modified_gmt="2026-11-22T12:29:59") for number in range(1, 101)]
    http = Scripted(reply(rows, x_wp_totalpages="3"))

    def go_on_for_ever() -> None:
        cursor: Json | None = None
        for _ in range(100):
            cursor = WOO.fetch(STORE, Resource.ORDERS, cursor, http, NOW).cursor

    assert refusal(go_on_for_ever).refusal is Refusal.NOT_THE_PLATFORM
    assert len(http.asked) < 15


def test_a_listing_by_id_needs_the_stores_count_of_pages():
    cursor = {"size": 3, "start": "2026-11-22T12:00:00", "after": "2026-11-22T08:00:00", "until": "2026-11-22T08:00:02"}

    found = refusal(lambda: WOO.fetch(STORE, Resource.ORDERS, cursor, Scripted(reply([])), NOW))

    assert found.refusal is Refusal.NOT_THE_PLATFORM


def test_rows_that_the_key_may_not_see_are_an_error_and_no_empty_page():
    http = Scripted(reply([], x_wp_total="12", x_wp_totalpages="1"))

    assert refusal(lambda: WOO.fetch(STORE, Resource.ORDERS, None, http, NOW)).refusal is Refusal.PERMISSION


def test_a_short_page_is_not_the_last_where_the_store_counts_more():
    rows = [an_order(id=number, date_modified_gmt=f"2026-11-20T10:00:0{number}") for number in range(1, 4)]

    page = WOO.fetch(STORE, Resource.ORDERS, None, Scripted(reply(rows, x_wp_totalpages="2")), NOW)

    assert not page.done
    assert page.cursor["after"] == "2026-11-20T10:00:02"


STALLED = PlatformError(Refusal.UNREACHABLE, "shop.example did not answer in time.")
TOO_LARGE = PlatformError(Refusal.NOT_THE_PLATFORM, "shop.example answered with more than 8 MiB.")


@pytest.mark.parametrize("failure", [reply(HTML, 500), reply(HTML, 504), reply(b'[{"id":1', 200), STALLED, TOO_LARGE])
def test_the_page_gives_way_to_what_large_pages_cause(failure):
    cursor: Json | None = None
    http = Scripted([failure] * 5)

    for _ in range(4):
        page = WOO.fetch(STORE, Resource.ORDERS, cursor, http, NOW)
        assert (page.records, page.done) == ([], False)
        cursor = page.cursor
    with pytest.raises(PlatformError):
        WOO.fetch(STORE, Resource.ORDERS, cursor, http, NOW)

    assert [each.parameters["per_page"] for each in http.asked] == ["100", "50", "25", "12", "10"]


@pytest.mark.parametrize("failure", [reply(HTML, 503), reply(HTML, 429), reply(HTML, 403), error(404, "rest_no_route")])
def test_the_page_does_not_give_way_to_other_failures(failure):
    with pytest.raises(PlatformError):
        WOO.fetch(STORE, Resource.ORDERS, None, Scripted(failure), NOW)


def test_the_next_cycle_tries_larger_pages_again():
    http = Scripted(reply([]))

    page = WOO.fetch(STORE, Resource.ORDERS, {"size": 10, "after": "2026-11-22T12:00:00"}, http, NOW)

    assert page.cursor["size"] == 20


def test_a_page_keeps_what_it_understands_and_names_the_rest():
    rows = [
        an_order(),
        an_order(id=9, total=None),
        an_order(id=10, date_modified_gmt="yesterday", date_created_gmt=None),
        an_order(id="x/y"),
    ]

    page = WOO.fetch(STORE, Resource.ORDERS, None, Scripted(reply(rows)), NOW)

    assert [record.id for record in page.records] == ["7"]
    assert page.partial == "Not understood: orders 9, 10, x/y."


def test_one_product_that_the_store_cannot_show_does_not_stop_the_others():
    def route(asked: Asked) -> Answer:
        if asked.path.endswith("/variations"):
            return reply(HTML, 500)
        return reply([a_product(variations=[9]), a_product(id=10)])

    page = WOO.fetch(STORE, Resource.PRODUCTS, None, Scripted(route), NOW)

    assert [record.id for record in page.records] == ["10"]
    assert page.partial == "Not understood: products 8."


def test_a_page_is_not_finished_where_the_store_went_away_in_the_middle():
    http = Scripted([reply([a_product(variations=[9])]), STALLED])

    assert refusal(lambda: WOO.fetch(STORE, Resource.PRODUCTS, None, http, NOW)) is STALLED


def test_lists_the_ids_that_exist():
    def route(asked: Asked) -> Answer:
        assert asked.parameters["_fields"] == "id"
        assert asked.parameters["status"] == "any"
        page = int(asked.parameters["page"])
        return reply([{"id": n} for n in range(page * 100, min(page * 100 + 100, 250))], x_wp_totalpages="2")

    http = Scripted(route)
    first = WOO.list_ids(STORE, Resource.ORDERS, None, http, NOW)
    second = WOO.list_ids(STORE, Resource.ORDERS, first.cursor, http, NOW)

    assert (first.done, second.done) == (False, True)
    assert [*first.ids, *second.ids] == [str(number) for number in range(100, 250)]


def test_ids_that_repeat_for_ever_end_in_an_error():
    http = Scripted(reply([{"id": number} for number in range(1, 101)]))
    first = WOO.list_ids(STORE, Resource.ORDERS, None, http, NOW)

    found = refusal(lambda: WOO.list_ids(STORE, Resource.ORDERS, first.cursor, http, NOW))

    assert found.refusal is Refusal.NOT_THE_PLATFORM


# Webhooks


@pytest.mark.parametrize("vector", [each for each in VECTORS if each.kind == "webhook"], ids=lambda each: each.name)
def test_agrees_with_the_verdicts_computed_elsewhere(vector: Vector):
    expected = Verdict.GENUINE if vector.is_genuine else Verdict.FORGED

    assert WOO.verify(vector.delivery, vector.secrets, vector.now) is expected


def test_the_setup_ping_is_no_event():
    (vector,) = [each for each in VECTORS if each.kind == "webhook_ping"]

    assert WOO.verify(vector.delivery, vector.secrets, vector.now) is Verdict.PING
    assert WOO.parse(vector.delivery) == []


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b"webhook_id=1&x=2"),
        ({}, b"webhook_id="),
        ({}, b"webhook_id=1\n"),
        ({}, b'{"id":1}'),
        ({}, b""),
        ({"x-wc-webhook-topic": "order.updated"}, b"webhook_id=1"),
        ({"x-wc-webhook-signature": ""}, b"webhook_id=1"),
    ],
)
def test_only_the_setup_ping_comes_unsigned(headers, body):
    assert WOO.verify(Delivery(headers, body), ["secret"], NOW) is Verdict.FORGED


@every_delivery
def test_accepts_what_a_real_store_sent(delivery, secret):
    expected = Verdict.GENUINE if secret else Verdict.PING

    assert WOO.verify(delivery, [secret or "another"], NOW) is expected


@every_delivery
def test_reads_what_a_real_store_sent(delivery, secret):
    events = WOO.parse(delivery)

    topic = WOO.topic(delivery)
    if topic.startswith(("order.", "product.")):
        (event,) = events
        row = json.loads(delivery.body)
        assert event.resource == ("orders" if topic.startswith("order.") else "products")
        assert event.id == str(row.get("parent_id") or row["id"])
        assert (event.record is None) == (row.get("type") == "variation")
    else:
        assert events == []


def test_events_of_one_second_differ_in_their_bodies_only():
    pair = [each for each in VECTORS if each.name.startswith("same-second")]

    assert len({WOO.event_id(each.delivery) for each in pair}) == 1
    assert len({WOO.event_id(each.delivery) for each in VECTORS if each.kind == "webhook"}) > 1
    assert len({each.delivery.body for each in pair}) == 2


def signed(key: bytes, body: bytes = b'{"id":1}') -> Delivery:
    return Delivery({"x-wc-webhook-signature": base64.b64encode(hmac.digest(key, body, "sha256")).decode()}, body)


@pytest.mark.parametrize(
    ("stored", "key"),
    [
        ("a&lt;b", b"a<b"),
        ("a&amp;lt;b", b"a&lt;b"),
        ("&quot;&#039;&#39;&#x27;&#X0027;&gt;&#038;", b"\"''''>&"),
        ("caf&eacute;", b"caf&eacute;"),
        ("a&b;&lt", b"a&b;&lt"),
        ("plain", b"plain"),
        ("Ümläut", "Ümläut".encode()),
    ],
)
def test_the_secret_is_decoded_as_wordpress_decodes_it(stored, key):
    assert WOO.verify(signed(key), [stored], NOW) is Verdict.GENUINE


def test_an_empty_body_is_no_event_whatever_its_signature():
    assert WOO.verify(signed(b"secret", b""), ["secret"], NOW) is Verdict.FORGED


def delivered(topic: str, body: Any) -> list[Event]:
    return list(WOO.parse(Delivery({"x-wc-webhook-topic": topic}, json.dumps(body).encode())))


def test_a_deletion_is_told_by_its_id():
    assert delivered("order.deleted", {"id": 7}) == [Event(Resource.ORDERS, "7", deleted=True)]
    assert delivered("product.deleted", {"id": 8}) == [Event(Resource.PRODUCTS, "8", deleted=True)]


def test_a_whole_order_and_a_simple_product_bring_their_records():
    (order,) = delivered("order.restored", an_order())
    (product,) = delivered("product.created", a_product())

    assert order.record is not None
    assert order.record.body["number"] == "A-7"
    assert product.record is not None
    assert product.record.body["currency"] is None  # the payload does not tell


@pytest.mark.parametrize(
    ("topic", "body", "id"),
    [
        ("order.updated", {"id": 7}, "7"),
        ("order.updated", an_order(status="trash"), "7"),
        ("product.updated", a_product(type="variable", variations=[9]), "8"),
        ("product.updated", {**variation(9), "type": "variation", "parent_id": 8}, "8"),
        ("product.updated", {"id": 8}, "8"),
    ],
)
def test_what_is_not_whole_is_to_be_fetched(topic, body, id):
    (event,) = delivered(topic, body)

    assert (event.id, event.record, event.deleted) == (id, None, False)


def test_tells_that_our_rights_are_gone():
    (event,) = delivered(
        "order.updated", {"code": "woocommerce_rest_cannot_view", "message": "", "data": {"status": 401}}
    )

    assert event == Event(None, access_lost=True)


@pytest.mark.parametrize(
    "topic", ["customer.updated", "coupon.created", "action.woocommerce_add_to_cart", "", "ORDER.UPDATED"]
)
def test_other_topics_announce_nothing(topic):
    assert delivered(topic, {"id": 1}) == []


# Subscriptions

URL = "https://api.example.com/webhooks/WOO_COMMERCE/c1"
TOPICS = {
    f"{resource}.{event}"
    for resource in ("order", "product")
    for event in ("created", "updated", "deleted", "restored")
}


@dataclass
class Hooks:
    """A store's webhooks."""

    hooks: dict[int, Json] = field(default_factory=dict)
    secrets: dict[int, str] = field(default_factory=dict)
    writes: int = 0

    def request(
        self, method: str, url: str, *, params: Mapping[str, str] | None = None, json: Any = None, **_options: Any
    ) -> Answer:
        number = int(match[1]) if (match := re.search(r"/webhooks/(\d+)$", url)) else None
        if method == "GET":
            assert params is not None
            start = (int(params["page"]) - 1) * 100
            return reply(list(self.hooks.values())[start : start + 100])
        self.writes += 1
        if number is not None and number not in self.hooks:
            return error(404, "woocommerce_rest_shop_webhook_invalid_id")
        if method == "DELETE":
            assert params == {"force": "true"}
            return reply(self.hooks.pop(number or 0))
        number = number or max(self.hooks, default=0) + 1
        self.secrets[number] = json.pop("secret")
        self.hooks[number] = {**self.hooks.get(number, {}), **json, "id": number}
        return reply(self.hooks[number], 201)


def test_subscribes_to_all_topics_and_then_has_nothing_to_do():
    store = Hooks()

    first = WOO.reconcile(STORE, URL, "secret", store)
    second = WOO.reconcile(STORE, URL, "secret", store)

    assert first == Subscribed(created=8)
    assert second == Subscribed(kept=8)
    assert store.writes == 8
    assert {hook["topic"] for hook in store.hooks.values()} == TOPICS
    assert {(hook["status"], hook["delivery_url"]) for hook in store.hooks.values()} == {("active", URL)}
    assert set(store.secrets.values()) == {"secret"}
    assert not any("secret" in json.dumps(hook) for hook in store.hooks.values())


def test_a_new_secret_reaches_the_store():
    store = Hooks()
    WOO.reconcile(STORE, URL, "secret", store)

    assert WOO.reconcile(STORE, URL, "another", store) == Subscribed(repaired=8)
    assert set(store.secrets.values()) == {"another"}


def test_repairs_what_the_store_disabled_and_clears_what_is_too_much():
    store = Hooks()
    WOO.reconcile(STORE, URL, "secret", store)
    topics = {hook["topic"]: number for number, hook in store.hooks.items()}
    store.hooks[topics["order.created"]]["status"] = "disabled"
    store.hooks[topics["order.updated"]]["status"] = "paused"
    del store.hooks[topics["order.deleted"]]
    store.hooks[50] = {**store.hooks[topics["product.created"]], "id": 50}
    store.hooks[51] = {**store.hooks[topics["product.created"]], "id": 51, "topic": ""}

    assert WOO.reconcile(STORE, URL, "secret", store) == Subscribed(created=1, repaired=2, removed=2, kept=5)
    assert sorted(hook["topic"] for hook in store.hooks.values()) == sorted(TOPICS)
    assert {hook["status"] for hook in store.hooks.values()} == {"active"}


def test_touches_no_webhook_of_others():
    foreign = {
        number: {"id": number, "topic": "order.created", "status": "disabled", "delivery_url": f"{URL}{number}"}
        for number in range(1, 151)
    }
    store = Hooks(dict(foreign))

    WOO.reconcile(STORE, URL, "secret", store)
    WOO.unsubscribe(STORE, URL, store)

    assert store.hooks == foreign


def test_unsubscribing_twice_is_fine():
    store = Hooks()
    WOO.reconcile(STORE, URL, "secret", store)

    WOO.unsubscribe(STORE, URL, store)
    WOO.unsubscribe(STORE, URL, store)

    assert store.hooks == {}


def test_unsubscribing_forgives_what_is_gone_already():
    http = Scripted([reply([{"id": 3, "delivery_url": URL}]), error(404, "woocommerce_rest_shop_webhook_invalid_id")])

    WOO.unsubscribe(STORE, URL, http)

    assert len(http.asked) == 2


def test_a_topic_that_the_store_did_not_take_is_told(recording):
    created = [
        each["response"]
        for each in recording("webhooks_crud").exchanges
        if '"topic":""' in (each["response"]["body"] or "")
    ]
    http = Scripted([reply([]), answer_of(created[0])])

    assert refusal(lambda: WOO.reconcile(STORE, URL, "secret", http)).refusal is Refusal.NOT_THE_PLATFORM


def test_a_key_that_may_only_read_cannot_subscribe():
    http = Scripted([reply([]), SCOPE_MISSING])

    assert refusal(lambda: WOO.reconcile(STORE, URL, "secret", http)).refusal is Refusal.PERMISSION


# The guided grant

STATE = "s" * 43
RETURN, CALLBACK = (
    "https://app.example.com/return?a=1&b=2",
    "https://api.example.com/authorizations/WOO_COMMERCE/callback",
)


def test_the_grants_address_carries_all_that_the_store_asks_for():
    url = WOO.grant_url(
        "https://shop.example/blog", app_name="Story & Link", state=STATE, return_url=RETURN, callback_url=CALLBACK
    )

    assert url.startswith("https://shop.example/blog/wc-auth/v1/authorize?")
    assert parse_qs(urlsplit(url).query) == {
        "app_name": ["Story & Link"],
        "scope": ["read_write"],
        "user_id": [STATE],
        "return_url": [RETURN],
        "callback_url": [CALLBACK],
    }


def test_a_state_that_the_store_would_mangle_is_refused():
    with pytest.raises(ValueError, match="state"):
        WOO.grant_url(
            "https://shop.example", app_name="a", state="a+b/c==" * 4, return_url=RETURN, callback_url=CALLBACK
        )


def test_reads_the_grant_that_a_real_store_posted(recording):
    ((delivery, _),) = recording("wc_auth_granted").deliveries
    body = delivery.body.replace(b"tenant-42", STATE.encode())

    state, credentials = WOO.read_grant(body)

    assert state == STATE
    assert credentials == {
        "api_key": "ck_e59be723954266a71ae9df471465d32b1fb5d4ce",
        "api_secret": "cs_ccb4a15ed31652ccbd25fa525db1f6405e616e5f",
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"consumer_key=ck_1",
        b'{"user_id":"a","consumer_key":"ck_1","consumer_secret":"cs_1"}',
        b"\xff",
        b"[" * 10**5,
    ],
)
def test_reads_nothing_else_as_a_grant(body):
    with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong with it
        WOO.read_grant(body)


# The webhook receiver loads this module on every cold start


def test_brings_nothing_heavy_along():
    heavy = "httpx httpcore ssl pydantic boto3 botocore idna zoneinfo email html asyncio certifi"
    program = f"import sys, shared.platforms; print(*set({heavy.split()!r}) & set(sys.modules))"

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603 - ours

    assert found.stdout.split() == []
