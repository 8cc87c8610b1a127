"""The stores' rules: who sees a store, what a patch does, one primary an owner under any interleaving."""

from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from makers import NOW, USER, any_caller, any_store, stored
from pynamodb.exceptions import DoesNotExist

from shared import clients, exact_json, problems, schemas, stores, wheel
from shared.models import Claim, Credentials, Status, Store, SyncState
from shared.platforms.base import PlatformName
from shared.stores import Filters

pytestmark = pytest.mark.usefixtures("aws")
LATER = NOW + timedelta(minutes=1)


def patched(id, caller=None, expected=None, **fields):
    patch = schemas.StorePatch.model_validate(fields)
    return stores.update(id, caller or any_caller(USER, "team-1"), expected, patch, LATER)


def row_of(id):
    return Store.get(id, consistent_read=True)


def slot_of(id):
    return SyncState.get(id, consistent_read=True).slot


def holder_of(claim):
    try:
        return Claim.get(claim, consistent_read=True).store
    except DoesNotExist:
        return None


# ── Who sees a store ─────────────────────────────────────────────────────────────────────────────


def test_a_store_is_there_for_its_user_and_its_team_and_nobody_else():
    stored(any_store(team_id="team-1"))

    assert stores.load("store-1", any_caller()).id == "store-1"
    assert stores.load("store-1", any_caller("demo-user-2", "team-0", "team-1")).id == "store-1"
    for other in (any_caller("demo-user-2"), any_caller("demo-user-2", "team-2"), any_caller("team-1", USER)):
        with pytest.raises(problems.StoreNotFound):
            stores.load("store-1", other)


def test_a_store_without_a_team_is_no_teams_store():
    stored(any_store())

    with pytest.raises(problems.StoreNotFound):
        stores.load("store-1", any_caller("demo-user-2", "None", "null", "team-1"))


def test_a_store_being_removed_is_there_for_nobody():
    stored(any_store())
    stores.begin_removal("store-1", any_caller(), None, NOW)

    for look in (stores.load, stores.view):
        with pytest.raises(problems.StoreNotFound):
            look("store-1", any_caller())
    assert stores.find("store-1") is None
    assert stores.page(any_caller(), Filters(), 10, None) == ([], None)


REFUSED_ID = ["nothing", "x" * 129, "é" * 128, "a\0b", "#dispatcher", "../store-1", "store-1 "]


def test_an_odd_id_is_an_unknown_id(subtests):
    stored(any_store())
    for id in REFUSED_ID:
        with subtests.test(id=id):
            for look in (stores.load, stores.view):
                with pytest.raises(problems.StoreNotFound, match="There is no store with this id"):
                    look(id, any_caller())


# ── Lists ────────────────────────────────────────────────────────────────────────────────────────


def ids_of(caller, filters=None, limit=100):
    """All pages, each no longer than its limit and none of them empty but the only one."""
    found, cursor = [], None
    while True:
        rows, cursor = stores.page(caller, filters or Filters(), limit, cursor)
        assert len(rows) <= limit
        found += [store.id for store, _ in rows]
        if cursor is None:
            return found
        assert rows


def test_a_list_has_the_callers_and_their_teams_stores_newest_first_and_each_once():
    for number, (user, team) in enumerate(
        [(USER, None), (USER, "team-1"), ("demo-user-2", "team-1"), ("demo-user-2", None), ("demo-user-2", "team-2")]
    ):
        at = NOW + timedelta(seconds=number)
        stored(any_store(f"store-{number}", user_id=user, team_id=team, created_at=at))

    for limit in (1, 2, 3, 100):
        assert ids_of(any_caller(USER, "team-1"), limit=limit) == ["store-2", "store-1", "store-0"]
    assert ids_of(any_caller(USER)) == ["store-1", "store-0"]
    assert ids_of(any_caller(USER, "team-1"), Filters(team_id="team-1")) == ["store-2", "store-1"]
    assert ids_of(any_caller("demo-user-3")) == []


def test_filters_narrow_a_list_across_pages():
    for number in range(6):
        odd = bool(number % 2)
        platform = "ETSY" if odd else "SHOPIFY"
        status = "UNREACHABLE" if number < 2 else "CONNECTED"
        stored(any_store(f"store-{number}", platform=platform, is_active=not odd, status=status))

    for limit in (1, 2, 100):
        assert ids_of(any_caller(), Filters(platform=PlatformName.ETSY), limit) == ["store-5", "store-3", "store-1"]
        assert ids_of(any_caller(), Filters(is_active=False), limit) == ["store-5", "store-3", "store-1"]
        assert ids_of(any_caller(), Filters(status=Status.UNREACHABLE), limit) == ["store-1", "store-0"]
        assert ids_of(any_caller(), Filters(platform=PlatformName.ETSY, is_active=True), limit) == []


def test_a_list_can_be_sorted_by_the_last_sync_the_longest_ago_first():
    for number, minutes in enumerate([5, None, 9, 5]):
        stored(any_store(f"store-{number}"))
        if minutes is not None:
            at = NOW - timedelta(minutes=minutes)
            SyncState(f"store-{number}").update(actions=[SyncState.last_sync_at.set(at)])

    for limit in (1, 2, 3, 100):
        found = ids_of(any_caller(), Filters(sort="lastSyncAt"), limit)
        assert found == ["store-1", "store-2", "store-0", "store-3"]


def test_a_team_that_is_not_the_callers_cannot_be_listed():
    with pytest.raises(problems.TeamNotYours):
        stores.page(any_caller(USER, "team-1"), Filters(team_id="team-2"), 10, None)


def test_a_cursor_serves_only_the_same_caller_teams_and_filters():
    for number in range(3):
        stored(any_store(f"store-{number}", team_id="team-1"))
    caller, filters = any_caller(USER, "team-1"), Filters(platform=PlatformName.WOO_COMMERCE)
    cursor = stores.page(caller, filters, 1, None)[1]

    others = [
        (any_caller("demo-user-2", "team-1"), filters),
        (any_caller(USER), filters),
        (caller, Filters()),
        (caller, Filters(platform=PlatformName.WOO_COMMERCE, sort="lastSyncAt")),
    ]
    for other in others:
        with pytest.raises(problems.CursorInvalid):
            stores.page(*other, 1, cursor)


# ── Patches ──────────────────────────────────────────────────────────────────────────────────────

RFC_7396 = [
    # https://www.rfc-editor.org/rfc/rfc7396#appendix-A, those whose original and patch are objects
    ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
    ('{"a":"b"}', '{"a":null}', "{}"),
    ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
    ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
    ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
    ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
    ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
    ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
    # beyond it: numbers stay as they were written
    ('{"a":4.80}', '{"b":{"c":12345678901234567890}}', '{"a":4.80,"b":{"c":12345678901234567890}}'),
    ('{"a":1}', '{"a":{"b":1.50}}', '{"a":{"b":1.50}}'),
]


@pytest.mark.parametrize("field", ["settings", "metadata"])
def test_settings_and_metadata_are_merged_as_rfc_7396_says(field):
    for number, (old, patch, merged) in enumerate(RFC_7396):
        stored(any_store(f"store-{number}", **{field: old}))

        changed = patched(f"store-{number}", **{field: exact_json.loads(patch)})

        assert getattr(changed, field) == merged
        assert getattr(row_of(f"store-{number}"), field) == merged


@pytest.mark.parametrize("field", ["settings", "metadata"])
def test_null_removes_the_whole_and_an_object_after_it_starts_anew(field):
    stored(any_store(**{field: '{"a":1}'}))

    assert getattr(patched("store-1", **{field: None}), field) is None
    assert getattr(patched("store-1", **{field: {"b": 2}}), field) == '{"b":2}'


def test_a_setting_can_be_removed_and_has_its_default_again():
    stored(any_store(settings='{"syncInterval":600,"theirs":1}'))
    assert slot_of("store-1") == wheel.slot("store-1", 600)

    patched("store-1", settings={"syncInterval": None})

    assert row_of("store-1").settings == '{"theirs":1}'
    assert slot_of("store-1") == wheel.slot("store-1", 300)


def test_metadata_that_grows_over_its_limit_by_patches_is_refused_and_stays():
    stored(any_store(metadata=exact_json.dumps({"a": "x" * 16_000})))

    with pytest.raises(problems.MetadataTooLarge):
        patched("store-1", metadata={"b": "x" * 400})
    with pytest.raises(problems.SettingsTooLarge):
        patched("store-1", settings={"theirs": "x" * 16_400})

    assert "b" not in exact_json.loads(row_of("store-1").metadata)


def test_a_patch_changes_what_it_names_and_nothing_else():
    before = stored(any_store(team_id="team-1", metadata='{"a":1}', domain="https://a.example.com")).to_simple_dict()

    patched("store-1", name="Another", currency="EUR", timezone="Asia/Tokyo")

    after = row_of("store-1").to_simple_dict()
    expected = {"name": "Another", "currency": "EUR", "timezone": "Asia/Tokyo", "version": 2}
    assert after == {**before, **expected, "updated_at": after["updated_at"]}
    assert row_of("store-1").updated_at == LATER


@pytest.mark.parametrize("change", ["patch", "make_primary", "remove"])
def test_a_stale_version_changes_nothing(change):
    stored(any_store())
    patched("store-1", name="Second")
    stale = {
        "patch": lambda expected: patched("store-1", expected=expected, name="Third"),
        "make_primary": lambda expected: stores.make_primary("store-1", any_caller(), expected, LATER),
        "remove": lambda expected: stores.begin_removal("store-1", any_caller(), expected, LATER),
    }[change]

    for expected in (1, 3, 0):
        with pytest.raises(problems.VersionConflict):
            stale(expected)
    assert (row_of("store-1").version, row_of("store-1").is_primary) == (2, False)
    stale(2)
    assert row_of("store-1").version == 3


def test_somebody_who_does_not_see_the_store_learns_nothing_from_a_version():
    stored(any_store())

    with pytest.raises(problems.StoreNotFound):
        patched("store-1", any_caller("demo-user-2"), expected=7, name="x")


# ── The wheel ────────────────────────────────────────────────────────────────────────────────────


def test_only_an_active_and_healthy_store_has_a_slot():
    stored(any_store())
    slot = wheel.slot("store-1", 300)
    assert slot_of("store-1") == slot

    patched("store-1", isActive=False)
    assert slot_of("store-1") is None
    patched("store-1", isActive=True)
    assert slot_of("store-1") == slot
    stores.set_status("store-1", Status.NEEDS_REAUTHORIZATION, "CREDENTIALS_REFUSED", NOW)
    assert slot_of("store-1") is None
    stores.set_status("store-1", Status.UNREACHABLE, "STORE_UNREACHABLE", NOW)
    assert slot_of("store-1") == slot
    stores.begin_removal("store-1", any_caller(), None, NOW)
    assert slot_of("store-1") is None


def test_a_status_is_news_once():
    stored(any_store())

    assert stores.set_status("store-1", Status.UNREACHABLE, "STORE_UNREACHABLE", NOW)
    assert not stores.set_status("store-1", Status.UNREACHABLE, "STORE_UNREACHABLE", NOW)
    assert row_of("store-1").version == 2
    assert not stores.set_status("nothing", Status.UNREACHABLE, "STORE_UNREACHABLE", NOW)


def test_every_reason_has_words_for_the_seller():
    for reason in stores.REASONS:
        view = stores.to_view(any_store(status="UNREACHABLE", status_reason=reason), None)
        assert view.status_reason.text.endswith(".")


# ── One primary an owner, one connection a platform's store ──────────────────────────────────────


def test_a_store_of_a_platform_is_connected_once_whoever_asks():
    stored(any_store("store-1", store_id="same"))

    with pytest.raises(problems.StoreAlreadyConnected):
        stored(any_store("store-2", store_id="same", user_id="demo-user-2"))
    stored(any_store("store-3", store_id="same", platform="SHOPIFY"))
    stores.begin_removal("store-1", any_caller(), None, NOW)
    stored(any_store("store-4", store_id="same"))


def test_the_new_primary_takes_the_role_and_the_old_one_shows_it():
    stored(any_store("store-1", is_primary=True))
    stored(any_store("store-2"))

    stores.make_primary("store-2", any_caller(), None, LATER)

    old, new = row_of("store-1"), row_of("store-2")
    assert (old.is_primary, old.version, old.updated_at) == (False, 2, LATER)
    assert (new.is_primary, new.version, new.updated_at) == (True, 2, LATER)


def test_a_change_of_team_gives_up_the_role_in_the_old_scope_and_takes_none_in_the_new():
    stored(any_store("store-1", is_primary=True))
    stored(any_store("store-2", team_id="team-1", is_primary=True))

    patched("store-1", teamId="team-1")

    assert holder_of(f"primary#user#{USER}") is None
    assert holder_of("primary#team#team-1") == "store-2"
    assert not row_of("store-1").is_primary


def test_a_change_of_team_can_take_the_role_along():
    stored(any_store("store-1", is_primary=True))
    stored(any_store("store-2", team_id="team-1", is_primary=True))

    patched("store-1", teamId="team-1", isPrimary=True)

    assert holder_of(f"primary#user#{USER}") is None
    assert holder_of("primary#team#team-1") == "store-1"
    assert not row_of("store-2").is_primary


def test_a_team_member_cannot_take_a_store_out_of_the_team():
    """Else they would hold the scope of the store's user, which they cannot see."""
    stored(any_store("store-1", is_primary=True))
    stored(any_store("store-2", team_id="team-1"))
    member = any_caller("demo-user-2", "team-1", "team-2")

    for team in (None, "team-2"):
        with pytest.raises(problems.OwnerOnly):
            patched("store-2", member, teamId=team, isPrimary=True)

    assert row_of("store-2").team_id == "team-1"
    assert holder_of(f"primary#user#{USER}") == "store-1"
    assert patched("store-2", member, teamId="team-1", name="Renamed").name == "Renamed"


def test_a_team_that_the_caller_is_not_in_is_refused():
    stored(any_store())

    with pytest.raises(problems.TeamNotYours):
        patched("store-1", any_caller(USER, "team-1"), teamId="team-2")


def empty_tables():
    """What is left over makes moto slow, which copies everything with each transaction."""
    for table in (Claim, Credentials, Store, SyncState):
        with table.batch_write() as batch:
            for row in table.scan():
                batch.delete(row)


class PrimaryRole(RuleBasedStateMachine):
    """Everything that may touch the role or a connection, against a model in memory."""

    examples = count()

    def __init__(self):
        super().__init__()
        example = next(self.examples)
        self.users = [f"user-{example}-{number}" for number in range(2)]
        self.teams = [None, f"team-{example}-0", f"team-{example}-1"]
        self.platform_ids = [f"shop-{example}-{number}" for number in range(4)]
        self.ids = (f"store-{example}-{number}" for number in count())
        self.stores = {}
        self.primaries = {}

    def caller(self, user):
        return any_caller(user, *self.teams[1:])

    def scope(self, id):
        user, team, _ = self.stores[id]
        return stores.primary_claim(user, team)

    def drop(self, id):
        if self.primaries.get(self.scope(id)) == id:
            del self.primaries[self.scope(id)]

    def any_of_them(self, number):
        return sorted(self.stores)[number % len(self.stores)]

    @rule(user=st.integers(0, 1), team=st.integers(0, 2), shop=st.integers(0, 3), primary=st.booleans())
    def create(self, user, team, shop, primary):
        id = next(self.ids)
        user, team, shop = self.users[user], self.teams[team], self.platform_ids[shop]
        new = any_store(id, user_id=user, team_id=team, store_id=shop, is_primary=primary)
        if shop in {each for _, _, each in self.stores.values()}:
            with pytest.raises(problems.StoreAlreadyConnected):
                stored(new)
            return
        stored(new)
        self.stores[id] = (user, team, shop)
        if primary:
            self.primaries[self.scope(id)] = id

    @precondition(lambda self: self.stores)
    @rule(number=st.integers(0, 9))
    def make_primary(self, number):
        id = self.any_of_them(number)
        stores.make_primary(id, self.caller(self.stores[id][0]), None, LATER)
        self.primaries[self.scope(id)] = id

    @precondition(lambda self: self.stores)
    @rule(number=st.integers(0, 9), primary=st.none() | st.booleans(), team=st.none() | st.integers(0, 2))
    def patch(self, number, primary, team):
        id = self.any_of_them(number)
        user, old_team, shop = self.stores[id]
        fields = {"name": "Renamed"}
        if primary is not None:
            fields["isPrimary"] = primary
        if team is not None:
            fields["teamId"] = self.teams[team]
        was_primary = self.primaries.get(self.scope(id)) == id
        patched(id, self.caller(user), **fields)
        self.drop(id)
        self.stores[id] = (user, self.teams[team] if team is not None else old_team, shop)
        stays = was_primary and self.stores[id][1] == old_team
        if primary or (primary is None and stays):
            self.primaries[self.scope(id)] = id

    @precondition(lambda self: self.stores)
    @rule(number=st.integers(0, 9))
    def delete(self, number):
        id = self.any_of_them(number)
        stores.begin_removal(id, self.caller(self.stores[id][0]), None, LATER)
        self.drop(id)
        del self.stores[id]

    @invariant()
    def rows_and_claims_are_those_of_the_model(self):
        connected = {f"store#WOO_COMMERCE#{shop}": id for id, (_, _, shop) in self.stores.items()}
        assert {row.claim: row.store for row in Claim.scan()} == {**self.primaries, **connected}
        assert {row.id for row in Store.scan() if row.is_primary} == set(self.primaries.values())

    def teardown(self):
        empty_tables()


def test_at_most_one_primary_an_owner_and_one_connection_a_store_after_any_sequence():
    limits = settings(max_examples=15, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(PrimaryRole, settings=limits)


class World:
    """A user with a primary store, another store, and a team."""

    numbers = count()

    def __init__(self):
        self.number = next(self.numbers)
        self.user, self.team = f"user-{self.number}", f"team-{self.number}"
        self.caller = any_caller(self.user, self.team)
        for name, primary in (("first", True), ("second", False)):
            stored(self.new(name, is_primary=primary))

    def id(self, name):
        return f"{name}-{self.number}"

    def new(self, name, shop=None, **values):
        return any_store(self.id(name), store_id=self.id(shop or name), user_id=self.user, **values)

    def patch(self, name, **fields):
        patched(self.id(name), self.caller, **fields)

    def state(self):
        """What can be seen of it, the names of this world taken out."""
        end = f"-{self.number}"
        rows = {
            row.id.removesuffix(end): (row.is_primary, bool(row.team_id), row.removing, row.currency)
            for row in Store.scan()
        }
        claims = {row.claim.removesuffix(end): row.store.removesuffix(end) for row in Claim.scan()}
        primaries = {claims[each] for each in claims if each.startswith("primary#")}
        assert primaries == {name for name, row in rows.items() if row[0]}
        return rows, claims


OPERATIONS = {
    "make second primary": lambda world: stores.make_primary(world.id("second"), world.caller, None, LATER),
    "move first to the team": lambda world: world.patch("first", teamId=world.team),
    "move second to the team as primary": lambda world: world.patch("second", teamId=world.team, isPrimary=True),
    "delete first": lambda world: stores.begin_removal(world.id("first"), world.caller, None, LATER),
    "change first": lambda world: world.patch("first", currency="EUR"),
    "connect third to the team as primary": lambda world: stored(
        world.new("third", shop="fourth", team_id=world.team, is_primary=True)
    ),
    "connect the same again": lambda world: stored(world.new("fourth")),
}


def attempt(operation, world):
    try:
        operation(world)
    except (problems.StoreNotFound, problems.StoreAlreadyConnected) as problem:
        return problem.name()
    return "done"


@cache
def after(*operations):
    empty_tables()
    world = World()
    for name in operations:
        attempt(OPERATIONS[name], world)
    return world.state()


@contextmanager
def before_call(number, act):
    """Has ``act`` happen before the call with this number to DynamoDB; gives a list that says whether it did."""
    calls, acted = count(), []

    def hook(**_):
        if not acted and next(calls) == number:
            acted.append(True)
            act()

    events = clients.dynamodb().meta.events
    events.register("before-call.dynamodb", hook)
    yield acted
    events.unregister("before-call.dynamodb", hook)


@pytest.mark.parametrize("one", OPERATIONS)
def test_an_operation_inside_another_has_the_effect_of_one_after_the_other(one):
    for other, act in OPERATIONS.items():
        if one == other and one.startswith("connect"):
            continue  # no two stores have the same id
        allowed = [after(one, other), after(other, one)]
        for point in count():
            empty_tables()
            world = World()
            with before_call(point, lambda world=world, act=act: attempt(act, world)) as acted:
                attempt(OPERATIONS[one], world)
            if not acted:
                break
            assert world.state() in allowed, f"{other} before call {point} of {one}"
        assert point > 0


def test_gives_up_busy_when_others_never_stop_changing_the_store():
    world = World()
    changes = count()

    def rename(**_):
        if not renaming:
            renaming.append(True)
            patched(world.id("second"), world.caller, name=f"Name {next(changes)}")
            renaming.clear()

    renaming = []
    events = clients.dynamodb().meta.events
    events.register("before-call.dynamodb.TransactWriteItems", rename)

    with pytest.raises(problems.ServiceBusy):
        stores.make_primary(world.id("second"), world.caller, None, LATER)

    events.unregister("before-call.dynamodb.TransactWriteItems", rename)
    assert holder_of(f"primary#user#{world.user}") == world.id("first")
