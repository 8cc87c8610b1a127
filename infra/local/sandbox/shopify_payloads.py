"""The REST-shaped bodies of Shopify's webhooks (https://shopify.dev/docs/api/webhooks).

No name and no type here is one that the published examples do not have; what this shop does not know is left out.
"""

from typing import Any

from infra.local.sandbox.shopify_shop import Json, Line, Order, Product, Shop, Variant, gid, money

_FULFILLMENT = {"FULFILLED": "fulfilled", "PARTIALLY_FULFILLED": "partial", "RESTOCKED": "restocked"}


def body(shop: Shop, changed: Any) -> Json:
    """The payload about an order, a product, or what has gone and left its number."""
    if isinstance(changed, Order):
        return order_body(shop, changed)
    if isinstance(changed, Product):
        return product_body(shop, changed)
    return changed if isinstance(changed, dict) else {"id": changed}


def order_body(shop: Shop, order: Order) -> Json:
    """An order."""
    address = order.address()
    amounts: Json = {}
    for name, amount in _amounts(order).items():
        amounts[name] = money(amount)
        amounts[f"{name}_set"] = _both(shop, amount)
    return {
        "id": order.id,
        "admin_graphql_api_id": gid("Order", order.id),
        "name": f"#{order.number}",
        "number": order.number - 1000,
        "order_number": order.number,
        "created_at": shop.local(order.created),
        "updated_at": shop.local(order.updated),
        "processed_at": shop.local(order.created),
        "cancelled_at": shop.local(order.cancelled),
        "cancel_reason": order.cancel_reason.lower() if order.cancel_reason else None,
        "closed_at": shop.local(order.closed),
        "confirmed": True,
        "test": False,
        "currency": shop.currency,
        "presentment_currency": shop.currency,
        "financial_status": order.financial.lower(),
        "fulfillment_status": _FULFILLMENT.get(order.fulfillment),
        "note": order.note,
        "note_attributes": [{"name": name, "value": value} for name, value in order.attributes],
        "tags": ", ".join(order.tags),
        "email": _email(order),
        "contact_email": _email(order),
        "phone": None,
        "payment_gateway_names": [order.gateway],
        "source_name": "web",
        "taxes_included": False,
        "tax_exempt": False,
        "tax_lines": [],
        "discount_codes": [],
        "discount_applications": [],
        "total_outstanding": money(max(0, order.current_total - order.received)),
        "total_tip_received": "0.00",
        "total_weight": 0,
        **amounts,
        "total_shipping_price_set": _both(shop, order.shipping),
        "billing_address": address | {"latitude": None, "longitude": None},
        "shipping_address": address | {"latitude": None, "longitude": None},
        "customer": _customer(shop, order),
        "line_items": [_line(shop, order, line) for line in order.lines],
        "fulfillments": [],
        "refunds": [],
        "shipping_lines": [
            {"id": order.id + 1, "code": "Standard", "price": money(order.shipping), "title": "Standard"}
            | {"price_set": _both(shop, order.shipping), "source": "shopify", "is_removed": False, "phone": None}
            | {"tax_lines": [], "discount_allocations": []}
        ],
    }


def _amounts(order: Order) -> dict[str, int]:
    live = order.financial != "VOIDED"
    return {
        "current_subtotal_price": max(0, order.subtotal - order.given_back) if live else 0,
        "current_total_discounts": order.discount,
        "current_total_price": order.current_total,
        "current_total_tax": 0,
        "subtotal_price": order.subtotal,
        "total_discounts": order.discount,
        "total_line_items_price": order.subtotal + order.discount,
        "total_price": order.total,
        "total_tax": 0,
    }


def _both(shop: Shop, amount: int) -> Json:
    one = {"amount": money(amount), "currency_code": shop.currency}
    return {"shop_money": one, "presentment_money": dict(one)}


def _email(order: Order) -> str | None:
    return None if order.buyer is None else f"buyer{order.buyer}@example.com"


def _customer(shop: Shop, order: Order) -> Json | None:
    if order.buyer is None:
        return None
    id = 7_000_000_000_000 + order.buyer
    return {
        "id": id,
        "admin_graphql_api_id": gid("Customer", id),
        "first_name": "Buyer",
        "last_name": str(order.buyer),
        "email": _email(order),
        "phone": None,
        "state": "disabled",
        "note": None,
        "verified_email": True,
        "currency": shop.currency,
    }


def _line(shop: Shop, order: Order, line: Line) -> Json:
    name = f"{line.title} - {line.variant_title}" if line.variant_title else line.title
    return {
        "id": line.id,
        "admin_graphql_api_id": gid("LineItem", line.id),
        "current_quantity": 0 if order.cancelled else line.quantity,
        "fulfillable_quantity": 0 if order.fulfillment == "FULFILLED" else line.quantity,
        "fulfillment_service": "manual",
        "fulfillment_status": _FULFILLMENT.get(order.fulfillment),
        "gift_card": False,
        "grams": 0,
        "name": name,
        "price": money(line.price),
        "price_set": _both(shop, line.price),
        "product_exists": line.product_id in shop.products,
        "product_id": line.product_id,
        "properties": [{"name": key, "value": value} for key, value in line.attributes],
        "quantity": line.quantity,
        "requires_shipping": True,
        "sku": line.sku,
        "taxable": True,
        "title": line.title,
        "total_discount": "0.00",
        "total_discount_set": _both(shop, 0),
        "variant_id": line.variant_id,
        "variant_title": line.variant_title,
        "vendor": None,
        "tax_lines": [],
        "duties": [],
        "discount_allocations": [],
    }


def product_body(shop: Shop, product: Product) -> Json:
    """A product; beyond 100 variants Shopify names only the first in full."""
    return {
        "id": product.id,
        "admin_graphql_api_id": gid("Product", product.id),
        "title": product.title,
        "body_html": product.description,
        "handle": product.handle,
        "vendor": product.vendor,
        "product_type": product.product_type,
        "status": product.status.lower(),
        "tags": ", ".join(product.tags),
        "created_at": shop.local(product.created),
        "updated_at": shop.local(product.updated),
        "published_at": shop.local(product.published),
        "published_scope": "web",
        "template_suffix": None,
        "variants": [_variant(shop, product, one) for one in product.variants[:100]],
        "variant_gids": [
            {"admin_graphql_api_id": gid("ProductVariant", one.id), "updated_at": shop.local(one.updated)}
            for one in product.variants
        ],
        "options": [],
        "images": [],
        "image": None,
        "media": [],
        "has_variants_that_requires_components": False,
        "category": None,
    }


def _variant(shop: Shop, product: Product, variant: Variant) -> Json:
    values: list[str | None] = [value for _, value in variant.options] or [variant.title]
    values += [None, None]
    return {
        "id": variant.id,
        "admin_graphql_api_id": gid("ProductVariant", variant.id),
        "product_id": product.id,
        "title": variant.title,
        "sku": variant.sku,
        "barcode": variant.barcode,
        "price": money(variant.price),
        "compare_at_price": None if variant.compare_at is None else money(variant.compare_at),
        "position": variant.position,
        "inventory_policy": "deny",
        "inventory_quantity": variant.inventory or 0,
        "old_inventory_quantity": variant.inventory or 0,
        "taxable": True,
        "created_at": shop.local(variant.created),
        "updated_at": shop.local(variant.updated),
        "option1": values[0],
        "option2": values[1],
        "option3": values[2],
        "image_id": None,
        "inventory_item_id": variant.id + 1,
    }


def uninstalled_body(shop: Shop) -> Json:
    """The shop, as ``app/uninstalled`` tells of it."""
    return {
        "id": shop.id,
        "name": shop.name,
        "email": f"owner@{shop.name}.example.com",
        "domain": shop.domain,
        "myshopify_domain": shop.domain,
        "currency": shop.currency,
        "iana_timezone": shop.timezone,
        "plan_display_name": shop.plan,
        "plan_name": shop.plan.lower(),
        "enabled_presentment_currencies": [shop.currency],
    }


def included(whole: Json, fields: tuple[str, ...]) -> Json:
    """Only the fields that a subscription includes; ``a.b`` reaches into an object or a list of them."""
    if not fields:
        return whole
    wanted: dict[str, list[str]] = {}
    for name in fields:
        top, _, below = name.partition(".")
        wanted.setdefault(top, []).extend([below] if below else [])
    return {name: _below(whole[name], tuple(below)) for name, below in wanted.items() if name in whole}


def _below(value: Any, fields: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [_below(one, fields) for one in value]
    return included(value, fields) if isinstance(value, dict) else value
