"""A Shopify shop's webhooks: made and kept when something happens, signed when sent, tried nine times over four hours.

https://shopify.dev/docs/apps/build/webhooks. Receivers get one second to connect and five in all.
"""

import asyncio
import base64
import hmac
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import httpx

from infra.local.sandbox import shopify_payloads
from infra.local.sandbox.shopify_schema import API_VERSION
from infra.local.sandbox.shopify_shop import Json, Shop, gid
from infra.local.sandbox.woo_webhooks import Weather

TIMEOUT = 5.0
_CONNECT_TIMEOUT = 1.0
RETRY_DELAYS = (10, 60, 300, 600, 1200, 2400, 3600, 6230)
"""Eight retries within four hours, further and further apart."""
REDACT_AFTER = 48 * 3600
"""So long after an uninstall ``shop/redact`` is sent."""
_SCOPES = {"ORDERS": "orders", "PRODUCTS": "products", "CUSTOMERS": "customers"}


def rest_topic(topic: str) -> str:
    """``ORDERS_CREATE`` as headers have it, ``orders/create``."""
    resource, _, event = topic.partition("_")
    if topic.startswith("BULK_OPERATIONS_"):
        resource, event = "bulk_operations", topic.removeprefix("BULK_OPERATIONS_")
    return f"{resource.lower()}/{event.lower()}"


@dataclass
class Subscription:
    """A webhook subscription made by the app."""

    id: int
    topic: str
    uri: str
    created: int
    updated: int
    format: str = "JSON"
    include_fields: tuple[str, ...] = ()
    metafield_namespaces: tuple[str, ...] = ()
    filter: str | None = None
    name: str | None = None

    @property
    def gid(self) -> str:
        """Its global id."""
        return gid("WebhookSubscription", self.id)


@dataclass
class Delivery:
    """What waits to be sent: the payload and the address that held when it happened."""

    subscription_id: int | None
    topic: str
    uri: str
    body: bytes
    webhook_id: str
    event_id: str
    triggered: float
    due: float
    name: str | None = None
    attempts: int = 0


@dataclass(frozen=True)
class Sent:
    """One request that went to a receiver, and what came back."""

    topic: str
    subscription_id: int | None
    webhook_id: str
    attempt: int
    url: str
    headers: dict[str, str]
    body: bytes
    status: int | None
    """None where the receiver could not be reached in time."""
    error: str = ""
    lost: bool = False
    """The network lost it: the receiver never saw it, though Shopify believes that it did."""


@dataclass
class Registration:
    """The app as it is registered at Shopify, the same for all shops."""

    client_id: str
    secret: str = field(repr=False)
    previous: str = field(default="", repr=False)
    signs_until: float = 0.0
    """Until then deliveries are signed with the previous secret."""
    compliance_url: str = ""
    """Where the app wants compliance webhooks; it is set with the app, not through the API."""
    redirects: tuple[str, ...] = ()
    """Where a grant may return to; empty means to any https or loopback address."""

    def rotate(self, secret: str, signs_until: float) -> None:
        """A new secret from now on; webhooks follow later."""
        self.previous, self.secret, self.signs_until = self.secret, secret, signs_until

    def known(self) -> set[str]:
        """What the token endpoint accepts."""
        return {self.secret, self.previous} - {""}

    def signing(self, now: float) -> str:
        """What deliveries are signed with."""
        return self.previous if self.previous and now < self.signs_until else self.secret


class Webhooks:
    """The webhooks of one shop, and what waits to be sent."""

    def __init__(self, shop: Shop, http: Callable[[], httpx.AsyncClient], app: Registration) -> None:
        self.paused = False
        self.sent: list[Sent] = []
        self.subscriptions: dict[int, Subscription] = {}
        self._queue: list[Delivery] = []
        self._shop = shop
        self._http = http
        self._app = app
        self._last_id = 1_100_000_000_000
        shop.on_event = self.happened

    @property
    def waiting(self) -> int:
        """How many deliveries wait, due or not."""
        return len(self._queue)

    # Subscriptions

    def create(self, topic: str, wish: Json, scopes: tuple[str, ...]) -> tuple[Subscription | None, list[Json]]:
        """A new subscription, or what is wrong with it."""
        now = self._shop.now()
        errors = _wrong_topic(topic, scopes) or self._wrong_address(topic, wish, None)
        if errors:
            return None, errors
        self._last_id += 1
        made = Subscription(self._last_id, topic, _uri(wish), now, now)
        _write(made, wish)
        self.subscriptions[made.id] = made
        return made, []

    def update(self, id: int, wish: Json) -> tuple[Subscription | None, list[Json]]:
        """Change a subscription; its topic stays."""
        found = self.subscriptions.get(id)
        if found is None:
            return None, [_error("id", "Webhook subscription does not exist")]
        errors = self._wrong_address(found.topic, {"uri": found.uri} | wish, found)
        if not errors:
            found.uri, found.updated = _uri(wish) or found.uri, self._shop.now()
            _write(found, wish)
        return (None, errors) if errors else (found, [])

    def delete(self, id: int) -> list[Json]:
        """Delete a subscription, and what waits for it."""
        if self.subscriptions.pop(id, None) is None:
            return [_error("id", "Webhook subscription does not exist")]
        self._queue = [one for one in self._queue if one.subscription_id != id]
        return []

    def _wrong_address(self, topic: str, wish: Json, own: Subscription | None) -> list[Json]:
        uri = _uri(wish)
        if not uri:
            return [_error("webhookSubscription.callbackUrl", "Address can't be blank")]
        if not uri.startswith("https://"):
            return [_error("webhookSubscription.callbackUrl", "Address protocol is not supported")]
        for other in self.subscriptions.values():
            if other is not own and (other.topic, other.uri) == (topic, uri):
                # These words: https://github.com/Shopify/shopify_app/issues/263
                return [_error("webhookSubscription.callbackUrl", "Address for this topic has already been taken")]
        return []

    # What happens

    def happened(self, topic: str, changed: Any) -> None:
        """Queue a delivery for each subscription to the topic; they share the event."""
        wanted = [one for one in self.subscriptions.values() if rest_topic(one.topic) == topic]
        if not wanted:
            return
        whole = shopify_payloads.body(self._shop, changed)
        event = str(uuid.uuid4())
        for subscription in wanted:
            payload = shopify_payloads.included(whole, subscription.include_fields)
            self._add(topic, subscription.uri, payload, event, subscription)

    def uninstalled(self) -> None:
        """The app is gone: one last event, and 48 hours later the order to forget the shop."""
        self._queue.clear()
        self.happened("app/uninstalled", shopify_payloads.uninstalled_body(self._shop))
        self.subscriptions.clear()
        self.comply("shop/redact", {}, after=REDACT_AFTER)

    def reinstalled(self) -> None:
        """The app is back: the shop is not to be forgotten."""
        self._queue = [one for one in self._queue if one.topic != "shop/redact"]

    def comply(self, topic: str, more: Json, *, after: float = 0) -> None:
        """Send a compliance webhook, to the one address that the app has for them."""
        payload = {"shop_id": self._shop.id, "shop_domain": self._shop.domain, **more}
        if self._app.compliance_url:
            self._add(topic, self._app.compliance_url, payload, str(uuid.uuid4()), None, after=after)

    def _add(
        self, topic: str, uri: str, payload: Json, event: str, subscription: Subscription | None, *, after: float = 0
    ) -> None:
        now = self._shop.precisely()
        body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        made = Delivery(subscription.id if subscription else None, topic, uri, body, str(uuid.uuid4()), event, now, now)
        made.due += after
        made.name = subscription.name if subscription else None
        self._queue.append(made)

    # Sending

    async def deliver(self, weather: Weather | None = None) -> list[Sent]:
        """Send all that is due now; what fails waits for its retry."""
        weather = weather or Weather()
        now = self._shop.precisely()
        due = [one for one in self._queue if one.due <= now]
        self._queue = [one for one in self._queue if one.due > now]
        jobs = [one for one in due for _ in range(weather.copies)]
        if weather.shuffle:
            self._shop.random.shuffle(jobs)
        before, retried = len(self.sent), set[str]()
        for job in jobs:
            if not await self._send(job, lost=self._shop.random.random() < weather.lose):
                retried.add(job.webhook_id)
        for job in due:
            if job.webhook_id in retried:
                self._failed(job, now)
        return self.sent[before:]

    def _failed(self, job: Delivery, now: float) -> None:
        if job.attempts < len(RETRY_DELAYS):
            self._queue.append(replace(job, due=now + RETRY_DELAYS[job.attempts], attempts=job.attempts + 1))
        elif job.subscription_id is not None:
            self.delete(job.subscription_id)

    async def _send(self, job: Delivery, *, lost: bool) -> bool:
        headers = self._headers(job)
        status, error = (200, "") if lost else await self._post(job.uri, headers, job.body)
        self.sent.append(
            Sent(
                topic=job.topic,
                subscription_id=job.subscription_id,
                webhook_id=job.webhook_id,
                attempt=job.attempts + 1,
                url=job.uri,
                headers=headers,
                body=job.body,
                status=status,
                error=error,
                lost=lost,
            )
        )
        return status is not None and 200 <= status < 300

    def _headers(self, job: Delivery) -> dict[str, str]:
        triggered = datetime.fromtimestamp(job.triggered, UTC)
        digest = hmac.digest(self._app.signing(self._shop.precisely()).encode(), job.body, "sha256")
        named = {"X-Shopify-Name": job.name} if job.name else {}
        return {
            "User-Agent": "Shopify-Captain-Hook",
            "Content-Type": "application/json",
            "X-Shopify-Topic": job.topic,
            "X-Shopify-Shop-Domain": self._shop.domain,
            "X-Shopify-API-Version": API_VERSION,
            "X-Shopify-Webhook-Id": job.webhook_id,
            "X-Shopify-Event-Id": job.event_id,
            "X-Shopify-Triggered-At": triggered.strftime("%Y-%m-%dT%H:%M:%S.%f000Z"),
            "X-Shopify-Hmac-Sha256": base64.b64encode(digest).decode(),
            **named,
        }

    async def _post(self, uri: str, headers: dict[str, str], body: bytes) -> tuple[int | None, str]:
        timeout = httpx.Timeout(TIMEOUT, connect=_CONNECT_TIMEOUT)
        try:
            async with self._http() as client, asyncio.timeout(TIMEOUT):
                answer = await client.post(uri, content=body, headers=headers, timeout=timeout, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as failure:
            return None, f"{type(failure).__name__}: {failure}"
        return answer.status_code, ""


def _wrong_topic(topic: str, scopes: tuple[str, ...]) -> list[Json]:
    needed = _SCOPES.get(topic.partition("_")[0])
    if needed is None or {f"read_{needed}", f"write_{needed}"} & set(scopes):
        return []
    # These words: https://github.com/Shopify/shopify-cli/issues/311
    return [_error("topic", "You cannot create a webhook subscription with the specified topic")]


def _uri(wish: Json) -> str:
    return str(wish.get("uri") or wish.get("callbackUrl") or "")


def _write(subscription: Subscription, wish: Json) -> None:
    subscription.format = wish.get("format") or subscription.format
    if "includeFields" in wish:
        subscription.include_fields = tuple(wish["includeFields"] or ())
    if "metafieldNamespaces" in wish:
        subscription.metafield_namespaces = tuple(wish["metafieldNamespaces"] or ())
    subscription.filter = wish.get("filter", subscription.filter)
    subscription.name = wish.get("name", subscription.name)


def _error(path: str, message: str) -> Json:
    return {"field": path.split("."), "message": message}
