"""The stand-in for custom stores is what the contract says, until it is told otherwise."""

import asyncio
import base64
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.check_custom import Plain
from infra.local.sandbox.custom import Break, Custom
from infra.local.sandbox.server import InProcess
from shared.platforms.base import Connection, Delivery, Resource, Verdict
from shared.platforms.custom import Custom as Adapter

pytestmark = pytest.mark.enable_socket

Json = dict[str, Any]
CONTRACT: Json = yaml.safe_load((Path(__file__).parents[2] / "docs" / "custom-openapi.yaml").read_text())
NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
HOOK = "https://app.example.com/webhooks/CUSTOM/con_1"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SUBSCRIPTION = {"url": HOOK, "events": ["order.updated", "product.deleted", "connection.revoked"], "mark": "m1"}


class Web:
    """Callers of one shop, and of the control API."""

    def __init__(self, platform: Custom, client: httpx.Client, opened: Json) -> None:
        self.platform = platform
        self.client = client
        self.opened = opened
        self.server = platform.servers[opened["name"]]

    def call(self, method: str, path: str, /, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.opened['key']}"}
        return self.client.request(method, f"{self.opened['url']}{path}", **{"headers": headers, **options})

    def get(self, path: str, **params: Any) -> Json:
        answer = self.call("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def control(self, method: str, path: str, /, **body: Any) -> Json:
        url = f"https://localhost/_sandbox/custom/shops/{self.opened['name']}{path}"
        answer = self.client.request(method, url, json=body or None)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def pages(self, path: str, **params: Any) -> Iterator[Json]:
        cursor: str | None = ""
        while cursor is not None:
            page = self.get(path, **params, **({"cursor": cursor} if cursor else {}))
            cursor = page["next_cursor"]
            yield page


class Receiver:
    """Where webhooks go."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.status = 200

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.status)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def open_shop(receiver: Receiver) -> Iterator[Any]:
    platform = Custom(
        clock=NOW.timestamp, http=lambda: httpx.AsyncClient(transport=httpx.MockTransport(receiver), trust_env=False)
    )
    stop = asyncio.Event()
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

    async def answer(request: Request) -> Response:
        return await platform.answer(request, stop)

    anything = Route("/{path:path}", answer, methods=methods)
    sandbox: Any = SimpleNamespace(app=Starlette(routes=[*platform.routes(), anything]))
    with httpx.Client(transport=InProcess(sandbox)) as client:

        def open_shop(name: str = "demo", **wishes: Any) -> Web:
            answer = client.post("https://localhost/_sandbox/custom/shops", json={"name": name, **wishes})
            assert answer.status_code == 201, answer.text
            return Web(platform, client, answer.json())

        yield open_shop


@pytest.fixture
def web(open_shop: Any) -> Web:
    return open_shop()


def keeps_to(schema: Json, value: Any) -> None:
    OAS31Validator({**schema, "components": CONTRACT["components"]}).validate(value)


def answer_schema(path: str, method: str, status: int) -> Json:
    responses = CONTRACT["paths"][path][method]["responses"]
    found = responses.get(str(status)) or CONTRACT["components"]["responses"]["Error"]
    return found["content"]["application/json"]["schema"]


def test_the_contract_is_valid_openapi() -> None:
    validate(CONTRACT)

    assert CONTRACT["openapi"].startswith("3.1.")


@pytest.mark.parametrize(
    ("path", "of"),
    [
        ("/", "/"),
        ("/products", "/products"),
        ("/orders", "/orders"),
        ("/orders?fields=id,updatedAt", "/orders"),
        ("/products/1001", "/products/{id}"),
        ("/orders/1020", "/orders/{id}"),
        ("/orders/no", "/orders/{id}"),
        ("/orders?limit=0", "/orders"),
        ("/orders?limit=x", "/orders"),
        ("/orders?cursor=no", "/orders"),
        ("/orders?updated_since=yesterday", "/orders"),
        ("/orders?page=2", "/orders"),
        ("/nothing", "/"),
        ("/webhooks", "/webhooks"),
    ],
)
def test_every_answer_fits_the_contract(web: Web, path: str, of: str) -> None:
    answer = web.call("GET", path)

    keeps_to(answer_schema(of, "get", answer.status_code), answer.json())
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["date"] == "Sun, 22 Nov 2026 12:30:00 GMT"


def test_a_record_that_the_contract_does_not_allow_fails_the_schema(web: Web) -> None:
    order = {**web.get("/orders/1020")["data"], "total": 12.5}

    with pytest.raises(Exception, match=r"12\.5 is not of type 'string'"):
        keeps_to(CONTRACT["components"]["schemas"]["Order"], order)


def test_the_key_opens_it_and_no_other_does(web: Web, open_shop: Any) -> None:
    refused = web.call("GET", "/orders", headers={"Authorization": "Bearer wrong"})
    pair = open_shop("pair", pair=True)

    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthorized")
    assert pair.call("GET", "/", headers={}, auth=(pair.opened["key"], pair.opened["secret"])).status_code == 200
    assert pair.call("GET", "/").status_code == 401


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_pages_bring_every_row_once_in_order(web: Web, limit: int) -> None:
    pages = list(web.pages("/orders", limit=limit))

    rows = [row for page in pages for row in page["data"]]
    assert [row["id"] for row in rows] == [row["id"] for row in web.control("GET", "/truth")["orders"]]
    assert len(rows) == 40
    assert all(len(page["data"]) <= limit for page in pages)
    assert any(one["updatedAt"] == other["updatedAt"] for one, other in pairwise(rows))


def test_a_row_that_changes_while_pages_are_read_hides_none(web: Web) -> None:
    first = web.get("/orders", limit=10)
    web.control("PUT", f"/orders/{first['data'][0]['id']}", status="completed")

    cursor, seen = first["next_cursor"], [row["id"] for row in first["data"]]
    while cursor:
        page = web.get("/orders", limit=10, cursor=cursor)
        cursor, seen = page["next_cursor"], seen + [row["id"] for row in page["data"]]

    assert set(seen) == {row["id"] for row in web.control("GET", "/truth")["orders"]}


def test_updated_since_takes_the_moment_in(web: Web) -> None:
    middle = web.control("GET", "/truth")["orders"][20]["updatedAt"]

    rows = web.get("/orders", updated_since=middle)["data"]

    assert min(row["updatedAt"] for row in rows) == middle
    assert 18 <= len(rows) < 40


def test_a_cursor_ends(web: Web) -> None:
    web.control("PUT", "/rules", cursor_life=60)
    cursor = web.get("/orders", limit=1)["next_cursor"]
    web.control("PUT", "/clock", advance=61)

    answer = web.call("GET", "/orders", params={"cursor": cursor})

    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "cursor_expired")


def test_too_many_requests_are_told_how_long_to_wait(web: Web) -> None:
    web.control("PUT", "/rules", requests_per_minute=1)
    web.get("/")
    web.control("PUT", "/clock", advance=20)

    answer = web.call("GET", "/")

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "40")


def put(web: Web, **changes: Any) -> Json:
    wish = {**SUBSCRIPTION, "secret": SECRET, **changes}
    keeps_to(CONTRACT["paths"]["/webhooks"]["put"]["requestBody"]["content"]["application/json"]["schema"], wish)
    answer = web.call("PUT", "/webhooks", json=wish)
    keeps_to(answer_schema("/webhooks", "put", answer.status_code), answer.json())
    return answer.json()


def test_subscriptions_are_kept_by_url_and_never_show_the_secret(web: Web) -> None:
    put(web)
    put(web, mark="m2")

    shown = web.get("/webhooks")

    assert shown == {"data": [{**SUBSCRIPTION, "mark": "m2"}]}
    assert web.call("DELETE", "/webhooks", params={"url": HOOK}).status_code == 204
    assert web.get("/webhooks") == {"data": []}


def test_a_shop_without_webhooks_has_nothing_there(web: Web) -> None:
    web.control("PUT", "/rules", webhooks=False)

    assert web.call("GET", "/webhooks").status_code == 404


def signed(request: httpx.Request, key: bytes) -> str:
    """By the specification's own words."""
    message = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.content
    return "v1," + base64.b64encode(hmac.new(key, message, "sha256").digest()).decode()


def test_changes_are_delivered_signed_as_standard_webhooks_are(web: Web, receiver: Receiver) -> None:
    put(web)
    web.control("PUT", "/orders/1020", status="completed")
    web.control("DELETE", "/products/1001")
    web.control("POST", "/orders")

    web.control("POST", "/deliver")

    bodies = [json.loads(request.content) for request in receiver.requests]
    assert [body["type"] for body in bodies] == ["order.updated", "product.deleted"]
    for request, body in zip(receiver.requests, bodies, strict=True):
        keeps_to(CONTRACT["components"]["schemas"]["Event"], body)
        assert request.headers["webhook-signature"] == signed(
            request, base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        )
    keeps_to(CONTRACT["components"]["schemas"]["Order"], bodies[0]["data"])


def test_the_library_of_standard_webhooks_takes_what_is_delivered(
    web: Web, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Now(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return NOW

    monkeypatch.setattr("standardwebhooks.webhooks.datetime", Now)
    put(web)
    web.control("PUT", "/orders/1020", status="completed")
    web.control("POST", "/deliver")
    (request,) = receiver.requests

    body: Any = Webhook(SECRET).verify(request.content, dict(request.headers))

    assert (body["type"], body["data"]["id"]) == ("order.updated", "1020")
    with pytest.raises(WebhookVerificationError):
        Webhook(f"whsec_{base64.b64encode(b'another' * 4).decode()}").verify(request.content, dict(request.headers))


@given(
    id=st.from_regex(r"msg_[A-Za-z0-9]{1,40}", fullmatch=True),
    text=st.text(st.characters(codec="utf-8"), min_size=1, max_size=200),
    key=st.binary(min_size=24, max_size=64),
    seconds=st.integers(-299, 299),
)
def test_the_adapter_takes_what_the_library_of_standard_webhooks_signs(
    id: str, text: str, key: bytes, seconds: int
) -> None:
    secret, sent = f"whsec_{base64.b64encode(key).decode()}", NOW + timedelta(seconds=seconds)
    headers = {
        "webhook-id": id,
        "webhook-timestamp": str(int(sent.timestamp())),
        "webhook-signature": Webhook(secret).sign(id, sent, text),
    }

    assert Adapter().verify(Delivery(headers, text.encode()), [secret], NOW) is Verdict.GENUINE
    assert Adapter().verify(Delivery(headers, text.encode() + b" "), [secret], NOW) is Verdict.FORGED


def test_a_shop_with_a_key_pair_signs_with_it(open_shop: Any, receiver: Receiver) -> None:
    web = open_shop(signing="ed25519")
    web.call("PUT", "/webhooks", json=SUBSCRIPTION)
    web.control("PUT", "/orders/1020", status="completed")

    web.control("POST", "/deliver")

    request = receiver.requests[0]
    message = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.content
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(web.opened["public_key"].removeprefix("whpk_")))
    version, _, signature = request.headers["webhook-signature"].partition(",")
    assert version == "v1a"
    public.verify(base64.b64decode(signature), message)


@pytest.mark.parametrize("signing", ["hmac", "ed25519"])
def test_the_adapter_subscribes_and_takes_what_comes(open_shop: Any, receiver: Receiver, signing: str) -> None:
    web = open_shop(signing=signing)
    secret = web.opened["public_key"] or SECRET
    store = Connection(web.opened["url"], {"api_key": web.opened["key"]})
    Adapter().reconcile(store, HOOK, secret, Plain(web.client))
    web.control("PUT", "/orders/1020", status="completed")

    web.control("POST", "/deliver")

    (request,) = receiver.requests
    delivery = Delivery(dict(request.headers), request.content)
    assert Adapter().verify(delivery, [secret], NOW) is Verdict.GENUINE
    assert Adapter().parse(delivery)[0].record == Adapter().fetch_one(store, Resource.ORDERS, "1020", Plain(web.client))


def test_a_delivery_is_repeated_with_the_same_id_and_a_new_time(web: Web, receiver: Receiver) -> None:
    put(web)
    receiver.status = 503
    web.control("PUT", "/orders/1020", status="completed")

    for _ in range(12):
        web.control("POST", "/deliver")
        web.control("PUT", "/clock", advance=86_400)

    assert len(receiver.requests) == 11
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert len({request.headers["webhook-timestamp"] for request in receiver.requests}) == 11
    assert web.control("GET", "/deliveries")["sent"][-1]["dropped"]


def test_gone_ends_the_subscription(web: Web, receiver: Receiver) -> None:
    put(web)
    receiver.status = 410
    web.control("PUT", "/orders/1020", status="completed")

    web.control("POST", "/deliver")

    assert web.get("/webhooks") == {"data": []}


def test_a_key_that_was_taken_back_is_announced_and_refused(web: Web, receiver: Receiver) -> None:
    put(web)

    web.control("POST", "/revoke")
    web.control("POST", "/deliver")

    assert json.loads(receiver.requests[0].content)["type"] == "connection.revoked"
    assert web.call("GET", "/").status_code == 401


@pytest.mark.parametrize("broken", list(Break))
def test_a_rule_is_broken_only_when_it_is_asked_for(web: Web, broken: Break) -> None:
    web.control("PUT", "/rules", broken=[broken])
    spoilt = [
        web.call("GET", "/orders", params={"limit": 10, "updated_since": "2026-10-20T00:00:00Z"}),
        web.call("GET", "/orders", params={"limit": 10, "updated_since": "2026-10-20T00:00:00Z", "cursor": "turn-9"}),
        web.call("GET", "/orders", headers={}),
    ]
    web.control("PUT", "/rules", broken=[])
    right = [
        web.call("GET", "/orders", params={"limit": 10, "updated_since": "2026-10-20T00:00:00Z"}),
        web.call("GET", "/orders", params={"limit": 10, "updated_since": "2026-10-20T00:00:00Z", "cursor": "turn-9"}),
        web.call("GET", "/orders", headers={}),
    ]

    def shown(answers: list[httpx.Response]) -> list[Any]:
        return [(answer.status_code, dict(answer.headers), answer.content) for answer in answers]

    assert shown(spoilt) != shown(right)
    for answer in right:
        keeps_to(answer_schema("/orders", "get", answer.status_code), answer.json())


def test_faults_meet_the_calls_that_they_name(web: Web) -> None:
    web.control("POST", "/faults", kind="status", status=503, path="/orders", times=1)

    assert [web.call("GET", path).status_code for path in ("/products", "/orders", "/orders")] == [200, 503, 200]


def test_what_does_not_exist_is_404(web: Web) -> None:
    for path in ("https://other.custom-shop.example/storelink/", "https://demo.custom-shop.example/elsewhere"):
        assert web.client.get(path).status_code == 404
    for method, path in (("GET", "shops/no"), ("PUT", "shops/demo/orders/no"), ("POST", "shops/demo/refunds")):
        answer = web.client.request(method, f"https://localhost/_sandbox/custom/{path}", json={})
        assert answer.status_code == 404, path


def test_an_order_that_makes_no_sense_is_400(web: Web) -> None:
    for body in ({"broken": ["all"]}, {"unknown": 1}, [1]):
        answer = web.client.put("https://localhost/_sandbox/custom/shops/demo/rules", json=body)
        assert answer.status_code == 400, body


def test_the_background_worker_sends_unless_it_is_paused(web: Web, receiver: Receiver) -> None:
    put(web)
    web.control("PUT", "/orders/1020", status="completed")
    web.control("PUT", "/delivery", paused=True)
    asyncio.run(web.platform.deliver())
    before = len(receiver.requests)
    web.control("PUT", "/delivery", paused=False)
    asyncio.run(web.platform.deliver())

    assert (before, len(receiver.requests)) == (0, 1)


def test_the_same_seed_gives_the_same_shop(open_shop: Any) -> None:
    one = open_shop("one", seed=3).get("/orders")
    other = open_shop("one", seed=3).get("/orders")

    assert one == other
    assert timedelta() < NOW - datetime.fromisoformat(one["data"][0]["updatedAt"]) < timedelta(days=91)


def test_counts_calls_and_forgets_them(web: Web) -> None:
    web.get("/orders")
    web.call("GET", "/orders/1")

    counted = web.control("GET", "/calls")
    web.control("DELETE", "/calls")

    assert counted["routes"] == {"GET /orders 200": 1, "GET /orders/{id} 404": 1}
    assert web.control("GET", "/calls")["total"] == 0
    web.control("DELETE", "")
    assert web.client.get("https://localhost/_sandbox/custom").json() == {"shops": []}
