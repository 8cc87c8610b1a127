"""POST /stores/{storeId}/deliveries/{deliveryId}/replay: process a delivery again."""

from aws_lambda_powertools.event_handler import Response

from shared import api, clock, schemas, stores, webhooks

app = api.resolver()


@app.post(
    "/stores/<storeId>/deliveries/<deliveryId>/replay",
    **api.describes(schemas.DeliveryView, 202, "Process a delivery again"),
)
def replay_delivery(storeId: str, deliveryId: str) -> Response[str]:
    store = stores.load(storeId, api.caller(app))
    return api.reply(webhooks.to_view(webhooks.replay(store.id, deliveryId, clock.now())), 202)


lambda_handler = api.entrypoint(app, api.Once())
