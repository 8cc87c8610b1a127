"""How old a signed time may be."""

from datetime import UTC, datetime, timedelta, timezone
from math import floor

from hypothesis import given
from hypothesis import strategies as st

from shared.platforms.signatures import is_recent


@given(
    now=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-8)), timezone(timedelta(hours=14))])),
    off=st.one_of(st.integers(-302, 302), st.integers(-(10**12), 10**12)),
)
def test_a_time_is_recent_within_five_minutes_of_the_second_that_it_is(now, off):
    assert is_recent(floor(now.timestamp()) + off, now) is (abs(off) <= 300)


def test_a_time_of_another_age_is_not_recent():
    assert not any(is_recent(seconds, datetime(2026, 11, 22, tzinfo=UTC)) for seconds in (0, -1, 10**12))
