"""Etsy's webhooks: endpoints made by hand in a portal, for all shops of the app, signed as Standard Webhooks are.

https://developers.etsy.com/documentation/essentials/webhooks has headers, signature and distances of the retries;
its text calls the header bare base64, what hosts these webhooks for Etsy writes ``v1,`` before it.
"""

import asyncio
import base64
import hmac
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import httpx

from infra.local.sandbox.custom import Notification, Sent, Weather, encode
from infra.local.sandbox.etsy_shop import Shop
from infra.local.sandbox.tiktok_seller import Json

EVENT_TYPES = ("order.paid", "order.canceled", "order.shipped", "order.delivered")
WEBHOOK_SECRET = "whsec_c3RvcmVsaW5rLWxvY2FsLWV0c3ktd2ViaG9vaw=="  # noqa: S105 -- the local stack's
PATIENCE = 15.0
"""Seconds that the receiver has (taken: Etsy names none)."""
REPEATED_AFTER = (5, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
"""Seconds from one attempt to the next; after the last the delivery is dropped."""


@dataclass(frozen=True)
class Endpoint:
    """One address in the portal."""

    url: str
    secret: str = field(default=WEBHOOK_SECRET, repr=False)
    events: tuple[str, ...] = EVENT_TYPES


class Webhooks:
    """The app's endpoints and what waits to be sent."""

    def __init__(self, now: Callable[[], int], http: Callable[[], httpx.AsyncClient]) -> None:
        self.paused = False
        self.style = "v1"
        """How the signature is written: ``v1``, ``bare``, or ``several`` beside one of another key."""
        self.endpoints: list[Endpoint] = []
        self.sent: list[Sent] = []
        self._waiting: list[Notification] = []
        self._now = now
        self._http = http
        self._random = random.Random("etsy")  # noqa: S311 -- the same weather every time

    @property
    def waiting(self) -> list[Json]:
        """What is yet to be sent, and when."""
        return [{"id": one.id, "type": one.type, "due": one.due, "attempt": one.attempt} for one in self._waiting]

    def happened(self, shop: Shop, event: str, receipt: int) -> None:
        """Queue a delivery for each endpoint that wants it; an event has one id wherever it goes."""
        address = f"https://openapi.etsy.com/v3/application/shops/{shop.id}/receipts/{receipt}"
        body = encode({"event_type": event, "resource_url": address, "shop_id": shop.id})
        id = f"msg_{self._random.getrandbits(96):024x}"
        self._waiting += [
            Notification(id, one.url, event, body, self._now()) for one in self.endpoints if event in one.events
        ]

    async def deliver(self, weather: Weather | None = None) -> list[Sent]:
        """Send all that is due now."""
        weather, now = weather or Weather(), self._now()
        round_ = [one for one in self._waiting if one.due <= now for _ in range(weather.copies)]
        self._waiting = [one for one in self._waiting if one.due > now]
        if weather.shuffle:
            self._random.shuffle(round_)
        return [await self._deliver(one, lost=self._random.random() < weather.lose) for one in round_]

    async def _deliver(self, one: Notification, *, lost: bool) -> Sent:
        headers = {"Content-Type": "application/json", **self._signed(one)}
        status, error = (200, "") if lost else await self._post(one.url, headers, one.body)
        well = status is not None and 200 <= status < 300
        again = not well and one.attempt <= len(REPEATED_AFTER)
        if again:
            due = self._now() + REPEATED_AFTER[one.attempt - 1]
            self._waiting.append(replace(one, due=due, attempt=one.attempt + 1))
        told = {name: value for name, value in asdict(one).items() if name != "due"}
        sent = Sent(**told, headers=headers, status=status, error=error, lost=lost, dropped=not well and not again)
        self.sent.append(sent)
        return sent

    def _signed(self, one: Notification) -> dict[str, str]:
        stamp = str(self._now())
        secret = next((each.secret for each in self.endpoints if each.url == one.url), "")
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signature = _signature(key, one, stamp)
        if self.style == "v1":
            signature = f"v1,{signature}"
        elif self.style == "several":
            signature = f"v1,{_signature(b'another key', one, stamp)} v1,{signature}"
        return {"webhook-id": one.id, "webhook-timestamp": stamp, "webhook-signature": signature}

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> tuple[int | None, str]:
        try:
            async with self._http() as client:
                call = client.post(url, content=body, headers=headers, follow_redirects=False)
                answer = await asyncio.wait_for(call, PATIENCE)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as failure:
            return None, f"{type(failure).__name__}: {failure}"
        return answer.status_code, ""


def _signature(key: bytes, one: Notification, stamp: str) -> str:
    message = f"{one.id}.{stamp}.".encode() + one.body
    return base64.b64encode(hmac.digest(key, message, "sha256")).decode()
