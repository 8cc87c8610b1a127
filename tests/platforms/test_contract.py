"""What every platform must do, run for each in the registry."""

import hashlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import bodies
from shared.platforms import ADAPTERS, capabilities, get
from shared.platforms.base import Delivery, NotifiesApp, PlatformName, ReceivesWebhooks, Verdict
from tests.platforms.conftest import Vector, vectors_of

RECEIVERS = [name for name in ADAPTERS if isinstance(get(name), ReceivesWebhooks)]
GENUINE = [
    (name, vector)
    for name in RECEIVERS
    for vector in vectors_of(name)
    if vector.kind == "webhook" and vector.is_genuine
]
WITH_BODY = [(name, vector) for name, vector in GENUINE if vector.delivery.body]

# Both sign as Standard Webhooks do: with the secret of the one, a delivery of the other is genuine.
SAME_SCHEME = {PlatformName.CUSTOM, PlatformName.ETSY}

every_receiver = pytest.mark.parametrize("name", RECEIVERS)
every_genuine = pytest.mark.parametrize(
    ("name", "vector"), WITH_BODY, ids=lambda value: value.name if isinstance(value, Vector) else str(value)
)


def receiver(name: PlatformName) -> ReceivesWebhooks:
    platform = get(name)
    assert isinstance(platform, ReceivesWebhooks)
    return platform


def verdict(name: PlatformName, vector: Vector, **changes) -> Verdict:
    delivery = vector.delivery._replace(**changes)
    return receiver(name).verify(delivery, vector.secrets, vector.now)


def signing_headers(name: PlatformName, vector: Vector) -> list[str]:
    """The headers without which the delivery is not genuine."""
    headers = vector.delivery.headers
    return [
        header
        for header in headers
        if verdict(name, vector, headers={k: v for k, v in headers.items() if k != header}) is not Verdict.GENUINE
    ]


def test_an_adapter_is_registered_under_its_name():
    assert {name: adapter().name for name, adapter in ADAPTERS.items()} == {name: name for name in ADAPTERS}
    assert ADAPTERS


def test_the_abilities_of_an_adapter_are_those_whose_protocol_it_fits():
    assert capabilities(PlatformName.WOO_COMMERCE).abilities == {
        "by key", "approval at the store", "webhooks", "subscriptions", "newest orders first",
    }  # fmt: skip


def test_a_platform_without_an_adapter_has_none():
    assert {name for name in PlatformName if get(name)} == set(ADAPTERS)


@every_receiver
def test_there_are_genuine_deliveries_to_test_with(name):
    assert any(each is name for each, _ in WITH_BODY)


@every_genuine
def test_accepts_the_genuine(name, vector):
    assert verdict(name, vector) is Verdict.GENUINE


@every_genuine
def test_reads_the_genuine(name, vector):
    adapter = receiver(name)

    assert adapter.topic(vector.delivery) == vector.other.get("topic", adapter.topic(vector.delivery))
    # older notifications of TikTok Shop have no id
    assert adapter.event_id(vector.delivery).strip(":") or b"tts_notification_id" not in vector.delivery.body
    json.dumps([event.record.body if event.record else None for event in adapter.parse(vector.delivery)])


@every_genuine
def test_reads_the_same_from_what_is_kept_of_a_delivery(name, vector):
    adapter = receiver(name)
    kept = {each: value for each, value in vector.delivery.headers.items() if each in adapter.parsed_headers}
    body = bodies.unpack(bodies.pack(vector.delivery.body, adapter.phrases), adapter.phrases)

    again = vector.delivery._replace(headers=kept, body=body)

    assert adapter.parse(again) == adapter.parse(vector.delivery)
    if isinstance(adapter, NotifiesApp):
        assert adapter.store_of(again) == adapter.store_of(vector.delivery)


@every_receiver
def test_phrases_that_were_ever_in_use_are_still_there(name):
    """Deliveries of the last 30 days are packed with them."""
    there = {hashlib.sha256(each).hexdigest()[:8] for each in receiver(name).phrases}

    assert there >= IN_USE.get(name, set())


IN_USE = {PlatformName.SHOPIFY: {"e0e5ba82"}, PlatformName.WOO_COMMERCE: {"ffb13a2d"}}
"""Add those of a new one; none is taken out."""


@every_genuine
def test_refuses_a_changed_body(name, vector):
    body = vector.delivery.body

    changed = [body[:-1], body + b" ", body[:-1] + bytes([body[-1] ^ 1]), b"\0" + body, body.swapcase()]

    assert {verdict(name, vector, body=each) for each in changed} == {Verdict.FORGED}


@every_genuine
def test_an_empty_body_is_never_an_event(name, vector):
    assert verdict(name, vector, body=b"") is Verdict.FORGED


@every_genuine
def test_refuses_a_missing_signature(name, vector):
    assert signing_headers(name, vector)
    assert verdict(name, vector, headers={}) is Verdict.FORGED


@every_genuine
def test_takes_lone_values_only(name, vector):
    headers = vector.delivery.headers

    for header in signing_headers(name, vector):
        for value in (f"{headers[header]}, {headers[header]}", f" {headers[header]}", f"{headers[header]}\n", ""):
            assert verdict(name, vector, headers={**headers, header: value}) is Verdict.FORGED


@every_genuine
def test_refuses_garbage_that_is_not_ascii(name, vector):
    headers = vector.delivery.headers

    for header in signing_headers(name, vector):
        for value in ("é" * len(headers[header]), f"{headers[header]}é", "\ud800", "\0", "🧵"):
            assert verdict(name, vector, headers={**headers, header: value}) is Verdict.FORGED


@every_genuine
@pytest.mark.parametrize("secrets", [[], [""], ["", ""], ["another"]])
def test_refuses_without_the_secret(name, vector, secrets):
    assert receiver(name).verify(vector.delivery, secrets, vector.now) is Verdict.FORGED


@every_genuine
def test_accepts_any_of_several_secrets(name, vector):
    adapter = receiver(name)

    for secrets in (["another", *vector.secrets], [*vector.secrets, "another"], ["", *vector.secrets]):
        assert adapter.verify(vector.delivery, secrets, vector.now) is Verdict.GENUINE


@every_genuine
def test_a_secret_that_is_no_text_opens_nothing_and_spoils_no_other(name, vector):
    adapter = receiver(name)

    for odd in ("\ud800", "whsec_\ud800", "\ud800:\ud800", "é", "whsec_é", "é:é", "\0"):
        assert adapter.verify(vector.delivery, [odd], vector.now) is Verdict.FORGED
        assert adapter.verify(vector.delivery, [odd, *vector.secrets], vector.now) is Verdict.GENUINE


@every_receiver
def test_refuses_another_platforms_deliveries(name):
    adapter = receiver(name)
    others = [
        vector
        for other in PlatformName
        if other is not name and {name, other} != SAME_SCHEME
        for vector in vectors_of(other)
        if vector.kind == "webhook" and vector.is_genuine
    ]

    assert others
    for vector in others:
        assert adapter.verify(vector.delivery, vector.secrets, vector.now) is not Verdict.GENUINE


names = st.sampled_from(sorted({header for _, vector in GENUINE for header in vector.delivery.headers}))
header_values = st.one_of(
    st.text(max_size=80), st.sampled_from(sorted({v for _, each in GENUINE for v in each.delivery.headers.values()}))
)
any_body = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(sorted({vector.delivery.body for _, vector in GENUINE})),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.sampled_from(["id", "type", "code"]), inner)),
        max_leaves=10,
    ).map(lambda value: json.dumps(value).encode()),
)
any_delivery = st.builds(Delivery, st.dictionaries(names, header_values, max_size=8), any_body)


@every_receiver
@given(delivery=any_delivery, secrets=st.lists(st.text(max_size=40), max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_never_raises_on_what_it_did_not_expect(name, delivery, secrets):
    adapter = receiver(name)

    found = adapter.verify(delivery, secrets, datetime(2026, 11, 22, tzinfo=UTC))

    assert isinstance(found, Verdict)
    assert isinstance(adapter.topic(delivery), str)
    assert isinstance(adapter.event_id(delivery), str)
    try:
        events = adapter.parse(delivery)
    except ValueError:
        return
    json.dumps([event.record.body if event.record else None for event in events], allow_nan=False).encode()


DEEP = 100_000
HOSTILE_BODIES = [
    b"[" * DEEP, b'{"a":' * DEEP, b"[" * DEEP + b"]" * DEEP, b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    b'{"id":NaN}', b'{"id":Infinity}', b'{"id":-Infinity}', b'{"id":' + b"9" * 5_000 + b"}", b'{"id":1e999999999}',
    b'{"id":1,"id":2}', b"{" + b",".join(b'"%d":1' % number for number in range(DEEP)) + b"}",
    b'{"id":"\\ud800"}', b'{"id":"\xff"}', b"\xff\xfe\x00", b"\xef\xbb\xbf{}",
    b'{"id":1', b'"text"', b"null", b"1", b"[]", b"{}", b"", b" ",
    b'{"id":-1}', b'{"id":true}', b'{"id":"1/../2"}', b'{"id":{}}', b'{"id":[1]}', b'{"id":0}',
    b'{"id":1.5}', b'{"id":null}',
]  # fmt: skip


@every_receiver
@pytest.mark.parametrize("body", HOSTILE_BODIES, ids=range(len(HOSTILE_BODIES)))
def test_a_hostile_body_gives_nothing_but_a_value_error(name, body):
    adapter = receiver(name)

    for headers in {json.dumps(dict(vector.delivery.headers)) for each, vector in GENUINE if each is name}:
        try:
            events = adapter.parse(Delivery(json.loads(headers), body))
        except ValueError:
            continue
        json.dumps([event.id for event in events]).encode()
        assert all(event.record is None for event in events)
