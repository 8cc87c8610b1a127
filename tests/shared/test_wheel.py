from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import wheel
from shared.models import Dispatcher, SyncState

INTERVALS = st.integers(60, 86_400)


@given(st.text(min_size=1, max_size=30), INTERVALS, st.integers(0, 10**9))
def test_a_store_is_due_once_in_each_interval_and_never_later(id, interval, start):
    length = wheel.minutes(interval)
    slot = wheel.slot(id, interval)

    due = [tick for tick in range(start, start + min(2 * length, 60)) if slot in wheel.due(tick, iter([length]))]

    assert 60 * length <= interval
    assert all(later - earlier == length for earlier, later in pairwise(due))
    if 2 * length <= 60:
        assert len(due) == 2


def test_the_load_is_flat_over_minutes_and_shards():
    slots = Counter(wheel.slot(f"store-{number}", 300) for number in range(10_000))

    assert len(slots) == 5 * 2
    assert max(slots.values()) < 1.15 * min(slots.values())


def test_a_store_keeps_its_shard_whatever_its_interval():
    for number in range(50):
        shards = {wheel.slot(f"store-{number}", interval).split("#")[2] for interval in (60, 300, 3_600, 86_400)}
        assert shards == {str(wheel.shard_of(f"store-{number}"))}


@pytest.mark.parametrize(("interval", "minutes"), [(60, 1), (119, 1), (120, 2), (300, 5), (86_400, 1_440)])
def test_whole_minutes_are_never_less_fresh_than_asked(interval, minutes):
    assert wheel.minutes(interval) == minutes


def test_the_dispatcher_learns_each_interval_once(aws):
    wheel.remember(300)
    Dispatcher(Dispatcher.KEY).update(actions=[Dispatcher.intervals.remove()])
    wheel.remember(310)
    assert Dispatcher.get(Dispatcher.KEY).intervals is None, "the same minutes are not written again"

    wheel.remember(600)
    wheel.remember_interval(SyncState("a", slot="60#7#1"))
    wheel.remember_interval(SyncState("b"))

    assert Dispatcher.get(Dispatcher.KEY).intervals == {10, 60}
