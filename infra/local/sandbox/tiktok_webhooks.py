"""A TikTok Shop's webhooks: one address per event type, signed, repeated at the documented distances, then dropped."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import httpx

from infra.local.sandbox.tiktok_seller import Json

EVENT_TYPES = {
    "ORDER_STATUS_CHANGE": 1,
    "RECIPIENT_ADDRESS_UPDATE": 3,
    "PACKAGE_UPDATE": 4,
    "PRODUCT_STATUS_CHANGE": 5,
    "SELLER_DEAUTHORIZATION": 6,
    "UPCOMING_AUTHORIZATION_EXPIRATION": 7,
    "CANCELLATION_STATUS_CHANGE": 11,
    "RETURN_STATUS_CHANGE": 12,
    "NEW_CONVERSATION": 13,
    "NEW_MESSAGE": 14,
    "PRODUCT_INFORMATION_CHANGE": 15,
    "PRODUCT_CREATION": 16,
    "PRODUCT_CATEGORY_CHANGE": 18,
    "NEW_MESSAGE_LISTENER": 33,
    "INVOICE_STATUS_CHANGE": 36,
    "PRODUCT_AUDIT_STATUS_CHANGE": 37,
}
PATIENCE = 3.0
"""Seconds that the receiver has, https://partner.tiktokshop.com/docv2/page/tts-webhooks-overview."""
REPEATED_AFTER = (120, 1_800, 10_800, 43_200)
"""Seconds from one attempt to the next; after the last the notification is dropped."""


@dataclass(slots=True)
class Subscription:
    """Where one event type goes."""

    event_type: str
    address: str
    created: int
    updated: int


@dataclass(frozen=True, slots=True)
class Notification:
    """What waits to be sent; every attempt sends the same bytes."""

    id: str
    event_type: str
    address: str
    body: bytes
    due: int
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Sent:
    """One request that went to a receiver, and what came back."""

    id: str
    event_type: str
    url: str
    headers: dict[str, str]
    body: bytes
    attempt: int
    at: int
    status: int | None
    """None where no answer came in time."""
    error: str = ""
    lost: bool = False
    """The network lost it: the receiver never saw it, though the platform believes that it did."""
    dropped: bool = False
    """It was the last attempt."""


@dataclass(frozen=True)
class Weather:
    """How the network treats one round of deliveries."""

    shuffle: bool = False
    copies: int = 1
    lose: float = 0.0


class Webhooks:
    """The webhooks of one shop and what waits to be sent."""

    def __init__(
        self,
        shop_id: str,
        now: Callable[[], int],
        http: Callable[[], httpx.AsyncClient],
        sign: Callable[[bytes], str],
        encode: Callable[[Json], bytes],
    ) -> None:
        self.paused = False
        self.sent: list[Sent] = []
        self.everywhere: dict[str, str] = {}
        """The app's own addresses, set in Partner Center, for event types that the shop has no address for."""
        self._subscriptions: dict[str, Subscription] = {}
        self._waiting: list[Notification] = []
        self._shop_id = shop_id
        self._now = now
        self._http = http
        self._sign = sign
        self._encode = encode
        self._random = random.Random(shop_id)  # noqa: S311 -- the same weather every time

    @property
    def subscriptions(self) -> list[Json]:
        """As Get Shop Webhooks lists them."""
        return [
            {
                "event_type": one.event_type,
                "address": one.address,
                "create_time": one.created,
                "update_time": one.updated,
            }
            for one in self._subscriptions.values()
        ]

    @property
    def waiting(self) -> list[Json]:
        """What is yet to be sent, and when."""
        return [
            {"id": one.id, "event_type": one.event_type, "due": one.due, "attempt": one.attempt}
            for one in self._waiting
        ]

    def subscribe(self, event_type: str, address: str) -> None:
        """One address per event type: another one takes its place."""
        now = self._now()
        known = self._subscriptions.get(event_type)
        self._subscriptions[event_type] = Subscription(event_type, address, known.created if known else now, now)

    def unsubscribe(self, event_type: str) -> None:
        """Forget the address; there need not be one. What waits is still sent."""
        self._subscriptions.pop(event_type, None)

    def happened(self, event_type: str, data: Json) -> None:
        """Queue the notification, if anybody wants it."""
        known = self._subscriptions.get(event_type)
        address = known.address if known else self.everywhere.get(event_type)
        if not address:
            return
        id, now = str(self._random.randrange(7 * 10**18, 8 * 10**18)), self._now()
        body = {
            "type": EVENT_TYPES[event_type],
            "tts_notification_id": id,
            "shop_id": self._shop_id,
            "timestamp": now,
            "data": data,
        }
        self._waiting.append(Notification(id, event_type, address, self._encode(body), now))

    async def deliver(self, weather: Weather | None = None) -> list[Sent]:
        """Send all that is due now."""
        weather = weather or Weather()
        now = self._now()
        due = [one for one in self._waiting if one.due <= now]
        self._waiting = [one for one in self._waiting if one.due > now]
        round_ = [one for one in due for _ in range(weather.copies)]
        if weather.shuffle:
            self._random.shuffle(round_)
        return [await self._deliver(one, lost=self._random.random() < weather.lose) for one in round_]

    async def _deliver(self, one: Notification, *, lost: bool) -> Sent:
        headers = {"Content-Type": "application/json", "Authorization": self._sign(one.body)}
        status, error = (200, "") if lost else await self._post(one.address, headers, one.body)
        again = status != 200 and one.attempt <= len(REPEATED_AFTER)
        now = self._now()
        if again:
            due = now + REPEATED_AFTER[one.attempt - 1]
            self._waiting.append(replace(one, due=due, attempt=one.attempt + 1))
        sent = Sent(
            id=one.id,
            event_type=one.event_type,
            url=one.address,
            headers=headers,
            body=one.body,
            attempt=one.attempt,
            at=now,
            status=status,
            error=error,
            lost=lost,
            dropped=status != 200 and not again,
        )
        self.sent.append(sent)
        return sent

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> tuple[int | None, str]:
        try:
            async with self._http() as client:
                call = client.post(url, content=body, headers=headers, follow_redirects=False)
                answer = await asyncio.wait_for(call, PATIENCE)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as failure:
            return None, f"{type(failure).__name__}: {failure}"
        return answer.status_code, ""
