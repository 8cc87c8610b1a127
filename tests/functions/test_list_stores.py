import pytest
from makers import USER, any_store, call, stored

from shared.models import SyncState

pytestmark = pytest.mark.usefixtures("aws")


def listed(query=None, **more):
    return call("list_stores", "GET", "/stores", query=query or {}, **more)


def ids(query=None, **more):
    """The ids on all pages."""
    found, query = [], dict(query or {})
    while True:
        page = listed(query, **more).json
        found += [store["id"] for store in page["items"]]
        if page["nextCursor"] is None:
            return found
        query["cursor"] = page["nextCursor"]


@pytest.fixture
def five(aws, now):
    for number in range(5):
        values = {"platform": "ETSY", "is_active": False} if number % 2 else {}
        team = "team-1" if number > 2 else None
        stored(any_store(f"store-{number}", team_id=team, **values))
        if number != 3:
            SyncState(f"store-{number}").update(actions=[SyncState.last_sync_at.set(now.replace(hour=9 - number))])


def test_pages_through_all_in_either_order(five):
    for limit in ("1", "2", "5", "100"):
        assert ids({"limit": limit}) == [f"store-{number}" for number in (4, 3, 2, 1, 0)]
        assert ids({"limit": limit, "sort": "lastSyncAt"}) == [f"store-{number}" for number in (3, 4, 2, 1, 0)]


def test_filters(five):
    assert ids({"platform": "ETSY", "limit": "1"}) == ["store-3", "store-1"]
    assert ids({"isActive": "true"}) == ["store-4", "store-2", "store-0"]
    assert ids({"status": "UNREACHABLE"}) == []
    assert ids({"teamId": "team-1"}, teams=["team-1"]) == ["store-4", "store-3"]
    assert ids({"teamId": "team-1", "platform": "ETSY"}, user="demo-user-2", teams=["team-1"]) == ["store-3"]


def test_a_list_says_of_a_store_what_the_store_says_itself(five):
    shown = listed({"limit": "1"}).json["items"][0]

    assert shown == call("get_store", "GET", "/stores/store-4").json


REFUSED = [
    {"platform": "MAGENTO"},
    {"isActive": "perhaps"},
    {"status": "FINE"},
    {"sort": "name"},
    {"limit": "0"},
    {"limit": "101"},
    {"teamId": "t" * 129},
    {"cursor": "c" * 1_025},
]


def test_refuses_what_it_does_not_know(subtests):
    for query in REFUSED:
        with subtests.test(query=query):
            assert listed(query).problem == "request-invalid"


def test_refuses_a_team_that_is_not_the_callers():
    assert listed({"teamId": "team-2"}, teams=["team-1"]).problem == "team-not-yours"


def test_a_cursor_is_for_the_same_caller_and_filters(five):
    cursor = listed({"limit": "1", "platform": "ETSY"}).json["nextCursor"]
    same = {"cursor": cursor, "platform": "ETSY"}

    assert [store["id"] for store in listed(same).json["items"]] == ["store-1"]
    assert listed({**same, "limit": "3"}).status == 200
    for query, sender in (
        (same, {"user": "demo-user-2"}),
        (same, {"teams": ["team-1"]}),
        ({"cursor": cursor}, {}),
        ({"cursor": cursor, "platform": "SHOPIFY"}, {}),
        ({**same, "sort": "lastSyncAt"}, {}),
        ({**same, "cursor": cursor[:-2]}, {}),
        ({**same, "cursor": cursor + "A"}, {}),
    ):
        answer = listed(query, **{"user": USER, **sender})
        assert (answer.status, answer.problem) == (400, "cursor-invalid")
