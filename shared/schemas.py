"""What callers send and get: pydantic models, camelCase outside and snake_case inside.

Bodies refuse fields that they do not know and values of another type than JSON's own.
"""

import unicodedata
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    StrictBool,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

from shared import clock, exact_json, problems
from shared.platforms.base import PlatformName

METADATA_BYTES = 16 * 1024
SETTINGS_BYTES = 16 * 1024
SHORTEST_INTERVAL = 60
LONGEST_INTERVAL = 86_400
DEFAULT_INTERVAL = 300


def _currency(code: str) -> str:
    # the list of currencies is loaded only where somebody names one
    from pydantic import TypeAdapter
    from pydantic_extra_types.currency_code import Currency

    return str(TypeAdapter(Currency).validate_python(code))


def _timezone(name: str) -> str:
    from zoneinfo import ZoneInfo

    # ZoneInfo reads a file by this name, so only names that are spelled like zones get that far; some systems
    # keep variants of all zones beside them, which are not in the IANA's list
    parts = name.split("/")
    variant = parts[0] in {"posix", "right", "localtime", "posixrules"}
    if variant or len(name) > 64 or not all(part[:1].isalpha() for part in parts):
        raise ValueError("It is not an IANA time zone.")
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("It is not an IANA time zone.") from error
    return name


_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of control characters, half surrogates, line and paragraph separators."""


def _printable(text: str) -> str:
    if not text.strip():
        raise ValueError("It is blank.")
    if any(unicodedata.category(character) in _UNPRINTABLE for character in text):
        raise ValueError("It has control characters.")
    return text


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ValueError("It is not a number.")  # noqa: TRY004 pydantic reports ValueError, not TypeError
    return value


def _metadata(value: Any) -> Any:
    if len(exact_json.dumps(value).encode()) > METADATA_BYTES:
        raise problems.MetadataTooLarge(f"Metadata takes at most {METADATA_BYTES} bytes as compact JSON.")
    return value


def _moment(value: Any) -> datetime:
    wanted = "It is not an RFC 3339 time, such as 2026-11-22T10:00:00Z."
    if not isinstance(value, str):
        raise ValueError(wanted)  # noqa: TRY004 pydantic reports ValueError, not TypeError
    try:
        return clock.from_text(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(wanted) from error


Currency = Annotated[StrictStr, AfterValidator(_currency), Field(examples=["USD"], description="ISO 4217")]
Timezone = Annotated[StrictStr, AfterValidator(_timezone), Field(examples=["UTC"], description="IANA name")]
Name = Annotated[StrictStr, AfterValidator(_printable), Field(min_length=1, max_length=200)]
Identifier = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
Markup = Annotated[
    Decimal,
    BeforeValidator(_number),
    Field(gt=0, le=Decimal(1_000_000), allow_inf_nan=False),
    PlainSerializer(lambda value: value, return_type=Any),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0}),
]
Interval = Annotated[StrictInt, Field(ge=SHORTEST_INTERVAL, le=LONGEST_INTERVAL, description="seconds")]
Metadata = Annotated[dict[str, Any], AfterValidator(_metadata)]
Moment = Annotated[datetime, BeforeValidator(_moment), Field(description="RFC 3339")]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=4096, json_schema_extra={"writeOnly": True})]


class Body(BaseModel):
    """A request body."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=False,
        extra="forbid",
        hide_input_in_errors=True,
        frozen=True,
        defer_build=True,  # a function needs few of the models
    )


class View(BaseModel):
    """A response body."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
        frozen=True,
        defer_build=True,
    )

    def rendered(self) -> str:
        """JSON text by the names that callers see, numbers to the last digit."""
        return exact_json.dumps(self.model_dump(by_alias=True))


class StoreSettings(Body):
    """How a store is kept; what we do not know is kept as it is."""

    model_config = ConfigDict(extra="allow")

    auto_fulfillment: StrictBool | None = None
    sync_interval: Interval | None = None
    webhooks_enabled: StrictBool | None = None
    price_markup: Markup | None = None

    @model_validator(mode="after")
    def _spells_names(self) -> Self:
        for name, known in type(self).model_fields.items():
            if name in (self.model_extra or {}):
                raise ValueError(f"{name} is spelled {known.alias}.")
        return self

    def as_json(self) -> dict[str, Any]:
        """What was given and nothing else, by its own names."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class ApiCredentials(Body):
    """What opens a store at its platform."""

    access_token: Secret | None = None
    refresh_token: Secret | None = None
    api_key: Secret | None = None
    api_secret: Secret | None = None
    webhook_secret: Secret | None = None

    def secrets(self) -> dict[str, str]:
        """The API credentials that were given, in plain text, without the webhook secret."""
        names = ("access_token", "refresh_token", "api_key", "api_secret")
        given = {name: getattr(self, name) for name in names}
        return {name: secret.get_secret_value() for name, secret in given.items() if secret is not None}


class NewStore(ApiCredentials):
    """A store to connect with a key and a secret."""

    name: Name
    platform: PlatformName
    domain: Annotated[StrictStr, Field(max_length=512)] | None = None
    store_id: Annotated[StrictStr, Field(min_length=1, max_length=256)] | None = Field(
        default=None, description="If given, the credentials must open this store of the platform."
    )
    currency: Currency | None = None
    timezone: Timezone | None = None
    is_active: StrictBool = True
    is_primary: StrictBool = False
    settings: StoreSettings | None = None
    metadata: Metadata | None = None
    team_id: Identifier | None = None


def _without_defaults(schema: dict[str, Any]) -> None:
    """A patch leaves out what stays; what stands in for it here is nobody's business."""
    for each in schema["properties"].values():
        each.pop("default", None)


class StorePatch(Body):
    """A JSON merge patch (RFC 7396) of a store: null removes."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    name: Name = ""
    currency: Currency = "USD"
    timezone: Timezone = "UTC"
    is_active: StrictBool = True
    is_primary: StrictBool = False
    settings: StoreSettings | None = None
    metadata: dict[str, Any] | None = None
    team_id: Identifier | None = None

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("The patch names nothing to change.")
        return self


class NewCredentials(ApiCredentials):
    """Credentials that replace a store's."""

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("No credential is given.")
        return self


class NewAuthorization(Body):
    """An attempt to connect a store through its platform's own screens."""

    platform: PlatformName
    domain: Annotated[StrictStr, Field(max_length=512)] | None = None
    store: Identifier | None = Field(default=None, description="Our id of a store to reconnect.")
    name: Name | None = None
    is_primary: StrictBool = False
    settings: StoreSettings | None = None
    metadata: Metadata | None = None
    team_id: Identifier | None = None

    @model_validator(mode="after")
    def _names_the_store(self) -> Self:
        if self.store is None and self.name is None:
            raise ValueError("A new store needs a name.")
        return self


class NewSync(Body):
    """A sync to run now."""

    full: StrictBool = Field(default=False, description="Also compare all ids, and find what was deleted.")
    allow_deletes: StrictBool = Field(
        default=False, description="Delete even where so much is gone that a sync would stop and ask."
    )


REPLAY_MOST = 100


class NewReplay(Body):
    """Which of a store's deliveries are to be processed again; with nothing given, all that are kept."""

    since: Moment | None = Field(default=None, description="Received then or later.")
    until: Moment | None = Field(default=None, description="Received before then.")
    outcome: Literal["PENDING", "PROCESSED", "IGNORED", "RETRYING", "DEAD_LETTERED"] | None = Field(
        default=None, description="Only those that have come to this."
    )
    limit: StrictInt = Field(default=REPLAY_MOST, ge=1, le=REPLAY_MOST, description="How many at once, at most.")
    cursor: Annotated[StrictStr, Field(max_length=1024)] | None = Field(
        default=None, description="nextCursor of the answer before, with all else as it was."
    )

    @model_validator(mode="after")
    def _spans_time(self) -> Self:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("since is not before until.")
        return self


class ReplayView(View):
    """How many deliveries are processed again."""

    store: str
    queued: int
    next_cursor: str | None = Field(description="Null when all that were asked for are queued.")


class StatusReason(View):
    """Why a store is not simply connected, with what to do about it."""

    code: str
    text: str


class StoreView(View):
    """A store as its owner sees it; credentials never leave."""

    id: str
    name: str
    platform: PlatformName
    store_id: str
    store_name: str | None
    domain: str | None
    currency: str
    timezone: str
    is_active: bool
    is_primary: bool
    last_sync_at: datetime | None
    settings: dict[str, Any] | None
    metadata: dict[str, Any] | None
    user_id: str
    team_id: str | None
    created_at: datetime
    updated_at: datetime
    status: str
    status_reason: StatusReason | None
    token_expires_at: datetime | None
    reauthorize_by: datetime | None
    version: int


class StoreList(View):
    """A page of stores."""

    items: list[StoreView]
    next_cursor: str | None


class AuthorizationView(View):
    """Where to send the seller."""

    authorization_url: str
    state: str
    expires_at: datetime


class SyncRequested(View):
    """A sync that was queued."""

    store: str
    queued_at: datetime
    full: bool


class SyncRunView(View):
    """One run of a sync."""

    started_at: datetime
    outcome: str
    reason: str | None
    detail: str | None
    trigger: str
    full: bool
    counts: dict[str, Any]
    duration_ms: int


class ImportPart(View):
    """How many records of a kind a first import has seen, of how many."""

    done: int
    total: int | None = Field(description="Null where the platform does not tell.")


class ImportView(View):
    """A first import that is under way."""

    started_at: datetime
    orders: ImportPart | None
    products: ImportPart | None
    estimated_end: datetime | None = Field(description="Null until the sizes of all parts are known.")


class SyncRunList(View):
    """A page of runs, newest first, and the quiet ones since."""

    items: list[SyncRunView]
    next_cursor: str | None
    last_sync_at: datetime | None
    first_import: ImportView | None = None
    quiet_runs: int = Field(description="Complete runs since the newest item that found nothing to change.")


class VariantView(View):
    """One variant of a product."""

    model_config = ConfigDict(extra="allow")

    id: str


class ProductView(View):
    """A product, normalised. Money is decimal text."""

    model_config = ConfigDict(extra="allow")

    id: str
    store: str
    title: str | None = None
    status: str | None = None
    platform_status: str | None = None
    price: str | None = None
    currency: str | None = None
    sku: str | None = None
    image_url: str | None = None
    url: str | None = None
    variants: list[dict[str, Any]] | None = None
    created_at: str | None = None
    updated_at: str | None = None
    changed_at: datetime
    deleted: Literal[True] | None = None


class OrderView(View):
    """An order, normalised. Money is decimal text."""

    model_config = ConfigDict(extra="allow")

    id: str
    store: str
    number: str | None = None
    status: str | None = None
    platform_status: str | None = None
    total: str | None = None
    currency: str | None = None
    lines: list[dict[str, Any]] | None = None
    created_at: str | None = None
    updated_at: str | None = None
    changed_at: datetime
    deleted: Literal[True] | None = None


class ProductList(View):
    """A page of products."""

    items: list[ProductView]
    next_cursor: str | None


class OrderList(View):
    """A page of orders."""

    items: list[OrderView]
    next_cursor: str | None


class DeliveryView(View):
    """A webhook delivery and what became of it."""

    id: str
    topic: str
    platform: PlatformName
    received_at: datetime
    outcome: str
    cause: str | None
    attempts: int


class DeliveryList(View):
    """A page of deliveries, newest first."""

    items: list[DeliveryView]
    next_cursor: str | None


class DesignLink(View):
    """A design linked to a store."""

    store: str
    design_id: str
    linked_at: datetime


class DesignLinkList(View):
    """A page of links."""

    items: list[DesignLink]
    next_cursor: str | None


class ProblemView(View):
    """RFC 9457 problem details."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
