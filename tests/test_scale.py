"""The simulation of a million stores counts what DynamoDB and SQS would, on fewer."""

import pytest

from infra.bench import scale
from shared import settings, sync


@pytest.fixture(autouse=True)
def _as_deployed():
    with scale.as_deployed():
        yield


def due_at_start(slots):
    phase = int(scale.START.timestamp()) // 60 % 5
    return sorted(id for slot, ids in slots.items() if int(slot.split("#")[1]) == phase for id in ids)


def test_the_dispatcher_queues_every_store_that_is_due_once_across_pages_and_batches():
    population = scale.Population("", 4_000, {300: 1})
    slots = scale.wheel_of(population)
    stand_in = scale.StandIn(slots, [5], page=1_000)

    with stand_in.serving():
        due = sync.dispatch(scale.START)

    queued = [id for message in stand_in.queued for id in message]
    assert sorted(queued) == due_at_start(slots)
    assert len(queued) == due > 700
    assert stand_in.calls["Query"] > due * 41 / 1_000
    assert stand_in.calls["SendMessageBatch"] == -(-due // (20 * 10))
    assert all(len(message) == 20 for message in stand_in.queued[:-1])


def test_what_a_tick_costs_follows_the_stores_due_and_not_those_there_are():
    few = scale.Population("", 1_000, {300: 1})
    many = scale.Population("", 60_000, {18_000: 1})

    one, other = (scale.measure(each, scale.wheel_of(each), 5) for each in (few, many))

    assert 0.7 < one.due / other.due < 1.4
    assert one.queries == other.queries == 4
    assert abs(one.messages - other.messages) <= 4
    assert abs(one.read_units - other.read_units) < 2


def test_stores_that_are_off_are_not_on_the_wheel():
    slots = scale.wheel_of(scale.Population("", 1_000, {60: 0.3, 300: 0.5}))

    ids = [id for each in slots.values() for id in each]

    assert len(ids) == len(set(ids)) == 800
    assert sum(len(each) for slot, each in slots.items() if slot.startswith("1#")) == 300


def test_a_page_of_the_index_ends_after_a_megabyte():
    phase = int(scale.START.timestamp()) // 60 % 5
    slots = {f"5#{phase}#0": [f"{number:024x}" for number in range(26_000)]}
    entry = len("slot") + len("5#0#0") + len("store_id") + 24

    tick = scale.measure(scale.Population("", 130_000, {300: 1}), slots, 1)

    assert tick.due == 26_000
    assert tick.queries == 2 + 3, "two pages of one shard, and the other three shards"
    assert tick.read_units == pytest.approx(26_000 * entry / 4_096 / 2, abs=4)


def test_the_load_is_flat_over_the_minutes():
    population = scale.Population("", 20_000, {300: 0.5, 900: 0.5})

    least, most = scale.flatness(population, scale.wheel_of(population))

    assert least * 5 <= 10_000 + 10_000 / 3 <= most * 5
    assert most < 1.1 * least


def test_the_simulation_takes_shards_and_limits_from_the_template():
    deployed = scale.deployment(run_seconds=1.0)

    assert settings.current().shards == 4
    assert deployed.message_seconds == 3.0
    assert deployed.most_stores == pytest.approx(deployed.at_most * 20 / 3 * 300, abs=1)
    assert deployed.timeout == 60


def test_less_memory_is_less_cpu_and_the_waits_stay():
    tick = scale.Tick(due=1, queries=2, read_units=1, messages=1, sends=3, cpu=1.0)

    assert tick.lambda_seconds(1769) == pytest.approx(1.0 + 2 * 0.05 + 3 * 0.01)
    assert tick.lambda_seconds(512) == pytest.approx(1769 / 512 + 2 * 0.05 + 3 * 0.01)
    assert tick.lambda_seconds(3_000) == tick.lambda_seconds(1769)
