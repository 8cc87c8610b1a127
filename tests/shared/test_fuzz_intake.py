"""The intake under hostile deliveries: 100,000 of them, made from the vectors of all platforms by mutation.

They are the same each time; FUZZ_SEED and FUZZ_DELIVERIES make others, or more. What a run prints repeats it.
"""

import base64
import hmac
import json
import logging
import os
import random
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fakes import held, register_app

from infra.bench.cost import as_stream_image
from shared import apps, clients, clock, connecting, credentials, delivery_log, intake, platforms, stores, webhooks
from shared.keys import Purpose
from shared.models import Credentials, Processing, Status, Store, SyncState
from shared.observability import logger
from shared.platforms.base import Answer, FetchesKeys, PlatformName, ReceivesWebhooks, SignsWithApp

SEED = int(os.environ.get("FUZZ_SEED", "4"))
DELIVERIES = int(os.environ.get("FUZZ_DELIVERIES", "100000"))
PROCESSED = 300
MEBIBYTE = 1024 * 1024
VECTORS = Path(__file__).parents[3] / "shared" / "vectors"
SECRET = "whsec_" + base64.b64encode(b"w" * 36).decode()
Json = dict[str, Any]
Headers = dict[str, str]

OURS = {200, 400, 401, 404, 405, 413, 422}


# What is mutated


@dataclass
class Case:
    """A delivery before API Gateway has packed it."""

    platform: str
    connection: str | None
    headers: Headers
    body: bytes
    topic: str | None = None
    method: str = "POST"
    encoded: bool = True
    """Whether API Gateway hands it over as base64."""
    raw: str | None = None
    """What stands in place of the body, whatever the flag says."""

    def event(self) -> Json:
        """As API Gateway hands it over."""
        path = {"platform": self.platform, "connection": self.connection, "topic": self.topic}
        body = base64.b64encode(self.body).decode() if self.encoded else self.body.decode("utf-8", "surrogateescape")
        return {
            "requestContext": {"http": {"method": self.method}},
            "pathParameters": {name: value for name, value in path.items() if value is not None},
            "headers": self.headers,
            "body": body if self.raw is None else self.raw,
            "isBase64Encoded": self.encoded,
        }


def registered() -> dict[str, object]:
    """The adapters of all platforms that send webhooks."""
    found = {name: platforms.get(name) for name in platforms.ADAPTERS}
    return {str(name): adapter for name, adapter in found.items() if isinstance(adapter, ReceivesWebhooks)}


def _vectors() -> list[Json]:
    """Those of deliveries to platforms that we have an adapter for."""
    found = [vector for path in sorted(VECTORS.glob("*.json")) for vector in json.loads(path.read_text())]
    receiving = registered()
    kinds = {"webhook", "webhook_ping"}
    return [vector for vector in found if vector["platform"] in receiving and vector["other"].get("kind") in kinds]


def signed(case: Case, now: datetime) -> None:
    """Makes the signature right for whatever the body is now, as the platform would."""
    sign = SIGNERS.get(case.platform)
    if sign is not None:
        sign(case.headers, case.body, now)


def _base64_hmac(secret: str, message: bytes) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), message, "sha256")).decode()


def _woocommerce(headers: Headers, body: bytes, _now: datetime) -> None:
    headers["x-wc-webhook-signature"] = _base64_hmac(SECRET, body)


def _shopify(headers: Headers, body: bytes, _now: datetime) -> None:
    name = "shopify-hmac-sha256" if "shopify-topic" in headers else "x-shopify-hmac-sha256"
    headers[name] = _base64_hmac("app-secret-1", body)


def _tiktok_shop(headers: Headers, body: bytes, _now: datetime) -> None:
    headers["authorization"] = hmac.digest(b"app-secret-1", b"storelink" + body, "sha256").hex()


def _standard(headers: Headers, body: bytes, now: datetime) -> None:
    headers |= {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp()))}
    message = f"msg_1.{headers['webhook-timestamp']}.".encode() + body
    signature = hmac.digest(b"w" * 36, message, "sha256")
    headers["webhook-signature"] = f"v1,{base64.b64encode(signature).decode()}"


EBAYS_KEY = ec.derive_private_key(1, ec.SECP256R1())
"""In the place of eBay's own, which is eBay's alone."""
KEY_ID = "0c1e5a2d-key"


def _ebay(headers: Headers, body: bytes, _now: datetime) -> None:
    signature = base64.b64encode(EBAYS_KEY.sign(body, ec.ECDSA(hashes.SHA1(), deterministic_signing=True))).decode()  # noqa: S303 - as eBay does
    envelope = {"alg": "ecdsa", "kid": KEY_ID, "signature": signature, "digest": "SHA1"}
    headers["x-ebay-signature"] = base64.b64encode(json.dumps(envelope).encode()).decode()


def _public_key() -> str:
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return EBAYS_KEY.public_key().public_bytes(*form).decode().replace("\n", "")


SIGNERS: Mapping[str, Callable[[Headers, bytes, datetime], None]] = {
    "WOO_COMMERCE": _woocommerce,
    "SHOPIFY": _shopify,
    "TIKTOK_SHOP": _tiktok_shop,
    "CUSTOM": _standard,
    "EBAY": _ebay,
    "ETSY": _standard,
}
"""Amazon's notifications come through a queue: nothing of theirs is genuine here."""


# How it is mutated

DEEP = b"[" * 100_000
LONE = b'{"id":"\\ud800","note":"\\udfff\\ud800"}'
JSONS = (
    b"NaN",
    b'{"id":NaN,"total":-Infinity}',
    b'{"id":1,"id":2,"id":{"id":3}}',
    b'{"' + b"k" * 20_000 + b'":1}',
    b'{"id":' + b"9" * 5_000 + b"}",
    b'{"id":1e999999999,"total":"1e999999999"}',
    b'{"type":1e400,"shop_id":[],"data":{"order_id":{}}}',
    b'{"id":-0,"date_modified_gmt":"9999-99-99T99:99:99","updated_at":"0000-00-00T00:00:00Z"}',
    b'{"admin_graphql_api_id":"gid://shopify/Order/","id":true,"line_items":null}',
    b'{"id":"\\u0000","webhook_id":"","arg":[]}',
    b'\xef\xbb\xbf{"id":1}',
    b'{"id":1}'.decode().encode("utf-16"),
    b"\xff\xfe\x00\xd8",
    b"webhook_id=5",
    b"[]",
    b"null",
    b'"text"',
    b"0",
    b"",
    LONE,
    DEEP,
    DEEP + b"1" + b"]" * 100_000,
    b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
)
TEXTS = (
    "",
    " ",
    "\x00",
    "\u00e4" * 44,
    "\ud800",
    "a\udfffb",
    "A" * 43,
    "A" * 44,
    "=" * 44,
    "0" * 64,
    "\U0001f9e8",
    "x" * 9_000,
    "v1,",
    "../../etc",
    "#",
    "store#",
    "%00",
    "\r\nx-injected: 1",
)


class Mutations:
    """Ways to spoil a delivery, drawn by a seeded generator."""

    def __init__(self, seed: int, connections: list[tuple[str, str]]) -> None:
        self.random = random.Random(seed)  # noqa: S311 - it draws test cases
        self.connections = connections

    def some(self, case: Case) -> None:
        """One to three of them."""
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 3))):
            self.random.choice(self.ALL)(self, case)

    def another_body(self, case: Case) -> None:
        """A body of another kind."""
        case.body = self.random.choice(JSONS)

    def truncated(self, case: Case) -> None:
        """The body ends early."""
        case.body = case.body[: self.random.randrange(len(case.body) + 1)]

    def flipped(self, case: Case) -> None:
        """Some bytes are others."""
        spoilt = bytearray(case.body or b"x")
        for _ in range(self.random.randrange(1, 5)):
            spoilt[self.random.randrange(len(spoilt))] = self.random.randrange(256)
        case.body = bytes(spoilt)

    def spliced(self, case: Case) -> None:
        """A value of the JSON is another one."""
        try:
            found = json.loads(case.body)
        except (ValueError, RecursionError):
            return
        if isinstance(found, dict) and found:
            name = self.random.choice(sorted(found))
            found[name] = self.random.choice(
                (None, [], {}, "", -1, 1e308, True, "\ud800", [[[]]], {"id": None}, 10**30)
            )
            case.body = json.dumps(found).encode()

    def noise(self, case: Case) -> None:
        """Bytes without a meaning."""
        case.body = self.random.randbytes(self.random.choice((1, 7, 64, 4096)))

    def huge(self, case: Case) -> None:
        """About as large as may be, seldom."""
        if self.random.random() < 0.01:
            case.body = b"x" * (MEBIBYTE + self.random.choice((-1, 0, 1, MEBIBYTE)))

    def odd_header(self, case: Case) -> None:
        """One header is missing, odd, or there twice."""
        if not case.headers:
            return
        name = self.random.choice(sorted(case.headers))
        match self.random.randrange(6):
            case 0:
                del case.headers[name]
            case 1:
                case.headers[name] = self.random.choice(TEXTS)
            case 2:
                case.headers[name] += f",{case.headers[name]}"  # as API Gateway joins a repeated one
            case 3:
                case.headers[name.upper()] = case.headers.pop(name)
            case 4:
                case.headers[name] = case.headers[name][: self.random.randrange(len(case.headers[name]) + 1)]
            case 5:
                case.headers[name.title()] = self.random.choice(TEXTS)

    def more_headers(self, case: Case) -> None:
        """Headers that nobody asked for."""
        for _ in range(self.random.randrange(1, 20)):
            case.headers[f"x-{self.random.choice(TEXTS)}{self.random.randrange(99)}"] = self.random.choice(TEXTS)

    def elsewhere(self, case: Case) -> None:
        """Another address."""
        match self.random.randrange(6):
            case 0:
                case.platform = self.random.choice((*PlatformName, *TEXTS, "shopify", "WOO_COMMERCE "))
            case 1:
                case.connection = self.random.choice(TEXTS)
            case 2:
                case.platform, case.connection = self.random.choice(self.connections)
            case 3:
                case.connection = None
            case 4:
                case.connection = f"{(case.connection or '').partition('.')[0]}.{self.random.choice(TEXTS)}"
            case 5:
                case.topic = self.random.choice(TEXTS)

    def packed(self, case: Case) -> None:
        """The body is not packed as the flag says."""
        match self.random.randrange(4):
            case 0:
                case.raw, case.encoded = self.random.choice(TEXTS), True
            case 1:
                case.raw, case.encoded = base64.b64encode(case.body).decode()[:-1], True
            case 2:
                case.raw, case.encoded = base64.b64encode(case.body).decode(), False
            case 3:
                case.raw, case.encoded = case.body.decode("utf-8", "surrogateescape"), self.random.random() < 0.5

    def other_method(self, case: Case) -> None:
        """Not a POST."""
        if self.random.random() < 0.1:
            case.method = self.random.choice(("GET", "PUT", "post", "", "\ud800"))

    ALL = (
        another_body,
        another_body,
        truncated,
        flipped,
        spliced,
        noise,
        huge,
        odd_header,
        odd_header,
        more_headers,
        elsewhere,
        packed,
        other_method,
    )


# Who takes it


@dataclass
class Table:
    """As much of DynamoDB as the intake calls, in memory, and as strict as DynamoDB about what it is given."""

    credentials: dict[str, Json]
    claims: dict[str, Json]
    keys: set[str] = field(default_factory=set)
    taken: list[Json] = field(default_factory=list)
    """The first of what was put."""
    puts: int = 0

    signing_keys: dict[str, Json] = field(default_factory=dict)

    def get_item(self, TableName: str, Key: Json, **_: object) -> Json:  # noqa: N803 - botocore's names
        """A row of the credentials, or a key that deliveries name."""
        rows = self.credentials if TableName.endswith("-credentials") else self.signing_keys
        key = _checked(Key)
        return {"Item": rows[key]} if key in rows else {}

    def batch_get_item(self, RequestItems: Json) -> Json:  # noqa: N803
        """Claims."""
        [(table, asked)] = RequestItems.items()
        keys = [_checked(key) for key in asked["Keys"]]
        assert table == "storelink-claims"
        return {"Responses": {table: [self.claims[key] for key in keys if key in self.claims]}, "UnprocessedKeys": {}}

    def update_item(self, Key: Json, **_: object) -> Json:  # noqa: N803
        """One more unknown key that is asked for."""
        _checked(Key)
        return {}

    def put_item(self, TableName: str, Item: Json, ConditionExpression: str = "") -> Json:  # noqa: N803
        """A delivery, if there is none of this key; or a key."""
        if TableName == "storelink-signing-keys":
            self.signing_keys[_checked({"name": Item["name"]})] = Item
            return {}
        assert (TableName, ConditionExpression) == ("storelink-deliveries", "attribute_not_exists(delivery)")
        size = sum(len(name) + _size(value) for name, value in Item.items())
        if size > 400 * 1024 or not Item["store_id"]["S"]:
            raise _refused("PutItem")
        self.puts += 1
        if Item["delivery"]["S"] in self.keys:
            raise _refused("PutItem", "ConditionalCheckFailedException")
        self.keys.add(Item["delivery"]["S"])
        if len(self.taken) < PROCESSED and "body" in Item:
            self.taken.append(Item)
        return {}


def _checked(key: Json) -> str:
    """What DynamoDB takes as a key; and a text that is no Unicode cannot be sent to it."""
    text: str = next(iter(key.values()))["S"]
    if not text or len(text.encode()) > 2048:
        raise _refused("GetItem")
    return text


def _size(value: Json) -> int:
    (only,) = value.values()
    return len(only if isinstance(only, bytes) else only.encode())


def _refused(call: str, code: str = "ValidationException") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, call)  # type: ignore[typeddict-item]


class NoSuchKeys:
    """A platform that knows none of the keys that deliveries name."""

    def request(self, _method: str, url: str, **_: object) -> Answer:
        """A token for the app, and nothing else."""
        if url.endswith("/oauth2/token"):
            return Answer(200, {}, b'{"access_token":"a","expires_in":7200}')
        return Answer(404, {}, b'{"errors":[{"errorId":195001}]}')


class Bucket:
    """Takes everything."""

    def put_object(self, **_: object) -> None:
        """And keeps nothing."""


class Errors(logging.Handler):
    """What was logged at ERROR."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the message."""
        self.seen.append(record.getMessage())


@dataclass
class Receiving:
    """A store of each platform that receives webhooks."""

    now: datetime
    connections: dict[str, str] = field(default_factory=dict)

    def store(self, platform: str) -> None:
        """Connects one."""
        id = f"store-{platform.lower().replace('_', '-')}"
        row = Store(
            id,
            name="Shop",
            platform=platform,
            store_id=f"{id}.myshopify.com" if platform == "SHOPIFY" else "7494726673780148744",
            domain=f"https://{id}.example.com",
            currency="EUR",
            timezone="UTC",
            is_active=True,
            is_primary=False,
            user_id="user1",
            created_at=self.now,
            updated_at=self.now,
            status=Status.CONNECTED,
            version=1,
            created_key=stores.created_key(self.now, id),
            platform_shard=f"{platform}#0",
        )
        secrets = connecting.sealed(row, {"access_token": "a", "api_key": "k"}, {"current": SECRET}, self.now)
        stores.insert(row, secrets, SyncState(id, slot=None))
        self.connections[platform] = secrets.connection


@pytest.fixture
def receiving(aws: None, now: datetime) -> Receiving:
    found = Receiving(now)
    for platform, adapter in registered().items():
        found.store(platform)
        if isinstance(adapter, SignsWithApp | FetchesKeys):
            register_app(PlatformName(platform), **({"webhook_secret": SECRET} if platform == "ETSY" else {}))
    return found


def bases(receiving: Receiving) -> list[Case]:
    """What the vectors have, addressed to our stores."""
    return [
        Case(
            vector["platform"],
            receiving.connections[vector["platform"]],
            {name.lower(): value for name, value in vector["headers"].items()},
            base64.b64decode(vector["body_base64"]),
        )
        for vector in _vectors()
    ]


def deliveries(receiving: Receiving, seed: int, number: int, *, genuine: float = 0.5) -> Iterator[Case]:
    """So many, each drawn on its own; a share of them is signed after all that was done to them."""
    mutations = Mutations(seed, sorted(receiving.connections.items()))
    known = bases(receiving)
    draw = mutations.random
    for _ in range(number):
        base = draw.choice(known)
        case = Case(base.platform, base.connection, dict(base.headers), base.body, encoded=draw.random() < 0.5)
        if draw.random() < 0.3:
            case.connection = None
        mutations.some(case)
        if draw.random() < genuine:
            signed(case, receiving.now)
        yield case


@pytest.fixture
def quiet() -> Iterator[Errors]:
    """Only errors are logged, and only here."""
    errors, level, handlers = Errors(), logger.level, list(logger.handlers)
    for each in handlers:
        logger.removeHandler(each)
    logger.addHandler(errors)
    logger.setLevel(logging.ERROR)
    yield errors
    logger.removeHandler(errors)
    for each in handlers:
        logger.addHandler(each)
    logger.setLevel(level)


def in_memory(monkeypatch: pytest.MonkeyPatch, receiving: Receiving) -> Table:
    """The tables that the intake reads and writes, without the cost of a call."""
    rows = {row.store_id: row for row in (Credentials.get(f"{_id(name)}") for name in receiving.connections)}
    known = {
        id: {
            "platform": {"S": row.platform},
            "connection": {"S": row.connection},
            "webhook_secrets": {"B": row.webhook_secrets},
        }
        for id, row in rows.items()
    }
    for platform, adapter in registered().items():  # the apps' secrets and the keys of the seals are at hand
        if isinstance(adapter, SignsWithApp | FetchesKeys):
            apps.get(PlatformName(platform))
    for id, row in rows.items():
        credentials.unseal(Purpose.WEBHOOK, id, row.platform, row.webhook_secrets, receiving.now)
    known_key = {"name": {"S": f"EBAY#{KEY_ID}"}, "key": {"S": _public_key()}}
    table = Table(
        known, {}, signing_keys={f"EBAY#{KEY_ID}": {**known_key, "fetched_at": {"S": clock.to_text(receiving.now)}}}
    )
    monkeypatch.setattr(clients, "dynamodb", lambda: table)
    monkeypatch.setattr(clients, "s3", Bucket)
    return table


def _id(platform: str) -> str:
    return f"store-{platform.lower().replace('_', '-')}"


def test_a_hundred_thousand_hostile_deliveries_get_answers_of_ours_and_nothing_else(receiving, monkeypatch, quiet):
    print(f"FUZZ_SEED={SEED} FUZZ_DELIVERIES={DELIVERIES}")  # noqa: T201 - to repeat it
    table = in_memory(monkeypatch, receiving)
    statuses: Counter[int] = Counter()
    started = time.process_time()

    for number, case in enumerate(deliveries(receiving, SEED, DELIVERIES)):
        event = case.event()
        given = intake.answer(event, receiving.now, NoSuchKeys)
        status = given["statusCode"]
        statuses[status] += 1
        assert status in OURS, f"delivery {number} of seed {SEED} got {given}: {event!r:.2000}"
        if status != 200:
            assert given["headers"]["Content-Type"] == "application/problem+json"
            assert json.loads(given["body"])["status"] == status
    print(dict(statuses), f"{table.puts} stored, {time.process_time() - started:.0f} s of CPU")  # noqa: T201

    assert quiet.seen == []
    assert statuses.keys() == OURS, "each answer is met"
    assert table.puts > DELIVERIES / 10, "many get as far as the table"


def test_the_same_seed_makes_the_same_deliveries(receiving):
    first, second = ([repr(case) for case in deliveries(receiving, 9, 200)] for _ in range(2))

    assert first == second
    assert first != [repr(case) for case in deliveries(receiving, 10, 200)]


def test_what_the_fuzz_signs_is_genuine(receiving, monkeypatch):
    """Otherwise it would try nothing but the door."""
    table = in_memory(monkeypatch, receiving)
    stored = Counter[str]()
    for case in bases(receiving):
        signed(case, receiving.now)
        before = table.puts
        intake.answer(case.event(), receiving.now, NoSuchKeys)
        stored[case.platform] += table.puts - before

    assert {platform for platform, number in stored.items() if number} == SIGNERS.keys()


class Hostile:
    """A platform that answers with whatever."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - it draws test cases

    def request(self, method: str, url: str, **_: object) -> Answer:
        """Any status, any body."""
        status = self._random.choice((200, 200, 200, 201, 400, 401, 403, 404, 429, 500, 503))
        body = self._random.choice((*JSONS, b"<html></html>", b"{}"))
        return Answer(status, {"content-type": "application/json"}, body)

    def within(self, seconds: float) -> "Hostile":
        return self


ENDED = {Processing.PROCESSED, Processing.IGNORED, Processing.DEAD_LETTERED}


def test_what_is_genuine_and_hostile_is_concluded_without_a_foreign_exception(receiving, monkeypatch, quiet):
    monkeypatch.setattr(webhooks, "ATTEMPTS", 1)
    with monkeypatch.context() as patch:
        table = in_memory(patch, receiving)
        for case in deliveries(receiving, SEED + 1, PROCESSED * 4, genuine=1):
            intake.answer(case.event(), receiving.now, NoSuchKeys)
    http, outcomes = Hostile(SEED), Counter[tuple[str, str]]()

    for item in table.taken[:PROCESSED]:
        clients.dynamodb().put_item(TableName="storelink-deliveries", Item=item)
        key, store_id = item["delivery"]["S"], item["store_id"]["S"]
        with webhooks.Handling(http, lambda: receiving.now) as handling:
            handling.take({"dynamodb": {"NewImage": as_stream_image(item)}})
        row = next((row for row in held("deliveries") if row["delivery"]["S"] == key), None)
        assert row is None or "a fault of this service" not in row.get("cause", {}).get("S", ""), row
        noted = [each.outcome for each in delivery_log.newest_first(store_id) if each.delivery == key]
        outcomes[item["platform"]["S"], noted[0] if noted and row else Processing.IGNORED] += 1

    print(f"FUZZ_SEED={SEED}", dict(outcomes))  # noqa: T201 - to repeat it
    assert {outcome for _, outcome in outcomes} <= ENDED
    assert {(platform, Processing.DEAD_LETTERED) for platform in SIGNERS} <= outcomes.keys()


# What a body may cost


def _times(part: bytes, size: int, before: bytes = b"[", after: bytes = b"]") -> bytes:
    """As many of ``part`` as fit into ``size`` bytes, as JSON."""
    return before + b",".join([part] * ((size - 2) // (len(part) + 1))) + after


def _random(size: int) -> bytes:
    return random.Random(SEED).randbytes(size)  # noqa: S311 - it draws test cases


BODIES: Mapping[str, Callable[[int], bytes]] = {
    "random bytes": _random,
    "base64": lambda size: base64.b64encode(_random(size))[:size],
    "nothing but brackets": lambda size: b"[" * size,
    "deep": lambda size: b"[" * (size // 2) + b"]" * (size // 2),
    "deep again and again": lambda size: _times(b"[" * 50 + b"]" * 50, size),
    "empty lists": lambda size: _times(b"[]", size),
    "objects": lambda size: _times(b'{"":1}', size),
    "one long string": lambda size: b'"' + b"x" * (size - 2) + b'"',
    "escapes": lambda size: b'"' + b"\\ud800" * ((size - 2) // 6) + b'"',
    "many keys": lambda size: b"{" + b",".join(b'"%06d":1' % number for number in range((size - 2) // 11)) + b"}",
    "numbers": lambda size: _times(b"1e1", size),
    "one long number": lambda size: b"9" * size,
}


def cost(work: Callable[[], object]) -> float:
    """Seconds of CPU, the least of five."""
    found = []
    for _ in range(5):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


@pytest.mark.parametrize("kind", BODIES)
def test_no_body_costs_much_more_than_one_that_can_only_be_compressed(receiving, monkeypatch, quiet, kind):
    """On the machine that this was set on the floor is 21 ms: the bound of 50 ms is about 2.4 of it."""
    in_memory(monkeypatch, receiving)
    noise = _random(MEBIBYTE)
    floor = cost(lambda: (hmac.digest(b"secret", noise, "sha256"), zlib.compress(noise)))
    found = {}
    for platform in sorted(receiving.connections.keys() & SIGNERS.keys()):
        base = next(case for case in bases(receiving) if case.platform == platform)
        for size in (MEBIBYTE, intake.LARGEST_READ):
            for connection in (base.connection, None):
                body = BODIES[kind](size)
                case = Case(platform, connection, dict(base.headers), body, encoded=True)
                signed(case, receiving.now)
                event = case.event()
                place = f"{platform} {size} {'store' if connection else 'app'}"
                found[place] = cost(lambda event=event: intake.answer(event, receiving.now, NoSuchKeys)) / floor

    worst = max(found, key=lambda place: found[place])
    print(f"{kind}: at most {found[worst]:.2f} of {floor * 1000:.0f} ms, {worst}")  # noqa: T201 - for the report
    assert found[worst] < 2.3, found
