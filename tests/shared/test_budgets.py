"""One budget for all workers: per app where the platform counts so, and per store for syncs and look-ups alike."""

import json
import re
import zlib
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace

import pytest
from fakes import Clock, FakePlatform, NoHttp, connected
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import NOW

from shared import budgets, clients, clock, delivery_log, exact_json, platforms, records, sync, webhooks
from shared.models import Budget, Delivery, Outcome, Processing, SyncState
from shared.platforms.base import (
    Answer,
    CallLimit,
    CountsCallsPerApp,
    Event,
    PlatformError,
    PlatformName,
    Record,
    Refusal,
    Resource,
    Verdict,
)

ORDERS, PRODUCTS = Resource.ORDERS, Resource.PRODUCTS
TOLD = ("x-per-second", "x-per-day", "x-left")
CALLS = CallLimit("calls", re.compile(r"https://api\.example\.com/"), per_day=10_000, per_second=10, told_in=TOLD)
ALL_DAY = CALLS._replace(name="day", per_day=100_000, per_second=0, told_in=None)
URL = "https://api.example.com/orders"


class App:
    """A platform that counts per app."""

    def __init__(self, *limits, name=PlatformName.ETSY):
        self.name = name
        self.app_limits = limits or (CALLS,)


class Answers:
    """The platform's HTTP: what it is asked, and what it answers to each call."""

    def __init__(self, *answers):
        self.urls = []
        self._answers = list(answers)

    def request(self, method, url, **_):
        self.urls.append(url)
        return self._answers.pop(0) if self._answers else Answer(200, {}, b"{}")


@pytest.fixture
def still(now):
    return Clock(now, step=timedelta(0))


@pytest.fixture
def pauses(still):
    waited = []

    def pause(seconds):
        waited.append(seconds)
        still.advance(seconds=seconds)

    pause.waited = waited
    return pause


@contextmanager
def counted():
    """The AWS calls that are made meanwhile, by name."""
    made = []

    def note(model, **_):
        made.append(model.name)

    watched = [clients.dynamodb(), clients.s3(), clients.sqs()]
    for client in watched:
        client.meta.events.register("before-call", note)
    yield made
    for client in watched:
        client.meta.events.unregister("before-call", note)


def limited(seconds):
    return Answer(429, {"retry-after": str(seconds)}, b"")


def call(app, still, http=None, times=1, **more):
    port = budgets.counting(app, http or Answers(), still, pause=lambda seconds: still.advance(seconds=seconds), **more)
    for _ in range(times):
        port.request("GET", URL)


# ── The app's budget: never more than the limit, whoever is interleaved with whom ────────────────


class Rows:
    """The table, in memory: conditional as the real one, with somebody else's turn between a read and its write."""

    NAMES = ("day_until", "second_until", "per_day", "per_second", "not_before")

    def __init__(self):
        self.kept = {}
        self.between = []

    def row(self, scope):
        nothing = dict.fromkeys((*self.NAMES, "changes"))
        row = SimpleNamespace(scope=scope, **{**nothing, **self.kept.get(scope, {})})
        if self.between:
            self.between.pop()()
        return row

    def save(self, row):
        now = self.kept.get(row.scope, {})
        if now.get("changes") != row.changes:
            return False
        values = {name: getattr(row, name) for name in self.NAMES}
        self.kept[row.scope] = {**values, "changes": (row.changes or 0) + 1}
        return True

    def stop(self, scope, until):
        now = self.kept.setdefault(scope, dict.fromkeys(self.NAMES))
        if now["not_before"] is None or now["not_before"] < until:
            now.update(not_before=until, changes=(now.get("changes") or 0) + 1)


WORKERS = 4
steps = st.lists(
    st.tuples(
        st.integers(0, WORKERS - 1),
        st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.3, 0.95, 1.5, 500.0, 40_000.0]),
        st.sampled_from([1, 1, 2, 30]),
        st.none() | st.integers(0, WORKERS - 1),
        st.booleans(),
    ),
    min_size=1,
    max_size=30,
)
"""A worker, how long after the one before, how many calls, who comes between its read and its write, its patience."""


@pytest.fixture
def rows(monkeypatch):
    budgets.forget()
    kept = Rows()
    monkeypatch.setattr(budgets, "_row", kept.row)
    monkeypatch.setattr(budgets, "_save", kept.save)
    monkeypatch.setattr(budgets, "_stop", kept.stop)
    yield kept
    budgets.forget()


def most_within(moments, span):
    """The most moments in any ``[t, t + span)``."""
    moments, most, first = sorted(moments), 0, 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= span:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize(("per_day", "per_second"), [(3, 0), (60, 1), (12_000, 0), (12_000, 20)])
@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_interleaved_workers_never_make_more_calls_than_the_platform_allows(per_day, per_second, steps):
    rows, limit = Rows(), CALLS._replace(per_day=per_day, per_second=per_second)
    workers = [budgets._Block("app") for _ in range(WORKERS)]
    made, comes_back, now = [], [], NOW

    def take(worker, patient):
        try:
            made.append(max(workers[worker].take(limit, now, timedelta(seconds=15), patient=patient), now))
        except budgets.Spent as spent:
            comes_back.append(spent.retry_at - now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budgets, "_row", rows.row)
        patch.setattr(budgets, "_save", rows.save)
        for worker, advance, calls, other, patient in steps:
            now += timedelta(seconds=advance)
            if other is not None and other != worker:
                rows.between.append(lambda other=other: take(other, patient=False))
            for _ in range(calls):
                take(worker, patient)
            rows.between.clear()

    assert all(wait > timedelta(0) for wait in comes_back)
    block = per_day // budgets.BLOCKS_A_DAY  # a started one may be older than its day
    assert most_within(made, timedelta(days=1)) <= per_day + WORKERS * block
    if per_second:
        assert most_within(made, timedelta(seconds=1)) <= per_second


def test_workers_that_come_back_late_do_not_make_up_for_it_all_at_once(rows):
    limit, now, made = CALLS._replace(per_day=100_000, per_second=20), NOW, []
    workers = [budgets._Block("app") for _ in range(12)]
    for worker in workers:
        worker.take(limit, now, timedelta(seconds=15), patient=False)
    now += timedelta(seconds=30)

    for _ in range(9):  # what each has left of its block
        made += [max(each.take(limit, now, timedelta(seconds=60), patient=False), now) for each in workers]

    assert most_within(made, timedelta(seconds=1)) <= 20


def test_a_day_of_calls_can_be_made_in_a_day_and_no_more(rows, still):
    """A greedy worker, over two days: what is spent at once, and what comes back."""
    app, made, start = App(ALL_DAY._replace(per_day=200)), [], still.time
    while still.time < start + timedelta(days=2):
        try:
            call(app, still)
            made.append(still.time)
        except budgets.Spent as spent:
            still.time = max(spent.retry_at, still.time + timedelta(seconds=1))

    assert 199 <= most_within(made, timedelta(days=1)) <= 200
    assert len([each for each in made if each == start]) == 20
    assert max(later - earlier for earlier, later in pairwise(made)) <= timedelta(seconds=480)


def test_what_sellers_wait_for_finds_calls_when_catalogues_have_taken_theirs(rows, still):
    app = App(ALL_DAY._replace(per_day=1_000))
    with pytest.raises(budgets.Spent):
        call(app, still, times=1_000, patient=True, longest=timedelta(0))
    urgent = Answers()

    with pytest.raises(budgets.Spent):
        call(app, still, urgent, times=1_000, longest=timedelta(0))

    assert len(urgent.urls) == 50


def test_waits_just_until_its_turn_and_tells_when_that_is_too_long(aws, still, pauses):
    http = Answers()
    port = budgets.counting(App(), http, still, pauses, longest=timedelta(seconds=2))

    for _ in range(10):
        port.request("GET", URL)

    assert [round(each, 3) for each in pauses.waited] == [0.2] * 9  # half of ten a second
    budgets.forget()  # another worker, with nothing in its hands
    Budget(f"{PlatformName.ETSY}#calls").update(
        actions=[Budget.second_until.set(still.time + timedelta(seconds=9)), Budget.changes.add(1)]
    )
    with pytest.raises(budgets.Spent) as spent:
        port.request("GET", URL)
    assert spent.value.retry_at == still.time + timedelta(seconds=9)
    assert (spent.value.refusal, len(http.urls)) == (Refusal.RATE_LIMITED, 10)


def test_a_page_costs_one_write_at_most_and_other_calls_nothing(aws, still):
    with counted() as made:
        call(App(), still, times=5)
    assert made == ["GetItem", "UpdateItem"]

    with counted() as made:
        budgets.counting(App(), Answers(), still).request("GET", "https://elsewhere.example.com/")
        budgets.counting(FakePlatform(), Answers(), still).request("GET", URL)
    assert made == []


def test_blocks_grow_with_the_day_so_that_many_small_calls_cost_few_writes(aws, still):
    app = App(ALL_DAY._replace(per_day=2_000_000))

    with counted() as made:
        call(app, still, times=1_000)

    assert made == ["GetItem", "UpdateItem"]


def test_a_platform_that_does_not_count_per_app_is_called_as_it_is(still):
    http = Answers()

    assert budgets.counting(FakePlatform(), http, still) is http


def test_who_loses_the_race_for_the_row_reads_again(aws, still):
    call(App(), still)
    budgets.forget()
    taken = []

    def overtake(**_):
        if not taken:
            taken.append(True)
            Budget(f"{PlatformName.ETSY}#calls").update(actions=[Budget.changes.add(1)])

    events = clients.dynamodb().meta.events
    events.register("after-call.dynamodb.GetItem", overtake)
    with counted() as made:
        call(App(), still)

    assert made == ["GetItem", "UpdateItem", "UpdateItem", "GetItem", "UpdateItem"]


# ── The app's budget: the platform's own words ───────────────────────────────────────────────────


def test_a_retry_after_stops_every_worker_of_the_app_and_nobody_else(aws, still):
    app, http = App(), Answers(limited(600))
    call(app, still, http)
    other = Answers()

    for _ in range(2):
        with pytest.raises(budgets.Spent) as spent:
            call(app, still, http)
        assert spent.value.retry_at == still.time + timedelta(seconds=600)
        budgets.forget()  # and so it is for another worker
    call(App(name=PlatformName.EBAY), still, other)
    call(App(CALLS._replace(name="other")), still, other)
    # a shorter wait does not end a longer one
    budgets._block(f"{PlatformName.ETSY}#calls").learn(CALLS, limited(5), still.time)
    still.advance(seconds=590)
    with pytest.raises(budgets.Spent):
        call(app, still, http)
    still.advance(seconds=10)
    call(app, still, http)

    assert (len(http.urls), len(other.urls)) == (2, 2)


def test_a_worker_that_reserved_while_another_was_refused_reads_again(aws, still):
    call(App(), still)
    budgets.forget()
    refused = []

    def refuse(**_):
        if not refused:
            refused.append(True)
            budgets._Block(f"{PlatformName.ETSY}#calls").learn(CALLS, limited(600), still.time)

    clients.dynamodb().meta.events.register("after-call.dynamodb.GetItem", refuse)

    with pytest.raises(budgets.Spent):
        call(App(), still)


def test_goes_by_the_platforms_numbers_where_they_allow_less(rows, still):
    says = Answer(200, {"x-per-second": "10", "x-per-day": "10000", "x-left": "3"}, b"{}")
    http = Answers(says, *[Answer(200, {}, b"{}")] * 20)
    with pytest.raises(budgets.Spent):
        call(App(), still, http, times=20)

    # the block of five that it had begun, and the three that are left
    assert len(http.urls) == 5 + 3


def test_goes_by_the_limits_that_the_platform_tells(aws, still):
    says = Answer(200, {"x-per-second": "150", "x-per-day": "100000", "x-left": "99998"}, b"{}")
    call(App(), still, Answers(says), times=6)

    row = Budget.get(f"{PlatformName.ETSY}#calls")
    assert (row.per_day, row.per_second) == (100_000, 150)
    with counted() as made:
        call(App(), still, times=50)
    assert made == ["GetItem", "UpdateItem"]


def test_what_an_operator_wrote_into_the_row_holds(aws, still):
    app = App(ALL_DAY)
    Budget(f"{PlatformName.ETSY}#day").update(actions=[Budget.per_day.set(10), Budget.changes.add(1)])
    http = Answers()

    with pytest.raises(budgets.Spent):
        call(app, still, http, times=2)

    assert len(http.urls) == 1


@pytest.mark.parametrize("told", ["", "-1", "x", "1e9", "²", "0", "9" * 30, "9" * 19])
def test_numbers_that_are_none_stop_nobody(rows, still, told):
    says = Answer(200, dict.fromkeys(TOLD[:2], told), b"{}")

    call(App(), still, Answers(says, limited(told)), times=2)
    budgets.forget()
    still.advance(days=1)
    call(App(), still)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, ?\d{1,3} [A-Z][a-z]{2} \d{1,5} \d\d:\d\d:\d\d [-+A-Z]\w*"))
def test_a_retry_after_is_a_time_within_a_day_or_nothing(text):
    until = budgets.retry_after(text, NOW)

    assert until is None or NOW <= until <= NOW + timedelta(days=1)


def test_reads_a_retry_after_in_seconds_and_as_a_date():
    assert budgets.retry_after("90", NOW) == NOW + timedelta(seconds=90)
    assert budgets.retry_after("Sun, 22 Nov 2026 10:01:00 GMT", NOW) == NOW + timedelta(minutes=1)
    assert budgets.retry_after("Sun, 22 Nov 2026 09:00:00 GMT", NOW) is None
    assert budgets.retry_after("99999999", NOW) == NOW + timedelta(days=1)


@pytest.mark.parametrize(
    ("platform", "url", "name"),
    [
        ("ETSY", "https://api.etsy.com/v3/application/listings/batch", "public"),
        ("ETSY", "https://api.etsy.com/v3/application/listings/12", "public"),
        ("ETSY", "https://api.etsy.com/v3/application/shops/12", "public"),
        ("ETSY", "https://api.etsy.com/v3/application/shops/12/receipts", None),
        ("ETSY", "https://api.etsy.com/v3/application/shops/12/listings", None),
        ("ETSY", "https://api.etsy.com/v3/application/users/me", None),
        ("EBAY", "https://api.ebay.com/sell/fulfillment/v1/order", "fulfillment"),
        ("EBAY", "https://api.ebay.com/sell/inventory/v1/offer", "inventory"),
        ("EBAY", "https://api.ebay.com/sell/account/v1/privilege", "account"),
        ("EBAY", "https://api.ebay.com/commerce/notification/v1/public_key/k", "notification"),
        ("EBAY", "https://api.ebay.com/identity/v1/oauth2/token", "tokens"),
        ("EBAY", "https://apiz.ebay.com/commerce/identity/v1/user/", None),
    ],
)
def test_each_call_counts_against_the_limit_that_the_platform_documents(platform, url, name):
    adapter = platforms.get(PlatformName(platform))

    assert isinstance(adapter, CountsCallsPerApp)
    assert next((limit.name for limit in adapter.app_limits if limit.addresses.match(url)), None) == name


@pytest.mark.parametrize("platform", ["AMAZON", "CUSTOM", "SHOPIFY", "TIKTOK_SHOP", "WOO_COMMERCE"])
def test_platforms_that_count_per_store_have_no_budget_of_the_app(platform):
    assert not isinstance(platforms.get(PlatformName(platform)), CountsCallsPerApp)


# ── Syncs and deliveries ─────────────────────────────────────────────────────────────────────────


class Shop(FakePlatform):
    """Counts per app, calls through HTTP, and announces orders by id, or whole."""

    app_limits = (CALLS._replace(addresses=re.compile("https://api.example.com/products")),)

    def fetch(self, connection, resource, cursor, http, now):
        self._ask(http, resource)
        return super().fetch(connection, resource, cursor, http, now)

    def fetch_one(self, connection, resource, id, http):
        self._ask(http, resource)
        return super().fetch_one(connection, resource, id, http)

    def _ask(self, http, resource):
        answer = http.request("GET", f"https://api.example.com/{resource}")
        if answer.status == 429:
            raise PlatformError(
                Refusal.RATE_LIMITED,
                "429",
                status=429,
                retry_at=NOW + timedelta(seconds=int(answer.headers["retry-after"])),
            )

    parsed_headers = frozenset()
    phrases = ()

    def verify(self, delivery, secrets, now):
        return Verdict.GENUINE

    def topic(self, delivery):
        return "order.updated"

    def event_id(self, delivery):
        return "1"

    def parse(self, delivery):
        body = json.loads(delivery.body)
        record = Record("o1", NOW, {"id": "o1"}) if body.get("whole") else None
        return [Event(Resource(body.get("resource", "orders")), body.get("id", "o1"), record=record)]


@pytest.fixture
def shop(monkeypatch):
    fake = Shop()
    fake.put(ORDERS, "o1", NOW)
    monkeypatch.setattr(platforms, "PLATFORMS", {PlatformName.WOO_COMMERCE: fake})
    return fake


@pytest.fixture
def delays(aws):
    sent = []

    def note(params, **_):
        sent.append((params.get("DelaySeconds", 0), exact_json.loads(params["MessageBody"])))

    clients.sqs().meta.events.register("provide-client-params.sqs.SendMessage", note)
    return sent


def delivered(store_id="store1", received_at=NOW, **body):
    key = f"d-{store_id}"
    Delivery(
        store_id,
        key,
        platform="WOO_COMMERCE",
        topic="order.updated",
        received_at=clock.to_text(received_at),
        headers="{}",
        body=zlib.compress(json.dumps(body).encode()),
        outcome=Processing.PENDING,
        expires_at=NOW + timedelta(days=30),
    ).save()
    return key


def handle(key, http, now):
    body = exact_json.dumps({"delivery": key, "store": key.removeprefix("d-")})
    with webhooks.Handling(http, now) as handling:
        handling.take({"body": body, "attributes": {"ApproximateReceiveCount": "1"}})


def state(store_id="store1"):
    row = Delivery.get(store_id, f"d-{store_id}")
    if row.outcome not in delivery_log.DONE and (
        noted := [each for each in delivery_log.newest_first(store_id) if each.outcome in delivery_log.DONE]
    ):
        return noted[0].outcome, int(row.attempts) + 1, noted[0].cause
    return row.outcome, int(row.attempts), row.cause


def test_a_delivery_waits_where_the_sync_of_its_store_was_asked_to(aws, shop, still, delays):
    connected("store1", NOW)
    connected("store2", NOW)
    busy = Answers(limited(120))
    this = sync.run("store1", busy, still, still.time + timedelta(minutes=10))
    delays.clear()
    key, other = delivered(), delivered("store2")
    http = Answers()

    for _ in range(8):  # more than it has attempts
        handle(key, http, still)
    handle(other, http, still)

    assert this.reason == "RATE_LIMITED"
    assert state() == ("RETRYING", 0, "The platform asks to wait.")
    assert delays == [(121, {"delivery": key, "store": "store1"})] * 8
    assert state("store2")[0] == "PROCESSED"
    assert len(http.urls) == 1
    still.advance(seconds=121)
    handle(key, http, still)
    assert state()[:2] == ("PROCESSED", 1)


def test_a_sync_waits_where_a_look_up_for_its_store_was_asked_to(aws, shop, still, delays):
    connected("store1", NOW)
    connected("store2", NOW)
    handle(delivered(), Answers(limited(120)), still)

    assert state() == ("RETRYING", 0, "rate_limited: 429")
    assert sync.run("store1", NoHttp(), still, still.time + timedelta(minutes=10)).outcome is Outcome.SKIPPED
    assert sync.run("store2", Answers(), still, still.time + timedelta(minutes=10)).outcome is Outcome.COMPLETE


def test_a_wait_that_a_look_up_was_told_during_a_run_outlasts_the_run(aws, shop, still):
    connected("store1", NOW)
    shop.before = lambda call: handle(delivered(), Answers(limited(120)), still) if call == "fetch orders" else None

    sync.run("store1", Answers(), still, still.time + timedelta(minutes=10))

    assert SyncState.get("store1").not_before == NOW + timedelta(seconds=120)


def test_a_platform_that_asks_to_wait_for_ever_has_its_delivery_given_up_in_the_end(aws, shop, still, delays):
    connected("store1", NOW)
    key = delivered(received_at=NOW - timedelta(days=1, seconds=1))

    for _ in range(6):
        SyncState("store1").update(actions=[SyncState.not_before.remove()])
        handle(key, Answers(limited(120)), still)

    assert state()[:2] == ("DEAD_LETTERED", 6)


def test_a_delivery_that_is_applied_whole_asks_nobody(aws, shop, still):
    connected("store1", NOW)
    key = delivered(whole=True)

    with counted() as made:
        handle(key, NoHttp(), still)

    # the delivery, whether it is done, the store; the order, what became of it
    assert made == ["GetItem", "BatchGetItem", "GetItem", "PutItem", "UpdateItem"]


def test_a_look_up_of_what_the_app_has_no_calls_for_keeps_only_itself_waiting(aws, shop, still, delays):
    connected("store1", NOW)
    shop.put(PRODUCTS, "p1", NOW)
    budgets._Block(f"{shop.name}#calls").learn(CALLS, limited(300), still.time)
    key = delivered(resource="products", id="p1")

    handle(key, NoHttp(), still)

    assert state()[:2] == ("RETRYING", 0)
    assert delays == [(301, {"delivery": key, "store": "store1"})]
    assert SyncState.get("store1").not_before is None


def test_orders_are_synced_while_the_app_has_no_calls_for_products(aws, shop, still, delays):
    connected("store1", NOW)
    shop.put(PRODUCTS, "p1", NOW)
    budgets._Block(f"{shop.name}#calls").learn(CALLS, limited(300), still.time)

    first = sync.run("store1", Answers(), still, still.time + timedelta(minutes=10), trigger="connect")
    again = sync.run("store1", Answers(), still, still.time + timedelta(minutes=10))

    assert (first.outcome, first.reason) == (Outcome.PARTIAL, "RATE_LIMITED")
    assert [row["id"] for row in records.page("store1", ORDERS, 10, None)[0]] == ["o1"]
    assert (again.outcome, again.reason) == (Outcome.PARTIAL, "RATE_LIMITED")  # not skipped, and no second rest
    assert [(delay, message["trigger"]) for delay, message in delays] == [(301, "continuation")]
    still.advance(seconds=301)
    this = sync.run("store1", Answers(), still, still.time + timedelta(minutes=10), trigger="continuation", full=True)
    assert this.outcome is Outcome.COMPLETE


def test_a_sync_that_finds_nothing_writes_no_budget_where_none_of_its_calls_count(aws, shop, still):
    shop.app_limits = ()
    connected("store1", NOW)
    run = lambda: sync.run("store1", Answers(), still, still.time + timedelta(minutes=10))  # noqa: E731
    run()
    still.advance(minutes=5)

    with counted() as made:
        assert run().outcome is Outcome.COMPLETE

    assert [name for name in made if name not in {"GetItem", "Query", "BatchGetItem"}] == ["UpdateItem"] * 2


def test_stores_with_nothing_new_share_the_writes_of_a_budget(aws, shop, still):
    shop.app_limits = (ALL_DAY,)
    for number in range(8):
        connected(f"store{number}", NOW)
        sync.run(f"store{number}", Answers(), still, still.time + timedelta(minutes=10))
    still.advance(minutes=5)
    http = Answers()

    before = Budget.get(f"{shop.name}#day").changes
    for number in range(8):
        sync.run(f"store{number}", http, still, still.time + timedelta(minutes=10))

    assert len(http.urls) == 16
    assert Budget.get(f"{shop.name}#day").changes - before <= 1
