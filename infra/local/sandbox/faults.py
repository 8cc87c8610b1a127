"""What goes wrong between a platform and its callers: refusals, stalls, cut connections, hostile bodies.

A fault is ordered over the control API and then met by the API calls that it names: a number of times,
or until it is cleared. Nothing here knows a platform.
"""

import asyncio
import contextlib
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

Genuine = Callable[[Request], Awaitable[Response]]

_MEBIBYTE = 1 << 20
_NO_LINGER = struct.pack("ii", 1, 0)
_FIREWALL_PAGE = "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Checking…</body></html>"
_OTHER_HOST = "https://elsewhere.example.com/"
_PRIVATE_ADDRESS = "http://169.254.169.254/latest/meta-data/"


class Kind(StrEnum):
    """The faults there are."""

    STATUS = "status"
    """``status`` with ``retry_after``, ``body`` and ``content_type`` where given; the platform is not reached."""
    HTML = "html"
    """200 with a firewall's HTML page."""
    BROKEN_JSON = "broken_json"
    """The genuine answer, its body cut in half."""
    WRONG_CONTENT_TYPE = "wrong_content_type"
    """The genuine answer, called text/html."""
    HANG = "hang"
    """No answer until the caller gives up or the sandbox stops."""
    RESET = "reset"
    """The connection is reset; with ``after_effect`` the call took effect and only its answer is lost."""
    DELAY = "delay"
    """The genuine answer, ``seconds`` later."""
    TRICKLE = "trickle"
    """The genuine answer, a byte every ``seconds``."""
    ENDLESS = "endless"
    """A JSON list that never closes (or ``size`` bytes of it)."""
    GZIP_BOMB = "gzip_bomb"
    """``size`` bytes of white space in a small gzip body."""
    REDIRECT = "redirect"
    """``status`` (302) to ``location``: same_host, other_host, private_address or an address."""
    DROP_AUTHORIZATION = "drop_authorization"
    """The host drops the Authorization header on the way in."""


@dataclass
class Fault:
    """One fault and whom it meets."""

    kind: Kind
    times: int | None = None
    """How often; None means until cleared."""
    skip: int = 0
    """So many matching calls pass first."""
    path: str = ""
    """Only calls whose path contains this."""
    method: str = ""
    """Only calls of this method."""
    status: int = 0
    retry_after: str = ""
    body: str = "<h1>Error</h1>"
    content_type: str = "text/html"
    location: str = "same_host"
    seconds: float = 1.0
    size: int = 0
    after_effect: bool = False

    @classmethod
    def parse(cls, order: dict[str, Any]) -> "Fault":
        """A fault as ordered over the control API; ValueError says what is wrong with it."""
        unknown = set(order) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"A fault has no {', '.join(sorted(unknown))}.")
        return cls(**{**order, "kind": Kind(order.get("kind", ""))})

    def meets(self, method: str, path: str) -> bool:
        """Count one call; True when this fault befalls it."""
        if self.times == 0 or self.path not in path or self.method not in ("", method):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Faults:
    """The faults ordered for one shop, in the order given."""

    def __init__(self) -> None:
        self.ordered: list[Fault] = []

    def next(self, method: str, path: str) -> Fault | None:
        """The first fault that this call meets."""
        return next((fault for fault in self.ordered if fault.meets(method, path)), None)


class Reset(Response):
    """Not an answer: the connection is reset."""

    def __init__(self) -> None:
        super().__init__(status_code=0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI gives all three
        """Abort the transport, where there is one."""
        transport = scope.get("state", {}).get("transport")
        if transport is None:
            raise ConnectionResetError("The sandbox resets this connection.")
        if transport.is_closing():
            return
        # With no linger the kernel sends RST instead of FIN.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass


async def _pause(stop: asyncio.Event, seconds: float | None) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def _until_gone(request: Request, stop: asyncio.Event) -> None:
    stopped = asyncio.ensure_future(stop.wait())
    gone = asyncio.ensure_future(_disconnect(request))
    _, pending = await asyncio.wait({stopped, gone}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _bytewise(body: bytes, seconds: float, stop: asyncio.Event) -> AsyncIterator[bytes]:
    for at in range(len(body)):
        if stop.is_set():
            return
        yield body[at : at + 1]
        await _pause(stop, seconds)


async def _never_closing(size: int, stop: asyncio.Event) -> AsyncIterator[bytes]:
    chunk = b'{"id":1},' * 7282
    yield b"["
    sent = 1
    while not stop.is_set() and (not size or sent < size):
        yield chunk
        sent += len(chunk)
        await asyncio.sleep(0)


async def _inflating(size: int, stop: asyncio.Event) -> AsyncIterator[bytes]:
    gzip = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield gzip.compress(b"[")
    for _ in range(max(1, size // _MEBIBYTE)):
        if stop.is_set():
            return
        yield gzip.compress(b" " * _MEBIBYTE)
        await asyncio.sleep(0)
    yield gzip.compress(b"]") + gzip.flush()


def _redirect(fault: Fault, request: Request) -> Response:
    places = {
        "same_host": str(request.url.replace(path=request.url.path.rstrip("/") + "/")),
        "other_host": _OTHER_HOST + request.url.path.lstrip("/"),
        "private_address": _PRIVATE_ADDRESS,
    }
    location = places.get(fault.location, fault.location)
    return Response(status_code=fault.status or 302, headers={"Location": location}, media_type="text/html")


def _without_authorization(request: Request) -> Request:
    headers = [(name, value) for name, value in request.scope["headers"] if name != b"authorization"]
    return Request({**request.scope, "headers": headers}, request.receive)


async def answer(fault: Fault, request: Request, genuine: Genuine, stop: asyncio.Event) -> Response:
    """What the caller gets instead of the genuine answer."""
    if fault.kind in (Kind.BROKEN_JSON, Kind.WRONG_CONTENT_TYPE, Kind.TRICKLE):
        return _spoilt(fault, await genuine(request), stop)
    if fault.kind is Kind.DELAY:
        await _pause(stop, fault.seconds)
        return await genuine(request)
    if fault.kind is Kind.DROP_AUTHORIZATION:
        return await genuine(_without_authorization(request))
    if fault.kind is Kind.HANG:
        await _until_gone(request, stop)
    if fault.kind is Kind.RESET and fault.after_effect:
        await genuine(request)
    return _instead(fault, request, stop)


def _instead(fault: Fault, request: Request, stop: asyncio.Event) -> Response:
    match fault.kind:
        case Kind.STATUS:
            headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            return Response(fault.body, fault.status or 503, headers, media_type=fault.content_type)
        case Kind.HTML:
            return Response(_FIREWALL_PAGE, fault.status or 200, media_type="text/html")
        case Kind.ENDLESS:
            return StreamingResponse(_never_closing(fault.size, stop), media_type="application/json")
        case Kind.GZIP_BOMB:
            headers = {"Content-Encoding": "gzip"}
            stream = _inflating(fault.size or 1024 * _MEBIBYTE, stop)
            return StreamingResponse(stream, headers=headers, media_type="application/json")
        case Kind.REDIRECT:
            return _redirect(fault, request)
    return Reset()


def _spoilt(fault: Fault, response: Response, stop: asyncio.Event) -> Response:
    body = bytes(response.body)
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    if fault.kind is Kind.BROKEN_JSON:
        return Response(body[: max(1, len(body) // 2)], response.status_code, headers)
    if fault.kind is Kind.WRONG_CONTENT_TYPE:
        return Response(body, response.status_code, headers | {"content-type": "text/html; charset=UTF-8"})
    headers["content-length"] = str(len(body))
    return StreamingResponse(_bytewise(body, fault.seconds, stop), response.status_code, headers)
