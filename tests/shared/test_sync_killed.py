"""A sync, cut off at every step: each AWS call and each call to the platform, before it takes effect and after.

The steps are not sampled: a run without a fault counts them. After each fault the next runs go on where it ended,
and everything that was written on the way is judged: what is missing, what came twice, what ran ahead.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from fakes import Clock, FakeOAuthPlatform, FakePlatform, Killed, NoHttp, Steps, connected, held, register_app
from issuer import Issuer, connect

from shared import apps, changes, clients, clock, exact_json, keys, platforms, records, sync, wheel
from shared.models import Order, Outcome
from shared.platforms.base import Page, PlatformName, Record, Resource

ORDERS, PRODUCTS = Resource.ORDERS, Resource.PRODUCTS
Json = dict[str, Any]


class Stepwise:
    """Each call to the platform is two steps: before it has heard of it, and before we hear of its answer."""

    def __init__(self, steps: Steps) -> None:
        super().__init__()
        self.steps = steps
        self.cursors: list[str] = []
        """Those that pages were asked for by."""

    ready_at: Callable[[], datetime] | None = None
    """When the budget allows the next page."""
    newest: Sequence[Record] = ()
    missed: str = ""
    """What is in no page, as where a platform pages by times that it rounds."""

    @contextmanager
    def step(self, name):
        if self.steps.counting:
            self.steps(f"before {name}")
        yield
        if self.steps.counting:
            self.steps(f"after {name}")

    def fetch(self, connection, resource, cursor, http, now):
        with self.step("fetch"):
            self.cursors.append(f"{resource} {cursor}")
            page: Page = super().fetch(connection, resource, cursor, http, now)
            found = [record for record in page.records if record.id != self.missed]
            return page._replace(records=found, ready_at=self.ready_at() if self.ready_at else None)

    def fetch_one(self, *arguments):
        with self.step("fetch_one"):
            return super().fetch_one(*arguments)

    def list_ids(self, *arguments):
        with self.step("list_ids"):
            return super().list_ids(*arguments)

    def reconcile(self, *arguments):
        with self.step("reconcile"):
            return super().reconcile(*arguments)

    def newest_orders(self, connection, http, now):
        with self.step("newest_orders"):
            return self.newest

    def refresh(self, *arguments):
        with self.step("refresh"):
            return super().refresh(*arguments)


class Shop(Stepwise, FakePlatform):
    """By key."""


class OAuthShop(Stepwise, FakeOAuthPlatform):
    """By tokens."""


@dataclass
class World:
    """One store and its platform; who syncs it; and all that was written meanwhile."""

    id: str
    platform: Any
    clock: Clock
    steps: Steps
    violations: list[str] = field(default_factory=list)
    written: dict[tuple[Resource, str], list[str]] = field(default_factory=dict)
    """The change keys that each record had, one after the other."""
    stream: list[Json] = field(default_factory=list)
    """What the tables' streams hold and nobody has read."""
    outcomes: list[Outcome] = field(default_factory=list)
    _seen: dict[tuple[Resource, str], Json] = field(default_factory=dict)

    def begin(self) -> None:
        """From here on everything is looked at."""
        self._look()
        self.written.clear()
        self.stream.clear()
        self.steps.after_each = self._after

    def state(self) -> Json:
        """The row of the sync."""
        return next(row for row in held("sync-states") if row["store_id"]["S"] == self.id)

    def _after(self, call: str) -> None:
        if call in {"PutItem", "UpdateItem", "BatchWriteItem", "TransactWriteItems"}:
            self._look()
            self._is_ahead()

    def _look(self) -> None:
        for resource in Resource:
            for row in held(resource):
                place = resource, Order.id.deserialize(row["id"]["S"])
                if row["store_id"]["S"] == self.id and self._seen.get(place) != row:
                    self.written.setdefault(place, []).append(row["changed_at"]["S"])
                    images = {"NewImage": row} | ({"OldImage": self._seen[place]} if place in self._seen else {})
                    arn = f"arn:aws:dynamodb:eu-central-1:123456789012:table/storelink-{resource}/stream/1"
                    self.stream.append({"eventID": "1", "eventSourceARN": arn, "dynamodb": images})
                    self._seen[place] = row

    def _is_ahead(self) -> None:
        """The checkpoint says that all before it is stored."""
        cursors = exact_json.loads(self.state().get("checkpoint", {"S": "{}"})["S"])
        for resource in Resource:
            after = cursors.get(resource, {}).get("after", "")
            for record in self.platform.shop[resource].values():
                known = self._seen.get((resource, record.id))
                is_passed = (
                    record.id != self.platform.missed and f"{clock.to_text(record.updated_at)}{record.id}" <= after
                )
                if is_passed and (known is None or known["version"]["S"] < clock.to_text(record.updated_at)):
                    self.violations.append(f"the checkpoint is ahead of {resource} {record.id}")

    def read_streams(self) -> None:
        """Until nothing more comes: what a stream puts right is in the stream again."""
        while self.stream:
            events, self.stream[:] = [deepcopy(event) for event in self.stream], []
            with self.steps.aside():
                changes.publish(events, self.clock())
                self._look()

    def sync(self, now: Callable[[], datetime] | None = None, **options: object) -> sync.Run | None:
        """One run; ``None`` where it was killed or failed by our fault."""
        now = now or self.clock
        started = now()
        try:
            run = sync.run(self.id, NoHttp(), now, started + timedelta(minutes=15), pause=self._pause, **options)
        except (Killed, Exception):  # noqa: BLE001 the queue gives it again, whatever it was
            self.steps.dead = False
            _start_anew()
            return None
        self.outcomes.append(run.outcome)
        return run

    def _pause(self, seconds: float) -> None:
        if self.steps.counting:
            self.steps("before pause")
        self.clock.advance(seconds=seconds)

    def until_complete(self) -> None:
        """Run after run, each when its turn has come."""
        for _ in range(6):
            run = self.sync(full=True)
            if run is not None and run.outcome is Outcome.COMPLETE:
                return
            self.clock.advance(minutes=6)
        self.violations.append(f"it never completes: {self.outcomes}")

    def judged(self, times: int = 1) -> list[str]:
        """What is wrong, after everything has come to rest; each change may be seen so many times."""
        self.read_streams()
        found = [*dict.fromkeys(self.violations)]
        for resource in Resource:
            there = {id: record.body for id, record in self.platform.shop[resource].items()}
            rows = records.page(self.id, resource, 1000, None)[0]
            ours = {"store", "changedAt", "currency"}
            here = {row["id"]: {name: value for name, value in row.items() if name not in ours} for row in rows}
            if here != there:
                found.append(f"{resource} differ: {sorted(here)} here, {sorted(there)} there")
        for (resource, id), keys_ in self.written.items():
            if len(keys_) > times:
                found.append(f"{resource} {id} was written {len(keys_)} times")
        if "lease_until" in self.state() or "last_sync_at" not in self.state():
            found.append("the last run left the store as it should not")
        return found


def _start_anew() -> None:
    """A new process knows nothing, and holds no lock of another."""
    keys.forget()
    keys._locks.clear()
    apps.forget()


def _fails(step: str) -> None:
    """The call fails and the process goes on: before, it never got there; after, its answer is lost."""
    if step.startswith("before"):
        raise EndpointConnectionError(endpoint_url="https://aws.example.com")
    raise ReadTimeoutError(endpoint_url="https://aws.example.com")


@dataclass
class Lives:
    """Lets one store after the other live through the same, each with another fault."""

    steps: Steps
    now: datetime
    patch: pytest.MonkeyPatch
    number: int = 0

    def world(self, make: Callable[["Lives", str], World]) -> World:
        """Another store as ``make`` prepares it."""
        self.number += 1
        self.steps.after_each = lambda call: None
        with self.steps.aside():
            world = make(self, f"s{self.number}")
            world.begin()
        self.steps.taken, self.steps.at = [], None
        _start_anew()
        return world

    def live(self, make: Callable[["Lives", str], World], at: int | None = None, how: str = "killed") -> World:
        """Synced until complete, with one fault on the way."""
        world = self.world(make)
        self.steps.at, self.steps.then = at, self.steps.kill if how == "killed" else _fails
        world.until_complete()
        return world

    def all(self, make: Callable[["Lives", str], World], *ways: str) -> dict[str, list[str]]:
        """What was wrong, for each step and each way to fail there; first of all where nothing fails."""
        plain = self.live(make)
        steps, found = self.steps.taken, {}
        with self.steps.aside():
            found["no fault"] = plain.judged()
        for how in ways:
            for at, step in enumerate(steps):
                if how == "failed" and not step.endswith(("UpdateItem", "BatchWriteItem", "PutItem", "SendMessage")):
                    continue
                world = self.live(make, at, how)
                assert self.steps.taken[at] == step, "this life came to another step"
                with self.steps.aside():
                    found[f"{how} at {at}, {step}"] = world.judged()
        return found


@pytest.fixture
def lives(aws: None, now: datetime, monkeypatch: pytest.MonkeyPatch) -> Lives:
    """An AWS each call of which is a step."""
    register_app(PlatformName.SHOPIFY)
    steps = Steps()
    steps.watch("dynamodb", "kms", "sqs", "secrets")
    return Lives(steps, now, monkeypatch)


def shop_with_all(lives: Lives, id: str) -> World:
    """A first import with pages, waiting, the compare: what is gone is deleted, what paging missed is looked up."""
    platform = Shop(lives.steps)
    lives.patch.setattr(platforms, "PLATFORMS", {PlatformName.WOO_COMMERCE: platform})
    world = World(id, platform, Clock(lives.now), lives.steps)
    store = connected(id, lives.now)
    for number in range(4):
        platform.put(ORDERS, f"o{number}", lives.now - timedelta(days=5 - number), total="1.00")
    platform.put(PRODUCTS, "p1", lives.now, title="Mug")
    platform.newest = [platform.shop[ORDERS]["o3"]]
    gone = Record("gone", lives.now - timedelta(days=9), {"id": "gone"})
    records.save(store.id, ORDERS, gone, "EUR", lives.now - timedelta(days=1), lives.now)
    platform.missed = "o0"
    platform.ready_at = lambda: world.clock.time + timedelta(seconds=2)
    return world


def shop_with_tokens(lives: Lives, id: str) -> World:
    """The token ends while the run is under way."""
    issuer, platform = Issuer(access_life=timedelta(minutes=30)), OAuthShop(lives.steps)
    lives.patch.setattr(platforms, "PLATFORMS", {PlatformName.SHOPIFY: platform})
    world = World(id, platform, Clock(lives.now), lives.steps)
    connect(id, issuer.approve(lives.now - timedelta(minutes=29)), lives.now)
    platform.refreshes = issuer.refresh
    platform.admits = lambda connection: issuer.admit(connection.credentials["access_token"], world.clock.time)
    for number in range(3):
        platform.put(ORDERS, f"o{number}", lives.now, total="1.00")
    return world


def judged(world: World) -> list[str]:
    with world.steps.aside():
        return world.judged()


def wrong(found: dict[str, list[str]]) -> dict[str, list[str]]:
    return {step: violations for step, violations in found.items() if violations}


def met(found: dict[str, list[str]]) -> set[str]:
    return {step.split(", ")[1] for step in found if step.startswith("killed")}


def test_a_killed_sync_loses_nothing_and_changes_nothing_twice(lives):
    found = lives.all(shop_with_all, "killed", "failed")

    assert wrong(found) == {}
    assert met(found) >= {
        f"{when} {what}"
        for when in ("before", "after")
        for what in ("fetch", "fetch_one", "list_ids", "newest_orders", "reconcile", "UpdateItem", "BatchWriteItem")
    } | {"before pause"}


def test_a_sync_that_is_killed_while_it_refreshes_its_token_goes_on_with_a_good_one(lives):
    found = lives.all(shop_with_tokens, "killed")

    assert wrong(found) == {}
    assert met(found) >= {"before refresh", "after refresh"}


# Two runs at once: the first is held up at each of its steps in turn, and goes on when the second is through


def shop_with_pages(lives: Lives, id: str) -> World:
    """Two pages of orders."""
    platform = Shop(lives.steps)
    lives.patch.setattr(platforms, "PLATFORMS", {PlatformName.WOO_COMMERCE: platform})
    connected(id, lives.now)
    for number in range(3):
        platform.put(ORDERS, f"o{number}", lives.now - timedelta(days=5 - number), total="1.00")
    return World(id, platform, Clock(lives.now), lives.steps)


def overtaken(lives: Lives, at: int) -> list[str]:
    """What was wrong where the first run is held up at this step, and its clock with it."""
    world = lives.world(shop_with_pages)
    slow = Clock(lives.now)
    left: list[Json | None] = []

    def second(_step: str) -> None:
        _start_anew()  # it is another process
        with lives.steps.aside():
            world._look()
            held_by_first = "lease_owner" in world.state()
            world.platform.put(ORDERS, "o0", lives.now + timedelta(minutes=1), total="2.00")
            world.clock.advance(minutes=6)
            world.sync(full=True)
            world._look()
            left.append(world.state() if held_by_first else None)

    lives.steps.at, lives.steps.then = at, second
    first = world.sync(slow, full=True)
    with lives.steps.aside():
        world._look()
        world.read_streams()  # they put back what a late batch overwrote; until then it may look as if it were missing
        world.violations.clear()
        world._is_ahead()
        found = world.judged(times=4)
        if left and left[0] is not None:
            if world.state() != left[0]:
                found.append("who was overtaken changed the state of the sync")
            if first is None or first.outcome is not Outcome.FAILED:
                found.append(f"who was overtaken says {first and first.outcome}")
    return found


def all_overtaken(lives: Lives) -> dict[str, list[str]]:
    lives.live(shop_with_pages)
    return {f"{at}, {step}": overtaken(lives, at) for at, step in enumerate(list(lives.steps.taken))}


def test_a_run_that_was_overtaken_changes_nothing_that_the_other_left(lives):
    found = all_overtaken(lives)

    assert wrong(found) == {}
    assert {step.split(", ")[1] for step in found} >= {"before fetch", "after fetch", "after UpdateItem"}


# Killed far into a long import


def long_shop(lives: Lives, id: str) -> World:
    """Forty pages of orders."""
    world = shop_with_pages(lives, id)
    for number in range(80):
        world.platform.put(ORDERS, f"o{number:02}", lives.now - timedelta(hours=100 - number), total="1.00")
    for number in range(3):
        world.platform.take(ORDERS, f"o{number}")
    return world


def test_an_import_that_is_killed_at_45_percent_fetches_at_most_one_page_twice(lives):
    lives.live(long_shop)
    begins = [at for at, step in enumerate(lives.steps.taken) if step == "before fetch"][17:19]
    points = list(enumerate(lives.steps.taken))[begins[0] : begins[1]]

    for at, _step in points:
        world = lives.live(long_shop, at)
        again = len(world.platform.cursors) - len(set(world.platform.cursors))
        assert again <= 1
        with lives.steps.aside():
            assert world.judged() == []
    assert {step for _, step in points} >= {"after fetch", "before BatchWriteItem", "after BatchWriteItem"}


# A record that fits into no item


def test_one_record_that_is_too_large_does_not_stop_the_store_and_is_not_kept_quiet(lives):
    world = lives.world(shop_with_all)
    noise = b"".join(hashlib.sha512(str(number).encode()).digest() for number in range(6400))
    world.platform.put(ORDERS, "o2", lives.now, note=noise.hex())
    world.platform.put(ORDERS, "o0", lives.now, note=noise.hex())  # which no page has, so that it is looked up

    run = world.sync(full=True)

    assert (run.outcome, run.reason) == (Outcome.PARTIAL, "RECORDS_NOT_UNDERSTOOD")
    assert run.counts[ORDERS].failed == 3  # o2 in its page, and both in the compare
    assert sorted(row["id"] for row in records.page(world.id, ORDERS, 9, None)[0]) == ["o1", "o3"]


# Webhooks are the fast way; the sync is the certain one


def test_with_every_webhook_lost_one_turn_of_the_schedule_makes_the_store_equal(lives):
    world = lives.world(shop_with_all)
    wheel.remember(300)
    world.until_complete()
    queue = Queue()
    sync.dispatch(world.clock())
    queue.take()
    for change in range(4):
        world.clock.advance(minutes=1)
        world.platform.put(ORDERS, "o1", world.clock.time, total=f"{change}.00")
        world.platform.put(ORDERS, f"new{change}", world.clock.time, total="9.00")
    world.platform.put(PRODUCTS, "p1", world.clock.time, title="Cup")

    world.clock.advance(minutes=1)
    for minute in range(5):
        sync.dispatch(world.clock.time + timedelta(minutes=minute))
    world.clock.advance(minutes=5)
    for body in queue.take():
        sync.work_off(body, NoHttp(), world.clock, world.clock.time + timedelta(minutes=10))

    assert world.judged(times=9) == []


def test_with_every_webhook_lost_a_day_brings_out_what_was_deleted(lives):
    world = lives.world(shop_with_all)
    world.until_complete()
    world.platform.take(ORDERS, "o1")
    world.platform.take(PRODUCTS, "p1")

    world.clock.advance(days=1)
    world.sync()

    assert world.judged(times=9) == []


class Queue:
    """What the dispatcher puts on the queue of syncs."""

    def __init__(self) -> None:
        self._bodies: list[str] = []
        clients.sqs().meta.events.register("provide-client-params.sqs", self._note)

    def _note(self, params: Json, **_: object) -> None:
        self._bodies += [entry["MessageBody"] for entry in params.get("Entries", ())]

    def take(self) -> list[str]:
        """What came since the last time."""
        taken, self._bodies = self._bodies, []
        return taken


# Bugs, planted: whoever looks for them must find them


def test_a_checkpoint_before_its_records_is_found(lives, monkeypatch):
    fetch = sync._Work._fetch

    def planted(self, resource):
        page = fetch(self, resource)
        self.cursors[resource] = dict(page.cursor)
        self._checkpoint()
        return page

    monkeypatch.setattr(sync._Work, "_fetch", planted)
    lives.live(shop_with_pages)
    steps = lives.steps.taken

    ahead = lives.live(shop_with_pages).violations
    lost = [judged(lives.live(incremental, at)) for at, step in enumerate(steps) if step == "after UpdateItem"]

    assert "the checkpoint is ahead of orders o0" in ahead
    assert any("differ" in violation for found in lost for violation in found)


def incremental(lives: Lives, id: str) -> World:
    """The same, long after its last compare: nothing but paging brings anything in."""
    world = shop_with_pages(lives, id)
    lives.patch.setattr(sync._Work, "_compare_ids", lambda *_: None)
    return world


def test_a_sync_that_writes_what_has_not_changed_is_found(lives, monkeypatch):
    monkeypatch.setattr(records, "_is_news", lambda old, row: True)

    found = lives.all(shop_with_pages, "killed")

    assert found["no fault"] == []
    assert "orders o0 was written 2 times" in {violation for each in found.values() for violation in each}


def test_a_missing_fence_is_found(lives, monkeypatch):
    def planted(self, actions):
        self.state.update(actions=actions)

    monkeypatch.setattr(sync._Work, "update", planted)

    found = {violation for each in all_overtaken(lives).values() for violation in each}

    assert "who was overtaken changed the state of the sync" in found
    assert "who was overtaken says COMPLETE" in found
