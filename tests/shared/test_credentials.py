"""Sealing and opening a store's secrets."""

import logging
from datetime import UTC, datetime, timedelta

import pytest
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import AlgorithmSuite, EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKey

from shared import credentials, keys
from shared.credentials import CredentialsUnreadable, Secrets
from shared.keys import HELD, GroupKey, KeyUnavailable, Purpose
from tests.shared.conftest import KeyService

NOW = datetime(2026, 1, 20, 10, tzinfo=UTC)
STORE = "clxstore001"
PLATFORM = "WOO_COMMERCE"
PLAIN = {"api_key": "canary-key-äöü", "api_secret": "canary-secret-\u2028"}


def sealed() -> bytes:
    return credentials.seal(Purpose.API, STORE, PLATFORM, PLAIN, NOW)


def opened(blob: bytes, now: datetime = NOW) -> Secrets:
    return credentials.unseal(Purpose.API, STORE, PLATFORM, blob, now)


def group_key() -> GroupKey:
    return keys.current(Purpose.API, keys.group_of(STORE), NOW)


@pytest.mark.usefixtures("key_service")
def test_opens_what_was_sealed() -> None:
    assert opened(sealed()) == PLAIN


@pytest.mark.usefixtures("key_service")
def test_seals_nothing_too() -> None:
    blob = credentials.seal(Purpose.WEBHOOK, STORE, PLATFORM, {}, NOW)

    assert credentials.unseal(Purpose.WEBHOOK, STORE, PLATFORM, blob, NOW) == {}


@pytest.mark.usefixtures("key_service")
def test_the_library_reads_what_was_sealed_under_its_strictest_policy() -> None:
    key = group_key()
    wrapping_key = WrappingKey(
        wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
        wrapping_key=key.secret,
        wrapping_key_type=EncryptionKeyType.SYMMETRIC,
    )
    library = EncryptionSDKClient(
        commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT, max_encrypted_data_keys=1
    )

    _, header = library.decrypt(
        source=sealed(),
        key_provider=RawMasterKey(provider_id="storelink", key_id=f"api/{key.group}/1", wrapping_key=wrapping_key),
    )

    assert header.algorithm is AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
    assert header.encryption_context == {
        "purpose": "api",
        "store_id": STORE,
        "platform": PLATFORM,
        "schema": "1",
    }


@pytest.mark.parametrize(
    ("purpose", "store_id", "platform"),
    [
        (Purpose.WEBHOOK, STORE, PLATFORM),
        (Purpose.API, "clxstore002", PLATFORM),
        (Purpose.API, STORE, "SHOPIFY"),
        (Purpose.API, "", ""),
        (Purpose.API, "\udc80", PLATFORM),
    ],
)
@pytest.mark.usefixtures("key_service")
def test_refuses_what_was_sealed_for_something_else(purpose: Purpose, store_id: str, platform: str) -> None:
    blob = sealed()
    keys.current(purpose, 0, NOW)

    with pytest.raises(CredentialsUnreadable):
        credentials.unseal(purpose, store_id, platform, blob, NOW)


@pytest.mark.usefixtures("key_service")
def test_refuses_another_stores_blob_even_within_its_group() -> None:
    group = keys.group_of(STORE)
    neighbour = next(name for name in map(str, range(10_000)) if keys.group_of(name) == group)
    blob = credentials.seal(Purpose.API, neighbour, PLATFORM, PLAIN, NOW)

    with pytest.raises(CredentialsUnreadable):
        opened(blob)


@pytest.mark.usefixtures("key_service")
def test_refuses_every_changed_byte_and_every_truncation() -> None:
    blob = sealed()

    for position in range(len(blob)):
        changed = bytearray(blob)
        changed[position] ^= 0x01
        for bad in (bytes(changed), blob[:position]):
            with pytest.raises(CredentialsUnreadable):
                opened(bad)


@pytest.mark.parametrize(
    "name",
    [
        "webhook/{group}/1",
        "api/{other}/1",
        "api/{group}/2",
        "api/{group}/01",
        "api/{group}/0",
        "api/{group}/",
        "api/{group}/1/1",
        "api/{group}/" + "9" * 5_000,
        "arn:aws:kms:us-east-1:111111111111:key/1",
        "",
    ],
)
@pytest.mark.usefixtures("key_service")
def test_refuses_a_key_of_another_name_though_the_key_fits(name: str) -> None:
    key = group_key()
    other = (key.group + 1) % 4
    keys.current(Purpose.API, other, NOW)
    foreign = _sealed_by_library(key.secret, name.format(group=key.group, other=other))

    with pytest.raises(CredentialsUnreadable):
        opened(foreign)


@pytest.mark.usefixtures("key_service")
def test_refuses_a_suite_that_does_not_commit_to_its_key() -> None:
    key = group_key()
    weaker = _sealed_by_library(
        key.secret,
        f"api/{key.group}/1",
        algorithm=AlgorithmSuite.AES_256_GCM_IV12_TAG16_HKDF_SHA256,
        policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT,
    )

    with pytest.raises(CredentialsUnreadable):
        opened(weaker)


@pytest.mark.usefixtures("key_service")
def test_refuses_what_is_no_json() -> None:
    key = group_key()

    with pytest.raises(CredentialsUnreadable):
        opened(_sealed_by_library(key.secret, f"api/{key.group}/1", plain=b"\xff"))


@pytest.mark.usefixtures("key_service")
def test_seals_nothing_that_would_not_open_again() -> None:
    with pytest.raises(ValueError, match="too long"):
        credentials.seal(Purpose.API, STORE, PLATFORM, {"token": "x" * 65_536}, NOW)


@pytest.mark.usefixtures("key_service")
def test_opens_with_an_old_key_and_reseals_with_the_current_one() -> None:
    old = sealed()
    assert credentials.is_current(Purpose.API, STORE, old, NOW)

    keys.rotate(Purpose.API, keys.group_of(STORE), NOW)

    assert not credentials.is_current(Purpose.API, STORE, old, NOW)
    assert opened(old) == PLAIN
    new = credentials.reseal(Purpose.API, STORE, PLATFORM, old, NOW)
    assert credentials.is_current(Purpose.API, STORE, new, NOW)
    assert opened(new) == PLAIN


@pytest.mark.usefixtures("key_service")
def test_does_not_say_of_garbage_whether_it_is_current() -> None:
    with pytest.raises(CredentialsUnreadable):
        credentials.is_current(Purpose.API, STORE, b"garbage", NOW)


def test_asks_kms_nothing_when_warm(key_service: KeyService) -> None:
    blob = sealed()
    key_service.asked.clear()

    for second in range(0, 300, 10):
        opened(blob, NOW + timedelta(seconds=second))
    credentials.is_current(Purpose.API, STORE, blob, NOW)
    sealed()

    assert key_service.asked == []


@pytest.mark.parametrize("refusal", ["DisabledException", "ThrottlingException"])
def test_a_refusal_of_kms_passes_through_once_the_held_key_runs_out(key_service: KeyService, refusal: str) -> None:
    blob = sealed()
    key_service.failing_with = refusal

    assert opened(blob, NOW + HELD - timedelta(microseconds=1)) == PLAIN
    with pytest.raises(KeyUnavailable):
        opened(blob, NOW + HELD)


@pytest.mark.usefixtures("key_service")
def test_shows_no_secret_in_print_log_or_exception(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    blob = sealed()
    secrets = opened(blob)
    with pytest.raises(CredentialsUnreadable) as refusal:
        credentials.unseal(Purpose.API, "clxstore002", PLATFORM, blob, NOW)

    shown = f"{secrets} {secrets!r} {refusal.value!r} {refusal.getrepr()} {caplog.text}"

    assert str(secrets) == "Secrets(api_key, api_secret)"
    assert "canary" not in shown
    assert b"canary" not in blob
    assert refusal.value.args == ()
    assert refusal.value.__suppress_context__


def _sealed_by_library(
    secret: bytes,
    name: str,
    plain: bytes = b"{}",
    algorithm: AlgorithmSuite = AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
    policy: CommitmentPolicy = CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT,
) -> bytes:
    wrapping_key = WrappingKey(
        wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
        wrapping_key=secret,
        wrapping_key_type=EncryptionKeyType.SYMMETRIC,
    )
    message, _ = EncryptionSDKClient(commitment_policy=policy).encrypt(
        source=plain,
        key_provider=RawMasterKey(provider_id="storelink", key_id=name, wrapping_key=wrapping_key),
        encryption_context={"purpose": "api", "store_id": STORE, "platform": PLATFORM, "schema": "1"},
        algorithm=algorithm,
        frame_length=65_536,
    )
    return bytes(message)
