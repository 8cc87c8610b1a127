"""A stand-in for WooCommerce 10.5.2 on WordPress 6.9.7: REST API, webhooks and the wc-auth grant.

Each shop is a WordPress in a sub-directory, ``https://localhost:PORT/{shop}``, with its own state in memory.
It answers as the recordings in ``shared/recordings/woocommerce`` do; what they do not show follows the
plugin's source. The quirks are deliberate: a client that works here must live with them.

The merchant of every shop is ``admin`` with the password ``sandbox``. A caller without a browser adds
``_sandbox=approve`` (or ``deny``) to the grant's ``/wc-auth/v1/authorize`` and is answered as the last page is.
"""

import asyncio
import base64
import binascii
import html
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote_plus, urlsplit

import httpx
from starlette.requests import Request
from starlette.responses import Response

from infra.local.sandbox import faults
from infra.local.sandbox.woo_shop import (
    CURRENCIES,
    ORDER_STATUSES,
    PRODUCT_STATUSES,
    ApiKey,
    Json,
    Order,
    Product,
    Shop,
    User,
    php_json,
)
from infra.local.sandbox.woo_webhooks import HTTP_USER_AGENT, Webhook, Webhooks, is_topic, post

Query = dict[str, str | list[str]]

MERCHANT_PASSWORD = "sandbox"  # noqa: S105 -- of the merchant that every shop here has, user "admin"

_NAMESPACES = ["oembed/1.0", "wc/v3", "wc/v2", "wc/v1", "wc/store", "wc/store/v1", "wp/v2", "wp-site-health/v1"]
_COLLECTION, _OBJECT, _BATCH = "GET, POST", "GET, POST, PUT, PATCH, DELETE", "POST, PUT, PATCH"
_MAX_BATCH = 100
_NO_CACHE = {
    "Expires": "Wed, 11 Jan 1984 05:00:00 GMT",
    "Cache-Control": "no-cache, must-revalidate, max-age=0, no-store, private",
}
_ALWAYS = {
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
    "Access-Control-Expose-Headers": "X-WP-Total, X-WP-TotalPages, Link",
    "Access-Control-Allow-Headers": "Authorization, X-WP-Nonce, Content-Disposition, Content-MD5, Content-Type",
}
_FORBIDDEN = {
    "list": ("woocommerce_rest_cannot_view", "Sorry, you cannot list resources."),
    "view": ("woocommerce_rest_cannot_view", "Sorry, you cannot view this resource."),
    "create": ("woocommerce_rest_cannot_create", "Sorry, you are not allowed to create resources."),
    "edit": ("woocommerce_rest_cannot_edit", "Sorry, you are not allowed to edit this resource."),
    "delete": ("woocommerce_rest_cannot_delete", "Sorry, you are not allowed to delete this resource."),
    "batch": (
        "woocommerce_rest_cannot_batch",
        "Sorry, you are not allowed to batch manipulate this resource.",
    ),
}
_DATE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:\d\d)?)?", re.IGNORECASE)
_READ, _WRITE = {"GET", "HEAD"}, {"POST", "PUT", "PATCH", "DELETE"}
_EDIT = ("POST", "PUT", "PATCH")


class RestError(Exception):
    """An error in WordPress's JSON."""

    def __init__(self, status: int, code: str, message: str, **data: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"code": code, "message": message, "data": {"status": status, **data}}


@dataclass(frozen=True)
class Wrong:
    """What is wrong with one parameter."""

    code: str
    message: str
    data: Json | None = None


Check = Callable[[str, Any], Wrong | None]


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)}{',' if len(most) > 1 else ''} and {last}" if most else last


def _one_of(*words: str) -> Check:
    def check(name: str, value: Any) -> Wrong | None:
        if value in words:
            return None
        return Wrong("rest_not_in_enum", f"{name} is not one of {_listed(words)}.")

    return check


def _all_of(*words: str) -> Check:
    def check(name: str, value: Any) -> Wrong | None:
        items = value if isinstance(value, list) else value.split(",")
        wrong = (_one_of(*words)(f"{name}[{at}]", item.strip()) for at, item in enumerate(items))
        return next(filter(None, wrong), None)

    return check


def _integer(least: int | None = None, most: int | None = None) -> Check:
    def check(name: str, value: Any) -> Wrong | None:
        if isinstance(value, bool) or not re.fullmatch(r"-?\d+(\.0+)?", str(value)):
            return Wrong("rest_invalid_type", f"{name} is not of type integer.", {"param": name})
        number = int(float(value))
        if least is not None and most is not None and not least <= number <= most:
            bounds = f"{name} must be between {least} (inclusive) and {most} (inclusive)"
            return Wrong("rest_out_of_bounds", bounds)
        if least is not None and number < least:
            return Wrong("rest_out_of_bounds", f"{name} must be greater than or equal to {least}")
        return None

    return check


def _boolean(name: str, value: Any) -> Wrong | None:
    if value is True or value is False or str(value).lower() in ("true", "false", "1", "0", ""):
        return None
    return Wrong("rest_invalid_type", f"{name} is not of type boolean.", {"param": name})


def _text(name: str, value: Any) -> Wrong | None:
    if isinstance(value, str):
        return None
    return Wrong("rest_invalid_type", f"{name} is not of type string.", {"param": name})


def _date(name: str, value: Any) -> Wrong | None:  # noqa: ARG001 - every check is given the name
    return None if _DATE.fullmatch(str(value)) else Wrong("rest_invalid_date", "Invalid date.")


_ORDER_BY = ("date", "id", "include", "title", "slug", "modified")
_PAGING: dict[str, Check] = {
    "page": _integer(1),
    "per_page": _integer(1, 100),
    "after": _date,
    "before": _date,
    "modified_after": _date,
    "modified_before": _date,
    "dates_are_gmt": _boolean,
    "offset": _integer(),
    "order": _one_of("asc", "desc"),
}
_ORDERS = _PAGING | {
    "orderby": _one_of(*_ORDER_BY),
    "status": _all_of("any", "trash", *ORDER_STATUSES),
    "customer": _integer(),
}
_PRODUCTS = _PAGING | {
    "orderby": _one_of(*_ORDER_BY, "price", "popularity", "rating", "menu_order"),
    "status": _one_of("any", "future", "trash", *PRODUCT_STATUSES),
    "type": _one_of("simple", "grouped", "external", "variable"),
}
_WEBHOOKS = _PAGING | {
    "orderby": _one_of("date", "id", "title"),
    "status": _one_of("all", "active", "paused", "disabled"),
}
_ORDER_BODY = {"status": _one_of(*ORDER_STATUSES), "customer_id": _integer(), "set_paid": _boolean}
_PRODUCT_BODY = {
    "name": _text,
    "type": _one_of("simple", "grouped", "external", "variable"),
    "status": _one_of(*PRODUCT_STATUSES, "future"),
    "sku": _text,
    "regular_price": _text,
    "sale_price": _text,
    "manage_stock": _boolean,
    "stock_quantity": _integer(),
}


@dataclass
class Call:
    """One REST call that reached its route."""

    method: str
    query: Query
    body: Json
    user: User | None
    ids: tuple[int, ...] = ()
    name: str = ""

    def text(self, name: str, default: str = "") -> str:
        """A query parameter."""
        value = self.query.get(name, default)
        return value if isinstance(value, str) else ",".join(value)

    def number(self, name: str, default: int) -> int:
        """A query parameter that is a number."""
        return int(float(self.text(name) or default))

    def flag(self, name: str) -> bool:
        """A boolean of the query or the body."""
        return self.text(name).lower() in ("true", "1") or self.body.get(name) is True

    def numbers(self, name: str) -> list[int]:
        """A query parameter that lists ids."""
        return [int(part) for part in self.text(name).split(",") if part.strip().isdigit()]

    def check(self, checks: dict[str, Check], given: dict[str, Any]) -> None:
        """Refuse wrong parameters, all at once as WordPress does."""
        wrong = {
            name: found
            for name, check in checks.items()
            if given.get(name) is not None and (found := check(name, given[name]))
        }
        if wrong:
            raise RestError(
                400,
                "rest_invalid_param",
                f"Invalid parameter(s): {', '.join(wrong)}",
                params={name: found.message for name, found in wrong.items()},
                details={name: vars(found) for name, found in wrong.items()},
            )

    def allow(self, deed: str) -> None:
        """Refuse who may not do this."""
        if self.user is None or not self.user.may_manage:
            code, message = _FORBIDDEN[deed]
            raise RestError(401 if self.user is None else 403, code, message)


@dataclass
class Answer:
    """A REST answer before its common headers."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True)
class Route:
    """One route, in WordPress's sense."""

    path: re.Pattern[str]
    allow: str
    handlers: dict[str, Handler]


@dataclass
class Traffic:
    """The API calls that a shop has seen."""

    total: int = 0
    active: int = 0
    most_at_once: int = 0
    routes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    """0 where the connection was reset."""

    async def count(self, call: str, answer: Awaitable[Response]) -> Response:
        """Wait for one call's answer, and count it."""
        self.total += 1
        self.active += 1
        self.most_at_once = max(self.most_at_once, self.active)
        self.routes[re.sub(r"/[0-9]+", "/{id}", call)] += 1
        try:
            response = await answer
        finally:
            self.active -= 1
        self.statuses[response.status_code] += 1
        return response


class Site:
    """One shop on the web: its REST API and its grant pages."""

    def __init__(self, shop: Shop, http: Callable[[], httpx.AsyncClient]) -> None:
        self.shop = shop
        self.webhooks = Webhooks(shop, http)
        self.faults = faults.Faults()
        self.traffic = Traffic()
        self._http = http
        self._sessions: set[str] = set()
        self._nonce = f"{shop.random.getrandbits(40):010x}"
        self._lists: dict[tuple[str, ...], list[int]] = {}
        self._lists_version = -1
        self._routes = self._make_routes()

    async def answer(self, request: Request) -> Response:
        """One request to the shop."""
        path = "/" + request.path_params["path"]
        route = _route(path, request)
        if route is None:
            return await self._page(path, request)
        return await self._rest(route, request, with_key=path.startswith("/wp-json/"))

    # REST

    def _make_routes(self) -> list[Route]:
        one, edit = r"(\d+)", dict.fromkeys
        shapes: list[tuple[str, str, dict[str, Handler]]] = [
            ("orders", _COLLECTION, {"GET": self._list_orders, "POST": self._create_order}),
            (
                f"orders/{one}",
                _OBJECT,
                {"GET": self._get_order, **edit(_EDIT, self._update_order), "DELETE": self._delete_order},
            ),
            ("orders/batch", _BATCH, edit(_EDIT, self._batch_orders)),
            (f"orders/{one}/notes", _COLLECTION, {"GET": self._list_notes, "POST": self._create_note}),
            (f"orders/{one}/refunds", _COLLECTION, {"GET": self._list_refunds, "POST": self._create_refund}),
            (
                f"orders/{one}/refunds/{one}",
                "GET, DELETE",
                {"GET": self._get_refund, "DELETE": self._delete_refund},
            ),
            ("products", _COLLECTION, {"GET": self._list_products, "POST": self._create_product}),
            (
                f"products/{one}",
                _OBJECT,
                {"GET": self._get_product, **edit(_EDIT, self._update_product), "DELETE": self._delete_product},
            ),
            ("products/batch", _BATCH, edit(_EDIT, self._batch_products)),
            (
                f"products/{one}/variations",
                _COLLECTION,
                {"GET": self._list_variations, "POST": self._create_variation},
            ),
            (
                f"products/{one}/variations/{one}",
                _OBJECT,
                {
                    "GET": self._get_variation,
                    **edit(_EDIT, self._update_variation),
                    "DELETE": self._delete_variation,
                },
            ),
            ("webhooks", _COLLECTION, {"GET": self._list_webhooks, "POST": self._create_webhook}),
            (
                f"webhooks/{one}",
                _OBJECT,
                {"GET": self._get_webhook, **edit(_EDIT, self._update_webhook), "DELETE": self._delete_webhook},
            ),
            ("webhooks/batch", _BATCH, edit(_EDIT, self._batch_webhooks)),
            ("data/currencies/current", "GET", {"GET": self._get_currency}),
            ("settings/general", "GET", {"GET": self._list_settings}),
            ("settings/general/([a-z_]+)", "GET, POST, PUT, PATCH", {"GET": self._get_setting}),
            ("system_status", "GET", {"GET": self._get_system_status}),
        ]
        routes = [Route(re.compile(f"/wc/v3/{path}"), allow, handlers) for path, allow, handlers in shapes]
        index = Route(re.compile("/?"), "GET", {"GET": self._index})
        namespace = Route(re.compile("/wc/v3"), "GET", {"GET": self._namespace})
        return [index, namespace, *routes]

    async def _rest(self, path: str, request: Request, *, with_key: bool) -> Response:
        query = _php_query(request.url.query)
        headers: dict[str, str] = {}
        user = None
        try:
            key = self._authenticate(path, request, query) if with_key else None
            user = key.user if key else None
            if key:
                _check_permission(key, request.method)
            route, found = self._match(path, request.method)
            if not path.startswith("/wc/v3/") or (user and user.may_manage):
                headers["Allow"] = route.allow
            ids = tuple(int(part) for part in found if part.isdigit())
            call = Call(request.method, query, await _json_body(request), user, ids, "".join(found[-1:]))
            answer = await route.handlers["GET" if call.method == "HEAD" else call.method](call)
            if call.text("_fields"):
                answer.body = _only_fields(answer.body, call.text("_fields"))
        except RestError as error:
            answer = Answer(php_json(error.body), error.status)
        if "Link" not in answer.headers:
            headers["Link"] = f'<{self.shop.rest_url()}>; rel="https://api.w.org/"'
        headers |= _NO_CACHE if user else {"Vary": "Origin"}
        body = b"" if request.method == "HEAD" else answer.body
        headers |= _ALWAYS | answer.headers | {"Content-Type": "application/json; charset=UTF-8"}
        return Response(body, answer.status, headers)

    def _authenticate(self, path: str, request: Request, query: Query) -> ApiKey | None:
        if not path.startswith("/wc/") or request.url.scheme != "https":
            return None
        given, secret = query.get("consumer_key"), query.get("consumer_secret")
        if not (given and secret):  # those in the query win
            given, secret = _basic(request.headers.get("authorization", ""))
        key = next((key for key in self.shop.keys if key.consumer_key == given), None)
        if key is None or not secret:
            return None
        if key.consumer_secret != secret:
            raise RestError(401, "woocommerce_rest_authentication_error", "Consumer secret is invalid.")
        if key.calls_left is not None:
            if key.calls_left <= 0:
                self.shop.revoke(key)
                return None
            key.calls_left -= 1
        return key

    def _match(self, path: str, method: str) -> tuple[Route, tuple[str, ...]]:
        for route in self._routes:
            found = route.path.fullmatch(path)
            if found and ("GET" if method == "HEAD" else method) in route.handlers:
                return route, found.groups()
        raise RestError(404, "rest_no_route", "No route was found matching the URL and request method.")

    async def _index(self, call: Call) -> Answer:  # noqa: ARG002 - every route is given the call
        shop = self.shop
        body = {
            "name": f"Prüfstand {shop.name}",
            "description": "",
            "url": shop.url,
            "home": shop.url,
            "gmt_offset": shop.utc_offset(),
            "timezone_string": shop.timezone,
            "page_for_posts": 0,
            "page_on_front": 0,
            "show_on_front": "posts",
            "namespaces": _NAMESPACES,
            "authentication": {
                "application-passwords": {
                    "endpoints": {"authorization": f"{shop.url}/wp-admin/authorize-application.php"}
                }
            },
            "routes": {},
        }
        return Answer(php_json(body))

    async def _namespace(self, call: Call) -> Answer:
        up = {"up": [{"href": self.shop.rest_url()}]}
        wanted = call.query.pop("_fields", "namespace,routes")
        body = {"namespace": "wc/v3", "routes": {}, "_links": up}
        # The one answer that keeps its links though _fields does not name them.
        return Answer(php_json({key: body[key] for key in (*str(wanted).split(","), "_links") if key in body}))

    # Orders

    async def _list_orders(self, call: Call) -> Answer:
        call.check(_ORDERS, call.query)
        call.allow("list")
        ids = self._select("orders", call, lambda: self._find_orders(call))
        page = self._paged(call, ids, "orders", {"status": ["any"], "dp": "2", "context": "view"})
        orders = self.shop.orders
        page.body = _json_list(self.shop.order_text(orders[order_id]) for order_id in self._cut(call, ids))
        if page.body == b"[]":
            page.headers |= {"X-WP-Total": "0", "X-WP-TotalPages": "0"}
        return page

    def _find_orders(self, call: Call) -> list[int]:
        wanted = call.text("status", "any").split(",")
        kept = self._in_time(call, self.shop.orders.values())
        if "any" in wanted:
            kept = (order for order in kept if order.status not in ("trash", "auto-draft"))
        else:
            kept = (order for order in kept if order.status in wanted)
        if call.text("customer"):
            kept = (order for order in kept if order.customer_id == call.number("customer", 0))
        if call.text("search"):
            kept = (order for order in kept if _says(order, call.text("search")))
        return self._sorted(call, list(kept))

    async def _create_order(self, call: Call) -> Answer:
        call.check(_ORDER_BODY, call.body)
        call.allow("create")
        order = self.shop.create_order(call.body)
        location = {"Location": self.shop.rest_url(f"wc/v3/orders/{order.id}")}
        return Answer(self.shop.order_text(order), 201, location)

    async def _get_order(self, call: Call) -> Answer:
        order = self._order(call)
        call.allow("view")
        return Answer(self.shop.order_text(order))

    async def _update_order(self, call: Call) -> Answer:
        call.check(_ORDER_BODY, call.body)
        order = self._order(call, missing=400)
        call.allow("edit")
        self.shop.update_order(order, call.body)
        return Answer(self.shop.order_text(order))

    async def _delete_order(self, call: Call) -> Answer:
        order = self._order(call)
        call.allow("delete")
        before = self.shop.order_text(order)
        if call.flag("force"):
            self.shop.delete_order(order)
        elif order.status == "trash":
            raise _already_trashed("shop_order")
        else:
            self.shop.trash_order(order)
        return Answer(before)

    async def _batch_orders(self, call: Call) -> Answer:
        return await self._batch(call, self._create_order, self._update_order, self._delete_order)

    def _order(self, call: Call, missing: int = 404) -> Order:
        order = self.shop.orders.get(call.ids[0])
        if order is None:
            raise RestError(missing, "woocommerce_rest_shop_order_invalid_id", "Invalid ID.")
        return order

    async def _list_notes(self, call: Call) -> Answer:
        call.allow("list")
        order = self._order(call)
        return Answer(php_json([self.shop.note_json(order, note) for note in order.notes]))

    async def _create_note(self, call: Call) -> Answer:
        call.allow("create")
        order = self._order(call)
        note = self.shop.add_note(order, str(call.body.get("note", "")), for_customer=call.flag("customer_note"))
        location = {"Location": self.shop.rest_url(f"wc/v3/orders/{order.id}/notes/{note.id}")}
        return Answer(php_json(self.shop.note_json(order, note)), 201, location)

    async def _list_refunds(self, call: Call) -> Answer:
        call.check(_PAGING, call.query)
        call.allow("list")
        order = self.shop.orders.get(call.ids[0])
        refunds = {refund.id: refund for refund in order.refunds} if order else {}
        page = self._paged(call, list(refunds), f"orders/{call.ids[0]}/refunds")
        shown = self._cut(call, list(refunds))
        page.body = php_json([self.shop.refund_json(order, refunds[i]) for i in shown] if order else [])
        return page

    async def _create_refund(self, call: Call) -> Answer:
        call.allow("create")
        order = self.shop.orders.get(call.ids[0])
        if order is None:
            raise RestError(404, "woocommerce_rest_invalid_order_id", "Invalid order ID.")
        if not float(call.body.get("amount") or 0) > 0:
            code = "woocommerce_rest_invalid_order_refund"
            raise RestError(400, code, "Refund amount must be greater than zero.")
        refund = self.shop.create_refund(order, call.body)
        # WooCommerce forgets to fill in the pattern of the route.
        location = {"Location": self.shop.rest_url(rf"wc/v3/orders/(?P<order_id>[\d]+)/refunds/{refund.id}")}
        return Answer(php_json(self.shop.refund_json(order, refund)), 201, location)

    async def _get_refund(self, call: Call) -> Answer:
        call.allow("view")
        return await self._refund(call, delete=False)

    async def _delete_refund(self, call: Call) -> Answer:
        call.allow("delete")
        if not call.flag("force"):
            code = "woocommerce_rest_trash_not_supported"
            raise RestError(501, code, "The shop_order_refund does not support trashing.")
        return await self._refund(call, delete=True)

    async def _refund(self, call: Call, *, delete: bool) -> Answer:
        order = self.shop.orders.get(call.ids[0])
        if order is None:
            raise RestError(404, "woocommerce_rest_invalid_order_id", "Invalid order ID.")
        refund = next((refund for refund in order.refunds if refund.id == call.ids[1]), None)
        if refund is None:
            raise RestError(404, "woocommerce_rest_invalid_order_refund_id", "Invalid order refund ID.")
        body = php_json(self.shop.refund_json(order, refund))
        if delete:
            self.shop.delete_refund(order, refund)
        return Answer(body)

    # Products

    async def _list_products(self, call: Call) -> Answer:
        call.check(_PRODUCTS, call.query)
        call.allow("list")
        ids = self._select("products", call, lambda: self._find_products(call))
        page = self._paged(call, ids, "products")
        products = self.shop.products
        page.body = _json_list(self.shop.product_text(products[i]) for i in self._cut(call, ids))
        return page

    def _find_products(self, call: Call) -> list[int]:
        status, skus = call.text("status", "any"), call.text("sku").split(",")
        kept = self._in_time(call, self.shop.products.values())
        if skus != [""]:
            kept = (product for product in kept if product.sku in skus)
        else:
            kept = (product for product in kept if not product.parent_id)
        if status == "any":
            kept = (product for product in kept if product.status != "trash")
        else:
            kept = (product for product in kept if product.status == status)
        if call.text("type"):
            kept = (product for product in kept if product.type == call.text("type"))
        if call.text("search"):
            kept = (product for product in kept if _says(product, call.text("search")))
        return self._sorted(call, list(kept))

    async def _create_product(self, call: Call) -> Answer:
        call.check(_PRODUCT_BODY, call.body)
        call.allow("create")
        self._check_sku(call, 0)
        product = self.shop.create_product(_writable(call.body))
        location = {"Location": self.shop.rest_url(f"wc/v3/products/{product.id}")}
        return Answer(php_json(self.shop.product_json(product, edit=True)), 201, location)

    async def _get_product(self, call: Call) -> Answer:
        product = self._product(call)
        call.allow("view")
        return Answer(self.shop.product_text(product))

    async def _update_product(self, call: Call) -> Answer:
        call.check(_PRODUCT_BODY, call.body)
        product = self._product(call, missing=400)
        call.allow("edit")
        _refuse_variation(product)
        self._check_sku(call, product.id)
        self.shop.update_product(product, _writable(call.body))
        return Answer(php_json(self.shop.product_json(product, edit=True)))

    async def _delete_product(self, call: Call) -> Answer:
        product = self._product(call)
        call.allow("delete")
        _refuse_variation(product)
        before = php_json(self.shop.product_json(product, edit=True))
        self._remove(product, call)
        return Answer(before)

    async def _batch_products(self, call: Call) -> Answer:
        return await self._batch(call, self._create_product, self._update_product, self._delete_product)

    def _remove(self, product: Product, call: Call) -> None:
        if call.flag("force"):
            self.shop.delete_product(product)
        elif product.status == "trash":
            raise _already_trashed("product_variation" if product.parent_id else "product")
        else:
            self.shop.trash_product(product)

    def _product(self, call: Call, missing: int = 404) -> Product:
        product = self.shop.products.get(call.ids[0])
        if product is None:
            raise RestError(missing, "woocommerce_rest_product_invalid_id", "Invalid ID.")
        return product

    def _check_sku(self, call: Call, own_id: int) -> None:
        sku = call.body.get("sku")
        taken = {product.sku: product.id for product in self.shop.products.values() if product.id != own_id}
        if sku and sku in taken:
            data = {"resource_id": taken[sku], "unique_sku": f"{sku}-1"}
            raise RestError(400, "product_invalid_sku", "Invalid or duplicated SKU.", **data)

    async def _list_variations(self, call: Call) -> Answer:
        call.check(_PAGING, call.query)
        call.allow("list")
        parent = self.shop.products.get(call.ids[0])
        kept = [self.shop.products[i] for i in parent.variations] if parent else []
        ids = self._sorted(call, [v for v in self._in_time(call, kept) if v.status != "trash"])
        page = self._paged(call, ids, f"products/{call.ids[0]}/variations")
        shown = self._cut(call, ids)
        page.body = _json_list(self.shop.variation_text(self.shop.products[i]) for i in shown)
        return page

    async def _create_variation(self, call: Call) -> Answer:
        call.check(_PRODUCT_BODY, call.body)
        call.allow("create")
        parent = self._product(call)
        self._check_sku(call, 0)
        variation = self.shop.create_variation(parent, _writable(call.body))
        location = {"Location": self.shop.rest_url(f"wc/v3/products/{parent.id}/variations/{variation.id}")}
        return Answer(self.shop.variation_text(variation), 201, location)

    async def _get_variation(self, call: Call) -> Answer:
        variation = self._variation(call)
        call.allow("view")
        return Answer(self.shop.variation_text(variation))

    async def _update_variation(self, call: Call) -> Answer:
        call.check(_PRODUCT_BODY, call.body)
        variation = self._variation(call, missing=400)
        call.allow("edit")
        self._check_sku(call, variation.id)
        self.shop.update_product(variation, _writable(call.body))
        return Answer(self.shop.variation_text(variation))

    async def _delete_variation(self, call: Call) -> Answer:
        variation = self._variation(call)
        call.allow("delete")
        before = self.shop.variation_text(variation)
        self._remove(variation, call)
        return Answer(before)

    def _variation(self, call: Call, missing: int = 404) -> Product:
        variation = self.shop.products.get(call.ids[1])
        if variation is None or variation.parent_id != call.ids[0]:
            raise RestError(missing, "woocommerce_rest_product_variation_invalid_id", "Invalid ID.")
        return variation

    # Webhooks

    async def _list_webhooks(self, call: Call) -> Answer:
        call.check(_WEBHOOKS, call.query)
        call.allow("list")
        status = call.text("status", "all")
        kept = [webhook for webhook in self.webhooks if status in ("all", webhook.status)]
        kept.sort(key=lambda webhook: webhook.id, reverse=call.text("order", "desc") == "desc")
        ids = [webhook.id for webhook in kept]
        page = self._paged(call, ids, "webhooks")
        shown = self._cut(call, ids)
        page.body = php_json([self.webhooks.json(webhook) for webhook in kept if webhook.id in shown])
        return page

    async def _create_webhook(self, call: Call) -> Answer:
        missing = [name for name in ("topic", "delivery_url") if name not in call.body]
        if missing:
            message = f"Missing parameter(s): {', '.join(missing)}"
            raise RestError(400, "rest_missing_callback_param", message, params=missing)
        call.allow("create")
        self._check_webhook(call, required=True)
        assert call.user is not None
        webhook, body = await self.webhooks.create(call.user, call.body)
        location = {"Location": self.shop.rest_url(f"wc/v3/webhooks/{webhook.id}")}
        return Answer(php_json(body), 201, location)

    async def _get_webhook(self, call: Call) -> Answer:
        call.allow("view")
        return Answer(php_json(self.webhooks.json(self._webhook(call, 404, "ID is invalid."))))

    async def _update_webhook(self, call: Call) -> Answer:
        call.check({"status": _one_of("active", "paused", "disabled")}, call.body)
        call.allow("edit")
        webhook = self._webhook(call, 400, "ID is invalid.")
        self._check_webhook(call, required=False)
        await self.webhooks.update(webhook, call.body)
        return Answer(php_json(self.webhooks.json(webhook)))

    async def _delete_webhook(self, call: Call) -> Answer:
        call.allow("delete")
        if not call.flag("force"):
            raise RestError(501, "woocommerce_rest_trash_not_supported", "Webhooks do not support trashing.")
        webhook = self._webhook(call, 404, "Invalid ID.")
        body = php_json(self.webhooks.json(webhook))
        self.webhooks.delete(webhook)
        return Answer(body)

    async def _batch_webhooks(self, call: Call) -> Answer:
        return await self._batch(call, self._create_webhook, self._update_webhook, self._delete_webhook)

    def _webhook(self, call: Call, status: int, message: str) -> Webhook:
        webhook = self.webhooks.get(call.ids[0])
        if webhook is None:
            raise RestError(status, "woocommerce_rest_shop_webhook_invalid_id", message)
        return webhook

    def _check_webhook(self, call: Call, *, required: bool) -> None:
        topic, url = str(call.body.get("topic", "")), str(call.body.get("delivery_url", ""))
        if (topic or required) and not is_topic(topic.lower()):
            message = f"Webhook topic {'is required and ' if required else ''}must be valid."
            raise RestError(400, "woocommerce_rest_shop_webhook_invalid_topic", message)
        if (url or required) and not url.startswith(("http://", "https://")):
            message = "Webhook delivery URL must be a valid URL starting with http:// or https://."
            raise RestError(400, "woocommerce_rest_shop_webhook_invalid_delivery_url", message)

    # The shop itself

    async def _get_currency(self, call: Call) -> Answer:
        call.allow("view")
        code = self.shop.currency
        name, symbol, _ = CURRENCIES.get(code, (code, code, code))
        collection = self.shop.rest_url("wc/v3/data/currencies")
        links = {
            "self": [{"href": f"{collection}/{code}", "targetHints": {"allow": ["GET"]}}],
            "collection": [{"href": collection}],
        }
        return Answer(php_json({"code": code, "name": name, "symbol": symbol, "_links": links}))

    async def _list_settings(self, call: Call) -> Answer:
        call.allow("list")
        return Answer(php_json(self._settings()))

    async def _get_setting(self, call: Call) -> Answer:
        call.allow("list")
        found = next((setting for setting in self._settings() if setting["id"] == call.name), None)
        if found is None:
            raise RestError(404, "rest_setting_setting_invalid", "Invalid setting.")
        return Answer(php_json(found | {"group_id": "general"}))

    async def _get_system_status(self, call: Call) -> Answer:
        call.allow("list")
        shop = self.shop
        environment = {
            "home_url": shop.url,
            "site_url": shop.url,
            "version": "10.5.2",
            "wp_version": "6.9.7",
            "default_timezone": "UTC",
        }
        settings = {"currency": shop.currency, "currency_symbol": CURRENCIES.get(shop.currency, ("", ""))[1]}
        return Answer(php_json({"environment": environment, "settings": settings}))

    def _settings(self) -> list[Json]:
        currencies = {code: f"{name} ({sign}) — {code}" for code, (name, sign, _) in CURRENCIES.items()}
        country = "The country and state or province, if any, in which your business is located."
        currency = (
            "This controls what currency prices are listed at in the catalog and which currency gateways "
            "will take payments in."
        )
        return [
            self._setting_json("woocommerce_store_city", "City", "The city in which your business is located.")
            | {"value": "Berlin"},
            self._setting_json("woocommerce_default_country", "Country / State", country, {"DE:DE-BE": "Berlin"})
            | {"default": "US:CA", "value": "DE:DE-BE"},
            self._setting_json("woocommerce_currency", "Currency", currency, currencies)
            | {"default": "USD", "value": self.shop.currency},
        ]

    def _setting_json(self, name: str, label: str, about: str, options: Json | None = None) -> Json:
        collection = self.shop.rest_url("wc/v3/settings/general")
        hints = {"targetHints": {"allow": ["GET", "POST", "PUT", "PATCH"]}}
        links = {"self": [{"href": f"{collection}/{name}", **hints}], "collection": [{"href": collection}]}
        body = {
            "id": name,
            "label": label,
            "description": about,
            "type": "select" if options else "text",
            "default": "",
            "options": options,
            "tip": about,
            "value": "",
            "_links": links,
        }
        return {key: value for key, value in body.items() if value is not None}

    # What lists have in common

    def _in_time(self, call: Call, found: Iterable[Any]) -> Iterable[Any]:
        gmt = call.flag("dates_are_gmt")
        bounds = {
            name: self.shop.moment(call.text(name), gmt=gmt)
            for name in ("after", "before", "modified_after", "modified_before")
            if call.text(name)
        }
        since, until = bounds.get("after"), bounds.get("before")
        changed_since, changed_until = bounds.get("modified_after"), bounds.get("modified_before")
        included, excluded = set(call.numbers("include")), set(call.numbers("exclude"))
        return (
            one
            for one in found
            if (since is None or one.created > since)
            and (until is None or one.created < until)
            and (changed_since is None or one.modified > changed_since)
            and (changed_until is None or one.modified < changed_until)
            and (not included or one.id in included)
            and one.id not in excluded
        )

    def _sorted(self, call: Call, found: list[Any]) -> list[int]:
        keys: dict[str, Callable[[Any], Any]] = {
            "id": lambda one: one.id,
            "include": lambda one: call.numbers("include").index(one.id) if call.numbers("include") else one.id,
            "title": lambda one: (getattr(one, "name", "").casefold(), one.id),
            "slug": lambda one: (getattr(one, "slug", ""), one.id),
            "modified": lambda one: (one.modified, one.id),
        }
        orderby = call.text("orderby", "date")
        found.sort(key=keys.get(orderby, lambda one: (one.created, one.id)))
        if orderby != "include" and call.text("order", "desc") == "desc":
            found.reverse()
        return [one.id for one in found]

    def _select(self, what: str, call: Call, find: Callable[[], list[int]]) -> list[int]:
        """The ids that a query finds; its pages share them until the shop changes."""
        if self._lists_version != self.shop.version:
            self._lists.clear()
            self._lists_version = self.shop.version
        paging = ("page", "per_page", "offset", "_fields", "consumer_key", "consumer_secret")
        key = (what, *(f"{name}={call.text(name)}" for name in sorted(call.query) if name not in paging))
        if key not in self._lists:
            self._lists[key] = find()
        return self._lists[key]

    def _cut(self, call: Call, ids: list[int]) -> list[int]:
        size = call.number("per_page", 10)
        start = call.number("offset", 0) or (call.number("page", 1) - 1) * size
        return ids[start : start + size]

    def _paged(self, call: Call, ids: list[int], path: str, defaults: Query | None = None) -> Answer:
        page, pages = call.number("page", 1), -(-len(ids) // call.number("per_page", 10))
        links = []
        for rel, target, there in (("prev", min(page - 1, pages), page > 1), ("next", page + 1, page < pages)):
            if there:
                query = _link_query(call.query, defaults or {}, target)
                links.append(f'<{self.shop.rest_url(f"wc/v3/{path}")}?{query}>; rel="{rel}"')
        headers = {"X-WP-Total": str(len(ids)), "X-WP-TotalPages": str(pages)}
        return Answer(b"[]", headers=headers | ({"Link": ", ".join(links)} if links else {}))

    async def _batch(self, call: Call, create: Handler, update: Handler, delete: Handler) -> Answer:
        call.allow("batch")
        wishes = {name: call.body.get(name) or [] for name in ("create", "update", "delete")}
        if sum(map(len, wishes.values())) > _MAX_BATCH:
            code = "woocommerce_rest_request_entity_too_large"
            raise RestError(413, code, "Unable to accept more than 100 items for this request.")
        done: dict[str, list[bytes]] = {}
        for name, handler in (("create", create), ("update", update), ("delete", delete)):
            for wish in wishes[name]:
                body = {"id": wish, "force": True} if name == "delete" else dict(wish)
                done.setdefault(name, []).append(await _one_of_batch(handler, call, body))
        parts = [php_json(name) + b":" + _json_list(texts) for name, texts in done.items()]
        return Answer(b"{" + b",".join(parts) + b"}")

    # Pages and the grant

    async def _page(self, path: str, request: Request) -> Response:
        step = path.removeprefix("/wc-auth/v1/").strip("/") if path.startswith("/wc-auth/v1/") else ""
        if not step:
            status = 200 if path == "/" else 404
            return _html(f"<h1>{html.escape(self.shop.name)}</h1>", status)
        query = {name: value for name, value in _php_query(request.url.query).items() if isinstance(value, str)}
        try:
            _check_grant(query)
            return await self._grant(step, request, query)
        except _Denied as denied:
            return _html(f"<p>Error: {html.escape(str(denied))}.</p>", 401, "Access denied")

    async def _grant(self, step: str, request: Request, query: dict[str, str]) -> Response:
        shop = self.shop
        logged_in = request.cookies.get(f"wordpress_logged_in_{shop.name}") in self._sessions
        at_once = query.get("_sandbox", "")
        if step == "authorize" and at_once in ("approve", "deny"):
            # Not WordPress: the merchant's clicks in one request, for callers without a browser.
            query = self._through_the_pages(query)
            return await self._access_granted(query) if at_once == "approve" else self._return(query, 0)
        if step == "login" and not logged_in:
            return await self._login(request, query)
        if step == "login":
            return _redirect(_grant_url(shop, query, "authorize/"))
        if step == "authorize" and not logged_in:
            return _redirect(_grant_url(shop, query, "login/"))
        if not shop.admin.may_manage:
            raise _Denied("You do not have permission to access this page")
        if step == "authorize":
            granted = _grant_url(shop, query, "access_granted/") + f"&wc_auth_nonce={self._nonce}"
            return _html(_approve_page(query, granted, _return_url(query, 0)))
        if step == "access_granted":
            if query.get("wc_auth_nonce") != self._nonce:
                raise _Denied("Invalid nonce verification")
            return await self._access_granted(query)
        raise _Denied("You do not have permission to access this page")

    def _through_the_pages(self, query: dict[str, str]) -> dict[str, str]:
        for step in ("login/", "authorize/", "access_granted/"):
            query = dict(parse_qsl(urlsplit(_grant_url(self.shop, query, step)).query, keep_blank_values=True))
        return query

    async def _login(self, request: Request, query: dict[str, str]) -> Response:
        redirect = _grant_url(self.shop, query, "authorize/")
        form = dict(parse_qsl((await request.body()).decode())) if request.method == "POST" else {}
        if form.get("username") == self.shop.admin.login and form.get("password") == MERCHANT_PASSWORD:
            session = f"{self.shop.random.getrandbits(128):032x}"
            self._sessions.add(session)
            response = _redirect(redirect)
            path = urlsplit(self.shop.url).path or "/"
            name = f"wordpress_logged_in_{self.shop.name}"
            response.set_cookie(name, session, path=path, secure=True, httponly=True)
            return response
        return _html(_login_page(query, redirect, _return_url(query, 0), self._nonce))

    async def _access_granted(self, query: dict[str, str]) -> Response:
        if not self.shop.admin.may_manage:
            raise _Denied("You do not have permission to access this page")
        key = self.shop.add_key(query["scope"])
        body = {
            "key_id": key.id,
            "user_id": query["user_id"],
            "consumer_key": key.consumer_key,
            "consumer_secret": key.consumer_secret,
            "key_permissions": key.permissions,
        }
        headers = {
            "User-Agent": HTTP_USER_AGENT.format(self.shop.url),
            "Content-Type": "application/json;charset=UTF-8",
        }
        callback = _with_scheme(query["callback_url"])
        status, error = await post(self._http, callback, headers, php_json(body), follow=True)
        if status != 200:
            self.shop.revoke(key)
            unable = "An error occurred in the request and at the time were unable to send the consumer data"
            raise _Denied(error or unable)
        return self._return(query, 1)

    def _return(self, query: dict[str, str], success: int) -> Response:
        return _redirect(_return_url(query, success))


class _Denied(Exception):
    """The grant is refused, with a page that says why."""


class WooCommerce:
    """All WooCommerce shops of the sandbox."""

    def __init__(self, base_url: str, clock: Callable[[], float], http: Callable[[], httpx.AsyncClient]) -> None:
        self.sites: dict[str, Site] = {}
        self._base_url = base_url
        self._clock = clock
        self._http = http

    def open(self, name: str, **wishes: Any) -> Site:
        """A new shop, seeded; one of the same name is replaced."""
        shop = Shop(name, f"{self._base_url}/{name}", self._clock, **wishes)
        self.sites[name] = Site(shop, self._http)
        return self.sites[name]

    async def answer(self, request: Request, stop: asyncio.Event) -> Response:
        """One request to any shop, through the faults ordered for it."""
        site = self.sites.get(request.path_params["shop"])
        if site is None:
            return _html("<h1>404 Not Found</h1>", 404)
        fault = site.faults.next(request.method, request.url.path)
        answer = faults.answer(fault, request, site.answer, stop) if fault else site.answer(request)
        route = _route("/" + request.path_params["path"], request)
        response = await (answer if route is None else site.traffic.count(f"{request.method} {route}", answer))
        response.headers["Server"] = "nginx"
        response.headers["Date"] = formatdate(site.shop.now(), usegmt=True)
        return response


def _route(path: str, request: Request) -> str | None:
    """The REST route that is asked for, if any; WordPress ignores slashes at its end."""
    if path.startswith("/wp-json"):
        return path.removeprefix("/wp-json").rstrip("/")
    if path == "/" and "rest_route" in request.query_params:
        return request.query_params["rest_route"].rstrip("/")
    return None


def _php_query(text: str) -> Query:
    query: Query = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        base, bracket, _ = name.partition("[")
        if bracket:
            before = query.get(base)
            query[base] = [*(before if isinstance(before, list) else []), value]
        else:
            query[name] = value
    return query


def _link_query(query: Query, defaults: Query, page: int) -> str:
    """The query that a page's neighbour has; even the credentials, where they came in the query."""
    pairs = []
    for name, value in {**query, **(defaults | query), "page": str(page)}.items():
        if name == "status" and defaults:
            value = value if isinstance(value, list) else value.split(",")  # noqa: PLW2901 - the same, as a list
        if isinstance(value, list):
            pairs += [f"{name}%5B{at}%5D={quote_plus(item)}" for at, item in enumerate(value)]
        elif name == "dates_are_gmt":
            # A boolean by now, and WordPress leaves a false one out.
            pairs += ["dates_are_gmt=1"] if value.lower() in ("true", "1") else []
        else:
            pairs.append(f"{name}={quote_plus(value)}")
    return "&".join(pairs)


def _basic(header: str) -> tuple[str, str]:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password


def _check_permission(key: ApiKey, method: str) -> None:
    for methods, needed in ((_READ, "read"), (_WRITE, "write")):
        if method in methods and key.permissions not in (needed, "read_write"):
            message = f"The API key provided does not have {needed} permissions."
            raise RestError(401, "woocommerce_rest_authentication_error", message)


async def _json_body(request: Request) -> Json:
    text = await request.body()
    if not text:
        return {}
    if "json" not in request.headers.get("content-type", ""):
        return dict(parse_qsl(text.decode(errors="replace")))
    try:
        body = json.loads(text)
    except ValueError:
        detail = {"json_error_code": 4, "json_error_message": "Syntax error"}
        raise RestError(400, "rest_invalid_json", "Invalid JSON body passed.", **detail) from None
    return body if isinstance(body, dict) else {}


def _only_fields(text: bytes, fields: str) -> bytes:
    wanted: dict[str, set[str]] = {}
    for name in fields.split(","):
        top, _, below = name.strip().partition(".")
        wanted.setdefault(top, set()).update({below} if below else ())

    def reduce(one: Json) -> Json:
        return {
            name: {key: part for key, part in value.items() if not wanted[name] or key in wanted[name]}
            if isinstance(value, dict)
            else value
            for name, value in one.items()
            if name in wanted
        }

    whole = json.loads(text)
    return php_json([reduce(one) for one in whole] if isinstance(whole, list) else reduce(whole))


def _json_list(texts: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(texts) + b"]"


def _says(one: Order | Product, words: str) -> bool:
    if isinstance(one, Product):
        heap = [one.name, one.sku, one.description]
    else:
        heap = [str(one.id), *map(str, one.billing.values()), *(line.name for line in one.lines)]
    return words.casefold() in "\n".join(heap).casefold()


def _writable(wish: Json) -> Json:
    return {name: value for name, value in wish.items() if name != "price"}


def _refuse_variation(product: Product) -> None:
    if product.parent_id:
        message = (
            "To manipulate product variations you should use the "
            "/products/&lt;product_id&gt;/variations/&lt;id&gt; endpoint."
        )
        raise RestError(404, "woocommerce_rest_invalid_product_id", message)


def _already_trashed(kind: str) -> RestError:
    return RestError(410, "woocommerce_rest_already_trashed", f"The {kind} has already been deleted.")


async def _one_of_batch(handler: Handler, call: Call, body: Json) -> bytes:
    own_id = body.get("id")
    ids = (*call.ids, *([int(own_id)] if own_id else []))
    try:
        answer = await handler(Call(call.method, {}, body, call.user, ids))
    except RestError as error:
        return php_json({"id": own_id or 0, "error": error.body})
    return answer.body


def _html(body: str, status: int = 200, title: str = "Prüfstand") -> Response:
    page = f"<!DOCTYPE html><html><head><title>{title}</title></head><body>{body}</body></html>"
    return Response(page, status, media_type="text/html; charset=UTF-8")


def _redirect(location: str) -> Response:
    headers = {"Location": location, "X-Redirect-By": "WordPress"}
    return Response(b"", 302, headers, media_type="text/html; charset=UTF-8")


def _check_grant(query: dict[str, str]) -> None:
    for name in ("app_name", "user_id", "return_url", "callback_url", "scope"):
        if not query.get(name):
            raise _Denied(f"Missing parameter {name}")
    if query["scope"] not in ("read", "write", "read_write"):
        raise _Denied(f"Invalid scope {query['scope']}")
    for name in ("return_url", "callback_url"):
        if not urlsplit(_with_scheme(query[name])).hostname:
            raise _Denied(f"The {_with_scheme(query[name])} is not a valid URL")
    if not _with_scheme(query["callback_url"]).lower().startswith("https://"):
        raise _Denied("The callback_url needs to be over SSL")


def _with_scheme(url: str) -> str:
    url = unquote_plus(url)
    return url if "://" in url else f"https://{url}"


def _grant_url(shop: Shop, query: dict[str, str], step: str) -> str:
    values = {
        "app_name": query["app_name"],
        "user_id": query["user_id"],  # not encoded, which is how + = & are lost on the way
        "return_url": quote(_with_scheme(query["return_url"]), safe="-_.~"),
        "callback_url": quote(_with_scheme(query["callback_url"]), safe="-_.~"),
        "scope": query["scope"],
    }
    return f"{shop.url}/wc-auth/v1/{step}?{_wordpress_query(values)}"


def _return_url(query: dict[str, str], success: int) -> str:
    url = _with_scheme(query["return_url"])
    values = {"success": str(success), "user_id": query["user_id"]}
    return f"{url}{'&' if '?' in url else '?'}{_wordpress_query(values)}"


def _wordpress_query(values: dict[str, str]) -> str:
    """A query as ``add_query_arg`` and ``esc_url_raw`` leave it: not encoded, one trailing ``=`` stripped."""
    text = "&".join(f"{name}={value}" for name, value in values.items())
    text = re.sub(r"=(&|$)", r"\1", text).replace(" ", "%20")
    return re.sub(r"[^a-z0-9\-~+_.?#=!&;,/:%@$|*'()\[\]\x80-\U0010ffff]", "", text, flags=re.IGNORECASE)


def _login_page(query: dict[str, str], redirect: str, cancel: str, nonce: str) -> str:
    app = html.escape(query["app_name"])
    return (
        f"<h1>{app} would like to connect to your store</h1>"
        f"<p>To connect to {app} you need to be logged in. Log in to your store below, or "
        f'<a href="{html.escape(cancel)}">cancel and return to {app}</a></p>'
        '<form method="post"><input name="username"><input name="password" type="password">'
        f'<input type="hidden" name="woocommerce-login-nonce" value="{nonce}">'
        f'<input type="hidden" name="_wp_http_referer" value="">'
        f'<input type="hidden" name="redirect" value="{html.escape(redirect)}">'
        '<button name="login" value="Login">Login</button></form>'
    )


def _approve_page(query: dict[str, str], granted: str, deny: str) -> str:
    app = html.escape(query["app_name"])
    host = html.escape(urlsplit(_with_scheme(query["callback_url"])).hostname or "")
    return (
        f"<h1>{app} would like to connect to your store</h1>"
        f'<p>This will give "{app}" <strong>{query["scope"]}</strong> access. Approving will share credentials '
        f"with {host}. Do not proceed if this looks suspicious in any way.</p>"
        f'<a href="{html.escape(granted)}">Approve</a> <a href="{html.escape(deny)}">Deny</a>'
    )
