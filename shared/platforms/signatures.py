"""Comparing webhook signatures: as bytes, in constant time, and never with an exception.

The expected signature is brought into its one canonical text and compared with what was presented, so
that any other spelling (line breaks, missing padding, stray bits) is refused without being decoded.
"""

import hmac
from binascii import b2a_base64, hexlify
from collections.abc import Iterable


def is_base64_hmac(presented: str, message: bytes, secrets: Iterable[str], algorithm: str = "sha256") -> bool:
    """Whether ``presented`` is the base64 HMAC of ``message`` under any of ``secrets``."""
    given = presented.encode("utf-8", "surrogatepass")
    genuine = False
    for secret in secrets:
        if secret:
            key = secret.encode("utf-8", "surrogatepass")
            expected = b2a_base64(hmac.digest(key, message, algorithm), newline=False)
            genuine |= hmac.compare_digest(expected, given)
    return genuine


def is_hex_hmac(presented: str, message: bytes, secrets: Iterable[str], algorithm: str = "sha256") -> bool:
    """Whether ``presented`` is the lower-case hexadecimal HMAC of ``message`` under any of ``secrets``."""
    given = presented.encode("utf-8", "surrogatepass")
    genuine = False
    for secret in secrets:
        if secret:
            key = secret.encode("utf-8", "surrogatepass")
            expected = hexlify(hmac.digest(key, message, algorithm))
            genuine |= hmac.compare_digest(expected, given)
    return genuine
