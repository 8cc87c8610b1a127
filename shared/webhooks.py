"""Processing, listing and replaying webhook deliveries.

A delivery is a hint: it is applied, or its object is fetched by id, through the same idempotent write as
the sync, and the newer wins. What fails is tried again from a queue of its own, so that one poison
delivery holds up nothing, and is dead-lettered with its cause after the last attempt. A fault of ours is no
exception to that.

What went well at once is noted for all deliveries of an invocation together (``shared.delivery_log``); whoever is cut
off before that gets them again, and applying them again changes nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from pynamodb.exceptions import DoesNotExist, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from shared import (
    bodies,
    budgets,
    clients,
    clock,
    compliance,
    delivery_log,
    exact_json,
    paging,
    platforms,
    problems,
    records,
    schemas,
    stores,
    sweep,
    tokens,
)
from shared.apps import AppMissing
from shared.credentials import CredentialsUnreadable
from shared.delivery_log import DONE, Handled
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
LAST_RECEIVE = 5
"""What the queue hands over for so many times was cut off each time before; then it moves to the dead letters."""
_STORE_HELD = timedelta(seconds=5)
"""How long a store is believed to be as it was looked up: for the next deliveries of the same invocation."""
_LONGEST_CAUSE = 500
_LOOKED_AT = 500
"""How many deliveries one call of a replay looks at, at most: what few of them match must end in time too."""
_LOOK = 100
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
"""Before every delivery."""
_LONGEST_KEY = 100
_FOREIGN = "Use a cursor only with the request that it came from."
_NOT_OURS = "#"
"""In the place of a delivery about a store that is not connected: ``PLATFORM#ID``."""


class Failed(Exception):
    """The delivery could not be processed now; its text is the cause, without secrets."""


class Waits(Exception):
    """The platform must be left alone until then; its text is the cause, without secrets."""

    def __init__(self, until: datetime, cause: str) -> None:
        super().__init__(cause)
        self.until = until


class Unreadable(Exception):
    """The delivery will never be readable; its text is the cause."""


class Handling:
    """The deliveries of one invocation, each on its own; what went well is noted when all are through.

    A failure is queued to be tried again, and given up in the end. One that was given up is tried once more when an
    operator puts it back from the dead letters.
    """

    def __init__(self, http: Http, now: Clock) -> None:
        self._http, self._now = http, now
        self._stores: dict[str, tuple[Store | None, datetime]] = {}
        self._handled: dict[str, list[Handled]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None:
            for store_id, handled in self._handled.items():
                delivery_log.note(store_id, handled, self._now())

    def take(self, record: Mapping[str, Any]) -> None:
        """A record of the stream, which has the delivery in it, or of the queue, which names it."""
        if "dynamodb" in record:
            delivery = Delivery()
            delivery.from_dynamodb_dict(record["dynamodb"]["NewImage"])
            self.process(delivery)
            return
        named = exact_json.loads(record["body"])
        found = _get(named["store"], named["delivery"])
        if found is None or _is_done(found):
            return
        if int(record["attributes"]["ApproximateReceiveCount"]) >= LAST_RECEIVE:
            self._give_up(
                found, f"It was cut off {LAST_RECEIVE - 1} times, by its time or its memory or a fault of AWS."
            )
        else:
            self.process(found)

    def process(self, delivery: Delivery) -> None:
        """Applies one delivery."""
        try:
            outcome, cause = _apply(delivery, self._store, self._http, self._now)
        except Waits as wait:
            self._wait(delivery, wait)
        except Failed as failure:
            self._try_later(delivery, str(failure))
        except (Unreadable, records.TooLarge) as unreadable:
            self._give_up(delivery, str(unreadable))
        except Exception as error:  # noqa: BLE001 whatever it is, the delivery must not end without a cause
            # its text may hold what the delivery holds, so the type must do
            logger.exception("delivery_broken", delivery=delivery.delivery, error=type(error).__name__)
            self._try_later(delivery, f"{type(error).__name__}: a fault of this service.")
        else:
            if _NOT_OURS in delivery.store_id or self._store(delivery.store_id) is not None:  # else it left nothing
                self._conclude(delivery, outcome, cause)

    def _store(self, store_id: str) -> Store | None:
        """The store, looked up once for the deliveries that are handled together."""
        found, looked_at = self._stores.get(store_id, (None, None))
        now = self._now()
        if looked_at is None or now - looked_at > _STORE_HELD:
            # what such a read does not show may just have come, and a delivery to nobody is not kept
            found = stores.find(store_id, consistent=False) or stores.find(store_id)
            self._stores[store_id] = found, now
        return found

    def _try_later(self, delivery: Delivery, cause: str) -> None:
        attempts = int(delivery.attempts) + 1
        if attempts >= ATTEMPTS:
            self._give_up(delivery, cause)
            return
        logger.warning("delivery_failed", delivery=delivery.delivery, attempts=attempts, cause=cause)
        self._conclude(delivery, Processing.RETRYING, cause)
        delay = min(int(_FIRST_RETRY.total_seconds()) * 2 ** (attempts - 1), 900)
        _send(current().delivery_queue_url, delivery, DelaySeconds=delay)

    def _wait(self, delivery: Delivery, wait: Waits) -> None:
        """Tried again at the platform's time, or asked about then; that is no failure of the delivery."""
        now = self._now()
        if now - clock.from_text(delivery.received_at) > MAY_WAIT:
            self._try_later(delivery, str(wait))
            return
        if (delivery.outcome, delivery.cause) != (Processing.RETRYING, str(wait)[:_LONGEST_CAUSE]):
            self._conclude(delivery, Processing.RETRYING, str(wait), attempts=0)
        delay = min(max(int((wait.until - now).total_seconds()) + 1, 0), 900)
        _send(current().delivery_queue_url, delivery, DelaySeconds=delay)

    def _give_up(self, delivery: Delivery, cause: str) -> None:
        """Into the dead letters, whose alarm calls a person; the delivery itself keeps the cause."""
        logger.error("delivery_given_up", delivery=delivery.delivery, cause=cause)
        self._conclude(delivery, Processing.DEAD_LETTERED, cause)
        _send(current().delivery_dead_letters_url, delivery)

    def _conclude(self, delivery: Delivery, outcome: Processing, cause: str | None, *, attempts: int = 1) -> None:
        """Notes what became of it: in the log when it is first handled, in its row if that was not all."""
        cause = cause[:_LONGEST_CAUSE] if cause else None
        if not delivery.attempts:
            entry = Handled(delivery.received_at, delivery.delivery, outcome, cause)
            self._handled.setdefault(delivery.store_id, []).append(entry)
        is_first = delivery.outcome == Processing.PENDING and delivery.replayed_at is None
        if is_first and outcome in DONE:
            return
        actions: list[Any] = [
            Delivery.outcome.set(outcome),
            Delivery.attempts.set(int(delivery.attempts) + attempts),
            Delivery.cause.set(cause) if cause else Delivery.cause.remove(),
        ]
        try:
            delivery.update(actions=actions, condition=Delivery.delivery.exists())
        except UpdateError as error:
            if not condition_failed(error):
                raise


class Shown(NamedTuple):
    """A delivery with what became of it."""

    row: Delivery
    outcome: Processing
    cause: str | None
    attempts: int


def page(store_id: str, limit: int, cursor: str | None) -> tuple[list[Shown], str | None]:
    """A page of a store's deliveries that were handled, newest first."""
    scope = ("deliveries", store_id)
    position = paging.decode(cursor, *scope)
    before = (position["received"], position["delivery"]) if position else None
    handled = list(islice(delivery_log.newest_first(store_id, before), limit + 1))
    more, handled = len(handled) > limit, handled[:limit]
    found = [shown for _, shown in _shown(store_id, handled) if shown is not None]
    place = {"received": handled[-1].received_at, "delivery": handled[-1].delivery} if more else {}
    return found, paging.encode(place, *scope) if more else None


def replay(store_id: str, key: str, now: datetime) -> Shown:
    """Has a delivery processed again, as the same event; the stream takes it up."""
    delivery = Delivery(store_id, key)
    if not 0 < len(key) <= _LONGEST_KEY or not _ask_again(delivery, Delivery.delivery.exists(), now):
        raise problems.DeliveryNotFound("The store has no delivery with this id.")
    return Shown(delivery, Processing.PENDING, None, 0)


def replay_several(store_id: str, asked: schemas.NewReplay, now: datetime) -> tuple[int, str | None]:
    """The same for a store's deliveries, oldest first: how many are processed again, and the cursor to go on with.

    What comes after the first call is none of them, so going on has an end. Those that wait are in no log: they are
    found by their keys.
    """
    scope = ("replay", store_id, asked.since, asked.until, asked.outcome)
    position = paging.decode(asked.cursor, *scope)
    first = clock.to_text(max(asked.since or _BEGINNING, _BEGINNING))
    last = position["last"] if position else _just_before(asked.until or now)
    find = _waiting if asked.outcome == Processing.PENDING else _handled
    queued = 0
    for looked_at, (place, shown) in enumerate(find(store_id, first, last, position), 1):
        if shown is not None and asked.outcome in {None, shown.outcome}:
            queued += _ask_again(Delivery(store_id, shown.row.delivery), _as_it_is(shown.row), now)
        if queued == asked.limit or looked_at == _LOOKED_AT:
            further = {"received": place.received_at, "delivery": place.delivery, "last": last}
            return queued, paging.encode(further, *scope)
    return queued, None


def to_view(shown: Shown) -> schemas.DeliveryView:
    """What the store's owner sees of a delivery."""
    return schemas.DeliveryView(
        id=shown.row.delivery,
        topic=shown.row.topic,
        platform=PlatformName(shown.row.platform),
        received_at=clock.from_text(shown.row.received_at),
        outcome=shown.outcome,
        cause=shown.cause,
        attempts=shown.attempts,
    )


def _just_before(until: datetime) -> str:
    return clock.to_text(max(until, _BEGINNING) - timedelta(microseconds=1))


def _handled(
    store_id: str, first: str, last: str, after: paging.Position | None
) -> Iterator[tuple[Handled | Delivery, Shown | None]]:
    """A store's deliveries in the order in which they came, each with what became of it as long as it is there."""
    if after is not None and not first <= after["received"] <= last:
        raise problems.CursorInvalid(_FOREIGN)
    behind = (after["received"], after["delivery"]) if after else (first, "")
    handled = delivery_log.oldest_first(store_id, behind, last)
    while batch := list(islice(handled, _LOOK)):
        yield from _shown(store_id, batch)


def _waiting(
    store_id: str, first: str, last: str, after: paging.Position | None
) -> Iterator[tuple[Handled | Delivery, Shown | None]]:
    """Those that nobody has handled, in the order of their keys."""
    behind = after["delivery"] if after else sweep.FIRST_KEY
    if behind > sweep.LAST_KEY:
        raise problems.CursorInvalid(_FOREIGN)
    for row, waits in sweep.look_over(store_id, behind, sweep.LAST_KEY):
        if row.delivery != behind:
            is_meant = waits and row.outcome == Processing.PENDING and first <= row.received_at <= last
            yield row, Shown(row, Processing.PENDING, None, 0) if is_meant else None


def _shown(store_id: str, handled: Sequence[Handled]) -> Iterator[tuple[Handled, Shown | None]]:
    """What became of each, as its own row has it where that is the newer."""
    rows = Delivery.batch_get([(store_id, each.delivery) for each in handled]) if handled else ()
    there = {row.delivery: row for row in rows}
    for each in handled:
        row = there.get(each.delivery)
        if row is None:
            yield each, None
        elif each.outcome in DONE and row.replayed_at is None and row.outcome not in DONE:
            yield each, Shown(row, each.outcome, each.cause, int(row.attempts) + 1)
        else:
            yield each, Shown(row, Processing(row.outcome), row.cause, int(row.attempts))


def _as_it_is(row: Delivery) -> Condition:
    """That nothing became of a delivery since it was looked at."""
    asked_again: Condition = (
        Delivery.replayed_at == row.replayed_at if row.replayed_at else Delivery.replayed_at.does_not_exist()
    )
    as_it_is: Condition = (Delivery.outcome == row.outcome) & asked_again
    return as_it_is


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


def _is_done(delivery: Delivery) -> bool:
    """Whether it went well before; who hands it over again did not hear of it."""
    if delivery.outcome in DONE:
        return True
    if delivery.replayed_at is not None:
        return False
    return bool(delivery_log.done_among(delivery.store_id, {delivery.delivery: delivery.received_at}))


def _get(store_id: str, key: str) -> Delivery | None:
    try:
        return Delivery.get(store_id, key, consistent_read=True)
    except DoesNotExist:
        return None


def _apply(
    delivery: Delivery, find: Callable[[str], Store | None], http: Http, now: Clock
) -> tuple[Processing, str | None]:
    adapter = platforms.get(PlatformName(delivery.platform))
    if adapter is None or not isinstance(adapter, ReceivesWebhooks):
        return Processing.IGNORED, "The platform sends no webhooks."
    store = None if _NOT_OURS in delivery.store_id else find(delivery.store_id)
    headers = exact_json.loads(delivery.headers) if delivery.headers else {}
    came = base.Delivery(headers, _body(delivery, adapter), delivery.path_topic or "")
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


def _body(delivery: Delivery, adapter: ReceivesWebhooks) -> bytes:
    """As it came; a large one is not in the item."""
    if delivery.body is not None:
        return bodies.unpack(delivery.body, adapter.phrases)
    place = f"{delivery.store_id}/{delivery.delivery}"
    try:
        found = clients.s3().get_object(Bucket=current().bodies_bucket, Key=place)
    except clients.s3().exceptions.NoSuchKey as error:
        raise Unreadable("Its body is not in the bucket.") from error
    return bodies.unpack(found["Body"].read(), adapter.phrases)


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
        self._uncounted = http
        self.delivery = delivery
        self.received_at = clock.from_text(delivery.received_at)
        self.now = now
        self._row = Credentials(store.id)

    @cached_property
    def http(self) -> Http:
        """The way to the platform, which few deliveries need."""
        return budgets.counting(self.adapter, self._uncounted, self.now)

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


def _send(queue: str, delivery: Delivery, **options: int) -> None:
    body = exact_json.dumps({"delivery": delivery.delivery, "store": delivery.store_id})
    clients.sqs().send_message(QueueUrl=queue, MessageBody=body, **options)
