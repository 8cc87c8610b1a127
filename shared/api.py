"""The HTTP edge: one resolver for every route, strict bodies in, JSON and problem details out.

A handler says only what is particular to it. What all share is here: who calls, which version of a store
they mean, how long a page is, what happens with an Idempotency-Key, and how each failure is rendered.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple
from urllib.parse import parse_qsl

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.event_handler.openapi.params import Query
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError, HTTPClientError

from shared import clock, exact_json, problems
from shared.observability import logger
from shared.schemas import View
from shared.settings import current
from shared.stores import PAGE_DEFAULT, PAGE_MOST, Caller

LARGEST_BODY = 256 * 1024
IDEMPOTENCY_SECONDS = 24 * 3600
_PROBLEM_JSON = "application/problem+json"
_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"

_MOST_ERRORS = 50
_MOST_PARAMETERS = 50
_LONGEST_NAME = 200
_PASSING = {
    "InternalServerError",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
}

Event = dict[str, Any]
Answer = dict[str, Any]
Limit = Annotated[int, Query(ge=1, le=PAGE_MOST, description="items a page")]
Cursor = Annotated[str | None, Query(description="nextCursor of the page before", max_length=1024)]
LIMIT = PAGE_DEFAULT


def resolver() -> APIGatewayHttpResolver:
    """A resolver that renders every failure as problem details."""
    app = APIGatewayHttpResolver(enable_validation=True, json_body_deserializer=_body, serializer=exact_json.dumps)
    app.exception_handler(problems.Problem)(_problem)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(NotFoundError)(lambda _: _problem(problems.RouteNotFound("There is no such route.")))
    app.exception_handler(Exception)(lambda error: _problem(_unexpected(error)))
    return app


def describes(view: type[View], status: int = 200, summary: str = "") -> dict[str, Any]:
    """What a route's OpenAPI entry says beyond its signature; that it may fail is said of all at once."""
    return {
        "summary": summary,
        "responses": {status: {"description": summary, "content": {_JSON: {"model": view}}}},
    }


def describes_nothing(summary: str) -> dict[str, Any]:
    """The same for a route that answers 204."""
    return {"summary": summary, "responses": {204: {"description": "It is gone"}}}


def describes_page(summary: str) -> dict[str, Any]:
    """The same for a route that a seller's browser sees."""
    content = {"text/html": {"schema": {"type": "string"}}}
    return {"summary": summary, "responses": {200: {"description": "A page", "content": content}}}


def caller(app: APIGatewayHttpResolver) -> Caller:
    """Who calls, by the token that the API's authorizer has checked."""
    return _caller_in(app.current_event.raw_event)


def _caller_in(event: Event) -> Caller:
    authorizer = event["requestContext"].get("authorizer", {})
    claims: Mapping[str, Any] = authorizer.get("jwt", {}).get("claims", {})
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise problems.CallerUnknown("The token has no subject.")
    return Caller(subject, teams_in(claims.get(current().teams_claim)))


def teams_in(claim: Any) -> frozenset[str]:
    """The teams of a claim, which HTTP APIs hand over as a list, as JSON text, or as ``[a b]``."""
    if isinstance(claim, list):
        return frozenset(team for team in claim if isinstance(team, str) and team)
    if not isinstance(claim, str):
        return frozenset()
    if claim.startswith('["'):
        try:
            return teams_in(exact_json.loads(claim))
        except ValueError:
            return frozenset()
    return frozenset(re.split(r"[\s,]+", claim.strip("[] "))) - {""}


def expected_version(app: APIGatewayHttpResolver) -> int | None:
    """The version that If-Match names; ``None`` where it asks for none."""
    header = app.current_event.headers.get("if-match")
    if header is None or header.strip() == "*":
        return None
    match = re.fullmatch(r'"([0-9]{1,15})"', header.strip())
    if match is None:
        raise problems.RequestInvalid('If-Match takes the ETag of a store, such as "3".')
    return int(match[1])


def moment(text: str | None, name: str) -> datetime | None:
    """An RFC 3339 time given as a parameter."""
    if text is None:
        return None
    try:
        return clock.from_text(text)
    except (ValueError, OverflowError) as error:
        raise problems.RequestInvalid(f"{name} takes an RFC 3339 time, such as 2026-11-22T10:00:00Z.") from error


def reply(view: View, status: int = 200, headers: Mapping[str, str] | None = None) -> Response[str]:
    """An answer with a JSON body."""
    return Response(status, _JSON, view.rendered(), headers=dict(headers or {}))


def with_etag(view: View, version: int, status: int = 200, location: str | None = None) -> Response[str]:
    """An answer that names the version it shows."""
    headers = {"ETag": f'"{version}"'}
    if location is not None:
        headers["Location"] = location
    return reply(view, status, headers)


def nothing() -> Response[str]:
    """204."""
    return Response(HTTPStatus.NO_CONTENT, None, "")


def query(app: APIGatewayHttpResolver) -> list[tuple[str, str]]:
    """The query as it came: the gateway's own reading joins repeated parameters."""
    try:
        return parse_qsl(
            app.current_event.raw_event.get("rawQueryString", ""),
            keep_blank_values=True,
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError as error:
        raise problems.RequestInvalid("The query has too many parameters.") from error


def page(text: str, status: int = 200) -> Response[str]:
    """An HTML page for a seller's browser."""
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
    }
    return Response(status, "text/html; charset=utf-8", text, headers=headers)


Reread = Callable[[str, Caller], Response[str]]
"""Shows what a path leads to, as a caller may see it now."""


class Once(NamedTuple):
    """What a repeated ``Idempotency-Key`` gets: the first answer again.

    With ``reread`` only the path of what was made is kept, and the answer shows it as it is then: what was
    removed meanwhile leaves nothing here.
    """

    seconds: int = IDEMPOTENCY_SECONDS
    reread: Reread | None = None


def entrypoint(app: APIGatewayHttpResolver, once: Once | None = None) -> Callable[[Event, LambdaContext], Answer]:
    """The Lambda handler around a resolver; with ``once`` its POST requests take an ``Idempotency-Key``."""

    @logger.inject_lambda_context(correlation_id_path="requestContext.requestId", clear_state=True)
    def handler(event: Event, context: LambdaContext) -> Answer:
        try:
            request = _admitted(event)
            key = event.get("headers", {}).get("idempotency-key")
            if once and key is not None and event["requestContext"]["http"]["method"] == "POST":
                answer = _once(app, request, context, key, once)
            else:
                answer = app.resolve(request, context)
        except problems.Problem as problem:
            answer = _rendered(problem)
        except Exception as error:  # noqa: BLE001 whatever it is, the caller gets a problem and no detail
            answer = _rendered(_unexpected(error))
        logger.info("answered", status=answer["statusCode"], route=event.get("routeKey"))
        return answer

    return handler


def _admitted(event: Event) -> Event:
    """The event with its body as text, or a problem: too large, not JSON by its type, not UTF-8."""
    body = event.get("body")
    if not body:
        return event
    raw = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode("utf-8", "surrogatepass")
    if len(raw) > LARGEST_BODY:
        raise problems.BodyTooLarge(f"A body has at most {LARGEST_BODY} bytes.")
    media_type = event["headers"].get("content-type", _JSON).partition(";")[0].strip().lower()
    if media_type not in {_JSON, _MERGE_PATCH}:
        raise problems.MediaTypeUnsupported("Send application/json.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise problems.BodyMalformed("The body is not UTF-8.") from error
    headers = {**event["headers"], "content-type": _JSON}
    return {**event, "body": text, "isBase64Encoded": False, "headers": headers}


def _body(text: str) -> Any:
    try:
        return exact_json.loads(text)
    except ValueError as error:
        raise problems.BodyMalformed(f"The body is not well-formed: {error}") from error


class _NotKept(Exception):
    """An answer that a repeated Idempotency-Key should not get again."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("not kept")
        self.answer = answer


def _once(app: APIGatewayHttpResolver, request: Event, context: LambdaContext, key: str, once: Once) -> Answer:
    """The answer of the first request with this key; failures are not kept."""
    # imported here: few requests carry a key, and the layer costs boto3's import
    from aws_lambda_powertools.utilities.idempotency import (
        DynamoDBPersistenceLayer,
        IdempotencyConfig,
        idempotent_function,
    )
    from aws_lambda_powertools.utilities.idempotency.exceptions import (
        IdempotencyAlreadyInProgressError,
        IdempotencyValidationError,
    )

    from shared import clients

    if re.fullmatch(r"[\x21-\x7e]{1,255}", key) is None:
        raise problems.IdempotencyKeyInvalid("It takes 1 to 255 visible ASCII characters.")
    claims = request["requestContext"].get("authorizer", {}).get("jwt", {}).get("claims", {})
    scope = exact_json.dumps([claims.get("sub"), request["rawPath"], key])
    config = IdempotencyConfig(
        event_key_jmespath="key",
        payload_validation_jmespath="body",
        expires_after_seconds=once.seconds,
        lambda_context=context,
    )
    layer = DynamoDBPersistenceLayer(f"{current().table_prefix}-idempotency", boto3_client=clients.dynamodb())

    made: Answer | None = None

    def resolve(*, request_key: dict[str, str]) -> Answer:  # noqa: ARG001 the layer reads it
        nonlocal made
        made = app.resolve(request, context)
        if made["statusCode"] >= HTTPStatus.BAD_REQUEST:
            raise _NotKept(made)
        return {"location": made["headers"]["Location"]} if once.reread else made

    called = idempotent_function(resolve, data_keyword_argument="request_key", persistence_store=layer, config=config)

    body = hashlib.sha256((request.get("body") or "").encode()).hexdigest()
    try:
        kept: Answer = called(request_key={"key": hashlib.sha256(scope.encode()).hexdigest(), "body": body})
    except _NotKept as failure:
        return failure.answer
    except IdempotencyValidationError as error:
        raise problems.IdempotencyKeyReused("Use a new key for another request.") from error
    except IdempotencyAlreadyInProgressError as error:
        raise problems.IdempotencyInProgress("The first request is still running. Ask again.") from error
    if made is not None:
        return made
    return _serialized(once.reread(kept["location"], _caller_in(request))) if once.reread else kept


def _serialized(response: Response[str]) -> Answer:
    headers = {"Content-Type": _JSON, **response.headers}
    return {"statusCode": response.status_code, "headers": headers, "body": response.body, "isBase64Encoded": False}


def docs_url() -> str:
    """Where the problems are explained."""
    return f"{current().public_url}/docs"


def _problem(problem: problems.Problem) -> Response[str]:
    answer = _rendered(problem)
    return Response(answer["statusCode"], _PROBLEM_JSON, answer["body"], headers=answer["headers"])


def _rendered(problem: problems.Problem) -> Answer:
    headers = {"Content-Type": _PROBLEM_JSON}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    body = exact_json.dumps(problems.render(problem, docs_url()))
    return {"statusCode": problem.status, "headers": headers, "body": body, "isBase64Encoded": False}


def _invalid(error: RequestValidationError) -> Response[str]:
    """What is wrong with each value, without the value: it may be a secret."""
    errors = [
        {
            "field": ".".join(str(part) for part in entry["loc"])[:_LONGEST_NAME],
            "detail": entry["msg"].removeprefix("Value error, "),
        }
        for entry in error.errors()[:_MOST_ERRORS]
    ]
    named = "; ".join(f"{entry['field']}: {entry['detail']}" for entry in errors[:3])
    return _problem(problems.RequestInvalid(named or "The request is not valid.", errors=errors))


def _unexpected(error: Exception) -> problems.Problem:
    logger.exception("unexpected", error=type(error).__name__)
    if _passes(getattr(error, "cause", None) or error):
        return problems.ServiceBusy("Try again.")
    return problems.InternalError("It has been logged. Try again later.")


def _passes(error: BaseException) -> bool:
    """Whether AWS throttled us, was out of order, or did not answer."""
    if isinstance(error, ClientError):
        return error.response["Error"]["Code"] in _PASSING
    return isinstance(error, HTTPClientError)
