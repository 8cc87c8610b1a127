"""Etsy: what only it does, against a model of a shop that moves, held to the contract that Etsy publishes."""

# ruff: noqa: S311 - a model's dice need be no secret

import base64
import hmac
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.platforms import etsy
from shared.platforms.base import (
    Answer,
    App,
    Connection,
    Delivery,
    Event,
    GrantsByOAuth,
    Identity,
    Json,
    NotifiesApp,
    Platform,
    PlatformError,
    PlatformName,
    ReceivesWebhooks,
    Record,
    Refusal,
    Resource,
    ShowsNewest,
    SignsWithApp,
    Verdict,
)
from shared.platforms.etsy import Etsy
from tests.platforms.conftest import Vector, vectors_of
from tests.platforms.etsy_contract import CONTRACT, DIFFERENCES, check_answer, check_request, contract, operations

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
DAY = 86_400
ADAPTER = Etsy()
APP = App("keystring0", "shared0secret", more={"webhook_secret": "whsec_b25l whsec_dHdv"})
KEY = "keystring0:shared0secret"
STORE = Connection(
    "https://www.etsy.com/shop/ClothOne",
    {"access_token": "77.access-1", "refresh_token": "77.refresh-1"},
    "4242",
    "EUR",
    app=APP,
)
VECTORS = vectors_of(PlatformName.ETSY)
SECRETS = [APP.client_secret, *STORE.credentials.values()]


def reply(content: Any, status: int = 200, **headers: str) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def error(status: int, word: str, description: str = "", **headers: str) -> Answer:
    return reply({"error": word, **({"error_description": description} if description else {})}, status, **headers)


def refusal(call: Callable[[], object]) -> PlatformError:
    found = outcome(call)
    assert isinstance(found, PlatformError), f"it gave {found!r}"
    return found


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gives: a result, or a PlatformError that shows no secret; whatever else it raises is a fault."""
    try:
        return call()
    except PlatformError as raised:
        if any(secret in f"{raised} {raised.detail} {raised!r}" for secret in SECRETS):
            pytest.fail("a secret is shown")
        return raised


def money(amount: int = 1250, divisor: int = 100, currency: str = "EUR") -> Json:
    return {"amount": amount, "divisor": divisor, "currency_code": currency}


def receipt(id: int, updated: int = SECONDS - 3_600, **more: Any) -> Json:
    return {
        "receipt_id": id,
        "receipt_type": 0,
        "buyer_user_id": 900 + id,
        "buyer_email": None,
        "name": f"Buyer {id}",
        "first_line": "1 Sample Street",
        "second_line": None,
        "city": "Sampletown",
        "state": None,
        "zip": "12345",
        "country_iso": "DE",
        "status": "Paid",
        "message_from_buyer": None,
        "is_paid": True,
        "is_shipped": False,
        "created_timestamp": updated - 60,
        "updated_timestamp": updated,
        "grandtotal": money(2500),
        "transactions": [transaction(10 * id)],
        "refunds": [],
        **more,
    }


def transaction(id: int, **more: Any) -> Json:
    return {
        "transaction_id": id,
        "title": "Shirt",
        "quantity": 2,
        "listing_id": 5,
        "product_id": 51,
        "sku": "SH-1",
        "price": money(1250),
        "shipped_timestamp": None,
        "variations": [],
        "product_data": [],
        **more,
    }


def listing(id: int, updated: int = SECONDS - 3_600, **more: Any) -> Json:
    created = more.pop("created", SECONDS - 100 * DAY + id)
    return {
        "listing_id": id,
        "shop_id": 4242,
        "title": f"Listing {id}",
        "state": "active",
        "quantity": 7,
        "url": f"https://www.etsy.com/listing/{id}",
        "price": money(1999),
        "skus": [],
        "original_creation_timestamp": created,
        "created_timestamp": created,
        "updated_timestamp": updated,
        "state_timestamp": created,
        **more,
    }


def product(id: int, values: Mapping[str, str], **more: Any) -> Json:
    properties = [
        {"property_id": 200, "property_name": name, "scale_id": None, "scale_name": None, "values": [value]}
        for name, value in values.items()
    ]
    offering = {"offering_id": id, "quantity": 3, "is_enabled": True, "is_deleted": False, "price": money(2100)}
    return {
        "product_id": id,
        "sku": f"SKU-{id}",
        "is_deleted": False,
        "offerings": [offering],
        "property_values": properties,
        **more,
    }


WORDS_OF_TIME = {"last_modified": "updated_timestamp", "created": "created_timestamp"}


@dataclass
class Shop:
    """Etsy, with one shop: what it is asked and what it answers are held to the contract."""

    receipts: dict[int, Json] = field(default_factory=dict)
    listings: dict[int, Json] = field(default_factory=dict)
    scopes: Any = field(default_factory=lambda: ["shops_r", "listings_r", "transactions_r", "email_r"])
    me: Json = field(default_factory=lambda: {"user_id": 77, "shop_id": 4242})
    about: Json = field(
        default_factory=lambda: {
            "shop_id": 4242,
            "shop_name": "ClothOne",
            "currency_code": "EUR",
            "url": "https://www.etsy.com/shop/ClothOne?utm_source=keystring0",
            "is_vacation": False,
        }
    )
    sorts_listings: bool = False
    """Etsy says that it sorts searches only; otherwise the newest come first."""
    receipts_come: str = "as asked"
    """Or the "latest first", or in "no order" of time, whatever was asked for."""
    batch_hides: frozenset[str] = frozenset()
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[["Shop", str], Answer | None] = lambda shop, path: None
    """Called with each path first: a test changes things there, or answers itself."""
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        repeatable: bool = True,
    ) -> Answer:
        path = urlsplit(url).path.removeprefix("/v3/application")
        check_request(method, url, params or {}, headers or {}, content or b"", KEY)
        self.asked.append((method, path, dict(params or {})))
        answer = self.before(self, path)
        if answer is None:
            answer = self._answer(path.split("/")[1:], dict(params or {}))
            check_answer(method, url, answer)
        return answer

    @property
    def paths(self) -> list[str]:
        return [path for _, path, _ in self.asked]

    def _answer(self, path: list[str], query: dict[str, str]) -> Answer:  # noqa: PLR0911 - one for each call
        match path:
            case ["scopes"]:
                return reply({"scopes": self.scopes}, **self.headers)
            case ["users", "me"]:
                return reply(self.me, **self.headers)
            case ["shops", "4242"]:
                return reply(self.about, **self.headers)
            case ["shops", "4242", "receipts"]:
                return self._page(self._receipts(query), query)
            case ["shops", "4242", "receipts", id] if int(id) in self.receipts:
                return reply(self.receipts[int(id)], **self.headers)
            case ["shops", "4242", "listings"]:
                return self._page([self._listed(each, query) for each in self._of_state(query)], query)
            case ["listings", "batch"]:
                asked = [each for each in query["listing_ids"].split(",") if each not in self.batch_hides]
                rows = [self._listed(self.listings[int(id)], query) for id in asked if int(id) in self.listings]
                return reply({"count": len(rows), "results": rows}, **self.headers)
            case ["listings", id] if int(id) in self.listings:
                return reply(self._listed(self.listings[int(id)], query), **self.headers)
        return error(404, "Could not find what was asked for.")

    def _page(self, rows: list[Json], query: dict[str, str]) -> Answer:
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 25))
        return reply({"count": len(rows), "results": rows[offset : offset + limit]}, **self.headers)

    def _receipts(self, query: dict[str, str]) -> list[Json]:
        rows = list(self.receipts.values())
        for word, name in WORDS_OF_TIME.items():
            low, high = (int(query.get(f"{edge}_{word}", each)) for edge, each in (("min", 0), ("max", 10**11)))
            rows = [row for row in rows if low <= row[name] <= high]
        names = {"updated": "updated_timestamp", "created": "created_timestamp", "receipt_id": "receipt_id"}
        random.Random(len(self.asked)).shuffle(rows)  # rows of one time come in any order
        by = "receipt_id" if self.receipts_come == "no order" else names[query["sort_on"]]
        is_descending = self.receipts_come == "latest first" or query["sort_order"] == "desc"
        return sorted(rows, key=lambda row: row[by], reverse=is_descending)

    def _of_state(self, query: dict[str, str]) -> list[Json]:
        by = "updated_timestamp" if self.sorts_listings else "created_timestamp"
        rows = [row for row in self.listings.values() if row["state"] == query["state"]]
        return sorted(rows, key=lambda row: (row[by], row["listing_id"]), reverse=True)

    def _listed(self, row: Json, query: dict[str, str]) -> Json:
        included = query.get("includes", "").split(",")
        left_out = {name.lower() for name in ("Images", "Inventory") if name not in included}
        return {name: value for name, value in row.items() if name not in left_out}


def cycle(
    shop: Shop, resource: Resource, cursor: Json | None = None, now: datetime = NOW
) -> tuple[dict[str, Record], Json, list[str]]:
    """All pages of a cycle: the records that a store would end up with, the next cursor, what was partial."""
    held: dict[str, Record] = {}
    partials = []
    for _ in range(2_000):
        page = ADAPTER.fetch(STORE, resource, cursor, shop, now)
        for record in page.records:
            if record.id not in held or held[record.id].updated_at <= record.updated_at:
                held[record.id] = record
        partials += [page.partial] if page.partial else []
        assert page.done or page.cursor != cursor, "the cursor repeats"
        cursor = json.loads(json.dumps(page.cursor))
        if page.done:
            return held, cursor, partials
    raise AssertionError("the cycle has no end")


def all_ids(shop: Shop, resource: Resource, now: datetime = NOW) -> set[str]:
    found: set[str] = set()
    cursor: Json | None = None
    for _ in range(2_000):
        page = ADAPTER.list_ids(STORE, resource, cursor, shop, now)
        found |= set(page.ids)
        assert page.done or page.cursor != cursor, "the cursor repeats"
        cursor = json.loads(json.dumps(page.cursor))
        if page.done:
            return found
    raise AssertionError("the list has no end")


@contextmanager
def small_pages() -> Iterator[None]:
    """Pages of a few rows, so that few rows make many pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(etsy, "_MOST_ROWS", 5)
        patch.setattr(etsy, "_WHOLE_ROWS", 3)
        patch.setattr(etsy, "_SEEN_AGAIN", 2)
        yield


def fits() -> tuple[Platform, ShowsNewest, ReceivesWebhooks, SignsWithApp, NotifiesApp, GrantsByOAuth]:
    """The type checker holds the adapter to its protocols here as well."""
    return ADAPTER, ADAPTER, ADAPTER, ADAPTER, ADAPTER, ADAPTER


# The contract


def test_the_contract_is_as_old_as_we_say():
    paths = contract()["paths"]

    assert contract()["servers"][0]["url"] == "https://openapi.etsy.com", DIFFERENCES["host"]
    assert "shared" not in contract()["components"]["securitySchemes"]["api_key"]["description"]
    assert not [path for path in paths if "/oauth/" in path], DIFFERENCES["/v3/public/oauth/token"]
    assert contract()["components"]["schemas"]["Scopes"]["properties"] == {}, DIFFERENCES["scopes"]
    assert "webhook" not in CONTRACT.read_text().lower(), DIFFERENCES["webhooks"]
    assert contract()["components"]["schemas"]["ShopReceipt"]["properties"]["status"]["enum"][0] == "paid"


def test_we_ask_for_the_scopes_that_the_contract_names_at_our_calls():
    ours = ("getMe", "getShop", "getShopReceipts", "getShopReceipt", "getListingsByShop", "getListing")
    named = {
        scope
        for _, _, operation in operations()
        if operation["operationId"] in (*ours, "getListingsByListingIds", "tokenScopes")
        for each in operation.get("security", [])
        for scope in each.get("oauth2", [])
    }

    assert named == set(etsy.SCOPES)


def test_every_state_of_the_contract_is_walked_through():
    states = contract()["components"]["schemas"]["ShopListing"]["properties"]["state"]["enum"]

    assert set(etsy.STATES) == set(states)


@pytest.mark.parametrize(
    ("url", "params"),
    [
        ("https://api.etsy.com/v3/application/shops/4242/receipts", {"limit": "101"}),
        ("https://api.etsy.com/v3/application/shops/4242/receipts", {"updated_since": "1"}),
        ("https://api.etsy.com/v3/application/shops/0/receipts", {}),
        ("https://api.etsy.com/v3/application/listings/batch", {}),
        ("https://api.etsy.com/v3/application/nothing", {}),
    ],
)
def test_the_judge_refuses_what_the_contract_does_not_allow(url, params):
    headers = {"x-api-key": KEY, "authorization": "Bearer 77.access-1"}

    with pytest.raises(Exception):  # noqa: B017, PT011 - the validator's own or an assertion
        check_request("GET", url, params, headers, b"", KEY)


def test_the_judge_refuses_an_answer_of_another_shape():
    url = "https://api.etsy.com/v3/application/shops/4242/receipts"

    with pytest.raises(Exception):  # noqa: B017, PT011
        check_answer("GET", url, reply({"count": 1, "results": [{"receipt_id": "1"}]}))


def test_the_adapter_fits_its_protocols():
    assert {each.name for each in fits()[:1]} == {PlatformName.ETSY}
    protocols = (ShowsNewest, ReceivesWebhooks, SignsWithApp, NotifiesApp, GrantsByOAuth)
    assert all(isinstance(ADAPTER, each) for each in protocols)


def test_importing_the_adapter_loads_nothing_heavy():
    code = "import sys; import shared.platforms.etsy; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603 - ours
    loaded = done.stdout.split()

    assert not {"httpx", "pydantic", "boto3", "botocore", "dateutil", "html"} & set(loaded)


# The address


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("", ""),
        (" ", ""),
        ("www.etsy.com/shop/ClothOne?ref=x", "https://www.etsy.com/shop/ClothOne"),
        ("https://clothone.etsy.com/", "https://clothone.etsy.com"),
    ],
)
def test_takes_the_address_of_a_shop_at_etsy_or_none(text, domain):
    assert ADAPTER.normal_domain(text) == domain


@pytest.mark.parametrize(
    "text", ["https://etsy.com.evil.example", "http://www.etsy.com", "evil.example", "etsy.com:8443"]
)
def test_takes_no_other_address(text):
    with pytest.raises(ValueError, match="address"):
        ADAPTER.normal_domain(text)


# Probing


def test_a_probe_names_the_shop_and_what_was_granted():
    shop = Shop()

    identity = ADAPTER.probe(STORE._replace(store_id=""), shop)

    assert identity == Identity(
        "4242", "https://www.etsy.com/shop/ClothOne", "ClothOne", "EUR", None, frozenset(shop.scopes)
    )
    assert shop.paths == ["/scopes", "/users/me", "/shops/4242"]


def test_a_shop_on_vacation_is_a_shop():
    shop = Shop()
    shop.about["is_vacation"] = True

    assert ADAPTER.probe(STORE, shop).store_id == "4242"


@pytest.mark.parametrize("me", [{"user_id": 77}, {"user_id": 77, "shop_id": None}, {"user_id": 77, "shop_id": 0}, None])
def test_an_account_without_a_shop_is_told_so(me):
    def before(shop, path):
        if path == "/users/me":
            return reply(me) if me else error(404, "Could not find a shop for the user.")
        return None

    refused = refusal(lambda: ADAPTER.probe(STORE, Shop(before=before)))

    assert refused.refusal is Refusal.PERMISSION
    assert "no shop" in refused.detail
    assert ADAPTER.stores_of(STORE, Shop(before=before)) == []


def test_a_shop_that_is_closed_is_told_so():
    shop = Shop(before=lambda shop, path: error(404, "Resource not found") if path == "/shops/4242" else None)

    refused = refusal(lambda: ADAPTER.probe(STORE, shop))

    assert refused.refusal is Refusal.PERMISSION
    assert "closed" in refused.detail


def test_missing_scopes_are_named():
    refused = refusal(lambda: ADAPTER.probe(STORE, Shop(scopes=["shops_r", "listings_w"])))

    assert refused.refusal is Refusal.PERMISSION
    assert "listings_r, transactions_r" in refused.detail
    assert "shops_r" not in refused.detail


@pytest.mark.parametrize(
    "answer", [error(404, "Not found"), error(401, "invalid_token"), reply({"scopes": "all"}), reply({})]
)
def test_where_etsy_does_not_tell_the_scopes_the_next_call_must(answer):
    shop = Shop(before=lambda shop, path: answer if path == "/scopes" else None)

    assert ADAPTER.probe(STORE, shop).scopes == frozenset()


@pytest.mark.parametrize("url", ["https://evil.example/shop", "", None, 5, "https://www.etsy.com:1/x", "javascript:1"])
def test_an_address_that_is_not_etsys_is_not_taken_from_the_shop(url):
    shop = Shop(before=lambda shop, path: reply({**shop.about, "url": url}) if path == "/shops/4242" else None)

    assert ADAPTER.probe(STORE, shop).domain == STORE.domain


def test_another_shop_in_the_answer_is_not_believed():
    shop = Shop()
    shop.about["shop_id"] = 4243

    assert refusal(lambda: ADAPTER.probe(STORE, shop)).refusal is Refusal.NOT_THE_PLATFORM


@pytest.mark.parametrize(
    ("connection", "refused"),
    [
        (STORE._replace(credentials={}), Refusal.CREDENTIALS),
        (STORE._replace(credentials={"access_token": "a\nb"}), Refusal.CREDENTIALS),
        (STORE._replace(app=None), Refusal.REQUEST),
    ],
)
def test_nothing_is_called_without_what_opens_the_store(connection, refused):
    shop = Shop()

    assert refusal(lambda: ADAPTER.probe(connection, shop)).refusal is refused
    assert shop.asked == []


def test_a_store_without_a_shop_id_is_not_asked_about():
    shop = Shop()

    for store_id in ("", "0", "4242/receipts", "../users/me"):
        connection = STORE._replace(store_id=store_id)
        for resource in Resource:
            refused = refusal(lambda r=resource, c=connection: ADAPTER.fetch(c, r, None, shop, NOW))
            assert refused.refusal is Refusal.REQUEST
    assert shop.asked == []


# The grant


def test_the_consent_screen_is_asked_for_with_pkce_and_scopes():
    url = ADAPTER.authorization_url(
        APP, "", state="st-1", return_url="https://api.example/authorizations/ETSY/callback", challenge="ch-1"
    )

    assert url.startswith("https://www.etsy.com/oauth/connect?")
    assert "+" not in url
    assert {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()} == {
        "response_type": "code",
        "client_id": "keystring0",
        "redirect_uri": "https://api.example/authorizations/ETSY/callback",
        "scope": "shops_r listings_r transactions_r",
        "state": "st-1",
        "code_challenge": "ch-1",
        "code_challenge_method": "S256",
    }
    assert "shared0secret" not in unquote(url)


@pytest.mark.parametrize("vector", [each for each in VECTORS if each.kind == "pkce"], ids=lambda each: each.name)
def test_the_challenge_of_a_verifier_goes_out_as_it_came(vector):
    challenge = base64.urlsafe_b64encode(sha256(vector.other["code_verifier"].encode()).digest()).rstrip(b"=").decode()

    url = ADAPTER.authorization_url(APP, "", state="s", return_url="https://r.example", challenge=challenge)

    assert parse_qs(urlsplit(url).query)["code_challenge"] == [vector.other["expected_challenge"]]


def test_a_callback_brings_state_and_code():
    callback = ADAPTER.read_callback(APP, [("code", "c-1"), ("state", "st-1")], NOW)

    assert (callback.state, callback.code, callback.domain) == ("st-1", "c-1", "")


def test_a_seller_who_declines_brings_no_code():
    query = [("error", "access_denied"), ("error_description", "declined"), ("state", "st-1"), ("code", "c-1")]

    assert ADAPTER.read_callback(APP, query, NOW).code == ""


@pytest.mark.parametrize(
    "query", [[], [("code", "c")], [("state", "")], [("state", "a"), ("state", "b"), ("code", "c")]]
)
def test_a_callback_without_one_state_is_refused(query):
    with pytest.raises(ValueError, match=r"state|twice"):
        ADAPTER.read_callback(APP, query, NOW)


@dataclass
class TokenEndpoint:
    """The token endpoint; see DIFFERENCES."""

    answer: Answer
    forms: list[dict[str, str]] = field(default_factory=list)

    def request(self, method: str, url: str, **options: Any) -> Answer:
        assert (method, url) == ("POST", contract_token_url())
        assert options.pop("repeatable") is False
        headers = options.pop("headers")
        assert headers == {"x-api-key": "keystring0:shared0secret", "content-type": "application/x-www-form-urlencoded"}
        self.forms.append(dict(parse_qsl(options.pop("content").decode(), strict_parsing=True)))
        assert not options
        return self.answer


def contract_token_url() -> str:
    flow = contract()["components"]["securitySchemes"]["oauth2"]["flows"]["authorizationCode"]
    return flow["tokenUrl"].replace("openapi.etsy.com", "api.etsy.com")


def granted(**more: Any) -> Answer:
    pair = {"access_token": "77.new-a", "refresh_token": "77.new-r", "token_type": "Bearer", "expires_in": 3600}
    return reply({**pair, **more})


def exchange(http: TokenEndpoint):
    return ADAPTER.exchange(APP, "", "c-1", return_url="https://r.example", verifier="v-1", http=http, now=NOW)


def refresh(http: TokenEndpoint):
    return ADAPTER.refresh(STORE, http, NOW)


def test_a_code_is_exchanged_with_its_verifier_and_without_a_secret_in_the_form():
    http = TokenEndpoint(granted())

    tokens = exchange(http)

    assert tokens == ("77.new-a", "77.new-r", NOW + timedelta(hours=1), None, False)
    assert http.forms == [
        {
            "grant_type": "authorization_code",
            "client_id": "keystring0",
            "redirect_uri": "https://r.example",
            "code": "c-1",
            "code_verifier": "v-1",
        }
    ]


def test_an_exchange_names_scopes_that_its_answer_lacks():
    refused = refusal(lambda: exchange(TokenEndpoint(granted(scope="shops_r transactions_r"))))

    assert refused.refusal is Refusal.PERMISSION
    assert "listings_r" in refused.detail


def test_a_refresh_spends_the_refresh_token_once():
    http = TokenEndpoint(granted())

    assert refresh(http).refresh_token == "77.new-r"
    assert http.forms == [{"grant_type": "refresh_token", "client_id": "keystring0", "refresh_token": "77.refresh-1"}]


@pytest.mark.parametrize("life", [None, 0, -1, "3600", True, 10**30, 1.5, [], "soon"])
def test_a_life_that_makes_no_sense_costs_no_tokens(life):
    tokens = refresh(TokenEndpoint(granted(expires_in=life)))

    assert (tokens.access_token, tokens.expires_at) == ("77.new-a", None)


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (error(400, "invalid_grant", "refresh_token is revoked"), Refusal.CREDENTIALS),
        (error(401, "invalid_grant", "refresh_token is expired"), Refusal.CREDENTIALS),
        (error(400, "invalid_grant", "code has been used previously"), Refusal.CREDENTIALS),
        (error(401, "invalid_client", "client_id is unknown"), Refusal.REQUEST),
        (error(401, "invalid_client"), Refusal.REQUEST),
        (error(400, "invalid_request", "redirect_uri is missing"), Refusal.REQUEST),
        (error(400, "unsupported_grant_type"), Refusal.REQUEST),
        # for some hours of August 2022 Etsy knew no app: nobody's grant was dead
        (error(400, "Invalid API key"), Refusal.REQUEST),
        (error(400, "invalid_grant", "client_id does not match"), Refusal.REQUEST),
        (error(403, "Shared secret is required in x-api-key header."), Refusal.REQUEST),
        (error(403, "forbidden"), Refusal.TRANSIENT),
        (error(404, "Not found"), Refusal.TRANSIENT),
        (error(500, "Server Error"), Refusal.TRANSIENT),
        (error(500, "invalid_grant"), Refusal.TRANSIENT),
        (reply(b"<html>", 502), Refusal.TRANSIENT),
        (error(429, "Exceeded per second rate limit"), Refusal.RATE_LIMITED),
        (reply(b"<html>", 403), Refusal.NOT_THE_PLATFORM),
        (reply(b"<html>", 200), Refusal.NOT_THE_PLATFORM),
        (reply([], 200), Refusal.NOT_THE_PLATFORM),
        (reply({"access_token": "77.a"}), Refusal.NOT_THE_PLATFORM),
        (reply({"access_token": "a b", "refresh_token": "c"}), Refusal.NOT_THE_PLATFORM),
        (reply(b'{"access_token":"\\ud800","refresh_token":"c"}'), Refusal.NOT_THE_PLATFORM),
    ],
)
@pytest.mark.parametrize("call", [exchange, refresh])
def test_only_a_dead_grant_calls_for_a_person(call, answer, refused):
    assert refusal(lambda: call(TokenEndpoint(answer))).refusal is refused


def test_a_store_without_a_refresh_token_cannot_be_refreshed():
    connection = STORE._replace(credentials={"access_token": "77.a"})

    assert refusal(lambda: ADAPTER.refresh(connection, TokenEndpoint(granted()), NOW)).refusal is Refusal.CREDENTIALS


# What refusals mean


def every_call(http: Any) -> Iterator[Callable[[], object]]:
    yield lambda: ADAPTER.probe(STORE, http)
    yield lambda: ADAPTER.newest_orders(STORE, http, NOW)
    for resource in Resource:
        yield lambda r=resource: ADAPTER.fetch(STORE, r, None, http, NOW)
        yield lambda r=resource: ADAPTER.fetch_one(STORE, r, "5", http)
        yield lambda r=resource: ADAPTER.list_ids(STORE, r, None, http, NOW)


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (error(401, "invalid_token", "access token is expired"), Refusal.CREDENTIALS),
        (error(403, "invalid_token"), Refusal.CREDENTIALS),
        (error(401, "Unauthorized"), Refusal.CREDENTIALS),
        (error(403, "insufficient_scope", "Insufficient scope"), Refusal.PERMISSION),
        (error(401, "insufficient_scope"), Refusal.PERMISSION),
        (error(403, "User does not own Shop"), Refusal.PERMISSION),
        (error(403, "Shared secret is required in x-api-key header."), Refusal.REQUEST),
        (error(401, "Invalid API key: should be in the format 'keystring:shared_secret'."), Refusal.REQUEST),
        (error(403, "API key not found or not active"), Refusal.REQUEST),
        (error(400, "min_last_modified is invalid"), Refusal.REQUEST),
        (reply([{"path": "/limit", "type": "x", "message": "is too large"}], 400), Refusal.REQUEST),
        (error(409, "Conflict"), Refusal.REQUEST),
        (error(500, "Server Error"), Refusal.TRANSIENT),
        (reply(b"<html>Bad gateway</html>", 502), Refusal.TRANSIENT),
        (error(408, "Timeout"), Refusal.TRANSIENT),
        (error(503, "Busy", retry_after="3"), Refusal.RATE_LIMITED),
        (error(429, "Exceeded per second rate limit"), Refusal.RATE_LIMITED),
        (reply(b"<html>blocked</html>", 403), Refusal.NOT_THE_PLATFORM),
        (reply(b"<html>not found</html>", 404), Refusal.NOT_THE_PLATFORM),
        (reply(b"", 401), Refusal.NOT_THE_PLATFORM),
        (reply({}, 404), Refusal.NOT_THE_PLATFORM),
        (reply(b"<html>", 200), Refusal.NOT_THE_PLATFORM),
        (reply(b"[" * 100_000, 200), Refusal.NOT_THE_PLATFORM),
        (reply(b"[" * 100_000, 404), Refusal.NOT_THE_PLATFORM),
        (reply([], 200), Refusal.NOT_THE_PLATFORM),
        (reply({}, 200), Refusal.NOT_THE_PLATFORM),
    ],
)
def test_a_refusal_is_told_by_status_and_word(answer, refused):
    def before(shop, path):
        return reply({"scopes": None}) if path == "/scopes" else answer

    for call in every_call(Shop(before=before)):
        found = outcome(call)
        if isinstance(found, PlatformError):
            assert found.refusal is refused
        else:
            # a page that was too much is asked for again without images and variants
            assert (found.records, found.done, found.cursor["is_thin"]) == ([], False, True)
            assert refused in {Refusal.TRANSIENT, Refusal.NOT_THE_PLATFORM}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize("word", ["x-api-key", "invalid_grant", "invalid_token", "Bad"])
def test_what_etsy_repeats_of_our_secrets_is_not_shown(status, word):
    answer = error(status, f"{word} {' '.join(SECRETS)}", " ".join(SECRETS))
    endpoint = TokenEndpoint(answer)

    for call in (
        *every_call(Shop(before=lambda shop, path: answer)),
        lambda: exchange(endpoint),
        lambda: refresh(endpoint),
    ):
        outcome(call)  # which looks for them


def test_a_list_that_is_gone_deletes_nothing():
    """A shop that is closed must not look as if all its records were gone."""
    shop = Shop(before=lambda shop, path: error(404, "Resource not found"))

    assert refusal(lambda: ADAPTER.newest_orders(STORE, shop, NOW)).refusal is Refusal.PERMISSION
    for resource in Resource:
        assert refusal(lambda r=resource: ADAPTER.fetch(STORE, r, None, shop, NOW)).refusal is Refusal.PERMISSION
        assert refusal(lambda r=resource: ADAPTER.list_ids(STORE, r, None, shop, NOW)).refusal is Refusal.PERMISSION
        assert refusal(lambda r=resource: ADAPTER.fetch_one(STORE, r, "5", shop)).refusal is Refusal.NOT_FOUND


# The pace


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7),
        ({"retry_after": "86400", "x_remaining_today": "0"}, 86_400),
        ({"retry_after": "999999999"}, 86_400),
        ({"retry_after": "Sun, 22 Nov 2026 12:31:00 GMT"}, 60),
        ({"retry_after": "Sun, 22 Nov 2099 12:31:00 GMT"}, 86_400),
        ({"x_remaining_this_second": "0", "x_remaining_today": "55"}, 1),
        ({"x_remaining_today": "0"}, 900),
        ({"retry_after": "soon"}, 1),
        ({"retry_after": "-5"}, 1),
        ({"retry_after": "9" * 400}, 1),
        ({}, 1),
    ],
)
def test_a_limit_says_when_to_come_back(headers, seconds):
    shop = Shop(before=lambda shop, path: error(429, "Exceeded rate limit", **headers))

    page = refusal(lambda: ADAPTER.fetch(STORE, Resource.ORDERS, None, shop, NOW))
    newest = refusal(lambda: ADAPTER.newest_orders(STORE, shop, NOW))

    assert page.refusal is newest.refusal is Refusal.RATE_LIMITED
    assert page.retry_at == newest.retry_at == NOW + timedelta(seconds=seconds)


def test_a_daily_limit_without_a_time_is_no_matter_of_seconds():
    shop = Shop(before=lambda shop, path: error(429, "Exceeded daily rate limit"))

    assert refusal(lambda: ADAPTER.fetch(STORE, Resource.ORDERS, None, shop, NOW)).retry_at == NOW + timedelta(
        minutes=15
    )


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"x_limit_per_day": "10000", "x_remaining_today": "9000", "x_remaining_this_second": "9"}, None),
        ({"x_limit_per_day": "10000", "x_remaining_today": "1000", "x_remaining_this_second": "9"}, None),
        ({"x_limit_per_day": "10000", "x_remaining_today": "9000", "x_remaining_this_second": "0"}, 1),
        ({"x_limit_per_day": "10000", "x_remaining_today": "999"}, 8.64),
        ({"x_limit_per_day": "100000", "x_remaining_today": "0"}, 0.864),
        ({"x_limit_per_day": "0", "x_remaining_today": "0"}, None),
        ({"x_limit_per_day": "many", "x_remaining_today": "-1"}, None),
    ],
)
def test_pages_come_as_fast_as_the_budget_gives(headers, wait):
    page = ADAPTER.fetch(STORE, Resource.ORDERS, None, Shop(headers=headers), NOW)

    assert page.ready_at == (NOW + timedelta(seconds=wait) if wait else None)


def test_a_page_of_several_calls_waits_for_all_of_them():
    shop = Shop(headers={"x_limit_per_day": "10000", "x_remaining_today": "1"})
    shop.listings = {id: listing(id, SECONDS - 10) for id in range(1, 4)}
    cursor = {"since": SECONDS - DAY, "read_at": SECONDS, "is_sorted": False, "counts": []}

    page = ADAPTER.fetch(STORE, Resource.PRODUCTS, cursor, shop, NOW)

    assert shop.paths == ["/shops/4242/listings", "/listings/batch"]
    assert page.ready_at == NOW + timedelta(seconds=2 * 8.64)


# Orders


def test_an_order_is_mapped_whole():
    row = receipt(
        17,
        status="Completed",
        name="Buyer 17",
        buyer_email="buyer17@example.com",
        first_line="13 O&#39;Sample Street",
        second_line="Flat &quot;B&quot;",
        message_from_buyer="Wrap it &amp; hide it",
        grandtotal=money(5550),
        refunds=[{"amount": money(1000), "created_timestamp": SECONDS - 30}, {"amount": money(50)}],
        transactions=[
            transaction(
                171,
                title="Mug",
                variations=[
                    {"property_id": 200, "value_id": 1, "formatted_name": "Colour", "formatted_value": "Blue"},
                    {
                        "property_id": 54,
                        "value_id": None,
                        "formatted_name": "Personalization",
                        "formatted_value": "A&amp;B",
                    },
                ],
            ),
            transaction(172, listing_id=None, product_id=None, sku=None, quantity=1, price=money(300)),
        ],
    )
    check_answer("GET", "https://api.etsy.com/v3/application/shops/4242/receipts/17", reply(row))

    record = ADAPTER.fetch_one(STORE, Resource.ORDERS, "17", Shop(receipts={17: row}))

    assert record.updated_at == datetime.fromtimestamp(SECONDS - 30, UTC)
    assert record.created_at == datetime.fromtimestamp(SECONDS - 3_660, UTC)
    assert record.body == {
        "id": "17",
        "number": "17",
        "status": "completed",
        "platformStatus": "Completed",
        "total": "55.50",
        "refundedTotal": "10.50",
        "currency": "EUR",
        "lines": [
            {
                "id": "171",
                "productId": "5",
                "variantId": "51",
                "title": "Mug",
                "sku": "SH-1",
                "quantity": 2,
                "unitPrice": "12.50",
                "total": "25.00",
                "properties": [
                    {"name": "Colour", "value": "Blue"},
                    {"name": "Personalization", "value": "A&B"},
                ],
            },
            {
                "id": "172",
                "productId": None,
                "variantId": None,
                "title": "Shirt",
                "sku": None,
                "quantity": 1,
                "unitPrice": "3.00",
                "total": "3.00",
                "properties": [],
            },
        ],
        "customer": {"id": "917", "name": "Buyer 17", "email": "buyer17@example.com"},
        "shippingAddress": {
            "name": "Buyer 17",
            "company": None,
            "line1": "13 O'Sample Street",
            "line2": 'Flat "B"',
            "city": "Sampletown",
            "region": None,
            "postalCode": "12345",
            "country": "DE",
            "phone": None,
        },
        "note": "Wrap it & hide it",
        "fees": [],
        "createdAt": "2026-11-22T11:29:00Z",
        "updatedAt": "2026-11-22T12:29:30Z",
    }


@pytest.mark.parametrize(
    ("word", "more", "status"),
    [
        ("Open", {}, "pending"),
        ("payment processing", {}, "pending"),
        ("Paid", {}, "paid"),
        ("paid", {"transactions": [transaction(1, shipped_timestamp=SECONDS), transaction(2)]}, "partly_shipped"),
        ("paid", {"transactions": [transaction(1, shipped_timestamp=SECONDS)]}, "paid"),
        ("Completed", {"transactions": [transaction(1, shipped_timestamp=SECONDS), transaction(2)]}, "completed"),
        ("Canceled", {}, "cancelled"),
        ("Fully Refunded", {}, "refunded"),
        ("Partially Refunded", {}, "paid"),
        ("Partially Refunded", {"is_shipped": True}, "completed"),
        ("Teleported", {}, "other"),
    ],
)
def test_an_order_has_a_normal_status_beside_etsys_word(word, more, status):
    shop = Shop(before=lambda shop, path: reply(receipt(1, status=word, **more)))

    body = ADAPTER.fetch_one(STORE, Resource.ORDERS, "1", shop).body

    assert (body["status"], body["platformStatus"]) == (status, word)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (money(1250), "12.50"),
        (money(5, 100), "0.05"),
        (money(-5, 100), "-0.05"),
        (money(1250, 1, "JPY"), "1250"),
        (money(1250, 1000), "1.250"),
        (money(0), "0.00"),
    ],
)
def test_money_is_decimal_text(given, text):
    shop = Shop(receipts={1: receipt(1, grandtotal=given)})

    assert ADAPTER.fetch_one(STORE, Resource.ORDERS, "1", shop).body["total"] == text


@pytest.mark.parametrize(
    "given",
    [
        None, 12.5, "12.50", [], {}, money(1.5), money("1250"), money(True), money(10**15), money(1, 0), money(1, -100),
        money(1, 3), money(1, 10**30), money(1, 100, "euro"), money(1, 100, None), money(1, True, "EU"),
    ],
)  # fmt: skip
def test_money_that_makes_no_sense_is_not_taken(given):
    shop = Shop(before=lambda shop, path: reply(receipt(1, grandtotal=given)))

    assert refusal(lambda: ADAPTER.fetch_one(STORE, Resource.ORDERS, "1", shop)).refusal is Refusal.NOT_UNDERSTOOD


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("&#39;", "'"),
        ("&amp;quot;", "&quot;"),
        ("&eacute;", "&eacute;"),
        ("&#55296;", "&#55296;"),
        ("&#0;", "&#0;"),
        ("&#9999999;", "&#9999999;"),
        ("R&D", "R&D"),
        ("&#128512;", "\U0001f600"),
        ("\ud800", "?"),
    ],
)
def test_text_is_what_the_buyer_wrote(written, meant):
    shop = Shop(before=lambda shop, path: reply(receipt(1, message_from_buyer=written)))

    assert ADAPTER.fetch_one(STORE, Resource.ORDERS, "1", shop).body["note"] == meant


def test_fields_that_etsy_keeps_from_us_may_be_absent():
    names = ("name", "buyer_email", "buyer_user_id", "first_line", "city", "zip", "country_iso", "state")
    row = {name: value for name, value in receipt(1).items() if name not in names}

    body = ADAPTER.fetch_one(STORE, Resource.ORDERS, "1", Shop(receipts={1: row})).body

    assert (body["customer"], body["shippingAddress"]) == (None, None)


@pytest.mark.parametrize("id", ["", "0", "-1", "1/../2", "../4243/receipts/1", "1?x", "9" * 21, "\u0661"])
def test_an_id_that_is_none_is_not_asked_for(id):
    shop = Shop()

    for resource in Resource:
        refused = refusal(lambda r=resource: ADAPTER.fetch_one(STORE, r, id, shop))
        assert refused.refusal is Refusal.NOT_FOUND
    assert shop.asked == []


def test_one_receipt_that_cannot_be_read_does_not_stop_the_others():
    broken = receipt(2)
    del broken["grandtotal"]

    held, _, partials = cycle(Shop(receipts={1: receipt(1), 2: broken, 3: receipt(3)}), Resource.ORDERS)

    assert sorted(held) == ["1", "3"]
    assert partials == ["Not understood: orders 2."]


def test_the_newest_orders_come_by_one_call_the_last_created_first():
    shop = Shop(receipts={id: receipt(id, SECONDS, created_timestamp=SECONDS - 60 * id) for id in range(1, 131)})

    newest = ADAPTER.newest_orders(STORE, shop, NOW)

    assert [record.id for record in newest] == [str(id) for id in range(1, 101)]
    assert newest[6] == ADAPTER.fetch_one(STORE, Resource.ORDERS, "7", shop)
    assert shop.paths == ["/shops/4242/receipts", "/shops/4242/receipts/7"]


def test_a_shop_without_orders_has_no_newest():
    assert ADAPTER.newest_orders(STORE, Shop(), NOW) == []


def test_one_of_the_newest_that_cannot_be_read_is_left_out():
    rows = {id: receipt(id, SECONDS - id) for id in (1, 2, 3)}
    del rows[2]["grandtotal"]

    def before(shop, path):
        return reply({"count": 3, "results": list(rows.values())})

    assert [record.id for record in ADAPTER.newest_orders(STORE, Shop(before=before), NOW)] == ["1", "3"]


def test_an_idle_shop_costs_one_call_for_its_orders():
    shop = Shop(receipts={id: receipt(id) for id in range(1, 30)})
    _, cursor, _ = cycle(shop, Resource.ORDERS)
    shop.asked.clear()

    held, _, _ = cycle(shop, Resource.ORDERS, cursor, NOW + timedelta(hours=2))

    assert held == {}
    assert [(path, query["min_last_modified"]) for _, path, query in shop.asked] == [
        ("/shops/4242/receipts", str(SECONDS - 600))
    ]


def test_sorted_receipts_are_read_without_a_wasted_page():
    shop = Shop(receipts={id: receipt(id, SECONDS - 10_000 + id) for id in range(1, 500)})

    held, _, partials = cycle(shop, Resource.ORDERS)

    assert len(held) == 499
    assert partials == []
    assert len(shop.asked) == 6  # a page repeats the last second of the one before


def test_more_receipts_of_one_second_than_a_page_are_all_read():
    shop = Shop(receipts={id: receipt(id, SECONDS - 10_000) for id in range(1, 350)} | {999: receipt(999)})

    held, _, partials = cycle(shop, Resource.ORDERS)

    assert len(held) == 350
    assert partials == []
    assert len(shop.asked) <= 10


@pytest.mark.parametrize("come", ["latest first", "no order"])
def test_receipts_that_are_not_sorted_are_all_read(come):
    dice = random.Random(5)
    rows = {id: receipt(id, SECONDS - dice.randrange(DAY * 700)) for id in range(1, 400)}

    held, _, partials = cycle(Shop(receipts=rows, receipts_come=come), Resource.ORDERS)

    assert len(held) == 399
    assert partials == []


def test_refunds_without_a_touch_of_the_time_of_change_are_found_within_a_day():
    shop = Shop(receipts={1: receipt(1), 2: receipt(2, SECONDS - 40 * DAY)})
    _, cursor, _ = cycle(shop, Resource.ORDERS)
    for id in (1, 2):
        shop.receipts[id] |= {
            "status": "Fully Refunded",
            "refunds": [{"amount": money(2500), "created_timestamp": SECONDS + 60}],
        }

    for hours in (1, 23):
        held, cursor, _ = cycle(shop, Resource.ORDERS, cursor, NOW + timedelta(hours=hours))
        assert held == {}
    held, cursor, _ = cycle(shop, Resource.ORDERS, cursor, NOW + timedelta(hours=25))

    assert [(each.id, each.body["status"], each.updated_at) for each in held.values()] == [
        ("1", "refunded", NOW + timedelta(seconds=60))
    ]
    assert cycle(shop, Resource.ORDERS, cursor, NOW + timedelta(hours=26))[0] == {}


def test_the_compare_lists_receipts_of_thirty_days_and_says_so():
    recent, old = receipt(1, SECONDS - 29 * DAY), receipt(2, SECONDS - 31 * DAY)

    page = ADAPTER.list_ids(STORE, Resource.ORDERS, None, Shop(receipts={1: recent, 2: old}), NOW)

    assert (page.ids, page.done, page.since) == (["1"], True, NOW - timedelta(days=30))


moments = st.integers(SECONDS - 40 * DAY, SECONDS - 1)


@given(
    times=st.lists(st.one_of(moments, st.sampled_from([SECONDS - 9_000, SECONDS - 9_001])), min_size=1, max_size=40),
    seed=st.integers(0, 10**6),
    come=st.sampled_from(["as asked", "latest first"]),
)
@settings(deadline=None, max_examples=60)
def test_no_receipt_is_skipped_however_they_move(times, seed, come):
    """Receipts change while they are paged through; after the next quiet cycle all are as the shop has them."""
    dice = random.Random(seed)
    shop = Shop(receipts={id: receipt(id, time) for id, time in enumerate(times, 1)}, receipts_come=come)
    clock = [SECONDS]

    def change(shop, path):
        clock[0] += dice.randrange(3)
        if dice.random() < 0.4:
            row = dice.choice(list(shop.receipts.values()))
            row |= {"updated_timestamp": clock[0], "message_from_buyer": f"at {clock[0]}"}

    shop.before = change
    with small_pages():
        held, cursor, partials = cycle(shop, Resource.ORDERS)
        shop.before = lambda shop, path: None
        later, _, _ = cycle(shop, Resource.ORDERS, cursor, NOW + timedelta(seconds=clock[0] - SECONDS + 60))

    ours = {id: record.body["note"] for id, record in {**held, **later}.items()}
    assert ours == {str(id): row["message_from_buyer"] for id, row in shop.receipts.items()} or partials
    assert all_ids(shop, Resource.ORDERS) >= {
        str(id) for id, row in shop.receipts.items() if row["created_timestamp"] > SECONDS - 30 * DAY
    }


# Products


def test_a_product_is_mapped_whole():
    row = listing(
        5,
        title="Shirt &quot;One&quot;",
        state_timestamp=SECONDS - 40,
        skus=["", "SH-1"],
        images=[
            {"listing_image_id": 2, "rank": 2, "url_fullxfull": "https://i.etsystatic.com/2.jpg"},
            {"listing_image_id": 1, "rank": 1, "url_fullxfull": "https://i.etsystatic.com/1.jpg?a=1&amp;b"},
        ],
        inventory={
            "products": [
                product(51, {"Colour": "Blue", "Size": "M"}),
                product(52, {}, sku="", offerings=[]),
                product(53, {"Colour": "Gone"}, is_deleted=True),
            ]
        },
    )
    row["inventory"]["products"][0]["property_values"][1]["scale_name"] = "US"

    record = ADAPTER.fetch_one(STORE, Resource.PRODUCTS, "5", Shop(listings={5: row}))

    assert record.updated_at == datetime.fromtimestamp(SECONDS - 40, UTC)
    assert record.body == {
        "id": "5",
        "title": 'Shirt "One"',
        "status": "active",
        "platformStatus": "active",
        "price": "19.99",
        "currency": "EUR",
        "sku": "SH-1",
        "imageUrl": "https://i.etsystatic.com/1.jpg?a=1&amp;b",
        "url": "https://www.etsy.com/listing/5",
        "variants": [
            {
                "id": "51",
                "title": "Blue, M US",
                "sku": "SKU-51",
                "price": "21.00",
                "inventoryQuantity": 3,
                "attributes": {"Colour": "Blue", "Size": "M US"},
            },
            {
                "id": "52",
                "title": 'Shirt "One"',
                "sku": None,
                "price": None,
                "inventoryQuantity": None,
                "attributes": {},
            },
        ],
        "createdAt": "2026-08-14T12:30:05Z",
        "updatedAt": "2026-11-22T12:29:20Z",
    }


def test_a_listing_without_an_inventory_is_its_own_variant():
    body = ADAPTER.fetch_one(STORE, Resource.PRODUCTS, "5", Shop(listings={5: listing(5, skus=["A"])})).body

    assert body["variants"] == [
        {"id": "5", "title": "Listing 5", "sku": "A", "price": "19.99", "inventoryQuantity": 7, "attributes": {}}
    ]


@pytest.mark.parametrize(
    ("state", "status"),
    [("active", "active"), ("draft", "draft"), ("inactive", "inactive"), ("sold_out", "inactive"),
     ("expired", "inactive"), ("edit", "other")],
)  # fmt: skip
def test_a_product_has_a_normal_status_beside_etsys_state(state, status):
    shop = Shop(before=lambda shop, path: reply(listing(5, state=state)))

    body = ADAPTER.fetch_one(STORE, Resource.PRODUCTS, "5", shop).body

    assert (body["status"], body["platformStatus"]) == (status, state)


@pytest.mark.parametrize("more", [{"shop_id": 4243}, {"state": "removed"}, {"shop_id": None}])
def test_a_listing_that_is_not_the_shops_does_not_exist(more):
    shop = Shop(before=lambda shop, path: reply(listing(5, **more)))

    assert refusal(lambda: ADAPTER.fetch_one(STORE, Resource.PRODUCTS, "5", shop)).refusal is Refusal.NOT_FOUND


def test_an_answer_about_another_record_is_not_believed():
    shop = Shop(before=lambda shop, path: reply({**listing(6), **receipt(6)}))

    for resource in Resource:
        refused = refusal(lambda r=resource: ADAPTER.fetch_one(STORE, r, "5", shop))
        assert refused.refusal is Refusal.NOT_THE_PLATFORM


def shop_of(count: int, **more: Any) -> Shop:
    """Listings of all states, edited in another order than they were made."""
    dice = random.Random(count)
    rows = {
        id: listing(
            id,
            SECONDS - 10 * DAY - dice.randrange(80 * DAY),
            state=dice.choice(["active", "active", "active", *etsy.STATES]),
            inventory={"products": [product(10 * id, {"Size": "M"})]},
            images=[],
        )
        for id in range(1, count + 1)
    }
    return Shop(listings=rows, **more)


def test_the_first_cycle_reads_everything_whole():
    shop = shop_of(160)

    held, cursor, partials = cycle(shop, Resource.PRODUCTS)

    assert set(held) == {str(id) for id in shop.listings} == all_ids(shop, Resource.PRODUCTS)
    assert all(record.body["variants"][0]["attributes"] == {"Size": "M"} for record in held.values())
    assert partials == []
    assert set(shop.paths) == {"/shops/4242/listings"}
    assert len(json.dumps(cursor)) < 200


def test_later_cycles_read_whole_only_what_changed():
    shop = shop_of(160)
    _, cursor, _ = cycle(shop, Resource.PRODUCTS)
    for id in (3, 150):
        shop.listings[id] |= {"updated_timestamp": SECONDS + 60, "title": "Changed"}
    shop.listings[77] |= {"state": "expired", "state_timestamp": SECONDS + 60}
    shop.asked.clear()

    held, _, _ = cycle(shop, Resource.PRODUCTS, cursor, NOW + timedelta(minutes=5))

    assert set(held) == {"3", "150", "77"}
    assert held["77"].body["status"] == "inactive"
    assert {query["listing_ids"] for _, path, query in shop.asked if path == "/listings/batch"} <= {
        "3", "150", "77", "150,3", "3,150", "77,3",
    }  # fmt: skip


def test_where_etsy_sorts_an_idle_shop_costs_a_call_a_state():
    shop = shop_of(400, sorts_listings=True)
    _, cursor, _ = cycle(shop, Resource.PRODUCTS)
    shop.asked.clear()

    held, _, _ = cycle(shop, Resource.PRODUCTS, cursor, NOW + timedelta(minutes=5))

    assert held == {}
    assert len(shop.asked) == len(etsy.STATES)


def test_where_etsy_does_not_sort_all_pages_are_looked_at():
    shop = shop_of(400)
    _, cursor, _ = cycle(shop, Resource.PRODUCTS)
    assert cursor["is_sorted"] is False
    oldest = min(shop.listings)
    shop.listings[oldest] |= {"updated_timestamp": SECONDS + 60}

    held, _, _ = cycle(shop, Resource.PRODUCTS, cursor, NOW + timedelta(minutes=5))

    assert set(held) == {str(oldest)}


def test_an_order_that_is_broken_once_is_no_longer_trusted():
    shop = shop_of(400, sorts_listings=True)
    _, cursor, _ = cycle(shop, Resource.PRODUCTS)
    shop.sorts_listings = False
    oldest = min(shop.listings)

    _, cursor, _ = cycle(shop, Resource.PRODUCTS, cursor, NOW + timedelta(minutes=5))
    assert cursor["is_sorted"] is False
    shop.listings[oldest] |= {"updated_timestamp": SECONDS + 400}

    assert set(cycle(shop, Resource.PRODUCTS, cursor, NOW + timedelta(minutes=10))[0]) == {str(oldest)}


def test_a_state_that_holds_more_listings_than_before_is_read_to_its_end():
    shop = shop_of(400, sorts_listings=True)
    for id, row in shop.listings.items():
        row["state"] = ("active", "expired")[id % 2]
    _, cursor, _ = cycle(shop, Resource.PRODUCTS)
    assert cursor["is_sorted"] is True
    moved = 200
    shop.listings[moved] |= {
        "state": "expired",
        "updated_timestamp": SECONDS - 200 * DAY,
        "state_timestamp": SECONDS + 60,
    }

    held, _, _ = cycle(shop, Resource.PRODUCTS, cursor, NOW + timedelta(minutes=5))

    assert held[str(moved)].body["platformStatus"] == "expired"


@pytest.mark.parametrize("resource", list(Resource))
def test_what_shows_late_is_still_found(resource):
    """A change is dated before the cycle that began without seeing it."""
    shop = Shop(receipts={1: receipt(1)}, listings={1: listing(1)})
    _, cursor, _ = cycle(shop, resource)
    shop.receipts[2], shop.listings[2] = receipt(2, SECONDS - 500), listing(2, SECONDS - 500)

    held, _, _ = cycle(shop, resource, cursor, NOW + timedelta(minutes=5))

    assert set(held) == {"2"}


@pytest.mark.parametrize("gone", [5, 12, 24, 60])
def test_listings_that_leave_do_not_hide_those_behind_them(gone):
    """Rows move up by as many as were taken away from the pages that were read already."""
    for read in (lambda shop: set(cycle(shop, Resource.PRODUCTS)[0]), lambda shop: all_ids(shop, Resource.PRODUCTS)):
        shop = Shop(listings={id: listing(id) for id in range(1, 301)})

        def leave(shop, path):
            if len(shop.asked) == 4:
                for id in sorted(shop.listings, reverse=True)[:gone]:
                    del shop.listings[id]

        shop.before = leave
        found = read(shop)

        assert len(shop.asked) > 4
        assert {str(id) for id in shop.listings} <= found


def test_stock_that_sells_without_a_touch_of_the_listing_is_found_within_a_day():
    shop = shop_of(30, sorts_listings=True)
    _, cursor, _ = cycle(shop, Resource.PRODUCTS)
    shop.listings[7]["inventory"]["products"][0]["offerings"][0]["quantity"] = 0

    held, cursor, _ = cycle(shop, Resource.PRODUCTS, cursor, NOW + timedelta(hours=23))
    assert held == {}
    held, _, _ = cycle(shop, Resource.PRODUCTS, cursor, NOW + timedelta(hours=25))

    assert held["7"].body["variants"][0]["inventoryQuantity"] == 0


def test_what_the_batch_leaves_out_is_read_alone():
    shop = shop_of(20, batch_hides=frozenset({"4"}))
    cursor = {"since": SECONDS - 900, "read_at": SECONDS, "is_sorted": False, "counts": []}
    for id in (3, 4, 5):
        shop.listings[id]["updated_timestamp"] = SECONDS

    held, _, _ = cycle(shop, Resource.PRODUCTS, cursor)

    assert set(held) == {"3", "4", "5"}
    assert "/listings/4" in shop.paths


def test_a_listing_that_goes_meanwhile_is_left_out():
    shop = shop_of(20)
    cursor = {"since": SECONDS - 900, "read_at": SECONDS, "is_sorted": False, "counts": []}
    for id in (3, 4):
        shop.listings[id] |= {"updated_timestamp": SECONDS, "state": "active"}

    def vanish(shop, path):
        if path == "/listings/batch":
            shop.listings.pop(4, None)

    shop.before = vanish
    held, _, partials = cycle(shop, Resource.PRODUCTS, cursor)

    assert (set(held), partials) == ({"3"}, [])


def too_large() -> PlatformError:
    return PlatformError(Refusal.NOT_THE_PLATFORM, "api.etsy.com answered with more than 8 MiB.")


def test_pages_that_are_too_large_are_read_without_images_and_variants():
    shop = shop_of(60)
    heavy = {"13"}

    def before(shop, path):
        query = shop.asked[-1][2]
        wanted = query.get("listing_ids", path.rpartition("/")[2]).split(",")
        if "Inventory" in query.get("includes", "") and (path.endswith("/listings") or heavy & set(wanted)):
            raise too_large()

    shop.before = before
    held, _, partials = cycle(shop, Resource.PRODUCTS)

    assert set(held) == {str(id) for id in shop.listings} - heavy
    assert partials == ["Not understood: products 13."]


def test_a_listing_that_cannot_be_read_does_not_stop_the_others():
    shop = shop_of(20)
    del shop.listings[7]["title"], shop.listings[7]["updated_timestamp"], shop.listings[7]["state_timestamp"]
    for name in ("original_creation_timestamp", "created_timestamp"):
        shop.listings[7][name] = 946684800

    held, _, partials = cycle(shop, Resource.PRODUCTS)

    assert set(held) == {str(id) for id in shop.listings} - {"7"}
    assert partials == ["Not understood: products 7."]


def test_where_paging_ends_the_run_says_what_is_missing():
    shop = Shop(listings={id: listing(id) for id in range(1, 31)} | {99: listing(99, state="expired")})

    def before(shop, path):
        return error(400, "offset must be less than 12") if int(shop.asked[-1][2]["offset"]) >= 12 else None

    shop.before = before
    with small_pages(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(etsy, "_DEEP", 12)
        held, cursor, partials = cycle(shop, Resource.PRODUCTS)

    assert "99" in held
    assert partials == ["Etsy lists no more than 12 listings that are active."]
    assert "since" in cursor


def test_the_same_page_again_and_again_is_no_list():
    shop = Shop(before=lambda shop, path: reply({"count": 10**6, "results": [listing(id) for id in range(1, 26)]}))

    for call in (
        lambda: cycle(shop, Resource.PRODUCTS),
        lambda: all_ids(shop, Resource.PRODUCTS),
    ):
        assert refusal(call).refusal is Refusal.NOT_THE_PLATFORM


@pytest.mark.parametrize("rows", [[], [receipt(1, SECONDS - 50)], [receipt(1, 946684800)]])
def test_receipts_without_an_end_are_no_list(rows):
    shop = Shop(before=lambda shop, path: reply({"count": 10**6, "results": rows}))

    assert refusal(lambda: cycle(shop, Resource.ORDERS)).refusal is Refusal.NOT_THE_PLATFORM


@given(count=st.integers(0, 30), seed=st.integers(0, 10**6), is_sorted=st.booleans())
@settings(deadline=None, max_examples=60)
def test_no_listing_is_skipped_however_they_move(count, seed, is_sorted):
    """Listings are made, edited, moved and deleted while they are walked through; a quiet cycle later all are right."""
    dice = random.Random(seed)
    shop = shop_of(count, sorts_listings=is_sorted)
    clock = [SECONDS]

    def change(shop, path):
        clock[0] += dice.randrange(3)
        if dice.random() >= 0.5:
            return
        id = dice.choice([*shop.listings, 1000 + len(shop.asked)])
        row = shop.listings.get(id)
        if row is None:
            shop.listings[id] = listing(id, clock[0], created=clock[0])
        elif dice.random() < 0.3:
            del shop.listings[id]
        else:
            row |= {"updated_timestamp": clock[0], "title": f"at {clock[0]}", "state": dice.choice(etsy.STATES)}

    shop.before = change
    with small_pages():
        held, cursor, partials = cycle(shop, Resource.PRODUCTS)
        for movement in (change, lambda shop, path: None):
            shop.before = movement
            clock[0] += 60
            later, cursor, more = cycle(shop, Resource.PRODUCTS, cursor, datetime.fromtimestamp(clock[0], UTC))
            held, partials = {**held, **later}, partials + more

    ours = {id: (each.body["title"], each.body["platformStatus"]) for id, each in held.items()}
    theirs = {str(id): (row["title"], row["state"]) for id, row in shop.listings.items()}
    assert partials or theirs.items() <= ours.items()


# Answers from outside


def mutated(value: Any, dice: random.Random) -> Any:
    """The value with one thing in it replaced by something that does not belong there."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        name = dice.choice(list(value))
        return {**value, name: mutated(value[name], dice)}
    if isinstance(value, list) and value and dice.random() < 0.9:
        place = dice.randrange(len(value))
        return [*value[:place], mutated(value[place], dice), *value[place + 1 :]]
    return dice.choice(
        [None, True, -1, 0, 10**9, 10**400, 1.5, float("nan"), float("inf"), "", "x", "\ud800", "é", "1e999999999",
         [], {}, [[]], [None], {"amount": 1}, "9" * 5_000, -(10**25), 253_402_300_800, 10**11 - 1]
    )  # fmt: skip


def stored(found: object) -> None:
    """What comes out can be stored: JSON of UTF-8, without floats."""
    rows = found if isinstance(found, list) else [found]
    records = getattr(found, "records", [each for each in rows if isinstance(each, Record)])
    for record in records:
        text = json.dumps(record.body, ensure_ascii=False, allow_nan=False)
        text.encode()
        json.loads(text, parse_float=lambda number: pytest.fail(f"{number} is a float"))
        assert record.updated_at.tzinfo is UTC


@given(seed=st.integers(0, 10**9))
@settings(deadline=None, max_examples=300)
def test_a_broken_answer_gives_a_record_or_a_platform_error(seed):
    dice = random.Random(seed)
    whole = shop_of(6)
    whole.receipts = {
        id: receipt(
            id,
            SECONDS - id,
            refunds=[{"amount": money(5), "created_timestamp": SECONDS}],
            transactions=[transaction(id, variations=[{"formatted_name": "a", "formatted_value": "b"}])],
        )
        for id in range(1, 7)
    }

    def before(shop, path):
        answer = Shop(whole.receipts, whole.listings)._answer(path.split("/")[1:], shop.asked[-1][2])
        return answer._replace(body=json.dumps(mutated(json.loads(answer.body), dice)).encode())

    for call in every_call(Shop(before=before)):
        stored(outcome(call))


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "results",
                    "count",
                    "receipt_id",
                    "listing_id",
                    "error",
                    "shop_id",
                    "scopes",
                    "status",
                    "updated_timestamp",
                ]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@given(
    content=st.one_of(anything.map(lambda value: json.dumps(value).encode()), st.binary(max_size=40)),
    status=st.sampled_from([200, 204, 400, 401, 403, 404, 429, 500, 503]),
    wait=st.text(max_size=12),
)
@settings(deadline=None)
def test_any_answer_gives_a_result_or_a_platform_error(content, status, wait):
    shop = Shop(before=lambda shop, path: Answer(status, {"retry-after": wait, "x-remaining-today": wait}, content))
    endpoint = TokenEndpoint(Answer(status, {"retry-after": wait}, content))

    for call in (*every_call(shop), lambda: exchange(endpoint), lambda: refresh(endpoint)):
        stored(outcome(call))


# Webhooks


def signed(body: bytes, *, id: str = "msg_1", stamp: int = SECONDS, key: bytes = b"one") -> Delivery:
    message = f"{id}.{stamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, message, "sha256")).decode()
    return Delivery({"webhook-id": id, "webhook-timestamp": str(stamp), "webhook-signature": f"v1,{signature}"}, body)


def event(topic: str = "order.paid", path: str = "/v3/application/shops/4242/receipts/54", **more: Any) -> bytes:
    return json.dumps(
        {"event_type": topic, "resource_url": f"https://openapi.etsy.com{path}", "shop_id": 4242, **more}
    ).encode()


every_delivery = pytest.mark.parametrize(
    "vector", [each for each in VECTORS if each.kind == "webhook"], ids=lambda each: each.name
)


@every_delivery
def test_the_verdict_on_a_delivery_is_as_others_computed_it(vector: Vector):
    verdict = ADAPTER.verify(vector.delivery, vector.secrets, vector.now)

    assert (verdict is Verdict.GENUINE) is vector.is_genuine


@every_delivery
def test_a_delivery_is_read_as_others_read_it(vector: Vector):
    assert ADAPTER.topic(vector.delivery) == vector.other.get("topic", "order.paid")
    assert ADAPTER.event_id(vector.delivery) == vector.other.get("event_id", "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W")
    assert ADAPTER.store_of(vector.delivery) == "12345"


def test_an_address_at_a_foreign_host_gives_an_id_and_is_never_called():
    vector = next(each for each in VECTORS if each.name == "foreign-resource-host")
    shop = Shop(receipts={54321: receipt(54321)})

    (found,) = ADAPTER.parse(vector.delivery)
    ADAPTER.fetch_one(STORE, Resource.ORDERS, found.id, shop)

    assert found == Event(Resource.ORDERS, "54321")
    assert shop.paths == ["/shops/4242/receipts/54321"]  # at api.etsy.com: the model takes no other host


@pytest.mark.parametrize(
    ("age", "is_genuine"), [(300, True), (-300, True), (301, False), (-301, False), (10**9, False)]
)
def test_a_delivery_is_good_for_five_minutes_either_way(age, is_genuine):
    delivery = signed(event(), stamp=SECONDS - age)

    assert (ADAPTER.verify(delivery, ADAPTER.app_secrets(APP), NOW) is Verdict.GENUINE) is is_genuine


@pytest.mark.parametrize(
    "stamp", ["", "soon", "1e9", "-1", "\u0661\u0662", "9" * 400, f" {SECONDS}", f"{SECONDS}.0", "NaN"]
)
def test_a_time_that_is_none_is_refused(stamp):
    delivery = signed(event())
    headers = {**delivery.headers, "webhook-timestamp": stamp}

    assert ADAPTER.verify(delivery._replace(headers=headers), ["whsec_b25l"], NOW) is Verdict.FORGED


@pytest.mark.parametrize(
    "stamp",
    ["", "1e9", f"+{SECONDS}", f"{SECONDS}.0", f"1.{SECONDS}", f"{SECONDS:,}".replace(",", "_"), f"{SECONDS}\n"],
)
def test_a_time_that_is_no_number_is_refused_even_if_it_is_signed(stamp):
    signature = base64.b64encode(hmac.digest(b"one", f"msg_1.{stamp}.".encode() + event(), "sha256")).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": f"v1,{signature}"}

    assert ADAPTER.verify(Delivery(headers, event()), ["whsec_b25l"], NOW) is Verdict.FORGED


@pytest.mark.parametrize(
    ("id", "is_genuine"),
    [("msg_1", True), ("msg.1.2", True), ("m" * 256, True), ("", False), ("m" * 257, False), ("a b", False)],
)
def test_an_id_is_one_word_which_may_have_full_stops(id, is_genuine):
    verdict = ADAPTER.verify(signed(event(), id=id), ["whsec_b25l"], NOW)

    assert (verdict is Verdict.GENUINE) is is_genuine


def test_a_signature_that_is_no_text_is_refused():
    delivery = signed(event())
    headers = {**delivery.headers, "webhook-signature": delivery.headers["webhook-signature"] + " \ud800"}

    assert ADAPTER.verify(delivery._replace(headers=headers), ["whsec_b25l"], NOW) is Verdict.FORGED


@pytest.mark.parametrize("secret", ["whsec_b24=", "whsec_b24", "whsec_b24====", "b24=", "b24"])
def test_a_secret_may_come_with_or_without_prefix_and_padding(secret):
    assert ADAPTER.verify(signed(event(), key=b"on"), [secret], NOW) is Verdict.GENUINE


def test_any_signature_of_a_list_is_enough():
    delivery = signed(event())
    ours = delivery.headers["webhook-signature"]

    for presented, is_genuine in [
        (f"v1,AAAA {ours}", True),
        (f"v1a,AAAA v2 {ours}", True),
        (f"{ours} v1,AAAA", True),
        (ours.removeprefix("v1,"), True),
        (ours.replace("v1,", "v2,"), False),
        (ours.replace("v1,", "v1a,"), False),
        (f"v1,{ours}", False),
        (f"{ours}, {ours}", False),
        (f"{ours}  v1,AAAA", False),
        (ours.rstrip("="), False),
        (f"{ours}\n", False),
        (" ".join(["v1,AAAA"] * 50 + [ours]), False),
    ]:
        headers = {**delivery.headers, "webhook-signature": presented}
        verdict = ADAPTER.verify(delivery._replace(headers=headers), ["whsec_b25l"], NOW)
        assert (verdict is Verdict.GENUINE) is is_genuine, presented


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_====", "whsec_!!!!", "one", "whsec_b25", "whsec_\ud800", "b25l\n"]
)
def test_a_secret_that_stands_for_no_key_or_another_opens_nothing(secret):
    assert ADAPTER.verify(signed(event()), [secret], NOW) is Verdict.FORGED
    assert ADAPTER.verify(signed(event(), key=b""), [secret], NOW) is Verdict.FORGED


def test_each_endpoint_in_the_portal_has_a_secret_of_its_own():
    assert ADAPTER.app_secrets(APP) == ["whsec_b25l", "whsec_dHdv"]
    for key in (b"one", b"two"):
        assert ADAPTER.verify(signed(event(), key=key), ADAPTER.app_secrets(APP), NOW) is Verdict.GENUINE


def test_neither_key_nor_shared_secret_signs_deliveries():
    assert ADAPTER.app_secrets(App("keystring0", "shared0secret")) == []
    assert ADAPTER.verify(signed(event(), key=b"shared0secret"), [], NOW) is Verdict.FORGED


@pytest.mark.parametrize(
    ("topic", "path", "events"),
    [
        ("order.paid", "/v3/application/shops/4242/receipts/54", [Event(Resource.ORDERS, "54")]),
        ("order.canceled", "/v3/application/shops/4242/receipts/54/", [Event(Resource.ORDERS, "54")]),
        ("order.returned", "/v3/application/shops/4242/receipts/54", [Event(Resource.ORDERS, "54")]),
        ("listing.updated", "/v3/application/listings/5", [Event(Resource.PRODUCTS, "5")]),
        ("listing.deleted", "/v3/application/shops/4242/listings/5", [Event(Resource.PRODUCTS, "5")]),
        ("inventory.updated", "/v3/application/listings/5/inventory/products/51", [Event(Resource.PRODUCTS, "5")]),
        ("shop.renamed", "/v3/application/shops/4242", []),
    ],
)
def test_an_event_says_what_to_look_up(topic, path, events):
    assert ADAPTER.parse(Delivery({}, event(topic, path))) == events


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "/v3/application/shops/4242", "/v3/application/shops/4242/receipts/",
        "/v3/application/shops/4242/receipts/0",
        "/v3/application/shops/4242/receipts/5/../6", "/v3/application/shops/4242/receipts/5?x=6",
        "/v3/application/shops/4242/receipts/5#6", "/v3/application/shops/4242/receipts/5%2F6",
        "/v3/application/listings/5", "@evil.example/receipts/5",
    ],
)  # fmt: skip
def test_an_address_of_another_shape_gives_no_id(path):
    with pytest.raises(ValueError, match="no id"):
        ADAPTER.parse(Delivery({}, event(path=path)))


@pytest.mark.parametrize(
    ("shop_id", "store"),
    [(4242, "4242"), ("4242", "4242"), (None, ""), (0, ""), ("4242/1", ""), (True, ""), (1.5, ""), ([], "")],
)
def test_a_delivery_names_its_shop_as_number_or_text(shop_id, store):
    assert ADAPTER.store_of(Delivery({}, event(shop_id=shop_id))) == store


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"event_type":5}', b'{"event_type":null}']
)
def test_a_body_that_is_no_event_is_told_from_one(body):
    delivery = Delivery({}, body)

    assert (ADAPTER.topic(delivery), ADAPTER.store_of(delivery)) in {("", ""), ("5", "")}
    with pytest.raises(ValueError):  # noqa: PT011 - json's own as well
        ADAPTER.parse(delivery)


def test_nothing_secret_is_shown():
    assert not any(secret in repr((APP, STORE)) for secret in SECRETS)
