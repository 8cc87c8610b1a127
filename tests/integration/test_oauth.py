"""OAuth stores on the deployed stack: connected through the platforms' screens, refreshed, cut off, healed."""

import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx
import pytest
from integration.deployment import Deployment, Json, User, ok, until

from infra.local.sandbox import server
from shared.models import Order


@dataclass
class Seller:
    """A shop of the sandbox on a platform with OAuth, and its seller's browser."""

    stack: Deployment
    platform: str
    control: str
    domain: str | None

    def act(self, method: str, place: str, **body: Any) -> Json:
        """One call to the control API of this shop."""
        return ok(self.stack.sandbox.request(method, f"{self.control}{place}", json=body or None))

    def start(self, user: User, **more: object) -> str:
        """The address of the platform's consent screen."""
        where = {"domain": self.domain} if self.domain else {}
        wish = {"platform": self.platform, "name": "By OAuth", **where, **more}
        url: str = ok(user.http.post("/authorizations", json=wish))["authorizationUrl"]
        return url

    def approve(self, url: str) -> str:
        """Where the platform sends the browser that approves; the names of the platforms lead to the sandbox."""
        answer = self.stack.sandbox.get(f"/at/{url.removeprefix('https://')}")
        assert answer.status_code == 302, answer.text[:500]
        return str(answer.headers["location"])

    def connect(self, user: User, **more: object) -> Json:
        """The store, connected and synced."""
        page = self.stack.internet.get(self.approve(self.start(user, **more)))
        assert page.status_code == 200, page.text
        store = next(each for each in user.all("/stores") if each["platform"] == self.platform)
        until(lambda: user.last_sync(store), "the first sync did not end")
        return store

    def live(self, resource: str) -> dict[str, str]:
        """What a synced copy must have: ids and times."""
        rows = self.act("GET", f"/truth?only={resource}")[resource]
        return {
            str(row["id"]): f"{row['modified_gmt'].removesuffix('Z')}Z" for row in rows if row["status"] != "DELETED"
        }

    def agrees(self, user: User, store: Json) -> bool:
        """Whether our copy is as new as the shop."""
        return all(
            {id: row["updatedAt"] for id, row in user.records(store, resource).items()} == self.live(resource)
            for resource in ("products", "orders")
        )


def shopify(stack: Deployment, name: str) -> Seller:
    """A small Shopify shop whose consent needs no click."""
    wish = {"name": name, "seed": 5, "products": 6, "orders": 8, "auto_approve": True}
    shop = ok(stack.sandbox.post("/_sandbox/shopify/shops", json=wish))
    return Seller(stack, "SHOPIFY", f"/_sandbox/shopify/shops/{name}", shop["domain"])


def tiktok(stack: Deployment, name: str, **more: object) -> Seller:
    """A small TikTok Shop seller who approves at once."""
    wish = {"name": name, "seed": 6, "products": 6, "orders": 8, **more}
    ok(stack.sandbox.post("/_sandbox/tiktok_shop/sellers", json=wish))
    back = f"{stack.endpoints['https']}/authorizations/TIKTOK_SHOP/callback"
    ok(stack.sandbox.put("/_sandbox/tiktok_shop/settings", json={"approve": name, "return_address": back}))
    return Seller(stack, "TIKTOK_SHOP", f"/_sandbox/tiktok_shop/shops/{name}", None)


def amazon(stack: Deployment, name: str) -> Seller:
    """A small Amazon seller who approves at once; what happens there comes through a queue."""
    ok(stack.sandbox.post("/_sandbox/amazon/sellers", json={"name": name, "seed": 6, "products": 6, "orders": 8}))
    back = f"{stack.endpoints['https']}/authorizations/AMAZON/callback"
    ok(stack.sandbox.put("/_sandbox/amazon/settings", json={"approve": name, "return_address": back}))
    return Seller(stack, "AMAZON", f"/_sandbox/amazon/sellers/{name}", "https://www.amazon.com")


def etsy(stack: Deployment, name: str) -> Seller:
    """A small Etsy shop whose seller approves at once; the webhooks' address is entered by hand."""
    ok(stack.sandbox.post("/_sandbox/etsy/shops", json={"name": name, "seed": 6, "products": 6, "orders": 8}))
    public = stack.endpoints["https"]
    settings = {"approve": name, "redirect_uris": [f"{public}/authorizations/ETSY/callback"]}
    ok(stack.sandbox.put("/_sandbox/etsy/settings", json=settings))
    ok(stack.sandbox.put("/_sandbox/etsy/webhooks", json={"endpoints": [{"url": f"{public}/webhooks/ETSY"}]}))
    return Seller(stack, "ETSY", f"/_sandbox/etsy/shops/{name}", None)


def ebay(stack: Deployment, name: str) -> Seller:
    """A small eBay seller who approves at once."""
    ok(stack.sandbox.post("/_sandbox/ebay/sellers", json={"name": name, "seed": 6, "products": 6, "orders": 8}))
    back = f"{stack.endpoints['https']}/authorizations/EBAY/callback"
    ok(stack.sandbox.put("/_sandbox/ebay/settings", json={"approve": name, "return_address": back}))
    return Seller(stack, "EBAY", f"/_sandbox/ebay/sellers/{name}", None)


@pytest.fixture(scope="module", autouse=True)
def registered(stack: Deployment) -> None:
    """Our registrations are secrets, to be looked for at the end."""
    stack.secrets |= {app["clientSecret"] for app in server.APPS.values()}


def _sync(user: User, store: Json) -> None:
    before = user.last_sync(store)
    answer = user.http.post(f"/stores/{store['id']}/syncs", json={})
    assert answer.status_code in {202, 429}, answer.text
    until(lambda: user.last_sync(store) != before, "the sync did not end")


def _view(user: User, store: Json) -> Json:
    return ok(user.http.get(f"/stores/{store['id']}"))


@pytest.mark.parametrize("open_shop", [shopify, tiktok, amazon, etsy])
def test_a_store_is_connected_synced_and_kept_current(stack: Deployment, user: User, open_shop: Any) -> None:
    seller = open_shop(stack, f"life-{open_shop.__name__}")

    store = seller.connect(user, metadata={"from": "screen"})

    assert (store["status"], store["metadata"], store["platform"]) == (
        "CONNECTED",
        {"from": "screen"},
        seller.platform,
    )
    assert store["tokenExpiresAt"] > store["createdAt"]
    told = seller.platform != "ETSY"  # which does not say when a grant ends that is used
    assert store["reauthorizeBy"] > store["tokenExpiresAt"] if told else store["reauthorizeBy"] is None
    until(lambda: seller.agrees(user, store), "the copy differs")
    order = next(iter(seller.live("orders")))
    shown = ok(user.http.get(f"/stores/{store['id']}/orders/{order.rpartition('/')[2]}"))
    assert shown["id"] == order
    seller.act("POST", f"/orders/{order.rpartition('/')[2]}/cancel")
    until(lambda: user.records(store, "orders")[order]["status"] == "cancelled", "the webhook did not arrive")
    until(lambda: seller.agrees(user, store), "the copy differs")
    stack.note_secrets()
    assert user.http.delete(f"/stores/{store['id']}").status_code == 204


def test_a_token_that_ended_is_replaced_and_the_grant_lives(stack: Deployment, user: User) -> None:
    seller = shopify(stack, "hours")
    store = seller.connect(user, settings={"syncInterval": 86_400})
    ends = _view(user, store)["tokenExpiresAt"]
    stack.note_secrets()

    seller.act("PUT", "/clock", advance=3_700)
    seller.act("POST", "/orders")
    _sync(user, store)

    assert _view(user, store)["tokenExpiresAt"] > ends
    assert _view(user, store)["status"] == "CONNECTED"
    assert stack.events(store, "store.needs_reauthorization") == []
    stack.note_secrets()


def test_a_callback_that_is_forged_foreign_or_used_connects_nothing(stack: Deployment, user: User) -> None:
    seller, other = shopify(stack, "forged"), shopify(stack, "foreign")
    back = seller.approve(seller.start(user))
    address, query = urlsplit(back), dict(parse_qsl(urlsplit(back).query))

    def came_back(**changes: str) -> httpx.Response:
        changed = urlencode({**query, **changes})
        return stack.internet.get(urlunsplit(address._replace(query=changed)))

    for changes in (
        {"hmac": "0" * 64},
        {"shop": other.domain.removeprefix("https://") if other.domain else ""},
        {"state": secrets.token_urlsafe(32)},
        {"timestamp": str(int(query["timestamp"]) - 3_600)},
        {"code": "another"},
    ):
        assert came_back(**changes).status_code == 400
    assert [each for each in user.all("/stores") if each["platform"] == "SHOPIFY" and "forged" in each["domain"]] == []
    assert came_back().status_code == 200
    again = came_back()
    assert again.status_code == 404
    assert "start again" in again.text
    assert query["code"] not in again.text
    second = stack.internet.get(seller.approve(seller.start(user)))
    assert (second.status_code, "connected already" in second.text) == (409, True)
    [store] = [each for each in user.all("/stores") if "forged" in (each["domain"] or "")]
    _sync(user, store)  # the refused attempt did not spend its code, which would have ended the store's tokens
    assert _view(user, store)["status"] == "CONNECTED"
    stack.note_secrets()


def test_an_uninstalled_store_is_disconnected_and_reconnected_in_place(stack: Deployment, user: User) -> None:
    seller = shopify(stack, "leaving")
    store = seller.connect(user, settings={"syncInterval": 86_400})
    orders = user.records(store, "orders").keys()
    stack.note_secrets()

    seller.act("POST", "/uninstall")

    until(lambda: _view(user, store)["status"] == "DISCONNECTED", "it was not noticed")
    assert _view(user, store)["statusReason"]["code"] == "UNINSTALLED"
    assert user.records(store, "orders").keys() == orders
    assert user.http.post(f"/stores/{store['id']}/syncs", json={}).status_code == 409
    page = stack.internet.get(seller.approve(seller.start(user, store=store["id"])))
    assert page.status_code == 200, page.text
    healed = _view(user, store)
    assert (healed["status"], healed["id"]) == ("CONNECTED", store["id"])
    until(lambda: len(stack.events(store, "store.disconnected")) == 1, "it was not announced once")
    stack.note_secrets()


def test_a_grant_that_was_revoked_needs_the_seller_and_says_so_once(stack: Deployment, user: User) -> None:
    seller = shopify(stack, "revoked")
    store = seller.connect(user, settings={"syncInterval": 86_400})
    stack.note_secrets()

    seller.act("POST", "/revoke")
    user.http.post(f"/stores/{store['id']}/syncs", json={})

    until(lambda: _view(user, store)["status"] == "NEEDS_REAUTHORIZATION", "it was not noticed")
    assert _view(user, store)["statusReason"]["code"] == "GRANT_ENDED"
    until(lambda: stack.events(store, "store.needs_reauthorization"), "it was not announced")
    assert len(stack.events(store, "store.needs_reauthorization")) == 1
    assert "refresh_due_at" not in stack.row("credentials", store_id=store["id"])


def test_of_several_shops_the_seller_chooses_one(stack: Deployment, user: User) -> None:
    seller = tiktok(stack, "several", regions=["US", "GB"])
    callback = seller.approve(seller.start(user))

    page = stack.internet.get(callback)

    assert page.status_code == 200
    second = seller.stack.sandbox.get("/_sandbox/tiktok_shop/shops/several-2").json()
    assert page.text.count("<button") == 2
    state = dict(parse_qsl(urlsplit(callback).query))["state"]
    chosen = stack.internet.get("/authorizations/TIKTOK_SHOP/callback", params={"state": state, "choice": second["id"]})
    assert chosen.status_code == 200, chosen.text
    store = next(each for each in user.all("/stores") if each["storeId"] == second["id"])
    assert store["currency"] == "GBP"
    repeated = stack.internet.get(
        "/authorizations/TIKTOK_SHOP/callback", params={"state": state, "choice": second["id"]}
    )
    assert repeated.status_code == 404
    until(lambda: user.last_sync(store), "the first sync did not end")
    stack.note_secrets()


def test_a_shop_to_be_erased_is_removed_with_evidence(stack: Deployment, user: User) -> None:
    seller = shopify(stack, "erased")
    store = seller.connect(user, settings={"syncInterval": 86_400})
    address = f"{stack.endpoints['https']}/webhooks/SHOPIFY"
    ok(stack.sandbox.put("/_sandbox/shopify/app", json={"compliance_url": address}))
    stack.note_secrets()

    seller.act("POST", "/uninstall")
    until(lambda: _view(user, store)["status"] == "DISCONNECTED", "it was not noticed")
    seller.act("POST", "/compliance", topic="shop/redact", payload={"shop_domain": "erased.myshopify.com"})

    until(lambda: user.http.get(f"/stores/{store['id']}").status_code == 404, "it was not erased")
    [evidence] = until(
        lambda: [row for row in stack.rows("privacy-requests") if row["store"]["S"] == store["id"]], "no evidence"
    )
    assert (evidence["kind"]["S"], evidence["outcome"]["S"]) == ("erase_store", "ERASED")
    kept = {f"{stack.endpoints['stack']}-{table}" for table in ("privacy-requests", "authorizations")}
    until(lambda: stack.rows_about(store["id"]).keys() <= kept, "rows of the store are left")
    assert until(lambda: stack.events(store, "privacy.requested"), "it was not announced")[0]["kind"] == "erase_store"


def test_what_ebay_announces_is_proved_by_its_own_keys_and_carried_out(stack: Deployment, user: User) -> None:
    seller = ebay(stack, "announced")
    store = seller.connect(user, settings={"syncInterval": 86_400})
    answer = stack.aws("lambda").invoke(FunctionName=stack.physical("ReconcileAppsFunction"), Payload=b"{}")
    assert "FunctionError" not in answer
    sku = seller.act("GET", "/truth")["products"][0]["id"]

    def orders() -> dict[str, Json]:
        return user.records(store, "orders")

    before = set(orders())
    seller.act("POST", "/orders", lines=[{"sku": sku, "quantity": 1}], buyer="buyer-to-go")
    [ordered] = until(lambda: set(orders()) - before, "the notification did not arrive")
    assert orders()[ordered]["customer"]
    stack.note_secrets()

    ok(stack.sandbox.post("/_sandbox/ebay/deletions", json={"username": "buyer-to-go", "userId": "buyerToGo1"}))
    until(lambda: orders()[ordered]["customer"] is None, "the buyer was not erased")

    seller.act("POST", "/revoke", reason="REVOKED_BY_USER")
    until(lambda: _view(user, store)["status"] == "DISCONNECTED", "the revocation was not noticed")


def test_who_bought_at_amazon_is_erased_when_the_time_is_up(stack: Deployment, user: User) -> None:
    seller = amazon(stack, "expiring")
    store = seller.connect(user)
    seller.act("POST", "/orders")

    def with_buyer() -> list[str]:
        return [id for id, order in user.records(store, "orders").items() if order["customer"]]

    orders = until(with_buyer, "no order has a buyer")
    table = f"{stack.endpoints['stack']}-orders"
    for id in orders:
        stack.aws("dynamodb").update_item(
            TableName=table,
            Key={"store_id": {"S": store["id"]}, "id": {"S": Order.id.serialize(id)}},
            UpdateExpression="SET personal_until = :past",
            ExpressionAttributeValues={":past": {"S": "2026-01-01T00:00:00.000000Z"}},
        )
    assert with_buyer() == []

    answer = stack.aws("lambda").invoke(FunctionName=stack.physical("ExpirePersonalDataFunction"), Payload=b"{}")

    assert "FunctionError" not in answer
    for id in orders:
        row = stack.row("orders", store_id=store["id"], id=Order.id.serialize(id))
        assert row["erased"] == {"BOOL": True}
        assert "personal_until" not in row
