"""Connecting a store through its platform's own screens: one attempt, ten minutes, used once.

OAuth: the seller's browser comes back with a state and a code. The state is unguessable, single use and
bound to who started the attempt and to the shop; the platform's own proof of the callback is checked before
it is looked up, and whatever can be refused is refused before the code is spent, since on some platforms a
new grant ends the one before it. For that reason, of two grants that come at once, the one is kept that the
platform still takes when both are exchanged: in which order it gave them, only the platform knows.

WooCommerce's grant posts the keys unsigned. What makes it safe: the state again, the address is the one
that the caller named at the start, and the keys are proved there before anything is stored. Nothing in the
post but the state and the keys is believed.
"""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pydantic import SecretStr
from pydantic.alias_generators import to_camel
from pynamodb.exceptions import DoesNotExist, UpdateError

from shared import apps, clock, connecting, credentials, exact_json, platforms, problems, schemas, stores, tokens
from shared.connecting import Proof
from shared.keys import Purpose
from shared.models import Authorization, Credentials, Store
from shared.platforms.base import (
    App,
    Callback,
    Connection,
    GrantsByOAuth,
    GuidedGrant,
    Http,
    Identity,
    PlatformError,
    PlatformName,
    Refusal,
    Tokens,
)
from shared.settings import current
from shared.stores import Caller
from shared.tables import condition_failed

LIFE = timedelta(minutes=10)
APP_NAME = "storelink"
_RIVALS = 3
"""How many other grants of the same store may come while one is being stored."""
_STATE = re.compile(r"[A-Za-z0-9_-]{20,100}")
CHOICE = "choice"
"""The parameter with which the seller chooses one of several stores that a grant covers."""


class Choice(NamedTuple):
    """A store that the seller may choose."""

    store_id: str
    name: str


class Ending(NamedTuple):
    """How an attempt ended: a store of ours, or a choice that the seller must make first."""

    store: str | None
    choices: Sequence[Choice] = ()
    state: str = ""


def start(new: schemas.NewAuthorization, caller: Caller, now: datetime) -> schemas.AuthorizationView:
    """Where to send the seller."""
    caller.require_team(new.team_id)
    adapter = _granting(new.platform)
    domain = new.domain
    if new.store is not None:
        store = stores.load(new.store, caller)
        if store.platform != new.platform:
            raise problems.IdentityMismatch("That store is on another platform.")
        domain = store.domain
    address = connecting.address(adapter, domain)
    state = secrets.token_urlsafe(32)
    url = _consent_url(adapter, address, state)
    Authorization(
        state,
        user_id=caller.user_id,
        platform=new.platform,
        domain=address,
        request=exact_json.dumps(
            {
                "request": new.model_dump(by_alias=True, exclude_unset=True, mode="python"),
                "teams": sorted(caller.teams),
            }
        ),
        created_at=now,
        expires_at=now + LIFE,
    ).save()
    return schemas.AuthorizationView(authorization_url=url, state=state, expires_at=now + LIFE)


def come_back(platform: PlatformName, query: Sequence[tuple[str, str]], http: Http, now: datetime) -> Ending:
    """Ends the attempt that the seller's browser comes back from; :class:`Problem` where it does not end well."""
    adapter = _granting(platform)
    if isinstance(adapter, GuidedGrant):
        return Ending(str(outcome(platform, dict(query), now).store))
    if CHOICE in dict(query):
        return _choose(platform, dict(query), http, now)
    app = connecting.app_of(adapter)
    try:
        callback = adapter.read_callback(app, query, now)
    except ValueError as error:
        raise problems.CallbackInvalid(str(error)) from error
    attempt = _find(platform, callback.state, now)
    if callback.domain not in ("", attempt.domain):
        raise problems.CallbackInvalid("It is about another shop than the one you started with.")
    with connecting.keys_available():
        # tokens that cannot be sealed would be lost, and the code with them
        credentials.make_ready(Purpose.API, _sealed_as(attempt), now)
    attempt = _use(platform, callback.state, now)
    with _noted(attempt):
        return _exchange(adapter, app, attempt, callback, http, now)


def finish(platform: PlatformName, body: bytes, http: Http, now: datetime) -> str:
    """Takes the keys that a store posts, proves them, and connects or reconnects the store; our id of it."""
    adapter = _granting(platform)
    if not isinstance(adapter, GuidedGrant):
        raise problems.PlatformUnavailable(f"{platform} posts no keys.")
    try:
        state, granted = adapter.read_grant(body)
    except ValueError as error:
        raise problems.BodyMalformed(str(error)) from error
    attempt = _use(platform, state, now)
    with _noted(attempt):
        store_id = _connect_by_key(attempt, granted, http, now)
    attempt.update(actions=[Authorization.store.set(store_id)])
    return store_id


def outcome(platform: PlatformName, query: Mapping[str, str], now: datetime) -> Authorization:
    """The attempt that the seller's browser comes back from after the store has posted its keys."""
    state, granted = _granting(platform).read_return(query)
    attempt = _find(platform, state, now)
    if attempt.problem is not None:
        raise problems.AuthorizationFailed(attempt.problem)
    if not granted:
        raise problems.AuthorizationDenied("Access was declined at the store.")
    if attempt.store is None:
        raise problems.AuthorizationInvalid("The store did not send its keys.")
    return attempt


def _granting(platform: PlatformName) -> Any:
    adapter = platforms.get(platform)
    if not isinstance(adapter, GuidedGrant | GrantsByOAuth):
        raise problems.PlatformUnavailable(f"Stores of {platform} are not connected through a grant.")
    return adapter


def _consent_url(adapter: Any, address: str, state: str) -> str:
    back = _return_url(adapter.name)
    if isinstance(adapter, GuidedGrant):
        return adapter.grant_url(address, app_name=APP_NAME, state=state, return_url=back, callback_url=back)
    app = connecting.app_of(adapter)
    challenge = _base64url(hashlib.sha256(_verifier(app, state).encode()).digest())
    try:
        return str(adapter.authorization_url(app, address, state=state, return_url=back, challenge=challenge))
    except PlatformError as error:  # the registration lacks something
        raise problems.PlatformUnavailable(error.detail) from error


def _return_url(platform: PlatformName) -> str:
    return f"{current().public_url}/authorizations/{platform}/callback"


def _verifier(app: App, state: str) -> str:
    """PKCE's secret of an attempt (RFC 7636): made from the state with our secret, so that it need not be stored."""
    return _base64url(hmac.digest(app.client_secret.encode(), f"pkce {state}".encode(), "sha256"))


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _exchange(
    adapter: GrantsByOAuth, app: App, attempt: Authorization, callback: Callback, http: Http, now: datetime
) -> Ending:
    if not callback.code:
        raise problems.AuthorizationDenied("Access was declined at the platform.")
    reconnected = _to_reconnect(attempt)
    _refuse_anothers(adapter, attempt, reconnected)
    replaced = _stored(reconnected).token_hash if reconnected else None
    platform, domain = PlatformName(attempt.platform), attempt.domain
    with connecting.platform_answers():
        came = adapter.exchange(
            app,
            domain,
            callback.code,
            return_url=_return_url(platform),
            verifier=_verifier(app, attempt.state),
            http=http,
            now=now,
        )
        given = {"access_token": came.access_token}
        if came.refresh_token:
            given["refresh_token"] = came.refresh_token
        found = adapter.stores_of(Connection(domain, given, callback.account, app=app), http)
    wanted = _asked_for(reconnected, found)
    if len(wanted) > 1:
        return _offer(attempt, given, came, wanted, now)
    proof = Proof(wanted[0], {**given, **wanted[0].credentials}, came)
    return Ending(_connect(attempt, proof, replaced, http, now))


def _to_reconnect(attempt: Authorization) -> Store | None:
    """The store that the attempt is to reconnect, if it is still there for who asked."""
    asked = _request(attempt)
    return stores.load(asked["store"], _caller(attempt)) if "store" in asked else None


def _refuse_anothers(adapter: GrantsByOAuth, attempt: Authorization, reconnected: Store | None) -> None:
    """A grant for a store that is connected already would end the tokens that it lives on."""
    known = adapter.known_store_id(attempt.domain)
    holder = stores.holder(PlatformName(attempt.platform), known) if known else None
    if holder is not None and (reconnected is None or holder != reconnected.id):
        raise problems.StoreAlreadyConnected("This store is connected already. Reconnect it instead.")


def _asked_for(reconnected: Store | None, found: Sequence[Identity]) -> Sequence[Identity]:
    """The stores of a grant that may be meant: on a reconnect only the very same."""
    if not found:
        raise problems.AuthorizationFailed("The account that approved has no shop that could be connected.")
    if reconnected is None:
        return found
    same = [each for each in found if each.store_id == reconnected.store_id]
    if not same:
        raise problems.IdentityMismatch(
            f"The account that approved opens {found[0].store_id!r}, not {reconnected.store_id!r}."
        )
    return same


def _offer(
    attempt: Authorization, given: Mapping[str, str], came: Tokens, found: Sequence[Identity], now: datetime
) -> Ending:
    """Keeps the tokens, sealed, until the seller has chosen."""
    choices = [Choice(each.store_id, each.store_name or each.store_id) for each in found]
    pending = {
        "given": dict(given),
        "expires": [clock.to_text(end) if end else None for end in (came.expires_at, came.refresh_expires_at)],
        "stores": [{**each._asdict(), "scopes": [], "credentials": dict(each.credentials)} for each in found],
    }
    plain = {"pending": exact_json.dumps(pending)}
    try:
        with connecting.keys_available():
            sealed = credentials.seal(Purpose.API, _sealed_as(attempt), attempt.platform, plain, now)
    except ValueError as error:
        raise problems.AuthorizationFailed("The grant covers too many shops to choose from. Approve fewer.") from error
    attempt.update(actions=[Authorization.pending.set(sealed)])
    return Ending(None, choices, attempt.state)


def _choose(platform: PlatformName, query: Mapping[str, str], http: Http, now: datetime) -> Ending:
    attempt = _find(platform, query.get("state", ""), now)
    if attempt.pending is None:
        raise problems.AuthorizationInvalid("There is nothing left to choose.")
    with connecting.keys_available():
        plain = credentials.unseal(Purpose.API, _sealed_as(attempt), attempt.platform, attempt.pending, now)
    pending = exact_json.loads(plain["pending"])
    found = {each["store_id"]: Identity(**each) for each in pending["stores"]}
    if query[CHOICE] not in found:
        raise problems.AuthorizationInvalid("That shop is not one of those you may choose. Go back and choose again.")
    _take(attempt)
    identity = found[query[CHOICE]]
    expires_at, refresh_expires_at = (clock.from_text(end) if end else None for end in pending["expires"])
    given = pending["given"]
    came = Tokens(given["access_token"], given.get("refresh_token"), expires_at, refresh_expires_at)
    with _noted(attempt):
        return Ending(_connect(attempt, Proof(identity, {**given, **identity.credentials}, came), None, http, now))


def _sealed_as(attempt: Authorization) -> str:
    return f"authorization/{attempt.state}"


def _take(attempt: Authorization) -> None:
    """One choice per grant: two stores must not live on the same tokens."""
    try:
        attempt.update(actions=[Authorization.pending.remove()], condition=Authorization.pending.exists())
    except UpdateError as error:
        if not condition_failed(error):
            raise
        raise problems.AuthorizationInvalid("The choice was made already.") from error


@contextmanager
def _noted(attempt: Authorization) -> Iterator[None]:
    """Keeps with the attempt why it failed."""
    try:
        yield
    except problems.Problem as problem:
        attempt.update(actions=[Authorization.problem.set(f"{problem.title}. {problem.detail}")])
        raise


def _find(platform: PlatformName, state: str, now: datetime) -> Authorization:
    try:
        attempt = Authorization.get(state, consistent_read=True) if _STATE.fullmatch(state) else None
    except DoesNotExist:
        attempt = None
    # DynamoDB removes what has expired within days, so the time is checked here
    if attempt is None or attempt.platform != platform or attempt.expires_at <= now:
        raise problems.AuthorizationInvalid("It is unknown or more than ten minutes old.")
    return attempt


def _use(platform: PlatformName, state: str, now: datetime) -> Authorization:
    attempt = _find(platform, state, now)
    try:
        attempt.update(
            actions=[Authorization.used_at.set(now)],
            condition=Authorization.state.exists() & Authorization.used_at.does_not_exist(),
        )
    except UpdateError as error:
        if not condition_failed(error):
            raise
        raise problems.AuthorizationInvalid("It was used already.") from error
    return attempt


def _request(attempt: Authorization) -> dict[str, Any]:
    asked: dict[str, Any] = exact_json.loads(attempt.request)["request"]
    return asked


def _caller(attempt: Authorization) -> Caller:
    return Caller(attempt.user_id, frozenset(exact_json.loads(attempt.request)["teams"]))


def _connect(attempt: Authorization, proof: Proof, replaced: str | None, http: Http, now: datetime) -> str:
    """Stores what an OAuth grant has proved, as a new store or in place of what was ``replaced``; our id of it."""
    asked, caller = _request(attempt), _caller(attempt)
    if "store" in asked:
        store = stores.load(asked["store"], caller)
        _replace(store, caller, proof, replaced, http, now)
    else:
        try:
            store = connecting.establish(_new_store(attempt, {}), caller, proof, now)
        except problems.StoreAlreadyConnected:
            _keep_alive(attempt, proof, http, now)
            raise
    attempt.update(actions=[Authorization.store.set(store.id)])
    return str(store.id)


def _replace(store: Store, caller: Caller, proof: Proof, replaced: str | None, http: Http, now: datetime) -> None:
    """Gives the store the tokens of a grant, unless it got others meanwhile that have ended them."""
    for _ in range(_RIVALS):
        try:
            connecting.reestablish(store, caller, None, proof, None, now, replaced=replaced)
        except connecting.Overtaken:
            # in this order: whoever comes after the look is met by the next attempt to store
            replaced = _stored(store).token_hash
            if _is_refused(store, proof.credentials, http):
                return
        else:
            return
    raise problems.ServiceBusy("The store is being connected by others too. Start again.")


def _keep_alive(attempt: Authorization, proof: Proof, http: Http, now: datetime) -> None:
    """The store was connected before this grant could be; if the grant has ended its tokens, it is given the new ones.

    Only where it is the caller's own: nobody's grant goes into the store of somebody else.
    """
    caller, id = _caller(attempt), stores.holder(PlatformName(attempt.platform), proof.identity.store_id)
    with suppress(problems.StoreNotFound):
        store = stores.load(id or "", caller)
        row = _stored(store)
        with connecting.keys_available():
            connection = tokens.open_connection(store, row, now)
        if _is_refused(store, connection.credentials, http):
            _replace(store, caller, proof, row.token_hash, http, now)


def _stored(store: Store) -> Credentials:
    try:
        return Credentials.get(store.id, consistent_read=True)
    except DoesNotExist as error:
        raise problems.StoreNotFound("There is no store with this id.") from error


def _is_refused(store: Store, opens: Mapping[str, str], http: Http) -> bool:
    """Whether the platform says that these credentials are dead. What it does not answer is no such word."""
    adapter = connecting.adapter_of(PlatformName(store.platform))
    app = apps.get(adapter.name)
    try:
        adapter.probe(Connection(store.domain or "", opens, store.store_id, app=app), http)
    except PlatformError as error:
        return error.refusal is Refusal.CREDENTIALS
    return False


def _connect_by_key(attempt: Authorization, granted: Mapping[str, str], http: Http, now: datetime) -> str:
    asked, caller = _request(attempt), _caller(attempt)
    keys = {to_camel(name): SecretStr(value) for name, value in granted.items()}
    if "store" in asked:
        replaced = schemas.NewCredentials.model_validate(keys)
        return str(connecting.reconnect(asked["store"], replaced, caller, None, http, now).id)
    return str(connecting.connect(_new_store(attempt, keys), caller, http, now).id)


def _new_store(attempt: Authorization, keys: Mapping[str, SecretStr]) -> schemas.NewStore:
    asked = _request(attempt)
    wanted = {
        name: asked[name]
        for name in ("name", "platform", "isPrimary", "settings", "metadata", "teamId")
        if name in asked
    }
    return schemas.NewStore.model_validate({**wanted, **keys, "domain": attempt.domain or None})
