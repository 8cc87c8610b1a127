"""GET /stores/{storeId}/orders/{orderId}: one order of a store."""

from aws_lambda_powertools.event_handler import Response

from shared import api, platforms, records, schemas, stores
from shared.platforms.base import Resource

app = api.resolver()


@app.get("/stores/<storeId>/orders/<orderId>", **api.describes(schemas.OrderView, 200, "Read an order"))
def get_order(storeId: str, orderId: str) -> Response[str]:
    store = stores.load(storeId, api.caller(app))
    id = platforms.whole_id(store.platform, Resource.ORDERS, orderId)
    return api.reply(schemas.OrderView.model_validate(records.get(store.id, Resource.ORDERS, id)))


lambda_handler = api.entrypoint(app)
