"""The sandbox's WooCommerce: as the recordings, as the plugin's rules, as other people's client expects."""

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from woocommerce import API

from infra.local.sandbox.server import Running, Sandbox
from infra.local.sandbox.woo_shop import Sizes, php_json
from infra.local.sandbox.woocommerce import MERCHANT_PASSWORD
from tests.sandbox.conftest import (
    BASE_URL,
    CONTROL,
    RECORDED_AT,
    Clock,
    Json,
    Receiver,
    Web,
    body_of,
    differences,
    recording,
)

pytestmark = pytest.mark.enable_socket

NOT_STOOD_IN_FOR = {
    "/wp-json/wc/store/v1/products?per_page=1&_fields=id,name,sku",
    "/wp-json/wc/v3/settings",
}
BY_THE_WIRE = {"transfer-encoding", "connection", "content-length", "date"}
OF_THE_SHOP = {"x-wp-total", "x-wp-totalpages", "location"}


def signature(body: bytes, secret: str) -> str:
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def basic(key: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode()}


# As recorded


class Replay:
    """Sends recorded requests to our shop, with our ids for theirs."""

    def __init__(self, web: Web) -> None:
        self.web = web
        shop = web.site.shop
        processing = next(order for order in shop.orders.values() if order.status == "processing")
        self.ids = {"822": min(shop.orders), "534": processing.id, "224": shop.products[211].variations[0]}

    def send(self, recorded: Json) -> httpx.Response:
        path = re.sub(r"(?<=/)(\d+)", lambda found: str(self.ids.get(found[0], found[0])), recorded["path"])
        body = recorded["body"]
        if body:
            body = re.sub(r'(?<="id": )\d+', lambda found: str(self.ids.get(found[0], found[0])), body)
        headers = {name: value for name, value in recorded["headers"] if name in ("Authorization", "Content-Type")}
        url = f"{recorded['scheme']}://localhost:19443/shop{path}"
        return self.web.client.request(recorded["method"], url, headers=headers, content=body)

    def learn(self, theirs: Any, ours: Any) -> None:
        if isinstance(theirs, dict) and "id" in theirs:
            self.ids[str(theirs["id"])] = ours["id"]
            for pair in zip(theirs.get("line_items", []), ours.get("line_items", []), strict=False):
                self.learn(*pair)


def normal(header: str, value: str) -> str:
    return re.sub(rf"{BASE_URL}/(?!shop)", f"{BASE_URL}/shop/", value) if header == "link" else value


def disagreements(recorded: Json, ours: httpx.Response) -> list[str]:
    theirs = {name.lower(): value for name, value in recorded["headers"] if name.lower() not in BY_THE_WIRE}
    headers = {name.lower(): value for name, value in ours.headers.items() if name.lower() not in BY_THE_WIRE}
    found = [f"header {name} is missing" for name in theirs.keys() - headers.keys()]
    found += [f"header {name} is not theirs" for name in headers.keys() - theirs.keys()]
    for name in (theirs.keys() & headers.keys()) - OF_THE_SHOP:
        if normal(name, theirs[name]) != headers[name]:
            found.append(f"{name}: recorded {normal(name, theirs[name])}, ours {headers[name]}")
    if recorded["status"] != ours.status_code:
        found.append(f"recorded {recorded['status']}, ours {ours.status_code} {ours.text[:200]}")
    elif recorded["status"] >= 400 and recorded["body"] != ours.text:
        found.append(f"recorded {recorded['body']}, ours {ours.text}")
    elif recorded["body"]:
        found += differences(json.loads(recorded["body"]), ours.json())
    return found


@pytest.mark.parametrize(
    "name",
    [
        "errors_auth",
        "errors_params_and_ids",
        "order_basic",
        "orders_modified_after",
        "products_paging",
        "rest_index",
        "stock_update",
        "webhook_order_created",
        "webhook_product_updated",
        "webhook_refund",
        "webhooks_crud",
    ],
)
def test_answers_every_recorded_request_as_the_real_shop_did(twin: Web, name: str) -> None:
    replay = Replay(twin)
    for exchange in recording(name)["exchanges"]:
        theirs = exchange["response"]
        if exchange["request"]["path"] in NOT_STOOD_IN_FOR:
            continue

        ours = replay.send(exchange["request"])

        assert disagreements(theirs, ours) == [], f"{exchange['request']['method']} {exchange['request']['path']}"
        if theirs["status"] == 201:
            replay.learn(json.loads(theirs["body"]), ours.json())


def test_writes_json_as_php_does(twin: Web) -> None:
    text = twin.call("GET", "products/12").text

    assert '"name":"L\\u00f6ffel 2"' in text
    assert f'"href":"{BASE_URL}/shop/wp-json/wc/v3/products"'.replace("/", "\\/") in text
    assert text.isascii()


def test_counts_the_money_of_an_order_as_the_real_shop_did(twin: Web) -> None:
    recorded = json.loads(recording("order_basic")["exchanges"][0]["response"]["body"])
    twin.call("PUT", "products/12", {"regular_price": "37.16"})

    order = twin.make("orders", {"currency": "EUR", "line_items": [{"product_id": 12, "quantity": 1}]})

    amounts = ("total", "cart_tax", "total_tax", "shipping_total")
    assert {name: order[name] for name in amounts} == {name: recorded[name] for name in amounts}
    line, recorded_line = order["line_items"][0], recorded["line_items"][0]
    assert [line[name] for name in ("price", "total", "taxes")] == [
        recorded_line[name] for name in ("price", "total", "taxes")
    ]


@pytest.mark.parametrize("path", ["settings/general", "settings/general/woocommerce_currency"])
def test_words_a_setting_as_the_real_shop_did(twin: Web, path: str) -> None:
    exchange = next(e for e in recording("settings_general")["exchanges"] if e["request"]["path"].endswith(path))
    theirs = json.loads(exchange["response"]["body"])

    ours = twin.get(path)

    recorded = {setting["id"]: setting for setting in (theirs if isinstance(theirs, list) else [theirs])}
    for setting in ours if isinstance(ours, list) else [ours]:
        options: Json = {"options": {}} if "options" in setting else {}
        assert differences(recorded[setting["id"]] | options, setting | options) == []
        assert {**recorded[setting["id"]], **options, "_links": 0}.items() >= {
            name: setting[name] for name in ("id", "label", "description", "type", "default", "tip")
        }.items()


def test_names_the_currency_as_the_real_shop_did(twin: Web) -> None:
    exchange = next(
        e for e in recording("settings_general")["exchanges"] if e["request"]["path"].endswith("currencies/current")
    )

    ours = twin.call("GET", "data/currencies/current")

    assert ours.text == exchange["response"]["body"].replace("19443\\/", "19443\\/shop\\/")


def recorded_deliveries(name: str) -> list[Json]:
    deliveries: list[Json] = recording(name)["deliveries"]
    return deliveries


def compare_delivery(recorded: Json, ours: httpx.Request) -> None:
    theirs = {header.lower(): value.replace(BASE_URL, f"{BASE_URL}/shop") for header, value in recorded["headers"]}
    assert theirs.keys() == ours.headers.keys()
    by_value = {"user-agent", "accept", "accept-encoding", "content-type", "connection"}
    by_value |= {"x-wc-webhook-topic", "x-wc-webhook-resource", "x-wc-webhook-event"} & theirs.keys()
    assert {name: theirs[name] for name in by_value} == {name: ours.headers[name] for name in by_value}


def test_the_recorded_signatures_are_what_the_test_computes() -> None:
    for name in ("webhook_order_created", "webhook_product_updated", "webhook_refund", "webhook_customer"):
        for delivery in recorded_deliveries(name):
            headers = dict(delivery["headers"])
            assert signature(body_of(delivery), delivery["secret"]) == headers["X-WC-Webhook-Signature"]


@pytest.mark.parametrize(
    ("name", "topics"),
    [
        ("webhook_order_created", ["order.created", "order.updated", "product.updated"]),
        ("webhook_product_updated", ["product.updated"]),
        ("webhook_refund", ["order.updated"]),
    ],
)
def test_delivers_what_the_real_shop_delivered(twin: Web, receiver: Receiver, name: str, topics: list[str]) -> None:
    for topic in topics:
        twin.subscribe(topic, f"/ok/{topic}", f"geheim-{topic}")
    receiver.requests.clear()
    replay = Replay(twin)
    for exchange in recording(name)["exchanges"]:
        replay.learn(json.loads(exchange["response"]["body"]), replay.send(exchange["request"]).json())

    twin.control("POST", "/deliver")

    theirs = sorted(recorded_deliveries(name), key=lambda delivery: str(delivery["path"]))
    ours = sorted(receiver.requests, key=lambda request: request.url.path)
    assert len(theirs) == len(ours)
    for recorded, request in zip(theirs, ours, strict=True):
        compare_delivery(recorded, request)
        assert differences(json.loads(body_of(recorded)), json.loads(request.content)) == []
        assert request.headers["x-wc-webhook-signature"] == signature(request.content, recorded["secret"])
        assert request.headers["x-wc-webhook-source"] == f"{BASE_URL}/shop/"


def test_pings_what_the_real_shop_pinged(twin: Web, receiver: Receiver) -> None:
    receiver.answers["/closed"] = httpx.ConnectError("refused")
    replay = Replay(twin)
    for exchange in recording("webhooks_crud")["exchanges"]:
        replay.send(exchange["request"])

    ours = [request for request in receiver.requests if request.url.path != "/closed"]

    theirs = recorded_deliveries("webhooks_crud")
    assert [(request.url.path, request.content) for request in ours] == [
        (ping["path"], body_of(ping)) for ping in theirs
    ]
    for ping, request in zip(theirs, ours, strict=True):
        compare_delivery(ping, request)


@pytest.mark.parametrize("recorded", recording("webhook_answer_codes")["observed"], ids=lambda r: r["receiver"])
def test_takes_a_receivers_answer_as_the_real_shop_did(web: Web, receiver: Receiver, recorded: Json) -> None:
    path = recorded["receiver"]
    code = re.search(r"\d+", path)
    receiver.answers[path] = int(code[0]) if code else 302 if "redirect" in path else httpx.ReadError("dropped")
    webhook_id = web.subscribe("order.updated", path)
    order_id = min(web.site.shop.orders)
    for _ in range(2):
        web.call("PUT", f"orders/{order_id}", {"customer_note": "x"})
        web.control("POST", "/deliver")

    kinds = ["ping" if topic == "ping" else "delivery" for topic in receiver.topics()]

    webhook = web.site.webhooks.get(webhook_id)
    assert webhook is not None
    assert kinds == recorded["requests"]
    assert (webhook.failures, webhook.ping_due) == (recorded["failure_count"], bool(recorded["ping_pending"]))


# The grant

GRANT = {
    "app_name": "Bestandsabgleich",
    "scope": "read_write",
    "user_id": "tenant-42",
    "return_url": "https://app.example.com/return",
    "callback_url": "https://localhost:19500/ok/wcauth?state=abc",
}


def links(page: str) -> list[str]:
    return [link.replace("&amp;", "&") for link in re.findall(r'href="([^"]*)"', page)]


def grant(web: Web, **changes: str) -> httpx.Response:
    return web.client.get("/shop/wc-auth/v1/authorize", params=GRANT | {"_sandbox": "approve"} | changes)


def test_grants_keys_step_by_step_as_the_real_shop_did(web: Web, receiver: Receiver) -> None:
    recorded = recording("wc_auth_granted")
    steps = [exchange["response"] for exchange in recorded["exchanges"]]
    theirs = [{name.lower(): value for name, value in step["headers"]} for step in steps]

    asked = web.client.get("/shop/wc-auth/v1/authorize", params=GRANT)
    login = web.client.get(asked.headers["location"])
    form = {"username": "admin", "password": MERCHANT_PASSWORD, "login": "Login"}
    logged_in = web.client.post(asked.headers["location"], data=form)
    approve = web.client.get(logged_in.headers["location"])
    granted = web.client.get(next(link for link in links(approve.text) if "access_granted" in link))

    ours = [asked, login, logged_in, approve, granted]
    assert [answer.status_code for answer in ours] == [step["status"] for step in steps]
    for at in (0, 2):
        assert ours[at].headers["location"] == theirs[at]["location"].replace("19443/", "19443/shop/")
        assert ours[at].headers["x-redirect-by"] == theirs[at]["x-redirect-by"]
    assert granted.headers["location"] == theirs[4]["location"]
    assert links(login.text) == steps[1]["html_summary"]["links"]
    assert sorted(re.findall(r'name="([^"]*)"', login.text)) == steps[1]["html_summary"]["form_fields"]
    [callback] = receiver.requests
    [delivery] = recorded["deliveries"]
    compare_delivery(delivery, callback)
    assert differences(json.loads(body_of(delivery)), json.loads(callback.content)) == []
    key = json.loads(callback.content)
    assert web.call("GET", "orders", auth=(key["consumer_key"], key["consumer_secret"])).status_code == 200


@pytest.mark.parametrize("status", [201, 204, 302, 404, 500])
def test_takes_the_key_back_when_the_callback_is_not_answered_200(web: Web, receiver: Receiver, status: int) -> None:
    receiver.answers["/ok/wcauth"] = status
    receiver.answers["/ok/moved"] = 404

    refused = grant(web)

    key = json.loads(receiver.requests[0].content)
    assert refused.status_code == 401
    assert "unable to send the consumer data" in refused.text
    answer = web.call("GET", "orders", auth=(key["consumer_key"], key["consumer_secret"]))
    assert answer.json()["code"] == "woocommerce_rest_cannot_view"


def test_returns_the_merchant_who_approves_or_denies(web: Web, receiver: Receiver) -> None:
    approved, denied = grant(web), grant(web, _sandbox="deny")

    assert approved.headers["location"] == "https://app.example.com/return?success=1&user_id=tenant-42"
    assert denied.headers["location"] == "https://app.example.com/return?success=0&user_id=tenant-42"
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"callback_url": "http://localhost:19500/ok"}, "The callback_url needs to be over SSL"),
        ({"user_id": ""}, "Missing parameter user_id"),
        ({"scope": "all"}, "Invalid scope all"),
    ],
)
def test_refuses_a_grant_that_is_asked_wrongly(web: Web, changes: dict[str, str], reason: str) -> None:
    refused = grant(web, **changes)

    assert (refused.status_code, reason in refused.text) == (401, True)


def test_mangles_what_is_not_url_safe_in_the_user_id_at_once_too(web: Web, receiver: Receiver) -> None:
    grant(web, user_id="a+b/c==")

    assert json.loads(receiver.requests[0].content)["user_id"] == "a b/c"


def test_mangles_what_is_not_url_safe_in_the_user_id(web: Web, receiver: Receiver) -> None:
    asked = web.client.get("/shop/wc-auth/v1/authorize", params=GRANT | {"user_id": "a+b/c=="})
    logged_in = web.client.post(asked.headers["location"], data={"username": "admin", "password": MERCHANT_PASSWORD})
    approve = web.client.get(logged_in.headers["location"])
    web.client.get(next(link for link in links(approve.text) if "access_granted" in link))

    assert json.loads(receiver.requests[0].content)["user_id"] == "a b/c"


def test_grants_nothing_without_the_approve_pages_nonce(web: Web, receiver: Receiver) -> None:
    asked = web.client.get("/shop/wc-auth/v1/authorize", params=GRANT)
    web.client.post(asked.headers["location"], data={"username": "admin", "password": MERCHANT_PASSWORD})

    refused = web.client.get("/shop/wc-auth/v1/access_granted/", params=GRANT)

    assert (refused.status_code, receiver.requests) == (401, [])


# Who may call


def test_lets_credentials_in_the_query_win_over_basic(web: Web) -> None:
    key = dict(zip(("consumer_key", "consumer_secret"), web.key("read"), strict=True))

    assert web.call("GET", "orders", params=key, auth=("ck_x", "cs_x")).status_code == 200
    assert web.call("GET", "orders", params=key | {"consumer_secret": "cs_x"}).status_code == 401


def test_repeats_credentials_of_the_query_in_the_link_header(web: Web) -> None:
    key = dict(zip(("consumer_key", "consumer_secret"), web.key("read"), strict=True))

    answer = web.call("GET", "products", params=key, auth=None)

    assert key["consumer_secret"] in answer.headers["link"]


@pytest.mark.parametrize(("permissions", "method", "word"), [("read", "POST", "write"), ("write", "GET", "read")])
def test_refuses_what_the_key_may_not_before_it_looks_at_parameters(
    web: Web, permissions: str, method: str, word: str
) -> None:
    answer = web.call(method, "orders?per_page=0", {"status": "nonsense"}, auth=web.key(permissions))

    assert answer.status_code == 401
    assert answer.json() == {
        "code": "woocommerce_rest_authentication_error",
        "message": f"The API key provided does not have {word} permissions.",
        "data": {"status": 401},
    }


def test_answers_403_to_a_user_without_rights(web: Web) -> None:
    web.control("PUT", "/rights", may_manage=False)

    answers = [web.call("GET", "orders"), web.call("POST", "orders", {}), web.call("GET", "data/currencies/current")]

    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert answers[0].json()["code"] == "woocommerce_rest_cannot_view"
    assert answers[1].json()["code"] == "woocommerce_rest_cannot_create"


def test_forgets_a_key_at_once_or_after_some_calls(web: Web) -> None:
    web.control("POST", "/revoke", consumer_key=web.auth[0], after_calls=2)

    statuses = [web.call("GET", "orders").status_code for _ in range(4)]

    assert statuses == [200, 200, 401, 401]
    web.control("POST", "/revoke")
    assert web.control("GET", "")["keys"] == {}
    made = web.control("POST", "/keys", permissions="read", may_manage=False)
    assert web.call("GET", "orders", auth=(made["consumer_key"], made["consumer_secret"])).status_code == 403


def test_never_takes_a_key_with_rest_route(web: Web) -> None:
    answer = web.client.get("/shop/?rest_route=/wc/v3/orders", auth=web.auth)

    assert (answer.status_code, answer.json()["code"]) == (401, "woocommerce_rest_cannot_view")


# Lists


def test_gives_only_what_was_modified_strictly_later(web: Web, clock: Clock) -> None:
    first, second = sorted(web.site.shop.orders)[:2]
    clock.set("2026-11-23T10:00:00")
    web.control("PUT", f"/orders/{first}", customer_note="x")
    clock.pass_seconds(1)
    web.control("PUT", f"/orders/{second}", customer_note="x")

    def changed(after: str) -> list[int]:
        orders = web.get("orders", modified_after=after, dates_are_gmt="true", orderby="modified", order="asc")
        return [order["id"] for order in orders]

    assert changed("2026-11-23T09:59:59") == [first, second]
    assert changed("2026-11-23T10:00:00") == [second]
    assert changed("2026-11-23T10:00:01") == []


@pytest.mark.parametrize("path", ["orders", "products"])
@pytest.mark.parametrize(
    ("after", "gmt", "found"),
    [
        ("2026-07-01T09:59:59", "true", True),
        ("2026-07-01T11:59:59", "false", True),
        ("2026-07-01T12:00:00", "false", False),
        ("2026-07-01T09:59:59Z", "false", True),
        # with a zone and dates_are_gmt, two hours of changes are missed in Berlin's summer
        ("2026-07-01T09:59:59Z", "true", False),
        ("2026-07-01T07:59:59Z", "true", True),
        ("2026-07-01T11:59:59+02:00", "true", False),
    ],
)
def test_reads_dates_in_the_sites_time(
    open_shop: Callable[..., Web], clock: Clock, path: str, after: str, gmt: str, found: bool
) -> None:
    clock.set("2026-06-30T00:00:00")
    web = open_shop(products=2, variable=0, orders=2)
    clock.set("2026-07-01T10:00:00")
    changed = min(web.site.shop.orders if path == "orders" else web.site.shop.products)
    web.control("PUT", f"/{path}/{changed}", name="x", customer_note="x")

    listed = web.get(path, modified_after=after, dates_are_gmt=gmt)

    assert [one["id"] for one in listed] == ([changed] if found else [])


def test_lets_gmt_times_jump_that_the_sites_clock_skips(open_shop: Callable[..., Web], clock: Clock) -> None:
    clock.set("2026-03-28T00:00:00")
    web = open_shop(products=0, variable=0, orders=2)
    clock.set("2026-03-29T03:00:00")
    web.control("PUT", f"/orders/{min(web.site.shop.orders)}", customer_note="x")

    assert len(web.get("orders", modified_after="2026-03-29T02:30:00", dates_are_gmt="true")) == 0
    assert len(web.get("orders", modified_after="2026-03-29T01:59:59", dates_are_gmt="true")) == 1


def test_counts_nothing_past_the_last_page_of_orders_but_all_of_products(web: Web) -> None:
    orders, products = (web.call("GET", path, params={"page": 99}) for path in ("orders", "products"))

    assert (orders.text, orders.headers["x-wp-total"], orders.headers["x-wp-totalpages"]) == ("[]", "0", "0")
    assert (products.text, products.headers["x-wp-total"]) == ("[]", "20")


def test_pages_through_a_shared_second_without_gap_or_repetition(web: Web) -> None:
    params = {"orderby": "modified", "order": "asc", "per_page": 7}

    pages = [web.get("orders", page=page, **params) for page in range(1, 6)]

    listed = [order for page in pages for order in page]
    assert sorted(order["id"] for order in listed) == sorted(web.site.shop.orders)
    modified = [order["date_modified_gmt"] for order in listed]
    assert modified == sorted(modified)
    assert len(set(modified)) < len(modified)


def test_finds_by_status_include_offset_search_and_sku(web: Web) -> None:
    orders = web.site.shop.orders
    completed = {order.id for order in orders.values() if order.status == "completed"}
    newest = sorted(orders, key=lambda order_id: (orders[order_id].created, order_id), reverse=True)
    variation = web.site.shop.products[web.get("products", type="variable")[0]["variations"][0]]

    assert {one["id"] for one in web.get("orders", status="completed", per_page=100)} == completed
    assert [one["id"] for one in web.get("orders", include=f"{newest[3]},{newest[1]}")] == [newest[1], newest[3]]
    assert [one["id"] for one in web.get("orders", offset=2, per_page=2)] == newest[2:4]
    assert all("Mühle" in one["name"] for one in web.get("products", search="mühle"))
    assert [one["id"] for one in web.get("products", sku=variation.sku)] == [variation.id]
    assert web.get("orders", _fields="id,billing.email", per_page=1)[0].keys() == {"id", "billing"}


def test_gives_a_variation_among_products_but_changes_it_only_below_its_parent(web: Web) -> None:
    parent = web.get("products", type="variable")[0]
    variation_id = parent["variations"][0]

    assert web.get(f"products/{variation_id}")["type"] == "variation"
    assert len(web.get(f"products/{parent['id']}/variations")) == len(parent["variations"])
    assert web.call("PUT", f"products/{variation_id}", {"name": "x"}).status_code == 404
    assert web.call("PUT", "products/999999", {"name": "x"}).status_code == 400


# Changes and what they set off


def listen(web: Web, receiver: Receiver, *topics: str) -> None:
    for topic in topics:
        web.subscribe(topic)
    receiver.requests.clear()


def delivered(web: Web, receiver: Receiver) -> list[tuple[str, Json]]:
    receiver.requests.clear()
    web.control("POST", "/deliver")
    return [(r.headers["x-wc-webhook-topic"], json.loads(r.content)) for r in receiver.deliveries()]


def stocked(web: Web) -> int:
    return next(p.id for p in web.site.shop.products.values() if p.manage_stock and not p.parent_id)


def test_announces_a_new_order_three_times(web: Web, receiver: Receiver) -> None:
    listen(web, receiver, "order.created", "order.updated", "product.updated")
    product_id = stocked(web)
    stock = web.get(f"products/{product_id}")["stock_quantity"]

    order = web.make("orders", {"status": "processing", "line_items": [{"product_id": product_id, "quantity": 2}]})

    came = delivered(web, receiver)
    assert [(topic, body["id"]) for topic, body in came] == [
        ("product.updated", product_id),
        ("order.created", order["id"]),
        ("order.updated", order["id"]),
    ]
    assert came[0][1]["stock_quantity"] == stock - 2


def test_makes_the_body_when_it_is_sent_and_queues_an_object_once(web: Web, receiver: Receiver) -> None:
    listen(web, receiver, "order.updated")
    order_id = min(web.site.shop.orders)
    for note in ("first", "second"):
        web.call("PUT", f"orders/{order_id}", {"customer_note": note})

    assert [body["customer_note"] for _, body in delivered(web, receiver)] == ["second"]


def test_announces_a_variation_by_its_own_id_and_touches_its_parent(web: Web, receiver: Receiver, clock: Clock) -> None:
    listen(web, receiver, "product.updated")
    parent = web.get("products", type="variable")[0]
    variation_id = parent["variations"][0]
    clock.pass_seconds(60)

    web.call("PUT", f"products/{parent['id']}/variations/{variation_id}", {"regular_price": "9.99"})

    assert [body["id"] for _, body in delivered(web, receiver)] == [variation_id]
    now = clock.moment
    assert web.site.shop.products[parent["id"]].modified == now
    assert web.get(f"products/{parent['id']}")["price"] == "9.99"


def test_trashes_before_it_deletes(web: Web, receiver: Receiver) -> None:
    listen(web, receiver, "order.deleted", "order.restored", "order.updated")
    order = web.get("orders", status="completed")[0]
    path = f"orders/{order['id']}"

    trashed = web.call("DELETE", path)

    assert trashed.json()["status"] == "completed"
    assert delivered(web, receiver) == [("order.deleted", {"id": order["id"]})]
    assert web.get(path)["status"] == "trash"
    assert order["id"] not in {one["id"] for one in web.get("orders", per_page=100)}
    assert [one["id"] for one in web.get("orders", status="trash")] == [order["id"]]
    assert web.call("DELETE", path).status_code == 410
    assert web.call("PUT", path, {"status": "completed"}).json()["status"] == "completed"
    assert delivered(web, receiver) == []
    assert web.call("DELETE", f"{path}?force=true").status_code == 200
    assert (web.call("GET", path).status_code, delivered(web, receiver)) == (404, [])


def test_announces_what_the_merchant_trashes_and_restores(web: Web, receiver: Receiver) -> None:
    listen(web, receiver, "product.deleted", "product.restored")
    product_id = stocked(web)

    web.control("POST", f"/products/{product_id}/trash")
    web.control("POST", f"/products/{product_id}/restore")

    assert [topic for topic, _ in delivered(web, receiver)] == ["product.deleted", "product.restored"]
    assert web.get(f"products/{product_id}")["status"] == "publish"


def test_leaves_the_modified_date_when_a_refund_is_deleted(web: Web, receiver: Receiver, clock: Clock) -> None:
    order = web.get("orders", status="completed")[0]
    refund = web.make(f"orders/{order['id']}/refunds", {"amount": "1.00"})
    before = web.get(f"orders/{order['id']}")
    listen(web, receiver, "order.updated")
    clock.pass_seconds(60)

    web.call("DELETE", f"orders/{order['id']}/refunds/{refund['id']}?force=true")

    after = web.get(f"orders/{order['id']}")
    assert (before["refunds"][0]["total"], after["refunds"]) == ("-1.00", [])
    assert (after["date_modified"], delivered(web, receiver)) == (before["date_modified"], [])


def test_marks_an_order_refunded_in_full(web: Web) -> None:
    order = web.get("orders", status="completed")[0]

    web.make(f"orders/{order['id']}/refunds", {"amount": order["total"]})

    assert web.get(f"orders/{order['id']}")["status"] == "refunded"


def test_takes_stock_once_and_gives_it_back_when_cancelled(web: Web) -> None:
    product_id = stocked(web)
    stock = web.get(f"products/{product_id}")["stock_quantity"]
    order = web.make("orders", {"line_items": [{"product_id": product_id, "quantity": 3}]})

    levels = []
    for status in ("pending", "processing", "completed", "cancelled"):
        web.call("PUT", f"orders/{order['id']}", {"status": status})
        levels.append(web.get(f"products/{product_id}")["stock_quantity"])

    assert levels == [stock, stock - 3, stock - 3, stock]


def test_makes_an_order_of_nothing_and_of_unknown_products(web: Web) -> None:
    nothing = web.make("orders", {})
    unknown = web.make("orders", {"line_items": [{"product_id": 999999, "quantity": 2}]})

    assert (nothing["status"], nothing["total"], nothing["line_items"]) == ("pending", "0.00", [])
    assert unknown["line_items"][0]["product_id"] == 999999


def test_shows_a_status_made_by_a_plugin(web: Web) -> None:
    order_id = min(web.site.shop.orders)

    web.control("PUT", f"/orders/{order_id}", status="awaiting-pickup")

    assert web.get(f"orders/{order_id}")["status"] == "awaiting-pickup"


def test_answers_a_batch_entry_by_entry(web: Web) -> None:
    order_id = min(web.site.shop.orders)

    done = web.call("POST", "orders/batch", {"update": [{"id": order_id, "customer_note": "x"}, {"id": 999999}]})

    good, bad = done.json()["update"]
    assert (done.status_code, good["customer_note"]) == (200, "x")
    assert bad == {
        "id": 999999,
        "error": {"code": "woocommerce_rest_shop_order_invalid_id", "message": "Invalid ID.", "data": {"status": 400}},
    }
    assert web.call("POST", "orders/batch", {"create": [{}] * 101}).status_code == 413


def test_makes_changes_and_deletes_a_variation(web: Web) -> None:
    parent = web.get("products", type="variable")[0]
    path = f"products/{parent['id']}/variations"

    made = web.make(path, {"regular_price": "0.99", "sku": "X", "attributes": [{"name": "Größe", "option": "XXL"}]})

    own = f"{path}/{made['id']}"
    assert web.get(own)["name"] == "XXL"
    assert web.get(f"products/{parent['id']}")["variations"][-1] == made["id"]
    assert web.get(f"products/{parent['id']}")["price"] == "0.99"
    assert web.call("PUT", f"{path}/{parent['id']}", {"sku": "Y"}).status_code == 400
    assert web.call("DELETE", own).status_code == 200
    assert made["id"] not in {one["id"] for one in web.get(path)}
    assert web.call("DELETE", f"{own}?force=true").status_code == 200
    assert web.call("GET", own).status_code == 404


def test_trashes_and_deletes_products_with_their_variations(web: Web) -> None:
    parent = web.get("products", type="variable")[0]

    done = web.call("POST", "products/batch", {"delete": [parent["id"]], "create": [{"name": "Neu"}]}).json()

    assert done["delete"][0]["id"] == parent["id"]
    assert web.call("GET", f"products/{parent['variations'][0]}").status_code == 404
    path = f"products/{done['create'][0]['id']}"
    assert web.call("DELETE", path).json()["status"] == "publish"
    assert (web.get(path)["status"], web.call("DELETE", path).status_code) == ("trash", 410)
    assert [one["id"] for one in web.get("products", status="trash")] == [done["create"][0]["id"]]


def test_lists_the_refunds_of_an_order(web: Web) -> None:
    order = web.get("orders", status="completed")[0]
    path = f"orders/{order['id']}/refunds"

    refund = web.make(path, {"amount": "1.50", "reason": "Bruch"})

    assert web.get(path) == [web.get(f"{path}/{refund['id']}")] == [refund]
    assert web.call("POST", path, {"amount": "0"}).json()["code"] == "woocommerce_rest_invalid_order_refund"
    assert web.call("DELETE", f"{path}/{refund['id']}").status_code == 501
    assert [web.call("GET", other).status_code for other in (f"{path}/1", "orders/1/refunds/1")] == [404, 404]


def test_refuses_broken_json(web: Web) -> None:
    answer = web.client.post(
        "/shop/wp-json/wc/v3/orders", content=b"{", headers={"Content-Type": "application/json"}, auth=web.auth
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "rest_invalid_json")


def test_tells_its_version(web: Web) -> None:
    status = web.get("system_status", _fields="environment,settings")

    assert (status["environment"]["version"], status["settings"]["currency"]) == ("10.5.2", "EUR")


def test_wants_prices_as_text_and_no_sku_twice(web: Web) -> None:
    number = web.call("POST", "products", {"name": "x", "regular_price": 9.99})
    taken = web.call("POST", "products", {"name": "x", "sku": "SIM-0001"})

    assert number.json()["data"]["params"] == {"regular_price": "regular_price is not of type string."}
    assert taken.json()["code"] == "product_invalid_sku"


# Webhooks


@pytest.mark.parametrize(("secret", "signs_as"), [("a&lt;b&quot;&#039;", "a<b\"'"), ("a&euro;b", "a&euro;b")])
def test_decodes_special_characters_in_the_secret_before_it_signs(
    web: Web, receiver: Receiver, secret: str, signs_as: str
) -> None:
    web.subscribe("order.updated", secret=secret)
    web.control("PUT", f"/orders/{min(web.site.shop.orders)}", customer_note="x")
    web.control("POST", "/deliver")

    [request] = receiver.deliveries()

    assert request.headers["x-wc-webhook-signature"] == signature(request.content, signs_as)


def test_shares_a_delivery_id_within_a_second_of_a_webhook(web: Web, receiver: Receiver, clock: Clock) -> None:
    listen(web, receiver, "order.updated")
    for order_id in sorted(web.site.shop.orders)[:3]:
        web.control("PUT", f"/orders/{order_id}", customer_note="x")
    web.control("POST", "/deliver")
    clock.pass_seconds(1)
    web.control("PUT", f"/orders/{order_id}", customer_note="y")
    web.control("POST", "/deliver")

    ids = [request.headers["x-wc-webhook-delivery-id"] for request in receiver.deliveries()]

    assert (len(ids), len(set(ids)), len(set(ids[:3]))) == (4, 2, 1)


def fail_once(web: Web) -> None:
    web.control("PUT", f"/orders/{min(web.site.shop.orders)}", customer_note="x")
    web.control("POST", "/deliver")


def test_disables_a_webhook_at_the_seventh_failure_and_soon_again(web: Web, receiver: Receiver) -> None:
    webhook_id = web.subscribe("order.updated")
    receiver.answers["/ok"] = 500

    def status() -> str:
        return str(web.get(f"webhooks/{webhook_id}")["status"])

    statuses = []
    for _ in range(7):
        fail_once(web)
        statuses.append(status())
    assert statuses == ["active"] * 6 + ["disabled"]

    web.control("PUT", f"/orders/{min(web.site.shop.orders)}", customer_note="lost")
    web.call("PUT", f"webhooks/{webhook_id}", {"status": "active"})
    assert delivered(web, receiver) == []
    fail_once(web)
    assert status() == "disabled"

    web.call("PUT", f"webhooks/{webhook_id}", {"status": "active"})
    receiver.answers["/ok"] = 200
    fail_once(web)
    receiver.answers["/ok"] = 500
    fail_once(web)
    assert status() == "active"


def test_signs_a_refusal_when_the_webhooks_user_lost_his_rights(web: Web, receiver: Receiver) -> None:
    listen(web, receiver, "order.updated")
    web.control("PUT", f"/orders/{min(web.site.shop.orders)}", customer_note="x")
    web.control("PUT", "/rights", may_manage=False)
    web.control("POST", "/deliver")

    [request] = receiver.deliveries()

    assert json.loads(request.content)["code"] == "woocommerce_rest_cannot_view"
    assert request.headers["x-wc-webhook-signature"] == signature(request.content, "geheim")


def test_outlives_the_key_that_made_it(web: Web, receiver: Receiver) -> None:
    listen(web, receiver, "order.updated")
    web.control("POST", "/revoke")
    web.control("PUT", f"/orders/{min(web.site.shop.orders)}", customer_note="x")

    assert len(delivered(web, receiver)) == 1


def test_loses_doubles_and_shuffles_deliveries_on_demand(web: Web, receiver: Receiver) -> None:
    listen(web, receiver, "order.updated")
    orders = sorted(web.site.shop.orders)[:8]

    def change_all() -> None:
        for order_id in orders:
            web.control("PUT", f"/orders/{order_id}", customer_note="x")

    change_all()
    lost = web.control("POST", "/deliver", lose=1.0)["sent"]
    assert ([one["lost"] for one in lost], receiver.deliveries()) == ([True] * 8, [])
    change_all()
    web.control("POST", "/deliver", copies=2, shuffle=True)
    came = [json.loads(request.content)["id"] for request in receiver.deliveries()]
    assert sorted(came) == sorted(orders * 2)
    assert came != sorted(came)


def test_tells_what_was_sent_and_answered(web: Web, receiver: Receiver) -> None:
    receiver.answers["/gone"] = 410
    web.subscribe("order.updated", "/gone")
    web.control("PUT", f"/orders/{min(web.site.shop.orders)}", customer_note="x")

    told = web.control("POST", "/deliver")

    assert [(one["kind"], one["status"]) for one in told["sent"]] == [("delivery", 410), ("ping", 410)]
    assert told["waiting"] == 0
    assert len(web.control("GET", "/deliveries")["sent"]) == 3
    web.control("DELETE", "/deliveries")
    assert web.control("GET", "/deliveries")["sent"] == []


# The sandbox's own ways


def test_seeds_the_same_shop_every_time(open_shop: Callable[..., Web]) -> None:
    sizes = {"products": 60, "variable": 12, "orders": 250}

    texts = [open_shop(seed=seed, **sizes).call("GET", "orders?per_page=100").text for seed in (1, 1, 2)]

    assert texts[0] == texts[1] != texts[2]
    described = open_shop(**sizes).control("GET", "")
    assert {name: described[name] for name in ("products", "variations", "orders")} == {
        "products": 60,
        "variations": 36,
        "orders": 250,
    }


def test_tells_the_truth_as_rest_does(web: Web) -> None:
    truth = web.control("GET", "/truth")

    listed = {order["id"]: order for order in web.get("orders", per_page=100)}
    assert {order["id"]: order["modified_gmt"] for order in truth["orders"]} == {
        order_id: order["date_modified_gmt"] for order_id, order in listed.items()
    }
    assert {order["id"]: order["total"] for order in truth["orders"]} == {
        order_id: order["total"] for order_id, order in listed.items()
    }
    products = {product["id"]: product["price"] for product in web.get("products", per_page=100)}
    assert {one["id"]: one["price"] for one in truth["products"] if not one["parent_id"]} == products
    assert truth["webhooks"] == []


def test_sets_the_shops_clock(web: Web) -> None:
    web.control("PUT", "/clock", offset=-3600)

    answer = web.call("GET", "orders")

    assert parsedate_to_datetime(answer.headers["date"]).timestamp() == RECORDED_AT.timestamp() - 3600


def test_meets_a_fault_as_often_as_ordered_where_ordered(web: Web) -> None:
    web.control("POST", "/faults", kind="status", status=429, retry_after="30", times=2, skip=1, path="/orders")

    answers = [web.call("GET", path) for path in ("orders", "products", "orders", "orders", "orders")]

    assert [answer.status_code for answer in answers] == [200, 200, 429, 429, 200]
    assert answers[2].headers["retry-after"] == "30"
    assert web.control("GET", "/calls")["statuses"] == {"200": 3, "429": 2}
    web.control("POST", "/faults", kind="status", status=500)
    assert {web.call("GET", "orders").status_code for _ in range(3)} == {500}
    web.control("DELETE", "/faults")
    assert web.call("GET", "orders").status_code == 200


def test_acts_as_the_merchant(web: Web) -> None:
    product = web.control("POST", "/products", name="Neu", regular_price="5.00")
    web.control("PUT", f"/products/{product['id']}", price="6.00", manage_stock=True, stock_quantity=4)

    seen = web.get(f"products/{product['id']}")

    assert (seen["price"], seen["stock_quantity"], seen["stock_status"]) == ("6.00", 4, "instock")
    web.control("POST", f"/products/{product['id']}/delete")
    assert web.call("GET", f"products/{product['id']}").status_code == 404
    order_id = web.control("POST", "/orders", line_items=[{"product_id": stocked(web)}])["id"]
    web.control("POST", f"/orders/{order_id}/refund", amount="1")
    web.control("POST", f"/orders/{order_id}/trash")
    assert web.get(f"orders/{order_id}")["status"] == "trash"
    web.control("POST", f"/orders/{order_id}/restore")
    web.control("POST", f"/orders/{order_id}/delete")
    assert web.call("GET", f"orders/{order_id}").status_code == 404
    for path in (f"orders/{order_id}/trash", "products/1/trash", f"products/{stocked(web)}/burn"):
        assert web.client.post(f"{CONTROL}/shop/{path}").status_code == 404


def test_opens_and_closes_shops(web: Web, open_shop: Callable[..., Web]) -> None:
    other = open_shop("other", products=1, variable=0, orders=1, timezone="America/New_York", currency="USD")

    assert web.client.get("/_sandbox").json()["woocommerce"]["shops"] == ["shop", "other"]
    assert other.get("data/currencies/current")["code"] == "USD"
    assert other.call("GET", "orders", auth=web.auth).status_code == 401
    other.control("DELETE", "")
    assert web.client.get("/other/wp-json/").status_code == 404
    assert [web.client.get(path).status_code for path in ("/shop", "/shop/", "/shop/cart")] == [200, 200, 404]


def test_delivers_by_itself_unless_paused(clock: Clock) -> None:
    came = asyncio.Event()

    def receiver(request: httpx.Request) -> httpx.Response:
        if "x-wc-webhook-id" in request.headers:
            came.set()
        return httpx.Response(200)

    async def run() -> list[int]:
        transport = httpx.MockTransport(receiver)
        sandbox = Sandbox(clock=clock, http=lambda: httpx.AsyncClient(transport=transport), deliver_every=0.001)
        sites = [sandbox.woocommerce.open(name, sizes=Sizes(0, 0, 0, 0)) for name in ("paused", "open")]
        sites[0].webhooks.paused = True
        async with sandbox.app.router.lifespan_context(sandbox.app):
            for site in sites:
                wish = {"topic": "order.created", "delivery_url": "https://localhost:19500/ok"}
                await site.webhooks.create(site.shop.admin, wish)
                site.shop.create_order({})
            await asyncio.wait_for(came.wait(), 10)
        return [site.webhooks.waiting for site in sites]

    assert asyncio.run(run()) == [1, 0]


def test_refuses_a_fault_that_does_not_exist(web: Web) -> None:
    for order in ({"kind": "flood"}, {"kind": "reset", "colour": "red"}, {}):
        assert web.client.post(f"{CONTROL}/shop/faults", json=order).status_code == 400
    assert web.client.get(f"{CONTROL}/nowhere").status_code == 404


def test_spoils_answers(web: Web) -> None:
    for kind in ("html", "broken_json", "wrong_content_type", "drop_authorization", "redirect"):
        web.control("POST", "/faults", kind=kind, times=1)

    page, broken, mislabelled, stripped, redirected = (web.call("GET", "orders") for _ in range(5))

    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    with pytest.raises(json.JSONDecodeError):
        broken.json()
    assert (mislabelled.headers["content-type"], len(mislabelled.json())) == ("text/html; charset=UTF-8", 10)
    assert stripped.json()["code"] == "woocommerce_rest_cannot_view"
    assert web.client.get(redirected.headers["location"], auth=web.auth).status_code == 200


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("other_host", "elsewhere.example.com"),
        ("private_address", "169.254.169.254"),
        ("https://a.example/x", "a.example"),
    ],
)
def test_redirects_where_ordered(web: Web, location: str, host: str) -> None:
    web.control("POST", "/faults", kind="redirect", location=location, status=307)

    answer = web.call("GET", "orders")

    assert (answer.status_code, urlsplit(answer.headers["location"]).hostname) == (307, host)


def test_lets_the_query_work_where_the_host_drops_the_header(web: Web) -> None:
    web.control("POST", "/faults", kind="drop_authorization")
    key = dict(zip(("consumer_key", "consumer_secret"), web.key("read"), strict=True))

    assert web.call("GET", "orders").status_code == 401
    assert web.call("GET", "orders", params=key).status_code == 200


def test_stalls_and_resets_in_process_as_on_a_socket(web: Web) -> None:
    web.control("POST", "/faults", kind="hang", times=1)
    web.control("POST", "/faults", kind="reset", times=1)

    with pytest.raises(httpx.ReadTimeout):
        web.call("GET", "orders", timeout=0.05)
    with pytest.raises(httpx.ReadError):
        web.call("GET", "orders")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_writes_any_json_so_that_it_reads_back_and_escapes_what_php_escapes(value: Any) -> None:
    text = php_json(value)

    assert json.loads(text) == value
    assert text.isascii()
    assert re.search(rb"(?<!\\)/", text) is None


# Over TLS


@pytest.fixture
def shop(running: Running) -> Json:
    with caller(running) as client:
        answer = client.post(CONTROL, json={"name": "tls", "products": 20, "variable": 4, "orders": 30})
    described: Json = answer.json()
    return described


def caller(running: Running, **options: Any) -> httpx.Client:
    trust = ssl.create_default_context(cafile=running.ca)
    return httpx.Client(base_url=running.base_url, verify=trust, timeout=options.pop("timeout", 20), **options)


def test_serves_the_client_that_others_wrote(running: Running, shop: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(running.ca))
    key = shop["keys"]["read_write"]
    api = API(shop["url"], key["consumer_key"], key["consumer_secret"], timeout=20)
    url = f"{running.base_url}/receiver"

    made = {
        "orders": api.post("orders", {"status": "processing", "billing": {"first_name": "Änne"}}),
        "products": api.post("products", {"name": "Tasse", "regular_price": "9.90"}),
        "webhooks": api.post("webhooks", {"topic": "order.created", "delivery_url": url}),
    }
    for path, answer in made.items():
        assert answer.status_code == 201, answer.text
        own = f"{path}/{answer.json()['id']}"
        assert api.get(own).json()["id"] == answer.json()["id"]
        assert api.put(own, {"name": "x", "customer_note": "x"}).status_code == 200
        assert api.delete(own, params={"force": True}).status_code == 200
        assert api.get(own).status_code == 404

    assert len(api.get("orders", params={"per_page": 100}).json()) == 30
    in_query = API(shop["url"], key["consumer_key"], key["consumer_secret"], query_string_auth=True, timeout=20)
    assert in_query.get("products").status_code == 200


def test_refuses_the_client_with_a_wrong_key(running: Running, shop: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(running.ca))
    right = shop["keys"]["read_write"]

    unknown = API(shop["url"], "ck_" + "0" * 40, right["consumer_secret"], timeout=20).get("orders")
    wrong = API(shop["url"], right["consumer_key"], "cs_" + "0" * 40, timeout=20).get("orders")
    revoked = API(shop["url"], *list(shop["revoked"].values())[:2], timeout=20).get("orders")

    assert [answer.status_code for answer in (unknown, wrong, revoked)] == [401, 401, 401]
    assert wrong.json()["message"] == "Consumer secret is invalid."


def test_is_not_trusted_without_its_authority(running: Running) -> None:
    with httpx.Client(base_url=running.base_url) as client, pytest.raises(httpx.ConnectError, match="CERTIFICATE"):
        client.get("/_sandbox")


def test_delivers_to_a_receiver_under_the_same_authority(running: Running, shop: Json) -> None:
    key = shop["keys"]["read_write"]
    with caller(running, auth=(key["consumer_key"], key["consumer_secret"])) as client:
        url = f"{running.base_url}/_sandbox/nobody"
        client.post("/tls/wp-json/wc/v3/webhooks", json={"topic": "order.created", "delivery_url": url})
        client.post(f"{CONTROL}/tls/orders", json={})

        sent = client.post(f"{CONTROL}/tls/deliver").json()["sent"]

    assert [(one["kind"], one["status"]) for one in sent] == [("delivery", 404), ("ping", 404)]


@pytest.mark.parametrize("kind", ["hang", "reset"])
def test_gives_no_answer_when_ordered(running: Running, shop: Json, kind: str) -> None:
    with caller(running, timeout=0.2) as client:
        client.post(f"{CONTROL}/tls/faults", json={"kind": kind, "times": 1})

        with pytest.raises((httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.ReadError)):
            client.get("/tls/wp-json/")


def test_loses_only_the_answer_when_ordered(running: Running, shop: Json) -> None:
    key = shop["keys"]["read_write"]
    with caller(running, auth=(key["consumer_key"], key["consumer_secret"])) as client:
        client.post(f"{CONTROL}/tls/faults", json={"kind": "reset", "times": 1, "after_effect": True})
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            client.post("/tls/wp-json/wc/v3/orders", json={})

        assert client.get(f"{CONTROL}/tls").json()["orders"] == 31
        assert client.get(f"{CONTROL}/tls/calls").json()["statuses"] == {"0": 1}


def test_sends_hostile_bodies_when_ordered(running: Running, shop: Json) -> None:
    with caller(running, timeout=0.5) as client:
        for order in ({"kind": "endless"}, {"kind": "gzip_bomb", "size": 8 << 20}, {"kind": "trickle"}):
            client.post(f"{CONTROL}/tls/faults", json={**order, "times": 1})

        with client.stream("GET", "/tls/wp-json/") as endless:
            read = sum(len(chunk) for chunk, _ in zip(endless.iter_raw(), range(500), strict=False))
        with client.stream("GET", "/tls/wp-json/") as bomb:
            packed = b"".join(bomb.iter_raw())
        with client.stream("GET", "/tls/wp-json/") as trickle, pytest.raises(httpx.ReadTimeout):
            trickle.read()

    assert read > 1_000_000
    assert len(packed) < 100_000
    assert len(gzip.decompress(packed)) > 8 << 20


def test_counts_calls_that_are_under_way_together(running: Running, shop: Json) -> None:
    with caller(running) as client:
        client.post(f"{CONTROL}/tls/faults", json={"kind": "delay", "seconds": 0.2, "times": 3})
        with ThreadPoolExecutor(3) as pool:
            statuses = list(pool.map(lambda _: client.get("/tls/wp-json/wc/v3/orders/7").status_code, range(3)))

        calls = client.get(f"{CONTROL}/tls/calls").json()

    assert statuses == [404, 404, 404]
    assert (calls["total"], calls["most_at_once"]) == (3, 3)
    assert calls["routes"] == {"GET /wc/v3/orders/{id}": 3}


def test_starts_and_ends_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "infra.local.sandbox.server", "--ca-dir", str(tmp_path), "--shop", "demo"]
    with subprocess.Popen(  # noqa: S603 -- our own program
        [*command, "--orders", "5"], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout
        line = program.stdout.readline().split()
        trust = ssl.create_default_context(cafile=line[-1])
        described = httpx.get(f"{line[2]}{CONTROL}/demo", verify=trust).json()
        program.send_signal(signal.SIGTERM)
        rest = program.stdout.read()

    assert (line[:2], described["orders"]) == (["sandbox", "ready"], 5)
    assert (program.returncode, rest) == (0, "")
