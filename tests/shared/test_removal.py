from datetime import timedelta

import pytest
from fakes import Clock, FakePlatform, NoHttp, connected

from shared import clients, designs, exact_json, platforms, records, removal, settings, stores
from shared.models import Credentials, Delivery, Order, Product, Store, StoreDesign, SyncRun, SyncState
from shared.platforms.base import PlatformError, PlatformName, Record, Refusal, Resource
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
        "d1", store_id=row.id, platform="WOO_COMMERCE", topic="t", received_at="1", headers="{}", body=b"x",
        outcome="PENDING", expires_at=now,
    ).save()  # fmt: skip
    return row


def remove(store, now, minutes=10):
    return removal.remove(store.id, NoHttp(), Clock(now), now + timedelta(minutes=minutes))


def left(store):
    tables = (Order, Product, SyncRun, StoreDesign)
    found = sum(len(list(table.query(store.id))) for table in tables)
    single = sum(model.count(store.id) for model in (Store, Credentials, SyncState))
    return found + single + len(list(Delivery.by_store.query(store.id)))


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
