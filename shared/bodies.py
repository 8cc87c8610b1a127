"""Bodies of deliveries as they are kept: zlib, with what the platform's bodies have in common as its dictionary.

An item of up to 1 KB costs one write unit, and the names in a record of JSON take more room than what they name.
"""

import zlib
from collections.abc import Sequence


def pack(body: bytes, phrases: Sequence[bytes]) -> bytes:
    """The body, compressed with the first of the phrases, if there are any."""
    if not phrases:
        return zlib.compress(body)
    squeeze = zlib.compressobj(zdict=phrases[0])
    return squeeze.compress(body) + squeeze.flush()


def unpack(packed: bytes, phrases: Sequence[bytes]) -> bytes:
    """The body as it came. What was packed with phrases names them by their checksum (RFC 1950)."""
    named = packed[2:6] if packed[1] & 0x20 else b""
    for each in phrases:
        if named == zlib.adler32(each).to_bytes(4, "big"):
            opened = zlib.decompressobj(zdict=each)
            body = opened.decompress(packed)
            if not opened.eof:
                raise zlib.error("The packed body is cut off.")
            return body
    return zlib.decompress(packed)
