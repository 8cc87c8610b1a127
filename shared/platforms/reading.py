"""Reading what platforms send, which may be anything: what adapters have in common, and no platform's own rule."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from shared.platforms.base import App, Connection, Json, PlatformError, Refusal


def as_dict(value: Any) -> Json:
    """The value, if it is an object; an empty one otherwise."""
    return value if isinstance(value, dict) else {}


def as_dicts(value: Any) -> list[Json]:
    """The objects of a list; none where it is no list."""
    return [entry for entry in value if isinstance(entry, dict)] if value and isinstance(value, list) else []


def as_text(value: Any) -> str:
    """Text that can be stored: JSON may carry half a surrogate pair, UTF-8 may not. Empty where it is no text."""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def decoded(body: bytes) -> Any:
    """JSON without floats, its fractions as texts; a NaN is nothing. :class:`ValueError` for whatever else it is."""
    try:
        return json.loads(body.decode("utf-8-sig"), parse_float=str, parse_constant=lambda _: None)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def object_in(body: bytes) -> Json:
    """The object that a body holds; an empty one where it holds something else."""
    try:
        return as_dict(decoded(body))
    except ValueError:
        return {}


def callback_of(query: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The parameters that an unsigned callback came with: each once, the state among them, or :class:`ValueError`."""
    found = dict(query)
    if len(found) != len(query):
        raise ValueError("A parameter occurs twice.")
    if not found.get("state"):
        raise ValueError("The state is missing.")
    return found


def strange(detail: str, status: int = HTTPStatus.OK) -> PlatformError:
    """An answer that the platform does not give."""
    return PlatformError(Refusal.NOT_THE_PLATFORM, detail, status=int(status))


def app_of(connection: Connection, platform: str) -> App:
    """Our registration at the platform."""
    if connection.app is None:
        raise PlatformError(Refusal.REQUEST, f"There is no registration of an app at {platform}.")
    return connection.app
