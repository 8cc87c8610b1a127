from copy import deepcopy
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from makers import any_row, stream_record

from shared import changes, feed, records
from shared.models import Change, Order
from shared.platforms.base import Record, Resource

ORDERS, PRODUCTS = Resource.ORDERS, Resource.PRODUCTS
_numbers = count()


@pytest.fixture(autouse=True)
def _aws(aws):
    pass


class Shop:
    """A store whose orders change, and the stream that tells of it, in batches."""

    def __init__(self, store="s"):
        self.store = store
        self._said = []

    def change(self, id, at, **body):
        before = self._row(id)
        record = Record(id, at, {"id": id, **body}, created_at=at)
        assert records.save(self.store, ORDERS, record, "EUR", at, at)
        self._say(before, id)

    def delete(self, id, at):
        before = self._row(id)
        assert records.bury(self.store, ORDERS, id, at, at)
        self._say(before, id)

    def publish(self, at):
        """One invocation that has all that was not told yet."""
        said, self._said = self._said, []
        changes.publish(said, at)

    def _row(self, id):
        return next(iter(Order.query(self.store, Order.id == id)), None)

    def _say(self, before, id):
        self._said.append(stream_record("orders", before, self._row(id), f"e{next(_numbers)}"))


def read(now, since, limit=100, cursor=None, store="s"):
    return feed.changes(store, ORDERS, since, limit, cursor, now)


def ids(rows):
    return [row["id"] for row in rows]


def followed(now, since, limit=100, cursor=None, store="s"):
    """All pages up to the first empty one."""
    found = []
    while True:
        rows, cursor = read(now, since, limit, cursor, store)
        found += rows
        if not rows:
            return found, cursor


def test_shows_each_change_once_and_tells_where_to_go_on(now):
    shop, later = Shop(), now + timedelta(minutes=1)
    for number in range(5):
        shop.change(f"x{number}", now + timedelta(seconds=number))
    shop.publish(now + timedelta(seconds=5))
    first, cursor = read(later, now - timedelta(days=1), 3)
    rest, cursor = read(later, now - timedelta(days=1), 3, cursor)
    shop.change("x1", now + timedelta(seconds=90), n=2)
    shop.publish(now + timedelta(seconds=91))
    shop.delete("x2", now + timedelta(seconds=95))
    shop.publish(now + timedelta(seconds=96))

    news, _ = read(now + timedelta(minutes=5), now - timedelta(days=1), 10, cursor)

    assert ids(first + rest) == ["x0", "x1", "x2", "x3", "x4"]
    assert [(row["id"], row.get("deleted")) for row in news] == [("x1", None), ("x2", True)]


def test_what_an_invocation_has_of_a_store_is_one_write(now):
    shop = Shop()
    for number in range(40):
        shop.change(f"{1000 + number}", now)

    shop.publish(now)

    (entry,) = Change.scan()
    assert entry.place.startswith("orders#")
    assert len(entry.records) < 1000


def test_a_record_that_changed_again_is_passed_over_and_shown_where_it_changed_last(now):
    shop = Shop()
    for number in range(30):
        shop.change(f"x{number}", now)
        shop.publish(now + timedelta(seconds=number))
    for number in range(29):
        shop.change(f"x{number}", now + timedelta(minutes=1), n=2)
        shop.publish(now + timedelta(minutes=1, seconds=number))

    rows, _ = read(now + timedelta(hours=1), now, 2)

    assert ids(rows) == ["x29", "x0"]


def test_waits_until_writes_have_settled(now):
    shop = Shop()
    shop.change("x", now)
    shop.publish(now)

    soon, cursor = read(now + timedelta(seconds=5), now - timedelta(days=1))
    later, _ = read(now + timedelta(seconds=30), now - timedelta(days=1), cursor=cursor)

    assert (soon, ids(later)) == ([], ["x"])


def test_a_time_to_start_from_is_kept(now):
    shop = Shop()
    for id, at in (("old", now), ("new", now + timedelta(hours=1))):
        shop.change(id, at)
        shop.publish(at)

    rows, _ = read(now + timedelta(hours=2), now + timedelta(minutes=30))

    assert ids(rows) == ["new"]


def test_what_changed_longer_ago_than_entries_are_kept_comes_by_id_and_then_the_feed_goes_on(now):
    """A reader who was away for long misses nothing: neither what the entries told nor what changes meanwhile."""
    shop, back = Shop(), now + timedelta(days=90)
    for number in range(7):
        shop.change(f"x{number}", now + timedelta(days=number))
    shop.delete("x3", now + timedelta(days=8))
    shop.publish(now + timedelta(days=8))
    for entry in Change.scan():
        entry.delete()

    rows, cursor = read(back, now + timedelta(days=2), 3)
    shop.change("x0", back, n=2)
    shop.publish(back)
    rest, cursor = followed(back + timedelta(minutes=1), now + timedelta(days=2), 3, cursor)
    shop.change("x5", back + timedelta(minutes=2), n=2)
    shop.publish(back + timedelta(minutes=2))
    news, _ = followed(back + timedelta(minutes=3), now + timedelta(days=2), 3, cursor)

    assert {row["id"]: row.get("deleted") for row in rows + rest} == {
        "x2": None, "x3": True, "x4": None, "x5": None, "x6": None, "x0": None,
    }  # fmt: skip
    assert ids(news) == ["x5"]


def test_the_two_kinds_of_records_have_a_feed_each(now):
    records.save("s", PRODUCTS, Record("p", now, {"id": "p"}), "EUR", now, now)
    product = next(iter(records.several("s", PRODUCTS, ["p"])))
    changes.publish([stream_record("products", None, product)], now)

    assert read(now + timedelta(minutes=1), now - timedelta(days=1))[0] == []
    assert ids(feed.changes("s", PRODUCTS, now, 9, None, now + timedelta(minutes=1))[0]) == ["p"]


def test_an_older_version_that_was_put_back_is_shown_though_its_change_was_shown_before(now):
    """A reader saw what a batch wrote over the newer version, and must see the newer one again."""
    shop = Shop()
    shop.change("x", now + timedelta(seconds=9), n=2)
    shop.publish(now + timedelta(seconds=9))
    newer = Order.get("s", "x")
    stale = any_row(Order, "s", Record("x", now, {"id": "x", "n": 1}), now, now + timedelta(seconds=20))
    stale.save()
    _, cursor = followed(now + timedelta(minutes=1), now)
    changes.publish([stream_record("orders", newer, stale)], now + timedelta(minutes=1))
    put_back = Order.get("s", "x")
    changes.publish([stream_record("orders", stale, put_back)], now + timedelta(minutes=1))

    rows, _ = read(now + timedelta(minutes=2), now, cursor=cursor)

    assert [row["n"] for row in rows] == [2]


def test_what_a_page_wrote_over_the_same_is_not_lost(now):
    """A webhook brought the order between the look of a page and its write."""
    shop = Shop()
    shop.change("x", now)
    shop.publish(now)
    first = Order.get("s", "x")
    again = any_row(Order, "s", Record("x", now, {"id": "x"}, created_at=now), now, now + timedelta(seconds=1))
    again.save()
    changes.publish([stream_record("orders", first, again)], now + timedelta(seconds=2))

    rows, _ = read(now + timedelta(minutes=1), now)

    assert ids(rows) == ["x"]


_STEP = st.one_of(
    st.tuples(st.just("change"), st.integers(0, 4)),
    st.tuples(st.just("publish"), st.just(0)),
    st.tuples(st.just("read"), st.integers(1, 4)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_STEP, max_size=25))
def test_whoever_follows_the_feed_has_all_that_there_is_in_the_end(now, steps):
    """However changes, invocations and reads of any page size come, and though invocations are repeated."""
    store = f"s{next(_numbers)}"
    shop, copy, cursor, at = Shop(store), {}, None, now
    for what, value in [*steps, ("publish", 0), *[("read", 3)] * 20]:
        at += timedelta(seconds=10)
        if what == "change":
            shop.change(f"x{value}", at)
        elif what == "publish":
            said = deepcopy(shop._said)
            shop.publish(at)
            changes.publish(said, at + timedelta(seconds=1))
        else:
            rows, cursor = read(at, now, value, cursor, store)
            assert len(rows) <= value
            copy.update({row["id"]: row["changedAt"] for row in rows})

    assert copy == {row.id: row.changed_at for row in Order.query(store)}
