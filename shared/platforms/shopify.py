"""Shopify: hosted stores, reached by OAuth through the Admin GraphQL API.

Documented at https://shopify.dev/docs/api/admin-graphql; where that is silent, the schema of the version
that is called, Shopify's own libraries and what others recorded decide.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import lru_cache
from http import HTTPStatus
from operator import itemgetter
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from shared import clock
from shared.clock import from_text, short
from shared.platforms.base import (
    FORGED,
    GENUINE,
    Answer,
    App,
    Callback,
    Connection,
    Delivery,
    Event,
    Http,
    Identity,
    IdPage,
    Json,
    OrderStatus,
    Page,
    PlatformError,
    PlatformName,
    PrivacyKind,
    PrivacyRequest,
    ProductStatus,
    Record,
    Refusal,
    Resource,
    Subscribed,
    Tokens,
    Verdict,
)
from shared.platforms.reading import as_dict, as_dicts, as_text
from shared.platforms.signatures import is_base64_hmac, is_hex_hmac

VERSION = "2026-10"
SCOPES = ("read_products", "read_orders")
"""What the app asks for. ``Order.customer`` would need ``read_customers`` besides, so it is not read."""

_SHOP = re.compile(r"[a-z0-9][a-z0-9_-]*\.myshopify\.com")
_ORIGIN = re.compile(r"https://([a-z0-9][a-z0-9_-]*\.myshopify\.com)")
_TYPED = re.compile(r"(?:https://)?([a-z0-9][a-z0-9_-]*\.myshopify\.com)(?:[/?#].*)?", re.DOTALL)
_ADMIN = re.compile(r"(?:https://)?admin\.shopify\.com/store/([a-z0-9][a-z0-9_-]*)(?:[/?#].*)?", re.DOTALL)
_LONGEST_ADDRESS = 2_048
_LONGEST_NAME = 63
_TOKEN = re.compile(r"[!-~]{1,4096}")
_ID = re.compile(r"[1-9][0-9]{0,19}")
_GID = re.compile(rf"gid://shopify/(\w+)/{_ID.pattern}", re.ASCII)
_CODE = re.compile(r"[A-Za-z_]{1,60}")
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?")
_LONGEST_NUMBER = 30
_TOO_MANY = 10**_LONGEST_NUMBER
_EPOCH = 1970
_SHORT_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3])(?::[0-9]{2}){2}Z")

# How a row is asked for. The same fields everywhere, bulk included, so that a record is the same whichever
# way it came. No fragments: a bulk operation takes one bare query.
_MONEY = "{ shopMoney { amount } }"
_ORDER = f"""
    id name createdAt updatedAt cancelledAt displayFinancialStatus displayFulfillmentStatus
    currencyCode email note
    currentTotalPriceSet {_MONEY}
    totalRefundedSet {_MONEY}
    shippingAddress {{ name company address1 address2 city province provinceCode zip countryCodeV2 phone }}
    billingAddress {{ name phone }}
    transactions {{ fees {{ type amount {{ amount currencyCode }} taxAmount {{ amount currencyCode }} }} }}
"""
_LINE = f"""
    id title sku quantity currentQuantity
    customAttributes {{ key value }}
    originalUnitPriceSet {_MONEY}
    discountedTotalSet {_MONEY}
    product {{ id }}
    variant {{ id }}
"""
_PRODUCT = """
    id title status createdAt updatedAt onlineStoreUrl
    featuredMedia { preview { image { url } } }
"""
_VARIANT = "id title sku price inventoryQuantity selectedOptions { name value }"
_PAGE_INFO = "pageInfo { hasNextPage endCursor }"

SHOP = """
query Shop {
  shop { id name myshopifyDomain currencyCode ianaTimezone }
  currentAppInstallation { accessScopes { handle } }
}"""

ORDERS = f"""
query Orders($first: Int!, $after: String, $query: String, $inner: Int!) {{
  page: orders(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {{
    nodes {{ {_ORDER} children: lineItems(first: $inner) {{ nodes {{ {_LINE} }} {_PAGE_INFO} }} }}
    {_PAGE_INFO}
  }}
}}"""
NEWEST_ORDERS = f"""
query NewestOrders($first: Int!, $query: String, $inner: Int!) {{
  page: orders(first: $first, query: $query, sortKey: CREATED_AT, reverse: true) {{
    nodes {{ {_ORDER} children: lineItems(first: $inner) {{ nodes {{ {_LINE} }} {_PAGE_INFO} }} }}
    {_PAGE_INFO}
  }}
}}"""
ORDER = f"""
query Order($id: ID!, $inner: Int!) {{
  one: order(id: $id) {{ {_ORDER} children: lineItems(first: $inner) {{ nodes {{ {_LINE} }} {_PAGE_INFO} }} }}
}}"""
ORDER_LINES = f"""
query OrderLines($id: ID!, $inner: Int!, $after: String) {{
  one: order(id: $id) {{ children: lineItems(first: $inner, after: $after) {{ nodes {{ {_LINE} }} {_PAGE_INFO} }} }}
}}"""
ORDER_IDS = f"""
query OrderIds($first: Int!, $after: String, $query: String) {{
  page: orders(first: $first, after: $after, query: $query, sortKey: ID) {{ nodes {{ id }} {_PAGE_INFO} }}
}}"""
ORDERS_COUNT = """
query OrdersCount($query: String, $limit: Int) { counted: ordersCount(query: $query, limit: $limit) { count } }"""

PRODUCTS = f"""
query Products($first: Int!, $after: String, $query: String, $inner: Int!) {{
  page: products(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {{
    nodes {{ {_PRODUCT} children: variants(first: $inner) {{ nodes {{ {_VARIANT} }} {_PAGE_INFO} }} }}
    {_PAGE_INFO}
  }}
}}"""
PRODUCT = f"""
query Product($id: ID!, $inner: Int!) {{
  one: product(id: $id) {{ {_PRODUCT} children: variants(first: $inner) {{ nodes {{ {_VARIANT} }} {_PAGE_INFO} }} }}
}}"""
PRODUCT_VARIANTS = f"""
query ProductVariants($id: ID!, $inner: Int!, $after: String) {{
  one: product(id: $id) {{ children: variants(first: $inner, after: $after) {{ nodes {{ {_VARIANT} }} {_PAGE_INFO} }} }}
}}"""
PRODUCT_IDS = f"""
query ProductIds($first: Int!, $after: String, $query: String) {{
  page: products(first: $first, after: $after, query: $query, sortKey: ID) {{ nodes {{ id }} {_PAGE_INFO} }}
}}"""
PRODUCTS_COUNT = """
query ProductsCount($query: String, $limit: Int) { counted: productsCount(query: $query, limit: $limit) { count } }"""

# https://shopify.dev/docs/api/usage/bulk-operations/queries: edges with node and id, no variables
BULK_ORDERS = f"""{{
  orders(query: "status:any") {{
    edges {{ node {{ {_ORDER} lineItems {{ edges {{ node {{ {_LINE} }} }} }} }} }}
  }}
}}"""
BULK_PRODUCTS = f"""{{
  products {{
    edges {{ node {{ {_PRODUCT} variants {{ edges {{ node {{ {_VARIANT} }} }} }} }} }}
  }}
}}"""
BULK_START = """
mutation StartBulk($query: String!) {
  done: bulkOperationRunQuery(query: $query, groupObjects: true) {
    bulkOperation { id createdAt }
    userErrors { field message code }
  }
}"""
BULK_STATE = """
query BulkState($id: ID!) { bulkOperation(id: $id) { id status createdAt objectCount rootObjectCount url } }"""
BULK_RECENT = """
query RecentBulk($first: Int!, $query: String) {
  page: bulkOperations(first: $first, query: $query, sortKey: CREATED_AT, reverse: true) {
    nodes { id status createdAt query }
  }
}"""

SUBSCRIPTIONS = f"""
query Subscriptions($first: Int!, $after: String) {{
  page: webhookSubscriptions(first: $first, after: $after) {{
    nodes {{ id topic uri format includeFields filter }}
    {_PAGE_INFO}
  }}
}}"""
SUBSCRIBE = """
mutation Subscribe($topic: WebhookSubscriptionTopic!, $webhook: WebhookSubscriptionInput!) {
  done: webhookSubscriptionCreate(topic: $topic, webhookSubscription: $webhook) {
    webhookSubscription { id }
    userErrors { field message }
  }
}"""
REPAIR = """
mutation Repair($id: ID!, $webhook: WebhookSubscriptionInput!) {
  done: webhookSubscriptionUpdate(id: $id, webhookSubscription: $webhook) {
    webhookSubscription { id }
    userErrors { field message }
  }
}"""
UNSUBSCRIBE = """
mutation Unsubscribe($id: ID!) {
  done: webhookSubscriptionDelete(id: $id) { deletedWebhookSubscriptionId userErrors { field message } }
}"""
UNINSTALL = """
mutation Uninstall { done: appUninstall { app { id } userErrors { field message code } } }"""

_FIELDS = ("id", "admin_graphql_api_id", "updated_at")
"""What a delivery about a record shall hold: it is a hint, and the record is looked up."""
TOPICS: Mapping[str, Sequence[str]] = {
    "ORDERS_CREATE": _FIELDS,
    "ORDERS_UPDATED": _FIELDS,
    "ORDERS_CANCELLED": _FIELDS,
    "ORDERS_DELETE": _FIELDS,
    "PRODUCTS_CREATE": _FIELDS,
    "PRODUCTS_UPDATE": _FIELDS,
    "PRODUCTS_DELETE": _FIELDS,
    "APP_UNINSTALLED": (),
    "APP_SCOPES_UPDATE": (),
}
_TOPIC_RESOURCES = {"orders": Resource.ORDERS, "products": Resource.PRODUCTS}
_CHANGES = {"create", "update", "updated", "cancelled", "paid", "fulfilled", "partially_fulfilled", "delete"}
_ACCESS_TOPICS = {
    "app/uninstalled": Event(None, access_lost=True, disconnected=True),
    "app/scopes_update": Event(None, access_lost=True),
}
_PRIVACY_TOPICS = {
    "customers/data_request": (PrivacyKind.REPORT, "orders_requested"),
    "customers/redact": (PrivacyKind.ERASE_CUSTOMER, "orders_to_redact"),
    "shop/redact": (PrivacyKind.ERASE_STORE, ""),
}
"""https://shopify.dev/docs/apps/build/compliance/privacy-law-compliance, and which field names the orders."""
_OLDER, _NEWER = (
    itemgetter(*(f"{prefix}{name}" for name in ("topic", "shop-domain", "api-version", "webhook-id")))
    for prefix in ("x-shopify-", "shopify-")
)
"""Read the headers that every delivery has."""
_PARSED_HEADERS = frozenset(
    {"shopify-hmac-sha256", "shopify-topic", "shopify-shop-domain", "x-shopify-topic", "x-shopify-shop-domain"}
)
_HEADERS = re.compile(r"[A-Za-z0-9_./:-]+ [A-Za-z0-9][A-Za-z0-9._-]* [A-Za-z0-9._-]+ [A-Za-z0-9-]+")
"""Their values, a blank between, which none of them has."""

_FINANCIAL = {
    "PAID": OrderStatus.PAID,
    "PARTIALLY_REFUNDED": OrderStatus.PAID,
    "PENDING": OrderStatus.PENDING,
    "AUTHORIZED": OrderStatus.PENDING,
    "PARTIALLY_PAID": OrderStatus.PENDING,
    "EXPIRED": OrderStatus.PENDING,
    "REFUNDED": OrderStatus.REFUNDED,
    "VOIDED": OrderStatus.CANCELLED,
}
_FULFILLMENT = {
    "FULFILLED": OrderStatus.COMPLETED,
    "FULFILLMENT_NOT_REQUIRED": OrderStatus.COMPLETED,
    "PARTIALLY_FULFILLED": OrderStatus.PARTLY_SHIPPED,
}
_NOT_SHIPPED = {
    "UNFULFILLED", "OPEN", "IN_PROGRESS", "ON_HOLD", "PENDING_FULFILLMENT", "REQUEST_DECLINED", "RESTOCKED",
    "SCHEDULED",
}  # fmt: skip
_ADDRESS = {
    "name": "name",
    "company": "company",
    "line1": "address1",
    "line2": "address2",
    "city": "city",
    "region": "provinceCode",
    "postalCode": "zip",
    "country": "countryCodeV2",
}
_PRODUCT_STATUS = {
    "ACTIVE": ProductStatus.ACTIVE,
    "UNLISTED": ProductStatus.ACTIVE,
    "DRAFT": ProductStatus.DRAFT,
    "ARCHIVED": ProductStatus.INACTIVE,
}

_MOST_COST = 1_000
"""What a single query may be priced at: https://shopify.dev/docs/api/usage/limits."""
_MOST_ROWS = 100
_NEWEST, _NEWEST_LINES = 25, 20
"""How many of the newest orders, and lines of each: few, so that the import after them finds the budget nearly full."""
_MOST_IDS = 250
_MOST_DEEP = 20_000
"""How many rows one search is paged through; Shopify ends each at 25,000."""
_MOST_INNER_PAGES = 100
_OVERLAP = timedelta(minutes=5)
_ORDERS_SEEN = timedelta(days=59)
"""Without ``read_all_orders`` an app sees the orders of the last 60 days."""
_LONGEST_WAIT = 3_600
_SOON = timedelta(seconds=1)

_FEW = 500
"""Up to so many rows are paged through; more are a job of Shopify's own."""
_JOBS_LISTED = 10
_LONGEST_JOB = timedelta(days=1)
_FIRST_POLL, _LAST_POLL = 3, 30
_RUNNING = {"CREATED", "RUNNING", "CANCELING"}
_SPAN = 1024 * 1024
_RESULT = re.compile(
    r"https://(?:(?:[a-z0-9-]+\.)*storage\.googleapis\.com|(?:[a-z0-9-]+\.)+shopify(?:cloud)?\.com)/[!\"$-\[\]-~]*"
)
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")

_OFFLINE = "urn:shopify:params:oauth:token-type:offline-access-token"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_NOT_OURS = {"invalid_subject_token", "invalid_grant", "app_not_installed"}
_FRESH_SECONDS = 90
_LONGEST_LIFE = 10 * 366 * 86_400
_PERSONAL = {"email", "note", "shippingAddress", "billingAddress"}
"""Fields of an order for which an app needs Shopify's approval: protected customer data."""

_PHRASES = (
    rb'{"admin_graphql_api_id":"gid://shopify/Product/","body_html":"","created_at":null,"handle":"","id":0,"pr'
    rb'oduct_type":"","published_at":"2026-11-","template_suffix":null,"title":"","updated_at":"2026-11-","vend'
    rb'or":"","status":"active","published_scope":"","tags":"","variants":[{"admin_graphql_api_id":"gid://shopi'
    rb'fy/ProductVariant/","barcode":null,"compare_at_price":"0.00","created_at":"2026-11-","id":0,"inventory_p'
    rb'olicy":"","position":0,"price":"0.00","product_id":0,"sku":null,"taxable":true,"title":"","updated_at":"'
    rb'2026-11-","option1":"","option2":null,"option3":null,"image_id":null,"inventory_item_id":null,"inventory'
    rb'_quantity":0,"old_inventory_quantity":0}],"options":[],"images":[],"image":null,"media":[],"variant_gids'
    rb'":[{"admin_graphql_api_id":"gid://shopify/ProductVariant/","updated_at":"2026-11-"}],"has_variants_that_'
    rb'requires_components":false,"category":null}{"id":0,"admin_graphql_api_id":"gid://shopify/Order/","app_id'
    rb'":null,"browser_ip":null,"buyer_accepts_marketing":true,"cancel_reason":"","cancelled_at":"2026-11-","ca'
    rb'rt_token":null,"checkout_token":null,"client_details":null,"closed_at":null,"confirmation_number":null,"'
    rb'confirmed":false,"contact_email":"","created_at":"2026-11-","currency":"USD","current_shipping_price_set'
    rb'":{"shop_money":{"amount":"0.00","currency_code":"USD"},"presentment_money":{"amount":"0.00","currency_c'
    rb'ode":"USD"}},"current_subtotal_price":"0.00","current_subtotal_price_set":{"shop_money":{"amount":"0.00"'
    rb',"currency_code":"USD"},"presentment_money":{"amount":"0.00","currency_code":"USD"}},"current_total_addi'
    rb'tional_fees_set":null,"current_total_discounts":"0.00","current_total_discounts_set":{"shop_money":{"amo'
    rb'unt":"0.00","currency_code":"USD"},"presentment_money":{"amount":"0.00","currency_code":"USD"}},"current'
    rb'_total_duties_set":null,"current_total_price":"0.00","current_total_price_set":{"shop_money":{"amount":"'
    rb'0.00","currency_code":"USD"},"presentment_money":{"amount":"0.00","currency_code":"USD"}},"current_total'
    rb'_tax":"0.00","current_total_tax_set":{"shop_money":{"amount":"0.00","currency_code":"USD"},"presentment_'
    rb'money":{"amount":"0.00","currency_code":"USD"}},"customer_locale":"","device_id":null,"discount_codes":['
    rb'],"duties_included":false,"email":"","estimated_taxes":false,"financial_status":"","fulfillment_status":'
    rb'null,"landing_site":null,"landing_site_ref":null,"location_id":null,"merchant_business_entity_id":"","me'
    rb'rchant_of_record_app_id":null,"name":"","note":null,"note_attributes":[],"number":0,"order_number":0,"or'
    rb'der_status_url":"","original_total_additional_fees_set":null,"original_total_duties_set":null,"payment_g'
    rb'ateway_names":[""],"phone":null,"po_number":null,"presentment_currency":"USD","processed_at":"2026-11-",'
    rb'"reference":null,"referring_site":null,"source_identifier":null,"source_name":"","source_url":null,"subt'
    rb'otal_price":"0.00","subtotal_price_set":{"shop_money":{"amount":"0.00","currency_code":"USD"},"presentme'
    rb'nt_money":{"amount":"0.00","currency_code":"USD"}},"tags":"","tax_exempt":false,"tax_lines":[],"taxes_in'
    rb'cluded":false,"test":true,"token":"","total_cash_rounding_payment_adjustment_set":{"shop_money":{"amount'
    rb'":"0.00","currency_code":"USD"},"presentment_money":{"amount":"0.00","currency_code":"USD"}},"total_cash'
    rb'_rounding_refund_adjustment_set":{"shop_money":{"amount":"0.00","currency_code":"USD"},"presentment_mone'
    rb'y":{"amount":"0.00","currency_code":"USD"}},"total_discounts":"0.00","total_discounts_set":{"shop_money"'
    rb':{"amount":"0.00","currency_code":"USD"},"presentment_money":{"amount":"0.00","currency_code":"USD"}},"t'
    rb'otal_line_items_price":"0.00","total_line_items_price_set":{"shop_money":{"amount":"0.00","currency_code'
    rb'":"USD"},"presentment_money":{"amount":"0.00","currency_code":"USD"}},"total_outstanding":"0.00","total_'
    rb'price":"0.00","total_price_set":{"shop_money":{"amount":"0.00","currency_code":"USD"},"presentment_money'
    rb'":{"amount":"0.00","currency_code":"USD"}},"total_shipping_price_set":{"shop_money":{"amount":"0.00","cu'
    rb'rrency_code":"USD"},"presentment_money":{"amount":"0.00","currency_code":"USD"}},"total_tax":"0.00","tot'
    rb'al_tax_set":{"shop_money":{"amount":"0.00","currency_code":"USD"},"presentment_money":{"amount":"0.00","'
    rb'currency_code":"USD"}},"total_tip_received":"0.00","total_weight":0,"updated_at":"2026-11-","user_id":nu'
    rb'll,"billing_address":{"first_name":"","address1":"","phone":"","city":"","zip":"","province":"","country'
    rb'":"","last_name":"","address2":null,"company":"","latitude":null,"longitude":null,"name":"","country_cod'
    rb'e":"","province_code":""},"customer":{"id":0,"created_at":null,"updated_at":null,"first_name":"","last_n'
    rb'ame":"","state":"","note":null,"verified_email":true,"multipass_identifier":null,"tax_exempt":false,"ema'
    rb'il":"","phone":null,"currency":"USD","tax_exemptions":[],"admin_graphql_api_id":"gid://shopify/Customer/'
    rb'","default_address":{"id":0,"customer_id":0,"first_name":"","last_name":"","company":null,"address1":"",'
    rb'"address2":null,"city":"","province":"","country":"","zip":"","phone":"","name":"","province_code":"","c'
    rb'ountry_code":"","country_name":"","default":true}},"discount_applications":[],"fulfillments":[],"line_it'
    rb'ems":[{"id":0,"admin_graphql_api_id":"gid://shopify/LineItem/","attributed_staffs":[{"id":"gid://shopify'
    rb'/StaffMember/","quantity":0}],"current_quantity":0,"fulfillable_quantity":0,"fulfillment_service":"manua'
    rb'l","fulfillment_status":null,"gift_card":false,"grams":0,"name":"","price":"0.00","price_set":{"shop_mon'
    rb'ey":{"amount":"0.00","currency_code":"USD"},"presentment_money":{"amount":"0.00","currency_code":"USD"}}'
    rb',"product_exists":true,"product_id":0,"properties":[],"quantity":0,"requires_shipping":true,"sales_line_'
    rb'item_group_id":null,"sku":"","taxable":true,"title":"","total_discount":"0.00","total_discount_set":{"sh'
    rb'op_money":{"amount":"0.00","currency_code":"USD"},"presentment_money":{"amount":"0.00","currency_code":"'
    rb'USD"}},"variant_id":null,"variant_inventory_management":null,"variant_title":null,"vendor":null,"tax_lin'
    rb'es":[],"duties":[],"discount_allocations":[]}],"payment_terms":null,"refunds":[],"shipping_address":{"fi'
    rb'rst_name":"","address1":"","phone":"","city":"","zip":"","province":"","country":"","last_name":"","addr'
    rb'ess2":null,"company":"","latitude":null,"longitude":null,"name":"","country_code":"","province_code":""}'
    rb',"shipping_lines":[{"id":0,"carrier_identifier":null,"code":null,"current_discounted_price_set":{"shop_m'
    rb'oney":{"amount":"0.00","currency_code":"USD"},"presentment_money":{"amount":"0.00","currency_code":"USD"'
    rb'}},"discounted_price":"0.00","discounted_price_set":{"shop_money":{"amount":"0.00","currency_code":"USD"'
    rb'},"presentment_money":{"amount":"0.00","currency_code":"USD"}},"is_removed":false,"phone":null,"price":"'
    rb'0.00","price_set":{"shop_money":{"amount":"0.00","currency_code":"USD"},"presentment_money":{"amount":"0'
    rb'.00","currency_code":"USD"}},"requested_fulfillment_service_id":null,"source":"","title":"","tax_lines":'
    rb'[],"discount_allocations":[]}],"returns":[],"line_item_groups":[]}'
)
"""The names in the webhooks of a product and of an order, and what mostly follows them."""


class Shopify:
    """Fits Platform, ShowsNewest, the four Protocols of webhooks, GrantsByOAuth and RevokesGrants."""

    name = PlatformName.SHOPIFY
    credential_sets = (frozenset({"access_token"}), frozenset({"access_token", "refresh_token"}))
    parsed_headers = _PARSED_HEADERS
    phrases = (_PHRASES,)
    token_life = timedelta(hours=1)

    def normal_domain(self, text: str) -> str:
        """The store's permanent address; the dashboard's, which sellers copy, tells it too."""
        typed = text.strip()
        if len(typed) <= _LONGEST_ADDRESS and typed.isascii():
            if match := _ADMIN.fullmatch(typed.lower()):
                return _origin(f"{match[1]}.myshopify.com")
            if match := _TYPED.fullmatch(typed.lower()):
                return _origin(match[1])
        raise ValueError(
            "The address must be the store's own at Shopify, such as my-store.myshopify.com: "
            "it is shown in the admin under Settings, Domains."
        )

    def probe(self, connection: Connection, http: Http) -> Identity:
        """One query names the store, proves the token and tells its scopes."""
        api = _Api(connection, http, clock.now())
        data = api.ask(SHOP, {}).data
        shop, installation = as_dict(data.get("shop")), as_dict(data.get("currentAppInstallation"))
        own = as_text(shop.get("myshopifyDomain")).lower()
        if not _SHOP.fullmatch(own):
            raise PlatformError(Refusal.NOT_THE_PLATFORM, "Shopify did not name the store.", status=200)
        if own != api.host:
            raise PlatformError(Refusal.ADDRESS, f"The store's own address is {own}: connect it by that one.")
        scopes = frozenset(as_text(scope.get("handle")) for scope in as_dicts(installation.get("accessScopes")))
        _refuse_missing(scopes)
        return Identity(
            store_id=own,
            domain=connection.domain,
            store_name=as_text(shop.get("name")) or None,
            currency=as_text(shop.get("currencyCode")) or None,
            timezone=_timezone(shop.get("ianaTimezone")),
            scopes=scopes,
        )

    def fetch(self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime) -> Page:
        """The next page of a cycle: of a search (see :class:`_Place`), or of a bulk result (see :class:`_Job`)."""
        api = _Api(connection, http, now)
        kind = _KINDS[resource]
        if cursor is None:
            return _begun(api, kind, now)
        if "bulk" in cursor:
            return _followed(api, kind, _Job(**cursor), now)
        return _turned(api, kind, _Place(**cursor), now)

    def fetch_one(self, connection: Connection, resource: Resource, id: str, http: Http) -> Record:
        """The record by its global id; the bare number that a webhook may name does too."""
        api = _Api(connection, http, clock.now())
        kind = _KINDS[resource]
        try:
            gid = _gid(kind, id)
        except ValueError:
            raise PlatformError(Refusal.NOT_FOUND, "This is no id of Shopify.") from None
        node = api.ask(kind.one, {"id": gid, "inner": kind.inner_rest}).data.get("one")
        if node is None:
            raise PlatformError(Refusal.NOT_FOUND, f"Shopify says that {gid} does not exist.", status=200)
        try:
            return kind.record(_completed(api, kind, as_dict(node)), api.currency)
        except ValueError:
            raise PlatformError(Refusal.NOT_UNDERSTOOD, f"{gid} was not understood.") from None

    def list_ids(
        self, connection: Connection, resource: Resource, cursor: Json | None, http: Http, now: datetime
    ) -> IdPage:
        """Orders only as far back as every app may see them."""
        api = _Api(connection, http, now)
        kind = _KINDS[resource]
        place = _Ids(**cursor) if cursor else _Ids(since=short(_whole(now - kind.seen)) if kind.seen else "")
        search = _search(
            kind.search,
            f"created_at:>='{place.since}'" if place.since else "",
            f"id:>{place.above}" if place.above else "",
        )
        reply = api.ask(kind.ids, {"first": _MOST_IDS, "after": place.after or None, "query": search or None})
        nodes, after = _connection(reply.data.get("page"), place.after)
        ids = [_checked_gid(kind, node.get("id")) for node in nodes]
        following = place._replace(after=after or "", rows=place.rows + len(ids))
        if after and ids and following.rows >= _MOST_DEEP:
            following = _Ids(place.since, above=ids[-1].rpartition("/")[2])
        since = from_text(place.since) if place.since else None
        return IdPage(ids, following.written(), not after, since, _ready_at(reply.cost, 1, now) if after else None)

    def newest_orders(self, connection: Connection, http: Http, now: datetime) -> Sequence[Record]:
        """By their times of creation; a job, which a large store's import is, would show them after all others."""
        api = _Api(connection, http, now)
        kind = _KINDS[Resource.ORDERS]
        variables = {"first": _NEWEST, "query": kind.search, "inner": _NEWEST_LINES}
        nodes, _ = _connection(api.ask(NEWEST_ORDERS, variables).data.get("page"), "")
        return _records(api, kind, nodes)[0]

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: datetime) -> Verdict:  # noqa: ARG002
        """The base64 HMAC of the body; nothing is dated, since retries come for hours.

        https://shopify.dev/docs/apps/build/webhooks/verify-deliveries
        """
        headers, body = delivery.headers, delivery.body
        try:
            if "shopify-hmac-sha256" in headers:  # as _prefix decides
                signature, told = headers["shopify-hmac-sha256"], " ".join(_NEWER(headers))
                whole = headers["shopify-event-id"] != ""
            else:
                signature, told = headers["x-shopify-hmac-sha256"], " ".join(_OLDER(headers))
                whole = True
        except KeyError:
            return FORGED
        if not (whole and body and _HEADERS.fullmatch(told)):
            return FORGED
        return GENUINE if is_base64_hmac(signature, body, secrets) else FORGED

    def topic(self, delivery: Delivery) -> str:
        """As the header names it."""
        return delivery.headers.get(f"{_prefix(delivery)}topic", "")

    def event_id(self, delivery: Delivery) -> str:
        """Stays the same when a delivery is tried again."""
        return delivery.headers.get(f"{_prefix(delivery)}webhook-id", "")

    def parse(self, delivery: Delivery) -> Sequence[Event]:
        """One event, or none: jobs and the like concern no record that is kept in sync."""
        topic = self.topic(delivery)
        if topic in _ACCESS_TOPICS:
            return [_ACCESS_TOPICS[topic]]
        if topic in _PRIVACY_TOPICS:
            payload = _payload(delivery)
            if as_text(payload.get("shop_domain")).lower() != self.store_of(delivery):
                raise ValueError("The shop of the body is not that of the header, which nobody signs.")
            return [Event(None, privacy=_privacy(topic, payload))]
        subject, _, change = topic.partition("/")
        resource = _TOPIC_RESOURCES.get(subject)
        if resource is None or change not in _CHANGES:
            return []
        payload = _payload(delivery)
        named = payload.get("admin_graphql_api_id") or payload.get("id")
        if "id" not in payload and named is None:
            return []  # what Shopify's own tools send to try an address out
        return [Event(resource, _gid(_KINDS[resource], named), deleted=change == "delete")]

    def whole_id(self, resource: Resource, text: str) -> str:
        """The global id for its number, since an address cannot hold the slashes."""
        return f"gid://shopify/{_KINDS[resource].type}/{text}" if _ID.fullmatch(text) else text

    def app_secrets(self, app: App) -> Sequence[str]:
        """For an hour after a rotation, deliveries may still be signed with the secret before."""
        return _secrets(app)

    def store_of(self, delivery: Delivery) -> str:
        """The shop's domain, which is the store's id."""
        domain = delivery.headers.get(f"{_prefix(delivery)}shop-domain", "").lower()
        return domain if _SHOP.fullmatch(domain) else ""

    def reconcile(
        self,
        connection: Connection,
        delivery_url: str,
        secret: str,  # noqa: ARG002 - Shopify signs with the app's own
        http: Http,
    ) -> Subscribed:
        """Subscriptions are ours by their address; a store's earlier address differs in its last segment only."""
        api = _Api(connection, http, clock.now())
        missing = dict.fromkeys(TOPICS)
        repaired = removed = kept = 0
        # the current address first, so that what is removed as too much is the old one
        for hook in sorted(_our_webhooks(api, delivery_url), key=lambda hook: hook.get("uri") != delivery_url):
            topic = as_text(hook.get("topic"))
            if topic not in missing or hook.get("filter"):
                _delete_webhook(api, hook)
                removed += 1
                continue
            del missing[topic]
            if _is_as_wanted(hook, delivery_url):
                kept += 1
            else:
                _done(api.ask(REPAIR, {"id": hook.get("id"), "webhook": _webhook(topic, delivery_url)}), api)
                repaired += 1
        for topic in missing:
            _done(api.ask(SUBSCRIBE, {"topic": topic, "webhook": _webhook(topic, delivery_url)}), api)
        return Subscribed(len(missing), repaired, removed, kept)

    def unsubscribe(self, connection: Connection, delivery_url: str, http: Http) -> None:
        """Deletes the subscriptions that deliver to ``delivery_url``."""
        api = _Api(connection, http, clock.now())
        for hook in _our_webhooks(api, delivery_url):
            if hook.get("uri") == delivery_url:
                _delete_webhook(api, hook)

    def authorization_url(
        self,
        app: App,
        domain: str,
        *,
        state: str,
        return_url: str,
        challenge: str,  # noqa: ARG002 - Shopify has no PKCE
    ) -> str:
        """Without ``grant_options`` the token is the store's, not one person's."""
        query = {
            "client_id": app.client_id,
            "scope": ",".join(SCOPES),
            "redirect_uri": return_url,
            "state": state,
        }
        return f"https://{_host(domain)}/admin/oauth/authorize?{urlencode(query)}"

    def read_callback(self, app: App, query: Sequence[tuple[str, str]], now: datetime) -> Callback:
        """Signature first, then freshness, then the shop's name.

        A seller who declines comes back with an ``error``, signed or not: unsigned, it names no store.
        """
        given = dict(query)
        if any(sum(name == other for other, _ in query) > 1 for name in given if not name.endswith("[]")):
            raise ValueError("The address from Shopify holds a value twice.")
        if "error" in given:
            return _declined(app, query, now)
        shop, code = _proved_shop(app, query, now), given.get("code", "")
        if not _TOKEN.fullmatch(code):
            raise ValueError("The address from Shopify holds no code.")
        return Callback(given.get("state", ""), code, f"https://{shop}")

    def known_store_id(self, domain: str) -> str | None:
        """The permanent domain is the id."""
        match = _ORIGIN.fullmatch(domain)
        return match[1] if match else None

    def exchange(
        self,
        app: App,
        domain: str,
        code: str,
        *,
        return_url: str,  # noqa: ARG002 - Shopify does not ask for it again
        verifier: str,  # noqa: ARG002 - Shopify has no PKCE
        http: Http,
        now: datetime,
    ) -> Tokens:
        """The pair for a code.

        An app that is exempt may get a permanent token instead: it has no refresh token and no end, and the
        first refresh will try to exchange it.
        """
        answer = _ask_for_tokens(app, domain, {"code": code, "expiring": "1"}, http)
        content = _granted(answer, now)
        if "scope" in content:
            _refuse_missing(frozenset(_required_scope(content).split(",")))
        return _tokens(content, now)

    def stores_of(self, connection: Connection, http: Http) -> Sequence[Identity]:
        """A grant covers one store."""
        return [self.probe(connection, http)]

    def refresh(self, connection: Connection, http: Http, now: datetime) -> Tokens:
        """A new pair. Where there is a permanent token only, it is exchanged for one.

        https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/offline-access-tokens
        """
        app, credentials = connection.app, connection.credentials
        if app is None:
            raise PlatformError(Refusal.REQUEST, "Our registration at Shopify is not set up.")
        if spent := credentials.get("refresh_token"):
            asked = {"grant_type": "refresh_token", "refresh_token": spent}
            return _tokens(_granted(_ask_for_tokens(app, connection.domain, asked, http), now), now)
        permanent = credentials.get("access_token", "")
        if not permanent:
            raise PlatformError(Refusal.CREDENTIALS, "The store has no token.")
        answer = _ask_for_tokens(app, connection.domain, _migration(permanent), http)
        if _error_of(answer)[0] in _NOT_OURS and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            # Of an app that the merchant made: those keep their permanent tokens.
            return Tokens(permanent, never_expires=True)
        return _tokens(_granted(answer, now), now)

    def revoke(self, connection: Connection, http: Http) -> None:
        """Uninstalls the app, which takes its subscriptions along."""
        api = _Api(connection, http, clock.now())
        gone = {"APP_NOT_FOUND", "APP_NOT_INSTALLED"}
        errors = as_dicts(as_dict(api.ask(UNINSTALL, {}).data.get("done")).get("userErrors"))
        _refuse_user_errors([error for error in errors if error.get("code") not in gone], api)


class _Kind(NamedTuple):
    """How one resource is asked for and read."""

    type: str
    page: str
    one: str
    rest: str
    """A further page of one row's lines or variants."""
    ids: str
    counted: str
    bulk: str
    search: str
    size: int
    """Rows of a first page: with ``inner`` of each, below ``_MOST_COST`` by the published prices."""
    inner: int
    inner_rest: int
    seen: timedelta | None
    """How far back its rows are sure to be shown."""
    record: Callable[[Json, str], Record]


class _Cost(NamedTuple):
    """What Shopify said of the budget: points, and points a second."""

    requested: float
    available: float
    maximum: float
    rate: float


class _Reply(NamedTuple):
    """A query's answer."""

    data: Json
    cost: _Cost | None
    denied: frozenset[str]
    """Personal fields that Shopify left out."""


class _TooCostly(PlatformError):
    """The query asks for too much at once."""


class _NoResult(Exception):
    """A bulk operation's result that cannot be had or trusted."""


class _Api:
    """One store's Admin API, for as long as one call to the adapter lasts."""

    def __init__(self, connection: Connection, http: Http, now: datetime) -> None:
        self.host = _host(connection.domain)
        self.currency = connection.currency
        self._http = http
        self._now = now
        self._token = connection.credentials.get("access_token", "")
        if not _TOKEN.fullmatch(self._token):
            raise PlatformError(Refusal.CREDENTIALS, "The store has no access token.")

    def ask(self, document: str, variables: Json) -> _Reply:
        """Runs one of the documents above."""
        answer = self._http.request(
            "POST",
            f"https://{self.host}/admin/api/{VERSION}/graphql.json",
            headers={"X-Shopify-Access-Token": self._token},
            json={"query": document, "variables": variables},
        )
        if answer.status != HTTPStatus.OK:
            raise _refusal(answer, self._now)
        content = _json_or_none(answer.body)
        if not isinstance(content, dict):
            raise PlatformError(
                Refusal.NOT_THE_PLATFORM, "Shopify answered with something else than JSON.", status=answer.status
            )
        cost = _cost(content)
        denied = self._denied(content, cost)
        if not isinstance(content.get("data"), dict):
            raise PlatformError(Refusal.NOT_THE_PLATFORM, "Shopify answered without data.", status=answer.status)
        return _Reply(content["data"], cost, denied)

    def download(self, url: Any, offset: int) -> tuple[bytes, bool]:
        """A stretch of a bulk result, and whether it is the last. The token stays here: the host is another."""
        if not isinstance(url, str) or not _RESULT.fullmatch(url):
            raise _NoResult("elsewhere")
        answer = self._http.request(
            "GET", url, headers={"Range": f"bytes={offset}-{offset + _SPAN - 1}", "Accept-Encoding": "identity"}
        )
        if answer.status == HTTPStatus.OK:
            return answer.body[offset:], True
        if answer.status == HTTPStatus.PARTIAL_CONTENT:
            return answer.body, _is_last(answer, offset)
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _refusal(answer, self._now)
        raise _NoResult("gone")

    def hides(self, text: str) -> bool:
        """Whether ``text`` may be shown."""
        return self._token not in text

    def _denied(self, content: Json, cost: _Cost | None) -> frozenset[str]:
        """The personal fields that are missing; raises for every other error. They come with HTTP 200."""
        errors = content.get("errors")
        if not errors:
            return frozenset()
        found = [(_code_of(error), _path_of(error)) for error in as_dicts(errors)]
        fields = {name for code, path in found for name in path if name in _PERSONAL and code == "ACCESS_DENIED"}
        if found and all(code == "ACCESS_DENIED" and fields.intersection(path) for code, path in found):
            return frozenset(fields)
        raise _graphql_refusal(found, cost, self._now)


def _graphql_refusal(
    errors: Sequence[tuple[str, Sequence[str]]], cost: _Cost | None, now: datetime | None
) -> PlatformError:
    """What errors of GraphQL mean, the one that decides first."""
    codes = dict(reversed(errors))
    status = int(HTTPStatus.OK)
    if "THROTTLED" in codes:
        # the bucket fills on: what was lacking may be there by the time the answer is
        retry_at = (_ready_at(cost, 1, now) or now + _SOON) if cost and now else None
        return PlatformError(Refusal.RATE_LIMITED, "Shopify asks us to wait.", status=status, retry_at=retry_at)
    if "MAX_COST_EXCEEDED" in codes:
        return _TooCostly(Refusal.REQUEST, "We asked Shopify for too much at once.", status=status)
    if "ACCESS_DENIED" in codes:
        where = ".".join(codes["ACCESS_DENIED"])
        return PlatformError(Refusal.PERMISSION, f"Shopify does not let the app read {where or 'this'}.", status=status)
    if "SHOP_INACTIVE" in codes:
        return PlatformError(Refusal.TRANSIENT, _FROZEN, status=status)
    if codes.keys() & {"INTERNAL_SERVER_ERROR", "TIMEOUT"}:
        return PlatformError(Refusal.TRANSIENT, "Shopify failed to answer a query.", status=status)
    named = ", ".join(sorted(code for code in codes if code)) or "no code"
    return PlatformError(Refusal.REQUEST, f"Shopify refused our query: {named}.", status=status)


_FROZEN = "Shopify has frozen or locked the store: its owner must settle that with Shopify."


def _refusal(answer: Answer, now: datetime | None) -> PlatformError:
    """What an answer that is no success means: https://shopify.dev/docs/api/usage/response-codes."""
    status = answer.status
    wait = answer.headers.get("retry-after")
    is_shopifys = "errors" in as_dict(_json_or_none(answer.body))
    retry_at = None
    if status in (HTTPStatus.TOO_MANY_REQUESTS, 430) or (status == HTTPStatus.SERVICE_UNAVAILABLE and wait):
        refusal, detail = Refusal.RATE_LIMITED, "Shopify asks us to wait."
        retry_at = _after(wait, now)
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        refusal, detail = Refusal.TRANSIENT, f"Shopify failed with status {status}."
    elif status == HTTPStatus.UNAUTHORIZED:
        refusal, detail = Refusal.CREDENTIALS, "Shopify refuses the access token."
    elif status in (HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.LOCKED):
        # Nobody can grant anything here, and the store comes back as it was: it is tried again.
        refusal, detail = Refusal.TRANSIENT, _FROZEN
    elif status == HTTPStatus.FORBIDDEN and is_shopifys:
        refusal, detail = Refusal.PERMISSION, "The app lacks a permission, or its kind of token is no longer taken."
    elif status == HTTPStatus.NOT_FOUND or not is_shopifys:
        refusal = Refusal.NOT_THE_PLATFORM
        detail = f"Shopify answered {status}: there is no such store, or something in between answered."
    else:
        refusal, detail = Refusal.REQUEST, f"Shopify refused our request with status {status}."
    return PlatformError(refusal, detail, status=status, retry_at=retry_at)


# A search by time of change


class _Place(NamedTuple):
    """Where a cycle of paging stands. Times are text, as the search takes them.

    A search sorted by time of change is paged by Shopify's cursor, which holds time and id of the last row:
    rows that change meanwhile are met again at the end, never skipped.
    """

    since: str = ""
    started: str = ""
    after: str = ""
    size: int = 0
    cap: int = 0
    """What size proved too much in this cycle, halved."""
    rows: int = 0
    """Read since ``since``."""

    def written(self) -> Json:
        """The cursor: only what is not as by default."""
        return {name: value for name, value in self._asdict().items() if value}

    def smaller(self, size: int) -> "_Place":
        return self._replace(size=max(1, size // 2), cap=max(1, size // 2))


class _Ids(NamedTuple):
    """Where the listing of ids stands."""

    since: str = ""
    after: str = ""
    above: str = ""
    rows: int = 0

    def written(self) -> Json:
        """The cursor: only what is not as by default."""
        return {name: value for name, value in self._asdict().items() if value}


def _turned(api: _Api, kind: _Kind, place: _Place, now: datetime) -> Page:
    """One page, or a smaller one to be asked for next where this was too much."""
    place = place._replace(started=place.started or short(_whole(now)), size=place.size or kind.size)
    variables = {
        "first": place.size,
        "after": place.after or None,
        "query": _search(kind.search, f"updated_at:>='{place.since}'" if place.since else "") or None,
        "inner": kind.inner,
    }
    reply = None
    try:
        reply = api.ask(kind.page, variables)
        nodes, after = _connection(reply.data.get("page"), place.after)
        records, bad = _records(api, kind, nodes)
    except PlatformError as error:
        # Waiting alone would come to the same place: the rows' own further pages spend what was saved.
        is_inner = reply is not None and error.refusal is Refusal.RATE_LIMITED
        if place.size == 1 or not (is_inner or _is_size_to_blame(error)):
            raise
        return Page([], place.smaller(place.size).written(), done=False, ready_at=error.retry_at)
    partial = _partial(kind, bad, reply.denied)
    if not after or _is_beyond(nodes, place.started):
        following = _Place(since=short(from_text(place.started) - _OVERLAP))
        return Page(records, following.written(), done=True, partial=partial)
    following = _following(place, nodes, after, reply.cost)
    ready_at = _ready_at(reply.cost, following.size / place.size, now)
    return Page(records, following.written(), done=False, partial=partial, ready_at=ready_at)


def _following(place: _Place, nodes: Sequence[Json], after: str, cost: _Cost | None) -> _Place:
    """The next page: larger where the price leaves room, of a new search where this one gets too deep."""
    size = place.size
    if cost and cost.requested * 2 <= min(_MOST_COST, cost.maximum):
        size = max(size, min(size * 2, place.cap or _MOST_ROWS))
    following = place._replace(after=after, size=size, rows=place.rows + len(nodes))
    last = as_text(nodes[-1].get("updatedAt")) if nodes else ""
    if following.rows >= _MOST_DEEP and _is_later(last, place.since):
        return following._replace(since=short(_whole(_time(last))), after="", rows=0)
    return following


def _is_later(text: str, since: str) -> bool:
    try:
        return not since or _whole(_time(text)) > from_text(since)
    except ValueError:
        return False


def _is_beyond(nodes: Sequence[Json], started: str) -> bool:
    """Whether a page holds only what changed after the cycle began: the next cycle will read that."""
    try:
        return bool(nodes) and min(_time(node.get("updatedAt")) for node in nodes) > from_text(started)
    except ValueError:
        return False


def _is_size_to_blame(error: PlatformError) -> bool:
    """Whether a smaller page may succeed: prices, time and our own cap run out on large ones."""
    if error.refusal is Refusal.NOT_THE_PLATFORM:
        return error.status is None
    return isinstance(error, _TooCostly) or (
        error.refusal in (Refusal.TRANSIENT, Refusal.UNREACHABLE)
        and error.status not in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.LOCKED)
    )


def _records(api: _Api, kind: _Kind, nodes: Sequence[Json]) -> tuple[list[Record], list[str]]:
    """The records of a page, and the ids of those that could not be read."""
    records, bad = [], []
    for node in nodes:
        try:
            records.append(kind.record(_completed(api, kind, node), api.currency))
        except ValueError:
            bad.append(as_text(node.get("id")).rpartition("/")[2][:20])
    return records, bad


def _partial(kind: _Kind, bad: Sequence[str], denied: frozenset[str]) -> str | None:
    parts = [f"Not understood: {kind.type} {', '.join(bad)}."] if bad else []
    if denied:
        parts.append(f"Shopify does not show the app these fields: {', '.join(sorted(denied))}.")
    return " ".join(parts) or None


def _completed(api: _Api, kind: _Kind, node: Json) -> Json:
    """The row with all its lines or variants, however many pages they have."""
    children, after = _children(node, "")
    for _ in range(_MOST_INNER_PAGES):
        if not after:
            return {**node, "children": children}
        variables = {"id": node.get("id"), "inner": kind.inner_rest, "after": after}
        more, after = _children(as_dict(api.ask(kind.rest, variables).data.get("one")), after)
        children += more
    raise ValueError("too many lines")


def _children(node: Json, before: str) -> tuple[list[Json], str]:
    try:
        return _connection(node.get("children"), before)
    except PlatformError:
        raise ValueError("lines that cannot be read") from None


def _connection(value: Any, before: str) -> tuple[list[Json], str]:
    """The rows of a page, and the cursor of the next; empty at the end."""
    page = as_dict(value)
    info = page.get("pageInfo")
    nodes = page.get("nodes")
    if not isinstance(info, dict) or not isinstance(nodes, list) or not {type(each) for each in nodes} <= {dict}:
        raise PlatformError(Refusal.NOT_THE_PLATFORM, "Shopify answered with something else than a page.", status=200)
    if info.get("hasNextPage") is not True:
        return nodes, ""
    after = info.get("endCursor")
    if not isinstance(after, str) or not after or after == before:
        raise PlatformError(Refusal.NOT_THE_PLATFORM, "Shopify repeats a page for ever.", status=200)
    return nodes, after


def _search(*terms: str) -> str:
    """https://shopify.dev/docs/api/usage/search-syntax: terms side by side must all hold."""
    return " ".join(term for term in terms if term)


# A first import as a job of Shopify's own


class _Job(NamedTuple):
    """Where a bulk operation stands."""

    bulk: str
    started: str
    polls: int = 0
    offset: int = 0
    roots: int = 0
    """Rows read so far."""
    tries: int = 0

    def written(self) -> Json:
        """The cursor: only what is not as by default."""
        return {name: value for name, value in self._asdict().items() if value}


def _begun(api: _Api, kind: _Kind, now: datetime) -> Page:
    """A few rows are paged through; for many, a job is started, or the one that a crash left is taken up."""
    counted = as_dict(api.ask(kind.counted, {"query": kind.search or None, "limit": _FEW + 1}).data.get("counted"))
    if (_number(counted.get("count")) or 0) <= _FEW:
        return _turned(api, kind, _Place(), now)
    job = _left_over(api, kind, now) or _started(api, kind)
    if job is None:
        return _turned(api, kind, _Place(), now)
    return Page([], job.written(), done=False, ready_at=now + timedelta(seconds=_FIRST_POLL))


def _left_over(api: _Api, kind: _Kind, now: datetime) -> _Job | None:
    """A job of the very same query that runs, or has just ended: whatever it misses is paged afterwards."""
    variables = {"first": _JOBS_LISTED, "query": "operation_type:query"}
    page = as_dict(api.ask(BULK_RECENT, variables).data.get("page"))
    for node in as_dicts(page.get("nodes")):
        is_same = as_text(node.get("query")).split() == kind.bulk.split()
        if is_same and node.get("status") in {"CREATED", "RUNNING", "COMPLETED"}:
            job = _job(node)
            if now - from_text(job.started) < _LONGEST_JOB:
                return job
    return None


def _started(api: _Api, kind: _Kind, tries: int = 0) -> _Job | None:
    """A new job; ``None`` where as many as may be are running."""
    done = as_dict(api.ask(BULK_START, {"query": kind.bulk}).data.get("done"))
    errors = as_dicts(done.get("userErrors"))
    if any(error.get("code") in {"OPERATION_IN_PROGRESS", "LIMIT_REACHED"} for error in errors):
        return None
    _refuse_user_errors(errors, api)
    return _job(as_dict(done.get("bulkOperation")))._replace(tries=tries)


def _job(node: Json) -> _Job:
    id = as_text(node.get("id"))
    try:
        started = _whole(_time(node.get("createdAt")))
    except ValueError:
        id = ""
    if not re.fullmatch(r"gid://shopify/BulkOperation/[0-9]{1,20}", id):
        raise PlatformError(Refusal.NOT_THE_PLATFORM, "Shopify did not name its job.", status=200)
    return _Job(id, short(started))


def _followed(api: _Api, kind: _Kind, job: _Job, now: datetime) -> Page:
    """Waits for the job, or reads on in its result."""
    state = as_dict(api.ask(BULK_STATE, {"id": job.bulk}).data.get("bulkOperation"))
    status = state.get("status")
    if status in _RUNNING and now - from_text(job.started) < _LONGEST_JOB:
        wait = min(_LAST_POLL, _FIRST_POLL * 2 ** min(job.polls, 10))
        cursor = job._replace(polls=job.polls + 1).written()
        return Page([], cursor, done=False, ready_at=now + timedelta(seconds=wait))
    if status != "COMPLETED":
        # A partial result is none: what it lacks would never be missed.
        return Page([], _Place(started=short(_whole(now))).written(), done=False)
    try:
        return _read_on(api, kind, job, state, now)
    except _NoResult:
        again = None if job.tries else _started(api, kind, tries=1)
        following = again or _Place(started=short(_whole(now)))
        return Page([], following.written(), done=False)


def _read_on(api: _Api, kind: _Kind, job: _Job, state: Json, now: datetime) -> Page:
    """The next stretch of the result. After the last, paging goes on from where the job began."""
    roots = _number(state.get("rootObjectCount"))
    afterwards = _Place(since=short(from_text(job.started) - _OVERLAP), started=short(_whole(now)))
    if not state.get("url") and _number(state.get("objectCount")) == 0:
        return Page([], afterwards.written(), done=False)
    try:
        stretch, is_last = api.download(state.get("url"), job.offset)
    except PlatformError as error:
        if error.refusal in (Refusal.NOT_THE_PLATFORM, Refusal.ADDRESS):
            raise _NoResult("unreadable") from None
        raise
    rows, used = assembled(stretch, is_last=is_last)
    records, bad = _records(api, kind, rows)
    following = job._replace(offset=job.offset + used, roots=job.roots + len(rows), polls=0)
    partial = _partial(kind, bad, frozenset())
    if not is_last:
        return Page(records, following.written(), done=False, partial=partial)
    if following.roots != roots:
        # Fewer rows than the job has counted, or more: read all of them the slow way.
        afterwards = afterwards._replace(since="")
    return Page(records, afterwards.written(), done=False, partial=partial)


def assembled(stretch: bytes, *, is_last: bool) -> tuple[list[Json], int]:
    """The rows that are whole in a stretch of JSONL, their children put under them, and how many bytes they took.

    Children follow their row directly (``groupObjects``); so a row is whole when the next one has begun.
    """
    end = len(stretch) if is_last else stretch.rfind(b"\n") + 1
    lines = [line for line in stretch[:end].split(b"\n") if line.strip()]
    parents: list[Json] = []
    for parsed in _lines(lines):
        parent_id = parsed.pop("__parentId", None)
        if parent_id is None:
            parents.append({**parsed, "children": {"nodes": [], "pageInfo": {}}})
        elif parents and parents[-1].get("id") == parent_id:
            parents[-1]["children"]["nodes"].append(parsed)
        else:
            raise _NoResult("a child without its parent")
    if is_last:
        return parents, end
    used = _start_of_last_parent(stretch, end)
    if len(parents) < 2 or not used:
        raise _NoResult("a row larger than a stretch")
    return parents[:-1], used


def _lines(lines: Sequence[bytes]) -> Sequence[Json]:
    try:
        rows = _decode(b"[" + b",".join(lines) + b"]")
    except ValueError:
        raise _NoResult("broken lines") from None
    if len(rows) != len(lines) or not all(isinstance(row, dict) for row in rows):
        raise _NoResult("broken lines")
    return rows  # type: ignore[no-any-return]  # a list, since it was written as one


def _start_of_last_parent(stretch: bytes, end: int) -> int:
    start = end
    while start > 0:
        line_end = start
        start = stretch.rfind(b"\n", 0, line_end - 1) + 1
        line = stretch[start:line_end]
        if line.strip() and "__parentId" not in _lines([line.strip()])[0]:
            return start
    return 0


def _is_last(answer: Answer, offset: int) -> bool:
    """Whether the range reaches the end; one that is not what was asked for is no result."""
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
    if match is None:
        raise _NoResult("no range")
    first, last, total = (int(number) for number in match.groups())
    if first != offset or last - first + 1 != len(answer.body):
        raise _NoResult("another range")
    return last + 1 >= total


# Reading rows


def _order(row: Json, currency: str) -> Record:  # noqa: ARG001 - an order tells its own
    gid = _gid(_KINDS[Resource.ORDERS], row.get("id"))
    created, updated = _times(row)
    status, platform_status = _order_status(row)
    own = _required_text(row.get("currencyCode"))
    refunded = _shop_money(row.get("totalRefundedSet"))
    body: Json = {
        "id": gid,
        "number": as_text(row.get("name")) or gid,
        "status": status,
        "platformStatus": platform_status,
        "total": _required(_shop_money(row.get("currentTotalPriceSet"))),
        "refundedTotal": refunded if refunded and Decimal(refunded) else None,
        "currency": own,
        "lines": [_line(line) for line in row["children"]],
        "customer": _customer(row),
        "shippingAddress": _address(row),
        "note": as_text(row.get("note")) or None,
        "fees": _fees(row),
        "createdAt": _shown(row["createdAt"], created) if created else None,
        "updatedAt": _shown(row["updatedAt"], updated),
    }
    # Shopify itself pages by them: https://shopify.dev/docs/api/admin-rest/usage/pagination (since_id)
    return Record(gid, updated, body, created, sorts_by_id=True)


def _order_status(row: Json) -> tuple[str, str]:
    """Cancelled, refunded, then how far it is shipped, then how far it is paid; and Shopify's own words."""
    return _status_of(
        row.get("cancelledAt") is not None,
        as_text(row.get("displayFinancialStatus")),
        as_text(row.get("displayFulfillmentStatus")),
    )


@lru_cache(maxsize=64)
def _status_of(is_cancelled: bool, financial: str, fulfillment: str) -> tuple[str, str]:
    words = " ".join(filter(None, ("CANCELLED" if is_cancelled else "", financial, fulfillment)))
    paid = _FINANCIAL.get(financial)
    if is_cancelled:
        return OrderStatus.CANCELLED.value, words
    if paid in (OrderStatus.REFUNDED, OrderStatus.CANCELLED):
        return paid.value, words
    if paid is None or (fulfillment not in _FULFILLMENT and fulfillment not in _NOT_SHIPPED):
        return OrderStatus.OTHER.value, words
    return _FULFILLMENT.get(fulfillment, paid).value, words


def _line(line: Json) -> Json:
    """What is still to be made: ``quantity`` leaves out units that were removed or refunded.

    Shopify tells a line's total as it was ordered; where units are gone, it is this share of it.
    """
    ordered, current = _count(line.get("quantity")), _count(line.get("currentQuantity"))
    total = _required(_shop_money(line.get("discountedTotalSet")))
    return {
        "id": _required_text(line.get("id")),
        "productId": _id_of(line.get("product")),
        "variantId": _id_of(line.get("variant")),
        "title": as_text(line.get("title")),
        "sku": as_text(line.get("sku")) or None,
        "quantity": current,
        "unitPrice": _shop_money(line.get("originalUnitPriceSet")),
        "total": total if current == ordered else _share(total, current, ordered),
        "properties": [
            {"name": as_text(attribute.get("key")), "value": as_text(attribute.get("value"))}
            for attribute in as_dicts(line.get("customAttributes"))
        ],
    }


def _share(total: str, current: int, ordered: int) -> str:
    if not ordered:
        return total
    amount = Decimal(total)
    return format((amount * current / ordered).quantize(Decimal(1).scaleb(_exponent(amount)), ROUND_HALF_EVEN), "f")


def _exponent(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def _customer(row: Json) -> Json | None:
    """Whom the order itself names; the customer's own record takes a scope that the app does not ask for."""
    billing, shipping = as_dict(row.get("billingAddress")), as_dict(row.get("shippingAddress"))
    name = as_text(billing.get("name")) or as_text(shipping.get("name"))
    email = as_text(row.get("email"))
    return {"id": None, "name": name or None, "email": email or None} if name or email else None


def _address(row: Json) -> Json | None:
    given = as_dict(row.get("shippingAddress"))
    parts = {
        name: (as_text(value) or None) if (value := given.get(theirs)) else None for name, theirs in _ADDRESS.items()
    }
    parts["region"] = parts["region"] or as_text(given.get("province")) or None
    if not any(parts.values()):
        return None
    phone = as_text(given.get("phone")) or as_text(as_dict(row.get("billingAddress")).get("phone"))
    return {**parts, "phone": phone or None}


def _fees(row: Json) -> list[Json]:
    """What the payment cost the seller; only Shopify Payments tells."""
    found: list[Json] = []
    for transaction in as_dicts(row.get("transactions")):
        for fee in as_dicts(transaction.get("fees")):
            name, charged, tax = as_text(fee.get("type")), as_dict(fee.get("amount")), as_dict(fee.get("taxAmount"))
            if (amount := _money(charged.get("amount"))) is not None:
                found.append(_fee(name, amount, charged))
            if (amount := _money(tax.get("amount"))) is not None and Decimal(amount):
                found.append(_fee(f"{name}_tax", amount, tax))
    return found


def _fee(name: str, amount: str, money: Json) -> Json:
    return {"type": "payment", "name": name, "amount": amount, "currency": as_text(money.get("currencyCode"))}


def _product(row: Json, currency: str) -> Record:
    gid = _gid(_KINDS[Resource.PRODUCTS], row.get("id"))
    created, updated = _times(row)
    status = _required_text(row.get("status"))
    variants = [_variant(variant) for variant in row["children"]]
    first = variants[0] if variants else {}
    image = as_dict(as_dict(as_dict(row.get("featuredMedia")).get("preview")).get("image"))
    body: Json = {
        "id": gid,
        "title": as_text(row.get("title")),
        "status": _PRODUCT_STATUS.get(status, ProductStatus.OTHER).value,
        "platformStatus": status,
        "price": first.get("price"),
        "currency": currency,
        "sku": first.get("sku"),
        "imageUrl": as_text(image.get("url")) or None,
        "url": as_text(row.get("onlineStoreUrl")) or None,
        "variants": variants,
        "createdAt": _shown(row["createdAt"], created) if created else None,
        "updatedAt": _shown(row["updatedAt"], updated),
    }
    return Record(gid, updated, body, created)


def _variant(row: Json) -> Json:
    inventory = row.get("inventoryQuantity")
    return {
        "id": _required_text(row.get("id")),
        "title": as_text(row.get("title")),
        "sku": as_text(row.get("sku")) or None,
        "price": _money(row.get("price")),
        "inventoryQuantity": None if inventory is None else _count(inventory),
        "attributes": {
            as_text(option.get("name")): as_text(option.get("value")) for option in as_dicts(row.get("selectedOptions"))
        },
    }


_KINDS: Mapping[Resource, _Kind] = {
    Resource.ORDERS: _Kind(
        "Order", ORDERS, ORDER, ORDER_LINES, ORDER_IDS, ORDERS_COUNT, BULK_ORDERS, "status:any",
        size=50, inner=50, inner_rest=250, seen=_ORDERS_SEEN, record=_order,
    ),
    Resource.PRODUCTS: _Kind(
        "Product", PRODUCTS, PRODUCT, PRODUCT_VARIANTS, PRODUCT_IDS, PRODUCTS_COUNT, BULK_PRODUCTS, "",
        size=50, inner=50, inner_rest=250, seen=None, record=_product,
    ),
}  # fmt: skip


# Webhook subscriptions


def _prefix(delivery: Delivery) -> str:
    """Deliveries of the newer style name their headers without ``x-``; where both are there, these count."""
    return "shopify-" if "shopify-hmac-sha256" in delivery.headers else "x-shopify-"


def _payload(delivery: Delivery) -> Json:
    payload = _decode(delivery.body)
    if not isinstance(payload, dict):
        raise ValueError("The body is not a JSON object.")  # noqa: TRY004 - what the Protocol promises
    return payload


def _privacy(topic: str, payload: Json) -> PrivacyRequest:
    kind, field = _PRIVACY_TOPICS[topic]
    named = payload.get(field) or []
    if not isinstance(named, list):
        raise ValueError("The orders are not a list.")  # noqa: TRY004 - what the Protocol promises
    return PrivacyRequest(kind, tuple(_gid(_KINDS[Resource.ORDERS], each) for each in named))


def _our_webhooks(api: _Api, delivery_url: str) -> list[Json]:
    """What delivers to us about this store, be it to an address of an earlier connection."""
    ours = re.compile(re.escape(delivery_url.rpartition("/")[0]) + "/[^/?#]+")
    found: list[Json] = []
    after = ""
    for _ in range(_MOST_INNER_PAGES):
        reply = api.ask(SUBSCRIPTIONS, {"first": _MOST_ROWS, "after": after or None})
        nodes, after = _connection(reply.data.get("page"), after)
        found += [node for node in nodes if ours.fullmatch(as_text(node.get("uri")))]
        if not after:
            break
    return found


def _webhook(topic: str, delivery_url: str) -> Json:
    return {"uri": delivery_url, "format": "JSON", "includeFields": list(TOPICS[topic])}


def _is_as_wanted(hook: Json, delivery_url: str) -> bool:
    fields = hook.get("includeFields")
    return (
        hook.get("uri") == delivery_url
        and hook.get("format") == "JSON"
        and isinstance(fields, list)
        and sorted(map(str, fields)) == sorted(TOPICS[as_text(hook.get("topic"))])
    )


def _delete_webhook(api: _Api, hook: Json) -> None:
    """Deletes it; what is gone already is fine."""
    done = as_dict(api.ask(UNSUBSCRIBE, {"id": as_text(hook.get("id"))}).data.get("done"))
    errors = as_dicts(done.get("userErrors"))
    _refuse_user_errors([error for error in errors if "not exist" not in as_text(error.get("message"))], api)


def _done(reply: _Reply, api: _Api) -> None:
    """Refuses what a mutation of a subscription refused, save that somebody was quicker."""
    errors = as_dicts(as_dict(reply.data.get("done")).get("userErrors"))
    _refuse_user_errors([error for error in errors if "already been taken" not in as_text(error.get("message"))], api)


def _refuse_user_errors(errors: Sequence[Json], api: _Api) -> None:
    if not errors:
        return
    said = as_text(errors[0].get("message"))[:200]
    is_permission = re.search(r"not approved|access|permission", f"{said} {errors[0].get('code')}", re.IGNORECASE)
    detail = f"Shopify refused: {said}" if api.hides(said) else "Shopify refused our request."
    raise PlatformError(Refusal.PERMISSION if is_permission else Refusal.REQUEST, detail, status=200)


# OAuth


def _secrets(app: App) -> list[str]:
    return [secret for secret in (app.client_secret, app.previous_client_secret) if secret]


def _proved_shop(app: App, query: Sequence[tuple[str, str]], now: datetime) -> str:
    """The shop that a signed and fresh callback names."""
    given = dict(query)
    signature = given.get("hmac", "")
    if not any(is_hex_hmac(signature, message, _secrets(app)) for message in _signed_messages(query)):
        raise ValueError("The address does not carry Shopify's signature.")
    signed_at = given.get("timestamp", "")
    if not re.fullmatch(r"[0-9]{1,12}", signed_at, re.ASCII) or abs(now.timestamp() - int(signed_at)) > _FRESH_SECONDS:
        raise ValueError("The address from Shopify is too old.")
    shop = given.get("shop", "")
    if not shop.isascii() or not _SHOP.fullmatch(shop.lower()):
        raise ValueError("The address from Shopify names no store.")
    return shop.lower()


def _signed_messages(query: Sequence[tuple[str, str]]) -> Sequence[bytes]:
    """What the signature may cover: Shopify's libraries spell signs such as ``=`` and blanks in two ways."""
    rest = _joined_lists(query)
    encoded = sorted((_percent(name), _percent(value)) for name, value in rest)
    escaped = sorted(f"{_escaped(name).replace('=', '%3D')}={_escaped(value)}" for name, value in rest)
    spellings = ("&".join(f"{name}={value}" for name, value in encoded), "&".join(escaped))
    return [spelling.encode("utf-8", "surrogatepass") for spelling in spellings]


def _joined_lists(query: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """``ids[]=1&ids[]=2`` is signed as ``ids=["1", "2"]``."""
    lists: dict[str, list[str]] = {}
    single = []
    for name, value in query:
        if name.endswith("[]"):
            lists.setdefault(name.removesuffix("[]"), []).append(value)
        elif name not in {"hmac", "signature"}:
            single.append((name, value))
    return single + [(name, json.dumps(values)) for name, values in lists.items()]


def _percent(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="!*'()")


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("&", "%26")


def _declined(app: App, query: Sequence[tuple[str, str]], now: datetime) -> Callback:
    given = dict(query)
    if given["error"] != "access_denied":
        shown = given["error"] if _CODE.fullmatch(given["error"]) else "an error"
        raise ValueError(f"Shopify did not grant access: {shown}.")
    try:
        shop = _proved_shop(app, query, now)
    except ValueError:
        return Callback(given.get("state", ""))
    return Callback(given.get("state", ""), domain=f"https://{shop}")


def _migration(permanent: str) -> Json:
    return {
        "grant_type": _EXCHANGE,
        "subject_token": permanent,
        "subject_token_type": _OFFLINE,
        "requested_token_type": _OFFLINE,
        "expiring": "1",
    }


def _ask_for_tokens(app: App, domain: str, asked: Json, http: Http) -> Answer:
    content = {"client_id": app.client_id, "client_secret": app.client_secret, **asked}
    return http.request("POST", f"https://{_host(domain)}/admin/oauth/access_token", json=content)


def _granted(answer: Answer, now: datetime) -> Json:
    """The content of a token answer. Refusals are told apart by what others met, as Shopify lists none."""
    status = answer.status
    if status == HTTPStatus.OK:
        content = _json_or_none(answer.body)
        if isinstance(content, dict):
            return content
        raise _no_tokens(status)
    if status in (402, 423, 429, 430) or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _refusal(answer, now)
    code, description = _error_of(answer)
    is_spent = code == "invalid_request" and re.search(r"active refresh_token|authorization code", description)
    if code == "invalid_grant" or is_spent:
        raise PlatformError(Refusal.CREDENTIALS, "Shopify says that this grant has ended.", status=status)
    if code:
        raise PlatformError(Refusal.REQUEST, f"Shopify refuses our app's request for a token: {code}.", status=status)
    raise _no_tokens(status)


def _no_tokens(status: int) -> PlatformError:
    detail = "Shopify answered a request for a token with something else."
    return PlatformError(Refusal.NOT_THE_PLATFORM, detail, status=status)


def _error_of(answer: Answer) -> tuple[str, str]:
    """OAuth's error code, empty where it is none, and its description."""
    content = as_dict(_json_or_none(answer.body))
    code = as_text(content.get("error"))
    return (code if _CODE.fullmatch(code) else ""), as_text(content.get("error_description"))


def _tokens(content: Json, now: datetime) -> Tokens:
    access, refresh = content.get("access_token"), content.get("refresh_token")
    for token in (access, refresh):
        if token is not None and not (isinstance(token, str) and _TOKEN.fullmatch(token)):
            raise _no_tokens(HTTPStatus.OK)
    if access is None:
        raise _no_tokens(HTTPStatus.OK)
    ends, refresh_ends = (_ends_at(content.get(name), now) for name in ("expires_in", "refresh_token_expires_in"))
    return Tokens(access, refresh, ends, refresh_ends)


def _ends_at(seconds: Any, now: datetime) -> datetime | None:
    """``None`` where the answer does not tell, which does not mean never."""
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 < seconds <= _LONGEST_LIFE:
        raise _no_tokens(HTTPStatus.OK)
    return now + timedelta(seconds=seconds)


def _required_scope(content: Json) -> str:
    scope = content["scope"]
    if not isinstance(scope, str):
        raise _no_tokens(HTTPStatus.OK)
    return scope


def _refuse_missing(scopes: frozenset[str]) -> None:
    """To write implies to read: https://shopify.dev/docs/api/usage/access-scopes."""
    granted = {scope.strip() for scope in scopes}
    granted |= {f"read_{scope.removeprefix('write_')}" for scope in granted if scope.startswith("write_")}
    if missing := [scope for scope in SCOPES if scope not in granted]:
        raise PlatformError(Refusal.PERMISSION, f"The app was not granted {', '.join(missing)}.", status=200)


# Small readings


def _origin(host: str) -> str:
    if len(host.partition(".")[0]) > _LONGEST_NAME:
        raise ValueError("The store's name in the address is too long.")
    return f"https://{host}"


def _host(domain: str) -> str:
    """The host that secrets may go to: checked wherever a URL is made."""
    match = _ORIGIN.fullmatch(domain)
    if match is None:
        raise PlatformError(Refusal.ADDRESS, "This is no address of a store at Shopify.")
    return match[1]


def _cost(content: Json) -> _Cost | None:
    """https://shopify.dev/docs/apps/build/apis/graphql-admin/rate-limits."""
    cost = as_dict(as_dict(content.get("extensions")).get("cost"))
    throttle = as_dict(cost.get("throttleStatus"))
    requested = _number(cost.get("requestedQueryCost"))
    available, maximum, rate = (
        _number(throttle.get(name)) for name in ("currentlyAvailable", "maximumAvailable", "restoreRate")
    )
    if requested is None or available is None or maximum is None or not rate or rate < 0:
        return None
    return _Cost(requested, available, maximum, rate)


def _ready_at(cost: _Cost | None, growth: float, now: datetime) -> datetime | None:
    """When the bucket holds what a query ``growth`` times as dear as the last one wants."""
    lacking = cost.requested * growth - cost.available if cost else 0
    if cost is None or lacking <= 0:
        return None
    seconds = min(lacking / cost.rate, _LONGEST_WAIT)
    return now + timedelta(milliseconds=-int(-seconds * 1000 // 1))


def _after(wait: str | None, now: datetime | None) -> datetime | None:
    seconds = _number(wait)
    if seconds is None or seconds < 0 or now is None:
        return None
    return now + timedelta(seconds=min(seconds, _LONGEST_WAIT))


def _code_of(error: Json) -> str:
    code = as_text(as_dict(error.get("extensions")).get("code"))
    return code if _CODE.fullmatch(code) else ""


def _path_of(error: Json) -> list[str]:
    path = error.get("path")
    return [name for name in path if isinstance(name, str) and _CODE.fullmatch(name)] if isinstance(path, list) else []


def _timezone(name: Any) -> str | None:
    from zoneinfo import ZoneInfo  # the webhook receiver, which loads this, needs none

    try:
        return ZoneInfo(as_text(name)).key
    except (KeyError, ValueError, OSError):
        return None


def _times(row: Json) -> tuple[datetime | None, datetime]:
    created = _time(row["createdAt"]) if row.get("createdAt") is not None else None
    return created, _time(row.get("updatedAt"))


def _time(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError("no time")  # noqa: TRY004 - what is read is not what was promised
    try:
        time = from_text(value)
    except OverflowError:
        raise ValueError("no time") from None
    if time.year < _EPOCH:
        raise ValueError("no time")
    return time


def _shown(text: str, time: datetime) -> str:
    """As our JSON shows a time, which is how Shopify writes one; writing it anew takes longer than to look."""
    return text if _SHORT_TIME.fullmatch(text) else short(time)


def _whole(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(microsecond=0)


def _decode(body: bytes) -> Any:
    """JSON without floats; :class:`ValueError` for whatever else it is."""
    try:
        return _DECODER.decode(body.decode("utf-8"))
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_float=str, parse_constant=_refuse_constant)


def _json_or_none(body: bytes) -> Any:
    try:
        return _decode(body)
    except ValueError:
        return None


def _checked_gid(kind: _Kind, value: Any) -> str:
    try:
        return _gid(kind, value)
    except ValueError:
        raise PlatformError(Refusal.NOT_THE_PLATFORM, "Shopify listed something else than ids.", status=200) from None


def _gid(kind: _Kind, value: Any) -> str:
    """The global id of what is named by it, or by its bare number."""
    if isinstance(value, str) and (whole := _GID.fullmatch(value)) and whole[1] == kind.type:
        return value
    text = str(value) if isinstance(value, int | str) else ""
    prefix = f"gid://shopify/{kind.type}/"
    number = text.removeprefix(prefix)
    if not _ID.fullmatch(number):
        raise ValueError("no id")
    return prefix + number


def _id_of(value: Any) -> str | None:
    """The id of what a line is of; it may be deleted."""
    return as_text(value.get("id")) or None if isinstance(value, dict) else None


def _required_text(value: Any) -> str:
    return _required(as_text(value) or None)


def _required(value: str | None) -> str:
    if value is None:
        raise ValueError("a field is missing")
    return value


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value)
    return float(text) if _PLAIN_NUMBER.fullmatch(text) else None


def _count(value: Any) -> int:
    if type(value) is not int or abs(value) >= _TOO_MANY:  # a bool is an int, too
        raise ValueError("no whole number")
    return value


def _shop_money(value: Any) -> str | None:
    """The amount in the store's own currency."""
    try:
        return _money(value["shopMoney"]["amount"])
    except (KeyError, TypeError):  # there is none, or it is no object
        return None


def _money(value: Any) -> str | None:
    """Decimal text, in the platform's own spelling where that is plain."""
    if isinstance(value, str) and _PLAIN_NUMBER.fullmatch(value):
        return value
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    # Bounded: 1E+999999999 would be a gigabyte of zeros.
    return format(number, "f") if number.is_finite() and abs(number.adjusted()) <= _LONGEST_NUMBER else None
