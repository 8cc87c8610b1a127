"""What is in a Shopify shop, how it is seeded, and how its merchant and buyers change it.

Orders are seeded as headers; their lines are drawn from the seed when first looked at, so that a shop of
many thousand orders opens at once and is the same shop every time.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

Json = dict[str, Any]

FINANCIAL = (
    "AUTHORIZED",
    "EXPIRED",
    "PAID",
    "PARTIALLY_PAID",
    "PARTIALLY_REFUNDED",
    "PENDING",
    "REFUNDED",
    "VOIDED",
)
FULFILLMENT = (
    "FULFILLED",
    "IN_PROGRESS",
    "ON_HOLD",
    "OPEN",
    "PARTIALLY_FULFILLED",
    "PENDING_FULFILLMENT",
    "RESTOCKED",
    "SCHEDULED",
    "UNFULFILLED",
)
PRODUCT_STATUSES = ("ACTIVE", "ARCHIVED", "DRAFT", "UNLISTED")
_DAY = 86_400
_ID_STEP = 32_768
"""Shopify's ids are far apart, and longer than 32 bits."""
_WITHOUT_CENTS = {"JPY", "KRW", "VND", "CLP"}
_PAID = {"PAID", "PARTIALLY_REFUNDED", "REFUNDED"}
_TITLES = ("Café “Noël” — 日本茶 🍵", "Löffel", "Notebook", "Ünïcode Mug", "Чай", "Kettle", "مصباح", "Bottle")
_SIZES, _COLOURS = ("S", "M", "L", "XL"), ("Rot", "Blau", "Ivory", "Noir")
_VENDORS, _TYPES = ("North Works", "Südhof"), ("Tea", "Kitchen", "Paper")
_NOTES = ("Please ring twice", "Für Änne ❤", "")
_TOWNS = (
    ("Köln", "50667", "Nordrhein-Westfalen", "NW", "Germany", "DE"),
    ("Springfield", "62701", "Illinois", "IL", "United States", "US"),
    ("東京", "100-0001", "Tōkyō", "JP-13", "Japan", "JP"),
    ("Saint-Étienne", "42000", None, None, "France", "FR"),
)
_SEEDED = (
    *[("PAID", "FULFILLED")] * 36,
    *[("PAID", "UNFULFILLED")] * 26,
    *[("PAID", "PARTIALLY_FULFILLED")] * 5,
    *[("PAID", "ON_HOLD")] * 2,
    *[("PAID", "IN_PROGRESS")] * 2,
    *[("PENDING", "UNFULFILLED")] * 8,
    *[("AUTHORIZED", "UNFULFILLED")] * 5,
    *[("PARTIALLY_PAID", "UNFULFILLED")] * 2,
    *[("PARTIALLY_REFUNDED", "FULFILLED")] * 4,
    *[("REFUNDED", "RESTOCKED")] * 4,
    *[("VOIDED", "UNFULFILLED")] * 5,
    *[("EXPIRED", "UNFULFILLED")] * 1,
)
_GATEWAYS = ("shopify_payments", "shopify_payments", "shopify_payments", "paypal", "manual")


def gid(kind: str, number: int) -> str:
    """A global id."""
    return f"gid://shopify/{kind}/{number}"


def number_of(id: object) -> int:
    """The number in a global id, or the number itself; ValueError where there is none."""
    return int(str(id).rpartition("/")[2])


def cents(money: object) -> int:
    """An amount as text or number, in cents."""
    return round(float(str(money)) * 100)


def money(amount: int) -> str:
    """Cents as the Money scalar and REST have it: always two decimals."""
    sign = "-" if amount < 0 else ""
    return f"{sign}{abs(amount) // 100}.{abs(amount) % 100:02d}"


def decimal(amount: int) -> str:
    """Cents as the Decimal scalar of ``MoneyV2`` has it: ``10.0``, ``19.5``, ``19.95``."""
    text = money(amount)
    return text.removesuffix("0")


@dataclass(slots=True)
class Variant:
    """A variant of a product; even a product without choices has one."""

    id: int
    title: str
    price: int
    created: int
    updated: int
    position: int = 1
    sku: str | None = None
    barcode: str | None = None
    compare_at: int | None = None
    inventory: int | None = 0
    options: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Product:
    """A product."""

    id: int
    title: str
    created: int
    updated: int
    handle: str = ""
    status: str = "ACTIVE"
    vendor: str = ""
    product_type: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    image: str | None = None
    published: int | None = None
    variants: list[Variant] = field(default_factory=list)


@dataclass(slots=True)
class Line:
    """A line of an order, as it was when it was bought."""

    id: int
    title: str
    quantity: int
    price: int
    product_id: int | None = None
    variant_id: int | None = None
    variant_title: str | None = None
    sku: str | None = None
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Order:
    """An order."""

    id: int
    number: int
    created: int
    updated: int
    financial: str
    fulfillment: str
    draw: Callable[["Order"], list[Line]]
    """Makes the lines when they are first looked at."""
    buyer: int | None = None
    town: int = 0
    gateway: str = "shopify_payments"
    note: str | None = None
    tags: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    cancelled: int | None = None
    cancel_reason: str | None = None
    closed: int | None = None
    shipping: int = 490
    discount: int = 0
    refunded: int = 0
    """In cents; -1 means all of it."""
    long: bool = False
    _lines: list[Line] | None = None

    @property
    def lines(self) -> list[Line]:
        """What was bought."""
        if self._lines is None:
            self._lines = self.draw(self)
        return self._lines

    @property
    def subtotal(self) -> int:
        """The lines, less the discount."""
        return sum(line.price * line.quantity for line in self.lines) - self.discount

    @property
    def total(self) -> int:
        """What was to be paid when it was placed."""
        return self.subtotal + self.shipping

    @property
    def given_back(self) -> int:
        """What was refunded."""
        return self.total if self.refunded < 0 else self.refunded

    @property
    def current_total(self) -> int:
        """What is to be paid now, after refunds and cancellation."""
        return 0 if self.financial == "VOIDED" else self.total - self.given_back

    @property
    def received(self) -> int:
        """What the buyer has paid."""
        if self.financial == "PARTIALLY_PAID":
            return self.total // 2
        return self.total if self.financial in _PAID else 0

    def address(self) -> Json:
        """Where it goes."""
        city, postcode, province, code, country, country_code = _TOWNS[self.town]
        surname = str(self.buyer or 0)
        return {
            "first_name": "Buyer",
            "last_name": surname,
            "name": f"Buyer {surname}",
            "address1": f"Straße {self.number % 90 + 1}",
            "address2": None,
            "company": None,
            "phone": None,
            "city": city,
            "zip": postcode,
            "province": province,
            "province_code": code,
            "country": country,
            "country_code": country_code,
        }


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much a shop is seeded with."""

    products: int = 60
    variable: int = 12
    """So many of the products have ``variants`` variants."""
    variants: int = 4
    wide: int = 1
    """So many of the products have more than 100 variants."""
    orders: int = 250
    long: int = 2
    """So many of the orders have more than 50 lines."""
    days: int = 45
    """How far back orders go; beyond 60 days an app needs ``read_all_orders`` to see them."""


@dataclass(frozen=True, slots=True)
class _Sold:
    """What a seeded order's line can be of."""

    product_id: int
    variant_id: int
    title: str
    variant_title: str | None
    sku: str | None
    price: int


class Shop:
    """One shop: its state in memory, and every way it changes."""

    def __init__(
        self,
        name: str,
        clock: Callable[[], float],
        *,
        seed: int = 1,
        sizes: Sizes | None = None,
        timezone: str = "Europe/Berlin",
        currency: str = "EUR",
        plan: str = "Basic",
    ) -> None:
        self.name = name
        self.domain = f"{name}.myshopify.com"
        self.timezone = timezone
        self.currency = currency
        self.plan = plan
        self.seed = f"{name}/{seed}"
        self.clock_offset = 0
        self.version = 0
        """Counts changes: what was derived from another version is out of date."""
        self.products: dict[int, Product] = {}
        self.orders: dict[int, Order] = {}
        self.on_event: Callable[[str, Any], object] = lambda *_: None
        """Told of what happens: the topic and the order, the product, or the number of what is gone."""
        self.random = random.Random(self.seed)  # noqa: S311 -- the same shop every time
        self.id = 60_000_000_000 + self.random.randrange(10**9)
        self._clock = clock
        self.zone = ZoneInfo(timezone)
        self._product_ids = count(8_100_000_000_001, _ID_STEP)
        self._variant_ids = count(44_000_000_000_001, _ID_STEP)
        self._order_ids = count(5_600_000_000_001, _ID_STEP)
        self._line_ids = count(14_000_000_000_001, _ID_STEP)
        self._numbers = count(1001)
        self._sold: list[_Sold] = []
        self._seed_all(sizes or Sizes())

    # Time

    def now(self) -> int:
        """The shop's clock, in whole seconds."""
        return int(self.precisely())

    def precisely(self) -> float:
        """The shop's clock."""
        return self._clock() + self.clock_offset

    def local(self, moment: int | None) -> str | None:
        """A moment as REST has it: the shop's time with its offset."""
        return None if moment is None else datetime.fromtimestamp(moment, self.zone).isoformat()

    def find_variant(self, id: int | None, product_id: int | None = None) -> tuple[Product, Variant] | None:
        """A variant and its product, fast where the product is known."""
        known = self.products.get(product_id or 0)
        for product in self.products.values() if product_id is None else filter(None, [known]):
            for variant in product.variants:
                if variant.id == id:
                    return product, variant
        return None

    # Orders

    def create_order(self, wish: Json) -> Order:
        """A buyer orders: ``line_items`` of ``variant_id``, ``product_id`` or ``title`` and ``price``."""
        now = self.now()
        lines = [self._line(one) for one in wish.get("line_items") or [{}]]
        order = Order(
            next(self._order_ids), next(self._numbers), now, now, "PAID", "UNFULFILLED", lambda _: lines, buyer=1
        )
        self._write_order(order, {"financial_status": "PAID", **wish})
        self.orders[order.id] = order
        self._changed(order, "orders/create", *(["orders/paid"] if order.financial == "PAID" else []))
        return order

    def update_order(self, order: Order, wish: Json) -> None:
        """The merchant changes an order: statuses, ``note``, ``tags``, ``refund`` of an amount."""
        before = order.financial, order.fulfillment
        self._write_order(order, wish)
        topics = ["orders/updated"]
        if order.financial == "PAID" and before[0] != "PAID":
            topics.append("orders/paid")
        if order.fulfillment != before[1]:
            done = {"FULFILLED": "orders/fulfilled", "PARTIALLY_FULFILLED": "orders/partially_fulfilled"}
            topics += filter(None, [done.get(order.fulfillment)])
        self._changed(order, *topics)

    def cancel_order(self, order: Order, reason: str = "CUSTOMER") -> None:
        """The order is cancelled: what was paid goes back, what was not is voided."""
        order.cancelled = order.closed = self.now()
        order.cancel_reason = reason
        if order.received:
            order.financial, order.refunded = "REFUNDED", -1
        else:
            order.financial = "VOIDED"
        self._changed(order, "orders/cancelled", "orders/updated")

    def delete_order(self, order: Order) -> None:
        """Delete an order for good."""
        del self.orders[order.id]
        self.version += 1
        self.on_event("orders/delete", order.id)

    def _changed(self, changed: Order | Product, *topics: str) -> None:
        changed.updated = self.now()
        self.version += 1
        for topic in topics:
            self.on_event(topic, changed)

    def _write_order(self, order: Order, wish: Json) -> None:
        order.financial = _known(wish.get("financial_status", order.financial), FINANCIAL)
        order.fulfillment = _known(wish.get("fulfillment_status", order.fulfillment), FULFILLMENT)
        order.note = wish.get("note", order.note)
        order.tags = tuple(wish.get("tags", order.tags))
        order.gateway = wish.get("gateway", order.gateway)
        order.buyer = wish.get("buyer", order.buyer)
        order.attributes = _pairs(wish.get("attributes", dict(order.attributes)))
        if "closed" in wish:
            order.closed = self.now() if wish["closed"] else None
        if "refund" in wish:
            order.refunded = min(order.total, order.given_back + cents(wish["refund"]))
            order.financial = "REFUNDED" if order.refunded == order.total else "PARTIALLY_REFUNDED"

    def _line(self, wish: Json) -> Line:
        found = self._bought(wish)
        line = Line(next(self._line_ids), str(wish.get("title", "Custom item")), int(wish.get("quantity", 1)), 1000)
        if found:
            product, variant = found
            line.title, line.sku, line.price = product.title, variant.sku, variant.price
            line.product_id, line.variant_id = product.id, variant.id
            line.variant_title = variant.title if variant.options else None
        if "price" in wish:
            line.price = cents(wish["price"])
        line.attributes = _pairs(wish.get("properties", {}))
        return line

    def _bought(self, wish: Json) -> tuple[Product, Variant] | None:
        if "variant_id" in wish:
            return self.find_variant(number_of(wish["variant_id"]))
        if "product_id" in wish:
            product = self.products[number_of(wish["product_id"])]
            return product, product.variants[0]
        return None

    # Products

    def create_product(self, wish: Json) -> Product:
        """A new product: ``title``, ``price``, ``status``, ``variants`` and the like."""
        now = self.now()
        product = Product(next(self._product_ids), "Product", now, now, published=now)
        for one in wish.get("variants") or [{}]:
            self._add_variant(product, one, now)
        self._write_product(product, wish)
        self.products[product.id] = product
        self._changed(product, "products/create")
        return product

    def update_product(self, product: Product, wish: Json) -> None:
        """The merchant changes a product, or with ``variant_id`` one variant: ``price``, ``sku``, ``inventory``."""
        self._write_product(product, wish)
        self._changed(product, "products/update")

    def delete_product(self, product: Product) -> None:
        """Delete a product and its variants for good; orders keep their lines."""
        del self.products[product.id]
        self.version += 1
        self.on_event("products/delete", product.id)

    def _add_variant(self, product: Product, wish: Json, now: int) -> None:
        title = str(wish.get("title", "Default Title"))
        options = () if title == "Default Title" else (("Title", title),)
        variant = Variant(next(self._variant_ids), title, 1000, now, now, len(product.variants) + 1, options=options)
        _write_variant(variant, wish)
        product.variants.append(variant)

    def _write_product(self, product: Product, wish: Json) -> None:
        product.title = str(wish.get("title", product.title))
        product.handle = str(wish.get("handle", product.handle or product.title.lower().replace(" ", "-")))
        product.status = _known(wish.get("status", product.status), PRODUCT_STATUSES)
        product.vendor = str(wish.get("vendor", product.vendor))
        product.product_type = str(wish.get("product_type", product.product_type))
        product.description = str(wish.get("description", product.description))
        product.tags = tuple(wish.get("tags", product.tags))
        product.image = wish.get("image", product.image)
        wanted = number_of(wish["variant_id"]) if "variant_id" in wish else product.variants[0].id
        for variant in product.variants:
            if variant.id == wanted and _write_variant(variant, wish):
                variant.updated = self.now()

    # Seeding

    def _seed_all(self, sizes: Sizes) -> None:
        now = self.now()
        start = now - sizes.days * _DAY
        for at in range(sizes.products):
            self._seed_product(at, sizes, start, now)
        moments = sorted(self.random.randrange(start, now - 3600) for _ in range(sizes.orders))
        for at, moment in enumerate(moments):
            self._seed_order(moment, now, long=at < sizes.long)
        self._share_a_second(list(self.orders.values()))

    def _share_a_second(self, orders: Sequence[Order]) -> None:
        """Some orders were changed in one second, as after a bulk action, and page borders fall into it."""
        middle = len(orders) // 2
        together = orders[middle : middle + max(2, len(orders) // 8)]
        for order in together:
            order.updated = max(order.updated, together[-1].created)
        for order in together:
            order.updated = together[-1].updated

    def _seed_product(self, at: int, sizes: Sizes, start: int, now: int) -> None:
        rng = self.random
        created = rng.randrange(start - 30 * _DAY, start)
        product = Product(next(self._product_ids), f"{_TITLES[at % len(_TITLES)]} {at}", created, created)
        product.updated = rng.randrange(created, now - 3600)
        product.handle = f"product-{at}"
        product.vendor, product.product_type = _VENDORS[at % 2], _TYPES[at % 3]
        product.description = f"<p>Größe &amp; Gewicht: <b>{at}</b></p>"
        product.tags = tuple(("new", "sale", "größe")[: at % 4])
        product.status = {7: "DRAFT", 17: "ARCHIVED", 27: "UNLISTED"}.get(at % 40, "ACTIVE")
        product.published = created if product.status == "ACTIVE" else None
        if at % 4 != 1:
            product.image = f"https://cdn.shopify.com/s/files/1/{self.id}/files/{product.handle}.jpg?v={created}"
        many = 100 + 20 if at < sizes.wide else sizes.variants if at < sizes.wide + sizes.variable else 1
        for place in range(many):
            self._seed_variant(product, place, many)
        self.products[product.id] = product

    def _seed_variant(self, product: Product, place: int, many: int) -> None:
        rng = self.random
        size, colour = _SIZES[place % 4], _COLOURS[place // 4 % 4]
        options: tuple[tuple[str, str], ...] = (("Größe", size), ("Farbe", colour))
        if many > 16:
            options += (("No.", str(place)),)
        options = options if many > 1 else ()
        title = " / ".join(value for _, value in options) or "Default Title"
        price = self._whole(rng.randrange(149, 9900))
        variant = Variant(next(self._variant_ids), title, price, product.created, product.updated)
        variant.options, variant.position = options, place + 1
        variant.sku = None if product.id % 11 == 3 else f"{product.handle.upper()}-{place}"
        variant.inventory = rng.randrange(-2, 80)
        variant.compare_at = variant.price * 2 if place % 5 == 2 else None
        product.variants.append(variant)
        shown = title if many > 1 else None
        self._sold.append(_Sold(product.id, variant.id, product.title, shown, variant.sku, variant.price))

    def _seed_order(self, created: int, now: int, *, long: bool) -> None:
        rng = self.random
        financial, fulfillment = rng.choice(_SEEDED)
        updated = min(now - 600, created + rng.randrange(0, 2 * _DAY))
        number = next(self._numbers)
        order = Order(next(self._order_ids), number, created, updated, financial, fulfillment, self._draw, long=long)
        order.buyer = None if number % 19 == 0 else number % 977 + 1
        order.town, order.gateway = number % len(_TOWNS), rng.choice(_GATEWAYS)
        order.note = _NOTES[number % 3] or None
        order.tags = ("vip", "größe")[: number % 3]
        order.attributes = (("gift", "yes"),) if number % 7 == 0 else ()
        order.shipping = self._whole(order.shipping)
        order.discount = 100 if number % 10 == 0 else 0
        if financial == "VOIDED":
            order.cancelled, order.cancel_reason = updated, ("CUSTOMER", "FRAUD", "INVENTORY")[number % 3]
        if order.cancelled or (fulfillment == "FULFILLED" and financial == "PAID"):
            order.closed = updated
        order.refunded = {"REFUNDED": -1, "PARTIALLY_REFUNDED": 100}.get(financial, 0)
        self.orders[order.id] = order

    def _whole(self, amount: int) -> int:
        """An amount that can be paid: some currencies have no smaller coin."""
        return -(-amount // 100) * 100 if self.currency in _WITHOUT_CENTS else amount

    def _draw(self, order: Order) -> list[Line]:
        rng = random.Random(f"{self.seed}/{order.id}")  # noqa: S311 -- the same order every time
        many = rng.randrange(51, 130) if order.long else rng.choice((1, 1, 1, 2, 3, 5))
        return [self._draw_line(order, rng, place) for place in range(many)]

    def _draw_line(self, order: Order, rng: random.Random, place: int) -> Line:
        id = order.id * 2 + place * 2 + 8_000_000_000_000
        if not self._sold or rng.random() < 0.02:
            return Line(id, "Custom engraving ✎", 1, 500, attributes=(("Text", "Für Änne ❤"), ("Empty", "")))
        sold = rng.choice(self._sold)
        line = Line(id, sold.title, rng.randrange(1, 6), sold.price, sold.product_id, sold.variant_id)
        line.variant_title, line.sku = sold.variant_title, sold.sku
        if rng.random() < 0.2:
            line.attributes = (("Gravur", "日本 “quoted” & more"), ("_hidden", "1"))
        return line


def _known(word: object, words: Sequence[str]) -> str:
    upper = str(word).upper()
    if upper not in words:
        raise ValueError(f"{word} is none of {', '.join(words)}.")
    return upper


def _pairs(wish: Json) -> tuple[tuple[str, str], ...]:
    return tuple((str(key), str(value)) for key, value in wish.items())


def _write_variant(variant: Variant, wish: Json) -> bool:
    """Write what the wish says of a variant; whether it says anything."""
    if "price" in wish:
        variant.price = cents(wish["price"])
    if "compare_at_price" in wish:
        variant.compare_at = None if wish["compare_at_price"] is None else cents(wish["compare_at_price"])
    variant.sku = wish.get("sku", variant.sku)
    variant.barcode = wish.get("barcode", variant.barcode)
    variant.inventory = wish.get("inventory_quantity", variant.inventory)
    return bool({"price", "compare_at_price", "sku", "barcode", "inventory_quantity"} & set(wish))


def utc(moment: int | None) -> str | None:
    """A moment as the DateTime scalar has it."""
    return None if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
