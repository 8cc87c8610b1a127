"""TikTok Shop's grants: codes, access tokens, refresh tokens that rotate, and what ends them.

https://partner.tiktokshop.com/docv2/page/authorization-overview-202407 says what is given; how long the old
refresh token lives after a refresh it does not say, so the stand-in can be told (``Rules.rotation``).
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from infra.local.sandbox.tiktok_seller import Json, Seller

_DAY = 86_400
SCOPES = ("seller.authorization.info", "seller.order.info", "seller.product.basic", "seller.finance.info")


class Rotation(StrEnum):
    """What becomes of a refresh token that was used."""

    STRICT = "strict"
    """It is dead: who uses it again, thief or not, ends the grant."""
    RETRYABLE = "retryable"
    """It still works, with the same answer, until its replacement is used."""
    NONE = "none"
    """It stays: refreshing gives the same one again."""


@dataclass
class Rules:
    """How tokens live; seconds."""

    rotation: Rotation = Rotation.STRICT
    code_life: int = 1_800
    access_life: int = 7 * _DAY
    authorization_life: int = 365 * _DAY


class TokenRefused(Exception):
    """The token endpoint's answer has this code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Grant:
    """One consent of one seller, and all tokens that came of it."""

    seller: Seller
    scopes: tuple[str, ...]
    ends: int
    refresh_token: str = field(repr=False)
    previous: str = field(default="", repr=False)
    ended: str = ""
    """Why it is over before its time: reuse, deauthorized, revoked."""

    @property
    def alive(self) -> bool:
        """Not ended by anybody; it may still be past its time."""
        return not self.ended


@dataclass
class _Code:
    seller: Seller
    ends: int


class Grants:
    """All grants that sellers gave the app."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.rules = Rules()
        self.scopes: tuple[str, ...] = SCOPES
        """Those of the app; a grant has those that the app had when it was given."""
        self.all: list[Grant] = []
        self._now = now
        self._codes: dict[str, _Code] = {}
        self._by_refresh: dict[str, Grant] = {}
        self._by_access: dict[str, tuple[Grant, int]] = {}

    def authorize(self, seller: Seller) -> str:
        """The seller consents: a code."""
        code = _token(seller)
        self._codes[code] = _Code(seller, self._now() + self.rules.code_life)
        return code

    def exchange(self, code: str) -> Json:
        """A code's tokens, once."""
        found = self._codes.pop(code, None)
        if found is None or found.ends <= self._now():
            raise TokenRefused(36004004, "Invalid auth code.")
        ends = self._now() + self.rules.authorization_life
        grant = Grant(found.seller, self.scopes, ends, _token(found.seller))
        self.all.append(grant)
        self._by_refresh[grant.refresh_token] = grant
        return self._pair(grant)

    def refresh(self, token: str) -> Json:
        """New tokens; how a used refresh token fares, the rules say."""
        grant = self._by_refresh.get(token)
        if grant is None or not grant.alive:
            # Seen from the live host for a token that it does not know.
            raise TokenRefused(36004005, "can not find related auth record")
        if grant.ends <= self._now():
            raise TokenRefused(36004001, "rt has expired")
        if token == grant.refresh_token:
            self._rotate(grant)
        elif token != grant.previous or self.rules.rotation is not Rotation.RETRYABLE:
            grant.ended = "reuse"
            raise TokenRefused(36004005, "can not find related auth record")
        return self._pair(grant)

    def find(self, access_token: str) -> tuple[Grant, int] | None:
        """Whose access token it is, and when it ends."""
        return self._by_access.get(access_token)

    def of(self, seller: Seller) -> list[Grant]:
        """The seller's grants that nobody ended."""
        return [grant for grant in self.all if grant.seller is seller and grant.alive]

    def end(self, seller: Seller, why: str) -> int:
        """The seller's grants end; how many there were."""
        ended = self.of(seller)
        for grant in ended:
            grant.ended = why
        return len(ended)

    def _rotate(self, grant: Grant) -> None:
        if self.rules.rotation is Rotation.NONE:
            return
        grant.previous, grant.refresh_token = grant.refresh_token, _token(grant.seller)
        self._by_refresh[grant.refresh_token] = grant

    def _pair(self, grant: Grant) -> Json:
        # Earlier access tokens live on to their own end (taken: the documents do not say).
        access, ends = _token(grant.seller), min(grant.ends, self._now() + self.rules.access_life)
        self._by_access[access] = (grant, ends)
        return {
            "access_token": access,
            "access_token_expire_in": ends,
            "refresh_token": grant.refresh_token,
            "refresh_token_expire_in": grant.ends,
            "open_id": grant.seller.open_id,
            "seller_name": grant.seller.name,
            "seller_base_region": grant.seller.region,
            "user_type": 0,
            "granted_scopes": list(grant.scopes),
        }


def _token(seller: Seller) -> str:
    return f"{'TTP' if seller.region == 'US' else 'ROW'}_{secrets.token_urlsafe(33)}"
