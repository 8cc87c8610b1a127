"""The spelling of web addresses: one strict grammar, so that no two parsers can read one differently.

Whether an address may be connected to is decided where it is resolved, in ``shared.egress``.
"""

import re
from typing import NamedTuple

_TEXT = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:[?#].*)?", re.DOTALL
)
_AUTHORITY = re.compile(r"(?P<host>[^:@\[\]]*)(?::(?P<port>[1-9][0-9]{0,4}))?")
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))(?:[a-z0-9._~!$&'()*+,;=:@-]|%(?!2[ef])[0-9a-f]{2})+)*", re.IGNORECASE)
_REQUEST = re.compile(r"https://(?P<authority>[a-z0-9.:-]+)(?:[/?][!-~]*)?")
_LONGEST_TEXT = 2_048
_LONGEST_HOST = 253
_HIGHEST_PORT = 65_535
_DEFAULT_PORT = 443


class Target(NamedTuple):
    """Whom a URL calls."""

    host: str
    port: int


def normal_origin(text: str) -> str:
    """The one spelling of a store's address: ``https://host[:port][/path]``.

    Takes what people paste, with or without scheme; query and fragment are dropped.
    :class:`ValueError` says what is wrong with it, in words for the one who typed it.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None or len(text) > _LONGEST_TEXT:
        raise ValueError("The address must be at most 2048 characters long.")
    scheme = (match["scheme"] or "https").lower()
    if scheme != "https":
        raise ValueError(f"The address must begin with https://, not {scheme[:20]}://.")
    host, port = _read_authority(match["authority"])
    path = match["path"].rstrip("/")
    if not _PATH.fullmatch(path):
        raise ValueError("The path of the address has characters or segments that are not allowed.")
    return f"https://{host}{'' if port == _DEFAULT_PORT else f':{port}'}{path}"


def target_of(url: str) -> Target:
    """Host and port of a URL that is about to be called; it must be spelled canonically already."""
    match = _REQUEST.fullmatch(url)
    if match is None or "\\" in url or "#" in url:
        raise ValueError("Only canonical https addresses are called.")
    target = _read_authority(match["authority"])
    if target.host != match["authority"].partition(":")[0]:
        raise ValueError("Only canonical https addresses are called.")
    return target


def _read_authority(text: str) -> Target:
    if "@" in text:
        raise ValueError("The address must not contain a user name or password.")
    match = _AUTHORITY.fullmatch(text)
    if match is None or int(match["port"] or _DEFAULT_PORT) > _HIGHEST_PORT:
        raise ValueError("The address must be a host name, such as shop.example, with or without a port.")
    return Target(_normal_host(match["host"]), int(match["port"] or _DEFAULT_PORT))


def _normal_host(text: str) -> str:
    host = _to_ascii(text).lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > _LONGEST_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("The address must contain a valid host name, such as shop.example.")
    # inet_aton and browsers read a name that ends in a number as an IPv4 address: 2130706433, 0x7f.1
    if _NUMBER.fullmatch(labels[-1]):
        raise ValueError("The address must be a host name, not an IP address.")
    if len(labels) == 1 and host != "localhost":
        raise ValueError("The address must be a full host name, such as shop.example.")
    return host


def _to_ascii(host: str) -> str:
    if host.isascii() and "xn--" not in host.lower():
        return host
    import idna

    try:
        return idna.encode(host, uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise ValueError("The address must contain a valid host name, such as shop.example.") from None
