"""A platform at the adapter's port: a shop in memory whose every answer a test decides."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from moto.backends import get_backend

from shared import apps, clients, clock, connecting, settings, stores
from shared.models import Status, Store, SyncState
from shared.platforms.base import (
    App,
    Callback,
    Connection,
    Http,
    Identity,
    IdPage,
    Json,
    Page,
    PlatformError,
    PlatformName,
    Record,
    Refusal,
    Resource,
    Subscribed,
    Tokens,
)
from shared.tables import table_name


@dataclass
class FakePlatform:
    """Pages by time of change, as WooCommerce's adapter does, two records a page."""

    name: PlatformName = PlatformName.WOO_COMMERCE
    credential_sets: tuple[frozenset[str], ...] = (frozenset({"api_key", "api_secret"}),)
    shop: dict[Resource, dict[str, Record]] = field(default_factory=lambda: {each: {} for each in Resource})
    page_size: int = 2
    calls: list[str] = field(default_factory=list)
    before: Callable[[str], None] = lambda call: None
    """Called with each call's name first: a test raises or changes things there."""

    def put(self, resource: Resource, id: str, updated_at: datetime, **body: object) -> None:
        self.shop[resource][id] = Record(id, updated_at, {"id": id, "updatedAt": clock.short(updated_at), **body})

    def take(self, resource: Resource, id: str) -> None:
        del self.shop[resource][id]

    def _called(self, call: str) -> None:
        self.calls.append(call)
        self.before(call)

    def normal_domain(self, text: str) -> str:
        return text

    def probe(self, connection: Connection, http: Http) -> Identity:
        self._called("probe")
        return Identity("shop.example.com", "https://shop.example.com", "Shop", "EUR", "Europe/Berlin")

    def fetch(self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime) -> Page:
        self._called(f"fetch {resource}")
        after = (cursor or {}).get("after", "")
        rows = sorted(self.shop[resource].values(), key=lambda record: (record.updated_at, record.id))
        rest = [record for record in rows if f"{clock.to_text(record.updated_at)}{record.id}" > after]
        page = rest[: self.page_size]
        last = f"{clock.to_text(page[-1].updated_at)}{page[-1].id}" if page else after
        return Page(page, {"after": last}, done=len(rest) <= self.page_size)

    def fetch_one(self, connection: Connection, resource: Resource, id: str, http: Http) -> Record:
        self._called(f"fetch_one {resource} {id}")
        if id not in self.shop[resource]:
            raise PlatformError(Refusal.NOT_FOUND, "It does not exist.", status=404)
        return self.shop[resource][id]

    def list_ids(
        self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime
    ) -> IdPage:
        self._called(f"list_ids {resource}")
        return IdPage(sorted(self.shop[resource]), {}, done=True)

    def reconcile(self, connection: Connection, delivery_url: str, secret: str, http: Http) -> Subscribed:
        self._called("reconcile")
        return Subscribed()

    def unsubscribe(self, connection: Connection, delivery_url: str, http: Http) -> None:
        self._called("unsubscribe")


def register_app(platform: PlatformName = PlatformName.SHOPIFY, **registration: str) -> None:
    """Our registration at the platform, where an operator puts it; nothing older is remembered."""
    name = f"{settings.current().apps}/{platform}"
    text = json.dumps({"clientId": "storelink", "clientSecret": "app-secret-1", **registration})
    try:
        clients.secrets().put_secret_value(SecretId=name, SecretString=text)
    except clients.secrets().exceptions.ResourceNotFoundException:
        clients.secrets().create_secret(Name=name, SecretString=text)
    apps.forget()


class NoHttp:
    """Nothing may be called."""

    def request(self, method: str, url: str, **_: object) -> object:
        raise AssertionError(f"{method} {url} was called")


class Clock:
    """A time that moves when a test says so, and a little with each look."""

    def __init__(self, start: datetime, step: timedelta = timedelta(milliseconds=1)) -> None:
        self.time = start
        self.step = step

    def __call__(self) -> datetime:
        self.time += self.step
        return self.time

    def advance(self, **by: float) -> None:
        self.time += timedelta(**by)


def connected(id: str, now: datetime, *, interval: int = 300) -> Store:
    """A store in the tables, as connecting it would leave it."""
    row = Store(
        id,
        name="Shop",
        platform="WOO_COMMERCE",
        store_id=f"{id}.example.com",
        domain=f"https://{id}.example.com",
        currency="EUR",
        timezone="UTC",
        is_active=True,
        is_primary=False,
        settings=f'{{"syncInterval":{interval}}}',
        user_id="user1",
        created_at=now,
        updated_at=now,
        status=Status.CONNECTED,
        version=1,
        created_key=stores.created_key(now, id),
        platform_shard="WOO_COMMERCE#0",
    )
    secrets = connecting.sealed(row, {"api_key": "ck_1", "api_secret": "cs_1"}, {"current": "w" * 48}, now)
    stores.insert(row, secrets, SyncState(id, slot=stores.slot_of(row)))
    return row


def granted(id: str, came: Tokens, now: datetime) -> Store:
    """The same, through OAuth, with the tokens that came."""
    row = Store(
        id,
        name="Shop",
        platform="SHOPIFY",
        store_id=f"{id}.example.com",
        domain=f"https://{id}.example.com",
        currency="EUR",
        timezone="UTC",
        is_active=True,
        is_primary=False,
        user_id="user1",
        created_at=now,
        updated_at=now,
        status=Status.CONNECTED,
        version=1,
        created_key=stores.created_key(now, id),
        platform_shard="SHOPIFY#0",
    )
    pair = {"access_token": came.access_token, "refresh_token": came.refresh_token or ""}
    secrets = connecting.sealed(row, pair, {"current": "w" * 48}, now, came)
    stores.insert(row, secrets, SyncState(id, slot=stores.slot_of(row)))
    return row


def _no_tokens(*_: object) -> Tokens:
    raise PlatformError(Refusal.CREDENTIALS, "The grant is dead.", status=400)


def _admits(*_: object) -> None:
    """Every token is good."""


@dataclass
class FakeOAuthPlatform(FakePlatform):
    """The same shop behind OAuth: who gives the tokens is a test's business, or that of ``issuer.Issuer``."""

    name: PlatformName = PlatformName.SHOPIFY
    credential_sets: tuple[frozenset[str], ...] = (
        frozenset({"access_token"}),
        frozenset({"access_token", "refresh_token"}),
    )
    token_life: timedelta = timedelta(hours=1)
    identities: tuple[Identity, ...] = (
        Identity("shop.example.com", "https://shop.example.com", "Shop", "EUR", "Europe/Berlin"),
    )
    """What a grant covers."""
    exchanges: Callable[[str, datetime], Tokens] = _no_tokens
    """A code and the time, for tokens."""
    refreshes: Callable[[Connection, datetime], Tokens] = _no_tokens
    """A pair and the time, for another pair."""
    admits: Callable[[Connection], None] = _admits
    """Called with what every call to the shop came with: refuses by raising."""

    def probe(self, connection: Connection, http: Http) -> Identity:
        self._called("probe")
        self.admits(connection)
        return self.identities[0]

    def fetch(self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime) -> Page:
        page = super().fetch(connection, resource, cursor, http, now)
        self.admits(connection)
        return page

    def fetch_one(self, connection: Connection, resource: Resource, id: str, http: Http) -> Record:
        self.admits(connection)
        return super().fetch_one(connection, resource, id, http)

    def list_ids(
        self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime
    ) -> IdPage:
        self.admits(connection)
        return super().list_ids(connection, resource, cursor, http, now)

    def authorization_url(self, app: App, domain: str, *, state: str, return_url: str, challenge: str) -> str:
        self._called("authorization_url")
        query = {"client_id": app.client_id, "state": state, "redirect_uri": return_url, "code_challenge": challenge}
        return f"{domain or 'https://platform.example.com'}/authorize?{urlencode(query)}"

    def read_callback(self, app: App, query: Sequence[tuple[str, str]], now: datetime) -> Callback:
        self._called("read_callback")
        given = dict(query)
        if "state" not in given:
            raise ValueError("The state is missing.")
        return Callback(given["state"], given.get("code", ""), given.get("shop", ""))

    def known_store_id(self, domain: str) -> str | None:
        self._called("known_store_id")
        return domain.removeprefix("https://") or None

    def exchange(
        self, app: App, domain: str, code: str, *, return_url: str, verifier: str, http: Http, now: datetime
    ) -> Tokens:
        self._called(f"exchange {code}")
        return self.exchanges(code, now)

    def stores_of(self, connection: Connection, http: Http) -> Sequence[Identity]:
        self._called("stores_of")
        self.admits(connection)
        return self.identities

    def refresh(self, connection: Connection, http: Http, now: datetime) -> Tokens:
        self._called("refresh")
        return self.refreshes(connection, now)


class Killed(BaseException):
    """The process ends here: nothing of ours may catch it."""


@dataclass
class Steps:
    """What runs, step by step: each AWS call before it takes effect, and after, before we hear of it.

    A test adds its own by calling it, and says with :attr:`then` what befalls whom at step :attr:`at`.
    """

    at: int | None = None
    then: Callable[[str], None] | None = None
    taken: list[str] = field(default_factory=list)
    counting: bool = True
    """Off while the test itself looks at AWS."""
    dead: bool = False
    """A killed process takes no further step, whatever its context managers would still like to do."""
    after_each: Callable[[str], None] = lambda step: None
    """Called after each AWS call that was answered."""

    def __call__(self, step: str) -> None:
        if self.dead:
            raise Killed(step)
        self.taken.append(step)
        if len(self.taken) - 1 == self.at and self.then:
            self.then(step)

    def kill(self, step: str) -> None:
        """The process ends at this step."""
        self.dead = True
        raise Killed(step)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What happens within is the test's, and is no step."""
        before, self.counting = self.counting, False
        try:
            yield
        finally:
            self.counting = before

    def watch(self, *services: str) -> None:
        """Takes the calls of these AWS clients for steps, as long as the account lives."""
        for service in services:
            events = getattr(clients, service)().meta.events
            events.register("before-call", self._before)
            events.register("after-call", self._after)

    def _before(self, model: Any, **_: object) -> None:
        if self.counting:
            self(f"before {model.name}")

    def _after(self, model: Any, **_: object) -> None:
        if self.counting:
            with self.aside():
                self.after_each(model.name)
            self(f"after {model.name}")


def held(table: str) -> list[Json]:
    """The rows of one of our tables as a stream shows them, out of moto's own memory: looking is no call."""
    account = get_backend("dynamodb")["123456789012"]["eu-central-1"]
    rows = account.tables[table_name(table)].items.values()
    found = [row for each in rows for row in (each.values() if isinstance(each, dict) else [each])]
    return [{name: value.to_json() for name, value in row.attrs.items()} for row in found]
