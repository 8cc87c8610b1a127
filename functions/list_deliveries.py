"""GET /stores/{storeId}/deliveries: the webhooks that came for a store, newest first."""

from aws_lambda_powertools.event_handler import Response

from shared import api, schemas, stores, webhooks

app = api.resolver()


@app.get("/stores/<storeId>/deliveries", **api.describes(schemas.DeliveryList, 200, "List a store's deliveries"))
def list_deliveries(storeId: str, limit: api.Limit = api.LIMIT, cursor: api.Cursor = None) -> Response[str]:
    store = stores.load(storeId, api.caller(app))
    rows, further = webhooks.page(store.id, limit, cursor)
    return api.reply(schemas.DeliveryList(items=[webhooks.to_view(row) for row in rows], next_cursor=further))


lambda_handler = api.entrypoint(app)
