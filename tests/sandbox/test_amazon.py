"""The Amazon stand-in speaks as the platform does; the judges are Amazon's models, its own SDK, and our adapter."""

import asyncio
import json
import re
import ssl
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any

import httpx
import pytest
from jsonschema import Draft4Validator

from infra.local.sandbox import amazon, amazon_seller, server
from infra.local.sandbox.amazon_notifications import AMAZONS_ACCOUNT, QueueRefused
from infra.local.sandbox.server import APPS, InProcess, Running, Sandbox
from shared import clock as our_clock
from shared.platforms import amazon as adapters
from shared.platforms.amazon import TOPICS, Amazon
from shared.platforms.base import (
    Answer,
    App,
    Connection,
    Event,
    Identity,
    PlatformError,
    Record,
    Refusal,
    Resource,
    Subscribed,
    Verdict,
)
from tests.platforms.test_amazon import _CONTRACTS, Asked, check_request, operation_of, operations, violations

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its regular expressions are no raw strings
    import spapi
    from spapi.api.listings_items_v2021_08_01.listings_api import ListingsApi
    from spapi.api.notifications_v1.notifications_api import NotificationsApi
    from spapi.api.orders_v2026_01_01.get_order_api import GetOrderApi
    from spapi.api.orders_v2026_01_01.search_orders_api import SearchOrdersApi
    from spapi.api.reports_v2021_06_30.reports_api import ReportsApi
    from spapi.api.sellers_v1.sellers_api import SellersApi
    from spapi.auth.lwa_exception import LwaException
    from spapi.auth.lwa_request import AccessTokenCache

Json = dict[str, Any]

CONTROL = "https://localhost/_sandbox/amazon"
LOGIN = f"https://{amazon.LOGIN_HOST}/auth/o2/token"
CONSENT = "https://sellercentral.amazon.com/apps/authorize/consent"
US, CA, DE = "ATVPDKIKX0DER", "A2EUQ1WTGCTBG2", "A1PA6795UKMFR9"
ORDERS = "/orders/2026-01-01/orders"
PARTICIPATIONS = "/sellers/v1/marketplaceParticipations"
DESTINATIONS, SUBSCRIPTIONS = "/notifications/v1/destinations", "/notifications/v1/subscriptions"
REPORTS, DOCUMENTS = "/reports/2021-06-30/reports", "/reports/2021-06-30/documents"
QUEUE_ARN = "arn:aws:sqs:us-east-1:000000000000:storelink-notifications"
CLIENT = {"client_id": amazon.CLIENT_ID, "client_secret": amazon.CLIENT_SECRET}
ADAPTER = Amazon()
APP = App(
    amazon.CLIENT_ID,
    amazon.CLIENT_SECRET,
    more={"application_id": amazon.APPLICATION_ID,
          "notification_application_ids": amazon.NOTIFICATION_APPLICATION_ID, "queue_arn": QUEUE_ARN},
)  # fmt: skip


_JUDGED = 8
"""So many calls of a kind, and test, are held to the models: a large catalogue has the same over and over."""


class Judged(httpx.BaseTransport):
    """The way into the sandbox: what passes it is held to Amazon's models, as far as it is well formed."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner
        self.answered: list[tuple[str, int]] = []
        self._seen: Counter[str] = Counter()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._inner.handle_request(request)
        answer.read()
        if request.url.host in amazon.API_HOSTS:
            self.answered.append((request.url.path, answer.status_code))
            document, operation, _ = operation_of(request.method, request.url.raw_path.decode().partition("?")[0])
            schema = operation["responses"][str(answer.status_code)]["schema"]
            self._seen[operation["operationId"]] += 1
            if self._seen[operation["operationId"]] <= _JUDGED:
                assert violations(document, schema, answer.json()) == []
        return answer

    def close(self) -> None:
        """Whoever lent the way closes it."""


class Wire:
    """The port of adapters, leading into the sandbox; what is asked must be what Amazon's models allow."""

    def __init__(self, client: httpx.Client, clock: Any) -> None:
        self._client = client
        self._clock = clock
        self.latency = 0.0
        """Seconds that each call takes."""
        self.throttled = 0
        self._seen: Counter[str] = Counter()

    def request(self, method: str, url: str, *, params: Mapping[str, str] | None = None,
                headers: Mapping[str, str] | None = None, json: Any = None, content: bytes | None = None,
                **_: Any) -> Answer:  # fmt: skip
        kind = f"{method} {httpx.URL(url).path.split('/')[1]}"
        self._seen[kind] += 1
        if httpx.URL(url).host in amazon.API_HOSTS and self._seen[kind] <= _JUDGED:
            check_request(Asked(method, url, dict(params or {}), dict(headers or {}), json, content))
        answer = self._client.request(method, url, params=params, headers=headers, json=json, content=content)
        self._clock.moment += self.latency
        self.throttled += answer.status_code == 429
        # as our client does, which undoes what a header says and leaves what a report's own description says
        return Answer(answer.status_code, {name.lower(): text for name, text in answer.headers.items()}, answer.content)


class Web:
    """Callers of the platform: as an app, as a seller's browser, as our adapter, and of the control API."""

    def __init__(
        self, sandbox: Sandbox, transport: httpx.BaseTransport, clock: Any, queue: list[tuple[str, str]]
    ) -> None:
        self.platform = sandbox.amazon
        self.transport = Judged(transport)
        self.client = httpx.Client(transport=self.transport)
        self.clock = clock
        self.queue = queue
        self.wire = Wire(self.client, clock)
        self.token = ""

    @property
    def seller(self) -> amazon_seller.Seller:
        return self.platform.accounts["demo"].seller

    def control(self, method: str, path: str, /, **body: Any) -> Json:
        """One call of the control API, which must succeed."""
        answer = self.client.request(method, f"{CONTROL}{path}", json=body)
        assert answer.status_code < 300, answer.text
        said: Json = answer.json()
        return said

    def authorize(self, seller: str = "demo", **form: str) -> httpx.Response:
        """The seller clicks Confirm."""
        wish = {"application_id": amazon.APPLICATION_ID, "seller": seller, "decision": "confirm", "state": "s"}
        return self.client.post(CONSENT, data=wish | form)

    def tokens(self, grant_type: str, **form: str) -> httpx.Response:
        """A call for tokens."""
        return self.client.post(LOGIN, data={**CLIENT, "grant_type": grant_type, **form})

    def code(self, seller: str = "demo") -> str:
        return httpx.URL(self.authorize(seller).headers["location"]).params["spapi_oauth_code"]

    def connect(self, seller: str = "demo") -> Json:
        """The whole way to tokens, which calls then use."""
        pair: Json = self.tokens("authorization_code", code=self.code(seller)).json()
        self.token = pair["access_token"]
        return pair

    def grantless(self) -> str:
        found: str = self.tokens("client_credentials", scope="sellingpartnerapi::notifications").json()["access_token"]
        return found

    def call(self, method: str, path: str, body: Any = None, *, region: str = "na", token: str | None = None,
             **query: str) -> httpx.Response:  # fmt: skip
        headers = {"x-amz-access-token": self.token if token is None else token}
        url = f"https://sellingpartnerapi-{region}.amazon.com{path}"
        return self.client.request(method, url, params=query, headers=headers, json=body)

    def get(self, path: str, **query: str) -> Json:
        answer = self.call("GET", path, **query)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def refused(self, *call: Any, **query: str) -> tuple[int, str]:
        answer = self.call(*call, **query)
        error = answer.json()["errors"][0]
        return answer.status_code, error["code"]

    def searched(self, **query: str) -> Json:
        return self.get(ORDERS, **{"createdAfter": "2020-01-01T00:00:00Z"} | query)

    def listings(self, **query: str) -> Json:
        return self.get(f"/listings/2021-08-01/items/{self.seller.id}", **{"marketplaceIds": US} | query)

    # As our adapter

    def store(self, marketplace: str = US, seller: str = "demo") -> Connection:
        """What our service would hold of a store."""
        tokens = self.connect(seller)
        secrets = {"access_token": tokens["access_token"], "refresh_token": tokens["refresh_token"]}
        domain = f"https://{adapters.MARKETPLACES[marketplace].host}"
        return Connection(domain, secrets, f"{self.platform.accounts[seller].seller.id}.{marketplace}", "USD", app=APP)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    def cycle(self, store: Connection, resource: Resource, cursor: Json | None = None) -> tuple[list[Record], Json]:
        """A whole cycle, as the sync goes through it: waiting where it is told to."""
        records: list[Record] = []
        while True:
            page = ADAPTER.fetch(store, resource, cursor, self.wire, self.now())
            assert page.partial is None
            records += page.records
            cursor = json.loads(json.dumps(page.cursor))
            if page.done:
                return records, page.cursor
            self.wait(page.ready_at)

    def ids(self, store: Connection, resource: Resource) -> list[str]:
        """What the full compare sees."""
        found: list[str] = []
        cursor: Json | None = None
        while True:
            page = ADAPTER.list_ids(store, resource, cursor, self.wire, self.now())
            found += page.ids
            cursor = page.cursor
            if page.done:
                return found
            self.wait(page.ready_at)

    def wait(self, until: datetime | None) -> None:
        self.clock.moment = max(self.clock.moment, until.timestamp() if until else 0)


@pytest.fixture
def web(clock: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A platform with one seller, connected."""
    queue: list[tuple[str, str]] = []
    sandbox = Sandbox(clock=clock, send_to_queue=lambda *message: queue.append(message))
    monkeypatch.setattr(our_clock, "now", lambda: datetime.fromtimestamp(clock(), UTC))
    with InProcess(sandbox) as transport:
        web = Web(sandbox, transport, clock, queue)
        web.control("POST", "/sellers", name="demo", products=45, orders=130, marketplaces=[US, CA])
        web.connect()
        yield web


def refusal(call: Callable[[], object]) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        call()
    return caught.value


# The facts


def test_knows_the_marketplaces_as_the_adapter_does() -> None:
    for id, place in amazon_seller.MARKETPLACES.items():
        known = adapters.MARKETPLACES[id]
        assert (place.region, f"www.{place.domain}", place.currency) == (known.region, known.host, known.currency)
        assert known.central in amazon.CENTRAL_HOSTS


def test_its_usage_plans_are_those_of_amazons_models() -> None:
    plans = {}
    for _, _, _, operation in operations():
        ((rate, burst),) = re.findall(r"\|\s*([0-9.]+)\s*\|\s*([0-9]+)\s*\|", operation["description"])
        plans[operation["operationId"]] = (float(rate), int(burst))

    assert {each.name: (each.rate, each.burst) for each in amazon.OPERATIONS} == {
        each.name: plans[each.name] for each in amazon.OPERATIONS
    }


def test_our_registration_is_the_one_that_it_knows() -> None:
    registered = dict(APPS["AMAZON"])

    assert (registered.pop("clientId"), registered.pop("clientSecret")) == (APP.client_id, APP.client_secret)
    assert registered == {name: text for name, text in APP.more.items() if name != "queue_arn"}


# Consent


def test_shows_a_page_with_the_sellers_and_a_relative_form(web: Web) -> None:
    web.control("POST", "/sellers", name="other & <co>", marketplaces=[DE], orders=0)
    query = {"application_id": amazon.APPLICATION_ID, "state": '"><script>'}

    page = web.client.get(f"https://localhost/at/{CONSENT.removeprefix('https://')}", params=query)

    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert 'method="post" action="consent"' in page.text
    assert "other &amp; &lt;co&gt; (amazon.de)" in page.text
    assert "<script>" not in page.text


def test_returns_the_seller_with_their_id_a_code_and_the_state(web: Web) -> None:
    location = httpx.URL(web.authorize(state="a b&c=d").headers["location"])

    assert str(location.copy_with(query=None)) == amazon.RETURN_ADDRESS
    code = location.params["spapi_oauth_code"]
    assert dict(location.params) == {
        "state": "a b&c=d", "selling_partner_id": web.seller.id, "spapi_oauth_code": code,
    }  # fmt: skip


def test_tells_the_app_nothing_when_the_seller_cancels(web: Web) -> None:
    page = web.authorize(decision="cancel")

    assert (page.status_code, "location" in page.headers) == (200, False)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"application_id": "amzn1.sp.solution.other"}, "does not exist"),
        ({"redirect_uri": "https://evil.example.com/"}, "MD5101"),
    ],
)
def test_refuses_what_is_not_the_applications(web: Web, change: dict[str, str], shown: str) -> None:
    page = web.authorize(**change)

    assert (page.status_code, shown in page.text) == (400, True)


def test_a_draft_is_approved_on_the_beta_page_only(web: Web) -> None:
    web.control("PUT", "/settings", draft=True, approve="demo")
    drafts = APP._replace(more={**APP.more, "draft": "yes"})
    pages = [
        web.client.get(ADAPTER.authorization_url(app, "https://www.amazon.ca", state="s", return_url="", challenge=""))
        for app in (APP, drafts)
    ]

    assert [page.status_code for page in pages] == [400, 302]
    assert "MD1000" in pages[0].text


# Login with Amazon


def test_takes_a_code_once_and_for_five_minutes(web: Web, clock: Any) -> None:
    used, late, right = (web.code() for _ in range(3))
    assert [web.tokens("authorization_code", code=used).status_code for _ in range(2)] == [200, 400]
    clock.pass_seconds(299)
    assert web.tokens("authorization_code", code=right).status_code == 200
    clock.pass_seconds(1)

    refused = web.tokens("authorization_code", code=late)

    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


def test_a_refresh_token_stays_and_earlier_access_tokens_live_on(web: Web) -> None:
    pair = web.connect()
    renewed = web.tokens("refresh_token", refresh_token=pair["refresh_token"]).json()

    assert renewed["refresh_token"] == pair["refresh_token"]
    assert renewed["access_token"] != pair["access_token"]
    assert {renewed["token_type"], renewed["expires_in"]} == {"bearer", 3600}
    assert web.call("GET", PARTICIPATIONS).status_code == 200


@pytest.mark.parametrize(
    ("form", "refusal"),
    [
        ({"client_secret": "ü"}, (401, "invalid_client")),
        ({"client_id": ""}, (401, "invalid_client")),
        ({"grant_type": "password"}, (400, "unsupported_grant_type")),
        ({"grant_type": "refresh_token", "refresh_token": "Atzr|other"}, (400, "invalid_grant")),
        ({"grant_type": "client_credentials", "scope": "profile"}, (400, "invalid_scope")),
    ],
)
def test_refuses_tokens_with_the_errors_of_oauth(web: Web, form: dict[str, str], refusal: tuple[int, str]) -> None:
    answer = web.client.post(LOGIN, data={**CLIENT, "grant_type": "authorization_code", **form})

    assert (answer.status_code, answer.json()["error"]) == refusal


def test_a_consent_ends_after_a_year_unless_it_is_given_again(web: Web, clock: Any) -> None:
    pair = web.connect()
    clock.pass_seconds(365 * 86_400 - 1)
    renewed = web.tokens("refresh_token", refresh_token=pair["refresh_token"]).json()
    clock.pass_seconds(1)

    ended = web.tokens("refresh_token", refresh_token=pair["refresh_token"])
    assert (ended.status_code, ended.json()["error"]) == (400, "invalid_grant")
    assert web.refused("GET", PARTICIPATIONS, token=renewed["access_token"]) == (403, "Unauthorized")
    web.connect()
    assert web.call("GET", PARTICIPATIONS).status_code == 200


# Who may call what


def test_a_token_opens_what_it_was_given_for_only(web: Web, clock: Any) -> None:
    denied = (403, "Unauthorized")
    assert web.refused("GET", PARTICIPATIONS, token="") == denied
    assert web.refused("GET", PARTICIPATIONS, token="Atza|other") == denied
    assert web.refused("GET", PARTICIPATIONS, token=web.grantless()) == denied
    assert web.refused("GET", DESTINATIONS) == denied
    assert web.refused("GET", PARTICIPATIONS, region="eu") == denied
    assert web.call("GET", DESTINATIONS, token=web.grantless(), region="eu").status_code == 200
    clock.pass_seconds(3_600)
    said = web.call("GET", PARTICIPATIONS).json()["errors"][0]

    assert said == {"code": "Unauthorized", "message": "Access to requested resource is denied.",
                    "details": "The access token you provided has expired."}  # fmt: skip


def test_a_seller_who_removes_the_app_takes_tokens_and_subscriptions_with_them(web: Web) -> None:
    store = web.store()
    ADAPTER.reconcile(store, "", "", web.wire)

    assert web.control("POST", "/sellers/demo/revoke")["ended"] == 2

    assert "revoked" in web.call("GET", PARTICIPATIONS).json()["errors"][0]["details"]
    assert refusal(lambda: ADAPTER.refresh(store, web.wire, web.now())).refusal is Refusal.CREDENTIALS
    assert web.control("GET", "/sellers/demo")["subscriptions"] == {}


def test_a_role_counts_from_the_next_consent_on(web: Web) -> None:
    web.control("PUT", "/settings", roles=[amazon.ROLES[1]])
    assert web.call("GET", PARTICIPATIONS).status_code == 200
    web.connect()
    assert web.refused("GET", PARTICIPATIONS) == (403, "Unauthorized")
    web.control("PUT", "/settings", roles=list(amazon.ROLES))

    assert web.refused("GET", PARTICIPATIONS) == (403, "Unauthorized")


def test_each_operation_has_a_bucket_of_its_own_that_fills_at_its_rate(web: Web, clock: Any) -> None:
    answers = [web.call("GET", ORDERS, createdAfter="2026-11-20T00:00:00Z") for _ in range(21)]

    assert [answer.status_code for answer in answers] == [200] * 20 + [429]
    assert {answer.headers.get("x-amzn-ratelimit-limit") for answer in answers[:20]} == {"0.0056"}
    assert "x-amzn-ratelimit-limit" not in answers[20].headers
    assert web.refused("GET", ORDERS, createdAfter="2026-11-20T00:00:00Z") == (429, "QuotaExceeded")
    assert web.call("GET", PARTICIPATIONS).status_code == 200
    clock.pass_seconds(179)
    assert [web.call("GET", ORDERS, createdAfter="2026-11-20T00:00:00Z").status_code for _ in range(2)] == [200, 429]


# Orders


def test_searches_between_two_times_with_both_ends_and_never_the_last_two_minutes(web: Web, clock: Any) -> None:
    begin = int(clock())
    made = [web.control("POST", "/sellers/demo/orders")["id"]]
    clock.pass_seconds(60)
    made.append(web.control("POST", "/sellers/demo/orders")["id"])
    clock.pass_seconds(119)
    since = amazon_seller.stamp(begin)

    first = web.searched(createdAfter=since)
    clock.pass_seconds(1)
    both = web.searched(createdAfter=since)
    closed = web.searched(createdAfter=since, createdBefore=since)

    assert [[order["orderId"] for order in found["orders"]] for found in (first, both, closed)] == [
        made[:1], made, made[:1],
    ]  # fmt: skip
    assert both["createdBefore"] == amazon_seller.stamp(begin + 60)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"createdAfter": "2026-11-01T00:00:00Z", "lastUpdatedAfter": "2026-11-01T00:00:00Z"},
        {"createdAfter": "2026-11-01T00:00:00Z", "lastUpdatedBefore": "2026-11-02T00:00:00Z"},
        {"createdAfter": "yesterday"},
        {"createdAfter": "2026-11-02T00:00:00Z", "createdBefore": "2026-11-01T00:00:00Z"},
        {"createdAfter": "2026-11-02T00:00:00Z", "createdBefore": "2026-11-22T12:12:30Z"},
        {"createdAfter": "2026-11-02T00:00:00Z", "marketplaceIds": DE},
        {"createdAfter": "2026-11-02T00:00:00Z", "maxResultsPerPage": "101"},
        {"createdAfter": "2026-11-02T00:00:00Z", "includedData": "SECRETS"},
        {"createdAfter": "2026-11-02T00:00:00Z", "paginationToken": "x"},
    ],
)
def test_refuses_a_search_that_the_model_does_not_allow(web: Web, query: dict[str, str]) -> None:
    assert web.refused("GET", ORDERS, **query) == (400, "InvalidInput")


def test_pages_with_tokens_that_belong_to_their_search_and_live_a_day(web: Web, clock: Any) -> None:
    first = web.searched(maxResultsPerPage="100", marketplaceIds=f"{US},{CA}")
    token = first["pagination"]["nextToken"]
    second = web.searched(maxResultsPerPage="100", marketplaceIds=f"{US},{CA}", paginationToken=token)

    assert [len(page["orders"]) for page in (first, second)] == [100, 30]
    assert len({order["orderId"] for page in (first, second) for order in page["orders"]}) == 130
    assert second["pagination"] == {}
    query = {"createdAfter": "2020-01-01T00:00:00Z", "paginationToken": token, "maxResultsPerPage": "100"}
    assert web.refused("GET", ORDERS, **query, marketplaceIds=US) == (400, "InvalidInput")
    clock.pass_seconds(86_400)
    web.connect()
    assert web.refused("GET", ORDERS, **query, marketplaceIds=f"{US},{CA}") == (400, "InvalidInput")


def test_shows_of_an_order_what_is_asked_for_and_of_a_pending_one_no_buyer(web: Web) -> None:
    bare = web.searched()["orders"]
    whole = web.searched(includedData="BUYER,RECIPIENT,PROCEEDS,FULFILLMENT,PACKAGES")["orders"]
    by_status = {order["fulfillment"]["fulfillmentStatus"]: order for order in whole}

    asked = {"buyer", "recipient", "proceeds", "fulfillment", "packages"}
    assert not any(asked & set(order) for order in bare)
    assert asked <= set(by_status["SHIPPED"])
    assert asked & set(by_status["PENDING"]) == {"fulfillment", "packages"}
    assert "price" not in by_status["PENDING"]["orderItems"][0]["product"]
    found = web.searched(fulfillmentStatuses="PENDING,CANCELLED", includedData="FULFILLMENT")["orders"]
    assert {order["fulfillment"]["fulfillmentStatus"] for order in found} == {"PENDING", "CANCELLED"}


def test_the_buyer_is_for_apps_that_ship(web: Web) -> None:
    web.control("PUT", "/settings", roles=list(amazon.ROLES[:3]))
    web.connect()

    query = {"createdAfter": "2026-11-20T00:00:00Z", "includedData": "BUYER"}
    assert web.refused("GET", ORDERS, **query) == (403, "Unauthorized")
    assert web.searched(includedData="PROCEEDS,FULFILLMENT")["orders"]


def test_an_order_of_another_seller_does_not_exist(web: Web) -> None:
    web.control("POST", "/sellers", name="other", orders=1, seed=9)
    other = web.control("GET", "/sellers/other/truth")["orders"][0]["id"]

    assert web.refused("GET", f"{ORDERS}/{other}") == (404, "NotFound")


# Listings


def test_finds_listings_by_the_time_of_change_in_the_order_that_is_asked_for(web: Web, clock: Any) -> None:
    query = {"sortBy": "lastUpdatedDate", "pageSize": "20"}
    newest = web.listings(**query)["items"]
    oldest = web.listings(**query, sortOrder="ASC")["items"]
    clock.pass_seconds(60)
    web.control("PUT", "/sellers/demo/products/SKU-00003", title="Anders")
    now = amazon_seller.stamp(int(clock()))

    def times(items: list[Json]) -> list[str]:
        return [item["summaries"][0]["lastUpdatedDate"] for item in items]

    assert times(newest) == sorted(times(newest), reverse=True)
    assert times(oldest) == sorted(times(oldest))
    found = web.listings(lastUpdatedAfter=now, lastUpdatedBefore=now)
    assert [item["sku"] for item in found["items"]] == ["SKU-00003"]
    assert found["items"][0]["summaries"][0]["itemName"] == "Anders"
    assert web.listings(lastUpdatedBefore=amazon_seller.stamp(int(clock()) - 1))["numberOfResults"] == 44


def test_shows_a_listing_in_the_marketplaces_that_were_asked_for(web: Web) -> None:
    both = web.listings(marketplaceIds=f"{US},{CA}", identifiers="SKU-00001", identifiersType="SKU")["items"][0]
    here = web.listings(marketplaceIds=CA)["numberOfResults"]

    assert [summary["marketplaceId"] for summary in both["summaries"]] == [US, CA]
    assert here < web.listings()["numberOfResults"]
    path = f"/listings/2021-08-01/items/{web.seller.id}"
    assert web.refused("GET", f"{path}/SKU-00002", marketplaceIds=CA) == (404, "NOT_FOUND")
    assert web.refused("GET", path, marketplaceIds=DE) == (400, "InvalidInput")
    assert web.refused("GET", path.replace(web.seller.id, "AOTHERSELLER"), marketplaceIds=US) == (403, "Unauthorized")


def test_no_search_goes_deeper_than_a_thousand(web: Web, clock: Any) -> None:
    web.control("POST", "/sellers", name="large", products=1_005, orders=0)
    web.connect("large")
    path = f"/listings/2021-08-01/items/{web.platform.accounts['large'].seller.id}"
    seen, token = [], ""
    while token is not None:
        page = web.get(path, marketplaceIds=US, pageSize="20", **({"pageToken": token} if token else {}))
        assert page["numberOfResults"] == 1_005
        seen += [item["sku"] for item in page["items"]]
        token = page["pagination"].get("nextToken")
        clock.pass_seconds(1)

    assert len(set(seen)) == len(seen) == 1_000


# Reports


def test_a_report_takes_its_time_and_its_address_ends(web: Web, clock: Any) -> None:
    made = web.call("POST", REPORTS, {"reportType": "GET_MERCHANT_LISTINGS_ALL_DATA", "marketplaceIds": [US]})
    id = made.json()["reportId"]
    states = []
    for _ in range(3):
        states.append(web.get(f"{REPORTS}/{id}"))
        clock.pass_seconds(30)

    assert made.status_code == 202
    assert [state["processingStatus"] for state in states] == ["IN_QUEUE", "IN_PROGRESS", "DONE"]
    document = web.get(f"{DOCUMENTS}/{states[-1]['reportDocumentId']}")
    fresh, forged = web.client.get(document["url"]), web.client.get(document["url"][:-1])
    clock.pass_seconds(300)
    assert [answer.status_code for answer in (fresh, forged, web.client.get(document["url"]))] == [200, 403, 403]
    assert web.refused("GET", f"{REPORTS}/1") == (404, "NotFound")


# Notifications


def schema_of(type: str) -> Json:
    file = {
        "ORDER_CHANGE": "OrderChangeNotification",
        "LISTINGS_ITEM_STATUS_CHANGE": "ListingsItemStatusChangeNotification",
        "LISTINGS_ITEM_MFN_QUANTITY_CHANGE": "ListingsItemMfnQuantityChange",
    }[type]
    schema: Json = json.loads((_CONTRACTS / f"{file}.json").read_text())
    return schema


def test_sends_what_amazons_schemas_allow_to_whom_subscribed(web: Web) -> None:
    web.control("POST", "/sellers/demo/orders")
    ADAPTER.reconcile(web.store(), "", "", web.wire)
    order = web.control("POST", "/sellers/demo/orders")["id"]
    web.control("PUT", f"/sellers/demo/orders/{order}", status="SHIPPED")
    web.control("POST", "/sellers/demo/products", sku="NEW", title="Neu ✨")
    web.control("PUT", "/sellers/demo/products/SKU-00001", quantity=777, title="Anders")
    web.control("PUT", "/sellers/demo/products/SKU-00001", price=1)
    web.control("DELETE", "/sellers/demo/products/SKU-00002")

    web.control("POST", "/deliver")

    told = [json.loads(body) for _, body in web.queue]
    # a new SKU and its status are told for each marketplace that it is in
    assert [each["NotificationType"] for each in told] == [
        "ORDER_CHANGE",
        "ORDER_CHANGE",
        *["LISTINGS_ITEM_STATUS_CHANGE"] * 2,
        "LISTINGS_ITEM_MFN_QUANTITY_CHANGE",
        "LISTINGS_ITEM_STATUS_CHANGE",
    ]
    assert {arn for arn, _ in web.queue} == {QUEUE_ARN}
    for each in told:
        errors = {error.message for error in Draft4Validator(schema_of(each["NotificationType"])).iter_errors(each)}
        # the schema's own example has the other spelling
        assert errors <= {"'LISTINGS_ITEM_STATUS_CHANGE' is not one of ['LISTINGS_ITEM_STATUS_CHANGED']"}


def test_what_a_queue_refuses_waits(web: Web) -> None:
    ADAPTER.reconcile(web.store(), "", "", web.wire)

    def closed(arn: str, body: str) -> None:
        raise QueueRefused("AccessDenied")

    web.platform.notifications._send, taken = closed, web.platform.notifications._send
    web.control("POST", "/sellers/demo/orders")
    refused = web.control("POST", "/deliver")
    web.platform.notifications._send = taken
    asyncio.run(web.platform.deliver())

    assert ([each["error"] for each in refused["sent"]], refused["waiting"]) == (["AccessDenied"], 1)
    assert len(web.queue) == 1


def test_a_queue_that_is_not_there_refuses() -> None:
    send = server._queue_sender("http://127.0.0.1:9")

    with pytest.raises(QueueRefused, match=r"127\.0\.0\.1"):
        send(QUEUE_ARN, "{}")


def test_repeats_and_loses_notifications_when_told(web: Web) -> None:
    ADAPTER.reconcile(web.store(), "", "", web.wire)
    web.control("POST", "/sellers/demo/orders")
    web.control("PUT", "/delivery", paused=True)
    asyncio.run(web.platform.deliver())
    assert web.queue == []
    web.control("POST", "/deliver", copies=3, shuffle=True)
    assert len(web.queue) == 3
    assert len(set(web.queue)) == 1
    web.control("POST", "/sellers/demo/orders")
    web.control("POST", "/deliver", lose=1)

    assert len(web.queue) == 3


def test_a_second_destination_or_subscription_is_a_conflict(web: Web) -> None:
    token, wish = web.grantless(), {"name": "x", "resourceSpecification": {"sqs": {"arn": QUEUE_ARN}}}
    made = [web.call("POST", DESTINATIONS, wish, token=token) for _ in range(2)]
    subscription = {"payloadVersion": "1.0", "destinationId": made[0].json()["payload"]["destinationId"]}
    path = f"{SUBSCRIPTIONS}/ORDER_CHANGE"
    subscribed = [web.call("POST", path, subscription) for _ in range(2)]

    assert [answer.status_code for answer in (*made, *subscribed)] == [200, 409] * 2
    assert web.call("GET", path).json()["payload"]["destinationId"] == subscription["destinationId"]
    for wrong in ({"name": "x"}, {**wish, "resourceSpecification": {"sqs": {"arn": "queue"}}}):
        assert web.refused("POST", DESTINATIONS, wrong, token=token) == (400, "InvalidInput")
    assert web.refused("POST", f"{SUBSCRIPTIONS}/NEWS", subscription) == (400, "InvalidInput")
    assert web.refused("GET", f"{SUBSCRIPTIONS}/NEWS") == (404, "NotFound")
    id = subscribed[0].json()["payload"]["subscriptionId"]
    assert [web.call("DELETE", f"{path}/{id}", token=token).status_code for _ in range(2)] == [200, 404]


# Our adapter


def connected(web: Web, marketplace: str = US) -> tuple[Connection, Identity]:
    """The whole way of a seller through our adapter."""
    domain = f"https://{adapters.MARKETPLACES[marketplace].host}"
    url = ADAPTER.authorization_url(APP, domain, state="s", return_url="", challenge="")
    returned = httpx.URL(web.client.get(url).headers["location"])
    callback = ADAPTER.read_callback(APP, list(returned.params.multi_items()), web.now())
    tokens = ADAPTER.exchange(APP, domain, callback.code, return_url="", verifier="", http=web.wire, now=web.now())
    assert tokens.refresh_token
    secrets = {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token}
    store = Connection(domain, secrets, callback.account, app=APP)
    (identity,) = ADAPTER.stores_of(store, web.wire)
    assert (tokens.expires_at, tokens.refresh_expires_at) == (
        web.now() + timedelta(hours=1), web.now() + timedelta(days=365),
    )  # fmt: skip
    return store._replace(store_id=identity.store_id), identity


@pytest.mark.parametrize(("marketplace", "currency"), [(US, "USD"), (CA, "CAD")])
def test_the_adapter_connects_a_seller_in_a_marketplace(web: Web, marketplace: str, currency: str) -> None:
    web.control("PUT", "/settings", approve="demo")

    _, identity = connected(web, marketplace)

    assert identity == Identity(
        f"{web.seller.id}.{marketplace}", f"https://{adapters.MARKETPLACES[marketplace].host}", "demo", currency
    )


def test_the_adapter_tells_why_a_seller_cannot_be_connected(web: Web) -> None:
    web.control("PUT", "/settings", approve="demo")
    elsewhere = refusal(lambda: connected(web, DE))
    web.control("PUT", "/sellers/demo", marketplaces=[CA])
    not_here = refusal(lambda: connected(web, US))
    web.control("PUT", "/sellers/demo", marketplaces=[])
    nowhere = refusal(lambda: connected(web, US))
    web.control("PUT", "/sellers/demo", marketplaces=[US])
    web.control("PUT", "/settings", roles=[amazon.ROLES[2]])
    no_role = refusal(lambda: connected(web, US))
    web.control("PUT", "/settings", roles=list(amazon.ROLES))
    another = refusal(lambda: ADAPTER.probe(web.store()._replace(store_id="AOTHERSELLER"), web.wire))

    found = (elsewhere, not_here, nowhere, no_role, another)
    assert {error.refusal for error in found} == {Refusal.PERMISSION}
    said = ("given in another region", "but sells on www.amazon.ca", "not registered to sell anywhere in North America",
            "lacks the role Product Listing", "it is another seller's")  # fmt: skip
    assert [part in error.detail for part, error in zip(said, found, strict=True)] == [True] * 5


def test_the_adapter_tells_which_role_a_sync_lacks(web: Web) -> None:
    web.control("PUT", "/settings", roles=[amazon.ROLES[1], amazon.ROLES[2]])
    store = web.store()

    error = refusal(lambda: web.cycle(store, Resource.ORDERS))

    assert (error.refusal, amazon.ROLES[0] in error.detail) == (Refusal.PERMISSION, True)


@pytest.mark.parametrize("resource", Resource)
def test_the_adapter_tells_a_sync_that_the_seller_has_left_the_marketplace(web: Web, resource: Resource) -> None:
    store = web.store()
    web.cycle(store, resource)
    web.control("PUT", "/sellers/demo", marketplaces=[CA])

    error = refusal(lambda: web.cycle(store, resource))

    assert error.refusal is Refusal.PERMISSION
    assert error.detail == "The seller does not sell on www.amazon.com, but sells on www.amazon.ca."


def test_the_adapter_refreshes_without_rotation_until_the_consent_ends(web: Web, clock: Any) -> None:
    store = web.store()
    clock.pass_seconds(3_600)
    assert refusal(lambda: ADAPTER.probe(store, web.wire)).refusal is Refusal.CREDENTIALS
    tokens = ADAPTER.refresh(store, web.wire, web.now())
    assert tokens.refresh_token == store.credentials["refresh_token"]
    ADAPTER.probe(store._replace(credentials={**store.credentials, "access_token": tokens.access_token}), web.wire)
    clock.pass_seconds(365 * 86_400)

    assert refusal(lambda: ADAPTER.refresh(store, web.wire, web.now())).refusal is Refusal.CREDENTIALS


def gmt(records: list[Record]) -> dict[str, str]:
    return {record.id: our_clock.short(record.updated_at) for record in records}


def truth(web: Web, kind: str, marketplace: str = US) -> dict[str, str]:
    rows = web.control("GET", "/sellers/demo/truth")[kind]
    here = [row for row in rows if marketplace in row.get("marketplaces", [row.get("marketplace")])]
    return {row["id"]: row["modified_gmt"] for row in here}


@pytest.mark.parametrize("marketplace", [US, CA])
def test_the_adapter_syncs_all_listings_and_then_what_changed(web: Web, clock: Any, marketplace: str) -> None:
    store = web.store(marketplace)
    first, cursor = web.cycle(store, Resource.PRODUCTS)
    assert gmt(first) == truth(web, "products", marketplace)
    clock.pass_seconds(1_800)
    web.control("PUT", "/sellers/demo/products/SKU-00003", title="Anders")
    web.control("DELETE", "/sellers/demo/products/SKU-00009")
    clock.pass_seconds(60)

    changed, _ = web.cycle(store, Resource.PRODUCTS, cursor)

    assert gmt(changed).keys() == {"SKU-00003"}
    assert changed[0].body["title"] == "Anders"
    assert sorted(web.ids(store, Resource.PRODUCTS)) == sorted(truth(web, "products", marketplace))
    one = ADAPTER.fetch_one(store, Resource.PRODUCTS, "SKU-00007/slash ü%", web.wire)
    assert one.body["sku"] == "SKU-00007/slash ü%"
    assert web.wire.throttled == 0


def test_the_adapter_pages_through_listings_no_faster_than_it_may(web: Web) -> None:
    web.control("POST", "/sellers", name="wide", products=150, orders=0)
    store = web.store(seller="wide")

    found, _ = web.cycle(store, Resource.PRODUCTS)

    assert (len({record.id for record in found}), web.wire.throttled) == (150, 0)


def test_the_adapter_lists_a_large_catalogue_by_a_report(web: Web) -> None:
    web.control("POST", "/sellers", name="large", products=1_205, orders=0, days=2)
    store = web.store(seller="large")

    ids = web.ids(store, Resource.PRODUCTS)

    assert sorted(ids) == sorted(web.platform.accounts["large"].seller.listings)
    assert ("/reports/2021-06-30/reports", 202) in web.transport.answered
    assert web.wire.throttled == 0


def test_the_adapter_reads_listings_of_one_second_that_no_search_shows(web: Web, clock: Any) -> None:
    web.control("POST", "/sellers", name="large", products=1_030, orders=0)
    seller = web.platform.accounts["large"].seller
    for listing in seller.listings.values():
        listing.updated = int(clock()) - 3_600
    web.control("PUT", "/settings", access_life=86_400)
    store = web.store(seller="large")
    web.wire.latency = 0.25

    found, _ = web.cycle(store, Resource.PRODUCTS)

    assert {record.id for record in found} == set(seller.listings)
    assert web.wire.throttled == 0


def test_the_adapter_syncs_all_orders_and_then_what_changed_within_the_rate(web: Web, clock: Any) -> None:
    store = web.store()
    first, cursor = web.cycle(store, Resource.ORDERS)
    assert gmt(first) == truth(web, "orders")
    changed = next(id for id, order in web.seller.orders.items() if order.marketplace == US)
    for _ in range(30):
        web.control("PUT", f"/sellers/demo/orders/{changed}", status="SHIPPED")
        clock.pass_seconds(200)
        if web.token:
            store = web.store()
        found, cursor = web.cycle(store, Resource.ORDERS, cursor)
        assert gmt(found) == {changed: truth(web, "orders")[changed]}

    assert web.wire.throttled == 0


def test_the_adapter_imports_more_pages_than_come_at_once_without_being_throttled(web: Web, clock: Any) -> None:
    web.control("POST", "/sellers", name="busy", products=3, orders=2_150, seed=2)
    store, began = web.store(seller="busy"), clock()

    found, _ = web.cycle(store, Resource.ORDERS)

    assert len({record.id for record in found}) == 2_150
    assert 357 < clock() - began < 359  # twenty pages at once, then two, a turn of 178.6 seconds each
    assert web.wire.throttled == 0


def test_two_stores_of_a_seller_get_by_with_the_searches_of_one(web: Web) -> None:
    stores = [web.store(US), web.store(CA)]
    for store in stores * 9:
        ADAPTER.newest_orders(store, web.wire, web.now())
    for store in stores:
        assert ADAPTER.fetch(store, Resource.ORDERS, None, web.wire, web.now()).done

    # each has counted its own only
    error = refusal(lambda: ADAPTER.fetch(stores[0], Resource.ORDERS, None, web.wire, web.now()))
    assert error.refusal is Refusal.RATE_LIMITED
    web.wait(error.retry_at)
    assert ADAPTER.fetch(stores[1], Resource.ORDERS, None, web.wire, web.now()).done


def test_a_throttled_adapter_says_until_when_and_that_is_enough(web: Web) -> None:
    store = web.store()
    for _ in range(20):
        ADAPTER.newest_orders(store, web.wire, web.now())

    error = refusal(lambda: ADAPTER.newest_orders(store, web.wire, web.now()))

    assert error.refusal is Refusal.RATE_LIMITED
    assert error.retry_at is not None
    assert timedelta(seconds=178) < error.retry_at - web.now() < timedelta(seconds=180)
    web.wait(error.retry_at)
    ADAPTER.newest_orders(store, web.wire, web.now())


def test_the_adapter_has_each_order_whole_by_its_id(web: Web) -> None:
    store = web.store()
    searched, _ = web.cycle(store, Resource.ORDERS)

    for record in searched[:5]:
        assert ADAPTER.fetch_one(store, Resource.ORDERS, record.id, web.wire) == record
    assert refusal(lambda: ADAPTER.fetch_one(store, Resource.ORDERS, "114-1", web.wire)).refusal is Refusal.NOT_FOUND


def test_the_adapter_keeps_a_sellers_subscriptions_to_our_queue(web: Web) -> None:
    here, beside = web.store(US), web.store(CA)
    web.wire.latency = 0.25

    assert ADAPTER.reconcile(here, "", "", web.wire) == Subscribed(created=len(TOPICS))
    assert ADAPTER.reconcile(beside, "", "", web.wire) == Subscribed(kept=len(TOPICS))
    assert set(web.control("GET", "/sellers/demo")["subscriptions"]) == set(TOPICS)
    web.clock.pass_seconds(10)
    moved = here._replace(app=APP._replace(more={**APP.more, "queue_arn": f"{QUEUE_ARN}-2"}))
    assert ADAPTER.reconcile(moved, "", "", web.wire) == Subscribed(repaired=len(TOPICS))
    there = web.control("GET", "/sellers/demo")["subscriptions"].values()
    _, second = web.platform.notifications.destinations("na")
    assert {each["destinationId"] for each in there} == {second["destinationId"]}
    web.clock.pass_seconds(10)
    ADAPTER.unsubscribe(here, "", web.wire)
    assert web.control("GET", "/sellers/demo")["subscriptions"] == {}


def test_the_adapter_reads_what_comes_through_the_queue(web: Web) -> None:
    store = web.store()
    ADAPTER.reconcile(store, "", "", web.wire)
    order = web.control("POST", "/sellers/demo/orders")["id"]
    web.control("PUT", "/sellers/demo/products/SKU-00001", quantity=777)
    web.control("DELETE", "/sellers/demo/products/SKU-00002")
    web.control("POST", "/deliver")

    deliveries = [ADAPTER.read_queue_message(body, _md5(body)) for _, body in web.queue]
    secrets = ADAPTER.app_secrets(APP)

    assert {ADAPTER.verify(each, secrets, web.now()) for each in deliveries} == {Verdict.GENUINE}
    assert len({ADAPTER.event_id(each) for each in deliveries}) == 3
    assert [ADAPTER.parse(each) for each in deliveries] == [
        [Event(Resource.ORDERS, order)],
        [Event(Resource.PRODUCTS, "SKU-00001")],
        [Event(Resource.PRODUCTS, "SKU-00002", deleted=True)],
    ]
    assert [ADAPTER.store_of(each) for each in deliveries] == [store.store_id, "", store.store_id]
    assert store.store_id in ADAPTER.stores_named(deliveries[1])
    assert ADAPTER.fetch_one(store, Resource.ORDERS, order, web.wire).body["status"] == "paid"
    changed = ADAPTER.fetch_one(store, Resource.PRODUCTS, "SKU-00001", web.wire)
    assert changed.body["variants"][0]["inventoryQuantity"] == 777


def test_the_adapter_reads_what_comes_over_the_event_bus(web: Web) -> None:
    store, token = web.store(), web.grantless()
    bus = {"accountId": "000000000000", "region": "us-east-1"}
    wish = {"name": "bus", "resourceSpecification": {"eventBridge": bus}}
    id = web.call("POST", DESTINATIONS, wish, token=token).json()["payload"]["destinationId"]
    web.call("POST", f"{SUBSCRIPTIONS}/ORDER_CHANGE", {"payloadVersion": "1.0", "destinationId": id})
    web.control("POST", "/sellers/demo/orders")
    web.control("PUT", "/settings", bus_queue=QUEUE_ARN)
    order = web.control("POST", "/sellers/demo/orders")["id"]
    web.control("POST", "/deliver")

    ((_, body),) = web.queue

    assert json.loads(body)["detail-type"] == "ORDER_CHANGE"
    for delivery in (ADAPTER.read_bus_event(body), ADAPTER.read_queue_message(body, _md5(body))):
        assert ADAPTER.verify(delivery, ADAPTER.app_secrets(APP), web.now()) is Verdict.GENUINE
        assert ADAPTER.parse(delivery) == [Event(Resource.ORDERS, order)]
        assert ADAPTER.store_of(delivery) == store.store_id


def _md5(body: str) -> str:
    return md5(body.encode(), usedforsecurity=False).hexdigest()


# Faults and the control API


def test_meets_a_sellers_faults_with_their_token_only(web: Web) -> None:
    store, free = web.store(), web.grantless()
    web.control("POST", "/sellers/demo/faults", kind="html", times=1)

    assert web.call("GET", DESTINATIONS, token=free).status_code == 200
    error = refusal(lambda: ADAPTER.fetch_one(store, Resource.ORDERS, "114-1", Wire(_unjudged(web), web.clock)))
    assert error.refusal is Refusal.NOT_THE_PLATFORM
    assert web.call("GET", PARTICIPATIONS).status_code == 200


def test_meets_faults_of_the_token_endpoint(web: Web) -> None:
    store = web.store()
    web.control("POST", "/faults", kind="status", status=503, path="/auth/o2/token", times=1)

    assert refusal(lambda: ADAPTER.refresh(store, web.wire, web.now())).refusal is Refusal.TRANSIENT
    assert ADAPTER.refresh(store, web.wire, web.now()).access_token


def _unjudged(web: Web) -> httpx.Client:
    return httpx.Client(transport=web.transport._inner)


def test_logs_calls_without_anything_secret(web: Web) -> None:
    web.control("DELETE", "/calls")
    pair = web.connect()
    web.searched(includedData="BUYER")
    text = json.dumps(calls := web.control("GET", "/calls"))

    assert not any(secret in text for secret in (pair["access_token"], pair["refresh_token"], amazon.CLIENT_SECRET))
    assert "spapi_oauth_code" not in text
    assert calls["routes"] == {"POST /apps/authorize/consent": 1, "POST /auth/o2/token": 1, f"GET {ORDERS}": 1}
    assert calls["codes"] == {"302": 1, "200": 2}
    assert calls["last"][2] | {"query": {}} == {
        "host": "sellingpartnerapi-na.amazon.com", "method": "GET", "path": ORDERS, "query": {}, "seller": "demo",
        "status": 200,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/sellers/nobody/truth", {}, 404),
        ("PUT", "/sellers/demo/orders/1", {"status": "SHIPPED"}, 404),
        ("PUT", "/sellers/demo/products/1", {}, 404),
        ("POST", "/sellers", {"name": "x", "marketplaces": [US, DE]}, 400),
        ("POST", "/sellers", {"name": "x", "marketplaces": ["X"]}, 400),
        ("POST", "/sellers", {"name": "x", "products": 0}, 400),
        ("POST", "/sellers", {"name": "x", "colour": "red"}, 400),
        ("PUT", "/settings", {"approve": "nobody"}, 400),
        ("PUT", "/settings", {"pace": 1}, 400),
        ("POST", "/faults", {"kind": "flood"}, 400),
        ("POST", "/sellers/demo/orders", {"lines": [{"sku": "?"}]}, 400),
        ("POST", "/sellers/demo/orders", {"status": "LOST"}, 400),
        ("POST", "/sellers/demo/products", {"sku": "SKU-00001"}, 400),
    ],
)
def test_says_what_is_wrong_with_an_order(web: Web, method: str, path: str, body: Json, status: int) -> None:
    answer = web.client.request(method, f"{CONTROL}{path}", json=body)

    assert (answer.status_code, bool(answer.json()["error"])) == (status, True)


def test_forgets_a_seller_who_is_closed(web: Web) -> None:
    web.control("DELETE", "/sellers/demo")

    assert web.control("GET", "")["sellers"] == []
    assert web.refused("GET", PARTICIPATIONS) == (403, "Unauthorized")


# Amazon's own SDK, over the wire


class Sdk:
    """Clients of the SDK for one seller of a served sandbox."""

    def __init__(self, running: Running) -> None:
        self._login = f"{running.base_url}/at/{amazon.LOGIN_HOST}/auth/o2/token"
        self._endpoint = f"{running.base_url}/at/sellingpartnerapi-na.amazon.com"
        platform = running.sandbox.amazon
        self.seller = platform.open("judged", marketplaces=[US], sizes=amazon_seller.Sizes(products=25, orders=30))
        form = {"application_id": amazon.APPLICATION_ID, "seller": "judged", "decision": "confirm"}
        with httpx.Client(verify=_trusting(running), trust_env=False) as client:
            answer = client.post(f"{running.base_url}/at/{CONSENT.removeprefix('https://')}", data=form)
            code = httpx.URL(answer.headers["location"]).params["spapi_oauth_code"]
            wish = {**CLIENT, "grant_type": "authorization_code", "code": code}
            self.refresh_token: str = client.post(self._login, data=wish).json()["refresh_token"]

    def client(self, **options: str) -> Any:
        config = spapi.SPAPIConfig(amazon.CLIENT_ID, amazon.CLIENT_SECRET, region="NA", **options)
        return spapi.SPAPIClient(config, oauth_endpoint=self._login, endpoint=self._endpoint).api_client

    def of_the_seller(self) -> Any:
        return self.client(refresh_token=self.refresh_token)

    def grantless(self) -> Any:
        return self.client(scope="sellingpartnerapi::notifications", grant_type="client_credentials")

    def tokens(self, secret: str) -> AccessTokenCache:
        return AccessTokenCache(amazon.CLIENT_ID, secret, self.refresh_token, oauth_endpoint=self._login, max_retries=0)


def _trusting(running: Running) -> Any:
    return ssl.create_default_context(cafile=running.ca)


@pytest.fixture
def sdk(running: Running, monkeypatch: pytest.MonkeyPatch) -> Sdk:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(running.ca))
    monkeypatch.setattr("spapi.rest.certifi.where", lambda: str(running.ca))
    return Sdk(running)


def test_amazons_sdk_gets_tokens_and_is_refused_with_a_wrong_secret(sdk: Sdk) -> None:
    assert sdk.tokens(amazon.CLIENT_SECRET).get_lwa_access_token().startswith("Atza|")
    with pytest.raises(LwaException):
        sdk.tokens("wrong").get_lwa_access_token()


def test_amazons_sdk_reads_where_the_seller_sells(sdk: Sdk) -> None:
    (part, *_) = SellersApi(sdk.of_the_seller()).get_marketplace_participations().payload

    assert (part.marketplace.id, part.marketplace.default_currency_code, part.store_name) == (US, "USD", "judged")
    assert part.participation.is_participating


def test_amazons_sdk_reads_all_orders(sdk: Sdk) -> None:
    client = sdk.of_the_seller()
    found: list[Any] = []
    token: dict[str, str] = {}
    while True:
        page = SearchOrdersApi(client).search_orders(
            last_updated_after="2020-01-01T00:00:00Z", marketplace_ids=[US], max_results_per_page=20,
            included_data=["BUYER", "RECIPIENT", "PROCEEDS", "FULFILLMENT", "PACKAGES"], **token,
        )  # fmt: skip
        found += page.orders
        if not page.pagination.next_token:
            break
        token = {"pagination_token": page.pagination.next_token}

    assert {order.order_id: order.fulfillment.fulfillment_status for order in found} == {
        order.id: order.status for order in sdk.seller.orders.values()
    }
    one = GetOrderApi(client).get_order(found[0].order_id, included_data=["PROCEEDS"]).order
    assert one.proceeds.grand_total.amount == sdk.seller.order_truth(sdk.seller.orders[one.order_id])["total"]


def test_amazons_sdk_reads_all_listings(sdk: Sdk) -> None:
    api, data = ListingsApi(sdk.of_the_seller()), ["summaries", "offers", "fulfillmentAvailability", "relationships"]
    first = api.search_listings_items(sdk.seller.id, [US], included_data=data, page_size=20)
    second = api.search_listings_items(
        sdk.seller.id, [US], included_data=data, page_size=20, page_token=first.pagination.next_token
    )
    listed = [*first.items, *second.items]

    assert {item.sku: item.summaries[0].item_name for item in listed} == {
        listing.sku: listing.title for listing in sdk.seller.listings.values()
    }
    one = api.get_listings_item(sdk.seller.id, "SKU-00007/slash ü%", [US], included_data=data)
    assert one.fulfillment_availability[0].quantity == sdk.seller.listings[one.sku].quantity


def test_amazons_sdk_makes_a_report_and_reads_it(sdk: Sdk, running: Running) -> None:
    api, platform = ReportsApi(sdk.of_the_seller()), running.sandbox.amazon
    platform.settings.report_takes = 0
    wish = {"reportType": "GET_MERCHANT_LISTINGS_ALL_DATA", "marketplaceIds": [US]}
    report = api.get_report(api.create_report(wish).report_id)
    document = api.get_report_document(report.report_document_id)
    place = document.url.replace("https://", f"{running.base_url}/at/")

    with httpx.Client(verify=_trusting(running), trust_env=False) as client:
        lines = adapters._skus(adapters._lines(adapters._inflated(client.get(place).content)), "utf-8")

        assert report.processing_status == "DONE"
        assert document.compression_algorithm == "GZIP"
        assert list(lines) == list(sdk.seller.listings)


def test_amazons_sdk_subscribes_and_unsubscribes(sdk: Sdk) -> None:
    app, seller = NotificationsApi(sdk.grantless()), NotificationsApi(sdk.of_the_seller())
    wish = {"name": "sdk", "resourceSpecification": {"sqs": {"arn": f"arn:aws:sqs:us-east-1:{AMAZONS_ACCOUNT}:sdk"}}}
    made = app.create_destination(wish).payload
    subscription = {"payloadVersion": "1.0", "destinationId": made.destination_id}
    subscribed = seller.create_subscription(body=subscription, notification_type="ORDER_CHANGE").payload

    assert made.destination_id in {each.destination_id for each in app.get_destinations().payload}
    assert seller.get_subscription("ORDER_CHANGE").payload.subscription_id == subscribed.subscription_id
    app.delete_subscription_by_id(subscribed.subscription_id, "ORDER_CHANGE")
    with pytest.raises(spapi.ApiException) as refused:
        seller.get_subscription("ORDER_CHANGE")
    assert refused.value.status == 404
