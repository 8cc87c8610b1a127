"""What verifying a delivery costs beside the bare cryptography of its scheme: ``make bench``.

    python -m infra.bench.verification

Every platform's ``verify`` gets a genuine delivery and one secret. Its floor is a single call of what the platform
signs with, over the very bytes that are signed and with the key ready: ``hmac.digest`` where it is an HMAC-SHA256, and
``cryptography``'s ``verify`` where it is a signature. The two take turns in one process.
"""

import hashlib
import hmac
import json
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from infra.bench.throughput import table
from shared import platforms
from shared.platforms.amazon import QUEUE
from shared.platforms.base import Delivery, PlatformName, ReceivesWebhooks, Verdict

BUDGETS = {1024: 0.5, 10 * 1024: 0.9}
"""Of the floor, by the size of the body in bytes, where the floor is ``hmac.digest`` (design.md 10)."""
ROUNDS = 31
_ROUND_SECONDS = 0.002
_NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
_SECRET = "s" * 32
_APPLICATION = "amzn1.sellerapps.app.bench"
_HMAC = "hmac.digest, SHA-256"


class Case(NamedTuple):
    """A genuine delivery, what verifies it, and the least that anybody must do for that."""

    delivery: Delivery
    secret: str
    floor: Callable[[], object]


@dataclass(frozen=True)
class Scheme:
    """How a platform signs."""

    platform: PlatformName
    floor: str
    case: Callable[[bytes], Case]
    """Signs a body, which is JSON."""
    name: str = ""
    """Tells it from the platform's other one."""


@dataclass(frozen=True)
class Line:
    """What a scheme measured."""

    scheme: Scheme
    ratios: Mapping[int, float]
    """Of the floor's time to that of ``verify``, by the size of the body."""


def _shopify(body: bytes) -> Case:
    given = {
        "topic": "orders/updated",
        "shop-domain": "bench.myshopify.com",
        "api-version": "2026-10",
        "webhook-id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
        "hmac-sha256": b64encode(_hmac(body)).decode(),
    }
    headers = {f"x-shopify-{name}": value for name, value in given.items()}
    return Case(Delivery(headers, body), _SECRET, _floor(body))


def _woocommerce(body: bytes) -> Case:
    headers = {"x-wc-webhook-signature": b64encode(_hmac(body)).decode()}
    return Case(Delivery(headers, body), _SECRET, _floor(body))


def _tiktok_shop(body: bytes) -> Case:
    message = b"appkey" + body
    return Case(Delivery({"authorization": _hmac(message).hex()}, body), f"appkey:{_SECRET}", _floor(message))


def _standard(body: bytes) -> Case:
    """https://www.standardwebhooks.com."""
    headers, message = _dated(body)
    headers["webhook-signature"] = f"v1,{b64encode(_hmac(message)).decode()}"
    secret = f"whsec_{b64encode(_SECRET.encode()).decode()}"
    return Case(Delivery(headers, body), secret, _floor(message))


def _standard_asymmetric(body: bytes) -> Case:
    headers, message = _dated(body)
    private = ed25519.Ed25519PrivateKey.from_private_bytes(_SECRET.encode())
    public, signature = private.public_key(), private.sign(message)
    headers["webhook-signature"] = f"v1a,{b64encode(signature).decode()}"
    secret = f"whpk_{b64encode(public.public_bytes_raw()).decode()}"
    return Case(Delivery(headers, body), secret, partial(public.verify, signature, message))


def _ebay(body: bytes) -> Case:
    private = ec.derive_private_key(20261122, ec.SECP256R1())
    public, scheme = private.public_key(), ec.ECDSA(SHA1())  # noqa: S303 - what eBay signs with
    signature = private.sign(body, scheme)
    claimed = {"alg": "ecdsa", "kid": "bench", "signature": b64encode(signature).decode(), "digest": "SHA1"}
    headers = {"x-ebay-signature": b64encode(json.dumps(claimed).encode()).decode()}
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return Case(Delivery(headers, body), pem, partial(public.verify, signature, body, scheme))


def _amazon(body: bytes) -> Case:
    floor = partial(hashlib.md5, body, usedforsecurity=False)
    return Case(Delivery({QUEUE: floor().hexdigest()}, body), _APPLICATION, floor)


def _floor(message: bytes) -> Callable[[], bytes]:
    return partial(hmac.digest, _SECRET.encode(), message, "sha256")


def _hmac(message: bytes) -> bytes:
    return _floor(message)()


def _dated(body: bytes) -> tuple[dict[str, str], bytes]:
    headers = {"webhook-id": "msg_bench", "webhook-timestamp": str(int(_NOW.timestamp()))}
    return headers, ".".join(headers.values()).encode() + b"." + body


SCHEMES = (
    Scheme(PlatformName.SHOPIFY, _HMAC, _shopify),
    Scheme(PlatformName.WOO_COMMERCE, _HMAC, _woocommerce),
    Scheme(PlatformName.TIKTOK_SHOP, _HMAC, _tiktok_shop),
    Scheme(PlatformName.ETSY, _HMAC, _standard),
    Scheme(PlatformName.CUSTOM, _HMAC, _standard, "v1"),
    Scheme(PlatformName.CUSTOM, "cryptography, Ed25519", _standard_asymmetric, "v1a"),
    Scheme(PlatformName.EBAY, "cryptography, ECDSA P-256, SHA-1", _ebay),
    Scheme(PlatformName.AMAZON, "hashlib, MD5", _amazon),
)


def body_of(size: int) -> bytes:
    """A JSON object of so many bytes; Amazon's ``verify`` reads in it whom it is for."""
    about = {"ApplicationId": _APPLICATION, "NotificationId": "bench"}
    content = {"NotificationType": "ORDER_CHANGE", "NotificationMetadata": about, "Payload": ""}
    content["Payload"] = "x" * (size - len(json.dumps(content)))
    return json.dumps(content).encode()


def measure(rounds: int = ROUNDS) -> list[Line]:
    """Every scheme at every size."""
    return [Line(each, {size: _ratio(each, body_of(size), rounds) for size in BUDGETS}) for each in SCHEMES]


def _ratio(scheme: Scheme, body: bytes, rounds: int) -> float:
    adapter = platforms.get(scheme.platform)
    assert isinstance(adapter, ReceivesWebhooks)
    delivery, secret, floor = scheme.case(body)
    secrets = [secret]

    def verify() -> object:
        return adapter.verify(delivery, secrets, _NOW)

    if verify() is not Verdict.GENUINE:
        raise SystemExit(f"{scheme.platform} refuses a delivery that is genuine.")
    times = max(1, int(_ROUND_SECONDS / _cpu(floor, 10)))
    # of neighbours in time: a busy machine slows both
    return median(_cpu(floor, times) / _cpu(verify, times) for _ in range(rounds))


def _cpu(call: Callable[[], object], times: int) -> float:
    """CPU seconds of a call."""
    began = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - began) / times


def report(lines: Sequence[Line]) -> str:
    """A row for each scheme; the budgets are of those whose floor is ``hmac.digest``."""
    titles = [title for size in BUDGETS for title in (f"at {size // 1024} KiB", "budget")]
    rows = []
    for line in lines:
        of_hmac = line.scheme.floor == _HMAC
        name = f"{line.scheme.platform} {line.scheme.name}".strip()
        figures = [
            text
            for size, budget in BUDGETS.items()
            for text in (f"{line.ratios[size]:.2f}", f"{budget:.1f}" if of_hmac else "")
        ]
        rows.append([name, *figures, line.scheme.floor])
    return table(["verification, to its floor", *titles, "floor"], rows)


def main() -> None:
    """Measure and print."""
    print(report(measure()))


if __name__ == "__main__":
    main()
