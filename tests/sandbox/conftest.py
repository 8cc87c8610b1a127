"""A WooCommerce shop of the sandbox in-process, with a clock that is set and receivers that remember."""

import base64
import json
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local.sandbox.server import InProcess, Running, Sandbox, serve
from infra.local.sandbox.woo_shop import ApiKey
from infra.local.sandbox.woocommerce import Site

Json = dict[str, Any]

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings" / "woocommerce"
RECORDED_AT = datetime(2026, 11, 22, 12, 13, 30, tzinfo=UTC)
BASE_URL = "https://localhost:19443"
CONTROL = "/_sandbox/woocommerce/shops"


def recording(name: str) -> Json:
    """What was recorded of a real shop."""
    found: Json = json.loads((RECORDINGS / f"{name}.json").read_text())
    return found


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.moment = RECORDED_AT.timestamp()

    def __call__(self) -> float:
        return self.moment

    def set(self, text: str) -> None:
        """A moment in GMT."""
        self.moment = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()

    def pass_seconds(self, seconds: int) -> None:
        """Let time go by."""
        self.moment += seconds


class Receiver:
    """Where webhooks and grants go: remembers all requests and answers as told, by path."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.answers: dict[str, int | Exception] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.get(request.url.path, 200)
        if isinstance(answer, Exception):
            raise answer
        moved = {"Location": "https://localhost:19500/ok/moved"} if answer == 302 else {}
        return httpx.Response(answer, headers=moved)

    def topics(self) -> list[str]:
        """What came, in order: topics, and ``ping``."""
        return [request.headers.get("x-wc-webhook-topic", "ping") for request in self.requests]

    def deliveries(self) -> list[httpx.Request]:
        """The signed ones."""
        return [request for request in self.requests if "x-wc-webhook-signature" in request.headers]


class Web:
    """A caller of one shop: REST as a client does it, and the control API."""

    def __init__(self, client: httpx.Client, site: Site) -> None:
        self.client = client
        self.site = site
        self.auth: tuple[str, str] = (site.shop.keys[0].consumer_key, site.shop.keys[0].consumer_secret)

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """One REST call below wc/v3."""
        options = {"auth": self.auth} | options
        url = f"{self.site.shop.url}/wp-json/wc/v3/{path}"
        return self.client.request(method, url, json=body, **options)

    def get(self, path: str, **params: Any) -> Any:
        """What a GET gives, which must succeed."""
        answer = self.call("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def make(self, path: str, body: Json) -> Json:
        """What a POST makes, which must succeed."""
        answer = self.call("POST", path, body)
        assert answer.status_code == 201, answer.text
        made: Json = answer.json()
        return made

    def control(self, method: str, path: str, /, **body: Any) -> Json:
        """One call of the control API, which must succeed."""
        answer = self.client.request(method, f"{CONTROL}/{self.site.shop.name}{path}", json=body or None)
        assert answer.status_code < 300, answer.text
        said: Json = answer.json()
        return said

    def subscribe(self, topic: str, path: str = "/ok", secret: str = "geheim") -> int:
        """A webhook of the shop."""
        wish = {"topic": topic, "delivery_url": f"https://localhost:19500{path}", "secret": secret}
        return int(self.make("webhooks", wish)["id"])

    def key(self, permissions: str) -> tuple[str, str]:
        """Another key."""
        key = self.site.shop.add_key(permissions)
        return key.consumer_key, key.consumer_secret


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def open_shop(clock: Clock, receiver: Receiver) -> Iterator[Callable[..., Web]]:
    """Makes shops, all behind one sandbox."""
    sandbox = Sandbox(BASE_URL, clock=clock, http=lambda: httpx.AsyncClient(transport=httpx.MockTransport(receiver)))
    with httpx.Client(transport=InProcess(sandbox), base_url=BASE_URL) as client:

        def open_shop(name: str = "shop", **wishes: Any) -> Web:
            answer = client.post(CONTROL, json={"name": name, **wishes})
            assert answer.status_code == 201, answer.text
            return Web(client, sandbox.woocommerce.sites[name])

        yield open_shop


@pytest.fixture
def web(open_shop: Callable[..., Web]) -> Web:
    """A small shop."""
    return open_shop(products=20, variable=4, orders=30)


@pytest.fixture
def twin(open_shop: Callable[..., Web]) -> Web:
    """A shop comparable to the recorded one: as many products and orders, the recorded keys."""
    web = open_shop(products=250, variable=50, orders=400)
    shop = web.site.shop
    web.auth = shop.keys[0].consumer_key, shop.keys[0].consumer_secret = "ck_main", "cs_main"
    shop.keys.append(ApiKey(99, "ck_5ceba08ede05e530d1e3520fcc908df45c798e00", "cs_right", "read_write", shop.admin))
    return web


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sandbox over TLS."""
    with serve(tmp_path_factory.mktemp("ca")) as running:
        yield running


def differences(recorded: Any, ours: Any, path: str = "") -> list[str]:
    """Where two JSON values differ in shape: names, nesting, types; null fits all, an empty list any list."""
    if recorded is None or ours is None or path.endswith("line_items[].image.id"):
        return []  # a line's image id is "" for a simple product and 0 for a variation
    if isinstance(recorded, dict) and isinstance(ours, dict):
        found = [f"{path} lacks {name}" for name in recorded.keys() - ours.keys()]
        found += [f"{path} has {name}" for name in ours.keys() - recorded.keys()]
        for name in recorded.keys() & ours.keys():
            found += differences(recorded[name], ours[name], f"{path}.{name}")
        return found
    if isinstance(recorded, list) and isinstance(ours, list):
        pairs = zip(recorded, ours, strict=False)
        return [found for pair in pairs for found in differences(*pair, f"{path}[]")]
    same = _type(recorded) == _type(ours)
    return [] if same else [f"{path}: recorded {recorded!r}, ours {ours!r}"]


def _type(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return "int"  # PHP writes 10.0 as 10
    return type(value).__name__


def body_of(delivery: Json) -> bytes:
    """A recorded delivery's raw body."""
    return base64.b64decode(delivery["body_base64"])
