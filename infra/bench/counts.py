"""Counts AWS calls and write units of the paths that run often, against the budgets.

    python -m infra.bench.counts            a table, and exit code 1 where a budget is missed

AWS is moto; the platform is the sandbox, over TLS. What is counted is what botocore sends.
"""

import base64
import hmac
import json
import logging
import math
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from infra import fake_aws
from infra.local.sandbox.server import serve
from infra.local.sandbox.woo_shop import Sizes
from shared import clients, clock, connecting, credentials, intake, schemas, sync
from shared.egress import Egress
from shared.keys import Purpose
from shared.models import Credentials, Store, SyncState
from shared.stores import Caller

WRITES = {"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"}
_UNIT = 1024
"""A write unit covers an item of up to 1 KB."""


@dataclass(frozen=True)
class Line:
    """One measured path."""

    path: str
    measured: int
    budget: int
    what: str

    @property
    def in_budget(self) -> bool:
        """Whether it is as cheap as it must be."""
        return self.measured <= self.budget


@dataclass
class Calls:
    """The AWS calls made while it counts, by name, with their parameters."""

    made: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Counts what any of our clients sends."""
        self.made.clear()
        made = (clients.dynamodb(), clients.kms(), clients.sqs(), clients.events())
        for client in made:
            client.meta.events.register("provide-client-params.*.*", self._note, unique_id="counts")
        yield
        for client in made:
            client.meta.events.unregister("provide-client-params.*.*", unique_id="counts")

    def _note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.made.append((model.name, params))

    def __str__(self) -> str:
        names = [name for name, _ in self.made]
        return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names)) or "none"


def measure() -> list[Line]:
    """Every path."""
    with tempfile.TemporaryDirectory() as folder, fake_aws.account(), serve(Path(folder)) as running:
        shop = running.sandbox.woocommerce.open("bench", seed=1, sizes=Sizes(products=3, variable=0, orders=450))
        key = shop.shop.add_key("read_write")
        http = Egress(local_ca=str(running.ca))
        new = schemas.NewStore.model_validate(
            {
                "name": "Bench",
                "platform": "WOO_COMMERCE",
                "domain": f"{running.base_url}/bench",
                "apiKey": key.consumer_key,
                "apiSecret": key.consumer_secret,
            }
        )
        store = connecting.connect(new, Caller("user1"), http, clock.now())
        return [*_webhook(store), *_sync(store, http)]


def _webhook(store: Store) -> list[Line]:
    now, calls = clock.now(), Calls()
    row = Credentials.get(store.id)
    secret = credentials.unseal(Purpose.WEBHOOK, store.id, store.platform, row.webhook_secrets, now)["current"]
    intake.answer(_delivery(row.connection, secret, 1), now)
    with calls.counting():
        intake.answer(_delivery(row.connection, secret, 2), now)
    kms = sum(name in {"Decrypt", "GenerateDataKey"} for name, _ in calls.made)
    return [
        Line("webhook received, warm: AWS calls", len(calls.made), 1, str(calls)),
        Line("webhook received, warm: KMS calls", kms, 0, ""),
    ]


def _sync(store: Store, http: Egress) -> list[Line]:
    calls, pages, ends = Calls(), [], _ends
    with calls.counting():
        marks: list[int] = []
        genuine = http.request

        def marked(method: str, url: str, **rest: Any) -> Any:
            if "/orders" in url and "_fields" not in (rest.get("params") or {}):
                marks.append(len(calls.made))
            return genuine(method, url, **rest)

        http.request = marked  # type: ignore[method-assign]  # to see where pages begin
        ends(sync.run(store.id, http, clock.now, clock.now() + timedelta(minutes=10)))
    pages = [calls.made[start:end] for start, end in pairwise(marks)]
    fullest = max(pages, key=len)
    line = Line("sync, a page of 100 changed orders: AWS calls", len(fullest), 7, str(Calls(fullest)))
    SyncState(store.id).update(actions=[SyncState.lease_until.remove()])
    with calls.counting():
        ends(sync.run(store.id, http, clock.now, clock.now() + timedelta(minutes=10)))
    writes = [name for name, _ in calls.made if name in WRITES]
    size = len(json.dumps(SyncState.get(store.id).to_dynamodb_dict()))
    kms = sum(name in {"Decrypt", "GenerateDataKey"} for name, _ in calls.made)
    return [
        line,
        Line(
            "sync that finds nothing: write units",
            len(writes) * math.ceil(size / _UNIT),
            2,
            f"{calls}; the item has {size} bytes, no index holds what changes",
        ),
        Line("sync that finds nothing: KMS calls", kms, 0, ""),
    ]


def _ends(run: sync.Run) -> None:
    if run.outcome != "COMPLETE":
        raise SystemExit(f"The sync did not end well: {run.outcome} {run.reason} {run.detail}")


def _delivery(connection: str, secret: str, number: int) -> dict[str, Any]:
    body = json.dumps({"id": number, "status": "processing"}).encode()
    return {
        "requestContext": {"http": {"method": "POST"}},
        "pathParameters": {"platform": "WOO_COMMERCE", "connection": connection},
        "headers": {
            "x-wc-webhook-topic": "order.updated",
            "x-wc-webhook-id": "1",
            "x-wc-webhook-delivery-id": str(number),
            "x-wc-webhook-signature": base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode(),
        },
        "body": body.decode(),
    }


def table(lines: list[Line]) -> str:
    """The measurements as markdown."""
    rows = ["| path | measured | budget | calls |", "| --- | ---: | ---: | --- |"]
    rows += [f"| {line.path} | {line.measured} | {line.budget} | {line.what} |" for line in lines]
    return "\n".join(rows)


def main() -> None:
    """Measure and print."""
    logging.getLogger("storelink").setLevel(logging.WARNING)
    lines = measure()
    print(table(lines))
    sys.exit(not all(line.in_budget for line in lines))


if __name__ == "__main__":
    main()
