from decimal import Decimal

import pytest
from pydantic import TypeAdapter, ValidationError

from shared import exact_json, problems, schemas
from shared.platforms.base import PlatformName

NEW = {"name": "Demo store", "platform": "WOO_COMMERCE"}


def is_valid(kind, value):
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("platform", ["TIKTOK_SHOP", "SHOPIFY", "WOO_COMMERCE", "ETSY", "AMAZON", "EBAY", "CUSTOM"])
def test_knows_every_platform_of_the_data_model(platform):
    assert schemas.NewStore.model_validate({**NEW, "platform": platform}).platform == platform


def test_knows_no_other_platform():
    assert len(PlatformName) == 7
    for other in ["MAGENTO", "woo_commerce", "", None, 3, ["SHOPIFY"]]:
        assert not is_valid(schemas.NewStore, {**NEW, "platform": other})


@pytest.mark.parametrize("code", ["USD", "EUR", "JPY", "KWD", "XOF"])
def test_takes_a_currency_of_iso_4217(code):
    assert is_valid(schemas.Currency, code)


@pytest.mark.parametrize("code", ["US", "USDT", "BTC", "ZZZ", "", " USD", "USD\n", "€", 840, None])
def test_refuses_another_currency(code):
    assert not is_valid(schemas.Currency, code)


@pytest.mark.parametrize(
    "name", ["UTC", "America/Los_Angeles", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"]
)
def test_takes_a_time_zone_of_the_iana(name):
    assert is_valid(schemas.Timezone, name)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "Europe/../../../etc/passwd",
        "Europe/../UTC",
        "Europe//Berlin",
        "Europe/",
        "Europe",
        "./UTC",
        "UTC\0",
        "UTC\n",
        "posix/UTC",
        "right/UTC",
        "localtime",
        "posixrules",
        "zone.tab",
        "tzdata.zi",
        "__init__",
        "Mars/Olympus_Mons",
        "+02:00",
        "Ünix",
        "A" * 65,
        "A" * 5_000,
        "",
        " ",
        1,
        None,
    ],
)
def test_refuses_another_time_zone(name):
    assert not is_valid(schemas.Timezone, name)


@pytest.mark.parametrize("name", ["a", "Trendy Tees", "Straße 北京 🏪", "a" * 200, "O'Brien & Söhne <b>"])
def test_takes_a_name(name):
    assert is_valid(schemas.Name, name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "\u00a0",
        "a\nb",
        "a\0b",
        "a\x1b[31m",
        "a\x7f",
        "a\x85b",
        "a\u2028b",
        "a\u2029b",
        "a" * 201,
        1,
        True,
        None,
    ],
)
def test_refuses_a_name_that_is_blank_long_or_has_control_characters(name):
    assert not is_valid(schemas.Name, name)


@pytest.mark.parametrize("interval", [60, 61, 300, 86_400])
def test_takes_a_sync_interval(interval):
    assert is_valid(schemas.StoreSettings, {"syncInterval": interval})


@pytest.mark.parametrize("interval", [59, 86_401, 0, -300, True, "300", Decimal("300.0"), 10**30, []])
def test_refuses_another_sync_interval(interval):
    assert not is_valid(schemas.StoreSettings, {"syncInterval": interval})


@pytest.mark.parametrize("markup", ["1.5", "1", "1.50", "0.01", "1E-400", "1000000"])
def test_keeps_a_markup_to_the_last_digit(markup):
    given = exact_json.loads(f'{{"priceMarkup":{markup}}}')

    kept = schemas.StoreSettings.model_validate(given).as_json()

    assert exact_json.dumps(kept) == f'{{"priceMarkup":{markup}}}'


@pytest.mark.parametrize("markup", [0, Decimal("-0.1"), Decimal("1000000.01"), Decimal("1E+400"), True, "1.5", [], {}])
def test_refuses_another_markup(markup):
    assert not is_valid(schemas.StoreSettings, {"priceMarkup": markup})


@pytest.mark.parametrize("flag", ["autoFulfillment", "webhooksEnabled"])
@pytest.mark.parametrize("value", ["true", 1, 0, "yes", []])
def test_refuses_a_flag_that_is_not_boolean(flag, value):
    assert not is_valid(schemas.StoreSettings, {flag: value})


def test_keeps_settings_that_it_does_not_know_and_adds_none():
    given = {"webhooksEnabled": False, "theirs": {"deep": [1, None]}, "nothing": None}

    assert schemas.StoreSettings.model_validate(given).as_json() == given


@pytest.mark.parametrize("name", ["sync_interval", "price_markup"])
def test_refuses_a_setting_by_our_inner_name(name):
    with pytest.raises(ValidationError, match=f"{name} is spelled"):
        schemas.StoreSettings.model_validate({name: 60})


def test_metadata_takes_16_kib_as_compact_json_and_no_byte_more():
    exact = {"a": "é" * ((schemas.METADATA_BYTES - 8) // 2)}
    assert len(exact_json.dumps(exact).encode()) == schemas.METADATA_BYTES

    assert is_valid(schemas.Metadata, exact)
    with pytest.raises(problems.MetadataTooLarge):
        TypeAdapter(schemas.Metadata).validate_python({"a": exact["a"] + "x"})


@pytest.mark.parametrize("metadata", [[], "text", 1, True])
def test_metadata_is_an_object(metadata):
    assert not is_valid(schemas.Metadata, metadata)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (schemas.NewStore, NEW),
        (schemas.StorePatch, {"name": "x"}),
        (schemas.NewCredentials, {"apiKey": "x"}),
        (schemas.NewAuthorization, NEW),
        (schemas.NewSync, {}),
    ],
)
@pytest.mark.parametrize("foreign", ["userId", "id", "user_id", "version", "is_primary", "__proto__", ""])
def test_every_body_refuses_a_field_that_it_does_not_have(kind, body, foreign):
    assert is_valid(kind, body)
    assert not is_valid(kind, {**body, foreign: "x"})


@pytest.mark.parametrize(
    "field",
    ["storeId", "platform", "domain", "accessToken", "apiKey", "apiSecret", "webhookSecret", "userId", "status"],
)
def test_a_patch_cannot_touch_what_is_fixed_secret_or_ours(field):
    assert not is_valid(schemas.StorePatch, {"name": "x", field: "x"})


@pytest.mark.parametrize("field", ["name", "currency", "timezone", "isActive", "isPrimary"])
def test_a_patch_cannot_remove_what_every_store_has(field):
    assert not is_valid(schemas.StorePatch, {field: None})


def test_a_patch_and_new_credentials_must_ask_for_something():
    assert not is_valid(schemas.StorePatch, {})
    assert not is_valid(schemas.NewCredentials, {})


def test_an_authorization_needs_a_name_for_a_new_store_only():
    assert not is_valid(schemas.NewAuthorization, {"platform": "WOO_COMMERCE"})
    assert is_valid(schemas.NewAuthorization, {"platform": "WOO_COMMERCE", "store": "store-1"})


SECRETS = {"accessToken": "hunter2a", "refreshToken": "hunter2b", "apiKey": "hunter2c", "webhookSecret": "hunter2d"}


def test_credentials_do_not_show_in_text_or_json():
    new = schemas.NewStore.model_validate({**NEW, **SECRETS})

    assert "hunter2" not in f"{new} {new!r} {new.model_dump()} {new.model_dump_json()}"
    assert new.secrets() == {"access_token": "hunter2a", "refresh_token": "hunter2b", "api_key": "hunter2c"}


@pytest.mark.parametrize(
    "body", [{**SECRETS, "apiSecret": ["hunter2e"]}, {**SECRETS, "name": 5, "apiKey": "x" * 5_000}]
)
def test_a_refused_body_does_not_show_its_credentials(body):
    with pytest.raises(ValidationError) as refusal:
        schemas.NewStore.model_validate({**NEW, **body})

    assert "hunter2" not in str(refusal.value)
    assert "xxxx" not in str(refusal.value)


def views():
    return [kind for kind in schemas.View.__subclasses__() if kind is not schemas.ProblemView]


@pytest.mark.parametrize("view", views(), ids=lambda view: view.__name__)
def test_no_answer_has_a_field_for_a_credential(view):
    text = str(view.model_json_schema(by_alias=True)).lower()

    for secret in ("accesstoken", "refreshtoken", "apikey", "apisecret", "webhooksecret", "password"):
        assert secret not in text
