"""The change feed of a store: what changed since, complete and in the order in which it was noted.

:func:`append` is told by the tables' streams (``shared.changes``), so nothing is in the feed that did not happen and
nothing that happened is missing. One row holds all that a batch of the stream has of a store; an index of the records
by their change would cost two writes for each change of each.
"""

import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from shared import clock, exact_json, paging, records
from shared.models import Change, SyncedRecord
from shared.platforms.base import Json, Resource

KEPT = timedelta(days=30)
"""Whoever asks for what changed before is shown the records themselves, in the order of their ids."""
SETTLING = timedelta(seconds=5)
"""The feed ends this long ago: writes that started earlier have ended, so nothing appears behind a cursor."""
_LOOK, _LOOKS = 20, 10
"""So many entries at once, or a page of them, and so often one call looks for those that are still the last."""
_DAY = timedelta(days=1)


class _Entry(NamedTuple):
    """A change, and where the feed goes on behind it."""

    id: str
    changed_at: str
    place: str
    number: int


def append(store_id: str, resource: Resource, changed: Mapping[str, str], event: str, now: datetime) -> None:
    """Notes what changed: ids, each with the ``changed_at`` of its row. ``event`` tells it from all others."""
    together: dict[str, list[str]] = {}
    for id, changed_at in changed.items():
        together.setdefault(changed_at, []).append(id)
    packed = zlib.compress(exact_json.dumps(together).encode())
    Change(store_id, f"{resource}#{clock.to_text(now)}#{event}", records=packed, expires_at=now + KEPT + _DAY).save()


def listed(
    store_id: str, resource: Resource, since: datetime | None, limit: int, cursor: str | None, now: datetime
) -> tuple[list[Json], str | None]:
    """What exists, or with ``since`` what changed."""
    if since is None:
        return records.page(store_id, resource, limit, cursor)
    return changes(store_id, resource, since, limit, cursor, now)


def changes(
    store_id: str, resource: Resource, since: datetime, limit: int, cursor: str | None, now: datetime
) -> tuple[list[Json], str]:
    """What changed since, oldest change first, tombstones included; the cursor is always there to come back with."""
    scope = ("changes", store_id, resource)
    position = paging.decode(cursor, *scope)
    settled = clock.to_text(now - SETTLING)
    if position is None:
        since_text = clock.to_text(since)
        kept = since >= now - KEPT
        position = paging.Position(time=since_text) if kept else paging.Position(since=since_text, then=settled)
    if "since" in position:
        rows, further = _walk(store_id, resource, position, limit)
    else:
        rows, further = _follow(store_id, resource, position, limit, settled)
    return [records.to_view(row) for row in rows], paging.encode(further, *scope)


def _walk(
    store_id: str, resource: Resource, position: paging.Position, limit: int
) -> tuple[list[SyncedRecord], Mapping[str, str]]:
    """Through the records themselves, and then on from where the feed was when the walk began."""
    table = records.TABLES[resource]
    after = table.id > position["id"] if "id" in position else None
    rows = list(islice(table.query(store_id, after, consistent_read=True, page_size=limit), limit))
    changed = [row for row in rows if row.changed_at >= position["since"]]
    if len(rows) < limit:
        return changed, {"time": position["then"]}
    return changed, {**position, "id": rows[-1].id}


def _follow(
    store_id: str, resource: Resource, position: paging.Position, limit: int, settled: str
) -> tuple[list[SyncedRecord], Mapping[str, str]]:
    """Along the entries. One whose record changed again meanwhile is passed over: it is further on, too."""
    further: Mapping[str, str] = position
    found: dict[str, SyncedRecord] = {}
    entries = _entries(store_id, resource, position, settled)
    for _look in range(_LOOKS):
        batch = list(islice(entries, max(limit, _LOOK)))
        rows = {row.id: row for row in records.several(store_id, resource, {entry.id for entry in batch})}
        for entry in batch:
            further = {"place": entry.place, "number": str(entry.number)}
            if entry.id in rows and rows[entry.id].changed_at == entry.changed_at:
                found[entry.id] = rows[entry.id]
            if len(found) == limit:
                return list(found.values()), further
        if not batch:
            break
    return list(found.values()), further


def _entries(store_id: str, resource: Resource, position: paging.Position, settled: str) -> Iterator[_Entry]:
    """What is behind a place, oldest first."""
    last = f"{resource}#{settled}"
    first = position["place"] if "place" in position else f"{resource}#{position['time']}"
    if first >= last:
        return
    passed = int(position["number"]) if "place" in position and position["number"].isdecimal() else 0
    for row in Change.query(store_id, Change.place.between(first, last), consistent_read=True):
        together: Mapping[str, list[str]] = exact_json.loads(zlib.decompress(row.records))
        each = ((id, changed_at) for changed_at, ids in together.items() for id in ids)
        skipped = passed if row.place == first else 0
        for number, (id, changed_at) in islice(enumerate(each, 1), skipped, None):
            yield _Entry(id, changed_at, row.place, number)
