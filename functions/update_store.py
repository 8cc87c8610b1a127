"""PATCH /stores/{storeId}: change a store by JSON merge patch."""

from aws_lambda_powertools.event_handler import Response

from shared import api, clock, schemas, stores

app = api.resolver()


@app.patch("/stores/<storeId>", **api.describes(schemas.StoreView, 200, "Change a store"))
def update_store(storeId: str, patch: schemas.StorePatch) -> Response[str]:
    caller = api.caller(app)
    stores.update(storeId, caller, api.expected_version(app), patch, clock.now())
    store, state = stores.view(storeId, caller)
    return api.with_etag(stores.to_view(store, state), int(store.version))


lambda_handler = api.entrypoint(app)
