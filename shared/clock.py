"""The one place that asks what time it is; everything else is passed ``now``."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache


def now() -> datetime:
    """The current time, aware and in UTC."""
    return datetime.now(UTC)


@lru_cache(maxsize=64)  # a page of records has two times in common
def to_text(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds: sorts as text in the order of time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def from_text(text: str) -> datetime:
    """The inverse of :func:`to_text`; also takes any RFC 3339 time that names its offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no offset")
    return moment.astimezone(UTC)


def epoch(moment: datetime) -> int:
    """Whole seconds since 1970, as DynamoDB's expiry attribute wants them."""
    return int(moment.timestamp())


def short(moment: datetime) -> str:
    """RFC 3339 without a fraction where there is none, as our JSON shows it."""
    text = moment.astimezone(UTC).isoformat()
    return text.removesuffix("+00:00") + "Z"


__all__ = ["datetime", "epoch", "from_text", "now", "short", "timedelta", "to_text"]
