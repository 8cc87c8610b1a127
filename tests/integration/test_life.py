"""A store's life over plain HTTP, from connecting to removing."""

from datetime import UTC, datetime, timedelta

import pytest
from integration.deployment import Deployment, Json, Shop, User, new_store, ok, until


@pytest.fixture(scope="module")
def shop(stack: Deployment) -> Shop:
    """A shop with several pages of orders, and variations."""
    return stack.open_shop(products=30, variable=6, orders=120)


@pytest.fixture(scope="module")
def store(stack: Deployment, user: User, shop: Shop) -> Json:
    """The store that most of these tests look at."""
    return user.synced(shop, metadata={"shelf": "A"}, settings={"syncInterval": 86_400, "priceMarkup": 1.5})


def test_new_store_shows_what_the_platform_says_and_no_secret(user: User, shop: Shop, store: Json) -> None:
    answer = user.http.get(f"/stores/{store['id']}")

    assert answer.headers["etag"] == f'"{answer.json()["version"]}"'
    assert answer.json() | {"version": 0, "updatedAt": "", "lastSyncAt": "", "isPrimary": False} == {
        "id": store["id"],
        "name": shop.name,
        "platform": "WOO_COMMERCE",
        "storeId": shop.url.removeprefix("https://"),
        "storeName": answer.json()["storeName"],
        "domain": shop.url,
        "currency": shop.act("GET", "")["currency"],
        "timezone": shop.act("GET", "")["timezone"],
        "isActive": True,
        "isPrimary": False,
        "lastSyncAt": "",
        "settings": {"syncInterval": 86_400, "priceMarkup": 1.5},
        "metadata": {"shelf": "A"},
        "userId": "demo-user-1",
        "teamId": None,
        "createdAt": store["createdAt"],
        "updatedAt": "",
        "status": "CONNECTED",
        "statusReason": None,
        "tokenExpiresAt": None,
        "reauthorizeBy": None,
        "version": 0,
    }


def test_creating_says_where_the_store_is(stack: Deployment, user: User) -> None:
    answer = user.http.post("/stores", json=new_store(stack.open_shop()))

    assert answer.status_code == 201
    assert answer.headers["location"] == f"/stores/{answer.json()['id']}"
    assert answer.headers["etag"] == '"1"'


def test_first_sync_brings_all_that_the_shop_has(user: User, shop: Shop, store: Json) -> None:
    products, orders = user.records(store, "products"), user.records(store, "orders")

    there = shop.live("products")
    assert {id: (row["title"], row["price"] or "", row["updatedAt"]) for id, row in products.items()} == {
        id: (row["name"], row["price"], f"{row['modified_gmt']}Z") for id, row in there.items()
    }
    assert {id: [each["id"] for each in row["variants"]] for id, row in products.items() if row["variants"]} == {
        id: [str(each) for each in row["variations"]] or [id] for id, row in there.items()
    }
    assert {id: (row["total"], len(row["lines"]), row["updatedAt"]) for id, row in orders.items()} == {
        id: (row["total"], row["lines"], f"{row['modified_gmt']}Z") for id, row in shop.live("orders").items()
    }


def test_orders_are_listed_newest_first_and_read_one_by_one(user: User, store: Json) -> None:
    orders = user.all(f"/stores/{store['id']}/orders")

    one = ok(user.http.get(f"/stores/{store['id']}/orders/{orders[0]['id']}"))

    assert orders == sorted(orders, key=lambda order: order["createdAt"], reverse=True)
    assert one == orders[0]


def test_first_sync_leaves_a_run_with_its_counts(user: User, shop: Shop, store: Json) -> None:
    runs = ok(user.http.get(f"/stores/{store['id']}/syncs"))

    first = runs["items"][-1]
    assert (first["outcome"], first["trigger"], first["full"]) == ("COMPLETE", "connect", True)
    assert {resource: counts["created"] for resource, counts in first["counts"].items()} == {
        "orders": len(shop.live("orders")),
        "products": len(shop.live("products")),
    }
    assert runs["lastSyncAt"] == user.last_sync(store)


def test_first_sync_subscribes_to_the_shop_and_is_announced(stack: Deployment, shop: Shop, store: Json) -> None:
    hooks = shop.truth("webhooks")

    assert {hook["status"] for hook in hooks} == {"active"}
    assert len({hook["topic"] for hook in hooks}) == len(hooks) == 8
    finished = until(lambda: stack.events(store, "sync.finished"), "the sync was not announced")
    assert [event["outcome"] for event in finished] == ["COMPLETE"]
    assert len(stack.events(store, "store.connected")) == 1

    def announced(resource: str) -> set[str]:
        return {each["id"] for each in stack.changes(store, resource, "created")}

    until(lambda: announced("orders") == shop.live("orders").keys(), "not all orders were announced")
    until(lambda: announced("products") == shop.live("products").keys(), "not all products were announced")


def test_store_is_in_its_owners_list(user: User, store: Json) -> None:
    listed = user.all("/stores", platform="WOO_COMMERCE", status="CONNECTED", sort="lastSyncAt")

    assert store["id"] in {each["id"] for each in listed}


def test_patch_changes_the_version_that_it_names_and_no_other(user: User, store: Json) -> None:
    path = f"/stores/{store['id']}"
    etag = user.http.get(path).headers["etag"]

    patched = user.http.patch(path, json={"settings": {"priceMarkup": None}}, headers={"if-match": etag})
    late = user.http.patch(path, json={"name": "late"}, headers={"if-match": etag})

    assert ok(patched)["settings"] == {"syncInterval": 86_400}
    assert patched.headers["etag"] != etag
    assert late.status_code == 412
    assert late.json()["type"].endswith("#version-conflict")


def test_primary_role_moves_from_store_to_store(stack: Deployment, user: User, store: Json) -> None:
    def primaries() -> list[str]:
        return [each["id"] for each in user.all("/stores") if each["isPrimary"]]

    path = f"/stores/{store['id']}"
    for _ in range(2):
        connected = user.connect(stack.open_shop(), isPrimary=True)
        assert primaries() == [connected["id"]]

    assert ok(user.http.put(f"{path}/primary"))["isPrimary"]
    assert primaries() == [store["id"]]

    ok(user.http.patch(path, json={"isPrimary": False}))
    assert primaries() == []

    ok(user.http.patch(f"/stores/{connected['id']}", json={"isPrimary": True}))
    ok(user.http.patch(path, json={"isPrimary": True}))
    assert primaries() == [store["id"]]


def test_store_that_is_switched_off_is_not_synced_until_it_is_on_again(
    stack: Deployment, user: User, store: Json
) -> None:
    path = f"/stores/{store['id']}"

    ok(user.http.patch(path, json={"isActive": False}))
    off = stack.row("sync-states", store_id=store["id"])
    asked = user.http.post(f"{path}/syncs", json={})
    ok(user.http.patch(path, json={"isActive": True, "settings": {"syncInterval": 43_200}}))
    on = stack.row("sync-states", store_id=store["id"])

    assert "slot" not in off
    assert (asked.status_code, asked.json()["type"].rpartition("#")[2]) == (409, "sync-not-possible")
    assert on["slot"]["S"].startswith("720#")


def test_sync_now_runs_and_may_be_asked_for_once_a_minute(user: User, store: Json) -> None:
    path = f"/stores/{store['id']}/syncs"

    key = {"idempotency-key": "sync-now"}

    asked = user.http.post(path, json={}, headers=key)
    same = user.http.post(path, json={}, headers=key)
    again = user.http.post(path, json={})

    assert (asked.status_code, same.status_code) == (202, 202)
    assert same.json() == asked.json()
    assert (again.status_code, again.headers["retry-after"]) == (429, "60")
    run = until(
        lambda: [run for run in ok(user.http.get(path))["items"] if run["trigger"] == "request"],
        "the sync did not run",
    )
    assert run[0]["outcome"] == "COMPLETE"


def test_change_feed_has_what_changed_since_and_goes_on_from_its_cursor(user: User, shop: Shop, store: Json) -> None:
    path = f"/stores/{store['id']}/products"
    since = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    changed = shop.simple_products()[0]
    shop.act("PUT", f"/products/{changed}", price="77.70")

    def feed() -> Json | None:
        page = ok(user.http.get(path, params={"changedSince": since}))
        return page if str(changed) in {row["id"] for row in page["items"]} else None

    page = until(feed, "the change is not in the feed")
    further = ok(user.http.get(path, params={"changedSince": since, "cursor": page["nextCursor"]}))

    orders = ok(user.http.get(f"/stores/{store['id']}/orders", params={"changedSince": store["createdAt"]}))
    assert [row["price"] for row in page["items"] if row["id"] == str(changed)] == ["77.70"]
    assert orders["items"] == sorted(orders["items"], key=lambda order: order["changedAt"])
    assert len(orders["items"]) == 50
    assert further["items"] == []
    assert further["nextCursor"]


def test_designs_are_linked_and_listed_from_both_sides(user: User, store: Json) -> None:
    path = f"/stores/{store['id']}/designs"

    linked = [ok(user.http.put(f"{path}/shirt-{number}")) for number in (1, 2)]
    again = ok(user.http.put(f"{path}/shirt-1"))
    gone = user.http.delete(f"{path}/shirt-2")

    assert again == linked[0]
    assert gone.status_code == 204
    assert [link["designId"] for link in user.all(path)] == ["shirt-1"]
    assert [link["store"] for link in user.all("/designs/shirt-1/stores")] == [store["id"]]


def test_delivery_is_listed_and_can_be_replayed(user: User, shop: Shop, store: Json) -> None:
    path = f"/stores/{store['id']}/deliveries"
    shop.act("PUT", f"/products/{shop.simple_products()[1]}", price="3.21")
    processed = until(
        lambda: [each for each in user.all(path) if each["outcome"] == "PROCESSED"], "no delivery was processed"
    )[0]

    replayed = user.http.post(f"{path}/{processed['id']}/replay", headers={"idempotency-key": "replay"})

    assert replayed.status_code == 202

    def again() -> bool:
        now = next(each for each in user.all(path) if each["id"] == processed["id"])
        return now["outcome"] == "PROCESSED" and now["cause"] == "What we have is as new."

    until(again, "the replay was not processed")


def test_deliveries_of_a_time_are_replayed_together(user: User, shop: Shop, store: Json) -> None:
    path = f"/stores/{store['id']}/deliveries"
    shop.act("PUT", f"/products/{shop.simple_products()[1]}", price="4.32")
    until(lambda: any(each["outcome"] == "PROCESSED" for each in user.all(path)), "no delivery was processed")
    known = {each["id"] for each in user.all(path) if each["outcome"] == "PROCESSED"}

    answer = ok(user.http.post(f"{path}/replay", json={"since": store["createdAt"], "outcome": "PROCESSED"}))

    assert answer["queued"] >= len(known)
    until(
        lambda: all(
            each["cause"] == "What we have is as new." and each["outcome"] == "PROCESSED"
            for each in user.all(path)
            if each["id"] in known
        ),
        "the replay was not processed",
    )


def test_same_idempotency_key_gives_the_same_answer(stack: Deployment, user: User) -> None:
    shop = stack.open_shop()
    headers = {"idempotency-key": f"key-of-{shop.name}"}

    first = user.http.post("/stores", json=new_store(shop), headers=headers)
    second = user.http.post("/stores", json=new_store(shop), headers=headers)
    other = user.http.post("/stores", json=new_store(shop, name="other"), headers=headers)

    assert (first.status_code, second.status_code) == (201, 201)
    assert (second.json()["id"], second.headers["location"]) == (first.json()["id"], first.headers["location"])
    assert (other.status_code, other.json()["type"].rpartition("#")[2]) == (422, "idempotency-key-reused")


def test_removed_store_leaves_nothing(stack: Deployment, user: User, shop: Shop, store: Json) -> None:
    path = f"/stores/{store['id']}"
    stack.note_secrets()
    product, order = (next(iter(user.records(store, resource))) for resource in ("products", "orders"))
    delivery = user.all(f"{path}/deliveries")[0]["id"]

    gone = user.http.delete(path)

    assert gone.status_code == 204
    for place in (
        "",
        "/syncs",
        "/products",
        f"/products/{product}",
        "/orders",
        f"/orders/{order}",
        "/designs",
        "/deliveries",
    ):
        assert user.http.get(path + place).status_code == 404
    assert user.http.post(f"{path}/deliveries/{delivery}/replay").status_code == 404
    assert user.http.delete(path).status_code == 404
    assert store["id"] not in {each["id"] for each in user.all("/stores")}
    assert user.all("/designs/shirt-1/stores") == []
    # under an Idempotency-Key the path of what was made is kept for its day
    kept = {f"{stack.endpoints['stack']}-idempotency"}
    until(lambda: stack.rows_about(store["id"]).keys() <= kept, "rows of the store are left")
    assert shop.truth("webhooks") == []
    until(lambda: stack.events(store, "store.disconnected"), "the removal was not announced")
    assert len(stack.events(store, "store.disconnected")) == 1
    assert stack.events(store, "product.deleted") == stack.events(store, "order.deleted") == []


def test_removed_shop_can_be_connected_again(user: User, shop: Shop) -> None:
    assert user.http.post("/stores", json=new_store(shop)).status_code == 201
