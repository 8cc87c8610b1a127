"""What became of a store's deliveries when they were first handled, in the order in which they came.

Whoever works off a batch of them notes all of a store at once; an index of the deliveries and a write of each outcome
would cost three times as many writes as the deliveries themselves. What did not go well at first, or was asked for
again, has its outcome in its own row too: what went well by the log is done, unless it was asked for again since.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from shared import clock
from shared.models import HandledDeliveries, Processing

KEPT = timedelta(days=31)
"""A day longer than the deliveries."""
DONE = frozenset({Processing.PROCESSED, Processing.IGNORED})
"""What went well, and is not to be handled again."""
_SPAN = len("2026-11-28T04:16:2")
"""How much of a time names the ten seconds that it is in."""


class Handled(NamedTuple):
    """A delivery that was handled. In the order of receipt."""

    received_at: str
    delivery: str
    outcome: Processing
    cause: str | None = None


def note(store_id: str, handled: Iterable[Handled], now: datetime) -> None:
    """Notes them, one write for each ten seconds in which some were received. Noting again changes nothing."""
    spans: dict[str, set[str]] = {}
    for each in handled:
        entry = f"{each.received_at[_SPAN:]} {each.delivery} {each.outcome} {each.cause or ''}".rstrip()
        spans.setdefault(each.received_at[:_SPAN], set()).add(entry)
    for span, entries in spans.items():
        HandledDeliveries(store_id, span).update(
            actions=[
                HandledDeliveries.deliveries.add(entries),
                HandledDeliveries.expires_at.set(now + KEPT),
            ]
        )


def newest_first(store_id: str, before: tuple[str, str] | None = None) -> Iterator[Handled]:
    """All of a store, or those ``before`` a time of receipt and the delivery that came then."""
    condition = HandledDeliveries.received <= before[0][:_SPAN] if before else None
    for row in HandledDeliveries.query(store_id, condition, scan_index_forward=False):
        yield from (each for each in reversed(_read(row)) if before is None or each[:2] < before)


def oldest_first(store_id: str, first: tuple[str, str], last: str) -> Iterator[Handled]:
    """Those behind ``first``, a time of receipt and the delivery that came then, up to ``last``."""
    if first[0] > last:
        return
    span = HandledDeliveries.received.between(first[0][:_SPAN], last[:_SPAN])
    for row in HandledDeliveries.query(store_id, span):
        yield from (each for each in _read(row) if first < each[:2] and each.received_at <= last)


def done_among(store_id: str, received: Mapping[str, str]) -> set[str]:
    """Which of these deliveries went well, given when each was received."""
    spans = {received_at[:_SPAN] for received_at in received.values()}
    rows = HandledDeliveries.batch_get([(store_id, span) for span in spans]) if spans else ()
    return {each.delivery for row in rows for each in _read(row) if each.outcome in DONE} & received.keys()


def last_received(store_id: str) -> datetime | None:
    """When the store's platform last announced anything."""
    newest = next(newest_first(store_id), None)
    return clock.from_text(newest.received_at) if newest else None


def _read(row: HandledDeliveries) -> list[Handled]:
    """In order; a delivery that was handed over twice, once, as it went better."""
    found: dict[str, Handled] = {}
    for entry in sorted(row.deliveries):
        rest, delivery, outcome, *cause = entry.split(" ", 3)
        handled = Handled(f"{row.received}{rest}", delivery, Processing(outcome), *cause)
        if delivery not in found or found[delivery].outcome not in DONE:
            found[delivery] = handled
    return sorted(found.values())
