"""Processing, listing and replaying webhook deliveries.

A delivery is a hint: it is applied, or its object is fetched by id, through the same idempotent write as
the sync, and the newer wins. What fails is tried again from a queue of its own, so that one poison
delivery holds up nothing, and is dead-lettered with its cause after the last attempt. A fault of ours is no
exception to that.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from pynamodb.exceptions import DoesNotExist, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from shared import (
    budgets,
    clients,
    clock,
    compliance,
    exact_json,
    paging,
    platforms,
    problems,
    records,
    schemas,
    stores,
    tokens,
)
from shared.apps import AppMissing
from shared.credentials import CredentialsUnreadable
from shared.keys import KeyUnavailable
from shared.models import Credentials, Delivery, Processing, Status, Store
from shared.observability import logger
from shared.platforms import base
from shared.platforms.base import (
    Event,
    Http,
    NotifiesApp,
    Platform,
    PlatformError,
    PlatformName,
    PrivacyRequest,
    ReceivesWebhooks,
    Refusal,
    Resource,
)
from shared.settings import current
from shared.tables import condition_failed

Found = TypeVar("Found")
Clock = Callable[[], datetime]

ATTEMPTS = 6
MAY_WAIT = timedelta(days=1)
"""So long after it came a delivery whose platform asks to wait is not given up; then each time is an attempt."""
_FIRST_RETRY = timedelta(seconds=30)
_LONGEST_CAUSE = 500
_LOOKED_AT = 500
"""How many deliveries one call of a replay looks at, at most: what few of them match must end in time too."""
_LOOK = 100
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
"""Before every delivery."""
_LONGEST_KEY = 100
_NOT_OURS = "#"
"""In the place of a delivery about a store that is not connected: ``PLATFORM#ID``."""
_DONE = {Processing.PROCESSED, Processing.IGNORED}


class Failed(Exception):
    """The delivery could not be processed now; its text is the cause, without secrets."""


class Waits(Exception):
    """The platform must be left alone until then; its text is the cause, without secrets."""

    def __init__(self, until: datetime, cause: str) -> None:
        super().__init__(cause)
        self.until = until


class Unreadable(Exception):
    """The delivery will never be readable; its text is the cause."""


def process(key: str, http: Http, now: Clock) -> None:
    """Applies one stored delivery; a failure is queued to be tried again, and given up in the end.

    One that was given up is tried once more when an operator puts it back from the dead letters.
    """
    delivery = _get(key)
    if delivery is None or delivery.outcome in _DONE:
        return
    try:
        outcome, cause = _apply(delivery, http, now)
    except Waits as wait:
        _wait(delivery, wait, now())
    except Failed as failure:
        _try_later(delivery, str(failure))
    except (Unreadable, records.TooLarge) as unreadable:
        _give_up(delivery, str(unreadable))
    except Exception as error:  # noqa: BLE001 whatever it is, the delivery must not end without a cause
        # its text may hold what the delivery holds, so the type must do
        logger.exception("delivery_broken", delivery=delivery.delivery, error=type(error).__name__)
        _try_later(delivery, f"{type(error).__name__}: a fault of this service.")
    else:
        _conclude(delivery, outcome, cause)


def key_in(record: Mapping[str, Any]) -> str:
    """The delivery that a record of the stream, or of the queue, is about."""
    if "dynamodb" in record:
        return str(record["dynamodb"]["Keys"]["delivery"]["S"])
    return str(exact_json.loads(record["body"])["delivery"])


def page(store_id: str, limit: int, cursor: str | None) -> tuple[list[Delivery], str | None]:
    """A page of a store's deliveries, newest first."""
    scope = ("deliveries", store_id)
    position = paging.decode(cursor, *scope)
    before = Delivery.received_at < position["received"] if position else None
    keys = list(Delivery.by_store.query(store_id, before, scan_index_forward=False, limit=limit + 1))
    more, keys = len(keys) > limit, keys[:limit]
    rows = {row.delivery: row for row in Delivery.batch_get([key.delivery for key in keys])} if keys else {}
    found = [rows[key.delivery] for key in keys if key.delivery in rows]
    return found, paging.encode({"received": keys[-1].received_at}, *scope) if more else None


def replay(store_id: str, key: str, now: datetime) -> Delivery:
    """Has a delivery processed again, as the same event; the stream takes it up."""
    delivery = Delivery(key)
    if len(key) > _LONGEST_KEY or not _ask_again(delivery, Delivery.store_id == store_id, now):
        raise problems.DeliveryNotFound("The store has no delivery with this id.")
    return delivery


def replay_several(store_id: str, asked: schemas.NewReplay, now: datetime) -> tuple[int, str | None]:
    """The same for a store's deliveries, oldest first: how many are processed again, and the cursor to go on with.

    What comes after the first call is none of them, so going on has an end.
    """
    scope = ("replay", store_id, asked.since, asked.until, asked.outcome)
    position = paging.decode(asked.cursor, *scope)
    first = clock.to_text(max(asked.since or _BEGINNING, _BEGINNING))
    last = position["last"] if position else _just_before(asked.until or now)
    queued = 0
    for looked_at, (key, outcome) in enumerate(_received(store_id, first, last, position), 1):
        if outcome is not None and asked.outcome in {None, outcome}:
            condition = Delivery.outcome == outcome if asked.outcome else Delivery.delivery.exists()
            queued += _ask_again(Delivery(key.delivery), condition, now)
        if queued == asked.limit or looked_at == _LOOKED_AT:
            place = {"received": key.received_at, "delivery": key.delivery, "last": last}
            return queued, paging.encode(place, *scope)
    return queued, None


def to_view(row: Delivery) -> schemas.DeliveryView:
    """What the store's owner sees of a delivery."""
    return schemas.DeliveryView(
        id=row.delivery,
        topic=row.topic,
        platform=PlatformName(row.platform),
        received_at=clock.from_text(row.received_at),
        outcome=row.outcome,
        cause=row.cause,
        attempts=int(row.attempts),
    )


def _just_before(until: datetime) -> str:
    return clock.to_text(max(until, _BEGINNING) - timedelta(microseconds=1))


def _received(
    store_id: str, first: str, last: str, after: paging.Position | None
) -> Iterator[tuple[Delivery, str | None]]:
    """A store's deliveries in the order in which they came, each with its outcome as long as it is there."""
    if first > last:
        return
    start = None
    if after is not None:
        if not first <= after["received"] <= last:
            raise problems.CursorInvalid("Use a cursor only with the request that it came from.")
        place = {"store_id": store_id, "received_at": after["received"], "delivery": after["delivery"]}
        start = {name: {"S": text} for name, text in place.items()}
    span = Delivery.received_at.between(first, last)
    keys = Delivery.by_store.query(store_id, span, last_evaluated_key=start, page_size=_LOOK)
    while batch := list(islice(keys, _LOOK)):
        rows = Delivery.batch_get([key.delivery for key in batch], attributes_to_get=["delivery", "outcome"])
        outcomes = {row.delivery: row.outcome for row in rows}
        yield from ((key, outcomes.get(key.delivery)) for key in batch)


def _ask_again(delivery: Delivery, condition: Condition, now: datetime) -> bool:
    """Marks a delivery as not processed yet, which the stream takes up; whether it is there and as it must be."""
    actions: list[Action] = [
        Delivery.outcome.set(Processing.PENDING),
        Delivery.attempts.set(0),
        Delivery.cause.remove(),
        Delivery.replayed_at.set(clock.to_text(now)),
    ]
    try:
        delivery.update(actions=actions, condition=condition)
    except UpdateError as error:
        if not condition_failed(error):
            raise
        return False
    return True


def _get(key: str) -> Delivery | None:
    try:
        return Delivery.get(key, consistent_read=True)
    except DoesNotExist:
        return None


def _apply(delivery: Delivery, http: Http, now: Clock) -> tuple[Processing, str | None]:
    adapter = platforms.get(PlatformName(delivery.platform))
    if adapter is None or not isinstance(adapter, ReceivesWebhooks):
        return Processing.IGNORED, "The platform sends no webhooks."
    store = None if _NOT_OURS in delivery.store_id else stores.find(delivery.store_id)
    came = base.Delivery(exact_json.loads(delivery.headers), _body(delivery), delivery.path_topic or "")
    if store is not None and isinstance(adapter, NotifiesApp) and adapter.store_of(came) not in ("", store.store_id):
        return Processing.IGNORED, "It is about another store."
    try:
        events = adapter.parse(came)
    except ValueError as error:
        raise Unreadable(f"The body cannot be read: {error}") from error
    if store is None:
        return _apply_to_nobody(delivery, events, now)
    work = _Application(store, adapter, http, delivery, now)
    applied = [work.apply(event) for event in events]
    if not events:
        return Processing.IGNORED, "It announces nothing that is kept in sync."
    return Processing.PROCESSED, None if any(applied) else "What we have is as new."


def _body(delivery: Delivery) -> bytes:
    """As it came; a large one is not in the item."""
    if delivery.body is not None:
        return zlib.decompress(delivery.body)
    place = f"{delivery.store_id}/{delivery.delivery}"
    try:
        found = clients.s3().get_object(Bucket=current().bodies_bucket, Key=place)
    except clients.s3().exceptions.NoSuchKey as error:
        raise Unreadable("Its body is not in the bucket.") from error
    return zlib.decompress(found["Body"].read())


def _apply_to_nobody(delivery: Delivery, events: Sequence[Event], now: Clock) -> tuple[Processing, str | None]:
    """A request about personal data is answered for a store that is gone too; all else about it goes."""
    requests = [event.privacy for event in events if event.privacy is not None]
    came_at = clock.from_text(delivery.received_at)
    for request in requests:
        compliance.carry_out(
            delivery.delivery, delivery.platform, None, delivery.store_id, request, came_at, now, is_gone=lambda: True
        )
    if _NOT_OURS not in delivery.store_id:
        delivery.delete()
    if requests:
        return Processing.PROCESSED, None
    return Processing.IGNORED, "It is about a store that is not connected."


class _Application:
    """The events of one delivery, applied to one store."""

    def __init__(self, store: Store, adapter: Platform, http: Http, delivery: Delivery, now: Clock) -> None:
        self.store = store
        self.adapter = adapter
        self.http = budgets.counting(adapter, http, now)
        self.delivery = delivery
        self.received_at = clock.from_text(delivery.received_at)
        self.now = now
        self._row = Credentials(store.id)

    def apply(self, event: Event) -> bool:
        """Whether the event changed anything."""
        if event.privacy is not None:
            return self._carry_out(event.privacy)
        if event.access_lost:
            return self._probe(disconnected=event.disconnected)
        if event.reauthorize_by is not None:
            tokens.grant_ends(self.store.id, event.reauthorize_by, self.now())
            return True
        return event.resource is not None and self._apply_to_record(event.resource, event)

    def _apply_to_record(self, resource: Resource, event: Event) -> bool:
        if event.record is None:
            return self._look_up(resource, event.id)
        if records.save_announced(
            self.store.id, resource, event.record, self.store.currency, self.received_at, self.now()
        ):
            return True
        # what we think is deleted may have come back, or this may have been under way for long: only a look tells
        return records.is_buried(self.store.id, resource, event.id) and self._look_up(resource, event.id)

    def _look_up(self, resource: Resource, id: str) -> bool:
        observed_at = self.now()
        try:
            record = self._asked(lambda opened: self.adapter.fetch_one(opened, resource, id, self.http))
        except PlatformError as error:
            if error.refusal is Refusal.NOT_FOUND:
                return records.bury(self.store.id, resource, id, observed_at, self.now())
            raise Failed(f"{error.refusal}: {error.detail}") from error
        return records.save(self.store.id, resource, record, self.store.currency, observed_at, self.now())

    def _carry_out(self, request: PrivacyRequest) -> bool:
        return compliance.carry_out(
            self.delivery.delivery,
            self.store.platform,
            self.store,
            self.store.id,
            request,
            self.received_at,
            self.now,
            # what may not do something is still there: only an access that has ended lets its data be erased
            is_gone=lambda: self._refusal(renew=True) is Refusal.CREDENTIALS,
        )

    def _probe(self, *, disconnected: bool) -> bool:
        """Whether the platform refuses us now: what it announced may be long past."""
        # a seller who took us out has ended the grant too: trying to renew it would only say so a second time
        refusal = self._refusal(renew=not disconnected)
        if refusal is None:
            return False
        if disconnected:
            return stores.set_status(self.store.id, Status.DISCONNECTED, "UNINSTALLED", self.now())
        store = stores.find(self.store.id)
        if store is None or store.status in {Status.NEEDS_REAUTHORIZATION, Status.DISCONNECTED}:
            return False  # whoever said so knew more exactly why
        code = "CREDENTIALS_REFUSED" if refusal is Refusal.CREDENTIALS else "PERMISSION_MISSING"
        return stores.set_status(self.store.id, Status.NEEDS_REAUTHORIZATION, code, self.now())

    def _refusal(self, *, renew: bool) -> Refusal | None:
        """Why the platform refuses us, if it does."""
        try:
            self._asked(lambda opened: self.adapter.probe(opened, self.http), renew=renew)
        except PlatformError as error:
            if error.refusal not in {Refusal.CREDENTIALS, Refusal.PERMISSION}:
                raise Failed(f"{error.refusal}: {error.detail}") from error
            if self._stored() != self._used:
                raise Failed("The store's credentials were replaced meanwhile.") from error
            return error.refusal
        return None

    def _asked(self, call: Callable[[base.Connection], Found], *, renew: bool = True) -> Found:
        """What a call to the platform gives, unless it asks the store to wait, or has asked its sync."""
        if until := budgets.must_wait(self.store.id, self.now()):
            raise Waits(until, "The platform asks to wait.")
        try:
            return self._called(call, renew=renew)
        except PlatformError as error:
            if error.refusal is not Refusal.RATE_LIMITED or error.retry_at is None:
                raise
            budgets.leave_alone(self.store.id, error)
            raise Waits(error.retry_at, f"{error.refusal}: {error.detail}") from error

    def _called(self, call: Callable[[base.Connection], Found], *, renew: bool) -> Found:
        """What a call gives, once more with another token if that is all that it lacks."""
        try:
            return call(self._connection())
        except PlatformError as error:
            if error.refusal is not Refusal.CREDENTIALS or not renew:
                raise
            with _opened():
                row = tokens.instead(self.store, self._row, self.http, self.now())
                if row is None:
                    raise
                return call(self._open(row))

    def _connection(self) -> base.Connection:
        with _opened():
            self._row = Credentials.get(self.store.id, consistent_read=True)
            return self._open(tokens.fresh(self.store, self._row, self.http, self.now()))

    def _open(self, row: Credentials) -> base.Connection:
        self._row = row
        return tokens.open_connection(self.store, row, self.now())

    @property
    def _used(self) -> bytes | None:
        """The sealed credentials that the last call was made with, once there was one."""
        return self._row.api_credentials

    def _stored(self) -> bytes:
        return Credentials.get(self.store.id, consistent_read=True).api_credentials


@contextmanager
def _opened() -> Iterator[None]:
    """Turns credentials that cannot be opened into a reason to try again."""
    try:
        yield
    except (CredentialsUnreadable, KeyUnavailable, AppMissing) as error:
        raise Failed("The store's credentials cannot be opened now.") from error


def _try_later(delivery: Delivery, cause: str) -> None:
    attempts = int(delivery.attempts) + 1
    if attempts >= ATTEMPTS:
        _give_up(delivery, cause)
        return
    logger.warning("delivery_failed", delivery=delivery.delivery, attempts=attempts, cause=cause)
    _conclude(delivery, Processing.RETRYING, cause)
    delay = min(int(_FIRST_RETRY.total_seconds()) * 2 ** (attempts - 1), 900)
    _send(current().delivery_queue_url, delivery, DelaySeconds=delay)


def _wait(delivery: Delivery, wait: Waits, now: datetime) -> None:
    """Tried again at the platform's time, or asked about then; that is no failure of the delivery."""
    if now - clock.from_text(delivery.received_at) > MAY_WAIT:
        _try_later(delivery, str(wait))
        return
    if (delivery.outcome, delivery.cause) != (Processing.RETRYING, str(wait)[:_LONGEST_CAUSE]):
        _conclude(delivery, Processing.RETRYING, str(wait), attempts=0)
    delay = min(max(int((wait.until - now).total_seconds()) + 1, 0), 900)
    _send(current().delivery_queue_url, delivery, DelaySeconds=delay)


def _give_up(delivery: Delivery, cause: str) -> None:
    """Into the dead letters, whose alarm calls a person; the delivery itself keeps the cause."""
    logger.error("delivery_given_up", delivery=delivery.delivery, cause=cause)
    _conclude(delivery, Processing.DEAD_LETTERED, cause)
    _send(current().delivery_dead_letters_url, delivery)


def _send(queue: str, delivery: Delivery, **options: int) -> None:
    body = exact_json.dumps({"delivery": delivery.delivery, "store": delivery.store_id})
    clients.sqs().send_message(QueueUrl=queue, MessageBody=body, **options)


def _conclude(delivery: Delivery, outcome: Processing, cause: str | None, *, attempts: int = 1) -> None:
    actions: list[Any] = [
        Delivery.outcome.set(outcome),
        Delivery.attempts.set(int(delivery.attempts) + attempts),
        Delivery.cause.set(cause[:_LONGEST_CAUSE]) if cause else Delivery.cause.remove(),
    ]
    try:
        delivery.update(actions=actions, condition=Delivery.delivery.exists())
    except UpdateError as error:
        if not condition_failed(error):
            raise
