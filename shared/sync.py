"""Which stores are due, and one run of one store's sync.

A run holds the store's lease, pages from the checkpoint, writes records first and the checkpoint after
them, and says how it ended. It never says COMPLETE when something is missing.
"""

import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

from pynamodb.exceptions import DoesNotExist, UpdateError

from shared import (
    budgets,
    clients,
    clock,
    connecting,
    credentials,
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
    wheel,
)
from shared.clients import sqs
from shared.keys import Purpose
from shared.models import Credentials, Dispatcher, Outcome, Status, Store, SyncRun, SyncState
from shared.observability import logger
from shared.platforms.base import (
    Connection,
    Http,
    Json,
    ManagesSubscriptions,
    Page,
    Platform,
    PlatformError,
    PlatformName,
    Record,
    Refusal,
    Resource,
    ShowsNewest,
)
from shared.records import Counts
from shared.settings import current
from shared.tables import condition_failed

LEASE = timedelta(minutes=5)
FULL_EVERY = timedelta(days=1)
RUNS_KEPT = timedelta(days=90)
CATCH_UP_MINUTES = 120
STORES_PER_MESSAGE = 20
AT_ONCE = 8
"""How many stores one invocation syncs at the same time; each waits for its platform most of its time."""
FAIR_SHARE = timedelta(minutes=1)
"""How long a store's run may take while other stores of its message wait."""
REACHES_BEFORE_UNREACHABLE = 3
DELETES_FREE = 10
DELETES_SHARE = 5
"""A full compare deletes at most DELETES_FREE records, or one in DELETES_SHARE where that is more."""
BUSY_CHANGES = 20
"""A store with so many changes between two full syncs should have announced one of them."""
REQUEST_EVERY = timedelta(minutes=1)
DEFAULT_WAIT = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(seconds=15)
"""A run waits this long for a platform's budget; for longer it ends, and goes on when the time has come."""
_BUSY = "BUSY_OR_WAITING"
_HEALTHY = frozenset({Status.CONNECTED, Status.UNREACHABLE})
"""Between these a store moves by itself; out of the others only a person can bring it."""
_TRIES_WHILE_BUSY = 30
IMPORT = "import"
"""Beside the cursors in a checkpoint: how far a first import is."""
COMPARE = "compare"
"""Beside them too: where a full compare was cut off."""
MOST_PARTS = 100
"""A compare that was cut off more often begins anew."""
_ORDER = (Resource.ORDERS, Resource.PRODUCTS)

Answered = TypeVar("Answered")
Clock = Callable[[], datetime]
Pause = Callable[[float], None]
"""Waits so many seconds."""


class SyncBroken(Exception):
    """A sync failed by our own fault; the queue gives it again, and keeps it in the end."""


class LeaseLost(Exception):
    """Another run has the store now; what this one knows is old."""


class _Ends(Exception):
    """The run stops here, with this outcome if nothing was saved before."""

    def __init__(self, reason: str, detail: str | None = None, *, go_on_in: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.go_on_in = go_on_in


@dataclass(slots=True)
class Run:
    """One run: what it was asked, what it did."""

    store_id: str
    trigger: str
    started_at: datetime
    full: bool = False
    allow_deletes: bool = False
    outcome: Outcome = Outcome.COMPLETE
    reason: str | None = None
    detail: str | None = None
    counts: dict[Resource, Counts] = field(default_factory=dict)
    pages: int = 0

    @property
    def changed(self) -> int:
        """How many records were written."""
        return sum(counts.changed for counts in self.counts.values())


def dispatch(now: datetime) -> int:
    """Queues the stores that are due since the last tick, and says how many. Cost grows with the stores due."""
    tick = clock.epoch(now) // 60
    try:
        row = Dispatcher.get(Dispatcher.KEY, consistent_read=True)
    except DoesNotExist:
        return 0
    last = int(row.last_tick) if row.last_tick is not None else tick - 1
    lengths = sorted(int(length) for length in row.intervals or ())
    return sum(
        _dispatch_minute(row, minute, tick, lengths)
        for minute in range(max(last + 1, tick - CATCH_UP_MINUTES), tick + 1)
    )


def _dispatch_minute(row: Dispatcher, minute: int, tick: int, lengths: Sequence[int]) -> int:
    """Queues the stores of one minute, then notes that it is done: a dispatcher that is cut off goes on there.

    A missed minute whose stores come again before ``tick`` is left to that later turn.
    """
    slots = wheel.due(minute, (length for length in lengths if minute + length > tick))
    due = [key.store_id for slot in slots for key in SyncState.wheel.query(slot, attributes_to_get=["store_id"])]
    _queue(due, minute)
    # only forward: a later dispatcher may have finished before this one
    later = Dispatcher.last_tick.does_not_exist() | (Dispatcher.last_tick < minute)
    try:
        row.update(actions=[Dispatcher.last_tick.set(minute)], condition=later)
    except UpdateError as error:
        if not condition_failed(error):
            raise
    return len(due)


def request(store: Store, full: bool, allow_deletes: bool, now: datetime) -> None:
    """Queues a sync that somebody asked for; at most one a minute and store."""
    if not store.is_active:
        raise problems.SyncNotPossible("The store is switched off. Set isActive first.")
    if store.status in {Status.NEEDS_REAUTHORIZATION, Status.DISCONNECTED}:
        raise problems.SyncNotPossible("The store must be connected again first.")
    rested = SyncState.requested_at.does_not_exist() | (SyncState.requested_at <= now - REQUEST_EVERY)
    try:
        SyncState(store.id).update(
            actions=[SyncState.requested_at.set(now)], condition=SyncState.store_id.exists() & rested
        )
    except UpdateError as error:
        if not condition_failed(error):
            raise
        raise problems.SyncLimited("A store can be synced by request once a minute.") from error
    connecting.enqueue([store.id], "request", full=full, allowDeletes=allow_deletes)


def run(
    store_id: str,
    http: Http,
    now: Clock,
    deadline: datetime,
    *,
    trigger: str = "schedule",
    full: bool = False,
    allow_deletes: bool = False,
    due_at: datetime | None = None,
    pause: Pause = time.sleep,
) -> Run:
    """Syncs one store until it is complete, cannot go on, or ``deadline`` is near."""
    this = Run(store_id, trigger, now(), full, allow_deletes)
    state = _take_lease(store_id, this.started_at)
    store = stores.find(store_id)
    if state is None:
        this.outcome, this.reason = Outcome.SKIPPED, _BUSY if store else "GONE"
        return this
    if store is None or stores.slot_of(store) is None:
        this.outcome, this.reason = Outcome.SKIPPED, "NOT_ACTIVE" if store else "GONE"
        _give_back(state)
        return this
    if due_at is not None and state.last_sync_at is not None and state.last_sync_at >= due_at:
        # a queue that is behind holds several turns of a store, and one makes up for all
        this.outcome, this.reason = Outcome.SKIPPED, "DONE_SINCE"
        _give_back(state)
        return this
    due = state.full_sync_at is None or state.full_sync_at <= this.started_at - FULL_EVERY
    this.full = this.full or due
    try:
        work = _Work(this, store, state, http, now, deadline, pause)
        _attempt(work)
    except Exception:
        _give_back(state)  # the fault is ours: the next run need not wait for the lease to end
        raise
    return this


def _attempt(work: "_Work") -> None:
    try:
        _do(work)
    except _Ends as end:
        _end_early(work, end)
    except PlatformError as error:
        _end_refused(work, error)
    except LeaseLost:
        work.this.outcome, work.this.reason = Outcome.FAILED, "LEASE_LOST"
        _record(work)
        return
    _finish(work)


def _do(work: "_Work") -> None:
    """The run, again from where it stood if the platform refused a token that can be replaced."""
    try:
        work.do()
    except PlatformError as error:
        if error.refusal is not Refusal.CREDENTIALS or not work.renew():
            raise
        work.do()


def work_off(body: str, http: Http, now: Clock, deadline: datetime) -> None:
    """Syncs the stores of one message, several at once; a store that fails by our fault comes again alone."""
    message = exact_json.loads(body)
    options = {
        "trigger": message["trigger"],
        "full": message.get("full", False),
        "allow_deletes": message.get("allowDeletes", False),
        "due_at": clock.from_text(message["dueAt"]) if "dueAt" in message else None,
    }
    ids = message["stores"]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = {id: pool.submit(_run_fairly, id, len(ids), http, now, deadline, **options) for id in ids}
    failed = [id for id, outcome in runs.items() if outcome.exception() is not None]
    for id in ids:
        if id not in failed and runs[id].result().reason == _BUSY:
            _ask_again(id, message)
    for id in failed:
        logger.error("sync_failed", store=id, exc_info=runs[id].exception())
    if failed and len(ids) == 1:
        raise SyncBroken(f"The sync of {ids[0]} failed by our fault.")
    for id in failed:
        connecting.enqueue([id], message["trigger"], full=options["full"], allowDeletes=options["allow_deletes"])


def _run_fairly(store_id: str, together: int, http: Http, now: Clock, deadline: datetime, **options: Any) -> Run:
    """A run that leaves time for the others of its message: one that needs more goes on in a message of its own."""
    share = deadline if together == 1 else min(deadline, now() + FAIR_SHARE)
    return run(store_id, http, now, share, **options)


def _ask_again(store_id: str, message: Json) -> None:
    """A sync that somebody waits for comes after the one that is running; a scheduled one has its next turn."""
    tries = message.get("tries", 0) + 1
    if message["trigger"] != "schedule" and tries <= _TRIES_WHILE_BUSY:
        rest = {name: value for name, value in message.items() if name not in {"stores", "trigger", "full"}}
        full = message.get("full", False)
        connecting.enqueue([store_id], message["trigger"], full=full, delay=15, **{**rest, "tries": tries})


def history(store_id: str, limit: int, cursor: str | None) -> tuple[list[SyncRun], str | None]:
    """The runs of a store that left a row, newest first."""
    scope = ("syncs", store_id)
    position = paging.decode(cursor, *scope)
    before = SyncRun.started_at < position["started"] if position else None
    rows = list(SyncRun.query(store_id, before, scan_index_forward=False, limit=limit + 1))
    more, rows = len(rows) > limit, rows[:limit]
    return rows, paging.encode({"started": rows[-1].started_at}, *scope) if more else None


def progress(state: SyncState | None, now: datetime) -> schemas.ImportView | None:
    """How far the store's first import is, and when it may end; ``None`` where none is running."""
    found = exact_json.loads(state.checkpoint).get(IMPORT) if state and state.checkpoint else None
    if found is None:
        return None
    started = clock.from_text(found["startedAt"])
    parts = {resource: schemas.ImportPart(**found[resource]) for resource in Resource if resource in found}
    known = [part for part in parts.values() if part.total is not None]
    done, total = sum(part.done for part in known), sum(part.total or 0 for part in known)
    ends = started + (now - started) * total / done if done and len(known) == len(Resource) else None
    return schemas.ImportView(
        started_at=started,
        orders=parts.get(Resource.ORDERS),
        products=parts.get(Resource.PRODUCTS),
        estimated_end=max(ends, now) if ends else None,
    )


def to_view(row: SyncRun) -> schemas.SyncRunView:
    """What the store's owner sees of a run."""
    return schemas.SyncRunView(
        started_at=clock.from_text(row.started_at),
        outcome=row.outcome,
        reason=row.reason,
        detail=row.detail,
        trigger=row.trigger,
        full=row.full,
        counts=exact_json.loads(row.counts),
        duration_ms=int(row.duration_ms),
    )


class _Work:
    """One run in progress."""

    def __init__(
        self,
        this: Run,
        store: Store,
        state: SyncState,
        http: Http,
        now: Clock,
        deadline: datetime,
        pause: Pause,
    ) -> None:
        self.this = this
        self.store = store
        self.state = state
        self.now = now
        self.deadline = deadline
        self.pause = pause
        self.cursors: dict[str, Json] = exact_json.loads(state.checkpoint) if state.checkpoint else {}
        if this.trigger == "request" and this.full:
            self.cursors.pop(COMPARE, None)
        self.started_with = state.checkpoint
        self.importing = state.last_sync_at is None
        self.wait_until: datetime | None = None
        self.compares = False
        """Whether the run came as far as the full compare; the next is a day away, however this one ends."""
        self._listed: list[str] = []
        """The ids that this run's part of the compare was shown."""
        adapter = platforms.get(PlatformName(store.platform))
        if adapter is None:
            raise LookupError(f"No adapter for {store.platform}")
        self.adapter: Platform = adapter
        self.http = budgets.counting(adapter, http, now, pause, longest=LONGEST_PAUSE)
        self.patient_http = budgets.counting(adapter, http, now, pause, longest=LONGEST_PAUSE, patient=True)
        """For what no seller waits for: products and the compare."""
        self.row = Credentials.get(store.id, consistent_read=True)
        self._connection: Connection | None = None
        self._renewed = False

    @property
    def connection(self) -> Connection:
        """What opens the store, unsealed at its first use, with a token that outlasts the next call."""
        now = self.now()
        row = tokens.fresh(self.store, self.row, self.http, now)
        if self._connection is None or row is not self.row:
            self.row = row
            self._connection = tokens.open_connection(self.store, row, now)
        return self._connection

    def renew(self) -> bool:
        """Other credentials than those that were just refused, once a run; whether there are any."""
        row = None if self._renewed else tokens.instead(self.store, self.row, self.http, self.now())
        self._renewed = True
        if row is not None:
            self.row, self._connection = row, None
        return row is not None

    def do(self) -> None:
        """The whole run."""
        # a rest ends the compare that was begun, and begins none: somebody else may have ended it meanwhile
        if self.this.full and self.this.trigger != "continuation" and not self._place():
            self._subscribe()
            self._look_after_webhooks()
            self.cursors[COMPARE] = {"began": clock.to_text(self.now()), "done": [], "lacks": None, "parts": []}
        if self.importing and Resource.ORDERS not in self.cursors and IMPORT not in self.cursors:
            self._begin_import()
        for resource in _ORDER:
            self._page_through(resource)
        if place := self._place():
            self.compares = True
            for resource in _ORDER:
                if resource not in place["done"]:
                    self._compare_ids(resource, place)
            if place["lacks"]:
                self._lacks(*place["lacks"])
            del self.cursors[COMPARE]

    def _subscribe(self) -> None:
        """Makes the platform's webhook subscriptions those that should exist: all of ours, or none."""
        if not isinstance(self.adapter, ManagesSubscriptions):
            return
        url = connecting.delivery_url(self.store, self.row)
        if not stores.wants_webhooks(self.store):
            self.adapter.unsubscribe(self.connection, url, self.http)
            return
        secrets = credentials.unseal(
            Purpose.WEBHOOK, self.store.id, self.store.platform, self.row.webhook_secrets, self.now()
        )
        self.adapter.reconcile(self.connection, url, secrets["current"], self.http)

    def _look_after_webhooks(self) -> None:
        """Takes up what was left lying, and says where a busy store's platform has fallen silent."""
        now, since = self.now(), self.state.full_sync_at
        sweep.sweep(self.store.id, now)
        busy = int(self.state.changed_since_full or 0) >= BUSY_CHANGES
        expected = isinstance(self.adapter, ManagesSubscriptions) and stores.wants_webhooks(self.store)
        if since is not None and busy and expected:
            last = delivery_log.last_received(self.store.id)
            if last is None or last < since:
                logger.warning("webhooks_silent", store=self.store.id, platform=self.store.platform)

    def _begin_import(self) -> None:
        """The newest orders first: they are what a seller waits for."""
        adapter, observed_at = self.adapter, self.now()
        if isinstance(adapter, ShowsNewest):
            newest = self._patiently(lambda: adapter.newest_orders(self.connection, self.http, self.now()))
            self._save(Resource.ORDERS, newest, observed_at)
        self.cursors[IMPORT] = {"startedAt": clock.to_text(observed_at)}

    def _save(self, resource: Resource, found: Sequence[Record], observed_at: datetime) -> Counts:
        self._holds_lease()
        saved = records.save_page(self.store.id, resource, found, self.store.currency, observed_at, self.now())
        self.this.counts.setdefault(resource, Counts()).add(saved)
        if saved.failed:
            self._lacks("RECORDS_NOT_UNDERSTOOD", f"{saved.failed} of the {resource} are larger than can be kept.")
        return saved

    def _page_through(self, resource: Resource) -> None:
        done = False
        while not done:
            self._keep_going()
            observed_at = self.now()
            page = self._fetch(resource)
            tokens.proved(self.row)
            saved = self._save(resource, page.records, observed_at)
            self.this.pages += 1
            if page.partial:
                self._lacks("RECORDS_NOT_UNDERSTOOD", page.partial)
            moved = self.cursors.get(resource) != page.cursor
            if not moved and not page.done:
                raise _Ends("CURSOR_REPEATED", f"The platform gave the same page of {resource} again.")
            self.cursors[resource] = dict(page.cursor)
            if IMPORT in self.cursors:
                self._note_progress(resource, page)
            done = page.done
            if saved.changed or not done:
                self._checkpoint()
            if page.ready_at is not None and not done:
                self._wait(page.ready_at)

    def _note_progress(self, resource: Resource, page: Page) -> None:
        progress = self.cursors[IMPORT]
        before = progress.get(resource, {"done": 0, "total": None})
        total = page.total if page.total is not None else before["total"]
        progress[resource] = {"done": before["done"] + len(page.records), "total": total}

    def _fetch(self, resource: Resource) -> Page:
        http = self.http if resource is Resource.ORDERS else self.patient_http
        return self._patiently(
            lambda: self.adapter.fetch(self.connection, resource, self.cursors.get(resource), http, self.now())
        )

    def _patiently(self, ask: Callable[[], Answered]) -> Answered:
        """What a call gives; a platform that asks for a short wait gets it."""
        try:
            return ask()
        except PlatformError as error:
            if error.refusal is not Refusal.RATE_LIMITED or error.retry_at is None:
                raise
            if error.retry_at - self.now() > LONGEST_PAUSE:
                raise
            self._wait(error.retry_at)
        return ask()

    def _wait(self, ready_at: datetime) -> None:
        """Just as long as the platform's own numbers say; where it is long, no other run asks sooner either."""
        seconds = (ready_at - self.now()).total_seconds()
        if seconds > LONGEST_PAUSE.total_seconds():
            self.wait_until = ready_at
            go_on_in = int(seconds) + 1
            raise _Ends("PLATFORM_BUSY", "The platform is given time; the run goes on then.", go_on_in=go_on_in)
        if seconds > 0:
            self.pause(seconds)

    def _compare_ids(self, resource: Resource, place: Json) -> None:
        """Finds what was deleted without a word, and what paging missed. Only the platform's 404 deletes."""
        if not place.get("listed"):
            self._list_ids(resource, place)
        there = set(self._listed).union(*map(self._part, place["parts"]))
        since = clock.from_text(place["since"]) if "since" in place else None
        here = records.live_ids(self.store.id, resource, since)
        counts = self.this.counts[resource]
        gone, missed = here - there, there - here
        if len(gone) > max(DELETES_FREE, len(here) // DELETES_SHARE) and not self.this.allow_deletes:
            self._lacks(
                "MANY_DELETES", f"{len(gone)} of {len(here)} {resource} are gone. Sync with allowDeletes to delete."
            )
            gone = set()
        for id in sorted(gone | missed):
            if id > place.get("looked", ""):
                self._keep_going()
                self._look_up(resource, id, counts)
                place["looked"] = id
        self._listed = []
        for name in ("listed", "cursor", "since", "looked"):
            place.pop(name, None)
        place.update(done=[*place["done"], resource], parts=[])

    def _place(self) -> Json | None:
        """Where a compare was cut off; one that began a day ago begins anew, and so does one that is asked for."""
        place: Json | None = self.cursors.get(COMPARE)
        if place is None or len(place["parts"]) >= MOST_PARTS:
            return None
        return place if clock.from_text(place["began"]) > self.this.started_at - FULL_EVERY else None

    def checkpoint(self) -> str:
        """Where the next run goes on. The ids that a compare was shown have no bound, and go to the bucket."""
        if self._listed:
            place = self.cursors[COMPARE]
            name = f"{self.store.id}/compare/{self.state.fence}-{len(place['done'])}-{len(place['parts'])}"
            body = zlib.compress(exact_json.dumps(self._listed).encode())
            clients.s3().put_object(Bucket=current().bodies_bucket, Key=name, Body=body)
            place["parts"].append(name)
            self._listed = []
        return exact_json.dumps(self.cursors)

    def _part(self, part: str) -> list[str]:
        """The ids that an earlier run was shown. Where they are lost, all of them are suspects, and no more."""
        try:
            found = clients.s3().get_object(Bucket=current().bodies_bucket, Key=part)
        except clients.s3().exceptions.NoSuchKey:
            return []
        ids: list[str] = exact_json.loads(zlib.decompress(found["Body"].read()))
        return ids

    def _lacks(self, reason: str, detail: str) -> None:
        """Something is missing, but the run can go on: it will not have been complete."""
        self.this.outcome, self.this.reason, self.this.detail = Outcome.PARTIAL, reason, detail
        if self.compares:
            # the run that ends the compare says it, too
            self.cursors[COMPARE]["lacks"] = [reason, detail]

    def _look_up(self, resource: Resource, id: str, counts: Counts) -> None:
        observed_at = self.now()
        try:
            record = self._patiently(lambda: self.adapter.fetch_one(self.connection, resource, id, self.patient_http))
        except PlatformError as error:
            match error.refusal:
                case Refusal.NOT_FOUND:
                    self._holds_lease()
                    counts.deleted += records.bury(self.store.id, resource, id, observed_at, self.now())
                case Refusal.NOT_UNDERSTOOD:
                    counts.failed += 1
                    self._lacks("RECORDS_NOT_UNDERSTOOD", error.detail)
                case _:
                    raise
            return
        self._holds_lease()
        try:
            counts.updated += records.save(
                self.store.id, resource, record, self.store.currency, observed_at, self.now()
            )
        except records.TooLarge as error:
            counts.failed += 1
            self._lacks("RECORDS_NOT_UNDERSTOOD", str(error))

    def _list_ids(self, resource: Resource, place: Json) -> None:
        done = False
        while not done:
            self._keep_going()
            cursor: Json | None = place.get("cursor")
            page = self._patiently(
                lambda: self.adapter.list_ids(
                    self.connection, resource, place.get("cursor"), self.patient_http, self.now()
                )
            )
            if not page.done and page.cursor == cursor:
                raise _Ends("CURSOR_REPEATED", f"The platform gave the same ids of {resource} again.")
            self._listed += page.ids
            place["cursor"], done = page.cursor, page.done
            if page.since is not None:
                place["since"] = clock.to_text(page.since)
            if page.ready_at is not None and not done:
                self._wait(page.ready_at)
        place["listed"] = True

    def _keep_going(self) -> None:
        """Before each call to the platform: whether there is time, and a lease that outlasts the call."""
        now = self.now()
        if now >= self.deadline:
            raise _Ends("TIME_IS_UP", "The run goes on in another invocation.", go_on_in=0)
        if self.state.lease_until - now < LEASE / 2:
            self._checkpoint()

    def _holds_lease(self) -> None:
        """Refuses to write on an old lease: batches take no condition, so the clock must say so."""
        if self.now() >= self.state.lease_until:
            raise LeaseLost

    def _checkpoint(self) -> None:
        until = self.now() + LEASE
        self.update([SyncState.checkpoint.set(self.checkpoint()), SyncState.lease_until.set(until)])

    def update(self, actions: list[Any]) -> None:
        """Changes the sync state if the lease and its fence are still this run's."""
        mine = (SyncState.lease_owner == self.state.lease_owner) & (SyncState.fence == self.state.fence)
        try:
            self.state.update(actions=actions, condition=mine)
        except UpdateError as error:
            if condition_failed(error):
                raise LeaseLost from error
            raise


def _queue(ids: list[str], minute: int) -> None:
    due = {"trigger": "schedule", "dueAt": clock.to_text(datetime.fromtimestamp(minute * 60, UTC))}
    messages = [ids[start : start + STORES_PER_MESSAGE] for start in range(0, len(ids), STORES_PER_MESSAGE)]
    for start in range(0, len(messages), 10):
        entries = [
            {"Id": str(number), "MessageBody": exact_json.dumps({**due, "stores": batch})}
            for number, batch in enumerate(messages[start : start + 10])
        ]
        answer = sqs().send_message_batch(QueueUrl=current().sync_queue_url, Entries=entries)
        if answer.get("Failed"):
            raise RuntimeError(f"{len(answer['Failed'])} messages were not taken by the queue")


def _take_lease(store_id: str, now: datetime) -> SyncState | None:
    state = SyncState(store_id)
    free = SyncState.lease_until.does_not_exist() | (SyncState.lease_until <= now)
    rested = SyncState.not_before.does_not_exist() | (SyncState.not_before <= now)
    try:
        state.update(
            actions=[
                SyncState.lease_owner.set(uuid4().hex),
                SyncState.lease_until.set(now + LEASE),
                SyncState.fence.set((SyncState.fence | 0) + 1),
            ],
            condition=SyncState.store_id.exists() & free & rested,
        )
    except UpdateError as error:
        if condition_failed(error):
            return None
        raise
    return state


def _give_back(state: SyncState) -> None:
    mine = (SyncState.lease_owner == state.lease_owner) & (SyncState.fence == state.fence)
    try:
        state.update(actions=[SyncState.lease_owner.remove(), SyncState.lease_until.remove()], condition=mine)
    except UpdateError as error:
        if not condition_failed(error):
            raise


def _end_early(work: _Work, end: _Ends) -> None:
    this = work.this
    this.outcome = Outcome.PARTIAL if this.pages else Outcome.FAILED
    this.reason, this.detail = end.reason, end.detail
    if end.go_on_in is not None and not _go_on(work, end.go_on_in):
        this.outcome, this.reason = Outcome.STALLED, "NO_PROGRESS"


def _go_on(work: _Work, delay: int) -> bool:
    """Queues the rest of the run, unless it is a rest itself that got no further."""
    this = work.this
    if exact_json.dumps(work.cursors) == work.started_with and this.trigger == "continuation":
        return False
    connecting.enqueue([this.store_id], "continuation", full=this.full, delay=delay, allowDeletes=this.allow_deletes)
    return True


def _end_refused(work: _Work, error: PlatformError) -> None:
    this = work.this
    this.outcome = Outcome.PARTIAL if this.pages else Outcome.FAILED
    this.reason, this.detail = error.refusal.upper(), error.detail
    if error.refusal in {Refusal.CREDENTIALS, Refusal.PERMISSION} and _still_refused(work):
        reason = "CREDENTIALS_REFUSED" if error.refusal is Refusal.CREDENTIALS else "PERMISSION_MISSING"
        stores.set_status(this.store_id, Status.NEEDS_REAUTHORIZATION, reason, work.now())
    if error.refusal is Refusal.RATE_LIMITED:
        _come_back(work, error)
    logger.info("sync_refused", store=this.store_id, refusal=error.refusal, status=error.status)


def _come_back(work: _Work, error: PlatformError) -> None:
    """Leaves the store alone as long as its platform asks, and goes on then.

    Where only the app's calls are spent the store's orders and webhooks need not wait. Its scheduled runs have their
    next turn, as each would leave a rest of its own behind.
    """
    is_ours = isinstance(error, budgets.Spent)
    if not is_ours:
        work.wait_until = error.retry_at or work.now() + DEFAULT_WAIT
    if error.retry_at is not None and not (is_ours and work.this.trigger == "schedule"):
        _go_on(work, max(int((error.retry_at - work.now()).total_seconds()), 0) + 1)


def _still_refused(work: _Work) -> bool:
    """Asks again before believing: the credential may have been replaced, or the host hiccuped."""
    try:
        work.adapter.probe(work.connection, work.http)
    except PlatformError as error:
        if error.refusal not in {Refusal.CREDENTIALS, Refusal.PERMISSION}:
            return False
    else:
        return False
    row = Credentials.get(work.store.id, consistent_read=True)
    if row.api_credentials != work.row.api_credentials:
        connecting.enqueue([work.store.id], "continuation", full=work.this.full)
        return False
    # who ended the grant, or saw the app go, has said so more exactly
    store = stores.find(work.store.id)
    return store is not None and store.status not in {Status.NEEDS_REAUTHORIZATION, Status.DISCONNECTED}


def _finish(work: _Work) -> None:
    """Lets go of the lease with what the run leaves behind; a quiet run leaves no row of its own."""
    this, state, now = work.this, work.state, work.now()
    actions: list[Any] = [SyncState.lease_owner.remove(), SyncState.lease_until.remove()]
    complete = this.outcome is Outcome.COMPLETE
    if complete:
        work.cursors.pop(IMPORT, None)
    checkpoint = work.checkpoint()
    if checkpoint != state.checkpoint:
        actions.append(SyncState.checkpoint.set(checkpoint))
    quiet = complete and not this.changed and this.trigger == "schedule" and not this.full
    unreached = this.reason in {"UNREACHABLE", "TRANSIENT", "NOT_THE_PLATFORM", "ADDRESS"}
    if complete:
        quiet_runs = int(state.quiet_runs) + 1 if quiet else 0
        actions += [SyncState.last_sync_at.set(now), SyncState.quiet_runs.set(quiet_runs)]
    actions += _lateness(work, late=not complete)
    actions += _since_full(work)
    if unreached or state.failures:
        actions.append(SyncState.failures.set(int(state.failures) + 1 if unreached else 0))
    actions += _waiting(work)
    try:
        work.update(actions)
    except LeaseLost:
        this.outcome, this.reason = Outcome.FAILED, "LEASE_LOST"
        quiet = False
    if not quiet:
        _record(work)
    _reachability(work, unreached)


def _lateness(work: _Work, *, late: bool) -> list[Any]:
    """Into the index of late stores, or out of it; nothing where it is as it was."""
    if late and work.state.late_since is None:
        since = SyncState.late_since.set(clock.to_text(work.now()))
        return [since, SyncState.late_shard.set(str(wheel.shard_of(work.this.store_id)))]
    if not late and work.state.late_since is not None:
        return [SyncState.late_since.remove(), SyncState.late_shard.remove()]
    return []


def _since_full(work: _Work) -> list[Any]:
    """When the last compare was, and how much has changed since."""
    if work.compares:
        return [SyncState.full_sync_at.set(work.this.started_at), SyncState.changed_since_full.remove()]
    before, changed = int(work.state.changed_since_full or 0), work.this.changed
    return [SyncState.changed_since_full.set(before + changed)] if changed else []


def _waiting(work: _Work) -> list[Any]:
    """How long the platform wants to be left alone."""
    until, known = work.wait_until, work.state.not_before
    if until is not None and (known is None or known < until):
        return [SyncState.not_before.set(until)]
    # a look-up for a delivery may have been told to wait since the run began
    return [SyncState.not_before.remove()] if known is not None and known <= work.now() else []


def _reachability(work: _Work, unreached: bool) -> None:
    now = work.now()
    if unreached and int(work.state.failures or 0) >= REACHES_BEFORE_UNREACHABLE:
        reason = {"NOT_THE_PLATFORM": "NOT_THE_PLATFORM", "ADDRESS": "ADDRESS_REFUSED"}
        code = reason.get(work.this.reason or "", "STORE_UNREACHABLE")
        stores.set_status(work.store.id, Status.UNREACHABLE, code, now, only_from=_HEALTHY)
    elif work.this.outcome is Outcome.COMPLETE and work.store.status == Status.UNREACHABLE:
        stores.set_status(work.store.id, Status.CONNECTED, None, now, only_from=_HEALTHY)


def _record(work: _Work) -> None:
    this, now = work.this, work.now()
    counts = {
        resource: {name: getattr(counts, name) for name in Counts.__slots__} for resource, counts in this.counts.items()
    }
    SyncRun(
        this.store_id,
        clock.to_text(this.started_at),
        outcome=this.outcome,
        reason=this.reason,
        detail=this.detail,
        trigger=this.trigger,
        full=this.full,
        counts=exact_json.dumps(counts),
        duration_ms=int((now - this.started_at).total_seconds() * 1000),
        user_id=work.store.user_id,
        team_id=work.store.team_id,
        platform=work.store.platform,
        expires_at=now + RUNS_KEPT,
    ).save()
    logger.info("sync_finished", store=this.store_id, outcome=this.outcome, reason=this.reason, changed=this.changed)
