"""AWS clients, made once per execution environment from one session.

From botocore, not boto3, which would only add to the start. Every session loads data files of its own and
every client opens connections of its own, so everybody asks here.
"""

from functools import cache
from threading import Lock

from botocore.client import BaseClient
from botocore.config import Config
from botocore.session import Session, get_session

from shared import fast_json_protocol

# A stalled connection must leave time for another attempt, and the last attempt for an answer.
_CONFIG = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=32,
    # a quarter of what a page of records costs; what is wrong, AWS says too
    parameter_validation=False,
)

# A session may be used by one thread at a time; the clients that it makes, by all.
_one_at_a_time = Lock()


def dynamodb() -> BaseClient:
    """The DynamoDB client, also under every PynamoDB model (`shared/tables.py`)."""
    return _client("dynamodb")


def kms() -> BaseClient:
    """The KMS client."""
    return _client("kms")


def sqs() -> BaseClient:
    """The SQS client."""
    return _client("sqs")


def events() -> BaseClient:
    """The EventBridge client."""
    return _client("events")


def secrets() -> BaseClient:
    """The Secrets Manager client."""
    return _client("secretsmanager")


def s3() -> BaseClient:
    """The S3 client."""
    return _client("s3")


def forget() -> None:
    """Drop all clients, for a test whose AWS is another one than the last test's; what they are made of stays."""
    with _one_at_a_time:
        _made.cache_clear()


def _client(service: str) -> BaseClient:
    with _one_at_a_time:
        return _made(service)


@cache
def _made(service: str) -> BaseClient:
    return _session().create_client(service)


@cache
def _session() -> Session:
    session = get_session()
    fast_json_protocol.use(session)
    # a fixed name: botocore would put its own together anew twice for each call
    session.set_default_client_config(_CONFIG.merge(Config(user_agent=session.user_agent())))
    return session
