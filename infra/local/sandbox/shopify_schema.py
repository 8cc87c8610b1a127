"""The Admin GraphQL schema 2026-10: what a document may say, what it costs, and which scopes it needs.

``shopify_admin_2026-10.json.gz`` is what Shopify publishes (its introspection result and the scopes per type and
field), without descriptions.
"""

import gzip
import json
import math
import re
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    build_client_schema,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
    parse,
    validate,
)

Json = dict[str, Any]

API_VERSION = "2026-10"
_FILE = Path(__file__).with_name("shopify_admin_2026-10.json.gz")
_KEPT_DOCUMENTS = 256
_MUTATION_COST = 10
_CONNECTION_COST = 2
_FREE_TYPES = {"MoneyBag", "MoneyV2", "PageInfo"}
_STATIC = object()
"""Stands for the data while there is none yet: what is asked for is priced, not what came."""
_UNDEFINED = re.compile(r"Cannot query field '(\w+)' on type '(\w+)'")
_UNKNOWN_ARGUMENT = re.compile(r"Unknown argument '(\w+)' on field '(\w+)\.(\w+)'")


class Admin(NamedTuple):
    """What Shopify publishes about its API."""

    schema: GraphQLSchema
    scopes: Mapping[str, Collection[str]]
    """By ``Type`` or ``Type.field``: any one of these scopes opens it."""


@cache
def admin() -> Admin:
    """The schema, read when it is first needed."""
    published = json.loads(gzip.decompress(_FILE.read_bytes()))
    return Admin(build_client_schema(published["data"], assume_valid=True), published["scopes"])


class Refused(Exception):
    """A document that Shopify does not execute, with the errors that it answers."""

    def __init__(self, errors: list[Json]) -> None:
        super().__init__(errors)
        self.errors = errors


class Documents:
    """Documents by their text, parsed and validated once."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, DocumentNode] = OrderedDict()

    def read(self, text: str) -> DocumentNode:
        """The document, or :class:`Refused`."""
        if text in self._known:
            self._known.move_to_end(text)
            return self._known[text]
        document = _valid(text)
        self._known[text] = document
        if len(self._known) > _KEPT_DOCUMENTS:
            self._known.popitem(last=False)
        return document


def _valid(text: str) -> DocumentNode:
    try:
        document = parse(text)
    except GraphQLError as wrong:
        message = wrong.message.removeprefix("Syntax Error: ")
        raise Refused([_plain(wrong) | {"message": f"syntax error, {message}"}]) from wrong
    errors = validate(admin().schema, document, hide_suggestions=True)
    if errors:
        raise Refused([_worded(error) for error in errors])
    return document


def _plain(error: GraphQLError) -> Json:
    places = [{"line": place.line, "column": place.column} for place in error.locations or []]
    return {"message": error.message, "locations": places}


def _worded(error: GraphQLError) -> Json:
    """A validation error in the words of Shopify's server, where a client may look at them."""
    told = _plain(error)
    if found := _UNDEFINED.match(error.message):
        name, owner = found.groups()
        told["message"] = f"Field '{name}' doesn't exist on type '{owner}'"
        return told | {"extensions": {"code": "undefinedField", "typeName": owner, "fieldName": name}}
    if found := _UNKNOWN_ARGUMENT.match(error.message):
        argument, _, name = found.groups()
        told["message"] = f"Field '{name}' doesn't accept argument '{argument}'"
        more = {"code": "argumentNotAccepted", "name": name, "typeName": "Field", "argumentName": argument}
        return told | {"extensions": more}
    return told | {"extensions": {"code": "invalidDocument"}}


def operation_of(document: DocumentNode, name: str | None) -> OperationDefinitionNode | None:
    """The operation that is to be executed; None where it is not clear which."""
    found = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    if name:
        found = [one for one in found if one.name and one.name.value == name]
    return found[0] if len(found) == 1 else None


def required(scopes: Iterable[str]) -> str:
    """Needed scopes, in Shopify's words."""
    return " or ".join(f"`{scope}` access scope" for scope in scopes) + "."


class Meter:
    """Prices one operation, and sees which of its fields the app may not read.

    An object costs 1, a mutation 10, scalars nothing (https://shopify.dev/docs/apps/build/apis/graphql-admin/rate-limits).
    That page only says that a connection is "sized by" its arguments. The sizes here are those measured on the
    real API by https://github.com/microsoft/BCApps/pull/5926: 2, and for 1, 3, 10, 100, 150, 200 nodes 1, 2, 4,
    9, 10, 10 times a node's cost, which is twice the natural logarithm; money and page info are free.
    """

    def __init__(
        self, document: DocumentNode, variables: Json, scopes: Collection[str], *, types: Admin | None = None
    ) -> None:
        self.denied: dict[tuple[str, str], str] = {}
        """By type and field: the access that is missing."""
        self._admin = types or admin()
        self._leaves: set[int] = set()
        """The nodes that cost nothing, whatever comes."""
        self._variables = variables
        self._granted = {*scopes, *(scope.replace("write_", "read_", 1) for scope in scopes)}
        self._fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }

    def requested(self, operation: OperationDefinitionNode) -> int:
        """What the operation may cost at most."""
        self._defaults(operation)
        return self._price(operation, _STATIC)

    def actual(self, operation: OperationDefinitionNode, data: Json | None) -> int:
        """What it did cost, by what came."""
        return self._price(operation, data)

    def _defaults(self, operation: OperationDefinitionNode) -> None:
        defaults = {
            one.variable.name.value: int(one.default_value.value)
            for one in operation.variable_definitions or ()
            if isinstance(one.default_value, IntValueNode)
        }
        self._variables = defaults | self._variables

    def _price(self, operation: OperationDefinitionNode, data: Any) -> int:
        root = self._admin.schema.get_root_type(operation.operation)
        assert root is not None
        cost = self._selection(operation.selection_set, root, data)
        if operation.operation is OperationType.MUTATION:
            return _MUTATION_COST * len(operation.selection_set.selections)
        return max(1, math.ceil(cost))

    def _selection(self, selection: SelectionSetNode | None, parent: GraphQLNamedType, data: Any) -> float:
        if selection is None or data is None:
            return 0
        shared: dict[str, float] = {}
        by_type: dict[str, float] = {}
        for node in selection.selections:
            if id(node) in self._leaves:
                continue
            if isinstance(node, FieldNode):
                key = node.alias.value if node.alias else node.name.value
                shared[key] = max(shared.get(key, 0), self._field(node, parent, data, key))
                continue
            inner, kind = self._fragment(node, parent)
            if data is not _STATIC and is_abstract_type(parent) and data.get("__typename", kind.name) != kind.name:
                continue
            by_type[kind.name] = by_type.get(kind.name, 0) + self._selection(inner, kind, data)
        extra = max(by_type.values(), default=0) if is_abstract_type(parent) else sum(by_type.values())
        return sum(shared.values()) + extra

    def _fragment(self, node: Any, parent: GraphQLNamedType) -> tuple[SelectionSetNode, GraphQLNamedType]:
        if isinstance(node, FragmentSpreadNode):
            node = self._fragments[node.name.value]
        assert isinstance(node, (InlineFragmentNode, FragmentDefinitionNode))
        condition = node.type_condition
        return node.selection_set, self._admin.schema.type_map[condition.name.value] if condition else parent

    def _field(self, node: FieldNode, parent: GraphQLNamedType, data: Any, key: str) -> float:
        name = node.name.value
        definition = getattr(parent, "fields", {}).get(name)
        if definition is None:
            return 0
        kind = get_named_type(definition.type)
        if data is _STATIC:
            self._check(parent, name, kind)
        if is_leaf_type(kind):
            self._leaves.add(id(node))
            return 0
        value = data if data is _STATIC else data.get(key)
        if value is None:
            return 0
        if kind.name.endswith("Connection"):
            return self._connection(node, kind, value)
        own = 0 if kind.name in _FREE_TYPES else 1
        if isinstance(value, list):
            return own + max((self._selection(node.selection_set, kind, one) for one in value), default=0)
        return own + self._selection(node.selection_set, kind, value)

    def _check(self, parent: GraphQLNamedType, name: str, kind: GraphQLNamedType) -> None:
        scopes = self._admin.scopes
        needed = scopes.get(f"{parent.name}.{name}") or scopes.get(kind.name.removesuffix("Connection"))
        if needed and not self._granted.intersection(needed):
            self.denied[parent.name, name] = required(needed)

    def may_read(self, kind: str) -> bool:
        """Whether the app's scopes open a type."""
        needed = self._admin.scopes.get(kind)
        return not needed or bool(self._granted.intersection(needed))

    def _connection(self, node: FieldNode, kind: GraphQLNamedType, value: Any) -> float:
        assert isinstance(kind, GraphQLObjectType)
        assert node.selection_set is not None
        costs: dict[int, float] = {}
        for place, one in enumerate(_rows(value)):
            costs[place] = self._row(node.selection_set, kind, one)
        if value is not _STATIC:
            mean = sum(costs.values()) / len(costs) if costs else 0
            return _CONNECTION_COST + _size(len(costs)) * mean
        return _CONNECTION_COST + _size(self._wanted(node)) * costs[0]

    def _row(self, selection: SelectionSetNode, kind: GraphQLObjectType, row: Any) -> float:
        """A node's cost, however it is asked for; other fields of the connection are free."""
        price: float = 0
        for node in selection.selections:
            if not isinstance(node, FieldNode):
                inner, _ = self._fragment(node, kind)
                price = max(price, self._row(inner, kind, row))
                continue
            definition = kind.fields.get(node.name.value)
            below = get_named_type(definition.type) if definition else None
            if node.name.value == "edges" and isinstance(below, GraphQLObjectType) and node.selection_set:
                price = max(price, self._edge(node.selection_set, below, row))
            elif node.name.value == "nodes" and below:
                price = max(price, 1 + self._selection(node.selection_set, below, row))
        return price

    def _edge(self, selection: SelectionSetNode, kind: GraphQLObjectType, row: Any) -> float:
        for node in selection.selections:
            if isinstance(node, FieldNode) and node.name.value == "node":
                below = get_named_type(kind.fields["node"].type)
                return 1 + self._selection(node.selection_set, below, row)
        return 0

    def _wanted(self, node: FieldNode) -> int:
        for argument in node.arguments or ():
            if argument.name.value in ("first", "last"):
                value = argument.value
                given = self._variables.get(value.name.value) if isinstance(value, VariableNode) else None
                given = int(value.value) if isinstance(value, IntValueNode) else given
                return given if isinstance(given, int) else 0
        return 0


def _rows(value: Any) -> list[Any]:
    if value is _STATIC:
        return [_STATIC]
    if value.get("nodes") is not None:
        return list(value["nodes"])
    return [edge.get("node", {}) for edge in value.get("edges") or []]


def _size(nodes: int) -> int:
    return max(1, math.floor(2 * math.log(nodes))) if nodes > 0 else 0
