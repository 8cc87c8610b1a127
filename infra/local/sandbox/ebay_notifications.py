"""eBay's Notification API: destinations that must answer a challenge, subscriptions, signed deliveries, their repeats.

https://developer.ebay.com/api-docs/commerce/notification/overview.html; the numbers of errors are those of its
OpenAPI document. How often a delivery is repeated is not published: about a day long, so the distances are taken.
"""

import asyncio
import base64
import hashlib
import json
import random
import re
import secrets
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode, urlsplit

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.requests import Request
from starlette.responses import Response

from infra.local.sandbox.control_answers import json_body
from infra.local.sandbox.custom import Sent, Weather, encode
from infra.local.sandbox.ebay_seller import Json, time_text

REPEATED_AFTER = (60, 300, 900, 3_600, 10_800, 21_600, 43_200)
"""Seconds from one attempt to the next; after the last the destination is marked down."""
_SCOPE = "https://api.ebay.com/oauth/api_scope"
TOPICS = {
    "MARKETPLACE_ACCOUNT_DELETION": "APPLICATION",
    "AUTHORIZATION_REVOCATION": "APPLICATION",
    "ORDER_CONFIRMATION": "USER",
    "ITEM_MARKED_SHIPPED": "USER",
}
"""Whose token subscribes to them."""
_TAKEN = {200, 201, 202, 204}
_PATIENCE = 30.0
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,80}")
_MAIL = re.compile(r"[^@\s]+@[^@\s]+")
_APP = ""
"""The owner of the app's own subscriptions; those of sellers have the user id."""


class Refused(Exception):
    """The answer is an error of eBay's."""

    def __init__(self, status: int, id: int, message: str, domain: str = "API_NOTIFICATION", **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.id = id
        self.domain = domain
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True)
class Notification:
    """What waits to be sent; each attempt counts itself in the body, and so is signed anew."""

    id: str
    topic: str
    destination: str
    data: Json
    happened: int
    due: int
    attempt: int = 1


@dataclass
class Key:
    """What deliveries are signed with."""

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def shown(self) -> Json:
        """As getPublicKey gives it: PEM without line breaks."""
        pem = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        return {"key": pem.replace("\n", ""), "algorithm": "ECDSA", "digest": "SHA1"}

    def header(self, body: bytes) -> str:
        """The value of ``X-EBAY-SIGNATURE``, as eBay's own event-notification SDKs read it."""
        made = base64.b64encode(self.private.sign(body, ec.ECDSA(SHA1()))).decode()  # noqa: S303 - what eBay signs with
        said = {"alg": "ecdsa", "kid": self.id, "signature": made, "digest": "SHA1"}
        return base64.b64encode(json.dumps(said, separators=(",", ":")).encode()).decode()


class Notifications:
    """All of the app's destinations and subscriptions, and what waits to be sent."""

    def __init__(self, now: Callable[[], int], http: Callable[[], httpx.AsyncClient]) -> None:
        self.paused = False
        self.sent: list[Sent] = []
        self.keys = [Key()]
        """The last one signs; those before it can still be fetched."""
        self.config: Json | None = None
        self.destinations: dict[str, Json] = {}
        self.subscriptions: dict[str, dict[str, Json]] = {}
        """By owner and id."""
        self._waiting: list[Notification] = []
        self._now = now
        self._http = http
        self._random = random.Random("ebay")  # noqa: S311 -- the same weather every time

    # What happens

    @property
    def waiting(self) -> list[Json]:
        """What is yet to be sent, and when."""
        return [{"id": one.id, "type": one.topic, "due": one.due, "attempt": one.attempt} for one in self._waiting]

    def happened(self, topic: str, data: Json, owner: str = _APP) -> None:
        """Queue a delivery, if the app subscribed for this owner."""
        for hook in self.subscriptions.get(owner, {}).values():
            if hook["topicId"] == topic and hook["status"] == "ENABLED":
                id, now = f"{uuid.uuid4()}_{uuid.uuid4()}", self._now()
                self._waiting.append(Notification(id, topic, hook["destinationId"], data, now, now))

    async def deliver(self, weather: Weather | None = None) -> list[Sent]:
        """Send all that is due now."""
        weather, now = weather or Weather(), self._now()
        due = [one for one in self._waiting if one.due <= now]
        self._waiting = [one for one in self._waiting if one.due > now]
        round_ = [one for one in due for _ in range(weather.copies)]
        if weather.shuffle:
            self._random.shuffle(round_)
        return [await self._deliver(one, lost=self._random.random() < weather.lose) for one in round_]

    async def _deliver(self, one: Notification, *, lost: bool) -> Sent:
        destination = self.destinations.get(one.destination, {})
        url, body = destination.get("deliveryConfig", {}).get("endpoint", ""), self._body(one)
        headers = {"Content-Type": "application/json", "X-EBAY-SIGNATURE": self.keys[-1].header(body)}
        status: int | None = None
        error = "The destination is not enabled."
        if destination.get("status") == "ENABLED":
            status, error, _ = (204, "", b"") if lost else await self._send("POST", url, headers, body)
        again = status not in _TAKEN and one.attempt <= len(REPEATED_AFTER)
        if again:
            due = self._now() + REPEATED_AFTER[one.attempt - 1]
            self._waiting.append(replace(one, due=due, attempt=one.attempt + 1))
        dropped = status not in _TAKEN and not again
        if dropped and destination:
            destination["status"] = "MARKED_DOWN"
        sent = Sent(one.id, one.topic, url, headers, body, one.attempt, status, error, lost, dropped)
        self.sent.append(sent)
        return sent

    def _body(self, one: Notification) -> bytes:
        return encode(
            {
                "metadata": {"topic": one.topic, "schemaVersion": "1.0", "deprecated": False},
                "notification": {
                    "notificationId": one.id,
                    "eventDate": time_text(one.happened),
                    "publishDate": time_text(self._now()),
                    "publishAttemptCount": one.attempt,
                    "data": one.data,
                },
            }
        )

    async def _send(self, method: str, url: str, headers: Json, body: bytes) -> tuple[int | None, str, bytes]:
        try:
            async with self._http() as client:
                call = client.request(method, url, content=body, headers=headers, follow_redirects=False)
                answer = await asyncio.wait_for(call, _PATIENCE)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as failure:
            return None, f"{type(failure).__name__}: {failure}", b""
        return answer.status_code, "", answer.content

    # The API

    async def answer(self, request: Request, path: Sequence[str], owner: str) -> tuple[int, Json | None, Json]:
        """Status, content and headers for a call by the app (no owner) or in the name of a seller."""
        wish = await json_body(request)
        match request.method, *path:
            case "PUT", "config":
                if not _MAIL.fullmatch(str(wish.get("alertEmail", ""))):
                    raise Refused(400, 195025, "Invalid or missing email.")
                self.config = wish
                return 204, None, {}
            case "GET", ("public_key" | "topic" | "config"), *_:
                return 200, self._told(request, path), {}
            case _, "destination", *rest:
                return await self._destination(request, wish, rest)
            case _, "subscription", *rest:
                return self._subscription(request, wish, rest, owner)
        raise Refused(404, 2002, "Resource not found", "ACCESS")

    def _told(self, request: Request, path: Sequence[str]) -> Json:
        match path:
            case "public_key", id:
                return next((key.shown for key in self.keys if key.id == id), None) or _missing(195001)
            case "topic", id:
                return _topic(id) if id in TOPICS else _missing(195002)
            case ("topic",):
                return _listed("topics", [_topic(id) for id in TOPICS], request)
        return self.config or _missing(195026)

    async def _destination(self, request: Request, wish: Json, path: list[str]) -> tuple[int, Json | None, Json]:
        match request.method, *path:
            case ("GET",):
                return 200, _listed("destinations", self.destinations.values(), request), {}
            case ("POST",):
                await self._check_destination(wish, "")
                id = secrets.token_hex(16)
                self.destinations[id] = {"destinationId": id, **wish}
                return 201, {}, {"Location": f"{request.url.replace(query='')}/{id}"}
            case method, id if id in self.destinations:
                if method == "PUT":
                    await self._check_destination(wish, id)
                    self.destinations[id].update(wish)
                    return 204, None, {}
                if method == "DELETE":
                    if self.destinations[id]["status"] == "ENABLED":
                        raise Refused(409, 195024, "Destination is in use and cannot be deleted.")
                    del self.destinations[id]
                    return 204, None, {}
                return 200, self.destinations[id], {}
        raise Refused(404, 195022, "Invalid or missing destination id.")

    async def _check_destination(self, wish: Json, id: str) -> None:
        """What is wished for is complete, and whoever listens there knows the token."""
        config = wish.get("deliveryConfig") or {}
        endpoint, token = str(config.get("endpoint", "")), str(config.get("verificationToken", ""))
        if self.config is None:
            raise Refused(409, 195003, "Please provide configurations required for notifications. Refer to /config")
        if not re.fullmatch(r"[^<>]{1,64}", str(wish.get("name", ""))):
            raise Refused(400, 195016, "Invalid name. Markups or lengths greater than 64 not supported")
        if urlsplit(endpoint).scheme != "https":
            raise Refused(400, 195017, "Invalid or missing endpoint.")
        if wish.get("status") not in {"ENABLED", "DISABLED"}:
            raise Refused(400, 195018, "Invalid or missing destination status. Supported values:[ENABLED,DISABLED]")
        if not _TOKEN.fullmatch(token):
            raise Refused(400, 195019, "Invalid or missing verification token for this endpoint.")
        if any(
            one["deliveryConfig"]["endpoint"] == endpoint for other, one in self.destinations.items() if other != id
        ):
            raise Refused(409, 195021, "Destination exists for this endpoint")
        if not await self._knows(endpoint, token):
            raise Refused(409, 195020, "Challenge verification failed for requested endpoint")

    async def _knows(self, endpoint: str, token: str) -> bool:
        """The challenge, https://developer.ebay.com/marketplace-account-deletion."""
        code = str(uuid.uuid4())
        mark = "&" if urlsplit(endpoint).query else "?"
        address = f"{endpoint}{mark}{urlencode({'challenge_code': code})}"
        status, _, body = await self._send("GET", address, {"Accept": "application/json"}, b"")
        wanted = hashlib.sha256(f"{code}{token}{endpoint}".encode()).hexdigest()
        try:
            said = json.loads(body)
        except ValueError:
            return False
        return status == 200 and isinstance(said, dict) and said.get("challengeResponse") == wanted

    def _subscription(self, request: Request, wish: Json, path: list[str], owner: str) -> tuple[int, Json | None, Json]:
        mine = self.subscriptions.setdefault(owner, {})
        match request.method, *path:
            case ("GET",):
                return 200, _listed("subscriptions", mine.values(), request), {}
            case ("POST",):
                self._check_subscription(wish, wish.get("topicId"), owner)
                if any(one["topicId"] == wish["topicId"] for one in mine.values()):
                    raise Refused(409, 195012, "Subscription already exists")
                id = str(uuid.uuid4())
                mine[id] = {"subscriptionId": id, "creationDate": time_text(self._now()), **wish}
                return 201, {}, {"Location": f"{request.url.replace(query='')}/{id}"}
            case "PUT", id if id in mine:
                self._check_subscription(wish, mine[id]["topicId"], owner)
                mine[id].update(wish)
                return 204, None, {}
            case "DELETE", id if id in mine:
                del mine[id]
                return 204, None, {}
            case "GET", id if id in mine:
                return 200, mine[id], {}
        raise Refused(404, 195013, "Invalid subscription Id.")

    def _check_subscription(self, wish: Json, topic: object, owner: str) -> None:
        payload = wish.get("payload") or {}
        destination = self.destinations.get(str(wish.get("destinationId")))
        if topic not in TOPICS:
            raise Refused(400, 195027, "Invalid or missing topic id.")
        if (TOPICS[str(topic)] == "APPLICATION") is bool(owner):
            raise Refused(403, 195011, "Not authorized for this topic.")
        if wish.get("status") not in {"ENABLED", "DISABLED"}:
            raise Refused(400, 195006, "Invalid or missing subscription status.")
        if destination is None:
            raise Refused(400, 195007, "Invalid or missing destination id.")
        if payload.get("schemaVersion") != "1.0":
            raise Refused(400, 195008, "Invalid or missing schema version.")
        if payload.get("format") != "JSON":
            raise Refused(400, 195009, "Specified format is not supported for the topic.")
        if payload.get("deliveryProtocol") != "HTTPS":
            raise Refused(400, 195010, "Invalid or missing protocol")
        if wish["status"] == "ENABLED" and destination["status"] != "ENABLED":
            raise Refused(409, 195015, "The subscription cannot be enabled since the destination is not enabled.")


def answered(status: int, content: Json | None, headers: Mapping[str, str]) -> Response:
    """An answer with JSON, or without a body."""
    return Response(b"" if content is None else encode(content), status, headers, media_type="application/json")


def _listed(name: str, rows: Iterable[Json], request: Request) -> Json:
    """A page, behind which a token leads on."""
    limit, token = request.query_params.get("limit", "20"), request.query_params.get("continuation_token", "0")
    if not re.fullmatch(r"[0-9]{1,4}", limit) or not 10 <= int(limit) <= 100:
        raise Refused(400, 195004, "Invalid limit. Supported ranges 10 - 100.")
    if not re.fullmatch(r"[0-9]{1,9}", token):
        raise Refused(400, 195005, "Invalid continuation token.")
    all_rows, begin, end = list(rows), int(token), int(token) + int(limit)
    here = str(request.url.replace(query=""))
    more = {"next": f"{here}?{urlencode({'limit': limit, 'continuation_token': end})}"} if end < len(all_rows) else {}
    return {name: all_rows[begin:end], "total": len(all_rows), "href": here, "limit": int(limit), **more}


def _topic(id: str) -> Json:
    payload = {"schemaVersion": "1.0", "format": ["JSON"], "deliveryProtocol": "HTTPS", "deprecated": False}
    return {
        "topicId": id,
        "description": f"The topic {id}",
        "authorizationScopes": [_SCOPE],
        "status": "ENABLED",
        "scope": TOPICS[id],
        "supportedPayloads": [payload],
    }


def _missing(id: int) -> Json:
    raise Refused(404, id, "There is no such thing.")
