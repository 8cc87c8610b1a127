"""What is in a TikTok Shop seller's account: its shops, how they are seeded and changed, and the API's JSON of them.

Names and meanings of the fields are those of Partner Center's reference, as the generated models of
``tiktok_shop_api`` carry them. Where it leaves a behaviour open, a comment says which one was taken.
An order's units are made when they are first looked at, so that a shop with many orders opens at once.
"""

import base64
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

Json = dict[str, Any]
Announce = Callable[[str, Json], object]
"""Told what happened: the event's type and the ``data`` of its webhook."""


class Market(NamedTuple):
    """What a shop's region decides."""

    currency: str
    digits: int
    country: str


MARKETS = {
    "BR": Market("BRL", 2, "Brazil"),
    "DE": Market("EUR", 2, "Germany"),
    "ES": Market("EUR", 2, "Spain"),
    "FR": Market("EUR", 2, "France"),
    "GB": Market("GBP", 2, "United Kingdom"),
    "ID": Market("IDR", 0, "Indonesia"),
    "IE": Market("EUR", 2, "Ireland"),
    "IT": Market("EUR", 2, "Italy"),
    "JP": Market("JPY", 0, "Japan"),
    "MX": Market("MXN", 2, "Mexico"),
    "MY": Market("MYR", 2, "Malaysia"),
    "PH": Market("PHP", 2, "Philippines"),
    "SG": Market("SGD", 2, "Singapore"),
    "TH": Market("THB", 2, "Thailand"),
    "US": Market("USD", 2, "United States"),
    "VN": Market("VND", 0, "Vietnam"),
}
ORDER_STATUSES = (
    "UNPAID",
    "ON_HOLD",
    "AWAITING_SHIPMENT",
    "PARTIALLY_SHIPPING",
    "AWAITING_COLLECTION",
    "IN_TRANSIT",
    "DELIVERED",
    "COMPLETED",
    "CANCELLED",
)
PRODUCT_STATUSES = (
    "DRAFT",
    "PENDING",
    "FAILED",
    "ACTIVATE",
    "SELLER_DEACTIVATED",
    "PLATFORM_DEACTIVATED",
    "FREEZE",
    "DELETED",
)
CANCEL_REASON = "Order canceled by the buyer: no longer needed"

_DAY = 86_400
_SEEDED_PRODUCTS = [*["ACTIVATE"] * 13, *(status for status in PRODUCT_STATUSES if status != "ACTIVATE")]
_SEEDED_ORDERS = [
    *["COMPLETED"] * 18,
    *["AWAITING_SHIPMENT"] * 5,
    *["IN_TRANSIT"] * 4,
    *["DELIVERED"] * 4,
    *["CANCELLED"] * 3,
    *["AWAITING_COLLECTION"] * 2,
    *["PARTIALLY_SHIPPING"] * 2,
    "ON_HOLD",
    "UNPAID",
]
_AUDIT = {"ACTIVATE": "APPROVED", "PENDING": "AUDITING", "FAILED": "FAILED"}
_TITLES = (
    "Keramiktasse „Grüße“",
    "T-Shirt Löwe 🦁",
    "手作りマグカップ",
    "Póster Montaña ½",
    "Hoodie <b>bold</b> & Co",
    "قميص قطن",
    "Crème brûlée Candle",
)
_COLOURS, _SIZES = ("Schwarz", "Weiß", "Señal Roja", "藍"), ("S", "M", "L")
_MESSAGES = ("", "", "", "Please ship asap!", "Bitte ☕ vorsichtig — 謝謝", 'Gift for "Zoë" <3')
_UNITS = (1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 7, 8)
_SHIPPED = {"AWAITING_COLLECTION", "IN_TRANSIT", "DELIVERED", "COMPLETED"}
_UNIT_STATUS = {"ON_HOLD": "AWAITING_SHIPMENT", "PARTIALLY_SHIPPING": "AWAITING_SHIPMENT"}
"""Where a unit's status is another than the order's: the reference lists neither for line items."""
_PACKAGE = {
    "AWAITING_SHIPMENT": "TO_FULFILL",
    "AWAITING_COLLECTION": "PROCESSING",
    "IN_TRANSIT": "FULFILLING",
    "DELIVERED": "COMPLETED",
    "COMPLETED": "COMPLETED",
    "CANCELLED": "CANCELLED",
}
_TAX_PERCENT = {"US": 7}
_COMMISSION_PERCENT = 6
_IMAGE = "https://p16-oec-va.example.com/tos-maliva-i-sandbox/{}~tplv-origin-jpeg.jpeg"
_INFORMATION = ("title", "description", "main_images")
"""What a PRODUCT_INFORMATION_CHANGE tells of; a new price or stock is not announced."""


def gmt(moment: int) -> str:
    """A moment in GMT, without a zone, as the control API writes it."""
    return datetime.fromtimestamp(moment, UTC).isoformat()[:19]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much each shop is seeded with."""

    products: int = 40
    orders: int = 120
    days: int = 180


@dataclass(slots=True)
class Sku:
    """One variant of a product; its price is in the currency's smallest unit."""

    id: str
    seller_sku: str
    price: int
    quantity: int
    attributes: dict[str, str]

    @property
    def name(self) -> str:
        """As line items call it."""
        return ", ".join(self.attributes.values()) or "Default"


@dataclass(slots=True)
class Product:
    """A product."""

    id: str
    title: str
    status: str
    created: int
    updated: int
    skus: list[Sku]
    description: str = "<p>Handmade in the sandbox.</p>"
    images: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Unit:
    """One ordered piece: TikTok Shop's line items have no quantity."""

    id: str
    product_id: str
    product_name: str
    sku: Sku
    price: int
    seller_discount: int
    platform_discount: int
    pod: str = ""
    """The customisation of a print-on-demand piece."""
    status: str = ""
    cancel_reason: str = ""
    cancel_user: str = ""
    package_id: str = ""

    @property
    def sale_price(self) -> int:
        """What the buyer pays for it before tax."""
        return self.price - self.seller_discount - self.platform_discount


@dataclass(slots=True)
class Order:
    """An order; units come later, see ``Shop.units``."""

    id: str
    number: int
    status: str
    created: int
    updated: int
    units: list[Unit] | None = None
    message: str = ""
    seller_note: str = ""
    shipping_fee: int = 0
    street: str = ""
    request_cancel: int = 0
    moments: dict[str, int] = field(default_factory=dict)
    """When it was paid, shipped, delivered, cancelled."""


class Shop:
    """One shop: its state in memory, and every way that the seller and the buyers change it."""

    def __init__(self, name: str, seed: str, region: str, sizes: Sizes, now: Callable[[], int]) -> None:
        if region not in MARKETS:
            raise ValueError(f"There is no market {region}; there are {', '.join(MARKETS)}.")
        if sizes.orders and not sizes.products:
            raise ValueError("Orders need products.")
        self.name = name
        self.region = region
        self.market = MARKETS[region]
        self.now = now
        self.random = random.Random(f"{seed}/{name}")  # noqa: S311 -- the same shop every time
        self.id = f"749{self._digits(16)}"
        self.cipher = f"{'TTP' if region == 'US' else 'ROW'}_{self._letters(16)}AAAA"
        self.code = f"{region}LC{self._letters(6).upper().translate(_NO_SIGNS)}"
        self.announce: Announce = lambda *_: None
        self.products: dict[str, Product] = {}
        self.orders: dict[str, Order] = {}
        self._orders_from = 576_000_000_000_000_000 + int(self._digits(9)) * 1_000_000
        self._skus: list[tuple[Product, Sku]] = []
        self._seed(sizes)

    # Products

    def create_product(self, wish: Json) -> Product:
        """The seller lists a product: PENDING until the audit passes, if not wished otherwise."""
        now = self.now()
        status = _one_of(PRODUCT_STATUSES, wish.get("status", "PENDING"))
        product = self._make_product(len(self.products), now, now, status)
        self._write_product(product, wish)
        self.announce("PRODUCT_CREATION", {"product_id": int(product.id), "product_types": [], "update_time": now})
        return product

    def change_product(self, product: Product, wish: Json) -> None:
        """The seller edits title, description, images, or a sku's price, stock and code."""
        changed = self._write_product(product, wish)
        product.updated = self.now()
        if changed:
            told = {"product_id": product.id, "change_source": "SELLER_CENTER", "changed_fields": changed}
            self.announce("PRODUCT_INFORMATION_CHANGE", told | {"update_time": product.updated})

    def set_product_status(self, product: Product, status: str) -> None:
        """Audit, seller or platform move the product on; ``DELETED`` stays to be found."""
        passed = product.status == "PENDING" and status == "ACTIVATE"
        product.status = _one_of(PRODUCT_STATUSES, status)
        product.updated = self.now()
        word = {"FAILED": "PRODUCT_AUDIT_FAILURE"}.get(status, "PRODUCT_STATUS_CHANGED")
        told = {"product_id": int(product.id), "update_time": product.updated}
        reason = {"suspended_reason": "Sandbox"} if status in ("FAILED", "FREEZE") else {}
        status_word = "PRODUCT_FIRST_PASS_REVIEW" if passed else word
        self.announce("PRODUCT_STATUS_CHANGE", {**told, "status": status_word, **reason})
        audit = {"audit": {"status": _AUDIT.get(status, "NONE"), "pre_approved_reasons": []}}
        self.announce("PRODUCT_AUDIT_STATUS_CHANGE", told | audit)

    def find_products(self, wish: Json) -> list[Product]:
        """Newest first (the reference names no order), filtered as Search Products filters."""
        status, now = wish.get("status", "ALL"), self.now()
        skus, codes = set(wish.get("sku_ids", ())), set(wish.get("seller_skus", ()))
        return [
            product
            for product in reversed(self.products.values())
            if status in ("ALL", product.status)
            and _between(product.created, wish.get("create_time_ge"), wish.get("create_time_le"), now)
            and _between(product.updated, wish.get("update_time_ge"), wish.get("update_time_le"), now)
            and (not skus or any(sku.id in skus for sku in product.skus))
            and (not codes or any(sku.seller_sku in codes for sku in product.skus))
        ]

    # Orders

    def buy(self, wish: Json) -> Order:
        """A buyer orders: ``lines`` of ``sku_id`` (or ``seller_sku``) and ``quantity``; paid if not said otherwise."""
        now = self.now()
        status = _one_of(ORDER_STATUSES, wish.get("status", "AWAITING_SHIPMENT"))
        order = self._make_order(len(self.orders), now, now, status)
        order.message, order.shipping_fee = str(wish.get("message", "")), 499
        lines = wish.get("lines") or [{"quantity": 1}]
        wanted = [pair for line in lines for pair in [self._wanted(line)] * int(line.get("quantity", 1))]
        order.units = [self._unit(order, at, *pair, self.random) for at, pair in enumerate(wanted)]
        self._move(order, order.units)
        self.orders[order.id] = order
        self._order_told(order)
        return order

    def set_order_status(self, order: Order, status: str, *, user: str = "SELLER") -> None:
        """The order moves on, and all its units that are not cancelled with it."""
        units = self.units(order)
        order.status, order.updated = _one_of(ORDER_STATUSES, status), self.now()
        self._move(order, units, user)
        self._order_told(order)
        if status == "CANCELLED":
            self._cancellation_told(order, "CANCELLATION_REQUEST_COMPLETE", user)

    def cancel_units(self, order: Order, count: int, *, user: str = "SELLER") -> None:
        """The last ``count`` units that are left are cancelled; with the last of them goes the order."""
        left = [unit for unit in self.units(order) if unit.status != "CANCELLED"]
        if count >= len(left):
            self.set_order_status(order, "CANCELLED", user=user)
            return
        for unit in left[len(left) - count :]:
            _cancel(unit, user)
        order.updated = self.now()
        self._cancellation_told(order, "CANCELLATION_REQUEST_COMPLETE", user)

    def request_cancellation(self, order: Order) -> None:
        """The buyer asks to cancel; the seller has yet to agree."""
        order.request_cancel = order.updated = self.now()
        self._cancellation_told(order, "CANCELLATION_REQUEST_PENDING", "BUYER")

    def change_address(self, order: Order, street: str) -> None:
        """The buyer changes where it goes."""
        order.street, order.updated = street, self.now()
        self.announce("RECIPIENT_ADDRESS_UPDATE", {"order_id": order.id, "update_time": order.updated})

    def split_package(self, order: Order) -> None:
        """The seller sends the order in two packages."""
        units = self.units(order)
        for unit in units[len(units) // 2 :]:
            unit.package_id = _package(order, 1)
        order.updated = self.now()
        packages = sorted({unit.package_id for unit in units if unit.package_id})
        told = [{"package_id": package, "order_id_list": [order.id]} for package in packages]
        change = {"sc_type": "SPLIT", "role_type": "ROLE_SELLER", "package_list": told, "update_time": order.updated}
        self.announce("PACKAGE_UPDATE", change)

    def note(self, order: Order, text: str) -> None:
        """The seller notes something: the order is newer, and no webhook tells."""
        order.seller_note, order.updated = text, self.now()

    def find_orders(self, wish: Json, sort_field: str, *, descending: bool) -> list[Order]:
        """Filtered and sorted as Get Order List does; equal times by id."""
        status, now = wish.get("order_status"), self.now()
        found = [
            order
            for order in self.orders.values()
            if wish.get("shipping_type", "TIKTOK") == "TIKTOK"
            and wish.get("buyer_user_id") in (None, _buyer(order))
            and status in (None, order.status)
            and _before(order.created, wish.get("create_time_ge"), wish.get("create_time_lt"), now)
            and _before(order.updated, wish.get("update_time_ge"), wish.get("update_time_lt"), now)
            and wish.get("is_buyer_request_cancel") in (None, bool(order.request_cancel))
        ]
        by_created = sort_field == "create_time"
        found.sort(key=lambda order: (order.created if by_created else order.updated, order.number), reverse=descending)
        return found

    def units(self, order: Order) -> list[Unit]:
        """The order's pieces, made now if nobody looked before."""
        if order.units is None:
            order.units = self._seed_units(order)
        return order.units

    # JSON

    def shop_json(self) -> Json:
        """As Get Authorized Shops has it."""
        shop = {"id": self.id, "name": self.name, "region": self.region, "seller_type": "LOCAL"}
        return {**shop, "cipher": self.cipher, "code": self.code}

    def product_json(self, product: Product) -> Json:
        """As Search Products has it: the key properties, no images."""
        return {
            "id": product.id,
            "title": product.title,
            "status": product.status,
            "skus": [self._sku_json(product, sku) for sku in product.skus],
            "sales_regions": [self.region],
            "create_time": product.created,
            "update_time": product.updated,
            "product_sync_fail_reasons": [],
            "is_not_for_sale": False,
            "listing_quality_tier": "GOOD",
            "audit": {"status": _AUDIT.get(product.status, "NONE"), "pre_approved_reasons": []},
            "has_draft": False,
        }

    def product_detail(self, product: Product) -> Json:
        """As Get Product has it."""
        brief = self.product_json(product)
        for name in ("sales_regions", "product_sync_fail_reasons"):
            del brief[name]
        return brief | {
            "product_status": product.status,
            "description": product.description,
            "category_chains": [{"id": "600001", "parent_id": "0", "local_name": "Home", "is_leaf": True}],
            "main_images": [_image_json(uri) for uri in product.images],
            "package_weight": {"unit": "KILOGRAM", "value": "0.45"},
            "is_cod_allowed": False,
            "product_attributes": [],
            "product_types": [],
            "skus": [
                self._sku_json(product, sku) | {"sales_attributes": _attributes_json(sku, product)}
                for sku in product.skus
            ],
        }

    def order_json(self, order: Order) -> Json:
        """As Get Order List and Get Order Detail have it; what does not apply is left out."""
        units = self.units(order)
        packages = dict.fromkeys(unit.package_id for unit in units if unit.package_id)
        body = {
            "id": order.id,
            "status": order.status,
            "create_time": order.created,
            "update_time": order.updated,
            "buyer_message": order.message,
            "seller_note": order.seller_note,
            "buyer_email": f"buyer{order.number}@chat.seller.example.com",
            "buyer_nickname": f"buyer{order.number}",
            "user_id": _buyer(order),
            "commerce_platform": "TIKTOK_SHOP",
            "order_type": "NORMAL",
            "fulfillment_type": "FULFILLMENT_BY_SELLER",
            "delivery_type": "HOME_DELIVERY",
            "shipping_type": "TIKTOK",
            "delivery_option_name": "Standard Shipping",
            "payment_method_name": "CCDC",
            "need_upload_invoice": "NO_NEED",
            "warehouse_id": self._warehouse,
            "is_cod": False,
            "is_sample_order": False,
            "is_on_hold_order": order.status == "ON_HOLD",
            "is_buyer_request_cancel": bool(order.request_cancel),
            "has_updated_recipient_address": order.street != "",
            "packages": [{"id": package} for package in packages],
            "payment": self._payment(order, units),
            "recipient_address": self._address(order),
            "line_items": [self._unit_json(unit) for unit in units],
            **{f"{name}_time": moment for name, moment in order.moments.items()},
        }
        if order.request_cancel:
            body["request_cancel_time"] = order.request_cancel
        if order.status == "CANCELLED":
            body |= {"cancel_reason": CANCEL_REASON, "cancellation_initiator": "SELLER"}
        return body

    def statement_json(self, order: Order) -> Json:
        """As Get Transactions by Order has it; an order that is not settled has none (taken: an empty list)."""
        units = [unit for unit in self.units(order) if unit.status == "COMPLETED"]
        skus = [
            self._transaction(order, [unit for unit in units if unit.sku.id == sku])
            for sku in dict.fromkeys(unit.sku.id for unit in units)
        ]
        head = {"order_id": order.id, "order_create_time": order.created, "currency": self.market.currency}
        if order.status != "COMPLETED" or not skus:
            return head | {"sku_transactions": [], "total_count": 0}
        revenue = sum(unit.sale_price + unit.platform_discount for unit in units)
        fee = sum(_commission(unit) for unit in units)
        shipping = order.shipping_fee // 2
        return head | {
            "revenue_amount": self.money(revenue),
            "fee_and_tax_amount": self.money(fee),
            "shipping_cost_amount": self.money(shipping),
            "settlement_amount": self.money(revenue - shipping - fee),
            "sku_transactions": skus,
            "total_count": len(skus),
        }

    def truth(self, only: str | None = None) -> Json:
        """What the shop really holds, for those who compare."""
        parts: dict[str, Callable[[], list[Json]]] = {
            "products": lambda: [self.product_truth(product) for product in self.products.values()],
            "orders": lambda: [self.order_truth(order) for order in self.orders.values()],
        }
        return {name: make() for name, make in parts.items() if only in (None, name)}

    def product_truth(self, product: Product) -> Json:
        """One product, in the words of the control API."""
        return {
            "id": product.id,
            "title": product.title,
            "status": product.status,
            "skus": [
                {"id": sku.id, "seller_sku": sku.seller_sku, "price": self.money(sku.price)} for sku in product.skus
            ],
            "created_gmt": gmt(product.created),
            "modified_gmt": gmt(product.updated),
        }

    def order_truth(self, order: Order) -> Json:
        """One order, in the words of the control API; ``skus`` counts its units, the cancelled ones too."""
        units = self.units(order)
        return {
            "id": order.id,
            "status": order.status,
            "total": self._payment(order, units)["total_amount"],
            "currency": self.market.currency,
            "units": len(units),
            "cancelled_units": sum(unit.status == "CANCELLED" for unit in units),
            "skus": dict(Counter(unit.sku.id for unit in units)),
            "created_gmt": gmt(order.created),
            "modified_gmt": gmt(order.updated),
        }

    def money(self, amount: int) -> str:
        """An amount as text, with as many decimals as the currency has."""
        digits = self.market.digits
        if not digits:
            return str(amount)
        sign = "-" if amount < 0 else ""
        return f"{sign}{abs(amount) // 10**digits}.{abs(amount) % 10**digits:0{digits}d}"

    # Seeding

    @property
    def _warehouse(self) -> str:
        return f"7068{self.id[3:18]}"

    def _seed(self, sizes: Sizes) -> None:
        now = self.now()
        start = now - sizes.days * _DAY
        for at in range(sizes.products):
            created = start + at
            updated = self.random.randint(created, now)
            self._make_product(at, created, updated, _SEEDED_PRODUCTS[at % len(_SEEDED_PRODUCTS)])
        statuses = self.random.sample(_SEEDED_ORDERS, len(_SEEDED_ORDERS))
        updated = start
        for at in range(sizes.orders):
            created = start + sizes.days * _DAY * at // sizes.orders
            # Every fifth has its predecessor's time: pages must not break at equal times.
            updated = updated if at % 5 == 4 and updated >= created else self.random.randint(created, now)
            order = self._make_order(at, created, updated, statuses[at % len(statuses)])
            self.orders[order.id] = order

    def _make_product(self, at: int, created: int, updated: int, status: str) -> Product:
        title = f"{_TITLES[at % len(_TITLES)]} {at + 1}"
        id = f"1729{self.id[3:12]}{at:06d}"
        product = Product(id, title, status, created, updated, self._make_skus(id, at))
        product.images = [f"{product.id}-{number}" for number in range(1 + at % 3)]
        self.products[product.id] = product
        self._skus += [(product, sku) for sku in product.skus]
        return product

    def _make_skus(self, product: str, at: int) -> list[Sku]:
        price = self.random.randrange(499, 9000) * (1 if self.market.digits else 100)
        colours = _COLOURS[: 1 + at % len(_COLOURS)]
        options = [{}] if at % 4 == 0 else [{"Color": c, "Size": s} for c in colours for s in _SIZES[: 1 + at % 3]]
        return [
            Sku(f"{product[:13]}{at * 12 + n + 500_000:06d}", f"SKU-{at + 1}-{n + 1}", price + n * 50, 10 + n, option)
            for n, option in enumerate(options)
        ]

    def _make_order(self, number: int, created: int, updated: int, status: str) -> Order:
        return Order(str(self._orders_from + number), number, status, created, updated)

    def _seed_units(self, order: Order) -> list[Unit]:
        dice = random.Random(f"{self.id}/{order.id}")  # noqa: S311 -- the same order whenever it is made
        order.message, order.shipping_fee = dice.choice(_MESSAGES), dice.choice((0, 299, 499))
        count = dice.choice(_UNITS)
        if order.status == "PARTIALLY_SHIPPING":
            count = max(2, count)
        kinds = [dice.choice(self._skus) for _ in range(dice.randint(1, count))]
        wanted = [*kinds, *(dice.choice(kinds) for _ in range(count - len(kinds)))]
        units = [self._unit(order, at, *pair, dice) for at, pair in enumerate(wanted)]
        if order.status not in ("UNPAID", "CANCELLED"):
            order.moments["paid"] = order.created
        self._move(order, units)
        if len(units) > 1 and order.status in ("AWAITING_SHIPMENT", "IN_TRANSIT", "COMPLETED") and dice.random() < 0.3:
            _cancel(units[-1], "BUYER")
        return units

    def _unit(self, order: Order, at: int, product: Product, sku: Sku, dice: random.Random) -> Unit:
        return Unit(
            id=f"577{order.id[3:]}{at}",
            product_id=product.id,
            product_name=product.title,
            sku=sku,
            price=sku.price,
            # In whole percents, so that sale and original price often differ.
            seller_discount=sku.price * dice.choice((0, 0, 5, 10)) // 100,
            platform_discount=sku.price * dice.choice((0, 0, 0, 7)) // 100,
            pod=f"7898{order.number:08d}{at}" if dice.random() < 0.2 else "",
        )

    def _move(self, order: Order, units: Sequence[Unit], user: str = "SELLER") -> None:
        """Brings the units that are left to where the order is, and dates it."""
        left = [unit for unit in units if unit.status != "CANCELLED"]
        for unit in left:
            unit.status = _UNIT_STATUS.get(order.status, order.status)
            if order.status == "PARTIALLY_SHIPPING" and unit is left[0]:
                unit.status = "AWAITING_COLLECTION"
            if unit.status in _SHIPPED and not unit.package_id:
                unit.package_id = _package(order, 0)
            if unit.status == "CANCELLED":
                _cancel(unit, user)
        self._date(order)

    def _date(self, order: Order) -> None:
        """When its steps were taken: when first seen, if nobody said."""
        steps = {
            "paid": order.status not in ("UNPAID", "CANCELLED"),
            "rts": order.status in _SHIPPED,
            "delivery": order.status in ("DELIVERED", "COMPLETED"),
            "cancel": order.status == "CANCELLED",
        }
        for name, taken in steps.items():
            if taken:
                order.moments.setdefault(name, order.updated)

    def _wanted(self, line: Json) -> tuple[Product, Sku]:
        for product, sku in self._skus:
            if line.get("sku_id") == sku.id or line.get("seller_sku") == sku.seller_sku:
                return product, sku
        if "sku_id" in line or "seller_sku" in line or not self._skus:
            raise ValueError("There is no such sku.")
        return self.random.choice(self._skus)

    def _write_product(self, product: Product, wish: Json) -> list[str]:
        for name in ("title", "description"):
            if name in wish:
                setattr(product, name, str(wish[name]))
        if "main_images" in wish:
            product.images = [str(uri) for uri in wish["main_images"]]
        for sku in product.skus:
            # A price or a stock without a sku is meant for all of them.
            if wish.get("sku_id", sku.id) == sku.id:
                sku.price = int(wish.get("price", sku.price))
                sku.quantity = int(wish.get("quantity", sku.quantity))
                sku.seller_sku = str(wish.get("seller_sku", sku.seller_sku))
        return [name for name in _INFORMATION if name in wish]

    def _order_told(self, order: Order) -> None:
        # The webhook writes CANCEL where the API has CANCELLED, and has no PARTIALLY_SHIPPING.
        word = {"CANCELLED": "CANCEL", "PARTIALLY_SHIPPING": "AWAITING_SHIPMENT"}.get(order.status, order.status)
        told = {"order_id": order.id, "order_status": word, "is_on_hold_order": order.status == "ON_HOLD"}
        self.announce("ORDER_STATUS_CHANGE", told | {"update_time": order.updated})

    def _cancellation_told(self, order: Order, status: str, role: str) -> None:
        told = {"order_id": order.id, "cancellations_role": role, "cancel_status": status}
        self.announce(
            "CANCELLATION_STATUS_CHANGE", told | {"cancel_id": f"403{order.id}", "create_time": order.updated}
        )

    # Parts of the JSON

    def _sku_json(self, product: Product, sku: Sku) -> Json:
        price = {"currency": self.market.currency, "tax_exclusive_price": self.money(sku.price)}
        # A local seller's display price is tax_exclusive_price; the others' is sale_price.
        if self.region != "US":
            price["sale_price"] = self.money(sku.price)
        active = product.status == "ACTIVATE"
        return {
            "id": sku.id,
            "seller_sku": sku.seller_sku,
            "price": price,
            "inventory": [{"warehouse_id": self._warehouse, "quantity": sku.quantity}],
            "status_info": {"status": "NORMAL"}
            if active
            else {"status": "DEACTIVATED", "deactivation_source": "SELLER"},
        }

    def _unit_json(self, unit: Unit) -> Json:
        body = {
            "id": unit.id,
            "sku_id": unit.sku.id,
            "sku_name": unit.sku.name,
            "seller_sku": unit.sku.seller_sku,
            "sku_type": "NORMAL",
            "sku_image": _IMAGE.format(unit.product_id),
            "product_id": unit.product_id,
            "product_name": unit.product_name,
            "display_status": unit.status,
            "currency": self.market.currency,
            "original_price": self.money(unit.price),
            "sale_price": self.money(unit.sale_price),
            "seller_discount": self.money(unit.seller_discount),
            "platform_discount": self.money(unit.platform_discount),
            "gift_retail_price": "0",
            "is_gift": False,
            "is_dangerous_good": False,
            "is_pod_customized": bool(unit.pod),
        }
        optional = {
            "pod_info_id": unit.pod,
            "package_id": unit.package_id,
            "package_status": _PACKAGE.get(unit.status, ""),
            "cancel_reason": unit.cancel_reason,
            "cancel_user": unit.cancel_user,
        }
        return body | {name: value for name, value in optional.items() if value}

    def _payment(self, order: Order, units: Iterable[Unit]) -> Json:
        """What was paid. A cancelled unit stays in it (taken: what is given back is the refund's matter)."""
        original = seller = platform = 0
        for unit in units:
            original += unit.price
            seller += unit.seller_discount
            platform += unit.platform_discount
        sub_total = original - seller - platform
        tax = sub_total * _TAX_PERCENT.get(self.region, 0) // 100
        amounts = {
            "original_total_product_price": original,
            "seller_discount": seller,
            "platform_discount": platform,
            "sub_total": sub_total,
            "shipping_fee": order.shipping_fee,
            "original_shipping_fee": order.shipping_fee,
            "product_tax": tax,
            "tax": tax,
            "total_amount": sub_total + order.shipping_fee + tax,
        }
        return {"currency": self.market.currency} | {name: self.money(amount) for name, amount in amounts.items()}

    def _address(self, order: Order) -> Json:
        street = order.street or f"{order.number} Sandbox Street"
        return {
            "name": f"Buyer {order.number}",
            "first_name": "Buyer",
            "last_name": str(order.number),
            "phone_number": "(+1)213-***-1234",
            "full_address": f"{self.market.country}, Testville, {street}",
            "address_detail": street,
            "address_line1": street,
            "address_line2": "",
            "address_line3": "",
            "address_line4": "",
            "postal_code": "00000",
            "region_code": self.region,
            "district_info": [
                {"address_level": "L0", "address_level_name": "Country", "address_name": self.market.country},
                {"address_level": "L3", "address_level_name": "City", "address_name": "Testville"},
            ],
        }

    def _transaction(self, order: Order, units: Sequence[Unit]) -> Json:
        revenue = sum(unit.sale_price + unit.platform_discount for unit in units)
        fee = sum(_commission(unit) for unit in units)
        return {
            "sku_id": units[0].sku.id,
            "sku_name": units[0].sku.name,
            "product_name": units[0].product_name,
            "statement_id": f"340{order.id}",
            "quantity": str(len(units)),
            "revenue_amount": self.money(revenue),
            "fee_tax_amount": self.money(fee),
            "shipping_cost_amount": self.money(0),
            "settlement_amount": self.money(revenue - fee),
            "fee_tax_breakdown": {
                "fee": {"referral_fee_amount": self.money(fee), "transaction_fee_amount": self.money(0)},
                "tax": {"vat_amount": self.money(0)},
            },
        }

    def _digits(self, count: int) -> str:
        return "".join(self.random.choices("0123456789", k=count))

    def _letters(self, count: int) -> str:
        return base64.urlsafe_b64encode(self.random.randbytes(count)).decode()[:count]


class Seller:
    """A seller account: one sign-in, one or more shops."""

    def __init__(
        self, name: str, now: Callable[[], int], *, seed: int = 1, regions: Sequence[str] = ("US",), sizes: Sizes
    ) -> None:
        if not regions:
            raise ValueError("A seller has a shop in at least one region.")
        self.name = name
        self.region = regions[0]
        names = [name, *(f"{name}-{number}" for number in range(2, len(regions) + 1))]
        self.shops = [
            Shop(shop, f"{name}/{seed}", region, sizes, now) for shop, region in zip(names, regions, strict=True)
        ]
        self.open_id = f"7010{self.shops[0].id[3:18]}"


_NO_SIGNS = str.maketrans({"-": "A", "_": "Z"})


def _one_of(words: Sequence[str], word: object) -> str:
    if word not in words:
        raise ValueError(f"{word} is none of {', '.join(words)}.")
    return str(word)


def _between(moment: int, first: int | None, last: int | None, now: int) -> bool:
    """Search Products' window; one bound alone is completed by the shop's beginning or by now."""
    if first is None and last is None:
        return True
    return (first or 0) <= moment <= (now if last is None else last)


def _before(moment: int, first: int | None, end: int | None, now: int) -> bool:
    """Get Order List's window, which ends before its end: without one, what changes this very second is not in."""
    if first is None and end is None:
        return True
    return (first or 0) <= moment < (now if end is None else end)


def _buyer(order: Order) -> str:
    return f"7021{order.number:015d}"


def _package(order: Order, number: int) -> str:
    return f"115{order.id[3:]}{number}"


def _cancel(unit: Unit, user: str) -> None:
    unit.status = "CANCELLED"
    unit.cancel_reason = unit.cancel_reason or CANCEL_REASON
    unit.cancel_user = unit.cancel_user or user


def _commission(unit: Unit) -> int:
    return (unit.sale_price + unit.platform_discount) * _COMMISSION_PERCENT // 100


def _image_json(uri: str) -> Json:
    url = _IMAGE.format(uri)
    return {"height": 600, "width": 600, "uri": f"tos-maliva-i-sandbox/{uri}", "urls": [url], "thumb_urls": [url]}


def _attributes_json(sku: Sku, product: Product) -> list[Json]:
    ids = {"Color": "100000", "Size": "100007"}
    attributes: list[Json] = [
        {"id": ids[name], "name": name, "value_id": f"7000{sum(map(ord, value)):012d}", "value_name": value}
        for name, value in sku.attributes.items()
    ]
    if attributes and product.images:
        attributes[0]["sku_img"] = _image_json(product.images[0])
    return attributes
