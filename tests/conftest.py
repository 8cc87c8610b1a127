"""What every test gets: an environment as the template gives it, AWS by moto, time that stands still."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

os.environ.update(
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_DEFAULT_REGION="eu-central-1",
    AWS_REGION="eu-central-1",
    TABLE_PREFIX="storelink",
    PUBLIC_URL="https://api.example.com",
    API_CREDENTIALS_KEY="alias/storelink-api-credentials",
    WEBHOOK_SECRETS_KEY="alias/storelink-webhook-secrets",
    EVENT_BUS="storelink",
    SYNC_QUEUE_URL="https://sqs.eu-central-1.amazonaws.com/123456789012/storelink-sync",
    DELIVERY_QUEUE_URL="https://sqs.eu-central-1.amazonaws.com/123456789012/storelink-delivery",
    REMOVAL_QUEUE_URL="https://sqs.eu-central-1.amazonaws.com/123456789012/storelink-removal",
    TEAMS_CLAIM="teams",
    KEY_GROUPS="4",
    SHARDS="2",
    POWERTOOLS_SERVICE_NAME="storelink",
    POWERTOOLS_LOG_LEVEL="INFO",
)

import pytest
from moto import mock_aws

from infra import template
from shared import clients, intake, keys, wheel

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
_TABLES = [each["Properties"] for each in template.of_type(template.load(), "AWS::DynamoDB::Table").values()]
_TABLE_PARTS = {
    "AttributeDefinitions",
    "KeySchema",
    "BillingMode",
    "GlobalSecondaryIndexes",
}


@pytest.fixture
def now() -> datetime:
    """A moment that every test shares."""
    return NOW


@pytest.fixture
def aws() -> Iterator[None]:
    """An AWS account with our tables, as the template has them, our keys, our queues and our bus."""
    _forget()
    with mock_aws():
        for table in _TABLES:
            name = table["TableName"]["Fn::Sub"].replace("${AWS::StackName}", "storelink")
            parts: dict[str, Any] = {part: table[part] for part in _TABLE_PARTS & table.keys()}
            clients.dynamodb().create_table(TableName=name, **parts)
        for alias in ("api-credentials", "webhook-secrets"):
            key = clients.kms().create_key()["KeyMetadata"]["KeyId"]
            clients.kms().create_alias(AliasName=f"alias/storelink-{alias}", TargetKeyId=key)
        for queue in ("sync", "delivery", "removal"):
            clients.sqs().create_queue(QueueName=f"storelink-{queue}")
        clients.events().create_event_bus(Name="storelink")
        yield
    _forget()


def _forget() -> None:
    clients.forget()
    keys.forget()
    intake.forget()
    wheel.forget()
