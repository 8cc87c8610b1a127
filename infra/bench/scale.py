"""What a minute of the schedule costs with a million stores, by the real dispatcher.

    python -m infra.bench.scale                      tables, in about a minute
    python -m infra.bench.scale --run-seconds 1.5    the same where a store's sync takes that long

AWS is a stand-in behind botocore that answers what the dispatcher asks, in pages of 1 MB as DynamoDB does, and counts.
So requests are made, signed and read by the real libraries. Shards, memory and limits are those of the template.
Times on Lambda are arithmetic: our CPU time measured here, and what AWS is assumed to take for its answers.
"""

import argparse
import json
import logging
import math
import os
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from infra import fake_aws, template
from infra.bench import capacity
from shared import clients, keys, settings, sync, tokens, wheel
from shared.models import Dispatcher

PAGE = 1024 * 1024
"""A Query ends after so many bytes."""
FULL_VCPU = 1769
"""Megabytes that come with one whole CPU: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html."""
QUERY_SECONDS = 0.05
"""Assumed for a page of 1 MB; nothing here was measured on AWS."""
SEND_SECONDS = 0.01
"""Assumed for a call to SQS."""
RUN_SECONDS = 0.6
"""Assumed for a store's sync that finds nothing: two calls to its platform, and four to DynamoDB."""
REFRESH_SECONDS = 0.5
"""Assumed for a refresh: a call to the platform, and five to DynamoDB."""
REFRESHES_AT_ONCE = 8
"""As `shared/tokens.py` has it."""
WEBHOOKS = 1000.0
"""A second, of a million stores; `docs/scale.md` says why."""
HOUR_TOKENS = timedelta(hours=1)
START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
MILLION = 1_000_000


class Population(NamedTuple):
    """How many stores there are, and with which intervals."""

    name: str
    stores: int
    shares: Mapping[int, float]
    """By interval in seconds; the rest is switched off, and so not on the wheel."""


FIVE_MINUTES = 300
SAME_INTERVAL = [Population(f"{stores:,} every 5 minutes", stores, {300: 1}) for stores in (10_000, 100_000, MILLION)]
SAME_DUE = [
    Population("3,472 every 5 minutes", 3_472, {300: 1}),
    Population("41,667 every hour", 41_667, {3_600: 1}),
    Population("1,000,000 every day", MILLION, {86_400: 1}),
]
MIXED = Population("1,000,000 mixed, 20 % off", MILLION, {60: 0.05, 300: 0.40, 900: 0.20, 3_600: 0.10, 86_400: 0.05})


class Tick(NamedTuple):
    """What one tick of the dispatcher did."""

    due: int
    queries: int
    read_units: float
    messages: int
    sends: int
    cpu: float
    """Seconds of this process, without the stand-in's."""

    def lambda_seconds(self, megabytes: int) -> float:
        """How long it takes on a function of this size."""
        waits = self.queries * QUERY_SECONDS + self.sends * SEND_SECONDS
        return self.cpu * max(1.0, FULL_VCPU / megabytes) + waits


class StandIn:
    """DynamoDB's wheel index and the dispatcher's row, and the queue, as far as the dispatcher uses them."""

    def __init__(self, slots: Mapping[str, Sequence[str]], lengths: Iterable[int], page: int = PAGE) -> None:
        self._slots = slots
        self._page = page
        self._row: dict[str, Any] = {
            "store_id": {"S": Dispatcher.KEY},
            "intervals": {"NS": [str(length) for length in lengths]},
        }
        self.calls: Counter[str] = Counter()
        self.read_units = 0.0
        self.queued: list[list[str]] = []
        """The stores of each message."""
        self.cpu = 0.0
        """What answering took, in seconds."""

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Our clients reach this instead of AWS."""
        made = (clients.dynamodb(), clients.sqs())
        for client in made:
            client.meta.events.register_first("before-send.*.*", self._send, unique_id="scale")
        yield
        for client in made:
            client.meta.events.unregister("before-send.*.*", unique_id="scale")

    def _send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        began = time.thread_time()
        operation = request.headers["X-Amz-Target"].decode().split(".")[1]
        self.calls[operation] += 1
        answers = {
            "Query": self._query,
            "GetItem": lambda _: {"Item": self._row},
            "UpdateItem": self._update,
            "SendMessageBatch": self._take,
        }
        answer = answers[operation](json.loads(request.body))
        response = AWSResponse(request.url, 200, _HEADERS, _Raw(json.dumps(answer).encode()))
        self.cpu += time.thread_time() - began
        return response

    def _query(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A page of a slot. It ends after a megabyte, and at least after one item."""
        ((slot,),) = (value.values() for value in asked["ExpressionAttributeValues"].values())
        ids = self._slots.get(slot, ())
        start = bisect_right(ids, asked["ExclusiveStartKey"]["store_id"]["S"]) if "ExclusiveStartKey" in asked else 0
        size = capacity.item_size(_entry(slot, ids[start])) if start < len(ids) else 1
        page = ids[start : start + max(1, self._page // size)]
        self.read_units += capacity.read_units(size * len(page), consistent=False)
        more = start + len(page) < len(ids)
        return {
            "Count": len(page),
            "ScannedCount": len(page),
            "Items": [_entry(slot, id) for id in page],
            **({"LastEvaluatedKey": _entry(slot, page[-1])} if more else {}),
        }

    def _update(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The one update there is, of the last tick; its condition is true while there is one dispatcher."""
        self._row["last_tick"] = next(iter(asked["ExpressionAttributeValues"].values()))
        return {"Attributes": self._row}

    def _take(self, asked: dict[str, Any]) -> dict[str, Any]:
        entries = asked["Entries"]
        if len(entries) > 10 or sum(len(entry["MessageBody"]) for entry in entries) > 256 * 1024:
            raise ValueError("SQS takes ten messages and 256 KB at once.")
        self.queued += [json.loads(entry["MessageBody"])["stores"] for entry in entries]
        return {"Successful": [{"Id": each["Id"], "MessageId": "1", "MD5OfMessageBody": ""} for each in entries]}


_HEADERS = {"content-type": "application/x-amz-json-1.0"}


class _Raw:
    """A body as urllib3 would give it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self._body


def _entry(slot: str, id: str) -> dict[str, dict[str, str]]:
    """What the index holds of a store: keys only, the table's among them."""
    return {"slot": {"S": slot}, "store_id": {"S": id}}


def wheel_of(population: Population) -> dict[str, list[str]]:
    """The wheel index with these stores on it; ids have the length of ours, and are in order."""
    bounds: list[tuple[int, int]] = []
    share = 0.0
    for interval, part in population.shares.items():
        share += part
        bounds.append((round(share * population.stores), interval))
    slots: dict[str, list[str]] = {}
    number = 0
    for end, interval in bounds:
        for number in range(number, end):  # noqa: B020 each part goes on where the last one ended
            id = f"{number:024x}"
            slots.setdefault(wheel.slot(id, interval), []).append(id)
        number = end
    return slots


def lengths_of(population: Population) -> list[int]:
    """The intervals in use, in minutes."""
    return sorted({wheel.minutes(interval) for interval in population.shares})


def measure(population: Population, slots: Mapping[str, Sequence[str]], ticks: int) -> Tick:
    """The mean of some ticks in a row."""
    stand_in = StandIn(slots, lengths_of(population))
    with stand_in.serving():
        began = time.thread_time()
        due = sum(sync.dispatch(START + timedelta(minutes=number)) for number in range(ticks))
        cpu = time.thread_time() - began - stand_in.cpu
    return Tick(
        due // ticks,
        stand_in.calls["Query"] // ticks,
        stand_in.read_units / ticks,
        len(stand_in.queued) // ticks,
        stand_in.calls["SendMessageBatch"] // ticks,
        cpu / ticks,
    )


def flatness(population: Population, slots: Mapping[str, Sequence[str]]) -> tuple[int, int]:
    """The fewest and the most stores that are due in a minute."""
    lengths = lengths_of(population)
    sizes: Counter[tuple[int, int]] = Counter()
    for slot, ids in slots.items():
        length, phase, _ = slot.split("#")
        sizes[int(length), int(phase)] += len(ids)
    due = [sum(sizes[length, minute % length] for length in lengths) for minute in range(max(lengths))]
    return min(due), max(due)


@contextmanager
def as_deployed() -> Iterator[None]:
    """Settings as the template's defaults make them, instead of those of the tests."""
    parameters = template.load()["Parameters"]
    chosen = {"SHARDS": parameters["Shards"]["Default"], "KEY_GROUPS": parameters["KeyGroups"]["Default"]}
    os.environ.update({name: str(value) for name, value in chosen.items()})
    settings.current.cache_clear()
    clients.forget()
    try:
        yield
    finally:
        os.environ.update({name: fake_aws.ENVIRONMENT[name] for name in chosen})
        settings.current.cache_clear()
        clients.forget()


class Deployment(NamedTuple):
    """What the template says, and what follows from it."""

    megabytes: int
    timeout: int
    at_most: int
    """Invocations of sync_store at once."""
    requests: int
    """A second and route, before the API answers 429."""
    run_seconds: float

    @property
    def message_seconds(self) -> float:
        """How long an invocation has with its message: stores in rounds, as they take equally long here."""
        return math.ceil(sync.STORES_PER_MESSAGE / sync.AT_ONCE) * self.run_seconds

    def concurrency(self, messages_a_minute: float) -> float:
        """How many invocations run at once."""
        return messages_a_minute / 60 * self.message_seconds

    @property
    def most_stores(self) -> int:
        """How many stores at five minutes the limit on invocations can carry."""
        return round(self.at_most / self.message_seconds * sync.STORES_PER_MESSAGE * FIVE_MINUTES)


def deployment(run_seconds: float) -> Deployment:
    """The template's."""
    stack = template.load()
    function = template.functions(stack)["dispatch_syncs"]
    return Deployment(
        function.get("MemorySize", stack["Globals"]["Function"]["MemorySize"]),
        function["Timeout"],
        stack["Resources"]["SyncStoreFromQueue"]["Properties"]["ScalingConfig"]["MaximumConcurrency"],
        stack["Resources"]["Api"]["Properties"]["DefaultRouteSettings"]["ThrottlingRateLimit"],
        run_seconds,
    )


def ticks_table(measured: Sequence[tuple[Population, Tick, tuple[int, int]]], deployed: Deployment) -> str:
    """One line for each population."""
    heads = (
        "stores",
        "due",
        "Query calls",
        "read units",
        "messages = invocations",
        "SQS calls",
        "at once",
        "CPU, s",
        "on Lambda, s",
        "due a minute, least to most",
    )
    rows = [f"| {' | '.join(heads)} |", "| --- " + "| ---: " * (len(heads) - 1) + "|"]
    for population, tick, (least, most) in measured:
        rows.append(
            f"| {population.name} | {tick.due:,} | {tick.queries} | {tick.read_units:,.1f} | {tick.messages:,} "
            f"| {tick.sends:,} | {deployed.concurrency(tick.messages):,.1f} | {tick.cpu:.2f} "
            f"| {tick.lambda_seconds(deployed.megabytes):.1f} | {least:,} to {most:,} ({most / max(least, 1):.2f}) |"
        )
    return "\n".join(rows)


class Need(NamedTuple):
    """Something that a million stores at five minutes need, and how much of it there is."""

    what: str
    need: float
    limit: float
    whose: str
    """Ours, or where AWS or the platform says so."""
    grows: bool = True
    """Whether ten times the stores need ten times as much."""


def needs(tick: Tick, deployed: Deployment) -> list[Need]:
    """All that has a limit, for a tick of a million stores at five minutes."""
    stores = MILLION
    runs = tick.due / 60
    at_once = deployed.concurrency(tick.messages)
    groups = settings.current().key_groups
    held = keys.HELD.total_seconds()
    life = HOUR_TOKENS.total_seconds()
    ahead = stores / (life - min(life / 4, tokens.MOST_LEAD.total_seconds()))
    ebay_a_day = 86_400 / (7_200 * 3 / 4)
    return [
        Need("seconds of a tick of the dispatcher", tick.lambda_seconds(deployed.megabytes), deployed.timeout, "ours"),
        Need(
            "the same, after one tick that failed",
            2 * tick.lambda_seconds(deployed.megabytes),
            deployed.timeout,
            "ours",
        ),
        Need("invocations of sync_store at once", at_once, deployed.at_most, "ours: MaximumConcurrency"),
        Need("the same, against what a queue may have", at_once, 1_000, "lambda/…/services-sqs-scaling.html"),
        Need(
            "refreshes a second of tokens that live an hour",
            ahead,
            REFRESHES_AT_ONCE / REFRESH_SECONDS,
            "ours: one invocation, 8 threads",
        ),
        Need("refreshes a day at eBay, for every store there", stores * ebay_a_day, 50_000, "eBay, per app"),
        Need("write units a second, sync-states", 2 * runs, 40_000, "dynamodb/…/ServiceQuotas.html, per table"),
        Need("the same, on a table that is new", 2 * runs, 4_000, "dynamodb/…/on-demand-capacity-mode.html"),
        Need("read units a second, credentials", runs, 40_000, "dynamodb/…/ServiceQuotas.html, per table"),
        Need(
            "read units a second, one slot of the wheel",
            capacity.read_units(PAGE, consistent=False) / QUERY_SECONDS,
            3_000,
            "dynamodb/…, per partition",
            grows=False,
        ),
        Need("webhooks a second", WEBHOOKS, deployed.requests, "ours: ThrottlingRateLimit, per route"),
        Need("the same, against the account's", WEBHOOKS, 10_000, "apigateway/…/limits.html"),
        Need("PutEvents calls a second, a change each", WEBHOOKS, 10_000, "eventbridge/…/eb-quota.html, us-east-1"),
        Need(
            "KMS calls a second, by syncs",
            at_once * groups / held,
            20_000,
            "kms/…/requests-per-second.html, six regions",
        ),
        Need("GetSecretValue a second", at_once * 5 / 300, 10_000, "secretsmanager/…/reference_limits.html"),
        Need("messages a second", tick.messages / 60, math.inf, "SQS standard: nearly unlimited"),
    ]


def needs_table(found: Sequence[Need]) -> str:
    """What is short, at a million stores and at ten."""
    rows = ["| what | need | ten times that | limit | of it | whose |", "| --- | ---: | ---: | ---: | ---: | --- |"]
    for each in found:
        ten = each.need * (10 if each.grows else 1)
        share = each.need / each.limit
        word = " **over**" if share > 1 else " over at ten times" if ten > each.limit else ""
        limit = "none" if each.limit == math.inf else f"{each.limit:,.0f}"
        used = f"{100 * share:,.1f} %{word}"
        rows.append(f"| {each.what} | {each.need:,.1f} | {ten:,.0f} | {limit} | {used} | {each.whose} |")
    return "\n".join(rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What a minute of the schedule costs with a million stores.")
    parser.add_argument("--run-seconds", type=float, default=RUN_SECONDS, help="of one store's sync")
    deployed = deployment(parser.parse_args().run_seconds)
    logging.getLogger("storelink").setLevel(logging.WARNING)
    with as_deployed():
        print(f"{settings.current().shards} shards, {deployed.megabytes} MB, {deployed.run_seconds} s a sync\n")
        parts = {"Same interval": SAME_INTERVAL, "As many due": SAME_DUE, "Mixed intervals": [MIXED]}
        million = None
        for title, populations in parts.items():
            measured = []
            for population in populations:
                slots = wheel_of(population)
                tick = measure(population, slots, ticks=1 if population.stores >= MILLION else 5)
                measured.append((population, tick, flatness(population, slots)))
                million = tick if population is SAME_INTERVAL[-1] else million
            print(f"## {title}, a tick\n", ticks_table(measured, deployed), "", sep="\n")
        assert million is not None
        print("## A million stores every 5 minutes, against the limits\n")
        print(needs_table(needs(million, deployed)))
        print(f"\nMaximumConcurrency carries {deployed.most_stores:,} stores at 5 minutes.")


if __name__ == "__main__":
    main()
