"""List prices times what the real code uses, against the budgets.

    python -m infra.bench.cost              tables; a budget that is missed is said, and is no failure

AWS is moto and the platform is the sandbox. Calls are counted as botocore sends them, units follow from the items'
sizes (`infra/bench/capacity.py`), and CPU time is that of our own code in this process. What AWS and the platforms take
for their answers, and how full batches are, is assumed, in one place each: WAITS and the constants beside it.
"""

import base64
import hmac
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

from botocore.session import get_session
from moto.core.models import botocore_stubber

from infra import fake_aws, template
from infra.bench import capacity, scale
from infra.bench.capacity import Item, Meter
from infra.local.sandbox.server import APPS, Running, serve
from infra.local.sandbox.woo_shop import Shop, Sizes
from shared import clients, clock, connecting, credentials, keys, schemas, settings, sweep, sync, tokens
from shared.egress import Egress
from shared.keys import Purpose
from shared.models import Credentials, Store
from shared.observability import logger
from shared.platforms.base import Answer, Identity, PlatformName, Tokens
from shared.stores import Caller

CHECKED = "2026-11-28"
REGION = "us-east-1"


class Price(NamedTuple):
    """A list price, without free tier or discount for size."""

    dollars: float
    """For a million, or for the one that ``per`` names."""
    per: str
    source: str


PRICES: Mapping[str, Price] = {
    "HTTP API request": Price(1.00, "million", "aws.amazon.com/api-gateway/pricing"),
    "Lambda request": Price(0.20, "million", "aws.amazon.com/lambda/pricing"),
    "Lambda GB-second": Price(13.3334, "million", "aws.amazon.com/lambda/pricing, arm64, first tier"),
    "write unit": Price(0.625, "million", "aws.amazon.com/dynamodb/pricing/on-demand"),
    "read unit": Price(0.125, "million", "aws.amazon.com/dynamodb/pricing/on-demand"),
    "SQS request": Price(0.40, "million", "aws.amazon.com/sqs/pricing, standard"),
    "event": Price(1.00, "million", "aws.amazon.com/eventbridge/pricing, custom events"),
    "KMS call": Price(3.00, "million", "aws.amazon.com/kms/pricing"),
    "log GB": Price(0.50, "GB", "aws.amazon.com/cloudwatch/pricing, ingestion"),
    "rarely read log GB": Price(0.25, "GB", "aws.amazon.com/cloudwatch/pricing, ingestion, infrequent access"),
    "trace": Price(5.00, "million", "aws.amazon.com/xray/pricing"),
    "stored GB-month": Price(0.25 + 0.20, "GB", "aws.amazon.com/dynamodb/pricing, with point-in-time recovery"),
}
"""Read in stored copies of these pages or of pages that quote them; DynamoDB Streams read by Lambda are free."""

WAITS: Mapping[str, float] = {
    "GetItem": 0.004,
    "Query": 0.006,
    "BatchGetItem": 0.010,
    "PutItem": 0.005,
    "UpdateItem": 0.005,
    "BatchWriteItem": 0.012,
    "PutEvents": 0.015,
    "SendMessage": 0.008,
    "Decrypt": 0.008,
    "GetSecretValue": 0.010,
    "platform": 0.3,
    "platform page": 1.0,
}
"""Seconds until an answer, assumed; a page is one of 100 full records."""
BATCH = 10
"""Records in an invocation that works off a stream of webhooks, of the 25 or 100 that the template allows."""
BULK = 100
"""The same while a page after page is synced."""
BUSY = sync.STORES_PER_MESSAGE / -(-sync.STORES_PER_MESSAGE // sync.AT_ONCE)
"""How many of an invocation's stores wait at the same time, on average."""
AT_ONCE = 8
"""Refreshes at once, as `shared/tokens.py` has it."""
TRACED = 0.05
"""X-Ray's own sampling of busy functions; the template traces actively."""
PLATFORM_LOG = 600
"""Bytes that Lambda logs of its own for each invocation (start and report, as JSON), where it does; from memory."""
ACCESS_VALUES = {
    "requestId": "JKJaXmPLvHcESHA=",
    "routeKey": "POST /webhooks/{platform}/{connection}",
    "status": "200",
    "responseLatency": "24",
    "integrationStatus": "200",
    "error.responseType": "-",
}
"""What stands in a line of the access log."""
STORES = 3
"""Of so many stores are the webhooks that are worked off together."""
KEPT_DAYS = 30
"""A delivery is kept so long, and swept as often as its turn comes."""
STORED_OVERHEAD = 100
"""Bytes that DynamoDB adds to each item and each index entry that it stores."""
MONTH = timedelta(days=365.25 / 12)
SYNCS = MONTH / timedelta(minutes=5)
MILLION = 1_000_000
CENT = 0.01

WEBHOOK_BUDGET, RECORD_BUDGET = 3.50, 1.00
"""Dollars a million, of design.md 10."""
_DELIVERIES, _RECORDS, _RUNS, _REFRESHES = 20, 200, 5, 20
"""How many are measured."""


class Line(NamedTuple):
    """One line of a bill."""

    stage: str
    what: str
    used: float
    """For one webhook, record, run or refresh."""
    price: str

    @property
    def dollars(self) -> float:
        """For a million of them; of what is priced by the GB, for a million as well."""
        unit = PRICES[self.price]
        return self.used * unit.dollars * (1 if unit.per == "million" else MILLION / 1e9)


class Stage(NamedTuple):
    """What one function used for each thing that it worked on."""

    name: str
    function: str
    invocations: float
    cpu: float
    """Seconds."""
    waits: float
    """Seconds in which nothing else of the same invocation was done."""
    meter: Meter
    things: int
    """What the meter has counted over."""
    logged: float
    """Bytes."""

    def lines(self) -> Iterator[Line]:
        """Its part of the bill."""
        name, things = self.name, self.things
        gigabytes, vcpu = _memory(self.function) / 1024, min(1.0, _memory(self.function) / scale.FULL_VCPU)
        yield Line(name, "Lambda requests", self.invocations, "Lambda request")
        seconds = self.cpu / vcpu + self.waits
        yield Line(
            name,
            f"Lambda {1000 * seconds:.1f} ms at {1024 * gigabytes:.0f} MB",
            seconds * gigabytes,
            "Lambda GB-second",
        )
        for table, units in sorted(self.meter.writes.items()):
            yield Line(name, f"writes {table}", units / things, "write unit")
        for table, units in sorted(self.meter.reads.items()):
            yield Line(name, f"reads {table}", units / things, "read unit")
        for service, price in (("events", "event"), ("sqs", "SQS request"), ("kms", "KMS call")):
            if number := self.meter.charged[service]:
                yield Line(name, service, number / things, price)
        told, traced = _told(self.function)
        if logged := self.logged + told * self.invocations:
            yield Line(name, "logs", logged, "log GB")
        if traced:
            yield Line(name, "traces", TRACED * self.invocations, "trace")


class Option(NamedTuple):
    """What would bring a bill down."""

    what: str
    saves: float
    """Dollars a million."""


class Bill(NamedTuple):
    """What something costs, and what it may cost."""

    title: str
    lines: Sequence[Line]
    budget: float | None = None
    options: Sequence[Option] = ()

    @property
    def dollars(self) -> float:
        """For a million."""
        return sum(line.dollars for line in self.lines)

    def of(self, what: str, stage: str = "") -> float:
        """What the lines of this name cost, in all stages or in one."""
        return sum(line.dollars for line in self.lines if line.what == what and stage in ("", line.stage))

    def text(self) -> str:
        """The bill as markdown."""
        rows = [
            f"## {self.title}\n",
            "| stage | what | used for each | $ a million |",
            "| --- | --- | ---: | ---: |",
            *(f"| {line.stage} | {line.what} | {line.used:.4g} | {line.dollars:.3f} |" for line in self.lines),
            f"| | **all** | | **{self.dollars:.2f}** |",
        ]
        if self.budget is not None:
            held = "holds" if self.dollars <= self.budget else f"is missed {self.dollars / self.budget:.1f} times over"
            rows += ["", f"The budget of ${self.budget:.2f} a million {held}."]
        if self.options:
            rows += ["", "| what would bring it down | saves, $ | left, $ |", "| --- | ---: | ---: |"]
            left = self.dollars
            for option in (each for each in self.options if each.saves >= CENT):
                left -= option.saves
                rows.append(f"| {option.what} | {option.saves:.2f} | {left:.2f} |")
        return "\n".join(rows)


@contextmanager
def measuring() -> Iterator[tuple[Running, Egress]]:
    """An AWS and the platforms in this process, and the way to them."""
    with (
        tempfile.TemporaryDirectory() as folder,
        fake_aws.account(),
        serve(Path(folder)) as running,
        _logged_to(_Taken()),
    ):
        http = Egress(local_ca=str(running.ca))
        yield running, http
        http.close()


def measure() -> list[Bill]:
    """Every bill."""
    with measuring() as (running, http):
        dispatched = _dispatched()
        connected = [_connected(running, name, _RECORDS, http) for name in ("counted", "timed")]
        return [
            *_webhooks([_connected(running, f"webhooks-{n}", _DELIVERIES, http) for n in range(STORES)]),
            *_records(connected, http),
            _idle_bill(connected[0], http, dispatched),
            _refreshes(),
        ]


class _Connected(NamedTuple):
    """A store, and its shop in the sandbox."""

    store: Store
    shop: Shop


def _connected(running: Running, name: str, orders: int, http: Egress) -> _Connected:
    sizes = Sizes(products=3, variable=0, orders=orders)
    shop = running.sandbox.woocommerce.open(name, seed=1, sizes=sizes).shop
    key = shop.add_key("read_write")
    given = {"apiKey": key.consumer_key, "apiSecret": key.consumer_secret, "domain": f"{running.base_url}/{name}"}
    new = schemas.NewStore.model_validate({"name": name, "platform": "WOO_COMMERCE", **given})
    return _Connected(connecting.connect(new, Caller("user1"), http, clock.now()), shop)


# ── Measuring ────────────────────────────────────────────────────────────────────────────────────


class _Taken:
    """CPU time and logs of a piece of work."""

    cpu = 0.0
    logged = 0

    @contextmanager
    def measuring(self, seconds: Callable[[], float] = time.thread_time) -> Iterator[None]:
        """Leaves out what the AWS in this process takes."""
        foreign = 0.0

        def send(event_name: str, request: Any, **rest: Any) -> Any:
            nonlocal foreign
            began = time.thread_time()
            answer = botocore_stubber(event_name, request, **rest)
            foreign += time.thread_time() - began
            return answer

        made = (clients.dynamodb(), clients.kms(), clients.sqs(), clients.events(), clients.secrets())
        with ExitStack() as stack:
            for client in made:
                client.meta.events.register_first("before-send.*.*", send, unique_id="cost")
                stack.callback(client.meta.events.unregister, "before-send.*.*", unique_id="cost")
            stack.enter_context(_logged_to(self))
            began = seconds()
            yield
            self.cpu += seconds() - began - foreign

    def write(self, text: str) -> int:
        """Takes a line of the log."""
        self.logged += len(text.encode())
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


@contextmanager
def _logged_to(taken: _Taken) -> Iterator[None]:
    handler = cast("logging.StreamHandler[Any]", logger.registered_handler)
    before = handler.setStream(cast("Any", taken))
    yield
    if before is not None:
        handler.setStream(before)


def _stage(
    name: str, function: str, halves: tuple[Sequence[Any], Sequence[Any]], work: Callable[[Any], object], size: int
) -> Stage:
    """Works off one half while counting, and the other while taking the time; ``size`` things are in each piece."""
    meter, taken = Meter(), _Taken()
    counted, timed = halves
    with meter.counting():
        for piece in counted:
            work(piece)
    with taken.measuring():
        for piece in timed:
            work(piece)
    things, others = size * len(counted), size * len(timed)
    return Stage(
        name, function, 1 / size, taken.cpu / others, _waits(meter) / things, meter, things, taken.logged / others
    )


def _waits(meter: Meter) -> float:
    return sum(number * WAITS[name] for name, number in meter.calls.items())


def _memory(function: str) -> int:
    stack = template.load()
    return int(template.functions(stack)[function].get("MemorySize", stack["Globals"]["Function"]["MemorySize"]))


def _told(function: str) -> tuple[int, bool]:
    """The bytes that Lambda logs of its own for a good invocation, and whether it traces some of them."""
    stack = template.load()
    general, own = stack["Globals"]["Function"], template.functions(stack)[function]
    quiet = general["LoggingConfig"].get("SystemLogLevel") == "WARN"
    return 0 if quiet else PLATFORM_LOG, own.get("Tracing", general["Tracing"]) == "Active"


def access_log() -> int:
    """The bytes of a line of the access log, as the template formats it."""
    (api,) = template.of_type(template.load(), "AWS::Serverless::HttpApi").values()
    line: str = api["Properties"]["AccessLogSettings"]["Format"]
    for name, value in ACCESS_VALUES.items():
        line = line.replace(f"$context.{name}", value)
    if "$context." in line:
        raise SystemExit(f"What the access log has besides is not known: {line}")
    return len(line)


def _rows(table: str) -> dict[str, Item]:
    """A table's items by the text of their key."""
    client = get_session().create_client("dynamodb")
    items = (
        client.get_paginator("scan").paginate(TableName=f"{settings.current().table_prefix}-{table}").search("Items")
    )
    names = capacity.tables()[table].keys
    return {"/".join(item[name]["S"] for name in names): item for item in items}


class _Context:
    """What Lambda tells a function about its invocation."""

    function_name = "storelink-Function-AbCdEfGhIjKl"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:storelink-Function-AbCdEfGhIjKl"
    aws_request_id = "6f1f0b2e-0000-4000-8000-000000000000"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 60_000


def _stream_record(table: str, old: Item | None, new: Item, number: int) -> dict[str, Any]:
    keys = {name: new[name] for name in capacity.tables()[table].keys}
    name = f"{settings.current().table_prefix}-{table}"
    return {
        "eventID": f"{number:032x}",
        "eventName": "MODIFY" if old else "INSERT",
        "eventSource": "aws:dynamodb",
        "eventSourceARN": f"arn:aws:dynamodb:us-east-1:123456789012:table/{name}/stream/2026-11-22T00:00:00.000",
        "dynamodb": {
            "Keys": keys,
            "NewImage": as_stream_image(new),
            **({"OldImage": as_stream_image(old)} if old else {}),
            "SequenceNumber": str(number),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
    }


def as_stream_image(item: Item) -> Item:
    """The image as Lambda gives it: bytes in base64."""
    return {
        name: {"B": base64.b64encode(value["B"]).decode()} if "B" in value else dict(value)
        for name, value in item.items()
    }


def _changed(table: str, before: Mapping[str, Item]) -> list[dict[str, Any]]:
    """The stream's records since ``before``, in the order in which they came."""
    changed = [(key, item) for key, item in _rows(table).items() if item != before.get(key)]
    changed.sort(key=lambda each: (each[1].get("received_at") or each[1]["changed_at"])["S"])
    return [_stream_record(table, before.get(key), item, number) for number, (key, item) in enumerate(changed)]


def _halves(pieces: Sequence[Any], size: int) -> tuple[list[Any], list[Any]]:
    """Batches of ``size`` for either half; one less is needed than would be even."""
    batches = [pieces[start : start + size] for start in range(0, len(pieces) - size + 1, size)]
    return batches[: len(batches) // 2], batches[len(batches) // 2 :]


# ── Webhooks ─────────────────────────────────────────────────────────────────────────────────────


def _next_span() -> None:
    """Until the next ten seconds begin: what comes within the same ones is noted in the same row, which grows."""
    time.sleep(10 - time.time() % 10)


def _webhooks(connected: Sequence[_Connected], rest: Callable[[], object] = _next_span) -> Iterator[Bill]:
    """Orders that are new to us, then the same orders changed."""
    rest()
    yield _webhook("new order", "order.created", _bodies(connected))
    for _, shop in connected:
        for order in shop.orders.values():
            shop.update_order(order, {"status": "completed", "customer_note": "Please leave it at the door."})
    rest()
    yield _webhook("changed order", "order.updated", _bodies(connected))


def _bodies(connected: Sequence[_Connected]) -> list[tuple[Store, bytes]]:
    """What the stores send, in turns."""
    each = [[(store, shop.order_text(order)) for order in shop.orders.values()] for store, shop in connected]
    return [sent for together in zip(*each, strict=True) for sent in together][: 2 * _DELIVERIES]


def _webhook(kind: str, topic: str, sent: Sequence[tuple[Store, bytes]]) -> Bill:
    from functions import process_webhook, publish_changes, receive_webhook

    events = [_delivery(store, topic, body, number) for number, (store, body) in enumerate(sent)]
    known, orders = _rows("deliveries"), _rows("orders")
    half = len(events) // 2
    receive = _stage(
        "receive", "receive_webhook", (events[:half], events[half:]), lambda event: _fine(receive_webhook, event), 1
    )
    came = _changed("deliveries", known)
    process = _stage("process", "process_webhook", _halves(came, BATCH), partial(_batch, process_webhook), BATCH)
    changed = _changed("orders", orders)
    publish = _stage("publish", "publish_changes", _halves(changed, BATCH), partial(_batch, publish_changes), BATCH)
    swept = _swept({store.id for store, _ in sent})
    lines = [
        Line("receive", "HTTP API", 1, "HTTP API request"),
        Line("receive", "access log", access_log(), "rarely read log GB"),
        *(line for stage in (receive, process, publish, swept) for line in stage.lines()),
    ]
    body = sorted(len(body) for _, body in sent)[len(sent) // 2]
    return Bill(f"A million webhooks: {kind}, {body:,} bytes, {_sizes()}", lines, WEBHOOK_BUDGET)


def _swept(stores: Iterable[str]) -> Stage:
    """What the daily looks for deliveries that nobody has handled read, for each as long as it is kept."""
    meter, later, kept = Meter(), clock.now() + timedelta(hours=1), _rows("deliveries").values()
    with meter.counting():
        for store in stores:
            for day in range(sweep.PARTS):
                sweep.sweep(store, later + timedelta(days=day))
    meter.reads["handled-deliveries"] *= sweep.LOOKED_BACK.days / sweep.PARTS
    # a query reads 4 KB at least; that is the store's, whose bill has it, and not the delivery's
    read = sum(map(capacity.item_size, kept)) / capacity.READ_UNIT / 2
    meter.reads["deliveries"] = read * KEPT_DAYS / sweep.PARTS
    return Stage("sweep", "sync_store", 0, 0, 0, meter, len(kept), 0)


def _fine(function: Any, event: dict[str, Any]) -> None:
    answer = function.lambda_handler(event, _Context())
    if answer["statusCode"] != 200:
        raise SystemExit(f"The receiver answered {answer}")


def _batch(function: Any, records: Sequence[dict[str, Any]]) -> None:
    answer = function.lambda_handler({"Records": list(records)}, _Context())
    if answer and answer["batchItemFailures"]:
        raise SystemExit(f"Not worked off: {answer}")


def _sizes() -> str:
    """How large the stored items are: the medians."""
    return "stored " + " and ".join(f"{table} {_median(table):,}" for table in ("deliveries", "orders"))


def _median(table: str) -> int:
    sizes = sorted(map(capacity.item_size, _rows(table).values()))
    return sizes[len(sizes) // 2]


def _delivery(store: Store, topic: str, body: bytes, number: int) -> dict[str, Any]:
    """WooCommerce's request, as API Gateway hands it over."""
    row = Credentials.get(store.id)
    opened = credentials.unseal(Purpose.WEBHOOK, store.id, store.platform, row.webhook_secrets, clock.now())
    resource, event = topic.split(".")
    return {
        "requestContext": {"requestId": f"JKJaXmPLvHcESHA={number}", "http": {"method": "POST"}},
        "pathParameters": {"platform": "WOO_COMMERCE", "connection": row.connection},
        "headers": {
            "content-type": "application/json",
            "user-agent": "WooCommerce/10.5.2 Hookshot (WordPress/6.9.7)",
            "x-amzn-trace-id": "Root=1-5e1b4151-5ac6c58f3375aa3c7c6b73c9",
            "x-forwarded-for": "203.0.113.7",
            "x-wc-webhook-source": f"{store.domain}/",
            "x-wc-webhook-topic": topic,
            "x-wc-webhook-resource": resource,
            "x-wc-webhook-event": event,
            "x-wc-webhook-signature": base64.b64encode(
                hmac.digest(opened["current"].encode(), body, "sha256")
            ).decode(),
            "x-wc-webhook-id": "1",
            "x-wc-webhook-delivery-id": f"{number:032x}",
        },
        "body": body.decode(),
    }


# ── Syncs ────────────────────────────────────────────────────────────────────────────────────────


class _Dispatched(NamedTuple):
    """A store's share of a tick of the dispatcher."""

    read_units: float
    gigabyte_seconds: float


def _dispatched() -> _Dispatched:
    with scale.as_deployed():
        population = scale.Population("", 20_000, {300: 1})
        tick = scale.measure(population, scale.wheel_of(population), 2)
    megabytes = _memory("dispatch_syncs")
    return _Dispatched(tick.read_units / tick.due, tick.lambda_seconds(megabytes) * megabytes / 1024 / tick.due)


def _records(stores: Sequence[_Connected], http: Egress) -> Iterator[Bill]:
    """First imports, then all orders changed."""
    yield _sync_bill("the first import", stores, http)
    for _, shop in stores:
        for order in shop.orders.values():
            shop.update_order(order, {"status": "completed", "customer_note": "Please leave it at the door."})
    yield _sync_bill("changed orders, in pages of 100", stores, http)


def _sync_bill(title: str, stores: Sequence[_Connected], http: Egress) -> Bill:
    from functions import publish_changes

    before = _rows("orders")
    counted, timed = stores
    meter, taken = Meter(), _Taken()
    with meter.counting():
        run = _sync(counted.store, http)
    with taken.measuring():
        _sync(timed.store, http)
    if run.changed < _RECORDS:
        raise SystemExit(f"Only {run.changed} records changed.")
    pages = run.changed / 100
    waits = (_waits(meter) + pages * WAITS["platform page"]) / run.changed / BUSY
    synced = Stage(
        "sync", "sync_store", 1 / 10_000, taken.cpu / run.changed, waits, meter, run.changed, taken.logged / run.changed
    )
    changed = _changed("orders", before)
    publish = _stage("publish", "publish_changes", _halves(changed, BULK), partial(_batch, publish_changes), BULK)
    lines = [*synced.lines(), *publish.lines()]
    size = _median("orders")
    return Bill(f"A million synced records: {title}, stored in {size:,} bytes", lines, RECORD_BUDGET)


def _sync(store: Store, http: Egress, at: datetime | None = None, **options: Any) -> sync.Run:
    now = at or clock.now()
    run = sync.run(store.id, http, (lambda: now) if at else clock.now, now + timedelta(minutes=10), **options)
    if run.outcome != "COMPLETE":
        raise SystemExit(f"The sync did not end well: {run.outcome} {run.reason} {run.detail}")
    return run


def _idle_bill(connected: _Connected, http: Egress, dispatched: _Dispatched) -> Bill:
    """A store where nothing happens for a month, synced every five minutes, and once a day in full."""
    store = connected.store
    connected.shop.clock_offset = 3_600  # what changed last is not looked at again any more
    later = clock.now() + timedelta(hours=1)
    _sync(store, http, at=later)
    alone = _runs("sync", store, http, at=later + timedelta(minutes=1))
    full = _shared(_runs("daily full", store, http, at=later + timedelta(minutes=1), full=True), BUSY)
    quiet, together = _shared(alone, BUSY), _shared(alone, sync.STORES_PER_MESSAGE)
    share = 1 / sync.STORES_PER_MESSAGE
    with scale.as_deployed():
        groups = settings.current().key_groups
    message = scale.deployment(WAITS["platform"] * 2).message_seconds
    decrypts = groups / (keys.HELD.total_seconds() * sync.STORES_PER_MESSAGE / message)
    each = [
        Line("dispatch", "reads sync-states/wheel", dispatched.read_units, "read unit"),
        Line("dispatch", "Lambda", dispatched.gigabyte_seconds, "Lambda GB-second"),
        Line("dispatch", "SQS: a tenth of a batch, a receive and a delete for 20 stores", 2.1 * share, "SQS request"),
        *quiet.lines(),
        Line("sync", "KMS, an environment's 64 keys in 300 s", decrypts, "KMS call"),
        Line("sync", "reads key-groups", decrypts, "read unit"),
    ]
    days = MONTH / timedelta(days=1)
    lines = [line._replace(used=line.used * SYNCS) for line in each]
    lines += [line._replace(used=line.used * days) for line in full.lines()]
    lines.append(Line("store", "stored, with its index entries", _stored(store), "stored GB-month"))
    bill = Bill(f"A million idle stores for a month, {SYNCS:,.0f} syncs each, {_RECORDS} orders", lines)
    saved = (quiet.waits - together.waits) * _memory("sync_store") / 1024 * SYNCS * PRICES["Lambda GB-second"].dollars
    at_once = Option(f"all {sync.STORES_PER_MESSAGE} stores of a message at once, not {sync.AT_ONCE}", saved)
    return bill._replace(options=[at_once, *_idle_options(bill, saved)])


def _runs(name: str, store: Store, http: Egress, **options: Any) -> Stage:
    """The mean of some runs that find nothing, each with its own waits."""
    meter, taken = Meter(), _Taken()
    with meter.counting():
        _sync(store, http, **options)
    with taken.measuring():
        for _number in range(_RUNS):
            _sync(store, http, **options)
    pages = 2 + _RECORDS / 100 if options.get("full") else 0
    waits = _waits(meter) + (2 + pages) * WAITS["platform"]
    share = 1 / sync.STORES_PER_MESSAGE
    return Stage(name, "sync_store", share, taken.cpu / _RUNS, waits, meter, 1, taken.logged / _RUNS)


def _shared(stage: Stage, stores: float) -> Stage:
    """The same where so many stores wait at the same time. CPU time is hidden behind the waits, or they behind it."""
    vcpu = min(1.0, _memory(stage.function) / scale.FULL_VCPU)
    return stage._replace(waits=max(0.0, stage.waits / stores - stage.cpu / vcpu))


def _stored(store: Store) -> float:
    """Bytes of what a store has but for its records."""
    mine = {"stores": store.id, "credentials": store.id, "sync-states": store.id}
    items = {table: _rows(table)[key] for table, key in mine.items()}
    entries = [(items[table], index) for table in items for index in capacity.tables()[table].indexes]
    parts = [*items.values(), *(entry for item, index in entries if (entry := index.entry(item)))]
    return sum(capacity.item_size(part) + STORED_OVERHEAD for part in parts)


def _idle_options(bill: Bill, saved: float) -> list[Option]:
    """With what was ``saved`` already."""
    writes = bill.of("writes sync-states", "sync")
    reads = bill.of("reads stores", "sync") + bill.of("reads credentials", "sync")
    quiet = sum(line.dollars for line in bill.lines if line.stage in {"dispatch", "sync"})
    left = quiet - saved - (writes + reads) / 2
    return [
        Option("one write a run: the lease is taken only where there is something to write", writes / 2),
        Option("store and credentials read without consistency", reads / 2),
        Option("webhooks first: a sync an hour for a store whose webhooks come", left * 11 / 12),
    ]


# ── Refreshes ────────────────────────────────────────────────────────────────────────────────────


class _TokenEndpoint:
    """A platform that gives another pair to whoever asks."""

    def __init__(self) -> None:
        self._given = 0

    def request(self, *_: Any, **__: Any) -> Answer:
        self._given += 1
        content = {
            "access_token": f"shpat_{self._given:032x}",
            "expires_in": 3600,
            "refresh_token": f"shprt_{self._given:032x}",
            "refresh_token_expires_in": 7776000,
            "scope": "read_products,read_orders",
        }
        return Answer(200, {"content-type": "application/json"}, json.dumps(content).encode())

    def within(self, _: float) -> "_TokenEndpoint":
        return self


def _refreshes() -> Bill:
    """Shopify's pairs, which live an hour and rotate."""
    registration = json.dumps(APPS[PlatformName.SHOPIFY])
    clients.secrets().create_secret(Name=f"{settings.current().apps}/{PlatformName.SHOPIFY}", SecretString=registration)
    now, meter, taken = clock.now(), Meter(), _Taken()
    ids = [_shopify_store(f"refresh-{number}", now).id for number in range(2 * _REFRESHES)]
    http, later = _TokenEndpoint(), now + timedelta(minutes=56)
    due = Credentials.refresh_due_at.set(clock.to_text(now + timedelta(days=2)))
    for id in ids[_REFRESHES:]:
        Credentials(id).update(actions=[due])
    for id in ids:
        credentials.make_ready(Purpose.API, id, later)  # a warm environment holds the keys
    with meter.counting():
        _refreshed(tokens.refresh_due(http, lambda: later, later + timedelta(minutes=4)))
        for id in ids[:_REFRESHES]:
            tokens.proved(Credentials.get(id, consistent_read=True))
    for id in ids[_REFRESHES:]:
        Credentials(id).update(actions=[Credentials.refresh_due_at.set(clock.to_text(now))])
    with taken.measuring(time.process_time):
        _refreshed(tokens.refresh_due(http, lambda: later, later + timedelta(minutes=4)))
    waits = _waits(meter) / _REFRESHES + WAITS["platform"]
    cpu, logged = taken.cpu / _REFRESHES, taken.logged / _REFRESHES
    alone = Stage("refresh", "refresh_tokens", 0, cpu, waits, meter, _REFRESHES, logged)
    stage = _shared(alone, AT_ONCE)
    size = capacity.item_size(_rows("credentials")[ids[0]])
    bill = Bill(f"A million refreshes, the row of credentials has {size:,} bytes", list(stage.lines()))
    row = bill.of("writes credentials")
    return bill._replace(
        options=[
            Option("the lease in a row of its own, of one unit", row / 3 - PRICES["write unit"].dollars),
            Option("proof of the pair only in that row too", row / 3 - PRICES["write unit"].dollars),
            Option("no due date for tokens that a sync refreshes anyway", bill.of("writes credentials/refreshDue")),
        ]
    )


def _refreshed(number: int) -> None:
    if number != _REFRESHES:
        raise SystemExit(f"{number} refreshes instead of {_REFRESHES}.")


def _shopify_store(name: str, now: datetime) -> Store:
    domain = f"https://{name}.myshopify.com"
    new = schemas.NewStore.model_validate({"name": name, "platform": "SHOPIFY", "domain": domain})
    given = {"access_token": f"shpat_{name:0<32}", "refresh_token": f"shprt_{name:0<32}"}
    ends, grant_ends = now + timedelta(hours=1), now + timedelta(days=90)
    came = Tokens(given["access_token"], given["refresh_token"], ends, grant_ends)
    proof = connecting.Proof(Identity(name, domain, name, "USD", "UTC"), given, came)
    return connecting.establish(new, Caller("user1"), proof, now)


def main() -> None:
    """Measure and print."""
    bills = measure()
    print(f"List prices of {REGION}, {CHECKED}, without free tiers:\n")
    print("| price | $ | for a | source |", "| --- | ---: | --- | --- |", sep="\n")
    print("\n".join(f"| {name} | {each.dollars:g} | {each.per} | {each.source} |" for name, each in PRICES.items()))
    for bill in bills:
        print("", bill.text(), sep="\n")


if __name__ == "__main__":
    main()
