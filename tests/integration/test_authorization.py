"""The guided grant: from the seller's browser through the shop's own screens and back."""

import secrets
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from integration.deployment import Deployment, Json, Shop, User, ok, until

CALLBACK = "/authorizations/WOO_COMMERCE/callback"


def _start(user: User, shop: Shop, **more: object) -> Json:
    wish = {"platform": "WOO_COMMERCE", "domain": shop.url, "name": shop.name, **more}
    return ok(user.http.post("/authorizations", json=wish, headers={"idempotency-key": f"grant-{shop.name}"}))


def _at_the_shop(stack: Deployment, started: Json, decision: str) -> httpx.Response:
    """What the seller's browser gets when they decide."""
    return stack.sandbox.get(f"{started['authorizationUrl']}&_sandbox={decision}")


def _back(stack: Deployment, answer: httpx.Response) -> httpx.Response:
    """The page that the shop sends the browser back to."""
    assert answer.status_code == 302
    return stack.internet.get(answer.headers["location"])


def _grant(state: str, key: Json) -> Json:
    return {
        "key_id": 1,
        "user_id": state,
        "consumer_key": key["consumer_key"],
        "consumer_secret": key["consumer_secret"],
        "key_permissions": "read_write",
    }


def _stores_of(user: User, shop: Shop) -> list[Json]:
    return [each for each in user.all("/stores") if each["domain"] == shop.url]


def _kind(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition("#")[2]


def test_approval_connects_the_store_and_syncs_it(stack: Deployment, user: User, shop: Shop) -> None:
    before = user.connect(stack.open_shop(), isPrimary=True)
    started = _start(user, shop, settings={"syncInterval": 3600}, metadata={"from": "grant"}, isPrimary=True)

    page = _back(stack, _at_the_shop(stack, started, "approve"))

    shop.keys_now()
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "connected" in page.text
    [store] = _stores_of(user, shop)
    assert (store["name"], store["metadata"], store["settings"]) == (
        shop.name,
        {"from": "grant"},
        {"syncInterval": 3600},
    )
    assert store["isPrimary"]
    assert not ok(user.http.get(f"/stores/{before['id']}"))["isPrimary"]
    until(lambda: user.last_sync(store), "the first sync did not end")
    until(lambda: user.agrees(store, shop), "the first sync did not bring all")
    until(lambda: stack.events(store, "store.connected"), "it was not announced")


def test_authorization_url_asks_for_our_callback_and_nothing_else(stack: Deployment, user: User, shop: Shop) -> None:
    started = _start(user, shop)

    url = urlsplit(started["authorizationUrl"])
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{shop.url}/wc-auth/v1/authorize"
    assert dict(parse_qsl(url.query)) == {
        "app_name": "storelink",
        "scope": "read_write",
        "user_id": started["state"],
        "return_url": stack.endpoints["https"] + CALLBACK,
        "callback_url": stack.endpoints["https"] + CALLBACK,
    }


def test_denial_connects_nothing(stack: Deployment, user: User, shop: Shop) -> None:
    page = _back(stack, _at_the_shop(stack, _start(user, shop), "deny"))

    assert page.status_code == 403
    assert "declined" in page.text
    assert _stores_of(user, shop) == []


def test_attempt_is_used_once_and_the_second_key_is_taken_back(stack: Deployment, user: User, shop: Shop) -> None:
    started = _start(user, shop)
    _back(stack, _at_the_shop(stack, started, "approve"))
    keys = shop.keys_now()

    again = _at_the_shop(stack, started, "approve")

    assert again.status_code != 302
    assert shop.keys_now() == keys
    assert len(_stores_of(user, shop)) == 1


def test_refuses_a_grant_for_a_state_that_was_never_given(stack: Deployment, user: User, shop: Shop) -> None:
    state = secrets.token_urlsafe(32)

    posted = stack.internet.post(CALLBACK, json=_grant(state, shop.keys["read_write"]))
    page = stack.internet.get(CALLBACK, params={"user_id": state, "success": "1"})

    assert _kind(posted) == (404, "authorization-invalid")
    assert page.status_code == 404
    assert _stores_of(user, shop) == []


def test_refuses_an_attempt_that_is_too_old_and_the_shop_takes_its_key_back(
    stack: Deployment, user: User, shop: Shop
) -> None:
    started = _start(user, shop)
    keys = shop.keys_now()
    stack.aws("dynamodb").update_item(
        TableName=f"{stack.endpoints['stack']}-authorizations",
        Key={"state": {"S": started["state"]}},
        UpdateExpression="SET expires_at = :past",
        ExpressionAttributeValues={":past": {"N": "1000000000"}},
    )

    answer = _at_the_shop(stack, started, "approve")

    assert answer.status_code != 302
    assert shop.keys_now() == keys
    assert _stores_of(user, shop) == []
    assert stack.internet.get(CALLBACK, params={"user_id": started["state"], "success": "1"}).status_code == 404


def test_refuses_the_keys_of_another_shop(stack: Deployment, user: User, shop: Shop) -> None:
    started, other = _start(user, shop), stack.open_shop()

    posted = stack.internet.post(CALLBACK, json=_grant(started["state"], other.keys["read_write"]))
    page = stack.internet.get(CALLBACK, params={"user_id": started["state"], "success": "1"})

    assert _kind(posted) == (422, "credentials-refused")
    assert page.status_code == 422
    assert _stores_of(user, shop) == _stores_of(user, other) == []


def test_refuses_a_shop_that_is_connected_and_the_shop_takes_its_key_back(
    stack: Deployment, user: User, member: User, shop: Shop
) -> None:
    user.connect(shop)
    keys = shop.keys_now()

    answer = _at_the_shop(stack, _start(member, shop), "approve")

    assert answer.status_code != 302
    assert shop.keys_now() == keys
    assert _stores_of(member, shop) == []


def test_approval_heals_a_store_in_place(stack: Deployment, user: User, shop: Shop) -> None:
    store = user.synced(shop, settings={"syncInterval": 86_400})
    shop.act("POST", "/revoke", consumer_key=shop.keys["read_write"]["consumer_key"])
    ok(user.http.post(f"/stores/{store['id']}/syncs", json={}))
    until(
        lambda: ok(user.http.get(f"/stores/{store['id']}"))["status"] == "NEEDS_REAUTHORIZATION",
        "the refusal was not noticed",
    )
    started = ok(user.http.post("/authorizations", json={"platform": "WOO_COMMERCE", "store": store["id"]}))

    page = _back(stack, _at_the_shop(stack, started, "approve"))

    shop.keys_now()
    assert page.status_code == 200
    assert [(each["id"], each["status"]) for each in _stores_of(user, shop)] == [(store["id"], "CONNECTED")]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"user_id": "x"}', b"\xff"])
def test_refuses_what_is_no_grant(stack: Deployment, body: bytes) -> None:
    answer = stack.internet.post(CALLBACK, content=body, headers={"content-type": "application/json"})

    assert _kind(answer) == (400, "body-malformed")
