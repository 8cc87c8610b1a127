"""Webhooks on their way: from the shop through the public address into the synced copy."""

import pytest
from integration.deployment import Deployment, Json, Shop, User, ok, until


@pytest.fixture(scope="module")
def shop(stack: Deployment) -> Shop:
    """A shop that sends its webhooks when it is told to."""
    shop = stack.open_shop(products=12, variable=3, orders=20)
    shop.act("PUT", "/delivery", paused=True)
    return shop


@pytest.fixture(scope="module")
def store(user: User, shop: Shop) -> Json:
    """Connected to it; its next scheduled sync is tomorrow, so what arrives came by webhook."""
    return user.synced(shop, settings={"syncInterval": 86_400})


def _delivered(shop: Shop, **weather: object) -> list[Json]:
    sent: list[Json] = shop.act("POST", "/deliver", copies=1, **weather)["sent"]
    return sent


def _address(shop: Shop) -> str:
    address: str = shop.truth("webhooks")[0]["delivery_url"]
    return address


def _stock(user: User, store: Json, variation: int) -> int | None:
    variants = {each["id"]: each for row in user.records(store, "products").values() for each in row["variants"]}
    found: int | None = variants[str(variation)]["inventoryQuantity"]
    return found


def test_every_change_arrives(user: User, shop: Shop, store: Json) -> None:
    simple = shop.simple_products()
    orders = list(shop.live("orders"))
    variation = next(row["id"] for row in shop.truth("products") if row["type"] == "variation")
    shop.act("POST", "/orders", line_items=[{"product_id": simple[0], "quantity": 2}])
    shop.act("PUT", f"/orders/{orders[0]}", status="completed")
    shop.act("POST", f"/orders/{orders[1]}/trash")
    shop.act("PUT", f"/products/{simple[1]}", price="12.34")
    shop.act("PUT", f"/products/{variation}", stock_quantity=17)
    shop.act("POST", f"/products/{simple[2]}/trash")

    sent = _delivered(shop)

    assert {each["status"] for each in sent} == {200}
    until(lambda: user.agrees(store, shop), "not all changes arrived")
    products = user.records(store, "products")
    assert products[str(simple[1])]["price"] == "12.34"
    until(lambda: _stock(user, store, variation) == 17, "the stock of the variation did not arrive")
    assert user.records(store, "orders")[orders[0]]["status"] == "completed"


def test_restored_order_comes_back(user: User, shop: Shop, store: Json) -> None:
    order = list(shop.live("orders"))[-1]
    shop.act("POST", f"/orders/{order}/trash")
    _delivered(shop)
    until(lambda: order not in user.records(store, "orders"), "the order was not removed")

    shop.act("POST", f"/orders/{order}/restore")
    _delivered(shop)

    until(lambda: order in user.records(store, "orders"), "the order did not come back")
    until(lambda: user.agrees(store, shop), "not all changes arrived")


def test_copies_in_any_order_have_one_effect(stack: Deployment, user: User, shop: Shop, store: Json) -> None:
    simple = shop.simple_products()
    orders = list(shop.live("orders"))[:3]
    new = shop.act("POST", "/orders", line_items=[{"product_id": simple[0], "quantity": 1}])["id"]
    for order in orders:
        shop.act("PUT", f"/orders/{order}", status="on-hold")
    shop.act("PUT", f"/products/{simple[3]}", price="55.55")
    shop.act("POST", f"/products/{simple[4]}/trash")

    sent = shop.act("POST", "/deliver", copies=3, shuffle=True)["sent"]

    assert {each["status"] for each in sent} == {200}
    until(lambda: user.agrees(store, shop), "not all changes arrived")
    until(
        lambda: all(
            each["outcome"] not in {"PENDING", "RETRYING"} for each in user.all(f"/stores/{store['id']}/deliveries")
        ),
        "deliveries are still pending",
    )
    created = until(
        lambda: [each for each in stack.changes(store, "orders", "created") if each["id"] == str(new)],
        "the order was not announced",
    )
    assert len(created) == 1
    for order in orders:
        held = [each for each in stack.changes(store, "orders", "updated") if each["id"] == order]
        assert held
        assert len({each["changedAt"] for each in held}) == len(held)


def test_same_delivery_twice_is_stored_once(stack: Deployment, user: User, shop: Shop, store: Json) -> None:
    shop.act("PUT", f"/products/{shop.simple_products()[0]}", price="8.88")
    sent = _delivered(shop)[-1]
    before = len(stack.rows("deliveries"))

    again = stack.internet.post(sent["url"], content=sent["body"].encode(), headers=sent["headers"])

    assert again.status_code == 200
    assert len(stack.rows("deliveries")) == before


def test_next_sync_makes_good_for_lost_webhooks(stack: Deployment, user: User) -> None:
    shop = stack.open_shop(products=6, variable=1, orders=12)
    shop.act("PUT", "/delivery", paused=True)
    store = user.synced(shop, settings={"syncInterval": 86_400})
    orders, simple = list(shop.live("orders")), shop.simple_products()
    shop.act("POST", "/orders", line_items=[{"product_id": simple[0], "quantity": 3}])
    shop.act("PUT", f"/orders/{orders[0]}", status="cancelled")
    shop.act("PUT", f"/products/{simple[0]}", price="1.11")

    sent = shop.act("POST", "/deliver", lose=1.0)["sent"]
    ok(user.http.post(f"/stores/{store['id']}/syncs", json={}))

    assert all(each["lost"] for each in sent)
    until(lambda: user.agrees(store, shop), "the sync did not bring what the webhooks had lost")


def test_full_sync_finds_what_was_deleted_without_a_word(
    stack: Deployment, user: User, shop: Shop, store: Json
) -> None:
    path = f"/stores/{store['id']}"
    product, order = shop.simple_products()[-1], list(shop.live("orders"))[-2]
    since = user.last_sync(store)
    shop.act("POST", f"/products/{product}/delete")
    shop.act("POST", f"/orders/{order}/delete")
    _delivered(shop)

    ok(user.http.post(f"{path}/syncs", json={"full": True}))

    until(lambda: user.http.get(f"{path}/products/{product}").status_code == 404, "the product is still there")
    until(lambda: user.http.get(f"{path}/orders/{order}").status_code == 404, "the order is still there")
    feed = until(
        lambda: [
            row
            for row in ok(user.http.get(f"{path}/products", params={"changedSince": since, "limit": 100}))["items"]
            if row["id"] == str(product)
        ],
        "the feed does not tell",
    )
    assert feed[0]["deleted"] is True
    until(lambda: user.agrees(store, shop), "the sync did not converge")
    until(
        lambda: str(product) in {each["id"] for each in stack.changes(store, "products", "deleted")},
        "the deletion was not announced",
    )


def test_refuses_a_forged_signature(stack: Deployment, shop: Shop, store: Json) -> None:
    before = len(stack.rows("deliveries"))
    headers = {
        "content-type": "application/json",
        "x-wc-webhook-topic": "order.updated",
        "x-wc-webhook-signature": "bm90IHRoZSBzaWduYXR1cmUgb2YgdGhpcyBib2R5IQ==",
    }

    answer = stack.internet.post(_address(shop), content=b'{"id": 1}', headers=headers)

    assert (answer.status_code, answer.json()["type"].rpartition("#")[2]) == (401, "signature-invalid")
    assert len(stack.rows("deliveries")) == before


def test_refuses_a_body_without_a_signature(stack: Deployment, shop: Shop, store: Json) -> None:
    answer = stack.internet.post(_address(shop), content=b'{"id": 1}', headers={"content-type": "application/json"})

    assert answer.status_code == 401


def test_answers_a_ping_with_exactly_200(stack: Deployment, shop: Shop, store: Json) -> None:
    answer = stack.internet.post(
        _address(shop),
        content=b"webhook_id=7",
        headers={"content-type": "application/x-www-form-urlencoded"},
    )

    assert answer.status_code == 200


@pytest.mark.parametrize("place", ["{known}x", "nobody.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "x"])
def test_knows_no_other_connection(stack: Deployment, shop: Shop, store: Json, place: str) -> None:
    known = _address(shop)
    folder = known.rpartition("/")[0]
    address = place.format(known=known) if "{known}" in place else f"{folder}/{place}"

    answer = stack.internet.post(address, content=b"{}", headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["type"].rpartition("#")[2]) == (404, "connection-unknown")


@pytest.mark.parametrize("platform", ["SHOPIFY", "woo_commerce", "NO_SUCH"])
def test_knows_no_connection_of_another_platform(stack: Deployment, shop: Shop, store: Json, platform: str) -> None:
    answer = stack.internet.post(_address(shop).replace("WOO_COMMERCE", platform), content=b"{}")

    assert answer.status_code == 404


def test_refuses_more_than_a_mebibyte(stack: Deployment, shop: Shop, store: Json) -> None:
    body = b'{"id": 1, "note": "' + b"x" * 1024 * 1024 + b'"}'

    answer = stack.internet.post(_address(shop), content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["type"].rpartition("#")[2]) == (413, "body-too-large")


def test_takes_deliveries_by_post_only(stack: Deployment, shop: Shop, store: Json) -> None:
    assert stack.internet.get(_address(shop)).status_code == 405
