"""Requests about personal data that platforms pass on: carried out once, within their term, with evidence.

Evidence outlives the store and holds no personal data: what kind of request, about which store, when it came
and was done, which orders it concerned. What is asked about a store that is gone is evidence too.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from pynamodb.exceptions import PutError

from shared import exact_json, records, stores
from shared.models import PrivacyEvidence, Store
from shared.observability import logger
from shared.platforms.base import PrivacyKind, PrivacyRequest
from shared.tables import condition_failed

Clock = Callable[[], datetime]

KEPT = timedelta(days=3 * 365)


class Done(StrEnum):
    """What was done about a request."""

    ERASED = "ERASED"
    REPORTED = "REPORTED"
    """The seller's product is told by an event which orders are meant, and reads them."""
    NOTHING_HELD = "NOTHING_HELD"
    STILL_CONNECTED = "STILL_CONNECTED"
    """The store is to be erased, but the seller has connected it again."""


def carry_out(
    key: str,
    platform: str,
    store: Store | None,
    place: str,
    request: PrivacyRequest,
    received_at: datetime,
    now: Clock,
    *,
    is_gone: Callable[[], bool],
) -> bool:
    """Does what is asked, then leaves the evidence; whether it was news. Doing it again does no harm.

    ``place`` is what the delivery is filed under; ``is_gone`` says whether the platform has ended our access.
    """
    outcome, orders = _done(platform, store, request, now, is_gone)
    evidence = PrivacyEvidence(
        _name(key, request),
        kind=request.kind,
        platform=platform,
        store=place,
        received_at=received_at,
        due_at=received_at + request.term,
        done_at=now(),
        outcome=outcome,
        orders=exact_json.dumps(orders),
        expires_at=now() + KEPT,
    )
    logger.info("privacy_request_done", kind=request.kind, store=place, outcome=outcome)
    try:
        evidence.save(condition=PrivacyEvidence.request.does_not_exist())
    except PutError as error:
        if not condition_failed(error):
            raise
        return False
    return True


def _name(key: str, request: PrivacyRequest) -> str:
    """One delivery may ask for several things; the buyer's id is not kept."""
    asked = sha256(f"{request.kind} {request.buyer}".encode()).hexdigest()[:8]
    return f"{key}#{asked}"


def _done(
    platform: str, store: Store | None, request: PrivacyRequest, now: Clock, is_gone: Callable[[], bool]
) -> tuple[Done, dict[str, list[str]]]:
    """What was done, and to which orders of which stores."""
    if request.kind is PrivacyKind.ERASE_STORE:
        return _erase_store(store, now, is_gone), {}
    meant = records.of_buyer(f"{platform}#{request.buyer}") if request.buyer else []
    meant += [(store.id, id) for id in request.orders] if store else []
    if request.kind is PrivacyKind.ERASE_CUSTOMER:
        meant = [(store_id, id) for store_id, id in meant if records.redact(store_id, id, now())]
    done = Done.ERASED if request.kind is PrivacyKind.ERASE_CUSTOMER else Done.REPORTED
    orders: dict[str, list[str]] = {}
    for store_id, id in meant:
        orders.setdefault(store_id, []).append(id)
    return (done if meant else Done.NOTHING_HELD), orders


def _erase_store(store: Store | None, now: Clock, is_gone: Callable[[], bool]) -> Done:
    if store is None:
        return Done.NOTHING_HELD
    if not is_gone():
        return Done.STILL_CONNECTED
    stores.begin_removal(store.id, None, None, now())
    return Done.ERASED
