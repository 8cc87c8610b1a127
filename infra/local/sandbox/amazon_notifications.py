"""Amazon's notifications: destinations and subscriptions, and what goes into the queues.

https://developer-docs.amazon.com/sp-api/docs/notifications-api-v1-use-case-guide. There is no HTTP: Amazon writes
into an SQS queue of ours, at least once and in no order, or onto an EventBridge bus, from which a rule leads on.
"""

import asyncio
import json
import random
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from infra.local.sandbox.amazon_seller import Json, Seller, stamp
from infra.local.sandbox.tiktok_webhooks import Weather

SendToQueue = Callable[[str, str], object]
"""Puts a message into a queue: the queue's ARN, the body. :class:`QueueRefused` where that cannot be."""

TYPES = (
    "ORDER_CHANGE",
    "LISTINGS_ITEM_STATUS_CHANGE",
    "LISTINGS_ITEM_ISSUES_CHANGE",
    "LISTINGS_ITEM_MFN_QUANTITY_CHANGE",
    "REPORT_PROCESSING_FINISHED",
)
AMAZONS_ACCOUNT = "437568002678"
"""Of AWS, which the queue's policy must let send; Amazon's own samples name it."""
_ARN = re.compile(r"arn:aws:sqs:[^:\s]+:[^:\s]+:\S+")
_SENT_KEPT = 2_000


class QueueRefused(Exception):
    """The queue does not exist, or Amazon may not write into it."""


def nowhere(arn: str, body: str) -> None:  # noqa: ARG001 - as any other way is called
    """Where the sandbox was started without a way to a queue."""
    raise QueueRefused("The sandbox has no way to a queue.")


class Refused(Exception):
    """The Selling Partner API's answer is this error."""

    def __init__(self, status: int, code: str, message: str, details: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details


@dataclass(frozen=True)
class Notification:
    """What waits to be sent; every copy has the same body."""

    type: str
    destination: str
    body: str


class Notifications:
    """Of all sellers: each has their own subscriptions, all have the app's destinations."""

    def __init__(self, now: Callable[[], int], send: SendToQueue, application_id: str) -> None:
        self.paused = False
        self.bus_queue = ""
        """The ARN of the queue into which our rule leads what comes onto the event bus."""
        self.sent: deque[Json] = deque(maxlen=_SENT_KEPT)
        self.waiting: list[Notification] = []
        self._now = now
        self._send = send
        self._application_id = application_id
        self._destinations: dict[str, dict[str, Json]] = {"na": {}, "eu": {}, "fe": {}}
        self._subscriptions: dict[tuple[str, str], Json] = {}
        self._random = random.Random(application_id)  # noqa: S311 -- the same ids every time

    # Destinations

    def destinations(self, region: str) -> list[Json]:
        """Those of the app in a region."""
        return list(self._destinations[region].values())

    def add_destination(self, region: str, body: Json) -> Json:
        """A queue or a bus; the same one a second time is a conflict."""
        wanted = body.get("resourceSpecification")
        wanted = wanted if isinstance(wanted, dict) else {}
        if not body.get("name") or len(wanted) != 1 or not {"sqs", "eventBridge"} & set(wanted):
            raise Refused(400, "InvalidInput", "A name, and one of sqs and eventBridge.")
        if "sqs" in wanted and not _ARN.fullmatch(str(wanted["sqs"].get("arn"))):
            raise Refused(400, "InvalidInput", "This is no ARN of a queue.")
        id = str(self._uuid())
        bus = {"name": f"aws.partner/sellingpartnerapi.amazon.com/{id}"}
        resource = wanted if "sqs" in wanted else {"eventBridge": {**wanted["eventBridge"], **bus}}
        if any(each["resource"] == resource for each in self.destinations(region)):
            raise Refused(409, "Conflict", "There is such a destination.")
        self._destinations[region][id] = made = {"destinationId": id, "name": str(body["name"]), "resource": resource}
        return made

    # Subscriptions

    def subscription(self, seller: Seller, type: str) -> Json:
        """The seller's to a type; a refusal where there is none."""
        found = self._subscriptions.get((seller.name, type))
        if found is None:
            raise Refused(404, "NotFound", "There is no such subscription.")
        return found

    def subscribe(self, seller: Seller, region: str, type: str, body: Json) -> Json:
        """One for each type of each seller."""
        if type not in TYPES or body.get("payloadVersion") != "1.0":
            raise Refused(400, "InvalidInput", f"The sandbox has {', '.join(TYPES)} of version 1.0.")
        if body.get("destinationId") not in self._destinations[region]:
            raise Refused(400, "InvalidInput", "There is no such destination.")
        if (seller.name, type) in self._subscriptions:
            raise Refused(409, "Conflict", "There is such a subscription.")
        made = {"subscriptionId": str(self._uuid()), "payloadVersion": "1.0", "destinationId": body["destinationId"]}
        self._subscriptions[seller.name, type] = made
        return made

    def unsubscribe(self, type: str, id: str) -> None:
        """By its id, whichever seller's it is."""
        for (name, there), found in list(self._subscriptions.items()):
            if (there, found["subscriptionId"]) == (type, id):
                del self._subscriptions[name, there]
                return
        raise Refused(404, "NotFound", "There is no such subscription.")

    def forget(self, seller: Seller) -> None:
        """The seller removed the app: their subscriptions are gone."""
        for key in [key for key in self._subscriptions if key[0] == seller.name]:
            del self._subscriptions[key]

    def of(self, seller: Seller) -> Json:
        """The seller's subscriptions by type."""
        return {type: found for (name, type), found in self._subscriptions.items() if name == seller.name}

    # What happens

    def happened(self, seller: Seller, type: str, payload: Json) -> None:
        """Queues the notification, if the seller is subscribed to it."""
        found = self._subscriptions.get((seller.name, type))
        if found is None:
            return
        now = stamp(self._now())
        metadata = {
            "ApplicationId": self._application_id,
            "SubscriptionId": found["subscriptionId"],
            "PublishTime": now,
            "NotificationId": str(self._uuid()),
        }
        told = {
            "NotificationVersion": "1.0",
            "NotificationType": type,
            "PayloadVersion": "1.0",
            "EventTime": now,
            "Payload": payload,
            "NotificationMetadata": metadata,
        }
        resource = self._destinations[seller.region][found["destinationId"]]["resource"]
        arn = resource["sqs"]["arn"] if "sqs" in resource else self.bus_queue
        content = told if "sqs" in resource else self._event(told, resource["eventBridge"])
        if arn:
            self.waiting.append(Notification(type, arn, json.dumps(content, ensure_ascii=False)))

    async def deliver(self, weather: Weather | None = None) -> list[Json]:
        """Sends what waits; what a queue does not take waits on. The results."""
        weather = weather or Weather()
        round_ = [one for one in self.waiting for _ in range(weather.copies)]
        self.waiting = []
        if weather.shuffle:
            self._random.shuffle(round_)
        results = [await self._deliver(one) for one in round_ if self._random.random() >= weather.lose]
        self.sent.extend(results)
        return results

    async def _deliver(self, one: Notification) -> Json:
        error = ""
        try:
            await asyncio.to_thread(self._send, one.destination, one.body)
        except QueueRefused as refused:
            error = str(refused)
            self.waiting.append(one)
        return {"type": one.type, "queue": one.destination, "body": one.body, "at": self._now(), "error": error}

    def _event(self, told: Json, bus: Json) -> Json:
        """The notification as EventBridge wraps it."""
        return {
            "version": "0",
            "id": str(self._uuid()),
            "detail-type": told["NotificationType"],
            "source": bus["name"],
            "account": bus["accountId"],
            "time": told["EventTime"],
            "region": bus["region"],
            "resources": [],
            "detail": told,
        }

    def _uuid(self) -> UUID:
        return UUID(int=self._random.getrandbits(128), version=4)
