from datetime import datetime, timedelta

import pytest
from fakes import connected

from shared import changes, compliance, records, stores
from shared.models import Order, PrivacyEvidence
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
    return compliance.carry_out(key, "WOO_COMMERCE", store, place, request, now, now, is_gone=lambda: gone)


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
    carry_out(store, PrivacyRequest(PrivacyKind.ERASE_STORE), now)

    assert stores.find(store.id) is None
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
