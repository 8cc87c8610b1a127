"""Deliveries that were stored but never handled: found by looking, and queued to be processed.

The stream of the table feeds the processing, and gives up what it could not hand over within its time. An index of
what is not handled would cost two writes for every delivery. So with each full sync of a store, once a day, a part of
its deliveries is looked at, another one each day: within ``PARTS`` days all of them.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from shared import clients, clock, delivery_log, exact_json
from shared.models import Delivery, Processing
from shared.observability import logger
from shared.settings import current

SETTLED = timedelta(minutes=30)
"""What came later may still be on its way through the stream and its retries."""
PARTS = 8
LOOKED_BACK = timedelta(days=PARTS + 1)
"""What came before was looked at with its part already."""
_ALPHABET = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
"""What a delivery's key begins with, in the order of DynamoDB."""
FIRST_KEY, LAST_KEY = _ALPHABET[0], "~"
"""Around all keys."""
_BATCH = 100
_WAITING = (Processing.PENDING, Processing.RETRYING)


def sweep(store_id: str, now: datetime) -> int:
    """Queues the store's deliveries of today's part that were left lying; how many."""
    each = len(_ALPHABET) // PARTS
    part = _ALPHABET[now.toordinal() % PARTS * each :][:each]
    found = 0
    since, until = clock.to_text(now - LOOKED_BACK), clock.to_text(now - SETTLED)
    for delivery, waits in look_over(store_id, part[0], f"{part[-1]}~"):
        if not waits or not since <= delivery.received_at <= until:
            continue
        body = exact_json.dumps({"delivery": delivery.delivery, "store": store_id})
        clients.sqs().send_message(QueueUrl=current().delivery_queue_url, MessageBody=body)
        found += 1
    if found:
        logger.warning("deliveries_swept", store=store_id, found=found)
    return found


def look_over(store_id: str, first: str, last: str) -> Iterator[tuple[Delivery, bool]]:
    """The deliveries with keys from ``first`` to ``last``, each with whether it waits to be handled."""
    wanted = ["delivery", "received_at", "outcome", "replayed_at"]
    keys = Delivery.delivery.between(first, last)
    rows = Delivery.query(store_id, keys, attributes_to_get=wanted, page_size=_BATCH)
    while batch := list(islice(rows, _BATCH)):
        waiting = [row for row in batch if row.outcome in _WAITING]
        first_time = {row.delivery: row.received_at for row in waiting if row.replayed_at is None}
        left = {row.delivery for row in waiting} - delivery_log.done_among(store_id, first_time)
        yield from ((row, row.delivery in left) for row in batch)
