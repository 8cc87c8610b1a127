"""The reader of sealed messages is held to the AWS Encryption SDK: it opens what that writes, and no more."""

from collections.abc import Mapping
from typing import Any

import pytest
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.exceptions import AWSEncryptionSDKClientError
from aws_encryption_sdk.identifiers import AlgorithmSuite, EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKey, RawMasterKeyProvider
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.sealed_message import FRAME_LENGTH, PROVIDER, SealedMessage, Unreadable

KEY = bytes(range(32))
KEY_NAME = "api/7/1"
CONTEXT = {"purpose": "api", "store_id": "clxstore001", "platform": "WOO_COMMERCE", "schema": "1"}
PLAIN = b'{"api_key": "canary-api-key", "api_secret": "canary-api-secret"}'

texts = st.text(st.characters(codec="utf-8"), max_size=40)
names = texts.filter(lambda name: bool(name) and not name.startswith("aws-crypto-"))


def master_key(key: bytes = KEY, name: str = KEY_NAME, provider: str = PROVIDER) -> RawMasterKey:
    wrapping_key = WrappingKey(
        wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
        wrapping_key=key,
        wrapping_key_type=EncryptionKeyType.SYMMETRIC,
    )
    return RawMasterKey(provider_id=provider, key_id=name, wrapping_key=wrapping_key)


def write(
    plain: bytes = PLAIN,
    context: Mapping[str, str] = CONTEXT,
    key: RawMasterKey | RawMasterKeyProvider | None = None,
    algorithm: AlgorithmSuite = AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
    policy: CommitmentPolicy = CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT,
    **options: Any,
) -> bytes:
    """A message as the library writes it, by default of the kind that we write."""
    message, _ = EncryptionSDKClient(commitment_policy=policy).encrypt(
        source=plain,
        key_provider=key or master_key(),
        encryption_context=dict(context),
        algorithm=algorithm,
        **{"frame_length": FRAME_LENGTH, **options},
    )
    return bytes(message)


def read(message: bytes, context: Mapping[str, str] = CONTEXT, key: bytes = KEY) -> bytes:
    return SealedMessage(message).open(key, context)


class TwoKeys(RawMasterKeyProvider):
    """Wraps the data key of each message twice."""

    provider_id = PROVIDER

    def _get_raw_key(self, key_id: bytes) -> WrappingKey:
        return master_key(name=key_id.decode()).config.wrapping_key


MESSAGE = write()


@given(
    plain=st.binary(max_size=4_096),
    context=st.dictionaries(names, texts, min_size=1, max_size=6),
    name=st.text(st.characters(codec="ascii"), min_size=1, max_size=40),
    key=st.binary(min_size=32, max_size=32),
)
@example(plain=b"", context=CONTEXT, name=KEY_NAME, key=KEY)
@example(plain=bytes(FRAME_LENGTH - 1), context=CONTEXT, name=KEY_NAME, key=KEY)
def test_opens_every_message_that_the_library_writes(
    plain: bytes, context: dict[str, str], name: str, key: bytes
) -> None:
    message = write(plain, context, master_key(key, name))

    assert SealedMessage(message).key_name == name
    assert read(message, context, key) == plain


def test_refuses_every_message_with_one_bit_flipped() -> None:
    for position in range(len(MESSAGE)):
        for bit in range(8):
            flipped = bytearray(MESSAGE)
            flipped[position] ^= 1 << bit
            with pytest.raises(Unreadable):
                read(bytes(flipped))


def test_refuses_every_truncation() -> None:
    for length in range(len(MESSAGE)):
        with pytest.raises(Unreadable):
            read(MESSAGE[:length])


@given(more=st.binary(min_size=1, max_size=64))
def test_refuses_anything_after_the_message(more: bytes) -> None:
    with pytest.raises(Unreadable):
        read(MESSAGE + more)


@given(garbage=st.binary(max_size=2_048))
@example(garbage=b"")
@example(garbage=MESSAGE[:3] + bytes(2_000))
@example(garbage=MESSAGE[:3] + b"\xff" * 2_000)
def test_refuses_garbage_with_no_other_exception(garbage: bytes) -> None:
    with pytest.raises(Unreadable):
        read(garbage)


@settings(max_examples=300)
@given(data=st.data())
def test_opens_nothing_that_the_library_refuses(data: st.DataObject) -> None:
    changed = bytearray(MESSAGE)
    start = data.draw(st.integers(0, len(changed)))
    changed[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    try:
        plain = read(bytes(changed))
    except Unreadable:
        return

    theirs, _ = EncryptionSDKClient(max_encrypted_data_keys=1).decrypt(source=bytes(changed), key_provider=master_key())
    assert plain == theirs


@pytest.mark.parametrize(
    "other",
    [
        {},
        {**CONTEXT, "store_id": "clxstore002"},
        {**CONTEXT, "more": "1"},
        {name: value for name, value in CONTEXT.items() if name != "schema"},
    ],
    ids=["none", "another value", "one pair less than expected", "one pair more than expected"],
)
def test_refuses_another_encryption_context(other: dict[str, str]) -> None:
    with pytest.raises(Unreadable):
        read(write(context=other))
    with pytest.raises(Unreadable):
        read(MESSAGE, other)


def test_refuses_another_wrapping_key() -> None:
    with pytest.raises(Unreadable):
        read(MESSAGE, key=bytes(32))
    with pytest.raises(Unreadable):
        read(MESSAGE, key=b"short")


@pytest.mark.parametrize(
    ("algorithm", "policy"),
    [
        (AlgorithmSuite.AES_256_GCM_IV12_TAG16_HKDF_SHA256, CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT),
        (AlgorithmSuite.AES_256_GCM_IV12_TAG16, CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT),
        (
            AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384,
            CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT,
        ),
    ],
)
def test_refuses_every_other_suite(algorithm: AlgorithmSuite, policy: CommitmentPolicy) -> None:
    with pytest.raises(Unreadable):
        read(write(algorithm=algorithm, policy=policy))


def test_refuses_a_message_with_two_data_keys() -> None:
    both = TwoKeys()
    both.add_master_key(KEY_NAME)
    both.add_master_key("api/7/2")
    message = write(key=both)

    with pytest.raises(Unreadable):
        read(message)
    with pytest.raises(AWSEncryptionSDKClientError, match="encrypted data keys"):
        EncryptionSDKClient(max_encrypted_data_keys=1).decrypt(source=message, key_provider=both)


def test_refuses_another_key_provider() -> None:
    with pytest.raises(Unreadable):
        read(write(key=master_key(provider="storelonk")))


@pytest.mark.parametrize("frame_length", [0, 128, 4_096])
def test_refuses_other_frames(frame_length: int) -> None:
    with pytest.raises(Unreadable):
        read(write(frame_length=frame_length))


def test_refuses_a_message_of_two_frames() -> None:
    with pytest.raises(Unreadable):
        read(write(bytes(FRAME_LENGTH + 1)))


def test_refuses_a_message_that_does_not_commit_to_its_key() -> None:
    # The commitment is checked for itself: here the header is authentic, and the commitment is another key's.
    forged = _with_commitment_of_another_key()

    with pytest.raises(Unreadable):
        read(forged)
    with pytest.raises(AWSEncryptionSDKClientError, match="commitment"):
        EncryptionSDKClient().decrypt(source=forged, key_provider=master_key())


def test_prints_nothing_of_the_message() -> None:
    assert repr(SealedMessage(MESSAGE)).startswith("<shared.sealed_message.SealedMessage object at ")


def _with_commitment_of_another_key() -> bytes:
    wrapped = len(MESSAGE) - len(PLAIN) - 16 - 24 - 16 - 32 - 5 - 48
    key_iv, context = MESSAGE[wrapped - 2 - 12 : wrapped - 2], MESSAGE[37 : 37 + int.from_bytes(MESSAGE[35:37])]
    data_key = AESGCM(KEY).decrypt(key_iv, MESSAGE[wrapped : wrapped + 48], context)
    header_key = HKDF(SHA512(), 32, salt=MESSAGE[3:35], info=b"\x04\x78DERIVEKEY").derive(data_key)
    header = MESSAGE[: wrapped + 48 + 5] + bytes(32)
    tag = AESGCM(header_key).encrypt(bytes(12), b"", header)
    return header + tag + MESSAGE[len(header) + len(tag) :]
