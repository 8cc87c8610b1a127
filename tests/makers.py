"""What tests need but do not care about; each test spells out the value that matters to it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from typing import Any
from urllib.parse import urlencode, urlsplit

from shared import exact_json, records, stores, wheel
from shared.models import Credentials, Order, Product, Store, SyncState
from shared.platforms.base import Answer, Record
from shared.stores import Caller
from shared.tables import Table

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
USER = "demo-user-1"
API_KEY = "ck_" + "5e" * 20
API_SECRET = "cs_" + "7a" * 20
_NO_QUERY: Mapping[str, str] = {}


def any_caller(user_id: str = USER, *teams: str) -> Caller:
    return Caller(user_id, frozenset(teams))


def any_store(id: str = "store-1", **values: Any) -> Store:
    """A connected store that is not stored yet."""
    created_at = values.get("created_at", NOW)
    usual = {
        "name": "Demo store",
        "platform": "WOO_COMMERCE",
        "store_id": f"https://{id}.example.com",
        "currency": "USD",
        "timezone": "UTC",
        "is_active": True,
        "is_primary": False,
        "user_id": USER,
        "created_at": created_at,
        "updated_at": created_at,
        "status": "CONNECTED",
        "version": 1,
        "created_key": stores.created_key(created_at, id),
        "platform_shard": f"WOO_COMMERCE#{wheel.shard_of(id)}",
    }
    return Store(id, **{**usual, **values})


def stored(store: Store) -> Store:
    """The same store, in the tables with all it needs."""
    credentials = Credentials(
        store.id, platform=store.platform, api_credentials=b"", webhook_secrets=b"", connection=f"{store.id}.x"
    )
    stores.insert(store, credentials, SyncState(store.id, slot=stores.slot_of(store)))
    return store


def any_row(model: type[Product] | type[Order], store_id: str, record: Record, seen: datetime, now: datetime) -> Any:
    """The row of a record, not written."""
    return records._row(model, store_id, record, records._see(record, "EUR", seen), now)


def stream_record(table: str, old: Table | None, new: Table | None, event_id: str = "e1") -> dict[str, Any]:
    """What a table's stream says of a row that changed, as Lambda hands it over."""
    images = {"OldImage": old.to_dynamodb_dict() if old else None, "NewImage": new.to_dynamodb_dict() if new else None}
    return {
        "eventID": event_id,
        "eventSource": "aws:dynamodb",
        "eventSourceARN": f"arn:aws:dynamodb:eu-central-1:123456789012:table/storelink-{table}/stream/1",
        "dynamodb": {name: value for name, value in images.items() if value is not None},
    }


class Context:
    """What Lambda tells a function about its invocation."""

    function_name = "storelink"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:storelink"
    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 10_000


def api_event(
    method: str,
    path: str,
    body: Any = None,
    *,
    raw: str | None = None,
    base64: bool = False,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] = _NO_QUERY,
    user: str | None = USER,
    teams: Iterable[str] = (),
) -> dict[str, Any]:
    """An event of the HTTP API, payload 2.0; ``raw`` is a body that is sent as it is."""
    claims = {"teams": f"[{' '.join(teams)}]", **({"sub": user} if user is not None else {})}
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", **(headers or {})},
        "requestContext": {
            "requestId": "request-1",
            "stage": "$default",
            "http": {"method": method, "path": path},
            "authorizer": {"jwt": {"claims": claims, "scopes": None}},
        },
        "isBase64Encoded": base64,
    }
    if query:
        event["queryStringParameters"] = dict(query)
        event["rawQueryString"] = urlencode(query)
    if raw is not None or body is not None:
        event["body"] = raw if raw is not None else exact_json.dumps(body)
    return event


@dataclass(frozen=True)
class Answered:
    """What a handler answered."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def problem(self) -> str:
        """Which problem it is: the last part of its type."""
        assert self.headers["Content-Type"] == "application/problem+json", self
        assert self.json["status"] == self.status, self
        return str(self.json["type"]).split("#")[1]


def call(function: str, method: str, path: str, body: Any = None, **more: Any) -> Answered:
    """The answer of a function's handler; ``more`` as for :func:`api_event`."""
    handler = import_module(f"functions.{function}").lambda_handler
    answer = handler(api_event(method, path, body, **more), Context())
    return Answered(answer["statusCode"], dict(answer.get("headers") or {}), answer.get("body") or "")


@dataclass
class Shop:
    """A WooCommerce store at the HTTP port that can be probed, and refuses all but one key."""

    url: str = ""
    """What it calls its own address; usually the one that it is called by."""
    currency: str = "EUR"
    timezone: str = "Europe/Berlin"
    name: str = "Demo shop"
    key: tuple[str, str] = (API_KEY, API_SECRET)
    requests: list[str] = field(default_factory=list)

    def within(self, seconds: float) -> "Shop":
        """The same; it takes no time."""
        return self

    def request(self, method: str, url: str, *, basic: tuple[str, str] | None = None, **_: Any) -> Answer:
        self.requests.append(f"{method} {url}")
        path = urlsplit(url).path
        home = self.url or url.removesuffix(path)
        if path == "/wp-json/":
            index = {"name": self.name, "home": home, "timezone_string": self.timezone, "namespaces": ["wc/v3"]}
            return _json(200, index)
        if basic != self.key:
            return _json(401, {"code": "woocommerce_rest_cannot_view", "message": "Consumer key is invalid."})
        if path == "/wp-json/wc/v3/data/currencies/current":
            return _json(200, {"code": self.currency})
        assert (method, path) == ("POST", "/wp-json/wc/v3/webhooks"), f"{method} {url} is not part of a probe"
        return _json(400, {"code": "woocommerce_rest_invalid_topic"})


def _json(status: int, content: Any) -> Answer:
    return Answer(status, {"content-type": "application/json"}, json.dumps(content).encode())
