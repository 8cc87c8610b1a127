"""What holds for all routes, walked as the template lists them."""

import json
import re
from datetime import timedelta

import pytest
from jsonschema import Draft202012Validator
from makers import API_KEY, API_SECRET, NOW, USER, Context, any_caller, any_store, api_event, call, stored

from infra import describe
from shared import connecting, records, schemas
from shared.models import Delivery, SyncRun, SyncState
from shared.platforms.base import Identity, Record, Resource

BODIES = {
    "create_store": {
        "name": "Another",
        "platform": "WOO_COMMERCE",
        "domain": "https://another.example.com",
        "apiKey": API_KEY,
        "apiSecret": API_SECRET,
    },
    "update_store": {"name": "Renamed"},
    "replace_credentials": {"apiKey": API_KEY, "apiSecret": API_SECRET},
    "start_authorization": {"platform": "WOO_COMMERCE", "name": "Another", "domain": "https://shop.example.com"},
    "request_sync": {},
    "replay_deliveries": {},
}
STATUSES = {
    "create_store": 201,
    "start_authorization": 201,
    "request_sync": 202,
    "replay_delivery": 202,
    "replay_deliveries": 202,
    "delete_store": 204,
    "unlink_design": 204,
}
PARAMETERS = {"productId": "p1", "orderId": "o1", "designId": "d1", "deliveryId": "delivery-1"}
OPEN = {"finish_authorization", "receive_webhook", "describe_api"}


def routes():
    """Function, method and path of every route that a token opens; the one that ends the store comes last."""
    found = [(function, method.upper(), path) for function, method, path, _ in describe.routes()]
    return sorted((route for route in found if route[0] not in OPEN), key=lambda route: route[0] == "delete_store")


def of_a_store():
    return [route for route in routes() if "{storeId}" in route[2]]


def asked(route, store="store-1", **more):
    function, method, path = route
    names = {"storeId": store, **PARAMETERS}
    return call(function, method, re.sub(r"{(\w+)}", lambda name: names[name[1]], path), BODIES.get(function), **more)


@pytest.fixture
def store(aws, shop):
    """A store that has one of everything."""
    given = {"api_key": API_KEY, "api_secret": API_SECRET}
    new = schemas.NewStore.model_validate({"name": "Demo store", "platform": "WOO_COMMERCE", "teamId": "team-1"})
    caller, url = any_caller(USER, "team-1"), "https://shop.example.com"
    row = connecting.new_store("store-1", new, caller, Identity("shop.example.com", url), NOW)
    secrets = connecting.sealed(row, given, {"current": "w" * 48}, NOW)
    connecting.stores.insert(row, secrets, SyncState(row.id, slot=connecting.stores.slot_of(row)))
    for resource, id in ((Resource.PRODUCTS, "p1"), (Resource.ORDERS, "o1")):
        records.save(row.id, resource, Record(id, NOW, {"title": "x", "total": "4.80"}), "EUR", NOW, NOW)
    SyncRun(
        row.id,
        "2026-11-22T10:00:00.000000Z",
        outcome="COMPLETE",
        trigger="connect",
        full=True,
        counts='{"created":1}',
        duration_ms=5,
        user_id=USER,
        platform="WOO_COMMERCE",
        expires_at=NOW + timedelta(days=90),
    ).save()
    Delivery(
        row.id,
        "delivery-1",
        platform="WOO_COMMERCE",
        topic="order.updated",
        received_at="2026-11-22T10:00:00.000000Z",
        headers="{}",
        body=b"",
        outcome="PROCESSED",
        expires_at=NOW + timedelta(days=30),
    ).save()
    assert call("link_design", "PUT", "/stores/store-1/designs/d1").status == 200
    return row


@pytest.mark.parametrize(
    "sender", [{"user": USER}, {"user": "demo-user-2", "teams": ["team-1"]}], ids=["owner", "team"]
)
def test_answers_the_owner_and_the_team_as_the_description_says(sender, store, shop, subtests):
    document = describe.openapi()
    for route in routes():
        with subtests.test(route):
            answer = asked(route, **sender)

            assert answer.status == STATUSES.get(route[0], 200), answer
            described = document["paths"][route[2]][route[1].lower()]["responses"][str(answer.status)]
            if "content" in described:
                schema = {**described["content"]["application/json"]["schema"], "components": document["components"]}
                Draft202012Validator(schema).validate(answer.json)
                assert answer.headers["Content-Type"] == "application/json"
            else:
                assert answer.text == ""


STRANGERS = [
    {"user": "demo-user-2"},
    {"user": "demo-user-2", "teams": ["team-2"]},
    {"user": "team-1"},
    {"user": "demo-user-2", "headers": {"if-match": '"7"'}},
]


def test_a_store_of_somebody_else_is_byte_for_byte_an_unknown_one(store, shop, subtests):
    unknown = call("get_store", "GET", "/stores/nothing")
    assert (unknown.status, unknown.problem) == (404, "store-not-found")
    for route in of_a_store():
        with subtests.test(route):
            assert asked(route, store="nothing") == unknown
            for stranger in STRANGERS:
                assert asked(route, **stranger) == unknown
            for odd in ("x" * 129, "store-1 ", "STORE-1", "store-1.", "$", "é"):
                assert asked(route, store=odd) == unknown

    call("delete_store", "DELETE", "/stores/store-1")

    for route in of_a_store():
        with subtests.test(route, removed=True):
            assert asked(route) == unknown
    assert shop.requests == []


def test_an_id_that_no_address_can_have_is_404(aws):
    for odd in ("", "a/b", "a\nb", "a\0b", "\ud800", "#dispatcher", "a?b"):
        assert call("get_store", "GET", f"/stores/{odd}").status == 404


def test_a_store_of_somebody_else_does_not_show_in_any_list(store):
    for function, path in (("list_stores", "/stores"), ("list_design_stores", "/designs/d1/stores")):
        assert call(function, "GET", path).json["items"]
        empty = call(function, "GET", path, user="demo-user-2", teams=["team-2"])
        assert empty.json == {"items": [], "nextCursor": None}


def test_nobody_gets_anything_without_a_subject(aws, shop, subtests):
    for route in routes():
        with subtests.test(route):
            answer = asked(route, user=None)

            assert (answer.status, answer.problem) == (401, "caller-unknown")
    assert shop.requests == []


def test_a_list_refuses_limits_and_cursors_that_are_not_its_own(store, subtests):
    for route in [each for each in routes() if each[0].startswith("list_")]:
        with subtests.test(route):
            for limit in ("0", "101", "ten"):
                assert asked(route, query={"limit": limit}).problem == "request-invalid"
            for cursor in ("x", "WyJhIix7fV0", "a" * 1_025, "é"):
                assert asked(route, query={"cursor": cursor}).problem in {"cursor-invalid", "request-invalid"}


def test_no_body_gets_past_with_a_field_that_is_not_known(aws, shop, subtests):
    for function, method, path in routes():
        if function in BODIES:
            with subtests.test(function):
                body = {**BODIES[function], "userId": "demo-user-2"}

                answer = call(function, method, path.replace("{storeId}", "store-1"), body)

                assert (answer.status, answer.problem) == (422, "request-invalid")
                assert [error["field"] for error in answer.json["errors"]] == ["body.userId"]
    assert shop.requests == []


def test_no_credential_is_in_an_answer_or_a_log(store, subtests, capfd, caplog):
    for route in routes():
        with subtests.test(route):
            answer = asked(route)

            out, err = capfd.readouterr()
            for text in (answer.text, json.dumps(answer.headers), out, err, caplog.text):
                for secret in (API_KEY, API_SECRET, "w" * 48):
                    assert secret not in text
    assert "answered" in caplog.text


def test_a_function_does_not_remember_who_called_before(store):
    """One execution environment serves all callers, one after the other."""
    first = call("list_stores", "GET", "/stores").json["items"]
    stranger = call("list_stores", "GET", "/stores", user="demo-user-2").json["items"]
    again = call("list_stores", "GET", "/stores").json["items"]

    assert (first, stranger) == (again, [])


def test_the_handler_of_a_route_answers_no_other_route(store):
    event = api_event("DELETE", "/stores/store-1")

    for function in {route[0] for route in routes()} - {"delete_store"}:
        handler = __import__(f"functions.{function}", fromlist=["lambda_handler"]).lambda_handler
        assert handler(event, Context())["statusCode"] == 404

    assert stored(any_store("store-2")).id == "store-2"
    assert call("get_store", "GET", "/stores/store-1").status == 200
