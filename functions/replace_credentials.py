"""PUT /stores/{storeId}/credentials: reconnect a store in place with other credentials."""

from aws_lambda_powertools.event_handler import Response

from shared import api, clock, connecting, egress, schemas, stores

app = api.resolver()


@app.put("/stores/<storeId>/credentials", **api.describes(schemas.StoreView, 200, "Replace a store's credentials"))
def replace_credentials(storeId: str, new: schemas.NewCredentials) -> Response[str]:
    caller, http = api.caller(app), egress.client().within(egress.CALLER_WAITS)
    connecting.reconnect(storeId, new, caller, api.expected_version(app), http, clock.now())
    store, state = stores.view(storeId, caller)
    return api.with_etag(stores.to_view(store, state), int(store.version))


lambda_handler = api.entrypoint(app)
