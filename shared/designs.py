"""Which designs are linked to which stores: many to many, listed from both sides."""

import re
from datetime import datetime
from itertools import islice

from pynamodb.exceptions import DoesNotExist

from shared import paging, problems, schemas
from shared.models import Store, StoreDesign
from shared.stores import Caller


def checked(design_id: str) -> str:
    """The design's id, if it can be one."""
    if re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", design_id) is None:
        raise problems.DesignNotFound("A design's id has 1 to 128 letters, digits or any of . _ : -")
    return design_id


def link(store: Store, design_id: str, now: datetime) -> StoreDesign:
    """The link, made now unless it is there already."""
    try:
        return StoreDesign.get(store.id, checked(design_id), consistent_read=True)
    except DoesNotExist:
        row = StoreDesign(store.id, design_id, linked_at=now)
        row.save()
        return row


def unlink(store: Store, design_id: str) -> None:
    """Takes the link away; one that is not there is fine."""
    StoreDesign(store.id, checked(design_id)).delete()


def of_store(store: Store, limit: int, cursor: str | None) -> tuple[list[StoreDesign], str | None]:
    """The designs linked to a store."""
    scope = ("designs", store.id)
    position = paging.decode(cursor, *scope)
    after = StoreDesign.design_id > position["design"] if position else None
    rows = list(islice(StoreDesign.query(store.id, after, page_size=limit + 1), limit + 1))
    return _cut(rows, limit, "design", "design_id", scope)


def stores_of(design_id: str, caller: Caller, limit: int, cursor: str | None) -> tuple[list[StoreDesign], str | None]:
    """The caller's stores that a design is linked to; links of others' stores are not there."""
    scope = ("stores of design", design_id, caller.user_id)
    position = paging.decode(cursor, *scope)
    after = StoreDesign.store_id > position["store"] if position else None
    found: list[StoreDesign] = []
    links = StoreDesign.by_design.query(checked(design_id), after, page_size=100)
    while len(found) <= limit and (batch := list(islice(links, 100))):
        seen = {store.id for store in Store.batch_get([row.store_id for row in batch]) if caller.sees(store)}
        found.extend(row for row in batch if row.store_id in seen)
    return _cut(found[: limit + 1], limit, "store", "store_id", scope)


def to_view(row: StoreDesign) -> schemas.DesignLink:
    """What callers see of a link."""
    return schemas.DesignLink(store=row.store_id, design_id=row.design_id, linked_at=row.linked_at)


def _cut(
    rows: list[StoreDesign], limit: int, name: str, attribute: str, scope: tuple[object, ...]
) -> tuple[list[StoreDesign], str | None]:
    more, rows = len(rows) > limit, rows[:limit]
    return rows, paging.encode({name: getattr(rows[-1], attribute)}, *scope) if more else None
