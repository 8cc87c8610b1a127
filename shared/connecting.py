"""Connecting a store: its credential is proved at the platform before anything is stored."""

import secrets
import string
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic.alias_generators import to_camel
from pynamodb.exceptions import DoesNotExist
from pynamodb.expressions.update import Action

from shared import clients, credentials, exact_json, platforms, problems, schemas, stores, wheel
from shared.keys import KeyUnavailable, Purpose
from shared.models import Credentials, Status, Store, SyncState
from shared.observability import logger
from shared.platforms.base import Connection, Http, Identity, Platform, PlatformError, PlatformName, Refusal
from shared.settings import current
from shared.stores import Caller
from shared.transactions import Update

_REFUSALS: dict[Refusal, type[problems.Problem]] = {
    Refusal.CREDENTIALS: problems.CredentialsRefused,
    Refusal.PERMISSION: problems.PermissionMissing,
    Refusal.ADDRESS: problems.AddressRefused,
    Refusal.UNREACHABLE: problems.PlatformUnreachable,
    Refusal.TRANSIENT: problems.PlatformUnreachable,
    Refusal.NOT_THE_PLATFORM: problems.NotThePlatform,
    Refusal.NOT_FOUND: problems.NotThePlatform,
    Refusal.RATE_LIMITED: problems.PlatformBusy,
    Refusal.REQUEST: problems.NotThePlatform,
}
_LONGEST_NAME = 200
_ALPHABET = string.ascii_letters + string.digits


def connect(new: schemas.NewStore, caller: Caller, http: Http, now: datetime) -> Store:
    """A new store, proved, stored in one transaction, and its first sync queued."""
    from cuid2 import create_id  # only a new store needs one

    caller.require_team(new.team_id)
    adapter = _adapter(new.platform)
    given = new.secrets()
    identity = _prove(adapter, address(adapter, new.domain), given, http)
    if new.store_id is not None and new.store_id != identity.store_id:
        raise problems.IdentityMismatch(f"The credentials open {identity.store_id!r}, not the store that you named.")
    webhook_secret = new.webhook_secret.get_secret_value() if new.webhook_secret else new_webhook_secret()
    store = new_store(create_id(), new, caller, identity, now)
    state = SyncState(store.id, slot=stores.slot_of(store))
    stores.insert(store, sealed(store, given, {"current": webhook_secret}, now), state)
    _begin(store, "connect")
    return store


def new_store(id: str, new: schemas.NewStore, caller: Caller, identity: Identity, now: datetime) -> Store:
    """The row of a store whose credentials opened ``identity``: what the platform says goes first."""
    return Store(
        id,
        name=new.name,
        platform=new.platform,
        store_id=identity.store_id,
        store_name=identity.store_name[:_LONGEST_NAME] if identity.store_name else None,
        domain=identity.domain,
        currency=identity.currency or new.currency or "USD",
        timezone=identity.timezone or new.timezone or "UTC",
        is_active=new.is_active,
        is_primary=new.is_primary,
        settings=stores.settings_text(new.settings.as_json() if new.settings is not None else None),
        metadata=stores.metadata_text(new.metadata),
        user_id=caller.user_id,
        team_id=new.team_id,
        created_at=now,
        updated_at=now,
        status=Status.CONNECTED,
        version=1,
        created_key=stores.created_key(now, id),
        platform_shard=f"{new.platform}#{wheel.shard_of(id)}",
    )


def reconnect(
    store_id: str, new: schemas.NewCredentials, caller: Caller, expected: int | None, http: Http, now: datetime
) -> Store:
    """The store with other credentials; they must open the same store of the platform."""
    store = stores.load(store_id, caller)
    stores.require_version(store, expected)
    adapter = _adapter(PlatformName(store.platform))
    given = new.secrets()
    actions: list[Action] = []
    unchanged = Credentials.store_id.exists()
    if given:
        identity = _prove(adapter, store.domain or "", given, http)
        if identity.store_id != store.store_id:
            raise problems.IdentityMismatch(f"The credentials open {identity.store_id!r}, not {store.store_id!r}.")
        actions.append(Credentials.api_credentials.set(_seal(Purpose.API, store, given, now)))
    if new.webhook_secret is not None:
        old = _webhook_secrets(store)
        known = _unsealed(Purpose.WEBHOOK, store, old, now)
        both = {"current": new.webhook_secret.get_secret_value(), "previous": known["current"]}
        actions.append(Credentials.webhook_secrets.set(_seal(Purpose.WEBHOOK, store, both, now)))
        unchanged &= Credentials.webhook_secrets == old
    busy = problems.ServiceBusy("The store's credentials are being changed. Try again.")
    replace = Update(Credentials(store.id), actions, unchanged, busy)
    store = stores.reconnected(store_id, caller, expected, [replace], proved=bool(given), now=now)
    _begin(store, "reconnect")
    return store


def new_webhook_secret() -> str:
    """A secret for signing webhooks: letters and digits only, which no platform rewrites."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(48))


def open_connection(store: Store, row: Credentials, now: datetime) -> Connection:
    """What an adapter needs to call the store's platform."""
    return Connection(
        domain=store.domain or "",
        credentials=credentials.unseal(Purpose.API, store.id, store.platform, row.api_credentials, now),
        store_id=store.store_id,
        currency=store.currency,
        timezone=store.timezone,
    )


def delivery_url(store: Store, row: Credentials) -> str:
    """Where the store's platform sends its webhooks."""
    return f"{current().public_url}/webhooks/{store.platform}/{row.connection}"


def sealed(store: Store, api: Mapping[str, str], webhook: Mapping[str, str], now: datetime) -> Credentials:
    """A new store's credentials row."""
    return Credentials(
        store.id,
        platform=store.platform,
        api_credentials=_seal(Purpose.API, store, api, now),
        webhook_secrets=_seal(Purpose.WEBHOOK, store, webhook, now),
        connection=f"{store.id}.{secrets.token_urlsafe(24)}",
    )


def enqueue(store_ids: list[str], trigger: str, *, full: bool = False, delay: int = 0, **more: Any) -> None:
    """Queues a sync of the stores; ``delay`` in seconds, at most 900."""
    message = {"stores": store_ids, "trigger": trigger, "full": full, **more}
    clients.sqs().send_message(
        QueueUrl=current().sync_queue_url, MessageBody=exact_json.dumps(message), DelaySeconds=min(delay, 900)
    )


def _adapter(name: PlatformName) -> Platform:
    adapter = platforms.get(name)
    if adapter is None:
        raise problems.PlatformUnavailable(f"Stores of {name} cannot be connected yet.")
    return adapter


def address(adapter: Platform, domain: str | None) -> str:
    """The store's address in the adapter's canonical spelling."""
    try:
        return adapter.normal_domain(domain or "")
    except ValueError as error:
        raise problems.AddressRefused(str(error)) from error


def _prove(adapter: Platform, domain: str, given: Mapping[str, str], http: Http) -> Identity:
    if frozenset(given) not in adapter.credential_sets:
        raise problems.RequestInvalid(_wanted(adapter))
    try:
        return adapter.probe(Connection(domain, given), http)
    except PlatformError as error:
        raise _REFUSALS[error.refusal](error.detail) from error


def _wanted(adapter: Platform) -> str:
    sets = [" and ".join(to_camel(name) for name in sorted(names)) for names in adapter.credential_sets]
    if not sets:
        return f"A store of {adapter.name} is connected through POST /authorizations, not by key."
    return f"A store of {adapter.name} is connected with {', or with '.join(sets)}, and nothing else."


def _begin(store: Store, trigger: str) -> None:
    """Queues the first sync. The store is connected either way, and on the wheel: the next tick finds it."""
    try:
        enqueue([store.id], trigger, full=True)
    except (BotoCoreError, ClientError):
        logger.exception("first_sync_not_queued", store=store.id)


def _webhook_secrets(store: Store) -> bytes:
    try:
        return Credentials.get(store.id, consistent_read=True).webhook_secrets
    except DoesNotExist as error:
        raise problems.StoreNotFound("There is no store with this id.") from error


def _seal(purpose: Purpose, store: Store, plain: Mapping[str, str], now: datetime) -> bytes:
    with _keys_available():
        return credentials.seal(purpose, store.id, store.platform, plain, now)


def _unsealed(purpose: Purpose, store: Store, blob: bytes, now: datetime) -> Mapping[str, str]:
    with _keys_available():
        return credentials.unseal(purpose, store.id, store.platform, blob, now)


@contextmanager
def _keys_available() -> Iterator[None]:
    try:
        yield
    except KeyUnavailable as error:
        raise problems.ServiceBusy("The keys of stored credentials cannot be reached. Try again.") from error
