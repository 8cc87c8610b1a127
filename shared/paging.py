"""Opaque cursors, bound to the list, the caller and the filters they were given out for.

A cursor holds a position inside a partition that the caller may read anyway; it never names the
partition. So a forged one can be refused or harmless, but opens nothing.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from shared import exact_json, problems

_LONGEST = 1024
_REFUSAL = "Use a cursor only with the request that it came from."


class Position(dict[str, str]):
    """Where a page begins. Cursors are not signed, so a name may be missing in one that was made up."""

    def __missing__(self, name: str) -> str:
        raise problems.CursorInvalid(_REFUSAL)


def encode(position: Mapping[str, str], *scope: object) -> str:
    """The cursor that stands for ``position`` in the list that ``scope`` names."""
    raw = exact_json.dumps([_fingerprint(scope), position]).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(cursor: str | None, *scope: object) -> Position | None:
    """The position behind ``cursor``; :class:`problems.CursorInvalid` for any other's."""
    if cursor is None:
        return None
    foreign = problems.CursorInvalid(_REFUSAL)
    if len(cursor) > _LONGEST or not cursor.isascii():
        raise foreign
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        fingerprint, position = exact_json.loads(raw)
    except (ValueError, TypeError) as error:
        raise foreign from error
    if fingerprint != _fingerprint(scope) or not _is_position(position):
        raise foreign
    return Position(position)


def _fingerprint(scope: tuple[object, ...]) -> str:
    parts = exact_json.dumps([str(part) for part in scope]).encode()
    return hashlib.sha256(parts).hexdigest()[:16]


def _is_position(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) and text for text in value.values())
