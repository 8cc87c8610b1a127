"""The public keys with which a platform signs its deliveries, fetched by the ids that the deliveries name.

An id comes from a delivery that nobody has verified yet, and a fetch costs calls that the platform counts by
the day. So a key is kept for all workers, an id that the platform does not know is remembered as well, and of
ids that were never met only a few are asked for in an hour. A key that is known stays good while the platform
cannot be asked. Like the intake this needs botocore and nothing larger, unless there is something to fetch.
"""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from botocore.exceptions import ClientError

from shared import apps, clients, clock
from shared.observability import logger
from shared.platforms.base import FetchesKeys, Http, PlatformError, PlatformName, Refusal
from shared.settings import current

FRESH = timedelta(hours=1)
"""After this a key is fetched anew: eBay wants it so (https://developer.ebay.com/marketplace-account-deletion)."""
KEPT = timedelta(days=30)
STRANGERS_AN_HOUR = 20
"""How many ids that were never met are asked for; eBay gives an app a thousand tokens a day for all its needs."""
PATIENCE = 4.0
"""Seconds; the platform waits for our answer meanwhile."""
_CACHED = 100


class KeyNotToBeHad(Exception):
    """Whether the delivery is genuine cannot be told now; the sender should try again."""


class _Known(NamedTuple):
    key: str
    """Empty where the platform knows no such id."""
    fetched_at: datetime

    def is_fresh(self, now: datetime) -> bool:
        return now - self.fetched_at < FRESH


_known: OrderedDict[str, _Known] = OrderedDict()


def get(platform: PlatformName, adapter: FetchesKeys, key_id: str, connect: Callable[[], Http], now: datetime) -> str:
    """The key of this id, as ``verify`` takes it; empty where there is none. ``connect`` gives the way out."""
    if not key_id:
        return ""
    name = f"{platform}#{key_id}"
    known = _known.get(name)
    if known is None or not known.is_fresh(now):
        known = _remember(name, _read_or_fetch(name, platform, adapter, key_id, connect, now))
    return known.key


def forget() -> None:
    """Empties the cache of this execution environment."""
    _known.clear()


def _remember(name: str, known: _Known) -> _Known:
    _known[name] = known
    _known.move_to_end(name)
    while len(_known) > _CACHED:
        _known.popitem(last=False)
    return known


def _read_or_fetch(
    name: str,
    platform: PlatformName,
    adapter: FetchesKeys,
    key_id: str,
    connect: Callable[[], Http],
    now: datetime,
) -> _Known:
    kept = _read(name)
    if kept is not None and kept.is_fresh(now):
        return kept
    if not (kept and kept.key):
        _count_stranger(platform, now)
    try:
        found = _Known(adapter.fetch_key(apps.get(platform), key_id, connect(), now), now)
    except (PlatformError, apps.AppMissing) as error:
        if isinstance(error, PlatformError) and error.refusal is Refusal.NOT_FOUND:
            found = _Known("", now)
        elif kept is not None and kept.key:
            logger.warning("signing_key_not_renewed", platform=platform, error=str(error))
            return kept
        else:
            raise KeyNotToBeHad(f"The key of {platform} could not be fetched: {error}") from error
    _write(name, found)
    return found


def _read(name: str) -> _Known | None:
    answer = clients.dynamodb().get_item(TableName=_table(), Key={"name": {"S": name}})
    item = answer.get("Item")
    return _Known(item["key"]["S"], clock.from_text(item["fetched_at"]["S"])) if item else None


def _write(name: str, known: _Known) -> None:
    item = {
        "name": {"S": name},
        "key": {"S": known.key},
        "fetched_at": {"S": clock.to_text(known.fetched_at)},
        "expires_at": {"N": str(clock.epoch(known.fetched_at + (KEPT if known.key else FRESH)))},
    }
    clients.dynamodb().put_item(TableName=_table(), Item=item)


def _count_stranger(platform: PlatformName, now: datetime) -> None:
    """Whoever makes ids up must not spend what genuine deliveries need."""
    hour = clock.epoch(now) // 3600
    try:
        clients.dynamodb().update_item(
            TableName=_table(),
            Key={"name": {"S": f"{platform}#strangers#{hour}"}},
            UpdateExpression="SET expires_at = :end ADD asked :one",
            ConditionExpression="attribute_not_exists(asked) OR asked < :most",
            ExpressionAttributeValues={
                ":end": {"N": str((hour + 2) * 3600)},
                ":one": {"N": "1"},
                ":most": {"N": str(STRANGERS_AN_HOUR)},
            },
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        raise KeyNotToBeHad(f"Too many deliveries name unknown keys of {platform}.") from error


def _table() -> str:
    return f"{current().table_prefix}-signing-keys"
