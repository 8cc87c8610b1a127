"""What is in an Amazon seller's account: listings and orders, how they are seeded and changed, and their JSON.

Names and meanings of the fields are those of the models at
https://github.com/amzn/selling-partner-api-models/tree/main/models. Where those leave a behaviour open, a comment
says which one was taken.
"""

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

Json = dict[str, Any]
Announce = Callable[[str, Json], object]
"""Told what happened: the notification's type and its payload."""


class Marketplace(NamedTuple):
    """Where a seller sells; https://developer-docs.amazon.com/sp-api/docs/marketplace-ids."""

    region: str
    country: str
    domain: str
    currency: str
    language: str


MARKETPLACES = {
    "ATVPDKIKX0DER": Marketplace("na", "US", "amazon.com", "USD", "en_US"),
    "A2EUQ1WTGCTBG2": Marketplace("na", "CA", "amazon.ca", "CAD", "en_CA"),
    "A1AM78C64UM0Y8": Marketplace("na", "MX", "amazon.com.mx", "MXN", "es_MX"),
    "A2Q3Y263D00KWC": Marketplace("na", "BR", "amazon.com.br", "BRL", "pt_BR"),
    "A1F83G8C2ARO7P": Marketplace("eu", "GB", "amazon.co.uk", "GBP", "en_GB"),
    "A1PA6795UKMFR9": Marketplace("eu", "DE", "amazon.de", "EUR", "de_DE"),
    "A13V1IB3VIYZZH": Marketplace("eu", "FR", "amazon.fr", "EUR", "fr_FR"),
    "APJ6JRA9NG5V4": Marketplace("eu", "IT", "amazon.it", "EUR", "it_IT"),
    "A1RKKUPIHCS9HS": Marketplace("eu", "ES", "amazon.es", "EUR", "es_ES"),
    "A1VC38T7YXB528": Marketplace("fe", "JP", "amazon.co.jp", "JPY", "ja_JP"),
    "A39IBJ37TRP1C6": Marketplace("fe", "AU", "amazon.com.au", "AUD", "en_AU"),
}
ORDER_STATUSES = {
    "PENDING_AVAILABILITY": "PendingAvailability",
    "PENDING": "Pending",
    "UNSHIPPED": "Unshipped",
    "PARTIALLY_SHIPPED": "PartiallyShipped",
    "SHIPPED": "Shipped",
    "CANCELLED": "Canceled",
    "UNFULFILLABLE": "Unfulfillable",
}
"""As orders have them, and as notifications do."""
LISTING_STATUSES = ("BUYABLE", "DISCOVERABLE")

_HOUR, _DAY = 3_600, 86_400
_ORDERS_KEPT = 730 * _DAY
_SEEDED_ORDERS = [
    *["SHIPPED"] * 18,
    *["UNSHIPPED"] * 6,
    *["PARTIALLY_SHIPPED"] * 2,
    *["CANCELLED"] * 2,
    "PENDING",
    "UNFULFILLABLE",
]
_SEEDED_LISTINGS = [*[("BUYABLE", "DISCOVERABLE")] * 8, ("DISCOVERABLE",), ()]
_TITLES = (
    "Keramiktasse „Grüße“",
    "T-Shirt Löwe 🦁",
    "手作りマグカップ",
    "Póster Montaña ½",
    "Hoodie <b>bold</b> & Co",
    "قميص قطن",
    "Crème brûlée Candle",
)
_COLOURS = ("Black", "Weiß", "Señal Roja", "藍")
_FAMILY = 6
"""So many listings are a parent, two children, and three that stand alone."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much a seller is seeded with."""

    products: int = 40
    orders: int = 60
    days: int = 180


@dataclass(slots=True)
class Listing:
    """A SKU of the seller's; its price is in the smallest unit of each marketplace's currency."""

    sku: str
    number: int
    title: str
    price: int
    quantity: int
    status: tuple[str, ...]
    created: int
    updated: int
    marketplaces: tuple[str, ...]
    colour: str = ""
    parent: str = ""
    children: tuple[str, ...] = ()


@dataclass(slots=True)
class Order:
    """An order in one marketplace; each line is a SKU, a title, a price and a quantity."""

    id: str
    number: int
    marketplace: str
    status: str
    created: int
    updated: int
    lines: list[tuple[str, str, int, int]]
    shipped: int = 0
    gift: str = ""


class Seller:
    """One account in one region: its state in memory, and every way that the seller and the buyers change it."""

    def __init__(
        self,
        name: str,
        marketplaces: Sequence[str],
        now: Callable[[], int],
        *,
        seed: int = 1,
        sizes: Sizes | None = None,
    ) -> None:
        sizes = sizes or Sizes()
        unknown = set(marketplaces) - set(MARKETPLACES)
        if unknown or len({MARKETPLACES[id].region for id in marketplaces}) != 1:
            raise ValueError(f"Marketplaces of one region, out of {', '.join(MARKETPLACES)}.")
        if sizes.orders and not sizes.products:
            raise ValueError("Orders need products.")
        self.name = name
        self.now = now
        self.region = MARKETPLACES[marketplaces[0]].region
        self.marketplaces = tuple(marketplaces)
        """Where they take part."""
        self.listings: dict[str, Listing] = {}
        self.orders: dict[str, Order] = {}
        self.announce: Announce = lambda *_: None
        self._random = random.Random(f"{seed}/{name}")  # noqa: S311 -- the same seller every time
        self.id = "A" + "".join(self._random.choices("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", k=13))
        self._seed(sizes)

    # Listings

    def add_listing(self, wish: Json) -> Listing:
        """A new listing: ``sku``, ``title``, ``price``, ``quantity``, ``status``."""
        listing = self._make_listing(len(self.listings), self.now(), self.now())
        listing.sku = str(wish.get("sku", listing.sku))
        if listing.sku in self.listings:
            raise ValueError("There is such a SKU.")
        self._write_listing(listing, wish)
        self.listings[listing.sku] = listing
        self._status_told(listing, listing.status)
        return listing

    def change_listing(self, listing: Listing, wish: Json) -> None:
        """The seller edits: a new status or quantity is announced, and nothing else."""
        before = listing.status, listing.quantity
        self._write_listing(listing, wish)
        listing.updated = self.now()
        if listing.status != before[0]:
            self._status_told(listing, listing.status)
        if listing.quantity != before[1]:
            told = {"SellerId": self.id, "FulfillmentChannelCode": "DEFAULT", "Sku": listing.sku}
            self.announce("LISTINGS_ITEM_MFN_QUANTITY_CHANGE", {**told, "Quantity": listing.quantity})

    def delete_listing(self, listing: Listing) -> None:
        """It is gone, also from its family."""
        del self.listings[listing.sku]
        for other in self.listings.values():
            other.children = tuple(sku for sku in other.children if sku != listing.sku)
        self._status_told(listing, ("DELETED",))

    def find_listings(
        self, marketplaces: Collection[str], *, since: dict[str, int], until: dict[str, int]
    ) -> list[Listing]:
        """Those with an offer in any of the marketplaces; bounds of ``created`` and ``updated``, both inclusive."""
        return [
            each
            for each in self.listings.values()
            if set(each.marketplaces) & set(marketplaces)
            and all(getattr(each, name) >= bound for name, bound in since.items())
            and all(getattr(each, name) <= bound for name, bound in until.items())
        ]

    # Orders

    def buy(self, wish: Json) -> Order:
        """A buyer orders: ``lines`` of ``sku`` and ``quantity``, ``marketplace``, ``status``."""
        now = self.now()
        order = self._make_order(len(self.orders), now, now, _one_of(ORDER_STATUSES, wish.get("status", "UNSHIPPED")))
        order.marketplace = _one_of(self.marketplaces, wish.get("marketplace", self.marketplaces[0]))
        if "lines" in wish:
            listings = [(self.listings[line["sku"]], int(line.get("quantity", 1))) for line in wish["lines"]]
            order.lines = [(each.sku, each.title, each.price, quantity) for each, quantity in listings]
        self.orders[order.id] = order
        self._order_told(order)
        return order

    def set_order_status(self, order: Order, status: str) -> None:
        """The order moves on."""
        order.status, order.updated = _one_of(ORDER_STATUSES, status), self.now()
        if status in ("SHIPPED", "PARTIALLY_SHIPPED"):
            order.shipped = order.shipped or order.updated
        self._order_told(order)

    def find_orders(self, marketplaces: Collection[str], by: str, since: int, until: int) -> list[Order]:
        """By ``created`` or ``updated``, both bounds included, oldest first (no order is documented)."""
        oldest = self.now() - _ORDERS_KEPT
        found = [
            order
            for order in self.orders.values()
            if order.marketplace in marketplaces and since <= getattr(order, by) <= until and order.created >= oldest
        ]
        return sorted(found, key=lambda order: (getattr(order, by), order.number))

    # JSON

    def participations(self) -> list[Json]:
        """As the sellers API has them: all marketplaces of the region, in which they take part or not."""
        return [
            {
                "marketplace": {
                    "id": id,
                    "name": place.domain.capitalize(),
                    "countryCode": place.country,
                    "defaultCurrencyCode": place.currency,
                    "defaultLanguageCode": place.language,
                    "domainName": f"www.{place.domain}",
                },
                "participation": {"isParticipating": id in self.marketplaces, "hasSuspendedListings": False},
                "storeName": self.name,
            }
            for id, place in MARKETPLACES.items()
            if place.region == self.region
        ]

    def listing_json(self, listing: Listing, marketplaces: Collection[str], data: Collection[str]) -> Json:
        """As the listings API has it, with the data sets that were asked for."""
        here = [id for id in listing.marketplaces if id in marketplaces]
        parts: dict[str, Callable[[], Any]] = {
            "summaries": lambda: [self._summary(listing, id) for id in here],
            "attributes": lambda: (
                {"color": [{"value": listing.colour, "marketplace_id": id} for id in here]} if listing.colour else {}
            ),
            "offers": lambda: (
                []
                if listing.children
                else [
                    {"marketplaceId": id, "offerType": "B2C", "price": _money(listing.price, id)}
                    for id in here
                    if "BUYABLE" in listing.status
                ]
            ),
            "fulfillmentAvailability": lambda: (
                [] if listing.children else [{"fulfillmentChannelCode": "DEFAULT", "quantity": listing.quantity}]
            ),
            "relationships": lambda: [{"marketplaceId": id, "relationships": _relations(listing)} for id in here],
            "issues": list,
            "productTypes": lambda: [{"marketplaceId": id, "productType": "HOME"} for id in here],
        }
        return {"sku": listing.sku, **{name: part() for name, part in parts.items() if name in data}}

    def order_json(self, order: Order, data: Collection[str]) -> Json:
        """As the orders API has it. A pending order has neither buyer nor address nor proceeds yet."""
        place, pending = MARKETPLACES[order.marketplace], order.status.startswith("PENDING")
        deliver_by = {
            "earliestDateTime": stamp(order.created + _DAY),
            "latestDateTime": stamp(order.created + 5 * _DAY),
        }
        parts: Json = {
            "BUYER": {"buyer": _buyer(order)},
            "RECIPIENT": {"recipient": {"deliveryAddress": _address(order, place)}},
            "PROCEEDS": {"proceeds": {"grandTotal": _money(_total(order), order.marketplace)}},
            "FULFILLMENT": {
                "fulfillment": {
                    "fulfillmentStatus": order.status,
                    "fulfilledBy": "MERCHANT",
                    "fulfillmentServiceLevel": "STANDARD",
                    "shipByWindow": deliver_by,
                    "deliverByWindow": deliver_by,
                }
            },
            "PACKAGES": {"packages": [_package(order)] if order.shipped else []},
        }
        hidden = {"BUYER", "RECIPIENT", "PROCEEDS"} if pending else set()
        shown = {
            key: value for name, part in parts.items() if name in set(data) - hidden for key, value in part.items()
        }
        return {
            "orderId": order.id,
            "createdTime": stamp(order.created),
            "lastUpdatedTime": stamp(order.updated),
            "programs": [],
            "salesChannel": {
                "channelName": "AMAZON",
                "marketplaceId": order.marketplace,
                "marketplaceName": place.domain.capitalize(),
            },
            **shown,
            "orderItems": [_item(order, at, set(data) - hidden) for at in range(len(order.lines))],
        }

    def truth(self, only: str | None = None) -> Json:
        """Every product and order as the control API tells it."""
        products = [self.listing_truth(each) for each in self.listings.values()]
        every = {"products": products, "orders": [self.order_truth(each) for each in self.orders.values()]}
        return {kind: rows for kind, rows in every.items() if only in (None, kind)}

    def listing_truth(self, listing: Listing) -> Json:
        """One listing as the control API tells it."""
        shown = {"id": listing.sku, "title": listing.title, "status": list(listing.status), "price": listing.price}
        family = {"parent": listing.parent, "children": list(listing.children)}
        times = {"created_gmt": stamp(listing.created), "modified_gmt": stamp(listing.updated)}
        return {**shown, **family, "quantity": listing.quantity, "marketplaces": list(listing.marketplaces), **times}

    def order_truth(self, order: Order) -> Json:
        """One order as the control API tells it."""
        total = _money(_total(order), order.marketplace)["amount"]
        shown = {"id": order.id, "status": order.status, "marketplace": order.marketplace, "total": total}
        return {**shown, "created_gmt": stamp(order.created), "modified_gmt": stamp(order.updated)}

    def report_rows(self, marketplace: str) -> Iterator[Sequence[str]]:
        """The report of all listings: its header, then a row each."""
        yield ("item-name", "listing-id", "seller-sku", "price", "quantity", "open-date", "asin1", "status")
        for each in self.listings.values():
            if marketplace in each.marketplaces:
                price = _money(each.price, marketplace)["amount"]
                status = "Active" if "BUYABLE" in each.status else "Inactive"
                opened = stamp(each.created)
                yield (each.title, f"L{each.number}", each.sku, price, str(each.quantity), opened, _asin(each), status)

    # Inside

    def _seed(self, sizes: Sizes) -> None:
        now, span = self.now(), sizes.days * _DAY
        # Some share their second, as those do that were uploaded together.
        times = sorted(now - _HOUR - self._random.randrange(span // 60) * 60 for _ in range(sizes.products))
        for number, updated in enumerate(times):
            listing = self._make_listing(number, updated - _DAY, updated)
            self.listings[listing.sku] = listing
        skus = list(self.listings)
        for at in range(0, len(skus) - 2, _FAMILY):
            parent, *children = (self.listings[sku] for sku in skus[at : at + 3])
            parent.children, parent.status = tuple(child.sku for child in children), ("DISCOVERABLE",)
            for child, colour in zip(children, _COLOURS, strict=False):
                child.parent, child.colour = parent.sku, colour
        for number in range(sizes.orders):
            created = now - _HOUR - self._random.randrange(span)
            updated = min(created + self._random.randrange(3 * _DAY), now - _HOUR)
            order = self._make_order(number, created, updated, self._random.choice(_SEEDED_ORDERS))
            self.orders[order.id] = order

    def _make_listing(self, number: int, created: int, updated: int) -> Listing:
        odd = {5: ", with comma", 7: "/slash ü%"}.get(number % 10, "")
        return Listing(
            sku=f"SKU-{number:05}{odd}",
            number=number,
            title=f"{_TITLES[number % len(_TITLES)]} {number}",
            price=self._random.randrange(500, 9_000),
            quantity=self._random.randrange(200),
            status=_SEEDED_LISTINGS[number % len(_SEEDED_LISTINGS)],
            created=created,
            updated=updated,
            marketplaces=self.marketplaces if number % 2 else self.marketplaces[:1],
        )

    def _make_order(self, number: int, created: int, updated: int, status: str) -> Order:
        sold = [each for each in self.listings.values() if not each.children]
        chosen = self._random.choices(sold, k=self._random.choice((1, 1, 1, 2, 3)))
        lines = [(each.sku, each.title, each.price, self._random.choice((1, 1, 2, 5))) for each in chosen]
        marketplace = self._random.choice(self.marketplaces)
        id = f"114-{self._random.randrange(10**7):07}-{number:07}"
        shipped = updated if status in ("SHIPPED", "PARTIALLY_SHIPPED") else 0
        gift = self._random.choice(("", "", "Bitte ☕ vorsichtig — 謝謝"))
        return Order(id, number, marketplace, status, created, updated, lines, shipped, gift)

    def _write_listing(self, listing: Listing, wish: Json) -> None:
        listing.title = str(wish.get("title", listing.title))
        listing.price = int(wish.get("price", listing.price))
        listing.quantity = int(wish.get("quantity", listing.quantity))
        listing.status = tuple(_one_of(LISTING_STATUSES, state) for state in wish.get("status", listing.status))

    def _summary(self, listing: Listing, marketplace: str) -> Json:
        return {
            "marketplaceId": marketplace,
            "asin": _asin(listing),
            "productType": "HOME",
            "conditionType": "new_new",
            "status": list(listing.status),
            "itemName": listing.title,
            "createdDate": stamp(listing.created),
            "lastUpdatedDate": stamp(listing.updated),
            "mainImage": {"link": f"https://m.media.example.com/{listing.number}.jpg", "height": 500, "width": 500},
        }

    def _status_told(self, listing: Listing, status: Sequence[str]) -> None:
        for marketplace in listing.marketplaces:
            told = {"SellerId": self.id, "MarketplaceId": marketplace, "Asin": _asin(listing), "Sku": listing.sku}
            created = stamp(listing.created)
            self.announce("LISTINGS_ITEM_STATUS_CHANGE", {**told, "CreatedDate": created, "Status": list(status)})

    def _order_told(self, order: Order) -> None:
        shipped = order.status == "SHIPPED"
        trigger = {"TimeOfOrderChange": stamp(order.updated), "ChangeReason": "Sandbox"}
        items = [
            {
                "OrderItemId": f"{order.number:012}{at:02}",
                "SellerSKU": sku,
                "SupplySourceId": None,
                "OrderItemStatus": "Shipped" if shipped else "Unshipped",
                "Quantity": quantity,
                "QuantityShipped": quantity if shipped else 0,
            }
            for at, (sku, _, _, quantity) in enumerate(order.lines)
        ]
        summary = {
            "MarketplaceId": order.marketplace,
            "OrderStatus": ORDER_STATUSES[order.status],
            "PurchaseDate": stamp(order.created),
            "DestinationPostalCode": "00000",
            "FulfillmentType": "MFN",
            "OrderType": "StandardOrder",
            "OrderItems": items,
        }
        change = {
            "NotificationLevel": "OrderLevel",
            "SellerId": self.id,
            "AmazonOrderId": order.id,
            "OrderChangeType": "OrderStatusChange",
            "OrderChangeTrigger": trigger,
            "Summary": summary,
        }
        self.announce("ORDER_CHANGE", {"OrderChangeNotification": change})


def stamp(moment: int) -> str:
    """A moment as the API writes it."""
    return f"{datetime.fromtimestamp(moment, UTC).isoformat()[:19]}Z"


def _one_of(words: Collection[str], word: str) -> str:
    if word not in words:
        raise ValueError(f"{word} is none of {', '.join(words)}.")
    return word


def _money(units: int, marketplace: str) -> Json:
    currency = MARKETPLACES[marketplace].currency
    amount = str(units) if currency == "JPY" else f"{units // 100}.{units % 100:02}"
    return {"amount": amount, "currencyCode": currency}


def _total(order: Order) -> int:
    return sum(price * quantity for _, _, price, quantity in order.lines)


def _asin(listing: Listing) -> str:
    return f"B{listing.number:09}"


def _relations(listing: Listing) -> list[Json]:
    theme = {"attributes": ["color"], "theme": "COLOR"}
    if listing.children:
        return [{"type": "VARIATION", "childSkus": list(listing.children), "variationTheme": theme}]
    return [{"type": "VARIATION", "parentSkus": [listing.parent], "variationTheme": theme}] if listing.parent else []


def _buyer(order: Order) -> Json:
    return {"buyerName": f"Buyer {order.number}", "buyerEmail": f"buyer-{order.number}@marketplace.example.com"}


def _address(order: Order, place: Marketplace) -> Json:
    street = f"{order.number} Example Street"
    found = {"name": f"Buyer {order.number}", "addressLine1": street, "city": "Sampletown", "postalCode": "00000"}
    return {**found, "countryCode": place.country, "phone": "000 000 000"}


def _package(order: Order) -> Json:
    shipped = stamp(order.shipped)
    return {"packageReferenceId": "1", "createdTime": shipped, "carrier": "Sandbox", "shipTime": shipped}


def _item(order: Order, at: int, data: Collection[str]) -> Json:
    sku, title, price, quantity = order.lines[at]
    unit = {} if order.status.startswith("PENDING") else {"price": {"unitPrice": _money(price, order.marketplace)}}
    total = _money(price * quantity, order.marketplace)
    item: Json = {
        "orderItemId": f"{order.number:012}{at:02}",
        "quantityOrdered": quantity,
        "product": {"asin": f"B{order.number:09}", "title": title, "sellerSku": sku, **unit},
    }
    if "PROCEEDS" in data:
        item["proceeds"] = {"proceedsTotal": total, "breakdowns": [{"type": "ITEM", "subtotal": total}]}
    if "FULFILLMENT" in data:
        done = quantity if order.status == "SHIPPED" else 0
        packing = {"packing": {"giftOption": {"giftMessage": order.gift}}} if order.gift else {}
        item["fulfillment"] = {"quantityFulfilled": done, "quantityUnfulfilled": quantity - done, **packing}
    return item
