from datetime import timedelta

import pytest
from fakes import Clock, FakeOAuthPlatform, FakePlatform, NoHttp, connected, granted, register_app

from shared import (
    apps,
    clients,
    clock,
    delivery_log,
    designs,
    exact_json,
    feed,
    platforms,
    records,
    removal,
    settings,
    stores,
)
from shared.models import (
    Change,
    Credentials,
    Delivery,
    HandledDeliveries,
    Order,
    Processing,
    Product,
    Store,
    StoreDesign,
    SyncRun,
    SyncState,
)
from shared.platforms.base import PlatformError, PlatformName, Record, Refusal, Resource, Tokens
from shared.stores import Caller

CALLER = Caller("user1")


@pytest.fixture
def platform(monkeypatch):
    fake = FakePlatform()
    monkeypatch.setattr(platforms, "PLATFORMS", {PlatformName.WOO_COMMERCE: fake})
    return fake


@pytest.fixture
def store(aws, platform, now):
    row = connected("store1", now)
    for number in range(230):
        order = Record(str(number), now, {"id": str(number)}, created_at=now)
        records.save_page(row.id, Resource.ORDERS, [order], "EUR", now, now)
    records.save(row.id, Resource.PRODUCTS, Record("p", now, {"id": "p"}), "EUR", now, now)
    designs.link(row, "design1", now)
    SyncRun(
        row.id, "t", outcome="FAILED", trigger="schedule", full=False, counts="{}", duration_ms=1,
        user_id="user1", platform="WOO_COMMERCE", expires_at=now,
    ).save()  # fmt: skip
    Delivery(
        row.id, "d1", platform="WOO_COMMERCE", topic="t", received_at="1", headers="{}", body=b"x",
        outcome="PENDING", expires_at=now,
    ).save()  # fmt: skip
    feed.append(row.id, Resource.ORDERS, {"1": "t"}, "e1", now)
    delivery_log.note(row.id, [delivery_log.Handled(clock.to_text(now), "d1", Processing.PROCESSED)], now)
    return row


def remove(store, now, minutes=10):
    return removal.remove(store.id, NoHttp(), Clock(now), now + timedelta(minutes=minutes))


def left(store):
    tables = (Order, Product, Change, SyncRun, StoreDesign, Delivery, HandledDeliveries)
    found = sum(len(list(table.query(store.id))) for table in tables)
    single = sum(model.count(store.id) for model in (Store, Credentials, SyncState))
    return found + single


def queued():
    answer = clients.sqs().receive_message(QueueUrl=settings.current().removal_queue_url, MaxNumberOfMessages=10)
    return [exact_json.loads(message["Body"]) for message in answer.get("Messages", [])]


def test_nothing_of_a_removed_store_is_left(store, platform, now):
    stores.begin_removal(store.id, CALLER, None, now)

    assert remove(store, now)
    assert left(store) == 0
    assert platform.calls == ["unsubscribe"]


def test_a_removal_that_was_cut_off_goes_on_where_it_was(store, platform, now):
    stores.begin_removal(store.id, CALLER, None, now)
    rounds = 0
    while not removal.remove(store.id, NoHttp(), Clock(now), now):
        rounds += 1
        assert queued() == [{"store": store.id}]

    assert left(store) == 0
    assert rounds >= 3


def test_a_platform_that_does_not_answer_holds_up_nothing(store, platform, now):
    def dead(call):
        raise PlatformError(Refusal.UNREACHABLE, "No answer.")

    platform.before = dead
    stores.begin_removal(store.id, CALLER, None, now)

    assert remove(store, now)
    assert left(store) == 0


def test_credentials_that_do_not_open_hold_up_nothing(store, platform, now):
    Credentials(store.id).update(actions=[Credentials.api_credentials.set(b"broken")])
    stores.begin_removal(store.id, CALLER, None, now)

    assert remove(store, now)
    assert left(store) == 0


def test_waits_for_a_run_that_may_still_write(store, platform, now):
    SyncState(store.id).update(actions=[SyncState.lease_until.set(now + timedelta(minutes=3))])
    stores.begin_removal(store.id, CALLER, None, now)

    assert not remove(store, now)
    assert left(store) > 200
    assert remove(store, now + timedelta(minutes=4))


def test_a_store_that_nobody_asked_to_remove_stays(store, platform, now):
    before = left(store)

    assert remove(store, now)
    assert left(store) == before


def test_a_store_that_is_gone_already_is_done(aws, platform, now):
    assert removal.remove("unknown", NoHttp(), Clock(now), now)


def test_reads_the_store_from_a_stream_and_from_the_queue():
    assert removal.store_in({"dynamodb": {"Keys": {"id": {"S": "s1"}}}}) == "s1"
    assert removal.store_in({"body": '{"store":"s2"}'}) == "s2"


# ── Grants ───────────────────────────────────────────────────────────────────────────────────────


class RevokingPlatform(FakeOAuthPlatform):
    """Can be told that we leave."""

    def revoke(self, connection, http):
        self._called(f"revoke {connection.credentials['access_token']}")


@pytest.fixture
def revoking(aws, monkeypatch):
    fake = RevokingPlatform()
    monkeypatch.setattr(platforms, "PLATFORMS", {PlatformName.SHOPIFY: fake})
    register_app()
    yield fake
    apps.forget()


@pytest.fixture
def leaving(revoking, now):
    row = granted("store1", Tokens("access-1", "refresh-1", now + timedelta(hours=1), now + timedelta(days=90)), now)
    stores.begin_removal(row.id, CALLER, None, now)
    return row


def test_the_grant_of_a_removed_store_is_given_back(leaving, revoking, now):
    assert remove(leaving, now)

    assert revoking.calls == ["unsubscribe", "revoke access-1"]
    assert left(leaving) == 0


def test_a_token_that_has_ended_is_renewed_to_give_the_grant_back(leaving, revoking, now):
    """Else every store that was idle for an hour would leave its grant alive."""
    later = now + timedelta(hours=3)
    revoking.refreshes = lambda connection, when: Tokens("access-2", "refresh-2", when + timedelta(hours=1))

    assert remove(leaving, later)

    assert revoking.calls == ["refresh", "unsubscribe", "revoke access-2"]
    assert left(leaving) == 0


@pytest.mark.parametrize("refusal", Refusal)
@pytest.mark.parametrize("at", ["unsubscribe", "revoke", "refresh"])
def test_whatever_the_platform_refuses_holds_up_nothing(leaving, revoking, now, refusal, at):
    def refused(call):
        if call.startswith(at):
            raise PlatformError(refusal, "No.", status=400)

    revoking.before = refused

    assert remove(leaving, now + timedelta(hours=2 if at == "refresh" else 0))

    assert left(leaving) == 0
    assert [call for call in revoking.calls if call.startswith("revoke")] == (
        [] if at == "refresh" else ["revoke access-1"]
    )


def test_a_registration_that_is_gone_holds_up_nothing(leaving, revoking, now):
    clients.secrets().delete_secret(SecretId="storelink/apps/SHOPIFY", ForceDeleteWithoutRecovery=True)
    apps.forget()

    assert remove(leaving, now)

    assert (left(leaving), revoking.calls) == (0, [])
