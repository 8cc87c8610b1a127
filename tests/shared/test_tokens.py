import json
from contextlib import suppress
from datetime import timedelta

import issuer as model
import pytest
from botocore.exceptions import ReadTimeoutError
from fakes import FakeOAuthPlatform, NoHttp

from shared import apps, changes, clients, clock, connecting, credentials, egress, keys, platforms, stores, sync, tokens
from shared.models import Credentials, Status, Store, SyncState
from shared.observability import logger
from shared.platforms.base import App, Identity, PlatformError, PlatformName, Refusal, Tokens
from shared.settings import current

SHOPIFY = PlatformName.SHOPIFY
OWNER = stores.Caller("user1")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DEAD = PlatformError(Refusal.CREDENTIALS, "invalid_grant", status=400)


@pytest.fixture
def issuer():
    return model.Issuer()


@pytest.fixture
def platform(aws, monkeypatch, issuer):
    """A platform whose tokens the model issuer gives."""
    fake = FakeOAuthPlatform(refreshes=issuer.refresh)
    monkeypatch.setitem(platforms.PLATFORMS, SHOPIFY, fake)
    monkeypatch.setattr(apps, "get", lambda _: App("id", "secret"))
    return fake


@pytest.fixture
def store(platform, issuer, now):
    return model.connect("store1", issuer.approve(now), now)


@pytest.fixture
def aws_calls(store):
    """The operations of AWS, in their order."""
    calls = []
    note = lambda model, **_: calls.append(model.name)  # noqa: E731 held, as botocore keeps weak references to nothing
    for client in (clients.dynamodb(), clients.kms(), clients.sqs()):
        client.meta.events.register("before-call", note)
    return calls


def row(id="store1"):
    return Credentials.get(id, consistent_read=True)


def status(id="store1"):
    found = Store.get(id, consistent_read=True)
    return found.status, found.status_reason


def refreshes(platform):
    return platform.calls.count("refresh")


def attend(at, id="store1"):
    tokens.attend(id, NoHttp(), lambda: at)


def due(id="store1"):
    text = row(id).refresh_due_at
    return clock.from_text(text) if text else None


def nominated():
    keys_ = (key for shard in range(current().shards) for key in Credentials.refresh_due.query(str(shard)))
    return [key.store_id for key in keys_]


def fresh(at, id="store1"):
    return tokens.fresh(stores.find(id), row(id), NoHttp(), at)


def access(of, at):
    return model.opened(of, at)["access_token"]


def held_by_another(at):
    """Another worker's lease."""
    return tokens._take_lease(row(), at)


def answering(error):
    def refuse(connection, now):
        raise error

    return refuse


def reconnect(given, at):
    store = stores.find("store1")
    proof = connecting.Proof(Identity(store.store_id, store.domain), model.pair_of(given), given)
    connecting.reestablish(store, OWNER, None, proof, None, at)


# One refresh at a time


def test_a_token_that_lives_is_used_as_it_is(store, platform, now):
    assert access(fresh(now + timedelta(minutes=44)), now) == "access-0-0"
    assert refreshes(platform) == 0


def test_whoever_uses_a_token_refreshes_it_in_its_last_quarter(store, platform, now):
    assert access(fresh(now + timedelta(minutes=46)), now) == "access-0-1"
    assert due() == now + timedelta(minutes=46 + 55)


@pytest.mark.parametrize("refusal", [Refusal.TRANSIENT, Refusal.UNREACHABLE, Refusal.RATE_LIMITED, Refusal.REQUEST])
def test_a_refresh_that_fails_is_no_harm_while_the_old_token_lives(store, platform, now, refusal):
    platform.refreshes = answering(PlatformError(refusal, "Not now."))

    for minute in (46, 46.5):  # the second looks before another try is due
        assert access(fresh(now + timedelta(minutes=minute)), now) == "access-0-0"
    assert refreshes(platform) == 1
    with pytest.raises(PlatformError):
        fresh(now + timedelta(minutes=59))


def test_a_token_that_is_about_to_end_is_replaced_before_it_is_used(store, platform, issuer, now):
    used = fresh(now + timedelta(minutes=59))

    assert access(used, now) == access(row(), now) == "access-0-1"


def test_who_lost_the_lease_uses_the_token_of_who_had_it(store, platform, now):
    at, seen = now + HOUR, row()
    fresh(at)

    late = tokens.refreshed(store, seen, NoHttp(), at)

    assert access(late, at) == "access-0-1"
    assert refreshes(platform) == 1


def test_who_lost_the_lease_uses_the_old_token_while_it_lives(store, platform, now):
    at = now + timedelta(minutes=59)
    held_by_another(at)

    assert access(fresh(at), at) == "access-0-0"
    assert refreshes(platform) == 0


def test_who_lost_the_lease_without_a_token_comes_again(store, platform, now):
    at = now + HOUR
    held_by_another(at)

    with pytest.raises(PlatformError) as refused:
        fresh(at)

    assert (refused.value.refusal, refused.value.retry_at) == (Refusal.TRANSIENT, at + tokens.WAIT_FOR_ANOTHER)


def test_a_refused_token_is_not_given_again_while_another_worker_replaces_it(store, platform, now):
    at, refused = now + timedelta(minutes=5), row()
    held_by_another(at)

    with pytest.raises(PlatformError) as error:
        tokens.instead(store, refused, NoHttp(), at)

    assert error.value.refusal is Refusal.TRANSIENT


def test_a_refused_token_that_was_only_sealed_anew_is_still_the_refused_one(store, platform, now):
    refused = row()
    blob = credentials.reseal(keys.Purpose.API, store.id, SHOPIFY, refused.api_credentials, now)
    Credentials(store.id).update(actions=[Credentials.api_credentials.set(blob)])

    assert access(tokens.instead(store, refused, NoHttp(), now), now) == "access-0-1"
    assert refreshes(platform) == 1


def test_the_lease_outlasts_the_call_the_skew_of_clocks_and_a_platform_that_goes_on():
    skew, goes_on = timedelta(seconds=40), timedelta(seconds=30)
    call = timedelta(seconds=egress.TOTAL_SECONDS)

    assert tokens.TO_CALL + call + skew + goes_on <= tokens.LEASE
    assert 2 * call < tokens.LEASE


def test_a_worker_whose_lease_has_grown_old_does_not_call(store, platform, now, monkeypatch):
    moments = iter([0.0, tokens.TO_CALL.total_seconds() + 1])
    monkeypatch.setattr(tokens, "monotonic", lambda: next(moments))

    with pytest.raises(PlatformError) as error:
        fresh(now + HOUR)

    assert error.value.refusal is Refusal.TRANSIENT
    assert refreshes(platform) == 0


def test_a_crash_leaves_the_pair_which_is_spent_once_more(store, platform, issuer, now):
    at = now + HOUR
    held_by_another(at)
    issuer.answer("refresh-0-0", at)

    later = at + tokens.LEASE
    assert access(fresh(later), later) == "access-0-2"
    assert not issuer.grants[0].revoked


def test_after_a_call_without_an_answer_nobody_calls_until_its_lease_has_ended(store, platform, now):
    at = now + HOUR
    platform.refreshes = answering(PlatformError(Refusal.UNREACHABLE, "It did not answer in time."))
    for moment in (at, at + timedelta(seconds=60), at + tokens.LEASE - timedelta(seconds=1)):
        with pytest.raises(PlatformError):
            fresh(moment)
    assert refreshes(platform) == 1

    with pytest.raises(PlatformError):
        fresh(at + tokens.LEASE)
    assert refreshes(platform) == 2


def test_a_token_that_stays_is_refreshed_once_by_two_who_saw_the_same(aws, platform, issuer, now):
    issuer.rotates = issuer.repeats_refresh_token = False
    store = model.connect("store1", issuer.approve(now), now)
    at, seen = now + HOUR, row()
    fresh(at)

    assert access(tokens.refreshed(store, seen, NoHttp(), at), at) == "access-0-1"
    assert refreshes(platform) == 1
    assert model.opened(row(), at)["refresh_token"] == "refresh-0-0"


def test_a_save_of_which_only_the_acknowledgement_was_lost_is_a_save(aws, platform, issuer, now, monkeypatch):
    issuer.rotates = False
    model.connect("store1", issuer.approve(now), now)
    genuine = Credentials.update

    def repeated(self, actions, condition=None, **more):
        if len(actions) > 5:
            genuine(Credentials("store1"), actions, condition, **more)
        return genuine(self, actions, condition, **more)

    monkeypatch.setattr(Credentials, "update", repeated)

    assert access(fresh(now + HOUR), now) == "access-0-1"


def test_a_save_that_failed_leaves_no_lease_and_a_plan(store, platform, now, monkeypatch):
    genuine, at = Credentials.update, now + HOUR

    def unheard(self, actions, condition=None, **more):
        if len(actions) > 5:
            error = ReadTimeoutError(endpoint_url="https://dynamodb.example.com")
            raise tokens.UpdateError("Failed.", error)
        return genuine(self, actions, condition, **more)

    monkeypatch.setattr(Credentials, "update", unheard)
    with pytest.raises(tokens.UpdateError):
        fresh(at)

    assert (row().lease_until, due()) == (None, at + timedelta(minutes=1))
    monkeypatch.undo()


def test_a_refresh_that_cannot_be_shown_is_still_a_refresh(store, platform, now, monkeypatch):
    def throttled(self, actions, condition=None, **more):
        raise tokens.UpdateError("Throttled.", None)

    monkeypatch.setattr(SyncState, "update", throttled)

    assert access(fresh(now + HOUR), now) == "access-0-1"
    assert row().refresh_failures is None


def test_a_key_that_is_unavailable_stops_the_refresh_before_the_platform(store, platform, now, monkeypatch):
    def unavailable(*_):
        raise keys.KeyUnavailable("KMS is down.")

    monkeypatch.setattr(keys, "current", unavailable)
    with pytest.raises(keys.KeyUnavailable):
        fresh(now + HOUR)

    assert refreshes(platform) == 0
    assert row().lease_until is None
    assert due() == now + HOUR + timedelta(minutes=1)


# Believing a refusal


def test_a_refusal_is_believed_only_if_the_pair_is_still_the_stored_one(store, platform, issuer, now):
    at = now + HOUR

    def meanwhile(connection, moment):
        reconnect(issuer.approve(at), at)
        return issuer.refresh(connection, moment)

    platform.refreshes = meanwhile

    assert access(fresh(at), at) == "access-1-1"
    assert status() == ("CONNECTED", None)


def test_a_refusal_that_another_worker_has_overtaken_is_not_believed_and_its_token_not_used(store, platform, now):
    at = now + HOUR

    def overtaken(connection, moment):
        Credentials("store1").update(actions=[Credentials.fence.set(99)])
        raise DEAD

    platform.refreshes = overtaken
    with pytest.raises(PlatformError) as error:
        fresh(at)

    assert error.value.refusal is Refusal.TRANSIENT
    assert status() == ("CONNECTED", None)


def test_a_grant_that_has_ended_is_written_and_said_once_and_left_alone(store, platform, issuer, now):
    at, old = now + HOUR, stores.find("store1")
    seen = row()
    issuer.take_back()
    with pytest.raises(PlatformError) as error:
        fresh(at)
    assert error.value.refusal is Refusal.CREDENTIALS
    assert status() == ("NEEDS_REAUTHORIZATION", "GRANT_ENDED")
    assert (row().lease_until, nominated()) == (None, [])
    version = Store.get("store1").version

    for moment in (at, at + HOUR, at + 100 * DAY):
        attend(moment)
        with pytest.raises(PlatformError) as again:
            tokens.refreshed(old, seen, NoHttp(), moment)
        assert again.value.refusal is Refusal.CREDENTIALS
        assert tokens.instead(old, seen, NoHttp(), moment) is None
    assert sync.run("store1", NoHttp(), lambda: at, at + HOUR).outcome == "SKIPPED"

    assert refreshes(platform) == 1
    assert Store.get("store1").version == version


def test_a_store_that_needs_a_person_leaves_the_index_unrefreshed(store, platform, now):
    stores.set_status("store1", Status.NEEDS_REAUTHORIZATION, "PERMISSION_MISSING", now)

    attend(now + 80 * DAY)

    assert (nominated(), refreshes(platform)) == ([], 0)
    assert stores.find("store1").reauthorize_by is None


@pytest.mark.parametrize("used", [False, True])
def test_the_token_before_is_tried_only_if_the_pair_has_not_worked(store, platform, now, used):
    at, asked = now + HOUR, []
    fresh(at)
    if used:
        tokens.proved(row())

    def only_the_first(connection, moment):
        asked.append(connection.credentials["refresh_token"])
        if asked[-1] == "refresh-0-0":
            return Tokens("rescued", "refresh-9", moment + HOUR)
        raise DEAD

    platform.refreshes = only_the_first
    later = at + HOUR
    if used:
        with pytest.raises(PlatformError):
            fresh(later)
        assert asked == ["refresh-0-1"]
    else:
        assert access(fresh(later), later) == "rescued"
        assert asked == ["refresh-0-1", "refresh-0-0"]
        # the one that was spent, not the one that was refused
        assert model.opened(row(), later)["previous_refresh_token"] == "refresh-0-0"
        assert status() == ("CONNECTED", None)


def test_a_pair_is_noted_to_have_worked_with_one_write(store, platform, now):
    used = fresh(now + HOUR)
    assert row().pair_unproved

    tokens.proved(used)

    assert not row().pair_unproved
    assert not used.pair_unproved


# Everything else passes


@pytest.mark.parametrize(
    "refusal", [each for each in Refusal if each is not Refusal.CREDENTIALS], ids=lambda refusal: refusal.value
)
def test_no_other_failure_changes_the_status(store, platform, now, refusal):
    platform.refreshes = answering(PlatformError(refusal, "It is not the seller's business.", status=500))
    before = Store.get("store1").version

    with pytest.raises(PlatformError):
        fresh(now + HOUR)

    assert Store.get("store1").version == before
    assert nominated() == ["store1"]


def test_an_attempt_that_failed_is_repeated_after_a_minute_and_twice_as_long_each_time(store, platform, now):
    platform.refreshes = answering(PlatformError(Refusal.NOT_THE_PLATFORM, "HTML."))
    at, waits = now + HOUR, []
    for _ in range(9):
        with pytest.raises(PlatformError):
            attend(at)
        waits.append((due() - at) / timedelta(minutes=1))
        at = due()
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert row().refresh_failures == 9


def test_a_success_forgets_the_failures(store, platform, issuer, now):
    platform.refreshes = answering(PlatformError(Refusal.REQUEST, "invalid_client", status=401))
    with pytest.raises(PlatformError):
        attend(now + HOUR)
    platform.refreshes = issuer.refresh

    attend(due())

    assert (row().refresh_failures, row().refresh_not_before) == (None, None)
    assert due() == now + HOUR + timedelta(minutes=1) + timedelta(minutes=55)


@pytest.mark.parametrize(
    ("asked", "waits"),
    [(timedelta(minutes=10), timedelta(minutes=10)), (9000 * DAY, DAY), (-HOUR, timedelta(minutes=1))],
)
def test_waits_as_long_as_the_platform_asks_within_reason(store, platform, now, asked, waits):
    at = now + HOUR
    platform.refreshes = answering(PlatformError(Refusal.RATE_LIMITED, "Slow down.", status=429, retry_at=at + asked))

    with pytest.raises(PlatformError):
        attend(at)

    assert due() - at == waits


# Plans


def test_an_answer_without_an_end_changes_no_plan_and_is_complained_of(store, platform, issuer, now, caplog):
    issuer.tells_ends = False
    ends = row().refresh_expires_at
    at = now + timedelta(minutes=56)

    attend(at)

    found = row()
    assert (found.token_expires_at, found.token_life, due()) == (at + HOUR, 3600, at + timedelta(minutes=55))
    assert found.refresh_expires_at == ends
    assert "expiry_not_told" in caplog.messages


def test_an_answer_without_a_refresh_token_keeps_the_old_one(store, platform, now):
    at = now + HOUR
    platform.refreshes = lambda connection, moment: Tokens("another", None, moment + HOUR)

    fresh(at)

    assert model.opened(row(), at) == {"access_token": "another", "refresh_token": "refresh-0-0"}


def test_a_token_without_an_end_leaves_the_index(store, platform, now):
    platform.refreshes = lambda connection, moment: Tokens("for ever", never_expires=True)

    attend(now + HOUR)

    assert nominated() == []
    assert access(fresh(now + 900 * DAY), now) == "for ever"


def test_a_permanent_token_is_migrated_at_once(platform, issuer, now):
    model.connect("store1", Tokens("permanent"), now)
    pair = issuer.approve(now)
    platform.refreshes = lambda connection, moment: pair

    attend(now)

    assert model.opened(row(), now) == model.pair_of(pair)
    assert row().token_expires_at == now + HOUR


def test_imported_tokens_are_refreshed_at_once(platform, issuer, now):
    given = issuer.approve(now)
    model.connect("store1", given._replace(expires_at=None, refresh_expires_at=None), now)
    assert due() == now

    attend(now)

    assert access(row(), now) == "access-0-1"


@pytest.mark.parametrize(
    ("life", "before"),
    [(HOUR, HOUR / 12), (2 * HOUR, HOUR / 6), (7 * DAY, DAY / 3), (365 * DAY, DAY / 3), (-HOUR, None)],
)
def test_the_schedule_takes_what_nobody_has_refreshed_in_most_of_the_last_quarter_or_day(platform, now, life, before):
    model.connect("store1", Tokens("access", "refresh", now + life), now)

    assert due() == now + life - before if before else due() < now


def test_an_idle_store_is_refreshed_at_a_third_of_what_its_grant_lives(platform, issuer, now):
    model.connect("store1", issuer.approve(now), now, active=False)

    attend(now + HOUR)

    assert due() == now + 30 * DAY
    assert refreshes(platform) == 0


def test_an_idle_store_whose_grant_has_no_known_end_is_refreshed_weekly(platform, now):
    model.connect("store1", Tokens("access", "refresh", now + HOUR), now, active=False)

    attend(now + HOUR)

    assert due() == now + tokens.IDLE_WITHOUT_END


def test_a_store_idle_for_a_hundred_days_still_has_its_grant(platform, issuer, now):
    model.connect("store1", issuer.approve(now), now, active=False)
    at, rounds = now, 0
    while at < now + 100 * DAY:
        at = max(at + timedelta(minutes=1), due())
        assert tokens.refresh_due(NoHttp(), lambda at=at: at, at + HOUR) == 1
        rounds += 1

    assert issuer.would_take(model.opened(row(), at)["refresh_token"], at)
    assert (refreshes(platform), issuer.most_in_flight) == (4, 1)
    assert rounds <= 6


def test_another_plan_does_not_overwrite_what_came_meanwhile(store, platform, now, monkeypatch):
    stale, at = row(), now + HOUR
    tokens.grant_ends("store1", now + 20 * DAY, at)

    tokens._plan_anew(stale, [Credentials.refresh_due_at.set(clock.to_text(now + 9 * DAY))])

    assert due() == at


# Announcements


@pytest.fixture
def bus(store, now, monkeypatch):
    """Every event that the table of stores gave, announcement by announcement."""
    calls, old = [], Store.get("store1")
    monkeypatch.setattr(clients.events(), "put_events", lambda Entries: calls.append(Entries) or {})  # noqa: N803

    def said():
        nonlocal old
        new = Store.get("store1", consistent_read=True)
        calls.clear()
        images = {"OldImage": old.to_dynamodb_dict(), "NewImage": new.to_dynamodb_dict()}
        arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/storelink-stores/stream/1"
        changes.publish([{"eventID": "e1", "eventSourceARN": arn, "dynamodb": images}], now)
        old = new
        return [(entry["DetailType"], json.loads(entry["Detail"]).get("days")) for each in calls for entry in each]

    return said


def test_the_seller_is_told_thirty_seven_and_one_day_ahead_once_each(store, platform, now, bus):
    Credentials("store1").update(actions=[Credentials.refreshed_at.set(now + 80 * DAY)])
    platform.refreshes = answering(PlatformError(Refusal.TRANSIENT, "It is down."))
    said = []
    for hours in range(24 * 55, 24 * 90, 12):
        for _ in range(2):
            with suppress(PlatformError):
                attend(now + hours * HOUR)
            said += bus()

    assert said == [("store.reauthorization_due", days) for days in (30, 7, 1)]
    assert SyncState.get("store1").reauthorize_by == now + 90 * DAY


def test_another_grant_is_announced_again(store, platform, issuer, now, bus):
    attend(now + 89.5 * DAY)
    assert bus() == [("store.reauthorization_due", 1)]

    later = now + 89.6 * DAY
    reconnect(issuer.approve(later), later)
    assert bus() == []
    assert stores.find("store1").reauthorize_by is None
    platform.refreshes = answering(PlatformError(Refusal.TRANSIENT, "It is down."))
    with pytest.raises(PlatformError):
        attend(later + 60.5 * DAY)
    assert bus() == [("store.reauthorization_due", 30)]


def test_an_end_that_a_refresh_has_put_off_is_announced_again(store, platform, issuer, now, bus):
    at = now + 89.5 * DAY
    attend(at)
    assert (bus(), row().noticed) == ([("store.reauthorization_due", 1)], None)

    platform.refreshes = answering(PlatformError(Refusal.TRANSIENT, "It is down."))
    with pytest.raises(PlatformError):
        attend(at + 60.5 * DAY)

    assert bus() == [("store.reauthorization_due", 30)]


def test_what_the_platform_says_of_the_end_survives_a_refresh_that_says_nothing(store, platform, issuer, now, bus):
    at, by = now + HOUR, now + 20 * DAY

    def meanwhile(connection, moment):
        tokens.grant_ends("store1", by, moment)
        return issuer.refresh(connection, moment)._replace(refresh_expires_at=None)

    platform.refreshes = meanwhile
    attend(at)
    assert row().refresh_expires_at == by

    attend(due())
    assert bus() == [("store.reauthorization_due", 30)]
    assert SyncState.get("store1").reauthorize_by == by


# The schedule


def test_looks_only_at_what_is_due(store, platform, now):
    early = due() - timedelta(seconds=1)
    assert tokens.refresh_due(NoHttp(), lambda: early, early + HOUR) == 0
    assert tokens.refresh_due(NoHttp(), due, early + HOUR) == 1
    assert refreshes(platform) == 1


def test_keeps_its_deadline(store, platform, now):
    at = now + HOUR

    assert tokens.refresh_due(NoHttp(), lambda: at, at) == 0
    assert refreshes(platform) == 0


def test_a_store_that_breaks_stops_no_other_and_rests_like_the_rest(platform, issuer, now):
    for number in range(3):
        model.connect(f"store{number}", issuer.approve(now)._replace(access_token=f"a{number}"), now)

    def broken(connection, moment):
        if connection.credentials["access_token"] == "a1":
            raise TypeError("access-secret")
        return Tokens("fine", "refresh", moment + HOUR)

    platform.refreshes = broken
    at = now + HOUR

    assert tokens.refresh_due(NoHttp(), lambda: at, at + HOUR) == 3
    assert [access(row(f"store{number}"), at) for number in range(3)] == ["fine", "a1", "fine"]
    assert due("store1") == at + timedelta(minutes=1)
    assert row("store1").lease_until is None


def test_a_refresh_takes_five_calls_of_aws(store, aws_calls, now):
    at = now + HOUR
    credentials.make_ready(keys.Purpose.API, "store1", at)
    aws_calls.clear()

    attend(at)

    # the store and its row; the lease, the pair, what the owner sees
    assert aws_calls == ["GetItem", "GetItem", "UpdateItem", "UpdateItem", "UpdateItem"]


# Secrets


def test_no_secret_is_logged_or_in_an_error(store, platform, issuer, now, caplog):
    at, texts = now + HOUR, []
    errors = [PlatformError(refusal, "Refused.") for refusal in Refusal if refusal is not Refusal.CREDENTIALS]
    for error in [*errors, TypeError("broken"), DEAD]:
        platform.refreshes = answering(error)
        tokens.refresh_due(NoHttp(), lambda at=at: at, at + HOUR)
        at += 2 * HOUR
    with pytest.raises(PlatformError) as refused:
        fresh(at)
    logged = "".join(logger.registered_formatter.format(record) for record in caplog.records)
    texts += [str(refused.value), repr(refused.value), repr(row()), logged]

    assert "grant_ended" in logged
    assert not any(secret in text for text in texts for secret in ("access-0", "refresh-0", "App(", "secret'"))


def test_what_is_written_of_a_store_holds_no_token(store, platform, now):
    fresh(now + HOUR)

    assert "-0-" not in str({**row().to_dynamodb_dict(), "api_credentials": {}})
