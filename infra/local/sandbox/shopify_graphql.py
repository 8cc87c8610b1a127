"""Executes Admin GraphQL documents on a shop, with graphql-core against Shopify's own schema.

Wrong documents, missing scopes and an empty bucket are all answered with HTTP 200, as Shopify does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import DocumentNode, GraphQLError, execute_sync

from infra.local.sandbox.shopify_resolvers import Context, Info, executable, kind_of, refuse, unknown
from infra.local.sandbox.shopify_schema import Documents, Meter, Refused, operation_of
from infra.local.sandbox.shopify_shop import Json

MAX_QUERY_COST = 1000
_DOCUMENTATION = "https://shopify.dev/api/usage/rate-limits"


def run(context: Context, documents: Documents, request: Json, bucket: "Bucket") -> Json:
    """One request's answer: data, errors, and what it cost."""
    try:
        document = documents.read(request["query"])
    except Refused as refused:
        return {"errors": refused.errors}
    operation = operation_of(document, request.get("operationName"))
    if operation is None:
        return {"errors": [{"message": "An operation name is required"}]}
    variables = request.get("variables") or {}
    context.meter = meter = Meter(document, variables, context.scopes)
    requested = meter.requested(operation)
    if requested > MAX_QUERY_COST:
        return {"errors": [_too_dear(requested)]}
    now = context.shop.precisely()
    if not bucket.take(requested, now):
        throttled = {"message": "Throttled", "extensions": {"code": "THROTTLED", "documentation": _DOCUMENTATION}}
        return {"errors": [throttled], "extensions": {"cost": bucket.cost(requested, None, now)}}
    answer = executed(context, document, variables, request.get("operationName"))
    actual = meter.actual(operation, answer.get("data")) if answer.get("data") else 0
    bucket.give_back(requested - actual)
    extensions: Json = {"cost": bucket.cost(requested, actual, now)}
    if context.searches:
        extensions["search"] = context.searches
    return answer | {"extensions": extensions}


def _too_dear(cost: int) -> Json:
    return {
        "message": f"Query cost is {cost}, which exceeds the single query max cost limit ({MAX_QUERY_COST}).",
        "extensions": {
            "code": "MAX_COST_EXCEEDED",
            "cost": cost,
            "maxCost": MAX_QUERY_COST,
            "documentation": _DOCUMENTATION,
        },
    }


def executed(context: Context, document: DocumentNode, variables: Json, name: str | None = None) -> Json:
    """What the document gives."""
    denied = context.meter.denied if context.meter else {}
    result = execute_sync(
        executable(),
        document,
        context_value=context,
        variable_values=variables,
        operation_name=name,
        field_resolver=unknown,
        type_resolver=kind_of,
        middleware=[_denying(denied)] if denied else None,
        hide_suggestions=True,
    )
    answer: Json = {} if result.data is None and _before(result.errors) else {"data": result.data}
    if result.errors:
        answer["errors"] = [_told(error) for error in result.errors]
    return answer


def _before(errors: Sequence[GraphQLError] | None) -> bool:
    """Whether nothing was executed: the variables did not fit."""
    return bool(errors) and not any(error.path for error in errors or ())


def _told(error: GraphQLError) -> Json:
    told = dict(error.formatted)
    if not error.path:
        told["extensions"] = {"code": "INVALID_VARIABLE", "problems": [{"path": [], "explanation": error.message}]}
    elif error.original_error and not isinstance(error.original_error, GraphQLError):
        told["extensions"] = {"code": "INTERNAL_SERVER_ERROR"}
    return dict(told)


def _denying(denied: Mapping[tuple[str, str], str]) -> Callable[..., Any]:
    def check(resolve: Callable[..., Any], source: Any, info: Info, **args: Any) -> Any:
        needed = denied.get((info.parent_type.name, info.field_name))
        if needed:
            raise refuse(
                f"Access denied for {info.field_name} field. Required access: {needed}",
                "ACCESS_DENIED",
                documentation="https://shopify.dev/api/usage/access-scopes",
                requiredAccess=needed,
            )
        return resolve(source, info, **args)

    return check


@dataclass
class Bucket:
    """The leaky bucket of one app in one shop."""

    maximum: float = 2000.0
    rate: float = 100.0
    available: float = 2000.0
    at: float = 0.0

    def take(self, cost: float, now: float) -> bool:
        """Whether there is enough for a query; it is taken then."""
        self.available = min(self.maximum, self.available + max(0.0, now - self.at) * self.rate)
        self.at = now
        if cost > self.available:
            return False
        self.available -= cost
        return True

    def give_back(self, cost: float) -> None:
        """What the query did not need."""
        self.available = min(self.maximum, self.available + cost)

    def cost(self, requested: int, actual: int | None, now: float) -> Json:
        """``extensions.cost``."""
        self.take(0, now)
        return {
            "requestedQueryCost": requested,
            "actualQueryCost": actual,
            "throttleStatus": {
                "maximumAvailable": float(self.maximum),
                "currentlyAvailable": int(self.available),
                "restoreRate": float(self.rate),
            },
        }
