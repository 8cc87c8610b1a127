"""The environment, parsed once into a frozen object. Nothing else reads the environment.

A variable that is absent and has no default raises at start, not at first use.
"""

import os
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple
from urllib.parse import urlsplit


class Settings(NamedTuple):
    """What a function is told about its deployment."""

    table_prefix: str
    """Tables are named ``{table_prefix}-stores`` and so on."""
    public_url: str
    """Where the internet reaches this API, without a trailing slash."""
    api_credentials_key: str
    """KMS key (ARN) that wraps the keys of API credentials."""
    webhook_secrets_key: str
    """KMS key (ARN) that wraps the keys of webhook secrets."""
    event_bus: str
    sync_queue_url: str
    delivery_queue_url: str
    delivery_dead_letters_url: str
    removal_queue_url: str
    bodies_bucket: str
    """Where bodies of deliveries go that are too large for an item."""
    apps: str
    """Our registrations at the platforms are secrets named ``{apps}/{PLATFORM}``."""
    teams_claim: str
    """The claim of the caller's token that lists their teams."""
    key_groups: int
    """Into how many groups the stores' credentials are spread; fixed once chosen."""
    shards: int
    """Into how many partitions a sharded index key is spread; fixed once chosen."""
    local_ca: str
    """A CA file that opens loopback addresses to platform calls; local stack only."""
    local_platforms: str
    """``PORT:host,.domain,…``: hosts of platforms that are played on a loopback port; local stack only."""


def parse(environment: Mapping[str, str]) -> Settings:
    """The settings in ``environment``; :class:`KeyError` names what is missing."""
    local_ca = environment.get("STORELINK_LOCAL_CA", "")
    local_platforms = environment.get("STORELINK_LOCAL_PLATFORMS", "")
    if (local_ca or local_platforms) and not _is_loopback(environment.get("AWS_ENDPOINT_URL", "")):
        raise ValueError("STORELINK_LOCAL_CA and STORELINK_LOCAL_PLATFORMS are for a local AWS endpoint only.")
    return Settings(
        table_prefix=environment["TABLE_PREFIX"],
        public_url=environment["PUBLIC_URL"].rstrip("/"),
        api_credentials_key=environment["API_CREDENTIALS_KEY"],
        webhook_secrets_key=environment["WEBHOOK_SECRETS_KEY"],
        event_bus=environment["EVENT_BUS"],
        sync_queue_url=environment["SYNC_QUEUE_URL"],
        delivery_queue_url=environment["DELIVERY_QUEUE_URL"],
        delivery_dead_letters_url=environment["DELIVERY_DEAD_LETTERS_URL"],
        removal_queue_url=environment["REMOVAL_QUEUE_URL"],
        bodies_bucket=environment["BODIES_BUCKET"],
        apps=environment["APPS"],
        teams_claim=environment["TEAMS_CLAIM"],
        key_groups=int(environment["KEY_GROUPS"]),
        shards=int(environment["SHARDS"]),
        local_ca=local_ca,
        local_platforms=local_platforms,
    )


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


@cache
def current() -> Settings:
    """The settings of this execution environment."""
    return parse(os.environ)
