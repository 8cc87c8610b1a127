import zlib
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from fakes import connected
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import changes, compliance, records, stores
from shared.models import Order, PrivacyEvidence, Status, Store
from shared.platforms.base import PrivacyKind, PrivacyRequest, Record, Resource

PERSONAL = {"customer": {"name": "Buyer 17"}, "shippingAddress": {"city": "Town"}, "note": "for Buyer 17"}


@pytest.fixture
def store(aws, now):
    return connected("store1", now)


def order(store, id, now, buyer=""):
    body = {"id": id, "total": "9.99", "updatedAt": "2026-11-22T09:00:00Z", **PERSONAL}
    records.save(store.id, Resource.ORDERS, Record(id, now, body, now, buyer), "EUR", now, now)


def carry_out(store, request, now, *, key="delivery1", gone=True):
    place = store.id if store else "WOO_COMMERCE#gone"
    return compliance.carry_out(key, "WOO_COMMERCE", store, place, request, now, lambda: now, is_gone=lambda: gone)


def evidence():
    return list(PrivacyEvidence.scan())


def shown(store, id):
    return records.get(store.id, Resource.ORDERS, id)


def test_what_tells_who_bought_is_taken_out_of_the_orders_and_nothing_else(store, now):
    order(store, "1", now)
    order(store, "2", now)

    carry_out(store, PrivacyRequest(PrivacyKind.ERASE_CUSTOMER, ("1", "unknown")), now + timedelta(hours=1))

    assert {name: shown(store, "1")[name] for name in PERSONAL} == dict.fromkeys(PERSONAL)
    assert shown(store, "1")["total"] == "9.99"
    assert {name: shown(store, "2")[name] for name in PERSONAL} == PERSONAL
    assert b"Buyer 17" not in b"".join(bytes(row.body) for row in Order.query(store.id) if row.id == "1")
    [found] = evidence()
    assert (found.outcome, found.orders) == ("ERASED", '{"store1":["1"]}')
    assert "Buyer" not in repr(found.to_simple_dict())


def test_a_look_from_before_the_erasure_does_not_bring_the_buyer_back(store, now):
    order(store, "1", now)
    carry_out(store, PrivacyRequest(PrivacyKind.ERASE_CUSTOMER, ("1",)), now + timedelta(hours=1))

    order(store, "1", now)

    assert shown(store, "1")["customer"] is None


def looked_up(store, record, at):
    return records.save(store.id, Resource.ORDERS, record, "EUR", at, at)


def announced(store, record, at):
    return records.save_announced(store.id, Resource.ORDERS, record, "EUR", at, at)


def on_a_page(store, record, at):
    return records.save_page(store.id, Resource.ORDERS, [record], "EUR", at, at).changed == 1


WAYS = {"looked-up": looked_up, "announced": announced, "on-a-page": on_a_page}


def seen(id, at, **changes):
    """An order as the platform shows it: with its buyer, whatever we were asked."""
    return Record(id, at, {"id": id, "total": "9.99", "status": "paid", **PERSONAL, **changes}, at, "WOO_COMMERCE#b1")


def is_impersonal(store, id):
    """Nothing that is stored of the order tells who bought it."""
    row = Order.get(store.id, id)
    return b"Buyer 17" not in zlib.decompress(row.body or zlib.compress(b"")) and row.buyer is None


def test_an_order_that_comes_again_changes_but_does_not_bring_its_buyer_back(store, now):
    for id in WAYS:
        order(store, id, now)
    carry_out(store, PrivacyRequest(PrivacyKind.ERASE_CUSTOMER, tuple(WAYS)), now + timedelta(hours=1))

    for id, comes in WAYS.items():
        for hours, status in ((2, "completed"), (3, "refunded")):
            at = now + timedelta(hours=hours)

            assert comes(store, seen(id, at, status=status), at), id
            assert shown(store, id)["status"] == status
            assert is_impersonal(store, id)


def test_an_erased_order_that_comes_again_as_it_was_or_older_is_no_change(store, now):
    for id, comes in WAYS.items():
        comes(store, seen(id, now), now)
    carry_out(store, PrivacyRequest(PrivacyKind.ERASE_CUSTOMER, tuple(WAYS)), now + timedelta(hours=1))

    for id, comes in WAYS.items():
        erased = Order.get(store.id, id).to_dynamodb_dict()
        assert not comes(store, seen(id, now), now + timedelta(hours=2)), id
        assert not comes(store, seen(id, now - timedelta(hours=1)), now - timedelta(hours=1)), id
        assert Order.get(store.id, id).to_dynamodb_dict() == erased
        assert is_impersonal(store, id)


@pytest.mark.parametrize("erased_first", [True, False])
def test_an_erasure_outlives_a_deletion_at_the_platform(store, now, erased_first):
    steps = [
        lambda order, at: carry_out(store, PrivacyRequest(PrivacyKind.ERASE_CUSTOMER, (order,)), at),
        lambda order, at: records.bury(store.id, Resource.ORDERS, order, at, at),
    ]
    for id, comes in (("looked-up", looked_up), ("on-a-page", on_a_page)):
        order(store, id, now)
        for hours, step in enumerate(steps if erased_first else reversed(steps), 1):
            step(id, now + timedelta(hours=hours))
        assert Order.get(store.id, id).deleted

        assert comes(store, seen(id, now), now + timedelta(hours=3))
        assert shown(store, id)["status"] == "paid"
        assert is_impersonal(store, id)


def test_an_order_that_is_named_before_it_is_seen_comes_without_its_buyer(store, now):
    ways = {"looked-up": looked_up, "on-a-page": on_a_page}
    carry_out(store, PrivacyRequest(PrivacyKind.ERASE_CUSTOMER, tuple(ways)), now)
    assert [row.outcome for row in evidence()] == ["NOTHING_HELD"]
    assert records.live_ids(store.id, Resource.ORDERS) == set()

    for id, comes in ways.items():
        # the look may have begun before the request came, and ended after it
        assert comes(store, seen(id, now), now - timedelta(minutes=1))
        assert shown(store, id)["status"] == "paid"
        assert is_impersonal(store, id)


def test_an_order_without_anything_personal_is_marked_and_is_no_change(store, now):
    body = {"id": "1", "total": "9.99"}
    looked_up(store, Record("1", now, body, now), now)
    before = Order.get(store.id, "1")

    carry_out(store, PrivacyRequest(PrivacyKind.ERASE_CUSTOMER, ("1",)), now + timedelta(hours=1))
    looked_up(store, seen("1", now + timedelta(hours=2)), now + timedelta(hours=2))

    assert [row.outcome for row in evidence()] == ["NOTHING_HELD"]
    assert is_impersonal(store, "1")
    assert before.changed_at < Order.get(store.id, "1").changed_at


def test_an_erasure_by_a_clock_that_is_behind_is_not_older_than_what_it_erased(store, now):
    order(store, "1", now)
    before = Order.get(store.id, "1")

    carry_out(store, PrivacyRequest(PrivacyKind.ERASE_CUSTOMER, ("1",)), now - timedelta(minutes=1))

    assert not records.restore(Resource.ORDERS, before, Order.get(store.id, "1"))
    assert is_impersonal(store, "1")


_STEPS = st.lists(
    st.tuples(st.sampled_from(["look", "announce", "page", "bury", "erase"]), *[st.integers(0, 3)] * 2), max_size=4
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=_STEPS, after=_STEPS)
def test_nothing_that_comes_in_any_order_brings_an_erased_buyer_back(store, now, before, after):
    ways = {"look": looked_up, "announce": announced, "page": on_a_page}
    id = uuid4().hex  # each example has an order of its own
    for number, (step, changed, at) in enumerate([*before, ("erase", 0, 1), *after]):
        moment = now + timedelta(minutes=at)
        if step in ways:
            ways[step](store, seen(id, now + timedelta(minutes=changed), total=str(number)), moment)
        elif step == "bury":
            records.bury(store.id, Resource.ORDERS, id, moment, moment)
        else:
            records.redact(store.id, id, moment)
        if number >= len(before):
            assert is_impersonal(store, id)


def test_a_buyer_is_erased_in_every_store_of_the_platform(aws, now):
    one, other = connected("one", now), connected("other", now)
    for store in (one, other):
        order(store, "1", now, buyer="WOO_COMMERCE#b1")
        order(store, "2", now, buyer="WOO_COMMERCE#b2")

    carry_out(None, PrivacyRequest(PrivacyKind.ERASE_CUSTOMER, buyer="b1"), now + timedelta(hours=1))

    for store in (one, other):
        assert shown(store, "1")["customer"] is None
        assert shown(store, "2")["customer"] is not None
    assert records.of_buyer("WOO_COMMERCE#b1") == []
    assert evidence()[0].orders == '{"one":["1"],"other":["1"]}'


def test_a_request_is_carried_out_once_and_every_request_of_a_delivery_has_its_evidence(store, now):
    request = PrivacyRequest(PrivacyKind.ERASE_CUSTOMER, ("1",), term=timedelta(days=30))

    assert carry_out(store, request, now)
    assert not carry_out(store, request, now + timedelta(days=1))
    assert carry_out(store, PrivacyRequest(PrivacyKind.REPORT, ("1",)), now)
    assert carry_out(store, PrivacyRequest(PrivacyKind.ERASE_CUSTOMER, buyer="b1"), now)

    assert len(evidence()) == 3
    assert {row.done_at for row in evidence()} == {now}
    assert {row.due_at for row in evidence()} == {now + timedelta(days=30)}
    assert all(row.expires_at > now + timedelta(days=365) for row in evidence())


def test_a_store_is_erased_when_the_platform_has_ended_our_access(store, now):
    stores.set_status(store.id, Status.DISCONNECTED, "UNINSTALLED", now)

    carry_out(store, PrivacyRequest(PrivacyKind.ERASE_STORE), now)

    assert stores.find(store.id) is None
    assert Store.get(store.id).status_reason is None  # the end of the store is told by an event of its own
    assert [row.outcome for row in evidence()] == ["ERASED"]


def test_a_store_that_is_connected_again_is_not_erased(store, now):
    carry_out(store, PrivacyRequest(PrivacyKind.ERASE_STORE), now, gone=False)

    assert stores.find(store.id) is not None
    assert [row.outcome for row in evidence()] == ["STILL_CONNECTED"]


@pytest.mark.parametrize("kind", PrivacyKind)
def test_of_a_store_that_is_gone_nothing_is_held_and_that_is_evidence(aws, now, kind):
    carry_out(None, PrivacyRequest(kind, ("1",)), now)

    assert [(row.outcome, row.store) for row in evidence()] == [("NOTHING_HELD", "WOO_COMMERCE#gone")]


def test_evidence_is_announced_for_each_store_it_concerns(now):
    row = PrivacyEvidence(
        "d#1",
        kind="erase_customer",
        platform="EBAY",
        store="EBAY#",
        received_at=now,
        due_at=now + timedelta(days=30),
        done_at=now,
        outcome="ERASED",
        orders='{"one":["1"],"other":["2","3"]}',
        expires_at=datetime(2029, 1, 1, tzinfo=now.tzinfo),
    )

    events = list(changes._privacy_events(row))

    assert [(kind, detail["store"], detail["orders"]) for kind, detail in events] == [
        ("privacy.requested", "one", ["1"]),
        ("privacy.requested", "other", ["2", "3"]),
    ]
