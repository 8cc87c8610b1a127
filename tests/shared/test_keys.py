"""The key groups: made once, versioned, held for a short time, and never there when KMS says no."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest

from shared import clients, keys, settings
from shared.keys import HELD, GroupKey, KeyUnavailable, KeyUnknown, Purpose
from tests.shared.conftest import KeyService

NOW = datetime(2026, 1, 20, 10, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)


def read(group: str) -> dict[str, Any]:
    """A group's item in the table."""
    answer = clients.dynamodb().get_item(TableName="storelink-key-groups", Key={"group": {"S": group}})
    item: dict[str, Any] = answer["Item"]
    return item


def test_makes_a_groups_key_once_and_finds_it_again(key_service: KeyService) -> None:
    made = keys.current(Purpose.API, 7, NOW)
    keys.forget()

    found = keys.version(Purpose.API, 7, 1, NOW)

    assert found == made
    assert len(found.secret) == 32
    assert key_service.asked.count("GenerateDataKey") == 1


@pytest.mark.usefixtures("key_service")
def test_every_purpose_and_group_has_a_key_of_its_own() -> None:
    secrets = {keys.current(purpose, group, NOW).secret for purpose in Purpose for group in range(4)}

    assert len(secrets) == 8


@pytest.mark.usefixtures("key_service")
def test_each_purpose_uses_its_kms_key_under_a_context_that_names_purpose_and_group() -> None:
    keys.current(Purpose.WEBHOOK, 7, NOW)

    item = read("webhook#7")
    opened = clients.kms().decrypt(
        KeyId=settings.current().webhook_secrets_key,
        CiphertextBlob=item["versions"]["M"]["1"]["B"],
        EncryptionContext={"service": "storelink", "purpose": "webhook", "group": "7"},
    )

    assert opened["Plaintext"] == keys.version(Purpose.WEBHOOK, 7, 1, NOW).secret
    webhook_key = clients.kms().describe_key(KeyId=settings.current().webhook_secrets_key)["KeyMetadata"]
    assert opened["KeyId"] == webhook_key["Arn"]


@pytest.mark.usefixtures("key_service")
def test_a_wrapped_key_moved_to_another_group_does_not_unwrap() -> None:
    keys.current(Purpose.API, 7, NOW)
    item = read("api#7")
    clients.dynamodb().put_item(TableName="storelink-key-groups", Item={**item, "group": {"S": "api#8"}})

    with pytest.raises(KeyUnavailable):
        keys.version(Purpose.API, 8, 1, NOW)


def test_asks_kms_nothing_while_the_key_is_held(key_service: KeyService) -> None:
    keys.current(Purpose.API, 7, NOW)
    key_service.asked.clear()

    keys.current(Purpose.API, 7, NOW + HELD - MOMENT)
    keys.version(Purpose.API, 7, 1, NOW + HELD - MOMENT)
    keys.current_version(Purpose.API, 7, NOW + HELD - MOMENT)

    assert key_service.asked == []


def test_asks_kms_again_once_the_key_was_held_long_enough(key_service: KeyService) -> None:
    keys.current(Purpose.API, 7, NOW)
    key_service.asked.clear()

    keys.version(Purpose.API, 7, 1, NOW + HELD)

    assert key_service.asked == ["Decrypt"]


def test_asks_kms_again_when_the_clock_was_set_back(key_service: KeyService) -> None:
    keys.current(Purpose.API, 7, NOW)
    key_service.asked.clear()

    keys.version(Purpose.API, 7, 1, NOW - MOMENT)

    assert key_service.asked == ["Decrypt"]


@pytest.mark.parametrize(
    "refusal",
    ["DisabledException", "KMSInvalidStateException", "AccessDeniedException", "ThrottlingException"],
)
def test_a_refusal_of_kms_bites_when_the_held_key_runs_out_and_not_before(
    key_service: KeyService, refusal: str
) -> None:
    held = keys.current(Purpose.API, 7, NOW)
    key_service.failing_with = refusal

    assert keys.current(Purpose.API, 7, NOW + HELD - MOMENT) == held
    with pytest.raises(KeyUnavailable, match=f"^Decrypt answered {refusal}.$"):
        keys.current(Purpose.API, 7, NOW + HELD)


def test_recovers_by_itself_when_kms_answers_again(key_service: KeyService) -> None:
    made = keys.current(Purpose.API, 7, NOW)
    key_service.failing_with = "DisabledException"
    with pytest.raises(KeyUnavailable):
        keys.current(Purpose.API, 7, NOW + HELD)
    key_service.failing_with = None

    assert keys.current(Purpose.API, 7, NOW + HELD) == made


def test_makes_no_group_while_kms_refuses(key_service: KeyService) -> None:
    key_service.failing_with = "ThrottlingException"

    with pytest.raises(KeyUnavailable, match=r"^GenerateDataKey answered ThrottlingException.$"):
        keys.current(Purpose.API, 7, NOW)

    assert clients.dynamodb().scan(TableName="storelink-key-groups")["Count"] == 0


@pytest.mark.usefixtures("key_service")
def test_says_unavailable_when_the_table_does_not_answer() -> None:
    clients.dynamodb().delete_table(TableName="storelink-key-groups")

    with pytest.raises(KeyUnavailable, match=r"^GetItem answered ResourceNotFoundException.$"):
        keys.version(Purpose.API, 7, 1, NOW)


def test_threads_that_make_a_group_at_once_end_with_one_key(key_service: KeyService) -> None:
    at_once = Barrier(8)

    def make(_: int) -> GroupKey:
        at_once.wait()
        return keys.current(Purpose.API, 7, NOW)

    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(make, range(8)))

    assert len(made) == 1
    assert key_service.asked == ["GenerateDataKey", "Decrypt"]


def test_another_environment_that_made_the_group_first_wins(key_service: KeyService) -> None:
    others: list[GroupKey] = []

    def other_environment(**_: object) -> None:
        events.unregister("before-call.dynamodb.PutItem", unique_id="race")
        keys._locks.clear()
        others.append(keys.current(Purpose.API, 7, NOW))
        keys.forget()

    events = clients.dynamodb().meta.events
    events.register("before-call.dynamodb.PutItem", other_environment, unique_id="race")

    ours = keys.current(Purpose.API, 7, NOW)

    assert others == [ours]
    assert key_service.asked.count("GenerateDataKey") == 2


@pytest.mark.usefixtures("key_service")
def test_rotation_gives_a_new_key_and_keeps_the_old_one_readable() -> None:
    first = keys.current(Purpose.API, 7, NOW)
    later = NOW + timedelta(days=90)

    number = keys.rotate(Purpose.API, 7, later)

    second = keys.current(Purpose.API, 7, later)
    assert number == second.version == keys.current_version(Purpose.API, 7, later) == 2
    assert second.secret != first.secret
    assert keys.version(Purpose.API, 7, 1, later) == first
    assert keys.created_at(Purpose.API, 7, later) == later


@pytest.mark.usefixtures("key_service")
def test_of_two_rotations_at_once_one_happens_and_its_key_stays() -> None:
    keys.current(Purpose.API, 7, NOW)
    others: list[GroupKey] = []

    def other_environment(**_: object) -> None:
        events.unregister("before-call.dynamodb.UpdateItem", unique_id="race")
        keys._locks.clear()
        keys.rotate(Purpose.API, 7, NOW)
        others.append(keys.current(Purpose.API, 7, NOW))

    events = clients.dynamodb().meta.events
    events.register("before-call.dynamodb.UpdateItem", other_environment, unique_id="race")

    assert keys.rotate(Purpose.API, 7, NOW) == 2
    assert others == [keys.current(Purpose.API, 7, NOW)]


@pytest.mark.usefixtures("key_service")
def test_a_group_without_a_key_is_not_rotated() -> None:
    assert keys.rotate(Purpose.API, 7, NOW) is None
    assert keys.current_version(Purpose.API, 7, NOW) is None
    assert keys.created_at(Purpose.API, 7, NOW) is None


@pytest.mark.usefixtures("key_service")
def test_finds_a_version_that_another_environment_made_meanwhile() -> None:
    keys.current(Purpose.API, 7, NOW)
    held = dict(keys._rings)
    keys.rotate(Purpose.API, 7, NOW)
    keys._rings.update(held)

    assert keys.version(Purpose.API, 7, 2, NOW).version == 2


@pytest.mark.usefixtures("key_service")
def test_knows_no_version_that_was_never_made() -> None:
    keys.current(Purpose.API, 7, NOW)

    with pytest.raises(KeyUnknown):
        keys.version(Purpose.API, 7, 2, NOW)
    with pytest.raises(KeyUnknown):
        keys.version(Purpose.API, 8, 1, NOW)


@pytest.mark.usefixtures("key_service")
def test_prints_no_secret() -> None:
    key = keys.current(Purpose.API, 7, NOW)

    printed = f"{key} {key!r} {keys._rings}"

    assert "GroupKey(api/7/1)" in printed
    assert repr(key.secret)[2:-1] not in printed


@pytest.mark.usefixtures("key_service")
def test_a_store_stays_in_its_group() -> None:
    # What is sealed carries the group: were it computed otherwise, no credential would open.
    assert keys.group_of("clxstore001") == 1


@pytest.mark.usefixtures("key_service")
def test_stores_are_spread_over_all_groups() -> None:
    groups = Counter(keys.group_of(f"store-{number}") for number in range(4_000))

    assert set(groups) == set(range(4))
    assert max(groups.values()) < 1_200
