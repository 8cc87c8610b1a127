"""Keys that deliveries name by their ids: fetched for all workers, few for strangers, and how eBay's are used."""

import base64
import json
from datetime import timedelta
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fakes import register_app

from shared import app_subscriptions, clients, intake, signing_keys
from shared.models import Claim, Delivery
from shared.platforms.base import Answer, PlatformError, PlatformName, Refusal
from shared.signing_keys import FRESH, STRANGERS_AN_HOUR, KeyNotToBeHad

PRIVATE = ec.generate_private_key(ec.SECP256R1())
SELLER = "sEllEr42"


def pem():
    lines = PRIVATE.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return "".join(lines.decode().splitlines())  # eBay gives it on one line


class Signer:
    """A platform that knows some keys, and may refuse."""

    def __init__(self, **known: str) -> None:
        self.known = known
        self.asked: list[str] = []
        self.refusal: Refusal | None = None

    def key_id(self, _delivery):
        return ""

    def fetch_key(self, _app, key_id, _http, _now):
        self.asked.append(key_id)
        if self.refusal:
            raise PlatformError(self.refusal, "It refuses.")
        if key_id not in self.known:
            raise PlatformError(Refusal.NOT_FOUND, "There is none.")
        return self.known[key_id]


@pytest.fixture(autouse=True)
def _registered(aws):
    register_app(PlatformName.EBAY, ru_name="name", verification_token="v" * 40)


def get(signer, key_id, now):
    return signing_keys.get(PlatformName.EBAY, signer, key_id, SimpleNamespace, now)


def test_a_key_is_fetched_once_for_all_workers(now):
    signer = Signer(one="KEY")

    found = []
    for _ in range(3):
        found.append(get(signer, "one", now))
        signing_keys.forget()  # another execution environment

    assert found == ["KEY"] * 3
    assert signer.asked == ["one"]


def test_a_worker_that_knows_a_key_asks_nobody(now):
    signer = Signer(one="KEY")
    get(signer, "one", now)
    made = []
    clients.dynamodb().meta.events.register("before-call.*.*", lambda model, **_: made.append(model.name))

    assert get(signer, "one", now + FRESH / 2) == "KEY"
    assert (made, signer.asked) == ([], ["one"])


def test_a_key_is_fetched_anew_after_an_hour(now):
    signer = Signer(one="KEY")
    get(signer, "one", now)
    signer.known["one"] = "ANOTHER"

    assert get(signer, "one", now + FRESH - timedelta(seconds=1)) == "KEY"
    assert get(signer, "one", now + FRESH) == "ANOTHER"


def test_an_id_that_there_is_not_is_remembered(now):
    signer = Signer()

    for _ in range(3):
        assert get(signer, "made-up", now) == ""
        signing_keys.forget()
    assert signer.asked == ["made-up"]


def test_made_up_ids_do_not_spend_what_genuine_deliveries_need(now):
    signer = Signer(one="KEY")
    get(signer, "one", now)

    refused = 0
    for number in range(3 * STRANGERS_AN_HOUR):
        try:
            get(signer, f"made-up-{number}", now)
        except KeyNotToBeHad:
            refused += 1

    assert (len(signer.asked), refused) == (STRANGERS_AN_HOUR, 2 * STRANGERS_AN_HOUR + 1)
    # what is known is renewed all the same, and the next hour has its own share
    later = now + FRESH
    assert get(signer, "one", later) == "KEY"
    assert get(signer, "made-up-x", later) == ""


@pytest.mark.parametrize("refusal", [Refusal.TRANSIENT, Refusal.RATE_LIMITED, Refusal.UNREACHABLE, Refusal.REQUEST])
def test_a_known_key_stays_good_while_the_platform_cannot_be_asked(now, refusal):
    signer = Signer(one="KEY")
    get(signer, "one", now)
    signer.refusal = refusal
    signing_keys.forget()

    assert get(signer, "one", now + timedelta(days=2)) == "KEY"
    with pytest.raises(KeyNotToBeHad):
        get(signer, "two", now)


def test_a_key_that_the_platform_has_taken_back_is_not_used_any_more(now):
    signer = Signer(one="KEY")
    get(signer, "one", now)
    del signer.known["one"]

    assert get(signer, "one", now + FRESH) == ""


def test_a_delivery_that_names_no_key_asks_for_none(now):
    signer = Signer()

    assert get(signer, "", now) == ""
    assert signer.asked == []


# eBay's deliveries, through the intake


class Ebay:
    """eBay's side of the calls that a delivery may cause: an application token, and a key by its id."""

    def __init__(self, key_id: str = "kid-1") -> None:
        self.key_id = key_id
        self.calls: list[str] = []

    def request(self, _method, url, **_options):
        self.calls.append(url)
        if url.endswith("/oauth2/token"):
            return Answer(200, {}, json.dumps({"access_token": "app", "expires_in": 7200}).encode())
        if url.endswith(f"/public_key/{self.key_id}"):
            return Answer(200, {}, json.dumps({"key": pem(), "algorithm": "ECDSA", "digest": "SHA1"}).encode())
        return Answer(404, {}, json.dumps({"errors": [{"errorId": 195001}]}).encode())


def notification(**changes):
    body = {
        "metadata": {"topic": "ORDER_CONFIRMATION", "schemaVersion": "1.0"},
        "notification": {
            "notificationId": "n-1",
            "data": {"user": {"userId": SELLER}, "order": {"orderId": "01-2"}},
            **changes,
        },
    }
    return json.dumps(body).encode()


def sent(body, http, now, *, key_id="kid-1", method="POST", query=None):
    signature = PRIVATE.sign(body, ec.ECDSA(hashes.SHA1()))  # noqa: S303 - as eBay does
    envelope = {"alg": "ecdsa", "kid": key_id, "signature": base64.b64encode(signature).decode(), "digest": "SHA1"}
    event = {
        "requestContext": {"http": {"method": method}},
        "pathParameters": {"platform": "EBAY"},
        "headers": {"x-ebay-signature": base64.b64encode(json.dumps(envelope).encode()).decode()},
        "body": body.decode(),
        "queryStringParameters": query,
    }
    return intake.answer(event, now, lambda: http)


def filed(store_id):
    return list(Delivery.query(store_id))


def test_a_notification_of_ebay_is_stored_for_its_seller(now):
    Claim(f"store#EBAY#{SELLER}", store="store1").save()
    ebay = Ebay()

    assert sent(notification(), ebay, now) == {"statusCode": 200}
    assert sent(notification(notificationId="n-2"), ebay, now) == {"statusCode": 200}

    assert {row.topic for row in filed("store1")} == {"ORDER_CONFIRMATION"}
    assert len(filed("store1")) == 2
    assert len(ebay.calls) == 2  # a token and the key, once


def test_a_notification_under_a_key_that_ebay_does_not_know_is_forged(now):
    for _ in range(2):
        assert sent(notification(), Ebay("another"), now)["statusCode"] == 401
    assert filed(f"EBAY#{SELLER}") == []


def test_a_changed_notification_is_forged(now):
    ebay = Ebay()
    sent(notification(), ebay, now)
    stored = len(filed(f"EBAY#{SELLER}"))
    event = {"requestContext": {"http": {"method": "POST"}}, "pathParameters": {"platform": "EBAY"}, "headers": {}}

    assert intake.answer({**event, "body": notification().decode()}, now, lambda: ebay)["statusCode"] == 401
    assert len(filed(f"EBAY#{SELLER}")) == stored == 1


def test_while_ebay_does_not_answer_the_sender_must_try_again(now):
    class Silent:
        def request(self, *_given, **_options):
            raise PlatformError(Refusal.UNREACHABLE, "No answer.")

    assert sent(notification(), Silent(), now)["statusCode"] == 503
    assert sent(notification(), Ebay(), now)["statusCode"] == 200


def test_the_challenge_is_answered_for_the_address_that_is_registered(now):
    """The digest of code, token and address, https://developer.ebay.com/marketplace-account-deletion."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(b"code-1" + b"v" * 40 + b"https://api.example.com/webhooks/EBAY")

    answer = sent(b"", Ebay(), now, method="GET", query={"challenge_code": "code-1"})

    assert answer["statusCode"] == 200
    assert answer["headers"]["Content-Type"] == "application/json"
    assert json.loads(answer["body"]) == {"challengeResponse": digest.finalize().hex()}


@pytest.mark.parametrize("query", [None, {}, {"challenge_code": ""}, {"challenge_code": "\u00e4"}])
def test_a_challenge_that_asks_nothing_is_refused(now, query):
    assert sent(b"", Ebay(), now, method="GET", query=query)["statusCode"] in {400, 422}


def test_other_platforms_ask_for_no_proof(now):
    event = {
        "requestContext": {"http": {"method": "GET"}},
        "pathParameters": {"platform": "SHOPIFY"},
        "headers": {},
        "queryStringParameters": {"challenge_code": "x"},
    }

    assert intake.answer(event, now)["statusCode"] == 405


# What is subscribed to for the app


class Subscriptions:
    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = []

    def reconcile_app(self, app, app_url, _http, _now):
        self.calls.append((app.client_id, app_url))
        if self.errors:
            raise self.errors.pop()
        return SimpleNamespace(_asdict=lambda: {"created": 1})


def test_the_apps_subscriptions_are_kept_at_each_platform_where_it_is_registered(now, monkeypatch):
    ebay = Subscriptions()
    unregistered = Subscriptions()
    both = {PlatformName.EBAY: ebay, PlatformName.ETSY: unregistered}
    monkeypatch.setattr(app_subscriptions.platforms, "get", both.get)

    app_subscriptions.reconcile(object(), now)

    assert ebay.calls == [("storelink", "https://api.example.com/webhooks/EBAY")]
    assert unregistered.calls == []


def test_a_platform_that_refuses_does_not_hold_up_the_others(now, monkeypatch):
    register_app(PlatformName.SHOPIFY)
    refusing, willing = Subscriptions(PlatformError(Refusal.TRANSIENT, "Later.")), Subscriptions()
    both = {PlatformName.SHOPIFY: refusing, PlatformName.EBAY: willing}
    monkeypatch.setattr(app_subscriptions.platforms, "get", both.get)

    app_subscriptions.reconcile(object(), now)

    assert len(refusing.calls) == len(willing.calls) == 1
