"""Many callers at the same moment, on an engine whose transactions are real."""

from functools import partial

from integration.deployment import Deployment, Shop, User, at_once, new_store, ok

MANY = 16


def test_one_of_many_connects_a_shop(stack: Deployment, user: User, member: User, shop: Shop) -> None:
    calls = [partial(who.http.post, "/stores", json=new_store(shop)) for who in (user, member) * (MANY // 2)]

    answers = at_once(calls)

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * (MANY - 1)
    assert [row["domain"]["S"] for row in stack.rows("stores")].count(shop.url) == 1
    claims = [row["claim"]["S"] for row in stack.rows("claims")]
    assert claims.count(f"store#WOO_COMMERCE#{shop.url.removeprefix('https://')}") == 1


def test_one_store_is_primary_however_many_are_made_so(stack: Deployment) -> None:
    owner = stack.user("demo-user-4")
    stores = [owner.connect(stack.open_shop(), settings={"syncInterval": 86_400})["id"] for _ in range(4)]
    calls = [partial(owner.http.put, f"/stores/{id}/primary") for id in stores * (MANY // len(stores))]

    answers = at_once(calls)

    # who loses too many races is asked to try again
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert 200 in {answer.status_code for answer in answers}
    [primary] = [each["id"] for each in owner.all("/stores") if each["isPrimary"]]
    claims = {row["claim"]["S"]: row["store"]["S"] for row in stack.rows("claims")}
    assert claims["primary#user#demo-user-4"] == primary


def test_one_patch_of_a_version_wins(user: User, shop: Shop) -> None:
    store = user.connect(shop)
    path = f"/stores/{store['id']}"
    etag = user.http.get(path).headers["etag"]
    calls = [
        partial(user.http.patch, path, json={"name": f"name {number}"}, headers={"if-match": etag})
        for number in range(MANY)
    ]

    answers = at_once(calls)

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * (MANY - 1)
    [winner] = [answer.json() for answer in answers if answer.status_code == 200]
    assert ok(user.http.get(path))["name"] == winner["name"]


def test_one_idempotency_key_connects_once(stack: Deployment, user: User, shop: Shop) -> None:
    headers = {"idempotency-key": f"at-once-{shop.name}"}
    post = partial(user.http.post, "/stores", json=new_store(shop), headers=headers)

    answers = at_once([post] * 8)

    made = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    others = {answer.json()["type"].rpartition("#")[2] for answer in answers if answer.status_code != 201}
    assert len(made) == 1
    assert others <= {"idempotency-in-progress"}
    assert {post().json()["id"]} == made
    assert [row["domain"]["S"] for row in stack.rows("stores")].count(shop.url) == 1
