"""What is not yours does not exist: not by any route, and not by how it is refused."""

import httpx
import pytest
from integration.deployment import Deployment, Json, Shop, User, new_store, ok

ROUTES = [
    ("GET", "", None),
    ("PATCH", "", {"name": "mine"}),
    ("DELETE", "", None),
    ("PUT", "/primary", None),
    ("PUT", "/credentials", {"apiKey": "ck_" + "0" * 40, "apiSecret": "cs_" + "0" * 40}),
    ("POST", "/syncs", {}),
    ("GET", "/syncs", None),
    ("GET", "/products", None),
    ("GET", "/products/{product}", None),
    ("GET", "/orders", None),
    ("GET", "/orders/{order}", None),
    ("PUT", "/designs/design-1", None),
    ("DELETE", "/designs/design-1", None),
    ("GET", "/designs", None),
    ("GET", "/deliveries", None),
    ("POST", "/deliveries/{delivery}/replay", None),
]


@pytest.fixture(scope="module")
def theirs(stack: Deployment, user: User) -> Json:
    """A store of demo-user-1 that has one of everything, and where to find it."""
    shop = stack.open_shop()
    store = user.synced(shop, settings={"syncInterval": 86_400})
    shop.act("PUT", f"/products/{shop.simple_products()[0]}", price="5.55")
    ok(user.http.put(f"/stores/{store['id']}/designs/design-1"))
    deliveries: list[Json] = []
    while not deliveries:
        deliveries = user.all(f"/stores/{store['id']}/deliveries")
    return {
        "id": store["id"],
        "product": next(iter(user.records(store, "products"))),
        "order": next(iter(user.records(store, "orders"))),
        "delivery": deliveries[0]["id"],
    }


@pytest.fixture(scope="module")
def of_team(stack: Deployment, member: User) -> Json:
    """A store of demo-user-2's team."""
    return member.synced(stack.open_shop(), teamId="demo-team", settings={"syncInterval": 86_400})


def _answer(user: User, method: str, path: str, body: Json | None) -> tuple[int, bytes, str]:
    answer = user.http.request(method, path, json=body)
    return answer.status_code, answer.content, answer.headers["content-type"]


@pytest.mark.parametrize(("method", "place", "body"), ROUTES, ids=[f"{route[0]} {route[1]}" for route in ROUTES])
def test_anothers_store_is_as_unknown_as_any(
    member: User, theirs: Json, method: str, place: str, body: Json | None
) -> None:
    place = place.format(**theirs)

    foreign = _answer(member, method, f"/stores/{theirs['id']}{place}", body)
    unknown = _answer(member, method, f"/stores/unknown0000000000000000{place}", body)

    assert foreign[0] == 404
    assert foreign == unknown


def test_team_store_is_unknown_to_who_is_not_in_the_team(user: User, of_team: Json) -> None:
    assert _answer(user, "GET", f"/stores/{of_team['id']}", None) == _answer(user, "GET", "/stores/unknown", None)
    assert of_team["id"] not in {each["id"] for each in user.all("/stores")}


def test_team_store_is_seen_and_changed_by_every_member(stack: Deployment, of_team: Json) -> None:
    colleague = stack.user("demo-user-3", "other-team", "demo-team")

    shown = ok(colleague.http.get(f"/stores/{of_team['id']}"))
    patched = ok(colleague.http.patch(f"/stores/{of_team['id']}", json={"name": "ours"}))

    assert shown["userId"] == "demo-user-2"
    assert patched["name"] == "ours"
    assert of_team["id"] in {each["id"] for each in colleague.all("/stores", teamId="demo-team")}


def test_only_the_user_moves_a_store_out_of_its_team(stack: Deployment, of_team: Json) -> None:
    colleague = stack.user("demo-user-3", "other-team", "demo-team")

    moved = colleague.http.patch(f"/stores/{of_team['id']}", json={"teamId": "other-team"})

    assert (moved.status_code, moved.json()["type"].rpartition("#")[2]) == (403, "owner-only")


def test_lists_hold_only_what_one_may_see(user: User, member: User, theirs: Json, of_team: Json) -> None:
    ok(member.http.put(f"/stores/{of_team['id']}/designs/design-1"))

    assert theirs["id"] not in {each["id"] for each in member.all("/stores")}
    assert theirs["id"] not in {each["store"] for each in member.all("/designs/design-1/stores")}
    assert of_team["id"] not in {each["store"] for each in user.all("/designs/design-1/stores")}
    assert {each["userId"] for each in user.all("/stores")} == {"demo-user-1"}


def test_cursor_of_one_is_no_cursor_of_another(user: User, member: User, theirs: Json) -> None:
    cursor = ok(user.http.get("/stores", params={"limit": 1}))["nextCursor"]

    answer = member.http.get("/stores", params={"limit": 1, "cursor": cursor})

    assert (answer.status_code, answer.json()["type"].rpartition("#")[2]) == (400, "cursor-invalid")


def test_cannot_connect_for_a_team_of_others(stack: Deployment, user: User, shop: Shop) -> None:
    answer = user.http.post("/stores", json=new_store(shop, teamId="demo-team"))
    started = user.http.post(
        "/authorizations",
        json={"platform": "WOO_COMMERCE", "domain": shop.url, "name": "x", "teamId": "demo-team"},
    )

    assert [each.status_code for each in (answer, started)] == [403, 403]
    assert answer.json()["type"].endswith("#team-not-yours")


def test_cannot_authorize_anew_a_store_of_others(member: User, theirs: Json) -> None:
    wish = {"platform": "WOO_COMMERCE"}

    foreign = _answer(member, "POST", "/authorizations", {**wish, "store": theirs["id"]})
    unknown = _answer(member, "POST", "/authorizations", {**wish, "store": "unknown"})

    assert foreign[0] == 404
    assert foreign == unknown


def test_nobody_gets_in_without_a_token_or_a_scope(stack: Deployment, theirs: Json) -> None:
    reader = stack.user("demo-user-1", scope="stores:read")

    nobody = httpx.get(f"{stack.endpoints['api']}/stores/{theirs['id']}", trust_env=False)

    assert nobody.status_code == 401
    assert reader.http.get(f"/stores/{theirs['id']}").status_code == 200
    assert reader.http.patch(f"/stores/{theirs['id']}", json={"name": "x"}).status_code == 403
