import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import exact_json, paging, problems

SCOPE = ("stores", "demo-user-1", ["a", "b"])
POSITION = {"created": "2026-11-22T10:00:00.000000Z#store-1"}


@given(st.dictionaries(st.text(max_size=20), st.text(min_size=1, max_size=60), max_size=2))
def test_a_cursor_gives_back_the_position_in_its_list(position):
    assert paging.decode(paging.encode(position, *SCOPE), *SCOPE) == position


def test_no_cursor_is_the_beginning():
    assert paging.decode(None, *SCOPE) is None


def test_a_cursor_travels_in_a_url_as_it_is():
    assert set(paging.encode({"a": "ÿ>>>???" * 20}, *SCOPE)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )


@pytest.mark.parametrize(
    "other",
    [
        ("stores", "demo-user-2", ["a", "b"]),
        ("stores", "demo-user-1", ["a"]),
        ("designs", "demo-user-1", ["a", "b"]),
        ("stores", "demo-user-1"),
        ("stores", "demo-user-1', ['a', 'b']"),
    ],
)
def test_refuses_the_cursor_of_another_list(other):
    cursor = paging.encode(POSITION, *other)

    with pytest.raises(problems.CursorInvalid):
        paging.decode(cursor, *SCOPE)


@pytest.mark.parametrize("length", [0, 1, 10, 40, -1, -2, -5])
def test_refuses_a_cursor_that_was_cut(length):
    with pytest.raises(problems.CursorInvalid):
        paging.decode(paging.encode(POSITION, *SCOPE)[:length], *SCOPE)


@given(st.text() | st.text(alphabet="ABCabc0189-_=", max_size=80))
def test_refuses_whatever_it_did_not_make(cursor):
    with pytest.raises(problems.CursorInvalid):
        paging.decode(cursor, *SCOPE)


def forged(position):
    """A cursor by somebody who took the fingerprint from one of their own."""
    genuine = paging.encode(POSITION, *SCOPE)
    fingerprint = exact_json.loads(base64.urlsafe_b64decode(genuine + "=="))[0]
    raw = position if isinstance(position, str) else exact_json.dumps([fingerprint, position])
    return base64.urlsafe_b64encode(raw.replace("FINGERPRINT", fingerprint).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "position",
    [
        None,
        [],
        "created",
        {"created": 1},
        {"created": None},
        {"created": {"a": "b"}},
        {"created": ""},
        '["FINGERPRINT",{"created":1e99999999999999999999}]',
        '["FINGERPRINT",{"created":"a"},1]',
        '["FINGERPRINT"]',
        '{"FINGERPRINT":{}}',
        "NaN",
        {"created": "x" * 1024},
    ],
    ids=repr,
)
def test_refuses_a_forged_position_of_another_shape(position):
    with pytest.raises(problems.CursorInvalid):
        paging.decode(forged(position), *SCOPE)


def test_refuses_a_forged_position_with_another_name_when_it_is_used():
    position = paging.decode(forged({"updated": "x"}), *SCOPE)

    with pytest.raises(problems.CursorInvalid):
        position["created"]
