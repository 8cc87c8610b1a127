"""The front changes nothing about a message."""

import asyncio
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.local import front


async def echo(request: Request) -> Response:
    """What an engine was asked."""
    query = request.scope["query_string"].decode()
    asked = [request.method, request.scope["raw_path"].decode(), query, request.headers.get("x-wc-webhook-id", "")]
    answer = Response("|".join(asked).encode() + b"|" + await request.body(), 202, {"etag": '"3"'})
    answer.headers.append("set-cookie", "a=1")
    answer.headers.append("set-cookie", "b=2")
    return answer


ENGINE = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST"])])
FRONT = front.app("http://engine", "api1", httpx.ASGITransport(ENGINE))


def ask(method: str, path: str, **request: Any) -> httpx.Response:
    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(FRONT), base_url="http://front") as client:
            return await client.request(method, path, **request)

    return asyncio.run(asked())


def test_passes_a_request_on_to_the_api_as_it_is() -> None:
    body = b'{"a": 1,\xff  "b":2}'

    answer = ask("POST", "/webhooks/WOO_COMMERCE/a%2Fb?x=1&y=%20", content=body, headers={"X-WC-Webhook-ID": "7"})

    place = b"/_aws/execute-api/api1/$default/webhooks/WOO_COMMERCE/a%2Fb"
    assert answer.content == b"|".join([b"POST", place, b"x=1&y=%20", b"7", body])


def test_passes_the_answer_back_as_it_is() -> None:
    answer = ask("GET", "/health")

    assert answer.status_code == 202
    assert answer.headers["etag"] == '"3"'
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
