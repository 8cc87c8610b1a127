"""What all the other tests have left behind: no secret, no refusal by IAM, no dead letter, no error."""

import json
from collections.abc import Iterator

import pytest
from integration.deployment import Deployment, forms, unpacked

from infra import template

_TELLING = 12
"""So many bytes of a secret are enough to know it by."""


def _places(stack: Deployment) -> Iterator[tuple[str, bytes]]:
    """All that is written anywhere, by where it is written."""
    for table in stack.tables():
        for row in stack.rows(table):
            yield f"table {table}", unpacked(row)
    for name, line in stack.logs():
        yield f"log {name}", line.encode()
    for event in stack.all_events():
        yield "bus", json.dumps(event).encode()
    sqs = stack.aws("sqs")
    for queue in sqs.list_queues()["QueueUrls"]:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=0).get(
            "Messages", ()
        ):
            yield f"queue {queue}", message["Body"].encode()
    for file in [*stack.home.glob("logs/*.log"), *stack.home.glob("*.log")]:
        yield f"file {file.name}", file.read_bytes()


@pytest.fixture(scope="module")
def places(stack: Deployment) -> list[tuple[str, bytes]]:
    """All that is written, read once."""
    stack.note_secrets()
    return list(_places(stack))


def test_every_kind_of_place_has_been_looked_at(places: list[tuple[str, bytes]]) -> None:
    names = {name for name, _ in places}

    assert {name.split(" ")[0] for name in names} >= {"table", "log", "bus", "file"}
    for part in ("credentials", "orders", "products", "deliveries", "key-groups", "sync-runs"):
        assert any(name == f"table storelink-{part}" for name in names)
    assert any(b"Order " in text or b"lines" in text for name, text in places if name.endswith("-orders"))


def test_no_secret_is_written_anywhere(stack: Deployment, places: list[tuple[str, bytes]]) -> None:
    beginnings = {look[:_TELLING] for secret in stack.secrets for look in forms(secret)}
    assert len(stack.secrets) > 50
    assert {len(each) for each in beginnings} == {_TELLING}

    found = {name for name, text in places if any(text[at : at + _TELLING] in beginnings for at in range(len(text)))}

    assert found == set()


def test_address_of_a_connection_is_in_no_log_and_no_event(stack: Deployment, places: list[tuple[str, bytes]]) -> None:
    secret_parts = {row["connection"]["S"].partition(".")[2].encode() for row in stack.rows("credentials")}

    found = {
        name
        for name, text in places
        if name.startswith(("log", "bus", "queue")) and any(part in text for part in secret_parts)
    }

    assert secret_parts
    assert found == set()


def _verdicts(stack: Deployment) -> set[tuple[str, str, str, str]]:
    """What IAM said: verdict, function, action, resource."""
    lines = (stack.home / "iam.txt").read_text().splitlines()
    parts = (line.split(" ", 3) for line in lines if ":assumed-role/" in line)
    return {(verdict, who.rpartition("/")[2], action, resource) for verdict, who, action, resource in parts}


def test_no_function_was_refused_anything(stack: Deployment, places: list[tuple[str, bytes]]) -> None:
    verdicts = _verdicts(stack)
    # a queue's own policy is asked too, and says nothing of our functions
    refused = {each[1:] for each in verdicts if each[0] != "Allow" and ("Allow", *each[1:]) not in verdicts}
    logged = {text for name, text in places if name.startswith("log") and b"not authorized to perform" in text}

    assert refused == set()
    assert logged == set()


def test_every_function_has_run(stack: Deployment) -> None:
    ran = {who for _, who, _, _ in _verdicts(stack)}
    functions = template.of_type(template.load(), "AWS::Serverless::Function")
    without_aws = {"DescribeApiFunction"}

    missing = {name for name in functions if not any(name in each for each in ran)}

    assert missing == without_aws


def test_no_function_logged_an_error(places: list[tuple[str, bytes]]) -> None:
    errors = [text.decode() for name, text in places if name.startswith("log") and b'"level":"ERROR"' in text]

    assert errors == []


def test_no_dead_letter_is_left(stack: Deployment) -> None:
    sqs = stack.aws("sqs")
    resources = stack.aws("cloudformation").describe_stack_resources(StackName=stack.endpoints["stack"])
    queues = {
        each["LogicalResourceId"]: each["PhysicalResourceId"]
        for each in resources["StackResources"]
        if each["LogicalResourceId"].endswith("DeadLetters")
    }

    left = {
        name: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"][
            "ApproximateNumberOfMessages"
        ]
        for name, url in queues.items()
    }

    assert len(left) == 5
    assert set(left.values()) == {"0"}
