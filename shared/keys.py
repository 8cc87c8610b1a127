"""The keys that seal credentials: one per group of stores, wrapped by KMS, versioned, held for a short time.

KMS wraps a group's key and the group's key wraps the key of each message. So a webhook or a sync asks KMS
nothing while the group's key is held, and yet a KMS key that is disabled bites within :data:`HELD`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from threading import Lock
from typing import Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from shared import clients, clock, settings

HELD: Final = timedelta(seconds=300)
"""How long a group's keys may be used before the table and KMS are asked again."""


class Purpose(StrEnum):
    """What a key seals. Each has its own KMS key, so that the webhook receiver cannot open an API token."""

    API = "api"
    WEBHOOK = "webhook"


class KeyUnavailable(Exception):
    """KMS or the table of key groups does not give the key. The request was fine and may be repeated."""


class KeyUnknown(Exception):
    """The group has no key of that version."""


# Neither is a dataclass: making one adds a millisecond to the start of a function that has few to spare.
class GroupKey(NamedTuple):
    """One version of a group's key."""

    purpose: Purpose
    group: int
    version: int
    secret: bytes

    def __repr__(self) -> str:
        return f"GroupKey({self.purpose}/{self.group}/{self.version})"


class _Ring:
    """A group's keys, as the table had them at ``since``; unwrapped when first asked for."""

    def __init__(self, purpose: Purpose, group: int, item: dict[str, Any], since: datetime) -> None:
        number = item["current"]["N"]
        self.purpose = purpose
        self.group = group
        self.since = since
        self.current = int(number)
        self.created_at = clock.from_text(item["created_at"]["M"][number]["S"])
        self.wrapped = {int(each): bytes(value["B"]) for each, value in item["versions"]["M"].items()}
        self._unwrapped: dict[int, bytes] = {}

    def is_fresh(self, now: datetime) -> bool:
        # A clock that was set back must not lengthen the life of a key.
        return timedelta(0) <= now - self.since < HELD

    def key(self, version: int) -> GroupKey:
        if version not in self._unwrapped:
            self._unwrapped[version] = _unwrap(self.purpose, self.group, self.wrapped[version])
        return GroupKey(self.purpose, self.group, version, self._unwrapped[version])


# Both are bounded: there are two purposes, and settings.key_groups groups.
_rings: dict[tuple[Purpose, int], _Ring] = {}
_locks: dict[tuple[Purpose, int], Lock] = {}


def group_of(store_id: str) -> int:
    """The group whose key seals the store's credentials; stable as long as the number of groups is."""
    return int.from_bytes(sha256(store_id.encode()).digest()[:8]) % settings.current().key_groups


def current(purpose: Purpose, group: int, now: datetime) -> GroupKey:
    """The key to seal with. A group's first key is made here."""
    with _lock(purpose, group):
        ring = _held(purpose, group, now) or _load(purpose, group, now) or _create(purpose, group, now)
        return ring.key(ring.current)


def current_version(purpose: Purpose, group: int, now: datetime) -> int | None:
    """The version of the key to seal with, without asking KMS; None where the group has no key yet."""
    with _lock(purpose, group):
        ring = _held(purpose, group, now) or _load(purpose, group, now)
        return ring.current if ring else None


def version(purpose: Purpose, group: int, number: int, now: datetime) -> GroupKey:
    """The key to open with, or :class:`KeyUnknown`."""
    with _lock(purpose, group):
        ring = _held(purpose, group, now)
        if ring is None or number not in ring.wrapped:  # Another environment may have rotated since we read.
            ring = _load(purpose, group, now)
        if ring is None or number not in ring.wrapped:
            raise KeyUnknown(f"Group {group} has no {purpose} key of version {number}.")
        return ring.key(number)


def created_at(purpose: Purpose, group: int, now: datetime) -> datetime | None:
    """When the group's current key was made; None where the group has no key yet."""
    with _lock(purpose, group):
        ring = _held(purpose, group, now) or _load(purpose, group, now)
        return ring.created_at if ring else None


def rotate(purpose: Purpose, group: int, now: datetime) -> int | None:
    """Give the group a new current key and tell its version; what older keys sealed stays readable.

    Of two that rotate at once one succeeds, and both tell its version. A group without a key stays without.
    """
    with _lock(purpose, group):
        ring = _load(purpose, group, now)
        if ring is None:
            return None
        _add_version(ring, now)
        ring = _load(purpose, group, now)
        return ring.current if ring else None


def forget() -> None:
    """Drop all keys held in memory."""
    _rings.clear()


def _lock(purpose: Purpose, group: int) -> Lock:
    return _locks.setdefault((purpose, group), Lock())


def _held(purpose: Purpose, group: int, now: datetime) -> _Ring | None:
    ring = _rings.get((purpose, group))
    if ring and ring.is_fresh(now):
        return ring
    _rings.pop((purpose, group), None)
    return None


def _load(purpose: Purpose, group: int, now: datetime) -> _Ring | None:
    with _failures_as_unavailable():
        answer = clients.dynamodb().get_item(TableName=_table(), Key=_item_key(purpose, group), ConsistentRead=True)
    if "Item" not in answer:
        return None
    ring = _Ring(purpose, group, answer["Item"], now)
    _rings[purpose, group] = ring
    return ring


def _create(purpose: Purpose, group: int, now: datetime) -> _Ring:
    # Several may create the group at once: the first write wins, and all read back what won.
    _write_once(
        clients.dynamodb().put_item,
        Item={
            **_item_key(purpose, group),
            "current": {"N": "1"},
            "versions": {"M": {"1": {"B": _generate(purpose, group)}}},
            "created_at": {"M": {"1": {"S": clock.to_text(now)}}},
        },
        ConditionExpression="attribute_not_exists(#group)",
        ExpressionAttributeNames={"#group": "group"},
    )
    ring = _load(purpose, group, now)
    if ring is None:
        raise KeyUnavailable(f"The {purpose} key of group {group} vanished as it was made.")
    return ring


def _add_version(ring: _Ring, now: datetime) -> None:
    number = str(ring.current + 1)
    _write_once(
        clients.dynamodb().update_item,
        Key=_item_key(ring.purpose, ring.group),
        UpdateExpression="SET #current = :number, #versions.#number = :wrapped, #created_at.#number = :now",
        ConditionExpression="#current = :read",
        ExpressionAttributeNames={
            "#current": "current",
            "#versions": "versions",
            "#created_at": "created_at",
            "#number": number,
        },
        ExpressionAttributeValues={
            ":number": {"N": number},
            ":read": {"N": str(ring.current)},
            ":wrapped": {"B": _generate(ring.purpose, ring.group)},
            ":now": {"S": clock.to_text(now)},
        },
    )


def _write_once(write: Callable[..., object], **request: object) -> None:
    """Write, or let be what another has written first."""
    with _failures_as_unavailable():
        try:
            write(TableName=_table(), **request)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise


def _generate(purpose: Purpose, group: int) -> bytes:
    with _failures_as_unavailable():
        answer = clients.kms().generate_data_key(
            KeyId=_kms_key(purpose), KeySpec="AES_256", EncryptionContext=_kms_context(purpose, group)
        )
    return bytes(answer["CiphertextBlob"])


def _unwrap(purpose: Purpose, group: int, wrapped: bytes) -> bytes:
    with _failures_as_unavailable():
        answer = clients.kms().decrypt(
            KeyId=_kms_key(purpose), CiphertextBlob=wrapped, EncryptionContext=_kms_context(purpose, group)
        )
    return bytes(answer["Plaintext"])


@contextmanager
def _failures_as_unavailable() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise KeyUnavailable(f"{error.operation_name} answered {error.response['Error']['Code']}.") from error
    except BotoCoreError as error:
        raise KeyUnavailable(f"AWS was not reached: {type(error).__name__}.") from error


def _kms_key(purpose: Purpose) -> str:
    here = settings.current()
    return {Purpose.API: here.api_credentials_key, Purpose.WEBHOOK: here.webhook_secrets_key}[purpose]


def _kms_context(purpose: Purpose, group: int) -> dict[str, str]:
    return {"service": "storelink", "purpose": purpose, "group": str(group)}


def _table() -> str:
    return f"{settings.current().table_prefix}-key-groups"


def _item_key(purpose: Purpose, group: int) -> dict[str, dict[str, str]]:
    return {"group": {"S": f"{purpose}#{group}"}}
