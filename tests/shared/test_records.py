import zlib
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from makers import any_row

from shared import clients, exact_json, problems, records
from shared.models import Order, Product
from shared.platforms.base import Record, Resource

ORDERS, PRODUCTS = Resource.ORDERS, Resource.PRODUCTS


@pytest.fixture(autouse=True)
def _aws(aws):
    pass


def record(id, updated_at, **body):
    return Record(id, updated_at, {"id": id, **body}, created_at=updated_at)


def save(record_, seen, resource=ORDERS):
    return records.save("s", resource, record_, "EUR", seen, seen)


def save_page(page, seen, resource=ORDERS):
    return records.save_page("s", resource, page, "EUR", seen, seen)


def calls_made():
    made = []
    clients.dynamodb().meta.events.register("before-call.dynamodb", lambda model, **_: made.append(model.name))
    return made


def test_a_page_of_100_changed_records_makes_one_read_and_four_writes(now):
    made = calls_made()

    counts = save_page([record(str(number), now) for number in range(100)], now)

    assert counts.created == 100
    assert made == ["BatchGetItem"] + ["BatchWriteItem"] * 4


def test_a_page_without_changes_writes_nothing(now):
    page = [record(str(number), now) for number in range(100)]
    save_page(page, now)
    made = calls_made()

    counts = save_page(page, now + timedelta(minutes=5))

    assert (counts.unchanged, counts.changed) == (100, 0)
    assert made == ["BatchGetItem"]


def test_a_page_that_names_a_record_twice_keeps_the_newer(now):
    counts = save_page([record("1", now + timedelta(seconds=9), n=2), record("1", now, n=1)], now)

    assert records.get("s", ORDERS, "1")["n"] == 2
    assert (counts.seen, counts.created, counts.unchanged) == (2, 1, 1)


def test_an_older_page_does_not_undo_a_newer_event(now):
    save(record("1", now, status="paid"), now)

    counts = save_page([record("1", now - timedelta(seconds=1), status="pending")], now)

    assert counts.unchanged == 1
    assert records.get("s", ORDERS, "1")["status"] == "paid"


def test_one_record_is_written_once_for_any_number_of_copies(now):
    written = [save(record("1", now, n=1), now + timedelta(days=day)) for day in range(0, 31, 10)]

    assert written == [True, False, False, False]


def announce(record_, received, resource=ORDERS):
    return records.save_announced("s", resource, record_, "EUR", received, received)


def look(record_, seen):
    return save(record_, seen)


def look_at_page(record_, seen):
    return save_page([record_], seen).updated == 1


@pytest.mark.parametrize("resource", list(Resource))
def test_a_tombstone_outlives_what_a_late_delivery_announces(now, resource):
    save(record("1", now), now, resource)
    records.bury("s", resource, "1", now + timedelta(minutes=1), now)

    assert not announce(record("1", now + timedelta(days=1), late=True), now + timedelta(days=1), resource)
    assert records.is_buried("s", resource, "1")
    with pytest.raises(problems.Problem) as refused:
        records.get("s", resource, "1")
    assert refused.value.status == 404


@pytest.mark.parametrize("way", [look, look_at_page])
def test_a_tombstone_gives_way_to_a_look_that_began_after_it_whatever_the_platforms_clock_says(now, way):
    save(record("1", now), now)
    records.bury("s", ORDERS, "1", now + timedelta(minutes=1), now)

    assert way(record("1", now - timedelta(hours=1), back=True), now + timedelta(minutes=2))
    assert records.get("s", ORDERS, "1")["back"] is True
    assert not records.is_buried("s", ORDERS, "1")


@pytest.mark.parametrize("way", [look, look_at_page])
def test_a_tombstone_stays_when_a_look_began_before_it(now, way):
    save(record("1", now), now)
    records.bury("s", ORDERS, "1", now + timedelta(minutes=1), now)

    assert not way(record("1", now + timedelta(hours=1)), now + timedelta(seconds=59))
    assert records.is_buried("s", ORDERS, "1")


def test_a_record_dated_in_the_future_is_buried_all_the_same(now):
    save(record("1", now + timedelta(hours=1)), now)

    assert records.bury("s", ORDERS, "1", now + timedelta(minutes=1), now)


def test_what_came_after_the_look_is_not_buried_by_it(now):
    announce(record("1", now), now + timedelta(minutes=2))

    assert not records.bury("s", ORDERS, "1", now + timedelta(minutes=1), now)


def test_a_batch_that_overwrote_a_tombstone_is_undone(now):
    save(record("1", now), now)
    stale = any_row(Order, "s", record("1", now + timedelta(days=1)), now + timedelta(seconds=1), now)
    records.bury("s", ORDERS, "1", now + timedelta(minutes=1), now)
    tombstone = Order.get("s", "1")
    stale.save()

    assert records.restore(ORDERS, tombstone, stale)
    assert records.is_buried("s", ORDERS, "1")


def test_what_was_never_there_gets_no_tombstone(now):
    assert not records.bury("s", ORDERS, "1", now, now)
    assert not list(Order.scan())


def test_a_delete_is_news_once(now):
    save(record("1", now), now)

    assert [records.bury("s", ORDERS, "1", now + timedelta(minutes=1), now) for _ in range(2)] == [True, False]


def test_numbers_and_umlauts_survive_to_the_last_digit(now):
    save(record("1", now, weight=Decimal("1.2300"), title="Gr\u00f6\u00dfe \u2615"), now)

    assert exact_json.dumps(records.get("s", ORDERS, "1")).count('"weight":1.2300') == 1
    assert records.get("s", ORDERS, "1")["title"] == "Gr\u00f6\u00dfe \u2615"


def test_a_batch_that_overwrote_a_newer_version_is_undone(now):
    newer, older = record("1", now + timedelta(seconds=5), n=2), record("1", now, n=1)
    save(newer, now)
    old = Order.get("s", "1")
    stale = any_row(Order, "s", older, now, now)
    stale.save()

    assert records.restore(ORDERS, old, stale)
    assert records.get("s", ORDERS, "1")["n"] == 2


def test_an_overwrite_is_not_undone_when_a_still_newer_one_came(now):
    first, stale, newest = (record("1", now + timedelta(seconds=by), n=by) for by in (5, 0, 9))
    save(first, now)
    old = Order.get("s", "1")
    overwritten = any_row(Order, "s", stale, now, now)
    overwritten.save()
    save(newest, now)

    assert records.restore(ORDERS, old, overwritten)
    assert records.get("s", ORDERS, "1")["n"] == 9


def test_a_forward_change_is_no_overwrite(now):
    save(record("1", now), now)
    old = Order.get("s", "1")
    save(record("1", now + timedelta(seconds=5), n=2), now)

    assert not records.restore(ORDERS, old, Order.get("s", "1"))


def test_orders_are_listed_newest_first_and_products_by_id(now):
    for number in (2, 1, 3):
        save(record(f"x{number}", now - timedelta(hours=number)), now)
        save(record(f"x{number}", now), now, PRODUCTS)

    assert [row["id"] for row in records.page("s", ORDERS, 10, None)[0]] == ["x1", "x2", "x3"]
    assert [row["id"] for row in records.page("s", PRODUCTS, 10, None)[0]] == ["x1", "x2", "x3"]


def test_orders_whose_ids_grow_with_time_are_listed_by_them_and_cost_no_entry_in_an_index(now):
    for number in (9, 1000, 10):
        save(record(f"gid/{number}", now)._replace(sorts_by_id=True), now)

    assert [row["id"] for row in records.page("s", ORDERS, 10, None)[0]] == ["gid/1000", "gid/10", "gid/9"]
    assert not list(Order.by_created.query("s"))


@pytest.mark.parametrize("sorts_by_id", [True, False])
@pytest.mark.parametrize("resource", list(Resource))
def test_pages_show_everything_that_is_there_once(now, resource, sorts_by_id):
    for number in range(9):
        save(record(f"x{number}", now + timedelta(hours=number))._replace(sorts_by_id=sorts_by_id), now, resource)
    for gone in ("x0", "x4"):
        records.bury("s", resource, gone, now + timedelta(days=1), now)
    seen, cursor = [], None
    while True:
        rows, cursor = records.page("s", resource, 3, cursor)
        seen += [row["id"] for row in rows]
        if cursor is None:
            break

    assert seen == sorted((f"x{number}" for number in range(9) if number not in {0, 4}), reverse=resource is ORDERS)


@given(id=st.text(max_size=300))
def test_an_id_comes_out_as_it_went_in(id):
    assert Order.id.deserialize(Order.id.serialize(id)) == id


@given(ids=st.lists(st.integers(0, 10**24)))
def test_numbers_sort_as_numbers(ids):
    assert sorted(map(str, ids), key=Order.id.serialize) == [str(id) for id in sorted(ids)]


@pytest.mark.parametrize("id", ["", "x" * 300, "unknown"])
def test_an_odd_id_is_simply_not_there(now, id):
    with pytest.raises(problems.ProductNotFound):
        records.get("s", PRODUCTS, id)


def test_a_stored_body_is_compressed_json(now):
    save(record("1", now, title="x" * 2000), now, PRODUCTS)

    row = Product.get("s", "1")

    assert len(row.body) < 200
    assert exact_json.loads(zlib.decompress(row.body))["title"] == "x" * 2000


_STEP = st.tuples(st.sampled_from(["event", "page", "delete"]), st.integers(0, 5), st.integers(0, 3))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_STEP, min_size=1, max_size=8))
def test_any_order_of_events_and_looks_ends_as_it_should(now, steps):
    """Each step is later than the one before: the platform's newest wins, and over a delete only a later look."""
    store = uuid4().hex
    records.save(store, ORDERS, record("1", now, n=-1), "EUR", now, now)
    gone, latest = False, (0, -1)
    for at, (kind, when, content) in enumerate(steps):
        seen = now + timedelta(minutes=1, milliseconds=at)
        order = record("1", now + timedelta(seconds=when), n=content)
        if kind == "event":
            records.save_announced(store, ORDERS, order, "EUR", seen, seen)
        elif kind == "page":
            records.save_page(store, ORDERS, [order], "EUR", seen, seen)
        else:
            records.bury(store, ORDERS, "1", seen, seen)
        if kind == "delete":
            gone = True
        elif kind == "page" and gone:
            gone, latest = False, (when, content)
        elif not gone and when >= latest[0]:
            latest = (when, content)

    row = Order.get(store, "1")

    assert bool(row.deleted) == gone
    if not gone:
        assert records.body_of(row)["n"] == latest[1]


def test_what_exists_can_be_narrowed_to_the_orders_created_since(now):
    ages = {"old": 61, "edge": 60, "new": 59}
    for id, days in ages.items():
        save(Record(id, now, {"id": id}, created_at=now - timedelta(days=days)), now)
    save(Record("gone", now, {"id": "gone"}, created_at=now), now)
    records.bury("s", ORDERS, "gone", now + timedelta(seconds=1), now)

    assert records.live_ids("s", ORDERS) == {"old", "edge", "new"}
    assert records.live_ids("s", ORDERS, now - timedelta(days=60)) == {"edge", "new"}


def test_products_are_never_narrowed(now):
    save(record("p1", now - timedelta(days=900)), now, PRODUCTS)

    assert records.live_ids("s", PRODUCTS, now) == {"p1"}


def test_a_change_of_an_old_order_does_not_make_it_young(now):
    made = now - timedelta(days=90)
    save(Record("o", made, {"id": "o"}, created_at=made), made)
    save(Record("o", now, {"id": "o", "n": 2}, created_at=made), now)

    assert records.live_ids("s", ORDERS, now - timedelta(days=60)) == set()


# What a platform lets us hold for a while only

NAMED = {
    "customer": {"name": "Buyer 1"},
    "shippingAddress": {"city": "Town 1"},
    "note": "Leave it at the door.",
    "lines": [{"id": "l1", "title": "Mug", "properties": [{"name": "Engraving", "value": "Buyer 1"}]}],
}
NAMELESS = {"customer": None, "shippingAddress": None, "note": None}


def personal(id, updated_at, until, **body):
    return record(id, updated_at, **NAMED, **body)._replace(personal_until=until)


def expire(at):
    return records.expire_personal(lambda: at, at + timedelta(hours=1))


def is_nameless(order):
    return {name: order[name] for name in NAMELESS} == NAMELESS and order["lines"][0]["properties"] == []


def test_who_bought_is_gone_when_the_platforms_time_is_up_and_nothing_else(now):
    until = now + timedelta(days=30)
    for number in range(8):
        save(personal(f"o{number}", now, until, total="9.00"), now)
    save(record("unlimited", now, **NAMED), now)

    assert expire(until - timedelta(seconds=1)) == 0
    assert expire(until) == 8
    assert expire(until) == 0
    for number in range(8):
        order = records.get("s", ORDERS, f"o{number}")
        assert is_nameless(order)
        assert (order["total"], order["lines"][0]["title"]) == ("9.00", "Mug")
    assert b"Buyer 1" not in b"".join(zlib.decompress(row.body) for row in Order.scan() if row.id != "unlimited")
    assert records.get("s", ORDERS, "unlimited")["customer"] == NAMED["customer"]


def test_who_bought_is_not_shown_though_its_turn_to_be_erased_has_not_come(now, monkeypatch):
    save(personal("o1", now, now + timedelta(days=30)), now)
    for days, expected in ((29, False), (31, True)):
        monkeypatch.setattr(records.clock, "now", lambda days=days: now + timedelta(days=days))
        assert is_nameless(records.get("s", ORDERS, "o1")) is expected
        assert is_nameless(records.page("s", ORDERS, 10, None)[0][0]) is expected


@pytest.mark.parametrize("written", [save, lambda each, seen: save_page([each], seen)], ids=["looked up", "a page"])
def test_what_comes_too_late_is_stored_without_who_bought(now, written):
    written(personal("o1", now, now - timedelta(seconds=1)), now)
    written(personal("o1", now + timedelta(days=1), None), now + timedelta(days=1))

    assert is_nameless(records.get("s", ORDERS, "o1"))


def test_an_erasure_that_is_cut_off_goes_on_with_the_next(now):
    for number in range(6):
        save(personal(f"o{number}", now, now + timedelta(days=1)), now)
    late = now + timedelta(days=2)

    assert records.expire_personal(lambda: late, late) == 1
    assert expire(late) == 5
