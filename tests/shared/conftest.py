"""KMS and the table of key groups, as :mod:`shared.keys` finds them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from moto import mock_aws

from shared import clients, keys


@dataclass
class KeyService:
    """KMS: what it was asked, and what it answers instead of a key."""

    asked: list[str] = field(default_factory=list)
    failing_with: str | None = None

    def __call__(self, model: Any, **_: object) -> tuple[AWSResponse, dict[str, Any]] | None:
        self.asked.append(model.name)
        if self.failing_with is None:
            return None
        # Moto goes on with a disabled key, and botocore's own attempts after throttling would sleep.
        refusal = {"Error": {"Code": self.failing_with, "Message": ""}, "ResponseMetadata": {}}
        return AWSResponse("", 400, {}, None), refusal


@pytest.fixture
def key_service() -> Iterator[KeyService]:
    """Both KMS keys and the empty table of key groups; no key is held from another test."""
    with mock_aws():
        for purpose in ("api-credentials", "webhook-secrets"):
            key = clients.kms().create_key()["KeyMetadata"]["KeyId"]
            clients.kms().create_alias(AliasName=f"alias/storelink-{purpose}", TargetKeyId=key)
        clients.dynamodb().create_table(
            TableName="storelink-key-groups",
            AttributeDefinitions=[{"AttributeName": "group", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "group", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        keys.forget()
        service = KeyService()
        events = clients.kms().meta.events
        events.register("before-call.kms", service)
        yield service
        events.unregister("before-call.kms", service)
        keys.forget()
