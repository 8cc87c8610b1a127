from datetime import timedelta

import pytest

from shared import clients, clock, exact_json, sweep
from shared.models import Delivery, Processing

QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/storelink-delivery"


def stored(name, received_at, outcome=Processing.PENDING, store="store1"):
    Delivery(
        name,
        store_id=store,
        platform="WOO_COMMERCE",
        topic="order.updated",
        received_at=clock.to_text(received_at),
        headers="{}",
        body=b"",
        outcome=outcome,
        attempts=0,
        expires_at=received_at + timedelta(days=30),
    ).save()


def queued():
    found = clients.sqs().receive_message(QueueUrl=QUEUE, MaxNumberOfMessages=10).get("Messages", [])
    return sorted(exact_json.loads(message["Body"])["delivery"] for message in found)


@pytest.mark.usefixtures("aws")
def test_takes_up_what_was_left_lying_and_nothing_else(now):
    for outcome in Processing:
        stored(f"old-{outcome}", now - timedelta(hours=2), outcome)
    stored("just-came", now - timedelta(minutes=5))
    stored("anothers", now - timedelta(hours=2), store="store2")
    stored("long-ago", now - timedelta(days=4))

    assert sweep.sweep("store1", now) == 2

    assert queued() == ["old-PENDING", "old-RETRYING"]


@pytest.mark.usefixtures("aws")
def test_knows_when_the_platform_last_announced_anything(now):
    assert sweep.last_delivery("store1") is None
    for hours in (3, 1, 2):
        stored(f"d{hours}", now - timedelta(hours=hours), Processing.PROCESSED)

    assert sweep.last_delivery("store1") == now - timedelta(hours=1)


@pytest.mark.usefixtures("aws")
def test_says_so_when_it_finds_something(now, caplog):
    stored("d1", now - timedelta(hours=2))

    sweep.sweep("store1", now)

    assert "deliveries_swept" in caplog.messages
