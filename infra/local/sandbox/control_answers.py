"""How the stand-ins' control APIs read their orders and answer them.

What is wrong with an order is said as 400 ``{"error": …}``, what does not exist as 404.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import Field, asdict
from typing import Any, ClassVar, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.local.sandbox.faults import Fault, Faults

Json = dict[str, Any]


class NoSuch(Exception):
    """What the order names does not exist."""


class Sent(Protocol):
    """A dataclass about one request that went to a receiver."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def body(self) -> bytes:
        """As it was sent, in UTF-8."""
        ...


def answered(order: Callable[[Request], Awaitable[Json]], status: int) -> Callable[[Request], Awaitable[Response]]:
    """An order as an endpoint, which answers with ``status`` where it is carried out."""

    async def endpoint(request: Request) -> Response:
        try:
            return _json(await order(request), status)
        except NoSuch as missing:
            return _json({"error": str(missing)}, 404)
        except (ValueError, TypeError, KeyError, AttributeError) as wrong:
            return _json({"error": f"{type(wrong).__name__}: {wrong}"}, 400)

    return endpoint


def fault_routes(place: str, faults_of: Callable[[Request], Faults]) -> list[Route]:
    """``{place}/faults``: GET shows the faults still to come, POST orders one (201), DELETE clears them."""

    async def show(request: Request) -> Json:
        return {"faults": [asdict(one) for one in faults_of(request).ordered if one.times != 0]}

    async def order(request: Request) -> Json:
        fault = Fault.parse(await json_body(request))
        faults_of(request).ordered.append(fault)
        return asdict(fault)

    async def clear(request: Request) -> Json:
        faults_of(request).ordered.clear()
        return {"faults": []}

    orders = (("GET", show, 200), ("POST", order, 201), ("DELETE", clear, 200))
    return [Route(f"{place}/faults", answered(each, status), methods=[method]) for method, each, status in orders]


async def json_body(request: Request) -> Json:
    """What an order says, nothing where it has no body."""
    text = await request.body()
    body: Any = json.loads(text) if text else {}
    if not isinstance(body, dict):
        raise TypeError("The body is no JSON object.")
    return body


def sent_json(sent: Sent) -> Json:
    """A delivery as a control API shows it."""
    return {**asdict(sent), "body": sent.body.decode()}


def _json(value: Json, status: int) -> Response:
    # In ASCII: sellers may be made to write what UTF-8 cannot carry.
    return Response(json.dumps(value), status, media_type="application/json")
