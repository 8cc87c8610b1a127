"""What others recorded and computed, as the tests of adapters use it."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from shared.platforms import amazon
from shared.platforms.base import Answer, Delivery, PlatformName

_SHARED = Path(__file__).parents[3] / "shared"
_VECTOR_FILES = {PlatformName.TIKTOK_SHOP: "tiktok", PlatformName.WOO_COMMERCE: "woocommerce"}


class Vector(NamedTuple):
    """One delivery whose verdict is known."""

    name: str
    kind: str
    delivery: Delivery
    secrets: list[str]
    now: datetime
    is_genuine: bool
    other: dict[str, Any]


def vectors_of(platform: PlatformName) -> list[Vector]:
    file = _SHARED / "vectors" / f"{_VECTOR_FILES.get(platform, platform.lower())}.json"
    return [
        Vector(
            each["name"],
            _kind(each),
            Delivery(_headers(each), base64.b64decode(each["body_base64"])),
            _secrets(platform, each),
            datetime.fromtimestamp(each["other"].get("now", 1_795_341_600), UTC),
            each["valid"],
            each["other"],
        )
        for each in json.loads(file.read_text())
    ]


def _kind(vector: Mapping[str, Any]) -> str:
    """What comes through a queue is a delivery as any other."""
    kind: str = vector["other"]["kind"]
    return "webhook" if kind == "queue_notification" else kind


def _headers(vector: Mapping[str, Any]) -> dict[str, str]:
    """A message of a queue has the MD5 that the queue told in their place."""
    if vector["other"]["kind"] != "queue_notification":
        return _lower(vector["headers"])
    md5 = vector["other"].get("sqs_md5_of_body")
    return {amazon.QUEUE: md5} if md5 is not None else {amazon.BUS: ""}


def _secrets(platform: PlatformName, vector: Mapping[str, Any]) -> list[str]:
    """What ``verify`` is given beside the delivery: secrets, or what is in their place."""
    other = vector["other"]
    secrets = [vector["secret"] or "", *other.get("previous_secrets", [])]
    match platform:
        case PlatformName.TIKTOK_SHOP:
            return [f"{other.get('app_key', '')}:{secret}" for secret in secrets]
        case PlatformName.EBAY if "public_keys" in other:
            return list(other["public_keys"].values())
        case PlatformName.AMAZON:
            return [other["expected_application_id"]]
    return secrets


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


class Replay:
    """Answers requests as a recorded store did, and fails on one that was never recorded."""

    def __init__(self, exchanges: Sequence[dict[str, Any]]) -> None:
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self._exchanges = [each for each in exchanges if each["request"]["scheme"] == "https"]

    def request(self, method: str, url: str, **options: Any) -> Answer:
        self.requests.append((method, url, options))
        path = urlsplit(url).path
        for exchange in self._exchanges:
            asked = exchange["request"]
            if (asked["method"], asked["path"].partition("?")[0]) == (method, path):
                return answer_of(exchange["response"])
        raise AssertionError(f"{method} {path} was never recorded")


def answer_of(response: Mapping[str, Any]) -> Answer:
    headers = {name.lower(): value for name, value in response["headers"]}
    return Answer(response["status"], headers, (response["body"] or "").encode())


class Recording(NamedTuple):
    """One file of recordings."""

    exchanges: list[dict[str, Any]]
    deliveries: list[tuple[Delivery, str | None]]

    def replay(self) -> Replay:
        return Replay(self.exchanges)


def recording_of(folder: str, name: str) -> Recording:
    content = json.loads((_SHARED / "recordings" / folder / f"{name}.json").read_text())
    deliveries = [
        (Delivery(_lower(dict(each["headers"])), base64.b64decode(each["body_base64"])), each["secret"])
        for each in content.get("deliveries", [])
    ]
    return Recording(content.get("exchanges", []), deliveries)


def recordings_in(folder: str) -> list[str]:
    return sorted(path.stem for path in (_SHARED / "recordings" / folder).glob("*.json"))


@pytest.fixture
def recording() -> Callable[[str], Recording]:
    """A recording of a real WooCommerce, by name."""
    return lambda name: recording_of("woocommerce", name)
