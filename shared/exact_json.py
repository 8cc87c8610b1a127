"""JSON in and out without losing a digit, and strict about what comes in.

Numbers with a fraction or an exponent are :class:`decimal.Decimal`, so ``4.80`` goes out as ``4.80``.
Refused with :class:`ValueError`, as RFC 8259 and RFC 7493 advise: NaN and the infinities, names that
repeat in one object, lone surrogates, more than 100 levels, numbers beyond Python's limits, bytes that
are not UTF-8.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn

import simplejson

from shared import clock

MOST_LEVELS = 100
"""Far below the interpreter's depth, so that whatever walks a value that came in has room to."""


class Refused(ValueError):
    """JSON by its grammar, but not such as we take."""


def loads(text: str | bytes) -> Any:
    """The value that ``text`` stands for."""
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8")
        value = simplejson.loads(
            decoded, use_decimal=True, parse_constant=_refuse_constant, object_pairs_hook=_unique_names
        )
    except UnicodeDecodeError as error:
        raise Refused("It is not UTF-8.") from error
    except (simplejson.JSONDecodeError, Refused):
        raise
    except (ArithmeticError, ValueError) as error:  # what Decimal and int say of 1e99999999999999999999 and 9…9
        raise Refused("A number is too large.") from error
    except RecursionError as error:
        raise Refused("It is nested too deeply.") from error
    if decoded.count("[") + decoded.count("{") > MOST_LEVELS and _levels(value) > MOST_LEVELS:
        raise Refused("It is nested too deeply.")
    if "\\u" in decoded:
        _refuse_surrogates(value)
    return value


def dumps(value: Any) -> str:
    """Compact JSON text; times as RFC 3339."""
    text: str = _COMPACT.encode(value)
    return text


def canonical(value: Any) -> bytes:
    """The same bytes for equal values, whatever the order of names."""
    try:
        text: str = _WITHOUT_DECIMALS.encode(value)
    except TypeError:  # it has one
        text = _SORTED.encode(value)
    return text.encode()


def _default(value: Any) -> str:
    if isinstance(value, datetime):
        return clock.short(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")


_FORM: Mapping[str, Any] = {
    "allow_nan": False,
    "ensure_ascii": False,
    "separators": (",", ":"),
    "default": _default,
}
_COMPACT = simplejson.JSONEncoder(use_decimal=True, **_FORM)
_SORTED = simplejson.JSONEncoder(use_decimal=True, sort_keys=True, **_FORM)
_WITHOUT_DECIMALS = json.JSONEncoder(sort_keys=True, **_FORM)
"""Twice as fast, and few records of ours have one: money is text."""


def _levels(value: Any) -> int:
    levels, here = 0, [value]
    while here := [each for each in here if isinstance(each, (dict, list))]:
        levels += 1
        here = [inner for each in here for inner in (each.values() if isinstance(each, dict) else each)]
    return levels


def _refuse_constant(name: str) -> NoReturn:
    raise Refused(f"{name} is not a JSON number.")


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        repeated = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise Refused(f"The name {repeated[:60]!r} occurs twice in one object.")
    return value


def _refuse_surrogates(value: Any) -> None:
    try:
        simplejson.dumps(value, use_decimal=True, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise Refused("A text holds half of a surrogate pair.") from error
