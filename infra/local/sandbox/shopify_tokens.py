"""An app's tokens in one Shopify shop: granted, rotated, retried after a lost answer, migrated, revoked.

The rules are those of
https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/offline-access-tokens and of the
changelog's entries of 2026-08-28 on resilient refreshes and on resilient token exchanges. Where they leave room
this issuer is strict, and ``Rules`` relaxes it.
"""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

CODE_LIFE = 60
ACCESS_LIFE = 3600
REFRESH_LIFE = 90 * 86_400
_RETRY_LIFE = 30 * 86_400
_MIGRATION_LIFE = 7 * 86_400


class GrantError(Exception):
    """What the token endpoint answers when it refuses."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.body: Json = {"error": error, "error_description": description}


@dataclass
class Rules:
    """How strict the issuer is, and how it words a refusal."""

    revoke_on_reuse: bool = True
    """A refresh token presented after its replacement was used revokes the whole grant."""
    access_counts_as_use: bool = True
    """An API call with the new access token retires the old refresh token, not only the next refresh."""
    access_survives_refresh: bool = False
    """The old access token lives out its hour beside the new one."""
    observed_refusal: bool = False
    """A dead refresh token is answered as apps see it in production, 401 ``invalid_request`` (e.g.
    https://community.shopify.dev/t/520-during-refresh-token-rotation-permanently-orphans-the-offline-access-token/35182),
    and not as Shopify's library expects in its tests, 400 ``invalid_grant``."""
    refuse_permanent: bool = False
    """The policy for public apps is in force: permanent tokens get 403."""


@dataclass
class Pair:
    """An access token, with a refresh token where it expires."""

    access: str = field(repr=False)
    scopes: tuple[str, ...]
    issued: float
    refresh: str = field(default="", repr=False)
    expires: float | None = None
    refresh_expires: float | None = None
    access_dead: bool = False
    dead: bool = False
    """Replaced or revoked: neither token works."""
    used: bool = False
    """Either token was used: the refresh token that made this pair is retired."""
    first_refreshed: float | None = None
    replacement: "Pair | None" = None


class Tokens:
    """What one app holds in one shop."""

    def __init__(self, now: Callable[[], float], rng: random.Random, rules: Rules) -> None:
        self.rules = rules
        self.installed = False
        self.scopes: tuple[str, ...] = ()
        self._now = now
        self._random = rng
        self._codes: dict[str, tuple[tuple[str, ...], float]] = {}
        self._pairs: list[Pair] = []
        self._migrated: dict[str, tuple[Pair, float]] = {}

    # Consent

    def code(self, scopes: Collection[str]) -> str:
        """The merchant approved: a code for the app, to be used once and soon."""
        code = self._random.randbytes(16).hex()
        self._codes[code] = (tuple(scopes), self._now() + CODE_LIFE)
        return code

    def redeem(self, code: str, *, expiring: bool) -> Json:
        """A code for a token; the app's earlier tokens in this shop end."""
        scopes, until = self._codes.pop(code, ((), 0.0))
        if self._now() >= until:
            # These words: https://github.com/nozzlegear/ShopifySharp/issues/70
            raise GrantError(400, "invalid_request", "The authorization code was not found or was already used")
        kept = None if expiring else self._permanent()
        self.revoke(keep=kept)
        self.installed, self.scopes = True, scopes
        if kept:
            kept.scopes = scopes  # Shopify gives the same permanent token again
            return _answer(kept, self._now())
        return _answer(self._issue(scopes, expiring=expiring), self._now())

    def permanent(self, scopes: Collection[str]) -> str:
        """A token of the old kind, as apps got before tokens expired."""
        self.installed, self.scopes = True, tuple(scopes)
        return self._issue(self.scopes, expiring=False).access

    # Use

    def check(self, access: str) -> Pair | None:
        """The pair that opens an API call; its use is remembered."""
        now = self._now()
        for pair in self._pairs:
            if pair.access == access and not (pair.dead or pair.access_dead):
                if pair.expires is not None and now >= pair.expires:
                    return None
                pair.used = pair.used or self.rules.access_counts_as_use
                return pair
        return None

    def refresh(self, token: str) -> Json:
        """A refresh token for a new pair, at first or again while the new pair is unused."""
        now = self._now()
        pair = next((one for one in self._pairs if one.refresh and one.refresh == token), None)
        if pair is None or pair.dead or pair.refresh_expires is None or now >= pair.refresh_expires:
            raise self._inactive()
        if pair.replacement is None:
            pair.first_refreshed = now
        elif pair.replacement.used:
            self._reused()
        elif now - (pair.first_refreshed or 0) >= _RETRY_LIFE:
            raise self._inactive()
        else:
            pair.replacement.dead = True
        pair.used = True
        pair.access_dead = pair.access_dead or not self.rules.access_survives_refresh
        pair.replacement = self._issue(pair.scopes, expiring=True)
        return _answer(pair.replacement, now)

    def migrate(self, token: str) -> Json:
        """A permanent token for an expiring pair; the same pair again while it was not refreshed."""
        now = self._now()
        if token in self._migrated:
            return self._migrated_again(*self._migrated[token])
        pair = next((one for one in self._pairs if one.access == token and not one.dead and not one.refresh), None)
        if pair is None:
            raise GrantError(400, "invalid_subject_token", "Subject token is invalid")
        pair.dead = True
        new = self._issue(pair.scopes, expiring=True)
        self._migrated[token] = new, now
        return _answer(new, now)

    def _migrated_again(self, pair: Pair, since: float) -> Json:
        now = self._now()
        if pair.dead or pair.replacement or now - since >= _MIGRATION_LIFE:
            raise GrantError(400, "invalid_subject_token", "Subject token is invalid")
        pair.expires = max(pair.expires or 0, now + ACCESS_LIFE)
        return _answer(pair, now)

    # Ends

    def revoke(self, *, keep: Pair | None = None) -> None:
        """All tokens end at once."""
        for pair in self._pairs:
            pair.dead = pair is not keep
        self._codes.clear()

    def change_scopes(self, scopes: Collection[str]) -> None:
        """The tokens there are open more, or less."""
        self.scopes = tuple(scopes)
        for pair in self._pairs:
            pair.scopes = self.scopes

    def living(self) -> list[Pair]:
        """Pairs that a call or a refresh could still use."""
        now = self._now()
        return [one for one in self._pairs if not one.dead and not (one.refresh_expires and now >= one.refresh_expires)]

    def _permanent(self) -> Pair | None:
        return next((one for one in self._pairs if not one.dead and not one.refresh), None)

    def _reused(self) -> None:
        if self.rules.revoke_on_reuse:
            self.revoke()
        raise self._inactive()

    def _inactive(self) -> GrantError:
        if self.rules.observed_refusal:
            return GrantError(401, "invalid_request", "This request requires an active refresh_token")
        return GrantError(400, "invalid_grant", "The refresh token is invalid or expired")

    def _issue(self, scopes: tuple[str, ...], *, expiring: bool) -> Pair:
        now = self._now()
        pair = Pair(f"shpat_{self._random.randbytes(16).hex()}", scopes, now)
        if expiring:
            pair.refresh = f"shprt_{self._random.randbytes(16).hex()}"
            pair.expires, pair.refresh_expires = now + ACCESS_LIFE, now + REFRESH_LIFE
        self._pairs.append(pair)
        return pair


def _answer(pair: Pair, now: float) -> Json:
    told: Json = {"access_token": pair.access, "scope": ",".join(pair.scopes)}
    if pair.expires is None or pair.refresh_expires is None:
        return told
    return told | {
        "expires_in": int(pair.expires - now),
        "refresh_token": pair.refresh,
        "refresh_token_expires_in": int(pair.refresh_expires - now),
    }
