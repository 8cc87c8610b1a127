import json
from datetime import datetime

import pytest
from makers import any_caller, call

from shared import clock, connecting, credentials, exact_json, schemas, stores
from shared.keys import Purpose
from shared.models import Credentials, SyncState
from shared.platforms.base import Identity

pytestmark = pytest.mark.usefixtures("aws")

# The owner's sample record, every column filled.
SAMPLE = (
    '{"id":"clxstore001","name":"My TikTok Shop","platform":"TIKTOK_SHOP","storeId":"7123456789",'
    '"storeName":"Trendy Tees Official","accessToken":"encrypted_token_here",'
    '"refreshToken":"encrypted_refresh_token","domain":"https://www.tiktok.com/@trendytees","currency":"USD",'
    '"timezone":"America/Los_Angeles","isActive":true,"isPrimary":true,"lastSyncAt":"2024-01-20T10:00:00Z",'
    '"settings":{"autoFulfillment":true,"syncInterval":300,"webhooksEnabled":true,"priceMarkup":1.5},'
    '"metadata":{"monthlyOrders":500,"rating":4.8,"followers":25000},"userId":"clx1234567890",'
    '"teamId":"clx9876543210","createdAt":"2023-12-01T00:00:00Z","updatedAt":"2024-01-20T10:00:00Z"}'
)
CREDENTIALS = ("accessToken", "refreshToken", "apiKey", "apiSecret", "webhookSecret")
OURS = ("status", "statusReason", "tokenExpiresAt", "reauthorizeBy", "version")
SENDER = {"user": "clx1234567890", "teams": ["clx9876543210"]}


def connect(text):
    """A record as connecting stores it, its times and identity as the record says."""
    record = exact_json.loads(text)
    sent = {name: record[name] for name in record if name in {each.alias for each in fields()}}
    new = schemas.NewStore.model_validate(sent)
    created, updated, synced = (moment(record.get(name)) for name in ("createdAt", "updatedAt", "lastSyncAt"))
    identity = Identity(
        record["storeId"], record.get("domain"), record.get("storeName"), record["currency"], record["timezone"]
    )
    caller = any_caller(record["userId"], *filter(None, [record.get("teamId")]))
    row = connecting.new_store(record["id"], new, caller, identity, created)
    row.updated_at = updated
    secrets = connecting.sealed(row, new.secrets(), {"current": "w" * 48}, created)
    stores.insert(row, secrets, SyncState(row.id, slot=stores.slot_of(row), last_sync_at=synced))


def fields():
    return schemas.NewStore.model_fields.values()


def moment(text):
    return clock.from_text(text) if text else None


def without(text, *names):
    return exact_json.dumps({name: value for name, value in exact_json.loads(text).items() if name not in names})


def test_the_sample_record_goes_in_and_comes_out_unchanged():
    connect(SAMPLE)

    answer = call("get_store", "GET", "/stores/clxstore001", **SENDER)

    assert without(answer.text, *OURS) == without(SAMPLE, *CREDENTIALS)
    assert '"priceMarkup":1.5}' in answer.text
    assert '"rating":4.8,' in answer.text
    assert {name: answer.json[name] for name in OURS} == {
        "status": "CONNECTED",
        "statusReason": None,
        "tokenExpiresAt": None,
        "reauthorizeBy": None,
        "version": 1,
    }
    assert answer.headers["ETag"] == '"1"'


def test_the_sample_records_credentials_are_kept_and_never_shown(now):
    connect(SAMPLE)

    answer = call("get_store", "GET", "/stores/clxstore001", **SENDER)

    assert not set(CREDENTIALS) & set(answer.json)
    assert "encrypted_" not in answer.text
    sealed = Credentials.get("clxstore001").api_credentials
    assert b"encrypted_" not in sealed
    assert credentials.unseal(Purpose.API, "clxstore001", "TIKTOK_SHOP", sealed, now) == {
        "access_token": "encrypted_token_here",
        "refresh_token": "encrypted_refresh_token",
    }


@pytest.mark.parametrize("platform", ["SHOPIFY", "WOO_COMMERCE", "ETSY", "AMAZON", "EBAY", "CUSTOM"])
def test_so_does_a_record_of_any_platform_with_all_that_is_optional_left_out(platform):
    record = {
        **json.loads(SAMPLE),
        "platform": platform,
        "isActive": False,
        "isPrimary": False,
        **dict.fromkeys(["storeName", "lastSyncAt", "settings", "metadata", "teamId", "domain"]),
        "name": "Straße 北京 🏪",
    }
    connect(exact_json.dumps(record))

    answer = call("get_store", "GET", "/stores/clxstore001", user="clx1234567890")

    assert without(answer.text, *OURS) == without(exact_json.dumps(record), *CREDENTIALS)


def test_numbers_of_metadata_come_out_to_the_last_digit():
    metadata = '{"a":4.80,"b":1E+400,"c":12345678901234567890,"d":0.1,"e":[1.0,-0.0,{"f":1E-7}],"g":null,"h":""}'
    connect(SAMPLE.replace('{"monthlyOrders":500,"rating":4.8,"followers":25000}', metadata))

    answer = call("get_store", "GET", "/stores/clxstore001", **SENDER)

    assert f'"metadata":{metadata}' in answer.text


def test_times_of_ours_are_rfc_3339_in_utc():
    connect(SAMPLE)

    view = call("get_store", "GET", "/stores/clxstore001", **SENDER).json

    for name in ("createdAt", "updatedAt", "lastSyncAt"):
        assert view[name].endswith("Z")
        assert datetime.fromisoformat(view[name]).utcoffset().total_seconds() == 0
