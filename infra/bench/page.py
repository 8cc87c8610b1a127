"""What a page of a query costs beside the same query by an ordinary botocore client: ``make bench``.

    python -m infra.bench.page

The page has 100 stores of 22 attributes and 1 KiB each, as the index of a user's stores has them. What DynamoDB would
say is given in this process at ``before-send``: all but the network is real. The readings take turns.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any
from zlib import crc32

from botocore.awsrequest import AWSResponse
from botocore.client import BaseClient
from botocore.session import get_session

from infra import fake_aws
from infra.bench.throughput import table
from shared import clients
from shared.models import Store

ITEMS = 100
ATTRIBUTES = 22
SIZE = 1024
"""Bytes of an item, as DynamoDB counts them: the names are among them."""
ROUNDS = 31
_NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)

Item = dict[str, dict[str, Any]]
Reading = Callable[[], Sequence[object]]


@dataclass(frozen=True)
class Line:
    """What a way to read the page measured."""

    name: str
    ratio: float
    """Of CPU time, to the ordinary client's."""
    budget: float


def item(number: int = 0) -> Item:
    """A store's item."""
    store = Store(
        f"clx{number:021}",
        name="My TikTok Shop",
        platform="TIKTOK_SHOP",
        store_id="7123456789",
        store_name="Trendy Tees Official",
        domain="https://www.tiktok.com/@trendytees",
        currency="USD",
        timezone="America/Los_Angeles",
        is_active=True,
        is_primary=True,
        settings='{"autoFulfillment":true,"syncInterval":300,"webhooksEnabled":true,"priceMarkup":1.5}',
        metadata='{"monthlyOrders":500,"rating":4.8,"followers":25000,"note":""}',
        user_id="clx1234567890",
        team_id="clx9876543210",
        created_at=_NOW,
        updated_at=_NOW,
        status="CONNECTED",
        version=3,
        reauthorize_by=_NOW,
        reauthorize_days=30,
        created_key=f"2026-11-28T12:00:00.000000Z#{number}",
        platform_shard="TIKTOK_SHOP#1",
    )
    made: Item = store.serialize()
    text = made["metadata"]["S"]
    made["metadata"]["S"] = text.replace('"note":""', f'"note":"{"x" * (SIZE - size_of(made))}"')
    return made


def size_of(item: Item) -> int:
    """Bytes, near enough."""
    return sum(len(name) + len(str(value)) for name, given in item.items() for value in given.values())


def measure(rounds: int = ROUNDS) -> list[Line]:
    """Both ways to read the page."""
    region = fake_aws.ENVIRONMENT["AWS_REGION"]
    ordinary, ours = get_session().create_client("dynamodb", region_name=region), clients.dynamodb()
    with _answering(ordinary), _answering(ours):
        raw = _raw(ordinary)
        return [
            Line("models, by PynamoDB", _ratio(_models, raw, rounds), 0.8),
            Line("plain values, without PynamoDB", _ratio(_plain(ours), raw, rounds), 0.3),
        ]


@contextmanager
def _answering(client: BaseClient) -> Iterator[None]:
    """The client gets the page, whatever it asks for."""
    body = json.dumps({"Items": [item(number) for number in range(ITEMS)], "Count": ITEMS, "ScannedCount": ITEMS})
    content = body.encode()
    headers = {"x-amz-crc32": str(crc32(content)), "x-amzn-requestid": "bench"}

    def answer(request: Any, **_: object) -> AWSResponse:
        return AWSResponse(request.url, 200, headers, _Received(content))

    client.meta.events.register("before-send.dynamodb.Query", answer, unique_id="page")
    try:
        yield
    finally:
        client.meta.events.unregister("before-send.dynamodb.Query", unique_id="page")


@dataclass(frozen=True)
class _Received:
    content: bytes

    def stream(self) -> Iterator[bytes]:
        """All of it, as urllib3 would hand it over."""
        yield self.content


def _raw(client: BaseClient) -> Reading:
    def read() -> Sequence[object]:
        items: Sequence[object] = client.query(
            TableName=Store.Meta.table_name,
            IndexName="byUser",
            KeyConditionExpression="user_id = :user",
            ExpressionAttributeValues={":user": {"S": "clx1234567890"}},
        )["Items"]
        return items

    return read


def _models() -> Sequence[object]:
    return list(Store.by_user.query("clx1234567890"))


def _plain(client: BaseClient) -> Reading:
    raw = _raw(client)

    def read() -> Sequence[object]:
        return [{name: _value(given) for name, given in each.items()} for each in raw()]  # type: ignore[attr-defined]  # botocore's items

    return read


def _value(given: Mapping[str, Any]) -> object:
    [(kind, value)] = given.items()
    return int(value) if kind == "N" else value


def _ratio(reading: Reading, raw: Reading, rounds: int) -> float:
    if len(reading()) != len(raw()):
        raise SystemExit("A reading did not get the page.")
    # of neighbours in time: a busy machine slows both
    return median(_cpu(reading) / _cpu(raw) for _ in range(rounds))


def _cpu(reading: Reading, times: int = 3) -> float:
    """CPU seconds of so many readings."""
    began = time.process_time()
    for _ in range(times):
        reading()
    return time.process_time() - began


def report(lines: Sequence[Line]) -> str:
    """A row for each way."""
    return table(
        ["a page of 100 items, to botocore's query", "CPU", "budget"],
        [[line.name, f"{line.ratio:.2f}", f"{line.budget:.1f}"] for line in lines],
    )


def main() -> None:
    """Measure and print."""
    print(report(measure()))


if __name__ == "__main__":
    main()
