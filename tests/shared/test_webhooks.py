import json
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from fakes import Clock, FakeOAuthPlatform, FakePlatform, Killed, NoHttp, connected, granted, register_app

from infra import template
from shared import (
    apps,
    clients,
    clock,
    delivery_log,
    exact_json,
    paging,
    platforms,
    problems,
    records,
    schemas,
    settings,
    stores,
    webhooks,
)
from shared.models import Credentials, Delivery, Order, Processing, Status, Store, SyncState
from shared.platforms.base import Event, PlatformError, PlatformName, Record, Refusal, Resource, Tokens, Verdict
from shared.stores import Caller

ORDERS = Resource.ORDERS
START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class ReceivingPlatform(FakePlatform):
    """Its deliveries are JSON: a list of events as the test writes them."""

    parsed_headers = frozenset()
    phrases = ()

    def verify(self, delivery, secrets, now):
        return Verdict.GENUINE

    def topic(self, delivery):
        return "order.updated"

    def event_id(self, delivery):
        return "1"

    def parse(self, delivery):
        return [self._event(event) for event in json.loads(delivery.body)]

    def _event(self, event):
        if event.get("access_lost"):
            return Event(None, access_lost=True, disconnected=event.get("disconnected", False))
        if "reauthorizeBy" in event:
            return Event(None, reauthorize_by=clock.from_text(event["reauthorizeBy"]))
        if "body" not in event:
            return Event(Resource(event["resource"]), event["id"], deleted=event.get("deleted", False))
        at = clock.from_text(event["updatedAt"])
        return Event(ORDERS, event["id"], record=Record(event["id"], at, event["body"]))


@pytest.fixture
def platform(monkeypatch):
    fake = ReceivingPlatform()
    monkeypatch.setattr(platforms, "PLATFORMS", {PlatformName.WOO_COMMERCE: fake})
    return fake


@pytest.fixture
def store(aws, platform, now):
    return connected("store1", now)


def delivered(now, *events, key="d1", body=None, store_id="store1", platform="WOO_COMMERCE", path_topic=None):
    Delivery(
        store_id,
        key,
        platform=platform,
        path_topic=path_topic,
        topic="order.updated",
        received_at=clock.to_text(now),
        headers="{}",
        body=zlib.compress(json.dumps(events).encode() if body is None else body),
        outcome=Processing.PENDING,
        expires_at=now + timedelta(days=30),
    ).save()
    return key


def handle(key, now, store_id="store1", receives=1):
    """As the queue hands it over; the stream has the delivery itself."""
    body = exact_json.dumps({"delivery": key, "store": store_id})
    with webhooks.Handling(NoHttp(), now) as handling:
        handling.take({"body": body, "attributes": {"ApproximateReceiveCount": str(receives)}})


def outcome(key="d1", store_id="store1"):
    """What became of it: as the log has it, unless its own row has something newer."""
    row = Delivery.get(store_id, key)
    for each in delivery_log.newest_first(store_id):
        if each.delivery == key and each.outcome in delivery_log.DONE and row.replayed_at is None:
            return each.outcome, each.cause, int(row.attempts) + 1
    return row.outcome, row.cause, int(row.attempts)


def dead_letters():
    url = settings.current().delivery_dead_letters_url
    answer = clients.sqs().receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [exact_json.loads(message["Body"]) for message in answer.get("Messages", [])]


def whole(id, now, **body):
    return {"resource": "orders", "id": id, "updatedAt": clock.to_text(now), "body": {"id": id, **body}}


def test_a_whole_event_is_applied_without_asking_the_platform(store, platform, now):
    delivered(now, whole("o1", now, total="5.00"))

    handle("d1", lambda: now)

    assert records.get(store.id, ORDERS, "o1")["total"] == "5.00"
    assert outcome() == (Processing.PROCESSED, None, 1)
    assert platform.calls == []


def test_a_partial_event_is_fetched_by_id(store, platform, now):
    platform.put(ORDERS, "o1", now, total="7.00")
    delivered(now, {"resource": "orders", "id": "o1"})

    handle("d1", lambda: now)

    assert records.get(store.id, ORDERS, "o1")["total"] == "7.00"
    assert platform.calls == ["fetch_one orders o1"]


def test_a_delete_event_is_looked_up_and_buries_what_is_gone(store, platform, now):
    delivered(now, whole("o1", now))
    handle("d1", lambda: now)
    delivered(now + timedelta(minutes=1), {"resource": "orders", "id": "o1", "deleted": True}, key="d2")

    handle("d2", lambda: now + timedelta(minutes=1))

    with pytest.raises(problems.OrderNotFound):
        records.get(store.id, ORDERS, "o1")


def test_a_delivery_about_what_we_think_is_deleted_has_it_looked_up(store, platform, now):
    """A shop whose clock is behind restores an order: its delivery is dated before the tombstone."""
    delivered(now, whole("o1", now))
    handle("d1", lambda: now)
    records.bury(store.id, ORDERS, "o1", now + timedelta(minutes=1), now)
    platform.put(ORDERS, "o1", now + timedelta(seconds=1), back=True)
    delivered(now, whole("o1", now + timedelta(seconds=1)), key="d2")

    handle("d2", lambda: now + timedelta(minutes=2))

    assert records.get(store.id, ORDERS, "o1")["back"] is True


def test_a_late_delivery_about_what_is_deleted_does_not_bring_it_back(store, platform, now):
    delivered(now, whole("o1", now))
    handle("d1", lambda: now)
    records.bury(store.id, ORDERS, "o1", now + timedelta(minutes=1), now)
    delivered(now, whole("o1", now + timedelta(days=1)), key="d2")

    handle("d2", lambda: now + timedelta(minutes=2))

    assert records.is_buried(store.id, ORDERS, "o1")
    assert platform.calls == ["fetch_one orders o1"]


def test_a_delete_event_for_what_is_there_again_deletes_nothing(store, platform, now):
    platform.put(ORDERS, "o1", now)
    delivered(now, {"resource": "orders", "id": "o1", "deleted": True})

    handle("d1", lambda: now)

    assert records.get(store.id, ORDERS, "o1")["id"] == "o1"


def test_an_older_event_changes_nothing_and_says_so(store, platform, now):
    delivered(now, whole("o1", now, n=2))
    handle("d1", lambda: now)
    delivered(now, whole("o1", now - timedelta(minutes=1), n=1), key="d2")

    handle("d2", lambda: now)

    assert records.get(store.id, ORDERS, "o1")["n"] == 2
    assert outcome("d2") == (Processing.PROCESSED, "What we have is as new.", 1)


def test_a_delivery_that_was_processed_is_not_processed_again(store, platform, now):
    platform.put(ORDERS, "o1", now)
    delivered(now, {"resource": "orders", "id": "o1"})

    for _ in range(3):
        handle("d1", lambda: now)

    assert platform.calls == ["fetch_one orders o1"]


def test_a_failure_is_tried_again_later_each_time_and_ends_in_the_dead_letters(store, platform, now):
    def down(call):
        raise PlatformError(Refusal.TRANSIENT, "The store answered 502.", status=502)

    platform.before = down
    delivered(now, {"resource": "orders", "id": "o1"})
    seen = []
    for _ in range(webhooks.ATTEMPTS):
        handle("d1", lambda: now)
        seen.append(outcome()[0])

    assert seen == [Processing.RETRYING] * (webhooks.ATTEMPTS - 1) + [Processing.DEAD_LETTERED]
    assert dead_letters() == [{"delivery": "d1", "store": store.id}]
    assert outcome() == (
        Processing.DEAD_LETTERED,
        "transient: The store answered 502.",
        webhooks.ATTEMPTS,
    )


def test_a_failed_delivery_waits_in_the_queue_and_is_done_when_the_platform_is_back(store, platform, now):
    platform.put(ORDERS, "o1", now)
    sent = []
    clients.sqs().meta.events.register("before-call.sqs.SendMessage", lambda params, **_: sent.append(params))

    def down(call):
        raise PlatformError(Refusal.UNREACHABLE, "No answer.")

    platform.before = down
    delivered(now, {"resource": "orders", "id": "o1"})
    handle("d1", lambda: now)
    platform.before = lambda call: None

    handle("d1", lambda: now)

    assert len(sent) == 1
    assert outcome()[0] == Processing.PROCESSED


def test_a_poison_body_is_dead_lettered_at_once_with_its_cause(store, platform, now):
    delivered(now, body=b"{")

    handle("d1", lambda: now)

    kept, cause, _ = outcome()
    assert kept == Processing.DEAD_LETTERED
    assert cause.startswith("The body cannot be read")
    assert dead_letters() == [{"delivery": "d1", "store": store.id}]


def test_a_fault_of_ours_is_tried_again_and_ends_in_the_dead_letters_with_its_type_and_nothing_else(
    store, platform, now
):
    def breaks(call):
        raise ZeroDivisionError("of Buyer 17")

    platform.before = breaks
    delivered(now, {"resource": "orders", "id": "o1"})
    seen = []
    for _ in range(webhooks.ATTEMPTS):
        handle("d1", lambda: now)
        seen.append(outcome()[:2])

    cause = "ZeroDivisionError: a fault of this service."
    retrying = [(Processing.RETRYING, cause)] * (webhooks.ATTEMPTS - 1)
    assert seen == [*retrying, (Processing.DEAD_LETTERED, cause)]
    assert dead_letters() == [{"delivery": "d1", "store": store.id}]


def test_a_long_delivery_dates_each_change_when_it_is_made(store, platform, now):
    """A reader of the change feed would have passed a change that is dated when the delivery began."""
    clock_ = Clock(now)
    platform.before = lambda call: clock_.advance(minutes=1)
    for id in ("o1", "o2", "gone"):
        platform.put(ORDERS, id, now)
    records.save(store.id, ORDERS, platform.shop[ORDERS].pop("gone"), "EUR", now, now)
    delivered(now, *({"resource": "orders", "id": id} for id in ("o1", "o2", "gone")))

    handle("d1", clock_)

    made = {row.id: row.changed_at[:16] for row in Order.query(store.id)}
    assert made == {"o1": "2026-11-22T10:01", "o2": "2026-11-22T10:02", "gone": "2026-11-22T10:03"}


def test_a_dead_letter_that_an_operator_puts_back_is_processed(store, platform, now):
    def down(call):
        raise PlatformError(Refusal.TRANSIENT, "The store answered 502.", status=502)

    platform.put(ORDERS, "o1", now)
    platform.before = down
    delivered(now, {"resource": "orders", "id": "o1"})
    for _ in range(webhooks.ATTEMPTS):
        handle("d1", lambda: now)
    platform.before = lambda call: None
    (letter,) = dead_letters()

    with webhooks.Handling(NoHttp(), lambda: now) as handling:
        handling.take({"body": exact_json.dumps(letter), "attributes": {"ApproximateReceiveCount": "1"}})

    assert outcome()[0] == Processing.PROCESSED


def test_what_announces_nothing_of_ours_is_ignored(store, platform, now):
    delivered(now)

    handle("d1", lambda: now)

    assert outcome()[0] == Processing.IGNORED


def test_lost_rights_are_believed_only_when_the_probe_confirms(store, platform, now):
    delivered(now, {"access_lost": True})
    handle("d1", lambda: now)
    unconfirmed = stores.load(store.id, Caller("user1")).status

    def refused(call):
        raise PlatformError(Refusal.PERMISSION, "The user has no rights.", status=403)

    platform.before = refused
    delivered(now, {"access_lost": True}, key="d2")
    handle("d2", lambda: now)

    kept = stores.load(store.id, Caller("user1"))
    assert unconfirmed == Status.CONNECTED
    assert (kept.status, kept.status_reason) == (Status.NEEDS_REAUTHORIZATION, "PERMISSION_MISSING")


def test_nothing_of_a_removed_store_is_written_and_its_delivery_goes(store, platform, now):
    Store(store.id).delete()
    delivered(now, whole("o1", now))

    handle("d1", lambda: now)

    assert records.live_ids(store.id, ORDERS) == set()
    with pytest.raises(Delivery.DoesNotExist):
        Delivery.get("store1", "d1")


def test_replaying_applies_the_same_event_again(store, platform, now):
    delivered(now, whole("o1", now))
    handle("d1", lambda: now)

    replayed = webhooks.replay(store.id, "d1", now)
    assert webhooks.to_view(replayed).outcome == Processing.PENDING
    assert outcome() == (Processing.PENDING, None, 0)
    handle("d1", lambda: now)

    assert outcome() == (Processing.PROCESSED, "What we have is as new.", 1)


def test_a_delivery_of_another_store_is_not_found(store, platform, now):
    delivered(now, whole("o1", now), store_id="other")

    for key in ("d1", "unknown"):
        with pytest.raises(problems.DeliveryNotFound):
            webhooks.replay(store.id, key, now)


def ended(*outcomes, apart=1):
    """Deliveries ``d0``, ``d1``, … so many seconds apart, with these outcomes after more than one attempt."""
    for number, each in enumerate(outcomes):
        at = START + timedelta(seconds=number * apart)
        key = delivered(at, whole(f"o{number}", START), key=f"d{number}")
        if each is not Processing.PENDING:
            set_ = [Delivery.outcome.set(each), Delivery.attempts.set(3), Delivery.cause.set("x")]
            Delivery("store1", key).update(actions=set_)
            retried = delivery_log.Handled(clock.to_text(at), key, Processing.RETRYING, "y")
            delivery_log.note("store1", [retried], at)


def replayed(store, now, **asked):
    """Which are to be processed again, call by call."""
    cursor, calls = None, []
    while cursor is not None or not calls:
        before = {row.delivery: row.replayed_at for row in Delivery.scan()}
        body = schemas.NewReplay.model_validate({**asked, **({"cursor": cursor} if cursor else {})})
        queued, cursor = webhooks.replay_several(store.id, body, now)
        calls.append(sorted(row.delivery for row in Delivery.scan() if row.replayed_at != before[row.delivery]))
        assert len(calls[-1]) == queued
        now += timedelta(minutes=1)
    return calls


DEAD, DONE = Processing.DEAD_LETTERED, Processing.PROCESSED


def test_a_stores_deliveries_are_replayed_by_time_and_outcome_a_few_at_a_time(store, now, subtests):
    at = [clock.to_text(START + timedelta(seconds=number)) for number in range(6)]
    cases = [
        ({}, [["d0", "d1", "d2", "d3", "d4"]]),
        ({"limit": 2}, [["d0", "d1"], ["d2", "d3"], ["d4"]]),
        ({"outcome": "DEAD_LETTERED"}, [["d1", "d2", "d4"]]),
        ({"outcome": "DEAD_LETTERED", "limit": 2}, [["d1", "d2"], ["d4"]]),
        ({"outcome": "RETRYING"}, [[]]),
        ({"outcome": "PENDING"}, [["d5", "d6"]]),
        ({"outcome": "PENDING", "limit": 1}, [["d5"], ["d6"], []]),
        ({"outcome": "PENDING", "until": at[5]}, [[]]),
        ({"outcome": "PENDING", "since": clock.to_text(START + timedelta(seconds=6))}, [["d6"]]),
        ({"since": at[1], "until": at[3]}, [["d1", "d2"]]),
        ({"since": at[1], "until": at[4], "outcome": "DEAD_LETTERED", "limit": 1}, [["d1"], ["d2"], []]),
        ({"since": at[5]}, [[]]),
        ({"since": "2031-01-01T00:00:00Z"}, [[]]),
        ({"until": "0001-01-01T00:00:00Z"}, [[]]),
        ({"since": "0999-01-01T00:00:00Z", "until": at[1]}, [["d0"]]),
    ]
    delivered(START, whole("o9", START), key="another's", store_id="other")
    for number, (asked, expected) in enumerate(cases):
        with subtests.test(str(asked)):
            ended(DONE, DEAD, DEAD, Processing.IGNORED, DEAD, Processing.PENDING, Processing.PENDING)

            assert replayed(store, now + timedelta(days=number), **asked) == expected


def test_what_is_replayed_is_processed_as_the_first_time_and_may_be_replayed_again(store, platform, now):
    ended(DEAD, DONE)

    for minutes, cause in enumerate((None, "What we have is as new.")):
        assert replayed(store, now + timedelta(minutes=minutes)) == [["d0", "d1"]]
        assert outcome("d0") == outcome("d1") == (Processing.PENDING, None, 0)
        for key in ("d0", "d1"):
            handle(key, lambda: now)
            assert outcome(key) == (DONE, cause, 1)


def test_a_replay_is_a_change_even_of_what_is_still_waiting(store, now):
    """The stream of a table shows no write that changes nothing, and it is the stream that has it processed."""
    ended(Processing.PENDING)
    webhooks.replay(store.id, "d0", now)
    before = Delivery.get(store.id, "d0").to_dynamodb_dict()

    webhooks.replay(store.id, "d0", now + timedelta(seconds=1))

    assert Delivery.get(store.id, "d0").to_dynamodb_dict() != before


def test_what_comes_while_a_replay_goes_on_is_none_of_it(store, now):
    ended(DONE, DONE, DONE)
    queued, cursor = webhooks.replay_several(store.id, schemas.NewReplay.model_validate({"limit": 2}), now)
    delivered(now, whole("o9", now), key="d9")
    handle("d9", lambda: now)

    asked = schemas.NewReplay.model_validate({"limit": 2, "cursor": cursor})
    rest, end = webhooks.replay_several(store.id, asked, now + timedelta(minutes=1))

    assert (queued, rest, end) == (2, 1, None)
    assert Delivery.get(store.id, "d9").replayed_at is None


def test_deliveries_of_the_same_instant_are_each_replayed_once(store, now):
    ended(DONE, DONE, DONE, DONE, DONE, apart=0)

    calls = replayed(store, now, limit=2)

    assert [len(keys) for keys in calls] == [2, 2, 1]
    assert len(set().union(*calls)) == 5


def test_a_call_looks_at_so_many_deliveries_and_no_more(store, now, monkeypatch):
    monkeypatch.setattr(webhooks, "_LOOKED_AT", 3)
    monkeypatch.setattr(webhooks, "_LOOK", 2)
    ended(DONE, DONE, DONE, DONE, DEAD)

    assert replayed(store, now, outcome="DEAD_LETTERED") == [[], ["d4"]]


def test_a_call_for_what_waits_looks_at_so_many_deliveries_too(store, platform, now, monkeypatch):
    """All that went well at once stands there as it came, so whoever looks for what waits meets it all."""
    monkeypatch.setattr(webhooks, "_LOOKED_AT", 2)
    for number in range(5):
        delivered(START, whole(f"o{number}", START), key=f"d{number}")
        if number != 3:
            handle(f"d{number}", lambda: now)

    assert replayed(store, now, outcome="PENDING") == [[], ["d3"], []]


def test_a_cursor_of_another_replay_is_refused(store, now):
    ended(DONE, DONE)
    scope = ("replay", store.id, None, None, None)
    good = {"received": clock.to_text(START), "delivery": "d0", "last": clock.to_text(now)}
    cursor = paging.encode(good, *scope)
    others = [
        {"cursor": paging.encode(good, "replay", "other", None, None, None)},
        {"cursor": paging.encode({**good, "received": "zzz"}, *scope)},
        {"cursor": paging.encode({**good, "received": "1999"}, *scope)},
        {"cursor": paging.encode({"received": good["received"]}, *scope)},
        {"cursor": cursor, "outcome": "PENDING"},
        {"cursor": cursor, "since": "2026-11-01T00:00:00Z"},
    ]

    assert webhooks.replay_several(store.id, schemas.NewReplay.model_validate({"cursor": cursor}), now) == (1, None)
    for other in others:
        with pytest.raises(problems.CursorInvalid):
            webhooks.replay_several(store.id, schemas.NewReplay.model_validate(other), now)


def test_deliveries_are_listed_newest_first_in_pages(store, platform, now):
    for number in range(5):
        delivered(now + timedelta(seconds=7 * number), whole("o1", now, n=number), key=f"d{number}")
        handle(f"d{number}", lambda: now)
    webhooks.replay(store.id, "d3", now)

    first, cursor = webhooks.page(store.id, 3, None)
    rest, end = webhooks.page(store.id, 3, cursor)

    assert [shown.row.delivery for shown in first + rest] == ["d4", "d3", "d2", "d1", "d0"]
    assert [webhooks.to_view(shown).outcome for shown in first] == ["PROCESSED", "PENDING", "PROCESSED"]
    assert end is None


# ── The deliveries of one invocation ─────────────────────────────────────────────────────────────


def in_stream(key):
    """The delivery as the stream has it."""
    return {"eventID": key, "dynamodb": {"NewImage": Delivery.get("store1", key).to_dynamodb_dict()}}


def calls_made():
    made = []
    clients.dynamodb().meta.events.register("before-call.dynamodb", lambda model, **_: made.append(model.name))
    return made


def test_what_a_batch_brings_costs_a_write_for_each_record_and_one_for_all(store, platform, now):
    records_ = [in_stream(delivered(now, whole(f"o{number}", now), key=f"d{number}")) for number in range(8)]
    made = calls_made()

    with webhooks.Handling(NoHttp(), lambda: now) as handling:
        for record in records_:
            handling.take(record)

    assert sorted(made) == ["GetItem"] + ["PutItem"] * 8 + ["UpdateItem"]
    assert [outcome(f"d{number}") for number in range(8)] == [(Processing.PROCESSED, None, 1)] * 8


def test_a_batch_that_is_cut_off_is_not_noted_and_may_come_again(store, platform, now):
    def cut_off():
        with webhooks.Handling(NoHttp(), lambda: now) as handling:
            handling.take(in_stream("d1"))
            raise Killed

    delivered(now, whole("o1", now))
    with pytest.raises(Killed):
        cut_off()

    assert outcome() == (Processing.PENDING, None, 0)
    for _ in range(2):
        with webhooks.Handling(NoHttp(), lambda: now) as handling:
            handling.take(in_stream("d1"))
    assert outcome() == (Processing.PROCESSED, "What we have is as new.", 1)
    assert len(webhooks.page(store.id, 9, None)[0]) == 1


def test_the_first_delivery_of_a_store_is_kept_though_a_read_is_behind(store, platform, now, monkeypatch):
    """A read without consistency may not show yet a store that was connected a moment ago."""
    genuine = stores.find

    def behind(store_id, *, consistent=True):
        return genuine(store_id) if consistent else None

    monkeypatch.setattr(stores, "find", behind)
    delivered(now, whole("o1", now))

    handle("d1", lambda: now)

    assert outcome() == (Processing.PROCESSED, None, 1)
    assert records.live_ids(store.id, ORDERS) == {"o1"}


def test_a_store_is_looked_up_anew_when_some_time_has_passed(store, platform, now):
    """It may have been removed, or connected to another account, while a platform took its time."""
    clock_ = Clock(now, timedelta(0))
    for key in ("d1", "d2"):
        delivered(now, whole(key, now), key=key)
    with webhooks.Handling(NoHttp(), clock_) as handling:
        handling.take(in_stream("d1"))
        Store(store.id).delete()
        clock_.advance(seconds=6)
        handling.take(in_stream("d2"))

    assert records.live_ids(store.id, ORDERS) == {"d1"}


def test_what_was_cut_off_again_and_again_is_given_up_with_a_cause(store, platform, now):
    """A processing that ends by its time or its memory says nothing; only the queue counts how often."""
    delivered(now, whole("o1", now))

    handle("d1", lambda: now, receives=webhooks.LAST_RECEIVE)

    kept, cause, attempts = outcome()
    assert (kept, attempts) == (Processing.DEAD_LETTERED, 1)
    assert cause.startswith("It was cut off 4 times")
    assert dead_letters() == [{"delivery": "d1", "store": store.id}]


def test_the_queue_gives_up_when_the_code_thinks_so():
    redrive = template.load()["Resources"]["DeliveryQueue"]["Properties"]["RedrivePolicy"]

    assert redrive["maxReceiveCount"] == webhooks.LAST_RECEIVE


# ── Platforms with an app ────────────────────────────────────────────────────────────────────────


class AppPlatform(ReceivingPlatform, FakeOAuthPlatform):
    """Names the store in the body, and the topic in the path."""

    seen: tuple[str, ...] = ()

    def store_of(self, delivery):
        events = json.loads(delivery.body)
        return events[0].get("shop", "") if events else ""

    def parse(self, delivery):
        self.seen = (*self.seen, delivery.path_topic)
        return super().parse(delivery)


UNINSTALLED = {"access_lost": True, "disconnected": True}


def refused(refusal=Refusal.CREDENTIALS):
    def before(call):
        if call == "probe":
            raise PlatformError(refusal, "The token is not valid.", status=401)

    return before


@pytest.fixture
def app_platform(aws, monkeypatch):
    fake = AppPlatform(name=PlatformName.SHOPIFY)
    monkeypatch.setattr(platforms, "PLATFORMS", {PlatformName.SHOPIFY: fake})
    register_app()
    yield fake
    apps.forget()


@pytest.fixture
def shop(app_platform, now):
    ends = now + timedelta(hours=1)
    return granted("store1", Tokens("access-1", "refresh-1", ends, now + timedelta(days=90)), now)


def arrives(now, *events, **more):
    """A delivery of the platform with an app, processed."""
    delivered(now, *events, platform="SHOPIFY", **more)
    place = more.get("key", "d1"), more.get("store_id", "store1")
    handle(place[0], lambda: now, place[1])
    return outcome(*place)


def status(store_id="store1"):
    row = Store.get(store_id)
    return row.status, row.status_reason


def test_an_uninstalled_app_ends_the_connection_and_leaves_the_data(shop, app_platform, now):
    arrives(now, {"resource": "orders", "id": "o1", "updatedAt": clock.to_text(now), "body": {"id": "o1"}})
    app_platform.before = refused()

    assert arrives(now, UNINSTALLED, key="d2") == (Processing.PROCESSED, None, 1)

    assert status() == (Status.DISCONNECTED, "UNINSTALLED")
    assert SyncState.get("store1").slot is None
    assert records.get("store1", ORDERS, "o1")["id"] == "o1"


def test_an_uninstall_that_is_long_past_is_not_believed(shop, app_platform, now):
    """The seller has installed the app again before the delivery came."""
    arrives(now, UNINSTALLED)

    assert status() == (Status.CONNECTED, None)
    assert app_platform.calls == ["probe"]


@pytest.mark.parametrize("refusal", sorted(set(Refusal) - {Refusal.CREDENTIALS, Refusal.PERMISSION}))
def test_an_uninstall_that_cannot_be_confirmed_now_is_asked_about_again(shop, app_platform, now, refusal):
    app_platform.before = refused(refusal)

    kept, cause, _ = arrives(now, UNINSTALLED)

    assert (kept, cause) == (Processing.RETRYING, f"{refusal}: The token is not valid.")
    assert status() == (Status.CONNECTED, None)


def test_an_uninstall_of_a_store_whose_token_has_ended_says_uninstalled(shop, app_platform, now):
    later = now + timedelta(hours=2)

    arrives(later, UNINSTALLED)

    assert app_platform.calls == ["refresh"]
    assert status() == (Status.DISCONNECTED, "UNINSTALLED")


def test_a_refusal_of_credentials_that_were_replaced_meanwhile_is_not_believed(shop, app_platform, now):
    def replaced(call):
        Credentials("store1").update(actions=[Credentials.api_credentials.set(b"of the reconnect")])
        refused()(call)

    app_platform.before = replaced

    kept, cause, _ = arrives(now, UNINSTALLED)

    assert (kept, cause) == (Processing.RETRYING, "The store's credentials were replaced meanwhile.")
    assert status() == (Status.CONNECTED, None)


@pytest.mark.parametrize(
    ("known", "reason"), [(Status.DISCONNECTED, "UNINSTALLED"), (Status.NEEDS_REAUTHORIZATION, "GRANT_ENDED")]
)
def test_what_is_known_of_a_lost_access_is_not_made_vaguer(shop, app_platform, now, known, reason):
    stores.set_status("store1", known, reason, now)
    app_platform.before = refused()

    arrives(now, {"access_lost": True})

    assert status() == (known, reason)


def test_an_uninstall_says_more_than_that_a_person_must_act(shop, app_platform, now):
    stores.set_status("store1", Status.NEEDS_REAUTHORIZATION, "GRANT_ENDED", now)
    app_platform.before = refused()

    arrives(now, UNINSTALLED)

    assert status() == (Status.DISCONNECTED, "UNINSTALLED")


def test_an_end_of_the_grant_that_the_platform_announces_is_kept_and_due_at_once(shop, now):
    by = now + timedelta(days=20)

    assert arrives(now, {"reauthorizeBy": clock.to_text(by)}) == (Processing.PROCESSED, None, 1)

    row = Credentials.get("store1")
    assert (row.refresh_expires_at, row.refresh_due_at) == (by, clock.to_text(now))


def test_a_delivery_about_another_store_than_its_address_names_is_ignored(shop, app_platform, now):
    app_platform.before = refused()

    kept, cause, _ = arrives(now, {"shop": "other.example.com", **UNINSTALLED})

    assert (kept, cause) == (Processing.IGNORED, "It is about another store.")
    assert app_platform.calls == []
    assert arrives(now, {"shop": "store1.example.com", **UNINSTALLED}, key="d2")[0] == Processing.PROCESSED


def test_the_topic_of_the_path_is_given_to_the_adapter(shop, app_platform, now):
    arrives(now, path_topic="ORDER_STATUS_CHANGE")
    arrives(now, key="d2")

    assert app_platform.seen == ("ORDER_STATUS_CHANGE", "")


def test_a_delivery_about_a_store_that_we_do_not_know_stays_as_evidence(app_platform, now):
    kept, cause, _ = arrives(now, UNINSTALLED, store_id="SHOPIFY#gone.example.com")

    assert (kept, cause) == (Processing.IGNORED, "It is about a store that is not connected.")
    assert Delivery.get("SHOPIFY#gone.example.com", "d1").body is not None
    assert app_platform.calls == []


def test_a_look_up_renews_a_token_that_has_ended_first(shop, app_platform, now):
    later = now + timedelta(hours=1)
    app_platform.put(ORDERS, "o1", later)
    app_platform.refreshes = lambda connection, when: Tokens("access-2", "refresh-2", when + timedelta(hours=1))
    used = []
    app_platform.admits = lambda connection: used.append(connection.credentials["access_token"])

    assert arrives(later, {"resource": "orders", "id": "o1"})[0] == Processing.PROCESSED

    assert used == ["access-2"]
    assert app_platform.calls == ["refresh", "fetch_one orders o1"]


def test_a_token_that_ends_while_a_delivery_is_worked_on_is_renewed_for_what_is_left(shop, app_platform, now):
    clock_ = Clock(now)
    app_platform.refreshes = lambda connection, when: Tokens("access-2", "refresh-2", when + timedelta(hours=1))
    used = []
    app_platform.admits = lambda connection: used.append(connection.credentials["access_token"])
    app_platform.before = lambda call: clock_.advance(minutes=59)
    delivered(now, *({"resource": "orders", "id": id} for id in ("o1", "o2")), platform="SHOPIFY")

    handle("d1", clock_)

    assert used == ["access-1", "access-2"]


def test_without_our_registration_a_look_up_is_tried_again(shop, app_platform, now):
    clients.secrets().delete_secret(SecretId="storelink/apps/SHOPIFY", ForceDeleteWithoutRecovery=True)
    apps.forget()

    kept, cause, _ = arrives(now, {"resource": "orders", "id": "o1"})

    assert (kept, cause) == (Processing.RETRYING, "The store's credentials cannot be opened now.")
