"""Amazon: what only it does, held to the models, examples and schemas that Amazon publishes."""

# ruff: noqa: S603 - starts our own interpreter

import base64
import gzip
import hashlib
import json
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator, FormatChecker, validators

from shared import clock
from shared.platforms import amazon
from shared.platforms.amazon import BUS, MARKETPLACES, QUEUE, TOPICS, Amazon, personal_until
from shared.platforms.base import (
    Answer,
    App,
    Connection,
    Delivery,
    Event,
    GrantsByOAuth,
    Json,
    ManagesSubscriptions,
    NotifiesApp,
    PlatformError,
    PlatformName,
    ReceivesWebhooks,
    Record,
    Refusal,
    Resource,
    ShowsNewest,
    SignsWithApp,
    Subscribed,
    Verdict,
)
from tests.platforms.conftest import Vector, vectors_of

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
US, DE, CA = "ATVPDKIKX0DER", "A1PA6795UKMFR9", "A2EUQ1WTGCTBG2"
SELLER = "A3TH9S8BH6GOGM"
QUEUE_ARN = "arn:aws:sqs:us-east-1:123456789012:storelink-notifications"
AMAZON = Amazon()
APP = App(
    "amzn1.application-oa2-client.local",
    "amzn1.oa2-cs.v1.local-secret",
    more={
        "application_id": "amzn1.sp.solution.local",
        "notification_application_ids": "amzn1.sellerapps.app.local",
        "queue_arn": QUEUE_ARN,
    },
)
SECRETS = {"access_token": "Atza|access", "refresh_token": "Atzr|refresh"}
STORE = Connection("https://www.amazon.com", SECRETS, f"{SELLER}.{US}", "USD", app=APP)
SPOKEN = ("local-secret", "Atza|", "Atzr|", "one-time-code", "X-Amz-Signature")
"""What must be in no text of ours."""
LOGIN = "https://api.amazon.com/auth/o2/token"
URL = "https://hooks.example/webhooks/AMAZON/con_1"
PLACE = "https://tortuga-prod-na.s3-external-1.amazonaws.com/%2FNinetyDays/r.1?X-Amz-Signature=secret"
_CONTRACTS = Path(__file__).parents[3] / "shared" / "contracts" / "amazon"


@pytest.fixture(autouse=True)
def _today(monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: NOW)


def refusal(call: Callable[[], object]) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        call()
    shown = f"{caught.value.detail} {caught.value!r} {''.join(traceback.format_exception_only(caught.value))}"
    assert not any(secret in shown for secret in SPOKEN)
    return caught.value


def store_in(marketplace: str) -> Connection:
    return STORE._replace(domain=f"https://{MARKETPLACES[marketplace].host}", store_id=f"{SELLER}.{marketplace}")


# Amazon's models as judges


@cache
def model(name: str) -> Json:
    return json.loads((_CONTRACTS / f"{name}.json").read_text())


MODELS = (
    "orders_2026-01-01", "listingsItems_2021-08-01", "sellers", "notifications", "reports_2021-06-30",
)  # fmt: skip
_TYPES = {"integer": int, "boolean": {"true": True, "false": False}.__getitem__, "string": str}


def operations() -> Iterator[tuple[Json, str, str, Json]]:
    for name in MODELS:
        for path, item in model(name)["paths"].items():
            for method in {"get", "post", "delete", "put", "patch"} & set(item):
                yield model(name), path, method, item[method]


def operation_of(method: str, path: str) -> tuple[Json, Json, dict[str, str]]:
    """The operation that a request is, and what stands in its path."""
    for document, template, verb, operation in operations():
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template))
        match = re.fullmatch(pattern, path)
        if match and verb.upper() == method:
            return document, operation, {name: unquote(value) for name, value in match.groupdict().items()}
    raise AssertionError(f"Amazon knows no {method} {path}")


def violations(document: Json, schema: Json, value: Any) -> list[str]:
    judge = validators.extend(Draft4Validator)({**schema, "definitions": document["definitions"]},
                                               format_checker=FormatChecker())  # fmt: skip
    return [error.message for error in judge.iter_errors(value)]


def check_request(asked: "Asked") -> None:
    """Whether Amazon's own model allows the request: its names, types, choices and limits."""
    document, operation, in_path = operation_of(asked.method, urlsplit(asked.url).path)
    known = {each["name"]: each for each in operation.get("parameters", [])}
    given: dict[str, Any] = {**in_path, **asked.query, **({"body": asked.json} if asked.json is not None else {})}
    assert set(given) <= set(known)
    assert {name for name, each in known.items() if each.get("required")} <= set(given)
    for name, value in given.items():
        schema = known[name].get("schema") or {key: known[name][key] for key in known[name] if key not in _NOT_SCHEMA}
        assert violations(document, schema, _typed(schema, value)) == [], name
    if operation["operationId"] == "searchOrders":
        check_times(asked.query)


_NOT_SCHEMA = {"name", "in", "required", "collectionFormat", "description"}


def _typed(schema: Json, value: Any) -> Any:
    if schema.get("type") == "array":
        return [_TYPES[schema["items"]["type"]](each) for each in value.split(",")]
    return _TYPES[schema["type"]](value) if schema.get("type") in _TYPES else value


def check_times(query: Mapping[str, str]) -> None:
    """What the model says in words only."""
    assert ("createdAfter" in query) != ("lastUpdatedAfter" in query)
    by = "created" if "createdAfter" in query else "lastUpdated"
    assert {name for name in query if name.endswith(("After", "Before"))} <= {f"{by}After", f"{by}Before"}
    if before := query.get(f"{by}Before"):
        assert datetime.fromisoformat(query[f"{by}After"]) < datetime.fromisoformat(before)
        assert datetime.fromisoformat(before) <= NOW + timedelta(days=400) - timedelta(minutes=2)
    assert 1 <= int(query["maxResultsPerPage"]) <= 100


@dataclass
class Asked:
    """One request, as Amazon sees it."""

    method: str
    url: str
    query: dict[str, str]
    headers: dict[str, str]
    json: Any
    content: bytes | None

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.url).path)

    @property
    def form(self) -> dict[str, str]:
        return {name: value for name, (value,) in parse_qs((self.content or b"").decode()).items()}


Answers = Answer | list[Answer] | Callable[[Asked], Answer]


@dataclass
class Scripted:
    """Gives the same answer, or the next of several; what it is asked must be what Amazon's model allows."""

    answers: Answers
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
        assert basic is None
        asked = Asked(method, url, dict(params or {}), dict(headers or {}), json, content)
        self.asked.append(asked)
        if urlsplit(url).netloc.startswith("sellingpartnerapi-"):
            check_request(asked)
            assert re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", asked.headers["x-amz-date"])
            assert "(Language=" in asked.headers["user-agent"]
        if isinstance(self.answers, Answer):
            return self.answers
        return self.answers(asked) if callable(self.answers) else self.answers.pop(0)


def reply(content: Any, status: int = 200, **headers: str) -> Answer:
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def refused(status: int, code: str = "InvalidInput", details: str = "", **headers: str) -> Answer:
    error = {"code": code, "message": "Access to requested resource is denied.", "details": details}
    return reply({"errors": [error]}, status, **headers)


def examples(name: str, path: str, method: str, status: str) -> list[Json]:
    """What Amazon's static sandbox answers there."""
    response = model(name)["paths"][path][method]["responses"][status]
    return [each["response"] for each in response["x-amzn-api-sandbox"]["static"]]


# What it is


def test_fits_the_protocols_of_its_abilities():
    protocols = (ShowsNewest, ReceivesWebhooks, SignsWithApp, NotifiesApp, ManagesSubscriptions, GrantsByOAuth)

    assert all(isinstance(AMAZON, protocol) for protocol in protocols)


def test_its_import_costs_the_webhook_receiver_little():
    code = "import sys, shared.platforms.amazon; print([m for m in %r if m in sys.modules])"
    heavy = ["httpx", "pydantic", "boto3", "zoneinfo", "gzip", "csv", "_strptime"]

    shown = subprocess.run([sys.executable, "-c", code % heavy], capture_output=True, text=True, check=True).stdout

    assert shown.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("https://www.amazon.de", "https://www.amazon.de"),
        ("amazon.co.uk", "https://www.amazon.co.uk"),
        ("https://www.Amazon.com.au/sp?seller=A1", "https://www.amazon.com.au"),
        (US, "https://www.amazon.com"),
        (f" {DE} ", "https://www.amazon.de"),
    ],
)
def test_takes_a_marketplaces_page_or_id(text, domain):
    assert AMAZON.normal_domain(text) == domain


@pytest.mark.parametrize(
    "text", ["", "  ", "https://shop.example", "notamazon.de", "amazon.de.example", "https://www.amazon.de:444",
             "http://www.amazon.de", "amazon.cn", "sellercentral.amazon.com", "www.www.amazon.de", "A1PA6795UKMFR8"],
)  # fmt: skip
def test_takes_no_other_address(text):
    with pytest.raises(ValueError, match=r"address"):
        AMAZON.normal_domain(text)


def test_every_marketplace_has_one_address_of_its_own():
    assert len({each.host for each in MARKETPLACES.values()}) == len(MARKETPLACES) == 23


# Notifications: the vectors, the schemas' examples


VECTORS = vectors_of(PlatformName.AMAZON)


def queued(vector: Vector) -> Delivery:
    return AMAZON.read_queue_message(vector.delivery.body.decode(), vector.other["sqs_md5_of_body"])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_takes_what_the_vectors_say_is_ours_and_nothing_else(vector):
    delivery, secrets = queued(vector), [vector.other["expected_application_id"]]

    assert (AMAZON.verify(delivery, secrets, NOW) is Verdict.GENUINE) is vector.is_genuine
    if vector.is_genuine:
        assert AMAZON.event_id(delivery) == vector.other["event_id"]
        assert AMAZON.topic(delivery) == "ORDER_CHANGE"
        assert AMAZON.parse(delivery) == [Event(Resource.ORDERS, "903-8868176-2219830")]
        assert AMAZON.store_of(delivery) == f"{SELLER}.{US}"
        assert AMAZON.stores_named(delivery) == [f"{SELLER}.{US}"]


GENUINE = next(vector for vector in VECTORS if vector.is_genuine)


def test_nothing_that_comes_by_http_is_genuine():
    secrets = [GENUINE.other["expected_application_id"]]
    whole = GENUINE.other["sqs_md5_of_body"]

    for headers in ({}, {"aws-sqs": whole}, {"x-sqs-md5": whole}, {"content-md5": whole}):
        assert AMAZON.verify(Delivery(headers, GENUINE.delivery.body), secrets, NOW) is Verdict.FORGED
    # what marks a queue's message can be no header's name (RFC 9110, 5.1)
    assert not any(re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) for name in (QUEUE, BUS))


def test_a_changed_message_is_refused():
    delivery, secrets = queued(GENUINE), [GENUINE.other["expected_application_id"]]
    body = delivery.body

    for changed in (body[:-1], body + b" ", body.replace(b"903", b"904"), b""):
        assert AMAZON.verify(delivery._replace(body=changed), secrets, NOW) is Verdict.FORGED
    for told in (GENUINE.other["sqs_md5_of_body"].upper(), "", "é" * 32, "\ud800"):
        assert AMAZON.verify(delivery._replace(headers={QUEUE: told}), secrets, NOW) is Verdict.FORGED


@pytest.mark.parametrize("secrets", [[], [""], ["", ""], ["another"]])
def test_without_an_application_of_ours_nothing_is_taken(secrets):
    assert AMAZON.verify(queued(GENUINE), secrets, NOW) is Verdict.FORGED


def test_a_notification_without_an_application_is_not_taken_for_an_empty_one():
    body = json.dumps({"NotificationType": "ORDER_CHANGE", "NotificationMetadata": {"NotificationId": "1"}})
    delivery = AMAZON.read_queue_message(body, hashlib.md5(body.encode()).hexdigest())  # noqa: S324 - as SQS does

    assert AMAZON.verify(delivery, ["", "x"], NOW) is Verdict.FORGED


def test_a_message_that_is_larger_than_any_notification_is_not_taken():
    body = GENUINE.delivery.body.replace(b"{", b"{" + b" " * amazon.LARGEST_NOTICE, 1)

    assert json.loads(body)
    delivery = AMAZON.read_bus_event(body.decode())
    assert AMAZON.verify(delivery, [GENUINE.other["expected_application_id"]], NOW) is Verdict.FORGED


def test_a_notification_without_an_id_is_not_taken():
    body = GENUINE.delivery.body.replace(b'"NotificationId"', b'"Other"')
    delivery = Delivery({BUS: ""}, body)

    assert AMAZON.verify(delivery, [GENUINE.other["expected_application_id"]], NOW) is Verdict.FORGED


def test_event_bridge_tells_no_digest():
    bridged = next(vector for vector in VECTORS if vector.other.get("transport") == "eventbridge")
    delivery = Delivery({BUS: ""}, bridged.delivery.body)

    assert AMAZON.verify(delivery, [bridged.other["expected_application_id"]], NOW) is Verdict.GENUINE


def test_a_detail_that_is_text_reads_as_one_that_is_an_object():
    bridged = next(vector for vector in VECTORS if vector.other.get("transport") == "eventbridge")
    event = json.loads(bridged.delivery.body)
    delivery = Delivery({BUS: ""}, json.dumps({**event, "detail": json.dumps(event["detail"])}).encode())

    assert AMAZON.parse(delivery) == [Event(Resource.ORDERS, "903-8868176-2219830")]
    assert AMAZON.event_id(delivery) == bridged.other["event_id"]


def test_accepts_the_application_ids_of_the_registration():
    assert AMAZON.app_secrets(APP) == ["amzn1.sellerapps.app.local", "amzn1.sp.solution.local"]
    assert AMAZON.app_secrets(App("id", "secret")) == []


NOTICES = {
    "OrderChangeNotification": [Event(Resource.ORDERS, "903-8868176-2219830")],
    "ListingsItemStatusChangeNotification": [Event(Resource.PRODUCTS, "NLS-SHOES-03")],
    "ListingsItemIssuesChangeNotification": [Event(Resource.PRODUCTS, "NLS-SHOES-03")],
    "ListingsItemMfnQuantityChange": [Event(Resource.PRODUCTS, "NLS-SHOES-03")],
    "ReportProcessingFinishedNotification": [],
}


MISPRINTS = {"'LISTINGS_ITEM_STATUS_CHANGE' is not one of ['LISTINGS_ITEM_STATUS_CHANGED']"}
"""What Amazon's schemas say of their own examples."""


@pytest.mark.parametrize("name", NOTICES)
def test_the_examples_of_amazons_schemas_are_read(name):
    schema = json.loads((_CONTRACTS / f"{name}.json").read_text())

    for example in schema["examples"]:
        assert set(violations({"definitions": {}}, schema, example)) <= MISPRINTS
        delivery = Delivery({BUS: ""}, json.dumps(example).encode())
        about = example.get("NotificationMetadata") or example["notificationMetadata"]
        ours = [about.get("ApplicationId") or about["applicationId"]]
        assert AMAZON.verify(delivery, ours, NOW) is Verdict.GENUINE
        assert AMAZON.parse(delivery) == NOTICES[name]


def notice(type: str, payload: Json) -> Delivery:
    return Delivery({BUS: ""}, json.dumps({"NotificationType": type, "Payload": payload}).encode())


def test_a_deleted_listing_is_announced_as_deleted():
    delivery = notice("LISTINGS_ITEM_STATUS_CHANGE", {"SellerId": SELLER, "Sku": "TEE", "Status": ["DELETED"]})

    assert AMAZON.parse(delivery) == [Event(Resource.PRODUCTS, "TEE", deleted=True)]


def test_a_notification_without_a_marketplace_may_be_about_any_store_of_the_seller():
    delivery = notice("LISTINGS_ITEM_MFN_QUANTITY_CHANGE", {"SellerId": SELLER, "Sku": "TEE", "Quantity": 9})

    assert AMAZON.store_of(delivery) == ""
    assert set(AMAZON.stores_named(delivery)) == {f"{SELLER}.{id}" for id in MARKETPLACES}


@pytest.mark.parametrize("seller", ["", "a#b", "A1.B2", "A" * 40, 7, None, "\ud800"])
def test_a_notification_of_nobody_is_for_no_store(seller):
    delivery = notice("ORDER_CHANGE", {"OrderChangeNotification": {"SellerId": seller, "AmazonOrderId": "1"}})

    assert AMAZON.store_of(delivery) == ""
    assert AMAZON.stores_named(delivery) == ()


@pytest.mark.parametrize("payload", [{}, {"Sku": ""}, {"Sku": "a\nb"}, {"Sku": 7}, {"Sku": "x" * 300}, "text", None])
def test_a_notification_that_names_nothing_cannot_be_read(payload):
    with pytest.raises(ValueError, match="Sku"):
        AMAZON.parse(notice("LISTINGS_ITEM_STATUS_CHANGE", payload))


# Subscriptions


@dataclass
class Notifier:
    """The destinations and subscriptions of one seller in one region."""

    destinations: dict[str, str] = field(default_factory=dict)
    subscriptions: dict[str, str] = field(default_factory=dict)
    made: int = 0

    def __call__(self, asked: Asked) -> Answer:
        if asked.url == LOGIN:
            assert asked.form["grant_type"] == "client_credentials"
            assert asked.form["scope"] == "sellingpartnerapi::notifications"
            return reply({"access_token": "Atza|grantless", "expires_in": 3600})
        grantless = asked.path.startswith("/notifications/v1/destinations") or asked.method == "DELETE"
        assert asked.headers["x-amz-access-token"] == ("Atza|grantless" if grantless else "Atza|access")
        if "destinations" in asked.path:
            return self._destinations(asked)
        type = asked.path.split("/")[4]
        if asked.method == "GET":
            there = self.subscriptions.get(type)
            found = {"subscriptionId": f"s-{type}", "payloadVersion": "1.0", "destinationId": there}
            return reply({"payload": found}) if there else refused(404, "NotFound")
        if asked.method == "DELETE":
            assert asked.path.endswith(f"/s-{type}")
            del self.subscriptions[type]
            return reply({})
        self.subscriptions[type] = asked.json["destinationId"]
        return reply({"payload": {"subscriptionId": f"s-{type}", **asked.json}})

    def _destinations(self, asked: Asked) -> Answer:
        if asked.method == "POST":
            self.made += 1
            self.destinations[f"d-{self.made}"] = asked.json["resourceSpecification"]["sqs"]["arn"]
        rows = [{"destinationId": id, "name": "x", "resource": {"sqs": {"arn": arn}}}
                for id, arn in self.destinations.items()]  # fmt: skip
        return reply({"payload": rows[-1] if asked.method == "POST" else rows})


def test_subscribes_the_seller_to_our_queue_once():
    amazons = Notifier({"d-0": "arn:aws:sqs:us-east-1:123456789012:other"})

    first = AMAZON.reconcile(STORE, URL, "", Scripted(amazons))
    again = AMAZON.reconcile(STORE, URL, "", Scripted(amazons))

    assert first == Subscribed(created=len(TOPICS))
    assert again == Subscribed(kept=len(TOPICS))
    assert amazons.subscriptions == dict.fromkeys(TOPICS, "d-1")
    assert amazons.destinations["d-1"] == QUEUE_ARN


def test_repairs_what_goes_to_another_queue():
    amazons = Notifier({"d-9": QUEUE_ARN}, {"ORDER_CHANGE": "d-old"})

    assert AMAZON.reconcile(STORE, URL, "", Scripted(amazons)) == Subscribed(created=2, repaired=1)
    assert set(amazons.subscriptions.values()) == {"d-9"}


def test_that_somebody_was_quicker_is_fine():
    amazons = Notifier({"d-9": QUEUE_ARN})
    http = Scripted(lambda asked: refused(409, "Conflict") if asked.json else amazons(asked))

    assert AMAZON.reconcile(STORE, URL, "", http).created == len(TOPICS)


def test_unsubscribes_what_there_is():
    amazons = Notifier({"d-9": QUEUE_ARN}, {"ORDER_CHANGE": "d-9", "FEED_PROCESSING_FINISHED": "d-9"})

    AMAZON.unsubscribe(STORE, URL, Scripted(amazons))
    AMAZON.unsubscribe(STORE, URL, Scripted(amazons))

    assert amazons.subscriptions == {"FEED_PROCESSING_FINISHED": "d-9"}


def test_without_a_queue_nothing_is_subscribed():
    http = Scripted([])
    store = STORE._replace(app=App("id", "secret"))

    assert AMAZON.reconcile(store, URL, "", http) == Subscribed()
    AMAZON.unsubscribe(store, URL, http)
    assert http.asked == []


def test_the_answers_of_amazons_sandbox_about_notifications_are_read():
    (listed,) = examples("notifications", "/notifications/v1/destinations", "get", "200")
    (found,) = examples("notifications", "/notifications/v1/subscriptions/{notificationType}", "get", "200")
    arn = listed["payload"][0]["resource"]["sqs"]["arn"]
    store = STORE._replace(app=APP._replace(more={**APP.more, "queue_arn": arn}))
    subscribed = {"payload": {**found["payload"], "destinationId": "TEST_CASE_200"}}
    token = reply({"access_token": "Atza|grantless"})

    http = Scripted([token, reply(listed), *[reply(subscribed)] * len(TOPICS)])

    assert AMAZON.reconcile(store, URL, "", http) == Subscribed(kept=len(TOPICS))


# Granting


@pytest.mark.parametrize(
    ("marketplace", "host"),
    [
        (US, "sellercentral.amazon.com"),
        (DE, "sellercentral-europe.amazon.com"),
        ("A1VC38T7YXB528", "sellercentral.amazon.co.jp"),
    ],
)
def test_sends_the_seller_to_the_seller_central_of_the_marketplace(marketplace, host):
    domain = store_in(marketplace).domain

    url = urlsplit(AMAZON.authorization_url(APP, domain, state="s&1", return_url=URL, challenge=""))

    assert (url.netloc, url.path) == (host, "/apps/authorize/consent")
    assert parse_qs(url.query) == {"application_id": ["amzn1.sp.solution.local"], "state": ["s&1"]}


def test_a_draft_app_uses_the_beta_page():
    app = APP._replace(more={**APP.more, "draft": "yes"})

    url = AMAZON.authorization_url(app, STORE.domain, state="s", return_url=URL, challenge="")

    assert parse_qs(urlsplit(url).query)["version"] == ["beta"]


def test_a_registration_without_an_application_id_is_named():
    app = App("id", "secret")

    error = refusal(lambda: AMAZON.authorization_url(app, STORE.domain, state="s", return_url=URL, challenge=""))

    assert (error.refusal, "application_id" in error.detail) == (Refusal.REQUEST, True)


def test_reads_who_approved():
    query = [("state", "s1"), ("selling_partner_id", SELLER), ("spapi_oauth_code", "one-time-code")]

    callback = AMAZON.read_callback(APP, query, NOW)

    assert (callback.state, callback.code, callback.domain) == ("s1", "one-time-code", "")
    assert callback.account == SELLER
    assert "one-time-code" not in repr(callback)


def test_a_callback_without_a_code_declines():
    assert AMAZON.read_callback(APP, [("state", "s1")], NOW).code == ""


@pytest.mark.parametrize(
    "query",
    [
        [("spapi_oauth_code", "c"), ("selling_partner_id", SELLER)],
        [("state", ""), ("spapi_oauth_code", "c"), ("selling_partner_id", SELLER)],
        [("state", "s"), ("state", "t"), ("spapi_oauth_code", "c"), ("selling_partner_id", SELLER)],
        [("state", "s"), ("spapi_oauth_code", "c")],
        [("state", "s"), ("spapi_oauth_code", "c"), ("selling_partner_id", "../x")],
        [("state", "s"), ("spapi_oauth_code", "c"), ("selling_partner_id", f"{SELLER}.{US}")],
    ],
)
def test_refuses_a_callback_that_is_not_whole(query):
    with pytest.raises(ValueError, match=r"state|twice|seller"):
        AMAZON.read_callback(APP, query, NOW)


def exchange(http: Scripted) -> Any:
    return AMAZON.exchange(APP, STORE.domain, "one-time-code", return_url=URL, verifier="", http=http, now=NOW)


TOKENS = {"access_token": "Atza|new", "refresh_token": "Atzr|new", "token_type": "bearer", "expires_in": 3600}


def test_a_code_gives_tokens_for_a_year():
    http = Scripted(reply(TOKENS))

    tokens = exchange(http)

    assert tokens == ("Atza|new", "Atzr|new", NOW + timedelta(hours=1), NOW + timedelta(days=365), False)
    (asked,) = http.asked
    assert (asked.method, asked.url, asked.query) == ("POST", LOGIN, {})
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert asked.form == {
        "grant_type": "authorization_code",
        "code": "one-time-code",
        "client_id": APP.client_id,
        "client_secret": APP.client_secret,
    }


def test_a_code_without_a_refresh_token_is_no_grant():
    assert refusal(lambda: exchange(Scripted(reply({"access_token": "x"})))).refusal is Refusal.NOT_THE_PLATFORM


def test_a_refresh_changes_no_plan_for_the_yearly_approval():
    http = Scripted(reply({"access_token": "Atza|new", "expires_in": 3600}))

    tokens = AMAZON.refresh(STORE, http, NOW)

    assert tokens == ("Atza|new", None, NOW + timedelta(hours=1), None, False)
    assert http.asked[0].form["refresh_token"] == "Atzr|refresh"


@pytest.mark.parametrize("life", [None, "3600", True, -1, 0, 10**12, 3600.5])
def test_an_end_that_is_none_is_not_told(life):
    tokens = AMAZON.refresh(STORE, Scripted(reply({**TOKENS, "expires_in": life})), NOW)

    assert tokens.expires_at is None
    assert not tokens.never_expires


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply({"error": "invalid_grant", "error_description": "Atzr|refresh was revoked"}, 400), Refusal.CREDENTIALS),
        (reply({"error": "invalid_client"}, 401), Refusal.REQUEST),
        (reply({"error": "unauthorized_client"}, 400), Refusal.REQUEST),
        (reply({"error": "invalid_grant"}, 500), Refusal.TRANSIENT),
        (reply({"error": "invalid_grant"}, 429), Refusal.RATE_LIMITED),
        (reply({}, 408), Refusal.TRANSIENT),
        (Answer(200, {}, b"<html>"), Refusal.NOT_THE_PLATFORM),
        (Answer(403, {}, b"<html>invalid_grant"), Refusal.NOT_THE_PLATFORM),
        (reply({"error": "Atzr|refresh"}, 400), Refusal.NOT_THE_PLATFORM),
        (reply([], 200), Refusal.NOT_THE_PLATFORM),
        (reply({"access_token": "a b"}), Refusal.NOT_THE_PLATFORM),
        (reply({"access_token": 7}), Refusal.NOT_THE_PLATFORM),
        (reply({"access_token": "a", "refresh_token": ["x"]}), Refusal.NOT_THE_PLATFORM),
    ],
)
def test_only_a_dead_grant_calls_for_a_person(answer, expected):
    assert refusal(lambda: AMAZON.refresh(STORE, Scripted(answer), NOW)).refusal is expected


PARTICIPATIONS = examples("sellers", "/sellers/v1/marketplaceParticipations", "get", "200")[0]
NO_LISTINGS = reply({"numberOfResults": 0, "items": []})


def test_the_store_is_the_seller_in_the_marketplace():
    http = Scripted([reply(PARTICIPATIONS), NO_LISTINGS])

    (identity,) = AMAZON.stores_of(STORE._replace(store_id=SELLER), http)

    assert identity.store_id == f"{SELLER}.{US}"
    assert identity.domain == "https://www.amazon.com"
    assert (identity.store_name, identity.currency) == ("BestSellerStore", "USD")
    assert {urlsplit(asked.url).netloc for asked in http.asked} == {"sellingpartnerapi-na.amazon.com"}
    assert http.asked[1].path == f"/listings/2021-08-01/items/{SELLER}"
    assert all(asked.headers["x-amz-access-token"] == "Atza|access" for asked in http.asked)


@pytest.mark.parametrize("region", ["na", "eu", "fe"])
def test_each_region_has_its_own_servers(region):
    marketplace = next(id for id, each in MARKETPLACES.items() if each.region == region)
    part = {"marketplace": {"id": marketplace}, "participation": {"isParticipating": True}, "storeName": "S"}
    http = Scripted([reply({"payload": [part]}), NO_LISTINGS])

    identity = AMAZON.probe(store_in(marketplace), http)

    assert identity.currency == MARKETPLACES[marketplace].currency
    assert {urlsplit(asked.url).netloc for asked in http.asked} == {f"sellingpartnerapi-{region}.amazon.com"}


def test_connects_with_a_refresh_token_alone():
    http = Scripted([reply(TOKENS), reply(PARTICIPATIONS), NO_LISTINGS])

    identity = AMAZON.probe(STORE._replace(credentials={"refresh_token": "Atzr|refresh"}), http)

    assert identity.credentials == {"access_token": "Atza|new"}
    assert frozenset({"refresh_token"}) in AMAZON.credential_sets


def test_another_region_is_told():
    error = refusal(lambda: AMAZON.probe(STORE, Scripted(refused(403, "Unauthorized"))))

    assert error.refusal is Refusal.PERMISSION
    assert "North America" in error.detail
    assert "another region" in error.detail
    assert "Selling Partner Insights" in error.detail


def test_a_marketplace_not_taken_part_in_is_told_with_those_that_are():
    error = refusal(lambda: AMAZON.probe(store_in(CA), Scripted(reply(PARTICIPATIONS))))

    assert error.refusal is Refusal.PERMISSION
    assert error.detail == "The seller does not sell on www.amazon.ca, but sells on www.amazon.com."


@pytest.mark.parametrize(
    "payload",
    [[], [{"marketplace": {"id": US}, "participation": {"isParticipating": False}}], [{"marketplace": {"id": US}}]],
)
def test_a_seller_who_is_not_registered_is_told(payload):
    error = refusal(lambda: AMAZON.probe(STORE, Scripted(reply({"payload": payload}))))

    assert error.refusal is Refusal.PERMISSION
    assert "is not registered to sell anywhere in North America" in error.detail


@pytest.mark.parametrize("answer", [refused(403, "Unauthorized"), refused(400), refused(404, "NotFound")])
def test_an_approval_of_another_seller_does_not_pass_for_the_one_that_the_browser_named(answer):
    error = refusal(lambda: AMAZON.probe(STORE, Scripted([reply(PARTICIPATIONS), answer])))

    assert error.refusal is Refusal.PERMISSION
    assert SELLER in error.detail


@pytest.mark.parametrize("store_id", ["", "x", f"{SELLER}.{DE}", "A/B", f".{US}"])
def test_a_store_that_is_not_named_whole_is_not_asked_about(store_id):
    http = Scripted([])

    assert refusal(lambda: AMAZON.probe(STORE._replace(store_id=store_id), http)).refusal is Refusal.REQUEST
    assert http.asked == []


@pytest.mark.parametrize("domain", ["", "https://evil.example", "https://www.amazon.com.evil.example"])
def test_no_token_goes_to_an_address_that_is_no_marketplace(domain):
    http = Scripted([])

    assert refusal(lambda: AMAZON.probe(STORE._replace(domain=domain), http)).refusal is Refusal.ADDRESS
    assert http.asked == []


# Orders


def order(id: str = "114-0000017-0000017", **changes: Any) -> Json:
    return {
        "orderId": id,
        "createdTime": clock.short(NOW - timedelta(days=2)),
        "lastUpdatedTime": clock.short(NOW - timedelta(days=1)),
        "salesChannel": {"channelName": "AMAZON", "marketplaceId": US},
        "buyer": {"buyerName": "Buyer 17", "buyerEmail": "b17@marketplace.example"},
        "recipient": {"deliveryAddress": {"name": "Buyer 17", "addressLine1": "17 Fictitious Way",
                                          "addressLine2": "Suite 1", "addressLine3": "Door 2", "city": "Springfield",
                                          "stateOrRegion": "WA", "postalCode": "98101", "countryCode": "US",
                                          "phone": "+1 206 555 0100"}},
        "proceeds": {"grandTotal": {"amount": "49.98", "currencyCode": "USD"}},
        "fulfillment": {"fulfillmentStatus": "UNSHIPPED"},
        "orderItems": [{
            "orderItemId": "11498765431234",
            "quantityOrdered": 2,
            "product": {"asin": "B000000017", "title": "Tee", "sellerSku": "TEE-M",
                        "price": {"unitPrice": {"amount": "19.99", "currencyCode": "USD"}},
                        "customization": {"customizedUrl": "https://custom.example/17.zip"}},
            "fulfillment": {"packing": {"giftOption": {"giftMessage": "To 18", "giftWrapLevel": "STANDARD"}}},
        }],
        **changes,
    }  # fmt: skip


def one(row: Json, store: Connection = STORE) -> Record:
    return AMAZON.fetch_one(store, Resource.ORDERS, row["orderId"], Scripted(reply({"order": row})))


def test_maps_an_order():
    record = one(order())

    assert record.updated_at == NOW - timedelta(days=1)
    assert record.created_at == NOW - timedelta(days=2)
    assert record.body == {
        "id": "114-0000017-0000017",
        "number": "114-0000017-0000017",
        "status": "paid",
        "platformStatus": "UNSHIPPED",
        "total": "49.98",
        "currency": "USD",
        "lines": [
            {
                "id": "11498765431234",
                "productId": "TEE-M",
                "variantId": "TEE-M",
                "title": "Tee",
                "sku": "TEE-M",
                "quantity": 2,
                "unitPrice": "19.99",
                "total": "39.98",
                "properties": [
                    {"name": "asin", "value": "B000000017"},
                    {"name": "giftWrapLevel", "value": "STANDARD"},
                    {"name": "customizedUrl", "value": "https://custom.example/17.zip"},
                ],
            }
        ],
        "customer": {"id": None, "name": "Buyer 17", "email": "b17@marketplace.example"},
        "shippingAddress": {
            "name": "Buyer 17",
            "company": None,
            "line1": "17 Fictitious Way",
            "line2": "Suite 1, Door 2",
            "city": "Springfield",
            "region": "WA",
            "postalCode": "98101",
            "country": "US",
            "phone": "+1 206 555 0100",
        },
        "note": "To 18",
        "fees": [],
        "createdAt": "2026-11-20T12:30:00Z",
        "updatedAt": "2026-11-21T12:30:00Z",
    }


@pytest.mark.parametrize(
    "example",
    [
        *[order for each in examples("orders_2026-01-01", "/orders/2026-01-01/orders", "get", "200")
          for order in each["orders"]],
        *[each["order"] for each in examples("orders_2026-01-01", "/orders/2026-01-01/orders/{orderId}", "get", "200")],
    ],
    ids=lambda row: row["orderId"],
)  # fmt: skip
def test_the_orders_of_amazons_sandbox_are_mapped(example, monkeypatch):
    soon = clock.from_text(example["createdTime"]) + timedelta(days=1)
    monkeypatch.setattr(clock, "now", lambda: soon)
    marketplace = example["salesChannel"]["marketplaceId"]

    body = one(example, store_in(marketplace)).body

    total = example["proceeds"]["grandTotal"]
    assert (body["id"], body["total"], body["currency"]) == (example["orderId"], total["amount"], total["currencyCode"])
    assert body["platformStatus"] == example["fulfillment"]["fulfillmentStatus"]
    assert body["shippingAddress"]["postalCode"] == example["recipient"]["deliveryAddress"]["postalCode"]
    for line, item in zip(body["lines"], example["orderItems"], strict=True):
        assert (line["sku"], line["quantity"]) == (item["product"]["sellerSku"], item["quantityOrdered"])
        parts = item["proceeds"]["breakdowns"]
        assert line["total"] == next(part["subtotal"]["amount"] for part in parts if part["type"] == "ITEM")


@pytest.mark.parametrize("example", examples("orders_2026-01-01", "/orders/2026-01-01/orders", "get", "200"))
def test_the_searches_of_amazons_sandbox_are_read(example):
    marketplace = example["orders"][0]["salesChannel"]["marketplaceId"]
    http = Scripted(reply(example))

    page = AMAZON.fetch(store_in(marketplace), Resource.ORDERS, None, http, NOW)

    assert [record.id for record in page.records] == [each["orderId"] for each in example["orders"]]
    assert page.done is not bool(example.get("pagination", {}).get("nextToken"))
    assert page.partial is None


STATUSES = model("orders_2026-01-01")["definitions"]["FulfillmentStatus"]["enum"]


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_of_the_model_has_a_meaning(status):
    assert one(order(fulfillment={"fulfillmentStatus": status})).body["status"] != "other"


@pytest.mark.parametrize(("fulfillment", "shown"), [({"fulfillmentStatus": "LOST"}, "LOST"), (None, "UNKNOWN")])
def test_an_unknown_status_keeps_its_word(fulfillment, shown):
    body = one(order(fulfillment=fulfillment)).body

    assert (body["status"], body["platformStatus"]) == ("other", shown)


def test_a_pending_order_has_no_total_yet_and_its_marketplaces_currency():
    body = one(order(proceeds=None, salesChannel={"channelName": "AMAZON", "marketplaceId": DE}), store_in(DE)).body

    assert (body["total"], body["currency"]) == (None, "EUR")


def test_an_order_of_another_marketplace_is_another_stores():
    elsewhere = order(salesChannel={"channelName": "AMAZON", "marketplaceId": CA})

    assert refusal(lambda: one(elsewhere)).refusal is Refusal.NOT_FOUND
    page = AMAZON.fetch(STORE, Resource.ORDERS, None, Scripted(reply({"orders": [elsewhere, order()]})), NOW)
    assert len(page.records) == 1


def test_an_app_without_the_roles_asks_for_nothing_of_the_buyer():
    asked = []
    for more in ({}, {"buyer_data": "no"}):
        http = Scripted(reply({"orders": []}))
        AMAZON.fetch(STORE._replace(app=App("i", "s", more=more)), Resource.ORDERS, None, http, NOW)
        asked.append(set(http.asked[0].query["includedData"].split(",")))

    assert asked[0] - asked[1] == {"BUYER", "RECIPIENT"}


# Buyers' data: at most 30 days after delivery


def ago(days: float) -> str:
    return clock.short(NOW - timedelta(days=days))


SHIPPED = {"fulfillmentStatus": "SHIPPED"}
_LATE = {"deliverByWindow": {"latestDateTime": ago(-5)}}


@pytest.mark.parametrize(
    ("changes", "until"),
    [
        ({"fulfillment": SHIPPED, "packages": [{"shipTime": ago(3)}, {"shipTime": ago(5)}]}, 25),
        ({"fulfillment": SHIPPED, "createdTime": ago(10)}, 20),
        ({"fulfillment": SHIPPED | _LATE, "createdTime": ago(10)}, 20),
        ({"fulfillment": {"fulfillmentStatus": "CANCELLED"} | _LATE, "createdTime": ago(10)}, 20),
        ({"fulfillment": {"fulfillmentStatus": "UNSHIPPED"} | _LATE, "createdTime": ago(10)}, 35),
        ({"fulfillment": {"fulfillmentStatus": "UNSHIPPED"}, "createdTime": ago(10)}, 20),
        ({"fulfillment": None, "createdTime": ago(10)}, 20),
    ],
)
def test_buyers_data_ends_no_later_than_30_days_after_delivery(changes, until):
    record = one(order(**changes))

    assert record.personal_until == NOW + timedelta(days=until)


@pytest.mark.parametrize("days", [29, 30, 31, 400])
def test_buyers_data_past_its_time_is_not_taken_in(days):
    record = one(order(fulfillment=SHIPPED, createdTime=ago(days + 5), packages=[{"shipTime": ago(days)}]))

    kept = days < 30
    shown = json.dumps(record.body)
    assert [word in shown for word in ("Buyer 17", "Fictitious", "custom.example", "To 18")] == [kept] * 4
    assert record.body["lines"][0]["sku"] == "TEE-M"
    assert (record.personal_until is not None) is kept


@given(
    created=st.integers(0, 400),
    shipped=st.lists(st.integers(0, 400), max_size=3),
    delivered_after=st.integers(0, 60),
    status=st.sampled_from(["SHIPPED", "PARTIALLY_SHIPPED"]),
)
def test_whenever_it_was_delivered_the_data_of_a_shipped_order_ends_in_time(created, shipped, delivered_after, status):
    bought = NOW - timedelta(days=created)
    times = [min(bought + timedelta(days=days), NOW) for days in shipped]
    row = order(createdTime=clock.short(bought), fulfillment=SHIPPED,
                packages=[{"shipTime": clock.short(time)} for time in times])  # fmt: skip

    delivered = (min(times) if times else bought) + timedelta(days=delivered_after)

    assert personal_until(row) <= delivered + timedelta(days=30)


# Paging orders


def cycle(fetch: Callable[[Json | None], Any], cursor: Json | None = None, most: int = 2_000) -> list[Any]:
    """All pages of one cycle; a cursor lives on as JSON."""
    pages = []
    for _ in range(most):
        page = fetch(json.loads(json.dumps(cursor)))
        pages.append(page)
        if page.done:
            return pages
        assert page.cursor != cursor
        cursor = page.cursor
    raise AssertionError("The cycle has no end.")


def test_a_cycle_asks_for_one_closed_time_and_the_next_goes_on_before_its_end():
    answers = [reply({"orders": [order(f"114-{page}")], "pagination": {"nextToken": f"t{page}"}}) for page in range(2)]
    http = Scripted([*answers, reply({"orders": []}), reply({"orders": []})])

    pages = cycle(lambda cursor: AMAZON.fetch(STORE, Resource.ORDERS, cursor, http, NOW))
    AMAZON.fetch(STORE, Resource.ORDERS, pages[-1].cursor, http, NOW + timedelta(minutes=5))

    times = [(asked.query["lastUpdatedAfter"], asked.query["lastUpdatedBefore"]) for asked in http.asked]
    assert len(set(times[:3])) == 1
    assert [asked.query.get("paginationToken") for asked in http.asked] == [None, "t0", "t1", None]
    assert times[0] == ("2024-11-22T12:30:00Z", "2026-11-22T12:27:00Z")
    assert times[3] == ("2026-11-22T12:17:00Z", "2026-11-22T12:32:00Z")


def test_twenty_searches_come_at_once_and_then_one_in_three_minutes():
    numbers = iter(range(1000))
    http = Scripted(lambda _: reply({"orders": [], "pagination": {"nextToken": f"t{next(numbers)}"}}))
    cursor: Json | None = None
    waits = []
    for _ in range(23):
        page = AMAZON.fetch(STORE, Resource.ORDERS, cursor, http, NOW)
        cursor = page.cursor
        waits.append(page.ready_at)

    assert waits[:19] == [None] * 19
    per_call = timedelta(seconds=1 / 0.0056)
    assert all(abs(wait - NOW - per_call) < timedelta(seconds=1) for wait in waits[19:])


def test_what_amazon_says_of_the_rate_goes_before_the_usage_plan():
    answer = reply({"orders": [], "pagination": {"nextToken": "t"}}, x_amzn_ratelimit_limit="0.5")
    cursor = {"begin": SECONDS - 9, "end": SECONDS, "budget": [0, SECONDS]}

    page = AMAZON.fetch(STORE, Resource.ORDERS, cursor, Scripted(answer), NOW)

    assert page.ready_at == NOW + timedelta(seconds=2)


def test_the_budget_grows_again_between_cycles():
    http = Scripted(reply({"orders": [], "pagination": {"nextToken": "t"}}))
    cursor = {"begin": SECONDS - 999, "budget": [0, SECONDS - 1800]}

    page = AMAZON.fetch(STORE, Resource.ORDERS, cursor, http, NOW)

    assert page.cursor["budget"] == [int(1800 * 0.0056 * 1000) - 1000, SECONDS]
    assert page.ready_at is None


def test_a_token_that_is_too_old_begins_the_search_anew_but_not_for_ever():
    http = Scripted(lambda asked: refused(400) if "paginationToken" in asked.query
                    else reply({"orders": [], "pagination": {"nextToken": "old"}}))  # fmt: skip

    error = refusal(lambda: cycle(lambda cursor: AMAZON.fetch(STORE, Resource.ORDERS, cursor, http, NOW)))

    assert error.refusal is Refusal.REQUEST
    searches = [asked.query for asked in http.asked if "lastUpdatedBefore" in asked.query]
    assert sum("paginationToken" not in query for query in searches) == 4


def test_the_same_token_again_is_refused():
    answer = reply({"orders": [], "pagination": {"nextToken": "t"}})
    cursor = AMAZON.fetch(STORE, Resource.ORDERS, None, Scripted(answer), NOW).cursor

    error = refusal(lambda: AMAZON.fetch(STORE, Resource.ORDERS, cursor, Scripted(answer), NOW))

    assert error.refusal is Refusal.NOT_THE_PLATFORM


def test_one_order_that_cannot_be_read_does_not_hold_up_the_others():
    rows = [order("114-1"), order("114-2", lastUpdatedTime="yesterday"), order("114-3"), {"orderItems": []}]

    page = AMAZON.fetch(STORE, Resource.ORDERS, None, Scripted(reply({"orders": rows})), NOW)

    assert [record.id for record in page.records] == ["114-1", "114-3"]
    assert page.partial == "Not understood: orders 114-2, without an id."


def test_the_newest_orders_come_first():
    rows = [order("114-1", createdTime=ago(2)), order("114-2", createdTime=ago(1))]
    http = Scripted(reply({"orders": rows}))

    newest = AMAZON.newest_orders(STORE, http, NOW)

    assert [record.id for record in newest] == ["114-2", "114-1"]
    assert "createdAfter" in http.asked[0].query


def test_ids_of_orders_are_those_of_the_last_days():
    http = Scripted([reply({"orders": [order("114-1")], "pagination": {"nextToken": "t"}}),
                     reply({"orders": [order("114-2")]})])  # fmt: skip

    pages = cycle(lambda cursor: AMAZON.list_ids(STORE, Resource.ORDERS, cursor, http, NOW))

    assert [list(page.ids) for page in pages] == [["114-1"], ["114-2"]]
    assert len({page.since for page in pages}) == 1
    assert http.asked[1].query["createdAfter"] == clock.short(pages[0].since)


# Listings


def listing(sku: str = "TEE-M", updated: int = SECONDS - 400, **changes: Any) -> Json:
    summary = {
        "marketplaceId": US,
        "asin": "B000000017",
        "productType": "SHIRT",
        "status": ["BUYABLE", "DISCOVERABLE"],
        "itemName": "Tee",
        "createdDate": clock.short(datetime.fromtimestamp(updated - 50, UTC)),
        "lastUpdatedDate": clock.short(datetime.fromtimestamp(updated, UTC)),
        "mainImage": {"link": "https://m.media-amazon.example/tee.jpg", "height": 9, "width": 9},
    }
    return {
        "sku": sku,
        "summaries": [{**summary, "marketplaceId": CA, "itemName": "Chandail"}, summary],
        "offers": [
            {"marketplaceId": CA, "offerType": "B2C", "price": {"currencyCode": "CAD", "amount": "29.99"}},
            {"marketplaceId": US, "offerType": "B2B", "price": {"currencyCode": "USD", "amount": "17.00"}},
            {"marketplaceId": US, "offerType": "B2C", "price": {"currencyCode": "USD", "amount": "19.99"}},
        ],
        "fulfillmentAvailability": [
            {"fulfillmentChannelCode": "DEFAULT", "quantity": 7},
            {"fulfillmentChannelCode": "AMAZON_NA"},
        ],
        "attributes": {"color": [{"value": "Black", "marketplace_id": US}], "size": [{"value": "M"}]},
        "relationships": [
            {
                "marketplaceId": US,
                "relationships": [
                    {
                        "type": "VARIATION",
                        "parentSkus": ["TEE"],
                        "variationTheme": {"attributes": ["color", "size"], "theme": "COLOR/SIZE"},
                    }
                ],
            }
        ],
        **changes,
    }


def one_listing(row: Json) -> Record:
    return AMAZON.fetch_one(STORE, Resource.PRODUCTS, row["sku"], Scripted(reply(row)))


def test_maps_a_listing_as_this_marketplace_has_it():
    record = one_listing(listing())

    assert record.body == {
        "id": "TEE-M",
        "title": "Tee",
        "status": "active",
        "platformStatus": "BUYABLE,DISCOVERABLE",
        "price": "19.99",
        "currency": "USD",
        "sku": "TEE-M",
        "imageUrl": "https://m.media-amazon.example/tee.jpg",
        "url": "https://www.amazon.com/dp/B000000017",
        "variants": [
            {
                "id": "TEE-M",
                "title": "Black, M",
                "sku": "TEE-M",
                "price": "19.99",
                "inventoryQuantity": 7,
                "attributes": {"color": "Black", "size": "M"},
            }
        ],
        "createdAt": "2026-11-22T12:22:30Z",
        "updatedAt": "2026-11-22T12:23:20Z",
    }


def test_a_parent_has_its_children_as_variants():
    children = [{"marketplaceId": US, "relationships": [{"type": "VARIATION", "childSkus": ["TEE-M", "TEE-L"]}]}]
    row = listing("TEE", relationships=children)
    row["summaries"][1]["status"] = ["DISCOVERABLE"]

    body = one_listing(row).body

    assert [variant["id"] for variant in body["variants"]] == ["TEE-M", "TEE-L"]
    assert body["status"] == "active"


@pytest.mark.parametrize(
    ("states", "status", "shown"),
    [(["BUYABLE"], "active", "BUYABLE"), ([], "inactive", "INACTIVE"), (["DISCOVERABLE"], "inactive", "DISCOVERABLE"),
     (["FROZEN"], "other", "FROZEN"), ("x", "inactive", "INACTIVE")],
)  # fmt: skip
def test_states_have_a_meaning(states, status, shown):
    row = listing(relationships=None)
    row["summaries"][1]["status"] = states

    body = one_listing(row).body

    assert (body["status"], body["platformStatus"]) == (status, shown)


def test_the_listings_of_amazons_sandbox_are_mapped():
    (item,) = examples("listingsItems_2021-08-01", "/listings/2021-08-01/items/{sellerId}/{sku}", "get", "200")
    (found,) = examples("listingsItems_2021-08-01", "/listings/2021-08-01/items/{sellerId}", "get", "200")

    body = one_listing(item).body
    elsewhere = AMAZON.fetch_one(store_in(CA), Resource.PRODUCTS, item["sku"], Scripted(reply(item))).body
    page = AMAZON.fetch(STORE, Resource.PRODUCTS, None, Scripted(reply(found)), NOW)

    assert (body["status"], body["price"], body["currency"]) == ("active", "100.00", "USD")
    assert (elsewhere["status"], elsewhere["price"], elsewhere["currency"]) == ("inactive", "130.00", "CAD")
    assert body["variants"][0]["inventoryQuantity"] == 100
    assert [record.body for record in page.records] == [body]
    assert (page.done, page.total) == (False, 3)


@pytest.mark.parametrize("sku", ["TEE M/L", "ä ö,%2F", "a.b", "#1?x=y&z", "..x", "日本"])
def test_a_sku_may_be_anything_that_can_be_written(sku):
    http = Scripted(reply(listing(sku)))

    record = AMAZON.fetch_one(STORE, Resource.PRODUCTS, sku, http)

    assert record.id == sku
    (asked,) = http.asked
    assert re.fullmatch(r"https://[a-z0-9.-]+/[!-~]*", asked.url)
    assert unquote(asked.url.rpartition("/")[2]) == sku


@pytest.mark.parametrize("sku", ["", ".", "..", "a\nb", "x" * 300, "\ud800"])
def test_what_is_no_sku_is_never_asked_for(sku):
    http = Scripted([])

    assert refusal(lambda: AMAZON.fetch_one(STORE, Resource.PRODUCTS, sku, http)).refusal is Refusal.NOT_FOUND
    assert http.asked == []


def test_a_sku_without_a_listing_here_is_no_product():
    row = listing(summaries=[])

    assert refusal(lambda: one_listing(row)).refusal is Refusal.NOT_FOUND
    page = AMAZON.fetch(STORE, Resource.PRODUCTS, None, Scripted(reply({"numberOfResults": 1, "items": [row]})), NOW)
    assert (list(page.records), page.partial) == ([], None)


@dataclass
class Catalogue:
    """A seller's listings by the time of their last change, found as Amazon does: sorted, by offset, 1,000 deep."""

    times: dict[str, int]
    shown: Callable[[int], int] = lambda time: time
    report: "Reports | None" = None

    def __call__(self, asked: Asked) -> Answer:
        if asked.path.startswith("/reports") or "amazonaws" in asked.url:
            assert self.report is not None
            return self.report(asked)
        query = asked.query
        if "identifiers" in query:
            rows = [sku for sku in query["identifiers"].split(",") if sku in self.times]
            return reply({"numberOfResults": len(rows), "items": [self.row(sku) for sku in rows]})
        begin, end = (_seconds(query.get(name)) for name in ("lastUpdatedAfter", "lastUpdatedBefore"))
        found = [sku for sku, time in self.times.items() if (begin or 0) <= time <= (end or SECONDS * 2)]
        found.sort(key=lambda sku: (self.times[sku], sku))
        start = int(query.get("pageToken", "t0")[1:])
        rows = found[start : min(start + int(query["pageSize"]), 1000)]
        more = start + len(rows) < min(len(found), 1000)
        pagination = {"nextToken": f"t{start + len(rows)}"} if more else {}
        items = [self.row(sku) for sku in rows]
        return reply({"numberOfResults": min(len(found), 1000), "items": items, "pagination": pagination})

    def row(self, sku: str) -> Json:
        return listing(sku, self.shown(self.times[sku]), attributes={}, relationships=[])


def _seconds(text: str | None) -> int | None:
    return int(datetime.fromisoformat(text).timestamp()) if text else None


def fetched(catalogue: Catalogue, cursor: Json | None = None, now: datetime = NOW, between: Any = None) -> Any:
    http = Scripted(catalogue)
    seen: list[str] = []

    def fetch(at: Json | None) -> Any:
        page = AMAZON.fetch(STORE, Resource.PRODUCTS, at, http, now)
        seen.extend(record.id for record in page.records)
        if between:
            between()
        return page

    pages = cycle(fetch, cursor)
    return seen, pages[-1].cursor, http


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.sampled_from([0, 0, 0, 1, 5, 3600]), min_size=1, max_size=150),
    moves=st.lists(st.integers(0, 149), max_size=12),
)
def test_paging_skips_no_listing_whatever_changes_meanwhile(gaps, moves):
    time, times = SECONDS - 900_000, {}
    for number, gap in enumerate(gaps):
        time += gap
        times[f"SKU-{number:03}"] = time
    catalogue, waiting = Catalogue(times), iter(moves)

    def change() -> None:
        number = next(waiting, None)
        if number is not None and number < len(times):
            times[f"SKU-{number:03}"] = SECONDS + 60

    seen, cursor, _ = fetched(catalogue, between=change)
    later, _, _ = fetched(catalogue, cursor, NOW + timedelta(minutes=10))

    # where a second has more than a page, Amazon's own tokens lead on, and rows may move past them
    if gaps.count(0) < 19 or not moves:
        assert set(seen) | set(later) == set(times)
    assert {sku for sku, changed in times.items() if changed > SECONDS} <= set(later)


def test_more_listings_than_any_search_shows_are_paged_through():
    catalogue = Catalogue({f"SKU-{number:05}": SECONDS - 90_000 + 3 * number for number in range(2_500)})

    seen, cursor, http = fetched(catalogue)

    assert len(set(seen)) == 2_500
    assert len(http.asked) <= 2_500 / 19 + 2
    assert cursor == {"begin": SECONDS - 600}


def test_times_that_are_not_in_order_leave_it_to_amazons_tokens():
    catalogue = Catalogue({f"SKU-{number:03}": SECONDS - 9_000 + number for number in range(200)},
                          shown=lambda time: SECONDS - 5_000 + (time * 7919) % 4_000)  # fmt: skip

    seen, _, http = fetched(catalogue)

    assert sorted(seen) == sorted(catalogue.times)
    assert [asked.query.get("pageToken") for asked in http.asked][1:] == [f"t{at}" for at in range(20, 200, 20)]


def test_a_page_token_of_listings_that_is_refused_begins_the_second_anew_but_not_for_ever():
    catalogue = Catalogue({f"SKU-{number:03}": SECONDS - 500 for number in range(60)})
    broken = iter([False, True])

    def once(asked: Asked) -> Answer:
        return refused(400) if "pageToken" in asked.query and next(broken, False) else catalogue(asked)

    def ever(asked: Asked) -> Answer:
        return refused(400) if "pageToken" in asked.query else catalogue(asked)

    pages = cycle(lambda cursor: AMAZON.fetch(STORE, Resource.PRODUCTS, cursor, Scripted(once), NOW))
    assert {record.id for page in pages for record in page.records} == set(catalogue.times)
    error = refusal(lambda: cycle(lambda cursor: AMAZON.fetch(STORE, Resource.PRODUCTS, cursor, Scripted(ever), NOW)))
    assert error.refusal is Refusal.NOT_THE_PLATFORM


@pytest.mark.parametrize("ask", [AMAZON.fetch, AMAZON.list_ids])
def test_the_same_page_token_of_listings_again_is_refused(ask):
    rows = [listing(f"SKU-{number}", SECONDS - 500) for number in range(20)]
    http = Scripted(reply({"numberOfResults": 60, "items": rows, "pagination": {"nextToken": "t"}}))

    error = refusal(lambda: cycle(lambda cursor: ask(STORE, Resource.PRODUCTS, cursor, http, NOW)))

    assert error.refusal is Refusal.NOT_THE_PLATFORM


def test_ids_of_a_small_catalogue_come_from_the_search():
    http = Scripted(Catalogue({f"SKU-{number:03}": SECONDS - number for number in range(50)}))

    pages = cycle(lambda cursor: AMAZON.list_ids(STORE, Resource.PRODUCTS, cursor, http, NOW))

    assert sorted(id for page in pages for id in page.ids) == [f"SKU-{number:03}" for number in range(50)]


# Reports


@dataclass
class Reports:
    """A report on all listings, ready after some polls."""

    content: bytes
    polls: int = 2
    ends: list[str] = field(default_factory=lambda: ["DONE"])
    compression: str | None = "GZIP"
    url: str = PLACE
    content_type: str = "text/plain;charset=utf-8"
    made: int = 0
    asked_for: int = 0

    def __call__(self, asked: Asked) -> Answer:
        if "amazonaws" in asked.url:
            assert "x-amz-access-token" not in asked.headers
            assert asked.query == {}
            return Answer(200, {"content-type": self.content_type}, self.content)
        if asked.method == "POST":
            assert asked.json == {"reportType": "GET_MERCHANT_LISTINGS_ALL_DATA", "marketplaceIds": [US]}
            self.made += 1
            self.asked_for = 0
            return reply({"reportId": f"R{self.made}"}, 202)
        if "/documents/" in asked.path:
            compression = {"compressionAlgorithm": self.compression} if self.compression else {}
            return reply({"reportDocumentId": "D1", "url": self.url, **compression})
        assert asked.path.endswith(f"/R{self.made}")
        self.asked_for += 1
        ready = self.asked_for > self.polls
        status = self.ends[min(self.made, len(self.ends)) - 1] if ready else "IN_PROGRESS"
        described = {"reportId": f"R{self.made}", "reportType": "x", "createdTime": ago(0), "processingStatus": status}
        return reply({**described, "reportDocumentId": "D1"} if status == "DONE" else described)


def report_of(skus: list[str], column: str = "seller-sku") -> bytes:
    lines = [f"item-name\t{column}\tprice\tstatus", *(f"Tee {sku}\t{sku}\t1\tActive" for sku in skus)]
    return gzip.compress("\r\n".join(lines).encode(), mtime=0)


BIG = {f"SKU-{number:04}": SECONDS - 5_000 for number in range(1_300)}
"""More listings of one second than a search shows."""


def test_ids_of_a_large_catalogue_come_from_a_report():
    reports = Reports(report_of(list(BIG)))
    http = Scripted(Catalogue(BIG, report=reports))

    pages = cycle(lambda cursor: AMAZON.list_ids(STORE, Resource.PRODUCTS, cursor, http, NOW))

    assert sorted(id for page in pages for id in page.ids) == sorted(BIG)
    assert reports.made == 1
    assert {page.ready_at for page in pages[1:-1]} == {NOW + timedelta(seconds=15)}


def test_listings_that_no_search_shows_are_found_by_a_report():
    reports = Reports(report_of(list(BIG)))

    seen, cursor, http = fetched(Catalogue(BIG, report=reports))

    assert set(seen) == set(BIG)
    assert cursor == {"begin": SECONDS - 600}
    assert reports.made == 1
    assert max(len(asked.query.get("identifiers", "").split(",")) for asked in http.asked) == 20


def test_a_crash_goes_on_with_the_same_report():
    reports = Reports(report_of(list(BIG)), polls=5)
    catalogue = Catalogue(BIG, report=reports)
    cursor: Json = {"polls": 0, "end": SECONDS}
    for _ in range(4):
        cursor = json.loads(json.dumps(AMAZON.fetch(STORE, Resource.PRODUCTS, cursor, Scripted(catalogue), NOW).cursor))

    assert cursor["report"] == "R1"
    seen, _, _ = fetched(catalogue, cursor)
    assert set(seen) == set(BIG)
    assert reports.made == 1


def test_a_report_that_amazon_has_forgotten_is_asked_for_again():
    reports = Reports(report_of(list(BIG)))
    catalogue = Catalogue(BIG, report=reports)

    def forgetful(asked: Asked) -> Answer:
        return refused(404, "NotFound") if asked.path.endswith("/R-old") else catalogue(asked)

    cursor = {"polls": 3, "report": "R-old", "end": SECONDS}
    pages = cycle(lambda at: AMAZON.fetch(STORE, Resource.PRODUCTS, at, Scripted(forgetful), NOW), cursor)

    assert {record.id for page in pages for record in page.records} == set(BIG)


def test_a_sku_with_a_comma_is_looked_up_alone_and_one_that_is_gone_is_left_out():
    reports = Reports(report_of(["A", "B,1", "C,1"]), polls=0)
    catalogue = Catalogue({"A": SECONDS - 9, "B,1": SECONDS - 9}, report=reports)

    def shop(asked: Asked) -> Answer:
        if asked.path.endswith(",1"):
            sku = asked.path.rpartition("/")[2]
            return reply(catalogue.row(sku)) if sku in catalogue.times else refused(404, "NotFound")
        return catalogue(asked)

    pages = cycle(lambda at: AMAZON.fetch(STORE, Resource.PRODUCTS, at, Scripted(shop), NOW), {"polls": 0, "end": 9})

    assert {record.id for page in pages for record in page.records} == {"A", "B,1"}


def test_a_place_that_does_not_give_the_report_is_tried_again_later():
    reports = Reports(b"", polls=0, made=1)
    http = Scripted(lambda asked: Answer(403, {}, b"<Error>") if "amazonaws" in asked.url else reports(asked))

    error = refusal(lambda: AMAZON.list_ids(STORE, Resource.PRODUCTS, {"polls": 1, "report": "R1"}, http, NOW))

    assert error.refusal is Refusal.TRANSIENT


@pytest.mark.parametrize("bad", ["CANCELLED", "FATAL", "NEWS"])
def test_a_report_that_fails_is_asked_for_again_but_not_for_ever(bad):
    once = Reports(report_of(list(BIG)), ends=[bad, "DONE"])
    ever = Reports(report_of(list(BIG)), ends=[bad])

    seen, _, _ = fetched(Catalogue(BIG, report=once), {"polls": 0, "end": SECONDS})

    assert set(seen) == set(BIG)
    error = refusal(lambda: fetched(Catalogue(BIG, report=ever), {"polls": 0, "end": SECONDS}))
    assert error.refusal is Refusal.NOT_THE_PLATFORM
    assert ever.made == 4


def test_throttled_look_ups_keep_what_was_found():
    http = Catalogue(BIG, report=Reports(report_of(list(BIG)), polls=0))
    asked_for = iter(range(100))

    def impatient(asked: Asked) -> Answer:
        return refused(429, "QuotaExceeded") if "identifiers" in asked.query and next(asked_for) == 2 else http(asked)

    cursor: Json = {"polls": 1, "report": "R0", "end": SECONDS}
    page = AMAZON.fetch(STORE, Resource.PRODUCTS, {**cursor, "report": _made(http)}, Scripted(impatient), NOW)

    assert len(page.records) == 40
    assert page.cursor["row"] == 40
    assert page.ready_at == NOW + timedelta(seconds=0.2)


def _made(catalogue: Catalogue) -> str:
    assert catalogue.report is not None
    catalogue.report.made = 1
    return "R1"


def listed(reports: Reports) -> list[str]:
    reports.made = 1
    reports.polls = 0
    page = AMAZON.list_ids(STORE, Resource.PRODUCTS, {"polls": 1, "report": "R1"}, Scripted(reports), NOW)
    assert page.done
    return list(page.ids)


@pytest.mark.parametrize(
    ("text", "charset", "said"),
    [
        ("item-name\tseller-sku\tstatus\nÄ\tÄ-1\tActive\nB\tB-1\tIncomplete\nC\tC-1\tInactive", "utf-8", "UTF-8"),
        ("item-name\tseller-sku\tstatus\nÄ\tÄ-1\tActive\nB\tB-1\tincomplete\nC\tC-1\tInactive", "cp1252", "Cp1252"),
        ("item-name\tseller-sku\nÄ\tÄ-1\nC\tC-1\n", "cp1252", ""),
        ("\ufeffseller-sku\tstatus\nÄ-1\t\nC-1\n\n\t\n", "utf-8", ""),
        ("商品名\t出品者SKU\n表\tÄ-1\n表\tC-1\n".replace("Ä", "表"), "cp932", "Shift_JIS"),
    ],
)
def test_reads_the_skus_of_a_report_in_any_of_amazons_encodings(text, charset, said):
    content_type = f"text/plain;charset={said}" if said else "application/octet-stream"
    reports = Reports(text.encode(charset), compression=None, content_type=content_type)

    assert [sku.replace("表", "Ä") for sku in listed(reports)] == ["Ä-1", "C-1"]


@pytest.mark.parametrize(
    "url",
    ["https://evil.example/r", "http://x.s3.amazonaws.com/r", "https://amazonaws.com.evil.example/r", "", None, 7,
     "https://x.amazonaws.com:8443/r", "https://x.amazonaws.com@evil.example/r", "https://169.254.169.254/r",
     "https://x.amazonaws.com/r#x", "https://x.amazonaws.com\\evil.example/r", "https://x.amazonaws.com/é"],
)  # fmt: skip
def test_a_report_is_fetched_from_amazons_own_hosts_only(url):
    http = Scripted(Reports(b"", url=url))

    http.answers.made, http.answers.polls = 1, 0
    error = refusal(lambda: AMAZON.list_ids(STORE, Resource.PRODUCTS, {"polls": 1, "report": "R1"}, http, NOW))

    assert error.refusal is Refusal.ADDRESS
    assert all(urlsplit(asked.url).netloc == "sellingpartnerapi-na.amazon.com" for asked in http.asked)


def test_the_place_that_amazons_sandbox_names_is_allowed():
    (example,) = examples("reports_2021-06-30", "/reports/2021-06-30/documents/{reportDocumentId}", "get", "200")

    assert amazon._DOCUMENT_URL.fullmatch(example["url"])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"no gzip", Refusal.NOT_THE_PLATFORM),
        (report_of(["A"] * 999)[:-9], Refusal.TRANSIENT),
        (gzip.compress(b"a\tb\nc\td", mtime=0), Refusal.NOT_THE_PLATFORM),
        (gzip.compress(b"", mtime=0), Refusal.NOT_THE_PLATFORM),
        (gzip.compress(b"x" * 2_000_000, mtime=0), Refusal.NOT_THE_PLATFORM),
        (b"", Refusal.TRANSIENT),
    ],
    ids=["not packed", "cut off", "another table", "empty inside", "one endless line", "nothing"],
)
def test_a_report_that_is_none_is_refused(content, expected):
    assert refusal(lambda: listed(Reports(content))).refusal is expected


def test_a_report_that_inflates_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(amazon, "_LARGEST_REPORT", 1_000_000)
    bomb = gzip.compress(b"seller-sku\n" + b"x\n" * 5_000_000)

    assert refusal(lambda: listed(Reports(bomb))).refusal is Refusal.NOT_THE_PLATFORM


# Refusals

EXPIRED = "The access token you provided has expired."
REVOKED = "The access token you provided is revoked, malformed or invalid."
CALLS: dict[str, Callable[[Scripted], object]] = {
    "probe": lambda http: AMAZON.probe(STORE, http),
    "orders": lambda http: AMAZON.fetch(STORE, Resource.ORDERS, None, http, NOW),
    "products": lambda http: AMAZON.fetch(STORE, Resource.PRODUCTS, None, http, NOW),
    "report": lambda http: AMAZON.fetch(STORE, Resource.PRODUCTS, {"polls": 0, "end": 9}, http, NOW),
    "order": lambda http: AMAZON.fetch_one(STORE, Resource.ORDERS, "114-1", http),
    "product": lambda http: AMAZON.fetch_one(STORE, Resource.PRODUCTS, "TEE", http),
    "order ids": lambda http: AMAZON.list_ids(STORE, Resource.ORDERS, None, http, NOW),
    "product ids": lambda http: AMAZON.list_ids(STORE, Resource.PRODUCTS, None, http, NOW),
    "newest": lambda http: AMAZON.newest_orders(STORE, http, NOW),
    "subscriptions": lambda http: AMAZON.unsubscribe(STORE, URL, http),
}
every_call = pytest.mark.parametrize("call", CALLS)


@every_call
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refused(403, "Unauthorized", EXPIRED), Refusal.CREDENTIALS),
        (refused(403, "Unauthorized", REVOKED), Refusal.CREDENTIALS),
        (refused(401, "Unauthorized"), Refusal.CREDENTIALS),
        (refused(403, "Unauthorized"), Refusal.PERMISSION),
        (refused(403, "Unauthorized", "The security token included in the request is expired"), Refusal.TRANSIENT),
        (refused(400), Refusal.REQUEST),
        (refused(413), Refusal.REQUEST),
        (refused(429, "QuotaExceeded"), Refusal.RATE_LIMITED),
        (Answer(429, {}, b"slow down"), Refusal.RATE_LIMITED),
        (refused(500, "InternalFailure"), Refusal.TRANSIENT),
        (Answer(503, {}, b"<html>"), Refusal.TRANSIENT),
        (Answer(403, {}, b"<html>"), Refusal.NOT_THE_PLATFORM),
        (Answer(200, {}, b"<html>"), Refusal.NOT_THE_PLATFORM),
        (Answer(200, {}, b"[" * 100_000), Refusal.NOT_THE_PLATFORM),
        (reply([]), Refusal.NOT_THE_PLATFORM),
    ],
)
def test_a_refusal_has_its_reason(call, answer, expected):
    assert refusal(lambda: CALLS[call](Scripted(answer))).refusal is expected


def test_the_missing_role_is_named():
    shown = [refusal(lambda call=call: CALLS[call](Scripted(refused(403)))).detail for call in ("orders", "products")]

    assert "Inventory and Order Tracking" in shown[0]
    assert "Product Listing" in shown[1]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({}, 1 / 0.0056), ({"x_amzn_ratelimit_limit": "0.1"}, 10), ({"x_amzn_ratelimit_limit": "NaN"}, 1 / 0.0056),
     ({"x_amzn_ratelimit_limit": "0"}, 1 / 0.0056), ({"retry_after": "7"}, 7), ({"retry_after": "9" * 12}, 86_400)],
)  # fmt: skip
def test_a_throttled_search_says_until_when(headers, seconds):
    error = refusal(lambda: CALLS["orders"](Scripted(refused(429, "QuotaExceeded", **headers))))

    assert abs(error.retry_at - NOW - timedelta(seconds=seconds)) < timedelta(seconds=1)


@pytest.mark.parametrize("path", ["/orders/2026-01-01/orders", "/orders/2026-01-01/orders/{orderId}"])
def test_the_errors_of_amazons_sandbox_are_read(path):
    (example,) = examples("orders_2026-01-01", path, "get", "400")

    error = refusal(lambda: CALLS["orders"](Scripted(reply(example, 400))))

    assert (error.refusal, error.detail) == (Refusal.REQUEST, "Amazon refused our request: status 400, InvalidInput.")


@pytest.mark.parametrize(("resource", "id"), [(Resource.ORDERS, "114-1"), (Resource.PRODUCTS, "TEE")])
def test_what_does_not_exist_is_not_found(resource, id):
    http = Scripted(refused(404, "NotFound"))

    assert refusal(lambda: AMAZON.fetch_one(STORE, resource, id, http)).refusal is Refusal.NOT_FOUND


@pytest.mark.parametrize(
    ("resource", "row"),
    [
        (Resource.ORDERS, {"order": order("114-1", lastUpdatedTime=None)}),
        (Resource.ORDERS, {"order": order("114-1", orderItems=None)}),
        (Resource.PRODUCTS, listing("114-1", summaries=[{"marketplaceId": US}])),
    ],
)
def test_one_record_that_cannot_be_read_is_told_apart(resource, row):
    error = refusal(lambda: AMAZON.fetch_one(STORE, resource, "114-1", Scripted(reply(row))))

    assert error.refusal is Refusal.NOT_UNDERSTOOD


@pytest.mark.parametrize("resource", Resource)
def test_pages_without_end_are_refused(resource):
    cursor = {"begin": SECONDS - 9, "end": SECONDS, "token": "t", "pages": 10**6}

    error = refusal(lambda: AMAZON.fetch(STORE, resource, cursor, Scripted([]), NOW))

    assert error.refusal is Refusal.NOT_THE_PLATFORM


def test_without_a_registration_or_a_refresh_token_nothing_is_refreshed():
    http = Scripted([])

    assert refusal(lambda: AMAZON.refresh(STORE._replace(app=None), http, NOW)).refusal is Refusal.REQUEST
    assert refusal(lambda: AMAZON.refresh(STORE._replace(credentials={}), http, NOW)).refusal is Refusal.CREDENTIALS
    assert http.asked == []


def test_an_answer_about_something_else_is_refused():
    other = Scripted(reply({"order": order("114-2")}))

    assert refusal(lambda: AMAZON.fetch_one(STORE, Resource.ORDERS, "114-1", other)).refusal is Refusal.NOT_THE_PLATFORM


@pytest.mark.parametrize("id", ["", "../x", "a/b", "1 2", "é", "x" * 65])
def test_what_is_no_order_is_never_asked_for(id):
    http = Scripted([])

    assert refusal(lambda: AMAZON.fetch_one(STORE, Resource.ORDERS, id, http)).refusal is Refusal.NOT_FOUND
    assert http.asked == []


def test_without_a_token_nothing_is_asked():
    http = Scripted([])
    store = STORE._replace(credentials={"refresh_token": "Atzr|refresh", "access_token": ""})

    assert refusal(lambda: AMAZON.fetch(store, Resource.ORDERS, None, http, NOW)).refusal is Refusal.CREDENTIALS
    assert http.asked == []


# Hostile answers

json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.just(10**400), st.just("\ud800"),
        st.sampled_from(["2026-11-22T12:00:00Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", US, "TEE",
                         "114-1", "19.99", "1E+999999999", "DONE"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)  # fmt: skip


def _spots(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _spots(inner, (*path, key))


def _with(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _with(value[path[0]], path[1:], other)
    return copy


WHOLE: dict[str, Any] = {
    "probe": PARTICIPATIONS,
    "orders": {"orders": [order("114-1", packages=[{"shipTime": ago(3)}])], "pagination": {"nextToken": "t"}},
    "products": {"numberOfResults": 1, "items": [listing("TEE")], "pagination": {"nextToken": "t"}},
    "report": {"reportId": "R1"},
    "order": {"order": order("114-1")},
    "product": listing("TEE"),
    "order ids": {"orders": [order("114-1")]},
    "product ids": {"numberOfResults": 1, "items": [listing("TEE")]},
    "newest": {"orders": [order("114-1")]},
    "subscriptions": {"payload": {"subscriptionId": "s", "destinationId": "d", "access_token": "x"}},
}


@every_call
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_hostile_answer_gives_records_or_a_refusal_and_nothing_else(call, data):
    whole = WHOLE[call]
    spot = data.draw(st.sampled_from(list(_spots(whole))))
    status = data.draw(st.sampled_from([200, 200, 200, 202, 400, 403, 404, 500]))
    answer = reply(_with(whole, spot, data.draw(json_values)), status)

    try:
        found = CALLS[call](Scripted(answer))
    except PlatformError:
        return
    records = found if call == "newest" else getattr(found, "records", [found] if isinstance(found, Record) else [])
    for record in records:
        assert record.id
        json.dumps(record.body, allow_nan=False, ensure_ascii=False).encode()


@settings(max_examples=150, deadline=None)
@given(body=st.one_of(st.binary(max_size=99), json_values.map(lambda value: reply(value).body)), data=st.data())
def test_a_hostile_message_never_passes_and_never_raises(body, data):
    whole = json.loads(GENUINE.delivery.body)
    spot = data.draw(st.sampled_from(list(_spots(whole))))
    bodies = [body, reply(_with(whole, spot, data.draw(json_values))).body, b"[" * 99_999, b'{"a":' * 99_999]

    for each in bodies:
        delivery = Delivery({QUEUE: hashlib.md5(each).hexdigest()}, each)  # noqa: S324 - as SQS does
        assert isinstance(AMAZON.verify(delivery, ["app"], NOW), Verdict)
        assert isinstance(AMAZON.topic(delivery) + AMAZON.event_id(delivery) + AMAZON.store_of(delivery), str)
        try:
            events = AMAZON.parse(delivery)
        except ValueError:
            continue
        json.dumps([event.id for event in events], ensure_ascii=False).encode()
        [base64.b64encode(store.encode()) for store in AMAZON.stores_named(delivery)]
