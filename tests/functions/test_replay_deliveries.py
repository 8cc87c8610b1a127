"""POST /stores/{storeId}/deliveries/replay, as a caller meets it."""

from datetime import timedelta
from typing import get_args

import pytest
from makers import NOW, any_store, call, stored

from shared import clock, delivery_log, schemas
from shared.models import Delivery, Processing

PATH = "/stores/store-1/deliveries/replay"


@pytest.fixture
def store(aws):
    """A store with three deliveries, the last of them given up."""
    row = stored(any_store())
    for number, outcome in enumerate(("PROCESSED", "PROCESSED", "DEAD_LETTERED")):
        at = clock.to_text(NOW + timedelta(minutes=number))
        delivery_log.note(row.id, [delivery_log.Handled(at, f"d{number}", Processing.RETRYING)], NOW)
        Delivery(
            row.id,
            f"d{number}",
            platform="WOO_COMMERCE",
            topic="order.updated",
            received_at=at,
            headers="{}",
            body=b"",
            outcome=outcome,
            expires_at=NOW + timedelta(days=30),
        ).save()
    return row


def replay(body, **more):
    return call("replay_deliveries", "POST", PATH, body, **more)


def pending():
    return sorted(row.delivery for row in Delivery.scan() if row.outcome == Processing.PENDING)


def test_says_how_many_were_queued_and_where_to_go_on(store):
    first = replay({"limit": 2})

    assert (first.status, first.json["store"], first.json["queued"], pending()) == (202, "store-1", 2, ["d0", "d1"])

    rest = replay({"limit": 2, "cursor": first.json["nextCursor"]})

    assert (rest.status, rest.json) == (202, {"store": "store-1", "queued": 1, "nextCursor": None})
    assert pending() == ["d0", "d1", "d2"]


def test_a_repeated_key_gets_the_first_answer_and_queues_nothing(store):
    key = {"idempotency-key": "replay-1"}
    first = replay({"outcome": "DEAD_LETTERED"}, headers=key)
    Delivery("store-1", "d2").update(actions=[Delivery.outcome.set(Processing.DEAD_LETTERED)])

    assert replay({"outcome": "DEAD_LETTERED"}, headers=key) == first
    assert (first.json["queued"], pending()) == (1, [])


BAD = [
    ({"since": "2026-11-22T11:00:00Z", "until": "2026-11-22T11:00:00Z"}, "since is not before until"),
    ({"since": "2026-11-22T12:00:00Z", "until": "2026-11-22T11:00:00Z"}, "since is not before until"),
    ({"since": "2026-11-22"}, "body.since: It is not an RFC 3339 time"),
    ({"until": "2026-11-22T11:00:00"}, "body.until: It is not an RFC 3339 time"),
    ({"until": 1_795_000_000}, "body.until: It is not an RFC 3339 time"),
    ({"since": "0001-01-01T00:00:00+14:00"}, "body.since: It is not an RFC 3339 time"),
    ({"outcome": "FAILED"}, "body.outcome"),
    ({"outcome": ["PENDING"]}, "body.outcome"),
    ({"limit": 0}, "body.limit"),
    ({"limit": 101}, "body.limit"),
    ({"limit": "10"}, "body.limit"),
    ({"cursor": "x" * 1025}, "body.cursor"),
]


def test_a_bad_range_is_a_clear_problem_and_queues_nothing(store, subtests):
    for body, detail in BAD:
        with subtests.test(str(body)):
            answer = replay(body)

            assert (answer.status, answer.problem) == (422, "request-invalid")
            assert detail in answer.json["detail"]
    assert replay({"cursor": "WyJhIix7fV0"}).problem == "cursor-invalid"
    assert pending() == []


def test_an_id_that_is_no_deliverys_is_not_found(store):
    for id in ("nothing", "x" * 3_000, "é"):
        answer = call("replay_delivery", "POST", f"/stores/store-1/deliveries/{id}/replay", {})
        assert (answer.status, answer.problem) == (404, "delivery-not-found")


def test_every_outcome_can_be_asked_for():
    assert set(get_args(get_args(schemas.NewReplay.model_fields["outcome"].annotation)[0])) == set(Processing)
