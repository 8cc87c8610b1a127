import pytest
from makers import any_store, call, stored

pytestmark = pytest.mark.usefixtures("aws")


def make_primary(id, version=None, **more):
    headers = {"if-match": version} if version else {}
    return call("make_store_primary", "PUT", f"/stores/{id}/primary", headers=headers, **more)


def test_moves_the_role_from_the_store_that_has_it():
    for id, primary in (("store-1", True), ("store-2", False)):
        stored(any_store(id, is_primary=primary))

    answer = make_primary("store-2", version='"1"')

    assert (answer.status, answer.json["isPrimary"], answer.headers["ETag"]) == (200, True, '"2"')
    old = call("get_store", "GET", "/stores/store-1")
    assert (old.json["isPrimary"], old.headers["ETag"]) == (False, '"2"')
    assert old.json["updatedAt"] == answer.json["updatedAt"] > old.json["createdAt"]
    assert make_primary("store-2").json["isPrimary"] is True
    assert make_primary("store-1", version='"1"').problem == "version-conflict"


def test_a_team_has_a_primary_of_its_own():
    stored(any_store("store-1", is_primary=True))
    stored(any_store("store-2", team_id="team-1"))

    assert make_primary("store-2", user="demo-user-2", teams=["team-1"]).status == 200

    assert call("get_store", "GET", "/stores/store-1").json["isPrimary"] is True
