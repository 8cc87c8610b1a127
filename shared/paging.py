"""Opaque cursors, bound to the list, the caller and the filters they were given out for.

A cursor holds a position inside a partition that the caller may read anyway; it never names the
partition. So a forged one can be refused or harmless, but opens nothing.
"""

import base64
import hashlib
from typing import Any

from shared import exact_json, problems

Position = dict[str, str]

_LONGEST = 1024
_TEXT = 512


def encode(position: Position, *scope: object) -> str:
    """The cursor that stands for ``position`` in the list that ``scope`` names."""
    raw = exact_json.dumps([_fingerprint(scope), position]).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(cursor: str | None, *scope: object) -> Position | None:
    """The position behind ``cursor``; :class:`problems.CursorInvalid` for any other's."""
    if cursor is None:
        return None
    foreign = problems.CursorInvalid("Use a cursor only with the request that it came from.")
    if len(cursor) > _LONGEST or not cursor.isascii():
        raise foreign
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        fingerprint, position = exact_json.loads(raw)
    except (ValueError, TypeError) as error:
        raise foreign from error
    if fingerprint != _fingerprint(scope) or not _is_position(position):
        raise foreign
    return dict(position)


def _fingerprint(scope: tuple[object, ...]) -> str:
    parts = exact_json.dumps([str(part) for part in scope]).encode()
    return hashlib.sha256(parts).hexdigest()[:16]


def _is_position(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) and len(text) <= _TEXT for text in value.values())
