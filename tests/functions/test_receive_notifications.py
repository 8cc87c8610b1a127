"""What comes through the queue and the event bus that Amazon writes into."""

import copy
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import register_app

from functions import receive_notifications
from shared import clients
from shared.intake import NotTakenIn
from shared.models import Claim, Delivery
from shared.platforms.base import PlatformName

CONTRACTS = Path(__file__).parents[3] / "shared" / "contracts" / "amazon"
SELLER, US, DE = "A3TH9S8BH6GOGM", "ATVPDKIKX0DER", "A1PA6795UKMFR9"
ORDER = {
    "NotificationVersion": "1.0",
    "NotificationType": "ORDER_CHANGE",
    "PayloadVersion": "1.0",
    "EventTime": "2026-11-22T09:59:00Z",
    "Payload": {
        "OrderChangeNotification": {
            "NotificationLevel": "OrderLevel",
            "SellerId": SELLER,
            "AmazonOrderId": "903-8868176-2219830",
            "Summary": {"MarketplaceId": US, "OrderStatus": "Unshipped"},
        }
    },
    "NotificationMetadata": {"ApplicationId": "amzn1.app", "NotificationId": "n-1", "SubscriptionId": "s-1"},
}
QUANTITY = {
    **ORDER,
    "NotificationType": "LISTINGS_ITEM_MFN_QUANTITY_CHANGE",
    "Payload": {"SellerId": SELLER, "Sku": "SHIRT-1"},
}


@pytest.fixture(autouse=True)
def _connected(aws):
    register_app(PlatformName.AMAZON, application_id="amzn1.app")
    Claim(f"store#AMAZON#{SELLER}.{US}", store="store-us").save()
    Claim(f"store#AMAZON#{SELLER}.{DE}", store="store-de").save()


def message(content, **changes):
    body = content if isinstance(content, str) else json.dumps(content)
    md5 = hashlib.md5(body.encode()).hexdigest()  # noqa: S324 - as SQS tells it
    return {"messageId": "m-1", "eventSource": "aws:sqs", "body": body, "md5OfBody": md5, **changes}


def handled(*records):
    context = SimpleNamespace(function_name="f", memory_limit_in_mb=512, invoked_function_arn="a", aws_request_id="r")
    return receive_notifications.lambda_handler({"Records": list(records)}, context)


def filed(store_id):
    return list(Delivery.query(store_id))


def test_a_notification_is_stored_for_the_store_it_names():
    assert handled(message(ORDER)) == {"batchItemFailures": []}

    [row] = filed("store-us")
    assert (row.platform, row.topic, row.outcome) == ("AMAZON", "ORDER_CHANGE", "PENDING")
    assert filed("store-de") == []


def test_a_notification_that_names_the_seller_only_is_stored_for_all_their_stores():
    handled(message(QUANTITY))

    assert [len(filed(store)) for store in ("store-us", "store-de")] == [1, 1]


def test_copies_are_stored_once():
    handled(message(ORDER), message(ORDER))
    handled(message(ORDER))

    assert len(filed("store-us")) == 1


def test_a_notification_about_a_store_that_is_not_connected_is_kept():
    gone = copy.deepcopy(ORDER)
    gone["Payload"]["OrderChangeNotification"]["SellerId"] = "A0000000000000"

    handled(message(gone))

    assert len(filed(f"AMAZON#A0000000000000.{US}")) == 1


@pytest.mark.parametrize(
    "record",
    [
        message(ORDER, md5OfBody="0" * 32),
        message({**ORDER, "NotificationMetadata": {**ORDER["NotificationMetadata"], "ApplicationId": "another"}}),
        message("no JSON"),
        message("[" * 100_000),
        message(""),
    ],
    ids=["damaged", "another application", "no JSON", "deep", "empty"],
)
def test_what_is_none_of_ours_is_left_to_the_queue_and_holds_up_nothing(record):
    good = message(ORDER, messageId="m-2")

    assert handled(record, good) == {"batchItemFailures": [{"itemIdentifier": "m-1"}]}
    assert len(filed("store-us")) == 1


def test_without_our_registration_a_message_comes_again():
    clients.secrets().delete_secret(SecretId="storelink/apps/AMAZON", ForceDeleteWithoutRecovery=True)

    assert handled(message(ORDER))["batchItemFailures"] == [{"itemIdentifier": "m-1"}]


def test_an_event_of_the_bus_is_taken_in_as_a_message_is():
    context = SimpleNamespace(function_name="f", memory_limit_in_mb=512, invoked_function_arn="a", aws_request_id="r")
    event = {"version": "0", "id": "e-1", "detail-type": "ORDER_CHANGE", "source": "aws.partner", "detail": ORDER}

    assert receive_notifications.lambda_handler(event, context) is None
    assert len(filed("store-us")) == 1
    with pytest.raises(NotTakenIn):
        receive_notifications.lambda_handler({**event, "detail": {}}, context)


@pytest.mark.parametrize("path", sorted(CONTRACTS.glob("*Notification.json")), ids=lambda path: path.stem)
def test_every_example_of_amazon_is_taken_in(path):
    examples = json.loads(path.read_text()).get("examples", [])

    for example in examples:
        register_app(PlatformName.AMAZON, application_id=found_in(example, "applicationid"))
        assert handled(message(example)) == {"batchItemFailures": []}


def found_in(content, name):
    """The first value of this name at any depth, however its name is spelt."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key.lower() == name:
                return value
            if (found := found_in(value, name)) is not None:
                return found
    return None
