"""A key that is revoked while a store is being imported, and what heals it."""

import pytest
from integration.deployment import Deployment, Json, Shop, User, ok, until


@pytest.fixture(scope="module")
def shop(stack: Deployment) -> Shop:
    """A shop whose key dies while its orders are being paged."""
    shop = stack.open_shop(products=5, variable=1, orders=350)
    # two calls prove the key, nine make the webhooks, and two bring pages of orders
    shop.act("POST", "/revoke", consumer_key=shop.keys["read_write"]["consumer_key"], after_calls=13)
    return shop


@pytest.fixture(scope="module")
def store(user: User, shop: Shop) -> Json:
    """Connected with that key."""
    store = user.connect(shop, settings={"syncInterval": 60})
    until(
        lambda: ok(user.http.get(f"/stores/{store['id']}"))["status"] == "NEEDS_REAUTHORIZATION",
        "the refusal was not noticed",
    )
    return store


def _state(stack: Deployment, store: Json) -> Json:
    return next(row for row in stack.rows("sync-states") if row["store_id"]["S"] == store["id"])


def test_run_does_not_claim_to_be_complete(user: User, store: Json) -> None:
    runs = until(lambda: ok(user.http.get(f"/stores/{store['id']}/syncs"))["items"], "no run is listed")

    assert [(run["outcome"], run["reason"]) for run in runs] == [("PARTIAL", "CREDENTIALS")]
    assert user.last_sync(store) is None
    assert 0 < len(user.records(store, "orders")) < 350


def test_store_says_what_to_do_once(stack: Deployment, user: User, store: Json) -> None:
    shown = ok(user.http.get(f"/stores/{store['id']}"))

    assert shown["statusReason"]["code"] == "CREDENTIALS_REFUSED"
    assert "Connect the store again" in shown["statusReason"]["text"]
    until(lambda: stack.events(store, "store.needs_reauthorization"), "it was not announced")
    assert len(stack.events(store, "store.needs_reauthorization")) == 1


def test_store_is_off_the_wheel_and_is_not_synced_by_request(stack: Deployment, user: User, store: Json) -> None:
    asked = user.http.post(f"/stores/{store['id']}/syncs", json={})

    assert "slot" not in _state(stack, store)
    assert (asked.status_code, asked.json()["type"].rpartition("#")[2]) == (409, "sync-not-possible")


def test_refuses_a_key_that_does_not_work_and_one_of_another_shop(
    stack: Deployment, user: User, shop: Shop, store: Json
) -> None:
    path, other = f"/stores/{store['id']}/credentials", stack.open_shop().keys["read_write"]
    before = [row for row in stack.rows("credentials") if row["store_id"]["S"] == store["id"]]
    revoked = shop.keys["revoked"]

    dead = user.http.put(path, json={"apiKey": revoked["consumer_key"], "apiSecret": revoked["consumer_secret"]})
    foreign = user.http.put(path, json={"apiKey": other["consumer_key"], "apiSecret": other["consumer_secret"]})

    assert [answer.json()["type"].rpartition("#")[2] for answer in (dead, foreign)] == ["credentials-refused"] * 2
    assert [row for row in stack.rows("credentials") if row["store_id"]["S"] == store["id"]] == before


def test_good_key_heals_the_store(stack: Deployment, user: User, shop: Shop, store: Json) -> None:
    key = shop.act("POST", "/keys")
    stack.secrets |= {key["consumer_key"], key["consumer_secret"]}

    healed = user.http.put(
        f"/stores/{store['id']}/credentials",
        json={"apiKey": key["consumer_key"], "apiSecret": key["consumer_secret"]},
    )

    assert (ok(healed)["status"], healed.json()["statusReason"]) == ("CONNECTED", None)
    assert "slot" in _state(stack, store)
    until(lambda: user.last_sync(store), "the store was not synced")
    until(lambda: user.agrees(store, shop), "the sync did not bring all")
    until(lambda: len(stack.events(store, "store.connected")) == 2, "it was not announced")


def test_key_that_loses_its_rights_needs_a_human_too(stack: Deployment, user: User) -> None:
    shop = stack.open_shop()
    store = user.synced(shop, settings={"syncInterval": 86_400})
    shop.act("PUT", "/rights", may_manage=False)

    ok(user.http.post(f"/stores/{store['id']}/syncs", json={}))

    shown = until(
        lambda: (found := ok(user.http.get(f"/stores/{store['id']}")))["statusReason"] and found,
        "the refusal was not noticed",
    )
    assert (shown["status"], shown["statusReason"]["code"]) == ("NEEDS_REAUTHORIZATION", "PERMISSION_MISSING")


def test_webhook_that_tells_of_lost_rights_is_understood(stack: Deployment, user: User) -> None:
    shop = stack.open_shop()
    store = user.synced(shop, settings={"syncInterval": 86_400})
    shop.act("PUT", "/rights", may_manage=False)

    shop.act("PUT", f"/products/{shop.simple_products()[0]}", price="4.56")

    until(
        lambda: ok(user.http.get(f"/stores/{store['id']}"))["status"] == "NEEDS_REAUTHORIZATION",
        "the refusal was not noticed",
    )


def test_two_webhook_secrets_are_accepted_while_one_replaces_the_other(stack: Deployment, user: User) -> None:
    shop = stack.open_shop()
    store = user.synced(shop, settings={"syncInterval": 86_400})
    stack.note_secrets()
    secret = "a-secret-that-the-seller-chose-1234567890"
    stack.secrets.add(secret)
    shop.act("PUT", "/delivery", paused=True)
    shop.act("PUT", f"/products/{shop.simple_products()[0]}", price="9.87")

    ok(user.http.put(f"/stores/{store['id']}/credentials", json={"webhookSecret": secret}))
    sent = shop.act("POST", "/deliver", copies=1)["sent"]

    assert sent
    assert {each["status"] for each in sent} == {200}
