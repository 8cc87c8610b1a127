import base64
import hmac
import json
from datetime import timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from fakes import register_app
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import apps, bodies, clients, credentials, intake, keys, platforms
from shared.keys import Purpose
from shared.models import Claim, Credentials, Delivery
from shared.platforms.base import PlatformName, Verdict
from shared.platforms.signatures import is_base64_hmac
from shared.platforms.woocommerce import WooCommerce

SECRET = "w" * 48
CONNECTION = "store1.unguessable"


@pytest.fixture
def connected(aws, now):
    row = Credentials(
        "store1",
        platform="WOO_COMMERCE",
        api_credentials=b"-",
        webhook_secrets=credentials.seal(Purpose.WEBHOOK, "store1", "WOO_COMMERCE", {"current": SECRET}, now),
        connection=CONNECTION,
    )
    row.save()
    return row


def signed(body, secret=SECRET, **headers):
    signature = base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode()
    return {
        "content-type": "application/json",
        "x-wc-webhook-topic": "order.updated",
        "x-wc-webhook-resource": "order",
        "x-wc-webhook-event": "updated",
        "x-wc-webhook-id": "1",
        "x-wc-webhook-delivery-id": "d1",
        "x-wc-webhook-source": "https://shop.example.com/",
        "x-wc-webhook-signature": signature,
        **headers,
    }


def request(body, headers, *, connection=CONNECTION, platform="WOO_COMMERCE", method="POST", encoded=False):
    return {
        "requestContext": {"http": {"method": method}},
        "pathParameters": {"platform": platform, "connection": connection},
        "headers": headers,
        "body": base64.b64encode(body).decode() if encoded else body.decode("utf-8", "surrogateescape"),
        "isBase64Encoded": encoded,
    }


def answer(event, now):
    given = intake.answer(event, now)
    return given["statusCode"], json.loads(given["body"])["type"].split("#")[1] if "body" in given else None


def stored():
    return list(Delivery.query("store1"))


BODY = b'{"id":1,"date_modified_gmt":"2026-11-22T09:00:00"}'


def test_a_genuine_delivery_is_stored_before_it_is_answered(connected, now):
    assert answer(request(BODY, signed(BODY)), now) == (200, None)

    row = stored()[0]
    assert (row.outcome, row.topic, row.store_id) == ("PENDING", "order.updated", "store1")
    assert row.expires_at == now + timedelta(days=30)


def test_the_warm_path_makes_one_call_and_none_to_kms(connected, now):
    intake.answer(request(BODY, signed(BODY)), now)
    made = []
    for client in (clients.dynamodb(), clients.kms()):
        client.meta.events.register("before-call.*.*", lambda model, **_: made.append(model.name))
    body = BODY + b" "

    intake.answer(request(body, signed(body)), now + timedelta(seconds=50))

    assert made == ["PutItem"]


def test_any_number_of_copies_is_stored_once(connected, now):
    answers = {answer(request(BODY, signed(BODY)), now + timedelta(days=day)) for day in range(29)}

    assert answers == {(200, None)}
    assert len(stored()) == 1


def test_two_events_that_share_a_delivery_id_are_both_stored(connected, now):
    """WooCommerce's delivery id is a hash of the webhook and the second."""
    other = BODY.replace(b'"id":1', b'"id":2')

    answer(request(BODY, signed(BODY)), now)
    answer(request(other, signed(other)), now)

    assert len(stored()) == 2


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"x-wc-webhook-signature": "AAAA"}, (401, "signature-invalid")),
        ({"x-wc-webhook-signature": ""}, (401, "signature-invalid")),
        ({"x-wc-webhook-signature": "\u00e4" * 44}, (401, "signature-invalid")),
        (
            {"x-wc-webhook-signature": signed(BODY, "another secret")["x-wc-webhook-signature"]},
            (401, "signature-invalid"),
        ),
    ],
)
def test_a_forged_delivery_is_refused_and_not_stored(connected, now, change, expected):
    assert answer(request(BODY, {**signed(BODY), **change}), now) == expected
    assert stored() == []


def test_an_empty_body_announces_nothing(connected, now):
    assert answer(request(b"", signed(b"")), now) == (400, "delivery-empty")
    assert stored() == []


def test_the_unsigned_ping_is_answered_exactly_200_and_not_stored(connected, now):
    headers = {"content-type": "application/x-www-form-urlencoded"}

    assert answer(request(b"webhook_id=5", headers), now) == (200, None)
    assert stored() == []


@pytest.mark.parametrize(
    ("platform", "connection"),
    [
        ("WOO_COMMERCE", "store1.guessed"),
        ("WOO_COMMERCE", "store1"),
        ("WOO_COMMERCE", "store2.unguessable"),
        ("WOO_COMMERCE", ""),
        ("WOO_COMMERCE", None),
        ("WOO_COMMERCE", "." * 3000),
        ("WOO_COMMERCE", "x" * 3000),
        ("WOO_COMMERCE", "\ud800"),
        ("SHOPIFY", CONNECTION),
        ("NO_SUCH", CONNECTION),
    ],
)
def test_an_address_where_no_store_receives_is_unknown(connected, now, platform, connection):
    event = request(BODY, signed(BODY), platform=platform, connection=connection)

    assert answer(event, now) == (404, "connection-unknown")
    assert stored() == []


def test_other_methods_are_not_allowed(connected, now):
    assert answer(request(b"", {}, method="GET"), now) == (405, "method-not-allowed")


def test_a_body_over_a_mebibyte_is_too_large(connected, now):
    body = b"x" * (1024 * 1024 + 1)

    assert answer(request(body, signed(body)), now) == (413, "body-too-large")


def test_a_body_that_is_not_utf8_is_stored_byte_for_byte(connected, now):
    body = bytes(range(256)) * 4

    assert answer(request(body, signed(body), encoded=True), now) == (200, None)
    assert bodies.unpack(stored()[0].body, WooCommerce.phrases) == body


def test_both_secrets_are_accepted_while_one_replaces_the_other(connected, now):
    both = {"current": "n" * 48, "previous": SECRET}
    sealed = credentials.seal(Purpose.WEBHOOK, "store1", "WOO_COMMERCE", both, now)
    connected.update(actions=[Credentials.webhook_secrets.set(sealed)])

    assert answer(request(BODY, signed(BODY)), now) == (200, None)
    assert answer(request(BODY, signed(BODY, "n" * 48)), now) == (200, None)


def test_a_replaced_secret_is_noticed_while_the_old_one_is_cached(connected, now):
    answer(request(BODY, signed(BODY)), now)
    sealed = credentials.seal(Purpose.WEBHOOK, "store1", "WOO_COMMERCE", {"current": "n" * 48}, now)
    connected.update(actions=[Credentials.webhook_secrets.set(sealed)])

    assert answer(request(BODY, signed(BODY, "n" * 48)), now + timedelta(seconds=10)) == (200, None)


def test_forged_deliveries_cause_few_reads(connected, now):
    answer(request(BODY, signed(BODY)), now)
    made = []
    clients.dynamodb().meta.events.register("before-call.*.*", lambda model, **_: made.append(model.name))

    for second in range(30):
        answer(request(BODY, {**signed(BODY), "x-wc-webhook-signature": "AAAA"}), now + timedelta(seconds=second / 10))

    assert made == []


def test_a_store_that_was_removed_receives_no_more_within_a_minute(connected, now):
    answer(request(BODY, signed(BODY)), now)
    connected.delete()

    assert answer(request(BODY, signed(BODY)), now + timedelta(seconds=61)) == (404, "connection-unknown")


@pytest.mark.parametrize("operation", ["GetItem", "PutItem"])
@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "InternalServerError", "AccessDenied"])
def test_our_own_fault_is_503_and_asks_to_come_again(connected, now, operation, code, monkeypatch):
    client = clients.dynamodb()
    genuine = client._make_api_call

    def faulty(name, kwargs):
        if name == operation:
            raise ClientError({"Error": {"Code": code, "Message": ""}}, name)
        return genuine(name, kwargs)

    monkeypatch.setattr(client, "_make_api_call", faulty)

    given = intake.answer(request(BODY, signed(BODY)), now)

    assert (given["statusCode"], given["headers"]["Retry-After"]) == (503, "5")


def test_no_key_means_no_processing(connected, now, monkeypatch):
    def unavailable(*_):
        raise keys.KeyUnavailable

    monkeypatch.setattr(credentials.keys, "version", unavailable)

    assert answer(request(BODY, signed(BODY)), now) == (503, "service-busy")


def test_secrets_that_do_not_open_mean_no_processing(connected, now):
    connected.update(actions=[Credentials.webhook_secrets.set(b"broken")])

    assert answer(request(BODY, signed(BODY)), now) == (503, "service-busy")


def test_no_secret_and_no_body_is_logged(connected, now, capsys):
    intake.answer(request(BODY, signed(BODY)), now)
    intake.answer(request(BODY, {**signed(BODY), "x-wc-webhook-signature": "AAAA"}), now)

    written = capsys.readouterr().out
    assert SECRET not in written
    assert "date_modified_gmt" not in written
    assert "unguessable" not in written


def test_the_receivers_memory_of_secrets_prints_none(connected, now):
    intake.answer(request(BODY, signed(BODY)), now)

    assert SECRET not in repr(intake._receivers)


_VECTORS = [
    vector
    for vector in json.loads((Path(__file__).parents[3] / "shared/vectors/woocommerce.json").read_text())
    if vector["other"]["kind"] in {"webhook", "webhook_ping"}
]


@pytest.mark.parametrize("vector", _VECTORS, ids=lambda vector: vector["name"])
def test_every_vector_is_answered_as_it_should_be(connected, now, vector):
    sealed = credentials.seal(Purpose.WEBHOOK, "store1", "WOO_COMMERCE", {"current": vector["secret"]}, now)
    connected.update(actions=[Credentials.webhook_secrets.set(sealed)])
    headers = {name.lower(): value for name, value in vector["headers"].items()}

    status, _ = answer(request(base64.b64decode(vector["body_base64"]), headers, encoded=True), now)

    ping = vector["other"]["kind"] == "webhook_ping"
    assert status == (200 if ping or vector["valid"] else 401)
    assert len(stored()) == (1 if vector["valid"] else 0)


_TEXT = st.text(max_size=60) | st.just("x-wc-webhook-signature")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=400),
    headers=st.dictionaries(_TEXT, _TEXT, max_size=6),
    connection=st.sampled_from([CONNECTION, None]) | st.text(max_size=80),
    encoded=st.booleans(),
)
def test_whatever_comes_is_answered_with_a_status_of_ours(connected, now, body, headers, connection, encoded):
    status = intake.answer(request(body, headers, connection=connection, encoded=encoded), now)["statusCode"]

    assert status in {200, 400, 401, 404, 413}


# ── Platforms with an app ────────────────────────────────────────────────────────────────────────


class AppPlatform:
    """Signs with the app's secret, and knows an address for each topic."""

    parsed_headers = frozenset()
    phrases = ()

    def verify(self, delivery, secrets, now):
        genuine = is_base64_hmac(delivery.headers.get("x-shop-signature", ""), delivery.body, secrets)
        return Verdict.GENUINE if genuine else Verdict.FORGED

    def topic(self, delivery):
        return delivery.path_topic or "unknown"

    def event_id(self, delivery):
        return delivery.headers.get("x-shop-event", "")

    def parse(self, delivery):
        return []

    def app_secrets(self, app):
        return [app.client_secret, *([app.previous_client_secret] if app.previous_client_secret else [])]


class NotifyingPlatform(AppPlatform):
    """Sends to one address of the app too."""

    def store_of(self, delivery):
        return json.loads(delivery.body).get("shop", "")


APP_SECRET, OLD_APP_SECRET = "app-secret-" + "d4" * 16, "app-secret-" + "e5" * 16
ABOUT = b'{"shop":"shop.example.com"}'


@pytest.fixture
def app_platform(aws, now, monkeypatch):
    fake = NotifyingPlatform()
    monkeypatch.setattr(platforms, "PLATFORMS", {PlatformName.SHOPIFY: fake})
    register_app(clientSecret=APP_SECRET)
    Credentials(
        "store1",
        platform="SHOPIFY",
        api_credentials=b"-",
        webhook_secrets=credentials.seal(Purpose.WEBHOOK, "store1", "SHOPIFY", {"current": SECRET}, now),
        connection=CONNECTION,
    ).save()
    Claim("store#SHOPIFY#shop.example.com", store="store1").save()
    yield fake
    apps.forget()


def sent(now, body=ABOUT, secret=APP_SECRET, *, connection=CONNECTION, topic=None, **headers):
    """A delivery of the platform with an app, to the store's address or, without one, to the app's."""
    signature = base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode()
    event = request(body, {"X-Shop-Signature": signature, **headers}, connection=connection, platform="SHOPIFY")
    event["pathParameters"] = {"platform": "SHOPIFY"}
    event["pathParameters"] |= {"connection": connection} if connection else {}
    event["pathParameters"] |= {"topic": topic} if topic else {}
    return answer(event, now)


def filed(store_id="store1"):
    return list(Delivery.query(store_id))


@pytest.mark.parametrize("secret", [APP_SECRET, OLD_APP_SECRET, SECRET], ids=["app", "app before", "store"])
def test_the_apps_secrets_and_the_stores_own_are_accepted(app_platform, now, secret):
    register_app(clientSecret=APP_SECRET, previousClientSecret=OLD_APP_SECRET)

    assert sent(now, secret=secret) == (200, None)
    assert len(filed()) == 1


@pytest.mark.parametrize("secret", [OLD_APP_SECRET, "another", "", "None"])
def test_any_other_secret_is_not_accepted(app_platform, now, secret):
    for connection in (CONNECTION, None):
        assert sent(now, secret=secret or "x", connection=connection) == (401, "signature-invalid")
    assert filed() == []


def test_the_stores_own_secret_signs_nothing_for_the_whole_app(app_platform, now):
    assert sent(now, secret=SECRET, connection=None) == (401, "signature-invalid")


def test_a_delivery_to_the_app_is_filed_with_the_store_that_it_is_about(app_platform, now):
    assert sent(now, connection=None) == (200, None)

    (row,) = filed()
    assert (row.store_id, row.platform, row.outcome) == ("store1", "SHOPIFY", "PENDING")


@pytest.mark.parametrize("shop", ["gone.example.com", ""])
def test_a_delivery_about_a_store_that_is_not_connected_is_kept_as_evidence(app_platform, now, shop):
    assert sent(now, json.dumps({"shop": shop}).encode(), connection=None) == (200, None)

    (row,) = filed(f"SHOPIFY#{shop}")
    assert row.outcome == "PENDING"
    assert filed() == []


def test_copies_of_a_delivery_to_the_app_are_stored_once(app_platform, now):
    for _ in range(3):
        sent(now, connection=None)

    assert len(filed()) == 1


def test_the_app_has_no_address_where_the_platform_knows_none(app_platform, now, monkeypatch):
    monkeypatch.setattr(platforms, "PLATFORMS", {PlatformName.SHOPIFY: AppPlatform()})

    assert sent(now, connection=None) == (404, "connection-unknown")
    assert sent(now) == (200, None)
    assert answer(request(BODY, signed(BODY), connection=None), now) == (404, "connection-unknown")


def test_the_topic_of_the_path_is_stored_and_shown_to_the_adapter(app_platform, now):
    sent(now, topic="ORDER_STATUS_CHANGE")
    sent(now, ABOUT + b" ")

    kept = {(row.topic, row.path_topic) for row in filed()}
    assert kept == {("ORDER_STATUS_CHANGE", "ORDER_STATUS_CHANGE"), ("unknown", None)}


def test_a_long_topic_of_the_path_is_cut(app_platform, now):
    assert sent(now, topic="t" * 5000) == (200, None)
    assert len(filed()[0].path_topic) == 100


def test_without_our_registration_the_sender_must_try_again(app_platform, now):
    clients.secrets().delete_secret(SecretId="storelink/apps/SHOPIFY", ForceDeleteWithoutRecovery=True)
    apps.forget()

    for connection in (CONNECTION, None):
        assert sent(now, connection=connection) == (503, "service-busy")
    assert filed() == []


def test_an_address_that_nobody_has_is_unknown_whether_or_not_the_app_is_registered(app_platform, now):
    assert sent(now, connection="store1.other") == (404, "connection-unknown")
    assert sent(now, connection="store2.unguessable") == (404, "connection-unknown")


def test_an_empty_delivery_to_the_app_announces_nothing(app_platform, now):
    assert sent(now, b"", connection=None) == (400, "delivery-empty")


def test_no_secret_of_the_app_is_logged(app_platform, now, capsys):
    register_app(clientSecret=APP_SECRET, previousClientSecret=OLD_APP_SECRET)
    sent(now)
    sent(now, connection=None)
    sent(now, secret="another", connection=None)
    clients.secrets().put_secret_value(SecretId="storelink/apps/SHOPIFY", SecretString=f"{APP_SECRET} is no JSON")
    apps.forget()
    sent(now)

    written = "".join(capsys.readouterr())
    assert APP_SECRET not in written
    assert OLD_APP_SECRET not in written
