"""What the tables' streams say: into the change feed of each store, and as events on our bus.

Both come from the streams, so no change is announced that did not happen, and none that happened is missed. What a
batch of the stream has of a store's products or orders makes one entry of the feed, and one event of each kind. An
event names what changed; it holds no personal data, and whoever is interested reads it.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from shared import clients, clock, exact_json, feed, records
from shared.models import Order, PrivacyEvidence, Product, Status, Store, SyncRun
from shared.observability import logger
from shared.platforms.base import Resource
from shared.settings import current
from shared.tables import Table

SOURCE = "storelink"
_RESOURCES = {str(resource): resource for resource in Resource}
"""Tables whose records are products and orders, by name."""
_ENTRIES = 10

Image = Mapping[str, Any]
Row = TypeVar("Row", bound=Table)


class NotPublished(Exception):
    """The bus did not take some entries: the stream gives the records again."""


class _Changed(NamedTuple):
    """A product or an order that changed, as the stream says it."""

    event: str
    """The stream's own id of it."""
    kind: str
    """Of the event; none where it was written again as it was."""
    store_id: str
    id: str
    changed_at: str


def publish(stream_records: Sequence[Mapping[str, Any]], now: datetime) -> int:
    """Notes and publishes what the stream's records announce, and says how many events that were.

    What is not published comes again: the same events, with the same ids, and an entry more in the feed.
    """
    entries: list[dict[str, str]] = []
    changed: dict[tuple[str, Resource], list[_Changed]] = {}
    for record in stream_records:
        table = record["eventSourceARN"].split(":table/")[1].split("/")[0].removeprefix(current().table_prefix + "-")
        old, new = record["dynamodb"].get("OldImage"), record["dynamodb"].get("NewImage")
        if table not in _RESOURCES:
            events = enumerate(_events(table, old, new))
            entries += [_entry(kind, f"{record['eventID']}.{number}", detail) for number, (kind, detail) in events]
        elif found := _changed(record["eventID"], _RESOURCES[table], old, new):
            changed.setdefault((found.store_id, _RESOURCES[table]), []).append(found)
    for (store_id, resource), those in changed.items():
        feed.append(store_id, resource, {each.id: each.changed_at for each in those}, those[0].event, now)
        entries += _together(store_id, resource, those)
    _put(entries)
    return len(entries)


def _put(entries: Sequence[dict[str, str]]) -> None:
    for start in range(0, len(entries), _ENTRIES):
        answer = clients.events().put_events(Entries=entries[start : start + _ENTRIES])
        if answer.get("FailedEntryCount"):
            raise NotPublished(f"{answer['FailedEntryCount']} events were not taken")


def _entry(kind: str, event_id: str, detail: Mapping[str, Any]) -> dict[str, str]:
    return {
        "Source": SOURCE,
        "EventBusName": current().event_bus,
        "DetailType": kind,
        "Detail": exact_json.dumps({"eventId": event_id, "type": kind, **detail}),
    }


def _together(store_id: str, resource: Resource, changed: Sequence[_Changed]) -> Iterator[dict[str, str]]:
    """An event for each kind of change; its id is that of its contents, so that it repeats only with them."""
    for kind in dict.fromkeys(each.kind for each in changed if each.kind):
        those = [each for each in changed if each.kind == kind]
        event_id = hashlib.sha256("".join(each.event for each in those).encode()).hexdigest()[:32]
        named = [{"id": each.id, "changedAt": each.changed_at} for each in those]
        yield _entry(kind, event_id, {"store": store_id, resource: named})


def _events(table: str, old: Image | None, new: Image | None) -> Iterator[tuple[str, dict[str, Any]]]:
    match table:
        case "stores":
            yield from _store_events(_read(Store, old), _read(Store, new))
        case "sync-runs":
            yield from _run_events(_read(SyncRun, new) if old is None else None)
        case "privacy-requests":
            yield from _privacy_events(_read(PrivacyEvidence, new) if old is None else None)
        case _:
            logger.error("stream_unknown", table=table)


def _store_events(old: Store | None, new: Store | None) -> Iterator[tuple[str, dict[str, Any]]]:
    if new is None:
        return
    detail = {
        "store": new.id,
        "platform": new.platform,
        "userId": new.user_id,
        "teamId": new.team_id,
        "status": new.status,
        "statusReason": new.status_reason,
    }
    if old is None or old.status != new.status:
        names = {
            Status.CONNECTED: "store.connected",
            Status.NEEDS_REAUTHORIZATION: "store.needs_reauthorization",
            Status.UNREACHABLE: "store.unreachable",
            Status.DISCONNECTED: "store.disconnected",
        }
        yield names[Status(new.status)], detail
    if new.removing and (old is None or not old.removing):
        yield "store.removed", detail
    if new.reauthorize_by is not None and (old is None or _announced(old) != _announced(new)):
        by = clock.short(new.reauthorize_by)
        yield "store.reauthorization_due", {**detail, "reauthorizeBy": by, "days": int(new.reauthorize_days)}


def _announced(store: Store) -> tuple[object, object]:
    return store.reauthorize_by, store.reauthorize_days


def _changed(event: str, resource: Resource, before: Image | None, after: Image | None) -> _Changed | None:
    old, new = _read(records.TABLES[resource], before), _read(records.TABLES[resource], after)
    if new is None:
        return None  # the store is being removed; its own event says so
    if old is not None and records.restore(resource, old, new):
        logger.info("newer_version_restored", store=new.store_id, resource=resource)
        return None
    what = _what_happened(old, new)
    kind = f"{resource.removesuffix('s')}.{what}" if what else ""
    # what was written twice is no event, but the feed goes by the time of the last write
    is_written_again = old is not None and not new.deleted and old.changed_at != new.changed_at
    return _Changed(event, kind, new.store_id, new.id, new.changed_at) if what or is_written_again else None


def _what_happened(old: Product | Order | None, new: Product | Order) -> str:
    if new.deleted:
        # what was never here may have a tombstone, see records.redact
        return "deleted" if old is not None and not old.deleted else ""
    if old is None or old.deleted:
        return "created"
    return "updated" if old.hash != new.hash else ""


def _run_events(run: SyncRun | None) -> Iterator[tuple[str, dict[str, Any]]]:
    if run is not None:
        yield (
            "sync.finished",
            {
                "store": run.store_id,
                "platform": run.platform,
                "userId": run.user_id,
                "teamId": run.team_id,
                "startedAt": run.started_at,
                "outcome": run.outcome,
                "reason": run.reason,
                "full": run.full,
                "counts": exact_json.loads(run.counts),
            },
        )


def _privacy_events(evidence: PrivacyEvidence | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Whoever has copied our orders must do the same with the copies: an event for each store it concerns."""
    if evidence is None:
        return
    for store, orders in (exact_json.loads(evidence.orders) or {evidence.store: []}).items():
        yield (
            "privacy.requested",
            {
                "store": store,
                "platform": evidence.platform,
                "kind": evidence.kind,
                "outcome": evidence.outcome,
                "orders": orders,
                "dueAt": clock.short(evidence.due_at),
            },
        )


def _read(model: type[Row], image: Image | None) -> Row | None:
    """The row that a stream's image shows."""
    if image is None:
        return None
    row = model()
    row.from_dynamodb_dict(dict(image))
    return row
