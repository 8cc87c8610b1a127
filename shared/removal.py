"""Removing all that a store had, piece by piece, so that it can be cut off anywhere and go on.

The claims are gone and the store is hidden before this begins (``stores.begin_removal``). The store's own
row goes last: while it is there, the work is not done.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any

from pynamodb.exceptions import DoesNotExist

from shared import clients, connecting, exact_json, platforms, tokens
from shared.apps import AppMissing
from shared.credentials import CredentialsUnreadable
from shared.keys import KeyUnavailable
from shared.models import (
    Change,
    Credentials,
    Delivery,
    HandledDeliveries,
    Order,
    Product,
    Status,
    Store,
    StoreDesign,
    SyncRun,
    SyncState,
)
from shared.observability import logger
from shared.platforms.base import Http, ManagesSubscriptions, PlatformError, PlatformName, RevokesGrants
from shared.settings import current
from shared.tables import Table

_BATCH = 100
_CONTENTS: tuple[type[Any], ...] = (Product, Order, SyncRun, StoreDesign, Delivery, HandledDeliveries, Change)
"""In this order: what tells of the others goes after them."""


def remove(store_id: str, http: Http, now: Callable[[], datetime], deadline: datetime) -> bool:
    """Removes the store's contents, then the store; queues the rest and says False when time is up."""
    try:
        store = Store.get(store_id, consistent_read=True)
    except DoesNotExist:
        return True
    if not store.removing:
        logger.error("removal_refused", store=store_id)
        return True
    if _being_synced(store_id, now()):
        return _go_on_later(store_id, delay=60)
    _take_leave(store, http, now())
    for rows in _contents(store_id):
        _delete(rows)
        if now() >= deadline:
            return _go_on_later(store_id)
    _delete_bodies(store_id)
    Credentials(store_id).delete()
    SyncState(store_id).delete()
    store.delete()
    logger.info("store_removed", store=store_id)
    return True


def store_in(record: Mapping[str, Any]) -> str:
    """The store that a record of the stores' stream, or of the queue, is about."""
    if "dynamodb" in record:
        return str(record["dynamodb"]["Keys"]["id"]["S"])
    return str(exact_json.loads(record["body"])["store"])


def _being_synced(store_id: str, now: datetime) -> bool:
    """Whether a run may still write: it stops by itself when its lease ends."""
    try:
        state = SyncState.get(store_id, consistent_read=True)
    except DoesNotExist:
        return False
    return state.lease_until is not None and state.lease_until > now


def _take_leave(store: Store, http: Http, now: datetime) -> None:
    """Ends our subscriptions and access, as well as the platform lets us: what is gone cannot hold up its removal."""
    adapter = platforms.get(PlatformName(store.platform))
    # the removal has made it DISCONNECTED, and no token of such a store is refreshed; this copy is not saved
    store.status = Status.CONNECTED
    with _as_well_as_it_goes(store):
        row = Credentials.get(store.id, consistent_read=True)
        connection = tokens.open_connection(store, tokens.fresh(store, row, http, now), now)
        with _as_well_as_it_goes(store):
            if isinstance(adapter, ManagesSubscriptions):
                adapter.unsubscribe(connection, connecting.delivery_url(store, row), http)
        if isinstance(adapter, RevokesGrants):
            adapter.revoke(connection, http)


@contextmanager
def _as_well_as_it_goes(store: Store) -> Iterator[None]:
    try:
        yield
    except DoesNotExist:
        pass
    except (PlatformError, CredentialsUnreadable, KeyUnavailable, AppMissing) as error:
        logger.info("leave_not_taken", store=store.id, error=str(error))


def _contents(store_id: str) -> Iterator[list[Table]]:
    for table in _CONTENTS:
        rows = table.query(store_id, page_size=_BATCH)
        while batch := list(islice(rows, _BATCH)):
            yield batch


def _delete(rows: list[Table]) -> None:
    with type(rows[0]).batch_write() as batch:
        for row in rows:
            batch.delete(row)


def _delete_bodies(store_id: str) -> None:
    """What was too large for an item of the deliveries."""
    s3, bucket = clients.s3(), current().bodies_bucket
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{store_id}/"):
        if found := page.get("Contents"):
            s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": each["Key"]} for each in found]})


def _go_on_later(store_id: str, delay: int = 0) -> bool:
    clients.sqs().send_message(
        QueueUrl=current().removal_queue_url,
        MessageBody=exact_json.dumps({"store": store_id}),
        DelaySeconds=delay,
    )
    return False
