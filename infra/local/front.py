"""The API at a clean address: passes each request on to where the engine keeps the HTTP API."""

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]

# They are about one connection, not about the message (RFC 9110, 7.6.1), or made anew.
HOP_BY_HOP = {b"connection", b"content-length", b"keep-alive", b"te", b"transfer-encoding", b"upgrade"}


def app(engine: str, api_id: str, transport: httpx.AsyncBaseTransport | None = None) -> Starlette:
    """Everything that is asked here is asked of the HTTP API ``api_id`` at ``engine``."""
    # By path, not by the host name ID.execute-api.localhost: under that, ministack answers /health itself.
    place = f"/_aws/execute-api/{api_id}/$default".encode()

    async def forward(request: Request) -> Response:
        target = httpx.URL(engine, raw_path=place + request.scope["raw_path"] + _query(request))
        headers = _end_to_end(request.headers.raw)
        async with httpx.AsyncClient(timeout=60, trust_env=False, transport=transport) as client:
            answer = await client.request(request.method, target, headers=headers, content=await request.body())
        response = Response(answer.content, answer.status_code)
        response.raw_headers += [pair for pair in _end_to_end(answer.headers.raw) if pair[0] != b"content-encoding"]
        return response

    return Starlette(routes=[Route("/{path:path}", forward, methods=METHODS)])


def _query(request: Request) -> bytes:
    query: bytes = request.scope["query_string"]
    return b"?" + query if query else b""


def _end_to_end(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in headers if name.lower() not in HOP_BY_HOP]
