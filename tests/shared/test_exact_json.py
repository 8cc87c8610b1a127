from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import exact_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_what_went_out_comes_in_again_to_the_last_digit(value):
    text = exact_json.dumps(value)
    assert exact_json.loads(text) == value
    assert exact_json.dumps(exact_json.loads(text)) == text


@pytest.mark.parametrize("number", ["4.80", "4.8", "1.5", "0.1", "12345678901234567890", "1E+400", "1E-400", "-0.0"])
def test_keeps_a_number_as_it_is_written(number):
    assert exact_json.dumps(exact_json.loads(f'{{"a":{number}}}')) == f'{{"a":{number}}}'


def test_keeps_the_value_of_a_number_that_no_float_holds():
    assert exact_json.loads("1e400") == Decimal(10) ** 400


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[Infinity]",
        '{"a":-Infinity}',
        '{"a":1,"a":1}',
        '{"b":{"a":1,"\\u0061":2}}',
        r'"\ud800"',
        r'{"\udfff":1}',
        r'["\ud83d", "\ude00"]',
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "[" * 101 + "]" * 101,
        "9" * 5_000,
        "-" + "9" * 5_000,
        "1e99999999999999999999",
        "1e-99999999999999999999",
        "",
        "   ",
        "{",
        "01",
        "1.",
        ".5",
        "'a'",
        '"\t"',
        "[1,]",
        "1 2",
        "nul",
    ],
    ids=lambda text: text[:24] or "nothing",
)
def test_refuses(text):
    with pytest.raises(ValueError, match=r"^[^_]*$"):  # and names nothing of Python's, such as sys.set_int_…
        exact_json.loads(text)


@pytest.mark.parametrize("raw", [b'"\xff"', b"\xfe\xff\x00\x31", b'"\xed\xa0\x80"'])
def test_refuses_bytes_that_are_not_utf_8(raw):
    with pytest.raises(ValueError, match="UTF-8"):
        exact_json.loads(raw)


def test_takes_a_pair_of_surrogates_as_the_character_it_stands_for():
    assert exact_json.loads(r'"\ud83d\ude00"') == "😀"


def test_takes_a_hundred_levels_and_any_number_of_brackets_beside_each_other():
    deepest = "[" * 100 + "]" * 100
    assert exact_json.loads(f"[{deepest[1:-1]},{','.join(['[]'] * 500)}]")


@given(st.text(alphabet='[]{}",:0123456789eE.+-tfnul \\ud8') | st.binary())
def test_gives_a_value_that_can_be_written_or_a_value_error_and_nothing_else(text):
    try:
        value = exact_json.loads(text)
    except ValueError:
        return
    assert exact_json.loads(exact_json.dumps(value)) == value


def test_equal_values_have_the_same_canonical_bytes():
    assert exact_json.canonical({"b": 1, "a": [1, {"d": 2, "c": 3}]}) == b'{"a":[1,{"c":3,"d":2}],"b":1}'


@given(JSON)
def test_canonical_bytes_are_json_of_the_same_value(value):
    assert exact_json.loads(exact_json.canonical(value)) == value


def test_a_time_goes_out_as_rfc_3339():
    assert exact_json.dumps({"at": datetime(2024, 1, 20, 10, tzinfo=UTC)}) == '{"at":"2024-01-20T10:00:00Z"}'


def test_refuses_to_write_what_json_has_no_form_for():
    with pytest.raises(TypeError, match="object has no JSON form"):
        exact_json.dumps(object())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN")])
def test_never_writes_what_is_not_json(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        exact_json.dumps(value)
