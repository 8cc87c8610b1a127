"""Addresses and keys that must not become a store: each has its own problem, and nothing is stored."""

import pytest
from integration.deployment import Deployment, Json, Shop, User, new_store, ok

_KEYS = {"stores": "id", "claims": "claim", "credentials": "store_id", "sync-states": "store_id"}


def _all_keys(stack: Deployment) -> dict[str, set[str]]:
    return {table: {row[key]["S"] for row in stack.rows(table)} for table, key in _KEYS.items()}


def _refused(stack: Deployment, user: User, wish: Json, **headers: str) -> tuple[int, str]:
    before = _all_keys(stack)
    answer = user.http.post("/stores", json=wish, headers=headers)
    assert _all_keys(stack) == before
    assert answer.headers["content-type"] == "application/problem+json"
    assert not any(secret in answer.text for secret in stack.secrets)
    return answer.status_code, answer.json()["type"].rpartition("#")[2]


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ({"kind": "html"}, (422, "not-the-platform")),
        ({"kind": "broken_json"}, (422, "not-the-platform")),
        ({"kind": "endless"}, (422, "not-the-platform")),
        ({"kind": "gzip_bomb"}, (422, "not-the-platform")),
        ({"kind": "status", "status": 404}, (422, "not-the-platform")),
        ({"kind": "status", "status": 403, "path": "currencies"}, (422, "not-the-platform")),
        ({"kind": "redirect", "location": "private_address"}, (422, "address-refused")),
        ({"kind": "redirect", "location": "other_host"}, (422, "address-refused")),
        ({"kind": "redirect", "location": "same_host"}, (422, "address-refused")),
        ({"kind": "status", "status": 500}, (422, "platform-unreachable")),
        ({"kind": "reset"}, (422, "platform-unreachable")),
        ({"kind": "status", "status": 429, "retry_after": "30"}, (503, "platform-busy")),
    ],
    ids=lambda value: "-".join(str(each) for each in value.values()) if isinstance(value, dict) else value[1],
)
def test_refuses_what_does_not_answer_as_a_shop(
    stack: Deployment, user: User, shop: Shop, fault: Json, problem: tuple[int, str]
) -> None:
    shop.act("POST", "/faults", **fault)

    assert _refused(stack, user, new_store(shop)) == problem


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("unknown", "credentials-refused"),
        ("wrong secret", "credentials-refused"),
        ("revoked", "credentials-refused"),
        ("read", "permission-missing"),
        ("write", "permission-missing"),
        ("without rights", "permission-missing"),
    ],
)
def test_refuses_a_key_that_does_not_do(stack: Deployment, user: User, shop: Shop, key: str, problem: str) -> None:
    good = shop.keys["read_write"]
    keys = {
        **shop.keys,
        "unknown": {"consumer_key": "ck_" + "0" * 40, "consumer_secret": "cs_" + "0" * 40},
        "wrong secret": {**good, "consumer_secret": "cs_" + "0" * 40},
        "without rights": shop.act("POST", "/keys", may_manage=False),
    }
    given = {"apiKey": keys[key]["consumer_key"], "apiSecret": keys[key]["consumer_secret"]}

    assert _refused(stack, user, new_store(shop, **given)) == (422, problem)


@pytest.mark.parametrize(
    ("domain", "problem"),
    [
        ("http://shop.example.com", "address-refused"),
        ("ftp://shop.example.com", "address-refused"),
        ("https://10.0.0.1", "address-refused"),
        ("https://127.0.0.1", "address-refused"),
        ("https://169.254.169.254/latest", "address-refused"),
        ("https://2130706433", "address-refused"),
        ("https://[::1]", "address-refused"),
        ("https://[::ffff:10.0.0.1]", "address-refused"),
        ("https://intranet", "address-refused"),
        ("https://name:word@shop.example.com", "address-refused"),
        ("https://shop.example.com\\@other.example.com", "address-refused"),
        ("", "address-refused"),
        ("https://shop.invalid", "platform-unreachable"),
    ],
)
def test_refuses_an_address_that_may_not_be_called(
    stack: Deployment, user: User, shop: Shop, domain: str, problem: str
) -> None:
    assert _refused(stack, user, new_store(shop, domain=domain)) == (422, problem)


def test_refuses_a_shop_that_is_not_the_one_named(stack: Deployment, user: User, shop: Shop) -> None:
    assert _refused(stack, user, new_store(shop, storeId="shop.example.com")) == (409, "identity-mismatch")


def test_refuses_a_shop_that_is_connected(stack: Deployment, user: User, shop: Shop) -> None:
    ok(user.http.post("/stores", json=new_store(shop)))

    assert _refused(stack, user, new_store(shop)) == (409, "store-already-connected")


def test_refuses_fields_that_it_does_not_know_without_repeating_values(
    stack: Deployment, user: User, shop: Shop
) -> None:
    assert _refused(stack, user, new_store(shop, apiSecrets="cs_" + "1" * 40)) == (422, "request-invalid")


def test_refusal_is_not_kept_under_its_idempotency_key(stack: Deployment, user: User, shop: Shop) -> None:
    headers = {"idempotency-key": f"again-{shop.name}"}
    shop.act("POST", "/faults", kind="html", times=1)

    assert _refused(stack, user, new_store(shop), **headers) == (422, "not-the-platform")
    assert user.http.post("/stores", json=new_store(shop), headers=headers).status_code == 201
