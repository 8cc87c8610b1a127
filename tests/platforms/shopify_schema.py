"""A Shopify of a few dictionaries: documents are executed by graphql-core against the schema that Shopify publishes."""

# ruff: noqa: N802, N803 - resolvers and their arguments are named as the schema names them

import gzip
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from graphql import (
    FieldNode,
    GraphQLObjectType,
    GraphQLSchema,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    build_client_schema,
    execute_sync,
    get_named_type,
    is_leaf_type,
    parse,
    validate,
    value_from_ast_untyped,
    visit,
)

from shared.platforms.base import Answer, Json, PlatformError

_CONTRACT = Path(__file__).parents[3] / "shared" / "contracts" / "shopify" / "admin_2026-10.json.gz"
_FREE = {"MoneyBag", "MoneyV2", "PageInfo"}
"""Measured on the real API: https://github.com/microsoft/BCApps/pull/5926."""
_TIME = re.compile(r"(updated_at|created_at):>='([^']+)'")
_ABOVE = re.compile(r"(?:^| )id:>([0-9]+)")


@cache
def contract() -> Json:
    return json.loads(gzip.decompress(_CONTRACT.read_bytes()))


@cache
def schema() -> GraphQLSchema:
    return build_client_schema(contract()["data"], assume_valid=True)


@cache
def needed_scopes() -> dict[str, tuple[str, ...]]:
    """By ``Type`` or ``Type.field``: any one of these scopes opens it to an offline token."""
    return {
        ".".join(each[name] for name in ("typeName", "fieldName") if each.get(name)): tuple(each["offlineScopes"])
        for each in contract()["offline_scopes"]["items"]
    }


@cache
def problems_of(document: str) -> list[str]:
    return [error.message for error in validate(schema(), parse(document))]


def scopes_of(document: str) -> set[tuple[str, ...]]:
    """Per type and field, the scopes any one of which opens it."""
    types = TypeInfo(schema())
    found: set[tuple[str, ...]] = set()

    class Reader(Visitor):
        def enter_field(self, node: FieldNode, *_: Any) -> None:
            parent = types.get_parent_type()
            named = get_named_type(types.get_type())
            for key in (f"{parent.name}.{node.name.value}", named.name if named else ""):
                if scopes := needed_scopes().get(key):
                    found.add(tuple(scopes))

    visit(parse(document), TypeInfoVisitor(types, Reader()))
    return found


def deprecated_in(document: str) -> list[str]:
    types = TypeInfo(schema())
    found = []

    class Reader(Visitor):
        def enter_field(self, node: FieldNode, *_: Any) -> None:
            definition = types.get_field_def()
            if definition and definition.deprecation_reason:
                found.append(node.name.value)

    visit(parse(document), TypeInfoVisitor(types, Reader()))
    return found


def cost_of(document: str, variables: Json) -> int:
    """An object costs 1, a mutation 10; a connection 2, and of its rows' cost as often as was measured."""
    operation = parse(document).definitions[0]
    root = schema().mutation_type if operation.operation.value == "mutation" else schema().query_type
    return _cost(operation.selection_set, root, variables) + (10 if root is schema().mutation_type else 0)


def _cost(selections: Any, parent: GraphQLObjectType, variables: Json) -> int:
    total = 0
    for node in selections.selections if selections else ():
        named = get_named_type(parent.fields[node.name.value].type)
        if is_leaf_type(named):
            continue
        fields = getattr(named, "fields", {})
        if "pageInfo" in fields:
            given = {each.name.value: value_from_ast_untyped(each.value, variables) for each in node.arguments}
            rows = max(1, int(2 * math.log(given.get("first") or 250)))
            total += 2 + rows * _cost(node.selection_set, named, variables)
        else:
            total += (named.name not in _FREE) + _cost(node.selection_set, named, variables)
    return total


def gid(kind: str, number: int) -> str:
    return f"gid://shopify/{kind}/{number}"


def money(amount: str) -> Json:
    return {"shopMoney": {"amount": amount, "currencyCode": "EUR"}}


def line(number: int, **more: Any) -> Json:
    return {
        "id": gid("LineItem", number),
        "title": f"Shirt {number}",
        "sku": f"SKU-{number}",
        "quantity": 1,
        "currentQuantity": 1,
        "customAttributes": [],
        "originalUnitPriceSet": money("9.99"),
        "discountedTotalSet": money("9.99"),
        "product": {"id": gid("Product", 1)},
        "variant": {"id": gid("ProductVariant", 1)},
        **more,
    }


def order(number: int, updated: str = "2026-11-20T10:00:00Z", lines: Sequence[Json] = (), **more: Any) -> Json:
    return {
        "id": gid("Order", number),
        "name": f"#{number}",
        "createdAt": "2026-11-20T09:00:00Z",
        "updatedAt": updated,
        "cancelledAt": None,
        "displayFinancialStatus": "PAID",
        "displayFulfillmentStatus": "UNFULFILLED",
        "currencyCode": "EUR",
        "email": "buyer17@example.com",
        "note": None,
        "currentTotalPriceSet": money("9.99"),
        "totalRefundedSet": money("0.0"),
        "shippingAddress": None,
        "billingAddress": {"name": "Buyer 17", "phone": None},
        "transactions": [],
        "lineItems": list(lines or [line(number * 1000)]),
        **more,
    }


def variant(number: int, **more: Any) -> Json:
    return {
        "id": gid("ProductVariant", number),
        "title": "Red",
        "sku": f"V-{number}",
        "price": "12.50",
        "inventoryQuantity": 3,
        "selectedOptions": [{"name": "Colour", "value": "Red"}],
        **more,
    }


def product(number: int, updated: str = "2026-11-20T10:00:00Z", variants: Sequence[Json] = (), **more: Any) -> Json:
    return {
        "id": gid("Product", number),
        "title": f"Product {number}",
        "status": "ACTIVE",
        "createdAt": "2026-11-01T00:00:00Z",
        "updatedAt": updated,
        "onlineStoreUrl": None,
        "featuredMedia": {"__typename": "MediaImage", "preview": {"image": {"url": "https://cdn.example/1.png"}}},
        "variants": list(variants or [variant(number * 1000)]),
        **more,
    }


@dataclass
class Asked:
    """One request, as Shopify sees it."""

    method: str
    url: str
    headers: Json
    json: Any

    @property
    def operation(self) -> str:
        named = re.search(r"(?:query|mutation) (\w+)", (self.json or {}).get("query", ""))
        return named[1] if named else ""

    @property
    def variables(self) -> Json:
        return self.json["variables"]


Interfere = Callable[[Asked], Answer | PlatformError | None]


@dataclass
class Shop:
    """Fits Http. ``interfere`` may answer in its place."""

    orders: list[Json] = field(default_factory=list)
    products: list[Json] = field(default_factory=list)
    hooks: list[Json] = field(default_factory=list)
    jobs: list[Json] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    scopes: Sequence[str] = ("read_products", "read_orders")
    interfere: Interfere = lambda _: None
    available: float = 2000.0
    asked: list[Asked] = field(default_factory=list)
    user_errors: dict[str, list[Json]] = field(default_factory=dict)
    domain: str = "demo.myshopify.com"

    def request(self, method: str, url: str, *, headers: Any = None, json: Any = None, **rest: Any) -> Answer:
        assert not rest
        self.asked.append(Asked(method, url, dict(headers or {}), json))
        answer = self.interfere(self.asked[-1])
        if isinstance(answer, PlatformError):
            raise answer
        if answer is not None:
            return answer
        return self._file(self.asked[-1]) if method == "GET" else self._executed(json)

    @property
    def operations(self) -> list[str]:
        return [each.operation for each in self.asked]

    def _file(self, asked: Asked) -> Answer:
        assert "X-Shopify-Access-Token" not in asked.headers
        content = self.files[asked.url]
        first, last = map(int, asked.headers["Range"].removeprefix("bytes=").split("-"))
        part = content[first : last + 1]
        shown = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
        return Answer(206, {"content-range": shown}, part)

    def _executed(self, content: Json) -> Answer:
        document, variables = content["query"], content["variables"]
        assert problems_of(document) == []
        result = execute_sync(schema(), parse(document), root_value=_Root(self), variable_values=variables)
        assert not result.errors, result.errors
        return answered(result.data, cost=cost_of(document, variables), available=self.available)


def answered(data: Any, *, cost: float = 10, available: float = 2000.0, **more: Any) -> Answer:
    throttle = {"maximumAvailable": 2000.0, "currentlyAvailable": available, "restoreRate": 100.0}
    extensions = {"cost": {"requestedQueryCost": cost, "actualQueryCost": cost, "throttleStatus": throttle}}
    return Answer(200, {}, json.dumps({"data": data, "extensions": extensions, **more}).encode())


def failed(code: str, path: Sequence[Any] = (), data: Any = None, **options: Any) -> Answer:
    error = {"message": "as Shopify words it", "extensions": {"code": code}, "path": list(path)}
    return answered(data, errors=[error], **options)


class _Root:
    """What the fields of query and mutation give: methods by their names."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.shop = {
            "id": gid("Shop", 1),
            "name": "Demo",
            "myshopifyDomain": shop.domain,
            "currencyCode": "EUR",
            "ianaTimezone": "Europe/Berlin",
        }
        self.currentAppInstallation = {"accessScopes": [{"handle": scope} for scope in shop.scopes]}

    def orders(self, _: Any, query: str | None = None, sortKey: str = "PROCESSED_AT", **paging: Any) -> Json:
        assert "status:any" in (query or ""), "closed orders would be left out"
        return _found(self._shop.orders, query or "", sortKey, "lineItems", **paging)

    def products(self, _: Any, query: str | None = None, sortKey: str = "ID", **paging: Any) -> Json:
        return _found(self._shop.products, query or "", sortKey, "variants", **paging)

    def order(self, _: Any, id: str) -> Json | None:
        return next((_nested(row, "lineItems") for row in self._shop.orders if row["id"] == id), None)

    def product(self, _: Any, id: str) -> Json | None:
        return next((_nested(row, "variants") for row in self._shop.products if row["id"] == id), None)

    def ordersCount(self, _: Any, query: str, limit: int) -> Json:
        return {"count": min(limit, len(self._shop.orders)), "precision": "EXACT"}

    def productsCount(self, _: Any, limit: int, query: str | None = None) -> Json:
        return {"count": min(limit, len(self._shop.products)), "precision": "EXACT"}

    def bulkOperations(self, _: Any, first: int, **__: Any) -> Json:
        return {"nodes": self._shop.jobs[::-1][:first]}

    def bulkOperation(self, _: Any, id: str) -> Json | None:
        return next((job for job in self._shop.jobs if job["id"] == id), None)

    def bulkOperationRunQuery(self, _: Any, query: str, groupObjects: bool) -> Json:
        assert groupObjects
        assert problems_of(query) == []
        if errors := self._shop.user_errors.get("bulk"):
            return {"bulkOperation": None, "userErrors": errors}
        job = {
            "id": gid("BulkOperation", len(self._shop.jobs) + 1),
            "status": "CREATED",
            "createdAt": "2026-11-22T12:29:58Z",
            "query": query,
            "objectCount": 0,
            "rootObjectCount": 0,
            "url": None,
        }
        self._shop.jobs.append(job)
        return {"bulkOperation": job, "userErrors": []}

    def webhookSubscriptions(self, _: Any, first: int, after: str | None = None, **__: Any) -> Json:
        return _page(self._shop.hooks, first, after)

    def webhookSubscriptionCreate(self, _: Any, topic: str, webhookSubscription: Json) -> Json:
        if errors := self._shop.user_errors.get(topic):
            return {"webhookSubscription": None, "userErrors": errors}
        hook = {"id": gid("WebhookSubscription", 100 + len(self._shop.hooks)), "topic": topic, "filter": ""}
        self._shop.hooks.append(hook | webhookSubscription)
        return {"webhookSubscription": hook, "userErrors": []}

    def webhookSubscriptionUpdate(self, _: Any, id: str, webhookSubscription: Json) -> Json:
        hook = next(hook for hook in self._shop.hooks if hook["id"] == id)
        hook.update(webhookSubscription)
        return {"webhookSubscription": hook, "userErrors": []}

    def webhookSubscriptionDelete(self, _: Any, id: str) -> Json:
        self._shop.hooks[:] = [hook for hook in self._shop.hooks if hook["id"] != id]
        return {"deletedWebhookSubscriptionId": id, "userErrors": []}

    def appUninstall(self, _: Any) -> Json:
        return {"app": None, "userErrors": self._shop.user_errors.get("uninstall", [])}


def _found(rows: list[Json], query: str, sort: str, children: str, *, reverse: bool, **paging: Any) -> Json:
    name = {"UPDATED_AT": "updatedAt", "CREATED_AT": "createdAt", "ID": "id"}[sort]
    kept = sorted(rows, key=lambda row: (row[name] if name != "id" else 0, _number(row)), reverse=reverse)
    for term, since in _TIME.findall(query):
        key = {"updated_at": "updatedAt", "created_at": "createdAt"}[term]
        kept = [row for row in kept if row[key] >= since]
    if above := _ABOVE.search(query):
        kept = [row for row in kept if _number(row) > int(above[1])]
    return _page([_nested(row, children) for row in kept], **paging)


def _number(row: Json) -> int:
    return int(row["id"].rpartition("/")[2])


def _nested(row: Json, children: str) -> Json:
    def page(_: Any, first: int, after: str | None = None, **__: Any) -> Json:
        return _page(row[children], first, after)

    return {**row, children: page}


def _page(rows: Sequence[Json], first: int, after: str | None = None, **_: Any) -> Json:
    ids = [row["id"] for row in rows]
    start = ids.index(after) + 1 if after in ids else 0
    shown = list(rows[start : start + first])
    more = start + first < len(rows)
    return {"nodes": shown, "pageInfo": {"hasNextPage": more, "endCursor": shown[-1]["id"] if shown else None}}


def jsonl(rows: Sequence[Json], children: str) -> bytes:
    """A bulk operation's result: each row, its children behind it."""
    lines = []
    for row in rows:
        lines.append({name: value for name, value in row.items() if name != children})
        lines += [{**child, "__parentId": row["id"]} for child in row[children]]
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)
