"""link_design, unlink_design, list_store_designs, list_design_stores."""

import pytest
from makers import any_store, call, stored

from shared.models import StoreDesign

pytestmark = pytest.mark.usefixtures("aws")


def link(store, design, **more):
    return call("link_design", "PUT", f"/stores/{store}/designs/{design}", **more)


def unlink(store, design, **more):
    return call("unlink_design", "DELETE", f"/stores/{store}/designs/{design}", **more)


def pages(function, path, name, **more):
    found, query = [], {"limit": "2"}
    while True:
        page = call(function, "GET", path, query=query, **more).json
        assert len(page["items"]) <= 2
        found += [item[name] for item in page["items"]]
        if page["nextCursor"] is None:
            return found
        query["cursor"] = page["nextCursor"]


def designs_of(store):
    return pages("list_store_designs", f"/stores/{store}/designs", "designId")


def stores_of(design, **more):
    return pages("list_design_stores", f"/designs/{design}/stores", "store", **more)


def test_stores_and_designs_are_linked_many_to_many_and_listed_from_both_sides():
    for store in ("a", "b", "c", "d", "e"):
        stored(any_store(store))
        link(store, "shared-design")
    for design in ("d1", "d2", "d3", "d4"):
        assert link("a", design).status == 200

    assert designs_of("a") == ["d1", "d2", "d3", "d4", "shared-design"]
    assert designs_of("b") == ["shared-design"]
    assert stores_of("shared-design") == ["a", "b", "c", "d", "e"]
    assert stores_of("d1") == ["a"]


def test_linking_again_is_the_same_link():
    stored(any_store())

    assert link("store-1", "d1") == link("store-1", "d1")
    assert designs_of("store-1") == ["d1"]


def test_unlinking_takes_the_link_away_and_again_is_fine():
    stored(any_store())
    link("store-1", "d1")

    assert [unlink("store-1", "d1").status for _ in range(2)] == [204, 204]
    assert designs_of("store-1") == stores_of("d1") == []


def test_a_design_shows_only_stores_that_the_caller_sees():
    for number in range(7):
        user = "demo-user-2" if number % 2 else "demo-user-1"
        stored(any_store(f"store-{number}", user_id=user, team_id="team-1" if number == 3 else None))
        link(f"store-{number}", "d1", user=user)

    assert stores_of("d1") == ["store-0", "store-2", "store-4", "store-6"]
    assert stores_of("d1", user="demo-user-2") == ["store-1", "store-3", "store-5"]
    assert stores_of("d1", teams=["team-1"]) == ["store-0", "store-2", "store-3", "store-4", "store-6"]
    assert stores_of("d1", user="demo-user-3") == []
    call("delete_store", "DELETE", "/stores/store-0")
    assert stores_of("d1") == ["store-2", "store-4", "store-6"]


REFUSED = ["x" * 129, "a b", "é", "a(b)", "%"]


def test_a_design_that_cannot_be_is_not_found(subtests):
    stored(any_store())
    for odd in REFUSED:
        with subtests.test(odd=odd):
            for answer in (
                link("store-1", odd),
                unlink("store-1", odd),
                call("list_design_stores", "GET", f"/designs/{odd}/stores"),
            ):
                assert (answer.status, answer.problem) == (404, "design-not-found")
            assert list(StoreDesign.scan()) == []


def test_a_cursor_of_another_design_store_or_caller_is_refused():
    for store in ("a", "b"):
        stored(any_store(store))
        for design in ("d1", "d2"):
            link(store, design)
    of_store = call("list_store_designs", "GET", "/stores/a/designs", query={"limit": "1"}).json["nextCursor"]
    of_design = call("list_design_stores", "GET", "/designs/d1/stores", query={"limit": "1"}).json["nextCursor"]

    for function, path, cursor, user in (
        ("list_store_designs", "/stores/b/designs", of_store, "demo-user-1"),
        ("list_store_designs", "/stores/a/designs", of_design, "demo-user-1"),
        ("list_design_stores", "/designs/d2/stores", of_design, "demo-user-1"),
        ("list_design_stores", "/designs/d1/stores", of_design, "demo-user-2"),
    ):
        assert call(function, "GET", path, query={"cursor": cursor}, user=user).problem == "cursor-invalid"
