import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import bodies

OLD, NEW = b'{"id":,"status":"processing"}', b'{"id":,"status":"completed"}'


@given(body=st.binary(max_size=500), phrases=st.lists(st.binary(min_size=1, max_size=50), max_size=3))
def test_a_body_comes_out_as_it_went_in(body, phrases):
    assert bodies.unpack(bodies.pack(body, phrases), phrases) == body


def test_what_was_packed_with_older_phrases_or_with_none_is_still_read():
    body = b'{"id":1,"status":"processing"}'

    for before in ([OLD], []):
        assert bodies.unpack(bodies.pack(body, before), [NEW, OLD]) == body


def test_what_bodies_have_in_common_takes_no_room():
    body = b'{"id":1,"status":"completed"}'

    assert len(bodies.pack(body, [NEW])) < len(zlib.compress(body)) - 10


@pytest.mark.parametrize("damage", [lambda packed: packed[:-4] + b"1234", lambda packed: packed[:-1]])
@pytest.mark.parametrize("phrases", [[], [NEW]])
def test_what_is_damaged_is_refused(damage, phrases):
    with pytest.raises(zlib.error):
        bodies.unpack(damage(bodies.pack(b"x" * 100, phrases)), phrases)
