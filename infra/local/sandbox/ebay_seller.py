"""An eBay seller's account: what is in stock, what is offered, what was sold, and every way that it changes.

Rows are kept as the answers show them, in the words of eBay's OpenAPI documents.
"""

import random
import string
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

MARKETPLACES = {"EBAY_US": ("USD", "US"), "EBAY_GB": ("GBP", "GB"), "EBAY_DE": ("EUR", "DE"), "EBAY_CA": ("CAD", "CA")}
"""Currency and country of those that a seller can be opened on."""
_DAY = 86_400
_LINES_AT_MOST = 3
_FEE_PERCENT = 13
_STATES = (
    ("PAID", "NOT_STARTED"),
    ("PAID", "NOT_STARTED"),
    ("PAID", "FULFILLED"),
    ("PAID", "FULFILLED"),
    ("PAID", "FULFILLED"),
    ("PAID", "IN_PROGRESS"),
    ("PENDING", "NOT_STARTED"),
    ("PARTIALLY_REFUNDED", "FULFILLED"),
    ("FULLY_REFUNDED", "NOT_STARTED"),
)


class Seller:
    """One seller who has, or has not yet, given the app a grant."""

    def __init__(
        self,
        name: str,
        now: Callable[[], float],
        *,
        seed: int = 1,
        products: int = 30,
        orders: int = 60,
        days: int = 60,
        marketplace: str = "EBAY_US",
        registered: bool = True,
    ) -> None:
        self.name = name
        self.registered = registered
        """Whether the registration as a seller is completed."""
        self.marketplace = marketplace
        self.currency, self._country = MARKETPLACES[marketplace]
        self.random = random.Random(f"ebay/{name}/{seed}")  # noqa: S311 -- the same seller every time
        self.user_id = "".join(self.random.choices(string.ascii_letters + string.digits, k=11))
        self.items: dict[str, Json] = {}
        """By SKU, in the order of their making."""
        self.offers: dict[str, list[Json]] = {}
        self.orders: dict[str, Json] = {}
        self.announce: Callable[[str, Json], object] = lambda *_: None
        self._now = now
        self._made = 0
        for _ in range(products):
            self.add_item({})
        begin = now() - days * _DAY
        for _ in range(orders):
            created = begin + self.random.random() * (days - 1) * _DAY
            self._sell({}, created, created + self.random.random() * _DAY, self.random.choice(_STATES))

    # What is seen

    def user_json(self) -> Json:
        """As the Identity API shows who approved."""
        return {
            "userId": self.user_id,
            "username": self.name,
            "accountType": "BUSINESS",
            "registrationMarketplaceId": self.marketplace,
            "status": "CONFIRMED",
        }

    def search(self, field: str, first: str, last: str, states: Sequence[str]) -> list[Json]:
        """Orders whose time named ``field`` is within both ends; the newest first, which nobody promises."""
        found = [
            row
            for row in self.orders.values()
            if first <= row[field] <= last and (not states or row["orderFulfillmentStatus"] in states)
        ]
        return sorted(found, key=lambda row: (row["creationDate"], row["orderId"]), reverse=True)

    def truth(self, only: str | None) -> Json:
        """Every product and order as the control API tells them."""
        products = [
            {"id": sku, "title": item["product"]["title"], "status": [offer["status"] for offer in self.offers[sku]]}
            for sku, item in self.items.items()
        ]
        orders = [
            {
                "id": row["orderId"],
                "updatedAt": datetime.fromisoformat(row["lastModifiedDate"]).isoformat().replace("+00:00", "Z"),
                "payment": row["orderPaymentStatus"],
                "fulfillment": row["orderFulfillmentStatus"],
                "cancelled": row["cancelStatus"]["cancelState"] == "CANCELED",
                "buyer": row["buyer"]["username"],
            }
            for row in self.orders.values()
        ]
        return {name: rows for name, rows in (("products", products), ("orders", orders)) if only in (None, name)}

    # Inventory

    def add_item(self, wish: Json) -> Json:
        """A new item with its offers: ``sku``, ``title``, ``quantity``, ``price``, ``status`` of its offer, or none."""
        number = self._number()
        sku = wish.get("sku", f"TEE-{number}-{'SML'[number % 3]}")
        quantity = int(wish.get("quantity", self.random.randrange(40)))
        self.items[sku] = {
            "sku": sku,
            "locale": "en_US",
            "condition": "NEW",
            "availability": {"shipToLocationAvailability": {"quantity": quantity}},
            "product": {
                "title": wish.get("title", f"T-shirt №{number}"),
                "description": "A printed T-shirt",
                "imageUrls": [f"https://i.ebayimg.com/images/g/{number}/s-l1600.jpg"],
                "aspects": {"Size": ["SML"[number % 3]], "Colour": ["Black", "White"]},
            },
        }
        usual = ("PUBLISHED", "PUBLISHED", "PUBLISHED", "UNPUBLISHED", None)[number % 5]
        status = wish.get("status", usual)
        price = wish.get("price", f"{self.random.randrange(500, 9000) / 100:.2f}")
        self.offers[sku] = [self._offer(sku, quantity, status, {"price": self._amount(price)})] if status else []
        if status and not number % 7:
            auction = self._offer(sku, 1, status, {"auctionStartPrice": self._amount("1.00")})
            self.offers[sku].append(auction | {"format": "AUCTION"})
        return self.items[sku]

    def change_item(self, sku: str, wish: Json) -> Json:
        """Changes ``title`` and ``quantity`` of an item; ``price``, ``status`` and ``listing_status`` of its offers."""
        item = self.items[sku]
        if "title" in wish:
            item["product"]["title"] = wish["title"]
        if "quantity" in wish:
            item["availability"]["shipToLocationAvailability"]["quantity"] = int(wish["quantity"])
        for offer in self.offers[sku]:
            if "price" in wish:
                offer["pricingSummary"] = {"price": self._amount(wish["price"])}
            if "status" in wish:
                offer["status"] = wish["status"]
            if "listing_status" in wish and "listing" in offer:
                offer["listing"]["listingStatus"] = wish["listing_status"]
        return item

    def delete_item(self, sku: str) -> None:
        """The item goes, with its offers and their listings; what was sold stays."""
        del self.items[sku]
        del self.offers[sku]

    def _offer(self, sku: str, quantity: int, status: str, price: Json) -> Json:
        listed = {"listingId": f"1101{self._number():08}", "listingStatus": "ACTIVE", "soldQuantity": 0}
        return {
            "offerId": str(self._number()),
            "sku": sku,
            "marketplaceId": self.marketplace,
            "format": "FIXED_PRICE",
            "availableQuantity": quantity,
            "pricingSummary": price,
            "status": status,
            **({"listing": listed} if status == "PUBLISHED" else {}),
        }

    # Orders

    def sell(self, wish: Json) -> Json:
        """A buyer orders: ``lines`` of ``sku`` and ``quantity``, ``buyer``, ``note``; eBay confirms each line."""
        row = self._sell(wish, self._now(), self._now(), ("PAID", "NOT_STARTED"))
        for line in row["lineItems"]:
            order = {"orderId": row["orderId"], "orderLineItemId": line["lineItemId"], "sku": line["sku"]}
            self.announce("ORDER_CONFIRMATION", {"user": self.named(), "order": order})
        return row

    def named(self) -> Json:
        """The seller as notifications name them."""
        return {"userId": self.user_id, "username": self.name}

    def ship(self, id: str) -> Json:
        """All of it is on its way."""
        return self._changed(id, orderFulfillmentStatus="FULFILLED")

    def cancel(self, id: str) -> Json:
        """The order is off, and what was paid goes back."""
        off = {"cancelState": "CANCELED", "cancelledDate": time_text(self._now()), "cancelRequests": []}
        return self._changed(id, cancelStatus=off, orderPaymentStatus="FULLY_REFUNDED")

    def refund(self, id: str, amount: str) -> Json:
        """A part of it goes back."""
        row = self.orders[id]
        refund = {"amount": self._amount(amount), "refundDate": time_text(self._now()), "refundStatus": "REFUNDED"}
        row["paymentSummary"]["refunds"].append(refund)
        return self._changed(id, orderPaymentStatus="PARTIALLY_REFUNDED")

    def _changed(self, id: str, **changes: Any) -> Json:
        row = self.orders[id]
        row.update(changes, lastModifiedDate=time_text(self._now()))
        return row

    def _sell(self, wish: Json, created: float, modified: float, state: tuple[str, str]) -> Json:
        number = self._number()
        id = f"{number % 90 + 10:02}-{self.random.randrange(10_000, 100_000)}-{number:05}"
        lines = [self._line(f"{id}-{index}", each, state[1]) for index, each in enumerate(self._lines(wish))]
        subtotal = sum(_cents(line["lineItemCost"]) for line in lines)
        total = subtotal + 495
        buyer = wish.get("buyer", f"buyer-{number}")
        contact = self._contact(buyer)
        paid = state[0] != "PENDING"
        refunds = [{"amount": self._amount("1.00"), "refundStatus": "REFUNDED"}] * (state[0] == "PARTIALLY_REFUNDED")
        fee = {"totalMarketplaceFee": self._cents(subtotal * _FEE_PERCENT // 100)} if paid else {}
        row = {
            "orderId": id,
            "creationDate": time_text(created),
            "lastModifiedDate": time_text(modified),
            "orderFulfillmentStatus": state[1],
            "orderPaymentStatus": state[0],
            "sellerId": self.name,
            "salesRecordReference": str(number),
            "buyer": {"username": buyer, "buyerRegistrationAddress": contact},
            "cancelStatus": {"cancelState": "NONE_REQUESTED", "cancelRequests": []},
            "pricingSummary": {"priceSubtotal": self._cents(subtotal), "total": self._cents(total)},
            "paymentSummary": {"totalDueSeller": self._cents(total), "refunds": refunds, "payments": []},
            "fulfillmentStartInstructions": [
                {"fulfillmentInstructionsType": "SHIP_TO", "shippingStep": {"shipTo": contact}}
            ],
            "lineItems": lines,
            **fee,
            **({"buyerCheckoutNotes": wish["note"]} if "note" in wish else {}),
        }
        self.orders[id] = row
        return row

    def _lines(self, wish: Json) -> list[Json]:
        if "lines" in wish:
            return list(wish["lines"])
        count = self.random.randrange(1, _LINES_AT_MOST + 1)
        skus = self.random.sample(list(self.items), min(count, len(self.items)))
        return [{"sku": sku, "quantity": self.random.randrange(1, 4)} for sku in skus or ["GONE"]]

    def _line(self, id: str, wish: Json, fulfilled: str) -> Json:
        sku, quantity = wish["sku"], int(wish.get("quantity", 1))
        item, offer = self.items.get(sku), next(iter(self.offers.get(sku, [])), None)
        price = (offer or {}).get("pricingSummary", {}).get("price") or self._amount("10.00")
        listing = (offer or {}).get("listing", {}).get("listingId", "110100000000")
        cost = self._cents(_cents(price) * quantity)
        return {
            "lineItemId": id.replace("-", ""),
            "legacyItemId": listing,
            "sku": sku,
            "title": item["product"]["title"] if item else "No longer in stock",
            "quantity": quantity,
            "lineItemCost": cost,
            "total": cost,
            "soldFormat": "FIXED_PRICE",
            "listingMarketplaceId": self.marketplace,
            "purchaseMarketplaceId": self.marketplace,
            "lineItemFulfillmentStatus": fulfilled,
        }

    def _contact(self, buyer: str) -> Json:
        address = {"addressLine1": "1 Sandbox Street", "city": "Sampletown", "postalCode": "95125"}
        return {
            "fullName": f"Buyer {buyer}",
            "email": f"{buyer}@members.example.com",
            "contactAddress": {**address, "countryCode": self._country},
        }

    def _amount(self, value: str) -> Json:
        return {"value": value, "currency": self.currency}

    def _cents(self, cents: int) -> Json:
        return self._amount(f"{cents // 100}.{cents % 100:02}")

    def _number(self) -> int:
        self._made += 1
        return self._made


def _cents(amount: Json) -> int:
    whole, _, part = amount["value"].partition(".")
    return int(whole) * 100 + int(part or 0)


def time_text(moment: float) -> str:
    """A time as eBay spells it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
