"""Reads AWS Encryption SDK messages, of the one kind that :mod:`shared.credentials` writes.

The library costs the start of a function a third of a boto3 client, which those that only open credentials
have no time for; this costs a few milliseconds. It takes far less than the library does: version 2 of the
format, suite 0x0478, one data key wrapped by a raw AES key, one frame, and exactly the expected encryption
context. The tests hold it to the library.

https://docs.aws.amazon.com/encryption-sdk/latest/developer-guide/message-format.html
https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/data-format/message.md
"""

import hmac
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PROVIDER: Final = "storelink"
"""The key provider that our messages name."""

FRAME_LENGTH: Final = 65_536
"""The frame length that our messages declare. What they hold is shorter, so that it is one frame."""

_VERSION: Final = bytes.fromhex("02")
_SUITE: Final = bytes.fromhex("0478")  # AES-256-GCM, HKDF-SHA512, key commitment, no signature.
_ONE_DATA_KEY: Final = bytes.fromhex("0001")
_FRAMED: Final = bytes.fromhex("02")
_TAG_BITS_AND_IV_LENGTH: Final = bytes.fromhex("00000080 0000000c")
_FINAL_FRAME: Final = bytes.fromhex("ffffffff 00000001")
_IV_LENGTH: Final = 12
_HEADER_IV: Final = bytes(_IV_LENGTH)
_FRAME_IV: Final = (1).to_bytes(_IV_LENGTH)
_TAG_LENGTH: Final = 16


class Unreadable(Exception):
    """The bytes are not such a message, or not one of this key and context."""


class SealedMessage:
    """A message in its parts. Nothing in it is proved genuine until it is opened."""

    def __init__(self, message: bytes) -> None:
        """Take ``message`` apart, or raise :class:`Unreadable` where it is of another kind than ours."""
        rest = _Rest(message)
        rest.expect(_VERSION + _SUITE)
        self._id = rest.take(32)
        self._context = rest.take(rest.number(2))
        rest.expect(_ONE_DATA_KEY + _sized(PROVIDER.encode()))
        key_info = _Rest(rest.take(rest.number(2)))
        key_name = key_info.take(len(key_info) - len(_TAG_BITS_AND_IV_LENGTH) - _IV_LENGTH)
        key_info.expect(_TAG_BITS_AND_IV_LENGTH)
        self._key_iv = key_info.take(_IV_LENGTH)
        self._wrapped_key = rest.take(rest.number(2))
        rest.expect(_FRAMED + FRAME_LENGTH.to_bytes(4))
        self._commitment = rest.take(32)
        self._header = message[: rest.at]
        self._header_tag = rest.take(_TAG_LENGTH)
        rest.expect(_FINAL_FRAME + _FRAME_IV)
        self._frame = rest.take(rest.number(4) + _TAG_LENGTH)
        if len(rest) > 0 or not key_name.isascii():
            raise Unreadable
        self.key_name = key_name.decode("ascii")

    def open(self, wrapping_key: bytes, context: Mapping[str, str]) -> bytes:
        """What is sealed, or :class:`Unreadable` where one bit or one pair of the context differs."""
        if self._context != _serialized(context):
            raise Unreadable
        try:
            data_key = AESGCM(wrapping_key).decrypt(self._key_iv, self._wrapped_key, self._context)
            if not hmac.compare_digest(self._commitment, self._derived(data_key, b"COMMITKEY")):
                raise Unreadable
            cipher = AESGCM(self._derived(data_key, _SUITE + b"DERIVEKEY"))
            cipher.decrypt(_HEADER_IV, self._header_tag, self._header)
            return cipher.decrypt(_FRAME_IV, self._frame, self._frame_context())
        except (InvalidTag, ValueError):
            raise Unreadable from None

    def _derived(self, data_key: bytes, label: bytes) -> bytes:
        return HKDF(SHA512(), length=32, salt=self._id, info=label).derive(data_key)

    def _frame_context(self) -> bytes:
        length = len(self._frame) - _TAG_LENGTH
        return self._id + b"AWSKMSEncryptionClient Final Frame" + _FINAL_FRAME[4:] + length.to_bytes(8)


class _Rest:
    """What of some bytes is not read yet."""

    def __init__(self, whole: bytes) -> None:
        self._whole = whole
        self.at = 0

    def __len__(self) -> int:
        return len(self._whole) - self.at

    def take(self, length: int) -> bytes:
        if not 0 <= length <= len(self):
            raise Unreadable
        taken = self._whole[self.at : self.at + length]
        self.at += length
        return taken

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length))

    def expect(self, expected: bytes) -> None:
        if self.take(len(expected)) != expected:
            raise Unreadable


def _serialized(context: Mapping[str, str]) -> bytes:
    pairs = sorted((name.encode(), value.encode()) for name, value in context.items())
    return len(pairs).to_bytes(2) + b"".join(_sized(name) + _sized(value) for name, value in pairs)


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(2) + part
