"""AWS clients are made once, for PynamoDB too."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pynamodb.attributes import UnicodeAttribute
from pynamodb.transactions import TransactWrite

from shared import clients
from shared.tables import Table, connection, table_name
from tests.shared.conftest import KeyService


class Claim(Table):
    class Meta:
        table_name = "test-claims"

    claim = UnicodeAttribute(hash_key=True)


class Design(Table):
    class Meta:
        table_name = "test-designs"

    store_id = UnicodeAttribute(hash_key=True)
    design_id = UnicodeAttribute(range_key=True)


@pytest.fixture
def no_clients(key_service: KeyService) -> Iterator[KeyService]:
    """Nobody has asked for a client yet, and the ones of this test are not kept."""
    clients.forget()
    yield key_service
    clients.forget()


@pytest.fixture
def requests(no_clients: KeyService) -> list[str]:
    """What the shared client sent; the tables of both models exist."""
    Claim.create_table(billing_mode="PAY_PER_REQUEST")
    Design.create_table(billing_mode="PAY_PER_REQUEST")
    sent: list[str] = []

    def record(model: Any, **_: object) -> None:
        sent.append(model.name)

    clients.dynamodb().meta.events.register("before-call.dynamodb", record)
    return sent


@pytest.mark.usefixtures("no_clients")
def test_makes_each_client_once_even_when_threads_ask_at_once() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(lambda _: clients.sqs(), range(8)))

    assert made == {clients.sqs()}


@pytest.mark.usefixtures("key_service")
def test_each_service_has_a_client() -> None:
    made = [clients.dynamodb(), clients.kms(), clients.sqs(), clients.events()]

    names = [client.meta.service_model.service_name for client in made]

    assert names == ["dynamodb", "kms", "sqs", "events"]


@pytest.mark.usefixtures("key_service")
def test_gives_up_before_a_function_must() -> None:
    config = clients.dynamodb().meta.config

    assert (config.connect_timeout, config.read_timeout) == (2, 5)
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}


@pytest.mark.usefixtures("no_clients")
def test_calls_the_endpoint_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")

    assert clients.dynamodb().meta.endpoint_url == "http://127.0.0.1:4566"


def test_every_model_sends_through_the_shared_client(requests: list[str]) -> None:
    Claim("store#1").save()
    Design("store-1", "design-1").save()
    found = Design.get("store-1", "design-1")
    listed = list(Design.query("store-1"))

    assert (found.design_id, len(listed)) == ("design-1", 1)
    assert requests == ["PutItem", "PutItem", "GetItem", "Query"]


def test_transactions_go_through_the_shared_client(requests: list[str]) -> None:
    with TransactWrite(connection=connection()) as transaction:
        transaction.save(Claim("store#1"))
        transaction.save(Design("store-1", "design-1"))

    assert requests == ["TransactWriteItems"]


def test_models_follow_when_the_clients_are_made_anew(requests: list[str]) -> None:
    clients.forget()

    Claim("store#1").save()

    assert requests == []


@pytest.mark.usefixtures("key_service")
def test_tables_are_named_after_the_deployment() -> None:
    assert table_name("stores") == "storelink-stores"


def test_the_hot_path_imports_neither_boto3_nor_pynamodb_nor_pydantic() -> None:
    code = "import json, sys, shared.clients, shared.credentials; print(json.dumps(sorted(sys.modules)))"

    root = Path(__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=root)  # noqa: S603 our own
    loaded = json.loads(ran.stdout)

    heavy = {"boto3", "s3transfer", "pynamodb", "pydantic", "aws_encryption_sdk", "asyncio", "httpx"}
    assert heavy.isdisjoint(loaded)
