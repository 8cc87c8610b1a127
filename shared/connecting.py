"""Connecting a store: its credential is proved at the platform before anything is stored."""

import secrets
import string
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr
from pydantic.alias_generators import to_camel
from pynamodb.exceptions import DoesNotExist
from pynamodb.expressions.update import Action

from shared import apps, clients, credentials, exact_json, platforms, problems, schemas, stores, tokens, wheel
from shared.keys import KeyUnavailable, Purpose
from shared.models import Credentials, Status, Store, SyncState
from shared.observability import logger
from shared.platforms.base import (
    App,
    ChecksWebhookSecret,
    Connection,
    GrantsByOAuth,
    Http,
    Identity,
    Platform,
    PlatformError,
    PlatformName,
    Refusal,
    Tokens,
)
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
    Refusal.NOT_UNDERSTOOD: problems.NotThePlatform,
}
_LONGEST_NAME = 200
_ALPHABET = string.ascii_letters + string.digits


class Overtaken(Exception):
    """The store got other tokens than those that were to be replaced."""


class Proof(NamedTuple):
    """What a platform confirmed: whose store it is, and what opens it."""

    identity: Identity
    credentials: Mapping[str, str]
    tokens: Tokens | None = None
    """Where they come from an authorisation, and so with their ends."""

    def __repr__(self) -> str:
        return f"Proof({self.identity!r}, credentials=***)"


def connect(new: schemas.NewStore, caller: Caller, http: Http, now: datetime) -> Store:
    """A new store by key: proved, stored, and its first sync queued."""
    caller.require_team(new.team_id)
    adapter = adapter_of(new.platform)
    _check_webhook_secret(adapter, new.webhook_secret)
    proof = _prove(adapter, address(adapter, new.domain), new.secrets(), new.store_id or "", http)
    if new.store_id is not None and new.store_id != proof.identity.store_id:
        raise problems.IdentityMismatch(
            f"The credentials open {proof.identity.store_id!r}, not the store that you named."
        )
    return establish(new, caller, proof, now)


def establish(new: schemas.NewStore, caller: Caller, proof: Proof, now: datetime) -> Store:
    """The proved store, in one transaction, and its first sync queued."""
    from cuid2 import create_id  # only a new store needs one

    webhook_secret = new.webhook_secret.get_secret_value() if new.webhook_secret else new_webhook_secret()
    store = new_store(create_id(), new, caller, proof.identity, now)
    row = sealed(store, proof.credentials, {"current": webhook_secret}, now, proof.tokens)
    state = SyncState(
        store.id,
        slot=stores.slot_of(store),
        token_expires_at=row.token_expires_at,
        reauthorize_by=row.refresh_expires_at,
    )
    stores.insert(store, row, state)
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
        domain=identity.domain or None,
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
    given = new.secrets()
    proof = None
    adapter = adapter_of(PlatformName(store.platform))
    _check_webhook_secret(adapter, new.webhook_secret)
    if given:
        proof = _prove(adapter, store.domain or "", given, store.store_id, http)
    secret = new.webhook_secret.get_secret_value() if new.webhook_secret is not None else None
    return reestablish(store, caller, expected, proof, secret, now)


def reestablish(
    store: Store,
    caller: Caller,
    expected: int | None,
    proof: Proof | None,
    webhook_secret: str | None,
    now: datetime,
    *,
    replaced: str | None = None,
) -> Store:
    """The store with the credentials that were proved, if they open it and no other, or a new webhook secret.

    With ``replaced``, the hash of its tokens, only while it has these; else :class:`Overtaken`.
    """
    actions: list[Action] = []
    unchanged = Credentials.store_id.exists()
    refusal: Exception = problems.ServiceBusy("The store's credentials are being changed. Try again.")
    values: dict[str, Any] = {}
    if proof is not None:
        if proof.identity.store_id != store.store_id:
            raise problems.IdentityMismatch(
                f"The credentials open {proof.identity.store_id!r}, not {store.store_id!r}."
            )
        actions.append(Credentials.api_credentials.set(_seal(Purpose.API, store, proof.credentials, now)))
        values = tokens.row_values(store.id, store.platform, proof.credentials, proof.tokens, now)
        actions += tokens.setting(Credentials, values)
    if webhook_secret is not None:
        old = _webhook_secrets(store)
        known = _unsealed(Purpose.WEBHOOK, store, old, now)
        both = {"current": webhook_secret, "previous": known["current"]}
        actions.append(Credentials.webhook_secrets.set(_seal(Purpose.WEBHOOK, store, both, now)))
        unchanged &= Credentials.webhook_secrets == old
    if replaced is not None:
        unchanged &= Credentials.token_hash == replaced
        refusal = Overtaken()
    replace = Update(Credentials(store.id), actions, unchanged, refusal)
    store = stores.reconnected(store.id, caller, expected, [replace], proved=proof is not None, now=now)
    if values:
        tokens.show(store.id, values["token_expires_at"], values["refresh_expires_at"])
    _begin(store, "reconnect")
    return store


def new_webhook_secret() -> str:
    """A secret for signing webhooks: letters and digits only, which no platform rewrites."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(48))


def delivery_url(store: Store, row: Credentials) -> str:
    """Where the store's platform sends its webhooks."""
    return f"{current().public_url}/webhooks/{store.platform}/{row.connection}"


def sealed(
    store: Store, api: Mapping[str, str], webhook: Mapping[str, str], now: datetime, came: Tokens | None = None
) -> Credentials:
    """A new store's credentials row."""
    return Credentials(
        store.id,
        platform=store.platform,
        api_credentials=_seal(Purpose.API, store, api, now),
        webhook_secrets=_seal(Purpose.WEBHOOK, store, webhook, now),
        connection=f"{store.id}.{secrets.token_urlsafe(24)}",
        **tokens.row_values(store.id, store.platform, api, came, now),
    )


def enqueue(store_ids: list[str], trigger: str, *, full: bool = False, delay: int = 0, **more: Any) -> None:
    """Queues a sync of the stores; ``delay`` in seconds, at most 900."""
    message = {"stores": store_ids, "trigger": trigger, "full": full, **more}
    clients.sqs().send_message(
        QueueUrl=current().sync_queue_url, MessageBody=exact_json.dumps(message), DelaySeconds=min(delay, 900)
    )


def adapter_of(name: PlatformName) -> Platform:
    """The platform's adapter."""
    adapter = platforms.get(name)
    if adapter is None:
        raise problems.PlatformUnavailable(f"Stores of {name} cannot be connected.")
    return adapter


def address(adapter: Platform, domain: str | None) -> str:
    """The store's address in the adapter's canonical spelling."""
    try:
        return adapter.normal_domain(domain or "")
    except ValueError as error:
        raise problems.AddressRefused(str(error)) from error


def _prove(adapter: Platform, domain: str, given: Mapping[str, str], store_id: str, http: Http) -> Proof:
    if frozenset(given) not in adapter.credential_sets:
        raise problems.RequestInvalid(_wanted(adapter))
    app = app_of(adapter) if isinstance(adapter, GrantsByOAuth) else None
    with platform_answers():
        identity = adapter.probe(Connection(domain, given, store_id, app=app), http)
    return Proof(identity, {**given, **identity.credentials})


@contextmanager
def platform_answers() -> Iterator[None]:
    """Turns a platform's refusal into the problem that the caller sees."""
    try:
        yield
    except PlatformError as error:
        raise _REFUSALS[error.refusal](error.detail) from error


def app_of(adapter: GrantsByOAuth) -> App:
    """Our registration at the platform."""
    try:
        return apps.get(adapter.name)
    except apps.AppMissing as error:
        raise problems.PlatformUnavailable(f"This service is not registered at {adapter.name}.") from error


def _check_webhook_secret(adapter: Platform, secret: SecretStr | None) -> None:
    """A secret under which nothing could ever be verified is refused now."""
    if secret is not None and isinstance(adapter, ChecksWebhookSecret):
        try:
            adapter.check_webhook_secret(secret.get_secret_value())
        except ValueError as error:
            raise problems.RequestInvalid(str(error)) from error


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
    with keys_available():
        return credentials.seal(purpose, store.id, store.platform, plain, now)


def _unsealed(purpose: Purpose, store: Store, blob: bytes, now: datetime) -> Mapping[str, str]:
    with keys_available():
        return credentials.unseal(purpose, store.id, store.platform, blob, now)


@contextmanager
def keys_available() -> Iterator[None]:
    """Turns keys that cannot be reached into the problem that the caller sees."""
    try:
        yield
    except KeyUnavailable as error:
        raise problems.ServiceBusy("The keys of stored credentials cannot be reached. Try again.") from error
