"""The stores: insert, load, list, update, make primary, begin to remove.

A store is visible to its user and to its team's members; to everybody else it does not exist.
What must be unique is a row of the claims table, written in the same transaction as the store.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from pynamodb.exceptions import DoesNotExist
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactGet

from shared import clock, exact_json, paging, problems, schemas, wheel
from shared.models import Claim, Credentials, Status, Store, SyncState
from shared.platforms.base import PlatformName
from shared.tables import connection
from shared.transactions import Delete, Put, Step, Update, commit

PAGE_DEFAULT = 50
PAGE_MOST = 100
LONGEST_ID = 128
_RACES = 8

REASONS: dict[str, str] = {
    "CREDENTIALS_REFUSED": "The platform refuses the store's credentials. Connect the store again.",
    "GRANT_ENDED": "The platform has ended the access that was granted. Connect the store again.",
    "UNINSTALLED": "The app was removed at the platform. Connect the store again to go on.",
    "PERMISSION_MISSING": "The credentials lack a permission. Grant it at the platform and connect again.",
    "STORE_UNREACHABLE": "The store does not answer. It is tried again at each interval.",
    "NOT_THE_PLATFORM": "What answers at the store's address is not this platform. Check the address.",
    "ADDRESS_REFUSED": "The store's address may not be called any more. Check the address.",
}
"""Every reason for a status other than CONNECTED, in words for the seller."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the token's subject, and the teams it lists."""

    user_id: str
    teams: frozenset[str] = frozenset()

    def sees(self, store: Store) -> bool:
        """Whether the store exists for this caller."""
        if store.removing:
            return False
        return store.user_id == self.user_id or (store.team_id is not None and store.team_id in self.teams)

    def require_team(self, team_id: str | None) -> None:
        """A team that is named must be one of the caller's."""
        if team_id is not None and team_id not in self.teams:
            raise problems.TeamNotYours("Your token does not list that team.")


@dataclass(frozen=True, slots=True)
class Filters:
    """What narrows a list of stores."""

    team_id: str | None = None
    platform: PlatformName | None = None
    is_active: bool | None = None
    status: Status | None = None
    sort: str = "createdAt"

    def admit(self, store: Store) -> bool:
        """Whether the store passes."""
        return (
            (self.platform is None or store.platform == self.platform)
            and (self.is_active is None or store.is_active == self.is_active)
            and (self.status is None or store.status == self.status)
        )


class _Raced(Exception):
    """Somebody else moved first: read again."""


def created_key(created_at: datetime, id: str) -> str:
    """Sorts as time does, and is unique: the place of a store in its lists."""
    return f"{clock.to_text(created_at)}#{id}"


def uniqueness_claim(store: Store) -> str:
    """What makes a store of a platform connectable once."""
    return f"store#{store.platform}#{store.store_id}"


def primary_claim(user_id: str, team_id: str | None) -> str:
    """Whose primary store it is: a team's store belongs to the team's scope, else to the user's."""
    return f"primary#team#{team_id}" if team_id is not None else f"primary#user#{user_id}"


def insert(store: Store, credentials: Credentials, state: SyncState) -> None:
    """A new store with all it needs, in one transaction."""
    refused = problems.StoreAlreadyConnected("This store is connected already. Reconnect it instead.")

    def steps() -> list[Step]:
        return [
            Put(store, Store.id.does_not_exist()),
            Put(credentials, Credentials.store_id.does_not_exist()),
            Put(state, SyncState.store_id.does_not_exist()),
            Put(Claim(uniqueness_claim(store), store=store.id), Claim.claim.does_not_exist(), refused),
            *(_take_primary(store) if store.is_primary else ()),
        ]

    wheel.remember_interval(state)
    _race(steps)


def load(store_id: str, caller: Caller) -> Store:
    """The store, if it exists for the caller."""
    return _visible(_get(store_id), caller)


def find(store_id: str, *, consistent: bool = True) -> Store | None:
    """The store whoever asks, for our own workers; ``None`` when it is being removed."""
    store = _get(store_id, consistent=consistent)
    return None if store is None or store.removing else store


def view(store_id: str, caller: Caller) -> tuple[Store, SyncState | None]:
    """The store and its sync state, read in one call."""
    if len(store_id) > LONGEST_ID:
        return _visible(None, caller), None
    with TransactGet(connection=connection()) as transaction:
        store = transaction.get(Store, store_id)
        state = transaction.get(SyncState, store_id)
    return _visible(_maybe(store), caller), _maybe(state)


def page(
    caller: Caller, filters: Filters, limit: int, cursor: str | None
) -> tuple[list[tuple[Store, SyncState | None]], str | None]:
    """A page of the caller's stores with their sync states, and the cursor of the next page."""
    caller.require_team(filters.team_id)
    scope = ("stores", caller.user_id, sorted(caller.teams), filters)
    position = paging.decode(cursor, *scope)
    if filters.sort == "createdAt":
        found = list(islice(_by_creation(caller, filters, position, limit), limit + 1))
        states = _states([store.id for store in found[:limit]])
        rows = [(store, states.get(store.id)) for store in found]
        place: Callable[[tuple[Store, SyncState | None]], dict[str, str]] = _creation_place
    else:
        rows = list(islice(_by_last_sync(caller, filters, position), limit + 1))
        place = _sync_place
    more = len(rows) > limit
    rows = rows[:limit]
    return rows, paging.encode(place(rows[-1]), *scope) if more else None


def update(store_id: str, caller: Caller, expected: int | None, patch: schemas.StorePatch, now: datetime) -> Store:
    """The store with the patch applied; a change of team gives up the primary role in the old scope."""
    given = patch.model_fields_set
    if "team_id" in given:
        caller.require_team(patch.team_id)

    def change(store: Store) -> list[Step]:
        if "team_id" in given and patch.team_id != store.team_id and caller.user_id != store.user_id:
            raise problems.OwnerOnly("Only the user who connected the store can move it to another team, or to none.")
        store.name = patch.name if "name" in given else store.name
        store.currency = patch.currency if "currency" in given else store.currency
        store.timezone = patch.timezone if "timezone" in given else store.timezone
        store.is_active = patch.is_active if "is_active" in given else store.is_active
        if "settings" in given:
            settings = patch.settings.as_json() if patch.settings is not None else None
            store.settings = settings_text(_patched(store.settings, settings))
        if "metadata" in given:
            store.metadata = metadata_text(_patched(store.metadata, patch.metadata))
        was_primary, old_scope = store.is_primary, primary_claim(store.user_id, store.team_id)
        if "team_id" in given:
            store.team_id = patch.team_id
        moved = primary_claim(store.user_id, store.team_id) != old_scope
        store.is_primary = patch.is_primary if "is_primary" in given else store.is_primary and not moved
        steps: list[Step] = []
        if was_primary and (moved or not store.is_primary):
            steps.append(_release(old_scope, store.id))
        if store.is_primary and (moved or not was_primary):
            steps.extend(_take_primary(store))
        return steps

    return _change(store_id, caller, expected, now, change)


def make_primary(store_id: str, caller: Caller, expected: int | None, now: datetime) -> Store:
    """The store as its owner's primary; the one that was loses the role in the same transaction."""

    def change(store: Store) -> list[Step]:
        steps = [] if store.is_primary else _take_primary(store)
        store.is_primary = True
        return steps

    return _change(store_id, caller, expected, now, change)


def reconnected(
    store_id: str, caller: Caller, expected: int | None, further: list[Step], *, proved: bool, now: datetime
) -> Store:
    """The store after ``further`` has written its new credentials; proved ones make it healthy again."""

    def change(store: Store) -> list[Step]:
        if proved:
            store.status, store.status_reason = Status.CONNECTED, None
            store.reauthorize_by = store.reauthorize_days = None
        return further

    return _change(store_id, caller, expected, now, change)


def require_version(store: Store, expected: int | None) -> None:
    """The store must have the version that the caller means, if they mean one."""
    if expected is not None and store.version != expected:
        raise problems.VersionConflict(f"The store has version {int(store.version)}. Read it again.")


def begin_removal(store_id: str, caller: Caller | None, expected: int | None, now: datetime) -> None:
    """Releases the claims and hides the store; the table's stream has the rest removed.

    Without a caller it is the platform that wants it.
    """

    def change(store: Store) -> list[Step]:
        store.removing = True
        store.is_active = False
        steps: list[Step] = [_release(uniqueness_claim(store), store.id)]
        if store.is_primary:
            steps.append(_release(primary_claim(store.user_id, store.team_id), store.id))
        store.is_primary = False
        store.status, store.status_reason = Status.DISCONNECTED, None
        return steps

    _change(store_id, caller, expected, now, change)


def set_status(
    store_id: str,
    status: Status,
    reason: str | None,
    now: datetime,
    further: Sequence[Step] = (),
    *,
    only_from: frozenset[Status] = frozenset(Status),
) -> bool:
    """The status that a worker found; whether that is news. A store that needs a human leaves the wheel.

    ``further`` is written in the same transaction, and its refusals refuse the status too.
    """

    def change(store: Store) -> list[Step]:
        if store.status not in only_from:
            raise _NoChange
        if store.status == status and store.status_reason == reason and not further:
            raise _NoChange
        store.status, store.status_reason = status, reason
        return list(further)

    try:
        _change(store_id, None, None, now, change)
    except (_NoChange, problems.StoreNotFound):
        return False
    return True


def announce_end(store_id: str, by: datetime, days: int, now: datetime) -> None:
    """Notes that the seller must approve anew before ``by``: the table's stream tells the rest."""

    def change(store: Store) -> list[Step]:
        if store.reauthorize_by == by and store.reauthorize_days == days:
            raise _NoChange
        store.reauthorize_by, store.reauthorize_days = by, days
        return []

    with suppress(_NoChange, problems.StoreNotFound):
        _change(store_id, None, None, now, change)


def holder(platform: PlatformName, platform_id: str) -> str | None:
    """Our id of the store that has this id at the platform, if it is connected."""
    try:
        return str(Claim.get(f"store#{platform}#{platform_id}", consistent_read=True).store)
    except DoesNotExist:
        return None


def to_view(store: Store, state: SyncState | None) -> schemas.StoreView:
    """What the owner sees."""
    reason = store.status_reason
    return schemas.StoreView(
        id=store.id,
        name=store.name,
        platform=PlatformName(store.platform),
        store_id=store.store_id,
        store_name=store.store_name,
        domain=store.domain,
        currency=store.currency,
        timezone=store.timezone,
        is_active=store.is_active,
        is_primary=store.is_primary,
        last_sync_at=state.last_sync_at if state else None,
        settings=settings_of(store) if store.settings is not None else None,
        metadata=exact_json.loads(store.metadata) if store.metadata is not None else None,
        user_id=store.user_id,
        team_id=store.team_id,
        created_at=store.created_at,
        updated_at=store.updated_at,
        status=store.status,
        status_reason=schemas.StatusReason(code=reason, text=REASONS[reason]) if reason else None,
        token_expires_at=state.token_expires_at if state else None,
        reauthorize_by=state.reauthorize_by if state else None,
        version=int(store.version),
    )


def settings_of(store: Store) -> dict[str, Any]:
    """The settings as they were given."""
    value: dict[str, Any] = exact_json.loads(store.settings or "{}")
    return value


def sync_interval(store: Store) -> int:
    """Seconds between two syncs of the store."""
    return int(settings_of(store).get("syncInterval") or schemas.DEFAULT_INTERVAL)


def wants_webhooks(store: Store) -> bool:
    """Whether the platform's webhooks should be subscribed."""
    return settings_of(store).get("webhooksEnabled") is not False


def slot_of(store: Store) -> str | None:
    """The store's slot on the wheel; none for one that is off or needs a human."""
    healthy = store.status in {Status.CONNECTED, Status.UNREACHABLE}
    if store.removing or not store.is_active or not healthy:
        return None
    return wheel.slot(store.id, sync_interval(store))


class _NoChange(Exception):
    """It is so already."""


def _get(store_id: str, *, consistent: bool = True) -> Store | None:
    if len(store_id) > LONGEST_ID:
        return None
    try:
        return Store.get(store_id, consistent_read=consistent)
    except DoesNotExist:
        return None


def _maybe(future: Any) -> Any:
    try:
        return future.get()
    except DoesNotExist:
        return None


def _visible(store: Store | None, caller: Caller | None) -> Store:
    if store is None or store.removing or (caller is not None and not caller.sees(store)):
        raise problems.StoreNotFound("There is no store with this id.")
    return store


def _race(steps: Callable[[], list[Step]]) -> None:
    for _ in range(_RACES):
        try:
            commit(steps())
        except _Raced:
            continue
        return
    raise problems.ServiceBusy("Others keep changing the same stores. Try again.")


def _change(
    store_id: str,
    caller: Caller | None,
    expected: int | None,
    now: datetime,
    change: Callable[[Store], list[Step]],
) -> Store:
    """Reads, changes and writes one store, again if somebody else was faster."""
    changed: Store | None = None

    def steps() -> list[Step]:
        nonlocal changed
        store = _visible(_get(store_id), caller)
        require_version(store, expected)
        read = int(store.version)
        old_slot = slot_of(store)
        store.version, store.updated_at = read + 1, now
        further = change(store)
        changed = store
        return [Put(store, Store.version == read, _Raced()), *further, *_move_on_wheel(store, old_slot)]

    _race(steps)
    assert changed is not None
    return changed


def _move_on_wheel(store: Store, old_slot: str | None) -> list[Step]:
    new_slot = slot_of(store)
    if new_slot == old_slot:
        return []
    state = SyncState(store.id)
    action: Action
    if new_slot is None:
        action = SyncState.slot.remove()
    else:
        wheel.remember(sync_interval(store))
        action = SyncState.slot.set(new_slot)
    return [Update(state, [action], SyncState.store_id.exists())]


def _take_primary(store: Store) -> list[Step]:
    claim = primary_claim(store.user_id, store.team_id)
    try:
        held = Claim.get(claim, consistent_read=True)
    except DoesNotExist:
        return [Put(Claim(claim, store=store.id), Claim.claim.does_not_exist(), _Raced())]
    if held.store == store.id:
        return []
    old = _get(held.store)
    if old is None:
        raise _Raced
    read = int(old.version)
    old.is_primary, old.version, old.updated_at = False, read + 1, store.updated_at
    return [
        Update(held, [Claim.store.set(store.id)], Claim.store == old.id, _Raced()),
        Put(old, Store.version == read, _Raced()),
    ]


def _release(claim: str, store_id: str) -> Step:
    return Delete(Claim(claim), Claim.claim.does_not_exist() | (Claim.store == store_id), _Raced())


def _by_creation(caller: Caller, filters: Filters, position: paging.Position | None, limit: int) -> Iterator[Store]:
    """Newest first over the caller's own and their teams' partitions, each store once."""
    before = position["created"] if position else None
    partitions: list[Iterator[Store]] = []
    teams = [filters.team_id] if filters.team_id is not None else sorted(caller.teams)
    for team in teams:
        condition = Store.created_key < before if before else None
        partitions.append(Store.by_team.query(team, condition, scan_index_forward=False, page_size=limit + 1))
    if filters.team_id is None:
        condition = Store.created_key < before if before else None
        partitions.append(Store.by_user.query(caller.user_id, condition, scan_index_forward=False, page_size=limit + 1))
    last = None
    for store in heapq.merge(*partitions, key=lambda store: store.created_key, reverse=True):
        if store.id != last and caller.sees(store) and filters.admit(store):
            yield store
        last = store.id


def _by_last_sync(
    caller: Caller, filters: Filters, position: paging.Position | None
) -> Iterator[tuple[Store, SyncState | None]]:
    """Longest not synced first. An owner's stores are few enough to be sorted here."""
    found = list(_by_creation(caller, filters, None, PAGE_MOST))
    states = _states([store.id for store in found])
    rows = sorted(((store, states.get(store.id)) for store in found), key=_sync_order)
    after = (position["synced"], position["id"]) if position else None
    return (row for row in rows if after is None or _sync_order(row) > after)


def _sync_order(row: tuple[Store, SyncState | None]) -> tuple[str, str]:
    store, state = row
    synced = state.last_sync_at if state else None
    return (clock.to_text(synced) if synced else "0", store.id)  # "0" sorts before every time


def _creation_place(row: tuple[Store, SyncState | None]) -> dict[str, str]:
    return {"created": row[0].created_key}


def _sync_place(row: tuple[Store, SyncState | None]) -> dict[str, str]:
    synced, id = _sync_order(row)
    return {"synced": synced, "id": id}


def _states(ids: list[str]) -> dict[str, SyncState]:
    return {state.store_id: state for state in SyncState.batch_get(ids)} if ids else {}


def _merged(old: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged


def _patched(old: str | None, patch: dict[str, Any] | None) -> dict[str, Any] | None:
    """Stored JSON after the patch; what was valid before and is patched with what is valid stays so."""
    if patch is None:
        return None
    merged: dict[str, Any] = _merged(exact_json.loads(old or "{}"), patch)
    return merged


def settings_text(settings: dict[str, Any] | None) -> str | None:
    """Settings as they are stored, within their limit."""
    if settings is None:
        return None
    text = exact_json.dumps(settings)
    if len(text.encode()) > schemas.SETTINGS_BYTES:
        raise problems.SettingsTooLarge(f"Settings take at most {schemas.SETTINGS_BYTES} bytes as compact JSON.")
    return text


def metadata_text(metadata: dict[str, Any] | None) -> str | None:
    """Metadata as it is stored, within its limit."""
    if metadata is None:
        return None
    text = exact_json.dumps(metadata)
    if len(text.encode()) > schemas.METADATA_BYTES:
        raise problems.MetadataTooLarge(f"Metadata takes at most {schemas.METADATA_BYTES} bytes as compact JSON.")
    return text
