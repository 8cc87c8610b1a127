"""Comparing webhook signatures: as bytes, in constant time, and never with an exception. And how old one may be.

The expected signature is brought into its one canonical text and compared with what was presented, so
that any other spelling (line breaks, missing padding, stray bits) is refused without being decoded.
"""

from binascii import b2a_base64, hexlify
from collections.abc import Iterable
from datetime import UTC, datetime
from hmac import compare_digest, digest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400
_TOLERANCE = 300
"""Seconds that the time of Standard Webhooks may be off, either way."""


def is_base64_hmac(presented: str, message: bytes, secrets: Iterable[str]) -> bool:
    """Whether ``presented`` is the base64 HMAC-SHA256 of ``message`` under any of ``secrets``."""
    given = presented.encode("utf-8", "surrogatepass")
    genuine = False
    for secret in secrets:
        if secret:
            key = secret.encode("utf-8", "surrogatepass")
            genuine |= compare_digest(b2a_base64(digest(key, message, "sha256"), newline=False), given)
    return genuine


def is_hex_hmac(presented: str, message: bytes, secrets: Iterable[str]) -> bool:
    """Whether ``presented`` is the lower-case hexadecimal HMAC-SHA256 of ``message`` under any of ``secrets``."""
    given = presented.encode("utf-8", "surrogatepass")
    genuine = False
    for secret in secrets:
        if secret:
            key = secret.encode("utf-8", "surrogatepass")
            genuine |= compare_digest(hexlify(digest(key, message, "sha256")), given)
    return genuine


def is_recent(seconds: int, now: datetime) -> bool:
    """Whether a delivery of Standard Webhooks that was signed then may still be taken, in whole seconds."""
    since = now - _EPOCH  # in half the time of now.timestamp()
    return -_TOLERANCE <= seconds - since.days * _DAY - since.seconds <= _TOLERANCE


def listed_in(entries: list[bytes], most: int) -> list[bytes]:
    """Those of several signatures that count; none where it is no list: a header that came twice has commas, gaps."""
    if not all(entries) or any(entry.endswith(b",") for entry in entries):
        return []
    return entries[:most]
