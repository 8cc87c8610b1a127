from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from fakes import Clock, FakeOAuthPlatform, FakePlatform, NoHttp, connected, granted, register_app
from pynamodb.exceptions import DoesNotExist

from shared import apps, clients, credentials, exact_json, platforms, problems, records, stores, sync, wheel
from shared.keys import Purpose
from shared.models import Credentials, Dispatcher, Outcome, Status, Store, SyncRun, SyncState
from shared.platforms.base import IdPage, PlatformError, PlatformName, Record, Refusal, Resource, Tokens
from shared.stores import Caller

ORDERS, PRODUCTS = Resource.ORDERS, Resource.PRODUCTS


@pytest.fixture
def platform(monkeypatch):
    fake = FakePlatform()
    monkeypatch.setattr(platforms, "PLATFORMS", {PlatformName.WOO_COMMERCE: fake})
    return fake


@pytest.fixture
def clock_(now):
    return Clock(now)


@pytest.fixture
def store(aws, platform, now):
    return connected("store1", now)


def run(store, clock_, **options):
    return sync.run(store.id, NoHttp(), clock_, clock_.time + timedelta(minutes=15), **options)


def bodies(store, resource):
    return {row["id"]: row for row in records.page(store.id, resource, 100, None)[0]}


@pytest.fixture
def queued(aws):
    """Takes what was put on the queue since the last look, delayed or not."""
    bodies_ = []

    def note(params, **_):
        entries = params.get("Entries", [params])
        bodies_.extend(exact_json.loads(entry["MessageBody"]) for entry in entries)

    def take():
        taken = list(bodies_)
        bodies_.clear()
        return taken

    clients.sqs().meta.events.register("provide-client-params.sqs.*", note)
    return take


def state_of(store):
    return SyncState.get(store.id, consistent_read=True)


def test_brings_in_all_there_is_and_says_complete(store, platform, clock_, now):
    for number in range(5):
        platform.put(ORDERS, f"o{number}", now, total="1.00")
    platform.put(PRODUCTS, "p1", now, title="Mug")

    this = run(store, clock_)

    assert this.outcome is Outcome.COMPLETE
    assert sorted(bodies(store, ORDERS)) == ["o0", "o1", "o2", "o3", "o4"]
    assert bodies(store, PRODUCTS)["p1"]["title"] == "Mug"
    assert state_of(store).last_sync_at > now
    assert state_of(store).lease_until is None


def test_takes_the_stores_currency_where_a_record_names_none(store, platform, clock_, now):
    platform.put(PRODUCTS, "p1", now)

    run(store, clock_)

    assert bodies(store, PRODUCTS)["p1"]["currency"] == "EUR"


def test_writes_only_what_changed(store, platform, clock_, now):
    for number in range(3):
        platform.put(ORDERS, f"o{number}", now, total="1.00")
    run(store, clock_)
    platform.put(ORDERS, "o1", now + timedelta(minutes=1), total="2.00")

    this = run(store, clock_, full=True)

    assert (this.counts[ORDERS].updated, this.counts[ORDERS].created) == (1, 0)
    assert bodies(store, ORDERS)["o1"]["total"] == "2.00"


def test_a_sync_that_finds_nothing_writes_twice(store, platform, clock_, now):
    run(store, clock_)
    writes = []
    event = clients.dynamodb().meta.events
    event.register("before-call.dynamodb", lambda model, **_: writes.append(model.name))

    this = run(store, clock_)

    assert this.outcome is Outcome.COMPLETE
    assert [name for name in writes if name not in {"GetItem", "Query", "BatchGetItem"}] == ["UpdateItem"] * 2
    assert state_of(store).quiet_runs == 1
    assert len(sync.history(store.id, 10, None)[0]) == 1  # the first run's only


def test_a_run_holds_the_store_alone(store, platform, clock_, now):
    others = []

    def another_run(call):
        if call == "fetch orders":
            others.append(run(store, clock_))

    platform.before = another_run

    run(store, clock_)

    assert [(other.outcome, other.reason) for other in others] == [(Outcome.SKIPPED, "BUSY_OR_WAITING")]


def test_a_lease_that_ran_out_is_taken_over_and_its_holder_writes_nothing_more(store, platform, clock_, now):
    platform.put(ORDERS, "o1", now)
    seen = []

    def overrun(call):
        if call == "fetch orders" and not seen:
            seen.append(call)
            clock_.advance(minutes=6)
            platform.put(ORDERS, "o1", clock_.time, total="9.00")
            assert run(store, clock_).outcome is Outcome.COMPLETE

    platform.before = overrun

    late = run(store, clock_)

    assert (late.outcome, late.reason) == (Outcome.FAILED, "LEASE_LOST")
    assert bodies(store, ORDERS)["o1"]["total"] == "9.00"
    assert state_of(store).fence == 2
    assert state_of(store).failures == 0


def test_a_zombie_cannot_move_the_checkpoint(store, platform, clock_, now):
    """Its clock is slow, so it believes in its lease; the fence has moved all the same."""
    for number in range(5):
        platform.put(ORDERS, f"o{number}", now)
    slow, seen = Clock(now), []

    def overrun(call):
        if call == "fetch orders" and not seen:
            seen.append(call)
            clock_.advance(minutes=6)
            run(store, clock_)

    platform.before = overrun
    zombie = run(store, slow)

    assert (zombie.outcome, zombie.reason) == (Outcome.FAILED, "LEASE_LOST")
    assert "o4" in state_of(store).checkpoint


def test_a_revoked_key_halfway_ends_partial_and_the_store_needs_a_human(store, platform, clock_, now):
    for number in range(6):
        platform.put(ORDERS, f"o{number}", now)
    calls = count()

    def revoked(call):
        if call == "probe" or (call == "fetch orders" and next(calls) >= 1):
            raise PlatformError(Refusal.CREDENTIALS, "The key is not known.", status=401)

    platform.before = revoked

    this = run(store, clock_)

    kept = stores.load(store.id, Caller("user1"))
    assert (this.outcome, this.reason) == (Outcome.PARTIAL, "CREDENTIALS")
    assert (kept.status, kept.status_reason) == (Status.NEEDS_REAUTHORIZATION, "CREDENTIALS_REFUSED")
    assert state_of(store).slot is None
    assert state_of(store).last_sync_at is None
    assert len(bodies(store, ORDERS)) == 2


def test_a_refusal_that_the_probe_does_not_confirm_changes_no_status(store, platform, clock_, now):
    def refused_once(call):
        if call == "fetch orders":
            raise PlatformError(Refusal.CREDENTIALS, "The host dropped a header.", status=401)

    platform.before = refused_once

    this = run(store, clock_)

    assert this.outcome is Outcome.FAILED
    assert stores.load(store.id, Caller("user1")).status == Status.CONNECTED


def test_waits_as_long_as_the_platform_asks(store, platform, clock_, now):
    wait = now + timedelta(minutes=20)

    def limited(call):
        raise PlatformError(Refusal.RATE_LIMITED, "Too many requests.", status=429, retry_at=wait)

    platform.before = limited
    first = run(store, clock_)
    platform.before = lambda call: None
    clock_.advance(minutes=19)
    early = run(store, clock_)
    clock_.advance(minutes=2)

    assert first.reason == "RATE_LIMITED"
    assert early.outcome is Outcome.SKIPPED
    assert run(store, clock_).outcome is Outcome.COMPLETE


def test_three_failures_make_a_store_unreachable_and_a_good_run_heals_it(store, platform, clock_, now):
    def dead(call):
        raise PlatformError(Refusal.UNREACHABLE, "No answer.")

    platform.before = dead
    statuses = []
    for _ in range(3):
        run(store, clock_)
        statuses.append(stores.load(store.id, Caller("user1")).status)
    platform.before = lambda call: None

    run(store, clock_)

    assert statuses == [Status.CONNECTED, Status.CONNECTED, Status.UNREACHABLE]
    assert stores.load(store.id, Caller("user1")).status == Status.CONNECTED
    assert state_of(store).late_since is None


def test_a_store_that_missed_its_interval_is_in_the_late_index(store, platform, clock_, now):
    def dead(call):
        raise PlatformError(Refusal.TRANSIENT, "502", status=502)

    platform.before = dead

    run(store, clock_)

    late = SyncState.late.query(str(wheel.shard_of(store.id)))
    assert [row.store_id for row in late] == [store.id]


def test_time_that_is_up_ends_partial_and_goes_on_in_another_run(store, platform, clock_, now, queued):
    for number in range(6):
        platform.put(ORDERS, f"o{number}", now)
    deadline = clock_.time + timedelta(minutes=1)

    def slow(call):
        clock_.advance(seconds=31)

    platform.before = slow

    this = sync.run(store.id, NoHttp(), clock_, deadline)

    assert (this.outcome, this.reason) == (Outcome.PARTIAL, "TIME_IS_UP")
    assert [(message["stores"], message["trigger"]) for message in queued()] == [([store.id], "continuation")]
    platform.before = lambda call: None
    platform.calls.clear()
    assert run(store, clock_, trigger="continuation").outcome is Outcome.COMPLETE
    assert len(bodies(store, ORDERS)) == 6
    assert platform.calls.count("fetch orders") == 2  # no page twice


def test_a_continuation_that_gets_no_further_is_stalled(store, platform, clock_, now, queued):
    platform.put(ORDERS, "o1", now)

    this = sync.run(store.id, NoHttp(), clock_, clock_.time, trigger="continuation")
    again = sync.run(store.id, NoHttp(), clock_, clock_.time, trigger="continuation")

    assert this.reason == "TIME_IS_UP" or this.outcome is Outcome.STALLED
    assert (again.outcome, again.reason) == (Outcome.STALLED, "NO_PROGRESS")
    assert all(message["trigger"] == "continuation" for message in queued())


def test_a_cursor_that_repeats_itself_does_not_loop(store, platform, clock_, now, monkeypatch):
    for number in range(6):
        platform.put(ORDERS, f"o{number}", now)
    genuine = FakePlatform.fetch
    monkeypatch.setattr(
        FakePlatform,
        "fetch",
        lambda self, connection, resource, cursor, http, now: genuine(self, connection, resource, None, http, now),
    )

    this = run(store, clock_)

    assert (this.outcome, this.reason) == (Outcome.PARTIAL, "CURSOR_REPEATED")


def test_records_come_before_the_checkpoint(store, platform, clock_, now, monkeypatch):
    """A crash between the two reads a page again; it never skips one."""
    for number in range(4):
        platform.put(ORDERS, f"o{number}", now)

    def crash(*_):
        raise MemoryError

    monkeypatch.setattr(records, "save_page", crash)
    with pytest.raises(MemoryError):
        run(store, clock_)
    monkeypatch.undo()
    monkeypatch.setattr(platforms, "PLATFORMS", {PlatformName.WOO_COMMERCE: platform})
    assert state_of(store).checkpoint is None
    clock_.advance(minutes=6)

    assert run(store, clock_).outcome is Outcome.COMPLETE
    assert len(bodies(store, ORDERS)) == 4


def test_a_crash_after_a_page_costs_one_page_at_most(store, platform, clock_, now):
    for number in range(6):
        platform.put(ORDERS, f"o{number}", now)
    pages = count()

    def crash(call):
        if call == "fetch orders" and next(pages) == 2:
            raise MemoryError

    platform.before = crash
    with pytest.raises(MemoryError):
        run(store, clock_)
    platform.before = lambda call: None
    platform.calls.clear()
    clock_.advance(minutes=6)

    this = run(store, clock_)

    assert this.counts[ORDERS].created == 2
    assert this.counts[ORDERS].unchanged == 0


def test_a_full_sync_buries_what_the_platform_says_is_gone(store, platform, clock_, now):
    platform.put(ORDERS, "o1", now)
    platform.put(ORDERS, "o2", now)
    run(store, clock_)
    platform.take(ORDERS, "o1")

    this = run(store, clock_, full=True)

    assert this.counts[ORDERS].deleted == 1
    assert list(bodies(store, ORDERS)) == ["o2"]


def test_absence_alone_deletes_nothing(store, platform, clock_, now, monkeypatch):
    platform.put(ORDERS, "o1", now)
    run(store, clock_)
    monkeypatch.setattr(FakePlatform, "list_ids", lambda self, *_: IdPage([], {}, done=True))

    run(store, clock_, full=True)

    assert list(bodies(store, ORDERS)) == ["o1"]


def test_a_full_sync_that_would_delete_much_stops_and_asks(store, platform, clock_, now):
    platform.page_size = 50
    for number in range(30):
        platform.put(ORDERS, f"o{number:02}", now)
    run(store, clock_)
    for number in range(20):
        platform.take(ORDERS, f"o{number:02}")

    refused = run(store, clock_, full=True)
    kept = len(bodies(store, ORDERS))
    allowed = run(store, clock_, full=True, allow_deletes=True)

    assert (refused.outcome, refused.reason, kept) == (Outcome.PARTIAL, "MANY_DELETES", 30)
    assert (allowed.outcome, allowed.counts[ORDERS].deleted) == (Outcome.COMPLETE, 20)


def test_a_full_sync_finds_what_paging_missed(store, platform, clock_, now):
    run(store, clock_)
    platform.put(ORDERS, "o1", now - timedelta(days=9))
    state = state_of(store)
    state.update(actions=[SyncState.checkpoint.set('{"orders":{"after":"9"},"products":{"after":"9"}}')])

    run(store, clock_, full=True)

    assert list(bodies(store, ORDERS)) == ["o1"]


def test_the_first_run_and_one_a_day_compare_everything(store, platform, clock_, now):
    first = run(store, clock_)
    second = run(store, clock_)
    clock_.advance(days=1, minutes=1)
    third = run(store, clock_)

    assert (first.full, second.full, third.full) == (True, False, True)
    assert platform.calls.count("reconcile") == 2


def test_subscribes_no_webhooks_where_the_owner_wants_none(store, platform, clock_, now):
    row = stores.find(store.id)
    row.update(actions=[Store.settings.set('{"webhooksEnabled":false}')])

    run(store, clock_)

    assert "reconcile" not in platform.calls


def test_a_long_compare_keeps_its_lease(store, platform, clock_, now):
    """It has no page to checkpoint, and may take longer than a lease."""
    for number in range(8):
        platform.put(ORDERS, f"o{number}", now)
    run(store, clock_)
    for number in range(8):
        platform.take(ORDERS, f"o{number}")

    def slow(call):
        if call.startswith("fetch_one"):
            clock_.advance(minutes=1)

    platform.before = slow

    this = run(store, clock_, full=True)

    assert (this.outcome, this.counts[ORDERS].deleted) == (Outcome.COMPLETE, 8)
    assert state_of(store).lease_until is None


def test_a_store_that_is_being_removed_keeps_no_lease(store, platform, clock_, now):
    stores.begin_removal(store.id, Caller("user1"), None, now)

    this = run(store, clock_)

    assert (this.outcome, this.reason) == (Outcome.SKIPPED, "GONE")
    assert state_of(store).lease_until is None


def test_a_store_that_is_off_or_gone_is_skipped(store, platform, clock_, now):
    row = stores.find(store.id)
    row.update(actions=[Store.is_active.set(False)])
    off = run(store, clock_)
    with pytest.raises(DoesNotExist):
        Store.get("other")
    gone = sync.run("other", NoHttp(), clock_, clock_.time + timedelta(minutes=1))

    assert (off.outcome, off.reason) == (Outcome.SKIPPED, "NOT_ACTIVE")
    assert (gone.outcome, gone.reason) == (Outcome.SKIPPED, "GONE")
    assert state_of(store).lease_until is None


def test_dispatches_each_due_store_once(aws, platform, now, queued):
    rows = [connected(f"store{number}", now, interval=60) for number in range(45)]

    first = sync.dispatch(now)
    again = sync.dispatch(now)

    messages = queued()
    assert (first, again) == (45, 0)
    assert sorted(id for message in messages for id in message["stores"]) == sorted(row.id for row in rows)
    assert max(len(message["stores"]) for message in messages) == sync.STORES_PER_MESSAGE


def test_every_store_is_due_once_in_its_interval(aws, platform, now):
    for number in range(12):
        connected(f"store{number}", now, interval=300)

    due = [sync.dispatch(now + timedelta(minutes=minute)) for minute in range(10)]

    assert sum(due[:5]) == sum(due[5:]) == 12


def test_catches_up_on_ticks_that_were_missed(aws, platform, now, queued):
    for number in range(12):
        connected(f"store{number}", now, interval=300)
    sync.dispatch(now)
    queued()

    sync.dispatch(now + timedelta(minutes=5))

    assert len({id for message in queued() for id in message["stores"]}) == 12


def test_a_tick_that_failed_is_dispatched_again(store, now, monkeypatch):
    row = state_of(store)
    minute = next(m for m in range(5) if row.slot in set(wheel.due(int(now.timestamp()) // 60 + m, iter([5]))))
    when = now + timedelta(minutes=minute)
    Dispatcher(Dispatcher.KEY).update(actions=[Dispatcher.last_tick.set(int(when.timestamp()) // 60 - 1)])

    def refuse(**_):
        return {"Failed": [{"Id": "0"}]}

    with monkeypatch.context() as patch:
        patch.setattr(clients.sqs(), "send_message_batch", refuse)
        with pytest.raises(RuntimeError):
            sync.dispatch(when)

    assert sync.dispatch(when) == 1


def test_a_dispatcher_that_was_cut_off_goes_on_where_it_stopped(aws, platform, now, monkeypatch, queued):
    for number in range(30):
        connected(f"store{number}", now, interval=3_600)
    sync.dispatch(now)
    queued()
    really, calls = sync._queue, []

    def cut_off(ids, minute):
        calls.append(minute)
        if len(calls) == 30:
            raise RuntimeError("out of time")
        really(ids, minute)

    with monkeypatch.context() as patch:
        patch.setattr(sync, "_queue", cut_off)
        with pytest.raises(RuntimeError):
            sync.dispatch(now + timedelta(minutes=59))
    done = [id for message in queued() for id in message["stores"]]
    sync.dispatch(now + timedelta(minutes=59))
    rest = [id for message in queued() for id in message["stores"]]

    assert done
    assert rest
    assert not set(done) & set(rest)


def test_a_turn_that_waited_too_long_in_the_queue_is_not_made_up_for(store, platform, now, queued):
    platform.put(Resource.ORDERS, "1", now)
    clock = Clock(now)
    sync.run(store.id, NoHttp(), clock, now + timedelta(minutes=10))
    minute = wheel_minute(store, now - timedelta(minutes=5))
    Dispatcher(Dispatcher.KEY).update(actions=[Dispatcher.last_tick.set(minute - 1)])
    platform.calls.clear()

    assert sync.dispatch(at(minute)) == 1
    [message] = queued()
    sync.work_off(exact_json.dumps(message), NoHttp(), clock, now + timedelta(minutes=10))

    assert platform.calls == []
    assert state_of(store).lease_owner is None


def wheel_minute(store, after):
    """The first minute at which the store is due, not before ``after``."""
    first = int(after.timestamp()) // 60
    return next(m for m in range(first, first + 5) if state_of(store).slot in set(wheel.due(m, iter([5]))))


def at(minute):
    return datetime.fromtimestamp(minute * 60, UTC)


def test_a_run_leaves_time_for_the_others_of_its_message(aws, platform, now, monkeypatch):
    stores = [connected(name, now) for name in ("one", "two")]
    deadlines = []

    def note(store_id, http, now, deadline, **_):
        deadlines.append(deadline)
        return sync.Run(store_id, "schedule", now())

    monkeypatch.setattr(sync, "run", note)
    far = now + timedelta(minutes=14)

    for ids in ([each.id for each in stores], ["one"]):
        sync.work_off(exact_json.dumps({"stores": ids, "trigger": "schedule"}), NoHttp(), lambda: now, far)

    assert deadlines == [now + sync.FAIR_SHARE, now + sync.FAIR_SHARE, far]


class ShowsNewest(FakePlatform):
    """Of a class of its own: what a class fits is remembered."""

    def newest_orders(self, *_):
        self._called("newest_orders")
        return [max(self.shop[Resource.ORDERS].values(), key=lambda order: order.updated_at)]


@pytest.mark.parametrize("waits", [0, 3])
def test_a_first_import_shows_the_newest_orders_first_and_how_far_it_is(store, now, monkeypatch, waits):
    platform = ShowsNewest()
    monkeypatch.setattr(platforms, "PLATFORMS", {PlatformName.WOO_COMMERCE: platform})
    for number in range(6):
        platform.put(Resource.ORDERS, str(number), now - timedelta(days=6 - number))
    seen, clock_ = [], Clock(now)
    limits = iter([bool(waits)])

    def look(call):
        if call == "newest_orders" and next(limits, False):
            wait = clock_.time + timedelta(seconds=waits)
            raise PlatformError(Refusal.RATE_LIMITED, "429", status=429, retry_at=wait)
        seen.append((call, set(records.live_ids(store.id, Resource.ORDERS)), sync.progress(state_of(store), now)))

    platform.before = look
    ended = sync.run(
        store.id, NoHttp(), clock_, now + timedelta(minutes=10), pause=lambda seconds: clock_.advance(seconds=seconds)
    )

    first, second = [each for each in seen if each[0] == "fetch orders"][:2]
    assert first[1] == {"5"}
    assert second[2].orders.done == 2
    assert ended.outcome is Outcome.COMPLETE
    assert sync.progress(state_of(store), now) is None


def test_one_store_that_fails_by_our_fault_comes_again_alone(aws, platform, now, monkeypatch, queued):
    good, bad = connected("good", now), connected("bad", now)
    Credentials(bad.id).delete()
    message = exact_json.dumps({"stores": [good.id, bad.id], "trigger": "schedule"})

    sync.work_off(message, NoHttp(), Clock(now), now + timedelta(minutes=10))

    assert [each["stores"] for each in queued()] == [["bad"]]
    assert state_of(good).last_sync_at is not None
    with pytest.raises(sync.SyncBroken):
        sync.work_off(exact_json.dumps({"stores": ["bad"], "trigger": "schedule"}), NoHttp(), Clock(now), now)


def test_a_store_is_synced_by_request_once_a_minute(store, now, queued):
    sync.request(store, full=False, allow_deletes=False, now=now)

    with pytest.raises(problems.SyncLimited):
        sync.request(store, full=False, allow_deletes=False, now=now + timedelta(seconds=59))
    sync.request(store, full=True, allow_deletes=True, now=now + timedelta(seconds=60))

    assert [(each["full"], each["allowDeletes"]) for each in queued()] == [(False, False), (True, True)]


def test_history_is_paged_newest_first(store, platform, clock_, now):
    for number in range(3):
        platform.put(ORDERS, f"o{number}", now + timedelta(minutes=number))
        run(store, clock_)
        clock_.advance(minutes=1)

    first, cursor = sync.history(store.id, 2, None)
    rest, end = sync.history(store.id, 2, cursor)

    started = [row.started_at for row in first + rest]
    assert started == sorted(started, reverse=True)
    assert (len(first), len(rest), end) == (2, 1, None)
    assert all(isinstance(row, SyncRun) for row in first)


def test_a_sync_by_request_comes_after_the_one_that_is_running(store, now, queued):
    SyncState(store.id).update(actions=[SyncState.lease_until.set(now + timedelta(minutes=3))])
    asked = {"stores": [store.id], "trigger": "request", "full": True, "allowDeletes": True}

    sync.work_off(exact_json.dumps(asked), NoHttp(), Clock(now), now + timedelta(minutes=10))

    assert queued() == [{**asked, "tries": 1}]


def test_a_scheduled_sync_that_finds_another_running_waits_for_its_next_turn(store, now, queued):
    SyncState(store.id).update(actions=[SyncState.lease_until.set(now + timedelta(minutes=3))])
    message = exact_json.dumps({"stores": [store.id], "trigger": "schedule"})

    sync.work_off(message, NoHttp(), Clock(now), now + timedelta(minutes=10))

    assert queued() == []


def test_asking_again_ends(store, now, queued):
    SyncState(store.id).update(actions=[SyncState.lease_until.set(now + timedelta(minutes=3))])
    message = exact_json.dumps({"stores": [store.id], "trigger": "request", "tries": 30})

    sync.work_off(message, NoHttp(), Clock(now), now + timedelta(minutes=10))

    assert queued() == []


# ── Tokens that end, and platforms that ask for time ─────────────────────────────────────────────


@dataclass
class PacedPlatform(FakeOAuthPlatform):
    """Says with each page when it is worth asking again."""

    ready: Callable = lambda resource, now: None
    ids_ready: Callable = lambda now: None
    since: Callable = lambda resource, now: None

    def fetch(self, connection, resource, cursor, http, now):
        return super().fetch(connection, resource, cursor, http, now)._replace(ready_at=self.ready(resource, now))

    def list_ids(self, connection, resource, cursor, http, now):
        every = sorted(self.shop[resource])
        since = self.since(resource, now)
        super().list_ids(connection, resource, cursor, http, now)
        listed = [id for id in every if since is None or (self.shop[resource][id].created_at or now) >= since]
        place = (cursor or {}).get("place", 0)
        ids, done = listed[place : place + 1], place + 1 >= len(listed)
        return IdPage(ids, {"place": place + 1}, done, since, self.ids_ready(now))


def pair(number, ends):
    return Tokens(f"access-{number}", f"refresh-{number}", ends, ends + timedelta(days=90))


@pytest.fixture
def paced(aws, monkeypatch, now):
    fake = PacedPlatform()
    monkeypatch.setattr(platforms, "PLATFORMS", {PlatformName.SHOPIFY: fake})
    register_app()
    for number in range(6):
        fake.put(ORDERS, f"o{number}", now)
    yield fake
    apps.forget()


@pytest.fixture
def shop(paced, now):
    return granted("store1", pair(1, now + timedelta(hours=1)), now)


@pytest.fixture
def still(now):
    """A time that only a test, or a pause, moves."""
    return Clock(now, step=timedelta(0))


@pytest.fixture
def pauses(still):
    """How long was waited each time; the time passes meanwhile."""
    waited = []

    def pause(seconds):
        waited.append(seconds)
        still.advance(seconds=seconds)

    pause.waited = waited
    return pause


@pytest.fixture
def delays(aws):
    """The delay of each message that was queued, with its body."""
    sent = []

    def note(params, **_):
        sent.append((params.get("DelaySeconds", 0), exact_json.loads(params["MessageBody"])))

    clients.sqs().meta.events.register("provide-client-params.sqs.SendMessage", note)
    return sent


def accepts(*good):
    """Every call that comes with another token is refused as an ended one is."""

    def admits(connection):
        if connection.credentials["access_token"] not in good:
            raise PlatformError(Refusal.CREDENTIALS, "Invalid API key or access token.", status=401)

    return admits


def status_of(store):
    row = Store.get(store.id)
    return row.status, row.status_reason


def test_a_refused_token_is_renewed_once_and_the_run_completes(shop, paced, still):
    paced.admits = accepts("access-2")
    paced.refreshes = lambda connection, when: pair(2, when + timedelta(hours=1))

    this = run(shop, still)

    assert (this.outcome, status_of(shop)) == (Outcome.COMPLETE, ("CONNECTED", None))
    assert paced.calls.count("refresh") == 1
    assert len(bodies(shop, ORDERS)) == 6


def test_a_token_that_is_refused_halfway_is_renewed_and_no_page_is_read_twice(shop, paced, still):
    pages = count()

    def ends_halfway(call):
        if call == "fetch orders" and next(pages) == 1:
            paced.admits = accepts("access-2")

    paced.before = ends_halfway
    paced.refreshes = lambda connection, when: pair(2, when + timedelta(hours=1))

    this = run(shop, still)

    assert this.outcome is Outcome.COMPLETE
    assert (this.counts[ORDERS].created, this.counts[ORDERS].unchanged) == (6, 0)


def test_a_token_that_is_refused_again_after_its_renewal_needs_a_person(shop, paced, still):
    paced.admits = accepts("none")
    paced.refreshes = lambda connection, when: pair(2, when + timedelta(hours=1))

    this = run(shop, still)

    assert (this.outcome, this.reason) == (Outcome.FAILED, "CREDENTIALS")
    assert status_of(shop) == (Status.NEEDS_REAUTHORIZATION, "CREDENTIALS_REFUSED")
    assert (paced.calls.count("refresh"), paced.calls.count("probe")) == (1, 1)
    assert bodies(shop, ORDERS) == {}


def test_a_token_that_is_refused_again_but_not_by_the_probe_changes_no_status(shop, paced, still):
    def only_orders(call):
        if call == "fetch orders":
            raise PlatformError(Refusal.CREDENTIALS, "The host dropped a header.", status=401)

    paced.before = only_orders
    paced.refreshes = lambda connection, when: pair(2, when + timedelta(hours=1))

    assert run(shop, still).outcome is Outcome.FAILED
    assert status_of(shop) == ("CONNECTED", None)


def test_a_grant_that_has_ended_is_said_to_have_ended(shop, paced, still):
    paced.admits = accepts("none")

    this = run(shop, still)

    assert (this.outcome, this.reason) == (Outcome.FAILED, "CREDENTIALS")
    assert status_of(shop) == (Status.NEEDS_REAUTHORIZATION, "GRANT_ENDED")
    assert state_of(shop).slot is None


def test_an_app_that_was_removed_during_the_run_is_said_to_have_been_removed(shop, paced, still, now):
    def removed(call):
        if call == "refresh":
            stores.set_status(shop.id, Status.DISCONNECTED, "UNINSTALLED", now)
            raise PlatformError(Refusal.TRANSIENT, "502", status=502)

    paced.before = removed
    paced.admits = accepts("none")
    run(shop, still)
    Store(shop.id).update(actions=[Store.status.set("CONNECTED"), Store.status_reason.remove()])

    def refused(call):
        if call == "probe":
            stores.set_status(shop.id, Status.DISCONNECTED, "UNINSTALLED", now)
        if call in {"fetch orders", "probe"}:
            raise PlatformError(Refusal.PERMISSION, "No.", status=403)

    paced.before = refused
    still.advance(minutes=10)
    run(shop, still)

    assert status_of(shop) == (Status.DISCONNECTED, "UNINSTALLED")


def test_credentials_that_somebody_replaced_are_used_without_another_refresh(shop, paced, still, now):
    def reconnected(call):
        if call == "fetch orders" and paced.admits is not good:
            paced.admits = good
            given = {"access_token": "access-9", "refresh_token": "refresh-9"}
            sealed = credentials.seal(Purpose.API, shop.id, "SHOPIFY", given, now)
            Credentials(shop.id).update(
                actions=[Credentials.api_credentials.set(sealed), Credentials.token_hash.set("of the reconnect")]
            )

    good = accepts("access-9")
    paced.before = reconnected

    assert run(shop, still).outcome is Outcome.COMPLETE
    assert "refresh" not in paced.calls


def test_a_token_that_ends_during_the_run_is_renewed_before_it_does(shop, paced, still):
    paced.refreshes = lambda connection, when: pair(2, when + timedelta(hours=1))
    used = []
    paced.admits = lambda connection: used.append(connection.credentials["access_token"])
    pages = count()

    def slow(call):
        if call == "fetch orders" and next(pages) == 1:
            still.advance(minutes=58, seconds=1)
            SyncState(shop.id).update(actions=[SyncState.lease_until.set(still.time + sync.LEASE)])

    paced.before = slow

    this = sync.run(shop.id, NoHttp(), still, still.time + timedelta(hours=2))

    assert (this.outcome, this.reason) in {(Outcome.COMPLETE, None), (Outcome.FAILED, "LEASE_LOST")}
    still.advance(minutes=6)
    assert run(shop, still).outcome is Outcome.COMPLETE
    assert used[0] == "access-1"
    assert used[-1] == "access-2"
    assert paced.calls.count("refresh") == 1


def test_a_token_that_is_about_to_end_is_renewed_before_the_first_call(shop, paced, still):
    used = []
    paced.admits = lambda connection: used.append(connection.credentials["access_token"])
    paced.refreshes = lambda connection, when: pair(2, when + timedelta(hours=1))
    still.advance(minutes=58)

    assert run(shop, still).outcome is Outcome.COMPLETE
    assert set(used) == {"access-2"}


def test_a_pair_that_has_worked_is_noted_as_proved(shop, paced, still):
    paced.refreshes = lambda connection, when: pair(2, when + timedelta(hours=1))
    still.advance(hours=1)

    run(shop, still)

    assert Credentials.get(shop.id).pair_unproved is None


def test_waits_exactly_until_the_platform_is_ready(shop, paced, still, pauses):
    waits = iter([timedelta(seconds=7), timedelta(seconds=15), None, None])

    def ready(resource, when):
        wait = next(waits, None)
        return when + wait if wait else None

    paced.ready = ready

    this = run(shop, still, pause=pauses)

    assert this.outcome is Outcome.COMPLETE
    assert pauses.waited == [7.0, 15.0]


def test_does_not_wait_for_what_is_past_nor_after_the_last_page(shop, paced, still, pauses):
    paced.ready = lambda resource, when: when - timedelta(seconds=5)
    run(shop, still, pause=pauses)
    paced.ready = lambda resource, when: when + timedelta(seconds=5)
    run(shop, still, pause=pauses)  # one page of each is left to read

    assert pauses.waited == []


@pytest.mark.parametrize("refused", ["fetch orders", "list_ids orders", "fetch_one orders o5"])
def test_a_short_wait_that_is_asked_for_by_a_refusal_is_waited_and_the_call_made(shop, paced, still, pauses, refused):
    """Wherever a run asks: else it would begin again, and meet the same refusal at the same place."""
    limits = iter([True, False])

    def limited(call):
        if call == refused and next(limits, False):
            raise PlatformError(Refusal.RATE_LIMITED, "429", status=429, retry_at=still.time + timedelta(seconds=4))

    run(shop, still)
    paced.take(ORDERS, "o5")
    paced.before = limited
    still.advance(seconds=1)

    this = run(shop, still, pause=pauses, full=True)

    assert this.outcome is Outcome.COMPLETE
    assert pauses.waited == [4.0]
    assert len(bodies(shop, ORDERS)) == 5


def test_a_platform_that_refuses_again_after_a_short_wait_is_left_alone(shop, paced, still, pauses):
    def limited(call):
        if call == "fetch orders":
            raise PlatformError(Refusal.RATE_LIMITED, "429", status=429, retry_at=still.time + timedelta(seconds=4))

    paced.before = limited

    this = run(shop, still, pause=pauses)

    assert (this.reason, pauses.waited) == ("RATE_LIMITED", [4.0])
    assert state_of(shop).not_before == still.time + timedelta(seconds=4)


def test_a_long_wait_ends_the_run_and_goes_on_just_when_the_platform_is_ready(shop, paced, still, pauses, delays):
    paced.ready = lambda resource, when: when + timedelta(seconds=40.5)

    this = run(shop, still, pause=pauses)

    assert (this.outcome, this.reason, pauses.waited) == (Outcome.PARTIAL, "PLATFORM_BUSY", [])
    ((delay, message),) = delays
    assert (delay, message["trigger"], message["full"], message["stores"]) == (41, "continuation", True, [shop.id])
    paced.ready = lambda resource, when: None
    still.advance(seconds=delay)
    assert run(shop, still, trigger="continuation", full=True).outcome is Outcome.COMPLETE
    assert len(bodies(shop, ORDERS)) == 6


def test_nobody_asks_the_platform_sooner_than_it_said(shop, paced, still, delays):
    """Else each scheduled run would leave a continuation of its own, and all of them would ask."""
    paced.ready = lambda resource, when: when + timedelta(minutes=5)
    run(shop, still)
    paced.calls.clear()

    still.advance(minutes=4)
    early = run(shop, still)

    assert (early.outcome, early.reason) == (Outcome.SKIPPED, "BUSY_OR_WAITING")
    assert (paced.calls, len(delays)) == ([], 1)


def test_a_wait_longer_than_a_message_can_be_delayed_is_asked_about_again(shop, paced, still, delays):
    paced.ready = lambda resource, when: when + timedelta(hours=1)
    run(shop, still)
    ((delay, message),) = delays
    still.advance(seconds=delay)
    paced.calls.clear()

    sync.work_off(exact_json.dumps(message), NoHttp(), still, still.time + timedelta(minutes=10))

    assert delay == 900
    assert paced.calls == []
    assert [(wait, again["tries"]) for wait, again in delays[1:]] == [(15, 1)]


def test_a_run_that_only_waits_is_not_stalled_as_long_as_its_cursor_moves(shop, paced, still, delays, monkeypatch):
    polls = count(1)
    monkeypatch.setattr(
        PacedPlatform,
        "fetch",
        lambda self, connection, resource, cursor, http, when: sync.Page(
            [], {"polls": next(polls)}, done=False, ready_at=when + timedelta(seconds=30)
        ),
    )
    seen = []
    for _ in range(4):
        this = run(shop, still, trigger="continuation")
        seen.append((this.outcome, this.reason))
        still.advance(seconds=delays[-1][0])

    assert set(seen) == {(Outcome.PARTIAL, "PLATFORM_BUSY")}
    assert len(delays) == 4


def cut_off(shop, paced, still):
    """A compare of six orders that had to end behind each of them but the last, and what is left for the next run."""
    paced.ids_ready = lambda when: when + timedelta(seconds=60)
    ends = [run(shop, still).reason]
    while len(ends) < 5:
        still.advance(seconds=61)
        ends.append(run(shop, still, trigger="continuation", full=True).reason)
    paced.ids_ready = lambda when: None
    still.advance(seconds=61)
    assert ends == ["PLATFORM_BUSY"] * 5


def test_a_compare_that_is_cut_off_again_and_again_goes_on_where_it_was(shop, paced, still, delays):
    cut_off(shop, paced, still)
    kept = clients.s3().list_objects_v2(Bucket="storelink-bodies")["Contents"]
    last = run(shop, still, trigger="continuation", full=True)

    assert last.outcome is Outcome.COMPLETE
    assert (paced.calls.count("list_ids orders"), paced.calls.count("list_ids products")) == (6, 1)
    assert [call for call in paced.calls if call.startswith("fetch_one")] == []  # all six were seen, by six runs
    assert len(delays) == 5
    assert {each["Key"].split("/")[0] for each in kept} == {shop.id}  # where a removal finds them
    assert sync.COMPARE not in exact_json.loads(state_of(shop).checkpoint)


def test_a_compare_that_was_cut_off_finds_what_is_gone_and_what_was_missed(shop, paced, still, now):
    run(shop, still)
    paced.calls.clear()
    paced.take(ORDERS, "o3")
    paced.shop[ORDERS]["x"] = Record("x", now - timedelta(days=1), {})
    still.advance(minutes=5)
    paced.ids_ready = lambda when: when + timedelta(seconds=60)

    run(shop, still, full=True)
    still.advance(seconds=61)
    paced.ids_ready = lambda when: None
    this = run(shop, still)  # no continuation and not full: any run ends what was begun

    assert this.outcome is Outcome.COMPLETE
    assert sorted(bodies(shop, ORDERS)) == ["o0", "o1", "o2", "o4", "o5", "x"]
    assert [call for call in paced.calls if call.startswith("fetch_one")] == [
        "fetch_one orders o3",
        "fetch_one orders x",
    ]


def test_look_ups_of_a_compare_that_was_cut_off_are_not_made_twice(shop, paced, still, monkeypatch):
    """Where a platform lists less than there is, each look finds the record, and it is a suspect as before."""
    run(shop, still)
    monkeypatch.setattr(PacedPlatform, "list_ids", lambda *_: IdPage([], {}, done=True))
    paced.before = lambda call: still.advance(minutes=1) if call.startswith("fetch_one") else None

    first = sync.run(shop.id, NoHttp(), still, still.time + timedelta(minutes=3), full=True)
    second = run(shop, still, trigger="continuation", full=True)

    assert (first.reason, second.outcome) == ("TIME_IS_UP", Outcome.COMPLETE)
    looked_up = [call for call in paced.calls if call.startswith("fetch_one")]
    assert looked_up == [f"fetch_one orders o{number}" for number in range(6)]


def test_what_a_compare_lacked_before_it_was_cut_off_is_said_in_the_end(shop, paced, still):
    run(shop, still)
    for number in range(12):
        paced.put(ORDERS, f"n{number}", still.time + timedelta(seconds=1))
    run(shop, still)
    for number in range(12):
        paced.take(ORDERS, f"n{number}")

    def busy(call):
        if call == "list_ids products":
            raise PlatformError(Refusal.RATE_LIMITED, "429", status=429, retry_at=still.time + timedelta(seconds=40))

    paced.before = busy
    first = run(shop, still, full=True)
    paced.before = lambda call: None
    paced.calls.clear()
    still.advance(seconds=41)
    last = run(shop, still, trigger="continuation", full=True)

    assert first.reason == "RATE_LIMITED"
    assert paced.calls == ["fetch orders", "fetch products", "list_ids products"]
    assert (last.outcome, last.reason) == (Outcome.PARTIAL, "MANY_DELETES")


def test_a_second_rest_begins_no_second_compare(shop, paced, still):
    cut_off(shop, paced, still)
    run(shop, still, trigger="continuation", full=True)
    paced.calls.clear()

    this = run(shop, still, trigger="continuation", full=True)

    assert (this.outcome, paced.calls) == (Outcome.COMPLETE, ["fetch orders", "fetch products"])


def test_a_compare_that_was_killed_goes_on_from_its_last_checkpoint(shop, paced, still):
    """A long list keeps its lease by checkpoints, each of which has the ids that were seen before it."""
    killed = []

    def slow(call):
        if call == "list_ids orders":
            still.advance(minutes=1)
            if paced.calls.count(call) == 5 and not killed:
                killed.append(call)
                raise MemoryError

    paced.before = slow
    with pytest.raises(MemoryError):
        run(shop, still)

    this = run(shop, still)

    assert this.outcome is Outcome.COMPLETE
    assert paced.calls.count("list_ids orders") < 5 + 6
    assert [call for call in paced.calls if call.startswith("fetch_one")] == []


def test_a_compare_whose_seen_ids_are_lost_deletes_nothing_that_is_there(shop, paced, still):
    cut_off(shop, paced, still)
    for each in clients.s3().list_objects_v2(Bucket="storelink-bodies")["Contents"]:
        clients.s3().delete_object(Bucket="storelink-bodies", Key=each["Key"])

    this = run(shop, still, trigger="continuation", full=True)

    assert this.counts[ORDERS].deleted == 0
    assert len(bodies(shop, ORDERS)) == 6


@pytest.mark.parametrize(
    ("wait", "options"), [({"minutes": 5}, {"trigger": "request", "full": True}), ({"days": 1}, {})]
)
def test_a_compare_begins_anew_where_it_is_asked_for_or_began_a_day_ago(shop, paced, still, wait, options):
    cut_off(shop, paced, still)
    still.advance(**wait)
    # a day later the token has ended too
    paced.refreshes = lambda connection, when: pair(2, when + timedelta(hours=1))
    paced.calls.clear()

    this = run(shop, still, **options)

    assert this.outcome is Outcome.COMPLETE
    assert paced.calls.count("list_ids orders") == 6


def test_a_refusal_with_a_time_ends_the_run_and_another_goes_on_then(shop, paced, still, delays):
    pages = count()

    def limited(call):
        if call == "fetch orders" and next(pages) == 1:
            raise PlatformError(Refusal.RATE_LIMITED, "429", status=429, retry_at=still.time + timedelta(seconds=40))

    paced.before = limited

    this = run(shop, still)

    assert (this.outcome, this.reason) == (Outcome.PARTIAL, "RATE_LIMITED")
    assert [(delay, message["trigger"]) for delay, message in delays] == [(41, "continuation")]


def test_a_rest_that_is_refused_again_and_got_no_further_leaves_no_other(shop, paced, still, delays):
    def limited(call):
        raise PlatformError(Refusal.RATE_LIMITED, "429", status=429, retry_at=still.time + timedelta(seconds=40))

    paced.before = limited
    state_of(shop).update(actions=[SyncState.checkpoint.set('{"import":{"startedAt":"2026-11-22T10:00:00.000000Z"}}')])

    this = run(shop, still, trigger="continuation")

    assert (this.reason, delays) == ("RATE_LIMITED", [])


def test_a_compare_waits_a_little_where_the_platform_asks_for_it(shop, paced, still, pauses):
    paced.ids_ready = lambda when: when + timedelta(seconds=2)

    assert run(shop, still, pause=pauses).outcome is Outcome.COMPLETE
    assert pauses.waited == [2.0] * 5  # between the six orders that are listed


def test_orders_older_than_what_the_platform_lists_are_not_missing(shop, paced, still, now):
    """Shopify shows an app the orders of sixty days."""
    for number, age in enumerate((100, 61, 59, 1)):
        at = now - timedelta(days=age)
        paced.shop[ORDERS][f"old{number}"] = Record(f"old{number}", now, {"id": f"old{number}"}, created_at=at)
    run(shop, still)
    paced.since = lambda resource, when: when - timedelta(days=60) if resource is ORDERS else None
    for number in range(4):
        paced.take(ORDERS, f"old{number}")
    paced.calls.clear()
    still.advance(seconds=1)

    this = run(shop, still, full=True)

    assert this.counts[ORDERS].deleted == 2
    assert {"old0", "old1"} < set(bodies(shop, ORDERS))
    assert [call for call in paced.calls if "old" in call] == ["fetch_one orders old2", "fetch_one orders old3"]


def test_the_last_page_need_not_say_again_how_far_back_the_list_goes(shop, paced, still, now, monkeypatch):
    old = Record("old", now, {"id": "old"}, created_at=now - timedelta(days=100))
    paced.shop[ORDERS]["old"] = old
    run(shop, still)
    paced.take(ORDERS, "old")
    pages = iter([now - timedelta(days=60)])
    paced.since = lambda resource, when: next(pages, None) if resource is ORDERS else None

    run(shop, still, full=True)

    assert "old" in bodies(shop, ORDERS)
    assert "fetch_one orders old" not in paced.calls


def test_without_our_registration_a_sync_is_tried_again(shop, paced, still, now, delays):
    clients.secrets().delete_secret(SecretId="storelink/apps/SHOPIFY", ForceDeleteWithoutRecovery=True)
    apps.forget()
    other = granted("store2", pair(2, now + timedelta(hours=1)), now)
    message = {"stores": [shop.id, other.id], "trigger": "schedule"}

    sync.work_off(exact_json.dumps(message), NoHttp(), still, still.time + timedelta(minutes=10))

    assert sorted(body["stores"] for _, body in delays) == [["store1"], ["store2"]]
    assert (status_of(shop), state_of(shop).lease_until, paced.calls) == (("CONNECTED", None), None, [])
    with pytest.raises(sync.SyncBroken):
        sync.work_off(exact_json.dumps({**message, "stores": [shop.id]}), NoHttp(), still, still.time)
