"""The intake and the processing, cut off at every AWS call: before it takes effect, and after, before we know.

The steps are not sampled: a run without a fault counts them, and then each of them is the one that something
befalls. What may befall it are four things: the process is killed there, or the call fails while the process
lives on. The sender then tries again, and sends a copy too; the stream and the queue hand over again what was
not concluded, and once more what was.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, EndpointConnectionError, ReadTimeoutError
from fakes import FakePlatform, Killed, NoHttp, Steps, connected, held, register_app

from shared import (
    apps,
    clients,
    clock,
    delivery_log,
    exact_json,
    intake,
    keys,
    platforms,
    records,
    settings,
    stores,
    webhooks,
)
from shared.models import Delivery, Processing, Status
from shared.platforms.base import (
    Connection,
    Event,
    Http,
    Identity,
    PlatformError,
    PlatformName,
    PrivacyKind,
    PrivacyRequest,
    Record,
    Refusal,
    Resource,
    Verdict,
)

ORDERS = Resource.ORDERS
WOO = PlatformName.WOO_COMMERCE
SECRET = "w" * 48
APP_SECRET = "app-secret-1"
Json = dict[str, Any]


class Announcing(FakePlatform):
    """Signs its deliveries, to a store's address or the app's; a body is a list of events as a test writes them."""

    parsed_headers = frozenset({"x-store"})
    phrases = ()

    def verify(self, delivery, secrets, now):
        given = delivery.headers.get("x-signature", "")
        genuine = [hmac.digest(secret.encode(), delivery.body, "sha256").hex() == given for secret in secrets]
        return Verdict.GENUINE if any(genuine) else Verdict.FORGED

    def app_secrets(self, app):
        return [app.client_secret]

    def topic(self, delivery):
        return delivery.headers["x-topic"]

    def event_id(self, delivery):
        return delivery.headers["x-id"]

    def store_of(self, delivery):
        return delivery.headers.get("x-store", "")

    def parse(self, delivery):
        return [_event(each) for each in json.loads(delivery.body)]

    def probe(self, connection: Connection, http: Http) -> Identity:
        self._called("probe")
        raise PlatformError(Refusal.CREDENTIALS, "The key is not known.", status=401)


def _event(each: Json) -> Event:
    if each.get("kind") == "uninstalled":
        return Event(None, access_lost=True, disconnected=True)
    if each.get("kind") == "erase":
        return Event(None, privacy=PrivacyRequest(PrivacyKind.ERASE_CUSTOMER, (each["id"],)))
    if "body" not in each:
        return Event(ORDERS, each["id"], deleted=each.get("kind") == "deleted")
    return Event(ORDERS, each["id"], record=Record(each["id"], clock.from_text(each["updatedAt"]), each["body"]))


@dataclass
class Case:
    """A delivery, and what it must have led to in the end: once."""

    name: str
    body: Callable[[datetime], Any]
    ends: Callable[["World"], object]
    """What is looked at in the end."""
    expected: object
    effects: Sequence[tuple[str, int]]
    """How often a row of which table is written, for all copies and all hand-overs together."""
    prepare: Callable[["World"], None] = lambda world: None
    to_app: bool = False
    outcome: Processing = Processing.PROCESSED
    connected: bool = True


def order(world: "World") -> object:
    """The order as callers see it; ``None`` where it does not exist."""
    return records.to_view(row).get("total") if (row := world.row("orders", "o1")) is not None else None


def _buried(world: "World") -> object:
    return records.is_buried(world.store, ORDERS, "o1")


def _status(world: "World") -> object:
    found = stores.find(world.store)
    return found and found.status


def _erased(world: "World") -> object:
    row = world.row("orders", "o1")
    return row is not None and records.body_of(row).get("customer"), len(world.rows("privacy-requests"))


def _evidence(world: "World") -> object:
    return len(world.rows("privacy-requests"))


def _at_platform(world: "World", **body: object) -> None:
    world.platform.put(ORDERS, "o1", world.now, **body)


def _known(world: "World", **body: object) -> None:
    record = Record("o1", world.now - timedelta(days=1), {"id": "o1", **body})
    records.save(world.store, ORDERS, record, "EUR", world.now - timedelta(days=1), world.now)


def _down_once(world: "World") -> None:
    _at_platform(world, total="7.00")

    def down(call: str) -> None:
        world.platform.before = lambda call: None
        raise PlatformError(Refusal.TRANSIENT, "The store answered 502.", status=502)

    world.platform.before = down


def _down(world: "World") -> None:
    def down(call: str) -> None:
        raise PlatformError(Refusal.TRANSIENT, "The store answered 502.", status=502)

    world.platform.before = down


def _whole(now: datetime, **body: object) -> list[Json]:
    return [{"id": "o1", "updatedAt": clock.to_text(now), "body": {"id": "o1", "total": "5.00", **body}}]


def _large(now: datetime) -> list[Json]:
    """The same, in a delivery that no compression makes small enough for an item."""
    return [{**_whole(now)[0], "unread": NOISE}]


def _too_large(now: datetime) -> list[Json]:
    """An order that does not fit into an item either."""
    return _whole(now, note=NOISE)


_HASHES = (hashlib.sha512(str(number).encode()).digest() for number in range(6400))
NOISE = base64.b64encode(b"".join(_HASHES)).decode()


CASES = [
    Case("whole", _whole, order, "5.00", [("orders", 1)]),
    Case("large", _large, order, "5.00", [("orders", 1)]),
    Case(
        "looked up",
        lambda now: [{"id": "o1"}],
        order,
        "7.00",
        [("orders", 1)],
        lambda world: _at_platform(world, total="7.00"),
    ),
    Case("deleted", lambda now: [{"id": "o1", "kind": "deleted"}], _buried, True, [("orders", 1)], _known),
    Case("tried again", lambda now: [{"id": "o1"}], order, "7.00", [("orders", 1)], _down_once),
    Case("poison", lambda now: [{"id": "o1"}], order, None, [], _down, outcome=Processing.DEAD_LETTERED),
    Case("too large to be kept", _too_large, order, None, [], outcome=Processing.DEAD_LETTERED),
    Case("to the app", _whole, order, "5.00", [("orders", 1)], to_app=True),
    Case(
        "uninstalled",
        lambda now: [{"kind": "uninstalled"}],
        _status,
        Status.DISCONNECTED,
        [("stores", 1)],
        to_app=True,
    ),
    Case(
        "erase a customer",
        lambda now: [{"kind": "erase", "id": "o1"}],
        _erased,
        (None, 1),
        [("orders", 1), ("privacy-requests", 1)],
        lambda world: _known(world, customer={"name": "Buyer 17"}),
        to_app=True,
    ),
    Case(
        "erase, store gone",
        lambda now: [{"kind": "erase", "id": "o1"}],
        _evidence,
        1,
        [("privacy-requests", 1)],
        to_app=True,
        connected=False,
    ),
]

TABLES = {"orders": "id", "products": "id", "privacy-requests": "request", "stores": "id"}
"""Where effects are seen, and by which attribute their rows are told apart."""


@dataclass
class World:
    """One store, its platform, whoever sends, the stream and the queues; and what was seen of all that."""

    store: str
    platform: Announcing
    now: datetime
    steps: Steps
    case: Case
    acknowledged: set[str] = field(default_factory=set)
    streamed: set[str] = field(default_factory=set)
    """What the stream has handed over: it does so when a row comes, and again only as long as it does not hear."""
    violations: list[str] = field(default_factory=list)
    effects: dict[tuple[str, str], int] = field(default_factory=dict)
    _seen: dict[tuple[str, str], Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.case.connected:
            connected(self.store, self.now)
        self.case.prepare(self)
        self.look()
        self.effects.clear()
        self.steps.after_each = self._note
        self.body = json.dumps(self.case.body(self.now)).encode()

    def _note(self, call: str) -> None:
        if call in {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"}:
            self.look()

    def rows(self, table: str) -> list[Json]:
        """What a table holds that belongs to this world."""
        names = {self.store, f"{WOO}#{self.store}.example.com"}
        owner = {"stores": "id", "privacy-requests": "store"}.get(table, "store_id")
        return [row for row in held(table) if row[owner]["S"] in names]

    def row(self, table: str, id: str) -> Any:
        """One row as its model, or ``None``."""
        model = records.TABLES[Resource(table)]
        return next(iter(model.query(self.store, model.id == id, consistent_read=True)), None)

    def look(self) -> None:
        """Counts what has been written since the last look."""
        for table, key in TABLES.items():
            for row in self.rows(table):
                place = table, row[key]["S"]
                if self._seen.get(place) != row:
                    self.effects[place] = self.effects.get(place, 0) + 1
                    self._seen[place] = row

    def deliveries(self) -> list[Delivery]:
        """What was taken in."""
        found = []
        for row in self.rows("deliveries"):
            found.append(Delivery())
            found[-1].from_dynamodb_dict(row)
        return found

    # The sender

    def request(self) -> Json:
        """The same delivery each time, as API Gateway hands it over."""
        secret = APP_SECRET if self.case.to_app else SECRET
        headers = {
            "x-id": "event-1",
            "x-topic": "orders/updated",
            "x-store": f"{self.store}.example.com",
            "x-signature": hmac.digest(secret.encode(), self.body, "sha256").hex(),
        }
        connection = {} if self.case.to_app else {"connection": self.connection}
        return {
            "requestContext": {"http": {"method": "POST"}},
            "pathParameters": {"platform": WOO, **connection},
            "headers": headers,
            "body": self.body.decode(),
            "isBase64Encoded": False,
        }

    @property
    def connection(self) -> str:
        return str(self.rows("credentials")[0]["connection"]["S"])

    def send(self) -> None:
        """One delivery, until it is acknowledged; whoever was killed is started again."""
        request = self.request()
        for _ in range(4):
            answer = self._alive(lambda: intake.answer(request, self._later()))
            if answer is not None and answer["statusCode"] == 200:
                self._acknowledge()
                return
            if answer is not None and answer["statusCode"] != 503:
                self.violations.append(f"our fault was answered {answer['statusCode']}")
        self.violations.append("it was never acknowledged")

    def _acknowledge(self) -> None:
        with self.steps.aside():
            held = [row for row in self.deliveries() if webhooks._body(row, self.platform) == self.body]
        if not held:
            self.violations.append("acknowledged, but not stored")
        self.acknowledged.add(self.store)

    # The stream and the queues

    def hand_over(self) -> None:
        """What came into the stream and what is in the queue: until it is worked off, and then once more."""
        for delivery in self.deliveries():
            if delivery.delivery not in self.streamed:
                self.streamed.add(delivery.delivery)
                self._until_done(delivery.delivery, lambda key: {"dynamodb": {"NewImage": self._image(key)}})
        for _ in range(5 * webhooks.ATTEMPTS):
            if not self._hand_over_queue():
                return
        self.violations.append("the queue is never empty")

    def _hand_over_queue(self) -> bool:
        with self.steps.aside():
            queue = settings.current().delivery_queue_url
            found = clients.sqs().receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in found:
            record = {"body": message["Body"], "attributes": {"ApproximateReceiveCount": "1"}}
            self._until_done(exact_json.loads(message["Body"])["delivery"], lambda _: record)  # noqa: B023 - at once
            with self.steps.aside():
                clients.sqs().delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return bool(found)

    def _until_done(self, key: str, record: Callable[[str], Json]) -> None:
        for _ in range(4):
            if self._alive(lambda: self._handle(record(key))):
                break
        else:
            self.violations.append("processing never ends")
        # it was done, but whoever hands over did not hear of it
        if self.steps.at is not None and any(outcome in delivery_log.DONE for outcome in self.outcomes()):
            self._alive(lambda: self._handle(record(key)))

    def _handle(self, record: Json) -> bool:
        with webhooks.Handling(NoHttp(), self._later) as handling:
            handling.take(record)
        return True

    def _image(self, key: str) -> Json:
        """The delivery as it came: the stream has no other."""
        (row,) = (row for row in self.deliveries() if row.delivery == key)
        row.outcome, row.attempts, row.cause = Processing.PENDING, 0, None
        return dict(row.to_dynamodb_dict())

    def outcomes(self) -> list[Processing]:
        """What became of what was taken in, as a reader of the list and of the rows sees it."""
        with self.steps.aside():
            rows = self.deliveries()
            noted = {
                each.delivery: each.outcome
                for store_id in {row.store_id for row in rows}
                for each in delivery_log.newest_first(store_id)
            }
        done = {delivery: outcome for delivery, outcome in noted.items() if outcome in delivery_log.DONE}
        return [done.get(row.delivery, row.outcome) for row in rows]

    def _alive(self, work: Callable[[], Any]) -> Any:
        """What ``work`` gives; ``None`` where it died, or failed, and is started anew."""
        try:
            return work()
        except (Killed, Exception):  # noqa: BLE001 Lambda hands over again, whatever it was
            self.steps.dead = False
            _start_anew()
            return None

    def _later(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    # In the end

    def judged(self) -> list[str]:
        """What is wrong, after everything has come to rest."""
        found = list(self.violations)
        rows = self.deliveries()
        if self.acknowledged and self.outcomes() != [self.case.outcome]:
            found.append(f"acknowledged, but not processed: {self.outcomes()}")
        if self.case.outcome is Processing.DEAD_LETTERED:
            found += [] if rows and rows[0].cause and self._is_dead_letter(rows[0].delivery) else ["no dead letter"]
        if (ended := self.case.ends(self)) != self.case.expected:
            found.append(f"it led to {ended!r}")
        seen: dict[str, int] = {}
        for (table, _), times in self.effects.items():
            seen[table] = seen.get(table, 0) + times
        if seen != dict(self.case.effects):
            found.append(f"effects: {seen}")
        return found

    def _is_dead_letter(self, key: str) -> bool:
        queue = settings.current().delivery_dead_letters_url
        found = clients.sqs().receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in found:
            clients.sqs().delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return key in {exact_json.loads(message["Body"])["delivery"] for message in found}


_WRITES = ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "PutObject", "SendMessage")
_NEVER = 10**9


def _start_anew() -> None:
    """A new process knows nothing."""
    intake.forget()
    keys.forget()
    apps.forget()


def _fails(step: str) -> None:
    """The call fails and the process goes on: before, it never reached AWS; after, its answer is lost."""
    if step.startswith("before"):
        raise EndpointConnectionError(endpoint_url="https://aws.example.com")
    raise ReadTimeoutError(endpoint_url="https://aws.example.com")


@dataclass
class Lives:
    """Lets one delivery after the other live through the same, each with another fault."""

    steps: Steps
    now: datetime
    patch: pytest.MonkeyPatch
    number: int = 0

    def live(self, case: Case, at: int | None = None, how: str = "killed") -> tuple[list[str], list[str]]:
        """Sent until it is acknowledged, processed, sent once more as a copy, with one fault on its way.

        The steps that were taken, and what was wrong in the end. Without any ``at``, each is handed over once.
        """
        self.number += 1
        platform = Announcing()
        self.patch.setattr(platforms, "PLATFORMS", {WOO: platform})
        with self.steps.aside():
            world = World(f"s{self.number}", platform, self.now, self.steps, case)
        _start_anew()
        self.steps.taken, self.steps.at = [], at
        self.steps.then = self.steps.kill if how == "killed" else _fails
        world.send()
        world.hand_over()
        world.send()
        world.hand_over()
        with self.steps.aside():
            return self.steps.taken, world.judged()

    def all(self, case: Case, *ways: str) -> dict[str, list[str]]:
        """What was wrong, for each step and each way to fail there; first of all where nothing fails."""
        steps, wrong = self.live(case, _NEVER)
        found = {"no fault": self.live(case)[1], "handed over twice": wrong}
        for how in ways:
            for at, step in enumerate(steps):
                if how == "failed" and not step.endswith(_WRITES):
                    continue
                taken, wrong = self.live(case, at, how)
                assert taken[at] == step, "this life came to another step"
                found[f"{how} at {at}, {step}"] = wrong
        return found


@pytest.fixture
def lives(aws: None, now: datetime, monkeypatch: pytest.MonkeyPatch) -> Lives:
    """An AWS each call of which is a step."""
    monkeypatch.setattr(webhooks, "_FIRST_RETRY", timedelta(0))  # moto's queues wait by the real clock
    monkeypatch.setattr(webhooks, "ATTEMPTS", 3)
    register_app(WOO)
    steps = Steps()
    steps.watch("dynamodb", "kms", "sqs", "s3", "secrets")
    return Lives(steps, now, monkeypatch)


def wrong(found: dict[str, list[str]]) -> dict[str, list[str]]:
    return {step: violations for step, violations in found.items() if violations}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whoever_is_killed_loses_nothing_that_was_acknowledged_and_repeats_no_effect(lives, case):
    found = lives.all(case, "killed", "failed")

    assert wrong(found) == {}
    assert len(found) > 2 * 8, "there are steps to be killed at"
    assert {step.split(", ")[1] for step in found if step.startswith("killed")} >= {
        "before PutItem",
        "after PutItem",
        "before UpdateItem",
        "after UpdateItem",
    }


# Bugs, planted: whoever looks for them must find them


def planted_claim(adapter, platform, store_id, delivery, now):
    """Marks the event as seen, then stores it: who is killed between the two calls the retry a repeat."""
    key = intake._key(platform, store_id, adapter.event_id(delivery), delivery.body)
    claim = {"claim": {"S": f"seen#{key}"}, "store": {"S": store_id}}
    try:
        clients.dynamodb().put_item(
            TableName="storelink-claims", Item=claim, ConditionExpression="attribute_not_exists(claim)"
        )
    except clients.dynamodb().exceptions.ConditionalCheckFailedException:
        return
    STORE(adapter, platform, store_id, delivery, now)


def planted_early_answer(adapter, platform, store_id, delivery, now):
    """Answers whether or not the write succeeded."""
    with suppress(BotoCoreError):
        STORE(adapter, platform, store_id, delivery, now)


def planted_early_conclusion(delivery, find, http, now):
    """Notes the delivery as processed before it is applied, for good."""
    entry = delivery_log.Handled(delivery.received_at, delivery.delivery, Processing.PROCESSED)
    if entry in delivery_log.newest_first(delivery.store_id):
        return Processing.PROCESSED, None
    delivery_log.note(delivery.store_id, [entry], now())
    return APPLY(delivery, find, http, now)


def planted_repeats(table, row):
    """Takes whatever comes for news."""
    return table.id.exists()


STORE, APPLY = intake._store, webhooks._apply


@pytest.mark.parametrize(
    ("place", "name", "bug", "how", "what"),
    [
        (intake, "_store", planted_claim, "killed", "acknowledged, but not stored"),
        (intake, "_store", planted_early_answer, "failed", "acknowledged, but not stored"),
        (webhooks, "_apply", planted_early_conclusion, "killed", "it led to None"),
        (records, "_newer", planted_repeats, "killed", "effects: {'orders': 2}"),
    ],
    ids=["claim before put", "answer before write", "processed before applied", "no idempotence"],
)
def test_a_planted_bug_is_found(lives, monkeypatch, place, name, bug, how, what):
    monkeypatch.setattr(place, name, bug)

    found = lives.all(CASES[0], how)

    assert found["no fault"] == [], "it works as long as nothing fails"
    assert what in {violation for violations in found.values() for violation in violations}
