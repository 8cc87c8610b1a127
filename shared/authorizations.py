"""Connecting a store through its platform's own screens: one attempt, ten minutes, used once.

WooCommerce's grant posts the keys unsigned. What makes it safe: the state is unguessable and single-use,
the address is the one that the caller named at the start, and the keys are proved there before anything
is stored. Nothing in the post but the state and the keys is believed.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import SecretStr
from pydantic.alias_generators import to_camel
from pynamodb.exceptions import DoesNotExist, UpdateError

from shared import connecting, exact_json, platforms, problems, schemas, stores
from shared.models import Authorization
from shared.platforms.base import GuidedGrant, Http, PlatformName
from shared.settings import current
from shared.stores import Caller

LIFE = timedelta(minutes=10)
APP_NAME = "storelink"


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
    callback = f"{current().public_url}/authorizations/{new.platform}/callback"
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
    url = adapter.grant_url(address, app_name=APP_NAME, state=state, return_url=callback, callback_url=callback)
    return schemas.AuthorizationView(authorization_url=url, state=state, expires_at=now + LIFE)


def finish(platform: PlatformName, body: bytes, http: Http, now: datetime) -> str:
    """Takes the platform's grant, proves it, and connects or reconnects the store; our id of it."""
    adapter = _granting(platform)
    try:
        state, granted = adapter.read_grant(body)
    except ValueError as error:
        raise problems.BodyMalformed(str(error)) from error
    attempt = _use(platform, state, now)
    try:
        store_id = _connect(attempt, granted, http, now)
    except problems.Problem as problem:
        attempt.update(actions=[Authorization.problem.set(f"{problem.title}. {problem.detail}")])
        raise
    attempt.update(actions=[Authorization.store.set(store_id)])
    return store_id


def outcome(platform: PlatformName, query: Mapping[str, str], now: datetime) -> Authorization:
    """The attempt that the seller's browser comes back from; :class:`Problem` where it did not end well."""
    state, granted = _granting(platform).read_return(query)
    attempt = _find(platform, state, now)
    if attempt.problem is not None:
        raise problems.AuthorizationFailed(attempt.problem)
    if not granted:
        raise problems.AuthorizationDenied("Access was declined at the store. Start again to connect it.")
    if attempt.store is None:
        raise problems.AuthorizationInvalid("The store did not send its keys. Start again to connect it.")
    return attempt


def _granting(platform: PlatformName) -> Any:
    adapter = platforms.get(platform)
    if not isinstance(adapter, GuidedGrant):
        raise problems.PlatformUnavailable(f"Stores of {platform} are not connected through a grant.")
    return adapter


def _find(platform: PlatformName, state: str, now: datetime) -> Authorization:
    try:
        attempt = Authorization.get(state, consistent_read=True) if 20 <= len(state) <= 100 else None
    except DoesNotExist:
        attempt = None
    # DynamoDB removes what has expired within days, so the time is checked here
    if attempt is None or attempt.platform != platform or attempt.expires_at <= now:
        raise problems.AuthorizationInvalid("It is unknown or more than ten minutes old. Start again.")
    return attempt


def _use(platform: PlatformName, state: str, now: datetime) -> Authorization:
    attempt = _find(platform, state, now)
    try:
        attempt.update(
            actions=[Authorization.used_at.set(now)],
            condition=Authorization.state.exists() & Authorization.used_at.does_not_exist(),
        )
    except UpdateError as error:
        if error.cause_response_code != "ConditionalCheckFailedException":
            raise
        raise problems.AuthorizationInvalid("It was used already. Start again.") from error
    return attempt


def _connect(attempt: Authorization, granted: Mapping[str, str], http: Http, now: datetime) -> str:
    saved = exact_json.loads(attempt.request)
    asked, caller = saved["request"], Caller(attempt.user_id, frozenset(saved["teams"]))
    keys = {to_camel(name): SecretStr(value) for name, value in granted.items()}
    if "store" in asked:
        replaced = schemas.NewCredentials.model_validate(keys)
        return str(connecting.reconnect(asked["store"], replaced, caller, None, http, now).id)
    wanted = {
        name: asked[name]
        for name in ("name", "platform", "isPrimary", "settings", "metadata", "teamId")
        if name in asked
    }
    new = schemas.NewStore.model_validate({**wanted, **keys, "domain": attempt.domain})
    return str(connecting.connect(new, caller, http, now).id)
