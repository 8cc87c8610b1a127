"""What the fields of the Admin GraphQL API give on a shop.

A field that Shopify has and this shop does not know is an error with the code ``NOT_IN_SANDBOX``, never a null
that looks like an answer.
"""

import base64
import json
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, Protocol

from graphql import (
    GraphQLError,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
)

from infra.local.sandbox.shopify_schema import API_VERSION, Meter, admin
from infra.local.sandbox.shopify_search import Fields, Search
from infra.local.sandbox.shopify_shop import (
    Json,
    Line,
    Order,
    Product,
    Shop,
    Variant,
    decimal,
    gid,
    money,
    number_of,
    utc,
)
from infra.local.sandbox.shopify_tokens import Tokens
from infra.local.sandbox.shopify_webhooks import Subscription, Webhooks

_MAX_PAGE = 250
_MAX_IDS = 250
_MOST_COUNTED = 10_000
_ORDERS_SEEN = 60 * 86_400
"""Without ``read_all_orders`` an app sees the orders of the last 60 days."""
_KEPT_LISTS = 32
_API_VERSION = {"handle": API_VERSION, "displayName": API_VERSION, "supported": True}
_FEE_RATE, _FLAT_FEE = 0.029, 30

Key = tuple[Any, int]


class Jobs(Protocol):
    """The shop's bulk operations."""

    @property
    def operations(self) -> Mapping[int, Any]:
        """All there are, oldest first."""
        ...

    def run(self, query: str, *, group: bool) -> tuple[Any, list[Json]]:
        """A new operation, or what is wrong with the query."""
        ...

    def cancel(self, id: int) -> tuple[Any, list[Json]]:
        """The operation, being cancelled."""
        ...

    def advance(self, seconds: float) -> None:
        """Work a little on what is running."""
        ...


@dataclass
class Window:
    """What one step of a bulk operation looks at: so many rows of each outermost connection, all of inner ones."""

    start: int
    end: int
    listed: dict[str, list[Key]]
    """The outermost connections as they were when the operation began."""


@dataclass
class Context:
    """What resolvers work on."""

    shop: Shop
    tokens: Tokens
    webhooks: Webhooks
    jobs: Jobs
    lists: "Lists"
    uninstall: Callable[[], None]
    client_id: str
    scopes: tuple[str, ...] = ()
    hide_closed: bool = True
    meter: Meter | None = None
    window: Window | None = None
    searches: list[Json] = field(default_factory=list)
    """Warnings about search queries, for ``extensions.search``."""


Info = GraphQLResolveInfo[Context]


class Rows(NamedTuple):
    """One page of a connection."""

    keys: Sequence[Key]
    node: Callable[[int], Any]
    after: bool
    before: bool


# Connections


class Lists:
    """What connections list, in order, kept until the shop changes."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._kept: OrderedDict[tuple[Any, ...], tuple[list[Key], list[tuple[str, str]]]] = OrderedDict()
        self._version = -1

    def get(
        self, wanted: tuple[Any, ...], make: Callable[[], tuple[list[Key], list[tuple[str, str]]]]
    ) -> tuple[list[Key], list[tuple[str, str]]]:
        """The list, made when it is not known for this version of the shop."""
        if self._version != self._shop.version:
            self._kept.clear()
            self._version = self._shop.version
        if wanted not in self._kept:
            self._kept[wanted] = make()
            if len(self._kept) > _KEPT_LISTS:
                self._kept.popitem(last=False)
        return self._kept[wanted]


def refuse(message: str, code: str = "BAD_REQUEST", **more: Any) -> GraphQLError:
    """An error at a field, with its code."""
    return GraphQLError(message, extensions={"code": code, **more})


def _cursor(key: Key) -> str:
    value, id = key
    return base64.b64encode(json.dumps({"last_id": id, "last_value": value}).encode()).decode()


def _from_cursor(text: str) -> Key:
    try:
        read = json.loads(base64.b64decode(text, validate=True))
        return read["last_value"], int(read["last_id"])
    except (ValueError, KeyError, TypeError) as wrong:
        raise refuse("Invalid cursor for current pagination sort.") from wrong


def _page(info: Info, keys: list[Key], node: Callable[[int], Any], args: Json) -> Rows:
    window: Window | None = info.context.window
    if window:
        return _windowed(info, window, keys, node)
    many = args.get("first") if args.get("first") is not None else args.get("last")
    if many is None:
        raise refuse("you must provide one of first or last")
    if many < 0 or many > _MAX_PAGE:
        raise refuse(f"{info.field_name}: first and last must lie between 0 and {_MAX_PAGE}, not {many}")
    reverse = bool(args.get("reverse"))
    try:
        start, end = _bounds(keys, args, reverse=reverse)
    except TypeError as mixed:  # the cursor of another sort order
        raise refuse("Invalid cursor for current pagination sort.") from mixed
    if args.get("first") is not None:
        low, high = start, min(end, start + many)
    else:
        low, high = max(start, end - many), end
    rows = keys[low:high] if not reverse else keys[len(keys) - high : len(keys) - low][::-1]
    return Rows(rows, node, high < len(keys), low > 0)


def _bounds(keys: list[Key], args: Json, *, reverse: bool) -> tuple[int, int]:
    """Where the page may begin and end: cursors are keys, and hold even when their own row has gone or moved."""
    start, end = 0, len(keys)
    if args.get("after"):
        key = _from_cursor(args["after"])
        start = len(keys) - bisect_left(keys, key) if reverse else bisect_right(keys, key)
    if args.get("before"):
        key = _from_cursor(args["before"])
        end = len(keys) - bisect_right(keys, key) if reverse else bisect_left(keys, key)
    return start, max(start, end)


def _windowed(info: Info, window: Window, keys: list[Key], node: Callable[[int], Any]) -> Rows:
    if info.path.prev is not None:
        return Rows(keys, node, after=False, before=False)
    listed = window.listed.setdefault(str(info.path.key), keys)
    return Rows(listed[window.start : window.end], node, after=window.end < len(listed), before=False)


def _of_list(info: Info, nodes: Sequence[Any], args: Json) -> Rows:
    """A page of a short list that has its own order."""
    return _page(info, [(place, place) for place in range(len(nodes))], nodes.__getitem__, args)


_CONNECTION: dict[str, Callable[..., Any]] = {
    "nodes": lambda rows, _: [rows.node(id) for _, id in rows.keys],
    "edges": lambda rows, _: [(key, rows.node(key[1])) for key in rows.keys],
    "pageInfo": lambda rows, _: {
        "hasNextPage": rows.after,
        "hasPreviousPage": rows.before,
        "startCursor": _cursor(rows.keys[0]) if rows.keys else None,
        "endCursor": _cursor(rows.keys[-1]) if rows.keys else None,
    },
}
_EDGE: dict[str, Callable[..., Any]] = {
    "cursor": lambda edge, _: _cursor(edge[0]),
    "node": lambda edge, _: edge[1],
}

# Orders and products


def _order_status(order: Order) -> tuple[str, ...]:
    if order.cancelled:
        return ("cancelled", "closed", "any") if order.closed else ("cancelled", "not_closed", "any")
    return ("closed", "any") if order.closed else ("open", "not_closed", "any")


_ORDER_FIELDS: Fields = {
    "created_at": lambda order: order.created,
    "updated_at": lambda order: order.updated,
    "processed_at": lambda order: order.created,
    "id": lambda order: order.id,
    "name": lambda order: (f"#{order.number}", str(order.number)),
    "status": _order_status,
    "financial_status": lambda order: order.financial,
    "fulfillment_status": lambda order: (
        order.fulfillment,
        *(["unshipped"] if order.fulfillment == "UNFULFILLED" else []),
    ),
    "tag": lambda order: order.tags,
    "email": lambda order: f"buyer{order.buyer}@example.com",
    "gateway": lambda order: order.gateway,
    "test": lambda _: "false",
}
_PRODUCT_FIELDS: Fields = {
    "created_at": lambda product: product.created,
    "updated_at": lambda product: product.updated,
    "published_at": lambda product: product.published,
    "id": lambda product: product.id,
    "title": lambda product: product.title,
    "handle": lambda product: product.handle,
    "status": lambda product: product.status,
    "vendor": lambda product: product.vendor,
    "product_type": lambda product: product.product_type,
    "tag": lambda product: product.tags,
    "sku": lambda product: [variant.sku for variant in product.variants],
    "gift_card": lambda _: "false",
}
_ORDER_SORT: Mapping[str, Callable[[Order], Any]] = {
    "CREATED_AT": lambda order: order.created,
    "PROCESSED_AT": lambda order: order.created,
    "UPDATED_AT": lambda order: order.updated,
    "ID": lambda order: order.id,
    "ORDER_NUMBER": lambda order: order.number,
}
_PRODUCT_SORT: Mapping[str, Callable[[Product], Any]] = {
    "CREATED_AT": lambda product: product.created,
    "UPDATED_AT": lambda product: product.updated,
    "PUBLISHED_AT": lambda product: product.published or 0,
    "ID": lambda product: product.id,
    "TITLE": lambda product: product.title.casefold(),
    "VENDOR": lambda product: product.vendor,
    "PRODUCT_TYPE": lambda product: product.product_type,
    "INVENTORY_TOTAL": lambda product: sum(variant.inventory or 0 for variant in product.variants),
}


def _seen(context: Context, order: Order) -> bool:
    """Whether the app may see an order that old."""
    return "read_all_orders" in context.scopes or order.created >= context.shop.now() - _ORDERS_SEEN


def _list_orders(context: Context, query: str, sort: str) -> tuple[list[Key], list[tuple[str, str]]]:
    search = Search(_ORDER_FIELDS, context.shop.zone, lambda order: f"#{order.number} {order.note or ''}")
    test = search.read(query)
    # platforms.md 1.4: closed orders come only where they are asked for.
    all_of_them = not context.hide_closed or bool({"status", "id", "name"} & search.named)
    kept = (
        order
        for order in context.shop.orders.values()
        if _seen(context, order) and (all_of_them or not (order.closed or order.cancelled)) and test(order)
    )
    return _keyed(kept, _ORDER_SORT, sort), search.warnings


def _list_products(context: Context, query: str, sort: str) -> tuple[list[Key], list[tuple[str, str]]]:
    search = Search(_PRODUCT_FIELDS, context.shop.zone, lambda product: product.title)
    test = search.read(query)
    kept = (product for product in context.shop.products.values() if test(product))
    return _keyed(kept, _PRODUCT_SORT, sort), search.warnings


def _keyed(kept: Iterable[Any], sorts: Mapping[str, Callable[[Any], Any]], sort: str) -> list[Key]:
    if sort not in sorts:
        raise refuse(f"The sandbox does not sort by {sort}.", "NOT_IN_SANDBOX")
    of = sorts[sort]
    return sorted((of(one), one.id) for one in kept)


def _found(info: Info, kind: str, args: Json) -> list[Key]:
    context: Context = info.context
    query = args.get("query") or ""
    make, default = (_list_orders, "PROCESSED_AT") if kind == "orders" else (_list_products, "ID")
    sort = args.get("sortKey") or default
    # What is too old to be seen changes with time.
    minute = context.shop.now() // 60
    wanted = (kind, query, sort, minute, context.scopes, context.hide_closed)
    keys, warnings = context.lists.get(wanted, lambda: make(context, query, sort))
    if warnings:
        told = [{"field": name, "message": why, "code": "invalid_field"} for name, why in warnings]
        context.searches.append({"path": [info.field_name], "query": query, "warnings": told})
    return keys


def _counted(info: Info, kind: str, args: Json) -> Json:
    limit = args.get("limit", _MOST_COUNTED)
    there = len(_found(info, kind, args))
    if limit is None or there <= limit:
        return {"count": there, "precision": "EXACT"}
    return {"count": limit, "precision": "AT_LEAST"}


def _one_order(context: Context, id: object) -> Order | None:
    order = context.shop.orders.get(_number(id, "Order"))
    return order if order and _seen(context, order) else None


def _one_product(context: Context, id: object) -> Product | None:
    return context.shop.products.get(_number(id, "Product"))


def _one_variant(context: Context, id: object) -> tuple[Product, Variant] | None:
    return context.shop.find_variant(_number(id, "ProductVariant"))


def _number(id: object, kind: str) -> int:
    text = str(id)
    if not text.startswith("gid://shopify/") and not text.isdigit():
        raise refuse(f"Invalid global id '{text}'", "INVALID_GLOBAL_ID")
    try:
        number = number_of(text.partition("?")[0])
    except ValueError as wrong:
        raise refuse(f"Invalid global id '{text}'", "INVALID_GLOBAL_ID") from wrong
    return number if text.isdigit() or text.split("/")[-2] == kind else -1


# Types


def _bag(context: Context, amount: int) -> Json:
    one = {"amount": decimal(amount), "currencyCode": context.shop.currency}
    return {"shopMoney": one, "presentmentMoney": one}


def _shop(context: Context) -> Json:
    shop = context.shop
    return {
        "__typename": "Shop",
        "id": gid("Shop", shop.id),
        "name": f"Shop {shop.name}",
        "email": f"owner@{shop.name}.example.com",
        "contactEmail": f"owner@{shop.name}.example.com",
        "myshopifyDomain": shop.domain,
        "url": f"https://{shop.domain}",
        "primaryDomain": {"host": shop.domain, "url": f"https://{shop.domain}", "id": gid("Domain", shop.id)},
        "currencyCode": shop.currency,
        "enabledPresentmentCurrencies": [shop.currency],
        "ianaTimezone": shop.timezone,
        "timezoneAbbreviation": "",
        "plan": {
            "publicDisplayName": shop.plan,
            "displayName": shop.plan,
            "partnerDevelopment": False,
            "shopifyPlus": shop.plan == "Plus",
        },
        "taxesIncluded": False,
        "weightUnit": "KILOGRAMS",
        "createdAt": utc(1_600_000_000),
        "updatedAt": utc(1_600_000_000),
    }


def _customer(context: Context, order: Order) -> Json | None:
    if order.buyer is None:
        return None
    email = f"buyer{order.buyer}@example.com"
    return {
        "__typename": "Customer",
        "id": gid("Customer", 7_000_000_000_000 + order.buyer),
        "legacyResourceId": str(7_000_000_000_000 + order.buyer),
        "firstName": "Buyer",
        "lastName": str(order.buyer),
        "displayName": f"Buyer {order.buyer}",
        "email": email,
        "defaultEmailAddress": {"emailAddress": email},
        "phone": None,
        "defaultPhoneNumber": None,
        "locale": "en",
        "note": None,
        "tags": [],
        "verifiedEmail": True,
        "defaultAddress": _address(context, order),
    }


def _address(_: Context, order: Order) -> Json:
    rest = order.address()
    return {
        "__typename": "MailingAddress",
        "id": gid("MailingAddress", order.id) + "?model_name=Address",
        "firstName": rest["first_name"],
        "lastName": rest["last_name"],
        "name": rest["name"],
        "company": rest["company"],
        "address1": rest["address1"],
        "address2": rest["address2"],
        "city": rest["city"],
        "zip": rest["zip"],
        "province": rest["province"],
        "provinceCode": rest["province_code"],
        "country": rest["country"],
        "countryCode": rest["country_code"],
        "countryCodeV2": rest["country_code"],
        "phone": rest["phone"],
        "formatted": [rest["address1"], rest["city"], rest["country"]],
        "latitude": None,
        "longitude": None,
    }


def _transactions(context: Context, order: Order) -> list[Json]:
    done: list[tuple[str, str, int]] = []
    if order.financial in ("AUTHORIZED", "EXPIRED", "VOIDED"):
        done.append(("AUTHORIZATION", "SUCCESS", order.total))
    elif order.financial == "PENDING":
        done.append(("SALE", "PENDING", order.total))
    else:
        done.append(("SALE", "SUCCESS", order.received))
    if order.financial == "VOIDED":
        done.append(("VOID", "SUCCESS", order.total))
    if order.given_back:
        done.append(("REFUND", "SUCCESS", order.given_back))
    return [_transaction(context, order, place, *one) for place, one in enumerate(done)]


def _transaction(context: Context, order: Order, place: int, kind: str, status: str, amount: int) -> Json:
    id = order.id + 1_000_000_000_000 + place
    with_fee = kind == "SALE" and status == "SUCCESS" and order.gateway == "shopify_payments"
    return {
        "__typename": "OrderTransaction",
        "id": gid("OrderTransaction", id),
        "kind": kind,
        "status": status,
        "gateway": order.gateway,
        "formattedGateway": order.gateway.replace("_", " ").title(),
        "test": False,
        "amount": money(amount),
        "amountSet": _bag(context, amount),
        "createdAt": utc(order.created),
        "processedAt": utc(order.created),
        "paymentId": f"{order.number}.{place + 1}",
        "errorCode": None,
        "parentTransaction": None,
        "fees": [_fee(context, id, amount)] if with_fee else [],
    }


def _fee(context: Context, id: int, amount: int) -> Json:
    def one(part: int) -> Json:
        return {"amount": decimal(part), "currencyCode": context.shop.currency}

    return {
        "__typename": "TransactionFee",
        "id": gid("TransactionFee", id),
        "amount": one(round(amount * _FEE_RATE) + _FLAT_FEE),
        "flatFee": one(_FLAT_FEE),
        "flatFeeName": "Per transaction",
        "rate": str(_FEE_RATE),
        "rateName": "Card rate",
        "taxAmount": one(0),
        "type": "processing_fee",
    }


def _shipping(context: Context, order: Order) -> Json:
    return {
        "id": gid("ShippingLine", order.id + 1),
        "title": "Standard",
        "code": "Standard",
        "source": "shopify",
        "originalPriceSet": _bag(context, order.shipping),
        "discountedPriceSet": _bag(context, order.shipping),
    }


def _attributes(pairs: Iterable[tuple[str, str]]) -> list[Json]:
    return [{"key": key, "value": value} for key, value in pairs]


def _image(product: Product) -> Json | None:
    if product.image is None:
        return None
    return {
        "id": gid("ImageSource", product.id),
        "url": product.image,
        "src": product.image,
        "originalSrc": product.image,
        "altText": product.title,
        "width": 800,
        "height": 600,
    }


def _media(product: Product) -> Json | None:
    image = _image(product)
    if image is None:
        return None
    return {
        "__typename": "MediaImage",
        "id": gid("MediaImage", product.id + 1),
        "alt": product.title,
        "mediaContentType": "IMAGE",
        "status": "READY",
        "image": image,
        "preview": {"image": image, "status": "READY"},
    }


def _amount_range(context: Context, product: Product) -> Json:
    prices = [variant.price for variant in product.variants] or [0]
    ends = (("minVariantPrice", min(prices)), ("maxVariantPrice", max(prices)))
    return {name: {"amount": decimal(price), "currencyCode": context.shop.currency} for name, price in ends}


def _variants(product: Product) -> list[tuple[Product, Variant]]:
    return [(product, variant) for variant in product.variants]


def _options(product: Product) -> list[Json]:
    found: dict[str, dict[str, None]] = {}
    for variant in product.variants:
        for name, value in variant.options or (("Title", variant.title),):
            found.setdefault(name, {})[value] = None
    return [
        {"id": gid("ProductOption", product.id + place), "name": name, "position": place + 1, "values": list(values)}
        for place, (name, values) in enumerate(found.items())
    ]


def _line_product(context: Context, line: Line) -> Product | None:
    return context.shop.products.get(line.product_id or 0)


def _line_variant(context: Context, line: Line) -> tuple[Product, Variant] | None:
    return context.shop.find_variant(line.variant_id, line.product_id) if line.variant_id else None


def _operation(context: Context, id: object) -> Any:
    context.jobs.advance(0.2)
    return context.jobs.operations.get(_number(id, "BulkOperation"))


_NODES: Mapping[str, Callable[[Context, object], Any]] = {
    "Order": _one_order,
    "Product": _one_product,
    "ProductVariant": _one_variant,
    "Shop": lambda context, given: _shop(context) if _number(given, "Shop") == context.shop.id else None,
    "WebhookSubscription": lambda context, given: context.webhooks.subscriptions.get(
        _number(given, "WebhookSubscription")
    ),
    "BulkOperation": _operation,
}


def _node(context: Context, id: object) -> Any:
    parts = str(id).split("/")
    kind = parts[-2] if len(parts) > 2 else ""
    if kind in _NODES and context.meter and not context.meter.may_read(kind):
        raise refuse("Access denied for node field.", "ACCESS_DENIED")
    if kind not in _NODES:
        _number(id, kind)
        return None
    return _NODES[kind](context, id)


def _nodes(context: Context, ids: Sequence[object]) -> list[Any]:
    if len(ids) > _MAX_IDS:
        raise refuse(f"The input array size of {len(ids)} is greater than the maximum allowed of {_MAX_IDS}.")
    return [_node(context, id) for id in ids]


Plain = Callable[[Any, Context], Any]

_ORDER: Mapping[str, Plain] = {
    "id": lambda order, _: gid("Order", order.id),
    "legacyResourceId": lambda order, _: str(order.id),
    "name": lambda order, _: f"#{order.number}",
    "number": lambda order, _: order.number,
    "createdAt": lambda order, _: utc(order.created),
    "updatedAt": lambda order, _: utc(order.updated),
    "processedAt": lambda order, _: utc(order.created),
    "closedAt": lambda order, _: utc(order.closed),
    "closed": lambda order, _: order.closed is not None,
    "cancelledAt": lambda order, _: utc(order.cancelled),
    "cancelReason": lambda order, _: order.cancel_reason,
    "displayFinancialStatus": lambda order, _: order.financial,
    "displayFulfillmentStatus": lambda order, _: order.fulfillment,
    "currencyCode": lambda _, context: context.shop.currency,
    "presentmentCurrencyCode": lambda _, context: context.shop.currency,
    "note": lambda order, _: order.note,
    "tags": lambda order, _: list(order.tags),
    "email": lambda order, _: None if order.buyer is None else f"buyer{order.buyer}@example.com",
    "phone": lambda *_: None,
    "test": lambda *_: False,
    "confirmed": lambda *_: True,
    "edited": lambda *_: False,
    "taxesIncluded": lambda *_: False,
    "requiresShipping": lambda *_: True,
    "merchantEditable": lambda *_: True,
    "sourceName": lambda *_: "web",
    "fullyPaid": lambda order, _: order.financial == "PAID",
    "unpaid": lambda order, _: order.received == 0,
    "refundable": lambda order, _: order.received > order.given_back,
    "paymentGatewayNames": lambda order, _: [order.gateway],
    "discountCodes": lambda *_: [],
    "discountCode": lambda *_: None,
    "taxLines": lambda *_: [],
    "returnStatus": lambda *_: "NO_RETURN",
    "customerLocale": lambda *_: "en",
    "billingAddressMatchesShippingAddress": lambda *_: True,
    "poNumber": lambda *_: None,
    "app": lambda *_: None,
    "channelInformation": lambda *_: None,
    "paymentTerms": lambda *_: None,
    "currentTotalDutiesSet": lambda *_: None,
    "currentTotalAdditionalFeesSet": lambda *_: None,
    "shippingLine": lambda order, context: _shipping(context, order),
    "fulfillments": lambda *_: [],
    "refunds": lambda *_: [],
    "customAttributes": lambda order, _: _attributes(order.attributes),
    "customer": lambda order, context: _customer(context, order),
    "shippingAddress": lambda order, context: _address(context, order),
    "billingAddress": lambda order, context: _address(context, order),
    "displayAddress": lambda order, context: _address(context, order),
    "statusPageUrl": lambda order, context: f"https://{context.shop.domain}/{context.shop.id}/orders/{order.id:x}",
    "subtotalLineItemsQuantity": lambda order, _: sum(line.quantity for line in order.lines),
    "currentSubtotalLineItemsQuantity": lambda order, _: (
        0 if order.cancelled else sum(line.quantity for line in order.lines)
    ),
    "transactions": lambda order, context: _transactions(context, order),
    "totalPriceSet": lambda order, context: _bag(context, order.total),
    "originalTotalPriceSet": lambda order, context: _bag(context, order.total),
    "currentTotalPriceSet": lambda order, context: _bag(context, order.current_total),
    "subtotalPriceSet": lambda order, context: _bag(context, order.subtotal),
    "currentSubtotalPriceSet": lambda order, context: _bag(context, max(0, order.current_total - order.shipping)),
    "totalShippingPriceSet": lambda order, context: _bag(context, order.shipping),
    "totalTaxSet": lambda _, context: _bag(context, 0),
    "currentTotalTaxSet": lambda _, context: _bag(context, 0),
    "totalDiscountsSet": lambda order, context: _bag(context, order.discount),
    "currentTotalDiscountsSet": lambda order, context: _bag(context, order.discount),
    "totalRefundedSet": lambda order, context: _bag(context, order.given_back),
    "totalReceivedSet": lambda order, context: _bag(context, order.received),
    "netPaymentSet": lambda order, context: _bag(context, order.received - order.given_back),
    "totalOutstandingSet": lambda order, context: _bag(context, max(0, order.current_total - order.received)),
    "totalPrice": lambda order, _: money(order.total),
}
_LINE: Mapping[str, Plain] = {
    "id": lambda line, _: gid("LineItem", line.id),
    "title": lambda line, _: line.title,
    "name": lambda line, _: f"{line.title} - {line.variant_title}" if line.variant_title else line.title,
    "variantTitle": lambda line, _: line.variant_title,
    "sku": lambda line, _: line.sku,
    "quantity": lambda line, _: line.quantity,
    "currentQuantity": lambda line, _: line.quantity,
    "refundableQuantity": lambda line, _: line.quantity,
    "nonFulfillableQuantity": lambda *_: 0,
    "fulfillmentStatus": lambda *_: "unfulfilled",
    "unfulfilledQuantity": lambda line, _: line.quantity,
    "requiresShipping": lambda *_: True,
    "taxable": lambda *_: True,
    "isGiftCard": lambda *_: False,
    "vendor": lambda *_: None,
    "taxLines": lambda *_: [],
    "discountAllocations": lambda *_: [],
    "duties": lambda *_: [],
    "image": lambda *_: None,
    "sellingPlan": lambda *_: None,
    "customAttributes": lambda line, _: _attributes(line.attributes),
    "product": lambda line, context: _line_product(context, line),
    "variant": lambda line, context: _line_variant(context, line),
    "originalUnitPriceSet": lambda line, context: _bag(context, line.price),
    "discountedUnitPriceSet": lambda line, context: _bag(context, line.price),
    "discountedUnitPriceAfterAllDiscountsSet": lambda line, context: _bag(context, line.price),
    "originalTotalSet": lambda line, context: _bag(context, line.price * line.quantity),
    "discountedTotalSet": lambda line, context: _bag(context, line.price * line.quantity),
    "totalDiscountSet": lambda _, context: _bag(context, 0),
}
_PRODUCT: Mapping[str, Plain] = {
    "id": lambda product, _: gid("Product", product.id),
    "legacyResourceId": lambda product, _: str(product.id),
    "title": lambda product, _: product.title,
    "handle": lambda product, _: product.handle,
    "status": lambda product, _: product.status,
    "vendor": lambda product, _: product.vendor,
    "productType": lambda product, _: product.product_type,
    "tags": lambda product, _: list(product.tags),
    "description": lambda product, _: product.description,
    "descriptionHtml": lambda product, _: product.description,
    "bodyHtml": lambda product, _: product.description,
    "createdAt": lambda product, _: utc(product.created),
    "updatedAt": lambda product, _: utc(product.updated),
    "publishedAt": lambda product, _: utc(product.published),
    "isGiftCard": lambda *_: False,
    "templateSuffix": lambda *_: None,
    "category": lambda *_: None,
    "options": lambda product, _: _options(product),
    "hasOnlyDefaultVariant": lambda product, _: not product.variants[0].options,
    "totalInventory": lambda product, _: sum(variant.inventory or 0 for variant in product.variants),
    "tracksInventory": lambda *_: True,
    "variantsCount": lambda product, _: {"count": len(product.variants), "precision": "EXACT"},
    "totalVariants": lambda product, _: len(product.variants),
    "priceRangeV2": lambda product, context: _amount_range(context, product),
    "featuredMedia": lambda product, _: _media(product),
    "featuredImage": lambda product, _: _image(product),
    "onlineStoreUrl": lambda product, context: (
        f"https://{context.shop.domain}/products/{product.handle}" if product.published else None
    ),
    "onlineStorePreviewUrl": lambda product, context: f"https://{context.shop.domain}/products/{product.handle}",
}
_VARIANT: Mapping[str, Plain] = {
    "id": lambda pair, _: gid("ProductVariant", pair[1].id),
    "legacyResourceId": lambda pair, _: str(pair[1].id),
    "title": lambda pair, _: pair[1].title,
    "displayName": lambda pair, _: f"{pair[0].title} - {pair[1].title}",
    "sku": lambda pair, _: pair[1].sku,
    "barcode": lambda pair, _: pair[1].barcode,
    "price": lambda pair, _: money(pair[1].price),
    "compareAtPrice": lambda pair, _: None if pair[1].compare_at is None else money(pair[1].compare_at),
    "position": lambda pair, _: pair[1].position,
    "inventoryQuantity": lambda pair, _: pair[1].inventory,
    "inventoryPolicy": lambda *_: "DENY",
    "availableForSale": lambda pair, _: (pair[1].inventory or 0) > 0,
    "taxable": lambda *_: True,
    "image": lambda *_: None,
    "createdAt": lambda pair, _: utc(pair[1].created),
    "updatedAt": lambda pair, _: utc(pair[1].updated),
    "product": lambda pair, _: pair[0],
    "selectedOptions": lambda pair, _: [
        {"name": name, "value": value} for name, value in pair[1].options or (("Title", pair[1].title),)
    ],
    "inventoryItem": lambda pair, _: {
        "id": gid("InventoryItem", pair[1].id + 1),
        "sku": pair[1].sku,
        "tracked": True,
        "requiresShipping": True,
    },
}
_SUBSCRIPTION: Mapping[str, Plain] = {
    "id": lambda one, _: one.gid,
    "legacyResourceId": lambda one, _: str(one.id),
    "topic": lambda one, _: one.topic,
    "uri": lambda one, _: one.uri,
    "callbackUrl": lambda one, _: one.uri,
    "endpoint": lambda one, _: {"__typename": "WebhookHttpEndpoint", "callbackUrl": one.uri},
    "format": lambda one, _: one.format,
    "includeFields": lambda one, _: list(one.include_fields),
    "metafieldNamespaces": lambda one, _: list(one.metafield_namespaces),
    "metafields": lambda *_: [],
    "filter": lambda one, _: one.filter,
    "name": lambda one, _: one.name,
    "apiVersion": lambda *_: _API_VERSION,
    "createdAt": lambda one, _: utc(one.created),
    "updatedAt": lambda one, _: utc(one.updated),
}
_OPERATION: Mapping[str, Plain] = {
    "id": lambda one, _: gid("BulkOperation", one.id),
    "status": lambda one, _: one.status,
    "type": lambda *_: "QUERY",
    "query": lambda one, _: one.query,
    "errorCode": lambda one, _: one.error_code,
    "createdAt": lambda one, _: utc(one.created),
    "completedAt": lambda one, _: utc(one.completed),
    "objectCount": lambda one, _: str(one.object_count),
    "rootObjectCount": lambda one, _: str(one.root_count),
    "fileSize": lambda one, _: None if one.file_size is None else str(one.file_size),
    "url": lambda one, _: one.url,
    "partialDataUrl": lambda *_: None,
}


def _installation(context: Context) -> Json:
    granted = {*context.tokens.scopes, *(scope.replace("write_", "read_", 1) for scope in context.tokens.scopes)}
    scopes = [{"handle": scope, "description": scope.replace("_", " ")} for scope in sorted(granted)]
    app = {"__typename": "App", "id": gid("App", 1), "apiKey": context.client_id, "title": "storelink"}
    return {"__typename": "AppInstallation", "id": gid("AppInstallation", 1), "accessScopes": scopes, "app": app}


# Roots

Root = Callable[..., Any]


def _subscriptions(info: Info, args: Json) -> Rows:
    wanted: list[Subscription] = [
        one
        for one in info.context.webhooks.subscriptions.values()
        if one.topic in (args.get("topics") or [one.topic])
        and one.uri == (args.get("uri") or args.get("callbackUrl") or one.uri)
    ]
    return _page(info, [(one.id, one.id) for one in wanted], info.context.webhooks.subscriptions.__getitem__, args)


def _operations(info: Info, args: Json) -> Rows:
    context: Context = info.context
    context.jobs.advance(0.2)
    wanted = Search(
        {"status": lambda one: one.status, "id": lambda one: one.id, "created_at": lambda one: one.created},
        context.shop.zone,
        lambda one: one.status,
    ).read(args.get("query") or "")
    kept = [(one.created, one.id) for one in context.jobs.operations.values() if wanted(one)]
    return _page(info, sorted(kept), context.jobs.operations.__getitem__, args)


def _current(info: Info, _: Json) -> Any:
    info.context.jobs.advance(0.2)
    return next(iter([*info.context.jobs.operations.values()][::-1]), None)


def _variant_rows(info: Info, args: Json) -> Rows:
    every = {
        variant.id: (product, variant)
        for product in info.context.shop.products.values()
        for _, variant in _variants(product)
    }
    return _page(info, sorted((id, id) for id in every), every.__getitem__, args)


_QUERY: Mapping[str, Callable[[Info, Json], Any]] = {
    "shop": lambda info, _: _shop(info.context),
    "currentAppInstallation": lambda info, _: _installation(info.context),
    "appInstallation": lambda info, _: _installation(info.context),
    "app": lambda info, _: _installation(info.context)["app"],
    "products": lambda info, args: _page(
        info, _found(info, "products", args), info.context.shop.products.__getitem__, args
    ),
    "product": lambda info, args: _one_product(info.context, args["id"]),
    "productsCount": lambda info, args: _counted(info, "products", args),
    "productVariants": _variant_rows,
    "productVariant": lambda info, args: _one_variant(info.context, args["id"]),
    "orders": lambda info, args: _page(info, _found(info, "orders", args), info.context.shop.orders.__getitem__, args),
    "order": lambda info, args: _one_order(info.context, args["id"]),
    "ordersCount": lambda info, args: _counted(info, "orders", args),
    "node": lambda info, args: _node(info.context, args["id"]),
    "nodes": lambda info, args: _nodes(info.context, args["ids"]),
    "webhookSubscriptions": _subscriptions,
    "webhookSubscription": lambda info, args: _node(info.context, args["id"]),
    "webhookSubscriptionsCount": lambda info, _: {
        "count": len(info.context.webhooks.subscriptions),
        "precision": "EXACT",
    },
    "bulkOperation": lambda info, args: _operation(info.context, args["id"]),
    "bulkOperations": _operations,
    "currentBulkOperation": _current,
    "publicApiVersions": lambda *_: [_API_VERSION],
}


def _create_subscription(info: Info, args: Json) -> Json:
    context: Context = info.context
    made, errors = context.webhooks.create(args["topic"], args["webhookSubscription"], context.scopes)
    return {"webhookSubscription": made, "userErrors": errors}


def _update_subscription(info: Info, args: Json) -> Json:
    id = _number(args["id"], "WebhookSubscription")
    changed, errors = info.context.webhooks.update(id, args["webhookSubscription"])
    return {"webhookSubscription": changed, "userErrors": errors}


def _delete_subscription(info: Info, args: Json) -> Json:
    errors = info.context.webhooks.delete(_number(args["id"], "WebhookSubscription"))
    return {"deletedWebhookSubscriptionId": None if errors else args["id"], "userErrors": errors}


def _run_bulk(info: Info, args: Json) -> Json:
    made, errors = info.context.jobs.run(args["query"], group=bool(args.get("groupObjects", False)))
    return {"bulkOperation": made, "userErrors": errors}


def _cancel_bulk(info: Info, args: Json) -> Json:
    found, errors = info.context.jobs.cancel(_number(args["id"], "BulkOperation"))
    return {"bulkOperation": found, "userErrors": errors}


def _uninstall(info: Info, _: Json) -> Json:
    app = _installation(info.context)["app"]
    info.context.uninstall()
    return {"app": app, "userErrors": []}


_MUTATION: Mapping[str, Callable[[Info, Json], Any]] = {
    "webhookSubscriptionCreate": _create_subscription,
    "webhookSubscriptionUpdate": _update_subscription,
    "webhookSubscriptionDelete": _delete_subscription,
    "bulkOperationRunQuery": _run_bulk,
    "bulkOperationCancel": _cancel_bulk,
    "appUninstall": _uninstall,
}
_LISTED: Mapping[tuple[str, str], Callable[[Any], Sequence[Any]]] = {
    ("Order", "lineItems"): lambda order: order.lines,
    ("Product", "variants"): _variants,
    ("Product", "media"): lambda product: list(filter(None, [_media(product)])),
    ("Product", "images"): lambda product: list(filter(None, [_image(product)])),
}
_TYPES: Mapping[str, Mapping[str, Plain]] = {
    "Order": _ORDER,
    "LineItem": _LINE,
    "Product": _PRODUCT,
    "ProductVariant": _VARIANT,
    "WebhookSubscription": _SUBSCRIPTION,
    "BulkOperation": _OPERATION,
}
_CONNECTIONS = ("Order", "LineItem", "Product", "ProductVariant", "WebhookSubscription", "BulkOperation", "Media")


def _of(read: Plain) -> Root:
    return lambda source, info, **_: read(source, info.context)


def _at_root(read: Callable[[Info, Json], Any]) -> Root:
    return lambda _, info, **args: read(info, args)


def _listing(read: Callable[[Any], Sequence[Any]]) -> Root:
    return lambda source, info, **args: _of_list(info, read(source), args)


@cache
def executable() -> GraphQLSchema:
    """The schema with this shop's resolvers on it."""
    schema = admin().schema
    tables = {kind: {name: _of(read) for name, read in fields.items()} for kind, fields in _TYPES.items()}
    for kind in (*_CONNECTIONS, "Image"):
        tables[f"{kind}Connection"] = {name: _of(read) for name, read in _CONNECTION.items()}
        tables[f"{kind}Edge"] = {name: _of(read) for name, read in _EDGE.items()}
    tables["QueryRoot"] = {name: _at_root(read) for name, read in _QUERY.items()}
    tables["Mutation"] = {name: _at_root(read) for name, read in _MUTATION.items()}
    for (kind, name), listed in _LISTED.items():
        tables[kind][name] = _listing(listed)
    for kind, fields in tables.items():
        owner = schema.type_map[kind]
        assert isinstance(owner, GraphQLObjectType)
        for name, resolve in fields.items():
            owner.fields[name].resolve = resolve
    return schema


_KINDS = {
    Order: "Order",
    Product: "Product",
    Line: "LineItem",
    tuple: "ProductVariant",
    Subscription: "WebhookSubscription",
}


def kind_of(value: Any, *_: Any) -> str:
    """The type of a value where the schema leaves it open."""
    if isinstance(value, dict):
        return str(value["__typename"])
    return _KINDS.get(type(value), "BulkOperation")


def unknown(source: Any, info: Info, **_: Any) -> Any:
    """What no resolver knows: a plain value, or an honest error."""
    if isinstance(source, dict) and info.field_name in source:
        return source[info.field_name]
    name = f"{info.parent_type.name}.{info.field_name}"
    raise refuse(f"The sandbox does not know {name}.", "NOT_IN_SANDBOX")
