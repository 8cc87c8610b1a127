"""Receiving one webhook delivery: verified, stored, answered.

One conditional write is the durable record and the duplicate check in one: whoever is told "fine" is
told so because the delivery is stored. This is the hot path and the one function that the internet may
call without a token, so it needs botocore and nothing larger, and can open webhook secrets only.
"""

import base64
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from shared import apps, bodies, clients, clock, credentials, keys, platforms, problems, signing_keys
from shared.keys import Purpose
from shared.observability import logger
from shared.platforms.base import (
    AnswersChallenge,
    Delivery,
    FetchesKeys,
    Http,
    NotifiesApp,
    PlatformName,
    ReceivesFromQueue,
    ReceivesWebhooks,
    SignsWithApp,
    Verdict,
)
from shared.settings import current

LARGEST_BODY = 1024 * 1024
LARGEST_STORED = 380 * 1024
"""Of a compressed body: an item holds 400 KB, its other attributes included. What is larger goes to S3."""
LARGEST_READ = 32 * 1024
"""Of a body whose platform says in it what it is and whose. Larger JSON can cost more to read than all the rest, and
notifications are far smaller; what names its topic and its store in headers, as whole records do, is not read here."""
KEPT = timedelta(days=30)
SECRETS_CACHED = timedelta(seconds=60)
"""How long a store's sealed secrets are believed to be the latest. They are opened anew each time: a KMS key that is
disabled bites when ``shared.keys`` gives up the group's key."""
SECRETS_REREAD = timedelta(seconds=5)
_OURS = (
    ClientError,
    BotoCoreError,
    keys.KeyUnavailable,
    credentials.CredentialsUnreadable,
    apps.AppMissing,
    signing_keys.KeyNotToBeHad,
)
"""What may go wrong on our side: the sender must try again."""
_CACHED_CONNECTIONS = 2000
_LONGEST_CONNECTION = 200
_LONGEST_TOPIC = 100


class _Receiver(NamedTuple):
    """What is known of the store behind a connection; its secrets stay sealed until a delivery needs them."""

    store_id: str
    platform: str
    sealed: bytes
    read_at: datetime

    def secrets(self, now: datetime) -> tuple[str, ...]:
        """The webhook secrets that are accepted: the current one, then the one before it."""
        plain = credentials.unseal(Purpose.WEBHOOK, self.store_id, self.platform, self.sealed, now)
        return tuple(plain[name] for name in ("current", "previous") if name in plain)


_receivers: OrderedDict[str, _Receiver] = OrderedDict()


class NotTakenIn(Exception):
    """A message of a queue is not what it should be; its text says why. The queue keeps it in the end."""


def _way_out() -> Http:
    from shared import egress  # it costs as much as all the rest, and hardly any delivery needs it

    return egress.client().within(signing_keys.PATIENCE)


def answer(event: Mapping[str, Any], now: datetime, connect: Callable[[], Http] = _way_out) -> dict[str, Any]:
    """The HTTP answer to a webhook request, from API Gateway's event (payload 2.0).

    ``connect`` gives what reaches the platform, where a key must be asked for.
    """
    path = event.get("pathParameters") or {}
    platform, connection = path.get("platform", ""), path.get("connection")
    try:
        if event["requestContext"]["http"]["method"] != "POST":
            return _challenged(platform, connection, event.get("queryStringParameters") or {})
        topic = _storable(path.get("topic", ""))[:_LONGEST_TOPIC]
        delivery = Delivery(_lower(event["headers"]), _bytes(event), topic)
        status = receive(platform, connection, delivery, now, connect)
    except problems.Problem as problem:
        return _rendered(problem)
    except Exception as error:  # noqa: BLE001 whatever it is, it is ours: the sender must try again
        logger.exception("intake_broken", error=type(error).__name__)
        return _rendered(problems.ServiceBusy("The delivery could not be taken in. Send it again."))
    return {"statusCode": status}


def receive(
    platform: str, connection: str | None, delivery: Delivery, now: datetime, connect: Callable[[], Http] = _way_out
) -> int:
    """Takes a delivery in and gives the HTTP status to answer; a :class:`Problem` otherwise."""
    adapter = _adapter(platform)
    if len(delivery.body) > LARGEST_BODY:
        raise problems.BodyTooLarge(f"A delivery has at most {LARGEST_BODY} bytes.")
    try:
        if connection is None:
            _store(adapter, platform, _app_delivery(adapter, platform, delivery, now, connect), delivery, now)
        elif receiver := _verified(adapter, platform, connection, delivery, now, connect):
            _store(adapter, platform, receiver.store_id, delivery, now)
    except _OURS as error:
        logger.exception("intake_failed", platform=platform)
        raise problems.ServiceBusy("The delivery could not be stored. Send it again.") from error
    return 200


def take_in_message(platform: PlatformName, record: Mapping[str, Any], now: datetime) -> None:
    """Takes in a message of the queue that a platform writes into, from Lambda's record of it.

    Who may write into a queue or a bus is said by its policy. A delivery is stored for every store of ours that
    it may be about. :class:`NotTakenIn` where it is none of ours.
    """
    adapter = _reader(platform)
    _take_in(platform, adapter, adapter.read_queue_message(record["body"], record["md5OfBody"]), now)


def take_in_event(platform: PlatformName, event: Mapping[str, Any], now: datetime) -> None:
    """The same for an event of the platform's event bus."""
    adapter = _reader(platform)
    _take_in(platform, adapter, adapter.read_bus_event(json.dumps(event)), now)


def _reader(platform: PlatformName) -> Any:
    adapter = platforms.get(platform)
    if not isinstance(adapter, ReceivesFromQueue):
        raise NotTakenIn(f"{platform} sends nothing through a queue.")
    return adapter


def _take_in(platform: PlatformName, adapter: Any, delivery: Delivery, now: datetime) -> None:
    if adapter.verify(delivery, _app_secrets(adapter, platform, delivery, now, _way_out), now) is not Verdict.GENUINE:
        raise NotTakenIn("It is damaged, or about another application than ours.")
    named = adapter.stores_named(delivery)
    for store_id in _ours(platform, named) or [f"{platform}#{named[0] if named else ''}"]:
        _store(adapter, platform, store_id, delivery, now)


def _challenged(platform: str, connection: str | None, query: Mapping[str, str]) -> dict[str, Any]:
    """The proof that the app's address is ours."""
    adapter = platforms.get(PlatformName(platform)) if platform in PlatformName.__members__ else None
    if connection is not None or not isinstance(adapter, AnswersChallenge):
        raise problems.MethodNotAllowed("Deliveries come by POST.")
    try:
        app = apps.get(PlatformName(platform))
        proof = adapter.answer_challenge(app, query, f"{current().public_url}/webhooks/{platform}")
    except ValueError as error:
        raise problems.RequestInvalid(str(error)) from error
    except _OURS as error:
        logger.exception("challenge_failed", platform=platform)
        raise problems.ServiceBusy("The challenge could not be answered. Ask again.") from error
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": json.dumps(proof)}


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {_storable(name.lower()): _storable(value) for name, value in headers.items()}


def _storable(text: str) -> str:
    """Without halves of surrogate pairs, which neither DynamoDB nor whoever reads the delivery takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _bytes(event: Mapping[str, Any]) -> bytes:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return bytes(body.encode("utf-8", "surrogatepass"))
    try:
        return base64.b64decode(body)
    except ValueError as error:
        raise problems.BodyMalformed("The body is not base64.") from error


def _rendered(problem: problems.Problem) -> dict[str, Any]:
    headers = {"Content-Type": "application/problem+json"}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    body = json.dumps(problems.render(problem, f"{current().public_url}/docs"))
    return {"statusCode": problem.status, "headers": headers, "body": body}


def forget() -> None:
    """Empties the cache of secrets."""
    _receivers.clear()


def _adapter(platform: str) -> ReceivesWebhooks:
    adapter: object = platforms.get(PlatformName(platform)) if platform in PlatformName.__members__ else None
    if not isinstance(adapter, ReceivesWebhooks):
        raise problems.ConnectionUnknown("No store receives webhooks here.")
    return adapter


def _verified(
    adapter: ReceivesWebhooks,
    platform: str,
    connection: str,
    delivery: Delivery,
    now: datetime,
    connect: Callable[[], Http],
) -> _Receiver | None:
    """Who the delivery is for, if it is genuine; ``None`` for a ping."""
    receiver = _receiver(platform, connection, now, SECRETS_CACHED)
    of_app = _app_secrets(adapter, platform, delivery, now, connect)
    verdict = adapter.verify(delivery, (*of_app, *receiver.secrets(now)), now)
    if verdict is Verdict.FORGED and now - receiver.read_at > SECRETS_REREAD:
        # the secret may have been replaced since it was read
        receiver = _receiver(platform, connection, now, SECRETS_REREAD)
        verdict = adapter.verify(delivery, (*of_app, *receiver.secrets(now)), now)
    return None if verdict is Verdict.PING else _genuine(receiver, verdict, delivery)


def _app_secrets(
    adapter: object, platform: str, delivery: Delivery, now: datetime, connect: Callable[[], Http]
) -> Sequence[str]:
    """What the delivery may be signed with that is not a store's own: the app's secrets, or a key of the platform."""
    if isinstance(adapter, FetchesKeys):
        return [signing_keys.get(PlatformName(platform), adapter, adapter.key_id(delivery), connect, now)]
    return adapter.app_secrets(apps.get(PlatformName(platform))) if isinstance(adapter, SignsWithApp) else ()


def _genuine(receiver: _Receiver, verdict: Verdict, delivery: Delivery) -> _Receiver:
    if not delivery.body:
        raise problems.DeliveryEmpty("A delivery without a body announces nothing.")
    if verdict is not Verdict.GENUINE:
        raise problems.SignatureInvalid("The signature is missing or does not match the body.")
    return receiver


def _app_delivery(
    adapter: ReceivesWebhooks, platform: str, delivery: Delivery, now: datetime, connect: Callable[[], Http]
) -> str:
    """Whose a delivery to the app's own address is: our id of the store, or the platform's of one that is gone."""
    if not isinstance(adapter, NotifiesApp):
        raise problems.ConnectionUnknown("No store receives webhooks here.")
    verdict = adapter.verify(delivery, _app_secrets(adapter, platform, delivery, now, connect), now)
    nobody = _Receiver("", platform, b"", now)
    _genuine(nobody, verdict, delivery)
    theirs = adapter.store_of(_readable(delivery))
    if not theirs and len(delivery.body) > LARGEST_READ:
        raise problems.BodyTooLarge(f"A notification to the app has at most {LARGEST_READ} bytes.")
    return next(iter(_ours(platform, [theirs])), f"{platform}#{theirs}")


def _ours(platform: str, ids: Iterable[str]) -> list[str]:
    """Our ids of the stores that are connected, of those that the platform names."""
    claims = f"{current().table_prefix}-claims"
    wanted = [{"claim": {"S": f"store#{platform}#{id}"}} for id in ids]
    if not wanted:
        return []
    asked = {claims: {"Keys": wanted, "ConsistentRead": True}}
    answer = clients.dynamodb().batch_get_item(RequestItems=asked)
    if answer.get("UnprocessedKeys"):
        raise problems.ServiceBusy("The stores could not be looked up.")
    return sorted(item["store"]["S"] for item in answer["Responses"][claims])


def _receiver(platform: str, connection: str, now: datetime, oldest: timedelta) -> _Receiver:
    cached = _receivers.get(connection)
    if cached is not None and cached.platform == platform and now - cached.read_at <= oldest:
        return cached
    _receivers.pop(connection, None)
    store_id = connection.partition(".")[0]
    item = _credentials(store_id) if _may_be(store_id) and len(connection) <= _LONGEST_CONNECTION else None
    if item is None or item["platform"]["S"] != platform or not _same(item["connection"]["S"], connection):
        raise problems.ConnectionUnknown("No store receives webhooks here.")
    receiver = _Receiver(store_id, platform, item["webhook_secrets"]["B"], now)
    _receivers[connection] = receiver
    while len(_receivers) > _CACHED_CONNECTIONS:
        _receivers.popitem(last=False)
    return receiver


def _may_be(store_id: str) -> bool:
    """Whether DynamoDB can be asked for it; ours are letters and digits."""
    return bool(store_id) and store_id.isascii()


def _same(one: str, other: str) -> bool:
    # lengths and contents of hashes tell nothing about the texts
    return hashlib.sha256(one.encode()).digest() == hashlib.sha256(other.encode("utf-8", "replace")).digest()


def _credentials(store_id: str) -> dict[str, Any] | None:
    answer = clients.dynamodb().get_item(
        TableName=f"{current().table_prefix}-credentials",
        Key={"store_id": {"S": store_id}},
        ProjectionExpression="platform, #connection, webhook_secrets",
        ExpressionAttributeNames={"#connection": "connection"},
        ConsistentRead=True,
    )
    item: dict[str, Any] | None = answer.get("Item")
    return item


def _store(adapter: ReceivesWebhooks, platform: str, store_id: str, delivery: Delivery, now: datetime) -> None:
    body, readable = bodies.pack(delivery.body, adapter.phrases), _readable(delivery)
    headers = {name: delivery.headers[name][:1024] for name in adapter.parsed_headers & delivery.headers.keys()}
    key = _key(platform, store_id, adapter.event_id(readable), delivery.body)
    item: dict[str, dict[str, Any]] = {
        "delivery": {"S": key},
        "store_id": {"S": store_id},
        "platform": {"S": platform},
        "topic": {"S": adapter.topic(readable)},
        "received_at": {"S": clock.to_text(now)},
        **({"headers": {"S": json.dumps(headers)}} if headers else {}),
        **({"path_topic": {"S": delivery.path_topic}} if delivery.path_topic else {}),
        **({"body": {"B": body}} if len(body) <= LARGEST_STORED else {}),
        "outcome": {"S": "PENDING"},
        "expires_at": {"N": str(clock.epoch(now + KEPT))},
    }
    if "body" not in item:
        # before the item, which says that the delivery is safe; a repeat writes the same again
        clients.s3().put_object(Bucket=current().bodies_bucket, Key=f"{store_id}/{key}", Body=body)
    try:
        clients.dynamodb().put_item(
            TableName=f"{current().table_prefix}-deliveries",
            Item=item,
            ConditionExpression="attribute_not_exists(delivery)",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        logger.info("delivery_repeated", platform=platform, store=store_id)
        return
    logger.debug("delivery_stored", platform=platform, store=store_id, topic=item["topic"]["S"])


def _readable(delivery: Delivery) -> Delivery:
    """The delivery, without its body where reading that could cost too much."""
    return delivery if len(delivery.body) <= LARGEST_READ else delivery._replace(body=b"")


def _key(platform: str, store_id: str, event_id: str, body: bytes) -> str:
    """Unambiguous for any parts: ("ab", "c") is not ("a", "bc"). The body counts, as event ids are weak."""
    parts = json.dumps([platform, store_id, event_id, hashlib.sha256(body).hexdigest()])
    return base64.urlsafe_b64encode(hashlib.sha256(parts.encode()).digest()).decode().rstrip("=")
