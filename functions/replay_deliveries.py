"""POST /stores/{storeId}/deliveries/replay: process a store's deliveries again."""

from aws_lambda_powertools.event_handler import Response

from shared import api, clock, schemas, stores, webhooks

app = api.resolver()


@app.post(
    "/stores/<storeId>/deliveries/replay",
    **api.describes(schemas.ReplayView, 202, "Process a store's deliveries again"),
)
def replay_deliveries(storeId: str, wanted: schemas.NewReplay) -> Response[str]:
    store = stores.load(storeId, api.caller(app))
    queued, further = webhooks.replay_several(store.id, wanted, clock.now())
    return api.reply(schemas.ReplayView(store=store.id, queued=queued, next_cursor=further), 202)


lambda_handler = api.entrypoint(app, api.Once())
