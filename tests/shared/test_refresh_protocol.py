"""The refresh protocol under every interleaving that hypothesis thinks of, and under none of its mechanisms.

Each worker is a thread that stands still before every AWS call and inside the platform's; one of them moves
at a time, by one call. Between calls anything happens: crashes, lost answers and acknowledgements, refused
writes, hours, another approval by the seller, another seal. The judge is the issuer of ``tests/issuer.py``.
"""

import re
from collections import defaultdict
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from itertools import count, pairwise
from threading import Semaphore, Thread, local
from types import MappingProxyType

import issuer as model
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from conftest import NOW
from fakes import FakeOAuthPlatform, NoHttp
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as some
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pynamodb.exceptions import PynamoDBException

from shared import (
    apps,
    clients,
    clock,
    connecting,
    credentials,
    egress,
    keys,
    platforms,
    rotation,
    schemas,
    stores,
    tokens,
)
from shared.models import Credentials, Status
from shared.platforms.base import App, Identity, PlatformError, PlatformName, Refusal
from shared.problems import Problem

SHOPIFY = PlatformName.SHOPIFY
OWNER = stores.Caller("user1")
SKEWS = (0, -20, 20)
CALL = timedelta(seconds=egress.TOTAL_SECONDS)
LATE = timedelta(seconds=25)
"""For so long a platform may be at work on a call that we have given up."""
PLACES = ("platform is at work", "platform has answered", "UpdateItem credentials", "TransactWriteItems", "the end")
"""Where a worker may be when something happens to it; it may be made to go a step further at a time, too."""
OURS = (PlatformError, PynamoDBException, ClientError, EndpointConnectionError, Problem)
"""How a worker may fail."""

_here = local()
_numbers = count()


class Crashed(BaseException):
    """The worker's process is gone: nothing that it meant to do happens any more."""


class Worker:
    """One attempt of one process, which moves only when it is told to."""

    def __init__(self, name, skew, work):
        self.name, self.skew, self.work = name, timedelta(seconds=skew), work
        self.place, self.order = "", "go"
        self.ended = self.crashed = False
        self.result = self.error = self.call_ends = self.seen = None
        self.were_stored = set()
        """The access tokens that were stored since the worker last looked."""
        self._go, self._stopped = Semaphore(0), Semaphore(0)
        Thread(target=self._run, daemon=True).start()
        self._wait()

    def _run(self):
        _here.worker = self
        try:
            self.stop("beginning")
            self.result = self.work(self)
        except Crashed:
            self.result = "crashed"
        except BaseException as error:  # noqa: BLE001 judged in the machine's thread
            self.error = error
        self.ended = True
        self._stopped.release()

    def stop(self, place):
        """Stands still until the next order, and says which it is."""
        if self.crashed:
            raise Crashed
        self.place = place
        self._stopped.release()
        self._go.acquire()
        if self.crashed:
            raise Crashed
        return self.order

    def step(self, order="go"):
        self.order, self.crashed = order, order == "crash"
        self._go.release()
        self._wait()

    def _wait(self):
        assert self._stopped.acquire(timeout=30), f"{self.name} hangs at {self.place}"


class Tables:
    """DynamoDB's operations that the protocol uses, in memory: moto takes 5 ms of CPU for each of them.

    ``test_the_tables_in_memory_are_as_moto_has_them`` compares the two.
    """

    KEYS = MappingProxyType({"storelink-stores": "id", "storelink-claims": "claim"})

    def __init__(self):
        self.items = defaultdict(dict)

    def __call__(self, operation, request):
        return getattr(self, operation)(request)

    def GetItem(self, request):  # noqa: N802 the operation's name
        item = self._item(request)
        return {"Item": dict(item)} if item else {}

    def UpdateItem(self, request):  # noqa: N802 the same
        if not self._holds(request):
            raise ClientError({"Error": {"Code": "ConditionalCheckFailedException", "Message": ""}}, "UpdateItem")
        return {"Attributes": self._updated(request)}

    def TransactWriteItems(self, request):  # noqa: N802 the same
        steps = [(kind, step) for item in request["TransactItems"] for kind, step in item.items()]
        refused = [not self._holds(step) for _, step in steps]
        if any(refused):
            error = {"Error": {"Code": "TransactionCanceledException", "Message": ""}}
            reasons = [{"Code": "ConditionalCheckFailed" if each else "None"} for each in refused]
            raise ClientError(error | {"CancellationReasons": reasons}, "TransactWriteItems")
        for kind, step in steps:
            {"Put": self._put, "Update": self._updated}[kind](step)
        return {}

    def _key(self, request):
        given = request.get("Key") or request["Item"]
        return given[self.KEYS.get(request["TableName"], "store_id")]["S"]

    def _item(self, request):
        return self.items[request["TableName"]].get(self._key(request))

    def _put(self, request):
        self.items[request["TableName"]][self._key(request)] = dict(request["Item"])

    def _updated(self, request):
        names, values = request["ExpressionAttributeNames"], request.get("ExpressionAttributeValues", {})
        old = self._item(request) or dict(request["Key"])
        item = dict(old)
        parts = re.split(r"\b(SET|REMOVE|ADD) ", request["UpdateExpression"])[1:]
        for clause, changes in zip(parts[::2], parts[1::2], strict=True):
            for change in re.split(r", (?![^(]*\))", changes.strip()):
                name, _, value = change.partition(" = " if clause == "SET" else " ")
                if clause == "REMOVE":
                    item.pop(names[name], None)
                elif clause == "SET":
                    item[names[name]] = self._value(value, old, names, values)
                else:
                    known = old.get(names[name], {"NS": []})["NS"]
                    item[names[name]] = {"NS": sorted({*known, *values[value]["NS"]})}
        self.items[request["TableName"]][self._key(request)] = item
        return dict(item)

    def _value(self, text, old, names, values):
        if text in values:
            return values[text]
        name, default, added = re.fullmatch(r"if_not_exists \((#\d+), (:\d+)\) \+ (:\d+)", text).groups()
        known = old.get(names[name], values[default])
        return {"N": str(Decimal(known["N"]) + Decimal(values[added]["N"]))}

    def _holds(self, request):
        text = request.get("ConditionExpression")
        if text is None:
            return True
        item, names = self._item(request) or {}, request["ExpressionAttributeNames"]
        words = re.findall(r"[#:]\d+|\w+|<=|[=()]", text)
        return self._any(words, item, names, request.get("ExpressionAttributeValues", {}))

    def _any(self, words, *known):
        result = self._one(words, *known)
        while words and words[0] in {"AND", "OR"}:
            both, other = words.pop(0) == "AND", self._one(words, *known)
            result = (result and other) if both else (result or other)
        return result

    def _one(self, words, item, names, values):
        word = words.pop(0)
        if word == "(":
            result = self._any(words, item, names, values)
            words.pop(0)
            return result
        if word.startswith("attribute_"):
            there = names[words[1]] in item
            del words[:3]
            return there is (word == "attribute_exists")
        found, (comparison, wanted) = item.get(names[word]), words[:2]
        del words[:2]
        if found is None:
            return False
        ((kind, here),), ((_, there),) = found.items(), values[wanted].items()
        here, there = (Decimal(here), Decimal(there)) if kind == "N" else (here, there)
        return here == there if comparison == "=" else here <= there


def stepping(genuine, tables):
    """Calls of AWS at which a worker stands still, and which may fail in each of the ways in which they do."""

    def call(operation, request):
        worker, table = getattr(_here, "worker", None), request.get("TableName", "storelink-")
        if table.endswith("key-groups"):  # a lock of the process is held there
            return genuine(operation, request)
        if worker is None:
            return tables(operation, request)
        table = table.removeprefix("storelink-")
        order = worker.stop(f"{operation} {table}".strip())
        if order == "refuse":
            raise ClientError({"Error": {"Code": "InternalServerError", "Message": "Try again."}}, operation)
        answer = tables(operation, request)
        if order == "repeat" and operation == "UpdateItem":  # botocore has not heard, and asks again
            answer = tables(operation, request)
        if order == "lose":
            raise EndpointConnectionError(endpoint_url="https://dynamodb.example.com")
        if table in {"credentials", ""}:
            _here.worker = None
            worker.were_stored = {Refreshes.current.stored()["access_token"]}
            _here.worker = worker
        return answer

    return call


class Refreshes(RuleBasedStateMachine):
    """One store, its platform, and whoever wants its token."""

    current = tables = None

    def __init__(self):
        super().__init__()
        Refreshes.current = self
        keys.forget()
        self.time = NOW
        self.id = f"store{next(_numbers)}"
        self.issuer = model.Issuer()
        self.workers = []
        self.late = []
        self.opened = {}
        self.judged = 0
        self.highest = 0
        self.was_connected = True
        self.were_ended = []
        model.connect(self.id, self.issuer.approve(self.time), self.time)

    # The world

    def seconds(self):
        return (self.time - NOW).total_seconds()

    def item(self, table):
        return self.tables.items[f"storelink-{table}"][self.id]

    def stored(self):
        """The pair that is stored, looked at from outside."""
        blob = self.item("credentials")["api_credentials"]["B"]
        if blob not in self.opened:
            self.opened[blob] = credentials.unseal(keys.Purpose.API, self.id, SHOPIFY, blob, self.time)
        return self.opened[blob]

    def lives(self):
        """Whether what is stored still gives tokens."""
        return self.issuer.would_take(self.stored()["refresh_token"], self.time)

    def clock_of(self, worker):
        return lambda: self.time + worker.skew

    def answer(self, refresh_token):
        """The issuer's answer to a refresh that has begun."""
        lived = self.lives()
        try:
            return self.issuer.answer(refresh_token, self.time)
        finally:
            self.issuer.end()
            assert not (lived and self.issuer.grant_of(self.stored()["refresh_token"]).revoked), "A grant was revoked."

    def refresh(self, connection, now):
        """The platform's call as a worker sees it."""
        worker, token = _here.worker, connection.credentials["refresh_token"]
        self.issuer.begin()
        worker.call_ends = self.time + CALL
        try:
            order = worker.stop("platform is at work")
        except Crashed:
            self.late.append((self.time + LATE, token))
            raise
        finally:
            worker.call_ends = None
        if order == "late":
            self.late.append((self.time + LATE, token))
            raise PlatformError(Refusal.UNREACHABLE, "It did not answer in time.")
        if order in {"refuse", "busy"}:
            self.issuer.end()
            refusal = Refusal.TRANSIENT if order == "refuse" else Refusal.RATE_LIMITED
            raise PlatformError(refusal, "It is down.", retry_at=now + timedelta(minutes=5))
        answer = self.answer(token)
        if order == "lose":
            raise PlatformError(Refusal.UNREACHABLE, "The answer was lost.")
        worker.stop("platform has answered")
        # the adapter adds what it was told to the time that it was given
        return answer._replace(
            expires_at=now + self.issuer.access_life, refresh_expires_at=now + self.issuer.refresh_life
        )

    # What workers do

    def attend(self, worker):
        tokens.attend(self.id, NoHttp(), self.clock_of(worker))

    def use(self, worker):
        """A sync: a fresh token, and another one if it is refused."""
        now = self.clock_of(worker)
        store, row = stores.find(self.id), Credentials.get(self.id, consistent_read=True)
        worker.seen = row
        row = self._checked(worker, tokens.fresh(store, row, NoHttp(), now()))
        if self._admitted(worker, row):
            return "worked"
        other = tokens.instead(store, row, NoHttp(), now())
        last = row if other is None else self._checked(worker, other)
        if other is None or not self._admitted(worker, last):
            # the sync looks once more before it believes a refusal: what was replaced meanwhile proves nothing
            stands = model.opened(last, self.time)["access_token"] == self.stored()["access_token"]
            assert not (stands and self.lives()), "A store whose grant lives would be declared dead."
            return "refused"
        return "worked"

    def force(self, worker):
        """The shop has refused a token that should have lived."""
        store, row = stores.find(self.id), Credentials.get(self.id, consistent_read=True)
        worker.seen = row
        other = tokens.instead(store, row, NoHttp(), self.clock_of(worker)())
        assert other is None or self._checked(worker, other).token_hash != row.token_hash, "It gave what was refused."

    def _checked(self, worker, row):
        access = model.opened(row, self.time)["access_token"]
        assert access in worker.were_stored, "A token is used that is not stored."
        return row

    def _admitted(self, worker, row):
        access = model.opened(row, self.time)["access_token"]
        worker.stop("the shop is called")
        try:
            self.issuer.admit(access, self.time)
        except PlatformError:
            return False
        tokens.proved(row)
        return True

    def reconnect(self, worker):
        """The seller approves again, and the callback stores it."""
        given, store = self.issuer.approve(self.time), stores.find(self.id)
        worker.stop("the seller has approved")
        proof = connecting.Proof(Identity(store.store_id, store.domain), model.pair_of(given), given)
        connecting.reestablish(store, OWNER, None, proof, None, self.time)

    def reseal(self, worker):
        rotation._renew_store(self.id, self.time)

    # Rules

    @initialize(seconds=some.sampled_from([60, 2800, 3550, 3700, 3700]))
    def begins(self, seconds):
        self.time += timedelta(seconds=seconds)

    def start(self, kind, skew=0):
        worker = Worker(kind, skew, getattr(self, kind))
        self.workers.append(worker)
        return worker

    @precondition(lambda self: len(self.workers) < 4)
    @rule(
        kind=some.sampled_from(["attend", "use", "force", "force"]),
        skew=some.sampled_from(SKEWS),
        to=some.sampled_from(PLACES),
    )
    def somebody_wants_a_token(self, kind, skew, to):
        self.run(self.start(kind, skew), to)

    @precondition(lambda self: self.workers)
    @rule(which=some.integers(0, 3), to=some.sampled_from(PLACES))
    def goes_on(self, which, to):
        self.run(self.pick(which), to)

    @precondition(lambda self: self.workers)
    @rule(which=some.integers(0, 3))
    def makes_a_step(self, which):
        self.step(self.pick(which))

    @precondition(lambda self: self.workers)
    @rule(which=some.integers(0, 3), order=some.sampled_from(["refuse", "lose", "repeat", "late", "busy", "crash"]))
    def meets_a_fault(self, which, order):
        self.step(self.pick(which), order)

    @rule(seconds=some.sampled_from([1, 25, 70, 161, 161, 700, 3500, 90_000, 2_700_000]))
    def time_passes(self, seconds):
        self.pass_(timedelta(seconds=seconds))

    @precondition(lambda self: "reconnect" not in {each.name for each in self.workers})
    @rule(to=some.sampled_from([*PLACES, "the seller has approved"]))
    def the_seller_approves_again(self, to):
        self.run(self.start("reconnect"), to)

    @rule(what=some.sampled_from(["take the grant back", "rotate a key", "switch off", "switch on"]))
    def something_else_happens(self, what):
        if what == "take the grant back":
            self.issuer.take_back()
        elif what == "rotate a key":
            keys.rotate(keys.Purpose.API, keys.group_of(self.id), self.time)
            self.step(self.start("reseal"))
        else:
            patch = schemas.StorePatch.model_validate({"isActive": what == "switch on"})
            stores.update(self.id, OWNER, None, patch, self.time)

    @precondition(lambda self: self.judged % 8 == 7)
    @rule()
    def the_faults_end(self):
        """Whatever happened: everybody goes on, and one more attempt has a token that works."""
        for worker in list(self.workers):
            self.run(worker)
        self.pass_(tokens.LEASE + timedelta(seconds=40))
        lives = self.lives()
        worker = self.start("use")
        self.run(worker)
        if lives:
            assert worker.result == "worked", f"No working token: {worker.error!r}"
        else:
            assert self.item("stores")["status"]["S"] == Status.NEEDS_REAUTHORIZATION, repr(worker.error)

    # Moves

    def pick(self, which):
        return self.workers[which % len(self.workers)]

    def step(self, worker, order="go"):
        if worker.ended:
            return
        worker.step(order)
        access = self.stored()["access_token"]
        for each in self.workers:
            each.were_stored.add(access)
        if worker.ended:
            self.workers.remove(worker)
            if isinstance(worker.error, AssertionError) or not isinstance(worker.error, (*OURS, type(None))):
                raise worker.error
        self.judge()

    def run(self, worker, to=None):
        """To its end, or to the place ``to``."""
        self.step(worker)
        while not worker.ended and worker.place != to:
            self.step(worker)
        return worker

    def pass_(self, by):
        """Time, in which no call of a platform lasts longer than calls do."""
        until = min([self.time + by, *(each.call_ends for each in self.workers if each.call_ends)])
        for moment, token in sorted(self.late):
            if moment <= until:
                self.time = max(self.time, moment)
                self.late.remove((moment, token))
                self.heard_by_nobody(token)
        self.time = until

    def heard_by_nobody(self, token):
        with suppress(model.InvalidGrant):
            self.answer(token)

    def judge(self):
        row, status = self.item("credentials"), self.item("stores")["status"]["S"]
        stored = self.stored()["refresh_token"]
        pair, grant = self.issuer._of_refresh_token(stored), self.issuer.grant_of(stored)
        assert self.issuer.most_in_flight <= 1, "Two refreshes were in flight."
        assert grant.number >= self.highest, "A pair was replaced by one of an earlier grant."
        assert grant.ended or grant.revoked or not self.issuer.is_dead(pair), "A dead pair is stored."
        if grant.number > self.highest:
            self.highest, self.were_ended = grant.number, []
        if self.was_connected and status == Status.NEEDS_REAUTHORIZATION:
            assert not self.lives(), "The store is given up, but its grant lives."
        self.was_connected = status != Status.NEEDS_REAUTHORIZATION
        longest = self.time + tokens.LEASE + timedelta(seconds=20)
        assert "lease_until" not in row or clock.from_text(row["lease_until"]["S"]) <= longest, (
            "A lease is left for ever."
        )

    @invariant()
    def holds(self):
        self.judged += 1
        self.judge()

    def given_up(self, result):
        """Somebody has written that the store needs its seller."""
        if result:
            self.were_ended.append(self.time)
        assert len(self.were_ended) <= 1, "It was written twice that a grant has ended."

    def teardown(self):
        """The threads end, too."""
        for worker in list(self.workers):
            if not worker.ended:
                worker.step("crash")


@pytest.fixture
def protocol(aws, monkeypatch):
    """The real protocol on moto, with a platform and a time that the machine decides."""
    platform = FakeOAuthPlatform(refreshes=lambda *given: Refreshes.current.refresh(*given))  # noqa: PLW0108 the next one's
    monkeypatch.setitem(platforms.PLATFORMS, SHOPIFY, platform)
    monkeypatch.setattr(apps, "get", lambda _: App("id", "secret"))
    monkeypatch.setattr(tokens, "monotonic", lambda: Refreshes.current.seconds())  # noqa: PLW0108 the same
    dynamodb, Refreshes.tables = clients.dynamodb(), Tables()
    monkeypatch.setattr(dynamodb, "_make_api_call", stepping(dynamodb._make_api_call, Refreshes.tables))
    monkeypatch.setattr(connecting, "enqueue", lambda *_, **__: None)
    make_ready, set_status = credentials.make_ready, stores.set_status

    def slow(*given):
        if getattr(_here, "worker", None):
            _here.worker.stop("keys are fetched")
        make_ready(*given)

    def noted(*given):
        result = set_status(*given)
        Refreshes.current.given_up(result)
        return result

    monkeypatch.setattr(credentials, "make_ready", slow)
    monkeypatch.setattr(stores, "set_status", noted)


class Overlapping(Refreshes):
    """The same, from a moment at which somebody is in the middle of a refresh: where mechanisms are needed."""

    @initialize(
        kind=some.sampled_from(["attend", "use"]),
        to=some.sampled_from(["platform is at work", "platform has answered"]),
    )
    def begins(self, kind, to):
        self.time += timedelta(seconds=3700)
        self.run(self.start(kind), to)


def explore(examples, machine=Refreshes, *, steps=30):
    """Runs the machine, always the same way; shrinking would only be read by a person."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            print_blob=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_no_interleaving_poisons_a_credential(protocol):
    explore(100)


# Each mechanism, and the harm that it keeps away. The machine must find the harm where the mechanism is gone.


@pytest.fixture
def scene(protocol):
    """The machine, moved by hand."""
    machine = Refreshes()
    yield machine
    machine.teardown()


def always(_):
    return Credentials.store_id.exists()


def without_fence(monkeypatch):
    monkeypatch.setattr(tokens, "_same_fence", always)


def without_spent_token(monkeypatch):
    monkeypatch.setattr(tokens, "_same_token", always)


def without_reading_again(monkeypatch):
    genuine = tokens._reread

    def stale(store_id):
        worker = getattr(_here, "worker", None)
        if worker is None:
            return genuine(store_id)
        worker.seen = worker.seen or genuine(store_id)
        return worker.seen

    monkeypatch.setattr(tokens, "_reread", stale)


def a_worker_is_slower_than_its_lease(scene):
    """It saves late, after another has spent the same token: what it was given is dead by then."""
    scene.begins(3700)
    slow = scene.run(scene.start("attend"), to="UpdateItem credentials")
    scene.run(slow, to="platform has answered")
    scene.pass_(tokens.LEASE + timedelta(seconds=40))
    quick = scene.run(scene.start("attend"), to="platform has answered")
    scene.run(slow)
    scene.run(quick)
    assert scene.stored()["access_token"] == "access-0-2"


def the_seller_approves_while_a_pair_is_saved(scene):
    """The lease is still the worker's own, but its answer belongs to a grant that has ended."""
    scene.begins(3700)
    slow = scene.run(scene.start("attend"), to="platform has answered")
    scene.run(scene.start("reconnect"))
    scene.run(slow)
    assert scene.stored()["refresh_token"].startswith("refresh-1-")


def the_seller_approves_while_the_platform_is_asked(scene):
    """The old grant is refused, for a good reason: there is another, which is stored by then."""
    scene.begins(3700)
    slow = scene.run(scene.start("use"), to="platform is at work")
    scene.run(scene.start("reconnect"))
    assert scene.run(slow).result == "worked"
    assert scene.was_connected


MECHANISMS = pytest.mark.parametrize(
    ("without", "scenario"),
    [
        pytest.param(without_fence, a_worker_is_slower_than_its_lease, id="fence"),
        pytest.param(without_spent_token, the_seller_approves_while_a_pair_is_saved, id="spent token"),
        pytest.param(without_reading_again, the_seller_approves_while_the_platform_is_asked, id="reading again"),
    ],
)


@MECHANISMS
def test_the_mechanism_keeps_the_harm_away(scene, without, scenario):
    scenario(scene)


@MECHANISMS
def test_the_harm_is_done_without_the_mechanism(scene, monkeypatch, without, scenario):
    without(monkeypatch)

    with pytest.raises(AssertionError):
        scenario(scene)


@MECHANISMS
def test_the_machine_finds_the_harm_where_the_mechanism_is_gone(protocol, monkeypatch, without, scenario):
    without(monkeypatch)

    with pytest.raises(
        AssertionError,
        match=r"stored|earlier grant|revoked|in flight|No working token|gave what|written twice|given up",
    ):
        explore(400, Overlapping)


# The tables in memory

GONE = object()
ROWS = [
    {"fence": fence, "lease_until": lease, "token_hash": token, "refresh_due_at": due, "pair_unproved": unproved}
    for fence in (GONE, 1, 2)
    for lease in (GONE, -1, 0, 1)
    for token in ("seen", "other")
    for due, unproved in ((GONE, GONE), ("2026", True))
]


def put(id, state):
    """A row that may be half of anything, and one that a worker has seen of it."""
    model.connect(id, model.Issuer().approve(NOW), NOW)
    changes = {**state}
    if isinstance(changes["lease_until"], int):
        changes["lease_until"] = NOW + timedelta(seconds=changes["lease_until"])
    actions = [
        getattr(Credentials, name).remove() if value is GONE else getattr(Credentials, name).set(value)
        for name, value in changes.items()
    ]
    Credentials(id).update(actions=actions)
    return Credentials(
        id, token_hash="seen", fence=1, pair_unproved=True, refresh_due_at="2026", refresh_expires_at=NOW, **SEALED
    )


SEALED = {"platform": "SHOPIFY", "api_credentials": b"1", "webhook_secrets": b"2", "connection": "c"}
CHANGES = {
    "lease": lambda seen: tokens._take_lease(seen, NOW) is None,
    "postpone": lambda seen: tokens._postpone(seen, PlatformError(Refusal.REQUEST, "No."), NOW),
    "plan": lambda seen: tokens._plan_anew(seen, tokens._NOT_DUE),
    "prove": tokens.proved,
    "ends": lambda seen: tokens.grant_ends(seen.store_id, NOW, NOW),
    "save": lambda seen: seen.update(actions=[Credentials.token_hash.set("new")], condition=tokens._mine(seen)),
    "end": lambda seen: stores.set_status(
        seen.store_id,
        Status.NEEDS_REAUTHORIZATION,
        "GRANT_ENDED",
        NOW,
        [tokens.Update(seen, [*tokens._LET_GO, *tokens._NOT_DUE], tokens._mine(seen), tokens.Moved())],
    ),
}


def left_by(change):
    """What a change says and leaves, row by row."""
    left = []
    for number, state in enumerate(ROWS):
        seen = put(f"row{number}", state)
        try:
            result = change(seen)
        except (tokens.Moved, PynamoDBException) as error:
            result = type(error)
        row = Credentials.get(seen.store_id, consistent_read=True).to_dynamodb_dict()
        varies = {"api_credentials", "webhook_secrets", "connection", "lease_owner"}
        left.append(({name: row[name] for name in row.keys() - varies}, stores.find(seen.store_id).status))
        left.append(str(result) if isinstance(result, bool | type) else "")
    return left


@pytest.mark.parametrize("change", CHANGES)
def test_the_tables_in_memory_are_as_moto_has_them(aws, monkeypatch, change):
    monkeypatch.setitem(platforms.PLATFORMS, SHOPIFY, FakeOAuthPlatform())
    by_moto = left_by(CHANGES[change])

    dynamodb = clients.dynamodb()
    monkeypatch.setattr(dynamodb, "_make_api_call", stepping(dynamodb._make_api_call, Tables()))

    assert left_by(CHANGES[change]) == by_moto
    assert any(before != after for before, after in pairwise(by_moto[::2]))
