"""Deliveries that were stored but never processed: found by looking, and queued to be processed.

The stream of the table feeds the processing, and gives up what it could not hand over within its time. This
look, with each full sync of a store, needs no index of its own: an index of what is unprocessed would cost two
writes for every delivery, and a look costs half a read.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from shared import clients, clock, exact_json
from shared.models import Delivery, Processing
from shared.observability import logger
from shared.settings import current

SETTLED = timedelta(minutes=30)
"""What came later may still be on its way through the stream and its retries."""
FURTHEST = timedelta(days=3)
"""How far back a look goes: three full syncs see each delivery."""
_BATCH = 100
_WAITING = {Processing.PENDING, Processing.RETRYING}


def sweep(store_id: str, now: datetime) -> int:
    """Queues the store's deliveries that were left lying; how many."""
    since, until = clock.to_text(now - FURTHEST), clock.to_text(now - SETTLED)
    keys = Delivery.by_store.query(store_id, Delivery.received_at.between(since, until), page_size=_BATCH)
    found = 0
    for delivery in _left_lying(keys):
        body = exact_json.dumps({"delivery": delivery, "store": store_id})
        clients.sqs().send_message(QueueUrl=current().delivery_queue_url, MessageBody=body)
        found += 1
    if found:
        logger.warning("deliveries_swept", store=store_id, found=found)
    return found


def last_delivery(store_id: str) -> datetime | None:
    """When the store's platform last announced anything."""
    newest = next(iter(Delivery.by_store.query(store_id, scan_index_forward=False, limit=1)), None)
    return clock.from_text(newest.received_at) if newest else None


def _left_lying(keys: Iterator[Delivery]) -> Iterator[str]:
    while batch := [key.delivery for key in islice(keys, _BATCH)]:
        for row in Delivery.batch_get(batch, attributes_to_get=["delivery", "outcome"]):
            if row.outcome in _WAITING:
                yield row.delivery
