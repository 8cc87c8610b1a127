"""TikTok Shop: what only it does, against a shop that moves, judged by the client that others built from its pages."""

# ruff: noqa: S311, S603 - a model's dice need be no secret; starts our own interpreter

import json
import random
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktok_shop_api import TikTokShopAuth, Webhooks
from tiktok_shop_api.generated import models
from tiktok_shop_api.signing import Signer, requires_shop_cipher

from shared.platforms.base import (
    Answer,
    App,
    Callback,
    Connection,
    Delivery,
    Event,
    GrantsByOAuth,
    Http,
    Json,
    ManagesSubscriptions,
    Page,
    PlatformError,
    PlatformName,
    ReceivesWebhooks,
    Record,
    Refusal,
    Resource,
    ShowsNewest,
    SignsWithApp,
    Subscribed,
    Tokens,
    Verdict,
)
from shared.platforms.tiktok_shop import TikTokShop, signature_of
from tests.platforms.conftest import vectors_of

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
TIKTOK = TikTokShop()
APP = App("storelinklocal", "tts_local_secret", "tts_local_previous", {"service_id": "7000000000000000001"})
SECRETS = {"access_token": "GCP_access", "refresh_token": "GCP_refresh", "shop_cipher": "GCP_cipher"}
STORE = Connection("", SECRETS, "7494726673780148744", "USD", app=APP)
URL = "https://hooks.example/webhooks/TIKTOK_SHOP/con_1"
SIGNED = [vector for vector in vectors_of(PlatformName.TIKTOK_SHOP) if vector.kind == "request_sign"]
SPOKEN = ("tts_local_secret", "GCP_access", "GCP_refresh", "GCP_cipher", "one-time-code")
"""What must be in no text of ours."""


def refusal(call: Callable[[], object]) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        call()
    shown = f"{caught.value.detail} {caught.value!r} {''.join(traceback.format_exception_only(caught.value))}"
    assert not any(secret in shown for secret in SPOKEN)
    return caught.value


def reply(data: Any = None, code: int = 0, status: int = 200, message: str = "Success", **headers: str) -> Answer:
    envelope = {"code": code, "message": message, "request_id": "202611221230", "data": data}
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, dumped(envelope))


def dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@dataclass
class Asked:
    """One request, as the platform sees it."""

    method: str
    url: str
    query: dict[str, str]
    headers: dict[str, str]
    content: bytes | None
    repeatable: bool

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def body(self) -> Json:
        return json.loads(self.content or b"{}")


@dataclass
class Scripted:
    """Gives the same answer, or the next of several, and remembers what it was asked."""

    answers: Answer | list[Answer] | Callable[[Asked], Answer]
    asked: list[Asked] = field(default_factory=list)

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
        assert json is None
        assert basic is None
        self.asked.append(Asked(method, url, dict(params or {}), dict(headers or {}), content, repeatable))
        if isinstance(self.answers, Answer):
            return self.answers
        return self.answers(self.asked[-1]) if callable(self.answers) else self.answers.pop(0)


SHOP = {
    "id": "7494726673780148744",
    "name": "Trendy Tees",
    "region": "US",
    "seller_type": "LOCAL",
    "cipher": "GCP_cipher",
    "code": "USLC1",
}
OTHER_SHOP = {**SHOP, "id": "7494726673780148745", "name": "Trendy Mugs", "region": "GB", "cipher": "GCP_other"}


def unit(id: str, **changes: Any) -> Json:
    return {
        "id": id,
        "sku_id": "172901",
        "product_id": "1729",
        "product_name": "Tee",
        "sku_name": "Black, M",
        "seller_sku": "TEE-M",
        "sale_price": "19.90",
        "original_price": "24.90",
        "currency": "USD",
        "display_status": "AWAITING_SHIPMENT",
        **changes,
    }


def order(id: str = "576461413038785752", **changes: Any) -> Json:
    return {
        "id": id,
        "status": "AWAITING_SHIPMENT",
        "create_time": SECONDS - 500,
        "update_time": SECONDS - 400,
        "user_id": "7213489962827123654",
        "buyer_email": "v2b2V4@chat.seller.example",
        "buyer_message": "Gift wrap, please",
        "payment": {"currency": "USD", "sub_total": "39.80", "total_amount": "44.31", "tax": "4.51"},
        "recipient_address": {
            "name": "B***7",
            "phone_number": "(+1)213-***-1234",
            "region_code": "US",
            "postal_code": "95110",
            "address_line1": "17 Fictitious Way",
            "address_line2": "Suite 100",
            "address_line3": "",
            "district_info": [
                {"address_level": "L0", "address_level_name": "Country", "address_name": "United States"},
                {"address_level": "L1", "address_level_name": "State", "address_name": "California"},
                {"address_level": "L2", "address_level_name": "County", "address_name": "Santa Clara"},
                {"address_level": "L3", "address_level_name": "City", "address_name": "San Jose"},
            ],
        },
        "line_items": [unit("1001"), unit("1002")],
        **changes,
    }


def found_product(id: str = "1729", **changes: Any) -> Json:
    """A product as the search shows it."""
    return {
        "id": id,
        "title": "Tee",
        "status": "ACTIVATE",
        "create_time": SECONDS - 9000,
        "update_time": SECONDS - 400,
        "skus": [
            {"id": f"{id}01", "seller_sku": "TEE-M", "price": {"currency": "USD", "tax_exclusive_price": "19.90"}}
        ],
        **changes,
    }


def product(id: str = "1729", **changes: Any) -> Json:
    """The same with its detail."""
    return {
        **found_product(id),
        "main_images": [{"urls": ["https://p16.example/a.jpg"], "thumb_urls": [], "uri": "a", "height": 9, "width": 9}],
        "skus": [
            {
                "id": f"{id}01",
                "seller_sku": "TEE-M",
                "price": {"currency": "USD", "sale_price": "21.90", "tax_exclusive_price": "19.90"},
                "inventory": [{"warehouse_id": "1", "quantity": 3}, {"warehouse_id": "2", "quantity": 4}],
                "sales_attributes": [
                    {"id": "1", "name": "Color", "value_id": "2", "value_name": "Black"},
                    {"id": "3", "name": "Size", "value_id": "4", "value_name": "M"},
                ],
            }
        ],
        **changes,
    }


def fetch_order(row: Json) -> Record:
    return TIKTOK.fetch_one(STORE, Resource.ORDERS, row["id"], Scripted(reply({"orders": [row]})))


def newest(http: Http) -> Sequence[Record]:
    return TIKTOK.newest_orders(STORE, http, NOW)


def fetch_product(row: Json) -> Record:
    return TIKTOK.fetch_one(STORE, Resource.PRODUCTS, row["id"], Scripted(reply(row)))


# What it is


def test_fits_the_protocols_of_its_abilities():
    for protocol in (ShowsNewest, ReceivesWebhooks, SignsWithApp, ManagesSubscriptions, GrantsByOAuth):
        assert isinstance(TIKTOK, protocol)


def test_its_import_costs_the_webhook_receiver_little():
    code = "import sys, shared.platforms.tiktok_shop; print([m for m in %r if m in sys.modules])"
    heavy = ["httpx", "pydantic", "tiktok_shop_api", "boto3", "zoneinfo", "_strptime"]

    shown = subprocess.run([sys.executable, "-c", code % heavy], capture_output=True, text=True, check=True).stdout

    assert shown.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("", ""),
        ("  ", ""),
        ("https://www.tiktok.com/@trendytees", "https://www.tiktok.com/@trendytees"),
        ("www.TikTok.com/@TrendyTees/?lang=en", "https://www.tiktok.com/@TrendyTees"),
        ("tiktok.com", "https://tiktok.com"),
    ],
)
def test_takes_the_shops_page_or_nothing(text, domain):
    assert TIKTOK.normal_domain(text) == domain


@pytest.mark.parametrize(
    "text", ["https://shop.example", "https://nottiktok.com", "https://tiktok.com.example/", "https://tiktok.com:444/",
             "http://www.tiktok.com/@x", "tiktok.com@shop.example"],
)  # fmt: skip
def test_takes_no_other_address(text):
    with pytest.raises(ValueError, match=r"address"):
        TIKTOK.normal_domain(text)


# Signing


@pytest.mark.parametrize("vector", SIGNED, ids=lambda vector: vector.name)
def test_signs_as_the_vectors_do(vector):
    app_secret = vector.secrets[0].partition(":")[2]
    signed = signature_of(
        vector.other["path"],
        vector.other["query"],
        vector.delivery.body,
        app_secret,
        content_type=vector.delivery.headers["content-type"],
    )

    assert (signed == vector.other["expected_sign"]) is vector.is_genuine


words = st.text(st.characters(codec="utf-8"), max_size=20)


@given(
    path=st.lists(st.text("abc019_", min_size=1, max_size=9), max_size=4).map(lambda parts: "/" + "/".join(parts)),
    query=st.dictionaries(words | st.sampled_from(["sign", "access_token", "app_key", "ids"]), words, max_size=8),
    body=words.map(str.encode) | st.dictionaries(words, words).map(dumped),
    secret=words,
    content_type=st.sampled_from(["application/json", "multipart/form-data; boundary=x", "Multipart/Form-Data"]),
)
def test_signs_as_the_client_of_others_does(path, query, body, secret, content_type):
    theirs = Signer.sign(path=path, query=list(query.items()), content_type=content_type, body=body, app_secret=secret)

    assert signature_of(path, query, body, secret, content_type=content_type) == theirs


def test_sends_the_bytes_that_it_signed():
    http = Scripted(reply({"orders": [], "total_count": 0}))

    TIKTOK.fetch(STORE, Resource.ORDERS, None, http, NOW)

    (asked,) = http.asked
    assert asked.method == "POST"
    assert asked.headers == {"x-tts-access-token": "GCP_access", "content-type": "application/json"}
    assert asked.query["app_key"] == "storelinklocal"
    assert asked.query["timestamp"] == str(SECONDS)
    assert asked.query["shop_cipher"] == "GCP_cipher"
    check_signature(asked)


def check_signature(asked: Asked) -> None:
    """What the client of others would have sent."""
    assert asked.query["sign"] == Signer.sign(
        path=asked.path,
        query=list(asked.query.items()),
        content_type=asked.headers["content-type"],
        body=asked.content,
        app_secret=APP.client_secret,
    )
    assert ("shop_cipher" in asked.query) is requires_shop_cipher(asked.method, asked.path)


# Granting


def test_sends_the_seller_to_the_market_of_the_app():
    us = APP._replace(more={"service_id": "7", "market": "US"})

    ours = [
        TIKTOK.authorization_url(app, "", state="a/b c", return_url="https://x.example", challenge="")
        for app in (us, APP._replace(more={"service_id": "7", "market": "GB"}), APP._replace(more={"service_id": "7"}))
    ]

    theirs = TikTokShopAuth("k", "s", "7")
    for url, region in zip(ours, ("us", "row", "row"), strict=True):
        their_url = urlsplit(theirs.authorization_url(type="seller", region=region, state="a/b c"))
        assert urlsplit(url)[:3] == their_url[:3]
        assert parse_qs(urlsplit(url).query) == parse_qs(their_url.query)


def test_without_a_service_id_the_app_is_at_fault():
    error = refusal(lambda: TIKTOK.authorization_url(APP._replace(more={}), "", state="s", return_url="", challenge=""))

    assert error.refusal is Refusal.REQUEST


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ([("code", "one-time-code"), ("state", "s"), ("locale", "en"), ("shop_region", "US")], "one-time-code"),
        ([("code", "null"), ("error", "auth_denied"), ("state", "s")], ""),
        ([("code", "null"), ("state", "s")], ""),
        ([("error", "auth_denied"), ("state", "s"), ("code", "one-time-code")], ""),
        ([("state", "s")], ""),
    ],
)
def test_reads_what_the_browser_brings_back(query, code):
    assert TIKTOK.read_callback(APP, query, NOW) == Callback("s", code)


@pytest.mark.parametrize("query", [[], [("code", "c")], [("state", "")], [("state", "s"), ("state", "s")],
                                   [("state", "s"), ("code", "a"), ("code", "b")]])  # fmt: skip
def test_refuses_a_callback_without_its_state_or_with_two_values(query):
    with pytest.raises(ValueError, match=r"state|twice"):
        TIKTOK.read_callback(APP, query, NOW)


SCOPES = ["seller.authorization.info", "seller.order.info", "seller.product.basic", "seller.finance.info"]


def granted(**changes: Any) -> Json:
    return {
        "access_token": "TTP_a",
        "access_token_expire_in": SECONDS + 604_800,
        "refresh_token": "TTP_r",
        "refresh_token_expire_in": 4_903_858_076,
        "open_id": "7010736057180325637",
        "seller_name": "Trendy Tees",
        "seller_base_region": "US",
        "user_type": 0,
        "granted_scopes": SCOPES,
        **changes,
    }


def exchange(http: Scripted, app: App = APP) -> Tokens:
    return TIKTOK.exchange(app, "", "one-time-code", return_url="", verifier="", http=http, now=NOW)


def refresh(http: Scripted) -> Tokens:
    return TIKTOK.refresh(STORE, http, NOW)


def test_exchanges_a_code_by_one_get_that_is_never_repeated():
    http = Scripted(reply(granted()))

    tokens = exchange(http)

    assert tokens == Tokens(
        "TTP_a", "TTP_r", NOW + timedelta(days=7), datetime.fromtimestamp(4_903_858_076, UTC), never_expires=False
    )
    (asked,) = http.asked
    assert (asked.method, asked.url) == ("GET", "https://auth.tiktok-shops.com/api/v2/token/get")
    assert asked.query == {
        "app_key": "storelinklocal",
        "app_secret": "tts_local_secret",
        "auth_code": "one-time-code",
        "grant_type": "authorized_code",
    }
    assert not asked.repeatable


def test_refreshes_by_one_get_and_takes_whatever_pair_comes_back():
    http = Scripted(reply(granted(refresh_token="GCP_refresh")))

    tokens = refresh(http)

    assert (tokens.access_token, tokens.refresh_token) == ("TTP_a", "GCP_refresh")
    (asked,) = http.asked
    assert (asked.method, asked.url) == ("GET", "https://auth.tiktok-shops.com/api/v2/token/refresh")
    assert asked.query["grant_type"] == "refresh_token"
    assert not asked.repeatable


@pytest.mark.parametrize(
    "value",
    [604_800, SECONDS, SECONDS - 1, SECONDS * 1000, 0, -1, True, None, "1795946400", 1e9, [], {}, 10**11, 10**300,
     float("nan")],
)  # fmt: skip
def test_an_end_that_is_no_point_in_time_ahead_is_not_known_and_loses_no_tokens(value):
    tokens = refresh(Scripted(reply(granted(access_token_expire_in=value, refresh_token_expire_in=value))))

    assert tokens == Tokens("TTP_a", "TTP_r")


@pytest.mark.parametrize("changes", [{"access_token": ""}, {"refresh_token": None}, {"access_token": 7},
                                     {"access_token": "two\nlines"}, {"refresh_token": "é"}])  # fmt: skip
def test_an_answer_without_tokens_is_none_of_the_platforms(changes):
    assert refusal(lambda: refresh(Scripted(reply(granted(**changes))))).refusal is Refusal.NOT_THE_PLATFORM


def test_names_the_scopes_that_are_missing():
    error = refusal(lambda: exchange(Scripted(reply(granted(granted_scopes=SCOPES[:1])))))

    assert error.refusal is Refusal.PERMISSION
    assert "seller.order.info, seller.product.basic" in error.detail


def test_the_needed_scopes_can_be_set_and_need_not_be_told():
    more = {"service_id": "7", "scopes": "seller.order.info, seller.other"}

    assert "seller.other" in refusal(lambda: exchange(Scripted(reply(granted())), APP._replace(more=more))).detail
    assert exchange(Scripted(reply(granted(granted_scopes=None))))


def test_a_creators_grant_is_refused():
    assert refusal(lambda: exchange(Scripted(reply(granted(user_type=1))))).refusal is Refusal.PERMISSION


@pytest.mark.parametrize("call", [exchange, refresh])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(None, 36004004, message="invalid auth code"), Refusal.CREDENTIALS),
        (reply(None, 36004005, message="can not find related auth record"), Refusal.CREDENTIALS),
        (reply(None, 36004001, 401, message="rt has expired"), Refusal.CREDENTIALS),
        (reply(None, 36004099, message="refresh token has been revoked"), Refusal.CREDENTIALS),
        (reply(None, 36009004, message="Invalid credentials. Invalid app_key query parameter."), Refusal.REQUEST),
        (reply(None, 36004002, message="invalid auth code: the app_secret is another"), Refusal.REQUEST),
        (reply(None, 36009033, message="Access denied."), Refusal.REQUEST),
        (reply(None, 36009002), Refusal.RATE_LIMITED),
        (reply(None, 36009003, 500), Refusal.TRANSIENT),
        (reply(None, 99, 401), Refusal.TRANSIENT),
        (reply(None, 99), Refusal.TRANSIENT),
        (reply(None, 0, 403), Refusal.TRANSIENT),
        (Answer(502, {}, b"<html>"), Refusal.TRANSIENT),
        (Answer(429, {}, b""), Refusal.RATE_LIMITED),
        (Answer(404, {}, b"404 page not found"), Refusal.NOT_THE_PLATFORM),
        (Answer(200, {}, b"<html>"), Refusal.NOT_THE_PLATFORM),
        (Answer(200, {}, b""), Refusal.NOT_THE_PLATFORM),
        (Answer(200, {}, b'{"code":"0"}'), Refusal.NOT_THE_PLATFORM),
        (Answer(200, {}, b'{"code":true}'), Refusal.NOT_THE_PLATFORM),
        (reply(None), Refusal.NOT_THE_PLATFORM),
        (reply([]), Refusal.NOT_THE_PLATFORM),
    ],
)
def test_only_a_dead_grant_calls_for_a_person(call, answer, expected):
    http = Scripted(answer)

    assert refusal(lambda: call(http)).refusal is expected
    assert len(http.asked) == 1


def test_no_text_of_ours_repeats_what_the_platform_repeats():
    echo = "bad app_secret tts_local_secret for GCP_refresh and one-time-code"

    for code in (36004004, 36009004, 99, 105002):
        for call in (exchange, refresh, lambda http: TIKTOK.probe(STORE, http)):
            refusal(partial(call, Scripted(reply(None, code, message=echo))))


def test_without_app_or_tokens_nothing_is_asked():
    http = Scripted([])

    assert refusal(lambda: TIKTOK.refresh(STORE._replace(app=None), http, NOW)).refusal is Refusal.REQUEST
    assert refusal(lambda: TIKTOK.refresh(STORE._replace(credentials={}), http, NOW)).refusal is Refusal.CREDENTIALS
    for credentials in ({}, {"access_token": "a\nb"}, {"access_token": "é"}, {"access_token": "a"}):
        store = STORE._replace(credentials=credentials)
        error = refusal(partial(TIKTOK.fetch, store, Resource.ORDERS, None, http, NOW))
        assert error.refusal is Refusal.CREDENTIALS
    assert not http.asked


# The shops of a grant


def shops(*rows: Json) -> Scripted:
    models.GetAuthorizedShopsResponse.from_dict(json.loads(reply({"shops": list(rows)}).body))
    return Scripted(reply({"shops": list(rows)}))


def test_lists_the_shops_of_a_grant_with_their_ciphers():
    http = shops(SHOP, OTHER_SHOP)

    first, second = TIKTOK.stores_of(STORE._replace(domain="https://www.tiktok.com/@x"), http)

    assert (first.store_id, first.store_name, first.currency, first.timezone) == (
        SHOP["id"],
        "Trendy Tees",
        "USD",
        None,
    )
    assert first.credentials == {"shop_cipher": "GCP_cipher"}
    assert first.domain == "https://www.tiktok.com/@x"
    assert second.currency == "GBP"
    check_signature(http.asked[0])


def test_an_unknown_region_has_no_currency():
    assert TIKTOK.probe(STORE, shops({**SHOP, "region": "XX"})).currency is None


def test_a_probe_finds_the_shop_of_the_store_among_several():
    assert TIKTOK.probe(STORE, shops(OTHER_SHOP, SHOP)).store_id == STORE.store_id


def test_a_probe_takes_the_only_shop():
    assert TIKTOK.probe(STORE._replace(store_id=""), shops(OTHER_SHOP)).store_id == OTHER_SHOP["id"]


def test_a_probe_says_when_the_grant_is_not_for_the_shop():
    error = refusal(lambda: TIKTOK.probe(STORE, shops(OTHER_SHOP)))

    assert error.refusal is Refusal.PERMISSION
    assert STORE.store_id in error.detail


def test_a_probe_asks_for_the_store_id_where_there_are_several():
    error = refusal(lambda: TIKTOK.probe(STORE._replace(store_id=""), shops(SHOP, OTHER_SHOP)))

    assert error.refusal is Refusal.REQUEST
    assert "storeId" in error.detail
    assert f"{SHOP['id']} (Trendy Tees), {OTHER_SHOP['id']} (Trendy Mugs)" in error.detail


def test_a_grant_for_no_shop_permits_nothing():
    assert refusal(lambda: TIKTOK.probe(STORE._replace(store_id=""), shops())).refusal is Refusal.PERMISSION


@pytest.mark.parametrize("data", [{}, {"shops": None}, {"shops": {}}, {"shops": [1]}, {"shops": [{}]},
                                  {"shops": [{**SHOP, "id": ""}]}, {"shops": [{**SHOP, "cipher": None}]}])  # fmt: skip
def test_shops_that_cannot_be_read_are_no_shops(data):
    assert refusal(lambda: TIKTOK.probe(STORE, Scripted(reply(data)))).refusal is Refusal.NOT_THE_PLATFORM


# Refusals


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(None, 105002, 401, message="Expired credentials."), Refusal.CREDENTIALS),
        (reply(None, 105002), Refusal.CREDENTIALS),
        (reply(None, 105001, 401), Refusal.CREDENTIALS),
        (reply(None, 101000, 400), Refusal.CREDENTIALS),
        (reply(None, 36009004, message="The `x-tts-access-token` header is invalid."), Refusal.CREDENTIALS),
        (reply(None, 105005, message="Access denied."), Refusal.PERMISSION),
        (reply(None, 7, 403), Refusal.PERMISSION),
        (reply(None, 7, 401), Refusal.CREDENTIALS),
        (reply(None, 106001, 401, message="The `sign` query parameter is invalid."), Refusal.REQUEST),
        (reply(None, 106013), Refusal.REQUEST),
        (reply(None, 36009004, message="Invalid timestamp."), Refusal.REQUEST),
        (reply(None, 36009033), Refusal.REQUEST),
        (reply(None, 36009009, 404, message="Invalid path."), Refusal.REQUEST),
        (reply(None, 12345678), Refusal.REQUEST),
        (reply(None, 36009002, 429), Refusal.RATE_LIMITED),
        (reply(None, 36009002), Refusal.RATE_LIMITED),
        (Answer(429, {}, b"slow down"), Refusal.RATE_LIMITED),
        (reply(None, 36009003), Refusal.TRANSIENT),
        (reply(None, 36009007, 408), Refusal.TRANSIENT),
        (reply(None, 7, 503), Refusal.TRANSIENT),
        (reply({"orders": []}, 0, 500), Refusal.TRANSIENT),
        (Answer(503, {}, b"<html>"), Refusal.TRANSIENT),
        (Answer(404, {}, b"<html>"), Refusal.NOT_THE_PLATFORM),
        (Answer(403, {}, b"<html>"), Refusal.NOT_THE_PLATFORM),
        (Answer(200, {}, b"<html>"), Refusal.NOT_THE_PLATFORM),
        (Answer(200, {}, b""), Refusal.NOT_THE_PLATFORM),
        (Answer(200, {}, b"[" * 100_000), Refusal.NOT_THE_PLATFORM),
        (Answer(200, {}, b"\xff\xfe"), Refusal.NOT_THE_PLATFORM),
        (Answer(200, {}, b'{"code":0,"data":{"n":' + b"9" * 5000 + b"}}"), Refusal.NOT_THE_PLATFORM),
        (Answer(200, {}, b'{"data":{"orders":[]}}'), Refusal.NOT_THE_PLATFORM),
        (reply(None), Refusal.NOT_THE_PLATFORM),
        (reply({"total_count": 3}), Refusal.NOT_THE_PLATFORM),
        (reply({"orders": [3]}), Refusal.NOT_THE_PLATFORM),
    ],
)
def test_a_refusal_is_told_from_the_code_the_message_and_the_status(answer, expected):
    assert refusal(lambda: TIKTOK.fetch(STORE, Resource.ORDERS, None, Scripted(answer), NOW)).refusal is expected
    assert refusal(lambda: newest(Scripted(answer))).refusal is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("7", NOW + timedelta(seconds=7)),
        ("999999999", NOW + timedelta(days=1)),
        ("Sun, 22 Nov 2026 12:31:00 GMT", NOW + timedelta(minutes=1)),
        ("soon", None),
        ("9" * 5000, None),
        ("²", None),
        ("", None),
    ],
)
def test_waits_as_long_as_it_is_told(header, expected):
    answer = reply(None, 36009002, 429, retry_after=header)

    assert refusal(lambda: TIKTOK.fetch(STORE, Resource.ORDERS, None, Scripted(answer), NOW)).retry_at == expected
    assert refusal(lambda: newest(Scripted(answer))).retry_at == expected


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=9) | st.just("1729"),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["orders", "products", "shops", "webhooks", "id", "status", "total_count", "next_page_token", "payment",
             "currency", "total_amount", "create_time", "update_time", "line_items", "skus", "price", "main_images",
             "urls", "recipient_address", "district_info", "inventory", "quantity", "cipher", "event_type", "address"]
        ),
        inner,
        max_size=6,
    ),
    max_leaves=25,
)  # fmt: skip
envelopes = st.builds(
    lambda data, code, message: {"code": code, "message": message, "data": data},
    anything,
    st.just(0) | st.sampled_from([0, 105002, 36009004, 12052032]) | anything,
    anything,
)
answers = st.builds(
    lambda status, value: Answer(status, {}, json.dumps(value).encode()),
    st.sampled_from([200, 200, 200, 201, 400, 401, 403, 404, 429, 500]),
    envelopes | anything,
)


@given(answer=answers)
@settings(max_examples=300)
def test_whatever_is_answered_gives_records_or_a_refusal(answer):
    calls: list[Callable[[Scripted], object]] = [
        lambda http: TIKTOK.probe(STORE, http),
        refresh,
        lambda http: TIKTOK.reconcile(STORE, URL, "", http),
        lambda http: Page(newest(http), {}, done=True),
        *(lambda http, r=resource: TIKTOK.fetch(STORE, r, None, http, NOW) for resource in Resource),
        *(lambda http, r=resource: TIKTOK.list_ids(STORE, r, None, http, NOW) for resource in Resource),
        *(lambda http, r=resource: TIKTOK.fetch_one(STORE, r, "1729", http) for resource in Resource),
    ]
    for call in calls:
        try:
            result = call(Scripted(answer))
        except PlatformError as error:
            error.detail.encode()
        else:
            if isinstance(result, Page):
                json.dumps([record.body for record in result.records], allow_nan=False, ensure_ascii=False).encode()
                json.dumps(result.cursor, allow_nan=False).encode()


# Orders


def test_an_order_is_mapped():
    record = fetch_order(order())

    assert record.updated_at == NOW - timedelta(seconds=400)
    assert record.created_at == NOW - timedelta(seconds=500)
    assert record.body == {
        "id": "576461413038785752",
        "number": "576461413038785752",
        "status": "paid",
        "platformStatus": "AWAITING_SHIPMENT",
        "total": "44.31",
        "currency": "USD",
        "lines": [
            {
                "id": "1001",
                "productId": "1729",
                "variantId": "172901",
                "title": "Tee",
                "sku": "TEE-M",
                "quantity": 2,
                "unitPrice": "19.90",
                "total": "39.80",
                "properties": [
                    {"name": "line_item_ids", "value": "1001,1002"},
                    {"name": "sku_name", "value": "Black, M"},
                ],
            }
        ],
        "customer": {"id": "7213489962827123654", "name": "B***7", "email": "v2b2V4@chat.seller.example"},
        "shippingAddress": {
            "name": "B***7",
            "company": None,
            "line1": "17 Fictitious Way",
            "line2": "Suite 100",
            "city": "San Jose",
            "region": "California",
            "postalCode": "95110",
            "country": "US",
            "phone": "(+1)213-***-1234",
        },
        "note": "Gift wrap, please",
        "fees": [],
        "createdAt": "2026-11-22T12:21:40Z",
        "updatedAt": "2026-11-22T12:23:20Z",
    }


def test_an_order_is_looked_up_at_its_detail():
    http = Scripted(reply({"orders": [order()]}))

    TIKTOK.fetch_one(STORE, Resource.ORDERS, order()["id"], http)

    (asked,) = http.asked
    assert (asked.method, asked.path, asked.query["ids"]) == ("GET", "/order/202507/orders", order()["id"])
    assert models.GetOrderDetailResponse.from_dict(json.loads(reply({"orders": [order()]}).body)).data.orders[0].id
    check_signature(asked)


@pytest.mark.parametrize(
    ("word", "status"),
    [("UNPAID", "pending"), ("ON_HOLD", "pending"), ("AWAITING_SHIPMENT", "paid"), ("AWAITING_COLLECTION", "paid"),
     ("PARTIALLY_SHIPPING", "partly_shipped"), ("IN_TRANSIT", "completed"), ("DELIVERED", "completed"),
     ("COMPLETED", "completed"), ("CANCELLED", "cancelled"), ("CANCEL", "cancelled"), ("NEW_WORD", "other")],
)  # fmt: skip
def test_an_orders_status_keeps_the_platforms_word(word, status):
    body = fetch_order(order(status=word)).body

    assert (body["status"], body["platformStatus"]) == (status, word)


def test_a_cancelled_unit_was_not_bought_and_leaves_its_line_its_id():
    units = [unit("1001", display_status="CANCELLED"), unit("1002"), unit("1003"), unit("1004", sku_id="9")]
    units[3]["display_status"] = "CANCELLED"

    (line,) = fetch_order(order(line_items=units)).body["lines"]

    assert (line["id"], line["quantity"], line["total"]) == ("1001", 2, "39.80")
    assert line["properties"][0]["value"] == "1002,1003"


def test_a_cancelled_order_still_shows_what_was_ordered():
    units = [unit("1001", display_status="CANCELLED"), unit("1002", display_status="CANCELLED")]

    body = fetch_order(order(status="CANCELLED", line_items=units)).body

    assert body["status"] == "cancelled"
    assert [line["quantity"] for line in body["lines"]] == [2]


def test_units_that_were_customised_differently_are_lines_of_their_own():
    units = [
        unit("1001", is_pod_customized=True, pod_info_id="p1"),
        unit("1002", is_pod_customized=True, pod_info_id="p2"),
        unit("1003", is_pod_customized=True, pod_info_id="p1"),
        unit("1004", is_gift=True),
        unit("1005", combined_listing_skus=[{"sku_id": "5", "sku_count": 2}]),
    ]

    lines = fetch_order(order(line_items=units)).body["lines"]

    assert [(line["id"], line["quantity"]) for line in lines] == [("1001", 2), ("1002", 1), ("1004", 1), ("1005", 1)]
    assert {"name": "pod_info_id", "value": "p2"} in lines[1]["properties"]
    assert {"name": "is_gift", "value": "true"} in lines[2]["properties"]
    assert {"name": "combined_listing_skus", "value": "5 x 2"} in lines[3]["properties"]


units_of_an_order = st.lists(
    st.builds(
        lambda sku, price, status, pod: {
            "sku_id": sku,
            "sale_price": price,
            "display_status": status,
            "pod_info_id": pod,
        },
        st.sampled_from(["11", "12", "13"]),
        st.decimals("0", "999", places=2).map(str),
        st.sampled_from(["AWAITING_SHIPMENT", "IN_TRANSIT", "CANCELLED", "CANCEL"]),
        st.sampled_from(["", "p1"]),
    ),
    max_size=12,
)


@given(kinds=units_of_an_order, seed=st.integers(0, 99))
def test_lines_add_up_to_the_units_that_live(kinds, seed):
    units = [unit(str(1000 + number), **kind) for number, kind in enumerate(kinds)]
    shuffled = random.Random(seed).sample(units, len(units))

    lines = fetch_order(order(line_items=units)).body["lines"]

    live = [each for each in units if each["display_status"] not in {"CANCELLED", "CANCEL"}]
    assert sum(line["quantity"] for line in lines) == len(live)
    assert sum(Decimal(line["total"]) for line in lines) == sum(Decimal(each["sale_price"]) for each in live)
    named = [id for line in lines for id in line["properties"][0]["value"].split(",")]
    assert sorted(named) == sorted(each["id"] for each in live)
    assert len({line["id"] for line in lines}) == len(lines)
    assert lines == fetch_order(order(line_items=shuffled)).body["lines"]


@pytest.mark.parametrize(
    "changes",
    [{"id": 7.5}, {"status": None}, {"payment": None}, {"payment": {"currency": "USD", "total_amount": "NaN"}},
     {"payment": {"currency": "US", "total_amount": "1"}}, {"payment": {"currency": "USD", "total_amount": "1E9"}},
     {"line_items": [{}]}, {"line_items": [unit("1", sale_price="")]},
     {"create_time": 0, "update_time": SECONDS * 1000}],
)  # fmt: skip
def test_an_order_that_cannot_be_read_does_not_stop_the_others(changes):
    rows = [{**order(), **changes}, order("5")]
    http = Scripted(reply({"orders": rows, "total_count": 2}))

    page = TIKTOK.fetch(STORE, Resource.ORDERS, None, http, NOW)

    assert [record.id for record in page.records] == ["5"]
    assert "Not understood: orders" in page.partial
    assert page.done


def test_an_order_without_address_or_buyer_has_none():
    body = fetch_order(order(recipient_address=None, user_id="", buyer_email=None)).body

    assert (body["customer"], body["shippingAddress"]) == (None, None)


def test_a_british_address_has_its_post_town():
    address = {"name": "B", "post_town": "Ribbleton", "address_detail": "Unit 1", "region_code": "GB"}

    shown = fetch_order(order(recipient_address=address)).body["shippingAddress"]

    assert (shown["city"], shown["line1"], shown["region"]) == ("Ribbleton", "Unit 1", None)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply({"orders": []}), Refusal.NOT_FOUND),
        (
            reply(None, 21008111, message="The order or package does not belong to the current seller."),
            Refusal.NOT_FOUND,
        ),
        (reply(None, 21099999, message="The order does not exist or order not found"), Refusal.NOT_FOUND),
        (reply({}), Refusal.NOT_THE_PLATFORM),
        (reply({"orders": [order("5")]}), Refusal.NOT_THE_PLATFORM),
        (reply({"orders": [order("7", payment=None)]}), Refusal.NOT_UNDERSTOOD),
        (reply(None, 36009009, 404, message="Invalid path: order not found"), Refusal.NOT_FOUND),
        (reply(None, 105999, 404, message="order not found"), Refusal.REQUEST),
    ],
)
def test_only_the_platform_says_that_an_order_is_gone(answer, expected):
    error = refusal(lambda: TIKTOK.fetch_one(STORE, Resource.ORDERS, "7", Scripted(answer)))

    assert error.refusal is expected


@pytest.mark.parametrize("id", ["", "0", "-1", "1/../2", "a", "1" * 21, "1,2"])
@pytest.mark.parametrize("resource", Resource)
def test_what_is_no_id_is_not_asked_for(resource, id):
    assert refusal(lambda: TIKTOK.fetch_one(STORE, resource, id, Scripted([]))).refusal is Refusal.NOT_FOUND


# Products


def test_a_product_is_mapped():
    models.GetProductResponse.from_dict(json.loads(reply(product()).body))

    record = fetch_product(product())

    assert record.body == {
        "id": "1729",
        "title": "Tee",
        "status": "active",
        "platformStatus": "ACTIVATE",
        "price": "21.90",
        "currency": "USD",
        "sku": "TEE-M",
        "imageUrl": "https://p16.example/a.jpg",
        "url": None,
        "variants": [
            {
                "id": "172901",
                "title": "Black, M",
                "sku": "TEE-M",
                "price": "21.90",
                "inventoryQuantity": 7,
                "attributes": {"Color": "Black", "Size": "M"},
            }
        ],
        "createdAt": "2026-11-22T10:00:00Z",
        "updatedAt": "2026-11-22T12:23:20Z",
    }


@pytest.mark.parametrize(
    ("word", "status"),
    [("ACTIVATE", "active"), ("DRAFT", "draft"), ("PENDING", "draft"), ("FAILED", "draft"), ("SCHEDULED", "draft"),
     ("SELLER_DEACTIVATED", "inactive"), ("PLATFORM_DEACTIVATED", "inactive"), ("FREEZE", "inactive"),
     ("NEW_WORD", "other")],
)  # fmt: skip
def test_a_products_status_keeps_the_platforms_word(word, status):
    body = fetch_product(product(status=word)).body

    assert (body["status"], body["platformStatus"]) == (status, word)


def test_a_product_of_tokopedia_has_its_status_there():
    body = fetch_product(product(status=None, integrated_platform_statuses=[{"status": "ACTIVATE"}])).body

    assert (body["status"], body["platformStatus"]) == ("active", "ACTIVATE")


def test_a_product_without_variants_or_images_has_none():
    body = fetch_product(product(skus=None, main_images=[{"urls": [None]}])).body

    assert (body["variants"], body["price"], body["imageUrl"], body["currency"]) == ([], None, None, None)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(product(status="DELETED")), Refusal.NOT_FOUND),
        (reply(None, 12019150, message="The product ID does not exist."), Refusal.NOT_FOUND),
        (reply(product("5")), Refusal.NOT_THE_PLATFORM),
        (reply({}), Refusal.NOT_THE_PLATFORM),
        (reply({**product(), "skus": [{}]}), Refusal.NOT_UNDERSTOOD),
    ],
)
def test_only_the_platform_says_that_a_product_is_gone(answer, expected):
    error = refusal(lambda: TIKTOK.fetch_one(STORE, Resource.PRODUCTS, "1729", Scripted(answer)))

    assert error.refusal is expected


def test_products_are_detailed_in_order_and_what_is_deleted_left_out():
    rows = [found_product("3"), found_product("2", status="DELETED"), found_product("1"), found_product("4")]
    found = {"products": rows, "total_count": 4, "next_page_token": ""}

    def answered(asked: Asked) -> Answer:
        if asked.method == "POST":
            models.SearchProductsResponse.from_dict(json.loads(reply(found).body))
            return reply(found)
        id = asked.path.rpartition("/")[2]
        return reply(None, 12052032) if id == "4" else reply(product(id))

    http = Scripted(answered)
    page = TIKTOK.fetch(STORE, Resource.PRODUCTS, None, http, NOW)

    assert [asked.path.rpartition("/")[2] for asked in http.asked] == ["search", "3", "1", "4"]
    assert [record.id for record in page.records] == ["3", "1"]
    assert (page.done, page.partial, page.ready_at) == (True, None, None)


def test_a_detail_that_is_no_answer_leaves_out_one_product_and_says_so():
    found = {"products": [found_product("1"), found_product("2")], "total_count": 2}
    answers = [reply(found), Answer(200, {}, b"<html>"), reply(product("2"))]

    page = TIKTOK.fetch(STORE, Resource.PRODUCTS, None, Scripted(answers), NOW)

    assert [record.id for record in page.records] == ["2"]
    assert page.partial == "Not understood: products 1."


def test_a_detail_that_fails_for_now_stops_the_page():
    answers = [reply({"products": [found_product("1")]}), Answer(502, {}, b"")]

    error = refusal(lambda: TIKTOK.fetch(STORE, Resource.PRODUCTS, None, Scripted(answers), NOW))

    assert error.refusal is Refusal.TRANSIENT


# Paging


@dataclass
class Market:
    """A shop whose rows change while they are read. Its page tokens are offsets, which is the worst there is."""

    resource: Resource
    rows: dict[str, Json]
    now: datetime = NOW
    busy: Callable[["Market"], None] = lambda market: None
    asked: list[Asked] = field(default_factory=list)
    expired: set[str] = field(default_factory=set)
    most: int = 0

    def request(self, method: str, url: str, **options: Any) -> Answer:
        http = Scripted(self._answer)
        answer = http.request(method, url, **options)
        self.asked += http.asked
        self.busy(self)
        return answer

    def _answer(self, asked: Asked) -> Answer:
        check_signature(asked)
        if asked.path.startswith("/product/202309/products/"):
            return reply(product(**self.rows[asked.path.rpartition("/")[2]]))
        return reply(None, 36009004, message="page_token") if self._is_expired(asked) else self._search(asked)

    def _is_expired(self, asked: Asked) -> bool:
        token = asked.query.get("page_token", "")
        if token in self.expired:
            self.expired.discard(token)
            return True
        return False

    def _search(self, asked: Asked) -> Answer:
        found = [row for row in self.rows.values() if matches(row, asked.body)]
        if "sort_field" in asked.query:
            is_descending = {"ASC": False, "DESC": True}[asked.query["sort_order"]]
            found.sort(key=lambda row: row[asked.query["sort_field"]], reverse=is_descending)
        size = int(asked.query["page_size"])
        assert 1 <= size <= 100
        begin = int(asked.query.get("page_token", "0"))
        rows = found[begin : begin + size]
        self.most = max(self.most, begin + size)
        data: Json = {self.resource.value: rows, "total_count": len(found)}
        data["next_page_token"] = str(begin + size) if begin + size < len(found) else ""
        answer = reply(data)
        model = models.SearchProductsResponse if self.resource is Resource.PRODUCTS else models.GetOrderListResponse
        model.from_dict(json.loads(answer.body))
        return answer

    def touch(self, id: str) -> None:
        self.rows[id]["update_time"] = int(self.now.timestamp())


def matches(row: Json, body: Json) -> bool:
    for name, limit in body.items():
        field_name, _, comparison = name.rpartition("_")
        if comparison == "ge" and row[field_name] < limit:
            return False
        if comparison == "le" and row[field_name] > limit:
            return False
        if comparison == "lt" and row[field_name] >= limit:
            return False
    return True


def market(resource: Resource, times: list[int]) -> Market:
    make = order if resource is Resource.ORDERS else found_product
    rows = {
        str(1000 + number): make(str(1000 + number), create_time=time, update_time=time)
        for number, time in enumerate(times)
    }
    return Market(resource, rows)


def pages(shop: Market, cursor: Json | None = None) -> Iterator[Page]:
    """A whole cycle."""
    for _ in range(5_000):
        page = TIKTOK.fetch(STORE, shop.resource, cursor, shop, shop.now)
        assert page.done or page.cursor != cursor
        cursor = json.loads(json.dumps(page.cursor))
        yield page
        if page.done:
            return
    raise AssertionError("the cycle has no end")


def kept(shop: Market, cursor: Json | None = None) -> tuple[dict[str, Record], Json]:
    """What a store has after a cycle: the newest of each record."""
    have: dict[str, Record] = {}
    page = None
    for page in pages(shop, cursor):
        assert page.partial is None
        for record in page.records:
            if record.id not in have or have[record.id].updated_at <= record.updated_at:
                have[record.id] = record
    assert page is not None
    return have, page.cursor


def test_the_newest_orders_come_by_one_search_the_last_created_first():
    shop = market(Resource.ORDERS, [SECONDS - 60 * number for number in range(130)])
    for row in shop.rows.values():
        row["update_time"] = SECONDS - 1

    found = newest(shop)

    assert [record.id for record in found] == list(shop.rows)[:100]
    assert [record for page in pages(shop) for record in page.records if record.id == "1000"] == [found[0]]
    assert [asked.path for asked in shop.asked][:1] == ["/order/202309/orders/search"]


def test_a_shop_without_orders_has_no_newest():
    assert newest(Scripted(reply({"total_count": 0}))) == []


def test_one_of_the_newest_that_cannot_be_read_is_left_out():
    rows = [order("3"), order("2", payment=None), order("1")]

    assert [record.id for record in newest(Scripted(reply({"orders": rows})))] == ["3", "1"]


@pytest.mark.parametrize("resource", Resource)
def test_a_first_cycle_reads_every_row_once(resource):
    dice = random.Random(7)
    shop = market(resource, [SECONDS - dice.randrange(90_000_000) for _ in range(700)])

    seen = [record.id for page in pages(shop) for record in page.records]

    assert sorted(seen) == sorted(shop.rows)
    assert shop.most <= 100


@pytest.mark.parametrize("resource", Resource)
def test_rows_of_one_second_are_read_with_page_tokens(resource):
    shop = market(resource, [SECONDS - 5_000] * 330 + [SECONDS - 4_999] * 3)

    have, _ = kept(shop)

    assert have.keys() == shop.rows.keys()


def test_a_quiet_cycle_asks_once_and_reaches_back_behind_the_one_before():
    shop = market(Resource.ORDERS, [SECONDS - 900, SECONDS - 30])
    _, cursor = kept(shop)
    shop.asked.clear()
    shop.now = NOW + timedelta(minutes=5)

    (page,) = pages(shop, cursor)

    (asked,) = shop.asked
    assert asked.body == {"update_time_ge": SECONDS - 600, "update_time_lt": SECONDS + 300}
    assert (asked.query["sort_field"], asked.query["sort_order"]) == ("update_time", "ASC")
    assert [record.id for record in page.records] == ["1001"]
    assert page.cursor == {"begin": SECONDS - 300}


def test_the_window_of_a_cycle_ends_at_its_own_start():
    shop = market(Resource.ORDERS, [SECONDS - number for number in range(1, 400)])
    shop.busy = lambda moved: setattr(moved, "now", moved.now + timedelta(minutes=3))

    ends = {asked.body["update_time_lt"] for page in pages(shop) for asked in shop.asked if page}

    assert max(ends) == SECONDS


@given(seed=st.integers(0, 10_000), resource=st.sampled_from(list(Resource)), spread=st.sampled_from([1, 30, 90_000]))
@settings(max_examples=40, deadline=None)
def test_nothing_is_missed_however_rows_move_while_they_are_read(seed, resource, spread):
    dice = random.Random(seed)
    shop = market(resource, [SECONDS - 1_000 - dice.randrange(spread) for _ in range(dice.randrange(20, 320))])

    def move(moved: Market) -> None:
        moved.now += timedelta(seconds=dice.randrange(1, 4))
        for id in dice.sample(sorted(moved.rows), dice.randrange(4)):
            moved.touch(id)

    shop.busy = move
    have, cursor = kept(shop)
    shop.busy = lambda _: None
    shop.now += timedelta(seconds=1)
    later, _ = kept(shop, cursor)
    have |= later

    assert {id: int(record.updated_at.timestamp()) for id, record in have.items()} == {
        id: row["update_time"] for id, row in shop.rows.items()
    }


def test_rows_beyond_the_window_are_taken_as_they_are():
    row = order(update_time=SECONDS + 60)

    page = TIKTOK.fetch(STORE, Resource.ORDERS, None, Scripted(reply({"orders": [row], "total_count": 1})), NOW)

    assert page.records[0].updated_at == NOW + timedelta(minutes=1)
    assert page.cursor == {"begin": SECONDS - 600}


def test_an_expired_page_token_begins_the_second_again():
    shop = market(Resource.ORDERS, [SECONDS - 5_000] * 250)
    shop.expired = {"100", "200"}

    have, _ = kept(shop)

    assert have.keys() == shop.rows.keys()
    assert not shop.expired


def second(**changes: Any) -> Json:
    return {"begin": SECONDS - 50, "end": SECONDS - 49, "width": 1, **changes}


def test_a_token_that_is_always_refused_is_an_error_in_the_end():
    cursor: Json = second(token="x", pages=1)
    http = Scripted(reply(None, 36009004, message="page_token"))

    for _ in range(20):
        page = TIKTOK.fetch(STORE, Resource.ORDERS, cursor, http, NOW)
        cursor = {**page.cursor, "token": "x"}

    assert refusal(lambda: TIKTOK.fetch(STORE, Resource.ORDERS, cursor, http, NOW)).refusal is Refusal.REQUEST


def test_a_page_token_that_comes_again_is_an_error():
    http = Scripted(reply({"orders": [order()], "next_page_token": "x", "total_count": 300}))

    error = refusal(lambda: TIKTOK.fetch(STORE, Resource.ORDERS, second(token="x"), http, NOW))

    assert error.refusal is Refusal.NOT_THE_PLATFORM


def test_pages_without_end_are_an_error():
    error = refusal(lambda: TIKTOK.fetch(STORE, Resource.ORDERS, second(token="x", pages=10_001), Scripted([]), NOW))

    assert error.refusal is Refusal.NOT_THE_PLATFORM


def test_a_second_whose_rows_never_rest_is_said_to_be_incomplete():
    cursor = second(token="x", total=200, seen=100, pages=1, again=20)
    http = Scripted(reply({"orders": [order()], "next_page_token": "", "total_count": 190}))

    page = TIKTOK.fetch(STORE, Resource.ORDERS, cursor, http, NOW)

    assert page.partial
    assert page.done


@pytest.mark.parametrize("total", [None, -1, "9", 0, 10**300])
def test_a_last_page_may_have_a_token_and_any_total(total):
    """A count that cannot be is no count; one that is too high only makes windows narrower."""
    data = {"orders": [], "next_page_token": "x", "total_count": total}

    page = TIKTOK.fetch(STORE, Resource.ORDERS, None, Scripted(reply(data)), NOW)

    assert page.done


def test_a_clock_that_went_back_leaves_a_window():
    http = Scripted(reply({"orders": [], "total_count": 0}))

    page = TIKTOK.fetch(STORE, Resource.ORDERS, {"begin": SECONDS + 5_000}, http, NOW)

    assert page.done
    assert http.asked[0].body == {"update_time_ge": SECONDS + 5_000, "update_time_lt": SECONDS + 5_001}


# Ids


def ids_of(shop: Market) -> tuple[list[str], set[datetime | None]]:
    found: list[str] = []
    since = set()
    cursor, done = None, False
    while not done:
        page = TIKTOK.list_ids(STORE, shop.resource, cursor, shop, shop.now)
        found += page.ids
        since.add(page.since)
        cursor, done = json.loads(json.dumps(page.cursor)), page.done
    return found, since


def test_all_products_that_are_not_deleted_are_listed():
    shop = market(Resource.PRODUCTS, [SECONDS - 40_000 * number for number in range(1, 900)])
    shop.rows["1005"]["status"] = "DELETED"

    found, since = ids_of(shop)

    assert sorted(found) == sorted(shop.rows.keys() - {"1005"})
    assert since == {None}
    assert shop.most <= 100


def test_orders_of_thirty_days_are_listed_and_the_list_says_so():
    shop = market(Resource.ORDERS, [SECONDS - 20_000 * number for number in range(1, 400)])
    shop.busy = lambda moved: setattr(moved, "now", moved.now + timedelta(minutes=1))

    found, since = ids_of(shop)

    limit = NOW - timedelta(days=30)
    assert since == {limit}
    assert sorted(found) == sorted(id for id, row in shop.rows.items() if row["create_time"] >= limit.timestamp())


def test_a_listed_row_without_an_id_is_none_of_the_platforms():
    http = Scripted(reply({"orders": [{}], "total_count": 1}))

    assert refusal(lambda: TIKTOK.list_ids(STORE, Resource.ORDERS, None, http, NOW)).refusal is Refusal.NOT_THE_PLATFORM


def test_a_listing_begins_a_second_again_where_its_token_is_refused():
    http = Scripted(reply(None, 36009004, message="page_token"))

    page = TIKTOK.list_ids(STORE, Resource.PRODUCTS, second(token="x"), http, NOW)

    assert (page.ids, page.done, page.cursor) == ([], False, second(again=1))


# Webhooks


def delivery(type: Any, data: Any, path_topic: str = "", **more: Any) -> Delivery:
    body = {"type": type, "tts_notification_id": "7327112393057371910", "shop_id": "7494726673780148744",
            "timestamp": SECONDS, "data": data, **more}  # fmt: skip
    return Delivery({}, json.dumps(body).encode(), path_topic)


def test_the_secrets_of_an_app_are_its_key_with_the_current_and_the_previous_secret():
    assert TIKTOK.app_secrets(APP) == ["storelinklocal:tts_local_secret", "storelinklocal:tts_local_previous"]
    assert TIKTOK.app_secrets(App("k", "a:b")) == ["k:a:b"]


@given(
    body=st.binary(max_size=60),
    key=st.text("abc019", min_size=1, max_size=9),
    secret=st.text(st.characters(codec="utf-8"), min_size=1, max_size=9),
    presented=st.none() | st.text(max_size=64),
)
def test_verifies_as_the_client_of_others_does(body, key, secret, presented):
    import hmac

    signature = hmac.digest(secret.encode(), key.encode() + body, "sha256").hex() if presented is None else presented
    try:
        theirs = Webhooks.verify(app_key=key, app_secret=secret, raw_body=body, signature=signature)
    except UnicodeEncodeError:  # theirs raises on half of a surrogate pair
        theirs = False

    ours = TIKTOK.verify(Delivery({"authorization": signature}, body), [f"{key}:{secret}"], NOW)

    assert (ours is Verdict.GENUINE) is (theirs and bool(body))


@pytest.mark.parametrize("secrets", [["k"], [":s"], ["k:"], [":"], [""]])
def test_a_secret_that_is_not_whole_verifies_nothing(secrets):
    import hmac

    for key, secret in (("k", ""), ("", "s"), ("k", "k")):
        signature = hmac.digest(secret.encode(), key.encode() + b"{}", "sha256").hex()
        assert TIKTOK.verify(Delivery({"authorization": signature}, b"{}"), secrets, NOW) is Verdict.FORGED


def test_the_address_names_the_topic_and_else_the_type_does():
    assert TIKTOK.topic(delivery(1, {}, "ORDER_STATUS_CHANGE")) == "ORDER_STATUS_CHANGE"
    assert TIKTOK.topic(delivery(1, {})) == "1"
    assert TIKTOK.topic(delivery("1", {})) == ""
    assert TIKTOK.topic(Delivery({}, b"<html>")) == ""


@pytest.mark.parametrize(
    ("id", "expected"), [("7327112393057371910", "7327112393057371910"), (9, "9"), (None, ""), ("\ud800", ""), ({}, "")]
)
def test_an_event_is_called_by_its_notification(id, expected):
    assert TIKTOK.event_id(delivery(1, {}, tts_notification_id=id)) == expected


@pytest.mark.parametrize(
    ("type", "topic", "data", "expected"),
    [
        (1, "ORDER_STATUS_CHANGE", {"order_id": "57", "order_status": "CANCEL"}, [Event(Resource.ORDERS, "57")]),
        (3, "RECIPIENT_ADDRESS_UPDATE", {"order_id": "57"}, [Event(Resource.ORDERS, "57")]),
        (
            4,
            "PACKAGE_UPDATE",
            {"package_list": [{"order_id_list": ["57", "58"]}, {"order_id_list": ["57"]}]},
            [Event(Resource.ORDERS, "57"), Event(Resource.ORDERS, "58")],
        ),
        (4, "PACKAGE_UPDATE", {"order_id": "57"}, [Event(Resource.ORDERS, "57")]),
        (11, "CANCELLATION_STATUS_CHANGE", {"order_id": "57"}, [Event(Resource.ORDERS, "57")]),
        (12, "RETURN_STATUS_CHANGE", {"order_id": "57"}, [Event(Resource.ORDERS, "57")]),
        (5, "PRODUCT_STATUS_CHANGE", {"product_id": 1729}, [Event(Resource.PRODUCTS, "1729")]),
        (15, "PRODUCT_INFORMATION_CHANGE", {"product_id": "1729"}, [Event(Resource.PRODUCTS, "1729")]),
        (16, "PRODUCT_CREATION", {"product_id": 1729}, [Event(Resource.PRODUCTS, "1729")]),
        (18, "PRODUCT_CATEGORY_CHANGE", {"product_id": "1729"}, [Event(Resource.PRODUCTS, "1729")]),
        (37, "PRODUCT_AUDIT_STATUS_CHANGE", {"product_id": 1729}, [Event(Resource.PRODUCTS, "1729")]),
        (6, "SELLER_DEAUTHORIZATION", {"message": "…"}, [Event(None, access_lost=True, disconnected=True)]),
        (
            7,
            "UPCOMING_AUTHORIZATION_EXPIRATION",
            {"message": "…", "expiration_time": str(SECONDS)},
            [Event(None, reauthorize_by=NOW)],
        ),
    ],
)
def test_a_notification_announces_what_to_look_up(type, topic, data, expected):
    for path_topic in ("", topic, "SOMETHING_ELSE"):
        assert TIKTOK.parse(delivery(type, data, path_topic)) == expected
    if type != 4 or "package_list" in data:
        Webhooks.parse(delivery(type, data).body)
    # the number may change, as TikTok Shop says
    assert TIKTOK.parse(delivery(99, data, topic)) == expected


def test_a_type_that_is_not_known_announces_nothing():
    assert TIKTOK.parse(delivery(13, {"conversation_id": "1"})) == []


def test_a_delivery_to_the_address_of_another_topic_is_not_read():
    with pytest.raises(ValueError, match="PRODUCT_CREATION was delivered to the address of ORDER_STATUS_CHANGE"):
        TIKTOK.parse(delivery(16, {"product_id": 1}, "ORDER_STATUS_CHANGE"))


@pytest.mark.parametrize(
    ("type", "data"),
    [(1, {}), (1, None), (1, {"order_id": "1/2"}), (1, {"order_id": True}), (4, {"package_list": []}), (4, {}),
     (4, {"package_list": [{"order_id_list": [None]}]}), (5, {"product_id": 0}), (7, {"expiration_time": "soon"}),
     (7, {"expiration_time": SECONDS * 1000}), (7, {}), (None, {}), ("1", {"order_id": "1"}),
     (True, {"order_id": "1"})],
)  # fmt: skip
def test_a_notification_that_names_nothing_is_not_read(type, data):
    with pytest.raises(ValueError, match=r"\w"):
        TIKTOK.parse(delivery(type, data))


# Subscriptions


@dataclass
class Hooks:
    """The addresses that a shop has for its types of event."""

    there: dict[str, str]
    asked: list[Asked] = field(default_factory=list)

    def request(self, method: str, url: str, **options: Any) -> Answer:
        http = Scripted(self._answer)
        answer = http.request(method, url, **options)
        self.asked += http.asked
        return answer

    def _answer(self, asked: Asked) -> Answer:
        check_signature(asked)
        assert asked.path == "/event/202309/webhooks"
        if asked.method == "PUT":
            models.UpdateShopWebhookRequest.from_dict(asked.body)
            assert len(asked.body["address"]) <= 255
            self.there[asked.body["event_type"]] = asked.body["address"]
        elif asked.method == "DELETE":
            models.DeleteWebhookForAnEventRequest.from_dict(asked.body)
            self.there.pop(asked.body["event_type"], None)
        rows = [{"event_type": topic, "address": address} for topic, address in self.there.items()]
        data = {"total_count": len(rows), "webhooks": rows} if asked.method == "GET" else None
        return reply(data)


def test_each_type_has_an_address_of_its_own():
    hooks = Hooks({})

    assert TIKTOK.reconcile(STORE, URL, "", hooks) == Subscribed(created=12)
    assert hooks.there["ORDER_STATUS_CHANGE"] == f"{URL}/ORDER_STATUS_CHANGE"
    assert all(address == f"{URL}/{topic}" for topic, address in hooks.there.items())
    assert TIKTOK.reconcile(STORE, URL, "", hooks) == Subscribed(kept=12)


def test_an_address_that_is_off_is_repaired_and_others_types_are_left():
    hooks = Hooks({})
    TIKTOK.reconcile(STORE, URL, "", hooks)
    hooks.there |= {
        "ORDER_STATUS_CHANGE": f"{URL}_old/ORDER_STATUS_CHANGE",
        "PRODUCT_CREATION": "https://another.example/hook",
        "NEW_MESSAGE": "https://another.example/hook",
        "INVOICE_STATUS_CHANGE": f"{URL}/INVOICE_STATUS_CHANGE",
    }

    assert TIKTOK.reconcile(STORE, URL, "", hooks) == Subscribed(repaired=2, removed=1, kept=10)
    assert hooks.there["NEW_MESSAGE"] == "https://another.example/hook"
    assert "INVOICE_STATUS_CHANGE" not in hooks.there


def test_unsubscribing_removes_what_delivers_to_us_and_nothing_else():
    hooks = Hooks({"NEW_MESSAGE": "https://another.example/hook", "PACKAGE_UPDATE": f"{URL}_2/PACKAGE_UPDATE"})
    others = dict(hooks.there)
    TIKTOK.reconcile(STORE, URL, "", hooks)
    hooks.there["PACKAGE_UPDATE"] = others["PACKAGE_UPDATE"]

    TIKTOK.unsubscribe(STORE, URL, hooks)
    TIKTOK.unsubscribe(STORE, URL, hooks)

    assert hooks.there == others


def test_a_shop_without_webhooks_may_show_no_list():
    http = Scripted([reply({"total_count": 0}), *[reply(None)] * 12])

    assert TIKTOK.reconcile(STORE, URL, "", http).created == 12


def test_half_a_surrogate_pair_can_be_stored():
    row = json.dumps({"code": 0, "data": {"orders": [order(buyer_message="tea \ud83e", user_id="\ud800")]}}).encode()

    body = TIKTOK.fetch_one(STORE, Resource.ORDERS, order()["id"], Scripted(Answer(200, {}, row))).body

    assert json.dumps(body, ensure_ascii=False).encode()
    assert body["note"] == "tea ?"


def test_an_address_alone_tells_no_store_id():
    assert TIKTOK.known_store_id("https://www.tiktok.com/@trendytees") is None


def test_a_notification_says_which_shop_it_is_about_or_nothing():
    bodies = [b'{"shop_id": "7494726673780148744"}', b'{"shop_id": 7}', b'{"shop_id": null}', b"[]", b"\xff", b""]

    assert [TIKTOK.store_of(Delivery({}, body)) for body in bodies] == ["7494726673780148744", "7", *[""] * 4]
