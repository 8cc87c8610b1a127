import pytest
from makers import API_KEY, any_store, call, stored

from shared import stores
from shared.models import Status

pytestmark = pytest.mark.usefixtures("aws")


def patch(body=None, version=None, **more):
    headers = {"content-type": "application/merge-patch+json", **({"if-match": version} if version else {})}
    return call("update_store", "PATCH", "/stores/store-1", body, headers=headers, **more)


@pytest.fixture(autouse=True)
def store(aws):
    return stored(any_store(settings='{"syncInterval":300,"theirs":{"a":1,"b":2}}', metadata='{"rating":4.80}'))


def test_merges_the_patch_and_shows_the_new_version():
    answer = patch({"name": "Renamed", "settings": {"theirs": {"a": None}, "priceMarkup": 1.5}}, version='"1"')

    assert (answer.status, answer.headers["ETag"]) == (200, '"2"')
    assert answer.text == call("get_store", "GET", "/stores/store-1").text
    assert '"settings":{"syncInterval":300,"theirs":{"b":2},"priceMarkup":1.5}' in answer.text
    assert '"metadata":{"rating":4.80}' in answer.text
    assert (answer.json["name"], answer.json["version"]) == ("Renamed", 2)


def test_a_version_counts_once():
    assert patch({"name": "First"}, version='"1"').status == 200

    stale = patch({"name": "Second"}, version='"1"')

    assert (stale.status, stale.problem) == (412, "version-conflict")
    assert patch({"name": "Second"}, version='"2"').headers["ETag"] == '"3"'
    assert patch({"name": "Third"}, version="*").headers["ETag"] == '"4"'
    assert patch({"name": "Fourth"}).headers["ETag"] == '"5"'


REFUSED_BODY = [
    {},
    [],
    {"name": None},
    {"name": ""},
    {"name": "a\nb"},
    {"currency": "ZZZ"},
    {"currency": None},
    {"timezone": "../../etc/passwd"},
    {"isActive": "yes"},
    {"isPrimary": 1},
    {"settings": {"syncInterval": 59}},
    {"settings": {"syncInterval": "300"}},
    {"settings": {"priceMarkup": 0}},
    {"settings": {"webhooksEnabled": "true"}},
    {"settings": []},
    {"metadata": "text"},
    {"teamId": "not a team"},
    {"apiKey": API_KEY},
    {"settings": {"sync_interval": 60}},
    {"userId": "demo-user-2"},
    {"platform": "ETSY"},
    {"version": 7},
]


def test_refuses_a_patch_and_changes_nothing(subtests):
    for body in REFUSED_BODY:
        with subtests.test(body=body):
            before = call("get_store", "GET", "/stores/store-1")

            answer = patch(body)

            assert (answer.status, answer.problem) == (422, "request-invalid")
            assert API_KEY not in answer.text
            assert call("get_store", "GET", "/stores/store-1") == before


def test_switching_a_store_off_and_on_leaves_the_rest():
    before = call("get_store", "GET", "/stores/store-1").json

    patch({"isActive": False})
    after = patch({"isActive": True}).json

    assert after == {**before, "version": 3, "updatedAt": after["updatedAt"]}


def test_a_stores_reason_is_shown_with_words(now):
    stores.set_status("store-1", Status.NEEDS_REAUTHORIZATION, "CREDENTIALS_REFUSED", now)

    shown = call("get_store", "GET", "/stores/store-1").json

    assert shown["status"] == "NEEDS_REAUTHORIZATION"
    assert shown["statusReason"]["code"] == "CREDENTIALS_REFUSED"
    assert "Connect the store again" in shown["statusReason"]["text"]


def test_a_team_is_only_one_of_the_callers():
    assert patch({"teamId": "team-2"}, teams=["team-1"]).problem == "team-not-yours"
    assert patch({"teamId": "team-1"}, teams=["team-1"]).json["teamId"] == "team-1"
    stolen = patch({"teamId": None, "isPrimary": True}, user="demo-user-2", teams=["team-1"])
    assert (stolen.status, stolen.problem) == (403, "owner-only")
    assert patch({"teamId": None}, teams=[]).json["teamId"] is None
