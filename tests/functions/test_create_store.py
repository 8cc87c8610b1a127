import pytest
from makers import API_KEY, API_SECRET, NOW, USER, any_caller, call

from shared import clients, credentials, exact_json, stores
from shared.keys import Purpose
from shared.models import Claim, Credentials, Store, SyncState

pytestmark = pytest.mark.usefixtures("aws")
NEW = {
    "name": "Trendy Tees",
    "platform": "WOO_COMMERCE",
    "domain": "Shop.Example.com/",
    "apiKey": API_KEY,
    "apiSecret": API_SECRET,
}


def create(body=None, **more):
    return call("create_store", "POST", "/stores", NEW | (body or {}), **more)


def nothing_is_stored():
    return not any(list(table.scan()) for table in (Store, Credentials, SyncState, Claim))


def queued():
    answer = clients.sqs().receive_message(
        QueueUrl="https://sqs.eu-central-1.amazonaws.com/123456789012/storelink-sync", MaxNumberOfMessages=10
    )
    return [exact_json.loads(message["Body"]) for message in answer.get("Messages", [])]


def test_connects_a_store_that_is_then_there_at_its_location(shop):
    answer = create({"settings": {"syncInterval": 600, "theirs": 1}, "metadata": {"rating": 4.80}, "isPrimary": True})

    assert answer.status == 201
    assert answer.headers["ETag"] == '"1"'
    assert answer.headers["Location"] == f"/stores/{answer.json['id']}"
    read = call("get_store", "GET", answer.headers["Location"])
    assert read.text == answer.text
    assert read.json["storeId"] == "shop.example.com"
    assert (read.json["userId"], read.json["teamId"], read.json["isPrimary"]) == (USER, None, True)
    assert read.json["settings"] == {"syncInterval": 600, "theirs": 1}
    assert (read.json["currency"], read.json["timezone"], read.json["storeName"]) == (
        "EUR",
        "Europe/Berlin",
        "Demo shop",
    )
    assert read.json["domain"] == "https://shop.example.com"


def test_queues_the_first_sync_and_seals_what_opens_the_store(shop, now):
    id = create().json["id"]

    assert queued() == [{"stores": [id], "trigger": "connect", "full": True}]
    row = Credentials.get(id)
    assert credentials.unseal(Purpose.API, id, "WOO_COMMERCE", row.api_credentials, now) == {
        "api_key": API_KEY,
        "api_secret": API_SECRET,
    }
    assert len(credentials.unseal(Purpose.WEBHOOK, id, "WOO_COMMERCE", row.webhook_secrets, now)["current"]) == 48
    assert row.connection.startswith(f"{id}.")
    assert len(row.connection) > len(id) + 24


def test_takes_a_webhook_secret_that_is_given(shop, now):
    id = create({"webhookSecret": "w" * 20}).json["id"]

    sealed = Credentials.get(id).webhook_secrets
    assert credentials.unseal(Purpose.WEBHOOK, id, "WOO_COMMERCE", sealed, now) == {"current": "w" * 20}


REFUSED = [
    ({"apiSecret": "cs_" + "0" * 40}, 422, "credentials-refused"),
    ({"apiKey": None}, 422, "request-invalid"),
    ({"accessToken": "t"}, 422, "request-invalid"),
    ({"refreshToken": "t"}, 422, "request-invalid"),
    ({"settings": {"syncInterval": 59}}, 422, "request-invalid"),
    ({"settings": {"theirs": "x" * 17_000}}, 422, "settings-too-large"),
    ({"metadata": {"a": "x" * 17_000}}, 422, "metadata-too-large"),
    ({"domain": "http://shop.example.com"}, 422, "address-refused"),
    ({"domain": "https://user:pass@shop.example.com"}, 422, "address-refused"),
    ({"domain": None}, 422, "address-refused"),
    ({"platform": "ETSY"}, 422, "address-refused"),
    ({"platform": "AMAZON", "domain": "https://www.amazon.de"}, 422, "request-invalid"),
    ({"platform": "MAGENTO"}, 422, "request-invalid"),
    ({"storeId": "another.example.com"}, 409, "identity-mismatch"),
    ({"teamId": "team-2"}, 403, "team-not-yours"),
    ({"teamId": "a#b"}, 422, "request-invalid"),
    ({"currency": "ZZZ"}, 422, "request-invalid"),
    ({"timezone": "../../etc/passwd"}, 422, "request-invalid"),
    ({"name": "a\x1b[2Jb"}, 422, "request-invalid"),
    ({"isPrimary": "true"}, 422, "request-invalid"),
    ({"id": "mine"}, 422, "request-invalid"),
    ({"lastSyncAt": "2024-01-20T10:00:00Z"}, 422, "request-invalid"),
]


def test_stores_nothing_where_anything_is_wrong(shop, subtests):
    for body, status, problem in REFUSED:
        with subtests.test(body=body):
            answer = create(body, teams=["team-1"])

            assert (answer.status, answer.problem) == (status, problem)
            assert nothing_is_stored()
            assert queued() == []
            for secret in (API_KEY, API_SECRET, "cs_0"):
                assert secret not in answer.text


@pytest.mark.parametrize(("setting", "problem"), [("url", "address-refused"), ("name", None)])
def test_what_the_platform_says_of_itself_is_compared_and_taken(shop, setting, problem):
    setattr(shop, setting, "https://moved.example.com")

    answer = create()

    if problem:
        assert answer.problem == problem
        assert nothing_is_stored()
    else:
        assert answer.json["storeName"] == "https://moved.example.com"


def test_a_store_is_connected_once_whoever_asks(shop):
    create()

    for user in (USER, "demo-user-2"):
        answer = create({"domain": "https://shop.example.com/", "name": "Again"}, user=user)
        assert (answer.status, answer.problem) == (409, "store-already-connected")
    assert len(list(Store.scan())) == len(list(Credentials.scan())) == 1


def test_an_idempotency_key_makes_one_store_and_shows_it_again(shop):
    first, second = (create(headers={"idempotency-key": "key-1"}) for _ in range(2))

    assert first == second
    assert len(list(Store.scan())) == 1
    assert create({"name": "Another"}, headers={"idempotency-key": "key-1"}).problem == "idempotency-key-reused"


def test_of_a_store_nothing_but_its_path_is_kept_under_an_idempotency_key(shop):
    store = create(headers={"idempotency-key": "key-1"}).json

    [row] = clients.dynamodb().scan(TableName="storelink-idempotency")["Items"]
    assert exact_json.loads(row["data"]["S"]) == {"location": f"/stores/{store['id']}"}

    stores.begin_removal(store["id"], any_caller(), None, NOW)
    assert create(headers={"idempotency-key": "key-1"}).problem == "store-not-found"


def test_a_key_can_be_used_again_when_the_platform_refused_first(shop):
    shop.key = ("ck", "cs")
    assert create(headers={"idempotency-key": "key-1"}).problem == "credentials-refused"

    shop.key = (API_KEY, API_SECRET)
    assert create(headers={"idempotency-key": "key-1"}).status == 201


def test_a_store_is_connected_though_its_first_sync_could_not_be_queued(shop, caplog):
    clients.sqs().delete_queue(QueueUrl="https://sqs.eu-central-1.amazonaws.com/123456789012/storelink-sync")

    answer = create()

    assert answer.status == 201
    assert "first_sync_not_queued" in caplog.text
    assert SyncState.get(answer.json["id"]).slot is not None


def test_without_keys_to_seal_with_nothing_is_stored_and_the_service_is_busy(shop):
    for alias in ("api-credentials", "webhook-secrets"):
        clients.kms().delete_alias(AliasName=f"alias/storelink-{alias}")

    answer = create()

    assert (answer.status, answer.problem) == (503, "service-busy")
    assert nothing_is_stored()


def test_the_new_primary_takes_the_role_of_the_old(shop):
    first = create({"isPrimary": True}).json["id"]
    second = create({"domain": "https://second.example.com", "isPrimary": True}).json["id"]

    shown = {each["id"]: each["isPrimary"] for each in call("list_stores", "GET", "/stores").json["items"]}
    assert shown == {first: False, second: True}
