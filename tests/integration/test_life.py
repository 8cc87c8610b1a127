"""A store's life over plain HTTP, from connecting to removing."""

from integration.deployment import Deployment, Json, Shop, User, ok, until


def test_first_sync_brings_all_that_the_shop_has(stack: Deployment, user: User) -> None:
    shop = stack.open_shop(products=30, variable=6, orders=120)

    store = user.synced(shop)

    products, orders = user.records(store, "products"), user.records(store, "orders")
    there = shop.live("products")
    assert {id: (row["title"], row["updatedAt"]) for id, row in products.items()} == {
        id: (row["name"], f"{row['modified_gmt']}Z") for id, row in there.items()
    }
    assert {id: len(row["variants"]) for id, row in products.items()} == {
        id: len(row["variations"]) or 1 for id, row in there.items()
    }
    assert {id: (row["total"], len(row["lines"]), row["updatedAt"]) for id, row in orders.items()} == {
        id: (row["total"], row["lines"], f"{row['modified_gmt']}Z") for id, row in shop.live("orders").items()
    }
