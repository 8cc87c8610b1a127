"""What DynamoDB charges for the calls that our code makes: units by table and by index, from the items' sizes.

The stand-ins for AWS do not count units as AWS does, so they are computed here from the items before and after each
call, by the published rules:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

from botocore.client import BaseClient
from botocore.session import get_session

from infra import template
from shared import clients, settings

WRITE_UNIT, READ_UNIT = 1024, 4096
SQS_REQUEST = EVENT = 64 * 1024
"""What is charged as one request, or as one event; https://aws.amazon.com/sqs/pricing/ and /eventbridge/pricing/."""

Item = Mapping[str, Mapping[str, Any]]
Key = tuple[str, tuple[tuple[str, str], ...]]
"""A table and the key of an item in it."""


class Index(NamedTuple):
    """A secondary index: which items it has, and what of them."""

    name: str
    keys: frozenset[str]
    attributes: frozenset[str] | None
    """``None`` where it has all."""

    def entry(self, item: Item | None) -> Item | None:
        """What the index holds of an item; ``None`` where the item is not in it."""
        if item is None or not self.keys <= item.keys():
            return None
        return {name: value for name, value in item.items() if self.attributes is None or name in self.attributes}

    def units(self, before: Item | None, after: Item | None) -> int:
        """What a change of the item costs in this index: nothing where its entry stays as it is."""
        old, new = self.entry(before), self.entry(after)
        if old == new:
            return 0
        if old is not None and new is not None and all(old[key] == new[key] for key in self.keys):
            return max(write_units(old), write_units(new))
        return sum(write_units(entry) for entry in (old, new) if entry is not None)


class Shape(NamedTuple):
    """A table's key and indexes."""

    keys: tuple[str, ...]
    indexes: tuple[Index, ...]


@cache
def tables() -> Mapping[str, Shape]:
    """The template's tables by the last part of their name."""
    found = template.of_type(template.load(), "AWS::DynamoDB::Table").values()
    return {each["Properties"]["TableName"]["Fn::Sub"].split("}-")[1]: _shape(each["Properties"]) for each in found}


def _shape(properties: Mapping[str, Any]) -> Shape:
    keys = _names(properties["KeySchema"])
    indexes = [
        Index(
            each["IndexName"],
            frozenset(_names(each["KeySchema"])),
            None
            if each["Projection"]["ProjectionType"] == "ALL"
            else frozenset([*keys, *_names(each["KeySchema"]), *each["Projection"].get("NonKeyAttributes", ())]),
        )
        for each in properties.get("GlobalSecondaryIndexes", ())
    ]
    return Shape(keys, tuple(indexes))


def _names(schema: list[dict[str, str]]) -> tuple[str, ...]:
    return tuple(each["AttributeName"] for each in schema)


def item_size(item: Item) -> int:
    """An item's size in bytes: its attributes' names and values."""
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    return _SIZES[kind](content)


def _number_size(text: str) -> int:
    """About a byte for two digits, and one more."""
    return 1 + math.ceil(len(text.strip("-").replace(".", "").strip("0")) / 2)


_SIZES: Mapping[str, Callable[[Any], int]] = {
    "S": lambda text: len(text.encode()),
    "B": len,
    "N": _number_size,
    "BOOL": lambda _: 1,
    "NULL": lambda _: 1,
    "SS": lambda texts: sum(len(each.encode()) for each in texts),
    "NS": lambda texts: sum(map(_number_size, texts)),
    "L": lambda values: 3 + sum(1 + _size(each) for each in values),
    "M": lambda values: 3 + sum(1 + len(name.encode()) + _size(each) for name, each in values.items()),
}


def write_units(item: Item | None) -> int:
    """What writing the item costs; a write of nothing costs one too."""
    return max(1, math.ceil(item_size(item) / WRITE_UNIT)) if item else 1


def read_units(size: int, *, consistent: bool) -> float:
    """What reading so many bytes costs; reading nothing costs as a small item does."""
    return max(1, math.ceil(size / READ_UNIT)) * (1.0 if consistent else 0.5)


class Meter:
    """Counts what our clients send, and what it costs in units."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        """By operation."""
        self.writes: dict[str, float] = defaultdict(float)
        """By table, and by ``table/index``."""
        self.reads: dict[str, float] = defaultdict(float)
        self.charged: Counter[str] = Counter()
        """Requests, events and keys as those services charge them, by service."""

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Counts what any of our clients sends meanwhile. AWS must be the one in this process."""
        made = (clients.dynamodb(), clients.kms(), clients.sqs(), clients.events(), clients.secrets())
        look = _Look(get_session().create_client("dynamodb"))

        def before(params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
            self.calls[model.name] += 1
            self._charge(model, params)
            if model.service_model.service_name == "dynamodb":
                context["meter"] = (params, {key: look.at(key) for key in _written(model.name, params)})

        def after(parsed: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
            if "meter" not in context:
                return
            params, images = context.pop("meter")
            factor = 2 if model.name.startswith("Transact") else 1
            for key, image in images.items():
                self._wrote(key[0], image, look.at(key), factor)
            for table, size, consistent in look.read(model.name, params, parsed):
                self.reads[table] += read_units(size, consistent=consistent) * factor

        for client in made:
            client.meta.events.register("provide-client-params.*.*", before, unique_id="meter-before")
            client.meta.events.register("after-call.*.*", after, unique_id="meter-after")
        yield
        for client in made:
            client.meta.events.unregister("provide-client-params.*.*", unique_id="meter-before")
            client.meta.events.unregister("after-call.*.*", unique_id="meter-after")

    def _wrote(self, table: str, before: Item | None, after: Item | None, factor: int) -> None:
        self.writes[table] += max(write_units(before), write_units(after)) * factor
        for index in tables()[table].indexes:
            if units := index.units(before, after):
                self.writes[f"{table}/{index.name}"] += units * factor

    def _charge(self, model: Any, params: Mapping[str, Any]) -> None:
        match model.name:
            case "SendMessage":
                self.charged["sqs"] += _chunks([params["MessageBody"]], SQS_REQUEST)
            case "SendMessageBatch":
                self.charged["sqs"] += _chunks([each["MessageBody"] for each in params["Entries"]], SQS_REQUEST)
            case "PutEvents":
                self.charged["events"] += sum(_chunks([each["Detail"]], EVENT) for each in params["Entries"])
            case "Decrypt" | "GenerateDataKey":
                self.charged["kms"] += 1
            case "GetSecretValue":
                self.charged["secrets"] += 1
            case _:
                pass


def _chunks(texts: list[str], most: int) -> int:
    return max(1, math.ceil(sum(len(text.encode()) for text in texts) / most))


class _Look:
    """Looks at the tables by a client of its own, which nobody counts."""

    def __init__(self, client: BaseClient) -> None:
        self._client = client

    def at(self, key: Key) -> Item | None:
        """The item as it is."""
        table, values = key
        found: Item | None = self._client.get_item(
            TableName=_full(table), Key={name: {"S": value} for name, value in values}, ConsistentRead=True
        ).get("Item")
        return found

    def read(self, operation: str, params: Mapping[str, Any], answer: Any) -> Iterator[tuple[str, int, bool]]:
        """What a call read: the table or index, the bytes, and whether consistently. A projection saves nothing."""
        match operation:
            case "GetItem":
                yield self._one(params, params.get("ConsistentRead", False))
            case "TransactGetItems":
                for each in params["TransactItems"]:
                    yield self._one(each["Get"], consistent=True)
            case "BatchGetItem":
                for name, asked in params["RequestItems"].items():
                    for key in asked["Keys"]:
                        yield self._one({"TableName": name, "Key": key}, asked.get("ConsistentRead", False))
            case "Query" if answer.get("ScannedCount"):
                name = "/".join(filter(None, (_short(params["TableName"]), params.get("IndexName"))))
                items = self._client.query(**_unfiltered(params))["Items"]
                yield name, sum(map(item_size, items)), params.get("ConsistentRead", False)
            case "Query":
                yield _short(params["TableName"]), 0, params.get("ConsistentRead", False)
            case _:
                return

    def _one(self, params: Mapping[str, Any], consistent: bool) -> tuple[str, int, bool]:
        table = _short(params["TableName"])
        return table, item_size(self.at(_key(table, params["Key"])) or {}), consistent


def _unfiltered(params: Mapping[str, Any]) -> dict[str, Any]:
    """The same query for all that it reads: with neither projection nor filter, and nothing that only those use."""
    narrows = {"ProjectionExpression", "FilterExpression"}
    whole = {name: value for name, value in params.items() if name not in narrows}
    for part in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
        if used := {
            name: value for name, value in whole.get(part, {}).items() if name in params["KeyConditionExpression"]
        }:
            whole[part] = used
        else:
            whole.pop(part, None)
    return whole


def _written(operation: str, params: Mapping[str, Any]) -> Iterator[Key]:
    """The items that a call may write, or check in a transaction."""
    match operation:
        case "PutItem" | "UpdateItem" | "DeleteItem":
            yield _of(params)
        case "BatchWriteItem":
            for name, requests in params["RequestItems"].items():
                for request in requests:
                    ((_, each),) = request.items()
                    yield _of({"TableName": name, **each})
        case "TransactWriteItems":
            for step in params["TransactItems"]:
                ((_, each),) = step.items()
                yield _of(each)
        case _:
            return


def _of(params: Mapping[str, Any]) -> Key:
    table = _short(params["TableName"])
    return _key(table, params.get("Key") or params["Item"])


def _key(table: str, item: Item) -> Key:
    return table, tuple((name, item[name]["S"]) for name in tables()[table].keys)


def _short(table: str) -> str:
    return table.removeprefix(f"{settings.current().table_prefix}-")


def _full(table: str) -> str:
    return f"{settings.current().table_prefix}-{table}"
