"""PUT /stores/{storeId}/primary: make a store its owner's primary one."""

from aws_lambda_powertools.event_handler import Response

from shared import api, clock, schemas, stores

app = api.resolver()


@app.put("/stores/<storeId>/primary", **api.describes(schemas.StoreView, 200, "Make a store the primary one"))
def make_store_primary(storeId: str) -> Response[str]:
    caller = api.caller(app)
    stores.make_primary(storeId, caller, api.expected_version(app), clock.now())
    store, state = stores.view(storeId, caller)
    return api.with_etag(stores.to_view(store, state), int(store.version))


lambda_handler = api.entrypoint(app)
