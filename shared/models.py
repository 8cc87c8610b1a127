"""The DynamoDB tables, one class each; ``docs/architecture.md`` says what they are for.

Tables are made by ``template.yaml``; here is how their items read. Attributes with ``null=True`` may
be absent, which PynamoDB's types do not say.
"""

from enum import StrEnum
from typing import Any

from pynamodb.attributes import (
    BinaryAttribute,
    BooleanAttribute,
    NumberAttribute,
    NumberSetAttribute,
    TTLAttribute,
    UnicodeAttribute,
    UnicodeSetAttribute,
    UTCDateTimeAttribute,
)
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex, KeysOnlyProjection

from shared.tables import Table, table_name


class Status(StrEnum):
    """How a store's connection is."""

    CONNECTED = "CONNECTED"
    NEEDS_REAUTHORIZATION = "NEEDS_REAUTHORIZATION"
    UNREACHABLE = "UNREACHABLE"
    DISCONNECTED = "DISCONNECTED"


class Outcome(StrEnum):
    """How a sync ended."""

    COMPLETE = "COMPLETE"
    PARTIAL = "PARTIAL"
    STALLED = "STALLED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


class Processing(StrEnum):
    """What became of a webhook delivery."""

    PENDING = "PENDING"
    PROCESSED = "PROCESSED"
    IGNORED = "IGNORED"
    RETRYING = "RETRYING"
    DEAD_LETTERED = "DEAD_LETTERED"


class StoresByUser(GlobalSecondaryIndex["Store"]):
    """A user's stores in the order of their creation."""

    class Meta:
        index_name = "byUser"
        projection = AllProjection()

    user_id = UnicodeAttribute(hash_key=True)
    created_key = UnicodeAttribute(range_key=True)


class StoresByTeam(GlobalSecondaryIndex["Store"]):
    """A team's stores in the order of their creation."""

    class Meta:
        index_name = "byTeam"
        projection = AllProjection()

    team_id = UnicodeAttribute(hash_key=True)
    created_key = UnicodeAttribute(range_key=True)


class StoresByPlatform(GlobalSecondaryIndex["Store"]):
    """Every store of a platform, spread over shards: the way to walk all stores without a scan."""

    class Meta:
        index_name = "byPlatform"
        projection = KeysOnlyProjection()

    platform_shard = UnicodeAttribute(hash_key=True)
    created_key = UnicodeAttribute(range_key=True)


class Store(Table):
    """A seller's store, without credentials and without what a sync changes."""

    class Meta:
        table_name = table_name("stores")

    id = UnicodeAttribute(hash_key=True)
    name = UnicodeAttribute()
    platform = UnicodeAttribute()
    store_id = UnicodeAttribute()
    store_name = UnicodeAttribute(null=True)
    domain = UnicodeAttribute(null=True)
    currency = UnicodeAttribute()
    timezone = UnicodeAttribute()
    is_active = BooleanAttribute()
    is_primary = BooleanAttribute()
    settings = UnicodeAttribute(null=True)
    metadata = UnicodeAttribute(null=True)
    user_id = UnicodeAttribute()
    team_id = UnicodeAttribute(null=True)
    created_at = UTCDateTimeAttribute()
    updated_at = UTCDateTimeAttribute()
    status = UnicodeAttribute()
    status_reason = UnicodeAttribute(null=True)
    version = NumberAttribute()
    reauthorize_by = UTCDateTimeAttribute(null=True)
    reauthorize_days = NumberAttribute(null=True)
    """How many days before ``reauthorize_by`` it was last announced; none where there is no need yet."""
    created_key = UnicodeAttribute()
    platform_shard = UnicodeAttribute()
    removing = BooleanAttribute(null=True)

    by_user = StoresByUser()
    by_team = StoresByTeam()
    by_platform = StoresByPlatform()


class Claim(Table):
    """Something that must be unique, and the store that has it."""

    class Meta:
        table_name = table_name("claims")

    claim = UnicodeAttribute(hash_key=True)
    store = UnicodeAttribute()


class CredentialsDue(GlobalSecondaryIndex["Credentials"]):
    """Credentials that must be refreshed, soonest first."""

    class Meta:
        index_name = "refreshDue"
        projection = KeysOnlyProjection()

    refresh_shard = UnicodeAttribute(hash_key=True)
    refresh_due_at = UnicodeAttribute(range_key=True)


class Credentials(Table):
    """A store's secrets, sealed, and what their refresh needs in clear."""

    class Meta:
        table_name = table_name("credentials")

    store_id = UnicodeAttribute(hash_key=True)
    platform = UnicodeAttribute()
    api_credentials = BinaryAttribute(legacy_encoding=False)
    webhook_secrets = BinaryAttribute(legacy_encoding=False)
    connection = UnicodeAttribute()
    """The unguessable part of the address that receives the store's webhooks."""
    token_hash = UnicodeAttribute(null=True)
    """Of the token that the next refresh spends: whoever saves a pair says which one it replaces."""
    token_life = NumberAttribute(null=True)
    """Seconds that an access token lives, as the platform last said."""
    token_expires_at = UTCDateTimeAttribute(null=True)
    refresh_expires_at = UTCDateTimeAttribute(null=True)
    """When the grant ends unless it is refreshed, or for good: then the seller must approve anew."""
    refreshed_at = UTCDateTimeAttribute(null=True)
    refresh_failures = NumberAttribute(null=True)
    refresh_not_before = UTCDateTimeAttribute(null=True)
    pair_unproved = BooleanAttribute(null=True)
    """The pair has not worked yet, so that the one before it, which is kept with it, may have to."""
    noticed = NumberAttribute(null=True)
    """The last announcement that the grant ends: so many days before."""
    refresh_shard = UnicodeAttribute(null=True)
    refresh_due_at = UnicodeAttribute(null=True)
    lease_owner = UnicodeAttribute(null=True)
    lease_until = UTCDateTimeAttribute(null=True)
    fence = NumberAttribute(default=0)

    refresh_due = CredentialsDue()


class SyncStatesWheel(GlobalSecondaryIndex["SyncState"]):
    """The stores of one slot of the wheel; no sync ever rewrites it."""

    class Meta:
        index_name = "wheel"
        projection = KeysOnlyProjection()

    slot = UnicodeAttribute(hash_key=True)
    store_id = UnicodeAttribute(range_key=True)


class SyncStatesLate(GlobalSecondaryIndex["SyncState"]):
    """Stores that missed their interval, longest first."""

    class Meta:
        index_name = "late"
        projection = KeysOnlyProjection()

    late_shard = UnicodeAttribute(hash_key=True)
    late_since = UnicodeAttribute(range_key=True)


class SyncState(Table):
    """Where a store's sync stands. Small on purpose: a sync writes it twice."""

    class Meta:
        table_name = table_name("sync-states")

    store_id = UnicodeAttribute(hash_key=True)
    last_sync_at = UTCDateTimeAttribute(null=True)
    slot = UnicodeAttribute(null=True)
    late_shard = UnicodeAttribute(null=True)
    late_since = UnicodeAttribute(null=True)
    checkpoint = UnicodeAttribute(null=True)
    """JSON: for each resource the adapter's cursor."""
    lease_owner = UnicodeAttribute(null=True)
    lease_until = UTCDateTimeAttribute(null=True)
    fence = NumberAttribute(default=0)
    not_before = UTCDateTimeAttribute(null=True)
    """The platform asked to wait until then."""
    full_sync_at = UTCDateTimeAttribute(null=True)
    changed_since_full = NumberAttribute(null=True)
    """How many changes the syncs found since then: a busy store whose webhooks are silent has lost them."""
    requested_at = UTCDateTimeAttribute(null=True)
    quiet_runs = NumberAttribute(default=0)
    """Complete runs in a row that found nothing; they leave no row of their own."""
    failures = NumberAttribute(default=0)
    """Runs in a row that could not reach the platform."""
    token_expires_at = UTCDateTimeAttribute(null=True)
    reauthorize_by = UTCDateTimeAttribute(null=True)

    wheel = SyncStatesWheel()
    late = SyncStatesLate()


class Dispatcher(Table):
    """The dispatcher's own row beside the sync states: what it has dispatched, and for which intervals."""

    class Meta:
        table_name = table_name("sync-states")

    KEY = "#dispatcher"

    store_id = UnicodeAttribute(hash_key=True)
    last_tick = NumberAttribute(null=True)
    intervals = NumberSetAttribute(null=True)


class SyncRun(Table):
    """One run of a sync that changed something or did not end well."""

    class Meta:
        table_name = table_name("sync-runs")

    store_id = UnicodeAttribute(hash_key=True)
    started_at = UnicodeAttribute(range_key=True)
    outcome = UnicodeAttribute()
    reason = UnicodeAttribute(null=True)
    detail = UnicodeAttribute(null=True)
    trigger = UnicodeAttribute()
    full = BooleanAttribute()
    counts = UnicodeAttribute()
    duration_ms = NumberAttribute()
    user_id = UnicodeAttribute()
    team_id = UnicodeAttribute(null=True)
    platform = UnicodeAttribute()
    expires_at = TTLAttribute()


class RecordId(UnicodeAttribute):
    """A platform's id of a record, behind its length in three digits: numbers sort as numbers."""

    def serialize(self, value: Any) -> str:
        """As DynamoDB has it."""
        return f"{len(value):03d}{value}"

    def deserialize(self, value: str) -> str:
        """As the platform has it."""
        return value[3:]


class OrdersByCreated(GlobalSecondaryIndex["Order"]):
    """A store's orders in the order of their creation at the platform; sparse: not where their ids tell it."""

    class Meta:
        index_name = "byCreated"
        projection = KeysOnlyProjection()

    store_id = UnicodeAttribute(hash_key=True)
    created_key = UnicodeAttribute(range_key=True)


class SyncedRecord(Table):
    """What products and orders have in common."""

    store_id = UnicodeAttribute(hash_key=True)
    id = RecordId(range_key=True)
    version = UnicodeAttribute()
    """The platform's time of the change, then ours of the look: texts that sort as time does."""
    looked_at = UnicodeAttribute()
    """Our time of the look alone. It decides between a record and its tombstone, whose clock is ours."""
    hash = UnicodeAttribute()
    body = BinaryAttribute(legacy_encoding=False, null=True)
    """The normalised record: JSON, zlib."""
    changed_at = UnicodeAttribute()
    """When we saw the change: by it the change feed knows whether an entry is this row's last."""
    deleted = BooleanAttribute(null=True)


class Product(SyncedRecord):
    """A product of a store."""

    class Meta:
        table_name = table_name("products")


class OrdersByBuyer(GlobalSecondaryIndex["Order"]):
    """The orders of one buyer in all stores of a platform that asks by buyer to erase them; sparse."""

    class Meta:
        index_name = "byBuyer"
        projection = KeysOnlyProjection()

    buyer = UnicodeAttribute(hash_key=True)
    store_id = UnicodeAttribute(range_key=True)


class OrdersPersonalDue(GlobalSecondaryIndex["Order"]):
    """Orders whose buyer's data must be gone by a time that the platform sets; sparse."""

    class Meta:
        index_name = "personalDue"
        projection = KeysOnlyProjection()

    personal_shard = UnicodeAttribute(hash_key=True)
    personal_until = UnicodeAttribute(range_key=True)


class Order(SyncedRecord):
    """An order of a store."""

    class Meta:
        table_name = table_name("orders")

    created_at = UnicodeAttribute(null=True)
    """At the platform."""
    created_key = UnicodeAttribute(null=True)
    """That time and the id, where ids do not grow with time."""
    buyer = UnicodeAttribute(null=True)
    erased = BooleanAttribute(null=True)
    """A request about personal data took out who bought: what the platform shows later is kept without it."""
    personal_until = UnicodeAttribute(null=True)
    """From when on nothing may be held, or shown, that tells who bought."""
    personal_shard = UnicodeAttribute(null=True)

    by_created = OrdersByCreated()
    by_buyer = OrdersByBuyer()
    personal_due = OrdersPersonalDue()


class Change(Table):
    """An entry of the change feed: the records of a store that changed together."""

    class Meta:
        table_name = table_name("changes")

    store_id = UnicodeAttribute(hash_key=True)
    place = UnicodeAttribute(range_key=True)
    """``RESOURCE#TIME#EVENT``: when it was noted, and the stream's first event in it."""
    records = BinaryAttribute(legacy_encoding=False)
    """JSON, zlib: for each ``changed_at`` the ids."""
    expires_at = TTLAttribute()


class Delivery(Table):
    """A webhook delivery: the durable record, and the duplicate check."""

    class Meta:
        table_name = table_name("deliveries")

    store_id = UnicodeAttribute(hash_key=True)
    delivery = UnicodeAttribute(range_key=True)
    platform = UnicodeAttribute()
    topic = UnicodeAttribute()
    received_at = UnicodeAttribute()
    headers = UnicodeAttribute(null=True)
    """JSON: those that parsing reads."""
    path_topic = UnicodeAttribute(null=True)
    """The topic that the address named, where subscriptions have an address each."""
    body = BinaryAttribute(legacy_encoding=False, null=True)
    """As it came, packed (``shared.bodies``); a large one is in the bucket under ``{store_id}/{delivery}``."""
    outcome = UnicodeAttribute()
    """Of one that went well when it was first handled it stays PENDING: ``HandledDeliveries`` has it."""
    cause = UnicodeAttribute(null=True)
    attempts = NumberAttribute(default=0)
    replayed_at = UnicodeAttribute(null=True)
    """When it was last asked for again. DynamoDB's stream shows no write that changes nothing, so each replay must."""
    expires_at = TTLAttribute()


class HandledDeliveries(Table):
    """What became of a store's deliveries of ten seconds when they were first handled: one write for many."""

    class Meta:
        table_name = table_name("handled-deliveries")

    store_id = UnicodeAttribute(hash_key=True)
    received = UnicodeAttribute(range_key=True)
    """The time of receipt but for its last digit of seconds and what follows."""
    deliveries = UnicodeSetAttribute()
    """The rest of the time, key, outcome and, where there is one, cause."""
    expires_at = TTLAttribute()


class PrivacyEvidence(Table):
    """What was done about a request concerning personal data; it holds none itself, and outlives the store."""

    class Meta:
        table_name = table_name("privacy-requests")

    request = UnicodeAttribute(hash_key=True)
    """The key of the delivery that brought it, and which of its requests it is."""
    kind = UnicodeAttribute()
    platform = UnicodeAttribute()
    store = UnicodeAttribute()
    """Our id of the store, or ``PLATFORM#ID`` of one that is not connected."""
    received_at = UTCDateTimeAttribute()
    due_at = UTCDateTimeAttribute()
    done_at = UTCDateTimeAttribute()
    outcome = UnicodeAttribute()
    orders = UnicodeAttribute()
    """JSON: for each of our stores that it concerned the ids of the orders."""
    expires_at = TTLAttribute()


class Authorization(Table):
    """One attempt to connect a store through the platform's own screens."""

    class Meta:
        table_name = table_name("authorizations")

    state = UnicodeAttribute(hash_key=True)
    user_id = UnicodeAttribute()
    platform = UnicodeAttribute()
    domain = UnicodeAttribute()
    request = UnicodeAttribute()
    """JSON of what was asked for: name, team, settings, the store to reconnect."""
    created_at = UTCDateTimeAttribute()
    used_at = UTCDateTimeAttribute(null=True)
    pending = BinaryAttribute(legacy_encoding=False, null=True)
    """The tokens of a grant that covers several stores, sealed, until the seller has chosen one."""
    store = UnicodeAttribute(null=True)
    problem = UnicodeAttribute(null=True)
    """Why it failed: the problem's title, for the page that the seller sees."""
    expires_at = TTLAttribute()


class DesignsStores(GlobalSecondaryIndex["StoreDesign"]):
    """The stores that a design is linked to."""

    class Meta:
        index_name = "byDesign"
        projection = AllProjection()

    design_id = UnicodeAttribute(hash_key=True)
    store_id = UnicodeAttribute(range_key=True)


class StoreDesign(Table):
    """A design linked to a store."""

    class Meta:
        table_name = table_name("store-designs")

    store_id = UnicodeAttribute(hash_key=True)
    design_id = UnicodeAttribute(range_key=True)
    linked_at = UTCDateTimeAttribute()

    by_design = DesignsStores()


class Budget(Table):
    """How many calls a platform takes from our app, and who has spoken for them: shared by all workers.

    ``shared.budgets`` reads and writes it.
    """

    class Meta:
        table_name = table_name("budgets")

    scope = UnicodeAttribute(hash_key=True)
    """``PLATFORM#LIMIT``."""
    per_day = NumberAttribute(null=True)
    """As the platform last told it, or an operator wrote it here; none where the adapter's figure holds."""
    per_second = NumberAttribute(null=True)
    day_until = UTCDateTimeAttribute(null=True)
    """Until when the calls that come back in the course of a day are spoken for."""
    second_until = UTCDateTimeAttribute(null=True)
    """Until when the turns within each second are."""
    not_before = UTCDateTimeAttribute(null=True)
    """The platform asked all of the app to wait until then."""
    changes = NumberAttribute(null=True)
    """Counts the writes: each is made on what was read."""


class KeyGroup(Table):
    """The wrapped keys of one group of the credential hierarchy (``shared.keys`` reads and writes it)."""

    class Meta:
        table_name = table_name("key-groups")

    group = UnicodeAttribute(hash_key=True)
    current = NumberAttribute()


class Rotation(Table):
    """How far the renewal of old seals has come, beside the key groups."""

    class Meta:
        table_name = table_name("key-groups")

    KEY = "#rotation"

    group = UnicodeAttribute(hash_key=True)
    place = UnicodeAttribute(null=True)
