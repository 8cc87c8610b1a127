"""list_products and list_orders, as far as the edge goes; what they list is tested with shared/records.py."""

from datetime import timedelta

import pytest
from makers import NOW, any_store, call, stored

from shared import records
from shared.platforms.base import Record, Resource

pytestmark = pytest.mark.usefixtures("aws")
RESOURCES = {Resource.PRODUCTS: "list_products", Resource.ORDERS: "list_orders"}


@pytest.fixture(autouse=True)
def _records(aws):
    stored(any_store())
    long_ago = NOW - timedelta(days=365)
    for resource in RESOURCES:
        for number in range(5):
            at = long_ago + timedelta(minutes=number)
            records.save("store-1", resource, Record(f"r{number}", at, {"total": "4.80"}), "EUR", at, at)


def pages(resource, query):
    found, query = [], dict(query)
    while True:
        page = call(RESOURCES[resource], "GET", f"/stores/store-1/{resource}", query=query).json
        found += [item["id"] for item in page["items"]]
        if page["nextCursor"] is None or not page["items"]:
            return found
        query["cursor"] = page["nextCursor"]


@pytest.mark.parametrize("resource", RESOURCES)
def test_pages_through_what_there_is_and_what_changed(resource):
    newest_first = resource is Resource.ORDERS
    everything = [f"r{number}" for number in range(5)]

    for limit in ("1", "2", "100"):
        assert pages(resource, {"limit": limit}) == everything[:: -1 if newest_first else 1]
        assert pages(resource, {"limit": limit, "changedSince": "2020-01-01T00:00:00Z"}) == everything


@pytest.mark.parametrize("resource", RESOURCES)
def test_refuses_a_moment_that_is_none(resource, subtests):
    for since in ("yesterday", "2026-11-22", "0001-01-01T00:00:00+23:59", "", "9" * 65):
        with subtests.test(since=since):
            answer = call(RESOURCES[resource], "GET", f"/stores/store-1/{resource}", query={"changedSince": since})

            assert answer.problem == "request-invalid"


def test_an_unknown_record_is_told_from_an_unknown_store():
    for function, name, problem in (
        ("get_product", "products", "product-not-found"),
        ("get_order", "orders", "order-not-found"),
    ):
        assert call(function, "GET", f"/stores/store-1/{name}/r0").json["id"] == "r0"
        for odd in ("nothing", "x" * 257, "é" * 256):
            assert call(function, "GET", f"/stores/store-1/{name}/{odd}").problem == problem
        assert call(function, "GET", f"/stores/nothing/{name}/r0").problem == "store-not-found"
