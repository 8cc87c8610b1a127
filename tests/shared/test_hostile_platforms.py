"""Platforms that answer as no platform should, over TLS, behind the client and the adapters that production has.

Each message names three stores of a platform, and one of them is hostile: its run ends with the outcome and the
reason that fit, its cursor stays where it was, and the other two are synced as if nothing were.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from fakes import register_app

from infra.local.sandbox import shopify_shop, tiktok_seller, woo_shop
from infra.local.sandbox.faults import Fault, Faults, Kind
from infra.local.sandbox.server import APPS, HOSTS, Running, serve
from shared import apps, clock, connecting, exact_json, platforms, stores, sync
from shared.egress import Egress
from shared.models import Outcome, Status, Store, SyncState
from shared.platforms.base import Answer, Connection, GrantsByOAuth, PlatformName, Tokens

SECONDS = 1.5
"""For a whole call, in place of 30."""
Json = dict[str, Any]


class Hostile(NamedTuple):
    """A fault for ever, and how a run that meets it ends."""

    reason: str
    fault: Fault


FAULTS = {
    "429": Hostile("RATE_LIMITED", Fault(Kind.STATUS, status=429, retry_after="3600", body="{}")),
    "503": Hostile("TRANSIENT", Fault(Kind.STATUS, status=503)),
    "html": Hostile("NOT_THE_PLATFORM", Fault(Kind.HTML)),
    "reset": Hostile("TRANSIENT", Fault(Kind.RESET)),
    "hang": Hostile("UNREACHABLE", Fault(Kind.HANG)),
    "byte by byte": Hostile("UNREACHABLE", Fault(Kind.TRICKLE, seconds=SECONDS + 0.5)),
    "endless": Hostile("NOT_THE_PLATFORM", Fault(Kind.ENDLESS)),
    "gzip bomb": Hostile("NOT_THE_PLATFORM", Fault(Kind.GZIP_BOMB, size=64 << 20)),
    "broken JSON": Hostile("NOT_THE_PLATFORM", Fault(Kind.BROKEN_JSON)),
    "redirect": Hostile("ADDRESS", Fault(Kind.REDIRECT, location="other_host")),
    "redirect inside": Hostile("ADDRESS", Fault(Kind.REDIRECT, location="private_address")),
}


@dataclass
class Site:
    """A shop at the sandbox, and our store of it."""

    id: str
    faults: Faults


@dataclass
class Sites:
    """Three shops of one platform; the first can be made hostile."""

    platform: PlatformName
    http: Egress
    all: list[Site] = field(default_factory=list)

    @property
    def bad(self) -> Site:
        """The one."""
        return self.all[0]

    def sync(self, http: Any = None) -> None:
        """A message for all of them; what an earlier fault left of waiting is over."""
        for site in self.all:
            SyncState(site.id).update(actions=[SyncState.not_before.remove()])
        body = {"trigger": "request", "stores": [site.id for site in self.all]}
        deadline = clock.now() + timedelta(minutes=5)
        sync.work_off(exact_json.dumps(body), http or self.http, clock.now, deadline)


def ended(site: Site, since: datetime) -> tuple[str, str | None] | None:
    """How the store's run since then ended."""
    rows = sync.history(site.id, 1, None)[0]
    if not rows or clock.from_text(rows[0].started_at) < since:
        return None
    return rows[0].outcome, rows[0].reason


def state(site: Site) -> SyncState:
    return SyncState.get(site.id, consistent_read=True)


def place(row: SyncState) -> Json:
    """Where the cursors stand. How large the next page is, and that a cycle has begun, are no place."""
    cursors = exact_json.loads(row.checkpoint)
    return {
        name: {part: value for part, value in cursor.items() if part not in {"size", "cap", "started", "shrunk"}}
        for name, cursor in cursors.items()
    }


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The sandbox over TLS."""
    with serve(tmp_path_factory.mktemp("ca")) as running:
        yield running


@pytest.fixture
def http(running: Running) -> Iterator[Egress]:
    """The guarded client, as the local stack makes it, with less patience."""
    port = running.base_url.rpartition(":")[2]
    egress = Egress(local_ca=str(running.ca), local_platforms=f"{port}:{','.join(HOSTS)}", total_seconds=SECONDS)
    yield egress
    egress.close()


@pytest.fixture(params=["WOO_COMMERCE", "SHOPIFY", "TIKTOK_SHOP"])
def sites(request: pytest.FixtureRequest, aws: None, running: Running, http: Egress) -> Sites:
    """Three stores that have been synced once."""
    found = Sites(PlatformName(request.param), http)
    if request.param in APPS:
        registration = APPS[request.param]
        register_app(found.platform, **registration)
    for name in ("bad", "good", "fine"):
        found.all.append(OPEN[request.param](running, http, name, 4))
    found.sync()
    assert all(state(site).checkpoint for site in found.all)
    return found


def _woocommerce(running: Running, http: Egress, name: str, orders: int) -> Site:
    site = running.sandbox.woocommerce.open(name, sizes=woo_shop.Sizes(products=3, variable=0, orders=orders))
    key = site.shop.add_key("read_write")
    given = {"api_key": key.consumer_key, "api_secret": key.consumer_secret}
    _connect(PlatformName.WOO_COMMERCE, name, site.shop.url, site.shop.url, given)
    return Site(name, site.faults)


def _shopify(running: Running, http: Egress, name: str, orders: int) -> Site:
    sizes = shopify_shop.Sizes(products=3, variable=0, wide=0, orders=orders, long=0)
    site = running.sandbox.shopify.open(name, sizes=sizes)
    token = site.tokens.permanent(("read_products", "read_orders", "read_customers", "read_all_orders"))
    domain = site.shop.domain
    _connect(PlatformName.SHOPIFY, name, domain, f"https://{domain}", {"access_token": token})
    return Site(name, site.faults)


def _tiktok_shop(running: Running, http: Egress, name: str, orders: int) -> Site:
    played = running.sandbox.tiktok_shop
    seller = played.open(name, sizes=tiktok_seller.Sizes(products=3, orders=orders))
    adapter = platforms.get(PlatformName.TIKTOK_SHOP)
    assert isinstance(adapter, GrantsByOAuth)
    app, now = apps.get(PlatformName.TIKTOK_SHOP), clock.now()
    code = played.grants.authorize(seller)
    tokens = adapter.exchange(app, "", code, return_url="", verifier="", http=http, now=now)
    pair = {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token or ""}
    (identity,) = adapter.stores_of(Connection("", pair, app=app), http)
    given = {**pair, **identity.credentials}
    _connect(PlatformName.TIKTOK_SHOP, name, identity.store_id, identity.domain, given, tokens)
    return Site(name, played.accounts[seller.shops[0].name].faults)


OPEN = {"WOO_COMMERCE": _woocommerce, "SHOPIFY": _shopify, "TIKTOK_SHOP": _tiktok_shop}


def _connect(
    platform: PlatformName, id: str, store_id: str, domain: str, given: Json, tokens: Tokens | None = None
) -> None:
    now = clock.now()
    row = Store(
        id,
        name="Shop",
        platform=platform,
        store_id=store_id,
        domain=domain,
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
        platform_shard=f"{platform}#0",
    )
    sealed = connecting.sealed(row, given, {"current": "w" * 48}, now, tokens)
    # a full sync is not due: what the shop answers to a page is what counts here
    stores.insert(row, sealed, SyncState(id, slot=stores.slot_of(row), full_sync_at=now, last_sync_at=now))


def test_a_hostile_platform_ends_its_own_run_with_a_reason_and_nobody_elses(sites):
    wrong: Json = {}
    for name, hostile in FAULTS.items():
        before = [state(site) for site in sites.all]
        since = clock.now()
        sites.bad.faults.ordered = [hostile.fault]

        sites.sync()

        sites.bad.faults.ordered = []
        after = [state(site) for site in sites.all]
        said = {
            "bad": ended(sites.bad, since),  # where pages get smaller first, that counts as part of the way
            "cursor moved": place(after[0]) != place(before[0]),
            "lease kept": after[0].lease_until is not None,
            "synced": after[0].last_sync_at != before[0].last_sync_at,
            "others": [row.last_sync_at is not None and row.last_sync_at > since for row in after[1:]],
        }
        honest = {"cursor moved": False, "lease kept": False, "synced": False, "others": [True, True]}
        if said not in ({"bad": (outcome, hostile.reason), **honest} for outcome in (Outcome.FAILED, Outcome.PARTIAL)):
            wrong[name] = said

    assert wrong == {}, exact_json.dumps(wrong)


@dataclass
class Repeating:
    """A shop that gives the first page of its orders for ever, whatever it is asked for."""

    http: Egress
    is_page: Callable[[str, Json], bool]
    first: Answer | None = None
    repeated: int = 0

    def request(self, method: str, url: str, **options: Any) -> Answer:
        """As the guarded client's, but for that."""
        if not self.is_page(url, options):
            return self.http.request(method, url, **options)
        if self.first is None:
            self.first = self.http.request(method, url, **options)
        self.repeated += 1
        return self.first


def _is_sweep(url: str, options: Json) -> bool:
    return url.endswith("/orders") and (options.get("params") or {}).get("order") == "asc"


PAGES: dict[str, Callable[[str, Json], bool]] = {
    "WOO_COMMERCE": _is_sweep,
    "SHOPIFY": lambda _url, options: "orders(" in str(options.get("json")),
    "TIKTOK_SHOP": lambda url, _options: "/orders/search" in url,
}


@pytest.mark.parametrize("platform", PAGES)
def test_a_platform_that_repeats_its_page_for_ever_ends_the_run(aws, running, http, platform):
    if platform in APPS:
        register_app(PlatformName(platform), **APPS[platform])
    site = OPEN[platform](running, http, "again", 130)
    repeating = Repeating(http, PAGES[platform])

    run = sync.run(site.id, repeating, clock.now, clock.now() + timedelta(seconds=60))

    assert repeating.repeated > 1
    assert repeating.repeated < 50
    assert run.outcome in {Outcome.PARTIAL, Outcome.FAILED}
    assert run.reason in {"CURSOR_REPEATED", "NOT_THE_PLATFORM"}, run


def test_a_store_recovers_when_its_platform_does(sites):
    sites.bad.faults.ordered = [Fault(Kind.STATUS, status=503)]
    sites.sync()
    sites.bad.faults.ordered = []
    since = clock.now()

    sites.sync()

    assert [state(site).last_sync_at > since for site in sites.all] == [True] * 3
