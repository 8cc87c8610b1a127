"""Shopify's search syntax, the ``query`` argument of connections (https://shopify.dev/docs/api/usage/search-syntax).

A field that Shopify does not know is ignored and warned about in ``extensions.search``, not refused: a client
with a misspelt filter is answered with everything.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

Test = Callable[[Any], bool]
Read = Callable[[Any], Any]
Fields = Mapping[str, Read]
"""What can be searched for: times are read as whole seconds, ids as numbers, all else as text or several texts."""

_TOKEN = re.compile(r"""\s*(\(|\)|-?[\w.]+:(?:[<>]=?)?(?:"[^"]*"|'[^']*'|[^\s()]+)|"[^"]*"|'[^']*'|[^\s()]+)""")
_TERM = re.compile(r"""(-?)([\w.]+):([<>]=?)?(.+)""", re.DOTALL)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "": lambda have, want: bool(have == want),
    ">": lambda have, want: bool(have > want),
    ">=": lambda have, want: bool(have >= want),
    "<": lambda have, want: bool(have < want),
    "<=": lambda have, want: bool(have <= want),
}


@dataclass
class Search:
    """A query, read for one kind of record."""

    fields: Fields
    zone: ZoneInfo
    words: Read
    """The text that a bare word is looked for in."""
    warnings: list[tuple[str, str]] = field(default_factory=list)
    """Fields that were ignored, and why."""
    named: set[str] = field(default_factory=set)
    """The fields that the query asks for."""
    _tokens: list[str] = field(default_factory=list)

    def read(self, text: str) -> Test:
        """The test that a record must pass."""
        self._tokens = _TOKEN.findall(text)
        return self._any() if self._tokens else lambda _: True

    def _any(self) -> Test:
        tests = [self._all()]
        while self._next("OR"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda one: any(test(one) for test in tests)

    def _all(self) -> Test:
        tests: list[Test] = []
        while self._tokens and self._tokens[0] not in (")", "OR"):
            if not self._next("AND"):
                tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda one: all(test(one) for test in tests)

    def _one(self) -> Test:
        token = self._tokens.pop(0)
        if token == "NOT":  # noqa: S105 -- a word of the syntax
            test = self._one() if self._tokens else lambda _: False
            return lambda one: not test(one)
        if token == "(":  # noqa: S105 -- the same
            inner = self._any()
            self._next(")")
            return inner
        return self._term(token)

    def _next(self, word: str) -> bool:
        if self._tokens and self._tokens[0] == word:
            self._tokens.pop(0)
            return True
        return False

    def _term(self, token: str) -> Test:
        match = _TERM.fullmatch(token)
        if match is None:
            wanted = _unquoted(token).casefold()
            return lambda one: wanted in str(self.words(one)).casefold()
        minus, name, sign, value = match.groups()
        test = self._compared(name, sign or "", _unquoted(value))
        return (lambda one: not test(one)) if minus else test

    def _compared(self, name: str, sign: str, value: str) -> Test:
        read = self.fields.get(name)
        if read is None:
            self.warnings.append((name, "Invalid search field for this query."))
            return lambda _: True
        self.named.add(name)
        if name.endswith("_at"):
            return self._timed(name, read, sign, value)
        if name == "id":
            number = int(value.rpartition("/")[2]) if value.rpartition("/")[2].isdigit() else -1
            return lambda one: _COMPARE[sign](read(one), number)
        wanted = {part.strip().casefold() for part in value.split(",")}
        return lambda one: _texts(read(one), wanted)

    def _timed(self, name: str, read: Read, sign: str, value: str) -> Test:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.warnings.append((name, f"Input `{value}` is not an accepted Time value."))
            return lambda _: True
        # A time without a zone is the shop's own.
        moment = moment if moment.tzinfo else moment.replace(tzinfo=self.zone)
        wanted, compare = moment.timestamp(), _COMPARE[sign]
        return lambda one: read(one) is not None and compare(read(one), wanted)


def _unquoted(text: str) -> str:
    return text[1:-1] if text[:1] in "\"'" and text[-1:] == text[:1] and len(text) > 1 else text


def _texts(have: object, wanted: set[str]) -> bool:
    several = have if isinstance(have, (tuple, list, set)) else (have,)
    for one in several:
        text = str(one).casefold()
        if text in wanted or any(word.endswith("*") and text.startswith(word[:-1]) for word in wanted):
            return True
    return False
