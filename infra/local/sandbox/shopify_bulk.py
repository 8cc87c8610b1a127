"""Bulk operations: one query over everything, worked off in steps, its result a file of JSON lines.

https://shopify.dev/docs/api/usage/bulk-operations/queries. The work is done a little at a time, whenever somebody
asks for an operation and whenever the background worker comes by.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLNamedType,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    get_named_type,
)

from infra.local.sandbox.shopify_graphql import executed
from infra.local.sandbox.shopify_resolvers import Context, Window
from infra.local.sandbox.shopify_schema import Documents, Meter, Refused, admin, operation_of
from infra.local.sandbox.shopify_shop import Json, Shop, gid, utc

STORAGE_HOST = "storage.googleapis.com"
RESULT_LIFE = 7 * 86_400
_FOLDER = "shopify-tiers-assets-prod-us-east1/bulk-operation-outputs"
_CONCURRENT = 5
_MOST_CONNECTIONS = 5
_DEEPEST = 2
_ROWS_PER_STEP = 50
_ACTIVE = ("CREATED", "RUNNING", "CANCELING")


@dataclass
class Operation:
    """One bulk operation."""

    id: int
    query: str
    group: bool
    created: int
    name: str
    """Of its file."""
    document: DocumentNode
    scopes: tuple[str, ...]
    status: str = "CREATED"
    completed: int | None = None
    error_code: str | None = None
    object_count: int = 0
    root_count: int = 0
    file_size: int | None = None
    url: str | None = None
    expires: int = 0
    signature: str = ""
    result: bytes = b""
    lines: list[bytes] = field(default_factory=list)
    next_row: int = 0
    exhausted: bool = False
    listed: dict[str, Any] = field(default_factory=dict)


class Bulk:
    """The bulk operations of the app in one shop."""

    def __init__(self, shop: Shop, context: Callable[[], Context], documents: Documents) -> None:
        self.operations: dict[int, Operation] = {}
        self.seconds = 1.0
        """How long an operation takes at least, by the shop's clock."""
        self._shop = shop
        self._context = context
        self._documents = documents
        self._last_id = 4_000_000_000_000

    def run(self, query: str, *, group: bool) -> tuple[Operation | None, list[Json]]:
        """A new operation, or what is wrong with its query."""
        if sum(one.status in _ACTIVE for one in self.operations.values()) >= _CONCURRENT:
            message = f"The limit of {_CONCURRENT} bulk query operations running at once is reached."
            return None, [{"field": None, "message": message, "code": "LIMIT_REACHED"}]
        try:
            document = self._documents.read(query)
        except Refused as refused:
            messages = ", ".join(error["message"] for error in refused.errors)
            return None, [_invalid(f"Invalid bulk query: {messages}")]
        wrong = _wrong(document)
        if wrong:
            return None, [_invalid(wrong)]
        self._last_id += 1
        name = f"bulk-{self._last_id}-{self._shop.random.getrandbits(64):016x}"
        scopes = self._context().scopes
        made = Operation(self._last_id, query, group, self._shop.now(), name, document, scopes)
        self.operations[made.id] = made
        return made, []

    def cancel(self, id: int) -> tuple[Operation | None, list[Json]]:
        """Stop an operation; it is cancelled at the next look."""
        found = self.operations.get(id)
        if found is None:
            return None, [{"field": ["id"], "message": "Bulk operation does not exist"}]
        if found.status not in _ACTIVE:
            message = f"A bulk operation cannot be canceled when it is {found.status.lower()}"
            return found, [{"field": None, "message": message}]
        found.status = "CANCELING"
        return found, []

    def advance(self, seconds: float) -> None:
        """Work on what is running, for about so long."""
        until = time.monotonic() + seconds
        for one in [one for one in self.operations.values() if one.status in _ACTIVE]:
            self._advance(one, until)

    def stop(self) -> None:
        """The app is uninstalled: what runs is cancelled."""
        for one in self.operations.values():
            one.status = "CANCELED" if one.status in _ACTIVE else one.status

    def _advance(self, one: Operation, until: float) -> None:
        if one.status == "CANCELING":
            self._end(one, "CANCELED")
            return
        one.status = "RUNNING"
        while not one.exhausted and not one.error_code:
            self._step(one)
            if time.monotonic() >= until:
                break
        if one.error_code:
            self._end(one, "FAILED")
        elif one.exhausted and self._shop.precisely() - one.created >= self.seconds:
            self._finish(one)

    def _step(self, one: Operation) -> None:
        context = self._context()
        context.scopes = one.scopes
        context.window = Window(one.next_row, one.next_row + _ROWS_PER_STEP, one.listed)
        operation = operation_of(one.document, None)
        assert operation is not None
        context.meter = Meter(one.document, {}, one.scopes)
        context.meter.requested(operation)
        answer = executed(context, one.document, {})
        if answer.get("errors"):
            codes = {error.get("extensions", {}).get("code") for error in answer["errors"]}
            one.error_code = "ACCESS_DENIED" if "ACCESS_DENIED" in codes else "INTERNAL_SERVER_ERROR"
            return
        roots, rest = _flattened(one.document, operation, answer["data"], group=one.group)
        one.lines += [_line(row) for row in (*roots, *rest)]
        one.root_count += sum("__parentId" not in row for row in roots)
        one.object_count += len(roots) + len(rest)
        one.next_row += _ROWS_PER_STEP
        one.exhausted = all(len(keys) <= one.next_row for keys in one.listed.values())

    def _finish(self, one: Operation) -> None:
        one.result = b"".join(one.lines)
        one.lines = []
        one.expires = self._shop.now() + RESULT_LIFE
        one.signature = f"{self._shop.random.getrandbits(256):064x}"
        if one.object_count:
            one.file_size = len(one.result)
            account = quote("assets-us-prod@shopify-tiers.iam.gserviceaccount.com")
            signed = f"GoogleAccessId={account}&Expires={one.expires}&Signature={one.signature}"
            disposition = quote(f'attachment; filename="{one.name}.jsonl"', safe="")
            one.url = (
                f"https://{STORAGE_HOST}/{_FOLDER}/{one.name}-final?{signed}"
                f"&response-content-disposition={disposition}&response-content-type=application%2Fjsonl"
            )
        self._end(one, "COMPLETED")

    def _end(self, one: Operation, status: str) -> None:
        one.status, one.completed = status, self._shop.now()
        one.lines = []
        self._shop.on_event(
            "bulk_operations/finish",
            {
                "admin_graphql_api_id": gid("BulkOperation", one.id),
                "completed_at": self._shop.local(one.completed),
                "created_at": self._shop.local(one.created),
                "error_code": one.error_code.lower() if one.error_code else None,
                "status": status.lower(),
                "type": "query",
            },
        )


def named(operations: Mapping[int, Operation], path: str) -> Operation | None:
    """The operation whose file has this path."""
    for one in operations.values():
        if one.url and path == f"/{_FOLDER}/{one.name}-final":
            return one
    return None


def expired(one: Operation, now: int) -> str:
    """What the storage says of an address that has run out."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><Error><Code>ExpiredToken</Code>'
        f"<Message>Invalid argument.</Message><Details>The provided token has expired. Request signature expired at: "
        f"{utc(one.expires)}, now {utc(now)}</Details></Error>"
    )


def _invalid(message: str) -> Json:
    return {"field": ["query"], "message": message, "code": "INVALID"}


def _line(row: Json) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


class _Selected(NamedTuple):
    """A field in a selection, with its type."""

    key: str
    node: FieldNode
    kind: GraphQLNamedType

    @property
    def is_connection(self) -> bool:
        """Whether its rows become lines of their own."""
        return self.kind.name.endswith("Connection")


def _selected(
    document: DocumentNode, selection: SelectionSetNode | None, parent: GraphQLNamedType
) -> Iterator[_Selected]:
    for node in selection.selections if selection else ():
        if isinstance(node, FieldNode):
            definition = getattr(parent, "fields", {}).get(node.name.value)
            key = node.alias.value if node.alias else node.name.value
            if definition:
                yield _Selected(key, node, get_named_type(definition.type))
            continue
        inner: Any = node
        if isinstance(node, FragmentSpreadNode):
            fragments = (one for one in document.definitions if isinstance(one, FragmentDefinitionNode))
            inner = next(one for one in fragments if one.name.value == node.name.value)
        assert isinstance(inner, (InlineFragmentNode, FragmentDefinitionNode))
        kind = admin().schema.type_map[inner.type_condition.name.value] if inner.type_condition else parent
        yield from _selected(document, inner.selection_set, kind)


def _row_selection(document: DocumentNode, connection: _Selected) -> tuple[SelectionSetNode | None, GraphQLNamedType]:
    """What is selected of each node of a connection."""
    for one in _selected(document, connection.node.selection_set, connection.kind):
        if one.node.name.value == "nodes":
            return one.node.selection_set, one.kind
        if one.node.name.value == "edges":
            for inner in _selected(document, one.node.selection_set, one.kind):
                if inner.node.name.value == "node":
                    return inner.node.selection_set, inner.kind
    return None, connection.kind


def _wrong(document: DocumentNode) -> str:
    operation = operation_of(document, None)
    if operation is None or operation.operation is not OperationType.QUERY:
        return "The bulk operation query must be one query."
    root = admin().schema.query_type
    assert root is not None
    tops = [*_selected(document, operation.selection_set, root)]
    if any(one.key in ("node", "nodes") for one in tops):
        return "Bulk queries cannot use the top-level fields `node` and `nodes`."
    found = [*_connections(document, operation.selection_set, root, 1)]
    if not found:
        return "Bulk queries must contain at least one connection."
    if len(found) > _MOST_CONNECTIONS:
        return f"Bulk queries cannot contain more than {_MOST_CONNECTIONS} connections."
    if max(depth for _, depth, _ in found) > _DEEPEST:
        return f"Bulk queries cannot contain connections with a nesting depth greater than {_DEEPEST}."
    unnamed = next((name for name, _, named_parent in found if not named_parent), None)
    return f"The parent 'node' field for a nested connection must select the 'id' field: {unnamed}" if unnamed else ""


def _connections(
    document: DocumentNode, selection: SelectionSetNode | None, parent: GraphQLNamedType, depth: int
) -> Iterator[tuple[str, int, bool]]:
    """All connections below: name, depth, and whether the parent row's id is selected."""
    fields = [*_selected(document, selection, parent)]
    with_id = depth == 1 or any(one.node.name.value == "id" for one in fields)
    for one in fields:
        if one.is_connection:
            yield one.key, depth, with_id
            inner, kind = _row_selection(document, one)
            yield from _connections(document, inner, kind, depth + 1)


def _flattened(
    document: DocumentNode, operation: OperationDefinitionNode, data: Json, *, group: bool
) -> tuple[list[Json], list[Json]]:
    """Rows in the order of the file: with ``group`` children follow their parent, without it they come last."""
    root = admin().schema.query_type
    assert root is not None
    first: list[Json] = []
    later: list[Json] = []

    def emit(row: Any, selection: SelectionSetNode | None, kind: GraphQLNamedType, parent: str | None) -> None:
        below = [one for one in _selected(document, selection, kind) if one.is_connection]
        flat = {key: value for key, value in row.items() if key not in {one.key for one in below}}
        flat |= {"__parentId": parent} if parent else {}
        (first if group or parent is None else later).append(flat)
        for one in below:
            descend(one, row.get(one.key), row.get("id"))

    def descend(one: _Selected, connection: Any, parent: str | None) -> None:
        inner, kind = _row_selection(document, one)
        rows = connection.get("nodes") or [edge["node"] for edge in connection.get("edges") or ()]
        for row in rows:
            emit(row, inner, kind, parent)

    for one in _selected(document, operation.selection_set, root):
        if one.is_connection:
            descend(one, data[one.key], None)
    return first, later
