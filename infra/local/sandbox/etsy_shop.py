"""An Etsy seller's account: its shop, how that is seeded and changed, and the API's JSON of it.

Names and meanings of the fields are those of the contract that Etsy publishes,
https://www.etsy.com/openapi/generated/oas/3.0.0.json. Where it leaves a behaviour open, a comment says which one
was taken.
"""

import random
from collections.abc import Callable, Sequence
from itertools import product as combinations

from infra.local.sandbox.tiktok_seller import Json, gmt

STATES = ("active", "inactive", "sold_out", "draft", "expired")
ASSOCIATIONS = ("Shipping", "Images", "Shop", "User", "Translations", "Inventory", "Videos")

_DAY = 86_400
_DIVISOR = 100
_LIFE = 120 * _DAY
"""How long a listing is offered until it is renewed."""
_SEEDED_STATES = (*["active"] * 15, *STATES)
# In capitals, other than the contract has it: https://developers.etsy.com/documentation/reference#operation/getShopReceipt
_SEEDED_STATUSES = (
    *["Completed"] * 14,
    *["Paid"] * 4,
    *["Canceled", "Open", "Payment Processing", "Fully Refunded", "Partially Refunded"],
)
_UNPAID = {"Open", "Payment Processing"}
_SHIPPED = {"Completed", "Fully Refunded", "Partially Refunded"}
# Some text comes as HTML: https://github.com/etsy/open-api/issues/446
_TITLES = (
    "Keramiktasse „Grüße“",
    "Women&#39;s Tee &quot;Löwe&quot; 🦁",
    "手作りマグカップ",
    "Póster Montaña ½ &amp; Meer",
)
_PROPERTIES = {"Primary color": (200, ("Black", "White", "藍")), "Size": (100, ("S", "M", "L"))}
_MESSAGES = (None, None, "Please ship asap!", "Bitte ☕ vorsichtig — 謝謝", "For &quot;Zoë&quot; &lt;3")


class Shop:
    """One seller, whom Etsy allows one shop: its records as the API words them, and every way they change."""

    def __init__(
        self,
        name: str,
        now: Callable[[], int],
        *,
        seed: int = 1,
        products: int = 40,
        orders: int = 120,
        days: int = 180,
        currency: str = "USD",
    ) -> None:
        self.name = name
        self.currency = currency
        self.random = random.Random(f"etsy/{name}/{seed}")  # noqa: S311 -- the same shop every time
        self.user_id, self.id = (self.random.randrange(10**7, 10**9) for _ in range(2))
        self.closed = self.vacation = False
        self.listings: dict[int, Json] = {}
        self.receipts: dict[int, Json] = {}
        self.announce: Callable[[Shop, str, int], object] = lambda *_: None
        """Told what happened to which receipt."""
        self._now = now
        self._ids = self.random.randrange(10**9, 2 * 10**9)
        self._opened = now() - days * _DAY
        for number, moment in enumerate(self._moments(products, days)):
            self._seed_listing(moment, number)
        for number, moment in enumerate(self._moments(orders, days)):
            self._seed_receipt(moment, number)

    def about(self) -> Json:
        """As getShop has it."""
        return {
            "shop_id": self.id,
            "user_id": self.user_id,
            "shop_name": self.name,
            "create_date": self._opened,
            "created_timestamp": self._opened,
            "title": None,
            "currency_code": self.currency,
            "is_vacation": self.vacation,
            "vacation_message": "Back soon" if self.vacation else None,
            "listing_active_count": len(self.of_state("active")),
            "login_name": self.name,
            "url": f"https://www.etsy.com/shop/{self.name}?utm_source=storelink&utm_medium=api",
            "languages": ["en-US"],
            "shop_location_country_iso": "DE",
            "transaction_sold_count": len(self.receipts),
            "review_average": 4.8,
        }

    # Listings

    def of_state(self, state: str) -> list[Json]:
        """The listings of one state, the newest first."""
        rows = [row for row in self.listings.values() if row["state"] == state]
        return sorted(rows, key=lambda row: (row["created_timestamp"], row["listing_id"]), reverse=True)

    def create_listing(self, wish: Json) -> Json:
        """Offer something: ``title``, ``state``, ``price`` (an amount), ``quantity`` of each variant."""
        row = self._listing(self._now())
        self.listings[row["listing_id"]] = row
        return self.change_listing(row["listing_id"], wish)

    def change_listing(self, id: int, wish: Json) -> Json:
        """The same of one that is there; a new state has a time of its own."""
        row, now = self.listings[id], self._now()
        state = wish.get("state", row["state"])
        if set(wish) - {"title", "state", "price", "quantity"} or state not in STATES:
            raise ValueError("A listing has title, state, price and quantity.")
        if state != row["state"]:
            row |= {"state": state, "state_timestamp": now}
        row["title"] = wish.get("title", row["title"])
        for each in _offerings(row):
            each["quantity"] = wish.get("quantity", each["quantity"])
            each["price"] = self.money(wish["price"]) if "price" in wish else each["price"]
        self._count(row)
        row |= {"updated_timestamp": now, "last_modified_timestamp": now}
        return row

    def renew_listing(self, id: int) -> Json:
        """Offer it for another four months: it is the newest again."""
        row, now = self.listings[id], self._now()
        row |= {"created_timestamp": now, "creation_timestamp": now, "ending_timestamp": now + _LIFE}
        return self.change_listing(id, {"state": "active"})

    def listed(self, row: Json, includes: Sequence[str]) -> Json:
        """A listing with the associations that were asked for."""
        left_out = {name.lower() for name in ("Images", "Inventory") if name not in includes}
        shown = {name: value for name, value in row.items() if name not in left_out}
        return {**shown, "shop": self.about()} if "Shop" in includes else shown

    # Receipts

    def buy(self, wish: Json) -> Json:
        """A buyer orders and pays: ``lines`` of ``listing_id``, ``product_id``, ``quantity``, all of them optional.

        What is sold is not touched by that (taken: others look for stock by its own time and miss it), save that
        what is sold out changes its state.
        """
        lines = [self._bought(line) for line in wish.get("lines", [{}])]
        row = self._receipt(self._now(), "Paid", lines)
        self.receipts[row["receipt_id"]] = row
        self.announce(self, "order.paid", row["receipt_id"])
        return row

    def ship(self, id: int, *, partly: bool = False) -> Json:
        """The seller ships all of it, or its first line."""
        row, now = self.receipts[id], self._now()
        for line in row["transactions"][: 1 if partly else None]:
            line["shipped_timestamp"] = now
        if not partly:
            row |= {"status": "Completed", "is_shipped": True}
            row["shipments"].append(self._shipment(now))
        return self._touched(row, "order.shipped")

    def deliver(self, id: int) -> Json:
        """The carrier says that it arrived."""
        return self._touched(self.receipts[id], "order.delivered")

    def cancel(self, id: int) -> Json:
        """The seller cancels it."""
        self.receipts[id]["status"] = "Canceled"
        return self._touched(self.receipts[id], "order.canceled")

    def refund(self, id: int, amount: int | None = None) -> Json:
        """The seller gives money back, all or so many hundredths.

        Nobody is told, and the time of change stays: https://github.com/etsy/open-api/issues/513.
        """
        row = self.receipts[id]
        whole = row["grandtotal"]["amount"]
        row["refunds"].append(self._refund(amount or whole, self._now()))
        given = sum(each["amount"]["amount"] for each in row["refunds"])
        row["status"] = "Fully Refunded" if given >= whole else "Partially Refunded"
        return row

    def change_receipt(self, id: int, wish: Json) -> Json:
        """Any fields of the contract."""
        self.receipts[id].update(wish)
        return self._touched(self.receipts[id], "")

    def truth(self) -> Json:
        """What there is: ids, states, and when anything of a record last changed."""
        products = [
            {
                "id": row["listing_id"],
                "status": row["state"],
                "modified_gmt": gmt(max(row["updated_timestamp"], row["state_timestamp"])),
                "stock": row["quantity"],
            }
            for row in self.listings.values()
        ]
        orders = [
            {
                "id": row["receipt_id"],
                "status": row["status"],
                "modified_gmt": gmt(
                    max(row["updated_timestamp"], *(each["created_timestamp"] for each in row["refunds"]), 0)
                ),
            }
            for row in self.receipts.values()
        ]
        return {"products": products, "orders": orders}

    def money(self, amount: int) -> Json:
        """So many hundredths."""
        return {"amount": amount, "divisor": _DIVISOR, "currency_code": self.currency}

    # How it is made

    def _moments(self, count: int, days: int) -> list[int]:
        return sorted(self._opened + self.random.randrange(days * _DAY - _DAY) for _ in range(count))

    def _id(self) -> int:
        self._ids += self.random.randrange(1, 50)
        return self._ids

    def _seed_listing(self, moment: int, number: int) -> None:
        row = self._listing(moment)
        changed = self.random.randrange(moment, self._now())
        row |= {"state": _SEEDED_STATES[number * 7 % len(_SEEDED_STATES)], "state_timestamp": changed}
        row |= {"updated_timestamp": changed, "last_modified_timestamp": changed}
        if row["state"] == "sold_out":
            for each in _offerings(row):
                each["quantity"] = 0
        self._count(row)
        self.listings[row["listing_id"]] = row

    def _listing(self, moment: int) -> Json:
        id, price = self._id(), self.random.randrange(500, 9000)
        names = [name for name in _PROPERTIES if self.random.random() < 0.5]
        chosen = combinations(*(_PROPERTIES[name][1] for name in names))
        products = [
            self._product(id, price + 100 * place, dict(zip(names, values, strict=True)))
            for place, values in enumerate(chosen)
        ]
        named = [_PROPERTIES[name][0] for name in names]
        row = {
            "listing_id": id,
            "user_id": self.user_id,
            "shop_id": self.id,
            "title": f"{self.random.choice(_TITLES)} {id}",
            "description": "Made to order.",
            "state": "active",
            **dict.fromkeys(("creation_timestamp", "created_timestamp", "original_creation_timestamp"), moment),
            **dict.fromkeys(("last_modified_timestamp", "updated_timestamp", "state_timestamp"), moment),
            "ending_timestamp": moment + _LIFE,
            "url": f"https://www.etsy.com/listing/{id}",
            "listing_type": "physical",
            "tags": ["sandbox"],
            "is_personalizable": False,
            "has_variations": bool(names),
            "images": [self._image(id, rank, moment) for rank in range(2, 0, -1)],
            "inventory": {
                "products": products,
                "price_on_property": named,
                "quantity_on_property": named,
                "sku_on_property": named,
            },
        }
        self._count(row)
        return row

    def _count(self, row: Json) -> None:
        """What a listing says of its variants."""
        offered = list(_offerings(row))
        row["quantity"] = sum(each["quantity"] for each in offered)
        row["price"] = min((each["price"] for each in offered), key=lambda price: price["amount"])
        row["skus"] = [each["sku"] for each in row["inventory"]["products"]]

    def _product(self, listing: int, price: int, values: dict[str, str]) -> Json:
        offering = {"offering_id": self._id(), "quantity": self.random.randrange(1, 30), "is_enabled": True}
        return {
            "product_id": self._id(),
            "sku": "-".join(("TEE", str(listing), *values.values())),
            "is_deleted": False,
            "offerings": [{**offering, "is_deleted": False, "price": self.money(price)}],
            "property_values": [
                {
                    "property_id": _PROPERTIES[name][0],
                    "property_name": name,
                    "scale_id": None,
                    "scale_name": None,
                    "value_ids": [1 + _PROPERTIES[name][1].index(value)],
                    "values": [value],
                }
                for name, value in values.items()
            ],
        }

    def _image(self, listing: int, rank: int, moment: int) -> Json:
        image = self._id()
        address = f"https://i.etsystatic.example/{image}/il_{{}}.{listing}.jpg"
        sizes = {f"url_{size}": address.format(size) for size in ("75x75", "170x135", "570xN", "fullxfull")}
        stamps = {"creation_tsz": moment, "created_timestamp": moment}
        return {"listing_id": listing, "listing_image_id": image, "rank": rank, **stamps, **sizes, "alt_text": None}

    def _seed_receipt(self, moment: int, number: int) -> None:
        status = _SEEDED_STATUSES[number * 7 % len(_SEEDED_STATUSES)]
        lines = [
            self._line(self.random.choice(list(self.listings.values())), None, self.random.randrange(1, 4))
            for _ in range(self.random.randrange(1, 4) if self.listings else 0)
        ]
        row = self._receipt(moment, status, lines)
        changed = self.random.randrange(moment, moment + _DAY)
        if number % 5 == 4:  # some share the second of the one before
            changed = max(moment, list(self.receipts.values())[-1]["updated_timestamp"])
        row |= {"update_timestamp": changed, "updated_timestamp": changed}
        if status in _SHIPPED:
            row["shipments"].append(self._shipment(changed))
            for line in row["transactions"]:
                line["shipped_timestamp"] = changed
        if status.endswith("Refunded"):
            amount = row["grandtotal"]["amount"] // (1 if status == "Fully Refunded" else 2)
            row["refunds"].append(self._refund(amount, self.random.randrange(changed, self._now())))
        self.receipts[row["receipt_id"]] = row

    def _bought(self, wish: Json) -> Json:
        listing = self.listings[wish["listing_id"]] if "listing_id" in wish else self.of_state("active")[0]
        quantity = int(wish.get("quantity", 1))
        line = self._line(listing, wish.get("product_id"), quantity)
        for each in listing["inventory"]["products"]:
            if each["product_id"] == line["product_id"]:
                each["offerings"][0]["quantity"] = max(0, each["offerings"][0]["quantity"] - quantity)
        self._count(listing)
        if not listing["quantity"]:
            listing |= {"state": "sold_out", "state_timestamp": self._now()}
        return line

    def _line(self, listing: Json, product_id: int | None, quantity: int) -> Json:
        products = {each["product_id"]: each for each in listing["inventory"]["products"]}
        product = products[product_id] if product_id else self.random.choice(list(products.values()))
        return {
            "transaction_id": self._id(),
            "title": listing["title"],
            "seller_user_id": self.user_id,
            "quantity": quantity,
            "is_digital": False,
            "listing_id": listing["listing_id"],
            "product_id": product["product_id"],
            "transaction_type": "listing",
            "sku": product["sku"],
            "price": product["offerings"][0]["price"],
            "shipping_cost": self.money(0),
            "shipped_timestamp": None,
            "variations": [
                {
                    "property_id": each["property_id"],
                    "value_id": each["value_ids"][0],
                    "formatted_name": each["property_name"],
                    "formatted_value": each["values"][0],
                }
                for each in product["property_values"]
            ],
            "product_data": product["property_values"],
        }

    def _receipt(self, moment: int, status: str, lines: list[Json]) -> Json:
        id, buyer = self._id(), self._id()
        paid = status not in _UNPAID
        stamps = {"create_timestamp": moment, "created_timestamp": moment}
        owners = {"receipt_id": id, "buyer_user_id": buyer, "paid_timestamp": moment if paid else None}
        goods, shipping = sum(line["price"]["amount"] * line["quantity"] for line in lines), 495
        return {
            "receipt_id": id,
            "receipt_type": 0,
            "seller_user_id": self.user_id,
            "buyer_user_id": buyer,
            "buyer_email": None,  # for apps that Etsy approved for it only
            "name": f"Buyer {buyer}",
            "first_line": "1 Sandbox Street",
            "second_line": None,
            "city": "Berlin",
            "state": None,
            "zip": "10115",
            "country_iso": "DE",
            "formatted_address": f"Buyer {buyer}\n1 Sandbox Street\n10115 BERLIN\nGermany",
            "status": status,
            "message_from_buyer": self.random.choice(_MESSAGES),
            "is_paid": paid,
            "is_shipped": status in _SHIPPED,
            **stamps,
            "update_timestamp": moment,
            "updated_timestamp": moment,
            "is_gift": False,
            "grandtotal": self.money(goods + shipping),
            "subtotal": self.money(goods),
            "total_price": self.money(goods),
            "total_shipping_cost": self.money(shipping),
            "total_tax_cost": self.money(0),
            "discount_amt": self.money(0),
            "shipments": [],
            "transactions": [{**line, **owners, **stamps} for line in lines],
            "refunds": [],
        }

    def _shipment(self, moment: int) -> Json:
        carried = {"carrier_name": "dhl", "tracking_code": f"{self._id()}"}
        return {"receipt_shipping_id": self._id(), "shipment_notification_timestamp": moment, **carried}

    def _refund(self, amount: int, moment: int) -> Json:
        why = {"reason": "Item not as described", "note_from_issuer": None, "status": "Processed"}
        return {"amount": self.money(amount), "created_timestamp": moment, **why}

    def _touched(self, row: Json, event: str) -> Json:
        row |= {"update_timestamp": self._now(), "updated_timestamp": self._now()}
        if event:
            self.announce(self, event, row["receipt_id"])
        return row


def _offerings(row: Json) -> list[Json]:
    return [each for product in row["inventory"]["products"] for each in product["offerings"]]
