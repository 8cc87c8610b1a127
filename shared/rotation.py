"""Rotating the keys of the credential hierarchy, and sealing anew what old keys sealed.

Every store is visited by the platform index, shard by shard; the place is remembered, so the work can be
cut off anywhere. Until it is done the old versions still open what they sealed.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice

from pynamodb.exceptions import DoesNotExist, UpdateError

from shared import credentials, exact_json, keys
from shared.keys import Purpose
from shared.models import Credentials, Rotation, Store
from shared.observability import logger
from shared.platforms.base import PlatformName
from shared.settings import current
from shared.tables import condition_failed

KEY_AGE = timedelta(days=365)
_BATCH = 25


def advance(now: Callable[[], datetime], deadline: datetime) -> int:
    """New versions for keys that are old; else as many old seals renewed as time allows, and how many those were."""
    rotated = [
        keys.rotate(purpose, group, now())
        for purpose in Purpose
        for group in range(current().key_groups)
        if _is_old(purpose, group, now())
    ]
    walk = _walk()
    if rotated:
        logger.info("keys_rotated", groups=len(rotated))
        walk.place = exact_json.dumps({"partition": 0, "after": ""})
        walk.save()
        return 0  # others hold the old keys for minutes and seal with them: the next run finds those seals too
    return _renew(walk, now, deadline) if walk.place is not None else 0


def _is_old(purpose: Purpose, group: int, now: datetime) -> bool:
    created = keys.created_at(purpose, group, now)
    return created is not None and now - created >= KEY_AGE


def _walk() -> Rotation:
    try:
        return Rotation.get(Rotation.KEY, consistent_read=True)
    except DoesNotExist:
        return Rotation(Rotation.KEY)


def _partitions() -> list[str]:
    return [f"{platform}#{shard}" for platform in PlatformName for shard in range(current().shards)]


def _renew(walk: Rotation, now: Callable[[], datetime], deadline: datetime) -> int:
    place = exact_json.loads(walk.place)
    renewed = 0
    for number, partition in list(enumerate(_partitions()))[place["partition"] :]:
        after = place["after"] if number == place["partition"] else ""
        for batch in _stores(partition, after):
            renewed += sum(_renew_store(store.id, now()) for store in batch)
            walk.place = exact_json.dumps({"partition": number, "after": batch[-1].created_key})
            walk.save()
            if now() >= deadline:
                return renewed
    walk.place = None
    walk.save()
    return renewed


def _stores(partition: str, after: str) -> Iterator[list[Store]]:
    rows = Store.by_platform.query(partition, Store.created_key > after if after else None, page_size=_BATCH)
    while batch := list(islice(rows, _BATCH)):
        yield batch


def _renew_store(store_id: str, now: datetime) -> int:
    """Seals the store's secrets with the current keys; how many seals were old."""
    try:
        row = Credentials.get(store_id, consistent_read=True)
    except DoesNotExist:
        return 0
    sealed = {Purpose.API: row.api_credentials, Purpose.WEBHOOK: row.webhook_secrets}
    old = {
        purpose: blob for purpose, blob in sealed.items() if not credentials.is_current(purpose, store_id, blob, now)
    }
    if not old:
        return 0
    fresh = {purpose: credentials.reseal(purpose, store_id, row.platform, blob, now) for purpose, blob in old.items()}
    attributes = {Purpose.API: Credentials.api_credentials, Purpose.WEBHOOK: Credentials.webhook_secrets}
    unchanged = Credentials.store_id.exists()
    for purpose, blob in old.items():
        unchanged &= attributes[purpose] == blob
    try:
        row.update(actions=[attributes[purpose].set(blob) for purpose, blob in fresh.items()], condition=unchanged)
    except UpdateError as error:
        if condition_failed(error):
            return 0  # somebody replaced them meanwhile, and sealed with the current key
        raise
    return len(fresh)
