"""What happens by itself, by the clock; most of it was begun before the first test."""

from concurrent.futures import Future

import httpx
from integration.deployment import Deployment, Json, Shop, User, ok, until


def test_store_is_synced_again_when_its_interval_is_over(user: User, left_alone: tuple[Shop, Json, int]) -> None:
    shop, store, changed = left_alone

    def arrived() -> bool:
        row = ok(user.http.get(f"/stores/{store['id']}/products/{changed}"))
        return bool(row["price"] == "42.42")

    until(arrived, "the change did not arrive by the schedule", seconds=150)
    until(lambda: user.agrees(store, shop), "the store is not in sync")
    runs = user.all(f"/stores/{store['id']}/syncs")
    assert {run["trigger"] for run in runs} == {"connect", "schedule"}
    assert user.all(f"/stores/{store['id']}/deliveries") == []


def test_gives_up_on_a_shop_that_hangs_while_the_caller_still_waits(hanging: Future[httpx.Response]) -> None:
    answer = hanging.result(60)

    assert (answer.status_code, answer.json()["type"].rpartition("#")[2]) == (422, "platform-unreachable")


def test_delivery_that_failed_is_tried_again(stack: Deployment, user: User, failed_once: tuple[Shop, Json]) -> None:
    shop, store = failed_once
    path = f"/stores/{store['id']}/deliveries"

    tried = until(
        lambda: [each for each in user.all(path) if each["attempts"] == 2], "it was not tried again", seconds=90
    )

    assert [each["outcome"] for each in tried] == ["PROCESSED"]
    stocks = [each["inventoryQuantity"] for row in user.records(store, "products").values() for each in row["variants"]]
    assert 17 in stocks
    assert user.agrees(store, shop)


def test_store_removed_during_its_first_sync_leaves_nothing(
    stack: Deployment, user: User, removed_at_once: Json
) -> None:
    assert user.http.get(f"/stores/{removed_at_once['id']}").status_code == 404

    until(lambda: not stack.rows_about(removed_at_once["id"]), "rows of the store are left", seconds=150)
    assert len(until(lambda: stack.events(removed_at_once, "store.disconnected"), "it was not announced")) == 1


def test_address_of_a_removed_store_is_unknown_and_what_still_comes_there_does_not_stay(
    stack: Deployment, removed: tuple[Json, Json]
) -> None:
    store, sent = removed

    def status() -> int:
        return stack.internet.post(sent["url"], content=sent["body"].encode(), headers=sent["headers"]).status_code

    until(lambda: status() == 404, "the address is still served", seconds=90)
    until(lambda: not stack.rows_about(store["id"]), "rows of the store have come back")


def test_old_keys_are_replaced_and_stores_go_on(stack: Deployment, user: User) -> None:
    shop = stack.open_shop()
    store = user.synced(shop, settings={"syncInterval": 86_400})
    stack.note_secrets()
    before = stack.row("credentials", store_id=store["id"])
    for row in stack.rows("key-groups"):
        if "versions" in row:
            stack.aws("dynamodb").update_item(
                TableName=f"{stack.endpoints['stack']}-key-groups",
                Key={"group": row["group"]},
                UpdateExpression="SET created_at.#one = :long_ago",
                ExpressionAttributeNames={"#one": "1"},
                ExpressionAttributeValues={":long_ago": {"S": "2020-01-01T00:00:00.000000Z"}},
            )

    # the first run makes new keys, the second seals anew
    for _ in range(2):
        answer = stack.aws("lambda").invoke(FunctionName=stack.physical("RotateKeysFunction"), Payload=b"{}")
        assert "FunctionError" not in answer

    after = stack.row("credentials", store_id=store["id"])
    assert before["api_credentials"] != after["api_credentials"]
    assert before["webhook_secrets"] != after["webhook_secrets"]
    assert {row["current"]["N"] for row in stack.rows("key-groups") if "versions" in row} == {"2"}
    shop.act("PUT", f"/products/{shop.simple_products()[0]}", price="6.54")
    until(lambda: user.agrees(store, shop), "webhooks do not arrive any more")
    ok(user.http.post(f"/stores/{store['id']}/syncs", json={}))
    until(
        lambda: [each for each in user.all(f"/stores/{store['id']}/syncs") if each["trigger"] == "request"],
        "the store is not synced any more",
    )
