"""The conformance check passes a server that keeps to the contract, and fails another by the name of what it breaks."""

import asyncio
import gzip
import importlib.util
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest
import yaml
from openapi_schema_validator import OAS31Validator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra import check_custom
from infra.check_custom import Verdict
from infra.local.sandbox.custom import Break, Custom, Server
from infra.local.sandbox.faults import Fault, Kind
from infra.local.sandbox.server import InProcess
from shared.platforms.base import Resource
from shared.platforms.custom import Rule

pytestmark = pytest.mark.enable_socket

ROOT = Path(__file__).parents[1]
CONTRACT = yaml.safe_load((ROOT / "docs" / "custom-openapi.yaml").read_text())
NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
KEY = "at-least-sixteen-characters"


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """Straight into the stand-in; ``client.platform`` opens its shops."""
    platform, stop = Custom(clock=NOW.timestamp), asyncio.Event()

    async def answer(request: Request) -> Response:
        return await platform.answer(request, stop)

    sandbox: Any = SimpleNamespace(
        app=Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "PUT", "DELETE"])])
    )
    with httpx.Client(transport=InProcess(sandbox)) as client:
        client.platform = platform  # type: ignore[attr-defined]
        yield client


@pytest.fixture
def server(client: httpx.Client) -> Server:
    platform: Custom = client.platform  # type: ignore[attr-defined]
    return platform.open("demo")


def verdicts(server: Server, client: httpx.Client, **changes: str) -> dict[str, Verdict]:
    asked = {"url": server.shop.url, "key": server.shop.key, "secret": server.shop.secret, **changes}
    return {each.rule: each for each in check_custom.check(**asked, client=client, now=NOW)}


def failed(found: dict[str, Verdict]) -> dict[str, str]:
    return {rule: each.seen for rule, each in found.items() if each.word == "FAIL"}


def broken(server: Server, *rules: Break, only: str = "") -> None:
    server.rules.broken = frozenset(rules)
    server.rules.only = only


def test_a_server_that_keeps_to_the_contract_passes(server: Server, client: httpx.Client) -> None:
    found = verdicts(server, client)

    assert {each.word for each in found.values()} == {"PASS"}
    assert len(found) == 30


def test_a_pair_of_key_and_secret_does_as_well(client: httpx.Client) -> None:
    server = client.platform.open("pair", pair=True)  # type: ignore[attr-defined]

    assert failed(verdicts(server, client)) == {}


def test_the_check_leaves_nothing_behind(server: Server, client: httpx.Client) -> None:
    verdicts(server, client)

    assert server.webhooks.shown == []


SEEN = {
    Break.WRONG_TYPE: ("orders: every required field is there, in its type", "status must be text, not a number"),
    Break.MISSING_FIELD: (
        "products: every required field is there, in its type",
        "variants must be a list; it is missing",
    ),
    Break.FLOAT_MONEY: ("orders: money is decimal text", 'total must be decimal text, such as "12.50", not a number'),
    Break.CURSOR_REPEATS: ("orders: pages are sorted, and end", "next_cursor is the cursor that was asked with"),
    Break.HTML: ("orders: pages are sorted, and end", "GET /orders: the answer must be JSON, not an HTML page."),
    Break.WRONG_CURRENCY: (
        "products: currencies are codes of ISO 4217",
        "currency must be a currency code of ISO 4217",
    ),
    Break.NO_ZONE: ("orders: times are RFC 3339 in UTC", "updatedAt must be a time of RFC 3339 in UTC"),
    Break.NUMBER_IDS: ("orders: ids are text", "id must be text of 1 to 128"),
    Break.UNSORTED: ("orders: pages are sorted, and end", "rows must be sorted by updatedAt and then id"),
    Break.ENDLESS: ("orders: pages are sorted, and end", "without repeats"),
    Break.EMPTY_PAGES: ("orders: pages are sorted, and end", "a page with a next_cursor must have rows"),
    Break.IGNORES_SINCE: (
        "orders: updated_since leaves out what is older, and nothing else",
        "no row may have an earlier updatedAt",
    ),
    Break.IGNORES_LIMIT: ("orders: no page is larger than limit", "at most as many rows as limit says"),
    Break.NO_DATE: ("answers have a Date that is right", "Date is ''"),
    Break.BARE_ERRORS: ("orders: an unknown id is 404 not_found", 'not {"error": {"code": "not_found", …}}'),
    Break.OPEN_DOOR: ("another key is refused", "GET /orders without a key gave 200 in place of 401"),
}


@pytest.mark.parametrize("rule", [each for each in Break if each is not Break.COUNTS_ROWS])
def test_a_server_that_breaks_a_rule_fails_by_its_name(server: Server, client: httpx.Client, rule: Break) -> None:
    broken(server, rule)

    found = failed(verdicts(server, client))

    name, seen = SEEN[rule]
    assert seen in found[name]


def test_one_bad_record_fails_its_rule_and_no_other(server: Server, client: httpx.Client) -> None:
    broken(server, Break.FLOAT_MONEY, only="1020")

    found = failed(verdicts(server, client))

    assert list(found) == ["orders: money is decimal text"]
    assert found["orders: money is decimal text"].endswith("not a number (1 of 40 records)")


def test_a_rule_that_hides_behind_another_is_not_said_to_hold(server: Server, client: httpx.Client) -> None:
    broken(server, Break.MISSING_FIELD, Break.FLOAT_MONEY)

    found = verdicts(server, client)

    assert {found[f"orders: {rule}"].word for rule in Rule} == {"FAIL", "SKIP"}


def test_without_webhooks_and_without_records_those_rules_are_skipped(client: httpx.Client) -> None:
    server = client.platform.open("empty", products=0, orders=0)  # type: ignore[attr-defined]
    server.rules.webhooks = False

    found = verdicts(server, client)

    assert failed(found) == {}
    assert found["orders: ids are text"].seen == "there are no orders: make a few for the check"
    assert found["webhooks: a subscription is made, listed and removed"].seen == "the server has no webhooks"


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault(Kind.STATUS, status=500, path="/orders"), "GET /orders with limit=100 gave 500"),
        (Fault(Kind.REDIRECT, path="/orders"), "redirects are not followed"),
        (Fault(Kind.RESET, path="/orders"), "resets this connection"),
        (Fault(Kind.BROKEN_JSON, path="/orders"), "must be JSON"),
        (Fault(Kind.ENDLESS, path="/orders", size=9 << 20), "more than 8 MiB"),
        (Fault(Kind.GZIP_BOMB, path="/orders", size=64 << 20), "more than 8 MiB"),
    ],
)
def test_a_server_that_fails_is_told_so(server: Server, client: httpx.Client, fault: Fault, seen: str) -> None:
    server.faults.ordered.append(fault)

    found = failed(verdicts(server, client))

    assert seen in found["orders: pages are sorted, and end"]
    assert not any(rule.startswith("products") for rule in found)


def test_a_cursor_that_expires_at_once_is_told_so(server: Server, client: httpx.Client) -> None:
    server.rules.cursor_life = -1

    assert "had expired" in failed(verdicts(server, client))["orders: small pages bring the same rows"]


def test_what_claims_to_be_json_must_say_so(server: Server, client: httpx.Client) -> None:
    server.faults.ordered.append(Fault(Kind.WRONG_CONTENT_TYPE, path="/orders"))

    assert "text/html" in failed(verdicts(server, client))["answers are JSON and say so"]


def test_an_answer_may_be_compressed() -> None:
    packed = {"content-encoding": "gzip", "content-type": "application/json"}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, headers=packed, content=gzip.compress(b'{"id":"a"}')))
    with httpx.Client(transport=transport) as client:
        answer = check_custom.Plain(client).request("GET", "https://shop.example/")

    assert answer.body == b'{"id":"a"}'


def test_plain_http_is_for_this_machine_only(client: httpx.Client, server: Server) -> None:
    found = {
        url: next(check_custom.check(url, KEY, "", client, NOW)).word
        for url in ("http://shop.example", "http://127.0.0.1:8080", "https://shop.example")
    }

    assert found == {"http://shop.example": "FAIL", "http://127.0.0.1:8080": "SKIP", "https://shop.example": "PASS"}


def test_the_key_is_in_no_line(server: Server, client: httpx.Client) -> None:
    for rule in Break:
        broken(server, rule)
        assert not any(server.shop.key in str(each) for each in verdicts(server, client).values())


def test_a_server_that_says_our_key_does_not_have_it_repeated(server: Server, client: httpx.Client) -> None:
    row = server.shop.rows["orders"]["1020"]
    row["id"] = server.shop.key

    found = verdicts(server, client)

    assert not any(server.shop.key in each.seen for each in found.values() if each.word == "FAIL")


# The command


def test_exits_by_what_was_found(
    server: Server, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUSTOM_KEY", server.shop.key)
    monkeypatch.setattr(check_custom, "datetime", SimpleNamespace(now=lambda _: NOW))

    good = check_custom.main([server.shop.url], Lent(client))
    said = capsys.readouterr().out
    broken(server, Break.NO_ZONE)
    bad = check_custom.main([server.shop.url], Lent(client))

    assert (good, bad) == (0, 1)
    assert "30 of 30 rules hold, 0 do not." in said
    assert "PASS  another key is refused: 401 unauthorized" in said
    assert "FAIL  orders: times are RFC 3339 in UTC: updatedAt must be" in capsys.readouterr().out


class Lent(httpx.Client):
    """A client that outlives whoever closes it."""

    def __init__(self, client: httpx.Client) -> None:
        super().__init__(transport=httpx.MockTransport(lambda request: self._ask(client, request)))

    @staticmethod
    def _ask(client: httpx.Client, request: httpx.Request) -> httpx.Response:
        headers = {name: value for name, value in request.headers.items() if name != "content-length"}
        answer = client.request(request.method, request.url, headers=headers, content=request.read())
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def test_asks_for_the_key(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("CUSTOM_KEY", raising=False)

    with pytest.raises(SystemExit) as stopped:
        check_custom.main(["https://shop.example"])

    assert stopped.value.code == 2
    assert "CUSTOM_KEY" in capsys.readouterr().err


# The example server


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("custom_server", ROOT / "docs" / "examples" / "custom_server.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def serving() -> Iterator[tuple[ModuleType, Any, str]]:
    module = example()
    shop = module.Shop()
    module.fill(shop, 60)
    with module.server(shop, KEY) as server:
        server.RequestHandlerClass.log_message = lambda *_: None
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield module, shop, f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_the_example_server_passes(serving: tuple[ModuleType, Any, str]) -> None:
    with httpx.Client(trust_env=False) as client:
        found = list(check_custom.check(serving[2], KEY, "", client, datetime.now(UTC)))

    assert [str(each) for each in found if each.word == "FAIL"] == []
    assert [each.rule for each in found if each.word == "SKIP"] == ["the address is https"]


@pytest.mark.parametrize(
    ("path", "of", "schema"),
    [
        ("/", "/", None),
        ("/orders", "/orders", "OrderPage"),
        ("/products?limit=5", "/products", "ProductPage"),
        ("/orders/o1", "/orders/{id}", None),
        ("/products/p1", "/products/{id}", None),
        ("/products/p1%2F", "/products/{id}", None),
        ("/orders?updated_since=x", "/orders", None),
        ("/orders?limit=1000", "/orders", None),
        ("/orders?cursor=AAAA", "/orders", None),
        ("/nothing", "/orders", None),
        ("/webhooks", "/webhooks", None),
    ],
)
def test_the_example_servers_answers_fit_the_contract(
    serving: tuple[ModuleType, Any, str], path: str, of: str, schema: str | None
) -> None:
    answer = httpx.get(f"{serving[2]}{path}", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)

    responses = CONTRACT["paths"][of]["get"]["responses"]
    found = responses["200"] if answer.status_code == 200 else CONTRACT["components"]["responses"]["Error"]
    wanted = {"$ref": f"#/components/schemas/{schema}"} if schema else found["content"]["application/json"]["schema"]
    OAS31Validator({**wanted, "components": CONTRACT["components"]}).validate(answer.json())


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"url":"https://a.example"}'])
def test_the_example_server_refuses_a_subscription_that_is_none(
    serving: tuple[ModuleType, Any, str], body: bytes
) -> None:
    answer = httpx.put(
        f"{serving[2]}/webhooks", content=body, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False
    )

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


def test_the_example_server_signs_so_that_we_take_it(serving: tuple[ModuleType, Any, str]) -> None:
    from shared.platforms.base import Delivery
    from shared.platforms.base import Verdict as Taken
    from shared.platforms.custom import Custom as Adapter

    module, shop, _ = serving
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    shop.subscribe({"url": "https://a.example/h", "events": ["order.updated"], "mark": "m", "secret": secret})
    record = shop.save("orders", module.example_order("o1", "p1"))

    (request,) = shop.announce("order.updated", record)
    assert shop.announce("product.updated", {}) == []
    delivery = Delivery({name.lower(): value for name, value in request.header_items()}, request.data)

    assert Adapter().verify(delivery, [secret], datetime.now(UTC)) is Taken.GENUINE
    assert Adapter().parse(delivery)[0].record.body["id"] == "o1"
    shop.remove("orders", "o1")
    with pytest.raises(module.Refused, match="no such record"):
        shop.one("orders", "o1")


def test_the_example_server_ends_cursors_after_a_week(serving: tuple[ModuleType, Any, str]) -> None:
    module = serving[0]
    old = module.base64.urlsafe_b64encode(b'[1, "2026-11-22T12:30:00.000000Z", "o1"]').decode()

    with pytest.raises(module.Refused) as refused:
        module.read_cursor(old)

    assert (refused.value.status, refused.value.code) == (410, "cursor_expired")


def test_every_kind_of_record_is_checked_for_every_rule(server: Server, client: httpx.Client) -> None:
    found = verdicts(server, client)

    assert {f"{resource}: {rule}" for resource in Resource for rule in Rule} <= set(found)
