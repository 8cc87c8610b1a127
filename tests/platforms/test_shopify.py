"""Shopify: what only it does, against the schema that Shopify publishes and a model of a store."""

import base64
import hmac
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.clock import short
from shared.platforms import capabilities, shopify
from shared.platforms.base import (
    Answer,
    App,
    Callback,
    Connection,
    Delivery,
    Event,
    Http,
    Identity,
    Json,
    Page,
    PlatformError,
    PlatformName,
    PrivacyKind,
    PrivacyRequest,
    Record,
    Refusal,
    Resource,
    SignsWithApp,
    Subscribed,
    Tokens,
    Verdict,
)
from shared.platforms.shopify import Shopify
from tests.platforms.conftest import Vector, vectors_of
from tests.platforms.shopify_schema import (
    Asked,
    Shop,
    answered,
    cost_of,
    deprecated_in,
    failed,
    gid,
    jsonl,
    line,
    money,
    needed_scopes,
    order,
    problems_of,
    product,
    schema,
    scopes_of,
    variant,
)

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
SHOPIFY = Shopify()
APP = App("client-17", "hush", "hush-before")
STORE = Connection(
    "https://demo.myshopify.com",
    {"access_token": "shpat_17", "refresh_token": "shprt_17"},
    "demo.myshopify.com",
    "EUR",
    "Europe/Berlin",
    APP,
)
ORDERS, PRODUCTS = Resource.ORDERS, Resource.PRODUCTS
VECTORS = vectors_of(PlatformName.SHOPIFY)
PAYLOADS = Path(__file__).parents[3] / "shared" / "contracts" / "shopify" / "webhooks"
DOCUMENTS = {
    name: value
    for name, value in vars(shopify).items()
    if isinstance(value, str) and re.match(r"\s*(query|mutation|\{)", value) and name.isupper() and name[0] != "_"
}
BULK = [shopify.BULK_ORDERS, shopify.BULK_PRODUCTS]
RESULT = "https://storage.googleapis.com/shopify-results/1?signature=x"


def refusal(call: Callable[[], object]) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        call()
    return caught.value


def reply(content: Any, status: int = 200, **headers: str) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def always(answer: Answer | PlatformError) -> Shop:
    return Shop(interfere=lambda _: answer)


def once(*answers: Answer | PlatformError | None) -> Callable[[Asked], Any]:
    """Gives these in turn, ``None`` for the model's own; then the model's own."""
    left = list(answers)
    return lambda _: left.pop(0) if left else None


def cycle(http: Http, resource: Resource, cursor: Json | None = None, now: datetime = NOW) -> list[Page]:
    """All pages of a cycle; every cursor survives its way through JSON, and none comes twice."""
    pages: list[Page] = []
    while not pages or not pages[-1].done:
        page = SHOPIFY.fetch(STORE, resource, cursor, http, now)
        assert page.done or page.cursor != cursor
        cursor = json.loads(json.dumps(page.cursor))
        pages.append(page)
        assert len(pages) < 1_000
    return pages


def records(pages: Sequence[Page]) -> list[Record]:
    return [record for page in pages for record in page.records]


def ids(pages: Sequence[Page]) -> list[str]:
    return [record.id for record in records(pages)]


def many(make: Callable[..., Json], count: int) -> list[Json]:
    start = datetime(2026, 11, 20, tzinfo=UTC)
    return [make(number, short(start + timedelta(seconds=number))) for number in range(1, count + 1)]


def test_it_can_all_that_a_platform_with_oauth_and_webhooks_can():
    assert capabilities(PlatformName.SHOPIFY).abilities == {
        "by key", "OAuth", "revocation", "webhooks", "webhooks of the app", "subscriptions", "newest orders first",
    }  # fmt: skip
    assert isinstance(SHOPIFY, SignsWithApp)


# The documents


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_document_is_valid_in_the_published_schema(name):
    assert problems_of(DOCUMENTS[name]) == []


def test_the_documents_are_all_there_to_be_tested():
    assert len(DOCUMENTS) == 22


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_document_uses_what_is_deprecated(name):
    assert deprecated_in(DOCUMENTS[name]) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_scopes_that_are_asked_for_open_every_document(name):
    needed = [scopes for scopes in scopes_of(DOCUMENTS[name]) if scopes]

    assert [scopes for scopes in needed if not set(scopes) & set(shopify.SCOPES)] == []


def test_the_scopes_test_knows_what_would_be_refused():
    assert needed_scopes()["Customer"] == ("read_customers",)
    assert ("read_customers",) in scopes_of("{ orders(first: 1) { nodes { customer { id } } } }")


@pytest.mark.parametrize("text", BULK)
def test_a_bulk_query_keeps_to_what_shopify_runs(text):
    assert text.count("edges") <= 5
    assert "$" not in text
    assert "nodes" not in text
    assert "..." not in text
    assert re.findall(r"node \{\s+id", text) == ["node {" + part for part in re.findall(r"node \{(\s+id)", text)]
    assert text.count("node {") == len(re.findall(r"node \{\s+id\b", text))


@pytest.mark.parametrize("resource", Resource)
def test_no_query_costs_more_than_a_query_may(resource):
    kind = shopify._KINDS[resource]
    page = {"first": kind.size, "inner": kind.inner}

    assert cost_of(kind.page, page) < 1_000
    for document in (kind.one, kind.rest):
        assert cost_of(document, {"inner": kind.inner_rest}) < 1_000
    assert cost_of(kind.ids, {"first": 250}) < 1_000
    assert cost_of(kind.page, page) > cost_of(kind.page, {"first": 1, "inner": 1})


def test_the_newest_orders_leave_nearly_all_of_the_smallest_budget_to_the_import():
    shop = Shop(orders=[order(1)])

    newest(shop)

    assert cost_of(shopify.NEWEST_ORDERS, shop.asked[0].variables) < 200


@pytest.mark.parametrize("topic", shopify.TOPICS)
def test_every_topic_is_one_of_shopifys(topic):
    assert topic in schema().type_map["WebhookSubscriptionTopic"].values


def test_the_statuses_that_are_mapped_are_shopifys():
    def named(type_name: str) -> set[str]:
        return set(schema().type_map[type_name].values)

    assert set(shopify._FINANCIAL) == named("OrderDisplayFinancialStatus")
    assert {*shopify._FULFILLMENT, *shopify._NOT_SHIPPED} == named("OrderDisplayFulfillmentStatus")
    assert set(shopify._PRODUCT_STATUS) == named("ProductStatus")
    assert named("BulkOperationStatus") > shopify._RUNNING


# The address


@pytest.mark.parametrize(
    "text",
    [
        "demo.myshopify.com",
        " Demo.MyShopify.com ",
        "https://demo.myshopify.com",
        "https://demo.myshopify.com/admin/products?x=1#y",
        "admin.shopify.com/store/demo",
        "https://admin.shopify.com/store/demo/orders?status=open",
    ],
)
def test_takes_the_address_that_sellers_paste(text):
    assert SHOPIFY.normal_domain(text) == "https://demo.myshopify.com"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "demo",
        "www.demo.example",
        "http://demo.myshopify.com",
        "demo.myshopify.com.evil.example",
        "https://demo.myshopify.com@evil.example/",
        "https://demo.myshopify.com:444",
        "a.demo.myshopify.com",
        "-demo.myshopify.com",
        "admin.shopify.com/store/",
        "admin.shopify.com/store/a.b",
        "demo.myshopify.\u212aom",
        "demo.myshopify.com\\@evil.example",
        "d" * 64 + ".myshopify.com",
        "demo.myshopify.com/" + "x" * 3_000,
    ],
)
def test_takes_no_address_that_is_no_stores_at_shopify(text):
    with pytest.raises(ValueError, match="store"):
        SHOPIFY.normal_domain(text)


def test_the_permanent_domain_is_the_stores_id():
    assert SHOPIFY.known_store_id("https://demo.myshopify.com") == "demo.myshopify.com"
    assert SHOPIFY.known_store_id("https://demo.example") is None


@pytest.mark.parametrize("domain", ["https://evil.example", "https://demo.myshopify.com.evil.example", "", "http://x"])
def test_no_secret_goes_to_another_host(domain):
    shop = Shop()
    elsewhere = STORE._replace(domain=domain)

    assert refusal(lambda: SHOPIFY.probe(elsewhere, shop)).refusal is Refusal.ADDRESS
    assert refusal(lambda: SHOPIFY.refresh(elsewhere, shop, NOW)).refusal is Refusal.ADDRESS
    assert refusal(lambda: exchanged(shop, domain)).refusal is Refusal.ADDRESS
    assert shop.asked == []


# Authorisation


def signed(params: Mapping[str, str], secret: str = "hush") -> list[tuple[str, str]]:
    message = "&".join(f"{name}={value}" for name, value in sorted(params.items()))
    return [*params.items(), ("hmac", hmac.new(secret.encode(), message.encode(), "sha256").hexdigest())]


def came_back(**changes: str) -> dict[str, str]:
    given = {
        "code": "c0de",
        "shop": "demo.myshopify.com",
        "state": "state-17",
        "timestamp": str(int(NOW.timestamp())),
        **changes,
    }
    return {name: value for name, value in given.items() if value}


def test_the_seller_is_sent_to_their_own_stores_consent_screen():
    url = SHOPIFY.authorization_url(APP, STORE.domain, state="s&1", return_url="https://us.example/cb", challenge="c")

    assert url.startswith("https://demo.myshopify.com/admin/oauth/authorize?")
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "client_id": "client-17",
        "scope": "read_products,read_orders",
        "redirect_uri": "https://us.example/cb",
        "state": "s&1",
    }
    assert "hush" not in url


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.kind == "oauth_callback"], ids=lambda v: v.name)
def test_a_callback_is_believed_as_shopifys_libraries_would(vector: Vector):
    app = App("any", vector.secrets[0])
    expected = vector.other.get("expected_state")
    query = list(vector.other["params"].items())
    try:
        found = SHOPIFY.read_callback(app, query, vector.now)
    except ValueError:
        assert not vector.is_genuine
        return
    # the state is compared by who gave it
    assert vector.is_genuine == (expected in (None, found.state))
    assert found.domain == f"https://{vector.other['params']['shop']}"
    assert found.code == vector.other["params"]["code"]


def test_a_callback_tells_state_code_and_store():
    assert SHOPIFY.read_callback(APP, signed(came_back()), NOW) == Callback("state-17", "c0de", STORE.domain)


def test_a_callback_may_be_signed_with_the_secret_before():
    assert SHOPIFY.read_callback(APP, signed(came_back(), "hush-before"), NOW).code == "c0de"
    with pytest.raises(ValueError, match="signature"):
        SHOPIFY.read_callback(APP, signed(came_back(), "another"), NOW)


def test_an_app_without_a_secret_believes_nothing():
    with pytest.raises(ValueError, match="signature"):
        SHOPIFY.read_callback(App("any", ""), signed(came_back(), ""), NOW)


@pytest.mark.parametrize("seconds", [-91, 91, 86_400])
def test_a_callback_is_fresh_or_refused(seconds):
    late = NOW + timedelta(seconds=seconds)
    with pytest.raises(ValueError, match="too old"):
        SHOPIFY.read_callback(APP, signed(came_back()), late)


@pytest.mark.parametrize("timestamp", ["", "1.5", "\u0664\u0662", "1e9", "-1", "9" * 40, "x"])
def test_a_callbacks_time_is_a_whole_number(timestamp):
    with pytest.raises(ValueError, match="too old"):
        SHOPIFY.read_callback(APP, signed(came_back(timestamp=timestamp)), NOW)


@pytest.mark.parametrize("shop", ["evil.example", "demo.myshopify.com.evil.example", "a/b.myshopify.com", ""])
def test_a_callback_names_a_store_of_shopify(shop):
    message = came_back(shop=shop)
    encoded = {name: value.replace("/", "%2F") for name, value in message.items()}
    mac = dict(signed(encoded))["hmac"]
    with pytest.raises(ValueError, match="names no store"):
        SHOPIFY.read_callback(APP, [*message.items(), ("hmac", mac)], NOW)


@pytest.mark.parametrize("name", ["code", "shop", "state", "timestamp", "hmac"])
def test_a_callback_says_each_thing_once(name):
    query = signed(came_back())
    with pytest.raises(ValueError, match="twice"):
        SHOPIFY.read_callback(APP, [*query, (name, dict(query)[name])], NOW)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([("host", "YQ==")], "host=YQ%3D%3D"),
        ([("host", "YQ==")], "host=YQ=="),
        ([("locale", "a b")], "locale=a%20b"),
        ([("locale", "a&b%")], "locale=a%26b%25"),
        ([("ids[]", "1"), ("ids[]", "2")], 'ids=["1", "2"]'),
        ([("ids[]", "1"), ("ids[]", "2")], "ids=%5B%221%22%2C%20%222%22%5D"),
        ([("signature", "old")], ""),
    ],
)
def test_what_is_signed_is_spelled_as_either_of_shopifys_libraries_does(given, message):
    params = came_back()
    parts = sorted([*(f"{name}={value}" for name, value in params.items()), *([message] if message else [])])
    mac = hmac.new(b"hush", "&".join(parts).encode(), "sha256").hexdigest()

    assert SHOPIFY.read_callback(APP, [*params.items(), *given, ("hmac", mac)], NOW).code == "c0de"


def test_a_signed_callback_without_a_code_is_refused():
    with pytest.raises(ValueError, match="code"):
        SHOPIFY.read_callback(APP, signed(came_back(code="")), NOW)


def test_a_seller_who_declined_has_no_code():
    denied = came_back(code="", error="access_denied")

    assert SHOPIFY.read_callback(APP, signed(denied), NOW) == Callback("state-17", domain=STORE.domain)


@pytest.mark.parametrize("query", [list(came_back(error="access_denied").items()), [("error", "access_denied")]])
def test_an_unsigned_refusal_names_no_store_and_brings_no_code(query):
    found = SHOPIFY.read_callback(APP, query, NOW)

    assert (found.code, found.domain) == ("", "")


@pytest.mark.parametrize("error", ["invalid_scope", "<script>", ""])
def test_another_error_is_told_without_repeating_what_it_says(error):
    with pytest.raises(ValueError, match=r"did not grant access: (invalid_scope|an error)\."):
        SHOPIFY.read_callback(APP, [("error", error), ("state", "s")], NOW)


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=6))
def test_a_hostile_callback_gives_nothing_but_a_value_error(query):
    try:
        found = SHOPIFY.read_callback(APP, query, NOW)
    except ValueError:
        return
    assert (found.code, found.domain) == ("", "")


# Tokens

PAIR = {
    "access_token": "shpat_new",
    "scope": "read_products,read_orders",
    "expires_in": 3600,
    "refresh_token": "shprt_new",
    "refresh_token_expires_in": 7_776_000,
}


def exchanged(http: Http, domain: str = STORE.domain) -> Tokens:
    return SHOPIFY.exchange(APP, domain, "c0de", return_url="https://us.example/cb", verifier="", http=http, now=NOW)


def refreshed(http: Http, **credentials: str) -> Tokens:
    return SHOPIFY.refresh(STORE._replace(credentials=credentials or STORE.credentials), http, NOW)


def both(http: Callable[[], Http]) -> list[Callable[[], Tokens]]:
    return [lambda: exchanged(http()), lambda: refreshed(http()), lambda: refreshed(http(), access_token="shpat_old")]


def test_a_code_is_exchanged_for_an_expiring_pair():
    shop = always(reply(PAIR))

    found = exchanged(shop)

    assert found == Tokens("shpat_new", "shprt_new", NOW + timedelta(hours=1), NOW + timedelta(days=90))
    assert [(each.method, each.url, each.json) for each in shop.asked] == [
        (
            "POST",
            "https://demo.myshopify.com/admin/oauth/access_token",
            {"client_id": "client-17", "client_secret": "hush", "code": "c0de", "expiring": "1"},
        )
    ]


def test_a_refresh_spends_the_refresh_token_in_one_call():
    shop = always(reply(PAIR))

    assert refreshed(shop).refresh_token == "shprt_new"
    assert [each.json for each in shop.asked] == [
        {
            "client_id": "client-17",
            "client_secret": "hush",
            "grant_type": "refresh_token",
            "refresh_token": "shprt_17",
        }
    ]


def test_a_permanent_token_is_exchanged_for_a_pair():
    shop = always(reply(PAIR))

    assert refreshed(shop, access_token="shpat_old").refresh_token == "shprt_new"
    offline = "urn:shopify:params:oauth:token-type:offline-access-token"
    assert shop.asked[0].json == {
        "client_id": "client-17",
        "client_secret": "hush",
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": "shpat_old",
        "subject_token_type": offline,
        "requested_token_type": offline,
        "expiring": "1",
    }


def test_a_token_of_an_app_that_is_not_ours_never_expires():
    shop = always(reply({"error": "invalid_subject_token", "error_description": "x"}, 400))

    assert refreshed(shop, access_token="shpat_old") == Tokens("shpat_old", never_expires=True)


def test_a_permanent_token_for_a_code_does_not_pass_for_one_without_end():
    found = exchanged(always(reply({"access_token": "shpat_new", "scope": "read_products,read_orders"})))

    assert found == Tokens("shpat_new")
    assert not found.never_expires


def test_an_answer_without_times_changes_no_plan():
    content = {"access_token": "a", "refresh_token": "b", "expires_in": None}

    assert refreshed(always(reply(content))) == Tokens("a", "b")


@pytest.mark.parametrize(
    ("scope", "missing"),
    [
        ("read_products", "read_orders"),
        ("", "read_products, read_orders"),
        ("write_orders", "read_products"),
        ("read_orders,write_product", "read_products"),
    ],
)
def test_scopes_that_were_not_granted_are_named(scope, missing):
    error = refusal(lambda: exchanged(always(reply({**PAIR, "scope": scope}))))

    assert error.refusal is Refusal.PERMISSION
    assert error.detail == f"The app was not granted {missing}."


@pytest.mark.parametrize("scope", ["write_products,write_orders", "read_orders, read_products,read_customers"])
def test_to_write_implies_to_read(scope):
    assert exchanged(always(reply({**PAIR, "scope": scope}))).access_token == "shpat_new"


def test_a_refresh_keeps_its_pair_whatever_the_scopes():
    assert refreshed(always(reply({**PAIR, "scope": "read_products"}))).access_token == "shpat_new"


STRANGE = [
    b"", b"<html>", b"null", b"[]", b"{}", b'"a"', b"{", b'{"access_token":NaN}', b"\xff", b"[" * 100_000,
    b'{"access_token":""}', b'{"access_token":7}', b'{"access_token":"a\\nb"}', b'{"access_token":"\\ud800"}',
    b'{"access_token":"a","refresh_token":[]}', b'{"access_token":"a","refresh_token":""}',
    *(
        b'{"access_token":"a","refresh_token":"b","expires_in":%b}' % each
        for each in (b"0", b"-1", b"true", b"NaN", b"1e3", b"3.5", b'"3600"', b"[]", b"9" * 30, b"99999999999")
    ),
    b'{"access_token":"a","refresh_token":"b","refresh_token_expires_in":-5}',
]  # fmt: skip


@pytest.mark.parametrize("body", STRANGE, ids=range(len(STRANGE)))
def test_a_token_answer_that_is_none_is_not_shopifys(body):
    for call in both(lambda: always(reply(body))):
        error = refusal(call)
        assert error.refusal is Refusal.NOT_THE_PLATFORM
        assert "hush" not in error.detail


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply({"error": "invalid_grant"}, 400), Refusal.CREDENTIALS),
        (
            reply(
                {"error": "invalid_request", "error_description": "This request requires an active refresh_token"}, 401
            ),
            Refusal.CREDENTIALS,
        ),
        (
            reply(
                {
                    "error": "invalid_request",
                    "error_description": "The authorization code was not found or was already used",
                },
                400,
            ),
            Refusal.CREDENTIALS,
        ),
        (reply({"error": "invalid_request"}, 400), Refusal.REQUEST),
        (reply({"error": "invalid_client"}, 401), Refusal.REQUEST),
        (reply({"error": "application_cannot_be_found"}, 400), Refusal.REQUEST),
        (reply(b"<html>", 401), Refusal.NOT_THE_PLATFORM),
        (reply(b"", 404), Refusal.NOT_THE_PLATFORM),
        (reply({"error": {"x": 1}}, 400), Refusal.NOT_THE_PLATFORM),
        (reply(b"", 500), Refusal.TRANSIENT),
        (reply({"error": "invalid_grant"}, 503), Refusal.TRANSIENT),
        (reply(b"", 402), Refusal.TRANSIENT),
        (reply(b"", 429), Refusal.RATE_LIMITED),
    ],
)
def test_a_dead_grant_is_told_from_our_fault_and_from_an_outage(answer, expected):
    assert refusal(lambda: exchanged(always(answer))).refusal is expected
    assert refusal(lambda: refreshed(always(answer))).refusal is expected


def test_the_token_endpoint_may_ask_to_wait():
    error = refusal(lambda: refreshed(always(reply(b"", 429, retry_after="2.5"))))

    assert error.retry_at == NOW + timedelta(seconds=2.5)


def test_an_outage_does_not_make_a_permanent_token_last():
    answer = reply({"error": "invalid_subject_token"}, 503)

    assert refusal(lambda: refreshed(always(answer), access_token="shpat_old")).refusal is Refusal.TRANSIENT


def test_without_a_registration_nothing_is_refreshed():
    shop = Shop()

    assert refusal(lambda: SHOPIFY.refresh(STORE._replace(app=None), shop, NOW)).refusal is Refusal.REQUEST
    assert shop.asked == []


def test_a_lost_answer_is_not_asked_for_again():
    shop = always(PlatformError(Refusal.UNREACHABLE, "no answer"))

    assert refusal(lambda: refreshed(shop)).refusal is Refusal.UNREACHABLE
    assert len(shop.asked) == 1


# Probing


def test_a_probe_names_the_store_and_its_scopes():
    shop = Shop()

    assert SHOPIFY.probe(STORE, shop) == Identity(
        "demo.myshopify.com",
        "https://demo.myshopify.com",
        "Demo",
        "EUR",
        "Europe/Berlin",
        frozenset({"read_products", "read_orders"}),
    )
    assert [each.url for each in shop.asked] == ["https://demo.myshopify.com/admin/api/2026-10/graphql.json"]
    assert shop.asked[0].headers == {"X-Shopify-Access-Token": "shpat_17"}


def test_a_grant_covers_the_one_store():
    assert [each.store_id for each in SHOPIFY.stores_of(STORE, Shop())] == ["demo.myshopify.com"]


def test_a_probe_names_the_missing_scopes():
    error = refusal(lambda: SHOPIFY.probe(STORE, Shop(scopes=["write_products"])))

    assert (error.refusal, error.detail) == (Refusal.PERMISSION, "The app was not granted read_orders.")


def test_another_stores_answer_is_not_this_store():
    assert refusal(lambda: SHOPIFY.probe(STORE, Shop(domain="other.myshopify.com"))).refusal is Refusal.ADDRESS


@pytest.mark.parametrize("token", ["", "a\nb", "é", "a b"])
def test_what_is_no_token_is_not_sent(token):
    shop = Shop()

    error = refusal(lambda: SHOPIFY.probe(STORE._replace(credentials={"access_token": token}), shop))

    assert error.refusal is Refusal.CREDENTIALS
    assert shop.asked == []


REFUSALS = [
    (reply({"errors": "[API] Invalid API key or access token"}, 401), Refusal.CREDENTIALS),
    (reply({"errors": "Unavailable Shop"}, 402), Refusal.TRANSIENT),
    (reply({"errors": "Locked"}, 423), Refusal.TRANSIENT),
    (reply({"errors": "Non-expiring access tokens are no longer accepted"}, 403), Refusal.PERMISSION),
    (reply(b"<html>blocked", 403), Refusal.NOT_THE_PLATFORM),
    (reply({"errors": "Not Found"}, 404), Refusal.NOT_THE_PLATFORM),
    (reply({"errors": "bad"}, 400), Refusal.REQUEST),
    (reply(b"", 429), Refusal.RATE_LIMITED),
    (reply(b"<html>", 430), Refusal.RATE_LIMITED),
    (reply(b"", 503, retry_after="1"), Refusal.RATE_LIMITED),
    (reply(b"", 503), Refusal.TRANSIENT),
    (reply(b"<html>", 502), Refusal.TRANSIENT),
    (reply(b"<html>"), Refusal.NOT_THE_PLATFORM),
    (reply(b""), Refusal.NOT_THE_PLATFORM),
    (reply([]), Refusal.NOT_THE_PLATFORM),
    (reply({}), Refusal.NOT_THE_PLATFORM),
    (reply({"data": []}), Refusal.NOT_THE_PLATFORM),
    (reply({"data": {}}), Refusal.NOT_THE_PLATFORM),
    (reply({"data": {"shop": None}}), Refusal.NOT_THE_PLATFORM),
    (failed("THROTTLED"), Refusal.RATE_LIMITED),
    (failed("ACCESS_DENIED", ["orders"]), Refusal.PERMISSION),
    (failed("SHOP_INACTIVE"), Refusal.TRANSIENT),
    (failed("INTERNAL_SERVER_ERROR"), Refusal.TRANSIENT),
    (failed("MAX_COST_EXCEEDED"), Refusal.REQUEST),
    (failed("undefinedField"), Refusal.REQUEST),
    (reply({"errors": "odd"}), Refusal.REQUEST),
    (reply({"errors": [{"message": "x"}]}), Refusal.REQUEST),
    (reply({"errors": [None, 7]}), Refusal.REQUEST),
]


@pytest.mark.parametrize(("answer", "expected"), REFUSALS, ids=range(len(REFUSALS)))
def test_every_refusal_is_told_for_what_it_is(answer, expected):
    error = refusal(lambda: SHOPIFY.probe(STORE, always(answer)))

    assert error.refusal is expected
    assert error.status == answer.status
    assert "shpat" not in str(error)


def test_a_frozen_store_is_told_in_words_for_its_owner():
    assert "frozen" in refusal(lambda: SHOPIFY.probe(STORE, always(reply(b"", 402)))).detail


@pytest.mark.parametrize(
    ("cost", "available", "seconds"),
    [(100, 50, 0.5), (100, 0, 1), (33, 0, 0.33), (100.05, 0, 1.001), (100, 400, None), (1e9, 0, 3_600)],
)
def test_throttled_says_when_the_budget_is_back(cost, available, seconds):
    answer = failed("THROTTLED", cost=cost, available=available)

    error = refusal(lambda: SHOPIFY.fetch(STORE, ORDERS, {"size": 1}, always(answer), NOW))

    assert error.refusal is Refusal.RATE_LIMITED
    assert error.retry_at == NOW + timedelta(seconds=1 if seconds is None else seconds)


@pytest.mark.parametrize("throttle", [None, {}, [], {"requestedQueryCost": True}, {"requestedQueryCost": "1e999"}])
def test_throttled_without_numbers_names_no_time(throttle):
    body = {"errors": [{"extensions": {"code": "THROTTLED"}}], "extensions": {"cost": throttle}}

    assert refusal(lambda: SHOPIFY.fetch(STORE, ORDERS, {"size": 1}, always(reply(body)), NOW)).retry_at is None


# The newest orders


def newest(shop: Http) -> Sequence[Record]:
    return SHOPIFY.newest_orders(STORE, shop, NOW)


def test_the_newest_orders_come_by_one_query_the_last_created_first():
    created = [short(NOW - timedelta(hours=number)) for number in range(40)]
    rows = [order(number, createdAt=time, updatedAt=short(NOW)) for number, time in enumerate(created, start=1)]
    shop = Shop(orders=rows[::-1])

    found = newest(shop)

    assert [record.id for record in found] == [row["id"] for row in rows[:25]]
    assert shop.operations == ["NewestOrders"]


def test_a_store_without_orders_has_no_newest():
    assert newest(Shop()) == []


def test_one_of_the_newest_is_the_same_as_by_page_and_has_all_its_lines():
    shop = Shop(orders=[order(7, lines=[line(number) for number in range(1, 301)])])

    (found,) = newest(shop)

    assert found == SHOPIFY.fetch_one(STORE, ORDERS, "7", shop)
    assert shop.operations[:3] == ["NewestOrders", "OrderLines", "OrderLines"]


def test_the_newest_orders_are_asked_for_once_however_dear():
    assert refusal(lambda: newest(always(failed("MAX_COST_EXCEEDED")))).refusal is Refusal.REQUEST


@pytest.mark.parametrize("calls_before", [0, 1])
def test_the_newest_orders_wait_for_the_budget_as_pages_do(calls_before):
    throttled = failed("THROTTLED", cost=200, available=100)
    shop = Shop(orders=[order(1, lines=[line(number) for number in range(1, 60)])])
    shop.interfere = once(*[None] * calls_before, throttled)

    error = refusal(lambda: newest(shop))

    assert (error.refusal, error.retry_at) == (Refusal.RATE_LIMITED, NOW + timedelta(seconds=1))


# Paging


@pytest.mark.parametrize(("resource", "make"), [(ORDERS, order), (PRODUCTS, product)])
@pytest.mark.parametrize("count", [0, 1, 50, 51, 120])
def test_a_cycle_brings_every_record_once_in_the_order_of_change(resource, make, count):
    rows = many(make, count)
    shop = Shop(**{resource.value: rows[::-1]})

    pages = cycle(shop, resource)

    assert ids(pages) == [row["id"] for row in rows]
    assert pages[-1].cursor == {"since": "2026-11-22T12:25:00Z"}
    assert all(page.partial is None for page in pages)


def test_the_next_cycle_reads_what_changed_since_with_an_overlap():
    shop = Shop(orders=[order(1, "2026-11-22T12:24:59Z"), order(2, "2026-11-22T12:25:00Z"), order(3, short(NOW))])
    cursor = {"since": "2026-11-22T12:25:00Z"}

    pages = cycle(shop, ORDERS, cursor, NOW + timedelta(minutes=10))

    assert ids(pages) == [gid("Order", 2), gid("Order", 3)]
    assert shop.asked[0].variables["query"] == "status:any updated_at:>='2026-11-22T12:25:00Z'"
    assert pages[-1].cursor == {"since": "2026-11-22T12:35:00Z"}


def test_a_cursor_holds_whole_seconds_only():
    pages = cycle(Shop(), ORDERS, {"since": "2026-11-22T12:25:00Z"}, NOW + timedelta(microseconds=123_456))

    assert pages[-1].cursor == {"since": "2026-11-22T12:25:00Z"}


def test_a_store_that_never_rests_is_done_when_the_page_is_newer_than_the_cycle():
    number = 0

    def changing(asked: Asked) -> Answer:
        nonlocal number
        number += 1
        row = order(number, short(NOW + timedelta(seconds=number)))
        node = {**row, "children": {"nodes": row["lineItems"], "pageInfo": {"hasNextPage": False}}}
        return answered({"page": {"nodes": [node], "pageInfo": {"hasNextPage": True, "endCursor": str(number)}}})

    pages = cycle(Shop(interfere=changing), ORDERS, {"since": "2026-11-22T12:25:00Z"})

    assert len(pages) == 1
    assert pages[0].done


@pytest.mark.parametrize("count", [49, 50, 51, 300, 700])
def test_an_order_with_many_lines_is_never_cut_short(count):
    lines = [line(number) for number in range(1, count + 1)]
    shop = Shop(orders=[order(1), order(2, lines=lines), order(3)])

    found = records(cycle(shop, ORDERS))

    assert [len(record.body["lines"]) for record in found] == [1, count, 1]
    assert [each["id"] for each in found[1].body["lines"]] == [each["id"] for each in lines]


def test_a_product_with_many_variants_is_never_cut_short():
    variants = [variant(number) for number in range(1, 2049)]

    (found,) = records(cycle(Shop(products=[product(1, variants=variants)]), PRODUCTS))

    assert [each["id"] for each in found.body["variants"]] == [each["id"] for each in variants]


def test_an_order_whose_lines_never_end_is_told_as_missing():
    endless = {"nodes": [line(1)], "pageInfo": {"hasNextPage": True, "endCursor": "x"}}
    node = {**order(1), "children": endless}
    shop = Shop(
        interfere=lambda asked: (
            answered({"one": {"children": endless}})
            if asked.operation == "OrderLines"
            else answered({"page": {"nodes": [node], "pageInfo": {"hasNextPage": False}}})
        )
    )

    (page,) = cycle(shop, ORDERS, {"since": "2026-11-22T12:25:00Z"})

    assert page.records == []
    assert page.partial == "Not understood: Order 1."


TOO_MUCH = [
    failed("MAX_COST_EXCEEDED"),
    failed("INTERNAL_SERVER_ERROR"),
    failed("TIMEOUT"),
    reply(b"", 500),
    reply(b"", 504),
    PlatformError(Refusal.NOT_THE_PLATFORM, "more than 8 MiB"),
    PlatformError(Refusal.UNREACHABLE, "no answer in time"),
]


@pytest.mark.parametrize("answer", TOO_MUCH, ids=range(len(TOO_MUCH)))
def test_a_page_that_is_too_much_gives_way(answer):
    shop = Shop(orders=many(order, 60), interfere=lambda asked: answer if asked.variables["first"] > 12 else None)

    pages = cycle(shop, ORDERS, {"since": "2026-11-01T00:00:00Z"})

    assert len(ids(pages)) == 60
    assert [each.variables["first"] for each in shop.asked][:4] == [50, 25, 12, 12]
    assert max(each.variables["first"] for each in shop.asked[2:]) == 12, "it does not grow into the same wall again"


def test_a_page_of_one_that_fails_is_an_error():
    shop = always(reply(b"", 500))

    error = refusal(lambda: cycle(shop, ORDERS, {"since": "2026-11-01T00:00:00Z"}))

    assert error.refusal is Refusal.TRANSIENT
    assert [each.variables["first"] for each in shop.asked] == [50, 25, 12, 6, 3, 1]


@pytest.mark.parametrize("status", [402, 423, 503, 401, 403])
def test_what_no_smaller_page_can_mend_is_an_error_at_once(status):
    shop = always(reply({"errors": "x"}, status))

    refusal(lambda: SHOPIFY.fetch(STORE, ORDERS, {"since": "2026-11-01T00:00:00Z"}, shop, NOW))

    assert len(shop.asked) == 1


def test_lines_that_exceed_the_budget_make_the_page_smaller_instead_of_coming_to_the_same_place():
    lines = [line(number) for number in range(1, 60)]
    tight = failed("THROTTLED", cost=400, available=100)
    shop = Shop(orders=[order(number, lines=lines) for number in range(1, 5)])
    shop.interfere = lambda asked: tight if asked.operation == "OrderLines" and len(shop.asked) < 3 else None

    first = SHOPIFY.fetch(STORE, ORDERS, {"since": "2026-11-01T00:00:00Z"}, shop, NOW)

    assert first.records == []
    assert first.cursor["size"] == 25
    assert first.ready_at == NOW + timedelta(seconds=3)
    assert len(ids(cycle(shop, ORDERS, dict(first.cursor)))) == 4


def test_pages_grow_where_the_price_leaves_room():
    shop = Shop(orders=many(order, 300))

    cycle(shop, ORDERS, {"since": "2026-11-01T00:00:00Z"})

    assert [each.variables["first"] for each in shop.asked] == [50, 100, 100, 100]


def test_the_next_page_waits_just_until_the_budget_holds_it():
    shop = Shop(orders=many(order, 300), available=0)
    cost = cost_of(shopify.ORDERS, {"first": 100, "inner": 50})

    first, second, *_ = cycle(shop, ORDERS, {"since": "2026-11-01T00:00:00Z", "size": 100})

    assert first.ready_at == second.ready_at == NOW + timedelta(seconds=cost / 100)


def test_no_page_waits_while_the_budget_lasts():
    assert [page.ready_at for page in cycle(Shop(orders=many(order, 300)), ORDERS)] == [None] * 4


def test_a_deep_search_is_begun_anew_before_shopify_ends_it():
    # https://shopify.dev/docs/api/usage/limits: 25,000 rows
    shop = Shop(orders=many(order, 30))
    near = {"since": "2026-11-01T00:00:00Z", "started": short(NOW), "size": 10, "cap": 10, "rows": 19_985}

    pages = cycle(shop, ORDERS, near)

    searches = [(each.variables["query"].split(">=")[1], each.variables["after"]) for each in shop.asked]
    assert searches[:3] == [
        ("'2026-11-01T00:00:00Z'", None),
        ("'2026-11-01T00:00:00Z'", gid("Order", 10)),
        ("'2026-11-20T00:00:20Z'", None),
    ]
    assert set(ids(pages)) == {gid("Order", number) for number in range(1, 31)}


@pytest.mark.parametrize(
    "page",
    [
        None,
        [],
        {"nodes": []},
        {"nodes": {}, "pageInfo": {}},
        {"nodes": [7], "pageInfo": {}},
        {"nodes": [], "pageInfo": {"hasNextPage": True, "endCursor": None}},
        {"nodes": [], "pageInfo": {"hasNextPage": True, "endCursor": "same"}},
        {"nodes": [], "pageInfo": {"hasNextPage": True, "endCursor": 7}},
    ],
)
def test_a_page_that_is_none_is_not_shopifys(page):
    cursor = {"after": "same", "started": short(NOW), "size": 50}

    error = refusal(lambda: SHOPIFY.fetch(STORE, ORDERS, cursor, always(answered({"page": page})), NOW))

    assert error.refusal is Refusal.NOT_THE_PLATFORM


@pytest.mark.parametrize("page", [None, 7, {}, {"nodes": []}, {"nodes": {}, "pageInfo": {}}], ids=repr)
def test_a_page_of_the_newest_that_is_none_is_not_shopifys(page):
    assert refusal(lambda: newest(always(answered({"page": page})))).refusal is Refusal.NOT_THE_PLATFORM


def node(row: Json, children: str = "lineItems") -> Json:
    rest = {name: value for name, value in row.items() if name != children}
    return {**rest, "children": {"nodes": row[children], "pageInfo": {"hasNextPage": False, "endCursor": None}}}


def one_page(*nodes: Any, **more: Any) -> Shop:
    return always(answered({"page": {"nodes": list(nodes), "pageInfo": {"hasNextPage": False}}}, **more))


def test_personal_fields_that_are_held_back_are_told_and_the_rest_is_read():
    # https://shopify.dev/docs/apps/launch/protected-customer-data
    row = node(order(1, email=None, shippingAddress=None))
    errors = [
        {"extensions": {"code": "ACCESS_DENIED"}, "path": ["orders", "nodes", 0, "email"]},
        {"extensions": {"code": "ACCESS_DENIED"}, "path": ["orders", "nodes", 0, "shippingAddress", "name"]},
    ]

    (page,) = cycle(one_page(row, errors=errors), ORDERS, {"since": "2026-11-01T00:00:00Z"})

    assert ids([page]) == [gid("Order", 1)]
    assert page.partial == "Shopify does not show the app these fields: email, shippingAddress."
    assert newest(one_page(row, errors=errors)) == page.records


@pytest.mark.parametrize("path", [["orders"], ["orders", "nodes", 0, "transactions"], [], None])
def test_any_other_denial_is_a_missing_permission(path):
    errors = [
        {"extensions": {"code": "ACCESS_DENIED"}, "path": ["orders", "nodes", 0, "email"]},
        {"extensions": {"code": "ACCESS_DENIED"}, "path": path},
    ]
    shop = one_page(node(order(1)), errors=errors)

    assert refusal(lambda: cycle(shop, ORDERS, {"since": "2026-11-01T00:00:00Z"})).refusal is Refusal.PERMISSION


# Records


def order_of(row: Json) -> Json:
    ((record,),) = (page.records for page in cycle(one_page(node(row)), ORDERS, {"since": "2026-11-01T00:00:00Z"}))
    return dict(record.body)


def product_of(row: Json) -> Json:
    shop = one_page(node(row, "variants"))
    ((record,),) = (page.records for page in cycle(shop, PRODUCTS, {"since": "2026-11-01T00:00:00Z"}))
    return dict(record.body)


def test_an_order_is_read_whole():
    row = order(
        7,
        note="as a gift",
        currentTotalPriceSet=money("19.98"),
        totalRefundedSet=money("5.00"),
        lines=[line(70, customAttributes=[{"key": "_design", "value": "d-1"}, {"key": "Name", "value": None}])],
        shippingAddress={
            "name": "Buyer 17",
            "company": None,
            "address1": "Street 1",
            "address2": "",
            "city": "Town",
            "province": "Bavaria",
            "provinceCode": "BY",
            "zip": "80331",
            "countryCodeV2": "DE",
            "phone": None,
        },
        billingAddress={"name": "Buyer 17 GmbH", "phone": "+49 1"},
    )

    assert order_of(row) == {
        "id": "gid://shopify/Order/7",
        "number": "#7",
        "status": "paid",
        "platformStatus": "PAID UNFULFILLED",
        "total": "19.98",
        "refundedTotal": "5.00",
        "currency": "EUR",
        "lines": [
            {
                "id": "gid://shopify/LineItem/70",
                "productId": "gid://shopify/Product/1",
                "variantId": "gid://shopify/ProductVariant/1",
                "title": "Shirt 70",
                "sku": "SKU-70",
                "quantity": 1,
                "unitPrice": "9.99",
                "total": "9.99",
                "properties": [{"name": "_design", "value": "d-1"}, {"name": "Name", "value": ""}],
            }
        ],
        "customer": {"id": None, "name": "Buyer 17 GmbH", "email": "buyer17@example.com"},
        "shippingAddress": {
            "name": "Buyer 17",
            "company": None,
            "line1": "Street 1",
            "line2": None,
            "city": "Town",
            "region": "BY",
            "postalCode": "80331",
            "country": "DE",
            "phone": "+49 1",
        },
        "note": "as a gift",
        "fees": [],
        "createdAt": "2026-11-20T09:00:00Z",
        "updatedAt": "2026-11-20T10:00:00Z",
    }


@pytest.mark.parametrize(
    ("cancelled", "financial", "fulfillment", "status", "words"),
    [
        (None, "PAID", "UNFULFILLED", "paid", "PAID UNFULFILLED"),
        (None, "PARTIALLY_REFUNDED", "ON_HOLD", "paid", "PARTIALLY_REFUNDED ON_HOLD"),
        (None, "PENDING", "UNFULFILLED", "pending", "PENDING UNFULFILLED"),
        (None, "AUTHORIZED", "SCHEDULED", "pending", "AUTHORIZED SCHEDULED"),
        (None, "PAID", "PARTIALLY_FULFILLED", "partly_shipped", "PAID PARTIALLY_FULFILLED"),
        (None, "PAID", "FULFILLED", "completed", "PAID FULFILLED"),
        (None, "PENDING", "FULFILLED", "completed", "PENDING FULFILLED"),
        (None, "REFUNDED", "FULFILLED", "refunded", "REFUNDED FULFILLED"),
        (None, "VOIDED", "UNFULFILLED", "cancelled", "VOIDED UNFULFILLED"),
        ("2026-11-20T09:30:00Z", "REFUNDED", "RESTOCKED", "cancelled", "CANCELLED REFUNDED RESTOCKED"),
        (None, None, "UNFULFILLED", "other", "UNFULFILLED"),
        (None, "BARTERED", "UNFULFILLED", "other", "BARTERED UNFULFILLED"),
        (None, "PAID", "TELEPORTED", "other", "PAID TELEPORTED"),
        (None, 7, [], "other", ""),
    ],
)
def test_an_orders_status_comes_from_cancellation_payment_and_shipping(
    cancelled, financial, fulfillment, status, words
):
    row = order(1, cancelledAt=cancelled, displayFinancialStatus=financial, displayFulfillmentStatus=fulfillment)

    found = order_of(row)

    assert (found["status"], found["platformStatus"]) == (status, words)


@pytest.mark.parametrize(
    ("ordered", "current", "total", "expected"),
    [(3, 3, "29.97", "29.97"), (3, 2, "29.97", "19.98"), (3, 0, "29.97", "0.00"), (3, 1, "10.00", "3.33"),
     (2, 1, "10", "5"), (0, 0, "0.00", "0.00")],
)  # fmt: skip
def test_units_that_were_removed_are_not_made(ordered, current, total, expected):
    (found,) = order_of(
        order(1, lines=[line(1, quantity=ordered, currentQuantity=current, discountedTotalSet=money(total))])
    )["lines"]

    assert (found["quantity"], found["total"]) == (current, expected)


def test_a_line_of_something_that_was_deleted_names_no_product():
    (found,) = order_of(order(1, lines=[line(1, product=None, variant=None)]))["lines"]

    assert (found["productId"], found["variantId"]) == (None, None)


def test_a_region_without_a_code_is_told_by_its_name():
    address = {"name": "Buyer 17", "province": "Lower Region", "provinceCode": None}

    assert order_of(order(1, shippingAddress=address))["shippingAddress"]["region"] == "Lower Region"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-20T10:00:00Z", "2026-11-20T10:00:00Z"),
        ("2026-11-20T10:00:00+02:00", "2026-11-20T08:00:00Z"),
        ("2026-11-20 10:00:00Z", "2026-11-20T10:00:00Z"),
        ("20261120T100000Z", "2026-11-20T10:00:00Z"),
        ("2026-11-20T10:00:00.5Z", "2026-11-20T10:00:00.500000Z"),
    ],
)
def test_a_time_is_shown_in_one_spelling(text, shown):
    found = order_of(order(1, createdAt=text, updatedAt=text))

    assert (found["createdAt"], found["updatedAt"]) == (shown, shown)


@pytest.mark.parametrize("amount", [None, {}, [], "9.99", {"shopMoney": None}, {"shopMoney": ["9.99"]}])
def test_an_amount_of_another_shape_is_none(amount):
    (found,) = order_of(order(1, lines=[line(1, originalUnitPriceSet=amount)]))["lines"]

    assert found["unitPrice"] is None


def test_fees_are_read_from_the_transactions():
    fee = {
        "type": "processing_fee",
        "amount": {"amount": "0.59", "currencyCode": "EUR"},
        "taxAmount": {"amount": "0.11", "currencyCode": "EUR"},
    }
    free = {**fee, "taxAmount": {"amount": "0.0", "currencyCode": "EUR"}}
    row = order(1, transactions=[{"fees": [fee]}, {"fees": []}, {"fees": [free]}])
    expected = [("processing_fee", "0.59"), ("processing_fee_tax", "0.11"), ("processing_fee", "0.59")]

    by_page = order_of(row)["fees"]
    by_id = SHOPIFY.fetch_one(STORE, ORDERS, "1", Shop(orders=[row])).body["fees"]

    assert [(each["name"], each["amount"]) for each in by_page] == expected
    assert by_id == by_page
    assert {(each["type"], each["currency"]) for each in by_page} == {("payment", "EUR")}


def test_an_order_that_names_nobody_has_no_customer():
    found = order_of(order(1, email=None, billingAddress=None))

    assert (found["customer"], found["shippingAddress"]) == (None, None)


def test_a_product_is_read_whole():
    variants = [
        variant(1, selectedOptions=[{"name": "Colour", "value": "Red"}, {"name": "Size", "value": "L"}]),
        variant(2, inventoryQuantity=None, sku=""),
    ]

    assert product_of(product(7, variants=variants, onlineStoreUrl="https://demo.example/p")) == {
        "id": "gid://shopify/Product/7",
        "title": "Product 7",
        "status": "active",
        "platformStatus": "ACTIVE",
        "price": "12.50",
        "currency": "EUR",
        "sku": "V-1",
        "imageUrl": "https://cdn.example/1.png",
        "url": "https://demo.example/p",
        "variants": [
            {
                "id": "gid://shopify/ProductVariant/1",
                "title": "Red",
                "sku": "V-1",
                "price": "12.50",
                "inventoryQuantity": 3,
                "attributes": {"Colour": "Red", "Size": "L"},
            },
            {
                "id": "gid://shopify/ProductVariant/2",
                "title": "Red",
                "sku": None,
                "price": "12.50",
                "inventoryQuantity": None,
                "attributes": {"Colour": "Red"},
            },
        ],
        "createdAt": "2026-11-01T00:00:00Z",
        "updatedAt": "2026-11-20T10:00:00Z",
    }


@pytest.mark.parametrize(
    ("word", "status"),
    [("ACTIVE", "active"), ("UNLISTED", "active"), ("DRAFT", "draft"), ("ARCHIVED", "inactive"), ("NEW", "other")],
)
def test_a_products_status_is_known_or_other(word, status):
    found = product_of(product(1, status=word))

    assert (found["status"], found["platformStatus"]) == (status, word)


UNREADABLE: list[Json] = [
    {"id": "gid://shopify/Product/1"}, {"id": None}, {"id": "gid://shopify/Order/1/2"},
    {"updatedAt": None}, {"updatedAt": 7}, {"updatedAt": "2026-11-20T10:00:00"},
    {"updatedAt": "0001-01-01T00:00:00+09:00"}, {"updatedAt": "1950-01-01T00:00:00Z"},
    {"createdAt": "soon"}, {"currencyCode": None},
    {"currentTotalPriceSet": None}, {"currentTotalPriceSet": {"shopMoney": {"amount": "NaN"}}},
    {"currentTotalPriceSet": {"shopMoney": {"amount": True}}},
    {"lineItems": [{}]}, {"lineItems": [line(1, quantity="1")]}, {"lineItems": [line(1, currentQuantity=True)]},
    {"lineItems": [line(1, discountedTotalSet={})]}, {"lineItems": [line(1, quantity=10**30)]},
]  # fmt: skip


@pytest.mark.parametrize("change", UNREADABLE, ids=str)
def test_an_order_that_cannot_be_read_is_told_and_does_not_stop_the_others(change):
    shop = one_page(node(order(1) | change), node(order(2)))

    (page,) = cycle(shop, ORDERS, {"since": "2026-11-01T00:00:00Z"})

    assert ids([page]) == [gid("Order", 2)]
    assert page.partial
    assert page.partial.startswith("Not understood: Order")
    assert [record.id for record in newest(shop)] == [gid("Order", 2)]


values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)
GOOD = node(order(1, transactions=[{"fees": [{"type": "x", "amount": {"amount": "1"}, "taxAmount": {}}]}]))


def storable(found: Sequence[Record]) -> None:
    json.dumps([record.body for record in found], ensure_ascii=False, allow_nan=False).encode()


CURSORS = [None, {"since": "2026-11-01T00:00:00Z"}, {"bulk": gid("BulkOperation", 1), "started": short(NOW)}]


@given(changes=st.dictionaries(st.sampled_from(sorted(GOOD)), values, max_size=4), body=values)
@settings(deadline=None)
def test_a_hostile_answer_gives_a_record_or_a_platform_error(changes, body):
    answers = [
        reply(json.dumps({"data": {"page": {"nodes": [GOOD | changes], "pageInfo": {}}}}).encode("utf-8")),
        reply(json.dumps({"data": body, "errors": changes, "extensions": {"cost": body}}).encode()),
        reply(json.dumps({"data": {"page": body, "one": body, "counted": body}}).encode()),
    ]
    for answer in answers:
        with suppress(PlatformError):
            storable(newest(always(answer)))
        for cursor in (
            None,
            {"since": "2026-11-01T00:00:00Z"},
            {"bulk": gid("BulkOperation", 1), "started": short(NOW)},
        ):
            for resource in Resource:
                try:
                    page = SHOPIFY.fetch(STORE, resource, cursor, always(answer), NOW)
                except PlatformError:
                    continue
                storable(page.records)


@given(body=st.one_of(st.binary(max_size=60), values.map(lambda value: json.dumps(value).encode())),
       status=st.sampled_from([200, 204, 206, 400, 401, 403, 404, 418, 429, 500, 503]))  # fmt: skip
@settings(deadline=None)
def test_any_answer_gives_nothing_but_platform_errors(body, status):
    shop = always(reply(body, status, retry_after="x"))
    calls: list[Callable[[], object]] = [
        lambda: SHOPIFY.probe(STORE, shop),
        lambda: SHOPIFY.fetch_one(STORE, ORDERS, "1", shop),
        lambda: SHOPIFY.list_ids(STORE, PRODUCTS, None, shop, NOW),
        lambda: newest(shop),
        lambda: SHOPIFY.reconcile(STORE, "https://us.example/webhooks/SHOPIFY/c1", "", shop),
        lambda: SHOPIFY.unsubscribe(STORE, "https://us.example/webhooks/SHOPIFY/c1", shop),
        lambda: SHOPIFY.revoke(STORE, shop),
        lambda: exchanged(shop),
        lambda: refreshed(shop),
        lambda: refreshed(shop, access_token="a"),
    ]
    for call in calls:
        try:
            call()
        except PlatformError as error:
            told = str(error)
            assert "shpat" not in told


# One record, and the ids


@pytest.mark.parametrize("id", ["7", "gid://shopify/Order/7"])
def test_a_record_is_found_by_its_number_or_its_global_id(id):
    lines = [line(number) for number in range(1, 301)]
    shop = Shop(orders=[order(7, lines=lines)])

    found = SHOPIFY.fetch_one(STORE, ORDERS, id, shop)

    assert found.id == "gid://shopify/Order/7"
    assert len(found.body["lines"]) == 300
    assert shop.operations == ["Order", "OrderLines"]


def test_a_record_is_the_same_by_page_and_by_id():
    row = order(7, lines=[line(1, customAttributes=[{"key": "Name", "value": "x"}])])
    paged = records(cycle(Shop(orders=[row]), ORDERS))

    assert paged == [SHOPIFY.fetch_one(STORE, ORDERS, "7", Shop(orders=[row]))]


def test_a_record_that_does_not_exist_is_not_found():
    assert refusal(lambda: SHOPIFY.fetch_one(STORE, PRODUCTS, "7", Shop())).refusal is Refusal.NOT_FOUND


@pytest.mark.parametrize("id", ["", "0", "-1", "x", "gid://shopify/Product/7", "7/../8", "7\n", "\u0667", "9" * 40])
def test_what_is_no_id_is_not_found_and_not_asked_for(id):
    shop = Shop()

    assert refusal(lambda: SHOPIFY.fetch_one(STORE, ORDERS, id, shop)).refusal is Refusal.NOT_FOUND
    assert shop.asked == []


def test_a_single_record_that_cannot_be_read_is_not_understood():
    shop = Shop(orders=[order(7, updated="1950-01-01T00:00:00Z")])

    assert refusal(lambda: SHOPIFY.fetch_one(STORE, ORDERS, "7", shop)).refusal is Refusal.NOT_UNDERSTOOD


def listed(shop: Shop, resource: Resource) -> list[Any]:
    pages: list[Any] = []
    cursor: Json | None = None
    while not pages or not pages[-1].done:
        pages.append(SHOPIFY.list_ids(STORE, resource, cursor, shop, NOW + timedelta(days=len(pages))))
        cursor = json.loads(json.dumps(pages[-1].cursor))
    return pages


def test_all_ids_of_products_are_listed():
    shop = Shop(products=many(product, 600))

    pages = listed(shop, PRODUCTS)

    assert [id for page in pages for id in page.ids] == [gid("Product", number) for number in range(1, 601)]
    assert {page.since for page in pages} == {None}
    assert [each.variables["first"] for each in shop.asked] == [250, 250, 250]


def test_orders_are_listed_as_far_back_as_every_app_sees_them():
    since = NOW - timedelta(days=59)
    old = order(1, createdAt=short(since - timedelta(seconds=1)))
    rows = [order(number, createdAt=short(since)) for number in range(2, 402)]
    shop = Shop(orders=[old, *rows])

    pages = listed(shop, ORDERS)

    assert [id for page in pages for id in page.ids] == [row["id"] for row in rows]
    assert {page.since for page in pages} == {since}, "it does not move from page to page"
    assert "created_at:>='2026-09-24T12:30:00Z'" in shop.asked[1].variables["query"]


def test_a_long_listing_goes_on_above_the_last_id():
    shop = Shop(products=many(product, 300))

    near = {"rows": 19_900}
    first = SHOPIFY.list_ids(STORE, PRODUCTS, near, shop, NOW)
    second = SHOPIFY.list_ids(STORE, PRODUCTS, first.cursor, shop, NOW)

    assert first.cursor == {"above": "250"}
    assert [*first.ids, *second.ids] == [gid("Product", number) for number in range(1, 301)]
    assert second.done


def test_a_list_of_something_else_is_not_shopifys():
    shop = one_page({"id": gid("Order", 1)})

    assert refusal(lambda: SHOPIFY.list_ids(STORE, PRODUCTS, None, shop, NOW)).refusal is Refusal.NOT_THE_PLATFORM


# The first import


def large(count: int = 600, resource: Resource = ORDERS) -> Shop:
    return Shop(**{resource.value: many(order if resource is ORDERS else product, count)})


def finish(shop: Shop, resource: Resource = ORDERS, **changes: Any) -> bytes:
    """The job ends; its result lies where Shopify puts it."""
    rows, children = (shop.orders, "lineItems") if resource is ORDERS else (shop.products, "variants")
    content = jsonl(rows, children)
    shop.files[RESULT] = content
    counted = {"objectCount": str(len(content.splitlines())), "rootObjectCount": str(len(rows))}
    shop.jobs[-1].update({"status": "COMPLETED", "url": RESULT, **counted, **changes})
    return content


def begin(shop: Shop, resource: Resource = ORDERS) -> Json:
    page = SHOPIFY.fetch(STORE, resource, None, shop, NOW)
    assert page.records == []
    return dict(page.cursor)


def test_a_small_store_is_paged_through():
    shop = large(500)

    assert len(ids(cycle(shop, ORDERS))) == 500
    assert shop.jobs == []


@pytest.mark.parametrize("resource", Resource)
def test_a_large_store_is_imported_by_a_job_and_paged_from_where_the_job_began(resource):
    shop = large(600, resource)
    cursor = begin(shop, resource)
    finish(shop, resource)
    changed = (shop.orders if resource is ORDERS else shop.products)[3]
    changed["updatedAt"] = "2026-11-22T12:29:59Z"
    children = "lineItems" if resource is ORDERS else "variants"

    pages = cycle(shop, resource, cursor)

    assert len(ids(pages)) == 601
    assert ids(pages)[-1] == changed["id"]
    assert pages[-1].cursor == {"since": "2026-11-22T12:25:00Z"}
    assert [query for each in shop.asked if "query" in (query := str(each.json)) and "12:24:58" in query]
    read = records(pages)[0].body["lines" if resource is ORDERS else "variants"]
    assert len(read) == len((shop.orders if resource is ORDERS else shop.products)[0][children])


def test_a_record_is_the_same_by_job_and_by_page():
    shop = large(600)
    shop.orders[0]["lineItems"] = [line(number) for number in range(1, 80)]
    cursor = begin(shop)
    finish(shop)

    by_job = SHOPIFY.fetch(STORE, ORDERS, cursor, shop, NOW)

    by_page = cycle(shop, ORDERS, {"since": "2026-11-01T00:00:00Z"})
    assert list(by_job.records) == records(by_page)


def test_a_job_is_asked_after_at_growing_intervals():
    shop = large()
    cursor = begin(shop)
    shop.jobs[0]["status"] = "RUNNING"
    waits, seen = [], [json.dumps(cursor)]
    for _ in range(7):
        page = SHOPIFY.fetch(STORE, ORDERS, cursor, shop, NOW)
        assert page.ready_at
        waits.append((page.ready_at - NOW).total_seconds())
        cursor = dict(page.cursor)
        seen.append(json.dumps(cursor))

    assert waits == [3, 6, 12, 24, 30, 30, 30]
    assert len(set(seen)) == 8, "the cursor moves at every poll"


def test_a_crash_after_the_checkpoint_goes_on_with_the_same_job():
    shop = large()
    cursor = begin(shop)
    finish(shop)

    assert len(ids(cycle(shop, ORDERS, cursor))) == 600
    assert shop.operations.count("StartBulk") == 1


@pytest.mark.parametrize("status", ["CREATED", "RUNNING", "COMPLETED"])
def test_a_crash_before_the_checkpoint_takes_the_job_up_again(status):
    shop = large()
    lost = begin(shop)
    shop.jobs[0]["status"] = status

    assert begin(shop) == lost
    assert len(shop.jobs) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"query": "{ orders { edges { node { id } } } }"},
        {"status": "FAILED"},
        {"status": "CANCELED"},
        {"createdAt": "2026-11-21T12:29:59Z"},
    ],
)
def test_no_other_job_is_taken_up(change):
    shop = large()
    begin(shop)
    shop.jobs[0].update(change)

    assert begin(shop)["bulk"] == gid("BulkOperation", 2)


@pytest.mark.parametrize("code", ["OPERATION_IN_PROGRESS", "LIMIT_REACHED"])
def test_where_no_job_may_start_the_store_is_paged_through(code):
    shop = large()
    shop.user_errors["bulk"] = [{"code": code, "message": "busy", "field": None}]

    assert len(ids(cycle(shop, ORDERS))) == 600


def test_a_job_that_shopify_refuses_is_our_fault():
    shop = large()
    shop.user_errors["bulk"] = [{"code": "INVALID", "message": "no connection", "field": ["query"]}]

    assert refusal(lambda: begin(shop)).refusal is Refusal.REQUEST


@pytest.mark.parametrize("status", ["FAILED", "CANCELED", "EXPIRED"])
def test_a_job_that_did_not_complete_is_no_import(status):
    shop = large()
    cursor = begin(shop)
    finish(shop, status=status, partialDataUrl=RESULT)

    pages = cycle(shop, ORDERS, cursor)

    assert len(ids(pages)) == 600
    assert [each.method for each in shop.asked].count("GET") == 0


def test_a_job_that_is_gone_is_no_import():
    shop = large()
    cursor = begin(shop)
    shop.jobs.clear()

    assert len(ids(cycle(shop, ORDERS, cursor))) == 600


def test_a_job_that_runs_for_ever_is_not_waited_for():
    shop = large()
    cursor = begin(shop)

    page = SHOPIFY.fetch(STORE, ORDERS, cursor, shop, NOW + timedelta(days=2))

    assert "bulk" not in page.cursor


def test_an_empty_result_is_complete():
    shop = large()
    cursor = begin(shop)
    finish(shop, url=None, objectCount="0", rootObjectCount="0")
    shop.orders.clear()

    pages = cycle(shop, ORDERS, cursor)

    assert ids(pages) == []
    assert pages[-1].done


def test_a_missing_result_is_not_empty():
    shop = large()
    cursor = begin(shop)
    finish(shop, url=None)

    pages = cycle(shop, ORDERS, {**cursor, "tries": 1})

    assert len(ids(pages)) == 600


def test_a_large_result_is_read_in_stretches(monkeypatch):
    monkeypatch.setattr(shopify, "_SPAN", 20_000)
    shop = large()
    cursor = begin(shop)
    content = finish(shop)

    pages = cycle(shop, ORDERS, cursor)

    ranges = [each.headers["Range"] for each in shop.asked if each.method == "GET"]
    assert len(ranges) >= len(content) // 20_000
    assert ranges[0] == "bytes=0-19999"
    assert len(ids(pages)) == len(set(ids(pages))) == 600
    offsets = [page.cursor["offset"] for page in pages if "offset" in page.cursor]
    assert offsets == sorted(set(offsets))


def test_a_crash_in_the_result_reads_one_stretch_again_at_most(monkeypatch):
    monkeypatch.setattr(shopify, "_SPAN", 20_000)
    shop = large()
    cursor = begin(shop)
    finish(shop)
    first = SHOPIFY.fetch(STORE, ORDERS, cursor, shop, NOW)

    again = cycle(shop, ORDERS, dict(first.cursor))

    assert {*ids([first])}.isdisjoint(ids(again))
    assert len(ids([first])) + len(ids(again)) == 600


def test_a_small_result_may_come_whole():
    shop = large()
    cursor = begin(shop)
    content = finish(shop)
    shop.interfere = lambda asked: reply(content) if asked.method == "GET" else None

    assert len(ids(cycle(shop, ORDERS, cursor))) == 600


@pytest.mark.parametrize(
    "url",
    [
        "http://storage.googleapis.com/x",
        "https://evil.example/x",
        "https://storage.googleapis.com.evil.example/x",
        "https://evil.example/storage.googleapis.com/",
        "https://shopify.com.evil.example/x",
        "https://evilshopify.com/x",
        "https://user@storage.googleapis.com/x",
        "https://storage.googleapis.com:8443/x",
        "https://storage.googleapis.com\\@evil.example/x",
        "https://storage.googleapis.com",
        "https://storage.googleapis.com/x\n",
        7,
    ],
)
def test_a_result_elsewhere_is_not_fetched(url):
    shop = large()
    cursor = begin(shop)
    finish(shop, url=url)
    started = shop.operations.count("StartBulk")

    SHOPIFY.fetch(STORE, ORDERS, {**cursor, "tries": 1}, shop, NOW)

    assert [each.method for each in shop.asked].count("GET") == 0
    assert shop.operations.count("StartBulk") == started


@pytest.mark.parametrize(
    "url",
    [
        RESULT,
        "https://bucket.storage.googleapis.com/x?Expires=1&Signature=a%2Bb",
        "https://cdn.shopify.com/x",
        "https://a.b.shopifycloud.com/x",
    ],
)
def test_a_result_of_shopifys_is_fetched_without_the_token(url):
    shop = large()
    cursor = begin(shop)
    shop.files[url] = finish(shop, url=url)

    assert len(SHOPIFY.fetch(STORE, ORDERS, cursor, shop, NOW).records) == 600
    (download,) = [each for each in shop.asked if each.method == "GET"]
    assert "shpat" not in str(download)
    assert set(download.headers) == {"Range", "Accept-Encoding"}


@pytest.mark.parametrize("status", [400, 403, 404, 410, 416])
def test_an_expired_result_is_made_anew_once(status):
    shop = large()
    cursor = begin(shop)
    finish(shop)
    shop.interfere = lambda asked: reply(b"<Error>", status) if asked.method == "GET" else None

    anew = SHOPIFY.fetch(STORE, ORDERS, cursor, shop, NOW)
    assert (anew.cursor["bulk"], anew.cursor["tries"]) == (gid("BulkOperation", 2), 1)
    assert "offset" not in anew.cursor
    finish(shop)

    paged = cycle(shop, ORDERS, dict(anew.cursor))
    assert len(ids(paged)) == 600
    assert len(shop.jobs) == 2


@pytest.mark.parametrize(
    ("answer", "expected"), [(reply(b"", 500), Refusal.TRANSIENT), (reply(b"", 429), Refusal.RATE_LIMITED)]
)
def test_a_host_that_fails_for_now_is_asked_again_later(answer, expected):
    shop = large()
    cursor = begin(shop)
    finish(shop)
    shop.interfere = lambda asked: answer if asked.method == "GET" else None

    assert refusal(lambda: SHOPIFY.fetch(STORE, ORDERS, cursor, shop, NOW)).refusal is expected


BROKEN = [
    Answer(206, {}, b"{}"),
    Answer(206, {"content-range": "bytes 5-6/7"}, b"{}"),
    Answer(206, {"content-range": "bytes 0-9/10"}, b"{}"),
    Answer(206, {"content-range": "bytes 0-1/*"}, b"{}"),
    Answer(200, {}, b"{}\n<html>\n"),
    Answer(200, {}, b"{},{}\n"),
    Answer(200, {}, b"[1]\n"),
    Answer(200, {}, b'{"id":"gid://shopify/LineItem/1","__parentId":"gid://shopify/Order/1"}\n'),
    Answer(200, {}, b'{"id":"gid://shopify/Order/1"}\n{"id":"x","__parentId":"gid://shopify/Order/2"}\n'),
    Answer(200, {}, b'{"id":NaN}\n'),
    Answer(200, {}, b'{"id":"\xff"}\n'),
    Answer(206, {"content-range": "bytes 0-9/99"}, b'{"id":"abc'),
    PlatformError(Refusal.NOT_THE_PLATFORM, "more than 8 MiB"),
]


@pytest.mark.parametrize("answer", BROKEN, ids=range(len(BROKEN)))
def test_a_result_that_cannot_be_trusted_is_paged_instead(answer):
    shop = large()
    cursor = begin(shop)
    finish(shop)
    shop.interfere = lambda asked: answer if asked.method == "GET" else None

    pages = cycle(shop, ORDERS, {**cursor, "tries": 1})

    assert len(ids(pages)) == 600


def test_a_result_with_fewer_rows_than_the_job_counted_is_paged_as_well():
    shop = large()
    cursor = begin(shop)
    content = finish(shop)
    shop.files[RESULT] = b"\n".join(content.split(b"\n")[:400]) + b"\n"

    pages = cycle(shop, ORDERS, cursor)

    assert set(ids(pages)) == {row["id"] for row in shop.orders}


rows = st.lists(st.integers(0, 4), max_size=12).map(
    lambda counts: [
        {"id": gid("Order", number), "x": "é" * number, "lineItems": [{"id": f"{number}-{n}"} for n in range(count)]}
        for number, count in enumerate(counts, 1)
    ]
)


@given(rows=rows, cuts=st.lists(st.integers(1, 400), min_size=1), newline=st.booleans())
@settings(deadline=None)
def test_a_result_gives_the_same_rows_wherever_it_is_cut(rows, cuts, newline):
    content = jsonl(rows, "lineItems")
    content = content if newline else content.rstrip(b"\n")
    found: list[Json] = []
    offset, turn = 0, 0
    while offset < len(content):
        span = cuts[turn % len(cuts)]
        is_last = offset + span >= len(content)
        try:
            whole, used = shopify.assembled(content[offset : offset + span], is_last=is_last)
        except shopify._NoResult:
            cuts = [span * 2]  # a row larger than the stretch
            continue
        assert used > 0
        found += whole
        offset += used
        turn += 1

    assert [(row["id"], [child["id"] for child in row["children"]["nodes"]]) for row in found] == [
        (row["id"], [child["id"] for child in row["lineItems"]]) for row in rows
    ]


@given(st.binary(max_size=120), st.booleans())
def test_any_bytes_are_rows_or_no_result(content, is_last):
    try:
        found, used = shopify.assembled(content, is_last=is_last)
    except shopify._NoResult:
        return
    assert 0 <= used <= len(content)
    assert all("__parentId" not in row for row in found)


# Deliveries


def delivery(topic: str, body: Any, **headers: str) -> Delivery:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given_ = {
        "x-shopify-topic": topic,
        "x-shopify-shop-domain": "demo.myshopify.com",
        "x-shopify-api-version": "2026-10",
        "x-shopify-webhook-id": "w-1",
        "x-shopify-hmac-sha256": base64.b64encode(hmac.digest(b"hush", content, "sha256")).decode(),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return Delivery({name: value for name, value in given_.items() if value}, content)


def newer(classic: Delivery, **headers: str) -> Delivery:
    renamed = {name.removeprefix("x-"): value for name, value in classic.headers.items()}
    return classic._replace(headers={**renamed, "shopify-event-id": "e-1", **headers})


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.kind == "webhook"], ids=lambda v: v.name)
def test_a_delivery_is_believed_as_shopifys_libraries_would(vector: Vector):
    verdict = SHOPIFY.verify(vector.delivery, vector.secrets, vector.now)

    assert (verdict is Verdict.GENUINE) == vector.is_genuine
    assert SHOPIFY.event_id(vector.delivery) == vector.other.get("event_id", SHOPIFY.event_id(vector.delivery))
    assert SHOPIFY.topic(vector.delivery) == vector.other.get("topic", SHOPIFY.topic(vector.delivery))


@pytest.mark.parametrize("missing", ["topic", "shop-domain", "api-version", "webhook-id", "hmac-sha256"])
@pytest.mark.parametrize("style", ["x-shopify-", "shopify-"])
def test_a_delivery_without_one_of_its_headers_is_refused(missing, style):
    genuine = delivery("orders/create", {"id": 1})
    genuine = genuine if style == "x-shopify-" else newer(genuine)
    headers = {name: value for name, value in genuine.headers.items() if name != f"{style}{missing}"}

    assert SHOPIFY.verify(genuine, ["hush"], NOW) is Verdict.GENUINE
    assert SHOPIFY.verify(genuine._replace(headers=headers), ["hush"], NOW) is Verdict.FORGED


def test_the_newer_style_names_its_event_too():
    genuine = newer(delivery("orders/create", {"id": 1}))
    without = {name: value for name, value in genuine.headers.items() if name != "shopify-event-id"}

    assert SHOPIFY.verify(genuine._replace(headers=without), ["hush"], NOW) is Verdict.FORGED
    assert SHOPIFY.verify(newer(genuine, **{"shopify-event-id": ""}), ["hush"], NOW) is Verdict.FORGED


def test_a_header_holds_one_word_of_its_own_kind():
    genuine = delivery("orders/create", {"id": 1})

    for header, odd in [
        ("topic", "orders create"), ("shop-domain", "-demo.myshopify.com"), ("shop-domain", "demo/x"),
        ("api-version", "2026-10,2026-10"), ("webhook-id", "a b"), ("webhook-id", "a:b"), ("webhook-id", "a\t"),
    ]:  # fmt: skip
        headers = {**genuine.headers, f"x-shopify-{header}": odd}
        assert SHOPIFY.verify(genuine._replace(headers=headers), ["hush"], NOW) is Verdict.FORGED, odd


def test_where_both_styles_are_there_the_newer_signature_counts():
    classic = delivery("orders/create", {"id": 1})
    mixed = {**classic.headers, **newer(classic).headers, "shopify-hmac-sha256": "AAAA"}

    assert SHOPIFY.verify(classic._replace(headers=mixed), ["hush"], NOW) is Verdict.FORGED
    mixed |= {"shopify-hmac-sha256": classic.headers["x-shopify-hmac-sha256"], "x-shopify-hmac-sha256": "AAAA"}
    assert SHOPIFY.verify(classic._replace(headers=mixed), ["hush"], NOW) is Verdict.GENUINE


def test_deliveries_are_signed_with_the_apps_secret_or_the_one_before():
    assert SHOPIFY.app_secrets(APP) == ["hush", "hush-before"]
    assert SHOPIFY.app_secrets(App("any", "hush")) == ["hush"]


@pytest.mark.parametrize(
    ("domain", "id"),
    [
        ("demo.myshopify.com", "demo.myshopify.com"),
        ("Demo.myshopify.com", "demo.myshopify.com"),
        ("evil.example", ""),
        ("", ""),
        ("\ud800", ""),
    ],
)
def test_a_delivery_tells_which_store_it_is_about(domain, id):
    classic = delivery("shop/redact", {}, x_shopify_shop_domain=domain)

    assert SHOPIFY.store_of(classic) == id
    assert SHOPIFY.store_of(newer(classic)) == id


def contract(name: str) -> Json:
    return json.loads((PAYLOADS / f"{name}.json").read_text())


ORDER_ID, PRODUCT_ID = "gid://shopify/Order/820982911946154508", "gid://shopify/Product/788032119674292922"

ORDERS_MEANT = tuple(gid("Order", number) for number in (299938, 280263, 220458))


@pytest.mark.parametrize(
    ("name", "events"),
    [
        ("orders_create", [Event(ORDERS, ORDER_ID)]),
        ("orders_updated", [Event(ORDERS, ORDER_ID)]),
        ("orders_cancelled", [Event(ORDERS, ORDER_ID)]),
        ("products_create", [Event(PRODUCTS, PRODUCT_ID)]),
        ("products_update", [Event(PRODUCTS, PRODUCT_ID)]),
        ("app_uninstalled", [Event(None, access_lost=True, disconnected=True)]),
        ("app_scopes_update", [Event(None, access_lost=True)]),
        ("customers_data_request", [Event(None, privacy=PrivacyRequest(PrivacyKind.REPORT, ORDERS_MEANT))]),
        ("customers_redact", [Event(None, privacy=PrivacyRequest(PrivacyKind.ERASE_CUSTOMER, ORDERS_MEANT))]),
        ("shop_redact", [Event(None, privacy=PrivacyRequest(PrivacyKind.ERASE_STORE))]),
        ("bulk_operations_finish", []),
    ],
)
def test_the_payloads_that_shopify_documents_are_read(name, events):
    documented = contract(name)
    payload = json.dumps(documented["payload"]).replace("{shop}", "demo").encode()
    classic = delivery(documented["topic"], payload)

    assert list(SHOPIFY.parse(classic)) == events
    assert list(SHOPIFY.parse(newer(classic))) == events


@pytest.mark.parametrize("topic", ["customers/data_request", "customers/redact", "shop/redact"])
def test_what_is_to_be_erased_is_the_shop_of_the_signed_body(topic):
    foreign = delivery(topic, {"shop_domain": "other.myshopify.com"})

    with pytest.raises(ValueError, match="header"):
        SHOPIFY.parse(foreign)


def test_every_documented_payload_is_tested():
    assert len(list(PAYLOADS.glob("*.json"))) == 11


@pytest.mark.parametrize(("topic", "resource", "kind"), [
    ("orders/delete", ORDERS, "Order"), ("products/delete", PRODUCTS, "Product"),
])  # fmt: skip
def test_a_deletion_names_the_number_only(topic, resource, kind):
    number = 788032119674292922

    assert SHOPIFY.parse(delivery(topic, {"id": number})) == [Event(resource, gid(kind, number), deleted=True)]


def test_ids_beyond_what_a_float_holds_are_exact():
    (event,) = SHOPIFY.parse(delivery("orders/updated", b'{"id":9007199254740993}'))

    assert event.id == "gid://shopify/Order/9007199254740993"


@pytest.mark.parametrize("topic", ["orders/edited", "carts/update", "orders/", "", "orders"])
def test_other_topics_announce_nothing(topic):
    assert SHOPIFY.parse(delivery(topic, {"id": 1})) == []


def test_a_payload_that_names_no_record_announces_nothing():
    assert SHOPIFY.parse(delivery("orders/create", {"foo": "bar"})) == []


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b'{"id":-1}', b'{"id":null}', b'{"id":"gid://shopify/Product/1"}', b'{"id":1.5}'],
)
def test_a_payload_that_cannot_be_read_is_a_value_error(body):
    with pytest.raises(ValueError):  # noqa: PT011 - of whichever kind
        SHOPIFY.parse(delivery("orders/create", body))


@pytest.mark.parametrize("body", [{}, {"orders_to_redact": []}, {"orders_to_redact": None}])
def test_a_customer_without_orders_may_be_erased(body):
    (event,) = SHOPIFY.parse(delivery("customers/redact", {"shop_domain": "demo.myshopify.com", **body}))

    assert event.privacy == PrivacyRequest(PrivacyKind.ERASE_CUSTOMER)


@pytest.mark.parametrize("orders", ["1", {"id": 1}, [None], [-1], ["x"], [1, []]])
def test_a_privacy_request_that_cannot_be_read_is_a_value_error(orders):
    with pytest.raises(ValueError):  # noqa: PT011 - of whichever kind
        SHOPIFY.parse(delivery("customers/redact", {"shop_domain": "demo.myshopify.com", "orders_to_redact": orders}))


# Subscriptions

OURS = "https://us.example/webhooks/SHOPIFY/c2"


def hook(number: int, topic: str, **more: Any) -> Json:
    fields = list(shopify.TOPICS.get(topic, ()))
    return {
        "id": gid("WebhookSubscription", number),
        "topic": topic,
        "uri": OURS,
        "format": "JSON",
        "includeFields": fields,
        "filter": "",
        **more,
    }


def all_hooks() -> list[Json]:
    return [hook(number, topic) for number, topic in enumerate(shopify.TOPICS, 1)]


def reconciled(shop: Shop) -> Subscribed:
    return SHOPIFY.reconcile(STORE, OURS, "any", shop)


def test_missing_subscriptions_are_made():
    shop = Shop()

    assert reconciled(shop) == Subscribed(created=9)
    assert {each["topic"] for each in shop.hooks} == set(shopify.TOPICS)
    assert {each["uri"] for each in shop.hooks} == {OURS}
    assert reconciled(shop) == Subscribed(kept=9)


def test_subscriptions_as_they_should_be_are_kept_with_one_call():
    shop = Shop(hooks=all_hooks())

    assert reconciled(shop) == Subscribed(kept=9)
    assert shop.operations == ["Subscriptions"]


@pytest.mark.parametrize(
    "off",
    [
        {"uri": "https://us.example/webhooks/SHOPIFY/c1"},
        {"format": "XML"},
        {"includeFields": ["id"]},
        {"includeFields": None},
    ],
)
def test_a_subscription_that_is_off_is_repaired(off):
    hooks = all_hooks()
    hooks[0] |= off
    shop = one_hook_page(hooks) if off.get("includeFields", ()) is None else Shop(hooks=hooks)

    assert reconciled(shop) == Subscribed(repaired=1, kept=8)
    if shop.hooks:
        assert reconciled(shop) == Subscribed(kept=9)


def one_hook_page(hooks: list[Json]) -> Shop:
    listing = answered({"page": {"nodes": hooks, "pageInfo": {"hasNextPage": False}}})
    done = answered({"done": {"userErrors": []}})
    return Shop(interfere=lambda asked: listing if asked.operation == "Subscriptions" else done)


def test_what_is_too_much_is_removed_and_others_stay_untouched():
    foreign = [
        hook(20, "ORDERS_CREATE", uri="https://other.example/webhooks/SHOPIFY/c1"),
        hook(21, "ORDERS_CREATE", uri="https://us.example/webhooks/SHOPIFY/c1/deeper"),
        hook(22, "ORDERS_CREATE", uri="https://us.example/webhooks/SHOPIFYX/c1"),
        hook(23, "ORDERS_CREATE", uri="pubsub://project:topic"),
        hook(24, "ORDERS_CREATE", uri="https://us.example.evil.example/webhooks/SHOPIFY/c1"),
    ]
    ours = [
        hook(30, "ORDERS_CREATE", uri="https://us.example/webhooks/SHOPIFY/c1"),
        hook(31, "SHOP_UPDATE"),
        hook(32, "ORDERS_CREATE"),
    ]
    shop = Shop(hooks=[*ours[:1], *foreign, *all_hooks(), *ours[1:]])

    assert reconciled(shop) == Subscribed(removed=3, kept=9)
    assert [each for each in shop.hooks if each in foreign] == foreign
    assert len(shop.hooks) == 5 + 9


def test_a_subscription_with_a_filter_is_made_anew():
    hooks = all_hooks()
    hooks[0]["filter"] = "total_price:>100"
    shop = Shop(hooks=hooks)

    assert reconciled(shop) == Subscribed(created=1, removed=1, kept=8)
    assert not any(each["filter"] for each in shop.hooks)


def test_all_pages_of_subscriptions_are_looked_at():
    foreign = [hook(1000 + n, "ORDERS_CREATE", uri=f"https://other.example/{n}") for n in range(150)]

    assert reconciled(Shop(hooks=[*foreign, *all_hooks()])) == Subscribed(kept=9)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("This app is not approved to subscribe to webhook topics with protected customer data", Refusal.PERMISSION),
        ("Address is invalid", Refusal.REQUEST),
        ("What holds shpat_17 is not shown", Refusal.REQUEST),
    ],
)
def test_a_refused_subscription_is_told(message, expected):
    shop = Shop(user_errors={"ORDERS_CREATE": [{"field": ["webhookSubscription"], "message": message}]})

    error = refusal(lambda: reconciled(shop))

    assert error.refusal is expected
    assert "shpat" not in error.detail


def test_a_subscription_that_another_run_made_first_is_fine():
    message = "Address for this topic has already been taken"
    shop = Shop(user_errors={"ORDERS_CREATE": [{"field": None, "message": message}]})

    assert reconciled(shop) == Subscribed(created=9)


def test_only_what_delivers_to_this_address_is_unsubscribed():
    other = hook(50, "ORDERS_CREATE", uri="https://us.example/webhooks/SHOPIFY/c1")
    shop = Shop(hooks=[*all_hooks(), other])

    SHOPIFY.unsubscribe(STORE, OURS, shop)

    assert shop.hooks == [other]


def test_what_is_gone_already_need_not_be_deleted():
    listing = answered({"page": {"nodes": [hook(1, "SHOP_UPDATE")], "pageInfo": {"hasNextPage": False}}})
    gone = answered({"done": {"userErrors": [{"message": "Webhook subscription does not exist", "field": ["id"]}]}})
    shop = Shop(interfere=lambda asked: listing if asked.operation == "Subscriptions" else gone)

    SHOPIFY.unsubscribe(STORE, OURS, shop)

    assert shop.operations == ["Subscriptions", "Unsubscribe"]


# The end


def test_revoking_uninstalls_the_app():
    shop = Shop()

    SHOPIFY.revoke(STORE, shop)

    assert shop.operations == ["Uninstall"]


@pytest.mark.parametrize("code", ["APP_NOT_INSTALLED", "APP_NOT_FOUND"])
def test_what_is_uninstalled_already_is_fine(code):
    SHOPIFY.revoke(STORE, Shop(user_errors={"uninstall": [{"code": code, "message": "gone", "field": None}]}))


def test_an_uninstall_that_shopify_refuses_is_told():
    errors = [{"code": "USER_PERMISSIONS_INSUFFICIENT", "message": "no", "field": None}]

    assert refusal(lambda: SHOPIFY.revoke(STORE, Shop(user_errors={"uninstall": errors}))).refusal is Refusal.PERMISSION


def test_the_adapter_starts_without_what_a_receiver_does_not_need():
    program = (
        "import sys, shared.platforms.shopify;"
        "print(sorted({'httpx', 'pydantic', 'zoneinfo', 'idna', 'simplejson'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603

    assert found.stdout.strip() == "[]"


def test_the_query_of_the_consent_screen_has_no_grant_options():
    url = SHOPIFY.authorization_url(APP, STORE.domain, state="s", return_url="https://us.example/cb", challenge="")

    assert "grant_options[]" not in parse_qs(urlsplit(url).query)


def test_a_record_may_be_asked_for_by_the_number_of_its_global_id():
    assert SHOPIFY.whole_id(ORDERS, "5600000065537") == "gid://shopify/Order/5600000065537"
    assert SHOPIFY.whole_id(PRODUCTS, "1") == "gid://shopify/Product/1"
    for other in ("", "x", "-1", "gid://shopify/Order/1", "1/2"):
        assert SHOPIFY.whole_id(ORDERS, other) == other
