"""The bills rest on units that are computed here, since no AWS in a process counts them as AWS does."""

from datetime import timedelta

import pytest
from fakes import Clock
from makers import NOW, any_store, stored

from infra.bench import capacity, cost
from infra.bench.capacity import Index, Meter
from shared import clients, records, stores
from shared.models import Claim, Order, SyncState
from shared.platforms.base import Record, Resource


def metered(work):
    meter = Meter()
    with meter.counting():
        work()
    return meter


def order(text="x", minutes=0):
    at = NOW + timedelta(minutes=minutes)
    return Record("1", at, {"id": "1", "note": text}, created_at=NOW)


def save(record):
    later = record.updated_at + timedelta(hours=1)
    return records.save("store-1", Resource.ORDERS, record, "EUR", later, later)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "häuser"}, 7),
        ({"B": b"1234"}, 4),
        ({"BOOL": True}, 1),
        ({"NULL": True}, 1),
        ({"N": "12"}, 2),
        ({"N": "1234567.5"}, 5),
        ({"NS": ["5", "60"]}, 4),
        ({"L": [{"S": "ab"}, {"BOOL": False}]}, 3 + 1 + 2 + 1 + 1),
        ({"M": {"k": {"S": "abc"}}}, 3 + 1 + 1 + 3),
    ],
)
def test_an_item_is_as_large_as_its_names_and_values(value, size):
    assert capacity.item_size({"name": value}) == 4 + size


def test_units_are_counted_up_from_one():
    assert capacity.write_units(None) == 1
    assert capacity.write_units({"a": {"B": b"x" * 1023}}) == 1
    assert capacity.write_units({"a": {"B": b"x" * 1024}}) == 2
    assert capacity.read_units(0, consistent=True) == 1
    assert capacity.read_units(4_097, consistent=True) == 2
    assert capacity.read_units(4_097, consistent=False) == 1


def test_an_index_costs_where_its_entry_changes_and_twice_where_its_key_moves():
    index = Index("i", frozenset({"shard", "due"}), frozenset({"id", "shard", "due", "topic"}))
    item = {"id": {"S": "1"}, "shard": {"S": "0"}, "due": {"S": "a"}, "other": {"S": "x"}, "topic": {"S": "t"}}

    assert index.units(None, item) == 1
    assert index.units(item, item | {"other": {"S": "y"}}) == 0
    assert index.units(item, item | {"topic": {"S": "u"}}) == 1
    assert index.units(item, item | {"due": {"S": "b"}}) == 2
    assert index.units(item, {"id": {"S": "1"}}) == 1
    assert index.units({"id": {"S": "1"}}, {"id": {"S": "1"}, "shard": {"S": "0"}}) == 0


def test_the_templates_indexes_are_known():
    (wheel, late) = capacity.tables()["sync-states"].indexes

    assert (wheel.name, late.name) == ("wheel", "late")
    assert wheel.keys == wheel.attributes == {"slot", "store_id"}
    assert next(each.attributes for each in capacity.tables()["stores"].indexes) is None


def test_a_new_order_costs_itself_and_its_index_and_a_changed_one_moves_in_none(aws):
    created = metered(lambda: save(order()))
    changed = metered(lambda: save(order("y", minutes=5)))
    refused = metered(lambda: save(order("z", minutes=4)))

    assert dict(created.writes) == {"orders": 1, "orders/byCreated": 1}
    assert dict(changed.writes) == {"orders": 1}
    assert dict(refused.writes) == {"orders": 2}, "what is refused is charged too, and tried as an erased buyer's"
    assert created.calls == {"PutItem": 1}


def test_a_quiet_lease_touches_no_index(aws):
    stored(any_store("store-1"))

    meter = metered(lambda: SyncState("store-1").update(actions=[SyncState.lease_owner.set("me")]))

    assert dict(meter.writes) == {"sync-states": 1}


def test_transactions_cost_twice(aws):
    meter = metered(lambda: stored(any_store("store-1")))

    assert meter.calls["TransactWriteItems"] == 1
    assert meter.writes["claims"] == 2
    assert meter.writes["stores/byUser"] == 2
    assert "stores/byTeam" not in meter.writes

    read = metered(lambda: stores.view("store-1", cost.Caller("demo-user-1")))
    assert dict(read.reads) == {"stores": 2, "sync-states": 2}


def test_batches_are_charged_by_the_item(aws):
    def page():
        rows = [Record(str(number), NOW, {"id": str(number)}, created_at=NOW) for number in range(30)]
        records.save_page("store-1", Resource.ORDERS, rows, "EUR", NOW, NOW)

    meter = metered(page)

    assert meter.calls == {"BatchGetItem": 1, "BatchWriteItem": 2}
    assert meter.reads["orders"] == 15, "a read of what is not there costs as well"
    assert dict(meter.writes) == {"orders": 30, "orders/byCreated": 30}


def test_a_projection_or_a_filter_saves_no_reads(aws):
    with Order.batch_write() as batch:
        for number in range(10):
            batch.save(Order("s", str(number), version="", looked_at="", hash="", changed_at="k", body=b"x" * 1_990))

    whole = metered(lambda: list(Order.query("s")))
    parts = metered(lambda: list(Order.query("s", attributes_to_get=["id"])))
    few = metered(lambda: list(Order.query("s", filter_condition=Order.deleted.exists())))

    assert whole.reads["orders"] == parts.reads["orders"] == few.reads["orders"] == 2.5


def test_messages_events_and_keys_are_charged_by_their_own_rules(aws):
    queue = cost.settings.current().sync_queue_url
    body = "x" * 40_000

    def send():
        clients.sqs().send_message(QueueUrl=queue, MessageBody=body)
        entries = [{"Id": str(number), "MessageBody": body} for number in range(2)]
        clients.sqs().send_message_batch(QueueUrl=queue, Entries=entries)
        clients.events().put_events(
            Entries=[{"Source": "s", "DetailType": "d", "Detail": f'{{"x": "{body}"}}', "EventBusName": "storelink"}]
            * 3
        )

    meter = metered(send)

    assert meter.charged == {"sqs": 1 + 2, "events": 3}


def test_nothing_is_counted_afterwards(aws):
    meter = metered(lambda: None)

    Claim("c", store="s").save()

    assert not meter.calls
    assert not meter.writes


def test_a_bill_is_units_times_prices():
    meter = Meter()
    meter.writes["orders"] = 30
    meter.reads["stores"] = 10
    meter.charged["events"] = 10
    stage = cost.Stage("process", "process_webhook", 0.1, 0.001, 0.010, meter, things=10, logged=1_000)

    bill = cost.Bill("A million", list(stage.lines()), 3.5, [cost.Option("less", 1.0), cost.Option("nothing", 0.0)])

    assert bill.of("writes orders") == pytest.approx(3 * 0.625)
    assert bill.of("reads stores") == pytest.approx(0.125)
    assert bill.of("events") == pytest.approx(1.0)
    assert bill.of("Lambda requests") == pytest.approx(0.02)
    assert bill.of("logs") == pytest.approx(0.5), "a million kilobytes are a gigabyte"
    seconds = 0.001 * 1769 / 256 + 0.010
    assert sum(line.dollars for line in bill.lines if " ms at " in line.what) == pytest.approx(seconds / 4 * 13.3334)
    assert "is missed" in bill.text()
    assert f"| less | 1.00 | {bill.dollars - 1:.2f} |" in bill.text()
    assert "nothing" not in bill.text()


def test_the_bills_of_webhooks_and_records_have_no_more_units_than_their_budgets_allow(monkeypatch):
    """What they cost beside CPU time, which depends on the machine: $3.31 and $0.84 of the $3.50 and $1.00."""
    clock = Clock(NOW)
    monkeypatch.setattr("shared.clock.now", clock)
    with cost.measuring() as (running, http):
        connected = [cost._connected(running, f"webhooks-{n}", 20, http) for n in range(cost.STORES)]
        webhooks = list(cost._webhooks(connected, lambda: clock.advance(minutes=1)))
        records_ = list(cost._records([cost._connected(running, f"sync-{n}", 200, http) for n in range(2)], http))

    assert max(without_cpu(bill) for bill in webhooks) <= 3.33
    assert max(without_cpu(bill) for bill in records_) <= 0.88


def without_cpu(bill):
    return sum(line.dollars for line in bill.lines if line.price != "Lambda GB-second")


def test_a_budget_that_holds_is_said_to_hold():
    bill = cost.Bill("A million", [cost.Line("receive", "HTTP API", 1, "HTTP API request")], 3.5)

    assert "The budget of $3.50 a million holds." in bill.text()


def test_waits_are_shared_by_the_stores_that_wait_together_and_hide_the_cpu():
    alone = cost.Stage("sync", "sync_store", 0.05, cpu=0.02, waits=0.6, meter=Meter(), things=1, logged=0)
    cpu = 0.02 * 1769 / 1024

    assert cost._shared(alone, 6).waits + cpu == pytest.approx(0.1)
    assert cost._shared(alone, 60).waits == 0
