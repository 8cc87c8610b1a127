"""The TikTok Shop stand-in speaks as the platform does; the judge is tiktok_shop_api, made from its documents."""

import asyncio
import base64
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import httpx
import pytest
import tiktok_shop_api.client
from tiktok_shop_api import (
    EVENT_TYPES,
    Signer,
    TikTokShop,
    TikTokShopAuth,
    TikTokShopError,
    UnknownWebhookEvent,
    Webhooks,
    WebhookSignatureError,
)
from tiktok_shop_api.generated import models

from infra.check_custom import Plain
from infra.local.sandbox import tiktok_shop, tiktok_webhooks
from infra.local.sandbox.server import InProcess, Sandbox
from shared.clock import epoch
from shared.platforms.base import App, Connection, PlatformError, Record, Refusal
from shared.platforms.tiktok_shop import TikTokShop as Adapter

Json = dict[str, Any]

API = f"https://{tiktok_shop.API_HOST}"
AUTH = f"https://{tiktok_shop.AUTH_HOST}"
CONTROL = "https://localhost/_sandbox/tiktok_shop"
HOOK = "https://app.example.com/hooks"
SHOPS, ORDERS, ORDER_DETAIL = "/authorization/202309/shops", "/order/202309/orders/search", "/order/202507/orders"
PRODUCTS, WEBHOOKS = "/product/202502/products/search", "/event/202309/webhooks"
VECTORS = json.loads((Path(__file__).parents[3] / "shared" / "vectors" / "tiktok.json").read_text())
SIGNED = [
    vector for vector in VECTORS if vector["other"]["kind"] == "request_sign" and "multipart" not in vector["name"]
]


class Lent(httpx.BaseTransport):
    """The way into the sandbox, for clients that close what they were given."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._inner.handle_request(request)


class Web:
    """Callers of the platform: as an app, as a seller's browser, and of the control API."""

    def __init__(self, sandbox: Sandbox, transport: httpx.BaseTransport, clock: Callable[[], float]) -> None:
        self.platform = sandbox.tiktok_shop
        self.transport = Lent(transport)
        self.client = httpx.Client(transport=self.transport)
        self.clock = clock
        self.token = self.cipher = ""

    def control(self, method: str, path: str, /, **body: Any) -> Json:
        """One call of the control API, which must succeed."""
        answer = self.client.request(method, f"{CONTROL}{path}", content=json.dumps(body) if body else b"")
        assert answer.status_code < 300, answer.text
        said: Json = answer.json()
        return said

    def authorize(self, seller: str = "demo", **query: str) -> httpx.URL:
        """The seller clicks Authorize: where the browser is sent."""
        form = {"service_id": tiktok_shop.SERVICE_ID, "seller": seller, "decision": "authorize"} | query
        answer = self.client.post("https://services.us.tiktokshop.com/open/authorize", data=form)
        return httpx.URL(answer.headers["location"])

    def tokens(self, kind: str, **query: str) -> Json:
        """A call for tokens, whole envelope."""
        app = {"app_key": tiktok_shop.APP_KEY, "app_secret": tiktok_shop.APP_SECRET}
        grant_type = "authorized_code" if kind == "get" else "refresh_token"
        params = {**app, "grant_type": grant_type, **query}
        answer = self.client.get(f"{AUTH}/api/v2/token/{kind}", params=params)
        assert answer.status_code == 200
        said: Json = answer.json()
        return said

    def connect(self, seller: str = "demo") -> Json:
        """The whole way to tokens; the client then acts for the seller's first shop."""
        pair: Json = self.tokens("get", auth_code=self.authorize(seller).params["code"])["data"]
        self.token = pair["access_token"]
        self.cipher = self.platform.sellers[seller].shops[0].cipher
        return pair

    def refresh(self, token: str) -> Json:
        """New tokens, whole envelope."""
        return self.tokens("refresh", refresh_token=token)

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
        """A call signed by the package's signer; a query value of None leaves the parameter out."""
        text = b"" if body is None else json.dumps(body).encode()
        given = {"app_key": tiktok_shop.APP_KEY, "timestamp": int(self.clock()), **self._cipher(path)} | query
        pairs: Any = [(name, str(value)) for name, value in given.items() if value is not None]
        secret = tiktok_shop.APP_SECRET
        if "sign" not in given:
            right = Signer.sign(
                path=path, query=pairs, content_type="application/json", body=text or None, app_secret=secret
            )
            pairs.append(("sign", right))
        headers = {"x-tts-access-token": self.token, "content-type": "application/json"}
        return self.client.request(method, f"{API}{path}", params=pairs, content=text, headers=headers)

    def get(self, method: str, path: str, body: Any = None, **query: Any) -> Json:
        """What a call gives, which must succeed."""
        answer = self.call(method, path, body, **query)
        assert (answer.status_code, answer.json()["code"]) == (200, 0), answer.text
        data: Json = answer.json()["data"]
        return data

    def refused(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, int]:
        """HTTP status and code of a call."""
        answer = self.call(method, path, body, **query)
        assert answer.json()["data"] is None
        return answer.status_code, answer.json()["code"]

    def pages(self, path: str, body: Any = None, **query: Any) -> Iterator[Json]:
        """All pages of a search."""
        token: str | None = None
        while token != "":
            page = self.get("POST", path, body, page_token=token, **query)
            token = page["next_page_token"]
            yield page

    def judge(self, *, cipher: bool = True) -> Any:
        """The package's client; what it gives is optional at every step, so its types are let go."""
        return TikTokShop(
            tiktok_shop.APP_KEY,
            tiktok_shop.APP_SECRET,
            access_token=self.token,
            shop_cipher=self.cipher if cipher else None,
            transport=self.transport,
        )

    def judge_auth(self) -> TikTokShopAuth:
        """The package's OAuth calls."""
        return TikTokShopAuth(
            tiktok_shop.APP_KEY, tiktok_shop.APP_SECRET, tiktok_shop.SERVICE_ID, transport=self.transport
        )

    def subscribe(self, *event_types: str, seller: str = "demo") -> None:
        """An address for each event type, with a path of its own."""
        for event_type in event_types:
            self.get("PUT", WEBHOOKS, {"event_type": event_type, "address": f"{HOOK}/{event_type}"})

    def any_order(self, status: str, *, units: int = 1) -> Json:
        """An order that the shop has."""
        orders = self.control("GET", "/shops/demo/truth")["orders"]
        found: Json = next(order for order in orders if order["status"] == status and order["units"] >= units)
        return found

    def _cipher(self, path: str) -> Json:
        return {} if path == SHOPS else {"shop_cipher": self.cipher}


@pytest.fixture
def web(clock: Any, receiver: Any) -> Iterator[Web]:
    """A platform with one seller, connected."""
    sandbox = Sandbox(clock=clock, http=lambda: httpx.AsyncClient(transport=httpx.MockTransport(receiver)))
    with InProcess(sandbox) as transport:
        web = Web(sandbox, transport, clock)
        web.control("POST", "/sellers", name="demo", products=45, orders=130)
        web.connect()
        yield web


@pytest.fixture
def judged(web: Web, clock: Any, monkeypatch: pytest.MonkeyPatch) -> Web:
    """The package's client lives in the sandbox's time."""
    monkeypatch.setattr(tiktok_shop_api.client, "time", SimpleNamespace(time=clock))
    return web


def undocumented(model: Any, path: str = "") -> list[str]:
    """What the package's model does not know of what was answered, and values of other types than it says."""
    found = [f"{path}.{name}" for name in getattr(model, "additional_properties", {})]
    for attribute in attrs.fields(type(model)):
        value = getattr(model, attribute.name)
        if attribute.name == "additional_properties" or type(value).__name__ == "Unset":
            continue
        here = f"{path}.{attribute.name}"
        for one in value if isinstance(value, list) else [value]:
            if attrs.has(type(one)):
                found += undocumented(one, here)
            elif type(one).__name__ not in str(attribute.type) and f"Literal[{one}]" not in str(attribute.type):
                found.append(f"{here} is {type(one).__name__}, not {attribute.type}")
    return found


# Signatures


@pytest.mark.parametrize("vector", SIGNED, ids=lambda vector: vector["name"])
def test_signs_requests_as_others_do(vector: Json) -> None:
    other = vector["other"]

    signature = tiktok_shop.sign(
        vector["secret"], other["path"], list(other["query"].items()), base64.b64decode(vector["body_base64"])
    )

    assert (signature == other["expected_sign"]) is vector["valid"]


def test_signs_webhooks_as_the_documents_example() -> None:
    body = (
        b'{"type":1,"tts_notification_id":"7380066284010030890","shop_id":"7495540735365777507","timestamp":1718305585,'
        b'"data":{"is_on_hold_order":true,"order_id":"576653688135258178","order_status":"UNPAID",'
        b'"update_time":1718305585}}'
    )

    signature = tiktok_shop.sign_webhook("abcdef", "123", body)

    assert signature == "5dec0f11ec2f6783b8deee53c9ffbf8d024302f7c7e7fa55a35d17629031ac05"


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"app_key": "other"}, (400, 36009004)),
        ({"timestamp": None}, (400, 36009004)),
        ({"timestamp": "-5"}, (400, 36009004)),
        ({"timestamp": "soon"}, (400, 36009004)),
        ({"sign": None}, (400, 36009004)),
        ({"sign": "0" * 64}, (401, 106001)),
        ({"sign": "ü"}, (401, 106001)),
        ({"sign": ""}, (401, 106001)),
        ({"shop_cipher": None}, (400, 106013)),
        ({"shop_cipher": "TTP_elsewhere"}, (400, 101000)),
    ],
)
def test_refuses_a_call_with_one_wrong_part(web: Web, change: Json, refusal: tuple[int, int]) -> None:
    assert web.refused("GET", ORDER_DETAIL, ids="1", **change) == refusal


@pytest.mark.parametrize(("age", "code"), [(300, 0), (301, 36009004), (-30, 0), (-31, 36009004)])
def test_takes_timestamps_of_five_minutes_ago_to_half_a_minute_ahead(web: Web, age: int, code: int) -> None:
    answer = web.call("GET", SHOPS, timestamp=int(web.clock()) - age)

    assert answer.json()["code"] == code


def test_refuses_a_signature_over_another_body_path_or_query(web: Web) -> None:
    url = web.call("POST", ORDERS, {"order_status": "UNPAID"}, page_size=10).request.url
    headers = {"x-tts-access-token": web.token, "content-type": "application/json"}
    told = b'{"order_status": "UNPAID"}'

    right = web.client.post(url, content=told, headers=headers)
    other_body = web.client.post(url, content=b'{"order_status":"UNPAID"}', headers=headers)
    other_path = web.client.post(url.copy_with(path=PRODUCTS), content=told, headers=headers)
    other_query = web.client.post(url.copy_merge_params({"page_size": "20"}), content=told, headers=headers)

    assert right.json()["code"] == 0
    assert [answer.json()["code"] for answer in (other_body, other_path, other_query)] == [106001] * 3


def test_refuses_a_cipher_where_none_belongs(web: Web) -> None:
    assert web.refused("GET", SHOPS, shop_cipher=web.cipher) == (400, 36009004)


def test_refuses_a_cipher_of_another_seller(web: Web) -> None:
    other = web.control("POST", "/sellers", name="other", orders=1)

    assert web.refused("GET", ORDER_DETAIL, ids="1", shop_cipher=other["shops"][0]["cipher"]) == (400, 101000)


def test_looks_at_the_path_first_and_at_the_key_before_the_signature(web: Web) -> None:
    assert web.refused("GET", "/order/202309/nothing", app_key="x", sign="x") == (404, 36009009)
    assert web.refused("GET", ORDERS, app_key="x", sign="x") == (405, 36009010)
    assert web.refused("POST", ORDERS, app_key="x", sign="x") == (400, 36009004)


def test_refuses_tokens_that_are_unknown_expired_or_without_the_scope(web: Web, clock: Any) -> None:
    web.control("PUT", "/sellers/demo/scopes", scopes=["seller.authorization.info"])
    assert web.refused("GET", ORDER_DETAIL, ids="1") == (403, 105005)
    clock.pass_seconds(7 * 86_400)
    assert web.refused("GET", SHOPS) == (401, 105002)
    web.token = "TTP_unknown"
    assert web.refused("GET", SHOPS) == (400, 36009004)


def test_sends_errors_with_200_when_told(web: Web) -> None:
    web.control("PUT", "/settings", errors_as_200=True)

    assert web.refused("GET", "/order/202309/nothing") == (200, 36009009)


# Consent


def test_shows_a_page_with_the_sellers_and_a_relative_form(web: Web) -> None:
    web.control("POST", "/sellers", name="other & <co>", regions=["GB", "DE"], orders=0)
    query = {"service_id": tiktok_shop.SERVICE_ID, "state": '"><script>'}

    page = web.client.get("https://localhost/at/services.tiktokshop.com/open/authorize", params=query)

    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert 'method="post" action="authorize"' in page.text
    assert 'value="demo" checked' in page.text
    assert "other &amp; &lt;co&gt; (GB, DE)" in page.text
    assert "<script>" not in page.text


@pytest.mark.parametrize("base", ["https://services.tiktokshop.com", "https://localhost/at/services.us.tiktokshop.com"])
def test_returns_the_seller_with_a_code_and_the_state(web: Web, base: str) -> None:
    form = {"service_id": tiktok_shop.SERVICE_ID, "seller": "demo", "decision": "authorize", "state": "a b&c=d"}

    answer = web.client.post(f"{base}/open/authorize", data=form)

    location = httpx.URL(answer.headers["location"])
    assert answer.status_code == 302
    assert str(location.copy_with(query=None)) == tiktok_shop.RETURN_ADDRESS
    assert dict(location.params) == {
        "app_key": tiktok_shop.APP_KEY,
        "code": location.params["code"],
        "locale": "en",
        "shop_region": "US",
        "state": "a b&c=d",
    }


def test_returns_a_seller_who_denies_with_the_code_null(web: Web) -> None:
    location = web.authorize(decision="deny", state="s")

    assert dict(location.params) == {"code": "null", "error": "auth_denied", "state": "s"}


def test_decides_at_once_when_told_and_returns_where_told(web: Web) -> None:
    web.control("PUT", "/settings", approve="demo", return_address="https://app.example.com/back?x=1")
    url = web.judge_auth().authorization_url(type="seller", region="row", state="s")
    approved = web.client.get(url)
    web.control("PUT", "/settings", approve=None, deny=True)
    denied = web.client.get(url)

    assert approved.headers["location"].startswith("https://app.example.com/back?x=1&app_key=")
    assert denied.headers["location"] == "https://app.example.com/back?x=1&code=null&error=auth_denied&state=s"


@pytest.mark.parametrize("service_id", ["", "7000000000000000002"])
def test_knows_no_other_service(web: Web, service_id: str) -> None:
    page = web.client.get("https://services.tiktokshop.com/open/authorize", params={"service_id": service_id})

    assert page.status_code == 400


# Tokens


def test_gives_the_package_tokens_with_absolute_ends(web: Web, clock: Any) -> None:
    tokens = web.judge_auth().exchange_code(web.authorize().params["code"])
    clock.pass_seconds(1_000)
    renewed = web.judge_auth().refresh(tokens.refresh_token)

    now = int(clock())
    assert tokens.access_token_expire_in == now - 1_000 + 7 * 86_400
    assert renewed.access_token_expire_in == now + 7 * 86_400
    assert tokens.refresh_token_expire_in == renewed.refresh_token_expire_in == now - 1_000 + 365 * 86_400
    assert (tokens.seller_name, tokens.seller_base_region, tokens.user_type) == ("demo", "US", 0)
    assert tokens.granted_scopes == list(web.platform.grants.scopes)
    assert renewed.refresh_token != tokens.refresh_token


def test_takes_a_code_once_and_for_half_an_hour(web: Web, clock: Any) -> None:
    used, late, right = (web.authorize().params["code"] for _ in range(3))
    assert [web.tokens("get", auth_code=used)["code"] for _ in range(2)] == [0, 36004004]
    clock.pass_seconds(1_799)
    assert web.tokens("get", auth_code=right)["code"] == 0
    clock.pass_seconds(1)

    assert [web.tokens("get", auth_code=code)["code"] for code in (late, "null", "")] == [36004004] * 3


@pytest.mark.parametrize("wrong", [{"app_key": "x"}, {"app_secret": "ü"}, {"grant_type": "authorization_code"}])
def test_refuses_a_wrong_app_or_grant_with_200_and_a_code(web: Web, wrong: dict[str, str]) -> None:
    code = web.authorize().params["code"]

    refused = web.tokens("get", auth_code=code, **wrong)

    assert (refused["code"], refused["data"]) == (36009004, None)
    assert web.tokens("get", auth_code=code)["code"] == 0


def test_knows_no_token_call_but_get(web: Web) -> None:
    answer = web.client.post(f"{AUTH}/api/v2/token/get")

    assert (answer.status_code, answer.text) == (404, "404 page not found")


def test_ends_the_grant_when_a_used_refresh_token_comes_again(web: Web) -> None:
    pair = web.connect()
    renewed = web.refresh(pair["refresh_token"])["data"]

    assert web.refresh(pair["refresh_token"])["code"] == 36004005
    assert web.refresh(renewed["refresh_token"])["code"] == 36004005
    assert web.refused("GET", SHOPS) == (401, 105001)


def test_lets_the_used_refresh_token_be_tried_again_until_its_replacement_is_used(web: Web) -> None:
    web.control("PUT", "/settings", rotation="retryable")
    first = web.connect()["refresh_token"]
    second = web.refresh(first)["data"]["refresh_token"]
    again = web.refresh(first)["data"]["refresh_token"]
    third = web.refresh(second)["data"]["refresh_token"]

    assert len({first, second, third}) == 3
    assert again == second
    assert web.refresh(first)["code"] == 36004005
    assert web.refresh(third)["code"] == 36004005


def test_keeps_the_refresh_token_where_nothing_rotates(web: Web) -> None:
    web.control("PUT", "/settings", rotation="none")
    pair = web.connect()

    renewed = [web.refresh(pair["refresh_token"])["data"] for _ in range(3)]

    assert {one["refresh_token"] for one in renewed} == {pair["refresh_token"]}
    assert len({one["access_token"] for one in renewed}) == 3


def test_ends_all_tokens_with_the_consent(web: Web) -> None:
    web.control("PUT", "/settings", authorization_life=3 * 86_400)
    pair = web.connect()
    assert pair["access_token_expire_in"] == pair["refresh_token_expire_in"] == int(web.clock()) + 3 * 86_400

    web.control("PUT", "/clock", advance=3 * 86_400)

    assert web.refresh(pair["refresh_token"])["code"] == 36004001


def test_gives_the_grant_the_scopes_of_its_time(web: Web) -> None:
    web.control("PUT", "/settings", scopes=["seller.order.info"])

    assert web.connect()["granted_scopes"] == ["seller.order.info"]
    assert web.refused("GET", SHOPS) == (403, 105005)


def test_revokes_without_telling(web: Web) -> None:
    pair = web.connect()
    web.subscribe("SELLER_DEAUTHORIZATION")

    web.control("POST", "/sellers/demo/revoke")

    assert web.refresh(pair["refresh_token"])["code"] == 36004005
    assert web.refused("GET", SHOPS) == (401, 105001)
    assert web.control("GET", "/shops/demo/deliveries")["waiting"] == []


# What the package reads


def test_tells_the_package_all_shops_of_the_seller(judged: Web) -> None:
    judged.control("POST", "/sellers", name="many", regions=["US", "GB", "ID"], orders=0)
    judged.connect("many")

    shops = judged.judge(cipher=False).authorization.get_authorized_shops()

    assert [(shop.name, shop.region, shop.seller_type) for shop in shops.data.shops] == [
        ("many", "US", "LOCAL"),
        ("many-2", "GB", "LOCAL"),
        ("many-3", "ID", "LOCAL"),
    ]
    assert len({shop.cipher for shop in shops.data.shops}) == len({shop.id for shop in shops.data.shops}) == 3
    assert undocumented(shops) == []


def test_answers_the_package_with_what_its_models_know(judged: Web) -> None:
    client, settled = judged.judge(), judged.any_order("COMPLETED")["id"]
    judged.subscribe("ORDER_STATUS_CHANGE")

    orders = client.orders.get_order_list(page_size=100)
    products = client.products.search_products(page_size=100)
    answers = [
        orders,
        products,
        client.orders.get_order_detail(ids=[order.id for order in orders.data.orders[:50]]),
        client.products.get_product(product_id=products.data.products[3].id),
        client.finance.get_transactions_by_order(order_id=settled),
        client.event.get_shop_webhooks(),
    ]

    assert [undocumented(answer) for answer in answers] == [[]] * len(answers)


def test_lets_the_package_change_webhooks(judged: Web) -> None:
    event, client = judged.judge().event, judged.judge()
    kind = models.UpdateShopWebhookRequestEventType.ORDER_STATUS_CHANGE
    for path in ("one", "two"):
        event.update_shop_webhook(body=models.UpdateShopWebhookRequest(address=f"{HOOK}/{path}", event_type=kind))
    (listed,) = client.event.get_shop_webhooks().data.webhooks
    gone = models.DeleteWebhookForAnEventRequestEventType.ORDER_STATUS_CHANGE
    for _ in range(2):
        event.delete_webhook_for_an_event(body=models.DeleteWebhookForAnEventRequest(event_type=gone))

    assert (listed.event_type, listed.address) == ("ORDER_STATUS_CHANGE", f"{HOOK}/two")
    assert client.event.get_shop_webhooks().data.webhooks == []


def test_raises_in_the_package_what_is_refused(judged: Web) -> None:
    with pytest.raises(TikTokShopError) as refused:
        judged.judge().products.get_product(product_id="1")

    assert (refused.value.code, refused.value.http_status) == (12019150, 200)
    assert re.fullmatch(r"20261122121330[0-9A-F]{20}", refused.value.request_id)


# Products


def test_has_products_of_all_statuses_and_filters_by_them(web: Web) -> None:
    every = web.get("POST", PRODUCTS, {"status": "ALL"}, page_size=100)["products"]
    counts = Counter(product["status"] for product in every)

    assert len(every) == 45
    assert set(counts) == {member.value for member in models.SearchProductsRequestStatus} - {"ALL"}
    for status, count in counts.items():
        found = web.get("POST", PRODUCTS, {"status": status}, page_size=100)
        assert ({product["status"] for product in found["products"]}, found["total_count"]) == ({status}, count)


def test_shows_images_only_in_the_detail(web: Web) -> None:
    brief = web.get("POST", PRODUCTS, page_size=1)["products"][0]
    detail = web.get("GET", f"/product/202309/products/{brief['id']}")

    assert "main_images" not in brief
    assert detail["main_images"][0]["urls"][0].startswith("https://")
    assert detail["skus"][0]["sales_attributes"] or len(detail["skus"]) == 1
    assert detail["update_time"] == brief["update_time"]


def test_finds_products_by_the_time_of_change_both_ends_included(web: Web, clock: Any) -> None:
    changed = web.get("POST", PRODUCTS, page_size=1)["products"][0]["id"]
    clock.pass_seconds(60)
    now = int(clock())
    web.control("PUT", f"/shops/demo/products/{changed}", price=1234)

    def found(**window: int) -> list[str]:
        return [one["id"] for one in web.get("POST", PRODUCTS, window, page_size=10)["products"]]

    assert found(update_time_ge=now) == found(update_time_ge=now, update_time_le=now) == [changed]
    assert found(update_time_ge=now + 1) == []
    assert web.get("GET", f"/product/202309/products/{changed}")["skus"][0]["price"]["tax_exclusive_price"] == "12.34"


def test_pages_products_by_offset(web: Web) -> None:
    pages = list(web.pages(PRODUCTS, page_size=20))

    assert [len(page["products"]) for page in pages] == [20, 20, 5]
    assert {page["total_count"] for page in pages} == {45}
    assert len({product["id"] for page in pages for product in page["products"]}) == 45
    assert base64.b64decode(pages[0]["next_page_token"]) == b"offset=20\n"


def test_ends_a_search_for_products_at_ten_thousand(web: Web) -> None:
    far = base64.b64encode(b"offset=9950\n").decode()

    assert web.refused("POST", PRODUCTS, page_size=100, page_token=far) == (200, 12052180)


def test_names_a_display_price_outside_the_us_and_no_cents_of_rupiah(web: Web) -> None:
    at_home = web.get("POST", PRODUCTS, page_size=1)["products"][0]["skus"][0]["price"]
    web.control("POST", "/sellers", name="far", regions=["ID"], orders=3)
    web.connect("far")

    price = web.get("POST", PRODUCTS, page_size=1)["products"][0]["skus"][0]["price"]
    order = web.get("POST", ORDERS, page_size=1)["orders"][0]

    assert at_home.keys() == {"currency", "tax_exclusive_price"}
    assert (price["currency"], price["sale_price"]) == ("IDR", price["tax_exclusive_price"])
    assert price["sale_price"].isdecimal()
    assert order["payment"]["total_amount"].isdecimal()


# Orders


def test_has_orders_of_all_statuses_with_one_to_eight_units_and_equal_ones(web: Web) -> None:
    truth = web.control("GET", "/shops/demo/truth", only="orders")["orders"]

    statuses = {member.value for member in models.GetOrderListRequestOrderStatus}
    assert {order["status"] for order in truth} == statuses
    assert {1, 8} <= {order["units"] for order in truth} <= set(range(1, 9))
    assert any(quantity > 1 for order in truth for quantity in order["skus"].values())
    assert any(len(order["skus"]) > 1 for order in truth)
    assert any(0 < order["cancelled_units"] < order["units"] for order in truth)
    assert all(order["units"] == order["cancelled_units"] for order in truth if order["status"] == "CANCELLED")


def test_lists_a_unit_a_line_without_a_quantity(web: Web) -> None:
    truth = web.any_order("COMPLETED", units=3)

    (order,) = web.get("GET", ORDER_DETAIL, ids=truth["id"])["orders"]

    assert Counter(line["sku_id"] for line in order["line_items"]) == truth["skus"]
    assert len({line["id"] for line in order["line_items"]}) == truth["units"]
    assert not any("quantity" in line for line in order["line_items"])


def test_adds_an_order_up(web: Web) -> None:
    for order in web.get("POST", ORDERS, page_size=100)["orders"]:
        payment = {name: round(float(amount) * 100) for name, amount in order["payment"].items() if name != "currency"}
        lines = sum(round(float(line["sale_price"]) * 100) for line in order["line_items"])
        assert payment["sub_total"] == lines
        assert payment["total_amount"] == lines + payment["shipping_fee"] + payment["tax"]


def test_writes_text_as_utf8(web: Web) -> None:
    answer = web.call("POST", ORDERS, page_size=100)

    assert "謝謝" in answer.content.decode()
    assert "قميص".encode() in web.call("POST", PRODUCTS, page_size=100).content


def test_keeps_a_lone_surrogate_an_escape(web: Web) -> None:
    order = web.control("POST", "/shops/demo/orders", message="x\ud800y")

    answer = web.call("GET", ORDER_DETAIL, ids=order["id"])

    assert rb"x\ud800y" in answer.content


@pytest.mark.parametrize(("sort_field", "key"), [("create_time", "create_time"), ("update_time", "update_time")])
@pytest.mark.parametrize("sort_order", ["ASC", "DESC"])
def test_pages_through_all_orders_in_the_order_asked_for(web: Web, sort_field: str, key: str, sort_order: str) -> None:
    pages = list(web.pages(ORDERS, page_size=50, sort_field=sort_field, sort_order=sort_order))

    orders = [order for page in pages for order in page["orders"]]
    times = [order[key] for order in orders]
    assert [len(page["orders"]) for page in pages] == [50, 50, 30]
    assert times == sorted(times, reverse=sort_order == "DESC")
    assert len({order["id"] for order in orders}) == 130
    assert {page["total_count"] for page in pages} == {130}


def test_shows_our_adapter_the_newest_orders_first(web: Web) -> None:
    placed = web.control("POST", "/shops/demo/orders")["id"]

    found = newest(web)

    created = sorted(each["create_time"] for page in web.pages(ORDERS, page_size=100) for each in page["orders"])
    assert found[0].id == placed
    assert [epoch(each.created_at) for each in found if each.created_at] == created[:-101:-1]


def test_an_order_that_our_adapter_cannot_read_is_left_out_of_the_newest(web: Web) -> None:
    last, *others = newest(web)
    spoilt = httpx.MockTransport(lambda request: without_payment(web.client.send(request), last.id))

    assert newest(web, httpx.Client(transport=spoilt)) == others


def without_payment(answer: httpx.Response, id: str) -> httpx.Response:
    content = answer.json()
    for each in content["data"]["orders"]:
        if each["id"] == id:
            del each["payment"]
    return httpx.Response(answer.status_code, json=content)


@pytest.mark.parametrize("how", ["status", "code", "bare"])
def test_throttled_our_adapter_says_when_to_ask_for_the_newest_again(web: Web, clock: Any, how: str) -> None:
    web.control("PUT", "/settings", requests_per_second=1, retry_after="1", throttle_as=how)
    newest(web)

    with pytest.raises(PlatformError) as throttled:
        newest(web)

    told = throttled.value
    assert told.refusal is Refusal.RATE_LIMITED
    assert told.retry_at == datetime.fromtimestamp(clock() + 1, UTC)
    clock.pass_seconds(1)
    assert newest(web)


@pytest.mark.parametrize(
    ("fault", "refusal"),
    [
        ({"kind": "status", "status": 503}, Refusal.TRANSIENT),
        ({"kind": "html"}, Refusal.NOT_THE_PLATFORM),
        ({"kind": "broken_json"}, Refusal.NOT_THE_PLATFORM),
        ({"kind": "reset"}, Refusal.UNREACHABLE),
    ],
)
def test_our_adapter_tells_faults_in_the_search_for_the_newest_apart(web: Web, fault: Json, refusal: Refusal) -> None:
    web.control("POST", "/shops/demo/faults", **fault, times=1)

    with pytest.raises(PlatformError) as broken:
        newest(web)

    assert broken.value.refusal is refusal
    assert newest(web)


def newest(web: Web, client: httpx.Client | None = None) -> Sequence[Record]:
    credentials = {"access_token": web.token, "refresh_token": "r", "shop_cipher": web.cipher}
    app = App(tiktok_shop.APP_KEY, tiktok_shop.APP_SECRET)
    now = datetime.fromtimestamp(web.clock(), UTC)
    return Adapter().newest_orders(Connection("", credentials, app=app), Plain(client or web.client), now)


def test_has_different_orders_changed_in_the_same_second(web: Web) -> None:
    orders = web.control("GET", "/shops/demo/truth")["orders"]

    assert max(Counter(order["modified_gmt"] for order in orders).values()) > 1


def test_makes_page_tokens_that_must_be_encoded(web: Web) -> None:
    token = web.get("POST", ORDERS, page_size=50)["next_page_token"]

    assert token.startswith("+/+/")


def test_shows_an_order_that_changes_while_one_pages_as_it_is_by_then(web: Web, clock: Any) -> None:
    asked = {"page_size": 100, "sort_field": "update_time", "sort_order": "ASC"}
    window = {"update_time_ge": 0, "update_time_lt": int(clock())}
    first = web.get("POST", ORDERS, window, **asked)
    last = max(web.control("GET", "/shops/demo/truth")["orders"], key=lambda order: order["modified_gmt"])["id"]
    clock.pass_seconds(60)
    web.control("POST", f"/shops/demo/orders/{last}/note")

    second = web.get("POST", ORDERS, window, page_token=first["next_page_token"], **asked)

    times = {order["id"]: order["update_time"] for order in second["orders"]}
    assert times[last] == int(clock()) > window["update_time_lt"]


def test_finds_orders_from_a_time_to_before_another_and_not_this_second(web: Web, clock: Any) -> None:
    order = web.control("POST", "/shops/demo/orders")["id"]
    now = int(clock())

    def found(field: str, **window: int) -> bool:
        body = {f"{field}_time_{bound}": moment for bound, moment in window.items()}
        return order in [one["id"] for one in web.get("POST", ORDERS, body, page_size=100)["orders"]]

    for field in ("create", "update"):
        assert found(field, ge=now, lt=now + 1)
        assert not found(field, ge=now - 9, lt=now)
        assert not found(field, ge=now)
    clock.pass_seconds(1)
    assert found("update", ge=now)
    assert not found("update", ge=now + 1)


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ({}, None),
        ({"page_size": 0}, None),
        ({"page_size": 101}, None),
        ({"page_size": "many"}, None),
        ({"page_size": 10, "sort_field": "id"}, None),
        ({"page_size": 10, "sort_order": "asc"}, None),
        ({"page_size": 10, "page_token": "b2Zmc2V0PTAK"}, None),
        ({"page_size": 10}, {"update_time_ge": "1795349610"}),
        ({"page_size": 10}, {"update_time_ge": True}),
        ({"page_size": 10}, {"order_status": "SHIPPED"}),
        ({"page_size": 10}, []),
    ],
)
def test_refuses_a_search_that_is_asked_wrongly(web: Web, query: Json, body: Any) -> None:
    assert web.refused("POST", ORDERS, body, **query) == (400, 36009004)


def test_takes_a_page_token_only_with_the_filters_that_it_was_given_for(web: Web) -> None:
    token = web.get("POST", ORDERS, {"update_time_ge": 1}, page_size=50)["next_page_token"]

    assert web.refused("POST", ORDERS, {"update_time_ge": 2}, page_size=50, page_token=token) == (400, 36009004)


def test_gives_up_to_fifty_orders_by_id_and_leaves_out_those_of_others(web: Web) -> None:
    ids = [order["id"] for order in web.control("GET", "/shops/demo/truth")["orders"]]

    assert len(web.get("GET", ORDER_DETAIL, ids=",".join(ids[:50]))["orders"]) == 50
    assert [one["id"] for one in web.get("GET", ORDER_DETAIL, ids=f"1,{ids[0]},{ids[0]}")["orders"]] == [ids[0]]
    assert web.refused("GET", ORDER_DETAIL, ids=",".join(ids[:51])) == (400, 36009004)
    assert web.refused("GET", ORDER_DETAIL) == (400, 36009004)


def test_has_a_statement_only_of_settled_orders(web: Web) -> None:
    def statement(order: str) -> Json:
        return web.get("GET", f"/finance/202501/orders/{order}/statement_transactions")

    settled = statement(web.any_order("COMPLETED")["id"])
    amounts = {name: round(float(settled[f"{name}_amount"]) * 100) for name in ("revenue", "fee_and_tax", "settlement")}
    shipping = round(float(settled["shipping_cost_amount"]) * 100)

    assert amounts["settlement"] == amounts["revenue"] - shipping - amounts["fee_and_tax"]
    assert statement(web.any_order("DELIVERED")["id"])["sku_transactions"] == []
    assert web.refused("GET", "/finance/202501/orders/1/statement_transactions") == (200, 21008111)


def test_opens_a_shop_with_many_orders_at_once(web: Web) -> None:
    start = time.perf_counter()
    web.control("POST", "/shops", name="large", regions=["GB"], orders=20_000)
    web.connect("large")
    page = web.get("POST", ORDERS, page_size=100)

    assert page["total_count"] == 20_000
    assert time.perf_counter() - start < 5


def test_seeds_the_same_shop_from_the_same_seed(web: Web) -> None:
    def truth(seed: int) -> Json:
        web.control("POST", "/sellers", name="again", seed=seed, orders=20, products=5)
        return web.control("GET", "/shops/again/truth")

    assert truth(1) == truth(1) != truth(2)


# Throttling, faults, the log of calls


def test_throttles_by_grant_and_shop_until_a_second_has_passed(web: Web, clock: Any) -> None:
    web.control("PUT", "/settings", requests_per_second=2, retry_after="1")
    answers = [web.call("GET", WEBHOOKS) for _ in range(3)]
    elsewhere = web.call("GET", SHOPS)
    clock.pass_seconds(1)

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert (answers[2].json()["code"], answers[2].headers["retry-after"]) == (36009002, "1")
    assert elsewhere.status_code == web.call("GET", WEBHOOKS).status_code == 200


@pytest.mark.parametrize(("how", "status", "json_body"), [("code", 200, True), ("bare", 429, False)])
def test_throttles_in_the_other_ways_too(web: Web, how: str, status: int, *, json_body: bool) -> None:
    web.control("PUT", "/settings", requests_per_second=1, throttle_as=how)
    web.call("GET", SHOPS)

    refused = web.call("GET", SHOPS)

    assert refused.status_code == status
    assert ("36009002" in refused.text) is json_body


def test_meets_a_shops_faults_with_its_cipher_only(web: Web) -> None:
    web.control("POST", "/shops/demo/faults", kind="status", status=503, times=1)

    assert web.call("GET", SHOPS).status_code == 200
    assert [web.call("GET", WEBHOOKS).status_code for _ in range(2)] == [503, 200]


def test_loses_the_answer_of_a_refresh_that_took_effect(web: Web) -> None:
    pair = web.connect()
    web.control("POST", "/faults", kind="reset", after_effect=True, path="/token/refresh", times=1)

    with pytest.raises(httpx.ReadError):
        web.refresh(pair["refresh_token"])

    assert web.refresh(pair["refresh_token"])["code"] == 36004005


def test_breaks_json_and_sends_html_when_told(web: Web) -> None:
    for kind in ("broken_json", "html"):
        web.control("POST", "/shops/demo/faults", kind=kind, times=1)
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            web.call("GET", WEBHOOKS).json()


def test_logs_calls_without_anything_secret(web: Web) -> None:
    web.control("DELETE", "/calls")
    pair = web.connect()
    web.refresh(pair["refresh_token"])
    web.get("POST", ORDERS, page_size=10, sort_order="ASC")
    web.refused("GET", SHOPS, app_key="x")
    text = json.dumps(calls := web.control("GET", "/calls"))

    secrets = [*pair.values(), web.cipher, tiktok_shop.APP_SECRET]
    assert not [one for one in secrets if isinstance(one, str) and len(one) > 20 and one in text]
    assert "auth_code" not in text
    assert "sign" not in text
    assert calls["routes"] == {
        "POST /open/authorize": 1,
        "GET /api/v2/token/get": 1,
        "GET /api/v2/token/refresh": 1,
        f"POST {ORDERS}": 1,
        f"GET {SHOPS}": 1,
    }
    assert calls["codes"] == {"302/": 1, "200/0": 3, "400/36009004": 1}
    assert calls["last"][3]["query"] == {"timestamp": str(int(web.clock())), "page_size": "10", "sort_order": "ASC"}
    assert (calls["last"][3]["shop"], calls["total"], calls["most_at_once"]) == ("demo", 5, 1)


# Webhooks


def read(request: httpx.Request) -> Any:
    """What the package's verifier makes of a delivery."""
    return Webhooks.verify_and_parse(
        app_key=tiktok_shop.APP_KEY,
        app_secret=tiktok_shop.APP_SECRET,
        raw_body=request.content,
        signature=request.headers["authorization"],
    )


def test_numbers_event_types_as_the_package_does() -> None:
    ours = {number: name for name, number in tiktok_webhooks.EVENT_TYPES.items()}

    assert {number: EVENT_TYPES.get(number) for number in ours} == ours


def test_sends_what_the_package_verifies_and_reads(web: Web, receiver: Any) -> None:
    web.subscribe(*tiktok_webhooks.EVENT_TYPES)
    order, product = (
        web.any_order("AWAITING_SHIPMENT", units=2)["id"],
        next(iter(web.platform.accounts["demo"].shop.products)),
    )
    acts: list[tuple[str, str, Json]] = [
        ("POST", "/shops/demo/orders", {"status": "ON_HOLD"}),
        ("PUT", f"/shops/demo/orders/{order}", {"status": "AWAITING_COLLECTION"}),
        ("POST", f"/shops/demo/orders/{order}/change_address", {}),
        ("POST", f"/shops/demo/orders/{order}/split_package", {}),
        ("POST", f"/shops/demo/orders/{order}/request_cancellation", {}),
        ("POST", f"/shops/demo/orders/{order}/cancel", {}),
        ("POST", "/shops/demo/products", {"title": "Neu ✨"}),
        ("PUT", f"/shops/demo/products/{product}", {"title": "Anders"}),
        ("PUT", f"/shops/demo/products/{product}", {"status": "SELLER_DEACTIVATED"}),
        ("POST", "/sellers/demo/announce_expiry", {}),
        ("POST", "/sellers/demo/deauthorize", {}),
    ]
    for method, path, body in acts:
        web.control(method, path, **body)

    web.control("POST", "/shops/demo/deliver")

    events = [read(request) for request in receiver.requests]
    kinds = [EVENT_TYPES[event.type_] for event in events]
    assert kinds == [
        "ORDER_STATUS_CHANGE",
        "ORDER_STATUS_CHANGE",
        "RECIPIENT_ADDRESS_UPDATE",
        "PACKAGE_UPDATE",
        "CANCELLATION_STATUS_CHANGE",
        "ORDER_STATUS_CHANGE",
        "CANCELLATION_STATUS_CHANGE",
        "PRODUCT_CREATION",
        "PRODUCT_INFORMATION_CHANGE",
        "PRODUCT_STATUS_CHANGE",
        "PRODUCT_AUDIT_STATUS_CHANGE",
        "UPCOMING_AUTHORIZATION_EXPIRATION",
        "SELLER_DEAUTHORIZATION",
    ]
    assert [request.url.path for request in receiver.requests] == [f"/hooks/{kind}" for kind in kinds]
    assert {event.shop_id for event in events} == {web.platform.accounts["demo"].shop.id}
    assert not any(isinstance(event, UnknownWebhookEvent) for event in events)
    # Its model of type 3 has no notification id, as older examples have none.
    assert {found for event in events for found in undocumented(event)} == {".tts_notification_id"}
    assert [event.type_ for event in events if undocumented(event)] == [3]
    assert len({event.tts_notification_id for event in events if event.type_ != 3}) == 12
    assert [event.data.order_status for event in events if event.type_ == 1] == [
        "ON_HOLD",
        "AWAITING_COLLECTION",
        "CANCEL",
    ]


def test_is_refused_by_the_package_when_a_byte_is_changed(web: Web, receiver: Any) -> None:
    web.subscribe("ORDER_STATUS_CHANGE")
    web.control("POST", "/shops/demo/orders")
    web.control("POST", "/shops/demo/deliver")
    (sent,) = receiver.requests
    changed = httpx.Request("POST", sent.url, headers=sent.headers, content=sent.content + b" ")

    with pytest.raises(WebhookSignatureError):
        read(changed)


def test_tells_no_new_price_and_nobody_without_an_address(web: Web) -> None:
    web.subscribe("PRODUCT_INFORMATION_CHANGE")
    product = next(iter(web.platform.accounts["demo"].shop.products))
    web.control("PUT", f"/shops/demo/products/{product}", price=999)
    web.control("POST", "/shops/demo/orders")

    assert web.control("GET", "/shops/demo/deliveries") == {"sent": [], "waiting": []}


def test_tries_again_at_the_documented_distances_and_then_drops(web: Web, receiver: Any, clock: Any) -> None:
    web.subscribe("ORDER_STATUS_CHANGE")
    web.control("POST", "/shops/demo/orders")
    receiver.answers["/hooks/ORDER_STATUS_CHANGE"] = 500
    start, seen = clock.moment, []
    while True:
        web.control("POST", "/shops/demo/deliver")
        seen.append(clock.moment - start)
        waiting = web.control("GET", "/shops/demo/deliveries")["waiting"]
        if not waiting:
            break
        clock.pass_seconds(waiting[0]["due"] - int(clock()) - 1)
        assert web.control("POST", "/shops/demo/deliver")["sent"] == []
        clock.pass_seconds(1)

    sent = web.control("GET", "/shops/demo/deliveries")["sent"]
    assert seen == [0, 120, 1_920, 12_720, 55_920]
    assert [one["attempt"] for one in sent] == [1, 2, 3, 4, 5]
    assert [one["dropped"] for one in sent] == [False] * 4 + [True]
    assert len({request.content for request in receiver.requests}) == 1


@pytest.mark.parametrize("answer", [201, 204, 302, 401, 404, httpx.ConnectError("refused")])
def test_takes_nothing_but_200_for_received(web: Web, receiver: Any, answer: Any) -> None:
    web.subscribe("ORDER_STATUS_CHANGE")
    web.control("POST", "/shops/demo/orders")
    receiver.answers["/hooks/ORDER_STATUS_CHANGE"] = answer

    (sent,) = web.control("POST", "/shops/demo/deliver")["sent"]

    assert sent["status"] == (answer if isinstance(answer, int) else None)
    assert [one["attempt"] for one in web.control("GET", "/shops/demo/deliveries")["waiting"]] == [2]
    assert len(receiver.requests) == 1


def test_repeats_and_loses_deliveries_when_told(web: Web, receiver: Any) -> None:
    web.subscribe("ORDER_STATUS_CHANGE")
    web.control("POST", "/shops/demo/orders")
    web.control("POST", "/shops/demo/deliver", copies=3, shuffle=True)
    assert len(receiver.requests) == 3
    web.control("POST", "/shops/demo/orders")
    web.control("POST", "/shops/demo/deliver", lose=1)

    assert len(receiver.requests) == 3
    assert web.control("GET", "/shops/demo/deliveries")["waiting"] == []


def test_uses_the_apps_own_address_where_the_shop_has_none(web: Web, receiver: Any) -> None:
    web.control("PUT", "/settings", webhooks={"ORDER_STATUS_CHANGE": f"{HOOK}/app"})
    web.control("POST", "/shops/demo/orders")
    web.subscribe("ORDER_STATUS_CHANGE")
    web.control("POST", "/shops/demo/orders")
    web.control("POST", "/shops/demo/deliver")

    assert [request.url.path for request in receiver.requests] == ["/hooks/app", "/hooks/ORDER_STATUS_CHANGE"]


@pytest.mark.parametrize("address", ["http://app.example.com/x", "app.example.com", "https://", 5, None])
def test_refuses_an_address_that_is_not_https(web: Web, address: Any) -> None:
    body = {"event_type": "ORDER_STATUS_CHANGE", "address": address}

    assert web.refused("PUT", WEBHOOKS, body) == (400, 36009004)


def test_refuses_an_event_type_that_there_is_not(web: Web) -> None:
    assert web.refused("PUT", WEBHOOKS, {"event_type": "ORDER", "address": HOOK}) == (400, 36009004)
    assert web.refused("DELETE", WEBHOOKS, {}) == (400, 36009004)


def test_keeps_webhooks_of_shops_apart(web: Web) -> None:
    web.control("POST", "/sellers", name="two", regions=["US", "GB"], orders=0)
    web.connect("two")
    web.subscribe("ORDER_STATUS_CHANGE")

    assert len(web.control("GET", "/shops/two/webhooks")["webhooks"]) == 1
    assert web.control("GET", "/shops/two-2/webhooks")["webhooks"] == []


def test_leaves_a_paused_shop_alone(web: Web, receiver: Any) -> None:
    web.subscribe("ORDER_STATUS_CHANGE")
    web.control("POST", "/shops/demo/orders")
    web.control("PUT", "/shops/demo/delivery", paused=True)
    asyncio.run(web.platform.deliver())
    assert receiver.requests == []
    web.control("PUT", "/shops/demo/delivery", paused=False)
    asyncio.run(web.platform.deliver())

    assert len(receiver.requests) == 1


def test_warns_once_a_day_in_the_last_thirty_days_of_a_consent(web: Web, receiver: Any) -> None:
    web.subscribe("UPCOMING_AUTHORIZATION_EXPIRATION")
    told = []
    for days in (334, 1, 0, 1):
        web.control("PUT", "/clock", advance=days * 86_400)
        asyncio.run(web.platform.deliver())
        told.append(len(receiver.requests))
    web.connect()
    web.control("PUT", "/clock", advance=86_400)
    asyncio.run(web.platform.deliver())

    assert told == [0, 1, 1, 2]
    assert len(receiver.requests) == 2
    ends = int(web.clock()) + 365 * 86_400
    assert json.loads(receiver.requests[0].content)["data"]["expiration_time"] == str(ends)


def test_ends_the_tokens_of_a_seller_who_removes_the_app_and_tells(web: Web, receiver: Any) -> None:
    pair = web.connect()
    web.subscribe("SELLER_DEAUTHORIZATION")

    assert web.control("POST", "/sellers/demo/deauthorize") == {"ended": 2}

    assert web.refused("GET", SHOPS) == (401, 105001)
    assert web.refresh(pair["refresh_token"])["code"] == 36004005
    web.control("POST", "/shops/demo/deliver")
    assert read(receiver.requests[0]).type_ == 6
    web.connect()
    assert web.get("GET", SHOPS)["shops"]


# The seller and the buyers


def test_cancels_units_and_with_the_last_of_them_the_order(web: Web) -> None:
    sku = web.get("POST", PRODUCTS, page_size=1)["products"][0]["skus"][0]["id"]
    order = web.control("POST", "/shops/demo/orders", lines=[{"sku_id": sku, "quantity": 3}])
    some = web.control("POST", f"/shops/demo/orders/{order['id']}/cancel_units", count=1)
    detail = web.get("GET", ORDER_DETAIL, ids=order["id"])["orders"][0]
    rest = web.control("POST", f"/shops/demo/orders/{order['id']}/cancel_units", count=2)

    assert (order["skus"], order["units"]) == ({sku: 3}, 3)
    assert (some["status"], some["cancelled_units"]) == ("AWAITING_SHIPMENT", 1)
    assert [line["display_status"] for line in detail["line_items"]] == ["AWAITING_SHIPMENT"] * 2 + ["CANCELLED"]
    assert (rest["status"], rest["cancelled_units"]) == ("CANCELLED", 3)


def test_dates_an_orders_steps(web: Web, clock: Any) -> None:
    order = web.control("POST", "/shops/demo/orders", status="UNPAID")["id"]
    moments = {"create_time": int(clock())}
    steps = {"paid_time": "AWAITING_SHIPMENT", "rts_time": "AWAITING_COLLECTION", "delivery_time": "DELIVERED"}
    for name, status in steps.items():
        clock.pass_seconds(60)
        web.control("PUT", f"/shops/demo/orders/{order}", status=status)
        moments[name] = int(clock())

    (detail,) = web.get("GET", ORDER_DETAIL, ids=order)["orders"]

    assert {name: detail[name] for name in moments} == moments
    assert detail["update_time"] == moments["delivery_time"]


def test_tells_the_truth_as_the_api_does(web: Web) -> None:
    truth = web.control("GET", "/shops/demo/truth")
    orders = [order for page in web.pages(ORDERS, page_size=100) for order in page["orders"]]
    products = web.get("POST", PRODUCTS, page_size=100)["products"]

    def gmt(moment: int) -> str:
        return datetime.fromtimestamp(moment, UTC).isoformat()[:19]

    assert {order["id"]: (order["status"], order["modified_gmt"], order["total"]) for order in truth["orders"]} == {
        order["id"]: (order["status"], gmt(order["update_time"]), order["payment"]["total_amount"]) for order in orders
    }
    assert {product["id"]: product["modified_gmt"] for product in truth["products"]} == {
        product["id"]: gmt(product["update_time"]) for product in products
    }


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/shops/nobody/truth", None, 404),
        ("POST", "/sellers/nobody/deauthorize", None, 404),
        ("PUT", "/shops/demo/orders/1", {"status": "COMPLETED"}, 404),
        ("POST", "/sellers", {"name": "x", "regions": ["XX"]}, 400),
        ("POST", "/sellers", {"name": "x", "products": 0}, 400),
        ("POST", "/sellers", {"name": "x", "colour": "red"}, 400),
        ("PUT", "/settings", {"rotation": "sometimes"}, 400),
        ("PUT", "/settings", {"approve": "nobody"}, 400),
        ("PUT", "/settings", {"pace": 1}, 400),
        ("POST", "/faults", {"kind": "flood"}, 400),
        ("POST", "/shops/demo/orders", {"lines": [{"sku_id": "1"}]}, 400),
        ("POST", "/shops/demo/orders", {"status": "LOST"}, 400),
    ],
)
def test_says_what_is_wrong_with_an_order(web: Web, method: str, path: str, body: Any, status: int) -> None:
    answer = web.client.request(method, f"{CONTROL}{path}", json=body)

    assert answer.status_code == status
    assert answer.json()["error"]
