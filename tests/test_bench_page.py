"""The benchmark of a page measures what design.md speaks of, and every way to read gets all of it."""

import pytest

from infra.bench import page
from shared import clients
from shared.models import Store


def test_an_item_has_the_size_and_the_attributes_that_the_table_names():
    made = page.item()

    assert len(made) == page.ATTRIBUTES
    assert page.size_of(made) == page.SIZE


def test_every_way_reads_the_whole_page():
    client = clients.dynamodb()
    with page._answering(client):
        models, plain = page._models(), page._plain(client)()

    assert all(isinstance(each, Store) for each in models)
    assert [each.id for each in models] == [each["id"] for each in plain]
    assert [each.version for each in models] == [each["version"] for each in plain]
    assert len(models) == page.ITEMS


def test_a_way_that_reads_less_is_not_measured():
    with pytest.raises(SystemExit, match="did not get the page"):
        page._ratio(list, lambda: [1], 1)


def test_nothing_is_answered_when_it_is_over():
    page.measure(rounds=1)

    assert "page" not in repr(clients.dynamodb().meta.events._emitter._unique_id_handlers)


def test_a_row_for_each_budget():
    lines = page.measure(rounds=1)
    rows = page.report(lines).splitlines()[2:]

    assert all(line.ratio > 0 for line in lines)
    assert [row.split("|")[3].strip() for row in rows] == ["0.8", "0.3"]
