"""The guarded HTTP client: every call to a platform goes through it.

It calls public https addresses only. A name is resolved once, every address it has must be globally
routable, and the connection goes to one of those very addresses, so a second look-up cannot differ.
A call has one deadline for everything from DNS to the last byte, and a cap on the inflated answer.
Redirects are not followed; proxies, ``.netrc``, cookies and the environment play no part.

httpx's transport is used without its ``Client``: what a Client adds is what must not happen here.
"""

import copy
import math
import socket
import ssl
import threading
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any, Self
from urllib.parse import urlsplit

import certifi
import httpcore
import httpx

from shared import addresses, settings
from shared.platforms.base import Answer, PlatformError, Refusal

TOTAL_SECONDS = 30.0
CONNECT_SECONDS = 5.0
CALLER_WAITS = 25.0
"""Seconds for all calls that a caller of our API waits for: API Gateway gives up after 30."""
LONGEST_ANSWER = 8 * 1024 * 1024
_KEEPALIVE_SECONDS = 15.0
_HEADERS = {"User-Agent": "storelink", "Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
_ENCODINGS = {"identity", "gzip", "deflate"}
_FIRST_REDIRECT, _LAST_REDIRECT = 300, 399

# https://www.iana.org/assignments/iana-ipv4-special-registry, own list: the standard library's
# ``is_global`` differs between its versions.
_NOT_PUBLIC = [
    ip_network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        # Inside 2000::/3: IETF protocols with Teredo, documentation, 6to4.
        "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    )
]  # fmt: skip
_PUBLIC_IPV6 = ip_network("2000::/3")
"""Everything else of IPv6 is refused: unique local, link-local, multicast, IPv4-mapped, NAT64, unassigned."""

Resolve = Callable[[str, int], Sequence[str]]


def is_public(address: str) -> bool:
    """Whether an IP address is globally routable and holds no IPv4 address inside."""
    parsed = ip_address(address)
    if parsed.version == _PUBLIC_IPV6.version and parsed not in _PUBLIC_IPV6:
        return False
    return not any(parsed.version == net.version and parsed in net for net in _NOT_PUBLIC)


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, from the system's resolver."""
    # The final dot keeps resolv.conf's search domains out of it.
    found = socket.getaddrinfo(f"{host}.", port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Egress:
    """Fits :class:`shared.platforms.base.Http`. One per execution environment; threads share it.

    A GET that was reset before an answer began is sent once more (a kept connection may have died
    unseen), unless it spends something; nothing else is repeated.
    """

    def __init__(
        self,
        *,
        local_ca: str = "",
        local_platforms: str = "",
        total_seconds: float = TOTAL_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
        resolve: Resolve = resolve,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total_seconds
        self._connect = connect_seconds
        self._monotonic = monotonic
        self._ends = math.inf
        self._guard = _Guard(resolve, monotonic, loopback=bool(local_ca), played=local_platforms)
        self._transport = _Transport(_trust(local_ca), self._guard)

    def within(self, seconds: float) -> Self:
        """The same client, its calls ending ``seconds`` from now at the latest, all of them together."""
        other = copy.copy(self)
        other._ends = min(self._monotonic() + seconds, self._ends)  # noqa: SLF001 - it is our own
        return other

    def close(self) -> None:
        """Closes the connections that are kept."""
        self._transport.close()
        self._guard.close()

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | None = None,
        basic: tuple[str, str] | None = None,
        repeatable: bool = True,
    ) -> Answer:
        """One request; see :class:`shared.platforms.base.Http`. A redirect is an ADDRESS error."""
        target = _target(url)
        total = min(self._total, self._ends - self._monotonic())
        timeouts = {"connect": self._connect, "read": self._total, "write": self._total, "pool": max(total, 0)}
        prepared = httpx.Request(
            method,
            httpx.URL(url).copy_merge_params(params) if params else url,
            headers={**_HEADERS, **(headers or {}), **(_authorization(*basic) if basic else {})},
            json=json,
            content=content,
            extensions={"timeout": timeouts},
        )
        if prepared.url.host != target.host:
            raise PlatformError(Refusal.ADDRESS, f"{target.host}: the address can be read in two ways.")
        with self._guard.deadline(total), _as_refusals(target.host):
            answer = self._send(prepared, target.host, repeatable=repeatable and method == "GET")
        _refuse_redirect(answer, target.host)
        return answer

    def _send(self, request: httpx.Request, host: str, *, repeatable: bool) -> Answer:
        response = self._open(request, repeatable=repeatable)
        try:
            body = _inflate(response, host)
        finally:
            response.close()
        return Answer(response.status_code, dict(response.headers.items()), body)

    def _open(self, request: httpx.Request, *, repeatable: bool) -> httpx.Response:
        try:
            return self._transport.handle_request(request)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            if not repeatable:
                raise
        return self._transport.handle_request(request)


@cache
def client() -> Egress:
    """The client of this execution environment."""
    ours = settings.current()
    return Egress(local_ca=ours.local_ca, local_platforms=ours.local_platforms)


class _Transport(httpx.HTTPTransport):
    """httpx's transport over a pool that connects through the guard."""

    def __init__(self, context: ssl.SSLContext, guard: "_Guard") -> None:
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            network_backend=guard,
        )


class _Guard(httpcore.NetworkBackend):
    """Connects to checked addresses only, and holds each thread's call to its deadline."""

    def __init__(self, resolve: Resolve, monotonic: Callable[[], float], *, loopback: bool, played: str = "") -> None:
        self._resolve = resolve
        self._monotonic = monotonic
        self._loopback = loopback
        port, _, hosts = played.partition(":")
        self._played_port = int(port) if loopback and hosts else 0
        self._played_hosts = hosts.split(",")
        self._sockets = httpcore.SyncBackend()
        # getaddrinfo knows no timeout: it runs aside, and whoever waits leaves in time.
        self._lookups = ThreadPoolExecutor(max_workers=16, thread_name_prefix="lookup")
        self._call = threading.local()

    def close(self) -> None:
        self._lookups.shutdown(wait=False)

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Everything that this thread does within ends after ``seconds``."""
        self._call.until = self._monotonic() + seconds
        try:
            yield
        finally:
            del self._call.until

    def left(self, timeout: float | None) -> float:
        """Seconds that the next step may take."""
        left: float = self._call.until - self._monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("deadline")
        return left if timeout is None else min(left, timeout)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        if self._is_played(host):
            host, port = "localhost", self._played_port
        end = self._monotonic() + self.left(timeout)
        found = self._checked(host, port, self.left(timeout))
        for position, address in enumerate(found):
            # An address that swallows packets leaves time for the others.
            share = max(end - self._monotonic(), 0.001) / (len(found) - position)
            try:
                stream = self._sockets.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if position == len(found) - 1:
                    raise
            else:
                return _Stream(stream, self)
        raise httpcore.ConnectError("no address")

    def _is_played(self, host: str) -> bool:
        """Whether the local stack plays the platform of this host. The TLS name stays the platform's own."""
        names = self._played_hosts if self._played_port else ()
        return any(host == name or (name.startswith(".") and host.endswith(name)) for name in names)

    def _checked(self, host: str, port: int, timeout: float) -> Sequence[str]:
        if self._loopback and (host == "localhost" or host.endswith(".localhost")):
            return ["127.0.0.1"]
        try:
            found = self._lookups.submit(self._resolve, host, port).result(timeout)
        except TimeoutError:
            raise PlatformError(Refusal.UNREACHABLE, f"{host}: the name server did not answer.") from None
        except (OSError, UnicodeError):
            raise PlatformError(Refusal.UNREACHABLE, f"{host}: there is no such host.") from None
        if not all(self._allowed(address) for address in found):
            raise PlatformError(Refusal.ADDRESS, f"{host} is not at a public address.")
        return found

    def _allowed(self, address: str) -> bool:
        return is_public(address) or (self._loopback and ip_address(address).is_loopback)


class _Stream(httpcore.NetworkStream):
    """A connection whose every step ends with the call's deadline."""

    def __init__(self, stream: httpcore.NetworkStream, guard: _Guard) -> None:
        self._stream = stream
        self._guard = guard

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._guard.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._guard.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._guard.left(timeout))
        return _Stream(secured, self._guard)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _trust(local_ca: str) -> ssl.SSLContext:
    # Not create_default_context: that one writes session keys where SSLKEYLOGFILE says.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certifi.where())
    if local_ca:
        context.load_verify_locations(local_ca)
    return context


def _authorization(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}


def _target(url: str) -> addresses.Target:
    try:
        return addresses.target_of(url)
    except ValueError as error:
        raise PlatformError(Refusal.ADDRESS, str(error)) from None


def _inflate(response: httpx.Response, host: str) -> bytes:
    """The body, inflated, and never more of it in memory than may be."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in _ENCODINGS:
        raise PlatformError(Refusal.NOT_THE_PLATFORM, f"{host} answered in an encoding we did not ask for.")
    inflater = None
    parts: list[bytes] = []
    received = size = 0
    for raw in response.iter_raw():
        if encoding != "identity" and inflater is None:
            inflater = zlib.decompressobj(_window_bits(encoding, raw))
        part = inflater.decompress(raw, LONGEST_ANSWER + 1 - size) if inflater else raw
        received += len(raw)
        size += len(part)
        if max(size, received) > LONGEST_ANSWER:
            raise PlatformError(Refusal.NOT_THE_PLATFORM, f"{host} answered with more than 8 MiB.")
        parts.append(part)
    if inflater and not inflater.eof:
        raise PlatformError(Refusal.TRANSIENT, f"{host} cut its answer short.")
    return b"".join(parts)


def _window_bits(encoding: str, start: bytes) -> int:
    if encoding == "gzip":
        return 16 + zlib.MAX_WBITS
    # "deflate" means zlib's format, but some servers send the bare stream.
    has_zlib_header = start[0] & 0x0F == zlib.DEFLATED
    return zlib.MAX_WBITS if has_zlib_header else -zlib.MAX_WBITS


def _refuse_redirect(answer: Answer, host: str) -> None:
    if not _FIRST_REDIRECT <= answer.status <= _LAST_REDIRECT:
        return
    try:
        there = urlsplit(answer.headers.get("location", "")[:2048])
        elsewhere = addresses.normal_origin(f"{there.netloc or host}{there.path}").removeprefix("https://")
    except ValueError:
        elsewhere = "another address"
    scheme = "unencrypted http at " if there.scheme == "http" else ""
    raise PlatformError(
        Refusal.ADDRESS,
        f"{host} redirects to {scheme}{elsewhere}: use the address that answers itself.",
        status=answer.status,
    )


@contextmanager
def _as_refusals(host: str) -> Iterator[None]:
    """Turns what httpx and zlib raise into our errors, without the URL's query or any header."""
    try:
        yield
    except (httpx.TimeoutException, httpcore.TimeoutException):
        raise PlatformError(Refusal.UNREACHABLE, f"{host} did not answer in time.") from None
    except httpx.ConnectError as error:
        raise PlatformError(Refusal.UNREACHABLE, _why_not_connected(host, error)) from None
    except httpx.TransportError:
        raise PlatformError(Refusal.TRANSIENT, f"{host} broke the connection off.") from None
    except zlib.error:
        raise PlatformError(Refusal.NOT_THE_PLATFORM, f"{host} answered with broken compression.") from None


def _why_not_connected(host: str, error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"{host}: its certificate is not valid ({cause.verify_message})."
        if isinstance(cause, ssl.SSLError):
            return f"{host} does not speak TLS as it should."
        cause = cause.__cause__ or cause.__context__
    return f"{host} refuses connections."
