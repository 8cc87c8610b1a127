from copy import deepcopy
from itertools import pairwise

import pytest
from makers import any_row
from makers import stream_record as stream

from shared import changes, clients, clock, exact_json, records
from shared.models import Change, Order, Product, Status, Store, SyncRun
from shared.platforms.base import Record, Resource


@pytest.fixture
def bus(aws, monkeypatch):
    """What the bus was given, entry by entry, in the calls it came in."""
    calls = []
    genuine = clients.events().put_events

    def noted(**request):
        calls.append(request["Entries"])
        return genuine(**request)

    monkeypatch.setattr(clients.events(), "put_events", noted)
    return calls


def published(bus):
    return [(entry["DetailType"], exact_json.loads(entry["Detail"])) for entries in bus for entry in entries]


def store(now, **changes_):
    values = {
        "name": "Shop", "platform": "WOO_COMMERCE", "store_id": "shop.example.com", "currency": "EUR",
        "timezone": "UTC", "is_active": True, "is_primary": False, "user_id": "user1", "created_at": now,
        "updated_at": now, "status": Status.CONNECTED, "version": 1, "created_key": "k", "platform_shard": "p",
    }  # fmt: skip
    return Store("store1", **{**values, **changes_})


def order(now, *, n=1):
    return any_row(Order, "store1", Record("o1", now, {"id": "o1", "n": n}), now, now)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, {}, ["store.connected"]),
        ({}, {"name": "Other"}, []),
        ({}, {"status": "NEEDS_REAUTHORIZATION"}, ["store.needs_reauthorization"]),
        ({"status": "NEEDS_REAUTHORIZATION"}, {}, ["store.connected"]),
        ({}, {"status": "UNREACHABLE"}, ["store.unreachable"]),
        ({}, {"removing": True, "status": "DISCONNECTED"}, ["store.disconnected", "store.removed"]),
        (
            {"status": "NEEDS_REAUTHORIZATION"},
            {"removing": True, "status": "DISCONNECTED"},
            ["store.disconnected", "store.removed"],
        ),
        (
            {"status": "DISCONNECTED", "status_reason": "UNINSTALLED"},
            {"removing": True, "status": "DISCONNECTED"},
            ["store.removed"],
        ),
        ({"removing": True, "status": "DISCONNECTED"}, {"removing": True, "status": "DISCONNECTED", "version": 2}, []),
        ({"removing": True, "status": "DISCONNECTED"}, None, []),
        ({}, {"status": "DISCONNECTED", "status_reason": "UNINSTALLED"}, ["store.disconnected"]),
        ({"status": "NEEDS_REAUTHORIZATION"}, {"status": "DISCONNECTED"}, ["store.disconnected"]),
        ({"status": "DISCONNECTED"}, {}, ["store.connected"]),
    ],
)
def test_a_stores_life_is_announced(bus, now, before, after, expected):
    old = store(now, **before) if before is not None else None
    new = store(now, **after) if after is not None else None

    changes.publish([stream("stores", old, new)], now)

    assert [kind for kind, _ in published(bus)] == expected


def test_a_store_event_names_its_owner_and_holds_nothing_else_of_the_store(bus, now):
    changes.publish([stream("stores", None, store(now, metadata='{"note":"private"}', team_id="team1"))], now)

    ((_, detail),) = published(bus)
    assert detail.keys() == {
        "eventId", "type", "store", "platform", "userId", "teamId", "status", "statusReason",
    }  # fmt: skip


@pytest.mark.parametrize(("table", "model", "kind"), [("orders", Order, "order"), ("products", Product, "product")])
def test_a_records_life_is_announced_without_its_contents(bus, now, table, model, kind):
    def row(n, at):
        return any_row(model, "store1", Record("x1", at, {"id": "x1", "n": n}), at, at)

    first, second = row(1, now), row(2, now + clock.timedelta(seconds=1))
    gone = model("store1", "x1", version="9", looked_at="9", hash="", changed_at="t", deleted=True)

    changes.publish(
        [
            stream(table, None, first, "1"),
            stream(table, first, second, "2"),
            stream(table, second, gone, "3"),
            stream(table, gone, None, "4"),
        ],
        now,
    )

    assert [each for each, _ in published(bus)] == [f"{kind}.created", f"{kind}.updated", f"{kind}.deleted"]
    assert all(detail.keys() == {"eventId", "type", "store", table} for _, detail in published(bus))
    assert all(record.keys() == {"id", "changedAt"} for _, detail in published(bus) for record in detail[table])


def changed_orders(now, *shops, kinds=("created",)):
    """The stream's records of an order each, new or changed."""
    found = []
    for number, (shop, kind) in enumerate((shop, kind) for shop in shops for kind in kinds):
        new = any_row(Order, shop, Record(f"o{number}", now, {"n": number}), now, now)
        old = any_row(Order, shop, Record(f"o{number}", now, {"n": -1}), now, now)
        found.append(stream("orders", old if kind == "updated" else None, new, f"e{number}"))
    return found


def test_what_a_batch_has_of_a_store_is_one_event_of_each_kind(bus, now):
    batch = changed_orders(now, "a", "b", kinds=("created", "created", "updated"))

    changes.publish(batch, now)

    assert [
        (kind, detail["store"], [order["id"] for order in detail["orders"]]) for kind, detail in published(bus)
    ] == [
        ("order.created", "a", ["o0", "o1"]),
        ("order.updated", "a", ["o2"]),
        ("order.created", "b", ["o3", "o4"]),
        ("order.updated", "b", ["o5"]),
    ]  # fmt: skip


def test_an_event_repeats_its_id_with_the_same_contents_only(bus, now):
    batch = changed_orders(now, "a", "a", "a")

    for part in (batch, batch, batch[:2]):
        changes.publish(deepcopy(part), now)

    whole, again, fewer = (detail["eventId"] for _, detail in published(bus))
    assert whole == again != fewer


def test_the_feed_has_it_before_it_is_announced(bus, now, monkeypatch):
    """Who reads the feed for an event must find what it is about."""
    monkeypatch.setattr(clients.events(), "put_events", lambda **_: {"FailedEntryCount": 1})

    with pytest.raises(changes.NotPublished):
        changes.publish(changed_orders(now, "a"), now)

    assert [entry.store_id for entry in Change.scan()] == ["a"]


def test_a_newer_version_that_a_batch_overwrote_is_put_back_and_not_announced(bus, now):
    newer, older = order(now + clock.timedelta(seconds=5), n=2), order(now, n=1)
    older.save()

    changes.publish([stream("orders", newer, older)], now)

    assert published(bus) == []
    assert records.get("store1", Resource.ORDERS, "o1")["n"] == 2


def test_a_page_that_brought_an_erased_buyer_back_is_mended(bus, now):
    erased, bought = order(now), order(now + clock.timedelta(seconds=5), n=2)
    records._erase(erased)
    bought.body = records.zlib.compress(exact_json.canonical({"id": "o1", "n": 2, "customer": {"name": "Buyer 17"}}))
    bought.save()

    changes.publish([stream("orders", erased, bought)], now)

    kept = Order.get("store1", "o1")
    assert (kept.erased, records.body_of(kept)) == (True, {"id": "o1", "n": 2, "customer": None})
    assert published(bus) == []


def test_a_newer_version_is_put_back_without_the_buyer_whom_either_has_lost(bus, now):
    older, newer = order(now), order(now + clock.timedelta(seconds=5), n=2)
    newer.body = records.zlib.compress(exact_json.canonical({"id": "o1", "customer": {"name": "Buyer 17"}}))
    records._erase(older)
    older.save()

    changes.publish([stream("orders", newer, older)], now)

    kept = Order.get("store1", "o1")
    assert (kept.erased, kept.version) == (True, newer.version)
    assert records.body_of(kept)["customer"] is None


def test_the_mark_of_an_order_that_was_never_here_is_no_event(bus, now):
    records.redact("store1", "o1", now)

    changes.publish([stream("orders", None, Order.get("store1", "o1"))], now)

    assert published(bus) == []


def test_a_finished_sync_is_announced_once(bus, now):
    run = SyncRun(
        "store1", clock.to_text(now), outcome="COMPLETE", trigger="schedule", full=False, counts='{"orders":{}}',
        duration_ms=5, user_id="user1", platform="WOO_COMMERCE", expires_at=now,
    )  # fmt: skip

    changes.publish([stream("sync-runs", None, run), stream("sync-runs", run, None)], now)

    ((kind, detail),) = published(bus)
    assert (kind, detail["outcome"], detail["counts"]) == ("sync.finished", "COMPLETE", {"orders": {}})


def test_events_go_out_ten_at_a_time(bus, now):
    changes.publish([stream("stores", None, store(now), str(number)) for number in range(23)], now)

    assert [len(entries) for entries in bus] == [10, 10, 3]


def test_a_repeated_stream_record_has_the_same_event_id(bus, now):
    for _ in range(2):
        changes.publish([stream("stores", None, store(now), "e7")], now)

    assert {detail["eventId"] for _, detail in published(bus)} == {"e7.0"}


def test_an_entry_that_the_bus_did_not_take_brings_the_records_again(aws, now, monkeypatch):
    monkeypatch.setattr(clients.events(), "put_events", lambda **_: {"FailedEntryCount": 1})

    with pytest.raises(changes.NotPublished):
        changes.publish([stream("stores", None, store(now))], now)


def test_a_stream_we_do_not_know_stops_nothing(bus, now):
    assert changes.publish([stream("budgets", None, store(now)), stream("stores", None, store(now))], now) == 1


def test_the_end_of_a_grant_is_announced_once_for_each_of_its_moments(bus, now):
    by = now + clock.timedelta(days=30)
    ends = [store(now, reauthorize_by=by, reauthorize_days=days, version=2 + days) for days in (30, 7, 1)]
    rows = [store(now), ends[0], store(now, reauthorize_by=by, reauthorize_days=30, name="Other"), *ends[1:]]

    changes.publish([stream("stores", old, new, str(n)) for n, (old, new) in enumerate(pairwise(rows))], now)

    events = published(bus)
    assert [kind for kind, _ in events] == ["store.reauthorization_due"] * 3
    assert [(detail["days"], detail["reauthorizeBy"]) for _, detail in events] == [
        (days, "2026-12-22T10:00:00Z") for days in (30, 7, 1)
    ]


def test_a_grant_that_was_renewed_announces_nothing_until_the_next(bus, now):
    by = now + clock.timedelta(days=1)
    due = store(now, reauthorize_by=by, reauthorize_days=1)
    later = store(now, reauthorize_by=by + clock.timedelta(days=90), reauthorize_days=30)

    changes.publish([stream("stores", due, store(now), "1"), stream("stores", store(now), later, "2")], now)

    assert [detail["reauthorizeBy"] for _, detail in published(bus)] == ["2027-02-21T10:00:00Z"]


def test_a_store_that_ends_and_is_due_at_once_says_both(bus, now):
    lost = store(now, status="NEEDS_REAUTHORIZATION", reauthorize_by=now, reauthorize_days=1)

    changes.publish([stream("stores", store(now), lost)], now)

    assert [kind for kind, _ in published(bus)] == ["store.needs_reauthorization", "store.reauthorization_due"]
    assert {detail["eventId"] for _, detail in published(bus)} == {"e1.0", "e1.1"}
