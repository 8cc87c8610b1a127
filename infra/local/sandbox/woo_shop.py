"""What is in a WooCommerce shop, how it is seeded and changed, and its JSON as WooCommerce 10.5.2 words it.

The shapes are those of the recordings. What a change sets off (stock, webhooks) is decided here as well,
so that a change by REST and one by the merchant have the same consequences.
"""

import json
import random
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

Json = dict[str, Any]

ORDER_STATUSES = {
    "auto-draft": "Auto draft",
    "pending": "Pending payment",
    "processing": "Processing",
    "on-hold": "On hold",
    "completed": "Completed",
    "cancelled": "Cancelled",
    "refunded": "Refunded",
    "failed": "Failed",
    "checkout-draft": "Draft",
}
PRODUCT_STATUSES = ("draft", "pending", "private", "publish")
CURRENCIES = {
    "EUR": ("Euro", "&euro;", "€"),
    "USD": ("United States (US) dollar", "&#36;", "$"),
    "GBP": ("Pound sterling", "&pound;", "£"),
    "CHF": ("Swiss franc", "&#67;&#72;&#70;", "CHF"),
    "JPY": ("Japanese yen", "&yen;", "¥"),
}
_STOCK_TAKEN = {"processing", "on-hold", "completed"}
_STOCK_GIVEN_BACK = {"pending", "cancelled"}
_PAID = {"processing", "completed", "refunded"}
_TAX = {"DE": (1, "DE-MWST-1", "MwSt", 19), "FR": (3, "FR-TVA-1", "TVA", 20)}
_BASE_RATE = 119
_DAY = 86_400
_MICRO = 1_000_000
_EDITABLE = {"self": ["GET", "POST", "PUT", "PATCH", "DELETE"], "note": ["GET", "DELETE"]}

_NAMES = ("Notizbuch", "Äthiopien Yirgacheffe", "Löffel", "Kolumbien Huila", "Grüner Tee", "Mühle", "Kaffeebecher")
_CATEGORIES = ((16, "Kaffee", "kaffee"), (17, "Zubehör", "zubehoer"), (19, "Kleidung", "kleidung"))
_SIZES, _COLOURS = ("S", "M", "L"), ("rot", "blau")
_FIRST_NAMES = ("Jörg", "Änne", "François", "Zoë", "Müge", "Søren")
_SURNAMES = ("O'Neill-Groß", "Müller", "Çelik", "Bäcker")
_PAYMENTS = (("cod", "Überweisung"), ("cheque", "Überweisung"), ("bacs", "Direkte Banküberweisung"))
_SEEDED_STATUSES = (
    *["completed"] * 40,
    *["processing"] * 34,
    *["cancelled"] * 8,
    *["pending"] * 6,
    *["on-hold"] * 6,
    *["refunded"] * 4,
    *["failed"] * 2,
)
_NO_ADDRESS = dict.fromkeys(
    ("first_name", "last_name", "company", "address_1", "address_2", "city", "state", "postcode", "country"), ""
)
_SLUG = str.maketrans({"ä": "a", "ö": "o", "ü": "u", "ß": "ss", "Ä": "A", "Ö": "O", "Ü": "U", " ": "-"})


def php_json(value: object) -> bytes:
    r"""JSON as PHP writes it: no white space, ``\/`` for slashes, ``\uXXXX`` for all but ASCII."""
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/").encode("ascii")


def cents(money: str) -> int:
    """Money as text, in cents; what is no number counts as nothing, as in PHP."""
    try:
        return round(float(money) * 100)
    except ValueError:
        return 0


def money(amount: int) -> str:
    """Cents as text with two decimals."""
    sign = "-" if amount < 0 else ""
    return f"{sign}{abs(amount) // 100}.{abs(amount) % 100:02d}"


def _number(value: float) -> float:
    return int(value) if value == int(value) else value  # PHP writes 10.0 as 10


@dataclass
class User:
    """A WordPress user of the shop."""

    id: int
    login: str
    may_manage: bool = True


@dataclass
class ApiKey:
    """A REST key of one user."""

    id: int
    consumer_key: str
    consumer_secret: str = field(repr=False)
    permissions: str = "read_write"
    user: User = field(default_factory=lambda: User(1, "admin"))
    calls_left: int | None = None
    """The merchant revokes the key after so many more calls."""


@dataclass(slots=True)
class Meta:
    """One entry of ``meta_data``."""

    id: int
    key: str
    value: Any
    display_key: str = ""
    display_value: str = ""


@dataclass(slots=True)
class Product:
    """A product, or a variation of one."""

    id: int
    type: str
    name: str
    created: int
    modified: int
    parent_id: int = 0
    slug: str = ""
    status: str = "publish"
    sku: str = ""
    regular_price: str = ""
    sale_price: str = ""
    description: str = ""
    short_description: str = ""
    manage_stock: bool = False
    stock_quantity: int | None = None
    unmanaged_stock: str = "instock"
    backorders: str = "no"
    weight: str = ""
    total_sales: int = 0
    global_unique_id: str = ""
    category: tuple[int, str, str] | None = None
    attributes: list[Json] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    variations: list[int] = field(default_factory=list)
    images: list[Json] = field(default_factory=list)
    related: tuple[int, ...] = ()
    meta: list[Meta] = field(default_factory=list)
    before_trash: str = ""

    @property
    def price(self) -> str:
        """What a buyer pays."""
        return self.sale_price or self.regular_price

    @property
    def stock_status(self) -> str:
        """instock, outofstock or onbackorder."""
        if not self.manage_stock:
            return self.unmanaged_stock
        if (self.stock_quantity or 0) > 0:
            return "instock"
        return "outofstock" if self.backorders == "no" else "onbackorder"


@dataclass(slots=True)
class Line:
    """A line item of an order; net is without tax, in millionths."""

    id: int
    name: str
    product_id: int
    variation_id: int
    quantity: int
    sku: str
    net: int
    parent_name: str | None = None
    meta: list[Meta] = field(default_factory=list)


@dataclass(slots=True)
class Refund:
    """A refund of an order."""

    id: int
    created: int
    amount: int
    reason: str
    meta: list[Meta]


@dataclass(slots=True)
class Note:
    """A note on an order."""

    id: int
    created: int
    text: str
    for_customer: bool


@dataclass(slots=True)
class Order:
    """An order."""

    id: int
    status: str
    created: int
    modified: int
    key: str
    paid: int | None = None
    completed: int | None = None
    currency: str = "EUR"
    customer_id: int = 0
    customer_note: str = ""
    payment_method: str = ""
    payment_method_title: str = ""
    transaction_id: str = ""
    billing: Json = field(default_factory=dict)
    shipping: Json = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    shipping_line_id: int = 0
    shipping_net: int = 0
    tax_line_id: int = 0
    meta: list[Meta] = field(default_factory=list)
    refunds: list[Refund] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    before_trash: str = ""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much a shop is seeded with."""

    products: int = 60
    variable: int = 12
    variations: int = 3
    orders: int = 250
    days: int = 180


class Shop:
    """One shop: its state in memory, and every way it changes."""

    def __init__(
        self,
        name: str,
        url: str,
        clock: Callable[[], float],
        *,
        seed: int = 1,
        sizes: Sizes | None = None,
        timezone: str = "Europe/Berlin",
        currency: str = "EUR",
        variation_touches_parent: bool = True,
    ) -> None:
        self.name = name
        self.url = url
        self.timezone = timezone
        self.currency = currency
        self.variation_touches_parent = variation_touches_parent
        self.clock_offset = 0
        self.version = 0
        """Counts changes: what was derived from another version is out of date."""
        self.products: dict[int, Product] = {}
        self.orders: dict[int, Order] = {}
        self.admin = User(1, "admin")
        self.keys: list[ApiKey] = []
        self.on_event: Callable[[str, int], object] = lambda *_: None
        self.random = random.Random(f"{name}/{seed}")  # noqa: S311 -- the same shop every time
        self._clock = clock
        self._zone = ZoneInfo(timezone)
        self._ids, self._line_ids, self._meta_ids = count(10), count(1), count(100)
        self._note_ids, self._key_ids, self._image_ids = count(1), count(1), count(900_001)
        self._texts: dict[tuple[str, int], bytes] = {}
        self._seed(sizes or Sizes())

    # Time

    def now(self) -> int:
        """The shop's clock, in whole seconds."""
        return int(self._clock()) + self.clock_offset

    def local(self, moment: int | None) -> str | None:
        """A moment in the site's time, without a zone."""
        if moment is None:
            return None
        return datetime.fromtimestamp(moment, self._zone).isoformat()[:19]

    def gmt(self, moment: int | None) -> str | None:
        """A moment in GMT, without a zone."""
        if moment is None:
            return None
        return datetime.fromtimestamp(moment, UTC).isoformat()[:19]

    def utc_offset(self) -> float:
        """The site's present offset, in hours."""
        offset = datetime.fromtimestamp(self.now(), self._zone).utcoffset()
        assert offset is not None
        return _number(offset.total_seconds() / 3600)

    def moment(self, text: str, *, gmt: bool) -> int:
        """The instant that a date in a query means, with WordPress's ways.

        It reads any date as site time and drops the zone; with ``dates_are_gmt`` it then takes that wall
        clock for GMT. So a zone in the text shifts by the site's offset, and a time that the site's clock
        skips in March jumps an hour.
        """
        read = datetime.fromisoformat(text.upper())
        wall = read if read.tzinfo else read.replace(tzinfo=self._zone)
        wall = wall.astimezone(UTC).astimezone(self._zone).replace(microsecond=0)
        return int((wall.replace(tzinfo=UTC) if gmt else wall).timestamp())

    # Keys

    def add_key(self, permissions: str = "read_write", user: User | None = None) -> ApiKey:
        """A new key of a user, of the administrator if not said otherwise."""
        digits = [f"{self.random.getrandbits(160):040x}" for _ in range(2)]
        key = ApiKey(next(self._key_ids), f"ck_{digits[0]}", f"cs_{digits[1]}", permissions, user or self.admin)
        self.keys.append(key)
        return key

    def revoke(self, key: ApiKey) -> None:
        """The key is deleted, as a merchant does in the settings."""
        self.keys.remove(key)

    # Orders

    def create_order(self, wish: Json) -> Order:
        """A new order from a REST body; an empty one makes an empty order."""
        now = self.now()
        order = Order(next(self._ids), "pending", now, now, "wc_order_" + self._letters(13), currency=self.currency)
        order.billing = _NO_ADDRESS | {"email": "", "phone": ""}
        order.shipping = _NO_ADDRESS | {"phone": ""}
        self.orders[order.id] = order
        self._write_order(order, wish, noted=False)
        if wish.get("set_paid") and order.status == "pending":
            self._set_order_status(order, "processing", noted=False)
        self._order_changed(order, "order.created", "order.updated")
        return order

    def update_order(self, order: Order, wish: Json) -> None:
        """Change an order; taking it out of the trash this way announces nothing."""
        from_trash = order.status == "trash"
        self._write_order(order, wish, noted=True)
        topics = () if from_trash and order.status != "trash" else ("order.updated",)
        self._order_changed(order, *topics)

    def trash_order(self, order: Order) -> None:
        """Move an order to the trash."""
        order.before_trash, order.status = order.status, "trash"
        self._order_changed(order, "order.deleted")

    def restore_order(self, order: Order) -> None:
        """Take an order out of the trash, as the merchant does."""
        order.status, order.before_trash = order.before_trash or "pending", ""
        self._order_changed(order, "order.restored")

    def delete_order(self, order: Order) -> None:
        """Delete an order for good: no webhook tells."""
        del self.orders[order.id]
        self._forget("order", order.id)

    def create_refund(self, order: Order, wish: Json) -> Refund:
        """Refund a part of an order, or the rest of it."""
        amount = cents(str(wish.get("amount", "")))
        rest = self._totals(order)["total"] - sum(refund.amount for refund in order.refunds)
        kind = Meta(next(self._meta_ids), "_refund_type", "full" if amount >= rest else "partial")
        refund = Refund(next(self._ids), self.now(), amount, str(wish.get("reason", "")), [kind])
        order.refunds.append(refund)
        if amount >= rest:
            self._set_order_status(order, "refunded")
        self._order_changed(order, "order.updated")
        return refund

    def delete_refund(self, order: Order, refund: Refund) -> None:
        """Delete a refund: the order's modified date stays and no webhook tells."""
        order.refunds.remove(refund)
        self._forget("order", order.id)

    def add_note(self, order: Order, text: str, *, for_customer: bool = False) -> Note:
        """Write a note on an order; that is no change of the order."""
        note = Note(next(self._note_ids), self.now(), text, for_customer)
        order.notes.append(note)
        return note

    def _order_changed(self, order: Order, *topics: str) -> None:
        order.modified = self.now()
        self._forget("order", order.id)
        for topic in topics:
            self.on_event(topic, order.id)

    def _write_order(self, order: Order, wish: Json, *, noted: bool) -> None:
        for name in ("currency", "customer_id", "customer_note", "transaction_id"):
            if name in wish:
                setattr(order, name, wish[name])
        for name in ("payment_method", "payment_method_title"):
            if name in wish:
                setattr(order, name, str(wish[name]))
        order.billing |= wish.get("billing") or {}
        order.shipping |= wish.get("shipping") or {}
        self._write_meta(order.meta, wish.get("meta_data"))
        for line in wish.get("line_items") or []:
            self._write_line(order, line)
        for shipping in wish.get("shipping_lines") or []:
            order.shipping_line_id = order.shipping_line_id or next(self._line_ids)
            order.shipping_net = cents(str(shipping.get("total", "0")))
        if not order.tax_line_id and order.lines and self._tax(order):
            order.tax_line_id = next(self._line_ids)
        if "status" in wish and wish["status"] != order.status:
            self._set_order_status(order, wish["status"], noted=noted)

    def _write_line(self, order: Order, wish: Json) -> None:
        known = next((line for line in order.lines if line.id == wish.get("id")), None)
        if known:
            known.quantity = wish.get("quantity", known.quantity)  # the line's total stays as it was
            for meta in known.meta:
                if meta.key == "_reduced_stock":
                    meta.value = meta.display_value = str(known.quantity)
            self._write_meta(known.meta, wish.get("meta_data"))
            return
        line = self._line(wish.get("product_id", 0), wish.get("variation_id", 0), wish.get("quantity", 1))
        line.name = wish.get("name", line.name)
        if "total" in wish:
            line.net = cents(str(wish["total"])) * 10_000
        self._write_meta(line.meta, wish.get("meta_data"))
        order.lines.append(line)

    def _line(self, product_id: int, variation_id: int, quantity: int) -> Line:
        product = self.products.get(product_id)
        variation = self.products.get(variation_id)
        if product and product.parent_id:
            variation, product = product, self.products.get(product.parent_id)
        bought = variation or product
        line = Line(next(self._line_ids), "", product_id, variation_id, quantity, "", 0)
        if bought is None:
            return line
        line.name, line.sku = bought.name, bought.sku
        line.net = round(cents(bought.price) * quantity * 10_000 * 100 / _BASE_RATE)
        if variation and product:
            line.product_id, line.variation_id, line.parent_name = product.id, variation.id, product.name
            line.meta = [
                Meta(next(self._meta_ids), key, option.lower(), shown, option)
                for (key, shown), option in zip(
                    (("pa_groesse", "Größe"), ("farbe", "Farbe")), variation.options.values(), strict=False
                )
            ]
        return line

    def _set_order_status(self, order: Order, status: str, *, noted: bool = True) -> None:
        old, order.status = order.status, status
        if status in _STOCK_TAKEN:
            self._move_stock(order, taken=True)
        elif status in _STOCK_GIVEN_BACK:
            self._move_stock(order, taken=False)
        if status in _PAID:
            order.paid = order.paid or self.now()
        order.completed = self.now() if status == "completed" else order.completed
        if noted:
            names = (ORDER_STATUSES.get(word, word) for word in (old, status))
            self.add_note(order, "Order status changed from {} to {}.".format(*names))

    def _move_stock(self, order: Order, *, taken: bool) -> None:
        moved = []
        for line in order.lines:
            mark = next((meta for meta in line.meta if meta.key == "_reduced_stock"), None)
            product = self.products.get(line.variation_id or line.product_id)
            if product is None or not product.manage_stock or (mark is not None) == taken:
                continue
            before = product.stock_quantity or 0
            product.stock_quantity = before + (-line.quantity if taken else line.quantity)
            if mark:
                line.meta.remove(mark)
            else:
                amount = str(line.quantity)
                line.meta.append(Meta(next(self._meta_ids), "_reduced_stock", amount, "_reduced_stock", amount))
            moved.append(f"{product.name} ({before}&rarr;{product.stock_quantity})")
            self._product_changed(product, "product.updated")
        if moved:
            self.add_note(order, f"Stock levels {'reduced' if taken else 'increased'}: {', '.join(moved)}")

    # Products

    def create_product(self, wish: Json) -> Product:
        """A new product from a REST body."""
        now = self.now()
        product = Product(next(self._ids), wish.get("type", "simple"), "Product", now, now)
        self.products[product.id] = product
        self._write_product(product, wish)
        product.slug = product.slug or self._slug(product.name)
        self._product_changed(product, "product.created")
        return product

    def create_variation(self, parent: Product, wish: Json) -> Product:
        """A new variation of a variable product."""
        now = self.now()
        options = {str(a.get("name", "")): str(a.get("option", "")) for a in wish.get("attributes") or []}
        variation = Product(next(self._ids), "variation", "", now, now, parent.id, options=options)
        variation.name = " - ".join(filter(None, (parent.name, ", ".join(options.values()))))
        variation.slug = self._slug(variation.name)
        self.products[variation.id] = variation
        parent.variations.append(variation.id)
        self._write_product(variation, {key: value for key, value in wish.items() if key != "name"})
        self._product_changed(variation, "product.created")
        return variation

    def update_product(self, product: Product, wish: Json) -> None:
        """Change a product or a variation."""
        self._write_product(product, wish)
        self._product_changed(product, "product.updated")

    def trash_product(self, product: Product) -> None:
        """Move a product to the trash."""
        product.before_trash, product.status = product.status, "trash"
        self._product_changed(product, "product.deleted")

    def restore_product(self, product: Product) -> None:
        """Take a product out of the trash, as the merchant does."""
        product.status, product.before_trash = product.before_trash or "draft", ""
        self._product_changed(product, "product.restored")

    def delete_product(self, product: Product) -> None:
        """Delete a product and its variations for good: no webhook tells."""
        for gone in [product.id, *product.variations]:
            self.products.pop(gone, None)
            self._forget("product", gone)
        parent = self.products.get(product.parent_id)
        if parent:
            parent.variations.remove(product.id)
            self._forget("product", parent.id)

    def _product_changed(self, product: Product, *topics: str) -> None:
        product.modified = self.now()
        self._forget("product", product.id)
        parent = self.products.get(product.parent_id)
        if parent:
            # WooCommerce saves the parent at the end of the request, too late for a webhook.
            parent.modified = self.now() if self.variation_touches_parent else parent.modified
            self._forget("product", parent.id)
        for topic in topics:
            self.on_event(topic, product.id)

    def _write_product(self, product: Product, wish: Json) -> None:
        texts = ("name", "slug", "status", "sku", "regular_price", "sale_price", "description", "short_description")
        for name in (*texts, "backorders", "weight", "global_unique_id"):
            if name in wish:
                setattr(product, name, str(wish[name]))
        if "price" in wish:  # the merchant's screen; REST has it read-only
            product.regular_price, product.sale_price = str(wish["price"]), ""
        if "manage_stock" in wish:
            product.manage_stock = bool(wish["manage_stock"])
            product.stock_quantity = (product.stock_quantity or 0) if product.manage_stock else None
        if product.manage_stock and wish.get("stock_quantity") is not None:
            product.stock_quantity = int(wish["stock_quantity"])
        product.unmanaged_stock = wish.get("stock_status", product.unmanaged_stock)
        if "attributes" in wish and not product.parent_id:
            product.attributes = [
                {"id": 0, "name": a.get("name", ""), "slug": a.get("name", ""), "position": at}
                | {"visible": True, "variation": bool(a.get("variation")), "options": a.get("options", [])}
                for at, a in enumerate(wish["attributes"])
            ]
        if "images" in wish:
            product.images = [self._image(str(image.get("src", "")), product.created) for image in wish["images"]]
        self._write_meta(product.meta, wish.get("meta_data"))

    def _write_meta(self, metas: list[Meta], wishes: Iterable[Json] | None) -> None:
        for wish in wishes or []:
            key, value = str(wish.get("key", "")), wish.get("value", "")
            known = next((meta for meta in metas if meta.key == key), None)
            if known:
                known.value, known.display_value = value, str(value)
            else:
                metas.append(Meta(next(self._meta_ids), key, value, key, str(value)))

    # JSON

    def order_text(self, order: Order) -> bytes:
        """An order as REST and webhooks give it."""
        return self._text("order", order.id, lambda: self.order_json(order))

    def product_text(self, product: Product) -> bytes:
        """A product as REST and webhooks give it; a variation in the same shape."""
        return self._text("product", product.id, lambda: self.product_json(product))

    def variation_text(self, variation: Product) -> bytes:
        """A variation as its own routes give it."""
        return self._text("variation", variation.id, lambda: self.variation_json(variation))

    def render(self) -> None:
        """Make all texts now, so that the first who reads them does not wait for it."""
        for order in self.orders.values():
            self.order_text(order)
        for product in self.products.values():
            self.product_text(product)
            if product.parent_id:
                self.variation_text(product)

    def _text(self, kind: str, object_id: int, make: Callable[[], Json]) -> bytes:
        text = self._texts.get((kind, object_id))
        if text is None:
            text = self._texts[kind, object_id] = php_json(make())
        return text

    def _forget(self, kind: str, object_id: int) -> None:
        self.version += 1
        self._texts.pop((kind, object_id), None)
        if kind == "product":
            self._texts.pop(("variation", object_id), None)

    def rest_url(self, path: str = "") -> str:
        """The address of a REST route."""
        return f"{self.url}/wp-json/{path}"

    def links(self, path: str, collection: str, *, up: str = "", allow: str = "self") -> Json:
        """The ``_links`` of one object."""
        hints = {"targetHints": {"allow": _EDITABLE[allow]}}
        links: Json = {
            "self": [{"href": self.rest_url(f"wc/v3/{path}"), **hints}],
            "collection": [{"href": self.rest_url(f"wc/v3/{collection}")}],
        }
        return links | ({"up": [{"href": self.rest_url(f"wc/v3/{up}")}]} if up else {})

    def _both(self, name: str, moment: int | None) -> Json:
        return {name: self.local(moment), f"{name}_gmt": self.gmt(moment)}

    def _tax(self, order: Order) -> tuple[int, str, str, int] | None:
        country = order.shipping.get("country") or order.billing.get("country") or "DE"
        return _TAX.get(country)

    def _totals(self, order: Order) -> dict[str, int]:
        tax = self._tax(order)
        rate = tax[3] if tax else 0
        nets = [round(line.net / 10_000) for line in order.lines]
        cart_tax = sum(round(line.net * rate / _MICRO) for line in order.lines)
        shipping_tax = round(order.shipping_net * rate / 100)
        total = sum(nets) + cart_tax + order.shipping_net + shipping_tax
        return {"cart_tax": cart_tax, "shipping_tax": shipping_tax, "total": total}

    def total(self, order: Order) -> str:
        """What an order comes to."""
        return money(self._totals(order)["total"])

    def order_json(self, order: Order) -> Json:
        """An order, with the fields in WooCommerce's order."""
        totals, tax = self._totals(order), self._tax(order)
        home = f"orders/{order.id}"
        links = self.links(home, "orders")
        email = {"embeddable": True, "href": self.rest_url(f"wc/v3/{home}/actions/email_templates")}
        return {
            "id": order.id,
            "parent_id": 0,
            "status": order.status,
            "currency": order.currency,
            "version": "10.5.2",
            "prices_include_tax": True,
            "date_created": self.local(order.created),
            "date_modified": self.local(order.modified),
            "discount_total": "0.00",
            "discount_tax": "0.00",
            "shipping_total": money(order.shipping_net),
            "shipping_tax": money(totals["shipping_tax"]),
            "cart_tax": money(totals["cart_tax"]),
            "total": money(totals["total"]),
            "total_tax": money(totals["cart_tax"] + totals["shipping_tax"]),
            "customer_id": order.customer_id,
            "order_key": order.key,
            "billing": order.billing,
            "shipping": order.shipping,
            "payment_method": order.payment_method,
            "payment_method_title": order.payment_method_title,
            "transaction_id": order.transaction_id,
            "customer_ip_address": "",
            "customer_user_agent": "",
            "created_via": "rest-api",
            "customer_note": order.customer_note,
            "date_completed": self.local(order.completed),
            "date_paid": self.local(order.paid),
            "cart_hash": "",
            "number": str(order.id),
            "meta_data": [{"id": meta.id, "key": meta.key, "value": meta.value} for meta in order.meta],
            "line_items": [_line_json(line, tax) for line in order.lines],
            "tax_lines": [_tax_line_json(order.tax_line_id, tax, totals)] if tax and order.tax_line_id else [],
            "shipping_lines": [_shipping_json(order, tax, totals)] if order.shipping_line_id else [],
            "fee_lines": [],
            "coupon_lines": [],
            "refunds": [
                {"id": refund.id, "reason": refund.reason, "total": money(-refund.amount)} for refund in order.refunds
            ],
            "payment_url": f"{self.url}/checkout/order-pay/{order.id}/?pay_for_order=true&key={order.key}",
            "is_editable": order.status in ("pending", "on-hold", "auto-draft"),
            "needs_payment": order.status in ("pending", "failed") and totals["total"] > 0,
            "needs_processing": bool(order.lines),
            "date_created_gmt": self.gmt(order.created),
            "date_modified_gmt": self.gmt(order.modified),
            "date_completed_gmt": self.gmt(order.completed),
            "date_paid_gmt": self.gmt(order.paid),
            "currency_symbol": CURRENCIES.get(order.currency, ("", "", order.currency))[2],
            "_links": links | {"email_templates": [email]},
        }

    def refund_json(self, order: Order, refund: Refund) -> Json:
        """One refund."""
        up = f"orders/{order.id}"
        return {
            "id": refund.id,
            **self._both("date_created", refund.created),
            "amount": money(refund.amount),
            "reason": refund.reason,
            "refunded_by": 1,
            "refunded_payment": False,
            "meta_data": [{"id": meta.id, "key": meta.key, "value": meta.value} for meta in refund.meta],
            "line_items": [],
            "shipping_lines": [],
            "tax_lines": [],
            "fee_lines": [],
            "_links": self.links(f"{up}/refunds/{refund.id}", f"{up}/refunds", up=up, allow="note"),
        }

    def note_json(self, order: Order, note: Note) -> Json:
        """One note on an order."""
        up = f"orders/{order.id}"
        return {
            "id": note.id,
            "author": "WooCommerce",
            **self._both("date_created", note.created),
            "note": note.text,
            "customer_note": note.for_customer,
            "_links": self.links(f"{up}/notes/{note.id}", f"{up}/notes", up=up, allow="note"),
        }

    def product_json(self, product: Product, *, edit: bool = False) -> Json:
        """A product, with the fields in WooCommerce's order; ``edit`` is how a write answers."""
        parent = f"products/{product.parent_id}" if product.parent_id else ""
        description = product.description
        template = {"permalink_template": f"{self.url}/product/%pagename%/", "generated_slug": product.slug}
        sales = str(product.total_sales) if product.parent_id else product.total_sales
        return {
            "id": product.id,
            "name": product.name,
            "slug": product.slug if product.status not in ("draft", "pending") else "",
            "permalink": self._permalink(product),
            **self._both("date_created", product.created),
            **self._both("date_modified", product.modified),
            "type": product.type,
            "status": product.status,
            "featured": False,
            "catalog_visibility": "visible",
            "description": description if edit or not description else f"<p>{description}</p>\n",
            "short_description": product.short_description,
            "sku": product.sku,
            **self._price_json(product),
            "purchasable": self._lowest_price(product) != "",
            "total_sales": sales,
            **_DOWNLOADS,
            "external_url": "",
            "button_text": "",
            "tax_status": "taxable",
            "tax_class": "",
            **_stock_json(product),
            "low_stock_amount": None,
            "sold_individually": False,
            "weight": product.weight,
            "dimensions": {"length": "", "width": "", "height": ""},
            "shipping_required": True,
            "shipping_taxable": True,
            "shipping_class": "",
            "shipping_class_id": 0,
            "reviews_allowed": not product.parent_id,
            "average_rating": "0" if edit else "0.00",
            "rating_count": 0,
            "upsell_ids": [],
            "cross_sell_ids": [],
            "parent_id": product.parent_id,
            "purchase_note": "",
            "categories": [dict(zip(("id", "name", "slug"), product.category, strict=True))]
            if product.category
            else [],
            "brands": [],
            "tags": [],
            "images": product.images,
            "attributes": _option_json(product) if product.parent_id else product.attributes,
            "default_attributes": [],
            "variations": product.variations,
            "grouped_products": [],
            "menu_order": 0,
            "price_html": self._price_html(product),
            "related_ids": list(product.related),
            "meta_data": [{"id": meta.id, "key": meta.key, "value": meta.value} for meta in product.meta],
            "stock_status": product.stock_status,
            "has_options": product.type == "variable",
            "post_password": "",
            "global_unique_id": product.global_unique_id,
            **(template if edit else {}),
            "_links": self.links(f"products/{product.id}", "products", up=parent),
        }

    def variation_json(self, variation: Product) -> Json:
        """A variation as its own routes give it."""
        up = f"products/{variation.parent_id}"
        stock = _stock_json(variation)
        return {
            "id": variation.id,
            "type": "variation",
            **self._both("date_created", variation.created),
            **self._both("date_modified", variation.modified),
            "description": variation.description,
            "permalink": self._permalink(variation),
            "sku": variation.sku,
            "global_unique_id": variation.global_unique_id,
            **self._price_json(variation),
            "status": variation.status,
            "purchasable": variation.price != "",
            **_DOWNLOADS,
            "tax_status": "taxable",
            "tax_class": "parent",
            "manage_stock": stock["manage_stock"],
            "stock_quantity": stock["stock_quantity"],
            "stock_status": variation.stock_status,
            "backorders": stock["backorders"],
            "backorders_allowed": stock["backorders_allowed"],
            "backordered": stock["backordered"],
            "low_stock_amount": None,
            "weight": variation.weight,
            "dimensions": {"length": "", "width": "", "height": ""},
            "shipping_class": "",
            "shipping_class_id": 0,
            "image": variation.images[0] if variation.images else None,
            "attributes": _option_json(variation),
            "menu_order": 0,
            "meta_data": [{"id": meta.id, "key": meta.key, "value": meta.value} for meta in variation.meta],
            "name": ", ".join(variation.options.values()),
            "parent_id": variation.parent_id,
            "_links": self.links(f"{up}/variations/{variation.id}", f"{up}/variations", up=up),
        }

    def _permalink(self, product: Product) -> str:
        parent = self.products.get(product.parent_id)
        if parent:
            query = "&".join(
                f"attribute_{slug}={option.lower()}"
                for slug, option in zip(("pa_groesse", "farbe"), product.options.values(), strict=False)
            )
            return f"{self.url}/product/{parent.slug}/?{query}"
        if product.status in ("draft", "pending"):
            return f"{self.url}/?post_type=product&p={product.id}"
        return f"{self.url}/product/{product.slug}/"

    def _variation_prices(self, product: Product) -> list[str]:
        found = (self.products[v].price for v in product.variations if v in self.products)
        return sorted(filter(None, found), key=cents)

    def _lowest_price(self, product: Product) -> str:
        if product.type != "variable":
            return product.price
        return next(iter(self._variation_prices(product)), "")

    def _price_json(self, product: Product) -> Json:
        variable = product.type == "variable"
        return {
            "price": self._lowest_price(product),
            "regular_price": "" if variable else product.regular_price,
            "sale_price": "" if variable else product.sale_price,
            "date_on_sale_from": None,
            "date_on_sale_from_gmt": None,
            "date_on_sale_to": None,
            "date_on_sale_to_gmt": None,
            "on_sale": bool(product.sale_price) and not variable,
        }

    def _price_html(self, product: Product) -> str:
        prices = self._variation_prices(product) if product.type == "variable" else [product.price]
        ends = [prices[0], prices[-1]] if prices and prices[0] != prices[-1] else prices[:1]
        return " &ndash; ".join(self._amount_html(price) for price in ends if price)

    def _amount_html(self, price: str) -> str:
        shown = money(round(cents(price) * 100 / _BASE_RATE)).replace(".", ",")
        symbol = CURRENCIES.get(self.currency, ("", self.currency))[1]
        return (
            '<span class="woocommerce-Price-amount amount"><bdi>'
            f'{shown}&nbsp;<span class="woocommerce-Price-currencySymbol">{symbol}</span></bdi></span>'
        )

    # Seeding

    def _seed(self, sizes: Sizes) -> None:
        now, rng = self.now(), self.random
        start = now - sizes.days * _DAY
        for at in range(sizes.products - sizes.variable):
            self._seed_simple(at, start, now)
        parents = [self._seed_variable(at, start, now) for at in range(sizes.variable)]
        for parent in parents:
            for at in range(sizes.variations):
                self._seed_variation(parent, at)
        tops = [product for product in self.products.values() if not product.parent_id]
        for product in tops:
            product.related = tuple(other.id for other in rng.sample(tops, min(5, len(tops))))
        sold = [product for product in self.products.values() if product.type != "variable"]
        moments = sorted(rng.randrange(start, now - 2 * _DAY) for _ in range(sizes.orders))
        for at, moment in enumerate(moments):
            self._seed_order(at, moment, sold)
        self._share_a_second(list(self.orders.values()))

    def _share_a_second(self, orders: list[Order]) -> None:
        """Some orders were modified in one second, as after a bulk action, and page borders fall into it."""
        middle = len(orders) // 2
        together = orders[middle : middle + max(2, len(orders) // 8)]
        for order in together:
            order.modified = together[-1].created

    def _seed_simple(self, at: int, start: int, now: int) -> None:
        rng = self.random
        created = rng.randrange(start - 30 * _DAY, start)
        name = f"{_NAMES[at % len(_NAMES)]} {at}"
        product = Product(next(self._ids), "simple", name, created, rng.randrange(created, now - _DAY))
        product.slug, product.sku = self._slug(name), f"SIM-{at:04d}"
        product.regular_price = money(rng.randrange(149, 7000))
        product.description = "Größe &amp; Gewicht: <b>siehe unten</b>"
        product.manage_stock = at % 3 != 0
        product.stock_quantity = rng.randrange(1, 80) if product.manage_stock else None
        product.backorders = "notify" if at % 5 == 2 else "no"
        product.weight, product.total_sales = f"{rng.randrange(1, 30) / 10:g}", rng.randrange(20)
        product.category = _CATEGORIES[at % len(_CATEGORIES)]
        if at % 10 == 0:
            product.sale_price = money(cents(product.regular_price) * 3 // 4)
        if at % 4 == 1:
            product.images = [self._image(f"{self.url}/wp-content/uploads/{product.slug}.jpg", created)]
        product.status = {7: "draft", 17: "private", 27: "pending"}.get(at % 40, "publish")
        self.products[product.id] = product

    def _seed_variable(self, at: int, start: int, now: int) -> Product:
        rng = self.random
        created = rng.randrange(start - 30 * _DAY, start)
        name = f"T-Shirt Modell {at}"
        product = Product(next(self._ids), "variable", name, created, rng.randrange(created, now - _DAY))
        product.slug, product.sku = self._slug(name), f"VAR-{at:03d}"
        product.category, product.total_sales = _CATEGORIES[2], rng.randrange(20)
        common = {"position": 0, "visible": True, "variation": True}
        product.attributes = [
            {"id": 1, "name": "Größe", "slug": "pa_groesse", **common, "options": list(_SIZES)},
            {"id": 0, "name": "Farbe", "slug": "Farbe", **common, "options": list(_COLOURS)},
        ]
        self.products[product.id] = product
        return product

    def _seed_variation(self, parent: Product, at: int) -> None:
        rng = self.random
        size, colour = _SIZES[at % len(_SIZES)], _COLOURS[at // len(_SIZES) % len(_COLOURS)]
        name = f"{parent.name} - {size}, {colour}"
        variation = Product(next(self._ids), "variation", name, parent.created, parent.modified, parent.id)
        variation.slug, variation.sku = self._slug(name), f"{parent.sku}-{size}-{colour}"
        variation.options = {"Größe": size, "Farbe": colour}
        variation.regular_price = money(rng.randrange(999, 2999))
        variation.manage_stock, variation.stock_quantity = True, rng.randrange(1, 40)
        self.products[variation.id] = variation
        parent.variations.append(variation.id)

    def _seed_order(self, at: int, created: int, sold: list[Product]) -> None:
        rng = self.random
        status = rng.choice(_SEEDED_STATUSES)
        modified = created + rng.randrange(0, 2 * _DAY)
        order = Order(next(self._ids), status, created, modified, "wc_order_" + self._letters(13))
        order.currency = self.currency
        order.payment_method, order.payment_method_title = rng.choice(_PAYMENTS)
        country, state = rng.choice((("DE", "DE-NW"), ("DE", "DE-NW"), ("FR", ""), ("US", "NY")))
        address = {
            "first_name": rng.choice(_FIRST_NAMES),
            "last_name": rng.choice(_SURNAMES),
            "company": "",
            "address_1": "Straße 12/3",
            "address_2": "",
            "city": "Köln",
            "state": state,
            "postcode": "50667",
            "country": country,
        }
        order.billing = address | {"email": f"kaufer{at}@example.com", "phone": "+49 221 000000"}
        order.shipping = address | {"phone": ""}
        for product in rng.sample(sold, min(rng.choice((1, 1, 2, 4)), len(sold))):
            order.lines.append(self._line(product.id, 0, rng.randrange(1, 6)))
        if order.lines and at % 7 == 3:
            order.lines[0].meta.append(Meta(next(self._meta_ids), "Gravur", "Für Änne ❤", "Gravur", "Für Änne ❤"))
        order.shipping_line_id, order.shipping_net = next(self._line_ids), 412
        order.tax_line_id = next(self._line_ids) if self._tax(order) else 0
        order.paid = created if status in _PAID else None
        order.completed = modified if status == "completed" else None
        order.customer_note = "Bitte klingeln" if at % 9 == 0 else ""
        self.orders[order.id] = order

    def _image(self, src: str, moment: int) -> Json:
        dates = self._both("date_created", moment) | self._both("date_modified", moment)
        return {"id": next(self._image_ids), **dates, "src": src, "name": src.rpartition("/")[2], "alt": ""}

    def _slug(self, name: str) -> str:
        plain = name.translate(_SLUG).lower()
        return "".join(letter for letter in plain if letter.isascii() and (letter.isalnum() or letter == "-"))

    def _letters(self, length: int) -> str:
        return "".join(self.random.choices(string.ascii_letters + string.digits, k=length))


_DOWNLOADS: Json = {
    "virtual": False,
    "downloadable": False,
    "downloads": [],
    "download_limit": -1,
    "download_expiry": -1,
}


def _stock_json(product: Product) -> Json:
    allowed = product.backorders != "no"
    quantity = product.stock_quantity if product.manage_stock else None
    return {
        "manage_stock": product.manage_stock,
        "stock_quantity": quantity,
        "backorders": product.backorders,
        "backorders_allowed": allowed,
        "backordered": allowed and quantity is not None and quantity <= 0,
    }


def _option_json(variation: Product) -> list[Json]:
    known = {"Größe": (1, "pa_groesse"), "Farbe": (0, "farbe")}
    return [
        {"id": known.get(name, (0, ""))[0], "name": name, "slug": known.get(name, (0, name.lower()))[1]}
        | {"option": option}
        for name, option in variation.options.items()
    ]


def _line_json(line: Line, tax: tuple[int, str, str, int] | None) -> Json:
    net = money(round(line.net / 10_000))
    levied = money(round(line.net * tax[3] / _MICRO)) if tax else "0.00"
    price = line.net / _MICRO / max(1, line.quantity)
    return {
        "id": line.id,
        "name": line.name,
        "product_id": line.product_id,
        "variation_id": line.variation_id,
        "quantity": line.quantity,
        "tax_class": "",
        "subtotal": net,
        "subtotal_tax": levied,
        "total": net,
        "total_tax": levied,
        "taxes": [{"id": tax[0], "total": levied, "subtotal": levied}] if tax else [],
        "meta_data": [
            {"id": m.id, "key": m.key, "value": m.value}
            | {"display_key": m.display_key, "display_value": m.display_value}
            for m in line.meta
        ],
        "sku": line.sku,
        "global_unique_id": "",
        "price": _number(price),
        "image": {"id": 0 if line.variation_id else "", "src": ""},
        "parent_name": line.parent_name,
    }


def _tax_line_json(line_id: int, tax: tuple[int, str, str, int], totals: dict[str, int]) -> Json:
    rate_id, code, label, percent = tax
    return {
        "id": line_id,
        "rate_code": code,
        "rate_id": rate_id,
        "label": label,
        "compound": False,
        "tax_total": money(totals["cart_tax"]),
        "shipping_tax_total": money(totals["shipping_tax"]),
        "rate_percent": percent,
        "meta_data": [],
    }


def _shipping_json(order: Order, tax: tuple[int, str, str, int] | None, totals: dict[str, int]) -> Json:
    levied = money(totals["shipping_tax"])
    return {
        "id": order.shipping_line_id,
        "method_title": "DHL Paket",
        "method_id": "flat_rate",
        "instance_id": "",
        "total": money(order.shipping_net),
        "total_tax": levied,
        "taxes": [{"id": tax[0], "total": levied, "subtotal": ""}] if tax else [],
        "tax_status": "taxable",
        "meta_data": [],
    }
