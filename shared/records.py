"""Products and orders as we keep them: written once for any number of copies, and the newer wins.

A record's *version* is the platform's time of its last change, then our time of the look, as one text.
A page of a sync is compared by hash and written in batches, which take no conditions; a single record
(a webhook's) is written under a condition. Where a batch overwrites a newer version that came between
its look and its write, the table's stream shows both images and :func:`restore` puts the newer back.

An order whose buyer was erased keeps a mark, through whatever is written: the platform may show the order again
with the buyer in it, and what comes is stored without. The mark is read and checked where hash and version are.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from pynamodb.exceptions import DoesNotExist, PutError
from pynamodb.expressions.condition import Condition

from shared import clock, exact_json, paging, problems, settings, wheel
from shared.models import Order, Product, SyncedRecord
from shared.platforms.base import Json, Record, Resource
from shared.tables import condition_failed

Row = Product | Order

TABLES: dict[Resource, type[Product] | type[Order]] = {Resource.PRODUCTS: Product, Resource.ORDERS: Order}
LONGEST_ID = 256
LARGEST_BODY = 380 * 1024
"""Of a compressed record: an item holds 400 KB, its other attributes included."""
PERSONAL = ("customer", "shippingAddress", "note")
"""What of an order tells who bought it."""


class TooLarge(Exception):
    """The record is larger than can be kept; its text says so, without contents."""


@dataclass(slots=True)
class Counts:
    """What became of records."""

    seen: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    failed: int = 0

    def add(self, other: "Counts") -> None:
        """Adds the counts of another page."""
        for name in Counts.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def changed(self) -> int:
        """How many were written."""
        return self.created + self.updated + self.deleted


def save_page(
    store_id: str, resource: Resource, records: Sequence[Record], currency: str, observed_at: datetime, now: datetime
) -> Counts:
    """Writes what is new or changed of a page: one batch read, and a batch write per 25 changes."""
    counts = Counts(seen=len(records))
    table = TABLES[resource]
    latest = {record.id: record for record in sorted(records, key=lambda record: record.updated_at)}
    if not latest:
        return counts
    known = {row.id: row for row in _known(table, store_id, latest)}
    changed: list[Product | Order] = []
    for record in latest.values():
        old = known.get(record.id)
        seen = _see(record, currency, observed_at)
        if old is not None and not _is_erased(old) and not _is_news(old, seen):
            counts.unchanged += 1
            continue
        try:
            row = _row(table, store_id, record, seen, now)
        except TooLarge:
            counts.failed += 1
            continue
        if isinstance(row, Order) and old is not None and _is_erased(old):
            _erase(row)
        if old is None:
            counts.created += 1
        elif _is_news(old, row):
            counts.updated += 1
        else:
            counts.unchanged += 1
            continue
        changed.append(row)
    with table.batch_write() as batch:
        for row in changed:
            batch.save(row)
    counts.unchanged += len(records) - len(latest)
    return counts


def save(
    store_id: str, resource: Resource, record: Record, currency: str, observed_at: datetime, now: datetime
) -> bool:
    """Writes a record that was looked up, unless what we have is as new or the same; whether it was written.

    A tombstone gives way to a look that began after it: the platform's clock and ours need not agree.
    """
    table = TABLES[resource]
    row = _row(table, store_id, record, _see(record, currency, observed_at), now)
    returns = table.deleted.exists() & (table.looked_at < row.looked_at)
    return _write(row, lambda: table.id.does_not_exist() | _newer(table, row) | returns)


def save_announced(
    store_id: str, resource: Resource, record: Record, currency: str, received_at: datetime, now: datetime
) -> bool:
    """The same for a record that a delivery brought. It may be older than it looks, so it ends no tombstone."""
    table = TABLES[resource]
    row = _row(table, store_id, record, _see(record, currency, received_at), now)
    return _write(row, lambda: table.id.does_not_exist() | _newer(table, row))


def is_buried(store_id: str, resource: Resource, id: str) -> bool:
    """Whether we think that the platform has deleted the record."""
    table = TABLES[resource]
    try:
        return bool(table.get(store_id, id, consistent_read=True, attributes_to_get=["deleted"]).deleted)
    except DoesNotExist:
        return False


def bury(store_id: str, resource: Resource, id: str, observed_at: datetime, now: datetime) -> bool:
    """Leaves a tombstone for a record that a look did not find any more; whether it was news."""
    table = TABLES[resource]
    row = table(
        store_id,
        id,
        version=f"{clock.to_text(observed_at)}|{clock.to_text(observed_at)}",
        looked_at=clock.to_text(observed_at),
        hash="",
        changed_at=clock.to_text(now),
        deleted=True,
    )
    replaces = table.id.exists() & table.deleted.does_not_exist() & (table.looked_at < row.looked_at)
    return _write(row, lambda: replaces)


def restore(resource: Resource, old: SyncedRecord, new: SyncedRecord) -> bool:
    """Puts back what a batch overwrote: a newer version, or a buyer's erasure; whether this write was such a one."""
    is_older = _is_older(new, old)
    if not is_older and (_is_erased(new) or not _is_erased(old)):
        return False
    table, right = TABLES[resource], old if is_older else new
    is_there = (table.version == new.version) & (table.hash == new.hash)
    if isinstance(right, Order) and (_is_erased(old) or _is_erased(new)):
        _erase(right)
    _put(right, is_there)
    return True


def redact(store_id: str, id: str, now: datetime) -> bool:
    """Takes what tells who bought out of an order, for good; whether there was something to take.

    An order that is not here is marked too, by a tombstone that any look ends.
    """
    try:
        row = Order.get(store_id, id, consistent_read=True)
    except DoesNotExist:
        mark = Order(store_id, id, version="", looked_at="", hash="", changed_at=clock.to_text(now), deleted=True)
        mark.erased = True
        return not _put(mark, Order.id.does_not_exist()) and redact(store_id, id, now)
    body = body_of(row)
    found = impersonal(body) != body
    if _is_erased(row) and not found:
        return False
    as_read = (Order.version == row.version) & (Order.hash == row.hash)
    _erase(row)
    if found:
        # not older than what it replaces, though our clock may be behind: what is older is put back
        row.looked_at, row.changed_at = max(row.looked_at, clock.to_text(now)), clock.to_text(now)
        row.version = f"{_changed_at(row)}|{row.looked_at}"
    return found if _put(row, as_read) else redact(store_id, id, now)


def impersonal(body: Json) -> Json:
    """An order without what tells who bought; what buyers had written onto their goods is of that kind."""
    lines = [{**line, **({"properties": []} if "properties" in line else {})} for line in body.get("lines") or []]
    named = {name: None for name in PERSONAL if name in body}
    return {**body, **named, **({"lines": lines} if lines else {})}


def expire_personal(now: Callable[[], datetime], deadline: datetime) -> int:
    """Takes out who bought where the platform lets us hold it no longer; of how many orders."""
    count = 0
    for shard in range(settings.current().shards):
        due = Order.personal_due.query(str(shard), Order.personal_until <= clock.to_text(now()))
        for key in due:
            count += redact(str(key.store_id), str(key.id), now())
            if now() >= deadline:
                return count
    return count


def of_buyer(buyer: str) -> list[tuple[str, str]]:
    """Store and id of every order of a platform's buyer."""
    return [(key.store_id, key.id) for key in Order.by_buyer.query(buyer)]


def get(store_id: str, resource: Resource, id: str) -> Json:
    """One record as callers see it."""
    table = TABLES[resource]
    missing = problems.ProductNotFound if resource is Resource.PRODUCTS else problems.OrderNotFound
    try:
        row = table.get(store_id, id, consistent_read=True) if 0 < len(id) <= LONGEST_ID else None
    except DoesNotExist:
        row = None
    if row is None or row.deleted:
        raise missing(f"The store has no {resource.removesuffix('s')} with this id.")
    return to_view(row)


def page(store_id: str, resource: Resource, limit: int, cursor: str | None) -> tuple[list[Json], str | None]:
    """A page of what exists: products by id, orders newest first."""
    scope = ("records", store_id, resource)
    position = paging.decode(cursor, *scope)
    if resource is Resource.ORDERS and (rows := _by_creation(store_id, limit, position)):
        place = "created_key"
    else:
        rows, place = _by_id(TABLES[resource], store_id, limit, position), "id"
    more, rows = len(rows) > limit, rows[:limit]
    further = paging.encode({place: getattr(rows[-1], place)}, *scope) if more else None
    return [to_view(row) for row in rows], further


def several(store_id: str, resource: Resource, ids: Iterable[str]) -> Iterable[Row]:
    """The rows of these ids as they are now, tombstones included."""
    keys = [(store_id, id) for id in ids]
    return TABLES[resource].batch_get(keys, consistent_read=True) if keys else []


def live_ids(store_id: str, resource: Resource, since: datetime | None = None) -> set[str]:
    """The ids of what we think exists; of orders, on demand, only those that were created ``since``."""
    if resource is Resource.ORDERS and since is not None:
        orders = Order.query(store_id, attributes_to_get=["id", "deleted", "created_at"], consistent_read=True)
        first = clock.to_text(since)
        return {row.id for row in orders if not row.deleted and (row.created_at or "") >= first}
    rows = TABLES[resource].query(store_id, attributes_to_get=["id", "deleted"], consistent_read=True)
    return {row.id for row in rows if not row.deleted}


def to_view(row: SyncedRecord) -> Json:
    """What callers see of a row."""
    if row.deleted:
        return {"id": row.id, "store": row.store_id, "deleted": True, "changedAt": row.changed_at}
    body = body_of(row)
    if isinstance(row, Order) and row.personal_until is not None and row.personal_until <= clock.to_text(clock.now()):
        body = impersonal(body)  # its time has come, and its turn not yet
    return {"id": row.id, "store": row.store_id, **body, "changedAt": row.changed_at}


def body_of(row: SyncedRecord) -> Json:
    """The normalised record inside a row."""
    value: Json = exact_json.loads(zlib.decompress(row.body)) if row.body else {}
    return value


def _by_id(
    table: type[Product] | type[Order], store_id: str, limit: int, position: paging.Position | None
) -> list[Any]:
    """Products in the order of their ids, orders from the last id back: where ids grow with time, newest first."""
    forward, further = table is Product, None
    if position is not None:
        further = table.id > position["id"] if forward else table.id < position["id"]
    there = table.deleted.does_not_exist()
    rows = table.query(store_id, further, filter_condition=there, scan_index_forward=forward, page_size=limit + 1)
    return list(islice(rows, limit + 1))


def _by_creation(store_id: str, limit: int, position: paging.Position | None) -> list[Any]:
    """Orders newest first, as the index has them: none where their ids tell their order."""
    if position is not None and "created_key" not in position:
        return []
    before = Order.created_key < position["created_key"] if position else None
    keys = Order.by_created.query(store_id, before, scan_index_forward=False, page_size=limit + 1)
    ids = [key.id for key in islice(keys, limit + 1)]
    rows = {row.id: row for row in Order.batch_get([(store_id, id) for id in ids])} if ids else {}
    return [rows[id] for id in ids if id in rows and rows[id].created_key]


def _known(table: type[Product] | type[Order], store_id: str, ids: Iterable[str]) -> Iterable[Product | Order]:
    keys = [(store_id, id) for id in ids]
    compared = ["id", "version", "looked_at", "hash", "deleted", *(["erased"] if table is Order else [])]
    # what a read that is a moment behind does not show is written again, or put back by the stream
    return table.batch_get(keys, attributes_to_get=compared)


class _Seen(NamedTuple):
    """What a look showed of a record, as it is compared with what is here."""

    version: str
    looked_at: str
    hash: str
    text: bytes
    deleted: None = None


def _see(record: Record, currency: str, observed_at: datetime) -> _Seen:
    text = exact_json.canonical({**record.body, "currency": record.body.get("currency") or currency})
    changed_at, looked_at = clock.to_text(record.updated_at), clock.to_text(observed_at)
    return _Seen(f"{changed_at}|{looked_at}", looked_at, _hash(changed_at, text), text)


def _row(
    table: type[Product] | type[Order], store_id: str, record: Record, seen: _Seen, now: datetime
) -> Product | Order:
    packed = zlib.compress(seen.text)
    if len(packed) > LARGEST_BODY:
        raise TooLarge("The record is larger than can be kept.")
    row = table(
        store_id,
        record.id,
        version=seen.version,
        looked_at=seen.looked_at,
        hash=seen.hash,
        body=packed,
        changed_at=clock.to_text(now),
    )
    if isinstance(row, Order):
        row.created_at = clock.to_text(record.created_at or record.updated_at)
        row.created_key = None if record.sorts_by_id else f"{row.created_at}#{record.id}"
        row.buyer = record.buyer or None
        _limit(row, record.personal_until, now)
    return row


def _limit(row: Order, personal_until: datetime | None, now: datetime) -> None:
    """Has the row lose who bought in time; what comes too late for that loses it at once."""
    if personal_until is None:
        return
    row.personal_until, row.personal_shard = clock.to_text(personal_until), str(wheel.shard_of(row.store_id))
    if personal_until <= now:
        _erase(row)


def _hash(changed_at: str, text: bytes) -> str:
    """Of the contents and the platform's time: a change back and forth is two changes."""
    return hashlib.sha256(changed_at.encode() + text).hexdigest()[:32]


def _changed_at(row: SyncedRecord) -> str:
    """The platform's time of a row's last change."""
    return row.version.partition("|")[0]


def _is_erased(row: SyncedRecord) -> bool:
    return isinstance(row, Order) and bool(row.erased)


def _erase(row: Order) -> None:
    """Takes the buyer out of a row that is to be written, and marks it; the same as a look that found none."""
    row.erased, row.buyer = True, None
    row.personal_until = row.personal_shard = None
    if row.body:
        text = exact_json.canonical(impersonal(body_of(row)))
        row.body, row.hash = zlib.compress(text), _hash(_changed_at(row), text)


def _newer(table: type[Product] | type[Order], row: SyncedRecord) -> Condition:
    newer: Condition = table.deleted.does_not_exist() & (table.version < row.version) & (table.hash != row.hash)
    return newer


def _write(row: Product | Order, replaces: Callable[[], Condition]) -> bool:
    """Writes a row where it replaces what is there, without its buyer where that was erased; whether it was written.

    The erased are few, so a write that is refused is tried as one of theirs, instead of a look before each.
    """
    if not isinstance(row, Order):
        return _put(row, replaces())
    if _put(row, Order.erased.does_not_exist() & replaces()):
        return True
    _erase(row)
    return _put(row, Order.erased.exists() & replaces())


def _put(row: SyncedRecord, condition: Condition) -> bool:
    try:
        row.save(condition=condition)
    except PutError as error:
        if condition_failed(error):
            return False
        raise
    return True


def _is_news(old: SyncedRecord, row: SyncedRecord | _Seen) -> bool:
    return _is_older(old, row) and old.hash != row.hash


def _is_older(one: SyncedRecord, other: SyncedRecord | _Seen) -> bool:
    if one.deleted or other.deleted:
        return bool(one.looked_at < other.looked_at)
    return bool(one.version < other.version)
