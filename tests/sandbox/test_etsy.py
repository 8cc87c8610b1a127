"""The Etsy stand-in speaks as Etsy does; the judges are its contract, the client etsy-python, and our adapter."""

import asyncio
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import requests
from etsy_python.v3.auth.OAuth import EtsyOAuth
from etsy_python.v3.enums.Listing import Includes, State
from etsy_python.v3.enums.ShopReceipt import SortOn, SortOrder
from etsy_python.v3.exceptions.RequestException import RequestException
from etsy_python.v3.models.Miscellaneous import GetTokenScopes
from etsy_python.v3.resources.Listing import ListingResource
from etsy_python.v3.resources.ListingInventory import ListingInventoryResource
from etsy_python.v3.resources.Miscellaneous import MiscellaneousResource
from etsy_python.v3.resources.Receipt import ReceiptResource
from etsy_python.v3.resources.Session import EtsyClient
from etsy_python.v3.resources.Shop import ShopResource
from etsy_python.v3.resources.User import UserResource
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import ValidationError
from requests.adapters import BaseAdapter
from standardwebhooks.webhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.check_custom import Plain
from infra.local.sandbox import etsy, server
from infra.local.sandbox.etsy_shop import STATES
from infra.local.sandbox.etsy_webhooks import REPEATED_AFTER, WEBHOOK_SECRET
from infra.local.sandbox.server import InProcess, Sandbox
from shared import clock as our_clock
from shared.platforms.base import (
    Answer,
    App,
    Connection,
    Delivery,
    Json,
    Page,
    PlatformError,
    Refusal,
    Resource,
    Verdict,
)
from shared.platforms.etsy import SCOPES, Etsy
from tests.platforms.etsy_contract import check_answer, check_request, contract
from tests.sandbox.conftest import Clock, Receiver

ADAPTER = Etsy()
APP = App(etsy.KEYSTRING, etsy.SHARED_SECRET, more={"webhook_secret": WEBHOOK_SECRET})
KEY = f"{etsy.KEYSTRING}:{etsy.SHARED_SECRET}"
API = "https://api.etsy.com/v3/application"
CONTROL = "https://localhost/_sandbox/etsy"
HOOK = "https://app.example.com/webhooks/ETSY"
LONG_AGO, FAR_AHEAD = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
DAY = 86_400


class Judged(httpx.BaseTransport):
    """The way into the sandbox; whatever the API answers there is held to Etsy's contract."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self.inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self.inner.handle_request(request)
        path = request.url.path
        if path.startswith("/v3/application/") and response.status_code != 429:
            answer = Answer(response.status_code, {}, response.read())
            check_answer(request.method, f"https://{request.url.host}{path}", answer)
        return response


class Lent(BaseAdapter):
    """The same way for requests, which the judge is made with."""

    def __init__(self, client: httpx.Client) -> None:
        super().__init__()
        self._client = client

    def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() != "content-length"}
        answer = self._client.request(request.method, request.url, headers=headers, content=request.body)
        response = requests.Response()
        response.status_code, response.reason = answer.status_code, answer.reason_phrase
        response.headers.update(answer.headers)
        response.raw, response.url, response.request = io.BytesIO(answer.content), request.url, request
        return response

    def close(self) -> None:
        pass


class Checked(Plain):
    """The adapter's way; whatever it asks is held to Etsy's contract."""

    def request(self, method: str, url: str, **options: Any) -> Answer:
        if urlsplit(url).path != etsy.TOKEN:
            sent = (options.get("params") or {}, options["headers"], options.get("content") or b"")
            check_request(method, url, *sent, KEY)
        return super().request(method, url, **options)


class Web:
    """Callers of the platform: a browser, the judge, our adapter, and the control API."""

    def __init__(self, platform: etsy.Etsy, client: httpx.Client, clock: Any) -> None:
        self.platform = platform
        self.client = client
        self.clock = clock
        self.http = Checked(client)

    def control(self, method: str, path: str, /, **body: Any) -> Json:
        """One call of the control API, which must succeed."""
        answer = self.client.request(method, f"{CONTROL}{path}", json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.platform.now(), UTC)

    @property
    def shop(self) -> Any:
        return self.platform.shops["demo"]

    def truth(self) -> Json:
        return self.control("GET", "/shops/demo/truth")

    def asked(self, **changes: str | None) -> dict[str, str]:
        """The query of a consent screen, right save for the changes."""
        right = {
            "response_type": "code",
            "client_id": etsy.KEYSTRING,
            "redirect_uri": etsy.REDIRECT_URI,
            "scope": " ".join(SCOPES),
            "state": "st-1",
            "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            "code_challenge_method": "S256",
        }
        return {name: value for name, value in {**right, **changes}.items() if value is not None}

    def consent(self, **changes: str | None) -> httpx.URL:
        """The seller clicks: where the browser is sent."""
        form = {"shop": "demo", "decision": "grant", **self.asked(**changes)}
        answer = self.client.post(f"https://{etsy.SITE}/oauth/connect", data=form)
        assert answer.status_code == 302, answer.text
        return httpx.URL(answer.headers["location"])

    def token(self, **form: str) -> httpx.Response:
        """A call for tokens; the challenge above belongs to the verifier of RFC 7636."""
        right = {
            "grant_type": "authorization_code",
            "client_id": etsy.KEYSTRING,
            "redirect_uri": etsy.REDIRECT_URI,
            "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        }
        return self.client.post(f"https://api.etsy.com{etsy.TOKEN}", data={**right, **form})

    def tokens(self, **changes: str | None) -> Json:
        """The whole way to tokens."""
        answer = self.token(code=self.consent(**changes).params["code"])
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refresh(self, token: str) -> httpx.Response:
        return self.token(grant_type="refresh_token", refresh_token=token)

    def call(self, path: str, token: str = "", key: str | None = KEY, **query: Any) -> httpx.Response:
        headers = {"x-api-key": key, "authorization": f"Bearer {token}" if token else None}
        return self.client.get(API + path, params=query, headers={name: text for name, text in headers.items() if text})

    def connection(self, **changes: str | None) -> Connection:
        """Our store, connected."""
        given = self.tokens(**changes)
        credentials = {name: given[name] for name in ("access_token", "refresh_token")}
        return Connection("", credentials, str(self.shop.id), "USD", app=APP)

    def judge(self, expiry: datetime = FAR_AHEAD) -> EtsyClient:
        """The package's session; the shared secret is younger than it is."""
        given = self.tokens()
        session = EtsyClient(etsy.KEYSTRING, given["access_token"], given["refresh_token"], expiry)
        session.session.headers["x-api-key"] = KEY
        session.session.mount("https://", Lent(self.client))
        return session

    def cycle(
        self, store: Connection, resource: Resource, cursor: Json | None = None
    ) -> tuple[dict[str, Any], Json, list[Page]]:
        """All pages of a cycle: times by id, the next cursor; waits as long as the adapter asks for."""
        held: dict[str, Any] = {}
        pages = []
        for _ in range(200):
            page = ADAPTER.fetch(store, resource, cursor, self.http, self.now)
            held |= {record.id: record for record in page.records}
            pages.append(page)
            cursor = json.loads(json.dumps(page.cursor))
            if page.done:
                return held, cursor, pages
            if page.ready_at:
                self.clock.moment = max(self.clock.moment, page.ready_at.timestamp())
        raise AssertionError("the cycle has no end")


@contextmanager
def playing(clock: Clock, receiver: Any) -> Iterator[tuple[etsy.Etsy, InProcess]]:
    """A platform, and the way to it; our own clock is the platform's meanwhile."""
    platform = etsy.Etsy(clock, lambda: httpx.AsyncClient(transport=httpx.MockTransport(receiver), trust_env=False))
    stop = asyncio.Event()

    async def answer(request: Request) -> Response:
        return await platform.answer(request, stop)

    anything = Route("/{path:path}", answer, methods=["GET", "POST", "PUT"])
    app: Any = SimpleNamespace(app=Starlette(routes=[*platform.routes(), anything]))
    with InProcess(app) as transport, pytest.MonkeyPatch.context() as patch:
        patch.setattr(our_clock, "now", lambda: datetime.fromtimestamp(platform.now(), UTC))
        yield platform, transport


@pytest.fixture
def open_web(clock: Any, receiver: Any) -> Iterator[Callable[..., Web]]:
    """Platforms with one seller."""
    with playing(clock, receiver) as (platform, transport), httpx.Client(transport=Judged(transport)) as client:

        def open_web(**wishes: Any) -> Web:
            web = Web(platform, client, clock)
            web.control("POST", "/shops", **{"name": "demo", "products": 12, "orders": 25, **wishes})
            return web

        yield open_web


@pytest.fixture
def web(open_web: Callable[..., Web]) -> Web:
    return open_web()


def refused(call: Callable[[], object]) -> PlatformError:
    with pytest.raises(PlatformError) as raised:
        call()
    return raised.value


# Consent


def test_the_judge_connects_through_the_consent_screen(web: Web) -> None:
    judge = EtsyOAuth(etsy.KEYSTRING, etsy.REDIRECT_URI, list(SCOPES))
    judge.oauth.mount("https://", Lent(web.client))
    url, state = judge.get_auth_code()
    web.control("PUT", "/settings", approve="demo")

    back = httpx.URL(web.client.get(url).headers["location"])
    judge.set_authorisation_code(back.params["code"], back.params["state"])
    given: Any = judge.get_access_token()

    assert back.params["state"] == state
    assert given["access_token"].startswith(f"{web.shop.user_id}.")
    assert (given["token_type"], given["expires_in"]) == ("Bearer", 3600)


def test_a_seller_who_is_not_told_to_approve_gets_a_page_with_all_accounts(web: Web) -> None:
    web.control("POST", "/shops", name="<other>")

    page = web.client.get(f"https://{etsy.SITE}/oauth/connect", params=web.asked())

    assert page.status_code == 200
    assert 'value="demo"' in page.text
    assert "<other>" not in page.text
    assert "&lt;other&gt;" in page.text


def test_a_seller_who_declines_sends_no_code(web: Web) -> None:
    back = web.consent(decision="deny")

    assert (back.params["error"], back.params["state"]) == ("access_denied", "st-1")
    assert ADAPTER.read_callback(APP, list(back.params.multi_items()), web.now).code == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "other"},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": f"{etsy.REDIRECT_URI}/"},
        {"redirect_uri": None},
    ],
)
def test_a_redirect_address_that_is_not_the_apps_is_never_sent_to(web: Web, changes: dict[str, str | None]) -> None:
    answer = web.client.post(f"https://{etsy.SITE}/oauth/connect", data={**web.asked(**changes), "decision": "grant"})

    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"response_type": "token"}, "invalid_request"),
        ({"state": None}, "invalid_request"),
        ({"scope": "shops_r everything"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
    ],
)
def test_consent_is_asked_for_whole(web: Web, changes: dict[str, str | None], error: str) -> None:
    assert web.consent(**changes).params["error"] == error


# Tokens


def test_a_code_is_good_once_for_who_has_the_verifier(web: Web) -> None:
    code = web.consent().params["code"]

    first, second = web.token(code=code), web.token(code=code)

    assert first.status_code == 200
    assert (second.status_code, second.json()["error_description"]) == (400, "code has been used previously")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"code_verifier": "guessed"}, "invalid_grant"),
        ({"redirect_uri": "https://localhost:8701/other"}, "invalid_grant"),
        ({"code": "other"}, "invalid_grant"),
        ({"client_id": "other"}, "invalid_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
def test_a_code_with_one_wrong_part_gives_no_tokens(web: Web, form: dict[str, str], error: str) -> None:
    code = web.consent().params["code"]

    assert web.token(**{"code": code, **form}).json()["error"] == error


def test_a_code_grows_old(web: Web) -> None:
    code = web.consent().params["code"]
    web.clock.pass_seconds(600)

    assert web.token(code=code).json()["error"] == "invalid_grant"


def test_an_access_token_lives_for_an_hour_and_a_refresh_token_for_ninety_days(web: Web) -> None:
    given = web.tokens()
    web.clock.pass_seconds(3599)
    assert web.call("/users/me", given["access_token"]).status_code == 200
    web.clock.pass_seconds(1)
    ended = web.call("/users/me", given["access_token"])
    web.clock.pass_seconds(90 * DAY - 3601)
    second = web.refresh(given["refresh_token"]).json()
    web.clock.pass_seconds(90 * DAY - 1)
    third = web.refresh(second["refresh_token"]).json()
    web.clock.pass_seconds(90 * DAY)

    assert (ended.status_code, ended.json()["error_description"]) == (401, "access token is expired")
    assert web.refresh(third["refresh_token"]).json()["error_description"] == "refresh_token is expired"


def test_a_refresh_token_is_good_once_and_whoever_shows_it_again_ends_the_grant(web: Web) -> None:
    first = web.tokens()
    second = web.refresh(first["refresh_token"]).json()
    assert web.call("/users/me", second["access_token"]).status_code == 200

    again = web.refresh(first["refresh_token"])

    assert (again.status_code, again.json()) == (
        400,
        {"error": "invalid_grant", "error_description": "refresh_token is revoked"},
    )
    assert web.refresh(second["refresh_token"]).json()["error"] == "invalid_grant"
    assert web.call("/users/me", second["access_token"]).status_code == 401


@pytest.mark.parametrize("end", ["password", "remove_app"])
def test_a_changed_password_ends_all_tokens_of_that_seller_only(web: Web, end: str) -> None:
    first, second = web.tokens(), web.tokens()
    web.control("POST", "/shops", name="other", seed=2)
    others = web.tokens(shop="other")

    assert web.control("POST", f"/shops/demo/{end}") == {"ended": 2}

    for pair in (first, second):
        assert web.call("/users/me", pair["access_token"]).json()["error"] == "invalid_token"
        assert web.refresh(pair["refresh_token"]).json()["error"] == "invalid_grant"
    assert web.call("/users/me", others["access_token"]).status_code == 200


def test_the_judge_refreshes_its_token(web: Web) -> None:
    judge = web.judge(expiry=LONG_AGO)
    old = judge.access_token

    me = UserResource(judge).get_me()

    assert me.message == {"user_id": web.shop.user_id, "shop_id": web.shop.id}
    assert judge.access_token != old
    assert web.call("/users/me", judge.access_token).status_code == 200


# The key


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (None, "Invalid API key: should be in the format 'keystring:shared_secret'."),
        (etsy.KEYSTRING, "Shared secret is required in x-api-key header."),
        (f"{etsy.KEYSTRING}:other", "API key not found or not active"),
        (f"other:{etsy.SHARED_SECRET}", "API key not found or not active"),
    ],
)
def test_a_call_without_both_halves_of_the_key_is_refused(web: Web, key: str | None, said: str) -> None:
    answer = web.call("/openapi-ping", key=key)

    assert (answer.status_code, answer.json()) == (403, {"error": said})


def test_the_token_endpoint_is_content_with_the_keystring_and_takes_json(web: Web) -> None:
    form = {"grant_type": "refresh_token", "client_id": etsy.KEYSTRING, "refresh_token": web.tokens()["refresh_token"]}

    answer = web.client.post(f"https://api.etsy.com{etsy.TOKEN}", json=form, headers={"x-api-key": etsy.KEYSTRING})

    assert answer.status_code == 200


# The API


def test_the_judge_reads_user_shop_and_scopes(web: Web) -> None:
    judge = web.judge()

    shop = ShopResource(judge).get_shop(web.shop.id).message

    assert ShopResource(judge).get_shop_by_owner_user_id(web.shop.user_id).message == shop
    assert (shop["shop_name"], shop["currency_code"], shop["is_vacation"]) == ("demo", "USD", False)
    assert MiscellaneousResource(judge).ping().message == {"application_id": 1}
    scopes = MiscellaneousResource(judge).token_scopes(GetTokenScopes(judge.access_token))
    assert scopes.message == {"scopes": list(SCOPES)}


def test_the_judge_reads_listings_of_every_state(open_web: Callable[..., Web]) -> None:
    web = open_web(products=40)
    judge = ListingResource(web.judge())
    listings = web.truth()["products"]

    for state in STATES:
        page = judge.get_listings_by_shop(web.shop.id, State(state), limit=100).message
        assert {row["listing_id"] for row in page["results"]} == {
            row["id"] for row in listings if row["status"] == state
        }
        assert page["count"] == len(page["results"])
    assert {row["status"] for row in listings} == set(STATES), "the seed leaves a state out"


def test_the_judge_reads_one_listing_a_batch_and_an_inventory(web: Web) -> None:
    session = web.judge()
    judge = ListingResource(session)
    ids = [row["id"] for row in web.truth()["products"][:3]]

    bare = judge.get_listing(ids[0]).message
    whole = judge.get_listing(ids[0], includes=[Includes.IMAGES, Includes.INVENTORY]).message
    batch = judge.get_listings_by_listing_ids([*ids, 1], includes=[Includes.INVENTORY]).message

    assert not {"images", "inventory"} & set(bare)
    assert whole["images"][1]["rank"] == 1
    assert [row["listing_id"] for row in batch["results"]] == ids
    assert ListingInventoryResource(session).get_listing_inventory(ids[0]).message == whole["inventory"]


def test_listings_come_newest_first_whatever_order_is_asked_for(web: Web) -> None:
    token = web.tokens()["access_token"]
    query = {"sort_on": "updated", "sort_order": "asc", "limit": 100}

    rows = web.call(f"/shops/{web.shop.id}/listings", token, **query).json()["results"]
    web.control("PUT", "/settings", sorts_listings=True)
    sorted_rows = web.call(f"/shops/{web.shop.id}/listings", token, **query).json()["results"]

    created = [row["created_timestamp"] for row in rows]
    updated = [row["updated_timestamp"] for row in sorted_rows]
    assert created == sorted(created, reverse=True)
    assert updated == sorted(updated)
    assert rows != sorted_rows


def test_the_judge_reads_receipts_by_time_with_both_bounds_in_them(web: Web) -> None:
    judge = ReceiptResource(web.judge())
    times = sorted(row["updated_timestamp"] for row in web.shop.receipts.values())
    first, last = times[5], times[-5]

    page = judge.get_shop_receipts(
        web.shop.id,
        min_last_modified=first,
        max_last_modified=last,
        limit=100,
        sort_on=SortOn.UPDATED,
        sort_order=SortOrder.ASC,
    ).message

    assert [row["updated_timestamp"] for row in page["results"]] == [each for each in times if first <= each <= last]
    one = judge.get_shop_receipt(web.shop.id, page["results"][0]["receipt_id"]).message
    assert one == page["results"][0]


@pytest.mark.parametrize("word", ["was_paid", "was_shipped", "was_canceled"])
def test_the_judge_filters_receipts(web: Web, word: str) -> None:
    judge = ReceiptResource(web.judge())

    counts = [judge.get_shop_receipts(web.shop.id, **{word: is_so}).message["count"] for is_so in (True, False)]

    assert sum(counts) == len(web.shop.receipts)
    assert all(counts)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("receipts", {"limit": 101}),
        ("receipts", {"limit": 0}),
        ("receipts", {"offset": -1}),
        ("receipts", {"min_created": "yesterday"}),
        ("receipts", {"sort_on": "total"}),
        ("receipts", {"sort_order": "random"}),
        ("receipts", {"was_paid": "maybe"}),
        ("listings", {"state": "removed"}),
        ("listings", {"sort_on": "title"}),
        ("listings", {"includes": "Images,Everything"}),
    ],
)
def test_what_the_contract_does_not_allow_is_refused(web: Web, path: str, query: Json) -> None:
    answer = web.call(f"/shops/{web.shop.id}/{path}", web.tokens()["access_token"], **query)

    assert answer.status_code == 400
    assert "Invalid value" in answer.json()["error"]


@pytest.mark.parametrize("ids", ["", "1,,2", "x", ",".join("1" * 101)])
def test_a_batch_takes_a_hundred_ids_and_nothing_else(web: Web, ids: str) -> None:
    assert web.call("/listings/batch", listing_ids=ids).status_code == 400


@pytest.mark.parametrize(
    ("path", "scope"), [("/users/me", "shops_r"), ("/receipts", "transactions_r"), ("/listings", "listings_r")]
)
def test_each_call_needs_its_scope_and_a_token(web: Web, path: str, scope: str) -> None:
    path = path if path == "/users/me" else f"/shops/{web.shop.id}{path}"
    token = web.tokens(scope=" ".join(each for each in SCOPES if each != scope))["access_token"]

    lacking, without = web.call(path, token), web.call(path)

    assert (lacking.status_code, lacking.json()["error"]) == (403, "insufficient_scope")
    assert (without.status_code, without.json()["error"]) == (401, "invalid_token")


def test_a_seller_reads_no_receipts_of_others_and_of_their_listings_what_is_on_offer(web: Web) -> None:
    web.control("POST", "/shops", name="other", seed=2, products=30)
    other, token = web.platform.shops["other"], web.tokens()["access_token"]

    own = web.call(f"/shops/{other.id}/receipts", token)
    seen = {state: web.call(f"/listings/{other.of_state(state)[0]['listing_id']}", token) for state in STATES[:2]}

    assert (own.status_code, own.json()["error"]) == (403, f"User does not own Shop {other.id}")
    assert {state: answer.status_code for state, answer in seen.items()} == {"active": 200, "inactive": 404}


def test_nothing_is_answered_that_the_contract_does_not_name(web: Web) -> None:
    token = web.tokens()["access_token"]
    listings = web.call(f"/shops/{web.shop.id}/listings", token, includes="Images,Inventory").json()["results"]
    receipts = web.call(f"/shops/{web.shop.id}/receipts", token, limit=100).json()["results"]
    shop = web.call(f"/shops/{web.shop.id}").json()

    rows = [("Shop", shop), *(("ShopListingWithAssociations", row) for row in listings)]
    for name, row in [*rows, *(("ShopReceipt", row) for row in receipts)]:
        assert not undocumented(row, {"$ref": f"#/components/schemas/{name}"})


def undocumented(value: Any, schema: Json, path: str = "") -> list[str]:
    """Where a value has fields that its schema does not know."""
    while "$ref" in schema or "allOf" in schema:
        reference = schema["$ref"] if "$ref" in schema else schema["allOf"][0]["$ref"]
        schema = contract()["components"]["schemas"][reference.rpartition("/")[2]]
    if isinstance(value, list):
        return [found for each in value for found in undocumented(each, schema["items"], path)]
    if not isinstance(value, dict):
        return []
    known = schema["properties"]
    strange = [f"{path}.{name}" for name in value if name not in known]
    return strange + [
        found for name in value if name in known for found in undocumented(value[name], known[name], f"{path}.{name}")
    ]


def test_an_answer_that_breaks_the_contract_is_found_out(web: Web) -> None:
    web.shop.of_state("active")[0]["title"] = 5

    with pytest.raises(ValidationError):
        web.call(f"/shops/{web.shop.id}/listings", web.tokens()["access_token"])


# Limits


def test_ten_calls_a_second_and_the_judge_is_told_what_is_left(web: Web) -> None:
    judge = UserResource(web.judge())

    limits = [judge.get_me().rate_limits for _ in range(10)]
    with pytest.raises(RequestException) as raised:
        judge.get_me()
    web.clock.pass_seconds(1)

    assert [each.remaining_this_second for each in limits] == [str(left) for left in range(9, -1, -1)]
    assert (limits[0].limit_per_second, limits[0].limit_per_day, limits[0].remaining_today) == ("10", "10000", "9999")
    assert (raised.value.code, raised.value.error) == (429, "Exceeded per second rate limit")
    assert judge.get_me().code == 200


def test_the_day_has_no_midnight(web: Web) -> None:
    web.control("PUT", "/settings", per_day=3)
    token = web.tokens()["access_token"]

    def call() -> httpx.Response:
        web.clock.pass_seconds(100)
        return web.call("/users/me", token)

    assert [call().status_code for _ in range(3)] == [200] * 3
    over = call()
    assert (over.status_code, over.json()) == (429, {"error": "Exceeded daily rate limit"})
    assert (over.headers["x-remaining-today"], over.headers["retry-after"]) == ("0", str(DAY - 300))
    token = web.tokens()["access_token"]
    web.clock.pass_seconds(DAY - 400)
    token = web.tokens()["access_token"]
    assert [call().status_code for _ in range(2)] == [200, 200]


def test_calls_that_need_a_grant_count_for_it_and_all_others_for_the_app(web: Web) -> None:
    web.control("POST", "/shops", name="other", seed=2)
    web.control("PUT", "/settings", per_second=1)
    mine, others = web.tokens()["access_token"], web.tokens(shop="other")["access_token"]

    own = [web.call("/users/me", token).status_code for token in (mine, others, mine)]
    public = [web.call(f"/shops/{web.shop.id}", token).status_code for token in (mine, others)]
    web.clock.pass_seconds(1)
    web.control("PUT", "/settings", per_grant=False)
    shared = [web.call("/users/me", token).status_code for token in (mine, others)]

    assert own == [200, 200, 429]
    assert public == [200, 429]
    assert shared == [200, 429]


def test_what_spends_nothing_is_answered_when_all_is_spent(web: Web) -> None:
    web.control("PUT", "/settings", per_second=1, per_grant=False)
    token = web.tokens()["access_token"]

    assert [web.call(path, token).status_code for path in ("/users/me", "/users/me", "/openapi-ping")] == [
        200,
        429,
        200,
    ]


# Our adapter


def test_our_adapter_connects_a_seller(web: Web) -> None:
    web.control("PUT", "/settings", approve="demo")
    challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    url = ADAPTER.authorization_url(APP, "", state="st-1", return_url=etsy.REDIRECT_URI, challenge=challenge)

    back = httpx.URL(web.client.get(url).headers["location"])
    callback = ADAPTER.read_callback(APP, list(back.params.multi_items()), web.now)
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    tokens = ADAPTER.exchange(
        APP, "", callback.code, return_url=etsy.REDIRECT_URI, verifier=verifier, http=web.http, now=web.now
    )
    found = ADAPTER.stores_of(Connection("", {"access_token": tokens.access_token}, "", app=APP), web.http)

    assert callback.state == "st-1"
    assert tokens.expires_at == web.now + timedelta(hours=1)
    assert [(each.store_id, each.store_name, each.currency, each.domain) for each in found] == [
        (str(web.shop.id), "demo", "USD", "https://www.etsy.com/shop/demo")
    ]
    assert found[0].scopes == frozenset(SCOPES)


def test_our_adapter_refreshes(web: Web) -> None:
    store = web.connection()

    tokens = ADAPTER.refresh(store, web.http, web.now)

    fresh = {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token}
    assert ADAPTER.probe(store._replace(credentials=fresh), web.http).store_id == store.store_id
    assert refused(lambda: ADAPTER.refresh(store, web.http, web.now)).refusal is Refusal.CREDENTIALS


@pytest.mark.parametrize("sorts_listings", [False, True])
@pytest.mark.parametrize("resource", list(Resource))
def test_our_adapter_reads_a_shop_whole(open_web: Callable[..., Web], resource: Resource, sorts_listings: bool) -> None:
    web = open_web(products=70, orders=130)
    web.control("PUT", "/settings", sorts_listings=sorts_listings)

    held, _, pages = web.cycle(web.connection(), resource)

    assert times(held) == wanted(web.truth()[resource])
    assert not [page.partial for page in pages if page.partial]


def times(held: Mapping[str, Any]) -> dict[str, str]:
    return {id: record.body["updatedAt"] for id, record in held.items()}


def wanted(rows: list[Json]) -> dict[str, str]:
    return {str(row["id"]): f"{row['modified_gmt']}Z" for row in rows}


def test_our_adapter_lists_what_there_is_to_compare(web: Web) -> None:
    store = web.connection()
    ids = {resource: ADAPTER.list_ids(store, resource, None, web.http, web.now) for resource in Resource}

    products = ids[Resource.PRODUCTS]
    found = list(products.ids)
    while not products.done:
        products = ADAPTER.list_ids(store, Resource.PRODUCTS, products.cursor, web.http, web.now)
        found += products.ids

    recent = [id for id, row in web.shop.receipts.items() if row["created_timestamp"] >= web.platform.now() - 30 * DAY]
    assert sorted(found) == sorted(str(id) for id in web.shop.listings)
    assert sorted(ids[Resource.ORDERS].ids) == sorted(str(id) for id in recent)


def test_our_adapter_sees_the_newest_orders_first(web: Web) -> None:
    web.clock.pass_seconds(60)
    placed = web.control("POST", "/shops/demo/orders")["receipt_id"]
    store = web.connection()

    newest = ADAPTER.newest_orders(store, web.http, web.now)

    created = sorted(row["created_timestamp"] for row in web.shop.receipts.values())
    assert newest[0].id == str(placed)
    assert [our_clock.epoch(each.created_at) for each in newest if each.created_at] == created[::-1]
    assert newest[0] == ADAPTER.fetch_one(store, Resource.ORDERS, str(placed), web.http)


def test_our_adapter_leaves_out_one_of_the_newest_that_it_cannot_read(web: Web) -> None:
    store = web.connection()
    last, *others = ADAPTER.newest_orders(store, web.http, web.now)
    web.shop.receipts[int(last.id)]["grandtotal"]["currency_code"] = "none"

    assert ADAPTER.newest_orders(store, web.http, web.now) == others


def test_our_adapter_follows_orders(web: Web) -> None:
    store = web.connection()
    _, cursor, _ = web.cycle(store, Resource.ORDERS)
    paid = [row["id"] for row in web.truth()["orders"] if row["status"] == "Paid"]
    web.clock.pass_seconds(1800)

    new = web.control("POST", "/shops/demo/orders")["receipt_id"]
    web.control("POST", f"/shops/demo/orders/{paid[0]}/ship")
    web.control("POST", f"/shops/demo/orders/{paid[1]}/cancel")
    held, cursor, _ = web.cycle(store, Resource.ORDERS, cursor)

    statuses = {int(id): record.body["status"] for id, record in held.items()}
    assert statuses == {new: "paid", paid[0]: "completed", paid[1]: "cancelled"}


def test_our_adapter_finds_a_refund_within_a_day(web: Web) -> None:
    store = web.connection()
    _, cursor, _ = web.cycle(store, Resource.ORDERS)
    order = max(web.shop.receipts.values(), key=lambda row: row["created_timestamp"])
    before = order["updated_timestamp"]

    web.control("POST", f"/shops/demo/orders/{order['receipt_id']}/refund", amount=100)
    web.clock.pass_seconds(DAY)
    held, _, _ = web.cycle(web.connection(), Resource.ORDERS, cursor)

    assert order["updated_timestamp"] == before
    assert held[str(order["receipt_id"])].body["refundedTotal"] == "1.00"


def test_our_adapter_sees_half_a_shipment(web: Web) -> None:
    listings = [row["listing_id"] for row in web.shop.of_state("active")[:2]]
    order = web.control("POST", "/shops/demo/orders", lines=[{"listing_id": id} for id in listings])

    web.control("POST", f"/shops/demo/orders/{order['receipt_id']}/ship", partly=True)
    record = ADAPTER.fetch_one(web.connection(), Resource.ORDERS, str(order["receipt_id"]), web.http)

    assert record.body["status"] == "partly_shipped"


def test_our_adapter_follows_listings(web: Web) -> None:
    store = web.connection()
    _, cursor, _ = web.cycle(store, Resource.PRODUCTS)
    first, second, third = (row["listing_id"] for row in web.shop.of_state("active")[:3])
    web.clock.pass_seconds(1800)

    web.control("PUT", f"/shops/demo/products/{first}", title="A new title")
    web.control("PUT", f"/shops/demo/products/{second}", state="inactive")
    web.control("POST", f"/shops/demo/products/{third}/delete")
    new = web.control("POST", "/shops/demo/products", title="New", price=1234, quantity=5)
    held, _, _ = web.cycle(store, Resource.PRODUCTS, cursor)

    assert {int(id): (record.body["title"], record.body["status"]) for id, record in held.items()} == {
        first: ("A new title", "active"),
        second: (held[str(second)].body["title"], "inactive"),
        new["listing_id"]: ("New", "active"),
    }
    assert held[str(new["listing_id"])].body["price"] == "12.34"
    gone = refused(lambda: ADAPTER.fetch_one(store, Resource.PRODUCTS, str(third), web.http))
    assert gone.refusal is Refusal.NOT_FOUND


def test_our_adapter_finds_stock_that_sold_without_a_touch_within_a_day(web: Web) -> None:
    _, cursor, _ = web.cycle(web.connection(), Resource.PRODUCTS)
    listing = web.shop.of_state("active")[0]
    before = listing["updated_timestamp"], listing["quantity"]

    web.control("POST", "/shops/demo/orders", lines=[{"listing_id": listing["listing_id"]}])
    web.clock.pass_seconds(DAY)
    held, _, _ = web.cycle(web.connection(), Resource.PRODUCTS, cursor)

    variants = held[str(listing["listing_id"])].body["variants"]
    assert (listing["updated_timestamp"], sum(each["inventoryQuantity"] for each in variants)) == (
        before[0],
        before[1] - 1,
    )


def test_what_sells_out_changes_its_state(web: Web) -> None:
    listing = web.shop.of_state("active")[-1]
    web.control("PUT", f"/shops/demo/products/{listing['listing_id']}", quantity=1)
    lines = [
        {"listing_id": listing["listing_id"], "product_id": each["product_id"]}
        for each in listing["inventory"]["products"]
    ]

    web.control("POST", "/shops/demo/orders", lines=lines)
    sold = listing["state"], listing["quantity"]
    web.control("POST", f"/shops/demo/products/{listing['listing_id']}/renew")

    assert sold == ("sold_out", 0)
    assert web.shop.of_state("active")[0] is listing, "what is renewed is the newest again"


ACTS = ("buy", "ship", "cancel", "refund", "title", "state", "renew", "delete")


def act(shop: Any, what: str, number: int) -> None:
    """Something that a seller or a buyer does, to the record of this number."""
    receipt = list(shop.receipts)[number % len(shop.receipts)]
    listing = list(shop.listings)[number % len(shop.listings)]
    match what:
        case "buy":
            shop.buy({"lines": [{"listing_id": listing}]})
        case "title":
            shop.change_listing(listing, {"title": f"Title {number}"})
        case "state":
            shop.change_listing(listing, {"state": STATES[number % len(STATES)]})
        case "renew":
            shop.renew_listing(listing)
        case "delete" if len(shop.listings) > 1:
            shop.listings.pop(listing)
        case "ship" | "cancel" | "refund":
            getattr(shop, what)(receipt)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 20), st.integers(0, 4000)), max_size=12), st.booleans())
def test_whatever_happens_meanwhile_our_adapter_has_it_within_a_day(acts: list[Any], sorts_listings: bool) -> None:
    clock = Clock()
    with playing(clock, Receiver()) as (platform, transport), httpx.Client(transport=transport) as client:
        web = Web(platform, client, clock)
        web.control("PUT", "/settings", access_life=10**6, per_second=10**6, sorts_listings=sorts_listings)
        web.control("POST", "/shops", name="demo", products=30, orders=12, days=20)
        store = web.connection()
        held: dict[Resource, dict[str, Any]] = {resource: {} for resource in Resource}
        cursors: dict[Resource, Any] = dict.fromkeys(Resource)
        for what, number, seconds in acts:
            for resource in Resource:
                page = ADAPTER.fetch(store, resource, cursors[resource], web.http, web.now)
                cursors[resource] = page.cursor
                held[resource] |= {record.id: record for record in page.records}
            act(web.shop, what, number)
            clock.pass_seconds(seconds)
        clock.pass_seconds(DAY)
        for resource in Resource:
            for _ in range(2):
                found, cursors[resource], _ = web.cycle(store, resource, cursors[resource])
                held[resource] |= found

        truth = web.truth()
        there = {id: record for id, record in held[Resource.PRODUCTS].items() if int(id) in web.shop.listings}
        assert times(there) == wanted(truth["products"])
        assert times(held[Resource.ORDERS]) == wanted(truth["orders"])
        stock = {id: sum(each["inventoryQuantity"] for each in record.body["variants"]) for id, record in there.items()}
        assert stock == {str(row["id"]): row["stock"] for row in truth["products"]}


@pytest.mark.parametrize("says_how_long", [True, False])
def test_our_adapter_understands_a_limit_of_the_second(web: Web, says_how_long: bool) -> None:
    web.control("PUT", "/settings", per_second=3, retry_after=says_how_long)
    store = web.connection()
    for _ in range(3):
        page = ADAPTER.fetch(store, Resource.ORDERS, None, web.http, web.now)

    limited = refused(lambda: ADAPTER.fetch(store, Resource.ORDERS, None, web.http, web.now))
    newest = refused(lambda: ADAPTER.newest_orders(store, web.http, web.now))

    assert page.ready_at == web.now + timedelta(seconds=1)
    assert (limited.refusal, limited.retry_at) == (Refusal.RATE_LIMITED, web.now + timedelta(seconds=1))
    assert (newest.refusal, newest.retry_at) == (limited.refusal, limited.retry_at)


@pytest.mark.parametrize(("says_how_long", "wait"), [(True, timedelta(days=1)), (False, timedelta(minutes=15))])
def test_our_adapter_understands_a_limit_of_the_day(web: Web, says_how_long: bool, wait: timedelta) -> None:
    web.control("PUT", "/settings", per_day=1, retry_after=says_how_long)
    store = web.connection()
    page = ADAPTER.fetch(store, Resource.ORDERS, None, web.http, web.now)

    limited = refused(lambda: ADAPTER.fetch(store, Resource.ORDERS, None, web.http, web.now))

    assert page.ready_at == web.now + timedelta(days=1)
    assert (limited.refusal, limited.retry_at) == (Refusal.RATE_LIMITED, web.now + wait)


# What goes wrong


def every_call(web: Web, store: Connection) -> Iterator[Callable[[], object]]:
    yield lambda: ADAPTER.probe(store, web.http)
    yield lambda: ADAPTER.newest_orders(store, web.http, web.now)
    for resource in Resource:
        yield lambda r=resource: ADAPTER.fetch(store, r, None, web.http, web.now)
        yield lambda r=resource: ADAPTER.list_ids(store, r, None, web.http, web.now)


def test_a_shop_that_is_closed_says_so_and_deletes_nothing(web: Web) -> None:
    store = web.connection()
    web.control("PUT", "/shops/demo", closed=True)

    errors = [refused(call) for call in every_call(web, store)]

    assert {error.refusal for error in errors} == {Refusal.PERMISSION}
    assert "has no shop" in errors[0].detail
    assert all("closed or suspended" in error.detail for error in errors[1:])


def test_a_seller_without_a_shop_is_told_what_to_do(web: Web) -> None:
    web.control("POST", "/shops", name="reader", seed=2, has_shop=False)
    store = web.connection(shop="reader")._replace(store_id="")

    assert ADAPTER.stores_of(store, web.http) == []
    error = refused(lambda: ADAPTER.probe(store, web.http))
    assert (error.refusal, "open one, or approve with another" in error.detail) == (Refusal.PERMISSION, True)


def test_a_shop_on_vacation_is_read_as_ever(web: Web) -> None:
    store = web.connection()
    web.control("PUT", "/shops/demo", vacation=True)

    held, _, _ = web.cycle(store, Resource.PRODUCTS)

    assert ADAPTER.probe(store, web.http).store_id == store.store_id
    assert times(held) == wanted(web.truth()["products"])
    on_offer = web.shop.of_state("active")[0]["listing_id"]
    assert web.call(f"/listings/{on_offer}").status_code == 404, "others see nothing of it"


def test_another_sellers_token_opens_nothing_of_this_shop(web: Web) -> None:
    web.control("POST", "/shops", name="other", seed=2)
    store = web.connection(shop="other")

    errors = [refused(call) for call in [*every_call(web, store)][1:]]

    assert {error.refusal for error in errors} == {Refusal.PERMISSION}


@pytest.mark.parametrize("app", [APP._replace(client_secret="other"), APP._replace(client_id="other")])
def test_a_wrong_key_is_the_operators_matter_and_no_sellers(web: Web, app: App) -> None:
    store = web.connection()._replace(app=app)
    http = Plain(web.client)  # the judge of what we ask knows the right key only

    for call in (
        lambda: ADAPTER.fetch(store, Resource.ORDERS, None, http, web.now),
        lambda: ADAPTER.refresh(store, http, web.now),
        lambda: ADAPTER.probe(store, http),
    ):
        error = refused(call)
        assert error.refusal is Refusal.REQUEST
        assert "app" in error.detail


def test_a_changed_password_calls_for_the_seller_and_says_why(web: Web) -> None:
    store = web.connection()
    web.control("POST", "/shops/demo/password")

    errors = [refused(call) for call in every_call(web, store)]
    ended = refused(lambda: ADAPTER.refresh(store, web.http, web.now))

    assert {error.refusal for error in [*errors, ended]} == {Refusal.CREDENTIALS}
    assert "password" in ended.detail


def test_a_scope_that_is_gone_is_a_missing_permission(web: Web) -> None:
    store = web.connection()
    web.control("PUT", "/shops/demo/scopes", scopes=["shops_r", "listings_r"])

    assert "transactions_r" in refused(lambda: ADAPTER.probe(store, web.http)).detail
    refusal = refused(lambda: ADAPTER.fetch(store, Resource.ORDERS, None, web.http, web.now)).refusal
    assert refusal is Refusal.PERMISSION


@pytest.mark.parametrize(
    ("fault", "refusal"),
    [
        ({"kind": "html"}, Refusal.NOT_THE_PLATFORM),
        ({"kind": "broken_json"}, Refusal.NOT_THE_PLATFORM),
        ({"kind": "status", "status": 502}, Refusal.TRANSIENT),
        ({"kind": "reset"}, Refusal.UNREACHABLE),
        ({"kind": "redirect", "location": "private_address"}, Refusal.ADDRESS),
    ],
)
def test_faults_come_as_they_are_ordered(web: Web, fault: Json, refusal: Refusal) -> None:
    store = web.connection()
    plain = httpx.Client(transport=web.client._transport.inner)  # type: ignore[attr-defined]  # none keeps the contract
    web.control("POST", "/faults", **fault, path="/receipts", times=2)

    broken = refused(lambda: ADAPTER.fetch(store, Resource.ORDERS, None, Plain(plain), web.now))
    newest = refused(lambda: ADAPTER.newest_orders(store, Plain(plain), web.now))

    assert broken.refusal is newest.refusal is refusal
    assert web.control("GET", "/faults") == {"faults": []}
    assert ADAPTER.fetch(store, Resource.ORDERS, None, web.http, web.now).records


# Webhooks


def portal(web: Web, *urls: str, **more: Any) -> None:
    endpoints = [{"url": url, "secret": WEBHOOK_SECRET} for url in urls]
    web.control("PUT", "/webhooks", endpoints=endpoints, **more)


def delivery_of(request: httpx.Request) -> Delivery:
    return Delivery(dict(request.headers), request.read(), "")


@pytest.mark.parametrize("style", ["v1", "bare", "several"])
def test_our_adapter_takes_what_is_delivered(web: Web, receiver: Any, style: str) -> None:
    web.tokens()
    portal(web, HOOK, style=style)
    order = web.control("POST", "/shops/demo/orders")["receipt_id"]
    web.clock.pass_seconds(5)

    sent = web.control("POST", "/deliver")["sent"]
    delivery = delivery_of(receiver.requests[0])

    assert [(each["type"], each["status"]) for each in sent] == [("order.paid", 200)]
    assert ADAPTER.verify(delivery, ADAPTER.app_secrets(APP), web.now) is Verdict.GENUINE
    assert ADAPTER.verify(delivery, ["whsec_b3RoZXI="], web.now) is Verdict.FORGED
    assert (ADAPTER.topic(delivery), ADAPTER.store_of(delivery)) == ("order.paid", str(web.shop.id))
    assert [(event.resource, event.id) for event in ADAPTER.parse(delivery)] == [(Resource.ORDERS, str(order))]


def test_the_library_of_standard_webhooks_takes_what_is_delivered(
    web: Web, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Now(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return web.now

    monkeypatch.setattr("standardwebhooks.webhooks.datetime", Now)
    web.tokens()
    portal(web, HOOK)
    web.control("POST", "/shops/demo/orders")
    web.control("POST", "/deliver")
    request = receiver.requests[0]

    body: Any = Webhook(WEBHOOK_SECRET).verify(request.read(), dict(request.headers))

    assert (body["event_type"], body["shop_id"]) == ("order.paid", web.shop.id)


def test_each_way_of_an_order_has_its_event_and_a_refund_has_none(web: Web, receiver: Any) -> None:
    web.tokens()
    portal(web, HOOK)
    order = web.control("POST", "/shops/demo/orders")["receipt_id"]

    for action in ("ship", "deliver", "cancel", "refund"):
        web.control("POST", f"/shops/demo/orders/{order}/{action}")
    web.control("POST", "/deliver")

    bodies = [json.loads(request.read()) for request in receiver.requests]
    assert [body["event_type"] for body in bodies] == [
        "order.paid",
        "order.shipped",
        "order.delivered",
        "order.canceled",
    ]
    assert {body["resource_url"] for body in bodies} == {
        f"https://openapi.etsy.com/v3/application/shops/{web.shop.id}/receipts/{order}"
    }


def test_a_delivery_that_fails_comes_again_at_the_told_distances(web: Web, receiver: Any) -> None:
    web.tokens()
    portal(web, HOOK)
    receiver.answers["/webhooks/ETSY"] = 500
    web.control("POST", "/shops/demo/orders")
    begun, at = web.platform.now(), []

    for _ in range(12):
        waiting = web.control("GET", "/deliveries")["waiting"]
        if waiting:
            web.clock.moment = max(web.clock.moment, waiting[0]["due"])
            web.control("POST", "/deliver")
            at.append(web.platform.now() - begun)

    assert [later - earlier for earlier, later in pairwise(at)] == list(REPEATED_AFTER)
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    stamps = [int(request.headers["webhook-timestamp"]) for request in receiver.requests]
    assert stamps == [begun + each for each in at], "each attempt is signed anew"
    assert [each["dropped"] for each in web.control("GET", "/deliveries")["sent"]] == [False] * 7 + [True]


@pytest.mark.parametrize("answer", [302, 404, httpx.ConnectError("refused"), httpx.ReadTimeout("slow")])
def test_what_is_no_success_is_tried_again(web: Web, receiver: Any, answer: Any) -> None:
    web.tokens()
    portal(web, HOOK)
    receiver.answers["/webhooks/ETSY"] = answer
    web.control("POST", "/shops/demo/orders")

    assert len(web.control("POST", "/deliver")["waiting"]) == 1


def test_only_shops_that_granted_and_events_that_were_chosen_are_told_of(web: Web) -> None:
    chosen = {"url": HOOK, "secret": WEBHOOK_SECRET, "events": ["order.shipped"]}
    web.control("PUT", "/webhooks", endpoints=[chosen])
    web.control("POST", "/shops/demo/orders")
    web.tokens()
    order = web.control("POST", "/shops/demo/orders")["receipt_id"]
    web.control("POST", f"/shops/demo/orders/{order}/ship")

    assert [each["type"] for each in web.control("POST", "/deliver")["sent"]] == ["order.shipped"]
    web.control("POST", "/shops/demo/password")
    web.control("POST", f"/shops/demo/orders/{order}/ship")
    assert web.control("POST", "/deliver")["sent"] == []


def test_the_network_may_lose_and_copy(web: Web, receiver: Any) -> None:
    web.tokens()
    portal(web, HOOK, "https://app.example.com/second")
    web.control("POST", "/shops/demo/orders")
    web.control("POST", "/deliver", copies=2, shuffle=True)
    web.control("POST", "/shops/demo/orders")
    lost = web.control("POST", "/deliver", lose=1)["sent"]

    assert Counter(str(request.url.path) for request in receiver.requests) == {"/webhooks/ETSY": 2, "/second": 2}
    assert [each["lost"] for each in lost] == [True, True]


def test_a_pause_is_for_the_background_only(web: Web, receiver: Any) -> None:
    web.tokens()
    portal(web, HOOK)
    web.control("PUT", "/delivery", paused=True)
    web.control("POST", "/shops/demo/orders")

    asyncio.run(web.platform.deliver())
    assert receiver.requests == []
    web.control("PUT", "/delivery", paused=False)
    asyncio.run(web.platform.deliver())
    assert len(receiver.requests) == 1
    assert web.control("DELETE", "/deliveries") == {}


# The control API and the sandbox


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/shops/nobody", None, 404),
        ("PUT", "/shops/demo/orders/1", {}, 404),
        ("POST", "/shops/demo/products/1/renew", {}, 404),
        ("PUT", "/settings", {"speed": 1}, 400),
        ("PUT", "/settings", {"approve": "nobody"}, 400),
        ("POST", "/faults", {"kind": "surprise"}, 400),
        ("POST", "/shops", {}, 400),
        ("POST", "/shops/demo/products", {"state": "removed"}, 400),
        ("POST", "/shops/demo/orders", {"lines": [{"listing_id": 1}]}, 400),
    ],
)
def test_a_wrong_order_is_told_from_one_of_what_is_not_there(
    web: Web, method: str, path: str, body: Any, status: int
) -> None:
    answer = web.client.request(method, f"{CONTROL}{path}", json=body)

    assert answer.status_code == status
    assert answer.json()["error"]


def test_there_is_no_such_action(web: Web) -> None:
    order = next(iter(web.shop.receipts))

    assert web.client.post(f"{CONTROL}/shops/demo/orders/{order}/burn", json={}).status_code == 404


def test_a_shop_is_the_same_every_time_and_its_truth_follows_it(web: Web) -> None:
    before = web.truth()
    web.control("POST", "/shops", name="demo", products=12, orders=25)
    assert web.truth() == before

    order = before["orders"][0]["id"]
    web.control("PUT", f"/shops/demo/orders/{order}", status="Some new word")
    described = web.control("GET", "/shops/demo")

    assert web.truth()["orders"][0]["status"] == "Some new word"
    assert (described["products"], described["orders"], described["grants"]) == (12, 25, [])
    web.control("DELETE", "/shops/demo")
    assert web.control("GET", "")["shops"] == []


def test_calls_are_counted_without_anything_secret(web: Web) -> None:
    token = web.tokens()["access_token"]
    web.control("DELETE", "/calls")
    web.call(f"/shops/{web.shop.id}/receipts", token)
    web.call("/listings/1")

    assert web.control("GET", "/calls") == {
        "total": 2,
        "most_at_once": 1,
        "routes": {"GET /shops/{id}/receipts 200": 1, "GET /listings/{id} 404": 1},
    }


def test_the_clock_can_be_set(web: Web) -> None:
    before = web.control("GET", "")["now"]

    assert web.control("PUT", "/clock", advance=60)["now"] == before + 60
    assert web.control("PUT", "/clock", offset=0)["now"] == before


def test_the_sandbox_leads_etsys_hosts_here_and_a_browser_too(clock: Any) -> None:
    with InProcess(Sandbox(clock=clock)) as transport, httpx.Client(transport=transport) as client:
        for host in ("api.etsy.com", "openapi.etsy.com"):
            assert client.get(f"https://{host}/v3/application/openapi-ping", headers={"x-api-key": KEY}).is_success
        page = client.get(f"https://localhost/at/{etsy.SITE}/oauth/connect")

    assert page.status_code == 400
    assert "not permitted" in page.text
    assert set(etsy.HOSTS) <= set(server.HOSTS)
    assert server.APPS["ETSY"]["clientId"] == etsy.KEYSTRING
