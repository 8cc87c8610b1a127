"""Keeping the tokens of OAuth stores alive: one refresh at a time, and no pair is used before it is stored.

A refresh takes the lease of the store's credentials (owner, until, fence + 1), calls the platform once, and
saves the new pair where the fence is still its own and the token that it spent is still the stored one. Who
comes second reads again and uses what the first has saved. A crash anywhere leaves the old pair, which is
spent once more: platforms with rotating tokens take it until its replacement has been used.

A refusal is believed only when the pair that was refused is still the stored one; then the one before it
is tried if the refused one has never worked, and only then must a person act. Every other failure is the
platform's or ours, and is tried again later.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import islice
from time import monotonic
from typing import Any, Final
from uuid import uuid4

from pynamodb.exceptions import DoesNotExist, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from shared import apps, budgets, clock, credentials, platforms, stores, wheel
from shared.keys import Purpose
from shared.models import Credentials, Status, Store, SyncState
from shared.observability import logger
from shared.platforms.base import (
    App,
    Connection,
    GrantsByOAuth,
    Http,
    PlatformError,
    PlatformName,
    Refusal,
    Tokens,
)
from shared.settings import current
from shared.tables import condition_failed
from shared.transactions import Update

LEASE: Final = timedelta(minutes=2)
"""The time before the call, the 30 s of the call, 40 s by which the clocks of two workers may differ, and 30 s
for a platform that is still at work when we have stopped listening."""
TO_CALL: Final = timedelta(seconds=20)
"""How old a lease may be when the platform is called."""
MARGIN: Final = timedelta(minutes=2)
"""A token that ends sooner is not used for another call."""
MOST_LEAD: Final = timedelta(days=1)
"""Whoever uses a token refreshes it when a quarter of its life is left, or this much of a long one."""
IDLE_WITHOUT_END: Final = timedelta(days=7)
"""How often an idle store is refreshed where the platform does not say when its grant ends."""
NOTICES: Final = (30, 7, 1)
"""How many days before a grant's end the seller is told."""
WAIT_FOR_ANOTHER: Final = timedelta(seconds=10)
LONGEST_WAIT: Final = timedelta(days=1)
"""However long a platform asks to wait, its refresh token must not die of it."""
_FIRST_RETRY, _LAST_RETRY = timedelta(minutes=1), timedelta(hours=1)
_UNANSWERED = {Refusal.UNREACHABLE, Refusal.TRANSIENT}
_AT_ONCE = 8
_TURN = 32
"""How many stores of a shard are looked at before the next shard's."""
_NEED_A_PERSON = {Status.NEEDS_REAUTHORIZATION, Status.DISCONNECTED}

Clock = Callable[[], datetime]


class Moved(Exception):
    """Somebody else replaced the pair meanwhile."""


def row_values(
    store_id: str, platform: str, given: Mapping[str, str], tokens: Tokens | None, now: datetime
) -> dict[str, Any]:
    """What a store's credentials row says in clear about credentials that were just given and proved.

    Tokens that came without their end, as imported ones do, are refreshed at once: the answer will tell.
    """
    adapter = platforms.get(PlatformName(platform))
    if not isinstance(adapter, GrantsByOAuth):
        return {}
    end = tokens.expires_at if tokens else None
    values = {
        "token_hash": hash_of(given),
        "token_expires_at": end,
        "token_life": int((end - now).total_seconds()) if end else None,
        "refresh_expires_at": tokens.refresh_expires_at if tokens else None,
        "refreshed_at": now if end else None,
        "refresh_failures": None,
        "refresh_not_before": None,
        "pair_unproved": None,
        "noticed": None,
    }
    due = _first_due(values, now)
    return values | {"refresh_due_at": clock.to_text(due), "refresh_shard": str(wheel.shard_of(store_id))}


def setting(row: type[Credentials | SyncState], values: Mapping[str, Any]) -> list[Action]:
    """The actions that give a row these values; ``None`` removes."""
    return [
        getattr(row, name).set(value) if value is not None else getattr(row, name).remove()
        for name, value in values.items()
    ]


def hash_of(given: Mapping[str, str]) -> str:
    """What stands for a pair: both tokens, as some platforms replace one of them only."""
    return sha256(f"{given.get('refresh_token', '')} {given.get('access_token', '')}".encode()).hexdigest()


def open_connection(store: Store, row: Credentials, now: datetime) -> Connection:
    """What an adapter needs to call the store's platform, as it is stored."""
    return Connection(
        domain=store.domain or "",
        credentials=credentials.unseal(Purpose.API, store.id, store.platform, row.api_credentials, now),
        store_id=store.store_id,
        currency=store.currency,
        timezone=store.timezone,
        app=_app(PlatformName(store.platform)),
    )


def fresh(store: Store, row: Credentials, http: Http, now: datetime) -> Credentials:
    """The store's credentials with a token that outlasts the next call.

    Whoever uses a token refreshes it in its last quarter, so that the schedule has only those left that nobody
    uses; a refresh that fails is no harm while the old token lives.
    """
    if row.token_expires_at is None:
        return row
    left = row.token_expires_at - now
    rests = row.refresh_not_before is not None and row.refresh_not_before > now
    if left > max(MARGIN, _lead(row.token_life)) or (rests and left > MARGIN):
        return row
    try:
        return refreshed(store, row, http, now)
    except PlatformError as error:
        if error.refusal is Refusal.CREDENTIALS or left <= MARGIN:
            raise
    return _reread(store.id) or row


def instead(store: Store, refused: Credentials, http: Http, now: datetime) -> Credentials | None:
    """Other credentials than those that the platform just refused; ``None`` where there can be none."""
    row = _reread(store.id)
    if row is None or _pair(row) != _pair(refused):
        return row
    if row.refresh_due_at is None:
        return None
    other = refreshed(store, row, http, now)
    if _pair(other) == _pair(refused):  # by its date it lives, so who has no lease was given it
        raise _another_refreshes(now)
    return other


def proved(row: Credentials) -> None:
    """Notes that the pair has worked: the one before it will not be needed any more."""
    if row.pair_unproved:
        try:
            row.update(actions=[Credentials.pair_unproved.remove()], condition=_same_token(row))
        except UpdateError as error:
            _unless_condition(error)


def grant_ends(store_id: str, by: datetime, now: datetime) -> None:
    """The platform itself said when the seller must approve anew; the next round announces it."""
    actions: list[Action] = [Credentials.refresh_expires_at.set(by), Credentials.refresh_due_at.set(clock.to_text(now))]
    try:
        Credentials(store_id).update(actions=actions, condition=Credentials.refresh_due_at.exists())
    except UpdateError as error:
        _unless_condition(error)


def show(store_id: str, token_expires_at: datetime | None, reauthorize_by: datetime | None) -> None:
    """Puts the ends where the store's owner sees them; the next refresh shows them again if this is lost."""
    values = {"token_expires_at": token_expires_at, "reauthorize_by": reauthorize_by}
    try:
        SyncState(store_id).update(actions=setting(SyncState, values), condition=SyncState.store_id.exists())
    except UpdateError:
        logger.warning("ends_not_shown", store=store_id)


def refresh_due(http: Http, now: Clock, deadline: datetime) -> int:
    """Refreshes what the index nominates until ``deadline``; how many stores were looked at.

    The shards take turns, the most urgent of each first, so that none waits for another to be done.
    """
    due = Credentials.refresh_due_at <= clock.to_text(now())
    shards = deque(iter(Credentials.refresh_due.query(str(n), due, page_size=_TURN)) for n in range(current().shards))
    looked_at = 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while shards and now() < deadline:
            nominated = shards.popleft()
            ids = [key.store_id for key in islice(nominated, _TURN)]
            list(pool.map(lambda each: _attend_alone(each, http, now, deadline), ids))
            looked_at += len(ids)
            if ids:
                shards.append(nominated)
    return looked_at


def attend(store_id: str, http: Http, now: Clock) -> None:
    """What is due for one store: an announcement, a refresh, or only another date."""
    store, row = stores.find(store_id), _reread(store_id)
    if store is None or row is None or row.refresh_due_at is None or row.refresh_due_at > clock.to_text(now()):
        return
    if store.status in _NEED_A_PERSON:
        _plan_anew(row, _NOT_DUE)
        return
    _announce(store, row, now())
    if _refresh_due(store, row) <= now():
        refreshed(store, row, http, now())
    else:
        _plan_anew(row, [Credentials.refresh_due_at.set(clock.to_text(_due(store, row)))])


def refreshed(store: Store, seen: Credentials, http: Http, now: datetime) -> Credentials:
    """The store's credentials after one refresh, ours or somebody else's since ``seen`` was read.

    :class:`PlatformError` as the platform gave it, and TRANSIENT while another worker refreshes.
    """
    adapter = platforms.get(PlatformName(store.platform))
    if not isinstance(adapter, GrantsByOAuth):
        return seen
    if store.status in _NEED_A_PERSON:
        raise PlatformError(Refusal.CREDENTIALS, "The store must be connected again first.")
    since = monotonic()
    row = _take_lease(seen, now)
    if row is None:
        return _the_winners(seen, now)
    try:
        return _spend(_Refresh(store, row, adapter, http, now, since))
    except Exception as error:
        if not (isinstance(error, PlatformError) and error.refusal is Refusal.CREDENTIALS):
            _postpone(row, error, now)
        raise


class _Refresh:
    """One refresh in progress: the lease is held, nothing is spent yet."""

    def __init__(
        self, store: Store, row: Credentials, adapter: GrantsByOAuth, http: Http, now: datetime, since: float
    ) -> None:
        self.store = store
        self.row = row
        self.adapter = adapter
        self.now = now
        self._http = budgets.counting(adapter, http, lambda: now)
        self._since = since
        self._connection = open_connection(store, row, now)
        # a pair that cannot be sealed would be lost
        credentials.make_ready(Purpose.API, store.id, now)

    @property
    def before(self) -> str:
        """The refresh token before this pair, where the pair has not worked yet."""
        return self._connection.credentials.get("previous_refresh_token", "") if self.row.pair_unproved else ""

    def go_back(self) -> None:
        """From here on it is the token before that is spent."""
        given = dict(self._connection.credentials) | {"refresh_token": self.before}
        self._connection = self._connection._replace(credentials=given)

    def call(self) -> Tokens:
        """The platform's answer, if the lease outlasts it by every worker's clock."""
        if monotonic() - self._since > TO_CALL.total_seconds():
            raise PlatformError(Refusal.TRANSIENT, "The lease is too old for a call to the platform.")
        return self.adapter.refresh(self._connection, self._http, self.now)

    def sealed(self, tokens: Tokens) -> tuple[bytes, str]:
        """The new pair with what else opens the store, and its hash."""
        old = dict(self._connection.credentials)
        spent = old.get("refresh_token")
        new = old | {"access_token": tokens.access_token}
        if tokens.refresh_token and tokens.refresh_token != spent:
            new["refresh_token"] = tokens.refresh_token
            if spent:
                new["previous_refresh_token"] = spent
        return credentials.seal(Purpose.API, self.store.id, self.store.platform, new, self.now), hash_of(new)


def _spend(refresh: _Refresh) -> Credentials:
    try:
        tokens = refresh.call()
    except PlatformError as error:
        if error.refusal is not Refusal.CREDENTIALS:
            raise
        return _refused(refresh, error)
    return _save(refresh, tokens)


def _refused(refresh: _Refresh, error: PlatformError) -> Credentials:
    """Reads again before it believes, then tries the pair before, then says that a person must act."""
    row = _reread(refresh.store.id)
    if row is None or _pair(row) != _pair(refresh.row):
        return _or_moved(row)
    if refresh.before:
        refresh.go_back()
        try:
            return _save(refresh, refresh.call())
        except PlatformError as second:
            if second.refusal is not Refusal.CREDENTIALS:
                raise
    ended = Update(refresh.row, [*_LET_GO, *_NOT_DUE], _mine(refresh.row), Moved())
    try:
        stores.set_status(refresh.store.id, Status.NEEDS_REAUTHORIZATION, "GRANT_ENDED", refresh.now, [ended])
    except Moved:
        return _or_moved(_another_pair(refresh))
    logger.warning("grant_ended", store=refresh.store.id, detail=error.detail)
    raise error


def _save(refresh: _Refresh, tokens: Tokens) -> Credentials:
    """Stores the pair before anybody uses it, if the fence and the token that it replaces are still ours."""
    blob, new_hash = refresh.sealed(tokens)
    row = refresh.row
    actions: list[Action] = [
        Credentials.api_credentials.set(blob),
        Credentials.token_hash.set(new_hash),
        *_LET_GO,
        *setting(Credentials, _after(refresh, tokens)),
    ]
    try:
        row.update(actions=actions, condition=_mine(row))
    except UpdateError as error:
        _unless_condition(error)
        return _or_moved(_another_pair(refresh))
    show(refresh.store.id, row.token_expires_at, row.refresh_expires_at)
    return row


def _another_pair(refresh: _Refresh) -> Credentials | None:
    """What is stored instead: our own pair where only the acknowledgement was lost, or a winner's."""
    row = _reread(refresh.store.id)
    logger.info("refresh_overtaken", store=refresh.store.id)
    return row if row is not None and _pair(row) != _pair(refresh.row) else None


def _or_moved(row: Credentials | None) -> Credentials:
    """The row that won, or a reason to try again: another worker is about to win."""
    if row is None:
        raise PlatformError(Refusal.TRANSIENT, "Another worker refreshes the store's token.")
    return row


def _another_refreshes(now: datetime) -> PlatformError:
    retry_at = now + WAIT_FOR_ANOTHER
    return PlatformError(Refusal.TRANSIENT, "Another worker refreshes the store's token.", retry_at=retry_at)


def _the_winners(seen: Credentials, now: datetime) -> Credentials:
    """Who did not get the lease uses what the holder saved, or the old token as long as it lives."""
    row = _reread(seen.store_id)
    if row is not None and (row.token_expires_at is None or row.token_expires_at > now):
        return row
    if row is not None and row.refresh_due_at is None:
        raise PlatformError(Refusal.CREDENTIALS, "The store must be connected again first.")
    raise _another_refreshes(now)


def _after(refresh: _Refresh, tokens: Tokens) -> dict[str, Any]:
    """The plan that an answer makes; one without an end changes no plan, and is complained of."""
    row, now = refresh.row, refresh.now
    if tokens.never_expires:
        return dict.fromkeys(("token_expires_at", "refresh_due_at", "refresh_shard", "refresh_failures"))
    if tokens.expires_at is None or tokens.expires_at <= now:
        logger.warning("expiry_not_told", store=refresh.store.id)
    known = timedelta(seconds=int(row.token_life)) if row.token_life else refresh.adapter.token_life
    told = tokens.expires_at if tokens.expires_at and tokens.expires_at > now else None
    end = told or now + known
    ends = {"refresh_expires_at": tokens.refresh_expires_at} if tokens.refresh_expires_at else {}
    values: dict[str, Any] = {
        "token_expires_at": end,
        "token_life": int((end - now).total_seconds()),
        **ends,
        "refreshed_at": now,
        "refresh_failures": None,
        "refresh_not_before": None,
        "pair_unproved": True,
        "noticed": None if _is_later(row.refresh_expires_at, tokens.refresh_expires_at) else row.noticed,
    }
    planned = Credentials(refresh.store.id, **({"refresh_expires_at": row.refresh_expires_at} | values))
    due = _due(refresh.store, planned)
    return values | {"refresh_due_at": clock.to_text(due), "refresh_shard": str(wheel.shard_of(refresh.store.id))}


def _is_later(known: datetime | None, told: datetime | None) -> bool:
    """Whether the grant ends later than was announced; a platform that counts in seconds errs by some."""
    return known is not None and told is not None and told - known > timedelta(days=1)


def _first_due(values: Mapping[str, Any], now: datetime) -> datetime:
    if values["token_expires_at"] is None:
        return now
    due = values["token_expires_at"] - _lead(values["token_life"]) / 3
    return _with_notice(due, values["refresh_expires_at"], None)


def _due(store: Store, row: Credentials) -> datetime:
    """When the store must be looked at next: for its token, or to tell its seller."""
    return _with_notice(_refresh_due(store, row), row.refresh_expires_at, row.noticed)


def _refresh_due(store: Store, row: Credentials) -> datetime:
    """When the token must be refreshed: an idle store's only so often that its grant lives."""
    if row.token_expires_at is None or row.refreshed_at is None:
        due = row.refreshed_at or store.created_at
    elif stores.slot_of(store) is not None:
        # its syncs have had two thirds of the last quarter to do it
        due = row.token_expires_at - _lead(row.token_life) / 3
    elif row.refresh_expires_at is not None:
        due = row.refreshed_at + (row.refresh_expires_at - row.refreshed_at) / 3
    else:
        due = row.refreshed_at + IDLE_WITHOUT_END
    return max(due, row.refresh_not_before) if row.refresh_not_before else due


def _lead(life: float | None) -> timedelta:
    return min(timedelta(seconds=int(life or 0)) / 4, MOST_LEAD)


def _with_notice(due: datetime, ends: datetime | None, noticed: float | None) -> datetime:
    """``due``, or the next announcement where that is sooner."""
    moments = [ends - timedelta(days=days) for days in NOTICES if ends and (noticed is None or days < noticed)]
    return min([due, *moments[:1]])


def _announce(store: Store, row: Credentials, now: datetime) -> None:
    """Tells the seller in time that they must approve anew; each of the moments once."""
    ends = row.refresh_expires_at
    passed = [days for days in NOTICES if ends is not None and now >= ends - timedelta(days=days)]
    if ends is None or not passed or (row.noticed is not None and passed[-1] >= row.noticed):
        return
    stores.announce_end(store.id, ends, passed[-1], now)
    show(store.id, row.token_expires_at, ends)
    row.noticed = passed[-1]
    try:
        row.update(actions=[Credentials.noticed.set(passed[-1])], condition=Credentials.refresh_expires_at == ends)
    except UpdateError as error:
        _unless_condition(error)


def _plan_anew(row: Credentials, actions: Sequence[Action]) -> None:
    """Another plan, unless somebody else has made one meanwhile."""
    try:
        row.update(actions=[*actions], condition=_same_token(row) & (Credentials.refresh_due_at == row.refresh_due_at))
    except UpdateError as error:
        _unless_condition(error)


def _attend_alone(store_id: str, http: Http, now: Clock, deadline: datetime) -> None:
    """One store's turn; whatever goes wrong with it is its own."""
    if now() >= deadline:
        return
    try:
        attend(store_id, http, now)
    except PlatformError as error:
        logger.warning("refresh_failed", store=store_id, refusal=error.refusal, status=error.status)
    except Exception as error:  # noqa: BLE001 the other stores' tokens must not die of it
        logger.exception("refresh_broken", store=store_id, error=type(error).__name__)


def _postpone(row: Credentials, error: Exception, now: datetime) -> None:
    """Lets go of the lease and tries again later, at the platform's time where it says one.

    A call without an answer may still be at work at the platform: its lease ends by itself.
    """
    failures = int(row.refresh_failures or 0) + 1
    refusal, asked = (error.refusal, error.retry_at) if isinstance(error, PlatformError) else (None, None)
    wait = max(min(_FIRST_RETRY * 2 ** min(failures - 1, 10), _LAST_RETRY), min((asked or now) - now, LONGEST_WAIT))
    actions: list[Action] = [
        *(() if refusal in _UNANSWERED else _LET_GO),
        Credentials.refresh_failures.set(failures),
        Credentials.refresh_not_before.set(now + wait),
        Credentials.refresh_due_at.set(clock.to_text(now + wait)),
    ]
    try:
        row.update(actions=actions, condition=_mine(row) & Credentials.refresh_due_at.exists())
    except UpdateError as failure:
        _unless_condition(failure)


def _take_lease(seen: Credentials, now: datetime) -> Credentials | None:
    """The row as it is with our lease on it; ``None`` where another has it, has saved since ``seen``, or gave up."""
    row = Credentials(seen.store_id)
    free = Credentials.lease_until.does_not_exist() | (Credentials.lease_until <= now)
    try:
        row.update(
            actions=[
                Credentials.lease_owner.set(uuid4().hex),
                Credentials.lease_until.set(now + LEASE),
                Credentials.fence.set((Credentials.fence | 0) + 1),
            ],
            condition=Credentials.refresh_due_at.exists() & free & _same_token(seen),
        )
    except UpdateError as error:
        _unless_condition(error)
        return None
    return row


def _mine(row: Credentials) -> Condition:
    both: Condition = _same_fence(row) & _same_token(row)
    return both


def _pair(row: Credentials) -> object:
    """What differs from pair to pair, and between other credentials too; a pair that is sealed anew is the same."""
    return row.token_hash or row.api_credentials


def _same_fence(row: Credentials) -> Condition:
    return Credentials.fence == row.fence


def _same_token(row: Credentials) -> Condition:
    return Credentials.token_hash == row.token_hash


_LET_GO: tuple[Action, ...] = (Credentials.lease_owner.remove(), Credentials.lease_until.remove())
_NOT_DUE: tuple[Action, ...] = (Credentials.refresh_due_at.remove(), Credentials.refresh_shard.remove())


def _reread(store_id: str) -> Credentials | None:
    try:
        return Credentials.get(store_id, consistent_read=True)
    except DoesNotExist:
        return None


def _unless_condition(error: UpdateError) -> None:
    if not condition_failed(error):
        raise error


def _app(platform: PlatformName) -> App | None:
    return apps.get(platform) if isinstance(platforms.get(platform), GrantsByOAuth) else None
