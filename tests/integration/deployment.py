"""The deployed local stack as the integration tests see it: its API, its sandbox, and AWS behind both."""

import base64
import json
import os
import ssl
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import botocore.session
import httpx

Json = dict[str, Any]
Found = TypeVar("Found")

PATIENCE = 60.0
"""Seconds that anything may take on a busy machine, a first sync or a webhook's way."""


def until(look: Callable[[], Found | None], complaint: str, seconds: float = PATIENCE) -> Found:
    """What ``look`` finds, asked again until it finds something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{complaint}, even after {seconds:.0f} s")
        time.sleep(0.2)
    return found


def at_once(calls: list[Callable[[], Found]]) -> list[Found]:
    """What all calls give when they are made at the same time."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [each.result() for each in [pool.submit(call) for call in calls]]


def forms(secret: str) -> set[bytes]:
    """How a secret looks: plain, percent-encoded, in hex, and inside any base64 text."""
    raw = base64.b64decode(secret[7:]) if secret.startswith("base64:") else secret.encode()
    inside = {base64.b64encode(b"\0" * lead + raw)[-(-lead * 4 // 3) :] for lead in range(3)}
    # the last letters depend on what follows
    base64s = {text.rstrip(b"=")[:-2] for text in inside}
    return {raw, quote(raw, safe="").encode(), raw.hex().encode(), *base64s}


@dataclass
class Shop:
    """A WooCommerce shop of the sandbox, seen by its merchant."""

    sandbox: httpx.Client
    name: str
    url: str
    keys: Json
    secrets: set[str]

    def act(self, method: str, place: str, **body: Any) -> Json:
        """One call to the control API of this shop."""
        return ok(self.sandbox.request(method, f"/_sandbox/woocommerce/shops/{self.name}{place}", json=body or None))

    def truth(self, only: str) -> list[Json]:
        """Every product, order or webhook that the shop has."""
        found: list[Json] = self.act("GET", f"/truth?only={only}")[only]
        return found

    def keys_now(self) -> list[Json]:
        """All keys that are valid; told by an order to revoke one that does not exist."""
        keys: list[Json] = self.act("POST", "/revoke", consumer_key="none")["keys"]
        self.secrets.update(key["consumer_secret"] for key in keys)
        self.secrets.update(key["consumer_key"] for key in keys)
        return keys

    def live(self, resource: str) -> dict[str, Json]:
        """What a synced copy must have, by id."""
        return {
            str(row["id"]): row
            for row in self.truth(resource)
            if row["status"] != "trash" and row.get("type") != "variation"
        }

    def simple_products(self) -> list[int]:
        """The ids of products that one can buy and that have no variations."""
        return [row["id"] for row in self.truth("products") if row["type"] == "simple" and row["status"] == "publish"]


def ok(answer: httpx.Response) -> Json:
    """The answer's JSON; a failure fails the test with the answer."""
    assert answer.is_success, (
        f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:500]}"
    )
    body: Json = answer.json() if answer.content else {}
    return body


class User:
    """Somebody with a token."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def connect(self, shop: Shop, **more: Any) -> Json:
        """A store connected to the shop."""
        return ok(self.http.post("/stores", json=new_store(shop, **more)))

    def synced(self, shop: Shop, **more: Any) -> Json:
        """A store connected to the shop, once its first sync has ended."""
        store = self.connect(shop, **more)
        until(lambda: self.last_sync(store), "the first sync did not end")
        return store

    def last_sync(self, store: Json) -> str | None:
        """When the store was last completely synced."""
        found: str | None = ok(self.http.get(f"/stores/{store['id']}"))["lastSyncAt"]
        return found

    def all(self, path: str, **parameters: Any) -> list[Json]:
        """Everything in a list, page by page."""
        items: list[Json] = []
        cursor: str | None = None
        while True:
            page = {"limit": 100, **parameters, **({"cursor": cursor} if cursor else {})}
            answer = ok(self.http.get(path, params=page))
            items += answer["items"]
            cursor = answer["nextCursor"]
            if cursor is None:
                return items

    def records(self, store: Json, resource: str) -> dict[str, Json]:
        """The store's products or orders, by id."""
        return {row["id"]: row for row in self.all(f"/stores/{store['id']}/{resource}")}

    def agrees(self, store: Json, shop: Shop) -> bool:
        """Whether the store's copy is as new as the shop."""
        return all(
            {id: row["updatedAt"] for id, row in self.records(store, resource).items()}
            == {id: f"{row['modified_gmt']}Z" for id, row in shop.live(resource).items()}
            for resource in ("products", "orders")
        )


def new_store(shop: Shop, **more: Any) -> Json:
    """The body that connects a store to the shop."""
    key = shop.keys["read_write"]
    return {
        "name": shop.name,
        "platform": "WOO_COMMERCE",
        "domain": shop.url,
        "apiKey": key["consumer_key"],
        "apiSecret": key["consumer_secret"],
        **more,
    }


_OPEN_ALL = """
import base64
from shared import clients, clock, credentials, keys
from shared.keys import Purpose
from shared.settings import current

now, prefix = clock.now(), current().table_prefix
for row in clients.dynamodb().scan(TableName=f"{prefix}-credentials", ConsistentRead=True)["Items"]:
    store, platform = row["store_id"]["S"], row["platform"]["S"]
    for purpose, column in ((Purpose.API, "api_credentials"), (Purpose.WEBHOOK, "webhook_secrets")):
        for secret in credentials.unseal(purpose, store, platform, row[column]["B"], now).values():
            print(secret)
for row in clients.dynamodb().scan(TableName=f"{prefix}-key-groups")["Items"]:
    if "versions" in row:
        purpose, _, group = row["group"]["S"].partition("#")
        for version in row["versions"]["M"]:
            secret = keys.version(Purpose(purpose), int(group), int(version), now).secret
            print(f"base64:{base64.b64encode(secret).decode()}")
"""


class Deployment:
    """What runs, for all tests of the session."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.endpoints: Json = json.loads((home / "endpoints.json").read_text())
        self.secrets: set[str] = set()
        """Every secret that went in, for the search at the end."""
        self._events: list[Json] = []
        self._open: list[Any] = []
        trusted = ssl.create_default_context(cafile=self.endpoints["ca"])
        self.sandbox = self._client(self.endpoints["sandbox"], verify=trusted)
        self.internet = self._client(self.endpoints["https"], verify=trusted)
        self._shops = 0
        self._listen()

    def user(self, name: str, *teams: str, scope: str = "stores:read stores:write") -> User:
        """Somebody with a fresh token of the issuer."""
        wish = {"user": name, "teams": teams, "scope": scope}
        token = ok(httpx.post(f"{self.endpoints['issuer']}/token", json=wish, trust_env=False))["access_token"]
        self.secrets |= {token, token.rpartition(".")[2]}
        return User(self._client(self.endpoints["api"], headers={"authorization": f"Bearer {token}"}))

    def open_shop(self, **sizes: Any) -> Shop:
        """A new shop; small unless told otherwise."""
        self._shops += 1
        wish = {"name": f"shop-{self._shops}", "seed": self._shops, "products": 4, "variable": 1, "orders": 5, **sizes}
        shop = ok(self.sandbox.post("/_sandbox/woocommerce/shops", json=wish))
        for key in (*shop["keys"].values(), shop["revoked"]):
            self.secrets |= {key["consumer_key"], key["consumer_secret"]}
        keys = {**shop["keys"], "revoked": shop["revoked"]}
        return Shop(self.sandbox, shop["name"], shop["url"], keys, self.secrets)

    @cache  # noqa: B019 - there is one, which lives as long as the session
    def aws(self, service: str) -> Any:
        """A client of the engine's root user."""
        session = botocore.session.Session()
        session.set_credentials("test", "test")
        client = session.create_client(
            service, region_name=self.endpoints["region"], endpoint_url=self.endpoints["aws"]
        )
        self._open.append(client)
        return client

    def tables(self) -> list[str]:
        """The names of our tables."""
        names = self.aws("dynamodb").list_tables()["TableNames"]
        return [name for name in names if name.startswith(f"{self.endpoints['stack']}-")]

    def rows(self, table: str) -> list[Json]:
        """All rows of a table as DynamoDB writes them."""
        name = table if table.startswith(self.endpoints["stack"]) else f"{self.endpoints['stack']}-{table}"
        pages = self.aws("dynamodb").get_paginator("scan").paginate(TableName=name)
        return [row for page in pages for row in page["Items"]]

    def row(self, table: str, **key: str) -> Json:
        """One row of a table as DynamoDB writes it, or nothing."""
        item = self.aws("dynamodb").get_item(
            TableName=f"{self.endpoints['stack']}-{table}",
            Key={name: {"S": value} for name, value in key.items()},
            ConsistentRead=True,
        )
        found: Json = item.get("Item", {})
        return found

    def physical(self, logical: str) -> str:
        """What AWS calls a resource of the template."""
        found: str = self.aws("cloudformation").describe_stack_resources(
            StackName=self.endpoints["stack"], LogicalResourceId=logical
        )["StackResources"][0]["PhysicalResourceId"]
        return found

    def rows_about(self, store_id: str) -> dict[str, int]:
        """How many rows of each table name the store."""
        found = {table: sum(store_id in repr(row) for row in self.rows(table)) for table in self.tables()}
        return {table: count for table, count in found.items() if count}

    def changes(self, store: Json, resource: str, what: str) -> list[Json]:
        """The products or orders that the bus has named so far as ``created``, ``updated`` or ``deleted``."""
        said = self.events(store, f"{resource.removesuffix('s')}.{what}")
        return [each for event in said for each in event[resource]]

    def events(self, store: Json, kind: str = "") -> list[Json]:
        """What the bus has said of the store so far, in the order in which it was said."""
        self._collect()
        return [
            event["detail"]
            for event in self._events
            if event["detail"].get("store") == store["id"] and kind in ("", event["detail-type"])
        ]

    def all_events(self) -> list[Json]:
        """Everything that the bus has said."""
        self._collect()
        return self._events

    def logs(self) -> Iterator[tuple[str, str]]:
        """Every line in every log group."""
        logs = self.aws("logs")
        for page in logs.get_paginator("describe_log_groups").paginate():
            for group in page["logGroups"]:
                name = group["logGroupName"]
                for events in logs.get_paginator("filter_log_events").paginate(logGroupName=name):
                    yield from ((name, event["message"]) for event in events["events"])

    def note_secrets(self) -> None:
        """Opens what is sealed, by the product's own code, so that it can be looked for in what is not."""
        functions = self.aws("lambda").list_functions()["Functions"]
        told = functions[0]["Environment"]["Variables"]
        opened = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-c", _OPEN_ALL],
            env={
                **os.environ,
                **told,
                "AWS_ENDPOINT_URL": self.endpoints["aws"],
                "AWS_DEFAULT_REGION": self.endpoints["region"],
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
            },
            capture_output=True,
            check=False,
            text=True,
        )
        assert not opened.returncode, opened.stderr
        self.secrets.update(opened.stdout.split())

    def close(self) -> None:
        """Lets go of all connections."""
        for client in self._open:
            client.close()

    def _client(self, address: str, **more: Any) -> httpx.Client:
        client = httpx.Client(base_url=address, timeout=60, trust_env=False, **more)
        self._open.append(client)
        return client

    def _listen(self) -> None:
        """Has a queue of ours receive all that is published on the bus."""
        stack, sqs, events = self.endpoints["stack"], self.aws("sqs"), self.aws("events")
        self._queue = sqs.create_queue(QueueName="heard")["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        statement = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
        policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": attributes["QueueArn"]}]}
        sqs.set_queue_attributes(QueueUrl=self._queue, Attributes={"Policy": json.dumps(policy)})
        events.put_rule(Name="everything", EventBusName=stack, EventPattern='{"source": ["storelink"]}')
        target = {"Id": "heard", "Arn": attributes["QueueArn"]}
        events.put_targets(Rule="everything", EventBusName=stack, Targets=[target])

    def _collect(self) -> None:
        sqs = self.aws("sqs")
        while messages := sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            self._events += [json.loads(message["Body"]) for message in messages]
            entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
            sqs.delete_message_batch(QueueUrl=self._queue, Entries=entries)


def unpacked(value: Any) -> bytes:
    """All that a row of a table holds, as one text: binaries as they are, and inflated where they are deflated."""
    match value:
        case bytes():
            try:
                return value + b"\n" + zlib.decompress(value)
            except zlib.error:
                return value
        case dict():
            return b"\n".join(unpacked(each) for pair in value.items() for each in pair)
        case list() | set() | tuple():
            return b"\n".join(unpacked(each) for each in value)
    return str(value).encode()
