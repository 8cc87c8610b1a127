"""Loaded by every Python of a peer: names lead to our own server on the loopback address, or nowhere.

``STORELINK_PEERS`` is ``PORT:.domain,…``: these are played there. Whatever else a peer wants to reach does not exist.
"""

import contextlib
import os
import socket
from typing import Any

_LOOPBACK = "127.0.0.1"
_port, _, _names = os.environ.get("STORELINK_PEERS", ":").partition(":")
_played = tuple(filter(None, _names.split(",")))
_genuine = socket.getaddrinfo


def _found(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else host
    if name and name.endswith(_played):
        return _genuine(_LOOPBACK, int(_port), *rest, **more)
    if name in {None, "", "localhost", _LOOPBACK}:
        return _genuine(_LOOPBACK, port, *rest, **more)
    raise socket.gaierror(socket.EAI_NONAME, f"{name}: nothing but this machine is to be reached")


socket.getaddrinfo = _found

# Sessions that prepare their own requests, as Airbyte's do, look at no environment variable.
with contextlib.suppress(ImportError, KeyError):
    import certifi

    _authority = os.environ["REQUESTS_CA_BUNDLE"]
    certifi.where = lambda: _authority
