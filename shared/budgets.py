"""When a platform may be called, as all workers together see it.

Per app: where a platform counts the calls of all stores together (:class:`CallLimit`), one row of the table budgets
for each of its limits is shared by all workers. A worker takes the right to a block of calls with one conditional
write and then makes them one by one. The arithmetic is that of two leaky buckets, each a point in time until which
its calls are spoken for (GCRA, https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm):

- *the day*: one tenth of its calls may be made at once, the other nine come back evenly over 24 hours, so that no
  24 hours see more calls than the limit. Half of the tenth is kept for what sellers wait for.
- *the second*: calls are spaced at half the limit, and each is made within a second of its turn or not at all, so
  that no second sees more calls than the limit, however the workers are interleaved.

What the platform says wins: a Retry-After stops everybody until then, and its own numbers replace ours where they
allow less. A day's calls may be exceeded by one started block for each worker, a :data:`BLOCKS_A_DAY` th of it.

Per store: the row that keeps its syncs away, ``SyncState.not_before``, is read and written for webhooks here.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from threading import Lock
from typing import Any, Final, NamedTuple

from pynamodb.exceptions import DoesNotExist, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from shared.models import Budget, SyncState
from shared.observability import logger
from shared.platforms.base import Answer, CallLimit, CountsCallsPerApp, Http, PlatformError, Refusal
from shared.tables import condition_failed

DAY: Final = timedelta(days=1)
AT_ONCE: Final = DAY / 9
"""How far ahead a day's calls may be spoken for. With nine tenths of them coming back in a day, this is one tenth."""
COMING_BACK: Final = 0.9
KEPT: Final = AT_ONCE / 2
"""What sellers do not wait for stays this far away from the end."""
TURN: Final = timedelta(seconds=1)
"""How late a call may be made after its turn within the second."""
BLOCKS_A_DAY: Final = 2_000
SHORT: Final = timedelta(seconds=2)
"""Whoever does not say how long it may wait waits no longer."""
LONGEST_WAIT: Final = DAY
"""Whatever a platform says, it is asked again after a day."""
_LOST_RACES: Final = 8
_MOST: Final = 10**9
"""No platform's number is believed to be larger."""
_DIGITS: Final = 20
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)

Clock = Callable[[], datetime]
Pause = Callable[[float], None]


class Spent(PlatformError):
    """The app's calls are spent for now, by our own count or because the platform said so to another worker.

    It says nothing about the store, whose more urgent calls may still be made.
    """

    def __init__(self, until: datetime) -> None:
        super().__init__(Refusal.RATE_LIMITED, "The calls of our app are spent for now.", retry_at=until)


def counting(
    adapter: object,
    http: Http,
    now: Clock,
    pause: Pause = time.sleep,
    *,
    longest: timedelta = SHORT,
    patient: bool = False,
) -> Http:
    """``http``, with every call that the platform counts per app taken from the app's budget first.

    A call that is not possible within ``longest`` is not made: :class:`Spent`, with the time to come back.
    A ``patient`` caller leaves a share of the day to those that are not.
    """
    if isinstance(http, _Counting):
        http = http.http
    if not isinstance(adapter, CountsCallsPerApp):
        return http
    return _Counting(adapter, http, now, pause, longest, patient)


def must_wait(store_id: str, now: datetime) -> datetime | None:
    """Until when the store's platform wants to be left alone; ``None`` where it may be asked."""
    try:
        until = SyncState.get(store_id, attributes_to_get=["not_before"]).not_before
    except DoesNotExist:
        return None
    return until if until is not None and until > now else None


def leave_alone(store_id: str, error: PlatformError) -> None:
    """Has the store's syncs and look-ups wait as long as its platform just asked."""
    if error.retry_at is None or isinstance(error, Spent):
        return
    longer = SyncState.not_before.does_not_exist() | (SyncState.not_before < error.retry_at)
    _written(SyncState(store_id), [SyncState.not_before.set(error.retry_at)], SyncState.store_id.exists() & longer)


class _Counting:
    """The HTTP port of a platform that counts per app."""

    def __init__(
        self,
        platform: CountsCallsPerApp,
        http: Http,
        now: Clock,
        pause: Pause,
        longest: timedelta,
        patient: bool,
    ) -> None:
        self.http = http
        self._platform = platform
        self._now = now
        self._pause = pause
        self._longest = longest
        self._patient = patient

    def request(self, method: str, url: str, **more: Any) -> Answer:
        """As :class:`Http`, at the time that the budget gives."""
        limit = next((limit for limit in self._platform.app_limits if limit.addresses.match(url)), None)
        if limit is None:
            return self.http.request(method, url, **more)
        block = _block(f"{self._platform.name}#{limit.name}")
        wait = (block.take(limit, self._now(), self._longest, patient=self._patient) - self._now()).total_seconds()
        if wait > 0:
            self._pause(wait)
        answer = self.http.request(method, url, **more)
        block.learn(limit, answer, self._now())
        return answer


class Told(NamedTuple):
    """What an answer said about the limit that its call counted against."""

    per_second: int | None
    per_day: int | None
    left: int | None
    at: datetime


class Grant(NamedTuple):
    """What a row allows: how many calls from when on, and until when each bucket is spoken for then."""

    calls: int
    start: datetime
    day_until: datetime
    second_until: datetime | None


@dataclass
class _Block:
    """Calls that this execution environment has the right to, shared by its threads."""

    scope: str
    left: int = 0
    """Of the day."""
    turns: int = 0
    """Of the second."""
    turn: datetime = _NEVER
    step: timedelta = timedelta(0)
    told: Told | None = None
    lock: Any = field(default_factory=Lock)

    def take(self, limit: CallLimit, now: datetime, longest: timedelta, *, patient: bool) -> datetime:
        """When the next call may be made."""
        with self.lock:
            while self.turns and self.step and self.turn + TURN < now:
                self.turn, self.turns = self.turn + self.step, self.turns - 1
            if not (self.left and self.turns):
                self._reserve(limit, now, longest, patient=patient)
            at = self.turn
            self.left, self.turns, self.turn = self.left - 1, self.turns - 1, self.turn + self.step
            return at

    def learn(self, limit: CallLimit, answer: Answer, now: datetime) -> None:
        """Keeps the platform's numbers for the next block; a Retry-After is told to everybody at once."""
        asked = answer.headers.get("retry-after", "")
        if answer.status != HTTPStatus.TOO_MANY_REQUESTS:
            self.told = _told(limit, answer.headers, now) or self.told
        elif until := retry_after(asked, now):
            with self.lock:
                self.left = self.turns = 0
            logger.warning("app_limited", scope=self.scope, until=until)
            _stop(self.scope, until)

    def _reserve(self, limit: CallLimit, now: datetime, longest: timedelta, *, patient: bool) -> None:
        """A block out of the shared row; who loses the race for it reads again."""
        for _ in range(_LOST_RACES):
            row = _row(self.scope)
            usual = _as_told(row, limit, self.told)
            granted = grant(row, usual, self.left, now, patient=patient)
            if granted.start - now > longest:
                raise Spent(granted.start)
            row.day_until, row.second_until = granted.day_until, granted.second_until
            if _save(row):
                self.left += granted.calls
                self.turns, self.turn, self.step = self.left, granted.start, _spacing(usual)
                self.told = None
                return
        raise Spent(now + TURN)


def grant(row: Budget, limit: CallLimit, held: int, now: datetime, *, patient: bool) -> Grant:
    """As many calls as make up a block, with those ``held`` already, or the fewer that are there; one at the least."""
    begin = max(now, row.not_before) if row.not_before else now
    each = DAY / (limit.per_day * COMING_BACK)
    spoken = max(row.day_until or begin, begin)
    ahead = AT_ONCE - KEPT if patient else AT_ONCE
    wanted = max(_block_size(limit) - held, 0)
    there = (begin + ahead - spoken) // each
    # what is held is of the day that it was taken from, and only lacks its turns
    calls = min(wanted, max(there, 0 if held else 1))
    start = max(begin, spoken + calls * each - max(ahead, each)) if calls else begin
    if not limit.per_second:
        return Grant(calls, start, spoken + calls * each, None)
    turn = max(start, row.second_until) if row.second_until else start
    return Grant(calls, turn, spoken + calls * each, turn + (held + calls) * _spacing(limit))


def retry_after(text: str, now: datetime) -> datetime | None:
    """When a Retry-After ends, in seconds or as a date (RFC 9110, 10.2.3); at most a day from now."""
    number = _number(text)
    if number is not None:
        return now + min(timedelta(seconds=number), LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(until, now + LONGEST_WAIT) if until > now else None


def forget() -> None:
    """Gives up every started block, for a test whose AWS is another one than the last test's."""
    _block.cache_clear()


@cache
def _block(scope: str) -> _Block:
    return _Block(scope)


def _row(scope: str) -> Budget:
    try:
        return Budget.get(scope, consistent_read=True)
    except DoesNotExist:
        return Budget(scope)


def _told(limit: CallLimit, headers: Mapping[str, str], now: datetime) -> Told | None:
    """The platform's own numbers in an answer, where the limit says how they are called."""
    if limit.told_in is None:
        return None
    per_second, per_day, left = (_number(headers.get(name, "")) for name in limit.told_in)
    return None if per_second is per_day is left is None else Told(per_second, per_day, left, now)


def _as_told(row: Budget, limit: CallLimit, said: Told | None) -> CallLimit:
    """The limit as the platform last told it, which goes into ``row``, as do the calls left where those are fewer."""
    if said is not None:
        row.per_day = said.per_day or row.per_day
        row.per_second = said.per_second or row.per_second
    per_day = int(row.per_day or limit.per_day)
    if said is not None and said.left is not None:
        each = DAY / (per_day * COMING_BACK)
        spoken = said.at + AT_ONCE - min(said.left * each, AT_ONCE)
        row.day_until = max(row.day_until, spoken) if row.day_until else spoken
    return limit._replace(
        per_day=per_day, per_second=int(row.per_second or limit.per_second) if limit.per_second else 0
    )


def _save(row: Budget) -> bool:
    """Whether the row was as it was read, and is as it should be."""
    values = {name: getattr(row, name) for name in ("day_until", "second_until", "per_day", "per_second")}
    actions = [getattr(Budget, name).set(value) for name, value in values.items() if value is not None]
    as_read = Budget.changes.does_not_exist() if row.changes is None else Budget.changes == row.changes
    return _written(Budget(row.scope), [*actions, Budget.changes.add(1)], as_read)


def _spacing(limit: CallLimit) -> timedelta:
    return 2 * TURN / limit.per_second if limit.per_second else timedelta(0)


def _block_size(limit: CallLimit) -> int:
    """Small against the day; and of the second no more than what one worker can use within it."""
    size = max(limit.per_day // BLOCKS_A_DAY, 1)
    return min(size, max(limit.per_second // 2, 1)) if limit.per_second else size


def _number(text: str) -> int | None:
    """A header's number, cut at what is believed."""
    return min(int(text), _MOST) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None


def _stop(scope: str, until: datetime) -> None:
    """Nobody's calls before then; whoever read the row before this reads it again."""
    later = Budget.not_before.does_not_exist() | (Budget.not_before < until)
    _written(Budget(scope), [Budget.not_before.set(until), Budget.changes.add(1)], later)


def _written(row: Budget | SyncState, actions: list[Action], condition: Condition) -> bool:
    try:
        row.update(actions=actions, condition=condition)
    except UpdateError as error:
        if not condition_failed(error):
            raise
        return False
    return True
