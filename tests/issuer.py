"""A token endpoint as a model: it rotates refresh tokens and takes a spent one again as Shopify does.

https://shopify.dev/changelog (28 August 2026): a spent refresh token can be retried until the pair that
replaced it has been used, for 30 days; a retry gives another replacement, and the earlier one is dead.
What Shopify does to whoever reuses a dead token is not said, so here it is the worst: the grant is revoked.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count

from shared import connecting, credentials, stores
from shared.keys import Purpose
from shared.models import Credentials, Status, Store, SyncState
from shared.platforms.base import Connection, PlatformError, PlatformName, Refusal, Tokens


class InvalidGrant(PlatformError):
    """What the endpoint says of a refresh token that it does not take."""

    def __init__(self) -> None:
        super().__init__(Refusal.CREDENTIALS, "invalid_grant", status=400)


@dataclass
class Grant:
    """What a seller approved once: a family of pairs."""

    number: int
    ended: bool = False
    """Replaced by a later approval, or taken back by the seller."""
    revoked: bool = False
    """A dead token was used: for ever, and by our fault."""


@dataclass
class Pair:
    """An access token and the refresh token that came with it."""

    grant: Grant
    access_token: str
    refresh_token: str
    access_ends: datetime
    refresh_ends: datetime
    used: bool = False
    replacement: "Pair | None" = None
    first_spent: datetime | None = None
    replaced: bool = False
    """A retry gave another pair in its place."""


@dataclass
class Issuer:
    """Gives pairs, replaces them, and judges what a worker comes with. Time is what it is told."""

    access_life: timedelta = timedelta(hours=1)
    refresh_life: timedelta = timedelta(days=90)
    retry_for: timedelta = timedelta(days=30)
    rotates: bool = True
    tells_ends: bool = True
    """Whether an answer says how long its tokens live."""
    repeats_refresh_token: bool = True
    """Whether an answer has a refresh token where that did not change."""
    pairs: list[Pair] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    refreshes: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    _numbers: "count[int]" = field(default_factory=count)

    def approve(self, now: datetime) -> Tokens:
        """A seller's approval; what was granted before ends."""
        self.take_back()
        self.grants.append(Grant(len(self.grants)))
        return self._answer(self._issue(self.grants[-1], now), now)

    def take_back(self) -> None:
        """The seller removes the app."""
        for grant in self.grants:
            grant.ended = True

    def begin(self) -> None:
        """A refresh is under way."""
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def end(self) -> None:
        """It was answered, whether or not anybody hears it."""
        self.in_flight -= 1

    def refresh(self, connection: Connection, now: datetime) -> Tokens:
        """One refresh, from its beginning to its answer."""
        self.begin()
        try:
            return self.answer(connection.credentials.get("refresh_token", ""), now)
        finally:
            self.end()

    def answer(self, refresh_token: str, now: datetime) -> Tokens:
        """Another pair, or the access token alone where refresh tokens stay."""
        self.refreshes += 1
        spent = self._of_refresh_token(refresh_token)
        if spent is None or spent.grant.ended or spent.grant.revoked or now >= spent.refresh_ends:
            raise InvalidGrant
        if not self.rotates:
            return self._answer(self._issue(spent.grant, now, spent), now)
        if self.is_dead(spent):
            spent.grant.revoked = True
            raise InvalidGrant
        if spent.first_spent is not None and now - spent.first_spent > self.retry_for:
            raise InvalidGrant
        if spent.replacement is not None:
            spent.replacement.replaced = True
        spent.used, spent.first_spent = True, spent.first_spent or now
        spent.replacement = self._issue(spent.grant, now)
        return self._answer(spent.replacement, now)

    def admit(self, access_token: str, now: datetime) -> None:
        """A call of the API with an access token, which is how a pair is used."""
        pair = next((each for each in self.pairs if each.access_token == access_token), None)
        if pair is None or pair.grant.ended or pair.grant.revoked or pair.replaced or now >= pair.access_ends:
            raise PlatformError(Refusal.CREDENTIALS, "The access token is refused.", status=401)
        pair.used = True

    def would_take(self, refresh_token: str, now: datetime) -> bool:
        """Whether the grant lives for whoever has this refresh token."""
        pair = self._of_refresh_token(refresh_token)
        if pair is None or pair.grant.ended or pair.grant.revoked or now >= pair.refresh_ends:
            return False
        late = pair.first_spent is not None and now - pair.first_spent > self.retry_for
        return not self.rotates or not (late or self.is_dead(pair))

    def is_dead(self, pair: Pair) -> bool:
        """Whether using the pair's refresh token would revoke the grant."""
        return pair.replaced or (pair.replacement is not None and pair.replacement.used)

    def grant_of(self, refresh_token: str) -> Grant:
        """The grant that a refresh token belongs to."""
        pair = self._of_refresh_token(refresh_token)
        assert pair is not None
        return pair.grant

    def _of_refresh_token(self, refresh_token: str) -> Pair | None:
        return next((each for each in self.pairs if each.refresh_token == refresh_token), None)

    def _issue(self, grant: Grant, now: datetime, keeps: Pair | None = None) -> Pair:
        number = next(self._numbers)
        refresh_token = keeps.refresh_token if keeps else f"refresh-{grant.number}-{number}"
        refresh_ends = keeps.refresh_ends if keeps else now + self.refresh_life
        access_token = f"access-{grant.number}-{number}"
        self.pairs.append(Pair(grant, access_token, refresh_token, now + self.access_life, refresh_ends))
        return self.pairs[-1]

    def _answer(self, pair: Pair, now: datetime) -> Tokens:
        told = self.repeats_refresh_token or self.rotates or len(self.pairs) == 1
        return Tokens(
            pair.access_token,
            pair.refresh_token if told else None,
            pair.access_ends if self.tells_ends else None,
            pair.refresh_ends if self.tells_ends else None,
        )


def connect(id: str, given: Tokens, now: datetime, *, active: bool = True) -> Store:
    """A store on these tokens, as finishing its authorisation would leave it."""
    store = Store(
        id,
        name="Shop",
        platform=PlatformName.SHOPIFY,
        store_id=f"{id}.example.com",
        domain=f"https://{id}.example.com",
        currency="EUR",
        timezone="UTC",
        is_active=active,
        is_primary=False,
        settings='{"syncInterval":300}',
        user_id="user1",
        created_at=now,
        updated_at=now,
        status=Status.CONNECTED,
        version=1,
        created_key=stores.created_key(now, id),
        platform_shard="SHOPIFY#0",
    )
    row = connecting.sealed(store, pair_of(given), {"current": "w" * 48}, now, given)
    stores.insert(store, row, SyncState(id, slot=stores.slot_of(store)))
    return store


def pair_of(given: Tokens) -> dict[str, str]:
    """What is sealed of an answer."""
    both = {"access_token": given.access_token, "refresh_token": given.refresh_token}
    return {name: token for name, token in both.items() if token}


def opened(row: Credentials, now: datetime) -> dict[str, str]:
    """A row's secrets, in clear."""
    return credentials.unseal(Purpose.API, row.store_id, row.platform, row.api_credentials, now)
