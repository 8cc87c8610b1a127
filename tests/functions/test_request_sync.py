import pytest
from makers import any_store, call, stored

from shared import clients, exact_json, stores
from shared.models import Status

pytestmark = pytest.mark.usefixtures("aws")
QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/storelink-sync"


def request(body=None, **more):
    return call("request_sync", "POST", "/stores/store-1/syncs", body if body is not None else {}, **more)


def queued():
    answer = clients.sqs().receive_message(QueueUrl=QUEUE, MaxNumberOfMessages=10)
    return [exact_json.loads(message["Body"]) for message in answer.get("Messages", [])]


def test_queues_a_sync_of_the_store():
    stored(any_store())

    answer = request({"full": True, "allowDeletes": True})

    assert (answer.status, answer.json["store"], answer.json["full"]) == (202, "store-1", True)
    assert queued() == [{"stores": ["store-1"], "trigger": "request", "full": True, "allowDeletes": True}]


def test_the_same_key_queues_one_sync_and_another_is_too_often():
    stored(any_store())

    first, second = (request(headers={"idempotency-key": "key-1"}) for _ in range(2))
    third = request(headers={"idempotency-key": "key-2"})

    assert first == second
    assert (third.status, third.problem, third.headers["Retry-After"]) == (429, "sync-limited", "60")
    assert len(queued()) == 1


def test_a_store_that_is_off_or_needs_a_human_cannot_be_synced(now):
    stored(any_store("store-1", is_active=False))
    assert (request().status, request().problem) == (409, "sync-not-possible")

    call("update_store", "PATCH", "/stores/store-1", {"isActive": True})
    stores.set_status("store-1", Status.NEEDS_REAUTHORIZATION, "CREDENTIALS_REFUSED", now)
    assert request().problem == "sync-not-possible"
    assert queued() == []


def test_refuses_another_body(subtests):
    stored(any_store())

    for body in ({"full": "yes"}, {"full": 1}, {"everything": True}, []):
        with subtests.test(body=body):
            assert request(body).problem == "request-invalid"
    assert queued() == []
