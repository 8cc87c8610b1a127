"""Seals and opens a store's secrets, bound to the store, its platform and what they are for.

What is sealed is an AWS Encryption SDK message: each has a data key of its own, which the key of the store's
group wraps (:mod:`shared.keys`). The library writes; :mod:`shared.sealed_message` reads.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from shared import keys, sealed_message
from shared.keys import GroupKey, Purpose
from shared.sealed_message import SealedMessage

_SCHEMA: Final = "1"


class CredentialsUnreadable(Exception):
    """What is stored does not open for this store. It does not say why: only who tampered would be helped."""


class Secrets(dict[str, str]):
    """Secrets by name. Printing shows the names only."""

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(self))})"


def seal(purpose: Purpose, store_id: str, platform: str, secrets: Mapping[str, str], now: datetime) -> bytes:
    """Seal ``secrets`` so that they open for this purpose, store and platform only."""
    plaintext = json.dumps(dict(secrets)).encode()
    if len(plaintext) >= sealed_message.FRAME_LENGTH:
        raise ValueError("The secrets are too long.")
    key = keys.current(purpose, keys.group_of(store_id), now)
    sealed = _encrypt(plaintext, key, _context(purpose, store_id, platform))
    # What does not open again must not replace what does.
    if unseal(purpose, store_id, platform, sealed, now) != dict(secrets):
        raise CredentialsUnreadable
    return sealed


def make_ready(purpose: Purpose, store_id: str, now: datetime) -> None:
    """Raises what :func:`seal` would raise without its key: before something is fetched that must be sealed."""
    keys.current(purpose, keys.group_of(store_id), now)


def unseal(purpose: Purpose, store_id: str, platform: str, sealed: bytes, now: datetime) -> Secrets:
    """The secrets that were sealed, or :class:`CredentialsUnreadable`.

    Do not keep what it gives across requests: a key that was disabled would not bite in time.
    """
    try:
        message = SealedMessage(sealed)
        version = _version(message, purpose, store_id)
        key = keys.version(purpose, keys.group_of(store_id), version, now)
        return Secrets(json.loads(message.open(key.secret, _context(purpose, store_id, platform))))
    except (sealed_message.Unreadable, keys.KeyUnknown, ValueError):
        raise CredentialsUnreadable from None


def is_current(purpose: Purpose, store_id: str, sealed: bytes, now: datetime) -> bool:
    """Whether the group's current key sealed this; if not, it is time to :func:`reseal`."""
    try:
        version = _version(SealedMessage(sealed), purpose, store_id)
    except sealed_message.Unreadable:
        raise CredentialsUnreadable from None
    return version == keys.current_version(purpose, keys.group_of(store_id), now)


def reseal(purpose: Purpose, store_id: str, platform: str, sealed: bytes, now: datetime) -> bytes:
    """The same secrets, sealed with the group's current key."""
    return seal(purpose, store_id, platform, unseal(purpose, store_id, platform, sealed, now), now)


def _context(purpose: Purpose, store_id: str, platform: str) -> dict[str, str]:
    return {"purpose": purpose.value, "store_id": store_id, "platform": str(platform), "schema": _SCHEMA}


def _version(message: SealedMessage, purpose: Purpose, store_id: str) -> int:
    """The version of the sealing key, which must be of this purpose and of the store's group."""
    name = re.fullmatch(rf"{purpose}/{keys.group_of(store_id)}/([1-9][0-9]{{0,8}})", message.key_name)
    if name is None:
        raise sealed_message.Unreadable
    return int(name[1])


def _encrypt(plaintext: bytes, key: GroupKey, context: Mapping[str, str]) -> bytes:
    # Imported here as it costs a third of a boto3 client, and most functions only open what others sealed.
    from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
    from aws_encryption_sdk.identifiers import (
        AlgorithmSuite,
        EncryptionKeyType,
        WrappingAlgorithm,
    )
    from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
    from aws_encryption_sdk.key_providers.raw import RawMasterKey

    library = EncryptionSDKClient(
        commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT, max_encrypted_data_keys=1
    )
    sealed, _header = library.encrypt(
        source=plaintext,
        key_provider=RawMasterKey(
            provider_id=sealed_message.PROVIDER,
            key_id=f"{key.purpose}/{key.group}/{key.version}",
            wrapping_key=WrappingKey(
                wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
                wrapping_key=key.secret,
                wrapping_key_type=EncryptionKeyType.SYMMETRIC,
            ),
        ),
        encryption_context=context,
        algorithm=AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
        frame_length=sealed_message.FRAME_LENGTH,
    )
    return bytes(sealed)
