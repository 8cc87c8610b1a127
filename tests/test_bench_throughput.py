"""The benchmark of throughput measures what it says it measures."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from infra import build
from infra.bench import account_server, peers, replay, subjects, throughput
from infra.local.sandbox.server import InProcess, Sandbox
from shared import clients
from shared.platforms import shopify
from shared.platforms.base import Answer, Connection, Record, Resource

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY = ("store_id", "id")
PROJECTION = {"ProjectionExpression": "#0, #1", "ExpressionAttributeNames": {"#0": "id", "#1": "hash"}}


class Port:
    """Fits the adapters' HTTP port."""

    def __init__(self, client):
        self.client = client

    def request(self, method, url, *, basic=None, **more):
        answer = self.client.request(method, url, auth=basic, **more)
        return Answer(answer.status_code, dict(answer.headers.items()), answer.content)


class Stand:
    """A shop with 120 orders behind its memory."""

    def __init__(self):
        sandbox = Sandbox("https://localhost:19443")
        self.told = replay.opened(sandbox, "bench0", orders=120, products=4)
        sandbox.app = replay.Replay(sandbox.app)
        self.client = httpx.Client(transport=InProcess(sandbox), base_url="https://localhost:19443")

    def orders(self):
        """All orders by the adapter."""
        opens = {"access_token": self.told["shopify"]["token"]}
        connection = Connection(self.told["shopify"]["domain"], opens, "bench0", "EUR", "UTC")
        cursor, done, found = {"started": "2026-11-22T12:00:00Z"}, False, []
        while not done:
            page = shopify.Shopify().fetch(connection, Resource.ORDERS, cursor, Port(self.client), NOW)
            cursor, done = page.cursor, page.done
            found += page.records
        return found

    def served(self, method="GET"):
        return self.client.request(method, "/_bench").json()

    def woo(self, method, path, **more):
        shop = self.told["woo"]
        url = f"{shop['domain']}/wp-json/wc/v3/{path}"
        return self.client.request(method, url, auth=(shop["key"], shop["secret"]), **more)


@pytest.fixture(scope="module")
def stand():
    made = Stand()
    with made.client:
        yield made


def test_an_answer_is_made_once_and_given_again_as_it_was(stand):
    first = stand.orders()
    made = stand.served("DELETE")["made"]
    second = stand.orders()

    assert len(first) == 120
    assert second == first
    assert made > 0
    assert stand.served()["made"] == 0


def test_it_is_told_which_orders_were_served_more_than_once(stand):
    stand.served("DELETE")
    stand.orders()
    once = stand.served()
    stand.orders()
    twice = stand.served()

    assert (once["orders"], once["distinct"]) == (120, 120)
    assert (twice["orders"], twice["distinct"]) == (240, 120)
    assert twice["largest"] == 70


def test_woocommerces_orders_are_counted_and_their_ids_alone_are_not(stand):
    stand.served("DELETE")
    stand.woo("GET", "orders", params={"per_page": "100", "status": "any"})
    whole = stand.served()["orders"]
    stand.woo("GET", "orders", params={"per_page": "100", "_fields": "id"})

    assert whole == stand.served()["orders"] == 100


def test_what_changes_something_is_never_answered_from_memory(stand):
    hook = {"topic": "order.updated", "delivery_url": "https://localhost:19500/x", "secret": "geheim"}

    ids = {stand.woo("POST", "webhooks", json=hook).json()["id"] for _ in range(2)}
    listed = {each["id"] for each in stand.woo("GET", "webhooks").json()}

    assert len(ids) == 2
    assert ids <= listed


def test_neither_is_a_mutation(stand):
    url = f"{stand.told['shopify']['domain']}/admin/api/{shopify.VERSION}/graphql.json"
    asked = {"query": shopify.BULK_START, "variables": {"query": shopify.BULK_ORDERS}}
    headers = {"X-Shopify-Access-Token": stand.told["shopify"]["token"]}

    answers = [stand.client.post(url, headers=headers, json=asked).json()["data"]["done"] for _ in range(2)]

    assert len({answer["bulkOperation"]["id"] for answer in answers}) == 2


def test_a_refusal_is_not_remembered():
    answers = iter((503, 200))

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": next(answers), "headers": []})
        await send({"type": "http.response.body", "body": b"[]"})

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(replay.Replay(app))) as client:
            return [(await client.get("https://x/bench0/wp-json/wc/v3/products")).status_code for _ in range(3)]

    assert asyncio.run(ask()) == [503, 200, 200]


class Motos:
    """The same calls to moto."""

    def answer(self, operation, asked):
        method = {"BatchWriteItem": "batch_write_item", "BatchGetItem": "batch_get_item", "Query": "query"}[operation]
        answer = getattr(clients.dynamodb(), method)(**asked)
        return {
            name: value for name, value in answer.items() if name in {"Responses", "Items", "Count", "ScannedCount"}
        }


def item(number, size=10):
    texts = {"store_id": "s1", "id": f"{number:03}", "hash": f"h{number}", "version": "v", "looked_at": "t"}
    return {**{name: {"S": text} for name, text in texts.items()}, "body": {"B": b"x" * size}}


def calls(numbers):
    puts = [{"PutRequest": {"Item": item(number)}} for number in numbers]
    keys = [{name: item(number)[name] for name in KEY} for number in (1, 99, 3)]
    yield "BatchWriteItem", {"RequestItems": {"storelink-orders": puts}}
    yield "BatchGetItem", {"RequestItems": {"storelink-orders": {"Keys": keys, **PROJECTION}}}
    names = {**PROJECTION["ExpressionAttributeNames"], "#2": "store_id"}
    query = {"KeyConditionExpression": "#2 = :0", "ExpressionAttributeValues": {":0": {"S": "s1"}}}
    yield "Query", {"TableName": "storelink-orders", **PROJECTION, **query, "ExpressionAttributeNames": names}


@pytest.mark.usefixtures("aws")
def test_pages_of_records_are_kept_as_moto_keeps_them():
    ours, motos = account_server.Records(), Motos()

    for operation, asked in calls(range(5)):
        answer = ours.answer(operation, asked)
        expected = motos.answer(operation, asked)
        if operation == "BatchGetItem":
            assert sorted(answer["Responses"]["storelink-orders"], key=str) == sorted(
                expected["Responses"]["storelink-orders"], key=str
            )
        else:
            assert {name: answer[name] for name in expected} == expected


def test_a_query_ends_after_a_megabyte_and_goes_on_from_there():
    ours = account_server.Records()
    puts = [{"PutRequest": {"Item": {**item(number), "body": {"B": "x" * 400_000}}}} for number in range(10)]
    ours.answer("BatchWriteItem", {"RequestItems": {"storelink-orders": puts}})
    (_, asked) = list(calls(()))[2]
    found, after = [], {}

    while after is not None:
        page = ours.answer("Query", {**asked, **({"ExclusiveStartKey": after} if after else {})})
        assert len(page["Items"]) <= 4
        found += [one["id"]["S"] for one in page["Items"]]
        after = page.get("LastEvaluatedKey")

    assert found == [f"{number:03}" for number in range(10)]


@pytest.mark.parametrize(
    ("operation", "asked"),
    [
        ("GetItem", {"TableName": "storelink-orders"}),
        ("Query", {"TableName": "storelink-sync-states"}),
        ("TransactWriteItems", {"TransactItems": []}),
    ],
)
def test_whatever_else_is_asked_is_for_moto(operation, asked):
    assert account_server.Records().answer(operation, asked) is None


def test_a_run_is_killed_with_the_page_fetched_and_nothing_of_it_stored(monkeypatch):
    killed, saved = [], []

    def kill(process, number):
        killed.append((process, number))
        raise InterruptedError

    monkeypatch.setattr(os, "kill", kill)
    save = subjects._deadly(lambda _, kind, page: saved.append((kind, len(page))), 150)
    save("s1", Resource.PRODUCTS, [Record] * 500)
    save("s1", Resource.ORDERS, [Record] * 100)
    with pytest.raises(InterruptedError):
        save("s1", Resource.ORDERS, [Record] * 100)

    assert killed == [(os.getpid(), signal.SIGKILL)]
    assert saved == [("products", 500), ("orders", 100)]


def test_time_is_the_same_in_every_run_and_waits_cost_nothing():
    one, other = subjects.Clock(NOW), subjects.Clock(NOW)

    assert [one(), one()] == [other(), other()]
    one.advance(30)
    assert one() - other() == timedelta(seconds=30)


def test_memory_is_the_process_own_and_not_that_of_whoever_started_it():
    ballast = b"x" * 200_000_000
    code = "from infra.bench.subjects import peak; print(peak())"
    ran = subprocess.run(  # noqa: S603 our own
        [sys.executable, "-c", code], cwd=build.ROOT, capture_output=True, text=True, check=True, env={**os.environ}
    )

    assert subjects.peak() > len(ballast) / 1024 / 1024
    assert 5 < float(ran.stdout) < 100


def measured(code, folder):
    meter = [sys.executable, "-I", "-S", str(peers.HERE / "meter.py"), str(folder / "output")]
    command = [*meter, sys.executable, "-I", "-S", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 our own
    return json.loads(ran.stdout)


def test_the_meter_takes_a_command_as_a_whole(tmp_path):
    ran = measured("print('a record'); x = b'x' * 50_000_000; sum(range(10_000_000)); raise SystemExit(3)", tmp_path)

    assert ran["code"] == 3
    assert ran["peak"] > 50
    assert ran["cpu"] > 0.05
    assert (tmp_path / "output").read_text() == "a record\n"


def looked_up(name, tmp_path):
    code = f"import socket; print(socket.getaddrinfo({name!r}, 443, type=socket.SOCK_STREAM)[0][4])"
    environment = {
        "PYTHONPATH": str(peers.HERE / "peer_site"),
        "STORELINK_PEERS": "4711:.myshopify.com",
        "REQUESTS_CA_BUNDLE": "ca",
    }
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 our own
    return ran.stdout.strip(), ran.stderr


def test_a_peer_reaches_the_played_platforms_and_nothing_else(tmp_path):
    assert looked_up("bench.myshopify.com", tmp_path)[0] == "('127.0.0.1', 4711)"
    assert looked_up("localhost", tmp_path)[0] == "('127.0.0.1', 443)"
    for name in ("example.com", "myshopify.com.example.com", "8.8.8.8"):
        assert "nothing but this machine" in looked_up(name, tmp_path)[1]


def test_every_peer_has_its_pinned_requirements():
    for peer in peers.PEERS:
        if peer.environment:
            pinned = Path(build.ROOT, f"infra/requirements/peers-{peer.environment}.txt").read_text()
            assert f"\n{peer.environment}==" in f"\n{pinned}".replace("dlt[duckdb]==", "dlt==")
            assert "--hash=sha256:" in pinned


def test_a_shop_tells_its_name_by_the_older_api_too(stand):
    host = stand.told["shopify"]["domain"].removeprefix("https://")
    answer = stand.client.get("/admin/api/2025-07/shop.json", headers={"Host": host})

    assert answer.json()["shop"]["myshopify_domain"] == host


def test_a_peer_is_told_of_a_bulk_operation_that_is_done(stand):
    told = stand.told["shopify"]
    asked = f'{{ node(id: "{told["bulk_job"]}") {{ ... on BulkOperation {{ status url }} }} }}'
    headers = {"Host": told["domain"].removeprefix("https://"), "X-Shopify-Access-Token": told["token"]}
    answer = stand.client.post("/admin/api/2025-07/graphql.json", json={"query": asked}, headers=headers)

    assert answer.json()["data"]["node"] == {"status": "COMPLETED", "url": told["bulk_orders"]}


def test_a_peer_that_lost_records_is_not_given_a_speed():
    row = peers.Row(peers.PEERS[2], expected=100, records=60, cpu=1, seconds=1, peak=50)

    assert "only 60 came" in peers.report([row])
    assert "only" not in peers.report([peers.Row(peers.PEERS[2], 100, 100, 1, 1, 50)])


def test_records_in_a_peers_output_are_counted(tmp_path):
    output = tmp_path / "output"
    output.write_text('{"type":"LOG"}\n{"type": "RECORD", "record": {}}\n{"type":"RECORD"}\n{"type":"STATE"}\n')
    counted = peers._records(output)
    output.write_text('{"records": 7}\n')

    assert (counted, peers._records(output)) == (2, 7)


def synced(peak):
    return throughput.Synced("SHOPIFY", 100, 20, 1.0, 0.5, peak, 3, {"Query": 1, "BatchWriteItem": 5})


def test_memory_and_pages_fetched_again_decide_and_the_ratio_does_not():
    slow = throughput.Fetched("Orders", 0.1, 1, 1, 10, 1, 30, 30, 0.6)
    one_page, more = throughput.Resumed("SHOPIFY", 45, 50, 50), throughput.Resumed("SHOPIFY", 45, 51, 50)

    assert throughput.Report([slow], [synced(128)], [one_page]).in_budget
    assert not throughput.Report([slow], [synced(129)], [one_page]).in_budget
    assert not throughput.Report([slow], [synced(128)], [more]).in_budget


def test_the_tables_say_what_was_measured():
    text = throughput.Report([], [synced(64)], []).text

    assert (
        "| Shopify, 100 orders, 20 products | 64 | 128 | 240 | 120 | 3 | 6 | 5.0 | 5 BatchWriteItem, 1 Query |" in text
    )


def test_each_adapter_is_measured_beside_a_plain_loop():
    assert {name for _, *pair in throughput.PAIRS for name in pair} <= subjects.SUBJECTS.keys()
