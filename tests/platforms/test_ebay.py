"""eBay: what only it does, against a model of an account that moves, held to the contracts that eBay publishes."""

# ruff: noqa: C901, PLR0911, S311 - a model answers whatever may be asked; its dice need be no secret

import base64
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import records
from shared.platforms import ebay
from shared.platforms.base import (
    Answer,
    AnswersChallenge,
    App,
    Connection,
    Delivery,
    Event,
    FetchesKeys,
    GrantsByOAuth,
    Identity,
    Json,
    ManagesAppSubscriptions,
    ManagesSubscriptions,
    NotifiesApp,
    Page,
    Platform,
    PlatformError,
    PlatformName,
    PrivacyKind,
    PrivacyRequest,
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
from shared.platforms.ebay import Ebay, challenge_response
from tests.platforms.conftest import vectors_of
from tests.platforms.ebay_contracts import Asked, check_answer, check_request

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
ADAPTER = Ebay()
APP = App(
    "storelink-local-ebay",
    "PRD-local-secret",
    more={
        "ru_name": "storelink-local-RuName",
        "verification_token": "local_verification_token_0123456789",
        "alert_email": "alerts@storelink.example",
    },
)
SECRETS = {"access_token": "v^1.1#i^1#access", "refresh_token": "v^1.1#i^1#refresh"}
STORE = Connection("https://www.ebay.com/usr/cloth-one", SECRETS, "sEllEr42", "USD", app=APP)
APP_TOKEN = "v^1.1#i^1#application"
APP_URL = "https://hooks.example/webhooks/EBAY"
URL = f"{APP_URL}/con_1"
SPOKEN = ("PRD-local-secret", "#access", "#refresh", "#application", "one-time-code", "local_verification")
"""What must be in no text of ours."""
VECTORS = vectors_of(PlatformName.EBAY)


@pytest.fixture(autouse=True)
def _no_token_of_the_app():
    ebay.forget_app_tokens()


def reply(content: Any = None, status: int = 200, **headers: str) -> Answer:
    body = b"" if content is None else content if isinstance(content, bytes) else json.dumps(content).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def error(status: int, id: int = 0, **headers: str) -> Answer:
    return reply(
        {"errors": [{"errorId": id, "domain": "API", "category": "REQUEST", "message": "m"}]}, status, **headers
    )


def amount(value: str, currency: str = "USD") -> Json:
    return {"value": value, "currency": currency}


def text_of(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(seconds * 1000) % 1000:03d}Z"


def order(id: str = "12-34567-89012", modified: float = SECONDS - 3600, **more: Any) -> Json:
    return {
        "orderId": id,
        "creationDate": text_of(min(modified, SECONDS - 7200)),
        "lastModifiedDate": text_of(modified),
        "orderFulfillmentStatus": "NOT_STARTED",
        "orderPaymentStatus": "PAID",
        "sellerId": "cloth-one",
        "buyer": {
            "username": "buyer17",
            "buyerRegistrationAddress": {"fullName": "Buyer 17", "email": "17@buyers.example"},
        },
        "buyerCheckoutNotes": "Ring twice",
        "cancelStatus": {"cancelState": "NONE_REQUESTED", "cancelRequests": []},
        "pricingSummary": {"priceSubtotal": amount("39.80"), "total": amount("44.80")},
        "paymentSummary": {"totalDueSeller": amount("40.00"), "refunds": [], "payments": []},
        "totalMarketplaceFee": amount("5.31"),
        "fulfillmentStartInstructions": [
            {
                "shippingStep": {
                    "shipTo": {
                        "fullName": "Buyer 17",
                        "companyName": "Cloth & Sons",
                        "contactAddress": {
                            "addressLine1": "1 Sample Street",
                            "city": "Sampletown",
                            "stateOrProvince": "CA",
                            "postalCode": "95125",
                            "countryCode": "US",
                        },
                        "primaryPhone": {"phoneNumber": "5550100"},
                    }
                }
            }
        ],
        "lineItems": [
            {
                "lineItemId": "10028031",
                "legacyItemId": "110181400870",
                "legacyVariationId": "410",
                "sku": "TEE-M",
                "title": "Tee",
                "quantity": 2,
                "lineItemCost": amount("39.80"),
                "total": amount("44.80"),
                "variationAspects": [{"name": "Size", "value": "M"}],
                "giftDetails": {"message": "Happy birthday"},
            }
        ],
        **more,
    }


def item(sku: str = "TEE-M", quantity: int = 7, **more: Any) -> Json:
    return {
        "sku": sku,
        "availability": {"shipToLocationAvailability": {"quantity": quantity}},
        "condition": "NEW",
        "product": {
            "title": f"Item {sku}",
            "imageUrls": ["https://i.ebayimg.example/1.jpg"],
            "aspects": {"Size": ["M"], "Colour": ["Black", "White"]},
        },
        **more,
    }


def offer(price: str = "19.90", **more: Any) -> Json:
    return {
        "offerId": "5",
        "status": "PUBLISHED",
        "format": "FIXED_PRICE",
        "marketplaceId": "EBAY_US",
        "listing": {"listingId": "110181400870", "listingStatus": "ACTIVE"},
        "pricingSummary": {"price": amount(price)},
        **more,
    }


KEY = ec.generate_private_key(ec.SECP256R1())
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode().replace("\n", "")


class Account:
    """A seller's account, and the app's, as eBay shows them; checks all that is asked and answered."""

    def __init__(self, before: Callable[["Account", Asked], Answer | None] | None = None) -> None:
        self.asked: list[Asked] = []
        self.orders: dict[str, Json] = {}
        self.items: list[Json] = []
        self.offers: dict[str, list[Json]] = {}
        self.now = SECONDS
        self.dice = random.Random(17)
        self.before = before
        self.user: Json = {
            "userId": "sEllEr42",
            "username": "cloth-one",
            "accountType": "BUSINESS",
            "registrationMarketplaceId": "EBAY_US",
            "status": "CONFIRMED",
        }
        self.is_registered = True
        self.config: Json | None = None
        self.destinations: list[Json] = []
        self.subscriptions: dict[str, list[Json]] = {"seller": [], "app": []}
        self.listed_at_once = 100
        self.shuffles = True
        self.made = 0

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
        if asked.path != "/identity/v1/oauth2/token":
            check_request(asked, by_app=asked.headers["authorization"] == f"Bearer {APP_TOKEN}")
        answer = self.before(self, asked) if self.before else None
        if answer is not None:
            return answer
        answer = self._answer(asked)
        if asked.path != "/identity/v1/oauth2/token":
            check_answer(asked, answer)
        return answer

    @property
    def calls(self) -> list[str]:
        """What was asked, by the last fixed part of its address."""
        return [f"{each.method} {'/'.join(each.path.split('/')[4:])}" for each in self.asked]

    def _answer(self, asked: Asked) -> Answer:
        name, last = asked.path.split("/")[-2], unquote(asked.path.split("/")[-1])
        if asked.url == "https://api.ebay.com/identity/v1/oauth2/token":
            return self._tokens(asked)
        token = asked.headers["authorization"].removeprefix("Bearer ")
        assert token in {SECRETS["access_token"], APP_TOKEN}
        if asked.url == "https://apiz.ebay.com/commerce/identity/v1/user/":
            return reply(self.user)
        if "notification" in asked.path:
            return self._notifications(asked, name, last, "app" if token == APP_TOKEN else "seller")
        match name, last:
            case _, "privilege":
                return reply({"sellerRegistrationCompleted": self.is_registered})
            case _, "order":
                return self._search(asked)
            case "order", _:
                return reply(self.orders[last]) if last in self.orders else error(404, 32100)
            case _, "inventory_item":
                return self._page(asked)
            case "inventory_item", _:
                found = [each for each in self.items if each["sku"] == last]
                return reply(found[0]) if found else error(404, 25710)
            case _, "offer":
                found = self.offers.get(asked.query["sku"], [])
                return reply({"offers": found, "total": len(found), "size": len(found)}) if found else error(404, 25713)
        raise AssertionError(asked.url)

    def _tokens(self, asked: Asked) -> Answer:
        assert asked.method == "POST"
        assert asked.basic == (APP.client_id, APP.client_secret)
        assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
        assert not asked.repeatable
        match asked.form:
            case {
                "grant_type": "authorization_code",
                "code": "one-time-code",
                "redirect_uri": "storelink-local-RuName",
            }:
                return reply(
                    {
                        "access_token": SECRETS["access_token"],
                        "expires_in": 7200,
                        "refresh_token": SECRETS["refresh_token"],
                        "refresh_token_expires_in": 47_304_000,
                        "token_type": "User Access Token",
                    }
                )
            case {"grant_type": "refresh_token", "refresh_token": "v^1.1#i^1#refresh"}:
                return reply({"access_token": "v^1.1#i^1#new", "expires_in": 7200, "token_type": "User Access Token"})
            case {"grant_type": "client_credentials", "scope": "https://api.ebay.com/oauth/api_scope"}:
                return reply({"access_token": APP_TOKEN, "expires_in": 7200, "token_type": "Application Access Token"})
        return reply({"error": "invalid_grant", "error_description": "one-time-code is spent"}, 400)

    def _search(self, asked: Asked) -> Answer:
        by, begin, end = re.fullmatch(r"(\w+):\[(.+)\.\.(.+)\]", asked.query["filter"]).groups()
        field_name = {"lastmodifieddate": "lastModifiedDate", "creationdate": "creationDate"}[by]
        if end > text_of(self.now):
            return error(400, 30850)
        if begin < text_of(self.now - 731 * 86_400):
            return error(400, 30830)
        assert begin < end
        limit, offset = int(asked.query["limit"]), int(asked.query["offset"])
        assert 1 <= limit <= 200
        rows = [each for each in self.orders.values() if begin <= each[field_name] <= end]
        if self.shuffles:
            random.Random(len(rows)).shuffle(rows)
        shown = rows[offset : offset + limit]
        following = {"next": "https://api.ebay.com/next"} if offset + limit < len(rows) else {}
        return reply({"orders": shown, "total": len(rows), "limit": limit, "offset": offset, **following})

    def _page(self, asked: Asked) -> Answer:
        limit, page = int(asked.query["limit"]), int(asked.query["offset"])
        assert 1 <= limit <= 200
        shown = self.items[page * limit : (page + 1) * limit]
        if page and not shown:
            return error(404, 25710)
        return reply({"inventoryItems": shown, "total": len(self.items), "size": -(-len(self.items) // limit)})

    def _notifications(self, asked: Asked, name: str, last: str, who: str) -> Answer:
        what = last if last in {"config", "destination", "subscription"} else name
        if what in {"config", "destination", "public_key"} and who != "app":
            return error(403, 195011)
        match asked.method, what, last == what:
            case "GET", "public_key", _:
                known = last == "kid-1"
                return reply({"key": PEM, "algorithm": "ECDSA", "digest": "SHA1"}) if known else error(404, 195001)
            case "GET", "topic", _:
                payloads = [
                    {"schemaVersion": v, "format": ["JSON"], "deprecated": v == "2.0"} for v in ("1.0", "1.1", "2.0")
                ]
                return reply({"topicId": last, "supportedPayloads": payloads})
            case "GET", "config", _:
                return reply(self.config) if self.config else error(404, 195026)
            case "PUT", "config", _:
                self.config = asked.body
                return reply(status=204)
            case "GET", _, True:
                return self._listed(
                    asked, what, self.destinations if what == "destination" else self.subscriptions[who]
                )
            case "POST", "destination", True:
                if not self.config:
                    return error(409, 195003)
                return self._made(asked, self.destinations, "destinationId")
            case "POST", "subscription", True:
                if any(each["topicId"] == asked.body["topicId"] for each in self.subscriptions[who]):
                    return error(409, 195012)
                return self._made(asked, self.subscriptions[who], "subscriptionId")
        rows = self.destinations if what == "destination" else self.subscriptions[who]
        found = next((each for each in rows if each[f"{what}Id"] == last), None)
        if found is None:
            return error(404, 195014)
        rows.remove(found) if asked.method == "DELETE" else found.update(asked.body)
        return reply(status=204)

    def _made(self, asked: Asked, rows: list[Json], id: str) -> Answer:
        self.made += 1
        rows.append({id: f"made-{self.made}", **asked.body})
        return reply({}, 201, location=f"{asked.url}/made-{self.made}")

    def _listed(self, asked: Asked, what: str, rows: list[Json]) -> Answer:
        assert 10 <= int(asked.query["limit"]) <= 100
        begin = int(asked.query.get("continuation_token", "t0")[1:])
        end = begin + self.listed_at_once
        more = {"next": f"https://evil.example/x?continuation_token=t{end}"} if end < len(rows) else {}
        return reply({f"{what}s": rows[begin:end], "total": len(rows), **more})


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gives: a result, or a PlatformError that shows no secret; whatever else it raises is a fault."""
    try:
        return call()
    except PlatformError as raised:
        if any(secret in f"{raised} {raised.detail} {raised!r}" for secret in SPOKEN):
            pytest.fail("a secret is shown")
        return raised


def refusal(call: Callable[[], object]) -> PlatformError:
    found = outcome(call)
    assert isinstance(found, PlatformError), f"it gave {found!r}"
    return found


def cycle(
    account: Account, resource: Resource, cursor: Json | None = None, now: datetime = NOW
) -> tuple[list[Page], Json]:
    """All pages of a cycle, and where the next starts."""
    pages: list[Page] = []
    for _ in range(20_000):
        page = ADAPTER.fetch(STORE, resource, cursor, account, now)
        assert json.loads(json.dumps(page.cursor)) == page.cursor
        assert page.done or page.cursor != cursor, "the same page again"
        pages.append(page)
        cursor = page.cursor
        if page.done:
            return pages, cursor
    raise AssertionError("the cycle has no end")


def read(pages: list[Page]) -> list[Record]:
    assert not any(page.partial for page in pages)
    return [record for page in pages for record in page.records]


# The judge


@pytest.mark.parametrize(
    ("method", "url", "query", "body"),
    [
        ("GET", "https://api.ebay.com/sell/fulfillment/v1/order", {"page": "1"}, None),
        ("GET", "https://api.ebay.com/sell/nothing/v1/order", {}, None),
        ("GET", "https://api.ebay.com/commerce/identity/v1/user/", {}, None),
        ("GET", "https://apiz.ebay.com/commerce/identity/v1/user", {}, None),
        ("DELETE", "https://api.ebay.com/sell/inventory/v1/inventory_item", {}, None),
        ("POST", "https://api.ebay.com/commerce/notification/v1/subscription", {}, {"topic": "x"}),
        ("PUT", "https://api.ebay.com/commerce/notification/v1/config", {}, {"alertEmail": 1}),
    ],
)
def test_the_judge_refuses_what_the_contracts_do_not_allow(method, url, query, body):
    headers = {"authorization": "Bearer x"}

    with pytest.raises(Exception):  # noqa: B017, PT011 - the validator's own or an assertion
        check_request(Asked(method, url, query, headers, body, None, None, True), by_app=False)


def test_the_judge_refuses_an_answer_of_another_shape():
    asked = Asked("GET", "https://api.ebay.com/sell/fulfillment/v1/order", {}, {}, None, None, None, True)

    for content in ({"orders": {}}, {"orders": [{"id": "1"}]}, {"total": "1"}):
        with pytest.raises(Exception):  # noqa: B017, PT011
            check_answer(asked, reply(content))


def test_the_adapter_fits_its_protocols():
    fits: list[Platform] = [ADAPTER]

    assert fits[0].name is PlatformName.EBAY
    wanted = (
        ReceivesWebhooks, NotifiesApp, ManagesSubscriptions, GrantsByOAuth, ShowsNewest,
        FetchesKeys, AnswersChallenge, ManagesAppSubscriptions,
    )  # fmt: skip
    assert all(isinstance(ADAPTER, each) for each in wanted)
    assert not isinstance(ADAPTER, SignsWithApp)


def test_importing_the_adapter_loads_nothing_heavy():
    code = "import sys; import shared.platforms.ebay; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603 - ours

    assert not {"httpx", "pydantic", "boto3", "botocore", "dateutil", "cryptography"} & set(done.stdout.split())


# Signatures


def signed(body: bytes, *, key: Any = KEY, **changes: str) -> Delivery:
    made = base64.b64encode(key.sign(body, ec.ECDSA(SHA1()))).decode()  # noqa: S303 - as eBay signs
    header = {"alg": "ecdsa", "kid": "kid-1", "signature": made, "digest": "SHA1", **changes}
    return Delivery({"x-ebay-signature": base64.b64encode(json.dumps(header).encode()).decode()}, body)


def notification(topic: str, data: Any) -> bytes:
    return json.dumps(
        {
            "metadata": {"topic": topic, "schemaVersion": "1.0", "deprecated": False},
            "notification": {"notificationId": "n-1", "eventDate": "2026-11-22T12:00:00.000Z", "data": data},
        }
    ).encode()


DELETION = notification(
    "MARKETPLACE_ACCOUNT_DELETION", {"username": "buyer17", "userId": "bUyEr17", "eiasToken": "e=="}
)


@pytest.mark.parametrize("vector", [each for each in VECTORS if each.kind == "webhook"], ids=lambda each: each.name)
def test_gives_every_delivery_of_ebays_own_tests_its_verdict(vector):
    keys = list(vector.other["public_keys"].values())

    found = ADAPTER.verify(vector.delivery, keys, NOW)

    assert (found is Verdict.GENUINE) is vector.is_genuine
    if vector.is_genuine:
        assert ADAPTER.topic(vector.delivery) == vector.other["topic"]
        assert ADAPTER.event_id(vector.delivery) == vector.other["event_id"]
        assert ADAPTER.key_id(vector.delivery) == next(iter(vector.other["public_keys"]))


@pytest.mark.parametrize("vector", [each for each in VECTORS if each.kind == "challenge"], ids=lambda each: each.name)
def test_answers_the_challenge_as_ebays_own_code_does(vector):
    known = vector.other

    response = challenge_response(known["challenge_code"], vector.secrets[0], known["endpoint"])

    assert (response == known["expected_response"]) is vector.is_genuine


def test_the_challenge_is_answered_with_the_registrations_token():
    answer = ADAPTER.answer_challenge(APP, {"challenge_code": "abc"}, APP_URL)

    assert answer == {"challengeResponse": challenge_response("abc", APP.more["verification_token"], APP_URL)}


@pytest.mark.parametrize(
    "query", [{}, {"challenge_code": ""}, {"challenge_code": "\ud800"}, {"challenge_code": "a" * 999}]
)
def test_no_challenge_is_no_answer(query):
    with pytest.raises(ValueError, match="challenge_code"):
        ADAPTER.answer_challenge(APP, query, APP_URL)


@pytest.mark.parametrize("token", ["", "short", "a" * 81, "a" * 31 + "é"])
def test_without_a_verification_token_nothing_is_answered(token):
    app = APP._replace(more={"verification_token": token})

    with pytest.raises(ValueError, match="verification_token") as caught:
        ADAPTER.answer_challenge(app, {"challenge_code": "abc"}, APP_URL)
    assert not token or token not in str(caught.value)


def test_accepts_a_key_with_and_without_line_breaks():
    wrapped = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    assert "\n" in wrapped
    assert {ADAPTER.verify(signed(DELETION), [pem], NOW) for pem in (PEM, wrapped)} == {Verdict.GENUINE}


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "none"}, {"alg": "hmac"}, {"digest": "MD5"}, {"digest": "SHA256"}, {"kid": ""}, {"kid": "../token"},
        {"kid": "a/b"}, {"kid": "a" * 65}, {"kid": "é"}, {"kid": "a?b=c"}, {"kid": "a\n"}, {"kid": "%2e%2e"},
        {"signature": ""}, {"signature": "AAAA"}, {"signature": "no base64"},
    ],
    ids=str,
)  # fmt: skip
def test_a_header_of_another_form_is_forged_and_leads_to_no_address(changes):
    delivery = signed(DELETION, **changes)

    assert ADAPTER.verify(delivery, [PEM], NOW) is Verdict.FORGED
    if "alg" in changes or "digest" in changes or "kid" in changes:
        assert ADAPTER.key_id(delivery) == ""


@pytest.mark.parametrize("change", [" {}", "{}\n", "{} ", "{}, {}", "{}=", "{}*"])
def test_a_signature_has_one_spelling(change):
    delivery = signed(DELETION)
    header = change.replace("{}", delivery.headers["x-ebay-signature"])

    assert ADAPTER.verify(Delivery({"x-ebay-signature": header}, DELETION), [PEM], NOW) is Verdict.FORGED


@pytest.mark.parametrize("content", [b"null", b"[]", b"1", b'"text"', b"{", b"[" * 1000, b'{"kid":{}}', b"\xff"])
def test_a_header_that_holds_something_else_is_forged(content):
    delivery = Delivery({"x-ebay-signature": base64.b64encode(content).decode()}, DELETION)

    assert ADAPTER.verify(delivery, [PEM], NOW) is Verdict.FORGED
    assert ADAPTER.key_id(delivery) == ""


def test_keys_of_another_kind_verify_nothing():
    other = ec.generate_private_key(ec.SECP384R1())
    pem = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    keys = [pem, "", "another", PEM[:-40], PEM.replace("M", "é", 1), f"x{PEM}", PEM.replace("KEY-----M", "KEY-----N")]

    assert ADAPTER.verify(signed(DELETION, key=other), keys, NOW) is Verdict.FORGED
    assert ADAPTER.verify(signed(DELETION), keys, NOW) is Verdict.FORGED


def test_keys_are_kept_and_nothing_that_could_be_a_secret():
    ebay._check.cache_clear()

    for _ in range(3):
        assert ADAPTER.verify(signed(DELETION), ["hush", f"{PEM}hush", "", PEM], NOW) is Verdict.GENUINE

    assert ebay._check.cache_info()[:2] == (2, 1)


def test_a_kept_key_verifies_what_its_owner_signed_only():
    other = ec.generate_private_key(ec.SECP256R1())
    pem = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    for _ in range(2):
        assert ADAPTER.verify(signed(DELETION, key=other), [PEM, pem], NOW) is Verdict.GENUINE
        assert ADAPTER.verify(signed(DELETION, key=other), [PEM], NOW) is Verdict.FORGED
        assert ADAPTER.verify(signed(DELETION), [pem], NOW) is Verdict.FORGED
        assert ADAPTER.verify(signed(DELETION)._replace(body=DELETION + b" "), [PEM], NOW) is Verdict.FORGED


def test_a_key_is_fetched_by_its_id_with_an_application_token():
    account = Account()

    key = ADAPTER.fetch_key(APP, "kid-1", account, NOW)

    assert ADAPTER.verify(signed(DELETION), [key], NOW) is Verdict.GENUINE
    assert account.calls == ["POST token", "GET public_key/kid-1"]


@pytest.mark.parametrize("id", ["", "../x", "a/b", "a" * 65, "é", "a b", "a\n"])
def test_what_is_no_id_of_a_key_is_refused_before_any_call(id):
    account = Account()

    assert refusal(lambda: ADAPTER.fetch_key(APP, id, account, NOW)).refusal is Refusal.NOT_FOUND
    assert not account.asked


def test_a_key_that_ebay_does_not_know_is_not_found():
    assert refusal(lambda: ADAPTER.fetch_key(APP, "kid-2", Account(), NOW)).refusal is Refusal.NOT_FOUND


@pytest.mark.parametrize(
    "key", [None, 1, "", "no key", "-----BEGIN PUBLIC KEY----------END PUBLIC KEY-----", "x" * 9000]
)
def test_what_is_no_key_is_not_taken_for_one(key):
    account = Account(lambda _, asked: reply({"key": key}) if "public_key" in asked.path else None)

    assert refusal(lambda: ADAPTER.fetch_key(APP, "kid-1", account, NOW)).refusal is Refusal.NOT_THE_PLATFORM


def test_an_app_that_ebay_refuses_is_no_fault_of_a_seller():
    for word in ("invalid_client", "invalid_grant", "unauthorized_client"):
        account = Account(lambda _, asked, word=word: reply({"error": word}, 400))

        assert refusal(lambda account=account: ADAPTER.fetch_key(APP, "kid-1", account, NOW)).refusal is Refusal.REQUEST


# Deliveries


def test_a_deleted_account_is_erased_by_both_its_names_and_as_a_seller():
    delivery = signed(DELETION)

    assert [event.privacy for event in ADAPTER.parse(delivery)] == [
        PrivacyRequest(PrivacyKind.ERASE_CUSTOMER, buyer="bUyEr17"),
        PrivacyRequest(PrivacyKind.ERASE_CUSTOMER, buyer="buyer17"),
        PrivacyRequest(PrivacyKind.ERASE_STORE),
    ]
    assert {event.privacy.term for event in ADAPTER.parse(delivery)} == {timedelta(days=30)}
    assert ADAPTER.store_of(delivery) == "bUyEr17"


def test_the_name_that_an_order_keeps_is_the_one_that_a_deletion_erases():
    kept = ADAPTER.fetch_one(STORE, Resource.ORDERS, "12-34567-89012", with_orders(order())).buyer

    erased = {f"{PlatformName.EBAY}#{event.privacy.buyer}" for event in ADAPTER.parse(signed(DELETION))}

    assert kept in erased


def test_a_deletion_without_a_name_is_unreadable():
    with pytest.raises(ValueError, match="user"):
        ADAPTER.parse(signed(notification("MARKETPLACE_ACCOUNT_DELETION", {"eiasToken": "e"})))


@pytest.mark.parametrize(
    ("reason", "disconnected"),
    [
        ("REVOKED_BY_USER", True),
        ("REVOKED_BY_EBAY", False),
        ("PASSWORD_CHANGE", False),
        ("REVOKED_BY_APP", False),
        (None, False),
    ],
)
def test_a_revocation_is_probed_and_ends_the_connection_only_where_the_seller_did_it(reason, disconnected):
    delivery = signed(notification("AUTHORIZATION_REVOCATION", {"userId": "sEllEr42", "revokeReason": reason}))

    assert ADAPTER.parse(delivery) == [Event(None, access_lost=True, disconnected=disconnected)]
    assert ADAPTER.store_of(delivery) == "sEllEr42"


def test_an_order_is_announced_to_the_seller_that_it_names():
    data = {"user": {"userId": "sEllEr42", "username": "cloth-one"}, "order": {"orderId": "12-34567-89012"}}
    delivery = signed(notification("ORDER_CONFIRMATION", data))

    assert ADAPTER.parse(delivery) == [Event(Resource.ORDERS, "12-34567-89012")]
    assert ADAPTER.store_of(delivery) == "sEllEr42"
    assert ADAPTER.topic(delivery) == "ORDER_CONFIRMATION"


def test_a_topic_that_names_no_order_announces_nothing():
    assert ADAPTER.parse(signed(notification("ITEM_AVAILABILITY", {"itemId": "1"}))) == []


@pytest.mark.parametrize("id", [None, 1, "", "../x", "1/2", "a" * 65, "\ud800", {}])
def test_an_order_by_what_is_no_id_is_unreadable(id):
    with pytest.raises(ValueError, match="order"):
        ADAPTER.parse(signed(notification("ORDER_CONFIRMATION", {"order": {"orderId": id}})))


# Subscriptions


def test_a_seller_is_subscribed_to_the_apps_own_address():
    account = Account()

    assert ADAPTER.reconcile(STORE, URL, "unused", account) == Subscribed(created=1)

    assert account.config == {"alertEmail": "alerts@storelink.example"}
    assert [each["deliveryConfig"]["endpoint"] for each in account.destinations] == [APP_URL]
    assert account.destinations[0]["deliveryConfig"]["verificationToken"] == APP.more["verification_token"]
    subscription = account.subscriptions["seller"][0]
    assert (subscription["topicId"], subscription["destinationId"]) == ("ORDER_CONFIRMATION", "made-1")
    assert subscription["payload"] == {"format": "JSON", "schemaVersion": "1.1", "deliveryProtocol": "HTTPS"}


def test_what_is_as_it_should_be_stays():
    account = Account()
    ADAPTER.reconcile(STORE, URL, "unused", account)
    account.asked.clear()

    assert ADAPTER.reconcile(STORE, URL, "unused", account) == Subscribed(kept=1)
    assert all(call.startswith("GET") or call == "POST token" for call in account.calls)


def test_a_known_destination_saves_the_application_token():
    account = Account()
    store = STORE._replace(app=APP._replace(more={**APP.more, "destination_id": "dest-9"}))

    assert ADAPTER.reconcile(store, URL, "unused", account) == Subscribed(created=1)
    assert "POST token" not in account.calls
    assert account.subscriptions["seller"][0]["destinationId"] == "dest-9"


@pytest.mark.parametrize("change", [{"status": "DISABLED"}, {"status": "MARKED_DOWN"}, {"destinationId": "elsewhere"}])
def test_what_is_off_is_repaired(change):
    account = Account()
    ADAPTER.reconcile(STORE, URL, "unused", account)
    account.subscriptions["seller"][0].update(change)

    assert ADAPTER.reconcile(STORE, URL, "unused", account) == Subscribed(repaired=1)
    assert ADAPTER.reconcile(STORE, URL, "unused", account) == Subscribed(kept=1)


def test_what_is_too_much_goes_and_what_is_anothers_stays_over_all_pages():
    account = Account()
    ADAPTER.reconcile(STORE, URL, "unused", account)
    first = account.subscriptions["seller"][0]
    others = [{"subscriptionId": f"s{number}", "topicId": "FEEDBACK_LEFT", "status": "ENABLED"} for number in range(12)]
    account.subscriptions["seller"] = [*others, first, {**first, "subscriptionId": "twice"}]
    account.listed_at_once = 5

    assert ADAPTER.reconcile(STORE, URL, "unused", account) == Subscribed(removed=1, kept=1)
    assert account.subscriptions["seller"] == [*others, first]


def test_another_was_quicker_to_subscribe():
    account = Account()
    account.subscriptions["seller"] = [{"subscriptionId": "s1", "topicId": "ORDER_CONFIRMATION", "status": "ENABLED"}]
    empty = reply({"subscriptions": [], "total": 0})
    account.before = lambda _, asked: empty if asked.method == "GET" and asked.path.endswith("/subscription") else None

    assert ADAPTER.reconcile(STORE, URL, "unused", account).created == 1


def test_unsubscribing_takes_ours_and_nothing_else():
    account = Account()
    ADAPTER.reconcile(STORE, URL, "unused", account)
    other = {"subscriptionId": "s1", "topicId": "FEEDBACK_LEFT", "status": "ENABLED"}
    account.subscriptions["seller"].append(other)

    ADAPTER.unsubscribe(STORE, URL, account)
    ADAPTER.unsubscribe(STORE, URL, account)

    assert account.subscriptions["seller"] == [other]


def test_unsubscribing_what_has_just_gone_is_fine():
    account = Account()
    ADAPTER.reconcile(STORE, URL, "unused", account)
    account.before = lambda _, asked: error(404, 195014) if asked.method == "DELETE" else None

    ADAPTER.unsubscribe(STORE, URL, account)


def test_the_app_is_told_of_deletions_and_revocations():
    account = Account()

    assert ADAPTER.reconcile_app(APP, APP_URL, account, NOW) == Subscribed(created=3)
    assert {each["topicId"] for each in account.subscriptions["app"]} == set(ebay.APP_TOPICS)
    account.destinations[0]["status"] = "MARKED_DOWN"
    assert ADAPTER.reconcile_app(APP, APP_URL, account, NOW) == Subscribed(repaired=1, kept=2)
    assert account.destinations[0]["status"] == "ENABLED"


@pytest.mark.parametrize("missing", ["alert_email", "verification_token"])
def test_what_the_registration_lacks_is_named(missing):
    app = APP._replace(more={name: value for name, value in APP.more.items() if name != missing})

    refused = refusal(lambda: ADAPTER.reconcile_app(app, APP_URL, Account(), NOW))

    assert refused.refusal is Refusal.REQUEST
    assert missing in refused.detail


def test_a_challenge_that_failed_is_told_so():
    def before(account, asked):
        return error(409, 195020) if (asked.method, asked.path.endswith("/destination")) == ("POST", True) else None

    refused = refusal(lambda: ADAPTER.reconcile_app(APP, APP_URL, Account(before), NOW))

    assert refused.refusal is Refusal.REQUEST
    assert "challenge" in refused.detail


# OAuth


def test_the_consent_page_gets_the_ru_name_and_all_scopes():
    url = ADAPTER.authorization_url(APP, "", state="state-1", return_url="https://unused.example", challenge="unused")

    assert url.startswith("https://auth.ebay.com/oauth2/authorize?")
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "client_id": APP.client_id,
        "redirect_uri": "storelink-local-RuName",
        "response_type": "code",
        "scope": " ".join(ebay.SCOPES),
        "state": "state-1",
    }
    assert "+" not in url


@pytest.mark.parametrize("name", ["", "https://our.example/callback", "a b"])
def test_what_is_no_ru_name_is_told_before_the_seller_is_sent_anywhere(name):
    app = APP._replace(more={"ru_name": name})

    refused = refusal(lambda: ADAPTER.authorization_url(app, "", state="s", return_url="", challenge=""))

    assert refused.refusal is Refusal.REQUEST
    assert "ru_name" in refused.detail


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ([("state", "s"), ("code", "v^1.1#c"), ("expires_in", "299")], "v^1.1#c"),
        ([("state", "s"), ("error", "access_denied"), ("code", "x")], ""),
        ([("state", "s")], ""),
    ],
)
def test_reads_what_the_browser_brings_back(query, code):
    assert (ADAPTER.read_callback(APP, query, NOW).state, ADAPTER.read_callback(APP, query, NOW).code) == ("s", code)


@pytest.mark.parametrize("query", [[], [("code", "x")], [("state", "a"), ("state", "b")]])
def test_a_callback_without_one_state_is_refused(query):
    with pytest.raises(ValueError, match=r"state|twice"):
        ADAPTER.read_callback(APP, query, NOW)


def exchange(account: Account) -> Tokens:
    return ADAPTER.exchange(APP, "", "one-time-code", return_url="", verifier="", http=account, now=NOW)


def test_a_code_gives_tokens_with_their_ends():
    assert exchange(Account()) == Tokens(
        SECRETS["access_token"], SECRETS["refresh_token"], NOW + timedelta(hours=2), NOW + timedelta(seconds=47_304_000)
    )


def test_a_refresh_keeps_the_refresh_token_and_asks_for_no_scopes():
    account = Account()

    tokens = ADAPTER.refresh(STORE, account, NOW)

    assert tokens == Tokens("v^1.1#i^1#new", None, NOW + timedelta(hours=2), None)
    assert set(account.asked[0].form) == {"grant_type", "refresh_token"}
    assert len(account.asked) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply({"error": "invalid_grant"}, 400), Refusal.CREDENTIALS),
        (reply({"error": "invalid_client"}, 401), Refusal.REQUEST),
        (reply({"error": "unauthorized_client"}, 400), Refusal.REQUEST),
        (reply({"error": "invalid_scope"}, 400), Refusal.REQUEST),
        (reply({"error": "invalid_request"}, 400), Refusal.REQUEST),
        (reply({"error": "server_error"}, 400), Refusal.TRANSIENT),
        (reply({"error": "invalid_grant"}, 500), Refusal.TRANSIENT),
        (reply({}, 503), Refusal.TRANSIENT),
        (reply({}, 429, retry_after="9"), Refusal.RATE_LIMITED),
        (reply(b"<html>", 400), Refusal.NOT_THE_PLATFORM),
        (reply(b"<html>", 200), Refusal.NOT_THE_PLATFORM),
        (reply({"error": "v^1.1#i^1#refresh"}, 400), Refusal.NOT_THE_PLATFORM),
        (reply({}, 401), Refusal.NOT_THE_PLATFORM),
        (reply({"access_token": ""}), Refusal.NOT_THE_PLATFORM),
        (reply({"access_token": "a", "refresh_token": 7}), Refusal.NOT_THE_PLATFORM),
        (reply({"refresh_token": "a"}), Refusal.NOT_THE_PLATFORM),
    ],
)
def test_only_a_dead_grant_calls_for_a_person(answer, expected):
    refused = refusal(lambda: ADAPTER.refresh(STORE, Account(lambda *_: answer), NOW))

    assert refused.refusal is expected
    assert (refused.retry_at == NOW + timedelta(seconds=9)) is (expected is Refusal.RATE_LIMITED)


def test_an_exchange_without_a_refresh_token_is_none():
    answer = reply({"access_token": "a", "expires_in": 7200})

    assert refusal(lambda: exchange(Account(lambda *_: answer))).refusal is Refusal.NOT_THE_PLATFORM


@pytest.mark.parametrize("life", [None, "7200", True, -1, 0, 10**30, 1.5, {}])
def test_a_life_that_is_none_says_nothing_and_keeps_the_tokens(life):
    answer = reply({"access_token": "a", "expires_in": life, "refresh_token": "b"})

    assert exchange(Account(lambda *_: answer)) == Tokens("a", "b")


# The seller


def test_a_probe_names_the_seller():
    account = Account()

    assert ADAPTER.probe(STORE._replace(domain="", store_id=""), account) == Identity(
        "sEllEr42", "https://www.ebay.com/usr/cloth-one", "cloth-one", "USD"
    )
    assert [each.url for each in account.asked] == [
        "https://apiz.ebay.com/commerce/identity/v1/user/",
        "https://api.ebay.com/sell/account/v1/privilege",
    ]


@pytest.mark.parametrize(
    ("marketplace", "currency", "host"),
    [("EBAY_GB", "GBP", "www.ebay.co.uk"), ("EBAY_DE", "EUR", "www.ebay.de"), ("EBAY_NEW", None, "www.ebay.com")],
)
def test_the_currency_is_that_of_the_marketplace_of_registration(marketplace, currency, host):
    account = Account()
    account.user["registrationMarketplaceId"] = marketplace

    identity = ADAPTER.stores_of(STORE._replace(domain=""), account)[0]

    assert (identity.currency, urlsplit(identity.domain).netloc) == (currency, host)


def test_an_account_that_may_not_sell_is_told_what_to_do():
    account = Account()
    account.is_registered = False

    refused = refusal(lambda: ADAPTER.probe(STORE, account))

    assert refused.refusal is Refusal.PERMISSION
    assert "not registered as a seller" in refused.detail


@pytest.mark.parametrize(("limit", "currency"), [({"amount": amount("5", "SEK")}, "SEK"), ({}, None), (7, None)])
def test_the_currency_of_a_marketplace_that_is_new_to_us_is_that_of_the_sellers_limit(limit, currency):
    answer = reply({"sellerRegistrationCompleted": True, "sellingLimit": limit})
    account = Account(lambda _, asked: answer if asked.path.endswith("privilege") else None)
    account.user["registrationMarketplaceId"] = "EBAY_SE"

    assert ADAPTER.probe(STORE, account).currency == currency


@pytest.mark.parametrize(
    ("call", "scope"),
    [
        (lambda http: ADAPTER.probe(STORE, http), "commerce.identity.readonly"),
        (lambda http: ADAPTER.newest_orders(STORE, http, NOW), "sell.fulfillment.readonly"),
        (lambda http: ADAPTER.fetch(STORE, Resource.PRODUCTS, None, http, NOW), "sell.inventory.readonly"),
        (lambda http: ADAPTER.unsubscribe(STORE, URL, http), "commerce.notification.subscription"),
    ],
)
def test_a_call_that_is_not_allowed_names_the_scope(call, scope):
    refused = refusal(lambda: call(Account(lambda *_: error(403, 1100))))

    assert refused.refusal is Refusal.PERMISSION
    assert refused.detail.endswith(f"lacks the scope {scope}.")
    assert f"{ebay.SCOPES[0]}/{scope}" in ebay.SCOPES


@pytest.mark.parametrize(
    ("refused", "hint"),
    [
        ("invalid_client", "clientId and clientSecret"),
        ("invalid_request", "ru_name"),
        ("invalid_scope", "scope"),
        ("unauthorized_client", "keyset"),
    ],
)
def test_a_refusal_of_our_app_tells_the_operator_what_to_look_at(refused, hint):
    answer = reply({"error": refused, "error_description": "one-time-code"}, 400)

    found = refusal(lambda: exchange(Account(lambda *_: answer)))

    assert found.refusal is Refusal.REQUEST
    assert refused in found.detail
    assert hint in found.detail


def test_the_token_of_another_seller_is_refused():
    refused = refusal(lambda: ADAPTER.probe(STORE._replace(store_id="another"), Account()))

    assert refused.refusal is Refusal.PERMISSION


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("", ""),
        (" ", ""),
        ("www.ebay.co.uk/usr/x?ref=1", "https://www.ebay.co.uk/usr/x"),
        ("ebay.com", "https://ebay.com"),
    ],
)
def test_takes_an_address_at_ebay_or_none(text, domain):
    assert ADAPTER.normal_domain(text) == domain


@pytest.mark.parametrize("text", ["https://ebay.com.evil.example", "notebay.com", "http://ebay.com", "ebay.com:8443"])
def test_takes_no_other_address(text):
    with pytest.raises(ValueError, match="address"):
        ADAPTER.normal_domain(text)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(401, 1001), Refusal.CREDENTIALS),
        (error(403, 1100), Refusal.PERMISSION),
        (error(404, 0), Refusal.NOT_FOUND),
        (error(400, 32100), Refusal.NOT_FOUND),
        (error(400, 25709), Refusal.REQUEST),
        (error(409, 1), Refusal.REQUEST),
        (error(429, 2001), Refusal.RATE_LIMITED),
        (reply(b"<html>", 429), Refusal.RATE_LIMITED),
        (error(500, 30500), Refusal.TRANSIENT),
        (reply(b"<html>", 503), Refusal.TRANSIENT),
        (reply(b"<html>", 401), Refusal.NOT_THE_PLATFORM),
        (reply(b"<html>", 403), Refusal.NOT_THE_PLATFORM),
        (reply(b"<html>", 200), Refusal.NOT_THE_PLATFORM),
        (reply([], 200), Refusal.NOT_THE_PLATFORM),
    ],
)
def test_tells_refusals_apart(answer, expected):
    assert (
        refusal(lambda: ADAPTER.fetch_one(STORE, Resource.ORDERS, "1-2", Account(lambda *_: answer))).refusal
        is expected
    )


def test_a_store_without_a_token_is_not_asked():
    account = Account()

    refused = refusal(lambda: ADAPTER.probe(STORE._replace(credentials={}), account))

    assert refused.refusal is Refusal.CREDENTIALS
    assert not account.asked


# Orders


def with_orders(*rows: Json) -> Account:
    account = Account()
    account.orders = {row["orderId"]: row for row in rows}
    return account


def only(account: Account) -> Record:
    return read(cycle(account, Resource.ORDERS)[0])[0]


def test_maps_an_order():
    record = only(with_orders(order()))

    assert record.buyer == "EBAY#buyer17"
    assert record.body == {
        "id": "12-34567-89012",
        "number": "12-34567-89012",
        "status": "paid",
        "platformStatus": "PAID NOT_STARTED",
        "total": "44.80",
        "refundedTotal": None,
        "currency": "USD",
        "lines": [
            {
                "id": "10028031",
                "productId": "TEE-M",
                "variantId": "TEE-M",
                "title": "Tee",
                "sku": "TEE-M",
                "quantity": 2,
                "unitPrice": "19.90",
                "total": "39.80",
                "properties": [
                    {"name": "Size", "value": "M"},
                    {"name": "legacyItemId", "value": "110181400870"},
                    {"name": "legacyVariationId", "value": "410"},
                    {"name": "giftMessage", "value": "Happy birthday"},
                ],
            }
        ],
        "customer": {"id": "buyer17", "name": "Buyer 17", "email": "17@buyers.example"},
        "shippingAddress": {
            "name": "Buyer 17",
            "company": "Cloth & Sons",
            "line1": "1 Sample Street",
            "line2": None,
            "city": "Sampletown",
            "region": "CA",
            "postalCode": "95125",
            "country": "US",
            "phone": "5550100",
        },
        "note": "Ring twice",
        "fees": [{"type": "marketplace", "name": "totalMarketplaceFee", "amount": "5.31", "currency": "USD"}],
        "createdAt": "2026-11-22T10:30:00Z",
        "updatedAt": "2026-11-22T11:30:00Z",
    }


def test_what_erases_a_customer_finds_it_in_an_order():
    body = only(with_orders(order())).body

    assert all(body[name] for name in records.PERSONAL)


@pytest.mark.parametrize(
    ("paid", "shipped", "cancelled", "status"),
    [
        ("PENDING", "NOT_STARTED", "NONE_REQUESTED", "pending"),
        ("FAILED", "NOT_STARTED", "NONE_REQUESTED", "pending"),
        ("PAID", "NOT_STARTED", "IN_PROGRESS", "paid"),
        ("PAID", "IN_PROGRESS", "NONE_REQUESTED", "partly_shipped"),
        ("PAID", "FULFILLED", "NONE_REQUESTED", "completed"),
        ("PARTIALLY_REFUNDED", "FULFILLED", "NONE_REQUESTED", "completed"),
        ("FULLY_REFUNDED", "FULFILLED", "NONE_REQUESTED", "refunded"),
        ("FULLY_REFUNDED", "NOT_STARTED", "CANCELED", "cancelled"),
        ("PAID", "TELEPORTED", "NONE_REQUESTED", "other"),
        ("BARTERED", "FULFILLED", "NONE_REQUESTED", "other"),
    ],
)
def test_a_status_is_what_was_cancelled_refunded_paid_and_shipped(paid, shipped, cancelled, status):
    row = order(orderPaymentStatus=paid, orderFulfillmentStatus=shipped, cancelStatus={"cancelState": cancelled})

    body = only(with_orders(row)).body

    assert body["status"] == status
    assert body["platformStatus"] == f"{'CANCELED ' if cancelled == 'CANCELED' else ''}{paid} {shipped}"


SIGNING = next(each for each in VECTORS if each.kind == "request_sign")
SIGNING_APP = APP._replace(more={**APP.more, "signing_key": SIGNING.secrets[0], "signing_jwe": SIGNING.other["jwe"]})
SIGNING_STORE = STORE._replace(app=SIGNING_APP)


@pytest.mark.parametrize(
    "vector", [each for each in VECTORS if each.kind == "request_sign"], ids=lambda each: each.name
)
def test_signs_calls_as_ebays_own_code_does(vector):
    known = vector.other
    app = APP._replace(more={"signing_key": vector.secrets[0], "signing_jwe": known["jwe"]})
    url = f"https://{known['authority']}{known['path']}"
    now = datetime.fromtimestamp(known["created"], UTC)

    headers = ebay.request_signature(app, known["method"], url, vector.delivery.body, now)

    assert headers == {
        **({"content-digest": known["expected_content_digest"]} if known["expected_content_digest"] else {}),
        "x-ebay-signature-key": known["jwe"],
        "signature-input": known["expected_signature_input"],
        "signature": known["expected_signature"],
    }


def untold(row: Json) -> Json:
    return {name: value for name, value in row.items() if name != "totalMarketplaceFee"}


def ledger(answer: Answer) -> Account:
    """An account with a paid order that tells no fee, one that is not paid, and what the Finances API answers."""
    account = with_orders(untold(order()), untold(order("1-2", orderPaymentStatus="PENDING")), order("1-3"))

    def before(_, asked):
        if asked.path != "/sell/finances/v1/transaction":
            return None
        check_answer(asked, answer)
        return answer

    account.before = before
    return account


SALE = {
    "orderId": "12-34567-89012",
    "transactionType": "SALE",
    "orderLineItems": [
        {
            "lineItemId": "1",
            "marketplaceFees": [
                {"feeType": "FINAL_VALUE_FEE", "amount": amount("5.01")},
                {"feeType": "FINAL_VALUE_FEE_FIXED_PER_ORDER", "amount": amount("0.30")},
            ],
        }
    ],
}


def test_fees_that_an_order_does_not_tell_are_asked_for_signed():
    account = ledger(reply({"transactions": [SALE], "total": 1}))

    found = {each.id: each.body["fees"] for each in ADAPTER.newest_orders(SIGNING_STORE, account, NOW)}

    assert [(fee["name"], fee["amount"], fee["type"]) for fee in found["12-34567-89012"]] == [
        ("FINAL_VALUE_FEE", "5.01", "marketplace"),
        ("FINAL_VALUE_FEE_FIXED_PER_ORDER", "0.30", "marketplace"),
    ]
    assert (found["1-2"], found["1-3"][0]["amount"]) == ([], "5.31")
    asked = [each for each in account.asked if "finances" in each.url]
    assert [each.query for each in asked] == [{"filter": "orderId:{12-34567-89012}"}]
    assert asked[0].headers.items() >= ebay.request_signature(SIGNING_APP, "GET", asked[0].url, b"", NOW).items()


def test_without_a_key_to_sign_with_nothing_is_asked_about_fees():
    account = ledger(reply({"transactions": [SALE], "total": 1}))

    assert len(ADAPTER.newest_orders(STORE, account, NOW)) == 3
    assert not [each for each in account.asked if "finances" in each.url]
    assert ebay.SIGNED_SCOPE not in ADAPTER.authorization_url(APP, "", state="s", return_url="", challenge="")


def test_an_app_that_can_sign_asks_for_the_scope_of_finances():
    url = ADAPTER.authorization_url(SIGNING_APP, "", state="s", return_url="", challenge="")

    assert dict(parse_qsl(urlsplit(url).query))["scope"].split() == [*ebay.SCOPES, ebay.SIGNED_SCOPE]


@pytest.mark.parametrize("answer", [reply(status=204), error(403, 1100), error(404, 1)])
def test_fees_that_nobody_tells_cost_no_order(answer):
    assert {each.id: len(each.body["fees"]) for each in ADAPTER.newest_orders(SIGNING_STORE, ledger(answer), NOW)} == {
        "12-34567-89012": 0,
        "1-2": 0,
        "1-3": 1,
    }


def test_fees_that_cannot_be_asked_for_just_now_are_waited_for():
    found = refusal(lambda: ADAPTER.newest_orders(SIGNING_STORE, ledger(error(503)), NOW))

    assert found.refusal is Refusal.TRANSIENT


@pytest.mark.parametrize("key", ["no-base64!", "AAAA", base64.b64encode(b"x" * 40).decode()])
def test_a_key_that_cannot_sign_is_told_without_being_shown(key):
    store = STORE._replace(app=SIGNING_APP._replace(more={**SIGNING_APP.more, "signing_key": key}))

    found = refusal(lambda: ADAPTER.newest_orders(store, ledger(reply(status=204)), NOW))

    assert found.refusal is Refusal.REQUEST
    assert "signing_key" in found.detail
    assert key not in found.detail


def test_refunds_are_added_up():
    refunds = [{"refundId": "1", "amount": amount("1.10")}, {"refundId": "2", "amount": amount("2.05")}]

    assert only(with_orders(order(paymentSummary={"refunds": refunds}))).body["refundedTotal"] == "3.15"


@pytest.mark.parametrize(
    ("cost", "quantity", "price"),
    [("10.00", 3, None), ("10.00", 4, "2.50"), ("10", 4, None), ("0.00", 2, "0.00"), ("9", 0, None)],
)
def test_a_unit_price_is_told_where_it_comes_out_even(cost, quantity, price):
    row = order()
    row["lineItems"][0].update(lineItemCost=amount(cost), quantity=quantity)

    assert only(with_orders(row)).body["lines"][0]["unitPrice"] == price


def test_a_discount_is_in_the_lines_total():
    row = order()
    row["lineItems"][0]["discountedLineItemCost"] = amount("30.00")

    line = only(with_orders(row)).body["lines"][0]

    assert (line["unitPrice"], line["total"]) == ("19.90", "30.00")


def test_an_order_that_cannot_be_read_is_named_and_the_others_stay():
    account = with_orders(order("1-1"), order("2-2", pricingSummary={}), order("3-3"))

    page = cycle(account, Resource.ORDERS)[0][0]

    assert {record.id for record in page.records} == {"1-1", "3-3"}
    assert page.partial == "Not understood: orders 2-2."
    assert refusal(lambda: ADAPTER.fetch_one(STORE, Resource.ORDERS, "2-2", account)).refusal is Refusal.NOT_UNDERSTOOD


def test_the_first_cycle_goes_back_as_far_as_ebay_shows_and_no_further():
    account = with_orders(order("1-1", SECONDS - 719 * 86_400), order("2-2", SECONDS - 721 * 86_400))

    pages, _ = cycle(account, Resource.ORDERS)

    assert [record.id for record in read(pages)] == ["1-1"]
    assert pages[0].total == 1


def test_a_cursor_that_lay_for_years_starts_within_what_ebay_shows():
    account = with_orders(order())

    for cursor in ({"begin": 1_500_000_000}, {"begin": 1_500_000_000, "end": SECONDS - 10, "width": 10**9}):
        assert [record.id for record in read(cycle(account, Resource.ORDERS, cursor)[0])] == ["12-34567-89012"]


def test_a_later_cycle_asks_for_what_changed_since_and_some_minutes_more():
    account = with_orders(order())
    _, cursor = cycle(account, Resource.ORDERS)
    account.asked.clear()
    account.now += 300

    pages, _ = cycle(account, Resource.ORDERS, cursor, NOW + timedelta(minutes=5))

    assert read(pages) == []
    begin = re.search(r"\[(.+)\.\.", account.asked[0].query["filter"]).group(1)
    assert text_of(SECONDS - 3600) < begin < text_of(SECONDS - 300)
    assert len(account.asked) == 1


orders_of_a_life = st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 5, 3600, 86_400]), st.integers(0, 999)), max_size=40)


@given(ages=orders_of_a_life, seed=st.integers(0, 2**32), size=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_no_order_is_missed_however_many_change_while_it_pages(ages, seed, size):
    dice = random.Random(seed)
    account = with_orders(
        *(order(f"{number}-1", SECONDS - 1000 - age + ms / 1000) for number, (age, ms) in enumerate(ages))
    )

    def moves(account: Account, asked: Asked) -> None:
        account.now += 1
        if account.orders and len(account.asked) < 60 and dice.random() < 0.5:
            changed = dice.choice(list(account.orders))
            account.orders[changed] = order(
                changed, account.now - 1 + dice.random() * 0.9, buyerCheckoutNotes=str(account.now)
            )

    account.before = moves
    seen: dict[str, Record] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ebay, "_ORDERS_A_PAGE", size)
        cursor = None
        for _ in range(2):
            pages, cursor = cycle(account, Resource.ORDERS, cursor, datetime.fromtimestamp(account.now, UTC))
            for record in (record for page in pages for record in page.records):
                if record.id not in seen or seen[record.id].updated_at <= record.updated_at:
                    seen[record.id] = record
            account.now += 1200
            account.before = None

    assert {id: record.body["note"] for id, record in seen.items()} == {
        id: row["buyerCheckoutNotes"] for id, row in account.orders.items()
    }


def test_a_second_with_more_orders_than_a_page_is_read_whole(monkeypatch):
    monkeypatch.setattr(ebay, "_ORDERS_A_PAGE", 20)
    account = with_orders(*(order(f"{number}-1", SECONDS - 5000 + number / 1000) for number in range(45)))

    pages, _ = cycle(account, Resource.ORDERS)

    assert {record.id for record in read(pages)} == set(account.orders)
    assert all(len(page.records) <= 20 for page in pages)
    assert len(account.asked) < 80


def test_an_order_that_leaves_a_full_second_hides_no_other(monkeypatch):
    monkeypatch.setattr(ebay, "_ORDERS_A_PAGE", 2)
    account = with_orders(*(order(f"{number}-1", SECONDS - 5000) for number in range(6)))
    account.shuffles = False

    def leaves(account: Account, asked: Asked) -> None:
        if asked.query["offset"] == "2":
            account.orders["0-1"] = order("0-1", SECONDS)

    account.before = leaves
    full_second = {"begin": SECONDS - 5000, "end": SECONDS - 4999, "width": 1}

    found = {record.id for record in read(cycle(account, Resource.ORDERS, full_second)[0])}

    assert found == set(account.orders)


def test_a_second_whose_orders_never_rest_is_not_called_complete(monkeypatch):
    monkeypatch.setattr(ebay, "_ORDERS_A_PAGE", 5)
    account = with_orders(*(order(f"{number}-1", SECONDS - 5000) for number in range(80)))

    def leaves(account: Account, asked: Asked) -> None:
        if asked.query["offset"] == "5":
            account.orders.pop(next(iter(account.orders)))

    account.before = leaves
    pages, _ = cycle(account, Resource.ORDERS)

    assert [page.partial for page in pages if page.partial] == [
        "Too many orders of one second changed while they were read."
    ]


def test_orders_of_a_page_come_in_the_order_of_change():
    account = with_orders(*(order(f"{number}-1", SECONDS - number * 7 % 100 - 50) for number in range(50)))

    times = [record.updated_at for record in read(cycle(account, Resource.ORDERS)[0])]

    assert times == sorted(times)


def test_ids_of_orders_go_back_thirty_days():
    account = with_orders(order("1-1"), order("2-2", SECONDS - 40 * 86_400))

    page = ADAPTER.list_ids(STORE, Resource.ORDERS, None, account, NOW)

    assert (list(page.ids), page.done) == (["1-1"], True)
    assert page.since == NOW - timedelta(days=30, seconds=10)


def test_the_newest_orders_come_at_once():
    account = with_orders(
        order("1-1"), order("2-2", creationDate=text_of(SECONDS - 60)), order("3-3", SECONDS - 86_400 * 9)
    )

    assert [record.id for record in ADAPTER.newest_orders(STORE, account, NOW)] == ["2-2", "1-1"]
    assert len(account.asked) == 1


@pytest.mark.parametrize("id", ["", "../x", "1/2", "1?2", "é", "1" * 65, "\ud800", "1\n"])
def test_what_is_no_id_of_an_order_is_not_asked_for(id):
    account = Account()

    assert refusal(lambda: ADAPTER.fetch_one(STORE, Resource.ORDERS, id, account)).refusal is Refusal.NOT_FOUND
    assert not account.asked


def test_an_answer_about_another_order_is_not_taken():
    account = Account(lambda *_: reply(order("9-9")))

    assert (
        refusal(lambda: ADAPTER.fetch_one(STORE, Resource.ORDERS, "1-1", account)).refusal is Refusal.NOT_THE_PLATFORM
    )


# Inventory


def with_items(number: int) -> Account:
    account = Account()
    account.items = [item(f"SKU-{each}") for each in range(number)]
    account.offers = {each["sku"]: [offer()] for each in account.items}
    return account


def test_maps_a_product():
    account = Account()
    account.items, account.offers = [item()], {"TEE-M": [offer()]}

    record = read(cycle(account, Resource.PRODUCTS)[0])[0]

    assert record.body == {
        "id": "TEE-M",
        "title": "Item TEE-M",
        "status": "active",
        "platformStatus": "PUBLISHED ACTIVE",
        "price": "19.90",
        "currency": "USD",
        "sku": "TEE-M",
        "imageUrl": "https://i.ebayimg.example/1.jpg",
        "url": "https://www.ebay.com/itm/110181400870",
        "variants": [
            {
                "id": "TEE-M",
                "title": "Item TEE-M",
                "sku": "TEE-M",
                "price": "19.90",
                "inventoryQuantity": 7,
                "attributes": {"Size": "M", "Colour": "Black, White"},
            }
        ],
        "createdAt": None,
        "updatedAt": None,
    }
    assert ADAPTER.fetch_one(STORE, Resource.PRODUCTS, "TEE-M", account) == record


@pytest.mark.parametrize(
    ("offers", "status", "words"),
    [
        ([], "draft", "UNPUBLISHED"),
        ([offer(status="UNPUBLISHED", listing={})], "draft", "UNPUBLISHED"),
        ([offer(listing={"listingId": "1", "listingStatus": "OUT_OF_STOCK"})], "inactive", "PUBLISHED OUT_OF_STOCK"),
        ([offer(listing={"listingId": "1", "listingStatus": "ENDED"})], "inactive", "PUBLISHED ENDED"),
        ([offer(listing={"listingId": "1", "listingStatus": "MELTED"})], "other", "PUBLISHED MELTED"),
        ([offer(status="MELTED")], "other", "MELTED ACTIVE"),
    ],
)
def test_a_products_status_is_that_of_its_offer(offers, status, words):
    account = Account()
    account.items, account.offers = [item()], {"TEE-M": offers}

    body = read(cycle(account, Resource.PRODUCTS)[0])[0].body

    assert (body["status"], body["platformStatus"]) == (status, words)


def test_of_several_offers_the_one_that_is_bought_at_once_is_shown():
    auction = offer(format="AUCTION", pricingSummary={"auctionStartPrice": amount("1.00")})
    account = Account()
    account.items = [item("A"), item("B")]
    account.offers = {"A": [auction, offer("5.00")], "B": [offer("9.00", status="UNPUBLISHED", listing={}), auction]}

    assert [record.body["price"] for record in read(cycle(account, Resource.PRODUCTS)[0])] == ["5.00", "1.00"]


def test_unchanged_inventory_costs_one_call_a_page_and_announces_nothing():
    account = with_items(120)
    _, cursor = cycle(account, Resource.PRODUCTS)
    account.asked.clear()

    pages, _ = cycle(account, Resource.PRODUCTS, cursor, NOW)

    assert read(pages) == []
    assert account.calls == ["GET inventory_item"] * 3


def test_a_changed_item_is_announced_in_the_next_cycle():
    account = with_items(120)
    _, cursor = cycle(account, Resource.PRODUCTS)
    account.items[60] = item("SKU-60", quantity=3)
    account.asked.clear()

    found = {record.id: record for record in read(cycle(account, Resource.PRODUCTS, cursor, NOW)[0])}

    assert found["SKU-60"].body["variants"][0]["inventoryQuantity"] == 3
    assert set(found) == {f"SKU-{number}" for number in range(50, 100)}
    assert len(account.asked) == 3 + 50


@pytest.mark.parametrize(("number", "hours"), [(3, 1), (12, 1), (120, 2)])
def test_a_price_that_changed_alone_is_seen_within_the_turn_of_its_page(number, hours, monkeypatch):
    monkeypatch.setattr(ebay, "_ITEMS_A_PAGE", 5)
    account = with_items(number)
    _, cursor = cycle(account, Resource.PRODUCTS)
    for sku in account.offers:
        account.offers[sku] = [offer("1.00")]
    seen: set[str] = set()
    most = 0

    for minutes in range(5, hours * 60 + 5, 5):
        account.asked.clear()
        pages, cursor = cycle(account, Resource.PRODUCTS, cursor, NOW + timedelta(minutes=minutes))
        seen |= {record.id for record in read(pages) if record.body["price"] == "1.00"}
        most = max(most, len(account.asked))

    assert seen == set(account.offers)
    assert most <= -(-number // 5) + 10, "the calls are spread over the time"


def test_equal_contents_make_equal_records_whenever_they_are_looked_at():
    account = with_items(1)

    first, later = (read(cycle(account, Resource.PRODUCTS, None, NOW + timedelta(days=day))[0])[0] for day in (0, 9))

    assert first == later
    assert first.updated_at == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.usefixtures("aws")
def test_a_product_is_news_when_its_contents_change_and_only_then():
    account = with_items(1)
    counts = []

    for day, quantity in enumerate([7, 7, 3, 7, 7]):
        look = NOW + timedelta(days=day)
        account.items[0] = item("SKU-0", quantity)
        page = cycle(account, Resource.PRODUCTS, None, look)[0][0]
        saved = records.save_page("store-1", Resource.PRODUCTS, page.records, "USD", look, look)
        counts.append((saved.created, saved.updated, saved.unchanged))

    assert counts == [(1, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 0), (0, 0, 1)]
    older = cycle(account, Resource.PRODUCTS, None, NOW)[0][0].records[0]
    changed = older._replace(body={**older.body, "title": "Old"})
    assert not records.save("store-1", Resource.PRODUCTS, changed, "USD", NOW, NOW + timedelta(days=9))


def test_a_product_that_cannot_be_read_is_named_again_in_every_cycle():
    account = with_items(3)
    account.items[1]["sku"] = "a\tb"

    pages, cursor = cycle(account, Resource.PRODUCTS)
    again, _ = cycle(account, Resource.PRODUCTS, cursor)

    assert [page.partial for page in (*pages, *again)] == ["Not understood: products a\tb."] * 2
    assert len(pages[0].records) == 2


def test_one_product_without_readable_offers_does_not_stop_the_others():
    account = with_items(3)
    account.before = lambda _, asked: reply(b"<html>") if asked.query.get("sku") == "SKU-1" else None

    page = cycle(account, Resource.PRODUCTS)[0][0]

    assert [record.id for record in page.records] == ["SKU-0", "SKU-2"]
    assert "SKU-1" in page.partial


def test_a_page_that_comes_again_and_again_ends():
    same = reply({"inventoryItems": [item(f"S{each}") for each in range(50)], "total": 10**9})
    account = Account(lambda _, asked: same if "inventory_item" in asked.path else error(404, 25713))

    assert refusal(lambda: cycle(account, Resource.PRODUCTS)).refusal is Refusal.NOT_THE_PLATFORM


@given(number=st.integers(0, 25), seed=st.integers(0, 2**32), size=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_no_product_is_missed_for_good_however_the_inventory_moves(number, seed, size):
    dice = random.Random(seed)
    account = with_items(number)

    def moves(account: Account, asked: Asked) -> None:
        if dice.random() < 0.3:
            if account.items and dice.random() < 0.5:
                account.items.pop(dice.randrange(len(account.items)))
            else:
                sku = f"NEW-{dice.random()}"
                account.items.insert(dice.randint(0, len(account.items)), item(sku, dice.randint(0, 99)))

    seen: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ebay, "_ITEMS_A_PAGE", size)
        cursor = None
        for moving in (moves, moves, None, None):
            account.before = moving
            pages, cursor = cycle(account, Resource.PRODUCTS, cursor)
            seen |= {record.id: record.body["variants"][0]["inventoryQuantity"] for record in read(pages)}

    there = {row["sku"]: row["availability"]["shipToLocationAvailability"]["quantity"] for row in account.items}
    assert there.items() <= seen.items()


def test_lists_every_sku():
    account = with_items(250)
    ids: list[str] = []
    cursor, done = None, False

    while not done:
        page = ADAPTER.list_ids(STORE, Resource.PRODUCTS, cursor, account, NOW)
        ids += page.ids
        cursor, done = page.cursor, page.done

    assert ids == [f"SKU-{number}" for number in range(250)]
    assert len(account.asked) == 3
    assert page.since is None


def test_an_empty_inventory_is_empty():
    assert ADAPTER.list_ids(STORE, Resource.PRODUCTS, None, Account(), NOW).done
    assert read(cycle(Account(), Resource.PRODUCTS)[0]) == []


@pytest.mark.parametrize("sku", ["a b", "50%", "a/b", "a?b#c", "ä", "日本", "a&b=c", "..x", "a\\b"])
def test_a_sku_is_any_text_and_goes_into_an_address_whole(sku):
    account = Account()
    account.items, account.offers = [item(sku)], {sku: [offer()]}

    assert ADAPTER.fetch_one(STORE, Resource.PRODUCTS, sku, account).id == sku
    assert account.asked[0].url.isascii()


@pytest.mark.parametrize("sku", ["", ".", "..", "a\nb", "\ud800", "x" * 101, "\0"])
def test_what_is_no_sku_is_not_asked_for(sku):
    account = Account()

    assert refusal(lambda: ADAPTER.fetch_one(STORE, Resource.PRODUCTS, sku, account)).refusal is Refusal.NOT_FOUND
    assert not account.asked


def test_an_item_that_is_gone_is_not_found():
    assert refusal(lambda: ADAPTER.fetch_one(STORE, Resource.PRODUCTS, "X", Account())).refusal is Refusal.NOT_FOUND


# Hostile answers

CALLS: dict[str, Callable[[Any], object]] = {
    "probe": lambda http: ADAPTER.probe(STORE, http),
    "stores": lambda http: ADAPTER.stores_of(STORE, http),
    "orders": lambda http: ADAPTER.fetch(STORE, Resource.ORDERS, None, http, NOW),
    "products": lambda http: ADAPTER.fetch(STORE, Resource.PRODUCTS, None, http, NOW),
    "order": lambda http: ADAPTER.fetch_one(STORE, Resource.ORDERS, "12-34567-89012", http),
    "product": lambda http: ADAPTER.fetch_one(STORE, Resource.PRODUCTS, "TEE-M", http),
    "order ids": lambda http: ADAPTER.list_ids(STORE, Resource.ORDERS, None, http, NOW),
    "product ids": lambda http: ADAPTER.list_ids(STORE, Resource.PRODUCTS, None, http, NOW),
    "newest": lambda http: ADAPTER.newest_orders(STORE, http, NOW),
    "reconcile": lambda http: ADAPTER.reconcile(STORE, URL, "s", http),
    "unsubscribe": lambda http: ADAPTER.unsubscribe(STORE, URL, http),
    "app": lambda http: ADAPTER.reconcile_app(APP, APP_URL, http, NOW),
    "key": lambda http: ADAPTER.fetch_key(APP, "kid-1", http, NOW),
    "exchange": exchange,
    "refresh": lambda http: ADAPTER.refresh(STORE, http, NOW),
}
every_call = pytest.mark.parametrize("name", CALLS)
odd = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from(
            [10**400, float("nan"), float("inf"), 1e308, "", "\ud800", "NaN", "1e999999", "9" * 5000, "ENABLED"]
        ),
        st.text(max_size=8),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["orders", "inventoryItems", "offers", "total", "next", "userId", "errors", "errorId", "sku"]
            ),
            inner,
        ),
    ),
    max_leaves=8,
)


@dataclass
class Fixed:
    """Gives the same to every request but the one for an application token."""

    answer: Answer
    asked: list[str] = field(default_factory=list)

    def request(self, method: str, url: str, *, content: bytes | None = None, **_: Any) -> Answer:
        self.asked.append(url)
        if content and b"client_credentials" in content:
            return reply({"access_token": APP_TOKEN})
        return self.answer


def storable(value: Any) -> None:
    if isinstance(value, Page):
        for record in value.records:
            json.dumps([record.id, record.body, record.buyer], allow_nan=False, ensure_ascii=False).encode()
            assert record.updated_at.tzinfo is not None
        json.dumps([value.cursor, value.partial], ensure_ascii=False).encode()


@every_call
@given(content=odd, status=st.sampled_from([200, 200, 200, 201, 204, 400, 401, 404, 409, 500]))
@settings(max_examples=40, deadline=None)
def test_a_hostile_answer_gives_a_platform_error_or_what_can_be_stored(name, content, status):
    answer = Answer(status, {}, json.dumps(content).encode("utf-8", "surrogatepass"))

    storable(outcome(lambda: CALLS[name](Fixed(answer))))


@every_call
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"{" * 3, b"9" * 9000]
)
def test_a_body_that_is_no_json_gives_a_platform_error(name, body):
    found = outcome(lambda: CALLS[name](Fixed(Answer(200, {}, body))))

    assert isinstance(found, PlatformError)
    assert found.refusal in {Refusal.NOT_THE_PLATFORM, Refusal.NOT_UNDERSTOOD}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


def put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = put(value[place[0]], place[1:], new)
    return copy


GOOD = {
    "orders": {"orders": [order()], "total": 1},
    "order": order(),
    "products": {"inventoryItems": [item()], "total": 1, "offers": [offer()]},
    "product": {**item(), "offers": [offer()]},
}


@pytest.mark.parametrize("name", GOOD)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_an_answer_with_one_odd_value_gives_a_platform_error_or_what_can_be_stored(name, data):
    place = data.draw(st.sampled_from(places(GOOD[name])))
    content = put(GOOD[name], place, data.draw(odd))
    answer = Answer(200, {}, json.dumps(content).encode("utf-8", "surrogatepass"))

    storable(outcome(lambda: CALLS[name](Fixed(answer))))


# The app's own token, of which there are few in a day


def tokens_asked(account):
    return sum(b"client_credentials" in (asked.content or b"") for asked in account.asked)


def test_the_apps_token_is_kept_for_all_calls_as_long_as_it_is_good():
    account = Account()
    for minutes in (0, 1, 100, 116, 117, 230):
        ADAPTER.fetch_key(APP, "kid-1", account, NOW + timedelta(minutes=minutes))

    assert tokens_asked(account) == 2


def test_a_token_of_the_app_that_is_refused_is_not_used_again():
    account = Account()
    ADAPTER.fetch_key(APP, "kid-1", account, NOW)
    account.before = lambda *_: error(401, 1001)
    refusal(lambda: ADAPTER.fetch_key(APP, "kid-1", account, NOW))
    account.before = None

    assert ADAPTER.fetch_key(APP, "kid-1", account, NOW)
    assert tokens_asked(account) == 2


def test_after_its_secret_was_changed_the_app_has_another_token():
    account = Account()
    account.before = lambda _, asked: reply({"access_token": APP_TOKEN, "expires_in": 7200}) if asked.content else None
    for app in (APP, APP._replace(client_secret="another"), APP):
        ADAPTER.fetch_key(app, "kid-1", account, NOW)

    assert tokens_asked(account) == 2
