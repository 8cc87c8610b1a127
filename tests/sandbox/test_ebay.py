"""The eBay stand-in speaks as eBay does; the judges are eBay's OpenAPI documents, and ebay_rest, which others wrote."""

import base64
import io
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import ebay_rest
import httpx
import pytest
import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from ebay_rest import digital_signatures
from ebay_rest.multiton import Multiton

from infra.local.sandbox import ebay as sandbox_ebay
from infra.local.sandbox.ebay_notifications import REPEATED_AFTER
from infra.local.sandbox.server import APPS, InProcess, Sandbox
from shared.platforms import ebay
from shared.platforms.base import (
    Answer,
    App,
    Connection,
    Delivery,
    Event,
    Page,
    PlatformError,
    PrivacyKind,
    Refusal,
    Resource,
    Subscribed,
    Verdict,
)
from shared.platforms.ebay import Ebay
from tests.platforms.ebay_contracts import Asked, check_answer, check_request

Json = dict[str, Any]

API, IDENTITY = "https://api.ebay.com", "https://apiz.ebay.com"
ORDERS, ITEMS = f"{API}/sell/fulfillment/v1/order", f"{API}/sell/inventory/v1/inventory_item"
OFFERS, USER = f"{API}/sell/inventory/v1/offer", f"{IDENTITY}/commerce/identity/v1/user/"
NOTIFICATIONS = f"{API}/commerce/notification/v1"
PRIVILEGE = f"{API}/sell/account/v1/privilege"
CONTROL = "https://localhost/_sandbox/ebay"
APP_URL = "https://app.example.com/webhooks/EBAY"
REGISTERED = dict(APPS["EBAY"])
APP = App(REGISTERED.pop("clientId"), REGISTERED.pop("clientSecret"), more=REGISTERED)
ADAPTER = Ebay()
DAY = 86_400


class Receiver:
    """Our endpoint: answers the challenge as the adapter does, remembers what came, and answers it as told."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.status: int | Exception = 204
        self.knows_the_token = True

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            endpoint = str(request.url.copy_with(query=None))
            app = APP if self.knows_the_token else APP._replace(more={"verification_token": "x" * 40})
            return httpx.Response(200, json=ADAPTER.answer_challenge(app, dict(request.url.params), endpoint))
        self.deliveries.append(Delivery(dict(request.headers), request.read()))
        if isinstance(self.status, Exception):
            raise self.status
        return httpx.Response(self.status)


class Port:
    """The adapter's way to the stand-in, which holds both to eBay's contracts."""

    def __init__(self, client: httpx.Client) -> None:
        self.asked: list[Asked] = []
        self.spoilt = False
        """Whether answers are not eBay's, on purpose."""
        self._client = client

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
        asked = Asked(method, url, dict(params or {}), dict(headers or {}), json, content, basic, repeatable)
        self.asked.append(asked)
        auth = httpx.BasicAuth(*basic) if basic else None
        sent = self._client.request(method, url, params=params, headers=headers, json=json, content=content, auth=auth)
        answer = Answer(sent.status_code, {name.lower(): value for name, value in sent.headers.items()}, sent.content)
        if asked.path != "/identity/v1/oauth2/token" and not self.spoilt:
            token = asked.headers["authorization"].removeprefix("Bearer ")
            check_request(asked, by_app="#a^1#app" in token)
            check_answer(asked, answer)
        return answer


class Web:
    """Callers of the platform: the adapter, a plain client with a token, and the control API."""

    def __init__(self, sandbox: Sandbox, client: httpx.Client, clock: Any, receiver: Receiver) -> None:
        self.platform = sandbox.ebay
        self.client = client
        self.clock = clock
        self.receiver = receiver
        self.port = Port(client)
        self.store = Connection("", {}, app=APP)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    def control(self, method: str, path: str, /, **body: Any) -> Json:
        """One call of the control API, which must succeed."""
        answer = self.client.request(method, f"{CONTROL}{path}", json=body or None)
        assert answer.status_code < 300, answer.text
        said: Json = answer.json()
        return said

    def consent(self, app: App = APP, **changes: str) -> httpx.Response:
        """What the seller's browser gets from the address that the adapter sends it to."""
        url = ADAPTER.authorization_url(app, "", state="s&=ü", return_url="", challenge="")
        return self.client.get(httpx.URL(url).copy_merge_params(changes))

    def connect(self, name: str = "demo") -> Connection:
        """The whole way to tokens, as the adapter goes it."""
        self.control("PUT", "/settings", approve=name)
        came_back = httpx.URL(self.consent().headers["location"])
        callback = ADAPTER.read_callback(APP, came_back.params.multi_items(), self.now)
        assert callback.state == "s&=ü"
        tokens = ADAPTER.exchange(APP, "", callback.code, return_url="", verifier="", http=self.port, now=self.now)
        assert tokens.refresh_token
        secrets = {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token}
        self.store = Connection("", secrets, self.platform.sellers[name].user_id, app=APP)
        return self.store

    def get(self, url: str, **query: Any) -> httpx.Response:
        """A GET with the seller's token."""
        headers = {"authorization": f"Bearer {self.store.credentials['access_token']}"}
        return self.client.get(url, params=query, headers=headers)

    def tokens(self, *, secret: str = APP.client_secret, **form: str) -> httpx.Response:
        """A call to the token endpoint."""
        return self.client.post(f"{API}/identity/v1/oauth2/token", data=form, auth=(APP.client_id, secret))

    def cycle(self, resource: Resource, cursor: Json | None = None) -> tuple[list[Page], Json]:
        """All pages of a cycle, and where the next starts."""
        pages: list[Page] = []
        while not pages or not pages[-1].done:
            pages.append(ADAPTER.fetch(self.store, resource, cursor, self.port, self.now))
            assert pages[-1].partial is None
            cursor = pages[-1].cursor
        return pages, pages[-1].cursor

    def deliver(self, **weather: Any) -> list[Json]:
        """Sends what is due; what became of it."""
        sent: list[Json] = self.control("POST", "/deliver", **weather)["sent"]
        return sent

    def subscribe(self) -> None:
        """All that the adapter wants."""
        ADAPTER.reconcile_app(APP, APP_URL, self.port, self.now)
        ADAPTER.reconcile(self.store, f"{APP_URL}/con_1", "", self.port)


def refusal(call: Callable[[], object]) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        call()
    return caught.value


def records(pages: list[Page]) -> dict[str, Json]:
    return {record.id: record.body for page in pages for record in page.records}


def error_of(answer: httpx.Response) -> tuple[int, int]:
    return answer.status_code, answer.json()["errors"][0]["errorId"]


@pytest.fixture(autouse=True)
def _no_token_of_the_app() -> None:
    ebay.forget_app_tokens()


@pytest.fixture
def web(clock: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A platform with one seller, connected; the adapter's own look at the clock is at the platform's."""
    monkeypatch.setattr("shared.clock.now", lambda: datetime.fromtimestamp(clock(), UTC))
    receiver = Receiver()
    sandbox = Sandbox(clock=clock, http=lambda: httpx.AsyncClient(transport=httpx.MockTransport(receiver)))
    with httpx.Client(transport=InProcess(sandbox)) as client:
        web = Web(sandbox, client, clock, receiver)
        web.control("POST", "/sellers", name="demo", products=60, orders=60)
        web.connect()
        web.control("PUT", "/settings", approve=None)
        yield web


# The adapter connects


def test_the_adapter_connects_through_the_consent_screen(web: Web) -> None:
    seller = web.platform.sellers["demo"]

    identity = ADAPTER.stores_of(web.store._replace(store_id=""), web.port)[0]

    assert identity == ADAPTER.probe(web.store, web.port)
    assert (identity.store_id, identity.store_name, identity.currency) == (seller.user_id, "demo", "USD")
    assert identity.domain == "https://www.ebay.com/usr/demo"


def test_tokens_live_as_documented_and_the_refresh_token_stays(web: Web) -> None:
    renewed = ADAPTER.refresh(web.store, web.port, web.now)

    assert renewed.refresh_token is None
    assert renewed.expires_at == web.now + timedelta(seconds=7_200)
    assert web.platform.grants[0].ends == int(web.clock()) + 47_304_000
    assert ADAPTER.probe(web.store, web.port) == ADAPTER.probe(
        web.store._replace(credentials={"access_token": renewed.access_token}), web.port
    )


def test_an_access_token_ends_after_two_hours_and_the_grant_after_18_months(web: Web) -> None:
    web.clock.pass_seconds(7_200)
    assert refusal(lambda: ADAPTER.probe(web.store, web.port)).refusal is Refusal.CREDENTIALS
    assert ADAPTER.refresh(web.store, web.port, web.now)

    web.clock.pass_seconds(47_304_000)
    assert refusal(lambda: ADAPTER.refresh(web.store, web.port, web.now)).refusal is Refusal.CREDENTIALS


def test_a_grant_that_the_seller_ended_is_dead_for_calls_and_for_refreshes(web: Web) -> None:
    assert web.control("POST", "/sellers/demo/revoke", quiet=True) == {"ended": 1}

    assert refusal(lambda: ADAPTER.probe(web.store, web.port)).refusal is Refusal.CREDENTIALS
    assert refusal(lambda: ADAPTER.refresh(web.store, web.port, web.now)).refusal is Refusal.CREDENTIALS
    assert not web.receiver.deliveries


def test_an_account_without_a_sellers_registration_is_told_so(web: Web) -> None:
    web.control("POST", "/sellers", name="buyer", registered=False)
    web.connect("buyer")

    refused = refusal(lambda: ADAPTER.stores_of(web.store, web.port))

    assert refused.refusal is Refusal.PERMISSION
    assert "The eBay account buyer is not registered as a seller" in refused.detail


@pytest.mark.parametrize(("marketplace", "currency"), [("EBAY_GB", "GBP"), ("EBAY_DE", "EUR"), ("EBAY_CA", "CAD")])
def test_the_currency_follows_the_marketplace(web: Web, marketplace: str, currency: str) -> None:
    web.control("POST", "/sellers", name="abroad", marketplace=marketplace, products=3, orders=2)
    web.connect("abroad")

    assert ADAPTER.probe(web.store, web.port).currency == currency
    assert {order["currency"] for order in records(web.cycle(Resource.ORDERS)[0]).values()} == {currency}


# Consent


def test_a_page_shows_the_sellers_and_returns_the_choice(web: Web) -> None:
    web.control("POST", "/sellers", name='x"><script>', orders=0)
    page = web.consent(state='"><script>')
    form = {**dict(page.request.url.params), "seller": "demo", "decision": "agree"}

    answer = web.client.post("https://localhost/at/auth.ebay.com/oauth2/authorize", data=form)

    assert 'method="post" action="authorize"' in page.text
    assert "<script>" not in page.text
    location = httpx.URL(answer.headers["location"])
    assert str(location.copy_with(query=None)) == sandbox_ebay.RETURN_ADDRESS
    assert set(location.params) == {"code", "state", "expires_in"}
    assert location.params["state"] == '"><script>'


def test_a_seller_who_declines_brings_no_code(web: Web) -> None:
    web.control("PUT", "/settings", deny=True, return_address="https://app.example.com/back?x=1")

    location = httpx.URL(web.consent().headers["location"])

    assert str(location).startswith("https://app.example.com/back?x=1&")
    assert ADAPTER.read_callback(APP, location.params.multi_items(), web.now).code == ""


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"client_id": "another"}, "unauthorized_client"),
        ({"redirect_uri": "https://app.example.com/back"}, "unauthorized_client"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "https://api.ebay.com/oauth/api_scope/buy.everything"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
    ],
)
def test_a_wrong_request_is_shown_to_the_browser_and_returns_nowhere(web: Web, change: Json, error: str) -> None:
    answer = web.consent(**change)

    assert (answer.status_code, answer.json()["error_id"]) == (400, error)
    assert "location" not in answer.headers


def test_an_app_with_the_wrong_ru_name_gets_no_tokens_and_its_operator_a_hint(web: Web) -> None:
    app = APP._replace(more={**APP.more, "ru_name": "another-RuName"})

    refused = refusal(lambda: ADAPTER.exchange(app, "", "c", return_url="", verifier="", http=web.port, now=web.now))

    assert web.consent(app).json()["error_id"] == "unauthorized_client"
    assert refused.refusal is Refusal.REQUEST
    assert "ru_name" in refused.detail


# Tokens


def test_a_code_is_good_once_and_for_five_minutes(web: Web) -> None:
    web.control("PUT", "/settings", approve="demo")
    used, late = (httpx.URL(web.consent().headers["location"]).params["code"] for _ in range(2))
    form = {"grant_type": "authorization_code", "redirect_uri": APP.more["ru_name"]}

    first, second = (web.tokens(code=used, **form) for _ in range(2))
    web.clock.pass_seconds(299)
    third = web.tokens(code=late, **form)

    assert first.json()["token_type"] == "User Access Token"
    assert [(answer.status_code, answer.json()["error"]) for answer in (second, third)] == [(400, "invalid_grant")] * 2


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "authorization_code", "code": "x"}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, 400, "invalid_grant"),
        ({"grant_type": "client_credentials", "scope": "x"}, 400, "invalid_scope"),
        ({"grant_type": "client_credentials", "scope": ebay.SCOPES[0], "secret": "wrong"}, 401, "invalid_client"),
    ],
)
def test_the_token_endpoint_refuses(web: Web, form: dict[str, str], status: int, error: str) -> None:
    answer = web.tokens(**form)

    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_refresh_may_ask_for_fewer_scopes_and_for_no_others(web: Web) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": web.store.credentials["refresh_token"]}

    fewer = web.tokens(**form, scope=ebay.SCOPES[0]).json()["access_token"]

    assert web.tokens(**form, scope=f"{ebay.SCOPES[0]}/sell.marketing").json()["error"] == "invalid_scope"
    web.store = web.store._replace(credentials={"access_token": fewer})
    for url in (ORDERS, ITEMS, PRIVILEGE, USER):
        assert error_of(web.get(url)) == (403, 1100)
        assert refusal(lambda: ADAPTER.probe(web.store, web.port)).refusal is Refusal.PERMISSION


def test_keys_that_ebay_disabled_or_restricts_are_our_fault_and_say_so(web: Web) -> None:
    web.control("PUT", "/settings", scopes=list(ebay.SCOPES[1:]))
    assert web.consent().json()["error_id"] == "invalid_scope"
    restricted = refusal(lambda: ADAPTER.fetch_key(APP, "kid", web.port, web.now))
    web.control("PUT", "/settings", enabled=False)
    disabled = refusal(lambda: ADAPTER.refresh(web.store, web.port, web.now))

    assert {restricted.refusal, disabled.refusal} == {Refusal.REQUEST}
    assert "invalid_scope" in restricted.detail
    assert "invalid_client" in disabled.detail


# Calls


@pytest.mark.parametrize("token", ["", "Bearer ", "Bearer x", "Basic x"])
def test_a_call_without_a_token_that_is_known_is_refused(web: Web, token: str) -> None:
    assert error_of(web.client.get(ORDERS, headers={"authorization": token})) == (401, 1001)


def test_an_application_token_opens_no_sellers_api(web: Web) -> None:
    form = {"grant_type": "client_credentials", "scope": ebay.SCOPES[0]}
    web.store = web.store._replace(credentials={"access_token": web.tokens(**form).json()["access_token"]})

    assert {error_of(web.get(url)) for url in (ORDERS, ITEMS, USER, PRIVILEGE)} == {(403, 1100)}


@pytest.mark.parametrize(
    "url", [f"{API}/commerce/identity/v1/user/", f"{IDENTITY}/commerce/identity/v1/user", f"{API}/x"]
)
def test_what_is_at_another_address_is_not_found(web: Web, url: str) -> None:
    assert error_of(web.get(url)) == (404, 2002)


def test_the_quota_of_the_day_ends_calls_until_the_next(web: Web) -> None:
    web.control("PUT", "/settings", quotas={"sell.fulfillment": 2})
    for _ in range(2):
        assert web.get(ORDERS).status_code == 200

    untold = refusal(lambda: ADAPTER.newest_orders(web.store, web.port, web.now))
    web.control("PUT", "/settings", retry_after=True)
    told = refusal(lambda: ADAPTER.fetch(web.store, Resource.ORDERS, None, web.port, web.now))

    assert (untold.refusal, untold.retry_at) == (Refusal.RATE_LIMITED, None)
    assert told.retry_at == datetime(2026, 11, 23, 8, tzinfo=UTC)
    assert web.get(ITEMS).status_code == 200
    web.clock.set("2026-11-23T08:00:00")
    web.store = web.store._replace(
        credentials={"access_token": ADAPTER.refresh(web.store, web.port, web.now).access_token}
    )
    assert web.get(ORDERS).status_code == 200


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        ("refresh_token", lambda web: ADAPTER.refresh(web.store, web.port, web.now)),
        ("client_credentials", lambda web: ADAPTER.fetch_key(APP, "kid", web.port, web.now)),
    ],
)
def test_tokens_have_quotas_of_their_own(web: Web, kind: str, call: Callable[[Web], object]) -> None:
    web.control("PUT", "/settings", quotas={kind: 0})

    assert refusal(lambda: call(web)).refusal is Refusal.RATE_LIMITED


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"kind": "status", "status": 503}, Refusal.TRANSIENT),
        ({"kind": "status", "status": 429, "retry_after": "7"}, Refusal.RATE_LIMITED),
        ({"kind": "html"}, Refusal.NOT_THE_PLATFORM),
        ({"kind": "broken_json"}, Refusal.NOT_THE_PLATFORM),
        ({"kind": "drop_authorization"}, Refusal.CREDENTIALS),
    ],
)
def test_faults_befall_the_calls_that_they_name(web: Web, fault: Json, expected: Refusal) -> None:
    web.port.spoilt = True
    web.control("POST", "/faults", path="/sell/fulfillment/", times=1, **fault)

    assert ADAPTER.probe(web.store, web.port)
    assert refusal(lambda: ADAPTER.newest_orders(web.store, web.port, web.now)).refusal is expected
    assert ADAPTER.newest_orders(web.store, web.port, web.now)


# Products


def test_a_full_sync_brings_every_item_once_and_the_next_costs_a_call_a_page(web: Web) -> None:
    there = web.control("GET", "/sellers/demo/truth")["products"]
    pages, cursor = web.cycle(Resource.PRODUCTS)
    calls = len(web.port.asked)
    web.clock.pass_seconds(60)

    again, _ = web.cycle(Resource.PRODUCTS, cursor)

    found = records(pages)
    assert {id: body["title"] for id, body in found.items()} == {row["id"]: row["title"] for row in there}
    assert sum(len(page.records) for page in pages) == len(there) == 60
    assert {body["status"] for body in found.values()} == {"active", "draft"}
    assert records(again) == {}
    assert len(web.port.asked) - calls == 2


def test_what_changes_comes_with_the_next_cycle(web: Web) -> None:
    _, cursor = web.cycle(Resource.PRODUCTS)
    first = web.control("GET", "/sellers/demo/truth")["products"][0]["id"]
    web.control("PUT", f"/sellers/demo/products/{first}", title="Another", quantity=3, price="1.50")
    web.control("POST", "/sellers/demo/products", sku="A/B ü", title="Odd", status="PUBLISHED", price="2.00")

    found = records(web.cycle(Resource.PRODUCTS, cursor)[0])

    assert (found[first]["title"], found["A/B ü"]["price"]) == ("Another", "2.00")
    assert ADAPTER.fetch_one(web.store, Resource.PRODUCTS, "A/B ü", web.port).body == found["A/B ü"]
    assert found[first]["variants"][0]["inventoryQuantity"] == 3


def test_an_item_that_goes_is_no_more_listed_nor_found(web: Web) -> None:
    gone = web.control("GET", "/sellers/demo/truth")["products"][7]["id"]
    web.control("DELETE", f"/sellers/demo/products/{gone}")
    ids: list[str] = []
    cursor, done = None, False
    while not done:
        page = ADAPTER.list_ids(web.store, Resource.PRODUCTS, cursor, web.port, web.now)
        ids, cursor, done = [*ids, *page.ids], page.cursor, page.done

    assert len(ids) == len(set(ids)) == 59
    assert gone not in ids
    found = refusal(lambda: ADAPTER.fetch_one(web.store, Resource.PRODUCTS, gone, web.port))
    assert found.refusal is Refusal.NOT_FOUND


def test_inventory_is_paged_by_number(web: Web) -> None:
    skus = [row["id"] for row in web.control("GET", "/sellers/demo/truth")["products"]]

    pages = [web.get(ITEMS, limit=25, offset=page).json() for page in range(3)]

    assert [row["sku"] for page in pages for row in page["inventoryItems"]] == skus
    assert ["next" in page for page in pages] == [True, True, False]
    assert len(web.get(ITEMS).json()["inventoryItems"]) == 25
    assert error_of(web.get(ITEMS, limit=50, offset=3)) == (404, 25710)


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 201}, {"limit": "x"}, {"offset": -1}])
def test_inventory_refuses_pages_that_cannot_be(web: Web, query: Json) -> None:
    assert error_of(web.get(ITEMS, **query)) == (400, 25706)


# Orders


def test_a_full_sync_of_orders_and_what_changed_since(web: Web) -> None:
    there = {row["id"]: row for row in web.control("GET", "/sellers/demo/truth")["orders"]}
    pages, cursor = web.cycle(Resource.ORDERS)
    open_order = next(
        id for id, row in there.items() if row["payment"] == "PAID" and row["fulfillment"] == "NOT_STARTED"
    )
    web.clock.pass_seconds(3_600)
    sold = web.control("POST", "/sellers/demo/orders", buyer="buyer-x", note="Ring twice")
    web.control("POST", f"/sellers/demo/orders/{open_order}/ship")
    cancelled = next(id for id in there if id != open_order)
    web.control("POST", f"/sellers/demo/orders/{cancelled}/cancel")
    web.clock.pass_seconds(60)

    later = records(web.cycle(Resource.ORDERS, cursor)[0])

    assert set(records(pages)) == set(there)
    assert {id: body["updatedAt"] for id, body in records(pages).items()} == {
        id: row["updatedAt"] for id, row in there.items()
    }
    assert {id: body["status"] for id, body in later.items()} == {
        sold["orderId"]: "paid",
        open_order: "completed",
        cancelled: "cancelled",
    }
    assert later[sold["orderId"]]["note"] == "Ring twice"
    assert later[sold["orderId"]]["fees"][0]["type"] == "marketplace"


def test_orders_are_read_by_id_newest_first_and_listed(web: Web) -> None:
    there = web.control("GET", "/sellers/demo/truth")["orders"]
    one = ADAPTER.fetch_one(web.store, Resource.ORDERS, there[0]["id"], web.port)
    newest = ADAPTER.newest_orders(web.store, web.port, web.now)
    page = ADAPTER.list_ids(web.store, Resource.ORDERS, None, web.port, web.now)

    assert one.buyer == f"EBAY#{there[0]['buyer']}"
    assert [record.created_at for record in newest] == sorted((record.created_at for record in newest), reverse=True)
    assert set(page.ids) < {row["id"] for row in there}
    assert refusal(lambda: ADAPTER.fetch_one(web.store, Resource.ORDERS, "1-2", web.port)).refusal is Refusal.NOT_FOUND


def test_a_refund_is_added_to_the_order(web: Web) -> None:
    id = web.control("POST", "/sellers/demo/orders")["orderId"]
    web.control("POST", f"/sellers/demo/orders/{id}/refund", amount="1.25")

    body = ADAPTER.fetch_one(web.store, Resource.ORDERS, id, web.port).body

    assert (body["refundedTotal"], body["platformStatus"]) == ("1.25", "PARTIALLY_REFUNDED NOT_STARTED")


@pytest.mark.parametrize(
    ("query", "id"),
    [
        ({"limit": 0}, 31100),
        ({"limit": 201}, 31100),
        ({"offset": "x"}, 31000),
        ({"filter": "colour:red"}, 30700),
        ({"filter": "creationdate:[2026-11-22T00.000Z..]"}, 30810),
        ({"filter": "creationdate:[2026-11-22T12:13:31.000Z..]"}, 30850),
        ({"filter": "creationdate:[2026-11-01T00:00:00.000Z..2026-11-22T12:14:00.000Z]"}, 30850),
        ({"filter": "creationdate:[2026-11-02T00:00:00.000Z..2026-11-01T00:00:00.000Z]"}, 30840),
        ({"filter": "lastmodifieddate:[2024-11-01T00:00:00.000Z..]"}, 30830),
        ({"orderIds": ",".join(["1"] * 51)}, 30900),
    ],
)
def test_a_search_for_orders_is_refused_by_the_documents_rules(web: Web, query: Json, id: int) -> None:
    assert error_of(web.get(ORDERS, **query)) == (400, id)


def test_a_search_without_a_filter_shows_ninety_days_and_two_times_only_that_of_creation(web: Web) -> None:
    old = web.control("POST", "/sellers/demo/orders")["orderId"]
    web.clock.pass_seconds(91 * DAY)
    new = web.control("POST", "/sellers/demo/orders")["orderId"]
    web.control("POST", f"/sellers/demo/orders/{old}/ship")
    web.store = web.store._replace(
        credentials={"access_token": ADAPTER.refresh(web.store, web.port, web.now).access_token}
    )
    today = f"[{web.now:%Y-%m-%d}T00:00:00.000Z..]"

    def ids(**query: Any) -> set[str]:
        return {row["orderId"] for row in web.get(ORDERS, limit=200, **query).json()["orders"]}

    assert old not in ids()
    assert ids(filter=f"lastmodifieddate:{today}") == {old, new}
    assert ids(filter=f"lastmodifieddate:{today},creationdate:{today}") == {new}
    assert ids(filter=f"lastmodifieddate:{today},orderfulfillmentstatus:{{NOT_STARTED|IN_PROGRESS}}") == {new}
    assert ids(orderIds=f"{old},nothing") == {old}


# Notifications


def test_the_adapter_registers_the_address_and_subscribes_once(web: Web) -> None:
    first = ADAPTER.reconcile_app(APP, APP_URL, web.port, web.now)
    second = ADAPTER.reconcile(web.store, f"{APP_URL}/con_1", "", web.port)
    again = [
        ADAPTER.reconcile_app(APP, APP_URL, web.port, web.now),
        ADAPTER.reconcile(web.store, f"{APP_URL}/con_1", "", web.port),
    ]

    there = web.control("GET", "/notifications")
    assert (first, second) == (Subscribed(created=3), Subscribed(created=1))
    assert again == [Subscribed(kept=2), Subscribed(kept=1)]
    assert [one["endpoint"] for one in there["destinations"]] == [APP_URL]
    hooks = {owner: {hook["topicId"] for hook in rows} for owner, rows in there["subscriptions"].items()}
    assert hooks == {"": set(ebay.APP_TOPICS), web.store.store_id: set(ebay.TOPICS)}
    ADAPTER.unsubscribe(web.store, f"{APP_URL}/con_1", web.port)
    assert web.control("GET", "/notifications")["subscriptions"][web.store.store_id] == []


def test_an_address_that_does_not_know_the_token_is_not_registered(web: Web) -> None:
    web.receiver.knows_the_token = False

    refused = refusal(lambda: ADAPTER.reconcile_app(APP, APP_URL, web.port, web.now))

    assert refused.refusal is Refusal.REQUEST
    assert "challenge" in refused.detail
    assert web.control("GET", "/notifications")["destinations"] == []


def test_an_order_is_announced_for_each_line_and_verified_with_the_key_that_is_fetched(web: Web) -> None:
    web.subscribe()
    skus = [row["id"] for row in web.control("GET", "/sellers/demo/truth")["products"]]
    id = web.control("POST", "/sellers/demo/orders", lines=[{"sku": sku} for sku in skus[:2]])["orderId"]

    assert [one["status"] for one in web.deliver()] == [204, 204]

    for delivery in web.receiver.deliveries:
        key = ADAPTER.fetch_key(APP, ADAPTER.key_id(delivery), web.port, web.now)
        assert ADAPTER.verify(delivery, [key], web.now) is Verdict.GENUINE
        assert ADAPTER.verify(delivery._replace(body=delivery.body + b" "), [key], web.now) is Verdict.FORGED
        assert ADAPTER.parse(delivery) == [Event(Resource.ORDERS, id)]
        assert ADAPTER.store_of(delivery) == web.store.store_id
    assert len({ADAPTER.event_id(delivery) for delivery in web.receiver.deliveries}) == 2


def test_another_key_signs_after_a_change_and_the_old_one_can_still_be_fetched(web: Web) -> None:
    web.subscribe()
    old = web.control("GET", "/notifications")["keys"][0]
    web.control("POST", "/keys")
    web.control("POST", "/sellers/demo/orders", lines=[{"sku": "GONE"}])
    web.deliver()

    delivery = web.receiver.deliveries[0]

    keys = [ADAPTER.fetch_key(APP, id, web.port, web.now) for id in (old, ADAPTER.key_id(delivery))]
    assert [ADAPTER.verify(delivery, [key], web.now) for key in keys] == [Verdict.FORGED, Verdict.GENUINE]
    assert refusal(lambda: ADAPTER.fetch_key(APP, "unknown", web.port, web.now)).refusal is Refusal.NOT_FOUND


def test_a_delivery_is_repeated_with_its_id_until_the_address_is_marked_down(web: Web) -> None:
    web.subscribe()
    web.receiver.status = 500
    web.control("POST", "/deletions", username="buyer-1", userId="bUyEr1")
    results = web.deliver()
    for wait in REPEATED_AFTER:
        web.clock.pass_seconds(wait - 1)
        assert web.deliver() == []
        web.clock.pass_seconds(1)
        results += web.deliver()

    key = ADAPTER.fetch_key(APP, ADAPTER.key_id(web.receiver.deliveries[0]), web.port, web.now)
    assert [one["dropped"] for one in results] == [False] * len(REPEATED_AFTER) + [True]
    assert sum(REPEATED_AFTER) < DAY
    told = [json.loads(delivery.body)["notification"] for delivery in web.receiver.deliveries]
    assert [each["publishAttemptCount"] for each in told] == [*range(1, len(results) + 1)]
    assert len({ADAPTER.event_id(delivery) for delivery in web.receiver.deliveries}) == 1
    assert {ADAPTER.verify(delivery, [key], web.now) for delivery in web.receiver.deliveries} == {Verdict.GENUINE}
    assert web.control("GET", "/notifications")["destinations"][0]["status"] == "MARKED_DOWN"
    assert ADAPTER.reconcile_app(APP, APP_URL, web.port, web.now) == Subscribed(kept=2, repaired=1)
    web.receiver.status = 200
    web.control("POST", "/deletions", username="buyer-2", userId="bUyEr2")
    assert [one["status"] for one in web.deliver()] == [200]


def test_a_receiver_that_cannot_be_reached_is_tried_again(web: Web) -> None:
    web.subscribe()
    web.receiver.status = httpx.ConnectError("down")
    web.control("POST", "/deletions", username="x", userId="y")

    assert [(one["status"], one["error"]) for one in web.deliver()] == [(None, "ConnectError: down")]
    assert web.control("GET", "/deliveries")["waiting"][0]["attempt"] == 2


def test_the_network_shuffles_doubles_and_loses(web: Web) -> None:
    web.subscribe()
    for number in range(8):
        web.control("POST", "/deletions", username=f"b{number}", userId=f"B{number}")

    sent = web.deliver(shuffle=True, copies=2, lose=0.3)

    names = [json.loads(one["body"])["notification"]["data"]["username"] for one in sent]
    assert sorted(names) == sorted([f"b{number}" for number in range(8)] * 2)
    assert names != sorted(names)
    assert len(web.receiver.deliveries) == sum(not one["lost"] for one in sent) < 16


def test_a_deleted_account_is_told_by_the_names_that_orders_have(web: Web) -> None:
    web.subscribe()
    buyer = web.control("GET", "/sellers/demo/truth")["orders"][0]["buyer"]
    web.control("POST", "/deletions", username=buyer, userId="bUyEr1")
    web.deliver()

    requests = [event.privacy for event in ADAPTER.parse(web.receiver.deliveries[0]) if event.privacy]

    assert [request.kind for request in requests] == [PrivacyKind.ERASE_CUSTOMER] * 2 + [PrivacyKind.ERASE_STORE]
    assert {request.buyer for request in requests} == {buyer, "bUyEr1", ""}


@pytest.mark.parametrize(("reason", "disconnected"), [("REVOKED_BY_USER", True), ("REVOKED_BY_EBAY", False)])
def test_a_revocation_ends_the_grant_and_is_told_to_the_app(web: Web, reason: str, disconnected: bool) -> None:
    web.subscribe()
    web.control("POST", "/sellers/demo/revoke", reason=reason)
    web.deliver()

    delivery = web.receiver.deliveries[0]

    assert ADAPTER.parse(delivery) == [Event(None, access_lost=True, disconnected=disconnected)]
    assert ADAPTER.store_of(delivery) == web.store.store_id
    assert refusal(lambda: ADAPTER.probe(web.store, web.port)).refusal is Refusal.CREDENTIALS
    assert web.store.store_id not in web.control("GET", "/notifications")["subscriptions"]


DESTINATION = {
    "name": "x",
    "status": "ENABLED",
    "deliveryConfig": {
        "endpoint": "https://app.example.com/other",
        "verificationToken": APP.more["verification_token"],
    },
}
PAYLOAD = {"format": "JSON", "schemaVersion": "1.0", "deliveryProtocol": "HTTPS"}


def sent_by_app(web: Web, method: str, path: str, body: Json | None = None) -> httpx.Response:
    form = {"grant_type": "client_credentials", "scope": ebay.SCOPES[0]}
    headers = {"authorization": f"Bearer {web.tokens(**form).json()['access_token']}"}
    return web.client.request(method, f"{NOTIFICATIONS}/{path}", json=body, headers=headers)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"name": "<b>"}, (400, 195016)),
        ({"deliveryConfig": {"endpoint": "http://app.example.com"}}, (400, 195017)),
        ({"status": "ON"}, (400, 195018)),
        ({"deliveryConfig": {"endpoint": "https://app.example.com/x", "verificationToken": "short"}}, (400, 195019)),
        ({"deliveryConfig": {**DESTINATION["deliveryConfig"], "endpoint": APP_URL}}, (409, 195021)),
    ],
)
def test_a_destination_is_refused_by_the_documents_rules(web: Web, change: Json, refused: tuple[int, int]) -> None:
    web.subscribe()

    assert error_of(sent_by_app(web, "POST", "destination", {**DESTINATION, **change})) == refused


def test_a_destination_needs_an_address_for_alerts_first_and_leaves_only_when_it_is_off(web: Web) -> None:
    assert error_of(sent_by_app(web, "POST", "destination", DESTINATION)) == (409, 195003)
    assert error_of(sent_by_app(web, "PUT", "config", {"alertEmail": "nobody"})) == (400, 195025)
    sent_by_app(web, "PUT", "config", {"alertEmail": "a@example.com"})
    made = sent_by_app(web, "POST", "destination", DESTINATION).headers["location"].rpartition("/")[2]

    assert sent_by_app(web, "GET", f"destination/{made}").json()["name"] == "x"
    assert error_of(sent_by_app(web, "DELETE", f"destination/{made}")) == (409, 195024)
    assert sent_by_app(web, "PUT", f"destination/{made}", {**DESTINATION, "status": "DISABLED"}).status_code == 204
    assert sent_by_app(web, "DELETE", f"destination/{made}").status_code == 204
    assert error_of(sent_by_app(web, "GET", f"destination/{made}")) == (404, 195022)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"topicId": "NOTHING"}, (400, 195027)),
        ({"topicId": "ORDER_CONFIRMATION"}, (403, 195011)),
        ({"status": "ON"}, (400, 195006)),
        ({"destinationId": "x"}, (400, 195007)),
        ({"payload": {**PAYLOAD, "schemaVersion": "9"}}, (400, 195008)),
        ({"payload": {**PAYLOAD, "format": "XML"}}, (400, 195009)),
        ({"payload": {**PAYLOAD, "deliveryProtocol": "FTP"}}, (400, 195010)),
        ({}, (409, 195012)),
    ],
)
def test_a_subscription_is_refused_by_the_documents_rules(web: Web, change: Json, refused: tuple[int, int]) -> None:
    web.subscribe()
    destination = web.control("GET", "/notifications")["destinations"][0]["id"]
    wish = {"topicId": ebay.APP_TOPICS[0], "status": "ENABLED", "payload": PAYLOAD, "destinationId": destination}

    assert error_of(sent_by_app(web, "POST", "subscription", {**wish, **change})) == refused


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("topic/NOTHING", (404, 195002)),
        ("topic?limit=9", (400, 195004)),
        ("topic?continuation_token=x", (400, 195005)),
        ("config", (404, 195026)),
        ("public_key/x", (404, 195001)),
        ("subscription/x", (404, 195013)),
        ("nothing", (404, 2002)),
    ],
)
def test_what_is_not_there_is_told_by_its_number(web: Web, path: str, refused: tuple[int, int]) -> None:
    assert error_of(sent_by_app(web, "GET", path)) == refused


def test_a_seller_manages_no_destinations_with_fewer_scopes(web: Web) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": web.store.credentials["refresh_token"]}
    token = web.tokens(**form, scope=f"{ebay.SCOPES[0]}/commerce.notification.subscription").json()["access_token"]
    web.store = web.store._replace(credentials={"access_token": token})

    assert web.get(f"{NOTIFICATIONS}/subscription").json()["subscriptions"] == []
    assert error_of(web.get(f"{NOTIFICATIONS}/destination")) == (403, 1100)


# ebay_rest


@pytest.fixture
def judge(web: Web, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ebay_rest.API]:
    """The client ebay_rest, for the connected seller.

    It knows eBay's hosts only, so that urllib3, below both its pools and those of requests, is led into the sandbox.
    """

    def urlopen(pool: Any, method: str, url: str, **options: Any) -> urllib3.HTTPResponse:
        content, headers = options.get("body"), dict(options.get("headers") or {})
        answer = web.client.request(method, f"https://{pool.host}{url}", content=content, headers=headers)
        preload = options.get("preload_content", True)
        return urllib3.HTTPResponse(
            io.BytesIO(answer.content), answer.headers, answer.status_code, reason="", preload_content=preload
        )

    def client(**changes: Any) -> ebay_rest.API:
        monkeypatch.setattr(Multiton, "_instances", [])  # else it goes on with the tokens of another one
        user = {
            "email_or_username": "demo",
            "password": "not used",
            "scopes": list(ebay.SCOPES),
            "refresh_token": web.store.credentials["refresh_token"],
            "refresh_token_expiry": "2099-01-01T00:00:00.000Z",
        }
        application = {
            "app_id": APP.client_id,
            "cert_id": APP.client_secret,
            "dev_id": "x",
            "redirect_uri": APP.more["ru_name"],
        }
        header = {"accept_language": "en-US", "content_language": "en-US", "marketplace_id": "EBAY_US"}
        return ebay_rest.API(application={**application, **changes}, user={**user}, header=header)

    monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", urlopen)
    return client


def test_ebay_rest_reads_who_approved(judge: Callable[..., ebay_rest.API], web: Web) -> None:
    user = judge().commerce_identity_get_user()

    assert (user["user_id"], user["username"]) == (web.store.store_id, "demo")
    assert user["registration_marketplace_id"] == "EBAY_US"


def test_ebay_rest_reads_all_orders_of_a_time_in_pages(judge: Callable[..., ebay_rest.API], web: Web) -> None:
    web.control("POST", "/sellers", name="busy", products=5, orders=230, days=40)
    web.connect("busy")
    there = {row["id"]: row for row in web.control("GET", "/sellers/busy/truth")["orders"]}

    told = list(judge().sell_fulfillment_get_orders(filter="lastmodifieddate:[2026-10-01T00:00:00.000Z..]"))

    rows = [each["record"] for each in told if "record" in each]
    assert {row["order_id"]: datetime.fromisoformat(row["last_modified_date"]) for row in rows} == {
        id: datetime.fromisoformat(row["updatedAt"]) for id, row in there.items()
    }
    assert told[-1] == {"total": {"records_yielded": 230, "records_available": 230}}
    assert all(row["pricing_summary"]["total"]["currency"] == "USD" for row in rows)
    assert all(line["line_item_cost"]["value"] for row in rows for line in row["line_items"])


def test_ebay_rest_reads_an_order_an_item_and_its_offers(judge: Callable[..., ebay_rest.API], web: Web) -> None:
    api, truth = judge(), web.control("GET", "/sellers/demo/truth")
    item = next(row for row in truth["products"] if row["status"] == ["PUBLISHED"])

    order = api.sell_fulfillment_get_order(order_id=truth["orders"][0]["id"])
    found = api.sell_inventory_get_inventory_item(sku=item["id"])
    offers = [each["record"] for each in api.sell_inventory_get_offers(sku=item["id"]) if "record" in each]

    assert order["buyer"]["username"] == truth["orders"][0]["buyer"]
    assert found["product"]["title"] == item["title"]
    assert [(offer["sku"], offer["status"]) for offer in offers] == [(item["id"], "PUBLISHED")]
    assert offers[0]["listing"]["listing_status"] == "ACTIVE"


def test_ebay_rest_reads_inventory_of_one_page(judge: Callable[..., ebay_rest.API], web: Web) -> None:
    told = list(judge().sell_inventory_get_inventory_items())

    assert [each["record"]["sku"] for each in told if "record" in each] == list(web.platform.sellers["demo"].items)


def test_ebay_rest_finds_the_scope_of_its_own_token_and_manages_notifications(
    judge: Callable[..., ebay_rest.API], web: Web
) -> None:
    api, kid = judge(), web.platform.notifications.keys[0].id

    api.commerce_notification_update_config("application/json", body={"alertEmail": "a@example.com"})
    api.commerce_notification_create_destination("application/json", body=DESTINATION)
    key = api.commerce_notification_get_public_key(public_key_id=kid)

    there = web.control("GET", "/notifications")
    assert there["config"] == {"alertEmail": "a@example.com"}
    assert there["destinations"][0]["endpoint"] == DESTINATION["deliveryConfig"]["endpoint"]
    assert (key["algorithm"], key["digest"]) == ("ECDSA", "SHA1")
    assert base64.b64decode(key["key"].split("-----")[2])


def test_ebay_rest_is_refused_as_by_ebay(judge: Callable[..., ebay_rest.API], web: Web) -> None:
    api = judge()
    with pytest.raises(ebay_rest.Error) as missing:
        api.sell_fulfillment_get_order(order_id="1-2")
    web.control("PUT", "/settings", quotas={"sell.inventory": 0})
    with pytest.raises(ebay_rest.Error) as busy:
        api.sell_inventory_get_inventory_item(sku="x")
    web.control("POST", "/sellers/demo/revoke")
    with pytest.raises(ebay_rest.Error) as dead:
        api.commerce_identity_get_user()
    with pytest.raises(ebay_rest.Error) as gone:
        judge().commerce_identity_get_user()
    with pytest.raises(ebay_rest.Error) as unknown:
        judge(cert_id="PRD-wrong").commerce_identity_get_user()

    assert [caught.value.number for caught in (missing, busy, dead)] == [99404, 99429, 99401]
    assert "invalid_grant" in gone.value.reason
    assert "invalid_client" in unknown.value.reason


def test_ebay_rest_signs_calls_as_the_adapter_does(monkeypatch: pytest.MonkeyPatch, clock: Any) -> None:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    app = App("", "", more={"signing_key": base64.b64encode(pem).decode(), "signing_jwe": "known-by"})
    pool = SimpleNamespace(request=lambda method, url, headers: headers)
    monkeypatch.setattr(digital_signatures, "time", SimpleNamespace(time=clock))

    url = f"{IDENTITY}/sell/finances/v1/transaction"
    theirs = digital_signatures.signed_request(
        pool, {"jwe": "known-by", "private_key": key}, "GET", url, headers={"x-ebay-enforce-signature": "true"}
    )

    ours = ebay.request_signature(app, "GET", url, b"", datetime.fromtimestamp(clock(), UTC))
    assert ours == {name.lower(): text for name, text in theirs.items() if name != "x-ebay-enforce-signature"}


# The control API


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/sellers/nobody", {}, 404),
        ("POST", "/sellers", {}, 400),
        ("POST", "/sellers", {"name": "x", "colour": "red"}, 400),
        ("PUT", "/settings", {"colour": "red"}, 400),
        ("PUT", "/settings", {"approve": "nobody"}, 400),
        ("POST", "/faults", {"kind": "nothing"}, 400),
        ("POST", "/sellers/demo/orders/nothing/ship", {}, 404),
        ("PUT", "/sellers/demo/products/nothing", {}, 404),
    ],
)
def test_an_order_that_cannot_be_carried_out_says_why(
    web: Web, method: str, path: str, body: Json, status: int
) -> None:
    answer = web.client.request(method, f"{CONTROL}{path}", json=body)

    assert (answer.status_code, list(answer.json())) == (status, ["error"])


def test_the_control_api_shows_what_there_is_and_was(web: Web) -> None:
    order = web.control("GET", "/sellers/demo/truth", only="orders") or {}
    assert web.client.post(f"{CONTROL}/sellers/demo/orders/{order['orders'][0]['id']}/burn", json={}).status_code == 404
    web.control("DELETE", "/calls")
    web.get(f"{ORDERS}/{order['orders'][0]['id']}")
    fault = web.control("POST", "/faults", kind="html", times=2)

    assert web.control("GET", "/calls") == {
        "total": 1,
        "most_at_once": 1,
        "routes": {"GET /sell/fulfillment/v1/order/{id} 200": 1},
    }
    assert web.control("GET", "/faults")["faults"] == [fault]
    assert web.control("DELETE", "/faults") == {"faults": []}
    seller = web.control("GET", "/sellers/demo")
    assert (seller["products"], seller["orders"], len(seller["grants"])) == (60, 60, 1)
    assert web.control("GET", "")["sellers"] == [seller]
    assert web.control("PUT", "/clock", advance=60)["now"] == int(web.clock()) + 60
    web.control("PUT", "/delivery", paused=True)
    assert web.platform.notifications.paused
    assert web.control("DELETE", "/deliveries") == {}


def test_opening_a_seller_again_starts_anew(web: Web) -> None:
    web.control("POST", "/sellers", name="demo", orders=1, products=1)

    assert refusal(lambda: ADAPTER.probe(web.store, web.port)).refusal is Refusal.CREDENTIALS
    assert web.control("GET", "/sellers/demo")["orders"] == 1
