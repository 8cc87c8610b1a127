from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import clock, delivery_log
from shared.delivery_log import Handled
from shared.models import HandledDeliveries, Processing

pytestmark = pytest.mark.usefixtures("aws")
START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
_stores = count()


def handled(name, seconds, outcome=Processing.PROCESSED, cause=None):
    return Handled(clock.to_text(START + timedelta(seconds=seconds)), name, outcome, cause)


def newest_first(store="s", **options):
    return [each.delivery for each in delivery_log.newest_first(store, **options)]


def test_what_came_within_ten_seconds_is_one_write(now):
    delivery_log.note("s", [handled(f"d{number}", number) for number in range(20)], now)

    assert [row.received for row in HandledDeliveries.query("s")] == ["2026-11-22T10:00:0", "2026-11-22T10:00:1"]


def test_each_comes_out_as_it_went_in(now):
    went_in = [handled("d1", 3, Processing.IGNORED, "It announces nothing."), handled("d2", 4.000001)]

    delivery_log.note("s", went_in, now)

    assert list(delivery_log.oldest_first("s", ("2", ""), "3")) == went_in


def test_one_that_is_noted_again_is_there_once(now):
    delivery_log.note("s", [handled("d1", 3)], now)
    delivery_log.note("s", [handled("d1", 3, cause="What we have is as new."), handled("d2", 3)], now)

    assert newest_first() == ["d2", "d1"]


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_what_went_well_at_last_went_well(now, order):
    for outcome in [Processing.RETRYING, Processing.PROCESSED][order]:
        delivery_log.note("s", [handled("d1", 3, outcome)], now)

    assert [each.outcome for each in delivery_log.newest_first("s")] == [Processing.PROCESSED]
    assert delivery_log.done_among("s", {"d1": clock.to_text(START + timedelta(seconds=3))}) == {"d1"}


def test_knows_when_the_platform_last_announced_anything(now):
    assert delivery_log.last_received("s") is None
    delivery_log.note("s", [handled("d1", 3), handled("d2", 59), handled("d3", 12)], now)

    assert delivery_log.last_received("s") == START + timedelta(seconds=59)


def test_a_log_is_kept_longer_than_what_it_is_about(now):
    delivery_log.note("s", [handled("d1", 3)], now)

    assert next(iter(HandledDeliveries.query("s"))).expires_at == now + timedelta(days=31)


_NOTED = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 40)), max_size=12, unique_by=lambda each: each[0]
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noted=_NOTED, places=st.tuples(st.integers(0, 40), st.integers(0, 40)), name=st.sampled_from("abcdefgh"))
def test_any_part_of_the_log_is_that_part_of_all_there_is(now, noted, places, name):
    store, first, last = f"s{next(_stores)}", *(clock.to_text(START + timedelta(seconds=place)) for place in places)
    log = sorted(handled(delivery, seconds) for delivery, seconds in noted)
    for each in log:
        delivery_log.note(store, [each], now)

    assert list(delivery_log.newest_first(store)) == log[::-1]
    assert list(delivery_log.newest_first(store, (last, name))) == [
        each for each in log[::-1] if each[:2] < (last, name)
    ]
    assert list(delivery_log.oldest_first(store, (first, name), last)) == [
        each for each in log if each[:2] > (first, name) and each.received_at <= last
    ]
    asked = {each.delivery: each.received_at for each in log[::2]} | {"unknown": first}
    assert delivery_log.done_among(store, asked) == set(asked) - {"unknown"}
