"""An AWS inside this process (moto), with the tables as the template has them; for tests and benchmarks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from infra import template

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_REGION": "eu-central-1",
    "TABLE_PREFIX": "storelink",
    "PUBLIC_URL": "https://api.example.com",
    "API_CREDENTIALS_KEY": "alias/storelink-api-credentials",
    "WEBHOOK_SECRETS_KEY": "alias/storelink-webhook-secrets",
    "EVENT_BUS": "storelink",
    "SYNC_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/storelink-sync",
    "DELIVERY_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/storelink-delivery",
    "DELIVERY_DEAD_LETTERS_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/storelink-delivery-dead-letters",
    "REMOVAL_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/storelink-removal",
    "BODIES_BUCKET": "storelink-bodies",
    "APPS": "storelink/apps",
    "TEAMS_CLAIM": "teams",
    "KEY_GROUPS": "4",
    "SHARDS": "2",
    "POWERTOOLS_SERVICE_NAME": "storelink",
    "POWERTOOLS_LOG_LEVEL": "INFO",
}
"""What a function is told; two shards and four groups, so that a test sees more than one of each."""

os.environ.update(ENVIRONMENT)

from moto import mock_aws  # noqa: E402 the environment comes first
from moto.kms import models as moto_kms  # noqa: E402 the same

from shared import apps, budgets, clients, intake, keys, signing_keys, wheel  # noqa: E402 they read it
from shared.platforms import ebay  # noqa: E402 the same

# moto makes an RSA pair for every key, symmetric ones too, which costs more than all the rest of an account
vars(moto_kms)["generate_private_key"] = cache(vars(moto_kms)["generate_private_key"])

_PARTS = {"AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes"}


@contextmanager
def account() -> Iterator[None]:
    """An account with our tables, keys, queues and bus, and nothing in them."""
    _forget()
    with mock_aws():
        _create()
        yield
    _forget()


@cache
def _tables() -> list[dict[str, Any]]:
    """How each table is asked for; reading the template takes longer than all the rest."""
    found = [table["Properties"] for table in template.of_type(template.load(), "AWS::DynamoDB::Table").values()]
    return [
        {"TableName": each["TableName"]["Fn::Sub"].replace("${AWS::StackName}", ENVIRONMENT["TABLE_PREFIX"])}
        | {part: each[part] for part in _PARTS & each.keys()}
        for each in found
    ]


def _create() -> None:
    for table in _tables():
        clients.dynamodb().create_table(**table)
    for alias in (ENVIRONMENT["API_CREDENTIALS_KEY"], ENVIRONMENT["WEBHOOK_SECRETS_KEY"]):
        key = clients.kms().create_key()["KeyMetadata"]["KeyId"]
        clients.kms().create_alias(AliasName=alias, TargetKeyId=key)
    for queue in ("sync", "delivery", "delivery-dead-letters", "removal"):
        clients.sqs().create_queue(QueueName=f"storelink-{queue}")
    clients.s3().create_bucket(
        Bucket=ENVIRONMENT["BODIES_BUCKET"],
        CreateBucketConfiguration={"LocationConstraint": ENVIRONMENT["AWS_REGION"]},
    )
    clients.events().create_event_bus(Name=ENVIRONMENT["EVENT_BUS"])


def _forget() -> None:
    """Drops what an execution environment remembers."""
    apps.forget()
    budgets.forget()
    clients.forget()
    keys.forget()
    intake.forget()
    signing_keys.forget()
    ebay.forget_app_tokens()
    wheel.forget()
