"""KMS and the table of key groups, as :mod:`shared.keys` finds them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from moto import mock_aws

from shared import clients, keys, settings


@dataclass
class KeyService:
    """KMS: what it was asked, and what it answers instead of a key."""

    asked: list[str] = field(default_factory=list)
    failing_with: str | None = None

    def __call__(self, model: Any, **_: object) -> tuple[AWSResponse, dict[str, Any]] | None:
        self.asked.append(model.name)
        if self.failing_with is None:
            return None
        refusal = {"Error": {"Code": self.failing_with, "Message": ""}, "ResponseMetadata": {}}
        return AWSResponse("", 400, {}, None), refusal


@pytest.fixture
def key_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyService]:
    """Both KMS keys and the empty table of key groups; nothing held in memory from another test."""
    environment = {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "TABLE_PREFIX": "test",
        "PUBLIC_URL": "https://api.example.com",
        "EVENT_BUS": "test",
        "SYNC_QUEUE_URL": "",
        "DELIVERY_QUEUE_URL": "",
        "REMOVAL_QUEUE_URL": "",
        "TEAMS_CLAIM": "teams",
        "KEY_GROUPS": "64",
        "SHARDS": "4",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        for name in ("API_CREDENTIALS_KEY", "WEBHOOK_SECRETS_KEY"):
            monkeypatch.setenv(name, clients.kms().create_key()["KeyMetadata"]["Arn"])
        clients.dynamodb().create_table(
            TableName="test-key-groups",
            AttributeDefinitions=[{"AttributeName": "group", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "group", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        keys.forget()
        settings.current.cache_clear()
        service = KeyService()
        events = clients.kms().meta.events
        events.register("before-call.kms", service)
        yield service
        events.unregister("before-call.kms", service)
    settings.current.cache_clear()
