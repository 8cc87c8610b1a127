"""A WooCommerce shop's webhooks: queued when something happens, made and signed when sent, never sent again."""

import base64
import hashlib
import hmac
import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx

from infra.local.sandbox.woo_shop import Json, Shop, User, php_json

HTTP_USER_AGENT = "WordPress/6.9.7; {}"
_HOOKSHOT = "WooCommerce/10.5.2 Hookshot (WordPress/6.9.7)"
_FAILURES_BORNE = 5
_SPECIAL_CHARACTERS = re.compile(r"&(?:lt|gt|amp|quot|#0*(?:34|38|39|60|62)|#x0*(?:22|26|27));", re.IGNORECASE)
_RESOURCES = ("coupon", "customer", "order", "product")
_EVENTS = ("created", "updated", "deleted", "restored")
_HOOKS = {
    "order.created": ["woocommerce_new_order"],
    "order.updated": ["woocommerce_update_order", "woocommerce_order_refunded"],
    "order.deleted": ["wp_trash_post", "woocommerce_trash_order"],
    "order.restored": ["untrashed_post", "woocommerce_untrash_order"],
    "product.created": [
        "woocommerce_process_product_meta",
        "woocommerce_new_product",
        "woocommerce_new_product_variation",
    ],
    "product.updated": [
        "woocommerce_process_product_meta",
        "woocommerce_update_product",
        "woocommerce_update_product_variation",
    ],
    "product.deleted": ["wp_trash_post"],
    "product.restored": ["untrashed_post"],
}
_NOT_ALLOWED = {
    "code": "woocommerce_rest_cannot_view",
    "message": "Sorry, you cannot view this resource.",
    "data": {"status": 403},
}


def is_topic(topic: str) -> bool:
    """Whether a webhook may be made for this topic."""
    resource, _, event = topic.partition(".")
    return resource in _RESOURCES and event in _EVENTS


@dataclass
class Webhook:
    """A webhook of the shop."""

    id: int
    name: str
    topic: str
    delivery_url: str
    user: User
    created: int
    secret: str = field(repr=False)
    modified: int | None = None
    status: str = "active"
    failures: int = 0
    ping_due: bool = True


@dataclass(frozen=True)
class Sent:
    """One request that went to a receiver, and what came back."""

    kind: str
    webhook_id: int
    topic: str
    resource_id: int
    url: str
    headers: dict[str, str]
    body: bytes
    status: int | None
    """None where the receiver could not be reached."""
    error: str = ""
    lost: bool = False
    """The network lost it: the receiver never saw it, though the shop believes that it did."""


@dataclass(frozen=True)
class Weather:
    """How the network treats one round of deliveries."""

    shuffle: bool = False
    copies: int = 1
    lose: float = 0.0


class Webhooks:
    """The webhooks of one shop and what waits to be sent."""

    def __init__(self, shop: Shop, http: Callable[[], httpx.AsyncClient]) -> None:
        self.paused = False
        self.sent: list[Sent] = []
        self._shop = shop
        self._http = http
        self._all: dict[int, Webhook] = {}
        self._queue: dict[tuple[int, int], None] = {}
        self._last_id = 0
        self._salt = f"{shop.random.getrandbits(128):032x}"
        shop.on_event = self._happened

    def __iter__(self) -> Iterator[Webhook]:
        return iter(self._all.values())

    def get(self, webhook_id: int) -> Webhook | None:
        """One webhook."""
        return self._all.get(webhook_id)

    @property
    def waiting(self) -> int:
        """How many deliveries wait."""
        return len(self._queue)

    async def create(self, user: User, wish: Json) -> tuple[Webhook, Json]:
        """A new webhook and its JSON before the ping, which goes out while the caller waits."""
        self._last_id += 1
        now = self._shop.now()
        topic = str(wish["topic"])
        secret = str(wish.get("secret") or f"{self._shop.random.getrandbits(200):050x}")
        name = str(wish.get("name") or self._default_name(now))
        # Only the check lowers the topic's case: what is stored then matches no event.
        kept = topic if is_topic(topic) else ""
        webhook = Webhook(self._last_id, name, kept, str(wish["delivery_url"]), user, now, secret)
        self._all[webhook.id] = webhook
        body = self.json(webhook)
        await self._ping(webhook)
        return webhook, body

    async def update(self, webhook: Webhook, wish: Json) -> None:
        """Change a webhook; another address is pinged. The count of failures stays."""
        moved = bool(wish.get("delivery_url")) and wish["delivery_url"] != webhook.delivery_url
        for name in ("name", "topic", "delivery_url", "secret", "status"):
            if wish.get(name):
                setattr(webhook, name, str(wish[name]))
        webhook.topic = webhook.topic if is_topic(webhook.topic) else ""
        await self._save(webhook, moved=moved)

    def delete(self, webhook: Webhook) -> None:
        """Delete a webhook, and what waits for it."""
        del self._all[webhook.id]
        self._queue = {job: None for job in self._queue if job[0] != webhook.id}

    def json(self, webhook: Webhook) -> Json:
        """A webhook as REST gives it; never its secret."""
        shop = self._shop
        resource, _, event = webhook.topic.partition(".")
        return {
            "id": webhook.id,
            "name": webhook.name,
            "status": webhook.status,
            "topic": webhook.topic,
            "resource": resource,
            "event": event,
            "hooks": _HOOKS.get(webhook.topic, []),
            "delivery_url": webhook.delivery_url,
            "date_created": shop.local(webhook.created),
            "date_created_gmt": shop.gmt(webhook.created),
            "date_modified": shop.local(webhook.modified),
            "date_modified_gmt": shop.gmt(webhook.modified),
            "_links": shop.links(f"webhooks/{webhook.id}", "webhooks"),
        }

    async def deliver(self, weather: Weather | None = None) -> list[Sent]:
        """Send all that waits now; what that sets off waits for the next round."""
        weather = weather or Weather()
        jobs = [job for job in self._queue for _ in range(weather.copies)]
        self._queue.clear()
        if weather.shuffle:
            self._shop.random.shuffle(jobs)
        before = len(self.sent)
        for webhook_id, resource_id in jobs:
            webhook = self._all.get(webhook_id)
            if webhook:
                await self._deliver(webhook, resource_id, lost=self._shop.random.random() < weather.lose)
        return self.sent[before:]

    def _happened(self, topic: str, resource_id: int) -> None:
        for webhook in self._all.values():
            if webhook.status == "active" and webhook.topic == topic:
                # While a job for the same object waits, this adds none: the body is made when it is sent.
                self._queue.setdefault((webhook.id, resource_id))

    async def _deliver(self, webhook: Webhook, resource_id: int, *, lost: bool) -> None:
        resource, _, event = webhook.topic.partition(".")
        body = self._body(webhook, resource, event, resource_id)
        second = f"{webhook.id}{self._shop.now()}"
        headers = {
            "User-Agent": _HOOKSHOT,
            "Content-Type": "application/json",
            "X-WC-Webhook-Source": f"{self._shop.url}/",
            "X-WC-Webhook-Topic": webhook.topic,
            "X-WC-Webhook-Resource": resource,
            "X-WC-Webhook-Event": event,
            "X-WC-Webhook-Signature": _signature(body, webhook.secret),
            "X-WC-Webhook-ID": str(webhook.id),
            "X-WC-Webhook-Delivery-ID": hashlib.sha256(f"{self._salt}{second}".encode()).hexdigest()[:32],
        }
        status, error = (200, "") if lost else await self._post(webhook.delivery_url, headers, body)
        self.sent.append(
            Sent(
                kind="delivery",
                webhook_id=webhook.id,
                topic=webhook.topic,
                resource_id=resource_id,
                url=webhook.delivery_url,
                headers=headers,
                body=body,
                status=status,
                error=error,
                lost=lost,
            )
        )
        if status is not None and 200 <= status < 303:
            webhook.failures = 0
        elif webhook.failures > _FAILURES_BORNE:
            webhook.status = "disabled"
        else:
            webhook.failures += 1
        await self._save(webhook)

    def _body(self, webhook: Webhook, resource: str, event: str, resource_id: int) -> bytes:
        shop = self._shop
        if event == "deleted":
            return php_json({"id": resource_id})
        found = shop.orders.get(resource_id) if resource == "order" else shop.products.get(resource_id)
        if found is None:
            invalid = f"woocommerce_rest_{'shop_order' if resource == 'order' else resource}_invalid_id"
            return php_json({"code": invalid, "message": "Invalid ID.", "data": {"status": 404}})
        if not webhook.user.may_manage:
            return php_json(_NOT_ALLOWED)
        if resource == "order":
            return shop.order_text(shop.orders[resource_id])
        return shop.product_text(shop.products[resource_id])

    async def _save(self, webhook: Webhook, *, moved: bool = False) -> None:
        webhook.modified = self._shop.now()
        if webhook.status == "active" and (moved or webhook.ping_due):
            await self._ping(webhook)

    async def _ping(self, webhook: Webhook) -> None:
        headers = {"User-Agent": _HOOKSHOT, "Content-Type": "application/x-www-form-urlencoded"}
        body = f"webhook_id={webhook.id}".encode()
        status, error = await self._post(webhook.delivery_url, headers, body, follow=True)
        self.sent.append(Sent("ping", webhook.id, webhook.topic, 0, webhook.delivery_url, headers, body, status, error))
        if status == 200:
            webhook.ping_due = False
            webhook.modified = self._shop.now()

    async def _post(
        self, url: str, headers: dict[str, str], body: bytes, *, follow: bool = False
    ) -> tuple[int | None, str]:
        return await post(self._http, url, headers, body, follow=follow)

    def _default_name(self, now: int) -> str:
        moment = (self._shop.gmt(now) or "")[:16]
        year, month, day = moment[:10].split("-")
        hour = int(moment[11:13])
        names = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
        clock = f"{hour % 12 or 12:02d}:{moment[14:16]} {'AM' if hour < 12 else 'PM'}"
        return f"Webhook created on {names[int(month) - 1]} {day}, {year} @ {clock}"


async def post(
    http: Callable[[], httpx.AsyncClient], url: str, headers: dict[str, str], body: bytes, *, follow: bool
) -> tuple[int | None, str]:
    """POST as WordPress does; the status, or None with the reason."""
    always = {"Accept": "*/*", "Accept-Encoding": "deflate, gzip, br, zstd", "Connection": "close"}
    try:
        async with http() as client:
            answer = await client.post(url, content=body, headers=always | headers, follow_redirects=follow)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as failure:
        return None, f"{type(failure).__name__}: {failure}"
    return answer.status_code, ""


def _signature(body: bytes, secret: str) -> str:
    # The plugin decodes these entities, and no others, in the stored secret before it signs.
    decoded = _SPECIAL_CHARACTERS.sub(lambda entity: html.unescape(entity[0]), secret)
    digest = hmac.digest(decoded.encode(), body, "sha256")
    return base64.b64encode(digest).decode()
