from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from shared import clock

moments = st.datetimes(
    datetime(1, 1, 2),  # noqa: DTZ001 - hypothesis wants bounds without a zone
    datetime(9999, 12, 30),  # noqa: DTZ001 - the same
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9.5))]),
)


@given(moments)
def test_a_time_survives_as_text_to_the_microsecond(moment):
    assert clock.from_text(clock.to_text(moment)) == moment


@given(moments, moments)
def test_texts_sort_as_the_times_do(one, other):
    assert (clock.to_text(one) < clock.to_text(other)) == (one < other)


def test_a_text_is_rfc_3339_in_utc():
    there = timezone(timedelta(hours=5, minutes=30))

    assert clock.to_text(datetime(2026, 11, 22, 15, 30, tzinfo=there)) == "2026-11-22T10:00:00.000000Z"
