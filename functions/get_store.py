"""GET /stores/{storeId}: one store."""

from aws_lambda_powertools.event_handler import Response

from shared import api, schemas, stores

app = api.resolver()


@app.get("/stores/<storeId>", **api.describes(schemas.StoreView, 200, "Read a store"))
def get_store(storeId: str) -> Response[str]:
    store, state = stores.view(storeId, api.caller(app))
    return api.with_etag(stores.to_view(store, state), int(store.version))


lambda_handler = api.entrypoint(app)
