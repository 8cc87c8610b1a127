import pytest
from makers import API_KEY, API_SECRET, NOW, call

from shared import clients, credentials, exact_json, stores
from shared.keys import Purpose
from shared.models import Credentials, Status, Store, SyncState

OTHER = {"apiKey": "ck_" + "ab" * 20, "apiSecret": "cs_" + "cd" * 20}
QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/storelink-sync"


@pytest.fixture
def store(aws, shop):
    given = {"apiKey": API_KEY, "apiSecret": API_SECRET, "webhookSecret": "first" * 8}
    body = {"name": "Demo", "platform": "WOO_COMMERCE", "domain": "shop.example.com", "teamId": "team-1", **given}
    id = call("create_store", "POST", "/stores", body, teams=["team-1"]).json["id"]
    clients.sqs().purge_queue(QueueUrl=QUEUE)
    shop.requests.clear()
    shop.key = (OTHER["apiKey"], OTHER["apiSecret"])
    return id


def replace(id, body, version=None, **more):
    headers = {"if-match": version} if version else {}
    return call("replace_credentials", "PUT", f"/stores/{id}/credentials", body, headers=headers, **more)


def opened(id, purpose):
    row = Credentials.get(id)
    sealed = row.api_credentials if purpose is Purpose.API else row.webhook_secrets
    return credentials.unseal(purpose, id, "WOO_COMMERCE", sealed, NOW)


def queued():
    return [
        exact_json.loads(message["Body"])
        for message in clients.sqs().receive_message(QueueUrl=QUEUE).get("Messages", [])
    ]


def test_a_store_that_needed_a_human_is_healthy_again(store):
    stores.set_status(store, Status.NEEDS_REAUTHORIZATION, "CREDENTIALS_REFUSED", NOW)

    answer = replace(store, OTHER, version='"2"')

    assert (answer.status, answer.headers["ETag"]) == (200, '"3"')
    assert (answer.json["status"], answer.json["statusReason"]) == ("CONNECTED", None)
    assert opened(store, Purpose.API) == {"api_key": OTHER["apiKey"], "api_secret": OTHER["apiSecret"]}
    assert SyncState.get(store).slot is not None
    assert queued() == [{"stores": [store], "trigger": "reconnect", "full": True}]
    assert OTHER["apiSecret"] not in answer.text


def test_a_new_webhook_secret_is_kept_beside_the_one_before(store, shop):
    stores.set_status(store, Status.NEEDS_REAUTHORIZATION, "CREDENTIALS_REFUSED", NOW)

    answer = replace(store, {"webhookSecret": "second" * 8})

    assert opened(store, Purpose.WEBHOOK) == {"current": "second" * 8, "previous": "first" * 8}
    assert opened(store, Purpose.API)["api_key"] == API_KEY
    assert shop.requests == []
    assert answer.json["status"] == "NEEDS_REAUTHORIZATION", "a webhook secret proves nothing"


REFUSED_BODY = [
    ({}, 422, "request-invalid"),
    ({"apiKey": OTHER["apiKey"]}, 422, "request-invalid"),
    ({**OTHER, "accessToken": "t"}, 422, "request-invalid"),
    ({**OTHER, "name": "x"}, 422, "request-invalid"),
    ({**OTHER, "apiSecret": "cs_" + "00" * 20}, 422, "credentials-refused"),
    ({**OTHER, "webhookSecret": ""}, 422, "request-invalid"),
]


def test_what_is_refused_changes_nothing(store, subtests):
    for body, status, problem in REFUSED_BODY:
        with subtests.test(body=body):
            before = Credentials.get(store).attribute_values

            answer = replace(store, body)

            assert (answer.status, answer.problem) == (status, problem)
            assert Credentials.get(store).attribute_values == before
            assert Store.get(store).version == 1
            assert queued() == []


def test_credentials_of_another_store_are_refused(store):
    Store(store).update(actions=[Store.store_id.set("another.example.com")])
    before = Credentials.get(store).attribute_values

    answer = replace(store, OTHER)

    assert (answer.status, answer.problem) == (409, "identity-mismatch")
    assert Credentials.get(store).attribute_values == before


def test_a_stale_version_does_not_even_ask_the_platform(store, shop):
    assert replace(store, OTHER, version='"7"').problem == "version-conflict"
    assert shop.requests == []


def during_the_probe(shop, act):
    """Has ``act`` happen while the platform is asked."""
    ask = shop.request

    def request(*arguments, **options):
        shop.request = ask
        act()
        return ask(*arguments, **options)

    shop.request = request


def test_a_change_meanwhile_does_not_fail_a_caller_who_named_no_version(store, shop):
    during_the_probe(shop, lambda: stores.set_status(store, Status.UNREACHABLE, "STORE_UNREACHABLE", NOW))

    answer = replace(store, OTHER)

    assert (answer.status, answer.headers["ETag"], answer.json["status"]) == (200, '"3"', "CONNECTED")
    assert opened(store, Purpose.API)["api_key"] == OTHER["apiKey"]


def test_a_change_meanwhile_fails_a_caller_who_named_a_version(store, shop):
    during_the_probe(shop, lambda: stores.set_status(store, Status.UNREACHABLE, "STORE_UNREACHABLE", NOW))

    assert replace(store, OTHER, version='"1"').problem == "version-conflict"
    assert opened(store, Purpose.API)["api_key"] == API_KEY


def test_a_removal_meanwhile_wins(store, shop):
    during_the_probe(shop, lambda: call("delete_store", "DELETE", f"/stores/{store}"))

    assert replace(store, OTHER).problem == "store-not-found"
    assert opened(store, Purpose.API)["api_key"] == API_KEY


def test_a_member_of_the_team_may_reconnect_and_a_stranger_may_not(store):
    assert replace(store, OTHER, user="demo-user-2", teams=["team-1"]).status == 200
    assert replace(store, OTHER, user="demo-user-2").problem == "store-not-found"
