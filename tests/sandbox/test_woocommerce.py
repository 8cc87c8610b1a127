"""The sandbox's WooCommerce: as the recordings, as the plugin's rules, as other people's client expects."""

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
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from woocommerce import API

from infra.local.sandbox.server import Running
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
        options = {"options": {}} if "options" in setting else {}
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
    theirs = {header.lower(): value for header, value in recorded["headers"]}
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
def test_delivers_what_the_real_shop_delivered(
    twin: Web, receiver: Receiver, name: str, topics: list[str]
) -> None:
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
    compare_delivery(delivery | {"headers": [h for h in delivery["headers"] if h[0] != "User-Agent"]}, agentless(callback))
    assert callback.headers["user-agent"] == f"WordPress/6.9.7; {BASE_URL}/shop"
    assert differences(json.loads(body_of(delivery)), json.loads(callback.content)) == []
    key = json.loads(callback.content)
    assert web.call("GET", "orders", auth=(key["consumer_key"], key["consumer_secret"])).status_code == 200


def agentless(request: httpx.Request) -> httpx.Request:
    copy = httpx.Request(request.method, request.url, headers=request.headers, content=request.content)
    copy.headers["user-agent"] = ""
    del copy.headers["user-agent"]
    return copy
