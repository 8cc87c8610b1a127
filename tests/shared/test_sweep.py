from datetime import timedelta

import pytest

from shared import clients, clock, delivery_log, exact_json, sweep
from shared.delivery_log import Handled
from shared.intake import _key
from shared.models import Delivery, Processing

QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/storelink-delivery"

pytestmark = pytest.mark.usefixtures("aws")


def stored(name, received_at, outcome=Processing.PENDING, store="store1", **values):
    Delivery(
        store,
        name,
        platform="WOO_COMMERCE",
        topic="order.updated",
        received_at=clock.to_text(received_at),
        body=b"",
        outcome=outcome,
        expires_at=received_at + timedelta(days=30),
        **values,
    ).save()
    return name


def handled(name, received_at, outcome=Processing.PROCESSED):
    delivery_log.note("store1", [Handled(clock.to_text(received_at), name, outcome)], received_at)


def queued():
    found = clients.sqs().receive_message(QueueUrl=QUEUE, MaxNumberOfMessages=10).get("Messages", [])
    return sorted(exact_json.loads(message["Body"])["delivery"] for message in found)


def swept(now):
    """In as many days as it takes to see all of them."""
    return sum(sweep.sweep("store1", now + timedelta(days=day)) for day in range(sweep.PARTS))


def test_takes_up_what_was_left_lying_and_nothing_else(now):
    old = now - timedelta(hours=2)
    stored("never-handled", old)
    handled(stored("handled", old), old)
    for outcome in Processing:
        if outcome is not Processing.PENDING:
            handled(stored(f"now-{outcome}", old, outcome), old, outcome)
    handled(stored("replayed", old, replayed_at=clock.to_text(now)), old)
    stored("anothers", old, store="store2")

    assert swept(now) == 3

    assert queued() == ["never-handled", "now-RETRYING", "replayed"]


def test_leaves_alone_what_may_be_on_its_way(now):
    stored("just-came", now - timedelta(minutes=30))

    stored("looked-at-before", now - timedelta(days=sweep.PARTS + 2))

    assert swept(now - timedelta(minutes=1)) == 1
    assert queued() == ["just-came"], "half an hour later, with its part"


def test_sees_each_delivery_once_in_so_many_days(now):
    names = [_key("WOO_COMMERCE", "store1", str(number), b"") for number in range(300)]
    for name in names:
        stored(name, now - timedelta(days=1))

    found = [sweep.sweep("store1", now + timedelta(days=day)) for day in range(sweep.PARTS)]

    assert sum(found) == 300
    assert min(found) > 10, "each day has its part"


def test_says_so_when_it_finds_something(now, caplog):
    stored("d1", now - timedelta(hours=2))

    swept(now)

    assert "deliveries_swept" in caplog.messages
