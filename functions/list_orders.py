"""GET /stores/{storeId}/orders: what a store has, or what changed since."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query

from shared import api, clock, feed, schemas, stores
from shared.platforms.base import Resource

app = api.resolver()


@app.get("/stores/<storeId>/orders", **api.describes(schemas.OrderList, 200, "List a store's orders"))
def list_orders(
    storeId: str,
    changed_since: Annotated[str | None, Query(alias="changedSince", max_length=64)] = None,
    limit: api.Limit = api.LIMIT,
    cursor: api.Cursor = None,
) -> Response[str]:
    store = stores.load(storeId, api.caller(app))
    since = api.moment(changed_since, "changedSince")
    rows, further = feed.listed(store.id, Resource.ORDERS, since, limit, cursor, clock.now())
    return api.reply(schemas.OrderList.model_validate({"items": rows, "nextCursor": further}))


lambda_handler = api.entrypoint(app)
