"""What the tables' streams say, as events on our bus.

Events come from the streams, so no change is announced that did not happen, and none that happened is
missed. An event names what changed; it holds no personal data, and whoever is interested reads it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from shared import clients, clock, exact_json, records
from shared.models import Order, PrivacyEvidence, Product, Status, Store, SyncRun
from shared.observability import logger
from shared.platforms.base import Resource
from shared.settings import current
from shared.tables import Table

SOURCE = "storelink"
_ENTRIES = 10

Image = Mapping[str, Any]
Row = TypeVar("Row", bound=Table)


class NotPublished(Exception):
    """The bus did not take some entries: the stream gives the records again."""


def publish(stream_records: Sequence[Mapping[str, Any]]) -> int:
    """Publishes what the stream's records announce, and says how many events that were."""
    entries = [
        {
            "Source": SOURCE,
            "EventBusName": current().event_bus,
            "DetailType": kind,
            "Detail": exact_json.dumps({"eventId": f"{record['eventID']}.{number}", "type": kind, **detail}),
        }
        for record in stream_records
        for number, (kind, detail) in enumerate(_events(record))
    ]
    for start in range(0, len(entries), _ENTRIES):
        answer = clients.events().put_events(Entries=entries[start : start + _ENTRIES])
        if answer.get("FailedEntryCount"):
            raise NotPublished(f"{answer['FailedEntryCount']} events were not taken")
    return len(entries)


def _events(record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    table = record["eventSourceARN"].split(":table/")[1].split("/")[0].removeprefix(current().table_prefix + "-")
    old, new = record["dynamodb"].get("OldImage"), record["dynamodb"].get("NewImage")
    match table:
        case "stores":
            yield from _store_events(_read(Store, old), _read(Store, new))
        case "products":
            yield from _record_events(Resource.PRODUCTS, _read(Product, old), _read(Product, new))
        case "orders":
            yield from _record_events(Resource.ORDERS, _read(Order, old), _read(Order, new))
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


def _record_events(
    resource: Resource, old: Product | Order | None, new: Product | Order | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    if new is None:
        return  # the store is being removed; its own event says so
    if old is not None and records.restore(resource, old, new):
        logger.info("newer_version_restored", store=new.store_id, resource=resource)
        return
    kind = resource.removesuffix("s")
    detail = {"store": new.store_id, f"{kind}Id": new.id, "changedAt": new.change_key.split("#")[0]}
    if new.deleted:
        if old is not None and not old.deleted:  # what was never here may have a tombstone, see records.redact
            yield f"{kind}.deleted", detail
    elif old is None or old.deleted:
        yield f"{kind}.created", detail
    elif old.hash != new.hash:
        yield f"{kind}.updated", detail


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
